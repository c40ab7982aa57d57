"""Indexing: ``gather`` and ``scatter`` by integer arrays, and slices that start at a value.

``gather(x, *indices, axes)`` is NumPy's advanced indexing with the indexed axes first: k index arrays of one shape S
index the axes ``axes`` of x, and the result has the shape S + (the other axes of x, in order). Indices follow NumPy:
negative ones count from the end, those out of range raise. Other modes are arithmetic on the indices, written by the API.

    y[s, r] = x[i_1[s], ..., i_k[s], r]          transpose:  x[i_1[s], ..., r] += ct[s, r]   (scatter 'add')

A mapped axis becomes one more index array, that counts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import MissingRuleError, OperandError, OperandTypeError
from ..core.ir import Var
from ..core.trace import Primitive
from ..core.types import Aval, aval_of, dtype_of, shape_of
from . import elementwise as ew
from . import structure

__all__ = ["dynamic_slice", "dynamic_update_slice", "gather", "scatter", "take_along"]

_INT = np.dtype(np.int64)


def take_along(x: Any, indices: Any, axis: int) -> Any:
    """``y[..., j, ...] = x[..., indices[..., j, ...], ...]`` for index arrays of the rank of ``x``."""
    shape = shape_of(indices)
    grid = [indices if i == axis else structure.iota(shape=shape, dtype=_INT, axis=i) for i in range(len(shape))]
    return gather(x, *grid, axes=tuple(range(len(shape))))


def _indexed(name: str, x: Aval, indices: Sequence[Aval], axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that indexing gives; raises where the indices do not fit."""
    if len(axes) != len(indices) or not indices:
        raise OperandError(f"{name}: {len(indices)} index arrays for the axes {axes}")
    if len(set(axes)) != len(axes) or not all(0 <= a < x.ndim for a in axes):
        raise OperandError(f"{name}: the axes {axes} are not axes of the shape {x.shape}")
    for i in indices:
        if i.dtype != _INT:
            raise OperandTypeError(f"{name} takes indices of dtype int64, not {i.dtype}")
        if i.shape != indices[0].shape:
            raise OperandError(f"{name} takes index arrays of one shape, not {indices[0].shape} and {i.shape}")
    return indices[0].shape + tuple(n for a, n in enumerate(x.shape) if a not in axes)


def _batch_indices(
    size: int, indices: Sequence[Any], batched: Sequence[bool], axes: tuple[int, ...]
) -> tuple[list[Any], tuple[int, ...]]:
    """Index arrays and axes for an operand with a mapped leading axis: one more index counts the rows."""
    rows = [i if b else structure.repeat_rows(i, size) for i, b in zip(indices, batched, strict=True)]
    count = structure.iota(shape=shape_of(rows[0]), dtype=_INT, axis=0)
    return [count, *rows], (0, *(a + 1 for a in axes))


class Gather(Primitive):
    """Elements of x at index arrays."""

    name = "gather"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        x, *indices = avals
        return Aval(_indexed(self.name, x, indices, params["axes"]), x.dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return gather(*primals, **params), gather(tangents[0], *primals[1:], **params)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        x, *indices = args
        zeros = structure.broadcast_in_dim(dtype_of(ct).type(0), shape=x.aval.shape, dims=())
        return [scatter(zeros, ct, *indices, kind="add", **params), *([None] * len(indices))]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        x, *indices = args
        axes = params["axes"]
        if not batched[0]:
            rows = [i if b else structure.repeat_rows(i, size) for i, b in zip(indices, batched[1:], strict=True)]
            return gather(x, *rows, axes=axes), True
        if not any(batched[1:]):
            # The mapped axis is one of those left over: it comes right after the index axes.
            y = gather(x, *indices, axes=tuple(a + 1 for a in axes))
            return structure.move_axis(y, len(shape_of(indices[0])), 0), True
        rows, axes = _batch_indices(size, indices, batched[1:], axes)
        return gather(x, *rows, axes=axes), True


def _places(shape: tuple[int, ...], indices: Sequence[Any], axes: tuple[int, ...]) -> Any:
    """One number for each place that index arrays name: its row-major position among the axes ``axes`` of ``shape``."""
    place = None
    for i, a in zip(indices, axes, strict=True):
        i = ew.select(ew.lt(i, 0), ew.add(i, shape[a]), i)
        place = i if place is None else ew.add(ew.mul(place, shape[a]), i)
    return place


def _others(u: Any, places: Any) -> Any:
    """For each update the product of all the others at its place, without division, so that zeros are right.

    Sorted by place, these are the product of those before times that of those behind: two running products that start
    anew with every place, each in log2(n) steps of doubling length.
    """
    shape, count = shape_of(u), int(np.prod(shape_of(places), dtype=np.int64))
    rows = structure.reshape(u, shape=(count, *shape[len(shape_of(places)) :]))
    places = structure.reshape(places, shape=(count,))
    order = structure.argsort(places, axis=0, stable=False)
    rows, places = gather(rows, order, axes=(0,)), gather(places, order, axes=(0,))
    one, none = dtype_of(u).type(1), _INT.type(-1)
    product = None
    for sign in (1, -1):

        def moved(x: Any, step: int, sign: int = sign) -> Any:
            """The row that stands ``step`` before (behind) each one, and 1 where that is at another place."""
            config = (sign * step, -sign * step, 0)
            same = ew.eq(places, structure.pad(places, none, config=(config,)))
            same = structure.broadcast_in_dim(same, shape=shape_of(x), dims=(0,))
            before = structure.pad(x, one, config=(config, *[(0, 0, 0)] * (len(shape_of(x)) - 1)))
            return ew.select(same, before, one)

        running, step = moved(rows, 1), 1
        while step < count:
            running, step = ew.mul(running, moved(running, step)), 2 * step
        product = running if product is None else ew.mul(product, running)
    back = structure.argsort(order, axis=0, stable=False)
    return structure.reshape(gather(product, back, axes=(0,)), shape=shape)


class Scatter(Primitive):
    """x with ``updates`` put, added, multiplied or min/max-ed in at index arrays.

    Of several updates 'set' at one place the last one wins; ``unique`` promises that there are none.
    """

    name = "scatter"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        x, updates, *indices = avals
        shape = _indexed(self.name, x, indices, params["axes"])
        if updates.shape != shape or updates.dtype != x.dtype:
            raise OperandError(f"scatter into {x} takes updates {Aval(shape, x.dtype)}, not {updates}")
        if params["kind"] not in ("set", "add", "mul", "min", "max"):
            raise OperandError(f"scatter has no kind {params['kind']!r}")
        return x

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        x, u, *indices = primals
        tx, tu = tangents[:2]
        y = scatter(*primals, **params)
        at = {"axes": params["axes"], "unique": params.get("unique", False)}
        # The tangent is cx * tx with updates cu * tu added in, for coefficients cx (of x's shape) and cu.
        cx, cu = self._coefficients(params["kind"], x, u, y, indices, at)
        if tx is None:
            tx = structure.zeros_like(x)
        elif cx is not None:
            tx = ew.mul(tx, cx)
        if tu is None:
            return y, tx
        return y, scatter(tx, tu if cu is None else ew.mul(tu, cu), *indices, kind="add", **at)

    def _coefficients(self, kind: str, x: Any, u: Any, y: Any, indices: list[Any], at: dict[str, Any]) -> Any:
        one, zero = dtype_of(x).type(1), dtype_of(x).type(0)
        ones = structure.broadcast_in_dim(one, shape=shape_of(x), dims=())
        if kind == "add":
            return None, None
        if kind == "set":
            zeros = structure.broadcast_in_dim(zero, shape=shape_of(u), dims=())
            kept = scatter(ones, zeros, *indices, kind="set", **at)
            if at["unique"]:
                return kept, None
            # An update counts if it is the last at its place: write serial numbers, and see whose is found there.
            axes = at["axes"]
            count = int(np.prod(shape_of(indices[0]), dtype=np.int64))
            serial = structure.reshape(structure.iota(shape=(count,), dtype=_INT, axis=0), shape=shape_of(indices[0]))
            places = tuple(shape_of(x)[a] for a in axes)
            board = structure.broadcast_in_dim(_INT.type(0), shape=places, dims=())
            every = {"axes": tuple(range(len(axes)))}
            found = gather(scatter(board, serial, *indices, kind="set", **every), *indices, **every)
            wins = ew.convert(ew.eq(found, serial), dtype=dtype_of(x))
            return kept, structure.broadcast_in_dim(wins, shape=shape_of(u), dims=tuple(range(len(shape_of(wins)))))
        if kind in ("min", "max"):
            # Shared equally among the old element and all the updates that attain the extremum.
            old = ew.convert(ew.eq(x, y), dtype=dtype_of(x))
            new = ew.convert(ew.eq(u, gather(y, *indices, axes=at["axes"])), dtype=dtype_of(x))
            total = scatter(old, new, *indices, kind="add", **at)
            return ew.div(old, total), ew.div(new, gather(total, *indices, axes=at["axes"]))
        # mul: the product of all the other factors.
        factors = scatter(ones, u, *indices, kind="mul", **at)
        here = gather(x, *indices, axes=at["axes"])
        if at["unique"] or int(np.prod(shape_of(indices[0]), dtype=np.int64)) < 2:
            return factors, here
        return factors, ew.mul(here, _others(u, _places(shape_of(x), indices, at["axes"])))

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        x, u, *indices = args
        if params["kind"] != "add":
            raise MissingRuleError(f"scatter of kind {params['kind']!r} is not linear")
        ct_u = gather(ct, *indices, axes=params["axes"]) if isinstance(u, Var) else None
        return [ct if isinstance(x, Var) else None, ct_u, *([None] * len(indices))]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        x, u, *indices = args
        x = x if batched[0] else structure.repeat_rows(x, size)
        u = u if batched[1] else structure.repeat_rows(u, size)
        rows, axes = _batch_indices(size, indices, batched[2:], params["axes"])
        return scatter(x, u, *rows, **(params | {"axes": axes})), True


def _starts(name: str, x: Aval, starts: Sequence[Aval]) -> None:
    if len(starts) != x.ndim or any(s.shape or s.dtype != _INT for s in starts):
        raise OperandError(f"{name} of {x} takes {x.ndim} int64 starts of rank 0, not {list(starts)}")


def _window(starts: Sequence[Any], batched: Sequence[bool], size: int, sizes: tuple[int, ...]) -> list[Any]:
    """Index arrays of shape (size, *sizes) that cover, for each row, the window at its starts."""
    full = (size, *sizes)
    grid = []
    for axis, (start, b) in enumerate(zip(starts, batched, strict=True)):
        offset = structure.iota(shape=full, dtype=_INT, axis=axis + 1)
        first = structure.broadcast_in_dim(start, shape=full, dims=(0,)) if b else start
        grid.append(ew.add(offset, first))
    return grid


class DynamicSlice(Primitive):
    """The elements of x in a window of shape ``sizes`` that begins at ``starts``; a window out of range raises."""

    name = "dynamic_slice"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        x, *starts = avals
        _starts(self.name, x, starts)
        sizes = params["sizes"]
        if len(sizes) != x.ndim or any(s > n for s, n in zip(sizes, x.shape, strict=True)):
            raise OperandError(f"dynamic_slice: a window of shape {sizes} does not lie in the shape {x.shape}")
        return Aval(sizes, x.dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self(*primals, **params), self(tangents[0], *primals[1:], **params)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        x, *starts = args
        zeros = structure.broadcast_in_dim(dtype_of(ct).type(0), shape=x.aval.shape, dims=())
        return [dynamic_update_slice(zeros, ct, *starts), *([None] * len(starts))]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        x, *starts = args
        sizes = params["sizes"]
        if not any(batched[1:]):
            return self(x, _INT.type(0), *starts, sizes=(size, *sizes)), True
        grid = _window(starts, batched[1:], size, sizes)
        if batched[0]:
            grid.insert(0, structure.iota(shape=(size, *sizes), dtype=_INT, axis=0))
        return gather(x, *grid, axes=tuple(range(len(grid)))), True


class DynamicUpdateSlice(Primitive):
    """x with the window that begins at ``starts`` replaced by ``update``."""

    name = "dynamic_update_slice"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        x, update, *starts = avals
        _starts(self.name, x, starts)
        fits = update.ndim == x.ndim and all(m <= n for m, n in zip(update.shape, x.shape, strict=True))
        if not fits or update.dtype != x.dtype:
            raise OperandError(f"dynamic_update_slice: an update {update} does not fit into {x}")
        return x.strong()

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        x, u, *starts = primals
        tx, tu = tangents[:2]
        tx = structure.zeros_like(x) if tx is None else tx
        tu = structure.zeros_like(u) if tu is None else tu
        return self(x, u, *starts), self(tx, tu, *starts)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        x, u, *starts = args
        u_aval = u.aval if isinstance(u, Var) else aval_of(u)
        ct_x = ct_u = None
        if isinstance(x, Var):
            zeros = structure.broadcast_in_dim(dtype_of(ct).type(0), shape=u_aval.shape, dims=())
            ct_x = self(ct, zeros, *starts)
        if isinstance(u, Var):
            ct_u = dynamic_slice(ct, *starts, sizes=u_aval.shape)
        return [ct_x, ct_u, *([None] * len(starts))]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        x, u, *starts = args
        x = x if batched[0] else structure.repeat_rows(x, size)
        u = u if batched[1] else structure.repeat_rows(u, size)
        if not any(batched[2:]):
            return self(x, u, _INT.type(0), *starts), True
        sizes = shape_of(u)[1:]
        grid = _window(starts, batched[2:], size, sizes)
        grid.insert(0, structure.iota(shape=(size, *sizes), dtype=_INT, axis=0))
        return scatter(x, u, *grid, axes=tuple(range(len(grid))), kind="set", unique=True), True


gather = Gather()
scatter = Scatter()
dynamic_slice = DynamicSlice()
dynamic_update_slice = DynamicUpdateSlice()
