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

import numpy as np

from funcgrad.core.ir import Jaxpr

from .elements import Elements
from .ir import Writer, memory_type, register_type, typed
from .math import FUNCTIONS
from .operations import Operation, elementwise
from .values import CHEAP, FULL, KEPT, REDUCTIONS, SCALAR, Body, Layout, Node, Stream, identity

__all__ = ["Group"]

#: From this many cycles on a group is worth several threads: 30 microseconds.
_WORTH_THREADS = 80_000
#: Vectors that are added up into one before their sum is added to others.
_BLOCK = 64


def _cycles(node: Node) -> int:
    """About what a vector of a value takes the processor."""
    return 1 if node.name in CHEAP or node.is_reduction else 12 if node.name in FUNCTIONS else 4


class Group(Elements):
    """The function of a fused group: `void (ptr in ..., ptr out ..., ptr scratch)`.

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
    ) -> None:
        parameters = [f"ptr noalias nocapture readonly %in{i}" for i in range(len(ins))]
        parameters += [f"ptr noalias nocapture %out{i}" for i in range(len(outs))]
        self.writer = Writer([*parameters, "ptr noalias nocapture %scratch"])
        self.body = Body(body, space, axes, ins, outs, over or {})
        self.overwrites = bool(over)
        self.order, self.streams, self.reduces = self.body.order, self.body.streams, self.body.reduces
        self._collapse()
        self.lanes = self._width(vector_bytes)
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
        kept = [k for k, g in enumerate(groups) if not reduced[g[0]]]
        rest = [k for k, g in enumerate(groups) if reduced[g[0]]]
        if not self.reduces:
            kept, rest = [], kept
        self.by_columns = bool(self.reduces and kept and kept[-1] == len(groups) - 1)
        self.inner = len(groups) - 1 if groups else None
        self.outer = kept[:-1] if self.by_columns else kept
        self.rest = rest if self.by_columns else rest[:-1]
        if not self.by_columns and rest:
            self.inner = rest[-1]
        elif not self.by_columns:
            self.inner = None

    def _width(self, vector_bytes: int) -> int:
        """As many lanes as the widest values that are computed fill a vector."""
        if self.inner is None:
            return 1
        dtypes = {n.dtype for n in self.order if n.kind == FULL} | {s.dtype for s in self.streams if not s.is_index}
        floats = {d for d in dtypes if d.kind == "f"}
        widest = max((d.itemsize for d in floats or dtypes), default=4)
        lanes = max(vector_bytes // max(widest, 4), 1)
        return min(lanes, 1 << (self.sizes[self.inner].bit_length() - 1))

    def _split(self, threads: int) -> None:
        """The outermost axis is cut into chunks, one a thread, if the work is worth waking threads for.

        No chunk needs what another one computes: which threads there are makes no difference to the results.
        """
        self.chunks, self.split_axis = 1, None
        cost = sum(map(_cycles, self.order)) + 2 * len(self.streams)
        self.cycles = cost * math.prod(self.sizes) // self.lanes
        if threads == 1 or self.cycles < _WORTH_THREADS:
            return
        loops = [*self.outer, *([] if self.reduces else self.rest)]
        if not loops and (self.by_columns or not self.reduces) and self.inner is not None:
            loops = [self.inner]
        if not loops:
            return
        axis = loops[0]
        unit = self.lanes if axis == self.inner else 1
        size = -(-self.sizes[axis] // (threads * unit)) * unit
        # The last chunk takes the rest, which may be less than a vector.
        chunks = self.sizes[axis] // size + (self.sizes[axis] % size >= max(unit, size // 2))
        if chunks > 1:
            self.split_axis, self.chunk_size, self.chunks = axis, size, chunks
            self.writer.parameters += ["i64 %begin", "i64 %end"]

    def _write(self) -> None:
        self.scopes = [{}]
        self.rows_are_made = False
        levels = 1 + max((n.level for n in self.order), default=0)
        if self.by_columns:
            self._rows()
        for s in self.streams:
            if s.place is not None:
                s.pointer = self.writer.emit(f"getelementptr i8, ptr %scratch, i64 {s.place}")
        pointers = {id(s): s.pointer for s in self.streams}
        with ExitStack() as nest:
            for axis in self.outer:
                pointers = self._enter(nest, axis, pointers)
            self.scopes.append({})
            for level in range(levels):
                if self.by_columns:
                    self._column_pass(level, pointers)
                else:
                    self._row_pass(level, pointers)
            self.scopes.pop()

    def _enter(self, nest: ExitStack, axis: int, pointers: dict[int, str]) -> dict[int, str]:
        """Open the loop over an axis, and step all streams along it."""
        count, begin = ("%end", "%begin") if axis == self.split_axis else (self.sizes[axis], 0)
        index = nest.enter_context(self.writer.loop(count, begin=begin))
        return self._advanced(axis, index, pointers)

    def _advanced(self, axis: int, index: str, pointers: dict[int, str]) -> dict[int, str]:
        w, moved = self.writer, {}
        for s in self.streams:
            p, stride = pointers[id(s)], s.strides[axis]
            if s.is_index and stride:
                step = index if stride == 1 else w.emit(f"mul nsw i64 {index}, {stride}")
                p = step if p == "0" else w.emit(f"add nsw i64 {p}, {step}")
            elif not s.is_index:
                p = w.offset(p, s.dtype, index, stride)
            moved[id(s)] = p
        return moved

    def _vectors(
        self, nest: ExitStack, unroll: int, block: tuple[str, str] | None = None
    ) -> list[tuple[str, str | None]]:
        """Open the loop over the inner axis, or a block of it: the first elements of its vectors, and the mask of lanes
        that were not seen before."""
        w, n, lanes = self.writer, self.sizes[self.inner], self.lanes
        split = self.split_axis == self.inner
        begin, count = ("%begin", "%end") if split else block or (0, n)
        index = nest.enter_context(w.loop(count, lanes * unroll, begin))
        last = w.emit(f"sub i64 %end, {lanes}") if split else str(n - lanes)
        vectors: list[tuple[str, str | None]] = []
        for u in range(unroll):
            wanted = index if not u else w.emit(f"add nuw nsw i64 {index}, {u * lanes}")
            if n % (lanes * unroll) == 0:
                vectors.append((wanted, None))
                continue
            here = w.intrinsic("llvm.smin.i64", "i64", ("i64", wanted), ("i64", last))
            again = w.emit(f"sub i64 {wanted}, {here}")
            type = typed("i64", lanes)
            numbers = "0" if lanes == 1 else f"<{', '.join(f'i64 {k}' for k in range(lanes))}>"
            seen = w.spread(again, np.dtype(np.int64), lanes)
            vectors.append((here, w.emit(f"icmp sge {type} {numbers}, {seen}")))
        return vectors

    def _targets(self, level: int) -> tuple[list[Node], list[Node], list[Node]]:
        """Of a pass: the reductions that it makes, the full values that it stores, and kept values that it stores."""
        reductions = [n for n in self.order if n.is_reduction and n.level == level + 1]
        full = [n for n in self.order if n.kind == FULL and n.stored and n.level == level]
        kept = [n for n in self.order if n.kind != FULL and n.stored and n.level == level]
        return reductions, full, kept

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

    def _store(self, nodes: list[Node], mask: str | None) -> None:
        """Store vectors of full values, when all of them are computed: a result may lie where an operand does. Then what
        was seen before is computed from new values in place of old ones, and is left out."""
        for node, value in [(n, self._value(n, self.lanes)) for n in nodes]:
            for s in node.stored:
                self._put(value, s, mask if self.overwrites else None)

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

    def _hoist(self, nodes: Sequence[Node]) -> None:
        """Compute scalars and kept values outside of the loops, once a row."""
        todo, seen = list(nodes), set()
        while todo:
            node = todo.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            here = node.kind == SCALAR or (node.kind == KEPT and not self.by_columns)
            if here and not (node.is_reduction and node.level > self.level):
                self._value(node, self.lanes)
                continue
            if node.stored and node.level < self.level:
                continue
            todo += node.operands

    def _combined(self, node: Node, total: str, value: str, mask: str | None) -> str:
        w, operation = self.writer, REDUCTIONS[node.name]
        if mask is not None and (self.overwrites or operation in ("add", "mul")):
            neutral = w.spread(identity(node.name, node.dtype), node.dtype, self.lanes)
            value = Operation(w, node.dtype, self.lanes, {}).select(mask, value, neutral)
        return elementwise(w, operation, [total, value], node.dtype, self.lanes, {})

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

    # The last axis is kept --------------------------------------------------------------------------------------------

    def _rows(self) -> None:
        """Memory for the accumulators, and for kept values that full ones need."""
        inner = self.inner
        for node in self.order:
            if node.kind != KEPT:
                continue
            used = any(node in n.operands and n.kind == FULL for n in self.order) or any(
                n.is_reduction and node in n.operands for n in self.order
            )
            direct = next(
                (s for s in node.stored if s.strides[inner] == 1 and not any(s.strides[a] for a in self.rest)), None
            )
            if direct is not None and node.is_reduction:
                node.row = direct
            elif node.is_reduction or used or self._crosses(node):
                strides = [0] * len(self.sizes)
                strides[inner] = 1
                node.row = Stream(node.dtype, tuple(strides))
                self.body.reserve(node.row, self.sizes[inner] * node.dtype.itemsize)
                self.streams.append(node.row)

    def _crosses(self, node: Node) -> bool:
        """Whether a value of one level is needed at a later one."""
        return any(node in n.operands and n.level > node.level for n in self.order)

    def _column_pass(self, level: int, pointers: dict[int, str]) -> None:
        w, inner = self.writer, self.inner
        self.pointers, self.level = pointers, level
        reductions, full, _ = self._targets(level)
        for node in self.order:
            if node.kind == SCALAR and node.level == level:
                value = self._value(node, 1)
                for s in node.stored:
                    w.store(value, pointers[id(s)], node.dtype)
        kept = [n for n in self.order if n.kind == KEPT and n.level == level and not n.is_reduction
                and (n.stored or n.row is not None)]  # fmt: skip
        kept += [n for n in self.order if n.is_reduction and n.level == level and any(s is not n.row for s in n.stored)]
        if kept or reductions:
            with ExitStack() as nest:
                ((index, _),) = self._vectors(nest, 1)
                self.pointers = self._advanced(inner, index, pointers)
                self.scopes.append({})
                for node in kept:
                    value = self._value(node, self.lanes)
                    for s in [*node.stored, node.row]:
                        if s is not None and not (node.is_reduction and s is node.row):
                            self._put(value, s)
                for node in reductions:
                    start = w.spread(identity(node.name, node.dtype), node.dtype, self.lanes)
                    self._put(start, node.row)
                self.scopes.pop()
        if not reductions and not full:
            return
        self._hoist([*reductions, *full])
        self.rows_are_made = True
        with ExitStack() as nest:
            for axis in self.rest:
                pointers = self._enter(nest, axis, pointers)
            ((index, mask),) = self._vectors(nest, 1)
            self.pointers = self._advanced(inner, index, pointers)
            self.scopes.append({})
            for node in reductions:
                value = self._value(node.operands[0], self.lanes)
                total = w.load(self.pointers[id(node.row)], node.dtype, self.lanes)
                self._put(self._combined(node, total, value, mask), node.row)
            self._store(full, mask)
            self.scopes.pop()
        self.rows_are_made = False
