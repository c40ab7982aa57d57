"""How each kernel is launched: from arrays to a grid of blocks and the bytes of the arguments.

A ``device`` has ``empty(shape, dtype)``, ``put(array)``, ``pointer(array)``, ``view(array, shape)`` and
``launch(family, name, grid, block, args, shared)``, where an argument is an array of the device or a NumPy scalar of
exactly the parameter's type. Arrays have ``shape``, ``dtype`` and ``size`` and are contiguous. Everything here is the same
on a GPU and under the emulation in ``tests/cuda_emu``. Empty arrays launch nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from . import c_type
from .geometry import MOST_BLOCKS, THREADS, bits_of, computation_of, elements, row_threads, rows_of
from .launch_reduction import reduce_columns, reduce_rows

__all__ = [
    "adam", "cast", "copy", "copy_window", "cross_entropy", "dropout", "fill", "gather_rows", "matmul",
    "max_pool", "mean_pool", "normalise", "normalise_transposed", "pool_transposed", "random_bernoulli", "random_bits", "random_normal",
    "random_uniform",
    "reduce_columns", "reduce_rows", "segment_sum", "sgd", "softmax", "softmax_transposed", "strided_copy",
    "tensor_matmul", "transpose",
]  # fmt: skip

#: Rows that one thread adds up for the parameters of a norm.
_CHUNK = 64
#: As in optimizer.cu.
_TENSOR_CHUNK = 4096

_i32, _i64 = np.int32, np.int64


def cast(device: Any, x: Any, dtype: Any) -> Any:
    """``x`` in another dtype."""
    y = device.empty(x.shape, dtype)
    elements(device, "elementwise", f"cast<{c_type(x.dtype)}, {c_type(dtype)}>", [y, x], x.size)
    return y


def copy(device: Any, x: Any) -> Any:
    """A copy, 16 bytes at a time; ``x`` starts at a multiple of 16 bytes."""
    y = device.empty(x.shape, x.dtype)
    elements(device, "elementwise", f"copy<{c_type(bits_of(x.dtype))}>", [y, x], x.size)
    return y


def fill(device: Any, shape: tuple[int, ...], value: Any) -> Any:
    """An array full of a NumPy scalar."""
    y = device.empty(shape, value.dtype)
    bits = bits_of(value.dtype)
    elements(device, "elementwise", f"fill<{c_type(bits)}>", [y, value.view(bits)], y.size)
    return y


_LAYOUT = np.dtype([("shape", "i8", 8), ("to", "i8", 8), ("from", "i8", 8), ("rank", "i8")])


def strided_copy(device: Any, y: Any, x: Any, shape: Sequence[int], to: Sequence[int], origin: Sequence[int]) -> None:
    """y[i · to] = x[i · origin] for all i in ``shape``, at most 8 axes; strides in elements from the arrays' first ones."""
    args = [y, x, _layout(shape, to, origin)]
    elements(device, "elementwise", f"strided_copy<{c_type(bits_of(x.dtype))}>", args, prod(shape))


def _layout(shape: Sequence[int], to: Sequence[int], origin: Sequence[int]) -> Any:
    layout = np.zeros((), _LAYOUT)
    for field, values in (("shape", shape), ("to", to), ("from", origin)):
        layout[field][: len(shape)] = values
    layout["rank"] = len(shape)
    return layout[()]


_WINDOW_AT = np.dtype([("at", "u8", 8), ("most", "i8", 8), ("strides", "i8", 8), ("rank", "i8")])


def copy_window(
    device: Any, y: Any, x: Any, shape: Sequence[int], starts: Sequence[Any], faults: Any, into: bool
) -> None:
    """A window of ``x`` of this shape to ``y``, or all of ``x`` to a window of ``y`` (``into``); at most 8 axes.

    ``starts``: where it begins, int64 arrays of rank 0. One that does not fit is noted in ``faults`` (:mod:`..faults`).
    """
    whole = y.shape if into else x.shape
    strides, own = ([prod(s[i + 1 :]) for i in range(len(s))] for s in (whole, shape))
    window = np.zeros((), _WINDOW_AT)
    rank = window["rank"] = len(whole)
    window["at"][:rank] = [device.pointer(s) for s in starts]
    window["most"][:rank] = [n - m for n, m in zip(whole, shape)]
    window["strides"][:rank] = strides
    layout = _layout(shape, strides, own) if into else _layout(shape, own, strides)
    name = f"copy_window<{c_type(bits_of(x.dtype))}, {str(into).lower()}>"
    # A block looks at the starts even of a window without elements.
    blocks, count = max(1, min(-(-prod(shape) // THREADS), MOST_BLOCKS)), _i64(prod(shape))
    device.launch("elementwise", name, (blocks,), (THREADS,), [y, x, layout, window[()], faults, count])


def transpose(device: Any, x: Any) -> Any:
    """The last two axes exchanged."""
    *batch, rows, columns = x.shape
    y = device.empty((*batch, columns, rows), x.dtype)
    if x.size:
        grid = (-(-columns // 32), -(-rows // 32), prod(batch))
        device.launch(
            "elementwise", f"transpose<{c_type(bits_of(x.dtype))}>", grid, (32, 8), [y, x, _i32(rows), _i32(columns)]
        )
    return y


def softmax(device: Any, x: Any, log: bool = False) -> Any:
    """softmax or log_softmax along the last axis."""
    rows, columns = rows_of(x)
    y = device.empty(x.shape, x.dtype)
    if x.size:
        name = f"{'log_' if log else ''}softmax<{c_type(x.dtype)}>"
        device.launch("softmax", name, (rows,), (row_threads(columns),), [y, x, _i32(columns)])
    return y


def softmax_transposed(device: Any, ct: Any, y: Any, log: bool = False) -> Any:
    """The cotangent of x, given that of ``y = softmax(x)``."""
    rows, columns = rows_of(y)
    dx = device.empty(y.shape, y.dtype)
    if y.size:
        name = f"{'log_' if log else ''}softmax_transposed<{c_type(y.dtype)}>"
        device.launch("softmax", name, (rows,), (row_threads(columns),), [dx, ct, y, _i32(columns)])
    return dx


def cross_entropy(device: Any, x: Any, labels: Any) -> tuple[Any, Any, Any]:
    """The losses of rows of logits, their gradients, and an int32 that is the number of the first row whose label is out of range."""
    rows, columns = x.shape
    loss, dx, wrong = (
        device.empty((rows,), x.dtype),
        device.empty(x.shape, x.dtype),
        device.put(np.array([rows], np.int32)),
    )
    if rows:
        args = [loss, dx, wrong, x, labels, _i32(columns)]
        device.launch("softmax", f"cross_entropy<{c_type(x.dtype)}>", (rows,), (row_threads(columns),), args)
    return loss, dx, wrong


def normalise(device: Any, x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Layer norm of the rows, or RMS norm where ``beta`` is None: y, the means (None for RMS) and 1 / deviations."""
    rows, columns = rows_of(x)
    compute, centred = computation_of(x.dtype), beta is not None
    y, scales = device.empty(x.shape, x.dtype), device.empty((rows,), compute)
    means = device.empty((rows,), compute) if centred else None
    if x.size:
        args = [y, means, scales, x, gamma, beta, _i32(columns), compute.type(epsilon)]
        name = f"normalise<{c_type(x.dtype)}, {str(centred).lower()}>"
        device.launch("norm", name, (rows,), (row_threads(columns),), args)
    return y, means, scales


def normalise_transposed(device: Any, ct: Any, x: Any, means: Any, scales: Any, gamma: Any) -> tuple[Any, Any, Any]:
    """The cotangents of x, gamma and beta (None for RMS), in the dtype of computation for the parameters."""
    rows, columns = rows_of(x)
    compute, centred = computation_of(x.dtype), means is not None
    kind = f"<{c_type(x.dtype)}, {str(centred).lower()}>"
    dx, chunks = device.empty(x.shape, x.dtype), max(1, -(-rows // _CHUNK))
    dgamma = device.empty((chunks, columns), compute)
    dbeta = device.empty((chunks, columns), compute) if centred else None
    if columns:
        args = [dgamma, dbeta, ct, x, means, scales, _i64(rows), _i32(columns), _i64(_CHUNK)]
        device.launch("norm", "normalise_parameters" + kind, (-(-columns // THREADS), chunks), (THREADS,), args)
    if x.size:
        args = [dx, ct, x, means, scales, gamma, _i32(columns)]
        device.launch("norm", "normalise_transposed" + kind, (rows,), (row_threads(columns),), args)
    return dx, *(None if part is None else reduce_columns(device, part, "Sum") for part in (dgamma, dbeta))


def random_bits(device: Any, key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Those of ``funcgrad.random.bits``; ``key``: uint32 of shape (2,)."""
    y = device.empty(shape, dtype)
    elements(device, "random", f"random_bits<{c_type(dtype)}>", [y, key], y.size)
    return y


def random_uniform(device: Any, key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Those of ``funcgrad.random.uniform``, bit for bit."""
    y = device.empty(shape, dtype)
    elements(device, "random", f"random_uniform<{c_type(dtype)}>", [y, key], y.size)
    return y


def random_bernoulli(device: Any, key: Any, p: Any, shape: tuple[int, ...]) -> Any:
    """Those of ``funcgrad.random.bernoulli``; ``p``: of rank 0."""
    y = device.empty(shape, np.bool_)
    elements(device, "random", f"random_bernoulli<{c_type(p.dtype)}>", [y, key, p], y.size)
    return y


def random_normal(device: Any, key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Those of ``funcgrad.random.normal``: bit for bit where their size is below 1.43, within a few ulp farther out."""
    y = device.empty(shape, dtype)
    low = computation_of(dtype).type(np.nextafter(y.dtype.type(-1), y.dtype.type(0)))
    elements(device, "random", f"random_normal<{c_type(dtype)}>", [y, key, low], y.size)
    return y


def dropout(device: Any, x: Any, key: Any, keep: float) -> Any:
    """x / keep where a coin says so, else 0."""
    y = device.empty(x.shape, x.dtype)
    elements(device, "random", f"dropout<{c_type(x.dtype)}>", [y, x, key, np.float32(keep)], x.size)
    return y


def _step(device: Any, name: str, tensors: Sequence[tuple[Any, Any, Any, Any]], settings: Sequence[float]) -> None:
    """One launch for (parameters, gradients, first, second) of all tensors, which are of one dtype; the last may be None."""
    tensors = [t for t in tensors if t[0].size]
    if not tensors:
        return
    dtype, compute = tensors[0][0].dtype, computation_of(tensors[0][0].dtype)
    sizes = np.array([t[0].size for t in tensors], np.int64)
    starts = np.concatenate([[0], np.cumsum(-(-sizes // _TENSOR_CHUNK))]).astype(np.int64)
    pointers = np.array([[0 if a is None else device.pointer(a) for a in t] for t in tensors], np.uint64)
    args = [*map(device.put, (pointers, sizes, starts)), _i32(len(tensors)), *map(compute.type, settings)]
    device.launch("optimizer", name.replace("T", c_type(dtype)), (int(starts[-1]),), (THREADS,), args)


def adam(
    device: Any, tensors: Sequence[tuple[Any, Any, Any, Any]], step: int, rate: float, beta1: float = 0.9,
    beta2: float = 0.999, epsilon: float = 1e-8, decay: float = 0.0,
) -> None:  # fmt: skip
    """Adam (AdamW where ``decay`` is not 0) in place, for step 1, 2, ...; moments in the dtype of computation."""
    settings = [rate, beta1, beta2, epsilon, decay, 1 - beta1**step, 1 - beta2**step]
    _step(device, "adam<T>", tensors, settings)


def sgd(
    device: Any, tensors: Sequence[tuple[Any, Any, Any]], rate: float, momentum: float, nesterov: bool = False
) -> None:
    """Momentum SGD in place on (parameters, gradients, velocities)."""
    _step(device, f"sgd<T, {str(nesterov).lower()}>", [(*t, None) for t in tensors], [rate, momentum])


def gather_rows(device: Any, table: Any, indices: Any) -> tuple[Any, Any]:
    """table[indices] for int64 indices of rank 1, and an int32: the first position that is out of range, or their number."""
    rows, columns = table.shape
    y, wrong = device.empty((indices.size, columns), table.dtype), device.put(np.array([indices.size], np.int32))
    if y.size:
        args = [y, wrong, table, indices, _i64(rows), _i32(columns)]
        device.launch("indexing", f"gather_rows<{c_type(table.dtype)}>", (indices.size,), (row_threads(columns),), args)
    return y, wrong


def segment_sum(device: Any, x: Any, ordered: Any, order: Any, rows: int) -> Any:
    """y[r] = the sum of x[order[k]] where ordered[k] == r: the transpose of ``gather_rows``, and scatter-add.

    ``ordered``: the indices, sorted; ``order``: the stable order that sorts them (both int64).
    """
    starts, y = device.empty((rows + 1,), np.int64), device.empty((rows, x.shape[1]), x.dtype)
    blocks = (-(-(rows + 1) // THREADS),)
    args = [starts, ordered, _i64(ordered.size), _i64(rows)]
    device.launch("indexing", "segment_starts<long long>", blocks, (THREADS,), args)
    if y.size:
        args = [y, x, order, starts, _i32(x.shape[1])]
        device.launch("indexing", f"segment_sum<{c_type(x.dtype)}>", (rows,), (row_threads(x.shape[1]),), args)
    return y


_WINDOW = np.dtype([(name, "i4", 2) for name in ("size", "out", "window", "stride", "padding")])


def _window(shape: Sequence[int], window: Any, stride: Any, padding: Any) -> tuple[tuple[int, ...], Any]:
    size = tuple(shape[-2:])
    out = tuple((n + 2 * p - w) // s + 1 for n, w, s, p in zip(size, window, stride, padding))
    return out, np.array((size, out, window, stride, padding), _WINDOW)[()]


def max_pool(device: Any, x: Any, window: Any, stride: Any, padding: Any) -> tuple[Any, Any]:
    """The last two axes pooled, and the place in the plane of each largest element (int32)."""
    out, description = _window(x.shape, window, stride, padding)
    y, places = (device.empty((*x.shape[:-2], *out), dtype) for dtype in (x.dtype, np.int32))
    elements(device, "pooling", f"max_pool<{c_type(x.dtype)}>", [y, places, x, description], y.size)
    return y, places


def mean_pool(device: Any, x: Any, window: Any, stride: Any, padding: Any) -> Any:
    """The last two axes pooled, padding counted as zeros."""
    out, description = _window(x.shape, window, stride, padding)
    y = device.empty((*x.shape[:-2], *out), x.dtype)
    elements(device, "pooling", f"mean_pool<{c_type(x.dtype)}>", [y, x, description], y.size)
    return y


def pool_transposed(device: Any, ct: Any, places: Any, shape: Any, window: Any, stride: Any, padding: Any) -> Any:
    """The cotangent of the input of ``shape``: of ``max_pool`` given its places, of ``mean_pool`` given None."""
    _, description = _window(shape, window, stride, padding)
    dx = device.empty(shape, ct.dtype)
    name = f"pool_transposed<{c_type(ct.dtype)}, {str(places is not None).lower()}>"
    elements(device, "pooling", name, [dx, ct, places, description], dx.size)
    return dx


def matmul(device: Any, a: Any, b: Any, a_transposed: bool = False, b_transposed: bool = False) -> Any:
    """(..., m, k) times (..., k, n) of one dtype and batch; a transposed operand is (..., k, m) or (..., n, k)."""
    *batch, m, k = (*a.shape[:-2], a.shape[-1], a.shape[-2]) if a_transposed else a.shape
    n = b.shape[-2 if b_transposed else -1]
    c = device.empty((*batch, m, n), a.dtype)
    if c.size:
        args = [c, a, b, _i32(m), _i32(n), _i32(k)]
        name = f"matmul<{c_type(a.dtype)}, {str(a_transposed).lower()}, {str(b_transposed).lower()}>"
        device.launch("matmul", name, (-(-n // 32), -(-m // 32), prod(batch)), (32, 8), args)
    return c


def tensor_matmul(device: Any, a: Any, b: Any) -> Any:
    """(m, k) times (k, n) by tensor cores, for float16 and bfloat16."""
    (m, k), n = a.shape, b.shape[1]
    c = device.empty((m, n), a.dtype)
    if c.size:
        args = [c, a, b, _i32(m), _i32(n), _i32(k)]
        device.launch("tensor_matmul", f"tensor_matmul<{c_type(a.dtype)}>", (-(-n // 64), -(-m // 64)), (128,), args)
    return c
