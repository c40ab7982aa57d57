"""Elementwise primitives: a table of functions and their derivatives.

Operands have equal dtypes, and equal shapes or rank 0: a rank-0 operand broadcasts. A Python scalar operand takes the
dtype of the others, one of which must be an array. An entry gives, for each operand, the tangent of the result as a function of the operand's tangent
``t``, the result ``y`` and the operands: for y = f(x), ``t * f'(x)``. Every rule is linear in ``t``. For the few
primitives that are themselves linear, an entry also gives the transpose.

Complex derivatives follow JAX: a rule for a holomorphic f is ``t * f'(x)``, and the transpose is not conjugated, so that
``grad`` of a real function of a complex z = a + ib is df/da - i df/db.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.errors import OperandError, OperandTypeError
from ..core.ir import Var
from ..core.trace import Primitive
from ..core.types import Aval, dtype_name, dtype_of, is_inexact, shape_of
from . import reduction, structure

__all__ = [
    "ELEMENTWISE", "Elementwise", "abs_", "acos", "acosh", "add", "and_", "asin", "asinh", "atan", "atan2", "atanh",
    "cbrt", "ceil", "complex_", "conj", "convert", "cos", "cosh", "div", "eq", "erf", "exp", "exp2", "expm1", "floor",
    "floor_divide", "fmod", "ge", "gt", "imag", "integer_pow", "is_finite", "le", "log", "log1p", "logistic", "lt",
    "max_", "min_", "mul", "ne", "neg", "nextafter", "not_", "or_", "population_count", "pow_", "real", "remainder",
    "round_", "rsqrt", "select", "shift_left", "shift_right", "sign", "sin", "sinh", "sqrt", "sub", "tan", "tanh",
    "xor",
]  # fmt: skip

Rule = Callable[..., Any]

#: All elementwise primitives by name, for those who go through the table.
ELEMENTWISE: dict[str, Elementwise] = {}

_BOOL = np.dtype(np.bool_)
_KINDS = {"f": "real", "c": "complex", "i": "integer", "u": "unsigned integer", "b": "boolean"}


class Elementwise(Primitive):
    """An elementwise primitive, defined by its table entry.

    ``kinds``: the dtype kinds it takes. ``rules``: for each operand the tangent rule ``(t, y, *operands)``, or None for a
    derivative that is zero. ``result``: the dtype of the result, ``same``, ``bool``, ``real`` or ``complex``.
    ``linear``: for each operand the transpose ``(ct, *operands)``, where it is linear.
    """

    elementwise = True

    def __init__(
        self, name: str, kinds: str, *rules: Rule | None, result: str = "same", linear: Sequence[Rule | None] = ()
    ) -> None:
        self.name = name
        self.kinds = kinds
        self.rules = rules
        self.result = result
        self.linear = linear
        self.keeps_type = result == "same"
        ELEMENTWISE[name] = self

    def type(self, *avals: Aval, **params: Any) -> Aval:
        dtype = self.operand_dtype(avals)
        if dtype.kind not in self.kinds and not (dtype.name == "bfloat16" and "f" in self.kinds):
            takes = ", ".join(_KINDS[k] for k in self.kinds if k in _KINDS)
            raise OperandTypeError(f"{self.name} takes operands of {takes} dtype, not {dtype.name}")
        return Aval(self.common_shape(avals), self.result_dtype(dtype))

    def operand_dtype(self, avals: Sequence[Aval]) -> np.dtype[Any]:
        """The dtype that all operands share; a Python scalar shares any."""
        strong = [a.dtype for a in avals if not a.weak] or [avals[0].dtype]
        if any(d != strong[0] for d in strong):
            raise OperandTypeError(
                f"{self.name} takes operands of one dtype, not {', '.join(dtype_name(a.dtype) for a in avals)}; "
                f"convert one of them (funcgrad.numpy promotes by itself)"
            )
        return strong[0]

    def common_shape(self, avals: Sequence[Aval]) -> tuple[int, ...]:
        """The shape that all operands of rank above 0 share."""
        shape: tuple[int, ...] = ()
        for a in avals:
            if a.shape:
                if shape and a.shape != shape:
                    raise OperandError(
                        f"{self.name} takes operands of one shape (or rank 0), not {', '.join(str(a.shape) for a in avals)}"
                    )
                shape = a.shape
        return shape

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """The dtype of the result for operands of ``dtype``."""
        if self.result == "same":
            return dtype
        if self.result == "bool":
            return _BOOL
        if self.result == "real":
            return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
        if dtype.itemsize < 4:
            raise OperandTypeError(
                f"{self.name}: there are no complex numbers of dtype {dtype.name}; convert to float32"
            )
        return np.dtype(f"c{dtype.itemsize * 2}")

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        y = self(*primals, **params)
        shape = shape_of(y)
        total = None
        for t, rule in zip(tangents, self.rules, strict=True):
            if t is None or rule is None:
                continue
            if t.shape != shape:
                t = structure.broadcast_in_dim(t, shape=shape, dims=())
            part = rule(t, y, *primals, **params)
            if part is not None:
                total = part if total is None else add(total, part)
        return y, total

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        if not self.linear:
            return super().transpose(ct, *args, **params)
        out: list[Any] = [None] * len(args)
        for i, x in enumerate(args):
            if type(x) is Var and (rule := self.linear[i]) is not None:
                c = rule(ct, *args, **params)
                if x.aval.shape != shape_of(c):
                    c = reduction.reduce_sum(c, axes=tuple(range(c.ndim)))
                out[i] = c
        return out

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        shapes = [shape_of(x)[1:] if b else shape_of(x) for x, b in zip(args, batched, strict=True)]
        shape = max(shapes, key=len)
        full = (size, *shape)
        operands = []
        for x, b, s in zip(args, batched, shapes, strict=True):
            if b and len(s) < len(shape):
                x = structure.broadcast_in_dim(x, shape=full, dims=(0,))
            elif not b and s:
                x = structure.broadcast_in_dim(x, shape=full, dims=tuple(range(1, len(full))))
            operands.append(x)
        return self(*operands, **params), True


class Convert(Elementwise):
    """Conversion to another dtype; ``weak`` marks a rank-0 result as a Python scalar."""

    def __init__(self, name: str, kinds: str) -> None:
        super().__init__(name, kinds)
        self.keeps_type = False

    def type(self, *avals: Aval, **params: Any) -> Aval:
        (x,) = avals
        dtype, weak = params["dtype"], params.get("weak", False)
        if x.dtype.kind == "c" and dtype.kind not in "cb":
            raise OperandTypeError(f"convert does not drop the imaginary part of {x}; use real() first")
        if weak and x.shape:
            raise OperandTypeError(f"only a value of rank 0 can be weak, not {x}")
        return Aval(x.shape, dtype, weak)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        (x,) = args
        if dtype_of(ct).kind == "c" and x.aval.dtype.kind != "c":
            ct = real(ct)
        return [convert(ct, dtype=x.aval.dtype)]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        y = self(*primals, **params)
        return y, self(tangents[0], dtype=params["dtype"]) if is_inexact(params["dtype"]) else None

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        # Rows of Python scalars are an array.
        return self(*args, dtype=params["dtype"]), True


class Select(Elementwise):
    """``on_true`` where ``pred``, else ``on_false``."""

    def operand_dtype(self, avals: Sequence[Aval]) -> np.dtype[Any]:
        if avals[0].dtype != _BOOL:
            raise OperandTypeError(f"select takes a boolean predicate, not {avals[0]}")
        return super().operand_dtype(avals[1:])


_ALL, _NUMBER, _INEXACT, _FLOAT, _INT, _BITS, _ORDERED = "bifuc", "iufc", "fc", "f", "iu", "biu", "biuf"

# Arithmetic -----------------------------------------------------------------------------------------------------------

neg: Elementwise = Elementwise("neg", _NUMBER, lambda t, y, x: neg(t), linear=[lambda ct, x: neg(ct)])
add = Elementwise(
    "add",
    _ALL,
    lambda t, z, x, y: t,
    lambda t, z, x, y: t,
    linear=[lambda ct, x, y: ct, lambda ct, x, y: ct],
)
sub = Elementwise(
    "sub",
    _NUMBER,
    lambda t, z, x, y: t,
    lambda t, z, x, y: neg(t),
    linear=[lambda ct, x, y: ct, lambda ct, x, y: neg(ct)],
)
mul: Elementwise = Elementwise(
    "mul",
    _ALL,
    lambda t, z, x, y: mul(t, y),
    lambda t, z, x, y: mul(x, t),
    linear=[lambda ct, x, y: mul(ct, y), lambda ct, x, y: mul(x, ct)],
)
div: Elementwise = Elementwise(
    "div",
    _INEXACT,
    lambda t, z, x, y: div(t, y),
    lambda t, z, x, y: mul(t, neg(div(z, y))),
    linear=[lambda ct, x, y: div(ct, y), None],
)
floor_divide = Elementwise("floor_divide", _ORDERED, None, None)
remainder = Elementwise("remainder", _ORDERED, lambda t, z, x, y: t, lambda t, z, x, y: mul(t, neg(floor_divide(x, y))))
fmod = Elementwise("fmod", _ORDERED, lambda t, z, x, y: t, lambda t, z, x, y: mul(t, neg(div(sub(x, z), y))))


def _typed(x: Any, like: Any) -> Any:
    """A Python scalar in the dtype of ``like``, for a rule that combines it with itself."""
    return dtype_of(like).type(x) if type(x) in (int, float, complex) else x


def _pow_base(t: Any, z: Any, x: Any, y: Any) -> Any:
    # y * x**(y-1), which at y = 0 is 0 even where x = 0.
    y = _typed(y, z)
    return mul(t, mul(y, pow_(x, select(eq(y, 0), 1, sub(y, 1)))))


def _pow_exponent(t: Any, z: Any, x: Any, y: Any) -> Any:
    # z * log(x), which at x = 0 is 0: x**y is then constant in y on either side of it.
    x = _typed(x, z)
    return mul(t, mul(z, log(select(eq(x, 0), 1, x))))


def _integer_pow(t: Any, z: Any, x: Any, y: int) -> Any:
    if y == 0:
        return None
    if y == 1:
        return t
    return mul(t, mul(float(y), x if y == 2 else integer_pow(x, y=y - 1)))


pow_ = Elementwise("pow", _NUMBER, _pow_base, _pow_exponent)
integer_pow = Elementwise("integer_pow", _NUMBER, _integer_pow)
sqrt = Elementwise("sqrt", _INEXACT, lambda t, y, x: mul(t, div(0.5, y)))
rsqrt = Elementwise("rsqrt", _INEXACT, lambda t, y, x: mul(t, mul(-0.5, div(y, x))))
cbrt = Elementwise("cbrt", _FLOAT, lambda t, y, x: mul(t, div(1 / 3, mul(y, y))))

# Exponentials ---------------------------------------------------------------------------------------------------------

exp = Elementwise("exp", _INEXACT, lambda t, y, x: mul(t, y))
exp2 = Elementwise("exp2", _INEXACT, lambda t, y, x: mul(t, mul(math.log(2), y)))
expm1 = Elementwise("expm1", _INEXACT, lambda t, y, x: mul(t, add(y, 1.0)))
log = Elementwise("log", _INEXACT, lambda t, y, x: div(t, x))
log1p = Elementwise("log1p", _INEXACT, lambda t, y, x: div(t, add(x, 1.0)))
logistic = Elementwise("logistic", _FLOAT, lambda t, y, x: mul(t, mul(y, sub(1.0, y))))
erf = Elementwise("erf", _FLOAT, lambda t, y, x: mul(t, mul(2 / math.sqrt(math.pi), exp(neg(mul(x, x))))))

# Trigonometry ---------------------------------------------------------------------------------------------------------

sin = Elementwise("sin", _INEXACT, lambda t, y, x: mul(t, cos(x)))
cos: Elementwise = Elementwise("cos", _INEXACT, lambda t, y, x: mul(t, neg(sin(x))))
tan = Elementwise("tan", _INEXACT, lambda t, y, x: mul(t, add(1.0, mul(y, y))))
asin = Elementwise("asin", _INEXACT, lambda t, y, x: mul(t, rsqrt(sub(1.0, mul(x, x)))))
acos = Elementwise("acos", _INEXACT, lambda t, y, x: mul(t, neg(rsqrt(sub(1.0, mul(x, x))))))
atan = Elementwise("atan", _INEXACT, lambda t, y, x: div(t, add(1.0, mul(x, x))))
sinh = Elementwise("sinh", _INEXACT, lambda t, y, x: mul(t, cosh(x)))
cosh: Elementwise = Elementwise("cosh", _INEXACT, lambda t, y, x: mul(t, sinh(x)))
tanh = Elementwise("tanh", _INEXACT, lambda t, y, x: mul(t, sub(1.0, mul(y, y))))
asinh = Elementwise("asinh", _INEXACT, lambda t, y, x: mul(t, rsqrt(add(mul(x, x), 1.0))))
acosh = Elementwise("acosh", _INEXACT, lambda t, y, x: mul(t, mul(rsqrt(sub(x, 1.0)), rsqrt(add(x, 1.0)))))
atanh = Elementwise("atanh", _INEXACT, lambda t, y, x: div(t, mul(sub(1.0, x), add(1.0, x))))


def _square_sum(z: Any, x: Any, y: Any) -> Any:
    x, y = _typed(x, z), _typed(y, z)
    return add(mul(x, x), mul(y, y))


atan2 = Elementwise(
    "atan2",
    _FLOAT,
    lambda t, z, x, y: mul(t, div(y, _square_sum(z, x, y))),
    lambda t, z, x, y: mul(t, div(neg(_typed(x, z)), _square_sum(z, x, y))),
)

# Sign, order, rounding ------------------------------------------------------------------------------------------------


def _abs(t: Any, y: Any, x: Any) -> Any:
    return real(mul(t, conj(sign(x)))) if dtype_of(t).kind == "c" else mul(t, sign(x))


def _sign(t: Any, y: Any, x: Any) -> Any:
    # A real sign is flat. A complex one, x/|x|, turns by the part of t that is orthogonal to x.
    if dtype_of(t).kind != "c":
        return None
    along = real(mul(t, conj(y)))
    return div(sub(t, mul(y, complex_(along, 0.0))), complex_(abs_(x), 0.0))


def _chosen(better: Elementwise) -> tuple[Rule, Rule]:
    # The operand that is chosen takes the tangent; equal ones take half each (a symmetric subgradient).
    def share(t: Any, x: Any, y: Any) -> Any:
        return mul(t, select(better(x, y), 1.0, select(eq(x, y), 0.5, dtype_of(t).type(0))))

    return (lambda t, z, x, y: share(t, x, y)), (lambda t, z, x, y: share(t, y, x))


abs_ = Elementwise("abs", _ALL, _abs, result="real")
sign = Elementwise("sign", _NUMBER, _sign)
floor = Elementwise("floor", _FLOAT, None)
ceil = Elementwise("ceil", _FLOAT, None)
round_ = Elementwise("round", _FLOAT, None)
eq = Elementwise("eq", _ALL, None, None, result="bool")
ne = Elementwise("ne", _ALL, None, None, result="bool")
lt = Elementwise("lt", _ALL, None, None, result="bool")
le = Elementwise("le", _ALL, None, None, result="bool")
gt = Elementwise("gt", _ALL, None, None, result="bool")
ge = Elementwise("ge", _ALL, None, None, result="bool")
max_ = Elementwise("max", _ALL, *_chosen(gt))
min_ = Elementwise("min", _ALL, *_chosen(lt))
# x and its neighbour differ by a rounding: the neighbour moves with x.
nextafter = Elementwise("nextafter", _FLOAT, lambda t, z, x, y: t, None)
is_finite = Elementwise("is_finite", _INEXACT, None, result="bool")

# Bits -----------------------------------------------------------------------------------------------------------------

not_ = Elementwise("not", _BITS, None)
and_ = Elementwise("and", _BITS, None, None)
or_ = Elementwise("or", _BITS, None, None)
xor = Elementwise("xor", _BITS, None, None)
shift_left = Elementwise("shift_left", _INT, None, None)
shift_right = Elementwise("shift_right", _INT, None, None)
population_count = Elementwise("population_count", _INT, None)

# Complex numbers, conversion, choice ----------------------------------------------------------------------------------

real: Elementwise = Elementwise(
    "real",
    "c",
    lambda t, y, x: real(t),
    result="real",
    linear=[lambda ct, x: complex_(ct, 0.0)],
)
imag: Elementwise = Elementwise(
    "imag",
    "c",
    lambda t, y, x: imag(t),
    result="real",
    linear=[lambda ct, x: complex_(0.0, neg(ct))],
)
conj: Elementwise = Elementwise("conj", "c", lambda t, y, x: conj(t), linear=[lambda ct, x: conj(ct)])
complex_: Elementwise = Elementwise(
    "complex",
    _FLOAT,
    lambda t, z, x, y: complex_(t, 0.0),
    lambda t, z, x, y: complex_(0.0, t),
    result="complex",
    linear=[lambda ct, x, y: real(ct), lambda ct, x, y: neg(imag(ct))],
)
convert = Convert("convert", _ALL)
select: Select = Select(
    "select",
    _ALL,
    None,
    lambda t, z, p, x, y: select(p, t, 0.0),
    lambda t, z, p, x, y: select(p, 0.0, t),
    linear=[
        None,
        lambda ct, p, x, y: select(p, ct, 0.0),
        lambda ct, p, x, y: select(p, 0.0, ct),
    ],
)
