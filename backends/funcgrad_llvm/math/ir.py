"""A small language in which the elementary functions are written: values whose operators write LLVM's text.

A function of the package takes and gives a `Value`; `x * x + 1` appends a multiplication and an addition to the body of
the LLVM function that is being written. The same Python text serves single and double precision: whatever depends on
the format is read from `x.format`. A Python number is a constant of the other operand's type.

A value has as many lanes as the function that is being written has; one lane is a plain number.

Nothing here is contracted or reassociated behind the author's back, since error analysis depends on it; where a fused
multiplication and addition is meant, it is written `fma(a, b, c)`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """An IEEE 754 binary format."""

    name: str
    type: str
    integer: str
    bits: int
    mantissa: int  #: bits of the fraction that are stored
    bias: int  #: of the exponent

    @property
    def one(self) -> int:
        """The bits of 1."""
        return self.bias << self.mantissa

    @property
    def sign(self) -> int:
        """The bits of -0."""
        return 1 << (self.bits - 1)

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)

    @property
    def tiny(self) -> float:
        """Below it, x + c x^2 and x + c x^3 round to x."""
        return 2.0 ** -(self.mantissa + 4)

    @property
    def magic(self) -> float:
        """1.5 2^mantissa: a number added to it is rounded to an integer, which the low bits then hold."""
        return 1.5 * 2.0**self.mantissa

    def bits_of(self, x: float) -> int:
        return int.from_bytes(struct.pack("<f" if self.bits == 32 else "<d", x), "little")

    def round(self, x: float) -> float:
        """The nearest number of the format."""
        return float(struct.unpack("f", struct.pack("f", x))[0]) if self.bits == 32 else x


FLOAT32 = Format("f32", "float", "i32", 32, 23, 127)
FLOAT64 = Format("f64", "double", "i64", 64, 52, 1023)
_FORMATS = {"float": FLOAT32, "double": FLOAT64, "i32": FLOAT32, "i64": FLOAT64}


class Block:
    """The body of a function while it is written, all of whose values have the same number of lanes."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.lines: list[str] = []

    def typed(self, scalar: str) -> str:
        """A vector of the scalar type; one lane is no vector."""
        return scalar if self.lanes == 1 else f"<{self.lanes} x {scalar}>"

    def overload(self, scalar: str) -> str:
        """What the name of an intrinsic function of this type ends in."""
        name = _FORMATS[scalar].name if scalar in ("float", "double") else scalar
        return name if self.lanes == 1 else f"v{self.lanes}{name}"

    def emit(self, scalar: str, text: str) -> Value:
        """Append an instruction; its result."""
        name = f"%v{len(self.lines)}"
        self.lines.append(f"  {name} = {text}")
        return Value(self, scalar, name)


class Value:
    """Numbers of the scalar type `float`, `double`, `i1` or an integer, one in each lane. Comparisons are ordered, hence
    false for NaN."""

    __slots__ = ("block", "scalar", "text")

    def __init__(self, block: Block, scalar: str, text: str) -> None:
        self.block, self.scalar, self.text = block, scalar, text

    @property
    def type(self) -> str:
        return self.block.typed(self.scalar)

    @property
    def format(self) -> Format:
        """The format of a floating-point value, or the one that an integer has the bits of."""
        return _FORMATS[self.scalar]

    @property
    def is_float(self) -> bool:
        return self.scalar in ("float", "double")

    def constant(self, x: Value | float) -> Value:
        """x as a value of this type."""
        if isinstance(x, Value):
            return x
        text = _literal(self.scalar, x)
        return Value(self.block, self.scalar, text if self.block.lanes == 1 else f"splat ({self.scalar} {text})")

    def _binary(self, float_op: str, integer_op: str, other: Value | float, swapped: bool = False) -> Value:
        a, b = self, self.constant(other)
        if a.scalar != b.scalar:
            raise TypeError(f"{float_op}: operands are of types {a.scalar} and {b.scalar}.")
        if swapped:
            a, b = b, a
        op = float_op if self.is_float else integer_op
        return self.block.emit(self.scalar, f"{op} {self.type} {a.text}, {b.text}")

    def __add__(self, other):
        return self._binary("fadd", "add", other)

    __radd__ = __add__

    def __sub__(self, other):
        return self._binary("fsub", "sub", other)

    def __rsub__(self, other):
        return self._binary("fsub", "sub", other, swapped=True)

    def __mul__(self, other):
        return self._binary("fmul", "mul", other)

    __rmul__ = __mul__

    def __truediv__(self, other):
        return self._binary("fdiv", "udiv", other)

    def __rtruediv__(self, other):
        return self._binary("fdiv", "udiv", other, swapped=True)

    def __and__(self, other):
        return self._binary("and", "and", other)

    def __or__(self, other):
        return self._binary("or", "or", other)

    def __xor__(self, other):
        return self._binary("xor", "xor", other)

    def __lshift__(self, other):
        return self._binary("shl", "shl", other)

    def __rshift__(self, other):
        """The logical shift: zeros come in from the left."""
        return self._binary("lshr", "lshr", other)

    def __neg__(self):
        if self.is_float:
            return self.block.emit(self.scalar, f"fneg {self.type} {self.text}")
        return 0 - self

    def _compare(self, condition: str, other: Value | float) -> Value:
        other = self.constant(other)
        if self.is_float:
            text = f"fcmp o{condition}"
        else:
            text = f"icmp {condition if condition == 'eq' else 's' + condition}"
        return self.block.emit("i1", f"{text} {self.type} {self.text}, {other.text}")

    def __lt__(self, other):
        return self._compare("lt", other)

    def __le__(self, other):
        return self._compare("le", other)

    def __gt__(self, other):
        return self._compare("gt", other)

    def __ge__(self, other):
        return self._compare("ge", other)


def _literal(type: str, x: float) -> str:
    if type == "i1":
        return "true" if x else "false"
    if type.startswith("i"):
        bits = int(type[1:])
        return str((int(x) + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1))
    # LLVM writes a float as the double that it is exactly equal to.
    return f"0x{FLOAT64.bits_of(_FORMATS[type].round(float(x))):016X}"


def equal(a: Value, b: Value | float) -> Value:
    return a._compare("eq", b)


def is_nan(x: Value) -> Value:
    return x.block.emit("i1", f"fcmp uno {x.type} {x.text}, {x.text}")


def select(condition: Value, a: Value | float, b: Value | float) -> Value:
    """a where the condition holds, else b; both are computed."""
    like = a if isinstance(a, Value) else b
    assert isinstance(like, Value)
    a, b = like.constant(a), like.constant(b)
    return like.block.emit(
        like.scalar, f"select {condition.type} {condition.text}, {like.type} {a.text}, {like.type} {b.text}"
    )


def _intrinsic(name: str, *operands: Value) -> Value:
    x = operands[0]
    arguments = ", ".join(f"{o.type} {o.text}" for o in operands)
    return x.block.emit(x.scalar, f"call {x.type} @llvm.{name}.{x.block.overload(x.scalar)}({arguments})")


def fma(a: Value, b: Value | float, c: Value | float) -> Value:
    """a b + c, rounded once."""
    return _intrinsic("fma", a, a.constant(b), a.constant(c))


def absolute(x: Value) -> Value:
    return _intrinsic("fabs", x)


def square_root(x: Value) -> Value:
    return _intrinsic("sqrt", x)


def copy_sign(magnitude: Value, sign: Value) -> Value:
    return _intrinsic("copysign", magnitude, sign)


def floor(x: Value) -> Value:
    return _intrinsic("floor", x)


def minimum(x: Value, bound: float) -> Value:
    """The smaller of both; NaN stays NaN."""
    return select(x > bound, bound, x)


def maximum(x: Value, bound: float) -> Value:
    """The larger of both; NaN stays NaN."""
    return select(x < bound, bound, x)


def convert(operation: str, x: Value, scalar: str) -> Value:
    """LLVM's conversion of this name."""
    return x.block.emit(scalar, f"{operation} {x.type} {x.text} to {x.block.typed(scalar)}")


def bits(x: Value) -> Value:
    return convert("bitcast", x, x.format.integer)


def from_bits(x: Value) -> Value:
    return convert("bitcast", x, x.format.type)


def widen(x: Value) -> Value:
    """float32 to float64."""
    return convert("fpext", x, "double")


def narrow(x: Value) -> Value:
    """float64 to float32."""
    return convert("fptrunc", x, "float")


def horner(x: Value, coefficients: Sequence[float]) -> Value:
    """The polynomial with these coefficients, lowest degree first."""
    *rest, last = coefficients
    y = x.constant(last)
    for c in reversed(rest):
        y = fma(y, x, c)
    return y


def nearest_integer(x: Value, scale: float = 1.0) -> tuple[Value, Value]:
    """The integer nearest to `scale x`, for less than 2^(mantissa - 1), as a floating-point number and as an integer.

    Adding 1.5 2^mantissa leaves no bits for a fraction; the integer then stands in the lowest bits. This is one
    operation in either precision, where a conversion to 64-bit integers needs AVX-512, and it has no undefined case.
    """
    f = x.format
    shifted = x + f.magic if scale == 1 else fma(x, scale, f.magic)
    return shifted - f.magic, bits(shifted) - f.bits_of(f.magic)


def power_of_two(k: Value) -> Value:
    """2^k for an integer k in the range of normal exponents."""
    f = k.format
    return from_bits((k + f.bias) << f.mantissa)


def define(name: str, body: Callable[..., Value], scalars: Iterable[str], lanes: int, inline: bool = True) -> str:
    """The text of the LLVM function of this name; `scalars` are the scalar types of its arguments."""
    block = Block(lanes)
    arguments = [Value(block, scalar, f"%x{i}") for i, scalar in enumerate(scalars)]
    result = body(*arguments)
    parameters = ", ".join(f"{a.type} {a.text}" for a in arguments)
    attributes = f"{'alwaysinline' if inline else 'noinline'} nounwind willreturn memory(none)"
    header = f"define internal {result.type} @{name}({parameters}) {attributes} {{"
    return "\n".join([header, "entry:", *block.lines, f"  ret {result.type} {result.text}", "}"])
