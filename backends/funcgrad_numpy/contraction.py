"""Sums of products: tensor contraction, convolution, and reductions over windows."""

from __future__ import annotations

import numpy as np


def dot_general(x, y, *, dimension_numbers):
    """The contraction of two arrays; the result has the batch axes, the free axes of x, then those of y.

    It becomes one product of matrices, or of stacks of matrices. Half precision is summed in single precision.
    """
    (x_contract, y_contract), (x_batch, y_batch) = dimension_numbers
    dtype = x.dtype
    if dtype == np.float16:
        x, y = x.astype(np.float32), y.astype(np.float32)
    x_free = tuple(i for i in range(x.ndim) if i not in x_contract and i not in x_batch)
    y_free = tuple(i for i in range(y.ndim) if i not in y_contract and i not in y_batch)
    batch = tuple(x.shape[i] for i in x_batch)
    rows = tuple(x.shape[i] for i in x_free)
    columns = tuple(y.shape[i] for i in y_free)
    inner = 1
    for i in x_contract:
        inner *= x.shape[i]
    x = x.transpose(x_batch + x_free + x_contract)
    y = y.transpose(y_batch + y_contract + y_free)
    if len(x_free) != 1 or len(x_contract) != 1:
        x = x.reshape(batch + (_product(rows), inner))
    if len(y_free) != 1 or len(y_contract) != 1:
        y = y.reshape(batch + (inner, _product(columns)))
    if inner == 1:
        result = np.multiply(x, y)  # a single product keeps its sign where it is zero
    else:
        result = np.matmul(x, y) if batch else np.dot(x, y)
    if len(rows) != 1 or len(columns) != 1:
        result = result.reshape(batch + rows + columns)
    return result.astype(dtype, copy=False)[()]


def _product(shape):
    size = 1
    for n in shape:
        size *= n
    return size


def _dilate(x, dilation):
    """x with dilation - 1 zeros between its elements along the spatial axes, which are those from 2 on."""
    if all(d == 1 for d in dilation):
        return x
    spatial = tuple((n - 1) * d + 1 if n else 0 for n, d in zip(x.shape[2:], dilation))
    result = np.zeros(x.shape[:2] + spatial, x.dtype)
    result[(slice(None), slice(None), *(slice(None, None, d) for d in dilation))] = x
    return result


def _pad_spatial(x, padding):
    """x with zeros around the spatial axes; negative padding cuts."""
    if any(low < 0 or high < 0 for low, high in padding):
        cut = tuple(
            slice(max(-low, 0), max(n - max(-high, 0), max(-low, 0))) for n, (low, high) in zip(x.shape[2:], padding)
        )
        x = x[(slice(None), slice(None), *cut)]
    if all(low <= 0 and high <= 0 for low, high in padding):
        return x
    edges = [(max(low, 0), max(high, 0)) for low, high in padding]
    spatial = tuple(low + n + high for n, (low, high) in zip(x.shape[2:], edges))
    result = np.zeros(x.shape[:2] + spatial, x.dtype)
    inside = tuple(slice(low, low + n) for n, (low, _) in zip(x.shape[2:], edges))
    result[(slice(None), slice(None), *inside)] = x
    return result


def conv_general_dilated(x, w, *, strides, padding, lhs_dilation, rhs_dilation, groups):
    """The cross-correlation of x [N, C, *spatial] with w [O, C / groups, *spatial]: [N, O, *spatial].

    The windows of x are a view; one product of matrices (one a group) contracts them with the kernel.
    """
    dtype = x.dtype
    if dtype == np.float16:
        x, w = x.astype(np.float32), w.astype(np.float32)
    rank = x.ndim - 2
    x = _pad_spatial(_dilate(x, lhs_dilation), padding)
    kernel = w.shape[2:]
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, rhs_dilation))
    count, channels, features = x.shape[0], x.shape[1], w.shape[0]
    if any(n < e for n, e in zip(x.shape[2:], extent)):
        out = tuple(max((n - e) // s + 1, 0) for n, e, s in zip(x.shape[2:], extent, strides))
        return np.zeros((count, features, *out), dtype)
    every = slice(None)
    windows = np.lib.stride_tricks.sliding_window_view(x, extent, tuple(range(2, 2 + rank)))
    windows = windows[
        (every, every, *(slice(None, None, s) for s in strides), *(slice(None, None, d) for d in rhs_dilation))
    ]
    out = windows.shape[2 : 2 + rank]
    # [N, C, *out, *kernel] -> [groups, N * out, C / groups * kernel]
    windows = windows.reshape(count, groups, channels // groups, *out, *kernel)
    order = (1, 0, *range(3, 3 + rank), 2, *range(3 + rank, 3 + 2 * rank))
    depth = channels // groups * _product(kernel)
    columns = windows.transpose(order).reshape(groups, count * _product(out), depth)
    weights = w.reshape(groups, features // groups, depth).transpose(0, 2, 1)
    result = np.matmul(columns, weights) if groups > 1 else np.dot(columns[0], weights[0])[None]
    result = result.reshape(groups, count, *out, features // groups)
    result = result.transpose(1, 0, 2 + rank, *range(2, 2 + rank)).reshape(count, features, *out)
    return np.ascontiguousarray(result).astype(dtype, copy=False)


def reduce_window_sum(x, *, window, strides, padding, dilation):
    """The sum over each window; what lies outside counts as 0."""
    return _reduce_window(np.add, x, x.dtype.type(0), window, strides, padding, dilation)


def reduce_window_max(x, *, window, strides, padding, dilation):
    """The maximum over each window; what lies outside counts as the smallest value of the dtype."""
    kind = x.dtype.kind
    lowest = -np.inf if kind == "f" else False if kind == "b" else np.iinfo(x.dtype).min
    return _reduce_window(np.maximum, x, x.dtype.type(lowest), window, strides, padding, dilation)


def _reduce_window(operation, x, outside, window, strides, padding, dilation):
    """One strided slice for each place in the window, combined one after the other."""
    if any(low or high for low, high in padding):
        padded = np.full(tuple(low + n + high for n, (low, high) in zip(x.shape, padding)), outside, x.dtype)
        padded[tuple(slice(low, low + n) for n, (low, _) in zip(x.shape, padding))] = x
        x = padded
    extent = [(k - 1) * d + 1 for k, d in zip(window, dilation)]
    out = tuple(max((n - e) // s + 1, 0) for n, e, s in zip(x.shape, extent, strides))
    result = np.full(out, outside, x.dtype)
    for place in np.ndindex(*window):
        first = [p * d for p, d in zip(place, dilation)]
        view = x[tuple(slice(f, f + (n - 1) * s + 1 if n else f, s) for f, n, s in zip(first, out, strides))]
        operation(result, view, out=result)
    return result
