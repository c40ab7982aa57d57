"""The 14 places where the course notes differ from the standard: the notes' form and the standard one, side by side.

``docs/course.md`` links each of them by its name. The notes' form is written out as it is printed, the standard one by a
formula that shares nothing with the library; a test fails if the library followed the notes, or if both were the same.
"""

import itertools

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import nn, optim


@pytest.fixture
def rng():
    return np.random.default_rng(714)


def softmax(h):
    e = np.exp(h - h.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def regression(rng, samples=6, features=4, classes=3):
    """X, theta, the labels (from 0), and their one-hot rows E_y."""
    y = rng.integers(0, classes, samples)
    return rng.standard_normal((samples, features)), rng.standard_normal((features, classes)), y, np.eye(classes)[y]


def central_difference(f, x, eps=1e-6):
    """The gradient, element by element."""
    result = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = eps
        result[index] = (f(x + step) - f(x - step)) / (2 * eps)
    return result


# Lecture 2: softmax regression --------------------------------------------------------------------------------------------


def test_erratum_01_the_gradient_matrix_has_the_indices_of_its_argument(rng):
    """The first row of the gradient ends with the derivative by theta_1k; printed is theta_k1."""
    x, theta, y, _ = regression(rng, features=3, classes=3)
    loss = lambda t: nn.losses.softmax_cross_entropy(x @ t, y)
    gradient, expected = fg.grad(loss)(theta), central_difference(loss, theta)
    assert gradient.shape == theta.shape
    np.testing.assert_allclose(gradient[0, 2], expected[0, 2], atol=1e-8)
    assert abs(gradient[0, 2] - expected[2, 0]) > 1e-3
    x, theta, y, _ = regression(rng, features=2, classes=5)
    assert fg.grad(lambda t: nn.losses.softmax_cross_entropy(x @ t, y))(theta).shape == (2, 5)  # there is no theta_51


def test_erratum_02_one_over_b_belongs_to_a_sum_not_to_a_mean(rng):
    """theta - (lr / B) grad is right for the sum of the losses; with their mean, 1/B is there twice."""
    x, theta, y, _ = regression(rng)
    lr, b = 0.5, len(y)
    gradient = {
        reduction: fg.grad(lambda t, r=reduction: nn.losses.softmax_cross_entropy(x @ t, y, reduction=r))(theta)
        for reduction in ("sum", "mean")
    }
    updates, _ = optim.sgd(lr).update(gradient["mean"], optim.sgd(lr).init(theta), theta)
    np.testing.assert_allclose(theta + updates, theta - lr / b * gradient["sum"], rtol=1e-13)
    notes_step = -lr / b * gradient["mean"]
    np.testing.assert_allclose(b * notes_step, updates, rtol=1e-13)
    assert np.linalg.norm(notes_step) < 0.2 * np.linalg.norm(updates)


def test_erratum_03_the_numerator_of_softmax_is_exp_of_its_own_score(rng):
    """d ce / d h_i = exp(h_i) / sum_j exp(h_j) - [i = y]; printed is exp(h_j), whose j is bound by the sum."""
    h, label = rng.standard_normal(5), 1
    gradient = fg.grad(nn.losses.softmax_cross_entropy)(h, label)
    standard = np.exp(h) / np.sum(np.exp(h)) - (np.arange(5) == label)
    np.testing.assert_allclose(gradient, standard, atol=1e-15)
    np.testing.assert_allclose(
        gradient, central_difference(lambda h: nn.losses.softmax_cross_entropy(h, label), h), atol=1e-9
    )
    for j in range(5):  # whichever score h_j is read as, all elements but one's own are wrong
        notes = np.exp(h[j]) / np.sum(np.exp(h)) - (np.arange(5) == label)
        assert np.sum(np.isclose(notes, gradient)) == 1


def test_erratum_04_the_gradient_of_one_sample_is_an_outer_product(rng):
    """x (z - e_y)^T; without the transpose the product does not exist."""
    (x, *_), theta, (y, *_), (e, *_) = regression(rng)
    z = softmax(theta.T @ x)
    gradient = fg.grad(lambda t: nn.losses.softmax_cross_entropy(t.T @ x, y))(theta)
    np.testing.assert_allclose(gradient, np.outer(x, z - e), atol=1e-15)
    with pytest.raises(ValueError, match="mismatch"):
        x @ (z - e)


def test_erratum_05_the_scores_of_a_batch_are_x_theta(rng):
    """X theta with samples in rows; theta^T X, as printed inside of the loss, does not exist. The mean adds 1/B."""
    x, theta, y, e = regression(rng)
    with pytest.raises(ValueError, match="mismatch"):
        theta.T @ x
    with pytest.raises(ValueError, match="4"):  # funcgrad says which shapes do not fit
        fg.grad(lambda t: nn.losses.softmax_cross_entropy(t.T @ x, y))(theta)
    standard = x.T @ (softmax(x @ theta) - e)
    for reduction, factor in (("sum", 1), ("mean", len(y))):
        gradient = fg.grad(lambda t, r=reduction: nn.losses.softmax_cross_entropy(x @ t, y, reduction=r))(theta)
        np.testing.assert_allclose(gradient, standard / factor, atol=1e-14)


# Lecture 3: networks ------------------------------------------------------------------------------------------------------


def two_layers(rng):
    """X, W1, W2 with as many hidden units as classes, so that the notes' S has a shape that fits."""
    x, y = rng.standard_normal((7, 4)), rng.integers(0, 3, 7)
    w1, w2 = rng.standard_normal((4, 3)), rng.standard_normal((3, 3))
    loss = lambda x, w1, w2: nn.losses.softmax_cross_entropy(fnp.tanh(x @ w1) @ w2, y, reduction="sum")
    return x, w1, w2, np.eye(3)[y], loss


def test_erratum_06_the_scores_are_made_by_the_second_layer(rng):
    """S = softmax(sigma(X W1) W2); printed, twice, is softmax(sigma(X W1))."""
    x, w1, w2, e, loss = two_layers(rng)
    d1, d2 = fg.grad(loss, argnums=(1, 2))(x, w1, w2)
    z = np.tanh(x @ w1)

    def by_hand(s):
        return x.T @ ((1 - z**2) * ((s - e) @ w2.T)), z.T @ (s - e)

    for got, standard in zip((d1, d2), by_hand(softmax(z @ w2))):
        np.testing.assert_allclose(got, standard, atol=1e-13)
    for got, notes in zip((d1, d2), by_hand(softmax(z))):
        assert np.max(np.abs(got - notes)) > 0.1


def test_erratum_07_the_chain_ends_with_the_weights(rng):
    """d(X W1) / dW1 multiplies by X^T from the left; the printed d(X W1) / dX1 would multiply by W1^T from the right.

    And a ratio without its partial signs is a ratio of values: v3 / v1 is not dv3 / dv1.
    """
    x, w1, w2, e, loss = two_layers(rng)
    dx, d1 = fg.grad(loss, argnums=(0, 1))(x, w1, w2)
    z = np.tanh(x @ w1)
    above = (1 - z**2) * ((softmax(z @ w2) - e) @ w2.T)
    np.testing.assert_allclose(d1, x.T @ above, atol=1e-13)
    np.testing.assert_allclose(dx, above @ w1.T, atol=1e-13)
    assert d1.shape == w1.shape != (above @ w1.T).shape
    assert fg.grad(fnp.log)(2.0) == 0.5 != np.log(2.0) / 2.0


# Lecture 4: automatic differentiation -------------------------------------------------------------------------------------


def test_erratum_08_the_error_of_a_central_difference_is_of_second_order():
    """It is O(eps^2), and not o(eps^2): divided by eps^2 it goes to f'''/6, and not to 0. Likewise for Taylor's remainder."""
    x, third = 1.0, fg.grad(fg.grad(fg.grad(fnp.exp)))(1.0)
    assert third == pytest.approx(np.e, rel=1e-14)
    for eps in (1e-1, 1e-2, 1e-3):
        error = (np.exp(x + eps) - np.exp(x - eps)) / (2 * eps) - fg.grad(fnp.exp)(x)
        assert error / eps**2 == pytest.approx(third / 6, rel=eps)
        remainder = np.exp(x + eps) - (1 + eps + eps**2 / 2) * np.e
        assert remainder / eps**3 == pytest.approx(third / 6, rel=eps)
    one_sided = (np.exp(x + 1e-4) - np.exp(x)) / 1e-4 - fg.grad(fnp.exp)(x)
    assert one_sided / 1e-4 == pytest.approx(np.e / 2, rel=1e-3)  # the difference of the definition is of first order


def test_erratum_09_the_forward_trace_propagates_tangents_and_not_values():
    """dv3 = dv1 / v1, dv4 = dv1 v2 + dv2 v1, dv6 = dv3 + dv4; printed without their dots."""

    def trace(v1, v2):
        v3, v4, v5 = fnp.log(v1), v1 * v2, fnp.sin(v2)
        v6 = v3 + v4
        return {"v3": v3, "v4": v4, "v5": v5, "v6": v6, "v7": v6 - v5}

    v, dots = fg.jvp(trace, (2.0, 5.0), (1.0, 0.0))
    assert dots == pytest.approx({"v3": 0.5, "v4": 5.0, "v5": 0.0, "v6": 5.5, "v7": 5.5})
    notes = {"v3": 2.0 / 2.0, "v4": 2.0 * 5.0 + 5.0 * 2.0, "v6": v["v3"] + v["v4"]}
    for name, value in notes.items():
        assert abs(value - dots[name]) > 0.4


# Lecture 6: optimization ----------------------------------------------------------------------------------------------------


def steps(optimizer, gradient, x, count):
    """The points after each of ``count`` updates."""
    state, path = optimizer.init(x), []
    for _ in range(count):
        updates, state = optimizer.update(gradient(x), state, x, grad_fn=gradient)
        x = optim.apply_updates(x, updates)
        path.append(x)
    return path


def test_erratum_10_newton_is_done_in_one_step_if_the_learning_rate_is_one(rng):
    """The notes have a learning rate in the formula; what they say of quadratics holds for 1 alone."""
    root = rng.standard_normal((3, 3))
    a, b, x = root @ root.T + np.eye(3), rng.standard_normal(3), rng.standard_normal(3)
    f = lambda x: x @ a @ x / 2 - b @ x
    minimum = np.linalg.solve(a, b)

    def step(lr):
        optimizer = optim.newton(lr)
        updates, _ = optimizer.update(fg.grad(f)(x), optimizer.init(x), x, value_fn=f)
        return x + updates

    np.testing.assert_allclose(step(1.0), minimum, rtol=1e-10)
    np.testing.assert_allclose(step(0.5) - minimum, (x - minimum) / 2, rtol=1e-9)


def test_erratum_11_momentum_is_an_average_or_a_sum():
    """u <- b u + (1 - b) g in the notes, u <- b u + g in PyTorch and Optax: learning rates differ by 1 - b."""
    lr, b, x = 0.1, 0.9, np.array([1.0, -2.0])
    gradient = lambda x: np.array([1.0, 10.0]) * x
    notes, standard = optim.ema_momentum(lr, b), optim.sgd(lr, momentum=b)
    u, y, path = np.zeros(2), x, []
    for _ in range(5):
        u = b * u + (1 - b) * gradient(y)
        y = y - lr * u
        path.append(y)
    np.testing.assert_allclose(steps(notes, gradient, x, 5), path, rtol=1e-13)
    np.testing.assert_allclose(steps(optim.sgd(lr * (1 - b), momentum=b), gradient, x, 5), path, rtol=1e-13)
    np.testing.assert_allclose(steps(standard, gradient, x, 1)[0], x - lr * gradient(x), rtol=1e-13)
    np.testing.assert_allclose(steps(notes, gradient, x, 1)[0], x - lr * (1 - b) * gradient(x), rtol=1e-13)
    debiased = optim.ema_momentum(lr, b, debias=True)
    np.testing.assert_allclose(steps(debiased, gradient, x, 1)[0], x - lr * gradient(x), rtol=1e-13)


def test_erratum_11_the_point_ahead_of_nesterov_has_the_factor_beta():
    """Where momentum leads is p - lr b u; the notes look at p - lr u. PyTorch's form is the exact one in other variables."""
    lr, b, x = 0.05, 0.8, np.array([1.0, -2.0])
    gradient = lambda x: np.array([1.0, 10.0]) * x
    paths = {}
    for name, factor in (("notes", 1.0), ("exact", b)):
        u, y, paths[name] = np.zeros(2), x, []
        for _ in range(4):
            u = b * u + (1 - b) * gradient(y - lr * factor * u)
            y = y - lr * u
            paths[name].append(y)
    np.testing.assert_allclose(
        steps(optim.lookahead_nesterov(lr, b, exact=False), gradient, x, 4), paths["notes"], rtol=1e-12
    )
    np.testing.assert_allclose(steps(optim.lookahead_nesterov(lr, b), gradient, x, 4), paths["exact"], rtol=1e-12)
    assert np.max(np.abs(paths["notes"][-1] - paths["exact"][-1])) > 1e-3
    # sgd(nesterov=True) walks through the points ahead: p_t - b (p_{t-1} - p_t)
    p = [x, *paths["exact"]]
    ahead = [new + b * (new - old) for old, new in itertools.pairwise(p)]
    np.testing.assert_allclose(
        steps(optim.sgd(lr * (1 - b), momentum=b, nesterov=True), gradient, x, 4), ahead, rtol=1e-12
    )


def test_erratum_12_adam_corrects_its_bias():
    """The standard divides u and v by 1 - b^t; the first step is then lr in size, in the notes lr (1 - b1) / sqrt(1 - b2)."""
    lr, b1, b2, eps, x = 0.01, 0.9, 0.999, 1e-8, np.array([1.0, -2.0])
    gradient = lambda x: np.array([3.0, 0.2]) * x
    for corrected in (False, True):
        u, v, y, path = np.zeros(2), np.zeros(2), x, []
        for t in range(1, 5):
            g = gradient(y)
            u, v = b1 * u + (1 - b1) * g, b2 * v + (1 - b2) * g**2
            uc, vc = (u / (1 - b1**t), v / (1 - b2**t)) if corrected else (u, v)
            y = y - lr * uc / (np.sqrt(vc) + eps)
            path.append(y)
        np.testing.assert_allclose(
            steps(optim.adam(lr, b1, b2, eps, bias_correction=corrected), gradient, x, 4), path, rtol=1e-12
        )
        first = lr if corrected else lr * (1 - b1) / np.sqrt(1 - b2)
        np.testing.assert_allclose(np.abs(path[0] - x), first, rtol=1e-5)


# Lecture 9: normalization ---------------------------------------------------------------------------------------------------


def test_erratum_13_layer_norm_divides_by_the_standard_deviation(rng):
    """sqrt(Var + eps), then scale and bias; printed is Var + eps, and no parameters."""
    z, eps = 3.0 * rng.standard_normal((5, 8)), 1e-5
    centred, variance = z - z.mean(-1, keepdims=True), z.var(-1, keepdims=True)
    standard, notes = centred / np.sqrt(variance + eps), centred / (variance + eps)
    np.testing.assert_allclose(nn.layer_norm(z), standard, rtol=1e-12)
    scale, bias = rng.standard_normal(8), rng.standard_normal(8)
    np.testing.assert_allclose(nn.layer_norm(z, scale, bias), standard * scale + bias, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(standard.std(-1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(notes.std(-1), 1 / z.std(-1), rtol=1e-4)  # twice the input, half the output
    np.testing.assert_allclose(nn.layer_norm(2 * z), standard, rtol=1e-4)


# Slips of code ----------------------------------------------------------------------------------------------------------------


def test_erratum_14_detach_is_stop_gradient():
    """``Tensor.data`` is a property, once written as a call. Here a value is detached by a function, and nothing accumulates."""

    class Tensor:
        data = property(lambda self: 1.0)

    with pytest.raises(TypeError, match="not callable"):
        Tensor().data()
    w = np.array([1.0, 2.0])
    assert fg.grad(lambda w: fnp.sum(w * fg.lax.stop_gradient(w)))(w).tolist() == w.tolist()
    assert type(w - 0.1 * fg.grad(lambda w: fnp.sum(w**2))(w)) is np.ndarray  # an update is outside of any graph


def test_erratum_14_a_missing_method_raises_not_implemented_error():
    """``raise NotImplemented()`` fails with a TypeError that says nothing; a missing rule says which one is missing."""
    with pytest.raises(TypeError, match="not callable"):
        raise NotImplemented()  # noqa: F901
    with pytest.raises(fg.errors.MissingRuleError, match="polygamma"):
        fg.grad(lambda n: fg.scipy.special.polygamma(n, 2.0))(1.0)


def test_erratum_14_parameters_are_found_in_lists_and_tuples_too():
    """The notes' ``_get_params`` goes through modules and dicts; a parameter in a list would never be trained."""
    params = {"layers": [np.ones(2), (np.ones(3), {"bias": np.ones(4)})]}

    def notes(x):
        if isinstance(x, dict):
            return [p for v in x.values() for p in notes(v)]
        return [x] if isinstance(x, np.ndarray) else []

    assert notes(params) == []
    assert sorted(p.size for p in fg.tree.leaves(params)) == [2, 3, 4]
    gradient = fg.grad(lambda p: sum(fnp.sum(w**2) for w in fg.tree.leaves(p)))(params)
    assert fg.tree.structure(gradient) == fg.tree.structure(params)
    model = nn.Sequential(
        nn.Linear.init(fg.random.key(0), 2, 3), nn.Sequential(nn.relu, nn.Linear.init(fg.random.key(1), 3, 1))
    )
    assert nn.count_parameters(model) == 2 * 3 + 3 + 3 * 1 + 1


def test_erratum_14_what_is_fed_is_an_argument():
    """TensorFlow 1 feeds placeholders; the notes feed a Variable that has no first value. A program here has arguments."""
    program = fg.jit(lambda x: x + 1.0).trace(fg.ShapeDtypeStruct((2,), np.float64))
    assert len(program.jaxpr.invars) == 1 and not program.jaxpr.consts
    np.testing.assert_array_equal(program.lower().compile()(np.array([1.0, 2.0])), [2.0, 3.0])
    with pytest.raises(TypeError):
        program.lower().compile()()
