"""The functions of ``funcgrad.nn`` against formulas in NumPy, against torch and JAX, and against the laws."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import nn
from funcgrad.core.errors import OperandError, OperandTypeError
from funcgrad.testing import assert_close, check_grads

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is an oracle of the layers")


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


# Activations ----------------------------------------------------------------------------------------------------------


def logistic(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def log1pexp(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def normal_cdf(x):
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in np.ravel(x)]).reshape(np.shape(x))


#: The name; the definition; and the values towards minus and plus infinity, given as f(-1e4) and f(1e4).
ACTIVATIONS = {
    "celu": (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), -1.0, 1e4),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), -1.0, 1e4),
    "gelu": (lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), 0.0, 1e4),
    "hard_sigmoid": (lambda x: np.clip(x + 3, 0, 6) / 6, 0.0, 1.0),
    "hard_silu": (lambda x: x * np.clip(x + 3, 0, 6) / 6, 0.0, 1e4),
    "hard_swish": (lambda x: x * np.clip(x + 3, 0, 6) / 6, 0.0, 1e4),
    "hard_tanh": (lambda x: np.clip(x, -1, 1), -1.0, 1.0),
    "identity": (lambda x: x, -1e4, 1e4),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.01 * x), -100.0, 1e4),
    "log_sigmoid": (lambda x: -log1pexp(-x), -1e4, 0.0),
    "mish": (lambda x: x * np.tanh(log1pexp(x)), 0.0, 1e4),
    "relu": (lambda x: np.maximum(x, 0), 0.0, 1e4),
    "relu6": (lambda x: np.clip(x, 0, 6), 0.0, 6.0),
    "selu": (
        lambda x: 1.05070098735548 * np.where(x > 0, x, 1.67326324235438 * np.expm1(np.minimum(x, 0))),
        -1.05070098735548 * 1.67326324235438,
        1.05070098735548e4,
    ),
    "sigmoid": (logistic, 0.0, 1.0),
    "silu": (lambda x: x * logistic(x), 0.0, 1e4),
    "soft_sign": (lambda x: x / (1 + np.abs(x)), -1e4 / 10001, 1e4 / 10001),
    "softplus": (log1pexp, 0.0, 1e4),
    "sparse_plus": (lambda x: np.where(x <= -1, 0, np.where(x >= 1, x, (x + 1) ** 2 / 4)), 0.0, 1e4),
    "sparse_sigmoid": (lambda x: np.clip((x + 1) / 2, 0, 1), 0.0, 1.0),
    "squareplus": (lambda x: (x + np.sqrt(x * x + 4)) / 2, 1e-4, 1e4 + 1e-4),
    "swish": (lambda x: x * logistic(x), 0.0, 1e4),
    "tanh": (np.tanh, -1.0, 1.0),
}
#: Where the pieces of piecewise functions meet.
KINKS = np.array([-3.0, -1.0, 0.0, 1.0, 3.0, 6.0])
activations = pytest.mark.parametrize("name", ACTIVATIONS)


def test_every_activation_is_tested():
    assert set(nn.activations.__all__) == {*ACTIVATIONS, "glu", "prelu"}


@activations
def test_activation_values(name):
    f, (reference, left, right) = getattr(nn, name), ACTIVATIONS[name]
    x = np.concatenate([np.linspace(-7, 7, 57), KINKS])
    np.testing.assert_allclose(f(x), reference(x), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(f(np.array([-1e4, 1e4])), [left, right], rtol=1e-8, atol=1e-300)
    assert np.isnan(f(np.array([np.nan]))).all()


@activations
def test_activation_derivatives(name):
    f = getattr(nn, name)
    x = draw(9) * 3
    x = x[np.min(np.abs(x[:, None] - KINKS), axis=1) > 1e-2]
    check_grads(f, (x,), order=2)
    slopes = fg.vmap(fg.grad(f))(np.array([-1e4, -1.0, 0.0, 1.0, 1e4]))
    curvatures = fg.vmap(fg.grad(fg.grad(f)))(np.array([-1e4, -1.0, 0.0, 1.0, 1e4]))
    assert np.isfinite(slopes).all() and np.isfinite(curvatures).all()
    assert slopes[4] == pytest.approx(
        {"log_sigmoid": 0, "sigmoid": 0, "tanh": 0, "relu6": 0, "selu": 1.05070098735548, "soft_sign": 0}.get(
            name, 0.0 if name.startswith(("hard_sig", "hard_tanh", "sparse_sig")) else 1.0
        ),
        abs=1e-7,
    )


@activations
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_activation_dtypes(name, dtype):
    f = getattr(nn, name)
    x = np.asarray([-1e4, -2.5, 0.0, 2.5, 1e4], dtype)
    assert f(x).dtype == dtype
    assert_close(fg.jit(f)(x), f(x))
    assert_close(fg.vmap(f)(x), f(x))
    # Kinks aside, halves are as good as doubles rounded.
    np.testing.assert_allclose(
        f(x), ACTIVATIONS[name][0](x.astype(np.float64)), rtol=8 * np.finfo(dtype).eps, atol=2e-4
    )
    slopes = fg.grad(lambda x: fnp.sum(f(x)))(x)
    assert slopes.dtype == dtype and np.isfinite(slopes).all()
    if name != "identity":
        assert f(np.arange(3)).dtype == f([1, 2]).dtype == np.float64


@pytest.mark.parametrize(
    ("name", "at", "slope"),
    [("relu", 0.0, 0.0), ("relu6", 0.0, 0.0), ("relu6", 6.0, 0.0), ("hard_tanh", 1.0, 0.0), ("hard_sigmoid", 3.0, 0.0)],
)
def test_at_a_kink_the_slope_is_that_of_the_flat_side(name, at, slope):
    assert fg.grad(getattr(nn, name))(at) == slope


def test_values_are_jaxs():
    jax = pytest.importorskip("jax", reason="JAX is an oracle of the activations")
    x = np.float32(draw(50) * 4)
    for name in sorted(set(ACTIVATIONS) & set(dir(jax.nn))):
        ours, theirs = getattr(nn, name), getattr(jax.nn, name)
        np.testing.assert_allclose(ours(x), theirs(x), rtol=3e-6, atol=3e-6, err_msg=name)
        slope = jax.vmap(jax.grad(theirs))(x)
        np.testing.assert_allclose(fg.vmap(fg.grad(ours))(x), slope, rtol=3e-5, atol=3e-6, err_msg=name)


def test_exact_gelu():
    x = np.linspace(-8, 8, 33)
    y = nn.gelu(x, approximate=False)
    np.testing.assert_allclose(y, x * normal_cdf(x), rtol=1e-13)
    check_grads(lambda x: nn.gelu(x, approximate=False), (draw(4),), order=2)
    assert nn.gelu(np.float16([300, -300])).tolist() == [300, 0]


def test_parameters_of_activations():
    x = np.array([-2.0, 3.0])
    assert nn.leaky_relu(x, 0.5).tolist() == [-1.0, 3.0]
    np.testing.assert_allclose(nn.celu(x, 2.0), [2 * math.expm1(-1), 3.0])
    np.testing.assert_allclose(nn.elu(x, 2.0), [2 * math.expm1(-2), 3.0])
    np.testing.assert_allclose(nn.squareplus(x, 0.0), [0.0, 3.0])
    alpha = np.array([0.5, 0.25])
    assert nn.prelu(np.array([[-2.0, 4.0], [2.0, -4.0]]), alpha).tolist() == [[-1.0, 4.0], [2.0, -1.0]]
    check_grads(nn.prelu, (draw(3, 2), alpha), order=2)


def test_glu():
    x = draw(3, 4)
    np.testing.assert_allclose(nn.glu(x), x[:, :2] * logistic(x[:, 2:]), rtol=1e-14)
    np.testing.assert_allclose(nn.glu(x[:2], axis=0), x[:1] * logistic(x[1:2]), rtol=1e-14)
    check_grads(nn.glu, (x,), order=2)
    with pytest.raises(OperandError, match="axis -1 has the odd size 3, and cannot be halved"):
        nn.glu(np.zeros(3))


def test_what_is_no_real_array_raises():
    with pytest.raises(OperandTypeError, match="nn.relu: x must be a real array, not complex128"):
        nn.relu(np.array([1j]))
    with pytest.raises(OperandTypeError, match="nn.sigmoid: x must be a real array, not str"):
        nn.sigmoid("x")
    with pytest.raises(OperandTypeError, match="nn.softmax: x must be a real array, not complex128"):
        nn.softmax(np.array([1j]))


# Softmax --------------------------------------------------------------------------------------------------------------


def plain_softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


SOFT = {"softmax": plain_softmax, "log_softmax": lambda x, axis=-1: np.log(plain_softmax(x, axis))}


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), None])
def test_softmax_values(axis):
    x = draw(2, 3, 4) * 5
    np.testing.assert_allclose(nn.softmax(x, axis), plain_softmax(x, axis), rtol=1e-13)
    np.testing.assert_allclose(nn.log_softmax(x, axis), np.log(plain_softmax(x, axis)), rtol=1e-13, atol=1e-15)
    want = np.log(np.sum(np.exp(x), axis=axis))
    np.testing.assert_allclose(nn.logsumexp(x, axis), want, rtol=1e-13)
    np.testing.assert_allclose(nn.logsumexp(x, axis, keepdims=True).ravel(), np.ravel(want), rtol=1e-13)
    for f in (nn.softmax, nn.log_softmax, nn.logsumexp):
        check_grads(lambda x, f=f: f(x, axis), (x,), order=2)
        assert_close(fg.vmap(lambda x, f=f: f(x, -1))(x), np.stack([f(row, -1) for row in x]))


def test_softmax_far_from_zero():
    x = np.array([[1e4, -1e4, 0.0], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4 + 1], [-np.inf, 0.0, np.inf * -1]])
    p = nn.softmax(x)
    np.testing.assert_allclose(p[:2], [[1, 0, 0], [1 / 3] * 3], rtol=1e-15)
    np.testing.assert_allclose(p[2], plain_softmax(np.array([0.0, 0, 1])), rtol=1e-13)
    np.testing.assert_array_equal(p[3], [0, 1, 0])
    np.testing.assert_allclose(
        nn.logsumexp(x, -1), [1e4, 1e4 + math.log(3), -1e4 + math.log(2 + math.e), 0], rtol=1e-15
    )
    np.testing.assert_array_equal(nn.log_softmax(x)[0], [0, -2e4, -1e4])
    for f in (nn.softmax, nn.log_softmax, lambda x: nn.logsumexp(x, -1)):
        w = np.asarray(np.cos(np.arange(f(x).size)).reshape(f(x).shape))
        gradient = fg.grad(lambda x, f=f, w=w: fnp.sum(fnp.where(fnp.isfinite(f(x)), f(x), 0) * w))(x)
        assert np.isfinite(gradient).all()


def test_a_row_of_minus_infinity():
    """0/0: no weights, and derivatives of zero rather than NaN."""
    x = np.full((2, 3), -np.inf)
    np.testing.assert_array_equal(nn.softmax(x), np.zeros((2, 3)))
    np.testing.assert_array_equal(nn.log_softmax(x), x)
    np.testing.assert_array_equal(nn.logsumexp(x, -1), [-np.inf, -np.inf])
    np.testing.assert_array_equal(fg.jacrev(nn.softmax)(x), np.zeros((2, 3, 2, 3)))
    np.testing.assert_array_equal(fg.jacfwd(nn.logsumexp)(x), np.zeros((2, 3)))
    np.testing.assert_array_equal(fg.hessian(nn.logsumexp)(x), np.zeros((2, 3, 2, 3)))
    assert np.isfinite(fg.jacrev(nn.log_softmax)(x)).all()


def test_no_plain_call_warns_or_hides_nan():
    assert np.isnan(nn.softmax(np.array([np.nan, 1.0]))).all()
    assert np.isnan(nn.softmax(np.array([np.inf, 1.0]))).any()
    assert nn.logsumexp(np.array([np.inf, 1.0])) == np.inf


@pytest.mark.parametrize("f", [nn.softmax, nn.log_softmax, lambda x, where: nn.logsumexp(x, -1, where=where)])
def test_where_is_leaving_out(f):
    x = draw(3, 4)
    where = np.array([True, False, True, True])
    got = f(x, where=where)
    want = f(x[:, where], where=None)
    np.testing.assert_allclose(got if got.ndim == 1 else got[:, where], want, rtol=1e-14)
    # What is left out has no influence, be it NaN.
    spoilt = np.where(where, x, np.nan)
    np.testing.assert_array_equal(f(spoilt, where=where), got)
    weights = draw(*want.shape, seed=1)

    def loss(x):
        y = f(x, where=where)
        return fnp.sum((y if y.ndim == 1 else y[:, where]) * weights)

    gradient = fg.grad(loss)(spoilt)
    np.testing.assert_array_equal(gradient[:, 1], 0)
    assert np.isfinite(gradient).all()


def test_the_derivative_of_softmax_is_its_closed_form():
    x = draw(5)
    p = plain_softmax(x)
    np.testing.assert_allclose(fg.jacfwd(nn.softmax)(x), np.diag(p) - np.outer(p, p), atol=1e-16)
    np.testing.assert_allclose(fg.grad(nn.logsumexp)(x), p, rtol=1e-14)
    np.testing.assert_allclose(fg.hessian(nn.logsumexp)(x), np.diag(p) - np.outer(p, p), atol=1e-16)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_softmax_keeps_its_dtype(dtype):
    x = np.full((2, 5000), 3, dtype)
    for f in (nn.softmax, nn.log_softmax, nn.logsumexp):
        y = f(x, 1)
        assert y.dtype == dtype and fg.jit(lambda x, f=f: f(x, 1))(x).dtype == dtype
        np.testing.assert_allclose(y, f(x.astype(np.float64), 1), rtol=2 * np.finfo(dtype).eps)


def names(jaxpr):
    for e in jaxpr.eqns:
        if e.primitive.name == "jit":
            yield e.params["name"]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("softmax", lambda x: nn.softmax(x)),
        ("log_softmax", lambda x: nn.log_softmax(x)),
        ("logsumexp", lambda x: nn.logsumexp(x)),
        ("standardize", lambda x: nn.standardize(x)),
        ("layer_norm", lambda x: nn.layer_norm(x)),
        ("rms_norm", lambda x: nn.rms_norm(x)),
        ("dot_product_attention", lambda x: nn.dot_product_attention(x, x, x)),
    ],
)
def test_named_calls_are_one_equation_in_every_transform(name, call):
    x = draw(2, 3, 2, 4)
    assert list(names(fg.make_jaxpr(call)(x))) == [name]
    assert list(names(fg.make_jaxpr(fg.vmap(call))(x))) == [f"vmap_{name}"]
    backward = list(names(fg.make_jaxpr(fg.grad(lambda x: fnp.sum(call(x))))(x)))
    assert backward and all(part.endswith(f"_{name}") for part in backward)


def test_sparsemax():
    np.testing.assert_allclose(nn.sparsemax(np.array([1.0, 0.5, -1.0])), [0.75, 0.25, 0])
    np.testing.assert_allclose(nn.sparsemax(np.array([[5.0, 0.0], [0.0, 0.0]])), [[1, 0], [0.5, 0.5]])
    x = draw(4, 6) * 2
    p = nn.sparsemax(x)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-14)
    # It is the nearest point of the simplex: no other is nearer.
    others = np.random.default_rng(1).dirichlet(np.full(6, 0.3), 200)
    assert (np.sum((others - x[:, None]) ** 2, -1) >= np.sum((p - x) ** 2, -1)[:, None]).all()
    np.testing.assert_allclose(nn.sparsemax(x.T, axis=0), p.T, rtol=1e-14)
    check_grads(nn.sparsemax, (x,), order=2)


# Linear maps and tables -----------------------------------------------------------------------------------------------


def test_linear():
    x, w, b = draw(2, 3, 4), draw(4, 5), draw(5)
    np.testing.assert_allclose(nn.linear(x, w, b), np.einsum("abi,io->abo", x, w) + b, rtol=1e-13)
    np.testing.assert_allclose(fg.vmap(lambda row: nn.linear(row, w, b))(x[0]), nn.linear(x[0], w, b), rtol=1e-13)
    check_grads(nn.linear, (x, w, b), order=2)
    assert nn.linear(*(a.astype(np.float32) for a in (x, w, b))).dtype == np.float32
    with pytest.raises(OperandError, match=r"x of shape \(2, 3\) does not fit a weight of shape \(4, 5\)"):
        nn.linear(np.zeros((2, 3)), w)
    with pytest.raises(OperandError, match=r"the bias must be of shape \(5,\), not \(1,\)"):
        nn.linear(x, w, np.zeros(1))


def test_embedding():
    table = draw(5, 3)
    ids = np.array([[0, 4], [2, 2]])
    np.testing.assert_array_equal(nn.embedding(ids, table), table[ids])
    gradient = fg.grad(lambda t: fnp.sum(nn.embedding(ids, t) ** 2) / 2)(table)
    np.testing.assert_allclose(gradient, table * np.array([1, 0, 2, 0, 1])[:, None])
    assert_close(fg.jit(lambda i: nn.embedding(i, table))(ids), table[ids])
    assert_close(fg.vmap(nn.embedding, in_axes=(0, None))(ids, table), table[ids])


@pytest.mark.parametrize("bad", [5, -1])
def test_an_id_out_of_range_raises(bad):
    ids = np.array([0, bad])
    with pytest.raises(OperandError, match=rf"ids must be from 0 to 4, but ids\[1\] is {bad}"):
        nn.embedding(ids, np.zeros((5, 2)))
    with pytest.raises(IndexError, match="out of bounds for axis 0 with size 5"):
        fg.jit(nn.embedding)(ids, np.zeros((5, 2)))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint64])
def test_ids_of_any_integer_type(dtype):
    table, ids = draw(300, 2), np.array([0, 99], dtype)
    np.testing.assert_array_equal(nn.embedding(ids, table), table[[0, 99]])
    np.testing.assert_array_equal(fg.jit(nn.embedding)(ids, table), table[[0, 99]])


def test_embedding_messages():
    with pytest.raises(OperandTypeError, match="ids must be integers from 0 to 4, not float64"):
        nn.embedding(np.zeros(2), np.zeros((5, 2)))
    with pytest.raises(OperandError, match=r"the table must be of shape \(count, width\), not \(5,\)"):
        nn.embedding([1], np.zeros(5))


def test_one_hot():
    x = np.array([[0, 2], [1, 3]])
    np.testing.assert_array_equal(nn.one_hot(x, 4), np.eye(4)[x])
    np.testing.assert_array_equal(nn.one_hot(x, 4, axis=1), np.moveaxis(np.eye(4)[x], -1, 1))
    np.testing.assert_array_equal(nn.one_hot(np.array([-1, 4]), 4), np.zeros((2, 4)))
    for dtype in (np.int8, np.uint8, np.uint64):  # some too small for the number of classes
        np.testing.assert_array_equal(nn.one_hot(dtype([1]), 300, dtype=np.float32), np.eye(300, dtype=np.float32)[[1]])
        np.testing.assert_array_equal(fg.jit(lambda i: nn.one_hot(i, 300))(dtype([1])), np.eye(300)[[1]])
    np.testing.assert_array_equal(fg.vmap(lambda i: nn.one_hot(i, 4))(x), np.eye(4)[x])
    with pytest.raises(OperandTypeError, match="x must be integers, not float64"):
        nn.one_hot(np.zeros(2), 3)


# Convolution and pooling ----------------------------------------------------------------------------------------------


def channels_first(x):
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


CONVOLUTIONS = [
    ((2, 9, 4), (3, 4, 6), dict(padding="VALID"), dict()),
    ((2, 7, 6, 4), (3, 2, 4, 6), dict(strides=2, padding=1), dict(stride=2, padding=1)),
    ((2, 7, 6, 4), (3, 3, 2, 6), dict(groups=2, padding=1), dict(groups=2, padding=1)),
    ((2, 8, 8, 3), (3, 2, 3, 2), dict(dilation=(2, 1), padding="VALID"), dict(dilation=(2, 1))),
    ((1, 5, 4, 5, 2), (2, 3, 2, 2, 3), dict(strides=(1, 2, 1), padding=0), dict(stride=(1, 2, 1))),
]


@pytest.mark.parametrize(("x_shape", "k_shape", "ours", "theirs"), CONVOLUTIONS)
def test_convolution_is_torchs(torch, x_shape, k_shape, ours, theirs):
    x, k, b = draw(*x_shape), draw(*k_shape), draw(k_shape[-1])
    rank = len(x_shape) - 2
    function = getattr(torch.nn.functional, f"conv{rank}d")
    kernel = np.ascontiguousarray(np.moveaxis(k, (-1, -2), (0, 1)))
    want = function(*map(torch.tensor, (channels_first(x), kernel, b)), **theirs).numpy()
    np.testing.assert_allclose(nn.conv(x, k, b, **ours), np.moveaxis(want, 1, -1), rtol=1e-11, atol=1e-12)
    check_grads(lambda x, k, b: nn.conv(x, k, b, **ours), (x, k, b), order=1)


def test_same_padding_keeps_the_size():
    x, k = draw(2, 7, 5, 3), draw(3, 4, 3, 2)
    assert nn.conv(x, k).shape == (2, 7, 5, 2)
    assert nn.conv(x, k, strides=2).shape == (2, 4, 3, 2)
    np.testing.assert_allclose(fg.jit(nn.conv)(x, k), nn.conv(x, k), rtol=1e-12)
    rows = fg.vmap(lambda row: nn.conv(row[None], k)[0])(x)
    np.testing.assert_allclose(rows, nn.conv(x, k), rtol=1e-12)
    check_grads(nn.conv, (x, k), order=2)
    assert nn.conv(np.float32(x), np.float32(k)).dtype == np.float32


def test_convolution_by_hand():
    x, k = draw(1, 5, 5, 2), draw(3, 3, 2, 1)
    want = [[np.sum(x[0, i : i + 3, j : j + 3] * k[..., 0]) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(nn.conv(x, k, padding="VALID")[0, ..., 0], want, rtol=1e-12)


@pytest.mark.parametrize(("strides", "padding"), [(1, 0), (2, 0), (3, 1), ((2, 1), 0)])
def test_transposed_convolution_is_torchs(torch, strides, padding):
    x, k, b = draw(2, 4, 5, 3), draw(3, 3, 3, 2), draw(2)
    # torch's padding takes away; its kernel is that of the convolution whose derivative this is: flipped, in and out.
    kernel = np.ascontiguousarray(np.moveaxis(k[::-1, ::-1], (-2, -1), (0, 1)))
    want = torch.nn.functional.conv_transpose2d(
        *map(torch.tensor, (channels_first(x), kernel, b)), stride=strides, padding=padding
    ).numpy()
    pads = [(2 - padding, 2 - padding)] * 2
    got = nn.conv_transpose(x, k, b, strides=strides, padding=pads)
    np.testing.assert_allclose(got, np.moveaxis(want, 1, -1), rtol=1e-11, atol=1e-12)
    check_grads(lambda x, k: nn.conv_transpose(x, k, strides=strides), (x, k))


def test_transposed_convolution_is_the_transpose():
    """<conv(x), y> = <x, conv_transpose(y)> with the kernel flipped and its channels swapped."""
    x, k = draw(1, 6, 8, 2), draw(2, 2, 2, 3)
    y = draw(*nn.conv(x, k, strides=2).shape, seed=1)
    turned = np.swapaxes(k[::-1, ::-1], -1, -2)
    left = np.sum(nn.conv(x, k, strides=2) * y)
    assert left == pytest.approx(np.sum(x * nn.conv_transpose(y, turned, strides=2)), rel=1e-12)
    assert nn.conv_transpose(y, turned, strides=2).shape == x.shape


def test_convolution_messages():
    with pytest.raises(OperandError, match=r"x of shape \(2, 5, 5, 3\) does not fit a kernel of shape \(3, 3, 4, 1\)"):
        nn.conv(np.zeros((2, 5, 5, 3)), np.zeros((3, 3, 4, 1)))
    with pytest.raises(OperandError, match="channels / 2 groups, out"):
        nn.conv(np.zeros((2, 5, 4)), np.zeros((3, 4, 1)), groups=2)
    with pytest.raises(OperandError, match="strides must be a positive integer or 2 of them, not 0"):
        nn.conv(np.zeros((2, 5, 5, 3)), np.zeros((3, 3, 3, 1)), strides=0)
    with pytest.raises(OperandError, match=r"padding must be a string, an integer or 2 pairs of them, not \(1, 1\)"):
        nn.conv(np.zeros((2, 5, 5, 3)), np.zeros((3, 3, 3, 1)), padding=(1, 1))
    with pytest.raises(OperandError, match=r"the bias must be of shape \(1,\), not \(2,\)"):
        nn.conv(np.zeros((2, 5, 5, 3)), np.zeros((3, 3, 3, 1)), np.zeros(2))
    with pytest.raises(OperandError, match=r"x must be \(batch, \*spatial, channels\), not of shape \(4, 4\)"):
        nn.max_pool(np.zeros((4, 4)), 2)


@pytest.mark.parametrize(("window", "strides", "padding"), [(2, None, 0), (3, 2, 1), ((2, 3), (1, 2), 1)])
def test_pooling_is_torchs(torch, window, strides, padding):
    x = draw(2, 7, 8, 3)
    t, f = torch.tensor(channels_first(x)), torch.nn.functional
    want = f.max_pool2d(t, window, strides, padding).numpy()
    got = nn.max_pool(x, window, strides, padding)
    np.testing.assert_array_equal(got, np.moveaxis(want, 1, -1))
    for include in (True, False):
        want = f.avg_pool2d(t, window, strides, padding, count_include_pad=include).numpy()
        got = nn.avg_pool(x, window, strides, padding, count_include_pad=include)
        np.testing.assert_allclose(got, np.moveaxis(want, 1, -1), rtol=1e-13)
    check_grads(lambda x: nn.max_pool(x, window, strides, padding), (x,), order=2)
    check_grads(lambda x: nn.avg_pool(x, window, strides, padding, False), (x,), order=2)


def test_pooling_by_hand():
    x = draw(2, 6, 4, 3)
    blocks = x.reshape(2, 3, 2, 2, 2, 3)
    np.testing.assert_array_equal(nn.max_pool(x, 2), blocks.max((2, 4)))
    np.testing.assert_allclose(nn.avg_pool(x, 2), blocks.mean((2, 4)), rtol=1e-14)
    np.testing.assert_array_equal(fg.jit(lambda x: nn.max_pool(x, 2))(x), blocks.max((2, 4)))
    np.testing.assert_array_equal(fg.vmap(lambda x: nn.max_pool(x, 2))(x[None])[0], blocks.max((2, 4)))
    assert nn.avg_pool(np.float16(x), 2, padding="SAME").dtype == np.float16


# Normalization --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [-1, 0, (1, 2)])
def test_standardize(axis):
    x = draw(3, 4, 5) * 3 + 7
    y = nn.standardize(x, axis, epsilon=0.0)
    np.testing.assert_allclose(y, (x - x.mean(axis, keepdims=True)) / x.std(axis, keepdims=True), rtol=1e-12)
    check_grads(lambda x: nn.standardize(x, axis), (x,), order=2)
    assert_close(fg.vmap(lambda x: nn.standardize(x, -1))(x), nn.standardize(x, -1))


def test_layer_norm_is_torchs(torch):
    x, scale, bias = draw(3, 4, 5) * 2 + 1, draw(5, seed=1), draw(5, seed=2)
    want = torch.nn.functional.layer_norm(*map(torch.tensor, (x,)), (5,), *map(torch.tensor, (scale, bias)))
    np.testing.assert_allclose(nn.layer_norm(x, scale, bias), want.numpy(), rtol=1e-12)
    t = [torch.tensor(a, requires_grad=True) for a in (x, scale, bias)]
    weights = draw(3, 4, 5, seed=3)
    (torch.nn.functional.layer_norm(t[0], (5,), t[1], t[2]) * torch.tensor(weights)).sum().backward()
    grads = fg.grad(lambda *a: fnp.sum(nn.layer_norm(*a) * weights), argnums=(0, 1, 2))(x, scale, bias)
    for got, of in zip(grads, t):
        np.testing.assert_allclose(got, of.grad.numpy(), rtol=1e-10, atol=1e-12)
    check_grads(nn.layer_norm, (x, scale, bias), order=2)


def test_layer_norm_of_the_course_notes_is_another():
    """The notes divide by the variance: (x - E x) / (Var x + eps). The standard, and hw2, divide by its root."""
    x = np.array([[1.0, 5.0, 0.0, 2.0]])
    notes = (x - x.mean()) / (x.var() + 1e-5)
    standard = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    np.testing.assert_allclose(nn.layer_norm(x), standard, rtol=1e-14)
    assert not np.allclose(notes, standard)
    np.testing.assert_allclose(nn.layer_norm(x) / np.sqrt(x.var() + 1e-5), notes, rtol=1e-14)


def test_rms_norm(torch):
    x, scale = draw(3, 5), draw(5, seed=1)
    np.testing.assert_allclose(
        nn.rms_norm(x, scale), x / np.sqrt(np.mean(x * x, -1, keepdims=True) + 1e-6) * scale, rtol=1e-14
    )
    check_grads(nn.rms_norm, (x, scale), order=2)
    want = torch.nn.functional.rms_norm(torch.tensor(x), (5,), torch.tensor(scale), 1e-6).numpy()
    np.testing.assert_allclose(nn.rms_norm(x, scale), want, rtol=1e-13)


def test_group_norm_is_torchs(torch):
    x, scale, bias = draw(2, 3, 4, 6) + 1, draw(6, seed=1), draw(6, seed=2)
    for groups in (1, 3, 6):
        want = torch.nn.functional.group_norm(
            torch.tensor(channels_first(x)), groups, torch.tensor(scale), torch.tensor(bias)
        )
        got = nn.group_norm(x, groups, scale, bias)
        np.testing.assert_allclose(got, np.moveaxis(want.numpy(), 1, -1), rtol=1e-11, atol=1e-12)
        check_grads(lambda *a, g=groups: nn.group_norm(a[0], g, *a[1:]), (x, scale, bias), order=2)
    with pytest.raises(OperandError, match="channels in 4 equal groups"):
        nn.group_norm(x, 4)


@pytest.mark.parametrize("shape", [(8, 3), (2, 4, 5, 3)])
def test_batch_norm_is_torchs(torch, shape):
    layer = (torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d)(3, dtype=torch.float64)
    scale, bias = draw(3, seed=1), draw(3, seed=2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(scale))
        layer.bias.copy_(torch.tensor(bias))
    state = nn.BatchNormState(np.zeros(3), np.ones(3))
    for seed in range(3):
        x = draw(*shape, seed=seed) * 2 + 3
        want = np.moveaxis(layer(torch.tensor(channels_first(x))).detach().numpy(), 1, -1)
        y, state = nn.batch_norm(x, state, scale, bias, train=True)
        np.testing.assert_allclose(y, want, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(state.mean, layer.running_mean.numpy(), rtol=1e-12)
        np.testing.assert_allclose(state.variance, layer.running_var.numpy(), rtol=1e-12)
    layer.eval()
    want = np.moveaxis(layer(torch.tensor(channels_first(x))).detach().numpy(), 1, -1)
    y, same = nn.batch_norm(x, state, scale, bias, train=False)
    np.testing.assert_allclose(y, want, rtol=1e-11, atol=1e-12)
    assert same is state


def test_batch_norm_by_hand():
    """hw2 of the course: new = (1 - m) old + m observed, m = 0.1, the running variance unbiased, epsilon 1e-5."""
    x = draw(6, 2) * 3
    state = nn.BatchNormState(np.full(2, 0.5), np.full(2, 2.0))
    y, new = nn.batch_norm(x, state, train=True)
    np.testing.assert_allclose(y, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), rtol=1e-13)
    np.testing.assert_allclose(new.mean, 0.9 * 0.5 + 0.1 * x.mean(0), rtol=1e-14)
    np.testing.assert_allclose(new.variance, 0.9 * 2 + 0.1 * x.var(0, ddof=1), rtol=1e-14)
    y, _ = nn.batch_norm(x, state, train=False)
    np.testing.assert_allclose(y, (x - 0.5) / np.sqrt(2 + 1e-5), rtol=1e-14)
    for train in (True, False):
        check_grads(lambda x, t=train: nn.batch_norm(x, state, train=t)[0], (x,), order=2)
    gradient = fg.grad(lambda x: fnp.sum(nn.batch_norm(x, state, train=True)[1].mean))(x)
    np.testing.assert_array_equal(gradient, 0)
    stepped = fg.jit(lambda x, s: nn.batch_norm(x, s, train=True))(np.float32(x), state)
    assert stepped[0].dtype == np.float32


def test_batch_norm_messages():
    state = nn.BatchNormState(np.zeros(3), np.ones(3))
    with pytest.raises(OperandError, match=r"x of shape \(4, 2\) does not fit a state of \(3,\)"):
        nn.batch_norm(np.zeros((4, 2)), state, train=False)
    with pytest.raises(OperandError, match="has 1 value a channel, which has no variance"):
        nn.batch_norm(np.zeros((1, 3)), state, train=True)


@pytest.mark.parametrize("f", [nn.standardize, nn.layer_norm, nn.rms_norm, lambda x: nn.group_norm(x, 2)])
def test_normalization_of_halves(f):
    x = np.float16(draw(3, 4) * 300)  # its squares overflow
    y = f(x)
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, f(x.astype(np.float64)), rtol=2e-3, atol=2e-3)
    assert np.isfinite(fg.grad(lambda x: fnp.sum(f(x) * f(x)))(x)).all()
    assert f(np.float32(x)).dtype == np.float32
    assert_close(fg.jit(f)(x), y)


def test_normalization_of_a_constant():
    x = np.full((2, 4), 3.0)
    assert np.isfinite(fg.jacrev(nn.layer_norm)(x)).all()
    np.testing.assert_array_equal(nn.layer_norm(x), 0)


# Dropout --------------------------------------------------------------------------------------------------------------


def test_dropout():
    key, x = fg.random.key(0), draw(50, 40) + 5
    y = nn.dropout(key, x, 0.25)
    kept = y != 0
    assert abs(kept.mean() - 0.75) < 0.03  # three standard deviations
    np.testing.assert_allclose(y[kept], x[kept] / 0.75, rtol=1e-15)
    np.testing.assert_array_equal(nn.dropout(key, x, 0.25), y)
    np.testing.assert_array_equal(fg.jit(lambda k, x: nn.dropout(k, x, 0.25))(key, x), y)
    assert (nn.dropout(fg.random.key(1), x, 0.25) != y).any()
    assert nn.dropout(key, x, 0.25, train=False) is x and nn.dropout(None, x, 0.0) is x
    assert nn.dropout(key, np.float32(x), 0.25).dtype == np.float32


def test_dropout_derivatives():
    key, x = fg.random.key(3), draw(20)
    mask = nn.dropout(key, np.ones(20), 0.5)
    np.testing.assert_array_equal(fg.grad(lambda x: fnp.sum(nn.dropout(key, x, 0.5)))(x), mask)
    _, t = fg.jvp(lambda x: nn.dropout(key, x, 0.5), (x,), (np.ones(20),))
    np.testing.assert_array_equal(t, mask)
    check_grads(lambda x: nn.dropout(key, x, 0.5) ** 3, (x,), order=2)
    keys = fg.random.split(key, 3)
    xs = draw(3, 20)
    rows = fg.vmap(lambda k, x: nn.dropout(k, x, 0.5))(keys, xs)
    np.testing.assert_array_equal(rows, [nn.dropout(k, x, 0.5) for k, x in zip(keys, xs)])
    gradient = fg.vmap(fg.grad(lambda x, k: fnp.sum(nn.dropout(k, x, 0.5))))(xs, keys)
    np.testing.assert_array_equal(gradient, [nn.dropout(k, np.ones(20), 0.5) for k in keys])


def test_the_mask_of_dropout_is_not_kept():
    """What linearize keeps for the tangents is the key; the compiled program draws the mask twice."""
    key = fg.random.key(0)
    _, pullback = fg.vjp(lambda x: nn.dropout(key, x, 0.5), draw(1000))
    held = [np.size(r) for r in fg.tree.leaves(pullback)]
    linear = fg.linearize(lambda x: nn.dropout(key, x, 0.5), draw(1000))[1]
    constants = [np.size(c) for c in fg.make_jaxpr(linear)(draw(1000)).consts]
    assert max([*held, *constants], default=0) <= 2
    source = fg.jit(fg.grad(lambda x: fnp.sum(nn.dropout(key, x, 0.5) ** 2))).lower(draw(1000)).as_text()
    assert source.count("where(") == 2


def test_dropout_messages():
    with pytest.raises(OperandError, match="the rate must be from 0 to below 1, not 1.0"):
        nn.dropout(fg.random.key(0), np.ones(3), 1.0)
    with pytest.raises(OperandError, match=r"in training it needs a key: pass key=fg.random.key\(seed\)"):
        nn.dropout(None, np.ones(3), 0.5)
    with pytest.raises(OperandTypeError, match=r"nn.dropout: the key is .* make one by `fg.random.key\(0\)`"):
        nn.dropout(0, np.ones(3), 0.5)


# Attention ------------------------------------------------------------------------------------------------------------


def plain_attention(q, k, v, allowed=None, bias=0.0):
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    for n in range(q.shape[-2]):
        s = q[:, n] @ k[:, n].T / math.sqrt(q.shape[-1]) + (bias if np.ndim(bias) == 0 else bias[n])
        s = s if allowed is None else np.where(allowed, s, -np.inf)
        out[:, n] = plain_softmax(s) @ v[:, n]
    return out


def test_attention_by_hand():
    q, k, v = draw(3, 2, 4), draw(5, 2, 4, seed=1), draw(5, 2, 6, seed=2)
    bias = draw(2, 3, 5)
    np.testing.assert_allclose(nn.dot_product_attention(q, k, v), plain_attention(q, k, v), rtol=1e-12)
    got = nn.dot_product_attention(q, k, v, bias)
    np.testing.assert_allclose(got, plain_attention(q, k, v, bias=bias), rtol=1e-12)
    causal = np.tri(3, 5, dtype=bool)
    want = plain_attention(q, k, v, causal)
    np.testing.assert_allclose(nn.dot_product_attention(q, k, v, is_causal=True), want, rtol=1e-12)
    np.testing.assert_allclose(nn.dot_product_attention(q, k, v, mask=causal), want, rtol=1e-12)
    np.testing.assert_allclose(nn.dot_product_attention(q, k, v, scale=1.0), plain_attention(2 * q, k, v), rtol=1e-12)
    check_grads(nn.dot_product_attention, (q, k, v, bias), order=2)
    check_grads(lambda *a: nn.dot_product_attention(*a, is_causal=True), (q, k, v), order=2)
    rows = fg.vmap(nn.dot_product_attention)(*(np.stack([a, a + 1]) for a in (q, k, v)))
    np.testing.assert_allclose(rows[1], plain_attention(q + 1, k + 1, v + 1), rtol=1e-12)
    # A batch is further leading axes.
    batch = nn.dot_product_attention(*(np.stack([a, a + 1]) for a in (q, k, v)))
    np.testing.assert_allclose(batch, rows, rtol=1e-12)


def test_attention_is_torchs(torch):
    q, k, v = draw(2, 4, 3, 8), draw(2, 6, 3, 8, seed=1), draw(2, 6, 3, 8, seed=2)
    mask = draw(2, 3, 4, 6) > -1
    mask[..., 0] = True
    heads_first = [torch.tensor(np.swapaxes(a, 1, 2)) for a in (q, k, v)]
    want = torch.nn.functional.scaled_dot_product_attention(*heads_first, attn_mask=torch.tensor(mask)).numpy()
    np.testing.assert_allclose(nn.dot_product_attention(q, k, v, mask=mask), np.swapaxes(want, 1, 2), rtol=1e-11)


def test_a_query_that_may_look_nowhere_gets_zeros():
    q = draw(3, 1, 4)
    mask = np.array([[True, True, False], [False] * 3, [True] * 3])
    y = nn.dot_product_attention(q, q, q, mask=mask)
    np.testing.assert_array_equal(y[1], 0)
    grads = fg.grad(lambda *a: fnp.sum(nn.dot_product_attention(*a, mask=mask) ** 2), argnums=(0, 1, 2))(q, q, q)
    assert all(np.isfinite(g).all() for g in grads)
    np.testing.assert_array_equal(grads[0][1], 0)


def test_heads_of_keys_may_be_shared():
    q, k, v = draw(3, 4, 2), draw(5, 2, 2, seed=1), draw(5, 2, 2, seed=2)
    want = nn.dot_product_attention(q, np.repeat(k, 2, 1), np.repeat(v, 2, 1))
    np.testing.assert_allclose(nn.dot_product_attention(q, k, v), want, rtol=1e-14)


def test_attention_in_halves_is_computed_in_singles():
    q = np.float16(draw(4, 1, 8) * 20)
    y = nn.dot_product_attention(q, q, q)
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, nn.dot_product_attention(*[q.astype(np.float64)] * 3), rtol=2e-3)


def test_the_passes_of_attention_share_their_weights_in_a_program():
    q = draw(2, 5, 2, 4)
    loss = lambda q, k, v: fnp.sum(nn.dot_product_attention(q, k, v, is_causal=True) ** 2)
    text = fg.jit(fg.grad(loss, (0, 1, 2))).lower(q, q, q).as_text("simplified")
    assert text.count("= exp ") == 1
    assert text.count("= dot_general") == 6


def test_dropout_in_attention():
    q = draw(6, 2, 4)
    y = nn.dot_product_attention(q, q, q, dropout_rate=0.5, dropout_key=fg.random.key(0))
    assert (y != nn.dot_product_attention(q, q, q)).any()
    # Weights of zero or twice: over many keys the mean is the result without.
    many = fg.vmap(lambda k: nn.dot_product_attention(q, q, q, dropout_rate=0.5, dropout_key=k))
    means = many(fg.random.split(fg.random.key(1), 2000)).mean(0)
    np.testing.assert_allclose(means, nn.dot_product_attention(q, q, q), atol=0.15)
    check_grads(
        lambda q: nn.dot_product_attention(q, q, q, dropout_rate=0.5, dropout_key=fg.random.key(0)), (q,), order=2
    )
    with pytest.raises(OperandError, match="in training it needs a key"):
        nn.dot_product_attention(q, q, q, dropout_rate=0.5)


def test_attention_messages():
    q = np.zeros((3, 2, 4))
    with pytest.raises(OperandError, match=r"query \(3, 2, 4\), key \(3, 2, 5\) and value \(3, 2, 4\) do not fit"):
        nn.dot_product_attention(q, np.zeros((3, 2, 5)), q)
    with pytest.raises(OperandTypeError, match="mask must be boolean, true where a query may look, not float64"):
        nn.dot_product_attention(q, q, q, mask=np.zeros((3, 3)))
    for what, array in (("mask", np.ones((5, 3), bool)), ("bias", np.zeros((4, 2, 3, 3)))):
        with pytest.raises(OperandError, match=rf"the {what} of shape .* does not broadcast .* are \(2, 3, 3\)"):
            nn.dot_product_attention(q, q, q, **{what: array})


# Recurrence -----------------------------------------------------------------------------------------------------------


def recurrent(gates, batch=(2,), time=4, inputs=3, hidden=5):
    shapes = [(*batch, time, inputs), (*batch, hidden), (inputs, gates * hidden), (hidden, gates * hidden)]
    return [draw(*s, seed=i) / 2 for i, s in enumerate([*shapes, (gates * hidden,), (gates * hidden,)])]


def load(torch, kind, wx, wh, bx, bh):
    cell = getattr(torch.nn, kind)(wx.shape[0], wh.shape[0], batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for name, value in (("weight_ih", wx.T), ("weight_hh", wh.T), ("bias_ih", bx), ("bias_hh", bh)):
            getattr(cell, f"{name}_l0").copy_(torch.tensor(np.ascontiguousarray(value)))
    return cell


def test_rnn_is_torchs(torch):
    x, h, wx, wh, bx, bh = recurrent(1)
    want, last = load(torch, "RNN", wx, wh, bx, bh)(torch.tensor(x), torch.tensor(h[None]))
    ys, state = nn.rnn(x, h, wx, wh, bx + bh)
    np.testing.assert_allclose(ys, want.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(state, last[0].detach().numpy(), rtol=1e-12)


def test_lstm_is_torchs(torch):
    x, h, wx, wh, bx, bh = recurrent(4)
    c = draw(2, 5, seed=9)
    want, (hn, cn) = load(torch, "LSTM", wx, wh, bx, bh)(
        torch.tensor(x), (torch.tensor(h[None]), torch.tensor(c[None]))
    )
    ys, state = nn.lstm(x, nn.LSTMState(h, c), wx, wh, bx + bh)
    np.testing.assert_allclose(ys, want.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(state.h, hn[0].detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(state.c, cn[0].detach().numpy(), rtol=1e-12)


def test_gru_is_torchs(torch):
    x, h, wx, wh, bx, bh = recurrent(3)
    want, last = load(torch, "GRU", wx, wh, bx, bh)(torch.tensor(x), torch.tensor(h[None]))
    ys, state = nn.gru(x, h, wx, wh, bx, bh)
    np.testing.assert_allclose(ys, want.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(state, last[0].detach().numpy(), rtol=1e-12)


def test_recurrence_by_hand():
    x, h, wx, wh, b, _ = recurrent(1, batch=())
    ys, last = nn.rnn(x, h, wx, wh, b, activation=nn.relu)
    for t in range(4):
        h = np.maximum(x[t] @ wx + h @ wh + b, 0)
        np.testing.assert_allclose(ys[t], h, rtol=1e-13)
    np.testing.assert_array_equal(last, ys[-1])


RECURRENT = {
    "rnn": (nn.rnn, 1),
    "rnn of relu": (partial(nn.rnn, activation=nn.relu), 1),
    "rnn of sin": (partial(nn.rnn, activation=fnp.sin), 1),
    "lstm": (nn.lstm, 4),
    "gru": (nn.gru, 3),
}


@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_laws(kind):
    f, gates = RECURRENT[kind]
    x, h, wx, wh, b, _ = recurrent(gates)

    def run(x, h, wx, wh, b):
        state = nn.LSTMState(h, h) if kind == "lstm" else h
        return f(x, state, wx, wh, b)

    args = (x, h, wx, wh, b)
    check_grads(run, args, order=2)
    assert_close(fg.jit(run)(*args), run(*args))
    rows = fg.vmap(run, in_axes=(0, 0, None, None, None))(*args)
    assert_close(rows, run(*args))
    sets = [np.stack([a, a / 2]) for a in args]
    for mapped in ((None, None, 0, 0, 0), (0, 0, 0, 0, 0)):
        given = [s if m == 0 else a for s, a, m in zip(sets, args, mapped, strict=True)]
        loss = lambda *a: fnp.sum(fnp.sin(run(*a)[0]))
        found = fg.vmap(fg.grad(loss, (0, 1, 2, 3, 4)), in_axes=mapped)(*given)
        want = [
            fg.grad(loss, (0, 1, 2, 3, 4))(*(g[i] if m == 0 else g for g, m in zip(given, mapped, strict=True)))
            for i in range(2)
        ]
        assert_close(found, fg.tree.map(lambda *x: np.stack(x), *want))
    none, last = f(x[:, :0], nn.LSTMState(h, h) if kind == "lstm" else h, wx, wh, b)
    assert none.shape == (2, 0, 5)
    assert_close(fg.tree.leaves(last)[0], h)
    # Two halves with the state handed on are the whole.
    first, state = f(x[:, :2], nn.LSTMState(h, h) if kind == "lstm" else h, wx, wh, b)
    second, state = f(x[:, 2:], state, wx, wh, b)
    assert_close((np.concatenate([first, second], 1), state), run(*args))
    single = run(*(np.float32(a) for a in args))
    assert all(leaf.dtype == np.float32 for leaf in fg.tree.leaves(single))


def test_recurrent_messages():
    x, h, wx, wh, b, _ = recurrent(4)
    with pytest.raises(OperandError, match=r"the state must be nn.LSTMState\(h, c\)"):
        nn.lstm(x, h, wx, wh, b)
    with pytest.raises(OperandError, match=r"the state must be of shape \(2, 5\) for this x, not \(5,\)"):
        nn.lstm(x, nn.LSTMState(h[0], h[0]), wx, wh, b)
    with pytest.raises(OperandError, match=r"must be \(\.\.\., time, in\) and \(hidden, 3 hidden\)"):
        nn.gru(x, h, wx, wh, b)
    with pytest.raises(OperandError, match="weight_x makes 3 gates, and weight_h 20; they must be as many"):
        nn.lstm(x, nn.LSTMState(h, h), wx[:, :3], wh)


# Shapes and dtypes ----------------------------------------------------------------------------------------------------


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
    name=st.sampled_from(["relu", "gelu", "softmax", "log_softmax", "sparsemax", "layer_norm", "rms_norm", "silu"]),
)
def test_shape_and_dtype_are_kept(shape, dtype, name):
    x = np.asarray(np.random.default_rng(0).standard_normal(shape), dtype)
    f = getattr(nn, name)
    y = f(x)
    assert y.shape == shape and y.dtype == dtype
    assert fg.eval_shape(f, x) == fg.ShapeDtypeStruct(shape, dtype)
    gradient = fg.grad(lambda x: fnp.sum(f(x)))(x)
    assert gradient.shape == shape and gradient.dtype == dtype
