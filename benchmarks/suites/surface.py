"""The surface: eager calls beside NumPy's own, plain NumPy functions under jit, sorting and indexing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cases import Case, Maker, Target, running
from libraries import Function, Library
from timing import Thunk

# ---- eager calls on small arrays -------------------------------------------------------------------------------------

EAGER: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda xp, x, i: xp.add(x, x),
    "sin": lambda xp, x, i: xp.sin(x),
    "exp": lambda xp, x, i: xp.exp(x),
    "sum": lambda xp, x, i: xp.sum(x),
    "mean": lambda xp, x, i: xp.mean(x),
    "max": lambda xp, x, i: xp.max(x, 0),
    "reshape": lambda xp, x, i: xp.reshape(x, (2, 8)),
    "matmul": lambda xp, x, i: xp.matmul(x, x),
    "dot": lambda xp, x, i: xp.dot(x, x),
    "where": lambda xp, x, i: xp.where(i > 1, x, x),
    "concatenate": lambda xp, x, i: xp.concatenate((x, x)),
    "stack": lambda xp, x, i: xp.stack((x, x)),
    "take": lambda xp, x, i: xp.take(x, i, 0),
}


def eager(function: Callable[[Any, Any, Any], Any]) -> Maker:
    """A maker that calls `function` with a 4x4 array and four indices."""

    def make(library: Library) -> Thunk:
        xp = library.xp
        x = np.linspace(0.1, 1.0, 16).reshape(4, 4)
        return running(library, lambda x, i: function(xp, x, i), x, np.array([3, 0, 2, 1]))

    return make


# ---- a function that knows NumPy only --------------------------------------------------------------------------------


def light_curve(time: np.ndarray, flux: np.ndarray) -> dict[str, Any]:
    """What an astronomer does with a star's brightness: trend, spots, a transit, noise, and how well they fit."""
    # The trend of the instrument
    span = time[-1] - time[0] + 1.0
    phase = (time - time[0]) / span
    trend = 1.0 + 0.02 * phase - 0.01 * phase**2
    flat = flux / trend

    # The spots of the star, as three harmonics of its rotation
    angle = 2 * np.pi * 3.7 * phase
    spots = 0.05 * np.sin(angle)
    spots = spots + 0.02 * np.cos(2 * angle + 0.4)
    spots = spots + 0.01 * np.sin(3 * angle - 1.1)
    quiet = flat - spots

    # A planet in transit, its edges smooth
    centre = 0.5
    width = 0.08
    offset = np.abs(phase - centre)
    ingress = 1 / (1 + np.exp((offset - width) / 0.01))
    darkening = 1 - 0.3 * (1 - np.sqrt(np.clip(1 - (offset / (2 * width)) ** 2, 0, 1)))
    depth = 0.01 * darkening
    transit = 1 - depth * ingress

    # The error of each measurement
    photons = 0.002 * np.sqrt(np.maximum(flux, 0.1))
    jitter = 0.001 * np.exp(-((phase - 0.2) ** 2) / 0.02)
    variance = photons**2 + jitter**2
    weight = 1 / variance

    # Residuals, those far away counted less
    residual = quiet - transit
    score = residual / np.sqrt(variance)
    robust = np.where(np.abs(score) < 3, score**2, 6 * np.abs(score) - 9)
    total = np.sum(weight)
    mean = np.sum(weight * residual) / total
    spread = np.sqrt(np.sum(weight * (residual - mean) ** 2) / total)
    likelihood = -0.5 * np.sum(robust) - 0.5 * np.sum(np.log(2 * np.pi * variance))

    # A smooth picture of what is left
    half = 0.5 * (residual[1:] + residual[:-1])
    rough = np.mean(np.diff(half) ** 2) if len(half) > 1 else 0.0
    return {"likelihood": likelihood, "mean": mean, "rough": rough, "spread": spread, "transit": transit}


def plain(n: int) -> tuple[Maker, Maker]:
    """Makers of the function under jit, and of the function itself, on arrays of n elements."""
    rng = np.random.default_rng(0)
    time = np.sort(rng.uniform(0.0, 30.0, n))
    inputs = time, 1.0 + 0.05 * rng.normal(size=n)
    return (
        lambda library: running(library, library.jit(light_curve), *inputs),
        lambda library: running(library, light_curve, *inputs),
    )


# ---- sorting and indexing --------------------------------------------------------------------------------------------


def scatter_add(library: Library) -> Function:
    """`x` with `values` added at the indices, as each library does it."""
    if library.name == "numpy":

        def add(x: Any, i: Any, values: Any) -> Any:
            y = x.copy()
            np.add.at(y, i, values)
            return y

        return add
    if library.name == "torch":
        return lambda x, i, values: x.index_add(0, i, values)
    if library.name == "jax":
        return lambda x, i, values: x.at[i].add(values)
    return lambda x, i, values: library.module.at(x)[i].add(values)


INDEXING: dict[str, Callable[[Library], Function]] = {
    "sort": lambda library: lambda x, i, values: library.xp.sort(x),
    "argsort": lambda library: lambda x, i, values: library.xp.argsort(x),
    "scatter-add": scatter_add,
    "gather": lambda library: lambda x, i, values: x[i],
}


def indexing(build: Callable[[Library], Function], n: int, jit: bool) -> Maker:
    """A maker for n elements and n random indices, under jit where there is one."""
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=n), rng.integers(0, n, n), rng.normal(size=n)

    def make(library: Library) -> Thunk:
        function = build(library)
        return running(library, library.jit(function) if jit and library.name != "numpy" else function, *inputs)

    return make


def cases(tiny: bool) -> tuple[Case, ...]:
    """Eager rows, jit of plain NumPy, then sorting and indexing both ways."""
    rows = [
        Case(
            f"eager-{name}",
            f"{name} of a 4x4 float64 array, un-jitted",
            "call",
            Target(1.5e-6, "numpy", excess=True),
            dict.fromkeys(("funcgrad", "jax", "numpy"), eager(function)),
        )
        for name, function in EAGER.items()
    ]
    for n in (1, 100, 10_000, 1_000_000):
        jitted, itself = plain(min(n, 200) if tiny else n)
        what = f"jit of a plain NumPy function of 50 lines, {n:,} elements, beside itself"
        makers = {"funcgrad": jitted, "numpy": itself}
        rows.append(Case(f"plain-{n}", what, "call", Target(1.0, "numpy"), makers, rtol=1e-8))
    for name, build in INDEXING.items():
        for way in ("jit", "eager"):
            make = indexing(build, 50 if tiny else 1_000_000, jit=way == "jit")
            peers = ("funcgrad", "jax", "numpy") if way == "jit" or name == "scatter-add" else ("funcgrad", "numpy")
            rows.append(
                Case(
                    f"{name}-{way}",
                    f"{name} of a million float64, {way}",
                    "call",
                    Target(1.1, "numpy"),
                    dict.fromkeys(peers, make),
                )
            )
    return tuple(rows)
