"""log, log1p, the inverse hyperbolic functions that are made of logarithms.

    log(x) = k log 2 + log(m),    x = 2^k m,    sqrt(1/2) <= m < sqrt(2)

With f = m - 1, which is exact, and s = f / (2 + f): log(1 + f) = 2 atanh(s) = 2 s + s R, R = z Q(z), z = s^2. Since
2 s = f - s f, and s f = f^2/2 - s f^2/2,

    log(1 + f) = f - (f^2/2 - s (f^2/2 + R))

where the largest term is exact, and the others are small against it.
"""

from __future__ import annotations

import math

from . import coefficients
from .ir import Value, absolute, bits, copy_sign, equal, fma, from_bits, horner, select, square_root

_LN2 = {32: (0.693145751953125, 1.428606765330187e-06), 64: (0.6931471803691238, 1.9082149292705877e-10)}


def split(x: Value) -> tuple[Value, Value]:
    """k, as a floating-point number, and m with x = 2^k m and sqrt(1/2) <= m < sqrt(2), for positive finite x.

    Adding bits(1) - bits(sqrt(1/2)) to the bits of x carries into the exponent exactly if m would be larger than
    sqrt(2). A subnormal x is scaled first. The exponent becomes a number by being put into the fraction of 2^mantissa.
    """
    f = x.format
    subnormal = x < f.smallest_normal
    i = bits(select(subnormal, x * 2.0**f.mantissa, x)) + (f.one - f.bits_of(math.sqrt(0.5)))
    exponent = from_bits((i >> f.mantissa) | f.bits_of(2.0**f.mantissa))
    k = exponent - select(subnormal, x.constant(2.0**f.mantissa + f.bias + f.mantissa), 2.0**f.mantissa + f.bias)
    m = from_bits((i & ((1 << f.mantissa) - 1)) + f.bits_of(math.sqrt(0.5)))
    return k, m


def _log(k: Value, f: Value, correction: Value | None = None) -> Value:
    """k log(2) + log(1 + f + correction)."""
    n = f.format.bits
    high, low = _LN2[n]
    half_square = 0.5 * f * f
    s = f / (2 + f)
    z = s * s
    tail = s * fma(z, horner(z, coefficients.ATANH[n]), half_square)
    tail = fma(k, low, tail) if correction is None else fma(k, low, tail + correction)
    return fma(k, high, f - (half_square - tail))


def log(x: Value) -> Value:
    k, m = split(x)
    return _at_edges(x, _log(k, m - 1))


def _at_edges(x: Value, y: Value) -> Value:
    """The logarithm y of x, but -inf at 0, NaN below, and x for infinity and NaN."""
    y = select(x < math.inf, y, x)
    y = select(x < 0, math.nan, y)
    return select(equal(x, 0), -math.inf, y)


def _log1p(x: Value) -> Value:
    """log(1 + x) for -1 < x < inf: 1 + x = u + c exactly, and c is added after the reduction of u."""
    u = 1 + x
    v = u - 1
    c = (1 - (u - v)) + (x - v)
    k, m = split(u)
    scaled = c * m / u
    exact = m - 1
    f = exact + scaled
    return _log(k, f, scaled - (f - exact))


def log1p(x: Value) -> Value:
    y = _at_edges(1 + x, _log1p(x))
    return select(absolute(x) < x.format.tiny, x, y)


def asinh(x: Value) -> Value:
    """log1p(a + a^2 / (1 + sqrt(1 + a^2))), a = |x|; where a^2 may overflow, log(a) + log(2)."""
    f = x.format
    a = absolute(x)
    large = a > 2.0 ** (f.mantissa + 4)
    square = a * a
    y = _log1p(select(large, a, a + square / (1 + square_root(1 + square))))
    y = y + select(large, a.constant(math.log(2)), 0)
    y = copy_sign(select(a < math.inf, y, a), x)
    return select(a < f.tiny, x, y)


def acosh(x: Value) -> Value:
    """log1p(t + sqrt(2 t + t^2)), t = x - 1; where t^2 may overflow, log(x) + log(2)."""
    f = x.format
    large = x > 2.0 ** (f.mantissa + 4)
    t = x - 1
    y = _log1p(select(large, x, t + square_root(t * (t + 2))))
    y = y + select(large, x.constant(math.log(2)), 0)
    y = select(x < math.inf, y, x)
    return select(x < 1, math.nan, y)


def atanh(x: Value) -> Value:
    """log1p(2 a / (1 - a)) / 2, a = |x|."""
    a = absolute(x)
    y = 0.5 * _log1p((a + a) / (1 - a))
    y = select(equal(a, 1), math.inf, select(a < 1, y, math.nan))
    return select(a < x.format.tiny, x, copy_sign(y, x))
