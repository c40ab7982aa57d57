"""Divisors, bits, and the parts of a floating-point number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandTypeError
from ..core.types import aval_of
from ..lax.control import while_loop
from ._joining import slice_along
from ._promote import asarray, convert_to, eager, expand_to, normalize_axis
from ._shape import broadcast_arrays, moveaxis, ravel, reshape_to
from ._ufunc import Ufunc
from ._ufunc_rules import magnitude, scalar_like, typed

__all__ = ["frexp", "gcd", "lcm", "packbits", "unpackbits"]

_BYTE = np.dtype(np.uint8)
_INT32 = np.dtype(np.int32)


# Divisors -------------------------------------------------------------------------------------------------------------


def _divisor(x: Any, y: Any) -> Any:
    """Euclid's algorithm for all pairs at once, until the last one is done."""

    def step(pair: tuple[Any, Any]) -> tuple[Any, Any]:
        a, b = pair
        done = prim.eq(b, scalar_like(b, 0))
        rest = prim.remainder(a, prim.select(done, scalar_like(b, 1), b))
        return prim.select(done, a, b), prim.select(done, b, rest)

    def unfinished(pair: tuple[Any, Any]) -> Any:
        b = pair[1]
        return prim.reduce_or(prim.ne(b, scalar_like(b, 0)), axes=tuple(range(len(aval_of(b).shape))))

    return while_loop(unfinished, step, (magnitude(x), magnitude(y)))[0]


def _gcd_rule(x: Any, y: Any) -> Any:
    return _divisor(*broadcast_arrays(x, y))


def _lcm_rule(x: Any, y: Any) -> Any:
    x, y = broadcast_arrays(x, y)
    divisor = _divisor(x, y)
    divisor = prim.select(prim.eq(divisor, scalar_like(divisor, 0)), scalar_like(divisor, 1), divisor)
    return prim.mul(magnitude(prim.floor_divide(magnitude(x), divisor)), magnitude(y))


gcd = Ufunc("gcd", typed(_gcd_rule), note="Euclid's algorithm, as a loop.")
lcm = Ufunc("lcm", typed(_lcm_rule), note="By the greatest common divisor.")


# Mantissa and exponent ------------------------------------------------------------------------------------------------


def _frexp_rule(x: Any) -> tuple[Any, Any]:
    """x = m 2**e with 1/2 <= |m| < 1, or m = x and e = 0 where there are none such.

    The exponent guessed by a logarithm may be one off near a power of two; the mantissa that it gives tells. Numbers
    below the normal ones are scaled up first. The exponent is constant in the derivative, so that dm = 2**-e dx.
    """
    dtype = aval_of(x).dtype
    limits = np.finfo(dtype)
    one = scalar_like(x, 1)
    regular = prim.and_(prim.is_finite(x), prim.ne(x, scalar_like(x, 0)))
    safe = prim.select(regular, x, one)
    tiny = prim.lt(prim.abs_(safe), limits.tiny)
    up = limits.nmant + 1
    scaled = prim.select(tiny, prim.mul(safe, dtype.type(2.0**up)), safe)
    exponent = prim.add(prim.floor(prim.mul(prim.log(prim.abs_(scaled)), 1 / math.log(2.0))), one)
    # Two factors, each of which the dtype can hold.
    half = prim.floor(prim.mul(exponent, 0.5))
    mantissa = prim.mul(prim.mul(scaled, prim.exp2(prim.neg(half))), prim.exp2(prim.sub(half, exponent)))
    large, small = prim.ge(prim.abs_(mantissa), one), prim.lt(prim.abs_(mantissa), scalar_like(x, 0.5))
    factor = prim.select(large, scalar_like(x, 0.5), prim.select(small, scalar_like(x, 2), one))
    change = prim.select(large, one, prim.select(small, scalar_like(x, -1), scalar_like(x, 0)))
    exponent = prim.sub(prim.add(exponent, change), prim.select(tiny, scalar_like(x, up), scalar_like(x, 0)))
    exponent = prim.select(regular, exponent, scalar_like(x, 0))
    return prim.select(regular, prim.mul(mantissa, factor), x), prim.convert(exponent, dtype=_INT32)


frexp = Ufunc("frexp", typed(_frexp_rule), note="The exponent has no derivative; that of the mantissa is 2**-exponent.")


# Bits -----------------------------------------------------------------------------------------------------------------


def _weights(bitorder: str) -> Any:
    if bitorder not in ("big", "little"):
        raise ValueError("'order' must be either 'little' or 'big'")
    places = np.arange(8, dtype=_BYTE)
    return places[::-1].copy() if bitorder == "big" else places


@eager(np.packbits)
def packbits(a: Any, /, axis: int | None = None, bitorder: str = "big") -> Any:
    """As :func:`numpy.packbits`: each eight elements of an axis, true or false, as the bits of a byte."""
    places = _weights(bitorder)
    a = asarray(a)
    if a.dtype.kind not in "biu":
        raise OperandTypeError("Expected an input array of integer or boolean data type")
    if axis is None:
        a, axis = ravel(a), 0
    if not a.ndim:
        a = reshape_to(a, (1,))
    axis = normalize_axis(axis, a.ndim)
    bits = moveaxis(convert_to(convert_to(a, np.dtype(np.bool_)), _BYTE), axis, -1)
    *outer, n = bits.shape
    count = -(-n // 8)
    bits = prim.pad(bits, _BYTE.type(0), config=(*[(0, 0, 0)] * len(outer), (0, 8 * count - n, 0)))
    bits = reshape_to(bits, (*outer, count, 8))
    packed = prim.reduce_sum(prim.shift_left(bits, expand_to(places, bits.shape)), axes=(bits.ndim - 1,))
    return moveaxis(packed, -1, axis)


def _numpy_unpackbits(a: Any, /, axis: int | None = None, count: int | None = None, bitorder: str = "big") -> Any:
    """NumPy's, but for the bits beyond an array without elements, which NumPy 2.4 takes from old memory."""
    bits = np.unpackbits(a, axis=axis, count=count, bitorder=bitorder)  # type: ignore[call-overload]
    return bits if np.size(a) else np.zeros_like(bits)


@eager(_numpy_unpackbits)
def unpackbits(a: Any, /, axis: int | None = None, count: int | None = None, bitorder: str = "big") -> Any:
    """As :func:`numpy.unpackbits`: the eight bits of each byte of an axis, each as a byte that is 0 or 1.

    Bits asked for beyond the end are 0.
    """
    places = _weights(bitorder)
    a = asarray(a)
    if a.dtype != _BYTE:
        raise OperandTypeError("Expected an input array of unsigned byte data type")
    if axis is None:
        a, axis = ravel(a), 0
    if not a.ndim:
        a = reshape_to(a, (1,))
    axis = normalize_axis(axis, a.ndim)
    rows = moveaxis(a, axis, -1)
    *outer, n = rows.shape
    full = (*outer, n, 8)
    rows = prim.broadcast_in_dim(rows, shape=full, dims=tuple(range(len(outer) + 1)))
    bits = prim.and_(prim.shift_right(rows, expand_to(places, full)), expand_to(_BYTE.type(1), full))
    bits = reshape_to(bits, (*outer, 8 * n))
    if count is not None:
        length = 8 * n + count if count < 0 else count
        if length < 0:
            raise ValueError(f"-ve value of count={count} has abs value greater than the {8 * n} bits of the axis")
        kept = slice_along(bits, bits.ndim - 1, 0, min(length, 8 * n))
        missing = length - min(length, 8 * n)
        bits = prim.pad(kept, _BYTE.type(0), config=(*[(0, 0, 0)] * len(outer), (0, missing, 0))) if missing else kept
    return moveaxis(bits, -1, axis)
