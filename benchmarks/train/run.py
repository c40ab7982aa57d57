"""Train the models: `python benchmarks/train/run.py [--quick] [NAME ...]`.

Every script of this folder, or those named, one after the other in this process; then a table of what came out, what it
had to reach, and how long it took. The exit status is 1 if a result is beyond its bound or a script breaks off. What needs
a data set that is not there is SKIPPED, and says so.
"""

from __future__ import annotations

import importlib
import sys
import time

from job import Options, Outcome, make_parser, perform

MODELS = (
    "softmax_regression",
    "two_layer",
    "mlp_mnist",
    "mlp_resnet",
    "resnet9_mnist",
    "char_lstm",
    "char_transformer",
    "gan_gaussians",
    "vae_digits",
    "deq",
    "pinn",
    "newton_logistic",
)


def table(outcomes: list[Outcome]) -> str:
    """A row a result."""
    rows = [("model", "what", "result", "bound", "", "time")]
    for outcome in outcomes:
        lines = [
            (r.what, f"{r.value:.4g}", f"{'>=' if r.above else '<='} {r.bound:.4g}", "met" if r.met else "MISSED")
            for r in outcome.results
        ]
        if outcome.skipped is not None:
            lines.append((outcome.skipped, "", "", "SKIPPED"))
        if outcome.error is not None:
            lines.append((outcome.error, "", "", "FAILED"))
        names = [outcome.name, *[""] * len(lines)]
        times = [f"{outcome.seconds:.1f} s", *[""] * len(lines)]
        rows += [(name, *line, spent) for name, line, spent in zip(names, lines, times)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(text.ljust(n) for text, n in zip(row, widths)).rstrip() for row in rows)


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv`; the exit status."""
    parser = make_parser("run", __doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(MODELS)}")
    arguments = parser.parse_args(argv)
    if unknown := sorted(set(arguments.names) - set(MODELS)):
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(MODELS)}")
    options = Options(arguments.quick, arguments.data)
    started = time.perf_counter()
    outcomes = []
    for name in arguments.names or MODELS:
        print(name, flush=True)
        outcomes.append(perform(name, importlib.import_module(name).train, options))
    failed = [outcome.name for outcome in outcomes if outcome.failed]
    skipped = [outcome.name for outcome in outcomes if outcome.skipped is not None]
    print(f"\n{table(outcomes)}\n")
    verdict = f"missed or failed: {', '.join(failed)}" if failed else "all bounds met"
    left_out = f"; SKIPPED in part or whole: {', '.join(skipped)}" if skipped else ""
    print(f"{len(outcomes)} models in {time.perf_counter() - started:.0f} s; {verdict}{left_out}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
