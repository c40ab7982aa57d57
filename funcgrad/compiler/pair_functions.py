"""Functions of complex numbers in real ones, with NumPy's results at the edges.

Throughout z = a + ib. Where the textbook formula overflows, cancels or makes NaN of 0 * inf, another one is selected:

- W. Kahan, "Branch cuts for complex elementary functions, or much ado about nothing's sign bit", The State of the Art
  in Numerical Analysis (1987) 165-211: square root, hyperbolic tangent;
- R. L. Smith, "Algorithm 116: complex division", Comm. ACM 5 (1962) 435: division, as NumPy has it;
- ISO C, annex G: the values at infinities.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..core.types import aval_of
from ..primitives import broadcast_in_dim
from ..primitives import convert as convert_
from ..primitives import elementwise as ew

__all__ = ["FUNCTIONS", "Pair", "product"]


class Pair(NamedTuple):
    """The real and the imaginary part of a complex value."""

    re: Any
    im: Any


def product(times: Callable[[Any, Any], Any], z: Pair, w: Pair) -> Pair:
    """What is linear in both operands."""
    return Pair(ew.sub(times(z.re, w.re), times(z.im, w.im)), ew.add(times(z.re, w.im), times(z.im, w.re)))


def _dtype(x: Any) -> np.dtype[Any]:
    return aval_of(x).dtype


def _scaled(z: Pair, factor: Any) -> Pair:
    return Pair(ew.mul(z.re, factor), ew.mul(z.im, factor))


def _where(condition: Any, z: Pair, w: Pair) -> Pair:
    return Pair(_select(condition, z.re, w.re), _select(condition, z.im, w.im))


def _select(condition: Any, x: Any, y: Any) -> Any:
    return ew.select(condition, x, y)


def _is_infinite(x: Any) -> Any:
    return ew.eq(ew.abs_(x), math.inf)


def _is_nan(x: Any) -> Any:
    return ew.ne(x, x)


def _copysign(x: Any, sign: Any) -> Any:
    """|x| with the sign of the other, that of a zero included: 1 / -0 is below 0."""
    size = ew.abs_(x)
    negative = ew.or_(ew.lt(sign, 0.0), ew.lt(ew.div(1.0, sign), 0.0))
    return _select(negative, ew.neg(size), size)


def _times(x: Any, y: Any) -> Any:
    """x y, and a zero where one of them is, whatever the other is."""

    def of_zero(zero: Any, other: Any) -> Any:
        return _select(_is_nan(other), zero, ew.mul(zero, ew.max_(ew.min_(other, 1.0), -1.0)))

    found = _select(ew.eq(y, 0.0), of_zero(y, x), ew.mul(x, y))
    return _select(ew.eq(x, 0.0), of_zero(x, y), found)


# Arithmetic -----------------------------------------------------------------------------------------------------------


def mul(z: Pair, w: Pair) -> Pair:
    return product(ew.mul, z, w)


def div(z: Pair, w: Pair) -> Pair:
    """Smith's: the larger part of the denominator is divided out first."""
    (a, b), (c, d) = z, w
    by_re = ew.ge(ew.abs_(c), ew.abs_(d))
    large, small = _select(by_re, c, d), _select(by_re, d, c)
    ratio = ew.div(small, large)
    scale = ew.div(1.0, ew.add(large, ew.mul(small, ratio)))
    re = _select(by_re, ew.add(a, ew.mul(b, ratio)), ew.add(ew.mul(a, ratio), b))
    im = _select(by_re, ew.sub(b, ew.mul(a, ratio)), ew.sub(ew.mul(b, ratio), a))
    zero = ew.and_(ew.eq(c, 0.0), ew.eq(d, 0.0))
    size = ew.abs_(c)
    return _where(zero, Pair(ew.div(a, size), ew.div(b, size)), _scaled(Pair(re, im), scale))


def integer_pow(z: Pair, y: int) -> Pair:
    """By repeated squaring, in the order of the NumPy back end's."""
    n, square, result = abs(y), z, None
    while n:
        if n & 1:
            result = square if result is None else mul(result, square)
        n >>= 1
        square = mul(square, square) if n else square
    one = Pair(_full(1.0, z.re), _full(0.0, z.re))
    if result is None:
        return one
    return div(one, result) if y < 0 else result


def _full(value: float, like: Any) -> Any:
    aval = aval_of(like)
    return broadcast_in_dim(aval.dtype.type(value), shape=aval.shape, dims=())


def absolute(z: Pair) -> Any:
    """m sqrt(1 + (n / m)^2), m the larger part; inf where one is, even beside NaN."""
    a, b = ew.abs_(z.re), ew.abs_(z.im)
    large, small = ew.max_(a, b), ew.min_(a, b)
    ratio = ew.div(small, large)
    size = ew.mul(large, ew.sqrt(ew.add(1.0, ew.mul(ratio, ratio))))
    size = _select(ew.eq(large, 0.0), large, size)
    return _select(ew.or_(ew.eq(a, math.inf), ew.eq(b, math.inf)), math.inf, size)


def sign(z: Pair) -> Pair:
    """z / |z|; 0 at 0, and the direction of a part that is infinite beside one that is not."""
    size = absolute(z)
    size = _select(ew.eq(size, 0.0), 1.0, size)
    one, zero = _full(1.0, z.re), _full(0.0, z.re)
    found = Pair(ew.div(z.re, size), ew.div(z.im, size))
    along_re = ew.and_(_is_infinite(z.re), ew.not_(_is_infinite(z.im)))
    along_im = ew.and_(_is_infinite(z.im), ew.not_(_is_infinite(z.re)))
    found = _where(along_re, Pair(_copysign(one, z.re), zero), found)
    return _where(along_im, Pair(zero, _copysign(one, z.im)), found)


def sqrt(z: Pair) -> Pair:
    """t = sqrt((|a| + |z|) / 2) and |b| / 2t, on numbers that a power of 4 has brought near 1."""
    limits = np.finfo(_dtype(z.re))
    a, b = ew.abs_(z.re), ew.abs_(z.im)
    largest = ew.max_(a, b)
    # Powers of 4, with exact square roots: 1/16 at the upper end, at the lower one what makes denormals normal.
    up = float(4.0 ** (limits.nmant + 2))
    high, low = ew.gt(largest, float(limits.max) / 16), ew.lt(largest, float(limits.tiny) * up)
    scale = _select(high, _full(1 / 16, a), _select(low, _full(up, a), _full(1.0, a)))
    back = _select(high, _full(4.0, a), _select(low, _full(math.sqrt(1 / up), a), _full(1.0, a)))
    x, y = ew.mul(a, scale), ew.mul(b, scale)
    t = ew.sqrt(ew.add(ew.mul(0.5, x), ew.mul(0.5, absolute(Pair(x, y)))))
    other = ew.mul(ew.div(y, ew.add(t, t)), back)
    t = ew.mul(t, back)
    left = ew.lt(z.re, 0.0)
    found = Pair(_select(left, other, t), _copysign(_select(left, t, other), z.im))
    zero = ew.eq(largest, 0.0)
    found = _where(zero, Pair(_full(0.0, a), z.im), found)
    return _where(ew.eq(b, math.inf), Pair(_full(math.inf, a), z.im), found)


def rsqrt(z: Pair) -> Pair:
    return div(Pair(_full(1.0, z.re), _full(0.0, z.re)), sqrt(z))


# Exponentials and logarithms ------------------------------------------------------------------------------------------


def _polar(grow: Callable[[Any], Any], a: Any, angle: Any) -> Pair:
    """grow(a) (cos + i sin)(angle) for grow(a) = grow(a/2)^2: in two steps, where grow(a) alone would overflow."""
    half = grow(ew.mul(0.5, a))
    cosine, sine = ew.cos(angle), ew.sin(angle)
    size = grow(a)
    infinite = ew.eq(size, math.inf)
    re = _select(infinite, ew.mul(ew.mul(half, cosine), half), ew.mul(size, cosine))
    im = _select(infinite, ew.mul(ew.mul(half, sine), half), ew.mul(size, sine))
    # At an angle that is no number: 0 where the size is 0, and infinity where it is.
    open_ = ew.not_(ew.is_finite(angle))
    re = _select(
        open_, _select(ew.eq(a, -math.inf), 0.0, _select(ew.eq(a, math.inf), math.inf, ew.mul(size, cosine))), re
    )
    im = _select(ew.and_(open_, ew.eq(a, -math.inf)), 0.0, im)
    real = ew.eq(angle, 0.0)
    return Pair(_select(real, size, re), _select(real, angle, im))


def exp(z: Pair) -> Pair:
    return _polar(ew.exp, *z)


def exp2(z: Pair) -> Pair:
    return _polar(ew.exp2, z.re, ew.mul(z.im, math.log(2)))


def expm1(z: Pair) -> Pair:
    """expm1(a) cos b - 2 sin(b/2)^2 + i exp(a) sin b."""
    a, b = z
    half = ew.sin(ew.mul(0.5, b))
    near = ew.sub(ew.mul(ew.expm1(a), ew.cos(b)), ew.mul(2.0, ew.mul(half, half)))
    re, im = exp(z)
    far = ew.sub(re, 1.0)
    return Pair(_select(ew.lt(ew.abs_(a), 1.0), near, far), im)


def _log_of_size(a: Any, b: Any, above: Any) -> Any:
    """log |a + ib|; near 1 by log1p(a^2 + b^2 - 1) / 2, where ``above`` is (a - 1) of the larger part, exactly."""
    a, b = ew.abs_(a), ew.abs_(b)
    large, small = ew.max_(a, b), ew.min_(a, b)
    near = ew.mul(0.5, ew.log1p(ew.add(ew.mul(above, ew.add(above, 2.0)), ew.mul(small, small))))
    ratio = ew.div(small, large)
    far = ew.add(ew.log(large), ew.mul(0.5, ew.log1p(ew.mul(ratio, ratio))))
    is_near = ew.and_(ew.gt(large, 0.7), ew.lt(large, 1.4))
    size = _select(ew.eq(large, 0.0), -math.inf, _select(is_near, near, far))
    return _select(ew.or_(ew.eq(a, math.inf), ew.eq(b, math.inf)), math.inf, size)


def log(z: Pair) -> Pair:
    a, b = ew.abs_(z.re), ew.abs_(z.im)
    return Pair(_log_of_size(*z, ew.sub(ew.max_(a, b), 1.0)), ew.atan2(z.im, z.re))


def log1p(z: Pair) -> Pair:
    a, b = z
    one = ew.add(a, 1.0)
    # Where 1 + a is the larger part, and positive, a itself is by how much it is above 1.
    larger = ew.ge(one, ew.abs_(b))
    above = _select(larger, a, ew.sub(ew.max_(ew.abs_(one), ew.abs_(b)), 1.0))
    return Pair(_log_of_size(one, b, above), ew.atan2(b, one))


def power(z: Pair, w: Pair) -> Pair:
    """exp(w log z); 1 at w = 0; at z = 0 then 0, or NaN where w is not positive."""
    found = exp(mul(w, log(z)))
    zero = _full(0.0, z.re)
    base_is_zero = ew.and_(ew.eq(z.re, 0.0), ew.eq(z.im, 0.0))
    at_zero = _select(ew.gt(w.re, 0.0), zero, _full(math.nan, z.re))
    found = _where(base_is_zero, Pair(at_zero, at_zero), found)
    no_power = ew.and_(ew.eq(w.re, 0.0), ew.eq(w.im, 0.0))
    return _where(no_power, Pair(_full(1.0, z.re), zero), found)


# Circular and hyperbolic functions ------------------------------------------------------------------------------------


def _grown(size: Any, angle: Any, a: Any) -> Any:
    """A size that is infinite with a, times a cosine: infinite beside an angle that is none."""
    return _select(ew.and_(_is_infinite(a), _is_nan(angle)), size, _times(size, angle))


def sinh(z: Pair) -> Pair:
    a, b = z
    return Pair(_grown(ew.sinh(a), ew.cos(b), a), _times(ew.sin(b), ew.cosh(a)))


def cosh(z: Pair) -> Pair:
    a, b = z
    return Pair(_grown(ew.cosh(a), ew.cos(b), a), _times(ew.sin(b), ew.sinh(a)))


def tanh(z: Pair) -> Pair:
    """Kahan's: with t = tan b, s = sinh a: ((1 + t^2) s sqrt(1 + s^2) + it) / (1 + (1 + t^2) s^2)."""
    a, b = z
    t, s = ew.tan(b), ew.sinh(a)
    beta, square = ew.add(1.0, ew.mul(t, t)), ew.mul(s, s)
    below = ew.add(1.0, ew.mul(beta, square))
    re = ew.div(ew.mul(ew.mul(beta, s), ew.sqrt(ew.add(1.0, square))), below)
    near = Pair(re, ew.div(t, below))
    # Far from 0 it is +-1, and 4 sin b cos b exp(-2|a|) is left of the other part.
    size = ew.abs_(a)
    left = ew.mul(ew.mul(4.0, ew.mul(ew.sin(b), ew.cos(b))), ew.exp(ew.mul(-2.0, size)))
    one, infinite = _copysign(_full(1.0, a), a), ew.eq(size, math.inf)
    far = Pair(
        _select(infinite, one, ew.add(one, ew.mul(0.0, left))), _select(infinite, _copysign(_full(0.0, b), b), left)
    )
    re, im = _where(ew.gt(size, math.asinh(float(np.finfo(_dtype(a)).max)) / 4), far, near)
    return Pair(_select(ew.eq(a, 0.0), a, re), _select(ew.eq(b, 0.0), b, im))


def sin(z: Pair) -> Pair:
    """-i sinh(iz)."""
    re, im = sinh(Pair(ew.neg(z.im), z.re))
    return Pair(im, ew.neg(re))


def cos(z: Pair) -> Pair:
    """cosh(iz)."""
    return cosh(Pair(ew.neg(z.im), z.re))


def tan(z: Pair) -> Pair:
    re, im = tanh(Pair(ew.neg(z.im), z.re))
    return Pair(im, ew.neg(re))


# Parts, order, conversion ---------------------------------------------------------------------------------------------


def _before(then: Callable[[Any, Any], Any]) -> Callable[[Pair, Pair], Any]:
    """NumPy's order: by the real parts, and where these are equal by the imaginary ones."""

    def compare(first: Callable[[Any, Any], Any], z: Pair, w: Pair) -> Any:
        numbers = ew.and_(ew.eq(z.im, z.im), ew.eq(w.im, w.im))
        return ew.or_(ew.and_(first(z.re, w.re), numbers), ew.and_(ew.eq(z.re, w.re), then(z.im, w.im)))

    first = ew.lt if then in (ew.lt, ew.le) else ew.gt
    return lambda z, w: compare(first, z, w)


def convert(x: Any, dtype: np.dtype[Any], weak: bool = False) -> Any:
    if np.dtype(dtype).kind == "b":
        return ew.or_(ew.ne(x.re, 0.0), ew.ne(x.im, 0.0))
    part = np.dtype(f"f{np.dtype(dtype).itemsize // 2}")
    if isinstance(x, Pair):
        return Pair(convert_(x.re, dtype=part), convert_(x.im, dtype=part))
    re = convert_(x, dtype=part)
    return Pair(re, _full(0.0, re))


def complex_number(a: Any, b: Any) -> Pair:
    """A part of rank 0 is that of every element."""
    shape = np.broadcast_shapes(aval_of(a).shape, aval_of(b).shape)
    dtype = next(_dtype(x) for x in (a, b) if not isinstance(x, (int, float)) or x is b)
    parts = (x if aval_of(x).shape == shape else broadcast_in_dim(x, shape=shape, dims=()) for x in (a, b))
    return Pair(*(x if hasattr(x, "dtype") else dtype.type(x) for x in parts))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": absolute,
    "complex": complex_number,
    "conj": lambda z: Pair(z.re, ew.neg(z.im)),
    "convert": convert,
    "cos": cos,
    "cosh": cosh,
    "div": div,
    "eq": lambda z, w: ew.and_(ew.eq(z.re, w.re), ew.eq(z.im, w.im)),
    "exp": exp,
    "exp2": exp2,
    "expm1": expm1,
    "ge": _before(ew.ge),
    "gt": _before(ew.gt),
    "imag": lambda z: z.im,
    "integer_pow": integer_pow,
    "is_finite": lambda z: ew.and_(ew.is_finite(z.re), ew.is_finite(z.im)),
    "le": _before(ew.le),
    "log": log,
    "log1p": log1p,
    "lt": _before(ew.lt),
    "mul": mul,
    "ne": lambda z, w: ew.or_(ew.ne(z.re, w.re), ew.ne(z.im, w.im)),
    "pow": power,
    "real": lambda z: z.re,
    "rsqrt": rsqrt,
    "sign": sign,
    "sin": sin,
    "sinh": sinh,
    "sqrt": sqrt,
    "tan": tan,
    "tanh": tanh,
}
