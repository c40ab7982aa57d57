"""The text of LLVM functions while they are written: names, blocks, loops, and the types of NumPy's dtypes.

A bool is `i1` in a register and `i8` in memory, as NumPy has it; all other dtypes are the same in both. `lanes` elements
that are worked on together are a vector, one is a scalar.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

__all__ = ["Writer", "literal", "memory_type", "register_type", "splat", "typed"]

_FLOATS = {2: "half", 4: "float", 8: "double"}


def register_type(dtype: np.dtype) -> str:
    """The type of a value of this dtype in a register."""
    if dtype.kind == "f":
        return _FLOATS[dtype.itemsize]
    return "i1" if dtype.kind == "b" else f"i{8 * dtype.itemsize}"


def memory_type(dtype: np.dtype) -> str:
    """The type of an element of this dtype in memory."""
    return "i8" if dtype.kind == "b" else register_type(dtype)


def typed(scalar: str, lanes: int) -> str:
    """A vector of `lanes` of a scalar type; one lane is the scalar type."""
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def splat(scalar: str, constant: str, lanes: int) -> str:
    """A constant in every lane."""
    return constant if lanes == 1 else f"splat ({scalar} {constant})"


def literal(value: object, dtype: np.dtype) -> str:
    """The text of a scalar constant."""
    if dtype.kind == "b":
        return "true" if value else "false"
    if dtype.kind != "f":
        return str(int(value))  # type: ignore[call-overload]
    if dtype.itemsize == 2:
        return f"0xH{int(np.float16(value).view(np.uint16)):04X}"  # type: ignore[arg-type]
    # A float is written with the bits of the double of the same value.
    (bits,) = struct.unpack("<Q", struct.pack("<d", float(value)))  # type: ignore[arg-type]
    return f"0x{bits:016X}"


class Writer:
    """One function. `emit` writes an instruction with a result, `do` one without; `loop` opens a counted loop.

    The body of a function does not name it, so that equal functions have equal text.
    """

    def __init__(self, parameters: Sequence[str], result: str = "void") -> None:
        self.parameters = list(parameters)
        self.result = result
        self.head: list[str] = []
        self.lines: list[str] = []
        self.declarations: set[str] = set()
        self.functions: set[str] = set()
        self.block = "entry"
        self._count = 0

    def fresh(self, prefix: str = "v") -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def emit(self, text: str) -> str:
        name = f"%{self.fresh()}"
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def alloca(self, type: str, count: int = 1) -> str:
        """Memory of the function's own; it becomes registers where that can be."""
        name = f"%{self.fresh('a')}"
        array = f", i32 {count}" if count > 1 else ""
        self.head.append(f"  {name} = alloca {type}{array}, align 64")
        return name

    def intrinsic(self, name: str, result: str, *operands: tuple[str, str]) -> str:
        """A call of a function of LLVM's own, declared on the way."""
        types = ", ".join(t for t, _ in operands)
        self.declarations.add(f"declare {result} @{name}({types})")
        return self.emit(f"call {result} @{name}({', '.join(f'{t} {v}' for t, v in operands)})")

    def call(self, name: str, *operands: tuple[str, str], result: str = "void") -> str:
        """A call of a function of the outside world, declared on the way."""
        types = ", ".join(t for t, _ in operands)
        self.declarations.add(f"declare {result} @{name}({types})")
        text = f"call {result} @{name}({', '.join(f'{t} {v}' for t, v in operands)})"
        if result == "void":
            self.do(text)
            return ""
        return self.emit(text)

    # Blocks -----------------------------------------------------------------------------------------------------------

    def start(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label

    def branch(self, label: str) -> None:
        self.do(f"br label %{label}")

    @contextmanager
    def loop(self, count: int | str, step: int = 1, begin: int | str = 0) -> Iterator[str]:
        """Runs at least once: the index goes from `begin` to below `count`."""
        if isinstance(count, int) and isinstance(begin, int) and begin + step >= count:
            yield str(begin)
            return
        before, body, after = self.block, self.fresh("l"), self.fresh("x")
        self.branch(body)
        self.start(body)
        index = f"%{self.fresh('i')}"
        place = len(self.lines)
        self.lines.append("")
        yield index
        following = self.emit(f"add nuw nsw i64 {index}, {step}")
        again = self.emit(f"icmp slt i64 {following}, {count}")
        self.do(f"br i1 {again}, label %{body}, label %{after}")
        self.lines[place] = f"  {index} = phi i64 [ {begin}, %{before} ], [ {following}, %{self.block} ]"
        self.start(after)

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """What is written within runs where the condition, an `i1`, holds."""
        then, after = self.fresh("t"), self.fresh("x")
        self.do(f"br i1 {condition}, label %{then}, label %{after}")
        self.start(then)
        yield
        self.branch(after)
        self.start(after)

    # Memory -----------------------------------------------------------------------------------------------------------

    def offset(self, pointer: str, dtype: np.dtype, index: str, stride: int = 1) -> str:
        """The address of element `index * stride` behind a pointer."""
        if stride == 0 or index == "0":
            return pointer
        if index.lstrip("-").isdigit():
            return self.emit(f"getelementptr {memory_type(dtype)}, ptr {pointer}, i64 {int(index) * stride}")
        if stride != 1:
            index = self.emit(f"mul nsw i64 {index}, {stride}")
        return self.emit(f"getelementptr {memory_type(dtype)}, ptr {pointer}, i64 {index}")

    def load(self, pointer: str, dtype: np.dtype, lanes: int = 1) -> str:
        type = typed(memory_type(dtype), lanes)
        value = self.emit(f"load {type}, ptr {pointer}, align {dtype.itemsize}")
        return self.emit(f"icmp ne {type} {value}, zeroinitializer") if dtype.kind == "b" else value

    def store(self, value: str, pointer: str, dtype: np.dtype, lanes: int = 1) -> None:
        type = typed(memory_type(dtype), lanes)
        if dtype.kind == "b":
            value = self.emit(f"zext {typed('i1', lanes)} {value} to {type}")
        self.do(f"store {type} {value}, ptr {pointer}, align {dtype.itemsize}")

    def spread(self, value: str, dtype: np.dtype, lanes: int) -> str:
        """A scalar register in every lane."""
        if lanes == 1:
            return value
        scalar, vector = register_type(dtype), typed(register_type(dtype), lanes)
        if not value.startswith("%"):
            return splat(scalar, value, lanes)
        first = self.emit(f"insertelement {vector} poison, {scalar} {value}, i64 0")
        mask = typed("i32", lanes)
        return self.emit(f"shufflevector {vector} {first}, {vector} poison, {mask} zeroinitializer")

    def shuffle(self, a: str, b: str, type: str, lanes: int, mask: Sequence[int]) -> str:
        """Lanes of a and b, numbered through."""
        numbers = ", ".join(f"i32 {i}" for i in mask)
        vector = typed(type, lanes)
        return self.emit(f"shufflevector {vector} {a}, {vector} {b}, <{len(mask)} x i32> <{numbers}>")

    # The end ----------------------------------------------------------------------------------------------------------

    def body(self) -> str:
        """The text between the braces, and what stands before them."""
        return f"({', '.join(self.parameters)})\n" + "\n".join(["entry:", *self.head, *self.lines])
