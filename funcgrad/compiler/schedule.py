"""The order of equations, for little memory: what frees more than it needs runs as soon as it can, what needs more than it
frees as late as it may.

A reduction moves up to what it reduces, and a large array that is only made from small ones moves down to its first reader.
Each move is judged by itself, from sizes and last readers, so the new order is taken only if its peak is lower than that
of the old one by something. Effects and control flow keep their order. The bodies of control flow are ordered too. A
program with barriers stays as it is: they stand for an order that somebody chose, as rematerialization does.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..core.ir import Eqn, Jaxpr, Var, map_subjaxprs
from .buffers import nbytes
from .fusion import fusion

__all__ = ["peak", "schedule"]

#: Equations without memory of their own: their result lies where the operand does.
_VIEWS = frozenset(["broadcast_in_dim", "copy", "optimization_barrier", "reshape", "rev", "slice", "transpose"])
#: Programs without an array of so many elements stay as they are.
_LARGE = 512
#: A new order is taken if its peak is less than this part of the old one's.
_WORTH = 0.99
#: Of how many readers of a new value each is looked at.
_FEW = 8


class _Lives:
    """Of the memory of a program: whose it is, how large, and which equations read it. Arguments and results stay."""

    def __init__(self, jaxpr: Jaxpr) -> None:
        self.root: dict[Var, Var] = {}
        self.reads: list[list[Var]] = []
        self.makes: list[list[Var]] = []
        self.readers: dict[Var, list[int]] = {}
        self.joins = [e.primitive.name == "concatenate" for e in jaxpr.eqns]
        for i, eqn in enumerate(jaxpr.eqns):
            operands = [self.root.get(a, a) for a in eqn.inputs if isinstance(a, Var)]
            self.reads.append(list(dict.fromkeys(operands)))
            for r in self.reads[-1]:
                self.readers.setdefault(r, []).append(i)
            if eqn.primitive.name in _VIEWS and operands:
                self.root.update(zip(eqn.outputs, operands))
                self.makes.append([])
            else:
                self.makes.append(list(eqn.outputs))
        self.made = {v: i for i, made in enumerate(self.makes) for v in made}
        self.kept = {self.root.get(a, a) for a in jaxpr.outs if isinstance(a, Var)}

    def size(self, i: int) -> int:
        """The bytes of what an equation makes."""
        return sum(nbytes(v.aval) for v in self.makes[i])

    def is_freed(self, root: Var) -> bool:
        """Whether memory is given back behind its last reader."""
        return root in self.made and root not in self.kept

    def worst(self, order: Sequence[int]) -> tuple[int, int]:
        """The most memory at a time, besides that of the arguments, and the equation that runs then."""
        left = {root: len(readers) for root, readers in self.readers.items()}
        now = most = place = 0
        for i in order:
            for root in self.reads[i]:
                left[root] -= 1
            freed = sum(nbytes(r.aval) for r in self.reads[i] if not left[r] and self.is_freed(r))
            now += self.size(i)
            # The parts of a concatenation are written where it will be.
            here = now - freed if self.joins[i] else now
            if here > most:
                most, place = here, i
            now -= freed + sum(nbytes(v.aval) for v in self.makes[i] if v not in self.readers and v not in self.kept)
        return most, place


def peak(jaxpr: Jaxpr) -> tuple[int, int]:
    """The bytes alive at the worst moment if all equations but views make new arrays, arguments not counted, and the place
    of the equation that runs then."""
    return _Lives(jaxpr).worst(range(len(jaxpr.eqns)))


def schedule(jaxpr: Jaxpr) -> Jaxpr:
    """The same equations in an order that needs as much memory or less."""
    found: Jaxpr | bool | None = jaxpr.memo.get("scheduled")
    if found is None:
        eqns = [_with_ordered_bodies(e) if e.primitive.control else e for e in jaxpr.eqns]
        large = max([v.aval.size for e in eqns for v in e.outputs], default=0) >= _LARGE
        if large and not _has_barriers(eqns):
            lives = _Lives(jaxpr)
            order = _Scheduler(jaxpr.eqns, lives).order(jaxpr)
            if lives.worst(order)[0] < _WORTH * lives.worst(range(len(eqns)))[0]:
                eqns = [eqns[i] for i in order]
        same = all(a is b for a, b in zip(eqns, jaxpr.eqns))
        found = same or Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)
        jaxpr.memo["scheduled"] = found  # itself would be a cycle of references
    return jaxpr if isinstance(found, bool) else found


def _has_barriers(eqns: Sequence[Eqn]) -> bool:
    names = {e.primitive.name for e in eqns} | {
        e.primitive.name for group in eqns if group.primitive is fusion for e in group.params["jaxpr"].eqns
    }
    return "optimization_barrier" in names


def _with_ordered_bodies(eqn: Eqn) -> Eqn:
    params = map_subjaxprs(schedule, eqn.params)
    return eqn if all(params[k] is eqn.params[k] for k in params) else eqn.replace(params=params)


class _Scheduler:
    """Emits equations in their order, but for those that wait for a reader and those that free memory at once."""

    def __init__(self, eqns: Sequence[Eqn], lives: _Lives) -> None:
        self.eqns, self.lives = eqns, lives
        self.defs = {v: i for i, e in enumerate(eqns) for v in e.outputs}
        self.done = [False] * len(eqns)
        self.left = {root: len(readers) for root, readers in lives.readers.items()}
        self.emitted: list[int] = []

    def order(self, jaxpr: Jaxpr) -> list[int]:
        for i in range(len(self.eqns)):
            if not self._waits(i):
                self._emit(i)
        for a in jaxpr.outs:
            if isinstance(a, Var) and a in self.defs:
                self._emit(self.defs[a])
        return self.emitted

    def _is_fixed(self, i: int) -> bool:
        return self.eqns[i].primitive.effect or self.eqns[i].primitive.control

    def _waits(self, i: int) -> bool:
        """Whether it is better to run an equation when somebody reads its results: what it makes is more than what it
        keeps alive until then."""
        lives = self.lives
        if self._is_fixed(i):
            return False
        if not lives.makes[i]:
            return True
        first = min((lives.readers[v][0] for v in lives.makes[i] if v in lives.readers), default=len(self.eqns))
        here = [r for r in lives.reads[i] if lives.is_freed(r) and self.done[lives.made[r]]]
        kept = sum(nbytes(r.aval) for r in here if lives.readers[r][-1] < first)
        return lives.size(i) > kept

    def _emit(self, i: int) -> None:
        """Emit an equation, before it what it reads, and behind it what frees memory."""
        todo = [i]
        while todo:
            i = todo[-1]
            if self.done[i]:
                todo.pop()
                continue
            missing = [self.defs[a] for a in self.eqns[i].inputs if isinstance(a, Var) and a in self.defs]
            missing = [j for j in missing if not self.done[j]]
            if missing:
                todo += reversed(missing)
                continue
            todo.pop()
            self.done[i] = True
            self.emitted.append(i)
            lives = self.lives
            for root in lives.reads[i]:
                self.left[root] -= 1
            last = [r for r in (*lives.reads[i], *lives.makes[i]) if self.left.get(r) == 1]
            few = [r for r in lives.makes[i] if len(lives.readers.get(r, ())) <= _FEW]
            candidates = sorted({j for r in (*last, *few) for j in lives.readers.get(r, ())}, reverse=True)
            todo += [j for j in candidates if self._frees(j)]

    def _frees(self, j: int) -> bool:
        """Whether an equation can run and frees more than it makes."""
        lives = self.lives
        if self.done[j] or self._is_fixed(j) or not lives.makes[j]:
            return False
        if not all(self.done[lives.made[r]] for r in lives.reads[j] if r in lives.made):
            return False
        freed = sum(nbytes(r.aval) for r in lives.reads[j] if self.left[r] == 1 and lives.is_freed(r))
        return freed > lives.size(j)
