"""Operations that move values and do not change them. Results are copies: a view would let them alias their operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .elementwise import is_bool, refuse_complex

__all__ = ["OPS", "broadcast_in_dim", "iota", "pad", "strided"]


def _copy(xp, x):
    return xp.asarray(x, copy=True)


def strided(x, start, limit, stride):
    """The view x[start:limit:stride] along each axis."""
    return x[tuple(map(slice, start, limit, stride))]


def broadcast_in_dim(xp, x, *, shape, dims):
    """x with its axis i as axis dims[i] of an array of this shape, repeated along all others."""
    aligned = [1] * len(shape)
    for n, d in zip(x.shape, dims, strict=True):
        aligned[d] = n
    return _copy(xp, xp.broadcast_to(xp.reshape(x, tuple(aligned)), tuple(shape)))


def reshape(xp, x, *, shape):
    """x in row-major order, with another shape."""
    return xp.reshape(x, tuple(shape), copy=True)


def transpose(xp, x, *, axes):
    """x with its axes in another order."""
    return _copy(xp, xp.permute_dims(x, tuple(axes)))


def rev(xp, x, *, axes):
    """x in reverse order along some axes."""
    return _copy(xp, xp.flip(x, axis=tuple(axes)) if axes else x)


def slice_array(xp, x, *, start, limit, stride):
    """x[start:limit:stride] along each axis."""
    return _copy(xp, strided(x, start, limit, stride or (1,) * x.ndim))


def pad(xp, x, value, *, config):
    """x with `value` around and between its elements; (low, high, interior) an axis, and negative low and high cut."""
    value = xp.astype(value, x.dtype)
    result = _copy(xp, x)

    def block(shape, axis, n):
        return xp.broadcast_to(value, (*shape[:axis], n, *shape[axis + 1 :]))

    def cut(axis, first, last):
        return (*[slice(None)] * axis, slice(first, last), *[slice(None)] * (x.ndim - axis - 1))

    for axis, (low, high, interior) in enumerate(config):
        n = result.shape[axis]
        if interior and n > 1:
            shape = result.shape
            apart = xp.reshape(result, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
            between = xp.broadcast_to(value, (*shape[: axis + 1], interior, *shape[axis + 1 :]))
            n *= interior + 1
            result = xp.reshape(xp.concat([apart, between], axis=axis + 1), (*shape[:axis], n, *shape[axis + 1 :]))
            n -= interior
            result = result[cut(axis, 0, n)]
        parts = [block(result.shape, axis, max(low, 0)), result, block(result.shape, axis, max(high, 0))]
        if low > 0 or high > 0:
            result = xp.concat(parts, axis=axis)
        if low < 0 or high < 0:
            n = result.shape[axis]
            first = min(max(-low, 0), n)
            result = _copy(xp, result[cut(axis, first, max(n - max(-high, 0), first))])
    return result


def concatenate(xp, *xs, axis):
    """The arrays one behind the other along an axis."""
    return xp.concat(xs, axis=axis)


def iota(xp, *, shape, dtype, axis, device=None):
    """The index along one axis, at every place."""
    aligned = [1] * len(shape)
    aligned[axis] = shape[axis]
    index = xp.astype(xp.arange(shape[axis], dtype=xp.int64, device=device), dtype)
    return _copy(xp, xp.broadcast_to(xp.reshape(index, tuple(aligned)), tuple(shape)))


def sort(xp, x, *, axis, stable):
    """x in ascending order along an axis."""
    refuse_complex(xp, "sort", x)
    if is_bool(xp, x):
        return xp.astype(xp.sort(xp.astype(x, xp.uint8), axis=axis, stable=stable), xp.bool)
    return xp.sort(x, axis=axis, stable=stable)


def argsort(xp, x, *, axis, stable):
    """The indices that sort x along an axis; equal elements keep their order if `stable`."""
    refuse_complex(xp, "argsort", x)
    order = xp.argsort(xp.astype(x, xp.uint8) if is_bool(xp, x) else x, axis=axis, stable=stable)
    return xp.astype(order, xp.int64)


def optimization_barrier(xp, *xs):
    """The operands."""
    return list(xs)


OPS: dict[str, Callable[..., Any]] = {
    "argsort": argsort,
    "broadcast_in_dim": broadcast_in_dim,
    "concatenate": concatenate,
    "copy": _copy,
    "optimization_barrier": optimization_barrier,
    "pad": pad,
    "reshape": reshape,
    "rev": rev,
    "slice": slice_array,
    "sort": sort,
    "transpose": transpose,
}
