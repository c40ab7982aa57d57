"""Sets: what two arrays have in common and what they have not.

The results are sorted vectors of different values, and how many there are depends on the values: a traced array needs
``size=``, except where its value is known (under ``grad`` without ``jit``). With a size there are exactly so many
values: surplus ones are dropped, missing ones are ``fill_value`` (0 if not given).

All are computed alike. The elements of both arrays are sorted together, equal ones are a group, and a group is wanted
or not by which of the arrays have an element in it. A NaN is equal to the others of its array, but not to one of the
other array, as in NumPy. Derivatives go to the elements that are taken; ``assume_unique`` saves nothing here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.trace import Tracer
from ..core.types import is_inexact
from ._indexing import flatnonzero
from ._joining import concatenate, slice_along
from ._promote import INDEX, all_plain, asarray, convert_to, eager_allowed, full
from ._shape import ravel
from ._sorting import isin, unique
from ._ufuncs import logical_not

__all__ = ["intersect1d", "setdiff1d", "setxor1d", "union1d"]

_BOOL = np.dtype(np.bool_)


def _value(x: Any, name: str) -> Any:
    """The concrete value of an array."""
    if isinstance(x, Tracer):
        return x.concrete(f"{name} (as many values as there are different ones: give size=n)")
    if type(x) in (list, tuple):
        return np.asarray([_value(y, name) for y in x])
    return np.asarray(x)


def union1d(ar1: Any, ar2: Any, *, size: int | None = None, fill_value: Any = None) -> Any:
    """As :func:`numpy.union1d`: the values of either array.

    ``size``: how many there are, which a traced array needs; missing ones are ``fill_value`` (the least value if not
    given, as for :func:`unique`).

    >>> union1d(np.array([3, 1]), np.array([1, 2]), size=4, fill_value=-1)
    array([ 1,  2,  3, -1])
    """
    if size is None and all_plain((ar1, ar2)) and eager_allowed():
        return np.union1d(ar1, ar2)
    return unique(concatenate((asarray(ar1), asarray(ar2)), axis=None), size=size, fill_value=fill_value)


def setxor1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, *, size: int | None = None, fill_value: Any = None
) -> Any:
    """As :func:`numpy.setxor1d`: the values of one array that the other has not; ``size`` as the module says.

    >>> setxor1d(np.array([3, 1]), np.array([1, 2]), size=2)
    array([2, 3])
    """
    if size is None:
        if all_plain((ar1, ar2)) and eager_allowed():
            return np.setxor1d(ar1, ar2, assume_unique)
        size = np.setxor1d(_value(ar1, "setxor1d"), _value(ar2, "setxor1d")).size
    values, _, _ = _selected(asarray(ar1), asarray(ar2), prim.xor, size, fill_value)
    return values


def intersect1d(
    ar1: Any,
    ar2: Any,
    assume_unique: bool = False,
    return_indices: bool = False,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """As :func:`numpy.intersect1d`: the values that both arrays have, and where each has them first.

    ``size`` as the module says; the index of a missing value is the number of elements, which no element has.

    >>> intersect1d(np.array([3, 1, 2]), np.array([2, 5, 3]), return_indices=True, size=3, fill_value=-1)
    (array([ 2,  3, -1]), array([2, 0, 3]), array([0, 2, 3]))
    """
    if size is None:
        if all_plain((ar1, ar2)) and eager_allowed():
            return np.intersect1d(ar1, ar2, assume_unique, return_indices)
        size = np.intersect1d(_value(ar1, "intersect1d"), _value(ar2, "intersect1d")).size
    found = _selected(asarray(ar1), asarray(ar2), prim.and_, size, fill_value)
    return found if return_indices else found[0]


def setdiff1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, *, size: int | None = None, fill_value: Any = None
) -> Any:
    """As :func:`numpy.setdiff1d`: the values of the first array that the second has not; ``size`` as the module says.

    With ``assume_unique`` they keep their order in the first array.

    >>> setdiff1d(np.array([3, 1, 2, 3]), np.array([2]), size=3)
    array([1, 3, 0])
    """
    if size is None:
        if all_plain((ar1, ar2)) and eager_allowed():
            return np.setdiff1d(ar1, ar2, assume_unique)
        size = np.setdiff1d(_value(ar1, "setdiff1d"), _value(ar2, "setdiff1d"), assume_unique).size
    first, second = ravel(asarray(ar1)), asarray(ar2)
    if assume_unique:
        place = flatnonzero(isin(first, second, invert=True), size=size, fill_value=first.shape[0])
    else:
        _, place, _ = _selected(first, second, lambda a, b: prim.and_(a, logical_not(b)), size, fill_value)
    return _taken(first, place, size, fill_value)


def _filled(size: int, value: Any, dtype: Any) -> Any:
    value = 0 if value is None else value
    return full((size,), asarray(value, dtype) if isinstance(value, Tracer) else value, dtype)


def _taken(x: Any, place: Any, size: int, fill_value: Any) -> Any:
    """The elements of a vector; the fill value for the index that no element has."""
    n = x.shape[0]
    if not n or not size:
        return _filled(size, fill_value, x.dtype)
    real = prim.lt(place, np.int64(n))
    values = prim.gather(x, prim.min_(place, np.int64(n - 1)), axes=(0,))
    return prim.select(real, values, _filled(size, fill_value, x.dtype))


def _selected(
    ar1: Any, ar2: Any, wanted: Callable[[Any, Any], Any], size: int, fill_value: Any
) -> tuple[Any, Any, Any]:
    """The values wanted, in order, and where each array has them first (its size where it has not)."""
    size = int(size)
    dtype = np.result_type(ar1.dtype, ar2.dtype)
    x = concatenate((convert_to(ar1, dtype), convert_to(ar2, dtype)), axis=None)
    n, split = x.shape[0], ravel(ar1).shape[0]
    if not n:
        nowhere = np.zeros(size, INDEX)
        return _filled(size, fill_value, dtype), nowhere, nowhere
    # A stable sort: in a group the elements of the first array come first, each array's in their order.
    order = prim.argsort(x, axis=0, stable=True)
    ordered = prim.gather(x, order, axes=(0,))
    second = prim.ge(order, np.int64(split))
    before, after = slice_along(ordered, 0, 0, n - 1), slice_along(ordered, 0, 1, n)
    new = prim.ne(before, after)
    if is_inexact(dtype):
        both_nan = prim.and_(prim.ne(before, before), prim.ne(after, after))
        crossing = prim.ne(slice_along(second, 0, 0, n - 1), slice_along(second, 0, 1, n))
        new = prim.select(both_nan, crossing, new)
    starts = prim.pad(prim.convert(new, dtype=INDEX), np.int64(0), config=((1, 0, 0),))
    group = prim.cumsum(starts, axis=0, reverse=False)
    # Where each array first has the value of each group: no element has the index n.
    nowhere = np.full(n, n, INDEX)
    in_first = prim.scatter(nowhere, prim.select(second, np.int64(n), order), group, axes=(0,), kind="min")
    in_second = prim.scatter(nowhere, prim.select(second, order, np.int64(n)), group, axes=(0,), kind="min")
    has_first, has_second = prim.lt(in_first, np.int64(n)), prim.lt(in_second, np.int64(n))
    groups = flatnonzero(wanted(has_first, has_second), size=size, fill_value=n)
    one, two = (_taken(p, groups, size, n) for p in (in_first, in_second))
    values = _taken(x, prim.min_(one, two), size, fill_value)
    length = n - split
    one = prim.min_(one, np.int64(split))
    return values, one, prim.min_(prim.sub(two, np.int64(split)), np.int64(length))
