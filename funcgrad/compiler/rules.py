"""What a rewriting rule is: it gets the rewriter, the operands and the parameters, and answers an atom of the same type and
the same value, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..core.ir import Atom

if TYPE_CHECKING:
    from .rewrite import Rewriter

__all__ = ["Inputs", "Params", "Rule", "involution", "is_real"]

Inputs = Sequence[Atom]
Params = dict[str, Any]
Rule = Callable[["Rewriter", Inputs, Params], "Atom | None"]


def is_real(atom: Atom) -> bool:
    """Whether an operand is of integers or real floating-point numbers."""
    return atom.aval.dtype.kind in "iuf"


def involution(name: str) -> Rule:
    """Applied twice it is the identity."""

    def rule(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
        inner = r.definition(inputs[0], name)
        return inner.inputs[0] if inner is not None and inner.params == params else None

    return rule
