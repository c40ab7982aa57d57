"""The op table: every first-order primitive and the main functions of ``funcgrad.numpy``, as data.

A row says what a function is, what it must be equal to, on which arguments, and whether it has a derivative.
``test_ops.py`` and ``test_grads.py`` hold every row against the laws. A reference is independent of the library:

* elementwise primitives: the same formula in extended precision, in Python's integers for integer dtypes;
* primitives over axes: loops or another formula (``einsum`` for products, windows one by one for convolutions);
* ``funcgrad.numpy``: NumPy's function of that name.
"""

# ruff: noqa: B023 -- a closure made in a loop has the variables of its turn as arguments of a lambda around it

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad import primitives as p
from funcgrad.core.trace import Primitive

Shape = tuple[int, ...]
Arg = Callable[[np.random.Generator, np.dtype[Any], Shape], Any]

FLOATS = ("float16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
INEXACT = (*FLOATS, *COMPLEX)
NUMBERS = (*INTEGERS, *INEXACT)
ALL = ("bool", *NUMBERS)
MAIN = ("float32", "float64", "complex128", "int32")

#: Primitives that no row stands for, and why.
EXCEPTIONS = {
    "debug_callback": "has an effect and no result; tests/test_laws.py and the tests of debug.print see the effect",
    "use_key": "has an effect and no result; tests/test_key_reuse.py sees the effect",
}


@dataclass(frozen=True)
class Op:
    """A row of the table.

    ``args`` make an argument each from a generator, a dtype and a shape; one with a shape or dtype of its own ignores
    these. ``shapes`` are those the row is tried with. ``grad``: the arguments it is differentiable in, to ``order``.
    ``special``: whether its value at 0, -0, infinity, NaN and the limits of the dtype must be the reference's.
    ``ulps``: how many roundings the result may be off, relative to its largest element. ``jax``: the same function
    as a function of ``jax.numpy`` and the arguments, where JAX has it.
    """

    name: str
    function: Callable[..., Any]
    reference: Callable[..., Any]
    args: tuple[Arg, ...]
    dtypes: tuple[str, ...]
    shapes: tuple[Shape, ...] = ((),)
    grad: tuple[int, ...] = ()
    special: bool = False
    ulps: float = 32
    order: int = 2
    primitive: str | None = None
    jax: Callable[..., Any] | None = None

    def sample(self, dtype: str = "float64", shape: Shape | None = None, seed: int = 0) -> list[Any]:
        """Arguments; equal for equal ``seed``."""
        rng = np.random.default_rng([seed, sum(map(ord, self.name))])
        return [make(rng, np.dtype(dtype), self.shapes[0] if shape is None else shape) for make in self.args]

    def __str__(self) -> str:
        return self.name


# Arguments ------------------------------------------------------------------------------------------------------------


def values(low: float = -2.0, high: float = 2.0, shape: Shape | None = None, ints: tuple[int, int] = (-5, 6)) -> Arg:
    """Random values of the dtype of the test: from ``low`` to ``high``, integers from the range ``ints``."""

    def make(rng: np.random.Generator, dtype: np.dtype[Any], outer: Shape) -> Any:
        size = outer if shape is None else shape
        if dtype.kind == "b":
            return np.asarray(rng.random(size) < 0.5)
        if dtype.kind in "iu":
            first = max(ints[0], 0) if dtype.kind == "u" else ints[0]
            return np.asarray(rng.integers(first, max(ints[1], first + 1), size)).astype(dtype)
        x = rng.uniform(low, high, size)
        if dtype.kind == "c":
            x = x + 1j * rng.uniform(low, high, size)
        return np.asarray(x).astype(dtype)

    return make


def a(*shape: int, low: float = -2.0, high: float = 2.0, ints: tuple[int, int] = (-5, 6)) -> Arg:
    """Values of this shape."""
    return values(low, high, shape, ints)


def flags(shape: Shape | None = None) -> Arg:
    """Booleans."""
    return lambda rng, dtype, outer: np.asarray(rng.random(outer if shape is None else shape) < 0.5)


def whole(low: int, high: int, *shape: int) -> Arg:
    """int64 from ``low`` to ``high`` - 1: indices."""
    return lambda rng, dtype, outer: np.asarray(rng.integers(low, high, shape))


# References -----------------------------------------------------------------------------------------------------------


def wrapped(values: Any, dtype: np.dtype[Any]) -> Any:
    """Python integers as the dtype holds them: modulo 2**bits."""
    span, low = 1 << 8 * dtype.itemsize, np.iinfo(dtype).min
    return np.array([(int(v) - low) % span + low for v in np.ravel(values)], dtype).reshape(np.shape(values))


def ref(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f`` in extended precision, of integers in Python's, rounded to the dtype of the operands once."""

    def reference(*args: Any) -> Any:
        dtype = np.asarray(args[0]).dtype
        with np.errstate(all="ignore"):
            if dtype.kind == "b":
                return f(*args)
            if dtype.kind in "iu":
                y = np.asarray(f(*(np.asarray(x).astype(object) for x in args)))
                return y.astype(bool) if f in COMPARISONS else wrapped(y, dtype)
            y = np.asarray(
                f(*(np.asarray(x).astype(np.clongdouble if dtype.kind == "c" else np.longdouble) for x in args))
            )
            if y.dtype.kind == "b":
                return y
            bits = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
            return y.astype(f"c{2 * bits}" if y.dtype.kind == "c" else f"f{bits}")

    return reference


COMPARISONS = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)


def _fmod(x: Any, y: Any) -> Any:
    return np.sign(x) * (np.abs(x) % np.abs(y))


def _erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[np.longdouble])(x) if np.size(x) else x


def _logistic(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _complex_sign(x: Any) -> Any:
    return np.where(x == 0, x, x / np.where(x == 0, 1, np.abs(x))) if x.dtype.kind == "c" else np.sign(x)


def _bits(x: Any) -> Any:
    return np.array([bin(int(v) & (1 << 8 * x.dtype.itemsize) - 1).count("1") for v in x.ravel()], x.dtype).reshape(
        x.shape
    )


# Elementwise primitives -----------------------------------------------------------------------------------------------

ELEMENTWISE_SHAPES: tuple[Shape, ...] = ((2, 3), (), (0, 3))


def _name(primitive: Primitive, suffix: str = "") -> str:
    return f"{primitive.name}{suffix}"


def elementwise(
    primitive: Primitive,
    reference: Callable[..., Any],
    *args: Arg,
    dtypes: Sequence[str] = FLOATS,
    grad: Sequence[int] | None = None,
    special: bool = True,
    ulps: float = 32,
    suffix: str = "",
    order: int = 2,
    raw: bool = False,
    **params: Any,
) -> Op:
    """A row of an elementwise primitive; ``raw`` references take the operands in their own dtype."""
    return Op(
        _name(primitive, suffix),
        (lambda *xs: primitive(*xs, **params)) if params else primitive,
        reference if raw else ref(reference),
        args,
        tuple(dtypes),
        ELEMENTWISE_SHAPES,
        tuple(range(len(args))) if grad is None else tuple(grad),
        special,
        ulps,
        order,
        primitive.name,
    )


UNARY = [
    elementwise(p.neg, operator.neg, values(), dtypes=NUMBERS),
    elementwise(p.sign, _complex_sign, values(), dtypes=NUMBERS),
    elementwise(p.abs_, np.abs, values(), dtypes=NUMBERS),
    elementwise(p.floor, np.floor, values()),
    elementwise(p.ceil, np.ceil, values()),
    elementwise(p.round_, np.rint, values()),
    elementwise(p.is_finite, np.isfinite, values(), dtypes=INEXACT, grad=()),
    elementwise(p.exp, np.exp, values(), dtypes=INEXACT),
    elementwise(p.exp2, np.exp2, values(), dtypes=INEXACT),
    elementwise(p.expm1, np.expm1, values(), dtypes=INEXACT),
    elementwise(p.log, np.log, values(0.2, 3), dtypes=INEXACT),
    elementwise(p.log1p, np.log1p, values(-0.5, 3), dtypes=INEXACT),
    elementwise(p.sqrt, np.sqrt, values(0.2, 3), dtypes=INEXACT),
    elementwise(p.rsqrt, lambda x: 1 / np.sqrt(x), values(0.2, 3), dtypes=INEXACT),
    elementwise(p.cbrt, np.cbrt, values(0.2, 3)),
    elementwise(p.sin, np.sin, values(), dtypes=INEXACT),
    elementwise(p.cos, np.cos, values(), dtypes=INEXACT),
    elementwise(p.tan, np.tan, values(-1, 1), dtypes=INEXACT),
    elementwise(p.asin, np.arcsin, values(-0.8, 0.8), dtypes=INEXACT),
    elementwise(p.acos, np.arccos, values(-0.8, 0.8), dtypes=INEXACT),
    elementwise(p.atan, np.arctan, values(-0.8, 0.8), dtypes=INEXACT),
    elementwise(p.sinh, np.sinh, values(), dtypes=INEXACT),
    elementwise(p.cosh, np.cosh, values(), dtypes=INEXACT),
    elementwise(p.tanh, np.tanh, values(), dtypes=INEXACT),
    elementwise(p.asinh, np.arcsinh, values(-0.8, 0.8), dtypes=INEXACT),
    elementwise(p.acosh, np.arccosh, values(1.2, 3), dtypes=INEXACT),
    elementwise(p.atanh, np.arctanh, values(-0.8, 0.8), dtypes=INEXACT),
    elementwise(p.logistic, _logistic, values(-4, 4)),
    elementwise(p.erf, _erf, values()),
    elementwise(p.real, np.real, values(), dtypes=COMPLEX),
    elementwise(p.imag, np.imag, values(), dtypes=COMPLEX),
    elementwise(p.conj, np.conj, values(), dtypes=COMPLEX),
    elementwise(p.not_, np.invert, values(), dtypes=("bool", *INTEGERS), raw=True),
    elementwise(p.population_count, _bits, values(), dtypes=INTEGERS, raw=True),
    *(
        elementwise(
            p.integer_pow,
            # By squaring, as the definition says: 0 to a negative power is infinite.
            (lambda n: lambda x: _power(x, n))(n),
            values(0.4, 1.6),
            dtypes=NUMBERS if n >= 0 else INEXACT,
            suffix=f"[{n}]",
            ulps=64,
            y=n,
        )
        for n in (0, 1, 2, 3, 7, -1, -2, -5)
    ),
    *(
        elementwise(
            p.convert, (lambda d: lambda x: np.asarray(x).astype(d))(to), values(), dtypes=dtypes, grad=grad, raw=True,
            special=False, suffix=f"[{to}]", dtype=np.dtype(to),
        )
        for to, dtypes, grad in [
            ("float32", (*FLOATS, *INTEGERS, "bool"), ()),
            ("float64", (*FLOATS, *INTEGERS, "bool"), (0,)),
            ("complex128", ALL, (0,)),
            ("int32", (*FLOATS, *INTEGERS, "bool"), ()),
            ("int8", ("float64", "int32", "bool"), ()),
            ("bool", ALL, ()),
        ]
    ),
]  # fmt: skip


def _power(x: Any, n: int) -> Any:
    if n < 0:
        return 1 / _power(x, -n)
    y = x**0 if n == 0 else x
    for _ in range(n - 1):
        y = y * x
    return y


def _choice(pred: Any, x: Any, y: Any) -> Any:
    return np.where(pred, x, y)


_NONZERO = values(0.3, 2, ints=(1, 6))
BINARY = [
    elementwise(p.add, operator.add, values(), values(), dtypes=ALL),
    elementwise(p.sub, operator.sub, values(), values(), dtypes=NUMBERS),
    elementwise(p.mul, operator.mul, values(), values(), dtypes=ALL, special=True),
    elementwise(p.div, operator.truediv, values(), _NONZERO, dtypes=INEXACT),
    elementwise(p.floor_divide, operator.floordiv, values(), _NONZERO, dtypes=(*INTEGERS, *FLOATS)),
    elementwise(p.remainder, operator.mod, values(), _NONZERO, dtypes=(*INTEGERS, *FLOATS)),
    elementwise(p.fmod, _fmod, values(), _NONZERO, dtypes=(*INTEGERS, *FLOATS)),
    elementwise(p.pow_, operator.pow, values(0.3, 2, ints=(-3, 4)), values(ints=(0, 4)), dtypes=NUMBERS, ulps=128),
    elementwise(p.atan2, np.arctan2, values(), values()),
    elementwise(p.max_, np.maximum, values(), values(), dtypes=(*INTEGERS, *FLOATS)),
    elementwise(p.min_, np.minimum, values(), values(), dtypes=(*INTEGERS, *FLOATS)),
    elementwise(p.nextafter, np.nextafter, values(), values(), raw=True),
    elementwise(p.and_, np.bitwise_and, values(), values(), dtypes=("bool", *INTEGERS)),
    elementwise(p.or_, np.bitwise_or, values(), values(), dtypes=("bool", *INTEGERS)),
    elementwise(p.xor, np.bitwise_xor, values(), values(), dtypes=("bool", *INTEGERS)),
    elementwise(p.shift_left, operator.lshift, values(), values(ints=(0, 7)), dtypes=INTEGERS),
    elementwise(p.shift_right, operator.rshift, values(ints=(-100, 100)), values(ints=(0, 7)), dtypes=INTEGERS),
    elementwise(p.eq, operator.eq, values(ints=(0, 3)), values(ints=(0, 3)), dtypes=ALL, grad=()),
    elementwise(p.ne, operator.ne, values(ints=(0, 3)), values(ints=(0, 3)), dtypes=ALL, grad=()),
    elementwise(p.lt, operator.lt, values(), values(), dtypes=(*INTEGERS, *FLOATS), grad=()),
    elementwise(p.le, operator.le, values(), values(), dtypes=(*INTEGERS, *FLOATS), grad=()),
    elementwise(p.gt, operator.gt, values(), values(), dtypes=(*INTEGERS, *FLOATS), grad=()),
    elementwise(p.ge, operator.ge, values(), values(), dtypes=(*INTEGERS, *FLOATS), grad=()),
    elementwise(
        p.complex_,
        lambda x, y: np.stack([x, y], -1).copy().view(f"c{2 * x.dtype.itemsize}")[..., 0],
        values(),
        values(),
        dtypes=("float32", "float64"),
        raw=True,
    ),
    elementwise(p.select, _choice, flags(), values(), values(), dtypes=ALL, grad=(1, 2), raw=True, special=False),
]


# Special functions: by the standard library, or by the definition. tests/test_special.py compares them with SciPy's.


def _of_numbers(f: Callable[..., float]) -> Callable[..., Any]:
    def apply(*xs: Any) -> Any:
        return np.vectorize(lambda *x: f(*map(float, x)), otypes=[np.longdouble])(*xs) if np.size(xs[0]) else xs[0]

    return apply


def _psi(x: float) -> float:
    w = x + 1000
    return math.log(w) - 1 / (2 * w) - 1 / (12 * w * w) - math.fsum(1 / (x + k) for k in range(1000))


def _zeta(s: float, q: float) -> float:
    w = q + 1000
    rest = w ** (1 - s) / (s - 1) + w**-s / 2 + s * w ** (-s - 1) / 12 - s * (s + 1) * (s + 2) * w ** (-s - 3) / 720
    return math.fsum((q + k) ** -s for k in range(1000)) + rest


def _beta(a: float, b: float) -> float:
    return math.gamma(a) * math.gamma(b) / math.gamma(a + b)


def _gammainc(a: float, x: float) -> float:
    return x**a * math.exp(-x) * math.fsum(x**n / math.gamma(a + n + 1) for n in range(60))


def _betainc(a: float, b: float, x: float) -> float:
    term, terms = 1.0, []
    for n in range(400):
        terms.append(term / (a + n))
        term *= (n + 1 - b) * x / (n + 1)
    return x**a * math.fsum(terms) / _beta(a, b)


def _bessel(order: int, x: float) -> float:
    return math.fsum((x / 2) ** (2 * k + order) / (math.factorial(k) * math.factorial(k + order)) for k in range(40))


def _root(f: Callable[[float], float], y: float) -> float:
    low, high = -40.0, 40.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) < y else (low, middle)
    return low


def special_row(primitive: Primitive, f: Callable[..., float], *args: Arg, grad: Sequence[int] | None = None) -> Op:
    return elementwise(primitive, _of_numbers(f), *args, grad=grad, special=False, ulps=256)


_NEAR, _ABOVE, _INSIDE = values(-2, 2), values(0.4, 4), values(0.1, 0.8)
SPECIAL = [
    special_row(p.erfc, math.erfc, _NEAR),
    special_row(p.erfcx, lambda x: math.exp(x * x) * math.erfc(x), _NEAR),
    special_row(p.erfinv, lambda y: _root(math.erf, y), values(-0.9, 0.9)),
    special_row(p.ndtri, lambda y: _root(lambda x: math.erfc(-x / math.sqrt(2)) / 2, y), _INSIDE),
    special_row(p.log_ndtr, lambda x: math.log(math.erfc(-x / math.sqrt(2)) / 2), _NEAR),
    special_row(p.logit, lambda x: math.log(x / (1 - x)), _INSIDE),
    special_row(p.entr, lambda x: -x * math.log(x), _ABOVE),
    special_row(p.xlogy, lambda x, y: x * math.log(y), _NEAR, _ABOVE),
    special_row(p.xlog1py, lambda x, y: x * math.log1p(y), _NEAR, _ABOVE),
    special_row(p.gamma, math.gamma, _ABOVE),
    special_row(p.gammaln, math.lgamma, _ABOVE),
    special_row(p.digamma, _psi, _ABOVE),
    special_row(p.zeta, _zeta, values(1.5, 4), _ABOVE),
    special_row(p.riemann_zeta, lambda s: _zeta(s, 1.0), values(1.5, 4)),
    special_row(p.beta, _beta, _ABOVE, _ABOVE),
    special_row(p.betaln, lambda a, b: math.log(_beta(a, b)), _ABOVE, _ABOVE),
    special_row(p.gammainc, _gammainc, _ABOVE, _ABOVE),
    special_row(p.gammaincc, lambda a, x: 1 - _gammainc(a, x), _ABOVE, _ABOVE),
    special_row(p.gamma_density, lambda a, x: x ** (a - 1) * math.exp(-x) / math.gamma(a), _ABOVE, _ABOVE),
    special_row(p.betainc, _betainc, _ABOVE, _ABOVE, _INSIDE),
    special_row(
        p.beta_density, lambda a, b, x: x ** (a - 1) * (1 - x) ** (b - 1) / _beta(a, b), _ABOVE, _ABOVE, _INSIDE
    ),
    special_row(p.i0, lambda x: _bessel(0, x), _NEAR),
    special_row(p.i1, lambda x: _bessel(1, x), _NEAR),
    special_row(p.i0e, lambda x: math.exp(-abs(x)) * _bessel(0, x), values(0.2, 3)),
    special_row(p.i1e, lambda x: math.exp(-abs(x)) * _bessel(1, x), values(0.2, 3)),
]


# Primitives over axes -------------------------------------------------------------------------------------------------


def over(
    primitive: Primitive,
    reference: Callable[..., Any],
    *args: Arg,
    dtypes: Sequence[str] = MAIN,
    grad: Sequence[int] | None = None,
    suffix: str = "",
    function: Callable[..., Any] | None = None,
    order: int = 2,
    **params: Any,
) -> Op:
    """A row of a primitive whose arguments have shapes of their own."""
    call = function or (lambda *xs: primitive(*xs, **params))
    numbers = tuple(range(len(args))) if grad is None else tuple(grad)
    return Op(
        _name(primitive, suffix),
        call,
        reference,
        args,
        tuple(dtypes),
        grad=numbers,
        order=order,
        primitive=primitive.name,
    )


def _pad(x: Any, value: Any, config: Any) -> Any:
    for axis, (lo, hi, k) in enumerate(config):
        n = x.shape[axis]
        y = np.full((*x.shape[:axis], max(n + (n - 1) * k, 0), *x.shape[axis + 1 :]), value, x.dtype)
        y[(slice(None),) * axis + (slice(None, None, k + 1),)] = x
        ends = [(max(lo, 0), max(hi, 0)) if i == axis else (0, 0) for i in range(x.ndim)]
        y = np.pad(y, ends, constant_values=value)
        x = y[(slice(None),) * axis + (slice(max(-lo, 0), y.shape[axis] - max(-hi, 0)),)]
    return x


def _gather(x: Any, *indices: Any, axes: Shape) -> Any:
    rest = [n for i, n in enumerate(x.shape) if i not in axes]
    y = np.empty((*indices[0].shape, *rest), x.dtype)
    for s in np.ndindex(indices[0].shape):
        at: list[Any] = [slice(None)] * x.ndim
        for axis, i in zip(axes, indices, strict=True):
            at[axis] = i[s]
        y[s] = x[tuple(at)]
    return y


_COMBINE = {"set": lambda x, u: u, "add": operator.add, "mul": operator.mul, "min": np.minimum, "max": np.maximum}


def _scatter(x: Any, u: Any, *indices: Any, axes: Shape, kind: str) -> Any:
    y = x.copy()
    for s in np.ndindex(indices[0].shape):
        at: list[Any] = [slice(None)] * x.ndim
        for axis, i in zip(axes, indices, strict=True):
            at[axis] = i[s]
        y[tuple(at)] = _COMBINE[kind](y[tuple(at)], u[s])
    return y


def _window(x: Any, starts: Sequence[Any], sizes: Shape) -> Any:
    return tuple(slice(int(s), int(s) + n) for s, n in zip(starts, sizes, strict=True))


def _update(x: Any, u: Any, *starts: Any) -> Any:
    y = x.copy()
    y[_window(x, starts, u.shape)] = u
    return y


def _dilate(x: Any, by: Sequence[int], first: int) -> Any:
    config = [(0, 0, 0)] * first + [(0, 0, d - 1) for d in by]
    return _pad(x, x.dtype.type(0), config)


def _conv(x: Any, w: Any, strides: Any, padding: Any, lhs_dilation: Any, rhs_dilation: Any, groups: int) -> Any:
    """y[n, o, i] = sum over c and k of x[n, c, i s + k] w[o, c, k], window by window."""
    x = _pad(_dilate(x, lhs_dilation, 2), x.dtype.type(0), [(0, 0, 0)] * 2 + [(lo, hi, 0) for lo, hi in padding])
    w = _dilate(w, rhs_dilation, 2)
    out, into, *kernel = w.shape
    size = [max((n - k) // s + 1, 0) for n, k, s in zip(x.shape[2:], kernel, strides, strict=True)]
    y = np.zeros((x.shape[0], out, *size), x.dtype)
    for o in range(out):
        first = o // (out // groups) * into
        for i in np.ndindex(*size):
            at = tuple(slice(j * s, j * s + k) for j, s, k in zip(i, strides, kernel, strict=True))
            part = x[(slice(None), slice(first, first + into), *at)]
            y[(slice(None), o, *i)] = (part * w[o]).sum(tuple(range(1, x.ndim)))
    return y


def _reduce_window(f: Callable[..., Any], neutral: Any) -> Callable[..., Any]:
    def reference(x: Any, window: Any, strides: Any, padding: Any, dilation: Any) -> Any:
        x = np.pad(x, padding, constant_values=np.asarray(neutral(x.dtype), x.dtype))
        spans = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
        size = [max((n - k) // s + 1, 0) for n, k, s in zip(x.shape, spans, strides, strict=True)]
        y = np.zeros(size, x.dtype)
        for i in np.ndindex(*size):
            at = tuple(slice(j * s, j * s + k, d) for j, s, k, d in zip(i, strides, spans, dilation, strict=True))
            y[i] = f(x[at])
        return y

    return reference


def _lowest(dtype: np.dtype[Any]) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


_sum_window = _reduce_window(lambda x: x.sum(dtype=x.dtype), lambda dtype: 0)
_max_window = _reduce_window(np.max, _lowest)


def _cumulative(f: Callable[[Any], Any]) -> Callable[..., Any]:
    def reference(x: Any, axis: int, reverse: bool) -> Any:
        y = np.empty_like(x)
        n = x.shape[axis]
        for k in range(n):
            part = slice(k, n) if reverse else slice(0, k + 1)
            y[(slice(None),) * axis + (k,)] = f(x[(slice(None),) * axis + (part,)])
        return y

    return reference


def _bind(f: Callable[..., Any], **params: Any) -> Callable[..., Any]:
    return lambda *xs: f(*xs, **params)


def _row(primitive: Primitive, reference: Callable[..., Any], *args: Arg, tag: str = "", **keywords: Any) -> Op:
    """A row whose reference takes the same parameters as the primitive."""
    known = {k: keywords.pop(k) for k in ("dtypes", "grad", "order") if k in keywords}
    return over(primitive, _bind(reference, **keywords), *args, suffix=tag, **known, **keywords)


STRUCTURE = [
    *(
        over(p.broadcast_in_dim, (lambda s, v: lambda x: np.broadcast_to(x.reshape(v), s))(shape, view), a(*x),
             shape=shape, dims=dims, suffix=f"[{n}]", dtypes=ALL if n == 0 else MAIN)
        for n, (x, shape, dims, view) in enumerate([
            ((3,), (2, 3), (1,), (1, 3)), ((3,), (3, 2), (0,), (3, 1)), ((), (2, 2), (), (1, 1)),
            ((2, 1), (2, 4, 3), (0, 2), (2, 1, 1)), ((1,), (0,), (0,), (1,)), ((2,), (2, 0), (0,), (2, 1)),
        ])
    ),
    over(p.reshape, lambda x: np.array(list(x.flat), x.dtype).reshape(3, 2), a(2, 3), shape=(3, 2)),
    over(p.reshape, lambda x: x.reshape(()), a(1, 1), shape=(), suffix="[scalar]"),
    over(p.reshape, lambda x: x.reshape((4, 0)), a(0, 2), shape=(4, 0), suffix="[empty]"),
    over(p.transpose, lambda x: np.einsum("abc->cab", x), a(2, 3, 4), axes=(2, 0, 1), dtypes=NUMBERS),
    over(p.transpose, lambda x: x, a(), axes=(), suffix="[scalar]"),
    over(p.rev, lambda x: x[::-1, :, ::-1], a(2, 3, 4), axes=(0, 2), dtypes=ALL),
    over(p.rev, lambda x: x, a(0, 2), axes=(0,), suffix="[empty]"),
    over(p.slice_, lambda x: x[1:4:2, :3], a(5, 4), start=(1, 0), limit=(4, 3), stride=(2, 1), dtypes=ALL),
    over(p.slice_, lambda x: x[0:5:3, 1::2], a(5, 4), start=(0, 1), limit=(5, 4), stride=(3, 2), suffix="[strides]"),
    over(p.slice_, lambda x: x[2:2], a(5), start=(2,), limit=(2,), stride=(1,), suffix="[empty]"),
    *(
        _row(p.pad, _pad, a(*shape), a(), config=config, tag=f"[{tag}]")
        for tag, shape, config in [
            ("ends", (2, 3), ((1, 2, 0), (0, 1, 0))), ("interior", (3, 2), ((0, 0, 2), (1, 0, 1))),
            ("negative", (5, 4), ((-1, -2, 0), (2, -1, 0))), ("all", (3,), ((-1, 2, 2),)),
                ("empty", (0, 2), ((1, 1, 1), (0, 0, 0))),
            ("rank 0", (), ()),
        ]
    ),
    over(p.concatenate, lambda *xs: np.array([v for x in xs for v in x], xs[0].dtype), a(2, 3), a(1, 3), a(0, 3),
        axis=0),
    over(p.concatenate, lambda x, y: np.swapaxes(np.array([*x.T, *y.T], x.dtype), 0, 1), a(2, 3), a(2, 1), axis=1,
         suffix="[1]", dtypes=ALL),
    over(p.iota, lambda x: x + np.arange(3).astype(x.dtype), a(2, 3), suffix="[1]", dtypes=NUMBERS,
         function=lambda x: p.add(x, p.iota(shape=(2, 3), dtype=x.dtype, axis=1))),
    over(p.iota, lambda x: x + np.arange(2).astype(x.dtype)[:, None], a(2, 3), suffix="[0]",
         function=lambda x: p.add(x, p.iota(shape=(2, 3), dtype=x.dtype, axis=0))),
    over(p.sort, lambda x: np.array([sorted(r) for r in x.tolist()], x.dtype), a(3, 5), axis=1, stable=False,
         dtypes=("bool", *INTEGERS, *FLOATS)),
    over(p.sort, lambda x: np.array([sorted(c) for c in x.T.tolist()], x.dtype).T, a(5, 3), axis=0, stable=True,
         suffix="[0, stable]", dtypes=("float32", "float64", "int32")),
    over(p.argsort, lambda x: np.array([sorted(range(40), key=r.__getitem__) for r in x.tolist()]), a(3, 40), axis=1,
         stable=True, suffix="[stable]", dtypes=("bool", *INTEGERS, *FLOATS), grad=()),
    # Of equal elements any may come first: what the indices find is compared, not the indices.
    over(p.argsort, lambda x: np.array([sorted(r) for r in x.tolist()], x.dtype), a(3, 40), axis=1,
         function=lambda x: p.take_along(x, p.argsort(x, axis=1, stable=False), 1),
         dtypes=("bool", *INTEGERS, *FLOATS)),
    over(p.copy, lambda x: x, a(2, 3), dtypes=ALL),
    over(p.stop_gradient, lambda x: x, a(2, 3), dtypes=ALL, grad=()),
    over(p.optimization_barrier, lambda x, y: [x, y], a(2, 3), a(2), dtypes=ALL),
]  # fmt: skip

REDUCTIONS = [
    *(
        over(
            primitive, (lambda f, axes: lambda x: np.asarray(f(x, axis=axes)).astype(x.dtype))(f, axes), a(*shape),
                axes=axes,
            suffix=f"[{shape}, {axes}]", dtypes=dtypes if axes == (1,) else ("float64",),
        )
        for primitive, f, dtypes in [
            (p.reduce_sum, np.sum, NUMBERS), (p.reduce_prod, np.prod, NUMBERS), (p.reduce_max, np.max, NUMBERS),
            (p.reduce_min, np.min, NUMBERS),
        ]
        for shape, axes in [((2, 3), (1,)), ((2, 3, 2), (0, 2)), ((3,), (0,)), ((2, 3), ()), ((), ()), ((0, 3), (1,))]
    ),
    *(
        over(primitive, (lambda f: lambda x: f(x, axis=0))(f), a(0, 3), axes=(0,), suffix="[none]")
        for primitive, f in [(p.reduce_sum, lambda x, axis: np.zeros(3, x.dtype)),
            (p.reduce_prod, lambda x, axis: np.ones(3, x.dtype))]
    ),
    over(p.reduce_and, lambda x: np.array([all(r) for r in x]), a(4, 2), axes=(1,), dtypes=("bool",)),
    over(p.reduce_or, lambda x: np.array([any(r) for r in x]), a(4, 2), axes=(1,), dtypes=("bool",)),
    over(p.argmax, lambda x: np.array([r.index(max(r)) for r in x.tolist()]), a(3, 5), axis=1, grad=(),
         dtypes=("bool", *INTEGERS, *FLOATS)),
    over(p.argmin, lambda x: np.array([r.index(min(r)) for r in x.T.tolist()]), a(5, 3), axis=0, grad=(),
         dtypes=("bool", *INTEGERS, *FLOATS)),
    *(
        _row(primitive, _cumulative(f), a(*shape), axis=axis, reverse=reverse, tag=f"[{shape}, {axis}, {reverse}]",
             dtypes=dtypes if axis else ("float64",))
        for primitive, f, dtypes in [
            (p.cumsum, lambda x: x.sum(1, dtype=x.dtype), NUMBERS),
                (p.cumprod, lambda x: x.prod(1, dtype=x.dtype), NUMBERS),
            (p.cummax, lambda x: x.max(1), (*INTEGERS, *FLOATS)), (p.cummin, lambda x: x.min(1), (*INTEGERS, *FLOATS)),
        ]
        for shape, axis, reverse in [((2, 5), 1, False), ((2, 5), 1, True), ((2, 0), 1, False)]
    ),
    _row(p.cumprod, _cumulative(lambda x: x.prod(0)), a(6, 2), axis=0, reverse=True, tag="[0]"),
]  # fmt: skip

INDEXING = [
    *(
        _row(p.gather, _gather, a(*shape), *indices, axes=axes, tag=f"[{tag}]", grad=(0,))
        for tag, shape, indices, axes in [
            ("rows", (4, 3), [whole(-4, 4, 5)], (0,)), ("last", (2, 3, 4), [whole(-4, 4, 2, 3)], (2,)),
            ("two", (4, 3, 2), [whole(-2, 2, 3), whole(-4, 4, 3)], (2, 0)), ("scalar", (4, 3), [whole(0, 4)], (0,)),
            ("none", (4, 3), [whole(0, 4, 0)], (0,)), ("all", (3, 3), [whole(0, 3, 2), whole(0, 3, 2)], (0, 1)),
        ]
    ),
    *(
        _row(p.scatter, _scatter, a(*shape), a(*update), *indices, axes=axes, kind=kind, tag=f"[{kind}, {tag}]",
            grad=(0, 1),
             dtypes=MAIN if kind in ("set", "add", "mul") else ("float32", "float64", "int32"))
        for kind in ("set", "add", "mul", "min", "max")
        for tag, shape, update, indices, axes in [
            ("rows", (4, 3), (6, 3), [whole(-4, 4, 6)], (0,)), ("last", (2, 3), (2, 2, 2), [whole(0, 3, 2, 2)], (1,)),
            ("two", (3, 2), (4,), [whole(0, 2, 4), whole(0, 3, 4)], (1, 0)),
                ("scalar", (4, 3), (3,), [whole(0, 4)], (0,)),
            ("none", (4, 3), (0, 3), [whole(0, 4, 0)], (0,)),
        ]
    ),
    over(p.dynamic_slice, lambda x, *s: x[_window(x, s, (2, 3))], a(4, 5), whole(0, 3), whole(0, 3), sizes=(2, 3),
        grad=(0,)),
    over(p.dynamic_update_slice, _update, a(4, 5), a(2, 3), whole(0, 3), whole(0, 3), grad=(0, 1)),
    over(p.dynamic_update_slice, _update, a(4), a(0), whole(0, 4), grad=(0, 1), suffix="[empty]"),
]  # fmt: skip


def _conv_row(tag: str, x: Shape, w: Shape, strides: Any, padding: Any, lhs: Any, rhs: Any, groups: int = 1) -> Op:
    return _row(
        p.conv_general_dilated, _conv, a(*x), a(*w), tag=f"[{tag}]", dtypes=("float32", "float64", "complex128"),
        strides=strides, padding=padding, lhs_dilation=lhs, rhs_dilation=rhs, groups=groups,
    )  # fmt: skip


_DOT = p.dot_general
CONTRACTIONS = [
    *(
        over(_DOT, (lambda e: lambda x, y: np.einsum(e, x, y))(text), a(*x), a(*y), dimension_numbers=numbers,
             suffix=f"[{text}, {x}]", dtypes=NUMBERS if n == 0 else ("float64", "complex128"))
        for n, (text, x, y, numbers) in enumerate([
            ("ij,jk->ik", (2, 3), (3, 4), (((1,), (0,)), ((), ()))),
            ("i,i->", (3,), (3,), (((0,), (0,)), ((), ()))),
            ("i,j->ij", (3,), (2,), (((), ()), ((), ()))),
            ("bij,bjk->bik", (2, 3, 4), (2, 4, 2), (((2,), (1,)), ((0,), (0,)))),
            ("ibj,kjb->bik", (3, 2, 4), (2, 4, 2), (((2,), (1,)), ((1,), (2,)))),
            ("ijab,bka->ijk", (2, 3, 2, 3), (3, 2, 2), (((2, 3), (2, 0)), ((), ()))),
            ("abij,bakj->abik", (2, 3, 2, 2), (3, 2, 4, 2), (((3,), (3,)), ((0, 1), (1, 0)))),
            ("ij,jk->ik", (0, 3), (3, 4), (((1,), (0,)), ((), ()))),
            ("ij,jk->ik", (2, 0), (0, 4), (((1,), (0,)), ((), ()))),
            (",->", (), (), (((), ()), ((), ()))),
        ])
    ),
    _conv_row("1d", (2, 3, 7), (4, 3, 3), (1,), ((0, 0),), (1,), (1,)),
    _conv_row("1x1", (2, 3, 4), (2, 3, 1), (1,), ((0, 0),), (1,), (1,)),
    _conv_row("rank 2", (2, 3), (4, 3), (), (), (), ()),
    _conv_row("stride", (2, 2, 8), (3, 2, 3), (2,), ((1, 1),), (1,), (1,)),
    _conv_row("stride leaves a rest", (1, 2, 8), (2, 2, 3), (3,), ((0, 0),), (1,), (1,)),
    _conv_row("uneven padding", (2, 2, 5), (3, 2, 4), (2,), ((3, 1),), (1,), (1,)),
    _conv_row("negative padding", (1, 2, 8), (2, 2, 3), (1,), ((-1, -2),), (1,), (1,)),
    _conv_row("lhs dilation", (1, 2, 4), (2, 2, 3), (2,), ((2, 1),), (3,), (1,)),
    _conv_row("rhs dilation", (1, 2, 9), (2, 2, 3), (2,), ((1, 2),), (1,), (2,)),
    _conv_row("groups", (2, 4, 6), (6, 2, 3), (1,), ((1, 1),), (1,), (1,), 2),
    _conv_row("depthwise", (1, 3, 6), (6, 1, 2), (2,), ((0, 1),), (1,), (1,), 3),
    _conv_row("2d, everything", (2, 4, 6, 5), (2, 2, 3, 2), (2, 1), ((1, 2), (0, -1)), (2, 1), (1, 2), 2),
    _conv_row("empty batch", (0, 2, 5), (3, 2, 3), (1,), ((0, 0),), (1,), (1,)),
    _conv_row("window larger than all", (1, 1, 2), (1, 1, 5), (1,), ((1, 0),), (1,), (1,)),
    *(
        _row(primitive, f, a(*shape), tag=f"[{tag}]", dtypes=("float32", "float64", "int32"), window=window,
            strides=strides,
             padding=padding, dilation=dilation)
        for primitive, f in [(p.reduce_window_sum, _sum_window), (p.reduce_window_max, _max_window)]
        for tag, shape, window, strides, padding, dilation in [
            ("1d", (7,), (3,), (1,), ((0, 0),), (1,)), ("strides", (8,), (2,), (3,), ((1, 0),), (1,)),
            ("2d", (5, 6), (2, 3), (2, 1), ((1, 0), (0, 2)), (1, 2)), ("one", (4,), (1,), (2,), ((0, 0),), (1,)),
            ("batch", (2, 5), (1, 2), (1, 2), ((0, 0), (1, 1)), (1, 1)),
        ]
    ),
]  # fmt: skip


def _rows(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: fg.vmap(f, axis_name="row")(x)


def _called(x: Any) -> Any:
    return np.asarray(x) * 2


#: Operations over a named axis have a meaning inside a vmap only: the row is the vmap.
OTHERS = [
    over(p.psum, lambda x: np.broadcast_to(x.sum(0, dtype=x.dtype), x.shape), a(3, 2),
        function=_rows(lambda r: lax.psum(r, "row"))),
    over(p.pmax, lambda x: np.broadcast_to(x.max(0), x.shape), a(3, 2), function=_rows(lambda r: lax.pmax(r, "row")),
         dtypes=("float32", "float64", "int32")),
    over(p.all_gather, lambda x: np.stack([x] * 3), a(3, 2), function=_rows(lambda r: lax.all_gather(r, "row"))),
    over(p.axis_index, lambda x: x + np.arange(3)[:, None].astype(x.dtype), a(3, 2), dtypes=("float64", "int64"),
         function=_rows(lambda r: p.add(r, p.convert(lax.axis_index("row"), dtype=r.dtype)))),
    over(p.pure_callback, lambda x: 2 * x, a(2, 3), grad=(), dtypes=("float64",),
         function=lambda x: fg.pure_callback(_called, fg.ShapeDtypeStruct((2, 3), np.dtype("float64")), x,
             vmap_method="sequential")),
]  # fmt: skip


def _fft(kind: str, n: int, f: Callable[[Any], Any]) -> Op:
    # NumPy's own, without its factor 1/n backwards and in the precision of the operand.
    takes = ("float32", "float64") if kind == "rfft" else ("complex64", "complex128")
    return over(p.fft_, f, a(2, n // 2 + 1 if kind == "irfft" else n, 2), kind=kind, n=n, axis=1,
                suffix=f"[{kind}, {n}]", dtypes=takes)  # fmt: skip


def _mm(x: Any, y: Any) -> Any:
    """The matrix product, of primitives or of NumPy."""
    return _DOT(x, y, dimension_numbers=(((1,), (0,)), ((), ())))


def _hermitian(x: Any) -> Any:
    """x x^T + 3: positive definite, and real symmetric for real x."""
    return p.add(_mm(x, p.transpose(x, axes=(1, 0))), 3 * np.eye(3).astype(x.dtype))


def _lu(x: Any) -> Any:
    """Gaussian elimination, the largest element of the column first; both factors in one matrix."""
    x = x.copy()
    for j in range(len(x)):
        k = j + int(np.argmax(np.abs(x[j:, j].real) + np.abs(x[j:, j].imag)))
        x[[j, k]] = x[[k, j]]
        x[j + 1 :, j] /= x[j, j]
        x[j + 1 :, j + 1 :] -= np.outer(x[j + 1 :, j], x[j, j + 1 :])
    return x


_REALS, _FIELDS = ("float32", "float64"), ("float32", "float64", "complex128")
_SQUARE, _SIDE = a(3, 3), a(3, 2)
_LOWER = {"left": True, "lower": True, "transpose": False, "conj": False, "unit_diagonal": False}


def _spd(x: Any) -> Any:
    return x @ x.T + 3 * np.eye(3, dtype=x.dtype)


def _of_eigenvalues(eigh: Callable[[Any], Any], xp: Any) -> Callable[[Any], Any]:
    """v exp(w / 8) v^T: a function of the matrix, which does not depend on the signs of the vectors."""
    if xp is np:
        return lambda x: (lambda w, v: [w, v * np.exp(w / 8) @ v.T])(*eigh(_spd(x)))
    scaled = lambda w, v: p.mul(v, p.broadcast_in_dim(p.exp(p.div(w, 8.0)), shape=(3, 3), dims=(1,)))
    return lambda x: (lambda w, v: [w, _mm(scaled(w, v), p.transpose(v, axes=(1, 0)))])(*eigh(_hermitian(x)))


#: Linear algebra. Vectors are compared through what does not depend on their signs.
LINALG = [
    over(p.guard, lambda x: x, a(2, 3), function=lambda x: p.guard(x, np.bool_(False), message="never")),
    over(p.solve, np.linalg.solve, _SQUARE, _SIDE, dtypes=_FIELDS),
    over(p.triangular_solve, lambda x, y: np.linalg.solve(np.tril(x), y), _SQUARE, _SIDE, dtypes=_FIELDS, **_LOWER),
    over(p.triangular_solve, lambda x, y: np.linalg.solve(np.triu(x, 1).T + np.eye(3, dtype=x.dtype), y.T).T, _SQUARE,
         a(2, 3), dtypes=_FIELDS, suffix="[right]", **(_LOWER | {"left": False, "lower": False,
             "unit_diagonal": True})),
    over(p.det, np.linalg.det, _SQUARE, dtypes=_FIELDS),
    over(p.cofactor, lambda x: (np.linalg.det(x) * np.linalg.inv(x).T).astype(x.dtype), _SQUARE, dtypes=_FIELDS),
    over(p.slogdet, np.linalg.slogdet, _SQUARE, dtypes=_FIELDS),
    over(p.cholesky, lambda x: np.linalg.cholesky(_spd(x)), _SQUARE, dtypes=_REALS,
        function=lambda x: p.cholesky(_hermitian(x))),
    over(p.lu, _lu, _SQUARE, dtypes=_FIELDS, function=lambda x: p.lu(x)[0]),
    over(p.qr, np.linalg.qr, a(4, 3), dtypes=_FIELDS, full=False),
    over(p.eigh, _of_eigenvalues(np.linalg.eigh, np), _SQUARE, dtypes=_REALS,
         function=_of_eigenvalues(lambda x: p.eigh(x, lower=True, vectors=True, safe=False), p)),
    over(p.eig, lambda x: np.linalg.eigvals(x).astype(np.result_type(x, np.complex64)), _SQUARE, dtypes=_FIELDS,
         function=lambda x: p.eig(x, vectors=False, safe=False)[0]),
    over(p.svd, lambda x: (lambda u, s, v: [s, u @ v])(*np.linalg.svd(x, False)), a(4, 3), dtypes=_REALS,
         function=lambda x: (lambda u, s, v: [s, _mm(u, v)])(*p.svd(x, full=False, vectors=True, safe=False))),
    over(p.pinv, np.linalg.pinv, a(4, 3), dtypes=_FIELDS, function=lambda x: p.pinv(x, x.real.dtype.type(1e-6))),
]  # fmt: skip

FFT = [
    row
    for n in (1, 4, 5)
    for row in (
        _fft("fft", n, lambda x: np.fft.fft(x, axis=1)),
        _fft("ifft", n, lambda x: np.fft.ifft(x, axis=1, norm="forward")),
        _fft("rfft", n, lambda x: np.fft.rfft(x, axis=1)),
        _fft("irfft", n, (lambda n: lambda x: np.fft.irfft(x, n, axis=1, norm="forward"))(n)),
    )
]

PRIMITIVES = [*UNARY, *BINARY, *SPECIAL, *STRUCTURE, *REDUCTIONS, *INDEXING, *CONTRACTIONS, *LINALG, *FFT, *OTHERS]


# The NumPy surface ----------------------------------------------------------------------------------------------------


def np_row(
    name: str, *args: Arg, grad: Any = None, dtypes: Any = ("float32", "float64"), tag: str = "", **static: Any
) -> Op:
    """A function of ``funcgrad.numpy`` and NumPy's of that name, with static keyword arguments."""
    order = static.pop("order", 2)
    told = ", ".join(f"{k}={v!r}" for k, v in static.items() if np.size(v) < 4)
    suffix = f"({tag or told})" if tag or told else ""
    return Op(
        f"np.{name}{suffix}",
        _bind(getattr(fnp, name), **static),
        _bind(getattr(np, name), **static),
        args,
        tuple(dtypes),
        grad=tuple(range(len(args))) if grad is None else tuple(grad),
        ulps=64,
        order=order,
        jax=lambda jnp, *xs: getattr(jnp, name)(*xs, **static),
    )


def call_row(
    name: str, f: Callable[..., Any], *args: Arg, dtypes: Any = ("float32", "float64"), grad: Any = None, order: int = 2
) -> Op:
    """An expression ``f(xp, *args)``, evaluated with ``funcgrad.numpy`` and with NumPy."""
    return Op(
        f"np.{name}",
        lambda *xs: f(fnp, *xs),
        lambda *xs: f(np, *xs),
        args,
        tuple(dtypes),
        grad=tuple(range(len(args))) if grad is None else tuple(grad),
        ulps=64,
        order=order,
        jax=f,
    )


_WITH_INTS = ("float32", "float64", "int32")
_X = a(2, 3)
_POSITIVE = a(2, 3, low=0.3)

SURFACE = [
    # Elementwise, with broadcasting. Special values of these are in tests/test_numpy_elementwise.py.
    *(np_row(n, _X, dtypes=MAIN) for n in ["negative", "positive", "absolute", "square", "exp", "sin", "cos", "sinh",
        "cosh", "tanh", "sign", "real", "imag", "conj", "angle"]),
    *(np_row(n, _X, dtypes=_WITH_INTS) for n in ["fabs", "exp2", "expm1", "arctan", "arcsinh", "cbrt", "degrees",
        "radians", "deg2rad", "rad2deg", "sinc", "rint", "floor", "ceil", "trunc", "nan_to_num"]),
    *(np_row(n, _POSITIVE, dtypes=("float32", "float64", "complex128"))
        for n in ["sqrt", "log", "log2", "log10", "log1p", "reciprocal"]),
    *(np_row(n, a(2, 3, low=-0.8, high=0.8)) for n in ["arcsin", "arccos", "arctanh", "tan"]),
    np_row("arccosh", a(2, 3, low=1.2, high=3)),
    *(np_row(n, _X, a(2, 1), dtypes=MAIN) for n in ["add", "subtract", "multiply"]),
    *(np_row(n, _X, a(3)) for n in ["maximum", "minimum", "fmax", "fmin", "arctan2", "hypot", "logaddexp", "logaddexp2",
        "copysign"]),
    np_row("heaviside", _X, a(3)),
    *(np_row(n, _X, a(3, low=0.4)) for n in ["divide", "floor_divide", "remainder", "fmod"]),
    np_row("divmod", _X, a(3, low=0.4)),
    np_row("modf", _X),
    np_row("power", _POSITIVE, a(3), dtypes=("float32", "float64", "complex128")),
    np_row("float_power", _POSITIVE, a(3)),
    np_row("ldexp", _X, whole(-2, 3, 3), grad=(0,)),
    *(np_row(n, _X, a(3), grad=(), dtypes=MAIN) for n in ["equal", "not_equal", "logical_and", "logical_or",
        "logical_xor"]),
    *(np_row(n, _X, a(3), grad=(), dtypes=_WITH_INTS)
        for n in ["less", "less_equal", "greater", "greater_equal", "isclose"]),
    *(np_row(n, _X, grad=(), dtypes=("float32", "float64"))
        for n in ["isnan", "isinf", "isfinite", "signbit", "spacing"]),
    *(np_row(n, _X, a(3), grad=(), dtypes=("int32", "bool", "uint8"))
        for n in ["bitwise_and", "bitwise_or", "bitwise_xor"]),
    np_row("round", _X, decimals=1),
    call_row("clip", lambda xp, x, lo, hi: xp.clip(x, lo, hi), _X, a(3, low=-1, high=-0.5), a(2, 1, low=0.5, high=1)),
    call_row("where", lambda xp, c, x, y: xp.where(c, x, y), flags((2, 1)), _X, a(3), grad=(1, 2), dtypes=MAIN),
    call_row("select", lambda xp, x: xp.select([x > 0.5, x < -0.5], [x**2, -x], xp.sin(x)), _X),
    # Reductions.
    *(np_row(n, a(2, 3, 2), dtypes=MAIN, **k) for n in ("sum", "prod", "mean")
        for k in ({}, {"axis": 1}, {"axis": (0, -1), "keepdims": True})),
    *(np_row(n, a(2, 3, 2), dtypes=_WITH_INTS, **k) for n in ("max", "min", "ptp")
        for k in ({}, {"axis": 1}, {"axis": (0, -1), "keepdims": True})),
    *(np_row(n, a(3, 4), dtypes=("float32", "float64", "complex128"), **k) for n in ("std", "var")
        for k in ({}, {"axis": 1, "ddof": 1})),
    *(np_row(n, a(3, 4), dtypes=MAIN, axis=1) for n in ("cumsum", "cumprod")),
    np_row("cumsum", a(2, 3)),
    *(np_row(n, a(3, 5), grad=(), dtypes=_WITH_INTS, axis=k) for n in ("argmax", "argmin") for k in (None, 1)),
    *(np_row(n, a(3, 5), axis=k) for n in ("median", "nansum", "nanmean", "nanmax", "nanmin", "nanprod", "nanvar")
        for k in (None, 1)),
    call_row("quantile", lambda xp, x: xp.quantile(x, 0.3, axis=0), a(5, 2)),
    call_row("percentile", lambda xp, x: xp.percentile(x, 70.0), a(5, 2)),
    call_row("average", lambda xp, x, w: xp.average(x, axis=1, weights=w), a(2, 3), a(3, low=0.5)),
    np_row("any", a(2, 3), grad=(), dtypes=("bool", "int32"), axis=0),
    np_row("all", a(2, 3), grad=(), dtypes=("bool", "int32"), axis=0),
    np_row("count_nonzero", a(2, 3), grad=(), dtypes=("bool", "int32"), axis=0),
    # Shapes.
    call_row("reshape", lambda xp, x: xp.reshape(x, (3, -1)), a(2, 3), dtypes=MAIN),
    call_row("ravel", lambda xp, x: xp.ravel(x), a(2, 3), dtypes=MAIN),
    call_row("transpose", lambda xp, x: xp.transpose(x, (1, 2, 0)), a(2, 3, 4), dtypes=MAIN),
    call_row("moveaxis", lambda xp, x: xp.moveaxis(x, 0, -1), a(2, 3, 4)),
    call_row("swapaxes", lambda xp, x: xp.swapaxes(x, 0, 2), a(2, 3, 4)),
    call_row("squeeze", lambda xp, x: xp.squeeze(x, 1), a(2, 1, 3)),
    call_row("expand_dims", lambda xp, x: xp.expand_dims(x, (0, 2)), a(2, 3)),
    call_row("broadcast_to", lambda xp, x: xp.broadcast_to(x, (2, 4, 3)), a(4, 1), dtypes=MAIN),
    *(np_row(n, a(2, 3), dtypes=MAIN) for n in ["flip", "fliplr", "flipud", "rot90", "atleast_1d", "atleast_2d",
        "atleast_3d", "diag", "tril", "triu", "trace", "diagonal"]),
    call_row("roll", lambda xp, x: xp.roll(x, (1, -2), (0, 1)), a(2, 3), dtypes=MAIN),
    call_row("tile", lambda xp, x: xp.tile(x, (2, 2)), a(2, 3)),
    call_row("repeat", lambda xp, x: xp.repeat(x, 2, axis=1), a(2, 3)),
    *(call_row(f"pad({m})", (lambda m: lambda xp, x: xp.pad(x, ((1, 2), (0, 1)), mode=m))(m), a(3, 4))
      for m in ("constant", "edge", "reflect", "symmetric", "wrap")),
    *(call_row(n, (lambda n: lambda xp, x, y: getattr(xp, n)([x, y]))(n), a(2, 3), a(2, 3), dtypes=MAIN)
      for n in ("concatenate", "stack", "vstack", "hstack", "dstack", "column_stack")),
    call_row("append", lambda xp, x, y: xp.append(x, y, axis=0), a(2, 3), a(1, 3)),
    call_row("split", lambda xp, x: xp.split(x, [1, 3], axis=1), a(2, 4)),
    call_row("array_split", lambda xp, x: xp.array_split(x, 3), a(4, 2)),
    call_row("block", lambda xp, x, y: xp.block([[x, y], [y, x]]), a(2, 2), a(2, 2)),
    call_row("meshgrid", lambda xp, x, y: xp.meshgrid(x, y, indexing="ij"), a(2), a(3)),
    call_row("linspace", lambda xp, x, y: xp.linspace(x, y, 5), a(), a()),
    call_row("full_like", lambda xp, x, v: xp.full_like(x, v), a(2, 3), a(), grad=(1,)),
    # Indexing.
    *(call_row(f"index[{t}]", f, a(4, 3, 2), *more, grad=(0,), dtypes=MAIN) for t, f, more in [
        ("int", lambda xp, x: x[1], []), ("slice", lambda xp, x: x[1:, ::-2], []),
            ("ellipsis", lambda xp, x: x[..., 0], []),
        ("None", lambda xp, x: x[:, None, 1], []), ("array", lambda xp, x, i: x[i], [whole(-4, 4, 3)]),
        ("arrays", lambda xp, x, i, j: x[i, :, j], [whole(-4, 4, 2, 1), whole(-2, 2, 3)]),
        ("middle", lambda xp, x, i: x[:, i], [whole(-3, 3, 2, 2)]),
            ("mask", lambda xp, x: x[np.arange(4) % 2 == 1], []),
    ]),
    call_row("take", lambda xp, x, i: xp.take(x, i, axis=1), a(2, 3), whole(-3, 3, 4), grad=(0,), dtypes=MAIN),
    call_row("take_along_axis", lambda xp, x, i: xp.take_along_axis(x, i, axis=1), a(2, 3), whole(0, 3, 2, 4),
        grad=(0,)),
    call_row("sort", lambda xp, x: xp.sort(x, axis=0), a(4, 3), dtypes=_WITH_INTS),
    call_row("argsort", lambda xp, x: xp.argsort(x, axis=0), a(4, 3), dtypes=("float32", "float64"), grad=()),
    call_row("argsort[stable]", lambda xp, x: xp.argsort(x, axis=0, stable=True), a(4, 3), dtypes=_WITH_INTS, grad=()),
    call_row("partition", lambda xp, x: xp.sort(xp.partition(x, 2)), a(5)),
    call_row("searchsorted", lambda xp, x, v: xp.searchsorted(xp.sort(x), v), a(5), a(3), grad=()),
    call_row("interp", lambda xp, x, f: xp.interp(x, np.arange(4.0), f), a(5, low=0.1, high=2.9), a(4),
        dtypes=("float64",)),
    # Products.
    *(np_row("matmul", a(*x), a(*y), dtypes=MAIN, tag=f"{x} {y}") for x, y in [
        ((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 2, 3), (3, 2)),
            ((2, 1, 2, 3), (3, 3, 2))]),
    *(np_row("dot", a(*x), a(*y), dtypes=MAIN, tag=f"{x} {y}") for x,
        y in [((2, 3), (3, 4)), ((3,), (3,)), ((), (3,)), ((2, 3), (2, 3, 2))]),
    np_row("inner", a(2, 3), a(4, 3), dtypes=MAIN),
    np_row("outer", a(2), a(3), dtypes=MAIN),
    np_row("vdot", a(2, 2), a(2, 2), dtypes=MAIN),
    np_row("kron", a(2, 2), a(1, 3), dtypes=MAIN),
    np_row("cross", a(2, 3), a(3)),
    np_row("tensordot", a(2, 3, 4), a(3, 4, 2), dtypes=MAIN, axes=2),
    np_row("vecdot", a(2, 3), a(3), dtypes=("float64", "complex128")),
    *(call_row(f"einsum({e})", (lambda e: lambda xp, *xs: xp.einsum(e, *xs))(e), *(a(*s) for s in shapes),
        dtypes=("float64", "complex128"))
      for e, shapes in [("ij,jk->ik", [(2, 3), (3, 2)]), ("ii->i", [(3, 3)]), ("ii", [(3, 3)]), ("ij->j", [(2, 3)]),
                        ("bij,bkj->bik", [(2, 2, 3), (2, 4, 3)]), ("i,j,k->kij", [(2,), (3,), (2,)]),
                            ("...i,i->...", [(2, 2, 3), (3,)])]),
    np_row("convolve", a(5), a(3)),
    np_row("correlate", a(5), a(3), mode="same"),
    np_row("diff", a(2, 5), n=2),
    np_row("gradient", a(6)),
    np_row("trapezoid", a(2, 5)),
    np_row("vander", a(3), N=4),
]  # fmt: skip

TABLE = [*PRIMITIVES, *SURFACE]

_FLOAT_SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, -2.5, math.inf, -math.inf, math.nan)


def special_values(dtype: str) -> Any:
    """Values at the edges of a real dtype."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return np.array([False, True])
    if kind in "iu":
        limits = np.iinfo(dtype)
        return np.array(sorted({limits.min, limits.max, 0, 1, 2, 3, max(limits.min, -1), max(limits.min, -3)}), dtype)
    limit = np.finfo(dtype)
    return np.array(
        [*_FLOAT_SPECIAL, limit.max, limit.min, limit.tiny, limit.smallest_subnormal, -limit.smallest_subnormal], dtype
    )


def special_arguments(op: Op, dtype: str) -> list[Any]:
    """Special values for every argument, in all combinations."""
    grid = itertools.product(special_values(dtype), repeat=len(op.args))
    return [np.array(column, dtype) for column in zip(*grid, strict=True)]
