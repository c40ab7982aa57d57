"""Elementwise operations that are not simply a NumPy ufunc.

Every function here is plain NumPy and keeps the dtype of its operand, because generated stand-alone modules copy its
text. Operands may be arrays, NumPy scalars or Python scalars.
"""

from __future__ import annotations

import numpy as np


def rsqrt(x):
    """1 / sqrt(x)."""
    return 1 / np.sqrt(x)


def logistic(x):
    """1 / (1 + exp(-x)), without overflow: with z = exp(-|x|) it is 1/(1+z) on the right and z/(1+z) on the left."""
    x = np.asarray(x)
    if x.dtype.kind == "c":
        return 1 / (1 + np.exp(-x))
    z = np.abs(x, out=np.empty_like(x))
    np.negative(z, out=z)
    np.exp(z, out=z)
    result = np.where(x < 0, z, x.dtype.type(1))
    z += 1
    result /= z
    return result[()]


def integer_pow(x, *, y):
    """x**y for an integer y, by repeated squaring."""
    if y == 2:
        return np.multiply(x, x)
    if y < 0:
        return 1 / integer_pow(x, y=-y)
    if y == 0:
        return np.ones_like(x)
    result = None
    while True:
        if y & 1:
            result = x if result is None else np.multiply(result, x)
        y >>= 1
        if not y:
            return np.positive(result) if result is x else result
        x = np.multiply(x, x)


def convert(x, *, dtype, weak=False):
    """x in another dtype; complex numbers lose their imaginary part on the way to real ones, without a warning."""
    x = np.asarray(x)
    if x.dtype.kind == "c" and dtype.kind not in "cb":
        x = x.real
    x = x.astype(dtype)
    return x.item() if weak else x[()]


def population_count(x):
    """The number of bits that are set (in two's complement) in each integer."""
    x = np.asarray(x)
    return np.bitwise_count(x.view(f"u{x.dtype.itemsize}")).astype(x.dtype)


def complex_number(re, im):
    """The complex number with these parts. Not re + 1j * im: that makes NaN of an infinite imaginary part."""
    dtype = np.result_type(re, im, np.complex64)
    re, im = np.asarray(re), np.asarray(im)
    result = np.empty(np.broadcast(re, im).shape, dtype)
    result.real, result.imag = re, im
    return result[()]
