"""Special functions of one argument related to the exponential: the complements and inverses of the error function, the
normal distribution, entropies, and modified Bessel functions.

With y = |x|, and w = erfcx(y) = exp(y^2) erfc(y):

    erfcx       (1 + 2 y) w is a Chebyshev series in (y - 3.75) / (y + 3.75): M. M. Shepherd and J. G. Laframboise,
                "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x in 0 <= x < inf", Math. Comp. 36 (1981) 249-253
    erfc        1 - erf(x) for y < 1/2, exp(-y^2) w beyond
    erfinv      Halley's iteration for erf(z) = x from the first terms of the power series, and for erfc(z) = 1 - x from
                M. Abramowitz and I. Stegun, "Handbook of Mathematical Functions", 26.2.23
    i0e, i1e    the power series (DLMF 10.25.2) up to 8, beyond it exp(-y) sqrt(y) I(y) as a Chebyshev series in 16/y - 1

The coefficients were computed to 60 digits from these definitions. Half and single precision are computed in double
and rounded once. Generated stand-alone modules copy the text of these functions: all is plain NumPy.
"""

from __future__ import annotations

import numpy as np

from .special import erf

_SQRT_HALF = 0.7071067811865476
_SQRT_2 = 1.4142135623730951
_SQRT_PI_HALF = 0.886226925452758

_ERFCX = (
    2.3551578691348034, -0.004590054580646478, -0.08424913336651792, 0.05920993999819189, -0.026658668435305753,
    0.009074997670705265, -0.002413163540417608, 0.0004907758365258086, -6.916973302501207e-05, 4.13902798607301e-06,
    7.74038306619849e-07, -2.1886401049234397e-07, 1.076499946567091e-08, 4.521959811218287e-09,
    -7.754400208831351e-10, -6.318088340886684e-11, 2.86879501093067e-11, 1.9455868545777347e-13,
    -9.65469674843344e-13, 3.25254814814874e-14, 3.3478119482868056e-14, -1.864562880419313e-15,
    -1.2507950530688648e-15, 7.418235256624044e-17, 5.068148904796111e-17, -2.2370566594359995e-18,
    -2.187342944303018e-18,
)  # fmt: skip
#: sqrt(pi)/2 times the power series of the inverse error function, in odd powers (DLMF 7.17.2).
_ERFINV_START = (0.886226925452758, 0.23201366653465444, 0.12755617530559793, 0.0865521292415475)
#: A&S 26.2.23: numerator and denominator.
_QUANTILE_START = ((2.515517, 0.802853, 0.010328), (1.0, 1.432788, 0.189269, 0.001308))

_I0_LARGE = (
    0.8044904110141088, 0.0033691164782556943, 6.889758346916825e-05, 2.8913705208347567e-06, 2.0489185894690638e-07,
    2.266668990498178e-08, 3.3962320257083865e-09, 4.94060238822497e-10, 1.1889147107846439e-11,
    -3.1499165279632416e-11, -1.3215811840447713e-11, -1.7941785315068062e-12, 7.180124451383666e-13,
    3.8527783827421426e-13, 1.54008621752141e-14, -4.150569347287222e-14, -9.554846698828307e-15,
    3.8116806693526224e-15, 1.7725601330565263e-15, -3.425485619677219e-16, -2.8276239805165836e-16,
    3.461222867697461e-17, 4.46562142029676e-17, -4.830504485944182e-18, -7.233180487874754e-18,
    9.921475412173699e-19, 1.193650890845982e-18,
)  # fmt: skip
_I1_LARGE = (
    0.7785762350182801, -0.009761097491361469, -0.00011058893876262371, -3.882564808877691e-06,
    -2.512236237870209e-07, -2.6314688468895196e-08, -3.835380385964237e-09, -5.589743462196584e-10,
    -1.8974958123505413e-11, 3.2526035830154884e-11, 1.4125807436613782e-11, 2.0356285441470896e-12,
    -7.198551776245908e-13, -4.0835511110921974e-13, -2.1015418427726643e-14, 4.272440016711951e-14,
    1.0420276984128802e-14, -3.8144030724370075e-15, -1.8803547755107825e-15, 3.3082023109209285e-16,
    2.96262899764595e-16, -3.209525921993424e-17, -4.6503053684893586e-17, 4.414348323071708e-18,
    7.517296310842105e-18, -9.314178867326884e-19, -1.242193275194891e-18,
)  # fmt: skip


def in_double(f, *operands):
    """A function of flat arrays of doubles, applied to operands of any shape and precision; they broadcast."""
    dtype = np.result_type(*operands)
    wide = np.broadcast_arrays(*[np.asarray(x, np.float64) for x in operands])
    with np.errstate(all="ignore"):
        result = f(*[x.ravel() for x in wide])
        return result.reshape(wide[0].shape).astype(dtype, copy=False)[()]


def power_series(coefficients, x):
    """c0 + c1 x + c2 x^2 + ..., by Horner's rule."""
    result = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        result *= x
        result += c
    return result


def chebyshev_series(coefficients, x):
    """c0/2 + c1 T1(x) + c2 T2(x) + ..., by Clenshaw's recurrence."""
    double, last, result = 2 * x, np.zeros_like(x), np.zeros_like(x)
    for c in coefficients[:0:-1]:
        last, result = result, double * result - last + c
    return x * result - last + 0.5 * coefficients[0]


# The error function ---------------------------------------------------------------------------------------------------


def _exp_of_square(x, sign):
    """exp(sign x^2) without the rounding error of the square: its leading digits, and the rest, apart."""
    x = np.minimum(np.abs(x), 40.0)
    high = np.trunc(x * 16) / 16
    return np.exp(sign * high * high) * np.exp(sign * (x - high) * (x + high))


def _erfcx_positive(x):
    mapped = np.where(np.isinf(x), 1.0, (x - 3.75) / (x + 3.75))
    return chebyshev_series(_ERFCX, mapped) / (1 + 2 * x)


def _erfcx(x):
    w = _erfcx_positive(np.abs(x))
    return np.where(x < 0, 2 * _exp_of_square(x, 1.0) - w, w)


def erfcx(x):
    """The scaled complementary error function exp(x^2) erfc(x)."""
    return in_double(_erfcx, x)


def _erfc(x):
    y = np.abs(x)
    tail = _exp_of_square(y, -1.0) * _erfcx_positive(y)
    return np.where(y < 0.5, 1 - erf(x), np.where(x < 0, 2 - tail, tail))


def erfc(x):
    """The complementary error function 1 - erf(x), accurate to the last digits where it is small."""
    return in_double(_erfc, x)


def _erf_inverse(x):
    """z with erf(z) = x, for |x| <= 1/2."""
    z = x * power_series(_ERFINV_START, x * x)
    for _ in range(2):
        step = (erf(z) - x) * _SQRT_PI_HALF * np.exp(z * z)
        z = z - step / (1 + step * z)
    return z


def _erfc_inverse(x):
    """z with erfc(z) = x, for 0 <= x <= 1/2; the iteration looks at the logarithm, which never underflows."""
    log_x = np.log(x)
    r = np.sqrt(2 * (0.6931471805599453 - log_x))
    z = (r - power_series(_QUANTILE_START[0], r) / power_series(_QUANTILE_START[1], r)) * _SQRT_HALF
    for _ in range(3):
        w = _erfcx_positive(z)
        step = w * _SQRT_PI_HALF * np.expm1(log_x + z * z - np.log(w))
        z = z - step / (1 + step * z)
    return np.where(x == 0, np.inf, z)


def _erfinv(x):
    y = np.abs(x)
    tail = np.copysign(_erfc_inverse(np.minimum(1 - y, 0.5)), x)
    result = np.where(y <= 0.5, _erf_inverse(np.clip(x, -0.5, 0.5)), tail)
    return np.where(y <= 1, result, np.nan)


def erfinv(x):
    """The inverse of the error function; infinite at -1 and 1, NaN beyond."""
    return in_double(_erfinv, x)


def _ndtri(p):
    tail = np.minimum(p, 1 - p)
    outer = np.where(p < 0.5, -1.0, 1.0) * _erfc_inverse(np.clip(2 * tail, 0, 0.5))
    result = np.where(tail < 0.25, outer, _erf_inverse(np.clip(2 * (p - 0.5), -0.5, 0.5)))
    return np.where(tail >= 0, result * _SQRT_2, np.nan)


def ndtri(x):
    """The quantile of the standard normal distribution; infinite at 0 and 1, NaN beyond."""
    return in_double(_ndtri, x)


def _log_ndtr(x):
    y = np.minimum(x, -1.0)
    tail = np.log(0.5 * _erfcx_positive(-y * _SQRT_HALF)) - 0.5 * y * y
    return np.where(x < -1, tail, np.log1p(-0.5 * _erfc(np.maximum(x, -1.0) * _SQRT_HALF)))


def log_ndtr(x):
    """The logarithm of the distribution function of the standard normal distribution."""
    return in_double(_log_ndtr, x)


# Logarithms -----------------------------------------------------------------------------------------------------------


def _logit(x):
    # Near 1/2 the quotient is near 1, and 2 x - 1 is exact.
    middle = (x > 0.25) & (x < 0.75)
    return np.where(middle, 2 * np.arctanh(2 * np.where(middle, x, 0.5) - 1), np.log(x / (1 - x)))


def logit(x):
    """log(x / (1 - x)), the inverse of the logistic function."""
    return in_double(_logit, x)


def xlogy(x, y):
    """x log(y), and 0 for x = 0 unless y is NaN."""
    with np.errstate(all="ignore"):
        return np.where((np.equal(x, 0)) & ~np.isnan(y), np.zeros_like(x), x * np.log(y))[()]


def xlog1py(x, y):
    """x log(1 + y), and 0 for x = 0 unless y is NaN."""
    with np.errstate(all="ignore"):
        return np.where((np.equal(x, 0)) & ~np.isnan(y), np.zeros_like(x), x * np.log1p(y))[()]


def entr(x):
    """-x log(x); 0 at 0, minus infinity below."""
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        result = np.where(x == 0, x.dtype.type(0), -x * np.log(x))
        return np.where(x < 0, x.dtype.type(-np.inf), result)[()]


# Modified Bessel functions --------------------------------------------------------------------------------------------


def _bessel_small(x, order):
    """The sum of (x/2)^(2k + order) / (k! (k + order)!), for 0 <= x <= 8."""
    square = 0.25 * x * x
    term = 0.5 * x if order else np.ones_like(x)
    result = term.copy()
    for k in range(1, 36):
        term = term * square / (k * (k + order))
        result += term
    return result


def _bessel_large(x, coefficients):
    """exp(-x) I(x), for x >= 8."""
    return chebyshev_series(coefficients, 16 / x - 1) / np.sqrt(x)


def _i0e(x):
    y = np.abs(x)
    z = np.minimum(y, 8.0)
    return np.where(y <= 8, _bessel_small(z, 0) * np.exp(-z), _bessel_large(np.maximum(y, 8.0), _I0_LARGE))


def _i1e(x):
    y = np.abs(x)
    z = np.minimum(y, 8.0)
    result = np.where(y <= 8, _bessel_small(z, 1) * np.exp(-z), _bessel_large(np.maximum(y, 8.0), _I1_LARGE))
    return np.copysign(result, x)


def _i0(x):
    y = np.abs(x)
    large = np.exp(y) * _bessel_large(np.maximum(y, 8.0), _I0_LARGE)
    return np.where(y <= 8, _bessel_small(np.minimum(y, 8.0), 0), large)


def _i1(x):
    y = np.abs(x)
    large = np.exp(y) * _bessel_large(np.maximum(y, 8.0), _I1_LARGE)
    return np.copysign(np.where(y <= 8, _bessel_small(np.minimum(y, 8.0), 1), large), x)


def i0(x):
    """The modified Bessel function of the first kind of order 0."""
    return in_double(_i0, x)


def i0e(x):
    """exp(-|x|) I0(x)."""
    return in_double(_i0e, x)


def i1(x):
    """The modified Bessel function of the first kind of order 1."""
    return in_double(_i1, x)


def i1e(x):
    """exp(-|x|) I1(x)."""
    return in_double(_i1e, x)
