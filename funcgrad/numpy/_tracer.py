"""What makes a tracer look like an array: operators, properties, methods, and NumPy's two protocols.

The operators are the ufuncs; between two Python scalars they give a Python scalar (a weak result), as Python does. The
methods are the functions of this package with the tracer as their first argument. Plain NumPy functions come here
through ``__array_ufunc__`` and ``__array_function__`` and are answered by the function of the same name.

Importing this module installs all of it on :class:`~funcgrad.core.trace.Tracer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import primitives as p
from ..core.errors import MissingRuleError
from ..core.trace import Tracer
from ..core.types import Aval, is_array_like
from . import (
    _array_api,
    _assign,
    _calculus,
    _conversion,
    _covariance,
    _creation,
    _functional,
    _grids,
    _histograms,
    _indexing,
    _integers,
    _joining,
    _linear,
    _nan,
    _padding,
    _polynomials,
    _quantiles,
    _reductions,
    _sets,
    _shape,
    _sorting,
    _stride_tricks,
    _types,
    _ufuncs,
    _windows,
    fft,
    linalg,
)
from ._promote import INDEX, is_weak, refuse_out
from ._ufunc import Ufunc

__all__ = ["SURFACE"]

_MODULES = (
    _ufuncs,
    _reductions,
    _nan,
    _quantiles,
    _creation,
    _shape,
    _joining,
    _padding,
    _indexing,
    _linear,
    _sorting,
    _calculus,
    _functional,
    _types,
    _sets,
    _polynomials,
    _windows,
    _histograms,
    _covariance,
    _integers,
    _grids,
    _conversion,
)


#: The functions of this package by NumPy's qualified name.
SURFACE: dict[str, Callable[..., Any]] = {
    **{name: getattr(module, name) for module in _MODULES for name in module.__all__},
    **{f"fft.{name}": getattr(fft, name) for name in fft.__all__},
    **{f"linalg.{name}": getattr(linalg, name) for name in linalg.__all__},
    **{f"lib.stride_tricks.{name}": getattr(_stride_tricks, name) for name in _stride_tricks.__all__},
    **_assign.WRITING,
}


# Operators ------------------------------------------------------------------------------------------------------------

_KNOWN = frozenset({bool, int, float, complex, np.ndarray, list, tuple, *np.sctypeDict.values()})


def _takes(x: Any) -> bool:
    """Whether an operator of arrays takes ``x``; anything else gets to answer by its own reflected operator."""
    return type(x) in _KNOWN or isinstance(x, Tracer) or is_array_like(x)


def _is_python(x: Any) -> bool:
    """Whether ``x`` is a Python scalar, traced or not: a boolean counts as an integer among them."""
    return type(x) is bool or is_weak(x)


def _weak_result(y: Any) -> Any:
    """The result of an operator between Python scalars: a Python scalar, unless it is a truth value."""
    if isinstance(y, tuple):
        return tuple(map(_weak_result, y))
    dtype = y.dtype
    return p.convert(y, dtype=dtype, weak=True) if dtype.kind in "ifc" else y


#: Arithmetic that keeps the dtype of floating-point operands.
_ARITHMETIC = (_ufuncs.add, _ufuncs.subtract, _ufuncs.multiply, _ufuncs.divide)


def _fits(aval: Aval, other: Any) -> bool:
    """Whether ``other`` needs neither promotion nor broadcasting beside a floating-point array: mostly it does not."""
    if aval.dtype.kind != "f" or aval.weak:
        return False
    return type(other) is float or type(other) is int or (isinstance(other, Tracer) and other.aval == aval)


def _binary(ufunc: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The operator and its reflected form."""

    rule = ufunc.rule if ufunc in _ARITHMETIC else None

    def forward(self: Tracer, other: Any) -> Any:
        if rule is not None and _fits(self.aval, other):
            return rule(self, other)
        if not _takes(other):
            return NotImplemented
        y = ufunc.traced(self, other)
        return _weak_result(y) if self.aval.weak and _is_python(other) else y

    def reflected(self: Tracer, other: Any) -> Any:
        if rule is not None and _fits(self.aval, other):
            return rule(other, self)
        if not _takes(other):
            return NotImplemented
        y = ufunc.traced(other, self)
        return _weak_result(y) if self.aval.weak and _is_python(other) else y

    return forward, reflected


def _unary(ufunc: Any) -> Callable[..., Any]:
    def operator(self: Tracer) -> Any:
        y = ufunc.traced(self)
        return _weak_result(y) if self.aval.weak else y

    return operator


_BINARY = {
    "add": _ufuncs.add,
    "sub": _ufuncs.subtract,
    "mul": _ufuncs.multiply,
    "truediv": _ufuncs.divide,
    "floordiv": _ufuncs.floor_divide,
    "mod": _ufuncs.remainder,
    "divmod": _ufuncs.divmod,
    "and": _ufuncs.bitwise_and,
    "or": _ufuncs.bitwise_or,
    "xor": _ufuncs.bitwise_xor,
    "lshift": _ufuncs.left_shift,
    "rshift": _ufuncs.right_shift,
}
_COMPARISONS = {
    "eq": _ufuncs.equal,
    "ne": _ufuncs.not_equal,
    "lt": _ufuncs.less,
    "le": _ufuncs.less_equal,
    "gt": _ufuncs.greater,
    "ge": _ufuncs.greater_equal,
}
_UNARY = {
    "neg": _ufuncs.negative,
    "pos": _ufuncs.positive,
    "abs": _ufuncs.absolute,
    "invert": _ufuncs.invert,
}

#: The operators that have an augmented form: how it is written, and NumPy's ufunc, which knows what may be cast.
_AUGMENTED = {
    "add": ("+", np.add),
    "sub": ("-", np.subtract),
    "mul": ("*", np.multiply),
    "truediv": ("/", np.true_divide),
    "floordiv": ("//", np.floor_divide),
    "mod": ("%", np.remainder),
    "pow": ("**", np.power),
    "matmul": ("@", np.matmul),
    "and": ("&", np.bitwise_and),
    "or": ("|", np.bitwise_or),
    "xor": ("^", np.bitwise_xor),
    "lshift": ("<<", np.left_shift),
    "rshift": (">>", np.right_shift),
}

_power, _reflected_power = _binary(_ufuncs.power)


def _pow(self: Tracer, exponent: Any, modulus: Any = None) -> Any:
    """``x ** y``: the square root for an exponent of 0.5, as NumPy's operator, and Python's rule for its integers."""
    if modulus is not None:
        return NotImplemented
    if type(exponent) is int and self.aval.dtype.kind == "f" and not self.aval.weak:
        y = _ufuncs.power.rule(self, exponent)
        return y.renewed() if y is self else y
    if type(exponent) is float and exponent == 0.5 and self.aval.dtype.kind in "fc":
        return _unary(_ufuncs.sqrt)(self)
    if type(exponent) is int and exponent < 0 and self.aval.weak and self.aval.dtype.kind == "i":
        return _power(p.convert(self, dtype=np.dtype(float), weak=True), exponent)
    return _power(self, exponent)


def _matmul(self: Tracer, other: Any) -> Any:
    return _linear.matmul(self, other) if _takes(other) else NotImplemented


def _reflected_matmul(self: Tracer, other: Any) -> Any:
    return _linear.matmul(other, self) if _takes(other) else NotImplemented


def _to_integer(rounding: Any) -> Callable[[Tracer], Any]:
    """``math.floor`` and its kin: an integer, as of a NumPy scalar."""

    def operator(self: Tracer) -> Any:
        if self.ndim:
            raise TypeError(
                "only a value of rank 0 can become an integer; use fnp.floor, fnp.ceil, fnp.trunc or fnp.round"
            )
        return p.convert(rounding(self), dtype=INDEX, weak=self.aval.weak)

    return operator


def _round(self: Tracer, ndigits: int | None = None) -> Any:
    if ndigits is None and self.ndim == 0:
        return _to_integer(_ufuncs.round)(self)
    y = _ufuncs.round(self, ndigits or 0)
    return _weak_result(y) if self.aval.weak else y


def _iter(self: Tracer) -> Iterator[Any]:
    if not self.ndim:
        raise TypeError("iteration over a 0-d array")
    return (_assign.read(self, i) for i in range(self.shape[0]))


def _contains(self: Tracer, value: Any) -> bool:
    return bool(_reductions.any(_ufuncs.equal(self, value)))


def _format(self: Tracer, spec: str) -> str:
    return format(self.concrete("formatting with a format specification"), spec) if spec else str(self)


# Methods --------------------------------------------------------------------------------------------------------------


def _reshape(self: Tracer, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
    return _shape.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)


def _transpose(self: Tracer, *axes: Any) -> Any:
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        axes = axes[0]
    return _shape.transpose(self, axes or None)


def _flatten(self: Tracer, order: str = "C") -> Any:
    return _shape.ravel(self, order).renewed()


def _astype(
    self: Tracer, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
) -> Any:
    if not np.can_cast(self.dtype, dtype, casting):
        raise TypeError(
            f"Cannot cast array data from {self.dtype!r} to {np.dtype(dtype)!r} according to the rule {casting!r}"
        )
    return _creation.astype(self, dtype) if copy or self.dtype != dtype else self


def _copy(self: Tracer, order: str = "C") -> Any:
    return _creation.copy(self)


def _clip(self: Tracer, min: Any = None, max: Any = None, out: Any = None) -> Any:
    return _ufuncs.clip(self, min, max, out)


def _conjugate(self: Tracer) -> Any:
    return _ufuncs.conjugate(self)


_METHODS: dict[str, Callable[..., Any]] = {
    **{name: getattr(_reductions, name) for name in (
        "all", "any", "argmax", "argmin", "cumprod", "cumsum", "max", "mean", "min", "prod", "std", "sum", "var",
    )},
    **{name: getattr(_shape, name) for name in ("diagonal", "ravel", "squeeze", "swapaxes")},
    **{name: getattr(_indexing, name) for name in ("nonzero", "searchsorted", "take")},
    "argsort": _sorting.argsort,
    "trace": _creation.trace,
    "astype": _astype,
    "clip": _clip,
    "conj": _conjugate,
    "conjugate": _conjugate,
    "copy": _copy,
    "dot": _linear.dot,
    "flatten": _flatten,
    "repeat": _joining.repeat,
    "reshape": _reshape,
    "round": _ufuncs.round,
    "transpose": _transpose,
    **_assign.METHODS,
}  # fmt: skip


def _compress(self: Tracer, condition: Any, axis: Any = None, out: Any = None) -> Any:
    return _indexing.compress(condition, self, axis, out)


def _choose(self: Tracer, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    return _indexing.choose(self, choices, out, mode)


_METHODS |= {"choose": _choose, "compress": _compress}

_PROPERTIES: dict[str, Callable[[Tracer], Any]] = {
    "T": lambda x: _shape.transpose(x),
    "mT": lambda x: _shape.matrix_transpose(x),
    "real": lambda x: _ufuncs.real(x),
    "imag": lambda x: _ufuncs.imag(x),
    "itemsize": lambda x: x.dtype.itemsize,
    "nbytes": lambda x: x.size * x.dtype.itemsize,
    "at": lambda x: _indexing.At(x),
}


# NumPy's protocols ----------------------------------------------------------------------------------------------------


def _array_ufunc(self: Tracer, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **keywords: Any) -> Any:
    """``np.sin(x)`` and ``array + x``: the function of this package of the same name."""
    function = SURFACE.get(ufunc.__name__)
    if function is None:
        raise _no_form(f"np.{ufunc.__name__}")
    if method == "at" and ufunc.__name__ in _assign.UPDATES:
        return _assign.write_at(ufunc, *inputs)
    if out is not None and any(o is not None for o in out):
        if method != "__call__":
            refuse_out(f"np.{ufunc.__name__}.{method}", out)
        return _assign.write_out(ufunc, function, inputs, out, keywords)
    if method == "__call__":
        return function(*inputs, **keywords)
    if method not in ("reduce", "reduceat", "accumulate", "outer", "at") or not isinstance(function, Ufunc):
        raise _no_form(f"np.{ufunc.__name__}.{method}")
    return getattr(function, method)(*inputs, **keywords)


def _array_function(self: Tracer, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """``np.sum(x)`` and ``np.linalg.norm(x)``: the function of this package of the same qualified name."""
    name = f"{func.__module__}.{func.__name__}".removeprefix("numpy.")
    function = SURFACE.get(name)
    if function is None:
        raise _no_form(f"np.{name}")
    if name in _LIKE:
        # What `like=` leaves of the arguments: memory layout and device, which traced values do not have.
        kwargs = {k: v for k, v in kwargs.items() if k not in ("order", "device")}
    return function(*args, **kwargs)


#: NumPy's functions that take `like=`.
_LIKE = frozenset({"arange", "array", "asarray", "empty", "eye", "full", "identity", "ones", "tri", "zeros"})


def _no_form(name: str) -> MissingRuleError:
    return MissingRuleError(
        f"{name} was given a traced value, but funcgrad.numpy has no {name.removeprefix('np.')}; write it with "
        f"functions of funcgrad.numpy, or call it through funcgrad.pure_callback (which has no derivative)"
    )


# Installation ---------------------------------------------------------------------------------------------------------


def _install() -> None:
    found: dict[str, Any] = {}
    for name, ufunc in _BINARY.items():
        found[f"__{name}__"], found[f"__r{name}__"] = _binary(ufunc)
    found |= {
        "__pow__": _pow,
        "__rpow__": _reflected_power,
        "__matmul__": _matmul,
        "__rmatmul__": _reflected_matmul,
    }
    for name, (symbol, ufunc) in _AUGMENTED.items():
        found[f"__i{name}__"] = _assign.augmented(symbol, found[f"__{name}__"], ufunc)
    for name, ufunc in _COMPARISONS.items():
        # Python reflects comparisons by itself: x < y becomes y > x.
        found[f"__{name}__"] = _binary(ufunc)[0]
    for name, ufunc in _UNARY.items():
        found[f"__{name}__"] = _unary(ufunc)
    found |= {
        "__round__": _round,
        "__floor__": _to_integer(_ufuncs.floor),
        "__ceil__": _to_integer(_ufuncs.ceil),
        "__trunc__": _to_integer(_ufuncs.trunc),
        "__iter__": _iter,
        "__contains__": _contains,
        "__format__": _format,
        "__getitem__": _assign.read,
        "__setitem__": _assign.write,
        "__array_ufunc__": _array_ufunc,
        "__array_function__": _array_function,
        "__array_priority__": 100.0,
        "__array_namespace__": _array_api.array_namespace,
        "to_device": _array_api.to_device,
        **_METHODS,
        **{name: property(get, doc=f"As ``ndarray.{name}``.") for name, get in _PROPERTIES.items()},
    }
    for name, value in found.items():
        setattr(Tracer, name, value)


_install()
