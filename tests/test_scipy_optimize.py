"""SciPy's solvers with exact derivatives: used plainly, and as fg.scipy.optimize on pytrees. Results are plain arrays."""

import importlib.util
import sys
from typing import NamedTuple

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.errors import ConcretizationError, OperandError, OperandTypeError, TransformError, TreeError
from funcgrad.scipy import optimize

if importlib.util.find_spec("scipy"):
    import scipy.optimize as so
else:
    so = None
needs_scipy = pytest.mark.skipif(so is None, reason="SciPy is not installed")

START = np.array([-1.2, 1.0, 0.8])
GRADIENT = ["CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP"]
PRODUCTS = ["Newton-CG", "trust-ncg", "trust-krylov"]
WHOLE = ["dogleg", "trust-exact"]
NONE = ["Nelder-Mead", "Powell", "COBYLA", "COBYQA"]
BOUNDED = ["L-BFGS-B", "TNC", "SLSQP", "trust-constr", *NONE]


def rosen(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def circle_and_line(x):
    return np.stack([x[0] ** 2 + x[1] ** 2 - 4.0, x[0] - x[1]])


class Line(NamedTuple):
    slope: object
    intercept: object


T = np.linspace(0.0, 1.0, 20)
DATA = {"x": T, "y": 3.0 * T - 0.5}


def line_loss(params, data):
    return np.mean((params["line"].slope * data["x"] + params["line"].intercept - data["y"]) ** 2)


def line_start():
    return {"line": Line(np.zeros(()), np.zeros(1))}


# Plain use of SciPy ---------------------------------------------------------------------------------------------------


@needs_scipy
@pytest.mark.parametrize("transform", [lambda f: f, fg.jit], ids=["eager", "jit"])
def test_scipy_minimize_takes_value_and_grad(transform):
    found = so.minimize(fg.value_and_grad(transform(rosen)), START, jac=True, method="BFGS")
    assert found.success
    np.testing.assert_allclose(found.x, 1.0, atol=1e-5)
    np.testing.assert_allclose(fg.grad(rosen)(START), so.rosen_der(START), rtol=1e-12)


@needs_scipy
@pytest.mark.parametrize("method", ["Newton-CG", "trust-exact"])
def test_scipy_minimize_takes_a_hessian(method):
    found = so.minimize(rosen, START, jac=fg.grad(rosen), hess=fg.hessian(rosen), method=method)
    assert found.success
    np.testing.assert_allclose(found.x, 1.0, atol=1e-4)
    np.testing.assert_allclose(fg.hessian(rosen)(START), so.rosen_hess(START), rtol=1e-12)


@needs_scipy
@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov"])
def test_scipy_minimize_takes_hessian_vector_products(method):
    def product(x, p):
        return fg.hvp(rosen, (x,), (p,))

    found = so.minimize(rosen, START, jac=fg.grad(rosen), hessp=product, method=method)
    assert found.success
    np.testing.assert_allclose(found.x, 1.0, atol=1e-3)


@needs_scipy
@pytest.mark.parametrize("jacobian", [fg.jacobian, fg.jacfwd])
def test_scipy_least_squares_and_root_take_a_jacobian(jacobian):
    def residuals(p, t, y):
        return p[0] * np.exp(-p[1] * t) - y

    y = 2.0 * np.exp(-1.5 * T)
    found = so.least_squares(residuals, np.array([1.0, 1.0]), jac=jacobian(residuals), args=(T, y))
    np.testing.assert_allclose(found.x, [2.0, 1.5], atol=1e-6)
    found = so.root(circle_and_line, np.array([1.0, 2.0]), jac=jacobian(circle_and_line))
    assert found.success
    np.testing.assert_allclose(found.x, np.sqrt(2.0), rtol=1e-8)


@needs_scipy
def test_scipy_calls_of_other_kinds():
    solve = so.newton(lambda x: x**3 - 2, 1.0, fprime=fg.grad(lambda x: x**3 - 2))
    assert abs(solve - 2 ** (1 / 3)) < 1e-10
    model = lambda t, a, b: a * np.exp(-b * t)
    columns = lambda t, a, b: np.stack(fg.jacfwd(model, (1, 2))(t, a, b), axis=1)
    best, _ = so.curve_fit(model, T, model(T, 2.0, 0.7), p0=(1.0, 1.0), jac=columns)
    np.testing.assert_allclose(best, [2.0, 0.7], rtol=1e-6)
    assert so.check_grad(rosen, fg.grad(rosen), START) < 1e-4


# On pytrees -----------------------------------------------------------------------------------------------------------


@needs_scipy
@pytest.mark.filterwarnings("ignore:delta_grad == 0.0")
@pytest.mark.parametrize("method", [None, *GRADIENT, *PRODUCTS, *WHOLE, *NONE, "trust-constr"])
def test_minimize_with_every_method(method):
    found = optimize.minimize(line_loss, line_start(), args=(DATA,), method=method)
    assert found.success and isinstance(found.message, str)
    line = found.x["line"]
    assert isinstance(line, Line)
    assert np.shape(line.slope) == () and line.intercept.shape == (1,)
    np.testing.assert_allclose(line.slope, 3.0, atol=1e-3)
    np.testing.assert_allclose(line.intercept, [-0.5], atol=1e-3)
    assert type(found.fun) is float and abs(found.fun) < 1e-6
    if method in NONE:
        assert found.jac is None
    else:
        assert fg.tree.structure(found.jac) == fg.tree.structure(found.x)
        want = fg.grad(line_loss)(found.x, DATA)
        fg.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), found.jac, want)


@needs_scipy
@pytest.mark.parametrize("method", [*PRODUCTS, *WHOLE])
def test_second_order_methods_converge_at_once_on_a_quadratic(method):
    found = optimize.minimize(line_loss, line_start(), args=(DATA,), method=method)
    assert found.nit <= 10


@needs_scipy
@pytest.mark.filterwarnings("ignore:delta_grad == 0.0")
@pytest.mark.parametrize("method", [None, *BOUNDED])
def test_minimize_within_bounds(method):
    bounds = ({"line": Line(None, np.array([-0.2]))}, {"line": Line(2.0, None)})
    start = {"line": Line(np.array(1.0), np.zeros(1))}
    found = optimize.minimize(line_loss, start, args=(DATA,), method=method, bounds=bounds)
    line = found.x["line"]
    # With the slope at its bound, the best intercept is mean(y - 2 t) = mean(t) - 0.5 = 0.
    np.testing.assert_allclose(line.slope, 2.0, atol=2e-3)
    np.testing.assert_allclose(line.intercept, [0.0], atol=2e-3)


@needs_scipy
def test_bounds_may_be_numbers_and_prefixes():
    for bounds in [(None, 1.0), (None, {"line": 1.0}), ({"line": Line(0, 0)}, {"line": Line(1, np.ones(1))})]:
        found = optimize.minimize(line_loss, line_start(), args=(DATA,), bounds=bounds)
        assert max(np.max(x) for x in fg.tree.leaves(found.x)) <= 1.0


@needs_scipy
def test_minimize_agrees_with_scipy_step_by_step():
    ours = optimize.minimize(rosen, START, method="BFGS")
    scipys = so.minimize(so.rosen, START, jac=so.rosen_der, method="BFGS")
    assert (ours.nit, ours.nfev) == (scipys.nit, scipys.nfev)
    np.testing.assert_allclose(ours.x, scipys.x, rtol=1e-8)
    assert ours.raw.x.dtype == np.float64


@needs_scipy
@pytest.mark.parametrize("method", [None, "BFGS", "CG", "L-BFGS-B", "SLSQP", "trust-ncg", "trust-exact"])
def test_minimize_in_float32(method):
    seen = set()

    def loss(params):
        seen.update(x.dtype for x in fg.tree.leaves(params))
        return rosen(params["x"]) + params["b"] ** 2

    start = {"x": START.astype(np.float32), "b": np.float32(2.0)}
    found = optimize.minimize(loss, start, method=method)
    assert found.success
    assert seen == {np.dtype(np.float32)}
    assert found.x["x"].dtype == np.float32 and found.x["b"].dtype == np.float32
    assert found.jac["x"].dtype == np.float32
    np.testing.assert_allclose(found.x["x"], 1.0, atol=2e-3)


@needs_scipy
def test_python_scalars_stay_python_scalars():
    found = optimize.minimize(lambda p: (p["a"] - 2.0) ** 2, {"a": 0.0})
    assert type(found.x["a"]) is float
    assert abs(found.x["a"] - 2.0) < 1e-6
    assert type(optimize.root(lambda x: x**3 - 8.0, 1.0).x) is float


@needs_scipy
def test_minimize_runs_python_control_flow_and_jitted_functions():
    def loss(x, scale):
        return scale * x @ x if x[0] > -5 else np.sum(x)

    for f in (loss, fg.jit(lambda x, scale: scale * x @ x)):
        found = optimize.minimize(f, np.ones(3), args=2.0, method="Newton-CG")
        np.testing.assert_allclose(found.x, 0.0, atol=1e-6)


@needs_scipy
def test_least_squares_on_a_pytree():
    def residuals(params, t, y):
        return {"fit": params["a"] * np.exp(-params["b"][0] * t) - y, "prior": 0.0 * params["a"]}

    y = 2.0 * np.exp(-1.5 * T)
    start = {"a": np.array(1.0), "b": np.array([1.0])}
    for method in ("trf", "dogbox", "lm"):
        found = optimize.least_squares(residuals, start, args=(T, y), method=method)
        assert found.success
        np.testing.assert_allclose(found.x["a"], 2.0, atol=1e-6)
        np.testing.assert_allclose(found.x["b"], [1.5], atol=1e-6)
        assert found.fun["fit"].shape == T.shape and np.shape(found.fun["prior"]) == ()
        assert found.jac.shape == (21, 2) and found.cost < 1e-12
        assert found.grad["b"].shape == (1,)
    found = optimize.least_squares(residuals, start, args=(T, y), bounds=(0.0, {"a": 1.2, "b": None}))
    np.testing.assert_allclose(found.x["a"], 1.2, atol=1e-6)
    assert found.active_mask["a"] == 1 and found.active_mask["b"].tolist() == [0]
    robust = optimize.least_squares(
        residuals, start, args=(T, y + 5.0 * np.eye(20)[3]), loss="soft_l1", options={"f_scale": 0.01, "max_nfev": 500}
    )
    np.testing.assert_allclose(robust.x["a"], 2.0, atol=0.05)


@needs_scipy
def test_least_squares_with_fewer_residuals_than_parameters_and_in_float32():
    weights = np.arange(1, 5, dtype=np.float32)
    found = optimize.least_squares(lambda x: x @ weights - 1.0, np.full(4, 2.0, np.float32))
    assert found.success and found.x.dtype == np.float32 and found.jac.shape == (1, 4)
    assert abs(found.x @ weights - 1.0) < 5e-3


@needs_scipy
@pytest.mark.parametrize("method", [None, "hybr", "lm", "broyden1", "krylov", "df-sane"])
def test_root_on_a_pytree(method):
    def equations(p):
        return {"circle": p["x"] ** 2 + p["y"][0] ** 2 - 4.0, "line": p["x"] - p["y"]}

    start = {"x": np.array(1.2), "y": np.array([1.6])}
    found = optimize.root(equations, start, method=method)
    assert found.success
    np.testing.assert_allclose(found.x["x"], np.sqrt(2.0), atol=1e-4)
    assert found.fun["line"].shape == (1,) and abs(found.fun["circle"]) < 1e-3


@needs_scipy
def test_root_in_float32():
    found = optimize.root(circle_and_line, np.array([1.0, 2.0], np.float32))
    assert found.success and found.x.dtype == np.float32
    np.testing.assert_allclose(found.x, np.sqrt(2.0), rtol=1e-4)


@needs_scipy
def test_the_starting_point_is_not_changed_and_results_are_own_arrays():
    start = START.copy()
    found = optimize.minimize(rosen, start, options={"maxiter": 0})
    np.testing.assert_array_equal(start, START)
    assert not np.shares_memory(found.x, start) and found.x.flags.writeable and found.x.base is None
    assert not found.success and "iterations" in found.message.lower()


# Bad input ------------------------------------------------------------------------------------------------------------

BAD = [
    (lambda: optimize.minimize(lambda x: x**2, START), TransformError, ["real scalar", "f64[3]", "least_squares"]),
    (lambda: optimize.minimize(lambda x: {"a": x[0]}, START), TransformError, ["real scalar", "{'a': *}"]),
    (lambda: optimize.minimize(lambda x: np.sum(x + 1j), START), TransformError, ["real scalar", "c128[]"]),
    (lambda: optimize.minimize(lambda x: np.sum(x), {"n": np.arange(3)}), TransformError, ["x0['n']", "astype(float)"]),
    (lambda: optimize.minimize(rosen, START + 1j), OperandError, ["x0", "complex", "imaginary"]),
    (lambda: optimize.minimize(rosen, {"a": "text"}), OperandTypeError, ["x0['a']", "'text'"]),
    (lambda: optimize.minimize(rosen, {}), OperandError, ["no leaves"]),
    (lambda: optimize.minimize(rosen, START, method="newton"), OperandError, ["'newton'", "newton-cg"]),
    (lambda: optimize.minimize(rosen, START, method="BFGS", bounds=(0, 1)), OperandError, ["bfgs", "l-bfgs-b"]),
    (lambda: optimize.minimize(rosen, START, bounds=3.0), TreeError, ["(lower, upper)", "3.0"]),
    (lambda: optimize.minimize(rosen, START, bounds=[(0, 1)] * 3), TreeError, ["(lower, upper)"]),
    (lambda: optimize.minimize(rosen, START, bounds=[(0, 1)] * 2), TreeError, ["lower bounds", "structure of x0"]),
    (
        lambda: optimize.minimize(line_loss, line_start(), DATA, bounds=({"lines": 0}, None)),
        TreeError,
        ["lower bounds", "structure of x0", "line"],
    ),
    (
        lambda: optimize.minimize(rosen, START, bounds=(None, np.ones(2))),
        OperandError,
        ["upper bounds", "(2,)", "(3,)"],
    ),
    (lambda: optimize.minimize(rosen, START, bounds=(None, "high")), OperandError, ["upper bounds", "'high'"]),
    (lambda: optimize.minimize(rosen, START, bounds=(2.0, 1.0)), OperandError, ["2.0 and 1.0 cross", "x0[0]"]),
    (lambda: optimize.minimize(rosen, START, bounds=(-1.0, 5.0)), OperandError, ["starting point", "x0[0] is -1.2"]),
    (lambda: optimize.least_squares(rosen, START, method="lm", bounds=(None, 5.0)), OperandError, ["'lm'", "trf"]),
    (lambda: optimize.least_squares(lambda x: x * 1j, START), TransformError, ["real results", "c128[3]"]),
    (lambda: optimize.least_squares(lambda x: None, START), TransformError, ["returned nothing"]),
    (lambda: optimize.root(rosen, START), OperandError, ["as many equations", "rosen returned 1 numbers for 3"]),
    (lambda: optimize.root(rosen, START, method="newton"), OperandError, ["'newton'", "hybr"]),
    (
        lambda: fg.jit(lambda x: optimize.minimize(rosen, x).x)(START),
        ConcretizationError,
        ["SciPy's solver", "outside of jit"],
    ),
    (
        lambda: fg.grad(lambda s: optimize.minimize(lambda x: s * rosen(x), START).fun)(2.0),
        ConcretizationError,
        ["SciPy's solver", "outside of jit"],
    ),
    (
        lambda: fg.grad(lambda s: optimize.root(lambda x: s * x - 1, START).fun.sum())(2.0),
        ConcretizationError,
        ["SciPy's solver", "outside of jit"],
    ),
]


@needs_scipy
@pytest.mark.parametrize("call, error, words", BAD)
def test_bad_input_says_what_is_wrong(call, error, words):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize("solve", [optimize.minimize, optimize.least_squares, optimize.root])
def test_without_scipy_it_says_how_to_get_it(solve, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match="pip install scipy"):
        solve(lambda x: x, 1.0)


# Results are plain arrays, so that others take them as they are --------------------------------------------------------

RESULTS = {
    "grad": lambda: fg.grad(rosen)(START),
    "grad of jit": lambda: fg.grad(fg.jit(rosen))(START),
    "jit": lambda: fg.jit(lambda x: fnp.sin(x))(START),
    "vmap": lambda: fg.vmap(rosen)(np.stack([START, START])),
    "hessian": lambda: fg.hessian(rosen)(START),
    "jvp": lambda: fg.jvp(lambda x: x[::-1], (START,), (START,))[1],
    "broadcast": lambda: fg.jit(lambda x: fnp.broadcast_to(x, (2, 3)))(START),
    "eager": lambda: fnp.sin(START),
    "integers": lambda: fg.jit(lambda x: fnp.argsort(x))(START),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_plain_arrays_and_go_through_dlpack(name):
    result = RESULTS[name]()
    assert type(result) is np.ndarray and result.flags.writeable
    back = np.from_dlpack(result)
    assert back.dtype == result.dtype
    np.testing.assert_array_equal(back, result)
    # And in again: what came through DLPack is an array like another.
    np.testing.assert_array_equal(fg.jit(lambda x: x + 1)(back), result + 1)
    assert memoryview(result).shape == result.shape


def test_scalar_results_are_numpy_scalars():
    assert isinstance(fg.value_and_grad(rosen)(START)[0], np.float64)
    assert isinstance(fg.jit(rosen)(START.astype(np.float32)), np.float32)
