"""What the functions of this package ask of their operands: floating point, enough precision, indices in range."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

import funcgrad.numpy as fnp
from funcgrad.core.backend import backend_of
from funcgrad.core.errors import OperandError, OperandTypeError
from funcgrad.core.trace import Tracer
from funcgrad.core.types import aval_of, is_array_like

__all__ = ["dtype_of", "floating", "indices", "narrow", "per_axis", "wide"]


def floating(name: str, x: Any, what: str = "x") -> Any:
    """``x`` as an array of a floating dtype; integers and booleans become float64, as in NumPy's functions."""
    if type(x) is fnp.ndarray and x.dtype.kind == "f":
        return x
    if isinstance(x, (list, tuple)):
        x = fnp.asarray(x)
    if not is_array_like(x) or dtype_of(x).kind not in "biuf":
        found = dtype_of(x).name if is_array_like(x) else type(x).__name__
        raise OperandTypeError(f"nn.{name}: {what} must be a real array, not {found}")
    return fnp.asarray(x) if dtype_of(x).kind == "f" else fnp.asarray(x, dtype=fnp.float64)


def dtype_of(x: Any) -> Any:
    """The dtype as NumPy's, of arrays of other libraries too."""
    return aval_of(x).dtype


def wide(x: Any) -> Any:
    """``x`` in at least float32: sums and squares of float16 overflow at 65504."""
    return fnp.astype(x, fnp.float32) if dtype_of(x) == fnp.float16 else x


def narrow(x: Any, dtype: Any) -> Any:
    """The inverse of :func:`wide`."""
    return x if dtype_of(x) == dtype else fnp.astype(x, dtype)


def indices(name: str, what: str, x: Any, count: int, *, where: Any = None) -> Any:
    """Integers from 0 to ``count - 1``. What is out of range raises: at once, or when the program runs and gathers.

    A negative index counts from the end in NumPy. Here it is nobody's intention, and becomes one out of range.
    Elements where ``where`` is false do not count; they become 0.
    """
    if isinstance(x, (list, tuple, int)):
        x = fnp.asarray(x)
    if not is_array_like(x) or dtype_of(x).kind not in "iu":
        found = dtype_of(x).name if is_array_like(x) else type(x).__name__
        raise OperandTypeError(f"nn.{name}: {what} must be integers from 0 to {count - 1}, not {found}")
    if where is not None:
        x = fnp.where(where, x, 0)
    if isinstance(x, Tracer):
        x = fnp.astype(x, fnp.int64)
        return fnp.where(x < 0, count, x)
    # Known values are looked at on the host, whatever is being traced.
    known = backend_of([x]).to_numpy(x)
    wrong = (known < 0) | (known >= count)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        at = f"[{', '.join(map(str, place))}]" if place else ""
        raise OperandError(f"nn.{name}: {what} must be from 0 to {count - 1}, but {what}{at} is {int(known[place])}")
    return x


def per_axis(name: str, what: str, value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """One integer for each spatial axis; a single one is that of all."""
    found = (value,) * rank if isinstance(value, int) else tuple(operator.index(v) for v in value)
    if len(found) != rank or any(v < 1 for v in found):
        raise OperandError(f"nn.{name}: {what} must be a positive integer or {rank} of them, not {value}")
    return found
