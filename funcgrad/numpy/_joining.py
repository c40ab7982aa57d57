"""Functions that join, split and repeat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandError, OperandTypeError
from ..core.trace import Tracer, frozen
from ..core.types import aval_of, dtype_of
from ._indexing import searchsorted, take
from ._promote import INDEX, all_plain, asarray, convert_to, eager, eager_allowed, expand_to, normalize_axis, refuse_out
from ._shape import atleast_1d, atleast_2d, atleast_3d, moveaxis, ravel, reshape_to, shape_tuple

__all__ = [
    "append",
    "array_split",
    "block",
    "column_stack",
    "concat",
    "concatenate",
    "delete",
    "dsplit",
    "dstack",
    "hsplit",
    "hstack",
    "insert",
    "repeat",
    "resize",
    "split",
    "stack",
    "tile",
    "unstack",
    "vsplit",
    "vstack",
]


def slice_along(x: Any, axis: int, start: int, stop: int, step: int = 1) -> Any:
    """The elements ``start:stop:step`` along one axis; nothing if these are all."""
    if (start, stop, step) == (0, x.shape[axis], 1):
        return x
    rank = x.ndim
    return prim.slice_(
        x,
        start=tuple(start if i == axis else 0 for i in range(rank)),
        limit=tuple(stop if i == axis else n for i, n in enumerate(x.shape)),
        stride=tuple(step if i == axis else 1 for i in range(rank)),
    )


# Joining --------------------------------------------------------------------------------------------------------------


def _arrays(name: str, arrays: Any) -> list[Any]:
    """The arrays of a sequence, or the rows of an array."""
    if isinstance(arrays, Tracer) or (hasattr(arrays, "shape") and hasattr(arrays, "dtype")):
        if not arrays.shape:
            raise OperandTypeError(f"{name} takes a sequence of arrays, not an array of rank 0")
        return list(unstack(arrays))
    items = [asarray(x) for x in arrays]
    if not items:
        raise OperandError(f"{name}: need at least one array")
    return items


def join(name: str, arrays: Sequence[Any], axis: int, dtype: Any = None, casting: str = "same_kind") -> Any:
    """One after the other along an axis, promoted to one dtype. Raises OperandError that quotes the shapes."""
    common = np.result_type(*map(dtype_of, arrays)) if dtype is None else np.dtype(dtype)
    for x in arrays:
        if not np.can_cast(dtype_of(x), common, casting):
            raise OperandTypeError(f"{name}: cannot cast {x.dtype} to {common} according to the rule {casting!r}")
    first = arrays[0].shape
    for x in arrays:
        if x.ndim != len(first) or any(n != m for i, (n, m) in enumerate(zip(x.shape, first)) if i != axis):
            shapes = ", ".join(str(y.shape) for y in arrays)
            raise OperandError(f"{name}: arrays of the shapes {shapes} must be equal in all axes but axis {axis}")
    arrays = [convert_to(x, common) for x in arrays]
    return arrays[0] if len(arrays) == 1 else prim.concatenate(*arrays, axis=axis)


@eager(np.concatenate)
def concatenate(
    arrays: Any, axis: int | None = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Any:
    """As :func:`numpy.concatenate`."""
    refuse_out("concatenate", out)
    items = _arrays("concatenate", arrays)
    if axis is None:
        items, axis = [ravel(x) for x in items], 0
    if any(x.ndim == 0 for x in items):
        raise OperandError("zero-dimensional arrays cannot be concatenated; fnp.stack makes an array of scalars")
    return join("concatenate", items, normalize_axis(axis, items[0].ndim), dtype, casting)


@eager(np.concat)
def concat(arrays: Any, axis: int | None = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """As :func:`numpy.concat`, which is :func:`concatenate`."""
    return concatenate(arrays, axis, out, dtype=dtype, casting=casting)


@eager(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """As :func:`numpy.stack`."""
    refuse_out("stack", out)
    items = _arrays("stack", arrays)
    shape = items[0].shape
    if any(x.shape != shape for x in items):
        shapes = ", ".join(str(x.shape) for x in items)
        raise OperandError(f"stack: all input arrays must have the same shape, not {shapes}")
    axis = normalize_axis(axis, len(shape) + 1)
    rows = [reshape_to(x, (*shape[:axis], 1, *shape[axis:])) for x in items]
    return join("stack", rows, axis, dtype, casting)


@eager(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """As :func:`numpy.vstack`."""
    return join("vstack", [atleast_2d(x) for x in _arrays("vstack", tup)], 0, dtype, casting)


@eager(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """As :func:`numpy.hstack`."""
    items = [atleast_1d(x) for x in _arrays("hstack", tup)]
    return join("hstack", items, 0 if items[0].ndim == 1 else 1, dtype, casting)


@eager(np.dstack)
def dstack(tup: Any) -> Any:
    """As :func:`numpy.dstack`."""
    return join("dstack", [atleast_3d(x) for x in _arrays("dstack", tup)], 2)


@eager(np.column_stack)
def column_stack(tup: Any) -> Any:
    """As :func:`numpy.column_stack`."""
    columns = [x if x.ndim > 1 else reshape_to(x, (prod(x.shape), 1)) for x in _arrays("column_stack", tup)]
    return join("column_stack", columns, 1)


@eager(np.block)
def block(arrays: Any) -> Any:
    """As :func:`numpy.block`: nested lists join along the last axis, lists of them along the one before, and so on."""

    def depth(x: Any) -> int:
        if isinstance(x, tuple):
            raise TypeError("block: only lists can be used to arrange blocks, not tuples")
        if not isinstance(x, list):
            return 0
        depths = {depth(y) for y in x}
        if len(depths) != 1:
            raise OperandError("block: lists must be nested to one depth, and none may be empty")
        return 1 + depths.pop()

    def rank(x: Any) -> int:
        return max(map(rank, x)) if isinstance(x, list) else asarray(x).ndim

    levels = depth(arrays)
    ndim = max(levels, rank(arrays))

    def build(x: Any, level: int) -> Any:
        if level == 0:
            x = asarray(x)
            return reshape_to(x, (1,) * (ndim - x.ndim) + x.shape)
        return join("block", [build(y, level - 1) for y in x], ndim - level)

    return build(arrays, levels)


@eager(np.append)
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """As :func:`numpy.append`."""
    arr, values = asarray(arr), asarray(values)
    if axis is None:
        arr, values, axis = ravel(arr), ravel(values), 0
    return concatenate([arr, values], axis)


# Splitting ------------------------------------------------------------------------------------------------------------


def _cut(x: Any, axis: int, points: Sequence[int]) -> list[Any]:
    """Parts between cut points, which are clipped as slices are."""
    n = x.shape[axis]
    edges = [None, *points, None]
    parts = []
    for a, b in pairwise(edges):
        start, stop, _ = slice(a, b).indices(n)
        parts.append(slice_along(x, axis, min(start, stop), stop) if start < stop else slice_along(x, axis, 0, 0))
    return parts


@eager(np.array_split, view=True)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """As :func:`numpy.array_split`."""
    ary = asarray(ary)
    axis = normalize_axis(axis, ary.ndim)
    if not isinstance(indices_or_sections, (int, np.integer)):
        return _cut(ary, axis, [int(i) for i in indices_or_sections])
    sections = int(indices_or_sections)
    if sections <= 0:
        raise ValueError("number sections must be larger than 0.")
    each, extra = divmod(ary.shape[axis], sections)
    sizes = [each + 1] * extra + [each] * (sections - extra)
    return _cut(ary, axis, np.cumsum(sizes)[:-1].tolist())


@eager(np.split, view=True)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """As :func:`numpy.split`."""
    ary = asarray(ary)
    n = ary.shape[normalize_axis(axis, ary.ndim)]
    if isinstance(indices_or_sections, (int, np.integer)) and n % int(indices_or_sections):
        raise OperandError(
            f"split: array split does not result in an equal division: {n} elements along axis {axis} into "
            f"{indices_or_sections} parts"
        )
    return array_split(ary, indices_or_sections, axis)


@eager(np.hsplit, view=True)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """As :func:`numpy.hsplit`."""
    return split(ary, indices_or_sections, 1 if _rank("hsplit", ary, 1) > 1 else 0)


@eager(np.vsplit, view=True)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """As :func:`numpy.vsplit`."""
    _rank("vsplit", ary, 2)
    return split(ary, indices_or_sections, 0)


@eager(np.dsplit, view=True)
def dsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """As :func:`numpy.dsplit`."""
    _rank("dsplit", ary, 3)
    return split(ary, indices_or_sections, 2)


def _rank(name: str, x: Any, least: int) -> int:
    rank = aval_of(asarray(x)).ndim
    if rank < least:
        raise OperandError(f"{name} only works on arrays of {least} or more dimensions")
    return rank


@eager(np.unstack, view=True)
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """As :func:`numpy.unstack`."""
    x = asarray(x)
    if not x.ndim:
        raise OperandError("unstack: the input array must be at least 1-d")
    axis = normalize_axis(axis, x.ndim)
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return tuple(reshape_to(slice_along(x, axis, i, i + 1), shape) for i in range(x.shape[axis]))


# Repeating ------------------------------------------------------------------------------------------------------------


@eager(np.tile)
def tile(A: Any, reps: Any) -> Any:
    """As :func:`numpy.tile`."""
    x, reps = asarray(A), shape_tuple(reps)
    rank = max(x.ndim, len(reps))
    shape = (1,) * (rank - x.ndim) + x.shape
    reps = (1,) * (rank - len(reps)) + reps
    if all(r == 1 for r in reps):
        return reshape_to(x, shape)
    pairs = reshape_to(x, tuple(m for n in shape for m in (1, n)))
    repeated = expand_to(pairs, tuple(m for r, n in zip(reps, shape) for m in (r, n)))
    return reshape_to(repeated, tuple(r * n for r, n in zip(reps, shape)))


def repeat(a: Any, repeats: Any, axis: int | None = None, *, total_repeat_length: int | None = None) -> Any:
    """As :func:`numpy.repeat`: each element along an axis so many times.

    Traced ``repeats`` need ``total_repeat_length``, the length of the result along the axis, as in JAX: what is beyond
    is cut off, and the last element fills what is missing.
    """
    if total_repeat_length is None and all_plain((a, repeats)) and eager_allowed():
        return np.repeat(a, repeats, axis)
    a = asarray(a)
    if axis is None or not a.ndim:
        a, axis = ravel(a), 0 if axis is None else axis
    axis = normalize_axis(axis, a.ndim)
    n = a.shape[axis]
    if total_repeat_length is None and isinstance(repeats, Tracer):
        repeats = repeats.concrete("the number of repeats (or give total_repeat_length=n)")
    counts = asarray(repeats)
    if counts.ndim > 1 or counts.shape not in ((), (1,), (n,)):
        raise OperandError(f"repeat: counts of shape {counts.shape} do not fit {n} elements along axis {axis}")
    if total_repeat_length is None:
        if counts.size == 1:
            return _repeat_each(a, int(counts.item()), axis)
        return take(a, np.repeat(np.arange(n), counts), axis)
    counts = expand_to(convert_to(counts, INDEX), (n,)) if counts.shape != (n,) else convert_to(counts, INDEX)
    ends = prim.cumsum(counts, axis=0)
    places = searchsorted(ends, prim.iota(shape=(total_repeat_length,), dtype=INDEX, axis=0), side="right")
    return take(a, prim.min_(places, np.int64(n - 1)), axis)


def _repeat_each(a: Any, count: int, axis: int) -> Any:
    if count < 0:
        raise ValueError("repeats may not contain negative values.")
    if count == 1:
        return frozen(a)
    before, after = a.shape[: axis + 1], a.shape[axis + 1 :]
    rank = a.ndim
    dims = (*range(axis + 1), *range(axis + 2, rank + 1))
    repeated = prim.broadcast_in_dim(a, shape=(*before, count, *after), dims=dims)
    return prim.reshape(repeated, shape=(*before[:-1], before[-1] * count, *after))


@eager(np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    """As :func:`numpy.resize`."""
    a, shape = ravel(asarray(a)), shape_tuple(new_shape)
    if any(n < 0 for n in shape):
        raise ValueError("all elements of `new_shape` must be non-negative")
    size, have = prod(shape), a.shape[0]
    if not have:
        return np.zeros(shape, a.dtype)
    if size > have:
        a = tile(a, -(-size // have))
    return reshape_to(slice_along(a, 0, 0, size), shape)


# Inserting and deleting -----------------------------------------------------------------------------------------------


def _static(name: str, obj: Any) -> Any:
    if isinstance(obj, Tracer):
        return obj.concrete(f"the index given to {name} (the shape of the result depends on it)")
    return obj


@eager(np.delete)
def delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    """As :func:`numpy.delete`. The index must have a concrete value."""
    arr = asarray(arr)
    if axis is None:
        arr, axis = ravel(arr), 0
    axis = normalize_axis(axis, arr.ndim)
    # NumPy says which elements stay.
    return take(arr, np.delete(np.arange(arr.shape[axis]), _static("delete", obj)), axis)


@eager(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """As :func:`numpy.insert`. The index must have a concrete value."""
    arr = asarray(arr)
    if axis is None:
        arr, axis = ravel(arr), 0
    axis = normalize_axis(axis, arr.ndim)
    n, rank = arr.shape[axis], arr.ndim
    obj = _static("insert", obj)
    values = asarray(values)
    if values.ndim < rank:
        values = reshape_to(values, (1,) * (rank - values.ndim) + values.shape)
    index = np.arange(*obj.indices(n)) if isinstance(obj, slice) else np.asarray(obj)
    index = np.flatnonzero(index) if index.dtype == np.bool_ else index
    if index.size == 1:
        if index.ndim == 0:
            values = moveaxis(values, 0, axis)
        count, where = values.shape[axis], index.item()
    else:
        count, where = index.size, index
    full = (*arr.shape[:axis], count, *arr.shape[axis + 1 :])
    if any(m not in (1, k) for m, k in zip(values.shape[::-1], full[::-1])) or values.ndim > rank:
        raise OperandError(f"insert: values of shape {values.shape} do not broadcast to the shape {full}")
    values = values if values.shape == full else expand_to(values, full)
    # NumPy says where the old elements and the new ones go.
    places = np.insert(np.arange(n), where, n + np.arange(count))
    if values.dtype.kind == "c" and arr.dtype.kind not in "bc":
        raise OperandTypeError(
            f"insert: complex values do not fit into an array of dtype {arr.dtype}; write values.real"
        )
    values = convert_to(values, np.dtype(arr.dtype))
    return take(join("insert", [arr, values], axis), places, axis)
