"""Distributions of whole numbers."""

from __future__ import annotations

import math
from typing import Any

from ... import numpy as fnp
from .. import special
from ._distribution import Discrete, xlog1py, xlogy

__all__ = ["bernoulli", "binom", "geom", "poisson"]


class Bernoulli(Discrete):
    """One trial that succeeds with probability p: ``logpmf(k, p, loc=0)`` = log(p) at 1, log(1 - p) at 0.

    >>> float(Bernoulli().pmf(1, 0.25))
    0.25
    """

    name = "bernoulli"
    shapes = ("p",)

    def allowed(self, p: Any) -> Any:
        return (p >= 0) & (p <= 1)

    def support(self, k: Any, p: Any) -> Any:
        return (k == 0) | (k == 1)

    def inner(self, p: Any) -> Any:
        return 0

    def log_mass(self, k: Any, p: Any) -> Any:
        return xlogy(k, p) + xlog1py(1.0 - k, -p)


class Binomial(Discrete):
    """Successes of n trials: ``logpmf(k, n, p, loc=0)`` = log C(n, k) + k log(p) + (n - k) log(1 - p).

    >>> round(float(Binomial().pmf(2, 4, 0.5)), 12)
    0.375
    """

    name = "binom"
    shapes = ("n", "p")

    def allowed(self, n: Any, p: Any) -> Any:
        return (n >= 0) & (n == fnp.floor(n)) & (n < math.inf) & (p >= 0) & (p <= 1)

    def support(self, k: Any, n: Any, p: Any) -> Any:
        return (k >= 0) & (k <= n)

    def inner(self, n: Any, p: Any) -> Any:
        return 0

    def log_mass(self, k: Any, n: Any, p: Any) -> Any:
        # C(n, k) = 1 / ((n + 1) B(n - k + 1, k + 1)), without the cancellation of three factorials.
        combinations = -special.betaln(n - k + 1.0, k + 1.0) - fnp.log1p(n)
        return combinations + xlogy(k, p) + xlog1py(n - k, -p)


class Poisson(Discrete):
    """Events at the mean rate mu: ``logpmf(k, mu, loc=0)`` = k log(mu) - mu - log(k!).

    >>> float(Poisson().logpmf(0, 2.0))
    -2.0
    """

    name = "poisson"
    shapes = ("mu",)

    def allowed(self, mu: Any) -> Any:
        return (mu >= 0) & (mu < math.inf)

    def support(self, k: Any, mu: Any) -> Any:
        return k >= 0

    def inner(self, mu: Any) -> Any:
        return 0

    def log_mass(self, k: Any, mu: Any) -> Any:
        return xlogy(k, mu) - special.gammaln(k + 1.0) - mu


class Geometric(Discrete):
    """The trial of the first success: ``logpmf(k, p, loc=0)`` = (k - 1) log(1 - p) + log(p), k = 1, 2, ...

    >>> round(float(Geometric().pmf(3, 0.5)), 12)
    0.125
    """

    name = "geom"
    shapes = ("p",)

    def allowed(self, p: Any) -> Any:
        return (p > 0) & (p <= 1)

    def support(self, k: Any, p: Any) -> Any:
        return k >= 1

    def inner(self, p: Any) -> Any:
        return 1

    def log_mass(self, k: Any, p: Any) -> Any:
        return xlog1py(k - 1.0, -p) + fnp.log(p)


bernoulli = Bernoulli()
binom = Binomial()
poisson = Poisson()
geom = Geometric()
