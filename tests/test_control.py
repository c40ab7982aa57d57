"""Control flow against plain Python: values, and derivatives to second order, eager, jitted and mapped.

``agree`` compares a function written with control flow with the same one written with Python's own `for` and `if`, whose
transformations other tests check.
"""

import functools
import io
from contextlib import redirect_stdout

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.errors import MissingRuleError, OperandError
from funcgrad.testing import assert_close, check_grads

rng = np.random.default_rng(3)
V = rng.uniform(0.5, 1.5, 3)
W = rng.standard_normal((3, 3)) * 0.5
X = rng.standard_normal((4, 3))


def total(f):
    """The sum of all results with weights that tell them apart."""

    def summed(*args):
        leaves = [y for y in fg.tree.leaves(f(*args)) if np.dtype(fnp.result_type(y)).kind == "f"]
        return sum((i + 1.0) * fnp.sum(fnp.sin(y)) for i, y in enumerate(leaves))

    return summed


def agree(f, plain, *args, reverse=True, tol=1e-10):
    """All derivatives with respect to the first argument, by every route, are those of ``plain``."""
    close = functools.partial(assert_close, atol=tol, rtol=tol)
    x, rest = args[0], args[1:]
    rows = fg.tree.map(lambda v: np.stack([v, v * 1.1, v * 0.9]), x)
    in_axes = (0, *[None] * len(rest))
    close(f(*args), plain(*args), what="value")
    close(fg.jit(f)(*args), plain(*args), what="jit")
    close(fg.vmap(f, in_axes)(rows, *rest), fg.vmap(plain, in_axes)(rows, *rest), what="vmap")
    close(fg.jit(fg.vmap(f, in_axes))(rows, *rest), fg.vmap(plain, in_axes)(rows, *rest), what="jit of vmap")
    g, h = total(f), total(plain)
    first = lambda k: lambda v: k(v, *rest)
    push = lambda k: lambda v: fg.jvp(k, (v,), (v,))[1]
    for outer in (lambda k: k, fg.jit):
        close(outer(push(first(g)))(x), push(first(h))(x), what="jvp")
        close(outer(push(push(first(g))))(x), push(push(first(h)))(x), what="jvp of jvp")
        if reverse:
            close(outer(fg.grad(g))(*args), fg.grad(h)(*args), what="grad")
            close(outer(fg.grad(push(first(g))))(x), fg.grad(push(first(h)))(x), what="grad of jvp")
            twice = lambda k: fg.grad(lambda v: fg.jvp(k, (v, *rest), (v, *[zero(r) for r in rest]))[1])
            close(outer(twice(g))(x), twice(h)(x), what="grad of jvp, all arguments")
            close(
                outer(fg.vmap(fg.grad(g), in_axes))(rows, *rest),
                fg.vmap(fg.grad(h), in_axes)(rows, *rest),
                what="vmap grad",
            )
            hessian = lambda k: fg.grad(lambda v: total(fg.grad(k))(v, *rest))
            close(outer(hessian(g))(x), hessian(h)(x), what="grad of grad")


def zero(x):
    return fg.tree.map(
        lambda v: np.zeros_like(v) if np.asarray(v).dtype.kind == "f" else np.zeros(np.shape(v), fg.float0), x
    )


def loop(f, carry, xs, length=None, reverse=False):
    """What scan means."""
    n = length if xs is None else fg.tree.leaves(xs)[0].shape[0]
    ys = []
    for i in reversed(range(n)) if reverse else range(n):
        carry, y = f(carry, fg.tree.map(lambda x, i=i: x[i], xs))
        ys.append(y)
    if reverse:
        ys.reverse()
    return carry, fg.tree.map(lambda *rows: fnp.stack(rows), *ys)


# scan -----------------------------------------------------------------------------------------------------------------


def recurrent(c, x):
    c = fnp.tanh(W @ c + x)
    return c, c * x


STEPS = {
    "matmul": (recurrent, V, X),
    "carry_only": (lambda c, x: (fnp.sin(c) * x, None), V, X),
    "ys_only": (lambda c, x: (c, fnp.sin(x * c)), V, X),
    "pytrees": (
        lambda c, x: ({"a": c["b"] * x[0], "b": fnp.sin(c["a"]) + x[1]["v"]}, [c["a"], (x[0],)]),
        {"a": V, "b": V + 1},
        (X, {"v": X * 2}),
    ),
    "scalars": (lambda c, x: (c * x + 0.5, c), np.float64(0.7), np.array([1.0, -2.0, 0.3])),
    "cond_inside": (
        lambda c, x: (lax.cond(x[0] > 0, lambda a: fnp.sin(a) * x, lambda a: a * a + x, c), fnp.sum(c)), V, X,
    ),
    "scan_inside": (lambda c, x: (lax.scan(lambda d, u: (fnp.tanh(d * u) + d, None), c, x)[0], c * x), V, X),
    "checkpoint_inside": (lambda c, x: fg.checkpoint(recurrent)(c, x), V, X),
    "jit_inside": (fg.jit(recurrent), V, X),
    "grad_inside": (lambda c, x: (fg.grad(lambda u: fnp.sum(fnp.sin(u * x) * c))(c), c), V, X),
    "vmap_inside": (lambda c, x: (fg.vmap(lambda a, b: fnp.sin(a) * b)(c, x), None), V, X),
}  # fmt: skip

PLAIN_STEPS = {
    "cond_inside": lambda c, x: (fnp.where(x[0] > 0, fnp.sin(c) * x, c * c + x), fnp.sum(c)),
    "scan_inside": lambda c, x: (loop(lambda d, u: (fnp.tanh(d * u) + d, None), c, x)[0], c * x),
    "checkpoint_inside": recurrent,
    "jit_inside": recurrent,
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", STEPS)
def test_scan(name, reverse):
    step, init, xs = STEPS[name]
    plain = PLAIN_STEPS.get(name, step)
    f = lambda c, v: lax.scan(step, c, v, reverse=reverse)
    agree(f, lambda c, v: loop(plain, c, v, reverse=reverse), init, xs)


@pytest.mark.parametrize("name", ["matmul", "pytrees", "ys_only"])
def test_scan_with_respect_to_xs(name):
    step, init, xs = STEPS[name]
    agree(lambda v, c: lax.scan(step, c, v), lambda v, c: loop(step, c, v), xs, init)


def test_scan_with_respect_to_what_it_closes_over():
    def f(run, w):
        return run(lambda c, x: (fnp.tanh(w @ c + x), fnp.sum(w) * c), V, X)

    agree(functools.partial(f, lax.scan), functools.partial(f, loop), W)


def test_scan_without_xs_and_with_none_results():
    step = lambda c, x: (fnp.sin(c) + (0.0 if x is None else 1.0), None)
    agree(lambda c: lax.scan(step, c, None, 3), lambda c: (loop(step, c, None, 3)[0], None), V)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_of_no_steps(reverse):
    f = lambda c, xs: lax.scan(recurrent, c, xs, reverse=reverse)
    empty = np.zeros((0, 3))
    for outer in (lambda k: k, fg.jit):
        c, ys = outer(f)(V, empty)
        np.testing.assert_array_equal(c, V)
        assert ys.shape == (0, 3)
        np.testing.assert_array_equal(outer(fg.grad(lambda v: fnp.sum(f(v, empty)[0] ** 2)))(V), 2 * V)
        assert outer(fg.grad(lambda e: fnp.sum(f(V, e)[1])))(empty).shape == (0, 3)


def test_integers_and_booleans_in_a_carry_beside_floats():
    def step(state, x):
        c, k, seen = state
        return (c * x + k, k + 1, seen | (k > 1)), (k, c)

    def f(run, c):
        return run(step, (c, np.int64(0), np.False_), X)

    (_, k, seen), (ks, _) = lax.scan(step, (V, 0, False), X)
    assert (k, bool(seen)) == (4, True)
    np.testing.assert_array_equal(ks, np.arange(4))
    agree(functools.partial(f, lax.scan), functools.partial(f, loop), V)


@pytest.mark.parametrize("init", [0, 1.0])
def test_a_python_scalar_as_the_first_carry_takes_the_dtype_of_the_body(init):
    xs = np.array([1.5, 2.5], np.float32)
    c, _ = lax.scan(lambda c, x: (c + x, None), init, xs)
    assert c.dtype == np.float32
    assert c == np.float32(4.0 + init)
    assert fg.jit(lambda v: lax.scan(lambda c, x: (c + x, None), init, v)[0])(xs).dtype == np.float32


def test_a_float_scalar_differentiates_as_a_first_carry():
    f = lambda c: lax.scan(lambda k, x: (k * x, None), c, np.array([2.0, 3.0]))[0]
    assert fg.grad(f)(5.0) == 6.0
    assert fg.jit(fg.grad(f))(5.0) == 6.0


def test_custom_rules_in_a_scan():
    @fg.custom_jvp
    def doubled(x):
        return fnp.sin(x)

    doubled.defjvp(lambda p, t: (doubled(*p), 2.0 * fnp.cos(p[0]) * t[0]))

    @fg.custom_vjp
    def tripled(x):
        return fnp.sin(x)

    tripled.defvjp(lambda x: (fnp.sin(x), x), lambda x, ct: (3.0 * fnp.cos(x) * ct,))
    for f in (doubled, tripled):
        step = lambda c, x, f=f: (f(c) * x, f(x))
        agree(lambda c, step=step: lax.scan(step, c, X), lambda c, step=step: loop(step, c, X), V)


def test_a_custom_rule_whose_rule_holds_a_loop_and_an_array():
    @fg.custom_jvp
    def f(x):
        return lax.scan(lambda c, _: (fnp.sin(c) * V, None), x, None, 3)[0]

    f.defjvp(lambda p, t: fg.jvp(lambda x: loop(lambda c, _: (fnp.sin(c) * V, None), x, None, 3)[0], p, t))
    plain = lambda x: loop(lambda c, _: (fnp.sin(c) * V, None), x, None, 3)[0]
    agree(f, plain, V)
    agree(lambda x: lax.scan(lambda c, _: (f(c), None), x, None, 2)[0], lambda x: plain(plain(x)), V)


@pytest.mark.parametrize("inner", [lambda f: f, fg.jit, fg.checkpoint], ids=["plain", "jit", "checkpoint"])
@pytest.mark.parametrize("kind", ["scan", "cond", "jvp", "grad"])
def test_a_custom_jvp_that_differentiates_control_flow(kind, inner):
    """The rule mixes values and tangents in one loop, which linearization must take apart."""
    bodies = {
        "scan": (lambda x: lax.scan(recurrent, x, X), lambda x: loop(recurrent, x, X)),
        "cond": (
            lambda x: lax.cond(fnp.sum(x) > 0, lambda v: (fnp.sin(v), fnp.sum(v)), lambda v: (v, fnp.sum(v * v)), x),
            lambda x: (fnp.sin(x), fnp.sum(x)),
        ),
        "jvp": (
            lambda x: fg.jvp(lambda v: lax.scan(recurrent, v, X), (x,), (V,)),
            lambda x: fg.jvp(lambda v: loop(recurrent, v, X), (x,), (V,)),
        ),
        "grad": (
            lambda x: fg.grad(lambda v: fnp.sum(lax.scan(recurrent, v, X)[1]))(x),
            lambda x: fg.grad(lambda v: fnp.sum(loop(recurrent, v, X)[1]))(x),
        ),
    }
    body, plain = bodies[kind]
    body = inner(body)
    f = fg.custom_jvp(lambda x: body(x))
    f.defjvp(lambda p, t: fg.jvp(body, p, t))
    agree(lambda x: f(x), plain, V)


def test_linear_transpose_of_a_loop_with_a_counter():
    def f(x):
        return lax.fori_loop(0, 3, lambda i, c: (i + 1.0) * (W @ c), x)

    (got,) = fg.linear_transpose(f, V)(V)
    w = 6.0 * np.linalg.matrix_power(W, 3)
    np.testing.assert_allclose(got, w.T @ V)

    def counted(x):
        return lax.scan(lambda s, _: ((s[0] + 1.0, (s[0] + 1.0) * (W @ s[1])), None), (0.0, x), None, 3)[0][1]

    (got,) = fg.linear_transpose(counted, V)(V)
    np.testing.assert_allclose(got, w.T @ V)


def test_checkpointed_scan_body_equals_the_plain_one_in_second_order():
    for policy in (None, fg.checkpoint_policies.dots_saveable, fg.checkpoint_policies.everything_saveable):
        step = fg.checkpoint(recurrent, policy=policy)
        agree(lambda c, step=step: lax.scan(step, c, X), lambda c: loop(recurrent, c, X), V)
        whole = fg.checkpoint(lambda c: lax.scan(recurrent, c, X), policy=policy)
        agree(whole, lambda c: loop(recurrent, c, X), V)


def test_scan_runs_its_body_in_order():
    seen = []
    lax.scan(lambda c, x: (fg.debug.callback(lambda v: seen.append(float(v)), x), (c, None))[1], 0.0, np.arange(3.0))
    assert seen == [0.0, 1.0, 2.0]
    seen.clear()
    lax.scan(
        lambda c, x: (fg.debug.callback(lambda v: seen.append(float(v)), x), (c, None))[1],
        0.0,
        np.arange(3.0),
        reverse=True,
    )
    assert seen == [2.0, 1.0, 0.0]


# cond and switch ------------------------------------------------------------------------------------------------------

BRANCHES = [
    lambda x, y: (fnp.sin(x) * y, y),
    lambda x, y: (x * x, fnp.sum(x) * y),
    lambda x, y: (fnp.zeros_like(x), 2.0 * y),
]


@pytest.mark.parametrize("index", [-3, 0, 1, 2, 7])
def test_switch(index):
    plain = BRANCHES[min(max(index, 0), 2)]
    f = lambda x, y: lax.switch(index, BRANCHES, x, y)
    agree(f, plain, V, np.float64(0.3))
    assert_close(fg.jit(lambda i, x: lax.switch(i, BRANCHES, x, 0.3))(index, V), plain(V, 0.3), what="traced index")


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_cond_on_the_value_it_differentiates(sign):
    f = lambda x: lax.cond(fnp.sum(x) > 0, lambda v: (fnp.exp(v), fnp.sum(v)), lambda v: (v**3, 2.0 * fnp.sum(v)), x)
    plain = (lambda x: (fnp.exp(x), fnp.sum(x))) if sign > 0 else (lambda x: (x**3, 2.0 * fnp.sum(x)))
    agree(f, plain, sign * V)


def test_cond_with_a_mapped_predicate_chooses_for_each_row():
    f = lambda p, x: lax.cond(p, lambda v: fnp.sin(v), lambda v: v * v, x)
    flags = np.array([True, False, True, False])
    expected = np.stack([np.sin(x) if p else x * x for p, x in zip(flags, X)])
    slopes = np.stack([np.cos(x) if p else 2 * x for p, x in zip(flags, X)])
    for outer in (lambda k: k, fg.jit):
        np.testing.assert_allclose(outer(fg.vmap(f))(flags, X), expected)
        np.testing.assert_allclose(outer(fg.vmap(f, (0, None)))(flags, X[0])[1], X[0] ** 2)
        gradient = fg.vmap(fg.grad(lambda p, x: fnp.sum(f(p, x)), argnums=1))
        np.testing.assert_allclose(outer(gradient)(flags, X), slopes)
        np.testing.assert_allclose(outer(fg.grad(lambda x: fnp.sum(fg.vmap(f)(flags, x))))(X), slopes)


def test_switch_with_a_mapped_index():
    indices = np.array([0, 2, 1, 5])
    got = fg.jit(fg.vmap(lambda i, x: lax.switch(i, BRANCHES, x, 0.3)))(indices, X)
    rows = [BRANCHES[min(i, 2)](x, 0.3) for i, x in zip(indices, X)]
    assert_close(got, (np.stack([r[0] for r in rows]), np.array([r[1] for r in rows])))


def test_the_branch_not_taken_does_not_run():
    seen = []
    note = lambda what: lambda x: (fg.debug.callback(lambda: seen.append(what)), x)[1]
    f = fg.jit(lambda p, x: lax.cond(p, note("true"), note("false"), x))
    f(True, 1.0)
    f(False, 1.0)
    assert seen == ["true", "false"]


def test_a_branch_not_taken_does_not_poison_the_gradient():
    f = lambda x: lax.cond(x > 0, lambda v: fnp.sqrt(v), lambda v: 0.0 * v, x)
    assert fg.grad(f)(0.0) == 0.0
    np.testing.assert_array_equal(fg.vmap(fg.grad(f))(np.array([0.0, 4.0])), [0.0, 0.25])


def test_cond_closes_over_traced_values():
    f = lambda x, p: lax.cond(p, lambda: fnp.sin(x), lambda: x * x)
    agree(lambda x: f(x, True), fnp.sin, V)
    agree(lambda x: f(x, False), lambda x: x * x, V)


def test_python_scalars_of_branches_meet_the_dtype_of_the_others():
    y = lax.cond(True, lambda x: x, lambda x: 0.0, np.float32(2.0))
    assert y.dtype == np.float32
    assert lax.cond(False, lambda x: x, lambda x: 0, np.float32(2.0)).dtype == np.float32


def test_cond_on_numbers():
    assert lax.cond(2, lambda: 1.0, lambda: 0.0) == 1.0
    assert lax.cond(0.0, lambda: 1.0, lambda: 0.0) == 0.0
    assert fg.jit(lambda p: lax.cond(p, lambda: 1.0, lambda: 0.0))(0.5) == 1.0


# Loops ----------------------------------------------------------------------------------------------------------------


def test_fori_loop_with_static_bounds():
    def plain(x, w):
        for i in range(1, 4):
            x = fnp.tanh(w @ x) * i
        return x

    f = lambda x, w: lax.fori_loop(1, 4, lambda i, v: fnp.tanh(w @ v) * i, x)
    agree(f, plain, V, W)
    agree(lambda w, x: f(x, w), lambda w, x: plain(x, w), W, V)


def test_fori_loop_of_no_steps():
    assert lax.fori_loop(3, 3, lambda i, x: x * 2, 5.0) == 5.0
    assert lax.fori_loop(4, 1, lambda i, x: x * 2, 5.0) == 5.0
    assert fg.jit(lambda n: lax.fori_loop(4, n, lambda i, x: x * 2, 5.0))(1) == 5.0
    assert fg.grad(lambda x: lax.fori_loop(3, 3, lambda i, v: v * 2, x))(5.0) == 1.0


def test_fori_loop_with_traced_bounds_goes_forward():
    f = lambda n, x: lax.fori_loop(0, n, lambda i, v: fnp.sin(v) + i, x)

    def plain(n, x):
        for i in range(n):
            x = np.sin(x) + i
        return x

    for n in (0, 1, 5):
        np.testing.assert_allclose(fg.jit(f)(n, V), plain(n, V))
    _, tangent = fg.jit(lambda n, x: fg.jvp(lambda v: f(n, v), (x,), (x,)))(3, V)
    h = 1e-6
    np.testing.assert_allclose(tangent, (plain(3, V * (1 + h)) - plain(3, V * (1 - h))) / (2 * h), rtol=1e-8)
    with pytest.raises(MissingRuleError, match=r"fori_loop with traced bounds.*lax.scan"):
        fg.jit(lambda n: fg.grad(lambda v: fnp.sum(f(n, v)))(V))(3)


def test_fori_loop_with_mapped_bounds():
    f = lambda n, x: lax.fori_loop(0, n, lambda i, v: v * 2 + i, x)
    counts = np.array([0, 3, 1, 5])
    expected = []
    for n, x in zip(counts, X):
        for i in range(n):
            x = x * 2 + i
        expected.append(x)
    np.testing.assert_allclose(fg.vmap(f)(counts, X), np.stack(expected))
    np.testing.assert_allclose(fg.jit(fg.vmap(f))(counts, X), np.stack(expected))


def newton(a):
    """The square root of a, by Newton's method to a tolerance: the number of steps depends on a."""
    return lax.while_loop(
        lambda s: fnp.abs(s[0] * s[0] - a) > 1e-12, lambda s: (0.5 * (s[0] + a / s[0]), s[1] + 1), (a, 0)
    )


def test_while_loop_values_derivatives_and_rows():
    root, steps = newton(2.0)
    assert root == pytest.approx(2**0.5)
    assert steps == 5
    assert fg.jit(newton)(2.0) == (root, steps)
    _, tangent = fg.jvp(lambda a: newton(a)[0], (2.0,), (1.0,))
    assert tangent == pytest.approx(0.5 / 2**0.5, rel=1e-6)
    assert fg.jit(fg.jacfwd(lambda a: newton(a)[0]))(2.0) == pytest.approx(tangent)
    second = fg.jacfwd(fg.jacfwd(lambda a: newton(a)[0]))(2.0)
    assert second == pytest.approx(-0.25 / 2**1.5, rel=1e-4)
    many = np.array([2.0, 9.0, 1e4, 0.25])
    roots, counts = fg.vmap(newton)(many)
    np.testing.assert_allclose(roots, np.sqrt(many))
    np.testing.assert_array_equal(counts, [newton(a)[1] for a in many])
    np.testing.assert_allclose(fg.jit(fg.vmap(fg.jacfwd(lambda a: newton(a)[0])))(many), 0.5 / np.sqrt(many), rtol=1e-6)


def test_while_loop_whose_rows_share_the_condition():
    f = lambda x: lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * 2), (0, x))[1]
    np.testing.assert_array_equal(fg.vmap(f)(V), V * 8)


def test_while_loop_with_a_carry_that_becomes_mapped_through_another():
    f = lambda x: lax.while_loop(lambda s: s[2] < 3, lambda s: (s[1], s[1] + x, s[2] + 1), (0.0, 0.0, 0))[0]
    np.testing.assert_allclose(fg.vmap(f)(V), V * 2)
    np.testing.assert_allclose(fg.jit(fg.vmap(f))(V), V * 2)
    assert fg.jvp(f, (1.0,), (1.0,))[1] == 2.0


def test_while_loop_beside_what_is_differentiated_is_allowed():
    def f(x):
        n = lax.while_loop(lambda k: k < 5, lambda k: k + 2, 0)
        return x * n

    assert fg.grad(f)(2.0) == 6.0
    assert fg.jit(fg.grad(f))(2.0) == 6.0


# map and associative_scan ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 4, 9])
def test_map(batch_size):
    body = lambda x: (fnp.sin(x), fnp.sum(x))
    plain = lambda xs: (fnp.sin(xs), fnp.sum(xs, 1))
    agree(lambda xs: lax.map(body, xs, batch_size=batch_size), plain, X)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8])
def test_associative_scan(n, reverse):
    matrices = np.random.default_rng(n).standard_normal((n, 2, 2))

    def plain(m):
        order = list(range(n))[::-1] if reverse else list(range(n))
        out = {}
        for k, i in enumerate(order):
            out[i] = m[i] if k == 0 else (out[order[k - 1]] @ m[i])
        return fnp.stack([out[i] for i in range(n)])

    agree(lambda m: lax.associative_scan(lambda a, b: a @ b, m, reverse=reverse), plain, matrices)


def test_associative_scan_of_a_linear_recurrence_along_an_axis():
    a, b = rng.uniform(0.1, 1.0, (2, 5)), rng.standard_normal((2, 5))
    combine = lambda p, q: (p[0] * q[0], q[0] * p[1] + q[1])
    _, h = lax.associative_scan(combine, (a, b), axis=1)
    expected, last = [], np.zeros(2)
    for i in range(5):
        last = a[:, i] * last + b[:, i]
        expected.append(last)
    np.testing.assert_allclose(h, np.stack(expected, 1))
    check_grads(lambda u, v: lax.associative_scan(combine, (u, v), axis=-1)[1], (a, b), order=2)


# Collectives ----------------------------------------------------------------------------------------------------------

COLLECTIVES = {
    "psum": (lambda x: x / lax.psum(x * x, "i"), lambda x: x / fnp.sum(x * x, 0)),
    "pmean": (lambda x: x - lax.pmean(fnp.sin(x), "i"), lambda x: x - fnp.mean(fnp.sin(x), 0)),
    "pmax": (lambda x: x * lax.pmax(x, "i"), lambda x: x * fnp.max(x, 0)),
    "pmin": (lambda x: x * lax.pmin(x, "i"), lambda x: x * fnp.min(x, 0)),
    "all_gather": (
        lambda x: fnp.sum(lax.all_gather(x, "i") * x, 1),
        lambda x: fnp.sum(x[None] * x[:, None], 2),
    ),
    "axis_index": (lambda x: x * lax.axis_index("i"), lambda x: x * fnp.arange(4.0)[:, None]),
    "in_jit": (fg.jit(lambda x: x / lax.psum(x * x, "i")), lambda x: x / fnp.sum(x * x, 0)),
    "in_scan": (
        lambda x: lax.scan(lambda c, _: (c - lax.pmean(c * c, "i"), None), x, None, 2)[0],
        lambda x: loop(lambda c, _: (c - fnp.mean(c * c, 0), None), x, None, 2)[0],
    ),
    "in_cond": (
        lambda x: lax.cond(True, lambda v: v / lax.psum(v * v, "i"), lambda v: v, x),
        lambda x: x / fnp.sum(x * x, 0),
    ),
    "in_checkpoint": (fg.checkpoint(lambda x: x / lax.psum(x * x, "i")), lambda x: x / fnp.sum(x * x, 0)),
}


@pytest.mark.parametrize("name", COLLECTIVES)
def test_collectives(name):
    by_row, plain = COLLECTIVES[name]
    agree(fg.vmap(by_row, axis_name="i"), plain, X)


def test_gradient_inside_the_mapped_function_goes_through_all_rows():
    # Each row differentiates the sum of all rows' losses with respect to its own x.
    f = lambda x: lax.psum(fnp.sum(x**2), "i")
    for outer in (lambda k: k, fg.jit):
        value, slope = outer(fg.vmap(fg.value_and_grad(f), axis_name="i"))(X)
        np.testing.assert_allclose(value, np.full(4, np.sum(X**2)))
        assert slope.shape == X.shape


def test_collectives_over_two_axes():
    f = lambda x: x / lax.psum(x, ("i", "j"))
    got = fg.vmap(fg.vmap(f, axis_name="j"), axis_name="i")(X)
    np.testing.assert_allclose(got, X / X.sum())
    inner = fg.vmap(fg.vmap(lambda x: lax.psum(x, "i"), axis_name="j"), axis_name="i")(X)
    np.testing.assert_allclose(inner, np.broadcast_to(X.sum(0), (4, 3)))


def test_all_gather_tiled_and_along_an_axis():
    assert_close(fg.vmap(lambda x: lax.all_gather(x, "i", axis=1), axis_name="i")(X)[2], X.T)
    assert_close(fg.vmap(lambda x: lax.all_gather(x, "i", tiled=True), axis_name="i")(X)[1], X.reshape(-1))


# Callbacks ------------------------------------------------------------------------------------------------------------

TYPE = fg.ShapeDtypeStruct((3,), np.float64)


def plain_sine(x):
    assert isinstance(x, (np.ndarray, np.generic))
    return np.sin(x)


@fg.custom_jvp
def outside_sine(x):
    return fg.pure_callback(plain_sine, TYPE, x)


@outside_sine.defjvp
def _outside_sine_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return outside_sine(x), fg.pure_callback(np.cos, TYPE, x) * t


def test_pure_callback_under_jit_and_vmap_and_loops():
    f = lambda x: fg.pure_callback(plain_sine, TYPE, x)
    for outer in (lambda k: k, fg.jit):
        np.testing.assert_allclose(outer(f)(V), np.sin(V))
        np.testing.assert_allclose(outer(fg.vmap(f))(X), np.sin(X))
        np.testing.assert_allclose(
            outer(lambda x: lax.scan(lambda c, _: (f(c), None), x, None, 2)[0])(V), np.sin(np.sin(V))
        )
        np.testing.assert_allclose(outer(lambda x: lax.cond(True, f, lambda v: v, x))(V), np.sin(V))
        np.testing.assert_allclose(outer(fg.checkpoint(f))(V), np.sin(V))


def test_pure_callback_in_a_custom_rule_differentiates():
    h = lambda x: fnp.sum(outside_sine(x) * x)
    slope = np.cos(V) * V + np.sin(V)
    for outer in (lambda k: k, fg.jit):
        np.testing.assert_allclose(outer(fg.grad(h))(V), slope)
        np.testing.assert_allclose(outer(fg.vmap(fg.grad(h)))(np.stack([V, V]))[1], slope)
        np.testing.assert_allclose(outer(fg.grad(lambda x: fnp.sum(lax.map(outside_sine, x))))(X), np.cos(X))


def test_pure_callback_without_a_rule_has_no_derivative():
    with pytest.raises(MissingRuleError, match="pure_callback has no derivative.*custom_jvp"):
        fg.grad(lambda x: fnp.sum(fg.pure_callback(np.sin, TYPE, x)))(V)


@pytest.mark.parametrize("method", ["sequential", "expand_dims", "broadcast_all"])
def test_pure_callback_says_how_it_takes_batches(method):
    shapes = []

    def add(a, b):
        shapes.append((np.shape(a), np.shape(b)))
        return np.asarray(a + b)

    got = fg.vmap(lambda a: fg.pure_callback(add, TYPE, a, V, vmap_method=method))(X)
    np.testing.assert_allclose(got, X + V)
    expected = {
        "sequential": [((3,), (3,))] * 4,
        "expand_dims": [((4, 3), (1, 3))],
        "broadcast_all": [((4, 3), (4, 3))],
    }
    assert shapes == expected[method]


def test_pure_callback_checks_what_it_was_promised():
    with pytest.raises(OperandError, match=r"<lambda> returned f64\[2\], but f64\[3\] was promised"):
        fg.pure_callback(lambda x: x[:2], TYPE, V)
    with pytest.raises(OperandError, match=r"returned f32\[3\], but f64\[3\] was promised"):
        fg.jit(lambda x: fg.pure_callback(lambda v: v.astype(np.float32), TYPE, x))(V)


def printed(f, *args):
    out = io.StringIO()
    with redirect_stdout(out):
        f(*args)
    return out.getvalue().splitlines()


def shown(x):
    fg.debug.print("x = {}", x)
    return x * x


def test_debug_print_under_every_transform():
    assert printed(shown, 2.0) == ["x = 2.0"]
    assert printed(fg.jit(shown), 2.0) == ["x = 2.0"]
    assert printed(fg.grad(shown), 2.0) == ["x = 2.0"]
    assert printed(fg.jit(fg.grad(shown)), 2.0) == ["x = 2.0"]
    assert printed(lambda x: fg.jvp(shown, (x,), (1.0,)), 2.0) == ["x = 2.0"]
    assert printed(fg.vmap(shown), np.array([1.0, 2.0])) == ["x = 1.0", "x = 2.0"]
    assert printed(fg.jit(fg.vmap(fg.grad(shown))), np.array([1.0, 2.0])) == ["x = 1.0", "x = 2.0"]
    loops = lambda x: lax.scan(lambda c, v: (c + shown(v), None), 0.0, x)[0]
    assert printed(fg.jit(fg.grad(loops)), np.array([1.0, 2.0])) == ["x = 1.0", "x = 2.0"]
    assert printed(lambda p: lax.cond(p, shown, lambda x: x, 3.0), True) == ["x = 3.0"]
    assert printed(fg.jit(lambda x: lax.while_loop(lambda c: c < 5, lambda c: shown(c) + c, x)), 2.0) == ["x = 2.0"]
    assert printed(fg.make_jaxpr(shown), 2.0) == []


def test_debug_print_runs_at_every_call_of_a_jitted_function():
    f = fg.jit(shown)
    assert printed(f, 2.0) + printed(f, 3.0) == ["x = 2.0", "x = 3.0"]


def test_debug_print_formats_by_name_and_keeps_what_is_no_array():
    f = fg.jit(lambda x: fg.debug.print("{what}: {x:.2f}", what="loss", x=x))
    assert printed(f, 0.125) == ["loss: 0.12"]


def test_debug_callback_sees_plain_arrays():
    seen = []
    f = lambda x: (fg.debug.callback(lambda v, k: seen.append((type(v), k)), x * 2, k=1), x)[1]
    fg.jit(fg.grad(lambda x: fnp.sum(f(x))))(V)
    assert seen == [(np.ndarray, 1)]


def test_debug_breakpoint_opens_pdb_with_the_values(monkeypatch):
    def f(x):
        y = x * 2.0
        fg.debug.breakpoint()
        return fnp.sum(y)

    for outer in (lambda k: k, fg.jit, fg.grad, lambda k: fg.jit(fg.grad(k))):
        monkeypatch.setattr("sys.stdin", io.StringIO("p sorted(values), values['y']\nc\n"))
        text = "\n".join(printed(outer(f), V))
        assert "test_control.py" in text
        assert "['x', 'y']" in text
        assert str(V[0] * 2.0)[:6] in text


# What programs look like ----------------------------------------------------------------------------------------------


def names(jaxpr):
    found = []
    for eqn in jaxpr.eqns:
        found.append(eqn.primitive.name)
        for inner in fg.extend.subjaxprs(eqn.params):
            found += names(inner)
    return found


def test_a_loop_is_one_equation_however_long():
    short = fg.make_jaxpr(fg.grad(lambda x: fnp.sum(lax.scan(recurrent, x, X[:2])[0])))(V)
    long = fg.make_jaxpr(fg.grad(lambda x: fnp.sum(lax.scan(recurrent, x, np.ones((500, 3)))[0])))(V)
    assert names(short) == names(long)
    assert names(long).count("scan") == 2


def test_a_body_is_traced_a_bounded_number_of_times():
    calls = []

    def step(c, x):
        calls.append(1)
        return c * x, None

    fg.jit(fg.hessian(lambda c: fnp.sum(lax.scan(step, c, X)[0])))(V)
    assert len(calls) == 1


def test_a_constant_of_a_loop_is_not_stacked():
    """The weights are a residual of every step, but one array."""
    jaxpr = fg.make_jaxpr(fg.grad(lambda w: fnp.sum(lax.scan(lambda c, x: (w @ fnp.tanh(c + x), None), V, X)[0])))(W)
    _, backward = [e for e in jaxpr.eqns if e.primitive.name == "scan"]
    shapes = [a.aval.shape for a in backward.inputs]
    assert (4, 3, 3) not in shapes
    assert (3, 3) in shapes
