"""Order statistics: medians and quantiles, by sorting; and those that ignore NaN, which is sorted last."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import primitives as p
from ..core.errors import OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of, is_inexact, shape_of
from ._promote import INDEX, axis_tuple, convert_to, eager, expand_to, full, operand, refuse_out
from ._reductions import Axis, array_of, keep_axes, mean_dtypes
from ._ufuncs import true_divide

__all__ = ["median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "quantile"]

_FLOAT64 = np.dtype(np.float64)


def _last(x: Any, axis: Axis) -> tuple[Any, tuple[int, ...], tuple[int, ...]]:
    """``x`` with the reduced axes merged into one last axis; the shape it had, and those axes."""
    shape = shape_of(x)
    axes = axis_tuple(axis, len(shape))
    kept = [i for i in range(len(shape)) if i not in axes]
    order = (*kept, *axes)
    x = x if order == tuple(range(len(shape))) else p.transpose(x, axes=order)
    return p.reshape(x, shape=(*(shape[i] for i in kept), math.prod(shape[i] for i in axes))), shape, axes


def _element(x: Any, index: int) -> Any:
    """One element of the last axis."""
    shape = shape_of(x)
    lead = shape[:-1]
    found = p.slice_(x, start=(*[0] * len(lead), index), limit=(*lead, index + 1), stride=(1,) * len(shape))
    return p.reshape(found, shape=lead)


@eager(np.median)
def median(a: Any, axis: Axis = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    refuse_out("median", out)
    x, shape, axes = _last(array_of("median", a), axis)
    dtype = aval_of(x).dtype
    inner, outer = mean_dtypes(dtype, None)
    n = shape_of(x)[-1]
    if n == 0:
        return keep_axes(full(shape_of(x)[:-1], math.nan, outer), shape, axes, keepdims)
    ordered = p.sort(x, axis=len(shape_of(x)) - 1, stable=False)
    low, high = (convert_to(_element(ordered, i), inner) for i in ((n - 1) // 2, n // 2))
    middle = low if n % 2 else p.div(p.add(low, high), 2)
    if is_inexact(dtype):
        # NaNs are sorted last.
        largest = convert_to(_element(ordered, n - 1), inner)
        middle = p.select(p.ne(largest, largest), largest, middle)
    return keep_axes(convert_to(middle, outer), shape, axes, keepdims)


_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


@eager(np.quantile)
def quantile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """As :func:`numpy.quantile`, with the methods linear, lower, higher, midpoint and nearest; ``q`` may be traced."""
    refuse_out("quantile", out)
    a = array_of("quantile", a)
    return _quantile("quantile", a, _probability(q, 1, a), axis, method, keepdims, weights)


@eager(np.percentile)
def percentile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """As :func:`numpy.percentile`, with the methods linear, lower, higher, midpoint and nearest."""
    refuse_out("percentile", out)
    a = array_of("percentile", a)
    return _quantile("percentile", a, _probability(q, 100, a), axis, method, keepdims, weights)


def _probability(q: Any, of: int, a: Any) -> Any:
    """``q / of``; a Python scalar takes the dtype of a real array, as in NumPy."""
    q = operand("quantile", q, "q")
    if not isinstance(q, Tracer) and not (np.all(np.asarray(q) >= 0) and np.all(np.asarray(q) <= of)):
        ranges = {1: "Quantiles must be in the range [0, 1]", 100: "Percentiles must be in the range [0, 100]"}
        raise ValueError(ranges[of])
    dtype = aval_of(a).dtype
    if isinstance(q, (int, float)) and dtype.kind == "f":
        q = dtype.type(q)
    return q if of == 1 else true_divide(q, dtype.type(of) if dtype.kind == "f" else of)


def _quantile(name: str, a: Any, q: Any, axis: Axis, method: str, keepdims: bool, weights: Any) -> Any:
    if weights is not None:
        raise OperandTypeError(f"{name}: weights are not written for traced values; sort and use cumsum")
    if method not in _METHODS:
        raise ValueError(f"{name} of traced values knows the methods {', '.join(_METHODS)}, not {method!r}")
    x, shape, axes = _last(array_of(name, a), axis)
    dtype = aval_of(x).dtype
    if dtype.kind in "cb":
        raise OperandTypeError(f"{name}: a must be an array of real numbers, not of {dtype}")
    n = shape_of(x)[-1]
    if not n:
        raise IndexError(f"{name}: there is no element along the axes {axes} of an array of shape {shape}")
    wanted = _interpolated(dtype, q)
    ordered = p.sort(x, axis=len(shape_of(x)) - 1, stable=False)
    q = convert_to(q, _FLOAT64)
    q_shape = shape_of(q)
    place = p.mul(q, float(n - 1))
    below = p.floor(place)
    low = _ranked(ordered, below)
    high = _ranked(ordered, p.min_(p.add(below, 1.0), float(n - 1)))
    weight = p.sub(place, below)
    if method == "nearest":
        weight = p.sub(p.round_(place), below)
    elif method == "lower":
        weight = p.mul(weight, 0.0)
    elif method == "higher":
        weight = p.ceil(weight)
    elif method == "midpoint":
        weight = p.select(p.gt(weight, 0), _FLOAT64.type(0.5), _FLOAT64.type(0))
    if method in ("lower", "higher", "nearest"):
        wanted = dtype
        weight = p.broadcast_in_dim(weight, shape=shape_of(low), dims=tuple(range(len(q_shape))))
        y = p.select(p.gt(weight, 0), high, low)
    else:
        low, high = convert_to(low, wanted), convert_to(high, wanted)
        weight = convert_to(weight, wanted)
        weight = p.broadcast_in_dim(weight, shape=shape_of(low), dims=tuple(range(len(q_shape))))
        y = p.add(low, p.mul(p.sub(high, low), weight))
    if is_inexact(dtype):
        largest = convert_to(_element(ordered, n - 1), wanted)
        if q_shape:
            largest = expand_to(largest, shape_of(y))
        y = p.select(p.ne(largest, largest), largest, y)
    if not keepdims:
        return y
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return p.reshape(y, shape=(*q_shape, *kept))


def _interpolated(dtype: np.dtype[Any], q: Any) -> np.dtype[Any]:
    """The dtype of a quantile between elements of ``dtype``: an array of probabilities takes part in the promotion."""
    wanted = dtype if is_inexact(dtype) else _FLOAT64
    q = aval_of(q)
    return wanted if q.weak or not is_inexact(q.dtype) else np.result_type(wanted, q.dtype)


def _ranked(ordered: Any, rank: Any) -> Any:
    """The elements of these ranks of the last axis: the shape of ``rank``, then the other axes."""
    return p.gather(ordered, p.convert(rank, dtype=INDEX), axes=(len(shape_of(ordered)) - 1,))


# Ignoring NaN ---------------------------------------------------------------------------------------------------------


@eager(np.nanmedian)
def nanmedian(a: Any, axis: Axis = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    refuse_out("nanmedian", out)
    a = array_of("nanmedian", a)
    if not is_inexact(aval_of(a).dtype):
        return median(a, axis, keepdims=keepdims)
    return _nan_quantile("nanmedian", a, 0.5, axis, keepdims, median=True)


@eager(np.nanquantile)
def nanquantile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """As :func:`numpy.nanquantile`, with the method linear."""
    refuse_out("nanquantile", out)
    a = array_of("nanquantile", a)
    if not is_inexact(aval_of(a).dtype) and aval_of(a).size:
        return quantile(a, q, axis, None, overwrite_input, method, keepdims, weights=weights)
    if method != "linear" or weights is not None:
        raise ValueError("nanquantile of traced values knows the method 'linear' only, and no weights")
    return _nan_quantile("nanquantile", a, _probability(q, 1, a), axis, keepdims)


@eager(np.nanpercentile)
def nanpercentile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """As :func:`numpy.nanpercentile`, with the method linear."""
    refuse_out("nanpercentile", out)
    a = array_of("nanpercentile", a)
    return nanquantile(a, _probability(q, 100, a), axis, None, overwrite_input, method, keepdims, weights=weights)


def _nan_quantile(name: str, a: Any, q: Any, axis: Axis, keepdims: bool, median: bool = False) -> Any:
    """The linear quantile of the numbers of each slice, which stand in front of its NaNs once it is sorted.

    ``median``: it is the mean of the two in the middle, which may be infinite.
    """
    x, shape, axes = _last(a, axis)
    last = len(shape_of(x)) - 1
    if not shape_of(x)[-1]:
        dtype = _interpolated(aval_of(x).dtype, q)
        return keep_axes(
            full((*shape_of(q), *shape_of(x)[:-1]), math.nan, dtype), shape, axes, keepdims and not shape_of(q)
        )
    ordered = p.sort(x, axis=last, stable=False)
    count = p.reduce_sum(convert_to(p.eq(x, x), _FLOAT64), axes=(last,))
    wanted = _interpolated(aval_of(x).dtype, q)
    q = convert_to(q, _FLOAT64)
    q_shape, lead = shape_of(q), shape_of(count)
    shape_all = (*q_shape, *lead)
    q = p.broadcast_in_dim(q, shape=shape_all, dims=tuple(range(len(q_shape))))
    count = expand_to(count, shape_all)
    place = p.mul(q, p.max_(p.sub(count, 1.0), 0.0))
    below = p.floor(place)
    weight = convert_to(p.sub(place, below), wanted)
    above = p.min_(p.add(below, 1.0), p.max_(p.sub(count, 1.0), 0.0))
    grid = [p.iota(shape=shape_all, dtype=INDEX, axis=len(q_shape) + i) for i in range(len(lead))]
    low, high = (
        convert_to(p.gather(ordered, *grid, p.convert(i, dtype=INDEX), axes=tuple(range(last + 1))), wanted)
        for i in (below, above)
    )
    if median:
        y = p.select(p.gt(weight, 0), p.add(p.mul(low, 0.5), p.mul(high, 0.5)), low)
    else:
        y = p.add(low, p.mul(p.sub(high, low), weight))
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return p.reshape(y, shape=(*q_shape, *kept)) if keepdims else y
