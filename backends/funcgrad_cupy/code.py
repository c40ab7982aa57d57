"""A recording made ready: every launch with its function and the bytes of its arguments, of which only addresses change.

The bytes of all arguments lie in one block, in words of 8 bytes. What is in the arena or a constant has its address from
the beginning; the addresses of inputs, results and what the host's steps return are written in one go, call by call. The
arena, the block of arguments and the table of their addresses are a *frame*, with graphs of the launches
(:mod:`.graphs`): a call takes one that nobody uses and gives it back, so that calls from several threads, and a call within a call, have memory of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from funcgrad.core.config import config

from .arena import place
from .device import Call, Device, Graph
from .faults import Board
from .recording import HostStep, Launch, Multiply, Recording, Struct, Symbol

__all__ = ["Code"]

#: So many launches are worth a graph.
_LEAST = 2


class _Fixups(NamedTuple):
    """Words that hold an address: which, of which call, of which slot, and how many bytes behind its beginning."""

    words: np.ndarray[Any, Any]
    calls: np.ndarray[Any, Any]
    slots: np.ndarray[Any, Any]
    starts: np.ndarray[Any, Any]


def _fixups(found: Sequence[tuple[int, int, int, int]]) -> _Fixups:
    table = np.array(found, np.uint64).reshape(-1, 4)
    return _Fixups(*(table[:, i].astype(np.intp) for i in range(3)), table[:, 3].copy())


class _Segment(NamedTuple):
    """Launches from ``first`` to ``end``, and the host's step behind them, if there is one."""

    first: int
    end: int
    fixups: _Fixups
    host: HostStep | None
    births: list[list[Any]]


class _Frame(NamedTuple):
    queue: int
    arena: Any
    words: np.ndarray[Any, Any]
    addresses: np.ndarray[Any, Any]
    parameters: list[int]
    board: Board | None
    graphs: dict[int, Graph | None]


class Code:
    """The steps of a recording, with ``inputs`` and ``results`` that are arrays given and returned by a call."""

    def __init__(
        self, device: Device, recording: Recording, inputs: Sequence[Symbol], results: Sequence[Symbol]
    ) -> None:
        self.device, self.results = device, results
        self.plan = place(recording.steps)
        #: The texts of the generated kernels, in the order of the launches, those within loops and branches included.
        self.texts: list[str] = []
        self.held = [self._held(x) for _, x in recording.constants]
        slots = 1
        self.explanations = recording.explanations
        for symbol in (*(s for s, _ in recording.constants), *recording.board, *inputs):
            symbol.buffer.slot = slots
            slots += 1
        self.inputs = range(slots - len(inputs), slots)
        self.made = [(s.buffer, s) for s in results if s.buffer.role == "result"]
        returned = [s.buffer for step in recording.steps if isinstance(step, HostStep) for s in step.writes]
        for buffer in (*(b for b, _ in self.made), *returned):
            buffer.slot = slots
            slots += 1
        self.slots = slots
        self._pack(recording.steps)
        self.frames: list[_Frame] = []

    @property
    def temporary(self) -> int:
        """The bytes that a call needs besides its arguments and results."""
        inner = [c.temporary for s in self.segments if s.host is not None for c in s.host.codes]
        return self.plan.size + max(inner, default=0)

    def _held(self, x: Any) -> Any:
        return self.device.contiguous(x) if isinstance(x, self.device.array_type) else self.device.put(x)

    def _pack(self, steps: Sequence[Launch | Multiply | HostStep]) -> None:
        """Write the bytes of all arguments, and remember where addresses are."""
        launches = [step for step in steps if isinstance(step, Launch)]
        kernels = list(dict.fromkeys(step.kernel for step in launches))
        functions = dict(zip(kernels, self.device.load(kernels), strict=True))
        packed = bytearray()
        fixed: list[tuple[int, int, int, int]] = []
        moving: list[tuple[int, int, int, int]] = []
        self.calls: list[Call] = []
        self.places: list[int] = []
        self.segments: list[_Segment] = []
        first, births = 0, []

        def address(at: int, x: Symbol) -> None:
            buffer = x.buffer
            known = buffer.role in ("temporary", "constant", "board")
            (fixed if known else moving).append((at // 8, len(self.calls) - 1, buffer.slot, buffer.start + x.start))

        for step, born in zip(steps, self.plan.births, strict=True):
            births.append(born)
            if isinstance(step, HostStep):
                self.segments.append(_Segment(first, len(self.calls), _fixups(moving), step, births))
                self.texts += [text for code in step.codes for text in code.texts]
                first, births, moving = len(self.calls), [], []
                continue
            if isinstance(step, Multiply):
                self.calls.append(Call(step.prepared, None, None, 0, len(self.places)))
            else:
                function = functions[step.kernel]
                self.device.verify(function, step.args)
                self.calls.append(Call(function, _three(step.grid), _three(step.block), step.shared, len(self.places)))
                self.texts += [step.kernel.text] if step.kernel.text else []
            for x in step.args:
                at = len(packed)
                self.places.append(at)
                if isinstance(x, Symbol):
                    address(at, x)
                elif isinstance(x, Struct):
                    for inside, symbol in x.addresses:
                        address(at + inside, symbol)
                value = x.value if isinstance(x, Struct) else x
                data = bytes(8) if x is None or isinstance(x, Symbol) else value.tobytes()
                packed += data + bytes(-len(data) % 8)
        self.segments.append(_Segment(first, len(self.calls), _fixups(moving), None, births))
        self.packed, self.fixed = np.frombuffer(bytes(packed), np.uint64), _fixups(fixed)

    def _frame(self) -> _Frame:
        """One that nobody uses, of the same queue: what ran before in its arena is done before what comes."""
        queue = self.device.queue()
        for frame in reversed(self.frames):
            if frame.queue == queue:
                try:
                    self.frames.remove(frame)
                except ValueError:  # another thread took it
                    continue
                if frame.board is None or not frame.board.spent:
                    return frame
        board = Board(self.device, self.explanations) if self.explanations else None
        noted = [board.first, board.record] if board else []
        arena, words = self.device.empty((self.plan.size,), np.uint8), self.packed.copy()
        bases = np.array([self.device.pointer(x) for x in (arena, *self.held, *noted)], np.uint64)
        words[self.fixed.words] = bases[self.fixed.slots] + self.fixed.starts
        addresses = np.array(self.places, np.uint64) + np.uint64(words.ctypes.data)
        parameters = [addresses.ctypes.data + 8 * place for *_, place in self.calls]
        return _Frame(queue, arena, words, addresses, parameters, board, {})

    def run(self, args: Sequence[Any]) -> list[Any]:
        """The results, arrays of their own; ``args`` are contiguous arrays of the device."""
        device, frame = self.device, self._frame()
        memory: list[Any] = [None] * self.slots
        memory[0 : 1 + len(self.held)] = frame.arena, *self.held
        memory[self.inputs.start : self.inputs.stop] = args
        for buffer, symbol in self.made:
            memory[buffer.slot] = device.empty(symbol.shape, symbol.dtype)
        bases = np.zeros(self.slots, np.uint64)
        for i, x in enumerate(memory):
            bases[i] = 0 if x is None else device.pointer(x)
        if frame.board is not None:
            device.boards[frame.board] = None
        for number, segment in enumerate(self.segments):
            self._start(number, frame, bases)
            if segment.host is not None:
                if device.checks:
                    self._forget(frame, segment.births[-1])
                self._host(segment.host, memory, bases)
        if frame.board is not None:
            # A step on the host may have waited for the launches until then, and taken it away.
            device.boards[frame.board] = None
            frame.board.look()
        self.frames.append(frame)
        return [memory[s.buffer.slot] for s in self.results]

    def _start(self, number: int, frame: _Frame, bases: np.ndarray[Any, Any]) -> None:
        """The launches of a segment, with the addresses of this call.

        From the second call on a frame has a graph of them, of which the nodes change whose arrays have moved.
        """
        device, segment = self.device, self.segments[number]
        where, calls = segment.fixups, slice(segment.first, segment.end)
        addresses = bases[where.slots] + where.starts
        moved = frame.words[where.words] != addresses
        frame.words[where.words] = addresses
        if config.cuda_graphs and not device.checks and segment.end - segment.first >= _LEAST:
            if number not in frame.graphs:
                frame.graphs[number] = None
            elif (graph := frame.graphs[number]) is None:
                frame.graphs[number] = device.graph(self.calls[calls], frame.parameters[calls])
            else:
                for i in dict.fromkeys(where.calls[moved].tolist()):
                    graph.update(i - segment.first, frame.parameters[i])
            if (graph := frame.graphs[number]) is not None:
                return graph.launch(frame.queue)
        else:
            frame.graphs.pop(number, None)
        for call, parameters, born in zip(self.calls[calls], frame.parameters[calls], segment.births, strict=False):
            if device.checks:
                self._forget(frame, born)
            device.begin(call, parameters)
        return None

    def _forget(self, frame: _Frame, born: Sequence[Any]) -> None:
        for buffer in born:
            self.device.forget(self.device.reinterpret(frame.arena, (buffer.nbytes,), np.uint8, buffer.start))

    def _host(self, step: HostStep, memory: list[Any], bases: np.ndarray[Any, Any]) -> None:
        device = self.device

        def array(x: Any) -> Any:
            if not isinstance(x, Symbol):
                return x
            return device.reinterpret(memory[x.buffer.slot], x.shape, x.dtype, x.buffer.start + x.start)

        given = [array(x) for x in step.reads]
        read = {device.pointer(x) for x in given if isinstance(x, device.array_type) and x.size}
        for symbol, y in zip(step.writes, step.run(*given), strict=True):
            y = device.contiguous(y if isinstance(y, device.array_type) else device.put(np.asarray(y, symbol.dtype)))
            if y.size and device.pointer(y) in read:
                y = device.put(device.get(y))
            memory[symbol.buffer.slot] = y
            bases[symbol.buffer.slot] = device.pointer(y)


def _three(sizes: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = (*sizes, *[1] * (3 - len(sizes)))
    return x, y, z
