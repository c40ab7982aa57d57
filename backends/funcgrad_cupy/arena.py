"""Where the values of a program lie: one block of memory, in which the place of each is known before it runs.

A buffer is alive from the first step that names it to the last one. Steps are taken in their order; what is born takes
the smallest gap that holds it, and what dies leaves one.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from .recording import Buffer, HostStep, Launch, Multiply

__all__ = ["Plan", "place"]

_ALIGNMENT = 256


class Plan(NamedTuple):
    """``size`` of the arena in bytes; ``births``: the buffers of the arena that each step is the first to name."""

    size: int
    births: list[list[Buffer]]


class _Gaps:
    """Free parts of a block that grows at its end."""

    def __init__(self) -> None:
        self.end = 0
        self.by_place: list[tuple[int, int]] = []
        self.by_size: list[tuple[int, int]] = []

    def take(self, size: int) -> int:
        at = bisect_left(self.by_size, (size, -1))
        if at < len(self.by_size):
            length, place = self.by_size[at]
            self._drop(place, length)
            if length > size:
                self._add(place + size, length - size)
            return place
        if self.by_place and sum(self.by_place[-1]) == self.end:
            # The last gap is too short: the block grows by what is missing.
            place, length = self.by_place[-1]
            self._drop(place, length)
        else:
            place = self.end
        self.end = place + size
        return place

    def give(self, place: int, size: int) -> None:
        at = bisect_left(self.by_place, (place, 0))
        if at < len(self.by_place) and self.by_place[at][0] == place + size:
            length = self.by_place[at][1]
            self._drop(place + size, length)
            size += length
        if at and sum(self.by_place[at - 1]) == place:
            before, length = self.by_place[at - 1]
            self._drop(before, length)
            place, size = before, size + length
        self._add(place, size)

    def _add(self, place: int, size: int) -> None:
        insort(self.by_place, (place, size))
        insort(self.by_size, (size, place))

    def _drop(self, place: int, size: int) -> None:
        del self.by_place[bisect_left(self.by_place, (place, size))]
        del self.by_size[bisect_left(self.by_size, (size, place))]


def _rounded(size: int) -> int:
    return max(-(-size // _ALIGNMENT), 1) * _ALIGNMENT


def place(steps: Sequence[Launch | Multiply | HostStep]) -> Plan:
    """Give every temporary buffer its place in the arena (slot 0)."""
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for i, step in enumerate(steps):
        for x in step.symbols():
            if x.buffer.role == "temporary":
                first.setdefault(x.buffer, i)
                last[x.buffer] = i
    dying: dict[int, list[Buffer]] = defaultdict(list)
    for buffer, i in last.items():
        dying[i].append(buffer)
    gaps, births = _Gaps(), []
    for i, step in enumerate(steps):
        born = [b for b in dict.fromkeys(x.buffer for x in step.symbols()) if first.get(b) == i]
        for b in born:
            b.slot, b.start = 0, gaps.take(_rounded(b.nbytes))
        for b in dying[i]:
            gaps.give(b.start, _rounded(b.nbytes))
        births.append(born)
    return Plan(gaps.end, births)
