"""What a ufunc is here: NumPy's for plain operands, a rule of primitives for traced ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import primitives as p
from ..core.backend import _default
from ..core.config import config
from ..core.errors import OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of, shape_of
from ._promote import (
    PLAIN,
    SCALARS,
    all_plain,
    asarray,
    eager_allowed,
    fit,
    full,
    operand,
    refuse_out,
    refuse_where,
    ufunc_dtypes,
)

__all__ = ["METHODS", "OUTCOME", "Comparison", "Ufunc"]


class Ufunc:
    """A NumPy ufunc for traced values too: ``ufunc`` answers for plain ones, ``rule`` for all others.

    It takes NumPy's arguments ``dtype`` and ``casting``. ``out`` and ``where`` write into an array that exists, which a
    transformed function must not: they are refused, with what to write instead. ``order`` and ``subok`` speak of memory
    layout and subclasses, which funcgrad does not have.
    """

    def __init__(self, name: str, rule: Callable[..., Any], ufunc: np.ufunc | None = None, note: str = "") -> None:
        self.ufunc = getattr(np, name) if ufunc is None else ufunc
        self.nin = self.ufunc.nin
        self.rule = rule
        self.__name__ = self.__qualname__ = name
        self.__module__ = "funcgrad.numpy"
        self.__doc__ = f"As :data:`numpy.{name}`, for traced values too.{' ' if note else ''}{note}"

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if not keywords and len(args) == self.nin and _default.name == "numpy" and not config.debug_nans:
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
        refuse_where(name, where)
        if len(args) != self.nin:
            raise TypeError(f"{name}() takes {self.nin} positional arguments but {len(args)} were given")
        if eager_allowed() and all_plain(args):
            return self.ufunc(*args, dtype=dtype, casting=casting)
        return self.traced(*args, dtype=dtype, casting=casting)

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
        if dtype is None:
            dtypes = ufunc_dtypes(self.ufunc, avals, name)
        else:
            strong = (*(a.dtype for a in avals), *[None] * self.ufunc.nout)
            wanted = (*[None] * self.nin, *[np.dtype(dtype)] * self.ufunc.nout)
            dtypes = self.ufunc.resolve_dtypes(strong, signature=wanted, casting=casting)
        return self.rule(*fit(name, operands, avals, dtypes))

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """As ``numpy.ufunc.reduce``; for the ufuncs that have a reduction of their own."""
        return self.method("reduce")(array, axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def accumulate(self, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        """As ``numpy.ufunc.accumulate``; for the ufuncs that have a cumulative form of their own."""
        return self.method("accumulate")(array, axis=axis, dtype=dtype, out=out)

    def outer(self, a: Any, b: Any, /) -> Any:
        """The ufunc of all pairs of an element of ``a`` and one of ``b``, as ``numpy.ufunc.outer``."""
        a, b = asarray(a), asarray(b)
        return self(p.reshape(a, shape=(*shape_of(a), *[1] * len(shape_of(b)))), b)

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

    def traced(self, x: Any, y: Any, /, *, dtype: Any = None, casting: str = "same_kind") -> Any:
        for one, other, flipped in ((x, y, False), (y, x, True)):
            if type(other) is int and isinstance(one, Tracer) and one.aval.dtype.kind in "iu" and not one.aval.weak:
                limits = np.iinfo(one.aval.dtype)
                if not limits.min <= other <= limits.max:
                    # All elements stand on the same side of it.
                    below = other < 0
                    return full(one.aval.shape, OUTCOME[self.__name__][int(below != flipped)], np.dtype(np.bool_))
        return super().traced(x, y, dtype=dtype, casting=casting)
