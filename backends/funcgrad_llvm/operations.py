"""Elementwise primitives as LLVM instructions, with NumPy's results at every edge.

An entry takes an :class:`Operation` and the operands' registers, and gives the register of the result. Where C leaves a
result open (a division by zero, a shift by more than the width), it is what NumPy defines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import math
from .ir import Writer, literal, register_type, splat, typed

__all__ = ["NAMES", "Operation", "convert", "elementwise", "is_elementwise"]

_BOOL = np.dtype(np.bool_)


class Operation:
    """An operation on operands of one dtype: the writer, that dtype, the number of lanes and the parameters."""

    def __init__(self, writer: Writer, dtype: np.dtype, lanes: int, params: dict[str, Any]) -> None:
        self.writer, self.dtype, self.lanes, self.params = writer, dtype, lanes, params
        self.scalar = register_type(dtype)
        self.type = typed(self.scalar, lanes)
        self.mask = typed("i1", lanes)

    @property
    def is_float(self) -> bool:
        return self.dtype.kind == "f"

    @property
    def suffix(self) -> str:
        """What the name of an intrinsic of this type ends in."""
        name = {"half": "f16", "float": "f32", "double": "f64"}.get(self.scalar, self.scalar)
        return name if self.lanes == 1 else f"v{self.lanes}{name}"

    def constant(self, value: Any) -> str:
        return splat(self.scalar, literal(value, self.dtype), self.lanes)

    def binary(self, instruction: str, x: str, y: str) -> str:
        return self.writer.emit(f"{instruction} {self.type} {x}, {y}")

    def unary(self, instruction: str, x: str) -> str:
        return self.writer.emit(f"{instruction} {self.type} {x}")

    def intrinsic(self, name: str, *operands: str) -> str:
        return self.writer.intrinsic(f"llvm.{name}.{self.suffix}", self.type, *[(self.type, x) for x in operands])

    def compare(self, relation: str, x: str, y: str) -> str:
        """`relation` is one of eq ne lt le gt ge; false with NaN, but for ne."""
        if self.is_float:
            code = f"fcmp {'une' if relation == 'ne' else 'o' + relation}"
        elif relation in ("eq", "ne"):
            code = f"icmp {relation}"
        else:
            code = f"icmp {'s' if self.dtype.kind == 'i' else 'u'}{relation}"
        return self.writer.emit(f"{code} {self.type} {x}, {y}")

    def select(self, chosen: str, x: str, y: str) -> str:
        return self.writer.emit(f"select {self.mask} {chosen}, {self.type} {x}, {self.type} {y}")

    def logical(self, instruction: str, x: str, y: str) -> str:
        return self.writer.emit(f"{instruction} {self.mask} {x}, {y}")

    def is_nan(self, x: str) -> str:
        return self.writer.emit(f"fcmp uno {self.type} {x}, {x}")


Emitter = Callable[..., str]


def _arithmetic(for_float: str, for_integer: str, for_bool: str = "") -> Emitter:
    def emit(o: Operation, x: str, y: str) -> str:
        return o.binary(for_float if o.is_float else for_bool if o.dtype.kind == "b" else for_integer, x, y)

    return emit


def _comparison(relation: str) -> Emitter:
    return lambda o, x, y: o.compare(relation, x, y)


def _neg(o: Operation, x: str) -> str:
    return o.unary("fneg", x) if o.is_float else o.binary("sub", o.constant(0), x)


def _abs(o: Operation, x: str) -> str:
    if o.is_float:
        return o.intrinsic("fabs", x)
    return o.select(o.compare("lt", x, o.constant(0)), _neg(o, x), x) if o.dtype.kind == "i" else x


def _sign(o: Operation, x: str) -> str:
    zero = o.constant(0)
    positive = o.select(o.compare("gt", x, zero), o.constant(1), zero)
    if o.dtype.kind == "u":
        return positive
    result = o.select(o.compare("lt", x, zero), o.constant(-1), positive)
    return o.select(o.is_nan(x), x, result) if o.is_float else result


def _extremum(relation: str) -> Emitter:
    """The operand that is larger (or smaller); NaN if one is."""

    def emit(o: Operation, x: str, y: str) -> str:
        if o.dtype.kind == "b":
            return o.binary("or" if relation == "gt" else "and", x, y)
        better = o.select(o.compare(relation, x, y), x, y)
        return o.select(o.is_nan(x), x, better) if o.is_float else better

    return emit


def _integer_pow(o: Operation, x: str) -> str:
    """By repeated squaring, in the same order as the NumPy back end's."""
    y = o.params["y"]
    times = "fmul" if o.is_float else "mul"
    one = o.constant(1)
    if y == 0:
        return one
    n, square, result = abs(y), x, None
    while True:
        if n & 1:
            result = square if result is None else o.binary(times, result, square)
        n >>= 1
        if not n:
            break
        square = o.binary(times, square, square)
    return o.binary("fdiv", one, result) if y < 0 else result


def _divisor(o: Operation, x: str, y: str) -> tuple[str, str]:
    """Whether y is 0, and y without what the processor traps on: 0, and -1 below the smallest integer."""
    zero = o.compare("eq", y, o.constant(0))
    trap = zero
    if o.dtype.kind == "i":
        smallest = o.compare("eq", x, o.constant(np.iinfo(o.dtype).min))
        trap = o.logical("or", trap, o.logical("and", smallest, o.compare("eq", y, o.constant(-1))))
    return zero, o.select(trap, o.constant(1), y)


def _integer_parts(o: Operation, x: str, y: str) -> tuple[str, str, str, str]:
    """Whether y is 0, the quotient towards zero, the rest, and whether both are to be moved towards -inf."""
    zero, y = _divisor(o, x, y)
    signed = o.dtype.kind == "i"
    quotient = o.binary("sdiv" if signed else "udiv", x, y)
    rest = o.binary("sub", x, o.binary("mul", quotient, y))
    if not signed:
        return zero, quotient, rest, splat("i1", "false", o.lanes)
    opposite = o.compare("lt", o.binary("xor", rest, y), o.constant(0))
    return zero, quotient, rest, o.logical("and", opposite, o.compare("ne", rest, o.constant(0)))


def _floor_divide(o: Operation, x: str, y: str) -> str:
    if o.dtype.kind == "b":
        return o.binary("and", x, y)
    if not o.is_float:
        zero, quotient, _, moved = _integer_parts(o, x, y)
        quotient = o.select(moved, o.binary("sub", quotient, o.constant(1)), quotient)
        return o.select(zero, o.constant(0), quotient)
    # As npy_divmod: the quotient of what the rest leaves is an integer up to rounding.
    zero = o.constant(0)
    rest = o.binary("frem", x, y)
    quotient = o.binary("fdiv", o.binary("fsub", x, rest), y)
    less = o.binary("fsub", quotient, o.constant(1))
    opposite = o.logical("xor", o.compare("lt", y, zero), o.compare("lt", rest, zero))
    quotient = o.select(o.logical("and", opposite, o.compare("ne", rest, zero)), less, quotient)
    whole = o.intrinsic("floor", quotient)
    short = o.compare("gt", o.binary("fsub", quotient, whole), o.constant(0.5))
    whole = o.select(short, o.binary("fadd", whole, o.constant(1)), whole)
    exact = o.binary("fdiv", x, y)
    whole = o.select(o.compare("ne", quotient, zero), whole, o.intrinsic("copysign", zero, exact))
    return o.select(o.compare("eq", y, zero), exact, whole)


def _remainder(o: Operation, x: str, y: str) -> str:
    if o.dtype.kind == "b":
        return o.binary("and", x, splat("i1", "false", o.lanes))
    if not o.is_float:
        zero, _, rest, moved = _integer_parts(o, x, y)
        rest = o.select(moved, o.binary("add", rest, y), rest)
        return o.select(zero, o.constant(0), rest)
    zero = o.constant(0)
    rest = o.binary("frem", x, y)
    opposite = o.logical("xor", o.compare("lt", y, zero), o.compare("lt", rest, zero))
    moved = o.select(opposite, o.binary("fadd", rest, y), rest)
    moved = o.select(o.compare("ne", rest, zero), moved, o.intrinsic("copysign", zero, y))
    return o.select(o.compare("eq", y, zero), rest, moved)


def _fmod(o: Operation, x: str, y: str) -> str:
    if o.is_float:
        return o.binary("frem", x, y)
    zero, _, rest, _ = _integer_parts(o, x, y)
    return o.select(zero, o.constant(0), rest)


def _shift(left: bool) -> Emitter:
    """By the width or more, or by less than 0, all bits go: what is left are zeros, or the sign."""

    def emit(o: Operation, x: str, y: str) -> str:
        bits = 8 * o.dtype.itemsize
        fits = o.writer.emit(f"icmp ult {o.type} {y}, {o.constant(bits)}")
        signed = not left and o.dtype.kind == "i"
        y = o.select(fits, y, o.constant(bits - 1 if signed else 0))
        result = o.binary("shl" if left else "ashr" if signed else "lshr", x, y)
        return result if signed else o.select(fits, result, o.constant(0))

    return emit


def _not(o: Operation, x: str) -> str:
    return o.binary("xor", x, o.constant(True if o.dtype.kind == "b" else -1))


def _is_finite(o: Operation, x: str) -> str:
    return o.compare("lt", o.intrinsic("fabs", x), o.constant(np.inf))


def _rounding(name: str) -> Emitter:
    return lambda o, x: o.intrinsic(name, x)


def _function(name: str) -> Emitter:
    """A function of :mod:`.math`; half precision is computed in single precision."""

    def emit(o: Operation, *operands: str) -> str:
        w = o.writer
        if o.dtype.itemsize == 2:
            wide = typed("float", o.lanes)
            operands = tuple(w.emit(f"fpext {o.type} {x} to {wide}") for x in operands)
            result = emit(Operation(w, np.dtype(np.float32), o.lanes, o.params), *operands)
            return w.emit(f"fptrunc {wide} {result} to {o.type}")
        symbol = math.symbol(name, o.dtype, o.lanes)
        assert symbol is not None
        w.functions.add(symbol)
        return w.emit(f"call {o.type} @{symbol}({', '.join(f'{o.type} {x}' for x in operands)})")

    return emit


_TABLE: dict[str, Emitter] = {
    "abs": _abs,
    "add": _arithmetic("fadd", "add", "or"),
    "and": _arithmetic("", "and", "and"),
    "ceil": _rounding("ceil"),
    "copy": lambda o, x: x,
    "div": _arithmetic("fdiv", ""),
    "eq": _comparison("eq"),
    "floor": _rounding("floor"),
    "floor_divide": _floor_divide,
    "fmod": _fmod,
    "ge": _comparison("ge"),
    "gt": _comparison("gt"),
    "integer_pow": _integer_pow,
    "is_finite": _is_finite,
    "le": _comparison("le"),
    "lt": _comparison("lt"),
    "max": _extremum("gt"),
    "min": _extremum("lt"),
    "mul": _arithmetic("fmul", "mul", "and"),
    "ne": _comparison("ne"),
    "neg": _neg,
    "not": _not,
    "or": _arithmetic("", "or", "or"),
    "population_count": lambda o, x: o.intrinsic("ctpop", x),
    "remainder": _remainder,
    "round": _rounding("rint"),
    "shift_left": _shift(left=True),
    "shift_right": _shift(left=False),
    "sign": _sign,
    "sqrt": _rounding("sqrt"),
    "sub": _arithmetic("fsub", "sub"),
    "xor": _arithmetic("", "xor", "xor"),
    **{name: _function(name) for name in math.FUNCTIONS},
}


#: All primitives that are written here.
NAMES = frozenset([*_TABLE, "convert", "select"])


def is_elementwise(name: str, dtypes: list[np.dtype], params: dict[str, Any]) -> bool:
    """Whether a primitive on operands of these dtypes can be written here."""
    if name == "integer_pow" and params["y"] < 0:
        return dtypes[0].kind == "f"
    if name in ("fmod", "pow") and dtypes[0].kind in "bui":
        return name == "fmod" and dtypes[0].kind in "ui"
    return name in NAMES


def elementwise(w: Writer, name: str, operands: list[str], dtype: np.dtype, lanes: int, params: dict[str, Any]) -> str:
    """The register with the result of a primitive on operands of one dtype (of a select: of its branches)."""
    o = Operation(w, dtype, lanes, params)
    return o.select(*operands) if name == "select" else _TABLE[name](o, *operands)


def _to_odd(o: Operation, x: str) -> str:
    """A double as a single that is odd in its last bit unless it is exact, so that rounding that again is no error.

    S. Boldo and G. Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd",
    IEEE Trans. Computers 57 (2008) 462-471.
    """
    w, single, bits = o.writer, typed("float", o.lanes), typed("i32", o.lanes)
    nearest = w.emit(f"fptrunc {o.type} {x} to {single}")
    back = w.emit(f"fpext {single} {nearest} to {o.type}")
    inexact = w.emit(f"fcmp one {o.type} {back}, {x}")
    beyond = o.compare("gt", o.intrinsic("fabs", back), o.intrinsic("fabs", x))
    number = w.emit(f"bitcast {single} {nearest} to {bits}")
    number = w.emit(f"sub {bits} {number}, {w.emit(f'zext {o.mask} {beyond} to {bits}')}")
    number = w.emit(f"or {bits} {number}, {w.emit(f'zext {o.mask} {inexact} to {bits}')}")
    return w.emit(f"bitcast {bits} {number} to {single}")


def convert(w: Writer, x: str, source: np.dtype, target: np.dtype, lanes: int) -> str:
    """x in another dtype, as a cast in C, which NumPy does; from an integer too large for the target the low bits."""
    if source == target:
        return x
    here, there = (typed(register_type(d), lanes) for d in (source, target))
    o = Operation(w, source, lanes, {})
    if target.kind == "b":
        return o.compare("ne", x, o.constant(0))
    if source.kind == "b":
        if target.kind == "f":
            return w.emit(f"uitofp {here} {x} to {there}")
        return w.emit(f"zext {here} {x} to {there}")
    single = np.dtype(np.float32)
    if source == np.float16 and target != single:
        return convert(w, w.emit(f"fpext {here} {x} to {typed('float', lanes)}"), single, target, lanes)
    if target == np.float16 and source != single:
        x = _to_odd(o, x) if source.kind == "f" else convert(w, x, source, single, lanes)
        return w.emit(f"fptrunc {typed('float', lanes)} {x} to {there}")
    if source.kind == "f" and target.kind == "f":
        return w.emit(f"{'fpext' if target.itemsize > source.itemsize else 'fptrunc'} {here} {x} to {there}")
    if source.kind == "f":
        # What does not fit is cut off a wider integer, as the processor's scalar instruction and C compilers do.
        if target.kind == "u" and target.itemsize == 8:
            return w.emit(f"fptoui {here} {x} to {there}")
        bits = 64 if target.itemsize == 8 or (target.kind == "u" and target.itemsize == 4) else 32
        wide = typed(f"i{bits}", lanes)
        result = w.emit(f"fptosi {here} {x} to {wide}")
        return result if wide == there else w.emit(f"trunc {wide} {result} to {there}")
    if target.kind == "f":
        return w.emit(f"{'sitofp' if source.kind == 'i' else 'uitofp'} {here} {x} to {there}")
    if source.itemsize == target.itemsize:
        return x
    if target.itemsize < source.itemsize:
        return w.emit(f"trunc {here} {x} to {there}")
    return w.emit(f"{'sext' if source.kind == 'i' else 'zext'} {here} {x} to {there}")
