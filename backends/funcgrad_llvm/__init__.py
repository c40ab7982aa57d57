"""The LLVM back end: programs over plain NumPy arrays as native code, through llvmlite.

It is chosen by name, ``with fg.use_backend("llvm")``; its arrays are NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from funcgrad.core.backend import Backend, get_backend
from funcgrad.core.ir import Jaxpr

try:
    import llvmlite  # noqa: F401
except ImportError as error:
    raise ImportError("it needs llvmlite; install it with: pip install 'funcgrad[llvm]'") from error

from . import control, kernels, linalg, movement, products  # noqa: F401
from .program import Program, compile_program

__all__ = ["LLVMBackend", "backend"]


class LLVMBackend(Backend):
    """Native code on the CPU. What it has no code for runs as in the NumPy back end."""

    name = "llvm"
    compiles = True
    plain = True
    ops: Mapping[str, Callable[..., Any]] = get_backend("numpy").ops
    rules: Mapping[str, Any] = {}

    def compile(self, jaxpr: Jaxpr) -> Program:
        """The program for a jaxpr; the same one for the same jaxpr."""
        return compile_program(jaxpr, self)

    def compile_with(self, jaxpr: Jaxpr, donated: frozenset[int] = frozenset(), fast_math: bool = False) -> Program:
        return compile_program(jaxpr, self, fast_math)


backend = LLVMBackend()
