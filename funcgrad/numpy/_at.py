"""``x.at[index]``: the functional form of assignment to ``x[index]``.

``x.at[i].set(v)`` is what ``x`` would be after ``x[i] = v``. Of the index, the basic part is a window: read it,
combine, write it back. The advanced part is a scatter into the window. Division and power have no scatter of their own,
since they accumulate by multiplication of divisors and exponents: x / (v w) = (x / v) / w, x ** (v w) = (x ** v) ** w.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.errors import OperandError, OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of, dtype_name, is_inexact
from ..primitives import (
    add,
    and_,
    broadcast_in_dim,
    div,
    gather,
    max_,
    min_,
    mul,
    neg,
    or_,
    pad,
    pow_,
    reshape,
    scatter,
    select,
    slice_,
    sub,
)
from ._promote import all_plain, asarray, convert_to, eager_allowed, expand_to, is_weak
from ._subscript import MODES, Subscript, is_mask, parse

__all__ = ["At", "IndexedUpdate", "at", "default_fill", "same_kind"]

#: For each update: how NumPy does it in place, and the primitive that does it element by element.
_UPDATES: dict[str, tuple[Any, Any]] = {
    "set": (None, lambda _, v: v),
    "add": (np.add, add),
    "subtract": (np.subtract, sub),
    "multiply": (np.multiply, mul),
    "divide": (np.true_divide, div),
    "power": (np.power, pow_),
    "min": (np.minimum, min_),
    "max": (np.maximum, max_),
}
_SCATTERS = {"set": "set", "add": "add", "subtract": "add", "multiply": "mul", "min": "min", "max": "max"}
_KIND_ORDER = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


class At:
    """``at(x)[index]``: names the elements that an update is to change. See :class:`IndexedUpdate`."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array

    def __getitem__(self, index: Any) -> IndexedUpdate:
        return IndexedUpdate(self.array, index)

    def __repr__(self) -> str:
        return f"At({self.array!r})"


def at(x: Any) -> At:
    """Updates of an array that leave the array as it is: ``at(x)[index].set(v)``.

    A traced array has the same as ``x.at[index]``. See :class:`IndexedUpdate` for the updates.

    >>> x = np.array([1.0, 2.0, 3.0])
    >>> at(x)[1].set(9.0)
    array([1., 9., 3.])
    >>> at(x)[[0, 0]].add(1.0)
    array([3., 2., 3.])
    >>> x
    array([1., 2., 3.])
    """
    return At(x)


class IndexedUpdate:
    """The elements ``x[index]``, to be read or updated. Each update returns a new array and leaves ``x`` as it is.

    ======================  ====================================  ======================  ===========================
    ``.set(v)``             ``x[index] = v``                      ``.divide(v)``          ``x[index] /= v``
    ``.add(v)``             ``np.add.at(x, index, v)``            ``.power(v)``           ``x[index] **= v``
    ``.subtract(v)``        ``np.subtract.at(x, index, v)``       ``.min(v)``             ``np.minimum.at(x, index, v)``
    ``.multiply(v)``        ``np.multiply.at(x, index, v)``       ``.max(v)``             ``np.maximum.at(x, index, v)``
    ``.apply(f)``           ``x[index] = f(x[index])``            ``.get()``              ``x[index]``
    ======================  ====================================  ======================  ===========================

    The result has the dtype of ``x``; a value that does not cast to it within its kind (a float to an integer) raises
    OperandTypeError. Where an index occurs several times, updates accumulate, and of several ``set`` the last one wins;
    ``unique_indices=True`` promises that none does, which saves work in derivatives.

    ``mode`` says what an index out of range does: ``"raise"`` (the default) raises IndexError; ``"clip"`` takes the
    nearest element; ``"wrap"`` counts on from the other end; ``"fill"`` reads ``fill_value`` and ``"drop"`` writes
    nothing (two names of one mode). Negative indices count from the end in every mode. ``fill_value`` is by default
    NaN, for integers the least (signed) or greatest (unsigned) one, and True.
    """

    __slots__ = ("array", "index")

    def __init__(self, array: Any, index: Any) -> None:
        self.array = array
        self.index = index

    def __repr__(self) -> str:
        return f"IndexedUpdate({self.array!r}, {self.index!r})"

    def get(self, *, mode: str | None = None, fill_value: Any = None) -> Any:
        """``x[index]``, with a choice of what an index out of range gives."""
        x = asarray(self.array)
        mode = _checked(mode)
        subscript = parse(x.shape, self.index, mode)
        if fill_value is None:
            fill = default_fill(np.dtype(x.dtype))
        else:
            fill = same_kind("at[].get", fill_value, np.dtype(x.dtype))
        return subscript.read(x, fill)

    def set(self, values: Any, *, mode: str | None = None, unique_indices: bool = False) -> Any:
        """``x`` after ``x[index] = values``."""
        return self._update("set", values, mode, unique_indices)

    def add(self, values: Any, *, mode: str | None = None, unique_indices: bool = False) -> Any:
        """``x`` after ``numpy.add.at(x, index, values)``."""
        return self._update("add", values, mode, unique_indices)

    def subtract(self, values: Any, *, mode: str | None = None, unique_indices: bool = False) -> Any:
        """``x`` after ``numpy.subtract.at(x, index, values)``."""
        return self._update("subtract", values, mode, unique_indices)

    def multiply(self, values: Any, *, mode: str | None = None, unique_indices: bool = False) -> Any:
        """``x`` after ``numpy.multiply.at(x, index, values)``."""
        return self._update("multiply", values, mode, unique_indices)

    mul = multiply

    def divide(self, values: Any, *, mode: str | None = None, unique_indices: bool = False) -> Any:
        """``x`` after ``numpy.divide.at(x, index, values)``."""
        return self._update("divide", values, mode, unique_indices)

    def power(self, values: Any, *, mode: str | None = None, unique_indices: bool = False) -> Any:
        """``x`` after ``numpy.power.at(x, index, values)``."""
        return self._update("power", values, mode, unique_indices)

    def min(self, values: Any, *, mode: str | None = None, unique_indices: bool = False) -> Any:
        """``x`` after ``numpy.minimum.at(x, index, values)``."""
        return self._update("min", values, mode, unique_indices)

    def max(self, values: Any, *, mode: str | None = None, unique_indices: bool = False) -> Any:
        """``x`` after ``numpy.maximum.at(x, index, values)``."""
        return self._update("max", values, mode, unique_indices)

    def apply(self, func: Callable[[Any], Any], *, mode: str | None = None, unique_indices: bool = False) -> Any:
        """``x`` after ``x[index] = func(x[index])``: an index that occurs several times is applied to once."""
        mode = _checked(mode)
        old = self.get(mode="clip" if mode in ("fill", "drop") else mode)
        new = func(old)
        if np.shape(new) != np.shape(old):
            raise OperandError(
                f"at[].apply: the function must keep the shape; it took {np.shape(old)} and gave {np.shape(new)}"
            )
        return self._update("set", new, mode, unique_indices)

    def _update(self, name: str, values: Any, mode: str | None, unique: bool) -> Any:
        mode = _checked(mode)
        x = asarray(self.array)
        dtype = np.dtype(x.dtype)
        values = same_kind(f"at[].{name}", values, dtype)
        if name in ("divide", "power") and not is_inexact(dtype) and (name == "divide" or dtype.kind == "b"):
            raise OperandTypeError(
                f"at[].{name}: the result would not be of dtype {dtype_name(dtype)}; convert the array to a floating "
                f"dtype first"
            )
        if mode == "raise" and isinstance(x, np.ndarray) and all_plain((self.index, values)) and eager_allowed():
            return _in_place(name, x.copy(), self.index, values)
        if is_mask(self.index):
            return _masked(name, x, self.index, values)
        return _write(name, x, parse(x.shape, self.index, mode), values, unique)


def _checked(mode: str | None) -> str:
    if mode is None:
        return "raise"
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(map(repr, MODES))}, not {mode!r}")
    return mode


def default_fill(dtype: np.dtype[Any]) -> Any:
    """What stands for an element that is not there: NaN, an extreme integer, or True."""
    if dtype.kind == "b":
        return np.True_
    if dtype.kind == "i":
        return dtype.type(np.iinfo(dtype).min)
    if dtype.kind == "u":
        return dtype.type(np.iinfo(dtype).max)
    return dtype.type(np.nan)


def same_kind(name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """``value`` as an array of ``dtype``, if it casts within its kind. Raises OperandTypeError otherwise."""
    value = asarray(value) if isinstance(value, (list, tuple)) else value
    have = np.dtype(aval_of(value).dtype)
    if is_weak(value):
        fits = _KIND_ORDER[have.kind] <= _KIND_ORDER.get(dtype.kind, 2)
    else:
        fits = np.can_cast(have, dtype, "same_kind")
    if not fits:
        raise OperandTypeError(
            f"{name}: a value of dtype {dtype_name(have)} does not fit into an array of dtype {dtype_name(dtype)}; "
            f"convert one of the two with .astype"
        )
    return convert_to(value, dtype, strong=True)


def _in_place(name: str, x: Any, index: Any, values: Any) -> Any:
    """Update a NumPy array that nobody else holds."""
    ufunc = _UPDATES[name][0]
    if ufunc is None:
        x[index] = values
    else:
        ufunc.at(x, index, values)
    return x


def _combine(name: str, old: Any, values: Any) -> Any:
    """The update of elements that each occur once."""
    if old.dtype == np.bool_ and name in ("add", "multiply"):
        return (or_ if name == "add" else and_)(old, values)
    return _UPDATES[name][1](old, values)


def _fit(values: Any, shape: tuple[int, ...], what: str) -> Any:
    """``values`` broadcast to the shape of the elements to update; as in NumPy, extra leading axes of size 1 go."""
    have = aval_of(values).shape
    extra = len(have) - len(shape)
    if extra > 0 and all(n == 1 for n in have[:extra]):
        have = have[extra:]
        values = reshape(values, shape=have)
    if len(have) > len(shape) or any(n not in (1, m) for n, m in zip(have[::-1], shape[::-1])):
        raise OperandError(f"{what}: values of shape {have} do not broadcast to the shape {shape} of x[index]")
    return values if have == shape else expand_to(values, shape)


def _write(name: str, x: Any, s: Subscript, values: Any, unique: bool) -> Any:
    values = _fit(values, s.shape, f"at[].{name}")
    if not s.axes:
        if values.shape != s.sub:
            values = reshape(values, shape=s.sub)
        return s.write_view(x, values if name == "set" else _combine(name, s.view(x), values))
    window = s.view(x)
    values = s.to_front(values)
    arrays = list(s.arrays)
    if s.inside is not None:
        # Entries out of range go to one more row, which is cut off again: nothing they do can be seen. It is of ones, at
        # which every update has a finite derivative.
        axis = s.axes[0]
        spare = tuple((0, int(a == axis), 0) for a in range(len(s.sub)))
        window = pad(window, window.dtype.type(1), config=spare)
        arrays[0] = select(s.inside, arrays[0], np.int64(s.sub[axis]))
    new = _scatter(name, window, values, arrays, s.axes, unique)
    if s.inside is not None:
        new = slice_(new, start=(0,) * len(s.sub), limit=s.sub, stride=(1,) * len(s.sub))
    return s.write_view(x, new)


def _scatter(name: str, window: Any, values: Any, arrays: list[Any], axes: tuple[int, ...], unique: bool) -> Any:
    params = {"axes": axes} | ({"unique": True} if unique else {})
    if name == "subtract":
        values = neg(values)
    if name in _SCATTERS:
        return scatter(window, values, *arrays, kind=_SCATTERS[name], **params)
    if not unique:
        ones = broadcast_in_dim(window.dtype.type(1), shape=window.shape, dims=())
        values = gather(scatter(ones, values, *arrays, kind="mul", **params), *arrays, axes=axes)
    return scatter(window, _combine(name, gather(window, *arrays, axes=axes), values), *arrays, kind="set", **params)


def _masked(name: str, x: Any, mask: Tracer, values: Any) -> Any:
    """An update of the elements where a traced mask is True, by values that do not depend on how many there are."""
    if mask.shape != x.shape[: mask.ndim]:
        raise OperandError(
            f"at[].{name}: a mask of shape {mask.shape} does not fit the leading axes of an array of shape {x.shape}"
        )
    if aval_of(values).ndim > x.ndim - mask.ndim:
        # Raises the error that says why a traced mask cannot be turned into indices.
        parse(x.shape, mask)
    values = _fit(values, x.shape, f"at[].{name}")
    if mask.ndim < x.ndim:
        mask = broadcast_in_dim(mask, shape=x.shape, dims=tuple(range(mask.ndim)))
    return select(mask, _combine(name, x, values), x)
