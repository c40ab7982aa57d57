"""The NumPy back end: a table of operations, and how generated programs write them."""

from __future__ import annotations

import numpy as np

from funcgrad.compiler.backend import SourceBackend

from .ops import OPS
from .rules import RULES
from .templates import INPLACE, NAMESPACE, PAIRS, TEMPLATES, WEAK_LITERALS, may_alias

__all__ = ["NumpyBackend", "backend"]


class NumpyBackend(SourceBackend):
    """NumPy on the CPU."""

    name = "numpy"
    array_types = (np.ndarray,)
    ops = OPS
    namespace = NAMESPACE
    templates = TEMPLATES
    pairs = PAIRS
    inplace = INPLACE
    weak_literals = WEAK_LITERALS
    rules = RULES
    may_alias = staticmethod(may_alias)


backend = NumpyBackend()
