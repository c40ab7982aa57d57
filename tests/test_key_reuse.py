"""``config.debug_key_reuse``: a key that is used twice is found, and what only looks like it is not."""

import inspect
import threading

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax, random
from funcgrad.errors import KeyReuseError

X = np.linspace(0.5, 1.5, 3)


@pytest.fixture(autouse=True)
def looking():
    with fg.config(debug_key_reuse=True):
        yield


def new():
    return random.key(3)


def draw(key):
    return random.normal(key)


def sum_of(*values):
    total = 0.0
    for v in values:
        total = total + fnp.sum(fnp.asarray(v, dtype=float))
    return total


def loop(step, key, length=3):
    return lax.scan(lambda carry, _: (carry, step(key)), 0.0, None, length)[1]


def carried(key, _):
    key, now = random.split(key)
    return key, draw(now)


def swapped(keys, _):
    a, b = keys
    return (b, a), draw(a)


REUSED = {
    "two draws": lambda k: sum_of(draw(k), draw(k)),
    "two distributions": lambda k: sum_of(random.uniform(k), random.randint(k, (), 0, 9)),
    "split and draw": lambda k: sum_of(random.split(k), draw(k)),
    "split twice": lambda k: sum_of(random.split(k), random.split(k, 3)),
    "fold_in of one integer": lambda k: sum_of(random.fold_in(k, 4), random.fold_in(k, 4)),
    "a row twice": lambda k: (lambda keys: sum_of(draw(keys[1]), draw(keys[1])))(random.split(k)),
    "a row by slices": lambda k: (lambda keys: sum_of(draw(keys[1:][0]), draw(keys[::-1][0])))(random.split(k)),
    "a row of a column": lambda k: (lambda keys: sum_of(draw(keys[0]), draw(keys.T[:, 0])))(random.split(k)),
    "iteration and index": lambda k: (lambda keys: sum_of(*[draw(one) for one in keys], draw(keys[0])))(random.split(k)),
    "constant of a scan": lambda k: loop(draw, k),
    "fold_in of a constant in a scan": lambda k: loop(lambda k: random.fold_in(k, 1), k),
    "carry that stays": lambda k: lax.scan(lambda k, _: (k, draw(k)), k, None, 2),
    "carries that are swapped": lambda k: lax.scan(swapped, tuple(random.split(k)), None, 3),
    "rows, then a row": lambda k: (lambda ks: (lax.map(draw, ks), draw(ks[2])))(random.split(k, 3)),
    "constant of a while": lambda k: lax.while_loop(lambda c: c < 9, lambda c: c + 1 + abs(draw(k)), 0.0),
    "condition of a while": lambda k: lax.while_loop(lambda c: c + draw(k) < 9, lambda c: c + 1, 0.0),
    "after a cond": lambda k: sum_of(lax.cond(draw(random.key(1)) > 0, draw, lambda k: 2 * draw(k), k), draw(k)),
    "before a cond": lambda k: sum_of(draw(k), lax.cond(draw(random.key(1)) > 0, draw, random.uniform, k)),
    "after a nested program": lambda k: sum_of(fg.jit(draw)(k), draw(k)),
    "two nested programs": lambda k: (lambda f: sum_of(f(k), f(k)))(fg.jit(draw)),
    "after a checkpoint": lambda k: sum_of(fg.checkpoint(draw)(k), draw(k)),
    "inside a vmap, and after": lambda k: sum_of(fg.vmap(lambda x: x * draw(k))(X), draw(k)),
    "keys of a vmap, and one": lambda k: (lambda ks: sum_of(fg.vmap(draw)(ks), draw(ks[1])))(random.split(k, 4)),
    "a branch for each row, and after": lambda k: sum_of(
        fg.vmap(lambda x: lax.cond(x > 1, lambda: draw(k), lambda: 2 * draw(k)))(X), draw(k)
    ),
    "two keys of one seed": lambda k: sum_of(draw(random.key(5)), draw(random.key(5))),
}  # fmt: skip

FRESH = {
    "split": lambda k: sum_of(*map(draw, random.split(k, 3))),
    "rows by index": lambda k: (lambda ks: sum_of(*[draw(ks[i]) for i in range(3)]))(random.split(k, 3)),
    "rows of rows": lambda k: (lambda ks: sum_of(draw(ks[0, 1]), draw(ks[1, 0])))(random.split(k, (2, 2))),
    "fold_in of several integers": lambda k: sum_of(*[draw(random.fold_in(k, i)) for i in range(3)]),
    "fold_in, then a draw": lambda k: sum_of(random.fold_in(k, 1), draw(k)),
    "a draw, then fold_in": lambda k: sum_of(draw(k), random.fold_in(k, 1)),
    "looked at": lambda k: sum_of(k + 1, k, draw(k), k * 2),
    "carried": lambda k: lax.scan(carried, k, None, 40),
    "carried by a while": lambda k: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, carried(c[1], 0)[0]), (0, k)),
    "scanned": lambda k: lax.scan(lambda c, k: (c + draw(k), draw(random.fold_in(k, 0))), 0.0, random.split(k, 5)),
    "scanned backwards": lambda k: lax.scan(lambda c, k: (c + draw(k), None), 0.0, random.split(k, 5), reverse=True),
    "one step": lambda k: loop(draw, k, 1),
    "fori_loop": lambda k: lax.fori_loop(0, 3, lambda i, c: c + draw(random.fold_in(k, i)), 0.0),
    "branches": lambda k: lax.cond(draw(random.key(1)) > 0, draw, lambda k: 2 * draw(k), k),
    "branches of a switch": lambda k: lax.switch(random.randint(random.key(1), (), 0, 3), [draw] * 3, k),
    "unbatched in a vmap": lambda k: fg.vmap(lambda x: x * draw(k))(X),
    "batched": lambda k: fg.vmap(lambda k, x: x * draw(k))(random.split(k, 3), X),
    "fold_in of rows": lambda k: fg.vmap(lambda i: draw(random.fold_in(k, i)))(np.arange(3)),
    "a branch for each row": lambda k: fg.vmap(lambda x: lax.cond(x > 1, lambda: draw(k), lambda: 2 * draw(k)))(X),
    "a branch for each row and key": lambda k: fg.vmap(
        lambda k, x: lax.cond(x > 1, draw, lambda k: lax.cond(x > 0.6, draw, fg.jit(draw), k), k)
    )(random.split(k, 3), X),
    "rows that stop at different times": lambda k: fg.vmap(
        lambda k, n: lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, carried(c[1], 0)[0]), (0.0, k))
    )(random.split(k, 3), X),
    "grad": lambda k: fg.grad(lambda x: x * draw(k))(1.0),
    "second derivative": lambda k: fg.grad(fg.grad(lambda x: x**3 * draw(k)))(1.0),
    "hessian": lambda k: fg.hessian(lambda x: fnp.sum(x**3) * draw(k))(X),
    "grad of a scan": lambda k: fg.grad(lambda x: lax.scan(lambda c, k: (c * draw(k), None), x, random.split(k))[0])(1.0),
    "checkpoint": lambda k: fg.grad(fg.checkpoint(lambda x, k: fnp.sin(x * draw(k))))(1.0, k),
    "checkpoint of a program": lambda k: fg.grad(fg.checkpoint(lambda x, k: fnp.sin(x * fg.jit(draw)(k))))(1.0, k),
    "checkpointed steps": lambda k: fg.grad(
        lambda x: lax.scan(fg.checkpoint(lambda c, k: (fnp.sin(c * draw(k)), None)), x, random.split(k, 3))[0]
    )(1.0),
    "linearize": lambda k: fg.linearize(lambda x: fnp.sin(x) * draw(k), 1.0)[1](2.0),
}  # fmt: skip


OUTER = pytest.mark.parametrize(
    "outer", [lambda f: f, fg.jit, lambda f: fg.jit(fg.jit(f))], ids=["eager", "jit", "nested"]
)


@pytest.mark.parametrize("name", REUSED)
@OUTER
def test_a_second_use_is_found(name, outer):
    with pytest.raises(KeyReuseError):
        outer(REUSED[name])(new())


@pytest.mark.parametrize("name", FRESH)
@OUTER
def test_what_is_no_second_use_passes(name, outer):
    with fg.config(debug_key_reuse=False):
        want = fg.tree.leaves(FRESH[name](new()))
    for got, expected in zip(fg.tree.leaves(outer(FRESH[name])(new())), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-13)


def distributions():
    given = {
        "a": X, "b": X, "lam": X, "alpha": X, "df": 4.0, "p": 0.5, "logits": X, "mean": X, "cov": np.eye(3), "d": 3, "n": 3,
        "x": X, "minval": 0, "maxval": 9, "shape": (3,), "lower": -X, "upper": X,
    }  # fmt: skip
    for name in random.__all__:
        if name not in ("key", "fold_in"):
            function = getattr(random, name)
            needed = [
                p.name
                for p in inspect.signature(function).parameters.values()
                if p.default is p.empty and p.name != "key"
            ]
            yield pytest.param(function, {n: given[n] for n in needed}, id=name)


@pytest.mark.parametrize("function, arguments", list(distributions()))
def test_every_distribution_uses_its_key_once(function, arguments):
    sample = lambda key: function(key, **arguments)
    first, second, *rest = random.split(new(), 6)
    sample(first)
    fg.jit(sample)(second)
    fg.vmap(sample)(fnp.stack(rest[:2]))
    fg.jit(fg.vmap(sample))(fnp.stack(rest[2:]))
    for used in (first, second, *rest):
        with pytest.raises(KeyReuseError):
            sample(used)
        with pytest.raises(KeyReuseError):
            fg.jit(sample)(used)


@pytest.mark.parametrize("first", [draw, fg.jit(draw)], ids=["eager", "jit"])
@pytest.mark.parametrize("second", [draw, fg.jit(draw), lambda k: fg.vmap(draw)(k[None])], ids=["eager", "jit", "vmap"])
def test_uses_by_different_calls_are_found(first, second):
    key = new()
    first(key)
    with pytest.raises(KeyReuseError):
        second(key)


def test_both_lines_are_named():
    key = new()
    early = draw(key)
    with pytest.raises(KeyReuseError) as caught:
        early + random.uniform(key)
    first, again = str(caught.value).split("again at")
    assert "the key [0 3] is used twice" in first
    assert "first at" in first and "return random.normal(key)" in first
    assert "early + random.uniform(key)" in again
    assert "fg.random.split(key)" in again


def test_the_call_of_a_program_is_named():
    key = new()
    f = fg.jit(draw)
    first_call = f(key)
    with pytest.raises(KeyReuseError) as caught:
        second_call = f(key)  # noqa: F841
    first, again = str(caught.value).split("again at")
    assert "in a program called at" in first and "first_call = f(key)" in first
    assert "second_call = f(key)" in again and "return random.normal(key)" in again
    assert first_call is not None


def test_split_and_fold_in_give_one_key():
    draw(random.split(new())[1])
    with pytest.raises(KeyReuseError):
        draw(random.fold_in(new(), 1))


def test_a_loop_is_told_to_replace_the_key():
    with pytest.raises(KeyReuseError, match="in a loop that does not replace the key"):
        fg.jit(lambda k: loop(draw, k))(new())


def test_fold_in_names_the_integer():
    key = new()
    random.fold_in(key, 7)
    with pytest.raises(KeyReuseError, match=r"\[0 3\] is folded twice with the integer 7"):
        random.fold_in(key, 7)


def test_each_block_begins_anew():
    draw(new())
    with fg.config(debug_key_reuse=False):
        draw(new())
        draw(new())
        fg.jit(lambda k: (draw(k), draw(k)))(new())
    draw(new())


def test_a_block_inside_a_block_goes_on():
    draw(new())
    with fg.config(debug_key_reuse=True), pytest.raises(KeyReuseError):
        draw(new())


def test_a_program_that_was_traced_before_is_looked_at():
    f = fg.jit(lambda k: draw(k) + draw(k))
    with fg.config(debug_key_reuse=False):
        f(new())
    with pytest.raises(KeyReuseError):
        f(new())


def test_a_failed_program_has_used_nothing():
    key, other = random.split(new())
    with pytest.raises(KeyReuseError):
        fg.jit(lambda k, o: sum_of(draw(o), draw(k), draw(k)))(key, other)
    draw(key)
    draw(other)


def test_together_with_debug_nans():
    with fg.config(debug_nans=True):
        fg.jit(FRESH["carried"])(new())
        with pytest.raises(KeyReuseError):
            fg.jit(REUSED["constant of a scan"])(random.key(11))


def test_programs_hold_no_trace_of_it():
    assert "use_key" in str(fg.make_jaxpr(draw)(new()))
    assert "use_key" not in fg.jit(draw).lower(new()).compile().as_text()
    with fg.config(debug_key_reuse=False):
        assert "use_key" not in str(fg.make_jaxpr(draw)(new()))


def test_other_threads_do_not_look():
    found = []
    draw(new())
    thread = threading.Thread(target=lambda: found.append(draw(new())))
    thread.start()
    thread.join()
    assert len(found) == 1
