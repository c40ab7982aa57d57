"""What launchers share: how many threads a block has, how many blocks fill a GPU, into how many parts a row is cut."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt, prod
from typing import Any

import numpy as np

__all__ = [
    "BLOCKS",
    "SHARED_BYTES",
    "THREADS",
    "bits_of",
    "computation_of",
    "elements",
    "parts_of",
    "row_threads",
    "rows_of",
]

#: Threads of a block.
THREADS = 256
#: So many blocks fill any GPU: the rows that are fewer are cut in parts.
BLOCKS = 1024
#: Shared memory that a block has without asking for more.
SHARED_BYTES = 48 * 1024
#: Enough blocks for elements that are independent; loops over the grid do the rest.
MOST_BLOCKS = 4096


def computation_of(dtype: Any) -> np.dtype[Any]:
    """What is computed in: float for half precision, else the dtype itself."""
    found = np.dtype(dtype)
    return np.dtype(np.float32) if found.name in ("float16", "bfloat16") else found


def bits_of(dtype: Any) -> np.dtype[Any]:
    """The unsigned integers of a dtype's size."""
    return np.dtype(f"u{np.dtype(dtype).itemsize}")


def elements(device: Any, family: str, name: str, args: Sequence[Any], count: int) -> None:
    """Launch a kernel that loops over ``count`` independent elements, its last argument."""
    if count:
        grid = (min(-(-count // THREADS), MOST_BLOCKS),)
        device.launch(family, name, grid, (THREADS,), [*args, np.int64(count)])


def row_threads(columns: int) -> int:
    """Whole warps, enough for a row, and a block's usual number at most."""
    return min(THREADS, max(32, -(-columns // 32) * 32))


def rows_of(x: Any) -> tuple[int, int]:
    """How many rows an array has along its last axis, and how long they are."""
    return prod(x.shape[:-1]), x.shape[-1]


def tile_of(rows: int, columns: int) -> tuple[int, int]:
    """The block for columns of a matrix: a warp reads neighbouring columns; where there are few, the block is as wide as they
    are, and higher."""
    width = min(32, max(columns, 1))
    return width, max(1, min(THREADS // width, rows // 4))


def parts_of(length: int, blocks: int, least: int, step: int = 32) -> tuple[int, int]:
    """In how many parts ``length`` is cut, and how long all but the last are, a multiple of ``step``.

    One part where the ``blocks`` that there are already fill a GPU; no part is shorter than ``least``, but for the last, and
    there are no more parts than a part has elements, since each block of a later pass may read the results of all parts. It
    depends on sizes alone, and so does the order of a sum of parts.
    """
    parts = max(1, min(-(-BLOCKS // max(blocks, 1)), length // least, isqrt(length)))
    if parts == 1:
        return 1, max(1, length)
    chunk = -(-length // (parts * step)) * step
    return -(-length // chunk), chunk
