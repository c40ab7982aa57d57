"""Calls of plain Python from inside a program.

``pure_callback`` computes values with a function that funcgrad cannot see through; ``debug_callback`` has an effect and
no result. Under vmap the function is called once a row, unless it says that it takes whole batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.errors import MissingRuleError
from ..core.trace import Primitive
from ..core.types import Aval, shape_of
from . import structure

__all__ = ["debug_callback", "pure_callback"]


class PureCallback(Primitive):
    """``callback(*args)`` returns arrays of the types ``avals``."""

    name = "pure_callback"
    multiple = True

    def type(self, *avals: Aval, **params: Any) -> Sequence[Aval]:
        return list(params["avals"])

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        raise MissingRuleError(
            "pure_callback has no derivative: funcgrad cannot see what the function does; "
            "wrap the function that calls it in custom_jvp or custom_vjp and give the rule"
        )

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        avals = tuple(Aval((size, *a.shape), a.dtype) for a in params["avals"])
        method, callback = params["method"], params["callback"]
        if method == "sequential":
            callback = RowByRow(callback, tuple(batched), size, avals)
        elif method == "broadcast_all":
            args = [x if b else structure.repeat_rows(x, size) for x, b in zip(args, batched, strict=True)]
        else:
            shapes = [(1, *shape_of(x)) for x in args]
            args = [x if b else structure.reshape(x, shape=s) for x, b, s in zip(args, batched, shapes, strict=True)]
        return self(*args, callback=callback, avals=avals, method=method), [True] * len(avals)


class DebugCallback(Primitive):
    """``callback(*args)`` is called for its effect."""

    name = "debug_callback"
    multiple = True
    effect = True

    def type(self, *avals: Aval, **params: Any) -> Sequence[Aval]:
        return []

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self(*primals, **params), []

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return self(*args, callback=RowByRow(params["callback"], tuple(batched), size, ())), []


class RowByRow:
    """Calls a function for each row of its mapped arguments, and stacks what it returns."""

    def __init__(
        self, callback: Callable[..., Any], batched: tuple[bool, ...], size: int, avals: tuple[Aval, ...]
    ) -> None:
        self.callback = callback
        self.batched = batched
        self.size = size
        self.avals = avals

    def __call__(self, *args: Any) -> list[Any]:
        rows = [
            self.callback(*[x[i] if b else x for x, b in zip(args, self.batched, strict=True)])
            for i in range(self.size)
        ]
        if not self.avals:
            return []
        if not rows:
            return [np.empty(a.shape, a.dtype) for a in self.avals]
        return [np.stack([np.asarray(r[k]) for r in rows]) for k in range(len(self.avals))]


pure_callback = PureCallback()
debug_callback = DebugCallback()
