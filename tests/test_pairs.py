"""Complex numbers as pairs of real ones: the same program, with NumPy's values at every edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax, tree
from funcgrad.compiler.pairs import in_pairs
from funcgrad.core.trace import eval_jaxpr

EDGES = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    np.inf,
    -np.inf,
    np.nan,
    1e-320,
    1e300,
    -3.5,
    0.3,
    710.0,
    -800.0,
    1e-9,
    1e200,
    5e-5,
    20.0,
]
UNARY = ["abs", "conj", "cos", "cosh", "exp", "exp2", "imag", "isfinite", "log", "negative", "real", "sign", "sin", "sinh",
         "sqrt", "tan", "tanh"]  # fmt: skip
BINARY = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "equal",
    "not_equal",
]


def in_pairs_of(f: Any, *args: Any) -> Any:
    """The values of the program on pairs."""
    flat, treedef = tree.flatten(args)
    shape: Any = fg.eval_shape(f, *args)
    jaxpr = in_pairs(fg.make_jaxpr(lambda *xs: f(*treedef.unflatten(list(xs))))(*flat))
    with np.errstate(all="ignore"):
        return tree.structure(shape).unflatten(eval_jaxpr(jaxpr, *flat))


def assert_same(found: Any, expected: Any, rtol: float) -> None:
    """Each part, in units of the whole; NaN and infinities in the same parts."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    if expected.dtype.kind == "b":
        np.testing.assert_array_equal(found, expected)
        return
    with np.errstate(all="ignore"):
        for x, y in ((found.real, expected.real), (found.imag, expected.imag)):
            same = (np.isnan(x) & np.isnan(y)) | (x == y) | (np.abs(x - y) <= rtol * np.abs(expected))
            assert same.all(), (x[~same][:5], y[~same][:5])


def points(dtype: str) -> np.ndarray:
    edges = np.array(EDGES, dtype[-2:].replace("64", "f4").replace("28", "f8"))
    z = np.empty((len(edges), len(edges)), dtype)
    z.real, z.imag = edges[:, None], edges[None]
    return z.ravel()


def random(*shape: int, dtype: str = "complex128", scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(len(shape))
    return (scale * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))).astype(dtype)


@pytest.mark.parametrize("name", UNARY)
def test_functions_at_the_edges_and_between(name: str) -> None:
    rng = np.random.default_rng(0)
    between = random(3000) * 10.0 ** rng.uniform(-3, 1.4, 3000)
    for z in (points("complex128"), between):
        with np.errstate(all="ignore"):
            expected = getattr(np, name)(z)
        # The angle is 800 log 2 up to rounding.
        assert_same(in_pairs_of(getattr(fnp, name), z), expected, 2e-13 if name == "exp2" else 1e-15)


@pytest.mark.parametrize("name", BINARY)
def test_operations_at_the_edges(name: str) -> None:
    z = points("complex128")
    if name == "multiply":  # by NumPy contracted, so that a product that overflows may be cancelled by an infinite one
        z = np.array([x for x in z if not any(1e199 < abs(part) < np.inf for part in (x.real, x.imag))])
    x, y = np.repeat(z[::3], len(z[::5])), np.tile(z[::5], len(z[::3]))
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x, y)
    assert_same(in_pairs_of(getattr(fnp, name), x, y), expected, 1e-15)


def test_logarithm_and_exponential_near_zero_are_better_than_the_formula() -> None:
    """NumPy's log1p is log(1 + z); here it is held to log1p of the size, in extended precision."""
    z = random(2000, scale=1e-6)
    wide = z.astype(np.clongdouble)
    a, b = wide.real, wide.imag
    expected = 0.5 * np.log1p(a * (a + 2) + b * b) + 1j * np.arctan2(b, 1 + a)
    assert_same(in_pairs_of(fnp.log1p, z), expected.astype(complex), 1e-15)
    expected = np.expm1(a) * np.cos(b) - 2 * np.sin(b / 2) ** 2 + 1j * np.exp(a) * np.sin(b)
    assert_same(in_pairs_of(fnp.expm1, z), expected.astype(complex), 1e-15)


@pytest.mark.parametrize("y", [-3, -1, 0, 1, 2, 5])
def test_integer_powers(y: int) -> None:
    z = random(50)
    assert_same(in_pairs_of(lambda z: z**y, z), fg.jit(lambda z: z**y)(z), 1e-14)


def test_powers() -> None:
    z, w = random(400), random(400)[::-1].copy()
    assert_same(in_pairs_of(fnp.power, z, w), np.power(z, w), 1e-14)
    zero = np.zeros(4, complex)
    with np.errstate(all="ignore"):
        assert_same(in_pairs_of(fnp.power, zero, np.array([0, 2, -1, 1j])), np.power(zero, np.array([0, 2, -1, 1j])), 0)


@pytest.mark.parametrize("name", ["abs", "exp", "log", "sqrt", "tanh", "sin"])
def test_single_precision_stays_single(name: str) -> None:
    z = random(500, dtype="complex64", scale=2)
    assert_same(in_pairs_of(getattr(fnp, name), z), getattr(np, name)(z), 1e-6)


Z, W, I = random(4, 6), random(6, 3), np.array([2, 0, -1])


def moved(z: Any) -> Any:
    return (
        z.T, z[::-1, 1::2], fnp.reshape(z, (3, 8)), fnp.concatenate([z, 1j * z]), fnp.pad(z, 1), fnp.tile(z, 2), z[1, 2],
        fnp.where(z.real > 0, z, 2.0), fnp.cumsum(z, 1), fnp.sum(z, 0), fnp.mean(z), fnp.asarray(z).at[I].add(1 + 1j), z[I],
        fnp.asarray(z).at[1].set(3.0), lax.dynamic_slice(z, (1, 2), (2, 2)), z.astype("complex64"), z != 0, fnp.roll(z, 2, 1),
    )  # fmt: skip


def looped(z: Any, w: Any) -> Any:
    carried, rows = lax.scan(lambda c, x: (c * x + 0.1, (fnp.abs(c), c)), z[:, 0], z.T)
    grown = lax.while_loop(lambda c: fnp.sum(fnp.abs(c)) < 100, lambda c: c * (1 + 0.5j), w)
    chosen = lax.cond(z[0, 0].real > 0, lambda z: z * 1j, lambda z: fnp.conj(z), z)
    return carried, rows, grown, chosen, lax.fori_loop(0, 5, lambda i, c: c * c + 0.1 * i, 0.1 * z)


PROGRAMS = {
    "moved": (moved, (Z,)),
    "looped": (looped, (Z, W)),
    "products": (lambda z, w: (z @ w, fnp.einsum("ij,ij->i", z, fnp.conj(z)), fnp.convolve(z[0], w[:, 0])), (Z, W)),
    "without a rule": (lambda z: (fnp.fft.fft(2 * z) + 1, fnp.prod(z, 0), fnp.linalg.inv(z[:, :4])), (Z,)),
    "gradient": (fg.grad(lambda z: fnp.sum(fnp.abs(fnp.sin(z) * z**2))), (Z,)),
    "gradient of a loop": (
        fg.grad(lambda z: fnp.sum(fnp.abs(lax.scan(lambda c, x: (c * x + 0.1, None), z[:, 0], z.T)[0]))), (Z,),
    ),
    "constants": (lambda x: (x * (2 + 1j), fnp.ones(3) + 1j, 1j, x), (np.arange(3.0),)),
    "scalars": (lambda z, x: (z * 2, x * 1j, z.real, fnp.abs(z)), (3 + 1j, 2.0)),
    "empty": (lambda z: (fnp.sin(z[:0]), fnp.sum(z[:0], 0)), (Z,)),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str) -> None:
    f, args = PROGRAMS[name]
    expected = fg.jit(f)(*args)
    found = in_pairs_of(f, *args)
    for x, y in zip(tree.leaves(found), tree.leaves(expected), strict=True):
        assert np.asarray(x).dtype == np.asarray(y).dtype
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", PROGRAMS)
def test_native_programs(name: str) -> None:
    pytest.importorskip("llvmlite")
    f, args = PROGRAMS[name]
    expected = fg.jit(f)(*args)
    with fg.use_backend("llvm"):
        found = fg.jit(f)(*args)
    for x, y in zip(tree.leaves(found), tree.leaves(expected), strict=True):
        assert type(x) is type(y)
        assert np.asarray(x).dtype == np.asarray(y).dtype
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["moved", "looped", "products", "gradient", "gradient of a loop"])
def test_programs_on_complex_numbers_are_one_native_segment(name: str) -> None:
    pytest.importorskip("llvmlite")
    from funcgrad_llvm.program import Segment

    f, args = PROGRAMS[name]
    with fg.use_backend("llvm"):
        program = fg.jit(f).lower(*args).compile()._program
    assert [type(step) for step in program.steps] == [Segment]


def test_arrays_that_are_not_contiguous() -> None:
    pytest.importorskip("llvmlite")
    with fg.use_backend("llvm"):
        np.testing.assert_array_equal(fg.jit(lambda z: z * 2)(Z.T[::-1]), Z.T[::-1] * 2)


def test_a_real_program_is_left_as_it_is() -> None:
    jaxpr = fg.make_jaxpr(lambda x: fnp.sin(x) @ x)(np.ones(3))
    assert in_pairs(jaxpr) is jaxpr


def test_what_is_complex_in_between_leaves_no_trace() -> None:
    jaxpr = in_pairs(fg.make_jaxpr(lambda x: fnp.abs(fnp.exp(1j * x)))(np.ones(3)))
    assert all(a.aval.dtype.kind != "c" for e in jaxpr.eqns for a in (*e.inputs, *e.outputs))


@given(
    st.lists(
        st.sampled_from(["mul", "add", "div", "sqrt", "exp", "conj", "abs", "real", "tanh"]), min_size=1, max_size=8
    )
)
def test_random_programs_keep_their_values(names: list[str]) -> None:
    def f(z: Any, w: Any) -> Any:
        for name in names:
            z = {
                "mul": lambda z: z * w, "add": lambda z: z + w, "div": lambda z: z / w, "sqrt": fnp.sqrt, "conj": fnp.conj,
                "exp": lambda z: fnp.exp(0.1 * z), "abs": lambda z: fnp.abs(z) + 0 * w, "real": lambda z: z.real * w,
                "tanh": fnp.tanh,
            }[name](z)  # fmt: skip
        return z

    z, w = random(5), 1 + 0.2 * random(5)
    np.testing.assert_allclose(in_pairs_of(f, z, w), f(z, w), rtol=1e-9, atol=1e-11)
