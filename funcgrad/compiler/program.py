"""Programs: emitted source as a callable that knows the user's lines."""

from __future__ import annotations

import contextvars
import gc
import itertools
import linecache
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.ir import Jaxpr
from ..core.source import Source
from .buffers import nbytes
from .emit import emit
from .fuse import fuse
from .memory import Ledger, MemoryAnalysis
from .simplify import simplify

if TYPE_CHECKING:
    from .backend import SourceBackend

__all__ = ["Program", "compile_jaxpr"]

_serial = itertools.count(1)


def _quiet_setting() -> tuple[contextvars.ContextVar[Any], Any]:
    """NumPy's context variable of floating-point errors, and its value where all are ignored.

    Setting the variable takes a third of the time of entering ``np.errstate``, which builds the value each time. It is
    found by what ``np.errstate`` changes.
    """
    before = contextvars.copy_context()
    with np.errstate(divide="ignore", over="ignore", under="ignore", invalid="ignore"):
        for variable, value in contextvars.copy_context().items():
            if before.get(variable) is not value:
                return variable, value
    raise ImportError("this NumPy keeps its floating-point error state outside of the context; funcgrad needs NumPy 2")


class Program:
    """A compiled jaxpr: a callable of flat arrays that returns a list.

    ``call`` is the same as a plain function, for callers in a hurry. ``source`` is the Python text it runs, ``simplified``
    and ``jaxpr`` the jaxpr after these passes and after fusion, from which it was written, ``consts`` the arrays it closes over, ``memory`` what a call needs.
    """

    __slots__ = ("__weakref__", "call", "consts", "filename", "jaxpr", "memory", "simplified", "source")

    def __init__(
        self, simplified: Jaxpr, jaxpr: Jaxpr, backend: SourceBackend, donated: frozenset[int] = frozenset()
    ) -> None:
        self.simplified = simplified
        module = emit(jaxpr, backend, donated)
        self.jaxpr = jaxpr
        self.consts = jaxpr.consts
        self.memory = _memory(jaxpr, module.ledgers[module.entry])
        self.source, lines = module.assemble()
        self.filename = f"<funcgrad {module.entry} {next(_serial)}>"
        namespace = {**backend.namespace, **module.objects}
        with np.errstate(all="ignore"):
            exec(compile(self.source, self.filename, "exec"), namespace)
        # Without a time stamp linecache never looks for the file.
        text = self.source.splitlines(keepends=True)
        linecache.cache[self.filename] = (len(self.source), None, text, self.filename)
        weakref.finalize(self, linecache.cache.pop, self.filename, None)
        # Out of its own globals, so that a program without loops is freed as soon as nobody holds it.
        self.call = _enclosed(namespace.pop(module.entry), self.filename, lines)

    def __call__(self, *args: Any) -> list[Any]:
        return self.call(*args)

    def __repr__(self) -> str:
        return f"Program({self.filename})"


def _memory(jaxpr: Jaxpr, ledger: Ledger) -> MemoryAnalysis:
    arguments = sum(map(nbytes, jaxpr.in_avals))
    results = sum(map(nbytes, jaxpr.out_avals))
    constants = sum(nbytes(v.aval) for v in jaxpr.constvars)
    new = results - ledger.given
    peak = max(ledger.peak, new)
    return MemoryAnalysis(arguments, results, peak - new, arguments + peak, constants, ledger.given)


def _enclosed(run: Callable[..., list[Any]], filename: str, lines: dict[int, Source]) -> Callable[..., list[Any]]:
    """``run`` with NumPy's floating-point warnings off, and with the user's line added to what it raises."""
    set_, reset, quiet = _STATE.set, _STATE.reset, _QUIET

    def call(*args: Any) -> list[Any]:
        token = set_(quiet)
        try:
            return run(*args)
        except Exception as error:
            _locate(error, filename, lines)
            raise
        finally:
            reset(token)

    return call


def _locate(error: Exception, filename: str, lines: dict[int, Source]) -> None:
    """Add the user's line to an exception that came out of a generated program."""
    found: Source | None = None
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == filename:
            found = lines.get(traceback.tb_lineno, found)
        traceback = traceback.tb_next
    if found is not None:
        error.add_note(f"  at {found.describe()}{' (in the backward pass)' if found.backward else ''}")


_STATE, _QUIET = _quiet_setting()


@contextmanager
def _no_collection() -> Iterator[None]:
    """While active, the cyclic garbage collector rests.

    A long program is some hundred thousand new objects, all of them alive; to look through them again and again would
    make the cost of compiling grow faster than the program.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def compile_jaxpr(jaxpr: Jaxpr, backend: SourceBackend, donated: frozenset[int] = frozenset()) -> Program:
    """The program for a jaxpr on a back end; kept in the memo of the jaxpr. It may overwrite the inputs in ``donated``."""
    key = ("compiled", backend.name, donated)
    program = jaxpr.memo.get(key)
    if program is None:
        with _no_collection():
            lean = simplify(jaxpr, backend.ops, backend.rules, backend.named_kernel)
            fused = fuse(lean, backend.fusable, backend.worth, backend.least_fused) if backend.fusable else lean
            program = jaxpr.memo[key] = Program(lean, fused, backend, donated)
    return program
