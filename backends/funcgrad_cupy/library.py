"""What CuPy computes for the GPU because there is no kernel here for it: decompositions, Fourier transforms, sorting of long rows, indexing,
convolution until its kernel is plugged in, special functions and complex numbers.

The functions are the NumPy back end's where those only call NumPy functions that hand over to CuPy, and CuPy's own elsewhere. A
primitive that is in neither table raises; nothing is computed on the host instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from funcgrad.core.backend import get_backend

from . import rarities

__all__ = ["library"]

#: NumPy ufuncs and functions that CuPy's arrays take themselves, by ``__array_ufunc__`` and ``__array_function__``.
_HANDED_OVER = [
    "abs",
    "acos",
    "acosh",
    "add",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "conj",
    "cos",
    "cosh",
    "div",
    "eq",
    "exp",
    "fft",
    "imag",
    "log",
    "log1p",
    "mul",
    "ne",
    "neg",
    "qr",
    "real",
    "reduce_prod",
    "reduce_sum",
    "select",
    "shift_left",
    "shift_right",
    "sign",
    "sin",
    "sinh",
    "slogdet",
    "solve",
    "sqrt",
    "sub",
    "svd",
    "tan",
    "tanh",
    "transpose",
    "cholesky",
    "det",
    "eigh",
    "pow",
    "floor_divide",
    "remainder",
    "fmod",
    "reduce_max",
    "reduce_min",
    "pinv",
    "dot_general",
]

#: Special functions that CuPy has under the primitive's name.
_SPECIAL = [
    "beta",
    "betainc",
    "betaln",
    "digamma",
    "entr",
    "erfcx",
    "erfinv",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "log_ndtr",
    "logit",
    "ndtri",
    "xlog1py",
    "xlogy",
    "zeta",
]


def library(cupy: Any) -> dict[str, Callable[..., Any]]:
    """The table for a CuPy."""
    import cupyx.scipy.linalg
    import cupyx.scipy.special

    special = cupyx.scipy.special
    numpy_ops = get_backend("numpy").ops
    table = {name: numpy_ops[name] for name in _HANDED_OVER}
    table |= {name: getattr(special, name) for name in _SPECIAL}
    table |= {
        "argsort": lambda x, *, axis, stable: cupy.argsort(x, axis=axis, kind="stable").astype(np.int64),
        "beta_density": lambda a, b, x: rarities.beta_density(cupy, special, a, b, x),
        "broadcast_in_dim": lambda x, *, shape, dims: _broadcast(cupy, x, shape, dims),
        "cofactor": lambda a: rarities.cofactor(cupy, a),
        "complex": lambda re, im: _complex(cupy, re, im),
        "concatenate": lambda *xs, axis: cupy.concatenate(xs, axis),
        "convert": lambda x, *, dtype, weak=False: _convert(x, dtype, weak),
        "copy": lambda x: cupy.array(x),
        "cummax": lambda x, *, axis, reverse=False: _running(cupy, cupy.maximum.accumulate, x, axis, reverse),
        "cummin": lambda x, *, axis, reverse=False: _running(cupy, cupy.minimum.accumulate, x, axis, reverse),
        "cumprod": lambda x, *, axis, reverse=False: _running(cupy, cupy.cumprod, x, axis, reverse),
        "cumsum": lambda x, *, axis, reverse=False: _running(cupy, cupy.cumsum, x, axis, reverse),
        "eig": lambda a, *, vectors, safe: rarities.eig(cupy, a, vectors=vectors),
        "gamma_density": lambda a, x: rarities.gamma_density(cupy, special, a, x),
        "guard": _guard,
        "lu": lambda a: rarities.lu(cupy, cupyx.scipy.linalg.lu_factor, a),
        "riemann_zeta": rarities.missing("riemann_zeta"),
        "reshape": lambda x, *, shape: cupy.array(x.reshape(shape)),
        "triangular_solve": lambda a, b, **how: _triangular_solve(cupy, a, b, **how),
        "sort": lambda x, *, axis, stable: cupy.sort(x, axis=axis),
    }
    return table


def _broadcast(cupy: Any, x: Any, shape: Any, dims: Any) -> Any:
    aligned = [1] * len(shape)
    for n, d in zip(x.shape, dims):
        aligned[d] = n
    return cupy.array(cupy.broadcast_to(x.reshape(aligned), shape))


def _complex(cupy: Any, re: Any, im: Any) -> Any:
    result = cupy.empty(re.shape, np.result_type(re.dtype, np.complex64))
    result.real, result.imag = re, im
    return result


def _convert(x: Any, dtype: Any, weak: bool) -> Any:
    x = x.real if x.dtype.kind == "c" and dtype.kind not in "cb" else x
    x = x.astype(dtype)
    return x.item() if weak else x


def _running(cupy: Any, accumulate: Callable[..., Any], x: Any, axis: int, reverse: bool) -> Any:
    if reverse:
        return cupy.flip(accumulate(cupy.flip(x, axis), axis=axis), axis)
    return accumulate(x, axis=axis)


def _triangular_solve(
    cupy: Any, a: Any, b: Any, *, left: bool, lower: bool, transpose: bool, conj: bool, unit_diagonal: bool
) -> Any:
    """By LU of the triangle alone, which is itself up to exchanges of rows: CuPy's triangular solver takes no stacks."""
    a = cupy.tril(a, -1 if unit_diagonal else 0) if lower else cupy.triu(a, 1 if unit_diagonal else 0)
    a = a + cupy.eye(a.shape[-1], dtype=a.dtype) if unit_diagonal else a
    a = a.conj() if conj else a
    # x op(a) = b is op(a)^T x^T = b^T.
    a = a.swapaxes(-1, -2) if transpose == left else a
    return (
        cupy.linalg.solve(a, b)
        if left
        else cupy.ascontiguousarray(cupy.linalg.solve(a, b.swapaxes(-1, -2)).swapaxes(-1, -2))
    )


def _guard(x: Any, bad: Any, *, message: str) -> Any:
    if bool(bad.any()):
        raise np.linalg.LinAlgError(message)
    return x.copy()
