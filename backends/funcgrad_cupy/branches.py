"""Branches that cost less than the question which of them to take: both are computed, and the result is selected.

The host has to read the index of a ``cond``, and until it has done so the GPU gets no more to do. Where the branches are
a few equations on arrays that are not large, they become equations of the program around, which fuse with their
neighbours. Only such equations are taken as raise nothing and have no effects, so that the branch that is not meant is
not seen; loops, products, and indices that are checked stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from funcgrad.compiler.fusion import MOVES, REDUCTIONS
from funcgrad.core.ir import Atom, Eqn, Jaxpr, Literal, Var, map_subjaxprs
from funcgrad.core.types import Aval
from funcgrad.primitives.elementwise import eq, select

__all__ = ["compute_branches"]

#: What a cheap branch may do besides elementwise equations.
_HARMLESS = {*MOVES, *REDUCTIONS, "concatenate", "convert", "copy", "pad", "reshape", "rev", "slice", "transpose"}
#: All branches together: equations, and elements that they compute. A guess, for a GPU to correct.
_MOST_EQUATIONS, _MOST_ELEMENTS = 32, 1 << 20


def compute_branches(jaxpr: Jaxpr) -> Jaxpr:
    """The program in which cheap branches are all computed, in loops and other branches too."""
    if not any(e.primitive.control for e in jaxpr.eqns):
        return jaxpr
    eqns: list[Eqn] = []
    env: dict[Var, Atom] = {}
    moved = lambda a: env.get(a, a) if isinstance(a, Var) else a
    for eqn in jaxpr.eqns:
        inputs = [moved(a) for a in eqn.inputs]
        if eqn.primitive.control:
            eqn = eqn.replace(params=map_subjaxprs(compute_branches, eqn.params))
        if eqn.primitive.name == "cond" and _are_cheap(eqn.params["branches"]):
            env.update(zip(eqn.outputs, _selected(eqns, eqn, inputs), strict=True))
        else:
            eqns.append(eqn.replace(inputs=inputs))
    return Jaxpr(jaxpr.invars, eqns, [moved(a) for a in jaxpr.outs], jaxpr.constvars, jaxpr.consts, jaxpr.name)


def _are_cheap(branches: Sequence[Jaxpr]) -> bool:
    eqns = [e for body in branches for e in body.eqns]
    selected = (len(branches) - 1) * sum(a.size for a in branches[0].out_avals)
    return (
        all(e.primitive.elementwise or e.primitive.name in _HARMLESS for e in eqns)
        and not any(body.constvars for body in branches)
        and len(eqns) <= _MOST_EQUATIONS
        and selected + sum(v.aval.size for e in eqns for v in e.outputs) <= _MOST_ELEMENTS
    )


def _selected(eqns: list[Eqn], cond: Eqn, inputs: Sequence[Atom]) -> list[Atom]:
    """Write all branches; the atoms that have the values of the one that ``inputs[0]`` names."""
    index, *operands = inputs
    made = [_written(eqns, cond, body, operands) for body in cond.params["branches"]]
    chosen = made[0]
    for i, found in enumerate(made[1:], 1):
        here = Var(Aval((), np.dtype(bool)))
        eqns.append(Eqn(eq, [index, Literal(np.int64(i), Aval((), np.dtype(np.int64)))], [here], {}, cond.source))
        outputs: list[Atom] = []
        for y, other in zip(found, chosen, strict=True):
            if y is other:
                outputs.append(y)
                continue
            out = Var(y.aval.strong())
            eqns.append(Eqn(select, [here, y, other], [out], {}, cond.source))
            outputs.append(out)
        chosen = outputs
    return chosen


def _written(eqns: list[Eqn], cond: Eqn, body: Jaxpr, operands: Sequence[Atom]) -> list[Atom]:
    scope: dict[Var, Atom] = dict(zip(body.invars, operands, strict=True))
    for eqn in body.eqns:
        outputs = [Var(v.aval) for v in eqn.outputs]
        inputs = [scope[a] if isinstance(a, Var) else a for a in eqn.inputs]
        eqns.append(Eqn(eqn.primitive, inputs, outputs, eqn.params, eqn.source or cond.source))
        scope.update(zip(eqn.outputs, outputs, strict=True))
    return [scope[a] if isinstance(a, Var) else a for a in body.outs]
