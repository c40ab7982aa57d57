"""The emulation as a device of the back end, and its arrays as a user holds them."""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Callable, Mapping, Sequence
from math import prod
from time import perf_counter_ns
from typing import Any

import numpy as np

import funcgrad.numpy as fnp
from funcgrad.core.backend import get_backend
from funcgrad_cupy.device import Call, Device, Kernel
from funcgrad_cupy.recording import Struct, Symbol

from .emulator import DeviceArray, EmulatedDevice, KernelError, family_of, module_of

__all__ = ["EmulatedArray", "Emulation"]


class EmulatedArray(DeviceArray):
    """An array in the emulated memory. As CuPy's it has operators, goes to NumPy by ``get()`` only, and is never shown
    to NumPy's functions."""

    __array_ufunc__ = None
    device = "cuda_emu"

    def get(self) -> np.ndarray:
        """The elements as a NumPy array."""
        return self.numpy()

    def item(self) -> Any:
        """The only element, as a Python number. Raises ValueError if there are several."""
        return self.numpy().item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.numpy())

    def __index__(self) -> int:
        return operator.index(self.numpy()[()])

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array of rank 0 has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"EmulatedArray({np.array2string(self.numpy(), separator=', ')}, dtype={self.dtype})"


def _operator(f: Callable[..., Any], reflected: bool = False) -> Callable[..., Any]:
    return (lambda self, other: f(other, self)) if reflected else (lambda self, other: f(self, other))


for _name, _function in {
    "add": fnp.add, "sub": fnp.subtract, "mul": fnp.multiply, "truediv": fnp.divide, "floordiv": fnp.floor_divide,
    "mod": fnp.mod, "pow": fnp.power, "matmul": fnp.matmul, "and": fnp.bitwise_and, "or": fnp.bitwise_or,
    "xor": fnp.bitwise_xor, "lshift": fnp.left_shift, "rshift": fnp.right_shift,
}.items():  # fmt: skip
    setattr(EmulatedArray, f"__{_name}__", _operator(_function))
    setattr(EmulatedArray, f"__r{_name}__", _operator(_function, reflected=True))
for _name, _function in {
    "lt": fnp.less, "le": fnp.less_equal, "gt": fnp.greater, "ge": fnp.greater_equal, "eq": fnp.equal, "ne": fnp.not_equal,
}.items():  # fmt: skip
    setattr(EmulatedArray, f"__{_name}__", _operator(_function))
EmulatedArray.__neg__ = lambda self: fnp.negative(self)  # type: ignore[attr-defined]
EmulatedArray.__abs__ = lambda self: fnp.abs(self)  # type: ignore[attr-defined]
EmulatedArray.__hash__ = None  # type: ignore[assignment]


class EmulatedGraph:
    """Calls with copies of their arguments, as the nodes of a CUDA graph have them."""

    def __init__(self, device: Emulation, calls: Sequence[Call], parameters: Sequence[int]) -> None:
        self.device, self.calls = device, calls
        self.copies = [self._copy(call, place) for call, place in zip(calls, parameters, strict=True)]

    def _copy(self, call: Call, parameters: int) -> tuple[Any, list[Any]]:
        sizes = [8] * 4 if call.grid is None else [p.size for p in call.function[0].entry(call.function[1])[1]]
        places = (ctypes.c_void_p * len(sizes)).from_address(parameters)
        values = [ctypes.create_string_buffer(ctypes.string_at(at, n), n) for at, n in zip(places, sizes, strict=True)]
        return (ctypes.c_void_p * len(sizes))(*map(ctypes.addressof, values)), values

    def update(self, i: int, parameters: int) -> None:
        self.copies[i] = self._copy(self.calls[i], parameters)

    def launch(self, queue: int) -> None:
        for call, (table, _) in zip(self.calls, self.copies, strict=True):
            self.device.begin(call, ctypes.addressof(table))


class Emulation(EmulatedDevice, Device):
    """The device that a back end runs on; its library is the NumPy back end's, on copies in host memory."""

    array_type = EmulatedArray
    library_products = False

    @property
    def checks(self) -> bool:  # type: ignore[override]
        return self.mode == "check"

    def reinterpret(self, x: Any, shape: tuple[int, ...], dtype: Any, start: int = 0) -> Any:
        dtype, count = np.dtype(dtype), prod(shape)
        return x.cast(np.uint8).part((count * dtype.itemsize,), start).cast(dtype).part(tuple(shape))

    def pinned(self, count: int) -> tuple[Any, Any]:
        array = self.put(np.zeros(count, np.int64))
        return array, array.view()

    def load(self, kernels: Sequence[Kernel]) -> list[Any]:
        return [
            (module_of(k.text, (k.name,), self.mode) if k.text else family_of(k.family, k.name, self.mode), k.name)
            for k in kernels
        ]

    def verify(self, function: Any, args: Sequence[Any]) -> None:
        module, name = function
        _, signature = module.entry(name)
        if len(args) != len(signature):
            raise KernelError(f"{name} takes {len(signature)} arguments, not {len(args)}")
        for i, (parameter, x) in enumerate(zip(signature, args)):
            if isinstance(x, Symbol) or x is None:
                x = DeviceArray((0,), x.dtype, f"argument {i}") if x is not None else None
            self._argument(name, i, parameter, x.value if isinstance(x, Struct) else x)

    def start(
        self, function: Any, grid: tuple[int, int, int], block: tuple[int, int, int], shared: int, parameters: int
    ) -> None:
        module, name = function
        self._start(module, module.entry(name)[0], grid, block, ctypes.c_void_p(parameters), shared)

    def graph(self, calls: Sequence[Call], parameters: Sequence[int]) -> EmulatedGraph:
        return EmulatedGraph(self, calls, parameters)

    def forget(self, x: Any) -> None:
        x.forget()

    @property
    def library(self) -> Mapping[str, Callable[..., Any]]:  # type: ignore[override]
        return {name: self._hosted(f) for name, f in get_backend("numpy").ops.items()}

    def _hosted(self, f: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **params: Any) -> Any:
            with np.errstate(all="ignore"):
                found = f(*(self.get(x) if isinstance(x, EmulatedArray) else x for x in args), **params)
            if isinstance(found, (list, tuple)):
                return [self.put(y) for y in found]
            return found if isinstance(found, (bool, int, float, complex)) and params.get("weak") else self.put(found)

        return run

    def contiguous(self, x: Any) -> Any:
        return x

    def mark(self) -> int:
        return perf_counter_ns()

    def moments(self, marks: Sequence[int]) -> list[int]:
        return list(marks)

    def synchronise(self) -> None:
        """Launches have ended when they return."""
