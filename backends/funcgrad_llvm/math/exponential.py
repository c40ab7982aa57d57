"""exp, exp2, expm1, logistic and the hyperbolic functions that are made of exponentials.

    exp(x) = 2^k exp(r),    k = round(x / log 2),    r = x - k log 2 in [-log(2)/2, log(2)/2]

log 2 = h + l, where h has so few bits that k h is exact, hence fma(-k, h, x) is too, and r is off by half an ulp.
There, exp(r) = 1 + r + r^2 p(r) with the minimax polynomial p.
"""

from __future__ import annotations

import math

from . import coefficients
from .ir import (
    Value,
    absolute,
    copy_sign,
    fma,
    horner,
    maximum,
    minimum,
    nearest_integer,
    power_of_two,
    select,
)
from .scaling import scale_by_power_of_two

#: log 2 in two parts for each format.
_LN2 = {32: (0.693145751953125, 1.428606765330187e-06), 64: (0.6931471803691238, 1.9082149292705877e-10)}
#: Beyond these, exp overflows, and is zero; expm1 is -1; expm1 / 4 overflows.
_OVERFLOW = {32: 89.0, 64: 710.0}
_UNDERFLOW = {32: -104.0, 64: -746.0}
_MINUS_ONE = {32: -20.0, 64: -40.0}
_QUARTER_OVERFLOW = {32: 89.5, 64: 710.5}


def _reduced(x: Value) -> tuple[Value, Value, Value]:
    """k as a number and as an integer, and exp(r) - 1 with x = k log(2) + r."""
    high, low = _LN2[x.format.bits]
    k, integer = nearest_integer(x, 1 / math.log(2))
    r = fma(k, -low, fma(k, -high, x))
    return k, integer, fma(r * r, horner(r, coefficients.EXP[x.format.bits]), r)


def exp(x: Value) -> Value:
    n = x.format.bits
    k, integer, e = _reduced(maximum(minimum(x, _OVERFLOW[n]), _UNDERFLOW[n]))
    return scale_by_power_of_two(1 + e, k, integer)


def exp2(x: Value) -> Value:
    """2^x = 2^k 2^r, k = round(x), 2^r = 1 + r p(r)."""
    f = x.format
    x = maximum(minimum(x, f.bias + 1.0), -f.bias - f.mantissa - 2.0)
    k, integer = nearest_integer(x)
    r = x - k
    return scale_by_power_of_two(fma(r, horner(r, coefficients.EXP2[f.bits]), 1), k, integer)


def _scaled_expm1(x: Value, shift: int) -> Value:
    """(exp(x) - 1) 2^-shift = s (exp(r) - 1) + (s - 2^-shift), s = 2^(k - shift), without an overflow on the way."""
    _, k, e = _reduced(x)
    s = power_of_two(k - shift)
    return fma(s, e, s - 2.0**-shift)


def expm1(x: Value) -> Value:
    """exp(x) - 1. Half of it is computed, since s = 2^1024 would overflow before the result does."""
    f = x.format
    y = 2 * _scaled_expm1(maximum(minimum(x, _OVERFLOW[f.bits]), _MINUS_ONE[f.bits]), 1)
    return select(absolute(x) < f.tiny, x, y)


def _ratio_to_one_plus(n: Value, h: Value) -> Value:
    """n / (1 + h) for |h| <= 1, with the rounding error of 1 + h taken into account by a step of Newton's iteration."""
    d = 1 + h
    d_low = h - (d - 1)
    inverse = 1 / d
    q = n * inverse
    return fma(fma(-q, d_low, fma(-q, d, n)), inverse, q)


def logistic(x: Value) -> Value:
    """1 / (1 + exp(-x)) with z = exp(-|x|), which does not overflow: 1 / (1 + z) on the right, z / (1 + z) on the left."""
    z = exp(-absolute(x))
    return _ratio_to_one_plus(select(x < 0, z, 1), z)


def tanh(x: Value) -> Value:
    """-h / (1 + h) with h = (exp(-2 |x|) - 1) / 2; 1 for what is larger than 20."""
    f = x.format
    a = minimum(absolute(x), 20.0)
    h = _scaled_expm1(-2 * a, 1)
    return select(absolute(x) < f.tiny, x, copy_sign(_ratio_to_one_plus(-h, h), x))


def sinh(x: Value) -> Value:
    """(e + e / (e + 1)) / 2 with e = exp(|x|) - 1, of which a quarter is computed: e overflows before sinh does."""
    f = x.format
    e = _scaled_expm1(minimum(absolute(x), _QUARTER_OVERFLOW[f.bits]), 2)
    y = 2 * (e + e / fma(e, 4, 1))
    return select(absolute(x) < f.tiny, x, copy_sign(y, x))


def cosh(x: Value) -> Value:
    """2 q + 1 / (8 q) with q = exp(|x|) / 4."""
    _, k, e = _reduced(minimum(absolute(x), _QUARTER_OVERFLOW[x.format.bits]))
    q = (1 + e) * power_of_two(k - 2)
    return 2 * (q + 0.0625 / q)
