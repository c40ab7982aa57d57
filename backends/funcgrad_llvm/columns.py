"""Reductions over other axes than the last one: the last axis has the lanes, and the accumulators are a row in memory.

    for k in kept axes but the last:
        for pass 0, 1, ...:
            for r in reduced axes:
                for c in the last axis:            # by vectors

Memory is walked through once, in its order, however long the rows are.
"""

from __future__ import annotations

from contextlib import ExitStack

from .loops import Loops
from .values import FULL, KEPT, SCALAR, Node, Stream, identity

__all__ = ["Columns"]


class Columns(Loops):
    """The part of a group that is written by columns."""

    def _make_rows(self) -> None:
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
