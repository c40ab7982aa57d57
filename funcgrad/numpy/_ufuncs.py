"""Elementwise functions: NumPy's ufuncs, and the functions made of them.

A ufunc is one line of a table: its name, and the rule that computes it from operands that NumPy's own type resolution
has brought to the dtypes of the loop. Most rules are one primitive. Plain operands go to NumPy (see ``_promote``).

The functions made of ufuncs follow below the table.
"""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from .. import primitives as p
from ..core.errors import OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of, is_inexact, promote, shape_of
from ._promote import asarray, beside, broadcast, convert_to, eager, full, operand, promote_dtypes, refuse_out
from ._ufunc import Comparison, Ufunc
from ._ufunc_rules import (
    compare,
    conjugate_rule,
    copysign_rule,
    heaviside_rule,
    hypot_rule,
    ignoring_nan,
    is_finite_rule,
    is_inf_rule,
    is_nan_rule,
    kind,
    ldexp_rule,
    logaddexp_rule,
    logarithm,
    magnitude,
    modf_rule,
    negative_sign_rule,
    on_floats,
    on_truth,
    power_rule,
    reciprocal_rule,
    rint_rule,
    scalar_like,
    spacing_rule,
    trunc_rule,
    typed,
)

__all__ = [
    "abs", "absolute", "acos", "acosh", "add", "allclose", "angle", "arccos", "arccosh", "arcsin", "arcsinh", "arctan",
    "arctan2", "arctanh", "around", "array_equal", "array_equiv", "asin", "asinh", "atan", "atan2", "atanh",
    "bitwise_and", "bitwise_count", "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "cbrt", "ceil", "clip", "conj", "conjugate", "copysign", "cos", "cosh",
    "deg2rad", "degrees", "divide", "divmod", "equal", "exp", "exp2", "expm1", "fabs", "fix", "float_power", "floor",
    "floor_divide", "fmax", "fmin", "fmod", "greater", "greater_equal", "heaviside", "hypot", "imag", "invert",
    "isclose", "iscomplex", "iscomplexobj", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "isreal",
    "isrealobj", "ldexp", "left_shift", "less", "less_equal", "log", "log10", "log1p", "log2", "logaddexp",
    "logaddexp2", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "mod", "modf",
    "multiply", "nan_to_num", "negative", "nextafter", "not_equal", "positive", "pow", "power", "rad2deg", "radians",
    "real", "reciprocal", "remainder", "right_shift", "rint", "round", "sign", "signbit", "sin", "sinc", "sinh",
    "spacing", "sqrt", "square", "subtract", "tan", "tanh", "true_divide", "trunc", "where",
]  # fmt: skip

_BOOL = np.dtype(np.bool_)
_FLOAT64 = np.dtype(np.float64)
_LN2 = math.log(2.0)
_QUOTIENT = "A traced one is a quotient of natural logarithms, which may differ in the last place."


# The table ------------------------------------------------------------------------------------------------------------

add = Ufunc("add", lambda x, y: p.add(x, y) if kind(x) != "b" else p.or_(x, y))
subtract = Ufunc("subtract", p.sub)
multiply = Ufunc("multiply", lambda x, y: p.mul(x, y) if kind(x) != "b" else p.and_(x, y))
divide = true_divide = Ufunc("divide", p.div)
floor_divide = Ufunc("floor_divide", p.floor_divide)
remainder = mod = Ufunc("remainder", p.remainder)
fmod = Ufunc("fmod", p.fmod)
divmod = Ufunc("divmod", lambda x, y: (p.floor_divide(x, y), p.remainder(x, y)))
modf = Ufunc("modf", modf_rule)
power = pow = Ufunc("power", power_rule, note="A static integral exponent (a Python number) becomes products.")
float_power = Ufunc("float_power", power_rule)
negative = Ufunc("negative", p.neg)
positive = Ufunc("positive", p.copy)
absolute = abs = Ufunc("absolute", p.abs_, note="Its derivative at 0 is 0.")
fabs = Ufunc("fabs", p.abs_)
sign = Ufunc("sign", p.sign)
reciprocal = Ufunc("reciprocal", reciprocal_rule)
square = Ufunc("square", lambda x: p.integer_pow(x, y=2))
sqrt = Ufunc("sqrt", p.sqrt)
cbrt = Ufunc("cbrt", p.cbrt)

exp = Ufunc("exp", p.exp)
exp2 = Ufunc("exp2", p.exp2)
expm1 = Ufunc("expm1", p.expm1)
log = Ufunc("log", p.log)
log2 = Ufunc("log2", lambda x: logarithm(x, _LN2), note=_QUOTIENT)
log10 = Ufunc("log10", lambda x: logarithm(x, math.log(10.0)), note=_QUOTIENT)
log1p = Ufunc("log1p", p.log1p)
logaddexp = Ufunc("logaddexp", typed(logaddexp_rule(p.exp, 1.0)))
logaddexp2 = Ufunc("logaddexp2", typed(logaddexp_rule(p.exp2, _LN2)))

sin = Ufunc("sin", p.sin)
cos = Ufunc("cos", p.cos)
tan = Ufunc("tan", p.tan)
arcsin = asin = Ufunc("arcsin", p.asin)
arccos = acos = Ufunc("arccos", p.acos)
arctan = atan = Ufunc("arctan", p.atan)
arctan2 = atan2 = Ufunc("arctan2", p.atan2)
sinh = Ufunc("sinh", p.sinh)
cosh = Ufunc("cosh", p.cosh)
tanh = Ufunc("tanh", p.tanh)
arcsinh = asinh = Ufunc("arcsinh", p.asinh)
arccosh = acosh = Ufunc("arccosh", p.acosh)
arctanh = atanh = Ufunc("arctanh", p.atanh)
hypot = Ufunc("hypot", typed(hypot_rule), note="Its derivative at the origin is 0.")
degrees = Ufunc("degrees", lambda x: p.mul(x, 180.0 / math.pi))
radians = Ufunc("radians", lambda x: p.mul(x, math.pi / 180.0))
rad2deg = Ufunc("rad2deg", degrees.rule)
deg2rad = Ufunc("deg2rad", radians.rule)

maximum = Ufunc("maximum", p.max_, note="Equal operands take half of the derivative each.")
minimum = Ufunc("minimum", p.min_, note="Equal operands take half of the derivative each.")
fmax = Ufunc("fmax", typed(ignoring_nan(p.max_)))
fmin = Ufunc("fmin", typed(ignoring_nan(p.min_)))
heaviside = Ufunc("heaviside", typed(heaviside_rule))
copysign = Ufunc("copysign", typed(copysign_rule), note="The sign of a NaN is not seen: it counts as positive.")
signbit = Ufunc("signbit", negative_sign_rule, note="The sign of a NaN is not seen: it counts as positive.")
nextafter = Ufunc("nextafter", p.nextafter)
spacing = Ufunc("spacing", spacing_rule)
ldexp = Ufunc("ldexp", ldexp_rule)

rint = Ufunc("rint", rint_rule)
floor = Ufunc("floor", on_floats(p.floor))
ceil = Ufunc("ceil", on_floats(p.ceil))
trunc = Ufunc("trunc", on_floats(trunc_rule))

isfinite = Ufunc("isfinite", is_finite_rule)
isinf = Ufunc("isinf", is_inf_rule)
isnan = Ufunc("isnan", is_nan_rule)
conjugate = conj = Ufunc("conjugate", conjugate_rule)

equal = Comparison("equal", compare("equal", p.eq))
not_equal = Comparison("not_equal", compare("not_equal", p.ne))
less = Comparison("less", compare("less", p.lt))
less_equal = Comparison("less_equal", compare("less_equal", p.le))
greater = Comparison("greater", compare("greater", p.gt))
greater_equal = Comparison("greater_equal", compare("greater_equal", p.ge))

logical_and = Ufunc("logical_and", on_truth(p.and_))
logical_or = Ufunc("logical_or", on_truth(p.or_))
logical_xor = Ufunc("logical_xor", on_truth(p.xor))
logical_not = Ufunc("logical_not", on_truth(p.not_))
bitwise_and = Ufunc("bitwise_and", p.and_)
bitwise_or = Ufunc("bitwise_or", p.or_)
bitwise_xor = Ufunc("bitwise_xor", p.xor)
invert = bitwise_not = bitwise_invert = Ufunc("invert", p.not_)
left_shift = bitwise_left_shift = Ufunc("left_shift", p.shift_left)
right_shift = bitwise_right_shift = Ufunc("right_shift", p.shift_right)
bitwise_count = Ufunc("bitwise_count", lambda x: p.convert(p.population_count(magnitude(x)), dtype=np.dtype(np.uint8)))


# Functions made of them -----------------------------------------------------------------------------------------------


@eager(np.real, view=True)
def real(val: Any) -> Any:
    val = operand("real", val)
    return p.real(val) if kind(val) == "c" else asarray(val)


@eager(np.imag, view=True)
def imag(val: Any) -> Any:
    val = operand("imag", val)
    return p.imag(val) if kind(val) == "c" else beside(val, full(shape_of(val), 0, aval_of(val).dtype))


@eager(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    z = operand("angle", z)
    if kind(z) == "c":
        result = arctan2(p.imag(z), p.real(z))
    else:
        result = arctan2(0, z)
    return multiply(result, 180 / math.pi) if deg else result


def fix(x: Any, out: Any = None) -> Any:
    """As :func:`numpy.trunc`, whose older name this is; NumPy deprecates it from 2.5 on."""
    refuse_out("fix", out)
    return trunc(x)


@eager(np.round)
def round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    refuse_out("round", out)
    a = asarray(operand("round", a))
    dtype = aval_of(a).dtype
    if dtype.kind in "iu":
        if decimals >= 0:
            return a
        return convert_to(_scaled_round(convert_to(a, _FLOAT64), decimals), dtype)
    if dtype.kind == "b" and decimals:
        raise OperandTypeError("round: an array of booleans has no decimals")
    if dtype.kind == "c":
        return p.complex_(_scaled_round(p.real(a), decimals), _scaled_round(p.imag(a), decimals))
    return _scaled_round(convert_to(a, np.dtype(np.float16)) if dtype.kind == "b" else a, decimals)


around = round


def _scaled_round(x: Any, decimals: int) -> Any:
    if decimals == 0:
        return p.round_(x)
    scale = 10.0 ** builtins.abs(decimals)
    return p.div(p.round_(p.mul(x, scale)), scale) if decimals > 0 else p.mul(p.round_(p.div(x, scale)), scale)


@eager(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None) -> Any:
    refuse_out("clip", out)
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    a = operand("clip", a)
    dtype = aval_of(a).dtype
    if dtype.kind in "iu":
        # A bound beyond the integers of the dtype bounds nothing.
        limits = np.iinfo(dtype)
        low = None if type(low) is int and low <= limits.min else low
        high = None if type(high) is int and high >= limits.max else high
    # Both bounds take part in the promotion, as in one ufunc of three operands.
    bounds = [asarray(b) if isinstance(b, (list, tuple)) else b for b in (low, high) if b is not None]
    a, *bounds = promote_dtypes("clip", a, *bounds)
    bounds = iter(bounds)
    a = a if low is None else maximum(a, next(bounds))
    a = a if high is None else minimum(a, next(bounds))
    return asarray(a)


@eager(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """As :func:`numpy.where`. With one argument the shape of the result depends on values, so it must be concrete."""
    if x is None and y is None:
        if isinstance(condition, Tracer):
            condition = condition.concrete("where(condition) with one argument, the indices of all that is true,")
        return np.nonzero(condition)
    if x is None or y is None:
        raise ValueError("either both or neither of x and y should be given")
    condition = operand("where", condition, "the condition")
    condition = convert_to(condition, _BOOL)
    x, y = promote_dtypes("where", x, y)
    dtype = promote(aval_of(x), aval_of(y))
    if dtype.kind in "iu":
        # NumPy wraps a Python integer that is out of bounds here, where its other functions raise.
        x, y = (np.where(True, v, dtype.type(0))[()] if type(v) is int else v for v in (x, y))
    return p.select(*broadcast("where", condition, x, y))


@eager(np.nan_to_num)
def nan_to_num(
    x: Any, copy: bool = True, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """As :func:`numpy.nan_to_num`; the result is always new, as ``copy=True`` says."""
    x = asarray(operand("nan_to_num", x))
    dtype = aval_of(x).dtype
    if not is_inexact(dtype):
        return x
    if dtype.kind == "c":
        parts = (nan_to_num(part(x), copy, nan, posinf, neginf) for part in (p.real, p.imag))
        return p.complex_(*parts)
    limits = np.finfo(dtype)
    x = where(isnan(x), asarray(nan, dtype), x)
    x = where(equal(x, math.inf), asarray(limits.max if posinf is None else posinf, dtype), x)
    return where(equal(x, -math.inf), asarray(limits.min if neginf is None else neginf, dtype), x)


@eager(np.sinc)
def sinc(x: Any) -> Any:
    """sin(πx)/(πx), as :func:`numpy.sinc`; near 0 by its series, so that all derivatives up to the sixth are right."""
    x = asarray(operand("sinc", x))
    if not is_inexact(aval_of(x).dtype):
        x = convert_to(x, _FLOAT64)
    y = p.mul(x, math.pi)
    near = p.lt(p.abs_(y), 0.05)
    zero, one = scalar_like(y, 0), scalar_like(y, 1)
    square_ = p.integer_pow(p.select(near, y, zero), y=2)
    series = p.add(p.mul(p.add(p.mul(p.add(p.mul(square_, -1 / 5040), 1 / 120), square_), -1 / 6), square_), 1.0)
    far = p.select(near, one, y)
    return p.select(near, series, p.div(p.sin(far), far))


@eager(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    a, b = operand("isclose", a), operand("isclose", b)
    if not is_inexact(aval_of(b).dtype):
        b = convert_to(b, _FLOAT64) if not isinstance(b, (int, float)) else float(b)
    close = less_equal(absolute(subtract(a, b)), add(atol, multiply(rtol, absolute(b))))
    result = logical_or(logical_and(close, isfinite(b)), equal(a, b))
    return logical_or(result, logical_and(isnan(a), isnan(b))) if equal_nan else result


@eager(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    return _every(isclose(a, b, rtol, atol, equal_nan))


@eager(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    a1, a2 = asarray(operand("array_equal", a1)), asarray(operand("array_equal", a2))
    if shape_of(a1) != shape_of(a2):
        return False
    same = equal(a1, a2)
    return _every(logical_or(same, logical_and(isnan(a1), isnan(a2))) if equal_nan else same)


@eager(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> Any:
    a1, a2 = asarray(operand("array_equiv", a1)), asarray(operand("array_equiv", a2))
    try:
        np.broadcast_shapes(shape_of(a1), shape_of(a2))
    except ValueError:
        return False
    return _every(equal(a1, a2))


def _every(x: Any) -> Any:
    return p.reduce_and(x, axes=tuple(range(len(shape_of(x)))))


@eager(np.isreal)
def isreal(x: Any) -> Any:
    return equal(imag(x), 0)


@eager(np.iscomplex)
def iscomplex(x: Any) -> Any:
    return not_equal(imag(x), 0)


@eager(np.isposinf)
def isposinf(x: Any, out: Any = None) -> Any:
    refuse_out("isposinf", out)
    return logical_and(isinf(x), logical_not(signbit(x)))


@eager(np.isneginf)
def isneginf(x: Any, out: Any = None) -> Any:
    refuse_out("isneginf", out)
    return logical_and(isinf(x), signbit(x))


def isrealobj(x: Any) -> bool:
    """Whether the dtype is real, as :func:`numpy.isrealobj`."""
    return not iscomplexobj(x)


def iscomplexobj(x: Any) -> bool:
    """Whether the dtype is complex, as :func:`numpy.iscomplexobj`."""
    return kind(operand("iscomplexobj", x)) == "c"
