"""Measure funcgrad side by side with its peers: `python benchmarks/run.py --suite programs`.

Every case of a suite runs in this one process (imports in processes of their own), the libraries taking turns; the table
shows the median of each, the ratios, and whether the target is reached. What is compared, and how, stands in `README.md`
beside this file.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

# The matrices of most suites are tiny: threads would only add noise. Where they are not, all processors take part, in
# every library. Set before NumPy is loaded; a value that the user has set stands.
THREADED = ("compiler", "learning")
asked = {second for first, second in itertools.pairwise(sys.argv) if first == "--suite"}
asked |= {argument.removeprefix("--suite=") for argument in sys.argv}
threads = str(os.cpu_count()) if asked.intersection(THREADED) else "1"
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, threads)
if "cupy" not in sys.argv:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")

import report  # noqa: E402
import suites  # noqa: E402
from cases import SMALLER, Case, Target  # noqa: E402
from libraries import GPU, ON_CPU, ON_GPU, OURS, PEERS, Library, load  # noqa: E402
from timing import FULL, QUICK, SMOKE, Effort, Timing, interleave  # noqa: E402


def names(allowed: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """An argparse type: a comma-separated choice from `allowed`."""

    def parse(text: str) -> tuple[str, ...]:
        chosen = tuple(filter(None, text.split(",")))
        for name in chosen:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(allowed)}")
        return chosen

    return parse


def arguments(argv: list[str] | None) -> tuple[argparse.Namespace, tuple[Case, ...], dict[str, Target]]:
    """The command line, the cases it asks for, and the targets of their means."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/run.py",
        description="Measure funcgrad side by side with JAX, PyTorch, autograd, NumPy and C.",
    )
    parser.add_argument("--suite", choices=suites.NAMES, default="foundation", help="which cases")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    parser.add_argument("--only", metavar="NAME[,NAME]", help="of the suite's cases these only")
    parser.add_argument("--against", type=names(PEERS), metavar="NAME[,NAME]", help=f"of: {', '.join(PEERS)}")
    parser.add_argument("--backend", metavar="NAME", help="the back end that funcgrad uses")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a look, not a measurement")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, once: are the results the same?")
    parser.add_argument("--slow", action="store_true", help="also what takes JAX minutes to compile")
    options = parser.parse_args(argv)
    if options.against is None:
        options.against = ON_GPU if options.backend == GPU else ON_CPU
    suite = importlib.import_module(f"suites.{options.suite}")
    rows = tuple(replace(case, target=case.target.on(options.backend)) for case in suite.cases(tiny=options.smoke))
    if options.only is None:
        return options, rows, getattr(suite, "MEANS", {})
    try:
        chosen = names(tuple(case.name for case in rows))(options.only)
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument --only: {error}")
    return options, tuple(case for case in rows if case.name in chosen), {}


def measure(case: Case, libraries: dict[str, Library], effort: Effort, slow: bool) -> dict[str, Timing]:
    """The timings of one case, by library, in the order of the columns."""
    makers = {
        name: partial(make, libraries[name])
        for name, make in case.makers.items()
        if name in libraries and (slow or name not in case.slow)
    }
    if case.smaller is not None and OURS in libraries:
        makers[SMALLER] = partial(case.smaller, libraries[OURS])
    return interleave(case.kind, makers, effort)


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv`; the exit status."""
    options, cases, means = arguments(argv)
    columns = (OURS, *(name for name in PEERS if name in options.against))
    libraries, missing = load(columns, gpu=options.backend == GPU)
    with ExitStack() as scope:
        if options.backend is not None and OURS in libraries:
            try:
                backend = scope.enter_context(libraries[OURS].module.use_backend(options.backend))
                libraries[OURS].gpu = bool(backend.array_types)
            except Exception as error:  # whatever the back end's import raises, the reader gets one line
                print(f"--backend {options.backend}: {error}", file=sys.stderr)
                return 2
        environment = report.environment(libraries, missing) | {"suite": options.suite, "backend": options.backend}
        print(report.header(environment))
        effort = SMOKE if options.smoke else QUICK if options.quick else FULL
        results = []
        for case in cases:
            if sys.stderr.isatty():
                print(f"\x1b[K{case.name} ...", end="\r", file=sys.stderr, flush=True)
            results.append((case, measure(case, libraries, effort, options.slow or options.smoke)))
    checks = [report.check(*result) for result in results] if options.smoke else []
    if options.smoke:
        print("\n".join(f"{case.name}: {check}" for (case, _), check in zip(results, checks, strict=True)))
    else:
        print(report.table(results, columns, means))
    if options.json is not None:
        document = {
            "environment": environment,
            "cases": [report.record(*result) for result in results],
            "geometric_means": report.geometric_means(results, columns),
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return int(any(check.startswith(report.FAILED) for check in checks))


if __name__ == "__main__":
    sys.exit(main())
