"""The optimizers: against their formulas in plain NumPy, against Optax, and under the transforms."""

import math

import numpy as np
import pytest

import funcgrad as fg
from funcgrad import optim

STEPS = 30


@pytest.fixture
def problem():
    """Parameters, and a function that gives the gradients of some smooth function at them, without funcgrad."""
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(3, 2)), "b": [rng.normal(size=2), rng.normal()]}

    def grads(p):
        return {"w": np.sin(p["w"]) + 0.1 * p["w"], "b": [p["b"][0] ** 3, 3.0 * p["b"][1] - 1.0]}

    return params, grads


def trajectory(optimizer, params, grads, steps=STEPS, update=None):
    update = update or optimizer.update
    state, path = optimizer.init(params), []
    for _ in range(steps):
        updates, state = update(grads(params), state, params)
        params = optim.apply_updates(params, updates)
        path.append(params)
    return path, state


def check_close(ours, theirs, rtol=1e-12):
    ours, theirs = fg.tree.leaves(ours), fg.tree.leaves(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


def sgd_by_hand(lr, momentum=0.0, nesterov=False):
    memory = {}

    def step(key, p, g):
        m = memory[key] = momentum * memory.get(key, 0.0) + g
        return p - lr * (g + momentum * m if nesterov else m)

    return step


def adam_by_hand(lr, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0):
    memory = {}

    def step(key, p, g):
        t, m, v = memory.get(key, (0, 0.0, 0.0))
        t, m, v = t + 1, b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        memory[key] = t, m, v
        return p - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)

    return step


def trajectory_by_hand(step, params, grads):
    path = []
    for _ in range(STEPS):
        g = grads(params)
        params = {
            "w": step("w", params["w"], g["w"]),
            "b": [step(i, params["b"][i], g["b"][i]) for i in range(2)],
        }
        path.append(params)
    return path


CASES = {
    "sgd": (lambda o: o.sgd(0.1), lambda: sgd_by_hand(0.1)),
    "momentum": (lambda o: o.sgd(0.1, momentum=0.9), lambda: sgd_by_hand(0.1, 0.9)),
    "nesterov": (lambda o: o.sgd(0.1, 0.9, True), lambda: sgd_by_hand(0.1, 0.9, True)),
    "adam": (lambda o: o.adam(0.05), lambda: adam_by_hand(0.05)),
    "adam-all": (
        lambda o: o.adam(0.05, b1=0.8, b2=0.95, eps=1e-3, eps_root=1e-4),
        lambda: adam_by_hand(0.05, 0.8, 0.95, 1e-3, 1e-4),
    ),
}


@pytest.mark.parametrize("case", CASES)
class TestTrajectories:
    def test_formula(self, problem, case):
        make, by_hand = CASES[case]
        path, _ = trajectory(make(optim), *problem)
        check_close(path, trajectory_by_hand(by_hand(), *problem))

    def test_formula_under_jit(self, problem, case):
        make, by_hand = CASES[case]
        optimizer = make(optim)
        path, _ = trajectory(optimizer, *problem, update=fg.jit(optimizer.update))
        check_close(path, trajectory_by_hand(by_hand(), *problem))

    def test_optax(self, problem, case):
        optax = pytest.importorskip("optax", reason="Optax is the reference of the optimizers (extra bench)")
        make, _ = CASES[case]
        params, grads = problem
        path, _ = trajectory(make(optim), params, grads)
        reference, expected = make(optax), []
        state = reference.init(params)
        for _ in range(STEPS):
            updates, state = reference.update(grads(params), state, params)
            params = fg.tree.map(lambda p, u: p + np.asarray(u), params, updates)
            expected.append(params)
        check_close(path, expected, rtol=1e-5)  # Optax computes in float32 here

    def test_dtypes_shapes_and_structure_stay(self, case):
        optimizer = CASES[case][0](optim)
        params = {
            "half": np.ones(3, np.float16),
            "single": np.ones((2, 2), np.float32),
            "double": np.ones((), np.float64),
            "none": None,
        }
        grads = fg.tree.map(lambda p: np.full_like(p, 0.5), params)
        for update in (optimizer.update, fg.jit(optimizer.update)):
            updates, state = update(grads, optimizer.init(params), params)
            stepped = optim.apply_updates(params, updates)
            for key in ("half", "single", "double"):
                assert updates[key].dtype == params[key].dtype
                assert stepped[key].dtype == params[key].dtype
                assert stepped[key].shape == params[key].shape
            assert stepped["none"] is None
            assert fg.tree.structure(state) == fg.tree.structure(optimizer.init(params))
            for new, old in zip(fg.tree.leaves(state), fg.tree.leaves(optimizer.init(params))):
                assert np.asarray(new).dtype == np.asarray(old).dtype
                assert np.shape(new) == np.shape(old)

    def test_inputs_are_not_changed(self, problem, case):
        optimizer = CASES[case][0](optim)
        params, grads = problem
        before = fg.tree.map(np.copy, params)
        trajectory(optimizer, params, grads, steps=3)
        check_close(params, before, rtol=0)


class TestState:
    def test_counts_are_readable(self, problem):
        _, state = trajectory(optim.adam(0.1), *problem, steps=4)
        assert isinstance(state[0], optim.ScaleByAdamState)
        assert isinstance(state[1], optim.ScaleByLearningRateState)
        assert int(state[0].count) == int(state[1].count) == 4
        assert fg.tree.structure(state[0].mu) == fg.tree.structure(problem[0])

    def test_hyperparameters_are_read_and_set(self, problem):
        state = optim.sgd(0.1, momentum=0.9).init(problem[0])
        assert {k: float(v) for k, v in optim.hyperparameters(state).items()} == {"decay": 0.9, "learning_rate": 0.1}
        changed = optim.with_hyperparameters(state, learning_rate=0.01, decay=0.5)
        assert {k: float(v) for k, v in optim.hyperparameters(changed).items()} == {"decay": 0.5, "learning_rate": 0.01}
        assert float(state[1].learning_rate) == 0.1

    def test_parameters_are_never_taken_for_hyperparameters(self):
        params = (np.ones(2), {"learning_rate": np.ones(3)})
        state = optim.sgd(0.1, momentum=0.9).init(params)
        changed = optim.with_hyperparameters(state, learning_rate=0.5)
        check_close(changed[0].trace, state[0].trace, rtol=0)

    def test_unknown_hyperparameter(self, problem):
        state = optim.adam(0.1).init(problem[0])
        with pytest.raises(
            ValueError, match=r"'lr' is no hyper-parameter of this state; it has b1, b2, eps, learning_rate"
        ):
            optim.with_hyperparameters(state, lr=0.5)
        with pytest.raises(ValueError, match="'learning_rate' is no hyper-parameter of this state; it has none"):
            optim.with_hyperparameters(optim.scale(-1.0).init(problem[0]), learning_rate=0.5)

    def test_setting_the_learning_rate_does_not_retrace(self, problem):
        params, grads = problem
        optimizer, traces = optim.adam(0.1), []

        @fg.jit
        def update(g, state):
            traces.append(1)
            return optimizer.update(g, state)

        state = optimizer.init(params)
        slow, state = update(grads(params), state)
        fast, _ = update(grads(params), optim.with_hyperparameters(optimizer.init(params), learning_rate=0.2))
        update(grads(params), state)
        check_close(fast, fg.tree.map(lambda u: 2 * u, slow))
        assert len(traces) == 1

    @pytest.mark.parametrize("jit", [False, True])
    def test_schedule(self, problem, jit):
        params, grads = problem
        optimizer = optim.sgd(lambda count: 0.1 / (1 + count))
        update = fg.jit(optimizer.update) if jit else optimizer.update
        state = optimizer.init(params)
        for t in range(5):
            assert math.isclose(float(optim.hyperparameters(state)["learning_rate"]), 0.1 / (1 + t))
            updates, state = update(grads(params), state, params)
            check_close(updates, fg.tree.map(lambda g: -0.1 / (1 + t) * g, grads(params)))  # noqa: B023
        assert int(state[0].count) == 5

    def test_chain_refuses_a_foreign_state(self, problem):
        state = optim.adam(0.1).init(problem[0])
        with pytest.raises(ValueError, match="a chain of 1 transformations was given a state of 2"):
            optim.sgd(0.1).update(problem[0], state)

    def test_nesterov_needs_momentum(self):
        with pytest.raises(ValueError, match="give one, as in momentum=0.9"):
            optim.sgd(0.1, nesterov=True)

    def test_chain_passes_keywords_on(self):
        def update(grads, state, params=None, *, value, **extra):
            return fg.tree.map(lambda g: g * value, grads), state

        optimizer = optim.chain(optim.GradientTransformation(lambda params: (), update), optim.sgd(1.0))
        updates, _ = optimizer.update(np.array([2.0]), optimizer.init(np.zeros(1)), value=3.0)
        np.testing.assert_allclose(updates, [-6.0])


class TestTransforms:
    """The optimizers are ordinary functions: they map, differentiate and take complex parameters."""

    @pytest.mark.parametrize("make", [lambda lr: optim.sgd(lr, momentum=0.9), optim.adam])
    def test_vmap_over_learning_rates(self, make):
        def final(lr):
            optimizer, x = make(lr), np.array([1.0, -2.0])
            state = optimizer.init(x)
            for _ in range(5):
                updates, state = optimizer.update(2 * x, state, x)
                x = optim.apply_updates(x, updates)
            return x

        rates = np.array([0.01, 0.1, 0.3])
        np.testing.assert_allclose(fg.vmap(final)(rates), np.stack([final(lr) for lr in rates]), rtol=1e-12)

    @pytest.mark.parametrize("make", [lambda lr: optim.sgd(lr, momentum=0.9), optim.adam])
    def test_grad_through_the_updates(self, make):
        def final_loss(lr):
            optimizer, x = make(lr), np.array([1.0, -2.0])
            state = optimizer.init(x)
            for _ in range(3):
                updates, state = optimizer.update(2 * x, state, x)
                x = optim.apply_updates(x, updates)
            return (x**2).sum()

        h = 1e-6
        expected = (final_loss(0.1 + h) - final_loss(0.1 - h)) / (2 * h)
        np.testing.assert_allclose(fg.grad(final_loss)(0.1), expected, rtol=1e-6)

    def test_complex_parameters(self):
        z, g = np.array([1 + 2j], np.complex64), np.array([3 - 4j], np.complex64)
        optimizer = optim.adam(0.1)
        updates, state = optimizer.update(g, optimizer.init(z), z)
        assert updates.dtype == np.complex64 and state[0].nu.dtype == np.float32
        np.testing.assert_allclose(updates, -0.1 * g / 5, rtol=1e-5)

    def test_half_precision_does_not_underflow(self):
        grads = np.array([0.0, 1e-4], np.float16)  # the square of the second is 0 in float16, and so is eps
        for update in (optim.adam(0.1).update, fg.jit(optim.adam(0.1).update)):
            updates, _ = update(grads, optim.adam(0.1).init(grads))
            np.testing.assert_allclose(updates, [0.0, -0.1], rtol=1e-3)

    def test_python_scalars_are_parameters(self):
        optimizer = optim.adam(0.1)
        updates, _ = optimizer.update({"a": 1.0}, optimizer.init({"a": 2.0}))
        assert math.isclose(float(optim.apply_updates({"a": 2.0}, updates)["a"]), 1.9, rel_tol=1e-6)

    def test_training_converges(self):
        rng = np.random.default_rng(0)
        x, w_true = rng.normal(size=(50, 3)), np.array([1.0, -2.0, 0.5])

        def loss(w):
            return ((x @ w - x @ w_true) ** 2).mean()

        for optimizer in (optim.sgd(0.1, momentum=0.5), optim.adam(0.1)):
            w = np.zeros(3)
            state = optimizer.init(w)
            step = fg.jit(lambda w, state, update=optimizer.update: update(fg.grad(loss)(w), state, w))
            for _ in range(300):
                updates, state = step(w, state)
                w = optim.apply_updates(w, updates)
            np.testing.assert_allclose(w, w_true, atol=1e-3)
