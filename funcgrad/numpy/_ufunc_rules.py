"""The rules of ufuncs that are more than one primitive.

Where a formula is not the definition, it is one whose derivatives are finite wherever the derivative exists:
:func:`logaddexp_rule` and :func:`hypot_rule` say how.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import primitives as p
from ..core.types import aval_of, is_inexact, shape_of
from ._promote import broadcast, convert_to, full
from ._ufunc import OUTCOME

__all__ = [
    "logarithm",
    "compare",
    "conjugate_rule",
    "copysign_rule",
    "heaviside_rule",
    "hypot_rule",
    "ignoring_nan",
    "is_finite_rule",
    "is_inf_rule",
    "is_nan_rule",
    "kind",
    "ldexp_rule",
    "logaddexp_rule",
    "magnitude",
    "modf_rule",
    "negative_sign_rule",
    "on_floats",
    "on_truth",
    "power_rule",
    "reciprocal_rule",
    "rint_rule",
    "scalar_like",
    "spacing_rule",
    "trunc_rule",
    "typed",
]

_BOOL = np.dtype(np.bool_)
_LN2 = math.log(2.0)


def kind(x: Any) -> str:
    """The kind of the dtype, one of b i u f c."""
    return aval_of(x).dtype.kind


def scalar_like(x: Any, value: Any) -> Any:
    """A scalar of the dtype of ``x``; primitives broadcast it."""
    return aval_of(x).dtype.type(value)


def on_floats(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rounding: integers are what they are."""
    return lambda x: rule(x) if is_inexact(aval_of(x).dtype) else p.copy(x)


def on_truth(primitive: Callable[..., Any]) -> Callable[..., Any]:
    """Logic: an operand is true where it is not zero."""
    return lambda *operands: primitive(*(convert_to(x, _BOOL) for x in operands))


def typed(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule of several steps: a Python scalar among its operands is given the dtype of the others at once."""

    def typed(*operands: Any) -> Any:
        dtype = next((aval_of(x).dtype for x in operands if type(x) not in (bool, int, float, complex)), None)
        return rule(*(convert_to(x, aval_of(x).dtype if dtype is None else dtype) for x in operands))

    return typed


def trunc_rule(x: Any) -> Any:
    """Rounding toward zero; the sign of zero is kept."""
    return p.select(p.lt(x, 0), p.ceil(x), p.floor(x))


def rint_rule(x: Any) -> Any:
    """Rounding to the nearest, half to even; of a complex number, of its parts."""
    if kind(x) == "c":
        return p.complex_(p.round_(p.real(x)), p.round_(p.imag(x)))
    return p.round_(x)


def is_nan_rule(x: Any) -> Any:
    """NaN alone differs from itself; integers never are."""
    return p.ne(x, x) if is_inexact(aval_of(x).dtype) else full(shape_of(x), False, _BOOL)


def is_inf_rule(x: Any) -> Any:
    """A complex number is infinite if one of its parts is."""
    if kind(x) == "c":
        return p.or_(is_inf_rule(p.real(x)), is_inf_rule(p.imag(x)))
    return p.eq(p.abs_(x), math.inf) if is_inexact(aval_of(x).dtype) else full(shape_of(x), False, _BOOL)


def is_finite_rule(x: Any) -> Any:
    """Integers always are finite."""
    return p.is_finite(x) if is_inexact(aval_of(x).dtype) else full(shape_of(x), True, _BOOL)


def magnitude(x: Any) -> Any:
    """The absolute value, of unsigned integers too."""
    return x if kind(x) == "u" else p.abs_(x)


def conjugate_rule(x: Any) -> Any:
    """Real numbers are their own conjugates."""
    return p.conj(x) if kind(x) == "c" else p.copy(x)


def negative_sign_rule(x: Any) -> Any:
    """Whether the sign bit is set: the angle of (-1, x) tells -0.0 from 0.0, without dividing by zero."""
    return p.lt(p.atan2(x, -1.0), 0)


def copysign_rule(x: Any, y: Any) -> Any:
    """The magnitude of ``x`` with the sign of ``y``."""
    size = p.abs_(x)
    return p.select(negative_sign_rule(y), p.neg(size), size)


def reciprocal_rule(x: Any) -> Any:
    """1/x, for integers rounded toward zero: only 1 and -1 have one that is not 0."""
    if is_inexact(aval_of(x).dtype):
        return p.div(1, x)
    ones = p.select(p.eq(x, 1), 1, scalar_like(x, 0))
    return ones if kind(x) == "u" else p.select(p.eq(x, -1), -1, ones)


def heaviside_rule(x: Any, h: Any) -> Any:
    """0 below zero, ``h`` at zero, 1 above; NaN stays."""
    step = p.select(p.lt(x, 0), scalar_like(x, 0), scalar_like(x, 1))
    return p.select(p.ne(x, x), x, p.select(p.eq(x, 0), h, step))


def ignoring_nan(better: Callable[..., Any]) -> Callable[..., Any]:
    """A maximum or minimum in which a number wins over NaN."""

    def rule(x: Any, y: Any) -> Any:
        if not is_inexact(aval_of(x).dtype):
            return better(x, y)
        return p.select(p.ne(x, x), y, p.select(p.ne(y, y), x, better(x, y)))

    return rule


def power_rule(x: Any, y: Any) -> Any:
    """A power; one with a static integral exponent is products, which have all derivatives everywhere."""
    if type(y) in (int, float) and y == _integer_or_none(y) and -64 <= y <= 64:
        if y < 0 and kind(x) in "iu":
            raise ValueError("Integers to negative integer powers are not allowed.")
        return p.integer_pow(x, y=int(y))
    return p.pow_(x, y)


def _integer_or_none(y: float) -> int | None:
    """The integer that ``y`` is, or None."""
    return int(y) if math.isfinite(y) and y == int(y) else None


def logarithm(x: Any, of_base: float) -> Any:
    """The logarithm to the base whose natural one is ``of_base``."""
    y = p.log(x)
    if kind(x) != "c":
        return p.div(y, of_base)
    # Part by part: an infinite real part would make NaN of the imaginary one.
    return p.complex_(p.div(p.real(y), of_base), p.div(p.imag(y), of_base))


def logaddexp_rule(exponential: Callable[..., Any], unit: float) -> Callable[..., Any]:
    """max(x, y) + log(1 + exp(-|x - y|)), with the maximum and -|x - y| chosen by one comparison.

    Either choice is the same smooth function, so that all derivatives are right at x = y too: the first is 1/2 there.
    Of two equal infinities the difference is taken as 0.
    """

    def rule(x: Any, y: Any) -> Any:
        unbounded = p.and_(p.eq(x, y), p.not_(p.is_finite(x)))
        apart = p.sub(x, y)
        apart = p.select(unbounded, scalar_like(apart, 0), apart)
        first = p.ge(apart, 0)
        small = p.log1p(exponential(p.select(first, p.neg(apart), apart)))
        return p.add(p.select(first, x, y), small if unit == 1.0 else p.mul(small, 1 / unit))

    return rule


def hypot_rule(x: Any, y: Any) -> Any:
    """sqrt(x² + y²), both divided by a power of two near the larger so that squares neither overflow nor vanish.

    The scale is constant in the derivative because ``floor`` is. At the origin, where there is no derivative, it is 0.
    """
    larger = p.max_(p.abs_(x), p.abs_(y))
    usable = p.and_(p.is_finite(larger), p.gt(larger, 0))
    scale = p.exp2(p.floor(p.mul(p.log(p.select(usable, larger, scalar_like(larger, 1))), 1 / _LN2)))
    scale = p.max_(scale, float(np.finfo(aval_of(larger).dtype).tiny))
    x, y = p.div(x, scale), p.div(y, scale)
    squares = p.add(p.mul(x, x), p.mul(y, y))
    root = p.sqrt(p.select(usable, squares, scalar_like(squares, 1)))
    # Not usable: 0, infinity or NaN, which the larger one is, but that infinity wins over NaN.
    infinite = p.or_(p.eq(p.abs_(x), math.inf), p.eq(p.abs_(y), math.inf))
    special = p.select(infinite, scalar_like(squares, math.inf), larger)
    return p.select(usable, p.mul(root, scale), special)


def ldexp_rule(x: Any, n: Any) -> Any:
    """x * 2**n."""
    # In two halves, either of which is a power of two that x's dtype has.
    half = p.floor_divide(p.convert(n, dtype=aval_of(x).dtype), 2)
    rest = p.sub(p.convert(n, dtype=aval_of(x).dtype), half)
    return p.mul(p.mul(x, p.exp2(half)), p.exp2(rest))


def spacing_rule(x: Any) -> Any:
    """The distance to the next number away from zero."""
    toward = p.select(negative_sign_rule(x), scalar_like(x, -math.inf), scalar_like(x, math.inf))
    return p.sub(p.nextafter(x, toward), x)


def modf_rule(x: Any) -> tuple[Any, Any]:
    """The fractional and the integral part, both with the sign of ``x``."""
    whole = trunc_rule(x)
    fraction = p.select(is_inf_rule(x), scalar_like(x, 0), p.sub(x, whole))
    return copysign_rule(fraction, x), copysign_rule(whole, x)


def compare(name: str, primitive: Callable[..., Any]) -> Callable[..., Any]:
    """A comparison. NumPy compares int64 with uint64 exactly: a negative integer compares as -1 does with 0."""

    def rule(x: Any, y: Any) -> Any:
        kinds = kind(x), kind(y)
        if kinds == ("i", "u") and type(y) is not int and type(x) is not int:
            wide = p.convert(x, dtype=aval_of(y).dtype)
            below = p.lt(x, 0)
            return p.select(below, scalar_like(below, OUTCOME[name][0]), primitive(*broadcast(name, wide, y)))
        if kinds == ("u", "i") and type(y) is not int and type(x) is not int:
            wide = p.convert(y, dtype=aval_of(x).dtype)
            below = p.lt(y, 0)
            return p.select(below, scalar_like(below, OUTCOME[name][1]), primitive(*broadcast(name, x, wide)))
        return primitive(x, y)

    return rule
