"""Reductions over axes, and cumulative ones along an axis.

The derivative of a product is written without division, so that zeros are right: d prod(x) = sum_i t_i prod_{j != i} x_j,
the product of the others being an exclusive cumulative product from the left times one from the right. A maximum shares
its tangent equally among the elements that attain it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import OperandError, OperandTypeError
from ..core.trace import Primitive
from ..core.types import Aval, dtype_of, shape_of
from . import elementwise as ew
from . import indexing, structure

__all__ = [
    "argmax", "argmin", "cummax", "cummin", "cumprod", "cumsum", "reduce_and", "reduce_max", "reduce_min", "reduce_or",
    "reduce_prod", "reduce_sum",
]  # fmt: skip


class Reduction(Primitive):
    """Drops the axes ``axes``."""

    kinds = "biufc"

    def __init__(self, name: str) -> None:
        self.name = name

    def type(self, *avals: Aval, **params: Any) -> Aval:
        (x,) = avals
        axes = params["axes"]
        if len(set(axes)) != len(axes) or not all(0 <= a < x.ndim for a in axes):
            raise OperandError(f"{self.name}: the axes {axes} are not axes of the shape {x.shape}")
        if x.dtype.kind not in self.kinds and x.dtype.name != "bfloat16":
            raise OperandTypeError(f"{self.name} does not take the dtype {x.dtype}")
        return Aval(tuple(n for i, n in enumerate(x.shape) if i not in axes), x.dtype)

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return self(args[0], axes=tuple(a + 1 for a in params["axes"])), True


def _restore(y: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """A reduced array broadcast back over the axes it lost."""
    kept = tuple(i for i in range(len(shape)) if i not in axes)
    return structure.broadcast_in_dim(y, shape=shape, dims=kept)


class ReduceSum(Reduction):
    """Sum over ``axes``."""

    linear_map = True

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self(*primals, **params), self(*tangents, **params)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        return [_restore(ct, args[0].aval.shape, params["axes"])]


class ReduceProd(Reduction):
    """Product over ``axes``."""

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        axes = params["axes"]
        y = self(x, axes=axes)
        others = self._others(x, axes)
        return y, reduce_sum(ew.mul(t, others), axes=axes)

    def _others(self, x: Any, axes: tuple[int, ...]) -> Any:
        """At each element, the product of all the others of its group."""
        shape = shape_of(x)
        if not axes:
            return structure.broadcast_in_dim(dtype_of(x).type(1), shape=shape, dims=())
        kept = [i for i in range(len(shape)) if i not in axes]
        order = (*kept, *axes)
        rows = tuple(shape[i] for i in kept)
        count = int(np.prod([shape[i] for i in axes], dtype=np.int64))
        flat = structure.reshape(structure.transpose(x, axes=order), shape=(*rows, count))
        last = len(rows)
        if count == 0:
            others = flat
        else:
            one = dtype_of(x).type(1)
            none = (0, 0, 0)
            head = structure.slice_along(flat, last, 0, count - 1)
            tail = structure.slice_along(flat, last, 1, count)
            left = structure.pad(cumprod(head, axis=last, reverse=False), one, config=(*[none] * last, (1, 0, 0)))
            right = structure.pad(cumprod(tail, axis=last, reverse=True), one, config=(*[none] * last, (0, 1, 0)))
            others = ew.mul(left, right)
        back = structure.reshape(others, shape=tuple(shape[i] for i in order))
        return structure.transpose(back, axes=tuple(sorted(range(len(order)), key=order.__getitem__)))


class ReduceExtremum(Reduction):
    """Maximum or minimum over ``axes``."""

    kinds = "biufc"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        aval = super().type(*avals, **params)
        (x,) = avals
        if aval.size and any(x.shape[a] == 0 for a in params["axes"]):
            raise OperandError(
                f"{self.name} of no elements: the shape {x.shape} is empty along the axes {params['axes']}"
            )
        return aval

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        axes, shape = params["axes"], shape_of(x)
        y = self(x, axes=axes)
        attained = ew.convert(ew.eq(x, _restore(y, shape, axes)), dtype=dtype_of(x))
        share = ew.div(attained, _restore(reduce_sum(attained, axes=axes), shape, axes))
        return y, reduce_sum(ew.mul(t, share), axes=axes)


class ReduceLogical(Reduction):
    """Logical and, or over ``axes``."""

    kinds = "b"


class ArgExtremum(Primitive):
    """The index of the first maximum or minimum along ``axis``, which is dropped."""

    def __init__(self, name: str) -> None:
        self.name = name

    def type(self, *avals: Aval, **params: Any) -> Aval:
        (x,) = avals
        axis = params["axis"]
        if not 0 <= axis < x.ndim:
            raise OperandError(f"{self.name}: axis {axis} is out of bounds for the shape {x.shape}")
        if x.shape[axis] == 0:
            raise OperandError(f"{self.name} of an empty sequence: the shape {x.shape} is empty along axis {axis}")
        return Aval(x.shape[:axis] + x.shape[axis + 1 :], np.dtype(np.int64))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self(*primals, **params), None

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return self(args[0], axis=params["axis"] + 1), True


class Cumulative(Primitive):
    """A running reduction along ``axis``, from the end with ``reverse``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def type(self, *avals: Aval, **params: Any) -> Aval:
        (x,) = avals
        if not 0 <= params["axis"] < x.ndim:
            raise OperandError(f"{self.name}: axis {params['axis']} is out of bounds for the shape {x.shape}")
        return Aval(x.shape, x.dtype)

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return self(args[0], axis=params["axis"] + 1, reverse=params.get("reverse", False)), True


class Cumsum(Cumulative):
    """y_k = x_0 + ... + x_k."""

    linear_map = True

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self(*primals, **params), self(*tangents, **params)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        return [self(ct, axis=params["axis"], reverse=not params.get("reverse", False))]


class Cumprod(Cumulative):
    """y_k = x_0 ... x_k.

    With dual numbers, (y, s) (x, t) = (y x, s x + y t): the tangents are the dual parts of the running product, which
    an associative scan takes in log2(n) steps of doubling length.
    """

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        axis, reverse = params["axis"], params.get("reverse", False)
        y = self(x, axis=axis, reverse=reverse)
        n = shape_of(x)[axis]
        step = 1
        one, zero = dtype_of(x).type(1), dtype_of(x).type(0)
        while step < n:
            # Combine each element with the one `step` before it; beyond the edge stands the neutral (1, 0).
            shift = (-step, step, 0) if reverse else (step, -step, 0)
            config = tuple(shift if i == axis else (0, 0, 0) for i in range(len(shape_of(x))))
            before, before_t = structure.pad(x, one, config=config), structure.pad(t, zero, config=config)
            x, t = ew.mul(before, x), ew.add(ew.mul(before_t, x), ew.mul(before, t))
            step *= 2
        return y, t


class Cumextremum(Cumulative):
    """Running maximum or minimum. The tangent is that of the latest element that set the record."""

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        axis, reverse = params["axis"], params.get("reverse", False)
        y = self(x, axis=axis, reverse=reverse)
        place = structure.iota(shape=shape_of(x), dtype=np.dtype(np.int64), axis=axis)
        attained = ew.eq(x, y)
        last = shape_of(x)[axis] - 1
        if reverse:
            latest = cummin(ew.select(attained, place, last), axis=axis, reverse=True)
        else:
            latest = cummax(ew.select(attained, place, 0), axis=axis, reverse=False)
        return y, indexing.take_along(t, latest, axis)


reduce_sum = ReduceSum("reduce_sum")
reduce_prod = ReduceProd("reduce_prod")
reduce_max = ReduceExtremum("reduce_max")
reduce_min = ReduceExtremum("reduce_min")
reduce_and = ReduceLogical("reduce_and")
reduce_or = ReduceLogical("reduce_or")
argmax = ArgExtremum("argmax")
argmin = ArgExtremum("argmin")
cumsum = Cumsum("cumsum")
cumprod = Cumprod("cumprod")
cummax = Cumextremum("cummax")
cummin = Cumextremum("cummin")
