"""Operations that make, rearrange and cut out elements.

Unlike in JAX, an index or a window out of range raises instead of being moved into range, and indices are int64.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandError, OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of
from ..numpy._promote import convert_to
from ..numpy._promote import full as _full
from ._strict import apply, axis_tuple, canonical_axis, checked_aval, operand, operands, static_shape

__all__ = [
    "broadcast",
    "broadcast_in_dim",
    "broadcast_shapes",
    "broadcasted_iota",
    "collapse",
    "concatenate",
    "dynamic_index_in_dim",
    "dynamic_slice",
    "dynamic_slice_in_dim",
    "dynamic_update_index_in_dim",
    "dynamic_update_slice",
    "dynamic_update_slice_in_dim",
    "expand_dims",
    "full",
    "full_like",
    "index_in_dim",
    "iota",
    "pad",
    "reshape",
    "rev",
    "slice",
    "slice_in_dim",
    "split",
    "squeeze",
    "transpose",
]

_INT64 = np.dtype(np.int64)


def full(shape: Sequence[int], fill_value: Any, dtype: Any = None) -> Any:
    """An array of one value, a scalar."""
    aval = checked_aval("full", 1, fill_value)
    if aval.shape:
        raise OperandTypeError(f"lax.full must be called with scalar fill_value, not one of shape {aval.shape}")
    return _full(static_shape(shape), fill_value, aval.dtype if dtype is None else dtype)


def full_like(x: Any, fill_value: Any, dtype: Any = None, shape: Sequence[int] | None = None) -> Any:
    """An array of one value, with the shape and dtype of ``x`` unless others are given."""
    aval = checked_aval("full_like", 0, x)
    return full(aval.shape if shape is None else shape, fill_value, aval.dtype if dtype is None else dtype)


def iota(dtype: Any, size: int) -> Any:
    """0, 1, 2, ..., size - 1."""
    return broadcasted_iota(dtype, (size,), 0)


def broadcasted_iota(dtype: Any, shape: Sequence[int], dimension: int) -> Any:
    """0, 1, 2, ... along the axis ``dimension`` of an array."""
    shape = static_shape(shape)
    axis = canonical_axis("broadcasted_iota", dimension, len(shape))
    return prim.iota(shape=shape, dtype=np.dtype(dtype), axis=axis)


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that all ``shapes`` broadcast to by NumPy's rule."""
    try:
        return np.broadcast_shapes(*map(tuple, shapes))
    except ValueError:
        raise OperandError(f"lax.broadcast_shapes: {', '.join(map(str, shapes))} do not broadcast together") from None


def broadcast_in_dim(operand: Any, shape: Sequence[int], broadcast_dimensions: Sequence[int]) -> Any:
    """Axis i of ``operand`` becomes axis ``broadcast_dimensions[i]`` of an array of ``shape``."""
    (x,) = operands("broadcast_in_dim", operand)
    return apply(prim.broadcast_in_dim, x, shape=static_shape(shape), dims=static_shape(broadcast_dimensions))


def broadcast(operand: Any, sizes: Sequence[int]) -> Any:
    """``operand`` repeated along new leading axes of these sizes."""
    (x,) = operands("broadcast", operand)
    sizes, have = static_shape(sizes), aval_of(x).shape
    dims = tuple(range(len(sizes), len(sizes) + len(have)))
    return apply(prim.broadcast_in_dim, x, shape=(*sizes, *have), dims=dims)


def reshape(operand: Any, new_sizes: Sequence[int], dimensions: Sequence[int] | None = None) -> Any:
    """The elements in row-major order, after a transposition to the order ``dimensions``, in another shape."""
    (x,) = operands("reshape", operand)
    if dimensions is not None:
        x = transpose(x, dimensions)
    return apply(prim.reshape, x, shape=static_shape(new_sizes))


def collapse(operand: Any, start_dimension: int, stop_dimension: int | None = None) -> Any:
    """The axes from ``start_dimension`` up to, not including, ``stop_dimension`` made one."""
    (x,) = operands("collapse", operand)
    have = aval_of(x).shape
    lo, hi, _ = builtins.slice(start_dimension, stop_dimension).indices(len(have))
    if hi <= lo:
        raise OperandError(f"lax.collapse: there is no axis from {start_dimension} to {stop_dimension} of {have}")
    return apply(prim.reshape, x, shape=(*have[:lo], prod(have[lo:hi]), *have[hi:]))


def transpose(operand: Any, permutation: Sequence[int]) -> Any:
    """Axis i of the result is axis ``permutation[i]`` of ``operand``."""
    (x,) = operands("transpose", operand)
    return apply(prim.transpose, x, axes=static_shape(permutation))


def rev(operand: Any, dimensions: Sequence[int]) -> Any:
    """The elements along ``dimensions`` in reverse order."""
    (x,) = operands("rev", operand)
    return apply(prim.rev, x, axes=static_shape(dimensions))


def squeeze(array: Any, dimensions: Sequence[int]) -> Any:
    """Without the axes ``dimensions``, which have size 1."""
    (x,) = operands("squeeze", array)
    have = aval_of(x).shape
    axes = axis_tuple("squeeze", tuple(dimensions), len(have))
    if any(have[a] != 1 for a in axes):
        raise OperandError(f"lax.squeeze: the axes {tuple(dimensions)} of the shape {have} are not all of size 1")
    return apply(prim.reshape, x, shape=tuple(n for a, n in enumerate(have) if a not in axes))


def expand_dims(array: Any, dimensions: Sequence[int]) -> Any:
    """With axes of size 1 at the places ``dimensions`` of the result."""
    (x,) = operands("expand_dims", array)
    have = aval_of(x).shape
    rank = len(have) + len(tuple(dimensions))
    axes = axis_tuple("expand_dims", tuple(dimensions), rank)
    sizes = iter(have)
    return apply(prim.reshape, x, shape=tuple(1 if a in axes else next(sizes) for a in range(rank)))


def concatenate(operands: Sequence[Any], dimension: int) -> Any:
    """One array after the other along an axis."""
    arrays = [operand("concatenate", x) for x in operands]
    if not arrays:
        raise OperandError("lax.concatenate takes at least one operand")
    axis = canonical_axis("concatenate", dimension, aval_of(arrays[0]).ndim)
    return apply(prim.concatenate, *arrays, axis=axis)


def split(operand: Any, sizes: Sequence[int], axis: int = 0) -> list[Any]:
    """Consecutive parts of these sizes along an axis; the sizes must sum up to the axis."""
    (x,) = operands("split", operand)
    have = aval_of(x).shape
    axis = canonical_axis("split", axis, len(have))
    if sum(sizes) != have[axis]:
        raise OperandError(f"lax.split: the sizes {tuple(sizes)} do not sum up to axis {axis} of the shape {have}")
    ends = np.cumsum([0, *sizes]).tolist()
    return [slice_in_dim(x, a, b, axis=axis) for a, b in pairwise(ends)]


def pad(operand: Any, padding_value: Any, padding_config: Sequence[tuple[int, int, int]]) -> Any:
    """``padding_value`` before, after and between the elements: (low, high, interior) for each axis."""
    x, value = operands("pad", operand, padding_value)
    return apply(prim.pad, x, value, config=tuple(static_shape(entry) for entry in padding_config))


def slice(
    operand: Any, start_indices: Sequence[int], limit_indices: Sequence[int], strides: Sequence[int] | None = None
) -> Any:
    """The elements ``start:limit:stride`` along every axis."""
    (x,) = operands("slice", operand)
    step = (1,) * len(tuple(start_indices)) if strides is None else static_shape(strides)
    return apply(prim.slice_, x, start=static_shape(start_indices), limit=static_shape(limit_indices), stride=step)


def slice_in_dim(operand: Any, start_index: int | None, limit_index: int | None, stride: int = 1, axis: int = 0) -> Any:
    """The elements ``start_index:limit_index:stride`` along one axis; negative bounds count from the end."""
    (x,) = operands("slice_in_dim", operand)
    have = aval_of(x).shape
    axis = canonical_axis("slice_in_dim", axis, len(have))
    n = have[axis]
    start = 0 if start_index is None else operator.index(start_index)
    limit = n if limit_index is None else operator.index(limit_index)
    start, limit = start + n * (start < 0), limit + n * (limit < 0)
    return slice(
        x,
        [start if a == axis else 0 for a in range(len(have))],
        [limit if a == axis else m for a, m in enumerate(have)],
        [stride if a == axis else 1 for a in range(len(have))],
    )


def index_in_dim(operand: Any, index: int, axis: int = 0, keepdims: bool = True) -> Any:
    """The elements at one static index of an axis, which is kept with size 1 unless ``keepdims`` is false."""
    (x,) = operands("index_in_dim", operand)
    axis = canonical_axis("index_in_dim", axis, aval_of(x).ndim)
    n, i = aval_of(x).shape[axis], operator.index(index)
    if not -n <= i < n:
        raise IndexError(f"lax.index_in_dim: index {i} is out of bounds for axis {axis} with size {n}")
    part = slice_in_dim(x, i % n, i % n + 1, axis=axis)
    return part if keepdims else squeeze(part, (axis,))


def _starts(name: str, start_indices: Any, rank: int) -> list[Any]:
    """The starts of a window as rank-0 int64s, from a sequence of scalars or an integer vector."""
    if isinstance(start_indices, Tracer) or hasattr(start_indices, "ndim"):
        n = start_indices.shape[0] if start_indices.ndim == 1 else None
        if n is None:
            raise OperandError(
                f"lax.{name}: the start indices must be scalars or a vector, not {aval_of(start_indices)}"
            )
        items: list[Any] = [prim.reshape(slice(start_indices, [i], [i + 1]), shape=()) for i in range(n)]
    else:
        items = list(start_indices)
    if len(items) != rank:
        raise OperandError(f"lax.{name}: {len(items)} start indices for an operand with {rank} axes")
    return [_start(name, i) for i in items]


def _start(name: str, index: Any) -> Any:
    aval = checked_aval(name, 1, index)
    if aval.shape or aval.dtype.kind not in "iu":
        raise OperandTypeError(f"lax.{name}: a start index must be an integer scalar, not {aval}")
    return convert_to(index, _INT64, strong=True)


def dynamic_slice(operand: Any, start_indices: Any, slice_sizes: Sequence[int]) -> Any:
    """The window of shape ``slice_sizes`` that begins at ``start_indices``, which may be traced.

    Raises IndexError, when it runs, if the window does not lie in the operand (JAX moves it into range).
    """
    (x,) = operands("dynamic_slice", operand)
    starts = _starts("dynamic_slice", start_indices, aval_of(x).ndim)
    return apply(prim.dynamic_slice, x, *starts, sizes=static_shape(slice_sizes))


def dynamic_update_slice(operand: Any, update: Any, start_indices: Any) -> Any:
    """``operand`` with the window that begins at ``start_indices`` replaced by ``update``.

    Raises IndexError, when it runs, if the window does not lie in the operand (JAX moves it into range).
    """
    x, u = operands("dynamic_update_slice", operand, update)
    starts = _starts("dynamic_update_slice", start_indices, aval_of(x).ndim)
    return apply(prim.dynamic_update_slice, x, u, *starts)


def _starts_in_dim(index: Any, axis: int, rank: int) -> list[Any]:
    return [index if a == axis else 0 for a in range(rank)]


def dynamic_slice_in_dim(operand: Any, start_index: Any, slice_size: int, axis: int = 0) -> Any:
    """:func:`dynamic_slice` along one axis."""
    (x,) = operands("dynamic_slice_in_dim", operand)
    have = aval_of(x).shape
    axis = canonical_axis("dynamic_slice_in_dim", axis, len(have))
    sizes = [slice_size if a == axis else n for a, n in enumerate(have)]
    return dynamic_slice(x, _starts_in_dim(start_index, axis, len(have)), sizes)


def dynamic_index_in_dim(operand: Any, index: Any, axis: int = 0, keepdims: bool = True) -> Any:
    """The elements at one index of an axis, which is kept with size 1 unless ``keepdims`` is false."""
    part = dynamic_slice_in_dim(operand, index, 1, axis)
    return part if keepdims else squeeze(part, (axis,))


def dynamic_update_slice_in_dim(operand: Any, update: Any, start_index: Any, axis: int) -> Any:
    """:func:`dynamic_update_slice` along one axis."""
    x, u = operands("dynamic_update_slice_in_dim", operand, update)
    rank = aval_of(x).ndim
    axis = canonical_axis("dynamic_update_slice_in_dim", axis, rank)
    return dynamic_update_slice(x, u, _starts_in_dim(start_index, axis, rank))


def dynamic_update_index_in_dim(operand: Any, update: Any, index: Any, axis: int) -> Any:
    """``operand`` with the elements at one index of an axis replaced; ``update`` may lack that axis."""
    x, u = operands("dynamic_update_index_in_dim", operand, update)
    have = aval_of(x).shape
    axis = canonical_axis("dynamic_update_index_in_dim", axis, len(have))
    if aval_of(u).ndim != len(have):
        u = broadcast_in_dim(
            u,
            tuple(1 if a == axis else n for a, n in enumerate(have)),
            tuple(a for a in range(len(have)) if a != axis) if aval_of(u).ndim else (),
        )
    return dynamic_update_slice_in_dim(x, u, index, axis)
