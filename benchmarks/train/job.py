"""What the scripts of this folder share: the command line, a result and its bound, MNIST or a visible skip.

A script is a generator ``train(options)``: it prints what it does and yields a :class:`Result` for every claim it makes.
``python benchmarks/train/NAME.py`` runs one and ``run.py`` all of them, both through :func:`perform`; a result beyond its
bound makes the exit status 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from funcgrad.data import DataError, load_digits, load_mnist
from funcgrad.errors import FuncgradError

MNIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"
DIGITS_HELD_OUT = 360


class Skipped(Exception):
    """What a script needs is not there; the message says what, and how to give it."""


@dataclass(frozen=True)
class Options:
    """The command line of a script."""

    quick: bool = False
    data: Path | None = None


@dataclass(frozen=True)
class Result:
    """A measured value that must lie at or above its bound, or at or below it."""

    what: str
    value: float
    bound: float
    above: bool

    @property
    def met(self) -> bool:
        """Whether it does; NaN does not."""
        return self.value >= self.bound if self.above else self.value <= self.bound

    def __str__(self) -> str:
        relation = ">=" if self.above else "<="
        return f"{self.what}: {self.value:.4g} ({relation} {self.bound:.4g}, {'met' if self.met else 'MISSED'})"


def at_least(what: str, value: float, bound: float) -> Result:
    return Result(what, float(value), bound, above=True)


def at_most(what: str, value: float, bound: float) -> Result:
    return Result(what, float(value), bound, above=False)


Train = Callable[[Options], Iterator[Result]]


@dataclass
class Outcome:
    """What came of a script: its results, how long it took, and why it was left out or broke off."""

    name: str
    results: list[Result] = field(default_factory=list)
    seconds: float = 0.0
    skipped: str | None = None
    error: str | None = None

    @property
    def failed(self) -> bool:
        """Whether it broke off, or a result is beyond its bound."""
        return self.error is not None or not all(result.met for result in self.results)


def perform(name: str, train: Train, options: Options) -> Outcome:
    """Run a script, and print its results as they come."""
    outcome = Outcome(name)
    started = time.perf_counter()
    try:
        for result in train(options):
            print(f"  {result}", flush=True)
            outcome.results.append(result)
    except Skipped as reason:
        outcome.skipped = str(reason)
        print(f"  SKIPPED: {reason}", flush=True)
    except (FuncgradError, DataError) as error:
        outcome.error = f"{type(error).__name__}: {error}"
        print(f"  FAILED: {outcome.error}", flush=True)
    outcome.seconds = time.perf_counter() - started
    print(f"  {outcome.seconds:.1f} s", flush=True)
    return outcome


def make_parser(prog: str, description: str | None) -> argparse.ArgumentParser:
    """The options that every script and ``run.py`` take."""
    parser = argparse.ArgumentParser(prog=f"python benchmarks/train/{prog}.py", description=description)
    parser.add_argument("--quick", action="store_true", help="smaller: seconds, with bounds of its own")
    parser.add_argument("--data", type=Path, metavar="DIR", help=f"the folder of MNIST's IDX files, by default {MNIST}")
    return parser


def main(train: Train, document: str | None) -> int:
    """The command line of one script, whose module docstring is ``document``; the exit status."""
    name = Path(sys.argv[0]).stem
    headline = (document or "").partition("\n\n")[0]
    arguments = make_parser(name, headline).parse_args()
    print(headline)
    return int(perform(name, train, Options(arguments.quick, arguments.data)).failed)


# Images ---------------------------------------------------------------------------------------------------------------

Images = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def mnist(options: Options) -> Images:
    """``load_mnist`` of the folder that was asked for; :class:`Skipped` where none was and the usual one is missing."""
    if options.data is None and not MNIST.is_dir():
        raise Skipped(f"no MNIST in {MNIST}; give its folder by --data")
    return load_mnist(options.data or MNIST)


def digits() -> Images:
    """The digits that ship with the library: 1,437 images to train on, 360 to test on."""
    images, labels = load_digits()
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[DIGITS_HELD_OUT:], order[:DIGITS_HELD_OUT]
    return images[train], labels[train], images[test], labels[test]
