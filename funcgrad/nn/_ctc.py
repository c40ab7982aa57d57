"""The forward algorithm of connectionist temporal classification.

An alignment writes a label or a blank at each time; equal neighbours merge, then blanks go. Between, before and after the n
labels z there may be blanks, so that it is a walk over the 2 n + 1 states b z1 b z2 ... zn b, which at each time stays,
goes on by one, or, to a label that differs from the one before, by two. With a_t(s) the logarithm of the probability of
all walks that are in state s at time t,

    a_t(s) = log p_t(s) + log(exp a_{t-1}(s) + exp a_{t-1}(s - 1) + [two allowed] exp a_{t-1}(s - 2))

and the result is log(exp a(2 n) + exp a(2 n - 1)) at the last time.
"""

from __future__ import annotations

import math
from typing import Any

import funcgrad.numpy as fnp
from funcgrad import lax

from ._arrays import dtype_of
from ._softmax import logsumexp

__all__ = ["forward_probability"]


def forward_probability(log_p: Any, labels: Any, times: Any, counts: Any, blank: int) -> Any:
    """The logarithm of the probability of ``labels`` (..., n), of which ``counts`` (...) count, the others being blank,
    given ``log_p`` (..., time, k), of which the first ``times`` (...) count."""
    *batch, n = labels.shape
    blanks = fnp.full_like(labels, blank)
    pairs = fnp.reshape(fnp.stack([blanks, labels], axis=-1), (*batch, 2 * n))
    states = fnp.concatenate([pairs, fnp.full((*batch, 1), blank, dtype_of(labels))], axis=-1)
    before = _shifted(states, 2, blank)
    jumps = (states != blank) & (states != before)
    wanted = fnp.broadcast_to(fnp.expand_dims(states, -2), (*log_p.shape[:-1], 2 * n + 1))
    scores = fnp.moveaxis(fnp.take_along_axis(log_p, wanted, axis=-1), -2, 0)

    # Before the first time the walk stands before the first blank, whence it goes to that, or to the first label.
    place = fnp.arange(2 * n + 1)

    def step(a: Any, inputs: Any) -> tuple[Any, None]:
        t, now = inputs
        ways = fnp.stack([a, _shifted(a, 1), fnp.where(jumps, _shifted(a, 2), -math.inf)], axis=-1)
        first = fnp.where(place < 2, fnp.zeros_like(a), -math.inf)
        moved = fnp.where(t == 0, first, logsumexp(ways, -1)) + now
        return fnp.where(fnp.expand_dims(t < times, -1), moved, a), None

    start = fnp.where(place == 0, fnp.zeros_like(scores[0]), -math.inf)
    a, _ = lax.scan(step, start, (fnp.arange(scores.shape[0]), scores))
    last = fnp.expand_dims(2 * counts, -1)
    return logsumexp(a, -1, where=(place == last) | (place == last - 1))


def _shifted(x: Any, by: int, fill: float = -math.inf) -> Any:
    """``x`` moved towards higher states."""
    start = fnp.full((*x.shape[:-1], by), fill, dtype_of(x))
    return fnp.concatenate([start, x], axis=-1)[..., : x.shape[-1]]
