"""The GPU as a device, through CuPy: its memory pool and current stream, machine code from our own calls of NVRTC.

Kernels are launched by the driver's own call with prepared arguments; CuPy's RawModule would compile with other options
(it flushes denormal numbers to zero) and check each argument anew.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from . import kernels, nvrtc
from .cublaslt import CublasLt, Prepared, Product, load
from .cuda import CudaBackend
from .detect import find_cupy
from .device import Call, Device, Kernel
from .graphs import CudaGraph, load_driver
from .group import joined
from .kernels import headers
from .library import library

__all__ = ["CupyDevice", "make_backend"]


def make_backend() -> CudaBackend:
    """The back end on the current GPU. Raises ImportError or BackendError, in one line, where there is none."""
    return CudaBackend("cupy", CupyDevice(find_cupy()))


class CupyDevice(Device):
    """The current GPU of CuPy."""

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy
        self.array_type = cupy.ndarray
        self.library: Mapping[str, Callable[..., Any]] = library(cupy)
        self.arch = int(cupy.cuda.Device().compute_capability)
        self._functions: dict[Kernel, Any] = {}

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Any:
        try:
            return self.cupy.empty(shape, dtype)
        except self.cupy.cuda.memory.OutOfMemoryError as error:
            raise MemoryError(f"the GPU has no memory left for an array of shape {shape}, {dtype}: {error}") from error

    def put(self, x: Any) -> Any:
        return self.cupy.asarray(np.ascontiguousarray(x).reshape(np.shape(x)))

    def get(self, x: Any) -> Any:
        return self.cupy.asnumpy(x)

    def pointer(self, x: Any) -> int:
        return int(x.data.ptr)

    def view(self, x: Any, shape: tuple[int, ...], offset: int = 0) -> Any:
        return self.cupy.ndarray(tuple(shape), x.dtype, memptr=x.data + offset * x.dtype.itemsize)

    def reinterpret(self, x: Any, shape: tuple[int, ...], dtype: Any, start: int = 0) -> Any:
        return self.cupy.ndarray(tuple(shape), dtype, memptr=x.data + start)

    def pinned(self, count: int) -> tuple[Any, Any]:
        # Where addresses are unified, which 64-bit systems are, the GPU has such memory at the host's address.
        cuda, memory = self.cupy.cuda, self.cupy.cuda.alloc_pinned_memory(8 * count)
        seen = np.frombuffer(memory, np.int64, count)
        seen[...] = 0
        owned = cuda.UnownedMemory(memory.ptr, 8 * count, memory, cuda.Device().id)
        return self.cupy.ndarray((count,), np.int64, memptr=cuda.MemoryPointer(owned, 0)), seen

    def contiguous(self, x: Any) -> Any:
        return x if x.flags.c_contiguous else self.cupy.ascontiguousarray(x)

    def launch(
        self, family: str, name: str, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared: int = 0
    ) -> None:
        self._run(self._function(Kernel(family, None, name)), grid, block, args, shared)

    def launch_text(
        self, text: str, name: str, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared: int = 0
    ) -> None:
        self._run(self._function(Kernel(None, text, name)), grid, block, args, shared)

    def _function(self, kernel: Kernel) -> Any:
        """The function of a kernel, loaded from machine code for this GPU."""
        if kernel not in self._functions:
            family, text, name = kernel
            texts = kernels.texts_of(family) if family else {**kernels.headers(), "group.cu": text}
            (self._functions[kernel],) = self._compiled(f"{family or 'group'}.cu", texts, [name])
        return self._functions[kernel]

    def _compiled(self, file: str, texts: Mapping[str, str], names: Sequence[str]) -> list[Any]:
        cubin = nvrtc.compile_cubin(file, texts, names, self.arch)
        module = self.cupy.cuda.function.Module()
        module.load(cubin.code)
        return [module.get_function(cubin.lowered[name]) for name in names]

    def _run(self, function: Any, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared: int) -> None:
        values = [self._argument(x) for x in args]
        pointers = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
        gx, gy, gz = (*map(int, grid), *[1] * (3 - len(grid)))
        bx, by, bz = (*map(int, block), *[1] * (3 - len(block)))
        self.start(function, (gx, gy, gz), (bx, by, bz), shared, ctypes.addressof(pointers))

    def load(self, kernels: Sequence[Kernel]) -> list[Any]:
        # What is generated for one program is compiled at once: most of the time goes into the headers.
        new = [k for k in kernels if k.text is not None and k not in self._functions]
        if len(new) > 1:
            texts = list(dict.fromkeys(k.text for k in new))
            names = [f"group_{texts.index(k.text)}::{k.name}" for k in new]
            together = {**headers(), "groups.cu": joined(texts)}
            self._functions.update(zip(new, self._compiled("groups.cu", together, names), strict=True))
        return list(map(self._function, kernels))

    def start(
        self, function: Any, grid: tuple[int, int, int], block: tuple[int, int, int], shared: int, parameters: int
    ) -> None:
        self._launch_kernel(function.ptr, *grid, *block, shared, self.queue(), parameters, 0)

    def graph(self, calls: Sequence[Call], parameters: Sequence[int]) -> CudaGraph:
        return CudaGraph(load_driver(), calls, parameters, lambda *args: self._products.start(*args))

    def queue(self) -> int:
        return int(self.cupy.cuda.get_current_stream().ptr)

    @property
    def _launch_kernel(self) -> Callable[..., Any]:
        from cupy_backends.cuda.api import driver

        return driver.launchKernel  # type: ignore[no-any-return]

    def _argument(self, x: Any) -> np.ndarray[Any, Any]:
        """The bytes of an argument: an address, or a NumPy scalar as it is."""
        if x is None:
            return np.zeros(1, np.uint64)
        if isinstance(x, self.array_type):
            return np.array([self.pointer(x)], np.uint64)
        return np.array([x])

    @cached_property
    def _products(self) -> CublasLt:
        return CublasLt(load())

    def prepare(self, product: Product) -> Prepared:
        return self._products.prepare(product)

    def start_product(self, prepared: Any, parameters: int) -> None:
        self._products.start(prepared, parameters, self.queue())

    def mark(self) -> Any:
        event = self.cupy.cuda.Event()
        event.record()
        return event

    def moments(self, marks: Sequence[Any]) -> list[int]:
        marks[-1].synchronize()
        return [int(1e6 * self.cupy.cuda.get_elapsed_time(marks[0], mark)) for mark in marks]

    def synchronise(self) -> None:
        self.cupy.cuda.get_current_stream().synchronize()
