"""``saved_residuals``: what reverse mode keeps in memory between the forward and the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..api._function import argument_paths
from ..api.staging import jit
from ..compiler.buffers import nbytes
from ..core.ir import Var
from ..core.source import Source
from ..core.types import Aval, is_inexact
from ..transforms.reverse import hoist, linearize_jaxpr
from ._table import quantity, table

__all__ = ["Residual", "Residuals", "saved_residuals"]


class Residual(NamedTuple):
    """A value that is kept: its type, where it comes from (``"argument x['w']"``, ``"a constant"``, or the primitive that
    computes it), and the user's line.
    """

    aval: Aval
    origin: str
    source: Source | None

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return nbytes(self.aval)


class Residuals(list[Residual]):
    """Residuals; ``str`` gives a table."""

    @property
    def nbytes(self) -> int:
        """What is kept beyond arguments and constants, which are there anyway, in bytes."""
        return sum(r.nbytes for r in self if r.origin != "a constant" and not r.origin.startswith("argument "))

    def __str__(self) -> str:
        rows = [[str(r.aval), quantity(r.nbytes, "B"), r.origin, str(r.source or "")] for r in self]
        return (
            f"{table(['type', 'bytes', 'from', 'line'], rows, (1,))}\n{quantity(self.nbytes, 'B')} beyond the arguments"
        )


def saved_residuals(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Residuals:
    """What reverse mode keeps of ``fun`` at arguments of these types until the backward pass: shapes, bytes, and the line of
    the user that computed it. Nothing is computed; a ``ShapeDtypeStruct`` will do for an array. As JAX's
    ``jax.ad_checkpoint.print_saved_residuals``. All arguments of inexact dtype are differentiated. A loop's residuals are
    stacked and come from the loop. ``checkpoint`` makes them fewer.

    >>> import numpy as np
    >>> from funcgrad import checkpoint
    >>> f = lambda x: np.sin(np.tanh(x))  # the derivatives are 1 - tanh(x)**2 and cos(tanh(x))
    >>> [(r.aval, r.origin) for r in saved_residuals(f, np.ones(3))]
    [(f64[3], 'sub'), (f64[3], 'cos')]
    >>> [(r.aval, r.origin) for r in saved_residuals(checkpoint(f), np.ones(3))]
    [(f64[3], 'argument x')]
    """
    jaxpr = (fun if isinstance(fun, jit) else jit(fun)).trace(*args, **kwargs).jaxpr
    paths = argument_paths(fun, args, kwargs)
    closed, consts = hoist(jaxpr)
    live = [False] * len(consts) + [is_inexact(v.aval.dtype) for v in jaxpr.invars]
    split = linearize_jaxpr(closed, live)
    made = {v: e for e in split.primal.eqns for v in e.outputs}
    place = {v: i for i, v in enumerate(split.primal.invars)}
    new = iter(split.primal.outs[len(closed.outs) :])
    found = Residuals()
    seen: set[Any] = set()
    for known in split.known:
        atom = split.primal.invars[known] if known is not None else next(new)
        if not isinstance(atom, Var) or atom in seen:
            continue
        seen.add(atom)
        if atom in place:
            i = place[atom] - len(consts)
            named = f"argument {paths[i]}" if len(paths) == len(jaxpr.invars) else f"argument {i}"
            found.append(Residual(atom.aval, named if i >= 0 else "a constant", None))
        elif atom in made:
            found.append(Residual(atom.aval, made[atom].primitive.name, made[atom].source))
        else:
            found.append(Residual(atom.aval, "a constant", None))
    return found
