"""Twelve scientific programs, the same source in funcgrad and JAX; plain NumPy where it computes the same."""

from __future__ import annotations

from types import ModuleType

from cases import Case, Maker, Target, fresh, running
from libraries import Library
from programs import PROGRAMS
from timing import Thunk

# XLA may compile an unrolled loop for minutes, see README.md.
SLOW = {"python-loop": frozenset({"jax"})}


def compiled(program: ModuleType, tiny: bool) -> Maker:
    """A maker that jits the program."""

    def make(library: Library) -> Thunk:
        return running(library, library.jit(program.program(library.module)), *program.inputs(tiny))

    return make


def by_hand(program: ModuleType, tiny: bool) -> Maker:
    """A maker that runs its reference."""

    def make(library: Library) -> Thunk:
        return running(library, program.reference, *program.inputs(tiny))

    return make


def cases(tiny: bool) -> tuple[Case, ...]:
    """Three rows a program."""
    rows: list[Case] = []
    for name, program in PROGRAMS.items():
        make = compiled(program, tiny)
        makers = {"funcgrad": make, "jax": make}
        if program.WHOLE_REFERENCE:
            makers["numpy"] = by_hand(program, tiny)
        what = str(program.__doc__).strip().splitlines()[0]
        slow = frozenset() if tiny else SLOW.get(name, frozenset())
        rows += fresh(name, what, makers, Target(1.0, "jax"), slow=slow, rtol=1e-6)
    return tuple(rows)
