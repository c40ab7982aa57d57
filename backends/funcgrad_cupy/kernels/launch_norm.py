"""How the kernels of batch_norm.cu are launched; as :mod:`.launches` does for the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import c_type
from .geometry import computation_of, parts_of, rows_of, tile_of
from .launch_reduction import reduce_columns

__all__ = ["batch_normalise", "batch_normalise_transposed"]

#: Rows for each of the threads that share a column, at least.
_LEAST = 16

_i64 = np.int64


class _Tiles:
    """How a matrix is cut: in tiles of columns, and these in parts of rows."""

    def __init__(self, device: Any, x: Any) -> None:
        self.device, self.element = device, c_type(x.dtype)
        self.rows, self.columns = rows_of(x)
        width, height = tile_of(self.rows, self.columns)
        self.tiles, self.block = -(-self.columns // width), (width, height)
        self.parts, self.chunk = parts_of(self.rows, self.tiles, _LEAST * height, height)

    def launch(self, name: str, *args: Any) -> None:
        if self.tiles:
            sizes = _i64(self.rows), _i64(self.columns), _i64(self.chunk)
            grid = (self.tiles, self.parts)
            self.device.launch("batch_norm", f"{name}<{self.element}>", grid, self.block, [*args, *sizes])


def batch_normalise(device: Any, x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any, Any]:
    """x normalised over all axes but the last, the channels, times gamma plus beta (either may be None), the means, the biased
    variances and 1 / deviations of the channels, these in the dtype of computation. There is one row at least.

    Three launches: moments of parts of columns, their combination, the normalisation.
    """
    cut, compute = _Tiles(device, x), computation_of(x.dtype)
    y = device.empty(x.shape, x.dtype)
    mean, variance, scale = (device.empty((cut.columns,), compute) for _ in range(3))
    moments = device.empty((3, cut.parts, cut.columns), compute)
    cut.launch("batch_moments", moments, x)
    if cut.tiles:
        args = [mean, variance, scale, moments, x, np.int32(cut.parts), _i64(cut.columns), compute.type(epsilon)]
        device.launch("batch_norm", f"batch_statistics<{cut.element}>", (cut.tiles,), cut.block, args)
    cut.launch("batch_normalise", y, x, mean, scale, gamma, beta)
    return y, mean, variance, scale


def batch_normalise_transposed(device: Any, ct: Any, x: Any, mean: Any, scale: Any, gamma: Any) -> tuple[Any, Any, Any]:
    """The cotangents of x, gamma and beta, given that of y; those of the parameters in the dtype of computation.

    Three launches: the sums over parts of columns, their combination, the cotangent of x.
    """
    cut, compute = _Tiles(device, x), computation_of(x.dtype)
    dx, parts = device.empty(x.shape, x.dtype), device.empty((2, cut.parts, cut.columns), compute)
    cut.launch("batch_parameters", parts, ct, x, mean, scale)
    sums = reduce_columns(device, parts, "Sum") if cut.parts > 1 else parts
    cut.launch("batch_normalise_transposed", dx, ct, x, mean, scale, gamma, sums)
    return dx, device.view(sums, (cut.columns,)), device.view(sums, (cut.columns,), cut.columns)
