"""Poisson numbers.

For a rate below 10, D. Knuth's method of multiplying uniform numbers ("The art of computer programming", volume 2, section
3.4.1). Above, the transformed rejection PTRS of W. Hormann, "The transformed rejection method for generating Poisson
random variables", Insurance: Mathematics and Economics 12 (1993) 39-45.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import lax
from .. import numpy as fnp
from ..api.staging import jit
from ..core.types import aval_of
from ..primitives import gammaln
from ._arguments import integer_dtype, parameters, require, shape_of_draws
from ._keys import checked_key, split
from ._uniform import fractions, open_fractions

__all__ = ["poisson"]

_FLOAT64 = np.dtype(np.float64)
_SMALL_RATE = 10.0
#: A number this many standard deviations above a rate of 2^62 would not be an int64.
_LARGEST_RATE = 2.0**62


def _products(key: Any, rate: Any) -> Any:
    """Knuth: one less than the number of uniform numbers whose product first falls to exp(-rate)."""
    shape = aval_of(rate).shape

    def unfinished(state: Any) -> Any:
        return fnp.any(state[2] > -rate)

    def multiply(state: Any) -> Any:
        key, k, log_product = state
        key, uniform_key = split(key)
        k = fnp.where(log_product > -rate, k + 1, k)
        return key, k, log_product + fnp.log(open_fractions(uniform_key, shape, _FLOAT64))

    zeros = fnp.zeros(shape, _FLOAT64)
    # A rate of 0 needs no number at all.
    return fnp.maximum(lax.while_loop(unfinished, multiply, (key, zeros, zeros))[1] - 1, 0.0)


def _rejections(key: Any, rate: Any) -> Any:
    """PTRS, with the names of the paper."""
    shape = aval_of(rate).shape
    log_rate = fnp.log(rate)
    b = 0.931 + 2.53 * fnp.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2)

    def unfinished(state: Any) -> Any:
        return ~fnp.all(state[1])

    def attempt(state: Any) -> Any:
        key, done, drawn = state
        key, first, second = split(key, 3)
        u, v = fractions(first, shape, _FLOAT64) - 0.5, open_fractions(second, shape, _FLOAT64)
        us = fnp.maximum(0.5 - fnp.abs(u), 2.0**-53)
        k = fnp.floor((2 * a / us + b) * u + rate + 0.43)
        whole = fnp.maximum(k, 0.0)
        squeezed = (us >= 0.07) & (v <= v_r)
        outside = (k < 0) | ((us < 0.013) & (v > us))
        below = fnp.log(v * inverse_alpha / (a / (us * us) + b)) <= whole * log_rate - rate - gammaln(whole + 1)
        accepted = squeezed | (~outside & below)
        return key, done | accepted, fnp.where(done | ~accepted, drawn, k)

    start = (key, fnp.zeros(shape, bool), fnp.zeros(shape, _FLOAT64))
    return lax.while_loop(unfinished, attempt, start)[2]


@jit
def poisson_draw(key: Any, rate: Any) -> Any:
    """Poisson numbers, as float64, of the rates in an array; -1 where a rate is not from 0 to 2^62."""
    first, second = split(key)
    possible = (rate >= 0) & (rate <= _LARGEST_RATE)
    small = rate < _SMALL_RATE
    products = _products(first, fnp.where(possible & small, rate, 0.0))
    rejections = _rejections(second, fnp.where(possible & ~small, rate, _SMALL_RATE))
    return fnp.where(possible, fnp.where(small, products, rejections), -1.0)


def poisson(key: Any, lam: Any, shape: Any = None, dtype: Any = np.int64) -> Any:
    """Poisson numbers: k has the probability lam^k exp(-lam) / k!.

    ``lam``: the rate, a real number or array from 0 to 2^62; ``shape``: by default that of ``lam``; ``dtype``: an integer
    one. Raises OperandError for a rate out of range; of a traced rate that is, the result is -1.

    >>> from funcgrad.random import key
    >>> poisson(key(0), 3.0, (2, 3)).shape
    (2, 3)
    """
    dtype = integer_dtype("poisson", dtype)
    (lam,) = parameters("poisson", _FLOAT64, lam=lam)
    require("poisson", "lam must be from 0 to 2^62", lambda x: (x >= 0) & (x <= _LARGEST_RATE), lam)
    shape = shape_of_draws("poisson", shape, lam)
    return fnp.astype(poisson_draw(checked_key("poisson", key), fnp.broadcast_to(lax.stop_gradient(lam), shape)), dtype)
