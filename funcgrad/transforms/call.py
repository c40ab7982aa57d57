"""The call of a jaxpr: what ``jit`` leaves in a program that is traced further."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.ir import Var
from ..core.trace import Primitive, eval_jaxpr
from ..core.types import Aval
from .batching import Axis, batch_jaxpr
from .forward import jvp_jaxpr
from .reverse import linearize_jaxpr, transpose_jaxpr

__all__ = ["call", "spread"]


def spread(values: Sequence[Any], live: Sequence[bool]) -> list[Any]:
    """The values at the live places, None at the others."""
    given = iter(values)
    return [next(given) if is_live else None for is_live in live]


class Call(Primitive):
    """Runs ``jaxpr``, which goes by ``name``. Every transform of the call is a call of the transformed jaxpr."""

    name = "jit"
    multiple = True
    control = True
    axis_aware = True

    def type(self, *avals: Aval, **params: Any) -> Sequence[Aval]:
        return params["jaxpr"].out_avals  # type: ignore[no-any-return]

    def expand(self, *args: Any, **params: Any) -> list[Any]:
        return eval_jaxpr(params["jaxpr"], *args)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        jaxpr, name = params["jaxpr"], params["name"]
        both, live = jvp_jaxpr(jaxpr, [t is not None for t in tangents])
        outs = self(*primals, *(t for t in tangents if t is not None), jaxpr=both, name=name)
        n = len(jaxpr.outs)
        return outs[:n], spread(outs[n:], live)

    def linearize(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        jaxpr, name = params["jaxpr"], params["name"]
        split = linearize_jaxpr(jaxpr, [t is not None for t in tangents])
        outs = self(*primals, jaxpr=split.primal, name=name)
        n = len(jaxpr.outs)
        if not any(split.live_out):
            return outs[:n], None
        residuals = split.residuals(primals, outs[n:])
        touts = self(*residuals, *(t for t in tangents if t is not None), jaxpr=split.linear, name=name)
        return outs[:n], spread(touts, split.live_out)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        jaxpr, name = params["jaxpr"], params["name"]
        linear = [isinstance(x, Var) for x in args]
        back, live = transpose_jaxpr(jaxpr, linear, [c is not None for c in ct])
        others = [x for x, is_linear in zip(args, linear, strict=True) if not is_linear]
        cts = iter(spread(self(*others, *(c for c in ct if c is not None), jaxpr=back, name=name), live))
        return [next(cts) if is_linear else None for is_linear in linear]

    def batch(self, axis: Axis, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:  # type: ignore[override]
        rows, mapped = batch_jaxpr(params["jaxpr"], axis, batched)
        return self(*args, jaxpr=rows, name=params["name"]), mapped


call = Call()
