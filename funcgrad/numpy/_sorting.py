"""Sorting, and what sorting finds: unique values, membership.

A sort is stable where ``kind`` or ``stable`` asks for it, as NumPy's is; of the other kinds all are the default one.
NaN goes last.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandError
from ..core.trace import Tracer
from ..core.types import is_inexact
from ._creation import full
from ._indexing import searchsorted, take, take_along_axis
from ._joining import slice_along
from ._promote import INDEX, asarray, convert_to, eager, expand_to, normalize_axis
from ._shape import ravel, reshape_to

__all__ = [
    "argpartition",
    "argsort",
    "isin",
    "lexsort",
    "partition",
    "sort",
    "sort_complex",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]


def _prepared(name: str, a: Any, axis: int | None, order: Any) -> tuple[Any, int]:
    if order is not None:
        raise ValueError(f"{name}: order= sorts the fields of structured arrays, which funcgrad does not have")
    a = asarray(a)
    if axis is None:
        return ravel(a), 0
    return a, normalize_axis(axis, a.ndim)


def _is_stable(kind: Any, stable: bool | None) -> bool:
    """Whether equal elements keep their order; raises what NumPy raises for a ``kind`` that it does not know."""
    np.sort(np.empty(0), kind=kind, stable=stable)
    return bool(stable) or (kind is not None and kind[:1].lower() in ("m", "s", b"m", b"s"))


@eager(np.sort)
def _sort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None) -> Any:
    a, axis = _prepared("sort", a, axis, order)
    return prim.sort(a, axis=axis, stable=_is_stable(kind, stable))


@eager(np.argsort)
def _argsort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None) -> Any:
    if axis in (0, -1) and not np.shape(a):
        axis = None
    a, axis = _prepared("argsort", a, axis, order)
    return prim.argsort(a, axis=axis, stable=_is_stable(kind, stable))


def sort(
    a: Any,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: bool | None = None,
    descending: bool = False,
) -> Any:
    """As :func:`numpy.sort`; ``descending`` as from NumPy 2.5 on, NaN last either way."""
    if not descending:
        return _sort(a, axis, kind, order, stable=stable)
    a, along = _prepared("sort", a, axis, order)
    return take_along_axis(a, _from_the_largest(a, along), along)


def argsort(
    a: Any,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: bool | None = None,
    descending: bool = False,
) -> Any:
    """As :func:`numpy.argsort`; ``descending`` as of :func:`sort`, and stable."""
    if not descending:
        return _argsort(a, axis, kind, order, stable=stable)
    a, along = _prepared("argsort", a, axis, order)
    return _from_the_largest(a, along)


def _from_the_largest(a: Any, axis: int) -> Any:
    """The indices that sort in descending order, stably and NaN last.

    The ascending order of the array from its end, read from its end: equal elements come out in their own order.
    """
    n = a.shape[axis]
    order = prim.rev(prim.argsort(prim.rev(a, axes=(axis,)), axis=axis, stable=True), axes=(axis,))
    order = prim.sub(np.int64(n - 1), order)
    if is_inexact(a.dtype):
        taken = take_along_axis(a, order, axis)
        last = prim.argsort(prim.ne(taken, taken), axis=axis, stable=True)
        order = take_along_axis(order, last, axis)
    return order


def partition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None) -> Any:
    """As :func:`numpy.partition`, with both parts sorted as well, so that the result does not depend on how it runs."""
    a, along = _prepared("partition", a, axis, order)
    _check_kth(kth, a, along)
    return sort(a, along)


def argpartition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None) -> Any:
    """As :func:`numpy.argpartition`, with both parts sorted as well: the result does not depend on how it runs."""
    a, along = _prepared("argpartition", a, axis, order)
    _check_kth(kth, a, along)
    return argsort(a, along, stable=True)


def _check_kth(kth: Any, a: Any, axis: int) -> None:
    n = a.shape[axis]
    for k in np.atleast_1d(kth).tolist():
        # Of an empty array NumPy asks for nothing.
        if a.size and not -n <= k < n:
            raise ValueError(f"kth(={k}) out of bounds ({n})")


@eager(np.sort_complex)
def sort_complex(a: Any) -> Any:
    """As :func:`numpy.sort_complex`."""
    a = asarray(a)
    dtype = np.dtype(a.dtype)
    if dtype.kind != "c":
        dtype = np.dtype(np.complex64 if dtype.kind in "iu" and dtype.itemsize <= 2 else np.complex128)
    return sort(convert_to(a, dtype))


@eager(np.lexsort)
def lexsort(keys: Any, axis: int = -1) -> Any:
    """As :func:`numpy.lexsort`: the last key is the most important one."""
    if isinstance(keys, (tuple, list)):
        rows = [asarray(k) for k in keys]
    else:
        keys = asarray(keys)
        rows = [reshape_to(slice_along(keys, 0, i, i + 1), keys.shape[1:]) for i in range(keys.shape[0])]
    if not rows:
        raise TypeError("need sequence of keys with len > 0 in lexsort")
    if any(k.shape != rows[0].shape for k in rows):
        raise OperandError(f"lexsort: all keys need to be the same shape, not {', '.join(str(k.shape) for k in rows)}")
    if not rows[0].ndim:
        return prim.argsort(reshape_to(rows[0], (1,)), axis=0, stable=True)
    axis = normalize_axis(axis, rows[0].ndim)
    order = prim.argsort(rows[0], axis=axis, stable=True)
    for key in rows[1:]:
        again = prim.argsort(take_along_axis(key, order, axis), axis=axis, stable=True)
        order = take_along_axis(order, again, axis)
    return order


@eager(np.isin)
def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, kind: Any = None
) -> Any:
    """As :func:`numpy.isin`: by a search in the sorted test elements."""
    x, tests = asarray(element), ravel(asarray(test_elements))
    dtype = np.result_type(x.dtype, tests.dtype)
    x, tests = convert_to(x, dtype), convert_to(tests, dtype)
    n = tests.shape[0]
    if not n:
        return full(x.shape, invert)
    ordered = prim.sort(tests, axis=0, stable=False)
    place = prim.min_(searchsorted(ordered, x), np.int64(n - 1))
    found = prim.eq(prim.gather(ordered, place, axes=(0,)), x)
    return prim.not_(found) if invert else found


# Unique values --------------------------------------------------------------------------------------------------------


class UniqueAllResult(NamedTuple):
    """The results of :func:`unique_all`."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCountsResult(NamedTuple):
    """The results of :func:`unique_counts`."""

    values: Any
    counts: Any


class UniqueInverseResult(NamedTuple):
    """The results of :func:`unique_inverse`."""

    values: Any
    inverse_indices: Any


def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """As :func:`numpy.unique`: the sorted unique values; ``sorted=False`` permits any order, and has this one too.

    With ``size``, which a traced array needs, there are exactly so many values: surplus ones are dropped, missing ones
    are ``fill_value`` (the least value if not given) with a count of 0 and the index of the least value. It is of the
    flattened array then.
    """
    if size is None:
        use = "unique (as many values as there are different ones: give size=n)"
        plain = ar.concrete(use) if isinstance(ar, Tracer) else ar
        if not isinstance(ar, Tracer) or not is_inexact(np.dtype(ar.dtype)):
            return np.unique(plain, return_index, return_inverse, return_counts, axis, equal_nan=equal_nan)
        # The values carry derivatives: they are taken from the traced array, at the places that NumPy finds.
        _, index, inverse, counts = np.unique(plain, True, True, True, axis, equal_nan=equal_nan)
        values = take(ravel(ar) if axis is None else ar, index, 0 if axis is None else axis)
    else:
        if axis is not None:
            raise OperandError("unique: size= is of the flattened array; give no axis=")
        values, index, inverse, counts = _unique(asarray(ar), int(size), fill_value, equal_nan)
    wanted = (return_index, return_inverse, return_counts)
    extra = tuple(x for x, want in zip((index, inverse, counts), wanted) if want)
    return (values, *extra) if extra else values


def _unique(ar: Any, size: int, fill_value: Any, equal_nan: bool) -> tuple[Any, Any, Any, Any]:
    x = ravel(ar)
    n = x.shape[0]
    if not n:
        zeros = np.zeros(size, INDEX)
        return full((size,), 0 if fill_value is None else fill_value, x.dtype), zeros, np.zeros(ar.shape, INDEX), zeros
    order = prim.argsort(x, axis=0, stable=True)
    ordered = prim.gather(x, order, axes=(0,))
    before, after = slice_along(ordered, 0, 0, n - 1), slice_along(ordered, 0, 1, n)
    new = prim.ne(before, after)
    if equal_nan and is_inexact(np.dtype(x.dtype)):
        new = prim.and_(new, prim.or_(prim.eq(before, before), prim.eq(after, after)))
    # The serial number of the unique value of each sorted element.
    serial = prim.cumsum(
        prim.pad(prim.convert(new, dtype=INDEX), np.int64(0), config=((1, 0, 0),)), axis=0, reverse=False
    )
    # Where each unique value first stands in the sorted array; what is beyond `size` goes to a place that is cut off.
    place = prim.min_(serial, np.int64(size))
    steps = prim.iota(shape=(n,), dtype=INDEX, axis=0)
    first = prim.scatter(np.full(size + 1, n, INDEX), steps, place, axes=(0,), kind="min")
    first = slice_along(first, 0, 0, size)
    real = prim.lt(first, np.int64(n))
    first = prim.select(real, first, np.int64(0))
    values = prim.gather(ordered, first, axes=(0,))
    if fill_value is not None:
        values = prim.select(real, values, convert_to(asarray(fill_value), np.dtype(x.dtype), strong=True))

    counts = prim.scatter(np.zeros(size + 1, INDEX), expand_to(np.int64(1), (n,)), place, axes=(0,), kind="add")
    inverse = prim.scatter(np.zeros(n, INDEX), serial, order, axes=(0,), kind="set", unique=True)
    index = prim.gather(order, first, axes=(0,))
    return values, index, reshape_to(inverse, ar.shape), slice_along(counts, 0, 0, size)


def unique_values(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> Any:
    """As :func:`numpy.unique_values`, in ascending order; ``size`` and ``fill_value`` as for :func:`unique`."""
    return unique(x, equal_nan=False, size=size, fill_value=fill_value)


def unique_counts(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueCountsResult:
    """As :func:`numpy.unique_counts`; ``size`` and ``fill_value`` as for :func:`unique`."""
    return UniqueCountsResult(*unique(x, return_counts=True, equal_nan=False, size=size, fill_value=fill_value))


def unique_inverse(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueInverseResult:
    """As :func:`numpy.unique_inverse`; ``size`` and ``fill_value`` as for :func:`unique`."""
    return UniqueInverseResult(*unique(x, return_inverse=True, equal_nan=False, size=size, fill_value=fill_value))


def unique_all(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueAllResult:
    """As :func:`numpy.unique_all`; ``size`` and ``fill_value`` as for :func:`unique`."""
    return UniqueAllResult(*unique(x, True, True, True, equal_nan=False, size=size, fill_value=fill_value))
