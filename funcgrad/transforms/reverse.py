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
The mask follows elementwise operations, rearrangements and broadcasts, that of a scalar predicate every operation,
until a cotangent without a mask is added.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..core.config import config
from ..core.errors import InPlaceError
from ..core.ir import Eqn, Jaxpr, Var
from ..core.source import at_source, user_source
from ..core.trace import (
    EVAL,
    FOREIGN,
    Primitive,
    StageTrace,
    StageTracer,
    Trace,
    Tracer,
    current_trace,
    eval_jaxpr,
    frozen,
    run_under,
    set_trace,
    stage,
)
from ..core.types import Aval, aval_of, is_inexact, shape_of
from ..primitives import add, and_, not_, or_, reduce_or, reshape, select
from .forward import JVPTrace, instantiate, zeros

__all__ = [
    "LinearTrace",
    "Linearized",
    "Tape",
    "backward",
    "hoist",
    "linear_tape",
    "linearize",
    "linearize_jaxpr",
    "reach",
    "replay",
    "restricted",
    "split_jaxpr",
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

    def renewed(self) -> LinearTracer:
        return LinearTracer(self._trace, self._var)

    def rebind(self, value: Any) -> None:
        if type(value) is not LinearTracer:
            raise InPlaceError(
                f"a linear function overwrote all of a tangent of type {self.aval} by values that do not depend on it; "
                f"make a new array instead"
            )
        self._var = value._var

    def describe(self) -> str:
        return f"this is a tangent of type {self.aval}, on which a linear function must not branch"


class LinearTrace(Trace):
    """Writes down what depends on its tracers; everything else happens in the parent.

    The inputs of an equation are the variables of linear operands, and the values of the others. A call or a loop only
    some of whose results are linear is split in two. The call of a custom function is what the function does: its rules
    speak of its derivatives, not of its transpose.
    """

    def __init__(self, parent: Trace) -> None:
        self.parent: Trace = parent
        self.eqns: list[Eqn] = []
        self.plain = parent is EVAL
        # Finding the user's line takes a walk up the stack. An eager tape is used at once, under the user's own call.
        self.keeps_source = parent is not EVAL or config.debug_nans
        self.outside = EVAL.process if parent is EVAL else functools.partial(run_under, parent)

    def new_input(self, aval: Aval) -> LinearTracer:
        """A tracer for a further input."""
        tracer = LinearTracer(self, Var(aval))
        tracer._memory = FOREIGN
        return tracer

    def own(self, array: Any) -> Any:
        return self.parent.own(array)

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        inputs: list[Any] = []
        tangent: Var | None = None
        for x in args:
            if type(x) is LinearTracer and x._trace is self:
                tangent = x._var
                inputs.append(tangent)
            else:
                inputs.append(x if self.plain else frozen(x))
        if tangent is None:
            return self.outside(primitive, args, params)
        if primitive.control:
            linear = [type(x) is Var for x in inputs]
            reached = primitive.reach(linear, **params)
            if reached is not None and not all(reached):
                return primitive.split(args, linear, reached, **params)
        elif primitive.transparent and primitive.expand is not None:
            return primitive.expand(*args, **params)
        derived: Any = tangent.aval if primitive.keeps_type else None
        if derived is not None:
            rank = len(derived.shape)
            for x in args:
                if len(shape_of(x)) > rank:
                    derived = None
                    break
        if derived is None:
            derived = primitive.type(*[x.aval if type(x) is Var else aval_of(x) for x in inputs], **params)
        if not primitive.multiple:
            return self.record(primitive, inputs, derived, params)
        outputs = [Var(a) for a in derived]
        self.eqns.append(Eqn(primitive, inputs, outputs, params, user_source() if self.keeps_source else None))
        return [LinearTracer(self, v) for v in outputs]

    def record(self, primitive: Primitive, inputs: Sequence[Any], aval: Aval, params: dict[str, Any]) -> LinearTracer:
        """Write an equation down whose result has the type ``aval``."""
        out = Var(aval)
        self.eqns.append(Eqn(primitive, inputs, (out,), params, user_source() if self.keeps_source else None))
        return LinearTracer(self, out)

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
    trace.name = linear.name = getattr(fun, "__name__", "")
    tangents = [
        linear.new_input(aval_of(p).strong()) if is_live else None for p, is_live in zip(primals, live, strict=True)
    ]
    inputs = [trace.input(p, t) for p, t in zip(primals, tangents, strict=True)]
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
    with at_source() as here:
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
_WITH_RESIDUAL = frozenset({"mul", "div", "dot_general", "conv_general_dilated"})


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
            before = masks.pop(var, None) if masks else None
            if before is not None and mask is not None and shape_of(before) == shape_of(mask):
                # The sum is zero for sure where both are.
                masks[var] = mask if before is mask else or_(before, mask)

    ct: Any
    for var, ct in zip(tape.outs, cts, strict=True):
        if var is not None and ct is not None:
            give(var, ct, None)
    with at_source(backward=True) as here:
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
                _give_branches(give, eqn, given, mask)
                continue
            for x, c in zip(eqn.inputs, given, strict=True):
                if c is not None and isinstance(x, Var):
                    if mask is None:
                        give(x, c, None)
                    else:
                        give(x, *_masked(c, mask, eqn))
    return [sums.get(v) for v in tape.invars]


def _give_branches(give: Callable[[Var, Any, Any], None], eqn: Eqn, given: Sequence[Any], mask: Any) -> None:
    """The cotangents of the branches of a select, each with the mask of where it was chosen and the select itself was."""
    pred, on_true, on_false = eqn.inputs

    def chosen(branch: Var, here: Any) -> Any:
        fitting = [m for m in (mask, here) if m is not None and shape_of(m) in ((), branch.aval.shape)]
        return and_(*fitting) if len(fitting) == 2 else next(iter(fitting), None)

    if isinstance(on_true, Var):
        give(on_true, given[1], chosen(on_true, pred))
    if isinstance(on_false, Var):
        give(on_false, given[2], chosen(on_false, not_(pred)))


def _masked(ct: Any, mask: Any, eqn: Eqn) -> tuple[Any, Any]:
    """The cotangent of an operand with its mask, given the mask of the result's cotangent."""
    name, scalar = eqn.primitive.name, not shape_of(mask)
    if scalar or eqn.primitive.elementwise:
        if not scalar and shape_of(ct) != shape_of(mask):
            return ct, None
        return (select(mask, ct, 0.0) if name in _WITH_RESIDUAL else ct), mask
    if name in _REARRANGE:
        return ct, eqn.primitive.transpose(mask, *eqn.inputs, **eqn.params)[0]
    if name == "broadcast_in_dim":
        # A sum of cotangents is zero for sure where all of them are.
        shape, dims = shape_of(ct), eqn.params["dims"]
        summed = {d for n, d in zip(shape, dims, strict=True) if n != shape_of(mask)[d]}
        axes = tuple(i for i in range(len(shape_of(mask))) if i not in dims or i in summed)
        return ct, reshape(reduce_or(mask, axes=axes), shape=shape)
    return ct, None


# On jaxprs ------------------------------------------------------------------------------------------------------------


def hoist(jaxpr: Jaxpr) -> tuple[Jaxpr, list[Any]]:
    """The jaxpr with its consts as leading inputs, and the consts."""
    if not jaxpr.consts:
        return jaxpr, []
    if "hoisted" not in jaxpr.memo:
        inputs = [*jaxpr.constvars, *jaxpr.invars]
        jaxpr.memo["hoisted"] = Jaxpr(inputs, jaxpr.eqns, jaxpr.outs, name=jaxpr.name)
    return jaxpr.memo["hoisted"], jaxpr.consts


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
        return _apart(outer, primals, outs, tape, live_out, lambda: [instantiate(None, y) for y in outs])


def split_jaxpr(jaxpr: Jaxpr, linear: Sequence[bool], reached: Sequence[bool]) -> Linearized:
    """Split a jaxpr some of whose inputs are linear in what does not depend on them and what does.

    The results marked in ``reached`` are those of the linear part; ``primal`` takes the other inputs and returns the other
    results. A result so marked that does not depend on the inputs is constant, and by linearity zero.
    """
    key = ("split", tuple(linear), tuple(reached))
    if key not in jaxpr.memo:
        outer = StageTrace(EVAL, jaxpr.name)
        with set_trace(outer):
            avals = [a.strong() for a in jaxpr.in_avals]
            inputs = [a if is_linear else outer.new_input(a) for a, is_linear in zip(avals, linear, strict=True)]
            known = [x for x, is_linear in zip(inputs, linear, strict=True) if not is_linear]
            outs, tape = linear_tape(lambda *xs: eval_jaxpr(jaxpr, *xs), inputs, linear)
            constant = [y for y, is_linear in zip(outs, reached, strict=True) if not is_linear]
            jaxpr.memo[key] = _apart(outer, known, constant, tape, tuple(reached), lambda: outs)
    return jaxpr.memo[key]  # type: ignore[no-any-return]


def _apart(
    outer: StageTrace,
    inputs: Sequence[Any],
    outs: Sequence[Any],
    tape: Tape,
    live_out: tuple[bool, ...],
    instead: Callable[[], Sequence[Any]],
) -> Linearized:
    """A program and its tape as two jaxprs; ``instead`` gives the values of live results that are not on the tape."""
    tape = _needed(tape)

    def linear_part(*tangents: Any) -> list[Any]:
        touts = replay(tape, tangents)
        if any(t is None and is_live for t, is_live in zip(touts, live_out, strict=True)):
            touts = [s if t is None else t for t, s in zip(touts, instead(), strict=True)]
        return [t for t, is_live in zip(touts, live_out, strict=True) if is_live]

    linear, residuals = hoist(stage(linear_part, [v.aval for v in tape.invars], f"linear_{outer.name}"))
    place = {id(t._var): i for i, t in enumerate(inputs)}
    known = tuple(place.get(id(r._var)) if isinstance(r, StageTracer) else None for r in residuals)
    new = [r for r, k in zip(residuals, known, strict=True) if k is None]
    return Linearized(outer.finish([*outs, *new]), linear, live_out, known)


def reach(jaxpr: Jaxpr, marked: Sequence[bool]) -> tuple[bool, ...]:
    """Which results depend on the marked inputs."""
    key = ("reach", tuple(marked))
    if key not in jaxpr.memo:
        touched: set[Any] = {v for v, is_marked in zip(jaxpr.invars, marked, strict=True) if is_marked}
        for eqn in jaxpr.eqns:
            inputs = [isinstance(a, Var) and a in touched for a in eqn.inputs]
            if True in inputs:
                found = eqn.primitive.reach(inputs, **eqn.params) or [True] * len(eqn.outputs)
                touched.update(v for v, is_reached in zip(eqn.outputs, found, strict=True) if is_reached)
        jaxpr.memo[key] = tuple(isinstance(a, Var) and a in touched for a in jaxpr.outs)
    return jaxpr.memo[key]  # type: ignore[no-any-return]


def restricted(jaxpr: Jaxpr, outs: Sequence[int]) -> Jaxpr:
    """The part of a jaxpr that computes some of its results."""
    key = ("restricted", tuple(outs))
    if key not in jaxpr.memo:
        wanted = [jaxpr.outs[i] for i in outs]
        tape = _needed(Tape([], jaxpr.eqns, [a if isinstance(a, Var) else None for a in wanted]))
        jaxpr.memo[key] = Jaxpr(jaxpr.invars, tape.eqns, wanted, jaxpr.constvars, jaxpr.consts, jaxpr.name)
    return jaxpr.memo[key]  # type: ignore[no-any-return]


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
