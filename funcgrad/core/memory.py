"""Which tracers share memory, as NumPy's arrays would: what assignment to one of them means for the others.

A traced value never changes. What changes by ``y[i] = v`` is the Python object ``y``: from then on it stands for another
value, and all that was computed from it before keeps the old one. Two names of one object are the same array, as in
NumPy. Two objects are not, except that in NumPy a *view* (a slice, a transpose, a reshape) is a window into the memory
of its base. So a tracer that is a view of another has a :class:`Memory` that says so:

* A tracer without one is an array of its own if it has axes, else a scalar, which is immutable as NumPy's scalars are.
* :data:`FOREIGN` is the memory of arguments, and of their views: NumPy would write into the caller's array.
* Writing to memory that others share makes each of them stale whose part overlaps (:meth:`Memory.expire`): its trace
  becomes an :class:`Expired` one, so that every use of it raises, naming the line of the view and that of the write.

Nothing of this is looked at by operations. A view costs a record, a write a look at the records.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import InPlaceError, StaleViewError
from .source import Source, user_source
from .trace import FOREIGN, Trace, Tracer

__all__ = ["Memory", "is_static_basic", "view_of"]


class Expired(Trace):
    """Where tracers go whose memory was written to through another one."""

    ended = True

    def __init__(self, made: Source | None, written: Source | None, is_view: bool) -> None:
        self.made = made
        self.written = written
        self.is_view = is_view

    def use_error(self, tracer: Tracer) -> Exception:
        made, written = (s.describe() if s else "an unknown line" for s in (self.made, self.written))
        if self.is_view:
            return StaleViewError(
                f"a view of type {tracer.aval} was used after the array that it is a view of was written to; in NumPy it "
                f"may show the new values.\n  the view was made at {made}\n  the array was written to at {written}\n"
                f"Write `.copy()` where the view is made to keep the old values, or make the view again after the write"
            )
        return StaleViewError(
            f"an array of type {tracer.aval} was used after a view of it was written to, of which NumPy does not promise "
            f"that it shares memory (reshape, ravel), or which is no slice.\n  the view was made at {made}\n  it was "
            f"written to at {written}\nWrite to the array itself (`y[i] = v`), or `.copy()` where the view is made"
        )


class Memory:
    """The record of an array that has views, or of a view.

    ``base`` is the tracer that a view was made of, None for an array of its own. ``index`` is the basic index that made
    the view, so that writing to it writes to the base; None if another function did. ``readonly``: NumPy's view is.
    ``members``, of an array of its own, are all that share its memory.
    """

    __slots__ = ("base", "index", "members", "readonly", "source")

    def __init__(self, base: Tracer | None, index: Any, source: Source | None, readonly: bool = False) -> None:
        self.base = base
        self.index = index
        self.source = source
        self.readonly = readonly
        self.members: list[weakref.ref[Tracer]] = []

    @staticmethod
    def of(x: Tracer) -> Memory:
        """The record of a tracer; a new one if it had none, as of an array of its own."""
        memory: Memory | None = getattr(x, "_memory", None)
        if memory is None:
            memory = x._memory = Memory(None, None, None)
            memory.members.append(weakref.ref(x))
        return memory

    @staticmethod
    def root(x: Tracer) -> Memory:
        """The record of the array whose memory ``x`` shares."""
        memory = Memory.of(x)
        while memory.base is not None:
            memory = Memory.of(memory.base)
        return memory

    def join(self, x: Tracer) -> None:
        """Make ``x`` one of those that share this memory."""
        if len(self.members) & (len(self.members) - 1) == 0:
            # At each power of two those that died are dropped, so that a loop that makes views stays linear.
            self.members = [m for m in self.members if m() is not None]
        self.members.append(weakref.ref(x))

    def expire(self, keep: Sequence[Tracer], region: Any, views: dict[int, Any] | None, source: Source | None) -> None:
        """Make stale all but ``keep`` that share this memory; with ``views``, those whose part overlaps ``region``."""
        members = []
        for ref in self.members:
            x = ref()
            if x is None:
                continue
            if any(x is k for k in keep) or (views is not None and _disjoint(part(x, views), region)):
                members.append(ref)
                continue
            view = Memory.of(x)
            is_view = view.base is not None
            made = view.source if is_view else Memory.of(keep[0]).source
            x._trace = Expired(made, source, is_view)
        self.members = members


def view_of(y: Any, x: Any, index: Any = None, readonly: bool = False) -> Any:
    """``y``, the result of a function of NumPy that gives a view of the tracer ``x``, marked as that."""
    if not isinstance(y, Tracer):
        return y
    if y is x:
        y = x.renewed()
    elif hasattr(y, "_memory"):
        return y  # marked by a function that this one calls
    if (hasattr(x, "_memory") and x._memory is FOREIGN) or x._trace is not y._trace:
        y._memory = FOREIGN
        return y
    y._memory = Memory(x, index, user_source(), readonly)
    Memory.root(x).join(y)
    return y


def is_static_basic(index: Any) -> bool:
    """Whether an index is made of integers, slices, Ellipsis and newaxis that are known while tracing."""
    entries = index if type(index) is tuple else (index,)
    return all(
        e is None or e is Ellipsis or (isinstance(e, (int, np.integer)) and type(e) is not bool) or isinstance(e, slice)
        for e in entries
    )


def part(x: Tracer, views: dict[int, Any]) -> Any:
    """What ``x`` covers of its memory: a view of an array that stands for it, of which nothing is ever read."""
    found = views.get(id(x))
    if found is None:
        memory = Memory.of(x)
        if memory.base is None:
            found = np.empty(x.shape, np.bool_)
        else:
            found = part(memory.base, views)
            if memory.index is not None and found.shape == memory.base.shape and is_static_basic(memory.index):
                found = found[memory.index]
        views[id(x)] = found
    return found


def _disjoint(a: Any, b: Any) -> bool:
    try:
        return not np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return False


def check_writable(x: Tracer, home: Trace, what: str, instead: str) -> None:
    """Raise InPlaceError if ``x`` is not an array that the function at work, traced by ``home``, made itself."""
    memory = getattr(x, "_memory", None)
    if x._trace is not home:
        if x._trace.ended:
            raise x._trace.use_error(x)
        raise InPlaceError(
            f"{what} writes to an array of type {x.aval} that was made outside of the function being traced; NumPy would "
            f"change it for everyone; write {instead}; to change it for good, return the new array"
        )
    if memory is FOREIGN:
        raise InPlaceError(
            f"{what} writes to an argument of the function being traced, or to a view of one (of type {x.aval}); NumPy "
            f"would change the caller's array; write {instead}"
        )
    while memory is not None:
        if memory.readonly:
            raise InPlaceError(
                f"{what} writes to a view of type {x.aval} that NumPy makes read-only (broadcast_to, diagonal, "
                f"sliding_window_view); write {instead}"
            )
        memory = getattr(memory.base, "_memory", None) if memory.base is not None else None
