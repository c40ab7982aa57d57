"""Products of matrices by OpenBLAS, from compiled programs.

The package `scipy-openblas32` holds OpenBLAS as a shared library; where it is missing, the copy within NumPy's wheel is
taken. The own copy is preferred: it is newer, knows more processors, and its number of threads is nobody else's business.

**Threads.** OpenBLAS' own threads watch for work without sleeping, which takes processors from everything else, and one
call has them at a time. So the own copy computes with one thread, and large products are cut into pieces that the threads
of `pool.py` multiply, those that work on everything else too. A product inside of a parallel loop is thereby one thread's
work. NumPy's copy is left as it is set, and its products are not cut.

**Bits.** The number of threads changes none. Products of matrices are cut where OpenBLAS' kernels cut too, with pieces large
enough for the same kernels (`BLOCK`, `LEAST`): rows, or in float32 the longer of rows and columns; columns of float64 are
rounded otherwise when others go with them. A matrix times a vector is cut the same way for any number of threads.

Functions have the signatures of cblas with 32-bit integers, whichever library is behind them.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import machine, pool

__all__ = ["BlasNotFoundError", "Library", "address", "cycles", "is_cut", "library"]

#: Multiplications a cycle, by which the time of a product is estimated.
RATE = {"sgemm": 24, "dgemm": 12, "sgemv": 8, "dgemv": 4}
#: Multiplications that a piece of a product has at least. To products of matrices of up to 10^6 OpenBLAS gives kernels that
#: round otherwise: no piece may be one of these where the whole is none.
LEAST = {"gemm": 1_000_000, "gemv": 200_000}
#: Pieces begin at multiples of it.
BLOCK = {"s": 16, "d": 12}
#: Pieces of a matrix times a vector, at most.
MOST = 64

_TYPES = {"s": "float", "d": "double"}


class BlasNotFoundError(ImportError):
    """No OpenBLAS was found: install `funcgrad[llvm]`."""


@dataclass(frozen=True)
class Library:
    """A loaded OpenBLAS."""

    path: Path
    prefix: str  #: of the names of its functions
    suffix: str
    integer: str  #: LLVM's type of its integers
    own: bool  #: whether nobody but us uses this copy
    handle: ctypes.CDLL

    def function(self, name: str, result: Any = None) -> Any:
        """The function of this name, such as `cblas_sgemm`."""
        function = getattr(self.handle, f"{self.prefix}{name}{self.suffix}")
        function.restype = result
        return function

    @property
    def core(self) -> str:
        """The processor whose kernels are used, such as `SkylakeX`."""
        return self.function("openblas_get_corename", ctypes.c_char_p)().decode()

    @property
    def configuration(self) -> str:
        """Version and options of the build."""
        return self.function("openblas_get_config", ctypes.c_char_p)().decode()

    @property
    def num_threads(self) -> int:
        """How many threads work on a large product."""
        return pool.num_threads() if self.own else int(self.function("openblas_get_num_threads", ctypes.c_int)())


def _shared_library(folder: Path) -> Path | None:
    """The OpenBLAS in a folder."""
    return next((p for p in sorted(folder.glob("*openblas*")) if {".so", ".dylib", ".dll"} & set(p.suffixes)), None)


def _folder(package: str, name: str) -> Path | None:
    """A folder in or beside an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent / name if spec and spec.origin else None


@functools.cache
def library() -> Library:
    """The OpenBLAS that products are computed with, loaded.

    Raises:
        BlasNotFoundError: if there is none, neither the package's nor NumPy's.
    """
    places = [("scipy_openblas32", "lib", "scipy_", "", "i32", True)]
    for name in ("../numpy.libs", ".dylibs"):
        places += [("numpy", name, "scipy_", "64_", "i64", False), ("numpy", name, "scipy_", "", "i32", False)]
    for package, name, prefix, suffix, integer, own in places:
        folder = _folder(package, name)
        path = _shared_library(folder) if folder is not None else None
        if path is None:
            continue
        found = Library(path, prefix, suffix, integer, own, ctypes.CDLL(str(path)))
        if hasattr(found.handle, f"{prefix}cblas_sgemm{suffix}"):
            if own:
                found.function("openblas_set_num_threads")(ctypes.c_int(1))
            return found
    raise BlasNotFoundError(
        "The LLVM back end found no OpenBLAS: scipy-openblas32 is not installed, and this build of NumPy holds none. "
        'Install it with pip install "funcgrad[llvm]".'
    )


#: The arguments of cblas, in LLVM's types; T is that of a number.
_SIGNATURES = {
    "gemm": "i32 order, i32 ta, i32 tb, i32 m, i32 n, i32 k, T alpha, ptr a, i32 lda, ptr b, i32 ldb, T beta, ptr c, i32 ldc",
    "gemv": "i32 order, i32 ta, i32 m, i32 n, T alpha, ptr a, i32 lda, ptr x, i32 incx, T beta, ptr y, i32 incy",
    "dot": "i32 n, ptr x, i32 incx, ptr y, i32 incy",
}
_ENUMERATIONS = frozenset(["order", "ta", "tb"])

#: How a product is cut: of what it is `%extent`, and where, for the piece from `%start` on of `%count` rows or columns,
#: the arguments change. Row-major only; a transposed operand (not 111) goes by columns.
_CUTS = {
    "gemm": (
        """
  %work_mn = mul i64 %m.long, %n.long
  %work = mul i64 %work_mn, %k.long
  %longer = icmp sge i32 %m, %n
  %by_rows = or i1 %longer, BY_ROWS
  %extent = select i1 %by_rows, i32 %m, i32 %n
""",
        """
  %longer = icmp sge i32 %m, %n
  %by_rows = or i1 %longer, BY_ROWS
  %extent = select i1 %by_rows, i32 %m, i32 %n
PIECE
  %a.plain = icmp eq i32 %ta, 111
  %b.plain = icmp eq i32 %tb, 111
  %a.row = select i1 %a.plain, i64 %lda.long, i64 1
  %b.column = select i1 %b.plain, i64 1, i64 %ldb.long
  %a.step = select i1 %by_rows, i64 %a.row, i64 0
  %b.step = select i1 %by_rows, i64 0, i64 %b.column
  %c.step = select i1 %by_rows, i64 %ldc.long, i64 1
  %m.new = select i1 %by_rows, i32 %count, i32 %m
  %n.new = select i1 %by_rows, i32 %n, i32 %count
""",
        {"m": "m.new", "n": "n.new"},
        {"a": "a.step", "b": "b.step", "c": "c.step"},
    ),
    "gemv": (
        """
  %work = mul i64 %m.long, %n.long
  %by_rows = icmp eq i32 %ta, 111
  %extent = select i1 %by_rows, i32 %m, i32 %n
""",
        """
  %by_rows = icmp eq i32 %ta, 111
  %extent = select i1 %by_rows, i32 %m, i32 %n
PIECE
  %a.step = select i1 %by_rows, i64 %lda.long, i64 1
  %m.new = select i1 %by_rows, i32 %count, i32 %m
  %n.new = select i1 %by_rows, i32 %n, i32 %count
""",
        {"m": "m.new", "n": "n.new"},
        {"a": "a.step", "y": "incy.long"},
    ),
}

#: Where a piece begins and how much it has; the last one has the rest.
_PIECE = """
  %blocks = sdiv i32 %extent, BLOCK
  %blocks.long = sext i32 %blocks to i64
  %next = add i64 %chunk, 1
  %before = mul i64 %chunk, %blocks.long
  %after = mul i64 %next, %blocks.long
  %first = sdiv i64 %before, %pieces
  %second = sdiv i64 %after, %pieces
  %start = mul i64 %first, BLOCK
  %middle = mul i64 %second, BLOCK
  %is_last = icmp eq i64 %next, %pieces
  %extent.long = sext i32 %extent to i64
  %end = select i1 %is_last, i64 %extent.long, i64 %middle
  %count.long = sub i64 %end, %start
  %count = trunc i64 %count.long to i32
"""


class _Function:
    """The text of one function of one type."""

    def __init__(self, letter: str, name: str, found: Library) -> None:
        self.letter, self.name, self.found = letter, name, found
        self.type = _TYPES[letter]
        pairs = [pair.split() for pair in _SIGNATURES[name].split(", ")]
        self.arguments = [(self.type if type == "T" else type, argument) for type, argument in pairs]
        self.result = self.type if name == "dot" else "void"

    @property
    def symbol(self) -> str:
        """What the library's function is called in the text."""
        return f"cblas_{self.letter}{self.name}"

    def _is_wider(self, type: str, argument: str) -> bool:
        return type == "i32" and argument not in _ENUMERATIONS and self.found.integer == "i64"

    def declaration(self) -> str:
        types = ("i64" if self._is_wider(*argument) else argument[0] for argument in self.arguments)
        return f"declare {self.result} @{self.symbol}({', '.join(types)})"

    def call(self, renamed: dict[str, str]) -> list[str]:
        """Call the library with the arguments of these names, or renamed ones; its integers may be wider."""
        lines, operands = [], []
        for type, argument in self.arguments:
            register = f"%{renamed.get(argument, argument)}"
            if self._is_wider(type, argument):
                lines.append(f"  {register}.wide = sext i32 {register} to i64")
                type, register = "i64", f"{register}.wide"
            operands.append(f"{type} {register}")
        keep = "%result = " if self.result != "void" else ""
        lines.append(f"  {keep}call {self.result} @{self.symbol}({', '.join(operands)})")
        lines.append(f"  ret {self.result}{' %result' if keep else ''}")
        return lines

    def longs(self) -> list[str]:
        return [f"  %{a}.long = sext i32 %{a} to i64" for t, a in self.arguments if t == "i32"]

    def header(self) -> str:
        arguments = ", ".join(f"{type} %{argument}" for type, argument in self.arguments)
        return f"define {self.result} @{self.letter}{self.name}({arguments}) {{"

    def text(self, threads: int) -> str:
        """The function, and the one that does a piece of it if it is cut for these threads."""
        if self.name not in _CUTS or not self.found.own:
            return "\n".join([self.declaration(), self.header(), *self.call({}), "}"])
        outer, inner, renamed, steps = _CUTS[self.name]
        block, by_rows = str(BLOCK[self.letter]), "true" if self.letter == "d" else "false"
        outer, inner = (
            x.replace("PIECE", _PIECE).replace("BLOCK", block).replace("BY_ROWS", by_rows) for x in (outer, inner)
        )
        most = threads if self.name == "gemm" else MOST
        fields = [*self.arguments, ("i64", "pieces")]
        struct = f"{{ {', '.join(type for type, _ in fields)} }}"
        loads, stores, moves = [], [], []
        for i, (type, field) in enumerate(fields):
            place = f"getelementptr {struct}, ptr %product, i32 0, i32 {i}"
            loads += [f"  %{field}.at = {place}", f"  %{field} = load {type}, ptr %{field}.at"]
            stores += [f"  %{field}.at = {place}", f"  store {type} %{field}, ptr %{field}.at"]
        for pointer, step in steps.items():
            moves.append(f"  %{pointer}.distance = mul i64 %start, %{step}")
            moves.append(f"  %{pointer}.piece = getelementptr {self.type}, ptr %{pointer}, i64 %{pointer}.distance")
        changed = {**renamed, **{pointer: f"{pointer}.piece" for pointer in steps}}
        piece = f"{self.letter}{self.name}_piece"
        return "\n".join([
            self.declaration(),
            f"define internal void @{piece}(ptr %product, i64 %chunk) {{",
            *loads, *self.longs(), inner, *moves, *self.call(changed), "}",
            self.header(),
            "entry:",
            f"  %product = alloca {struct}", *self.longs(), outer,
            f"  %cycles = sdiv i64 %work, {RATE[self.letter + self.name]}",
            # A piece has so many blocks at least that it has more than LEAST multiplications.
            f"  %blocks = sdiv i32 %extent, {block}",
            "  %blocks.long = sext i32 %blocks to i64",
            "  %extent.long = sext i32 %extent to i64",
            "  %row = sdiv i64 %work, %extent.long",
            f"  %block = mul i64 %row, {block}",
            f"  %needed = sdiv i64 {LEAST[self.name]}, %block",
            "  %enough = add i64 %needed, 1",
            "  %possible = sdiv i64 %blocks.long, %enough",
            f"  %fewer = icmp slt i64 %possible, {most}",
            f"  %pieces = select i1 %fewer, i64 %possible, i64 {most}",
            "  %several = icmp sgt i64 %pieces, 1",
            "  %row_major = icmp eq i32 %order, 101",
            "  %cut = and i1 %several, %row_major",
            "  br i1 %cut, label %shared, label %alone",
            "alone:", *self.call({}),
            "shared:",
            *stores,
            f"  call void @parallel_for(ptr @{piece}, ptr %product, i64 %pieces, i64 %cycles)",
            "  ret void", "}",
        ])  # fmt: skip


def cycles(dtype: np.dtype, m: int, n: int, k: int) -> int:
    """About what the product of an m x k and a k x n matrix takes one thread."""
    return m * n * k // RATE["sgemm" if dtype == np.float32 else "dgemm"]


def is_cut(m: int, n: int, k: int) -> bool:
    """Whether a product may be large enough for several threads."""
    return m * n * k > 2 * LEAST["gemm"]


@functools.cache
def _products(threads: int) -> machine.Library:
    """All functions, with large products cut for so many threads."""
    found = library()
    functions = [_Function(letter, name, found) for letter in _TYPES for name in _SIGNATURES]
    symbols = {f.symbol: ctypes.cast(found.function(f.symbol), ctypes.c_void_p).value or 0 for f in functions}
    text = ["declare void @parallel_for(ptr, ptr, i64, i64)", *(f.text(threads) for f in functions)]
    return machine.Library("\n\n".join(text), {**symbols, "parallel_for": pool.address()})


def address(name: str) -> int:
    """Where a native function is: `sgemm`, `dgemm`, `sgemv`, `dgemv`, `sdot` or `ddot`, with the arguments of cblas and
    32-bit integers.

    Raises:
        BlasNotFoundError: if there is no OpenBLAS.
    """
    return _products(pool.num_threads()).address(name)
