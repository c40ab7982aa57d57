"""Timing side by side: the libraries take turns, round by round, so that a slow minute of the machine hits all alike.

A *sampler* returns the seconds of one sample. `interleave` asks every sampler once a round, in an order that rotates,
and the reported number is the median over the rounds. The garbage collector stays on, because it is on for the user.
"""

from __future__ import annotations

import atexit
import functools
import gc
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter, sleep
from typing import Any

Thunk = Callable[[], Any]
Sampler = Callable[[], float]


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: samples of each library, at most.
        batch: seconds a batch of calls takes, about.
        budget: seconds after which a library takes no further sample of a case (it always takes one).
    """

    rounds: int
    batch: float
    budget: float


FULL = Effort(rounds=21, batch=0.01, budget=6.0)
QUICK = Effort(rounds=5, batch=0.003, budget=0.5)
SMOKE = Effort(rounds=1, batch=0.0, budget=0.0)
#: Seconds before each sample: a pool's threads watch for more work before they sleep, those of GCC's OpenMP for some 5 ms,
#: and would keep a processor from the library whose turn is next. Its own threads are woken by a call that is not timed.
REST = 0.015


@dataclass
class Timing:
    """The samples of one library for one case, and the first value it computed."""

    samples: list[float] = field(default_factory=list)
    value: Any = None
    error: str | None = None

    @property
    def seconds(self) -> float | None:
        """The median, or None where there is no sample."""
        return statistics.median(self.samples) if self.samples else None


def call_sampler(make: Callable[[], Thunk], timing: Timing, effort: Effort) -> Sampler:
    """Seconds of one call of `make()`: a batch of calls, divided by their number. Compilation happens here, untimed."""
    thunk = make()
    timing.value = thunk()
    start = perf_counter()
    thunk()
    once = perf_counter() - start
    count = max(1, round(effort.batch / max(once, 1e-9)))

    def sample() -> float:
        turns = range(count)
        if once < REST:  # caches, and threads that sleep
            thunk()
        start = perf_counter()
        for _ in turns:
            thunk()
        return (perf_counter() - start) / count

    if count > 1:  # the first calls run cold: size the batch by warm ones
        count = max(1, round(effort.batch / sample()))
    return sample


def first_sampler(make: Callable[[], Thunk], timing: Timing, effort: Effort) -> Sampler:
    """Seconds of the first call of a fresh `make()`. One call beforehand, untimed, warms what the process does once."""
    start = perf_counter()
    timing.value = make()()
    once = perf_counter() - start
    pending = [once] if once > effort.budget else []  # a call this long is not repeated to warm up

    def sample() -> float:
        if pending:
            return pending.pop()
        thunk = make()
        start = perf_counter()
        thunk()
        return perf_counter() - start

    return sample


def compile_sampler(make: Callable[[], Thunk], timing: Timing, effort: Effort) -> Sampler:
    """Seconds to trace and compile a fresh `make()`. Once beforehand, untimed, warms what the process does once."""
    start = perf_counter()
    make().compiled()  # type: ignore[attr-defined]
    once = perf_counter() - start
    pending = [once] if once > effort.budget else []

    def sample() -> float:
        if pending:
            return pending.pop()
        thunk = make()
        start = perf_counter()
        thunk.compiled()  # type: ignore[attr-defined]
        return perf_counter() - start

    return sample


def memory_sampler(make: Callable[[], Thunk], timing: Timing, effort: Effort) -> Sampler:
    """No time: the bytes that the program of `make()` needs beside its arguments, results included."""
    needed = make().compiled().memory_analysis()  # type: ignore[attr-defined]
    return lambda: float(needed.temp_size_in_bytes + needed.output_size_in_bytes)


@functools.cache
def byte_code_folder() -> str:
    """A temporary folder that is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="funcgrad-benchmarks-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def import_sampler(make: Callable[[], Thunk], timing: Timing, effort: Effort) -> Sampler:
    """Seconds of the second statement of `make()()` in a fresh interpreter, after the first one.

    The byte code of the modules is there, as pip leaves it, but in a folder of its own: the environment may keep
    Python from writing it, or the source may lie in a folder that is not to be written to.
    """
    before, statement = make()()
    program = (
        f"from time import perf_counter\n{before}\nstart = perf_counter()\n{statement}\nprint(perf_counter() - start)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = byte_code_folder()

    def sample() -> float:
        command = [sys.executable, "-c", program]
        run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if run.returncode:
            raise ImportError(run.stderr.strip().splitlines()[-1])
        return float(run.stdout.split()[-1])

    sample()  # writes the byte code
    return sample


SAMPLERS = {
    "call": call_sampler,
    "first": first_sampler,
    "compile": compile_sampler,
    "memory": memory_sampler,
    "import": import_sampler,
}


def interleave(kind: str, makers: Mapping[str, Callable[[], Thunk]], effort: Effort) -> dict[str, Timing]:
    """Measure `makers` in turns; one that raises ends its own measurement and leaves the reason in `Timing.error`.

    What is alive beforehand (the modules of all libraries) is frozen meanwhile, so that a collection that falls into the
    time of one library does not walk the objects of the others.
    """
    gc.collect()
    gc.freeze()
    timings = {name: Timing() for name in makers}
    samplers: dict[str, Sampler] = {}
    for name, make in makers.items():
        try:
            samplers[name] = SAMPLERS[kind](make, timings[name], effort)
        except Exception as error:  # a library that fails is a line of the report, not the end of it
            timings[name].error = f"{type(error).__name__}: {error}"
    spent = dict.fromkeys(samplers, 0.0)
    for turn in range(effort.rounds):
        order = [name for name in samplers if spent[name] < effort.budget or not turn]
        shift = turn % max(1, len(order))
        for name in order[shift:] + order[:shift]:
            sleep(REST if effort.batch else 0.0)
            start = perf_counter()
            try:
                sample = samplers[name]()
                timings[name].samples.append(sample)
                spent[name] += max(sample, perf_counter() - start)
            except Exception as error:
                timings[name].error = f"{type(error).__name__}: {error}"
                spent[name] = float("inf")
    gc.unfreeze()
    return timings
