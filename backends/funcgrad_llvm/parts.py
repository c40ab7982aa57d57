"""A long group in parts: no processor has registers for the values of some hundred equations, and no compiler patience."""

from __future__ import annotations

from collections.abc import Iterator

from funcgrad.compiler.schedule import schedule
from funcgrad.core.ir import Eqn, Jaxpr, Var

__all__ = ["MOST_EQUATIONS", "in_parts", "parts"]

#: How many equations a part has.
MOST_EQUATIONS = 160


def in_parts(eqn: Eqn, most: int = MOST_EQUATIONS) -> list[Eqn]:
    """An equation as several, if it is a long group: what one part computes for another is a variable like all others."""
    if eqn.primitive.name != "fusion" or len(eqn.params["jaxpr"].eqns) <= most:
        return [eqn]
    body = schedule(eqn.params["jaxpr"])
    outer = dict(zip(body.invars, eqn.inputs)) | dict(zip(body.outs, eqn.outputs))
    eqns = []
    for part in parts(body, most):
        for v in part.outs:
            outer.setdefault(v, Var(v.aval))
        params = {**eqn.params, "jaxpr": part}
        ins, outs = ([outer[v] for v in atoms] for atoms in (part.invars, part.outs))
        eqns.append(Eqn(eqn.primitive, ins, outs, params, eqn.source))
    return eqns


def parts(body: Jaxpr, most: int = MOST_EQUATIONS) -> Iterator[Jaxpr]:
    """Bodies of groups, in the variables of the whole, that one after the other compute what the whole does.

    A part writes the broadcasts and iotas that it reads by itself, as groups do.
    """
    if len(body.eqns) <= most:
        yield body
        return
    outs = {a for a in body.outs if isinstance(a, Var)}
    moves = {e.outputs[0]: e for e in body.eqns if e.primitive.name in ("broadcast_in_dim", "iota")}
    steps = [e for e in body.eqns if e.outputs[0] not in moves or e.outputs[0] in outs]
    last: dict[Var, int] = {}
    for i, eqn in enumerate(steps):
        for a in eqn.inputs:
            while isinstance(a, Var):
                last[a] = i
                a = moves[a].inputs[0] if a in moves and moves[a].inputs else None
    for start in range(0, len(steps), most):
        part = steps[start : start + most]
        eqns: list[Eqn] = []
        made: set[Var] = set()
        ins: dict[Var, None] = {}

        todo = part[::-1]
        while todo:
            eqn = todo[-1]
            unseen = [a for a in eqn.inputs if isinstance(a, Var) and a not in made]
            read = [moves[a] for a in unseen if a in moves]
            if read:
                todo += read
                continue
            ins.update(dict.fromkeys(unseen))
            if todo.pop().outputs[0] not in made:
                eqns.append(eqn)
                made.update(eqn.outputs)
        end = start + len(part)
        results = [v for e in part for v in e.outputs if v in outs or last.get(v, -1) >= end]
        yield Jaxpr(list(ins), eqns, results)
