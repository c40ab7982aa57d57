"""A back end whose programs are Python source over its own functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core.backend import Backend
from ..core.ir import Eqn, Jaxpr
from .fusion import kernel
from .module import Module
from .program import Program, compile_jaxpr
from .rules import Rule

__all__ = ["SourceBackend"]


class SourceBackend(Backend):
    """Compiles to Python source. A subclass may have no more than ``ops``; each further table makes programs better.

    ``namespace``: the names that generated programs may use, among them ``array``, ``empty`` and a type for each dtype
    (``float32``, ``bool_``). ``templates``: from the name of a primitive to a function of the equation, the texts of
    its operands and the name of its result, giving an expression, a tuple of statements, or None; without one the
    function of ``ops`` is called. ``pairs``: from the names of two primitives, of which the second alone uses the
    result of the first, to a function of both equations and the operand texts of the first, giving one expression for
    both, or None. ``inplace``: from the name of a primitive to the name of a function that takes ``out=``, which will
    be one of its operands: the first, unless the primitive is elementwise.
    ``weak_literals``: primitives whose literal operands may be written as Python numbers, because the result's dtype
    does not depend on them. ``rules``: further rules for the rewriter, by the name of the primitive. ``least_fused``: the number of elements
    below which equations are not considered for groups.
    """

    namespace: Mapping[str, Any] = {}
    templates: Mapping[str, Callable[[Eqn, Sequence[str], str], str | tuple[str, ...] | None]] = {}
    pairs: Mapping[tuple[str, str], Callable[[Eqn, Eqn, Sequence[str]], str | None]] = {}
    inplace: Mapping[str, str] = {}
    weak_literals: frozenset[str] = frozenset()
    compiles = True
    rules: Mapping[str, Rule] = {}
    least_fused: int = 1

    def may_alias(self, eqn: Eqn) -> bool:
        """Whether the result of an equation may share memory with its first operand, or if elementwise with any."""
        return not eqn.primitive.elementwise

    def worth(self, eqn: Eqn) -> bool:
        """Whether a group of equations is to become one: whether :meth:`fusion` has a kernel for it."""
        return kernel(eqn, self) is not None

    def write_group(self, eqn: Eqn, module: Module) -> str:
        """The name of the callable for a group; a back end may write it into the module as source instead."""
        return module.kernel(eqn)

    def compile(self, jaxpr: Jaxpr) -> Program:
        """The program for a jaxpr; the same one for the same jaxpr."""
        return compile_jaxpr(jaxpr, self)
