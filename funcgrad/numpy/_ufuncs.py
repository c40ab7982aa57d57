"""Elementwise functions: NumPy's ufuncs, and the functions made of them.

A ufunc is one line of a table: its name, and the rule that computes it from operands that NumPy's own type resolution
has brought to the dtypes of the loop. Most rules are one primitive. Plain operands go to NumPy (see ``_promote``).

Where a formula is not the definition, it is one whose derivatives are finite wherever the derivative exists:
``logaddexp``, ``hypot`` and ``sinc`` say how.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import primitives as p
from ..core.backend import _default
from ..core.config import config
from ..core.errors import OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of, is_inexact, shape_of
from ._promote import (
    _PLAIN,
    _SCALARS,
    all_plain,
    asarray,
    broadcast,
    cast,
    convert_to,
    eager,
    eager_allowed,
    full,
    operand,
    promote_dtypes,
    refuse_out,
    refuse_where,
    ufunc_dtypes,
)

__all__ = [
    "abs", "absolute", "acos", "acosh", "add", "allclose", "angle", "arccos", "arccosh", "arcsin", "arcsinh", "arctan",
    "arctan2", "arctanh", "around", "array_equal", "array_equiv", "asin", "asinh", "atan", "atan2", "atanh",
    "bitwise_and", "bitwise_count", "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "cbrt", "ceil", "clip", "conj", "conjugate", "copysign", "cos", "cosh",
    "deg2rad", "degrees", "divide", "divmod", "equal", "exp", "exp2", "expm1", "fabs", "fix", "float_power", "floor",
    "floor_divide", "fmax", "fmin", "fmod", "greater", "greater_equal", "heaviside", "hypot", "imag", "invert",
    "isclose", "iscomplex", "iscomplexobj", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "isreal",
    "isrealobj", "ldexp", "left_shift", "less", "less_equal", "log", "log10", "log1p", "log2", "logaddexp",
    "logaddexp2", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "mod", "modf",
    "multiply", "nan_to_num", "negative", "nextafter", "not_equal", "positive", "pow", "power", "rad2deg", "radians",
    "real", "reciprocal", "remainder", "right_shift", "rint", "round", "sign", "signbit", "sin", "sinc", "sinh",
    "spacing", "sqrt", "square", "subtract", "tan", "tanh", "true_divide", "trunc", "where",
]  # fmt: skip

_BOOL = np.dtype(np.bool_)
_FLOAT64 = np.dtype(np.float64)
_LN2 = math.log(2.0)


class Ufunc:
    """A NumPy ufunc for traced values too: ``ufunc`` answers for plain ones, ``rule`` for all others.

    It takes NumPy's arguments ``dtype`` and ``casting``. ``out`` and ``where`` write into an array that exists, which a
    transformed function must not: they are refused, with what to write instead. ``order`` and ``subok`` speak of memory
    layout and subclasses, which funcgrad does not have.
    """

    def __init__(self, name: str, rule: Callable[..., Any], ufunc: np.ufunc | None = None, note: str = "") -> None:
        self.ufunc = getattr(np, name) if ufunc is None else ufunc
        self.nin = self.ufunc.nin
        self.rule = rule
        self.__name__ = self.__qualname__ = name
        self.__doc__ = f"As :data:`numpy.{name}`, for traced values too.{' ' if note else ''}{note}"

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if not keywords and len(args) == self.nin and _default.name == "numpy" and not config.debug_nans:
            for x in args:
                if type(x) not in _PLAIN:
                    break
            else:
                return self.ufunc(*args)
        return self.call(args, **keywords)

    def call(
        self,
        args: tuple[Any, ...],
        out: Any = None,
        *,
        where: Any = True,
        dtype: Any = None,
        casting: str = "same_kind",
    ) -> Any:
        """The call with all its arguments."""
        name = self.__name__
        if len(args) == self.nin + 1:
            *args, out = args
        refuse_out(name, out)
        refuse_where(name, where)
        if len(args) != self.nin:
            raise TypeError(f"{name}() takes {self.nin} positional arguments but {len(args)} were given")
        if eager_allowed() and all_plain(args):
            return self.ufunc(*args, dtype=dtype, casting=casting)
        return self.traced(*args, dtype=dtype, casting=casting)

    def traced(self, *args: Any, dtype: Any = None, casting: str = "same_kind") -> Any:
        """Promote, broadcast, and apply the rule."""
        name = self.__name__
        operands = [x if type(x) in _SCALARS else operand(name, x, f"argument {i}") for i, x in enumerate(args)]
        avals = [aval_of(x) for x in operands]
        if dtype is None:
            dtypes = ufunc_dtypes(self.ufunc, avals, name)
        else:
            strong = (*(a.dtype for a in avals), *[None] * self.ufunc.nout)
            wanted = (*[None] * self.ufunc.nin, *[np.dtype(dtype)] * self.ufunc.nout)
            dtypes = self.ufunc.resolve_dtypes(strong, signature=wanted, casting=casting)
        return self.rule(*broadcast(name, *cast(operands, dtypes)))

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """As ``numpy.ufunc.reduce``; for the ufuncs that have a reduction of their own."""
        return self.method("reduce")(array, axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def accumulate(self, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        """As ``numpy.ufunc.accumulate``; for the ufuncs that have a cumulative form of their own."""
        return self.method("accumulate")(array, axis=axis, dtype=dtype, out=out)

    def outer(self, a: Any, b: Any, /) -> Any:
        """The ufunc of all pairs of an element of ``a`` and one of ``b``, as ``numpy.ufunc.outer``."""
        a, b = asarray(a), asarray(b)
        return self(p.reshape(a, shape=(*shape_of(a), *[1] * len(shape_of(b)))), b)

    def method(self, kind: str) -> Callable[..., Any]:
        """The function that stands for a method of the ufunc: ``_reductions`` fills the table."""
        try:
            return METHODS[kind, self.__name__]
        except KeyError:
            known = ", ".join(sorted(name for k, name in METHODS if k == kind))
            raise OperandTypeError(
                f"{self.__name__}.{kind} is not written for traced values; those with a {kind} are {known}"
            ) from None

    def __reduce__(self) -> str:
        return self.__name__

    def __repr__(self) -> str:
        return f"<funcgrad.numpy ufunc {self.__name__!r}>"


#: From the kind of a ufunc method and the name of a ufunc to the function it is.
METHODS: dict[tuple[str, str], Callable[..., Any]] = {}


# Rules that are more than a primitive ---------------------------------------------------------------------------------


def _kind(x: Any) -> str:
    return aval_of(x).dtype.kind


def _like(x: Any, value: Any) -> Any:
    """A scalar of the dtype of ``x``; primitives broadcast it."""
    return aval_of(x).dtype.type(value)


def _on_floats(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rounding: integers are what they are."""
    return lambda x: rule(x) if is_inexact(aval_of(x).dtype) else p.copy(x)


def _on_truth(primitive: Callable[..., Any]) -> Callable[..., Any]:
    """Logic: an operand is true where it is not zero."""
    return lambda *operands: primitive(*(convert_to(x, _BOOL) for x in operands))


def _typed(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule of several steps: a Python scalar among its operands is given the dtype of the others at once."""

    def typed(*operands: Any) -> Any:
        dtype = next((aval_of(x).dtype for x in operands if type(x) not in (bool, int, float, complex)), None)
        return rule(*(convert_to(x, aval_of(x).dtype if dtype is None else dtype) for x in operands))

    return typed


def _trunc(x: Any) -> Any:
    return p.select(p.lt(x, 0), p.ceil(x), p.floor(x))


def _rint(x: Any) -> Any:
    if _kind(x) == "c":
        return p.complex_(p.round_(p.real(x)), p.round_(p.imag(x)))
    return p.round_(x)


def _is_nan(x: Any) -> Any:
    return p.ne(x, x) if is_inexact(aval_of(x).dtype) else full(shape_of(x), False, _BOOL)


def _is_inf(x: Any) -> Any:
    if _kind(x) == "c":
        return p.or_(_is_inf(p.real(x)), _is_inf(p.imag(x)))
    return p.eq(p.abs_(x), math.inf) if is_inexact(aval_of(x).dtype) else full(shape_of(x), False, _BOOL)


def _is_finite(x: Any) -> Any:
    return p.is_finite(x) if is_inexact(aval_of(x).dtype) else full(shape_of(x), True, _BOOL)


def _magnitude(x: Any) -> Any:
    return x if _kind(x) == "u" else p.abs_(x)


def _conjugate(x: Any) -> Any:
    return p.conj(x) if _kind(x) == "c" else p.copy(x)


def _negative_sign(x: Any) -> Any:
    # The angle of (-1, x) tells -0.0 from 0.0, without dividing by zero.
    return p.lt(p.atan2(x, -1.0), 0)


def _copysign(x: Any, y: Any) -> Any:
    magnitude = p.abs_(x)
    return p.select(_negative_sign(y), p.neg(magnitude), magnitude)


def _reciprocal(x: Any) -> Any:
    if is_inexact(aval_of(x).dtype):
        return p.div(1, x)
    ones = p.select(p.eq(x, 1), 1, _like(x, 0))
    return ones if _kind(x) == "u" else p.select(p.eq(x, -1), -1, ones)


def _heaviside(x: Any, h: Any) -> Any:
    step = p.select(p.lt(x, 0), _like(x, 0), _like(x, 1))
    return p.select(p.ne(x, x), x, p.select(p.eq(x, 0), h, step))


def _ignoring_nan(better: Callable[..., Any]) -> Callable[..., Any]:
    def rule(x: Any, y: Any) -> Any:
        if not is_inexact(aval_of(x).dtype):
            return better(x, y)
        return p.select(p.ne(x, x), y, p.select(p.ne(y, y), x, better(x, y)))

    return rule


def _power(x: Any, y: Any) -> Any:
    """A power; one with a static integral exponent is products, which have all derivatives everywhere."""
    if type(y) in (int, float) and y == int_or_none(y) and -64 <= y <= 64:
        if y < 0 and _kind(x) in "iu":
            raise ValueError("Integers to negative integer powers are not allowed.")
        return p.integer_pow(x, y=int(y))
    return p.pow_(x, y)


def int_or_none(y: float) -> int | None:
    """The integer that ``y`` is, or None."""
    return int(y) if math.isfinite(y) and y == int(y) else None


def _logaddexp(exponential: Callable[..., Any], unit: float) -> Callable[..., Any]:
    """max(x, y) + log(1 + exp(-|x - y|)), the difference taken as 0 where x = y, infinite or not.

    At x = y the maximum gives each operand half of the tangent and |x - y| gives none: the derivative is 1/2, as it is.
    """

    def rule(x: Any, y: Any) -> Any:
        apart = p.sub(x, y)
        apart = p.select(p.eq(x, y), _like(apart, 0), apart)
        small = p.log1p(exponential(p.neg(p.abs_(apart))))
        return p.add(p.max_(x, y), small if unit == 1.0 else p.mul(small, 1 / unit))

    return rule


def _hypot(x: Any, y: Any) -> Any:
    """sqrt(x² + y²), both divided by a power of two near the larger so that squares neither overflow nor vanish.

    The scale is constant in the derivative because ``floor`` is. At the origin, where there is no derivative, it is 0.
    """
    larger = p.max_(p.abs_(x), p.abs_(y))
    usable = p.and_(p.is_finite(larger), p.gt(larger, 0))
    scale = p.exp2(p.floor(p.mul(p.log(p.select(usable, larger, _like(larger, 1))), 1 / _LN2)))
    scale = p.max_(scale, float(np.finfo(aval_of(larger).dtype).tiny))
    x, y = p.div(x, scale), p.div(y, scale)
    squares = p.add(p.mul(x, x), p.mul(y, y))
    root = p.sqrt(p.select(usable, squares, _like(squares, 1)))
    # Not usable: 0, infinity or NaN, which the larger one is, but that infinity wins over NaN.
    infinite = p.or_(p.eq(p.abs_(x), math.inf), p.eq(p.abs_(y), math.inf))
    special = p.select(infinite, _like(squares, math.inf), larger)
    return p.select(usable, p.mul(root, scale), special)


def _ldexp(x: Any, n: Any) -> Any:
    # In two halves, either of which is a power of two that x's dtype has.
    half = p.floor_divide(p.convert(n, dtype=aval_of(x).dtype), 2)
    rest = p.sub(p.convert(n, dtype=aval_of(x).dtype), half)
    return p.mul(p.mul(x, p.exp2(half)), p.exp2(rest))


def _spacing(x: Any) -> Any:
    toward = p.select(_negative_sign(x), _like(x, -math.inf), _like(x, math.inf))
    return p.sub(p.nextafter(x, toward), x)


def _modf(x: Any) -> tuple[Any, Any]:
    whole = _trunc(x)
    fraction = p.select(_is_inf(x), _like(x, 0), p.sub(x, whole))
    return _copysign(fraction, x), _copysign(whole, x)


def _compare(name: str, primitive: Callable[..., Any]) -> Callable[..., Any]:
    """A comparison. NumPy compares int64 with uint64 exactly: a negative integer compares as -1 does with 0."""

    def rule(x: Any, y: Any) -> Any:
        kinds = _kind(x), _kind(y)
        if kinds == ("i", "u") and type(y) is not int and type(x) is not int:
            wide = p.convert(x, dtype=aval_of(y).dtype)
            below = p.lt(x, 0)
            return p.select(below, _like(below, OUTCOME[name][0]), primitive(*broadcast(name, wide, y)))
        if kinds == ("u", "i") and type(y) is not int and type(x) is not int:
            wide = p.convert(y, dtype=aval_of(x).dtype)
            below = p.lt(y, 0)
            return p.select(below, _like(below, OUTCOME[name][1]), primitive(*broadcast(name, x, wide)))
        return primitive(x, y)

    return rule


#: What a comparison answers for (-1, 0) and for (0, -1).
OUTCOME = {
    "equal": (False, False),
    "not_equal": (True, True),
    "less": (True, False),
    "less_equal": (True, False),
    "greater": (False, True),
    "greater_equal": (False, True),
}


class Comparison(Ufunc):
    """A comparison with a Python integer that the other operand's dtype cannot hold has one answer for all elements."""

    def traced(self, x: Any, y: Any, /, *, dtype: Any = None, casting: str = "same_kind") -> Any:
        for one, other, flipped in ((x, y, False), (y, x, True)):
            if type(other) is int and isinstance(one, Tracer) and one.aval.dtype.kind in "iu" and not one.aval.weak:
                limits = np.iinfo(one.aval.dtype)
                if not limits.min <= other <= limits.max:
                    # All elements stand on the same side of it.
                    below = other < 0
                    return full(one.aval.shape, OUTCOME[self.__name__][int(below != flipped)], _BOOL)
        return super().traced(x, y, dtype=dtype, casting=casting)


# The table ------------------------------------------------------------------------------------------------------------

add = Ufunc("add", lambda x, y: p.add(x, y) if _kind(x) != "b" else p.or_(x, y))
subtract = Ufunc("subtract", p.sub)
multiply = Ufunc("multiply", lambda x, y: p.mul(x, y) if _kind(x) != "b" else p.and_(x, y))
divide = true_divide = Ufunc("divide", p.div)
floor_divide = Ufunc("floor_divide", p.floor_divide)
remainder = mod = Ufunc("remainder", p.remainder)
fmod = Ufunc("fmod", p.fmod)
divmod = Ufunc("divmod", lambda x, y: (p.floor_divide(x, y), p.remainder(x, y)))
modf = Ufunc("modf", _modf)
power = pow = Ufunc("power", _power, note="A static integral exponent (a Python number) becomes products.")
float_power = Ufunc("float_power", _power)
negative = Ufunc("negative", p.neg)
positive = Ufunc("positive", p.copy)
absolute = abs = Ufunc("absolute", p.abs_, note="Its derivative at 0 is 0.")
fabs = Ufunc("fabs", p.abs_)
sign = Ufunc("sign", p.sign)
reciprocal = Ufunc("reciprocal", _reciprocal)
square = Ufunc("square", lambda x: p.integer_pow(x, y=2))
sqrt = Ufunc("sqrt", p.sqrt)
cbrt = Ufunc("cbrt", p.cbrt)

exp = Ufunc("exp", p.exp)
exp2 = Ufunc("exp2", p.exp2)
expm1 = Ufunc("expm1", p.expm1)
log = Ufunc("log", p.log)
log2 = Ufunc("log2", lambda x: p.div(p.log(x), _LN2))
log10 = Ufunc("log10", lambda x: p.div(p.log(x), math.log(10.0)))
log1p = Ufunc("log1p", p.log1p)
logaddexp = Ufunc("logaddexp", _typed(_logaddexp(p.exp, 1.0)))
logaddexp2 = Ufunc("logaddexp2", _typed(_logaddexp(p.exp2, _LN2)))

sin = Ufunc("sin", p.sin)
cos = Ufunc("cos", p.cos)
tan = Ufunc("tan", p.tan)
arcsin = asin = Ufunc("arcsin", p.asin)
arccos = acos = Ufunc("arccos", p.acos)
arctan = atan = Ufunc("arctan", p.atan)
arctan2 = atan2 = Ufunc("arctan2", p.atan2)
sinh = Ufunc("sinh", p.sinh)
cosh = Ufunc("cosh", p.cosh)
tanh = Ufunc("tanh", p.tanh)
arcsinh = asinh = Ufunc("arcsinh", p.asinh)
arccosh = acosh = Ufunc("arccosh", p.acosh)
arctanh = atanh = Ufunc("arctanh", p.atanh)
hypot = Ufunc("hypot", _typed(_hypot), note="Its derivative at the origin is 0.")
degrees = Ufunc("degrees", lambda x: p.mul(x, 180.0 / math.pi))
radians = Ufunc("radians", lambda x: p.mul(x, math.pi / 180.0))
rad2deg = Ufunc("rad2deg", degrees.rule)
deg2rad = Ufunc("deg2rad", radians.rule)

maximum = Ufunc("maximum", p.max_, note="Equal operands take half of the derivative each.")
minimum = Ufunc("minimum", p.min_, note="Equal operands take half of the derivative each.")
fmax = Ufunc("fmax", _typed(_ignoring_nan(p.max_)))
fmin = Ufunc("fmin", _typed(_ignoring_nan(p.min_)))
heaviside = Ufunc("heaviside", _typed(_heaviside))
copysign = Ufunc("copysign", _typed(_copysign), note="The sign of a NaN is not seen: it counts as positive.")
signbit = Ufunc("signbit", _negative_sign, note="The sign of a NaN is not seen: it counts as positive.")
nextafter = Ufunc("nextafter", p.nextafter)
spacing = Ufunc("spacing", _spacing)
ldexp = Ufunc("ldexp", _ldexp)

rint = Ufunc("rint", _rint)
floor = Ufunc("floor", _on_floats(p.floor))
ceil = Ufunc("ceil", _on_floats(p.ceil))
trunc = Ufunc("trunc", _on_floats(_trunc))

isfinite = Ufunc("isfinite", _is_finite)
isinf = Ufunc("isinf", _is_inf)
isnan = Ufunc("isnan", _is_nan)
conjugate = conj = Ufunc("conjugate", _conjugate)

equal = Comparison("equal", _compare("equal", p.eq))
not_equal = Comparison("not_equal", _compare("not_equal", p.ne))
less = Comparison("less", _compare("less", p.lt))
less_equal = Comparison("less_equal", _compare("less_equal", p.le))
greater = Comparison("greater", _compare("greater", p.gt))
greater_equal = Comparison("greater_equal", _compare("greater_equal", p.ge))

logical_and = Ufunc("logical_and", _on_truth(p.and_))
logical_or = Ufunc("logical_or", _on_truth(p.or_))
logical_xor = Ufunc("logical_xor", _on_truth(p.xor))
logical_not = Ufunc("logical_not", _on_truth(p.not_))
bitwise_and = Ufunc("bitwise_and", p.and_)
bitwise_or = Ufunc("bitwise_or", p.or_)
bitwise_xor = Ufunc("bitwise_xor", p.xor)
invert = bitwise_not = bitwise_invert = Ufunc("invert", p.not_)
left_shift = bitwise_left_shift = Ufunc("left_shift", p.shift_left)
right_shift = bitwise_right_shift = Ufunc("right_shift", p.shift_right)
bitwise_count = Ufunc("bitwise_count", lambda x: p.convert(p.population_count(_magnitude(x)), dtype=np.dtype(np.uint8)))


# Functions made of them -----------------------------------------------------------------------------------------------


@eager(np.real)
def real(val: Any) -> Any:
    val = operand("real", val)
    return p.real(val) if _kind(val) == "c" else asarray(val)


@eager(np.imag)
def imag(val: Any) -> Any:
    val = operand("imag", val)
    return p.imag(val) if _kind(val) == "c" else full(shape_of(val), 0, aval_of(val).dtype)


@eager(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    z = operand("angle", z)
    if _kind(z) == "c":
        result = arctan2(p.imag(z), p.real(z))
    else:
        result = arctan2(0, z)
    return multiply(result, 180 / math.pi) if deg else result


@eager(np.fix)
def fix(x: Any, out: Any = None) -> Any:
    refuse_out("fix", out)
    return trunc(x)


@eager(np.round)
def round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    refuse_out("round", out)
    a = asarray(operand("round", a))
    dtype = aval_of(a).dtype
    if dtype.kind in "iu":
        if decimals >= 0:
            return a
        return convert_to(_scaled_round(convert_to(a, _FLOAT64), decimals), dtype)
    if dtype.kind == "b" and decimals:
        raise OperandTypeError("round: an array of booleans has no decimals")
    if dtype.kind == "c":
        return p.complex_(_scaled_round(p.real(a), decimals), _scaled_round(p.imag(a), decimals))
    return _scaled_round(convert_to(a, np.dtype(np.float16)) if dtype.kind == "b" else a, decimals)


around = round


def _scaled_round(x: Any, decimals: int) -> Any:
    if decimals == 0:
        return p.round_(x)
    scale = 10.0 ** builtins.abs(decimals)
    return p.div(p.round_(p.mul(x, scale)), scale) if decimals > 0 else p.mul(p.round_(p.div(x, scale)), scale)


@eager(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None) -> Any:
    refuse_out("clip", out)
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    a = operand("clip", a)
    kind, dtype = _kind(a), aval_of(a).dtype
    if kind in "iu":
        # A bound beyond the integers of the dtype bounds nothing.
        limits = np.iinfo(dtype)
        low = None if type(low) is int and low <= limits.min else low
        high = None if type(high) is int and high >= limits.max else high
    # Both bounds take part in the promotion, as in one ufunc of three operands.
    bounds = [asarray(b) if isinstance(b, (list, tuple)) else b for b in (low, high) if b is not None]
    a, *bounds = promote_dtypes("clip", a, *bounds)
    bounds = iter(bounds)
    a = a if low is None else maximum(a, next(bounds))
    a = a if high is None else minimum(a, next(bounds))
    return asarray(a)


@eager(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """As :func:`numpy.where`. With one argument the shape of the result depends on values, so it must be concrete."""
    if x is None and y is None:
        if isinstance(condition, Tracer):
            condition = condition.concrete("where(condition) with one argument, the indices of all that is true,")
        return np.nonzero(condition)
    if x is None or y is None:
        raise ValueError("either both or neither of x and y should be given")
    condition = operand("where", condition, "the condition")
    condition = convert_to(condition, _BOOL)
    x, y = promote_dtypes("where", x, y)
    return p.select(*broadcast("where", condition, x, y))


@eager(np.nan_to_num)
def nan_to_num(
    x: Any, copy: bool = True, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """As :func:`numpy.nan_to_num`; the result is always new, as ``copy=True`` says."""
    x = asarray(operand("nan_to_num", x))
    dtype = aval_of(x).dtype
    if not is_inexact(dtype):
        return x
    if dtype.kind == "c":
        parts = (nan_to_num(part(x), copy, nan, posinf, neginf) for part in (p.real, p.imag))
        return p.complex_(*parts)
    limits = np.finfo(dtype)
    x = where(isnan(x), asarray(nan, dtype), x)
    x = where(equal(x, math.inf), asarray(limits.max if posinf is None else posinf, dtype), x)
    return where(equal(x, -math.inf), asarray(limits.min if neginf is None else neginf, dtype), x)


@eager(np.sinc)
def sinc(x: Any) -> Any:
    """sin(πx)/(πx), as :func:`numpy.sinc`; near 0 by its series, so that all derivatives up to the sixth are right."""
    x = asarray(operand("sinc", x))
    if not is_inexact(aval_of(x).dtype):
        x = convert_to(x, _FLOAT64)
    y = p.mul(x, math.pi)
    near = p.lt(p.abs_(y), 0.05)
    zero, one = _like(y, 0), _like(y, 1)
    square_ = p.integer_pow(p.select(near, y, zero), y=2)
    series = p.add(p.mul(p.add(p.mul(p.add(p.mul(square_, -1 / 5040), 1 / 120), square_), -1 / 6), square_), 1.0)
    far = p.select(near, one, y)
    return p.select(near, series, p.div(p.sin(far), far))


@eager(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    a, b = operand("isclose", a), operand("isclose", b)
    if not is_inexact(aval_of(b).dtype):
        b = convert_to(b, _FLOAT64) if not isinstance(b, (int, float)) else float(b)
    close = less_equal(absolute(subtract(a, b)), add(atol, multiply(rtol, absolute(b))))
    result = logical_or(logical_and(close, isfinite(b)), equal(a, b))
    return logical_or(result, logical_and(isnan(a), isnan(b))) if equal_nan else result


@eager(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    return _every(isclose(a, b, rtol, atol, equal_nan))


@eager(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    a1, a2 = asarray(operand("array_equal", a1)), asarray(operand("array_equal", a2))
    if shape_of(a1) != shape_of(a2):
        return False
    same = equal(a1, a2)
    return _every(logical_or(same, logical_and(isnan(a1), isnan(a2))) if equal_nan else same)


@eager(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> Any:
    a1, a2 = asarray(operand("array_equiv", a1)), asarray(operand("array_equiv", a2))
    try:
        np.broadcast_shapes(shape_of(a1), shape_of(a2))
    except ValueError:
        return False
    return _every(equal(a1, a2))


def _every(x: Any) -> Any:
    return p.reduce_and(x, axes=tuple(range(len(shape_of(x)))))


@eager(np.isreal)
def isreal(x: Any) -> Any:
    return equal(imag(x), 0)


@eager(np.iscomplex)
def iscomplex(x: Any) -> Any:
    return not_equal(imag(x), 0)


@eager(np.isposinf)
def isposinf(x: Any, out: Any = None) -> Any:
    refuse_out("isposinf", out)
    return logical_and(isinf(x), logical_not(signbit(x)))


@eager(np.isneginf)
def isneginf(x: Any, out: Any = None) -> Any:
    refuse_out("isneginf", out)
    return logical_and(isinf(x), signbit(x))


def isrealobj(x: Any) -> bool:
    """Whether the dtype is real, as :func:`numpy.isrealobj`."""
    return not iscomplexobj(x)


def iscomplexobj(x: Any) -> bool:
    """Whether the dtype is complex, as :func:`numpy.iscomplexobj`."""
    return _kind(operand("iscomplexobj", x)) == "c"
