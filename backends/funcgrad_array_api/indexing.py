"""Reading and writing at computed places, without writing into an array. An index out of range raises IndexError."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .elementwise import add, maximum, minimum, multiply
from .structure import pad

__all__ = ["OPS"]

_OPERATIONS = {"add": add, "mul": multiply, "min": minimum, "max": maximum}


def _rows(xp, x, axes):
    """x with these axes flattened into the first: one row a place."""
    others = tuple(i for i in range(x.ndim) if i not in axes)
    shape = tuple(x.shape[i] for i in others)
    front = xp.permute_dims(x, (*axes, *others))
    return xp.reshape(front, (math.prod(x.shape[a] for a in axes), *shape)), (*axes, *others)


def _places(xp, x, indices, axes):
    """The row-major positions that the indices name, as a flat array."""
    count = math.prod(indices[0].shape)
    flat = None
    for index, axis in zip(indices, axes, strict=True):
        n = x.shape[axis]
        index = xp.reshape(index, (count,))
        if bool(xp.any((index < -n) | (index >= n))):
            raise IndexError(f"an index is out of bounds for axis {axis} of size {n}")
        index = xp.where(index < 0, index + n, index)
        flat = index if flat is None else flat * n + index
    return flat


def gather(xp, x, *indices, axes):
    """x at the indices, one an axis in `axes`; the shape is that of an index, then that of the other axes."""
    rows, _ = _rows(xp, x, axes)
    taken = xp.take(rows, _places(xp, x, indices, axes), axis=0)
    return xp.reshape(taken, (*indices[0].shape, *rows.shape[1:]))


def scatter(xp, x, updates, *indices, axes, kind, unique=False):
    """A copy of x with the updates put at, or combined with what is at, the indices; of several ``set``, the last wins.

    Sorted by place, the updates of one place stand together; a running reduction that starts anew with every place, in
    steps of doubling length, leaves in the last of them what they give. Every row of x then looks for that one.
    """
    places = _places(xp, x, indices, axes)
    rows, order = _rows(xp, x, axes)
    count = places.shape[0]
    if not count or not math.prod(rows.shape):
        return xp.asarray(x, copy=True)
    sorting = xp.argsort(places, stable=True)
    places = xp.take(places, sorting, axis=0)
    wide = (..., *[None] * (rows.ndim - 1))
    updates = xp.broadcast_to(updates, (*indices[0].shape, *rows.shape[1:]))
    updates = xp.take(xp.reshape(updates, (count, *rows.shape[1:])), sorting, axis=0)
    operation = None if kind == "set" or unique else _OPERATIONS[kind]
    step = 1
    while operation is not None and step < count:
        same = (places[step:] == places[: count - step])[wide]
        late = updates[step:, ...]
        late = xp.where(same, operation(xp, updates[: count - step, ...], late), late)
        updates, step = xp.concat([updates[:step, ...], late], axis=0), 2 * step
    every = xp.arange(rows.shape[0], dtype=places.dtype, device=x.device)
    last = xp.searchsorted(places, every, side="right") - 1
    last = xp.where(last < 0, xp.zeros_like(last), last)
    hit = (xp.take(places, last, axis=0) == every)[wide]
    found = xp.take(updates, last, axis=0)
    found = found if kind == "set" else _OPERATIONS[kind](xp, rows, found)
    result = xp.reshape(xp.where(hit, found, rows), tuple(x.shape[a] for a in order))
    back = tuple(order.index(a) for a in range(x.ndim))
    return xp.asarray(xp.permute_dims(result, back), copy=True)


def _starts(x, starts, sizes):
    """The starts of a block as integers."""
    found = [int(s) for s in starts]
    for axis, (start, size, n) in enumerate(zip(found, sizes, x.shape, strict=True)):
        if start < 0 or start + size > n:
            raise IndexError(
                f"a block of size {size} that starts at {start} does not fit into axis {axis}, which has size {n}"
            )
    return found


def dynamic_slice(xp, x, *starts, sizes):
    """The block of these sizes that begins at `starts`."""
    block = tuple(slice(s, s + n) for s, n in zip(_starts(x, starts, sizes), sizes, strict=True))
    return xp.asarray(x[block], copy=True)


def dynamic_update_slice(xp, x, update, *starts):
    """A copy of x with a block replaced."""
    first = _starts(x, starts, update.shape)
    config = [(s, n - s - k, 0) for s, n, k in zip(first, x.shape, update.shape, strict=True)]
    inside = xp.ones_like(update, dtype=xp.bool)
    inside = pad(xp, inside, xp.asarray(False, device=x.device), config=config)
    return xp.where(inside, pad(xp, update, xp.zeros((), dtype=x.dtype, device=x.device), config=config), x)


OPS: dict[str, Callable[..., Any]] = {
    "dynamic_slice": dynamic_slice,
    "dynamic_update_slice": dynamic_update_slice,
    "gather": gather,
    "scatter": scatter,
}
