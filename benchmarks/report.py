"""Results as a table for the terminal and as JSON: times, ratios, targets, verdicts."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np
from cases import SMALLER, Case, Target
from libraries import OURS, Library
from timing import Timing

Results = list[tuple[Case, dict[str, Timing]]]

MET, MISSED, FAILED, UNKNOWN = "met", "MISSED", "FAILED", "-"


def duration(seconds: float) -> str:
    """Three significant digits and a unit: `12.3 us`."""
    for unit, scale in (("us", 1e-6), ("ms", 1e-3)):
        if seconds < 999.5 * scale:
            return f"{seconds / scale:#.3g} {unit}".replace(". ", " ")
    return f"{seconds:#.3g} s".replace(". ", " ")


def quantity(case: Case, measured: float) -> str:
    """What was measured, with its unit."""
    if case.kind != "memory":
        return duration(measured)
    for unit, scale in (("B", 1), ("kB", 1e3)):
        if measured < 999.5 * scale:
            return f"{measured / scale:.3g} {unit}"
    return f"{measured / 1e6:.4g} MB"


def leaves(value: Any) -> list[np.ndarray]:
    """The arrays of dicts (by sorted key) and tuples, as NumPy arrays."""
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in leaves(value[key])]
    if isinstance(value, tuple):
        return [leaf for item in value for leaf in leaves(item)]
    copied = getattr(value, "cpu", None) or getattr(value, "get", None)  # of PyTorch, of CuPy
    return [np.asarray(copied() if copied else value)]


def disagreement(case: Case, timings: dict[str, Timing]) -> str | None:
    """Why the results of the libraries of a case differ, or None: the time of a wrong answer means nothing."""
    known = {name: timing for name, timing in timings.items() if timing.samples and name != SMALLER}
    if case.rtol is None or len(known) < 2:
        return None
    reference, *others = reversed(known)
    expected = leaves(known[reference].value)
    for name in others:
        found = leaves(known[name].value)
        if len(found) != len(expected):
            return f"{name} returns {len(found)} arrays, {reference} {len(expected)}"
        for mine, theirs in zip(found, expected, strict=True):
            scale = float(np.max(np.abs(theirs), initial=0.0))
            if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
                return f"{name} returns {mine.dtype}{mine.shape}, {reference} {theirs.dtype}{theirs.shape}"
            if not np.allclose(mine, theirs, rtol=case.rtol, atol=case.rtol * scale):
                return f"{name} and {reference} differ by up to {float(np.max(np.abs(mine - theirs))):.3g}"
    return None


def target_text(target: Target) -> str:
    """The target in words."""
    if target.limit is None:
        return "completes"
    if target.of is None:
        return f"<= {duration(target.limit)}"
    if target.excess:
        return f"<= {target.of} + {duration(target.limit)}"
    return f"<= {target.limit:g} x {target.of}"


def ratio(timings: dict[str, Timing], of: str) -> float | None:
    """Our time over that of `of`, where both are there."""
    ours, theirs = (timings[name].seconds if name in timings else None for name in (OURS, of))
    return None if ours is None or theirs is None else ours / theirs


def excess(timings: dict[str, Timing], of: str) -> float | None:
    """Our time less that of `of`, where both are there."""
    ours, theirs = (timings[name].seconds if name in timings else None for name in (OURS, of))
    return None if ours is None or theirs is None else ours - theirs


def verdict(case: Case, timings: dict[str, Timing]) -> str:
    """`met`, `MISSED`, `FAILED` (ours raised, or results differ), or `-` where what to compare with is missing."""
    ours = timings.get(OURS)
    if ours is None:
        return UNKNOWN
    if ours.error or ours.seconds is None or disagreement(case, timings):
        return FAILED
    if case.target.limit is None:
        return MET
    against = excess if case.target.excess else ratio
    measured = ours.seconds if case.target.of is None else against(timings, case.target.of)
    return UNKNOWN if measured is None else MET if measured <= case.target.limit else MISSED


def environment(libraries: dict[str, Library], missing: dict[str, str]) -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "openblas_threads": os.environ.get("OPENBLAS_NUM_THREADS"),
        "versions": {name: library.version for name, library in libraries.items()},
        "missing": missing,
    }


def header(environment: dict[str, Any]) -> str:
    """The environment in a few lines."""
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    lines = [
        f"Python {environment['python']}; {versions}",
        f"{environment['processors']} processors, load {environment['load']}, "
        f"OpenBLAS threads {environment['openblas_threads']}",
    ]
    return "\n".join(lines + [f"not there: {name} ({reason})" for name, reason in environment["missing"].items()])


def record(case: Case, timings: dict[str, Timing]) -> dict[str, Any]:
    """One case as JSON holds it; times are in seconds, memory in bytes."""
    return {
        "name": case.name,
        "what": case.what,
        "kind": case.kind,
        "seconds": {name: timing.seconds for name, timing in timings.items()},
        "quartiles": {
            name: np.quantile(timing.samples, (0.25, 0.75)).tolist()
            for name, timing in timings.items()
            if timing.samples
        },
        "samples": {name: len(timing.samples) for name, timing in timings.items()},
        "ratios": {name: ratio(timings, name) for name in timings if name != OURS},
        "target": {"limit": case.target.limit, "of": case.target.of, "excess": case.target.excess},
        "verdict": verdict(case, timings),
        "errors": {name: timing.error for name, timing in timings.items() if timing.error},
        "disagreement": disagreement(case, timings),
    }


def cell(case: Case, timings: dict[str, Timing], name: str) -> str:
    """A time (or bytes), with ours over it in brackets for a peer: `26.0 us (0.41)`."""
    timing = timings.get(name)
    if timing is None:
        return "-"
    if timing.seconds is None:
        return "failed"
    over = ratio(timings, name)
    return quantity(case, timing.seconds) + ("" if name == OURS or over is None else f" ({over:.2g})")


def geometric_means(results: Results, columns: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """By kind, the geometric mean of our time over that of each peer, over the cases that both completed."""
    means: dict[str, dict[str, float]] = {}
    for kind in dict.fromkeys(case.kind for case, _ in results):
        for name in columns:
            ratios = [ratio(timings, name) for case, timings in results if case.kind == kind and name != OURS]
            logs = [math.log(over) for over in ratios if over]
            if logs:
                means.setdefault(kind, {})[name] = math.exp(statistics.fmean(logs))
    return means


def summary(results: Results, columns: tuple[str, ...], targets: Mapping[str, Target]) -> list[str]:
    """The geometric means, the median and worst excess over a peer, and the count of the verdicts, a line each."""
    lines = [
        f"geometric mean of the ratios ({kind}): " + ", ".join(f"{name} {mean:.3g}" for name, mean in means.items())
        for kind, means in geometric_means(results, columns).items()
    ]
    for kind, target in targets.items():
        mean = geometric_means(results, columns).get(kind, {}).get(str(target.of))
        if mean is not None and target.limit is not None:
            lines.append(f"geometric mean ({kind}) {target_text(target)}: {MET if mean <= target.limit else MISSED}")
    more: dict[str, list[tuple[float, str]]] = {}
    for case, timings in results:
        over = excess(timings, case.target.of) if case.target.excess and case.target.of else None
        if over is not None:
            more.setdefault(str(case.target.of), []).append((over, case.name))
    for name, values in more.items():
        worst, where = max(values)
        median = statistics.median(value for value, _ in values)
        lines.append(f"more than {name}: median {1e6 * median:.2f} us, worst {1e6 * worst:.2f} us ({where})")
    verdicts = [verdict(case, timings) for case, timings in results]
    counts = {text: verdicts.count(text) for text in (MET, MISSED, FAILED, UNKNOWN)}
    lines.append("targets: " + ", ".join(f"{count} {text}" for text, count in counts.items() if count))
    return lines


def check(case: Case, timings: dict[str, Timing]) -> str:
    """What a smoke run says of a case: which libraries computed the same, or what went wrong; no times."""
    if errors := [f"{name}: {timing.error}" for name, timing in timings.items() if timing.error]:
        return f"{FAILED}: " + "; ".join(errors)
    if difference := disagreement(case, timings):
        return f"{FAILED}: {difference}"
    ran = [name for name in timings if name != SMALLER]
    return f"agree: {', '.join(ran)}" if len(ran) > 1 else f"ran: {', '.join(ran)}, with nothing to compare"


def table(results: Results, columns: tuple[str, ...], targets: Mapping[str, Target]) -> str:
    """The table: a row a case, a column a library, then the target and the verdict; `targets` are those of the means."""
    rows = [("case", *columns, "target", "verdict")]
    notes = []
    for case, timings in results:
        target = target_text(case.target)
        if case.target.of == SMALLER:
            over, base = ratio(timings, SMALLER), timings.get(SMALLER)
            target += f" ({over:.3g} x {duration(base.seconds)})" if over and base and base.seconds else ""
        rows.append((case.name, *(cell(case, timings, name) for name in columns), target, verdict(case, timings)))
        notes += [f"{case.name}: {name} failed: {timing.error}" for name, timing in timings.items() if timing.error]
        if difference := disagreement(case, timings):
            notes.append(f"{case.name}: {difference}")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "-" * len(max(lines, key=len)))
    lines += ["", *summary(results, columns, targets)]
    lines += [
        "In brackets: the time (or memory) of funcgrad over that of the peer (below 1, funcgrad is faster, or needs less)."
    ]
    lines += [f"{case.name}: {case.what}" for case, _ in results]
    return "\n".join(lines + ([""] + notes if notes else []))
