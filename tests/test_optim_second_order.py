"""Line searches, L-BFGS, Newton's method and its relatives."""

import itertools

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import optim
from funcgrad.errors import OperandError

RNG = np.random.default_rng(5)


def rosenbrock(p):
    return (1 - p["x"]) ** 2 + 100 * (p["y"] - p["x"] ** 2) ** 2


START = {"x": np.float64(-1.0), "y": np.float64(1.0)}


def run(optimizer, f, p, steps, **more):
    @fg.jit
    def step(p, state):
        value, grad = fg.value_and_grad(f)(p)
        grad = fg.tree.map(fnp.conj, grad)  # the direction of steepest ascent
        updates, state = optimizer.update(grad, state, p, value=value, grad=grad, value_fn=f, **more)
        return optim.apply_updates(p, updates), state, value

    state, values = optimizer.init(p), []
    for _ in range(steps):
        p, state, value = step(p, state)
        values.append(float(value))
    return p, state, values


# Line searches --------------------------------------------------------------------------------------------------------


@pytest.mark.slow  # XLA compiles Optax's line searches for many seconds
@pytest.mark.parametrize(
    "make",
    [
        lambda o: o.lbfgs(),
        lambda o: o.lbfgs(0.5, memory_size=3, scale_init_precond=False),
        lambda o: o.lbfgs(1e-3, linesearch=None),
        lambda o: o.lbfgs(linesearch=o.scale_by_backtracking_linesearch(20)),
        lambda o: o.lbfgs(linesearch=o.scale_by_zoom_linesearch(6, max_learning_rate=0.7, approx_dec_rtol=None)),
        lambda o: o.chain(o.sgd(1.0), o.scale_by_zoom_linesearch(15, tol=1e-3, increase_factor=3.0)),
        lambda o: o.chain(o.sgd(1.0), o.scale_by_backtracking_linesearch(30, 1e-2, 0.5, 4.0, 2.0)),
    ],
)
def test_the_path_is_that_of_optax(make):
    optax = pytest.importorskip("optax", reason="Optax is the reference of the optimizers (extra bench)")
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        reference = make(optax)

        @jax.jit
        def step(p, state):
            value, grad = jax.value_and_grad(rosenbrock)(p)
            updates, state = reference.update(grad, state, p, value=value, grad=grad, value_fn=rosenbrock)
            return optax.apply_updates(p, updates), state

        p = {k: jax.numpy.asarray(v) for k, v in START.items()}
        state = reference.init(p)
        for _ in range(20):
            p, state = step(p, state)
        ours, _, _ = run(make(optim), rosenbrock, START, 20)
        np.testing.assert_allclose([ours["x"], ours["y"]], [float(p["x"]), float(p["y"])], rtol=1e-6)


@pytest.mark.parametrize("guess", ["one", "keep"])
def test_the_zoom_satisfies_the_strong_wolfe_conditions(guess):
    """On functions of one variable with a valley at very different distances, from a hopeless first guess."""
    search = optim.scale_by_zoom_linesearch(30, approx_dec_rtol=None, initial_guess_strategy=guess)
    for f in (
        lambda x: (x - 1e-3) ** 2,
        lambda x: (x - 50.0) ** 2,
        lambda x: fnp.cos(x) - 0.1 * x,
        lambda x: -x / (x**2 + 2),
        lambda x: (x - 3.0) ** 4,
    ):
        x = np.float64(0.0)
        value, grad = fg.value_and_grad(f)(x)
        step, state = fg.jit(lambda g, s, x, v, f=f: search.update(-g, s, x, value=v, grad=g, value_fn=f))(
            grad, search.init(x), x, value
        )
        assert f(x + step) <= value + 1e-4 * step * grad
        assert abs(fg.grad(f)(x + step)) <= 0.9 * abs(grad)
        np.testing.assert_allclose([state.value, state.grad], fg.value_and_grad(f)(x + step), rtol=1e-12)
        assert int(state.num_linesearch_steps) < 30


@pytest.mark.parametrize("search", [optim.scale_by_zoom_linesearch(25), optim.scale_by_backtracking_linesearch(40)])
def test_a_search_stays_where_the_function_is_finite(search):
    """The logarithm's domain ends at zero, a hundredth of the first step away; and there may be no point at all."""
    f = lambda x: x - 2 * fnp.log(x)
    x = np.float64(0.01)
    value, grad = fg.value_and_grad(f)(x)
    step, _ = search.update(-np.sign(grad) * np.float64(-1e3), search.init(x), x, value=value, grad=grad, value_fn=f)
    assert np.isfinite(f(x + step))
    nowhere = lambda x: fnp.where(x == 0.01, f(x), fnp.nan)
    step, state = search.update(-grad, search.init(x), x, value=value, grad=grad, value_fn=nowhere)
    assert step == 0.0
    assert float(state.value) == float(value)


def test_value_and_gradient_come_from_the_state():
    optimizer = optim.lbfgs()
    value_and_grad = optim.value_and_grad_from_state(rosenbrock)
    p, state = START, optimizer.init(START)
    plain, _, _ = run(optimizer, rosenbrock, START, 8)
    for _ in range(8):
        value, grad = fg.jit(value_and_grad)(p, state=state)
        updates, state = optimizer.update(grad, state, p, value=value, grad=grad, value_fn=rosenbrock)
        p = optim.apply_updates(p, updates)
    np.testing.assert_allclose([p["x"], p["y"]], [plain["x"], plain["y"]], rtol=1e-10)
    # Nothing is evaluated any more: another function makes no difference.
    value, _ = optim.value_and_grad_from_state(lambda p: 7.0 * p["x"])(p, state=state)
    np.testing.assert_allclose(value, rosenbrock(p), rtol=1e-12)


def test_messages_of_searches():
    with pytest.raises(ValueError, match="the state has no zoom line search"):
        optim.value_and_grad_from_state(rosenbrock)(START, state=optim.sgd(0.1).init(START))
    with pytest.raises(ValueError, match="is 'one' or 'keep', not 'two'"):
        optim.scale_by_zoom_linesearch(3, initial_guess_strategy="two")


def test_a_search_maps():
    def end(x):
        optimizer = optim.lbfgs(memory_size=3)
        state = optimizer.init(x)
        for _ in range(3):
            value, grad = fg.value_and_grad(f)(x)
            updates, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=f)
            x = optim.apply_updates(x, updates)
        return x

    f = lambda x: (fnp.cosh(x) * fnp.asarray([1.0, 5.0])).sum()
    starts = RNG.normal(size=(4, 2))
    np.testing.assert_allclose(fg.vmap(end)(starts), np.stack([end(x) for x in starts]), rtol=1e-9, atol=1e-12)


# L-BFGS ---------------------------------------------------------------------------------------------------------------


def test_lbfgs_finds_rosenbrocks_minimum_as_scipy_does():
    scipy = pytest.importorskip("scipy.optimize")
    f = lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
    start = np.array([-1.2, 1.0, -0.5, 0.8, 1.1])
    found, _, values = run(optim.lbfgs(), f, start, 60)
    expected = scipy.minimize(lambda x: float(f(x)), start, jac=fg.grad(f), method="BFGS", tol=1e-10).x
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert all(b <= a for a, b in itertools.pairwise(values))


def test_the_direction_of_lbfgs_is_the_matrix_times_the_gradient():
    """The recursion against the matrices it stands for, Nocedal and Wright, equation 7.16."""
    n, curvature = 4, np.diag([1.0, 3.0, 10.0, 30.0])
    rescale = optim.scale_by_lbfgs(memory_size=3)
    points = RNG.normal(size=(6, n))
    state = rescale.init(points[0])
    for x in points:
        direction, state = rescale.update(curvature @ x, state, x)
    steps = np.diff(points, axis=0)[-3:]
    changes = steps @ curvature
    h = np.eye(n) * (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for s, y in zip(steps, changes):
        v = np.eye(n) - np.outer(y, s) / (y @ s)
        h = v.T @ h @ v + np.outer(s, s) / (y @ s)
    np.testing.assert_allclose(direction, h @ curvature @ points[-1], rtol=1e-10)


def test_lbfgs_leaves_out_negative_curvature():
    """On -x^2 the pair would turn the direction uphill."""
    rescale = optim.scale_by_lbfgs()
    state = rescale.init(np.zeros(1))
    for x in (np.array([1.0]), np.array([1.5])):
        direction, state = rescale.update(-2 * x, state, x)
        assert direction[0] < 0  # as the gradient
    with pytest.raises(ValueError, match="a memory of at least one step, not 0"):
        optim.lbfgs(memory_size=0)


def test_lbfgs_with_complex_parameters():
    """The gradient is given as the direction of steepest ascent, and comes back from the state as ``grad`` gives it."""
    a = RNG.normal(size=(3, 3)) + 1j * RNG.normal(size=(3, 3))
    target = RNG.normal(size=3) + 1j * RNG.normal(size=3)
    f = lambda z: (fnp.abs(a @ (z - target)) ** 2).sum()
    found, state, _ = run(optim.lbfgs(), f, np.zeros(3, complex), 60)
    np.testing.assert_allclose(found, target, atol=1e-5)
    kept = optim.value_and_grad_from_state(f)(found, state=state)
    for ours, expected in zip(kept, fg.value_and_grad(f)(found)):
        np.testing.assert_allclose(ours, expected, atol=1e-12)


# Newton ---------------------------------------------------------------------------------------------------------------

SQUARE = RNG.normal(size=(5, 5))
MATRIX = SQUARE @ SQUARE.T + np.eye(5)


def quadratic(p):
    v = fnp.concatenate([p["a"].ravel(), p["b"][None]])
    return v @ MATRIX @ v / 2 + fnp.asarray([1.0, -2.0, 0.5, 3.0, 1.0]) @ v


QUADRATIC_START = {"a": RNG.normal(size=(2, 2)), "b": np.float64(0.3)}


@pytest.mark.parametrize("make", [optim.newton, lambda: optim.newton_cg(tol=1e-12)])
def test_one_step_finds_the_minimum_of_a_quadratic(make):
    found, _, _ = run(make(), quadratic, QUADRATIC_START, 1)
    expected = -np.linalg.solve(MATRIX, [1.0, -2.0, 0.5, 3.0, 1.0])
    np.testing.assert_allclose(np.append(found["a"], found["b"]), expected, rtol=1e-9)
    # With another learning rate than 1 it does not: a tenth of the way is left to go nine times over.
    partial, _, _ = run(optim.newton(0.1), quadratic, QUADRATIC_START, 1)
    np.testing.assert_allclose(partial["b"], 0.9 * 0.3 + 0.1 * expected[-1], rtol=1e-9)


def test_damping_is_added_to_the_hessian():
    g = fg.grad(quadratic)(QUADRATIC_START)
    flat = np.append(g["a"], g["b"])
    for make in (lambda: optim.newton(damping=1.0), lambda: optim.newton_cg(damping=1.0, tol=1e-12)):
        optimizer = make()
        state = optim.with_hyperparameters(optimizer.init(QUADRATIC_START), damping=2.0)
        updates, _ = optimizer.update(g, state, QUADRATIC_START, value_fn=quadratic)
        expected = -np.linalg.solve(MATRIX + 2 * np.eye(5), flat)
        np.testing.assert_allclose(np.append(updates["a"], updates["b"]), expected, rtol=1e-9)


def test_newton_with_a_line_search_on_a_function_that_newton_diverges_on():
    f = lambda x: fnp.sqrt(1 + x * x).sum()
    start = np.array([2.0, -3.0])
    diverged, _, _ = run(optim.newton(), f, start, 2)
    assert np.abs(diverged).max() > 100
    for make in (optim.newton, optim.newton_cg):
        search = optim.scale_by_zoom_linesearch(20, initial_guess_strategy="one")
        found, _, _ = run(make(linesearch=search), f, start, 12)
        np.testing.assert_allclose(found, 0.0, atol=1e-6)


def test_newton_cg_descends_where_newton_climbs():
    f = lambda x: fnp.cos(x).sum()
    x = np.array([0.3, -0.2])  # near a maximum
    g = fg.grad(f)(x)
    up, _ = optim.newton().update(g, optim.newton().init(x), x, value_fn=f)
    down, _ = optim.newton_cg().update(g, optim.newton_cg().init(x), x, value_fn=f)
    assert g @ up > 0 > g @ down
    found, _, _ = run(optim.newton_cg(linesearch=optim.scale_by_zoom_linesearch(20)), f, x, 25)
    np.testing.assert_allclose(np.abs(found), np.pi, atol=1e-6)


@pytest.mark.parametrize("shape", [(20, 3), (3, 3)])
def test_gauss_newton_solves_linear_least_squares(shape):
    a, y = RNG.normal(size=shape), RNG.normal(size=shape[0])
    residual = lambda p: {"r": a @ fnp.stack([p["x"], p["y"], p["z"]]) - y}
    f = lambda p: (residual(p)["r"] ** 2).sum() / 2
    found, _, _ = run(optim.gauss_newton(), f, dict.fromkeys("xyz", np.float64(0.0)), 1, residual_fn=residual)
    np.testing.assert_allclose([found[k] for k in "xyz"], np.linalg.lstsq(a, y, rcond=None)[0], rtol=1e-6)


def test_gauss_newton_fits_a_curve_as_scipy_does():
    scipy = pytest.importorskip("scipy.optimize")
    x = np.linspace(0, 4, 30)
    y = 2.5 * np.exp(-1.3 * x) + 0.5 + 0.01 * RNG.normal(size=30)
    model = lambda x, a, b, c: a * fnp.exp(-b * x) + c
    residual = lambda p: model(x, p[0], p[1], p[2]) - y
    f = lambda p: (residual(p) ** 2).sum() / 2
    optimizer = optim.gauss_newton(damping=1e-4, linesearch=optim.scale_by_zoom_linesearch(20))
    found, _, _ = run(optimizer, f, np.array([1.0, 1.0, 0.0]), 25, residual_fn=residual)
    np.testing.assert_allclose(found, scipy.curve_fit(model, x, y, p0=[1.0, 1.0, 0.0])[0], rtol=1e-4)


def test_levenbergs_damping_goes_from_newtons_step_to_the_gradients():
    residual = lambda p: MATRIX @ p
    p = np.ones(5)
    g = MATRIX.T @ MATRIX @ p
    for damping in (0.0, 1.0, 1e8):
        optimizer = optim.gauss_newton(damping=damping)
        updates, _ = optimizer.update(g, optimizer.init(p), p, residual_fn=residual)
        expected = -np.linalg.solve(MATRIX.T @ MATRIX + damping * np.eye(5), g)
        np.testing.assert_allclose(updates, expected, rtol=1e-6)


def test_other_shapes_than_the_parameters_are_named():
    p = {"a": np.ones((2, 2)), "b": np.ones(())}
    wrong = {"a": np.ones((2, 2)), "b": np.ones(2)}
    for optimizer in (optim.newton(), optim.lbfgs(linesearch=None)):
        with pytest.raises(
            OperandError, match=r"have the shape \(2,\) at \['b'\], where the tree of parameters has \(\)"
        ):
            optimizer.update(wrong, optimizer.init(p), p, value_fn=quadratic)


# The course notes' forms ----------------------------------------------------------------------------------------------


def path(optimizer, steps=12, extra=None):
    p = np.array([1.0, -2.0])
    state, points = optimizer.init(p), []
    for _ in range(steps):
        g = slope(p)
        updates, state = optimizer.update(g, state, p, **({"grad_fn": slope} if extra else {}))
        p = p + updates
        points.append(p)
    return np.stack(points), state


def slope(p):
    return np.array([1.0, 7.0]) * np.sin(p)


def by_hand(step, steps=12):
    p, u, points = np.array([1.0, -2.0]), np.zeros(2), []
    for t in range(1, steps + 1):
        p, u = step(p, u, t)
        points.append(p)
    return np.stack(points)


def test_the_momentum_of_the_notes_is_an_average():
    """Notes 6.6, erratum 11: u <- b u + (1 - b) g, which is heavy-ball momentum with the learning rate times 1 - b."""

    def step(p, u, t):
        u = 0.9 * u + 0.1 * slope(p)
        return p - 0.2 * u, u

    notes, _ = path(optim.ema_momentum(0.2, 0.9))
    np.testing.assert_allclose(notes, by_hand(step), rtol=1e-12)
    np.testing.assert_allclose(notes, path(optim.sgd(0.2 * 0.1, momentum=0.9))[0], rtol=1e-12)


def test_the_unbiased_momentum_of_the_notes():
    """Notes 6.7: the average divided by 1 - b^t, so that the first step is that of gradient descent."""

    def step(p, u, t):
        u = 0.9 * u + 0.1 * slope(p)
        return p - 0.2 * u / (1 - 0.9**t), u

    notes, _ = path(optim.ema_momentum(0.2, 0.9, debias=True))
    np.testing.assert_allclose(notes, by_hand(step), rtol=1e-12)
    np.testing.assert_allclose(notes[0], path(optim.sgd(0.2))[0][0], rtol=1e-12)


@pytest.mark.parametrize("exact", [True, False])
def test_nesterovs_momentum_at_the_point_ahead(exact):
    """Notes 6.8, erratum 11: the point ahead is p - a b u; the notes' p - a u lies beyond it."""

    def step(p, u, t):
        u = 0.9 * u + 0.1 * slope(p - 0.2 * (0.9 if exact else 1.0) * u)
        return p - 0.2 * u, u

    notes, _ = path(optim.lookahead_nesterov(0.2, 0.9, exact), extra=True)
    np.testing.assert_allclose(notes, by_hand(step), rtol=1e-12)


def test_the_points_ahead_are_the_path_of_the_form_without_look_ahead():
    a, b = 0.2, 0.9
    points, averages, p = [], [], np.array([1.0, -2.0])
    optimizer = optim.lookahead_nesterov(a, b)
    state = optimizer.init(p)
    for _ in range(12):
        updates, state = optimizer.update(p, state, p, grad_fn=slope)
        p = p + updates
        points.append(p)
        averages.append(state.ema)
    ahead = np.stack(points) - a * b * np.stack(averages)
    np.testing.assert_allclose(ahead, path(optim.sgd(a * (1 - b), momentum=b, nesterov=True))[0], rtol=1e-12)


def test_adam_of_the_notes_has_no_bias_correction():
    """Notes 6.9, erratum 12: u / (sqrt(v) + eps) with the moments as they are."""
    v = np.zeros(2)

    def step(p, u, t):
        nonlocal v
        g = slope(p)
        u, v = 0.9 * u + 0.1 * g, 0.999 * v + 0.001 * g**2
        return p - 0.01 * u / (np.sqrt(v) + 1e-8), u

    notes, _ = path(optim.adam(0.01, bias_correction=False))
    np.testing.assert_allclose(notes, by_hand(step), rtol=1e-12)
    standard, _ = path(optim.adam(0.01))
    first = (notes[0] - [1.0, -2.0]) / (standard[0] - [1.0, -2.0])
    np.testing.assert_allclose(first, 0.1 / np.sqrt(0.001), rtol=1e-6)
