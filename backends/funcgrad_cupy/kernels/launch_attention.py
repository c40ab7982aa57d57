"""How the kernels of attention.cu are launched; as :mod:`.launches` does for the others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import c_type

__all__ = ["WIDTHS", "attention", "attention_transposed"]

#: The widths of a head that are compiled.
WIDTHS = (32, 64, 128)

_ATTENTION = np.dtype(
    [("queries", "i4"), ("keys", "i4"), ("heads", "i4"), ("shared_heads", "i4"), ("scale", "f4"), ("causal", "i4"),
     ("bias", "i8", 4)]
)  # fmt: skip


def _shape(q: Any, k: Any, bias: Any, scale: float | None, causal: bool) -> Any:
    """The struct Attention of attention.cu; the axes of a bias that are 1 have stride 0."""
    strides = [0] * 4
    if bias is not None:
        size = 1
        for axis in (3, 2, 1, 0):
            strides[axis], size = (0 if bias.shape[axis] == 1 else size), size * bias.shape[axis]
    factor = 1 / math.sqrt(q.shape[3]) if scale is None else scale
    return np.array((q.shape[1], k.shape[1], q.shape[2], k.shape[2], factor, causal, tuple(strides)), _ATTENTION)[()]


def _tile(dtype: Any, width: int) -> int:
    """The rows that a block owns: Tiling<T, D>::rows of attention.cu."""
    return 64 if np.dtype(dtype).itemsize == 2 else 16 if width == 128 else 32


def _launch(device: Any, name: str, rows_of: Any, args: list[Any]) -> None:
    batch, rows, heads, width = rows_of.shape
    tile = _tile(rows_of.dtype, width)
    grid = (-(-rows // tile), heads, batch)
    if rows_of.size:
        device.launch("attention", f"{name}<{c_type(rows_of.dtype)}, {width}>", grid, (2 * tile,), args)


def attention(
    device: Any, q: Any, k: Any, v: Any, bias: Any = None, *, scale: float | None = None, causal: bool = False
) -> tuple[Any, Any]:
    """softmax(scale Q K^T + bias) V, and the logarithms of the sums of its exponentials, as nn.dot_product_attention.

    ``q`` is (batch, T, N, H), ``k`` and ``v`` (batch, S, K, H), where K divides N, of one dtype: float16, bfloat16 or
    float32; H one of ``WIDTHS``. ``bias``: float32, (batch or 1, N or 1, T or 1, S or 1); minus infinity masks. The
    results are like ``q`` and (batch, N, T) in float32. ``scale`` is 1 / sqrt(H) by default.
    """
    o = device.empty(q.shape, q.dtype)
    log_sum = device.empty((q.shape[0], q.shape[2], q.shape[1]), np.float32)
    _launch(device, "attention", q, [o, log_sum, q, k, v, bias, _shape(q, k, bias, scale, causal)])
    return o, log_sum


def attention_transposed(
    device: Any,
    ct: Any,
    q: Any,
    k: Any,
    v: Any,
    o: Any,
    log_sum: Any,
    bias: Any = None,
    *,
    scale: float | None = None,
    causal: bool = False,
) -> tuple[Any, Any, Any]:
    """The cotangents of ``q``, ``k`` and ``v``, given that of ``o``; the same in every run. The bias gets none."""
    shape = _shape(q, k, bias, scale, causal)
    delta = device.empty(log_sum.shape, np.float32)
    dq, dk, dv = (device.empty(x.shape, x.dtype) for x in (q, k, v))
    if q.size:
        _, queries, heads, width = q.shape
        name, rows = f"attention_delta<{c_type(q.dtype)}, {width}>", q.size // width
        args = [delta, ct, o, np.int32(queries), np.int32(heads), np.int64(rows)]
        device.launch("attention", name, (-(-rows // 8),), (256,), args)
    given = [ct, q, k, v, bias, log_sum, delta, shape]
    _launch(device, "attention_queries_transposed", q, [dq, *given])
    _launch(device, "attention_keys_transposed", k, [dk, dv, *given])
    return dq, dk, dv
