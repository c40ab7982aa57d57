"""The elementary functions of the LLVM back end, measured over every float32: what `docs/accuracy.md` says.

    python tests/elementary.py            # all functions of one operand, a minute each
    python tests/elementary.py sin exp

The reference is NumPy's or SciPy's float64 function of the same number.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import llvmlite.binding as llvm
import numpy as np

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "backends")]

from funcgrad_llvm import machine
from funcgrad_llvm.math import FUNCTIONS, definitions, symbol

BINARY = frozenset({"atan2", "pow"})
UNARY = sorted(set(FUNCTIONS) - BINARY)
LANES = {"float32": 16, "float64": 8}
_TYPES = {"float32": "float", "float64": "double"}
_NUMPY_NAMES = {
    "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan", "atanh": "arctanh",
    "atan2": "arctan2", "pow": "power",
}  # fmt: skip
#: So many numbers at a time stay in the cache of a core.
_CHUNK = 2**15


class Loop:
    """A compiled loop over arrays; `lanes = 1` is the scalar function."""

    def __init__(self, name: str, dtype: str, lanes: int | None = None, avx512: bool | None = None) -> None:
        self.dtype, self.lanes = np.dtype(dtype), lanes or LANES[dtype]
        self.operands = 2 if name in BINARY else 1
        function, scalar = symbol(name, dtype, self.lanes), _TYPES[dtype]
        assert function is not None
        vector = scalar if self.lanes == 1 else f"<{self.lanes} x {scalar}>"
        size = self.dtype.itemsize
        loads = [
            f"  %a{i} = getelementptr {scalar}, ptr %in{i}, i64 %i\n  %x{i} = load {vector}, ptr %a{i}, align {size}"
            for i in range(self.operands)
        ]
        text = "\n".join([
            definitions([function], machine.vector_bytes() == 64 if avx512 is None else avx512),
            f"define void @loop(ptr %out, i64 %n, {', '.join(f'ptr %in{i}' for i in range(self.operands))}) {{",
            "entry:", "  br label %body", "body:", "  %i = phi i64 [ 0, %entry ], [ %next, %body ]", *loads,
            f"  %y = call {vector} @{function}({', '.join(f'{vector} %x{i}' for i in range(self.operands))})",
            f"  %o = getelementptr {scalar}, ptr %out, i64 %i", f"  store {vector} %y, ptr %o, align {size}",
            f"  %next = add i64 %i, {self.lanes}", "  %more = icmp slt i64 %next, %n",
            "  br i1 %more, label %body, label %end", "end:", "  ret void", "}",
        ])  # fmt: skip
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        module = llvm.parse_assembly(text)
        module.verify()
        target = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), opt=2, reloc="pic", codemodel="jitdefault", jit=True
        )
        builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=2))
        builder.getModulePassManager().run(module, builder)
        self.assembly = target.emit_assembly(module)
        self.engine = llvm.create_mcjit_compiler(module, target)
        self.engine.finalize_object()
        pointers = [ctypes.c_void_p] * self.operands
        signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, *pointers)
        self.call = signature(self.engine.get_function_address("loop"))

    def __call__(self, *xs: np.ndarray) -> np.ndarray:
        n = np.size(xs[0])
        # What is not a multiple of the number of lanes is filled up.
        padded = [np.resize(np.asarray(x, self.dtype), -(-n // self.lanes) * self.lanes) for x in xs]
        out = np.empty_like(padded[0])
        self.call(out.ctypes.data, out.size, *(x.ctypes.data for x in padded))
        return out[:n]


def oracle(name: str) -> Callable[..., np.ndarray]:
    """NumPy's or SciPy's function."""
    if name == "rsqrt":
        return lambda x: 1 / np.sqrt(x)
    if name in ("erf", "erfc", "logistic"):
        from scipy import special

        return getattr(special, {"logistic": "expit"}.get(name, name))
    return getattr(np, _NUMPY_NAMES.get(name, name))


def errors_in_ulp(y: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Distance of float32 results from float64 ones, in units of the last place of float32.

    It is 0 where both are NaN or the same infinity, and infinite where only one is, or where the signs differ.
    """
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        # Overflow begins half an ulp above the largest number: nearby, either is right to within an ulp.
        got = y.astype(np.float64)
        if np.isinf(rounded).any() or np.isinf(got).any():
            got = np.clip(got, -(2.0**128), 2.0**128)
            exact = np.clip(exact, -(2.0**128), 2.0**128)
        exponent = (rounded.view(np.uint32) & 0x7F800000).view(np.float32)
        ulp = np.clip(exponent, np.float32(2.0**-126), np.float32(2.0**127)) * np.float32(2.0**-23)
        distance = np.abs(got - exact) / ulp
        distance[(y.view(np.int32) ^ rounded.view(np.int32)) < 0] = np.inf
        nan = np.isnan(distance) | np.isnan(exact) | np.isnan(y)
        if nan.any():
            distance[nan] = np.where(np.isnan(exact[nan]) & np.isnan(y[nan]), 0, np.inf)
        return distance


class Worst(NamedTuple):
    """The largest error of a function, in ulp, and where: 0.5, and nowhere, if all results are the nearest float32.
    How many are not, and how many results there are that are numbers."""

    error: float
    argument: float | None
    inexact: int
    numbers: int


def worst_error(name: str, patterns: range = range(2**32)) -> Worst:
    """Of the float32 function, over the numbers with these bits."""
    loop, reference = Loop(name, "float32"), oracle(name)
    error, argument, inexact, numbers = 0.5, None, 0, 0
    for start in range(0, len(patterns), _CHUNK):
        part = patterns[start : start + _CHUNK]
        x = np.arange(part.start, part.stop, part.step, dtype=np.int64).astype(np.uint32).view(np.float32)
        y = loop(x)
        with np.errstate(all="ignore"):
            exact = reference(x.astype(np.float64))
            nearest = exact.astype(np.float32)
        numbers += int(np.count_nonzero(nearest == nearest))
        # Most results are the nearest float32, with its sign: they need no measuring.
        others = np.flatnonzero(y.view(np.int32) != nearest.view(np.int32))
        if not others.size:
            continue
        errors = errors_in_ulp(y[others], exact[others])
        inexact += int(np.count_nonzero(errors))
        i = int(np.argmax(errors))
        if errors[i] > error:
            error, argument = float(errors[i]), float(x[others[i]])
    return Worst(error, argument, inexact, numbers)


def main(names: Sequence[str]) -> None:
    print("| function | worst error, ulp | at | not the nearest float32 | results that are numbers |", flush=True)
    print("| --- | --- | --- | --- | --- |", flush=True)
    for name in names or UNARY:
        begin = time.perf_counter()
        error, argument, inexact, numbers = worst_error(name)
        where = "nowhere" if argument is None else f"`{np.float32(argument)!s}` (`{argument.hex()}`)"
        print(f"| {name} | {error:.3f} | {where} | {inexact / numbers:.2%} | {numbers} |", flush=True)
        print(f"{name}: {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
