"""Gather and scatter: the indexed axes are moved to the front and made one, the rows of a table.

Updates of one place are combined in the order in which they stand: the places are sorted, and one thread takes those of
one place. So a sum is the same in every run, and of several values that are set the last one stays. Indices are checked by
the kernels (:mod:`.faults`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from .device import Device
from .faults import Explain
from .kernels import c_type, launches
from .kernels.geometry import bits_of
from .kernels.launch_sort import longest_row, sort_rows
from .movement import concatenate, transpose

__all__ = ["INDEXING"]

_THREADS = 256
_MOST_BLOCKS = 4096
_INDICES = np.dtype([("at", "u8", 8), ("sizes", "i8", 8), ("rank", "i8")])
_OPERATIONS = {"add": "Sum", "mul": "Product", "min": "Min", "max": "Max", "set": "Last"}


def _launch(device: Device, name: str, args: Sequence[Any], count: int) -> None:
    grid = (max(1, min(-(-count // _THREADS), _MOST_BLOCKS)),)
    device.launch("scatter", name, grid, (_THREADS,), [*args, np.int64(count)])


def _explain(sizes: Sequence[int], axes: Sequence[int]) -> Explain:
    return lambda i, index: IndexError(f"index {index} is out of bounds for axis {axes[i]} with size {sizes[i]}")


def _places(device: Device, sizes: Sequence[int], indices: Sequence[Any], faults: Any) -> tuple[Any, Any]:
    """The row of the table for each index, -1 for one that is out of range; and the struct ``Indices``."""
    description = np.zeros((), _INDICES)
    description["at"][: len(indices)] = [device.pointer(i) for i in indices]
    description["sizes"][: len(indices)] = sizes
    description["rank"] = len(indices)
    places = device.empty((indices[0].size,), np.int64)
    _launch(device, "flat_places<long long>", [places, description[()], faults], places.size)
    return places, description[()]


def _table(device: Device, x: Any, axes: Sequence[int]) -> tuple[Any, tuple[int, ...]]:
    """x with these axes first, and that order of its axes."""
    order = (*axes, *(i for i in range(x.ndim) if i not in axes))
    return (x if order == tuple(range(x.ndim)) else transpose(device, x, axes=order)), order


def gather(device: Device, x: Any, *indices: Any, axes: Any) -> Any:
    """x at the indices, one an axis in `axes`; the shape is that of an index, then that of the other axes."""
    if len(axes) > 8:
        return None
    table, _ = _table(device, x, axes)
    rest, sizes = table.shape[len(axes) :], [x.shape[a] for a in axes]
    y = device.empty((*indices[0].shape, *rest), x.dtype)
    if indices[0].size:
        with device.checking(_explain(sizes, axes)) as faults:
            places, description = _places(device, sizes, indices, faults)
            args = [y, table, places, np.int64(prod(rest)), description, faults]
            _launch(device, f"gather_elements<{c_type(bits_of(x.dtype))}>", args, y.size)
    return y


def scatter(device: Device, x: Any, updates: Any, *indices: Any, axes: Any, kind: str, unique: bool = False) -> Any:
    """A copy of x with the updates put at, or combined with what is at, the indices."""
    element = _element(x.dtype, kind)
    if element is None or len(axes) > 8:
        return None
    table, order_of_axes = _table(device, x, axes)
    y = launches.copy(device, x) if table is x else table
    sizes, columns = [x.shape[a] for a in axes], prod(y.shape[len(axes) :])
    if indices[0].size:
        with device.checking(_explain(sizes, axes)) as faults:
            places, description = _places(device, sizes, indices, faults)
            order, ordered = _order(device, places), device.empty(places.shape, places.dtype)
            _launch(device, "in_order<long long>", [ordered, places, order], places.size)
            args = [y, updates, ordered, order, np.int64(columns), np.int64(places.size), description, faults]
            _launch(device, f"scatter_segments<{element}, {_OPERATIONS[kind]}>", args, places.size * columns)
    back = tuple(sorted(range(x.ndim), key=order_of_axes.__getitem__))
    return y if back == tuple(range(x.ndim)) else transpose(device, y, axes=back)


def _order(device: Device, places: Any) -> Any:
    """The stable order that sorts the places: of rows by the kernel for rows, which are then merged by twos."""
    size, width = places.size, longest_row(places.dtype)
    if size <= width:
        return sort_rows(device, places, places=True)
    missing = -size % width
    if missing:
        places = concatenate(
            device, places, launches.fill(device, (missing,), np.int64(np.iinfo(np.int64).max)), axis=0
        )
    within = sort_rows(device, device.view(places, (places.size // width, width)), places=True)
    keys, order = _runs(device, "begin_runs", places, within, width)
    while width < places.size:
        keys, order = _runs(device, "merge_runs", keys, order, width)
        width *= 2
    return device.view(order, (size,))


def _runs(device: Device, step: str, keys: Any, order: Any, width: int) -> tuple[Any, Any]:
    made = [device.empty(keys.shape, np.int64) for _ in range(2)]
    _launch(device, f"{step}<long long>", [*made, keys, order, np.int64(width)], keys.size)
    return made[0], made[1]


def _element(dtype: np.dtype[Any], kind: str) -> str | None:
    """The C++ type that a combination is computed for: bits if they are only moved, unsigned where integers wrap."""
    if kind == "set":
        return c_type(np.dtype(f"u{dtype.itemsize}"))
    if dtype.kind in "iu" and dtype.itemsize >= 4:
        return c_type(np.dtype(f"u{dtype.itemsize}") if kind in ("add", "mul") else dtype)
    return c_type(dtype) if dtype.kind == "f" or dtype.name == "bfloat16" else None


INDEXING: Mapping[str, Callable[..., Any]] = {"gather": gather, "scatter": scatter}
