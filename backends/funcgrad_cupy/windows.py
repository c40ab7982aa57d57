"""Convolution and pooling.

The kernels of convolution.cu find the windows of a convolution where they are read. What is out of their reach, and pooling,
goes through windows that a strided copy lays out, with a product or a reduction of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from .device import Device
from .kernels import launch_convolution, launches
from .movement import copy_into, pad, strides_of, transpose

__all__ = ["WINDOWS"]

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def _laid_out(device: Device, x: Any, shape: Sequence[int], strides: Sequence[int]) -> Any | None:
    """The elements of x at these strides as an array; None where more than 8 axes would have to be moved."""
    if sum(n != 1 for n in shape) > 8:
        return None
    y = device.empty(tuple(shape), x.dtype)
    copy_into(device, y, x, shape, strides_of(shape), strides)
    return y


def conv_general_dilated(
    device: Device, x: Any, w: Any, *, strides: Any, padding: Any, lhs_dilation: Any, rhs_dilation: Any, groups: int
) -> Any:
    """The cross-correlation of x [N, C, *spatial] with w [O, C / groups, *spatial]: [N, O, *spatial]."""
    if x.dtype.name not in _FLOATS:
        return None
    given = {"padding": padding, "lhs_dilation": lhs_dilation, "rhs_dilation": rhs_dilation}
    if launch_convolution.takes(x, w, **given):
        return launch_convolution.convolution(device, x, w, strides=strides, groups=groups, **given)
    return _through_windows(device, x, w, strides=strides, groups=groups, **given)


def _through_windows(
    device: Device, x: Any, w: Any, *, strides: Any, padding: Any, lhs_dilation: Any, rhs_dilation: Any, groups: int
) -> Any:
    """The same for any number of axes: all windows as rows of a matrix, times the filters."""
    dtype = x.dtype
    count, channels, features, kernel = x.shape[0], x.shape[1], w.shape[0], w.shape[2:]
    zero = device.put(np.zeros((), dtype))
    inside = [(low, high, d - 1) for (low, high), d in zip(padding, lhs_dilation)]
    x = pad(device, x, zero, config=((0, 0, 0), (0, 0, 0), *inside))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, rhs_dilation)]
    out = [max((n - e) // s + 1, 0) for n, e, s in zip(x.shape[2:], extent, strides)]
    if not count * features * prod(out) or not channels:
        return pad(
            device, device.empty((0,) * x.ndim, dtype), zero, config=tuple((0, n, 0) for n in (count, features, *out))
        )
    of_x, per_group = strides_of(x.shape), channels // groups
    windows = _laid_out(
        device,
        x,
        (groups, count, *out, per_group, *kernel),
        (
            per_group * of_x[1], of_x[0], *(s * t for s, t in zip(strides, of_x[2:])),
            of_x[1], *(d * t for d, t in zip(rhs_dilation, of_x[2:])),
        ),
    )  # fmt: skip
    if windows is None:
        return None
    depth = per_group * prod(kernel)
    windows = device.view(windows, (groups, count * prod(out), depth))
    weights = launches.transpose(device, device.view(w, (groups, features // groups, depth)))
    product = device.view(device.matmul(windows, weights), (groups, count, prod(out), features // groups))
    return device.view(transpose(device, product, axes=(1, 0, 3, 2)), (count, features, *out))


def _reduce_window(op: str) -> Callable[..., Any]:
    def run(device: Device, x: Any, *, window: Any, strides: Any, padding: Any, dilation: Any) -> Any:
        if x.dtype.name not in (*_FLOATS, "int32", "int64"):
            return None
        lowest = -np.inf if x.dtype.name in _FLOATS else np.iinfo(x.dtype).min
        outside = device.put(np.asarray(0 if op == "Sum" else lowest, x.dtype))
        x = pad(device, x, outside, config=tuple((low, high, 0) for low, high in padding))
        extent = [(k - 1) * d + 1 for k, d in zip(window, dilation)]
        out = [max((n - e) // s + 1, 0) for n, e, s in zip(x.shape, extent, strides)]
        of_x = strides_of(x.shape)
        steps = [*(s * t for s, t in zip(strides, of_x)), *(d * t for d, t in zip(dilation, of_x))]
        windows = _laid_out(device, x, (*out, *window), steps)
        return None if windows is None else launches.reduce_rows(device, device.view(windows, (*out, prod(window))), op)

    return run


WINDOWS: Mapping[str, Callable[..., Any]] = {
    "conv_general_dilated": conv_general_dilated,
    "reduce_window_max": _reduce_window("Max"),
    "reduce_window_sum": _reduce_window("Sum"),
}
