"""Stacks of matrices: what the primitives of linear algebra are made of.

A function here writes equations of other primitives; ``Matrix`` is the base class of those primitives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import LinearAlgebraError, OperandError, OperandTypeError
from ..core.trace import Primitive
from ..core.types import Aval, dtype_of, shape_of
from . import elementwise as ew
from . import structure
from .contraction import dot_general

__all__ = [
    "Matrix", "below", "beside", "block", "check_same_stack", "complex_dtype", "conjugated", "convert_to", "dagger",
    "grown", "half_lower", "hermitian_part", "identity", "matmul", "on_and_above", "on_and_below", "places",
    "real_dtype", "real_part", "scale_of_columns", "scale_of_rows", "swapped",
]  # fmt: skip

Shape = tuple[int, ...]

_INDEX = np.dtype(np.int64)
_DTYPES = ("float32", "float64", "complex64", "complex128")


def matmul(x: Any, y: Any) -> Any:
    """The products of two stacks of matrices of one stack shape."""
    n = len(shape_of(x)) - 2
    stack = tuple(range(n))
    return dot_general(x, y, dimension_numbers=(((n + 1,), (n,)), (stack, stack)))


def swapped(x: Any) -> Any:
    """The transposed matrices."""
    n = len(shape_of(x))
    return structure.transpose(x, axes=(*range(n - 2), n - 1, n - 2))


def conjugated(x: Any) -> Any:
    """The conjugate; a real array itself."""
    return ew.conj(x) if dtype_of(x).kind == "c" else x


def real_part(x: Any) -> Any:
    """The real part; a real array itself."""
    return ew.real(x) if dtype_of(x).kind == "c" else x


def dagger(x: Any) -> Any:
    """The conjugate transpose."""
    return conjugated(swapped(x))


def hermitian_part(x: Any) -> Any:
    """The Hermitian part."""
    return ew.mul(0.5, ew.add(x, dagger(x)))


def convert_to(x: Any, dtype: np.dtype[Any]) -> Any:
    """``x`` as ``dtype``, an equation only where it changes something."""
    return x if dtype_of(x) == dtype else ew.convert(x, dtype=dtype)


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the parts of a complex number."""
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def complex_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The complex dtype with parts of this precision."""
    return dtype if dtype.kind == "c" else np.dtype(f"c{dtype.itemsize * 2}")


def places(shape: Shape) -> tuple[Any, Any]:
    """The row and the column of every element of matrices."""
    n = len(shape)
    return structure.iota(shape=shape, dtype=_INDEX, axis=n - 2), structure.iota(shape=shape, dtype=_INDEX, axis=n - 1)


def identity(shape: Shape, dtype: np.dtype[Any]) -> Any:
    """Identity matrices."""
    return ew.convert(ew.eq(*places(shape)), dtype=dtype)


def below(x: Any) -> Any:
    """The part strictly below the diagonal."""
    row, column = places(shape_of(x))
    return ew.mul(x, ew.convert(ew.gt(row, column), dtype=dtype_of(x)))


def on_and_above(x: Any) -> Any:
    """The part on and above the diagonal."""
    row, column = places(shape_of(x))
    return ew.mul(x, ew.convert(ew.le(row, column), dtype=dtype_of(x)))


def on_and_below(x: Any) -> Any:
    """The part on and below the diagonal."""
    row, column = places(shape_of(x))
    return ew.mul(x, ew.convert(ew.ge(row, column), dtype=dtype_of(x)))


def half_lower(x: Any) -> Any:
    """The part below the diagonal, and half of the diagonal."""
    row, column = places(shape_of(x))
    weight = ew.add(
        ew.convert(ew.gt(row, column), dtype=dtype_of(x)), ew.convert(ew.ge(row, column), dtype=dtype_of(x))
    )
    return ew.mul(x, ew.mul(0.5, weight))


def scale_of_columns(values: Any, like: Any) -> Any:
    """A vector for each matrix, as rows that are all equal: it scales the columns of ``like``."""
    shape = shape_of(like)
    n = len(shape)
    return structure.broadcast_in_dim(convert_to(values, dtype_of(like)), shape=shape, dims=(*range(n - 2), n - 1))


def scale_of_rows(values: Any, like: Any) -> Any:
    """A vector for each matrix, as columns that are all equal: it scales the rows of ``like``."""
    shape = shape_of(like)
    return structure.broadcast_in_dim(
        convert_to(values, dtype_of(like)), shape=shape, dims=tuple(range(len(shape) - 1))
    )


def block(x: Any, rows: tuple[int, int], columns: tuple[int, int]) -> Any:
    """A block of each matrix."""
    shape = shape_of(x)
    if rows == (0, shape[-2]) and columns == (0, shape[-1]):
        return x
    none = (0,) * (len(shape) - 2)
    return structure.slice_(
        x,
        start=(*none, rows[0], columns[0]),
        limit=(*shape[:-2], rows[1], columns[1]),
        stride=(1,) * len(shape),
    )


def grown(x: Any, rows: int, columns: int) -> Any:
    """Matrices with zeros appended to this size."""
    *stack, m, n = shape_of(x)
    if (m, n) == (rows, columns):
        return x
    config = (*[(0, 0, 0)] * len(stack), (0, rows - m, 0), (0, columns - n, 0))
    return structure.pad(x, dtype_of(x).type(0), config=config)


def beside(*xs: Any, axis: int) -> Any:
    """Matrices beside each other (axis -1) or on top of each other (axis -2)."""
    return structure.concatenate(*xs, axis=len(shape_of(xs[0])) + axis)


class Matrix(Primitive):
    """A primitive of stacks of matrices: a mapped axis is one more axis of the stack."""

    square = False

    def check(self, a: Aval) -> tuple[Shape, int, int]:
        """The shape of the stack, and the rows and columns of its matrices; raises for what is none."""
        if a.ndim < 2:
            raise LinearAlgebraError(
                f"{self.name}: {a.ndim}-dimensional array given; it must be at least two-dimensional"
            )
        *stack, m, n = a.shape
        if self.square and m != n:
            raise LinearAlgebraError(
                f"{self.name}: the last 2 dimensions of the array must be square, but the shape is {a.shape}"
            )
        if a.dtype.name not in _DTYPES:
            raise OperandTypeError(f"{self.name} takes the dtypes {', '.join(_DTYPES)}, not {a.dtype}")
        return tuple(stack), m, n

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        rows = [x if b else structure.repeat_rows(x, size) for x, b in zip(args, batched, strict=True)]
        result = self(*rows, **params)
        return result, [True] * len(result) if self.multiple else True


def check_same_stack(name: str, a: Aval, b: Aval) -> None:
    """Raise unless two operands have one dtype and their stacks one shape."""
    if a.dtype != b.dtype:
        raise OperandTypeError(f"{name} takes operands of one dtype, not {a.dtype} and {b.dtype}")
    if a.shape[:-2] != b.shape[:-2] or b.ndim < 2:
        raise OperandError(f"{name} takes stacks of one shape, not matrices of the shapes {a.shape} and {b.shape}")
