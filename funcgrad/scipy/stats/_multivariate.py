"""Distributions of vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import numpy as fnp
from ...core.errors import OperandError
from .. import linalg, special
from ._distribution import common, xlogy

__all__ = ["dirichlet", "multinomial", "multivariate_normal"]


def _sums_to_one(x: Any, axis: int) -> Any:
    """Where entries lie in [0, 1] and sum to 1, up to rounding."""
    tolerance = max(1e-9, 64 * float(np.finfo(x.dtype).eps))
    return fnp.all((x >= 0) & (x <= 1), axis=axis) & (fnp.abs(fnp.sum(x, axis=axis) - 1.0) <= tolerance)


class MultivariateNormal:
    """The normal distribution of vectors: ``logpdf(x, mean=None, cov=1)``.

    log p = -(y^T y + d log(2 pi)) / 2 - sum(log diag L), with cov = L L^T and L y = x - mean.

    >>> x = np.array([[0.0, 0.0], [1.0, 0.0]])
    >>> MultivariateNormal().pdf(x, np.zeros(2), np.eye(2)).round(6)
    array([0.159155, 0.096532])
    """

    def logpdf(self, x: Any, mean: Any = None, cov: Any = 1) -> Any:
        """The logarithm of the density, of ``x`` of shape ``(..., d)``; where d = 1 the last axis may be left out.

        ``mean``: ``(..., d)``, or a number; None is 0. ``cov``: a number times the identity, the ``(d,)`` of a diagonal
        matrix, or ``(..., d, d)``, of which the lower triangle is read. Raises LinAlgError where it is not positive
        definite, and OperandError for shapes that do not fit.
        """
        x, mean, cov = common("multivariate_normal.logpdf", x, 0 if mean is None else mean, cov)
        d = mean.shape[-1] if mean.shape else cov.shape[-1] if cov.shape else 1
        if d == 1 and x.shape[-1:] != (1,):
            x = x[..., None]
        cov_fits = len(cov.shape) < 2 or cov.shape[-2] == cov.shape[-1]
        if x.shape[-1:] != (d,) or not cov_fits or cov.shape[-1:] not in ((), (d,)):
            raise OperandError(
                f"multivariate_normal.logpdf: x {x.shape}, mean {mean.shape} and cov {cov.shape} do not fit: the last "
                f"axis of x and of mean, and the last two of cov, have one length"
            )
        if len(cov.shape) < 2:
            cov = fnp.eye(d, dtype=cov.dtype) * cov
        factor = linalg.cholesky(cov, lower=True)
        difference = x - mean
        stack = np.broadcast_shapes(difference.shape[:-1], factor.shape[:-2])
        difference = fnp.broadcast_to(difference, (*stack, d))
        if factor.shape[:-2]:
            factor = fnp.broadcast_to(factor, (*stack, d, d))
            y = linalg.solve_triangular(factor, difference[..., None], lower=True)[..., 0]
        else:
            y = linalg.solve_triangular(factor, difference.reshape(-1, d).T, lower=True).T.reshape((*stack, d))
        log_root_det = fnp.sum(fnp.log(fnp.diagonal(factor, axis1=-2, axis2=-1)), axis=-1)
        return -0.5 * (fnp.sum(y * y, axis=-1) + d * math.log(2.0 * math.pi)) - log_root_det

    def pdf(self, x: Any, mean: Any = None, cov: Any = 1) -> Any:
        """The density; the arguments are those of :meth:`logpdf`."""
        return fnp.exp(self.logpdf(x, mean, cov))


class Dirichlet:
    """The Dirichlet distribution: ``logpdf(x, alpha)``.

    log p = sum((alpha - 1) log x) - sum(log Gamma(alpha)) + log Gamma(sum(alpha)), for x >= 0 with the sum 1.

    >>> round(float(Dirichlet().pdf(np.array([0.2, 0.8]), np.array([2.0, 1.0]))), 12)
    0.4
    """

    def logpdf(self, x: Any, alpha: Any) -> Any:
        """The logarithm of the density, of ``x`` of shape ``(k, ...)`` and ``alpha`` of shape ``(k,)``.

        The components stand on the first axis of ``x``, as in SciPy; the last may be left out, and is 1 less the others.
        Off the simplex it is minus infinity, where SciPy raises. Raises OperandError for shapes that do not fit.
        """
        x, alpha = common("dirichlet.logpdf", x, alpha)
        if len(alpha.shape) != 1 or not x.shape or x.shape[0] not in (alpha.shape[0], alpha.shape[0] - 1):
            raise OperandError(
                f"dirichlet.logpdf: alpha {alpha.shape} has one axis of length k, and the first of x {x.shape} has "
                "length k, or k - 1"
            )
        with np.errstate(all="ignore"):
            if x.shape[0] != alpha.shape[0]:
                x = fnp.concatenate([x, 1.0 - fnp.sum(x, axis=0, keepdims=True)])
            allowed = fnp.all((alpha > 0) & (alpha < math.inf))
            alpha = fnp.where(allowed, alpha, 1)
            valid = allowed & ~fnp.any(fnp.isnan(x), axis=0)
            inside = valid & _sums_to_one(x, 0)
            column = alpha.reshape((-1, *[1] * (len(x.shape) - 1)))
            terms = xlogy(column - 1.0, fnp.where(inside, x, 0.5))
            constant = special.gammaln(fnp.sum(alpha)) - fnp.sum(special.gammaln(alpha))
            outside = fnp.where(valid, -math.inf, math.nan).astype(x.dtype)
            return fnp.where(inside, fnp.sum(terms, axis=0) + constant, outside).astype(x.dtype)[()]

    def pdf(self, x: Any, alpha: Any) -> Any:
        """The density; the arguments are those of :meth:`logpdf`."""
        with np.errstate(all="ignore"):
            return fnp.exp(self.logpdf(x, alpha))


class Multinomial:
    """Counts of n trials with k outcomes: ``logpmf(x, n, p)`` = log(n!) + sum(x log(p) - log(x!)).

    >>> round(float(Multinomial().pmf(np.array([1, 1]), 2, np.array([0.5, 0.5]))), 12)
    0.5
    """

    def logpmf(self, x: Any, n: Any, p: Any) -> Any:
        """The logarithm of the probability, of ``x`` and ``p`` of shape ``(..., k)``, which broadcast, as with ``n``.

        Minus infinity unless the counts ``x`` are whole, not negative, and sum to ``n``. NaN unless ``p`` sums to 1:
        SciPy puts another number in place of the last. Raises OperandError for an x or p without an axis.
        """
        x, n, p = common("multinomial.logpmf", x, n, p)
        if not x.shape or not p.shape:
            raise OperandError(f"multinomial.logpmf: x {x.shape} and p {p.shape} have the outcomes on their last axis")
        with np.errstate(all="ignore"):
            allowed = (n >= 0) & (n == fnp.floor(n)) & (n < math.inf) & _sums_to_one(p, -1)
            valid = allowed & ~fnp.any(fnp.isnan(x), axis=-1)
            whole = fnp.all((x >= 0) & (x < math.inf) & (x == fnp.floor(x)), axis=-1)
            inside = valid & whole & (fnp.sum(x, axis=-1) == n)
            x, p = fnp.where(inside[..., None], x, 0), fnp.where(inside[..., None], p, 0.5)
            value = special.gammaln(fnp.where(inside, n, 0) + 1.0)
            value = value + fnp.sum(xlogy(x, p) - special.gammaln(x + 1.0), axis=-1)
            outside = fnp.where(valid, -math.inf, math.nan).astype(p.dtype)
            return fnp.where(inside, value, outside).astype(p.dtype)[()]

    def pmf(self, x: Any, n: Any, p: Any) -> Any:
        """The probability; the arguments are those of :meth:`logpmf`."""
        with np.errstate(all="ignore"):
            return fnp.exp(self.logpmf(x, n, p))


multivariate_normal = MultivariateNormal()
dirichlet = Dirichlet()
multinomial = Multinomial()
