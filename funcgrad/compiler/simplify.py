"""The passes from jaxpr to jaxpr, in their order.

Each takes and gives a jaxpr of the same type and the same values, in time linear in the program, and keeps the user's
line of every equation. The bodies of control flow are simplified first, once each.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from ..core.ir import Eqn, Jaxpr, map_subjaxprs
from .dce import eliminate_dead_code
from .inline import Kernels, inline_calls
from .invariant import hoist_invariants
from .rewrite import rewrite
from .rules import Rule
from .stable import stabilise

__all__ = ["simplify"]


def simplify(
    jaxpr: Jaxpr,
    known: Container[str],
    rules: Mapping[str, Rule] | None = None,
    kernels: Kernels | None = None,
) -> Jaxpr:
    """A smaller program of the same meaning, in primitives that are ``known`` to a back end and control flow.

    ``rules`` are the back end's own, asked where the general ones have no answer. Calls for which ``kernels`` has
    something are left, as ``named_call``.
    """
    key = ("simplified", id(known), id(rules), kernels)
    found = jaxpr.memo.get(key)
    if found is None:
        found = inline_calls(jaxpr, known, kernels)
        found = hoist_invariants(_simplify_bodies(found, known, rules, kernels))
        found = eliminate_dead_code(rewrite(eliminate_dead_code(found), rules))
        found = stabilise(found, known)
        jaxpr.memo[key] = found
    return found


def _simplify_bodies(
    jaxpr: Jaxpr, known: Container[str], rules: Mapping[str, Rule] | None, kernels: Kernels | None
) -> Jaxpr:
    """The program with the bodies of its loops and branches simplified."""
    if not any(e.primitive.control for e in jaxpr.eqns):
        return jaxpr
    eqns: list[Eqn] = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.control:
            eqn = eqn.replace(params=map_subjaxprs(lambda body: simplify(body, known, rules, kernels), eqn.params))
        eqns.append(eqn)
    return Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)
