"""The table of operations: from the name of a primitive to the NumPy callable that evaluates it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import contraction, elementwise, fft, host, indexing, reduction, special, structure

__all__ = ["HELPERS", "OPS", "UFUNCS"]

#: Primitives that are a NumPy ufunc with the same rule of types, hence take ``out=``.
UFUNCS: dict[str, np.ufunc] = {
    "abs": np.absolute,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "add": np.add,
    "and": np.bitwise_and,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "atanh": np.arctanh,
    "cbrt": np.cbrt,
    "ceil": np.ceil,
    "conj": np.conjugate,
    "cos": np.cos,
    "cosh": np.cosh,
    "div": np.divide,
    "eq": np.equal,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "floor": np.floor,
    "floor_divide": np.floor_divide,
    "fmod": np.fmod,
    "ge": np.greater_equal,
    "gt": np.greater,
    "is_finite": np.isfinite,
    "le": np.less_equal,
    "log": np.log,
    "log1p": np.log1p,
    "lt": np.less,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "nextafter": np.nextafter,
    "not": np.invert,
    "or": np.bitwise_or,
    "pow": np.power,
    "remainder": np.remainder,
    "round": np.rint,
    "shift_left": np.left_shift,
    "shift_right": np.right_shift,
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "sub": np.subtract,
    "tan": np.tan,
    "tanh": np.tanh,
    "xor": np.bitwise_xor,
}

#: Primitives that are a function of this package.
HELPERS: dict[str, Callable[..., Any]] = {
    "argmax": reduction.argmax,
    "argmin": reduction.argmin,
    "argsort": structure.argsort,
    "broadcast_in_dim": structure.broadcast_in_dim,
    "complex": elementwise.complex_number,
    "concatenate": structure.concatenate,
    "conv_general_dilated": contraction.conv_general_dilated,
    "convert": elementwise.convert,
    "copy": structure.copy,
    "cummax": reduction.cummax,
    "cummin": reduction.cummin,
    "cumprod": reduction.cumprod,
    "cumsum": reduction.cumsum,
    "debug_callback": host.debug_callback,
    "dot_general": contraction.dot_general,
    "dynamic_slice": indexing.dynamic_slice,
    "dynamic_update_slice": indexing.dynamic_update_slice,
    "erf": special.erf,
    "fft": fft.fft,
    "gather": indexing.gather,
    "integer_pow": elementwise.integer_pow,
    "iota": structure.iota,
    "logistic": elementwise.logistic,
    "optimization_barrier": structure.optimization_barrier,
    "pad": structure.pad,
    "population_count": elementwise.population_count,
    "pure_callback": host.pure_callback,
    "reduce_and": reduction.reduce_and,
    "reduce_max": reduction.reduce_max,
    "reduce_min": reduction.reduce_min,
    "reduce_or": reduction.reduce_or,
    "reduce_prod": reduction.reduce_prod,
    "reduce_sum": reduction.reduce_sum,
    "reduce_window_max": contraction.reduce_window_max,
    "reduce_window_sum": contraction.reduce_window_sum,
    "reshape": structure.reshape,
    "rev": structure.rev,
    "rsqrt": elementwise.rsqrt,
    "scatter": indexing.scatter,
    "slice": structure.slice_array,
    "sort": structure.sort,
    "transpose": structure.transpose,
}

#: ``np.real``, ``np.imag`` and ``np.where`` are functions of NumPy, but no ufuncs.
OPS: dict[str, Callable[..., Any]] = {
    **UFUNCS,
    **HELPERS,
    "imag": np.imag,
    "real": np.real,
    "select": np.where,
}
