"""How the kernels of recurrent.cu are launched; as :mod:`.launches` does for the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import c_type

__all__ = ["lstm", "lstm_cell", "lstm_cell_transposed", "lstm_transposed", "rnn", "rnn_transposed"]

_THREADS = 256
_MOST_BLOCKS = 4096
#: What a block has without asking for more.
_SHARED_BYTES = 48 * 1024


def _elements(device: Any, name: str, args: list[Any], like: Any) -> None:
    if like.size:
        grid = (min(-(-like.size // _THREADS), _MOST_BLOCKS),)
        sizes = [np.int32(like.shape[-1]), np.int64(like.size)]
        device.launch("recurrent", f"{name}<{c_type(like.dtype)}>", grid, (_THREADS,), [*args, *sizes])


def lstm_cell(device: Any, z: Any, c: Any) -> tuple[Any, Any, Any]:
    """h', c' and the activated gates, of z = x Wx + h Wh + b (batch, 4 hidden) and c (batch, hidden)."""
    h, c_new, gates = (device.empty(x.shape, x.dtype) for x in (c, c, z))
    _elements(device, "lstm_cell", [h, c_new, gates, z, c], c)
    return h, c_new, gates


def lstm_cell_transposed(device: Any, dh: Any, dc_new: Any, gates: Any, c: Any, c_new: Any) -> tuple[Any, Any]:
    """The cotangents of ``z`` and ``c``."""
    dz, dc = device.empty(gates.shape, gates.dtype), device.empty(c.shape, c.dtype)
    _elements(device, "lstm_cell_transposed", [dz, dc, dh, dc_new, gates, c, c_new], c)
    return dz, dc


def _loop(device: Any, name: str, cell: str, args: list[Any], time: int, weight: Any, state: Any) -> None:
    batch, hidden = state.shape
    columns = weight.shape[1]
    width = max(4, weight.dtype.itemsize)
    working, resting = width * (2 * hidden + columns), weight.dtype.itemsize * hidden * columns
    resident = working + resting <= _SHARED_BYTES
    if state.size:
        sizes = [np.int32(n) for n in (time, batch, hidden, resident)]
        threads = min(_THREADS, -(-columns // 32) * 32)
        shared = working + resting * resident
        device.launch(
            "recurrent", f"{name}<{c_type(weight.dtype)}, {cell}>", (batch,), (threads,), [*args, *sizes], shared
        )


def rnn(device: Any, u: Any, weight: Any, h0: Any, activation: str = "Tanh") -> Any:
    """All h of h' = act(u + h W): ``u`` is (time, batch, hidden); ``activation`` Tanh or Relu. The last is the state."""
    ys = device.empty(u.shape, u.dtype)
    _loop(device, "recurrence", activation, [ys, None, None, u, weight, h0, None], u.shape[0], weight, h0)
    return ys


def rnn_transposed(
    device: Any, dys: Any, dh_last: Any, ys: Any, weight: Any, activation: str = "Tanh"
) -> tuple[Any, Any]:
    """The cotangents of ``u`` and ``h0``; that of the weights is sum h^T du, a product of matrices."""
    du, dh0 = device.empty(ys.shape, ys.dtype), device.empty(dh_last.shape, dh_last.dtype)
    args = [du, dh0, None, dys, dh_last, None, ys, None, None, weight, None]
    _loop(device, "recurrence_transposed", activation, args, ys.shape[0], weight, dh_last)
    return du, dh0


def lstm(device: Any, u: Any, weight: Any, h0: Any, c0: Any) -> tuple[Any, Any, Any]:
    """All h, all c and all activated gates, of ``u`` (time, batch, 4 hidden) = x Wx + b. The last h and c are the state."""
    shape = (u.shape[0], *h0.shape)
    ys, cs, gates = (device.empty(s, u.dtype) for s in (shape, shape, u.shape))
    _loop(device, "recurrence", "Lstm", [ys, cs, gates, u, weight, h0, c0], u.shape[0], weight, h0)
    return ys, cs, gates


def lstm_transposed(
    device: Any, dys: Any, dh_last: Any, dc_last: Any, cs: Any, gates: Any, weight: Any, c0: Any
) -> tuple[Any, Any, Any]:
    """The cotangents of ``u``, ``h0`` and ``c0``; that of the weights is sum h^T du, a product of matrices."""
    du, dh0, dc0 = (device.empty(x.shape, x.dtype) for x in (gates, c0, c0))
    args = [du, dh0, dc0, dys, dh_last, dc_last, None, cs, gates, weight, c0]
    _loop(device, "recurrence_transposed", "Lstm", args, gates.shape[0], weight, c0)
    return du, dh0, dc0
