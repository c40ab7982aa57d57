"""Arrays made from nothing, from values, or along a diagonal.

Outside of programs NumPy makes them. In a program that is being written down a small array is a constant, and a
large one is built when the program runs (``broadcast_in_dim`` and ``iota``), so that programs stay small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import primitives as p
from ..core.backend import _default
from ..core.errors import OperandError
from ..core.memory import view_of
from ..core.trace import Tracer
from ..core.types import aval_of, is_inexact, promote, shape_of
from . import _promote
from ._promote import (
    INDEX,
    all_plain,
    beside,
    check_device,
    constant,
    convert_to,
    eager,
    normalize_axis,
    operand,
    own,
    staging,
)
from ._promote import full as _full
from ._ufuncs import add, divide, multiply, power, subtract, where

__all__ = [
    "arange", "array", "asarray", "astype", "copy", "diag", "diagflat", "empty", "empty_like", "eye", "full",
    "full_like", "geomspace", "identity", "indices", "linspace", "logspace", "meshgrid", "ones", "ones_like", "trace",
    "tri", "tril", "triu", "vander", "zeros", "zeros_like",
]  # fmt: skip

_BOOL = np.dtype(np.bool_)
_FLOAT64 = np.dtype(np.float64)


# From values ----------------------------------------------------------------------------------------------------------


def array(object: Any, dtype: Any = None, *, copy: bool | None = True, ndmin: int = 0) -> Any:
    """As :func:`numpy.array`: of numbers, arrays, tracers, and nested lists of them. Traced values need no copy."""
    if all_plain((object,)) and _default.plain:
        return _inexact(np.array(object, dtype, copy=copy, ndmin=ndmin))
    result = _promote.asarray(operand("array", object), dtype)
    shape = shape_of(result)
    if result is object and copy and isinstance(result, Tracer):
        result = result.renewed()
    return p.reshape(result, shape=(*[1] * (ndmin - len(shape)), *shape)) if len(shape) < ndmin else result


def _inexact(x: Any) -> Any:
    """An array of real or complex numbers may be assigned into; one of integers stays plain, since it may be an index."""
    return own(x) if x.ndim and x.dtype.kind in "fc" else x


def asarray(a: Any, dtype: Any = None, *, device: Any = None, copy: bool | None = None) -> Any:
    """As :func:`numpy.asarray`: an array is itself; lists may hold tracers. Traced values need no copy."""
    check_device("asarray", device)
    if all_plain((a,)) and _default.plain:
        return np.asarray(a, dtype, copy=copy)
    return _promote.asarray(operand("asarray", a), dtype)


@eager(lambda a: own(np.copy(a)))
def copy(a: Any) -> Any:
    """As :func:`numpy.copy`. In a function that is traced, traced values can be assigned into the copy."""
    return p.copy(_promote.asarray(operand("copy", a)))


@eager(np.astype)
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """As :func:`numpy.astype`. The imaginary part of a complex array is dropped for a real dtype, as NumPy does."""
    check_device("astype", device)
    return convert_to(operand("astype", x), np.dtype(dtype), strong=True)


# From nothing ---------------------------------------------------------------------------------------------------------


def _shape(shape: Any) -> tuple[int, ...]:
    """A shape as a tuple of integers. Raises ConcretizationError for a traced size, OperandError for a negative one."""
    if isinstance(shape, Tracer) and shape.ndim == 0:
        return (shape.__index__(),)
    sizes = (
        tuple(n.__index__() for n in shape) if isinstance(shape, (tuple, list, np.ndarray)) and np.ndim(shape) else None
    )
    sizes = (shape.__index__(),) if sizes is None else sizes
    if any(n < 0 for n in sizes):
        raise OperandError(f"negative dimensions are not allowed, but the shape is {sizes}")
    return sizes


def zeros(shape: Any, dtype: Any = float, *, device: Any = None) -> Any:
    """As :func:`numpy.zeros`."""
    check_device("zeros", device)
    if _default.plain and not staging() and all_plain((shape,)):
        return own(np.zeros(shape, dtype))
    return own(_full(_shape(shape), 0, dtype))


def ones(shape: Any, dtype: Any = float, *, device: Any = None) -> Any:
    """As :func:`numpy.ones`."""
    check_device("ones", device)
    return own(_full(_shape(shape), 1, dtype))


def empty(shape: Any, dtype: Any = float, *, device: Any = None) -> Any:
    """As :func:`numpy.empty`, but the elements are zero: a program's results must not depend on old memory."""
    return zeros(shape, dtype, device=device)


def full(shape: Any, fill_value: Any, dtype: Any = None, *, device: Any = None) -> Any:
    """As :func:`numpy.full`; the value may be an array that broadcasts to the shape, traced or not."""
    check_device("full", device)
    fill_value = operand("full", fill_value, "the fill value")
    dtype = aval_of(fill_value).dtype if dtype is None else np.dtype(dtype)
    sizes = _shape(shape)
    if shape_of(fill_value):
        if _promote.broadcast_shapes("full", shape_of(fill_value), sizes) != sizes:
            raise OperandError(f"full: a value of shape {shape_of(fill_value)} does not broadcast to {sizes}")
        return _promote.expand_to(convert_to(fill_value, dtype), sizes)
    return own(_full(sizes, fill_value, dtype))


def zeros_like(a: Any, dtype: Any = None, *, shape: Any = None, device: Any = None) -> Any:
    """As :func:`numpy.zeros_like`; of an array of another library it is one too."""
    return full_like(a, 0, dtype, shape=shape, device=device)


def ones_like(a: Any, dtype: Any = None, *, shape: Any = None, device: Any = None) -> Any:
    """As :func:`numpy.ones_like`; of an array of another library it is one too."""
    return full_like(a, 1, dtype, shape=shape, device=device)


def empty_like(prototype: Any, dtype: Any = None, *, shape: Any = None, device: Any = None) -> Any:
    """As :func:`numpy.empty_like`, but the elements are zero: a program's results must not depend on old memory."""
    return zeros_like(prototype, dtype, shape=shape, device=device)


def full_like(a: Any, fill_value: Any, dtype: Any = None, *, shape: Any = None, device: Any = None) -> Any:
    """As :func:`numpy.full_like`; of an array of another library it is one too."""
    aval = aval_of(operand("full_like", a))
    given = getattr(a, "device", None)
    found = full(
        aval.shape if shape is None else shape,
        fill_value,
        aval.dtype if dtype is None else dtype,
        device=None if device == given else device,
    )
    return beside(a, found)


def _static(name: str, *values: Any) -> list[Any]:
    """The values, which decide a shape and so must be concrete."""
    found = []
    for x in values:
        if isinstance(x, Tracer):
            x = x.concrete(f"{name}, whose arguments decide the shape of its result,")
        found.append(x)
    return found


def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None, *, device: Any = None) -> Any:
    """As :func:`numpy.arange`. Its arguments decide its length, so they must be concrete."""
    check_device("arange", device)
    start, stop, step = _static("arange", start, stop, step)
    if stop is None:
        start, stop = 0, start
    step = 1 if step is None else step
    if not staging() and _default.plain:
        return np.arange(start, stop, step, dtype)
    if dtype is None:
        dtype = np.arange(start, start + step, step).dtype if not _all_ints(start, stop, step) else INDEX
        dtype = np.result_type(dtype, np.asarray(stop).dtype)
    dtype = np.dtype(dtype)
    length = max(0, math.ceil((stop - start) / step)) if step else 0
    if not step or length * dtype.itemsize <= _promote.SMALL:
        return constant(np.arange(start, stop, step, dtype))
    index = p.iota(shape=(length,), dtype=INDEX if dtype.kind in "iu" else dtype, axis=0)
    return convert_to(add(start, multiply(index, step)), dtype)


def _all_ints(*values: Any) -> bool:
    return all(type(x) is int for x in values)


def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """As :func:`numpy.linspace`; the ends may be traced, and arrays."""
    check_device("linspace", device)
    if all_plain((start, stop)) and _default.plain:
        return np.linspace(start, stop, num, endpoint, retstep, dtype, axis)
    (num,) = _static("linspace", num)
    count = num.__index__()
    if count < 0:
        raise ValueError(f"Number of samples, {count}, must be non-negative.")
    start, stop = operand("linspace", start), operand("linspace", stop)
    common = promote(aval_of(start), aval_of(stop))
    common = common if is_inexact(common) else np.dtype(np.float64)
    start, stop = convert_to(start, common, strong=True), convert_to(stop, common, strong=True)
    parts = count - 1 if endpoint else count
    delta = subtract(stop, start)
    rank = len(shape_of(delta))
    steps = np.arange(count, dtype=np.float64).reshape(-1, *[1] * rank)
    # As NumPy: with one sample and an end point there is no step.
    step = divide(delta, parts) if parts > 0 else multiply(delta, math.nan)
    fraction = convert_to(steps / parts if parts > 0 else steps, _real_dtype(common))
    result = add(start, multiply(fraction, p.reshape(delta, shape=(1, *shape_of(delta))) if rank else delta))
    if endpoint and count > 1:
        last = np.arange(count).reshape(-1, *[1] * rank) == count - 1
        result = where(last, stop, result)
    wanted = common if dtype is None else np.dtype(dtype)
    if wanted.kind in "iu":
        result = p.floor(result)
    result = convert_to(result, wanted)
    result = p.structure.move_axis(result, 0, normalize_axis(axis, rank + 1))
    return (result, step) if retstep else result


def _real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    """As :func:`numpy.logspace`; the ends and the base may be traced."""
    if all_plain((start, stop, base)) and _default.plain:
        return np.logspace(start, stop, num, endpoint, base, dtype, axis)
    result = power(base, linspace(start, stop, num, endpoint, axis=axis))
    return result if dtype is None else convert_to(result, np.dtype(dtype))


def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """As :func:`numpy.geomspace`; the ends may be traced, and must then be positive (their signs are not known)."""
    if all_plain((start, stop)) and _default.plain:
        return np.geomspace(start, stop, num, endpoint, dtype, axis)
    start, stop = multiply(start, 1.0), multiply(stop, 1.0)
    ratio = divide(stop, start)
    exponent = linspace(0.0, 1.0, num, endpoint)
    rank = len(shape_of(ratio))
    exponent = convert_to(exponent.reshape(-1, *[1] * rank), aval_of(ratio).dtype)
    result = multiply(start, power(ratio, exponent))
    result = p.structure.move_axis(result, 0, normalize_axis(axis, rank + 1))
    return result if dtype is None else convert_to(result, np.dtype(dtype))


# Diagonals ------------------------------------------------------------------------------------------------------------


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = float, *, device: Any = None) -> Any:
    """As :func:`numpy.eye`."""
    check_device("eye", device)
    N, M, k = _static("eye", N, M, k)
    M = N if M is None else M
    dtype = np.dtype(dtype)
    if not staging() or N * M * dtype.itemsize <= _promote.SMALL:
        return _inexact(constant(np.eye(N, M, k, dtype)))
    return convert_to(p.eq(*_row_and_column(N, M, k)), dtype)


def identity(n: int, dtype: Any = None) -> Any:
    """As :func:`numpy.identity`."""
    return eye(n, dtype=float if dtype is None else dtype)


def _row_and_column(rows: int, columns: int, k: int) -> tuple[Any, Any]:
    """The row index plus k, and the column index, of every element of a matrix."""
    row = p.iota(shape=(rows, columns), dtype=INDEX, axis=0)
    return (p.add(row, k) if k else row), p.iota(shape=(rows, columns), dtype=INDEX, axis=1)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = float) -> Any:
    """As :func:`numpy.tri`."""
    N, M, k = _static("tri", N, M, k)
    M = N if M is None else M
    dtype = np.dtype(dtype)
    if not staging() or N * M * dtype.itemsize <= _promote.SMALL:
        return constant(np.tri(N, M, k, dtype))
    return convert_to(p.ge(*_row_and_column(N, M, k)), dtype)


def _triangle(name: str, m: Any, k: int, lower: bool) -> Any:
    m = _promote.asarray(operand(name, m))
    shape = shape_of(m)
    if len(shape) < 2:
        # As NumPy, which broadcasts a row against the mask.
        if not shape:
            raise OperandError(f"{name}: the array must have at least one axis")
        m = p.broadcast_in_dim(m, shape=(shape[0], shape[0]), dims=(1,))
        shape = shape_of(m)
    mask = tri(shape[-2], shape[-1], k if lower else k - 1, _BOOL)
    if len(shape) > 2:
        mask = p.broadcast_in_dim(mask, shape=shape, dims=(len(shape) - 2, len(shape) - 1))
    zero = aval_of(m).dtype.type(0)
    return p.select(mask, m, zero) if lower else p.select(mask, zero, m)


@eager(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    return _triangle("tril", m, k, True)


@eager(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    return _triangle("triu", m, k, False)


def _diagonal_length(rows: int, columns: int, k: int) -> int:
    return max(0, min(rows + min(k, 0), columns - max(k, 0)))


def take_diagonal(x: Any, k: int, axis1: int, axis2: int) -> Any:
    """The ``k``-th diagonal of two axes, as a last axis."""
    shape = shape_of(x)
    length = _diagonal_length(shape[axis1], shape[axis2], k)
    start = np.arange(length)
    rows, columns = start + max(-k, 0), start + max(k, 0)
    found = p.gather(x, rows, columns, axes=(axis1, axis2))
    return p.structure.move_axis(found, 0, len(shape) - 2)


def diag(v: Any, k: int = 0) -> Any:
    """As :func:`numpy.diag`: the diagonal of a matrix, which is a copy, or the matrix of a diagonal."""
    v = v if isinstance(v, Tracer) else _promote.asarray(operand("diag", v))
    if len(shape_of(v)) not in (1, 2):
        raise OperandError(f"diag: the array must have one or two axes, not the shape {shape_of(v)}")
    return _diagonal_of(v, k) if len(shape_of(v)) == 2 else _matrix_of(v, k)


@eager(lambda v, k: np.diag(v, k).copy(), view=True, readonly=True)
def _diagonal_of(v: Any, k: int) -> Any:
    return take_diagonal(v, k, 0, 1)


@eager(np.diag)
def _matrix_of(v: Any, k: int) -> Any:
    (n,) = shape_of(v)
    size = n + abs(k)
    # Row i of an n x (size + 1) array holds v[i] at column 0: row-major, that steps along the diagonal.
    start = k if k >= 0 else -k * size
    zero = aval_of(v).dtype.type(0)
    line = p.pad(v, zero, config=((start, size * size - start - (n - 1) * (size + 1) - 1, size),)) if n else None
    return zeros((size, size), aval_of(v).dtype) if line is None else p.reshape(line, shape=(size, size))


@eager(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    v = _promote.asarray(operand("diagflat", v))
    return diag(p.reshape(v, shape=(math.prod(shape_of(v)),)), k)


@eager(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    _promote.refuse_out("trace", out)
    a = _promote.asarray(operand("trace", a))
    rank = len(shape_of(a))
    if rank < 2:
        raise OperandError(f"trace: the array must have at least two axes, not the shape {shape_of(a)}")
    diagonal = take_diagonal(a, offset, normalize_axis(axis1, rank), normalize_axis(axis2, rank))
    wanted = _promote.sum_dtype(aval_of(a).dtype) if dtype is None else np.dtype(dtype)
    return p.reduce_sum(convert_to(diagonal, wanted), axes=(rank - 2,))


@eager(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    x = _promote.asarray(operand("vander", x))
    (n,) = shape_of(x)
    N = n if N is None else N
    x = convert_to(x, np.result_type(aval_of(x).dtype, int))
    if N == 0:
        return zeros((n, 0), aval_of(x).dtype)
    columns = [p.integer_pow(x, y=i) for i in range(N)]
    columns = [p.reshape(c, shape=(n, 1)) for c in (columns if increasing else columns[::-1])]
    return p.concatenate(*columns, axis=1)


@eager(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Any, ...]:
    """As :func:`numpy.meshgrid`."""
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    arrays = [_promote.asarray(operand("meshgrid", x)) for x in xi]
    sizes = [math.prod(shape_of(x)) for x in arrays]
    places = list(range(len(arrays)))
    if indexing == "xy" and len(arrays) > 1:
        places[:2] = [1, 0]
    shape = [0] * len(arrays)
    for place, n in zip(places, sizes):
        shape[place] = n
    result = []
    for base, x, n, place in zip(xi, arrays, sizes, places):
        x = p.reshape(x, shape=(n,))
        full_shape = tuple(m if not sparse or i == place else 1 for i, m in enumerate(shape))
        grid = p.broadcast_in_dim(x, shape=full_shape, dims=(place,))
        result.append(grid if copy or not isinstance(base, Tracer) else view_of(grid, base, readonly=True))
    return tuple(result)


def indices(dimensions: Sequence[int], dtype: Any = int, sparse: bool = False) -> Any:
    """As :func:`numpy.indices`."""
    sizes = _shape(dimensions)
    if sparse or not staging():
        found = np.indices(sizes, dtype, sparse)
        return tuple(map(constant, found)) if sparse else constant(found)
    if not sizes:
        return zeros((0,), dtype)
    planes = [p.iota(shape=(1, *sizes), dtype=np.dtype(dtype), axis=i + 1) for i in range(len(sizes))]
    return p.concatenate(*planes, axis=0)
