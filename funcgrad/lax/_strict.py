"""What makes an operation strict: operands are checked, and only Python scalars are converted."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..core.errors import ForeignArrayError, OperandError, OperandTypeError
from ..core.trace import StageTrace, current_trace
from ..core.types import Aval, aval_of, dtype_name, foreign_advice
from ..numpy._promote import convert_to, is_weak

__all__ = [
    "apply",
    "axis_tuple",
    "canonical_axis",
    "checked_aval",
    "is_scalar",
    "operand",
    "operands",
    "scalar_like",
    "static_shape",
]

_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def apply(primitive: Any, *args: Any, **params: Any) -> Any:
    """Apply a primitive to operands whose types it has accepted; in eager evaluation too."""
    if not isinstance(current_trace(), StageTrace):
        primitive.type(*(aval_of(x).strong() for x in args), **params)
    return primitive(*args, **params)


def operands(name: str, *args: Any) -> list[Any]:
    """Arrays and tracers as they are; Python scalars with the dtype of the arrays beside them.

    Raises OperandTypeError for what is no array, and for a scalar that the dtype does not hold.
    """
    avals = [checked_aval(name, i, x) for i, x in enumerate(args)]
    strong = next((a.dtype for a, x in zip(avals, args) if not is_scalar(x)), None)
    dtype = np.result_type(*(a.dtype for a in avals)) if strong is None else strong
    return [_scalar(name, x, a, dtype) if is_scalar(x) else x for x, a in zip(args, avals)]


def is_scalar(x: Any) -> bool:
    return type(x) is bool or is_weak(x)


def checked_aval(name: str, position: int, x: Any) -> Aval:
    try:
        return aval_of(x)
    except ForeignArrayError:
        raise ForeignArrayError(f"lax.{name}: argument {position}: {foreign_advice(x)}") from None
    except TypeError:
        raise OperandTypeError(
            f"lax.{name}: argument {position} is {x!r} of type {type(x).__name__}; it takes arrays and numbers "
            f"(fnp.asarray makes an array of a list)"
        ) from None


def _scalar(name: str, x: Any, aval: Aval, dtype: np.dtype[Any]) -> Any:
    if _KINDS[aval.dtype.kind] > _KINDS.get(dtype.kind, 2):
        raise OperandTypeError(
            f"lax.{name}: a scalar of type {type(x).__name__} does not fit operands of dtype {dtype_name(dtype)}; "
            f"convert one of them with lax.convert_element_type"
        )
    return convert_to(x, dtype, strong=True)


def operand(name: str, x: Any) -> Any:
    """One array operand; a Python scalar becomes an array of NumPy's default dtype."""
    return operands(name, x)[0]


def canonical_axis(name: str, axis: int, ndim: int) -> int:
    """An axis counted from the front. Raises OperandError where there is no such axis."""
    i = operator.index(axis)
    if not -ndim <= i < ndim:
        raise OperandError(f"lax.{name}: axis {axis} is out of bounds for an array with {ndim} axes")
    return i % ndim


def axis_tuple(name: str, axes: Any, ndim: int) -> tuple[int, ...]:
    found = tuple(sorted(canonical_axis(name, a, ndim) for a in (axes if isinstance(axes, (tuple, list)) else (axes,))))
    if len(set(found)) != len(found):
        raise OperandError(f"lax.{name}: duplicate value in axes {tuple(axes)}")
    return found


def static_shape(shape: Any) -> tuple[int, ...]:
    return tuple(operator.index(n) for n in shape)


def scalar_like(x: Any, value: Any) -> Any:
    """A scalar of the dtype of ``x``."""
    return np.dtype(aval_of(x).dtype).type(value)
