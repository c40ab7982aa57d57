"""Arrays that a caller gave away: a program computes in their memory, and no later use of them goes unnoticed.

An array of NumPy cannot be deleted while someone refers to it. So the program goes on with another array object over the
same memory, and the donated one becomes a read-only array of records whose only field is called ``donated to jit``:
arithmetic with it raises, and what it prints says why.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

__all__ = ["reclaim", "taken"]

_FIELD = "donated to jit"


def taken(arrays, others):
    """For each array one with the same elements that may be overwritten: over the same memory if nobody else has it.

    ``others`` are the other arrays that are read meanwhile. An array of their memory, one that is given twice, a part of
    a larger one, memory of another library and a read-only array are copied, and stay what they are.
    """
    owners = [_owner(x) for x in arrays]
    seen = Counter(map(id, owners))
    seen.update({id(_owner(x)) for x in others})
    return [
        _take(x) if _is_given(x, owner) and seen[id(owner)] == 1 else np.array(x) for x, owner in zip(arrays, owners)
    ]


def reclaim(x):
    """Make a donated array what it was; for one that nobody refers to any more."""
    if x.dtype.names == (_FIELD,):
        x.flags.writeable = True
        _relabel(x, x.dtype[0])


def _take(x):
    view = x.view()
    _relabel(x, np.dtype([(_FIELD, x.dtype)]))
    x.flags.writeable = False
    return view


def _relabel(x, dtype):
    """Give an array another dtype of the same size, in place; NumPy 2.5 deprecates the assignment in favour of a method."""
    if hasattr(np.ndarray, "_set_dtype"):
        x._set_dtype(dtype)
    else:
        x.dtype = dtype


def _is_given(x, owner):
    """Whether the memory of an array is its own, or all of that of one that was donated before."""
    if type(x) is not np.ndarray or not x.flags.writeable:
        return False
    if x is owner:
        return x.flags.owndata
    whole = x.shape == getattr(owner, "shape", None) and x.strides == owner.strides
    return whole and owner.flags.owndata and owner.dtype.names == (_FIELD,)


def _owner(x):
    """What an array has its memory from."""
    while True:
        base = x.obj if isinstance(x, memoryview) else getattr(x, "base", None)
        if base is None:
            return x
        x = base
