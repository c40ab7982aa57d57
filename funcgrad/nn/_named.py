"""Functions under names for which back ends may have kernels, and how ``vmap`` finds the same functions again.

A name has a dot, so that no function of a user's is taken for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from funcgrad.api.custom import custom_jvp
from funcgrad.api.staging import jit

__all__ = ["named", "with_batching"]


def named(name: str, *static: str) -> Callable[[Callable[..., Any]], jit]:
    """Decorator: the named call of a function, whose keyword arguments ``static`` a kernel is told of."""

    def mark(fun: Callable[..., Any]) -> jit:
        fun.__name__ = name
        return jit(fun, static_argnames=static)

    return mark


def with_batching(fun: Callable[..., Any], rule: Callable[..., Any]) -> custom_jvp:
    """``fun`` with the batching rule ``rule(size, batched, *args) -> (result, batched)``, and derivatives of its own."""
    made = custom_jvp(fun)
    made.def_vmap(rule)
    return made
