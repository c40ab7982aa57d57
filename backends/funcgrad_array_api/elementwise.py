"""Elementwise operations. Every function takes the namespace first, then arrays of one dtype."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from funcgrad.errors import BackendError

__all__ = ["OPS", "add", "is_bool", "maximum", "minimum", "multiply", "nextafter", "refuse_complex", "select"]


def is_bool(xp, x):
    """Whether the elements are truth values, which are no numbers in the standard."""
    return xp.isdtype(x.dtype, "bool")


def refuse_complex(xp, name, x):
    """Raise BackendError for complex numbers, which the standard does not order."""
    if xp.isdtype(x.dtype, "complex floating"):
        raise BackendError(f"{name}: the array API standard does not order complex numbers; take abs or real first")


def _direct(name: str) -> Callable[..., Any]:
    """The function of the standard of this name."""
    return lambda xp, *args: getattr(xp, name)(*args)


def _logical(number: str, truth: str) -> Callable[..., Any]:
    """A function of numbers, and what it is for truth values."""
    return lambda xp, x, y: getattr(xp, truth if is_bool(xp, x) else number)(x, y)


def _ordered(number: str) -> Callable[..., Any]:
    """A comparison: of truth values it is that of 0 and 1."""

    def compare(xp, x, y):
        refuse_complex(xp, number, x)
        if is_bool(xp, x):
            x, y = xp.astype(x, xp.uint8), xp.astype(y, xp.uint8)
        return getattr(xp, number)(x, y)

    return compare


def _chosen(number: str, truth: str) -> Callable[..., Any]:
    """The larger or the smaller; NaN if either is."""
    choose = _logical(number, truth)

    def function(xp, x, y):
        refuse_complex(xp, number, x)
        return choose(xp, x, y)

    return function


def _complex_only(name: str) -> Callable[..., Any]:
    """A function of complex numbers that leaves real ones as they are."""

    def function(xp, x):
        return getattr(xp, name)(x) if xp.isdtype(x.dtype, "complex floating") else xp.asarray(x, copy=True)

    return function


add = _logical("add", "logical_or")
multiply = _logical("multiply", "logical_and")
maximum = _chosen("maximum", "logical_or")
minimum = _chosen("minimum", "logical_and")


def absolute(xp, x):
    """|x|."""
    return xp.asarray(x, copy=True) if is_bool(xp, x) else xp.abs(x)


def imag(xp, x):
    """The imaginary part; that of real numbers is 0."""
    return xp.imag(x) if xp.isdtype(x.dtype, "complex floating") else xp.zeros_like(x)


def select(xp, pred, on_true, on_false):
    """on_true where pred, else on_false."""
    return xp.where(pred, on_true, on_false)


def rsqrt(xp, x):
    """1 / sqrt(x)."""
    return 1.0 / xp.sqrt(x)


def exp2(xp, x):
    """2**x."""
    return xp.pow(xp.full_like(x, 2.0), x)


def cbrt(xp, x):
    """The real cube root: a power of |x|, and one step of Newton's method for the last digits."""
    size = xp.abs(x)
    usual = (size > 0.0) & xp.isfinite(x)
    safe = xp.where(usual, size, xp.ones_like(x))
    root = xp.pow(safe, xp.full_like(x, 1 / 3))
    root = root - (root - safe / (root * root)) / 3.0
    return xp.copysign(xp.where(usual, root, size), x)


def logistic(xp, x):
    """1 / (1 + exp(-x)), without overflow: with z = exp(-|x|) it is 1/(1+z) on the right and z/(1+z) on the left."""
    z = xp.exp(-xp.abs(x))
    return xp.where(x < 0.0, z, xp.ones_like(z)) / (1.0 + z)


def integer_pow(xp, x, *, y):
    """x**y for an integer y, by repeated squaring."""
    if y < 0:
        return 1.0 / integer_pow(xp, x, y=-y)
    result = xp.ones_like(x)
    while y:
        if y & 1:
            result = multiply(xp, result, x)
        y >>= 1
        x = multiply(xp, x, x) if y else x
    return result


def fmod(xp, x, y):
    """The remainder with the sign of x."""
    if xp.isdtype(x.dtype, "real floating"):
        return xp.copysign(xp.remainder(xp.abs(x), xp.abs(y)), x)
    r = xp.remainder(x, y)
    return xp.where((r != 0) & ((x < 0) != (y < 0)), r - y, r)


def convert(xp, x, *, dtype, weak=False):
    """x in another dtype; complex numbers lose their imaginary part on the way to real ones. A weak one is Python's."""
    if xp.isdtype(dtype, "bool"):
        x = xp.asarray(x, copy=True) if is_bool(xp, x) else x != 0
    else:
        if xp.isdtype(x.dtype, "complex floating") and not xp.isdtype(dtype, "complex floating"):
            x = xp.real(x)
        x = xp.astype(x, dtype)
    if not weak:
        return x
    kinds = (("bool", bool), ("integral", int), ("real floating", float), ("complex floating", complex))
    return next(python(x) for kind, python in kinds if xp.isdtype(dtype, kind))


def complex_number(xp, re, im):
    """The complex number with these parts.

    Not re + 1j * im: the product makes NaN of the real part where im is infinite or NaN; such parts are constants.
    """
    dtype = xp.complex64 if re.dtype == xp.float32 else xp.complex128
    finite = xp.isfinite(im)
    upright = xp.astype(xp.where(finite, im, xp.zeros_like(im)), dtype) * 1j
    for condition, value in ((im == math.inf, math.inf), (im == -math.inf, -math.inf), (xp.isnan(im), math.nan)):
        upright = xp.where(condition, xp.full_like(upright, complex(0.0, value)), upright)
    return xp.astype(re, dtype) + upright


def xlogy(xp, x, y):
    """x log(y), and 0 for x = 0 unless y is NaN."""
    return _product_with_log(xp, x, y, xp.log(y))


def xlog1py(xp, x, y):
    """x log(1 + y), and 0 for x = 0 unless y is NaN."""
    return _product_with_log(xp, x, y, xp.log1p(y))


def _product_with_log(xp, x, y, log):
    product = x * log
    return xp.where((x == 0.0) & ~xp.isnan(y), xp.zeros_like(product), product)


def entr(xp, x):
    """-x log(x); 0 at 0, minus infinity below."""
    result = xp.where(x == 0.0, xp.zeros_like(x), -x * xp.log(x))
    return xp.where(x < 0.0, xp.full_like(x, -math.inf), result)


def population_count(xp, x):
    """The number of bits that are set (in two's complement) in each integer."""
    one = xp.ones_like(x)
    total = xp.zeros_like(x)
    for i in range(xp.iinfo(x.dtype).bits):
        total = total + xp.bitwise_and(xp.bitwise_right_shift(x, xp.full_like(x, i)), one)
    return total


def nextafter(xp, x, y):
    """The number after x in the direction of y. The standard has it since 2024.12."""
    return xp.nextafter(x, y)


# The error function: see backends/funcgrad_numpy/special.py for the sources of the coefficients.
_ERF_SMALL = (
    (-2.37630166566501626084e-05, -5.77027029648944159157e-03, -2.84817495755985104766e-02,
     -3.25042107247001499370e-01, 1.28379167095512558561e-01),
    (-3.96022827877536812320e-06, 1.32494738004321644526e-04, 5.08130628187576562776e-03,
     6.50222499887672944485e-02, 3.97917223959155352819e-01, 1.0),
)  # fmt: skip
_ERF_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e00, 6.61191906371416295e01,
     2.98635138197400131e02, 8.81952221241769090e02, 1.71204761263407058e03, 2.05107837782607147e03,
     1.23033935479799725e03),
    (1.0, 1.57449261107098347e01, 1.17693950891312499e02, 5.37181101862009858e02, 1.62138957456669019e03,
     3.29079923573345963e03, 4.36261909014324716e03, 3.43936767414372164e03, 1.23033935480374942e03),
)  # fmt: skip


def _polynomial(coefficients, x):
    """Horner's rule; the first coefficient is that of the highest power."""
    result = coefficients[0] * x
    for c in coefficients[1:-1]:
        result = (result + c) * x
    return result + coefficients[-1]


def erf(xp, x):
    """The error function by rational approximations, within 2 ulp: one near 0, one of 1 - erf up to 6, then 1."""
    wide = xp.astype(x, xp.float64)
    y = xp.abs(wide)
    near = y < 0.84375
    inner = xp.where(near, wide, xp.zeros_like(wide))
    square = inner * inner
    small = inner + inner * _polynomial(_ERF_SMALL[0], square) / _polynomial(_ERF_SMALL[1], square)
    y = xp.minimum(xp.maximum(y, xp.full_like(y, 0.84375)), xp.full_like(y, 6.0))
    erfc = xp.exp(-y * y) * _polynomial(_ERF_MIDDLE[0], y) / _polynomial(_ERF_MIDDLE[1], y)
    return xp.astype(xp.where(near, small, xp.copysign(1.0 - erfc, wide)), x.dtype)


#: Primitives that are a function of the standard.
_DIRECT = {
    "acos": "acos",
    "acosh": "acosh",
    "and": "bitwise_and",
    "asin": "asin",
    "asinh": "asinh",
    "atan": "atan",
    "atan2": "atan2",
    "atanh": "atanh",
    "ceil": "ceil",
    "cos": "cos",
    "cosh": "cosh",
    "div": "divide",
    "eq": "equal",
    "exp": "exp",
    "expm1": "expm1",
    "floor": "floor",
    "floor_divide": "floor_divide",
    "is_finite": "isfinite",
    "log": "log",
    "log1p": "log1p",
    "ne": "not_equal",
    "neg": "negative",
    "not": "bitwise_invert",
    "or": "bitwise_or",
    "pow": "pow",
    "remainder": "remainder",
    "round": "round",
    "shift_left": "bitwise_left_shift",
    "shift_right": "bitwise_right_shift",
    "sign": "sign",
    "sin": "sin",
    "sinh": "sinh",
    "sqrt": "sqrt",
    "sub": "subtract",
    "tan": "tan",
    "tanh": "tanh",
    "xor": "bitwise_xor",
}

OPS: dict[str, Callable[..., Any]] = {
    **{primitive: _direct(name) for primitive, name in _DIRECT.items()},
    "abs": absolute,
    "add": add,
    "cbrt": cbrt,
    "complex": complex_number,
    "conj": _complex_only("conj"),
    "convert": convert,
    "entr": entr,
    "erf": erf,
    "exp2": exp2,
    "fmod": fmod,
    "ge": _ordered("greater_equal"),
    "gt": _ordered("greater"),
    "imag": imag,
    "integer_pow": integer_pow,
    "le": _ordered("less_equal"),
    "logistic": logistic,
    "lt": _ordered("less"),
    "max": maximum,
    "min": minimum,
    "mul": multiply,
    "population_count": population_count,
    "real": _complex_only("real"),
    "rsqrt": rsqrt,
    "select": select,
    "xlog1py": xlog1py,
    "xlogy": xlogy,
}
