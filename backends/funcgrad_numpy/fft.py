"""The discrete Fourier transform, by NumPy's pocketfft."""

from __future__ import annotations

import numpy as np


def fft(x, *, kind, n, axis):
    """The transform of a kind along an axis, without a factor: a backward one is told that the other has it."""
    if kind == "fft":
        return np.fft.fft(x, axis=axis)
    if kind == "ifft":
        return np.fft.ifft(x, axis=axis, norm="forward")
    if kind == "rfft":
        return np.fft.rfft(x, axis=axis)
    return np.fft.irfft(x, n, axis, norm="forward")
