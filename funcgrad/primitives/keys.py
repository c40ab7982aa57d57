"""The use of a random key, which a program says where ``config.debug_key_reuse`` is on. It computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.errors import IRError
from ..core.key_reuse import Use, record, tokens
from ..core.source import user_source
from ..core.trace import Primitive, Tracer
from ..core.types import Aval
from . import structure

__all__ = ["use_key"]


class UseKey(Primitive):
    """Says that keys (..., 2) are used: for draws, or with the integers (...) that they are folded with.

    Evaluated, it enters them in the record. A compiled program has none: what it uses is found before it runs.
    ``branches``: see :class:`~funcgrad.core.key_reuse.Use`.
    """

    name = "use_key"
    multiple = True
    effect = True

    def type(self, *avals: Aval, **params: Any) -> Sequence[Aval]:
        key, *data = avals
        if key.shape[-1:] != (2,) or any(d.shape != key.shape[:-1] for d in data):
            raise IRError(f"use_key: operands {list(avals)} are no keys with their integers")
        return []

    def expand(self, *args: Any, **params: Any) -> list[Any]:
        if not any(isinstance(x, Tracer) for x in args):
            use = Use(user_source(), None, params["branches"])
            for token in tokens(*args):
                record().ledger.use(token, use)
        return []

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self(*primals, **params), []

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        rows = [x if b else structure.repeat_rows(x, size) for x, b in zip(args, batched, strict=True)]
        return self(*rows, **params), []


use_key = UseKey()
