"""Operations over an axis that ``vmap(..., axis_name=...)`` has named: sums, means, extrema and gathers over all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import tree
from ..api._function import typed
from ..core.errors import TransformError
from ..core.types import aval_of
from ..primitives import collective, convert, div, move_axis, neg, reshape
from ..transforms.batching import axis_environment

__all__ = ["all_gather", "axis_index", "axis_size", "pmax", "pmean", "pmin", "psum"]

AxisNames = str | Sequence[str]
_FLOAT = np.dtype(np.float64)


def _names(axis_name: AxisNames) -> tuple[str, ...]:
    return (axis_name,) if isinstance(axis_name, str) else tuple(axis_name)


def axis_size(axis_name: AxisNames) -> int:
    """The number of rows of a named axis.

    Raises TransformError if no vmap around binds the name.

    >>> import numpy as np, funcgrad as fg
    >>> fg.vmap(lambda x: x / axis_size("i"), axis_name="i")(np.ones(4))
    array([0.25, 0.25, 0.25, 0.25])
    """
    sizes = {a.name: a.size for a in reversed(axis_environment())}
    size = 1
    for name in _names(axis_name):
        if name not in sizes:
            raise TransformError(
                f"no vmap around binds the axis name {name!r}"
                f"{f'; there are {sorted(map(str, sizes))}' if sizes else ''}; write vmap(f, axis_name={name!r})"
            )
        size *= sizes[name]
    return size


def _over(primitive: Any, x: Any, axis_name: AxisNames) -> Any:
    axis_size(axis_name)

    def leaf(y: Any) -> Any:
        y = typed(y)
        for name in _names(axis_name):
            y = primitive(y, axis_name=name)
        return y

    return tree.map(leaf, x)


def psum(x: Any, axis_name: AxisNames) -> Any:
    """The sum of ``x``, a pytree, over all rows of the named axis or axes.

    >>> import numpy as np, funcgrad as fg
    >>> fg.vmap(lambda x: x / psum(x, "i"), axis_name="i")(np.array([1.0, 3.0]))
    array([0.25, 0.75])
    """
    return _over(collective.psum, x, axis_name)


def pmean(x: Any, axis_name: AxisNames) -> Any:
    """The mean of ``x`` over all rows."""
    size = axis_size(axis_name)

    def leaf(total: Any) -> Any:
        dtype = aval_of(total).dtype
        if dtype.kind in "biu":
            total = convert(total, dtype=_FLOAT)
        return div(total, aval_of(total).dtype.type(size))

    return tree.map(leaf, psum(x, axis_name))


def pmax(x: Any, axis_name: AxisNames) -> Any:
    """The maximum of ``x`` over all rows."""
    return _over(collective.pmax, x, axis_name)


def pmin(x: Any, axis_name: AxisNames) -> Any:
    """The minimum of ``x`` over all rows."""
    return tree.map(neg, _over(collective.pmax, tree.map(lambda y: neg(typed(y)), x), axis_name))


def all_gather(x: Any, axis_name: str, *, axis: int = 0, tiled: bool = False) -> Any:
    """All rows of ``x``, stacked along a new axis ``axis``; with ``tiled``, concatenated along that axis.

    >>> import numpy as np, funcgrad as fg
    >>> fg.vmap(lambda x: all_gather(x, "i"), axis_name="i")(np.arange(2.0))
    array([[0., 1.],
           [0., 1.]])
    """
    size = axis_size(axis_name)

    def leaf(y: Any) -> Any:
        y = collective.all_gather(typed(y), axis_name=axis_name, axis_size=size)
        shape = aval_of(y).shape
        place = axis % (len(shape) - 1 if tiled else len(shape))
        y = move_axis(y, 0, place)
        if not tiled:
            return y
        rows = aval_of(y).shape
        return reshape(y, shape=(*rows[:place], rows[place] * rows[place + 1], *rows[place + 2 :]))

    return tree.map(leaf, x)


def axis_index(axis_name: str) -> Any:
    """The number of the row, an int64.

    >>> import numpy as np, funcgrad as fg
    >>> fg.vmap(lambda x: axis_index("i"), axis_name="i")(np.zeros(3))
    array([0, 1, 2])
    """
    axis_size(axis_name)
    return collective.axis_index(axis_name=axis_name)
