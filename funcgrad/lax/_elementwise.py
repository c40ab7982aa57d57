"""The elementwise operations."""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandError, OperandTypeError
from ..core.types import aval_of, dtype_name, is_inexact
from ..numpy._promote import convert_to
from ._strict import apply, is_scalar, operand, operands, scalar_like

__all__ = [
    "RoundingMethod",
    "abs",
    "acos",
    "acosh",
    "add",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "cbrt",
    "ceil",
    "clamp",
    "complex",
    "conj",
    "convert_element_type",
    "cos",
    "cosh",
    "div",
    "eq",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "ge",
    "gt",
    "imag",
    "integer_pow",
    "is_finite",
    "le",
    "log",
    "log1p",
    "logistic",
    "lt",
    "max",
    "min",
    "mul",
    "ne",
    "neg",
    "nextafter",
    "population_count",
    "pow",
    "real",
    "reciprocal",
    "rem",
    "round",
    "rsqrt",
    "select",
    "select_n",
    "shift_left",
    "shift_right_arithmetic",
    "shift_right_logical",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "sub",
    "tan",
    "tanh",
]


def _unary(primitive: Any, name: str, meaning: str) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        return apply(primitive, *operands(name, x))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Elementwise {meaning}."
    return function


def _binary(primitive: Any, name: str, meaning: str) -> Callable[[Any, Any], Any]:
    def function(x: Any, y: Any) -> Any:
        return apply(primitive, *operands(name, x, y))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Elementwise {meaning}."
    return function


neg = _unary(prim.neg, "neg", "negation: `-x`")
sign = _unary(prim.sign, "sign", "sign: `sign(x)`")
abs = _unary(prim.abs_, "abs", "absolute value: `abs(x)`")
floor = _unary(prim.floor, "floor", "floor: `floor(x)`")
ceil = _unary(prim.ceil, "ceil", "ceiling: `ceil(x)`")
exp = _unary(prim.exp, "exp", "exponential: `exp(x)`")
exp2 = _unary(prim.exp2, "exp2", "power of two: `2 ** x`")
expm1 = _unary(prim.expm1, "expm1", "`exp(x) - 1`, accurate for small x")
log = _unary(prim.log, "log", "natural logarithm: `log(x)`")
log1p = _unary(prim.log1p, "log1p", "`log(1 + x)`, accurate for small x")
sqrt = _unary(prim.sqrt, "sqrt", "square root: `sqrt(x)`")
rsqrt = _unary(prim.rsqrt, "rsqrt", "reciprocal square root: `1 / sqrt(x)`")
cbrt = _unary(prim.cbrt, "cbrt", "cube root: `cbrt(x)`")
sin = _unary(prim.sin, "sin", "sine: `sin(x)`")
cos = _unary(prim.cos, "cos", "cosine: `cos(x)`")
tan = _unary(prim.tan, "tan", "tangent: `tan(x)`")
asin = _unary(prim.asin, "asin", "inverse sine: `asin(x)`")
acos = _unary(prim.acos, "acos", "inverse cosine: `acos(x)`")
atan = _unary(prim.atan, "atan", "inverse tangent: `atan(x)`")
sinh = _unary(prim.sinh, "sinh", "hyperbolic sine: `sinh(x)`")
cosh = _unary(prim.cosh, "cosh", "hyperbolic cosine: `cosh(x)`")
tanh = _unary(prim.tanh, "tanh", "hyperbolic tangent: `tanh(x)`")
asinh = _unary(prim.asinh, "asinh", "inverse hyperbolic sine: `asinh(x)`")
acosh = _unary(prim.acosh, "acosh", "inverse hyperbolic cosine: `acosh(x)`")
atanh = _unary(prim.atanh, "atanh", "inverse hyperbolic tangent: `atanh(x)`")
logistic = _unary(prim.logistic, "logistic", "logistic function: `1 / (1 + exp(-x))`")
erf = _unary(prim.erf, "erf", "error function: `erf(x)`")
is_finite = _unary(prim.is_finite, "is_finite", "`isfinite(x)`, as booleans")
conj = _unary(prim.conj, "conj", "complex conjugate: `conj(x)`")
bitwise_not = _unary(prim.not_, "bitwise_not", "complement: `~x`, of booleans their negation")
population_count = _unary(prim.population_count, "population_count", "number of bits that are set in `x`")

add = _binary(prim.add, "add", "addition: `x + y`")
sub = _binary(prim.sub, "sub", "subtraction: `x - y`")
mul = _binary(prim.mul, "mul", "multiplication: `x * y`")
rem = _binary(prim.fmod, "rem", "remainder of `x / y`, with the sign of x")
atan2 = _binary(prim.atan2, "atan2", "angle of the point (y, x)")
max = _binary(prim.max_, "max", "maximum: `max(x, y)`; NaN if either is")
min = _binary(prim.min_, "min", "minimum: `min(x, y)`; NaN if either is")
nextafter = _binary(prim.nextafter, "nextafter", "next number after x towards y: `nextafter(x, y)`")
complex = _binary(prim.complex_, "complex", "complex number of parts: `x + 1j * y`")
bitwise_and = _binary(prim.and_, "bitwise_and", "`x & y`")
bitwise_or = _binary(prim.or_, "bitwise_or", "`x | y`")
bitwise_xor = _binary(prim.xor, "bitwise_xor", "`x ^ y`")
shift_left = _binary(prim.shift_left, "shift_left", "`x << y`")
eq = _binary(prim.eq, "eq", "`x == y`")
ne = _binary(prim.ne, "ne", "`x != y`")
lt = _binary(prim.lt, "lt", "`x < y`")
le = _binary(prim.le, "le", "`x <= y`")
gt = _binary(prim.gt, "gt", "`x > y`")
ge = _binary(prim.ge, "ge", "`x >= y`")


def real(x: Any) -> Any:
    """Elementwise real part of a complex array."""
    return apply(prim.real, operand("real", x))


def imag(x: Any) -> Any:
    """Elementwise imaginary part of a complex array."""
    return apply(prim.imag, operand("imag", x))


def div(x: Any, y: Any) -> Any:
    """Elementwise division ``x / y``; of integers it rounds towards zero."""
    x, y = operands("div", x, y)
    if is_inexact(aval_of(x).dtype):
        return apply(prim.div, x, y)
    quotient = apply(prim.floor_divide, x, y)
    if aval_of(x).dtype.kind == "u":
        return quotient
    # Floor and truncation differ where the signs differ and there is a remainder.
    inexact = prim.ne(prim.mul(quotient, y), x)
    negative = prim.ne(prim.lt(x, scalar_like(x, 0)), prim.lt(y, scalar_like(y, 0)))
    up = prim.convert(prim.and_(inexact, negative), dtype=aval_of(x).dtype)
    return prim.add(quotient, up)


def pow(x: Any, y: Any) -> Any:
    """Elementwise power ``x ** y``. An integer y is allowed for an inexact x."""
    if not is_scalar(x) and not is_scalar(y):
        dx, dy = np.dtype(aval_of(x).dtype), np.dtype(aval_of(y).dtype)
        if is_inexact(dx) and dy.kind in "iu":
            y = convert_to(y, dx)
    return apply(prim.pow_, *operands("pow", x, y))


def integer_pow(x: Any, y: int) -> Any:
    """Elementwise power with a static integer exponent."""
    return apply(prim.integer_pow, operand("integer_pow", x), y=operator.index(y))


def square(x: Any) -> Any:
    """Elementwise square ``x * x``."""
    x = operand("square", x)
    return apply(prim.mul, x, x)


def reciprocal(x: Any) -> Any:
    """Elementwise reciprocal ``1 / x``."""
    x = operand("reciprocal", x)
    return apply(prim.div, scalar_like(x, 1), x)


class RoundingMethod(enum.IntEnum):
    """Where :func:`round` sends the numbers halfway between two integers."""

    AWAY_FROM_ZERO = 0
    TO_NEAREST_EVEN = 1


def round(x: Any, rounding_method: RoundingMethod = RoundingMethod.AWAY_FROM_ZERO) -> Any:
    """Elementwise rounding to an integer; halves go away from zero, unless ``rounding_method`` says otherwise."""
    x = operand("round", x)
    if RoundingMethod(rounding_method) is RoundingMethod.TO_NEAREST_EVEN:
        return apply(prim.round_, x)
    size = apply(prim.abs_, x)
    whole = apply(prim.floor, size)
    up = prim.convert(prim.ge(prim.sub(size, whole), scalar_like(x, 0.5)), dtype=aval_of(x).dtype)
    return prim.mul(prim.sign(x), prim.add(whole, up))


def shift_right_arithmetic(x: Any, y: Any) -> Any:
    """Elementwise ``x >> y``; the sign bit fills in."""
    return apply(prim.shift_right, *operands("shift_right_arithmetic", x, y))


def shift_right_logical(x: Any, y: Any) -> Any:
    """Elementwise ``x >> y``; zeros fill in."""
    x, y = operands("shift_right_logical", x, y)
    shifted = apply(prim.shift_right, x, y)
    dtype = np.dtype(aval_of(x).dtype)
    if dtype.kind == "u":
        return shifted
    # Clear the bits that the sign filled in: keep the lowest (bits - y), that is, not (-1 << (bits - y)).
    bits = dtype.itemsize * 8
    ones = prim.not_(
        prim.shift_left(prim.shift_left(scalar_like(x, -1), prim.sub(scalar_like(x, bits - 1), y)), scalar_like(x, 1))
    )
    return prim.select(prim.eq(y, scalar_like(y, 0)), x, prim.and_(shifted, ones))


def clamp(min: Any, x: Any, max: Any) -> Any:
    """Elementwise ``x`` moved into the interval from ``min`` to ``max``."""
    low, x, high = operands("clamp", min, x, max)
    return apply(prim.min_, apply(prim.max_, x, low), high)


def select(pred: Any, on_true: Any, on_false: Any) -> Any:
    """Elementwise ``on_true`` where ``pred``, else ``on_false``. ``pred`` is boolean, of the same shape or rank 0."""
    return apply(prim.select, operand("select", pred), *operands("select", on_true, on_false))


def select_n(which: Any, *cases: Any) -> Any:
    """Elementwise ``cases[which]``; ``which`` is boolean (two cases) or an integer, which must be in range."""
    which = operand("select_n", which)
    values = operands("select_n", *cases)
    if not values:
        raise OperandError("lax.select_n takes at least one case")
    dtype = np.dtype(aval_of(which).dtype)
    if dtype == np.bool_:
        if len(values) > 2:
            raise OperandError(f"lax.select_n: a boolean chooses between two cases, not {len(values)}")
        return values[0] if len(values) == 1 else apply(prim.select, which, values[1], values[0])
    if dtype.kind not in "iu":
        raise OperandTypeError(f"lax.select_n: the choice must be boolean or integer, not {dtype_name(dtype)}")
    result = values[0]
    for i, case in enumerate(values[1:], 1):
        result = apply(prim.select, prim.eq(which, scalar_like(which, i)), case, result)
    return result


def convert_element_type(operand: Any, new_dtype: Any) -> Any:
    """``operand`` as another dtype, like ``astype``."""
    (x,) = operands("convert_element_type", operand)
    return convert_to(x, np.dtype(new_dtype))
