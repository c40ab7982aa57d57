"""What a module is: a frozen dataclass that is a pytree, whose leaves are its parameters and nothing else.

So ``fg.grad(loss)(model, batch)`` is a model of gradients, an optimizer takes the model as its parameters, ``jit`` takes
it as an argument, and ``tree.map`` maps over it. Sizes, rates and activation functions are static: part of the structure.

A call is ``y = module(x)``. What else there is, is explicit:

- ``state``: running statistics, or the state of a recurrent network, from ``module.init_state()``. Who gives one gets one
  back: ``y, state = module(x, state)``. A module has a state if ``init_state()`` is not None.
- ``train=True``: dropout drops, batch norms use and record the statistics of the batch.
- ``key``: where the randomness of training comes from.

Every module takes these three, and containers hand them on. A module of your own says in :meth:`Module.apply` what it does:

>>> import numpy as np
>>> import funcgrad as fg
>>> @module
... class Scale(Module):
...     factor: Any
...     power: int = static(default=1)
...     def apply(self, x, state, *, train, key):
...         return self.factor * x**self.power, state
>>> model = Scale(np.array(3.0), power=2)
>>> model(2.0), fg.grad(lambda m: m(2.0))(model)
(np.float64(12.0), Scale(factor=f64[], power=2))
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar, dataclass_transform

from funcgrad import random, tree
from funcgrad.core.types import aval_of, is_array_like

__all__ = ["Module", "module", "static"]

T = TypeVar("T")


class Module:
    """The base class of modules; the docstring of ``funcgrad.nn._module`` says what that is."""

    def init_state(self, batch_shape: tuple[int, ...] = ()) -> Any:
        """The state before the first call, None if there is none.

        ``batch_shape``: the leading axes of the input, which recurrent states have too.
        """
        return None

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        """``(y, new_state)``: what a subclass defines. It may take further keyword arguments."""
        raise TypeError(f"{type(self).__name__} is a nn.Module without a method apply(self, x, state, *, train, key)")

    def __call__(self, x: Any, state: Any = None, *, train: bool = False, key: Any = None, **inputs: Any) -> Any:
        """``y``, or with a state ``(y, new_state)``; ``inputs`` are those of :meth:`apply`."""
        y, new = self.apply(x, state, train=train, key=key, **inputs)
        return y if state is None else (y, new)

    def __repr__(self) -> str:
        fields = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{name}={_shown(value)}' for name, value in fields)})"


def _shown(value: Any) -> str:
    """A field: the type of an array, not its elements; the name of a function."""
    if isinstance(value, (list, tuple)):
        inside = ", ".join(map(_shown, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' if len(value) == 1 else ''})"
    if is_array_like(value) and type(value) not in (bool, int, float, complex):
        return repr(aval_of(value))
    return getattr(value, "__name__", None) or repr(value)


def static(**options: Any) -> Any:
    """A field that is part of the structure, not a parameter: hashable. ``options`` as of ``dataclasses.field``."""
    return dataclasses.field(metadata={"static": True}, **options)


@dataclass_transform(frozen_default=True, field_specifiers=(static, dataclasses.field))
def module(cls: type[T]) -> type[T]:
    """A class decorator: the class becomes a frozen dataclass, and a pytree by ``tree.register_dataclass``.

    Models are compared leaf by leaf (``testing.assert_close``), not by ``==``.
    """
    return tree.register_dataclass(dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls))


def keys_for(key: Any, count: int, train: bool) -> list[Any]:
    """A key for each of several parts; None for all where none is given or none will be used."""
    return [None] * count if key is None or not train else list(random.split(key, count))
