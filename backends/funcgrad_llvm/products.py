"""Products of matrices by BLAS, convolutions as products, and reductions over windows.

A product wants two axes of each operand, one of them contiguous; what is stored otherwise is copied first. Integers,
booleans and half precision are a fused group: the sum of the products over the contracted axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from funcgrad.core.ir import Eqn, Jaxpr, Literal, Var
from funcgrad.core.types import Aval
from funcgrad.primitives import add as add_
from funcgrad.primitives import broadcast_in_dim, convert, max_, mul, reduce_or, reduce_sum

from . import blas
from .lower import Lowerer, lowers
from .memory import Buffer, View, contiguous_strides
from .movement import padded
from .sharing import pieces, turns

_BLAS = {np.dtype(np.float32): "s", np.dtype(np.float64): "d"}
_ROW_MAJOR, _AS_IT_IS, _TRANSPOSED = 101, 111, 112
_TYPES = {"s": "float", "d": "double"}


def _number(x: float) -> str:
    return f"{x:.1f}"


def _merged(view: View, axes: Sequence[int]) -> tuple[int, int] | None:
    """The size and stride of several axes as one, or None."""
    size, stride = 1, 0
    for a in reversed(axes):
        n, s = view.shape[a], view.strides[a]
        if n == 1:
            continue
        if size == 1:
            stride = s
        elif s != stride * size:
            return None
        size *= n
    return size, stride


class Matrix:
    """Two axes of a view as BLAS takes them: `leading` elements from row to row (of columns, if `flipped`)."""

    def __init__(self, view: View, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        self.view = view
        (m, row), (n, column) = rows, columns
        self.shape = m, n
        self.flipped = not ((column == 1 or n == 1) and (row >= n or m == 1))
        self.leading = max(row, n, 1) if not self.flipped else max(column, m, 1)

    @staticmethod
    def fits(rows: tuple[int, int], columns: tuple[int, int]) -> bool:
        (m, row), (n, column) = rows, columns
        return ((column == 1 or n == 1) and (row >= n or m == 1)) or ((row == 1 or m == 1) and (column >= m or n == 1))

    @property
    def flag(self) -> int:
        return _TRANSPOSED if self.flipped else _AS_IT_IS


def multiply(
    lowerer: Lowerer, a: Matrix, b: Matrix, out: View, pointers: Sequence[str], leading: int, beta: float = 0.0
) -> None:
    """out = a b + beta out, for row-major matrices at these addresses."""
    (m, k), n = a.shape, b.shape[1]
    letter = _BLAS[out.dtype]
    type = _TYPES[letter]
    pa, pb, pc = pointers
    one, more = (type, _number(1)), (type, _number(beta))
    w = lowerer.writer
    lowerer.work += lowerer.times * max(m * n * k // 16, 1)

    def call(name: str, *operands: tuple[str, Any], result: str = "void") -> str:
        lowerer.symbols[f"fg_{letter}{name}"] = blas.address(f"{letter}{name}")
        return w.call(f"fg_{letter}{name}", *[(t, str(x)) for t, x in operands], result=result)

    if n == 1 and m == 1 and not beta:
        # A row times a column; the distance of their elements.
        dx = a.leading if a.flipped else 1
        dy = 1 if b.flipped else b.leading
        total = call("dot", ("i32", k), ("ptr", pa), ("i32", dx), ("ptr", pb), ("i32", dy), result=type)
        w.store(total, pc, out.dtype)
    elif n == 1:
        rows, columns = (k, m) if a.flipped else (m, k)
        call("gemv", ("i32", _ROW_MAJOR), ("i32", a.flag), ("i32", rows), ("i32", columns), one, ("ptr", pa),
             ("i32", a.leading), ("ptr", pb), ("i32", 1 if b.flipped else b.leading), more, ("ptr", pc),
             ("i32", leading))  # fmt: skip
    elif m == 1:
        # (b^T) a^T
        rows, columns = (n, k) if b.flipped else (k, n)
        flag = _AS_IT_IS if b.flipped else _TRANSPOSED
        call("gemv", ("i32", _ROW_MAJOR), ("i32", flag), ("i32", rows), ("i32", columns), one, ("ptr", pb),
             ("i32", b.leading), ("ptr", pa), ("i32", a.leading if a.flipped else 1), more, ("ptr", pc),
             ("i32", 1))  # fmt: skip
    else:
        call("gemm", ("i32", _ROW_MAJOR), ("i32", a.flag), ("i32", b.flag), ("i32", m), ("i32", n), ("i32", k), one,
             ("ptr", pa), ("i32", a.leading), ("ptr", pb), ("i32", b.leading), more, ("ptr", pc),
             ("i32", leading))  # fmt: skip


def _matrix(view: View, batch: int, rows: int) -> Matrix | None:
    """The matrix of a view's axes behind the first ones, of which so many are its rows, or None."""
    axes = range(batch, batch + rows), range(batch + rows, len(view.shape))
    parts = _merged(view, axes[0]), _merged(view, axes[1])
    return None if parts[0] is None or parts[1] is None or not Matrix.fits(*parts) else Matrix(view, *parts)


def _operand(
    lowerer: Lowerer, view: View, batch: Sequence[int], rows: Sequence[int], columns: Sequence[int]
) -> tuple[View, Matrix]:
    """A view with the batch axes first, and its matrix; a copy if it must be."""
    view = view.transposed((*batch, *rows, *columns))
    found = _matrix(view, len(batch), len(rows))
    if found is None:
        view = lowerer.contiguous(view)
        found = _matrix(view, len(batch), len(rows))
    assert found is not None
    return view, found


@lowers("dot_general")
def _dot_general(lowerer: Lowerer, eqn: Eqn) -> None:
    (xc, yc), (xb, yb) = eqn.params["dimension_numbers"]
    x, y = eqn.inputs
    out = lowerer.result(eqn.outputs[0])
    if out.dtype not in _BLAS or isinstance(x, Literal) or isinstance(y, Literal):
        _product_of_group(lowerer, eqn, out)
        return
    x_free = [i for i in range(x.aval.ndim) if i not in xc and i not in xb]
    y_free = [i for i in range(y.aval.ndim) if i not in yc and i not in yb]
    a, left = _operand(lowerer, lowerer.view(x), xb, x_free, xc)
    b, right = _operand(lowerer, lowerer.view(y), yb, yc, y_free)
    (m, k), n = left.shape, right.shape[1]
    pointers = [lowerer.pointer(v) for v in (a, b, out)]
    outer, batch = lowerer.times, out.shape[: len(xb)]
    # Of one product after another each is cut, unless there are enough of them for all threads, or none is large enough.
    first = next((i for i, size in enumerate(batch) if size > 1), None)
    share = first is not None and (batch[first] >= lowerer.threads or not blas.is_cut(m, n, k))
    with ExitStack() as nest:
        for axis, size in enumerate(batch):
            if share and axis == first:
                cycles = blas.cycles(out.dtype, m, n, k) * math.prod(batch)
                pointers, _, index = nest.enter_context(turns(lowerer, pointers, size, cycles))
            else:
                index = nest.enter_context(lowerer.writer.loop(size))
            lowerer.times *= size
            pointers = [
                lowerer.writer.offset(p, v.dtype, index, v.strides[axis]) for p, v in zip(pointers, (a, b, out))
            ]
        multiply(lowerer, left, right, out, pointers, n)
    lowerer.times = outer


def _product_of_group(lowerer: Lowerer, eqn: Eqn, out: View) -> None:
    """The product of dtypes that BLAS has not: over the space batch, rows, contracted, columns."""
    (xc, yc), (xb, yb) = eqn.params["dimension_numbers"]
    x, y = eqn.inputs
    x_free = [i for i in range(x.aval.ndim) if i not in xc and i not in xb]
    y_free = [i for i in range(y.aval.ndim) if i not in yc and i not in yb]
    b, m, k = len(xb), len(x_free), len(xc)
    sizes = [x.aval.shape[i] for i in (*xb, *x_free, *xc)] + [y.aval.shape[i] for i in y_free]
    space, axes = tuple(sizes), tuple(range(b + m, b + m + k))
    views = [lowerer.view(x).transposed((*xb, *x_free, *xc)), lowerer.view(y).transposed((*yb, *yc, *y_free))]
    n = len(space)
    dtype = out.dtype
    wide = np.dtype(np.float32) if dtype == np.float16 else dtype
    eqns: list[Eqn] = []

    def apply(primitive: Any, x: Sequence[Any], size: tuple[int, ...], kind: np.dtype, **params: Any) -> Var:
        result = Var(Aval(size, kind))
        eqns.append(Eqn(primitive, x, [result], params))
        return result

    ins = [Var(Aval(v.shape, dtype)) for v in views]
    full = []
    for v, dims in zip(ins, (range(b + m + k), [*range(b), *range(b + m, n)])):
        u = v if not v.aval.shape else apply(broadcast_in_dim, [v], space, dtype, shape=space, dims=tuple(dims))
        full.append(apply(convert, [u], u.aval.shape, wide, dtype=wide) if wide != dtype else u)
    shape = space if any(v.aval.shape for v in full) else ()
    total = apply(mul, full, shape, wide)
    kept = tuple(n for i, n in enumerate(space) if i not in axes)
    if axes:
        total = apply(reduce_or if dtype.kind == "b" else reduce_sum, [total], kept, wide, axes=axes)
    if wide != dtype:
        total = apply(convert, [total], kept, dtype, dtype=dtype)
    lowerer.group(Jaxpr(ins, eqns, [total]), space, axes, views, [out])


# Windows --------------------------------------------------------------------------------------------------------------


def _windows(
    x: View, window: Sequence[int], strides: Sequence[int], dilation: Sequence[int], out: Sequence[int]
) -> View:
    """The windows over all axes of x: a view of the shape of the result, then of the window."""
    steps = [s * k for s, k in zip(x.strides, strides)] + [s * d for s, d in zip(x.strides, dilation)]
    return x.moved((*out, *window), tuple(steps))


#: Windows of up to so many elements are operands of one elementwise group.
_SMALL_WINDOW = 32


@lowers("reduce_window_sum", "reduce_window_max")
def _reduce_window(lowerer: Lowerer, eqn: Eqn) -> None:
    window, strides, padding, dilation = (eqn.params[k] for k in ("window", "strides", "padding", "dilation"))
    out, dtype = lowerer.result(eqn.outputs[0]), eqn.outputs[0].aval.dtype
    greatest = eqn.primitive.name == "reduce_window_max"
    outside: Any = 0
    if greatest:
        outside = -np.inf if dtype.kind == "f" else False if dtype.kind == "b" else np.iinfo(dtype).min
    x = padded(lowerer, lowerer.view(eqn.inputs[0]), [(lo, hi, 0) for lo, hi in padding], outside)
    views = _windows(x, window, strides, dilation, out.shape)
    places = list(np.ndindex(*window))
    rank, aval = len(window), Aval(out.shape, dtype)
    if len(places) <= _SMALL_WINDOW:
        offsets = [sum(p * s for p, s in zip(place, views.strides[rank:])) for place in places]
        ins = [views.moved(out.shape, views.strides[:rank], o) for o in offsets]
        variables, eqns = [Var(aval) for _ in ins], []
        total = variables[0]
        for v in variables[1:]:
            result = Var(aval)
            eqns.append(Eqn(max_ if greatest else add_, [total, v], [result], {}))
            total = result
        lowerer.group(Jaxpr(variables, eqns, [total]), out.shape, (), ins, [out])
        return
    from funcgrad.primitives import reduce_max

    axes = tuple(range(rank, 2 * rank))
    v, result = Var(Aval(views.shape, dtype)), Var(aval)
    reduction = Eqn(reduce_max if greatest else reduce_sum, [v], [result], {"axes": axes})
    lowerer.group(Jaxpr([v], [reduction], [result]), views.shape, axes, [views], [out])


def _is_convolution(eqn: Eqn) -> bool:
    return eqn.outputs[0].aval.dtype in _BLAS and all(isinstance(a, Var) for a in eqn.inputs)


@lowers("conv_general_dilated", when=_is_convolution)
def _convolution(lowerer: Lowerer, eqn: Eqn) -> None:
    """A product for each image: the filters times the columns, which are the windows of the image.

    Where the window is larger than the result, as in the derivative in the filters, the contracted channels are the
    loop instead, and their products are added up: then the columns are those of the small result.
    """
    p = eqn.params
    groups, strides, dilation = p["groups"], p["strides"], p["rhs_dilation"]
    out = lowerer.result(eqn.outputs[0])
    x, filters = lowerer.view(eqn.inputs[0]), lowerer.view(eqn.inputs[1])
    config = [(0, 0, 0), (0, 0, 0)] + [(lo, hi, d - 1) for (lo, hi), d in zip(p["padding"], p["lhs_dilation"])]
    x = padded(lowerer, x, config, 0)
    kernel, size = filters.shape[2:], out.shape[2:]
    steps = [s * k for s, k in zip(x.strides[2:], dilation)] + [s * k for s, k in zip(x.strides[2:], strides)]
    depth = x.shape[1] // groups
    # [N, groups, C / groups, *kernel, *out]
    shape = (x.shape[0], groups, depth, *kernel, *size)
    columns = x.moved(shape, (x.strides[0], x.strides[1] * depth, x.strides[1], *steps))
    if math.prod(kernel) > math.prod(size):
        _by_channel(lowerer, columns, filters, out, groups)
    else:
        _by_image(lowerer, columns, filters, out, groups)


def _by_image(lowerer: Lowerer, columns: View, filters: View, out: View, groups: int) -> None:
    rank = len(out.shape) - 2
    count, features = out.shape[0], out.shape[1] // groups
    inner, area = columns.shape[2 : 3 + rank], math.prod(out.shape[2:])
    depth = math.prod(inner)
    filters = lowerer.contiguous(filters)
    weights = Matrix(filters, (features, depth), (depth, 1))
    matrix = columns.moved(columns.shape[2:], columns.strides[2:]).reshaped((depth, area))
    is_matrix = matrix is not None and matrix.strides[1] == 1 and matrix.strides[0] >= area
    size = 0 if is_matrix else depth * area
    cycles = count * groups * (blas.cycles(out.dtype, features, area, depth) + size // 4)
    pointers = [lowerer.pointer(v) for v in (columns, filters, out)]
    outer = lowerer.times
    lowerer.times *= count * groups
    with turns(lowerer, pointers, count, cycles, size * out.dtype.itemsize) as ((pc, pf, po), scratch, image):
        w = lowerer.writer
        with w.loop(groups) as group:
            here = View(Buffer(pc), columns.dtype, columns.shape, columns.strides)
            part = lowerer.at(lowerer.at(here, 0, image), 0, group)
            if not is_matrix:
                copy = View(Buffer(scratch), out.dtype, part.shape, contiguous_strides(part.shape))
                lowerer.copy(part, copy)
                part = copy
            matrix = part.reshaped((depth, area))
            assert matrix is not None
            right = Matrix(matrix, (depth, matrix.strides[0]), (area, 1))
            target = w.offset(po, out.dtype, image, out.strides[0])
            target = w.offset(target, out.dtype, group, features * area)
            left = w.offset(pf, out.dtype, group, features * depth)
            multiply(lowerer, weights, right, out, [left, lowerer.pointer(matrix), target], area)
    lowerer.times = outer


def _chosen(filters: View, features: int) -> View:
    """The filters of a group for its first channel."""
    return filters.moved((features, *filters.shape[2:]), (filters.strides[0], *filters.strides[2:]))


#: As into how many parts the channels of a derivative in the filters would be cut for so many threads.
_PARTS = 4


def _by_channel(lowerer: Lowerer, columns: View, filters: View, out: View, groups: int) -> None:
    """sum over c of filters[:, c] [O, kernel] times columns[:, c]^T [kernel, N out].

    Many channels are added up in parts, which depend on the shape alone, and these in order.
    """
    rank = len(out.shape) - 2
    count, features = out.shape[0], out.shape[1] // groups
    kernel, size = math.prod(columns.shape[3 : 3 + rank]), out.shape[2:]
    # [groups, C / groups, N, *out, *kernel]
    columns = columns.transposed((1, 2, 0, *range(3 + rank, 3 + 2 * rank), *range(3, 3 + rank)))
    area, channels = count * math.prod(size), columns.shape[1]
    cycles = groups * channels * (blas.cycles(out.dtype, features, area, kernel) + kernel * area // 4)
    length = -(-channels // pieces(_PARTS, cycles, 0))
    parts = -(-channels // length)
    left = _matrix(_chosen(filters, features), 0, 1)
    if left is None:
        filters = lowerer.contiguous(filters)
        left = _matrix(_chosen(filters, features), 0, 1)
    assert left is not None
    totals = lowerer.temporary(out.dtype, (parts, groups, features, count, *size))
    lowerer.fill(totals, 0)
    pointers = [lowerer.pointer(v) for v in (columns, filters, totals)]
    outer = lowerer.times
    lowerer.times *= groups * channels
    with turns(lowerer, pointers, parts, cycles, kernel * area * out.dtype.itemsize) as ((pc, pf, pt), scratch, part):
        w = lowerer.writer
        first = w.emit(f"mul i64 {part}, {length}")
        end = w.emit(f"add i64 {first}, {length}")
        end = w.intrinsic("llvm.smin.i64", "i64", ("i64", end), ("i64", str(channels)))
        pt = w.offset(pt, out.dtype, part, totals.strides[0])
        with w.loop(groups) as group, w.loop(end, begin=first) as channel:
            here = View(Buffer(pc), out.dtype, columns.shape, columns.strides)
            here = lowerer.at(lowerer.at(here, 0, group), 0, channel)
            buffer = View(Buffer(scratch), out.dtype, here.shape, contiguous_strides(here.shape))
            lowerer.copy(here, buffer)
            chosen = w.offset(pf, out.dtype, channel, filters.strides[1])
            chosen = w.offset(chosen, out.dtype, group, features * filters.strides[0])
            right = Matrix(buffer, (kernel, 1), (area, kernel))
            target = w.offset(pt, out.dtype, group, features * area)
            multiply(lowerer, left, right, out, [chosen, scratch, target], area, beta=1.0)
    lowerer.times = outer
    # [parts, groups, features, N, *out] -> [N, groups features, *out]
    ordered = totals.reshaped((parts, groups * features, count, *size))
    assert ordered is not None
    ordered = ordered.transposed((0, 2, 1, *range(3, 3 + rank)))
    part, total = Var(Aval(ordered.shape, out.dtype)), Var(Aval(out.shape, out.dtype))
    body = Jaxpr([part], [Eqn(reduce_sum, [part], [total], {"axes": (0,)})], [total])
    lowerer.group(body, ordered.shape, (0,), [ordered], [out])


__all__ = ["Matrix", "multiply"]
