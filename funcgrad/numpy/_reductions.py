"""Reductions over axes and cumulative sums, with NumPy's dtypes and arguments.

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
from ..core.errors import OperandError
from ..core.types import aval_of, is_inexact, shape_of
from ._promote import (
    INDEX,
    NO_VALUE,
    asarray,
    axis_tuple,
    broadcast_shapes,
    convert_to,
    eager,
    expand_to,
    full,
    mask_of,
    normalize_axis,
    operand,
    refuse_out,
    sum_dtype,
)
from ._ufunc import METHODS
from ._ufuncs import (
    add,
    divide,
    logical_and,
    logical_or,
    maximum,
    minimum,
    multiply,
    subtract,
)

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "average", "count_nonzero", "cummax", "cummin", "cumprod",
    "cumsum", "cumulative_prod", "cumulative_sum", "max", "mean", "min", "prod", "ptp", "std", "sum", "var",
]  # fmt: skip

Axis = int | tuple[int, ...] | None

_BOOL = np.dtype(np.bool_)
_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)


# What they share ------------------------------------------------------------------------------------------------------


def array_of(name: str, a: Any) -> Any:
    return asarray(operand(name, a, "the array"))


def reduced_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes of a ufunc's reduction, which takes 0 and -1 for an array without axes."""
    return () if ndim == 0 and isinstance(axis, int) and axis in (0, -1) else axis_tuple(axis, ndim)


def keep_axes(y: Any, shape: tuple[int, ...], axes: tuple[int, ...], keepdims: Any) -> Any:
    """A reduced array with its axes put back at size 1, if they are to be kept."""
    if not keepdims or keepdims is NO_VALUE:
        return y
    return p.reshape(y, shape=tuple(1 if i in axes else n for i, n in enumerate(shape)))


def _mask(name: str, x: Any, where: Any, neutral: Any) -> Any:
    """``x`` where the mask is true and ``neutral`` elsewhere; the mask may be the larger one."""
    if where is True or where is NO_VALUE:
        return x
    where = mask_of(name, where)
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
        x = array_of(name, a)
        x = convert_to(x, sum_dtype(aval_of(x).dtype) if dtype is None else np.dtype(dtype))
        x = _mask(name, x, where, neutral)
        axes = reduced_axes(axis, len(shape_of(x)))
        if aval_of(x).dtype == _BOOL:
            # Only an explicit dtype=bool comes here: the sum of booleans is "or", their product "and".
            y = (p.reduce_or if neutral == 0 else p.reduce_and)(x, axes=axes)
        else:
            y = primitive(x, axes=axes) if axes else p.copy(x)
        if initial is not None and initial is not NO_VALUE:
            y = convert_to(combine(y, initial), aval_of(x).dtype)
        return keep_axes(y, shape_of(x), axes, keepdims)

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
        a: Any, axis: Axis = None, out: Any = None, keepdims: Any = False, initial: Any = NO_VALUE, where: Any = True
    ) -> Any:
        refuse_out(name, out)
        x = array_of(name, a)
        dtype, given = aval_of(x).dtype, initial is not None and initial is not NO_VALUE
        if where is not True and where is not NO_VALUE:
            if not given:
                raise ValueError(f"{name}imum has no identity, so to use a where mask one has to specify 'initial'")
            x = _mask(name, x, where, _lowest(dtype, highest))
        shape = shape_of(x)
        axes = reduced_axes(axis, len(shape))
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
        return keep_axes(y, shape, axes, keepdims)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"As :func:`numpy.{name}`. Equal extrema share the derivative evenly."
    return eager(getattr(np, name))(function)


max = amax = _extremum("max", p.reduce_max, maximum, False)
min = amin = _extremum("min", p.reduce_min, minimum, True)


def _logical(name: str, primitive: Callable[..., Any], neutral: bool) -> Callable[..., Any]:
    """``any`` or ``all``."""

    def function(a: Any, axis: Axis = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Any:
        refuse_out(name, out)
        x = _mask(name, convert_to(array_of(name, a), _BOOL), where, neutral)
        axes = reduced_axes(axis, len(shape_of(x)))
        return keep_axes(primitive(x, axes=axes) if axes else p.copy(x), shape_of(x), axes, keepdims)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"As :func:`numpy.{name}`."
    return eager(getattr(np, name))(function)


any = _logical("any", p.reduce_or, False)
all = _logical("all", p.reduce_and, True)


def _counted(name: str, shape: tuple[int, ...], axes: tuple[int, ...], where: Any) -> Any:
    """How many elements take part: a Python integer, or an array where a mask says so."""
    if where is True or where is NO_VALUE:
        return math.prod(shape[i] for i in axes)
    where = mask_of(name, where)
    shape = broadcast_shapes(name, shape, shape_of(where))
    return p.reduce_sum(convert_to(expand_to(where, shape), INDEX), axes=axes)


def _per(total: Any, count: Any, dtype: np.dtype[Any]) -> Any:
    """``total / count``, both in ``dtype``."""
    real = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
    count = convert_to(convert_to(count, real), dtype)
    return p.div(total, count)


def mean_dtypes(dtype: np.dtype[Any], wanted: Any) -> tuple[np.dtype[Any], np.dtype[Any]]:
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
    x = array_of("mean", a)
    inner, outer = mean_dtypes(aval_of(x).dtype, dtype)
    shape = shape_of(x)
    axes = axis_tuple(axis, len(shape))
    total = sum(convert_to(x, inner), axes, keepdims=True, where=where)
    y = _per(total, _keep_count(_counted("mean", shape, axes, where), shape_of(total)), inner)
    return _drop(convert_to(y, outer), axes, keepdims)


def _keep_count(count: Any, shape: tuple[int, ...]) -> Any:
    return count if isinstance(count, int) else p.reshape(count, shape=shape)


def _drop(y: Any, axes: tuple[int, ...], keepdims: Any) -> Any:
    """The opposite of :func:`keep_axes`: axes of size 1 taken away, unless they are to be kept."""
    if keepdims and keepdims is not NO_VALUE:
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
    mean: Any = NO_VALUE,
    correction: float = NO_VALUE,
) -> Any:
    """As :func:`numpy.var`: the mean of |x - mean(x)|² in two passes; complex arrays have a real variance."""
    refuse_out("var", out)
    ddof = degrees_taken(ddof, correction)
    x = array_of("var", a)
    x = convert_to(x, np.dtype(dtype) if dtype is not None else mean_dtypes(aval_of(x).dtype, None)[1])
    axes = axis_tuple(axis, len(shape_of(x)))
    center = _mean(x, axes, keepdims=True, where=where) if mean is NO_VALUE else mean
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


def degrees_taken(ddof: float, correction: Any) -> float:
    if correction is NO_VALUE:
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
    mean: Any = NO_VALUE,
    correction: float = NO_VALUE,
) -> Any:
    """As :func:`numpy.std`. Where all elements are equal it has no derivative; zero is taken."""
    refuse_out("std", out)
    return root(var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction))


def root(x: Any) -> Any:
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
    return sum(convert_to(array_of("count_nonzero", a), _BOOL), axis, keepdims=keepdims)


@eager(np.average)
def average(a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    x = array_of("average", a)
    shape = shape_of(x)
    axes = axis_tuple(axis, len(shape))
    if weights is None:
        result = mean(x, axes, keepdims=keepdims)
        scale: Any = full(shape_of(result), math.prod(shape[i] for i in axes), aval_of(result).dtype)
        return (result, scale) if returned else result
    weights = array_of("average", weights)
    if shape_of(weights) != shape:
        if axis is None:
            raise TypeError("Axis must be specified when shapes of a and weights differ.")
        if shape_of(weights) != tuple(shape[i] for i in axes):
            raise OperandError(
                f"average: weights of shape {shape_of(weights)} fit neither the array, {shape}, nor its axes {axes}"
            )
        weights = p.broadcast_in_dim(weights, shape=shape, dims=axes)
    if 0 in (shape[i] for i in axes) and 0 not in (n for i, n in enumerate(shape) if i not in axes):
        raise ZeroDivisionError("average: there are no weights, whose sum it would divide by")
    dtype = np.result_type(aval_of(x).dtype, aval_of(weights).dtype, *([] if is_inexact(aval_of(x).dtype) else ["f8"]))
    scale = sum(weights, axes, dtype=dtype, keepdims=keepdims)
    result = divide(sum(multiply(convert_to(x, dtype), convert_to(weights, dtype)), axes, keepdims=keepdims), scale)
    return (result, scale) if returned else result


# The places of extrema ------------------------------------------------------------------------------------------------


def _place(name: str, primitive: Callable[..., Any]) -> Callable[..., Any]:
    """``argmax`` or ``argmin``."""

    def function(a: Any, axis: int | None = None, out: Any = None, *, keepdims: Any = False) -> Any:
        refuse_out(name, out)
        x = array_of(name, a)
        shape = shape_of(x)
        if not shape and axis in (0, -1):
            axis = None
        axes = tuple(range(len(shape))) if axis is None else (normalize_axis(axis, len(shape)),)
        if axis is None:
            x = p.reshape(x, shape=(math.prod(shape),))
        if 0 in (shape_of(x)[i] for i in (axes if axis is not None else (0,))):
            raise OperandError(f"attempt to get {name} of an empty sequence")
        return keep_axes(primitive(x, axis=0 if axis is None else axes[0]), shape, axes, keepdims)

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
        x = array_of(name, a)
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
        x = array_of(name, x)
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
    x = array_of(name, array)
    x = x if dtype is None else convert_to(x, np.dtype(dtype))
    return primitive(x, axis=normalize_axis(axis, len(shape_of(x))), reverse=False)


# The methods of ufuncs ------------------------------------------------------------------------------------------------


def _ignoring_dtype(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(array: Any, *, dtype: Any, **keywords: Any) -> Any:
        y = function(array, **keywords)
        return y if dtype is None else convert_to(y, np.dtype(dtype))

    return reduce


def _of_truth(function: Callable[..., Any], combine: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(array: Any, *, dtype: Any, initial: Any = None, **keywords: Any) -> Any:
        if dtype is not None and np.dtype(dtype) != _BOOL:
            raise TypeError(f"{combine.__name__}.reduce has the dtype bool, not {np.dtype(dtype).name}")
        y = function(array, **keywords)
        return y if initial is None else combine(y, initial)

    return reduce


METHODS.update(
    {
        ("reduce", "add"): sum,
        ("reduce", "multiply"): prod,
        ("reduce", "maximum"): _ignoring_dtype(max),
        ("reduce", "minimum"): _ignoring_dtype(min),
        ("reduce", "logical_and"): _of_truth(all, logical_and),
        ("reduce", "logical_or"): _of_truth(any, logical_or),
        ("accumulate", "add"): cumsum,
        ("accumulate", "multiply"): cumprod,
        ("accumulate", "maximum"): cummax,
        ("accumulate", "minimum"): cummin,
    }
)
