"""Draws that are a few bits each: uniform numbers, integers, coins."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import numpy as fnp
from ..core.errors import OperandError, OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of, is_array_like
from ._arguments import float_dtype, integer_dtype, parameters, require, shape_of_draws
from ._keys import bits, checked_key, split, word_bits
from ._threefry import named_draw

__all__ = ["bernoulli", "fractions", "open_fractions", "rademacher", "randint", "uniform"]

_UINT64 = np.dtype(np.uint64)


def fractions(key: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Multiples of 2^-m from 0 to 1 - 2^-m, all equally likely, where m is the number of stored mantissa bits."""
    mantissa, width = np.finfo(dtype).nmant, 8 * dtype.itemsize
    words = word_bits(key, shape, np.dtype(f"u{dtype.itemsize}"))
    return fnp.astype(words >> (width - mantissa), dtype) * dtype.type(2.0**-mantissa)


def open_fractions(key: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """As :func:`fractions`, but with the smallest normal number in the place of 0: for logarithms."""
    return fnp.maximum(fractions(key, shape, dtype), np.finfo(dtype).tiny)


@named_draw
def random_uniform(key: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """The named call: uniform numbers from 0 to 1."""
    return fractions(key, shape, dtype)


@named_draw
def random_bernoulli(key: Any, p: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """The named call: coins with the probability ``p``, of ``dtype``."""
    return fractions(key, shape, dtype) < p


def uniform(key: Any, shape: Any = (), dtype: Any = np.float64, minval: Any = 0.0, maxval: Any = 1.0) -> Any:
    """Uniform numbers from ``minval`` (included) to ``maxval``.

    ``minval``, ``maxval``: real numbers or arrays that broadcast to ``shape``; gradients flow to both. A result may
    round up to ``maxval``. The numbers are those of ``jax.random.uniform``: the leading bits of a word as the mantissa.
    Raises OperandError or OperandTypeError for a wrong key, shape, dtype or parameter.

    >>> from funcgrad.random import key
    >>> x = uniform(key(0), (1000,), minval=-1.0)
    >>> x.min() >= -1 and x.max() < 1
    np.True_
    """
    dtype = float_dtype("uniform", dtype)
    low, high = parameters("uniform", dtype, minval=minval, maxval=maxval)
    shape = shape_of_draws("uniform", shape, low, high)
    u = random_uniform(checked_key("uniform", key), shape=shape, dtype=dtype)
    if type(minval) in (int, float) and type(maxval) in (int, float) and (minval, maxval) == (0, 1):
        return u
    return u * (high - low) + low


def _bound(what: str, x: Any, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """An integer bound as an array of rank 1 or more of ``dtype``, and whether it is one more than fits."""
    if type(x) in (list, tuple):
        x = fnp.asarray(x)
    if not is_array_like(x) or isinstance(x, bool) or aval_of(x).dtype.kind not in "iu":
        raise OperandTypeError(f"randint: {what} must be an integer or an array of them, not {x!r}")
    info = np.iinfo(dtype)
    if isinstance(x, Tracer):
        own = np.iinfo(aval_of(x).dtype)
        beyond = x > info.max if own.max > info.max else fnp.zeros_like(x, dtype=bool)
        clipped = fnp.clip(x, max(own.min, info.min), min(own.max, info.max))
    else:
        values = np.asarray(x)
        if values.size and not (info.min <= int(values.min()) and int(values.max()) <= info.max + (what == "maxval")):
            raise OperandError(f"randint: {what} does not fit into {dtype.name}: {x!r}; give a wider dtype")
        if type(x) is int:  # 2^64 is no integer of NumPy's
            beyond, clipped = np.asarray(x > info.max), np.asarray(min(x, info.max), dtype)
        else:
            limit = values.dtype.type(min(info.max, np.iinfo(values.dtype).max))
            beyond, clipped = values > limit, np.minimum(values, limit)
    return tuple(fnp.atleast_1d(part) for part in (fnp.astype(clipped, dtype), beyond))


def randint(key: Any, shape: Any, minval: Any, maxval: Any, dtype: Any = np.int64) -> Any:
    """Uniform integers from ``minval`` (included) to ``maxval`` (not included).

    ``minval``, ``maxval``: integers or arrays that broadcast to ``shape``; ``maxval`` may be one more than ``dtype``
    holds. The result is a number of 64 bits modulo the span, for 64-bit dtypes of 128 bits while the span is below 2^32;
    some integers are likelier than others by a factor of at most 1 + span / 2^64. For spans up to 2^16 the integers are
    those of ``jax.random.randint``, for 64-bit dtypes always. Raises OperandError for an empty range and for
    bounds that do not fit the dtype; traced bounds are moved into its range, and an empty range of theirs gives
    ``minval``.

    >>> from funcgrad.random import key
    >>> sorted(set(randint(key(0), (100,), 1, 7).tolist()))
    [1, 2, 3, 4, 5, 6]
    """
    dtype = integer_dtype("randint", dtype)
    shape = shape_of_draws("randint", shape, minval, maxval)
    low, _ = _bound("minval", minval, dtype)
    high, beyond = _bound("maxval", maxval, dtype)
    require("randint", "minval must be below maxval", lambda a, b: a < b, minval, maxval)
    first, second = split(checked_key("randint", key))
    # All of this is modulo 2^64, on arrays of rank 1 at least: NumPy warns where a scalar wraps around.
    word = np.dtype(np.uint32 if dtype.itemsize < 8 else np.uint64)
    upper, lower = (fnp.astype(bits(k, shape or (1,), word), _UINT64) for k in (first, second))
    base = fnp.astype(low, _UINT64)
    span = fnp.astype(high, _UINT64) - base + fnp.astype(beyond, _UINT64)
    span = fnp.where((high < low) | ((high == low) & ~beyond), _UINT64.type(1), span)
    if word == _UINT64:
        # (2^64 upper + lower) mod span, factor by factor. A span of 2^64 has become 0, and takes every number.
        everything = span == 0
        span = fnp.where(everything, _UINT64.type(1), span)
        half = _UINT64.type(2**32) % span
        offset = ((upper % span) * (half * half % span) + lower % span) % span
        offset = fnp.where(everything, lower, offset)
    else:
        offset = ((upper << 32) | lower) % span
    result = fnp.astype(base + offset, dtype)
    return fnp.reshape(result, shape) if shape else result[0]


def bernoulli(key: Any, p: Any = 0.5, shape: Any = None) -> Any:
    """Booleans that are true with the probability ``p``.

    ``p``: a real number or array; ``shape``: by default that of ``p``. Raises OperandError for a ``p`` outside [0, 1].

    >>> from funcgrad.random import key
    >>> bernoulli(key(0), 0.2, (4, 5)).shape
    (4, 5)
    """
    dtype = aval_of(p).dtype if is_array_like(p) and aval_of(p).dtype.kind == "f" else np.dtype(np.float64)
    (p,) = parameters("bernoulli", dtype, p=p)
    require("bernoulli", "p must be from 0 to 1", lambda p: (p >= 0) & (p <= 1), p)
    shape = shape_of_draws("bernoulli", shape, p)
    return random_bernoulli(checked_key("bernoulli", key), p, shape=shape, dtype=dtype)


def rademacher(key: Any, shape: Any = (), dtype: Any = np.int64) -> Any:
    """-1 or 1, equally likely, of ``shape`` and a signed ``dtype``.

    >>> from funcgrad.random import key
    >>> sorted(set(rademacher(key(0), (20,)).tolist()))
    [-1, 1]
    """
    found = np.dtype(dtype)
    if found.kind not in "if":
        raise OperandTypeError(f"rademacher: dtype must be a signed integer or a float, not {found.name}")
    coins = bernoulli(checked_key("rademacher", key), 0.5, shape_of_draws("rademacher", shape))
    return fnp.astype(coins, found) * found.type(2) - found.type(1)
