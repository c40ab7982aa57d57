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
from .memory import Buffer, View
from .movement import padded

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


def _operand(
    lowerer: Lowerer, view: View, batch: Sequence[int], rows: Sequence[int], columns: Sequence[int]
) -> tuple[View, Matrix]:
    """A view with the batch axes first, and its matrix; a copy if it must be."""
    view = view.transposed((*batch, *rows, *columns))
    b, r = len(batch), len(rows)
    axes = range(b, b + r), range(b + r, len(view.shape))
    parts = _merged(view, axes[0]), _merged(view, axes[1])
    if parts[0] is None or parts[1] is None or not Matrix.fits(*parts):
        view = lowerer.contiguous(view)
        parts = _merged(view, axes[0]), _merged(view, axes[1])
    assert parts[0] is not None and parts[1] is not None
    return view, Matrix(view, *parts)


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
    n = right.shape[1]
    w, pointers = lowerer.writer, [lowerer.pointer(v) for v in (a, b, out)]
    outer = lowerer.times
    with ExitStack() as nest:
        for axis, size in enumerate(out.shape[: len(xb)]):
            index = nest.enter_context(w.loop(size))
            lowerer.times *= size
            pointers = [w.offset(p, v.dtype, index, v.strides[axis]) for p, v in zip(pointers, (a, b, out))]
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
    w, rank = lowerer.writer, len(out.shape) - 2
    count, features = out.shape[0], out.shape[1] // groups
    inner = columns.shape[2 : 3 + rank]
    filters = lowerer.contiguous(filters)
    weights = Matrix(filters, (features, math.prod(inner)), (math.prod(inner), 1))
    area = math.prod(out.shape[2:])
    buffer = None
    outer = lowerer.times
    lowerer.times *= count * groups
    with w.loop(count) as image, w.loop(groups) as group:
        part = lowerer.at(lowerer.at(columns, 0, image), 0, group)
        matrix = part.reshaped((math.prod(inner), area))
        if matrix is None or matrix.strides[1] != 1 or matrix.strides[0] < area:
            buffer = lowerer.temporary(out.dtype, part.shape)
            lowerer.copy(part, buffer)
            matrix = buffer.reshaped((math.prod(inner), area))
        assert matrix is not None
        right = Matrix(matrix, (matrix.shape[0], matrix.strides[0]), (area, 1))
        target = w.offset(lowerer.pointer(out), out.dtype, image, out.strides[0])
        target = w.offset(target, out.dtype, group, features * area)
        left = w.offset(lowerer.pointer(filters), out.dtype, group, features * math.prod(inner))
        multiply(lowerer, weights, right, out, [left, lowerer.pointer(matrix), target], area)
    lowerer.times = outer


def _by_channel(lowerer: Lowerer, columns: View, filters: View, out: View, groups: int) -> None:
    """sum over c of filters[:, c] [O, kernel] times columns[:, c]^T [kernel, N out]."""
    w, rank = lowerer.writer, len(out.shape) - 2
    count, features = out.shape[0], out.shape[1] // groups
    kernel, size = math.prod(columns.shape[3 : 3 + rank]), out.shape[2:]
    # [groups, C / groups, N, *out, *kernel]
    columns = columns.transposed((1, 2, 0, *range(3 + rank, 3 + 2 * rank), *range(3, 3 + rank)))
    area = count * math.prod(size)
    total = lowerer.temporary(out.dtype, (groups, features, count, *size))
    lowerer.fill(total, 0)
    outer = lowerer.times
    lowerer.times *= groups * columns.shape[1]
    with w.loop(groups) as group, w.loop(columns.shape[1]) as channel:
        part = lowerer.at(lowerer.at(columns, 0, group), 0, channel)
        buffer = lowerer.temporary(out.dtype, part.shape)
        lowerer.copy(part, buffer)
        chosen = lowerer.at(filters, 1, channel)
        chosen = View(Buffer(w.offset(lowerer.pointer(chosen), out.dtype, group, features * chosen.strides[0])),
                      out.dtype, (features, *chosen.shape[1:]), chosen.strides)  # fmt: skip
        chosen, left = _operand(lowerer, chosen, (), (0,), range(1, 1 + rank))
        right = Matrix(buffer, (kernel, 1), (area, kernel))
        target = w.offset(lowerer.pointer(total), out.dtype, group, features * area)
        pointers = [lowerer.pointer(chosen), lowerer.pointer(buffer), target]
        multiply(lowerer, left, right, out, pointers, area, beta=1.0)
    lowerer.times = outer
    # [groups, features, N, *out] -> [N, groups features, *out]
    ordered = total.reshaped((groups * features, count, *size))
    assert ordered is not None
    lowerer.copy(ordered.transposed((1, 0, *range(2, 2 + rank))), out)


__all__ = ["Matrix", "multiply"]
