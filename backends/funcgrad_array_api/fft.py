"""The discrete Fourier transform, by the standard's extension ``fft``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["OPS"]


def fft(xp, x, *, kind, n, axis):
    """The transform of a kind along an axis, without a factor: a backward one is told that the other has it."""
    if kind == "fft":
        # The standard transforms complex numbers; a real array is one with imaginary parts of 0.
        if xp.isdtype(x.dtype, "real floating"):
            x = xp.astype(x, xp.complex64 if x.dtype == xp.float32 else xp.complex128)
        return xp.fft.fft(x, axis=axis)
    if kind == "ifft":
        return xp.fft.ifft(x, axis=axis, norm="forward")
    if kind == "rfft":
        return xp.fft.rfft(x, axis=axis)
    return xp.fft.irfft(x, n=n, axis=axis, norm="forward")


OPS: dict[str, Callable[..., Any]] = {"fft": fft}
