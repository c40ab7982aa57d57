"""Reductions that ignore NaN: a NaN is replaced by what changes nothing, and is not counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import primitives as p
from ..core.types import aval_of, is_inexact, shape_of
from ._promote import NO_VALUE, convert_to, eager, refuse_out
from ._reductions import (
    Axis,
    any,
    argmax,
    argmin,
    array_of,
    cumprod,
    cumsum,
    degrees_taken,
    max,
    mean,
    min,
    prod,
    reduced_axes,
    root,
    sum,
    var,
)
from ._ufuncs import isnan, logical_and, logical_not

__all__ = [
    "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum",
    "nanvar",
]  # fmt: skip

_FLOAT64 = np.dtype(np.float64)


def _without_nan(name: str, a: Any, neutral: Any) -> tuple[Any, Any]:
    """The array with its NaNs replaced, and the mask of what is a number (True where all dtypes' values are)."""
    x = array_of(name, a)
    if not is_inexact(aval_of(x).dtype):
        return x, True
    nan = isnan(x)
    return p.select(nan, aval_of(x).dtype.type(neutral), x), logical_not(nan)


def _both(mask: Any, where: Any) -> Any:
    if where is True or where is NO_VALUE:
        return mask
    return where if mask is True else logical_and(mask, where)


def _nan_reduction(name: str, function: Callable[..., Any], neutral: int) -> Callable[..., Any]:
    """``nansum`` or ``nanprod``."""

    def reduction(
        a: Any,
        axis: Axis = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = True,
    ) -> Any:
        refuse_out(name, out)
        x, _ = _without_nan(name, a, neutral)
        return function(x, axis, dtype, None, keepdims, initial, where)

    reduction.__name__ = reduction.__qualname__ = name
    reduction.__doc__ = f"As :func:`numpy.{name}`."
    return eager(getattr(np, name))(reduction)


nansum = _nan_reduction("nansum", sum, 0)
nanprod = _nan_reduction("nanprod", prod, 1)


def _nan_extremum(name: str, function: Callable[..., Any], neutral: float) -> Callable[..., Any]:
    """``nanmax`` or ``nanmin``."""

    def extremum(
        a: Any, axis: Axis = None, out: Any = None, keepdims: Any = False, initial: Any = NO_VALUE, where: Any = True
    ) -> Any:
        refuse_out(name, out)
        x, mask = _without_nan(name, a, neutral)
        y = function(x, axis, None, keepdims, initial, where)
        if mask is True:
            return y
        found = any(_both(mask, where), axis, keepdims=keepdims)
        return p.select(found, y, aval_of(x).dtype.type(math.nan)) if initial is NO_VALUE else y

    extremum.__name__ = extremum.__qualname__ = name
    extremum.__doc__ = f"As :func:`numpy.{name}`, without its warning for a slice of NaNs only, whose result is NaN."
    return eager(getattr(np, name))(extremum)


nanmax = _nan_extremum("nanmax", max, -math.inf)
nanmin = _nan_extremum("nanmin", min, math.inf)


def _nan_place(name: str, function: Callable[..., Any], neutral: float) -> Callable[..., Any]:
    """``nanargmax`` or ``nanargmin``."""

    def place(a: Any, axis: int | None = None, out: Any = None, *, keepdims: Any = False) -> Any:
        refuse_out(name, out)
        x, mask = _without_nan(name, a, neutral)
        y = function(x, axis, keepdims=keepdims)
        return y if mask is True else p.select(any(mask, axis, keepdims=keepdims), y, np.int64(-1))

    place.__name__ = place.__qualname__ = name
    place.__doc__ = f"As :func:`numpy.{name}`; a traced slice of NaNs only has the place -1, where NumPy raises."
    return eager(getattr(np, name))(place)


nanargmax = _nan_place("nanargmax", argmax, -math.inf)
nanargmin = _nan_place("nanargmin", argmin, math.inf)


@eager(np.nancumsum)
def nancumsum(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
    refuse_out("nancumsum", out)
    return cumsum(_without_nan("nancumsum", a, 0)[0], axis, dtype)


@eager(np.nancumprod)
def nancumprod(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
    refuse_out("nancumprod", out)
    return cumprod(_without_nan("nancumprod", a, 1)[0], axis, dtype)


@eager(np.nanmean)
def nanmean(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True
) -> Any:
    refuse_out("nanmean", out)
    x, mask = _without_nan("nanmean", a, 0)
    axis = axis if mask is True else reduced_axes(axis, len(shape_of(x)))
    return mean(x, axis, dtype, None, keepdims, where=_both(mask, where))


@eager(np.nanvar)
def nanvar(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = NO_VALUE,
    correction: float = NO_VALUE,
) -> Any:
    """As :func:`numpy.nanvar`: NaN where there are not more numbers than ``ddof``."""
    refuse_out("nanvar", out)
    x, mask = _without_nan("nanvar", a, 0)
    axis = axis if mask is True else reduced_axes(axis, len(shape_of(x)))
    counted = _both(mask, where)
    ddof = degrees_taken(ddof, correction)
    result = var(x, axis, dtype, None, ddof, keepdims, where=counted, mean=mean)
    if mask is True:
        return result
    enough = p.gt(convert_to(sum(counted, axis, keepdims=keepdims), _FLOAT64), float(ddof))
    return p.select(enough, result, aval_of(result).dtype.type(math.nan))


@eager(np.nanstd)
def nanstd(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = NO_VALUE,
    correction: float = NO_VALUE,
) -> Any:
    """As :func:`numpy.nanstd`. Where all numbers are equal it has no derivative; zero is taken."""
    refuse_out("nanstd", out)
    return root(nanvar(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction))
