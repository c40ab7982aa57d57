"""Moving pytrees of arrays between back ends, and waiting for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import tree
from ..core.backend import backend_of, current_backend, get_backend

__all__ = ["block_until_ready", "device_get", "device_put"]


def device_put(x: Any, backend: str | None = None) -> Any:
    """``x`` with every leaf as an array of the back end of this name, by default of the current one.

    Leaves that belong to another back end go by way of host memory. A leaf that is there already is not copied. Raises
    BackendError for an unknown name.

    >>> device_put({"w": [1.0, 2.0]}, "numpy")
    {'w': [array(1.), array(2.)]}
    """
    target = current_backend() if backend is None else get_backend(backend)

    def put(leaf: Any) -> Any:
        if target.array_types and isinstance(leaf, target.array_types):
            return leaf
        return target.asarray(backend_of([leaf]).to_numpy(leaf) if hasattr(leaf, "shape") else leaf)

    return tree.map(put, x)


def device_get(x: Any) -> Any:
    """``x`` with every leaf as a NumPy array; waits until those of a device are computed.

    >>> device_get((np.float32(2.0), 3))
    (array(2., dtype=float32), array(3))
    """
    return tree.map(lambda leaf: np.asarray(backend_of([leaf]).to_numpy(leaf)), x)


def block_until_ready(x: Any) -> Any:
    """``x``, when all that its leaves' back ends were asked for is done.

    On a GPU a call returns before its result is there. A conversion to NumPy waits by itself; who measures time has to.

    >>> block_until_ready((1.0, np.zeros(2)))
    (1.0, array([0., 0.]))
    """
    for backend in dict.fromkeys(backend_of([leaf]) for leaf in tree.leaves(x)):
        backend.synchronise()
    return x
