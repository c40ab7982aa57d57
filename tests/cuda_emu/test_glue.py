"""The GPU's device without a GPU: what reaches the driver's launch, with a CuPy that only remembers."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

from funcgrad_cupy.gpu import CupyDevice


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
