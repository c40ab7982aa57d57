"""Primitives that move elements about and compute nothing: all are linear, and transposes of one another.

    broadcast_in_dim  <->  reduce_sum (and reshape)          slice  <->  pad
    reshape, transpose, rev: invertible                      concatenate  <->  slices

``sort`` and ``argsort`` stand here too: the tangent of a sorted array is the tangent in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import OperandError, OperandTypeError
from ..core.ir import Var
from ..core.trace import Primitive
from ..core.types import Aval, dtype_of, shape_of
from . import elementwise, indexing, reduction

__all__ = [
    "argsort", "broadcast_in_dim", "concatenate", "copy", "iota", "move_axis", "optimization_barrier", "pad", "reshape",
    "rev", "slice_", "sort", "stop_gradient", "transpose",
]  # fmt: skip

Shape = tuple[int, ...]


def move_axis(x: Any, source: int, to: int) -> Any:
    """``x`` with the axis ``source`` moved to the place ``to``, by one transpose or none."""
    if source == to:
        return x
    axes = list(range(len(shape_of(x))))
    axes.insert(to, axes.pop(source))
    return transpose(x, axes=tuple(axes))


class Linear(Primitive):
    """A primitive that is linear in its only operand."""

    linear_map = True

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self(*primals, **params), self(*tangents, **params)


class BroadcastInDim(Linear):
    """Axis i of the operand becomes axis ``dims[i]`` of the result; an axis of size 1 is repeated."""

    name = "broadcast_in_dim"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        (x,) = avals
        shape, dims = params["shape"], params["dims"]
        fits = len(dims) == x.ndim and list(dims) == sorted(set(dims)) and all(0 <= d < len(shape) for d in dims)
        if not fits or any(n not in (1, shape[d]) for n, d in zip(x.shape, dims, strict=True)):
            raise OperandError(f"cannot broadcast the shape {x.shape} to {shape} along the axes {dims}")
        return Aval(shape, x.dtype)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        (x,) = args
        dims, shape = params["dims"], params["shape"]
        repeated = {d for n, d in zip(x.aval.shape, dims, strict=True) if n != shape[d]}
        axes = tuple(i for i in range(len(shape)) if i not in dims or i in repeated)
        ct = reduction.reduce_sum(ct, axes=axes) if axes else ct
        return [reshape(ct, shape=x.aval.shape) if repeated else ct]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        dims = (0, *(d + 1 for d in params["dims"]))
        return self(args[0], shape=(size, *params["shape"]), dims=dims), True


class Reshape(Linear):
    """The elements in row-major order in another shape."""

    name = "reshape"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        (x,) = avals
        if math.prod(params["shape"]) != x.size:
            raise OperandError(f"cannot reshape {x.size} elements of shape {x.shape} to {params['shape']}")
        return Aval(params["shape"], x.dtype)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        return [reshape(ct, shape=args[0].aval.shape)]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return self(args[0], shape=(size, *params["shape"])), True


class Transpose(Linear):
    """Axis i of the result is axis ``axes[i]`` of the operand."""

    name = "transpose"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        (x,) = avals
        if sorted(params["axes"]) != list(range(x.ndim)):
            raise OperandError(f"{params['axes']} is not a permutation of the axes of the shape {x.shape}")
        return Aval(tuple(x.shape[i] for i in params["axes"]), x.dtype)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        axes = params["axes"]
        return [transpose(ct, axes=tuple(sorted(range(len(axes)), key=axes.__getitem__)))]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return self(args[0], axes=(0, *(a + 1 for a in params["axes"]))), True


class Rev(Linear):
    """The elements along ``axes`` in reverse order."""

    name = "rev"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        (x,) = avals
        axes = params["axes"]
        if len(set(axes)) != len(axes) or not all(0 <= a < x.ndim for a in axes):
            raise OperandError(f"cannot reverse the axes {axes} of the shape {x.shape}")
        return Aval(x.shape, x.dtype)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        return [rev(ct, axes=params["axes"])]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return self(args[0], axes=tuple(a + 1 for a in params["axes"])), True


class Slice(Linear):
    """The elements ``start:limit:stride`` along every axis; strides are positive."""

    name = "slice"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        (x,) = avals
        start, limit, stride = params["start"], params["limit"], params["stride"]
        if not len(start) == len(limit) == len(stride) == x.ndim:
            raise OperandError(f"slice of the shape {x.shape} needs {x.ndim} starts, limits and strides")
        shape = []
        for a, b, s, n in zip(start, limit, stride, x.shape, strict=True):
            if not 0 <= a <= b <= n or s <= 0:
                raise OperandError(f"the slice {start}:{limit}:{stride} does not lie in the shape {x.shape}")
            shape.append(-((a - b) // s))
        return Aval(tuple(shape), x.dtype)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        (x,) = args
        zero = dtype_of(ct).type(0)
        config = []
        for a, s, n, m in zip(params["start"], params["stride"], x.aval.shape, ct.shape, strict=True):
            used = a + (m - 1) * s + 1 if m else a
            config.append((a, n - used, s - 1))
        return [pad(ct, zero, config=tuple(config))]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        start, limit, stride = params["start"], params["limit"], params["stride"]
        return self(args[0], start=(0, *start), limit=(size, *limit), stride=(1, *stride)), True


class Pad(Primitive):
    """``value`` put before (lo), after (hi) and between (interior) the elements; negative lo and hi cut off."""

    name = "pad"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        x, value = avals
        if value.shape or (value.dtype != x.dtype and not value.weak):
            raise OperandTypeError(f"pad takes a value of rank 0 and dtype {x.dtype}, not {value}")
        if len(params["config"]) != x.ndim:
            raise OperandError(f"pad of the shape {x.shape} needs {x.ndim} entries (lo, hi, interior)")
        shape = tuple(lo + hi + n + max(n - 1, 0) * k for n, (lo, hi, k) in zip(x.shape, params["config"], strict=True))
        if any(n < 0 for n in shape):
            raise OperandError(f"pad of the shape {x.shape} by {params['config']} would have the shape {shape}")
        return Aval(shape, x.dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        x, value = primals
        tx, tv = tangents
        y = pad(x, value, **params)
        if tx is None:
            # d/dvalue alone: the operand's tangent is zero.
            tx = zeros_like(x)
        return y, pad(tx, dtype_of(tx).type(0) if tv is None else tv, **params)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        x, value = args
        config = params["config"]
        shape = x.aval.shape if isinstance(x, Var) else shape_of(x)
        # Cut off what was added at the ends (and give back what was cut), then take the original elements out.
        inner = pad(ct, dtype_of(ct).type(0), config=tuple((-lo, -hi, 0) for lo, hi, _ in config))
        stride = tuple(k + 1 for *_, k in config)
        start = (0,) * len(config)
        limit = tuple(min(n, (m - 1) * s + 1) if m else 0 for n, m, s in zip(inner.shape, shape, stride, strict=True))
        ct_x = slice_(inner, start=start, limit=limit, stride=stride)
        ct_value = None
        if isinstance(value, Var):
            every = tuple(range(len(config)))
            ct_value = elementwise.sub(reduction.reduce_sum(ct, axes=every), reduction.reduce_sum(ct_x, axes=every))
        return [ct_x if isinstance(x, Var) else None, ct_value]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        x, value = args
        if not batched[0]:
            x = broadcast_in_dim(x, shape=(size, *shape_of(x)), dims=tuple(range(1, len(shape_of(x)) + 1)))
        config = ((0, 0, 0), *params["config"])
        if not batched[1]:
            return pad(x, value, config=config), True
        # A value for each row: pad with zero, and put the row's value where the padding is.
        padded = pad(x, dtype_of(x).type(0), config=config)
        ones = broadcast_in_dim(np.bool_(True), shape=shape_of(x), dims=())
        kept = pad(ones, np.bool_(False), config=config)
        return elementwise.select(kept, padded, broadcast_in_dim(value, shape=padded.shape, dims=(0,))), True


class Concatenate(Primitive):
    """The operands one after the other along ``axis``."""

    name = "concatenate"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        axis, first = params["axis"], avals[0]
        if not 0 <= axis < first.ndim:
            raise OperandError(f"cannot concatenate arrays of shape {first.shape} along axis {axis}")
        for a in avals:
            if a.dtype != first.dtype:
                raise OperandTypeError(f"concatenate takes operands of one dtype, not {first.dtype} and {a.dtype}")
            if a.ndim != first.ndim or any(
                m != n for i, (m, n) in enumerate(zip(a.shape, first.shape, strict=True)) if i != axis
            ):
                shapes = ", ".join(str(b.shape) for b in avals)
                raise OperandError(f"cannot concatenate along axis {axis} arrays of the shapes {shapes}")
        shape = list(first.shape)
        shape[axis] = sum(a.shape[axis] for a in avals)
        return Aval(tuple(shape), first.dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        full = [zeros_like(x) if t is None else t for x, t in zip(primals, tangents, strict=True)]
        return concatenate(*primals, **params), concatenate(*full, **params)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        axis = params["axis"]
        out: list[Any] = []
        at = 0
        for x in args:
            n = (x.aval.shape if isinstance(x, Var) else shape_of(x))[axis]
            out.append(slice_along(ct, axis, at, at + n) if isinstance(x, Var) else None)
            at += n
        return out

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        rows = [x if b else repeat_rows(x, size) for x, b in zip(args, batched, strict=True)]
        return concatenate(*rows, axis=params["axis"] + 1), True


class Iota(Primitive):
    """0, 1, 2, ... along ``axis``, of the given shape and dtype."""

    name = "iota"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        return Aval(params["shape"], params["dtype"])


class Sort(Primitive):
    """The elements in ascending order along ``axis``, NaN last; ``stable`` as in :class:`Argsort`.

    The values of a derivative are taken in the order that :class:`Argsort` finds, as the tangents are: among equal
    elements, the same one gives both.
    """

    name = "sort"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        return _along(self.name, avals[0], params["axis"])

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        order = argsort(x, **params)
        return (
            indexing.take_along(x, order, params["axis"]),
            indexing.take_along(t, order, params["axis"]),
        )

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return self(args[0], **(params | {"axis": params["axis"] + 1})), True


class Argsort(Sort):
    """The indices that sort along ``axis``; ``stable``: those of equal elements are in ascending order."""

    name = "argsort"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        return Aval(_along(self.name, avals[0], params["axis"]).shape, np.dtype(np.int64))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self(*primals, **params), None


class Copy(Linear):
    """The same elements in a buffer of their own."""

    name = "copy"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        return avals[0].strong()

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        return [ct]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return self(args[0]), True


class StopGradient(Primitive):
    """The identity, through which no tangent passes."""

    name = "stop_gradient"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        return avals[0]

    def expand(self, *args: Any, **params: Any) -> Any:
        return args[0]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self(*primals), None

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return self(*args), True


class OptimizationBarrier(Primitive):
    """The identity, through which no compiler pass looks: what is computed again behind it stays computed again."""

    name = "optimization_barrier"
    multiple = True

    def type(self, *avals: Aval, **params: Any) -> list[Aval]:
        return [a.strong() for a in avals]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        live = [t for t in tangents if t is not None]
        out = iter(self(*live)) if live else iter(())
        return self(*primals), [None if t is None else next(out) for t in tangents]

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        return list(ct)

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return self(*args), list(batched)


def _along(name: str, x: Aval, axis: int) -> Aval:
    if not 0 <= axis < x.ndim:
        raise OperandError(f"{name}: axis {axis} is out of bounds for the shape {x.shape}")
    return Aval(x.shape, x.dtype)


def zeros_like(x: Any) -> Any:
    """Zeros of the shape and dtype of ``x``, made under the current trace."""
    return broadcast_in_dim(dtype_of(x).type(0), shape=shape_of(x), dims=())


def repeat_rows(x: Any, size: int) -> Any:
    """``x`` repeated ``size`` times along a new leading axis."""
    shape = shape_of(x)
    return broadcast_in_dim(x, shape=(size, *shape), dims=tuple(range(1, len(shape) + 1)))


def slice_along(x: Any, axis: int, start: int, limit: int, stride: int = 1) -> Any:
    """``start:limit:stride`` along one axis, and all along the others."""
    shape = shape_of(x)
    return slice_(
        x,
        start=tuple(start if i == axis else 0 for i in range(len(shape))),
        limit=tuple(limit if i == axis else n for i, n in enumerate(shape)),
        stride=tuple(stride if i == axis else 1 for i in range(len(shape))),
    )


broadcast_in_dim = BroadcastInDim()
reshape = Reshape()
transpose = Transpose()
rev = Rev()
slice_ = Slice()
pad = Pad()
concatenate = Concatenate()
iota = Iota()
sort = Sort()
argsort = Argsort()
copy = Copy()
optimization_barrier = OptimizationBarrier()
stop_gradient = StopGradient()
