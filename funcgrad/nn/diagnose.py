"""Looking at a training that does not go well: the sizes of parameters and gradients, and gradients that are zero.

Whether signals vanish or explode on their way shows in the norms, layer by layer. A gradient that is zero in every
element never moves its parameter: weights that are all zero, a relu that is dead, a path that is cut (``argmax``,
``stop_gradient``), or a leaf that the loss does not use.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import tree
from funcgrad.core.types import aval_of, is_inexact

__all__ = ["Norms", "norms", "zero_gradients"]


class Norms(NamedTuple):
    """The Euclidean norms of a parameter and of its gradient."""

    parameter: float
    gradient: float


def norms(params: Any, grads: Any) -> dict[str, Norms]:
    """For each leaf, by its key path, the norms of the parameter and of its gradient.

    ``grads``: a tree like ``params``, of concrete values. Raises TreeError if it is not.

    >>> import numpy as np
    >>> norms({"w": np.array([3.0, 4.0])}, {"w": np.array([0.0, 1.0])})
    {"['w']": Norms(parameter=5.0, gradient=1.0)}
    """
    flat = tree.leaves(tree.map(lambda p, g: (_norm(p), _norm(g)), params, grads))
    paths = [tree.keystr(path) for path, _ in tree.leaves_with_path(params)]
    return {path: Norms(p, g) for path, p, g in zip(paths, flat[::2], flat[1::2])}


def _norm(x: Any) -> float:
    return float(fnp.linalg.norm(fnp.ravel(fnp.asarray(x, dtype=fnp.promote_types(aval_of(x).dtype, fnp.float64)))))


def zero_gradients(grads: Any) -> list[str]:
    """The key paths of the leaves whose gradient is zero in every element; of concrete values.

    >>> import numpy as np
    >>> zero_gradients({"a": np.zeros(3), "b": np.array([0.0, 1.0])})
    ["['a']"]
    """
    return [
        tree.keystr(path)
        for path, g in tree.leaves_with_path(grads)
        if is_inexact(aval_of(g).dtype) and not fnp.any(g != 0)
    ]
