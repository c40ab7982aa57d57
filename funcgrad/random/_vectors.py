"""Distributions of vectors and matrices: normal vectors of a given covariance, points of a ball, rotations."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import lax
from .. import numpy as fnp
from ..api.staging import jit
from ..core.errors import OperandError
from ..core.trace import Tracer
from ..core.types import aval_of
from ._arguments import count, float_dtype, parameters, require, shape_of_draws
from ._gamma import loggamma
from ._inverse import exponential
from ._keys import checked_key, split
from ._normal import normal
from ._uniform import rademacher

__all__ = ["ball", "multivariate_normal", "orthogonal"]


@jit
def cholesky_columns(a: Any) -> Any:
    """The columns of the lower triangular L with L L^T = a, stacked along a new leading axis.

    ``a``: symmetric matrices of the shape (..., n, n). Column by column, outer-product form: G. Golub, C. Van Loan,
    "Matrix computations", section 4.2. NaN where a matrix is not positive definite.
    """
    n, dtype = aval_of(a).shape[-1], aval_of(a).dtype

    def eliminate(rest: Any, at: Any) -> tuple[Any, Any]:
        unit, below = at
        pivot = fnp.sum(rest * (unit[:, None] * unit), axis=(-2, -1))
        column = fnp.matmul(rest, unit) * below / fnp.sqrt(pivot)[..., None]
        return rest - column[..., :, None] * column[..., None, :], column

    ones = fnp.eye(n, dtype=dtype), fnp.triu(fnp.ones((n, n), dtype))
    return lax.scan(eliminate, a, ones)[1]


def multivariate_normal(key: Any, mean: Any, cov: Any, shape: Any = None, dtype: Any = np.float64) -> Any:
    """Normal vectors, along the last axis, of a mean vector and a covariance matrix.

    ``mean``: of shape (..., n); ``cov``: of shape (..., n, n), symmetric and positive definite; its upper triangle is not
    looked at. ``shape``: that of the result without its last axis, by default the common one of the leading axes. Drawn
    as mean + L z with L L^T = cov (Cholesky). Gradients flow to both. Raises OperandError for shapes that do not fit and
    for a matrix that is not positive definite; of a traced one that is not, the result is NaN.

    >>> import numpy as np
    >>> from funcgrad.random import key
    >>> multivariate_normal(key(0), np.zeros(2), np.array([[2.0, 1.0], [1.0, 2.0]]), (5,)).shape
    (5, 2)
    """
    dtype = float_dtype("multivariate_normal", dtype)
    mean, cov = parameters("multivariate_normal", dtype, mean=mean, cov=cov)
    m, c = aval_of(mean).shape, aval_of(cov).shape
    if not m or len(c) < 2 or c[-2:] != (m[-1], m[-1]):
        raise OperandError(
            f"multivariate_normal: mean must be of shape (..., n) and cov of (..., n, n), not {m} and {c}"
        )
    key, n = checked_key("multivariate_normal", key), m[-1]
    leading = np.broadcast_to(0, m[:-1]), np.broadcast_to(0, c[:-2])
    prefix = shape_of_draws("multivariate_normal", shape, *leading)
    lower = fnp.tril(cov)
    columns = cholesky_columns(lower + fnp.swapaxes(fnp.tril(cov, -1), -1, -2))
    if not isinstance(columns, Tracer):
        require("multivariate_normal", "cov must be positive definite", lambda _: np.all(np.isfinite(columns)), cov)
    z = normal(key, (*prefix, n), dtype)
    moved = fnp.moveaxis(columns, 0, -1)
    return mean + fnp.sum(moved * z[..., None, :], axis=-1)


def ball(key: Any, d: int, p: float = 2, shape: Any = (), dtype: Any = np.float64) -> Any:
    """Points uniform in the unit ball of the p-norm in ``d`` dimensions; the result has the shape (*shape, d).

    ``p``: a positive real number. F. Barthe, O. Guedon, S. Mendelson, A. Naor, "A probabilistic approach to the geometry of
    the l_p^n-ball", Annals of Probability 33 (2005): g / (sum |g|^p + e)^(1/p) with g of density proportional to
    exp(-|g|^p) and e exponential. Raises OperandError unless p > 0 and d >= 1.

    >>> from funcgrad.random import key
    >>> bool((ball(key(0), 3, shape=(100,)) ** 2).sum(axis=-1).max() <= 1)
    True
    """
    key, dtype = checked_key("ball", key), float_dtype("ball", dtype)
    d = count("ball", "d", d)
    require("ball", "d must be positive", lambda d: d > 0, d)
    require("ball", "p must be positive and finite", lambda p: (p > 0) & (p < np.inf), p)
    (p,) = parameters("ball", dtype, p=p)
    shape = shape_of_draws("ball", shape)
    gamma_key, sign_key, radius_key = split(key, 3)
    log_power = loggamma(gamma_key, 1 / p, (*shape, d), dtype)
    total = fnp.sum(fnp.exp(log_power), axis=-1) + exponential(radius_key, shape, dtype)
    return rademacher(sign_key, (*shape, d), dtype) * fnp.exp((log_power - fnp.log(total)[..., None]) / p)


@jit
def reflected(g: Any) -> Any:
    """The orthogonal Q of g = Q R with a positive diagonal of R if g were square normal; ``g``: (..., n, n).

    Only the lower triangle of ``g`` is used: what lies above it does not change the distribution.
    """
    n, dtype = aval_of(g).shape[-1], aval_of(g).dtype

    def reflect(q: Any, at: Any) -> tuple[Any, Any]:
        x, unit, below = at
        x = x * below
        # H = I - 2 v v^T / v.v takes x to -sign |x| unit; q becomes q H, with its column turned by that sign.
        length = fnp.sqrt(fnp.sum(x * x, axis=-1, keepdims=True))
        head = fnp.sum(x * unit, axis=-1, keepdims=True)
        sign = fnp.where(head < 0, dtype.type(-1), dtype.type(1))
        v = x + sign * length * unit
        scale = 2 / fnp.sum(v * v, axis=-1, keepdims=True)
        q = q - fnp.sum(q * v[..., None, :], axis=-1)[..., :, None] * (scale * v)[..., None, :]
        return q * (1 - (1 + sign[..., None]) * unit), None

    columns = fnp.moveaxis(g, -1, 0)
    start = fnp.broadcast_to(fnp.eye(n, dtype=dtype), np.shape(g))
    return lax.scan(reflect, start, (columns, fnp.eye(n, dtype=dtype), fnp.triu(fnp.ones((n, n), dtype))))[0]


def orthogonal(key: Any, n: int, shape: Any = (), dtype: Any = np.float64) -> Any:
    """Orthogonal matrices, uniform (by Haar's measure); the result has the shape (*shape, n, n).

    A product of Householder reflections of normal vectors: G. Stewart, "The efficient generation of random orthogonal
    matrices with an application to condition estimators", SIAM J. Numer. Anal. 17 (1980) 403-409. ``dtype`` is a real one.

    >>> import numpy as np
    >>> from funcgrad.random import key
    >>> q = orthogonal(key(0), 3)
    >>> np.allclose(q.T @ q, np.eye(3))
    True
    """
    key, dtype = checked_key("orthogonal", key), float_dtype("orthogonal", dtype)
    n = count("orthogonal", "n", n)
    shape = shape_of_draws("orthogonal", shape)
    return reflected(normal(key, (*shape, n, n), dtype))
