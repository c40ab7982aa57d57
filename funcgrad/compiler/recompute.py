"""Which values to keep for later, and which to make again: the fewest bytes, by a minimum cut.

A backward pass reads what the forward pass has computed. Each such value is either stored in between or made again from
others that are stored, and :func:`.mincut.fewest_bytes` says which to store, exactly. What stands between *before* and
*after* is, in a program, its peak: what is alive there counts, whatever else comes and goes; and for two loops, of which one
reads row by row what the other has stacked, the arrays between them. Elementwise operations, with the broadcasts and iotas
that they read, are made again, inside of the groups or steps that read them; products, reductions, and what has seen many
operations since the last of these are not. What is in memory anyway, arguments, results and what a product reads later,
takes nothing. (PyTorch's partitioner of joint graphs asks the same question. With a budget, and for products and
reductions too, there is :mod:`.rematerialize`.)
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping

from ..core.ir import Atom, Eqn, Jaxpr, Literal, Var, map_subjaxprs
from ..core.types import Aval
from .buffers import nbytes
from .dce import eliminate_dead_code
from .fusion import fusion, kept_shape
from .mincut import fewest_bytes
from .schedule import peak, schedule

__all__ = ["recompute_groups", "recompute_stacks"]

#: The work of an operation for one element: nothing for what only moves it, one, or that of a function.
_MOVES = frozenset(["broadcast_in_dim", "iota", "reshape", "slice", "transpose"])
_PLAIN = frozenset([
    "abs", "add", "and", "convert", "eq", "ge", "gt", "integer_pow", "le", "lt", "max", "min", "mul", "ne", "neg", "not",
    "or", "select", "sub",
])  # fmt: skip
_FUNCTION = 6
#: A value that takes more work from the last one that is not made again is not made again either. A group of more than so
#: many equations has no registers left: values are made each time they are read there, and only those of little work.
_MOST_WORK = 32
_LITTLE_WORK = 3
_LONG = 160
#: Peaks below this many bytes stay in the cache, where to load is cheaper than to compute.
_LEAST_BYTES = 1 << 16
#: How often the new peak of a program is looked at, and what part of the old one it has to be.
_ROUNDS = 4
_WORTH = 0.99


def _made_again(eqns: Iterable[Eqn], kept: Container[Var], moves: Container[str], most: int) -> dict[Var, Eqn]:
    """The values that can be made again by so much work, all but those ``kept``, each with its equation."""
    made: dict[Var, Eqn] = {}
    work: dict[Var, int] = {}
    #: What is computed on the way to a value, itself included.
    way: dict[Var, set[Var]] = {}
    for eqn in eqns:
        name = eqn.primitive.name
        if not (eqn.primitive.elementwise or name in moves) or eqn.outputs[0] in kept:
            continue
        v = eqn.outputs[0]
        found = {v}.union(*(way.get(a, ()) for a in _variables(eqn.inputs)))
        work[v] = 0 if name in _MOVES else 1 if name in _PLAIN else _FUNCTION
        if sum(work[u] for u in found) <= most:
            made[v], way[v] = eqn, found
    return made


class _Making:
    """A body that makes values instead of reading them: ``gone`` are its inputs that go, by what they stood for; ``read``
    gives what is there for a value, or None. Each is made just before it is read.
    """

    def __init__(self, gone: Mapping[Var, Var], made: Mapping[Var, Eqn], read: Callable[[Var], Atom | None]) -> None:
        self.gone, self.made, self.read = gone, made, read
        self.env: dict[Var, Atom] = {}
        self.eqns: list[Eqn] = []

    def write(self, body: Jaxpr) -> list[Atom]:
        """Write the equations of the body; its results."""
        for eqn in body.eqns:
            if len(body.eqns) > _LONG:
                self.env.clear()
            self.eqns.append(eqn.replace(inputs=self._replaced(eqn.inputs)))
        return self._replaced(body.outs)

    def _replaced(self, atoms: Iterable[Atom]) -> list[Atom]:
        return [self._make(self.gone[a]) if isinstance(a, Var) and a in self.gone else a for a in atoms]

    def _make(self, v: Var) -> Atom:
        env, todo = self.env, [v]
        while todo:
            v = todo[-1]
            there = env.get(v) or self.read(v)
            if there is not None:
                env[v] = there
                todo.pop()
                continue
            eqn = self.made[v]
            missing = [a for a in eqn.inputs if isinstance(a, Var) and a not in env]
            if missing:
                todo += missing
                continue
            copy = env[v] = Var(v.aval)
            self.eqns.append(eqn.replace(inputs=_substituted(eqn.inputs, env), outputs=[copy]))
        return env[v]


def _substituted(atoms: Iterable[Atom], env: Mapping[Var, Atom]) -> list[Atom]:
    return [env.get(a, a) if isinstance(a, Var) else a for a in atoms]


def _variables(atoms: Iterable[Atom]) -> list[Var]:
    return [a for a in atoms if isinstance(a, Var)]


# Groups ---------------------------------------------------------------------------------------------------------------


def recompute_groups(jaxpr: Jaxpr) -> Jaxpr:
    """A fused program that keeps fewer bytes across its peak."""
    found: Jaxpr | bool | None = jaxpr.memo.get("groups recomputed")
    if found is None:
        eqns = [e.replace(params=map_subjaxprs(recompute_groups, e.params)) if e.primitive.control else e
                for e in jaxpr.eqns]  # fmt: skip
        lean = jaxpr
        if any(e.primitive.control for e in eqns):
            lean = Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)
        lean = _with_lower_peak(lean)
        found = jaxpr.memo["groups recomputed"] = lean is jaxpr or lean  # itself would be a cycle of references
    return jaxpr if isinstance(found, bool) else found


def _with_lower_peak(jaxpr: Jaxpr) -> Jaxpr:
    for _ in range(_ROUNDS):
        ordered = schedule(jaxpr)
        size, place = peak(ordered)
        found = _Peak(ordered, place).written() if size >= _LEAST_BYTES else None
        if found is None or peak(schedule(found))[0] >= _WORTH * size:
            break
        jaxpr = found
    return jaxpr


class _Peak:
    """A program, before and after a place in it. ``made``: what can be made again. ``there``: what is in memory anyway."""

    def __init__(self, jaxpr: Jaxpr, place: int) -> None:
        self.jaxpr, self.place = jaxpr, place
        #: Before: which equation makes a value, a group's own among them; the variable that has the memory of a view.
        self.maker: dict[Var, int] = {}
        self.root: dict[Var, Var] = {}
        steps: list[Eqn] = []
        for i, eqn in enumerate(jaxpr.eqns[:place]):
            for step in _unfused(eqn):
                steps.append(step)
                self.maker.update(dict.fromkeys(step.outputs, i))
                if step.primitive.name in ("reshape", "rev", "slice", "transpose"):
                    self.root[step.outputs[0]] = self.memory(step.inputs[0])  # type: ignore[arg-type]
        # What groups broadcast, and views look at, must be in memory, so it is none that is made again.
        kept = {*self.root, *self.root.values()}
        for e in steps:
            kept.update(a for a in _variables(e.inputs) if e.primitive.name == "broadcast_in_dim")
            kept.update(v for v in e.outputs if not v.aval.shape)
        late = [len(e.params["jaxpr"].eqns) for e in jaxpr.eqns[place:] if e.primitive is fusion]
        most = _LITTLE_WORK if max(late, default=0) > _LONG else _MOST_WORK
        self.made = _made_again(steps, kept, ("broadcast_in_dim", "iota"), most)
        self.there = set(_variables(jaxpr.outs))
        self.wanted: dict[int, list[Var]] = {}
        for r, eqn in enumerate(jaxpr.eqns[place:], place):
            takes = _taken(eqn)
            self.wanted[r] = [v for v in _variables(eqn.inputs) if v in self.maker and v in takes]
            self.there.update(self.memory(v) for v in _variables(eqn.inputs) if v not in self.wanted[r])

    def memory(self, v: Var) -> Var:
        return self.root.get(v, v)

    def is_there(self, v: Var) -> bool:
        return v not in self.maker or v in self.there

    def written(self) -> Jaxpr | None:
        """The program with as few bytes as can be kept; None if it does so already."""
        carried = {self.memory(v): None for listed in self.wanted.values() for v in listed}
        carried = {v: None for v in carried if not self.is_there(v)}
        stored = fewest_bytes(carried, self._operands, lambda v: nbytes(v.aval))
        if sum(nbytes(v.aval) for v in stored) >= sum(nbytes(v.aval) for v in carried):
            return None
        #: Values of groups that are written from now on.
        written = {v: Var(v.aval) for v in stored}
        eqns = list(self.jaxpr.eqns)
        for v in stored:
            eqn = eqns[self.maker[v]]
            if v in self.jaxpr.eqns[self.maker[v]].outputs:
                written[v] = v
            else:
                body: Jaxpr = eqn.params["jaxpr"]
                more = Jaxpr(body.invars, body.eqns, [*body.outs, v], name=body.name)
                eqns[self.maker[v]] = eqn.replace(
                    outputs=[*eqn.outputs, written[v]], params={**eqn.params, "jaxpr": more}
                )
        for r, listed in self.wanted.items():
            again = [v for v in listed if v not in self.root and v not in stored and not self.is_there(v)]
            if again:
                eqns[r] = self._making(eqns[r], again, written)
        j = self.jaxpr
        return _lean(Jaxpr(j.invars, eqns, j.outs, j.constvars, j.consts, j.name))

    def _operands(self, v: Var) -> list[Var] | None:
        eqn = self.made.get(v)
        if eqn is None:
            return None
        return [a for a in map(self.memory, _variables(eqn.inputs)) if not self.is_there(a)]

    def _making(self, reader: Eqn, again: list[Var], written: Mapping[Var, Var]) -> Eqn:
        """A group that makes some of its inputs."""
        body: Jaxpr = reader.params["jaxpr"]
        operands = dict(zip(body.invars, reader.inputs))
        places = {a: x for x, a in operands.items() if a not in again}

        def read(v: Var) -> Var | None:
            if v in self.made and not self.is_there(v) and v not in written:
                return None
            outer = written.get(v, v)
            if outer not in places:
                places[outer] = Var(outer.aval.strong())
                operands[places[outer]] = outer
            return places[outer]

        making = _Making({x: a for x, a in operands.items() if a in again}, self.made, read)
        outs = making.write(body)
        invars = [x for x in operands if x not in making.gone]
        new = Jaxpr(invars, making.eqns, outs, name=body.name)
        return reader.replace(inputs=[operands[x] for x in invars], params={**reader.params, "jaxpr": new})


def _unfused(eqn: Eqn) -> Iterator[Eqn]:
    """The equations of a group, in the variables of the program where they are those of the program."""
    if eqn.primitive is not fusion:
        yield eqn
        return
    body: Jaxpr = eqn.params["jaxpr"]
    env: dict[Var, Atom] = dict(zip(body.invars, eqn.inputs))
    env.update((x, v) for x, v in zip(body.outs, eqn.outputs) if isinstance(x, Var))
    for e in body.eqns:
        yield e.replace(inputs=_substituted(e.inputs, env), outputs=_substituted(e.outputs, env))


def _taken(reader: Eqn) -> Container[Var]:
    """The inputs of a group that it could make itself: those that it does not read by a broadcast."""
    if reader.primitive is not fusion:
        return ()
    body, space = reader.params["jaxpr"], reader.params["space"]
    shapes = space, kept_shape(space, reader.params["axes"])
    spread = {a for e in body.eqns if e.primitive.name == "broadcast_in_dim" for a in _variables(e.inputs)}
    operands = zip(body.invars, reader.inputs)
    return {
        a for x, a in operands if isinstance(a, Var) and a.aval.shape in shapes and a.aval.shape and x not in spread
    }


def _lean(jaxpr: Jaxpr) -> Jaxpr:
    """A program whose groups compute, and read, only what somebody reads."""
    read = set(_variables(jaxpr.outs))
    eqns: list[Eqn] = []
    for eqn in reversed(jaxpr.eqns):
        if eqn.primitive is fusion:
            body: Jaxpr = eqn.params["jaxpr"]
            left = [k for k, v in enumerate(eqn.outputs) if v in read]
            if not left:
                continue
            if len(left) < len(eqn.outputs):
                lean = eliminate_dead_code(Jaxpr(body.invars, body.eqns, [body.outs[k] for k in left], name=body.name))
                used = {a for e in lean.eqns for a in e.inputs} | set(lean.outs)
                inputs = {x: a for x, a in zip(body.invars, eqn.inputs) if x in used}
                lean = Jaxpr(list(inputs), lean.eqns, lean.outs, name=body.name)
                outputs = [eqn.outputs[k] for k in left]
                eqn = eqn.replace(inputs=list(inputs.values()), outputs=outputs, params={**eqn.params, "jaxpr": lean})
        read.update(_variables(eqn.inputs))
        eqns.append(eqn)
    return Jaxpr(jaxpr.invars, eqns[::-1], jaxpr.outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)


# Loops ----------------------------------------------------------------------------------------------------------------


def recompute_stacks(jaxpr: Jaxpr) -> Jaxpr:
    """A program whose scans stack fewer bytes for each other."""
    found: Jaxpr | bool | None = jaxpr.memo.get("stacks recomputed")
    if found is None:
        found = True
        if any(e.primitive.control for e in jaxpr.eqns):
            eqns = [e.replace(params=map_subjaxprs(recompute_stacks, e.params)) if e.primitive.control else e
                    for e in jaxpr.eqns]  # fmt: skip
            whole = Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)
            found = eliminate_dead_code(_with_fewer_stacks(whole))
        jaxpr.memo["stacks recomputed"] = found  # itself would be a cycle of references
    return jaxpr if isinstance(found, bool) else found


def _with_fewer_stacks(jaxpr: Jaxpr) -> Jaxpr:
    eqns = list(jaxpr.eqns)
    for i, eqn in enumerate(eqns):
        if eqn.primitive.name == "scan":
            _Stacks(jaxpr, eqns, i).rewrite()
    return Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)


class _Stacks:
    """What a scan stacks for others. ``wanted``: the stacks that only scans read, row by row, and the values of a step that
    they hold. ``outside``: what a reader can have of a step: the variable of the body, and what it is of outside, stacked or not.
    """

    def __init__(self, jaxpr: Jaxpr, eqns: list[Eqn], i: int) -> None:
        self.eqns, self.i, self.scan = eqns, i, eqns[i]
        self.body, n, k, self.length = (self.scan.params[p] for p in ("jaxpr", "num_consts", "num_carry", "length"))
        consts, xs = (
            zip(self.body.invars[:n], self.scan.inputs),
            zip(self.body.invars[n + k :], self.scan.inputs[n + k :]),
        )
        self.outside: dict[Var, tuple[Atom, bool]] = {x: (a, False) for x, a in consts} | {x: (a, True) for x, a in xs}
        given = list(self.outside)
        outs = set(jaxpr.outs)
        self.wanted: dict[Var, Var] = {}
        self.readers: set[int] = set()
        for x, v in zip(self.body.outs[k:], self.scan.outputs[k:]):
            readers = [r for r, e in enumerate(eqns) if v in e.inputs]
            if not isinstance(x, Var):
                continue
            self.outside.setdefault(x, (v, True))
            if v not in outs and readers and all(self._reads_rows(eqns[r], v) for r in readers):
                self.wanted[v] = x
                self.readers.update(readers)
        last = max(self.readers, default=0)
        kept = {*jaxpr.invars, *jaxpr.constvars, *outs}.union(*(e.inputs for e in eqns[last:]))
        #: Bytes of a value: of all steps; of what is there only for the readers' sake; none of what is there anyway.
        self.bytes: dict[Var, int] = {}
        for x, (a, _) in self.outside.items():
            if x in given:
                self.bytes[x] = nbytes(a.aval) if isinstance(a, Var) and a not in kept else 0
            elif a not in self.wanted:
                self.bytes[x] = 0
        self.made = _made_again(self.body.eqns, (), _MOVES, _MOST_WORK)

    def _reads_rows(self, eqn: Eqn, v: Var) -> bool:
        if eqn.primitive.name != "scan" or eqn.params["length"] != self.length:
            return False
        return v not in eqn.inputs[: eqn.params["num_consts"] + eqn.params["num_carry"]]

    def _size(self, x: Var) -> int:
        found = self.bytes.get(x)
        return int(self.length) * nbytes(x.aval) if found is None else found

    def _operands(self, x: Var) -> list[Var] | None:
        eqn = self.made.get(x) if self._size(x) else None
        return None if eqn is None else _variables(eqn.inputs)

    def rewrite(self) -> None:
        """Have the readers make what need not be stacked."""
        stored = fewest_bytes(self.wanted.values(), self._operands, self._size)
        if sum(map(self._size, stored)) >= sum(nbytes(v.aval) for v in self.wanted):
            return
        new = [x for x in stored if x not in self.outside]
        arrays = [Var(Aval((self.length, *x.aval.shape), x.aval.dtype)) for x in new]
        self.outside.update((x, (a, True)) for x, a in zip(new, arrays))
        body = Jaxpr(self.body.invars, self.body.eqns, [*self.body.outs, *new], name=self.body.name)
        self.eqns[self.i] = self.scan.replace(
            outputs=[*self.scan.outputs, *arrays], params=self.scan.params | {"jaxpr": body}
        )
        for r in self.readers:
            self.eqns[r] = self._making(self.eqns[r], stored)

    def _making(self, reader: Eqn, stored: Container[Var]) -> Eqn:
        """A scan that makes rows of its arrays."""
        body, n, k = (reader.params[p] for p in ("jaxpr", "num_consts", "num_carry"))
        consts = dict(zip(body.invars[:n], reader.inputs[:n]))
        rows = dict(zip(body.invars[n + k :], reader.inputs[n + k :]))
        value = {v: x for v, x in self.wanted.items() if x not in stored or self.outside[x][0] is not v}
        again = {y: value[a] for y, a in rows.items() if a in value}

        def read(x: Var) -> Atom | None:
            if x not in stored:
                return None
            a, is_stacked = self.outside[x]
            if isinstance(a, Literal) and not is_stacked:
                return a
            among = rows if is_stacked else consts
            found = next((y for y, b in among.items() if b is a), None)
            if found is None:
                found = Var(x.aval.strong())
                among[found] = a
            return found

        making = _Making(again, self.made, read)
        outs = making.write(body)
        rows = {y: a for y, a in rows.items() if y not in again}
        new = Jaxpr([*consts, *body.invars[n : n + k], *rows], making.eqns, outs, name=body.name)
        inputs = [*consts.values(), *reader.inputs[n : n + k], *rows.values()]
        return reader.replace(inputs=inputs, params=reader.params | {"jaxpr": new, "num_consts": len(consts)})
