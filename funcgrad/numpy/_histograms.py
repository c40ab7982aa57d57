"""Histograms: how many elements, or what sum of weights, fall between the edges of bins.

The number of bins must be static. Edges, data and weights may be traced; the counts depend on the data by steps, so
that they have no derivative, the weighted sums have one in the weights, and the edges have one in the data and the range.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandError
from ..core.trace import Tracer
from ..core.types import aval_of, is_inexact
from ._calculus import diff
from ._creation import linspace
from ._indexing import searchsorted
from ._promote import INDEX, asarray, convert_to, eager, expand_to
from ._reductions import max as _max
from ._reductions import min as _min
from ._reductions import sum as _sum
from ._shape import ravel, reshape_to
from ._types import result_type
from ._ufuncs import add, divide, equal, subtract, where

__all__ = ["histogram", "histogram2d", "histogram_bin_edges", "histogramdd"]

_FLOAT64 = np.dtype(np.float64)


def _checked(x: Any) -> Any:
    """The value of what can be looked at, or None."""
    return None if isinstance(x, Tracer) else np.asarray(x)


def _increasing(name: str, edges: Any) -> Any:
    value = _checked(edges)
    if value is not None and np.any(value[:-1] > value[1:]):
        raise ValueError(f"`{name}` must increase monotonically, when an array")
    return edges


def _outer_edges(a: Any, range: Any) -> tuple[Any, Any]:
    """The first and the last edge: the range, or the least and the greatest element, a half apart if they are equal."""
    if range is not None:
        first, last = range
        what = "supplied"
        if _checked(first) is not None and _checked(last) is not None and first > last:
            raise ValueError("max must be larger than min in range parameter.")
    elif not math.prod(a.shape):
        return 0, 1
    else:
        first, last = _min(a), _max(a)
        what = "autodetected"
    for edge in (first, last):
        value = _checked(edge)
        if value is not None and not np.isfinite(value):
            raise ValueError(f"{what} range of [{first}, {last}] is not finite")
    if not isinstance(first, Tracer) and not isinstance(last, Tracer):
        return (first - 0.5, last + 0.5) if first == last else (first, last)
    dtype = result_type(first, last)
    half = convert_to(where(equal(first, last), 0.5, 0.0), dtype if is_inexact(dtype) else _FLOAT64)
    return subtract(first, half), add(last, half)


def _edges(a: Any, bins: Any, range: Any, weights: Any) -> Any:
    """The edges for a histogram of a vector."""
    if isinstance(bins, str):
        if any(isinstance(x, Tracer) for x in (a, weights)):
            a = a.concrete(f"bins={bins!r} (as many bins as the data ask for: give their number)") if isinstance(
                a, Tracer) else a  # fmt: skip
            if weights is not None:
                raise TypeError("Automated estimation of the number of bins is not supported for weighted data")
        return np.histogram_bin_edges(a, bins, range, weights)
    bins = bins if isinstance(bins, Tracer) or np.ndim(bins) == 0 else asarray(bins)
    rank = len(aval_of(bins).shape)
    if rank == 1:
        return _increasing("bins", bins)
    if rank:
        raise ValueError("`bins` must be 1d, when an array")
    if isinstance(bins, Tracer):
        bins = bins.concrete("the number of bins")
    try:
        count = operator.index(bins)
    except TypeError:
        raise TypeError("`bins` must be an integer, a string, or an array") from None
    if count < 1:
        raise ValueError("`bins` must be positive, when an integer")
    first, last = _outer_edges(a, range)
    # NumPy's choice is that of the range before it is widened: an integer becomes float64 in either case.
    dtype = result_type(*((0, 1) if range is None else range), a)
    dtype = np.result_type(dtype, float) if dtype.kind in "biu" else dtype
    return linspace(first, last, count + 1, dtype=dtype)


def _vector(a: Any, weights: Any) -> tuple[Any, Any]:
    a = asarray(a)
    if a.dtype.kind == "b":
        a = convert_to(a, np.dtype(np.uint8))
    if weights is not None:
        weights = asarray(weights)
        if weights.shape != a.shape:
            raise OperandError(f"weights should have the same shape as a: {weights.shape} and {a.shape}")
        weights = ravel(weights)
    return ravel(a), weights


def _places(a: Any, edges: Any) -> Any:
    """The number of the bin of each element, from 1 on; 0 and the number of edges stand for outside.

    A bin has its left edge, the last one its right edge too.
    """
    n = edges.shape[0]
    last = reshape_to(prim.slice_(edges, start=(n - 1,), limit=(n,), stride=(1,)), ())
    return where(equal(a, last), n - 1, searchsorted(edges, a, side="right"))


@eager(np.histogram_bin_edges)
def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    """As :func:`numpy.histogram_bin_edges`. An estimator named by a string needs concrete data."""
    return _edges(*_with_vector(a, weights, bins, range))


def _with_vector(a: Any, weights: Any, bins: Any, range: Any) -> tuple[Any, Any, Any, Any]:
    a, weights = _vector(a, weights)
    return a, bins, range, weights


@eager(np.histogram)
def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: bool | None = None, weights: Any = None
) -> tuple[Any, Any]:
    """As :func:`numpy.histogram`. Traced edges must increase and be finite: that cannot be checked.

    >>> import funcgrad as fg
    >>> x, w = np.array([0.5, 1.5, 1.7]), np.ones(3)
    >>> fg.grad(lambda w: histogram(x, 2, (0, 2), weights=w)[0][1])(w)
    array([0., 1., 1.])
    """
    a, weights = _vector(a, weights)
    edges = _edges(a, bins, range, weights)
    count = edges.shape[0] - 1
    place = _places(a, edges)
    if weights is None:
        n = prim.scatter(np.zeros(count + 2, INDEX), expand_to(np.int64(1), a.shape), place, axes=(0,), kind="add")
    else:
        wide = np.dtype(np.complex128) if weights.dtype.kind == "c" else _FLOAT64
        n = prim.scatter(np.zeros(count + 2, wide), convert_to(weights, wide), place, axes=(0,), kind="add")
    n = prim.slice_(n, start=(1,), limit=(count + 1,), stride=(1,))
    if weights is not None:
        n = convert_to(n, np.dtype(weights.dtype))
    if density:
        n = divide(divide(n, convert_to(diff(edges), _FLOAT64)), _sum(n))
    return n, edges


@eager(np.histogramdd)
def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, density: bool | None = None, weights: Any = None
) -> tuple[Any, list[Any]]:
    """As :func:`numpy.histogramdd`: of points, the rows of a matrix or given by a vector a coordinate.

    Traced edges must increase and be finite: that cannot be checked.
    """
    if isinstance(sample, (list, tuple)):
        columns = [ravel(asarray(x)) for x in sample]
        dtype = np.result_type(*(x.dtype for x in columns))
        columns = [convert_to(x, dtype) for x in columns]
    else:
        sample = asarray(sample)
        if sample.ndim == 1:
            columns = [sample]
        elif sample.ndim == 2:
            size = sample.shape
            columns = [
                reshape_to(prim.slice_(sample, start=(0, i), limit=(size[0], i + 1), stride=(1, 1)), (size[0],))
                for i in np.arange(size[1]).tolist()
            ]
        else:
            raise OperandError(f"histogramdd: the sample must be a matrix of points, not of shape {sample.shape}")
    n = columns[0].shape[0]
    if any(x.shape[0] != n for x in columns):
        raise OperandError("histogramdd: the coordinates have different numbers of points")
    per_axis = [bins] * len(columns) if not hasattr(bins, "__len__") else list(bins)
    ranges = [None] * len(columns) if range is None else list(range)
    if len(per_axis) != len(columns):
        raise ValueError("The dimension of bins must be equal to the dimension of the sample x.")
    if len(ranges) != len(columns):
        raise ValueError("range argument must have one entry per dimension")
    edges = [_axis_edges(i, *of) for i, of in enumerate(zip(columns, per_axis, ranges))]
    widths = [e.shape[0] + 1 for e in edges]
    place: Any = np.zeros(n, INDEX)
    for x, e, width in zip(columns, edges, widths):
        place = prim.add(prim.mul(place, np.int64(width)), _places(x, e))
    total = math.prod(widths)
    if weights is None:
        updates = expand_to(np.float64(1), (n,))
    else:
        updates = asarray(weights)
        if not np.can_cast(updates.dtype, _FLOAT64, "safe"):
            raise TypeError(f"histogramdd: weights of dtype {updates.dtype} cannot be cast safely to float64")
        updates = convert_to(updates, _FLOAT64)
        if updates.shape != (n,):
            raise OperandError(f"The weights and list don't have the same length: {updates.shape} and {n}")
    flat = prim.scatter(np.zeros(total), updates, place, axes=(0,), kind="add")
    cells = prim.slice_(
        reshape_to(flat, tuple(widths)),
        start=(1,) * len(widths),
        limit=tuple(w - 1 for w in widths),
        stride=(1,) * len(widths),
    )
    if density:
        count = _sum(cells)
        for i, e in enumerate(edges):
            sizes = [1] * len(edges)
            sizes[i] = e.shape[0] - 1
            cells = divide(cells, reshape_to(diff(e), tuple(sizes)))
        cells = divide(cells, count)
    return cells, edges


def _axis_edges(i: int, x: Any, bins: Any, range: Any) -> Any:
    rank = len(aval_of(asarray(bins)).shape)
    if rank == 0:
        if isinstance(bins, Tracer):
            bins = bins.concrete("the number of bins")
        if bins < 1:
            raise ValueError(f"`bins[{i}]` must be positive, when an integer")
        try:
            count = operator.index(bins)
        except TypeError:
            raise TypeError(f"`bins[{i}]` must be an integer, when a scalar") from None
        return linspace(*_outer_edges(x, range), count + 1)
    if rank > 1:
        raise ValueError(f"`bins[{i}]` must be a scalar or 1d array")
    return _increasing(f"bins[{i}]", asarray(bins))


@eager(np.histogram2d)
def histogram2d(
    x: Any, y: Any, bins: Any = 10, range: Any = None, density: bool | None = None, weights: Any = None
) -> tuple[Any, Any, Any]:
    """As :func:`numpy.histogram2d`: :func:`histogramdd` of two coordinates."""
    x, y = asarray(x), asarray(y)
    if x.shape[0] != y.shape[0]:
        raise ValueError("x and y must have the same length.")
    count = len(bins) if isinstance(bins, Sequence) or getattr(bins, "shape", ()) else 1
    if count not in (1, 2):
        bins = [bins, bins]
    cells, (x_edges, y_edges) = histogramdd((x, y), bins, range, density, weights)
    return cells, x_edges, y_edges
