"""Windows that slide over an array: ``numpy.lib.stride_tricks``, for plain code that is given traced values."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import OperandError
from ..core.memory import view_of
from ..core.trace import Tracer
from ._indexing import take
from ._promote import asarray, normalize_axis
from ._shape import moveaxis

__all__ = ["sliding_window_view"]


def sliding_window_view(
    x: Any,
    window_shape: int | Sequence[int],
    axis: int | Sequence[int] | None = None,
    *,
    subok: bool = False,
    writeable: bool = False,
) -> Any:
    """As :func:`numpy.lib.stride_tricks.sliding_window_view`, but a copy: the windows stand on new last axes.

    The axes of ``x`` shrink to the number of places, n - w + 1. Raises ValueError for a window that is larger than the
    array or does not fit the axes.

    >>> import funcgrad as fg
    >>> fg.jit(lambda x: np.lib.stride_tricks.sliding_window_view(x, 3))(np.arange(5.0))
    array([[0., 1., 2.],
           [1., 2., 3.],
           [2., 3., 4.]])
    """
    base = x
    x = asarray(x)
    sizes = tuple(map(operator.index, window_shape)) if np.iterable(window_shape) else (operator.index(window_shape),)
    if any(w < 0 for w in sizes):
        raise OperandError(f"sliding_window_view: `window_shape` cannot contain negative values, but it is {sizes}")
    if axis is None:
        axes = tuple(range(x.ndim))
    else:
        axes = tuple(normalize_axis(a, x.ndim) for a in (axis if np.iterable(axis) else (axis,)))
    if len(sizes) != len(axes):
        raise OperandError(
            f"sliding_window_view: window_shape and axis must have an entry for each other, but are {sizes} and {axes}"
        )
    for size, a in zip(sizes, axes, strict=True):
        places = x.shape[a] - size + 1
        if places <= 0:
            raise OperandError("sliding_window_view: window shape cannot be larger than input array shape")
        where = np.arange(places)[:, None] + np.arange(size)
        x = moveaxis(take(x, where, axis=a), a + 1, -1)
    return view_of(x.renewed(), base, readonly=True) if isinstance(x, Tracer) and isinstance(base, Tracer) else x
