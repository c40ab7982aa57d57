"""Operations that move elements and do not change them: views where there is one, else copies of parts.

The operand of a view has the same buffer, other strides and another first element; nothing is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from funcgrad.core.ir import Atom, Eqn, Literal

from .ir import register_type
from .lower import LOWERING, PLACES, Lowerer, lowers
from .memory import Buffer, View, contiguous_strides

__all__ = ["broadcast", "padded", "padded_part"]

# Views ----------------------------------------------------------------------------------------------------------------


def _defines_view(rule: Callable[[View, dict[str, Any]], View]) -> Callable[[Lowerer, Eqn], None]:
    def write(lowerer: Lowerer, eqn: Eqn) -> None:
        x = eqn.inputs[0]
        if isinstance(x, Literal):
            lowerer.fill(lowerer.result(eqn.outputs[0]), x.value)
            return
        lowerer.define(eqn.outputs[0], rule(lowerer.view(x), eqn.params))

    return write


def broadcast(x: View, params: dict[str, Any]) -> View:
    strides = [0] * len(params["shape"])
    for n, s, d in zip(x.shape, x.strides, params["dims"]):
        strides[d] = s if n != 1 or params["shape"][d] == 1 else 0
    return x.moved(params["shape"], tuple(strides))


def _rev(x: View, params: dict[str, Any]) -> View:
    axes = params["axes"]
    first = sum((x.shape[a] - 1) * x.strides[a] for a in axes) if x.size else 0
    return x.moved(x.shape, tuple(-s if i in axes else s for i, s in enumerate(x.strides)), first)


def _slice(x: View, params: dict[str, Any]) -> View:
    start, limit, stride = params["start"], params["limit"], params["stride"]
    shape = tuple(max(-(-(b - a) // s), 0) for a, b, s in zip(start, limit, stride))
    strides = tuple(s * k for s, k in zip(x.strides, stride))
    first = sum(a * s for a, s in zip(start, x.strides)) if math.prod(shape) else 0
    return x.moved(shape, strides, first)


LOWERING["broadcast_in_dim"] = _defines_view(broadcast)
LOWERING["rev"] = _defines_view(_rev)
LOWERING["slice"] = _defines_view(_slice)
LOWERING["transpose"] = _defines_view(lambda x, params: x.transposed(params["axes"]))
LOWERING["copy"] = _defines_view(lambda x, params: x)


LOWERING["real"] = _defines_view(lambda x, params: x.part(imaginary=False))
LOWERING["imag"] = _defines_view(lambda x, params: x.part(imaginary=True))


def _spread_axes(eqn: Eqn, target: View) -> list[tuple[Atom, View | None]]:
    """A broadcast is undone if it only adds axes of size 1."""
    (x,), dims = eqn.inputs, eqn.params["dims"]
    if x.aval.size != target.size:
        return []
    return [(x, target.moved(x.aval.shape, tuple(target.strides[d] for d in dims)))]


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


PLACES["broadcast_in_dim"] = _spread_axes
PLACES["complex"] = lambda eqn, target: [
    (x, target.part(i == 1)) for i, x in enumerate(eqn.inputs) if x.aval.shape == target.shape
]
PLACES["copy"] = lambda eqn, target: [(eqn.inputs[0], target)]
PLACES["reshape"] = lambda eqn, target: [(eqn.inputs[0], target.reshaped(eqn.inputs[0].aval.shape))]
PLACES["transpose"] = lambda eqn, target: [(eqn.inputs[0], target.transposed(_inverse(eqn.params["axes"])))]


@lowers("complex")
def _complex(lowerer: Lowerer, eqn: Eqn) -> None:
    target = lowerer.result(eqn.outputs[0])
    for i, x in enumerate(eqn.inputs):
        part = target.part(i == 1)
        if isinstance(x, Literal):
            lowerer.fill(part, x.value)
        else:
            view = lowerer.view(x)
            lowerer.copy(view if view.shape else broadcast(view, {"shape": part.shape, "dims": ()}), part)


@lowers("reshape")
def _reshape(lowerer: Lowerer, eqn: Eqn) -> None:
    x, out = lowerer.view(eqn.inputs[0]), eqn.outputs[0]
    view = x.reshaped(tuple(eqn.params["shape"]))
    if view is not None and not isinstance(eqn.inputs[0], Literal):
        lowerer.define(out, view)
        return
    target = lowerer.result(out)
    into = target.reshaped(x.shape)
    if into is not None:
        lowerer.copy(x, into)
        return
    # Neither shape has strides in the other's memory.
    between = lowerer.temporary(x.dtype, x.shape)
    lowerer.copy(x, between)
    lowerer.copy(between.moved(target.shape, contiguous_strides(target.shape)), target)


@lowers("optimization_barrier")
def _barrier(lowerer: Lowerer, eqn: Eqn) -> None:
    for x, out in zip(eqn.inputs, eqn.outputs):
        if isinstance(x, Literal):
            lowerer.fill(lowerer.result(out), x.value)
        else:
            lowerer.define(out, lowerer.view(x))


# Movement -------------------------------------------------------------------------------------------------------------


@lowers("pad")
def _pad(lowerer: Lowerer, eqn: Eqn) -> None:
    x, value = eqn.inputs
    source, target, config = lowerer.view(x), lowerer.result(eqn.outputs[0]), eqn.params["config"]
    if not target.size:
        return
    from_, into = padded_part(source, target, config)
    if into.size < target.size:
        if isinstance(value, Literal):
            lowerer.fill(target, value.value)
        else:
            lowerer.copy(broadcast(lowerer.view(value), {"shape": target.shape, "dims": ()}), target)
    lowerer.copy(from_, into)


def padded_part(source: View, target: View, config: Sequence[tuple[int, int, int]]) -> tuple[View, View]:
    """The elements of a padded array that stay, and where they go."""
    starts, limits, places = [], [], []
    for n, size, (low, _, interior) in zip(source.shape, target.shape, config):
        step = interior + 1
        first = max(-(low // step), 0) if low < 0 else 0
        last = max(min(-(-(size - low) // step), n), first)
        starts.append(first)
        limits.append(last)
        places.append(low + first * step)
    from_ = _slice(source, {"start": starts, "limit": limits, "stride": [1] * len(starts)})
    steps = [interior + 1 for _, _, interior in config]
    strides = tuple(s * k for s, k in zip(target.strides, steps))
    offset = sum(p * s for p, s in zip(places, target.strides)) if from_.size else 0
    return from_, target.moved(from_.shape, strides, offset)


def padded(lowerer: Lowerer, x: View, config: Sequence[tuple[int, int, int]], value: Any) -> View:
    """x with a number around and between its elements."""
    if all(c == (0, 0, 0) for c in config):
        return x
    shape = tuple(lo + hi + n + max(n - 1, 0) * k for n, (lo, hi, k) in zip(x.shape, config))
    target = lowerer.temporary(x.dtype, shape)
    from_, into = padded_part(x, target, config)
    if into.size < target.size:
        lowerer.fill(target, value)
    if into.size:
        lowerer.copy(from_, into)
    return target


def _pieces(eqn: Eqn, target: View) -> list[tuple[Atom, View | None]]:
    """The operands of a concatenation, each with its part of the result."""
    axis, place, pieces = eqn.params["axis"], 0, []
    for x in eqn.inputs:
        pieces.append((x, target.moved(x.aval.shape, target.strides, place * target.strides[axis])))
        place += x.aval.shape[axis]
    return pieces


PLACES["concatenate"] = _pieces


@lowers("concatenate")
def _concatenate(lowerer: Lowerer, eqn: Eqn) -> None:
    for x, part in _pieces(eqn, lowerer.result(eqn.outputs[0])):
        lowerer.copy(lowerer.view(x), part)


def _block(lowerer: Lowerer, x: View, starts: Sequence[Atom], sizes: Sequence[int]) -> View:
    """The part of x that begins at indices; leaves the program if it does not fit."""
    w, offset = lowerer.writer, "0"
    for axis, (start, size, n) in enumerate(zip(starts, sizes, x.shape)):
        dtype = start.aval.dtype
        index = lowerer.scalar(start)
        if dtype.itemsize < 8 and not isinstance(start, Literal):
            index = w.emit(f"{'sext' if dtype.kind == 'i' else 'zext'} {register_type(dtype)} {index} to i64")
        if not (isinstance(start, Literal) and 0 <= int(start.value) <= n - size):
            # As unsigned numbers negative ones are too large.
            wrong = w.emit(f"icmp ugt i64 {index}, {n - size}")
            message = f"a block of size {size} that starts at {{}} does not fit into axis {axis}, which has size {n}"
            lowerer.fault(wrong, index, message)
        step = w.emit(f"mul nsw i64 {index}, {x.strides[axis]}")
        offset = step if offset == "0" else w.emit(f"add nsw i64 {offset}, {step}")
    pointer = w.offset(lowerer.pointer(x), x.dtype, offset)
    return View(Buffer(pointer), x.dtype, tuple(sizes), x.strides)


@lowers("dynamic_slice")
def _dynamic_slice(lowerer: Lowerer, eqn: Eqn) -> None:
    x, *starts = eqn.inputs
    block = _block(lowerer, lowerer.view(x), starts, eqn.params["sizes"])
    lowerer.copy(block, lowerer.result(eqn.outputs[0]))


@lowers("dynamic_update_slice")
def _dynamic_update_slice(lowerer: Lowerer, eqn: Eqn) -> None:
    x, update, *starts = eqn.inputs
    source = lowerer.view(update)
    target = lowerer.updated(eqn.outputs[0], lowerer.view(x), [source, *map(lowerer.view, starts)])
    lowerer.copy(source, _block(lowerer, target, starts, source.shape))
