"""Who shares memory with whom, which buffers may be overwritten, and what needs no buffer of its own.

A *root* is a buffer that variables share: a view has the root of its operand. A root is owned if the program made it
and nothing outside can see it; only an owned root is overwritten, once all variables that share it are dead, and an
output that shares a root with something else is copied.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..core.ir import Eqn, Jaxpr, Var
from ..core.types import Aval
from .fusion import fusion

if TYPE_CHECKING:
    from .backend import SourceBackend

__all__ = ["LARGE_BYTES", "Buffers", "Root", "find", "nbytes"]

#: From this size on buffers are reused and deleted: below it, a fresh allocation costs less than the bookkeeping.
LARGE_BYTES = 16384
#: What depends on literals only is kept in memory between calls up to this size.
HOIST_BYTES = 1 << 20
#: What is computed ahead, besides elementwise operations: none of it can raise, as an index in a branch that is not
#: taken could, or a singular matrix.
AHEAD = frozenset([
    "broadcast_in_dim", "concatenate", "cumprod", "cumsum", "dot_general", "iota", "pad", "reduce_and", "reduce_or",
    "reduce_prod", "reduce_sum", "reshape", "rev", "slice", "sort", "transpose",
])  # fmt: skip


class Root:
    """A buffer, with the variables that share it."""

    __slots__ = ("last", "names", "owned", "parent")

    def __init__(self, owned: bool, last: int = -1) -> None:
        self.owned = owned
        self.last = last
        self.names: list[str] = []
        self.parent: Root | None = None


def find(root: Root) -> Root:
    while root.parent is not None:
        if root.parent.parent is not None:
            root.parent = root.parent.parent
        root = root.parent
    return root


def merge(roots: Iterable[Root]) -> Root:
    first: Root | None = None
    for root in roots:
        root = find(root)
        if first is None:
            first = root
        elif root is not first:
            root.parent = first
            first.owned &= root.owned
            first.last = max(first.last, root.last)
            first.names += root.names
    return first or Root(False)


def nbytes(aval: Aval) -> int:
    """The size of an array in memory."""
    return aval.size * aval.dtype.itemsize


class Buffers:
    """What is known of the memory of a program before it is written.

    ``outs``: the variables that are results. ``uses``: for each variable the equations that read it. ``hoisted``: what depends on literals only, and is computed
    once, ahead of the function. ``lazy``: the broadcasts whose every use is elementwise beside an operand of full shape,
    so that the operation broadcasts by itself; with their operand, and the shape it is to have (1 on the axes that are
    repeated). ``roots``: the buffer of each variable, with the last equation that reads it.

    ``donated`` are the inputs that may be overwritten. ``results`` says of each result of a control equation whether it
    is a buffer of its own; a variable, if it may also be that operand.
    """

    def __init__(
        self,
        jaxpr: Jaxpr,
        backend: SourceBackend,
        donated: frozenset[int],
        results: Callable[[Eqn], Sequence[bool | Var]],
    ) -> None:
        self.jaxpr = jaxpr
        self.backend = backend
        self.outs = {a for a in jaxpr.outs if isinstance(a, Var)}
        self.uses: dict[Var, list[int]] = {}
        self.hoisted: set[Var] = set()
        self.lazy: dict[Var, tuple[Var, tuple[int, ...]]] = {}
        self.roots: dict[Var, Root] = {}
        self._find_hoisted()
        self._find_lazy()
        self._find_roots(donated, results)

    def root(self, var: Var) -> Root:
        """The buffer of a variable."""
        return find(self.roots[var])

    def _find_hoisted(self) -> None:
        jaxpr, uses, hoisted = self.jaxpr, self.uses, self.hoisted
        for index, eqn in enumerate(jaxpr.eqns):
            ahead = eqn.primitive.elementwise or eqn.primitive.name in AHEAD
            for a in eqn.inputs:
                if isinstance(a, Var):
                    uses.setdefault(a, []).append(index)
                    ahead = ahead and a in hoisted
            if ahead and sum(nbytes(v.aval) for v in eqn.outputs) <= HOIST_BYTES:
                hoisted.update(eqn.outputs)

    def _find_lazy(self) -> None:
        eqns, lazy = self.jaxpr.eqns, self.lazy
        for eqn in eqns:
            if eqn.primitive.name == "broadcast_in_dim" and isinstance(eqn.inputs[0], Var):
                x, result = eqn.inputs[0], eqn.outputs[0]
                if result in self.outs or result in self.hoisted or x in lazy:
                    continue
                if all(eqns[i].primitive.elementwise for i in self.uses.get(result, ())):
                    aligned = [1] * result.aval.ndim
                    for n, d in zip(x.aval.shape, eqn.params["dims"]):
                        aligned[d] = n
                    lazy[result] = (x, tuple(aligned))
        for eqn in eqns if lazy else ():
            if not any(a in lazy for a in eqn.inputs if isinstance(a, Var)):
                continue
            shape = eqn.outputs[0].aval.shape
            while True:
                views = [a for a in eqn.inputs if isinstance(a, Var) and a in lazy]
                # As it will be written: leading axes of size 1 are left out, so one operand must have them.
                shapes = [
                    _without_leading(lazy[a][1]) if isinstance(a, Var) and a in lazy else a.aval.shape
                    for a in eqn.inputs
                ]
                if not views or np.broadcast_shapes(*shapes) == shape:
                    break
                del lazy[views[0]]

    def _find_roots(self, donated: frozenset[int], results: Callable[[Eqn], Sequence[bool | Var]]) -> None:
        jaxpr, roots = self.jaxpr, self.roots
        for v in [*jaxpr.constvars, *self.hoisted]:
            roots[v] = Root(False)
        for i, v in enumerate(jaxpr.invars):
            roots[v] = Root(i in donated)
        for index, eqn in enumerate(jaxpr.eqns):
            operands = [a for a in eqn.inputs if isinstance(a, Var)]
            for a in operands:
                find(roots[a]).last = index
            if eqn.outputs and eqn.outputs[0] in self.hoisted:
                continue
            if eqn.primitive.control:
                for v, own in zip(eqn.outputs, results(eqn)):
                    if isinstance(own, Var):
                        roots[v] = merge([roots[own]])
                    elif own:
                        roots[v] = Root(True)
                    else:
                        roots[v] = merge([Root(False), *(roots[a] for a in operands)])
            elif (
                eqn.primitive is not fusion
                and eqn.outputs
                and (eqn.outputs[0] in self.lazy or self.backend.may_alias(eqn))
            ):
                # A view is one of the first operand; a choice, or a tuple, may be any.
                every = eqn.primitive.elementwise or eqn.primitive.multiple
                shared = [roots[a] for a in (operands if every else operands[:1])]
                shared = [Root(False)] if eqn.primitive.name == "pure_callback" else shared
                for v in eqn.outputs:
                    roots[v] = merge(shared)
            else:
                for v in eqn.outputs:
                    roots[v] = Root(True)
        for out in self.outs:
            find(roots[out]).last = len(jaxpr.eqns)


def _without_leading(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without its leading axes of size 1."""
    return tuple(itertools.dropwhile(lambda n: n == 1, shape))
