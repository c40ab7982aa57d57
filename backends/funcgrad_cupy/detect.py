"""Why no GPU can be used, in one line each: what is missing, and what to do."""

from __future__ import annotations

from typing import Any

from funcgrad.core.errors import BackendError

from . import nvrtc

__all__ = ["find_cupy"]


def find_cupy() -> Any:
    """The module ``cupy``, once it is certain that kernels can be compiled and run.

    Raises ImportError where CuPy is missing, and BackendError where there is no driver, an old one, no GPU, or no NVRTC.
    """
    try:
        import cupy
    except ImportError as error:
        raise ImportError(
            f"it needs CuPy ({error}); install it with: pip install 'funcgrad[cuda13]', or 'funcgrad[cuda12]' for a driver of CUDA 12"
        ) from error
    runtime = cupy.cuda.runtime
    driver = runtime.driverGetVersion()
    if not driver:
        raise BackendError("back end 'cupy': there is no NVIDIA driver on this machine (libcuda.so.1 was not found)")
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if "NoDevice" in str(error):
            count = 0
        elif "InsufficientDriver" in str(error):
            raise BackendError(
                f"back end 'cupy': the NVIDIA driver supports CUDA {_number(driver)}, but this CuPy is built for CUDA "
                f"{_number(runtime.runtimeGetVersion())}; update the driver, or install a CuPy for CUDA {driver // 1000}"
            ) from error
        else:
            raise BackendError(f"back end 'cupy': the GPUs cannot be counted: {error}") from error
    if not count:
        raise BackendError(
            "back end 'cupy': the driver sees no GPU; is CUDA_VISIBLE_DEVICES empty, or the container started without one?"
        )
    try:
        nvrtc.version()
    except nvrtc.NvrtcMissingError as error:
        raise BackendError(f"back end 'cupy': {error}") from error
    return cupy


def _number(version: int) -> str:
    """CUDA's version as people write it: 13000 is 13.0."""
    return f"{version // 1000}.{version % 1000 // 10}"
