"""``pad``: all of NumPy's modes, axis by axis.

Where the padding is made of elements (``edge``, ``wrap``, ``reflect``, ...), NumPy itself is asked to pad the indices,
and the elements are taken there. The modes that compute (``mean``, ``linear_ramp``, ...) concatenate what they compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandError, OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of, dtype_of
from ._indexing import take
from ._joining import join, slice_along
from ._promote import asarray, convert_to, eager, expand_to, normalize_axis
from ._shape import reshape_to

__all__ = ["pad"]

_OPTIONS = {
    "constant": ("constant_values",),
    "edge": (),
    "empty": (),
    "linear_ramp": ("end_values",),
    "maximum": ("stat_length",),
    "mean": ("stat_length",),
    "median": ("stat_length",),
    "minimum": ("stat_length",),
    "reflect": ("reflect_type",),
    "symmetric": ("reflect_type",),
    "wrap": (),
}


@eager(np.pad)
def pad(array: Any, pad_width: Any, mode: str | Callable[..., Any] = "constant", **kwargs: Any) -> Any:
    """As :func:`numpy.pad`. A traced array takes no function as ``mode``, which would write into its argument."""
    x = asarray(array)
    if not isinstance(mode, str):
        raise OperandTypeError("pad: a function as mode writes into its argument; use a named mode, or fnp.concatenate")
    if mode not in _OPTIONS:
        raise ValueError(f"mode '{mode}' is not supported; there are {', '.join(_OPTIONS)}")
    unknown = set(kwargs) - set(_OPTIONS[mode])
    if unknown:
        raise ValueError(f"unsupported keyword arguments for mode '{mode}': {unknown}")
    widths = _widths(pad_width, x.ndim)
    if mode in ("constant", "empty"):
        return _constant(x, widths, kwargs.get("constant_values", 0))
    odd = kwargs.get("reflect_type", "even") == "odd"
    for axis, (low, high) in enumerate(widths):
        n = x.shape[axis]
        if not low and not high:
            continue
        if not n:
            raise OperandError(f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'")
        if mode in ("edge", "wrap") or (mode in ("reflect", "symmetric") and not odd):
            x = take(x, np.pad(np.arange(n), (low, high), mode=mode), axis)
        elif odd:
            x = _odd(x, axis, low, high, mode)
        elif mode == "linear_ramp":
            x = _linear_ramp(x, axis, low, high, _pairs(kwargs.get("end_values", 0), x.ndim)[axis])
        else:
            x = _statistic(x, axis, low, high, mode, _pairs(kwargs.get("stat_length"), x.ndim)[axis])
    return x


def _widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    if isinstance(pad_width, Mapping):
        widths = [(0, 0)] * ndim
        for axis, width in pad_width.items():
            low, high = (width, width) if isinstance(width, (int, np.integer)) else width
            widths[normalize_axis(axis, ndim)] = (int(low), int(high))
    else:
        given = np.asarray(pad_width)
        if given.dtype.kind != "i":
            raise TypeError("`pad_width` must be of integral type.")
        widths = [(int(low), int(high)) for low, high in np.broadcast_to(given, (ndim, 2))]
    if any(n < 0 for pair in widths for n in pair):
        raise ValueError("index can't contain negative values")
    return widths


def _pairs(values: Any, ndim: int) -> list[tuple[Any, Any]]:
    """An option as a pair for each axis, by NumPy's broadcasting."""
    if values is None:
        return [(None, None)] * ndim
    if isinstance(values, Tracer):
        if values.shape:
            raise OperandTypeError("pad: a traced option must be a scalar")
        return [(values, values)] * ndim
    return [tuple(pair) for pair in np.broadcast_to(np.asarray(values), (ndim, 2))]


def _constant(x: Any, widths: list[tuple[int, int]], values: Any) -> Any:
    dtype = dtype_of(x)
    pairs = _pairs(values, x.ndim)
    first = next((low for low, _ in pairs), 0)
    if isinstance(values, Tracer) or all(v == first for pair in pairs for v in pair):
        if not any(n for pair in widths for n in pair):
            return x
        value = convert_to(first, dtype, strong=True)
        return prim.pad(x, value, config=tuple((low, high, 0) for low, high in widths))
    for axis, (width, pair) in enumerate(zip(widths, pairs)):
        for side, (n, value) in enumerate(zip(width, pair)):
            if n:
                ends = (n, 0, 0) if side == 0 else (0, n, 0)
                config = tuple(ends if a == axis else (0, 0, 0) for a in range(x.ndim))
                x = prim.pad(x, convert_to(value, dtype, strong=True), config=config)
    return x


def _odd(x: Any, axis: int, low: int, high: int, mode: str) -> Any:
    """Reflection in a point of the edge: an element at distance d is twice the edge minus its mirror image.

    It is linear in the elements; padding the identity matrix gives its coefficients, which are integers.
    """
    n = x.shape[axis]
    matrix = np.pad(np.eye(n, dtype=np.int64), ((low, high), (0, 0)), mode=mode, reflect_type="odd")
    outside = convert_to(np.concatenate([matrix[:low], matrix[low + n :]]), dtype_of(x))
    product = prim.dot_general(outside, x, dimension_numbers=(((1,), (axis,)), ((), ())))
    order = (*range(1, axis + 1), 0, *range(axis + 1, x.ndim))
    product = prim.transpose(product, axes=order) if axis else product
    parts = [slice_along(product, axis, 0, low), x, slice_along(product, axis, low, low + high)]
    return join("pad", parts, axis)


def _computing(x: Any) -> Any:
    """As a dtype in which to compute: integers as float64."""
    return x if aval_of(x).dtype.kind in "fc" else convert_to(x, np.dtype(np.float64))


def _linear_ramp(x: Any, axis: int, low: int, high: int, ends: tuple[Any, Any]) -> Any:
    """From the end value at the border to the edge of the array, as linspace goes."""
    n, dtype = x.shape[axis], dtype_of(x)
    parts = [x]
    for width, end, edge, first in ((low, ends[0], (0, 1), True), (high, ends[1], (n - 1, n), False)):
        if not width:
            continue
        start = _computing(slice_along(x, axis, *edge))
        steps = np.arange(width) / width
        steps = steps if first else steps[::-1]
        shape = tuple(width if a == axis else 1 for a in range(x.ndim))
        whole = tuple(width if a == axis else m for a, m in enumerate(x.shape))
        grid = np.broadcast_to(steps.astype(start.dtype).reshape(shape), whole)
        end = convert_to(end, np.dtype(start.dtype), strong=True)
        ramp = prim.add(prim.mul(expand_to(prim.sub(start, end), whole), grid), end)
        ramp = prim.floor(ramp) if dtype.kind in "iu" else ramp
        parts.insert(0 if first else len(parts), convert_to(ramp, dtype))
    return join("pad", parts, axis)


def _statistic(x: Any, axis: int, low: int, high: int, mode: str, lengths: tuple[Any, Any]) -> Any:
    """A statistic of the elements next to each border, or of all."""
    n = x.shape[axis]
    parts = [x]
    for width, length, first in ((low, lengths[0], True), (high, lengths[1], False)):
        if not width:
            continue
        count = n if length is None else min(int(length), n)
        if count < 1:
            raise ValueError(f"stat_length of {length} yields no value for padding")
        chunk = slice_along(x, axis, 0, count) if first else slice_along(x, axis, n - count, n)
        value = reshape_to(_reduced(chunk, axis, mode), tuple(1 if a == axis else m for a, m in enumerate(x.shape)))
        whole = tuple(width if a == axis else m for a, m in enumerate(x.shape))
        parts.insert(0 if first else len(parts), expand_to(value, whole))
    return join("pad", parts, axis)


def _reduced(x: Any, axis: int, mode: str) -> Any:
    if mode in ("maximum", "minimum"):
        return (prim.reduce_max if mode == "maximum" else prim.reduce_min)(x, axes=(axis,))
    dtype, n = dtype_of(x), x.shape[axis]
    y = _computing(x)
    if mode == "median":
        y = slice_along(prim.sort(y, axis=axis, stable=False), axis, (n - 1) // 2, n // 2 + 1)
        n = y.shape[axis]
    mean = prim.div(prim.reduce_sum(y, axes=(axis,)), np.dtype(y.dtype).type(n))
    return convert_to(prim.round_(mean) if dtype.kind in "iu" else mean, dtype)
