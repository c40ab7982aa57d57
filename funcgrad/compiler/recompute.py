"""Values that are computed again where they are read, since that takes less memory and moves no more of it.

A group writes an array for another group; a loop stacks an array for another loop. Where a few cheap operations make it from
arrays that are there anyway, or from smaller ones, the reader has these operations and the array is never made. (XLA
duplicates producers into fusions alike; the general question is the cut of Chen et al., Training deep nets with sublinear
memory cost, 2016, which :mod:`.rematerialize` answers for a budget.)
"""

from __future__ import annotations

from collections.abc import Mapping

from ..core.ir import Atom, Eqn, Jaxpr, Literal, Var, map_subjaxprs
from ..core.types import Aval
from .buffers import nbytes
from .dce import eliminate_dead_code
from .fusion import kept_shape

__all__ = ["recompute_groups", "recompute_stacks"]

#: What is computed again. Division and roots are not, nor what calls a function.
_CHEAP = frozenset([
    "abs", "add", "and", "convert", "eq", "ge", "gt", "integer_pow", "iota", "le", "lt", "max", "min", "mul", "ne", "neg",
    "not", "or", "select", "sub",
])  # fmt: skip
#: In loops, whose values are small, division too, and what only moves elements.
_MOVES = frozenset(["broadcast_in_dim", "reshape", "slice", "transpose"])
#: Of at most so many operations.
_MOST = 6


class _Chain:
    """The operations, in their order, that make a value of a body from its leaves."""

    def __init__(self, value: Var, made: Mapping[Var, Eqn], leaves: frozenset[Var], cheap: frozenset[str]) -> None:
        self.eqns: list[Eqn] = []
        self.leaves: dict[Var, None] = {}
        #: Whether there is such a chain.
        self.exists = True
        self._seen: set[Var] = set()
        self._made, self._ends, self._cheap = made, leaves - {value}, cheap
        self._visit(value)
        moves = sum(e.primitive.name in _MOVES or e.primitive.name == "iota" for e in self.eqns)
        self.exists = self.exists and len(self.eqns) - moves <= _MOST

    def _visit(self, v: Var) -> None:
        if v in self._seen or not self.exists:
            return
        self._seen.add(v)
        if v in self._ends:
            self.leaves[v] = None
            return
        eqn = self._made.get(v)
        if eqn is None or eqn.primitive.name not in self._cheap or len(self._seen) > 3 * _MOST:
            self.exists = False
            return
        for a in eqn.inputs:
            if isinstance(a, Var):
                self._visit(a)
        self.eqns.append(eqn)


def _copied(eqns: list[Eqn], env: dict[Var, Atom]) -> list[Eqn]:
    """Equations with new results; ``env`` says what stands for the variables they read, and then for these results."""
    copies = []
    for eqn in eqns:
        outputs = [Var(v.aval) for v in eqn.outputs]
        inputs = [env[a] if isinstance(a, Var) else a for a in eqn.inputs]
        copies.append(Eqn(eqn.primitive, inputs, outputs, eqn.params, eqn.source))
        env.update(zip(eqn.outputs, outputs))
    return copies


def _made(body: Jaxpr) -> dict[Var, Eqn]:
    return {v: e for e in body.eqns for v in e.outputs}


# Groups ---------------------------------------------------------------------------------------------------------------


def recompute_groups(jaxpr: Jaxpr) -> Jaxpr:
    """A fused program without results of groups that only groups read, which can make them as well."""
    found: Jaxpr | bool | None = jaxpr.memo.get("groups recomputed")
    if found is None:
        found = _Groups(jaxpr).written() or True
        jaxpr.memo["groups recomputed"] = found  # itself would be a cycle of references
    return jaxpr if isinstance(found, bool) else found


class _Groups:
    def __init__(self, jaxpr: Jaxpr) -> None:
        self.jaxpr = jaxpr
        self.eqns = list(jaxpr.eqns)
        self.readers: dict[Var, list[int]] = {}
        for i, eqn in enumerate(self.eqns):
            for a in dict.fromkeys(a for a in eqn.inputs if isinstance(a, Var)):
                self.readers.setdefault(a, []).append(i)
        self.outs = {a for a in jaxpr.outs if isinstance(a, Var)}
        self.given = {*jaxpr.invars, *jaxpr.constvars}

    def written(self) -> Jaxpr | None:
        changed = False
        for i, eqn in enumerate(self.eqns):
            if eqn.primitive.name == "fusion":
                for v in eqn.outputs:
                    changed = self._replace(i, v) or changed
        if not changed:
            return None
        j = self.jaxpr
        eqns = [e for e in self.eqns if e.outputs or e.primitive.name != "fusion"]
        return Jaxpr(j.invars, eqns, j.outs, j.constvars, j.consts, j.name)

    def _replace(self, i: int, v: Var) -> bool:
        """Have the readers of a result of a group make it."""
        eqn, readers = self.eqns[i], self.readers.get(v, [])
        if v in self.outs or not readers or not v.aval.shape:
            return False
        body: Jaxpr = eqn.params["jaxpr"]
        outer: dict[Var, Atom] = dict(zip(body.invars, eqn.inputs)) | dict(zip(body.outs, eqn.outputs))  # type: ignore
        inner = body.outs[eqn.outputs.index(v)]
        if not isinstance(inner, Var) or any(self.eqns[r].primitive.name != "fusion" for r in readers):
            return False
        chain = _Chain(inner, _made(body), frozenset(outer) - {inner}, _CHEAP | {"broadcast_in_dim"})
        if not chain.exists:
            return False
        # What is broadcast must come from outside: only the group of a reduction may spread its results.
        inputs = set(body.invars)
        spread = [e for e in chain.eqns if e.primitive.name == "broadcast_in_dim"]
        if any(isinstance(a, Var) and a.aval.shape and a not in inputs for e in spread for a in e.inputs):
            return False
        plain = [e for e in chain.eqns if e not in spread]
        found = {a.aval.shape for e in plain for a in e.inputs} | {a.aval.shape for e in chain.eqns for a in e.outputs}
        sources = [outer[x] for x in chain.leaves]
        for r in readers:
            reader = self.eqns[r]
            shapes = {reader.params["space"], kept_shape(reader.params["space"], reader.params["axes"]), ()}
            new = [a for a in sources if isinstance(a, Var) and a not in reader.inputs]
            if not found <= shapes or reader.params["space"] != eqn.params["space"]:
                return False
            if _is_spread(reader.params["jaxpr"], reader.params["jaxpr"].invars[reader.inputs.index(v)]):
                return False
            if any(not self._stays(a, r) for a in new) or sum(nbytes(a.aval) for a in new) > nbytes(v.aval):
                return False
        for r in readers:
            self._inline(r, v, chain, outer)
        left = [k for k, o in enumerate(eqn.outputs) if o is not v]
        lean = eliminate_dead_code(
            Jaxpr(body.invars, body.eqns, [body.outs[k] for k in left], body.constvars, body.consts, body.name)
        )
        self.eqns[i] = eqn.replace(outputs=[eqn.outputs[k] for k in left], params={**eqn.params, "jaxpr": lean})
        self._drop_unread(i)
        return True

    def _stays(self, a: Var, r: int) -> bool:
        """Whether a value is in memory when a reader runs, whoever else reads it."""
        return a in self.given or a in self.outs or any(q >= r for q in self.readers.get(a, ()))

    def _inline(self, r: int, v: Var, chain: _Chain, outer: Mapping[Var, Atom]) -> None:
        reader = self.eqns[r]
        body: Jaxpr = reader.params["jaxpr"]
        env: dict[Var, Atom] = {}
        inputs, invars = list(reader.inputs), list(body.invars)
        for x in chain.leaves:
            a = outer[x]
            if isinstance(a, Literal):
                env[x] = a
            elif a in inputs:
                env[x] = invars[inputs.index(a)]
            else:
                invars.append(Var(x.aval))
                env[x] = invars[-1]
                inputs.append(a)
                self.readers.setdefault(a, []).append(r)
        copies = _copied(chain.eqns, env)
        place = inputs.index(v)
        replaced = {invars.pop(place): env[chain.eqns[-1].outputs[0]]}
        inputs.pop(place)
        first = next((k for k, e in enumerate(body.eqns) if not replaced.keys().isdisjoint(e.inputs)), len(body.eqns))
        eqns = [
            e.replace(inputs=[replaced.get(a, a) if isinstance(a, Var) else a for a in e.inputs]) for e in body.eqns
        ]
        outs = [replaced.get(a, a) if isinstance(a, Var) else a for a in body.outs]
        eqns[first:first] = copies
        new = Jaxpr(invars, eqns, outs, body.constvars, body.consts, body.name)
        self.eqns[r] = reader.replace(inputs=inputs, params={**reader.params, "jaxpr": new})

    def _drop_unread(self, i: int) -> None:
        """Inputs that a group no longer reads go."""
        eqn = self.eqns[i]
        body: Jaxpr = eqn.params["jaxpr"]
        read = {a for e in body.eqns for a in e.inputs if isinstance(a, Var)} | {
            a for a in body.outs if isinstance(a, Var)
        }
        left = [k for k, x in enumerate(body.invars) if x in read]
        for k, a in enumerate(eqn.inputs):
            if k not in left and isinstance(a, Var):
                self.readers[a] = [q for q in self.readers[a] if q != i]
        lean = Jaxpr([body.invars[k] for k in left], body.eqns, body.outs, body.constvars, body.consts, body.name)
        self.eqns[i] = eqn.replace(inputs=[eqn.inputs[k] for k in left], params={**eqn.params, "jaxpr": lean})


def _is_spread(body: Jaxpr, x: Var) -> bool:
    """Whether a body reads an input by a broadcast: then it need not have a shape that the group computes."""
    return any(e.primitive.name == "broadcast_in_dim" and x in e.inputs for e in body.eqns)


# Loops ----------------------------------------------------------------------------------------------------------------


def recompute_stacks(jaxpr: Jaxpr) -> Jaxpr:
    """A program without arrays that a scan stacks for others, which can make the values of a step as well."""
    found: Jaxpr | bool | None = jaxpr.memo.get("stacks recomputed")
    if found is None:
        found = True
        if any(e.primitive.control for e in jaxpr.eqns):
            eqns = [e.replace(params=map_subjaxprs(recompute_stacks, e.params)) if e.primitive.control else e
                    for e in jaxpr.eqns]  # fmt: skip
            whole = Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)
            found = eliminate_dead_code(_Stacks(whole).written())
        jaxpr.memo["stacks recomputed"] = found  # itself would be a cycle of references
    return jaxpr if isinstance(found, bool) else found


class _Stacks:
    def __init__(self, jaxpr: Jaxpr) -> None:
        self.jaxpr = jaxpr
        self.eqns = list(jaxpr.eqns)
        self.outs = {a for a in jaxpr.outs if isinstance(a, Var)}
        self.given = {*jaxpr.invars, *jaxpr.constvars}

    def written(self) -> Jaxpr:
        for i, eqn in enumerate(self.eqns):
            if eqn.primitive.name == "scan":
                for v in eqn.outputs[eqn.params["num_carry"] :]:
                    self._replace(i, v)
        j = self.jaxpr
        return Jaxpr(j.invars, self.eqns, j.outs, j.constvars, j.consts, j.name)

    def _replace(self, i: int, v: Var) -> None:
        """Have the scans that read a stacked array make the values of their steps."""
        scan = self.eqns[i]
        body, n, k = (scan.params[p] for p in ("jaxpr", "num_consts", "num_carry"))
        value = body.outs[scan.outputs.index(v)]
        readers = [r for r, e in enumerate(self.eqns) if v in e.inputs]
        if v in self.outs or not readers or not isinstance(value, Var):
            return
        if not all(self._reads_rows(self.eqns[r], v, scan.params["length"]) for r in readers):
            return
        #: What a reader can have of a step: the variable of the body, and what it is of outside, stacked or not.
        outside: dict[Var, tuple[Atom, bool]] = {x: (a, False) for x, a in zip(body.invars[:n], scan.inputs[:n])}
        outside |= {x: (a, True) for x, a in zip(body.invars[n + k :], scan.inputs[n + k :])}
        outside |= {x: (o, True) for x, o in zip(body.outs[k:], scan.outputs[k:]) if isinstance(x, Var) and o is not v}
        outside.pop(value, None)
        made = _made(body)
        chain = _Chain(value, made, frozenset(outside), _CHEAP | _MOVES | {"div"})
        if not chain.exists:
            # One operation that makes it from what is smaller, which is stacked instead.
            eqn = made.get(value)
            operands = {a for a in eqn.inputs if isinstance(a, Var)} if eqn is not None else set()
            if sum(nbytes(a.aval) for a in operands - set(outside)) >= nbytes(value.aval):
                return
            chain = _Chain(value, made, frozenset(operands), _CHEAP | _MOVES)
            if not chain.exists:
                return
        new = [x for x in chain.leaves if x not in outside]
        kept = [a for x in chain.leaves if x in outside for a in [outside[x][0]] if not self._stays(a, readers)]
        cost = sum(nbytes(x.aval) for x in new) * scan.params["length"]
        if cost + sum(nbytes(a.aval) for a in kept) >= nbytes(v.aval):
            return
        for x in new:
            stacked = Var(Aval((scan.params["length"], *x.aval.shape), x.aval.dtype))
            outside[x] = stacked, True
            body = Jaxpr(body.invars, body.eqns, [*body.outs, x], body.constvars, body.consts, body.name)
            scan = scan.replace(outputs=[*scan.outputs, stacked], params=scan.params | {"jaxpr": body})
        self.eqns[i] = scan
        for r in readers:
            self.eqns[r] = _with_rows_made(self.eqns[r], v, chain, outside)

    @staticmethod
    def _reads_rows(eqn: Eqn, v: Var, length: int) -> bool:
        if eqn.primitive.name != "scan" or eqn.params["length"] != length:
            return False
        return v not in eqn.inputs[: eqn.params["num_consts"] + eqn.params["num_carry"]]

    def _stays(self, a: Atom, readers: list[int]) -> bool:
        """Whether an array is there anyway until the last of these equations."""
        return isinstance(a, Literal) or a in self.given or a in self.outs or a in self.eqns[readers[-1]].inputs


def _with_rows_made(scan: Eqn, v: Var, chain: _Chain, outside: Mapping[Var, tuple[Atom, bool]]) -> Eqn:
    """A scan that makes the rows of an array instead of reading them."""
    body, n, k = (scan.params[p] for p in ("jaxpr", "num_consts", "num_carry"))
    consts, xs = dict(zip(body.invars[:n], scan.inputs[:n])), dict(zip(body.invars[n + k :], scan.inputs[n + k :]))
    env: dict[Var, Atom] = {}
    for x in chain.leaves:
        a, is_stacked = outside[x]
        if isinstance(a, Literal) and not is_stacked:
            env[x] = a
            continue
        among = xs if is_stacked else consts
        env[x] = next((y for y, b in among.items() if b is a), None) or Var(x.aval)
        among[env[x]] = a
    copies = _copied(chain.eqns, env)
    replaced = {y: env[chain.eqns[-1].outputs[0]] for y, a in xs.items() if a is v}
    xs = {y: a for y, a in xs.items() if a is not v}
    eqns = [e.replace(inputs=[replaced.get(a, a) if isinstance(a, Var) else a for a in e.inputs]) for e in body.eqns]
    outs = [replaced.get(a, a) if isinstance(a, Var) else a for a in body.outs]
    new = Jaxpr([*consts, *body.invars[n : n + k], *xs], [*copies, *eqns], outs, body.constvars, body.consts, body.name)
    inputs = [*consts.values(), *scan.inputs[n : n + k], *xs.values()]
    return scan.replace(inputs=inputs, params=scan.params | {"jaxpr": new, "num_consts": len(consts)})
