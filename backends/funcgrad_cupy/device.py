"""What the back end asks of a device: memory, launches, products of matrices, and a library for the rest.

There are two: a GPU through CuPy (:mod:`.gpu`), and the emulation on the CPU (package ``funcgrad_cuda_emu``). All that
is above this interface, generated kernels, launches and programs, is the same for both. Arrays have ``shape``, ``dtype``,
``size`` and ``ndim``; those that reach a kernel are contiguous.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from math import gcd
from typing import Any, NamedTuple, Protocol

import numpy as np

from .cublaslt import Product, product_of
from .faults import Board, Explain, faults_argument
from .kernels import launches

__all__ = ["Call", "Device", "Graph", "Kernel"]


class Kernel(NamedTuple):
    """A kernel by its name, template arguments included: of the file ``family``.cu, or of a generated text."""

    family: str | None
    text: str | None
    name: str


class Call(NamedTuple):
    """A launch, or a product of the library (``grid`` is None); its arguments are ``place`` and following of a table."""

    function: Any
    grid: tuple[int, int, int] | None
    block: tuple[int, int, int] | None
    shared: int
    place: int


class Graph(Protocol):
    """Calls with arguments of their own, launched as one."""

    def update(self, i: int, parameters: int) -> None:
        """From the next launch on call ``i`` has the arguments that are at ``parameters`` now."""

    def launch(self, queue: int) -> None:
        """Run all calls, in their order."""


class Device(ABC):
    """A place where kernels run."""

    #: The class of the device's arrays.
    array_type: type
    #: From the name of a primitive to a function of the device's arrays, for what has no kernel here: linear algebra,
    #: Fourier transforms, special functions, complex numbers.
    library: Mapping[str, Callable[..., Any]]
    #: Whether products of matrices are the library's (:meth:`prepare`); else they are launches of ``matmul.cu``.
    library_products: bool = True
    #: Whether it watches over what kernels read, so that it is worth telling it what memory holds nothing any more.
    checks: bool = False

    @abstractmethod
    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Any:
        """An array whose elements are not set. Raises MemoryError, in one line, where there is no memory left."""

    @abstractmethod
    def put(self, x: Any) -> Any:
        """A new array of the device with the elements of a NumPy array."""

    @abstractmethod
    def get(self, x: Any) -> Any:
        """A NumPy array with the elements of one of the device; waits until they are computed."""

    @abstractmethod
    def pointer(self, x: Any) -> int:
        """The address of the first element."""

    @abstractmethod
    def view(self, x: Any, shape: tuple[int, ...], offset: int = 0) -> Any:
        """The memory of a contiguous array from the element ``offset`` on, as a contiguous array of another shape."""

    @abstractmethod
    def reinterpret(self, x: Any, shape: tuple[int, ...], dtype: Any, start: int = 0) -> Any:
        """The memory of a contiguous array from the byte ``start`` on, as a contiguous array of another shape and dtype."""

    @abstractmethod
    def pinned(self, count: int) -> tuple[Any, Any]:
        """Memory of ``count`` int64 zeros that kernels write and the host reads without a copy: an array of the device, and
        one of NumPy."""

    @abstractmethod
    def contiguous(self, x: Any) -> Any:
        """``x``, or a contiguous copy if its elements do not lie one behind the other."""

    @abstractmethod
    def launch(
        self, family: str, name: str, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared: int = 0
    ) -> None:
        """Run the hand-written kernel ``name`` of the file ``family``.cu."""

    @abstractmethod
    def launch_text(
        self, text: str, name: str, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared: int = 0
    ) -> None:
        """Run the kernel ``name`` of a generated text, which is compiled once."""

    @abstractmethod
    def load(self, kernels: Sequence[Kernel]) -> list[Any]:
        """The functions of kernels, for :meth:`start`."""

    @abstractmethod
    def start(
        self, function: Any, grid: tuple[int, int, int], block: tuple[int, int, int], shared: int, parameters: int
    ) -> None:
        """Launch a function; at ``parameters`` is the table of the addresses of its arguments' bytes."""

    @abstractmethod
    def graph(self, calls: Sequence[Call], parameters: Sequence[int]) -> Graph:
        """Calls that follow each other as one thing to launch, with the arguments that are at ``parameters`` now."""

    def begin(self, call: Call, parameters: int) -> None:
        """Start a launch or a product."""
        if call.grid is None or call.block is None:
            self.start_product(call.function, parameters)
        else:
            self.start(call.function, call.grid, call.block, call.shared, parameters)

    def verify(self, function: Any, args: Sequence[Any]) -> None:  # noqa: B027
        """Raise where the arguments of a prepared launch do not fit the kernel's parameters; a GPU cannot know."""

    def forget(self, x: Any) -> None:  # noqa: B027
        """The elements of ``x`` are of no use any more; an emulation takes them as not set."""

    def queue(self) -> int:
        """What orders the launches of this thread at present, a stream; memory is used again on the same one only."""
        return 0

    def matmul(self, x: Any, y: Any, x_transposed: bool = False, y_transposed: bool = False) -> Any:
        """The product of (m, k) and (k, n), or of stacks (b, m, k) and (b, k, n), of one floating-point dtype.

        A transposed operand is given as it is stored, (k, m) or (n, k).
        """
        if not self.library_products:
            return launches.matmul(self, x, y, x_transposed, y_transposed)
        product = product_of(x, y, x_transposed, y_transposed, gcd(16, self.pointer(x), self.pointer(y)))
        shape = (*x.shape[:-2], product.m, product.n)
        if not product.k:
            return launches.fill(self, shape, np.zeros((), x.dtype)[()])
        out = self.empty(shape, x.dtype)
        if out.size:
            prepared = self.prepare(product)
            self.multiply(prepared, x, y, out, self.empty((prepared.workspace,), np.uint8))
        return out

    def prepare(self, product: Product) -> Any:
        """What the library needs to know of a product before it starts, with the bytes that it works in, ``workspace``."""
        raise TypeError("this device's products are launches")

    def multiply(self, prepared: Any, x: Any, y: Any, out: Any, workspace: Any) -> None:
        """The library's product of ``x`` and ``y`` into ``out``."""
        words = np.array([self.pointer(a) for a in (x, y, out, workspace)], np.uint64)
        table = words.ctypes.data + 8 * np.arange(4, dtype=np.uint64)
        self.start_product(prepared, table.ctypes.data)

    def start_product(self, prepared: Any, parameters: int) -> None:
        """A prepared product of x, y, the result and the workspace; at ``parameters`` is a table of where their addresses are."""
        raise TypeError("this device's products are launches")

    @contextmanager
    def checking(self, explain: Explain) -> Iterator[Any]:
        """Within this context launches check values: its value is their argument of type ``Faults``; waits, and raises what
        ``explain`` makes of the first fault."""
        board = Board(self, [explain])
        yield faults_argument(self, board.first, board.record, 1)
        self.synchronise()
        board.look()

    @cached_property
    def boards(self) -> dict[Board, None]:
        """The boards of programs that may be under way."""
        return {}

    def look(self, waited: bool = False) -> None:
        """Raise the faults that programs have met so far; those of the present queue are done if the host has ``waited``."""
        for board in list(self.boards):
            board.look()
            if waited and board.queue == self.queue():
                self.boards.pop(board, None)

    @abstractmethod
    def mark(self) -> Any:
        """A mark behind what was launched so far."""

    @abstractmethod
    def moments(self, marks: Sequence[Any]) -> list[int]:
        """When the device passed each mark, in ns; waits for the last."""

    @abstractmethod
    def synchronise(self) -> None:
        """Wait until all that was launched is done."""
