"""Arrays of things that are arrays already, and what there is to know of them beforehand.

Traced values have no memory layout and no subclasses, so that most of these are :func:`asarray`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.trace import Tracer
from ..core.types import aval_of
from ._creation import asarray
from ._promote import all_plain, constant, eager, operand
from ._shape import atleast_1d
from ._ufuncs import imag, iscomplexobj, real

__all__ = [
    "asanyarray", "asarray_chkfinite", "ascontiguousarray", "common_type", "from_dlpack", "iterable",
    "min_scalar_type", "real_if_close",
]  # fmt: skip


def asanyarray(a: Any, dtype: Any = None, *, copy: bool | None = None) -> Any:
    """As :func:`numpy.asanyarray`; there are no subclasses, so that it is :func:`asarray`."""
    return asarray(a, dtype, copy=copy)


@eager(np.ascontiguousarray)
def ascontiguousarray(a: Any, dtype: Any = None) -> Any:
    """As :func:`numpy.ascontiguousarray`: an array of at least one axis. Traced values are always contiguous."""
    return atleast_1d(asarray(a, dtype))


def asarray_chkfinite(a: Any, dtype: Any = None) -> Any:
    """As :func:`numpy.asarray_chkfinite`: raises ValueError for NaN and infinity.

    The value must be concrete; in a program use ``fg.config.debug_nans``.
    """
    a = asarray(a, dtype)
    value = a
    if isinstance(a, Tracer):
        value = a.concrete("asarray_chkfinite (in a program, fg.config.debug_nans finds NaN)")
    if not np.all(np.isfinite(np.asarray(value))):
        raise ValueError("array must not contain infs or NaNs")
    return a


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Any:
    """As :func:`numpy.from_dlpack`: an array of another library, sharing its memory where it can.

    A traced value is an array of this one. What exports the array may refuse: torch does for a tensor that requires
    a gradient (write ``x.detach()``).
    """
    if isinstance(x, Tracer):
        return x if device is None else x.to_device(device)
    return constant(np.from_dlpack(x, device=device, copy=copy))


@eager(np.real_if_close)
def real_if_close(a: Any, tol: float = 100) -> Any:
    """As :func:`numpy.real_if_close`. The dtype of the result depends on the values, so that they must be concrete.

    In a program write ``a.real``, or keep the complex array.
    """
    a = asarray(a)
    if not iscomplexobj(a):
        return a
    if tol > 1:
        tol = np.finfo(a.dtype).eps * tol
    rest = imag(a)
    if isinstance(rest, Tracer):
        rest = rest.concrete("real_if_close (its dtype depends on the values: write a.real, or keep a)")
    return real(a) if np.all(np.absolute(np.asarray(rest)) < tol) else a


def common_type(*arrays: Any) -> type:
    """As :func:`numpy.common_type`: the inexact scalar type that holds all arrays."""
    return np.common_type(*(np.empty(0, aval_of(operand("common_type", a)).dtype) for a in arrays))


def min_scalar_type(a: Any, /) -> np.dtype[Any]:
    """As :func:`numpy.min_scalar_type`: of an array its dtype, of a number the least that holds it.

    The number must be concrete.
    """
    if all_plain((a,)):
        return np.min_scalar_type(a)
    aval = aval_of(operand("min_scalar_type", a))
    if aval.shape:
        return aval.dtype
    return np.min_scalar_type(np.asarray(a.concrete("min_scalar_type") if isinstance(a, Tracer) else a)[()])


def iterable(y: Any) -> bool:
    """Whether one can iterate over it, as :func:`numpy.iterable`; so of a traced value that has axes."""
    return bool(y.shape) if isinstance(y, Tracer) else np.iterable(y)
