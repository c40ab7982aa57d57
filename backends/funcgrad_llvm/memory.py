"""Arrays within a native program: views of buffers, and the arena in which the buffers lie.

All shapes are known, so the place of every buffer in the arena is a constant of the program. It is chosen when all of the
program is written: by then it is known from which line to which each buffer is alive, and those that are never alive
together may lie in one place. Results are memory too, which nobody needs before they are written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from funcgrad.core.types import Aval

from .ir import Writer
from .values import Layout

__all__ = ["Arena", "Buffer", "View", "contiguous_strides"]

#: Where a buffer may begin: as a cache line does, if it is as large as one, else as any number does.
_LINE, _NUMBER = 64, 8


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of a row-major array."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


@dataclass
class Buffer:
    """Memory at a register's address; one of the arena's has a size, and lines from which to which it is alive (-1: not
    yet)."""

    pointer: str
    size: int = 0
    begin: int = 0
    end: int | None = None
    #: Variables that are views of it; it is given back with the last one.
    users: int = 0
    #: The result in whose memory it lies, from its beginning on.
    home: Buffer | None = None

    @property
    def is_lent(self) -> bool:
        """Whether it is the arena's, and alive."""
        return self.size > 0 and self.begin >= 0 and self.end is None


@dataclass(frozen=True)
class View:
    """Elements of a buffer, from `offset` (in elements) on, with strides."""

    buffer: Buffer
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @classmethod
    def plain(cls, buffer: Buffer, aval: Aval) -> View:
        """A whole array, in row-major order."""
        return cls(buffer, aval.dtype, aval.shape, contiguous_strides(aval.shape))

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

    def part(self, imaginary: bool) -> View:
        """The real or the imaginary parts of complex elements."""
        dtype = np.dtype(f"f{self.dtype.itemsize // 2}")
        strides = tuple(2 * s for s in self.strides)
        return View(self.buffer, dtype, self.shape, strides, 2 * self.offset + imaginary)

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
    """The buffers of a function that is being written, and places for all of them once it is.

    ``size`` is how much memory they need besides that of the results.
    """

    def __init__(self, writer: Writer) -> None:
        self.size = 0
        self._writer = writer
        self._buffers: list[Buffer] = []
        self._results: list[tuple[Buffer, int]] = []

    def take(self, size: int) -> Buffer:
        """A new buffer."""
        buffer = self.later(size)
        self.begin(buffer)
        return buffer

    def later(self, size: int) -> Buffer:
        """A buffer that is not alive yet."""
        return Buffer("", max(size, 1), begin=-1)

    def result(self, pointer: str, size: int) -> Buffer:
        """The memory of a result: free for others up to the line in which it is begun."""
        buffer = Buffer(pointer, begin=-1)
        self._results.append((buffer, size))
        return buffer

    def begin(self, buffer: Buffer) -> None:
        """A buffer is written to from here on, for the first time or again."""
        if buffer.begin >= 0:
            return
        buffer.begin = len(self._writer.lines)
        if buffer.size:
            # The line with its address is written by `place`.
            buffer.pointer = f"%{self._writer.fresh()}"
            self._writer.lines.append("")
            self._buffers.append(buffer)

    def give_back(self, buffer: Buffer) -> None:
        """A buffer is needed no more."""
        buffer.end = len(self._writer.lines)

    def moves_in(self, buffer: Buffer, result: Buffer) -> bool:
        """Let a buffer lie in the memory of a result, which begins with it; whether it can."""
        if result.begin >= 0 or not any(result is r and size == buffer.size for r, size in self._results):
            return False
        buffer.home, result.begin = result, buffer.begin
        return True

    def place(self) -> None:
        """Choose a place for every buffer: the large ones first, each as far ahead as those that live at the same time
        allow, in a result if one has room (Pisarchyk and Lee, Efficient memory management for deep neural net inference,
        2020, call it greedy by size)."""
        lines, end = self._writer.lines, len(self._writer.lines)
        regions = [_Region(result.pointer, size) for result, size in self._results]
        for region, (result, size) in zip(regions, self._results):
            if result.begin >= 0:
                region.take(result.begin, end, 0, size)
        regions.append(_Region("%arena", None))
        for buffer in sorted(self._buffers, key=lambda b: (-b.size, b.begin)):
            first, last = buffer.begin, end if buffer.end is None else buffer.end
            where = None if buffer.home is None else (buffer.home.pointer, 0)
            for region in regions if where is None else ():
                place = region.gap(first, last, buffer.size)
                if region.size is None or place + buffer.size <= region.size:
                    region.take(first, last, place, place + buffer.size)
                    self.size = max(self.size, place + buffer.size) if region.size is None else self.size
                    where = region.pointer, place
                    break
            assert where is not None
            lines[first] = f"  {buffer.pointer} = getelementptr i8, ptr {where[0]}, i64 {where[1]}"


class _Region:
    """Memory at an address, of a size (None: as much as is needed), and who is where: from line to line, from byte to byte."""

    def __init__(self, pointer: str, size: int | None) -> None:
        self.pointer, self.size = pointer, size
        self._count, self._taken = 0, np.empty((4, 16), np.int64)

    def take(self, first: int, last: int, begin: int, end: int) -> None:
        if self._count == self._taken.shape[1]:
            self._taken = np.concatenate([self._taken, np.empty_like(self._taken)], axis=1)
        self._taken[:, self._count] = first, last, begin, end
        self._count += 1

    def gap(self, first: int, last: int, size: int) -> int:
        """Where the first gap of a size begins that is free from line to line. A long program has many buffers."""
        firsts, lasts, begins, ends = self._taken[:, : self._count]
        there = np.flatnonzero((firsts < last) & (first < lasts))
        there = there[np.argsort(begins[there])]
        alignment = _LINE if size >= _LINE else _NUMBER
        behind = np.maximum.accumulate(-(-ends[there] // alignment) * alignment)
        places = np.concatenate([[0], behind])
        fits = np.flatnonzero(places[:-1] + size <= begins[there])
        return int(places[fits[0]] if fits.size else places[-1])
