"""Loops that are no fused group: reading and writing at indices, running reductions, and where an extremum is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from funcgrad.core.ir import Atom, Eqn, Jaxpr, Literal, Var
from funcgrad.core.trace import Primitive
from funcgrad.core.types import Aval
from funcgrad.primitives import broadcast_in_dim, convert, eq, ne, or_, reduce_max, reduce_min, select
from funcgrad.primitives.structure import iota

from .ir import Writer, memory_type, typed
from .lower import Lowerer, lowers
from .machine import vector_bytes
from .memory import View
from .operations import elementwise
from .values import identity

_INDEX, _BOOL = np.dtype(np.int64), np.dtype(np.bool_)


def _call(lowerer: Lowerer, w: Writer, views: Sequence[View]) -> None:
    """Call the function that was written, with the addresses of views."""
    name = lowerer.function(w)
    lowerer.writer.do(f"call void @{name}({', '.join(f'ptr {lowerer.pointer(v)}' for v in views)})")


def _merged(*views: View) -> list[tuple[int, tuple[int, ...]]]:
    """The axes that views of one shape share, with the strides of each; those that lie one behind the other are one."""
    axes: list[tuple[int, tuple[int, ...]]] = []
    for i, n in enumerate(views[0].shape):
        strides = tuple(v.strides[i] for v in views)
        if n == 1:
            continue
        if axes and all(s == t * n for s, t in zip(axes[-1][1], strides)):
            axes[-1] = (axes[-1][0] * n, strides)
        else:
            axes.append((n, strides))
    return axes


class _Walk:
    """Loops over axes, that step pointers; the last axis is taken by vectors where all strides allow it."""

    def __init__(self, w: Writer, axes: list[tuple[int, tuple[int, ...]]], dtypes: Sequence[np.dtype]) -> None:
        self.w, self.axes, self.dtypes = w, axes, dtypes
        self.lanes = 1
        if axes and all(s == 1 for s in axes[-1][1]):
            widest = max(d.itemsize for d in dtypes)
            self.lanes = min(vector_bytes() // max(widest, 4), 1 << (axes[-1][0].bit_length() - 1))
            # No vector overlaps another: elements may be updated where they are.
            while axes[-1][0] % self.lanes:
                self.lanes //= 2

    def open(self, nest: ExitStack, pointers: Sequence[str]) -> list[str]:
        """Open all loops; the addresses within."""
        w, pointers = self.w, list(pointers)
        for k, (n, strides) in enumerate(self.axes):
            step = self.lanes if k == len(self.axes) - 1 else 1
            index = nest.enter_context(w.loop(n, step))
            pointers = [w.offset(p, d, index, s) for p, d, s in zip(pointers, self.dtypes, strides)]
        return pointers


# Indexing -------------------------------------------------------------------------------------------------------------


def _places(
    lowerer: Lowerer, w: Writer, indices: Sequence[Atom], pointers: Sequence[str], views: Sequence[View],
    sizes: Sequence[int], strides: Sequence[int], position: Sequence[str],
) -> str:  # fmt: skip
    """How far into an array the indices at a position point."""
    offset = "0"
    for pointer, view, n, stride in zip(pointers, views, sizes, strides):
        for index, s in zip(position, view.strides):
            pointer = w.offset(pointer, _INDEX, index, s)
        i = w.load(pointer, _INDEX)
        negative = w.emit(f"icmp slt i64 {i}, 0")
        i = w.emit(f"select i1 {negative}, i64 {w.emit(f'add i64 {i}, {n}')}, i64 {i}")
        step = w.emit(f"mul nsw i64 {i}, {stride}")
        offset = step if offset == "0" else w.emit(f"add nsw i64 {offset}, {step}")
    return offset


def _check(lowerer: Lowerer, indices: Sequence[View], sizes: Sequence[int], axes: Sequence[int]) -> None:
    """Leave the program if an index is out of range: before anything is written, in one pass over the indices."""
    for view, n, axis in zip(indices, sizes, axes):
        w = Writer(["ptr %index"], "i64")
        found = w.alloca("i64")
        w.do(f"store i64 {np.iinfo(np.int64).min}, ptr {found}")
        with ExitStack() as nest:
            pointers = ["%index"]
            for size, strides in _merged(view):
                index = nest.enter_context(w.loop(size))
                pointers = [w.offset(pointers[0], _INDEX, index, strides[0])]
            i = w.load(pointers[0], _INDEX)
            wrong = w.emit(f"icmp uge i64 {w.emit(f'add i64 {i}, {n}')}, {2 * n}")
            before = w.emit(f"load i64, ptr {found}")
            w.do(f"store i64 {w.emit(f'select i1 {wrong}, i64 {i}, i64 {before}')}, ptr {found}")
        result = w.emit(f"load i64, ptr {found}")
        w.do(f"ret i64 {result}")
        name = lowerer.function(w)
        number = lowerer.writer.emit(f"call i64 @{name}(ptr {lowerer.pointer(view)})")
        wrong = lowerer.writer.emit(f"icmp ne i64 {number}, {np.iinfo(np.int64).min}")
        lowerer.fault(wrong, number, f"index {{}} is out of bounds for axis {axis} with size {n}")


def _rest(x: View, axes: Sequence[int]) -> View:
    """The part of x that one tuple of indices chooses."""
    others = [i for i in range(len(x.shape)) if i not in axes]
    return x.moved(tuple(x.shape[i] for i in others), tuple(x.strides[i] for i in others))


@lowers("gather")
def _gather(lowerer: Lowerer, eqn: Eqn) -> None:
    x, out = lowerer.view(eqn.inputs[0]), lowerer.result(eqn.outputs[0])
    axes = eqn.params["axes"]
    indices = [lowerer.view(a) for a in eqn.inputs[1:]]
    sizes, strides = [x.shape[a] for a in axes], [x.strides[a] for a in axes]
    _check(lowerer, indices, sizes, axes)
    rank = len(indices[0].shape)
    rest = _rest(x, axes)
    part = out.moved(out.shape[rank:], out.strides[rank:])
    w = Writer([f"ptr noalias %i{k}" for k in range(len(indices))] + ["ptr noalias %x", "ptr noalias %out"])
    with ExitStack() as nest:
        position = [nest.enter_context(w.loop(n)) for n in indices[0].shape]
        pointers = [f"%i{k}" for k in range(len(indices))]
        offset = _places(lowerer, w, eqn.inputs[1:], pointers, indices, sizes, strides, position)
        source, target = w.offset("%x", x.dtype, offset), "%out"
        for index, s in zip(position, out.strides):
            target = w.offset(target, out.dtype, index, s)
        walk = _Walk(w, _merged(rest, part), [x.dtype, x.dtype])
        source, target = walk.open(nest, [source, target])
        w.store(w.load(source, x.dtype, walk.lanes), target, x.dtype, walk.lanes)
    w.do("ret void")
    _call(lowerer, w, [*indices, x, out])
    lowerer.work += lowerer.times * out.size


def _is_scatter(eqn: Eqn) -> bool:
    return not any(isinstance(a, Literal) for a in eqn.inputs[:1])


@lowers("scatter", when=_is_scatter)
def _scatter(lowerer: Lowerer, eqn: Eqn) -> None:
    """The updates one after the other, so that several of one place are all seen, the last one last."""
    axes, kind = eqn.params["axes"], eqn.params["kind"]
    x, new, *indices = map(lowerer.view, eqn.inputs)
    _check(lowerer, indices, [x.shape[a] for a in axes], axes)
    out = lowerer.updated(eqn.outputs[0], x, [new, *indices])
    sizes, strides = [out.shape[a] for a in axes], [out.strides[a] for a in axes]
    rank = len(indices[0].shape)
    part, rest = new.moved(new.shape[rank:], new.strides[rank:]), _rest(out, axes)
    w = Writer([f"ptr noalias %i{k}" for k in range(len(indices))] + ["ptr noalias %new", "ptr noalias %out"])
    with ExitStack() as nest:
        position = [nest.enter_context(w.loop(n)) for n in indices[0].shape]
        pointers = [f"%i{k}" for k in range(len(indices))]
        offset = _places(lowerer, w, eqn.inputs[2:], pointers, indices, sizes, strides, position)
        target, source = w.offset("%out", out.dtype, offset), "%new"
        for index, s in zip(position, new.strides):
            source = w.offset(source, out.dtype, index, s)
        walk = _Walk(w, _merged(part, rest), [out.dtype, out.dtype])
        source, target = walk.open(nest, [source, target])
        value = w.load(source, out.dtype, walk.lanes)
        if kind != "set":
            old = w.load(target, out.dtype, walk.lanes)
            value = elementwise(w, kind, [old, value], out.dtype, walk.lanes, {})
        w.store(value, target, out.dtype, walk.lanes)
    w.do("ret void")
    _call(lowerer, w, [*indices, new, out])
    lowerer.work += lowerer.times * new.size


# Along an axis --------------------------------------------------------------------------------------------------------

_RUNNING = {"cummax": "reduce_max", "cummin": "reduce_min", "cumprod": "reduce_prod", "cumsum": "reduce_sum"}
_OPERATION = {"cummax": "max", "cummin": "min", "cumprod": "mul", "cumsum": "add"}


@lowers(*_RUNNING)
def _running(lowerer: Lowerer, eqn: Eqn) -> None:
    """Each row of elements beside the axis is combined with the one before it, in place in the result."""
    name, axis, reverse = eqn.primitive.name, eqn.params["axis"], eqn.params.get("reverse", False)
    x, out = lowerer.view(eqn.inputs[0]), lowerer.result(eqn.outputs[0])
    n, dtype = x.shape[axis], x.dtype
    others = [i for i in range(len(x.shape)) if i != axis]
    pair = [v.moved(tuple(v.shape[i] for i in others), tuple(v.strides[i] for i in others)) for v in (x, out)]
    w = Writer(["ptr noalias %x", "ptr noalias %out"])
    walk = _Walk(w, _merged(*pair), [dtype, dtype])
    type = typed(memory_type(dtype), walk.lanes)
    total = w.alloca(type)
    with ExitStack() as nest:
        source, target = walk.open(nest, ["%x", "%out"])
        start = identity(_RUNNING[name], dtype)
        w.store(w.spread(start, dtype, walk.lanes), total, dtype, walk.lanes)
        step = nest.enter_context(w.loop(n))
        place = w.emit(f"sub nsw i64 {n - 1}, {step}") if reverse else step
        source, target = (
            w.offset(source, dtype, place, x.strides[axis]),
            w.offset(target, dtype, place, out.strides[axis]),
        )
        operands = [w.load(total, dtype, walk.lanes), w.load(source, dtype, walk.lanes)]
        value = elementwise(w, _OPERATION[name], operands, dtype, walk.lanes, {})
        w.store(value, total, dtype, walk.lanes)
        w.store(value, target, dtype, walk.lanes)
    w.do("ret void")
    _call(lowerer, w, [x, out])
    lowerer.work += lowerer.times * x.size


@lowers("argmax", "argmin")
def _arg(lowerer: Lowerer, eqn: Eqn) -> None:
    """The least index of an element that is the extremum, or that is NaN: then the extremum is NaN, and equals nothing."""
    (x,), axis, greatest = eqn.inputs, eqn.params["axis"], eqn.primitive.name == "argmax"
    space, dtype = x.aval.shape, x.aval.dtype
    kept = tuple(n for i, n in enumerate(space) if i != axis)
    back = {"shape": space, "dims": tuple(i for i in range(len(space)) if i != axis)}
    source = Var(x.aval.strong())
    eqns: list[Eqn] = []

    def apply(primitive: Primitive, operands: Sequence[Atom], kind: np.dtype, size: Any = space, **params: Any) -> Var:
        eqns.append(Eqn(primitive, operands, [Var(Aval(size, kind))], params))
        return eqns[-1].outputs[0]

    value = source
    if dtype.kind == "b":
        dtype = np.dtype(np.uint8)
        value = apply(convert, [source], dtype, dtype=dtype)
    extremum = apply(reduce_max if greatest else reduce_min, [value], dtype, kept, axes=(axis,))
    hit = apply(eq, [value, apply(broadcast_in_dim, [extremum], dtype, **back)], _BOOL)
    if dtype.kind == "f":
        hit = apply(or_, [hit, apply(ne, [value, value], _BOOL)], _BOOL)
    index = Var(Aval(space, _INDEX))
    eqns.append(Eqn(iota, [], [index], {"shape": space, "dtype": _INDEX, "axis": axis}))
    none = Literal(np.int64(space[axis]), Aval((), _INDEX))
    first = apply(reduce_min, [apply(select, [hit, index, none], _INDEX)], _INDEX, kept, axes=(axis,))
    body = Jaxpr([source], eqns, [first])
    lowerer.group(body, space, (axis,), [lowerer.view(x)], [lowerer.result(eqn.outputs[0])])
