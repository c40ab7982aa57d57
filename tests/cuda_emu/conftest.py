"""The device that kernels are tested on: the emulation, where this machine can build it."""

from __future__ import annotations

import pytest

from funcgrad_cuda_emu.emulator import ORDERS, EmulatedDevice, why_not


@pytest.fixture(params=[*ORDERS, "check"])
def device(request):
    """Three runs that must agree, and one in which every access is checked, in shuffled order."""
    if reason := why_not():
        pytest.skip(reason)
    if request.param == "check":
        return EmulatedDevice("check", "shuffled", seed=3)
    return EmulatedDevice("fast", request.param, seed=7)
