"""The gamma function and its kin: logarithm, derivatives, the Hurwitz zeta function, and the beta function.

    log gamma    the power series of log Gamma(2 + z) (DLMF 5.7.3) for |z| <= 1/2, which the recurrence
                 Gamma(x + 1) = x Gamma(x) carries to 10; beyond it Stirling's series (DLMF 5.11.1)
    gamma        the exponential of the same series up to 24, beyond it Stirling's
    digamma      the power series at its root x0 = 1.4616..., so that it is accurate there; else the recurrence to
                 x >= 10 and the asymptotic series (DLMF 5.11.2)
    zeta         ten terms of the sum, and the Euler-Maclaurin formula for the rest (DLMF 25.11.5)
    beta         differences of Stirling's series, taken apart so that nothing large cancels: A. R. DiDonato and
                 A. H. Morris, "Algorithm 708", ACM Trans. Math. Softw. 18 (1992) 360-373, section 2

Below 0 they are reflected (DLMF 5.5.3, 5.5.4). A result near a root below 0 is accurate relative to 1, not to itself.
"""

from __future__ import annotations

import numpy as np

from .special_functions import in_double, power_series

_HALF_LOG_2PI = 0.9189385332046727
_DIGAMMA_ROOT = (1.4616321449683622, 9.549995429965697e-17)

_LOG_GAMMA = (
    0.42278433509846713, 0.3224670334241132, -0.0673523010531981, 0.020580808427784546, -0.007385551028673986,
    0.0028905103307415234, -0.001192753911703261, 0.0005096695247430425, -0.00022315475845357939,
    9.945751278180853e-05, -4.492623673813314e-05, 2.050721277567069e-05, -9.439488275268397e-06,
    4.374866789907488e-06, -2.039215753801366e-06, 9.55141213040742e-07, -4.492469198764566e-07,
    2.1207184805554665e-07, -1.0043224823968099e-07, 4.7698101693639804e-08, -2.2711094608943164e-08,
    1.0838659214896955e-08, -5.183475041970047e-09, 2.4836745438024785e-09, -1.1921401405860912e-09,
    5.731367241678862e-10, -2.7595228851242334e-10, 1.330476437424449e-10,
)  # fmt: skip
_DIGAMMA = (
    0.9676722454476212, -0.4427631689835921, 0.258499760955651, -0.16394270544240652, 0.10782405069126237,
    -0.07219956125645471, 0.04880428816414311, -0.03316112647484736, 0.022597648232218104, -0.01542476590494896,
    0.010538791616612175, -0.007204534386356869, 0.004926781395729853, -0.003369801655439328, 0.002305126326734928,
    -0.0015769367714301972, 0.0010788252019162967, -0.0007380709389960052, 0.000504953265834602,
    -0.0003454680251063077, 0.00023635601564027053, -0.00016170622091974803, 0.0001106337276874741,
    -7.569179582195066e-05, 5.178575795222081e-05,
)  # fmt: skip
_STIRLING = (
    0.08333333333333333, -0.002777777777777778, 0.0007936507936507937, -0.0005952380952380953, 0.0008417508417508417,
    -0.0019175269175269176, 0.00641025641025641, -0.029550653594771242, 0.17964437236883057,
)  # fmt: skip
_DIGAMMA_TAIL = (
    0.08333333333333333, -0.008333333333333333, 0.003968253968253968, -0.004166666666666667, 0.007575757575757576,
    -0.021092796092796094, 0.08333333333333333, -0.4432598039215686, 3.0539543302701198,
)  # fmt: skip
_EULER_MACLAURIN = (
    0.08333333333333333, -0.001388888888888889, 3.306878306878307e-05, -8.267195767195768e-07, 2.08767569878681e-08,
    -5.284190138687493e-10, 1.3382536530684679e-11, -3.3896802963225827e-13, 8.586062056277845e-15,
    -2.174868698558062e-16, 5.5090028283602295e-18, -1.3954464685812522e-19, 3.534707039629467e-21,
)  # fmt: skip


def _sin_pi(x):
    """sin(pi x), zero at every integer."""
    nearest = np.round(x)
    return np.where(nearest % 2 == 0, 1.0, -1.0) * np.sin(np.pi * (x - nearest))


def stirling_error(x):
    """log Gamma(x) - ((x - 1/2) log(x) - x + log(2 pi) / 2), for x >= 10."""
    return power_series(_STIRLING, 1 / (x * x)) / x


# Gamma ----------------------------------------------------------------------------------------------------------------


def _to_two(x, steps):
    """x - n next to 2, z = x - n - 2, and (x - 1) ... (x - n); below 1.5 it is 1 / (x (x + 1) ...) for a negative n."""
    product = np.ones_like(x)
    n = np.clip(np.floor(x - 1.5), 0, steps)
    for k in range(1, steps + 1):
        product = np.where(k <= n, product * (x - k), product)
    product = np.where(x < 1.5, 1 / x, product)
    product = np.where(x < 0.5, product / (x + 1), product)
    z = np.where(x < 0.5, x, np.where(x < 1.5, x - 1, x - n - 2))
    return z, product


def log_gamma_positive(x):
    """log Gamma(x) for flat x > 0."""
    small = np.where(x < 10, x, 2.0)
    z, product = _to_two(small, 8)
    # Near 1 the logarithm of the product is that of 1 + z.
    logs = np.where(small < 0.5, -np.log(small) - np.log1p(z), np.where(small < 1.5, -np.log1p(z), np.log(product)))
    low = logs + z * power_series(_LOG_GAMMA, z)
    large = np.maximum(x, 10.0)
    high = (large - 0.5) * (np.log(large) - 1) + (_HALF_LOG_2PI - 0.5) + stirling_error(large)
    return np.where(x < 10, low, high)


def _gammaln(x):
    positive = log_gamma_positive(np.where(x > 0, x, 1 - x))
    reflected = np.log(np.pi / np.abs(_sin_pi(x))) - positive
    result = np.where(x > 0, positive, reflected)
    return np.where(x == -np.inf, -np.inf, np.where((x <= 0) & (x == np.floor(x)), np.inf, result))


def gammaln(x):
    """The logarithm of the absolute value of the gamma function; infinite at its poles."""
    return in_double(_gammaln, x)


def gamma_positive(x):
    """Gamma(x) for flat x > 0."""
    small = np.where(x < 24, x, 2.0)
    z, product = _to_two(small, 22)
    low = product * np.exp(z * power_series(_LOG_GAMMA, z))
    large = np.clip(x, 24.0, 200.0)
    # The power is taken in two halves: neither overflows before the product does.
    half = np.power(large, 0.5 * large)
    high = np.sqrt(2 * np.pi / large) * np.exp(stirling_error(large)) * half * np.exp(-large) * half
    return np.where(x < 24, low, high)


def _gamma(x):
    positive = gamma_positive(np.where(x > 0, x, 1 - x))
    reflected = np.pi / (_sin_pi(x) * positive)
    result = np.where(x > 0, positive, np.where(x == np.floor(x), np.nan, reflected))
    return np.where(x == 0, np.copysign(np.inf, x), np.where(np.isnan(x), np.nan, result))


def gamma(x):
    """The gamma function; NaN at its poles, infinite of the sign of x at 0."""
    return in_double(_gamma, x)


# Digamma and zeta -----------------------------------------------------------------------------------------------------


def digamma_positive(x):
    """The derivative of log Gamma(x), for flat x >= 0."""
    near = (x > 1.2) & (x < 1.75)
    z = np.where(near, (x - _DIGAMMA_ROOT[0]) - _DIGAMMA_ROOT[1], 0.0)
    root = z * power_series(_DIGAMMA, z)
    shift = np.zeros_like(x)
    for _ in range(10):
        below = x < 10
        shift = shift + np.where(below, 1 / x, 0.0)
        x = np.where(below, x + 1, x)
    tail = power_series(_DIGAMMA_TAIL, 1 / (x * x)) / (x * x)
    return np.where(near, root, np.log(x) - 0.5 / x - tail - shift)


def _digamma(x):
    positive = digamma_positive(np.where(x >= 0, x, 1 - x))
    reflected = positive - np.pi / np.tan(np.pi * (x - np.round(x)))
    return np.where(x >= 0, positive, np.where(x == np.floor(x), np.nan, reflected))


def digamma(x):
    """The derivative of the logarithm of the gamma function; NaN at its poles below 0."""
    return in_double(_digamma, x)


def zeta_positive(s, q):
    """The sum of (q + k)^-s over k = 0, 1, ... for q > 0, continued to s < 1 by the formula for the rest."""
    result = np.zeros_like(q)
    for k in range(10):
        result += np.power(q + k, -s)
    w = q + 10
    scale = np.power(w, -s)
    rest = w / (s - 1) + 0.5
    factor = s / w
    for j, c in enumerate(_EULER_MACLAURIN):
        rest = rest + c * factor
        factor = factor * ((s + 2 * j + 1) / w) * ((s + 2 * j + 2) / w)
    return result + np.where(scale == 0, 0.0, scale * rest)


def _zeta(s, q):
    result = zeta_positive(s, np.where(q > 0, q, 1.0))
    negative = (q < 0) & (q != np.floor(q))
    if negative.any():
        # The terms below 0, an integer power of each, are those of two sums above 0.
        t, r = s[negative], q[negative]
        below = np.where(t % 2 == 0, 1.0, -1.0) * (zeta_positive(t, np.ceil(r) - r) - zeta_positive(t, 1 - r))
        both = zeta_positive(t, r - np.floor(r)) + below
        result[negative] = np.where(t == np.floor(t), both, np.nan)
    result = np.where((q <= 0) & (q == np.floor(q)), np.inf, result)
    result = np.where(s > 1, result, np.where(s == 1, np.inf, np.nan))
    return np.where(np.isnan(q), np.nan, result)


def _riemann_zeta(s):
    right = zeta_positive(np.maximum(s, 0.0), np.ones_like(s))
    t = 1 - np.minimum(s, 0.0)
    # zeta(s) = 2 (2 pi)^(s - 1) sin(pi s / 2) Gamma(1 - s) zeta(1 - s), DLMF 25.4.1; the sine is zero at even s.
    scale = np.exp(log_gamma_positive(t) - t * np.log(2 * np.pi))
    left = 2 * _sin_pi(np.minimum(s, 0.0) / 2) * np.where(t < 150, gamma_positive(t) * np.power(2 * np.pi, -t), scale)
    result = np.where(s < 0, left * zeta_positive(t, np.ones_like(s)), right)
    return np.where(s == 1, np.inf, np.where(s == np.inf, 1.0, np.where(s == -np.inf, np.nan, result)))


# Beta -----------------------------------------------------------------------------------------------------------------


def log_beta_positive(a, b):
    """log B(a, b) for flat a, b > 0."""
    p, q = np.minimum(a, b), np.maximum(a, b)
    small = log_gamma_positive(p)
    direct = small + log_gamma_positive(q) - log_gamma_positive(p + q)
    large = np.maximum(q, 10.0)
    rest = stirling_error(large) - stirling_error(p + large)
    # q is large: log Gamma(q) - log Gamma(p + q) without their common part.
    ratio = -(p + large - 0.5) * np.log1p(p / large) - p * np.log(large) + p + rest
    r = np.maximum(p, 10.0)
    both = (r - 0.5) * np.log(r / (r + large)) - large * np.log1p(r / large) - 0.5 * np.log(large)
    both = both + _HALF_LOG_2PI + stirling_error(r) + rest
    return np.where(q < 10, direct, np.where(p < 10, small + ratio, both))


def _betaln(a, b):
    positive = (a > 0) & (b > 0)
    result = log_beta_positive(np.where(positive, a, 1.0), np.where(positive, b, 1.0))
    other = ~positive
    if other.any():
        p, q = a[other], b[other]
        value = _gammaln(p) + _gammaln(q) - _gammaln(p + q)
        for x, y in ((p, q), (q, p)):
            # A pole of the one is cancelled by a pole of the sum.
            whole = (x <= 0) & (x == np.floor(x)) & (y == np.floor(y)) & (y > 0)
            finite = whole & (1 - x - y > 0)
            reflected = log_beta_positive(np.where(finite, 1 - x - y, 1.0), np.where(finite, y, 1.0))
            value = np.where(finite, reflected, np.where(whole, np.inf, value))
        poles = (p <= 0) & (q <= 0) & (p == np.floor(p)) & (q == np.floor(q))
        result[other] = np.where(poles | (p == 0) | (q == 0), np.inf, value)
    return np.where(np.isnan(a) | np.isnan(b), np.nan, result)


def betaln(a, b):
    """The logarithm of the absolute value of the beta function."""
    return in_double(_betaln, a, b)


def _sign_of_gamma(x):
    return np.where((x < 0) & (np.floor(x) % 2 != 0), -1.0, 1.0)


def _beta(a, b):
    total = a + b
    direct = _gamma(a) * (_gamma(b) / _gamma(total))
    sign = _sign_of_gamma(a) * _sign_of_gamma(b) * _sign_of_gamma(total)
    for x, y in ((a, b), (b, a)):
        whole = (x < 0) & (x == np.floor(x)) & (y == np.floor(y)) & (1 - x - y > 0)
        sign = np.where(whole, np.where(y % 2 == 0, 1.0, -1.0), sign)
    plain = (np.abs(a) < 20) & (np.abs(b) < 20) & np.isfinite(direct) & (total != np.floor(total))
    plain = plain | ((a > 0) & (b > 0) & (total < 20))
    # At a pole there is no sign.
    logarithm = _betaln(a, b)
    return np.where(plain, direct, np.where(logarithm == np.inf, np.inf, sign * np.exp(logarithm)))


def beta(a, b):
    """The beta function Gamma(a) Gamma(b) / Gamma(a + b)."""
    return in_double(_beta, a, b)
