"""cbrt, rsqrt, pow."""

from __future__ import annotations

import math

from . import coefficients
from .ir import (
    Value,
    absolute,
    convert,
    copy_sign,
    equal,
    floor,
    fma,
    horner,
    maximum,
    minimum,
    narrow,
    nearest_integer,
    select,
    square_root,
    widen,
)
from .logarithmic import split
from .scaling import scale_by_power_of_two


def rsqrt(x: Value) -> Value:
    """1 / sqrt(x)."""
    return 1 / square_root(x)


def cbrt(x: Value) -> Value:
    """|x| = 2^(3 q + j) m with j in -1, 0, 1: the cube root is 2^q cbrt(2^j) cbrt(m).

    A polynomial for cbrt(m) starts one step y (y^3 + 2 c) / (2 y^3 + c) of Halley's iteration for c = 2^j m, which
    triples the number of right bits; it is written as y + y (c - y^3) / (2 y^3 + c), so that only the correction is rounded.
    """
    f = x.format
    a = absolute(x)
    k, m = split(a)
    q, integer = nearest_integer(k, 1 / 3)
    j = k - 3 * q
    up, down = j > 0.5, j < -0.5
    c = m * select(up, m.constant(2), select(down, m.constant(0.5), 1))
    start = horner(m, coefficients.CBRT[f.bits])
    y = start * select(up, m.constant(2 ** (1 / 3)), select(down, m.constant(0.5 ** (1 / 3)), 1))
    square = y * y
    rest = fma(-square, y, c)  # the square's rounding error counts as much as that of y
    rest = fma(-fma(y, y, -square), y, rest)
    y = fma(y, rest / fma(square + square, y, c), y)
    y = scale_by_power_of_two(y, q, integer)
    finite = select(a < math.inf, y, a)
    return copy_sign(select(equal(x, 0), a, finite), x)


_INVERSE_LN2 = (1.4426950408889634, 2.0355273740931033e-17)
_TWO_THIRDS = (2 / 3, 3.700743415417188e-17)


def _split(a: Value) -> tuple[Value, Value]:
    """k and m with a = 2^k m; k is -inf at 0, and a at infinity and NaN, so that 2^(y (k + log2(m))) is right there."""
    k, m = split(a)
    return select(equal(a, 0), -math.inf, select(a < math.inf, k, a)), m


def _logarithm(a: Value) -> tuple[Value, Value]:
    """log2(a) as the sum of two float64, to about 2^-65.

    With s = f / (2 + f), z = s^2: log(1 + f) = s (2 + 2/3 z + z^2 Q(z)). All but z^2 Q(z), which is small, is computed
    with its rounding error.
    """
    k, m = _split(a)
    f, d = m - 1, m + 1
    inverse = 1 / d
    s = f * inverse
    s_low = (fma(-s, d, f) - s * (m - (d - 1))) * inverse
    z = s * s
    z_low = fma(s, s, -z) + 2 * s * s_low
    p = z * _TWO_THIRDS[0]
    p_low = fma(z, _TWO_THIRDS[0], -p) + fma(z_low, _TWO_THIRDS[0], z * _TWO_THIRDS[1])
    q = z * z * horner(z, coefficients.POW[64])
    t = p + q
    t_low = (p - t + q) + p_low
    u = 2 + t
    u_low = (2 - u + t) + t_low
    v = s * u
    v_low = fma(s, u, -v) + fma(s, u_low, s_low * u)
    g = v * _INVERSE_LN2[0]
    g_low = fma(v, _INVERSE_LN2[0], -g) + fma(v_low, _INVERSE_LN2[0], v * _INVERSE_LN2[1])
    high = k + g
    return high, (k - high + g) + g_low


def _exponential(high: Value, low: Value) -> Value:
    """2^(high + low)."""
    high = select(high > 1100, 1100, select(high < -1100, -1100, high))
    k, integer = nearest_integer(high)
    r = (high - k) + low
    return scale_by_power_of_two(fma(r, horner(r, coefficients.EXP2[64]), 1), k, integer)


def _power_of_magnitude(a: Value, y: Value) -> Value:
    """a^y = 2^(y log2(a)) for a >= 0 and finite y."""
    if a.format.bits == 32:
        return _power_of_single(a, y)
    high, low = _logarithm(a)
    e = y * high
    e_low = fma(y, high, -e) + y * low
    return _exponential(e, select(absolute(e) < 1100, e_low, 0))


def _power_of_single(a: Value, y: Value) -> Value:
    """The same for float32, to 2^-25 or so.

    Only the logarithm and its multiple need float64: an exponent has up to 8 bits before the point, which the fraction
    of a float32 lacks behind it.
    """
    k, m = _split(a)
    f = widen(m - 1)
    s = f / (2 + f)
    exponent = widen(y) * fma(s, horner(s * s, coefficients.LOG2_SINGLE[64]), widen(k))
    exponent = maximum(minimum(exponent, 200.0), -200.0)
    n, integer = nearest_integer(exponent)
    r = narrow(exponent - n)
    y = fma(r, horner(r, coefficients.EXP2[32]), 1)
    return scale_by_power_of_two(y, narrow(n), convert("trunc", integer, "i32"))


def pow(x: Value, y: Value) -> Value:
    """x^y, with the special cases of C99, Annex F.9.4.4."""
    a = absolute(x)
    # An infinite y is as good as a large one, but for 0 y, which is the exponent of |x| = 1.
    largest = 2.0**x.format.bias
    magnitude = _power_of_magnitude(a, maximum(minimum(y, largest), -largest))
    # A finite number below zero has a power for integers only, which has its sign for odd ones.
    half = 0.5 * y
    y_integer = equal(floor(y), y)
    signed = select(equal(floor(half), half), magnitude, copy_sign(magnitude, x))
    below_zero = select(x < 0, a, math.inf) < math.inf
    z = select(y_integer, signed, select(below_zero, math.nan, magnitude))
    return select(equal(y, 0), 1, select(equal(x, 1), 1, z))
