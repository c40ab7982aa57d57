"""Memory that programs use again: a fresh large array costs a page fault every 4 KB, often more than what fills it.

An array that a program made is kept here too. It is given out again once nobody else holds it, which its reference count
tells: the caller of a program may keep a result, or a view of it, for as long as they like.
"""

from __future__ import annotations

import sys
import threading
import weakref

import numpy as np

from .donation import reclaim

__all__ = ["clear", "fresh", "kept_bytes"]

#: Smaller arrays come from NumPy's own allocator.
MIN_BYTES = 1 << 15
#: How much memory is kept that nobody uses, at most.
MAX_BYTES = 1 << 28

#: How many arrays of one shape and dtype are known. A caller who keeps more of them shall not make the search long.
MAX_ARRAYS = 8

#: The arrays by shape and dtype, in the order in which they came.
_kept = {}
_bytes = 0
_lock = threading.Lock()


def _alone(arrays):
    """An array that only this list refers to; None if there is none."""
    for x in arrays:
        if sys.getrefcount(x) == _ALONE and not weakref.getweakrefcount(x):
            return x
    return None


# How many references the function above counts itself, in this Python: of a list of one new array.
for _ALONE in range(8):
    if _alone([np.empty(0)]) is not None:
        break


def fresh(shape, dtype):
    """A new array of undefined elements, or one that nobody uses any more."""
    arrays = _kept.get((shape, dtype))
    if arrays is not None:
        x = _alone(arrays)
        if x is not None:
            reclaim(x)
            if x.shape == shape and x.dtype == dtype and x.flags.carray:
                return x
    x = np.empty(shape, dtype)
    if x.nbytes >= MIN_BYTES:
        _keep((shape, dtype), x)
    return x


def _keep(key, x):
    global _bytes
    with _lock:
        arrays = _kept.setdefault(key, [])
        arrays.append(x)
        _bytes += x.nbytes
        if len(arrays) > MAX_ARRAYS:
            _bytes -= arrays.pop(0).nbytes
        while _bytes > MAX_BYTES:
            first = next(iter(_kept))
            _bytes -= sum(a.nbytes for a in _kept.pop(first))


def clear():
    """Let go of all memory that is kept."""
    global _bytes
    with _lock:
        _kept.clear()
        _bytes = 0


def kept_bytes():
    """How much memory is known here, in use or not."""
    return _bytes
