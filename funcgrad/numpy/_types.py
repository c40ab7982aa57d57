"""Questions about the types of values, traced or not: shapes, dtypes, promotion."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core.trace import Tracer
from ..core.types import aval_of
from ._promote import all_plain, axis_tuple, operand

__all__ = [
    "can_cast", "finfo", "iinfo", "isdtype", "isscalar", "issubdtype", "ndim", "promote_types", "result_type", "shape",
    "size",
]  # fmt: skip


def shape(a: Any) -> tuple[int, ...]:
    """The shape of an array, a tracer, a number or nested lists, as :func:`numpy.shape`."""
    return aval_of(operand("shape", a)).shape


def ndim(a: Any) -> int:
    """The number of axes, as :func:`numpy.ndim`."""
    return len(shape(a))


def size(a: Any, axis: Any = None) -> int:
    """The number of elements, or that along one axis or several, as :func:`numpy.size`."""
    sizes = shape(a)
    return math.prod(sizes[i] for i in axis_tuple(axis, len(sizes)))


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The dtype that NumPy's promotion gives, as :func:`numpy.result_type`; a traced Python scalar is weak."""
    examples = {"i": 0, "f": 0.0, "c": 0j}
    found = []
    for x in arrays_and_dtypes:
        if isinstance(x, Tracer) or (not all_plain((x,)) and not isinstance(x, np.dtype)):
            aval = aval_of(operand("result_type", x))
            x = examples[aval.dtype.kind] if aval.weak else aval.dtype
        found.append(x)
    return np.result_type(*found)


def isscalar(element: Any) -> bool:
    """Whether ``element`` is a scalar, as :func:`numpy.isscalar`; a traced Python scalar is one."""
    return element.aval.weak if isinstance(element, Tracer) else np.isscalar(element)


can_cast = np.can_cast
promote_types = np.promote_types
issubdtype = np.issubdtype
isdtype = np.isdtype
finfo = np.finfo
iinfo = np.iinfo
