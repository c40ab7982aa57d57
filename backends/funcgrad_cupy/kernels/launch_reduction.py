"""How the kernels of reduction.cu are launched; as :mod:`.launches` does for the others.

A row that is long where rows are few would keep one block busy and leave the rest of a GPU idle: it is cut in parts, and a
second launch combines their results. The cut depends on shapes alone, so results are the same in every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from . import c_type
from .geometry import bits_of, computation_of, parts_of, row_threads, rows_of, tile_of

__all__ = ["arg_extremum", "cumulative", "reduce", "reduce_columns", "reduce_rows"]

#: What is shorter than so many elements is no part of its own: of a row, and of a column for each of its threads.
_LEAST_OF_ROW = 4096
_LEAST_OF_COLUMN = 16

_i64 = np.int64


def _element(dtype: np.dtype[Any], op: str) -> str:
    """The C++ type that an operation is computed for: unsigned where integers wrap."""
    return c_type(bits_of(dtype) if dtype.kind == "i" and op in ("Sum", "Product") else dtype)


def reduce(device: Any, x: Any, op: str, axes: Sequence[int]) -> Any:
    """``op`` (Sum, Product, Max, Min) over some axes: over one run of neighbouring axes after the other, from the last."""
    runs: list[list[int]] = []
    for axis in sorted(axes):
        if runs and runs[-1][-1] == axis - 1:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    shape, y = list(x.shape), x
    for left, run in reversed([*enumerate(runs)]):
        outer, length, inner = (
            prod(part) for part in (shape[: run[0]], shape[run[0] : run[-1] + 1], shape[run[-1] + 1 :])
        )
        del shape[run[0] : run[-1] + 1]
        y = _reduce_middle(
            device, device.view(y, (outer, length, inner)), op, computation_of(x.dtype) if left else x.dtype
        )
    return device.view(y, tuple(shape))


def _reduce_middle(device: Any, x: Any, op: str, dtype: Any) -> Any:
    outer, length, inner = x.shape
    if inner == 1:
        return reduce_rows(device, device.view(x, (outer, length)), op, dtype)
    return reduce_columns(device, x, op, dtype)


def _reduce_parts(device: Any, y: Any, x: Any, op: str, rows: int, columns: int, parts: int, chunk: int) -> None:
    """One launch: the parts of rows of x into y."""
    if rows:
        size = 16 // x.dtype.itemsize
        threads = row_threads(chunk if columns % size else chunk // size)
        name = f"reduce_rows<{_element(x.dtype, op)}, {_element(y.dtype, op)}, {op}>"
        device.launch("reduction", name, (rows, parts), (threads,), [y, x, _i64(columns), _i64(chunk)])


def reduce_rows(device: Any, x: Any, op: str, dtype: Any = None) -> Any:
    """``op`` along the last axis; in ``dtype``, that of ``x`` by default."""
    rows, columns = rows_of(x)
    dtype = np.dtype(dtype or x.dtype)
    parts, chunk = parts_of(columns, rows, _LEAST_OF_ROW)
    y = device.empty(
        (*x.shape[:-1], parts) if parts > 1 else x.shape[:-1], computation_of(dtype) if parts > 1 else dtype
    )
    _reduce_parts(device, y, x, op, rows, columns, parts, chunk)
    return y if parts == 1 else reduce_rows(device, y, op, dtype)


def reduce_columns(device: Any, x: Any, op: str, dtype: Any = None) -> Any:
    """``op`` along the last axis but one; in ``dtype``, that of ``x`` by default."""
    *batch, rows, columns = x.shape
    dtype = np.dtype(dtype or x.dtype)
    width, height = tile_of(rows, columns)
    blocks = prod(batch) * -(-columns // width)

    def launch(x: Any, dtype: np.dtype[Any], height: int, parts: int, chunk: int) -> Any:
        y = device.empty((*batch, parts, columns), dtype)
        if blocks:
            name = f"reduce_columns<{_element(x.dtype, op)}, {_element(dtype, op)}, {op}>"
            args = [y, x, _i64(x.shape[-2]), _i64(columns), _i64(chunk)]
            device.launch("reduction", name, (blocks, parts), (width, height), args)
        return y

    parts, chunk = parts_of(rows, blocks, _LEAST_OF_COLUMN * height, height)
    y = x if parts == 1 else launch(x, computation_of(dtype), height, parts, chunk)
    return device.view(launch(y, dtype, height, 1, max(y.shape[-2], 1)), (*batch, columns))


def arg_extremum(device: Any, x: Any, largest: bool) -> Any:
    """argmax or argmin along the last axis (int64), which must not be empty."""
    rows, columns = rows_of(x)
    parts, chunk = parts_of(columns, rows, _LEAST_OF_ROW)

    def launch(x: Any, places: Any, parts: int, chunk: int) -> tuple[Any, Any]:
        y = device.empty((*x.shape[:-1], parts), np.int64)
        extrema = device.empty(y.shape, computation_of(x.dtype)) if parts > 1 else None
        name = f"arg_extremum<{c_type(x.dtype)}, {str(largest).lower()}>"
        args = [y, extrema, x, places, _i64(x.shape[-1]), _i64(chunk)]
        if rows:
            device.launch("reduction", name, (rows, parts), (row_threads(chunk),), args)
        return y, extrema

    places, extrema = launch(x, None, parts, chunk)
    if parts > 1:
        places, _ = launch(extrema, places, 1, parts)
    return device.view(places, x.shape[:-1])


def cumulative(device: Any, x: Any, op: str) -> Any:
    """The running ``op`` along the last axis. Of a long row: the totals of its parts, their running totals, and then each
    part from where the one before ends."""
    rows, columns = rows_of(x)
    y = device.empty(x.shape, x.dtype)
    if not x.size:
        return y
    parts, chunk = parts_of(columns, rows, _LEAST_OF_ROW)
    totals = None
    if parts > 1:
        totals = device.empty((rows, parts), computation_of(x.dtype))
        _reduce_parts(device, totals, x, op, rows, columns, parts, chunk)
        totals = cumulative(device, totals, op)
    args = [y, x, totals, _i64(columns), _i64(chunk)]
    device.launch("reduction", f"cumulative<{_element(x.dtype, op)}, {op}>", (rows, parts), (row_threads(chunk),), args)
    return y
