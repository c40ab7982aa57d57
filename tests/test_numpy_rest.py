"""Sets, polynomials, windows, histograms, covariances, divisors and bits, index grids: against NumPy, run as programs
and eagerly, and their derivatives."""

# ruff: noqa: B023 -- every closure made in a loop is called in the same turn

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy_oracle import ALL, FLOATS, INTS, against, assert_same, example, staged

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.core.errors import ConcretizationError, InPlaceError
from funcgrad.testing import check_grads

RNG = np.random.default_rng(0)


def pair(name, *before, **keywords):
    """The function of this library and NumPy's, with the same further arguments."""
    return (
        lambda *a: getattr(fnp, name)(*before, *a, **keywords),
        lambda *a: getattr(np, name)(*before, *a, **keywords),
    )


# Sets -----------------------------------------------------------------------------------------------------------------

SETS = ["union1d", "intersect1d", "setdiff1d", "setxor1d"]
EXAMPLES = [
    ([3, 1, 2, 3], [2, 5, 3]),
    ([1, 1], [1]),
    ([], [2, 1]),
    ([2, 1, 2], []),
    ([], []),
    ([[4, 0], [1, 2]], [0, 0, 7]),
]


@pytest.mark.parametrize("name", SETS)
def test_sets_with_a_size_and_without(name):
    for a, b in EXAMPLES:
        for first, second in [("int64", "int64"), ("int8", "float32"), ("float64", "int32"), ("uint8", "bool")]:
            x, y = np.array(a).astype(first), np.array(b).astype(second)
            want = getattr(np, name)(x, y)
            assert_same(getattr(fnp, name)(x, y), want)
            for size in range(len(want) + 3):
                n = min(size, len(want))
                got = staged(lambda *v: getattr(fnp, name)(*v, size=size, fill_value=9), x, y)
                assert_same(got, np.concatenate([want[:n], np.full(size - n, 9, want.dtype)]))
                assert_same(getattr(fnp, name)(x, y, size=size, fill_value=9), got)


@pytest.mark.parametrize("name", SETS)
def test_sets_of_nan(name):
    x, y = np.array([np.nan, 1.0, np.nan, 2.0]), np.array([np.nan, 2.0, 3.0])
    want = getattr(np, name)(x, y)
    assert_same(staged(lambda *v: getattr(fnp, name)(*v, size=len(want)), x, y), want)


def test_where_the_intersection_is():
    x, y = np.array([3, 1, 2, 3, 7]), np.array([2, 5, 3, 3])
    got = staged(lambda *v: fnp.intersect1d(*v, return_indices=True, size=2), x, y)
    assert_same(got, np.intersect1d(x, y, return_indices=True))
    assert_same(fnp.intersect1d(x, y, return_indices=True), np.intersect1d(x, y, return_indices=True))


def test_the_order_of_a_difference_of_unique_elements():
    x, y = np.array([3, 1, 2, 7]), np.array([2, 5])
    assert_same(staged(lambda *v: fnp.setdiff1d(*v, assume_unique=True, size=3), x, y), np.array([3, 1, 7]))
    assert_same(fnp.setdiff1d(x, y, assume_unique=True), np.array([3, 1, 7]))


@pytest.mark.parametrize("name", SETS)
def test_sets_need_a_size_in_a_program_only(name):
    x, y = np.array([3.0, 1.0, 2.0]), np.array([2.0, 5.0])
    with pytest.raises(ConcretizationError, match="give size=n"):
        fg.jit(getattr(fnp, name))(x, y)
    want = getattr(np, name)(x, y)
    value, slope = fg.value_and_grad(lambda x: fnp.sum(getattr(fnp, name)(x, y) ** 2))(x)
    np.testing.assert_allclose(value, np.sum(want**2))
    np.testing.assert_allclose(slope, np.where(np.isin(x, want), 2 * x, 0))
    rows = np.array([[3.0, 1.0, 2.0], [5.0, 2.0, 2.0]])
    mapped = fg.vmap(lambda x: getattr(fnp, name)(x, y, size=2))(rows)
    np.testing.assert_array_equal(mapped, [getattr(fnp, name)(r, y, size=2) for r in rows])


# Polynomials ----------------------------------------------------------------------------------------------------------


def test_values_of_polynomials():
    for p in ALL:
        for x in ["int32", "float16", "float32", "complex64", "bool"]:
            for shape in [(), (3,), (2, 0), (2, 3)]:
                tolerance = 5e-2 if "float16" in (p, x) else 1e-4
                against(*pair("polyval"), example(p, (4,)), example(x, shape, -1, 2), tolerance=tolerance)
    against(*pair("polyval"), np.array([], float), np.arange(3))


@pytest.mark.parametrize("name", ["polyadd", "polysub"])
def test_sums_of_polynomials(name):
    for a in ALL:
        for b in ["int8", "float32", "complex64", "uint64"]:
            for m, n in [(3, 3), (2, 4), (5, 1)]:
                against(*pair(name), example(a, (m,)), example(b, (n,), seed=1))
    against(*pair(name), np.float64(2.0), np.arange(3.0))


def test_products_of_polynomials():
    for a in [*FLOATS, "int32", "complex64"]:
        x, y = example(a, (3,), 1, 5), example("float64", (4,), 1, 5)
        keep = {"trim_leading_zeros": False}
        assert_same(staged(lambda *v: fnp.polymul(*v, **keep), x, y), np.polymul(x, y), 1e-5)
        assert_same(fnp.polymul(x, y), np.polymul(x, y))
    with pytest.raises(ConcretizationError, match="trim_leading_zeros=False"):
        fg.jit(fnp.polymul)(np.ones(2), np.ones(3))
    p = np.array([0.0, 2.0, 1.0])
    out, pullback = fg.vjp(lambda p: fnp.polymul(p, p), p)
    assert_same(out, np.polymul(p, p))
    assert_same(pullback(np.array([1.0, 0.0, 0.0]))[0], np.array([0.0, 4.0, 0.0]))
    check_grads(lambda p, q: fnp.polymul(p, q), (np.array([1.0, 2.0]), np.array([3.0, -1.0, 2.0])), order=2)


def test_quotients_of_polynomials():
    for a, b in [("float64", "float64"), ("int32", "float32"), ("complex64", "float64"), ("float32", "float32")]:
        for m, n in [(5, 3), (2, 3), (4, 1), (3, 3)]:
            u, v = example(a, (m,), 1, 5), example(b, (n,), 1, 5, seed=1)
            q, r = np.polydiv(u, v)
            got_q, got_r = staged(lambda *x: fnp.polydiv(*x, trim_leading_zeros=False), u, v)
            assert_same(got_q, q, 1e-4)
            assert got_r.shape == u.shape and got_r.dtype == r.dtype
            np.testing.assert_allclose(np.polyval(got_r, 1.5), np.polyval(r, 1.5), rtol=1e-3, atol=1e-3)
            assert_same(fnp.polydiv(u, v), (q, r))
    u, v = np.array([1.0, 3.0, 2.0, 4.0]), np.array([2.0, 1.0])
    check_grads(lambda u, v: fnp.polydiv(u, v), (u, v), order=2)
    with pytest.raises(ConcretizationError, match="trim_leading_zeros=False"):
        fg.jit(fnp.polydiv)(u, v)


@pytest.mark.parametrize("m", [0, 1, 2, 5])
def test_derivatives_and_integrals_of_polynomials(m):
    for p in ALL:
        for n in [0, 1, 4]:
            against(*pair("polyder", m=m), example(p, (n,)))
            against(*pair("polyint", m=m), example(p, (n,)))
    against(*pair("polyint", m=2, k=[1, 2]), example("float32", (3,)))
    against(lambda p, k: fnp.polyint(p, 2, k), lambda p, k: np.polyint(p, 2, k), np.arange(3), np.float64(2.5))
    for name in ("polyder", "polyint"):
        for function in (getattr(fnp, name), lambda p, m: staged(lambda q: getattr(fnp, name)(q, m), p)):
            with pytest.raises(ValueError, match="negative|positive"):
                function(np.ones(3), -1)


def test_polynomials_of_roots():
    for dtype in ["bool", "int32", "float16", "float32", "float64"]:
        against(*pair("poly"), example(dtype, (4,)), tolerance=1e-4)
    against(*pair("poly"), RNG.normal(size=(3, 3)), tolerance=1e-10)
    against(*pair("poly"), np.zeros(0), tolerance=1e-10)
    against(*pair("poly"), np.zeros((2, 3)))
    z = np.array([1 + 2j, 1 - 2j, 3.0])
    for got in (fnp.poly(z), staged(fnp.poly, z)):
        assert_same(got, np.poly(z).astype(complex))
    check_grads(fnp.poly, (np.array([1.0, -2.0, 0.5]),), order=2)
    check_grads(fnp.poly, (np.array([[1.0, 2.0], [0.5, 3.0]]),), order=1)


@pytest.mark.parametrize("p", [
    [1.0, -6.0, 11.0, -6.0], [1.0, 0.0, 1.0], [0.0, 0.0, 2.0, -3.0, 1.0, 0.0], [3.0], [0.0, 0.0], [2, -4],
])  # fmt: skip
def test_roots(p):
    p = np.array(p)
    want = np.roots(p).astype(complex)
    assert_same(fnp.roots(p), want)
    assert_same(fg.jvp(fnp.roots, (p.astype(float),), (np.zeros(len(p)),))[0], want)
    if p[0] != 0 and p[-1] != 0:
        order = np.argsort(want)
        got = staged(lambda p: fnp.roots(p, strip_zeros=False), p)
        assert_same(got[np.argsort(got)], want[order], 1e-10)


def test_derivatives_of_roots():
    real = lambda strip: lambda p: fnp.real(fnp.roots(p, strip_zeros=strip))
    for strip in (True, False):
        check_grads(real(strip), (np.array([1.0, -6.0, 11.0, -6.0]),), order=2)
        check_grads(lambda p: fnp.imag(fnp.roots(p, strip_zeros=strip)), (np.array([1.0, 1.0, 3.0]),), order=2)
    # Coefficients that are zero have derivatives too, those that NumPy strips included.
    _, slope = fg.jvp(fnp.roots, (np.array([1.0, -3.0, 0.0]),), (np.array([0.0, 0.0, 1.0]),))
    assert_same(slope, np.array([-1 / 3, 1 / 3], complex))
    with pytest.raises(ConcretizationError, match="strip_zeros=False"):
        fg.jit(fnp.roots)(np.ones(3))
    rows = np.array([[1.0, -3.0, 2.0], [1.0, 0.0, 4.0]])
    mapped = fg.vmap(lambda p: fnp.roots(p, strip_zeros=False))(rows)
    np.testing.assert_allclose(np.sort(mapped), [np.sort(np.roots(r).astype(complex)) for r in rows], atol=1e-12)


def test_fits():
    x, y = np.linspace(-1, 2, 9), RNG.normal(size=9)
    y2, w = RNG.normal(size=(9, 2)), RNG.uniform(0.5, 2, 9)
    for deg in (0, 1, 3):
        for v in (y, y2):
            against(*pair("polyfit", deg=deg), x, v, tolerance=1e-10)
            against(*pair("polyfit", deg=deg, full=True), x, v, tolerance=1e-10)
            against(*pair("polyfit", deg=deg, cov=True), x, v, tolerance=1e-10)
            against(
                lambda *a: fnp.polyfit(*a[:2], deg, w=a[2], cov="unscaled"),
                lambda *a: np.polyfit(*a[:2], deg, w=a[2], cov="unscaled"),
                x, v, w, tolerance=1e-10,
            )  # fmt: skip
    against(*pair("polyfit", deg=1), np.arange(5), np.arange(5) ** 2, tolerance=1e-10)
    against(*pair("polyfit", deg=1), x.astype("float32"), y.astype("float32"), tolerance=1e-4)
    check_grads(lambda *a: fnp.polyfit(*a[:2], 2, w=a[2]), (x, y, w), order=1, tol=1e-4)
    check_grads(lambda y: fnp.polyfit(x, y, 2), (y,), order=2)
    for a, b, deg in [(x, y, -1), (y2, y, 1), (x, y[:4], 1), (np.zeros(0), np.zeros(0), 1)]:
        against(*pair("polyfit", deg=deg), a, b)
    against(*pair("polyfit", deg=9, cov=True), x, y)


def test_trimming():
    for x in ([0, 0, 1, 0, 2, 0], [0, 0], [], [1.5], [[0, 0, 0], [0, 2, 0]]):
        x = np.array(x, float)
        for trim in ("fb", "f", "b"):
            want = np.trim_zeros(x, trim)
            assert_same(fnp.trim_zeros(x, trim), want)
            assert_same(fg.jvp(lambda x: fnp.trim_zeros(x, trim), (x,), (x,)), (want, want))
    with pytest.raises(ConcretizationError, match="fnp.where"):
        fg.jit(fnp.trim_zeros)(np.ones(3))


# Windows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bartlett", "blackman", "hamming", "hanning"])
def test_windows(name):
    for M in (-1, 0, 1, 2, 7, 12.5):
        assert_same(getattr(fnp, name)(M), getattr(np, name)(M))
        assert_same(fg.jit(lambda x: x * getattr(fnp, name)(M))(2.0), 2.0 * getattr(np, name)(M))
    with pytest.raises(ConcretizationError, match=name):
        fg.jit(getattr(fnp, name))(4)


def test_the_window_of_kaiser():
    for M in (0, 1, 2, 9):
        for beta in (0.0, 2.5, 14, -3.0):
            assert_same(fnp.kaiser(M, beta), np.kaiser(M, beta))
            assert_same(staged(lambda b: fnp.kaiser(M, b), np.asarray(beta)), np.kaiser(M, beta))
    check_grads(lambda beta: fnp.kaiser(8, beta), (3.0,), order=2)


def test_the_bessel_function():
    for dtype in [*INTS, *FLOATS, "bool"]:
        against(*pair("i0"), example(dtype), tolerance=2e-3 if dtype == "float16" else 1e-6)
    against(*pair("i0"), np.array([0.0, 7.9, 8.0, 8.1, -30.0, 300.0]), tolerance=1e-13)
    against(*pair("i0"), np.array([1j]))
    check_grads(fnp.i0, (np.array([0.3, -2.0, 9.0]),), order=2)


# Histograms -----------------------------------------------------------------------------------------------------------

DATA = RNG.normal(size=40)
EDGES = np.array([-1.0, -0.5, 0.5, 0.5, 2.0])


def test_histograms():
    for dtype in ["float64", "float32", "int32", "uint8", "int64"]:
        a, w = example(dtype, (30,)), example("float64", (30,), 0, 2, seed=2)
        for keywords in [{}, {"bins": 4}, {"bins": 3, "range": (-2, 2)}, {"bins": EDGES}, {"bins": 5, "density": True},
                         {"bins": 3, "range": (1, 1)}]:  # fmt: skip
            against(*pair("histogram", **keywords), a, tolerance=1e-5)
            against(lambda a, w: fnp.histogram(a, weights=w, **keywords),
                    lambda a, w: np.histogram(a, weights=w, **keywords), a, w, tolerance=1e-5)  # fmt: skip
            edges = {k: v for k, v in keywords.items() if k != "density"}
            against(*pair("histogram_bin_edges", **edges), a, tolerance=1e-6)
    for weights in ["int32", "float32", "complex64"]:
        w = example(weights, (40,), 0, 4)
        against(lambda a, w: fnp.histogram(a, 4, weights=w), lambda a, w: np.histogram(a, 4, weights=w), DATA, w,
                tolerance=1e-5)  # fmt: skip
    against(*pair("histogram"), np.zeros(0))
    against(*pair("histogram"), np.zeros((2, 3)))
    against(lambda a, e: fnp.histogram(a, e), lambda a, e: np.histogram(a, e), np.r_[DATA, np.nan, EDGES], EDGES)


def test_edges_belong_to_the_right_bins():
    for n in (3, 7, 10, 49):
        edges = np.linspace(0, 1, n + 1)
        against(*pair("histogram", bins=n, range=(0.0, 1.0)), np.r_[edges, np.nextafter(edges, 2), edges - 1e-17])


def test_wrong_histograms():
    for keywords in [{"bins": 0}, {"bins": 2.5}, {"bins": [1, 0]}, {"bins": [[1]]}, {"range": (2, 1)},
                     {"range": (0, np.inf)}, {"weights": np.ones(3)}, {"bins": "auto", "weights": np.ones(40)}]:  # fmt: skip
        for function in (lambda a: fnp.histogram(a, **keywords), fg.jit(lambda a: fnp.histogram(a, **keywords))):
            with pytest.raises((TypeError, ValueError)):
                function(DATA)
    assert_same(fnp.histogram(DATA, "auto"), np.histogram(DATA, "auto"))
    with pytest.raises(ConcretizationError, match="give their number"):
        fg.jit(lambda a: fnp.histogram(a, "auto"))(DATA)


def test_derivatives_of_histograms():
    w = np.linspace(0.5, 2, 40)
    check_grads(lambda w: fnp.histogram(DATA, 5, weights=w)[0], (w,), order=2)
    check_grads(lambda w: fnp.histogram(DATA, 5, weights=w, density=True)[0], (w,), order=2)
    check_grads(lambda a: fnp.histogram_bin_edges(a, 5), (DATA,), order=2)
    rows = DATA.reshape(2, 20)
    mapped = fg.vmap(lambda a: fnp.histogram(a, 4)[0])(rows)
    assert_same(mapped, np.stack([np.histogram(r, 4)[0] for r in rows]))


def test_histograms_of_points():
    x, y, w = DATA, RNG.normal(size=40), RNG.uniform(size=40)
    points = np.stack([x, y, x - y], axis=1)
    for keywords in [{}, {"bins": 3}, {"bins": (2, 4)}, {"bins": EDGES}, {"bins": [EDGES, 3]}, {"density": True},
                     {"range": [(-1, 1), None]}, {"range": [(-1, 1), (0, 2)]}]:  # fmt: skip
        against(*pair("histogram2d", **keywords), x, y, tolerance=1e-12)
        against(lambda x, y, w: fnp.histogram2d(x, y, weights=w, **keywords),
                lambda x, y, w: np.histogram2d(x, y, weights=w, **keywords), x, y, w, tolerance=1e-12)  # fmt: skip
    for keywords in [{"bins": 3}, {"bins": (2, 3, 4)}, {"bins": [EDGES] * 3, "density": True}]:
        nested = lambda module: lambda p: (lambda h, e: (h, *e))(*module.histogramdd(p, **keywords))
        against(nested(fnp), nested(np), points, tolerance=1e-12)
    nested = lambda module: lambda *v: (lambda h, e: (h, *e))(*module.histogramdd(v, bins=2))
    against(nested(fnp), nested(np), x, y, tolerance=1e-12)
    against(*pair("histogramdd", bins=(2, 3)), points)
    against(*pair("histogram2d"), x, y[:5])
    check_grads(lambda w: fnp.histogram2d(x, y, 3, weights=w)[0], (w,), order=1)


# Covariances ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cov", "corrcoef"])
def test_covariances(name):
    for dtype in ["float64", "float32", "int32", "complex128"]:
        x, y = example(dtype, (3, 7)), example("float64", (3, 7), seed=3)
        for keywords in [{}, {"rowvar": False}, {"dtype": np.complex64 if dtype == "complex128" else np.float32}]:
            tolerance = 1e-5 if "dtype" in keywords else 1e-12
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                against(*pair(name, **keywords), x, tolerance=tolerance)
                against(*pair(name, **keywords), x, y, tolerance=tolerance)
        against(*pair(name), x[0], tolerance=1e-12)
        against(*pair(name), x[0], y[0], tolerance=1e-12)
    against(*pair(name), np.zeros((2, 2, 2)))
    x = RNG.normal(size=(3, 6))
    check_grads(getattr(fnp, name), (x,), order=2, tol=1e-5)
    rows = RNG.normal(size=(4, 3, 6))
    np.testing.assert_allclose(fg.vmap(getattr(fnp, name))(rows), [getattr(np, name)(r) for r in rows], rtol=1e-12)


def test_weighted_covariances():
    x, f, a = RNG.normal(size=(3, 6)), np.array([1, 2, 1, 3, 1, 2]), RNG.uniform(0.5, 2, 6)
    for keywords in [{}, {"bias": True}, {"ddof": 0}, {"ddof": 2}]:
        against(lambda x, f: fnp.cov(x, fweights=f, **keywords), lambda x, f: np.cov(x, fweights=f, **keywords), x, f)
        against(lambda x, a: fnp.cov(x, aweights=a, **keywords), lambda x, a: np.cov(x, aweights=a, **keywords), x, a,
                tolerance=1e-12)  # fmt: skip
        against(lambda *v: fnp.cov(v[0], fweights=v[1], aweights=v[2], **keywords),
                lambda *v: np.cov(v[0], fweights=v[1], aweights=v[2], **keywords), x, f, a, tolerance=1e-12)  # fmt: skip
    check_grads(lambda x, a: fnp.cov(x, aweights=a), (x, a), order=2)
    for keywords in [{"fweights": -f}, {"fweights": f + 0.5}, {"aweights": -a}, {"ddof": 0.5}]:
        with pytest.raises((TypeError, ValueError)):
            fg.jit(lambda x: fnp.cov(x, **keywords))(x)
    with pytest.raises(RuntimeError, match="incompatible"):
        fg.jit(lambda x: fnp.cov(x, aweights=a[:2]))(x)
    with pytest.warns(RuntimeWarning, match="Degrees of freedom"):
        fg.jit(fnp.cov)(np.ones((2, 1)))


# Divisors, bits, mantissas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gcd", "lcm"])
def test_divisors(name):
    for a in ALL:
        for b in ["int64", "uint8", "int8", "bool"]:
            against(*pair(name), example(a, (3, 4), -6, 7), example(b, (4,), -6, 7, seed=1))
    against(*pair(name), np.array([2**61, 12, 0, -18, 0]), np.array([2**40, 18, 5, 12, 0]))
    against(*pair(name), np.zeros((0, 2), int), np.int64(3))
    assert_same(fg.vmap(getattr(fnp, name), (0, None))(np.arange(5), 6), getattr(np, name)(np.arange(5), 6))


def test_mantissa_and_exponent():
    for dtype in FLOATS:
        limits = np.finfo(dtype)
        x = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -1024.0, 1 / 3, limits.max, limits.tiny, limits.smallest_subnormal,
                      limits.tiny / 2, np.inf, -np.inf, np.nan, np.nextafter(1, 0)]).astype(dtype)  # fmt: skip
        against(*pair("frexp"), x, tolerance=0)
        powers = (2.0 ** np.arange(limits.minexp, limits.maxexp)).astype(dtype)
        for y in (powers, np.nextafter(powers, dtype_zero(dtype)), np.nextafter(powers, dtype_inf(dtype))):
            against(*pair("frexp"), y[np.isfinite(y)], tolerance=0)
    for dtype in ["int8", "bool", "int64", "complex64"]:
        against(*pair("frexp"), example(dtype))
    check_grads(lambda x: fnp.frexp(x)[0], (np.array([0.3, -5.0, 700.0]),), order=2)


def dtype_zero(dtype):
    return np.zeros((), dtype)


def dtype_inf(dtype):
    return np.full((), np.inf, dtype)


@pytest.mark.parametrize("bitorder", ["big", "little"])
def test_bits(bitorder):
    for dtype in ["bool", "uint8", "int32", "float64"]:
        for shape in [(), (3,), (16,), (2, 9), (0,), (3, 0)]:
            for axis in [None, 0, -1]:
                if shape or axis is None:
                    against(*pair("packbits", axis=axis, bitorder=bitorder), example(dtype, shape))
    for shape in [(), (3,), (2, 2), (0,)]:
        x = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
        for axis in [None, 0, -1]:
            for count in [None, 0, 5, -3, 30]:
                # NumPy 2.4 takes the bits beyond an array without elements from old memory.
                if (shape or axis is None) and not (shape == (0,) and count and count > 0):
                    against(*pair("unpackbits", axis=axis, count=count, bitorder=bitorder), x)
    for function in (fnp.unpackbits, fg.jit(fnp.unpackbits, static_argnames="count")):
        assert_same(function(np.zeros(0, np.uint8), count=3), np.zeros(3, np.uint8))
    against(*pair("unpackbits", bitorder=bitorder), np.arange(3))
    against(*pair("packbits", bitorder="middle"), np.ones(3, bool))


# Index grids ----------------------------------------------------------------------------------------------------------


def test_indices_of_parts():
    for name in ("tril_indices", "triu_indices"):
        for args in [(3,), (3, 1), (3, -1, 4), (0,), (2, 0, 5)]:
            assert_same(getattr(fnp, name)(*args), getattr(np, name)(*args))
        assert_same(staged(getattr(fnp, f"{name}_from"), np.ones((2, 3))), getattr(np, f"{name}_from")(np.ones((2, 3))))
        against(*pair(f"{name}_from"), np.ones(3))
        with pytest.raises(ConcretizationError, match=name):
            fg.jit(getattr(fnp, name))(3)
        x = RNG.normal(size=(3, 3))
        assert_same(staged(lambda x: x[getattr(fnp, name)(3)], x), x[getattr(np, name)(3)])
    assert_same(fnp.diag_indices(3, 3), np.diag_indices(3, 3))
    against(*pair("diag_indices_from"), np.ones((3, 3, 3)))
    against(*pair("diag_indices_from"), np.ones((3, 2)))
    against(*pair("diag_indices_from"), np.ones(3))
    assert_same(fnp.mask_indices(3, fnp.triu, 1), np.mask_indices(3, np.triu, 1))
    assert_same(fnp.mask_indices(3, np.tril), np.mask_indices(3, np.tril))


def test_filling_a_diagonal():
    for shape in [(3, 3), (5, 2), (2, 5), (2, 2, 2), (0, 3), (7, 2)]:
        for value in [4, 2.5, np.arange(3), [1.0, 2.0]]:
            for dtype in ["float64", "int32", "complex64"]:
                for wrap in (False, True):
                    x = example(dtype, shape)
                    want = x.copy()
                    np.fill_diagonal(want, value, wrap)
                    before = x.copy()
                    assert_same(fnp.fill_diagonal(x, value, wrap), want)
                    assert_same(staged(lambda x: fnp.fill_diagonal(x, value, wrap), x), want)
                    assert_same(x, before)
    for shape in [(3,), (2, 3, 2)]:
        with pytest.raises(ValueError):
            fnp.fill_diagonal(np.ones(shape), 1)
    check_grads(lambda x, v: fnp.fill_diagonal(x, v), (RNG.normal(size=(3, 4)), RNG.normal(size=3)), order=2)
    mapped = fg.vmap(lambda x, v: fnp.fill_diagonal(x, v))(np.ones((2, 2, 2)), np.array([3.0, 4.0]))
    assert_same(mapped, np.array([[[3.0, 1], [1, 3.0]], [[4.0, 1], [1, 4.0]]]))


def test_functions_of_indices():
    for shape in [(3,), (2, 3), (2, 1, 0)]:
        for dtype in (float, int, np.float32):
            fun = lambda *i: sum(i) * 2 + 1
            assert_same(fnp.fromfunction(fun, shape, dtype=dtype), np.fromfunction(fun, shape, dtype=dtype))
    assert_same(fg.jit(lambda s: fnp.fromfunction(lambda i, j: s * i + j, (2, 2)))(3.0), np.array([[0.0, 1], [3, 4]]))


# Conversions ----------------------------------------------------------------------------------------------------------


def test_conversions():
    x = RNG.normal(size=(2, 3))
    for name in ("asanyarray", "ascontiguousarray", "asarray_chkfinite"):
        assert_same(getattr(fnp, name)(x.T, np.float32), getattr(np, name)(x.T, np.float32))
        assert_same(fg.jvp(getattr(fnp, name), (x,), (x,)), (x, x))
    assert staged(fnp.ascontiguousarray, np.float64(2.0)).shape == np.ascontiguousarray(2.0).shape == (1,)
    for function in (fnp.asarray_chkfinite, fg.grad(lambda x: fnp.asarray_chkfinite(x).sum())):
        with pytest.raises(ValueError, match="infs or NaNs"):
            function(np.array([1.0, np.nan]))
    with pytest.raises(ConcretizationError, match="debug_nans"):
        fg.jit(fnp.asarray_chkfinite)(x)
    for z in (np.array([1 + 1e-15j, 2.0]), np.array([1j, 2.0]), np.ones(2)):
        assert_same(fnp.real_if_close(z), np.real_if_close(z))
        assert_same(fg.jvp(fnp.real_if_close, (z,), (z,))[0], np.real_if_close(z))
    with pytest.raises(ConcretizationError, match="a.real"):
        fg.jit(fnp.real_if_close)(np.array([1j]))
    assert_same(fg.jit(fnp.real_if_close)(x), x)
    assert_same(fnp.from_dlpack(x), x)


def test_questions_about_types():
    arrays = [np.ones(2, d) for d in ("int8", "float32", "float16", "complex64")]
    for several in (arrays[:1], arrays[1:2], arrays[2:3], arrays[:3], arrays[1:]):
        assert fnp.common_type(*several) is np.common_type(*several)
        fg.jit(lambda *a: [found.append(fnp.common_type(*a)) for found in ([],)] and 0)(*several)
    with pytest.raises(TypeError):
        fnp.common_type(np.ones(2, bool))
    assert [fnp.min_scalar_type(v) for v in (10, -300, 1e50, arrays[0])] == [
        np.min_scalar_type(v) for v in (10, -300, 1e50, arrays[0])
    ]
    found = []
    fg.jit(lambda x: found.extend((fnp.min_scalar_type(x), fnp.iterable(x), fnp.iterable(x[0]))) or x)(arrays[0])
    assert found == [np.int8, True, False]
    assert [fnp.iterable(v) for v in (2, [1], arrays[0])] == [False, True, True]


# Generated arguments --------------------------------------------------------------------------------------------------

SHAPES = hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=5)
COUNTS = hnp.arrays(st.sampled_from(["int8", "uint8", "int64"]), SHAPES, elements=st.integers(0, 9))
NUMBERS = hnp.arrays("float64", SHAPES, elements=st.sampled_from([-2.0, -0.5, 0.0, 0.5, 1.0, 3.0]))
VECTORS = hnp.arrays("float64", hnp.array_shapes(min_dims=1, max_dims=1, max_side=6), elements=st.integers(-3, 3))


@settings(max_examples=60, deadline=None)
@given(COUNTS, COUNTS, st.sampled_from(SETS))
def test_any_sets(x, y, name):
    want = getattr(np, name)(x, y)
    assert_same(getattr(fnp, name)(x, y), want)
    assert_same(staged(lambda *v: getattr(fnp, name)(*v, size=len(want)), x, y), want)


@settings(max_examples=60, deadline=None)
@given(COUNTS, COUNTS, st.sampled_from(["gcd", "lcm"]))
def test_any_divisors(x, y, name):
    against(*pair(name), x, y)


@settings(max_examples=60, deadline=None)
@given(NUMBERS, st.integers(-1, 5), st.sampled_from([None, (0, 1), (-2, 3), (1, 1), (2, 1)]), st.booleans())
def test_any_histogram(x, bins, limits, density):
    against(*pair("histogram", bins=bins, range=limits, density=density), x, tolerance=1e-12)


@settings(max_examples=60, deadline=None)
@given(VECTORS, VECTORS, st.sampled_from(["polyadd", "polysub", "polyval"]))
def test_any_polynomials(p, q, name):
    against(*pair(name), p, q, tolerance=1e-12)


@settings(max_examples=60, deadline=None)
@given(NUMBERS, st.booleans(), st.sampled_from([None, 0, 1]))
def test_any_covariance(x, rowvar, ddof):
    against(*pair("cov", rowvar=rowvar, ddof=ddof), x, tolerance=1e-12)


# Plain NumPy ----------------------------------------------------------------------------------------------------------


def test_plain_numpy_functions_are_answered():
    x, y = np.array([3.0, 1.0, 2.0]), np.array([2.0, 5.0])
    for fun in [
        lambda x: np.polyval(x, 2.0), lambda x: np.polyfit(np.arange(3.0), x, 1), lambda x: np.cov(x), lambda x: np.i0(x),
        lambda x: np.histogram(x, 2)[0], lambda x: np.frexp(x)[0], lambda x: np.polyder(x), lambda x: np.packbits(x > 1),
        lambda x: np.gcd(x.astype(int), 6), lambda x: np.triu_indices_from(np.outer(x, x))[0], lambda x: np.poly(x),
    ]:  # fmt: skip
        assert_same(fg.jit(fun)(x), fun(x), 1e-12)
    value, slope = fg.value_and_grad(lambda x: np.sum(np.union1d(x, y)))(x)
    assert (value, slope.tolist()) == (11.0, [1.0, 1.0, 1.0])


@pytest.mark.parametrize("write", [
    lambda x: np.fill_diagonal(x, 0.0), lambda x: np.put(x, [0], 1.0), lambda x: np.place(x, x > 0, [1.0]),
    lambda x: np.putmask(x, x > 0, 1.0), lambda x: np.copyto(x, 1.0), lambda x: np.put_along_axis(x, x > 0, 1.0, 0),
])  # fmt: skip
def test_functions_that_write_into_their_argument_raise(write):
    for transform in (fg.jit, fg.grad, fg.vmap):
        with pytest.raises(InPlaceError, match="write `x = "):
            transform(write)(np.ones((2, 2)))
