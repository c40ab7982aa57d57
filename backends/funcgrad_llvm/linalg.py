"""Linear systems and Cholesky factors by LAPACK, from compiled programs: that of the OpenBLAS which multiplies matrices.

LAPACK's matrices are column-major. A row-major matrix is its transpose in their eyes: a lower factor is an upper one, and
what has to be as it is, is copied in the other order. Its integers have 32 or 64 bits; a number below 2^31 is written
with 64, which a little-endian processor reads right in either width.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from funcgrad.core.ir import Eqn

from . import blas
from .lower import Lowerer, lowers
from .memory import View

_LETTERS = {np.dtype(np.float32): "s", np.dtype(np.float64): "d"}
_ROW_MAJOR, _PLAIN, _TRANSPOSED, _UPPER, _LOWER, _NON_UNIT, _UNIT, _LEFT, _RIGHT = (101, 111, 112, 121, 122, 131, 132, 141, 142)  # fmt: skip


def _is_real(eqn: Eqn) -> bool:
    return all(a.aval.dtype in _LETTERS for a in eqn.inputs)


def _symbol(lowerer: Lowerer, name: str) -> str:
    """The name in the text of a function of the library."""
    found = blas.library().function(name)
    lowerer.symbols[f"lapack_{name}"] = ctypes.cast(found, ctypes.c_void_p).value or 0
    return f"lapack_{name}"


def _stored(lowerer: Lowerer, number: int) -> tuple[str, str]:
    """An argument of LAPACK: the address of an integer."""
    place = lowerer.writer.alloca("i64")
    lowerer.writer.do(f"store i64 {number}, ptr {place}")
    return "ptr", place


@contextmanager
def _each(lowerer: Lowerer, views: Sequence[View], flops: float) -> Iterator[list[str]]:
    """The addresses of the matrices of stacks, in a loop over these."""
    w, stack = lowerer.writer, views[0].shape[:-2]
    lowerer.work += lowerer.times * math.prod(stack) * max(int(flops) // 16, 1)
    pointers = [lowerer.pointer(v) for v in views]
    if stack:
        merged = [math.prod(v.shape[-2:]) for v in views]  # they are all contiguous
        with w.loop(math.prod(stack)) as index:
            yield [w.offset(p, v.dtype, index, n) for p, v, n in zip(pointers, views, merged)]
    else:
        yield pointers


def _refuse(lowerer: Lowerer, code: str, message: str) -> None:
    """Leave the program where LAPACK's answer is not 0."""
    w = lowerer.writer
    info = w.emit(f"load i32, ptr {code}")
    lowerer.fault(w.emit(f"icmp ne i32 {info}, 0"), "0", message, np.linalg.LinAlgError)


@lowers("cholesky", when=_is_real)
def _cholesky(lowerer: Lowerer, eqn: Eqn) -> None:
    out, w = lowerer.updated(eqn.outputs[0], lowerer.view(eqn.inputs[0])), lowerer.writer
    n, letter, size = out.shape[-1], _LETTERS[out.dtype], out.dtype.itemsize
    uplo, info = w.alloca("i8"), w.alloca("i64")
    w.do(f"store i8 {ord('U')}, ptr {uplo}")
    order = _stored(lowerer, n)
    factor = _symbol(lowerer, f"{letter}potrf_")
    with _each(lowerer, [out], n**3 / 3) as (a,):
        w.call(factor, ("ptr", uplo), order, ("ptr", a), order, ("ptr", info))
        _refuse(lowerer, info, "Matrix is not positive definite")
        if n > 1:
            w.declarations.add("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
            with w.loop(n - 1) as row:
                behind = w.offset(w.offset(a, out.dtype, row, n + 1), out.dtype, "1")
                rest = w.emit(f"mul i64 {w.emit(f'sub i64 {n - 1}, {row}')}, {size}")
                w.do(f"call void @llvm.memset.p0.i64(ptr {behind}, i8 0, i64 {rest}, i1 false)")


@lowers("triangular_solve", when=_is_real)
def _triangular_solve(lowerer: Lowerer, eqn: Eqn) -> None:
    left, lower, transpose, unit = (eqn.params[k] for k in ("left", "lower", "transpose", "unit_diagonal"))
    a, w = lowerer.contiguous(lowerer.view(eqn.inputs[0])), lowerer.writer
    out = lowerer.updated(eqn.outputs[0], lowerer.view(eqn.inputs[1]), [a])
    m, n = out.shape[-2:]
    k, letter, integer = a.shape[-1], _LETTERS[out.dtype], blas.library().integer
    triangle, diagonal = _LOWER if lower else _UPPER, _UNIT if unit else _NON_UNIT
    with _each(lowerer, [a, out], m * n * k) as (matrix, x):
        if not unit:
            _refuse_zeros(lowerer, matrix, a.dtype, k)
        if (n if left else m) == 1:
            flag = _TRANSPOSED if transpose == left else _PLAIN
            arguments = [("i32", _ROW_MAJOR), ("i32", triangle), ("i32", flag), ("i32", diagonal), (integer, k),
                         ("ptr", matrix), (integer, k), ("ptr", x), (integer, 1)]  # fmt: skip
            name = f"cblas_{letter}trsv"
        else:
            type = "float" if letter == "s" else "double"
            arguments = [("i32", _ROW_MAJOR), ("i32", _LEFT if left else _RIGHT), ("i32", triangle),
                         ("i32", _TRANSPOSED if transpose else _PLAIN), ("i32", diagonal), (integer, m), (integer, n),
                         (type, "1.0"), ("ptr", matrix), (integer, k), ("ptr", x), (integer, n)]  # fmt: skip
            name = f"cblas_{letter}trsm"
        w.call(_symbol(lowerer, name), *[(t, str(value)) for t, value in arguments])


def _refuse_zeros(lowerer: Lowerer, matrix: str, dtype: np.dtype, n: int) -> None:
    """Leave the program if there is a zero on the diagonal: BLAS would divide by it."""
    w = lowerer.writer
    type, found = "float" if dtype.itemsize == 4 else "double", w.alloca("i32")
    w.do(f"store i32 0, ptr {found}")
    with w.loop(n) as i:
        x = w.load(w.offset(matrix, dtype, i, n + 1), dtype)
        zero = w.emit(f"zext i1 {w.emit(f'fcmp oeq {type} {x}, 0.0')} to i32")
        before = w.emit(f"load i32, ptr {found}")
        w.do(f"store i32 {w.emit(f'or i32 {before}, {zero}')}, ptr {found}")
    _refuse(lowerer, found, "Singular matrix")


@lowers("solve", when=_is_real)
def _solve(lowerer: Lowerer, eqn: Eqn) -> None:
    out, w = lowerer.result(eqn.outputs[0]), lowerer.writer
    a, b = (_columns(lowerer, lowerer.view(x)) for x in eqn.inputs)
    n, k = out.shape[-2:]
    pivots = lowerer.temporary(np.dtype(np.int64), (n,))
    info = w.alloca("i64")
    size, count = _stored(lowerer, n), _stored(lowerer, k)
    function = _symbol(lowerer, f"{_LETTERS[out.dtype]}gesv_")
    with _each(lowerer, [a, b], 2 * n**3 / 3 + 2 * n * n * k) as (matrix, x):
        w.call(function, size, count, ("ptr", matrix), size, ("ptr", lowerer.pointer(pivots)), ("ptr", x), size,
               ("ptr", info))  # fmt: skip
        _refuse(lowerer, info, "Singular matrix")
    lowerer.copy(_swapped(b), out)


def _columns(lowerer: Lowerer, x: View) -> View:
    """A copy of matrices column by column: the transposed matrices, row by row."""
    x = _swapped(x)
    copy = lowerer.temporary(x.dtype, x.shape)
    lowerer.copy(x, copy)
    return copy


def _swapped(x: View) -> View:
    rank = len(x.shape)
    return x.transposed((*range(rank - 2), rank - 1, rank - 2))
