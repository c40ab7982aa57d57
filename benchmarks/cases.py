"""What a case is: a row of the table, with what it runs in each library and the target that it has to reach.

A maker takes a `Library` and returns a thunk. What the kinds time:

- `call`: one call of the thunk, warm, as the median of batches;
- `first`: the first call of a fresh thunk (a new function object each time: trace, compile, and one run);
- `compile`: trace and compile of a fresh thunk that `running` made of a jitted function;
- `memory`: no time but the bytes that its program needs beside its arguments, results included, as the library itself
  analyses it;
- `import`: a statement in a fresh interpreter, after `import numpy`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from libraries import Function, Library
from timing import Thunk

Maker = Callable[[Library], Thunk]
SMALLER = "smaller"
CACHE = "FUNCGRAD_CACHE_DIR"
COMPILING = ("funcgrad", "jax")


@dataclass(frozen=True)
class Target:
    """What `funcgrad` has to reach: at most `limit` seconds, or at most `limit` times what `of` takes.

    `of` is the name of a peer, or `SMALLER`: the case's own smaller size. With `excess`, it is at most `limit` seconds
    more than what `of` takes. A limit of None asks only that the case completes. `others` are the limits of further back
    ends, by name.
    """

    limit: float | None
    of: str | None = None
    excess: bool = False
    others: Mapping[str, float] = field(default_factory=dict)

    def on(self, backend: str | None) -> Target:
        """The target of a back end."""
        return replace(self, limit=self.others.get(backend or "", self.limit), others={})


#: Trace and compile: of NumPy's back end a twentieth of JAX's time, of native code read from disk a tenth.
COMPILED = Target(1 / 20, "jax", others={"llvm": 1 / 10})
#: The same where native code is not on disk yet.
FROM_NOTHING = Target(1 / 20, "jax", others={"llvm": 1 / 4})


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: on the command line and in the JSON file.
        what: one line for a reader of the table.
        kind: `call`, `first`, `compile`, `memory` or `import`, see the module docstring.
        target: what `funcgrad` has to reach.
        makers: what each library runs; a library that is not there has no such thing.
        smaller: the same at a smaller size, run by `funcgrad`, for a target that bounds growth.
        slow: libraries that join in with `--slow` only, because they take minutes.
        rtol: how far the libraries' first results may lie apart; None where there is no result to compare.
    """

    name: str
    what: str
    kind: str
    target: Target
    makers: Mapping[str, Maker]
    smaller: Maker | None = None
    slow: frozenset[str] = frozenset()
    rtol: float | None = 1e-9


def running(library: Library, function: Function, *arguments: Any) -> Thunk:
    """The thunk that calls `function` on the library's own arrays and waits for the result.

    Its attribute `compiled`, where `function` is jitted, traces and compiles it for these arrays.
    """
    inputs = library.tree(arguments)
    wait = library.wait

    def thunk() -> Any:
        return wait(function(*inputs))

    if hasattr(function, "lower"):
        thunk.compiled = lambda: function.lower(*inputs).compile()  # type: ignore[attr-defined]
    return thunk


def from_nothing(make: Maker) -> Maker:
    """The same without a cache on disk."""

    def maker(library: Library) -> Thunk:
        thunk: Any = make(library)
        compiled = thunk.compiled

        def without_disk() -> Any:
            before = os.environ.get(CACHE)
            os.environ[CACHE] = ""
            try:
                return compiled()
            finally:
                if before is None:
                    del os.environ[CACHE]
                else:
                    os.environ[CACHE] = before

        thunk.compiled = without_disk
        return thunk

    return maker


def fresh(
    name: str, what: str, makers: Mapping[str, Maker], call: Target, compiling: Target = COMPILED, **rest: Any
) -> tuple[Case, ...]:
    """The rows of a compiled function: a call of it; by the libraries that compile, its compilation, with what is kept on disk
    and without, and its memory."""
    jitted = {library: make for library, make in makers.items() if library in COMPILING}
    new = {library: from_nothing(make) for library, make in jitted.items()}
    alone = rest | {"rtol": None}
    return (
        Case(name, what, "call", call, makers, **rest),
        Case(f"{name}-compile", "the same: trace + compile", "compile", compiling, jitted, **alone),
        Case(f"{name}-memory", "the same: temporary memory and results", "memory", Target(1.0, "jax"), jitted, **alone),
        Case(f"{name}-new", "trace + compile with nothing on disk", "compile", FROM_NOTHING, new, **alone),
    )
