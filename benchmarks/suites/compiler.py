"""The compiler: fused elementwise programs forward and backward, then the models of `learning`, float32."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from cases import Case, Maker, Target, fresh, running
from floor import Gelu
from libraries import Function, Library
from timing import Thunk

from suites import learning

SLOPE = math.sqrt(2 / math.pi)

#: What the geometric means of the rows have to reach, by kind.
MEANS = {"call": Target(0.4, "jax")}


def gelu(library: Library) -> Function:
    """The tanh form (Hendrycks and Gimpel 2016), as each library has it."""
    nn = learning.modules(library)
    return (lambda x: nn.gelu(x, approximate="tanh")) if library.name == "torch" else nn.gelu


def gelu_by_hand(x: np.ndarray, ct: np.ndarray) -> Any:
    """Forward and backward, as one would write it in NumPy."""
    t = np.tanh(SLOPE * (x + 0.044715 * x**3))
    slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * SLOPE * (1 + 3 * 0.044715 * x * x)
    return 0.5 * x * (1 + t), ct * slope


def activation(n: int) -> dict[str, Maker]:
    """gelu of n elements and its product with a cotangent, in each library."""

    def inputs() -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        return rng.standard_normal(n, np.float32), rng.standard_normal(n, np.float32)

    def make(library: Library) -> Thunk:
        both = library.forward_and_backward(gelu(library))
        return running(library, both if library.name == "torch" else library.jit(both), *inputs())

    return dict.fromkeys(("funcgrad", "jax", "torch"), make) | {
        "numpy": lambda library: running(library, gelu_by_hand, *inputs()),
        "c": lambda library: Gelu(*inputs()),
    }


def cases(tiny: bool) -> tuple[Case, ...]:
    """gelu at three sizes, then the models."""
    rows: list[Case] = []
    for name, n in (("16k", 1 << 14), ("1m", 1 << 20), ("16m", 1 << 24)):
        makers = activation(64 if tiny else n)
        what = f"gelu forward and backward, {n:,} float32"
        rows += fresh(f"gelu-{name}", what, makers, Target(1.0, "jax"), rtol=1e-4)
        if n > 1 << 14:
            loops = {library: makers[library] for library in ("funcgrad", "c")}
            rows.append(
                Case(f"gelu-{name}-floor", "the same beside a loop in C", "call", Target(1.5, "c"), loops, rtol=1e-4)
            )
    return (*rows, *learning.cases(tiny))
