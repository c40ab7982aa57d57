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
from .kernels import launch_attention

__all__ = ["calls"]

Kernel = Callable[..., list[Any]]

#: The most blocks along the second and third axis of a grid.
_MOST = 65535


def calls(device: Device) -> dict[str, Callable[..., Kernel | None]]:
    """From the name of a call to a function of its body and static arguments that gives the kernel, or None."""
    return {
        "nn.attention": partial(_attention, device, with_sums=False),
        "nn.attention_forward": partial(_attention, device, with_sums=True),
        "nn.attention_transposed": partial(_attention_transposed, device),
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
