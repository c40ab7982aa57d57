"""Arrays within a native program: views of buffers, and the arena in which the buffers lie.

All shapes are known, so the place of every buffer in the arena is a constant of the program. A buffer is free again when
no view of it is alive; the next one takes its place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .values import Layout

__all__ = ["Arena", "Buffer", "View", "contiguous_strides"]

ALIGNMENT = 64


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of a row-major array."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


@dataclass
class Buffer:
    """Memory at a register's address. `place` and `size` are those in the arena, if it lies there."""

    pointer: str
    place: int | None = None
    size: int = 0
    #: Variables that are views of it; it is given back with the last one.
    users: int = 0


@dataclass(frozen=True)
class View:
    """Elements of a buffer, from `offset` (in elements) on, with strides."""

    buffer: Buffer
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def layout(self) -> Layout:
        return Layout(self.dtype, self.shape, self.strides)

    @property
    def is_contiguous(self) -> bool:
        step = 1
        for n, s in zip(reversed(self.shape), reversed(self.strides)):
            if n != 1 and s != step:
                return False
            step *= n
        return True

    def moved(self, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> View:
        """Other elements of the same buffer; the offset is further on from this one's."""
        return View(self.buffer, self.dtype, tuple(shape), tuple(strides), self.offset + offset)

    def transposed(self, axes: tuple[int, ...]) -> View:
        return self.moved(tuple(self.shape[a] for a in axes), tuple(self.strides[a] for a in axes))

    def reshaped(self, shape: tuple[int, ...]) -> View | None:
        """The same elements in another shape, or None where strides cannot say that."""
        if self.is_contiguous:
            return self.moved(shape, contiguous_strides(shape))
        old = [(n, s) for n, s in zip(self.shape, self.strides) if n != 1]
        strides: list[int] = []
        i = len(old)
        left, step = 1, 0
        for n in reversed(shape):
            if n == 1:
                strides.append(0)
                continue
            if left == 1:
                if i == 0:
                    return None
                i -= 1
                left, step = old[i]
                # Axes that lie one behind the other are one.
                while i and old[i - 1][1] == old[i][1] * old[i][0]:
                    i -= 1
                    left *= old[i][0]
            if left % n:
                return None
            strides.append(step)
            step *= n
            left //= n
        return self.moved(shape, tuple(reversed(strides))) if left == 1 and i == 0 else None


class Arena:
    """Places for buffers: the smallest gap that is large enough, else the end. `size` is the most that was in use."""

    def __init__(self) -> None:
        self.size = 0
        self._gaps: list[tuple[int, int]] = []

    def take(self, size: int) -> tuple[int, int]:
        """The place of a new buffer, and its size."""
        size = max(-(-size // ALIGNMENT) * ALIGNMENT, ALIGNMENT)
        fitting = [g for g in self._gaps if g[1] >= size]
        if fitting:
            gap = min(fitting, key=lambda g: g[1])
            self._gaps.remove(gap)
            if gap[1] > size:
                self._gaps.append((gap[0] + size, gap[1] - size))
            return gap[0], size
        for gap in self._gaps:
            if gap[0] + gap[1] == self.size:
                self._gaps.remove(gap)
                self.size = gap[0] + size
                return gap[0], size
        place, self.size = self.size, self.size + size
        return place, size

    def give_back(self, place: int, size: int) -> None:
        """A buffer is free; gaps beside it become one with it."""
        for gap in list(self._gaps):
            if gap[0] + gap[1] == place:
                self._gaps.remove(gap)
                place, size = gap[0], size + gap[1]
            elif place + size == gap[0]:
                self._gaps.remove(gap)
                size += gap[1]
        self._gaps.append((place, size))
