"""What the loop nests of groups are made of: loops that step all streams, vectors of an axis, and what a pass is to do."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from .elements import Elements
from .ir import typed
from .operations import Operation, elementwise
from .schedule import Schedule
from .values import FULL, KEPT, REDUCTIONS, SCALAR, Body, Node, Stream, identity

__all__ = ["Loops"]


class Loops(Elements):
    """A group while its loops are written: the `sizes` of its axes, and the `streams` that it walks over."""

    body: Body
    schedule: Schedule
    sizes: list[int]
    streams: list[Stream]
    order: list[Node]
    split_axis: int | None
    overwrites: bool

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

    def _hoist(self, nodes: Sequence[Node]) -> None:
        """Compute scalars and kept values outside of the loops, once a row."""
        todo, seen = list(nodes), set()
        while todo:
            node = todo.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            here = node.kind == SCALAR or (node.kind == KEPT and self.schedule.form != "columns")
            if here and not (node.is_reduction and node.level > self.level):
                self._value(node, self.lanes)
                continue
            if node.stored and node.level < self.level:
                continue
            todo += node.operands

    def _store(self, nodes: list[Node], mask: str | None) -> None:
        """Store vectors of full values, when all of them are computed: a result may lie where an operand does. Then what
        was seen before is computed from new values in place of old ones, and is left out."""
        for node, value in [(n, self._value(n, self.lanes)) for n in nodes]:
            for s in node.stored:
                self._put(value, s, mask if self.overwrites else None)

    def _combined(self, node: Node, total: str, value: str, mask: str | None) -> str:
        w, operation = self.writer, REDUCTIONS[node.name]
        if mask is not None and (self.overwrites or operation in ("add", "mul")):
            neutral = w.spread(identity(node.name, node.dtype), node.dtype, self.lanes)
            value = Operation(w, node.dtype, self.lanes, {}).select(mask, value, neutral)
        return elementwise(w, operation, [total, value], node.dtype, self.lanes, {})
