"""Named calls reach their hand-written kernels from users' programs, under every transform, and give what NumPy gives."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax, nn, tree
from funcgrad.inspect import _stepwise
from funcgrad.testing import assert_close

FORWARD = ["attention"]
BACKWARD = ["attention_delta", "attention_keys_transposed", "attention_queries_transposed"]


def noted(names, launch, family, name, *rest):
    names.append((family, name))
    launch(family, name, *rest)


@pytest.fixture
def launched(cuda, monkeypatch):
    """Runs a function on the device as a program: its results in NumPy, and the sorted names of hand-written kernels of a family."""

    def run(family, f, *args, jit=True):
        names = []
        with fg.use_backend(cuda) as backend:
            # A program's launches are seen when it is written down.
            for device in (backend.on, backend.recorded.on):
                monkeypatch.setattr(device, "launch", partial(noted, names, device.launch))
            found = (fg.jit(f) if jit else f)(*tree.map(backend.asarray, args))
            monkeypatch.undo()
            found = tree.map(backend.to_numpy, found)
        return found, sorted(name.split("<")[0] for fam, name in names if fam == family)

    return run


def draw(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def check(launched, family, kernels, f, *args, rtol=2e-5, atol=2e-6, jit=True):
    found, names = launched(family, f, *args, jit=jit)
    assert names == kernels
    want = fg.jit(f)(*args)
    tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), found, tree.map(np.asarray, want))


def loss(attend):
    return lambda *xs: fnp.sum(fnp.sin(attend(*xs)))


def operands(*lead, queries=5, keys=7, heads=2, shared=1, dtype=np.float32):
    return (
        draw(*lead, queries, heads, 32, dtype=dtype),
        draw(*lead, keys, shared, 32, dtype=dtype, seed=1),
        draw(*lead, keys, shared, 32, dtype=dtype, seed=2),
    )


ALLOWED = np.random.default_rng(3).random((2, 1, 5, 7)) < 0.7
CASES = {
    "plain": nn.dot_product_attention,
    "causal": lambda *x: nn.dot_product_attention(*x, is_causal=True),
    "scaled": lambda *x: nn.dot_product_attention(*x, scale=0.5),
    "masked": lambda *x: nn.dot_product_attention(*x, mask=ALLOWED),
    "biased": lambda *x: nn.dot_product_attention(*x, draw(2, 5, 7), is_causal=True, mask=ALLOWED),
}


@pytest.mark.parametrize("case", CASES)
def test_attention_is_one_launch_forward_and_three_backward(launched, case):
    xs = operands(2)
    check(launched, "attention", FORWARD, CASES[case], *xs)
    check(launched, "attention", FORWARD, CASES[case], *xs, jit=False)
    check(launched, "attention", FORWARD + BACKWARD, fg.grad(loss(CASES[case]), (0, 1, 2)), *xs)


def test_attention_under_vmap(launched):
    xs = operands(3, 2)
    attend = CASES["causal"]
    check(launched, "attention", FORWARD, fg.vmap(fg.vmap(attend)), *xs)
    per_row = fg.vmap(fg.grad(loss(attend), (0, 1, 2)))
    check(launched, "attention", FORWARD + BACKWARD, per_row, *xs)
    rows = lambda *xs: fnp.sum(fnp.sin(fg.vmap(fg.vmap(attend))(*xs)))
    check(launched, "attention", FORWARD + BACKWARD, fg.grad(rows, (0, 1, 2)), *xs)


def test_attention_in_halves(launched):
    xs = operands(2, dtype=np.float16)
    check(
        launched, "attention", FORWARD + BACKWARD, fg.grad(loss(CASES["causal"]), (0, 1, 2)), *xs, rtol=2e-2, atol=4e-3
    )


def test_attention_with_remat_and_in_a_scan_over_layers(launched):
    q, k, v = operands(2, shared=2)

    def layers(q, k, v):
        body = lambda h, _: (h + nn.dot_product_attention(h, k, v, is_causal=True), None)
        return fnp.sum(lax.scan(body, q, None, 2)[0] ** 2)

    # The body of each loop is written down once.
    check(
        launched,
        "attention",
        sorted(FORWARD + BACKWARD),
        fg.grad(layers, (0, 1, 2)),
        q,
        k,
        v,
        rtol=1e-4,
        atol=1e-4,
    )
    again = fg.grad(loss(fg.checkpoint(CASES["plain"])), (0, 1, 2))
    check(launched, "attention", sorted([*FORWARD, *FORWARD, *BACKWARD]), again, q, k, v)


def test_where_the_kernel_cannot_the_body_runs(launched):
    xs = operands(2)
    for other in (
        tuple(x[..., :20] for x in xs),
        tuple(x.astype(np.float64) for x in xs),
        (xs[0], xs[1], xs[2][..., :8]),
        tuple(x[:, :0] for x in xs),
    ):
        check(launched, "attention", [], fg.grad(loss(CASES["plain"]), (0, 1, 2)), *other)
    dropped = lambda *x: nn.dot_product_attention(*x, dropout_rate=0.5, dropout_key=fg.random.key(0))
    check(launched, "attention", [], dropped, *xs)


def test_a_bias_gets_its_gradient_beside_the_kernels(launched):
    xs = (*operands(2), draw(2, 5, 7))
    check(launched, "attention", FORWARD + BACKWARD, fg.grad(loss(nn.dot_product_attention), (0, 1, 2, 3)), *xs)


@pytest.mark.parametrize("case", ["plain", "causal"])
def test_forward_mode_and_second_derivatives_of_attention(launched, case):
    xs = operands(queries=2, keys=3)
    tangents = tuple(draw(*x.shape, seed=9) for x in xs)
    pushed = lambda *x: fg.jvp(CASES[case], x[:3], x[3:])
    squares = fg.grad(lambda *x: fnp.sum(fg.grad(loss(CASES[case]))(*x) ** 2))
    for f, args in ((pushed, (*xs, *tangents)), (squares, xs)):
        found, _ = launched("attention", f, *args)
        assert_close(found, fg.jit(f)(*args), rtol=1e-3)


def recurrent(gates, *lead, time=4, hidden=5):
    shapes = [(*lead, time, 3), (*lead, hidden), (3, gates * hidden), (hidden, gates * hidden), (gates * hidden,)]
    return [draw(*s, seed=i) / 2 for i, s in enumerate(shapes)]


def _lstm(x, h, wx, wh, b):
    ys, state = nn.lstm(x, nn.LSTMState(h, fnp.cos(h)), wx, wh, b)
    return ys, state.h, state.c


LOOPS = {
    "tanh": (nn.rnn, 1),
    "relu": (lambda *a: nn.rnn(*a, activation=nn.relu), 1),
    "lstm": (_lstm, 4),
}


def total(run):
    return lambda *a: sum(fnp.sum(fnp.sin(y)) for y in run(*a))


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_a_recurrent_loop_is_one_launch_forward_and_one_backward(launched, kind, lead):
    run, gates = LOOPS[kind]
    args = recurrent(gates, *lead)
    check(launched, "recurrent", ["recurrence"], run, *args)
    both = ["recurrence", "recurrence_transposed"]
    check(launched, "recurrent", both, fg.grad(total(run), (0, 1, 2, 3, 4)), *args)


@pytest.mark.parametrize("kind", LOOPS)
def test_recurrent_loops_under_vmap(launched, kind):
    run, gates = LOOPS[kind]
    args, axes = recurrent(gates, 3, 2), (0, 0, None, None, None)
    check(launched, "recurrent", ["recurrence"], fg.vmap(run, axes), *args)
    per_row = fg.vmap(fg.grad(total(run), (0, 1, 3)), axes)
    check(launched, "recurrent", ["recurrence", "recurrence_transposed"], per_row, *args)
    ensemble = fg.vmap(run, (None, None, None, 0, None))
    x, h, wx, wh, b = recurrent(gates, 2)
    check(launched, "recurrent", [], ensemble, x, h, wx, np.stack([wh, wh / 2]), b)


def test_large_weights_are_left_to_products(launched):
    check(launched, "recurrent", [], _lstm, *recurrent(4, 1, time=2, hidden=129))


def test_a_users_function_of_the_same_name_is_not_taken_for_ours(launched):
    @fg.jit
    def attention(q, k, v, bias=None):
        return q + v[..., :5, :, :]

    check(launched, "attention", [], attention, *operands(2))


def test_a_profile_has_the_named_kernel_as_a_step_timed_by_the_device(cuda, monkeypatch):
    with fg.use_backend(cuda) as backend:
        ticks = iter(range(0, 10**9, 1000))
        monkeypatch.setattr(_stepwise, "mark_cost", lambda backend: 0)
        monkeypatch.setattr(backend.on, "mark", lambda: next(ticks))
        monkeypatch.setattr(backend.on, "moments", list)
        xs = [backend.asarray(x) for x in operands(2)]
        found = fg.inspect.profile(lambda q, k, v: nn.dot_product_attention(fnp.tanh(q), k, v), *xs, calls=2)
    assert [step.kind for step in found.steps] == ["fusion", "nn.attention"]
    np.testing.assert_allclose(found.times, np.full((2, 2), 1e-6), rtol=1e-12)
    assert [e["dur"] for e in found.trace()["traceEvents"] if e["cat"] == "call"] == [4.0, 4.0]
