"""Types of values: :class:`Aval`, and NumPy's promotion over them.

An *aval* (abstract value) is a shape and a dtype. A Python scalar is *weak* (NEP 50): it takes the dtype of what it
meets, within its kind. Weakness decides promotion in the NumPy surface and is no part of the IR's typing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import ForeignArrayError

__all__ = [
    "Aval",
    "aval_of",
    "dtype_name",
    "dtype_of",
    "float0",
    "foreign_advice",
    "is_array_like",
    "is_inexact",
    "promote",
    "shape_of",
]

#: The dtype of the tangent of an integer or boolean: it carries nothing.
float0 = np.dtype([("float0", np.void, 0)])

Shape = tuple[int, ...]
DType = np.dtype[Any]

_WEAK_DTYPES: dict[type, DType] = {
    int: np.dtype(np.int64),
    float: np.dtype(np.float64),
    complex: np.dtype(np.complex128),
}
_WEAK_EXAMPLE = {"i": 0, "f": 0.0, "c": 0j}
_BOOL = np.dtype(np.bool_)
#: Dtypes of other libraries that ``np.dtype`` does not take; a back end that is registered adds its own.
FOREIGN_DTYPES: dict[Any, DType] = {}
_KIND_NAMES = {"f": "f", "i": "i", "u": "u", "c": "c"}


class Aval:
    """The type of a value: ``shape``, ``dtype``, and whether it is ``weak`` (a Python scalar).

    >>> Aval((2, 3), np.dtype("float32"))
    f32[2,3]
    """

    __slots__ = ("dtype", "shape", "weak")

    def __init__(self, shape: Shape, dtype: DType, weak: bool = False) -> None:
        self.shape = shape
        self.dtype = dtype
        self.weak = weak

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size = 1
        for n in self.shape:
            size *= n
        return size

    def strong(self) -> Aval:
        """The same type without weakness."""
        return Aval(self.shape, self.dtype) if self.weak else self

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Aval)
            and self.shape == other.shape
            and self.dtype == other.dtype
            and self.weak == other.weak
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype, self.weak))

    def __repr__(self) -> str:
        return f"{dtype_name(self.dtype)}[{','.join(map(str, self.shape))}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return Aval, (self.shape, self.dtype, self.weak)


def dtype_name(dtype: DType) -> str:
    """The short name of a dtype in printed jaxprs: ``f64``, ``i32``, ``c128``, ``bool``."""
    kind = _KIND_NAMES.get(dtype.kind)
    return f"{kind}{dtype.itemsize * 8}" if kind else dtype.name


def is_inexact(dtype: DType) -> bool:
    """Whether values of this dtype carry tangents: real and complex floating point."""
    return dtype.kind in "fc" or dtype.name == "bfloat16"


def is_array_like(x: Any) -> bool:
    """Whether ``x`` is something funcgrad computes with: an array, a NumPy or Python scalar, a tracer."""
    return type(x) in _WEAK_DTYPES or isinstance(x, (bool, np.ndarray, np.generic)) or _has_type(x)


def _has_type(x: Any) -> bool:
    return isinstance(getattr(x, "shape", None), tuple) and hasattr(x, "dtype") and not isinstance(x, type)


def aval_of(x: Any) -> Aval:
    """The type of a value: of an array, a tracer, a NumPy scalar or a Python scalar (which is weak).

    Raises TypeError for anything else.
    """
    # In order of frequency: this is asked for every operand of an eager derivative.
    if type(x) is np.ndarray:
        return Aval(x.shape, x.dtype)
    aval = getattr(x, "aval", None)
    if aval is not None:
        return aval  # type: ignore[no-any-return]
    if isinstance(x, (np.ndarray, np.generic)):
        return Aval(x.shape, x.dtype)
    weak = _WEAK_DTYPES.get(type(x))
    if weak is not None:
        return Aval((), weak, True)
    if isinstance(x, bool):
        return Aval((), _BOOL)
    if _has_type(x):
        return Aval(tuple(x.shape), dtype_of(x))
    raise TypeError(f"{x!r} of type {type(x).__name__} is not an array or a scalar")


def dtype_of(x: Any) -> DType:
    """The NumPy dtype of an array, a tracer or a NumPy scalar: arrays of other libraries have dtypes of their own.

    Raises ForeignArrayError for an array of a library that is not registered.
    """
    dtype = x.dtype
    if isinstance(dtype, np.dtype):
        return dtype
    found = FOREIGN_DTYPES.get(dtype)
    if found is not None:
        return found
    try:
        known: DType = np.dtype(dtype)
    except TypeError:
        raise ForeignArrayError(foreign_advice(x)) from None
    return known


def foreign_advice(x: Any) -> str:
    """What to write instead of giving an array of an unknown library."""
    library = type(x).__module__.split(".")[0]
    detached = ".detach()" if getattr(x, "requires_grad", False) else ""
    lost = f"; its own derivative ends there ({library} does not see funcgrad's)" if detached else ""
    return (
        f"{library} arrays ({type(x).__module__}.{type(x).__qualname__}, {x.dtype}) are not taken unasked; write "
        f"funcgrad.numpy.from_dlpack(x{detached}), which shares the memory{lost}, and {library}.from_dlpack(y) for a result"
    )


def shape_of(x: Any) -> Shape:
    """The shape of an array, a tracer or a scalar."""
    return getattr(x, "shape", ())


def promote(*avals: Aval) -> DType:
    """The dtype that NumPy gives to an operation on values of these types (NEP 50).

    >>> promote(Aval((3,), np.dtype("float32")), aval_of(2.0))
    dtype('float32')
    """
    first = avals[0].dtype
    if all(a.dtype == first and not a.weak for a in avals):
        return first
    if all(a.weak for a in avals):
        return np.result_type(*(a.dtype for a in avals))
    return np.result_type(*(_WEAK_EXAMPLE[a.dtype.kind] if a.weak else a.dtype for a in avals))
