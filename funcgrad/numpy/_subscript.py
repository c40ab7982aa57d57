"""What ``x[index]`` means: an index taken apart into a basic and an advanced part.

NumPy's indexing is the composition of two maps. The *basic* part slices, reverses and drops axes: it is a strided view
``B(x)``. The *advanced* part gathers from ``B(x)`` along some of its axes with integer arrays that share one broadcast
shape ``S``. The result has S where the arrays stand if they are next to each other, else in front; new axes of size 1
come last. Reading composes the two; writing goes back through them: gather becomes scatter, slice becomes update.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from types import EllipsisType, NoneType
from typing import Any

import numpy as np

from ..core.errors import ConcretizationError
from ..core.source import user_source
from ..core.trace import Tracer
from ..core.types import dtype_of
from ..primitives import (
    add,
    and_,
    broadcast_in_dim,
    convert,
    dynamic_update_slice,
    gather,
    ge,
    lt,
    max_,
    min_,
    remainder,
    reshape,
    rev,
    scatter,
    select,
    slice_,
    transpose,
)
from ._promote import all_plain, asarray, eager_allowed, expand_to

__all__ = [
    "MODES",
    "Subscript",
    "broadcast",
    "getitem",
    "index_error",
    "is_basic",
    "is_mask",
    "is_plain",
    "parse",
    "resolve",
]

MODES = ("raise", "clip", "wrap", "fill", "drop")
_INT64 = np.dtype(np.int64)

Shape = tuple[int, ...]


def index_error(text: str) -> IndexError:
    """An IndexError in NumPy's words that ends with the user's line."""
    source = user_source()
    return IndexError(f"{text}\n  at {source.describe()}" if source is not None else text)


def broadcast(x: Any, shape: Shape) -> Any:
    """``x`` broadcast to ``shape`` by NumPy's rule; plain arrays stay plain."""
    have = np.shape(x)
    if have == shape:
        return x
    if not isinstance(x, Tracer):
        return np.broadcast_to(x, shape)
    return expand_to(x, shape)


def is_plain(x: Any) -> bool:
    """Whether ``x`` is a value that NumPy holds, so that it can be looked at while tracing."""
    return isinstance(x, (np.ndarray, np.generic, int))


def resolve(index: Any, size: int, axis: int, mode: str, *, negative: bool = True) -> tuple[Any, Any]:
    """An integer index of an axis of ``size`` as int64 in range, and for ``fill`` which entries were in range.

    With ``negative`` an index counts from the end if it is negative. ``raise`` checks plain indices here and leaves
    traced ones to the primitive, which checks when it runs.
    """
    if dtype_of(index) != _INT64:
        index = index.astype(_INT64) if is_plain(index) else convert(index, dtype=_INT64)
    if mode == "raise":
        if is_plain(index) and index.size:
            low, high = int(index.min()), int(index.max())
            if low < -size or high >= size:
                wrong = low if low < -size else high
                raise index_error(f"index {wrong} is out of bounds for axis {axis} with size {size}")
        return index, None
    if mode == "wrap":
        return _binary(remainder, index, max(size, 1)), None
    if negative:
        index = _choose(_binary(lt, index, 0), _binary(add, index, size), index)
    if mode == "clip":
        return _binary(max_, _binary(min_, index, size - 1), 0), None
    inside = _binary(and_, _binary(ge, index, 0), _binary(lt, index, size))
    return _choose(inside, index, 0), inside


_NUMPY = {lt: np.less, ge: np.greater_equal, add: np.add, max_: np.maximum, min_: np.minimum, and_: np.logical_and}
_NUMPY[remainder] = np.remainder


def _binary(primitive: Any, x: Any, y: Any) -> Any:
    """Arithmetic on indices: on plain ones it is done at once, so that they stay plain."""
    if is_plain(x) and is_plain(y):
        return _NUMPY[primitive](x, y)
    return primitive(x, np.int64(y) if isinstance(y, int) else y)


def _choose(pred: Any, x: Any, y: Any) -> Any:
    if is_plain(pred) and is_plain(x) and is_plain(y):
        return np.where(pred, x, y)
    return select(pred, x, np.int64(y) if isinstance(y, int) else y)


class Subscript:
    """An index taken apart, for an operand of one shape.

    ``base``: the operand's shape with an axis of size 1 for each boolean scalar. ``start``, ``limit``, ``stride``,
    ``reverse`` and ``dropped`` speak of its axes. ``sub``: the shape of the basic part. ``axes`` of it are indexed by
    ``arrays``, all of shape ``index_shape``, which stands at ``position`` in the result; ``inside`` masks the entries
    that were in range, or is None. ``shape``: of the result.
    """

    __slots__ = (
        "arrays", "axes", "base", "dropped", "index_shape", "inside", "limit", "operand", "position", "reverse",
        "shape", "start", "stride", "sub",
    )  # fmt: skip

    operand: Shape
    base: Shape
    start: Shape
    limit: Shape
    stride: Shape
    reverse: Shape
    dropped: Shape
    sub: Shape
    arrays: Sequence[Any]
    axes: Shape
    index_shape: Shape
    position: int
    inside: Any
    shape: Shape

    @property
    def whole(self) -> bool:
        """Whether the basic part is all of the operand, in its order."""
        return self.limit == self.base and not any(self.start) and not self.reverse

    def view(self, x: Any) -> Any:
        """The basic part."""
        return self._view(x, self.sub)

    def _view(self, x: Any, shape: Shape) -> Any:
        if self.base != self.operand:
            x = reshape(x, shape=self.base)
        if any(self.start) or self.limit != self.base or any(s != 1 for s in self.stride):
            x = slice_(x, start=self.start, limit=self.limit, stride=self.stride)
        if self.reverse:
            x = rev(x, axes=self.reverse)
        return x if x.shape == shape else reshape(x, shape=shape)

    def read(self, x: Any, fill_value: Any = None) -> Any:
        """``x[index]``; entries out of range are ``fill_value``, a scalar of x's dtype."""
        if not self.axes:
            return self._view(x, self.shape)
        result = self._gather(self.view(x))
        if self.inside is not None:
            mask = self.inside
            extra = result.ndim - np.ndim(mask)
            if extra:
                mask = broadcast_in_dim(mask, shape=result.shape, dims=tuple(range(np.ndim(mask))))
            result = select(mask, result, fill_value)
        return self._from_front(result)

    def _gather(self, sub: Any) -> Any:
        """The advanced part, the axes of the index first."""
        if self.inside is not None and 0 in (sub.shape[a] for a in self.axes):
            # There is nothing to gather from, and every entry is out of range: any values of the right shape will do.
            sub = broadcast(dtype_of(sub).type(0), tuple(1 if a in self.axes else n for a, n in enumerate(sub.shape)))
        return gather(sub, *self.arrays, axes=self.axes)

    def _from_front(self, x: Any) -> Any:
        """Move the axes of the index from the front to their place, and add the new axes."""
        k = len(self.index_shape)
        if self.position and k:
            p = self.position
            x = transpose(x, axes=(*range(k, k + p), *range(k), *range(k + p, x.ndim)))
        return x if x.shape == self.shape else reshape(x, shape=self.shape)

    def to_front(self, value: Any) -> Any:
        """The inverse: from the shape of the result to that of an update of a scatter."""
        k, p = len(self.index_shape), self.position
        others = [n for a, n in enumerate(self.sub) if a not in self.axes]
        placed = (*others[:p], *self.index_shape, *others[p:])
        if value.shape != placed:
            value = reshape(value, shape=placed)
        if p and k:
            value = transpose(value, axes=(*range(p, p + k), *range(p), *range(p + k, len(placed))))
        return value

    def write_view(self, x: Any, new: Any) -> Any:
        """``x`` with its basic part replaced by ``new``."""
        base = tuple(len(range(lo, hi, step)) for lo, hi, step in zip(self.start, self.limit, self.stride, strict=True))
        if new.shape != base:
            new = reshape(new, shape=base)
        if self.reverse:
            new = rev(new, axes=self.reverse)
        if self.base != self.operand:
            x = reshape(x, shape=self.base)
        if base != self.base:
            if any(step != 1 for step in self.stride):
                x = self._write_strided(x, new)
            else:
                x = dynamic_update_slice(x, new, *(np.int64(lo) for lo in self.start))
        else:
            x = new
        return x if x.shape == self.operand else reshape(x, shape=self.operand)

    def _write_strided(self, x: Any, new: Any) -> Any:
        """Put ``new`` into a strided window: a scatter along the axes of which only a part is taken."""
        parts = list(zip(self.start, self.limit, self.stride, strict=True))
        axes = tuple(a for a, n in enumerate(self.base) if parts[a] != (0, n, 1))
        grids = np.meshgrid(*(np.arange(*parts[a]) for a in axes), indexing="ij")
        others = tuple(a for a in range(x.ndim) if a not in axes)
        if (*axes, *others) != tuple(range(x.ndim)):
            new = transpose(new, axes=(*axes, *others))
        return scatter(x, new, *grids, axes=axes, kind="set", unique=True)


def parse(shape: Shape, index: Any, mode: str = "raise") -> Subscript:
    """Take ``index`` apart for an operand of ``shape``.

    Raises IndexError in NumPy's words for what does not fit, ConcretizationError for a traced boolean mask.
    """
    entries = [_entry(e) for e in (index if isinstance(index, tuple) else (index,))]
    entries = _filled_up(entries, shape)
    # Integers count as arrays in NumPy's rule for the place of S as soon as there is an array of rank >= 1 or a mask.
    advanced = any(not isinstance(e, (slice, int, NoneType, EllipsisType)) for e in entries)

    base: list[int] = []
    start: list[int] = []
    limit: list[int] = []
    stride: list[int] = []
    reverse: list[int] = []
    dropped: list[int] = []
    arrays: list[Any] = []
    indexed: list[int] = []
    masks: list[Any] = []
    # For each dimension of the result: its size, or None for the place of S. ``run`` follows NumPy's adjacency rule:
    # whether S is still to come, open for a neighbour, closed by a slice or a new axis, or moved to the front.
    dims: list[int | None] = []
    run = "before"
    sliced = position = axis = 0

    def take_axis(lo: int, hi: int, step: int) -> None:
        base.append(shape[axis])
        start.append(lo)
        limit.append(hi)
        stride.append(step)

    def mark_advanced() -> None:
        nonlocal run, position
        if run == "before":
            dims.append(None)
            run, position = "open", sliced
        elif run == "closed":
            dims.remove(None)
            dims.insert(0, None)
            run, position = "front", 0

    for e in entries:
        if e is None or e is Ellipsis or isinstance(e, slice):
            if run == "open":
                run = "closed"
        elif advanced:
            mark_advanced()
        if e is Ellipsis:
            continue
        if e is None:
            dims.append(1)
        elif isinstance(e, slice):
            lo, hi, step, n = _slice(e, shape[axis])
            if not n:
                lo = hi = 0
            elif step > 0:
                hi = lo + (n - 1) * step + 1
            else:
                if n > 1:
                    reverse.append(len(base))
                lo, hi, step = lo + (n - 1) * step, lo + 1, -step
            take_axis(lo, hi, step if n > 1 else 1)
            dims.append(n)
            sliced += 1
            axis += 1
        elif isinstance(e, int):
            place = _in_range(e, shape[axis], axis, mode)
            if place is None:
                indexed.append(len(base))
                array, inside = resolve(np.asarray(e), shape[axis], axis, mode)
                arrays.append(array)
                masks.append(inside)
                take_axis(0, shape[axis], 1)
                if not advanced:
                    advanced = True
                    mark_advanced()
            else:
                dropped.append(len(base))
                take_axis(place, place + 1, 1)
            axis += 1
        elif dtype_of(e) == np.bool_ and not e.ndim:
            base.append(1)
            start.append(0)
            limit.append(1)
            stride.append(1)
            indexed.append(len(base) - 1)
            arrays.append(np.zeros(int(e), _INT64))
            masks.append(None)
        else:
            for array in _arrays(e, shape, axis):
                place, inside = resolve(array, shape[axis], axis, mode)
                indexed.append(len(base))
                arrays.append(place)
                masks.append(inside)
                take_axis(0, shape[axis], 1)
                axis += 1

    plan = Subscript()
    plan.operand, plan.base = shape, tuple(base)
    plan.start, plan.limit, plan.stride = tuple(start), tuple(limit), tuple(stride)
    plan.reverse, plan.dropped = tuple(reverse), tuple(dropped)
    sizes = [len(range(lo, hi, step)) for lo, hi, step in zip(start, limit, stride, strict=True)]
    plan.sub = tuple(n for a, n in enumerate(sizes) if a not in dropped)
    plan.axes = tuple(a - sum(d < a for d in dropped) for a in indexed)
    plan.index_shape = _common_shape(arrays)
    plan.arrays = [broadcast(a, plan.index_shape) for a in arrays]
    plan.inside = None
    for mask in masks:
        if mask is not None:
            mask = broadcast(mask, plan.index_shape)
            plan.inside = mask if plan.inside is None else _binary(and_, plan.inside, mask)
    plan.position = position
    plan.shape = tuple(m for n in dims for m in (plan.index_shape if n is None else (n,)))
    return plan


def _entry(e: Any) -> Any:
    """One entry of an index as None, Ellipsis, a slice, an int, or an array (plain or traced; masks are plain)."""
    if e is None or e is Ellipsis or isinstance(e, slice):
        return e
    if isinstance(e, (bool, np.bool_)):
        return np.asarray(e)
    if isinstance(e, (int, np.integer)):
        return int(e)
    if isinstance(e, Tracer):
        if e.dtype == np.bool_:
            return np.asarray(concrete_mask(e))
        if e.dtype.kind not in "iu":
            raise _not_an_index(e)
        return e
    if isinstance(e, (list, tuple)):
        e = np.asarray(e) if all_plain(e) else asarray(e)
        return _entry(e) if e.size else np.zeros(e.shape, _INT64)
    if isinstance(e, np.ndarray):
        return _plain_array(e)
    if hasattr(e, "shape") and hasattr(e, "dtype"):
        if dtype_of(e).kind not in "iub":
            raise _not_an_index(e)
        return e
    try:
        return operator.index(e)
    except TypeError:
        raise _not_an_index(e) from None


def _plain_array(e: Any) -> Any:
    if e.dtype.kind not in "iub":
        raise _not_an_index(e)
    return int(e) if e.ndim == 0 and e.dtype.kind != "b" else e


def _not_an_index(e: Any) -> IndexError:
    if getattr(e, "ndim", 0):
        return index_error(f"arrays used as indices must be of integer (or boolean) type, not {e.dtype.name}")
    return index_error(
        "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays are valid "
        f"indices, not {e!r}"
    )


def concrete_mask(mask: Tracer) -> Any:
    """The value of a traced boolean mask, where it has one."""
    return mask.concrete(
        "indexing with a boolean mask (as many entries as are True: write fnp.where(mask, x, 0) to keep the shape, or "
        "fnp.nonzero(mask, size=n) for n indices)"
    )


def _filled_up(entries: list[Any], shape: Shape) -> list[Any]:
    """The entries with full slices after the ellipsis, or else at the end, for the axes that no entry speaks of."""
    used = 0
    place = None
    for i, e in enumerate(entries):
        if e is Ellipsis:
            if place is not None:
                raise index_error("an index can only have a single ellipsis ('...')")
            place = i
        elif e is not None:
            used += e.ndim if isinstance(e, np.ndarray) and e.dtype == np.bool_ else 1
    if used > len(shape):
        raise index_error(f"too many indices for array: array is {len(shape)}-dimensional, but {used} were indexed")
    fill = [slice(None)] * (len(shape) - used)
    if place is None:
        return entries + fill
    # The ellipsis stays as a mark: even one that stands for no axis parts the arrays around it.
    return entries[: place + 1] + fill + entries[place + 1 :]


def _slice(s: slice, size: int) -> tuple[int, int, int, int]:
    """First index, stop, step and length of a slice of an axis."""
    for bound in (s.start, s.stop, s.step):
        if isinstance(bound, Tracer):
            bound.concrete(
                "a bound of a slice (lax.dynamic_slice_in_dim takes a window of a static size at a traced start)"
            )
    lo, hi, step = s.indices(size)
    return lo, hi, step, len(range(lo, hi, step))


def _in_range(i: int, size: int, axis: int, mode: str) -> int | None:
    """A static index counted from the front; None if it is out of range and that is to be filled."""
    if -size <= i < size:
        return i + size if i < 0 else i
    if mode == "clip" and size:
        return 0 if i < 0 else size - 1
    if mode == "wrap" and size:
        return i % size
    if mode in ("fill", "drop"):
        return None
    raise index_error(f"index {i} is out of bounds for axis {axis} with size {size}")


def _arrays(e: Any, shape: Shape, axis: int) -> list[Any]:
    """The integer arrays that an array entry stands for: itself, or those of the True entries of a mask."""
    if dtype_of(e) != np.bool_:
        return [e]
    for k, n in enumerate(e.shape):
        if n != shape[axis + k]:
            raise index_error(
                f"boolean index did not match indexed array along axis {axis + k}; size of axis is {shape[axis + k]} "
                f"but size of corresponding boolean axis is {n}"
            )
    return list(e.nonzero())


def _common_shape(arrays: Sequence[Any]) -> Shape:
    try:
        return np.broadcast_shapes(*(a.shape for a in arrays))
    except ValueError:
        shapes = " ".join(str(a.shape) for a in arrays)
        raise index_error(
            f"shape mismatch: indexing arrays could not be broadcast together with shapes {shapes}"
        ) from None


def is_mask(x: Any) -> bool:
    """Whether ``x`` is a traced boolean mask without a concrete value."""
    if not isinstance(x, Tracer) or x.dtype != np.bool_:
        return False
    try:
        x.concrete("")
    except ConcretizationError:
        return True
    return False


def is_basic(index: Any) -> bool:
    """Whether NumPy gives a view for the index: integers, slices, Ellipsis and newaxis. A traced scalar is an integer."""
    for e in index if type(index) is tuple else (index,):
        if type(e) is int or isinstance(e, slice) or e is None or e is Ellipsis or isinstance(e, np.integer):
            continue
        if isinstance(e, Tracer) and not e.shape and e.dtype.kind in "iu":
            continue
        return False
    return True


def getitem(x: Any, index: Any) -> Any:
    """``x[index]`` for everything that NumPy takes as an index, traced or not.

    Integers, slices, Ellipsis, newaxis, boolean masks, integer arrays and lists, and tuples that mix them. A static
    index that is out of range raises IndexError at once, a traced one when the program runs. A boolean mask must have
    a concrete value, since the shape of the result depends on it.
    """
    if isinstance(x, np.ndarray) and all_plain((index,)) and eager_allowed():
        return x[index]
    shape = x.shape
    if shape:
        # The two commonest cases, without the general parsing.
        n, rest = shape[0], len(shape) - 1
        if isinstance(index, slice):
            lo, hi, step, count = _slice(index, n)
            if step > 0 and count:
                if count == n:
                    return x
                return slice_(x, start=(lo, *(0,) * rest), limit=(hi, *shape[1:]), stride=(step, *(1,) * rest))
        elif type(index) is int and -n <= index < n:
            i = index % n
            row = slice_(x, start=(i, *(0,) * rest), limit=(i + 1, *shape[1:]), stride=(1,) * (rest + 1))
            return reshape(row, shape=shape[1:])
    return parse(shape, index).read(x)
