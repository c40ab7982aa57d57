"""Functions that rearrange axes and elements: shapes, axes, order, and views of an array.

Each is a short sequence of structure primitives, and none where nothing changes. Results for plain arrays are NumPy's
own, which may share memory with the argument as they do in NumPy; only where NumPy gives a read-only view
(:func:`broadcast_to`, :func:`broadcast_arrays`, :func:`diagonal`) is it copied.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import wraps
from math import prod
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandError, OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of
from ._indexing import take
from ._promote import INDEX, asarray, axis_tuple, eager, expand_to, normalize_axis
from ._promote import broadcast_shapes as _broadcast_shapes
from ._subscript import getitem

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "diagonal",
    "expand_dims",
    "flip",
    "fliplr",
    "flipud",
    "ix_",
    "matrix_transpose",
    "moveaxis",
    "permute_dims",
    "ravel",
    "reshape",
    "roll",
    "rollaxis",
    "rot90",
    "squeeze",
    "swapaxes",
    "transpose",
]

Shape = tuple[int, ...]


def _copied(function: Callable[..., Any]) -> Callable[..., Any]:
    """The NumPy function with its result copied, where NumPy returns a view that must not be written to."""

    @wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        result = function(*args, **keywords)
        return tuple(x.copy() for x in result) if isinstance(result, (tuple, list)) else result.copy()

    return call


def shape_tuple(shape: Any) -> Shape:
    """A shape given as an integer or a sequence of them."""
    if isinstance(shape, (tuple, list, np.ndarray)):
        return tuple(operator.index(n) for n in shape)
    return (operator.index(shape),)


def reshape_to(x: Any, shape: Shape) -> Any:
    """The elements in row-major order in another shape; nothing if it has that shape."""
    return x if aval_of(x).shape == shape else prim.reshape(x, shape=shape)


def permute(x: Any, axes: Sequence[int]) -> Any:
    """The axes in another order; nothing if they are in that order."""
    return x if tuple(axes) == tuple(range(x.ndim)) else prim.transpose(x, axes=tuple(axes))


# Shape ----------------------------------------------------------------------------------------------------------------


@eager(np.reshape, view=True)
def reshape(a: Any, /, shape: Any, order: str = "C", *, copy: bool | None = None) -> Any:
    """As :func:`numpy.reshape`. ``order`` is "C" or "F"; traced values have no memory layout, "A" is "C"."""
    a = asarray(a)
    shape = _resolved(a.shape, shape_tuple(shape))
    if _order(order) == "C":
        return reshape_to(a, shape)
    return transpose(reshape_to(transpose(a), shape[::-1]))


def _resolved(have: Shape, shape: Shape) -> Shape:
    """``shape`` with its -1, if there is one, replaced by what is left over."""
    size = prod(have)
    unknown = [i for i, n in enumerate(shape) if n == -1]
    if len(unknown) > 1:
        raise OperandError("reshape: can only specify one unknown dimension")
    if unknown:
        known = prod(n for n in shape if n != -1)
        if known and size % known == 0:
            return tuple(size // known if n == -1 else n for n in shape)
    elif prod(shape) == size and all(n >= 0 for n in shape):
        return shape
    raise OperandError(f"cannot reshape array of size {size} and shape {have} into shape {shape}")


def _order(order: str) -> str:
    if order not in ("C", "F", "A", "K"):
        raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K' (got {order!r})")
    return "F" if order == "F" else "C"


@eager(np.ravel, view=True)
def ravel(a: Any, order: str = "C") -> Any:
    """As :func:`numpy.ravel`."""
    a = asarray(a)
    return reshape_to(a if _order(order) == "C" else transpose(a), (prod(a.shape),))


@eager(np.squeeze, view=True)
def squeeze(a: Any, axis: Any = None) -> Any:
    """As :func:`numpy.squeeze`."""
    a = asarray(a)
    if axis is None:
        return reshape_to(a, tuple(n for n in a.shape if n != 1))
    axes = () if not a.ndim and axis in (0, -1) else axis_tuple(axis, a.ndim)
    if any(a.shape[i] != 1 for i in axes):
        raise OperandError(f"cannot select an axis to squeeze out which has size not equal to one: {axis} of {a.shape}")
    return reshape_to(a, tuple(n for i, n in enumerate(a.shape) if i not in axes))


@eager(np.expand_dims, view=True)
def expand_dims(a: Any, axis: Any) -> Any:
    """As :func:`numpy.expand_dims`."""
    a = asarray(a)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    rank = a.ndim + len(axes)
    places = axis_tuple(tuple(axes), rank)
    sizes = iter(a.shape)
    return reshape_to(a, tuple(1 if i in places else next(sizes) for i in range(rank)))


@eager(np.atleast_1d, view=True)
def atleast_1d(*arys: Any) -> Any:
    """As :func:`numpy.atleast_1d`."""
    return _each(lambda x: x if x.ndim >= 1 else reshape_to(x, (1,)), arys)


@eager(np.atleast_2d, view=True)
def atleast_2d(*arys: Any) -> Any:
    """As :func:`numpy.atleast_2d`."""
    return _each(lambda x: x if x.ndim >= 2 else reshape_to(x, (1, prod(x.shape))), arys)


@eager(np.atleast_3d, view=True)
def atleast_3d(*arys: Any) -> Any:
    """As :func:`numpy.atleast_3d`."""

    def one(x: Any) -> Any:
        if x.ndim >= 3:
            return x
        return reshape_to(x, (*x.shape, 1) if x.ndim == 2 else (1, prod(x.shape), 1))

    return _each(one, arys)


def _each(function: Callable[[Any], Any], arrays: Sequence[Any]) -> Any:
    results = tuple(function(asarray(x)) for x in arrays)
    return results[0] if len(results) == 1 else results


# Axes -----------------------------------------------------------------------------------------------------------------


@eager(np.transpose, view=True)
def transpose(a: Any, axes: Any = None) -> Any:
    """As :func:`numpy.transpose`."""
    a = asarray(a)
    if axes is None:
        return permute(a, range(a.ndim)[::-1])
    order = tuple(normalize_axis(i, a.ndim) for i in axes)
    if sorted(order) != list(range(a.ndim)):
        raise OperandError(f"transpose: axes {tuple(axes)} don't match the array of shape {a.shape}")
    return permute(a, order)


permute_dims = transpose


@eager(np.matrix_transpose, view=True)
def matrix_transpose(x: Any, /) -> Any:
    """As :func:`numpy.matrix_transpose`."""
    x = asarray(x)
    if x.ndim < 2:
        raise OperandError(f"matrix_transpose: the array must be at least 2-dimensional, not of shape {x.shape}")
    return swapaxes(x, -1, -2)


@eager(np.swapaxes, view=True)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """As :func:`numpy.swapaxes`."""
    a = asarray(a)
    i, j = normalize_axis(axis1, a.ndim), normalize_axis(axis2, a.ndim)
    order = list(range(a.ndim))
    order[i], order[j] = j, i
    return permute(a, order)


@eager(np.moveaxis, view=True)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """As :func:`numpy.moveaxis`."""
    a = asarray(a)
    start = [normalize_axis(i, a.ndim) for i in (source if isinstance(source, (tuple, list)) else (source,))]
    end = [
        normalize_axis(i, a.ndim) for i in (destination if isinstance(destination, (tuple, list)) else (destination,))
    ]
    if len(start) != len(end):
        raise ValueError("`source` and `destination` arguments must have the same number of elements")
    if len(set(start)) != len(start) or len(set(end)) != len(end):
        raise ValueError("repeated axis in `source` or `destination` argument")
    order = [i for i in range(a.ndim) if i not in start]
    for to, i in sorted(zip(end, start)):
        order.insert(to, i)
    return permute(a, order)


@eager(np.rollaxis, view=True)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """As :func:`numpy.rollaxis`."""
    a = asarray(a)
    axis = normalize_axis(axis, a.ndim)
    start = start if start == a.ndim else normalize_axis(start, a.ndim)
    order = [i for i in range(a.ndim) if i != axis]
    order.insert(start - (start > axis), axis)
    return permute(a, order)


@eager(_copied(np.diagonal), view=True, readonly=True)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """As :func:`numpy.diagonal`, but never a view."""
    a = asarray(a)
    if a.ndim < 2:
        raise OperandError(f"diag requires an array of at least two dimensions, not of shape {a.shape}")
    i, j = normalize_axis(axis1, a.ndim), normalize_axis(axis2, a.ndim)
    if i == j:
        raise ValueError("axis1 and axis2 cannot be the same")
    down, right = max(-offset, 0), max(offset, 0)
    n = max(min(a.shape[i] - down, a.shape[j] - right), 0)
    steps = np.arange(n)
    result = prim.gather(a, steps + down, steps + right, axes=(i, j))
    return permute(result, (*range(1, result.ndim), 0))


# Broadcasting ---------------------------------------------------------------------------------------------------------


@eager(_copied(np.broadcast_to), view=True, readonly=True)
def broadcast_to(array: Any, shape: Any) -> Any:
    """As :func:`numpy.broadcast_to`, but never a read-only view."""
    x, shape = asarray(array), shape_tuple(shape)
    if x.ndim > len(shape) or any(n not in (1, m) for n, m in zip(x.shape[::-1], shape[::-1])):
        raise OperandError(f"broadcast_to: an array of shape {x.shape} does not broadcast to the shape {shape}")
    return x if x.shape == shape else expand_to(x, shape)


@eager(_copied(np.broadcast_arrays), view=True, readonly=True)
def broadcast_arrays(*args: Any) -> tuple[Any, ...]:
    """As :func:`numpy.broadcast_arrays`, but the results are no views of each other."""
    arrays = [asarray(x) for x in args]
    shape = _broadcast_shapes("broadcast_arrays", *(x.shape for x in arrays))
    return tuple(broadcast_to(x, shape) for x in arrays)


def broadcast_shapes(*args: Any) -> Shape:
    """As :func:`numpy.broadcast_shapes`."""
    return _broadcast_shapes("broadcast_shapes", *map(shape_tuple, args))


# Order ----------------------------------------------------------------------------------------------------------------


@eager(np.flip, view=True)
def flip(m: Any, axis: Any = None) -> Any:
    """As :func:`numpy.flip`."""
    m = asarray(m)
    axes = axis_tuple(axis, m.ndim)
    return prim.rev(m, axes=axes) if any(m.shape[i] > 1 for i in axes) else m


@eager(np.flipud, view=True)
def flipud(m: Any) -> Any:
    """As :func:`numpy.flipud`."""
    m = asarray(m)
    if m.ndim < 1:
        raise OperandError("flipud: the input must be at least 1-d")
    return flip(m, 0)


@eager(np.fliplr, view=True)
def fliplr(m: Any) -> Any:
    """As :func:`numpy.fliplr`."""
    m = asarray(m)
    if m.ndim < 2:
        raise OperandError(f"fliplr: the input must be at least 2-d, not of shape {m.shape}")
    return flip(m, 1)


@eager(np.rot90, view=True)
def rot90(m: Any, k: int = 1, axes: Sequence[int] = (0, 1)) -> Any:
    """As :func:`numpy.rot90`."""
    m = asarray(m)
    if len(axes) != 2:
        raise ValueError("len(axes) must be 2.")
    i, j = normalize_axis(axes[0], m.ndim), normalize_axis(axes[1], m.ndim)
    if i == j:
        raise ValueError("Axes must be different.")
    k %= 4
    if k == 0:
        return m
    if k == 2:
        return flip(m, (i, j))
    return swapaxes(flip(m, j), i, j) if k == 1 else flip(swapaxes(m, i, j), j)


@eager(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """As :func:`numpy.roll`; the shift may be traced."""
    a = asarray(a)
    if axis is None:
        return reshape_to(roll(ravel(a), shift, 0), a.shape)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    if not axes:
        return a
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,)
    if isinstance(shift, (Tracer, np.ndarray)) and len(shift.shape) == 1:
        shifts = [getitem(shift, i) for i in range(shift.shape[0])]
    if len(shifts) == 1 or len(axes) == 1:
        n = max(len(shifts), len(axes))
        shifts, axes = tuple(shifts) * (n // len(shifts)), tuple(axes) * (n // len(axes))
    if len(shifts) != len(axes):
        raise ValueError("'shift' and 'axis' should be scalars or 1D sequences")
    for by, along in zip(shifts, axes):
        a = _roll_one(a, by, normalize_axis(along, a.ndim))
    return a


def _roll_one(a: Any, shift: Any, axis: int) -> Any:
    n = a.shape[axis]
    if not n:
        return a
    if isinstance(shift, Tracer):
        if shift.dtype.kind not in "iu":
            raise OperandTypeError(f"roll: the shift must be an integer, not of dtype {shift.dtype}")
        start = prim.remainder(prim.neg(prim.convert(shift, dtype=INDEX)), np.int64(n))
        index = prim.remainder(prim.add(prim.iota(shape=(n,), dtype=INDEX, axis=0), start), np.int64(n))
        return take(a, index, axis)
    cut = operator.index(-shift) % n
    if not cut:
        return a
    before = (slice(None),) * axis
    return prim.concatenate(getitem(a, (*before, slice(cut, None))), getitem(a, (*before, slice(None, cut))), axis=axis)


@eager(np.ix_)
def ix_(*args: Any) -> tuple[Any, ...]:
    """As :func:`numpy.ix_`. A boolean sequence must have a concrete value."""
    results = []
    for k, arg in enumerate(args):
        x = asarray(arg)
        if x.ndim != 1:
            raise OperandError("ix_: each sequence must have one axis")
        if x.dtype == np.bool_:
            x = np.flatnonzero(x.concrete("a mask given to ix_") if isinstance(x, Tracer) else x)
        results.append(reshape_to(x, (1,) * k + x.shape + (1,) * (len(args) - k - 1)))
    return tuple(results)
