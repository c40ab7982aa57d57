"""Distributions of vectors and matrices: normal vectors of a given covariance, points of a ball, rotations."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import numpy as fnp
from ..core.errors import OperandError
from ..core.types import aval_of
from ..numpy import linalg
from ._arguments import count, float_dtype, parameters, require, shape_of_draws
from ._gamma import loggamma
from ._inverse import exponential
from ._keys import checked_key, split
from ._normal import normal
from ._uniform import rademacher

__all__ = ["ball", "multivariate_normal", "orthogonal"]


def multivariate_normal(key: Any, mean: Any, cov: Any, shape: Any = None, dtype: Any = np.float64) -> Any:
    """Normal vectors, along the last axis, of a mean vector and a covariance matrix.

    ``mean``: of shape (..., n); ``cov``: of shape (..., n, n), symmetric and positive definite; its upper triangle is not
    looked at. ``shape``: that of the result without its last axis, by default the common one of the leading axes. Drawn
    as mean + L z with L L^T = cov (Cholesky). Gradients flow to both. Raises OperandError for shapes that do not fit and
    for a matrix that is not positive definite; where a program finds a traced one so, NumPy's LinAlgError.

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
    try:
        # LAPACK has no half precision.
        root = fnp.astype(linalg.cholesky(fnp.astype(cov, np.result_type(dtype, np.float32))), dtype)
    except np.linalg.LinAlgError:
        raise OperandError("multivariate_normal: cov must be symmetric and positive definite, but is not") from None
    z = normal(key, (*prefix, n), dtype)
    return mean + fnp.sum(root * z[..., None, :], axis=-1)


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


def orthogonal(key: Any, n: int, shape: Any = (), dtype: Any = np.float64) -> Any:
    """Orthogonal matrices, uniform (by Haar's measure); the result has the shape (*shape, n, n).

    The Q of a normal matrix A = Q R where the diagonal of R is positive: F. Mezzadri, "How to generate random matrices from
    the classical compact groups", Notices of the AMS 54 (2007) 592-604. ``dtype`` is a real one.

    >>> import numpy as np
    >>> from funcgrad.random import key
    >>> q = orthogonal(key(0), 3)
    >>> np.allclose(q.T @ q, np.eye(3))
    True
    """
    key, dtype = checked_key("orthogonal", key), float_dtype("orthogonal", dtype)
    n = count("orthogonal", "n", n)
    shape = shape_of_draws("orthogonal", shape)
    # LAPACK has no half precision.
    wide = np.result_type(dtype, np.float32)
    q, r = linalg.qr(normal(key, (*shape, n, n), wide))
    signs = fnp.where(fnp.diagonal(r, axis1=-2, axis2=-1) < 0, wide.type(-1), wide.type(1))
    return fnp.astype(q * signs[..., None, :], dtype)
