"""What a program asks of the device, written down instead of done: launches over memory that has no address yet.

All shapes of a program are known, and so every kernel's grid and every argument but the addresses. An operation that is
called with a :class:`Recorder` for its device therefore says, once, all that it will ever ask of a device; the program
places the memory (:mod:`.arena`) and repeats the launches (:mod:`.code`). What must see elements, or is the
library's, cannot be written down: it raises :class:`HostRead`, and the program runs that equation itself, between launches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .device import Device, Kernel
from .faults import Explain, faults_argument

__all__ = ["Buffer", "HostRead", "HostStep", "Launch", "Multiply", "Recorder", "Recording", "Struct", "Symbol"]

#: A made-up address has this bit, which no address of a device has; then the buffer's number, then a place in it.
_TAG, _SHIFT = 1 << 62, 40


class HostRead(Exception):
    """An operation needs the elements of an array while it is written down."""


class Buffer:
    """Memory to come: of one value of the program, and of what shares memory with it.

    ``role`` is "temporary" (its place is in the arena), "constant", "board" (where kernels note faults), "input", "result" or
    "host" (what a step on the host returns); ``slot`` and ``start`` are where the planner puts it.
    """

    __slots__ = ("nbytes", "number", "role", "slot", "start")

    def __init__(self, nbytes: int, role: str = "temporary") -> None:
        self.nbytes, self.role = nbytes, role
        self.number, self.slot, self.start = -1, -1, 0


class Symbol:
    """An array to come: a shape and a dtype over a buffer, from the byte ``start`` on."""

    __slots__ = ("buffer", "dtype", "shape", "size", "start")

    def __init__(self, buffer: Buffer, shape: tuple[int, ...], dtype: Any, start: int = 0) -> None:
        self.buffer, self.shape, self.dtype, self.start = buffer, shape, np.dtype(dtype), start
        self.size = prod(shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def whole(self) -> bool:
        """Whether it is all of its buffer."""
        return self.start == 0 and self.nbytes == self.buffer.nbytes


class Struct(NamedTuple):
    """An argument of several fields, and the addresses among them: the byte where each is, and of what."""

    value: np.void
    addresses: tuple[tuple[int, Symbol], ...]


class Launch(NamedTuple):
    """One kernel to run."""

    kernel: Kernel
    grid: tuple[int, ...]
    block: tuple[int, ...]
    args: tuple[Any, ...]
    shared: int

    def symbols(self) -> Iterator[Symbol]:
        """The arrays it reads or writes."""
        for x in self.args:
            if isinstance(x, Symbol):
                yield x
            elif isinstance(x, Struct):
                yield from (symbol for _, symbol in x.addresses)

    def moved(self, f: Callable[[Symbol], Symbol]) -> Launch:
        """The same over other memory."""
        args = [
            f(x) if isinstance(x, Symbol) else Struct(x.value, tuple((at, f(s)) for at, s in x.addresses))
            if isinstance(x, Struct) else x
            for x in self.args
        ]  # fmt: skip
        return self._replace(args=tuple(args))


class Multiply(NamedTuple):
    """One product of the library: ``args`` are x, y, the result and the workspace."""

    prepared: Any
    args: tuple[Symbol, ...]

    def symbols(self) -> Iterator[Symbol]:
        """The arrays it reads or writes."""
        yield from self.args

    def moved(self, f: Callable[[Symbol], Symbol]) -> Multiply:
        """The same over other memory."""
        return self._replace(args=tuple(map(f, self.args)))


class HostStep(NamedTuple):
    """What is run between launches: ``run`` takes arrays of the device, or literals as they are, and returns such arrays.

    ``codes`` are the programs within it, bodies of loops and branches.
    """

    run: Callable[..., Sequence[Any]]
    reads: tuple[Any, ...]
    writes: tuple[Symbol, ...]
    codes: tuple[Any, ...] = ()

    def symbols(self) -> Iterator[Symbol]:
        """The arrays it reads or writes."""
        yield from (x for x in self.reads if isinstance(x, Symbol))
        yield from self.writes

    def moved(self, f: Callable[[Symbol], Symbol]) -> HostStep:
        """The same over other memory."""
        reads = tuple(f(x) if isinstance(x, Symbol) else x for x in self.reads)
        return self._replace(reads=reads, writes=tuple(map(f, self.writes)))


class Recording:
    """Steps in their order. Constants and checks are shared with the recording within which this one is made, if any.

    ``explanations`` says what to raise for each check, ``board`` is its memory (:class:`.faults.Board`): the first, the record.
    """

    def __init__(self, within: Recording | None = None) -> None:
        self.steps: list[Launch | Multiply | HostStep] = []
        self.constants: list[tuple[Symbol, Any]] = within.constants if within else []
        self.known: dict[Any, Symbol] = within.known if within else {}
        self.numbered: list[Buffer] = within.numbered if within else []
        self.explanations: list[Explain] = within.explanations if within else []
        self.board = within.board if within else tuple(Symbol(Buffer(8 * n, "board"), (n,), np.int64) for n in (1, 3))

    def constant(self, x: Any) -> Symbol:
        """An array that the program holds: of NumPy, or of the device."""
        key = (x.tobytes(), x.shape, x.dtype) if isinstance(x, np.ndarray) and x.nbytes <= 1024 else id(x)
        if key not in self.known:
            buffer = Buffer(x.size * x.dtype.itemsize, "constant")
            self.known[key] = symbol = Symbol(buffer, tuple(x.shape), x.dtype)
            self.constants.append((symbol, x))
        return self.known[key]

    def place_in(self, other: Recording, images: Mapping[Buffer, Symbol]) -> None:
        """Repeat the steps in another recording, with the buffers in ``images`` in the place of those; temporaries and
        what steps on the host return are new."""
        new: dict[Buffer, Buffer] = {}

        def moved(x: Symbol) -> Symbol:
            image = images.get(x.buffer)
            if image is not None:
                return Symbol(image.buffer, x.shape, x.dtype, image.start + x.start)
            if x.buffer.role in ("constant", "board"):
                return x
            if x.buffer not in new:
                new[x.buffer] = Buffer(x.buffer.nbytes, x.buffer.role)
            return Symbol(new[x.buffer], x.shape, x.dtype, x.start)

        other.steps += [step.moved(moved) for step in self.steps]


class _Paper(threading.local):
    recording: Recording | None = None


class Recorder(Device):
    """A device that writes down what it is asked for, for programs on another one."""

    array_type = Symbol

    def __init__(self, on: Device) -> None:
        self.on, self.library_products = on, on.library_products
        self.library = {name: self._not_here(name) for name in on.library}
        self._paper = _Paper()

    @contextmanager
    def to(self, recording: Recording) -> Iterator[Recording]:
        """Within this context all is written to ``recording``."""
        before, self._paper.recording = self._paper.recording, recording
        try:
            yield recording
        finally:
            self._paper.recording = before

    @property
    def recording(self) -> Recording:
        """Where it is written to at present."""
        found = self._paper.recording
        assert found is not None
        return found

    def _not_here(self, name: str) -> Callable[..., Any]:
        def run(*args: Any, **params: Any) -> Any:
            raise HostRead(f"{name} is the library's")

        return run

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Symbol:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        return Symbol(Buffer(prod(shape) * np.dtype(dtype).itemsize), shape, dtype)

    def put(self, x: Any) -> Symbol:
        x = np.array(x)
        if x.dtype == np.uint64 and bool((x & np.uint64(_TAG)).any()):
            raise HostRead("a table of addresses")
        return self.recording.constant(x)

    def get(self, x: Any) -> Any:
        raise HostRead("elements are read")

    def pointer(self, x: Symbol) -> int:
        numbered = self.recording.numbered
        if x.buffer.number < 0:
            x.buffer.number = len(numbered)
            numbered.append(x.buffer)
        return _TAG | x.buffer.number << _SHIFT | x.start

    def view(self, x: Symbol, shape: tuple[int, ...], offset: int = 0) -> Symbol:
        return Symbol(x.buffer, tuple(shape), x.dtype, x.start + offset * x.dtype.itemsize)

    def reinterpret(self, x: Symbol, shape: tuple[int, ...], dtype: Any, start: int = 0) -> Symbol:
        return Symbol(x.buffer, tuple(shape), dtype, x.start + start)

    def pinned(self, count: int) -> tuple[Any, Any]:
        raise HostRead("memory is shared with the host")

    @contextmanager
    def checking(self, explain: Explain) -> Iterator[Any]:
        recording = self.recording
        recording.explanations.append(explain)
        yield faults_argument(self, *recording.board, len(recording.explanations))

    def contiguous(self, x: Symbol) -> Symbol:
        return x

    def launch(
        self, family: str, name: str, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared: int = 0
    ) -> None:
        self._write(Kernel(family, None, name), grid, block, args, shared)

    def launch_text(
        self, text: str, name: str, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared: int = 0
    ) -> None:
        self._write(Kernel(None, text, name), grid, block, args, shared)

    def _write(
        self, kernel: Kernel, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared: int
    ) -> None:
        given = tuple(self._struct(x) if isinstance(x, np.void) else x for x in args)
        sizes = tuple(map(int, grid)), tuple(map(int, block))
        self.recording.steps.append(Launch(kernel, *sizes, given, shared))

    def _struct(self, x: np.void) -> Struct:
        """A struct with its made-up addresses found: unsigned integers of 8 bytes with the tag."""
        found = []
        for dtype, at in (field[:2] for field in (x.dtype.fields or {}).values()):
            if dtype.base == np.uint64:
                values = np.frombuffer(x.tobytes(), np.uint64, max(prod(dtype.shape), 1), at)
                for i in np.flatnonzero(values & np.uint64(_TAG)):
                    number, start = divmod(int(values[i]) ^ _TAG, 1 << _SHIFT)
                    buffer = self.recording.numbered[number]
                    found.append((at + 8 * int(i), Symbol(buffer, (buffer.nbytes - start,), np.uint8, start)))
        return Struct(x, tuple(found))

    def prepare(self, product: Any) -> Any:
        return self.on.prepare(product)

    def multiply(self, prepared: Any, x: Symbol, y: Symbol, out: Symbol, workspace: Symbol) -> None:
        self.recording.steps.append(Multiply(prepared, (x, y, out, workspace)))

    def start_product(self, prepared: Any, parameters: int) -> None:
        raise HostRead("a product is started")

    def load(self, kernels: Sequence[Kernel]) -> list[Any]:
        raise HostRead("kernels are loaded")

    def start(self, function: Any, grid: Any, block: Any, shared: int, parameters: int) -> None:
        raise HostRead("a kernel is started")

    def graph(self, calls: Any, parameters: Any) -> Any:
        raise HostRead("kernels are started")

    def mark(self) -> Any:
        raise HostRead("the clock of the device is read")

    def moments(self, marks: Sequence[Any]) -> list[int]:
        raise HostRead("the clock of the device is read")

    def synchronise(self) -> None:
        """Nothing runs."""
