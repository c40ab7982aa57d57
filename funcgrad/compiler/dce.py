"""Dead code: equations whose results nobody uses go, inside loops and branches too.

A result of a loop that nobody uses goes with all that only it needed: stacked outputs that were residuals, carries that
feed nothing but themselves, and the operands they came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ..core.ir import Eqn, Jaxpr, Var, subjaxprs

T = TypeVar("T")

__all__ = ["eliminate_dead_code", "has_effect"]


def has_effect(eqn: Eqn) -> bool:
    """Whether an equation, or one in the jaxprs that it holds, must run even if its results are not used."""
    if eqn.primitive.effect:
        return True
    return eqn.primitive.control and any(_effects(j) for j in subjaxprs(eqn.params))


def _effects(jaxpr: Jaxpr) -> bool:
    found = jaxpr.memo.get("effects")
    if found is None:
        found = jaxpr.memo["effects"] = any(has_effect(e) for e in jaxpr.eqns)
    return bool(found)


def eliminate_dead_code(jaxpr: Jaxpr) -> Jaxpr:
    """The same program without equations that contribute nothing to its results."""
    found = jaxpr.memo.get("lean")
    if found is None:
        found = jaxpr.memo["lean"] = _eliminate(jaxpr)
        found.memo["lean"] = False  # itself; a reference would be a cycle
    return found or jaxpr


def _eliminate(jaxpr: Jaxpr) -> Jaxpr:
    live = {a for a in jaxpr.outs if isinstance(a, Var)}
    kept: list[Eqn] = []
    for eqn in reversed(jaxpr.eqns):
        used = [v in live for v in eqn.outputs]
        if not any(used) and not has_effect(eqn):
            continue
        if eqn.primitive.control:
            eqn = _PRUNE[eqn.primitive.name](eqn, used) if eqn.primitive.name in _PRUNE else eqn
        kept.append(eqn)
        live.update(a for a in eqn.inputs if isinstance(a, Var))
    kept.reverse()
    constants = [(v, c) for v, c in zip(jaxpr.constvars, jaxpr.consts) if v in live]
    constvars, consts = [v for v, _ in constants], [c for _, c in constants]
    return Jaxpr(jaxpr.invars, kept, jaxpr.outs, constvars, consts, jaxpr.name)


def _needed(jaxpr: Jaxpr, outs: Sequence[bool]) -> list[bool]:
    """Which inputs the chosen outputs, and the effects, depend on."""
    live = {a for a, used in zip(jaxpr.outs, outs) if used and isinstance(a, Var)}
    for eqn in reversed(jaxpr.eqns):
        if not live.isdisjoint(eqn.outputs) or has_effect(eqn):
            live.update(a for a in eqn.inputs if isinstance(a, Var))
    return [v in live for v in jaxpr.invars]


def _restrict(jaxpr: Jaxpr, ins: Sequence[bool], outs: Sequence[bool]) -> Jaxpr:
    """The program with some of its inputs and outputs only."""
    if all(ins) and all(outs):
        return eliminate_dead_code(jaxpr)
    key = ("restricted", tuple(ins), tuple(outs))
    found = jaxpr.memo.get(key)
    if found is None:
        # Equations may still mention the inputs that go until the dead ones are gone, so they stay for a moment.
        whole = Jaxpr(jaxpr.invars, jaxpr.eqns, _chosen(jaxpr.outs, outs), name=jaxpr.name)
        lean = eliminate_dead_code(whole)
        found = jaxpr.memo[key] = Jaxpr(_chosen(jaxpr.invars, ins), lean.eqns, lean.outs, name=jaxpr.name)
        found.memo["lean"] = False
    return found


def _chosen(items: Sequence[T], flags: Sequence[bool]) -> list[T]:
    return [x for x, flag in zip(items, flags) if flag]


def _prune_scan(eqn: Eqn, used: list[bool]) -> Eqn:
    params = eqn.params
    body, n, k = params["jaxpr"], params["num_consts"], params["num_carry"]
    outs = used
    while True:
        ins = _needed(body, outs)
        carry = [a or b for a, b in zip(outs[:k], ins[n : n + k])]
        if carry == outs[:k]:
            break
        outs = carry + outs[k:]
    ins = ins[:n] + outs[:k] + ins[n + k :]
    changed = {"jaxpr": _restrict(body, ins, outs), "num_consts": sum(ins[:n]), "num_carry": sum(outs[:k])}
    return eqn.replace(inputs=_chosen(eqn.inputs, ins), outputs=_chosen(eqn.outputs, outs), params=params | changed)


def _prune_while(eqn: Eqn, used: list[bool]) -> Eqn:
    params = eqn.params
    test, body = params["cond_jaxpr"], params["body_jaxpr"]
    n, m = params["cond_nconsts"], params["body_nconsts"]
    tested = _needed(test, [True])
    carry = [a or b for a, b in zip(used, tested[n:])]
    while True:
        ins = _needed(body, carry)
        wider = [a or b for a, b in zip(carry, ins[m:])]
        if wider == carry:
            break
        carry = wider
    changed = {
        "cond_jaxpr": _restrict(test, tested[:n] + carry, [True]),
        "body_jaxpr": _restrict(body, ins[:m] + carry, carry),
        "cond_nconsts": sum(tested[:n]),
        "body_nconsts": sum(ins[:m]),
    }
    inputs = _chosen(eqn.inputs, tested[:n] + ins[:m] + carry)
    return eqn.replace(inputs=inputs, outputs=_chosen(eqn.outputs, carry), params=params | changed)


def _prune_cond(eqn: Eqn, used: list[bool]) -> Eqn:
    branches = eqn.params["branches"]
    ins = [any(flags) for flags in zip(*(_needed(b, used) for b in branches))]
    changed = {"branches": tuple(_restrict(b, ins, used) for b in branches)}
    inputs = [eqn.inputs[0], *_chosen(eqn.inputs[1:], ins)]
    return eqn.replace(inputs=inputs, outputs=_chosen(eqn.outputs, used), params=eqn.params | changed)


_PRUNE = {"scan": _prune_scan, "while": _prune_while, "cond": _prune_cond}
