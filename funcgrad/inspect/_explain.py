"""``explain``: a compiled program as a table of what each step costs, how long it takes and how long it must take."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..compiler.cost import Cost
from ..core.types import Aval
from ._machine import Roofline, roofline
from ._stepwise import Step, measure, prepare
from ._table import quantity, seconds, table

__all__ = ["Explanation", "Row", "explain"]

#: Calls that are timed, and the seconds that they may take.
_CALLS, _LIMIT = 20, 1.0


class Row(NamedTuple):
    """A step with its ``trips`` in a call, the median ``seconds`` of all of them, and the ``least`` seconds of the roofline.

    ``cost`` is that of all trips.
    """

    step: Step
    trips: float
    seconds: float
    least: float
    cost: Cost

    @property
    def share(self) -> float:
        """The least time as a part of the measured one; above 1 where data were in a faster cache than those measured."""
        return self.least / self.seconds if self.seconds else 0.0

    @property
    def operands(self) -> list[Aval]:
        """The types of the operands."""
        return [a.aval for a in self.step.eqn.inputs]

    @property
    def results(self) -> list[Aval]:
        """The types of the results."""
        return [v.aval for v in self.step.eqn.outputs]


class Explanation:
    """A program step by step: ``rows``, the name of its ``backend``, the ``roofline`` of the machine, ``seconds``, the
    median time of a call of the program as it runs otherwise; ``str`` gives the table.
    """

    def __init__(self, rows: Sequence[Row], backend: str, whole: float, machine: Roofline) -> None:
        self.rows = list(rows)
        self.backend = backend
        self.seconds = whole
        self.roofline = machine

    @property
    def cost(self) -> Cost:
        """What a call costs, its loops as often as they ran."""
        return sum((r.cost for r in self.rows), Cost())

    def by_kind(self) -> dict[str, float]:
        """The seconds of the steps of each kind, most first."""
        sums: dict[str, float] = {}
        for r in self.rows:
            sums[r.step.kind] = sums.get(r.step.kind, 0.0) + r.seconds
        return dict(sorted(sums.items(), key=lambda item: -item[1]))

    def __str__(self) -> str:
        stepwise = sum(r.seconds for r in self.rows)
        lines = []
        for r in self.rows:
            s = r.step
            what = s.kind if len(s.members) < 2 else f"{s.kind} ({', '.join(s.members)})"
            types = f"{', '.join(map(str, r.operands))} -> {', '.join(map(str, r.results))}"
            back = " (backward)" if s.source is not None and s.source.backward else ""
            lines.append([
                s.number, _cut(what, 44), _cut(s.text.replace("\n", "; "), 44), f"{s.source or ''}{back}", _cut(types, 44),
                f"{r.trips:g}", quantity(r.cost.bytes, "B"), quantity(r.cost.flops), seconds(r.seconds),
                f"{r.seconds / stepwise:.0%}" if stepwise else "", f"{r.share:.0%}" if r.least else "",
            ])  # fmt: skip
        head = ["step", "what", "code", "line", "types", "runs", "bytes", "FLOPs", "time", "of all", "of roofline"]
        total = self.cost
        peaks = ", ".join(f"{quantity(p, 'FLOP/s')} in {d}" for d, p in self.roofline.peaks.items())
        memory = quantity(self.roofline.bandwidths[-1][1], "B/s")
        kinds = ", ".join(f"{kind} {t / stepwise:.0%}" for kind, t in self.by_kind().items() if stepwise)
        notes = [
            f"a call takes {seconds(self.seconds)} on the back end {self.backend!r}; its steps, timed one by one, "
            f"{seconds(stepwise)}: {kinds}",
            f"{quantity(total.flops, 'FLOP')}, {quantity(total.transcendentals)} transcendentals, {quantity(total.bytes, 'B')} moved",
            f"roofline: {peaks}; memory {memory}",
        ]
        if total.unbounded:
            notes.append("a while loop that runs as one step counts as one iteration")
        if total.unknown:
            notes.append(f"not counted: {', '.join(sorted(total.unknown))}")
        return "\n".join([table(head, lines, range(5, 11)), "", *notes])

    __repr__ = __str__


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def explain(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation:
    """The compiled program of ``fun`` for these arguments, step by step: an equation, or a group that runs as one, with the
    lines that run, the user's line, operand and result types, bytes moved, floating-point operations, the median time of
    several calls, and which part of it the machine would need at its measured limits (:func:`roofline`).

    The bodies of loops and branches have steps of their own, with as many runs as there were; a step's time and costs are
    those of all its runs. :mod:`funcgrad.compiler.cost` says what is counted. A back end that compiles programs as one
    piece runs each equation as a program by itself here, a loop as one step. ``fun`` may be jitted. It is run, some twenty
    times: what it does besides computing (callbacks) happens as often. Raises what a call raises.

    >>> import numpy as np
    >>> print(explain(lambda x: np.tanh(x @ x), np.ones((64, 64))))  # doctest: +SKIP
    >>> [(row.step.kind, row.cost.flops) for row in explain(lambda x: np.tanh(x @ x), np.ones((64, 64))).rows]
    [('dot_general', 524288), ('tanh', 0)]
    """
    stepwise, leaves, backend = prepare(fun, args, kwargs)
    machine = roofline()
    found = measure(stepwise, leaves, _CALLS, _LIMIT)
    rows = []
    for step, trips, times in zip(stepwise.steps, found.counts, found.seconds):
        dtype = next(
            (a.aval.dtype for a in (*step.eqn.outputs, *step.eqn.inputs) if a.aval.dtype.kind in "fc"), "float64"
        )
        once = machine.seconds(step.cost.flops, step.cost.bytes, dtype)
        rows.append(Row(step, trips, statistics.median(times), once * trips, step.cost * round(trips)))
    return Explanation(rows, backend, statistics.median(found.wholes), machine)
