"""The kernels under the emulation, in three orders of threads and checked, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcgrad as fg
from funcgrad_cuda_emu.emulator import EmulatedDevice, KernelError, why_not
from funcgrad_cupy.kernels import launches

ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 in NumPy needs ml_dtypes")
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

#: The error of a result, in the norm and relative, of a few roundings of a number of the dtype.
TOLERANCES = {"float64": 1e-14, "float32": 2e-6, "float16": 2e-3, "bfloat16": 1.2e-2}
#: What is below the smallest number of the dtype is lost, however small the result.
SMALLEST = {"float16": 2.0**-24}

#: Two dtypes in the fast subset: one is its own dtype of computation, one is not.
floats = pytest.mark.parametrize(
    "dtype",
    [
        np.dtype(np.float32),
        BFLOAT16,
        pytest.param(np.dtype(np.float16), marks=pytest.mark.slow),
        pytest.param(np.dtype(np.float64), marks=pytest.mark.slow),
    ],
    ids=str,
)
rows_and_columns = pytest.mark.parametrize("shape", [(1, 1), (3, 31), (2, 33), (2, 300), (0, 5)], ids=str)


def numbers(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def wide(x):
    return np.asarray(x, np.float64)


def close(found, expected, dtype):
    found, expected = wide(found), wide(expected)
    assert found.shape == expected.shape
    error = TOLERANCES[str(dtype)] * np.linalg.norm(expected) + SMALLEST.get(str(dtype), 1e-30) * np.sqrt(expected.size)
    assert np.linalg.norm(found - expected) <= error


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_softmax(x):
    d = x - x.max(-1, keepdims=True)
    return d - np.log(np.exp(d).sum(-1, keepdims=True))


# ---- moving ----


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32", "int64"])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1001])
def test_copy_and_fill(device, dtype, size):
    x = np.arange(size).astype(dtype)
    np.testing.assert_array_equal(device.get(launches.copy(device, device.put(x))), x)
    filled = launches.fill(device, (size,), np.dtype(dtype).type(-3))
    np.testing.assert_array_equal(device.get(filled).view(dtype), np.full(size, -3, dtype))


@pytest.mark.parametrize("origin", ["float32", "bfloat16", "int64", "bool"])
@pytest.mark.parametrize("target", ["float32", "bfloat16", "int32"])
def test_cast(device, origin, target):
    origin, target = (BFLOAT16 if t == "bfloat16" else np.dtype(t) for t in (origin, target))
    x = (10 * numbers(77, np.float64)).astype(origin)
    found = device.get(launches.cast(device, device.put(x), target))
    np.testing.assert_array_equal(found, x.astype(target))


@pytest.mark.parametrize("shape", [(1, 1), (31, 33), (2, 32, 65), (0, 3)], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_transpose(device, shape, dtype):
    x = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    np.testing.assert_array_equal(device.get(launches.transpose(device, device.put(x))), x.swapaxes(-1, -2))


def test_strided_copies(device):
    x = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    source = device.put(x)
    y = device.empty((5, 4, 3), np.float32)
    launches.strided_copy(device, y, source, (5, 4, 3), (12, 3, 1), (1, 5, 20))
    np.testing.assert_array_equal(device.get(y), x.T)
    spread = device.empty((2, 5), np.float32)
    launches.strided_copy(device, spread, source, (2, 5), (5, 1), (0, 1))
    np.testing.assert_array_equal(device.get(spread), np.broadcast_to(x[0, 0], (2, 5)))
    target = device.put(np.zeros((6, 5), np.float32))
    launches.strided_copy(device, target, source, (3, 5), (10, 1), (5, 1))
    expected = np.zeros((6, 5), np.float32)
    expected[::2] = x.reshape(12, 5)[:3]
    np.testing.assert_array_equal(device.get(target), expected)


# ---- softmax, norms ----


@floats
@rows_and_columns
@pytest.mark.parametrize("log", [False, True])
def test_softmax_and_its_transpose(device, dtype, shape, log):
    x, ct = numbers(shape, dtype), numbers(shape, dtype, 1)
    y = launches.softmax(device, device.put(x), log)
    expected = (log_softmax if log else softmax)(wide(x)) if x.size else x
    close(device.get(y), expected, dtype)
    found = device.get(launches.softmax_transposed(device, device.put(ct), y, log))
    used, c = wide(device.get(y)), wide(ct)
    jacobian = c - np.exp(used) * c.sum(-1, keepdims=True) if log else used * (c - (c * used).sum(-1, keepdims=True))
    assert np.linalg.norm(wide(found) - jacobian) <= TOLERANCES[str(dtype)] * (np.linalg.norm(c) + 1)


def test_softmax_of_large_and_of_impossible_logits(device):
    x = np.array([[1e30, 1e30, -1e30], [-np.inf, 0, 1]], np.float32)
    close(device.get(launches.softmax(device, device.put(x))), softmax(wide(x)), np.float32.__name__)


@floats
def test_cross_entropy_with_its_gradient(device, dtype):
    x, labels = numbers((5, 70), dtype), np.array([0, 69, 3, 3, 8])
    loss, dx, wrong = launches.cross_entropy(device, device.put(x), device.put(labels))
    close(device.get(loss), -log_softmax(wide(x))[np.arange(5), labels], dtype)
    close(device.get(dx), softmax(wide(x)) - np.eye(70)[labels], dtype)
    assert device.get(wrong) == 5


def test_a_label_out_of_range_is_noted(device):
    x, labels = device.put(numbers((4, 3), np.float32)), device.put(np.array([0, 2, 3, -1]))
    loss, _, wrong = launches.cross_entropy(device, x, labels)
    assert device.get(wrong) == 2
    np.testing.assert_array_equal(np.isnan(device.get(loss)), [False, False, True, True])


@floats
@pytest.mark.parametrize("shape", [(1, 2), (3, 31), (70, 33), (2, 300)], ids=str)
@pytest.mark.parametrize("centred", [True, False])
def test_norms_and_their_transposes(device, dtype, shape, centred):
    x, ct = numbers(shape, dtype), numbers(shape, dtype, 1)
    gamma, beta = numbers(shape[1:], dtype, 2), numbers(shape[1:], dtype, 3)
    dx_, dg_ = device.put(x), device.put(gamma)
    y, means, scales = launches.normalise(device, dx_, dg_, device.put(beta) if centred else None, 1e-5)
    mean = wide(x).mean(-1, keepdims=True) if centred else 0
    scale = 1 / np.sqrt(((wide(x) - mean) ** 2).mean(-1, keepdims=True) + 1e-5)
    n = (wide(x) - mean) * scale
    close(device.get(y), n * wide(gamma) + (wide(beta) if centred else 0), dtype)
    dx, dgamma, dbeta = launches.normalise_transposed(device, device.put(ct), dx_, means, scales, dg_)
    g = wide(ct) * wide(gamma)
    inner = (g * n).mean(-1, keepdims=True)
    expected = scale * (g - (g.mean(-1, keepdims=True) if centred else 0) - n * inner)
    # The terms cancel: the error is that of the largest of them.
    assert np.linalg.norm(wide(device.get(dx)) - expected) <= TOLERANCES[str(dtype)] * np.linalg.norm(scale * g)
    close(device.get(dgamma), (wide(ct) * n).sum(0), "float32" if dtype.itemsize < 8 else dtype)
    if centred:
        close(device.get(dbeta), wide(ct).sum(0), "float32" if dtype.itemsize < 8 else dtype)


# ---- random numbers ----


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_random_bits_are_those_of_funcgrad(device, dtype):
    key = fg.random.key(2**40 + 7)
    found = device.get(launches.random_bits(device, device.put(key), (3, 111), dtype))
    np.testing.assert_array_equal(found, fg.random.bits(key, (3, 111), dtype))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_random_fractions_are_those_of_funcgrad(device, dtype):
    key = fg.random.key(3)
    found = device.get(launches.random_uniform(device, device.put(key), (333,), dtype))
    np.testing.assert_array_equal(found, fg.random.uniform(key, (333,), dtype))


@floats
def test_dropout_throws_the_coins_of_bernoulli(device, dtype):
    key, x = fg.random.key(5), numbers(333, dtype)
    found = device.get(launches.dropout(device, device.put(x), device.put(key), 0.7))
    kept = fg.random.bernoulli(key, np.float32(0.7), (333,))
    close(found, np.where(kept, wide(x) / wide(np.float32(0.7)), 0), dtype)


# ---- optimizers ----


@floats
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_on_many_tensors_in_one_launch(device, dtype, decay):
    sizes, compute = [3, 0, 5000, 4096, 1], np.float64 if dtype.itemsize == 8 else np.float32
    given = [
        (numbers(n, dtype, n), numbers(n, dtype, n + 1), numbers(n, compute, n + 2), numbers(n, compute, n + 3) ** 2)
        for n in sizes
    ]
    tensors = [tuple(map(device.put, t)) for t in given]
    launches.adam(device, tensors, step=3, rate=0.01, decay=decay)
    for (p, g, m, v), after in zip(given, tensors):
        p, g, m, v = map(wide, (p, g, m, v))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p = p - 0.01 * (m / (1 - 0.9**3) / (np.sqrt(v / (1 - 0.999**3)) + 1e-8) + decay * p)
        close(device.get(after[0]), p, dtype)
        close(device.get(after[2]), m, np.dtype(compute))
        np.testing.assert_allclose(device.get(after[3]), v, rtol=1e-4)  # 1 - 0.999 in float32


@floats
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_on_many_tensors_in_one_launch(device, dtype, nesterov):
    compute = np.float64 if dtype.itemsize == 8 else np.float32
    given = [(numbers(n, dtype, n), numbers(n, dtype, n + 1), numbers(n, compute, n + 2)) for n in (7, 4097)]
    tensors = [tuple(map(device.put, t)) for t in given]
    launches.sgd(device, tensors, rate=0.1, momentum=0.9, nesterov=nesterov)
    for (p, g, v), after in zip(given, tensors):
        velocity = 0.9 * wide(v) + wide(g)
        close(device.get(after[2]), velocity, np.dtype(compute))
        close(device.get(after[0]), wide(p) - 0.1 * (wide(g) + 0.9 * velocity if nesterov else velocity), dtype)


# ---- rows by their numbers ----


@floats
def test_gathered_rows_and_their_transpose(device, dtype):
    table, indices = numbers((7, 33), dtype), np.array([3, 0, 6, 3, 3, 5])
    y, wrong = launches.gather_rows(device, device.put(table), device.put(indices))
    np.testing.assert_array_equal(device.get(y), table[indices])
    assert device.get(wrong) == 6
    ct, order = numbers((6, 33), dtype, 1), np.argsort(indices, stable=True)
    found = launches.segment_sum(device, device.put(ct), device.put(indices[order]), device.put(order), 7)
    expected = np.zeros((7, 33))
    np.add.at(expected, indices, wide(ct))
    close(device.get(found), expected, dtype)


def test_an_index_out_of_range_is_noted(device):
    y, wrong = launches.gather_rows(device, device.put(np.ones((4, 3), np.float32)), device.put(np.array([1, 4, -1])))
    assert device.get(wrong) == 1
    np.testing.assert_array_equal(device.get(y), [[1] * 3, [0] * 3, [0] * 3])


def test_a_sum_over_no_rows_is_zero(device):
    empty = device.put(np.zeros(0, np.int64))
    found = launches.segment_sum(device, device.put(np.zeros((0, 3), np.float32)), empty, empty, 2)
    np.testing.assert_array_equal(device.get(found), np.zeros((2, 3)))


# ---- pooling ----


def windows_of(x, window, stride, padding, filler):
    pad = [(0, 0)] * (x.ndim - 2) + [(p, p) for p in padding]
    padded = np.pad(x, pad, constant_values=filler)
    return np.lib.stride_tricks.sliding_window_view(padded, window, (-2, -1))[..., :: stride[0], :: stride[1], :, :]


@floats
@pytest.mark.parametrize(
    "window, stride, padding", [((2, 2), (2, 2), (0, 0)), ((3, 2), (1, 2), (1, 0)), ((2, 3), (3, 1), (1, 1))]
)
def test_pooling_and_its_transpose(device, dtype, window, stride, padding):
    x = np.random.default_rng(0).permutation(2 * 3 * 7 * 9).reshape(2, 3, 7, 9).astype(dtype) / dtype.type(8)
    d = device.put(x)
    y, places = launches.max_pool(device, d, window, stride, padding)
    np.testing.assert_array_equal(
        wide(device.get(y)), windows_of(wide(x), window, stride, padding, -np.inf).max((-1, -2))
    )
    mean = launches.mean_pool(device, d, window, stride, padding)
    close(device.get(mean), windows_of(wide(x), window, stride, padding, 0).mean((-1, -2)), dtype)
    ct = numbers(y.shape, dtype, 1)
    for given_places in (places, None):
        dx = wide(
            device.get(launches.pool_transposed(device, device.put(ct), given_places, x.shape, window, stride, padding))
        )
        expected = np.zeros((6, 63)) if given_places else None
        if given_places:
            for plane, cts, spots in zip(expected, wide(ct).reshape(6, -1), device.get(places).reshape(6, -1)):
                np.add.at(plane, spots, cts)
            close(dx, expected.reshape(x.shape), dtype)
        else:  # <ct, mean_pool(v)> = <transpose(ct), v>
            v = np.random.default_rng(2).standard_normal(x.shape)
            left = (wide(ct) * windows_of(v, window, stride, padding, 0).mean((-1, -2))).sum()
            assert abs((dx * v).sum() - left) <= TOLERANCES[str(dtype)] * np.linalg.norm(dx) * np.linalg.norm(v)


# ---- products of matrices ----


@floats
@pytest.mark.parametrize("m, n, k", [(1, 1, 1), (33, 31, 40), (5, 70, 0)])
def test_products_of_matrices(device, dtype, m, n, k):
    a, b = numbers((2, m, k), dtype), numbers((2, k, n), dtype, 1)
    close(device.get(launches.matmul(device, device.put(a), device.put(b))), wide(a) @ wide(b), dtype)


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT16], ids=str)
@pytest.mark.parametrize("m, n, k", [(1, 1, 1), (65, 31, 40), (16, 70, 33)])
def test_products_by_tensor_cores(device, dtype, m, n, k):
    a, b = numbers((m, k), dtype), numbers((k, n), dtype, 1)
    close(device.get(launches.tensor_matmul(device, device.put(a), device.put(b))), wide(a) @ wide(b), dtype)


MMA_TF32 = """
#include "mma.cuh"
__global__ void product(float *d, const float *a, const float *b) {
    const int group = threadIdx.x >> 2, member = threadIdx.x & 3;
    unsigned left[4], right[2];
    for (int i = 0; i < 4; ++i) left[i] = rounded_to_tf32(a[(group + 8 * (i & 1)) * 8 + member + 4 * (i >> 1)]);
    for (int i = 0; i < 2; ++i) right[i] = rounded_to_tf32(b[(member + 4 * i) * 8 + group]);
    float sum[4] = {0, 0, 0, 0};
    PRODUCT(sum, left, right);
    for (int i = 0; i < 4; ++i) d[(group + 8 * (i >> 1)) * 8 + 2 * member + (i & 1)] = sum[i];
}
"""


def rounded_to_tf32(x):
    return ((x.view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32)


@pytest.mark.parametrize("product", ["mma_16x8x8_tf32", "mma_by_shuffles<1>"])
def test_the_tensor_cores_product_of_tf32(device, product):
    a, b = numbers((16, 8), np.float32), numbers((8, 8), np.float32, 1)
    d = device.empty((16, 8), np.float32)
    device.launch_text(MMA_TF32.replace("PRODUCT", product), "product", (1,), (32,), [d, device.put(a), device.put(b)])
    close(device.get(d), wide(rounded_to_tf32(a)) @ wide(rounded_to_tf32(b)), np.dtype(np.float32))


MMA_BY_SHUFFLES = """
#include "mma.cuh"
__global__ void product(float *d, const __nv_bfloat16 *a, const __nv_bfloat16 *b) {
    const int group = threadIdx.x >> 2, member = threadIdx.x & 3;
    unsigned left[4], right[2];
    for (int i = 0; i < 4; ++i) {
        const __nv_bfloat16 *at = a + (group + 8 * (i & 1)) * 16 + 2 * member + 8 * (i >> 1);
        left[i] = packed(at[0], at[1]);
    }
    for (int i = 0; i < 2; ++i) right[i] = packed(b[(2 * member + 8 * i) * 8 + group], b[(2 * member + 8 * i + 1) * 8 + group]);
    float sum[4] = {1, 1, 1, 1};
    mma_by_shuffles<2>(sum, left, right);
    for (int i = 0; i < 4; ++i) d[(group + 8 * (i >> 1)) * 8 + 2 * member + (i & 1)] = sum[i];
}
"""


def test_the_product_of_bfloat16_where_tensor_cores_have_none(device):
    a, b = numbers((16, 16), BFLOAT16), numbers((16, 8), BFLOAT16, 1)
    d = device.empty((16, 8), np.float32)
    device.launch_text(MMA_BY_SHUFFLES, "product", (1,), (32,), [d, device.put(a), device.put(b)])
    close(device.get(d), wide(a) @ wide(b) + 1, np.dtype(np.float32))


# ---- sizes and dtypes at random ----


@pytest.mark.slow
@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@settings(max_examples=60)
@given(
    st.integers(0, 5), st.integers(1, 1100), st.sampled_from(["float16", "float32", "float64", "bfloat16"]),
    st.sampled_from(["up", "down", "shuffled"]), st.booleans(), st.integers(0, 2**31),
)  # fmt: skip
def test_any_size_and_dtype(rows, columns, name, order, checked, seed):
    device = EmulatedDevice("check" if checked else "fast", order, seed)
    dtype = BFLOAT16 if name == "bfloat16" else np.dtype(name)
    x = numbers((rows, columns), dtype, seed)
    d = device.put(x)
    if rows:
        close(device.get(launches.softmax(device, d)), softmax(wide(x)), dtype)
        close(device.get(launches.reduce_columns(device, d, "Max")), wide(x).max(0), dtype)
    close(device.get(launches.reduce_rows(device, d, "Max")), wide(x).max(-1), dtype)
    np.testing.assert_array_equal(device.get(launches.transpose(device, d)).view(dtype), x.T)


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_a_kernel_that_is_given_the_wrong_dtype_says_so():
    device = EmulatedDevice()
    with pytest.raises(KernelError, match="argument 4 of cross_entropy<float> is an array of int32"):
        launches.cross_entropy(device, device.put(np.zeros((1, 2), np.float32)), device.put(np.zeros(1, np.int32)))
