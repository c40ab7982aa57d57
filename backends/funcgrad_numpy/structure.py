"""Operations that move values and do not change them."""

from __future__ import annotations

import numpy as np


def broadcast_in_dim(x, *, shape, dims):
    """x with its axis i as axis dims[i] of an array of this shape, repeated along all others."""
    x = np.asarray(x)
    aligned = [1] * len(shape)
    for n, d in zip(x.shape, dims):
        aligned[d] = n
    result = np.empty(shape, x.dtype)
    result[...] = x.reshape(aligned)
    return result


def reshape(x, *, shape):
    """x in row-major order, with another shape."""
    return np.asarray(x).reshape(shape)


def transpose(x, *, axes):
    """x with its axes in another order."""
    return np.asarray(x).transpose(axes)


def rev(x, *, axes):
    """x in reverse order along some axes."""
    return x[tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(x.ndim))]


def slice_array(x, *, start, limit, stride):
    """x[start:limit:stride] along each axis."""
    return np.asarray(x)[tuple(map(slice, start, limit, stride))]


def pad(x, value, *, config):
    """x with `value` around and between its elements; (low, high, interior) an axis, and negative low and high cut."""
    x = np.asarray(x)
    shape, into, from_ = [], [], []
    for n, (low, high, interior) in zip(x.shape, config):
        if interior == 0 and low >= 0 and high >= 0:
            shape.append(low + n + high)
            from_.append(slice(None))
            into.append(slice(low, low + n))
            continue
        step = interior + 1
        spread = (n - 1) * step + 1 if n else 0
        size = max(low + spread + high, 0)
        first = max(-(low // step), 0) if low < 0 else 0
        last = min(-(-(size - low) // step), n)
        shape.append(size)
        from_.append(slice(first, max(last, first)))
        into.append(slice(low + first * step, max(low + (last - 1) * step + 1, low + first * step), step))
    result = np.empty(tuple(shape), x.dtype)
    result.fill(value)
    result[tuple(into)] = x[tuple(from_)]
    return result


def concatenate(*xs, axis):
    """The arrays one behind the other along an axis."""
    return np.concatenate(xs, axis)


def iota(*, shape, dtype, axis):
    """The index along one axis, at every place."""
    aligned = [1] * len(shape)
    aligned[axis] = shape[axis]
    result = np.empty(shape, dtype)
    result[...] = np.arange(shape[axis]).reshape(aligned)
    return result


def sort(x, *, axis, stable):
    """x in ascending order along an axis, NaN last."""
    return np.sort(x, axis, stable=stable)


def argsort(x, *, axis, stable):
    """The indices that sort x along an axis; equal elements keep their order if `stable`."""
    return np.argsort(x, axis, stable=stable)


def optimization_barrier(*xs):
    """The operands."""
    return list(xs)


def copy(x):
    """A copy of x."""
    return np.array(x)[()]
