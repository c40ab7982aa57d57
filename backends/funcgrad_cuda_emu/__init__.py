"""The CUDA back end without a GPU: every kernel of ``funcgrad_cupy`` on the CPU, under the emulation in :mod:`.emulator`.

``with fg.use_backend("cuda_emu")``, or ``python -m funcgrad --backend cuda-emu``, runs any program, slowly: it is there for
tests, and for reading what a GPU would run. It needs g++ and NVIDIA's headers (extra ``cuda-test``).
"""

from __future__ import annotations

from funcgrad_cupy.cuda import CudaBackend

from .device import Emulation
from .emulator import why_not

if reason := why_not():
    raise ImportError(reason)

__all__ = ["backend"]

backend = CudaBackend("cuda_emu", Emulation())
