"""Sums of products: tensor contraction, convolution, and reductions over windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from .elementwise import add, is_bool, maximum
from .structure import pad, strided

__all__ = ["OPS"]


def dot_general(xp, x, y, *, dimension_numbers):
    """The contraction of two arrays, as one product of stacks of matrices.

    The result has the batch axes, the free axes of x, then those of y.
    """
    (x_contract, y_contract), (x_batch, y_batch) = dimension_numbers
    if is_bool(xp, x):
        counts = dot_general(xp, xp.astype(x, xp.int64), xp.astype(y, xp.int64), dimension_numbers=dimension_numbers)
        return counts != 0
    x_free = tuple(i for i in range(x.ndim) if i not in x_contract and i not in x_batch)
    y_free = tuple(i for i in range(y.ndim) if i not in y_contract and i not in y_batch)
    batch = tuple(x.shape[i] for i in x_batch)
    rows = tuple(x.shape[i] for i in x_free)
    columns = tuple(y.shape[i] for i in y_free)
    inner = math.prod(x.shape[i] for i in x_contract)
    x = xp.reshape(xp.permute_dims(x, (*x_batch, *x_free, *x_contract)), (*batch, math.prod(rows), inner))
    y = xp.reshape(xp.permute_dims(y, (*y_batch, *y_contract, *y_free)), (*batch, inner, math.prod(columns)))
    return xp.reshape(xp.matmul(x, y), (*batch, *rows, *columns))


def _windows(x, window, strides, dilation):
    """For each place in a window, the elements that all windows have there: one strided view after the other."""
    extent = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    out = [max((n - e) // s + 1, 0) for n, e, s in zip(x.shape, extent, strides, strict=True)]
    for place in itertools.product(*map(range, window)):
        first = [p * d if n else 0 for p, d, n in zip(place, dilation, out, strict=True)]
        limit = [f + (n - 1) * s + 1 if n else f for f, n, s in zip(first, out, strides, strict=True)]
        yield strided(x, first, limit, strides)


def conv_general_dilated(xp, x, w, *, strides, padding, lhs_dilation, rhs_dilation, groups):
    """The cross-correlation of x [N, C, *spatial] with w [O, C / groups, *spatial]: [N, O, *spatial].

    What the kernel sees at each of its places becomes one row; one product of matrices a group contracts them.
    """
    config = [(0, 0, 0), (0, 0, 0), *((low, high, d - 1) for (low, high), d in zip(padding, lhs_dilation, strict=True))]
    x = pad(xp, x, xp.zeros((), dtype=x.dtype, device=x.device), config=config)
    count, channels, features = x.shape[0], x.shape[1], w.shape[0]
    depth = channels // groups * math.prod(w.shape[2:])
    seen = list(_windows(x, (1, 1, *w.shape[2:]), (1, 1, *strides), (1, 1, *rhs_dilation)))
    if not seen:
        out = [max(n // s + 1, 0) for n, s in zip(x.shape[2:], strides, strict=True)]
        return xp.zeros((count, features, *out), dtype=x.dtype, device=x.device)
    out = seen[0].shape[2:]
    size = math.prod(out)
    # [N, C, kernel, *out] -> [groups, C / groups * kernel, N * out]
    columns = xp.reshape(xp.stack(seen, axis=2), (count, groups, depth, size))
    columns = xp.reshape(xp.permute_dims(columns, (1, 2, 0, 3)), (groups, depth, count * size))
    weights = xp.reshape(w, (groups, features // groups, depth))
    result = xp.reshape(xp.matmul(weights, columns), (features, count, size))
    return xp.reshape(xp.permute_dims(result, (1, 0, 2)), (count, features, *out), copy=True)


def reduce_window_sum(xp, x, *, window, strides, padding, dilation):
    """The sum over each window; what lies outside counts as 0."""
    outside = xp.zeros((), dtype=x.dtype, device=x.device)
    return _reduce_window(xp, add, x, outside, window, strides, padding, dilation)


def reduce_window_max(xp, x, *, window, strides, padding, dilation):
    """The maximum over each window; what lies outside counts as the smallest value of the dtype."""
    if is_bool(xp, x):
        lowest = False
    elif xp.isdtype(x.dtype, "integral"):
        lowest = xp.iinfo(x.dtype).min
    else:
        lowest = -math.inf
    outside = xp.asarray(lowest, dtype=x.dtype, device=x.device)
    return _reduce_window(xp, maximum, x, outside, window, strides, padding, dilation)


def _reduce_window(xp, operation, x, outside, window, strides, padding, dilation):
    x = pad(xp, x, outside, config=[(low, high, 0) for low, high in padding])
    result = None
    for view in _windows(x, window, strides, dilation):
        result = xp.asarray(view, copy=True) if result is None else operation(xp, result, view)
    return result


OPS: dict[str, Callable[..., Any]] = {
    "conv_general_dilated": conv_general_dilated,
    "dot_general": dot_general,
    "reduce_window_max": reduce_window_max,
    "reduce_window_sum": reduce_window_sum,
}
