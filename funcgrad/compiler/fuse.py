"""Fusion: groups of equations become ``fusion`` equations, one each, in the bodies of control flow too."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

from ..core.ir import Atom, Eqn, Jaxpr, Literal, Var, map_subjaxprs
from .fusion import fusion
from .grouping import Graph, Group, find_groups

__all__ = ["fuse"]


def fuse(jaxpr: Jaxpr, fusable: Container[str], worth: Callable[[Eqn], bool], least: int = 1) -> Jaxpr:
    """The same program with maximal groups of ``fusable`` primitives as one equation each, where that is ``worth`` it.

    ``worth`` is asked with the ``fusion`` equation; if it declines, the group's equations stay as they are.
    Equations over fewer elements than ``least`` are not considered.
    """
    key = ("fused", fusable, worth, least)
    found: Jaxpr | bool | None = jaxpr.memo.get(key)
    if found is None:
        if any(e.primitive.control for e in jaxpr.eqns):
            found = _fuse(_fuse_bodies(jaxpr, fusable, worth, least), fusable, worth, least)
        else:
            found = _fuse(jaxpr, fusable, worth, least)
        jaxpr.memo[key] = False if found is jaxpr else found  # itself would be a cycle of references
    return found or jaxpr  # type: ignore[return-value]


def _fuse_bodies(jaxpr: Jaxpr, fusable: Container[str], worth: Callable[[Eqn], bool], least: int) -> Jaxpr:
    eqns: list[Eqn] = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.control:
            eqn = eqn.replace(params=map_subjaxprs(lambda body: fuse(body, fusable, worth, least), eqn.params))
        eqns.append(eqn)
    return Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)


def _fuse(jaxpr: Jaxpr, fusable: Container[str], worth: Callable[[Eqn], bool], least: int) -> Jaxpr:
    if not any(a.aval.size >= least for e in jaxpr.eqns for a in (*e.inputs[:1], *e.outputs)):
        return jaxpr
    graph = Graph(jaxpr, fusable, least)
    groups = find_groups(graph)
    group_of = {i: g for g, group in enumerate(groups) for i in group.members}
    seen_outside = _seen_outside(jaxpr, graph, group_of)
    units: list[Eqn] = list(jaxpr.eqns)
    fused: dict[int, int] = {}
    for group in groups:
        eqn = _written(jaxpr, graph, group, seen_outside)
        if worth(eqn):
            # The group stands where its last member stood, or wherever it is needed first.
            last = group.members[-1]
            units[last] = eqn
            fused.update(dict.fromkeys(group.members, last))
    if not fused:
        return jaxpr
    eqns = list(_ordered(jaxpr, graph, units, fused))
    return Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)


def _seen_outside(jaxpr: Jaxpr, graph: Graph, group_of: dict[int, int]) -> set[Var]:
    """The variables that somebody outside of their group reads, through a move too."""
    seen = {a for a in jaxpr.outs if isinstance(a, Var)}
    for i, eqn in enumerate(graph.eqns):
        if graph.moves[i] and not graph.needed[i]:
            continue
        for a in eqn.inputs:
            while isinstance(a, Var) and a in graph.defs:
                j = graph.defs[a]
                if group_of.get(i) is None or group_of.get(i) != group_of.get(j):
                    seen.add(a)
                if not graph.moves[j] or not graph.eqns[j].inputs:
                    break
                a = graph.eqns[j].inputs[0]
    return seen


def _written(jaxpr: Jaxpr, graph: Graph, group: Group, seen_outside: set[Var]) -> Eqn:
    """The equation of a group, with its body: the members, and the moves they read, in new variables."""
    inside = set(group.members)
    scope: dict[Var, Atom] = {}
    inputs: list[Var] = []
    invars: list[Var] = []
    body: list[Eqn] = []

    def read(a: Atom) -> Atom:
        if isinstance(a, Literal):
            return a
        if a not in scope:
            scope[a] = Var(a.aval.strong())
            inputs.append(a)
            invars.append(scope[a])  # type: ignore[arg-type]
        return scope[a]

    def write(eqn: Eqn) -> None:
        operands = [read(a) for a in eqn.inputs]
        results = [Var(v.aval.strong()) for v in eqn.outputs]
        scope.update(zip(eqn.outputs, results))
        body.append(Eqn(eqn.primitive, operands, results, eqn.params, eqn.source))

    for i in group.members:
        for a in graph.eqns[i].inputs:
            if isinstance(a, Var) and a not in scope and graph.moves[graph.defs.get(a, i)]:
                write(graph.eqns[graph.defs[a]])
        write(graph.eqns[i])
    outputs = [v for i in sorted(inside) for v in graph.eqns[i].outputs if v in seen_outside]
    inner = Jaxpr(invars, body, [scope[v] for v in outputs], name=f"{jaxpr.name}_fused")
    params = {"jaxpr": inner, "space": group.space, "axes": group.axes}
    return Eqn(fusion, inputs, outputs, params, graph.eqns[group.members[-1]].source)


def _ordered(jaxpr: Jaxpr, graph: Graph, units: list[Eqn], fused: dict[int, int]) -> Iterator[Eqn]:
    """The equations in the order they had, each after those it needs; what nobody reads any more is left out."""
    done: set[int] = set()
    effects = [i for i, e in enumerate(units) if e.primitive.effect or e.primitive.control]
    before = dict(zip(effects[1:], effects))
    wanted: set[int] = set()

    def needs(i: int) -> Iterator[int]:
        for a in units[i].inputs:
            if isinstance(a, Var) and a in graph.defs:
                yield fused.get(graph.defs[a], graph.defs[a])
        if i in before:
            yield before[i]

    for i in range(len(units)):
        if fused.get(i, i) != i or (graph.moves[i] and not graph.needed[i]):
            continue
        todo = [i]
        while todo:
            unit = todo[-1]
            if unit in done:
                todo.pop()
                continue
            missing = [] if unit in wanted else [j for j in needs(unit) if j not in done]
            wanted.add(unit)
            if missing:
                todo += reversed(missing)
            else:
                todo.pop()
                done.add(unit)
                yield units[unit]
