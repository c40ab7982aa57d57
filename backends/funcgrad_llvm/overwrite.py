"""Which results of a group may be written over which of its operands.

A group reads an element of an operand in the turn of its loops in which it writes that element of a result, and first it
computes all of a turn, then it stores. So a result may take the memory of an operand of its shape, if no later pass over
the elements reads the operand again.
"""

from __future__ import annotations

from collections.abc import Sequence

from funcgrad.core.ir import Jaxpr, Var

from .values import REDUCTIONS

__all__ = ["overwritable"]


def overwritable(body: Jaxpr, space: Sequence[int]) -> list[tuple[int, int]]:
    """The pairs of an input and an output of a body such that the output may be written over the input."""
    level: dict[Var, int] = {}
    last = 0
    for eqn in body.eqns:
        # As values.Body counts: a reduction is of the level above what it reduces.
        highest = max((level.get(a, 0) for a in eqn.inputs if isinstance(a, Var)), default=0)
        reduces = eqn.primitive.name in REDUCTIONS and bool(eqn.params["axes"])
        if reduces or eqn.outputs[0].aval.shape == tuple(space):
            last = max(last, highest)
        level.update(dict.fromkeys(eqn.outputs, highest + reduces))

    def is_full(atom: object) -> bool:
        return isinstance(atom, Var) and atom.aval.shape == tuple(space)

    return [
        (i, j)
        for j, y in enumerate(body.outs)
        if is_full(y) and level.get(y, 0) == last
        for i, x in enumerate(body.invars)
        if is_full(x) and x.aval.dtype.itemsize == y.aval.dtype.itemsize
    ]
