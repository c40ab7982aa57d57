"""What a ufunc is here: NumPy's for plain operands, a rule of primitives for traced ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from .. import primitives as p
from ..core.backend import _default
from ..core.config import config
from ..core.errors import InPlaceError, OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of, is_inexact, shape_of
from ..primitives.structure import slice_along
from ._promote import (
    NO_VALUE,
    PLAIN,
    SCALARS,
    all_plain,
    asarray,
    broadcast,
    broadcast_shapes,
    eager_allowed,
    fit,
    full,
    mask_of,
    normalize_axis,
    operand,
    refuse_out,
    ufunc_dtypes,
)

__all__ = ["METHODS", "OUTCOME", "Comparison", "Ufunc"]


class Ufunc:
    """A NumPy ufunc for traced values too: ``ufunc`` answers for plain ones, ``rule`` for all others.

    It takes NumPy's arguments ``dtype``, ``casting`` and ``where``. Where the mask ``where`` is False, NumPy leaves the result
    as the memory happened to be; here it is 0, with a derivative of 0, and the operands there do not matter: they may be
    outside of the domain. ``out`` writes into an array that exists, which a transformed function must not: it is
    refused, with what to write instead. ``order`` and ``subok`` speak of memory layout and subclasses, which funcgrad
    does not have.

    >>> import numpy as np
    >>> from funcgrad.numpy import log
    >>> log(np.array([1.0, -1.0]), where=[True, False])
    array([0., 0.])
    """

    #: Whether NumPy's own may be given ``where``.
    masks = True

    def __init__(self, name: str, rule: Callable[..., Any], ufunc: np.ufunc | None = None, note: str = "") -> None:
        self.ufunc = getattr(np, name) if ufunc is None else ufunc
        self.nin = self.ufunc.nin
        self.rule = rule
        self.__name__ = self.__qualname__ = name
        self.__module__ = "funcgrad.numpy"
        self.__doc__ = f"As :data:`numpy.{name}`, for traced values too.{' ' if note else ''}{note}"

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if not keywords and len(args) == self.nin and _default.plain and not config.debug_nans:
            for x in args:
                if type(x) not in PLAIN:
                    break
            else:
                return self.ufunc(*args)
        return self.call(args, **keywords)

    def call(
        self,
        args: tuple[Any, ...],
        out: Any = None,
        *,
        where: Any = True,
        dtype: Any = None,
        casting: str = "same_kind",
    ) -> Any:
        """The call with all its arguments."""
        name = self.__name__
        if len(args) == self.nin + 1:
            *args, out = args
        refuse_out(name, out)
        if len(args) != self.nin:
            raise TypeError(f"{name}() takes {self.nin} positional arguments but {len(args)} were given")
        if where is not True:
            return self.masked(args, mask_of(name, where), dtype, casting)
        if eager_allowed() and all_plain(args):
            return self.ufunc(*args, dtype=dtype, casting=casting)
        return self.traced(*args, dtype=dtype, casting=casting)

    def masked(self, args: Sequence[Any], mask: Any, dtype: Any, casting: str) -> Any:
        """The call where the mask is true, and 0 elsewhere."""
        args = [asarray(x) if type(x) in (list, tuple) else x for x in args]
        if self.masks and eager_allowed() and all_plain((*args, mask)):
            avals = [aval_of(operand(self.__name__, x)) for x in args]
            shape = broadcast_shapes(self.__name__, *(a.shape for a in avals), shape_of(mask))
            out = tuple(np.zeros(shape, d) for d in self.loop(avals, dtype, casting)[self.nin :])
            self.ufunc(*args, out=out, where=mask, dtype=dtype, casting=casting)
            return tuple(y[()] for y in out) if self.ufunc.nout > 1 else out[0][()]
        # What a masked operand would give, a NaN perhaps, must be nowhere, not in derivatives either.
        y = self.traced(*[self.inside(x, mask) for x in args], dtype=dtype, casting=casting)
        parts = [p.select(*broadcast(self.__name__, mask, r, aval_of(r).dtype.type(0))) for r in _parts(y)]
        return tuple(parts) if isinstance(y, tuple) else parts[0]

    def inside(self, x: Any, mask: Any) -> Any:
        """``x``, but where the mask is false a value inside of the domain."""
        if type(x) in (bool, int, float, complex):
            return x
        dtype = aval_of(operand(self.__name__, x)).dtype
        value = (2 if self.ufunc is np.arccosh else 0.5) if is_inexact(dtype) else 1
        return p.select(*broadcast(self.__name__, mask, x, dtype.type(value)))

    def traced(self, *args: Any, dtype: Any = None, casting: str = "same_kind") -> Any:
        """Promote, broadcast, and apply the rule."""
        name = self.__name__
        operands = []
        avals = []
        for i, x in enumerate(args):
            if type(x) not in SCALARS and not isinstance(x, Tracer):
                x = operand(name, x, f"argument {i}")
            operands.append(x)
            avals.append(aval_of(x))
        y = self.rule(*fit(name, operands, avals, self.loop(avals, dtype, casting)))
        return y.renewed() if y is args[0] and isinstance(y, Tracer) else y

    def loop(self, avals: Sequence[Any], dtype: Any = None, casting: str = "same_kind") -> Sequence[np.dtype[Any]]:
        """The dtypes of NumPy's loop: of the operands, then of the results."""
        if dtype is None:
            return ufunc_dtypes(self.ufunc, avals, self.__name__)
        strong = (*(a.dtype for a in avals), *[None] * self.ufunc.nout)
        wanted = (*[None] * self.nin, *[np.dtype(dtype)] * self.ufunc.nout)
        return self.ufunc.resolve_dtypes(strong, signature=wanted, casting=casting)

    def reduce(
        self,
        array: Any,
        axis: Any = 0,
        dtype: Any = None,
        out: Any = None,
        keepdims: bool = False,
        initial: Any = NO_VALUE,
        where: Any = True,
    ) -> Any:
        """As ``numpy.ufunc.reduce``; of traced values for the ufuncs that have a reduction of their own."""
        refuse_out(f"{self.__name__}.reduce", out)
        given = {} if initial is NO_VALUE else {"initial": initial}
        if eager_allowed() and all_plain((array, axis, dtype, where, *given.values())):
            return self.ufunc.reduce(array, axis, dtype, None, keepdims, where=where, **given)
        return self.method("reduce")(array, axis=axis, dtype=dtype, keepdims=keepdims, where=where, **given)

    def accumulate(self, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        """As ``numpy.ufunc.accumulate``; of traced values for the ufuncs that have a cumulative form of their own."""
        refuse_out(f"{self.__name__}.accumulate", out)
        if eager_allowed() and all_plain((array, axis, dtype)):
            return self.ufunc.accumulate(array, axis, dtype)
        return self.method("accumulate")(array, axis=axis, dtype=dtype)

    def reduceat(self, array: Any, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        """As ``numpy.ufunc.reduceat``, with indices that are known: the reductions of the slices that they begin."""
        refuse_out(f"{self.__name__}.reduceat", out)
        if isinstance(indices, Tracer):
            indices = indices.concrete(
                f"{self.__name__}.reduceat, whose slices have shapes that depend on the indices,"
            )
        if eager_allowed() and all_plain((array, indices, axis, dtype)):
            return self.ufunc.reduceat(array, indices, axis, dtype)
        x = asarray(array)
        axis = normalize_axis(axis, len(shape_of(x)))
        size, starts = shape_of(x)[axis], np.asarray(indices).tolist()
        if any(not 0 <= i < size for i in starts):
            raise IndexError(f"{self.__name__}.reduceat: the indices {starts} are not all from 0 to {size - 1}")
        parts = [
            self.reduce(slice_along(x, axis, i, j if i < j else i + 1), axis, dtype, keepdims=True)
            for i, j in zip(starts, [*starts[1:], size])
        ]
        if not parts:
            row = aval_of(self.reduce(x, axis, dtype, keepdims=True))
            return full(tuple(0 if i == axis else n for i, n in enumerate(row.shape)), 0, row.dtype)
        return p.concatenate(*parts, axis=axis)

    def at(self, array: Any, indices: Any, *values: Any) -> NoReturn:
        """``numpy.ufunc.at`` writes into its argument: refused, with what to write instead."""
        update = {"add": "add", "subtract": "subtract", "multiply": "multiply", "divide": "divide", "power": "power",
                  "maximum": "max", "minimum": "min"}.get(self.__name__)  # fmt: skip
        write = f"x = x.at[i].{update}(v)" if update else f"x = x.at[i].set({self.__name__}(x[i], ...))"
        raise InPlaceError(
            f"{self.__name__}.at changes an array in place, which a function that is transformed must not; write `{write}`"
        )

    def outer(self, a: Any, b: Any, /, **keywords: Any) -> Any:
        """The ufunc of all pairs of an element of ``a`` and one of ``b``, as ``numpy.ufunc.outer``."""
        a, b = asarray(a), asarray(b)
        return self(p.reshape(a, shape=(*shape_of(a), *[1] * len(shape_of(b)))), b, **keywords)

    def method(self, kind: str) -> Callable[..., Any]:
        """The function that stands for a method of the ufunc: ``_reductions`` fills the table."""
        try:
            return METHODS[kind, self.__name__]
        except KeyError:
            known = ", ".join(sorted(name for k, name in METHODS if k == kind))
            raise OperandTypeError(
                f"{self.__name__}.{kind} is not written for traced values; those with a {kind} are {known}"
            ) from None

    def __reduce__(self) -> str:
        return self.__name__

    def __repr__(self) -> str:
        return f"<funcgrad.numpy ufunc {self.__name__!r}>"


def _parts(y: Any) -> tuple[Any, ...]:
    return y if isinstance(y, tuple) else (y,)


#: From the kind of a ufunc method and the name of a ufunc to the function it is.
METHODS: dict[tuple[str, str], Callable[..., Any]] = {}


#: What a comparison answers for (-1, 0) and for (0, -1).
OUTCOME = {
    "equal": (False, False),
    "not_equal": (True, True),
    "less": (True, False),
    "less_equal": (True, False),
    "greater": (False, True),
    "greater_equal": (False, True),
}


class Comparison(Ufunc):
    """A comparison with a Python integer that the other operand's dtype cannot hold has one answer for all elements."""

    # NumPy 2.4 crashes where such an integer meets a mask.
    masks = False

    def traced(self, x: Any, y: Any, /, *, dtype: Any = None, casting: str = "same_kind") -> Any:
        for one, other, flipped in ((x, y, False), (y, x, True)):
            if type(other) is int and isinstance(one, Tracer) and one.aval.dtype.kind in "iu" and not one.aval.weak:
                limits = np.iinfo(one.aval.dtype)
                if not limits.min <= other <= limits.max:
                    # All elements stand on the same side of it.
                    below = other < 0
                    return full(one.aval.shape, OUTCOME[self.__name__][int(below != flipped)], np.dtype(np.bool_))
        return super().traced(x, y, dtype=dtype, casting=casting)
