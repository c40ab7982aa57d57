"""Recurrent networks over a sequence: rnn, lstm, gru, each a scan.

``x`` is (..., time, in), ``weight_x`` (in, gates * hidden), ``weight_h`` (hidden, gates * hidden), the biases (gates *
hidden,); a state is (..., hidden). The result is the pair of the outputs (..., time, hidden) and the last state. The gates
stand in torch's order along the last axis, so that weights are torch's transposed. The products with ``x`` are one
product for all times; only those with the state are in the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import lax, tree
from funcgrad.core.errors import OperandError

from ._arrays import floating
from ._linear import linear
from ._recurrent_calls import ACTIVATIONS, lstm_loop, rnn_loops

__all__ = ["LSTMState", "gru", "lstm", "rnn"]


class LSTMState(NamedTuple):
    """The output ``h`` and the cell ``c`` of an LSTM, each of shape (..., hidden)."""

    h: Any
    c: Any


def _scan(
    name: str, gates: int, x: Any, state: Any, weight_x: Any, weight_h: Any, bias: Any, loop: Callable[..., Any]
) -> tuple[Any, Any]:
    """The loop over time, ``loop(u, weight_h, state) -> (ys, state)`` with u = x W + b, time first in u and ys."""
    x, weight_h = floating(name, x), floating(name, weight_h, "weight_h")
    if weight_h.ndim != 2 or weight_h.shape[1] != gates * weight_h.shape[0] or x.ndim < 2:
        raise OperandError(
            f"nn.{name}: x of shape {x.shape} and weight_h of shape {weight_h.shape} must be (..., time, in) and (hidden, "
            f"{f'{gates} ' if gates > 1 else ''}hidden)"
        )
    u = linear(x, weight_x, bias)
    if u.shape[-1] != weight_h.shape[1]:
        raise OperandError(
            f"nn.{name}: weight_x makes {u.shape[-1]} gates, and weight_h {weight_h.shape[1]}; they must be as many"
        )
    wanted = (*x.shape[:-2], weight_h.shape[0])
    dtype = fnp.result_type(u, weight_h)

    def start(s: Any) -> Any:
        if fnp.shape(s) != wanted:
            raise OperandError(f"nn.{name}: the state must be of shape {wanted} for this x, not {fnp.shape(s)}")
        return fnp.asarray(s, dtype=dtype)

    u = fnp.astype(fnp.moveaxis(u, -2, 0), dtype)
    ys, last = loop(u, fnp.astype(weight_h, dtype), tree.map(start, state))
    return fnp.moveaxis(ys, 0, -2), last


def _plain(step: Callable[..., Any], u: Any, h: Any) -> tuple[Any, Any]:
    """All states of h' = step(h, u), and the last."""

    def body(h: Any, u: Any) -> tuple[Any, Any]:
        h = step(h, u)
        return h, h

    last, ys = lax.scan(body, h, u)
    return ys, last


def rnn(
    x: Any, state: Any, weight_x: Any, weight_h: Any, bias: Any = None, activation: Callable[[Any], Any] = fnp.tanh
) -> tuple[Any, Any]:
    """h' = activation(x Wx + h Wh + b) (Elman): ``(outputs, state)``; shapes as the module says.

    >>> ys, h = rnn(fnp.ones((3, 1)), fnp.zeros(1), fnp.eye(1), fnp.eye(1), activation=lambda z: z)
    >>> ys.ravel(), h
    (array([1., 2., 3.]), array([3.]))
    """
    known = next((name for name, (f, _) in ACTIVATIONS.items() if f is activation), None)

    def loop(u: Any, weight: Any, h: Any) -> tuple[Any, Any]:
        if known is None or not u.shape[0]:
            return _plain(lambda h, u: activation(u + h @ weight), u, h)
        (ys,) = rnn_loops[known](u, weight, h)
        return ys, ys[-1]

    return _scan("rnn", 1, x, state, weight_x, weight_h, bias, loop)


def lstm(x: Any, state: LSTMState, weight_x: Any, weight_h: Any, bias: Any = None) -> tuple[Any, LSTMState]:
    """i, f, g, o = x Wx + h Wh + b; c' = sigmoid(f) c + sigmoid(i) tanh(g); h' = sigmoid(o) tanh(c').

    Returns ``(outputs, state)``; shapes as the module says, with 4 gates. torch's two biases are one here: their sum.
    (Hochreiter and Schmidhuber, Neural Computation 9, 1997; Gers et al. 2000 for the gate f.)
    """

    def loop(u: Any, weight: Any, s: LSTMState) -> tuple[Any, LSTMState]:
        if not u.shape[0]:
            return u[..., : s.h.shape[-1]], s
        ys, h, c = lstm_loop(u, weight, s.h, s.c)
        return ys, LSTMState(h, c)

    if not isinstance(state, LSTMState):
        raise OperandError("nn.lstm: the state must be nn.LSTMState(h, c)")
    return _scan("lstm", 4, x, state, weight_x, weight_h, bias, loop)


def gru(x: Any, state: Any, weight_x: Any, weight_h: Any, bias_x: Any = None, bias_h: Any = None) -> tuple[Any, Any]:
    """r, z = sigmoid(x Wx + h Wh + b); n = tanh(x Wxn + bxn + r (h Whn + bhn)); h' = (1 - z) n + z h.

    Returns ``(outputs, state)``; shapes as the module says, with 3 gates, in the order r, z, n. The reset gate acts after
    the product with the state, as in torch and cuDNN; hence two biases. (Cho et al., arXiv:1406.1078v1.)
    """

    def step(weight: Any, h: Any, u: Any) -> Any:
        v = h @ weight if bias_h is None else h @ weight + bias_h
        (ur, uz, un), (vr, vz, vn) = fnp.split(u, 3, axis=-1), fnp.split(v, 3, axis=-1)
        z = lax.logistic(uz + vz)
        n = fnp.tanh(un + lax.logistic(ur + vr) * vn)
        return n + z * (h - n)

    def loop(u: Any, weight: Any, h: Any) -> tuple[Any, Any]:
        return _plain(partial(step, weight), u, h)

    return _scan("gru", 3, x, state, weight_x, weight_h, bias_x, loop)
