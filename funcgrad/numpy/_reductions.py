"""Reductions over axes, cumulative sums, and statistics, with NumPy's dtypes and arguments.

``axis`` is an integer, a tuple of integers or None for all axes; ``keepdims`` keeps reduced axes as axes of size 1;
``where`` is a mask that broadcasts to the array; ``initial`` takes part in the reduction.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import primitives as p
from ..core.errors import OperandError, OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of, is_inexact, shape_of
from ._promote import (
    INDEX,
    asarray,
    axis_tuple,
    broadcast_shapes,
    convert_to,
    eager,
    expand_to,
    full,
    normalize_axis,
    operand,
    refuse_out,
    sum_dtype,
)
from ._ufuncs import (
    METHODS,
    add,
    divide,
    isnan,
    logical_and,
    logical_not,
    maximum,
    minimum,
    multiply,
    subtract,
    true_divide,
)

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "average", "count_nonzero", "cummax", "cummin", "cumprod",
    "cumsum", "cumulative_prod", "cumulative_sum", "max", "mean", "median", "min", "nanargmax", "nanargmin",
    "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmedian", "nanmin", "nanpercentile", "nanprod", "nanquantile",
    "nanstd", "nansum", "nanvar", "percentile", "prod", "ptp", "quantile", "std", "sum", "var",
]  # fmt: skip

Axis = int | tuple[int, ...] | None

_BOOL = np.dtype(np.bool_)
_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)
_NONE: Any = np._NoValue


# What they share ------------------------------------------------------------------------------------------------------


def _array(name: str, a: Any) -> Any:
    return asarray(operand(name, a, "the array"))


def _reduced_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes of a ufunc's reduction, which takes 0 and -1 for an array without axes."""
    return () if ndim == 0 and isinstance(axis, int) and axis in (0, -1) else axis_tuple(axis, ndim)


def _keep(y: Any, shape: tuple[int, ...], axes: tuple[int, ...], keepdims: Any) -> Any:
    """A reduced array with its axes put back at size 1, if they are to be kept."""
    if not keepdims or keepdims is _NONE:
        return y
    return p.reshape(y, shape=tuple(1 if i in axes else n for i, n in enumerate(shape)))


def _mask(name: str, x: Any, where: Any, neutral: Any) -> Any:
    """``x`` where the mask is true and ``neutral`` elsewhere; the mask may be the larger one."""
    if where is True or where is _NONE:
        return x
    where = convert_to(operand(name, where, "where"), _BOOL)
    shape = broadcast_shapes(name, shape_of(x), shape_of(where))
    x = x if shape_of(x) == shape else expand_to(x, shape)
    where = where if shape_of(where) in ((), shape) else expand_to(where, shape)
    return p.select(where, x, aval_of(x).dtype.type(neutral))


def _reduce(name: str, primitive: Callable[..., Any], combine: Callable[..., Any], neutral: int) -> Callable[..., Any]:
    """``sum`` or ``prod``."""

    def function(
        a: Any,
        axis: Axis = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = True,
    ) -> Any:
        refuse_out(name, out)
        x = _array(name, a)
        x = convert_to(x, sum_dtype(aval_of(x).dtype) if dtype is None else np.dtype(dtype))
        x = _mask(name, x, where, neutral)
        axes = _reduced_axes(axis, len(shape_of(x)))
        if aval_of(x).dtype == _BOOL:
            # Only an explicit dtype=bool comes here: the sum of booleans is "or", their product "and".
            y = (p.reduce_or if neutral == 0 else p.reduce_and)(x, axes=axes)
        else:
            y = primitive(x, axes=axes) if axes else p.copy(x)
        if initial is not None and initial is not _NONE:
            y = convert_to(combine(y, initial), aval_of(x).dtype)
        return _keep(y, shape_of(x), axes, keepdims)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"As :func:`numpy.{name}`."
    return eager(getattr(np, name))(function)


sum = _reduce("sum", p.reduce_sum, add, 0)
prod = _reduce("prod", p.reduce_prod, multiply, 1)


def _lowest(dtype: np.dtype[Any], highest: bool = False) -> Any:
    if dtype.kind == "b":
        return highest
    if dtype.kind in "fc":
        return math.inf if highest else -math.inf
    limits = np.iinfo(dtype)
    return limits.max if highest else limits.min


def _extremum(
    name: str, primitive: Callable[..., Any], combine: Callable[..., Any], highest: bool
) -> Callable[..., Any]:
    """``max`` or ``min``; ``highest``: whether masked elements count as the highest value."""
    of_bool = p.reduce_and if highest else p.reduce_or

    def function(
        a: Any, axis: Axis = None, out: Any = None, keepdims: Any = False, initial: Any = _NONE, where: Any = True
    ) -> Any:
        refuse_out(name, out)
        x = _array(name, a)
        dtype, given = aval_of(x).dtype, initial is not None and initial is not _NONE
        if where is not True and where is not _NONE:
            if not given:
                raise ValueError(f"{name}imum has no identity, so to use a where mask one has to specify 'initial'")
            x = _mask(name, x, where, _lowest(dtype, highest))
        shape = shape_of(x)
        axes = _reduced_axes(axis, len(shape))
        if builtins.any(shape[i] == 0 for i in axes):
            if not given:
                raise OperandError(f"{name}: zero-size array to reduction operation {name}imum which has no identity")
            y = full(tuple(n for i, n in enumerate(shape) if i not in axes), initial, dtype)
        elif not axes:
            y = p.copy(x)
        else:
            y = of_bool(x, axes=axes) if dtype == _BOOL else primitive(x, axes=axes)
        if given:
            y = combine(y, initial)
        return _keep(y, shape, axes, keepdims)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"As :func:`numpy.{name}`. Equal extrema share the derivative evenly."
    return eager(getattr(np, name))(function)


max = amax = _extremum("max", p.reduce_max, maximum, False)
min = amin = _extremum("min", p.reduce_min, minimum, True)


def _logical(name: str, primitive: Callable[..., Any], neutral: bool) -> Callable[..., Any]:
    """``any`` or ``all``."""

    def function(a: Any, axis: Axis = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Any:
        refuse_out(name, out)
        x = _mask(name, convert_to(_array(name, a), _BOOL), where, neutral)
        axes = _reduced_axes(axis, len(shape_of(x)))
        return _keep(primitive(x, axes=axes) if axes else p.copy(x), shape_of(x), axes, keepdims)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"As :func:`numpy.{name}`."
    return eager(getattr(np, name))(function)


any = _logical("any", p.reduce_or, False)
all = _logical("all", p.reduce_and, True)


def _counted(name: str, shape: tuple[int, ...], axes: tuple[int, ...], where: Any) -> Any:
    """How many elements take part: a Python integer, or an array where a mask says so."""
    if where is True or where is _NONE:
        return math.prod(shape[i] for i in axes)
    where = convert_to(operand(name, where, "where"), _BOOL)
    shape = broadcast_shapes(name, shape, shape_of(where))
    return p.reduce_sum(convert_to(expand_to(where, shape), INDEX), axes=axes)


def _per(total: Any, count: Any, dtype: np.dtype[Any]) -> Any:
    """``total / count``, both in ``dtype``."""
    real = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
    count = convert_to(convert_to(count, real), dtype)
    return p.div(total, count)


def _mean_dtypes(dtype: np.dtype[Any], wanted: Any) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """The dtypes a mean is computed in and returned in: half precision is summed in single."""
    if wanted is not None:
        return np.dtype(wanted), np.dtype(wanted)
    if not is_inexact(dtype):
        return _FLOAT64, _FLOAT64
    return (_FLOAT32 if dtype == np.float16 else dtype), dtype


@eager(np.mean)
def mean(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True
) -> Any:
    refuse_out("mean", out)
    x = _array("mean", a)
    inner, outer = _mean_dtypes(aval_of(x).dtype, dtype)
    shape = shape_of(x)
    axes = axis_tuple(axis, len(shape))
    total = sum(convert_to(x, inner), axes, keepdims=True, where=where)
    y = _per(total, _keep_count(_counted("mean", shape, axes, where), shape_of(total)), inner)
    return _drop(convert_to(y, outer), axes, keepdims)


def _keep_count(count: Any, shape: tuple[int, ...]) -> Any:
    return count if isinstance(count, int) else p.reshape(count, shape=shape)


def _drop(y: Any, axes: tuple[int, ...], keepdims: Any) -> Any:
    """The opposite of :func:`_keep`: axes of size 1 taken away, unless they are to be kept."""
    if keepdims and keepdims is not _NONE:
        return y
    return p.reshape(y, shape=tuple(n for i, n in enumerate(shape_of(y)) if i not in axes))


@eager(np.var)
def var(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = _NONE,
    correction: float = _NONE,
) -> Any:
    """As :func:`numpy.var`: the mean of |x - mean(x)|² in two passes; complex arrays have a real variance."""
    refuse_out("var", out)
    ddof = _ddof(ddof, correction)
    x = _array("var", a)
    x = convert_to(x, np.dtype(dtype) if dtype is not None else _mean_dtypes(aval_of(x).dtype, None)[1])
    axes = axis_tuple(axis, len(shape_of(x)))
    center = _mean(x, axes, keepdims=True, where=where) if mean is _NONE else mean
    deviation = subtract(x, center)
    if aval_of(deviation).dtype.kind == "c":
        re, im = p.real(deviation), p.imag(deviation)
        squares = p.add(p.mul(re, re), p.mul(im, im))
    else:
        squares = p.mul(deviation, deviation)
    total = sum(squares, axes, dtype, keepdims=True, where=where)
    count = _keep_count(_counted("var", shape_of(x), axes, where), shape_of(total))
    count = builtins.max(count - ddof, 0) if isinstance(count, int) else maximum(subtract(count, ddof), 0)
    return _drop(_per(total, count, aval_of(total).dtype), axes, keepdims)


_mean = mean


def _ddof(ddof: float, correction: Any) -> float:
    if correction is _NONE:
        return ddof
    if ddof != 0:
        raise ValueError("ddof and correction can't be provided simultaneously.")
    return correction


@eager(np.std)
def std(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = _NONE,
    correction: float = _NONE,
) -> Any:
    """As :func:`numpy.std`. Where all elements are equal it has no derivative; zero is taken."""
    refuse_out("std", out)
    return _root(var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction))


def _root(x: Any) -> Any:
    """The square root, with the derivative 0 at 0."""
    zero = p.eq(x, 0)
    one = aval_of(x).dtype.type(1)
    return p.select(zero, aval_of(x).dtype.type(0), p.sqrt(p.select(zero, one, x)))


@eager(np.ptp)
def ptp(a: Any, axis: Axis = None, out: Any = None, keepdims: Any = False) -> Any:
    refuse_out("ptp", out)
    return subtract(max(a, axis, keepdims=keepdims), min(a, axis, keepdims=keepdims))


@eager(np.count_nonzero)
def count_nonzero(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    return sum(convert_to(_array("count_nonzero", a), _BOOL), axis, keepdims=keepdims)


@eager(np.average)
def average(a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    x = _array("average", a)
    shape = shape_of(x)
    axes = axis_tuple(axis, len(shape))
    if weights is None:
        result = mean(x, axes, keepdims=keepdims)
        scale: Any = full(shape_of(result), math.prod(shape[i] for i in axes), aval_of(result).dtype)
        return (result, scale) if returned else result
    weights = _array("average", weights)
    if shape_of(weights) != shape:
        if axis is None:
            raise TypeError("Axis must be specified when shapes of a and weights differ.")
        if shape_of(weights) != tuple(shape[i] for i in axes):
            raise OperandError(
                f"average: weights of shape {shape_of(weights)} fit neither the array, {shape}, nor its axes {axes}"
            )
        weights = p.broadcast_in_dim(weights, shape=shape, dims=axes)
    dtype = np.result_type(aval_of(x).dtype, aval_of(weights).dtype, *([] if is_inexact(aval_of(x).dtype) else ["f8"]))
    scale = sum(weights, axes, dtype=dtype, keepdims=keepdims)
    result = divide(sum(multiply(convert_to(x, dtype), convert_to(weights, dtype)), axes, keepdims=keepdims), scale)
    return (result, scale) if returned else result


# The places of extrema ------------------------------------------------------------------------------------------------


def _place(name: str, primitive: Callable[..., Any]) -> Callable[..., Any]:
    """``argmax`` or ``argmin``."""

    def function(a: Any, axis: int | None = None, out: Any = None, *, keepdims: Any = False) -> Any:
        refuse_out(name, out)
        x = _array(name, a)
        shape = shape_of(x)
        axes = tuple(range(len(shape))) if axis is None else (normalize_axis(axis, len(shape)),)
        if axis is None:
            x = p.reshape(x, shape=(math.prod(shape),))
        if 0 in (shape_of(x)[i] for i in (axes if axis is not None else (0,))):
            raise OperandError(f"attempt to get {name} of an empty sequence")
        return _keep(primitive(x, axis=0 if axis is None else axes[0]), shape, axes, keepdims)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"As :func:`numpy.{name}`."
    return eager(getattr(np, name))(function)


argmax = _place("argmax", p.argmax)
argmin = _place("argmin", p.argmin)


# Cumulative -----------------------------------------------------------------------------------------------------------


def _cumulate(name: str, primitive: Callable[..., Any]) -> Callable[..., Any]:
    """``cumsum`` or ``cumprod``."""

    def function(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
        refuse_out(name, out)
        x = _array(name, a)
        x = convert_to(x, sum_dtype(aval_of(x).dtype) if dtype is None else np.dtype(dtype))
        if axis is None or not shape_of(x):
            if axis is not None:
                normalize_axis(axis, 1)
            x, axis = p.reshape(x, shape=(math.prod(shape_of(x)),)), 0
        return primitive(x, axis=normalize_axis(axis, len(shape_of(x))), reverse=False)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"As :func:`numpy.{name}`."
    return eager(getattr(np, name))(function)


cumsum = _cumulate("cumsum", p.cumsum)
cumprod = _cumulate("cumprod", p.cumprod)


def _cumulative(name: str, function: Callable[..., Any], neutral: int) -> Callable[..., Any]:
    """``cumulative_sum`` or ``cumulative_prod``, of the array API."""

    def cumulative(
        x: Any, /, *, axis: int | None = None, dtype: Any = None, out: Any = None, include_initial: bool = False
    ) -> Any:
        refuse_out(name, out)
        x = _array(name, x)
        x = x if shape_of(x) else p.reshape(x, shape=(1,))
        rank = len(shape_of(x))
        if axis is None:
            if rank != 1:
                raise ValueError("For arrays which have more than one dimension ``axis`` argument is required.")
            axis = 0
        axis = normalize_axis(axis, rank)
        y = function(x, axis, dtype)
        if not include_initial:
            return y
        shape = tuple(1 if i == axis else n for i, n in enumerate(shape_of(y)))
        return p.concatenate(full(shape, neutral, aval_of(y).dtype), y, axis=axis)

    cumulative.__name__ = cumulative.__qualname__ = name
    cumulative.__doc__ = f"As :func:`numpy.{name}`."
    return eager(getattr(np, name))(cumulative)


cumulative_sum = _cumulative("cumulative_sum", cumsum, 0)
cumulative_prod = _cumulative("cumulative_prod", cumprod, 1)


@eager(np.maximum.accumulate)
def cummax(array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
    """The largest element so far along an axis: ``np.maximum.accumulate``."""
    return _running("cummax", p.cummax, array, axis, dtype, out)


@eager(np.minimum.accumulate)
def cummin(array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
    """The smallest element so far along an axis: ``np.minimum.accumulate``."""
    return _running("cummin", p.cummin, array, axis, dtype, out)


def _running(name: str, primitive: Callable[..., Any], array: Any, axis: int, dtype: Any, out: Any) -> Any:
    refuse_out(name, out)
    x = _array(name, array)
    x = x if dtype is None else convert_to(x, np.dtype(dtype))
    return primitive(x, axis=normalize_axis(axis, len(shape_of(x))), reverse=False)


# Order statistics -----------------------------------------------------------------------------------------------------


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
    x, shape, axes = _last(_array("median", a), axis)
    dtype = aval_of(x).dtype
    inner, outer = _mean_dtypes(dtype, None)
    n = shape_of(x)[-1]
    if n == 0:
        return _keep(full(shape_of(x)[:-1], math.nan, outer), shape, axes, keepdims)
    ordered = p.sort(x, axis=len(shape_of(x)) - 1)
    low, high = (convert_to(_element(ordered, i), inner) for i in ((n - 1) // 2, n // 2))
    middle = low if n % 2 else p.div(p.add(low, high), 2)
    if is_inexact(dtype):
        # NaNs are sorted last.
        largest = convert_to(_element(ordered, n - 1), inner)
        middle = p.select(p.ne(largest, largest), largest, middle)
    return _keep(convert_to(middle, outer), shape, axes, keepdims)


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
    a = _array("quantile", a)
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
    a = _array("percentile", a)
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
    x, shape, axes = _last(_array(name, a), axis)
    dtype = aval_of(x).dtype
    if dtype.kind in "cb":
        raise OperandTypeError(f"{name}: a must be an array of real numbers, not of {dtype}")
    n = shape_of(x)[-1]
    wanted = _interpolated(dtype, q)
    ordered = p.sort(x, axis=len(shape_of(x)) - 1)
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


def _without_nan(name: str, a: Any, neutral: Any) -> tuple[Any, Any]:
    """The array with its NaNs replaced, and the mask of what is a number (True where all dtypes' values are)."""
    x = _array(name, a)
    if not is_inexact(aval_of(x).dtype):
        return x, True
    nan = isnan(x)
    return p.select(nan, aval_of(x).dtype.type(neutral), x), logical_not(nan)


def _both(mask: Any, where: Any) -> Any:
    if where is True or where is _NONE:
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
        a: Any, axis: Axis = None, out: Any = None, keepdims: Any = False, initial: Any = _NONE, where: Any = True
    ) -> Any:
        refuse_out(name, out)
        x, mask = _without_nan(name, a, neutral)
        y = function(x, axis, None, keepdims, initial, where)
        if mask is True:
            return y
        found = any(_both(mask, where), axis, keepdims=keepdims)
        return p.select(found, y, aval_of(x).dtype.type(math.nan)) if initial is _NONE else y

    extremum.__name__ = extremum.__qualname__ = name
    extremum.__doc__ = f"As :func:`numpy.{name}`, without its warning for a slice of NaNs only, whose result is NaN."
    return eager(getattr(np, name))(extremum)


nanmax = _nan_extremum("nanmax", max, -math.inf)
nanmin = _nan_extremum("nanmin", min, math.inf)


def _nan_place(name: str, function: Callable[..., Any], neutral: float) -> Callable[..., Any]:
    """``nanargmax`` or ``nanargmin``."""

    def place(a: Any, axis: int | None = None, out: Any = None, *, keepdims: Any = False) -> Any:
        refuse_out(name, out)
        return function(_without_nan(name, a, neutral)[0], axis, keepdims=keepdims)

    place.__name__ = place.__qualname__ = name
    place.__doc__ = f"As :func:`numpy.{name}`; a traced slice of NaNs only has the place 0, where NumPy raises."
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
    mean: Any = _NONE,
    correction: float = _NONE,
) -> Any:
    """As :func:`numpy.nanvar`: NaN where there are not more numbers than ``ddof``."""
    refuse_out("nanvar", out)
    x, mask = _without_nan("nanvar", a, 0)
    counted = _both(mask, where)
    ddof = _ddof(ddof, correction)
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
    mean: Any = _NONE,
    correction: float = _NONE,
) -> Any:
    """As :func:`numpy.nanstd`. Where all numbers are equal it has no derivative; zero is taken."""
    refuse_out("nanstd", out)
    return _root(nanvar(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction))


@eager(np.nanmedian)
def nanmedian(a: Any, axis: Axis = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    refuse_out("nanmedian", out)
    a = _array("nanmedian", a)
    if not is_inexact(aval_of(a).dtype):
        return median(a, axis, keepdims=keepdims)
    return _nan_quantile("nanmedian", a, 0.5, axis, keepdims)


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
    a = _array("nanquantile", a)
    if not is_inexact(aval_of(a).dtype):
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
    a = _array("nanpercentile", a)
    return nanquantile(a, _probability(q, 100, a), axis, None, overwrite_input, method, keepdims, weights=weights)


def _nan_quantile(name: str, a: Any, q: Any, axis: Axis, keepdims: bool) -> Any:
    """The linear quantile of the numbers of each slice, which stand in front of its NaNs once it is sorted."""
    x, shape, axes = _last(a, axis)
    last = len(shape_of(x)) - 1
    ordered = p.sort(x, axis=last)
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
    y = p.add(low, p.mul(p.sub(high, low), weight))
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return p.reshape(y, shape=(*q_shape, *kept)) if keepdims else y


# The methods of ufuncs ------------------------------------------------------------------------------------------------


def _ignoring_dtype(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(array: Any, axis: Axis = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        y = function(array, axis, out, keepdims)
        return y if dtype is None else convert_to(y, np.dtype(dtype))

    return reduce


METHODS.update(
    {
        ("reduce", "add"): sum,
        ("reduce", "multiply"): prod,
        ("reduce", "maximum"): _ignoring_dtype(max),
        ("reduce", "minimum"): _ignoring_dtype(min),
        ("reduce", "logical_and"): _ignoring_dtype(all),
        ("reduce", "logical_or"): _ignoring_dtype(any),
        ("accumulate", "add"): cumsum,
        ("accumulate", "multiply"): cumprod,
        ("accumulate", "maximum"): cummax,
        ("accumulate", "minimum"): cummin,
    }
)
