"""Operations that move elements and do not change them: each is one copy between strided layouts, or a few.

A copy moves bits, so a kernel serves all dtypes of a size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from .device import Device
from .faults import Explain
from .kernels import launches

__all__ = ["MOVEMENT", "copy_into", "moved_to_end", "strides_of"]


def strides_of(shape: Sequence[int]) -> list[int]:
    """The strides of a contiguous array, in elements."""
    return [prod(shape[i + 1 :]) for i in range(len(shape))]


def copy_into(
    device: Device, y: Any, x: Any, shape: Sequence[int], to: Sequence[int], origin: Sequence[int],
    y_start: int = 0, x_start: int = 0,
) -> None:  # fmt: skip
    """y[y_start + i · to] = x[x_start + i · origin] for all i in ``shape``; the axes that lie one behind the other in both are made one."""
    if not prod(shape):
        return
    axes: list[list[int]] = []
    for n, t, f in zip(shape, to, origin):
        if n == 1:
            continue
        if axes and axes[-1][1] == t * n and axes[-1][2] == f * n:
            axes[-1] = [axes[-1][0] * n, t, f]
        else:
            axes.append([n, t, f])
    if len(axes) > 8:
        raise ValueError(f"an array of shape {tuple(shape)} has more than 8 axes to move; reshape it first")
    first, second = (device.view(a, (a.size - start,), start) for a, start in ((y, y_start), (x, x_start)))
    sizes, into, from_ = ([a[i] for a in axes] for i in range(3))
    launches.strided_copy(device, first, second, sizes, into, from_)


def _strided(device: Device, x: Any, shape: Sequence[int], strides: Sequence[int], start: int = 0) -> Any:
    """A new array of this shape: the elements of x at the places ``start`` + i · ``strides``."""
    y = device.empty(tuple(shape), x.dtype)
    copy_into(device, y, x, shape, strides_of(shape), strides, x_start=start)
    return y


def broadcast_in_dim(device: Device, x: Any, *, shape: Any, dims: Any) -> Any:
    """x with its axis i as axis dims[i] of an array of this shape, repeated along all others."""
    strides = [0] * len(shape)
    for n, stride, d in zip(x.shape, strides_of(x.shape), dims):
        strides[d] = stride if n == shape[d] else 0
    return _strided(device, x, shape, strides)


def reshape(device: Device, x: Any, *, shape: Any) -> Any:
    """x in row-major order, with another shape, in memory of its own."""
    return device.view(launches.copy(device, x), tuple(shape))


def transpose(device: Device, x: Any, *, axes: Any) -> Any:
    """x with its axes in another order; tiles of shared memory where the last two are exchanged."""
    rank = x.ndim
    if rank > 1 and tuple(axes) == (*range(rank - 2), rank - 1, rank - 2) and prod(x.shape[:-2]) < 65536:
        return launches.transpose(device, x)
    strides = strides_of(x.shape)
    return _strided(device, x, [x.shape[i] for i in axes], [strides[i] for i in axes])


def moved_to_end(device: Device, x: Any, axes: Sequence[int]) -> Any:
    """x with these axes behind the others; x itself if they are there."""
    order = (*(i for i in range(x.ndim) if i not in axes), *axes)
    return x if order == tuple(range(x.ndim)) else transpose(device, x, axes=order)


def rev(device: Device, x: Any, *, axes: Any) -> Any:
    """x in reverse order along some axes."""
    if not x.size:
        return launches.copy(device, x)
    strides = strides_of(x.shape)
    start = sum((x.shape[a] - 1) * strides[a] for a in axes)
    return _strided(device, x, x.shape, [-s if i in axes else s for i, s in enumerate(strides)], start)


def slice_array(device: Device, x: Any, *, start: Any, limit: Any, stride: Any) -> Any:
    """x[start:limit:stride] along each axis."""
    strides = strides_of(x.shape)
    shape = [-((a - b) // s) for a, b, s in zip(start, limit, stride)]
    first = sum(a * s for a, s in zip(start, strides)) if prod(shape) else 0
    return _strided(device, x, shape, [s * t for s, t in zip(strides, stride)], first)


def pad(device: Device, x: Any, value: Any, *, config: Any) -> Any:
    """x with `value` around and between its elements; (low, high, interior) an axis, and negative low and high cut."""
    shape = tuple(lo + hi + n + max(n - 1, 0) * k for n, (lo, hi, k) in zip(x.shape, config))
    y = broadcast_in_dim(device, value, shape=shape, dims=())
    first, last = [], []
    for n, size, (low, _, interior) in zip(x.shape, shape, config):
        step = interior + 1
        first.append(max(-(low // step), 0))
        last.append(max(min(-(-(size - low) // step), n), first[-1]))
    kept = [b - a for a, b in zip(first, last)]
    if prod(kept):
        into, origin = strides_of(shape), strides_of(x.shape)
        start = sum((low + a * (k + 1)) * s for a, s, (low, _, k) in zip(first, into, config))
        steps = [s * (k + 1) for s, (_, _, k) in zip(into, config)]
        copy_into(device, y, x, kept, steps, origin, start, sum(a * s for a, s in zip(first, origin)))
    return y


def concatenate(device: Device, *xs: Any, axis: int) -> Any:
    """The arrays one behind the other along an axis."""
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    y = device.empty(tuple(shape), xs[0].dtype)
    strides, at = strides_of(shape), 0
    for x in xs:
        if x.size:
            copy_into(device, y, x, x.shape, strides, strides_of(x.shape), at * strides[axis])
        at += x.shape[axis]
    return y


def iota(device: Device, *, shape: Any, dtype: Any, axis: int) -> Any:
    """The index along one axis, at every place."""
    return broadcast_in_dim(device, device.put(np.arange(shape[axis]).astype(dtype)), shape=shape, dims=(axis,))


def _explain(shape: Sequence[int], sizes: Sequence[int]) -> Explain:
    return lambda axis, start: IndexError(
        f"a block of size {sizes[axis]} that starts at {start} does not fit into axis {axis}, which has size {shape[axis]}"
    )


def _window(device: Device, y: Any, x: Any, starts: Sequence[Any], into: bool) -> Any:
    """y, after the window of x is copied to it, or all of x into a window of it; where it begins is the kernel's to check."""
    whole, sizes = (y.shape, x.shape) if into else (x.shape, y.shape)
    if len(whole) > 8:
        raise ValueError(f"an array of shape {whole} has more than 8 axes to move; reshape it first")
    with device.checking(_explain(whole, sizes)) as faults:
        launches.copy_window(device, y, x, sizes, starts, faults, into)
    return y


def dynamic_slice(device: Device, x: Any, *starts: Any, sizes: Any) -> Any:
    """A window of x. Raises IndexError if it does not lie within x (in a program: later, see :mod:`.faults`)."""
    return _window(device, device.empty(tuple(sizes), x.dtype), x, starts, into=False)


def dynamic_update_slice(device: Device, x: Any, update: Any, *starts: Any) -> Any:
    """A copy of x with a window replaced. Raises IndexError as :func:`dynamic_slice` does."""
    return _window(device, launches.copy(device, x), update, starts, into=True)


def copy(device: Device, x: Any) -> Any:
    """A copy of x."""
    return launches.copy(device, x)


MOVEMENT: Mapping[str, Callable[..., Any]] = {
    "broadcast_in_dim": broadcast_in_dim,
    "concatenate": concatenate,
    "copy": copy,
    "dynamic_slice": dynamic_slice,
    "dynamic_update_slice": dynamic_update_slice,
    "iota": iota,
    "pad": pad,
    "reshape": reshape,
    "rev": rev,
    "slice": slice_array,
    "transpose": transpose,
}
