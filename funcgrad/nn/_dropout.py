"""Dropout, whose mask is not kept but drawn again."""

from __future__ import annotations

from typing import Any

import funcgrad.numpy as fnp
from funcgrad import random
from funcgrad.api.custom import custom_vjp
from funcgrad.core.errors import OperandError
from funcgrad.primitives import optimization_barrier
from funcgrad.random._keys import checked_key

from ._arrays import floating

__all__ = ["dropout"]


def _masked(key: Any, x: Any, rate: float) -> Any:
    return fnp.where(random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


_dropped = custom_vjp(_masked, nondiff_argnums=(2,))
# Linear in x with a diagonal matrix: the backward pass is the same function. Its key passes a barrier, lest the compiler
# see that the mask has been computed before and keep it.
_dropped.defvjp(
    lambda key, x, rate: (_masked(key, x, rate), key),
    lambda rate, key, ct: (None, _masked(optimization_barrier(key)[0], ct, rate)),
)


def dropout(key: Any, x: Any, rate: float, *, train: bool = True) -> Any:
    """Each element of ``x`` is 0 with the probability ``rate``, else x / (1 - rate), so that the mean stays.

    ``key``: as of ``funcgrad.random``; equal keys drop the same elements. The mask is a function of the key, and the
    backward pass draws it again: it keeps the key alone. Without ``train`` it is ``x``, and the key may be None.
    (Srivastava et al., JMLR 15, 2014.) Raises OperandError unless 0 <= rate < 1, and for a key that is missing.

    >>> y = dropout(random.key(0), fnp.ones(1000), 0.2)
    >>> sorted(set(y.tolist())), 750 < (y > 0).sum() < 850
    ([0.0, 1.25], np.True_)
    """
    if not 0 <= rate < 1:
        raise OperandError(f"nn.dropout: the rate must be from 0 to below 1, not {rate}")
    x = floating("dropout", x)
    if not train or rate == 0:
        return x
    if key is None:
        raise OperandError("nn.dropout: in training it needs a key: pass key=fg.random.key(seed), or train=False")
    return _dropped(checked_key("nn.dropout", key), x, rate)
