"""Keys: where all randomness comes from. A key is a uint32 array of shape (2,), and is used once."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import numpy as fnp
from ..core.config import config
from ..core.errors import OperandError, OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of, is_array_like
from ..numpy._promote import staging
from ..primitives import use_key
from ._arguments import shape_of_draws
from ._threefry import encrypt, named_draw, random_words

__all__ = ["bits", "checked_key", "fold_in", "key", "split", "word_bits"]

_UINT32 = np.dtype(np.uint32)
_UINT64 = np.dtype(np.uint64)


def checked_key(name: str, key: Any) -> Any:
    """The key, if it is one. Raises OperandTypeError or OperandError that says what to write."""
    if not is_array_like(key):
        raise OperandTypeError(f"{name}: the key is {key!r}; a key is made by `fg.random.key(seed)`")
    aval = aval_of(key)
    if aval.dtype != _UINT32:
        write = f"fg.random.key({key})" if type(key) is int else "fg.random.key(seed)"
        raise OperandTypeError(
            f"{name}: the key is {aval}, but a key is a uint32 array of shape (2,); make one by `{write}`"
        )
    if aval.shape != (2,):
        hint = "make one by `fg.random.key(seed)`"
        if aval.shape[-1:] == (2,):
            hint = f"these are many; take one of them, keys[i], or map over them: `fg.vmap(fg.random.{name})(keys)`"
        raise OperandError(f"{name}: the key is {aval}, but a key is a uint32 array of shape (2,); {hint}")
    return key


def _integer(name: str, what: str, x: Any) -> Any:
    if not is_array_like(x) or isinstance(x, bool) or aval_of(x).dtype.kind not in "iu":
        hint = f"; write int({x!r})" if isinstance(x, float) else ""
        raise OperandTypeError(f"{name}: {what} must be an integer, not {x!r}{hint}")
    if aval_of(x).shape:
        hint = f"map over them: `fg.vmap(fg.random.{name})`" if name == "key" else "map over them by `fg.vmap`"
        raise OperandError(f"{name}: {what} must be one integer, not {aval_of(x)}; for many, {hint}")
    return x


def key(seed: Any) -> Any:
    """The key that belongs to an integer: a uint32 array of shape (2,), its high and its low 32 bits, as in JAX.

    ``seed``: an integer of rank 0, from -2**63 to 2**64 - 1. Raises OperandTypeError for any other type, OperandError
    for an integer out of range or of higher rank.

    >>> key(42)
    array([ 0, 42], dtype=uint32)
    """
    if type(seed) is int:
        if not -(2**63) <= seed < 2**64:
            raise OperandError(f"key: a seed is from -2**63 to 2**64 - 1, not {seed}")
        word = seed & (2**64 - 1)
        return fnp.asarray(np.array([word >> 32, word & 0xFFFFFFFF], _UINT32))
    seed = _integer("key", "the seed", seed)
    if aval_of(seed).dtype.itemsize < 8:
        low = fnp.astype(seed, _UINT32)
        return fnp.stack([fnp.zeros_like(low), low])
    word = fnp.astype(seed, _UINT64)
    return fnp.stack([fnp.astype(word >> 32, _UINT32), fnp.astype(word & 0xFFFFFFFF, _UINT32)])


def split(key: Any, num: Any = 2) -> Any:
    """New keys, independent of each other and of what else is drawn; ``key`` itself must not be used again.

    ``num``: how many, an integer or a shape. Returns a uint32 array of the shape (num, 2), or (*num, 2): the keys along
    its leading axes. Raises OperandError for a negative number, and for what is no key.

    >>> first, second = split(key(0))
    >>> split(key(0), (3, 4)).shape
    (3, 4, 2)
    """
    words = random_words("split", checked_key("split", key), shape_of_draws("split", num))
    return fnp.stack(words, axis=-1)


def fold_in(key: Any, data: Any) -> Any:
    """The key that belongs to ``key`` and an integer: of a step of a loop, of a layer, of a row of data.

    ``data``: an integer of rank 0 from 0 to 2**32 - 1 (a traced one is taken modulo 2**32). Returns a key. As in JAX,
    ``fold_in(key, i)`` is ``split(key, n)[i]``: of one key, use one or the other. Raises OperandTypeError for what is no
    integer, OperandError for one out of range.

    >>> step_key = fold_in(key(0), 7)
    """
    key = checked_key("fold_in", key)
    data = _integer("fold_in", "data", data)
    if not isinstance(data, Tracer) and not 0 <= int(data) < 2**32:
        raise OperandError(f"fold_in: data is from 0 to 2**32 - 1, not {int(data)}")
    word = _word(data)
    if config.debug_key_reuse:
        use_key(key, word, branches=())
    low = fnp.reshape(word, (1,))
    return fnp.concatenate(encrypt(key, fnp.zeros_like(low), low))


def _word(data: Any) -> Any:
    """The integer as uint32; as a plain array if it is a number and no program is being written."""
    return np.asarray(data, _UINT32) if type(data) is int and not staging() else fnp.astype(fnp.asarray(data), _UINT32)


def bits(key: Any, shape: Any = (), dtype: Any = np.uint32) -> Any:
    """Random bits: integers of ``shape``, uniform over all values of the unsigned ``dtype``.

    The bits are those of ``jax.random.bits``. Raises OperandTypeError for a dtype that is no unsigned integer, and
    for what is no key.

    >>> bits(key(0), (3,))
    array([4070199207, 4202968722, 1427181096], dtype=uint32)
    """
    found = np.dtype(dtype)
    if found.kind != "u":
        raise OperandTypeError(f"bits: dtype must be uint8, uint16, uint32 or uint64, not {found.name}")
    return random_bits(checked_key("bits", key), shape=shape_of_draws("bits", shape), dtype=found)


def word_bits(key: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """The random bits of an unsigned dtype, as operations that fuse with what follows."""
    x, y = random_words("bits", key, shape)
    if dtype.itemsize == 8:
        return (fnp.astype(x, dtype) << 32) | fnp.astype(y, dtype)
    return fnp.astype(x ^ y, dtype)


@named_draw
def random_bits(key: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """The named call: the bits as they are."""
    return word_bits(key, shape, dtype)
