"""The hand-written kernels that stand for named calls of ``funcgrad.nn``: the table ``Backend.calls`` of a device.

A kernel is asked for with the body of the call and its static arguments, and answers None where it cannot do what the body
does: then the body is compiled as any other equations are. Softmax, cross-entropy and the norms have no entry on purpose:
a generated group computes them in the same passes over memory, together with what stands before and after them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

from funcgrad.core.ir import Jaxpr
from funcgrad.core.types import Aval

from .device import Device
from .kernels import launch_attention, launch_recurrent
from .movement import copy_into, strides_of

__all__ = ["calls"]

Kernel = Callable[..., list[Any]]

#: From so many bytes of weights on a block that reads them in each step waits for them longer than for a launch a step: a
#: 132nd of the cache's 5.5 TB/s brings these in about 6 us (computed, not measured).
_MOST_WEIGHTS = 1 << 18
#: The most blocks along the second and third axis of a grid.
_MOST = 65535


def calls(device: Device) -> dict[str, Callable[..., Kernel | None]]:
    """From the name of a call to a function of its body and static arguments that gives the kernel, or None."""
    return {
        "nn.attention": partial(_attention, device, with_sums=False),
        "nn.attention_forward": partial(_attention, device, with_sums=True),
        "nn.attention_transposed": partial(_attention_transposed, device),
        "nn.lstm": partial(_lstm, device, for_backward=False),
        "nn.lstm_forward": partial(_lstm, device, for_backward=True),
        "nn.lstm_transposed": partial(_lstm_transposed, device),
        "nn.rnn": partial(_rnn, device),
        "nn.rnn_transposed": partial(_rnn_transposed, device),
    }


def _fits(query: Aval, key: Aval, value: Aval, bias: Sequence[Aval]) -> bool:
    """Whether the kernels of attention take operands of these types: (..., time, heads, width) and a float32 bias."""
    leading = query.shape[:-3]
    return (
        query.dtype.name in ("float16", "bfloat16", "float32")
        and query.dtype == key.dtype == value.dtype
        and leading == key.shape[:-3] == value.shape[:-3]
        and query.shape[-1] == value.shape[-1]
        and query.shape[-1] in launch_attention.WIDTHS
        and prod(leading) <= _MOST
        and query.shape[-2] <= _MOST
        and min(prod(query.shape), prod(key.shape)) > 0
        and all(b.dtype.name == "float32" and _folds(b.shape[:-3], leading) for b in bias)
    )


def _folds(bias: tuple[int, ...], leading: tuple[int, ...]) -> bool:
    """Whether the leading axes of a bias are one axis, of the batch's length or broadcast as a whole."""
    return bias == leading or prod(bias) == 1


def _folded(device: Device, x: Any, kept: int) -> Any:
    """All axes but the last ``kept`` as one."""
    return device.view(x, (prod(x.shape[: x.ndim - kept]), *x.shape[x.ndim - kept :]))


def _attention(device: Device, body: Jaxpr, *, scale: float, causal: bool, with_sums: bool) -> Kernel | None:
    query, key, value, *bias = body.in_avals
    if not _fits(query, key, value, bias):
        return None
    results = body.out_avals

    def run(*args: Any) -> list[Any]:
        operands = [_folded(device, device.contiguous(x), 3) for x in args]
        found = launch_attention.attention(device, *operands, scale=scale, causal=causal)
        return [device.view(y, a.shape) for y, a in zip(found if with_sums else found[:1], results, strict=True)]

    return run


def _attention_transposed(device: Device, body: Jaxpr, *, scale: float, causal: bool) -> Kernel | None:
    _, query, key, value, _, _, *bias = body.in_avals
    if not _fits(query, key, value, bias):
        return None
    results = body.out_avals

    def run(*args: Any) -> list[Any]:
        # The logarithms of the sums are (..., heads, queries), all else has three axes of its own.
        operands = [_folded(device, device.contiguous(x), 2 if i == 5 else 3) for i, x in enumerate(args)]
        found = launch_attention.attention_transposed(device, *operands, scale=scale, causal=causal)
        return [device.view(y, a.shape) for y, a in zip(found, results, strict=True)]

    return run


def _loops(weight: Aval, of_time: Aval) -> bool:
    """Whether a loop with these weights over ``of_time``, (time, ..., features), runs in one launch."""
    return (
        weight.dtype.name in ("float16", "bfloat16", "float32", "float64")
        and weight.dtype == of_time.dtype
        and prod(weight.shape) * weight.dtype.itemsize <= _MOST_WEIGHTS
        and prod(of_time.shape) > 0
    )


def _batch(device: Device, x: Any, times: int) -> Any:
    """The axes between the first ``times`` and the last as one."""
    return device.view(x, (*x.shape[:times], prod(x.shape[times:-1]), x.shape[-1]))


def _folded_loop(
    device: Device, launch: Callable[..., Sequence[Any]], weight: int, times: Sequence[int], results: Sequence[Aval]
) -> Kernel:
    """``launch`` on operands whose batch is one axis; ``times`` are the axes of time of each, ``weight`` the place of W."""

    def run(*args: Any) -> list[Any]:
        whole = [device.contiguous(x) for x in args]
        found = launch(*(x if i == weight else _batch(device, x, times[i]) for i, x in enumerate(whole)))
        return [device.view(y, a.shape) for y, a in zip(found, results, strict=True)]

    return run


def _lstm(device: Device, body: Jaxpr, *, for_backward: bool) -> Kernel | None:
    u, weight, *_ = body.in_avals
    if not _loops(weight, u):
        return None

    def launch(*operands: Any) -> Sequence[Any]:
        ys, cs, gates = launch_recurrent.lstm(device, *operands)
        return (ys, cs, gates) if for_backward else (ys, _last(device, ys), _last(device, cs))

    return _folded_loop(device, launch, 1, (1, 0, 0, 0), body.out_avals)


def _last(device: Device, x: Any) -> Any:
    """The last along time, in memory of its own: results do not overlap."""
    y = device.empty(x.shape[1:], x.dtype)
    strides = strides_of(y.shape)
    copy_into(device, y, device.view(x, y.shape, x.size - y.size), y.shape, strides, strides)
    return y


def _lstm_transposed(device: Device, body: Jaxpr) -> Kernel | None:
    dys, weight = body.in_avals[0], body.in_avals[5]
    if not _loops(weight, dys):
        return None
    launch = partial(launch_recurrent.lstm_transposed, device)
    return _folded_loop(device, launch, 5, (1, 0, 0, 1, 1, 0, 0), body.out_avals)


def _rnn(device: Device, body: Jaxpr, *, activation: str) -> Kernel | None:
    u, weight, _ = body.in_avals
    if not _loops(weight, u):
        return None

    def launch(*operands: Any) -> Sequence[Any]:
        return [launch_recurrent.rnn(device, *operands, activation.title())]

    return _folded_loop(device, launch, 1, (1, 0, 0), body.out_avals)


def _rnn_transposed(device: Device, body: Jaxpr, *, activation: str) -> Kernel | None:
    dys, weight = body.in_avals[0], body.in_avals[3]
    if not _loops(weight, dys):
        return None

    def launch(*operands: Any) -> Sequence[Any]:
        return launch_recurrent.rnn_transposed(device, *operands, activation.title())

    return _folded_loop(device, launch, 3, (1, 0, 1, 0), body.out_avals)
