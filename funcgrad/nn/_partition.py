"""Models taken apart: which leaves are trained, and how many numbers they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from funcgrad import tree
from funcgrad.core.errors import TreeError
from funcgrad.core.types import aval_of, is_inexact

__all__ = ["combine", "count_parameters", "partition"]


def partition(model: Any, predicate: Callable[[str, Any], bool]) -> tuple[Any, Any]:
    """The leaves of which ``predicate(path, leaf)`` is true, and the others: two models with None in place of the rest.

    ``path``: the key path as text, ``".layers[0].weight"``. :func:`combine` undoes it, so that some leaves are trained and
    the others are not:

    >>> import numpy as np
    >>> import funcgrad as fg
    >>> model = {"w": np.array([2.0]), "b": np.array([1.0])}
    >>> trained, frozen = partition(model, lambda path, leaf: "w" in path)
    >>> fg.grad(lambda t: (combine(t, frozen)["w"] ** 2).sum())(trained)
    {'w': array([4.]), 'b': None}
    """
    chosen = tree.map_with_path(lambda path, leaf: bool(predicate(tree.keystr(path), leaf)), model)
    return (
        tree.map(lambda c, x: x if c else None, chosen, model),
        tree.map(lambda c, x: None if c else x, chosen, model),
    )


def combine(first: Any, second: Any) -> Any:
    """The model of which ``first`` and ``second`` are the parts; raises TreeError where both hold something."""

    def choose(x: Any, y: Any) -> Any:
        if x is not None and y is not None:
            raise TreeError("nn.combine: both parts hold the same leaf; give the two that nn.partition returned")
        return y if x is None else x

    return tree.map(choose, first, second, is_leaf=lambda x: x is None)


def count_parameters(model: Any) -> int:
    """How many real or complex numbers the leaves of a model are.

    >>> from funcgrad import nn
    >>> from funcgrad.random import key
    >>> count_parameters(nn.Linear.init(key(0), 3, 4))
    16
    """
    avals = map(aval_of, tree.leaves(model))
    return sum(a.size for a in avals if is_inexact(a.dtype))
