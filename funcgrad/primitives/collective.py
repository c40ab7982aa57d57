"""Operations over an axis that vmap has named.

``vmap(f, axis_name="i")`` lets f speak of all rows at once. Batching with that name resolves the primitive by its
``collect`` rule; any other batching maps over it as over an elementwise operation. Each is defined by its rows:

    psum: y_i = sum_j x_j          all_gather: y_i = (x_0, x_1, ...)          axis_index: y_i = i

so that the transpose of ``psum`` is ``psum``, and that of ``all_gather`` is ``psum`` and taking the own row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from ..core.errors import TransformError
from ..core.ir import Jaxpr, subjaxprs
from ..core.trace import Primitive
from ..core.types import Aval, dtype_of
from . import elementwise as ew
from . import indexing, reduction, structure

__all__ = ["all_gather", "axis_index", "pmax", "psum", "speaks_of"]


class Collective(Primitive):
    """A primitive over the axis ``axis_name``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def type(self, *avals: Aval, **params: Any) -> Aval:
        return avals[0].strong()

    def axis_names(self, params: dict[str, Any]) -> Iterable[str]:
        return (params["axis_name"],)

    def collect(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, bool]:
        """The result for all rows, and whether it differs between them."""
        raise NotImplementedError

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return self(*args, **params), True

    def expand(self, *args: Any, **params: Any) -> NoReturn:
        raise TransformError(
            f"lax.{self.name} over the axis name {params['axis_name']!r}, which no vmap around it binds; "
            f"write vmap(f, axis_name={params['axis_name']!r})"
        )


class Psum(Collective):
    """The sum over all rows."""

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self(*primals, **params), self(*tangents, **params)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        return [self(ct, **params)]

    def collect(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, bool]:
        (x,) = args
        return (reduction.reduce_sum(x, axes=(0,)) if batched[0] else ew.mul(x, dtype_of(x).type(size))), False


class Pmax(Collective):
    """The maximum over all rows; equal ones share the tangent."""

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        y = self(x, **params)
        attained = ew.convert(ew.eq(x, y), dtype=dtype_of(x))
        return y, psum(ew.mul(t, ew.div(attained, psum(attained, **params))), **params)

    def collect(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, bool]:
        (x,) = args
        return (reduction.reduce_max(x, axes=(0,)) if batched[0] else x), False


class AllGather(Collective):
    """All rows, stacked along a new leading axis of ``axis_size``."""

    def type(self, *avals: Aval, **params: Any) -> Aval:
        return Aval((params["axis_size"], *avals[0].shape), avals[0].dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self(*primals, **params), self(*tangents, **params)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        name = params["axis_name"]
        total = psum(ct, axis_name=name)
        return [indexing.gather(total, axis_index(axis_name=name), axes=(0,))]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return structure.move_axis(self(*args, **params), 1, 0), True

    def collect(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, bool]:
        (x,) = args
        return (x if batched[0] else structure.repeat_rows(x, size)), False


class AxisIndex(Collective):
    """The number of the row."""

    def type(self, *avals: Aval, **params: Any) -> Aval:
        return Aval((), np.dtype(np.int64))

    def collect(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, bool]:
        return structure.iota(shape=(size,), dtype=np.dtype(np.int64), axis=0), True


def speaks_of(name: str, primitive: Primitive, params: dict[str, Any]) -> bool:
    """Whether an application mentions the axis ``name``, by itself or in a jaxpr that it holds."""
    return name in primitive.axis_names(params) or any(_mentions(name, j) for j in subjaxprs(params))


def _mentions(name: str, jaxpr: Jaxpr) -> bool:
    key = ("mentions", name)
    if key not in jaxpr.memo:
        jaxpr.memo[key] = any(speaks_of(name, e.primitive, e.params) for e in jaxpr.eqns)
    return bool(jaxpr.memo[key])


psum = Psum("psum")
pmax = Pmax("pmax")
all_gather = AllGather("all_gather")
axis_index = AxisIndex("axis_index")
