"""NumPy's functions that index, look up and count.

``x[index]`` is :func:`getitem`, ``x.at[index]`` is :class:`At`. Index arrays that are not traced are checked while
tracing, traced ones by the primitive when the program runs: an index out of range raises unless ``mode`` says so.
Where the shape of a result depends on values (:func:`nonzero`, :func:`bincount`, ...) a traced argument needs the size
given, as in JAX.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandError, OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of, dtype_of
from ._at import At, IndexedUpdate, at, same_kind
from ._promote import (
    INDEX,
    asarray,
    broadcast_shapes,
    convert_to,
    eager,
    expand_to,
    normalize_axis,
    promote_args,
    refuse_out,
)
from ._subscript import broadcast, getitem, is_plain, resolve

__all__ = [
    "At",
    "IndexedUpdate",
    "argwhere",
    "at",
    "bincount",
    "choose",
    "compress",
    "digitize",
    "extract",
    "flatnonzero",
    "getitem",
    "nonzero",
    "put_along_axis",
    "ravel_multi_index",
    "searchsorted",
    "select",
    "take",
    "take_along_axis",
    "unravel_index",
]


def _concrete(x: Any, use: str) -> Any:
    """The value that the shape of a result depends on. Raises ConcretizationError if there is none yet."""
    return x.concrete(use) if isinstance(x, Tracer) else x


def _integers(name: str, x: Any, what: str = "indices") -> Any:
    x = asarray(x)
    if dtype_of(x).kind not in "iu":
        if is_plain(x) and not x.size:
            return np.zeros(x.shape, INDEX)
        raise OperandTypeError(f"{name}: {what} must be integers, not of dtype {x.dtype}")
    return x


def _iota(n: int) -> Any:
    return prim.iota(shape=(n,), dtype=INDEX, axis=0)


def _below(index: Any, n: int) -> Any:
    """``index``, with a check that it lies below ``n`` when the program runs: a look-up in 0, 1, ..., n - 1."""
    return prim.gather(_iota(n), index, axes=(0,))


# Taking ---------------------------------------------------------------------------------------------------------------


@eager(np.take)
def take(a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> Any:
    """As :func:`numpy.take`: elements along an axis, or of the flattened array.

    ``mode``: an index out of range raises, ``"wrap"`` counts on from the other end, ``"clip"`` takes the nearest one
    (a negative index is then the first one, as in NumPy).
    """
    refuse_out("take", out)
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")
    a = asarray(a)
    if axis is None:
        a, axis = prim.reshape(a, shape=(prod(a.shape),)) if a.ndim != 1 else a, 0
    elif not a.ndim:
        # NumPy takes a scalar for a vector of one element.
        a = prim.reshape(a, shape=(1,))
    axis = normalize_axis(axis, a.ndim)
    index, _ = resolve(_integers("take", indices), a.shape[axis], axis, mode, negative=False)
    result = prim.gather(a, index, axes=(axis,))
    k = index.ndim
    if axis and k:
        order = (*range(k, k + axis), *range(k), *range(k + axis, result.ndim))
        result = prim.transpose(result, axes=order)
    return result


def _along(name: str, arr: Any, indices: Any, axis: int | None) -> tuple[Any, list[Any], tuple[int, ...], int]:
    """The array, and the full grid of indices that ``indices`` along ``axis`` stand for."""
    arr = asarray(arr)
    indices = _integers(name, indices)
    if axis is None:
        if indices.ndim != 1:
            raise ValueError("when axis=None, `indices` must have a single dimension.")
        arr, axis = prim.reshape(arr, shape=(prod(arr.shape),)), 0
    axis = normalize_axis(axis, arr.ndim)
    if indices.ndim != arr.ndim:
        raise OperandError(
            f"{name}: the indices must have as many axes as the array; the shapes are {indices.shape} and {arr.shape}"
        )
    others = [tuple(1 if i == axis else n for i, n in enumerate(s)) for s in (arr.shape, indices.shape)]
    shape = list(broadcast_shapes(name, *others))
    shape[axis] = indices.shape[axis]
    full = tuple(shape)
    index, _ = resolve(indices, arr.shape[axis], axis, "raise")
    grid = []
    axes = []
    for i, n in enumerate(arr.shape):
        if i == axis:
            grid.append(broadcast(index, full))
        else:
            grid.append(prim.iota(shape=full, dtype=INDEX, axis=i) if n > 1 else broadcast(np.int64(0), full))
        axes.append(i)
    return arr, grid, tuple(axes), axis


@eager(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    """As :func:`numpy.take_along_axis`: ``out[.., j, ..] = arr[.., indices[.., j, ..], ..]``."""
    arr, grid, axes, _ = _along("take_along_axis", arr, indices, axis)
    return prim.gather(arr, *grid, axes=axes)


def put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None) -> Any:
    """As :func:`numpy.put_along_axis`, but ``arr`` is left as it is and the new array is returned."""
    shape = aval_of(arr := asarray(arr)).shape
    arr, grid, axes, _ = _along("put_along_axis", arr, indices, axis)
    values = same_kind("put_along_axis", values, np.dtype(arr.dtype))
    full = aval_of(grid[0]).shape
    if broadcast_shapes("put_along_axis", aval_of(values).shape, full) != full:
        raise OperandError(f"put_along_axis: values of shape {aval_of(values).shape} do not broadcast to {full}")
    result = prim.scatter(arr, broadcast(values, full), *grid, axes=axes, kind="set")
    return result if result.shape == shape else prim.reshape(result, shape=shape)


@eager(np.compress)
def compress(condition: Any, a: Any, axis: int | None = None, out: Any = None) -> Any:
    """As :func:`numpy.compress`. The condition must have a concrete value."""
    refuse_out("compress", out)
    mask = np.asarray(_concrete(condition, "the condition of compress (fnp.where keeps the shape)"), bool)
    if mask.ndim != 1:
        raise ValueError("condition must be a 1-d array")
    return take(a, np.flatnonzero(mask), axis)


@eager(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    """As :func:`numpy.extract`. The condition must have a concrete value."""
    mask = np.asarray(_concrete(condition, "the condition of extract (fnp.where keeps the shape)"))
    return take(arr, np.flatnonzero(mask))


@eager(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    """As :func:`numpy.choose`: element by element, the choice that ``a`` numbers."""
    refuse_out("choose", out)
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")
    a = _integers("choose", a, "the numbers of the choices")
    rows = [asarray(c) for c in choices]
    dtype = np.result_type(*map(dtype_of, rows))
    shape = broadcast_shapes("choose", a.shape, *(r.shape for r in rows))
    rows = [prim.reshape(broadcast(convert_to(r, dtype), shape), shape=(1, *shape)) for r in rows]
    if mode == "raise":
        # There is no counting from the end among choices.
        a = prim.select(prim.lt(a, a.dtype.type(0)), a.dtype.type(len(rows)), a)
    index, _ = resolve(a, len(rows), 0, mode, negative=False)
    grid = [prim.iota(shape=shape, dtype=INDEX, axis=i) for i in range(len(shape))]
    stacked = prim.concatenate(*rows, axis=0)
    return prim.gather(stacked, broadcast(index, shape), *grid, axes=tuple(range(stacked.ndim)))


@eager(np.select)
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    """As :func:`numpy.select`: element by element, the choice of the first condition that holds."""
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    if not condlist:
        raise ValueError("select with an empty condition list is not possible")
    conditions = [asarray(c) for c in condlist]
    for i, c in enumerate(conditions):
        if dtype_of(c) != np.bool_:
            raise OperandTypeError(f"invalid entry {i} in condlist: should be boolean ndarray, not {c.dtype}")
    choices = promote_args("select", *choicelist, default)
    shape = broadcast_shapes("select", *(c.shape for c in conditions), *(aval_of(c).shape for c in choices))
    dtype = next((aval_of(c).dtype for c in choices if not aval_of(c).weak), aval_of(choices[0]).dtype)
    *choices, result = [broadcast(convert_to(c, dtype, strong=True), shape) for c in choices]
    for condition, choice in zip(reversed(conditions), reversed(choices)):
        result = prim.select(broadcast(condition, shape), choice, result)
    return result


# Where ----------------------------------------------------------------------------------------------------------------


def _is_true(a: Any) -> Any:
    return a if dtype_of(a) == np.bool_ else prim.ne(a, dtype_of(a).type(0))


def _true_places(a: Any, size: int) -> tuple[Any, Any]:
    """The flat indices of the True elements, cut or filled up to ``size``, and which of them are real."""
    n = prod(a.shape)
    mask = prim.reshape(_is_true(a), shape=(n,))
    places = prim.argsort(prim.not_(mask), axis=0, stable=True)
    if size <= n:
        places = prim.slice_(places, start=(0,), limit=(size,), stride=(1,))
    else:
        places = prim.pad(places, np.int64(0), config=((0, size - n, 0),))
    count = prim.reduce_sum(prim.convert(mask, dtype=INDEX), axes=(0,))
    return places, prim.lt(_iota(size), count)


def nonzero(a: Any, *, size: int | None = None, fill_value: int | Sequence[int] | None = None) -> tuple[Any, ...]:
    """As :func:`numpy.nonzero`: the indices of the elements that are not zero, an array for each axis.

    With ``size`` there are exactly so many, of a traced array too: surplus ones are dropped, missing ones are
    ``fill_value`` (0 if not given; an integer, or one for each axis).

    >>> nonzero(np.array([0, 3, 0, 4]), size=3, fill_value=-1)
    (array([ 1,  3, -1]),)
    """
    if size is None:
        use = "nonzero (as many indices as there are non-zero elements: give size=n, or use fnp.where(mask, x, y))"
        return np.nonzero(_concrete(a, use))
    a = asarray(a)
    if not a.ndim:
        raise ValueError("Calling nonzero on 0d arrays is not allowed. Use fnp.atleast_1d(x) first.")
    fill = np.broadcast_to(0 if fill_value is None else np.asarray(fill_value, INDEX), (a.ndim,))
    if not prod(a.shape):
        return tuple(np.full(size, f) for f in fill)
    places, real = _true_places(a, size)
    indices = _unravel(places, a.shape)
    return tuple(prim.select(real, i, np.int64(f)) for i, f in zip(indices, fill))


def flatnonzero(a: Any, *, size: int | None = None, fill_value: int | None = None) -> Any:
    """As :func:`numpy.flatnonzero`; ``size`` and ``fill_value`` as for :func:`nonzero`."""
    a = asarray(a)
    return nonzero(prim.reshape(a, shape=(prod(a.shape),)), size=size, fill_value=fill_value)[0]


def argwhere(a: Any, *, size: int | None = None, fill_value: int | Sequence[int] | None = None) -> Any:
    """As :func:`numpy.argwhere`: a row of indices for each non-zero element.

    ``size`` and ``fill_value`` as for :func:`nonzero`.
    """
    if size is None:
        return np.argwhere(_concrete(a, "argwhere (as many rows as there are non-zero elements: give size=n)"))
    columns = nonzero(a, size=size, fill_value=fill_value)
    return prim.concatenate(*(prim.reshape(c, shape=(size, 1)) for c in columns), axis=1)


def _unravel(flat: Any, shape: Sequence[int]) -> list[Any]:
    """Row-major coordinates of flat indices that are in range."""
    coordinates: list[Any] = []
    for n in reversed(shape[1:]):
        coordinates.append(prim.remainder(flat, np.int64(n)))
        flat = prim.floor_divide(flat, np.int64(n))
    return [flat, *reversed(coordinates)]


@eager(np.unravel_index)
def unravel_index(indices: Any, shape: int | Sequence[int], order: str = "C") -> tuple[Any, ...]:
    """As :func:`numpy.unravel_index`. A traced index that is negative counts from the end."""
    shape = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(int(n) for n in shape)
    flat, _ = resolve(_integers("unravel_index", indices), prod(shape), 0, "raise")
    forward = shape if order == "C" else shape[::-1]
    first, *rest = _unravel(flat, forward)
    first = _below(first, forward[0])
    # A lookup of a negative first coordinate has counted it from the end.
    coordinates = (first, *rest)
    return coordinates if order == "C" else coordinates[::-1]


@eager(np.ravel_multi_index)
def ravel_multi_index(
    multi_index: Sequence[Any], dims: Sequence[int], mode: str | Sequence[str] = "raise", order: str = "C"
) -> Any:
    """As :func:`numpy.ravel_multi_index`. With ``mode="raise"`` a traced index that is negative counts from the end."""
    dims = tuple(int(n) for n in dims)
    if len(multi_index) != len(dims):
        raise ValueError(f"parameter multi_index must be a sequence of length {len(dims)}")
    modes = (mode,) * len(dims) if isinstance(mode, str) else tuple(mode)
    flat: Any = None
    parts = list(zip(multi_index, dims, modes))
    for axis, (index, n, how) in enumerate(parts if order == "C" else parts[::-1]):
        place, _ = resolve(_integers("ravel_multi_index", index), n, axis, how, negative=False)
        if how == "raise":
            place = _below(place, n)
        if flat is None:
            flat = place
        else:
            flat = prim.add(*promote_args("ravel_multi_index", prim.mul(flat, np.int64(n)), place))
    return flat


# Counting and searching -----------------------------------------------------------------------------------------------


def bincount(x: Any, weights: Any = None, minlength: int = 0, *, length: int | None = None) -> Any:
    """As :func:`numpy.bincount`: how often each of 0, 1, 2, ... occurs, or the sum of its weights.

    ``length`` fixes the number of bins, which a traced ``x`` needs; a value that has no bin then raises IndexError (JAX
    drops it).
    """
    if length is None:
        concrete = _concrete(x, "bincount (as many bins as the greatest value: give length=n)")
        if not isinstance(weights, Tracer):
            return np.bincount(concrete, weights, minlength)
        length = max(int(concrete.max(initial=-1)) + 1, minlength)
    x = _integers("bincount", x, "the values")
    if x.ndim != 1:
        raise ValueError("object too deep for desired array" if x.ndim > 1 else "object of too small depth")
    index = convert_to(x, INDEX)
    # A negative value must raise like one that is too great, not count from the end.
    index = prim.select(prim.lt(index, np.int64(0)), np.int64(length), index)
    if weights is None:
        ones = broadcast(np.int64(1), x.shape)
        return prim.scatter(np.zeros(length, INDEX), ones, index, axes=(0,), kind="add")
    weights = same_kind("bincount", weights, np.dtype(np.float64))
    if aval_of(weights).shape != x.shape:
        raise OperandError(
            f"bincount: the weights and list don't have the same length: {aval_of(weights).shape} and {x.shape}"
        )
    return prim.scatter(np.zeros(length), weights, index, axes=(0,), kind="add")


#: Up to so many elements, comparing with each of them takes fewer operations than a search by halves.
_COMPARE_ALL = 32


@eager(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """As :func:`numpy.searchsorted`: where to insert ``v`` into the sorted ``a``.

    By comparison with every element of a short ``a``, else by halving an interval for all of ``v`` at once.
    """
    if side not in ("left", "right"):
        raise ValueError(f"search side must be 'left' or 'right' (got {side!r})")
    a, v = asarray(a), asarray(v)
    if a.ndim != 1:
        raise OperandError(f"searchsorted: the sorted array must have one axis, not the shape {a.shape}")
    if sorter is not None:
        a = take(a, sorter)
    dtype = np.result_type(dtype_of(a), dtype_of(v))
    a, v = convert_to(a, dtype), convert_to(v, dtype)
    n = a.shape[0]
    if n <= _COMPARE_ALL:
        grid = (*v.shape, n)
        rows = expand_to(a, grid)
        columns = prim.broadcast_in_dim(v, shape=grid, dims=tuple(range(v.ndim)))
        return prim.reduce_sum(prim.convert(_precedes(rows, columns, side), dtype=INDEX), axes=(v.ndim,))
    low, high = broadcast(np.int64(0), v.shape), broadcast(np.int64(n), v.shape)
    for _ in range(n.bit_length()):
        middle = prim.shift_right(prim.add(low, high), np.int64(1))
        pivot = prim.gather(a, prim.min_(middle, np.int64(n - 1)), axes=(0,))
        further = prim.and_(prim.lt(low, high), _precedes(pivot, v, side))
        low = prim.select(further, prim.add(middle, np.int64(1)), low)
        high = prim.select(further, high, middle)
    return low


def _precedes(x: Any, v: Any, side: str) -> Any:
    """Whether x stands before the place of v; NaN is greater than all numbers, as in sorting."""
    if side == "right":
        return prim.not_(_less(v, x))
    return _less(x, v)


def _less(x: Any, y: Any) -> Any:
    if dtype_of(x).kind not in "fc":
        return prim.lt(x, y)
    return prim.or_(prim.lt(x, y), prim.and_(prim.ne(y, y), prim.eq(x, x)))


@eager(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """As :func:`numpy.digitize`. Traced bins must increase: their order cannot be looked at."""
    bins = asarray(bins)
    if not isinstance(bins, Tracer) and len(bins) > 1 and bool(bins[0] > bins[-1]):
        place = searchsorted(bins[::-1], x, side="right" if right else "left")
        return prim.sub(np.int64(len(bins)), place)
    return searchsorted(bins, x, side="left" if right else "right")
