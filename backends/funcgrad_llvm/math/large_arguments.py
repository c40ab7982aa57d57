"""sin, cos and tan of large arguments: 2/pi to as many bits as it takes (M. H. Payne and R. N. Hanek, "Radian reduction
for trigonometric functions", ACM SIGNUM Newsletter 18 (1983) 19-24).

x = M 2^e with an integer M < 2^53. Of y = 2 x / pi only y modulo 4 is needed. Bits of 2/pi with weights of 4 2^-e and
more contribute multiples of 4; of the next 192, M W modulo 2^192 is y / 4 modulo 1 in fixed point, with an error of
M 2^-192 < 2^-139, while no float64 is closer to a multiple of pi/2 than 2^-61. Its highest two bits, rounded, are the
quadrant, and the rest is the distance from it.

Such arguments are rare, and this takes integers of 192 bits. So these functions work on one number at a time, are not
inlined, and are called only if there is a large argument: the one branch of this package.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

from .ir import (
    FLOAT32,
    FLOAT64,
    Block,
    Format,
    Value,
    absolute,
    bits,
    convert,
    define,
    fma,
    from_bits,
    narrow,
    select,
    widen,
)
from .trigonometric import LARGE, large_name, rotated_sine, rotated_tangent

_WORDS = 21


def _two_over_pi(places: int) -> int:
    """floor(2^places 2 / pi), with pi by Machin's formula: pi / 4 = 4 atan(1/5) - atan(1/239)."""
    one = 1 << (2 * places)

    def atan_of_inverse(n: int) -> int:
        term, total, k = one // n, 0, 0
        while term:
            total += (-term if k % 2 else term) // (2 * k + 1)
            term, k = term // (n * n), k + 1
        return total

    quarter_pi = 4 * atan_of_inverse(5) - atan_of_inverse(239)
    return (one << (places - 1)) // quarter_pi


def _table() -> str:
    """2/pi, after 64 zeros before the point, which smaller exponents reach into; the highest word first."""
    places = 64 * (_WORDS - 1)
    number = _two_over_pi(places)
    words = [number >> (64 * i) & (2**64 - 1) for i in reversed(range(_WORDS))]
    signed = ", ".join(f"i64 {w - 2**64 if w >> 63 else w}" for w in words)
    return f"@fg_two_over_pi = internal unnamed_addr constant [{_WORDS} x i64] [{signed}]"


def _integer(x: Value, scalar: str) -> Value:
    """An unsigned integer of another width."""
    return convert("zext" if int(scalar[1:]) > int(x.scalar[1:]) else "trunc", x, scalar)


def _window(block: Block, position: Value) -> Value:
    """192 bits of the table from a position on."""
    index, shift = position >> 6, position & 63
    words = []
    for j in range(4):
        at = index + j
        pointer = f"getelementptr inbounds [{_WORDS} x i64], ptr @fg_two_over_pi, i64 0, i64 {at.text}"
        words.append(block.emit("i64", f"load i64, ptr {block.emit('ptr', pointer).text}"))
    window = position.constant(0)
    window = _integer(window, "i192")
    for high, low in pairwise(words):
        word = block.emit("i64", f"call i64 @llvm.fshl.i64(i64 {high.text}, i64 {low.text}, i64 {shift.text})")
        window = (window << 64) | _integer(word, "i192")
    return window


def _reduced(x: Value) -> tuple[Value, Value, Value]:
    """k, r and what was rounded away from r, with |x| = k pi/2 + r, for finite float64 x of at least 2^10."""
    block, f = x.block, FLOAT64
    i = bits(absolute(x))
    mantissa = i & ((1 << f.mantissa) - 1) | (1 << f.mantissa)
    window = _window(block, (i >> f.mantissa) - (f.bias + f.mantissa + 2 - 64))
    product = window * _integer(mantissa, "i192")
    quadrant = (product + (1 << 189)) >> 190
    distance = product << 2
    negative = distance < 0
    size = select(negative, -distance, distance)
    zeros = block.emit("i192", f"call i192 @llvm.ctlz.i192(i192 {size.text}, i1 false)")
    aligned = size << zeros
    scale = from_bits((f.bias - 53 - _integer(zeros, "i64")) << f.mantissa)
    part, part_low = (
        convert("uitofp", _integer(aligned >> shift, "i64") & (2**53 - 1), "double") for shift in (139, 86)
    )
    part, part_low = part * scale, part_low * scale * 2.0**-53
    half_pi, half_pi_low = math.pi / 2, 6.123233995736766e-17
    r = part * half_pi
    r_low = fma(part, half_pi, -r) + fma(part, half_pi_low, part_low * half_pi)
    r, r_low = r + r_low, (r - (r + r_low)) + r_low
    return _integer(quadrant, "i64"), select(negative, -r, r), select(negative, -r_low, r_low)


def _sin(x: Value) -> Value:
    k, r, _ = _reduced(x)
    y = rotated_sine(k, r)
    return select(x < 0, -y, y)


def _cos(x: Value) -> Value:
    k, r, _ = _reduced(x)
    return rotated_sine(k + 1, r)


def _tan(x: Value) -> Value:
    y = rotated_tangent(*_reduced(x))
    return select(x < 0, -y, y)


_FUNCTIONS = {"sin": _sin, "cos": _cos, "tan": _tan}


def _one(name: str) -> str:
    """The function of one float64; x itself where it is not large, NaN at infinity."""

    def body(x: Value) -> Value:
        large = absolute(x) > LARGE[32]
        x.block.lines += [f"  br i1 {large.text}, label %large, label %done", "large:"]
        # The table ends before the exponent of infinity and NaN.
        finite = absolute(x) < math.inf
        y = select(finite, _FUNCTIONS[name](select(finite, x, 1024.0)), math.nan)
        x.block.lines += ["  br label %done", "done:"]
        return x.block.emit("double", f"phi double [ %x0, %entry ], [ {y.text}, %large ]")

    return define(_scalar_name(name), body, ["double"], 1, inline=False)


def _scalar_name(name: str) -> str:
    return f"fg_large_{name}"


def _lane_by_lane(name: str, form: Format, lanes: int) -> str:
    """The same for each lane."""

    def body(x: Value) -> Value:
        block, result = x.block, x
        wide = widen(x) if form is FLOAT32 else x
        for i in range(lanes):
            lane = wide if lanes == 1 else block.emit("double", f"extractelement {wide.type} {wide.text}, i32 {i}")
            y = block.emit("double", f"call double @{_scalar_name(name)}(double {lane.text})")
            result = (
                y
                if lanes == 1
                else block.emit(
                    "double",
                    f"insertelement {wide.type} {'poison' if i == 0 else result.text}, double {y.text}, i32 {i}",
                )
            )
        return narrow(result) if form is FLOAT32 else result

    return define(large_name(name, form, lanes), body, [form.type], lanes, inline=False)


def called_by(texts: Sequence[str]) -> list[str]:
    """The definitions of the functions of this file that these texts call, with all that those need."""
    called = sorted(set(re.findall(r"@fg_large_(\w+)_(f32|f64)_(\d+)\(", "\n".join(texts))))
    if not called:
        return []
    forms = {form.name: form for form in (FLOAT32, FLOAT64)}
    vectors = [_lane_by_lane(name, forms[form], int(lanes)) for name, form, lanes in called]
    return [_table(), *(_one(name) for name in sorted({name for name, _, _ in called})), *vectors]
