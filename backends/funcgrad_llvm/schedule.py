"""How a group walks over its space: which axis has the lanes of the vectors, and what becomes of a reduction meanwhile.

| form | lanes | a reduction |
| --- | --- | --- |
| rows | the last reduced axis, or any of a group without reductions | vectors that are combined at the end of a row |
| tiles | a kept axis | the reduced elements one after the other, into registers |
| columns | the last axis, which is kept | into a row of memory: the order of memory, however large it is |

Rows waste lanes where the reduced axis is short, and work on single numbers between two passes. Tiles waste none, but what
is not contiguous along the kept axis costs more to load. So the cycles of each choice are estimated, and the instructions
that LLVM has to compile for it: where a group has little to do, the shorter text wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .math import FUNCTIONS
from .values import CHEAP, FULL, KEPT, Node, Stream

__all__ = ["Schedule", "cheapest", "schedules"]

#: A turn of a loop costs so many cycles beside what is done in it.
_TURN = 3
#: Elements of the reduced axes that are written out one after the other, and operations altogether.
_MOST_ELEMENTS, _MOST_OPERATIONS = 8, 200
#: Tiles side by side, so that an addition need not wait for the one before it, and instructions of all of them: a loop
#: that has more of them to do meanwhile waits for none, and is only longer to compile.
_MOST_TILES, _MOST_INSTRUCTIONS = 4, 60
#: An instruction takes LLVM some 30 us: as much as so many cycles in each of two thousand calls.
_COMPILE = 60
#: Bytes that tiles may walk through again and again.
_NEAR = 1 << 18


@dataclass(frozen=True)
class Schedule:
    """The axes of a group in the order of their loops: `outer`, then `rest` around `inner`, the axis of the lanes.

    In tiles, of which `tiles` are done side by side, `rest` is within `inner`; `unrolled` if no loop is left of it.
    """

    form: str
    outer: tuple[int, ...]
    rest: tuple[int, ...]
    inner: int | None
    lanes: int
    tiles: int
    unrolled: bool
    cycles: int
    instructions: int = 0


class _Costs:
    """Estimates of the cycles of a group, for one choice of the axis of the lanes after another."""

    def __init__(
        self,
        sizes: Sequence[int],
        reduced: Sequence[bool],
        streams: Sequence[Stream],
        order: Sequence[Node],
        bytes: int,
    ) -> None:
        self.sizes, self.streams = sizes, streams
        self.kept = [i for i, r in enumerate(reduced) if not r]
        self.reduced = [i for i, r in enumerate(reduced) if r]
        self.elements, self.rows = math.prod(sizes), math.prod(sizes[i] for i in self.kept)
        self.length = math.prod(sizes[i] for i in self.reduced)
        self.reductions = sum(n.is_reduction for n in order)
        self.full = sum(_operation(n) for n in order if n.kind == FULL) + self.reductions
        self.per_row = sum(_operation(n) for n in order if n.kind == KEPT and not n.is_reduction)
        self.operations = len(order)
        self.passes = 1 + max((n.level for n in order), default=0)
        self.stored = {id(s) for n in order for s in n.stored}
        dtypes = {n.dtype for n in order if n.kind == FULL} | {s.dtype for s in streams if not s.is_index}
        floats = {d for d in dtypes if d.kind == "f"}
        self.widest = max((d.itemsize for d in floats or dtypes), default=4)
        self.most_lanes = max(bytes // max(self.widest, 4), 1)

    def lanes(self, axis: int) -> int:
        """As many as the widest values that are computed fill a vector."""
        return min(self.most_lanes, 1 << (self.sizes[axis].bit_length() - 1))

    def _access(self, axis: int, full: bool) -> int:
        """To load and store a vector along an axis, of all streams that vary along reduced axes, or of all others."""
        lanes, total = self.lanes(axis), 0
        for s in self.streams:
            if any(s.strides[i] for i in self.reduced) == full:
                stride = abs(s.strides[axis])
                if stride < 2 or s.is_index:
                    total += 1
                else:  # elements that are stored one by one are in a cache line each
                    total += 3 * lanes if id(s) in self.stored else 2 * min(stride, lanes)
        return total

    def elementwise(self, axis: int) -> int:
        lanes = self.lanes(axis)
        return self.elements // self.sizes[axis] * -(-self.sizes[axis] // lanes) * (
            self.full + self.per_row + self._access(axis, False) + _TURN
        )  # fmt: skip

    def by_rows(self, axis: int) -> int:
        lanes = self.lanes(axis)
        vectors = self.length // self.sizes[axis] * -(-self.sizes[axis] // lanes)
        vector = self.full + self._access(axis, True) + (2 * self.reductions if self.sizes[axis] % lanes else 0)
        # Lanes are combined by two instructions after the other.
        row = self.per_row + 2 * self.reductions * lanes.bit_length() + 2 * _TURN
        return self.rows * (vectors * (vector + _TURN) + row)

    def by_tiles(self, axis: int) -> int:
        lanes, tiles = self.lanes(axis), self.tiles(axis)
        vectors = self.rows // self.sizes[axis] * -(-self.sizes[axis] // lanes)
        turn = 0 if self.unrolled else -(-_TURN // tiles)
        vector = self.full + self._access(axis, True) + turn
        return vectors * (self.length * vector + self.per_row + self._access(axis, False) + _TURN)

    def by_columns(self, axis: int) -> int:
        """As tiles, but what is summed up is loaded and stored."""
        vectors = self.rows // self.sizes[axis] * -(-self.sizes[axis] // self.lanes(axis))
        vector = self.full + self._access(axis, True) + 6 * self.reductions + _TURN
        return vectors * (self.length * vector + self.per_row + self._access(axis, False) + _TURN)

    def instructions(self, form: str, axis: int) -> int:
        """About how many vector instructions are written: each pass loads and computes again what it needs."""
        each, row = self.full + self._access(axis, True), self.per_row + self._access(axis, False)
        if form == "tiles":
            return self.length * each + row if self.unrolled else self.tiles(axis) * (self.passes * each + row)
        return self.passes * each + row + self.reductions * (2 * self.lanes(axis).bit_length() if form == "rows" else 6)

    @property
    def unrolled(self) -> bool:
        return self.length <= _MOST_ELEMENTS and self.length * self.operations <= _MOST_OPERATIONS

    def tiles(self, axis: int) -> int:
        """How many side by side: no more than are there, and with the last ones as full as can be."""
        if self.unrolled:
            return 1
        most = min(_MOST_TILES, max(1, _MOST_INSTRUCTIONS // (self.full + self._access(axis, True))))
        vectors = -(-self.sizes[axis] // self.lanes(axis))
        return -(-vectors // -(-vectors // most))

    def is_far(self, axis: int) -> bool:
        """Whether tiles would come back to neighbours in memory when no cache holds them any more."""
        for s in self.streams:
            beside = next((i for i in range(len(self.sizes)) if abs(s.strides[i]) == 1), None)
            if s.is_index or beside not in self.kept or not any(s.strides[i] for i in self.reduced):
                continue
            if beside == axis and -(-self.sizes[axis] // self.lanes(axis)) <= _MOST_TILES:
                continue
            size = self.length * self.sizes[axis] * (1 if beside == axis else self.sizes[beside])
            if size * s.dtype.itemsize > _NEAR:
                return True
        return False


def _operation(node: Node) -> int:
    """About what a vector of a value takes the processor."""
    return 1 if node.name in CHEAP or node.is_reduction else 12 if node.name in FUNCTIONS else 4


def schedules(
    sizes: Sequence[int],
    reduced: Sequence[bool],
    streams: Sequence[Stream],
    order: Sequence[Node],
    reduces: bool,
    bytes: int,
) -> list[Schedule]:
    """All orders of a group's loops, for vectors of so many bytes; `reduced` says of each axis whether it is.

    A group may reduce, and have no reduced axis: those of size 1 are gone.
    """
    costs = _Costs(sizes, reduced, streams, order, bytes)
    kept, rest = costs.kept, costs.reduced
    if not sizes:
        return [Schedule("rows", (), (), None, 1, 1, False, costs.full)]
    # Of equals the first is taken: that of the last axis, whose elements lie beside each other.
    if not reduces:
        found = [(costs.elementwise(i), "rows", i) for i in reversed(kept)]
        kept, rest = [], kept
    else:
        found = [(costs.by_rows(rest[-1]), "rows", rest[-1])] if rest else []
        found += [(costs.by_tiles(i), "tiles", i) for i in reversed(kept) if not costs.is_far(i)]
        if kept and kept[-1] == len(sizes) - 1:
            found.append((costs.by_columns(kept[-1]), "columns", kept[-1]))
    choices = []
    for cycles, form, inner in found:
        outer, around = (tuple(i for i in axes if i != inner) for axes in (kept, rest))
        tiles, unrolled = (costs.tiles(inner), costs.unrolled) if form == "tiles" else (1, False)
        written = costs.instructions(form, inner)
        choices.append(Schedule(form, outer, around, inner, costs.lanes(inner), tiles, unrolled, cycles, written))
    return choices


def cheapest(choices: Sequence[Schedule], times: int = 1) -> Schedule:
    """The cheapest for a group that a call runs so many times; of equals the first."""
    return min(choices, key=lambda choice: times * choice.cycles + _COMPILE * choice.instructions)
