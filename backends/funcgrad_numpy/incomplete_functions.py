"""The incomplete gamma and beta functions, with their derivatives of any order in the parameters, by quadrature.

Both are distribution functions, of the densities of t in (0, inf) and in (0, 1)

    p(t; a) = t^(a-1) exp(-t) / Gamma(a),        p(t; a, b) = t^(a-1) (1-t)^(b-1) / B(a, b).

A derivative in the parameters is the integral of p G over the same range, where the G are polynomials in the
derivatives k_i of log p: G_0 = 1 and d(p G)/da = p (k_1 G + dG/da), so that G_(n+1) = sum_i C(n, i) G_(n-i) k_(i+1).
The k_1 contain log t and log(1 - t), those of higher order are polygamma functions of the parameters alone.

In the variable v with t = x exp(-v) or t = x exp(v) (for beta: of the odds t / (1 - t)), the integrand is smooth and falls
off from t = x on, so that Gauss-Legendre quadrature converges fast on the range in which it does not vanish. Of the two
tails the one is taken in which the first derivative has no change of sign; the total is 1, its derivatives are 0. What
stands before the integral is computed as C. Loader does ("Fast and accurate computation of binomial probabilities", 2000),
from log(1 + u) - u, without cancellation.

The relative error is that of some ten roundings, times the square root of the parameters: what one rounding of x does.
"""

from __future__ import annotations

import numpy as np

from .gamma_functions import digamma_positive, gamma_positive, log_beta_positive, stirling_error, zeta_positive
from .special_functions import in_double

#: The integrand is cut off where it is exp(-45) of what it is at the end of the range.
_CUT = 45.0
#: Gauss-Legendre quadrature of 64 nodes on (-1, 1): the positive nodes, and their weights (DLMF 3.5.v).
_NODES = (
    0.02435029266342443, 0.07299312178779904, 0.12146281929612054, 0.16964442042399283, 0.21742364374000708,
    0.2646871622087674, 0.31132287199021097, 0.3572201583376681, 0.4022701579639916, 0.4463660172534641,
    0.48940314570705296, 0.5312794640198946, 0.571895646202634, 0.6111553551723933, 0.6489654712546573,
    0.6852363130542333, 0.7198818501716109, 0.7528199072605319, 0.7839723589433414, 0.8132653151227975,
    0.8406292962525803, 0.8659993981540928, 0.8893154459951141, 0.9105221370785028, 0.9295691721319396,
    0.9464113748584028, 0.9610087996520538, 0.973326827789911, 0.983336253884626, 0.9910133714767443,
    0.9963401167719552, 0.9993050417357722,
)  # fmt: skip
_WEIGHTS = (
    0.048690957009139814, 0.04857546744150351, 0.048344762234802996, 0.04799938859645842, 0.04754016571483042,
    0.046968182816210076, 0.04628479658131447, 0.045491627927418184, 0.044590558163756566, 0.04358372452932355,
    0.04247351512365361, 0.041262563242623576, 0.039953741132720544, 0.03855015317861564, 0.03705512854024009,
    0.0354722132568823, 0.033805161837141794, 0.032057928354851495, 0.030234657072402554, 0.028339672614259535,
    0.02637746971505491, 0.0243527025687112, 0.02227017380838297, 0.020134823153530088, 0.017951715775697284,
    0.01572603047602503, 0.01346304789671786, 0.011168139460131028, 0.008846759826363397, 0.006504457968978502,
    0.004147033260564499, 0.00178328072169414,
)  # fmt: skip
#: Rows at a time, so that what is computed at all nodes stays in the cache.
_ROWS = 256
#: Between these values of log t, and of log t / (1 - t), the integrands change their character.
_GAMMA_PANELS = (-40.0, -3.0, 0.0)
_BETA_PANELS = (40.0, 12.0, 4.0, 0.0, -4.0, -12.0, -40.0)


def log1p_minus(u, ratio):
    """log(1 + u) - u, where ``ratio`` is 1 + u; near 0 by the series of the inverse hyperbolic tangent of u / (2 + u)."""
    near = np.where(np.abs(u) < 0.4, u, 0.0)
    r = near / (2 + near)
    square = r * r
    total = np.zeros_like(u)
    for k in range(29, 1, -2):
        total = (total + 1 / k) * square
    return np.where(np.abs(u) < 0.4, r * (2 * total - near), np.log(ratio) - u)


def _expm1_minus(u):
    """exp(u) - 1 - u for |u| <= 1, by its power series."""
    total = np.ones_like(u)
    for k in range(20, 2, -1):
        total = 1 + total * u / k
    return 0.5 * u * u * total


def _polygamma(order, x):
    """The derivative of this order of digamma, for x > 0."""
    if order == 0:
        return digamma_positive(x)
    factorial = float(np.prod(np.arange(1.0, order + 1)))
    return (-1.0) ** (order + 1) * factorial * zeta_positive(np.full_like(x, order + 1.0), x)


def _binomial(n, k):
    """n over k."""
    result = 1
    for i in range(k):
        result = result * (n - i) // (i + 1)
    return result


def _panels(function, bounds):
    """The integral of a function of (row, node) over the panels between columns of bounds; rows in blocks."""
    half = 0.5 * np.array(_NODES)
    nodes = np.concatenate([0.5 - half, 0.5 + half])
    weights = 0.5 * np.array(_WEIGHTS + _WEIGHTS)
    rows = bounds.shape[0]
    result = np.zeros(rows)
    for start in range(0, rows, _ROWS):
        block = slice(start, start + _ROWS)
        for left, right in zip(bounds[block].T[:-1], bounds[block].T[1:]):
            width = right - left
            if width.any():
                v = left[:, None] + width[:, None] * nodes
                result[block] += width * (function(block, v) @ weights)
    return result


# Gamma ----------------------------------------------------------------------------------------------------------------


def _gamma_density(a, x):
    """x^a exp(-x) / Gamma(a), that is x times the density, for flat a, x > 0."""
    large = np.maximum(a, 10.0)
    far = np.sqrt(large / (2 * np.pi)) * np.exp(
        large * log1p_minus((x - large) / large, x / large) - stirling_error(large)
    )
    small = np.minimum(a, 10.0)
    near = np.power(np.minimum(x, 1e4), small) * np.exp(-x) / gamma_positive(small)
    return np.where(a < 10, near, far)


def _gamma_polynomial(order, log_t, a):
    """G of the density: log_t has a column for every node, a has one."""
    cumulants = [log_t - digamma_positive(a)] + [-_polygamma(i, a) for i in range(1, order)]
    values = [np.ones_like(log_t)]
    for n in range(order):
        values.append(sum(_binomial(n, i) * values[n - i] * cumulants[i] for i in range(n + 1)))
    return values[order]


def _gamma_tail(a, x, upper, order):
    """The integral of p G from 0 to x, or from x on, for flat a, x > 0."""
    sign = 1.0 if upper else -1.0

    def exponent(a, x, v):
        close = np.abs(v) <= 1
        near = sign * v * (a - x) - x * _expm1_minus(np.where(close, sign * v, 0.0))
        return np.where(close, near, sign * a * v - x * np.expm1(sign * v))

    # The end is found by Newton's iteration, from beyond it: the exponent is concave, so that it stays there.
    if upper:
        most = np.maximum(a, x)
        end = np.log1p((most - x + _CUT + 3 + np.sqrt(2 * most * (_CUT + 3))) / x)
    else:
        end = np.sqrt(3 * _CUT / x)
        end = np.where(end < 1, end, (_CUT + x) / a)
    for _ in range(8):
        slope = sign * (a - x * np.exp(sign * end))
        end = end - (exponent(a, x, end) + _CUT) / slope
    log_x = np.log(x)

    def integrand(block, v):
        p, q = a[block, None], x[block, None]
        value = np.exp(exponent(p, q, v))
        if order:
            value = value * _gamma_polynomial(order, log_x[block, None] + sign * v, p)
        return value

    bounds = [np.zeros_like(x), end]
    if upper:
        inner = [np.clip(c - log_x, 0, end) for c in _GAMMA_PANELS]
        bounds = [bounds[0], *inner, end]
    return _gamma_density(a, x) * _panels(integrand, np.stack(bounds, 1))


def _gamma_part(a, x, order, upper):
    """The derivative of the lower or upper incomplete gamma function: one of the tails, and 1 minus the other."""
    result = np.full_like(x, np.nan)
    inside = (a > 0) & (x > 0) & np.isfinite(a) & np.isfinite(x)
    right = inside & (x >= np.exp(digamma_positive(np.where(inside, a, 1.0))))
    total = 1.0 if order == 0 else 0.0
    for mask, is_upper in ((right, True), (inside & ~right, False)):
        if mask.any():
            tail = _gamma_tail(a[mask], x[mask], is_upper, order)
            result[mask] = tail if is_upper == upper else total - tail
    low, high = (total, 0.0) if upper else (0.0, total)
    edge = (x >= 0) & (a >= 0) & ~inside
    result = np.where(edge & ((x == 0) | np.isinf(a)), low, result)
    result = np.where(edge & (np.isinf(x) | (a == 0)), high, result)
    return np.where(edge & (((x == 0) & (a == 0)) | (np.isinf(x) & np.isinf(a))), np.nan, result)


def gammainc(a, x, *, order=0):
    """The regularized lower incomplete gamma function, or its derivative of an order in a."""
    return in_double(lambda a, x: _gamma_part(a, x, order, False), a, x)


def gammaincc(a, x, *, order=0):
    """The regularized upper incomplete gamma function, or its derivative of an order in a."""
    return in_double(lambda a, x: _gamma_part(a, x, order, True), a, x)


def gamma_density(a, x):
    """x^(a-1) exp(-x) / Gamma(a), for x > 0; at x = 0 the limit."""
    return in_double(_density_of_gamma, a, x)


def _density_of_gamma(a, x):
    inside = (a > 0) & (x > 0) & np.isfinite(x)
    value = _gamma_density(np.where(inside, a, 1.0), np.where(inside, x, 1.0)) / np.where(inside, x, 1.0)
    at_zero = np.where(a < 1, np.inf, np.where(a == 1, 1.0, 0.0))
    edge = np.where(x == 0, at_zero, np.where(x == np.inf, 0.0, np.nan))
    return np.where(inside, value, np.where(a > 0, edge, np.nan))


# Beta -----------------------------------------------------------------------------------------------------------------


def _beta_density(a, b, x, log_x, log_y):
    """x^a (1-x)^b / B(a, b), that is x (1-x) times the density, for flat a, b > 0 and 0 < x < 1."""
    p, q = np.maximum(a, 10.0), np.maximum(b, 10.0)
    excess = x * q - p * np.exp(log_y)
    errors = stirling_error(p) + stirling_error(q) - stirling_error(p + q)
    exponent = p * log1p_minus(excess / p, x * (p + q) / p)
    exponent = exponent + q * log1p_minus(-excess / q, np.exp(log_y) * (p + q) / q)
    both = np.sqrt(p / (2 * np.pi) * (q / (p + q))) * np.exp(exponent - errors)
    direct = np.exp(a * log_x + b * log_y - log_beta_positive(a, b))
    return np.where((a < 10) | (b < 10), direct, both)


def _beta_polynomial(orders, log_t, log_s, a, b):
    """G of the density for an order in a and one in b."""
    m, n = orders
    both = [_polygamma(i, a + b) for i in range(m + n)]

    def cumulant(i, j):
        value = both[i + j - 1]
        if j == 0:
            return value - _polygamma(i - 1, a) + (log_t if i == 1 else 0.0)
        if i == 0:
            return value - _polygamma(j - 1, b) + (log_s if j == 1 else 0.0)
        return value

    values = {(0, 0): np.ones_like(log_t)}
    for i, j in [(i, j) for j in range(n + 1) for i in range(m + 1) if i or j]:
        # A step in a from (i - 1, j) where there is one, else in b.
        di, dj = (1, 0) if i else (0, 1)
        total = 0.0
        for r in range(i - di + 1):
            for s in range(j - dj + 1):
                weight = _binomial(i - di, r) * _binomial(j - dj, s)
                total = total + weight * values[i - di - r, j - dj - s] * cumulant(r + di, s + dj)
        values[i, j] = total
    return values[m, n]


def _beta_tail(a, b, x, log_x, log_y, orders):
    """The integral of p G from 0 to x <= a / (a + b); log_x and log_y are the logarithms of x and 1 - x."""
    total = a + b

    def exponent(a, total, x, v):
        return -a * v - total * np.log1p(x * np.expm1(-v))

    # The end of the range by Newton's iteration, as above.
    close = np.sqrt(2 * np.e * _CUT / (total * x * np.exp(log_y)))
    end = np.where(close < 1, close, (_CUT - total * log_y) / a)
    for _ in range(10):
        t = x * np.exp(-end) / (1 + x * np.expm1(-end))
        end = end + (exponent(a, total, x, end) + _CUT) / (a - total * t)

    def integrand(block, v):
        p, s, q = a[block, None], total[block, None], x[block, None]
        value = np.exp(exponent(p, s, q, v))
        if any(orders):
            odds = np.log1p(q * np.expm1(-v))
            logs = log_x[block, None] - v - odds, log_y[block, None] - odds
            value = value * _beta_polynomial(orders, *logs, p, b[block, None])
        return value

    inner = [np.clip(log_x - log_y - c, 0, end) for c in _BETA_PANELS]
    # A short range is one panel.
    inner = [np.where(end < 4, end, c) for c in inner]
    return _beta_density(a, b, x, log_x, log_y) * _panels(integrand, np.stack([np.zeros_like(x), *inner, end], 1))


def _beta_part(a, b, x, orders):
    """The derivative of the incomplete beta function: the tail below x, or what is left by that above."""
    result = np.full_like(x, np.nan)
    inside = (a > 0) & (b > 0) & (x > 0) & (x < 1) & np.isfinite(a) & np.isfinite(b)
    below = inside & (x <= a / (a + b))
    total = 0.0 if any(orders) else 1.0
    if below.any():
        p, q, t = a[below], b[below], x[below]
        result[below] = _beta_tail(p, q, t, np.log(t), np.log1p(-t), orders)
    above = inside & ~below
    if above.any():
        p, q, t = a[above], b[above], x[above]
        result[above] = total - _beta_tail(q, p, 1 - t, np.log1p(-t), np.log(t), orders[::-1])
    # All the mass is at 0 where a = 0 or b is infinite, at 1 where b = 0 or a is infinite.
    at_zero, at_one = (a == 0) | np.isinf(b), (b == 0) | np.isinf(a)
    edge = (a >= 0) & (b >= 0) & (x >= 0) & (x <= 1) & ~inside & ~(at_zero & at_one)
    result = np.where(edge & ((x == 0) | (at_one & (x < 1))), 0.0, result)
    return np.where(edge & ((x == 1) | (at_zero & (x > 0))), total, result)


def betainc(a, b, x, *, orders=(0, 0)):
    """The regularized incomplete beta function, or its derivative of an order in a and one in b."""
    return in_double(lambda a, b, x: _beta_part(a, b, x, orders), a, b, x)


def beta_density(a, b, x):
    """x^(a-1) (1-x)^(b-1) / B(a, b), for 0 <= x <= 1."""
    return in_double(_density_of_beta, a, b, x)


def _density_of_beta(a, b, x):
    inside = (a > 0) & (b > 0) & (x > 0) & (x < 1)
    p, q, t = np.where(inside, a, 1.0), np.where(inside, b, 1.0), np.where(inside, x, 0.5)
    value = _beta_density(p, q, t, np.log(t), np.log1p(-t)) / (t * (1 - t))
    power = np.where(x == 0, a, b)
    at_end = np.where(power < 1, np.inf, np.where(power == 1, np.where(x == 0, b, a), 0.0))
    return np.where(inside, value, np.where((a > 0) & (b > 0) & ((x == 0) | (x == 1)), at_end, np.nan))
