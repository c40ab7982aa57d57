"""What kernels find wrong with the values they are given, indices out of range: noted where the host sees it, raised later.

A kernel cannot raise, and waiting for it to end would let the GPU run dry. So it notes the first fault on a *board*, in
memory of the host that the GPU writes to (``kernels/faults.cuh``), and goes on, with NaN or all bits set for what it cannot
read. An operation alone waits and looks. A program has a board for each call that is under way, and its faults are raised
when the host next waits for the device (a value is read, :meth:`.cuda.CudaBackend.synchronise`), or looks without waiting: at the
end of the call, and at the beginning of any later one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .kernels import launches

if TYPE_CHECKING:
    from .device import Device

__all__ = ["Board", "Explain", "faults_argument"]

#: From the axis and the index that are noted to what is raised.
Explain = Callable[[int, int], Exception]

_FAULTS = np.dtype([("first", "u8"), ("record", "u8"), ("number", "i8")])


def faults_argument(device: Device, first: Any, record: Any, number: int) -> Any:
    """The struct ``Faults`` of a check, as an argument of its kernels."""
    return np.array((device.pointer(first), device.pointer(record), number), _FAULTS)[()]


class Board:
    """Where launches note the first fault. ``explanations``: of check 1, 2, ..."""

    def __init__(self, device: Device, explanations: Sequence[Explain]) -> None:
        self.device, self.explanations, self.queue = device, explanations, device.queue()
        self.first = launches.fill(device, (1,), np.int64(np.iinfo(np.int64).max))
        self.record, self.seen = device.pinned(3)
        self.spent = False

    def look(self) -> None:
        """Raise what is noted, without waiting for what is still under way; the board is of no use then."""
        number = int(self.seen[0])
        if number:
            self.device.boards.pop(self, None)
            self.spent = True
            self.device.synchronise()
            raise self.explanations[number - 1](*map(int, self.seen[1:]))
