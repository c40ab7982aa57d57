"""The worked examples of the course notes, with their numbers (shared/course-notes.md, section 1.3)."""

import itertools

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.optim import adam, sgd

# The running example: y = ln x1 + x1 x2 - sin x2 at (2, 5) --------------------------------------------------------------


def running(x1, x2):
    return fnp.log(x1) + x1 * x2 - fnp.sin(x2)


def test_value_gradient_and_hessian_of_the_running_example():
    value, (g1, g2) = fg.value_and_grad(running, argnums=(0, 1))(2.0, 5.0)
    assert value == pytest.approx(11.652071, abs=5e-7)
    assert g1 == pytest.approx(5.5, abs=1e-15)
    assert g2 == pytest.approx(1.716338, abs=5e-7)
    hessian = fg.hessian(lambda x: running(x[0], x[1]))(np.array([2.0, 5.0]))
    np.testing.assert_allclose(hessian, [[-0.25, 1.0], [1.0, -0.958924]], atol=5e-7)


def table(x1, x2):
    """All intermediate values v1 ... v5 and y of the notes' evaluation trace."""
    v1 = fnp.log(x1)
    v2 = x1 * x2
    v3 = fnp.sin(x2)
    v4 = v1 + v2
    return v1, v2, v3, v4, v4 - v3


FORWARD = [0.6931471805599453, 10.0, -0.9589242746631385, 10.693147180559945, 11.652071455223084]


def test_the_evaluation_trace():
    np.testing.assert_allclose(table(2.0, 5.0), FORWARD, rtol=1e-14)


def test_the_forward_table():
    """dx1 = 1, dx2 = 0 gives one column of derivatives: 0.5, 5, 0, 5.5, 5.5."""
    values, tangents = fg.jvp(table, (2.0, 5.0), (1.0, 0.0))
    np.testing.assert_allclose(values, FORWARD, rtol=1e-14)
    np.testing.assert_allclose(tangents, [0.5, 5.0, 0.0, 5.5, 5.5], rtol=1e-14)
    _, tangents = fg.jvp(table, (2.0, 5.0), (0.0, 1.0))
    c = np.cos(5.0)
    np.testing.assert_allclose(tangents, [0.0, 2.0, c, 2.0, 2.0 - c], rtol=1e-14)


def test_the_reverse_table():
    """The adjoint of each intermediate value is the derivative with respect to a perturbation added to it."""

    def perturbed(e):
        x1, x2 = e["x1"] + 2.0, e["x2"] + 5.0
        v1 = fnp.log(x1) + e["v1"]
        v2 = x1 * x2 + e["v2"]
        v3 = fnp.sin(x2) + e["v3"]
        v4 = v1 + v2 + e["v4"]
        return v4 - v3 + e["y"]

    adjoints = fg.grad(perturbed)(dict.fromkeys(["x1", "x2", "v1", "v2", "v3", "v4", "y"], 0.0))
    expected = {"y": 1.0, "v4": 1.0, "v3": -1.0, "v2": 1.0, "v1": 1.0, "x1": 5.5, "x2": 2.0 - np.cos(5.0)}
    assert adjoints == pytest.approx(expected, rel=1e-14)
    _, pullback = fg.vjp(table, 2.0, 5.0)
    np.testing.assert_allclose(pullback((0.0, 0.0, 0.0, 0.0, 1.0)), [5.5, 2.0 - np.cos(5.0)], rtol=1e-14)
    np.testing.assert_allclose(pullback((0.0, 1.0, 0.0, 0.0, 0.0)), [5.0, 2.0], rtol=1e-14)


# The product of n numbers -----------------------------------------------------------------------------------------------


def product(*theta):
    y = theta[0]
    for t in theta[1:]:
        y = y * t
    return y


def multiplications(jaxpr):
    return sum(e.primitive.name == "mul" for e in jaxpr.eqns)


def test_the_gradient_of_a_product_takes_linearly_many_multiplications():
    rng = np.random.default_rng(0)
    counts = []
    for n in (4, 8, 16):
        theta = tuple(rng.uniform(0.5, 2.0, n))
        gradient = fg.grad(product, argnums=tuple(range(n)))
        np.testing.assert_allclose(gradient(*theta), np.prod(theta) / np.array(theta), rtol=1e-13)
        counts.append(multiplications(fg.make_jaxpr(gradient)(*theta)))
    # n - 1 for the value; two for each of its multiplications on the way back. One by one it would be n (n - 2).
    assert all(count <= 3 * (n - 1) for n, count in zip((4, 8, 16), counts))
    assert counts[2] - counts[1] == 2 * (counts[1] - counts[0])


# Softmax regression -------------------------------------------------------------------------------------------------------


def softmax(h):
    e = np.exp(h - h.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def cross_entropy(h, y):
    return fnp.log(fnp.sum(fnp.exp(h))) - h[y]


def test_the_gradient_of_softmax_cross_entropy_is_softmax_minus_one_hot():
    h = np.random.default_rng(1).standard_normal(5)
    for y in range(5):
        onehot = np.eye(5)[y]
        np.testing.assert_allclose(fg.grad(cross_entropy)(h, y), softmax(h) - onehot, atol=1e-15)
        z = softmax(h)
        np.testing.assert_allclose(fg.hessian(cross_entropy)(h, y), np.diag(z) - np.outer(z, z), atol=1e-15)


def test_the_gradient_of_softmax_regression_on_a_batch():
    rng = np.random.default_rng(2)
    x, theta, y = rng.standard_normal((6, 4)), rng.standard_normal((4, 3)), rng.integers(0, 3, 6)
    loss = lambda t: fnp.mean(fg.vmap(cross_entropy)(x @ t, y))
    expected = x.T @ (softmax(x @ theta) - np.eye(3)[y]) / 6
    np.testing.assert_allclose(fg.grad(loss)(theta), expected, atol=1e-15)
    np.testing.assert_allclose(fg.jit(fg.grad(loss))(theta), expected, atol=1e-15)


# Networks -----------------------------------------------------------------------------------------------------------------


def test_two_layers_by_hand():
    rng = np.random.default_rng(3)
    x, w1, w2 = rng.standard_normal((7, 4)), rng.standard_normal((4, 5)), rng.standard_normal((5, 3))
    y = rng.integers(0, 3, 7)
    loss = lambda a, b: fnp.mean(fg.vmap(cross_entropy)(fnp.maximum(x @ a, 0.0) @ b, y))
    z1 = np.maximum(x @ w1, 0)
    g2 = softmax(z1 @ w2) - np.eye(3)[y]
    g1 = (z1 > 0) * (g2 @ w2.T)
    d1, d2 = fg.grad(loss, argnums=(0, 1))(w1, w2)
    np.testing.assert_allclose(d1, x.T @ g1 / 7, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(d2, z1.T @ g2 / 7, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("outer", [lambda f: f, fg.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("layers", [1, 3, 6])
def test_many_layers_by_hand(layers, outer):
    rng = np.random.default_rng(layers)
    sizes = rng.integers(2, 6, layers + 1)
    weights = [rng.standard_normal((a, b)) for a, b in itertools.pairwise(sizes)]
    x = rng.standard_normal((5, sizes[0]))

    def loss(ws):
        z = x
        for w in ws:
            z = fnp.tanh(z @ w)
        return fnp.sum(z**2) / 2

    values = [x]
    for w in weights:
        values.append(np.tanh(values[-1] @ w))
    g, expected = values[-1], []
    for w, z, before in zip(weights[::-1], values[:0:-1], values[-2::-1]):
        g = g * (1 - z**2)
        expected.append(before.T @ g)
        g = g @ w.T
    for got, by_hand in zip(outer(fg.grad(loss))(weights), expected[::-1]):
        np.testing.assert_allclose(got, by_hand, rtol=1e-12, atol=1e-12)


def test_zero_initialization_is_a_fixed_point():
    """With all weights zero the gradients of a two-layer ReLU net without biases are zero: it never learns."""
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((8, 4)), rng.standard_normal((8, 2))
    loss = lambda ws: fnp.mean((fnp.maximum(x @ ws[0], 0.0) @ ws[1] - y) ** 2)
    for g in fg.grad(loss)([np.zeros((4, 5)), np.zeros((5, 2))]):
        np.testing.assert_array_equal(g, 0.0)


def test_kaiming_initialization_keeps_the_second_moment():
    """W ~ N(0, 2/n) keeps E[z^2] at 1 through ReLU layers; N(0, 1/n) halves it in each."""
    rng = np.random.default_rng(5)
    n = 400

    @fg.jit
    def layer(z, w):
        return z @ w

    def second_moment(scale):
        h = rng.standard_normal((200, n))
        for _ in range(6):
            h = layer(np.maximum(h, 0.0), rng.standard_normal((n, n)) * np.sqrt(scale / n))
        return np.mean(h**2)

    assert second_moment(2.0) == pytest.approx(1.0, rel=0.15)
    assert second_moment(1.0) == pytest.approx(2.0**-6, rel=0.15)


# Optimization -------------------------------------------------------------------------------------------------------------


def test_newton_reaches_the_minimum_of_a_quadratic_in_one_step():
    rng = np.random.default_rng(6)
    root = rng.standard_normal((4, 4))
    a, b = root @ root.T + np.eye(4), rng.standard_normal(4)
    f = lambda x: x @ a @ x / 2 - b @ x
    x = rng.standard_normal(4)
    step = lambda alpha: x - alpha * np.linalg.solve(fg.hessian(f)(x), fg.grad(f)(x))
    np.testing.assert_allclose(step(1.0), np.linalg.solve(a, b), rtol=1e-9)
    assert not np.allclose(step(0.5), np.linalg.solve(a, b))


def test_the_first_step_of_momentum():
    """The notes' momentum averages: its first step is (1 - beta) times the gradient step, and unbiased the whole of it."""
    g, lr, beta = np.array([1.0, -2.0]), 0.1, 0.9
    u = beta * np.zeros(2) + (1 - beta) * g
    # The standard form, which sgd implements, adds up: its first step is that of gradient descent.
    init, update = sgd(lr, momentum=beta)
    step, _ = update(g, init(g), g)
    np.testing.assert_allclose(step, -lr * g)
    np.testing.assert_allclose((1 - beta) * step, -lr * u)
    np.testing.assert_allclose(step, -lr * u / (1 - beta))


def test_the_first_step_of_adam_is_the_sign_of_the_gradient():
    g = np.array([3.0, -0.02])
    init, update = adam(0.1)
    step, _ = update(g, init(g), g)
    np.testing.assert_allclose(step, -0.1 * np.sign(g), rtol=1e-5)


# The gradient check of homework 1 -------------------------------------------------------------------------------------------


def gradient_check(f, *args, eps=1e-4, tol=1e-6):
    """Central differences, element by element."""
    computed = fg.grad(f, argnums=tuple(range(len(args))))(*args)
    for i, x in enumerate(args):
        numerical = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            plus, minus = x.copy(), x.copy()
            plus[index] += eps
            minus[index] -= eps
            up, down = (f(*args[:i], v, *args[i + 1 :]) for v in (plus, minus))
            numerical[index] = (up - down) / (2 * eps)
        assert np.linalg.norm(numerical - computed[i]) < tol


def test_the_gradient_check():
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((5, 4)), rng.standard_normal((4, 3))
    gradient_check(lambda u, v: fnp.sum(u @ v * 0.3), a, b)
    gradient_check(lambda u, v: fnp.sum(fnp.tanh(u @ v)), a, b)
    gradient_check(lambda u: fnp.sum(fnp.log(fnp.exp(u)) * u), a)
    gradient_check(lambda u: fnp.sum(fnp.sum(fnp.reshape(u, (4, 5)), 1) ** 3), a)
    gradient_check(lambda u, v: fnp.sum(u / (2.0 + fnp.broadcast_to(v[:, 0], (5, 4)) ** 2)), a, b)
    wrong = fg.custom_vjp(lambda x: x * x)
    wrong.defvjp(lambda x: (x * x, x), lambda x, ct: (x * ct,))
    with pytest.raises(AssertionError):
        gradient_check(lambda u: fnp.sum(wrong(u)), a)
