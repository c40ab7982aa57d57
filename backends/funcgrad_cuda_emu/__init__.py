"""The CUDA back end without a GPU: every kernel of ``funcgrad_cupy`` on the CPU, under the emulation in :mod:`.emulator`.

``with fg.use_backend("cuda_emu")``, or ``python -m funcgrad --backend cuda-emu``, runs any program, slowly: it is there for
tests, and for reading what a GPU would run. It needs g++ and NVIDIA's headers (extra ``cuda-test``); without them the package
imports, and asking for the back end raises ImportError with the reason.
"""

from __future__ import annotations

from typing import Any

from .emulator import why_not

__all__ = ["backend"]


def __getattr__(name: str) -> Any:
    if name != "backend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if reason := why_not():
        raise ImportError(reason)
    from funcgrad_cupy.cuda import CudaBackend

    from .device import Emulation

    globals()["backend"] = found = CudaBackend("cuda_emu", Emulation())
    return found
