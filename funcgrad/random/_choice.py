"""Draws from given things: categories, elements, orders."""

from __future__ import annotations

import math
from math import prod
from typing import Any

import numpy as np

from .. import lax
from .. import numpy as fnp
from ..core.errors import OperandError, OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of, is_array_like
from ._arguments import axis_of, count, parameters, require, shape_of_draws
from ._inverse import gumbel
from ._keys import bits, checked_key, split
from ._uniform import fractions, randint

__all__ = ["categorical", "choice", "permutation", "shuffle"]

_FLOAT64 = np.dtype(np.float64)


def _float_of(x: Any) -> np.dtype[Any]:
    """The dtype of x if it is a float, else float64."""
    found = aval_of(x).dtype if is_array_like(x) else _FLOAT64
    return found if found.kind == "f" else _FLOAT64


def _largest(x: Any, k: int, axis: int) -> Any:
    """The indices of the k largest elements along ``axis``, the largest first."""
    return lax.slice_in_dim(fnp.argsort(-x, axis=axis, stable=True), 0, k, axis=axis)


def _shaped(x: Any, shape: tuple[int, ...]) -> Any:
    """``x`` reshaped; NumPy's scalar, not its array of rank 0, where the shape is ()."""
    return fnp.reshape(x, shape) if shape else fnp.reshape(x, (1,))[0]


def categorical(key: Any, logits: Any, axis: int = -1, shape: Any = None, replace: bool = True) -> Any:
    """Indices along ``axis`` (int64), drawn with probabilities proportional to exp(logits).

    ``logits``: real, -inf for what cannot be; ``shape``: must end in that of ``logits`` without ``axis``, which it is by
    default. Without ``replace`` the draws of the leading part of ``shape`` differ from each other. The largest logit
    plus Gumbel noise wins (E. Gumbel 1954; without replacement W. Kool, H. van Hoof, M. Welling, ICML 2019). Raises
    OperandError for shapes that do not fit, and for more draws than categories without replacement.

    >>> import numpy as np
    >>> from funcgrad.random import key
    >>> categorical(key(0), np.log([0.5, 0.5, 1e-300]), shape=(8,)).max() < 2
    np.True_
    """
    key = checked_key("categorical", key)
    (logits,) = parameters("categorical", _float_of(logits), logits=logits)
    dims, dtype = aval_of(logits).shape, aval_of(logits).dtype
    if not dims:
        raise OperandError("categorical: logits must have an axis, along which the categories are")
    axis = axis_of("categorical", axis, len(dims))
    if not dims[axis]:
        raise OperandError("categorical: there are no categories to draw from")
    batch = (*dims[:axis], *dims[axis + 1 :])
    if shape is None:
        shape = batch
    else:
        shape = shape_of_draws("categorical", shape, np.broadcast_to(0, batch))
    prefix, own = shape[: len(shape) - len(batch)], shape[len(shape) - len(batch) :]
    if replace:
        noise = gumbel(key, (*prefix, *own[:axis], dims[axis], *own[axis:]), dtype)
        return fnp.argmax(noise + logits, axis=len(prefix) + axis)
    draws = prod(prefix)
    if draws > dims[axis]:
        raise OperandError(f"categorical: {draws} draws without replacement from {dims[axis]} categories")
    wide = fnp.broadcast_to(logits, (*own[:axis], dims[axis], *own[axis:]))
    order = _largest(wide + gumbel(key, np.shape(wide), dtype), draws, axis)
    return _shaped(fnp.moveaxis(order, axis, 0), shape)


def _sorted_order(key: Any, shape: tuple[int, ...], axis: int) -> Any:
    """Indices along ``axis`` in a random order: sorted by random keys, in rounds, until equal keys matter no more."""
    size = prod(shape)
    # A round with n keys of 32 bits has about n^2 / 2^33 ties; the rounds bring their effect below 1 / n, as in JAX.
    rounds = math.ceil(3 * math.log(max(1, size)) / math.log(2**32 - 1))
    order = None
    for _ in range(rounds):
        key, sort_key = split(key)
        by_key = fnp.argsort(bits(sort_key, shape), axis=axis, stable=True)
        order = by_key if order is None else fnp.take_along_axis(order, by_key, axis=axis)
    return fnp.zeros(shape, np.int64) if order is None else order


def permutation(key: Any, x: Any, axis: int = 0, independent: bool = False) -> Any:
    """``x`` in a random order along ``axis``; for an integer, a random order of 0 ... x - 1 (int64).

    Slices move as a whole; with ``independent`` each line along ``axis`` has an order of its own. Raises OperandError for
    an axis that ``x`` has not, OperandTypeError for what is no array or integer.

    >>> from funcgrad.random import key
    >>> sorted(permutation(key(0), 5).tolist())
    [0, 1, 2, 3, 4]
    """
    key = checked_key("permutation", key)
    if type(x) in (list, tuple):
        x = fnp.asarray(x)
    if not is_array_like(x):
        raise OperandTypeError(f"permutation: x must be an array or an integer, not {x!r}")
    if not aval_of(x).shape:
        x = fnp.arange(count("permutation", "x", x), dtype=np.int64)
    dims = aval_of(x).shape
    axis = axis_of("permutation", axis, len(dims))
    if independent and len(dims) > 1:
        return fnp.take_along_axis(x, _sorted_order(key, dims, axis), axis=axis)
    return fnp.take(x, _sorted_order(key, (dims[axis],), 0), axis=axis)


def shuffle(key: Any, x: Any, axis: int = 0) -> Any:
    """The elements of ``x`` in a random order along ``axis``, of its own for each line: a copy, ``x`` is left as it is.

    As the function of this name that JAX once had. To move whole slices, and for an integer, use :func:`permutation`.

    >>> import numpy as np
    >>> from funcgrad.random import key
    >>> np.sort(shuffle(key(0), np.arange(4)))
    array([0, 1, 2, 3])
    """
    if not np.shape(x):
        raise OperandError("shuffle: x must have an axis to shuffle along; for an integer, use permutation")
    return permutation(checked_key("shuffle", key), x, axis, independent=True)


def choice(key: Any, a: Any, shape: Any = (), replace: bool = True, p: Any = None, axis: int = 0) -> Any:
    """Elements of ``a`` along ``axis``, or of 0 ... a - 1 (int64) if it is an integer.

    ``shape``: how many; it takes the place of ``axis`` in the result. ``p``: a vector of probabilities, or of weights in
    proportion to them; all are equal by default. Without ``replace`` no element is drawn twice. Raises OperandError for
    an empty ``a``, for too many draws without replacement, and for a ``p`` of the wrong length or with negative entries.

    >>> from funcgrad.random import key
    >>> sorted(choice(key(0), 10, (10,), replace=False).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    key = checked_key("choice", key)
    if type(a) in (list, tuple):
        a = fnp.asarray(a)
    if not is_array_like(a):
        raise OperandTypeError(f"choice: a must be an array or an integer, not {a!r}")
    dims = aval_of(a).shape
    axis = axis_of("choice", axis, len(dims)) if dims else 0
    n = dims[axis] if dims else count("choice", "a", a)
    shape = shape_of_draws("choice", shape)
    draws = prod(shape)
    if not n and draws:
        raise OperandError("choice: a has no element to draw")
    if not replace and draws > n:
        raise OperandError(f"choice: {draws} draws without replacement from {n} elements")
    if not draws:
        indices = fnp.zeros(shape, np.int64)
    elif p is not None:
        indices = _weighted(key, n, shape, replace, p)
    elif replace:
        indices = randint(key, shape, 0, n)
    else:
        indices = _shaped(lax.slice_in_dim(_sorted_order(key, (n,), 0), 0, draws), shape)
    return fnp.take(a, indices, axis=axis) if dims else indices


def _weighted(key: Any, n: int, shape: tuple[int, ...], replace: bool, p: Any) -> Any:
    """Indices below n with the probabilities p."""
    (p,) = parameters("choice", _float_of(p), p=p)
    dtype, draws = aval_of(p).dtype, prod(shape)
    if aval_of(p).shape != (n,):
        raise OperandError(f"choice: p must be a vector of length {n}, one entry an element, not {aval_of(p)}")
    require("choice", "p must be finite and not negative", lambda p: np.isfinite(p) & (p >= 0), p)
    if not isinstance(p, Tracer):
        possible = np.count_nonzero(p)
        if not possible or (not replace and draws > possible):
            raise OperandError(f"choice: {draws} draws, but p is above zero for only {possible} elements")
    if replace:
        total = fnp.cumsum(p)
        # 1 - u is in (0, 1]: an element of probability zero is not found, not even the first.
        level = total[-1] * (1 - fractions(key, shape, dtype))
        return fnp.searchsorted(total, level)
    logits = fnp.where(p > 0, fnp.log(fnp.where(p > 0, p, 1)), dtype.type(-np.inf))
    return _shaped(_largest(logits + gumbel(key, (n,), dtype), draws, 0), shape)
