"""The table of operations: from the name of a primitive to a callable of the device's arrays.

Three sources, in this order: elementwise primitives are groups of one equation (:mod:`.group`), moves, reductions and
products are launches of hand-written kernels, and the rest, with all complex numbers, is the device's ``library``. A kernel
that does not take the dtypes it is given says so by None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from funcgrad.compiler.fusion import REDUCTIONS
from funcgrad.core.errors import BackendError
from funcgrad.core.ir import Eqn, Jaxpr, Var
from funcgrad.core.trace import Primitive
from funcgrad.core.types import Aval, aval_of
from funcgrad.primitives.elementwise import ELEMENTWISE
from funcgrad.primitives.reduction import reduce_and, reduce_max, reduce_min, reduce_or, reduce_prod, reduce_sum

from .device import Device
from .group import GroupKernel, can_write, write_group
from .indexing import INDEXING
from .kernels import launches
from .kernels.geometry import MOST_BLOCKS, THREADS
from .kernels.launch_reduction import arg_extremum, cumulative, reduce
from .kernels.launch_sort import longest_row, sort_rows
from .movement import MOVEMENT, moved_to_end, rev, transpose
from .windows import WINDOWS

__all__ = ["launch_group", "table"]

_REDUCE = {p.name: p for p in (reduce_and, reduce_max, reduce_min, reduce_or, reduce_prod, reduce_sum)}
_FLOATS = ("float16", "bfloat16", "float32", "float64")
_REDUCED = (*_FLOATS, "int32", "int64", "uint32", "uint64")


def launch_group(device: Device, kernel: GroupKernel, outs: Sequence[Any], ins: Sequence[Any], size: int) -> None:
    """Compute a group into ``outs``; ``size`` is that of the space, which the text of a flat one leaves open."""
    if not size:
        return
    args = [*outs, *ins]
    kind = "<true>" if all(device.pointer(a) % 16 == 0 for a in args) else "<false>"
    if kernel.vector:
        grid = min(max(-(-size // (kernel.vector * THREADS)), 1), MOST_BLOCKS)
        device.launch_text(kernel.text, "group" + kind, (grid,), (THREADS,), [*args, np.int64(size)])
        return
    args += [device.empty(n, dtype) for n, dtype in kernel.partials]
    for name, grid, block in kernel.launches:
        device.launch_text(kernel.text, name + kind, grid, block, args)


@lru_cache(maxsize=4096)
def _single(
    primitive: Primitive, avals: tuple[Aval, ...], params: tuple[tuple[str, Any], ...], space: tuple[int, ...]
) -> GroupKernel | None:
    """The kernel of one equation, or None if it cannot be written."""
    given = dict(params)
    inputs = [Var(a) for a in avals]
    out = Var(primitive.type(*avals, **given).strong())
    body = Jaxpr(inputs, [Eqn(primitive, inputs, [out], given)], [out])
    return write_group(body, space, given.get("axes", ())) if can_write(body) else None


def _elementwise(device: Device, primitive: Primitive) -> Callable[..., Any]:
    def run(*args: Any, **params: Any) -> Any:
        avals = [aval_of(x) for x in args]
        result = primitive.type(*avals, **params)
        strong = next(
            (a.dtype for a in avals if not a.weak and not (primitive.name == "select" and a is avals[0])), None
        )
        operands = [
            x if isinstance(x, device.array_type) else device.put(np.asarray(x, strong if a.weak else None))
            for x, a in zip(args, avals)
        ]
        # A flat kernel does not depend on the shape: full operands are written as of shape (2,).
        small = tuple(Aval((2,) if x.shape else (), x.dtype) for x in operands)
        params.pop("weak", None)
        kernel = _single(primitive, small, tuple(sorted(params.items())), (2,) if result.shape else ())
        if kernel is None:
            return None
        y = device.empty(result.shape, result.dtype)
        launch_group(device, kernel, [y], operands, result.size)
        return device.get(y).item() if result.weak else y

    return run


def _reduction(device: Device, primitive: Primitive) -> Callable[..., Any]:
    op = {"reduce_sum": "Sum", "reduce_prod": "Product", "reduce_max": "Max", "reduce_min": "Min"}.get(primitive.name)

    def run(x: Any, *, axes: Any) -> Any:
        axes = tuple(axes)
        if not axes:
            return launches.copy(device, x)
        if op is not None and x.dtype.name in _REDUCED:
            return reduce(device, x, op, axes)
        x = moved_to_end(device, x, axes)
        kept, row = x.shape[: x.ndim - len(axes)], prod(x.shape[x.ndim - len(axes) :])
        x = device.view(x, (*kept, row))
        flat = Aval((prod(kept), row), x.dtype)
        kernel = _single(primitive, (flat,), (("axes", (1,)),), flat.shape)
        if kernel is None:
            return None
        y = device.empty(kept, x.dtype)
        launch_group(device, kernel, [y], [x], y.size)
        return y

    return run


def _arg_extremum(largest: bool) -> Callable[..., Any]:
    def run(device: Device, x: Any, *, axis: int) -> Any:
        if x.dtype.name not in _REDUCED:
            return None
        return arg_extremum(device, moved_to_end(device, x, (axis,)), largest)

    return run


def _along(device: Device, f: Callable[[Any], Any], x: Any, axis: int) -> Any:
    """A function of rows, which keeps the shape, along any axis."""
    last = x.ndim - 1
    y = f(moved_to_end(device, x, (axis,)))
    return y if axis == last else transpose(device, y, axes=(*range(axis), last, *range(axis, last)))


def _cumulative(op: str) -> Callable[..., Any]:
    def run(device: Device, x: Any, *, axis: int, reverse: bool = False) -> Any:
        if x.dtype.name not in _REDUCED:
            return None
        flipped = lambda x: rev(device, x, axes=(x.ndim - 1,)) if reverse else x
        return _along(device, lambda rows: flipped(cumulative(device, flipped(rows), op)), x, axis)

    return run


def _sort(places: bool) -> Callable[..., Any]:
    def run(device: Device, x: Any, *, axis: int, stable: bool) -> Any:
        if x.shape[axis] > longest_row(x.dtype):
            return None
        return _along(device, lambda rows: sort_rows(device, rows, places=places), x, axis)

    return run


def _dot_general(device: Device, x: Any, y: Any, *, dimension_numbers: Any) -> Any:
    """One product of matrices, or of stacks of them, with the operands' axes in the order batch, rows, inner, columns."""
    if x.dtype.name not in _FLOATS or x.dtype != y.dtype:
        return None
    (x_contract, y_contract), (x_batch, y_batch) = dimension_numbers
    x_free = tuple(i for i in range(x.ndim) if i not in x_contract and i not in x_batch)
    y_free = tuple(i for i in range(y.ndim) if i not in y_contract and i not in y_batch)
    batch, rows, columns = (tuple(a.shape[i] for i in axes) for a, axes in ((x, x_batch), (x, x_free), (y, y_free)))
    x, x_transposed = _matrix(device, x, x_batch, x_free, x_contract)
    y, y_transposed = _matrix(device, y, y_batch, y_contract, y_free)
    return device.view(device.matmul(x, y, x_transposed, y_transposed), (*batch, *rows, *columns))


def _matrix(
    device: Device, x: Any, batch: Sequence[int], rows: Sequence[int], columns: Sequence[int]
) -> tuple[Any, bool]:
    """x as a matrix, or a stack of them: (batch, rows, columns), or (batch, columns, rows) and True where no axis moves so."""
    transposed = (*batch, *columns, *rows) == tuple(range(x.ndim)) != (*batch, *rows, *columns)
    first, second = (columns, rows) if transposed else (rows, columns)
    order = (*batch, *first, *second)
    sizes = [prod(x.shape[i] for i in axes) for axes in (batch, first, second)]
    x = x if order == tuple(range(x.ndim)) else transpose(device, x, axes=order)
    return device.view(x, tuple(sizes if batch else sizes[1:])), transposed


def _optimization_barrier(device: Device, *xs: Any) -> list[Any]:
    return list(xs)


#: Where further kernels are plugged in: from the name of a primitive to a function of the device, the operands (contiguous
#: arrays of the device) and the parameters, that returns None for what it does not take.
KERNELS: Mapping[str, Callable[..., Any]] = {
    **MOVEMENT,
    **INDEXING,
    **WINDOWS,
    "argmax": _arg_extremum(largest=True),
    "argmin": _arg_extremum(largest=False),
    "cummax": _cumulative("Max"),
    "cummin": _cumulative("Min"),
    "cumprod": _cumulative("Product"),
    "cumsum": _cumulative("Sum"),
    "argsort": _sort(places=True),
    "sort": _sort(places=False),
    "dot_general": _dot_general,
    "optimization_barrier": _optimization_barrier,
}


def table(device: Device) -> dict[str, Callable[..., Any]]:
    """All operations on a device."""
    library = device.library
    made: dict[str, Callable[..., Any]] = {}
    for name in {*library, *KERNELS, *ELEMENTWISE, *REDUCTIONS}:
        if name in ELEMENTWISE:
            kernel = _elementwise(device, ELEMENTWISE[name])
        elif name in REDUCTIONS:
            kernel = _reduction(device, _REDUCE[name])
        else:
            kernel = _bound(device, KERNELS[name]) if name in KERNELS else None
        made[name] = _dispatched(device, name, kernel, library.get(name), name in ELEMENTWISE)
    return made


def _bound(device: Device, f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **params: f(device, *args, **params)


def _dispatched(
    device: Device, name: str, kernel: Callable[..., Any] | None, library: Callable[..., Any] | None, elementwise: bool
) -> Callable[..., Any]:
    """The kernel's result, or that of the library where the kernel does not take the dtypes."""
    types = device.array_type

    def given(x: Any) -> Any:
        return device.contiguous(x) if isinstance(x, types) else x if elementwise else device.put(np.asarray(x))

    def run(*args: Any, **params: Any) -> Any:
        operands = [given(x) for x in args]
        if kernel is not None and not any(aval_of(x).dtype.kind == "c" for x in operands) and _is_real(params):
            found = kernel(*operands, **params)
            if found is not None:
                return found
        if library is None:
            dtypes = ", ".join(str(aval_of(x).dtype) for x in operands)
            raise BackendError(f"this back end has no {name} of {dtypes}; convert to another dtype first")
        return library(*operands, **params)

    return run


def _is_real(params: Mapping[str, Any]) -> bool:
    return "dtype" not in params or params["dtype"].kind != "c"
