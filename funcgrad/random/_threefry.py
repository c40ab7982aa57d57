"""Threefry-2x32: a block cipher of 20 rounds whose encrypted counters are the random bits.

A key of two 32-bit words turns each counter (two words) into two words that look random; any counter can be encrypted
without the ones before it, so that bits do not depend on the order or the device in which they are made. J. Salmon,
M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4; rotations and key
schedule as in the authors' Random123. How counters are numbered and words combined is that of JAX with
``jax_threefry_partitionable``, its default.

The cipher is written once, in :func:`_encrypt`, and runs on three kinds of words: Python integers for a few blocks, NumPy
arrays for many, and traced values as the named call ``threefry2x32``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import wraps
from math import prod
from typing import Any

import numpy as np

from .. import lax
from .. import numpy as fnp
from ..api.staging import jit
from ..core.config import config
from ..core.errors import OperandError
from ..numpy._promote import eager_allowed, staging
from ..primitives import use_key

__all__ = ["encrypt", "is_plain", "named_draw", "random_words", "threefry2x32"]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_WORD = 0xFFFFFFFF
_UINT32 = np.dtype(np.uint32)

#: Up to this many blocks Python integers are faster than arrays.
_FEW = 8
#: So many blocks at a time keep the temporaries in the cache.
_BLOCKS = 8192


def _encrypt(
    add: Callable[[Any, Any], Any], rotate: Callable[[Any, int], Any], key: Sequence[Any], count: Sequence[Any]
) -> tuple[Any, Any]:
    """The two words of the encrypted counter. ``add`` is modulo 2^32, ``rotate`` to the left within 32 bits."""
    words = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    x, y = add(count[0], words[0]), add(count[1], words[1])
    for group in range(5):
        for distance in _ROTATIONS[group % 2]:
            x = add(x, y)
            y = rotate(y, distance) ^ x
        x = add(x, words[(group + 1) % 3])
        # The number of the group is added apart: a sum of two scalars would warn where it wraps around.
        y = add(add(y, words[(group + 2) % 3]), group + 1)
    return x, y


def _add_integers(x: int, y: int) -> int:
    return (x + y) & _WORD


def _rotate_integer(x: int, distance: int) -> int:
    return ((x << distance) & _WORD) | (x >> (32 - distance))


def _rotate(x: Any, distance: int) -> Any:
    return (x << distance) | (x >> (32 - distance))


@jit
def threefry2x32(k0: Any, k1: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """The named call: encrypts the counters (x0, x1), uint32 arrays of one shape, with the key (k0, k1) of rank 0."""
    return _encrypt(operator.add, _rotate, (k0, k1), (x0, x1))


def is_plain(*values: Any) -> bool:
    """Whether NumPy may compute on these at once: plain arrays and numbers, and no program is being written."""
    return eager_allowed() and not staging() and all(isinstance(x, (np.ndarray, np.generic, int)) for x in values)


def named_draw(draw: Callable[..., Any]) -> Callable[..., Any]:
    """``draw(key, *parameters, shape=..., dtype=...)`` on plain arrays; else a call by its name, for which a back end may have
    one kernel."""
    call = jit(draw, static_argnames=("shape", "dtype"))

    @wraps(draw)
    def run(*arrays: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        return (draw if is_plain(*arrays) else call)(*arrays, shape=shape, dtype=dtype)

    return run


def encrypt(key: Any, high: Any, low: Any) -> tuple[Any, Any]:
    """The encrypted counters (high, low), uint32 arrays of shape (n,)."""
    if is_plain(key, high, low):
        k, n = (int(key[0]), int(key[1])), len(low)
        if n <= _FEW:
            blocks = [_encrypt(_add_integers, _rotate_integer, k, (int(h), int(c))) for h, c in zip(high, low)]
            x, y = np.array(blocks, _UINT32).reshape(n, 2).T
            return x, y
        words = tuple(map(_UINT32.type, k))
        x, y = np.empty(n, _UINT32), np.empty(n, _UINT32)
        for start in range(0, n, _BLOCKS):
            part = slice(start, start + _BLOCKS)
            x[part], y[part] = _encrypt(operator.add, _rotate, words, (high[part], low[part]))
        return x, y
    return threefry2x32(*(lax.index_in_dim(key, i, keepdims=False) for i in range(2)), high, low)


def random_words(name: str, key: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Two uint32 arrays of ``shape``: the encrypted numbers 0, 1, 2, ... of the elements, in C order."""
    n = prod(shape)
    if n > 2**32:
        raise OperandError(f"{name}: {n} elements are more than a key can number; split the key and draw them in parts")
    if config.debug_key_reuse:
        use_key(key, branches=())
    low = np.arange(n, dtype=_UINT32) if is_plain(key) else lax.iota(_UINT32, n)
    x, y = encrypt(key, fnp.zeros_like(low), low)
    return fnp.reshape(x, shape), fnp.reshape(y, shape)
