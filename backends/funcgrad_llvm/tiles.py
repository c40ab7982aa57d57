"""Reductions whose lanes are elements of a kept axis: what is summed up stays in registers.

    for k in kept axes but that of the lanes:
        for tile in the axis of the lanes:         # vectors, a few of them side by side
            for pass 0, 1, ...:
                for r in reduced axes:             # written out where they are short
                    every tile's element
                kept values

Where the reduced axes are written out, an element's values are known in all passes: nothing is computed or read again.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import dataclass, field

from .elements import Scope
from .ir import memory_type, typed
from .loops import Loops
from .values import SCALAR, Node, identity

__all__ = ["Tiles"]

Place = tuple[int, ...]


@dataclass
class Tile:
    """A vector of kept elements: where the streams are at its first reduced element, which lanes others have not done, and
    what is known of it.

    `elements` has both for each of the reduced elements that were written out.
    """

    pointers: dict[int, str]
    mask: str | None
    scope: Scope = field(default_factory=dict)
    sums: dict[int, str] = field(default_factory=dict)
    elements: dict[Place, tuple[dict[int, str], Scope]] = field(default_factory=dict)


class Tiles(Loops):
    """The part of a group that is written by tiles."""

    def _open_tiles(self, nest: ExitStack, pointers: dict[int, str]) -> list[Tile]:
        """Open the loop over the axis of the lanes. Its last vectors may repeat what others have done, to no harm unless
        results lie over operands."""
        vectors = self._vectors(nest, self.schedule.tiles)
        return [
            Tile(self._advanced(self.inner, index, pointers), mask if self.overwrites else None)
            for index, mask in vectors
        ]

    def _tile_pass(self, level: int, tiles: list[Tile]) -> None:
        reductions, full, kept = self._targets(level)
        self.level = level
        for tile in tiles:
            self.pointers = tile.pointers
            self.scopes.append(tile.scope)
            for node in kept:
                self._store_kept(node, tile.mask)
            if reductions or full:
                self._hoist([*reductions, *full])
            for node in reductions:
                self._begin(tile, node)
            self.scopes.pop()
        if not reductions and not full:
            return
        if self.schedule.unrolled:
            for place in itertools.product(*(range(self.sizes[axis]) for axis in self.rest)):
                for tile in tiles:
                    self._element(tile, *self._at(tile, place), reductions, full)
        else:
            with ExitStack() as nest:
                pointers = [tile.pointers for tile in tiles]
                for axis in self.rest:
                    index = nest.enter_context(self.writer.loop(self.sizes[axis]))
                    pointers = [self._advanced(axis, index, p) for p in pointers]
                for tile, here in zip(tiles, pointers):
                    self._element(tile, here, {}, reductions, full)
        for tile in tiles:
            for node in reductions:
                total = self.writer.load(tile.sums[id(node)], node.dtype, self.lanes)
                tile.scope[id(node), self.lanes] = total

    def _begin(self, tile: Tile, node: Node) -> None:
        """Memory for a sum, which becomes a register."""
        w = self.writer
        place = tile.sums[id(node)] = w.alloca(typed(memory_type(node.dtype), self.lanes))
        start = w.spread(identity(node.name, node.dtype), node.dtype, self.lanes)
        w.store(start, place, node.dtype, self.lanes)

    def _at(self, tile: Tile, place: Place) -> tuple[dict[int, str], Scope]:
        """Where the streams are at a reduced element, and what is known there."""
        found = tile.elements.get(place)
        if found is None:
            pointers = tile.pointers
            for axis, index in zip(self.rest, place):
                pointers = self._advanced(axis, str(index), pointers)
            found = tile.elements[place] = pointers, {}
        return found

    def _element(
        self, tile: Tile, pointers: dict[int, str], scope: Scope, reductions: list[Node], full: list[Node]
    ) -> None:
        """Store the full values of an element, and add it to the sums."""
        w = self.writer
        self.pointers = pointers
        self.scopes += [tile.scope, scope]
        for node in reductions:
            value = self._value(node.operands[0], self.lanes)
            total = w.load(tile.sums[id(node)], node.dtype, self.lanes)
            w.store(self._combined(node, total, value, None), tile.sums[id(node)], node.dtype, self.lanes)
        self._store(full, tile.mask)
        del self.scopes[-2:]

    def _store_kept(self, node: Node, mask: str | None) -> None:
        value = self._value(node, 1 if node.kind == SCALAR else self.lanes)
        for s in node.stored:
            if node.kind == SCALAR:
                self.writer.store(value, self.pointers[id(s)], node.dtype)
            else:
                self._put(value, s, mask)
