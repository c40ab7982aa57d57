"""The primitive ``named_call``: a call for which the back end has a kernel, which runs in place of its body.

Transforms see calls and their bodies; the compiler makes such equations of the calls that are left, so there are no rules
of differentiation or batching.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.trace import Primitive
from ..core.types import Aval

__all__ = ["named_call"]


class NamedCall(Primitive):
    """Runs ``kernel``, the back end's for ``name``; ``jaxpr`` is what it computes."""

    name = "named_call"
    multiple = True

    def type(self, *avals: Aval, **params: Any) -> Sequence[Aval]:
        return params["jaxpr"].out_avals  # type: ignore[no-any-return]


named_call = NamedCall()
