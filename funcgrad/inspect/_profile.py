"""``profile``: several calls of a compiled program, timed step by step, as tables and as a trace for a viewer."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ._stepwise import Measured, Step, measure, prepare
from ._table import seconds, table

__all__ = ["Profile", "profile"]


class Profile:
    """``steps`` and, in ``times``, the seconds of each in each call, bodies of loops taken off; ``str`` gives the tables."""

    def __init__(self, steps: Sequence[Step], found: Measured, backend: str) -> None:
        self.steps = list(steps)
        self.times = found.seconds
        self.counts = found.counts
        self.backend = backend
        self._events = found.events

    def by_line(self) -> dict[str, float]:
        """The median seconds a call for each of the user's lines, most first; what has no line is under an empty text."""
        sums: dict[str, float] = {}
        for step, times in zip(self.steps, self.times):
            line = "" if step.source is None else f"{step.source.file}:{step.source.line}"
            sums[line] = sums.get(line, 0.0) + statistics.median(times)
        return dict(sorted(sums.items(), key=lambda item: -item[1]))

    def trace(self) -> dict[str, Any]:
        """The calls in the format of chrome://tracing and Perfetto: complete events, in microseconds."""
        origin = self._events[0][1]
        events: list[dict[str, Any]] = []

        def add(name: str, kind: str, start: int, duration: int, details: dict[str, Any]) -> None:
            place = {"ts": (start - origin) / 1e3, "dur": duration / 1e3, "pid": os.getpid(), "tid": 1}
            events.append({"name": name, "cat": kind, "ph": "X", **place, "args": details})

        for call, (happened, start, end) in enumerate(self._events, 1):
            add(f"call {call}", "call", start, end - start, {})
            for e in sorted(happened, key=lambda e: e.start):
                step = self.steps[e.step]
                details = {"line": "" if step.source is None else step.source.describe(), "code": step.text}
                add(f"{step.number} {step.kind}", step.kind, e.start, e.duration, details)
        return {"traceEvents": events, "displayTimeUnit": "ms"}

    def __str__(self) -> str:
        medians = [statistics.median(t) for t in self.times]
        total = sum(medians)
        rows = [
            [
                s.number,
                s.kind,
                str(s.source or ""),
                f"{n:g}",
                seconds(m),
                seconds(min(t)),
                seconds(max(t)),
                _part(m, total),
            ]
            for s, n, m, t in zip(self.steps, self.counts, medians, self.times)
        ]
        lines = []
        for line, time in self.by_line().items():
            source = next(
                (s.source for s in self.steps if s.source and f"{s.source.file}:{s.source.line}" == line), None
            )
            lines.append([f"{source or '(no line)'}", seconds(time), _part(time, total), source.code if source else ""])
        head = ["step", "what", "line", "runs", "median", "least", "most", "of all"]
        first = table(head, rows, range(3, 8))
        return f"{first}\n\n{table(['line', 'median', 'of all', 'code'], lines, (1, 2))}"

    __repr__ = __str__


def _part(time: float, total: float) -> str:
    return f"{time / total:.0%}" if total else ""


def profile(
    fun: Callable[..., Any], *args: Any, trace: str | os.PathLike[str] | None = None, calls: int = 10, **kwargs: Any
) -> Profile:
    """``calls`` calls of the compiled ``fun``, after one that warms up, timed step by step and by the user's lines.

    ``trace``: a file for the timeline of the calls, as JSON for ``chrome://tracing`` or https://ui.perfetto.dev. Steps are
    those of :func:`explain`. An argument of ``fun`` of one of these names is bound by ``functools.partial``.
    Raises ValueError for less than one call, and what a call raises.

    >>> import numpy as np
    >>> found = profile(lambda x: np.tanh(x) @ x, np.ones((8, 8)), calls=3)
    >>> [step.kind for step in found.steps], [len(times) for times in found.times]
    (['tanh', 'dot_general'], [3, 3])
    """
    if calls < 1:
        raise ValueError(f"profile: calls is a number of calls, 1 or more, not {calls}")
    stepwise, leaves, backend = prepare(fun, args, kwargs)
    found = Profile(stepwise.steps, measure(stepwise, leaves, calls), backend)
    if trace is not None:
        Path(trace).write_text(json.dumps(found.trace()), encoding="utf-8")
    return found
