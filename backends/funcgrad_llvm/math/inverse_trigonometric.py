"""atan, atan2, asin, acos.

atan(t):  for t > tan(3 pi/8) it is pi/2 + atan(-1/t), for t > tan(pi/8) it is pi/4 + atan((t - 1) / (t + 1)),
          so that the argument is at most tan(pi/8), where atan(t) = t + t z P(z), z = t^2.
asin(x):  for |x| <= 1/2 it is x + x z P(z), z = x^2; above, pi/2 - 2 asin(sqrt((1 - x) / 2)).
"""

from __future__ import annotations

import math

from . import coefficients
from .ir import Value, absolute, bits, copy_sign, equal, fma, horner, is_nan, select, square_root

_TAN_3PI_8 = math.sqrt(2) + 1
#: What the nearest number of the format lacks to pi.
_PI_LOW = {32: -8.742277657347586e-08, 64: 1.2246467991473532e-16}


def _pi(x: Value) -> tuple[float, float]:
    """pi in two parts."""
    return x.format.round(math.pi), _PI_LOW[x.format.bits]


def _atan_of_ratio(a: Value, b: Value) -> tuple[Value, Value]:
    """atan(a / b) for a, b >= 0, as a multiple of pi and a rest: `(multiple, rest)`."""
    steep, middle = a > b * _TAN_3PI_8, a > b * 0.5
    numerator = select(steep, -b, select(middle, a - b, a))
    denominator = select(steep, a, select(middle, a + b, b))
    t = numerator / denominator
    z = t * t
    rest = fma(t * z, horner(z, coefficients.ATAN[a.format.bits]), t)
    return select(steep, a.constant(0.5), select(middle, a.constant(0.25), 0)), rest


def atan(x: Value) -> Value:
    high, low = _pi(x)
    multiple, rest = _atan_of_ratio(absolute(x), x.constant(1))
    y = fma(multiple, high, fma(multiple, low, rest))
    return select(absolute(x) < x.format.tiny, x, copy_sign(y, x))


def atan2(y: Value, x: Value) -> Value:
    """The angle of the point (x, y), in [-pi, pi]; signed zeros and infinities as C99, Annex F.10.1.4."""
    f = x.format
    high, low = _pi(x)
    a, b = absolute(y), absolute(x)
    # Two infinities are as 1 and 1; a large point is scaled down, so that a + b and b tan(3 pi/8) are finite.
    both = select(equal(a, math.inf), b, a.constant(0))
    infinite = equal(both, math.inf)
    large = 2.0 ** (f.bias - 2)
    scale = select(a > large, a.constant(0.125), select(b > large, b.constant(0.125), 1))
    a, b = select(infinite, a.constant(1), a * scale), select(infinite, b.constant(1), b * scale)
    multiple, rest = _atan_of_ratio(a, b)
    rest = select(equal(a, 0), a, rest)
    # On the left of the y axis the angle is pi less that.
    left = equal(bits(x) & f.sign, f.sign)
    multiple = select(left, 1 - multiple, multiple)
    rest = select(left, -rest, rest)
    angle = fma(multiple, high, fma(multiple, low, rest))
    angle = select(is_nan(x), x, angle)
    return copy_sign(angle, y)


def _asin_core(a: Value) -> tuple[Value, Value, Value]:
    """`(outer, s, t)`: asin(s) = s + t, where s is a for a <= 1/2, and sqrt((1 - a) / 2) in the outer part."""
    outer = a > 0.5
    z = select(outer, 0.5 * (1 - a), a * a)
    s = select(outer, square_root(z), a)
    return outer, s, s * z * horner(z, coefficients.ASIN[a.format.bits])


def asin(x: Value) -> Value:
    high, low = _pi(x)
    outer, s, t = _asin_core(absolute(x))
    y = select(outer, 0.5 * high - (2 * s - (0.5 * low - 2 * t)), s + t)
    return select(absolute(x) < x.format.tiny, x, copy_sign(y, x))


def acos(x: Value) -> Value:
    high, low = _pi(x)
    outer, s, t = _asin_core(absolute(x))
    inner = 0.5 * high - (copy_sign(s, x) - (0.5 * low - copy_sign(t, x)))
    right = 2 * (s + t)
    left = high - (2 * s - (low - 2 * t))
    return select(outer, select(x < 0, left, right), inner)
