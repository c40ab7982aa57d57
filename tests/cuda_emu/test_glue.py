"""The GPU's device without a GPU: what reaches the driver's launch, with a CuPy that only remembers."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad_cuda_emu.emulator import module_of, why_not
from funcgrad_cupy import nvrtc
from funcgrad_cupy.device import Kernel
from funcgrad_cupy.gpu import CupyDevice
from funcgrad_cupy.group import joined
from funcgrad_cupy.kernels import headers


class OutOfMemoryError(Exception):
    pass


class Array:
    """A stand-in for ``cupy.ndarray``."""

    def __init__(self, address):
        self.data = SimpleNamespace(ptr=address)


@pytest.fixture
def launches(monkeypatch):
    """What the driver is asked to launch: sizes, shared memory and stream, and the bytes of the arguments."""
    found = []

    def launch(function, gx, gy, gz, bx, by, bz, shared, stream, pointers, extra):
        places = [ctypes.c_void_p.from_address(pointers + 8 * i).value for i in range(3)]
        values = [ctypes.string_at(place, size) for place, size in zip(places, (8, 8, 4), strict=True)]
        found.append(((function, gx, gy, gz, bx, by, bz, shared, stream, extra), values))

    monkeypatch.setattr(CupyDevice, "_launch_kernel", property(lambda self: launch))
    return found


def device():
    def full(shape, dtype):
        raise OutOfMemoryError("16 bytes wanted, 4 left")

    made = CupyDevice.__new__(CupyDevice)
    made.array_type = Array
    made.cupy = SimpleNamespace(
        empty=full,
        cuda=SimpleNamespace(
            get_current_stream=lambda: SimpleNamespace(ptr=77),
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        ),
    )
    return made


def test_arguments_are_packed_by_bytes(launches) -> None:
    device()._run(SimpleNamespace(ptr=5), (3,), (32, 8), [Array(0x1234), None, np.float32(1.5)], 16)
    ((sizes, values),) = launches
    assert sizes == (5, 3, 1, 1, 32, 8, 1, 16, 77, 0)
    assert values == [(0x1234).to_bytes(8, "little"), bytes(8), np.float32(1.5).tobytes()]


def test_no_memory_is_one_line() -> None:
    with pytest.raises(
        MemoryError, match=r"^the GPU has no memory left for an array of shape \(4,\), float32: 16 bytes"
    ):
        device().empty((4,), "float32")


def test_steps_are_timed_by_events_of_the_device() -> None:
    """Marks are recorded at once and read when the last has been passed."""
    log = []

    class Event:
        def __init__(self):
            self.time = 0.5 * len(log)

        def record(self):
            log.append("record")

        def synchronize(self):
            log.append("wait")

    made = device()
    made.cupy.cuda.Event = Event
    made.cupy.cuda.get_elapsed_time = lambda a, b: b.time - a.time
    marks = [made.mark() for _ in range(3)]
    assert made.moments(marks) == [0, 500_000, 1_000_000]
    assert log == ["record"] * 3 + ["wait"]


def _generated():
    """Two generated kernels of one name, each of both alignments, and what they make of ones."""
    with fg.use_backend("cuda_emu") as backend:
        x = np.ones((4, 6), "float32")
        texts = [
            backend.compile(fg.make_jaxpr(f)(x)).code.texts[0]
            for f in (lambda x: fnp.sum(fnp.exp2(x), axis=1), lambda x: fnp.tanh(x) * 0 + 3)
        ]
    return [Kernel(None, text, f"group<{aligned}>") for text in texts for aligned in ("true", "false")]


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_kernels_of_a_program_are_compiled_at_once(monkeypatch) -> None:
    compiled, loaded = [], []

    class Module:
        def load(self, code):
            loaded.append(code)

        def get_function(self, name):
            return len(loaded), name

    def compile_cubin(file, texts, names, arch):
        compiled.append((file, texts[file], list(names), arch))
        return nvrtc.Cubin(b"code", {name: f"_{name}" for name in names}, {})

    monkeypatch.setattr(nvrtc, "compile_cubin", compile_cubin)
    made = device()
    made._functions, made.arch, made.cupy.cuda.function = {}, 90, SimpleNamespace(Module=Module)
    generated = _generated()
    found = made.load([generated[0], Kernel("matmul", None, "matmul<float, false, false>"), *generated[1:]])
    assert found == [
        (1, "_group_0::group<true>"),
        (2, "_matmul<float, false, false>"),
        (1, "_group_0::group<false>"),
        (1, "_group_1::group<true>"),
        (1, "_group_1::group<false>"),
    ]
    assert [file for file, *_ in compiled] == ["groups.cu", "matmul.cu"]
    assert made.load(generated) == [found[0], *found[2:]] and len(compiled) == 2
    # One that is left is compiled as a launch without a program compiles it.
    other = made.load([*generated, Kernel(None, "// another", "group<true>")])[-1]
    assert other == (3, "_group<true>") and compiled[2][:2] == ("group.cu", "// another")


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_joined_kernels_run() -> None:
    first, _, second, _ = _generated()
    module = module_of(joined([first.text, second.text]), ("group_0::group<true>", "group_1::group<true>"), "check")
    with fg.use_backend("cuda_emu") as backend:
        x, rows, y = (
            backend.asarray(np.ones((4, 6), "float32")),
            backend.on.empty((4,), "f4"),
            backend.on.empty(24, "f4"),
        )
        backend.on.launch_module(module, "group_0::group<true>", (4,), (32,), [rows, x], 0)
        backend.on.launch_module(module, "group_1::group<true>", (1,), (256,), [y, x, np.int64(24)], 0)
    np.testing.assert_array_equal(rows.get(), 12.0)
    np.testing.assert_array_equal(y.get(), 3.0)


def test_joined_kernels_are_machine_code() -> None:
    try:
        nvrtc.version()
    except nvrtc.NvrtcMissingError as error:
        pytest.skip(str(error))
    if reason := why_not():
        pytest.skip(reason)
    first, _, second, _ = _generated()
    texts = {**headers(), "groups.cu": joined([first.text, second.text])}
    names = ["group_0::group<true>", "group_1::group<false>"]
    cubin = nvrtc.compile_cubin("groups.cu", texts, names, 90)
    assert len({*cubin.lowered.values()}) == 2 and cubin.code.startswith(b"\x7fELF")
