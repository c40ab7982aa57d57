"""The CUDA back end: plain CuPy arrays in and out, fused groups as generated kernels, hand-written ones in ``kernels/``.

It is chosen by name, ``with fg.use_backend("cupy")``, or by a CuPy array among the operands. The package itself imports
without CuPy, since the emulation (``funcgrad_cuda_emu``) is built from its parts; the back end is made when it is asked for.
"""

from __future__ import annotations

from typing import Any

__all__ = ["backend"]


def __getattr__(name: str) -> Any:
    if name != "backend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .gpu import make_backend

    globals()["backend"] = found = make_backend()
    return found
