"""Reading and writing at computed places. An index out of range raises IndexError."""

from __future__ import annotations

import math

import numpy as np


def gather(x, *indices, axes):
    """x at the indices, one an axis in `axes`; the shape is that of an index, then that of the other axes."""
    if axes == (0,) and np.ndim(indices[0]):
        return x.take(indices[0], 0)
    return _front(x, axes)[indices]


def scatter(x, updates, *indices, axes, kind, unique=False, out=None):
    """A copy of x with the updates put at, or combined with what is at, the indices; x itself, if it is ``out``.

    With ``kind="set"`` the last of several updates of one place wins.
    """
    result = np.array(x) if out is None else out
    if kind == "set":
        _front(result, axes)[indices] = updates
        return result
    operation = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}[kind]
    if unique or np.ndim(indices[0]) == 0:
        view = _front(result, axes)
        view[indices] = operation(view[indices], updates)
    elif axes == tuple(range(len(axes))) and result.flags.c_contiguous:
        # ufunc.at is fast for a flat array and index only, so every element gets its own.
        flat = indices[0] if result.ndim == 1 else _flat_index(indices, result.shape)
        operation.at(result.reshape(-1), flat.reshape(-1), np.ravel(updates))
    else:
        operation.at(_front(result, axes), indices, updates)
    return result


def _front(x, axes):
    """A view of x with these axes first."""
    if axes == tuple(range(len(axes))):
        return x
    return x.transpose(axes + tuple(i for i in range(x.ndim) if i not in axes))


def _flat_index(indices, shape):
    """The row-major position of every element, in an array of this shape, that indices of its first axes name."""
    flat = 0
    for index, n in zip(indices, shape):
        wrong = (index < -n) | (index >= n)
        if wrong.any():
            raise IndexError(f"index {index[wrong].flat[0]} is out of bounds for an axis of size {n}")
        flat = flat * n + np.where(index < 0, index + n, index)
    width = math.prod(shape[len(indices) :])
    return flat if width == 1 else flat[..., None] * width + np.arange(width)


def dynamic_slice(x, *starts, sizes):
    """The block of these sizes that begins at `starts`."""
    return x[_block(x, starts, sizes)]


def dynamic_update_slice(x, update, *starts, out=None):
    """A copy of x with a block replaced; x itself, if it is ``out``."""
    block = _block(x, starts, np.shape(update))
    result = np.array(x) if out is None else out
    result[block] = update
    return result


def _block(x, starts, sizes):
    for axis, (start, size, n) in enumerate(zip(starts, sizes, x.shape)):
        if start < 0 or start + size > n:
            raise IndexError(
                f"a block of size {size} that starts at {start} does not fit into axis {axis}, which has size {n}"
            )
    return tuple([slice(start, start + size) for start, size in zip(starts, sizes)])
