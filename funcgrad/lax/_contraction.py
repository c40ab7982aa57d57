"""Products of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandError, OperandTypeError
from ..core.types import aval_of
from ..numpy._promote import convert_to
from ._strict import apply, checked_aval, operands, static_shape

__all__ = [
    "batch_matmul",
    "dot",
    "dot_general",
]


def accumulated(name: str, x: Any, y: Any, preferred_element_type: Any) -> list[Any]:
    """Both operands, in the dtype in which the products are to be summed if one is given."""
    x, y = operands(name, x, y)
    if preferred_element_type is None:
        return [x, y]
    dtype = np.dtype(preferred_element_type)
    have = np.dtype(aval_of(x).dtype)
    if have != np.dtype(aval_of(y).dtype):
        raise OperandTypeError(f"lax.{name} takes operands of one dtype, not {have} and {np.dtype(aval_of(y).dtype)}")
    return [convert_to(x, dtype), convert_to(y, dtype)]


def dot_general(
    lhs: Any,
    rhs: Any,
    dimension_numbers: tuple[tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]],
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """The sum of products over contracted axes, for each index of the batch axes.

    ``dimension_numbers`` is ((lhs_contract, rhs_contract), (lhs_batch, rhs_batch)); the result has the batch axes, the
    other axes of ``lhs``, then those of ``rhs``. Products have the full precision of the dtype, whatever ``precision``;
    ``preferred_element_type`` is the dtype in which they are summed, and that of the result.
    """
    x, y = accumulated("dot_general", lhs, rhs, preferred_element_type)
    (xc, yc), (xb, yb) = dimension_numbers
    numbers = ((static_shape(xc), static_shape(yc)), (static_shape(xb), static_shape(yb)))
    return apply(prim.dot_general, x, y, dimension_numbers=numbers)


def dot(lhs: Any, rhs: Any, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The product of vectors and matrices: over the last axis of ``lhs`` and the first of ``rhs``."""
    ranks = [checked_aval("dot", i, x).ndim for i, x in enumerate((lhs, rhs))]
    if not all(1 <= r <= 2 for r in ranks):
        raise OperandError(
            f"lax.dot takes vectors and matrices, not the shapes {aval_of(lhs).shape} and {aval_of(rhs).shape}"
        )
    return dot_general(lhs, rhs, (((ranks[0] - 1,), (0,)), ((), ())), precision, preferred_element_type)


def batch_matmul(lhs: Any, rhs: Any, precision: Any = None) -> Any:
    """The product of stacks of matrices, whose leading axes are equal."""
    x, y = checked_aval("batch_matmul", 0, lhs), checked_aval("batch_matmul", 1, rhs)
    if x.ndim < 2 or x.ndim != y.ndim:
        raise OperandError(
            f"lax.batch_matmul takes stacks of matrices of one rank, not the shapes {x.shape} and {y.shape}"
        )
    batch = tuple(range(x.ndim - 2))
    return dot_general(lhs, rhs, (((x.ndim - 1,), (x.ndim - 2,)), (batch, batch)), precision)
