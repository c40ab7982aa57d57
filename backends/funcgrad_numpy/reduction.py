"""Reductions and running reductions. All keep the dtype: NumPy's own sum of int32 would be int64."""

from __future__ import annotations

import numpy as np


def reduce_sum(x, *, axes):
    """The sum over some axes."""
    x = np.asarray(x)
    # NumPy would add each element to 0, which loses the sign of -0.0.
    return np.add.reduce(x, axes, x.dtype) if axes else x.copy()[()]


def reduce_prod(x, *, axes):
    """The product over some axes."""
    x = np.asarray(x)
    return np.multiply.reduce(x, axes, x.dtype)


def reduce_max(x, *, axes):
    """The largest element over some axes; NaN if there is one."""
    return np.maximum.reduce(x, axes)


def reduce_min(x, *, axes):
    """The smallest element over some axes; NaN if there is one."""
    return np.minimum.reduce(x, axes)


def reduce_and(x, *, axes):
    """Whether all elements over some axes are true."""
    return np.logical_and.reduce(x, axes)


def reduce_or(x, *, axes):
    """Whether any element over some axes is true."""
    return np.logical_or.reduce(x, axes)


def argmax(x, *, axis):
    """The index of the largest element along an axis, the first of equals."""
    return np.argmax(x, axis)


def argmin(x, *, axis):
    """The index of the smallest element along an axis, the first of equals."""
    return np.argmin(x, axis)


def cumsum(x, *, axis, reverse=False):
    """The running sum along an axis."""
    return _accumulate(np.add, x, axis, reverse)


def cumprod(x, *, axis, reverse=False):
    """The running product along an axis."""
    return _accumulate(np.multiply, x, axis, reverse)


def cummax(x, *, axis, reverse=False):
    """The running maximum along an axis."""
    return _accumulate(np.maximum, x, axis, reverse)


def cummin(x, *, axis, reverse=False):
    """The running minimum along an axis."""
    return _accumulate(np.minimum, x, axis, reverse)


def _accumulate(operation, x, axis, reverse):
    if reverse:
        return np.flip(operation.accumulate(np.flip(x, axis), axis, x.dtype), axis)
    return operation.accumulate(x, axis, x.dtype)
