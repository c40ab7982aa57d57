"""Windows for filters and spectra, and the Bessel function that one of them needs.

A window of M points has a shape that depends on M, so M must be concrete; the ``beta`` of Kaiser's may be traced. All
are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandTypeError
from ..core.trace import Tracer
from ..core.types import is_inexact
from ._promote import asarray, constant, convert_to, eager
from ._ufuncs import absolute, divide, multiply

__all__ = ["bartlett", "blackman", "hamming", "hanning", "i0", "kaiser"]

_FLOAT64 = np.dtype(np.float64)


def _points(name: str, M: Any) -> Any:
    return M.concrete(f"{name}, whose argument M is the length of its result,") if isinstance(M, Tracer) else M


def _window(reference: Callable[[Any], Any]) -> Callable[[Any], Any]:
    name = reference.__name__

    def window(M: Any) -> Any:
        return constant(reference(_points(name, M)))

    window.__name__ = window.__qualname__ = name
    window.__doc__ = f"As :func:`numpy.{name}`. M must be concrete."
    return window


bartlett = _window(np.bartlett)
blackman = _window(np.blackman)
hamming = _window(np.hamming)
hanning = _window(np.hanning)


@eager(np.i0)
def i0(x: Any) -> Any:
    """As :func:`numpy.i0`: the modified Bessel function of the first kind and order 0, of real numbers."""
    x = asarray(x)
    if x.dtype.kind == "c":
        raise OperandTypeError("i0 not supported for complex values")
    return prim.i0(x if is_inexact(x.dtype) else convert_to(x, _FLOAT64))


def kaiser(M: Any, beta: Any) -> Any:
    """As :func:`numpy.kaiser`: I0(beta sqrt(1 - t²)) / I0(beta) at M points t from -1 to 1. ``beta`` may be traced.

    >>> import funcgrad as fg
    >>> round(fg.grad(lambda beta: kaiser(3, beta)[0])(2.0), 6)
    -0.306097
    """
    M = _points("kaiser", M)
    if not isinstance(beta, Tracer):
        return constant(np.kaiser(M, beta))
    if M == 1:
        return constant(np.ones(1))
    middle = (M - 1) / 2.0
    shape = np.sqrt(1 - ((np.arange(0, float(M)) - middle) / middle) ** 2.0)
    beta = absolute(convert_to(beta, _FLOAT64, strong=True))
    return divide(prim.i0(multiply(beta, shape)), prim.i0(beta))
