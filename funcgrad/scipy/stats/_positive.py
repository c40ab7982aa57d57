"""Distributions of positive numbers, and the beta distribution."""

from __future__ import annotations

import math
from typing import Any

from ... import numpy as fnp
from .. import special
from ._distribution import Continuous, Cumulative, xlog1py, xlogy

__all__ = ["beta", "chi2", "expon", "gamma", "lognorm"]

_LOG_ROOT_TAU = 0.5 * math.log(2.0 * math.pi)


class Exponential(Cumulative):
    """The exponential distribution: log p = -z - log(scale), z = (x - loc) / scale >= 0.

    >>> float(Exponential().pdf(0.0, scale=2.0))
    0.5
    """

    name = "expon"
    support = (0.0, math.inf)

    def log_density(self, z: Any) -> Any:
        return -z

    def below(self, z: Any) -> Any:
        return -fnp.expm1(-z)

    def above(self, z: Any) -> Any:
        return fnp.exp(-z)

    def log_below(self, z: Any) -> Any:
        small = z < math.log(2.0)
        near = fnp.log(-fnp.expm1(-fnp.where(small, z, 0.5)))
        return fnp.where(small, near, fnp.log1p(-fnp.exp(-z)))

    def log_above(self, z: Any) -> Any:
        return -z

    def quantile(self, q: Any) -> Any:
        return -fnp.log1p(-q)


class Gamma(Continuous):
    """The gamma distribution of shape ``a``: ``logpdf(x, a, loc=0, scale=1)``.

    log p = (a - 1) log z - z - log Gamma(a) - log(scale), z = (x - loc) / scale >= 0.

    >>> round(float(Gamma().logpdf(2.0, 1.0)), 12)
    -2.0
    """

    name = "gamma"
    shapes = ("a",)
    support = (0.0, math.inf)

    def log_density(self, z: Any, a: Any) -> Any:
        return xlogy(a - 1.0, z) - z - special.gammaln(a)

    def density(self, z: Any, a: Any) -> Any:
        # At 0 the logarithm has no finite slope where the density has one.
        edge = z == 0
        power = fnp.where(edge, z, 1.0) ** (a - 1.0) * fnp.exp(-z - special.gammaln(a))
        return fnp.where(edge, power, fnp.exp(self.log_density(fnp.where(edge, 1.0, z), a)))


class ChiSquared(Continuous):
    """The chi-squared distribution with ``df`` degrees of freedom: ``logpdf(x, df, loc=0, scale=1)``.

    log p = (df / 2 - 1) log(z / 2) - z / 2 - log Gamma(df / 2) - log(2 scale), z = (x - loc) / scale >= 0.

    >>> float(ChiSquared().pdf(0.0, 2.0))
    0.5
    """

    name = "chi2"
    shapes = ("df",)
    support = (0.0, math.inf)

    def log_density(self, z: Any, df: Any) -> Any:
        return xlogy(0.5 * df - 1.0, 0.5 * z) - 0.5 * z - special.gammaln(0.5 * df) - math.log(2.0)

    def density(self, z: Any, df: Any) -> Any:
        return 0.5 * gamma.density(0.5 * z, 0.5 * df)


class Beta(Continuous):
    """The beta distribution: ``logpdf(x, a, b, loc=0, scale=1)``.

    log p = (a - 1) log z + (b - 1) log(1 - z) - log B(a, b) - log(scale), z = (x - loc) / scale in [0, 1].

    >>> round(float(Beta().pdf(0.5, 2.0, 2.0)), 12)
    1.5
    """

    name = "beta"
    shapes = ("a", "b")
    support = (0.0, 1.0)

    def log_density(self, z: Any, a: Any, b: Any) -> Any:
        return xlogy(a - 1.0, z) + xlog1py(b - 1.0, -z) - special.betaln(a, b)

    def density(self, z: Any, a: Any, b: Any) -> Any:
        # At the ends the logarithm has no finite slope where the density has one.
        edge = (z == 0) | (z == 1)
        low, high = fnp.where(edge, z, 0.5), fnp.where(edge, 1.0 - z, 0.5)
        power = low ** (a - 1.0) * high ** (b - 1.0) * fnp.exp(-special.betaln(a, b))
        return fnp.where(edge, power, fnp.exp(self.log_density(fnp.where(edge, 0.5, z), a, b)))


class LogNormal(Cumulative):
    """The distribution of scale exp(s Z), Z standard normal: ``logpdf(x, s, loc=0, scale=1)``.

    log p = -(log(z) / s)^2 / 2 - log(2 pi) / 2 - log(s z) - log(scale), z = (x - loc) / scale > 0.

    >>> float(LogNormal().cdf(3.0, 0.5, scale=3.0))
    0.5
    """

    name = "lognorm"
    shapes = ("s",)
    support = (0.0, math.inf)

    def log_density(self, z: Any, s: Any) -> Any:
        # At 0 the density is 0 with all of its derivatives.
        zero = z == 0
        log = fnp.log(fnp.where(zero, 1.0, z))
        return fnp.where(zero, -math.inf, -0.5 * (log / s) ** 2 - log - fnp.log(s) - _LOG_ROOT_TAU)

    def below(self, z: Any, s: Any) -> Any:
        return special.ndtr(fnp.log(z) / s)

    def above(self, z: Any, s: Any) -> Any:
        return special.ndtr(-fnp.log(z) / s)

    def log_below(self, z: Any, s: Any) -> Any:
        return special.log_ndtr(fnp.log(z) / s)

    def log_above(self, z: Any, s: Any) -> Any:
        return special.log_ndtr(-fnp.log(z) / s)

    def quantile(self, q: Any, s: Any) -> Any:
        return fnp.exp(s * special.ndtri(q))


expon = Exponential()
gamma = Gamma()
chi2 = ChiSquared()
beta = Beta()
lognorm = LogNormal()
