"""Counting the floating-point operations of matrix products and convolutions in a jaxpr, by the input that they belong to.

A product of (m, k) and (k, n) counts 2 m n k: as many multiplications as additions. What is elementwise does not count. A
loop counts as often as it runs, a conditional as its most costly branch, a while loop once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

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
        count = _own(e)
        if count:
            total[held[0] if held else None] += count
        inner = [_inside(e, body, known) for body in subjaxprs(e.params)]
        if inner:
            most = max(inner, key=lambda c: c.total())
            times = e.params.get("length", 1) if e.primitive.name == "scan" else 1
            total.update({owner: times * n for owner, n in most.items()})
    return total


def _own(e: Eqn) -> int:
    if e.primitive.name == "dot_general":
        (contracted, _), _ = e.params["dimension_numbers"]
        return 2 * e.outputs[0].aval.size * math.prod(e.inputs[0].aval.shape[axis] for axis in contracted)
    if e.primitive.name == "conv_general_dilated":
        return 2 * e.outputs[0].aval.size * math.prod(e.inputs[1].aval.shape[1:])
    return 0


def _inside(e: Eqn, body: Jaxpr, known: Mapping[Any, Hashable]) -> Counter[Hashable]:
    # What an equation passes to a jaxpr that it holds are its last inputs; those before decide or belong to another.
    passed = zip(body.invars[::-1], e.inputs[::-1])
    return flops(body, {v: known[x] for v, x in passed if isinstance(x, Var) and x in known})
