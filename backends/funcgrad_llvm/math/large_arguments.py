"""sin, cos and tan of large arguments: 2/pi to as many bits as it takes (M. H. Payne and R. N. Hanek, "Radian reduction
for trigonometric functions", ACM SIGNUM Newsletter 18 (1983) 19-24).

x = M 2^e with an integer M < 2^53. Of y = 2 x / pi only y modulo 4 is needed. Bits of 2/pi with weights of 4 2^-e and
more contribute multiples of 4; of the next 192, M W modulo 2^192 is y / 4 modulo 1 in fixed point, with an error of
M 2^-192 < 2^-139, while no float64 is closer to a multiple of pi/2 than 2^-61. Its highest two bits, rounded, are the
quadrant, and the rest is the distance from it.

Such arguments are rare, and this takes integers of 192 bits, so that it should not be computed in every loop just to be
thrown away. Hence the one branch of this package: the scalar functions here have vector versions, of which LLVM's
vectoriser is told by the attribute "vector-function-abi-variant", and which return at once if no lane is large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .ir import FLOAT32, FLOAT64, Block, Format, Value, absolute, bits, from_bits, narrow, select, widen
from .trigonometric import LARGE, WIDTHS, large_name, rotated_sine, rotated_tangent

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


def _reduced(x: Value) -> tuple[Value, Value]:
    """k and r with |x| = k pi/2 + r, for finite float64 x of at least 2^10."""
    block, f = x.block, FLOAT64
    i = bits(absolute(x))
    mantissa = i & ((1 << f.mantissa) - 1) | (1 << f.mantissa)
    position = (i >> f.mantissa) - (f.bias + f.mantissa + 2 - 64)
    index = position >> 6
    shift = position & 63
    words = []
    for j in range(4):
        at = index + j
        p = block.emit("ptr", f"getelementptr inbounds [{_WORDS} x i64], ptr @fg_two_over_pi, i64 0, i64 {at.text}")
        words.append(block.emit("i64", f"load i64, ptr {p.text}"))
    window = None
    for high, low in zip(words, words[1:]):
        word = block.emit("i64", f"call i64 @llvm.fshl.i64(i64 {high.text}, i64 {low.text}, i64 {shift.text})")
        wide = block.emit("i192", f"zext i64 {word.text} to i192")
        window = wide if window is None else (window << 64) | wide
    product = window * block.emit("i192", f"zext i64 {mantissa.text} to i192")
    quadrant = (product + (1 << 189)) >> 190
    distance = product << 2
    negative = distance < 0
    size = select(negative, -distance, distance)
    zeros = block.emit("i192", f"call i192 @llvm.ctlz.i192(i192 {size.text}, i1 false)")
    leading = (size << zeros) >> 139
    whole = block.emit("i64", f"trunc i192 {leading.text} to i64")
    fraction = block.emit("double", f"uitofp i64 {whole.text} to double")
    exponent = block.emit("i64", f"trunc i192 {zeros.text} to i64")
    scale = from_bits((f.bias - 53 - exponent) << f.mantissa)
    r = fraction * scale * (math.pi / 2)
    return block.emit("i64", f"trunc i192 {quadrant.text} to i64"), select(negative, -r, r)


def _sin(x: Value) -> Value:
    y = rotated_sine(*_reduced(x))
    return select(x < 0, -y, y)


def _cos(x: Value) -> Value:
    k, r = _reduced(x)
    return rotated_sine(k + 1, r)


def _tan(x: Value) -> Value:
    y = rotated_tangent(*_reduced(x))
    return select(x < 0, -y, y)


_FUNCTIONS = {"sin": _sin, "cos": _cos, "tan": _tan}


def _scalar(name: str, form: Format) -> str:
    """The function of one number; that of single precision calls the other. It is called for other numbers too, in the
    last iterations of a vectorised loop, and returns at once then."""
    block = Block()
    x = Value(block, form.type, "%x")
    large = absolute(x) > LARGE[32]
    block.lines += [f"  br i1 {large.text}, label %large, label %done", "large:"]
    if form is FLOAT32:
        y = narrow(block.emit("double", f"call double @{large_name(name, FLOAT64)}(double {widen(x).text})"))
    else:
        # The table ends before the exponent of infinity and NaN.
        finite = absolute(x) < math.inf
        y = select(finite, _FUNCTIONS[name](select(finite, x, 1024.0)), math.nan)
    t = form.type
    block.lines += [
        "  br label %done",
        "done:",
        f"  %y = phi {t} [ %x, %entry ], [ {y.text}, %large ]",
        f"  ret {t} %y",
        "}",
    ]
    header = f"define internal {t} @{large_name(name, form)}({t} %x) noinline nounwind willreturn memory(none) {{"
    return "\n".join([header, "entry:", *block.lines])


def _vector(name: str, form: Format, width: int) -> str:
    """The version of `width` lanes: nothing if no lane is large, else the scalar function for each that is."""
    scalar = large_name(name, form)
    vector, mask = f"<{width} x {form.type}>", f"<{width} x i1>"
    bound = Value(Block(), form.type, "").constant(LARGE[form.bits]).text
    return f"""\
define internal {vector} @{scalar}_{width}({vector} %x) noinline nounwind willreturn memory(none) {{
entry:
  %a = call {vector} @llvm.fabs.v{width}{form.name}({vector} %x)
  %large = fcmp ogt {vector} %a, splat ({form.type} {bound})
  %any = call i1 @llvm.vector.reduce.or.v{width}i1({mask} %large)
  br i1 %any, label %lanes, label %done, !prof !0

lanes:
  %i = phi i32 [ 0, %entry ], [ %next, %join ]
  %y = phi {vector} [ %x, %entry ], [ %merged, %join ]
  %chosen = extractelement {mask} %large, i32 %i
  br i1 %chosen, label %compute, label %join

compute:
  %lane = extractelement {vector} %x, i32 %i
  %value = call {form.type} @{scalar}({form.type} %lane)
  %inserted = insertelement {vector} %y, {form.type} %value, i32 %i
  br label %join

join:
  %merged = phi {vector} [ %y, %lanes ], [ %inserted, %compute ]
  %next = add i32 %i, 1
  %last = icmp eq i32 %next, {width}
  br i1 %last, label %done, label %lanes

done:
  %result = phi {vector} [ %x, %entry ], [ %merged, %join ]
  ret {vector} %result
}}"""


def called_by(texts: Sequence[str]) -> list[str]:
    """The definitions of the functions of this file that these texts call, with all that those need."""
    whole = "\n".join(texts)
    result, kept = [], []
    for name in _FUNCTIONS:
        single, double = (f"@{large_name(name, f)}(" in whole for f in (FLOAT32, FLOAT64))
        if single or double:
            result.append(_scalar(name, FLOAT64))
        if single:
            result.append(_scalar(name, FLOAT32))
        for form in [FLOAT32] * single + [FLOAT64] * double:
            result += [_vector(name, form, width) for width in WIDTHS]
            kept += [f"ptr @{large_name(name, form)}_{width}" for width in WIDTHS]
    if not result:
        return []
    # The vectoriser looks the vector versions up by name: until then, nothing may remove them as unused.
    used = f'@llvm.compiler.used = appending global [{len(kept)} x ptr] [{", ".join(kept)}], section "llvm.metadata"'
    rarely = '!0 = !{!"branch_weights", i32 1, i32 1000}'
    return [_table(), used, *result, rarely]
