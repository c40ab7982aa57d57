"""Batching: a function of one row becomes a function of many.

A :class:`BatchTracer` holds a value whose first axis is the mapped one; to the function it has the shape of a row.
Keeping the mapped axis first keeps the rules short, and moving an axis is free on strided arrays. The rules run in the
parent trace. :func:`batch_jaxpr` is the same on a jaxpr.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.backend import device_of
from ..core.ir import Jaxpr
from ..core.trace import (
    EVAL,
    FOREIGN,
    Primitive,
    Trace,
    Tracer,
    _state,
    current_trace,
    eval_jaxpr,
    frozen,
    returned,
    run_under,
    set_trace,
    stage,
)
from ..core.types import Aval, aval_of, dtype_of, shape_of
from ..primitives import speaks_of
from ..primitives.collective import Collective
from ..primitives.structure import repeat_rows

__all__ = ["Axis", "BatchTrace", "BatchTracer", "axis_environment", "batch", "batch_jaxpr"]

Flat = Callable[..., Sequence[Any]]


class Axis(NamedTuple):
    """A mapped axis: its size, and the name by which collectives speak of it."""

    size: int
    name: str | None = None


class BatchTracer(Tracer):
    """A value for each row; the first axis of ``value`` counts the rows. Without ``mapped`` all rows have that value."""

    __slots__ = ("mapped", "value")

    def __init__(self, trace: Trace, value: Any, mapped: bool = True) -> None:
        self._trace = trace
        self.value = value
        self.mapped = mapped

    @property
    def aval(self) -> Aval:
        aval = aval_of(self.value)
        return Aval(aval.shape[1:] if self.mapped else aval.shape, aval.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        shape = shape_of(self.value)
        return shape[1:] if self.mapped else shape

    def renewed(self) -> BatchTracer:
        return BatchTracer(self._trace, self.value, self.mapped)

    def rebind(self, value: Any) -> None:
        mine = type(value) is BatchTracer and value._trace is self._trace
        self.value, self.mapped = (value.value, value.mapped) if mine else (value, False)

    def constant(self) -> Any:
        if self.mapped:
            return None
        return self.value.constant() if isinstance(self.value, Tracer) else self.value

    def concrete(self, use: str, instead: str = "") -> Any:
        if self.mapped:
            return super().concrete(use, instead)
        return self.value.concrete(use, instead) if isinstance(self.value, Tracer) else self.value

    @property
    def dtype(self) -> Any:
        return dtype_of(self.value)

    @property
    def device(self) -> Any:
        return device_of(self.value)

    def describe(self) -> str:
        return (
            f"this is a traced value of type {self.aval} inside vmap, where it stands for a different value in each row"
        )


class BatchTrace(Trace):
    """Applies ``batch`` rules in ``parent``."""

    def __init__(self, parent: Trace, axis: Axis) -> None:
        self.parent: Trace = parent
        self.axis = axis

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        values = []
        batched = []
        mine = False
        for x in args:
            if type(x) is BatchTracer and x._trace is self:
                values.append(x.value)
                batched.append(x.mapped)
                mine = True
            else:
                values.append(x)
                batched.append(False)
        size, name = self.axis
        concerned = name is not None and speaks_of(name, primitive, params)
        if not concerned and True not in batched:
            y = run_under(self.parent, primitive, values, params)
            return [self._unmapped(x, mine) for x in y] if primitive.multiple else self._unmapped(y, mine)
        _state.trace = self.parent
        try:
            if isinstance(primitive, Collective) and concerned:
                out: Any
                out_batched: Any
                out, out_batched = primitive.collect(size, values, batched, **params)
            else:
                axis: Any = self.axis if primitive.axis_aware else size
                out, out_batched = primitive.batch(axis, values, batched, **params)
        finally:
            _state.trace = self
        if primitive.multiple:
            return [
                BatchTracer(self, y) if b else self._unmapped(y, True) for y, b in zip(out, out_batched, strict=True)
            ]
        return BatchTracer(self, out) if out_batched else self._unmapped(out, True)

    def _unmapped(self, y: Any, mine: bool) -> Any:
        """A result that is the same for all rows: a value of this trace, so that mapped ones can be assigned into it."""
        if isinstance(y, Tracer):
            return BatchTracer(self, y.renewed(), False) if y.shape else y
        if not shape_of(y):
            return y[()] if isinstance(y, np.ndarray) else y
        return BatchTracer(self, y, False) if mine else y

    def own(self, array: Any) -> Any:
        if type(array) is BatchTracer and array._trace is self:
            return array
        return BatchTracer(self, frozen(array), False)

    def split(self, x: Any) -> tuple[Any, bool]:
        """The value of a result, and whether it is mapped."""
        if type(x) is BatchTracer and x._trace is self:
            return frozen(x.value), x.mapped
        return returned(x), False

    def input(self, value: Any) -> BatchTracer:
        """A mapped argument of the function that is traced."""
        tracer = BatchTracer(self, frozen(value))
        tracer._memory = FOREIGN
        return tracer


def batch(fun: Flat, axis: Axis, args: Sequence[Any], batched: Sequence[bool]) -> tuple[list[Any], list[bool]]:
    """The results of a flat function for all rows, the mapped axis first, and which of them are mapped."""
    trace = BatchTrace(current_trace(), axis)
    trace.name = getattr(fun, "__name__", "")
    inputs = [trace.input(x) if b else x for x, b in zip(args, batched, strict=True)]
    try:
        with set_trace(trace):
            outs = fun(*inputs)
    finally:
        trace.ended = True
    pairs = [trace.split(y) for y in outs]
    return [y for y, _ in pairs], [b for _, b in pairs]


def batch_jaxpr(
    jaxpr: Jaxpr, axis: Axis, batched: Sequence[bool], keep: Sequence[bool] | None = None
) -> tuple[Jaxpr, tuple[bool, ...]]:
    """The jaxpr over rows, and which of its results are mapped; those marked in ``keep`` always are."""
    key = ("batch", axis, tuple(batched), tuple(keep or ()))
    if key not in jaxpr.memo:
        found: list[bool] = []

        def fun(*args: Any) -> list[Any]:
            outs, mapped = batch(lambda *xs: eval_jaxpr(jaxpr, *xs), axis, args, batched)
            wanted = keep or [False] * len(outs)
            rows = [
                repeat_rows(y, axis.size) if k and not b else y for y, b, k in zip(outs, mapped, wanted, strict=True)
            ]
            found[:] = [b or k for b, k in zip(mapped, wanted, strict=True)]
            return rows

        avals = [
            Aval((axis.size, *a.shape), a.dtype) if b else a.strong()
            for a, b in zip(jaxpr.in_avals, batched, strict=True)
        ]
        with set_trace(EVAL):
            staged = stage(fun, avals, f"batch_{jaxpr.name}")
        jaxpr.memo[key] = staged, tuple(found)
    return jaxpr.memo[key]  # type: ignore[no-any-return]


def axis_environment() -> tuple[Axis, ...]:
    """The named axes of the vmaps around, the innermost first."""
    found = []
    trace: Trace | None = current_trace()
    while trace is not None:
        if isinstance(trace, BatchTrace) and trace.axis.name is not None:
            found.append(trace.axis)
        trace = trace.parent
    return tuple(found)
