"""Modules made of modules: one after the other, and around a shortcut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from funcgrad.core.errors import OperandError

from ._module import Module, keys_for, module, static

__all__ = ["Function", "Residual", "Sequential"]


@module
class Function(Module):
    """A function of one array, as a module without parameters."""

    function: Callable[[Any], Any] = static()

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        return self.function(x), state


def _as_module(name: str, x: Any) -> Module:
    if isinstance(x, Module):
        return x
    if not callable(x) or isinstance(x, type):
        raise OperandError(f"nn.{name} takes modules and functions, not {x!r}")
    return Function(x)


@module
class Sequential(Module):
    """``Sequential(first, second, ...)``: modules, and functions of one array, one after the other.

    The state is a tuple with an entry for each, None if none has one. Each gets a key of its own.

    >>> import numpy as np
    >>> from funcgrad import nn
    >>> model = Sequential(nn.Linear(np.eye(2), np.array([-1.0, 1.0])), nn.relu)
    >>> model(np.array([0.5, 0.5]))
    array([0. , 1.5])
    """

    layers: tuple[Module, ...]

    def __init__(self, *layers: Any) -> None:
        object.__setattr__(self, "layers", tuple(_as_module("Sequential", x) for x in layers))

    def init_state(self, batch_shape: tuple[int, ...] = ()) -> Any:
        states = tuple(layer.init_state(batch_shape) for layer in self.layers)
        return None if all(s is None for s in states) else states

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        states = (None,) * len(self.layers) if state is None else state
        if not isinstance(states, tuple) or len(states) != len(self.layers):
            raise OperandError(
                f"{type(self).__name__} of {len(self.layers)} layers takes the state of model.init_state(), a tuple of "
                f"{len(self.layers)}, not {state!r}"
            )
        new = []
        for layer, s, k in zip(self.layers, states, keys_for(key, len(self.layers), train)):
            x, s = layer.apply(x, s, train=train, key=k)
            new.append(s)
        return x, tuple(new)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __getitem__(self, index: int) -> Module:
        return self.layers[index]


@module
class Residual(Module):
    """x + inner(x). (He et al., arXiv:1512.03385.) The state is that of ``inner``."""

    inner: Module

    def __post_init__(self) -> None:
        object.__setattr__(self, "inner", _as_module("Residual", self.inner))

    def init_state(self, batch_shape: tuple[int, ...] = ()) -> Any:
        return self.inner.init_state(batch_shape)

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        y, state = self.inner.apply(x, state, train=train, key=key)
        return x + y, state
