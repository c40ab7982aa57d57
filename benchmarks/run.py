"""Measure funcgrad side by side with its peers: `python benchmarks/run.py`.

Every case of `cases.py` runs in this one process (imports in processes of their own), the libraries taking turns; the
table shows the median of each, the ratios, and whether the target is reached. What is compared, and how, stands in
`README.md` beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

# The matrices here are tiny: threads would only add noise. Set before NumPy is loaded; a value the user has set stands.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import report  # noqa: E402
from cases import CASES, SMALLER, Case  # noqa: E402
from libraries import OURS, PEERS, Library, load  # noqa: E402
from timing import FULL, QUICK, Effort, Timing, interleave  # noqa: E402


def names(allowed: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """An argparse type: a comma-separated choice from `allowed`."""

    def parse(text: str) -> tuple[str, ...]:
        chosen = tuple(filter(None, text.split(",")))
        for name in chosen:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(allowed)}")
        return chosen

    return parse


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/run.py",
        description="Measure funcgrad side by side with JAX, PyTorch, autograd and NumPy.",
    )
    rows = tuple(case.name for case in CASES)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    parser.add_argument("--only", type=names(rows), default=rows, metavar="NAME[,NAME]", help=f"of: {', '.join(rows)}")
    parser.add_argument(
        "--against", type=names(PEERS), default=PEERS, metavar="NAME[,NAME]", help=f"of: {', '.join(PEERS)}"
    )
    parser.add_argument("--backend", metavar="NAME", help="the back end that funcgrad uses")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a look, not a measurement")
    parser.add_argument("--slow", action="store_true", help="also what takes JAX minutes to compile")
    return parser.parse_args(argv)


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
    options = arguments(argv)
    columns = (OURS, *(name for name in PEERS if name in options.against))
    libraries, missing = load(columns)
    with ExitStack() as scope:
        if options.backend is not None and OURS in libraries:
            try:
                scope.enter_context(libraries[OURS].module.use_backend(options.backend))
            except Exception as error:  # whatever the back end's import raises, the reader gets one line
                print(f"--backend {options.backend}: {error}", file=sys.stderr)
                return 2
        environment = report.environment(libraries, missing) | {"backend": options.backend}
        print(report.header(environment))
        effort = QUICK if options.quick else FULL
        results = []
        for case in CASES:
            if case.name in options.only:
                if sys.stderr.isatty():
                    print(f"\x1b[K{case.name} ...", end="\r", file=sys.stderr, flush=True)
                results.append((case, measure(case, libraries, effort, options.slow)))
    print(report.table(results, columns))
    if options.json is not None:
        document = {"environment": environment, "cases": [report.record(*result) for result in results]}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
