"""The conditional: ``cond(index, *operands, branches)`` runs one of several jaxprs of one type.

Each transform of it is the conditional of the transformed branches, made to agree in type: tangents that one branch has
are zeros in the others, and residuals of all branches share slots by type. Only an index that differs between the rows
of a vmap makes all branches run, each row choosing its own result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..core.errors import IRError
from ..core.ir import Jaxpr, Var
from ..core.trace import EVAL, eval_jaxpr, set_trace, stage
from ..core.types import Aval, aval_of, shape_of
from ..primitives import broadcast_in_dim, eq, select
from .batching import Axis, batch_jaxpr
from .call import Holder, divided, merged, spread
from .forward import jvp_jaxpr, zeros
from .key_reuse import apart
from .reverse import Linearized, linearize_jaxpr, reach, split_jaxpr, transpose_jaxpr

__all__ = ["cond", "share_consts"]


def share_consts(jaxprs: Sequence[Jaxpr]) -> tuple[tuple[Jaxpr, ...], list[Any]]:
    """The jaxprs with the consts of all of them as leading inputs, each const once."""
    consts: dict[int, Any] = {}
    for j in jaxprs:
        consts.update((id(c), c) for c in j.consts)
    shared = []
    for j in jaxprs:
        own = {id(c): v for c, v in zip(j.consts, j.constvars, strict=True)}
        leading = [own[key] if key in own else Var(aval_of(c).strong()) for key, c in consts.items()]
        shared.append(Jaxpr([*leading, *j.invars], j.eqns, j.outs, name=j.name))
    return tuple(shared), list(consts.values())


def _union(masks: Sequence[Sequence[bool]]) -> tuple[bool, ...]:
    return tuple(any(m) for m in zip(*masks, strict=True))


class Cond(Holder):
    """Runs ``branches[index]``; the index is an int64 of rank 0 in range."""

    name = "cond"

    def closed(self, args: tuple[Any, ...], params: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        branches: tuple[Jaxpr, ...] = params["branches"]
        memo, key = branches[0].memo, ("closed", branches[1:])
        if key not in memo:
            memo[key] = share_consts(branches)
        shared, consts = memo[key]
        return (args[0], *consts, *args[1:]), params | {"branches": shared}

    def type(self, *avals: Aval, **params: Any) -> Sequence[Aval]:
        branches: tuple[Jaxpr, ...] = params["branches"]
        outs = [a.strong() for a in branches[0].out_avals]
        for b in branches[1:]:
            if [a.strong() for a in b.out_avals] != outs:
                raise IRError(f"the branches of a cond have the types {outs} and {b.out_avals}")
        return outs

    def expand(self, *args: Any, **params: Any) -> list[Any]:
        return eval_jaxpr(params["branches"][int(args[0])], *args[1:])

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        branches: tuple[Jaxpr, ...] = params["branches"]
        live = [t is not None for t in tangents[1:]]
        keep = _union([jvp_jaxpr(b, live)[1] for b in branches])
        both = tuple(jvp_jaxpr(b, live, keep)[0] for b in branches)
        outs = self(*primals, *(t for t in tangents[1:] if t is not None), branches=both)
        n = len(keep)
        return outs[:n], spread(outs[n:], keep)

    def linearize(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        branches: tuple[Jaxpr, ...] = params["branches"]
        live = tuple(t is not None for t in tangents[1:])
        keep = _union([linearize_jaxpr(b, live).live_out for b in branches])
        n = len(keep)
        if not any(keep):
            return self(*primals, branches=branches), None
        memo, key = branches[0].memo, ("linearize cond", branches[1:], live)
        if key not in memo:
            inputs = [a.strong() for a in branches[0].in_avals]
            memo[key] = _split_branches([linearize_jaxpr(b, live, keep) for b in branches], inputs, n)
        primal, linear = memo[key]
        outs = self(*primals, branches=primal)
        ts = [t for t in tangents if t is not None]
        touts = self(primals[0], *primals[1:], *outs[n:], *ts, branches=linear)
        return outs[:n], spread(touts, keep)

    def reach(self, marked: Sequence[bool], **params: Any) -> Sequence[bool]:
        return _union([reach(b, marked[1:]) for b in params["branches"]])

    def split(
        self, args: Sequence[Any], linear: Sequence[bool], reached: Sequence[bool], **params: Any
    ) -> Sequence[Any]:
        branches: tuple[Jaxpr, ...] = params["branches"]
        mask, n = linear[1:], len(reached) - sum(reached)
        memo, key = branches[0].memo, ("split cond", branches[1:], tuple(mask))
        if key not in memo:
            inputs, _ = divided([a.strong() for a in branches[0].in_avals], mask)
            memo[key] = _split_branches([split_jaxpr(b, mask, reached) for b in branches], inputs, n)
        primal, rest = memo[key]
        known, moving = divided(args[1:], mask)
        outs = self(args[0], *known, branches=primal)
        return merged(outs[:n], self(args[0], *known, *outs[n:], *moving, branches=rest), reached)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        branches: tuple[Jaxpr, ...] = params["branches"]
        linear = [isinstance(x, Var) for x in args[1:]]
        live = [c is not None for c in ct]
        back = tuple(transpose_jaxpr(b, linear, live, keep=True)[0] for b in branches)
        others = [x for x, is_linear in zip(args[1:], linear, strict=True) if not is_linear]
        cts = iter(self(args[0], *others, *(c for c in ct if c is not None), branches=back))
        return [None, *(next(cts) if is_linear else None for is_linear in linear)]

    def batch(self, axis: Axis, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:  # type: ignore[override]
        branches: tuple[Jaxpr, ...] = params["branches"]
        index, *operands = args
        mapped = batched[1:]
        if not batched[0]:
            keep = _union([batch_jaxpr(b, axis, mapped)[1] for b in branches])
            return self(*args, branches=tuple(batch_jaxpr(b, axis, mapped, keep)[0] for b in branches)), keep
        every = [True] * len(branches[0].outs)
        rows = apart([batch_jaxpr(b, axis, mapped, every)[0] for b in branches])
        results = [eval_jaxpr(b, *operands) for b in rows]
        chosen = results[0]
        for i, result in enumerate(results[1:], 1):
            here = eq(index, i)
            chosen = [
                select(broadcast_in_dim(here, shape=shape_of(y), dims=(0,)), y, c)
                for y, c in zip(result, chosen, strict=True)
            ]
        return chosen, every


def _split_branches(
    splits: Sequence[Linearized], inputs: list[Aval], n: int
) -> tuple[tuple[Jaxpr, ...], tuple[Jaxpr, ...]]:
    """The primal branches, of ``inputs`` and with ``n`` results, and the linear ones. New residuals go to slots, which
    branches share by type.

    The linear ones take all inputs (of which residuals may be some), the slots, and the tangents.
    """
    slots: list[Aval] = []
    places: list[list[int]] = []
    for split in splits:
        taken: list[int] = []
        for aval in split.primal.out_avals[n:]:
            free = next((i for i, a in enumerate(slots) if a == aval.strong() and i not in taken), len(slots))
            if free == len(slots):
                slots.append(aval.strong())
            taken.append(free)
        places.append(taken)
    count = len(inputs)

    def primal(split: Linearized, taken: list[int]) -> Callable[..., list[Any]]:
        def fun(*operands: Any) -> list[Any]:
            outs = eval_jaxpr(split.primal, *operands)
            filled = dict(zip(taken, outs[n:], strict=True))
            return [*outs[:n], *(filled[i] if i in filled else zeros(a) for i, a in enumerate(slots))]

        return fun

    def linear(split: Linearized, taken: list[int]) -> Callable[..., list[Any]]:
        def fun(*args: Any) -> list[Any]:
            operands, filled, tangents = args[:count], args[count : count + len(slots)], args[count + len(slots) :]
            return eval_jaxpr(split.linear, *split.residuals(operands, [filled[i] for i in taken]), *tangents)

        return fun

    tangents = [a.strong() for a in splits[0].linear.in_avals[len(splits[0].known) :]]
    with set_trace(EVAL):
        pairs = list(zip(splits, places, strict=True))
        return (
            tuple(stage(primal(s, p), inputs, s.primal.name) for s, p in pairs),
            tuple(stage(linear(s, p), [*inputs, *slots, *tangents], s.linear.name) for s, p in pairs),
        )


cond = Cond()
