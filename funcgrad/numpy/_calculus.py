"""Differences, integrals, interpolation and convolution along an axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandError, OperandTypeError
from ..core.types import aval_of, dtype_of, is_inexact
from ._indexing import searchsorted, take
from ._joining import concatenate, join, slice_along
from ._promote import asarray, convert_to, eager, expand_to, normalize_axis, promote_dtypes
from ._reductions import cumsum
from ._reductions import sum as _sum
from ._shape import ravel, reshape_to
from ._ufuncs import abs as _abs
from ._ufuncs import add, divide, equal, less, logical_and, multiply, not_equal, remainder, subtract, where

__all__ = [
    "convolve",
    "correlate",
    "diff",
    "ediff1d",
    "gradient",
    "interp",
    "trapezoid",
    "unwrap",
]


# Differences ----------------------------------------------------------------------------------------------------------


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """As :func:`numpy.diff`; ``prepend`` and ``append`` are None where there is nothing to add."""
    ends = {k: v for k, v in (("prepend", prepend), ("append", append)) if v is not None}
    return _diff(a, n, axis, **ends)


@eager(np.diff)
def _diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n!r}")
    if n == 0:
        return a
    a = asarray(a)
    if not a.ndim:
        raise ValueError("diff requires input that is at least one dimensional")
    axis = normalize_axis(axis, a.ndim)
    parts = []
    for end in (prepend, a, append):
        if end is not None:
            end = asarray(end)
            if not end.ndim:
                end = expand_to(end, tuple(1 if i == axis else m for i, m in enumerate(a.shape)))
            parts.append(end)
    a = concatenate(parts, axis) if len(parts) > 1 else a
    for _ in range(n):
        m = a.shape[axis]
        later, earlier = slice_along(a, axis, min(1, m), m), slice_along(a, axis, 0, max(m - 1, 0))
        a = not_equal(later, earlier) if dtype_of(a) == np.bool_ else prim.sub(later, earlier)
    return a


@eager(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """As :func:`numpy.ediff1d`."""
    x = ravel(asarray(ary))
    if x.dtype == np.bool_:
        raise OperandTypeError("ediff1d: booleans have no differences; write fnp.diff, or convert them to integers")
    parts = [_diff(x)]
    for place, end in ((0, to_begin), (len(parts) + 1, to_end)):
        if end is not None:
            end = ravel(asarray(end))
            if not np.can_cast(dtype_of(end), dtype_of(x), "same_kind"):
                raise OperandTypeError(f"ediff1d: {end.dtype} does not cast to {x.dtype}, the dtype of the array")
            parts.insert(place, convert_to(end, dtype_of(x)))
    return join("ediff1d", parts, 0)


@eager(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """As :func:`numpy.gradient`: central differences inside, one-sided ones at the ends."""
    f = asarray(f)
    axes = tuple(range(f.ndim)) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(normalize_axis(i, f.ndim) for i in axes)
    spacings = list(varargs) or [1.0]
    if len(spacings) == 1 and not aval_of(asarray(spacings[0])).shape:
        spacings = spacings * len(axes)
    if len(spacings) != len(axes):
        raise TypeError("invalid number of arguments")
    if edge_order not in (1, 2):
        raise ValueError("'edge_order' greater than 2 not supported")
    if not is_inexact(dtype_of(f)):
        f = convert_to(f, np.dtype(np.float64))
    results = tuple(_slope(f, h, i, edge_order) for i, h in zip(axes, spacings))
    return results[0] if len(axes) == 1 else results


def _slope(f: Any, spacing: Any, axis: int, edge_order: int) -> Any:
    n, dtype = f.shape[axis], dtype_of(f)
    if n < edge_order + 1:
        raise OperandError(
            f"Shape of array too small to calculate a numerical gradient, at least {edge_order + 1} elements are "
            f"required; axis {axis} of {f.shape} has {n}"
        )

    def part(lo: int, hi: int) -> Any:
        return slice_along(f, axis, lo, hi)

    spacing = asarray(spacing)
    if not spacing.ndim:
        h = convert_to(spacing, dtype)
        inside = prim.div(prim.sub(part(2, n), part(0, n - 2)), prim.mul(h, dtype.type(2)))
        steps = [h] * 4
    else:
        if spacing.shape != (n,):
            raise OperandError(f"gradient: coordinates of shape {spacing.shape} do not fit axis {axis} of {f.shape}")
        h = convert_to(_diff(spacing), dtype)
        column = tuple(-1 if i == axis else 1 for i in range(f.ndim))
        h = reshape_to(h, tuple(n - 1 if c == -1 else 1 for c in column))
        before, after = slice_along(h, axis, 0, n - 2), slice_along(h, axis, 1, n - 1)
        total = add(before, after)
        a = divide(multiply(-1, after), multiply(before, total))
        b = divide(subtract(after, before), multiply(before, after))
        c = divide(before, multiply(after, total))
        inside = add(add(multiply(a, part(0, n - 2)), multiply(b, part(1, n - 1))), multiply(c, part(2, n)))
        steps = [slice_along(h, axis, i, i + 1) for i in (0, min(1, n - 2), max(n - 3, 0), n - 2)]
    if edge_order == 1:
        first = divide(subtract(part(1, 2), part(0, 1)), steps[0])
        last = divide(subtract(part(n - 1, n), part(n - 2, n - 1)), steps[3])
    else:
        first = _one_sided(steps[0], steps[1], part(0, 1), part(1, 2), part(2, 3))
        last = multiply(-1, _one_sided(steps[3], steps[2], part(n - 1, n), part(n - 2, n - 1), part(n - 3, n - 2)))
    return join("gradient", [convert_to(x, dtype) for x in (first, inside, last)], axis)


def _one_sided(h: Any, k: Any, f0: Any, f1: Any, f2: Any) -> Any:
    """The derivative at the first of three points at distances h and k, exact for parabolas."""
    total = add(h, k)
    a = divide(multiply(-1, add(multiply(2, h), k)), multiply(h, total))
    b = divide(total, multiply(h, k))
    c = divide(multiply(-1, h), multiply(k, total))
    return add(add(multiply(a, f0), multiply(b, f1)), multiply(c, f2))


@eager(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: float = 2 * math.pi) -> Any:
    """As :func:`numpy.unwrap`: jumps by more than half a period are made up for by multiples of it."""
    p = asarray(p)
    axis = normalize_axis(axis, p.ndim)
    steps = _diff(p, axis=axis)
    dtype = np.result_type(steps.dtype, period)
    if dtype.kind in "iu":
        high, at_boundary = divmod(period, 2)
        boundary_ambiguous = at_boundary == 0
    else:
        high, boundary_ambiguous = period / 2, True
    low = -high
    short = add(remainder(subtract(steps, low), period), low)
    if boundary_ambiguous:
        short = where(logical_and(equal(short, low), less(0, steps)), high, short)
    correction = where(less(_abs(steps), high if discont is None else discont), 0, subtract(short, steps))
    rest = add(slice_along(p, axis, min(1, p.shape[axis]), p.shape[axis]), cumsum(correction, axis=axis))
    return join("unwrap", [slice_along(p, axis, 0, min(1, p.shape[axis])), convert_to(rest, dtype)], axis)


# Integrals and interpolation ------------------------------------------------------------------------------------------


@eager(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """As :func:`numpy.trapezoid`."""
    y = asarray(y)
    axis = normalize_axis(axis, y.ndim)
    if x is None:
        width = dx
    else:
        x = asarray(x)
        width = _diff(x, axis=0 if x.ndim == 1 else axis)
        if x.ndim == 1:
            width = reshape_to(width, tuple(width.shape[0] if i == axis else 1 for i in range(y.ndim)))
    n = y.shape[axis]
    both = add(slice_along(y, axis, min(n, 1), n), slice_along(y, axis, 0, max(n - 1, 0)))
    return _sum(divide(multiply(width, both), 2.0), axis=axis)


@eager(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """As :func:`numpy.interp`: piecewise linear interpolation; the derivative at a knot is that from the right."""
    x, xp, fp = asarray(x), asarray(xp), asarray(fp)
    if xp.ndim != 1 or fp.shape != xp.shape:
        raise OperandError(
            f"interp: xp and fp must be vectors of one length, not of the shapes {xp.shape} and {fp.shape}"
        )
    if not xp.shape[0]:
        raise OperandError("interp: array of sample points is empty")
    x, xp = (convert_to(z, np.dtype(np.float64)) for z in (x, xp))
    fp = convert_to(fp, np.dtype(np.complex128 if aval_of(fp).dtype.kind == "c" else np.float64))
    if period is not None:
        period = _abs(period)
        x, xp = remainder(x, period), remainder(xp, period)
        order = prim.argsort(xp, axis=0, stable=False)
        xp, fp = take(xp, order), take(fp, order)
        n = xp.shape[0]
        around = [subtract(slice_along(xp, 0, n - 1, n), period), xp, add(slice_along(xp, 0, 0, 1), period)]
        xp = join("interp", around, 0)
        fp = join("interp", [slice_along(fp, 0, n - 1, n), fp, slice_along(fp, 0, 0, 1)], 0)
        left = right = None
    n = xp.shape[0]
    first, last = take(fp, 0), take(fp, n - 1)
    if n == 1:
        inside = first
    else:
        upper = prim.max_(prim.min_(searchsorted(xp, x, side="right"), np.int64(n - 1)), np.int64(1))
        lower = prim.sub(upper, np.int64(1))
        x0, x1, f0, f1 = take(xp, lower), take(xp, upper), take(fp, lower), take(fp, upper)
        width = subtract(x1, x0)
        flat = equal(width, 0.0)
        share = divide(subtract(x, x0), where(flat, 1.0, width))
        inside = where(flat, f1, add(f0, multiply(share, subtract(f1, f0))))
    result = where(less(x, take(xp, 0)), first if left is None else left, inside)
    return where(less(take(xp, n - 1), x), last if right is None else right, result)


# Convolution ----------------------------------------------------------------------------------------------------------


@eager(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """As :func:`numpy.convolve`."""
    x, y = _vectors("convolve", a, v)
    if x.shape[0] < y.shape[0]:
        x, y = y, x
    return _correlate(x, prim.rev(y, axes=(0,)), mode)


@eager(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """As :func:`numpy.correlate`; the second vector is conjugated."""
    x, y = _vectors("correlate", a, v)
    y = prim.conj(y) if dtype_of(y).kind == "c" else y
    if x.shape[0] < y.shape[0]:
        return prim.rev(_correlate(y, x, mode), axes=(0,))
    return _correlate(x, y, mode)


def _vectors(name: str, a: Any, v: Any) -> list[Any]:
    vectors = []
    for x in promote_dtypes(name, asarray(a), asarray(v)):
        x = reshape_to(x, (1,)) if not x.ndim else x
        if x.ndim != 1 or not x.shape[0]:
            raise OperandError(f"{name}: both arguments must be vectors that are not empty, not of shape {x.shape}")
        vectors.append(x)
    return vectors


def _correlate(x: Any, y: Any, mode: str) -> Any:
    """Sums of products of x with the shorter y moved along it, as far as ``mode`` says."""
    n, m = x.shape[0], y.shape[0]
    reach = {"full": (m - 1, m - 1), "same": (m // 2, m - m // 2 - 1), "valid": (0, 0)}
    if mode not in reach:
        raise ValueError(f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})")
    z = prim.conv_general_dilated(
        prim.reshape(x, shape=(1, 1, n)),
        prim.reshape(y, shape=(1, 1, m)),
        strides=(1,),
        padding=(reach[mode],),
        lhs_dilation=(1,),
        rhs_dilation=(1,),
        groups=1,
    )
    return prim.reshape(z, shape=(z.shape[2],))
