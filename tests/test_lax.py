"""The strict operations: values against NumPy and naive loops, staged and eager; what they refuse."""

import itertools
from functools import partial

import numpy as np
import pytest
from numpy_oracle import assert_same, staged

import funcgrad as fg
from funcgrad import lax
from funcgrad.core.errors import OperandError, OperandTypeError
from funcgrad.testing import check_grads

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))


def normal(*shape):
    return RNG.normal(size=shape)


def both(function, want, *args, tolerance=1e-12):
    assert_same(staged(function, *args), want, tolerance)
    assert_same(function(*args), want, tolerance)


# Elementwise ----------------------------------------------------------------------------------------------------------


def test_scalars_take_the_dtype_of_the_array():
    both(lambda x: lax.add(x, 1), X + 1, X)
    both(lambda x: lax.mul(2.0, x), X.astype("f4") * 2, X.astype("f4"))
    assert lax.add(1, 2) == 3
    assert fg.jit(lax.add)(X.astype("f4"), 1.5).dtype == np.float32
    assert lax.sin(0.5) == np.sin(0.5)


def test_integer_division_truncates():
    x, y = np.array([7, -7, 7, -7, 0, 6]), np.array([2, 2, -2, -2, 3, 3])
    both(lax.div, np.trunc(x / y).astype(int), x, y)
    both(lax.rem, np.fmod(x, y), x, y)
    both(lax.div, np.array([3, 2], np.uint8), np.array([7, 8], np.uint8), np.array([2, 3], np.uint8))
    both(lax.div, X / Y, X, Y)


def test_rounding():
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.3, 0.49999999999999994])
    both(lax.round, np.array([1.0, 2.0, 3.0, -1.0, -2.0, 0.0, 0.0]), x)
    both(lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN), np.round(x), x)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint16"])
def test_shifts(dtype):
    x = np.array([1, 7, 100, -5, -128]).astype(dtype)
    for k in (0, 1, 3, 7):
        y = np.full(5, k, dtype)
        unsigned = np.dtype(f"u{x.itemsize}")
        both(lax.shift_right_logical, (x.view(unsigned) >> y.view(unsigned)).view(dtype), x, y)
        both(lax.shift_right_arithmetic, x >> y, x, y)
        both(lax.shift_left, x << y, x, y)


def test_choices():
    both(lambda x: lax.clamp(-0.5, x, 0.5), np.clip(X, -0.5, 0.5), X)
    both(lax.select, np.where(X > 0, X, Y), X > 0, X, Y)
    both(lax.select_n, np.where(X > 0, Y, X), X > 0, X, Y)
    which = RNG.integers(0, 3, (3, 4))
    both(lax.select_n, np.choose(which, [X, Y, -X]), which, X, Y, -X)


def test_powers():
    both(lax.pow, np.abs(X) ** 3, np.abs(X), np.full((3, 4), 3))
    both(lambda x: lax.integer_pow(x, -2), X**-2.0, X)
    both(lax.square, X * X, X)
    both(lax.reciprocal, 1 / X, X)
    both(lax.complex, X + 1j * Y, X, Y)


# Structure ------------------------------------------------------------------------------------------------------------


def test_structure():
    both(lambda x: lax.transpose(x, (1, 0)), X.T, X)
    both(lambda x: lax.reshape(x, (2, 6), (1, 0)), X.T.reshape(2, 6), X)
    both(lambda x: lax.collapse(x, 0, 2), X.ravel(), X)
    both(lambda x: lax.rev(x, (1,)), X[:, ::-1], X)
    both(lambda x: lax.expand_dims(x, (0, -1)), X[None, ..., None], X)
    both(lambda x: lax.squeeze(lax.expand_dims(x, (0,)), (0,)), X, X)
    both(lambda x: lax.broadcast(x, (2,)), np.broadcast_to(X, (2, 3, 4)), X)
    both(lambda x: lax.broadcast_in_dim(x, (3, 2, 4), (0, 2)), np.broadcast_to(X[:, None], (3, 2, 4)), X)
    both(lambda x, y: lax.concatenate([x, y], 1), np.concatenate([X, Y], 1), X, Y)
    both(lambda x: lax.split(x, (1, 3), 1), np.split(X, [1], 1), X)
    padded = np.zeros((5, 6))
    padded[1:4, ::2] = X[:, :3]
    both(lambda x: lax.pad(x, 0.0, ((1, 1, 0), (0, -1, 1))), padded, X)
    assert_same(lax.full((2,), 3, np.float32), np.full(2, 3, np.float32))
    assert_same(lax.full_like(X, 1), np.ones((3, 4)))
    assert_same(lax.iota(np.int32, 4), np.arange(4, dtype=np.int32))
    assert_same(lax.broadcasted_iota(np.int64, (2, 3), 1), np.broadcast_to(np.arange(3), (2, 3)))
    both(lambda x: lax.convert_element_type(x, np.float32), X.astype("f4"), X)


def test_slices():
    both(lambda x: lax.slice(x, (0, 1), (3, 4), (2, 1)), X[::2, 1:], X)
    both(lambda x: lax.slice_in_dim(x, 1, -1, axis=1), X[:, 1:-1], X)
    both(lambda x: lax.index_in_dim(x, -1, 1, keepdims=False), X[:, -1], X)
    both(lambda x, k: lax.dynamic_slice(x, (k, 0), (2, 2)), X[1:3, :2], X, np.int64(1))
    both(lambda x, k: lax.dynamic_slice(x, k, (2, 2)), X[1:3, 2:4], X, np.array([1, 2]))
    both(lambda x, k: lax.dynamic_slice_in_dim(x, k, 2, 1), X[:, 1:3], X, np.int32(1))
    both(lambda x, k: lax.dynamic_index_in_dim(x, k, 0, keepdims=False), X[1], X, np.int32(1))
    want = X.copy()
    want[1] = Y[0]
    both(lambda x, v: lax.dynamic_update_index_in_dim(x, v, 1, 0), want, X, Y[0])
    both(lambda x, v: lax.dynamic_update_slice_in_dim(x, v, 1, 0), want, X, Y[:1])
    both(lambda x, v, k: lax.dynamic_update_slice(x, v, (k, 0)), want, X, Y[:1], np.int64(1))
    for start in (-1, 2):
        with pytest.raises(IndexError):
            lax.dynamic_slice(X, (start, 0), (2, 2))
        with pytest.raises(IndexError):
            staged(lambda x, k: lax.dynamic_slice(x, (k, 0), (2, 2)), X, np.int64(start))


# Reductions and sorting -----------------------------------------------------------------------------------------------


def test_reductions():
    both(lambda x: lax.reduce_sum(x, (1,)), X.sum(1), X)
    both(lambda x: lax.reduce(x, -9.0, lax.max, (0,)), X.max(0), X)
    both(lambda x: lax.reduce(x, 1.0, lax.add, (0, 1)), X.sum() + 1, X)
    both(lambda x: lax.argmax(x, 1), X.argmax(1), X)
    both(lambda x: lax.argmin(x, -1, np.int32), X.argmin(1).astype(np.int32), X)
    both(lambda x: lax.cumsum(x, 1, reverse=True), X[:, ::-1].cumsum(1)[:, ::-1], X)
    both(lambda x: lax.cummax(x, 1), np.maximum.accumulate(X, 1), X)


@pytest.mark.parametrize("reverse", [False, True])
def test_cumlogsumexp(reverse):
    x = normal(9) * 300
    x[0] = -1e4
    want = np.logaddexp.accumulate(x[::-1])[::-1] if reverse else np.logaddexp.accumulate(x)
    both(lambda x: lax.cumlogsumexp(x, 0, reverse), want, x)
    check_grads(lambda x: lax.cumlogsumexp(x, 0, reverse), (normal(5),), order=2)


def test_sorting():
    both(lambda x: lax.sort(x, 0), np.sort(X, 0), X)
    a, b, c = RNG.integers(0, 3, 20), RNG.integers(0, 3, 20), np.arange(20)
    order = np.lexsort((b, a))
    for stable in (True, False):
        both(partial(lax.sort, is_stable=stable), np.sort(a), a)
        got = lax.sort((b, a, c), is_stable=stable, num_keys=2)
        assert_same(got[:2], (np.sort(b), a[np.lexsort((a, b))]))
        assert_same((b[got[2]], a[got[2]]), got[:2])
    both(lambda *k: lax.sort(k, num_keys=2), (a[order], b[order], c[order]), a, b, c)
    x = np.array([3.0, 1.0, np.nan, 3.0, 2.0])
    both(lambda x: lax.top_k(x, 3), (x[[2, 0, 3]], np.array([2, 0, 3])), x)
    values, index = lax.top_k(X, 2, axis=0)
    assert_same(values, np.sort(X, 0)[:-3:-1])
    assert_same(index, np.argsort(-X, 0)[:2])
    check_grads(lambda x: lax.top_k(x, 2)[0], (X,), order=2)


# Contraction ----------------------------------------------------------------------------------------------------------


def test_products():
    both(lax.dot, X @ Y.T, X, Y.T.copy())
    both(lax.dot, X[0] @ Y[0], X[0], Y[0])
    a, b = normal(2, 3, 4), normal(2, 4, 5)
    both(lax.batch_matmul, a @ b, a, b)
    both(lambda a, b: lax.dot_general(a, b, (((2,), (1,)), ((0,), (0,)))), a @ b, a, b)
    half = np.full((2, 2), 300, np.float16)
    both(lambda a: lax.dot(a, a, preferred_element_type=np.float32), np.full((2, 2), 180000, np.float32), half)


def naive_convolution(x, w, strides, padding, lhs_dilation, rhs_dilation, groups=1):
    """x [N, C, H, W] and w [O, C / groups, h, w], by loops over every place of the result and of the kernel."""
    (n, _, *size), (out, into, *kernel) = x.shape, w.shape
    every = slice(None)
    spread = np.zeros((*x.shape[:2], *((s - 1) * d + 1 for s, d in zip(size, lhs_dilation))))
    spread[(every, every, *(slice(None, None, d) for d in lhs_dilation))] = x
    spread = np.pad(spread, [(0, 0), (0, 0), *((max(a, 0), max(b, 0)) for a, b in padding)])
    cut = tuple(slice(max(-a, 0), m - max(-b, 0)) for (a, b), m in zip(padding, spread.shape[2:]))
    spread = spread[(every, every, *cut)]
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, rhs_dilation)]
    places = [(m - e) // s + 1 for m, e, s in zip(spread.shape[2:], extent, strides)]
    y = np.zeros((n, out, *places))
    for place in itertools.product(*map(range, places)):
        for k in itertools.product(*map(range, kernel)):
            at = tuple(p * s + i * d for p, s, i, d in zip(place, strides, k, rhs_dilation))
            patch = spread[(every, every, *at)]
            for o in range(out):
                group = o // (out // groups)
                y[(every, o, *place)] += patch[:, group * into : (group + 1) * into] @ w[(o, every, *k)]
    return y


CONVOLUTIONS = [
    ((1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1), 1),
    ((2, 1), ((1, 2), (0, 1)), (1, 1), (1, 2), 1),
    ((1, 2), ((2, 2), (1, 1)), (2, 3), (1, 1), 2),
    ((1, 1), ((-1, 0), (1, -1)), (1, 1), (1, 1), 1),
]


@pytest.mark.parametrize(("strides", "padding", "lhs_dilation", "rhs_dilation", "groups"), CONVOLUTIONS)
def test_convolution(strides, padding, lhs_dilation, rhs_dilation, groups):
    x, w = normal(2, 4, 7, 6), normal(6, 4 // groups, 3, 2)
    want = naive_convolution(x, w, strides, padding, lhs_dilation, rhs_dilation, groups)

    def convolve(layout):
        return lambda x, w: lax.conv_general_dilated(
            x, w, strides, padding, lhs_dilation, rhs_dilation, layout, feature_group_count=groups
        )

    both(convolve(None), want, x, w, tolerance=1e-10)
    last, kernel = np.moveaxis(x, 1, -1).copy(), w.transpose(2, 3, 1, 0).copy()
    both(convolve(("NHWC", "HWIO", "NHWC")), np.moveaxis(want, 1, -1), last, kernel, tolerance=1e-10)
    axes = lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 1, 2, 3))
    both(convolve(axes), want, last, kernel, tolerance=1e-10)
    check_grads(convolve(None), (x, w), order=1)
    rows = fg.vmap(convolve(None), in_axes=(0, None))(np.stack([x, 2 * x]), w)
    assert_same(rows, np.stack([want, 2 * want]), 1e-10)


def test_named_padding():
    x, w = normal(1, 4, 7, 6), normal(6, 4, 3, 2)
    for padding, strides, pads in [
        ("SAME", (1, 1), ((1, 1), (0, 1))),
        ("SAME", (2, 3), ((1, 1), (0, 0))),
        ("SAME_LOWER", (1, 1), ((1, 1), (1, 0))),
        ("VALID", (2, 1), ((0, 0), (0, 0))),
    ]:
        both(lambda x, w, p=padding, s=strides: lax.conv(x, w, s, p), lax.conv(x, w, strides, pads), x, w)


def test_groups_of_the_batch():
    x, w = normal(4, 3, 5, 1), normal(6, 3, 2, 1)
    one, none = (1, 1), ((0, 0), (0, 0))
    halves = [naive_convolution(x[i : i + 2], w[j : j + 3], one, none, one, one) for i, j in ((0, 0), (2, 3))]
    want = np.concatenate(halves, 1)
    both(lambda x, w: lax.conv_general_dilated(x, w, one, "VALID", batch_group_count=2), want, x, w, tolerance=1e-10)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_convolution_is_the_gradient_of_a_convolution(stride, padding):
    """With ``transpose_kernel`` it is the transpose of the convolution with the same kernel, strides and padding."""
    y, w = normal(1, 12 // stride if padding == "SAME" else 4, 2), normal(3, 5, 2)
    up = lax.conv_transpose(y, w, (stride,), padding, transpose_kernel=True)
    layout = ("NHC", "HIO", "NHC")

    def down(x):
        return lax.conv_general_dilated(x, w, (stride,), padding, dimension_numbers=layout)

    assert down(up).shape == y.shape
    assert_same(fg.vjp(down, np.zeros_like(up))[1](y)[0], up, 1e-10)


@pytest.mark.parametrize(("name", "init"), [("add", 0.0), ("max", -np.inf), ("min", np.inf)])
def test_windows(name, init):
    x, computation = normal(5, 6), getattr(lax, name)
    reduce = {"add": np.sum, "max": np.max, "min": np.min}[name]
    padded = np.pad(x, ((1, 0), (0, 1)), constant_values=init)
    want = reduce(np.lib.stride_tricks.sliding_window_view(padded, (2, 3))[::2], (2, 3))

    def windows(x):
        return lax.reduce_window(x, init, computation, (2, 3), (2, 1), ((1, 0), (0, 1)))

    both(windows, want, x)
    check_grads(windows, (x,), order=2)
    apart = lax.reduce_window(x, init, computation, (2, 1), (1, 1), "VALID", window_dilation=(3, 1))
    assert_same(apart, reduce([x[:-3], x[3:]], 0))


def test_windows_of_integers():
    x = RNG.integers(-5, 5, 6)
    least = np.iinfo(np.int64).max
    both(lambda x: lax.reduce_window(x, least, lax.min, (2,), (1,), "VALID"), np.minimum(x[1:], x[:-1]), x)


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "text", "function"),
    [
        (OperandTypeError, "one dtype, not f64, f32", lambda x: lax.add(x, np.float32(1))),
        (OperandError, r"\(3, 4\), \(4,\)", lambda x: lax.add(x, Y[0])),
        (OperandTypeError, "type float does not fit operands of dtype i64", lambda x: lax.add(np.arange(3), 1.5)),
        (OperandTypeError, r"argument 0 is \[1, 2\] of type list", lambda x: lax.add([1, 2], 1)),
        (OperandTypeError, "sin takes operands of real, complex dtype", lambda x: lax.sin(np.arange(3))),
        (OperandError, r"12 elements of shape \(3, 4\) to \(5,\)", lambda x: lax.reshape(x, (5,))),
        (OperandError, r"\(3, 4\), \(3, 2\)", lambda x: lax.concatenate([x, Y[:, :2]], 0)),
        (OperandError, r"\(1,\) of \(3, 4\) and \(0,\) of \(3, 4\)", lambda x: lax.dot(x, Y)),
        (OperandError, r"filters of shape \(6, 1, 2\)", lambda x: lax.conv(x[None], normal(6, 1, 2), (1,), "SAME")),
        (OperandError, "'NHC'.*must hold", lambda x: lax.conv_general_dilated(
            x[None], x[None], (1,), "SAME", dimension_numbers=("NHC", "HWIO", "NHC"))),
        (OperandTypeError, "start index must be an integer", lambda x: lax.dynamic_slice(x, (1.0, 0), (1, 1))),
        (OperandTypeError, "boolean predicate", lambda x: lax.select(x, x, Y)),
        (OperandError, "k = 5 must be between 0 and 4", lambda x: lax.top_k(x, 5)),
        (OperandError, "lax.add, lax.max or lax.min", lambda x: lax.reduce_window(x, 1, lax.mul, (2, 2), (1, 1), "SAME")),
        (OperandError, "axis 2 is out of bounds", lambda x: lax.reduce_sum(x, (2,))),
    ],
)  # fmt: skip
def test_refusals_are_the_same_staged_and_eager(error, text, function):
    with pytest.raises(error, match=text):
        function(X)
    with pytest.raises(error, match=text):
        staged(function, X)


def test_every_name_is_documented():
    for name in lax.ops.__all__:
        assert getattr(lax, name).__doc__
        assert getattr(lax, name).__name__ == name


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"])
def test_cumulative_operations_are_those_of_jax(name, reverse):
    jax = pytest.importorskip("jax")
    x = np.random.default_rng(1).normal(size=(3, 4)) + 0.1
    with jax.enable_x64(True):
        for axis in (0, 1):
            ours = lambda v, axis=axis: getattr(lax, name)(v, axis, reverse)
            theirs = lambda v, axis=axis: getattr(jax.lax, name)(v, axis, reverse)
            both(ours, np.asarray(theirs(x)), x)
            np.testing.assert_allclose(fg.jacrev(ours)(x), jax.jacrev(theirs)(x), rtol=1e-12, atol=1e-14)
            check_grads(ours, (x,), order=2)


@pytest.mark.parametrize("k", [0, 1, 3])
def test_top_k_is_that_of_jax(k):
    jax = pytest.importorskip("jax")
    x = np.random.default_rng(2).normal(size=(2, 5))
    with jax.enable_x64(True):
        values, places = jax.lax.top_k(x, k)
        slope = jax.jacrev(lambda v: jax.lax.top_k(v, k)[0])(x)
    for f in (lambda v: lax.top_k(v, k), fg.jit(lambda v: lax.top_k(v, k))):
        np.testing.assert_array_equal(f(x)[0], values)
        np.testing.assert_array_equal(f(x)[1], places)
    np.testing.assert_array_equal(fg.jacrev(lambda v: lax.top_k(v, k)[0])(x), slope)
