"""Convolution and reductions over windows, under the names and with the arguments of ``jax.lax``.

The primitive knows one layout, [N, C, *spatial] and [O, I, *spatial]. The functions here bring others to it and back by
transposition, and turn ``"SAME"`` and ``"VALID"`` into numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandError
from ..core.trace import Tracer
from ..core.types import aval_of
from ._contraction import accumulated
from ._elementwise import add
from ._elementwise import max as _max
from ._elementwise import min as _min
from ._strict import apply, operands
from ._structure import rev, transpose

__all__ = [
    "ConvDimensionNumbers",
    "conv",
    "conv_dimension_numbers",
    "conv_general_dilated",
    "conv_transpose",
    "conv_with_general_padding",
    "padtype_to_pads",
    "reduce_window",
]

Shape = tuple[int, ...]
Padding = str | Sequence[tuple[int, int]]


class ConvDimensionNumbers(NamedTuple):
    """The layout of a convolution, as axes of the arrays.

    ``lhs_spec``: batch, channel, then spatial axes of the input. ``rhs_spec``: output channel, input channel, then
    spatial axes of the kernel. ``out_spec``: batch, channel, then spatial axes of the result.
    """

    lhs_spec: Shape
    rhs_spec: Shape
    out_spec: Shape


def conv_dimension_numbers(lhs_shape: Shape, rhs_shape: Shape, dimension_numbers: Any) -> ConvDimensionNumbers:
    """The layout that ``dimension_numbers`` names: None, three strings such as ("NHWC", "HWIO", "NHWC"), or axes.

    The letters other than N, C and O, I are spatial; they mean the same axis in all three strings.
    """
    rank = len(lhs_shape)
    if isinstance(dimension_numbers, ConvDimensionNumbers):
        return dimension_numbers
    if rank != len(rhs_shape) or rank < 2:
        raise OperandError(f"convolution takes operands of one rank of at least 2, not {lhs_shape} and {rhs_shape}")
    if dimension_numbers is None:
        every = tuple(range(rank))
        return ConvDimensionNumbers(every, every, every)
    if not isinstance(dimension_numbers, (tuple, list)) or len(dimension_numbers) != 3:
        raise OperandError(
            f"dimension_numbers must be None, three strings or ConvDimensionNumbers, not {dimension_numbers!r}"
        )
    specs = []
    for text, (first, second) in zip(dimension_numbers, (("N", "C"), ("O", "I"), ("N", "C"))):
        letters = sorted(set(dimension_numbers[1]) - {"O", "I"}, key=dimension_numbers[1].index)
        if len(text) != rank or sorted(text) != sorted([first, second, *letters]):
            raise OperandError(
                f"dimension_numbers {tuple(dimension_numbers)!r} do not describe operands with {rank} axes: {text!r} "
                f"must hold {first}, {second} and the spatial letters, each once"
            )
        specs.append(tuple(text.index(c) for c in (first, second, *letters)))
    return ConvDimensionNumbers(*specs)


def padtype_to_pads(
    in_shape: Sequence[int], window_shape: Sequence[int], strides: Sequence[int], padding: str
) -> list[Any]:
    """The padding (low, high) of each axis that "SAME", "SAME_LOWER" or "VALID" means.

    SAME gives ceil(n / stride) windows; an odd surplus goes to the end, with SAME_LOWER to the beginning.
    """
    kind = padding.upper()
    if kind == "VALID":
        return [(0, 0)] * len(in_shape)
    if kind not in ("SAME", "SAME_LOWER"):
        raise OperandError(f"padding must be 'SAME', 'SAME_LOWER', 'VALID' or pairs of integers, not {padding!r}")
    pads = []
    for n, k, s in zip(in_shape, window_shape, strides):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        low = total // 2 if kind == "SAME" else total - total // 2
        pads.append((low, total - low))
    return pads


def _dilated(n: int, by: int) -> int:
    return (n - 1) * by + 1 if n else 0


def _per_axis(name: str, what: str, values: Any, rank: int) -> Shape:
    """An integer for each axis; None is 1."""
    found = (1,) * rank if values is None else tuple(int(v) for v in values)
    if len(found) != rank or any(v < 1 for v in found):
        raise OperandError(f"lax.{name}: {what} must be {rank} positive integers, not {values}")
    return found


def _pairs(name: str, padding: Any, rank: int) -> tuple[tuple[int, int], ...]:
    pads = tuple((int(lo), int(hi)) for lo, hi in padding)
    if len(pads) != rank:
        raise OperandError(f"lax.{name}: padding must be {rank} pairs of integers, not {padding}")
    return pads


def conv_general_dilated(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Padding,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """The convolution of ``lhs`` with the kernel ``rhs``, which is not flipped (a cross-correlation).

    ``window_strides``, ``lhs_dilation``, ``rhs_dilation`` have an entry for each spatial axis. ``padding`` is "SAME",
    "SAME_LOWER", "VALID" or a pair for each spatial axis, which may be negative. ``dimension_numbers``: see
    :func:`conv_dimension_numbers`. With ``feature_group_count`` groups of channels, each is convolved with its own part
    of the output channels; with ``batch_group_count`` groups of the batch likewise. Products have the full precision of
    the dtype, whatever ``precision``; ``preferred_element_type`` is the dtype in which they are summed.

    Raises OperandError, quoting the shapes, where operands or arguments do not fit.
    """
    name = "conv_general_dilated"
    x, w = accumulated(name, lhs, rhs, preferred_element_type)
    layout = conv_dimension_numbers(aval_of(x).shape, aval_of(w).shape, dimension_numbers)
    x, w = _permuted(x, layout.lhs_spec), _permuted(w, layout.rhs_spec)
    size, kernel = aval_of(x).shape[2:], aval_of(w).shape[2:]
    rank = len(size)
    strides = _per_axis(name, "window_strides", window_strides, rank)
    spread = _per_axis(name, "lhs_dilation", lhs_dilation, rank)
    apart = _per_axis(name, "rhs_dilation", rhs_dilation, rank)
    if isinstance(padding, str):
        if any(d != 1 for d in spread) and padding.upper() != "VALID":
            raise OperandError(
                f"lax.{name}: padding {padding!r} has no meaning with lhs_dilation; use lax.conv_transpose"
            )
        padding = padtype_to_pads(size, [_dilated(k, d) for k, d in zip(kernel, apart)], strides, padding)
    groups = int(feature_group_count)
    if batch_group_count > 1:
        if groups > 1:
            raise OperandError(f"lax.{name}: one of feature_group_count and batch_group_count must be 1")
        groups = int(batch_group_count)
        x = _batch_groups_as_channels(x, groups)
    y = apply(
        prim.conv_general_dilated,
        x,
        w,
        strides=strides,
        padding=_pairs(name, padding, rank),
        lhs_dilation=spread,
        rhs_dilation=apart,
        groups=groups,
    )
    return _permuted(y, tuple(layout.out_spec.index(a) for a in range(len(layout.out_spec))))


def _permuted(x: Any, axes: Sequence[int]) -> Any:
    return x if tuple(axes) == tuple(range(len(axes))) else transpose(x, axes)


def _batch_groups_as_channels(x: Any, groups: int) -> Any:
    """[g N, C, *spatial] as [N, g C, *spatial]: each group of the batch is a group of channels."""
    batch, channels, *size = aval_of(x).shape
    if batch % groups:
        raise OperandError(f"a batch of {batch} does not fall into {groups} equal groups")
    x = prim.reshape(x, shape=(groups, batch // groups, channels, *size))
    x = prim.transpose(x, axes=(1, 0, *range(2, 3 + len(size))))
    return prim.reshape(x, shape=(batch // groups, groups * channels, *size))


def conv(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Padding,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """:func:`conv_general_dilated` in the layout [N, C, *spatial], [O, I, *spatial], without dilation."""
    return conv_general_dilated(
        lhs, rhs, window_strides, padding, precision=precision, preferred_element_type=preferred_element_type
    )


def conv_with_general_padding(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Padding,
    lhs_dilation: Sequence[int] | None,
    rhs_dilation: Sequence[int] | None,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """:func:`conv_general_dilated` in the layout [N, C, *spatial], [O, I, *spatial]."""
    return conv_general_dilated(
        lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation,
        precision=precision, preferred_element_type=preferred_element_type,
    )  # fmt: skip


_CHANNELS_LAST = {
    2: ("NC", "IO", "NC"), 3: ("NHC", "HIO", "NHC"), 4: ("NHWC", "HWIO", "NHWC"), 5: ("NHWDC", "HWDIO", "NHWDC")
}  # fmt: skip


def conv_transpose(
    lhs: Any,
    rhs: Any,
    strides: Sequence[int],
    padding: Padding,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    transpose_kernel: bool = False,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """A convolution with fractional strides, as it arises in the gradient of one with ``strides``.

    ``padding`` "SAME" gives n * stride elements, "VALID" all those that the kernel reaches; pairs are given to
    :func:`conv_general_dilated` as they are. Without ``dimension_numbers`` channels are last. ``transpose_kernel``
    flips the kernel and swaps its channels, so that it is that of the convolution of which this is the gradient.
    """
    x, w = operands("conv_transpose", lhs, rhs)
    rank = aval_of(x).ndim
    if dimension_numbers is None:
        if rank not in _CHANNELS_LAST:
            raise OperandError(f"lax.conv_transpose: give dimension_numbers for operands with {rank} axes")
        dimension_numbers = _CHANNELS_LAST[rank]
    layout = conv_dimension_numbers(aval_of(x).shape, aval_of(w).shape, dimension_numbers)
    steps = _per_axis("conv_transpose", "strides", strides, rank - 2)
    apart = _per_axis("conv_transpose", "rhs_dilation", rhs_dilation, rank - 2)
    kernel = [aval_of(w).shape[a] for a in layout.rhs_spec[2:]]
    if isinstance(padding, str):
        padding = [_transposed_padding(_dilated(k, d), s, padding) for k, d, s in zip(kernel, apart, steps)]
    if transpose_kernel:
        out, into = layout.rhs_spec[:2]
        order = list(range(rank))
        order[out], order[into] = into, out
        w = transpose(rev(w, layout.rhs_spec[2:]), order)
    return conv_general_dilated(
        x, w, (1,) * (rank - 2), padding, steps, apart, layout,
        precision=precision, preferred_element_type=preferred_element_type,
    )  # fmt: skip


def _transposed_padding(k: int, s: int, padding: str) -> tuple[int, int]:
    kind = padding.upper()
    if kind == "SAME":
        total = k + s - 2
        low = k - 1 if s > k - 1 else -(-total // 2)
    elif kind == "VALID":
        total = k + s - 2 + max(k - s, 0)
        low = k - 1
    else:
        raise OperandError(f"lax.conv_transpose: padding must be 'SAME', 'VALID' or pairs of integers, not {padding!r}")
    return low, total - low


# Windows --------------------------------------------------------------------------------------------------------------


def reduce_window(
    operand: Any,
    init_value: Any,
    computation: Callable[..., Any],
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Padding,
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Any:
    """Each window of ``operand`` reduced by ``computation``: lax.add, lax.max or lax.min.

    The window and its parameters have an entry for each axis of ``operand``. What lies outside, and between the
    elements under ``base_dilation``, does not count. The scalar ``init_value`` takes part in each reduction once: 0 in
    a sum, -inf or inf in an extremum change nothing.
    """
    name = "reduce_window"
    if computation not in (add, _max, _min):
        raise OperandError(f"lax.{name}: the computation must be lax.add, lax.max or lax.min, not {computation!r}")
    x, start = operands(name, operand, init_value)
    rank = aval_of(x).ndim
    window = _per_axis(name, "window_dimensions", window_dimensions, rank)
    strides = _per_axis(name, "window_strides", window_strides, rank)
    spread = _per_axis(name, "base_dilation", base_dilation, rank)
    apart = _per_axis(name, "window_dilation", window_dilation, rank)
    neutral = _neutral(computation, np.dtype(aval_of(x).dtype))
    size = [_dilated(n, d) for n, d in zip(aval_of(x).shape, spread)]
    if isinstance(padding, str):
        padding = padtype_to_pads(size, [_dilated(k, d) for k, d in zip(window, apart)], strides, padding)
    pads = _pairs(name, padding, rank)
    if any(d != 1 for d in spread) or any(n < 0 for pair in pads for n in pair):
        x = prim.pad(x, neutral, config=tuple((lo, hi, d - 1) for (lo, hi), d in zip(pads, spread)))
        pads = ((0, 0),) * rank
    params = {"window": window, "strides": strides, "padding": pads, "dilation": apart}
    if computation is add:
        y = apply(prim.reduce_window_sum, x, **params)
    elif computation is _max:
        y = apply(prim.reduce_window_max, x, **params)
    else:
        # The order-reversing involution of the dtype: the complement of integers, which has no overflow.
        turn = prim.neg if aval_of(x).dtype.kind == "f" else prim.not_
        y = turn(apply(prim.reduce_window_max, turn(x), **params))
    if isinstance(start, Tracer) or start != neutral:
        y = computation(y, start)
    return y


def _neutral(computation: Any, dtype: np.dtype[Any]) -> Any:
    """The value that changes nothing."""
    if computation is add:
        return dtype.type(0)
    if dtype.kind == "b":
        return np.bool_(computation is _min)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return dtype.type(limits.min if computation is _max else limits.max)
    return dtype.type(-np.inf if computation is _max else np.inf)
