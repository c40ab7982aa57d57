"""Products of matrices by OpenBLAS, from compiled programs.

The package `scipy-openblas32` holds OpenBLAS as a shared library; where it is missing, the copy within NumPy's wheel is
taken. The own copy is preferred: it is newer, knows more processors, and its number of threads is nobody else's business.

**Threads.** OpenBLAS' own threads watch for work without sleeping, which takes processors from everything else, and one
call has them at a time. So the own copy computes with one thread, and large products are cut along their longer side into
blocks that the threads of `pool.py` multiply, those that work on everything else too. A product inside of a parallel loop
is thereby one thread's work. NumPy's copy is left as it is set, and its products are not cut.

Functions have the signatures of cblas with 32-bit integers, whichever library is behind them.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import machine, pool

__all__ = ["BlasNotFoundError", "Library", "address", "library"]

#: Multiplications a cycle, by which the time of a product is estimated.
RATE = {"sgemm": 24, "dgemm": 12, "sgemv": 8, "dgemv": 4}
#: Cycles that a thread should have, for a product to be cut.
SHARE = 40_000
#: Blocks begin at multiples of it, so that all but the last are whole for OpenBLAS' kernels.
BLOCK = 16

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

#: How a product is cut into blocks: of what it is `%extent`, and where, for the block from `%start` on of `%count` rows,
#: the arguments change. Row-major only; a transposed operand (not 111) goes by columns.
_CUTS = {
    "gemm": (
        """
  %work_mn = mul i64 %m.long, %n.long
  %work = mul i64 %work_mn, %k.long
  %by_rows = icmp sge i32 %m, %n
  %extent = select i1 %by_rows, i32 %m, i32 %n
""",
        """
  %by_rows = icmp sge i32 %m, %n
  %extent = select i1 %by_rows, i32 %m, i32 %n
BLOCK
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
BLOCK
  %a.step = select i1 %by_rows, i64 %lda.long, i64 1
  %m.new = select i1 %by_rows, i32 %count, i32 %m
  %n.new = select i1 %by_rows, i32 %n, i32 %count
""",
        {"m": "m.new", "n": "n.new"},
        {"a": "a.step", "y": "incy.long"},
    ),
}

_BLOCK = """
  %size.long = sext i32 %size to i64
  %start = mul i64 %chunk, %size.long
  %start.short = trunc i64 %start to i32
  %left = sub i32 %extent, %start.short
  %short = icmp slt i32 %left, %size
  %count = select i1 %short, i32 %left, i32 %size
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
        """The function, and the one that works on a block of it if it is cut for these threads."""
        if self.name not in _CUTS or not self.found.own:
            return "\n".join([self.declaration(), self.header(), *self.call({}), "}"])
        outer, inner, renamed, steps = _CUTS[self.name]
        fields = [*self.arguments, ("i32", "size")]
        struct = f"{{ {', '.join(type for type, _ in fields)} }}"
        loads, stores, moves = [], [], []
        for i, (type, field) in enumerate(fields):
            place = f"getelementptr {struct}, ptr %product, i32 0, i32 {i}"
            loads += [f"  %{field}.at = {place}", f"  %{field} = load {type}, ptr %{field}.at"]
            stores += [f"  %{field}.at = {place}", f"  store {type} %{field}, ptr %{field}.at"]
        for pointer, step in steps.items():
            moves.append(f"  %{pointer}.distance = mul i64 %start, %{step}")
            moves.append(f"  %{pointer}.block = getelementptr {self.type}, ptr %{pointer}, i64 %{pointer}.distance")
        blocks = {**renamed, **{pointer: f"{pointer}.block" for pointer in steps}}
        block = f"{self.letter}{self.name}_block"
        return "\n".join([
            self.declaration(),
            f"define internal void @{block}(ptr %product, i64 %chunk) {{",
            *loads, *self.longs(), inner.replace("BLOCK", _BLOCK), *moves, *self.call(blocks), "}",
            self.header(),
            "entry:",
            f"  %product = alloca {struct}", *self.longs(), outer,
            f"  %cycles = sdiv i64 %work, {RATE[self.letter + self.name]}",
            f"  %shares = sdiv i64 %cycles, {SHARE}",
            f"  %fewer = icmp slt i64 %shares, {threads}",
            f"  %pieces = select i1 %fewer, i64 %shares, i64 {threads}",
            "  %several = icmp sgt i64 %pieces, 1",
            "  %row_major = icmp eq i32 %order, 101",
            "  %cut = and i1 %several, %row_major",
            "  br i1 %cut, label %shared, label %alone",
            "alone:", *self.call({}),
            "shared:",
            "  %pieces.short = trunc i64 %pieces to i32",
            # Both quotients are rounded up, and the first to a multiple of BLOCK.
            "  %pieces.less = sub i32 %pieces.short, 1",
            "  %extent.more = add i32 %extent, %pieces.less",
            "  %piece = sdiv i32 %extent.more, %pieces.short",
            f"  %piece.more = add i32 %piece, {BLOCK - 1}",
            f"  %size = and i32 %piece.more, -{BLOCK}",
            "  %size.less = sub i32 %size, 1",
            "  %covered = add i32 %extent, %size.less",
            "  %chunks.short = sdiv i32 %covered, %size",
            "  %chunks = zext i32 %chunks.short to i64",
            *stores,
            f"  call void @parallel_for(ptr @{block}, ptr %product, i64 %chunks, i64 %cycles)",
            "  ret void", "}",
        ])  # fmt: skip


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
