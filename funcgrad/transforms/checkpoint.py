"""Checkpointing: forget the intermediate values of a function, and compute them again in the backward pass.

Linearizing a checkpointed call runs the function without keeping residuals, and stages one linear equation that holds
the operands and the tangent part of the jvp of the whole function. Its transpose computes the residuals again. They pass
an ``optimization_barrier``, lest the compiler see that they have been computed before.

A ``policy(primitive_name, *avals, **params) -> bool`` says which results are worth keeping: they are returned by the
forward pass, and the backward pass reads them instead of computing them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..core.ir import Eqn, Jaxpr, Var
from ..core.source import at_source
from ..core.trace import EVAL, current_trace, eval_jaxpr, set_trace, stage
from ..core.types import Aval
from ..primitives import optimization_barrier
from .batching import Axis, batch_jaxpr
from .call import Holder, call, divided, merged, spread
from .forward import JVPTrace, JVPTracer, jvp_jaxpr
from .key_reuse import without_uses
from .reverse import reach, restricted, split_jaxpr, transpose_jaxpr

__all__ = ["checkpoint"]

Policy = Callable[..., bool]


class Checkpoint(Holder):
    """Runs ``jaxpr``. ``policy``: what to keep; ``prevent_cse``: whether to hide the second computation."""

    name = "checkpoint"

    def type(self, *avals: Aval, **params: Any) -> Sequence[Aval]:
        return params["jaxpr"].out_avals  # type: ignore[no-any-return]

    def expand(self, *args: Any, **params: Any) -> list[Any]:
        return eval_jaxpr(params["jaxpr"], *args)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        jaxpr = params["jaxpr"]
        both, live = jvp_jaxpr(jaxpr, [t is not None for t in tangents])
        outs = self(*primals, *(t for t in tangents if t is not None), **(params | {"jaxpr": both}))
        n = len(jaxpr.outs)
        return outs[:n], spread(outs[n:], live)

    def linearize(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        jaxpr: Jaxpr = params["jaxpr"]
        live = tuple(t is not None for t in tangents)
        key = ("checkpoint", live, params["policy"])
        if key not in jaxpr.memo:
            jaxpr.memo[key] = _tangent_part(jaxpr, live, params["policy"])
        forward, tangent, live_out = jaxpr.memo[key]
        n = len(jaxpr.outs)
        outs = call(*primals, jaxpr=forward, name=jaxpr.name)
        ts = [t for t in tangents if t is not None]
        touts = self(*primals, *outs[n:], *ts, **(params | {"jaxpr": tangent}))
        return outs[:n], spread(touts, live_out)

    def reach(self, marked: Sequence[bool], **params: Any) -> Sequence[bool]:
        return reach(params["jaxpr"], marked)

    def split(
        self, args: Sequence[Any], linear: Sequence[bool], reached: Sequence[bool], **params: Any
    ) -> Sequence[Any]:
        # What the linear part needs it computes by itself.
        jaxpr: Jaxpr = params["jaxpr"]
        known, _ = divided(args, linear)
        n = len(reached) - sum(reached)
        constant = restricted(split_jaxpr(jaxpr, linear, reached).primal, range(n))
        rest = restricted(without_uses(jaxpr), [i for i, r in enumerate(reached) if r])
        outs = call(*known, jaxpr=constant, name=jaxpr.name)
        return merged(outs, self(*args, **(params | {"jaxpr": rest})), reached)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        jaxpr: Jaxpr = params["jaxpr"]
        linear = [isinstance(x, Var) for x in args]
        back, live = transpose_jaxpr(jaxpr, linear, [c is not None for c in ct])
        others = [x for x, is_linear in zip(args, linear, strict=True) if not is_linear]
        if params["prevent_cse"] and others:
            others = optimization_barrier(*others)
        cts = call(*others, *(c for c in ct if c is not None), jaxpr=back, name=jaxpr.name)
        given = iter(spread(cts, live))
        return [next(given) if is_linear else None for is_linear in linear]

    def batch(self, axis: Axis, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:  # type: ignore[override]
        rows, mapped = batch_jaxpr(params["jaxpr"], axis, batched)
        return self(*args, **(params | {"jaxpr": rows})), mapped


def _tangent_part(jaxpr: Jaxpr, live: tuple[bool, ...], policy: Policy | None) -> tuple[Jaxpr, Jaxpr, tuple[bool, ...]]:
    """The forward jaxpr, which also returns what the policy keeps; the jaxpr (inputs, kept, tangents) -> tangents; and
    which results have a tangent."""
    kept = [v for e in jaxpr.eqns if policy is not None and _keeps(policy, e) for v in e.outputs]
    forward = Jaxpr(jaxpr.invars, jaxpr.eqns, [*jaxpr.outs, *kept], name=jaxpr.name) if kept else jaxpr
    inputs = [a.strong() for a in jaxpr.in_avals]
    n, k = len(inputs), len(kept)
    live_out: list[bool] = []

    def fun(*args: Any) -> list[Any]:
        primals, saved, given = args[:n], dict(zip(kept, args[n : n + k], strict=True)), iter(args[n + k :])
        tangents = [next(given) if is_live else None for is_live in live]
        touts = _jvp_with_saved(without_uses(jaxpr), primals, tangents, saved)
        live_out[:] = [t is not None for t in touts]
        return [t for t in touts if t is not None]

    with set_trace(EVAL):
        ts = [a for a, is_live in zip(inputs, live, strict=True) if is_live]
        tangent = stage(fun, [*inputs, *(v.aval.strong() for v in kept), *ts], f"tangent_{jaxpr.name}")
    return forward, tangent, tuple(live_out)


def _keeps(policy: Policy, eqn: Eqn) -> bool:
    return policy(eqn.primitive.name, *(a.aval for a in eqn.inputs), **eqn.params)


def _jvp_with_saved(jaxpr: Jaxpr, primals: Sequence[Any], tangents: Sequence[Any], saved: dict[Var, Any]) -> list[Any]:
    """The tangents of a jaxpr's results, reading the primal values that are saved instead of those computed again."""
    trace = JVPTrace(current_trace())
    env: dict[Var, Any] = {
        v: p if t is None else JVPTracer(trace, p, t) for v, p, t in zip(jaxpr.invars, primals, tangents, strict=True)
    }
    with set_trace(trace), at_source() as here:
        for eqn in jaxpr.eqns:
            here.move(eqn.source)
            operands = [env[a] if isinstance(a, Var) else a.value for a in eqn.inputs]
            result = trace.process(eqn.primitive, operands, eqn.params)
            for var, y in zip(eqn.outputs, result if eqn.primitive.multiple else [result], strict=True):
                if var in saved:
                    y = JVPTracer(trace, saved[var], y.tangent) if isinstance(y, JVPTracer) else saved[var]
                env[var] = y
    outs = [env[a] if isinstance(a, Var) else a.value for a in jaxpr.outs]
    return [trace.split(y)[1] for y in outs]


checkpoint = Checkpoint()
