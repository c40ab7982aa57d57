"""Covariances and correlation coefficients of variables, of which an array holds observations."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandError
from ..core.trace import Tracer
from ._creation import diag
from ._joining import concatenate
from ._linear import matmul
from ._promote import asarray, convert_to, eager
from ._reductions import sum as _sum
from ._shape import atleast_2d, reshape_to, squeeze, transpose
from ._ufuncs import clip, conjugate, divide, imag, multiply, real, sqrt, subtract, where

__all__ = ["corrcoef", "cov"]

_FLOAT64 = np.dtype(np.float64)


def _weights(name: str, weights: Any, n: int, whole: bool) -> Any:
    """A vector of n weights; those whose values are known are checked."""
    w = asarray(weights)
    if not isinstance(w, Tracer):
        known = np.asarray(w)
        if whole and not np.all(known == np.around(known)):
            raise TypeError("fweights must be integer")
        if np.any(known < 0):
            raise ValueError(f"{name} cannot be negative")
    if w.ndim > 1:
        raise RuntimeError(f"cannot handle multidimensional {name}")
    if w.shape != (n,):
        raise RuntimeError(f"incompatible numbers of samples and {name}: {n} and {w.shape}")
    return convert_to(w, _FLOAT64)


@eager(np.cov)
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    """As :func:`numpy.cov`: the covariance matrix of the rows, or without ``rowvar`` of the columns.

    Traced weights are not checked for being whole, positive, or too few; too few unweighted observations give NumPy's
    warning and an infinite result.
    """
    if ddof is not None and ddof != int(ddof):
        raise ValueError("ddof must be integer")
    arrays = [asarray(x) for x in (m, y) if x is not None]
    if any(x.ndim > 2 for x in arrays):
        raise OperandError(f"cov: the arrays have at most 2 dimensions, not the shapes {[x.shape for x in arrays]}")
    wanted = np.result_type(*(x.dtype for x in arrays), np.float64) if dtype is None else np.dtype(dtype)
    rows = []
    for i, x in enumerate(arrays):
        flip = not rowvar and (x.ndim != 1 if i == 0 else atleast_2d(x).shape[0] != 1)
        x = convert_to(atleast_2d(x), wanted)
        rows.append(transpose(x) if flip else x)
        if not rows[0].shape[0]:
            return np.zeros((0, 0))
    if len({x.shape[1] for x in rows}) > 1:
        raise OperandError(f"cov: the variables have different numbers of observations: {[x.shape[1] for x in rows]}")
    x = concatenate(rows, axis=0) if len(rows) > 1 else rows[0]
    n = x.shape[1]
    ddof = (0 if bias else 1) if ddof is None else ddof
    f = None if fweights is None else _weights("fweights", fweights, n, whole=True)
    a = None if aweights is None else _weights("aweights", aweights, n, whole=False)
    w = f if a is None else a if f is None else multiply(f, a)
    if w is None:
        mean = divide(_sum(x, axis=1), n)
        count: Any = max(n - ddof, 0)
        if n - ddof <= 0:
            warnings.warn("Degrees of freedom <= 0 for slice", RuntimeWarning, stacklevel=3)
    else:
        total = _sum(w)
        mean = divide(_sum(multiply(x, w), axis=1), total)
        if a is None or ddof == 0:
            count = subtract(total, ddof)
        else:
            count = subtract(total, divide(multiply(ddof, _sum(multiply(w, a))), total))
    x = subtract(x, reshape_to(mean, (*mean.shape, 1)))
    weighted = x if w is None else multiply(x, w)
    # The reciprocal is rounded first, as NumPy does it.
    factor = np.float64(1 / count if count else np.inf) if w is None else divide(1.0, count)
    product = matmul(x, conjugate(transpose(weighted)))
    return squeeze(convert_to(multiply(product, factor), product.dtype))


@eager(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """As :func:`numpy.corrcoef`: covariances over the product of the standard deviations, clipped to [-1, 1].

    The coefficient of a variable with itself is 1 and has the derivative 0.
    """
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return divide(c, c)
    variances = real(diag(c))
    deviation = sqrt(variances)
    n = deviation.shape[0]
    c = divide(divide(c, reshape_to(deviation, (n, 1))), reshape_to(deviation, (1, n)))
    if c.dtype.kind == "c":
        return prim.complex_(_clipped(real(c)), _clipped(imag(c)))
    return _clipped(c)


def _clipped(c: Any) -> Any:
    """Rounding alone brings a coefficient beyond 1: the clipping must not halve or cut its derivative."""
    return where(prim.gt(prim.abs_(c), c.dtype.type(1)), clip(c, -1, 1), c)
