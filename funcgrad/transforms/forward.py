"""Forward mode: values travel with their tangents.

A :class:`JVPTracer` is a pair (primal, tangent); a tangent that is None is zero and is never computed with. The rules of
the primitives run in the parent trace. :func:`jvp_jaxpr` is the same on a jaxpr: the eager transform under staging.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.backend import device_of
from ..core.errors import ConcretizationError
from ..core.ir import Jaxpr
from ..core.trace import (
    AS_NUMBER,
    EVAL,
    EXPORT,
    FOREIGN,
    PASS_VALUES,
    Primitive,
    StageTrace,
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
from ..core.types import Aval, aval_of, dtype_of, is_inexact, shape_of
from ..primitives import broadcast_in_dim

__all__ = ["JVPTrace", "JVPTracer", "instantiate", "jvp", "jvp_jaxpr", "snapshot", "zeros"]

#: From this size in bytes on a comparison is worth a copy.
_LARGE = 1 << 16
_BITS = {n: np.dtype(f"u{n}") for n in (1, 2, 4, 8)}

Flat = Callable[..., Sequence[Any]]
_PYTHON = (int, float, complex)


def zeros(aval: Aval) -> Any:
    """Zeros of a type, made under the current trace."""
    zero = aval.dtype.type(0)
    return broadcast_in_dim(zero, shape=aval.shape, dims=()) if aval.shape else zero


def instantiate(tangent: Any, primal: Any) -> Any:
    """The tangent of ``primal`` as an array: zeros for None."""
    return zeros(aval_of(primal)) if tangent is None else tangent


class JVPTracer(Tracer):
    """A value with its tangent."""

    __slots__ = ("_aval", "primal", "tangent")

    def __init__(self, trace: Trace, primal: Any, tangent: Any) -> None:
        self._trace = trace
        self.primal = primal
        self.tangent = tangent
        self._aval: Aval | None = None

    @property
    def aval(self) -> Aval:
        aval = self._aval
        if aval is None:
            aval = self._aval = aval_of(self.primal)
        return aval

    @property
    def shape(self) -> tuple[int, ...]:
        return shape_of(self.primal)

    @property
    def dtype(self) -> Any:
        return self.aval.dtype

    def renewed(self) -> JVPTracer:
        return JVPTracer(self._trace, self.primal, self.tangent)

    def rebind(self, value: Any) -> None:
        mine = type(value) is JVPTracer and value._trace is self._trace
        self.primal, self.tangent = (value.primal, value.tangent) if mine else (value, None)
        self._aval = None

    def constant(self) -> Any:
        if self.tangent is not None:
            return None
        return self.primal.constant() if isinstance(self.primal, Tracer) else self.primal

    def concrete(self, use: str, instead: str = "") -> Any:
        return self.primal.concrete(use, instead) if isinstance(self.primal, Tracer) else self.primal

    def __float__(self) -> float:
        return float(self._without_derivative("float()"))

    def __complex__(self) -> complex:
        return complex(self._without_derivative("complex()"))

    def item(self, *index: int) -> Any:
        return self._without_derivative(".item()").item(*index)

    def tolist(self) -> Any:
        return self._without_derivative(".tolist()").tolist()

    def __dlpack__(self, **keywords: Any) -> Any:
        return self._without_derivative(EXPORT, PASS_VALUES).__dlpack__(**keywords)

    def __dlpack_device__(self) -> Any:
        return self._without_derivative(EXPORT, PASS_VALUES).__dlpack_device__()

    @property
    def device(self) -> Any:
        return device_of(self.primal)

    def _without_derivative(self, use: str, instead: str = AS_NUMBER) -> Any:
        """A plain number would silently lose its derivative, if there is one."""
        if self.tangent is None:
            return self.concrete(use, instead)
        if isinstance(self.primal, Tracer):
            self.primal.concrete(use, instead)
        raise ConcretizationError(
            f"{use} of a value of type {self.aval} that is being differentiated would lose its derivative; {instead}; "
            f"or say lax.stop_gradient(x) to mean the value alone"
        )

    def __format__(self, spec: str) -> str:
        return format(self.primal, spec)

    def describe(self) -> str:
        if isinstance(self.primal, Tracer):
            return self.primal.describe()
        return f"this is a value of type {self.aval} that is being differentiated"

    def advice(self) -> str:
        return self.primal.advice() if isinstance(self.primal, Tracer) else super().advice()

    def __repr__(self) -> str:
        return f"JVPTracer<{self.aval}>({self.primal!r})"


class JVPTrace(Trace):
    """Applies ``jvp`` rules in ``parent``.

    For reverse mode the parent is a trace that stages what depends on tangents, the rule is ``linearize``, and what
    carries no tangent goes straight to ``base``, the trace around both.
    """

    def __init__(self, parent: Trace, base: Trace | None = None) -> None:
        self.parent: Any = parent
        self.base = base or parent
        self.linearizes = base is not None
        self.outside = EVAL.process if self.base is EVAL else functools.partial(run_under, self.base)
        #: Whether values without a tangent are plain arrays.
        self.plain: bool = self.base is EVAL or (isinstance(self.base, JVPTrace) and self.base.plain)
        #: Whether plain operands are kept until a backward pass, while the function goes on and may write to them.
        self.keeps = self.linearizes and not _staged(self.base)
        #: The copies of large plain operands that it keeps, with the operands: what is used again is kept once.
        self.kept: dict[int, tuple[Any, Any]] = {}

    def _keep(self, x: Any) -> Any:
        """A plain operand as it is now: a loop that uses a large one again and again keeps one copy, while it is the same."""
        if type(x) is not np.ndarray or x.nbytes < _LARGE:
            return _kept(x)
        found = self.kept.get(id(x))
        if found is None or not _same_bits(x, found[1]):
            found = self.kept[id(x)] = (x, _kept(x))
        return found[1]

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        primals = []
        tangents = []
        live = mine = written = False
        for x in args:
            if type(x) is JVPTracer and x._trace is self:
                # Rules take typed operands: a Python scalar that is differentiated goes as a NumPy one.
                p = x.primal
                primals.append(np.asarray(p)[()] if type(p) in _PYTHON else p)
                t = x.tangent
                tangents.append(t)
                if t is None:
                    mine = True
                else:
                    live = True
            else:
                if type(x) is np.ndarray:
                    written = True
                primals.append(x)
                tangents.append(None)
        if not live:
            y = self.outside(primitive, primals, params)
            if primitive.multiple:
                return [self._without_tangent(x, mine) for x in y]
            return self._without_tangent(y, mine)
        if primitive.linear_map and self.linearizes:
            # The tangent is the same map of the tangent, and of the same type: that needs no rule.
            y = self.outside(primitive, primals, params)
            return JVPTracer(self, y, self.parent.record(primitive, [tangents[0]._var], aval_of(y), params))
        if written and self.keeps:
            primals = [self._keep(p) if p is x else p for p, x in zip(primals, args, strict=True)]
        _state.trace = self.parent
        try:
            rule = primitive.linearize if self.linearizes else primitive.jvp
            outs, touts = rule(primals, tangents, **params)
        finally:
            _state.trace = self
        if primitive.multiple:
            return [
                self._without_tangent(y, True) if t is None else JVPTracer(self, y, t)
                for y, t in zip(outs, touts or [None] * len(outs), strict=True)
            ]
        return self._without_tangent(outs, True) if touts is None else JVPTracer(self, outs, touts)

    def _without_tangent(self, y: Any, mine: bool) -> Any:
        """A result that has no tangent: a value of this trace, if values that have one can be assigned into it.

        A scalar is immutable, and plain integers, which have no tangents, are best left to NumPy.
        """
        if isinstance(y, Tracer):
            return JVPTracer(self, y.renewed(), None) if y.shape else y
        if not shape_of(y):
            return y[()] if isinstance(y, np.ndarray) else y
        if not mine or (self.plain and dtype_of(y).kind in "biu"):
            return y
        return JVPTracer(self, y, None)

    def own(self, array: Any) -> Any:
        if type(array) is JVPTracer and array._trace is self:
            return array
        if self.plain and isinstance(array, np.ndarray) and array.dtype.kind in "biu":
            return array
        return JVPTracer(self, frozen(array), None)

    def split(self, x: Any) -> tuple[Any, Any]:
        """The primal and the tangent of a result."""
        if type(x) is JVPTracer and x._trace is self:
            return frozen(x.primal), x.tangent
        return returned(x), None

    def input(self, primal: Any, tangent: Any) -> Any:
        """An argument of the function that is traced."""
        if tangent is None:
            return primal
        tracer = JVPTracer(self, frozen(primal), tangent)
        tracer._memory = FOREIGN
        return tracer


def _staged(trace: Trace | None) -> bool:
    """Whether what happens in a trace is written into a program, which reads the arrays it closes over when it runs."""
    while trace is not None and not isinstance(trace, StageTrace):
        trace = trace.parent
    return trace is not None


def _same_bits(x: Any, y: Any) -> bool:
    """Whether two arrays of one shape and dtype hold the same, signs of zeros and NaNs included."""
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    bits = _BITS.get(x.dtype.itemsize)
    return bits is not None and np.array_equal(x.view(bits), y.view(bits))


def _kept(x: Any) -> Any:
    """A plain value as it is now. An array that is read-only and no view of another will not change."""
    return x.copy() if type(x) is np.ndarray and (x.flags.writeable or x.base is not None) else x


def snapshot(values: Sequence[Any]) -> list[Any]:
    """The values as they are now, for what is used after the caller may have written to them."""
    return list(values) if _staged(current_trace()) else [_kept(x) for x in values]


def jvp(fun: Flat, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """The results of a flat function and their tangents (None is zero), for tangents that may be None."""
    trace = JVPTrace(current_trace())
    trace.name = getattr(fun, "__name__", "")
    inputs = [trace.input(p, t) for p, t in zip(primals, tangents, strict=True)]
    try:
        with set_trace(trace):
            outs = fun(*inputs)
    finally:
        trace.ended = True
    pairs = [trace.split(y) for y in outs]
    return [y for y, _ in pairs], [t for _, t in pairs]


def jvp_jaxpr(jaxpr: Jaxpr, live: Sequence[bool], keep: Sequence[bool] | None = None) -> tuple[Jaxpr, tuple[bool, ...]]:
    """The jaxpr (primals, live tangents) -> (results, live tangents of results), and which results have a tangent.

    ``live`` says which inputs have a tangent; results marked in ``keep`` get one even if it is zero.
    """
    key = ("jvp", tuple(live), tuple(keep or ()))
    if key not in jaxpr.memo:
        live_out: list[bool] = []

        def fun(*args: Any) -> list[Any]:
            primals, given = args[: len(live)], iter(args[len(live) :])
            outs, touts = jvp(
                lambda *xs: eval_jaxpr(jaxpr, *xs), primals, [next(given) if is_live else None for is_live in live]
            )
            wanted = keep or [False] * len(outs)
            touts = [
                instantiate(t, y) if k and is_inexact(aval_of(y).dtype) else t
                for t, y, k in zip(touts, outs, wanted, strict=True)
            ]
            live_out[:] = [t is not None for t in touts]
            return [*outs, *(t for t in touts if t is not None)]

        avals = [a.strong() for a in jaxpr.in_avals]
        tangents = [a for a, is_live in zip(avals, live, strict=True) if is_live]
        with set_trace(EVAL):
            jaxpr.memo[key] = stage(fun, [*avals, *tangents], f"jvp_{jaxpr.name}"), tuple(live_out)
    return jaxpr.memo[key]  # type: ignore[no-any-return]
