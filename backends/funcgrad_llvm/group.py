"""Fused groups: a jaxpr of elementwise operations and reductions over an iteration space becomes one loop nest.

Axes that lie one behind the other in every operand are made one. Then, where the last axis is reduced, or nothing is:

    for k in kept axes:                            # a row group: everything of a row is still in the cache
        for pass 0, 1, ...:                        # what needs the result of a reduction is in a later pass
            for r in reduced axes:                 # the last one by vectors, with vector accumulators
            kept values

and where the last axis is kept, its elements are the lanes, and the accumulators are a row in memory. A reduction adds
up in an order that depends on shapes alone. The last vector of an axis overlaps the one before it, so that no loop needs
a rest; what is seen twice is left out of sums.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from funcgrad.core.ir import Jaxpr

from .columns import Columns
from .ir import Writer, memory_type, register_type, typed
from .operations import elementwise
from .schedule import cheapest, schedules
from .sharing import pieces
from .tiles import Tiles
from .values import FULL, REDUCTIONS, Body, Layout, Node, identity

__all__ = ["Group"]

#: Vectors that are added up into one before their sum is added to others.
_BLOCK = 64


class Group(Columns, Tiles):
    """The function of a fused group: `void (ptr in ..., ptr out ..., ptr scratch)`, which a call runs so many `times`.

    `over`: from results to the operands that they are written over, as `overwritable` allows.
    `scratch` is how many bytes it needs for values between two passes. A group that is worth several threads has two
    more parameters, the range of the outermost axis that it is to do: there are `chunks` of `chunk_size`, the last one
    with the rest, up to `extent`.
    """

    def __init__(
        self,
        body: Jaxpr,
        space: Sequence[int],
        axes: Sequence[int],
        ins: Sequence[Layout],
        outs: Sequence[Layout],
        vector_bytes: int,
        threads: int = 1,
        over: Mapping[int, int] | None = None,
        times: int = 1,
    ) -> None:
        parameters = [f"ptr noalias nocapture readonly %in{i}" for i in range(len(ins))]
        parameters += [f"ptr noalias nocapture %out{i}" for i in range(len(outs))]
        self.writer = Writer([*parameters, "ptr noalias nocapture %scratch"])
        self.body = Body(body, space, axes, ins, outs, over or {})
        self.overwrites = bool(over)
        self.order, self.streams, self.reduces = self.body.order, self.body.streams, self.body.reduces
        self._collapse()
        plan = self.schedule = cheapest(
            schedules(self.sizes, self.reduced, self.streams, self.order, self.reduces, vector_bytes), times
        )
        self.outer, self.rest, self.inner, self.lanes = plan.outer, plan.rest, plan.inner, plan.lanes
        if not plan.unrolled:
            self.body.find_spills(self.sizes, [*plan.rest, *([] if plan.inner is None else [plan.inner])])
        self._split(threads)
        self._write()
        self.writer.do("ret void")

    @property
    def extent(self) -> int:
        """The size of the axis that is cut into chunks."""
        return self.sizes[self.split_axis]

    @property
    def scratch(self) -> int:
        """The bytes that a chunk needs for itself."""
        return self.body.scratch

    # The loops --------------------------------------------------------------------------------------------------------

    def _collapse(self) -> None:
        """Drop axes of size 1, and make one axis of two that lie one behind the other in every stream."""
        sizes = list(self.body.space)
        reduced = [i in self.body.axes for i in range(len(sizes))]
        order = [i for i in range(len(sizes)) if sizes[i] != 1]
        groups: list[list[int]] = []
        for i in order:
            if groups:
                last = groups[-1][-1]
                if reduced[last] == reduced[i] and all(
                    s.strides[last] == s.strides[i] * sizes[i] for s in self.streams
                ):
                    groups[-1].append(i)
                    continue
            groups.append([i])
        self.sizes = [math.prod(sizes[i] for i in g) for g in groups]
        for s in self.streams:
            s.strides = tuple(s.strides[g[-1]] for g in groups)
        self.reduced = [reduced[g[0]] for g in groups]

    def _split(self, threads: int) -> None:
        """The outermost axis is cut into chunks if the work is worth waking threads for.

        No chunk needs what another one computes: which threads there are makes no difference to the results.
        """
        self.chunks, self.split_axis = 1, None
        plan = self.schedule
        rows = plan.form == "columns"  # which are scratch memory
        wanted = pieces(threads, plan.cycles, self.scratch or rows)
        if wanted == 1:
            return
        loops = [*self.outer, *([] if self.reduces else self.rest)]
        if not loops and (plan.form != "rows" or not self.reduces) and self.inner is not None:
            loops = [self.inner]
        if not loops:
            return
        axis = loops[0]
        unit = self.lanes * plan.tiles if axis == self.inner else 1
        size = -(-self.sizes[axis] // (wanted * unit)) * unit
        # The last chunk takes the rest, which may be less than a vector.
        chunks = self.sizes[axis] // size + (self.sizes[axis] % size >= max(unit, size // 2))
        if chunks > 1:
            self.split_axis, self.chunk_size, self.chunks = axis, size, chunks
            self.writer.parameters += ["i64 %begin", "i64 %end"]

    def _write(self) -> None:
        self.scopes = [{}]
        self.rows_are_made = False
        levels = 1 + max((n.level for n in self.order), default=0)
        if self.schedule.form == "columns":
            self._make_rows()
        for s in self.streams:
            if s.place is not None:
                s.pointer = self.writer.emit(f"getelementptr i8, ptr %scratch, i64 {s.place}")
        pointers = {id(s): s.pointer for s in self.streams}
        with ExitStack() as nest:
            for axis in self.outer:
                pointers = self._enter(nest, axis, pointers)
            self.scopes.append({})
            if self.schedule.form == "tiles":
                tiles = self._open_tiles(nest, pointers)
            for level in range(levels):
                if self.schedule.form == "tiles":
                    self._tile_pass(level, tiles)
                elif self.schedule.form == "columns":
                    self._column_pass(level, pointers)
                else:
                    self._row_pass(level, pointers)
            self.scopes.pop()

    def _row_pass(self, level: int, pointers: dict[int, str]) -> None:
        w = self.writer
        self.pointers, self.level = pointers, level
        reductions, full, kept = self._targets(level)
        scope = self.scopes[-1]
        for node in kept:
            value = self._value(node, 1)
            for s in node.stored:
                w.store(value, pointers[id(s)], node.dtype)
        if not reductions and not full:
            return
        if self.inner is None:
            # One element a row.
            self.scopes.append({})
            for node in reductions:
                scope[id(node), 1] = self._value(node.operands[0], 1)
            for node, value in [(n, self._value(n, 1)) for n in full]:
                for s in node.stored:
                    w.store(value, pointers[id(s)], node.dtype)
            self.scopes.pop()
            return
        unroll = self._unroll(level, full)
        for node in reductions:
            type = typed(memory_type(node.dtype), self.lanes)
            node.accumulators = [w.alloca(type) for _ in range(unroll)]
            start = w.spread(identity(node.name, node.dtype), node.dtype, self.lanes)
            for a in node.accumulators:
                w.store(start, a, node.dtype, self.lanes)
        self._hoist([*reductions, *full])
        size = _BLOCK * self.lanes * unroll
        blocked = bool(reductions) and self.sizes[self.inner] > 2 * size
        totals = [w.alloca(typed(memory_type(n.dtype), self.lanes)) for n in reductions] if blocked else []
        for node, total in zip(reductions, totals):
            w.store(w.spread(identity(node.name, node.dtype), node.dtype, self.lanes), total, node.dtype, self.lanes)
        with ExitStack() as nest:
            for axis in self.rest:
                pointers = self._enter(nest, axis, pointers)
            block = None
            if blocked:
                first = nest.enter_context(w.loop(self.sizes[self.inner], size))
                end = w.emit(f"add nuw nsw i64 {first}, {size}")
                block = first, w.intrinsic("llvm.smin.i64", "i64", ("i64", end), ("i64", str(self.sizes[self.inner])))
                nest.callback(self._flush, reductions, totals)
            for u, (index, mask) in enumerate(self._vectors(nest, unroll, block)):
                self.pointers = self._advanced(self.inner, index, pointers)
                self.scopes.append({})
                for node in reductions:
                    value = self._value(node.operands[0], self.lanes)
                    total = w.load(node.accumulators[u], node.dtype, self.lanes)
                    total = self._combined(node, total, value, mask)
                    w.store(total, node.accumulators[u], node.dtype, self.lanes)
                self._store(full, mask)
                self.scopes.pop()
        for i, node in enumerate(reductions):
            if blocked:
                node.accumulators = [totals[i]]
            scope[id(node), 1] = self._sum_of_lanes(node)

    def _flush(self, reductions: list[Node], totals: list[str]) -> None:
        """At the end of a block its accumulators are added to those of all blocks, and begin anew.

        A number that is added to a sum loses what is below the last digit of the sum, so partial sums are kept small.
        """
        w = self.writer
        for node, total in zip(reductions, totals):
            neutral = w.spread(identity(node.name, node.dtype), node.dtype, self.lanes)
            for place in node.accumulators:
                parts = [w.load(p, node.dtype, self.lanes) for p in (total, place)]
                w.store(
                    elementwise(w, REDUCTIONS[node.name], parts, node.dtype, self.lanes, {}),
                    total,
                    node.dtype,
                    self.lanes,
                )
                w.store(neutral, place, node.dtype, self.lanes)

    def _unroll(self, level: int, full: list[Node]) -> int:
        """Several accumulators for a pass that does little else than adding up: an addition takes 4 cycles."""
        vectors = self.sizes[self.inner] // self.lanes
        if full or vectors < 4:
            return 1
        size = sum(1 for n in self.order if n.level <= level and n.kind == FULL)
        return 4 if size <= 4 and vectors >= 8 else 2 if size <= 16 else 1

    def _sum_of_lanes(self, node: Node) -> str:
        """All accumulators of a row combined, in a tree."""
        w, operation = self.writer, REDUCTIONS[node.name]
        parts = [w.load(a, node.dtype, self.lanes) for a in node.accumulators]
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2])
            parts = [elementwise(w, operation, [a, b], node.dtype, self.lanes, {}) for a, b in pairs]
        (value,), lanes, scalar = parts, self.lanes, register_type(node.dtype)
        while lanes > 1:
            half = lanes // 2
            low = w.shuffle(value, "poison", scalar, lanes, range(half))
            high = w.shuffle(value, "poison", scalar, lanes, range(half, lanes))
            if half == 1:
                low, high = (w.emit(f"extractelement <1 x {scalar}> {x}, i64 0") for x in (low, high))
            value, lanes = elementwise(w, operation, [low, high], node.dtype, half, {}), half
        return value
