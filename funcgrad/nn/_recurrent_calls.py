"""The loops of ``nn.rnn`` and ``nn.lstm`` over time: named calls, forward and backward, that survive every transform.

Forward keeps what a step leaves behind; backward walks the steps from the last, and the cotangent of the weights is one
product after the loop instead of a sum in it:

    z_t = u_t + h_{t-1} W,        dh_{t-1} = dz_t W^T,        du = dz,        dW = sum_t h_{t-1}^T dz_t

    rnn:   h = a(z),                          dz = dh a'(h)                       (a' of tanh: 1 - h^2; of relu: h > 0)
    lstm:  i, f, o = sigmoid(z), g = tanh(z);  c_t = f c_{t-1} + i g;  h = o tanh(c_t)
           dc_t += dh o (1 - tanh(c_t)^2);  dc_{t-1} = f dc_t
           dz = (dc g i (1 - i), dc c_{t-1} f (1 - f), dc i (1 - g^2), dh tanh(c_t) o (1 - o))

Time is the first axis; the axes between it and the features are a batch, to which ``vmap`` adds one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.api.custom import custom_vjp
from funcgrad.api.mapping import vmap

from ._named import named, with_batching
from .activations import relu

__all__ = ["ACTIVATIONS", "lstm_loop", "rnn_loops"]

#: The activations whose slope is a function of their result, by the name that kernels know them by.
ACTIVATIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "tanh": (fnp.tanh, lambda y: 1 - y * y),
    "relu": (relu, lambda y: fnp.astype(y > 0, y.dtype)),
}


def _before(first: Any, all_after: Any) -> Any:
    """The states before each step."""
    return fnp.concatenate([fnp.expand_dims(first, 0), all_after[:-1]])


def _of_weights(before: Any, du: Any) -> Any:
    """sum h^T du over time and batch."""
    rows, columns = before.shape[-1], du.shape[-1]
    return fnp.reshape(before, (-1, rows)).T @ fnp.reshape(du, (-1, columns))


def _batching(
    loop: Callable[..., Any], plain: Callable[..., Any], in_axes: tuple[int | None, ...], out_axes: tuple[int, ...]
) -> Callable[..., Any]:
    """The batching rule of ``loop``: itself with a larger batch. ``in_axes`` say where that goes, None for the weights.

    Weights of their own for each row are no batch: then ``plain``, of the same meaning, is batched as any function.
    """

    def rule(size: int, batched: Any, *args: Any) -> Any:
        if any(b for b, axis in zip(batched, in_axes, strict=True) if axis is None):
            outs = vmap(plain, tuple(0 if b else None for b in batched))(*args)
        else:
            wide = [
                x
                if axis is None
                else fnp.moveaxis(x, 0, axis)
                if b
                else fnp.repeat(fnp.expand_dims(x, axis), size, axis=axis)
                for x, b, axis in zip(args, batched, in_axes, strict=True)
            ]
            outs = tuple(fnp.moveaxis(y, axis, 0) for y, axis in zip(loop(*wide), out_axes, strict=True))
        return outs, (True,) * len(out_axes)

    return rule


def _over_batch(fun: Callable[..., Any], in_axes: tuple[int | None, ...], out_axes: tuple[int, ...]) -> Any:
    made = with_batching(fun, lambda *args: rule(*args))
    rule = _batching(made, fun, in_axes, out_axes)
    return made


# An LSTM --------------------------------------------------------------------------------------------------------------


def _lstm_step(h: Any, c: Any, u: Any, weight: Any) -> tuple[Any, Any, Any]:
    """h', c' and the activated gates."""
    i, f, g, o = fnp.split(u + h @ weight, 4, axis=-1)
    i, f, g, o = lax.logistic(i), lax.logistic(f), fnp.tanh(g), lax.logistic(o)
    c = f * c + i * g
    return o * fnp.tanh(c), c, (i, f, g, o)


@named("nn.lstm")
def _lstm(u: Any, weight: Any, h0: Any, c0: Any) -> tuple[Any, Any, Any]:
    def step(state: Any, u: Any) -> Any:
        h, c, _ = _lstm_step(*state, u, weight)
        return (h, c), h

    (h, c), ys = lax.scan(step, (h0, c0), u)
    return ys, h, c


@named("nn.lstm_forward")
def _lstm_forward(u: Any, weight: Any, h0: Any, c0: Any) -> tuple[Any, Any, Any]:
    def step(state: Any, u: Any) -> Any:
        h, c, gates = _lstm_step(*state, u, weight)
        return (h, c), (h, c, fnp.concatenate(gates, axis=-1))

    _, found = lax.scan(step, (h0, c0), u)
    return found  # type: ignore[no-any-return]


@named("nn.lstm_transposed")
def _lstm_transposed(
    dys: Any, dh_last: Any, dc_last: Any, cs: Any, gates: Any, weight: Any, c0: Any
) -> tuple[Any, Any, Any]:
    def step(ct: Any, x: Any) -> Any:
        (dh, dc), (dy, before, after, of_step) = ct, x
        i, f, g, o = fnp.split(of_step, 4, axis=-1)
        dh, y = dh + dy, fnp.tanh(after)
        dc = dc + dh * o * (1 - y * y)
        parts = dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g * g), dh * y * o * (1 - o)
        dz = fnp.concatenate(parts, axis=-1)
        return (dz @ weight.T, dc * f), dz

    (dh0, dc0), du = lax.scan(step, (dh_last, dc_last), (dys, _before(c0, cs), cs, gates), reverse=True)
    return du, dh0, dc0


_forward_rows = _over_batch(_lstm_forward, (1, None, 0, 0), (1, 1, 1))
_transposed_rows = _over_batch(_lstm_transposed, (1, 0, 0, 1, 1, None, 0), (1, 0, 0))


def _lstm_fwd(u: Any, weight: Any, h0: Any, c0: Any) -> Any:
    ys, cs, gates = _forward_rows(u, weight, h0, c0)
    return (ys, ys[-1], cs[-1]), (weight, h0, c0, ys, cs, gates)


def _lstm_bwd(residuals: Any, cts: Any) -> Any:
    weight, h0, c0, ys, cs, gates = residuals
    du, dh0, dc0 = _transposed_rows(*cts, cs, gates, weight, c0)
    return du, _of_weights(_before(h0, ys), du), dh0, dc0


lstm_loop = custom_vjp(_lstm)
"""(u, weight, h0, c0) -> (ys, h, c): all h, and the last state. At least one step."""
lstm_loop.defvjp(_lstm_fwd, _lstm_bwd)
lstm_loop.def_vmap(_batching(lstm_loop, _lstm, (1, None, 0, 0), (1, 0, 0)))


# A simple network -----------------------------------------------------------------------------------------------------


@named("nn.rnn", "activation")
def _rnn(u: Any, weight: Any, h0: Any, *, activation: str) -> tuple[Any]:
    def step(h: Any, u: Any) -> Any:
        h = ACTIVATIONS[activation][0](u + h @ weight)
        return h, h

    return (lax.scan(step, h0, u)[1],)


@named("nn.rnn_transposed", "activation")
def _rnn_transposed(dys: Any, dh_last: Any, ys: Any, weight: Any, *, activation: str) -> tuple[Any, Any]:
    def step(dh: Any, x: Any) -> Any:
        dy, y = x
        dz = (dh + dy) * ACTIVATIONS[activation][1](y)
        return dz @ weight.T, dz

    dh0, du = lax.scan(step, dh_last, (dys, ys), reverse=True)
    return du, dh0


def _rnn_loop(activation: str) -> custom_vjp:
    """(u, weight, h0) -> (ys,): all h. At least one step."""
    transposed = _over_batch(partial(_rnn_transposed, activation=activation), (1, 0, 1, None), (1, 0))
    plain = partial(_rnn, activation=activation)
    loop = custom_vjp(plain)

    def fwd(u: Any, weight: Any, h0: Any) -> Any:
        (ys,) = loop(u, weight, h0)
        return (ys,), (weight, h0, ys)

    def bwd(residuals: Any, cts: Any) -> Any:
        weight, h0, ys = residuals
        du, dh0 = transposed(*cts, fnp.zeros_like(h0), ys, weight)
        return du, _of_weights(_before(h0, ys), du), dh0

    loop.defvjp(fwd, bwd)
    loop.def_vmap(_batching(loop, plain, (1, None, 0), (1,)))
    return loop


rnn_loops = {activation: _rnn_loop(activation) for activation in ACTIVATIONS}
