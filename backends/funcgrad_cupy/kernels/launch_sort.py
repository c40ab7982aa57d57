"""How the kernel of sort.cu is launched; as :mod:`.launches` does for the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import c_type
from .geometry import SHARED_BYTES, THREADS, bits_of, rows_of

__all__ = ["longest_row", "sort_rows"]

#: Threads that share a row, at most.
_MOST_THREADS = 512


def longest_row(dtype: Any) -> int:
    """How long a row may be: a power of two, so that ranks and places of 2 bytes fit a block's shared memory."""
    fit = SHARED_BYTES // (np.dtype(dtype).itemsize + 2)
    return 1 << fit.bit_length() - 1


def sort_rows(device: Any, x: Any, *, places: bool) -> Any:
    """The rows sorted, NaN last; or, with ``places``, the places (int64) that sort them. Equal elements keep their order.

    The last axis is not longer than :func:`longest_row`.
    """
    rows, columns = rows_of(x)
    y = device.empty(x.shape, np.int64 if places else x.dtype)
    if x.size:
        bits = bits_of(x.dtype)
        element = bits if x.dtype.kind == "b" else x.dtype
        width = 1 << (columns - 1).bit_length()
        threads = min(max(width // 2, 1), _MOST_THREADS)
        height = max(1, THREADS // threads)
        args = [None if places else y, y if places else None, x, np.int64(rows), np.int32(columns), np.int32(width)]
        shared = height * width * (bits.itemsize + 2)
        name = f"sort_rows<{c_type(element)}, {c_type(bits)}>"
        device.launch("sort", name, (-(-rows // height),), (threads, height), args, shared)
    return y
