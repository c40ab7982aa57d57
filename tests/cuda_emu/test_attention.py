"""Flash attention under the emulation, forward and backward, against nn.dot_product_attention in float64."""

from __future__ import annotations

import numpy as np
import pytest
from test_kernels import BFLOAT16, TOLERANCES, numbers, wide

import funcgrad as fg
from funcgrad import nn
from funcgrad_cupy.kernels import launch_attention

dtypes = pytest.mark.parametrize(
    "dtype",
    [np.dtype(np.float32), BFLOAT16, pytest.param(np.dtype(np.float16), marks=pytest.mark.slow)],
    ids=str,
)


def near(found, expected, dtype, size=None):
    """The weights are rounded to the dtype before their products: a few roundings more than in one product.

    ``size``: the norm of the terms, where what is expected may be a difference of them.
    """
    expected = wide(expected)
    assert found.shape == expected.shape
    error = 3 * TOLERANCES[str(dtype)] * (np.linalg.norm(expected) if size is None else size)
    assert np.linalg.norm(wide(found) - expected) <= error


def check(device, dtype, batch, queries, keys, heads, shared, width, causal=False, bias=None, scale=None):
    q, ct = (numbers((batch, queries, heads, width), dtype, seed) for seed in (0, 1))
    k, v = (numbers((batch, keys, shared, width), dtype, seed) for seed in (2, 3))
    dq, dk, dv, dct = map(device.put, (q, k, v, ct))
    given = None if bias is None else device.put(bias)
    o, log_sum = launch_attention.attention(device, dq, dk, dv, given, scale=scale, causal=causal)

    def attention(q, k, v):
        # Where a bias is minus infinity, nn takes a mask: the softmax of nothing is zeros.
        seen, added = (None, None) if bias is None else (bias > -np.inf, np.where(bias > -np.inf, bias, 0))
        return nn.dot_product_attention(q, k, v, added, seen, scale=scale, is_causal=causal)

    expected, vjp = fg.vjp(attention, *map(wide, (q, k, v)))
    near(device.get(o), expected, dtype)

    scores = np.einsum("bqnd,bknd->bnqk", wide(q), wide(k).repeat(heads // shared, 2))
    scores = scores * (width**-0.5 if scale is None else scale) + (0 if bias is None else bias)
    if causal:
        scores = np.where(np.tri(queries, keys, dtype=bool), scores, -np.inf)
    with np.errstate(divide="ignore"):
        largest = np.maximum(scores.max(-1, initial=-np.inf), -1e30)
        sums = np.log(np.exp(scores - largest[..., None]).sum(-1)) + largest
    np.testing.assert_allclose(device.get(log_sum), sums, rtol=1e-5, atol=1e-5)

    found = launch_attention.attention_transposed(
        device, dct, dq, dk, dv, o, log_sum, given, scale=scale, causal=causal
    )
    # ct V^T - delta cancels where a query sees one key only: its size is that of ct and v.
    sizes = [np.linalg.norm(wide(ct)) * (width**-0.5 if scale is None else scale)] * 2 + [None]
    for f, e, size in zip(found, vjp(wide(ct)), sizes):
        near(device.get(f), e, dtype, None if size is None else max(size, np.linalg.norm(e)))


@dtypes
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "queries, keys, width",
    [(1, 1, 32), (65, 70, 32), (33, 40, 64), (70, 17, 64), pytest.param(20, 37, 128), pytest.param(131, 150, 128, marks=pytest.mark.slow)],
)  # fmt: skip
def test_attention_and_its_transpose(device, dtype, queries, keys, width, causal):
    check(device, dtype, 1, queries, keys, 1, 1, width, causal)


@dtypes
def test_batches_and_heads_that_share_keys(device, dtype):
    check(device, dtype, 2, 5, 7, 4, 2, 32, scale=0.5)


@dtypes
@pytest.mark.parametrize("shape", [(2, 2, 9, 11), (2, 1, 1, 11), (1, 2, 9, 1)], ids=str)
def test_a_bias(device, dtype, shape):
    check(device, dtype, 2, 9, 11, 2, 2, 32, True, numbers(shape, np.float32, 5))


@dtypes
def test_a_query_that_may_look_nowhere_gets_zeros(device, dtype):
    seen = np.random.default_rng(0).random((1, 1, 9, 40)) < 0.3
    seen[:, :, 4] = False
    check(device, dtype, 1, 9, 40, 2, 1, 32, bias=np.where(seen, 0, -np.inf).astype(np.float32))


def test_no_keys_and_no_queries(device):
    check(device, np.dtype(np.float32), 1, 3, 0, 1, 1, 32)
    q, k = device.put(np.ones((1, 0, 1, 32), np.float32)), device.put(np.ones((1, 3, 1, 32), np.float32))
    o, log_sum = launch_attention.attention(device, q, k, k)
    assert o.shape == q.shape
    for found in launch_attention.attention_transposed(device, q, q, k, k, o, log_sum)[1:]:
        np.testing.assert_array_equal(device.get(found), np.zeros(k.shape))


def test_large_scores_do_not_overflow(device):
    """exp(900) is infinite in float32; the running maximum moves in every tile."""
    q, v = np.full((1, 2, 1, 32), 1, np.float32), numbers((1, 100, 1, 32), np.float32)
    k = np.repeat(np.linspace(0, 900, 100, dtype=np.float32)[None, :, None, None] / 32, 32, -1)
    o, _ = launch_attention.attention(device, *map(device.put, (q, k, v)), scale=1.0)
    np.testing.assert_allclose(
        device.get(o)[0, :, 0],
        (v[0, -2:, 0] * [[np.exp(-900 / 99)], [1]]).sum(0)[None].repeat(2, 0),
        rtol=1e-3,
        atol=1e-6,
    )
