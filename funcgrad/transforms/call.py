"""The call of a jaxpr: what ``jit`` leaves in a program that is traced further."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.config import config
from ..core.ir import Var, subjaxprs
from ..core.trace import Primitive, eval_jaxpr
from ..core.types import Aval
from .batching import Axis, batch_jaxpr
from .forward import jvp_jaxpr
from .key_reuse import check_keys
from .reverse import hoist, linearize_jaxpr, reach, split_jaxpr, transpose_jaxpr

__all__ = ["Holder", "call", "divided", "merged", "spread"]


def spread(values: Sequence[Any], live: Sequence[bool]) -> list[Any]:
    """The values at the live places, None at the others."""
    given = iter(values)
    return [next(given) if is_live else None for is_live in live]


def divided(values: Sequence[Any], marked: Sequence[bool]) -> tuple[list[Any], list[Any]]:
    """The values that are not marked, and those that are."""
    pairs = list(zip(values, marked, strict=True))
    return [x for x, is_marked in pairs if not is_marked], [x for x, is_marked in pairs if is_marked]


def merged(plain: Sequence[Any], special: Sequence[Any], marked: Sequence[bool]) -> list[Any]:
    """The inverse of :func:`divided`."""
    rest, given = iter(plain), iter(special)
    return [next(given) if is_marked else next(rest) for is_marked in marked]


class Holder(Primitive):
    """A primitive that holds jaxprs in its parameters.

    The rules of a custom function may close over arrays, so that a transformed jaxpr may have consts: they become operands.
    """

    multiple = True
    control = True
    axis_aware = True

    def __call__(self, *args: Any, **params: Any) -> Any:
        for jaxpr in subjaxprs(params):
            if jaxpr.consts:
                args, params = self.closed(args, params)
                break
        return super().__call__(*args, **params)

    def before(self, args: Sequence[Any], params: dict[str, Any]) -> None:
        if config.debug_key_reuse:
            check_keys(self, args, params)

    def closed(self, args: tuple[Any, ...], params: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The operands with what the jaxprs close over among them, and the parameters that go with them."""
        jaxpr, consts = hoist(params["jaxpr"])
        return (*consts, *args), params | {"jaxpr": jaxpr}


class Call(Holder):
    """Runs ``jaxpr``, which goes by ``name``. Every transform of the call is a call of the transformed jaxpr.

    ``static``: the static arguments with their names, or None; a back end's kernel is told of them.

    That goes by a name of its own (``jvp_softmax``, ``linear_softmax``, ``transpose_softmax``, ``vmap_softmax``, and
    ``primal_softmax`` for one that also returns residuals): a back end that has a kernel for a name must not take another
    function for it.
    """

    name = "jit"

    def type(self, *avals: Aval, **params: Any) -> Sequence[Aval]:
        return params["jaxpr"].out_avals  # type: ignore[no-any-return]

    def expand(self, *args: Any, **params: Any) -> list[Any]:
        return eval_jaxpr(params["jaxpr"], *args)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        jaxpr = params["jaxpr"]
        both, live = jvp_jaxpr(jaxpr, [t is not None for t in tangents])
        outs = self(*primals, *(t for t in tangents if t is not None), jaxpr=both, name=f"jvp_{params['name']}")
        n = len(jaxpr.outs)
        return outs[:n], spread(outs[n:], live)

    def linearize(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        jaxpr, name = params["jaxpr"], params["name"]
        split = linearize_jaxpr(jaxpr, [t is not None for t in tangents])
        extended = len(split.primal.outs) > len(jaxpr.outs)
        static = None if extended else params.get("static")
        outs = self(*primals, jaxpr=split.primal, name=f"primal_{name}" if extended else name, static=static)
        n = len(jaxpr.outs)
        if not any(split.live_out):
            return outs[:n], None
        residuals = split.residuals(primals, outs[n:])
        touts = self(*residuals, *(t for t in tangents if t is not None), jaxpr=split.linear, name=f"linear_{name}")
        return outs[:n], spread(touts, split.live_out)

    def reach(self, marked: Sequence[bool], **params: Any) -> Sequence[bool]:
        return reach(params["jaxpr"], marked)

    def split(
        self, args: Sequence[Any], linear: Sequence[bool], reached: Sequence[bool], **params: Any
    ) -> Sequence[Any]:
        split, name = split_jaxpr(params["jaxpr"], linear, reached), params["name"]
        known, moving = divided(args, linear)
        outs = self(*known, jaxpr=split.primal, name=f"primal_{name}")
        n = len(reached) - sum(reached)
        residuals = split.residuals(known, outs[n:])
        return merged(outs[:n], self(*residuals, *moving, jaxpr=split.linear, name=f"linear_{name}"), reached)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        jaxpr, name = params["jaxpr"], params["name"]
        linear = [isinstance(x, Var) for x in args]
        back, live = transpose_jaxpr(jaxpr, linear, [c is not None for c in ct])
        others = [x for x, is_linear in zip(args, linear, strict=True) if not is_linear]
        cts = iter(spread(self(*others, *(c for c in ct if c is not None), jaxpr=back, name=f"transpose_{name}"), live))
        return [next(cts) if is_linear else None for is_linear in linear]

    def batch(self, axis: Axis, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:  # type: ignore[override]
        rows, mapped = batch_jaxpr(params["jaxpr"], axis, batched)
        return self(*args, jaxpr=rows, name=f"vmap_{params['name']}"), mapped


call = Call()
