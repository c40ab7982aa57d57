"""Which values to store, of fewest bytes, so that others can be made from them: a minimum cut.

Each value is two nodes, with an edge as wide as its bytes from the first to the second; the second leads to the first of
whatever is made from it, without limit. What cannot be made again hangs on the source, what is wanted leads to the sink. A
cut of finite width stores the values whose edges it crosses, on each path from where nothing is there to where all is wanted,
and the narrowest is as wide as the largest flow (Ford and Fulkerson, Maximal flow through a network, 1956), which is found by
blocking flows in layered networks (Dinic, 1970): as many of them as the longest path is long, at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from ..core.ir import Var

__all__ = ["Network", "fewest_bytes"]


class Network:
    """A directed graph with capacities; nodes are numbers."""

    def __init__(self, size: int) -> None:
        # Edge e leads to `head[e]` and has `left[e]` capacity left; e ^ 1 is the way back.
        self.edges: list[list[int]] = [[] for _ in range(size)]
        self.head: list[int] = []
        self.left: list[float] = []

    def connect(self, a: int, b: int, capacity: float) -> None:
        """An edge from a to b."""
        for start, end, c in ((a, b, capacity), (b, a, 0)):
            self.edges[start].append(len(self.head))
            self.head.append(end)
            self.left.append(c)

    def send(self, source: int, sink: int) -> float:
        """Send as much as there is room for; the amount. Each path must have an edge of finite capacity."""
        total = 0.0
        while True:
            level = self._levels(source)
            if sink not in level:
                return total
            total += self._block(source, sink, level)

    def _levels(self, source: int) -> dict[int, int]:
        """How many edges with room away from the source each node is."""
        level = {source: 0}
        front = [source]
        for a in front:
            for e in self.edges[a]:
                if self.left[e] and self.head[e] not in level:
                    level[self.head[e]] = level[a] + 1
                    front.append(self.head[e])
        return level

    def _block(self, source: int, sink: int, level: dict[int, int]) -> float:
        """Send along shortest paths until each has an edge without room."""
        following = {a: iter(self.edges[a]) for a in level}
        total = 0.0
        path: list[int] = []
        while True:
            a = self.head[path[-1]] if path else source
            if a == sink:
                amount = min(self.left[e] for e in path)
                total += amount
                for e in path:
                    self.left[e] -= amount
                    self.left[e ^ 1] += amount
                full = next(i for i, e in enumerate(path) if not self.left[e])
                # The iterator of the node before the full edge goes on behind it; those further on begin anew.
                for e in path[full:-1]:
                    following[self.head[e]] = iter(self.edges[self.head[e]])
                del path[full:]
                continue
            step = (e for e in following[a] if self.left[e] and level.get(self.head[e]) == level[a] + 1)
            found = next(step, None)
            if found is not None:
                path.append(found)
            elif path:
                path.pop()
            else:
                return total

    def behind(self, sink: int) -> set[int]:
        """The nodes from which there is room to the sink: of all narrowest cuts this is the side of the last one."""
        found = {sink}
        front = [sink]
        for b in front:
            for e in self.edges[b]:
                if self.left[e ^ 1] and self.head[e] not in found:
                    found.add(self.head[e])
                    front.append(self.head[e])
        return found


def fewest_bytes(
    wanted: Iterable[Var], operands: Callable[[Var], Sequence[Var] | None], size: Callable[[Var], int]
) -> dict[Var, None]:
    """The values to store, in the order in which they are met, so that all that is wanted is stored or can be made.

    ``operands``: what a value is made from; None if it cannot be made again. Of several answers it is the one that makes
    the least again.
    """
    ends = dict.fromkeys(wanted)
    number = {v: i for i, v in enumerate(ends)}
    values = list(ends)
    sources: list[Sequence[Var] | None] = []
    for v in values:
        sources.append(operands(v))
        for a in sources[-1] or ():
            if a not in number:
                number[a] = len(values)
                values.append(a)
    source, sink = 2 * len(values), 2 * len(values) + 1
    network = Network(sink + 1)
    for i, (v, made_from) in enumerate(zip(values, sources)):
        network.connect(2 * i, 2 * i + 1, size(v))
        if made_from is None:
            network.connect(source, 2 * i, math.inf)
        for a in made_from or ():
            network.connect(2 * number[a] + 1, 2 * i, math.inf)
        if v in ends:
            network.connect(2 * i + 1, sink, math.inf)
    network.send(source, sink)
    there = network.behind(sink)
    return {v: None for i, v in enumerate(values) if 2 * i + 1 in there and 2 * i not in there}
