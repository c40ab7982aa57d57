"""Reverse mode: linearize, then transpose.

:func:`linearize` runs a function in forward mode over a trace that writes down what depends on tangents: the primal work
is done (or staged) outside, and what is left is a :class:`Tape`, a linear program from tangents to tangents whose other
operands, the residuals, are values. :func:`backward` walks the tape from its end, by a loop, and applies to each
equation its transpose: for y = A x it takes the cotangent of y to that of x, A^T y^. Cotangents that meet are added.

The same on jaxprs: :func:`linearize_jaxpr` splits a jaxpr in a primal one that also returns residuals, and a linear
one; :func:`transpose_jaxpr` transposes it in its linear inputs.

**where.** The cotangent of a branch that was not chosen is zero, and must stay zero, but the derivative in that branch
may be infinite (``where(x > 0, sqrt(x), 0)`` at 0), and 0 * inf is NaN. So the cotangent of a branch of ``select``
travels with its predicate as a mask, and after every product with a residual the masked elements are set to zero again.
The mask follows elementwise operations and rearrangements, until cotangents with different masks are added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..core.ir import Eqn, Jaxpr, Var
from ..core.source import at_source, user_source
from ..core.trace import (
    EVAL,
    Primitive,
    StageTrace,
    StageTracer,
    Trace,
    Tracer,
    current_trace,
    eval_jaxpr,
    run_under,
    set_trace,
    stage,
)
from ..core.types import Aval, aval_of, is_inexact, shape_of
from ..primitives import add, not_, select
from .forward import JVPTrace, JVPTracer, instantiate, zeros

__all__ = [
    "LinearTrace",
    "Linearized",
    "Tape",
    "backward",
    "hoist",
    "linear_tape",
    "linearize",
    "linearize_jaxpr",
    "replay",
    "transpose_jaxpr",
]

Flat = Callable[..., Sequence[Any]]


class LinearTracer(Tracer):
    """A value that depends linearly on the inputs of a tape."""

    __slots__ = ("_var",)

    def __init__(self, trace: Trace, var: Var) -> None:
        self._trace = trace
        self._var = var

    @property
    def aval(self) -> Aval:
        return self._var.aval

    @property
    def shape(self) -> tuple[int, ...]:
        return self._var.aval.shape

    @property
    def dtype(self) -> Any:
        return self._var.aval.dtype

    def describe(self) -> str:
        return f"this is a tangent of type {self.aval}, on which a linear function must not branch"


class LinearTrace(Trace):
    """Writes down what depends on its tracers; everything else happens in the parent.

    The inputs of an equation are the variables of linear operands, and the values of the others.
    """

    def __init__(self, parent: Trace) -> None:
        self.parent: Trace = parent
        self.eqns: list[Eqn] = []

    def new_input(self, aval: Aval) -> LinearTracer:
        """A tracer for a further input."""
        return LinearTracer(self, Var(aval))

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        inputs: list[Any] = []
        tangent: Var | None = None
        for x in args:
            if type(x) is LinearTracer and x._trace is self:
                tangent = x._var
                inputs.append(tangent)
            else:
                inputs.append(x)
        if tangent is None:
            return run_under(self.parent, primitive, args, params)
        derived: Any
        if primitive.keeps_type and all(len(shape_of(x)) <= tangent.aval.ndim for x in args):
            derived = tangent.aval
        else:
            derived = primitive.type(*[x.aval if type(x) is Var else aval_of(x) for x in inputs], **params)
        outputs = [Var(a) for a in derived] if primitive.multiple else [Var(derived)]
        self.eqns.append(Eqn(primitive, inputs, outputs, params, user_source()))
        if primitive.multiple:
            return [LinearTracer(self, v) for v in outputs]
        return LinearTracer(self, outputs[0])

    def var_of(self, x: Any) -> Var | None:
        """The variable of a linear value; None for a value that does not depend on the inputs."""
        return x._var if type(x) is LinearTracer and x._trace is self else None


class Tape(NamedTuple):
    """A linear program whose residuals are values. A result that is None is zero, or does not depend on the inputs."""

    invars: list[Var]
    eqns: list[Eqn]
    outs: list[Var | None]


def linearize(fun: Flat, primals: Sequence[Any], live: Sequence[bool]) -> tuple[list[Any], Tape]:
    """The results of a flat function, and the tape of its tangents with respect to the primals marked in ``live``."""
    base = current_trace()
    linear = LinearTrace(base)
    trace = JVPTrace(linear, base)
    tangents = [linear.new_input(aval_of(p).strong()) if is_live else None for p, is_live in zip(primals, live, strict=True)]
    inputs = [p if t is None else JVPTracer(trace, p, t) for p, t in zip(primals, tangents, strict=True)]
    try:
        with set_trace(trace):
            outs = fun(*inputs)
    finally:
        trace.ended = linear.ended = True
    pairs = [trace.split(y) for y in outs]
    invars = [t._var for t in tangents if t is not None]
    return [y for y, _ in pairs], Tape(invars, linear.eqns, [linear.var_of(t) for _, t in pairs])


def linear_tape(fun: Flat, args: Sequence[Any], linear: Sequence[bool]) -> tuple[list[Any], Tape]:
    """The tape of a function in the arguments marked in ``linear``, which are avals; and its raw results."""
    trace = LinearTrace(current_trace())
    inputs = [trace.new_input(x) if is_linear else x for x, is_linear in zip(args, linear, strict=True)]
    try:
        with set_trace(trace):
            outs = list(fun(*inputs))
    finally:
        trace.ended = True
    invars = [x._var for x, is_linear in zip(inputs, linear, strict=True) if is_linear]
    return outs, Tape(invars, trace.eqns, [trace.var_of(y) for y in outs])


def replay(tape: Tape, tangents: Sequence[Any]) -> list[Any]:
    """Run a tape forwards: the tangents of its results, None for those that are zero."""
    env: dict[Var, Any] = dict(zip(tape.invars, tangents, strict=True))
    trace = current_trace()
    with at_source(user_source()) as here:
        for eqn in tape.eqns:
            here.move(eqn.source)
            result = trace.process(eqn.primitive, [env[x] if isinstance(x, Var) else x for x in eqn.inputs], eqn.params)
            if eqn.primitive.multiple:
                env.update(zip(eqn.outputs, result, strict=True))
            else:
                env[eqn.outputs[0]] = result
    return [None if v is None else env[v] for v in tape.outs]


#: Rearrangements: what their transposes do to a cotangent, they also do to its mask.
_REARRANGE = frozenset({"reshape", "transpose", "rev", "reduce_sum", "slice", "copy"})
_WITH_RESIDUAL = frozenset({"mul", "div"})


def backward(tape: Tape, cts: Sequence[Any]) -> list[Any]:
    """The cotangents of a tape's inputs from those of its results; None is zero in both."""
    sums: dict[Var, Any] = {}
    masks: dict[Var, Any] = {}

    def give(var: Var, ct: Any, mask: Any) -> None:
        if var not in sums:
            sums[var] = ct
            if mask is not None:
                masks[var] = mask
        else:
            sums[var] = add(sums[var], ct)
            if masks and masks.get(var) is not mask:
                masks.pop(var, None)

    ct: Any
    for var, ct in zip(tape.outs, cts, strict=True):
        if var is not None and ct is not None:
            give(var, ct, None)
    with at_source(user_source(), backward=True) as here:
        for eqn in reversed(tape.eqns):
            primitive = eqn.primitive
            mask = None
            if primitive.multiple:
                ct = [sums.pop(v, None) for v in eqn.outputs]
                if all(c is None for c in ct):
                    continue
            else:
                out = eqn.outputs[0]
                ct = sums.pop(out, None)
                if ct is None:
                    continue
                if masks:
                    mask = masks.pop(out, None)
            here.move(eqn.source)
            given = primitive.transpose(ct, *eqn.inputs, **eqn.params)
            if primitive.name == "select":
                _give_branches(give, eqn, given)
                continue
            for x, c in zip(eqn.inputs, given, strict=True):
                if c is not None and isinstance(x, Var):
                    if mask is None:
                        give(x, c, None)
                    else:
                        give(x, *_masked(c, mask, eqn))
    return [sums.get(v) for v in tape.invars]


def _give_branches(give: Callable[[Var, Any, Any], None], eqn: Eqn, given: Sequence[Any]) -> None:
    """The cotangents of the branches of a select, each with the mask of where it was chosen."""
    pred, on_true, on_false = eqn.inputs
    if isinstance(on_true, Var):
        give(on_true, given[1], pred if shape_of(pred) == on_true.aval.shape else None)
    if isinstance(on_false, Var):
        give(on_false, given[2], not_(pred) if shape_of(pred) == on_false.aval.shape else None)


def _masked(ct: Any, mask: Any, eqn: Eqn) -> tuple[Any, Any]:
    """The cotangent of an operand with its mask, given the mask of the result's cotangent."""
    if eqn.primitive.elementwise:
        if shape_of(ct) != shape_of(mask):
            return ct, None
        if eqn.primitive.name in _WITH_RESIDUAL:
            ct = select(mask, ct, 0.0)
        return ct, mask
    if eqn.primitive.name in _REARRANGE:
        return ct, eqn.primitive.transpose(mask, *eqn.inputs, **eqn.params)[0]
    return ct, None


# On jaxprs ------------------------------------------------------------------------------------------------------------


def hoist(jaxpr: Jaxpr) -> tuple[Jaxpr, list[Any]]:
    """The jaxpr with its consts as leading inputs, and the consts."""
    if not jaxpr.consts:
        return jaxpr, []
    return Jaxpr([*jaxpr.constvars, *jaxpr.invars], jaxpr.eqns, jaxpr.outs, name=jaxpr.name), jaxpr.consts


class Linearized(NamedTuple):
    """A jaxpr split for differentiation.

    ``primal``: inputs -> results and new residuals. ``linear``: residuals and live tangents -> live tangents of results.
    ``live_out``: which results have a tangent. ``known``: for each residual, the input it is, or None if it is new.
    """

    primal: Jaxpr
    linear: Jaxpr
    live_out: tuple[bool, ...]
    known: tuple[int | None, ...]

    def residuals(self, inputs: Sequence[Any], new: Sequence[Any]) -> list[Any]:
        """All residuals in order, from the inputs and the new ones."""
        fresh = iter(new)
        return [next(fresh) if k is None else inputs[k] for k in self.known]


def linearize_jaxpr(jaxpr: Jaxpr, live: Sequence[bool], keep: Sequence[bool] | None = None) -> Linearized:
    """Split a jaxpr; results marked in ``keep`` get a tangent even if it is zero."""
    key = ("linearize", tuple(live), tuple(keep or ()))
    if key not in jaxpr.memo:
        jaxpr.memo[key] = _linearize_jaxpr(jaxpr, live, keep)
    return jaxpr.memo[key]  # type: ignore[no-any-return]


def _linearize_jaxpr(jaxpr: Jaxpr, live: Sequence[bool], keep: Sequence[bool] | None) -> Linearized:
    outer = StageTrace(EVAL, jaxpr.name)
    with set_trace(outer):
        primals = [outer.new_input(a.strong()) for a in jaxpr.in_avals]
        outs, tape = linearize(lambda *xs: eval_jaxpr(jaxpr, *xs), primals, live)
        wanted = keep or [False] * len(outs)
        kept = [k and is_inexact(aval_of(y).dtype) for k, y in zip(wanted, outs, strict=True)]
        live_out = tuple(v is not None or k for v, k in zip(tape.outs, kept, strict=True))
        tape = _needed(tape)

        def linear_part(*tangents: Any) -> list[Any]:
            touts = replay(tape, tangents)
            return [instantiate(t, y) for t, y, is_live in zip(touts, outs, live_out, strict=True) if is_live]

        linear, residuals = hoist(stage(linear_part, [v.aval for v in tape.invars], f"linear_{jaxpr.name}"))
    place = {id(t._var): i for i, t in enumerate(primals)}
    known = tuple(place.get(id(r._var)) if isinstance(r, StageTracer) else None for r in residuals)
    new = [r for r, k in zip(residuals, known, strict=True) if k is None]
    return Linearized(outer.finish([*outs, *new]), linear, live_out, known)


def _needed(tape: Tape) -> Tape:
    """The tape without equations that no result needs."""
    needed = {v for v in tape.outs if v is not None}
    eqns = []
    for eqn in reversed(tape.eqns):
        if not needed.isdisjoint(eqn.outputs):
            eqns.append(eqn)
            needed.update(x for x in eqn.inputs if isinstance(x, Var))
    return Tape(tape.invars, eqns[::-1], tape.outs)


def transpose_jaxpr(
    jaxpr: Jaxpr, linear: Sequence[bool], live: Sequence[bool], keep: bool = False
) -> tuple[Jaxpr, tuple[bool, ...]]:
    """The jaxpr (other inputs, live cotangents of results) -> live cotangents of the linear inputs.

    ``live`` says which results have a cotangent. The second answer says which linear inputs get one; with ``keep`` all
    of them do.
    """
    key = ("transpose", tuple(linear), tuple(live), keep)
    if key not in jaxpr.memo:
        live_out: list[bool] = []
        rest = [a.strong() for a, is_linear in zip(jaxpr.in_avals, linear, strict=True) if not is_linear]

        def fun(*args: Any) -> list[Any]:
            others, given = iter(args[: len(rest)]), iter(args[len(rest) :])
            inputs = [
                a.strong() if is_linear else next(others) for a, is_linear in zip(jaxpr.in_avals, linear, strict=True)
            ]
            _, tape = linear_tape(lambda *xs: eval_jaxpr(jaxpr, *xs), inputs, linear)
            cts = backward(tape, [next(given) if is_live else None for is_live in live])
            if keep:
                cts = [zeros(v.aval) if c is None else c for c, v in zip(cts, tape.invars, strict=True)]
            live_out[:] = [c is not None for c in cts]
            return [c for c in cts if c is not None]

        results = [a.strong() for a, is_live in zip(jaxpr.out_avals, live, strict=True) if is_live]
        with set_trace(EVAL):
            staged = stage(fun, [*rest, *results], f"transpose_{jaxpr.name}")
        jaxpr.memo[key] = staged, tuple(live_out)
    return jaxpr.memo[key]  # type: ignore[no-any-return]
