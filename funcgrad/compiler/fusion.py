"""The primitive ``fusion``: a group of equations that a back end computes in one go.

Its body is a jaxpr over one iteration space. A variable of the body is *full* (its shape is ``space``), *kept* (its shape
is ``space`` without ``axes``: a result of the reductions over ``axes``, or what is computed from such results) or of rank
0; an input may have any shape if it is read by broadcasts only. Kept values may be broadcast back to full ones: a softmax
is one group with its two reductions in the middle. For each kept index a group needs one row of the space and nothing
else, so a back end may walk over rows, or blocks of them, in any order and in parallel.

The compiler makes such equations after all transforms, so there are no rules of differentiation or batching.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..core.backend import Backend
from ..core.errors import OperandError
from ..core.ir import Eqn, Jaxpr, Var
from ..core.trace import Primitive, eval_jaxpr
from ..core.types import Aval

__all__ = ["MOVES", "REDUCTIONS", "fusion", "kept_axes", "kept_shape", "kernel"]

#: The primitives that a body may hold besides the elementwise ones.
REDUCTIONS = frozenset(["reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod", "reduce_sum"])
MOVES = frozenset(["broadcast_in_dim", "iota"])


def kept_axes(space: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """The axes of the space that are not reduced."""
    return tuple(i for i in range(len(space)) if i not in axes)


def kept_shape(space: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """The shape of what the reductions leave."""
    return tuple(n for i, n in enumerate(space) if i not in axes)


class Fusion(Primitive):
    """Runs ``jaxpr`` over ``space``, the axes ``axes`` of which its reductions reduce (``()`` if there are none)."""

    name = "fusion"
    multiple = True

    def type(self, *avals: Aval, **params: Any) -> Sequence[Aval]:
        body: Jaxpr = params["jaxpr"]
        if [a.strong() for a in avals] != body.in_avals:
            raise OperandError(f"fusion: the body takes {body.in_avals}, not {list(avals)}")
        _check_body(body, params["space"], params["axes"])
        return body.out_avals

    def expand(self, *args: Any, **params: Any) -> list[Any]:
        return eval_jaxpr(params["jaxpr"], *args)


fusion = Fusion()


def _check_body(body: Jaxpr, space: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """Raise OperandError where a body breaks the rules above."""
    shapes = (space, kept_shape(space, axes), ())
    inputs = set(body.invars)
    reduces = False
    for eqn in body.eqns:
        name = eqn.primitive.name
        if not (eqn.primitive.elementwise or name in REDUCTIONS or name in MOVES):
            raise OperandError(f"fusion: {name} is neither elementwise nor a reduction, a broadcast or an iota")
        if any(v.aval.shape not in shapes for v in eqn.outputs):
            raise OperandError(f"fusion: {name} has the shape {eqn.outputs[0].aval.shape}, not one of {shapes}")
        if name in REDUCTIONS:
            reduces = True
            if tuple(eqn.params["axes"]) != axes or eqn.inputs[0].aval.shape != space:
                raise OperandError(f"fusion: {name} over {eqn.params['axes']} in a group over {axes} of {space}")
        operands = [a for a in eqn.inputs if isinstance(a, Var)]
        if name != "broadcast_in_dim":
            if any(a.aval.shape not in shapes for a in operands):
                raise OperandError(f"fusion: {name} reads an operand that is neither full, kept nor of rank 0")
        elif operands and operands[0] not in inputs and operands[0].aval.shape:
            full = eqn.outputs[0].aval.shape == space and operands[0].aval.shape == shapes[1]
            if not full or tuple(eqn.params["dims"]) != kept_axes(space, axes):
                raise OperandError("fusion: a value of the group can be broadcast along the reduced axes only")
    if axes and not reduces:
        raise OperandError(f"fusion: the axes {axes} are not reduced")
    if any(a.aval.shape not in shapes for a in body.outs):
        raise OperandError("fusion: an output is neither full, kept nor of rank 0")


def kernel(eqn: Eqn, backend: Backend) -> Callable[..., Any] | None:
    """What the back end has for a group, asked once and kept in the memo of the body."""
    memo = eqn.params["jaxpr"].memo
    key = ("kernel", backend.name)
    if key not in memo:
        memo[key] = backend.fusion(eqn)
    found: Callable[..., Any] | None = memo[key]
    return found
