"""erf and erfc.

    erf(x) = x + x P(x^2)                              for |x| <= 1
    erfc(x) = exp(-x^2) F(t) / (1 + 2 x)               for x > 0.46,    t = (x - 4) / (x + 4)

The second form, of M. M. Shepherd and J. G. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x",
Math. Comp. 36 (1981) 249-253, has one polynomial for the whole half axis, since (1 + 2 x) exp(x^2) erfc(x) stays
between 1.05 and 1.25 there. Above 1, erf is 1 - erfc.
"""

from __future__ import annotations

from . import coefficients
from .exponential import exp
from .ir import Value, absolute, copy_sign, fma, horner, minimum, select


def _erfc_of_positive(a: Value) -> Value:
    """erfc(a) for 0.46 <= a <= 28. With a^2 = h + l, exp(-a^2) = exp(-h) (1 - l)."""
    h = a * a
    low = fma(a, a, -h)
    e = exp(-h)
    e = fma(e, -low, e)
    scaled = horner((a - 4) / (a + 4), coefficients.ERFC[a.format.bits])
    return e * (scaled / fma(a, 2, 1))


def _erf_of_small(x: Value) -> Value:
    return fma(x, horner(x * x, coefficients.ERF[x.format.bits]), x)


def erf(x: Value) -> Value:
    a = absolute(x)
    far = 1 - _erfc_of_positive(minimum(a, 6.0))
    return select(a < 1, _erf_of_small(x), copy_sign(far, x))


def erfc(x: Value) -> Value:
    a = absolute(x)
    far = _erfc_of_positive(minimum(a, 28.0))
    return select(a < 0.47, 1 - _erf_of_small(x), select(x < 0, 2 - far, far))
