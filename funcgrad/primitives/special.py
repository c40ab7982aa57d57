"""Special functions as elementwise primitives: the table of derivatives, as in ``elementwise.py``.

Sources of the formulas: the NIST Digital Library of Mathematical Functions (DLMF), https://dlmf.nist.gov. A function has
a primitive where its derivative, or its value, would lose digits if it were written with other ones.

The incomplete functions are distribution functions. Their derivatives in the parameters have no closed form; they are
integrals of the same kind, so that a primitive stands for those of all orders: ``order`` of ``gammainc`` is that of the
derivative in a, ``orders`` of ``betainc`` those in a and in b; and likewise ``order`` of the zeta functions in s. In x, which is a bound of the integral, the derivative is
the integrand: the density p, and for the derivative of an order in the parameters the derivative of p, p G, with

    G_0 = 1,    G_(n+1) = sum_i C(n, i) G_(n-i) k_(i+1),    where k_i is the i-th derivative of log p.
"""

from __future__ import annotations

import math
from typing import Any

from .elementwise import (
    Elementwise,
    add,
    div,
    eq,
    exp,
    log,
    log1p,
    max_,
    min_,
    mul,
    neg,
    select,
    sign,
    sub,
)

__all__ = [
    "beta", "beta_density", "betainc", "betaln", "digamma", "entr", "erfc", "erfcx", "erfinv", "gamma",
    "gamma_density", "gammainc", "gammaincc", "gammaln", "i0", "i0e", "i1", "i1e", "log_ndtr", "logit", "ndtri",
    "riemann_zeta", "xlog1py", "xlogy", "zeta",
]  # fmt: skip


# The error function and the normal distribution (DLMF 7.2, 7.10) ------------------------------------------------------


def _hazard(x: Any) -> Any:
    # The density over the distribution function; on the left both vanish, but not the scaled erfc.
    left = div(math.sqrt(2 / math.pi), erfcx(mul(-math.sqrt(0.5), min_(x, -1.0))))
    right = max_(x, -1.0)
    density = mul(1 / math.sqrt(2 * math.pi), exp(sub(mul(-0.5, mul(right, right)), log_ndtr(right))))
    return select(eq(right, x), density, left)


erfc = Elementwise("erfc", "f", lambda t, y, x: mul(t, mul(-2 / math.sqrt(math.pi), exp(neg(mul(x, x))))))
erfcx = Elementwise("erfcx", "f", lambda t, y, x: mul(t, sub(mul(2.0, mul(x, y)), 2 / math.sqrt(math.pi))))
erfinv = Elementwise("erfinv", "f", lambda t, y, x: mul(t, mul(math.sqrt(math.pi) / 2, exp(mul(y, y)))))
ndtri = Elementwise("ndtri", "f", lambda t, y, x: mul(t, mul(math.sqrt(2 * math.pi), exp(mul(0.5, mul(y, y))))))
log_ndtr: Elementwise = Elementwise("log_ndtr", "f", lambda t, y, x: mul(t, _hazard(x)))

# Logarithms -----------------------------------------------------------------------------------------------------------

logit = Elementwise("logit", "f", lambda t, y, x: div(t, mul(x, sub(1.0, x))))
entr = Elementwise("entr", "f", lambda t, y, x: mul(t, sub(neg(log(x)), 1.0)))
xlogy = Elementwise("xlogy", "f", lambda t, z, x, y: mul(t, log(y)), lambda t, z, x, y: mul(t, div(x, y)))
xlog1py = Elementwise(
    "xlog1py", "f", lambda t, z, x, y: mul(t, log1p(y)), lambda t, z, x, y: mul(t, div(x, add(y, 1.0)))
)

# The gamma function and its kin (DLMF 5.2, 5.15, 25.11.17) ------------------------------------------------------------


# ``order`` is that of the derivative in s, the sum of (-log(q + k))^order (q + k)^-s.
def _zeta_s(t: Any, y: Any, s: Any, q: Any, order: int = 0) -> Any:
    return mul(t, zeta(s, q, order=order + 1))


def _zeta_q(t: Any, y: Any, s: Any, q: Any, order: int = 0) -> Any:
    above = s + 1.0 if isinstance(s, float) else add(s, 1.0)
    if not order:
        return mul(t, neg(mul(zeta(above, q), s)))
    return mul(t, neg(add(mul(zeta(above, q, order=order), s), mul(float(order), zeta(above, q, order=order - 1)))))


gamma = Elementwise("gamma", "f", lambda t, y, x: mul(t, mul(y, digamma(x))))
gammaln = Elementwise("gammaln", "f", lambda t, y, x: mul(t, digamma(x)))
digamma: Elementwise = Elementwise("digamma", "f", lambda t, y, x: mul(t, zeta(2.0, x)))
zeta: Elementwise = Elementwise("zeta", "f", _zeta_s, _zeta_q)
riemann_zeta: Elementwise = Elementwise(
    "riemann_zeta", "f", lambda t, y, s, order=0: mul(t, riemann_zeta(s, order=order + 1))
)


def _psi_difference(a: Any, b: Any) -> Any:
    return sub(digamma(a), digamma(add(a, b)))


betaln = Elementwise(
    "betaln",
    "f",
    lambda t, y, a, b: mul(t, _psi_difference(a, b)),
    lambda t, y, a, b: mul(t, _psi_difference(b, a)),
)
beta = Elementwise(
    "beta",
    "f",
    lambda t, y, a, b: mul(t, mul(y, _psi_difference(a, b))),
    lambda t, y, a, b: mul(t, mul(y, _psi_difference(b, a))),
)

# Incomplete functions (DLMF 8.2, 8.17) --------------------------------------------------------------------------------


def _polygamma(order: int, x: Any) -> Any:
    if order == 0:
        return digamma(x)
    return mul((-1.0) ** (order + 1) * math.factorial(order), zeta(order + 1.0, x))


def _gamma_density_derivative(order: int, a: Any, x: Any) -> Any:
    """The derivative of the density in a."""
    value = gamma_density(a, x)
    if not order:
        return value
    cumulants = [sub(log(x), digamma(a))] + [neg(_polygamma(i, a)) for i in range(1, order)]
    values: list[Any] = [1.0]
    for n in range(order):
        total = mul(cumulants[0], values[n])
        for i in range(1, n + 1):
            total = add(total, mul(mul(float(math.comb(n, i)), cumulants[i]), values[n - i]))
        values.append(total)
    return mul(value, values[order])


gamma_density = Elementwise(
    "gamma_density",
    "f",
    lambda t, y, a, x: mul(t, mul(y, sub(log(x), digamma(a)))),
    lambda t, y, a, x: mul(t, mul(y, sub(div(sub(a, 1.0), x), 1.0))),
)
gammainc: Elementwise = Elementwise(
    "gammainc",
    "f",
    lambda t, y, a, x, order=0: mul(t, gammainc(a, x, order=order + 1)),
    lambda t, y, a, x, order=0: mul(t, _gamma_density_derivative(order, a, x)),
)
gammaincc: Elementwise = Elementwise(
    "gammaincc",
    "f",
    lambda t, y, a, x, order=0: mul(t, gammaincc(a, x, order=order + 1)),
    lambda t, y, a, x, order=0: mul(t, neg(_gamma_density_derivative(order, a, x))),
)


def _beta_density_derivative(orders: tuple[int, int], a: Any, b: Any, x: Any) -> Any:
    """The derivative of the density in a and in b."""
    density = beta_density(a, b, x)
    if orders == (0, 0):
        return density
    m, n = orders
    both = [_polygamma(i, add(a, b)) for i in range(m + n)]
    cumulants: dict[tuple[int, int], Any] = {}
    for i in range(m + 1):
        for j in range(n + 1):
            if i or j:
                value = both[i + j - 1]
                if j == 0:
                    value = sub(value, _polygamma(i - 1, a))
                elif i == 0:
                    value = sub(value, _polygamma(j - 1, b))
                if i + j == 1:
                    value = add(value, log(x) if i else log1p(neg(x)))
                cumulants[i, j] = value
    values: dict[tuple[int, int], Any] = {(0, 0): 1.0}
    for j in range(n + 1):
        for i in range(m + 1):
            if not (i or j):
                continue
            # A step in a from (i - 1, j) where there is one, else in b.
            di, dj = (1, 0) if i else (0, 1)
            total = None
            for r in range(i - di + 1):
                for s in range(j - dj + 1):
                    count = float(math.comb(i - di, r) * math.comb(j - dj, s))
                    part = mul(mul(count, cumulants[r + di, s + dj]), values[i - di - r, j - dj - s])
                    total = part if total is None else add(total, part)
            values[i, j] = total
    return mul(density, values[orders])


def _betainc_a(t: Any, y: Any, a: Any, b: Any, x: Any, orders: tuple[int, int] = (0, 0)) -> Any:
    return mul(t, betainc(a, b, x, orders=(orders[0] + 1, orders[1])))


def _betainc_b(t: Any, y: Any, a: Any, b: Any, x: Any, orders: tuple[int, int] = (0, 0)) -> Any:
    return mul(t, betainc(a, b, x, orders=(orders[0], orders[1] + 1)))


def _betainc_x(t: Any, y: Any, a: Any, b: Any, x: Any, orders: tuple[int, int] = (0, 0)) -> Any:
    return mul(t, _beta_density_derivative(orders, a, b, x))


beta_density = Elementwise(
    "beta_density",
    "f",
    lambda t, y, a, b, x: mul(t, mul(y, sub(log(x), _psi_difference(a, b)))),
    lambda t, y, a, b, x: mul(t, mul(y, sub(log1p(neg(x)), _psi_difference(b, a)))),
    lambda t, y, a, b, x: mul(t, mul(y, sub(div(sub(a, 1.0), x), div(sub(b, 1.0), sub(1.0, x))))),
)
betainc: Elementwise = Elementwise("betainc", "f", _betainc_a, _betainc_b, _betainc_x)

# Modified Bessel functions (DLMF 10.29) -------------------------------------------------------------------------------


def _over(y: Any, x: Any) -> Any:
    # I1(x) / x, which at 0 is 1/2.
    zero = eq(x, 0)
    return select(zero, 0.5, div(y, select(zero, 1, x)))


i0 = Elementwise("i0", "f", lambda t, y, x: mul(t, i1(x)))
i1: Elementwise = Elementwise("i1", "f", lambda t, y, x: mul(t, sub(i0(x), _over(y, x))))
i0e = Elementwise("i0e", "f", lambda t, y, x: mul(t, sub(i1e(x), mul(sign(x), y))))
i1e: Elementwise = Elementwise("i1e", "f", lambda t, y, x: mul(t, sub(sub(i0e(x), _over(y, x)), mul(sign(x), y))))
