"""Recurrent layers: modules over ``nn.rnn``, ``nn.lstm`` and ``nn.gru``. Several layers are a ``Sequential`` of them.

Without a state they begin from zeros. To go on where a sequence was cut (truncated backpropagation through time), give the
last state to the next call; the gradient ends there by itself, since the state comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import funcgrad.numpy as fnp

from . import init as initializers
from ._arrays import dtype_of
from ._module import Module, keys_for, module, static
from ._recurrent import LSTMState, gru, lstm, rnn

__all__ = ["GRU", "LSTM", "RNN"]

#: Of the products with the state, so that its size neither grows nor fades.
_orthogonal = initializers.orthogonal()
_lecun = initializers.lecun_normal()


def _weights(key: Any, inputs: int, hidden: int, gates: int, dtype: Any) -> tuple[Any, Any]:
    """Each gate is drawn by itself, as a matrix of its own."""
    keys = keys_for(key, 2 * gates, True)
    x = [_lecun(k, (inputs, hidden), dtype) for k in keys[:gates]]
    h = [_orthogonal(k, (hidden, hidden), dtype) for k in keys[gates:]]
    return fnp.concatenate(x, axis=-1), fnp.concatenate(h, axis=-1)


def _zeros(x: Any, weight_h: Any) -> Any:
    return fnp.zeros((*x.shape[:-2], weight_h.shape[0]), dtype_of(weight_h))


@module
class RNN(Module):
    """:func:`nn.rnn`: ``weight_x`` (in, hidden), ``weight_h`` (hidden, hidden), ``bias`` (hidden,)."""

    weight_x: Any
    weight_h: Any
    bias: Any = None
    activation: Callable[[Any], Any] = static(default=fnp.tanh)

    @classmethod
    def init(
        cls,
        key: Any,
        in_features: int,
        hidden: int,
        *,
        activation: Callable[[Any], Any] = fnp.tanh,
        dtype: Any = fnp.float32,
    ) -> RNN:
        """Of the input a normal weight of variance 1 / in_features, of the state an orthogonal one; biases of zero."""
        return cls(*_weights(key, in_features, hidden, 1, dtype), fnp.zeros(hidden, dtype), activation)

    def init_state(self, batch_shape: tuple[int, ...] = ()) -> Any:
        return fnp.zeros((*batch_shape, self.weight_h.shape[0]), dtype_of(self.weight_h))

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        state = _zeros(x, self.weight_h) if state is None else state
        return rnn(x, state, self.weight_x, self.weight_h, self.bias, self.activation)


@module
class LSTM(Module):
    """:func:`nn.lstm`: ``weight_x`` (in, 4 hidden), ``weight_h`` (hidden, 4 hidden), ``bias`` (4 hidden,).

    The bias of the forget gate starts at 1, so that the cell keeps what it holds (Jozefowicz et al., ICML 2015).

    >>> import numpy as np
    >>> from funcgrad.random import key
    >>> layer = LSTM.init(key(0), 3, 5)
    >>> ys, state = layer(np.ones((2, 7, 3), np.float32), layer.init_state((2,)))
    >>> ys.shape, state.c.shape
    ((2, 7, 5), (2, 5))
    """

    weight_x: Any
    weight_h: Any
    bias: Any = None

    @classmethod
    def init(cls, key: Any, in_features: int, hidden: int, *, dtype: Any = fnp.float32) -> LSTM:
        """As of ``RNN``, gate by gate, with the bias 1 of the forget gate."""
        bias = fnp.repeat(fnp.asarray([0, 1, 0, 0], dtype=dtype), hidden)
        return cls(*_weights(key, in_features, hidden, 4, dtype), bias)

    def init_state(self, batch_shape: tuple[int, ...] = ()) -> LSTMState:
        zeros = fnp.zeros((*batch_shape, self.weight_h.shape[0]), dtype_of(self.weight_h))
        return LSTMState(zeros, zeros)

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        if state is None:
            zeros = _zeros(x, self.weight_h)
            state = LSTMState(zeros, zeros)
        return lstm(x, state, self.weight_x, self.weight_h, self.bias)


@module
class GRU(Module):
    """:func:`nn.gru`: ``weight_x`` (in, 3 hidden), ``weight_h`` (hidden, 3 hidden), two biases (3 hidden,)."""

    weight_x: Any
    weight_h: Any
    bias_x: Any = None
    bias_h: Any = None

    @classmethod
    def init(cls, key: Any, in_features: int, hidden: int, *, dtype: Any = fnp.float32) -> GRU:
        """As of ``RNN``, gate by gate."""
        zeros = fnp.zeros(3 * hidden, dtype)
        return cls(*_weights(key, in_features, hidden, 3, dtype), zeros, zeros)

    def init_state(self, batch_shape: tuple[int, ...] = ()) -> Any:
        return fnp.zeros((*batch_shape, self.weight_h.shape[0]), dtype_of(self.weight_h))

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        state = _zeros(x, self.weight_h) if state is None else state
        return gru(x, state, self.weight_x, self.weight_h, self.bias_x, self.bias_h)
