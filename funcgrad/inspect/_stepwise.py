"""A compiled program with a clock between its steps.

For a back end that writes Python source the program is the one that runs otherwise, line for line, buffers overwritten and
deleted as there, with the time taken down after each step; control flow is taken apart, and a body has steps of its own.
The programs of other back ends are one piece: there each equation of the compiled jaxpr, with its fused groups, becomes
a program by itself, a loop one step. What such a back end saves between two steps does not show. The clock is the device's: a GPU's marks are
events between its launches, and nothing waits until a call has been asked for.
"""

from __future__ import annotations

import functools
import itertools
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter_ns
from typing import Any, NamedTuple

import numpy as np

from ..api.staging import jit
from ..compiler.backend import SourceBackend
from ..compiler.cost import Cost, equation_cost, operand_bytes
from ..compiler.emit import Function
from ..compiler.fusion import fusion
from ..compiler.module import Module
from ..compiler.named import named_call
from ..core.backend import Backend, backend_of, get_backend
from ..core.ir import Eqn, Jaxpr, Var, subjaxprs
from ..core.source import Source

__all__ = ["Event", "Measured", "Step", "Stepwise", "measure", "prepare"]


class Step(NamedTuple):
    """One step of a compiled program.

    ``number``: its place; the steps of the body of step 3 are 3.1, 3.2, ... ``kind``: the name of its primitive,
    ``fusion``, or the name of the call that a kernel runs for. ``members``: the primitives it holds, in order. ``text``: the lines that run, for a back end that writes source.
    ``eqn``: its equation. ``cost``: of one run of it, its bodies left out where they have steps of their own.
    """

    number: str
    kind: str
    members: tuple[str, ...]
    text: str
    eqn: Eqn
    cost: Cost

    @property
    def source(self) -> Source | None:
        """The user's line."""
        return self.eqn.source


class Event(NamedTuple):
    """That a step ran: its place in the list of steps, when it began, and how long it and the bodies in it took, in ns."""

    step: int
    start: int
    duration: int
    own: int


class _Draft(NamedTuple):
    """A step before it has a number: its code, its equations, and its text."""

    code: int
    eqns: Sequence[Eqn]
    text: str


class _TimedModule(Module):
    """A module whose functions write down (code, time): 0 at their beginning, -k where control step k begins, k after
    step k.
    """

    def __init__(self, backend: SourceBackend, runner: Backend) -> None:
        super().__init__(backend)
        self.runner = runner
        self.events: list[tuple[int, Any]] = []
        self.clock, self.mark = self.bind(runner.mark, "clock_1"), self.bind(self.events.append, "mark_1")
        self.bodies: dict[int, _TimedFunction] = {}
        self.apart: set[int] = set()
        self.codes = 0

    def code(self) -> int:
        self.codes += 1
        return self.codes


class _TimedFunction(Function):
    """A function of a timed module, with the drafts of its steps."""

    module: _TimedModule

    def write(self) -> None:
        self.drafts: list[_Draft] = []
        self.silent: dict[Var, Eqn] = {}
        self.module.bodies.setdefault(id(self.jaxpr), self)
        super().write()

    def _guards(self) -> None:
        super()._guards()
        self._mark(0)

    def _mark(self, code: int) -> None:
        self._line(f"{self.module.mark}(({code}, {self.module.clock}()))")

    def _equation(self, index: int, eqn: Eqn) -> None:
        if self.inner and not self.drafts and not self.lines:
            self._mark(0)
        whole = isinstance(self.module.runner, SourceBackend)
        before, code = len(self.lines), self.module.code()
        apart = eqn.primitive.control and whole
        if apart:
            self.module.apart.add(code)
            self._mark(-code)
        if whole:
            super()._equation(index, eqn)
        else:
            self._alone(index, eqn)
        written = self.lines[before + apart :]
        if not written:
            # It is a part of the step that uses it, or was computed ahead of all calls.
            self.silent.update(dict.fromkeys(eqn.outputs, eqn))
            return
        held = [self.silent.pop(a) for a in eqn.inputs if isinstance(a, Var) and a in self.silent]
        self._mark(code)
        self.drafts.append(_Draft(code, [*held, eqn], "\n".join(_code(text) for text, _ in written)))

    def _results(self, eqn: Eqn) -> list[bool | Var]:
        if isinstance(self.module.runner, SourceBackend):
            return super()._results(eqn)
        return [True] * len(eqn.outputs)

    def _return(self) -> None:
        # Nobody looks at the results, and arrays of other libraries are copied in their own way.
        if isinstance(self.module.runner, SourceBackend):
            super()._return()
        else:
            self._line("return []")

    def _alone(self, index: int, eqn: Eqn) -> None:
        """One equation as a program of another back end."""
        inputs = list(dict.fromkeys(a for a in eqn.inputs if isinstance(a, Var)))
        program = self.module.runner.compile(Jaxpr(inputs, [eqn], eqn.outputs, name=eqn.primitive.name))
        name = self.module.bind(getattr(program, "call", program), f"{eqn.primitive.name}_1")
        targets = "".join(f"{self._name(v)}, " for v in eqn.outputs)
        equals = f"{targets}= " if targets else ""
        self._line(f"{equals}{name}({', '.join(self._name(v) for v in inputs)})", eqn.source)
        self._delete(index, eqn)


def _code(line: str) -> str:
    """A line without the comment that names the user's."""
    return line.partition("  # ")[0].strip()


class Stepwise:
    """A jaxpr compiled for a back end, to be run with a clock between its ``steps``."""

    def __init__(self, jaxpr: Jaxpr, backend: Backend) -> None:
        self.backend = backend
        program = backend.compile(jaxpr)
        self.program: Callable[..., list[Any]] = getattr(program, "call", program)
        self.jaxpr: Jaxpr = getattr(program, "jaxpr", jaxpr)
        writer = backend if isinstance(backend, SourceBackend) else get_backend("numpy")
        module = self._module = _TimedModule(writer, backend)
        module.entry = module.unique(jaxpr.name)
        function = _TimedFunction(module, self.jaxpr, module.entry, inner=False)
        function.write()
        text, _ = module.assemble()
        namespace = {**writer.namespace, **module.objects}
        with np.errstate(all="ignore"):
            exec(compile(text, "<funcgrad timed>", "exec"), namespace)
        self._run: Callable[..., list[Any]] = namespace[module.entry]
        self.steps: list[Step] = []
        #: From the code of a step to its places: a body that two loops share has several.
        self._places: dict[int, int] = {}
        self._collect(function, "")

    def _collect(self, function: _TimedFunction, prefix: str, first: int = 1) -> int:
        """Number the steps of a function and of the bodies in it; returns the next number."""
        sizes = operand_bytes(function.jaxpr)
        for i, draft in enumerate(function.drafts, first):
            eqn = draft.eqns[-1]
            bodies = self._bodies(eqn)
            own = Cost() if bodies else functools.reduce(Cost.__add__, [equation_cost(e, sizes) for e in draft.eqns])
            number = f"{prefix}{i}"
            if draft.code not in self._places:
                self._places[draft.code] = len(self.steps)
                members = tuple(name for e in draft.eqns for name in _members(e))
                self.steps.append(Step(number, _kind(eqn), members, draft.text, eqn, own))
                inside = 1
                for body in bodies:
                    inside = self._collect(body, f"{number}.", inside)
        return first + len(function.drafts)

    def _bodies(self, eqn: Eqn) -> list[_TimedFunction]:
        if not eqn.primitive.control:
            return []
        bodies = self._module.bodies
        return [bodies[id(j)] for j in subjaxprs(eqn.params) if id(j) in bodies]

    def run(self, args: Sequence[Any]) -> tuple[list[Event], int, int]:
        """Run once: what happened, when the program began and when it ended, in ns."""
        raw = self._module.events
        raw.clear()
        with np.errstate(all="ignore"):
            first = self.backend.mark()
            self._run(*args)
            last = self.backend.mark()
        start, *times, end = self.backend.moments([first, *(mark for _, mark in raw), last])
        return list(self._events([(code, time) for (code, _), time in zip(raw, times, strict=True)], start)), start, end

    def _events(self, raw: Sequence[tuple[int, int]], start: int) -> Iterator[Event]:
        """The steps that ran, from the marks: a control step has what its bodies' steps leave."""
        open_steps: list[list[int]] = []
        before, toll = start, mark_cost(self.backend)
        for code, now in raw:
            spent, before = max(now - before - toll, 0), now
            if code < 0:
                open_steps.append([now, 0])
            elif code == 0:
                if open_steps:
                    open_steps[-1][1] += spent
            elif code in self._module.apart:
                began, own = open_steps.pop()
                yield Event(self._places[code], began, now - began, own + spent)
            else:
                yield Event(self._places[code], now - spent, spent, spent)


def _members(eqn: Eqn) -> list[str]:
    if eqn.primitive is fusion:
        return [e.primitive.name for e in eqn.params["jaxpr"].eqns]
    return [_kind(eqn)]


def _kind(eqn: Eqn) -> str:
    """The name of the primitive, or of the call that a kernel stands for."""
    return str(eqn.params["name"]) if eqn.primitive is named_call else eqn.primitive.name


@functools.cache
def mark_cost(backend: Backend) -> int:
    """What it takes to write a time down, in ns: taken off each step."""
    events: list[tuple[int, Any]] = []
    mark, clock = events.append, backend.mark
    for _ in range(1000):
        mark((0, clock()))
    moments = backend.moments([moment for _, moment in events])
    return int(statistics.median(b - a for a, b in itertools.pairwise(moments)))


class Measured(NamedTuple):
    """Runs of a program: of each step how often it ran in a call and the seconds of each call, and those of the whole."""

    counts: list[float]
    seconds: list[list[float]]
    wholes: list[float]
    events: list[tuple[list[Event], int, int]]


def measure(stepwise: Stepwise, args: Sequence[Any], calls: int, limit: float = float("inf")) -> Measured:
    """Time ``calls`` calls, or fewer once ``limit`` seconds have passed, but three at least; one more warms up."""
    stepwise.run(args)
    stepwise.program(*args)
    runs, wholes = [], []
    began = perf_counter_ns()
    for i in range(calls):
        runs.append(stepwise.run(args))
        start = perf_counter_ns()
        stepwise.program(*args)
        stepwise.backend.synchronise()
        wholes.append((perf_counter_ns() - start) * 1e-9)
        if i >= 2 and (perf_counter_ns() - began) * 1e-9 > limit:
            break
    places = range(len(stepwise.steps))
    counts: Counter[int] = Counter(e.step for events, _, _ in runs for e in events)
    seconds: dict[int, list[float]] = {i: [] for i in places}
    for events, _, _ in runs:
        sums: defaultdict[int, int] = defaultdict(int)
        for e in events:
            sums[e.step] += e.own
        for i in places:
            seconds[i].append(sums[i] * 1e-9)
    return Measured([counts[i] / len(runs) for i in places], [seconds[i] for i in places], wholes, runs)


def prepare(fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Stepwise, list[Any], str]:
    """The program of ``fun`` for these arguments, the arrays to give it, and the name of its back end."""
    entry, leaves = (fun if isinstance(fun, jit) else jit(fun))._find(tuple(args), kwargs, ())
    backend = backend_of([*leaves, *entry.consts])
    return Stepwise(entry.jaxpr, backend), leaves, backend.name
