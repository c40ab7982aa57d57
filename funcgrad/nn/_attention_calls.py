"""Attention without dropout: two named calls, forward and backward, that survive every transform.

A kernel that never writes the weights down (Dao, arXiv:2307.08691) keeps for its backward pass the result O and the
logarithms L of the sums of exponentials, and computes the weights again from the queries and keys. So the rule here is

    forward:    Q, K, V, bias  ->  O, L
    backward:   dO, Q, K, V, O, L, bias  ->  dQ, dK, dV

Without a kernel the backward pass is that of the composition, which computes the weights again; in a program that holds
both passes they are a common subexpression, and are computed once. The cotangent of the bias is not the kernel's: it is as
large as all weights; where nobody asks for it, it is dead code.

All leading axes broadcast, so that ``vmap`` of each function is the function itself with one axis more.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.api.custom import custom_vjp
from funcgrad.api.derivatives import vjp

from ._arrays import dtype_of, narrow, wide
from ._named import named, with_batching
from ._softmax import logsumexp, softmax

__all__ = ["attend", "causal_mask", "per_query_head", "scores"]


def per_query_head(query: Any, x: Any) -> Any:
    """Keys or values with a head for each head of the queries."""
    heads, shared = query.shape[-2], x.shape[-2]
    return x if heads == shared else fnp.repeat(x, heads // shared, axis=-2)


def scores(query: Any, key: Any, bias: Any, scale: float) -> Any:
    """scale Q K^T + bias, of shape (..., heads, queries, keys), in at least float32."""
    q, k = (wide(fnp.swapaxes(x, -3, -2)) for x in (query, per_query_head(query, key)))
    found = (q * scale) @ fnp.swapaxes(k, -1, -2)
    return found if bias is None else found + wide(bias)


def causal_mask(queries: int, keys: int) -> Any:
    """Where query t may look: at the keys up to t. Of numbers that are known, but no constant: the two passes share it."""
    return lax.iota(fnp.int32, queries)[:, None] >= lax.iota(fnp.int32, keys)


def _causal(s: Any, causal: bool) -> Any:
    return causal_mask(*s.shape[-2:]) if causal else None


def _mean(query: Any, value: Any, s: Any, causal: bool) -> Any:
    """softmax(s) V."""
    v = wide(fnp.swapaxes(per_query_head(query, value), -3, -2))
    return narrow(fnp.swapaxes(softmax(s, where=_causal(s, causal)) @ v, -3, -2), dtype_of(query))


def _composed(query: Any, key: Any, value: Any, bias: Any, scale: float, causal: bool) -> Any:
    return _mean(query, value, scores(query, key, bias, scale), causal)


@named("nn.attention", "scale", "causal")
def _attention(query: Any, key: Any, value: Any, bias: Any, *, scale: float, causal: bool) -> Any:
    return _composed(query, key, value, bias, scale, causal)


@named("nn.attention_forward", "scale", "causal")
def _forward(query: Any, key: Any, value: Any, bias: Any, *, scale: float, causal: bool) -> tuple[Any, Any]:
    s = scores(query, key, bias, scale)
    return _mean(query, value, s, causal), logsumexp(s, axis=-1, where=_causal(s, causal))


@named("nn.attention_transposed", "scale", "causal")
def _transposed(
    ct: Any, query: Any, key: Any, value: Any, out: Any, log_sum: Any, bias: Any, *, scale: float, causal: bool
) -> Any:
    return vjp(lambda *xs: _composed(*xs, bias, scale, causal), query, key, value)[1](ct)


@lru_cache(maxsize=1024)
def attend(scale: float, causal: bool) -> custom_vjp:
    """softmax(scale Q K^T + bias) V as a function of Q, K, V and a bias that may be None.

    Layouts are those of ``nn.dot_product_attention``, ranks equal; axes before the last three broadcast, and so do the
    bias's to (..., heads, queries, keys).
    """

    def widened(size: int, batched: Any, args: Any, like_rows: range = range(0)) -> list[Any]:
        """Operands with the mapped axis first: those that have none are of length 1 there, or repeated."""
        return [
            x if x is None or b else fnp.broadcast_to(x, (size, *x.shape)) if i in like_rows else fnp.expand_dims(x, 0)
            for i, (x, b) in enumerate(zip(args, batched, strict=True))
        ]

    def batching(fun: Any, results: int, like_rows: range = range(0)) -> Any:
        def rule(size: int, batched: Any, *args: Any) -> Any:
            return made(*widened(size, batched, args, like_rows)), (True,) * results if results > 1 else True

        made = with_batching(fun, rule)
        return made

    forward = batching(partial(_forward, scale=scale, causal=causal), 2)
    # Each row has cotangents of its own.
    transposed = batching(partial(_transposed, scale=scale, causal=causal), 3, range(1, 4))

    def fwd(query: Any, key: Any, value: Any, bias: Any) -> tuple[Any, Any]:
        out, log_sum = forward(query, key, value, bias)
        return out, (query, key, value, out, log_sum, bias)

    def bwd(residuals: Any, ct: Any) -> tuple[Any, ...]:
        query, key, value, _, _, bias = residuals
        of_bias = None
        if bias is not None:
            (of_bias,) = vjp(lambda b: _composed(query, key, value, b, scale, causal), bias)[1](ct)
        return *transposed(ct, *residuals), of_bias

    made = custom_vjp(partial(_attention, scale=scale, causal=causal))
    made.defvjp(fwd, bwd)
    made.def_vmap(lambda size, batched, *args: (made(*widened(size, batched, args)), True))
    return made
