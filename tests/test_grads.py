"""Every differentiable row of the op table against the laws of derivatives, and the places where rules go wrong: ties,
branches not taken, repeated indices, products with zeros, constants among the operands.

Forward mode is compared with central differences, reverse mode with forward mode by the inner product that defines a
transpose, both of first and second order; where JAX is installed, gradients with JAX's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops import TABLE, Op

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax, primitives
from funcgrad.testing import check_grads, check_jvp, check_vjp

DIFFERENTIABLE = [op for op in TABLE if op.grad and "float64" in op.dtypes]
HOLOMORPHIC = [op for op in TABLE if op.grad and "complex128" in op.dtypes]


def leaves(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def of_inputs(op: Op, args: list[Any]) -> tuple[Any, list[Any]]:
    """The function of the differentiable arguments alone, and these; its inexact results in a list."""

    def f(*xs: Any) -> list[Any]:
        full = list(args)
        for i, x in zip(op.grad, xs, strict=True):
            full[i] = x
        return [y for y in leaves(op.function(*full)) if np.dtype(y.dtype).kind in "fc"]

    return f, [args[i] for i in op.grad]


def scalar(op: Op, args: list[Any], seed: int = 5) -> tuple[Any, list[Any]]:
    """A real function of the differentiable arguments: the results weighed by random numbers and summed up."""
    f, xs = of_inputs(op, args)
    rng = np.random.default_rng(seed)
    weights = []
    for y in f(*xs):
        w = rng.standard_normal(np.shape(y))
        weights.append(w + 1j * rng.standard_normal(np.shape(y)) if np.dtype(y.dtype).kind == "c" else w)
    return lambda *xs: sum(fnp.sum(fnp.real(w * y)) for w, y in zip(weights, f(*xs), strict=True)), xs


def close(got: Any, want: Any, tolerance: float = 1e-12) -> None:
    for x, y in zip(leaves(got), leaves(want), strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        scale = float(np.max(np.abs(y), initial=0.0)) or 1.0
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * scale)


def ids(rows: list[Op]) -> list[str]:
    return [op.name for op in rows]


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=ids(DIFFERENTIABLE))
def test_derivatives_to_second_order(op: Op) -> None:
    f, xs = of_inputs(op, op.sample("float64", seed=2))
    check_grads(f, xs, order=op.order, tol=1e-5)


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=ids(DIFFERENTIABLE))
def test_derivatives_of_rank_0_and_empty_arrays(op: Op) -> None:
    for shape in op.shapes[1:]:
        f, xs = of_inputs(op, op.sample("float64", shape, seed=3))
        check_grads(f, xs, order=2, tol=1e-5)


@pytest.mark.parametrize("op", HOLOMORPHIC, ids=ids(HOLOMORPHIC))
def test_complex_derivatives(op: Op) -> None:
    f, xs = of_inputs(op, op.sample("complex128", seed=4))
    check_grads(f, xs, order=op.order, tol=1e-5)


@pytest.mark.parametrize("op", HOLOMORPHIC, ids=ids(HOLOMORPHIC))
def test_complex_gradients_follow_jaxs_convention(op: Op) -> None:
    """grad f at z = a + ib is df/da - i df/db, each by a central difference, element by element."""
    f, xs = scalar(op, op.sample("complex128", seed=6))
    gradient = fg.grad(f, argnums=tuple(range(len(xs))))(*xs)
    h = 1e-5
    for i, (x, g) in enumerate(zip(xs, gradient, strict=True)):
        assert (g.shape, g.dtype) == (x.shape, x.dtype)
        for at in list(np.ndindex(x.shape))[:4]:

            def moved(step: complex, i: int = i, x: Any = x, at: Any = at) -> float:
                y = x.copy()
                y[at] += step
                return float(f(*xs[:i], y, *xs[i + 1 :]))

            want = (moved(h) - moved(-h)) / (2 * h) - 1j * (moved(1j * h) - moved(-1j * h)) / (2 * h)
            assert abs(g[at] - want) <= 1e-7 * max(1.0, abs(want))


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=ids(DIFFERENTIABLE))
def test_gradients_compiled_and_mapped_equal_eager(op: Op) -> None:
    samples = [op.sample("float64", seed=20 + i) for i in range(2)]
    for sample in samples[1:]:
        # Arguments without a derivative (indices, predicates) are the function's own, so all rows share them.
        sample[:] = [s if i in op.grad else first for i, (s, first) in enumerate(zip(sample, samples[0], strict=True))]
    f, xs = scalar(op, samples[0])
    every = tuple(range(len(xs)))
    g = fg.grad(f, argnums=every)
    eager = g(*xs)
    close(fg.jit(g)(*xs), eager)
    close(fg.grad(fg.jit(f), argnums=every)(*xs), eager)
    rows = [[s[i] for i in op.grad] for s in samples]
    stacked = [np.stack(column) for column in zip(*rows, strict=True)]
    want = [np.stack(column) for column in zip(*(g(*row) for row in rows), strict=True)]
    close(fg.vmap(g)(*stacked), want)
    close(fg.jit(fg.vmap(g))(*stacked), want)
    assert not any(np.shares_memory(x, y) for x in xs for y in eager)


@pytest.mark.parametrize("op", [op for op in DIFFERENTIABLE if len(op.grad) > 1], ids=str)
def test_rules_with_constants_among_the_operands(op: Op) -> None:
    """A derivative in one operand is the part of the full one: a rule may not touch a tangent that is not there."""
    f, xs = of_inputs(op, op.sample("float64", seed=7))
    rng = np.random.default_rng(0)
    out, pullback = fg.vjp(f, *xs)
    w = [rng.standard_normal(y.shape).astype(y.dtype) for y in out]
    full = pullback(w)
    for i, x in enumerate(xs):
        t = rng.standard_normal(x.shape)

        def alone(y: Any, i: int = i) -> Any:
            return f(*xs[:i], y, *xs[i + 1 :])

        zeros = [t if k == i else np.zeros(y.shape) for k, y in enumerate(xs)]
        close(fg.jvp(alone, (x,), (t,))[1], fg.jvp(f, tuple(xs), tuple(zeros))[1])
        close(fg.vjp(alone, x)[1](w), [full[i]])
        check_vjp(alone, (x,))


@pytest.mark.parametrize("op", [op for op in DIFFERENTIABLE if "float32" in op.dtypes and op.primitive], ids=str)
def test_tangents_keep_the_dtype(op: Op) -> None:
    f, xs = of_inputs(op, op.sample("float32", seed=8))
    out, tangents = fg.jvp(f, tuple(xs), tuple(np.ones_like(x) for x in xs))
    cts = fg.vjp(f, *xs)[1]([np.ones_like(y) for y in out])
    assert [t.dtype for t in tangents] == [y.dtype for y in out]
    assert all(np.zeros(0, y.dtype).real.dtype == np.float32 for y in out) or op.primitive == "convert"
    assert [c.dtype for c in cts] == [x.dtype for x in xs]


#: pure_callback refuses to be differentiated; the conversion to float32 has a derivative, but no finite difference.
NOT_DIFFERENTIABLE = [
    op for op in TABLE
    if not op.grad and "float64" in op.dtypes and op.name not in ("pure_callback", "convert[float32]")
]  # fmt: skip


@pytest.mark.parametrize("op", NOT_DIFFERENTIABLE, ids=ids(NOT_DIFFERENTIABLE))
def test_results_without_a_derivative_have_none(op: Op) -> None:
    """Comparisons and the like: the tangent of a boolean or an integer is of dtype float0, and gradients are zero."""
    args = op.sample("float64", seed=9)
    out, tangents = fg.jvp(op.function, tuple(args), tuple(np.ones_like(x) for x in args))
    for y, t in zip(leaves(out), leaves(tangents), strict=True):
        assert t.shape == y.shape
        if y.dtype.kind in "fc":
            assert t.dtype == y.dtype and not np.any(t)
        else:
            assert t.dtype == fg.float0

    def weighed(*xs: Any) -> Any:
        return sum(fnp.sum(y * xs[0].ravel()[0]) for y in leaves(op.function(*xs)))

    gradient = fg.grad(weighed)(*args)
    want = np.zeros_like(args[0])
    want.ravel()[0] = sum(np.sum(y, dtype=np.float64) for y in leaves(out))
    close(gradient, want)


# Where rules go wrong -------------------------------------------------------------------------------------------------


def everywhere(f: Any, *args: Any) -> list[Any]:
    """The gradient of f in its first argument: eager, compiled, of the compiled, mapped, and by forward mode."""
    g = fg.grad(f)
    rows = [np.stack([np.asarray(x)] * 2) for x in args]
    found = [g(*args), fg.jit(g)(*args), fg.grad(fg.jit(f))(*args), fg.vmap(g)(*rows)[1], fg.jit(fg.vmap(g))(*rows)[0]]
    return [np.asarray(x) for x in [*found, fg.jacfwd(f)(*args), fg.jit(fg.jacfwd(f))(*args)]]


def assert_gradient(f: Any, args: tuple[Any, ...], want: Any) -> None:
    for got in everywhere(f, *args):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "f, x, want",
    [
        (lambda x: fnp.where(x > 0, fnp.sqrt(x), 0.0), 0.0, 0.0),
        (lambda x: fnp.where(x > 0, fnp.sqrt(x), 0.0), 4.0, 0.25),
        (lambda x: fnp.where(x > 0, fnp.log(x), x), 0.0, 1.0),
        (lambda x: fnp.where(x != 0, 1 / x, 3 * x), 0.0, 3.0),
        (lambda x: fnp.where(x > 0, x**0.5 * fnp.exp(x), 0.0), 0.0, 0.0),
        (lambda x: fnp.where(x == 0, 1.0, fnp.sin(x) / x), 0.0, 0.0),
        (lambda x: fnp.where(x > 0, fnp.where(x > 1, fnp.sqrt(x - 1), fnp.log(x)), 2 * x), 0.0, 2.0),
        (lambda x: lax.select(x > 0, lax.rsqrt(x), x), 0.0, 1.0),
    ],
    ids=["sqrt", "sqrt taken", "log", "reciprocal", "power", "sinc", "nested", "rsqrt"],
)
def test_a_branch_not_taken_gives_no_nan(f: Any, x: float, want: float) -> None:
    with np.errstate(all="ignore"):
        assert_gradient(f, (np.float64(x),), want)


def test_a_branch_not_taken_gives_no_nan_in_arrays() -> None:
    x = np.array([-1.0, 0.0, 4.0])

    def f(x: Any) -> Any:
        return fnp.sum(fnp.where(x > 0, fnp.sqrt(x), 0.0) * np.array([1.0, 2.0, 3.0]))

    with np.errstate(all="ignore"):
        assert_gradient(f, (x,), [0.0, 0.0, 0.75])


def test_a_value_of_several_branches_gives_no_nan() -> None:
    """Where a value stands in two branches, its cotangent is zero for sure where neither was chosen."""

    def f(x: Any) -> Any:
        s = fnp.sqrt(x)
        return fnp.sum(fnp.where(x > 1, 2 * s, fnp.where(x > 0, s, 0.0)))

    with np.errstate(all="ignore"):
        assert_gradient(f, (np.array([-1.0, 0.0, 0.25, 4.0]),), [0.0, 0.0, 1.0, 0.5])


def test_a_branch_not_taken_gives_no_nan_by_a_scalar_predicate() -> None:
    """A normalised vector: the predicate is the norm's, the branch a vector, by itself and in rows."""

    def f(v: Any) -> Any:
        n = fnp.sqrt(fnp.sum(v * v))
        return fnp.sum(fnp.where(n > 0, v / n, 0.0) * np.arange(1.0, 4.0))

    with np.errstate(all="ignore"):
        assert_gradient(f, (np.zeros(3),), np.zeros(3))
        rows = np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]])
        n, w = 5.0, np.arange(1.0, 4.0)
        want = np.stack([np.zeros(3), w / n - rows[1] * (rows[1] @ w) / n**3])
        assert_gradient(lambda v: fnp.sum(fg.vmap(f)(v)), (rows,), want)


@pytest.mark.parametrize(
    "f, x, want",
    [
        # Equal operands take half each, equal elements equal parts: a symmetric subgradient.
        (lambda x: fnp.maximum(x, 1.0), 1.0, 0.5),
        (lambda x: fnp.minimum(x, 1.0), 1.0, 0.5),
        (lambda x: fnp.maximum(x, x), 2.0, 1.0),
        (lambda x: fnp.maximum(1.0, x) + fnp.minimum(1.0, x), 1.0, 1.0),
        (fnp.abs, 0.0, 0.0),
        (fnp.sign, 0.0, 0.0),
        (lambda x: fnp.sum(fnp.abs(x)), [0.0, -2.0, 3.0], [0.0, -1.0, 1.0]),
        (fnp.max, [1.0, 3.0, 3.0], [0.0, 0.5, 0.5]),
        (fnp.min, [2.0, 2.0, 2.0, 5.0], [1 / 3, 1 / 3, 1 / 3, 0.0]),
        (lambda x: fnp.sum(fnp.max(x, axis=1)), [[1.0, 1.0], [0.0, 2.0]], [[0.5, 0.5], [0.0, 1.0]]),
        (lambda x: fnp.clip(x, 0.0, 1.0), 0.5, 1.0),
        (lambda x: fnp.clip(x, 0.0, 1.0), 2.0, 0.0),
    ],
)
def test_ties_share_the_gradient(f: Any, x: Any, want: Any) -> None:
    assert_gradient(f, (np.asarray(x),), want)


@pytest.mark.parametrize("f", [fnp.max, fnp.min, lambda x: fnp.sum(fnp.sort(x)), lambda x: lax.cummax(x)[-1]])
def test_the_gradient_at_a_tie_is_a_subgradient(f: Any) -> None:
    """Moving all elements by t moves an extremum by t, whichever element is chosen."""
    x = np.array([2.0, 1.0, 2.0, 1.0])
    scale = float(f(x + 1.0) - f(x))
    for got in everywhere(f, x):
        assert np.sum(got) == pytest.approx(scale) and np.all(got >= 0)


def test_reduce_window_max_takes_one_of_equals() -> None:
    x = np.ones((1, 1, 4, 4))
    window = {"window": (1, 1, 2, 2), "strides": (1, 1, 2, 2), "padding": ((0, 0),) * 4, "dilation": (1,) * 4}
    for got in everywhere(lambda x: fnp.sum(primitives.reduce_window_max(x, **window)), x):
        assert np.sum(got) == 4 and set(np.unique(got)) == {0.0, 1.0}
        np.testing.assert_array_equal(got.reshape(2, 2, 2, 2).sum((1, 3)), np.ones((2, 2)))


_PRODUCTS = [[2.0, 3.0, 4.0], [2.0, 0.0, 4.0], [0.0, 0.0, 4.0], [0.0, 0.0, 0.0], [0.0], []]


def others(x: Any) -> Any:
    return [np.prod(np.delete(x, i)) for i in range(len(x))]


@pytest.mark.parametrize("x", _PRODUCTS, ids=str)
def test_products_with_zeros(x: list[float]) -> None:
    x = np.array(x)
    assert_gradient(fnp.prod, (x,), np.array(others(x)))
    check_grads(fnp.prod, (x,), order=3, tol=1e-5)
    hessian = [[0.0 if i == j else np.prod(np.delete(x, [i, j])) for j in range(len(x))] for i in range(len(x))]
    np.testing.assert_allclose(fg.hessian(fnp.prod)(x), np.reshape(hessian, (len(x), len(x))))
    check_grads(lambda x: fnp.cumprod(x), (x,), order=3, tol=1e-5)
    check_grads(lambda x: lax.cumprod(x, reverse=True), (x,), order=2, tol=1e-5)


def test_products_over_several_axes_with_zeros() -> None:
    x = np.random.default_rng(0).uniform(0.5, 2, (3, 2, 4))
    x[0, 0, 0] = x[2, 0, 3] = x[1, 1, 1] = 0.0
    for axes in [(0, 2), (1,), (0, 1, 2), ()]:
        check_grads(lambda x, axes=axes: primitives.reduce_prod(x, axes=axes), (x,), order=3, tol=1e-5)


_REPEATED = np.array([1, 3, 1, -3, 0, 1])


@pytest.mark.parametrize("kind", ["set", "add", "mul", "min", "max"])
@pytest.mark.parametrize("zeros", [(), (0,), (0, 2), (4,)], ids=str)
def test_scatter_at_repeated_indices(kind: str, zeros: tuple[int, ...]) -> None:
    """Places 1 and -3 are the same one of four: it gets four updates, three of them by one index, one by another."""
    rng = np.random.default_rng(1)
    x, u = rng.standard_normal(4), rng.standard_normal(6)
    if kind not in ("min", "max"):
        u[list(zeros)] = 0.0  # equal extrema have no derivative: see below

    def f(x: Any, u: Any) -> Any:
        return primitives.scatter(x, u, _REPEATED, axes=(0,), kind=kind)

    check_grads(f, (x, u), order=3, tol=1e-4)
    check_grads(lambda u: f(x, u), (u,), order=2, tol=1e-5)
    check_grads(lambda x: f(x, u), (x,), order=2, tol=1e-5)
    jacobian = fg.jacrev(f, argnums=1)(x, u)
    close(fg.jacfwd(f, argnums=1)(x, u), jacobian)
    rows = fg.vmap(fg.jacrev(f, argnums=1))(np.stack([x, x + 1]), np.stack([u, u]))
    close(rows[0], jacobian)
    if kind == "set":
        # The last update at a place wins, and alone has a derivative.
        want = np.zeros((4, 6))
        want[1, 5] = want[3, 1] = want[0, 4] = 1.0
        np.testing.assert_array_equal(jacobian, want)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 9])
def test_products_of_any_number_of_updates_of_one_place(count: int) -> None:
    u = np.random.default_rng(count).uniform(0.5, 2.0, count)

    def f(u: Any) -> Any:
        return primitives.scatter(np.full(2, 3.0), u, np.ones(count, np.int64), axes=(0,), kind="mul")[1]

    close(fg.grad(f)(u), 3.0 * np.array(others(u)))
    u[0] = 0.0
    close(fg.grad(f)(u), 3.0 * np.array(others(u)))


@pytest.mark.parametrize("kind", ["set", "add", "mul", "min", "max"])
def test_scatter_of_rows_at_repeated_places_of_two_axes(kind: str) -> None:
    rng = np.random.default_rng(2)
    x, u = rng.standard_normal((3, 4, 2)), rng.standard_normal((5, 4))
    # Four of the updates are at one place, named in two ways.
    indices = np.array([0, 1, -2, 0, 0]), np.array([2, 0, 2, -1, 2])
    if kind == "mul":
        u[0] = u[2, :2] = 0.0

    def f(x: Any, u: Any) -> Any:
        return primitives.scatter(x, u, *indices, axes=(2, 0), kind=kind)

    check_grads(f, (x, u), order=2, tol=1e-5)


@pytest.mark.parametrize("kind", ["min", "max"])
def test_scatter_extrema_share_the_gradient_among_equals(kind: str) -> None:
    x, u, i = np.array([1.0, 2.0]), np.array([1.0, 1.0, 2.0, 3.0]), np.array([0, 0, 1, 1])

    def f(x: Any, u: Any) -> Any:
        return fnp.sum(primitives.scatter(x, u, i, axes=(0,), kind=kind))

    gx, gu = fg.grad(f, argnums=(0, 1))(x, u)
    if kind == "min":
        np.testing.assert_allclose(gx, [1 / 3, 1 / 2])
        np.testing.assert_allclose(gu, [1 / 3, 1 / 3, 1 / 2, 0])
    else:
        np.testing.assert_allclose(gx, [1 / 3, 0])
        np.testing.assert_allclose(gu, [1 / 3, 1 / 3, 0, 1])


def test_gather_of_repeated_indices_sums_up() -> None:
    i = np.array([0, 2, 0, -1])
    assert_gradient(lambda x: fnp.sum(fnp.take(x, i) * np.arange(1.0, 5.0)), (np.ones(3),), [4.0, 0.0, 6.0])


def test_powers_at_their_edges() -> None:
    base = lambda y: fg.grad(lambda x: x**y)
    zero = np.float64(0.0)
    assert base(2.0)(zero) == 0 and base(1.0)(zero) == 1 and base(0.0)(zero) == 0 and base(3)(zero) == 0
    assert fg.grad(fg.grad(lambda x: x**2.0))(zero) == 2
    assert fg.grad(fg.grad(lambda x: x**1.0))(zero) == 0
    assert fg.grad(fg.grad(lambda x: x**2))(zero) == 2
    # In the exponent: 0**y is constant, a negative base has no real derivative.
    assert fg.grad(lambda y: zero**y)(np.float64(2.0)) == 0
    assert fg.grad(lambda y: fnp.float64(2.0) ** y)(np.float64(3.0)) == pytest.approx(8 * np.log(2))
    x, y = np.float64(1.3), np.float64(2.2)
    check_grads(lambda x, y: x**y, (x, y), order=3, tol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("scalar", [2.5, 2, 1.0, 0.0, 0, 1])
def test_python_scalars_beside_a_differentiated_operand(dtype: str, scalar: float) -> None:
    """They take the operand's dtype in every rule, un-jitted and jitted."""
    rules = [
        primitives.pow_, primitives.atan2, primitives.mul, primitives.add, primitives.sub, primitives.max_,
        primitives.min_, primitives.remainder, primitives.fmod, primitives.div, fnp.power, fnp.arctan2, fnp.hypot,
    ]  # fmt: skip
    wide, x = np.array([0.7, 1.6]), np.array([0.7, 1.6], dtype)
    tolerance = 8 * float(np.finfo(dtype).eps)
    for rule in rules:
        for f in (lambda x, rule=rule: rule(x, scalar), lambda x, rule=rule: rule(scalar, x)):
            with np.errstate(all="ignore"):
                if not np.all(np.isfinite(f(wide))):
                    continue
                want = fg.jacfwd(f)(wide).diagonal()
                g = fg.grad(lambda x, f=f: fnp.sum(f(x)))
                for got in (
                    g(x),
                    fg.jit(g)(x),
                    fg.vmap(fg.grad(f))(x),
                    fg.grad(lambda x, g=g: fnp.sum(g(x)))(x) * 0 + g(x),
                ):
                    assert got.dtype == x.dtype
                    np.testing.assert_allclose(got, want, rtol=4 * tolerance, atol=4 * tolerance)


def test_complex_gradients_of_real_functions() -> None:
    z = np.array([1.0 + 2.0j, -0.5 + 0.25j])
    close(fg.grad(lambda z: fnp.sum(fnp.abs(z) ** 2))(z), 2 * np.conj(z))
    close(fg.grad(lambda z: fnp.sum(fnp.real(z)))(z), np.ones(2, complex))
    close(fg.grad(lambda z: fnp.sum(fnp.imag(z)))(z), np.full(2, -1j))
    close(fg.grad(lambda z: fnp.sum(fnp.real(z * z)))(z), 2 * z)
    close(fg.grad(lambda z: fnp.sum(fnp.real(fnp.conj(z) * z)))(z), 2 * np.conj(z))
    close(fg.grad(lambda z: fnp.sum(z * z), holomorphic=True)(z), 2 * z)
    # A real argument of a function that passes through complex numbers has a real gradient.
    gradient = fg.grad(lambda x: fnp.sum(fnp.abs(fnp.exp(1j * x) + x)))(np.array([0.3, 1.2]))
    assert gradient.dtype == np.float64
    check_grads(lambda x: fnp.abs(fnp.exp(1j * x) + x), (np.array([0.3, 1.2]),), order=2)
    assert fg.grad(lambda z: fnp.abs(z))(0j) == 0


def test_mixed_dtypes_give_each_argument_its_own() -> None:
    x, w = np.ones(3, np.float32), np.full(3, 2.0)
    gx, gw = fg.grad(lambda x, w: fnp.sum(x * w), argnums=(0, 1))(x, w)
    assert (gx.dtype, gw.dtype) == (np.float32, np.float64)
    z = fg.grad(lambda x, z: fnp.sum(fnp.real(x * z)), argnums=(0, 1))(x, np.full(3, 1 + 1j, np.complex64))
    assert (z[0].dtype, z[1].dtype) == (np.float32, np.complex64)
    close(z[0], np.ones(3, np.float32))


def test_operations_over_a_named_axis_differentiated_inside_the_vmap() -> None:
    """Each row differentiates its own result, and what it sends to the others comes back to it: by definition of the
    transpose it gets the derivative of the sum of all rows' results."""
    x, w = np.array([0.5, 2.0, -1.0]), np.array([[1.0, 2.0, 3.0], [5.0, 7.0, 11.0], [13.0, 17.0, 19.0]])

    def rows(f: Any) -> Any:
        return fg.vmap(f, axis_name="row")

    functions = [
        lambda x, w: lax.psum(x**2, "row") * fnp.sum(w),
        lambda x, w: lax.psum(x**2, "row") ** 2 * x,
        lambda x, w: lax.pmax(x**2, "row") * w[0],
        lambda x, w: fnp.sum(lax.all_gather(x**2, "row") * w),
        lambda x, w: lax.pmean(fnp.sin(x), "row") * w[1] * lax.axis_index("row"),
    ]
    for f in functions:
        want = fg.grad(lambda x, f=f: fnp.sum(rows(f)(x, w)))(x)
        check_grads(lambda x, f=f: rows(f)(x, w), (x,), order=2, tol=1e-5)
        close(rows(fg.grad(f))(x, w), want)
        close(fg.jit(rows(fg.grad(f)))(x, w), want)
        close(rows(fg.jit(fg.grad(f)))(x, w), want)


def test_stop_gradient_is_a_constant() -> None:
    assert_gradient(lambda x: x * lax.stop_gradient(x), (np.float64(3.0),), 3.0)


@pytest.mark.parametrize("case", range(40))
def test_random_convolutions(case: int) -> None:
    """Every combination of stride, padding (negative too), dilations and groups, in both modes; against the reference
    window by window, so that the derivative is one of the right function."""
    from ops import _conv

    rng = np.random.default_rng(case)
    rank = int(rng.integers(1, 3))
    groups, into, per = (int(rng.integers(1, 3)) for _ in range(3))
    pick = lambda low, high: tuple(int(n) for n in rng.integers(low, high, rank))
    size, kernel = pick(3, 7), pick(1, 4)
    params = {
        "strides": pick(1, 4), "padding": tuple(zip(pick(-1, 3), pick(-1, 3), strict=True)), "lhs_dilation": pick(1, 3),
        "rhs_dilation": pick(1, 3), "groups": groups,
    }  # fmt: skip
    x = rng.standard_normal((2, groups * into, *size))
    w = rng.standard_normal((groups * per, into, *kernel))
    f = lambda x, w: primitives.conv_general_dilated(x, w, **params)
    close(f(x, w), _conv(x, w, **params), 1e-11)
    check_jvp(f, (x, w), tol=1e-6)
    check_vjp(f, (x, w), tol=1e-9)
    check_vjp(lambda x, w: fg.vjp(f, x, w)[1](fnp.ones_like(f(x, w))), (x, w), tol=1e-9)


@pytest.mark.parametrize("case", range(20))
def test_random_windows(case: int) -> None:
    rng = np.random.default_rng(100 + case)
    rank = int(rng.integers(1, 3))
    pick = lambda low, high: tuple(int(n) for n in rng.integers(low, high, rank))
    x = rng.standard_normal(pick(4, 8))
    params = {
        "window": pick(1, 4), "strides": pick(1, 4), "padding": tuple(zip(pick(0, 3), pick(0, 3), strict=True)),
        "dilation": pick(1, 3),
    }  # fmt: skip
    for primitive in (primitives.reduce_window_sum, primitives.reduce_window_max):
        y = primitive(x, **params)
        if np.all(np.isfinite(y)):
            check_grads(lambda x, f=primitive: f(x, **params), (x,), order=2, tol=1e-5)


# Another library ------------------------------------------------------------------------------------------------------

WITH_JAX = [op for op in DIFFERENTIABLE if op.jax is not None]


@pytest.mark.parametrize("op", WITH_JAX, ids=ids(WITH_JAX))
def test_gradients_equal_jaxs(op: Op) -> None:
    jax = pytest.importorskip("jax", reason="JAX is an oracle of gradients")
    f, xs = of_inputs(op, op.sample("float64", seed=11))
    out, pullback = fg.vjp(f, *xs)
    rng = np.random.default_rng(0)
    w = [rng.standard_normal(np.shape(y)) for y in out]
    with jax.enable_x64(True):
        args = op.sample("float64", seed=11)

        def theirs(*xs: Any) -> Any:
            full = list(args)
            for i, x in zip(op.grad, xs, strict=True):
                full[i] = x
            found = op.jax(jax.numpy, *full)
            found = list(found) if isinstance(found, (tuple, list)) else [found]
            return [y for y in found if np.dtype(y.dtype).kind == "f"]

        want, their_pullback = jax.vjp(theirs, *xs)
        cts = [np.asarray(c) for c in their_pullback([jax.numpy.asarray(c) for c in w])]
        want = [np.asarray(y) for y in want]
    for y, z in zip(out, want, strict=True):
        np.testing.assert_allclose(y, z, rtol=1e-10, atol=1e-12)
    for c, d in zip(pullback(w), cts, strict=True):
        np.testing.assert_allclose(c, d, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("case", range(12))
def test_convolutions_and_windows_equal_jaxs(case: int) -> None:
    jax = pytest.importorskip("jax", reason="JAX is an oracle of convolutions")
    rng = np.random.default_rng(200 + case)
    pick = lambda low, high: tuple(int(n) for n in rng.integers(low, high, 2))
    groups = int(rng.integers(1, 3))
    x, w = rng.standard_normal((2, 2 * groups, *pick(4, 8))), rng.standard_normal((3 * groups, 2, *pick(1, 4)))
    conv = {
        "window_strides": pick(1, 3), "padding": tuple(zip(pick(-1, 3), pick(0, 3), strict=True)),
        "lhs_dilation": pick(1, 3), "rhs_dilation": pick(1, 3), "feature_group_count": groups,
    }  # fmt: skip
    window = {
        "window_dimensions": pick(1, 4), "window_strides": pick(1, 3),
            "padding": tuple(zip(pick(0, 2), pick(0, 2), strict=True)),
        "window_dilation": pick(1, 3),
    }  # fmt: skip
    image = rng.standard_normal(pick(5, 9))
    ours, pullback = fg.vjp(lambda x, w: lax.conv_general_dilated(x, w, **conv), x, w)
    ct = rng.standard_normal(ours.shape)
    peaks, pull_peaks = fg.vjp(lambda x: lax.reduce_window(x, -np.inf, lax.max, **window), image)
    sums = lax.reduce_window(image, 0.0, lax.add, **window)
    finite = np.all(np.isfinite(peaks))
    with jax.enable_x64(True):
        theirs, their_pullback = jax.vjp(lambda x, w: jax.lax.conv_general_dilated(x, w, **conv), x, w)
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
        for got, want in zip(pullback(ct), their_pullback(ct), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(
            sums, jax.lax.reduce_window(image, 0.0, jax.lax.add, **window), rtol=1e-12, atol=1e-14
        )
        want, jax_peaks = jax.vjp(lambda x: jax.lax.reduce_window(x, -np.inf, jax.lax.max, **window), image)
        np.testing.assert_array_equal(peaks, want)
        if finite and window["window_dilation"] == (1, 1):
            np.testing.assert_allclose(pull_peaks(np.ones_like(peaks))[0], jax_peaks(np.ones_like(peaks))[0])
