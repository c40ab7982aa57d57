"""Reductions and running reductions. All keep the dtype: the standard's own sum of int32 would be wider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .elementwise import is_bool, maximum, minimum, multiply, refuse_complex

__all__ = ["OPS", "running_product"]


def _along(x, axes):
    """The axes as the standard takes them."""
    return tuple(a % x.ndim for a in axes)


def reduce_sum(xp, x, *, axes):
    """The sum over some axes."""
    if not axes:
        return xp.asarray(x, copy=True)
    return xp.any(x, axis=_along(x, axes)) if is_bool(xp, x) else xp.sum(x, axis=_along(x, axes), dtype=x.dtype)


def reduce_prod(xp, x, *, axes):
    """The product over some axes."""
    if not axes:
        return xp.asarray(x, copy=True)
    return xp.all(x, axis=_along(x, axes)) if is_bool(xp, x) else xp.prod(x, axis=_along(x, axes), dtype=x.dtype)


def _extreme(number: str, truth: str) -> Callable[..., Any]:
    """The largest or smallest element over some axes; NaN if there is one."""

    def reduce(xp, x, *, axes):
        refuse_complex(xp, number, x)
        if not axes:
            return xp.asarray(x, copy=True)
        return getattr(xp, truth if is_bool(xp, x) else number)(x, axis=_along(x, axes))

    return reduce


def reduce_and(xp, x, *, axes):
    """Whether all elements over some axes are true."""
    return xp.all(x, axis=_along(x, axes)) if axes else x != 0 if not is_bool(xp, x) else xp.asarray(x, copy=True)


def reduce_or(xp, x, *, axes):
    """Whether any element over some axes is true."""
    return xp.any(x, axis=_along(x, axes)) if axes else x != 0 if not is_bool(xp, x) else xp.asarray(x, copy=True)


def _place(name: str) -> Callable[..., Any]:
    """The index of the largest or smallest element along an axis, the first of equals."""

    def find(xp, x, *, axis):
        refuse_complex(xp, name, x)
        return xp.astype(getattr(xp, name)(xp.astype(x, xp.uint8) if is_bool(xp, x) else x, axis=axis), xp.int64)

    return find


def _reversible(accumulate: Callable[..., Any]) -> Callable[..., Any]:
    """A running reduction, from the other end if ``reverse``."""

    def function(xp, x, *, axis, reverse=False):
        if reverse:
            return xp.asarray(xp.flip(accumulate(xp, xp.flip(x, axis=axis), axis), axis=axis), copy=True)
        return accumulate(xp, x, axis)

    return function


def _cumsum(xp, x, axis):
    return xp.cumulative_sum(x, axis=axis, dtype=x.dtype)


def _doubling(operation: Callable[..., Any]) -> Callable[..., Any]:
    """A running reduction in log2(n) steps: after each, an element holds what twice as many before it give."""

    def accumulate(xp, x, axis):
        before = (slice(None),) * axis
        behind = (slice(None),) * (x.ndim - axis - 1)
        result, n, step = xp.asarray(x, copy=True), x.shape[axis], 1
        while step < n:
            head = result[(*before, slice(0, step), *behind)]
            early = result[(*before, slice(0, n - step), *behind)]
            late = result[(*before, slice(step, n), *behind)]
            result, step = xp.concat([head, operation(xp, early, late)], axis=axis), 2 * step
        return result

    return accumulate


running_product = _reversible(_doubling(multiply))


OPS: dict[str, Callable[..., Any]] = {
    "argmax": _place("argmax"),
    "argmin": _place("argmin"),
    "cummax": _reversible(_doubling(maximum)),
    "cummin": _reversible(_doubling(minimum)),
    "cumprod": running_product,
    "cumsum": _reversible(_cumsum),
    "reduce_and": reduce_and,
    "reduce_max": _extreme("max", "any"),
    "reduce_min": _extreme("min", "all"),
    "reduce_or": reduce_or,
    "reduce_prod": reduce_prod,
    "reduce_sum": reduce_sum,
}
