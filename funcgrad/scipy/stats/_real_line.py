"""Distributions of location and scale alone, and Student's t."""

from __future__ import annotations

import math
from typing import Any

from ... import numpy as fnp
from .. import special
from ._distribution import Continuous, Cumulative

__all__ = ["cauchy", "laplace", "logistic", "norm", "t", "uniform"]

_LOG_ROOT_TAU = 0.5 * math.log(2.0 * math.pi)


class Normal(Cumulative):
    """The normal distribution: log p = -z^2 / 2 - log(2 pi) / 2 - log(scale), z = (x - loc) / scale.

    >>> round(float(Normal().logpdf(1.0, loc=1.0, scale=2.0)), 6)
    -1.612086
    """

    name = "norm"

    def log_density(self, z: Any) -> Any:
        return -0.5 * z * z - _LOG_ROOT_TAU

    def below(self, z: Any) -> Any:
        return special.ndtr(z)

    def above(self, z: Any) -> Any:
        return special.ndtr(-z)

    def log_below(self, z: Any) -> Any:
        return special.log_ndtr(z)

    def log_above(self, z: Any) -> Any:
        return special.log_ndtr(-z)

    def quantile(self, q: Any) -> Any:
        return special.ndtri(q)


class Uniform(Cumulative):
    """The uniform distribution on [loc, loc + scale]: p = 1 / scale.

    >>> [float(Uniform().pdf(x, 1.0, 4.0)) for x in (0.9, 1.0, 5.0, 5.1)]
    [0.0, 0.25, 0.25, 0.0]
    """

    name = "uniform"
    support = (0.0, 1.0)

    def log_density(self, z: Any) -> Any:
        return 0.0 * z

    def below(self, z: Any) -> Any:
        return z

    def above(self, z: Any) -> Any:
        return 1.0 - z

    def log_below(self, z: Any) -> Any:
        return fnp.log(z)

    def log_above(self, z: Any) -> Any:
        return fnp.log1p(-z)

    def quantile(self, q: Any) -> Any:
        return q


class Laplace(Cumulative):
    """Laplace's distribution: log p = -|z| - log(2 scale), z = (x - loc) / scale.

    >>> float(Laplace().pdf(0.0))
    0.5
    """

    name = "laplace"

    def log_density(self, z: Any) -> Any:
        return -fnp.abs(z) - math.log(2.0)

    def below(self, z: Any) -> Any:
        tail = 0.5 * fnp.exp(-fnp.abs(z))
        return fnp.where(z < 0, tail, 1.0 - tail)

    def above(self, z: Any) -> Any:
        return self.below(-z)

    def log_below(self, z: Any) -> Any:
        return fnp.where(z < 0, z - math.log(2.0), fnp.log1p(-0.5 * fnp.exp(-fnp.abs(z))))

    def log_above(self, z: Any) -> Any:
        return self.log_below(-z)

    def quantile(self, q: Any) -> Any:
        low = q < 0.5
        tail = fnp.log(2.0 * fnp.where(low, q, 1.0 - q))
        return fnp.where(low, tail, -tail)


class Logistic(Cumulative):
    """The logistic distribution: log p = -|z| - 2 log(1 + exp(-|z|)) - log(scale), z = (x - loc) / scale.

    >>> float(Logistic().pdf(0.0))
    0.25
    """

    name = "logistic"

    def log_density(self, z: Any) -> Any:
        # Smooth at 0, where |z| is not.
        return -fnp.logaddexp(0.0, z) - fnp.logaddexp(0.0, -z)

    def below(self, z: Any) -> Any:
        return special.expit(z)

    def above(self, z: Any) -> Any:
        return special.expit(-z)

    def log_below(self, z: Any) -> Any:
        return -fnp.logaddexp(0.0, -z)

    def log_above(self, z: Any) -> Any:
        return -fnp.logaddexp(0.0, z)

    def quantile(self, q: Any) -> Any:
        return special.logit(q)


class Cauchy(Cumulative):
    """Cauchy's distribution: log p = -log(1 + z^2) - log(pi scale), z = (x - loc) / scale.

    >>> round(float(Cauchy().cdf(1.0)), 12)
    0.75
    """

    name = "cauchy"

    def log_density(self, z: Any) -> Any:
        # The square would overflow.
        return -2.0 * fnp.log(fnp.hypot(1.0, z)) - math.log(math.pi)

    def below(self, z: Any) -> Any:
        return fnp.arctan2(fnp.ones_like(z), -z) / math.pi

    def above(self, z: Any) -> Any:
        return self.below(-z)

    def log_below(self, z: Any) -> Any:
        low = z < 0
        high = fnp.log1p(-self.below(-fnp.where(low, 0.0, z)))
        return fnp.where(low, fnp.log(self.below(fnp.where(low, z, 0.0))), high)

    def log_above(self, z: Any) -> Any:
        return self.log_below(-z)

    def quantile(self, q: Any) -> Any:
        # Each formula is accurate where it is used: around the middle, and in the tails.
        low, middle = q < 0.5, fnp.abs(q - 0.5) < 0.25
        tail = 1.0 / fnp.tan(math.pi * fnp.where(middle, 0.25, fnp.where(low, q, 1.0 - q)))
        centre = fnp.tan(math.pi * fnp.where(middle, q - 0.5, 0.0))
        return fnp.where(middle, centre, fnp.where(low, -tail, tail))


class StudentT(Continuous):
    """Student's t with ``df`` degrees of freedom: ``logpdf(x, df, loc=0, scale=1)``.

    log p = -(df + 1) / 2 log(1 + z^2 / df) - log B(df / 2, 1 / 2) - log(df) / 2 - log(scale), z = (x - loc) / scale.

    >>> round(float(StudentT().pdf(0.0, 1.0)) * math.pi, 12)
    1.0
    """

    name = "t"
    shapes = ("df",)

    def log_density(self, z: Any, df: Any) -> Any:
        ratio = z / fnp.sqrt(df)
        # Where the square is all that counts it is not formed: it would overflow.
        large = fnp.abs(ratio) > 1e8
        near = fnp.log1p(fnp.where(large, 0.0, ratio) ** 2)
        far = 2.0 * fnp.log(fnp.abs(fnp.where(large, ratio, 1.0)))
        return (
            -0.5 * (df + 1.0) * fnp.where(large, far, near)
            - special.betaln(0.5 * df, 0.5 + 0.0 * df)
            - 0.5 * fnp.log(df)
        )


norm = Normal()
uniform = Uniform()
laplace = Laplace()
logistic = Logistic()
cauchy = Cauchy()
t = StudentT()
