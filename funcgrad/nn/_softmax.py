"""Weights from scores: softmax, its logarithm and normalizer, and sparsemax.

An element counts for nothing if its score is -inf, or if ``where`` is false there; the two are the same. A slice in which
no element counts has no softmax: 0/0. The result here is what attention and masked losses want of it, weights of zero
(``softmax``), -inf (``log_softmax``, ``logsumexp``), all with finite derivatives; JAX gives NaN.

Derivatives are closed forms, in which p = softmax(x):

    logsumexp:    sum(p t)
    softmax:      p (t - sum(p t))
    log_softmax:  t - sum(p t)

They keep one array for the backward pass and divide by nothing. float16 is summed in float32.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.api.custom import custom_jvp
from funcgrad.api.staging import jit

from ._arrays import dtype_of, floating, narrow, wide

__all__ = ["log_softmax", "logsumexp", "softmax", "sparsemax"]

Axis = int | tuple[int, ...] | None


def _scores(name: str, x: Any, where: Any) -> Any:
    x = floating(name, x)
    return x if where is None else fnp.where(where, x, -math.inf)


def _exponentials(x: Any, axis: Axis) -> tuple[Any, Any, Any]:
    """The shift, exp(x - shift), and their sum: at least 1 but for a slice in which nothing counts."""
    largest = fnp.max(x, axis=axis, keepdims=True, initial=-math.inf)
    shift = lax.stop_gradient(fnp.where(fnp.isfinite(largest), largest, 0))
    terms = fnp.exp(x - shift)
    return shift, terms, fnp.sum(terms, axis=axis, keepdims=True)


def _mean(weights: Any, t: Any, axis: Axis) -> Any:
    return fnp.sum(weights * t, axis=axis, keepdims=True)


@partial(custom_jvp, nondiff_argnums=(1,))
def _weights(x: Any, axis: Axis) -> Any:
    _, terms, total = _exponentials(x, axis)
    return terms / fnp.where(total == 0, 1, total)


@_weights.defjvp
def _weights_jvp(axis: Axis, primals: Any, tangents: Any) -> tuple[Any, Any]:
    p, (t,) = _weights(*primals, axis), tangents
    return p, p * (t - _mean(p, t, axis))


@partial(custom_jvp, nondiff_argnums=(1,))
def _log_weights(x: Any, axis: Axis) -> Any:
    shift, _, total = _exponentials(x, axis)
    return x - shift - fnp.log(fnp.where(total == 0, 1, total))


@_log_weights.defjvp
def _log_weights_jvp(axis: Axis, primals: Any, tangents: Any) -> tuple[Any, Any]:
    y, (t,) = _log_weights(*primals, axis), tangents
    return y, t - _mean(fnp.exp(y), t, axis)


@partial(custom_jvp, nondiff_argnums=(1,))
def _log_normalizer(x: Any, axis: Axis) -> Any:
    shift, _, total = _exponentials(x, axis)
    return shift + fnp.log(total)


@_log_normalizer.defjvp
def _log_normalizer_jvp(axis: Axis, primals: Any, tangents: Any) -> tuple[Any, Any]:
    return _log_normalizer(*primals, axis), _mean(_weights(*primals, axis), *tangents, axis)


@partial(jit, static_argnames="axis")
def softmax(x: Any, axis: Axis = -1, where: Any = None) -> Any:
    """exp(x) / sum(exp(x)) along ``axis``: an integer, a tuple, or None for all.

    ``where``: a boolean array that broadcasts with ``x``; elements where it is false have no weight. The result has the
    shape and the floating dtype of ``x``; a slice in which no element counts is zero.

    >>> softmax(fnp.array([[1e4, 1e4, -1e4], [-fnp.inf, -fnp.inf, -fnp.inf]]))
    array([[0.5, 0.5, 0. ],
           [0. , 0. , 0. ]])
    """
    x = _scores("softmax", x, where)
    return narrow(_weights(wide(x), axis), dtype_of(x))


@partial(jit, static_argnames="axis")
def log_softmax(x: Any, axis: Axis = -1, where: Any = None) -> Any:
    """log(softmax(x)) along ``axis``, accurate where that is small; arguments and result as of :func:`softmax`.

    >>> log_softmax(fnp.array([0.0, 1e4]))
    array([-10000.,      0.])
    """
    x = _scores("log_softmax", x, where)
    return narrow(_log_weights(wide(x), axis), dtype_of(x))


@partial(jit, static_argnames=("axis", "keepdims"))
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False, where: Any = None) -> Any:
    """log(sum(exp(x))) along ``axis``, by default over all elements, without overflow.

    ``where`` as of :func:`softmax`. With weights and signs: ``funcgrad.scipy.special.logsumexp``.

    >>> import funcgrad as fg
    >>> logsumexp(fnp.array([1e4, 1e4])).round(4)
    np.float64(10000.6931)
    >>> fg.grad(logsumexp)(fnp.array([-fnp.inf, -fnp.inf]))
    array([0., 0.])
    """
    x = _scores("logsumexp", x, where)
    y = narrow(_log_normalizer(wide(x), axis), dtype_of(x))
    return y if keepdims else fnp.squeeze(y, axis)


def sparsemax(x: Any, axis: int = -1) -> Any:
    """The point of the probability simplex that is nearest to ``x`` along ``axis``: weights many of which are 0.

    max(x - tau, 0), where tau makes it sum to one: with the scores sorted downwards, the first k are those with
    1 + k x_k > x_1 + ... + x_k, and tau = (their sum - 1) / k. (Martins and Astudillo, arXiv:1602.02068, algorithm 1.)

    >>> sparsemax(fnp.array([1.0, 0.5, -1.0]))
    array([0.75, 0.25, 0.  ])
    """
    x = floating("sparsemax", x)
    v = wide(x)
    v = v - lax.stop_gradient(fnp.max(v, axis=axis, keepdims=True))
    falling = fnp.moveaxis(fnp.flip(fnp.sort(v, axis=axis), axis), axis, -1)
    place = fnp.arange(1, falling.shape[-1] + 1, dtype=dtype_of(v))
    chosen = 1 + place * falling > fnp.cumsum(falling, axis=-1)
    count = fnp.sum(chosen, axis=-1, keepdims=True, dtype=dtype_of(v))
    tau = (fnp.sum(fnp.where(chosen, falling, 0), axis=-1, keepdims=True) - 1) / count
    tau = fnp.moveaxis(tau, -1, axis)
    return narrow(fnp.where(v > tau, v - tau, 0), dtype_of(x))
