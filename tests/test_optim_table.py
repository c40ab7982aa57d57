"""Every optimizer of the table: against Optax, under all transforms, to the minimum, and where gradients vanish."""

import numpy as np
import pytest
from optimizers import ROWS, extras, grad_fn, trees, value_fn

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax, optim
from funcgrad.errors import OperandError, OperandTypeError, TransformError, TreeError

STEPS = 25
every = pytest.mark.parametrize("name", ROWS)


def stepper(name, lr=0.05):
    """The optimizer, and the function of one step."""
    row = ROWS[name]
    optimizer = row.make(optim, lr)

    def step(params, state, grads=None):
        grads = grad_fn(params) if grads is None else grads
        updates, state = optimizer.update(grads, state, params, **extras(row, params, grads))
        return optim.apply_updates(params, updates), state

    return optimizer, step


def check_equal_trees(ours, theirs, rtol):
    assert fg.tree.structure(ours) == fg.tree.structure(theirs)
    for a, b in zip(fg.tree.leaves(ours), fg.tree.leaves(theirs)):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


SLOW = pytest.mark.slow  # XLA compiles Optax's line search for many seconds


@pytest.mark.parametrize("name", [pytest.param(n, marks=SLOW if n == "lbfgs" else ()) for n in ROWS if ROWS[n].optax])
def test_the_path_is_that_of_optax(name):
    optax = pytest.importorskip("optax", reason="Optax is the reference of the optimizers (extra bench)")
    jax = pytest.importorskip("jax")
    row = ROWS[name]

    def smooth(p):
        terms = [0.5 * x + 0.3 * jax.numpy.sin(x) - 0.2 for x in jax.tree.leaves(p)]
        return sum((r * r).sum() for r in terms) / 2

    params = trees()
    ours, step = stepper(name)
    step = fg.jit(step)
    with jax.enable_x64(True):
        reference = row.make(optax, 0.05)

        @jax.jit
        def reference_step(p, state):
            value, grads = jax.value_and_grad(smooth)(p)
            more = {"value": value, "grad": grads, "value_fn": smooth} if row.extra else {}
            updates, state = reference.update(grads, state, p, **more)
            return optax.apply_updates(p, updates), state

        mine, theirs = params, jax.tree.map(jax.numpy.asarray, params)
        state, reference_state = ours.init(mine), reference.init(theirs)
        for _ in range(STEPS):
            mine, state = step(mine, state)
            theirs, reference_state = reference_step(theirs, reference_state)
            check_equal_trees(mine, fg.tree.map(np.asarray, theirs), rtol=1e-6)


# To the minimum -------------------------------------------------------------------------------------------------------


def parabola_residuals(p):
    return {"a": 1.5 * (p["a"] - fnp.asarray([[1.0], [-0.5]], dtype=p["a"].dtype)), "b": p["b"] - 0.5}


def rosenbrock_residuals(p):
    """Half the sum of squares is Rosenbrock's function with the factor 10: a curved valley."""
    x, y = p["a"][0, 0], p["b"]
    return {"a": 20**0.5 * (y - x * x), "b": 2**0.5 * (1 - x) + 0 * p["a"][1, 0]}


PROBLEMS = {
    "parabola": (parabola_residuals, {"a": np.array([[0.2], [-0.3]]), "b": np.array(0.2)}),
    "rosenbrock": (rosenbrock_residuals, {"a": np.array([[0.3], [1.0]]), "b": np.array(0.3)}),
}
#: Optimizers that take as long as they need, and those that converge quadratically.
LONG, SHORT = 1500, 40


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("problem", PROBLEMS)
@every
def test_it_converges_and_keeps_the_dtype(name, problem, dtype):
    row = ROWS[name]
    residual_fn, params = PROBLEMS[problem]
    params = fg.tree.map(lambda x: np.asarray(x, dtype), params)
    steps = SHORT if row.extra in ("value_fn", "residual_fn") else LONG
    rate = getattr(row, problem)
    # Newton's matrix is singular where the function does not depend on a parameter.
    damped = {"newton": optim.newton(damping=1e-6), "gauss_newton": optim.gauss_newton(damping=1e-6)}
    schedule = optim.cosine_decay_schedule(rate, steps, alpha=1e-3)
    scheduled = steps == LONG and "nesterov" not in name.removesuffix("_nesterov").replace("lookahead", "nesterov")
    optimizer = damped.get(name) or row.make(optim, schedule if scheduled and row.extra is None else rate)

    def value_fn(p):
        return sum((r * r).sum() for r in fg.tree.leaves(residual_fn(p))) / 2

    grad_fn = fg.grad(value_fn)

    @fg.jit
    def run(params):
        def step(carry, _):
            params, state = carry
            grads = grad_fn(params)
            more = extras(row, params, grads, value_fn, grad_fn, residual_fn)
            updates, state = optimizer.update(grads, state, params, **more)
            return (optim.apply_updates(params, updates), state), None

        return lax.scan(step, (params, optimizer.init(params)), None, length=steps)[0]

    found, state = run(params)
    assert all(x.dtype == dtype for x in fg.tree.leaves(found))
    # Hyper-parameters and counts are float64 and int64 scalars; all else has the precision of the parameters.
    assert {np.asarray(x).dtype for x in fg.tree.leaves(state) if np.ndim(x)} <= {np.dtype(dtype)}
    assert float(value_fn(found)) < 1e-3
    minimum = {"a": [[1.0], [-0.5]], "b": 0.5} if problem == "parabola" else {"a": [[1.0]], "b": 1.0}
    np.testing.assert_allclose(found["a"][: len(minimum["a"])], minimum["a"], atol=0.05)
    np.testing.assert_allclose(found["b"], minimum["b"], atol=0.05)


# Under the transforms -------------------------------------------------------------------------------------------------


@every
def test_jit_is_eager(name):
    params = trees()["dict"]
    optimizer, step = stepper(name)
    state = jitted_state = optimizer.init(params)
    jitted = params
    for _ in range(3):
        params, state = step(params, state)
        jitted, jitted_state = fg.jit(step)(jitted, jitted_state)
    check_equal_trees((params, state), (jitted, jitted_state), rtol=1e-12)


@every
def test_vmap_over_learning_rates(name):
    params = {"w": np.array([[1.0, -2.0], [0.5, 0.3]]), "s": np.array(0.7)}

    def final(lr):
        optimizer, step = stepper(name, lr)
        p, state = params, optimizer.init(params)
        for _ in range(3):
            p, state = step(p, state)
        return p

    rates = np.array([0.01, 0.05])
    expected = [final(lr) for lr in rates]
    check_equal_trees(fg.vmap(final)(rates), fg.tree.map(lambda *xs: np.stack(xs), *expected), rtol=1e-9)


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].extra != "value_fn" or name == "newton"])
def test_grad_through_the_updates(name):
    params = {"w": np.array([1.0, -2.0]), "s": np.array(0.7)}

    def final_loss(lr):
        optimizer, step = stepper(name, lr)
        p, state = params, optimizer.init(params)
        for _ in range(3):
            p, state = step(p, state)
        return value_fn(p)

    h = 1e-5
    expected = (final_loss(0.05 + h) - final_loss(0.05 - h)) / (2 * h)
    if name == "gauss_newton":  # its loop has no reverse mode
        np.testing.assert_allclose(fg.jvp(final_loss, (0.05,), (1.0,))[1], expected, rtol=1e-5)
    else:
        np.testing.assert_allclose(fg.grad(final_loss)(0.05), expected, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].smooth and ROWS[name].extra is None])
def test_the_derivative_at_zero_gradients(name):
    """The second moment is zero there, and so is the first: the chain rule alone says infinity times zero."""
    params = {"w": np.array([1.0, -2.0])}
    optimizer = ROWS[name].make(optim, 0.05)

    def update(g):
        return optimizer.update({"w": g}, optimizer.init(params), params)[0]["w"]

    jacobian = fg.jacrev(update)(np.zeros(2))
    np.testing.assert_allclose(fg.jacfwd(update)(np.zeros(2)), jacobian, rtol=1e-12)
    assert np.isfinite(jacobian).all()
    if name != "lamb":  # whose steps have the parameter's length, however small the gradient: no derivative there
        h = 1e-16  # where the gradient is small beside eps, so that the update is linear
        columns = [(update(h * e) - update(-h * e)) / (2 * h) for e in np.eye(2)]
        np.testing.assert_allclose(jacobian, np.stack(columns, axis=1), rtol=1e-4, atol=1e-12)


# Unusual leaves -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every
def test_zero_gradients_move_nothing(name, dtype):
    row = ROWS[name]
    params = trees(dtype)["dict"]
    grads = fg.tree.map(np.zeros_like, params)
    optimizer = row.make(optim, 0.05)
    flat = {"value_fn": lambda p: 0.0 * value_fn(p) + sum((0.0 * x * x).sum() for x in fg.tree.leaves(p))}
    if row.extra == "grad_fn":
        more = {"grad_fn": lambda p: grads}
    elif row.extra == "residual_fn":
        more = {"residual_fn": lambda p: fg.tree.map(lambda x: x - params_copy(x, params), p)}
    elif row.extra:
        quadratic = {"value_fn": lambda p: sum((x * x).sum() for x in fg.tree.leaves(p))}
        more = {"value": dtype(0.0), "grad": grads, **(quadratic if name.startswith("newton") else flat)}
    else:
        more = {}
    state = optimizer.init(params)
    for _ in range(2):
        updates, state = optimizer.update(grads, state, params, **more)
        for u, p in zip(fg.tree.leaves(updates), fg.tree.leaves(params)):
            assert u.dtype == dtype
            if name not in ("lamb", "lars"):  # whose steps have the parameters' length, be they weight decay only
                assert np.abs(u).max() <= 1e-4 * np.abs(p).max()
    assert all(np.isfinite(x).all() or np.isinf(x).all() for x in fg.tree.leaves(state))


def params_copy(x, params):
    return next(p for p in fg.tree.leaves(params) if np.shape(p) == fnp.shape(x))


@pytest.mark.parametrize("empty", [{}, {"frozen": None}, []])
@every
def test_a_tree_without_leaves(name, empty):
    row = ROWS[name]
    optimizer = row.make(optim, 0.05)
    more = {"value": np.float64(0.0), "grad": empty, "value_fn": lambda p: np.float64(0.0)} if row.extra else {}
    more |= {"grad_fn": lambda p: p, "residual_fn": lambda p: p} if row.extra else {}
    updates, state = optimizer.update(empty, optimizer.init(empty), empty, **more)
    assert updates == empty
    assert fg.tree.structure(state) == fg.tree.structure(optimizer.init(empty))


@every
def test_another_structure_is_named(name):
    row = ROWS[name]
    optimizer = row.make(optim, 0.05)
    params = {"w": np.ones(2), "b": np.ones(3)}
    wrong = {"w": np.ones(2)}
    with pytest.raises(TreeError, match=r"have no leaf at \['b'\]"):
        optim.apply_updates(params, optimizer.update(wrong, optimizer.init(params), params, **_extras(row, wrong))[0])
    wide = {"w": np.ones(2), "b": np.ones((3, 3))}
    with pytest.raises(OperandError, match=r"have the shape \(3, 3\) at \['b'\], where .*\(3,\)"):
        optim.apply_updates(params, optimizer.update(wide, optimizer.init(params), params, **_extras(row, wide))[0])


def _extras(row, grads):
    return extras(row, {"w": np.ones(2), "b": np.ones(3)}, grads, grad_fn=lambda p: grads)


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].complex and name != "lbfgs"])
def test_complex_parameters_turn_with_their_gradients(name):
    """Gradients and parameters times a unit number give updates times that number."""
    rng = np.random.default_rng(1)
    turn = np.exp(0.7j)
    params, g = (rng.normal(size=(4, 3)) + 1j * rng.normal(size=(4, 3)) for _ in range(2))
    row = ROWS[name]
    optimizer = row.make(optim, 0.05)

    def run(factor):
        p, state = factor * params, optimizer.init(factor * params)
        for t in range(3):
            grads = factor * g * (t + 1)
            more = {"grad_fn": lambda p, grads=grads: grads} if row.extra else {}
            updates, state = optimizer.update(grads, state, p, **more)
            p = optim.apply_updates(p, updates)
        return p

    np.testing.assert_allclose(run(turn), turn * run(1.0), rtol=1e-10)
    assert run(1.0).dtype == np.complex128


def test_what_has_no_meaning_for_complex_parameters_says_so():
    z = np.ones(2, complex)
    for optimizer, more in (
        (optim.newton(), {"value_fn": lambda p: 0.0}),
        (optim.newton_cg(), {"value_fn": lambda p: 0.0}),
        (optim.gauss_newton(), {"residual_fn": lambda p: p}),
    ):
        with pytest.raises(OperandTypeError, match="takes real parameters; give the real and the imaginary part"):
            optimizer.update(z, optimizer.init(z), z, **more)


NEEDS = {
    "params": [optim.adamw(0.1), optim.lamb(0.1), optim.lars(0.1), optim.adafactor(0.1), optim.lion(0.1), optim.lbfgs(),
               optim.newton(), optim.gauss_newton(), optim.lookahead_nesterov(0.1), optim.adaptive_grad_clip(0.1),
               optim.ema_params(0.9), optim.lookahead(optim.sgd(0.1), 2, 0.5)],
    "value_fn": [optim.newton(), optim.newton_cg(), optim.lbfgs(), optim.scale_by_backtracking_linesearch(3)],
    "residual_fn": [optim.gauss_newton()],
    "grad_fn": [optim.lookahead_nesterov(0.1)],
}  # fmt: skip


@pytest.mark.parametrize("argument", NEEDS)
def test_what_is_missing_is_named(argument):
    x = np.ones(2)
    for optimizer in NEEDS[argument]:
        params = None if argument == "params" else x
        with pytest.raises(TransformError, match=rf"needs {argument}; write update\(grads, state, params"):
            optimizer.update(x, optimizer.init(x), params)


# The program ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "operations"), [("sgd", 1), ("momentum", 3), ("adam", 12), ("adamw", 14)])
def test_an_update_compiles_to_few_operations_on_arrays(name, operations):
    """Adam: two moments of 3 operations each and a square, a root, its product and sum, the quotient, the step."""
    x = np.ones((3, 2), np.float32)
    optimizer = ROWS[name].make(optim, 0.1)
    lines = fg.jit(optimizer.update).lower(x, optimizer.init(x), x).as_text().splitlines()
    assert "where" not in "".join(lines)
    jaxpr = str(fg.make_jaxpr(optimizer.update)(x, optimizer.init(x), x))
    body = jaxpr[jaxpr.index("let") :]
    assert body.count(":f32[3,2] =") - body.count("custom_call") == operations
    assert "f64[3,2]" not in body
