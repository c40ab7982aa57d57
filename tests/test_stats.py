"""``funcgrad.scipy.stats`` against SciPy in value; the densities integrate to 1 and to the distribution functions; the
derivatives against finite differences; and nothing outside of the support, at its edges or in the tails is NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import scipy
from funcgrad.core.errors import OperandError, OperandTypeError
from funcgrad.scipy import stats as ours
from funcgrad.testing import assert_close, check_grads

#: The ranges of the shapes, and of z = (x - loc) / scale, of each density.
CONTINUOUS = {
    "norm": ([], (-5, 5)),
    "uniform": ([], (0.01, 0.99)),
    "laplace": ([], (-9, 9)),
    "logistic": ([], (-20, 20)),
    "cauchy": ([], (-30, 30)),
    "t": ([(0.5, 20)], (-8, 8)),
    "expon": ([], (0.01, 12)),
    "gamma": ([(0.3, 6)], (0.05, 12)),
    "chi2": ([(0.5, 9)], (0.05, 12)),
    "beta": ([(0.4, 5), (0.4, 5)], (0.02, 0.98)),
    "lognorm": ([(0.3, 2)], (0.05, 9)),
}
CUMULATIVE = [name for name in CONTINUOUS if hasattr(getattr(ours, name), "cdf")]
INTEGRALS = ("cdf", "sf", "logcdf", "logsf")
DISCRETE = {
    "bernoulli": [(0.1, 0.9)],
    "binom": [5, (0.1, 0.9)],
    "poisson": [(0.3, 6)],
    "geom": [(0.1, 0.9)],
}

continuous = pytest.mark.parametrize("name", CONTINUOUS)
cumulative = pytest.mark.parametrize("name", CUMULATIVE)
discrete = pytest.mark.parametrize("name", DISCRETE)


@pytest.fixture(scope="module")
def scipy_stats():
    return pytest.importorskip("scipy.stats", reason="SciPy is the oracle of its functions")


def arguments(name, size=40):
    """x, the shapes, loc and scale, such that x lies in the support."""
    shapes, z = CONTINUOUS[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    loc, scale = rng.uniform(-1, 1, size), rng.uniform(0.5, 2, size)
    return [rng.uniform(*z, size) * scale + loc, *(rng.uniform(*s, size) for s in shapes), loc, scale]


def shapes_of(name):
    """One value of each shape."""
    return [1.5 + 0.7 * i for i in range(len(CONTINUOUS[name][0]))]


def counts(name, low=-1, high=8):
    """k, inside and outside of the support, and the parameters."""
    rng = np.random.default_rng(sum(map(ord, name)))
    k = np.arange(low, high) * 1.0
    return [k, *(np.full(len(k), float(s)) if isinstance(s, int) else rng.uniform(*s, len(k)) for s in DISCRETE[name])]


def test_every_name_is_there():
    wanted = """norm uniform expon gamma beta cauchy laplace logistic t chi2 lognorm multivariate_normal dirichlet
    bernoulli binom poisson geom multinomial"""
    assert set(ours.__all__) == set(wanted.split())
    assert set(CUMULATIVE) == {"norm", "uniform", "expon", "logistic", "laplace", "cauchy", "lognorm"}
    assert scipy.stats is ours


# Densities of one variable --------------------------------------------------------------------------------------------


@continuous
def test_densities_are_scipys(name, scipy_stats):
    args = arguments(name)
    for method in ("logpdf", "pdf"):
        f = getattr(getattr(ours, name), method)
        got = f(*args)
        np.testing.assert_allclose(got, getattr(getattr(scipy_stats, name), method)(*args), rtol=1e-11, atol=1e-12)
        assert_close(fg.jit(f)(*args), got)
        single = f(*(a.astype(np.float32) for a in args))
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, got, rtol=2e-4, atol=2e-4)


@cumulative
@pytest.mark.parametrize("method", INTEGRALS)
def test_integrals_are_scipys(name, method, scipy_stats):
    args = arguments(name)
    f = getattr(getattr(ours, name), method)
    want = getattr(getattr(scipy_stats, name), method)(*args)
    np.testing.assert_allclose(f(*args), want, rtol=1e-9, atol=1e-14)
    assert_close(fg.jit(f)(*args), f(*args))
    assert f(*(a.astype(np.float32) for a in args)).dtype == np.float32
    ends = np.array([-math.inf, math.inf, math.nan])
    rest = shapes_of(name)
    np.testing.assert_array_equal(f(ends, *rest), getattr(getattr(scipy_stats, name), method)(ends, *rest))


@cumulative
def test_quantiles_are_scipys_and_invert_the_cdf(name, scipy_stats):
    q = np.array([0.0, 1e-12, 0.01, 0.2, 0.5, 0.6, 0.9, 1 - 1e-9, 1.0, -0.1, 1.1, math.nan])
    rest = [*shapes_of(name), 0.3, 2.0]
    dist = getattr(ours, name)
    got = dist.ppf(q, *rest)
    np.testing.assert_allclose(got, getattr(scipy_stats, name).ppf(q, *rest), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(dist.cdf(got[1:9], *rest), q[1:9], rtol=1e-6, atol=1e-16)
    assert_close(fg.jit(lambda q: dist.ppf(q, *rest))(q), got)
    # Laplace's has a corner at 1/2.
    check_grads(dist.ppf, (q[[2, 3, 5, 6]], *rest), order=2, tol=1e-4)


@continuous
def test_densities_integrate_to_one(name):
    # The tanh-sinh rule on the support, mapped to the line by sinh where it is infinite.
    nodes, step = np.linspace(-3.2, 3.2, 4001, retstep=True)
    low, high = getattr(ours, name).support
    s, ds = 0.5 * math.pi * np.sinh(nodes), 0.5 * math.pi * np.cosh(nodes)
    if high == 1:
        x, dx = 1 / (1 + np.exp(-2 * s)), 0.5 * ds / np.cosh(s) ** 2
    elif low == 0:
        x, dx = np.exp(s), ds * np.exp(s)
    else:
        x, dx = np.sinh(s), ds * np.cosh(s)
    p = getattr(ours, name).pdf(x, *shapes_of(name))
    assert abs(np.sum(p * dx) * step - 1) < 1e-6
    if name in CUMULATIVE:
        cdf = getattr(ours, name).cdf(x, *shapes_of(name))
        np.testing.assert_allclose(np.cumsum(p * dx) * step - 0.5 * p * dx * step, cdf, atol=1e-4)


@continuous
def test_derivatives_of_densities(name):
    args = [a[:3] for a in arguments(name)]
    dist = getattr(ours, name)
    check_grads(dist.logpdf, args, order=2, tol=1e-4)
    check_grads(dist.pdf, args, order=2, tol=1e-4)


@cumulative
def test_derivatives_of_integrals(name):
    args = [a[:3] for a in arguments(name)]
    # Nearer to the middle, where 1 - cdf is not lost to rounding.
    args[0] = args[-2] + 0.5 * (args[0] - args[-2])
    for method in INTEGRALS:
        check_grads(getattr(getattr(ours, name), method), args, order=2, tol=1e-4)
    dist = getattr(ours, name)
    slope = fg.vmap(fg.grad(dist.cdf))(*args)
    assert_close(slope, dist.pdf(*args), rtol=1e-9)


@continuous
def test_vmap_is_a_loop(name):
    args = [a[:5] for a in arguments(name)]
    dist = getattr(ours, name)
    for f in [getattr(dist, m) for m in ("logpdf", "pdf", "cdf", "logsf") if hasattr(dist, m)]:
        assert_close(fg.vmap(f)(*args), np.stack([f(*row) for row in zip(*args)]))
        slopes = fg.vmap(fg.grad(f, tuple(range(len(args)))))(*args)
        loop = [fg.grad(f, tuple(range(len(args))))(*row) for row in zip(*args)]
        assert_close(slopes, tuple(np.stack(column) for column in zip(*loop)))


@continuous
def test_outside_of_the_support_nothing_is_nan(name):
    dist, rest = getattr(ours, name), [*shapes_of(name), 0.5, 2.0]
    outside = [math.inf, -math.inf]
    if dist.support[0] == 0:
        outside += [0.4, -1e300]
    if dist.support[1] == 1:
        outside += [2.6, 1e300]
    where = tuple(range(len(rest) + 1))
    methods = {"logpdf": (-math.inf,), "pdf": (0.0,)}
    if name in CUMULATIVE:
        methods |= {"cdf": (0.0, 1.0), "sf": (0.0, 1.0), "logcdf": (-math.inf, 0.0), "logsf": (-math.inf, 0.0)}
    for method, values in methods.items():
        f = getattr(dist, method)
        for x in outside:
            assert float(f(x, *rest)) in values
            assert fg.grad(f, where)(x, *rest) == (0.0,) * len(where)
            assert fg.jit(fg.grad(f, where))(x, *rest) == (0.0,) * len(where)
            second = fg.hessian(f, where)(x, *rest)
            assert all(float(entry) == 0 for row in second for entry in row)


def test_edges_of_the_support(scipy_stats):
    for name, shapes in [
        ("uniform", []), ("expon", []), ("gamma", [0.5]), ("gamma", [1.0]), ("gamma", [2.0]), ("chi2", [1.0]),
        ("chi2", [2.0]), ("beta", [1.0, 1.0]), ("beta", [0.5, 2.0]), ("beta", [2.0, 0.5]), ("lognorm", [1.0]),
    ]:  # fmt: skip
        for x in (0.0, 1.0):
            want = getattr(scipy_stats, name).logpdf(x, *shapes)
            np.testing.assert_allclose(getattr(ours, name).logpdf(x, *shapes), want, rtol=1e-13, err_msg=name)
    # Where a power has the exponent 0 it is 1 at 0, and does not vary with the point.
    assert fg.grad(ours.gamma.logpdf)(0.0, 1.0) == -1.0
    # The densities have a slope where their logarithms have none: z exp(-z), z exp(-z/2) / 4 and 6 z (1 - z).
    np.testing.assert_allclose(fg.grad(ours.gamma.pdf)(0.0, 2.0), 1.0)
    np.testing.assert_allclose(fg.grad(fg.grad(ours.gamma.pdf))(0.0, 2.0), -2.0)
    np.testing.assert_allclose(fg.grad(ours.chi2.pdf)(0.0, 4.0), 0.25)
    np.testing.assert_allclose([fg.grad(ours.beta.pdf)(x, 2.0, 2.0) for x in (0.0, 1.0)], [6.0, -6.0])
    assert fg.grad(ours.beta.logpdf, (0, 1, 2))(0.0, 1.0, 1.0)[0] == 0.0
    assert fg.grad(ours.expon.logpdf, (0, 1, 2))(0.0, 0.0, 2.0) == (-0.5, 0.5, -0.5)


def test_far_tails():
    assert float(ours.norm.logcdf(-1e10)) == -5e19 - math.log(1e10) - 0.5 * math.log(2 * math.pi)
    assert_close(ours.cauchy.logpdf(1e200), np.float64(-math.log(math.pi) - 400 * math.log(10)))
    assert_close(ours.t.logpdf(1e200, 1.0), np.float64(-math.log(math.pi) - 400 * math.log(10)))
    assert_close(ours.cauchy.cdf(-1e30), np.float64(1e-30 / math.pi))
    assert_close(ours.t.logpdf(1.0, 1e12), ours.norm.logpdf(1.0), rtol=1e-9)
    assert_close(fg.grad(ours.cauchy.logpdf)(1e200), np.float64(-2e-200))
    assert fg.grad(ours.norm.logpdf)(1e200) == -1e200
    assert ours.logistic.logpdf(-900.0) == -900.0


@continuous
def test_parameters_that_are_not_allowed_give_nan(name, scipy_stats):
    dist, shapes = getattr(ours, name), shapes_of(name)
    bad = [[*shapes, 0.0, scale] for scale in (0.0, -1.0, math.nan)] + [[*shapes, math.nan, 1.0]]
    bad += [[*shapes[:i], s, *shapes[i + 1 :], 0.0, 1.0] for i in range(len(shapes)) for s in (-1.0, 0.0)]
    for rest in bad:
        assert np.isnan(dist.logpdf(0.5, *rest)) and np.isnan(dist.pdf(0.5, *rest)), rest
        with np.errstate(all="ignore"):
            assert np.isnan(getattr(scipy_stats, name).logpdf(0.5, *rest)), rest
        assert fg.grad(dist.logpdf)(0.5, *rest) == 0
    assert np.isnan(dist.logpdf(math.nan, *shapes))


# Probabilities of whole numbers ---------------------------------------------------------------------------------------


@discrete
def test_probabilities_are_scipys(name, scipy_stats):
    args = counts(name)
    dist, theirs = getattr(ours, name), getattr(scipy_stats, name)
    got = dist.logpmf(*args, 1)
    np.testing.assert_allclose(got, theirs.logpmf(*args, 1), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(dist.pmf(*args), theirs.pmf(*args), rtol=1e-12)
    assert_close(fg.jit(dist.logpmf)(*args, 1), got)
    assert_close(fg.vmap(dist.logpmf)(*args), np.stack([dist.logpmf(*row) for row in zip(*args)]))
    assert_close(dist.logpmf(args[0].astype(int), *args[1:]), dist.logpmf(*args))
    assert dist.pmf(*(a.astype(np.float32) for a in args)).dtype == np.float32
    odd = np.array([0.5, math.inf, -math.inf, math.nan])
    np.testing.assert_array_equal(dist.pmf(odd, *(a[0] for a in args[1:])), [0, 0, 0, math.nan])


@discrete
def test_probabilities_sum_to_one(name):
    k = np.arange(0, 300)
    parameters = [float(a[0]) for a in counts(name)[1:]]
    assert abs(np.sum(getattr(ours, name).pmf(k, *parameters)) - 1) < 1e-12


@discrete
def test_derivatives_of_probabilities(name):
    k, *rest = counts(name)
    dist, p = getattr(ours, name), rest[-1]
    check_grads(lambda p: dist.pmf(k, *rest[:-1], p), (p,), order=2, tol=1e-4)
    inside = np.isfinite(dist.logpmf(k, *rest))
    k, *rest = (a[inside] for a in (k, *rest))
    check_grads(lambda p: dist.logpmf(k, *rest[:-1], p), (rest[-1],), order=2, tol=1e-4)
    for count in (-1.0, 0.5, 99.5, math.inf, -math.inf):
        everything = (count, *(float(a[0]) for a in rest), 0.0)
        slopes = fg.grad(dist.logpmf, tuple(range(len(everything))))(*everything)
        assert slopes == (0.0,) * len(everything)


def test_edges_of_the_probabilities(scipy_stats):
    for name, args in [
        ("bernoulli", (0, 0.0)), ("bernoulli", (1, 0.0)), ("bernoulli", (0, 1.0)), ("bernoulli", (1, 1.0)),
        ("bernoulli", (1, 1.2)), ("bernoulli", (1, -0.2)), ("binom", (0, 0, 0.3)), ("binom", (3, 3, 1.0)),
        ("binom", (0, 3, 0.0)), ("binom", (1, -1, 0.5)), ("binom", (1, 2.5, 0.5)), ("poisson", (0, 0.0)),
        ("poisson", (2, 0.0)), ("poisson", (2, -1.0)), ("geom", (1, 1.0)), ("geom", (2, 1.0)), ("geom", (1, 0.0)),
        ("binom", (400, 1000, 0.4)), ("poisson", (1000, 1000.0)),
    ]:  # fmt: skip
        with np.errstate(all="ignore"):
            want = getattr(scipy_stats, name).logpmf(*args)
        np.testing.assert_allclose(
            getattr(ours, name).logpmf(*args), want, rtol=1e-11, atol=1e-15, err_msg=f"{name}{args}"
        )
    assert fg.grad(lambda p: ours.bernoulli.logpmf(0, p))(0.0) == -1.0
    assert fg.grad(lambda p: ours.binom.logpmf(3, 3, p))(1.0) == 3.0
    assert fg.grad(lambda mu: ours.poisson.logpmf(0, mu))(0.0) == -1.0


# Vectors --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def normal():
    rng = np.random.default_rng(5)
    a = rng.normal(size=(3, 3))
    return rng.normal(size=(4, 3)), rng.normal(size=3), a @ a.T + np.eye(3)


def test_multivariate_normal_is_scipys(normal, scipy_stats):
    x, mean, cov = normal
    f = ours.multivariate_normal.logpdf
    for args in [
        (x, mean, cov), (x[0], mean, cov), (x, mean, np.diag(cov)), (x, mean, 2.0), (x, None, cov),
        (x[:, :1], 0.5, 2.0), (x[0, :1], 0.5, 2.0), (x[:, 0], 0.5, 2.0), (x[:, 0],), (0.3, None, 2.0), (x.reshape(2, 2, 3), mean, cov),
    ]:  # fmt: skip
        want = scipy_stats.multivariate_normal.logpdf(*args)
        got = f(*args)
        np.testing.assert_allclose(got, want, rtol=1e-12)
        assert np.shape(got) == np.shape(want)
        assert_close(fg.jit(lambda args: f(*args))(args), got)
        np.testing.assert_allclose(ours.multivariate_normal.pdf(*args), np.exp(want), rtol=1e-12)
    assert f(*(a.astype(np.float32) for a in normal)).dtype == np.float32


def test_multivariate_normal_is_a_product_of_normals(normal):
    x, mean, cov = normal
    want = np.sum(ours.norm.logpdf(x, mean, np.sqrt(np.diag(cov))), axis=-1)
    assert_close(ours.multivariate_normal.logpdf(x, mean, np.diag(cov)), want)


def test_multivariate_normal_differentiates_and_maps(normal):
    x, mean, cov = normal
    f = ours.multivariate_normal.logpdf
    symmetric = lambda x, mean, a: f(x, mean, a @ fnp.swapaxes(a, -1, -2))
    root = np.linalg.cholesky(cov)
    check_grads(symmetric, (x, mean, root), order=2, tol=1e-4)
    assert_close(fg.vmap(f, in_axes=(0, None, None))(x, mean, cov), f(x, mean, cov))
    means, covs = mean + np.arange(4.0)[:, None], cov * np.arange(1.0, 5)[:, None, None]
    want = np.stack([f(*row) for row in zip(x, means, covs)])
    assert_close(fg.vmap(f)(x, means, covs), want)
    assert_close(f(x, means, covs), want)
    with pytest.raises(np.linalg.LinAlgError):
        f(x, mean, -cov)
    with pytest.raises(OperandError, match="do not fit"):
        f(x, mean[:2], cov)


def test_dirichlet(scipy_stats):
    rng = np.random.default_rng(3)
    alpha = np.array([0.7, 1.0, 3.0])
    x = rng.dirichlet(alpha + 1, 6).T
    f = ours.dirichlet.logpdf
    want = scipy_stats.dirichlet.logpdf(x, alpha)
    for point in (x, x[:-1]):
        np.testing.assert_allclose(f(point, alpha), want, rtol=1e-12)
        assert_close(fg.jit(f)(point, alpha), f(point, alpha))
    np.testing.assert_allclose(ours.dirichlet.pdf(x[:, 0], alpha), np.exp(want[0]), rtol=1e-12)
    # Two components are the beta distribution.
    assert_close(f(np.array([0.3]), np.array([2.0, 3.0])), ours.beta.logpdf(0.3, 2.0, 3.0))
    check_grads(f, (x[:-1], alpha), order=2, tol=1e-4)
    assert_close(fg.vmap(f, in_axes=(1, None))(x, alpha), f(x, alpha))
    assert f(x.astype(np.float32), alpha.astype(np.float32)).dtype == np.float32
    assert np.all(np.isfinite(f(x.astype(np.float32), alpha.astype(np.float32))))
    for off in ([0.3, 0.3, 0.3], [-0.1, 0.6, 0.5], [math.inf, 0.0, 0.0]):
        assert f(np.array(off), alpha) == -math.inf
        slopes = fg.grad(f, (0, 1))(np.array(off), alpha)
        assert not np.any(slopes[0]) and not np.any(slopes[1])
    assert np.isnan(f(x[:, 0], -alpha))
    with pytest.raises(OperandError, match="alpha"):
        f(x, alpha[:2])


def test_multinomial(scipy_stats):
    x, p = np.array([[1, 2, 3], [6, 0, 0], [1, 1, 1], [-1, 4, 3]]), np.array([0.2, 0.3, 0.5])
    f = ours.multinomial.logpmf
    want = scipy_stats.multinomial.logpmf(x, 6, p)
    np.testing.assert_allclose(f(x, 6, p), want, rtol=1e-12)
    np.testing.assert_allclose(ours.multinomial.pmf(x, 6, p), np.exp(want), rtol=1e-12)
    assert_close(fg.jit(f)(x, 6, p), f(x, 6, p))
    assert_close(fg.vmap(f, in_axes=(0, None, None))(x, 6, p), f(x, 6, p))
    assert f(x[0], 6, np.array([1.0, 0.0, 0.0])) == -math.inf and f(x[1], 6, np.array([1.0, 0.0, 0.0])) == 0
    assert np.isnan(f(x[0], 6, p / 2))
    check_grads(lambda w: f(x[:2], 6, fnp.exp(w) / fnp.sum(fnp.exp(w))), (np.log(p),), order=2, tol=1e-4)
    assert not np.any(fg.grad(lambda p: f(x[2], 6, p))(p))
    total = [(a, b, 4 - a - b) for a in range(5) for b in range(5 - a)]
    assert abs(np.sum(ours.multinomial.pmf(np.array(total), 4, p)) - 1) < 1e-13


# Arguments ------------------------------------------------------------------------------------------------------------


def test_arguments_go_by_position_or_name_and_broadcast():
    x = np.linspace(0.1, 2, 3)
    assert_close(ours.gamma.logpdf(x=x, a=2.0, scale=3.0), ours.gamma.logpdf(x, 2.0, 0, 3.0))
    assert ours.norm.logpdf(x[:, None], np.zeros(2), 1).shape == (3, 2)
    assert ours.gamma.logpdf(1, 2).dtype == np.float64 == ours.norm.logpdf(np.arange(3)).dtype
    assert ours.norm.logpdf(np.float32(1), 0.5, 2).dtype == np.float32
    assert ours.norm.logpdf([0.0, 1.0]).shape == (2,)
    half = ours.t.logpdf(np.ones(2, np.float16), 3.0)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, ours.t.logpdf(np.ones(2), 3.0), rtol=3e-3)
    with pytest.raises(TypeError, match="gamma.logpdf"):
        ours.gamma.logpdf(x)
    with pytest.raises(OperandTypeError, match="real operands"):
        ours.norm.logpdf(1j)


def test_a_likelihood_is_maximal_where_its_slope_is_zero():
    data = np.array([1.0, 2.0, 4.0, 7.0])
    slope = fg.grad(lambda loc, scale: fnp.sum(ours.norm.logpdf(data, loc, scale)), (0, 1))
    np.testing.assert_allclose(slope(np.mean(data), np.std(data)), 0, atol=1e-12)
