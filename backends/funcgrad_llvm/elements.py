"""The values of a group in registers: computed from their operands, or read from where they lie in memory.

A value is asked for with a number of lanes, and is known from then on in the innermost open scope: that of the function, of
a row, or of a turn of the innermost loop.
"""

from __future__ import annotations

import numpy as np

from .ir import Writer, memory_type, register_type, splat, typed
from .operations import Operation, convert, elementwise
from .schedule import Schedule
from .values import FULL, KEPT, Node, Stream

__all__ = ["Elements", "Scope"]

Scope = dict[tuple[int, int], str]


class Elements:
    """Where a group stands while it is written, and what is known there.

    ``inner`` is the axis whose elements are the ``lanes`` of vectors, and ``pointers`` has the places of all streams at the
    current element. Other than by rows kept values vary along that axis; by columns they lie in rows of memory, from
    ``rows_are_made`` on. ``level`` is that of the current pass.
    """

    writer: Writer
    scopes: list[Scope]
    pointers: dict[int, str]
    level: int
    lanes: int
    inner: int | None
    schedule: Schedule
    rows_are_made: bool

    def _value(self, node: Node, lanes: int) -> str:
        """The register of a value with so many lanes; what is computed stays known in the innermost open scope.

        Operands come first, in a loop: a chain of operations may be longer than Python's stack.
        """
        todo = [node]
        while True:
            here = todo[-1]
            if self._known(here, lanes) is not None:
                todo.pop()
                if not todo:
                    break
                continue
            missing = [x for x in self._operands(here, lanes) if self._known(x, lanes) is None]
            if missing:
                todo += missing
            else:
                self.scopes[-1][id(here), lanes] = self._computed(here, lanes)
        found = self._known(node, lanes)
        assert found is not None
        return found

    def _known(self, node: Node, lanes: int) -> str | None:
        if node.name == "literal":
            return splat(register_type(node.dtype), node.params["text"], lanes)
        key = id(node), lanes
        return next((scope[key] for scope in reversed(self.scopes) if key in scope), None)

    def _place(self, node: Node) -> Stream | None:
        """Where a value is in memory by now."""
        if node.stream is not None:
            return node.stream
        if node.is_reduction:
            return node.row
        if node.level < self.level and node.kind == FULL and node.stored:
            return node.stored[0]
        return node.row if node.level < self.level or self.rows_are_made else None

    def _is_spread(self, node: Node, lanes: int) -> bool:
        """Whether the lanes of a value are all the same."""
        return lanes > 1 and not (node.kind == FULL or (node.kind == KEPT and self.schedule.form != "rows"))

    def _operands(self, node: Node, lanes: int) -> list[Node]:
        """What is computed before a value, with as many lanes."""
        return [] if self._is_spread(node, lanes) or self._place(node) is not None else node.operands

    def _computed(self, node: Node, lanes: int) -> str:
        """A value from its operands, which are known."""
        w = self.writer
        if self._is_spread(node, lanes):
            return w.spread(self._value(node, 1), node.dtype, lanes)
        place = self._place(node)
        if place is not None:
            return self._get(place, lanes)
        operands = [self._value(x, lanes) for x in node.operands]
        if node.name == "convert":
            return convert(w, operands[0], node.operands[0].dtype, node.dtype, lanes)
        dtype = node.operands[1 if node.name == "select" else 0].dtype
        return elementwise(w, node.name, operands, dtype, lanes, node.params)

    def _get(self, s: Stream, lanes: int) -> str:
        """A vector of elements of a stream."""
        w, pointer = self.writer, self.pointers[id(s)]
        stride = s.strides[self.inner] if lanes > 1 else 0
        if s.is_index:
            return self._indices(s, pointer, stride, lanes)
        if lanes == 1:
            return w.load(pointer, s.dtype)
        if stride == 1:
            return w.load(pointer, s.dtype, lanes)
        if stride == 0:
            return w.spread(w.load(pointer, s.dtype), s.dtype, lanes)
        scalar = register_type(s.dtype)
        if stride == -1:
            first = w.emit(f"getelementptr {memory_type(s.dtype)}, ptr {pointer}, i64 {1 - lanes}")
            return w.shuffle(w.load(first, s.dtype, lanes), "poison", scalar, lanes, range(lanes - 1, -1, -1))
        if 2 <= stride <= lanes:
            return self._picked(s, pointer, stride, lanes)
        value = "poison"
        for k in range(lanes):
            p = w.emit(f"getelementptr {memory_type(s.dtype)}, ptr {pointer}, i64 {k * stride}")
            value = w.emit(f"insertelement {typed(scalar, lanes)} {value}, {scalar} {w.load(p, s.dtype)}, i64 {k}")
        return value

    def _picked(self, s: Stream, pointer: str, stride: int, lanes: int) -> str:
        """Every `stride`-th element: what lies between is loaded too, by vectors, the last of which ends with the last one."""
        w, scalar = self.writer, register_type(s.dtype)
        value = ""
        for i in range(stride):
            start = i * lanes if i < stride - 1 else (lanes - 1) * stride + 1 - lanes
            p = w.emit(f"getelementptr {memory_type(s.dtype)}, ptr {pointer}, i64 {start}") if start else pointer
            vector = w.load(p, s.dtype, lanes)
            # Of lanes k from that of `i * lanes` on, those that this vector holds; of others what is there.
            mask = [k * stride - start + (lanes if value else 0) for k in range(lanes)]
            here = [i * lanes <= k * stride < start + lanes for k in range(lanes)]
            mask = [m if h else k for k, (m, h) in enumerate(zip(mask, here))]
            value = w.shuffle(value or vector, vector, scalar, lanes, mask)
        return value

    def _indices(self, s: Stream, first: str, stride: int, lanes: int) -> str:
        w, type = self.writer, typed("i64", lanes)
        value = w.spread(first, np.dtype(np.int64), lanes)
        if lanes > 1 and stride:
            numbers = ", ".join(f"i64 {k * stride}" for k in range(lanes))
            value = w.emit(f"add nsw {type} {value}, <{numbers}>")
        return convert(w, value, np.dtype(np.int64), s.dtype, lanes)

    def _put(self, value: str, s: Stream, mask: str | None = None) -> None:
        """Store a vector of elements of a stream, or those that are in a mask."""
        w, pointer, stride, lanes = self.writer, self.pointers[id(s)], s.strides[self.inner], self.lanes
        if mask is not None:
            value = Operation(w, s.dtype, lanes, {}).select(mask, value, self._get(s, lanes))
        if lanes == 1 or stride == 1:
            w.store(value, pointer, s.dtype, lanes)
            return
        scalar = register_type(s.dtype)
        for k in range(lanes if stride else 1):
            p = w.emit(f"getelementptr {memory_type(s.dtype)}, ptr {pointer}, i64 {k * stride}")
            w.store(w.emit(f"extractelement {typed(scalar, lanes)} {value}, i64 {k}"), p, s.dtype)
