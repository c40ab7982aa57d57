"""What the machine can do: the two ceilings of the roofline model (Williams, Waterman and Patterson 2009), measured.

A step that moves b bytes and does f operations takes at least max(b / bandwidth, f / peak) seconds. The bandwidth is
that of ``numpy.copyto`` over arrays of several sizes, since what fits a cache moves faster; the peak is that of a product of
matrices by NumPy. Both use the threads that NumPy uses. They are the processor's, whatever the back end.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Roofline", "roofline"]

_SIZES = (1 << 14, 1 << 17, 1 << 20, 1 << 23, 1 << 26)
_MATRIX = 512


class Roofline(NamedTuple):
    """``peaks``: operations a second by dtype; ``bandwidths``: pairs of bytes moved and bytes a second, by rising size."""

    peaks: dict[str, float]
    bandwidths: tuple[tuple[int, float], ...]

    def seconds(self, flops: float, moved: float, dtype: Any) -> float:
        """The least time for so many operations, on numbers of a dtype, and bytes moved."""
        narrow = np.dtype(dtype).name in ("complex64", "float16", "float32")
        peak = self.peaks["float32" if narrow else "float64"]
        return max(flops / peak, moved / self.bandwidth(moved))

    def bandwidth(self, moved: float) -> float:
        """Bytes a second where ``moved`` bytes are touched: between the sizes measured, linear in their logarithm."""
        if moved <= 0:
            return self.bandwidths[0][1]
        at = [math.log(n) for n, _ in self.bandwidths]
        return float(np.interp(math.log(moved), at, [b for _, b in self.bandwidths]))


def _least(run: Callable[[], Any], times: int) -> float:
    best = math.inf
    for _ in range(times):
        start = perf_counter()
        run()
        best = min(best, perf_counter() - start)
    return best


@functools.cache
def roofline() -> Roofline:
    """The ceilings of this machine; measured once a process, in a fraction of a second.

    >>> sorted(roofline().peaks)
    ['float32', 'float64']
    """
    peaks = {}
    for dtype in ("float32", "float64"):
        a = np.ones((_MATRIX, _MATRIX), dtype)
        out = np.empty_like(a)
        peaks[dtype] = 2 * _MATRIX**3 / _least(functools.partial(np.matmul, a, a, out), 20)
    bandwidths = []
    for size in _SIZES:
        x = np.ones(size // 16)
        y = np.ones_like(x)
        bandwidths.append(
            (2 * x.nbytes, 2 * x.nbytes / _least(functools.partial(np.copyto, y, x), 5 if size > 1 << 22 else 100))
        )
    return Roofline(peaks, tuple(bandwidths))
