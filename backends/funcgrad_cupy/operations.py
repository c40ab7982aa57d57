"""Elementwise primitives as expressions of CUDA C++: a table from the name to the text of the result.

Operands are texts of values in the dtype of computation (float for half precision). Integers wrap, as NumPy's do; a
division of integers by zero gives 0; maxima and minima hand NaN on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .kernels import c_type

__all__ = ["EXPRESSIONS", "cast", "compute_type", "convert", "expression", "has_expression", "literal"]

Expression = Callable[..., str]


def compute_type(dtype: np.dtype[Any]) -> str:
    """The C++ type in which values of a dtype are computed with."""
    return "float" if dtype.name in ("float16", "bfloat16") else c_type(dtype)


def cast(kind: str, text: str) -> str:
    """A conversion: ``float(x)``, and ``(unsigned char)(x)`` where the name of the type is of several words."""
    return f"({kind})({text})" if " " in kind else f"{kind}({text})"


def _is_float(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"


def literal(value: Any, dtype: np.dtype[Any]) -> str:
    """A constant, exactly."""
    if dtype.kind == "b":
        return "true" if value else "false"
    if not _is_float(dtype):
        number = int(value)
        text = f"{number}ULL" if dtype.kind == "u" else f"{number}LL"
        return cast(c_type(dtype), "-9223372036854775807LL - 1" if number == -(2**63) else text)
    single = dtype.itemsize < 8
    number = float(np.float32(value)) if dtype.itemsize == 4 else float(np.asarray(value, dtype))
    kind = "float" if single else "double"
    if number != number:
        return 'nanf("")' if single else 'nan("")'
    if number in (np.inf, -np.inf):
        return f"{kind}({'-' if number < 0 else ''}INFINITY)"
    return f"{'-' if np.signbit(number) else ''}{_digits(abs(number))}{'f' if single else ''}"


def _digits(number: float) -> str:
    return repr(number) if 1e-3 <= number < 1e7 or number == 0 else number.hex()


def _function(name: str) -> Expression:
    """A function of CUDA's library, with its name's ``f`` in single precision."""
    return lambda d, p, *xs: f"{name}{'' if d.itemsize == 8 else 'f'}({', '.join(xs)})"


def _arithmetic(sign: str, logical: str) -> Expression:
    def write(d: np.dtype[Any], p: Any, x: str, y: str) -> str:
        if _is_float(d):
            return f"{x} {sign} {y}"
        if d.kind == "b":
            return f"{x} {logical} {y}"
        return cast(c_type(d), f"wide_t<{c_type(d)}>({x}) {sign} wide_t<{c_type(d)}>({y})")

    return write


def _compared(sign: str) -> Expression:
    return lambda d, p, x, y: f"{x} {sign} {y}"


def _bitwise(sign: str, logical: str) -> Expression:
    return lambda d, p, x, y: f"{x} {logical} {y}" if d.kind == "b" else cast(c_type(d), f"{x} {sign} {y}")


def _extremum(name: str, logical: str) -> Expression:
    return lambda d, p, x, y: f"{x} {logical} {y}" if d.kind == "b" else f"{name}({x}, {y})"


def _divided(name: str) -> Expression:
    return lambda d, p, x, y: f"{'float' if _is_float(d) else 'integer'}_{name}({x}, {y})"


def _abs(d: np.dtype[Any], p: Any, x: str) -> str:
    if _is_float(d):
        return _function("fabs")(d, p, x)
    return f"{x} < 0 ? {_neg(d, p, x)} : {x}" if d.kind == "i" else x


def _neg(d: np.dtype[Any], p: Any, x: str) -> str:
    return f"-{x}" if _is_float(d) else cast(c_type(d), f"wide_t<{c_type(d)}>(0) - wide_t<{c_type(d)}>({x})")


def _rounding(name: str) -> Expression:
    return lambda d, p, x: _function(name)(d, p, x) if _is_float(d) else x


def _integer_pow(d: np.dtype[Any], p: Mapping[str, Any], x: str) -> str:
    y = p["y"]
    if not _is_float(d):
        return cast(c_type(d), f"power_of<{y}>(wide_t<{c_type(d)}>({x}))")
    return f"power_of<{y}>({x})" if y >= 0 else f"1 / power_of<{-y}>({x})"


def _pow(d: np.dtype[Any], p: Any, x: str, y: str) -> str:
    return _function("pow")(d, p, x, y) if _is_float(d) else f"integer_power({x}, {y})"


#: What CUDA's library has under the same name.
_LIBRARY = "acos acosh asin asinh atan atan2 atanh cbrt cos cosh erf erfc exp exp2 expm1 log log1p nextafter sin sinh sqrt tan tanh"

#: From a primitive to a function of the operands' dtype, the parameters and the operands' texts.
EXPRESSIONS: dict[str, Expression] = {
    **{name: _function(name) for name in _LIBRARY.split()},
    "abs": _abs,
    "add": _arithmetic("+", "||"),
    "and": _bitwise("&", "&&"),
    "ceil": _rounding("ceil"),
    "copy": lambda d, p, x: x,
    "div": lambda d, p, x, y: f"{x} / {y}",
    "eq": _compared("=="),
    "floor": _rounding("floor"),
    "floor_divide": _divided("floor_divide"),
    "fmod": lambda d, p, x, y: f"fmod_of({x}, {y})" if _is_float(d) else f"integer_fmod({x}, {y})",
    "ge": _compared(">="),
    "gt": _compared(">"),
    "integer_pow": _integer_pow,
    "is_finite": lambda d, p, x: f"{_function('fabs')(d, p, x)} < INFINITY" if _is_float(d) else "true",
    "le": _compared("<="),
    "logistic": lambda d, p, x: f"logistic_of({x})",
    "lt": _compared("<"),
    "max": _extremum("larger", "||"),
    "min": _extremum("smaller", "&&"),
    "mul": _arithmetic("*", "&&"),
    "ne": _compared("!="),
    "neg": _neg,
    "not": lambda d, p, x: f"!{x}" if d.kind == "b" else cast(c_type(d), f"~{x}"),
    "or": _bitwise("|", "||"),
    "population_count": lambda d, p, x: f"bits_set({x})",
    "pow": _pow,
    "remainder": _divided("remainder"),
    "round": _rounding("rint"),
    "rsqrt": lambda d, p, x: f"1 / {_function('sqrt')(d, p, x)}",
    "select": lambda d, p, c, x, y: f"{c} ? {x} : {y}",
    "shift_left": lambda d, p, x, y: f"shifted_left({x}, {y})",
    "shift_right": lambda d, p, x, y: f"shifted_right({x}, {y})",
    "sign": lambda d, p, x: f"sign_of({x})" if d.kind != "u" else cast(c_type(d), f"{x} > 0"),
    "sub": _arithmetic("-", "!="),
    "xor": _bitwise("^", "!="),
}


def has_expression(name: str, dtypes: list[np.dtype[Any]], params: Mapping[str, Any]) -> bool:
    """Whether a primitive on operands of these dtypes can be written: all but complex numbers, and NumPy's errors.

    NumPy divides booleans in int8, and raises for an integer to a negative power.
    """
    if name != "convert" and name not in EXPRESSIONS:
        return False
    if any(d.kind not in "biuf" and d.name != "bfloat16" for d in dtypes):
        return False
    operand = dtypes[0]
    if (
        name in ("floor_divide", "remainder", "fmod", "pow", "sign", "shift_left", "shift_right")
        and operand.kind == "b"
    ):
        return False
    if name == "pow" and operand.kind == "i":
        return False
    if name == "nextafter" and operand.itemsize == 2:
        return False
    return name != "integer_pow" or _is_float(operand) or (params["y"] >= 0 and operand.kind != "b")


def expression(name: str, dtype: np.dtype[Any], params: Mapping[str, Any], operands: list[str]) -> str:
    """The text of a primitive's result, in the type of computation of its dtype."""
    return EXPRESSIONS[name](dtype, params, *operands)


def convert(x: str, source: np.dtype[Any], target: np.dtype[Any]) -> str:
    """A value of one dtype in another; what does not fit an integer is cut off a wider one, as C compilers do."""
    if target.kind == "b":
        return f"{x} != 0"
    if _is_float(source) and not _is_float(target):
        wide = "long long" if target.itemsize == 8 or (target.kind == "u" and target.itemsize == 4) else "int"
        wide = "unsigned long long" if target.kind == "u" and target.itemsize == 8 else wide
        return cast(c_type(target), cast(wide, x))
    if target.name in ("float16", "bfloat16"):
        # Rounded once: from double, not by way of float.
        return f"load(store<{c_type(target)}>({x}))" if source.itemsize == 8 and _is_float(source) else f"float({x})"
    return cast(c_type(target), x)
