"""What kernels and programs are tested on: the emulation, where this machine can build it, and a GPU (``pytest -m gpu``)."""

from __future__ import annotations

import pytest

import funcgrad as fg
from funcgrad_cuda_emu.emulator import ORDERS, EmulatedDevice, why_not

GPU = pytest.param("gpu", marks=pytest.mark.gpu)


@pytest.fixture(params=[*ORDERS, "check", GPU])
def device(request):
    """Three runs that must agree, one in which every access is checked, in shuffled order; and a GPU."""
    if request.param == "gpu":
        return _of_gpu().on
    if reason := why_not():
        pytest.skip(reason)
    if request.param == "check":
        return EmulatedDevice("check", "shuffled", seed=3)
    return EmulatedDevice("fast", request.param, seed=7)


@pytest.fixture(params=["cuda_emu", GPU])
def cuda(request):
    """The name of a back end that runs kernels."""
    if request.param == "gpu":
        return _of_gpu().name
    if reason := why_not():
        pytest.skip(reason)
    return request.param


def _of_gpu():
    """The back end of the GPU; the test is skipped where there is none."""
    try:
        with fg.use_backend("cupy") as backend:
            return backend
    except (ImportError, fg.errors.BackendError) as error:
        pytest.skip(str(error))
