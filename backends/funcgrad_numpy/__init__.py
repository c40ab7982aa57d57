"""The NumPy back end: a table of operations, and how generated programs write them."""

from __future__ import annotations

import numpy as np

from funcgrad.compiler.backend import SourceBackend
from funcgrad.compiler.program import Program, compile_jaxpr
from funcgrad.core.ir import Jaxpr

from .block_source import write_blocks
from .blocks import MIN_BYTES, is_blocked
from .ops import OPS
from .rules import RULES
from .templates import FUSABLE, INPLACE, NAMESPACE, PAIRS, TEMPLATES, WEAK_LITERALS, may_alias

__all__ = ["NumpyBackend", "backend"]


class NumpyBackend(SourceBackend):
    """NumPy on the CPU."""

    name = "numpy"
    array_types = (np.ndarray,)
    plain = True
    ops = OPS
    namespace = NAMESPACE
    templates = TEMPLATES
    pairs = PAIRS
    inplace = INPLACE
    weak_literals = WEAK_LITERALS
    rules = RULES
    fusable = FUSABLE
    least_fused = MIN_BYTES // 16
    worth = staticmethod(is_blocked)
    write_group = staticmethod(write_blocks)
    may_alias = staticmethod(may_alias)

    def compile_with(self, jaxpr: Jaxpr, donated: frozenset[int] = frozenset(), fast_math: bool = False) -> Program:
        return compile_jaxpr(jaxpr, self, donated)


backend = NumpyBackend()
