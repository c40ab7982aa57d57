"""What the back end asks of a device: memory, launches, products of matrices, and a library for the rest.

There are two: a GPU through CuPy (:mod:`.gpu`), and the emulation on the CPU (package ``funcgrad_cuda_emu``). All that
is above this interface, generated kernels, launches and programs, is the same for both. Arrays have ``shape``, ``dtype``,
``size`` and ``ndim``; those that reach a kernel are contiguous.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["Device"]


class Device(ABC):
    """A place where kernels run."""

    #: The class of the device's arrays.
    array_type: type
    #: From the name of a primitive to a function of the device's arrays, for what has no kernel here: linear algebra,
    #: Fourier transforms, special functions, complex numbers.
    library: Mapping[str, Callable[..., Any]]

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
    def matmul(self, x: Any, y: Any) -> Any:
        """The product of (m, k) and (k, n), or of stacks (b, m, k) and (b, k, n), of one floating-point dtype."""

    @abstractmethod
    def mark(self) -> Any:
        """A mark behind what was launched so far."""

    @abstractmethod
    def moments(self, marks: Sequence[Any]) -> list[int]:
        """When the device passed each mark, in ns; waits for the last."""

    @abstractmethod
    def synchronise(self) -> None:
        """Wait until all that was launched is done."""
