"""Scaled dot-product attention."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import funcgrad.numpy as fnp
from funcgrad.api.staging import jit
from funcgrad.core.errors import OperandError, OperandTypeError

from ._arrays import dtype_of, floating, narrow, wide
from ._attention_calls import attend, causal_mask, per_query_head, scores
from ._dropout import dropout
from ._softmax import softmax

__all__ = ["dot_product_attention"]


@partial(jit, static_argnames=("scale", "is_causal", "dropout_rate"))
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    *,
    scale: float | None = None,
    is_causal: bool = False,
    dropout_rate: float = 0.0,
    dropout_key: Any = None,
) -> Any:
    """softmax(scale Q K^T + bias) V, for each head.

    Shapes, as in JAX: ``query`` (..., T, N, H), ``key`` (..., S, K, H), ``value`` (..., S, K, V), for T queries and S
    keys, N heads of width H; K divides N, and each head of keys serves N / K heads of queries. ``bias`` (real) and
    ``mask`` (boolean: where a query may look) broadcast to (..., N, T, S); ``is_causal`` lets query t look at keys up to t
    only. ``scale`` is 1 / sqrt(H) by default. The result is (..., T, N, V), of the dtype of ``query``; a query that may
    look nowhere gets zeros. float16 is computed in float32. With a ``dropout_rate``, weights are dropped as by
    :func:`nn.dropout` with the key ``dropout_key``.

    (Vaswani et al., arXiv:1706.03762, equation 1; Ainslie et al., arXiv:2305.13245 for K < N.) Raises OperandError,
    quoting the shapes, where they do not fit.

    >>> q, k = fnp.zeros((2, 1, 4)), fnp.zeros((2, 1, 4))
    >>> v = fnp.array([1.0, 3.0]).reshape(2, 1, 1)
    >>> dot_product_attention(q, k, v).ravel(), dot_product_attention(q, k, v, is_causal=True).ravel()
    (array([2., 2.]), array([1., 2.]))
    """
    name = "dot_product_attention"
    query, key, value = (floating(name, x, what) for x, what in ((query, "query"), (key, "key"), (value, "value")))
    if (
        min(query.ndim, key.ndim, value.ndim) < 3
        or query.shape[-1] != key.shape[-1]
        or key.shape[-3:-1] != value.shape[-3:-1]
        or query.shape[-2] % key.shape[-2]
    ):
        raise OperandError(
            f"nn.{name}: query {query.shape}, key {key.shape} and value {value.shape} do not fit; they must be "
            f"(..., T, N, H), (..., S, K, H) and (..., S, K, V), where K divides N"
        )
    # All of one rank, so that a mapped axis in front is one of all.
    rank = max(query.ndim, key.ndim, value.ndim)
    query, key, value = (_of_rank(x, rank) for x in (query, key, value))
    leading = fnp.broadcast_shapes(*(x.shape[:-3] for x in (query, key, value)))
    shape = (*leading, query.shape[-2], query.shape[-3], key.shape[-3])
    for what, array in (("bias", bias), ("mask", mask)):
        if array is not None and not _broadcasts(fnp.shape(array), shape):
            raise OperandError(
                f"nn.{name}: the {what} of shape {fnp.shape(array)} does not broadcast to the scores (..., N, T, S), which "
                f"are {shape}"
            )
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    if bias is not None:
        bias = wide(floating(name, bias, "bias"))
    if mask is not None:
        mask = fnp.asarray(mask)
        if dtype_of(mask).kind != "b":
            raise OperandTypeError(
                f"nn.{name}: mask must be boolean, true where a query may look, not {dtype_of(mask).name}; what is added to "
                f"the scores is bias="
            )
        outside = fnp.asarray(-math.inf, dtype=dtype_of(wide(query)))
        bias = fnp.where(mask, fnp.zeros_like(outside) if bias is None else bias, outside)
    if bias is not None:
        bias = _of_rank(bias, rank)
    if not dropout_rate:
        return attend(float(scale), bool(is_causal))(query, key, value, bias)
    found = scores(query, key, bias, scale)
    weights = softmax(found, where=causal_mask(*shape[-2:]) if is_causal else None)
    weights = dropout(dropout_key, weights, dropout_rate)
    v = wide(fnp.swapaxes(per_query_head(query, value), -3, -2))
    return narrow(fnp.swapaxes(weights @ v, -3, -2), dtype_of(query))


def _of_rank(x: Any, rank: int) -> Any:
    return fnp.reshape(x, ((1,) * (rank - x.ndim) + x.shape))


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(m in (1, n) for m, n in zip(shape[::-1], to[::-1]))
