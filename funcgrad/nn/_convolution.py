"""Convolution and pooling over 1, 2 or 3 spatial axes, channels last.

One layout: an input is (batch, *spatial, channels), as everywhere in this package features are the last axis; a kernel is
(*spatial, in / groups, out). For other layouts there is ``lax.conv_general_dilated``. A kernel is not flipped (the
operation is a cross-correlation), and ``padding`` is "SAME", "VALID", an integer, or a pair for each spatial axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.core.errors import OperandError

from ._arrays import dtype_of, floating, narrow, per_axis, wide

__all__ = ["avg_pool", "conv", "conv_transpose", "max_pool"]

Sizes = int | Sequence[int]
Padding = str | int | Sequence[tuple[int, int]]

_SPATIAL = "DHW"


def _padding(name: str, padding: Padding, rank: int) -> Any:
    if isinstance(padding, int):
        return ((padding, padding),) * rank
    if not isinstance(padding, str) and (len(padding) != rank or any(isinstance(p, int) for p in padding)):
        raise OperandError(f"nn.{name}: padding must be a string, an integer or {rank} pairs of them, not {padding}")
    return padding


def _layout(name: str, x: Any, kernel: Any, groups: int) -> tuple[Any, Any, int, tuple[str, str, str]]:
    x, kernel = floating(name, x), floating(name, kernel, "kernel")
    rank = x.ndim - 2
    if not 1 <= rank <= 3 or kernel.ndim != x.ndim or x.shape[-1] != groups * kernel.shape[-2]:
        divided = f" / {groups} groups" if groups > 1 else ""
        raise OperandError(
            f"nn.{name}: x of shape {x.shape} does not fit a kernel of shape {kernel.shape}: x must be (batch, *spatial, "
            f"channels) and the kernel (*spatial, channels{divided}, out), with 1 to 3 spatial axes"
        )
    axes = _SPATIAL[3 - rank :]
    return x, kernel, rank, (f"N{axes}C", f"{axes}IO", f"N{axes}C")


def _with_bias(name: str, y: Any, bias: Any) -> Any:
    if bias is None:
        return y
    bias = floating(name, bias, "bias")
    if bias.shape != y.shape[-1:]:
        raise OperandError(f"nn.{name}: the bias must be of shape {y.shape[-1:]}, not {bias.shape}")
    return y + bias


def conv(
    x: Any,
    kernel: Any,
    bias: Any = None,
    *,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    dilation: Sizes = 1,
    groups: int = 1,
) -> Any:
    """The convolution of ``x`` (batch, *spatial, in) with ``kernel`` (*spatial, in / groups, out), plus ``bias`` (out,).

    ``dilation`` spreads the kernel; with ``groups``, each group of input channels makes its own part of the output. With
    "SAME" a spatial size n becomes ceil(n / stride). Raises OperandError where shapes do not fit.

    >>> x = fnp.arange(4.0).reshape(1, 4, 1)
    >>> conv(x, fnp.ones((2, 1, 1)), padding="VALID")[0, :, 0]
    array([1., 3., 5.])
    """
    x, kernel, rank, layout = _layout("conv", x, kernel, groups)
    dtype = fnp.result_type(x, kernel)
    y = lax.conv_general_dilated(
        fnp.astype(x, dtype),
        fnp.astype(kernel, dtype),
        per_axis("conv", "strides", strides, rank),
        _padding("conv", padding, rank),
        rhs_dilation=per_axis("conv", "dilation", dilation, rank),
        dimension_numbers=layout,
        feature_group_count=groups,
    )
    return _with_bias("conv", y, bias)


def conv_transpose(
    x: Any, kernel: Any, bias: Any = None, *, strides: Sizes = 1, padding: Padding = "SAME", dilation: Sizes = 1
) -> Any:
    """The convolution with fractional strides, which enlarges: with "SAME" a spatial size n becomes n * stride.

    ``x``: (batch, *spatial, in); ``kernel``: (*spatial, in, out); ``bias``: (out,). As ``lax.conv_transpose``: the input
    is spread by the strides and convolved; pairs as ``padding`` are those of that convolution. Flipping the kernel and
    swapping its channels makes it the derivative of :func:`conv` in its input. Raises OperandError.

    >>> x = fnp.array([1.0, 2.0]).reshape(1, 2, 1)
    >>> conv_transpose(x, fnp.ones((2, 1, 1)), strides=2)[0, :, 0]
    array([1., 1., 2., 2.])
    """
    x, kernel, rank, layout = _layout("conv_transpose", x, kernel, 1)
    dtype = fnp.result_type(x, kernel)
    y = lax.conv_transpose(
        fnp.astype(x, dtype),
        fnp.astype(kernel, dtype),
        per_axis("conv_transpose", "strides", strides, rank),
        _padding("conv_transpose", padding, rank),
        rhs_dilation=per_axis("conv_transpose", "dilation", dilation, rank),
        dimension_numbers=layout,
    )
    return _with_bias("conv_transpose", y, bias)


def _windows(name: str, x: Any, window: Sizes, strides: Sizes | None, padding: Padding) -> tuple[Any, ...]:
    """The arguments of ``lax.reduce_window``: by default windows lie side by side."""
    rank = x.ndim - 2
    if rank < 1:
        raise OperandError(f"nn.{name}: x must be (batch, *spatial, channels), not of shape {x.shape}")
    size = per_axis(name, "window", window, rank)
    steps = size if strides is None else per_axis(name, "strides", strides, rank)
    pads = _padding(name, padding, rank)
    if not isinstance(pads, str):
        pads = ((0, 0), *pads, (0, 0))
    return (1, *size, 1), (1, *steps, 1), pads


def max_pool(x: Any, window: Sizes, strides: Sizes | None = None, padding: Padding = "VALID") -> Any:
    """The largest value of each window over the spatial axes of ``x`` (batch, *spatial, channels).

    ``strides``: by default ``window``, so that windows lie side by side. What is padded does not count.

    >>> max_pool(fnp.arange(6.0).reshape(1, 6, 1), 2)[0, :, 0]
    array([1., 3., 5.])
    """
    x = floating("max_pool", x)
    return lax.reduce_window(x, -math.inf, lax.max, *_windows("max_pool", x, window, strides, padding))


def avg_pool(
    x: Any,
    window: Sizes,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window over the spatial axes of ``x`` (batch, *spatial, channels).

    ``strides``: by default ``window``. What is padded counts as zeros, or, without ``count_include_pad``, not at all.

    >>> avg_pool(fnp.arange(6.0).reshape(1, 6, 1), 2)[0, :, 0]
    array([0.5, 2.5, 4.5])
    """
    x = floating("avg_pool", x)
    v = wide(x)
    arguments = _windows("avg_pool", x, window, strides, padding)
    total = lax.reduce_window(v, 0.0, lax.add, *arguments)
    if count_include_pad:
        return narrow(total / math.prod(arguments[0]), dtype_of(x))
    ones = fnp.ones((1, *x.shape[1:-1], 1), dtype_of(v))
    return narrow(total / lax.reduce_window(ones, 0.0, lax.add, *arguments), dtype_of(x))
