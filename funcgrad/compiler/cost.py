"""What a program costs: floating-point operations and bytes, an equation at a time and altogether.

An elementwise equation counts one operation for each element of its result, a transcendental one too (they are counted a
second time apart); a reduction one for each element it reads; a product of matrices 2 m n k, a multiplication and an
addition for each term; a convolution likewise. Moving elements costs bytes only. The body of a scan counts as often as it
runs, of a loop of unknown length once, and of branches the most expensive counts. Bytes are those of all operands and
results, so that a group that was fused costs less than its equations did.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..core.ir import Eqn, Jaxpr, Var
from .buffers import nbytes
from .fusion import REDUCTIONS

__all__ = ["Cost", "equation_cost", "program_cost"]

TRANSCENDENTAL = frozenset([
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "erf", "erfc", "erfinv", "exp", "exp2",
    "expm1", "log", "log1p", "logistic", "pow", "rsqrt", "sin", "sinh", "sqrt", "tan", "tanh",
])  # fmt: skip
_FREE = frozenset(["convert", "copy", "select", "real", "imag", "complex"])


class Cost(NamedTuple):
    """Floating-point operations, those of them that are transcendental, and bytes read and written."""

    flops: int = 0
    transcendentals: int = 0
    bytes: int = 0

    def plus(self, other: Cost, times: int = 1) -> Cost:
        """The sum of this cost and some times another one."""
        return Cost(*(a + times * b for a, b in zip(self, other)))


def program_cost(jaxpr: Jaxpr) -> Cost:
    """The cost of all equations."""
    total = Cost()
    for eqn in jaxpr.eqns:
        total = total.plus(equation_cost(eqn))
    return total


def equation_cost(eqn: Eqn) -> Cost:
    """The cost of an equation, with the jaxprs that it holds."""
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        return Cost().plus(program_cost(params["jaxpr"]), params["length"])
    if name == "while":
        return program_cost(params["cond_jaxpr"]).plus(program_cost(params["body_jaxpr"]))
    if name == "cond":
        return max((program_cost(b) for b in params["branches"]), default=Cost())
    if eqn.primitive.control:
        inner = next((v for v in params.values() if isinstance(v, Jaxpr)), None)
        return program_cost(inner) if inner is not None else Cost()
    read = {a: nbytes(a.aval) for a in eqn.inputs if isinstance(a, Var)}
    moved = sum(read.values()) + sum(nbytes(v.aval) for v in eqn.outputs)
    if name == "fusion":
        inside = program_cost(params["jaxpr"])
        return Cost(inside.flops, inside.transcendentals, moved)
    return Cost(_flops(eqn), eqn.outputs[0].aval.size if name in TRANSCENDENTAL else 0, moved)


def _flops(eqn: Eqn) -> int:
    name, params = eqn.primitive.name, eqn.params
    if name in _FREE or not eqn.outputs:
        return 0
    out = eqn.outputs[0].aval
    if eqn.primitive.elementwise:
        return out.size
    if name in REDUCTIONS or name.startswith("cum"):
        return eqn.inputs[0].aval.size
    if name == "dot_general":
        (contract, _), _ = params["dimension_numbers"]
        terms: int = math.prod(eqn.inputs[0].aval.shape[i] for i in contract)
        return 2 * out.size * terms
    if name == "conv_general_dilated":
        return 2 * out.size * math.prod(eqn.inputs[1].aval.shape[1:])
    if name.startswith("reduce_window"):
        return out.size * int(math.prod(params["window"]))
    return 0
