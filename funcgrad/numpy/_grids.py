"""Indices of the parts of a matrix, and functions of the indices.

The shapes of index arrays depend on their arguments, so these must be concrete; the arrays are then constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandError
from ..core.trace import Tracer
from ..core.types import aval_of
from ._creation import indices
from ._indexing import nonzero, take
from ._promote import asarray, constant, convert_to, eager
from ._shape import ravel, reshape_to
from ._types import shape as _shape_of
from ._ufuncs import not_equal

__all__ = [
    "diag_indices", "diag_indices_from", "fill_diagonal", "fromfunction", "mask_indices", "tril_indices",
    "tril_indices_from", "triu_indices", "triu_indices_from",
]  # fmt: skip


def _static(name: str, *values: Any) -> list[Any]:
    use = f"{name}, whose arguments decide the shape of its result,"
    return [x.concrete(use) if isinstance(x, Tracer) else x for x in values]


def _constants(arrays: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(map(constant, arrays))


def _matrix(arr: Any) -> tuple[int, int]:
    shape = _shape_of(arr)
    if len(shape) != 2:
        raise OperandError(f"input array must be 2-d, not of shape {shape}")
    return shape  # type: ignore[return-value]


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Any, ...]:
    """As :func:`numpy.tril_indices`: the rows and columns of the lower triangle of an n by m matrix."""
    return _constants(np.tril_indices(*_static("tril_indices", n, k, m)))


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Any, ...]:
    """As :func:`numpy.triu_indices`: the rows and columns of the upper triangle of an n by m matrix."""
    return _constants(np.triu_indices(*_static("triu_indices", n, k, m)))


def tril_indices_from(arr: Any, k: int = 0) -> tuple[Any, ...]:
    """As :func:`numpy.tril_indices_from`; only the shape of the array counts."""
    n, m = _matrix(arr)
    return tril_indices(n, k, m)


def triu_indices_from(arr: Any, k: int = 0) -> tuple[Any, ...]:
    """As :func:`numpy.triu_indices_from`; only the shape of the array counts."""
    n, m = _matrix(arr)
    return triu_indices(n, k, m)


def diag_indices(n: int, ndim: int = 2) -> tuple[Any, ...]:
    """As :func:`numpy.diag_indices`: the indices of the main diagonal, an array an axis."""
    return _constants(np.diag_indices(*_static("diag_indices", n, ndim)))


def diag_indices_from(arr: Any) -> tuple[Any, ...]:
    """As :func:`numpy.diag_indices_from`; only the shape of the array counts."""
    shape = _shape_of(arr)
    if len(shape) < 2:
        raise OperandError(f"input array must be at least 2-d, not of shape {shape}")
    if len(set(shape)) != 1:
        raise OperandError(f"All dimensions of input must be of equal length, not {shape}")
    return diag_indices(shape[0], len(shape))


def mask_indices(
    n: int, mask_func: Callable[[Any, Any], Any], k: Any = 0, *, size: int | None = None
) -> tuple[Any, ...]:
    """As :func:`numpy.mask_indices`: where ``mask_func`` of a matrix of ones is not zero.

    ``size`` is as for :func:`nonzero`: how many indices there are, which a traced ``k`` needs.

    >>> import funcgrad.numpy as fnp
    >>> mask_indices(2, fnp.triu)
    (array([0, 0, 1]), array([0, 1, 1]))
    """
    (n,) = _static("mask_indices", n)
    return nonzero(not_equal(mask_func(constant(np.ones((n, n), int)), k), 0), size=size)


def _numpy_fill_diagonal(a: Any, val: Any, wrap: bool = False) -> Any:
    result = np.array(a)
    np.fill_diagonal(result, val, wrap)
    return result


@eager(_numpy_fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> Any:
    """As :func:`numpy.fill_diagonal`, but ``a`` is left as it is and the new array is returned.

    ``val`` is a number, or the elements of the diagonal, repeated as often as needed. ``wrap``: the diagonal of a tall
    matrix begins again after each N columns.

    >>> fill_diagonal(np.ones((2, 3)), 5.0)
    array([[5., 1., 1.],
           [1., 5., 1.]])
    """
    a = asarray(a)
    shape = a.shape
    if len(shape) < 2:
        raise OperandError(f"array must be at least 2-d, not of shape {shape}")
    size = int(np.prod(shape))
    end = size
    if len(shape) == 2:
        step = shape[1] + 1
        if not wrap:
            end = min(size, shape[1] * shape[1])
    else:
        if len(set(shape)) != 1:
            raise OperandError(f"All dimensions of input must be of equal length, not {shape}")
        step = 1 + int(np.cumprod(shape[:-1]).sum())
    places = np.arange(0, end, step)
    values = ravel(convert_to(asarray(val), np.dtype(a.dtype), strong=True))
    count = aval_of(values).shape[0]
    if not places.size or not count:
        return prim.copy(a)
    updates = take(values, np.arange(places.size) % count)
    flat = prim.scatter(reshape_to(a, (size,)), updates, places, axes=(0,), kind="set", unique=True)
    return reshape_to(flat, shape)


def fromfunction(function: Callable[..., Any], shape: Sequence[int], *, dtype: Any = float, **kwargs: Any) -> Any:
    """As :func:`numpy.fromfunction`: ``function`` of the index arrays of a shape, called once.

    >>> fromfunction(lambda i, j: i + j, (2, 2))
    array([[0., 1.],
           [1., 2.]])
    """
    planes = indices(tuple(_static("fromfunction", *shape)), dtype)
    return function(*planes, **kwargs)
