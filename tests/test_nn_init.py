"""``funcgrad.nn.init``: distributions against SciPy, bounds and variances by formula, and what they are for: the size of
activations and gradients over 50 layers."""

from __future__ import annotations

import math

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import nn
from funcgrad.core.errors import OperandError
from funcgrad.nn import init

KEY = fg.random.key(0)
SCALED = {
    "xavier_uniform": lambda i, o: 2 / (i + o),
    "xavier_normal": lambda i, o: 2 / (i + o),
    "kaiming_uniform": lambda i, o: 2 / i,
    "kaiming_normal": lambda i, o: 2 / i,
    "lecun_uniform": lambda i, o: 1 / i,
    "lecun_normal": lambda i, o: 1 / i,
}


def test_every_initializer_is_tested():
    rest = {"Initializer", "constant", "gain_of", "normal", "ones", "orthogonal", "truncated_normal", "uniform"}
    assert set(init.__all__) == {*SCALED, *rest, "variance_scaling", "zeros"}


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("shape", [(300, 200), (3, 3, 40, 50)])
def test_variances(name, shape):
    w = getattr(init, name)()(KEY, shape)
    positions = math.prod(shape[:-2])
    variance = SCALED[name](shape[-2] * positions, shape[-1] * positions)
    n = w.size
    # The mean of n numbers is normal; so nearly is their variance, of deviation at most variance * sqrt(2 / n).
    assert abs(w.mean()) < 4 * math.sqrt(variance / n)
    assert abs(w.var() / variance - 1) < 4 * math.sqrt(2 / n)
    if name.endswith("uniform"):
        bound = math.sqrt(3 * variance)
        assert 0.99 * bound < abs(w).max() <= bound


@pytest.mark.parametrize("name", ["uniform", "normal", "truncated_normal"])
def test_distributions_are_scipys(name):
    stats = pytest.importorskip("scipy.stats", reason="SciPy is the oracle of distributions")
    w = init.variance_scaling(2.0, "fan_out", name)(KEY, (100, 200)).ravel()
    deviation = math.sqrt(2 / 200)
    cut = stats.truncnorm(-2, 2)
    reference = {
        "uniform": stats.uniform(-math.sqrt(3) * deviation, 2 * math.sqrt(3) * deviation),
        "normal": stats.norm(0, deviation),
        "truncated_normal": stats.truncnorm(-2, 2, scale=deviation / cut.std()),
    }[name]
    assert stats.kstest(w, reference.cdf).pvalue > 1e-3


def test_variances_are_jaxs():
    jax = pytest.importorskip("jax", reason="JAX is an oracle of the initializers")
    theirs = jax.nn.initializers
    key = jax.random.key(1)
    for name, args in [("lecun_normal", ()), ("variance_scaling", (3.0, "fan_avg", "truncated_normal"))]:
        ours = getattr(init, name)(*args)(KEY, (200, 300))
        other = np.asarray(getattr(theirs, name)(*args)(key, (200, 300)))
        assert ours.std() == pytest.approx(other.std(), rel=0.02), name
        assert abs(ours).max() == pytest.approx(abs(other).max(), rel=0.01), name


def test_plain_ones():
    assert init.zeros(KEY, (2, 3)).tolist() == [[0.0] * 3] * 2
    assert init.ones(None, (2,), np.float32).dtype == np.float32
    assert init.constant(7)(KEY, (2,)).tolist() == [7.0, 7.0]
    u = init.uniform(0.5, low=-1.0)(KEY, (1000,))
    assert -1 <= u.min() < -0.98 and 0.48 < u.max() <= 0.5
    z = init.normal(2.0, mean=5.0)(KEY, (4000,))
    assert abs(z.mean() - 5) < 0.13 and abs(z.std() - 2) < 0.1
    t = init.truncated_normal(2.0)(KEY, (4000,))
    assert 3.9 < abs(t).max() <= 4


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (2, 3, 4, 5)])
def test_orthogonal(shape):
    w = init.orthogonal(2.0)(KEY, shape)
    assert w.shape == shape
    m = w.reshape(-1, shape[-1])
    gram = m.T @ m if m.shape[0] >= m.shape[1] else m @ m.T
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_keys_and_dtypes(dtype):
    for f in (init.xavier_uniform(), init.kaiming_normal(), init.lecun_normal(), init.orthogonal(), init.normal()):
        w = f(KEY, (4, 3), dtype)
        assert w.dtype == dtype and w.shape == (4, 3)
        np.testing.assert_array_equal(f(KEY, (4, 3), dtype), w)
        assert (f(fg.random.key(1), (4, 3), dtype) != w).any()
        np.testing.assert_allclose(
            fg.jit(lambda k, f=f: f(k, (4, 3), dtype))(KEY), w, rtol=1e-3 if dtype == np.float16 else 1e-5
        )
    many = fg.vmap(lambda k: init.xavier_normal()(k, (4, 3), dtype))(fg.random.split(KEY, 2))
    assert many.shape == (2, 4, 3) and (many[0] != many[1]).any()


def test_messages():
    with pytest.raises(
        OperandError, match=r"nn.init.kaiming_normal: a shape of at least 2 axes has inputs and outputs, \(3,\)"
    ):
        init.kaiming_normal()(KEY, (3,))
    with pytest.raises(OperandError, match="mode must be 'fan_in', 'fan_out' or 'fan_avg', not 'fan'"):
        init.variance_scaling(1.0, "fan", "normal")
    with pytest.raises(
        OperandError, match="distribution must be 'normal', 'uniform' or 'truncated_normal', not 'cauchy'"
    ):
        init.variance_scaling(1.0, "fan_in", "cauchy")
    with pytest.raises(
        OperandError, match="nonlinearity must be one of linear, sigmoid, tanh, relu, leaky_relu, selu, not 'gelu'"
    ):
        init.kaiming_uniform(nonlinearity="gelu")


# What they are for ----------------------------------------------------------------------------------------------------

DEPTH, WIDTH = 50, 256


def deep(make, activation):
    """The mean square of the activations after each layer, and of the gradient with respect to the input of each."""
    weights = [make(k, (WIDTH, WIDTH)) for k in fg.random.split(KEY, DEPTH)]
    x = np.random.default_rng(0).standard_normal((64, WIDTH))

    def run(shifts, x):
        sizes = []
        for w, shift in zip(weights, shifts):
            x = activation((x + shift) @ w)
            sizes.append(fnp.mean(x * x))
        return fnp.sum(x * np.random.default_rng(1).standard_normal(x.shape)), sizes

    (_, sizes), grads = fg.value_and_grad(run, has_aux=True)([np.zeros_like(x)] * DEPTH, x)
    return np.array(sizes), np.array([np.mean(g * g) for g in grads])


@pytest.mark.parametrize(
    ("make", "activation"),
    [
        (init.kaiming_normal(), nn.relu),
        (init.kaiming_uniform(), nn.relu),
        (init.kaiming_normal(nonlinearity="leaky_relu", negative_slope=0.2), lambda x: nn.leaky_relu(x, 0.2)),
        (init.lecun_normal(), lambda x: x),
        (init.xavier_normal(), lambda x: x),
        (init.orthogonal(), lambda x: x),
        (init.lecun_normal(), nn.selu),
    ],
)
def test_fifty_layers_keep_their_size(make, activation):
    sizes, grads = deep(make, activation)
    # A random walk of the logarithm: each layer of width n multiplies by 1 + O(n^-1/2). selu keeps activations, not
    # gradients: the mean of selu'(z)^2 over normal z is 1.07, and 1.07^50 = 29.
    assert sizes.min() > 0.05 and sizes.max() < 20
    assert grads.min() / grads.max() > 0.02


@pytest.mark.parametrize(("variance", "shrinks"), [(1 / WIDTH, True), (3 / WIDTH, False)])
def test_other_variances_vanish_or_explode(variance, shrinks):
    """With relu, a variance of c / n multiplies the mean square by c / 2 a layer (course, lecture 6)."""
    sizes, _ = deep(init.normal(math.sqrt(variance)), nn.relu)
    rate = (sizes[-1] / sizes[0]) ** (1 / (DEPTH - 1))
    assert rate == pytest.approx(variance * WIDTH / 2, rel=0.1)
    assert (sizes[-1] < 1e-10) == shrinks


def test_zeros_are_a_fixed_point():
    """Course, lecture 6: weights of zero get gradients of zero, and so stay."""
    x, y = np.ones((4, 3)), np.ones((4, 2))
    params = [init.zeros(KEY, (3, 5)), init.zeros(KEY, (5, 2))]
    grads = fg.grad(lambda p: fnp.sum((nn.relu(x @ p[0]) @ p[1] - y) ** 2))(params)
    assert all((g == 0).all() for g in grads)
