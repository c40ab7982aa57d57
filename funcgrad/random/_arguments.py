"""What the arguments of the distributions have in common: shapes, dtypes, parameters, and their checks."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import numpy as fnp
from ..core.errors import ConcretizationError, OperandError, OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of, is_array_like
from ..numpy._promote import broadcast_shapes

__all__ = ["axis_of", "count", "float_dtype", "integer_dtype", "parameters", "require", "shape_of_draws"]


def count(name: str, what: str, value: Any) -> int:
    """A size, as a Python integer. Raises OperandTypeError if it is none, OperandError if it is negative."""
    try:
        size = operator.index(value)
    except ConcretizationError:
        raise
    except TypeError:
        raise OperandTypeError(f"{name}: {what} must be an integer, not {value!r}") from None
    if size < 0:
        raise OperandError(f"{name}: {what} must not be negative, but is {size}")
    return size


def shape_of_draws(name: str, shape: Any, *values: Any) -> tuple[int, ...]:
    """The shape of the result: ``shape``, which the parameters ``values`` must fit, or where it is None their common one."""
    if shape is None:
        return broadcast_shapes(name, *map(np.shape, values))
    sizes = shape if isinstance(shape, Iterable) and not isinstance(shape, Tracer) else (shape,)
    given = tuple(count(name, "a size in shape", n) for n in sizes)
    if values:
        common = broadcast_shapes(name, *map(np.shape, values))
        if len(common) > len(given) or broadcast_shapes(name, common, given) != given:
            raise OperandError(
                f"{name}: parameters of the shape {common} do not fit into the shape {given}; leave shape out, or give "
                f"one that ends in {common}"
            )
    return given


def axis_of(name: str, axis: Any, rank: int) -> int:
    """An axis counted from the first."""
    position = operator.index(axis)
    if not -rank <= position < rank:
        raise OperandError(f"{name}: axis {position} is not an axis of an array of rank {rank}")
    return position % rank


def float_dtype(name: str, dtype: Any) -> np.dtype[Any]:
    """float16, float32 or float64. Raises OperandTypeError for any other dtype."""
    found = np.dtype(dtype)
    if found.kind != "f" or found.itemsize > 8:
        raise OperandTypeError(f"{name}: dtype must be float16, float32 or float64, not {found.name}")
    return found


def integer_dtype(name: str, dtype: Any) -> np.dtype[Any]:
    """A signed or unsigned integer dtype. Raises OperandTypeError for any other."""
    found = np.dtype(dtype)
    if found.kind not in "iu":
        raise OperandTypeError(f"{name}: dtype must be an integer one, not {found.name}")
    return found


def parameters(name: str, dtype: np.dtype[Any], **values: Any) -> list[Any]:
    """The parameters as arrays or tracers of ``dtype``. Raises OperandTypeError, naming the one that is no real array."""
    found = []
    for what, x in values.items():
        if type(x) in (list, tuple):
            x = fnp.asarray(x)
        if not is_array_like(x) or aval_of(x).dtype.kind not in "biuf":
            raise OperandTypeError(f"{name}: {what} must be a real number or an array of them, not {x!r}")
        found.append(fnp.asarray(x, dtype=dtype))
    return found


def require(name: str, what: str, test: Callable[..., Any], *values: Any) -> None:
    """Raise OperandError unless ``test`` holds for all elements; of traced values nothing can be known."""
    if any(isinstance(x, Tracer) for x in values):
        return
    if not np.all(test(*map(np.asarray, values))):
        raise OperandError(
            f"{name}: {what}, but it is {' and '.join(np.array2string(np.asarray(x), threshold=8) for x in values)}"
        )
