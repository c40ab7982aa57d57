"""``funcgrad.scipy.special`` against SciPy in value and dtype, against mpmath where SciPy is not accurate, and its
derivatives against finite differences of the values and against those that are known."""

from __future__ import annotations

import functools
import math
from functools import partial

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.core.errors import MissingRuleError
from funcgrad.scipy import special as ours
from funcgrad.testing import assert_close, check_grads, check_vjp


def uniform(low, high):
    return lambda rng, size: rng.uniform(low, high, size)


def powers(low, high):
    return lambda rng, size: 10 ** rng.uniform(low, high, size)


class Case:
    """A function, the range of each argument, the relative tolerance, and the arguments it has a derivative in."""

    def __init__(self, name, *args, rtol=1e-13, grad=None, points=None):
        self.name, self.args, self.rtol = name, args, rtol
        self.grad = tuple(range(len(args))) if grad is None else grad
        # Where the derivatives are taken, if that is not the range of the values.
        self.points = points or args
        self.ours = getattr(ours, name)

    def sample(self, size=400, seed=0):
        rng = np.random.default_rng([seed, sum(map(ord, self.name))])
        return [make(rng, size) for make in self.args]

    def point(self, size=3, seed=0):
        rng = np.random.default_rng([seed, 7, sum(map(ord, self.name))])
        return [make(rng, size) for make in self.points]

    def __repr__(self):
        return self.name


CASES = [
    Case("erf", uniform(-6, 6), points=[uniform(-2, 2)]),
    Case("erfc", uniform(-6, 26), points=[uniform(-2, 2)]),
    Case("erfcx", uniform(-20, 100), points=[uniform(-1, 3)]),
    Case("erfinv", uniform(-1, 1), points=[uniform(-0.9, 0.9)]),
    Case("expit", uniform(-700, 700), points=[uniform(-3, 3)]),
    Case("logit", uniform(0, 1), points=[uniform(0.1, 0.9)]),
    Case("ndtr", uniform(-20, 8), points=[uniform(-3, 3)]),
    Case("log_ndtr", uniform(-300, 5), points=[uniform(-4, 3)]),
    Case("ndtri", uniform(0, 1), points=[uniform(0.05, 0.95)]),
    Case("xlogy", uniform(-3, 3), powers(-5, 5), points=[uniform(-2, 2), uniform(0.3, 2)]),
    Case("xlog1py", uniform(-3, 3), uniform(-0.9, 5), points=[uniform(-2, 2), uniform(-0.5, 2)]),
    Case("entr", powers(-5, 5), points=[uniform(0.2, 2)]),
    Case("gamma", uniform(0.001, 170), points=[uniform(0.5, 4)]),
    Case("gammaln", powers(-10, 10), rtol=2e-13, points=[uniform(0.3, 9)]),
    Case("digamma", powers(-10, 10), points=[uniform(0.4, 9)]),
    Case("psi", uniform(0.1, 9), points=[uniform(-0.8, -0.3)]),
    Case("beta", powers(-2, 1.5), powers(-2, 1.5), points=[uniform(0.4, 4), uniform(0.4, 4)]),
    Case("betaln", powers(-2, 1), powers(-2, 1), points=[uniform(0.4, 4), uniform(0.4, 4)], rtol=1e-12),
    Case("gammainc", uniform(0.1, 60), uniform(0.5, 60), rtol=4e-13, points=[uniform(0.5, 5), uniform(0.5, 5)]),
    Case("gammaincc", uniform(0.1, 60), uniform(0.5, 60), rtol=4e-13, points=[uniform(0.5, 5), uniform(0.5, 5)]),
    Case(
        "betainc", uniform(0.1, 20), uniform(0.1, 20), uniform(0.05, 0.95), rtol=4e-13,
        points=[uniform(0.6, 4), uniform(0.6, 4), uniform(0.2, 0.8)],
    ),
    Case("i0", uniform(-50, 50), points=[uniform(-3, 3)]),
    Case("i0e", uniform(-500, 500), points=[uniform(0.3, 3)]),
    Case("i1", uniform(-50, 50), points=[uniform(-3, 3)]),
    Case("i1e", uniform(-500, 500), points=[uniform(0.3, 3)]),
    Case("zeta", uniform(1.05, 30), powers(-1, 1), points=[uniform(1.5, 4), uniform(0.5, 4)]),
]  # fmt: skip
CASE = {case.name: case for case in CASES}
cases = pytest.mark.parametrize("case", CASES, ids=repr)


@pytest.fixture(scope="module")
def scipy_special():
    return pytest.importorskip("scipy.special", reason="SciPy is the oracle of its functions")


def quietly(f, *args):
    with np.errstate(all="ignore"):
        return f(*args)


def test_every_name_of_the_issue_is_there():
    wanted = """erf erfc erfinv gamma gammaln digamma polygamma beta betaln betainc gammainc gammaincc expit logit xlogy
    xlog1py entr ndtr log_ndtr ndtri logsumexp softmax log_softmax i0 i1 i0e i1e zeta"""
    assert set(wanted.split()) <= set(ours.__all__)
    assert set(ours.__all__) == set(CASE) | {"logsumexp", "softmax", "log_softmax", "polygamma"}
    for name in ours.__all__:
        assert callable(getattr(ours, name)) and getattr(ours, name).__doc__


# Values ---------------------------------------------------------------------------------------------------------------


@cases
def test_values_are_scipys(case, scipy_special):
    args = case.sample()
    want = getattr(scipy_special, case.name)(*args)
    got = case.ours(*args)
    assert got.dtype == np.float64
    atol = 1e-14 if case.name in ("gammaln", "betaln", "digamma", "psi", "log_ndtr") else 0
    np.testing.assert_allclose(got, want, rtol=case.rtol, atol=atol)
    np.testing.assert_allclose(fg.jit(case.ours)(*args), got, rtol=1e-15)
    single = [x.astype(np.float32) for x in args]
    got = quietly(case.ours, *single)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, quietly(getattr(scipy_special, case.name), *single), rtol=3e-5, atol=1e-30)
    np.testing.assert_array_equal(quietly(fg.jit(case.ours), *single), got)


SPECIAL = {
    "erfinv": [-1.0, 1.0, -1.5, 2.0, 0.0, 1e-300, -1e-20],
    "ndtri": [0.0, 1.0, -0.1, 1.1, 0.5, 1e-310, 1 - 1e-16],
    "logit": [0.0, 1.0, -0.1, 1.1, 0.5, 1e-300],
    "erfcx": [-30.0, 1e5, 1e300],
    "erf": [1e-300, 10.0, -10.0],
    "erfc": [1e-300, 40.0, -40.0],
    "log_ndtr": [-1e10, -40.0, 40.0, 1e200],
    "ndtr": [-50.0, 50.0],
    "entr": [-1.0, 1e300],
    "gamma": [-1.0, -2.0, 0.5, 171.7, 1e300, -170.5, -200.5, -1e-300, 1e-308, 1.0, 2.0, 5.0, 23.0],
    "gammaln": [-1.0, -2.0, 1.0, 2.0, 171.7, 1e300, 1e306, -0.5, -1.5, -170.5, 1e-300, -1e-300],
    "digamma": [-1.0, -2.0, 1.0, 1.4616321449683622, -0.5, -1e-300, 1e300, 1e-300],
    "i0": [0.5, 8.0, 700.0, -700.0],
    "i0e": [8.0, 1e300],
    "i1": [0.5, 8.0, 700.0, -700.0],
    "i1e": [8.0, -1e300],
    "expit": [-800.0, 800.0, -745.0],
}
#: At infinity SciPy has NaN for these, which we share.
_LIMITS = {"i0": [], "i1": []}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_values_are_scipys(name, scipy_special):
    x = np.array([0.0, -0.0, math.nan, *_LIMITS.get(name, [math.inf, -math.inf]), *SPECIAL[name]])
    want = getattr(scipy_special, name)(x)
    for f in (CASE[name].ours, fg.jit(CASE[name].ours)):
        np.testing.assert_allclose(f(x), want, rtol=4e-13, atol=1e-307)
    if name in ("erf", "gamma"):
        signed = want != want
        np.testing.assert_array_equal(np.signbit(CASE[name].ours(x))[~signed], np.signbit(want)[~signed])


def grid(*values):
    return [x.ravel() for x in np.meshgrid(*values)]


_ENDS = np.array([0.0, -1.0, 0.5, 2.0, math.inf, math.nan])


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("xlogy", grid(_ENDS, _ENDS)),
        ("xlog1py", grid(_ENDS, _ENDS)),
        ("gammainc", grid(_ENDS, _ENDS)),
        ("gammaincc", grid(_ENDS, _ENDS)),
        ("betainc", grid(_ENDS, _ENDS, np.array([0.0, 0.3, 1.0, -0.1, 1.1, math.nan]))),
        ("beta", grid(np.array([0.5, 2.0, -0.5, -1.0, -3.0]), np.array([0.5, 1.0, 3.0, -1.5, -2.0]))),
        ("betaln", grid(np.array([0.5, 2.0, -0.5, -1.0, -3.0]), np.array([0.5, 1.0, 3.0, -1.5, -2.0]))),
        (
            "zeta",
            grid(np.array([0.5, 1.0, 2.0, 2.5, 3.0]), np.array([0.0, -1.0, -1.5, 2.0, math.inf])),
        ),
    ],
)
def test_special_values_of_several_arguments_are_scipys(name, args, scipy_special):
    want = getattr(scipy_special, name)(*args)
    for f in (CASE[name].ours, fg.jit(CASE[name].ours)):
        np.testing.assert_allclose(quietly(f, *args), want, rtol=4e-13, atol=1e-14 if name == "betaln" else 0)


#: From mpmath with 40 digits, where SciPy (1.17) is less accurate.
EXACT = [
    ("gammaln", (1.0000000000103018,), -5.946336927900812e-12),
    ("gammaln", (1.9999999,), -4.2278430309861296e-08),
    ("digamma", (1.4616321449683622,), -9.241265521729427e-17),
    ("betaln", (0.14533835281046376, 293981.8000898409), 0.031056285963970576),
    ("erfc", (26.0,), 5.663192408856143e-296),
    ("gammainc", (10000.0, 10010.0), 0.54113746289251),
    ("gammaincc", (1e-10, 1e-05), 1.0935719794146443e-09),
    ("ndtri", (1e-300,), -37.0470962993612),
    ("log_ndtr", (-200.0,), -20006.21728089819),
    ("betainc", (100.0, 0.25, 0.999), 0.39211751988047955),
]


@pytest.mark.parametrize(("name", "args", "want"), EXACT, ids=lambda v: v if isinstance(v, str) else "")
def test_values_are_mpmaths(name, args, want):
    for f in (CASE[name].ours, fg.jit(CASE[name].ours)):
        np.testing.assert_allclose(f(*args), want, rtol=2e-13)


def test_nan_stays_nan():
    for name in ("zeta", "beta", "betaln"):
        assert np.isnan(CASE[name].ours(np.array([math.nan, 2.0, math.nan]), np.array([2.0, math.nan, -1.0]))).all()


def test_factorials_are_exact():
    n = np.arange(1.0, 19)
    np.testing.assert_array_equal(ours.gamma(n), [float(math.factorial(int(k) - 1)) for k in n])


def test_reflection_below_zero(scipy_special):
    x = -np.random.default_rng(0).uniform(0, 20, 300)
    np.testing.assert_allclose(ours.gamma(x), scipy_special.gamma(x), rtol=1e-13)
    np.testing.assert_allclose(ours.gammaln(x), scipy_special.gammaln(x), rtol=1e-13, atol=1e-13)
    far = np.abs(x - np.round(x)) > 1e-2
    np.testing.assert_allclose(ours.digamma(x[far]), scipy_special.digamma(x[far]), rtol=1e-12, atol=1e-13)
    for n in (1, 2, 3):
        np.testing.assert_allclose(ours.polygamma(n, x[far]), scipy_special.polygamma(n, x[far]), rtol=1e-11)


def test_riemann_zeta(scipy_special):
    s = np.concatenate([np.linspace(-30.3, 30.3, 200), [0.0, 0.5, 1.0, -2.0, -4.0, 2.0, math.inf, math.nan]])
    np.testing.assert_allclose(ours.zeta(s), scipy_special.zeta(s), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(fg.jit(ours.zeta)(s), ours.zeta(s), rtol=1e-15)
    assert ours.zeta(2.0) == pytest.approx(math.pi**2 / 6, rel=1e-15)


def test_polygamma(scipy_special):
    x = np.array([0.1, 0.7, 1.4, 3.0, 20.0, 1e5])
    for n in (0, 1, 2, 5, 10):
        want = scipy_special.polygamma(n, x)
        np.testing.assert_allclose(ours.polygamma(n, x), want, rtol=2e-13)
        np.testing.assert_allclose(fg.jit(partial(ours.polygamma, n))(x), want, rtol=2e-13)
        check_grads(partial(ours.polygamma, n), (np.array([0.8, 1.7, 3.0]),), order=2)
    orders = np.array([[0], [1], [3]])
    np.testing.assert_allclose(ours.polygamma(orders, x), scipy_special.polygamma(orders, x), rtol=2e-13)
    assert ours.polygamma(1, x.astype(np.float32)).dtype == scipy_special.polygamma(1, x.astype(np.float32)).dtype


@pytest.mark.parametrize("name", [*CASE, "polygamma"])
def test_dtypes_are_scipys(name, scipy_special):
    theirs, mine = getattr(scipy_special, name), getattr(ours, name)
    count = 2 if name == "polygamma" else len(CASE[name].args)
    singles = [np.full(2, 0.5, np.float32)] * (count - 1)
    for dtype in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint64", "float16", "float32", "float64"):
        args = [np.ones(2, dtype)] * count
        want = quietly(theirs, *args).dtype
        assert quietly(mine, *args).dtype == want
        assert fg.eval_shape(mine, *args).dtype == want
        assert quietly(mine, *singles, args[0]).dtype == quietly(theirs, *singles, args[0]).dtype
    for scalar in (1, 1.0, np.float32(1)):
        assert np.asarray(quietly(mine, *singles, scalar)).dtype == np.asarray(quietly(theirs, *singles, scalar)).dtype
    scalars = [0.5] * count
    assert type(quietly(mine, *scalars)) is np.float64


@cases
def test_shapes(case):
    for shape in [(), (0, 3), (2, 3)]:
        args = [np.asarray(x).reshape(shape) for x in case.sample(int(np.prod(shape)))]
        assert np.shape(case.ours(*args)) == shape
        assert fg.jit(case.ours)(*args).shape == shape
    if len(case.args) > 1:
        first, *rest = case.sample(6)
        want = case.ours(np.repeat(first[:2], 3), *(np.tile(x[:3], 2) for x in rest)).reshape(2, 3)
        for f in (case.ours, fg.jit(case.ours)):
            np.testing.assert_allclose(f(first[:2, None], *(x[:3] for x in rest)), want, rtol=1e-14)


# Derivatives ----------------------------------------------------------------------------------------------------------


@cases
def test_derivatives(case):
    args = case.point()
    check_grads(
        lambda *xs: case.ours(*(x if i in case.grad else a for i, (x, a) in enumerate(zip(xs, args)))),
        args,
        order=2,
        tol=3e-5,
    )


@cases
def test_vmap_is_the_loop_and_jit_the_function(case):
    args = case.point(4)
    grad = fg.grad(lambda *xs: case.ours(*xs), argnums=case.grad)
    rows = [grad(*row) for row in zip(*args)]
    want = tuple(np.stack(column) for column in zip(*rows))
    assert_close(fg.vmap(grad)(*args), want)
    assert_close(fg.jit(fg.vmap(grad))(*args), want)
    for mapped in range(len(args)):
        axes = tuple(0 if i == mapped else None for i in range(len(args)))
        shared = [x if i == mapped else x[0] for i, x in enumerate(args)]
        loop = np.stack([case.ours(*(x[k] if i == mapped else x for i, x in enumerate(shared))) for k in range(4)])
        assert_close(fg.vmap(case.ours, in_axes=axes)(*shared), loop)


def test_known_derivatives(scipy_special):
    x = np.linspace(0.3, 5, 20)
    grad = lambda f: fg.vmap(fg.grad(f))
    np.testing.assert_allclose(grad(ours.gammaln)(x), scipy_special.digamma(x), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(grad(grad_of(ours.gammaln))(x), scipy_special.polygamma(1, x), rtol=1e-13)
    np.testing.assert_allclose(grad(grad_of(ours.digamma))(x), scipy_special.polygamma(2, x), rtol=1e-12)
    np.testing.assert_allclose(grad(ours.i0)(x), scipy_special.i1(x), rtol=1e-14)
    np.testing.assert_allclose(grad(ours.expit)(x), scipy_special.expit(x) * scipy_special.expit(-x), rtol=1e-13)
    p = np.linspace(0.01, 0.99, 20)
    np.testing.assert_allclose(
        grad(ours.ndtri)(p), 1 / np.exp(-(scipy_special.ndtri(p) ** 2) / 2) * np.sqrt(2 * np.pi), rtol=1e-12
    )


def grad_of(f):
    return fg.grad(f)


def test_log_ndtr_far_to_the_left_and_right():
    # d log Phi(x) = phi(x) / Phi(x), on the left by its asymptotic series; the second derivatives by mpmath.
    for x in (-20.0, -1e3, -1e8):
        series = -x - 1 / x + 2 / x**3 - 10 / x**5 + 74 / x**7
        assert fg.grad(ours.log_ndtr)(x) == pytest.approx(series, rel=1e-9)
    for x, want in [(-20.0, -0.9975367383849478), (-1.5, -0.8504534064497973), (-0.5, -0.731519592844121)]:
        assert fg.grad(fg.grad(ours.log_ndtr))(x) == pytest.approx(want, rel=1e-11)
    for x in (40.0, 1e5):
        assert fg.grad(ours.log_ndtr)(x) == 0
        assert fg.grad(fg.grad(ours.log_ndtr))(x) == 0


@pytest.mark.parametrize(
    ("a", "x", "first", "second"),
    [
        (2.0, 3.0, -0.19742541957920248, -0.07930861629645541),
        (0.1, 0.02, -2.4867462730635563, 7.719517613123434),
        (30.0, 25.0, -0.049954877425834855, 0.009137883116240923),
        (1.0, 0.001, -0.00732712545464492, 0.053069253441905696),
    ],
)
def test_derivatives_in_the_parameter_of_gammainc_are_mpmaths(a, x, first, second):
    for f, factor in ((ours.gammainc, 1), (ours.gammaincc, -1)):
        assert fg.grad(f)(a, x) == pytest.approx(factor * first, rel=1e-12)
        assert fg.grad(fg.grad(f))(a, x) == pytest.approx(factor * second, rel=1e-12)


@pytest.mark.parametrize(
    ("args", "in_a", "in_b", "in_both"),
    [
        ((2.0, 3.0, 0.4), -0.24086937608755657, 0.15634433641359877, 0.008923407670034283),
        ((0.5, 0.5, 0.01), -0.33265796074017645, 0.08818850772358067, -0.3554376008148095),
        ((20.0, 5.0, 0.7), -0.02248273885542436, 0.0701237091004575, -0.010537964497309002),
        ((1.5, 30.0, 0.02), -0.3228479680215983, 0.00967272919469062, -0.005133188685691309),
    ],
)
def test_derivatives_in_the_parameters_of_betainc_are_mpmaths(args, in_a, in_b, in_both):
    assert fg.grad(ours.betainc, argnums=(0, 1))(*args) == pytest.approx((in_a, in_b), rel=1e-12)
    assert fg.grad(fg.grad(ours.betainc), argnums=1)(*args) == pytest.approx(in_both, rel=1e-11)


@pytest.mark.parametrize("name", ["gammainc", "gammaincc", "betainc"])
def test_third_derivatives_in_the_parameters(name):
    case = CASE[name]
    args = [x[0] for x in case.point()]

    def second(*xs):
        return fg.hessian(lambda *ys: case.ours(*ys), argnums=tuple(range(len(xs))))(*xs)

    check_grads(second, args, order=1, tol=1e-5)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_derivatives_of_zeta_in_x_are_exact(order):
    mp = pytest.importorskip("mpmath")
    derive = lambda f: functools.reduce(lambda g, _: fg.grad(g), range(order), f)
    # Near the roots of a derivative a result is accurate relative to the terms that it is a sum of.
    for s, q in [(1.01, 0.3), (1.5, 1.0), (2.5, 0.75), (3.0, 12.0), (7.0, 0.01), (20.0, 5.0), (1.5, 1e3), (40.0, 2.0)]:
        want = float(mp.zeta(mp.mpf(s), mp.mpf(q), order))
        assert derive(lambda s, q=q: ours.zeta(s, q))(s) == pytest.approx(want, rel=1e-13)
    for s in (-30.5, -7.0, -4.0, -2.5, -0.3, 0.0, 0.4, 0.99, 1.2, 2.0, 5.5, 30.0):
        want = float(mp.zeta(mp.mpf(s), 1, order))
        assert derive(ours.zeta)(s) == pytest.approx(want, rel=2e-12)


def test_mixed_derivatives_of_zeta():
    points = np.array([1.3, 2.0, 6.5]), np.array([0.4, 3.0, 1.7])
    fg.testing.check_grads(ours.zeta, points, order=2)
    fg.testing.check_grads(ours.zeta, (np.array([-3.3, 0.2, 1.4, 4.0]),), order=2)
    mixed = [fg.grad(fg.grad(ours.zeta, i), 1 - i)(2.5, 0.75) for i in (0, 1)]
    assert mixed[0] == pytest.approx(mixed[1], rel=1e-13)
    assert fg.grad(lambda s: ours.zeta(lax.stop_gradient(s), s))(3.0) == pytest.approx(-3 * ours.zeta(4.0, 3.0))


def test_where_zeta_has_no_value_beside_it_there_is_no_derivative():
    assert np.isnan(fg.grad(ours.zeta)(1.0))
    assert np.isnan(fg.grad(lambda s: ours.zeta(s, -1.5))(2.0))


#: Operands of the functions of several arguments; all others take one.
POINTS = {
    "beta": (1.5, 2.5), "betaln": (1.5, 2.5), "betainc": (1.5, 2.5, 0.3), "gammainc": (1.5, 2.0), "gammaincc": (1.5, 2.0),
    "xlogy": (1.5, 2.0), "xlog1py": (1.5, 2.0), "zeta": (2.5, 1.5), "polygamma": (2.0, 1.5),
}  # fmt: skip
#: The arguments that have no derivative.
NONE = {("polygamma", 0)}


@pytest.mark.parametrize("name", ours.__all__)
def test_every_real_argument_has_a_derivative_but_these(name):
    f, x = getattr(ours, name), POINTS.get(name, (0.3,))
    for i in range(len(x)):
        of_one = lambda v, i=i: fnp.sum(f(*x[:i], v, *x[i + 1 :]))
        if (name, i) in NONE:
            with pytest.raises(MissingRuleError, match="whole number"):
                fg.grad(of_one)(x[i])
        else:
            step = 1e-5
            difference = (of_one(x[i] + step) - of_one(x[i] - step)) / (2 * step)
            for derivative in (fg.grad(of_one)(x[i]), fg.jvp(of_one, (x[i],), (1.0,))[1]):
                assert derivative == pytest.approx(difference, rel=1e-6, abs=1e-9)
            assert np.isfinite(fg.grad(fg.grad(of_one))(x[i]))


def test_derivatives_at_zero():
    assert fg.grad(ours.i1)(0.0) == 0.5
    assert fg.grad(ours.i0)(0.0) == 0
    assert fg.grad(fg.grad(ours.i1))(0.0) == 0
    assert fg.grad(ours.xlogy)(0.0, 3.0) == pytest.approx(math.log(3))
    assert fg.grad(ours.xlogy, argnums=1)(0.0, 3.0) == 0
    assert fg.grad(ours.xlog1py)(0.0, 3.0) == pytest.approx(math.log(4))


def test_single_precision_stays_single_in_derivatives():
    for case in CASES:
        args = [x.astype(np.float32) for x in case.point()]
        grads = fg.grad(lambda *xs, f=case.ours: fnp.sum(f(*xs)), argnums=case.grad)(*args)
        assert all(g.dtype == np.float32 for g in grads)


# Sums of exponentials -------------------------------------------------------------------------------------------------


def logsumexp_arguments():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4)) * 5
    infinite = np.array([[-math.inf, 1.0, 2.0], [-math.inf] * 3, [math.inf, 1.0, -math.inf], [math.nan, 1.0, 0.0]])
    for array in (
        x,
        x * 300,
        infinite,
        x.astype(np.float32),
        (x * 2).astype(int),
        np.zeros((2, 0)),
        np.float64(2.5),
        [1.0, 2.0],
    ):
        # SciPy fails for all axes of an array without elements.
        for axis in (None, -1) if np.ndim(array) and np.size(array) else (-1,) if np.ndim(array) else (None,):
            yield array, axis


def test_logsumexp_is_scipys(scipy_special):
    for array, axis in logsumexp_arguments():
        for keywords in ({}, {"keepdims": True}, {"return_sign": True}):
            want = scipy_special.logsumexp(array, axis=axis, **keywords)
            f = partial(ours.logsumexp, axis=axis, **keywords)
            for got in (f(array), quietly(fg.jit(f), np.asarray(array))):
                pairs = zip(got, want) if "return_sign" in keywords else [(got, want)]
                for mine, theirs in pairs:
                    assert np.asarray(mine).dtype == np.asarray(theirs).dtype
                    np.testing.assert_allclose(mine, theirs, rtol=1e-6 if mine.dtype == np.float32 else 1e-14)
    # What is far below the largest term still counts.
    assert ours.logsumexp(np.array([0.0, -50.0])) == pytest.approx(math.exp(-50), rel=1e-14)


def test_weighted_logsumexp_is_scipys(scipy_special):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    b[0, 1] = 0
    a[0, 1] = math.inf
    for keywords in ({}, {"axis": 0}, {"axis": (0, 1), "keepdims": True}):
        want = scipy_special.logsumexp(a, b=b, return_sign=True, **keywords)
        for f in (
            partial(ours.logsumexp, return_sign=True, **keywords),
            fg.jit(partial(ours.logsumexp, return_sign=True, **keywords)),
        ):
            for mine, theirs in zip(f(a, b=b), want):
                np.testing.assert_allclose(mine, theirs, rtol=1e-13)
        np.testing.assert_allclose(
            ours.logsumexp(a, b=b, **keywords), scipy_special.logsumexp(a, b=b, **keywords), rtol=1e-13
        )
    z = a[1:] + 1j * rng.standard_normal((2, 4))
    np.testing.assert_allclose(ours.logsumexp(z, axis=1), scipy_special.logsumexp(z, axis=1), rtol=1e-13)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_is_scipys(name, scipy_special):
    theirs, mine = getattr(scipy_special, name), getattr(ours, name)
    x = np.random.default_rng(0).standard_normal((3, 4)) * 4
    for array in (x, x * 300, x.astype(np.float32), x.astype(np.float16), x.astype(int), np.float64(3.0)):
        for axis in (None, 0, -1, (0, 1)) if np.ndim(array) else (None,):
            want = theirs(array, axis=axis)
            for got in (mine(array, axis), fg.jit(partial(mine, axis=axis))(array)):
                assert got.dtype == want.dtype
                np.testing.assert_allclose(got, want, rtol=5e-3 if want.dtype == np.float16 else 1e-6, atol=1e-30)


def test_derivatives_of_sums_of_exponentials():
    x = np.random.default_rng(0).standard_normal((3, 4))
    for f in (ours.logsumexp, ours.softmax, ours.log_softmax):
        for axis in (None, 1):
            check_grads(partial(f, axis=axis), (x,), order=2)
    check_grads(lambda a, b: ours.logsumexp(a, axis=0, b=b), (x, np.abs(x) + 0.1), order=2)
    check_grads(lambda a, b: ours.logsumexp(a, b=b, return_sign=True)[0], (x, x), order=2)
    check_vjp(ours.logsumexp, (x + 1j * x[::-1],))
    np.testing.assert_allclose(fg.grad(ours.logsumexp)(x), ours.softmax(x), rtol=1e-14)
    assert_close(fg.grad(ours.logsumexp)(np.array([1.0])), np.array([1.0]))
    assert_close(fg.grad(ours.logsumexp)(np.array([-math.inf, 0.0])), np.array([0.0, 1.0]))
    assert_close(fg.vmap(ours.softmax)(x), np.stack([ours.softmax(r) for r in x]))


# Plain SciPy, and errors ----------------------------------------------------------------------------------------------


def test_scipys_own_functions_take_traced_values(scipy_special):
    for case in CASES:
        args = [x[0] for x in case.point()]
        theirs = getattr(scipy_special, case.name)
        if case.name in ("erfcx", "psi", "erf") or isinstance(theirs, np.ufunc) or case.name == "zeta":
            np.testing.assert_allclose(fg.jit(theirs)(*args), theirs(*args), rtol=1e-12)
    assert fg.grad(scipy_special.zeta, argnums=1)(2.0, 3.0) == fg.grad(ours.zeta, argnums=1)(2.0, 3.0)


def test_errors():
    for f in (ours.erfc, ours.gamma, fg.jit(ours.digamma)):
        with pytest.raises(TypeError, match="complex"):
            f(np.ones(2, complex))
    with pytest.raises(TypeError, match="2 positional"):
        ours.beta(1.0)
    with pytest.raises(TypeError):
        ours.gammaln("x")
    with pytest.raises(ValueError, match="broadcast"):
        ours.xlogy(np.ones(2), np.ones(3))
    with pytest.raises(ValueError):
        ours.logsumexp(np.ones((2, 3)), axis=2)


def test_generated_source_stands_alone():
    def likelihood(x):
        return (
            ours.gammainc(2.5, x)
            + ours.betainc(2.0, 3.0, ours.ndtr(x))
            + ours.log_ndtr(x)
            + ours.i0e(x)
            + ours.zeta(2.0, x)
        )

    x = np.array([0.4, 1.5])
    scope = {}
    exec(fg.to_source(likelihood, x), scope)
    np.testing.assert_allclose(scope["likelihood"](x), likelihood(x), rtol=1e-14)
