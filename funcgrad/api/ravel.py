"""A pytree of arrays as one vector, for methods that work on vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import tree
from ..core.errors import OperandError
from ..core.types import aval_of, promote
from ..primitives import concatenate, convert, reshape, slice_
from ._function import checked_leaves, matching, typed

__all__ = ["ravel_pytree"]


def ravel_pytree(pytree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The leaves of a tree in one vector, of the dtype they promote to; and the function that makes such a tree again.

    The second takes a vector of the same length, and gives each leaf its shape and dtype.

    >>> import numpy as np
    >>> vector, unravel = ravel_pytree({"w": np.ones((2, 2)), "b": np.zeros(1)})
    >>> vector
    array([0., 1., 1., 1., 1.])
    >>> unravel(2 * vector)["b"]
    array([0.])
    """
    leaves, treedef = tree.flatten(pytree)
    checked_leaves("ravel_pytree: the leaf", leaves)
    avals = [aval_of(x) for x in leaves]
    if not leaves:
        return np.zeros(0), lambda vector: pytree
    dtype = promote(*avals)
    flat = [
        convert(reshape(typed(x), shape=(a.size,)), dtype=dtype)
        if a.dtype != dtype
        else reshape(typed(x), shape=(a.size,))
        for x, a in zip(leaves, avals, strict=True)
    ]
    vector = concatenate(*flat, axis=0)
    total = sum(a.size for a in avals)

    def unravel(vector: Any) -> Any:
        given = aval_of(vector)
        if given.shape != (total,):
            raise OperandError(f"unravel takes a vector of {total} elements, not the shape {given.shape}")
        parts = []
        start = 0
        for a in avals:
            part = slice_(vector, start=(start,), limit=(start + a.size,), stride=(1,))
            part = reshape(part, shape=a.shape)
            if given.dtype.kind == "c" and a.dtype.kind != "c":
                raise OperandError(f"unravel: a complex vector does not fit a leaf of dtype {a.dtype}")
            part = convert(part, dtype=a.dtype) if given.dtype != a.dtype else part
            parts.append(matching(part, a))
            start += a.size
        return treedef.unflatten(parts)

    return vector, unravel
