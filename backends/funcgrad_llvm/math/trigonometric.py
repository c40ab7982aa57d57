"""sin, cos, tan.

    x = k pi/2 + r,    k = round(2 x / pi),    |r| <= pi/4

and sin(x) is, by k modulo 4, sin(r), cos(r), -sin(r) or -cos(r) (W. J. Cody and W. Waite, *Software Manual for the
Elementary Functions*, 1980, ch. 8). pi/2 is written as the sum of numbers p1 + p2 + p3 of the format. x - k p1 is
exact with one fma, since it is a multiple of the last bit of p1, and less than 1. k p2 = w + w' exactly; where x - k p1 - w cancels it is
exact too, and elsewhere its rounding error is small against r.

That holds as long as k is small against 2^mantissa. For larger x, 2/pi is taken to as many bits as are needed (see
`large_arguments.py`), in a function which is called for those only.
"""

from __future__ import annotations

from . import coefficients
from .ir import Format, Value, absolute, bits, equal, fma, from_bits, horner, nearest_integer, select

_TWO_OVER_PI = 0.6366197723675814
#: pi/2 in three parts, each the nearest number of the format to what is left.
_HALF_PI = {
    32: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    64: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33),
}
#: Up to here the three parts do.
LARGE = {32: 2.0**17, 64: 2.0**28}


def _reduced(x: Value) -> tuple[Value, Value, Value]:
    """k and r, and what was rounded away from r."""
    p1, p2, p3 = _HALF_PI[x.format.bits]
    k, integer = nearest_integer(x, _TWO_OVER_PI)
    w = k * p2
    w_low = fma(k, p3, fma(k, p2, -w))
    t = fma(k, -p1, x)
    d = t - w
    r = d - w_low
    return integer, r, ((t - d) - w) + ((d - r) - w_low)


def sine_and_cosine(r: Value) -> tuple[Value, Value]:
    """Of |r| <= pi/4."""
    n = r.format.bits
    z = r * r
    sine = fma(r * z, horner(z, coefficients.SIN[n]), r)
    cosine = fma(z * z, horner(z, coefficients.COS[n]), fma(z, -0.5, 1))
    return sine, cosine


def rotated_sine(k: Value, r: Value) -> Value:
    """sin(k pi/2 + r)."""
    f = r.format
    sine, cosine = sine_and_cosine(r)
    y = select(equal(k & 1, 0), sine, cosine)
    return from_bits(bits(y) ^ ((k << (f.bits - 2)) & f.sign))


def large_name(name: str, form: Format, lanes: int) -> str:
    return f"fg_large_{name}_{form.name}_{lanes}"


def _or_large(x: Value, y: Value, name: str) -> Value:
    """y, but for large x the result of the function for large arguments, which is not called if there are none."""
    f, block = x.format, x.block
    large = absolute(x) > LARGE[f.bits]
    any_large = large.text
    if block.lanes > 1:
        any_large = block.emit(
            "i1", f"call i1 @llvm.vector.reduce.or.{block.overload('i1')}({large.type} {large.text})"
        ).text
    block.lines += [
        f'  br i1 {any_large}, label %rare, label %join, !prof !{{!"branch_weights", i32 1, i32 1000}}',
        "rare:",
    ]
    slow = block.emit(x.scalar, f"call {x.type} @{large_name(name, f, block.lanes)}({x.type} {x.text})")
    chosen = select(large, slow, y)
    block.lines += ["  br label %join", "join:"]
    return block.emit(x.scalar, f"phi {x.type} [ {y.text}, %entry ], [ {chosen.text}, %rare ]")


def sin(x: Value) -> Value:
    k, r, _ = _reduced(x)
    return _or_large(x, select(absolute(x) < x.format.tiny, x, rotated_sine(k, r)), "sin")


def cos(x: Value) -> Value:
    k, r, _ = _reduced(x)
    return _or_large(x, rotated_sine(k + 1, r), "cos")


def rotated_tangent(k: Value, r: Value, r_low: Value) -> Value:
    """tan(k pi/2 + r + r_low): sin / cos for even k, -cos / sin for odd ones."""
    f = r.format
    s, c = sine_and_cosine(r)
    sine, cosine = fma(c, r_low, s), fma(-s, r_low, c)
    even = equal(k & 1, 0)
    y = select(even, sine, cosine) / select(even, cosine, sine)
    return from_bits(bits(y) ^ (k << (f.bits - 1)))


def tan(x: Value) -> Value:
    k, r, r_low = _reduced(x)
    return _or_large(x, select(absolute(x) < x.format.tiny, x, rotated_tangent(k, r, r_low)), "tan")
