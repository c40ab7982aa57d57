"""Rematerialization: values are computed a second time instead of being kept, until a program fits into a budget.

The planner (:mod:`.memory`) knows the peak of a program exactly; this pass finds the equation where it is and looks at
the values that are only *carried across*: made before it and read after it, as the residuals of a backward pass. Such a
value is *dropped*: its late readers read a copy, computed again just before the first of them from what is there by
then, which may be other copies. What a copy reads passes an ``optimization_barrier``, one for each variable, so that
neither common subexpressions nor fusion unite it with the first computation; fusion sees all else, so that a cheap copy
is computed inside the group that reads it and never stored.

Which values to drop is a question of how long chains of copies may be. If all of a deep network's activations are
dropped, the last one needs all others, and nothing is won; with segments of some layers, a checkpoint between them and
one segment alive at a time, it is the square root (Chen et al., *Training Deep Nets with Sublinear Memory Cost*, 2016).
Values are walked in the order of the program with a limit to the bytes of a chain: a value whose chain is longer stays,
and is where the next ones begin. The limits tried are 0 and then powers of two times the largest value, first for
elementwise operations, reductions and moves, then for products as well; each try is planned exactly. Of the first that
fits, the values that save most bytes for their operations are dropped, as few as will do; if none fits, the best one is
where the next round begins.

Effects, loops, branches and calls into Python run once. Random bits are elementwise functions of their key, and are drawn
again like anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from typing import Any, NamedTuple

from ..core.errors import MemoryBudgetError
from ..core.ir import Atom, Eqn, Jaxpr, Literal, Var
from ..primitives import optimization_barrier
from .buffers import nbytes
from .cost import PRODUCTS, equation_cost
from .fusion import REDUCTIONS
from .memory import in_units

__all__ = ["rematerialize"]

#: How often the best program so far is taken up again.
_ROUNDS = 6
#: What moves numbers; the result may be a view of the operand.
_MOVES = frozenset([
    "broadcast_in_dim", "concatenate", "copy", "gather", "imag", "iota", "pad", "real", "reshape", "rev",
    "slice", "dynamic_slice", "transpose",
])  # fmt: skip
_VIEWS = frozenset(["broadcast_in_dim", "imag", "optimization_barrier", "real", "reshape", "rev", "slice", "transpose"])
#: What a transcendental counts beside an operation.
_TRANSCENDENTAL = 10


def rematerialize(jaxpr: Jaxpr, budget: int, compile: Callable[[Jaxpr], Any]) -> tuple[Jaxpr, Any]:
    """A program of the same values whose peak is at most ``budget`` bytes, and what ``compile`` made of it.

    ``compile`` is the back end's: its programs know their memory. A program that fits is left as it is.
    Raises MemoryBudgetError if none is found, with the largest values at the peak of the best one.
    """
    program = compile(jaxpr)
    if getattr(program, "memory", None) is None:
        raise MemoryBudgetError("memory_budget: the current back end does not know the memory of its programs")
    first = program
    for _ in range(_ROUNDS):
        if _peak(program) <= budget:
            return jaxpr, program
        found = _improved(program, budget, compile)
        if found is None:
            break
        jaxpr, program = found
    if _peak(program) <= budget:
        return jaxpr, program
    raise MemoryBudgetError(_explained(first, program, budget))


def _peak(program: Any) -> int:
    return int(program.memory.peak_memory_in_bytes)


def _improved(program: Any, budget: int, compile: Callable[[Jaxpr], Any]) -> tuple[Jaxpr, Any] | None:
    """The first rewritten program that fits, with few copies; or the best one; None if none is better."""
    known = _Known(program.simplified, program.jaxpr)
    best: tuple[Jaxpr, Any] | None = None
    tried: set[frozenset[Var]] = set()
    for products in (False, True):
        for limit in _limits(known):
            dropped = known.choose(limit, products)
            if not dropped or frozenset(dropped) in tried:
                continue
            tried.add(frozenset(dropped))
            candidate = known.without(dropped)
            made = compile(candidate)
            if best is None or _peak(made) < _peak(best[1]):
                best = candidate, made
            if _peak(made) <= budget:
                return _fewest(known, dropped, (candidate, made), budget, compile)
    return best if best is not None and _peak(best[1]) < _peak(program) else None


def _limits(known: _Known) -> Iterator[int]:
    """The limits to the bytes of a chain: 0, and powers of two times the largest value up to half of all."""
    yield 0
    limit = max(known.carried.values(), default=0)
    while limit and 2 * limit <= sum(known.carried.values()):
        yield limit
        limit *= 2


def _fewest(
    known: _Known, dropped: list[Var], found: tuple[Jaxpr, Any], budget: int, compile: Callable[[Jaxpr], Any]
) -> tuple[Jaxpr, Any]:
    """A program that fits with as few of the values dropped as bisection finds, those first that save most."""
    ordered = sorted(dropped, key=known.worth, reverse=True)
    least, most = 0, len(ordered)
    while most - least > 1:
        middle = (least + most) // 2
        candidate = known.without(ordered[:middle])
        made = compile(candidate)
        if _peak(made) <= budget:
            found, most = (candidate, made), middle
        else:
            least = middle
    return found


class _Peak(NamedTuple):
    """The place of a peak: the equation, and the variables alive there."""

    place: int
    alive: list[Var]


def _find_peak(jaxpr: Jaxpr) -> _Peak:
    """Where most bytes are alive, by liveness: a view lives in its operand, inputs take nothing of their own."""
    eqns = jaxpr.eqns
    root: dict[Var, Var] = {}
    last: dict[Var, int] = {}
    outside = {*jaxpr.invars, *jaxpr.constvars}
    for i, eqn in enumerate(eqns):
        operands = [a for a in eqn.inputs if isinstance(a, Var)]
        view = eqn.primitive.name in _VIEWS and len(operands) == 1
        for v in eqn.outputs:
            root[v] = root.get(operands[0], operands[0]) if view else v
        for a in [*operands, *eqn.outputs]:
            last[root.get(a, a)] = i
    for out in jaxpr.outs:
        if isinstance(out, Var):
            last[root.get(out, out)] = len(eqns)
    dying: list[list[Var]] = [[] for _ in range(len(eqns) + 1)]
    for v, i in last.items():
        if v not in outside:
            dying[i].append(v)
    alive: dict[Var, None] = {}
    now = most = 0
    place = _Peak(0, [])
    for i, eqn in enumerate(eqns):
        for v in eqn.outputs:
            if root[v] is v:
                alive[v] = None
                now += nbytes(v.aval)
        if now > most:
            most, place = now, _Peak(i, list(alive))
        for v in dying[i]:
            now -= nbytes(v.aval)
            del alive[v]
    return place


class _Known:
    """A simplified program, with where each variable is made and read; ``cut``: the equation of the peak of its fused
    form. ``carried``: the values that are stored, made before the cut and read after it only, with their bytes.
    """

    def __init__(self, jaxpr: Jaxpr, fused: Jaxpr) -> None:
        self.jaxpr = jaxpr
        self.made = {v: i for i, e in enumerate(jaxpr.eqns) for v in e.outputs}
        outs = {a for a in jaxpr.outs if isinstance(a, Var)}
        stored = outs.union(*(e.outputs for e in fused.eqns))
        peak = _find_peak(fused)
        # A group stands at the place of its last result.
        units = fused.eqns[: peak.place + 1]
        self.cut = next((self.made[v] for e in reversed(units) for v in e.outputs if v in self.made), -1)
        self.constant = self._find_constant()
        self.inside: set[Var] = set()
        self.last = self._find_last(outs, stored)
        here = set(jaxpr.eqns[self.cut].inputs) if jaxpr.eqns else set()
        self.carried = {
            v: nbytes(v.aval)
            for v, i in self.made.items()
            if i < self.cut < self.last.get(v, -1) and v in stored and v not in outs and v not in here
        }

    def _find_last(self, outs: set[Var], stored: set[Var]) -> dict[Var, int]:
        """The last reader of each variable. What is made before the cut and read after it, but not ``stored``, is made
        inside the groups that read it: it is in ``inside``, and its operands are read as late as itself.
        """
        eqns = self.jaxpr.eqns
        last: dict[Var, int] = dict.fromkeys(outs, len(eqns))
        for i in reversed(range(len(eqns))):
            place = max((last.get(v, -1) for v in eqns[i].outputs), default=-1)
            if i < self.cut < place and stored.isdisjoint(eqns[i].outputs) and self.can(eqns[i].outputs[0], True):
                self.inside.update(eqns[i].outputs)
            else:
                place = i
            for a in eqns[i].inputs:
                if isinstance(a, Var):
                    last[a] = max(last.get(a, -1), place)
        return last

    def _find_constant(self) -> set[Var]:
        """What depends on literals only: a copy would be the same equation."""
        found: set[Var] = set()
        for eqn in self.jaxpr.eqns:
            if all(isinstance(a, Literal) or a in found for a in eqn.inputs):
                found.update(eqn.outputs)
        return found

    def there(self, var: Var, dropped: set[Var]) -> bool:
        """Whether a copy may read a value as it is."""
        if var not in self.made or var in self.constant:
            return True
        return var not in dropped and var not in self.inside and self.last[var] > self.cut

    def can(self, var: Var, products: bool) -> bool:
        """Whether a value can be computed again."""
        if var not in self.made or var in self.constant:
            return False
        primitive = self.jaxpr.eqns[self.made[var]].primitive
        if primitive.effect or primitive.control:
            return False
        cheap = primitive.elementwise or primitive.name in REDUCTIONS or primitive.name in _MOVES
        return cheap or primitive is optimization_barrier or (products and primitive.name in PRODUCTS)

    def chain(self, var: Var, dropped: set[Var], copies: Container[Var] = ()) -> list[int]:
        """The equations that a copy needs, beside the ``copies`` there are, in the order of the program."""
        found: set[int] = set()
        todo: list[Atom] = [var]
        while todo:
            a = todo.pop()
            if not isinstance(a, Var) or a in copies or (a is not var and self.there(a, dropped)):
                continue
            if self.made[a] not in found:
                found.add(self.made[a])
                todo += self.jaxpr.eqns[self.made[a]].inputs
        return sorted(found)

    def choose(self, limit: int, products: bool) -> list[Var]:
        """The values to drop, if their chains may hold so many bytes of other values that were stored."""
        dropped: set[Var] = set()
        bytes_of: dict[Var, int] = {}
        for v, size in self.carried.items():
            needed, possible = self._held(v, dropped, products, bytes_of)
            if possible and needed <= limit:
                dropped.add(v)
                bytes_of[v] = needed + size
        return list(dropped)

    def _held(self, var: Var, dropped: set[Var], products: bool, bytes_of: dict[Var, int]) -> tuple[int, bool]:
        """The bytes of dropped values that a chain goes through, those of their own chains included."""
        held = 0
        seen: set[Var] = {var}
        todo: list[Atom] = list(self.jaxpr.eqns[self.made[var]].inputs)
        possible = self.can(var, products)
        while todo and possible:
            a = todo.pop()
            if not isinstance(a, Var) or a not in self.made or a in seen:
                continue
            seen.add(a)
            if a in dropped:
                held += bytes_of[a]
            elif not self.there(a, dropped):
                possible = self.can(a, products)
                todo += self.jaxpr.eqns[self.made[a]].inputs
        return held, possible

    def worth(self, var: Var) -> float:
        """Bytes saved for an operation, roughly: of the value alone."""
        costs = [equation_cost(self.jaxpr.eqns[i]) for i in self.chain(var, set())]
        work = sum(c.flops + _TRANSCENDENTAL * c.transcendentals for c in costs)
        return self.carried[var] / (1 + work)

    def without(self, dropped: list[Var]) -> Jaxpr:
        """The program with copies of the dropped values for those who read them after the cut."""
        late = set(dropped)
        for eqn in self.jaxpr.eqns:
            # What a group computes from a dropped value, it computes from the copy.
            if not late.isdisjoint(a for a in eqn.inputs if isinstance(a, Var)):
                late.update(v for v in eqn.outputs if v in self.inside)
        return _Copying(self, late).write()


class _Copying:
    """The program being written. ``copies``: the second variables; ``behind``: those behind a barrier."""

    def __init__(self, known: _Known, dropped: set[Var]) -> None:
        self.known = known
        self.dropped = dropped
        self.eqns: list[Eqn] = []
        self.copies: dict[Var, Atom] = {}
        self.behind: dict[Var, Var] = {}

    def write(self) -> Jaxpr:
        jaxpr = self.known.jaxpr
        for i, eqn in enumerate(jaxpr.eqns):
            late = [a for a in eqn.inputs if isinstance(a, Var) and a in self.dropped] if i > self.known.cut else []
            for a in late:
                self._copy(a)
            self.eqns.append(
                eqn.replace(inputs=[self.copies[a] if a in late else a for a in eqn.inputs]) if late else eqn
            )
        return Jaxpr(jaxpr.invars, self.eqns, jaxpr.outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)

    def _copy(self, var: Var) -> None:
        """Write the equations of a copy, in the order of the program."""
        known = self.known
        for i in known.chain(var, self.dropped, self.copies):
            eqn = known.jaxpr.eqns[i]
            outputs = [Var(v.aval) for v in eqn.outputs]
            self.eqns.append(eqn.replace(inputs=[self._read(a) for a in eqn.inputs], outputs=outputs))
            for v, copy in zip(eqn.outputs, outputs):
                self.copies[v] = copy

    def _read(self, a: Atom) -> Atom:
        if isinstance(a, Literal) or a in self.known.constant:
            return a
        if a in self.copies:
            return self.copies[a]
        if a not in self.behind:
            var = self.behind[a] = Var(a.aval.strong())
            self.eqns.append(Eqn(optimization_barrier, [a], [var], {}))
        return self.behind[a]


def _explained(first: Any, program: Any, budget: int) -> str:
    """By how much a program misses its budget, what is alive at its peak, and what helps."""
    memory = program.memory
    peak = _find_peak(program.jaxpr)
    makers = {v: e for e in program.jaxpr.eqns for v in e.outputs}
    values = sorted(peak.alive, key=lambda v: nbytes(v.aval), reverse=True)[:3]
    lines = []
    for v in values:
        eqn = makers[v]
        where = f" at {eqn.source.describe()}" if eqn.source is not None else ""
        lines.append(f"  {in_units(nbytes(v.aval))}: {v.aval}, by {eqn.primitive.name}{where}")
    largest = "\n".join(lines)
    return (
        f"memory_budget={in_units(budget)} cannot be met by {program.jaxpr.name}: it needs {in_units(_peak(program))}, "
        f"{in_units(_peak(program) - budget)} more ({in_units(_peak(first))} without recomputation). Its arguments take "
        f"{in_units(memory.argument_size_in_bytes)}, its results {in_units(memory.output_size_in_bytes)}. The largest "
        f"values at the peak:\n{largest}\nWrap what makes them, or the body of a scan, in fg.checkpoint, take a smaller "
        f"batch, or allow memory_budget={_peak(program)}"
    )
