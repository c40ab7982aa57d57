"""Assignment: ``y[i] = v``, ``y += v``, and NumPy's functions that write into an array, on traced values.

An array that the traced function made itself is written to by *rebinding*: the object ``y`` stands for
``y.at[i].set(v)`` from then on. What was computed from it before keeps the old value, on the tape of a gradient too, so
this is NumPy's meaning seen from inside the function and a pure function seen from outside. From that follows:

* ``s += 1`` on a scalar (a traced value without axes, as ``x.sum()``) gives a new object, as for NumPy's scalars; only
  ``fnp.zeros(())`` and its kin are arrays without axes. ``s[()] = v`` on a scalar raises a TypeError.
* An argument, or what the function closes over, is not written to: NumPy would change the caller's array.
* Writing to a view made by a basic index writes to its base as well, up to the array that holds the memory. Writing to any
  other view (``reshape``, ``ravel``, ``.T``, ``.real``) makes its base stale, since NumPy may have copied. Either makes
  stale all other views that overlap (:mod:`..core.memory`): they raise when they are used.
* ``y op= v`` is computed in the dtype of ``y op v`` and cast to that of ``y`` within its kind, as NumPy does, or raises
  NumPy's error. ``y[i] = v`` casts within the kind too: where NumPy would truncate a float to an integer it raises.

A plain array cannot hold a traced value, and NumPy asks nobody before it writes: functions that create arrays
(``fnp.zeros``, ``np.zeros_like(x)``) therefore give a value of the trace at work (:func:`own`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import primitives as p
from ..core.errors import InPlaceError
from ..core.memory import Memory, check_writable, is_static_basic, part, view_of
from ..core.source import user_source
from ..core.trace import INTO_PLAIN, Trace, Tracer, current_trace
from ..core.types import aval_of
from ..transforms.reverse import LinearTrace
from ._at import at
from ._grids import fill_diagonal
from ._indexing import put_along_axis
from ._promote import asarray, convert_to, expand_to
from ._sorting import partition, sort
from ._subscript import getitem, is_basic

__all__ = ["METHODS", "UPDATES", "WRITING", "augmented", "read", "write", "write_at", "write_out"]


# Reading --------------------------------------------------------------------------------------------------------------


def read(x: Tracer, index: Any) -> Any:
    """``x[index]``: a view for a basic index, a scalar if that leaves no axis."""
    y = getitem(x, index)
    if not isinstance(y, Tracer):
        return y
    if type(index) is slice:
        return view_of(y, x, index)
    if y.shape or index is Ellipsis or (type(index) is tuple and any(e is Ellipsis for e in index)):
        if is_basic(index):
            return view_of(y, x, index)
        return y.renewed() if y is x else y
    return y


# Writing --------------------------------------------------------------------------------------------------------------


def _home() -> Trace:
    """The trace of the function at work: in a rule of reverse mode, the one around the tape."""
    trace = current_trace()
    while isinstance(trace, LinearTrace) and trace.parent is not None:
        trace = trace.parent
    return trace


def _is_scalar(x: Tracer) -> bool:
    return not x.shape and type(getattr(x, "_memory", None)) is not Memory


def _check(x: Any, what: str, instead: str) -> None:
    """Raise if ``x`` must not be written to."""
    if not isinstance(x, Tracer):
        raise InPlaceError(f"{what} writes a traced value into {_kind(x)}, which cannot hold one; {INTO_PLAIN}")
    if _is_scalar(x):
        raise InPlaceError(
            f"{what} writes to a scalar of type {x.aval}, which is immutable, as NumPy's scalars are; write `x = value`"
        )
    home = current_trace()
    check_writable(x, home if x._trace is home else _home(), what, instead)


def _kind(x: Any) -> str:
    return "a plain array" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"


def _store(x: Tracer, new: Any, index: Any = None) -> None:
    """Let ``x`` stand for ``new``, which differs from it at ``index``, and its bases for what they are then."""
    if not (isinstance(new, Tracer) and new._trace is x._trace):
        new = p.copy(new)
    memory = getattr(x, "_memory", None)
    if memory is None:
        x.rebind(new)
        return
    source = user_source()
    root = Memory.root(x)
    # Where everything was before the write: a view keeps its place, however often its array is rebound.
    views: dict[int, Any] | None = {}
    region = part(x, views) if len(root.members) > 1 else None
    if region is not None and index is not None and is_static_basic(index) and region.shape == x.shape:
        entries = index if type(index) is tuple else (index,)
        region = region[entries if any(e is Ellipsis for e in entries) else (*entries, ...)]
    written = [(x, new)]
    while memory.base is not None and memory.index is not None:
        base = memory.base
        new = at(base)[memory.index].set(new)
        written.append((base, new))
        memory = Memory.of(base)
    if memory.base is not None:
        # Not a slice of its base, from which it parts here: nobody knows whether NumPy would have made a copy.
        views = None
    keep = [t for t, _ in written]
    root.expire(keep, region, views, source)
    if memory.base is not None:
        memory.base = None
        for t in keep:
            memory.join(t)
    for t, value in written:
        t.rebind(value)


def write(x: Tracer, index: Any, value: Any) -> None:
    """``x[index] = value``."""
    if isinstance(value, Tracer):
        # `y[i] += v` reads the view y[i], writes to it, which writes to y, and then assigns it to where it is.
        memory = getattr(value, "_memory", None)
        if type(memory) is Memory and memory.base is x and memory.index is index and value._trace is x._trace:
            return
    _check(x, "x[i] = v", "`x = x.copy()` first, or `x = x.at[i].set(v)` (and `x = x.at[i].add(v)` for `x[i] += v`)")
    _store(x, at(x)[index].set(value), index)


def augmented(symbol: str, operator: Callable[[Any, Any], Any], ufunc: np.ufunc) -> Callable[[Tracer, Any], Any]:
    """The operator ``x op= v`` of an operator."""

    def in_place(self: Tracer, other: Any) -> Any:
        if not self.shape and _is_scalar(self):
            return operator(self, other)
        what = f"`x {symbol}= v`"
        _check(self, what, f"`x = x {symbol} v`, or `x = x.copy()` first")
        if ufunc is np.matmul and (other.ndim if isinstance(other, Tracer) else np.ndim(other)) < 2:
            raise ValueError(
                "inplace matrix multiplication requires the first operand to have at least one and the second at least "
                "two dimensions."
            )
        y = operator(self, other)
        if y is not NotImplemented:
            _store(self, fitted(self, y, ufunc, other))
            return self
        return y

    return in_place


def fitted(x: Tracer, y: Any, ufunc: np.ufunc, *operands: Any) -> Any:
    """The result ``y`` of a ufunc, cast to be written into ``x``. Raises NumPy's own errors where it does not fit."""
    if y.dtype != x.dtype and not np.can_cast(y.dtype, x.dtype, "same_kind"):
        empty = [v if type(v) in (int, float, complex) else np.empty((0, 0), aval_of(v).dtype) for v in operands]
        first = [] if len(operands) == ufunc.nin else [np.empty((0, 0), x.dtype)]
        ufunc(*first, *empty, out=np.empty((0, 0), x.dtype))
    if y.shape != x.shape:
        if len(y.shape) > len(x.shape) or any(n not in (1, m) for n, m in zip(y.shape[::-1], x.shape[::-1])):
            raise ValueError(
                f"non-broadcastable output operand with shape {x.shape} doesn't match the broadcast shape {y.shape}"
            )
        y = expand_to(y, x.shape)
    return convert_to(y, x.dtype, strong=True)


def write_out(ufunc: np.ufunc, function: Any, inputs: Any, out: Any, keywords: Any) -> Any:
    """``np.add(x, y, out=out)`` of traced values."""
    name = ufunc.__name__
    (out,) = out if len(out) == 1 else (None,)
    if not isinstance(out, Tracer):
        raise InPlaceError(
            f"np.{name} was asked to write a traced value into a plain array (out=, or an operator like `a += x`); write "
            f"`a = a + x`, or `a = fnp.{name}(...)`; {INTO_PLAIN}"
        )
    what = f"np.{name}(..., out=x)"
    _check(out, what, f"`x = fnp.{name}(...)`")
    y = function(*inputs, **keywords)
    _store(out, fitted(out, y if isinstance(y, Tracer) else asarray(y), ufunc, *inputs))
    return out


#: The ufuncs whose method ``at`` is an update of ``x.at[i]``.
UPDATES = {
    "add": "add",
    "subtract": "subtract",
    "multiply": "multiply",
    "divide": "divide",
    "power": "power",
    "minimum": "min",
    "maximum": "max",
}


def write_at(ufunc: np.ufunc, x: Any, index: Any, *values: Any) -> None:
    """``np.add.at(x, index, values)``."""
    name = ufunc.__name__
    _check(x, f"np.{name}.at", f"`x = x.at[i].{UPDATES[name]}(v)`")
    _store(x, getattr(at(x)[index], UPDATES[name])(*values), index)


# NumPy's functions that write into their first argument ----------------------------------------------------------------


def _copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    _check(dst, "np.copyto", "`x = x.copy()` first, or `x = fnp.where(mask, values, x)`")
    if not np.can_cast(aval_of(asarray(src)).dtype, dst.dtype, casting) and type(src) not in (int, float, complex):
        np.copyto(np.empty(0, dst.dtype), np.empty(0, aval_of(asarray(src)).dtype), casting)
    if where is True:
        write(dst, ..., src)
    else:
        src = convert_to(asarray(src) if type(src) in (list, tuple) else src, dst.dtype, strong=True)
        src = src if aval_of(src).shape == dst.shape else expand_to(asarray(src), dst.shape)
        where = asarray(where)
        mask = where if aval_of(where).shape == dst.shape else expand_to(where, dst.shape)
        _store(dst, p.select(mask, src, dst))


def _repeated(values: Any, n: int) -> Any:
    """``values``, flattened and repeated until there are ``n``."""
    values = asarray(values)
    size = aval_of(values).size
    flat = p.reshape(values, shape=(size,)) if aval_of(values).ndim != 1 else values
    return flat if size == n else getitem(flat, np.arange(n) % size)


def _put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    _check(a, "np.put", "`x = x.copy()` first, or `x = x.at[i].set(values)`")
    ind = asarray(ind)
    ind = p.reshape(ind, shape=(aval_of(ind).size,))
    if mode == "clip":
        ind = p.max_(p.min_(convert_to(ind, np.dtype(np.int64)), np.int64(a.size - 1)), np.int64(0))
    if not aval_of(ind).size:
        return
    flat = p.reshape(a, shape=(a.size,))
    new = at(flat)[ind].set(_repeated(v, aval_of(ind).size), mode=None if mode == "clip" else mode)
    _store(a, p.reshape(new, shape=a.shape))


def _putmask(a: Any, mask: Any, values: Any) -> None:
    _check(a, "np.putmask", "`x = fnp.where(mask, values, x)`")
    values = p.reshape(_repeated(values, a.size), shape=a.shape)
    _copyto(a, values, where=convert_to(asarray(mask), np.dtype(np.bool_)))


def _place(arr: Any, mask: Any, vals: Any) -> None:
    _check(arr, "np.place", "`x = fnp.where(mask, values, x)`")
    mask = asarray(mask)
    if isinstance(mask, Tracer):
        mask = mask.concrete("np.place, which counts the entries of its mask,", "np.putmask takes values by position")
    _put(arr, np.flatnonzero(mask), vals)


def _fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    _check(a, "np.fill_diagonal", "`x = fnp.fill_diagonal(x, value)`")
    _store(a, fill_diagonal(a, val, wrap))


def _put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None = -1) -> None:
    _check(arr, "np.put_along_axis", "`x = fnp.put_along_axis(x, indices, values, axis)`")
    new = put_along_axis(arr, indices, values, axis)
    _store(arr, new if new.shape == arr.shape else p.reshape(new, shape=arr.shape))


#: NumPy's functions that write into their first argument, by name.
WRITING: dict[str, Callable[..., None]] = {
    "copyto": _copyto,
    "fill_diagonal": _fill_diagonal,
    "place": _place,
    "put": _put,
    "put_along_axis": _put_along_axis,
    "putmask": _putmask,
}


def _fill(self: Tracer, value: Any) -> None:
    _check(self, "x.fill()", "`x = fnp.full_like(x, value)`")
    write(self, ..., value)


def _through(name: str, function: Callable[..., Any], instead: str) -> Callable[..., None]:
    """The method of ndarray that replaces an array by ``function`` of it."""

    def method(self: Tracer, *args: Any, **keywords: Any) -> None:
        _check(self, f"x.{name}()", f"`{instead}`")
        _store(self, function(self, *args, **keywords))

    return method


#: The methods of ndarray that write into it.
METHODS: dict[str, Callable[..., None]] = {
    "fill": _fill,
    "partition": _through("partition", partition, "x = fnp.partition(x, kth)"),
    "put": _put,
    "sort": _through("sort", sort, "x = fnp.sort(x)"),
}
