"""The discrete Fourier transform along an axis, as one primitive of four kinds.

With w = exp(-2 pi i / n), and no factor in either direction:

    fft     y_k = sum_j x_j w^(jk)                           complex n -> complex n
    ifft    y_k = sum_j x_j w^(-jk)                          complex n -> complex n
    rfft    as fft, for k = 0 ... n // 2 only                real n -> complex n // 2 + 1
    irfft   y_j = sum_k h_k Re(x_k w^(-jk))                  complex n // 2 + 1 -> real n

where h_k is 1 at k = 0 and, of an even n, at k = n/2, and 2 between: a coefficient stands there for its conjugate too.
All are linear. The matrix w^(jk) is symmetric, so that ``fft`` and ``ifft`` are their own transposes (cotangents of
complex values are not conjugated, see ``elementwise.py``). The other two are, up to h, transposes of one another:

    <c, rfft x>  = Re sum_jk c_k w^(jk) x_j,                 so x_j has the cotangent irfft(conj(c) / h)_j
    <c, irfft x> = Re sum_jk c_j h_k w^(-jk) x_k,            so x_k has the cotangent h_k conj(rfft(c))_k
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import OperandError, OperandTypeError
from ..core.trace import Primitive
from ..core.types import Aval, dtype_of
from . import elementwise, structure

__all__ = ["fft_"]

_KINDS = {"fft": "c", "ifft": "c", "rfft": "f", "irfft": "c"}


class Fft(Primitive):
    """The transform of ``kind`` along ``axis``; ``n`` is the length of the signal, of ``irfft`` that of the result."""

    name = "fft"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        (x,) = avals
        kind, n, axis = params["kind"], params["n"], params["axis"]
        takes = _KINDS[kind]
        if x.dtype.kind != takes or x.dtype.itemsize < (4 if takes == "f" else 8):
            wanted = "float32 or float64" if takes == "f" else "complex64 or complex128"
            raise OperandTypeError(f"fft of kind {kind} takes the dtype {wanted}, not {x.dtype}")
        if not 0 <= axis < x.ndim:
            raise OperandError(f"fft: axis {axis} is out of bounds for the shape {x.shape}")
        half = n // 2 + 1
        given, result = (half if kind == "irfft" else n), (half if kind == "rfft" else n)
        if n < 1 or x.shape[axis] != given:
            raise OperandError(f"fft of kind {kind} and length {n} does not fit axis {axis} of the shape {x.shape}")
        dtype = x.dtype
        if kind == "rfft":
            dtype = np.dtype(f"c{2 * dtype.itemsize}")
        elif kind == "irfft":
            dtype = np.dtype(f"f{dtype.itemsize // 2}")
        return Aval((*x.shape[:axis], result, *x.shape[axis + 1 :]), dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self(*primals, **params), self(*tangents, **params)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        kind, n, axis = params["kind"], params["n"], params["axis"]
        if kind == "rfft":
            weighted = elementwise.mul(elementwise.conj(ct), _weights(ct.shape, dtype_of(ct), n, axis, 0.5))
            return [self(weighted, kind="irfft", n=n, axis=axis)]
        if kind == "irfft":
            spectrum = self(ct, kind="rfft", n=n, axis=axis)
            weights = _weights(spectrum.shape, dtype_of(spectrum), n, axis, 2.0)
            return [elementwise.mul(elementwise.conj(spectrum), weights)]
        return [self(ct, **params)]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return self(args[0], kind=params["kind"], n=params["n"], axis=params["axis"] + 1), True


def _weights(shape: tuple[int, ...], dtype: np.dtype[Any], n: int, axis: int, between: float) -> Any:
    """1 at the first of the n // 2 + 1 frequencies and at the last of an even n, ``between`` elsewhere."""
    place = structure.iota(shape=shape, dtype=np.dtype(np.int64), axis=axis)
    end = elementwise.eq(place, 0)
    if n % 2 == 0:
        end = elementwise.or_(end, elementwise.eq(place, n // 2))
    return elementwise.select(end, dtype.type(1), dtype.type(between))


fft_ = Fft()
