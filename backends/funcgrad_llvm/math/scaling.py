"""y 2^k, rounded once, also where 2^k itself would overflow or be subnormal.

It takes a dozen instructions, or one that only AVX-512 has. So functions that scale call one of this file, whose text depends
on the processor; the results do not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .ir import FLOAT32, FLOAT64, Format, Value, define, power_of_two

__all__ = ["called_by", "scale_by_power_of_two"]


def scale_by_power_of_two(y: Value, k: Value, integer: Value) -> Value:
    """y 2^k for 1/2 <= |y| <= 2 and an integer k, which is given as a floating-point number and as an integer."""
    name = f"fg_scale_{y.format.name}_{y.block.lanes}"
    arguments = ", ".join(f"{x.type} {x.text}" for x in (y, k, integer))
    return y.block.emit(y.scalar, f"call {y.type} @{name}({arguments})")


def _in_two_steps(y: Value, k: Value, integer: Value) -> Value:
    """The first step is exact."""
    half = ((integer + 4096) >> 1) - 2048
    return y * power_of_two(half) * power_of_two(integer - half)


def _by_instruction(y: Value, k: Value, integer: Value) -> Value:
    """The instruction `vscalef`; -1: of all lanes, 4: rounded as all else."""
    lanes, size = y.block.lanes, y.block.lanes * y.format.bits
    suffix = f"{'ps' if y.format is FLOAT32 else 'pd'}.{size}"
    operands = f"{y.type} {y.text}, {y.type} {k.text}, {y.type} zeroinitializer, i{max(lanes, 8)} -1"
    rounding = ", i32 4" if size == 512 else ""
    return y.block.emit(y.scalar, f"call {y.type} @llvm.x86.avx512.mask.scalef.{suffix}({operands}{rounding})")


def _definition(form: Format, lanes: int, avx512: bool) -> str:
    body = _by_instruction if avx512 and lanes * form.bits in (128, 256, 512) else _in_two_steps
    return define(f"fg_scale_{form.name}_{lanes}", body, [form.type, form.type, form.integer], lanes)


def called_by(texts: Sequence[str], avx512: bool) -> list[str]:
    """The definitions of the functions of this file that these texts call."""
    called = sorted(set(re.findall(r"@fg_scale_(f32|f64)_(\d+)\(", "\n".join(texts))))
    return [_definition(FLOAT32 if form == "f32" else FLOAT64, int(lanes), avx512) for form, lanes in called]
