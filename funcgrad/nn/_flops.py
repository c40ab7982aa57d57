"""Counting the floating-point operations of matrix products and convolutions in a jaxpr, by the input that they belong to.

What a product counts is said in :mod:`funcgrad.compiler.cost`. What is elementwise does not count. A loop counts as often as
it runs, a conditional as its most costly branch, a while loop once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

from funcgrad.compiler.cost import PRODUCTS, equation_cost, trip_count
from funcgrad.core.ir import Eqn, Jaxpr, Var, subjaxprs

__all__ = ["flops"]

#: What leaves a parameter the parameter it was.
_SAME = frozenset(["broadcast_in_dim", "convert", "reshape", "rev", "transpose"])


def flops(jaxpr: Jaxpr, owners: Mapping[Var, Hashable]) -> Counter[Hashable]:
    """The operations of each owner; those of products in which no input of ``owners`` takes part belong to None."""
    total: Counter[Hashable] = Counter()
    known: dict[Any, Hashable] = dict(owners)
    for e in jaxpr.eqns:
        held = [known[x] for x in e.inputs if isinstance(x, Var) and x in known]
        if e.primitive.name in _SAME and held:
            known[e.outputs[0]] = held[0]
        count = equation_cost(e).flops if e.primitive.name in PRODUCTS else 0
        if count:
            total[held[0] if held else None] += count
        inner = [_inside(e, body, known) for body in subjaxprs(e.params)]
        if inner:
            most = max(inner, key=lambda c: c.total())
            times = trip_count(e)
            total.update({owner: n if times is None else times * n for owner, n in most.items()})
    return total


def _inside(e: Eqn, body: Jaxpr, known: Mapping[Any, Hashable]) -> Counter[Hashable]:
    # What an equation passes to a jaxpr that it holds are its last inputs; those before decide or belong to another.
    passed = zip(body.invars[::-1], e.inputs[::-1])
    return flops(body, {v: known[x] for v, x in passed if isinstance(x, Var) and x in known})
