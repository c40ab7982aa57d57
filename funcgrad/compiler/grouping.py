"""Which equations of a program may run as one: a partition into groups, found in time linear in the program.

Each equation has a *domain*: the shape it iterates over, and the axes that are reduced there (None: not known yet). An
elementwise equation has the shape of its result; but what is computed from the results of reductions, in their shape,
belongs to the domain of those reductions. Equations of one domain can be one loop, if

1. every edge within the group is valid: an operand is used at its own index, or is a result of the reductions that is
   broadcast back along just the axes they reduced;
2. the groups can be put into an order: the graph of which each group is one node has no cycle. For a single group that
   means that it is *convex*, no path leaves it and comes back, and for several that they are not entangled.

Groups are found in two sweeps. Backwards, each equation joins the groups that use its result, or begins one. A *level*,
greater by one before every edge that could not be closed, proves the order: an equation joins only if all its users of
the highest level are of groups that can be united with it, so that every edge between groups goes down. That is quick
and misses unions where a level is high for an unrelated reason, so forwards each group is united with those before it,
and with those that read the same arrays, if no path runs between the two through a third. The search for such a path is
bounded by a topological order, which is kept up as Pearce and Kelly do (A dynamic topological sort algorithm for
directed acyclic graphs, 2006), and given up after a fixed number of steps.

Broadcasts and iotas are in no group: each group writes its own, since they cost nothing inside a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from ..core.ir import Eqn, Jaxpr, Var
from .fusion import MOVES, REDUCTIONS, kept_axes, kept_shape

__all__ = ["Domain", "Graph", "Group", "find_groups"]

#: How many nodes a search for a path may visit before it is given up.
_PATIENCE = 64


class Domain(NamedTuple):
    """What an equation, or a group, iterates over."""

    space: tuple[int, ...]
    axes: tuple[int, ...] | None

    @property
    def kept(self) -> tuple[int, ...]:
        return kept_shape(self.space, self.axes or ())


#: What an edge asks of the group it lies in: nothing, a domain, or False: it cannot lie in a group.
Demand = Domain | None | bool


def _united(a: Domain, b: Domain | None) -> Domain | None:
    """The domain of equations of both, if there is one."""
    if b is None:
        return a
    if a.space == b.space:
        return b if a.axes is None else a if b.axes is None or b.axes == a.axes else None
    if a.axes is None and b.axes is not None and b.kept == a.space:
        return b
    if b.axes is None and a.axes is not None and a.kept == b.space:
        return a
    return None


class Group(NamedTuple):
    """Equations, by their place in the program, and what they iterate over: ``axes`` are those that are reduced."""

    members: list[int]
    space: tuple[int, ...]
    axes: tuple[int, ...]


class Graph:
    """The equations of a program: ``base`` is the domain of each that may be in a group, of ``least`` elements; ``edges`` are those from
    operands. A *move* (broadcast, iota) is looked through; it is ``needed`` where somebody reads it as an array.
    """

    def __init__(self, jaxpr: Jaxpr, fusable: Container[str], least: int = 1) -> None:
        eqns = self.eqns = jaxpr.eqns
        self.least = least
        self.defs: dict[Var, int] = {v: i for i, e in enumerate(eqns) for v in e.outputs}
        self.tags: dict[Var, Domain] = {}
        self.moves = [e.primitive.name in MOVES and e.primitive.name in fusable for e in eqns]
        self.base = [self._domain(e) if e.primitive.name in fusable else None for e in eqns]
        self.needed = [False] * len(eqns)
        for a in jaxpr.outs:
            if isinstance(a, Var) and a in self.defs:
                self.needed[self.defs[a]] = True
        for i in reversed(range(len(eqns))):
            for a in eqns[i].inputs if self.base[i] is None else ():
                # A move that is looked through reads its operand for somebody else, unless that is a move itself.
                if isinstance(a, Var) and a in self.defs:
                    j = self.defs[a]
                    self.needed[j] = self.needed[j] or self.needed[i] or self.moves[j] or not self.moves[i]
        self.edges: list[list[tuple[int, Demand]]] = []
        effect: int | None = None
        for i, e in enumerate(eqns):
            self.edges.append(self._edges(i, e))
            if e.primitive.effect or e.primitive.control:
                # Effects, which a loop may have inside, keep their order.
                if effect is not None:
                    self.edges[i].append((effect, False))
                effect = i

    def _domain(self, eqn: Eqn) -> Domain | None:
        """Of an equation that may be in a group; results of reductions, and what comes of them, are tagged with it."""
        name = eqn.primitive.name
        if name in MOVES or eqn.params.get("weak") or any(a.aval.size == 0 for a in eqn.inputs):
            return None
        (out,) = eqn.outputs
        if name in REDUCTIONS:
            axes = tuple(eqn.params["axes"])
            if not axes or eqn.inputs[0].aval.size < self.least:
                return None
            found = self.tags[out] = Domain(eqn.inputs[0].aval.shape, axes)
            return found
        shape = out.aval.shape
        tags = {self.tags[a] for a in eqn.inputs if isinstance(a, Var) and a in self.tags and a.aval.shape == shape}
        if len(tags) == 1:
            found = self.tags[out] = tags.pop()
            return found
        return Domain(shape, None) if shape and out.aval.size >= self.least else None

    def _edges(self, index: int, eqn: Eqn) -> list[tuple[int, Demand]]:
        if self.moves[index] and not self.needed[index]:
            return []
        edges: list[tuple[int, Demand]] = []
        shape = eqn.outputs[0].aval.shape if eqn.primitive.elementwise else None
        for a in eqn.inputs:
            if not isinstance(a, Var) or a not in self.defs:
                continue
            i = self.defs[a]
            if self.base[index] is None:
                edges.append((i, False))
            elif self.moves[i]:
                move = self.eqns[i]
                x = move.inputs[0] if move.inputs else None
                if isinstance(x, Var) and x in self.defs:
                    edges.append((self.defs[x], self._spread(x, move.outputs[0].aval.shape, move.params["dims"])))
            elif self.base[i] is None:
                edges.append((i, False))
            elif shape is None or a.aval.shape == shape:
                edges.append((i, None))
            else:
                edges.append((i, self._spread(a, shape, ())))
        return edges

    def _spread(self, x: Var, shape: tuple[int, ...], dims: Sequence[int]) -> Demand:
        """What must hold for a broadcast of x within its group."""
        tag = self.tags.get(x)
        if tag is None or tag.space != shape or kept_axes(shape, tag.axes or ()) != tuple(dims):
            return False
        return tag


class _Partition:
    """The groups so far. Each node (an equation, or a group under the number of one of its members) has a place."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        n = len(graph.eqns)
        self.parent = list(range(n))
        self.domain = list(graph.base)
        self.level = [0] * n

    def find(self, i: int) -> int:
        parent = self.parent
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    # Backwards: each equation joins its users. ---------------------------------------------------------------------

    def sweep_back(self) -> None:
        graph, find, level, domain = self.graph, self.find, self.level, self.domain
        users: list[list[tuple[int, Demand]]] = [[] for _ in graph.eqns]
        for i, edges in enumerate(graph.edges):
            for j, demand in edges:
                users[j].append((i, demand))
        for i in reversed(range(len(graph.eqns))):
            if not users[i]:
                continue
            found = [(find(j), demand) for j, demand in users[i]]
            highest = max(level[j] for j, _ in found)
            common = graph.base[i]
            for j, demand in found:
                if common is not None and level[j] == highest:
                    other = domain[j] if demand is not False else None
                    common = _united(common, other) if other is not None else None
                    if common is not None and isinstance(demand, Domain):
                        common = _united(common, demand)
            if common is None:
                level[i] = highest + 1
                continue
            level[i], domain[i] = highest, common
            for j, _ in found:
                if level[j] == highest:
                    self.parent[find(j)] = i

    # Forwards: groups are united. ----------------------------------------------------------------------------------

    def sweep_forward(self) -> None:
        graph, find = self.graph, self.find
        self.before: dict[int, dict[int, Demand]] = {}
        self.after: dict[int, set[int]] = {}
        for i in range(len(graph.eqns)):
            self.before.setdefault(find(i), {})
            self.after.setdefault(find(i), set())
        for i, edges in enumerate(graph.edges):
            for j, demand in edges:
                a, b = find(j), find(i)
                if a != b:
                    self._connect(a, b, demand)
        ordered = sorted(self.before, key=lambda i: (-self.level[i], i))
        self.order = {i: place for place, i in enumerate(ordered)}
        groups = [i for i in ordered if self.domain[i] is not None]
        for b in groups:
            for a in sorted(self.before.get(b, ()), key=self.order.__getitem__, reverse=True):
                self._unite(find(a), find(b))
        readers: dict[Var, int] = {}
        for i, eqn in enumerate(graph.eqns):
            if graph.base[i] is not None:
                for x in eqn.inputs:
                    if isinstance(x, Var) and x.aval.shape:
                        a, b = find(readers.get(x, i)), find(i)
                        one, other = self.domain[a], self.domain[b]
                        if a != b and one is not None and other is not None and one.space == other.space:
                            self._unite(*sorted((a, b), key=self.order.__getitem__))
                        readers[x] = i

    def _connect(self, a: int, b: int, demand: Demand) -> None:
        previous = self.before[b].get(a)
        if previous is not None and demand != previous:
            demand = previous if demand is None else False
        self.before[b][a] = demand
        self.after[a].add(b)

    def _unite(self, a: int, b: int) -> None:
        """Make one group of two, of which b is the later one in the order, if that leaves no cycle."""
        one, other = self.domain[a], self.domain[b]
        demand = self.before[b].get(a) if a != b else False
        if one is None or other is None or demand is False:
            return
        common = _united(one, other)
        if common is not None and isinstance(demand, Domain):
            common = _united(common, demand)
        order = self.order
        if common is None or order[a] > order[b]:
            return
        behind = self._reached(a, b, self.after, lambda i: order[i] <= order[b])
        ahead = self._reached(b, a, self.before, lambda i: order[i] >= order[a]) if behind is not None else None
        if behind is None or ahead is None:
            return
        places = sorted(order[i] for i in (*behind, *ahead, a, b))
        if len(self.before[a]) + len(self.after[a]) < len(self.before[b]) + len(self.after[b]):
            a, b = b, a
        nodes = [*sorted(ahead, key=order.__getitem__), a, *sorted(behind, key=order.__getitem__)]
        order.update(zip(nodes, places))
        self.parent[b], self.domain[a] = a, common
        for i, demand in self.before.pop(b).items():
            self.after[i].discard(b)
            if i != a:
                self._connect(i, a, demand)
        for i in self.after.pop(b):
            demand = self.before[i].pop(b)
            if i != a:
                self._connect(a, i, demand)
        self.after[a].discard(b)
        self.before[a].pop(b, None)

    def _reached(
        self, start: int, end: int, steps: Mapping[int, Iterable[int]], within: Callable[[int], bool]
    ) -> set[int] | None:
        """What is reached from one node within the order up to another; None if that is, otherwise than directly."""
        seen: set[int] = set()
        todo = [i for i in steps[start] if i != end and within(i)]
        while todo:
            i = todo.pop()
            if i in seen:
                continue
            if i == end or len(seen) == _PATIENCE:
                return None
            seen.add(i)
            todo += [j for j in steps[i] if j not in seen and within(j)]
        return seen


def find_groups(graph: Graph) -> list[Group]:
    """The groups of a program, by their first members; an equation that nothing joins is a group of its own."""
    partition = _Partition(graph)
    partition.sweep_back()
    partition.sweep_forward()
    members: dict[int, list[int]] = {}
    for i, base in enumerate(graph.base):
        if base is not None:
            members.setdefault(partition.find(i), []).append(i)
    groups = []
    for representative, listed in members.items():
        domain = partition.domain[representative]
        assert domain is not None
        if domain.axes is not None and not any(graph.eqns[i].primitive.name in REDUCTIONS for i in listed):
            # The reductions it waited for ended up elsewhere: what is left of their shape is no part of the loop.
            full = [i for i in listed if graph.eqns[i].outputs[0].aval.shape == domain.space]
            domain = Domain(domain.space if full else domain.kept, None)
            listed = full or listed
        if domain.space:
            groups.append(Group(listed, domain.space, domain.axes or ()))
    return sorted(groups, key=lambda g: g.members[0])
