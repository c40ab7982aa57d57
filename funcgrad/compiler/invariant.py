"""Loop invariants: what a scan computes again in each step, from what does not change, is computed once before it.

Broadcasts stay inside, where the operation behind them does them for nothing; as do loops and branches, which may not
run. A loop of unknown length keeps everything: it may not run at all. Of a fused program a group that writes the same
array in each step goes too, broadcasts and iotas with it: a mask of indices that a product reads is made once.
"""

from __future__ import annotations

from ..core.ir import Atom, Eqn, Jaxpr, Var, map_subjaxprs
from .fusion import fusion

__all__ = ["hoist_groups", "hoist_invariants"]

_STAY = frozenset(["broadcast_in_dim", "optimization_barrier", "pure_callback"])


def hoist_invariants(jaxpr: Jaxpr) -> Jaxpr:
    """The same program with the invariants of its scans before them."""
    if not any(_invariants(e)[0] for e in jaxpr.eqns if e.primitive.name == "scan"):
        return jaxpr
    eqns: list[Eqn] = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name != "scan" or not _invariants(eqn)[0]:
            eqns.append(eqn)
            continue
        invariant, exported, body = _invariants(eqn)
        n = eqn.params["num_consts"]
        scope: dict[Var, Atom] = dict(zip(eqn.params["jaxpr"].invars, eqn.inputs[:n]))
        for inner in invariant:
            inputs = [scope[a] if isinstance(a, Var) else a for a in inner.inputs]
            outputs = [Var(v.aval) for v in inner.outputs]
            scope.update(zip(inner.outputs, outputs))
            eqns.append(inner.replace(inputs=inputs, outputs=outputs))
        inputs = [*eqn.inputs[:n], *(scope[v] for v in exported), *eqn.inputs[n:]]
        params = eqn.params | {"jaxpr": body, "num_consts": n + len(exported)}
        eqns.append(eqn.replace(inputs=inputs, params=params))
    return Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)


def hoist_groups(jaxpr: Jaxpr) -> Jaxpr:
    """The same of a fused program, and of the bodies in it."""
    if not any(e.primitive.control for e in jaxpr.eqns):
        return jaxpr
    eqns = [e.replace(params=map_subjaxprs(hoist_groups, e.params)) if e.primitive.control else e for e in jaxpr.eqns]
    return hoist_invariants(Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.constvars, jaxpr.consts, jaxpr.name))


def _invariants(scan: Eqn) -> tuple[list[Eqn], list[Var], Jaxpr]:
    """The invariant equations of a scan's body, those of their results that the rest needs, and the rest."""
    body: Jaxpr = scan.params["jaxpr"]
    n: int = scan.params["num_consts"]
    if not scan.params["length"]:
        return [], [], body
    key = ("invariants", n)
    found: tuple[list[Eqn], list[Var], Jaxpr] | None = body.memo.get(key)
    if found is None:
        fixed = set(body.invars[:n])
        invariant: list[Eqn] = []
        rest: list[Eqn] = []
        for eqn in body.eqns:
            operands = [a for a in eqn.inputs if isinstance(a, Var)]
            stays = eqn.primitive.control or eqn.primitive.effect or eqn.primitive.name in _STAY
            if (operands or eqn.primitive is fusion) and not stays and fixed.issuperset(operands):
                invariant.append(eqn)
                fixed.update(eqn.outputs)
            else:
                rest.append(eqn)
        used = {a for e in rest for a in e.inputs if isinstance(a, Var)}
        used.update(a for a in body.outs if isinstance(a, Var))
        exported = [v for e in invariant for v in e.outputs if v in used]
        lean = Jaxpr([*body.invars[:n], *exported, *body.invars[n:]], rest, body.outs, name=body.name)
        found = body.memo[key] = (invariant, exported, lean)
    return found
