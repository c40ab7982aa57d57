"""How a group of equations is cut into blocks, so that what it computes on the way stays in the cache.

The axes of the iteration space are merged as far as all operands treat them alike; then one axis is cut:

- one that is not reduced, where the others fit a block: each block is a small program of its own;
- else the first, and every reduction leaves a part for each block; the parts are combined behind the loop.
"""

from __future__ import annotations

import math

from funcgrad.compiler.fusion import MOVES, kept_axes
from funcgrad.core.ir import Atom, Eqn, Jaxpr

__all__ = ["Plan", "is_blocked"]

#: Below this size of an array nothing is gained; below the other one, only where many operations follow each other:
#: a short chain has one temporary array, which the caches of a processor hold.
MIN_BYTES = 1 << 17
LARGE_BYTES = 1 << 24
MANY = 5
#: What the arrays of a block may take of the cache together, and the number of elements of one.
CACHE_BYTES = 1 << 21
BLOCK_SIZES = (1 << 12, 1 << 17)
#: A slice of an array along an inner axis is read in runs of this length at least.
MIN_RUN = 256


class Plan:
    """How a group is cut. ``sizes``: the merged axes, ``reduced``: whether each is reduced, ``axis``: the one that is cut
    into blocks of ``step``, which is 0 if there is no good one.
    """

    def __init__(self, eqn: Eqn) -> None:
        self.body: Jaxpr = eqn.params["jaxpr"]
        self.space: tuple[int, ...] = eqn.params["space"]
        self.axes: tuple[int, ...] = eqn.params["axes"]
        self.kept = kept_axes(self.space, self.axes)
        self.merged = self._merged()
        self.sizes = [math.prod(self.space[d] for d in axes) for axes in self.merged]
        self.reduced = [axes[0] in self.axes for axes in self.merged]
        self.axis, self.step = self._cut()

    def is_full(self, atom: Atom) -> bool:
        return atom.aval.shape == self.space

    def _merged(self) -> list[list[int]]:
        """The axes of the space in runs that every operand treats alike; axes of size 1 are left out."""
        patterns: list[list[bool]] = [[d in self.axes] for d in range(len(self.space))]
        for eqn in self.body.eqns:
            if eqn.primitive.name in MOVES:
                present = self.present(eqn)
                for d, pattern in enumerate(patterns):
                    pattern.append(d in present)
        merged: list[list[int]] = []
        for d, n in enumerate(self.space):
            if n == 1:
                continue
            if merged and patterns[merged[-1][-1]] == patterns[d]:
                merged[-1].append(d)
            else:
                merged.append([d])
        return merged

    def present(self, move: Eqn) -> list[int]:
        """The axes of the space along which what a broadcast, or an iota, reads is not repeated."""
        target = range(len(self.space)) if self.is_full(move.outputs[0]) else self.kept
        if move.primitive.name == "iota":
            return [target[move.params["axis"]]]
        shape = move.inputs[0].aval.shape
        axes = [target[d] for d in move.params["dims"]]
        return [d for d, n in zip(axes, shape) if n == self.space[d]]

    def _cut(self) -> tuple[int, int]:
        """The axis that is cut, and the length of a block; the length is 0 if there is no good one."""
        full = [e for e in self.body.eqns if self.is_full(e.outputs[0]) and e.primitive.name not in MOVES]
        total = math.prod(self.sizes)
        width = max((e.outputs[0].aval.dtype.itemsize for e in full), default=1)
        operations = sum(e.primitive.name not in MOVES for e in self.body.eqns)
        least = MIN_BYTES if len(full) >= MANY else LARGE_BYTES
        if total * width < least or operations < 2 or not full or not self.sizes or not self._can_be_written():
            return 0, 0
        arrays = 4 + len([a for a in (*self.body.invars, *self.body.outs) if self.is_full(a)])
        block = min(max(CACHE_BYTES // (width * arrays), BLOCK_SIZES[0]), BLOCK_SIZES[1])
        order = sorted(range(len(self.sizes)), key=lambda k: (k != 0, -self.sizes[k]))
        for k in order:
            others = total // self.sizes[k]
            step = _step(self.sizes[k], block // others or 1)
            run = step * math.prod(self.sizes[k + 1 :])
            if not self.reduced[k] and others <= 2 * block and run >= min(MIN_RUN, total):
                return k, step
        others = total // self.sizes[0]
        step = _step(self.sizes[0], max(block // others, 8))
        return (0, step) if self.reduced[0] and step * others <= 4 * block else (0, 0)

    def _can_be_written(self) -> bool:
        """Whether all is real, and no operation on kept values has operands that are repeated throughout."""
        moved = {e.outputs[0] for e in self.body.eqns if e.primitive.name in MOVES}
        for e in self.body.eqns:
            if any(a.aval.dtype.kind == "c" for a in (*e.inputs, *e.outputs)):
                return False
            shape = e.outputs[0].aval.shape
            kept = shape and shape != self.space and e.primitive.elementwise
            if kept and not any(a.aval.shape == shape and a not in moved for a in e.inputs):
                return False
            if e.primitive.name == "iota" and e.params["dtype"].kind not in "iuf":
                return False
        return True

    @property
    def kept_sizes(self) -> list[int]:
        """The merged axes that are not reduced."""
        return [n for n, reduced in zip(self.sizes, self.reduced) if not reduced]

    def aligned(self, move: Eqn) -> tuple[list[int], bool]:
        """The shape that what a move reads has beside the merged axes, and whether it is cut."""
        present = self.present(move)
        full = self.is_full(move.outputs[0])
        axes = [k for k in range(len(self.sizes)) if full or not self.reduced[k]]
        shape = [self.sizes[k] if self.merged[k][0] in present else 1 for k in axes]
        return shape, self.axis in axes and self.merged[self.axis][0] in present


def _step(size: int, wanted: int) -> int:
    """A length of blocks near the one wanted, such that blocks are alike if that can be."""
    if wanted >= size:
        return size
    return next((n for n in range(wanted, wanted // 2, -1) if size % n == 0), wanted)


def is_blocked(eqn: Eqn) -> bool:
    """Whether a group gains from being a loop over blocks."""
    return Plan(eqn).step > 0
