"""Random numbers in one launch: the kernels of the named calls of :mod:`funcgrad.random`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from funcgrad.core.ir import Jaxpr

from .device import Device
from .kernels import launches

__all__ = ["draws"]

#: A kernel for the body of a call and its static arguments, or None where there is none for its operands.
Chooser = Callable[..., Callable[..., list[Any]] | None]


def draws(device: Device) -> Mapping[str, Chooser]:
    """From the name of a call to what chooses its kernel."""

    def given(x: Any) -> Any:
        return device.contiguous(x) if isinstance(x, device.array_type) else device.put(np.asarray(x))

    def of_key(launch: Callable[..., Any]) -> Chooser:
        def choose(body: Jaxpr, **static: Any) -> Callable[..., list[Any]]:
            (out,) = body.out_avals
            return lambda key: [launch(device, given(key), out.shape, out.dtype)]

        return choose

    def bernoulli(body: Jaxpr, **static: Any) -> Callable[..., list[Any]] | None:
        (out,), (_, p) = body.out_avals, body.in_avals
        if p.shape or p.weak:
            return None
        return lambda key, p: [launches.random_bernoulli(device, given(key), given(p), out.shape)]

    return {
        "random_bernoulli": bernoulli,
        "random_bits": of_key(launches.random_bits),
        "random_normal": of_key(launches.random_normal),
        "random_uniform": of_key(launches.random_uniform),
    }
