"""Reductions, cumulative reductions and sorting."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandError, OperandTypeError
from ..core.types import aval_of, dtype_name
from ..numpy._promote import convert_to
from ._elementwise import add, bitwise_and, bitwise_or, max, min, mul
from ._strict import apply, axis_tuple, canonical_axis, operands, scalar_like
from ._structure import slice_in_dim

__all__ = [
    "argmax",
    "argmin",
    "cumlogsumexp",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "reduce",
    "reduce_and",
    "reduce_max",
    "reduce_min",
    "reduce_or",
    "reduce_prod",
    "reduce_sum",
    "sort",
    "top_k",
]

_INT64 = np.dtype(np.int64)


def _reduction(primitive: Any, name: str, meaning: str) -> Callable[..., Any]:
    def function(operand: Any, axes: Sequence[int]) -> Any:
        (x,) = operands(name, operand)
        return apply(primitive, x, axes=axis_tuple(name, axes, aval_of(x).ndim))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{meaning} over ``axes``, which the result does not have."
    return function


reduce_sum = _reduction(prim.reduce_sum, "reduce_sum", "Sum")
reduce_prod = _reduction(prim.reduce_prod, "reduce_prod", "Product")
reduce_max = _reduction(prim.reduce_max, "reduce_max", "Maximum")
reduce_min = _reduction(prim.reduce_min, "reduce_min", "Minimum")
reduce_and = _reduction(prim.reduce_and, "reduce_and", "Conjunction")
reduce_or = _reduction(prim.reduce_or, "reduce_or", "Disjunction")

_MONOIDS = {
    add: reduce_sum, mul: reduce_prod, max: reduce_max, min: reduce_min, bitwise_and: reduce_and, bitwise_or: reduce_or
}  # fmt: skip


def reduce(operands: Any, init_values: Any, computation: Callable[..., Any], dimensions: Sequence[int]) -> Any:
    """The reduction of an array by ``computation``, one of lax.add, mul, max, min, bitwise_and and bitwise_or."""
    reduction = _MONOIDS.get(computation)
    if reduction is None:
        known = ", ".join(f"lax.{f.__name__}" for f in _MONOIDS)
        raise OperandError(f"lax.reduce: the computation must be one of {known}; use lax.associative_scan or lax.scan")
    return computation(reduction(operands, dimensions), init_values)


def _indexing_reduction(primitive: Any, name: str, meaning: str) -> Callable[..., Any]:
    def function(operand: Any, axis: int, index_dtype: Any = np.int64) -> Any:
        (x,) = operands(name, operand)
        found = apply(primitive, x, axis=canonical_axis(name, axis, aval_of(x).ndim))
        return convert_to(found, np.dtype(index_dtype))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The index of the first {meaning} along ``axis``, which the result does not have."
    return function


argmax = _indexing_reduction(prim.argmax, "argmax", "maximum")
argmin = _indexing_reduction(prim.argmin, "argmin", "minimum")


def _cumulative(primitive: Any, name: str, meaning: str) -> Callable[..., Any]:
    def function(operand: Any, axis: int = 0, reverse: bool = False) -> Any:
        (x,) = operands(name, operand)
        return apply(primitive, x, axis=canonical_axis(name, axis, aval_of(x).ndim), reverse=bool(reverse))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The {meaning} of the elements up to each along ``axis``, or from each on if ``reverse``."
    return function


cumsum = _cumulative(prim.cumsum, "cumsum", "sum")
cumprod = _cumulative(prim.cumprod, "cumprod", "product")
cummax = _cumulative(prim.cummax, "cummax", "maximum")
cummin = _cumulative(prim.cummin, "cummin", "minimum")


def cumlogsumexp(operand: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The logarithm of the sum of exponentials of the elements up to each, or from each on if ``reverse``.

    By doubling: after step k each element holds the sum of the 2^k before it, so that every sum is scaled by a maximum
    of its own and nothing under- or overflows.
    """
    (x,) = operands("cumlogsumexp", operand)
    have = aval_of(x).shape
    axis = canonical_axis("cumlogsumexp", axis, len(have))
    if aval_of(x).dtype.kind != "f":
        raise OperandTypeError(f"lax.cumlogsumexp takes a real floating dtype, not {dtype_name(aval_of(x).dtype)}")
    n, step = have[axis], 1
    while step < n:
        lo, hi = (-step, step) if reverse else (step, -step)
        shift = tuple((lo, hi, 0) if a == axis else (0, 0, 0) for a in range(len(have)))
        x = _logaddexp(x, prim.pad(x, scalar_like(x, -np.inf), config=shift))
        step *= 2
    return x


def _logaddexp(x: Any, y: Any) -> Any:
    top = prim.max_(x, y)
    # A common infinity must not be subtracted from itself.
    top = prim.select(prim.is_finite(top), top, scalar_like(x, 0))
    return prim.add(prim.log(prim.add(prim.exp(prim.sub(x, top)), prim.exp(prim.sub(y, top)))), top)


# Sorting --------------------------------------------------------------------------------------------------------------


def _take_along(x: Any, order: Any, axis: int) -> Any:
    shape = aval_of(order).shape
    grid = [order if a == axis else prim.iota(shape=shape, dtype=_INT64, axis=a) for a in range(len(shape))]
    return prim.gather(x, *grid, axes=tuple(range(len(shape))))


def sort(operand: Any, dimension: int = -1, is_stable: bool = True, num_keys: int = 1) -> Any:
    """The elements in ascending order along an axis, NaN last; equal ones keep their order if ``is_stable``.

    Of a sequence of arrays of one shape, the first ``num_keys`` are the keys, the first of them the most important, and
    all are brought into the order of the keys.
    """
    if not isinstance(operand, (tuple, list)):
        (x,) = operands("sort", operand)
        return apply(prim.sort, x, axis=canonical_axis("sort", dimension, aval_of(x).ndim), stable=is_stable)
    arrays = [operands("sort", x)[0] for x in operand]
    shapes = [aval_of(x).shape for x in arrays]
    if not arrays or any(s != shapes[0] for s in shapes) or not 1 <= num_keys <= len(arrays):
        raise OperandError(f"lax.sort takes arrays of one shape, of which {num_keys} are keys, not the shapes {shapes}")
    axis = canonical_axis("sort", dimension, len(shapes[0]))
    order = None
    for key in reversed(arrays[:num_keys]):
        # By the less important keys first: a stable sort keeps their order.
        stable = is_stable or order is not None
        now = prim.argsort(key if order is None else _take_along(key, order, axis), axis=axis, stable=stable)
        order = now if order is None else _take_along(order, now, axis)
    return tuple(_take_along(x, order, axis) for x in arrays)


def top_k(operand: Any, k: int, *, axis: int = -1) -> tuple[Any, Any]:
    """The ``k`` greatest elements along an axis, greatest first, and their int64 indices; of equals the first wins."""
    (x,) = operands("top_k", operand)
    have = aval_of(x).shape
    axis = canonical_axis("top_k", axis, len(have))
    n, k = have[axis], operator.index(k)
    if not 0 <= k <= n:
        raise OperandError(f"lax.top_k: k = {k} must be between 0 and {n}, the size of axis {axis} of {have}")
    # The reverse of an ascending stable order of the reversed array is descending, and stable.
    backwards = prim.argsort(prim.rev(x, axes=(axis,)), axis=axis, stable=True)
    order = prim.sub(np.int64(n - 1), slice_in_dim(backwards, n - k, n, axis=axis))
    order = prim.rev(order, axes=(axis,))
    return _take_along(x, order, axis), order
