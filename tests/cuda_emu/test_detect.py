"""What is said where no GPU can be used: one clear line, and never a silent fall-back."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

import funcgrad as fg
from funcgrad.core.errors import BackendError
from funcgrad_cupy import detect, nvrtc


class CUDARuntimeError(RuntimeError):
    pass


def fake_cupy(monkeypatch, driver, count):
    """A CuPy whose run-time answers so; ``count`` may be what it raises."""

    def device_count():
        if isinstance(count, str):
            raise CUDARuntimeError(count)
        return count

    runtime = SimpleNamespace(
        driverGetVersion=lambda: driver,
        runtimeGetVersion=lambda: 13000,
        getDeviceCount=device_count,
        CUDARuntimeError=CUDARuntimeError,
    )
    cupy = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(nvrtc, "version", lambda: (13, 0))
    return cupy


def test_no_cupy(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with (
        pytest.raises(BackendError, match=r"'cupy' cannot be loaded: it needs CuPy .*pip install 'funcgrad\[cuda13\]'"),
        fg.use_backend("cupy"),
    ):
        pass


@pytest.mark.parametrize(
    "driver, count, message",
    [
        (0, "cudaErrorInsufficientDriver", "no NVIDIA driver on this machine"),
        (12040, "cudaErrorInsufficientDriver: too old", r"supports CUDA 12\.4, but this CuPy is built for CUDA 13\.0"),
        (13000, "cudaErrorNoDevice", "sees no GPU; is CUDA_VISIBLE_DEVICES empty"),
        (13000, 0, "sees no GPU"),
        (13000, "cudaErrorUnknown: 999", "cannot be counted: cudaErrorUnknown: 999"),
    ],
)
def test_no_gpu(monkeypatch, driver, count, message) -> None:
    fake_cupy(monkeypatch, driver, count)
    with pytest.raises(BackendError, match=message) as found, fg.use_backend("cupy"):
        pass
    assert "\n" not in str(found.value)


def test_no_nvrtc(monkeypatch) -> None:
    fake_cupy(monkeypatch, 13000, 1)

    def missing():
        raise nvrtc.NvrtcMissingError("NVRTC, the compiler of CUDA kernels, was not found")

    monkeypatch.setattr(nvrtc, "version", missing)
    with pytest.raises(BackendError, match="NVRTC, the compiler of CUDA kernels, was not found"):
        detect.find_cupy()


def test_all_is_there(monkeypatch) -> None:
    cupy = fake_cupy(monkeypatch, 13000, 1)
    assert detect.find_cupy() is cupy


def test_no_emulation(monkeypatch) -> None:
    import funcgrad_cuda_emu

    monkeypatch.delitem(vars(funcgrad_cuda_emu), "backend", raising=False)
    monkeypatch.setattr(funcgrad_cuda_emu, "why_not", lambda: "the CUDA emulation needs g++ and addr2line")
    with pytest.raises(ImportError, match="needs g"):
        funcgrad_cuda_emu.backend  # noqa: B018
