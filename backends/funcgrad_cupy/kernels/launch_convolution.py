"""How the kernels of convolution.cu are launched; as :mod:`.launches` does for the others."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, prod
from typing import Any

import numpy as np

from . import c_type

__all__ = ["NARROW", "convolution", "takes"]

_AXIS = np.dtype(
    [(name, "i4") for name in (
        "size", "taps", "places", "stride", "dilation", "low", "spread", "place_step", "tap_step")]
)  # fmt: skip
_CONVOLUTION = np.dtype(
    [("count", "i4"), ("groups", "i4"), ("channels", "i4"), ("features", "i4"), ("axis", _AXIS, 2),
     ("row_tiles", "i4"), ("splits", "i4")]
)  # fmt: skip

#: Groups with fewer features than this have no tiles: an element of the result is summed by a thread or a warp.
NARROW = 8
#: As in convolution.cu: the rows and columns of a block's tile, its words of a row, its threads.
_SIDE, _WORDS, _THREADS = 64, 16, 128
_DIRECT_THREADS = 256
#: The depth is split among blocks until there are this many, two for each multiprocessor of a large GPU; a part has at
#: least eight steps of a tile. No device is asked, so that sums are in the same order on all of them.
_BLOCKS, _LEAST, _MOST = 264, 128, 64
#: Indices along an axis, and their differences, fit into 32 bits.
_LONGEST = 2**30


def _extent(n: int, by: int) -> int:
    return (n - 1) * by + 1 if n else 0


def _axes(x: Any, w: Any, strides: Any, padding: Any, lhs_dilation: Any, rhs_dilation: Any) -> list[tuple[int, ...]]:
    """The struct Axis for each spatial axis, axes of length 1 before them to make two."""
    found = [(1, 1, 1, 1, 1, 0, 1, 1, 1)] * (4 - x.ndim)
    for n, k, s, (low, high), spread, d in zip(x.shape[2:], w.shape[2:], strides, padding, lhs_dilation, rhs_dilation):
        places = max((_extent(n, spread) + low + high - _extent(k, d)) // s + 1, 0)
        found.append((n, k, places, s, d, low, spread, spread // gcd(spread, s), spread // gcd(spread, d)))
    return found


def takes(x: Any, w: Any, *, padding: Sequence[tuple[int, int]], lhs_dilation: Any, rhs_dilation: Any) -> bool:
    """Whether a convolution is within the kernel's reach: at most two spatial axes, of lengths that 32 bits hold."""
    lengths = [
        _extent(n, spread) + _extent(k, d) + abs(low) + abs(high)
        for n, k, (low, high), spread, d in zip(x.shape[2:], w.shape[2:], padding, lhs_dilation, rhs_dilation)
    ]
    return x.ndim <= 4 and max([0, *x.shape[:2], *w.shape[:2], *lengths]) < _LONGEST


def convolution(
    device: Any,
    x: Any,
    w: Any,
    *,
    strides: Any,
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    groups: int,
    tf32: bool = False,
) -> Any:
    """The cross-correlation of x [N, C, *spatial] with w [O, C / groups, *spatial]: [N, O, *spatial].

    With the parameters of the primitive ``conv_general_dilated``, where :func:`takes` says so; float16, bfloat16 (by tensor
    cores, summed in float), float32 or float64. ``tf32``: by tensor cores for float32 too, whose factors are rounded to the
    ten bits of tf32 first; groups of few features are exact all the same.
    """
    axes = _axes(x, w, strides, padding, lhs_dilation, rhs_dilation)
    count, features, channels = x.shape[0], w.shape[0] // groups, w.shape[1]
    *_, (_, _, tall, *_, down, _), (_, taps, wide, *_, across, _) = axes
    y = device.empty((count, groups * features, *(a[2] for a in axes[4 - x.ndim :])), x.dtype)
    if not y.size:
        return y
    dtype, deep = c_type(x.dtype), taps > wide
    depth, row_tiles = channels * prod(-(-a[1] // a[8]) for a in axes), 0
    if features < NARROW:
        kernel, threads = "convolution_direct", _DIRECT_THREADS
        blocks, most = -(-y.size * (32 if deep else 1) // threads), min(depth // _LEAST, channels)
    else:
        kernel, threads = "convolution", _THREADS
        row_tiles = -(-count * -(-tall // down) * -(-wide // across) // _SIDE)
        blocks, most = row_tiles * -(-features // _SIDE) * groups * down * across, depth // _LEAST
    splits = max(min(-(-_BLOCKS // blocks), most, _MOST), 1)
    parts = device.empty((splits, y.size), np.promote_types(np.float32, x.dtype)) if splits > 1 else None
    shape = np.array((count, groups, channels, features, axes, row_tiles, splits), _CONVOLUTION)[()]
    factor = ", Tf32" if tf32 and x.dtype == np.float32 and kernel == "convolution" else ""
    name = f"{kernel}<{dtype}, {str(deep).lower()}{factor}>"
    device.launch("convolution", name, (blocks, splits), (threads,), [y, parts, x, w, shape])
    if parts is not None:
        args = [y, parts, np.int32(splits), np.int64(y.size)]
        device.launch("convolution", f"sum_parts<{dtype}>", (min(-(-y.size // 256), 4096),), (256,), args)
    return y
