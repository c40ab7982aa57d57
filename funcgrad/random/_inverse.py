"""Distributions drawn by their inverse distribution function, x = F^-1(u). L. Devroye, "Non-uniform random variate
generation", Springer 1986, section II.2."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import numpy as fnp
from ._arguments import float_dtype, shape_of_draws
from ._keys import checked_key
from ._uniform import fractions, open_fractions

__all__ = ["cauchy", "exponential", "gumbel", "laplace", "logistic"]


def _drawn(name: str, key: Any, shape: Any, dtype: Any, draw: Any) -> tuple[Any, np.dtype[Any]]:
    dtype = float_dtype(name, dtype)
    return draw(checked_key(name, key), shape_of_draws(name, shape), dtype), dtype


def exponential(key: Any, shape: Any = (), dtype: Any = np.float64) -> Any:
    """Exponential numbers of mean 1: density exp(-x) for x >= 0. Scale them by multiplication.

    >>> from funcgrad.random import key
    >>> exponential(key(0), (3,)).min() >= 0
    np.True_
    """
    u, _ = _drawn("exponential", key, shape, dtype, fractions)
    return -fnp.log1p(-u)


def gumbel(key: Any, shape: Any = (), dtype: Any = np.float64) -> Any:
    """Standard Gumbel numbers, extremes of many: distribution function exp(-exp(-x)).

    >>> from funcgrad.random import key
    >>> gumbel(key(0), (2, 3)).shape
    (2, 3)
    """
    u, _ = _drawn("gumbel", key, shape, dtype, open_fractions)
    return -fnp.log(-fnp.log(u))


def laplace(key: Any, shape: Any = (), dtype: Any = np.float64) -> Any:
    """Standard Laplace numbers: density exp(-|x|) / 2.

    >>> from funcgrad.random import key
    >>> laplace(key(0), (2, 3)).shape
    (2, 3)
    """
    u, dtype = _drawn("laplace", key, shape, dtype, fractions)
    u = fnp.maximum(u * 2 - 1, dtype.type(-1 + np.finfo(dtype).epsneg))
    return fnp.sign(u) * fnp.log1p(-fnp.abs(u))


def logistic(key: Any, shape: Any = (), dtype: Any = np.float64) -> Any:
    """Standard logistic numbers: distribution function 1 / (1 + exp(-x)).

    >>> from funcgrad.random import key
    >>> logistic(key(0), (2, 3)).shape
    (2, 3)
    """
    u, _ = _drawn("logistic", key, shape, dtype, open_fractions)
    return fnp.log(u) - fnp.log1p(-u)


def cauchy(key: Any, shape: Any = (), dtype: Any = np.float64) -> Any:
    """Standard Cauchy numbers: density 1 / (pi (1 + x^2)), which has no mean.

    >>> from funcgrad.random import key
    >>> cauchy(key(0), (2, 3)).shape
    (2, 3)
    """
    u, dtype = _drawn("cauchy", key, shape, dtype, fractions)
    return fnp.tan((fnp.maximum(u, np.finfo(dtype).eps) - 0.5) * math.pi)
