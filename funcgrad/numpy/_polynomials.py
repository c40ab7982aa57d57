"""Polynomials given by their coefficients, from the highest power to the constant.

NumPy drops leading zeros from some results, so that their shape depends on values. A traced polynomial whose value is
not known (under ``jit`` and ``vmap``) needs ``trim_leading_zeros=False`` there, or for :func:`roots`
``strip_zeros=False``, as in JAX. ``poly1d`` objects are not taken.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import primitives as prim
from ..api.custom import custom_jvp
from ..core.errors import OperandError, OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of, is_inexact
from . import linalg
from ._calculus import convolve
from ._creation import array, ones, vander, zeros
from ._indexing import getitem
from ._joining import concatenate, join, slice_along
from ._linear import matmul, outer
from ._promote import all_plain, asarray, axis_tuple, convert_to, eager, eager_allowed
from ._reductions import sum as _sum
from ._shape import atleast_1d, reshape_to, transpose
from ._ufuncs import add, divide, multiply, negative, sqrt, subtract

__all__ = [
    "poly", "polyadd", "polyder", "polydiv", "polyfit", "polyint", "polymul", "polysub", "polyval", "roots",
    "trim_zeros",
]  # fmt: skip

_FLOAT64 = np.dtype(np.float64)


def _coefficients(name: str, p: Any) -> Any:
    p = atleast_1d(asarray(p))
    if p.ndim != 1:
        raise OperandError(f"{name}: the coefficients of a polynomial must be a vector, not of shape {p.shape}")
    return p


def _element(x: Any, i: int) -> Any:
    return reshape_to(slice_along(x, 0, i, i + 1), x.shape[1:])


def _known(x: Any, use: str) -> Any:
    return np.asarray(x.concrete(use) if isinstance(x, Tracer) else x)


# Values, sums, products -----------------------------------------------------------------------------------------------


@eager(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """As :func:`numpy.polyval`, by Horner's rule."""
    p, x = asarray(p), asarray(x)
    y = np.zeros(x.shape, x.dtype)
    for i in range(p.shape[0]):
        y = add(multiply(y, x), _element(p, i))
    return y


def _of_one_length(name: str, a1: Any, a2: Any) -> tuple[Any, Any]:
    """Both polynomials, the shorter one with zeros in front."""
    a1, a2 = atleast_1d(asarray(a1)), atleast_1d(asarray(a2))
    if a1.shape[0] == a2.shape[0]:
        return a1, a2
    a1, a2 = _coefficients(name, a1), _coefficients(name, a2)
    n = max(a1.shape[0], a2.shape[0])
    return tuple(prim.pad(a, a.dtype.type(0), config=((n - a.shape[0], 0, 0),)) for a in (a1, a2))  # type: ignore


@eager(np.polyadd)
def polyadd(a1: Any, a2: Any) -> Any:
    """As :func:`numpy.polyadd`."""
    return add(*_of_one_length("polyadd", a1, a2))


@eager(np.polysub)
def polysub(a1: Any, a2: Any) -> Any:
    """As :func:`numpy.polysub`."""
    return subtract(*_of_one_length("polysub", a1, a2))


def _trimmed(name: str, p: Any) -> Any:
    """A polynomial without leading zeros, one zero if it has nothing else."""
    value = _known(p, f"{name} (NumPy drops leading zeros, so that the shape depends on values: give "
                      "trim_leading_zeros=False)")  # fmt: skip
    places = np.flatnonzero(value)
    if not places.size:
        return array([0.0])
    return slice_along(p, 0, int(places[0]), p.shape[0])


def polymul(a1: Any, a2: Any, *, trim_leading_zeros: bool = True) -> Any:
    """As :func:`numpy.polymul`, which drops leading zeros of the factors.

    With ``trim_leading_zeros=False``, which traced values without a concrete one need, they are kept.

    >>> polymul(np.array([0, 1, 2]), np.array([1, 1]), trim_leading_zeros=False)
    array([0, 1, 3, 2])
    """
    if trim_leading_zeros:
        if all_plain((a1, a2)) and eager_allowed():
            return np.polymul(a1, a2)
        a1, a2 = (_trimmed("polymul", _coefficients("polymul", a)) for a in (a1, a2))
    return convolve(_coefficients("polymul", a1), _coefficients("polymul", a2))


def polydiv(u: Any, v: Any, *, trim_leading_zeros: bool = True) -> tuple[Any, Any]:
    """As :func:`numpy.polydiv`: the quotient and the remainder, which has no leading zeros.

    With ``trim_leading_zeros=False``, which traced values without a concrete one need, the remainder has as many
    coefficients as ``u``.

    >>> polydiv(np.array([1.0, 3.0, 2.0]), np.array([1.0, 1.0]), trim_leading_zeros=False)
    (array([1., 2.]), array([0., 0., 0.]))
    """
    if trim_leading_zeros and all_plain((u, v)) and eager_allowed():
        return np.polydiv(u, v)
    u, v = (add(_coefficients("polydiv", x), 0.0) for x in (u, v))
    if not u.shape[0] or not v.shape[0]:
        raise IndexError("polydiv: a polynomial needs at least one coefficient")
    dtype = np.result_type(u.dtype, v.dtype)
    scale = convert_to(divide(1.0, _element(v, 0)), dtype)
    rest, v = convert_to(u, dtype), convert_to(v, dtype)
    m, n = u.shape[0] - 1, v.shape[0] - 1
    quotient = []
    for k in range(m - n + 1):
        factor = multiply(scale, _element(rest, k))
        quotient.append(reshape_to(factor, (1,)))
        rest = subtract(rest, prim.pad(multiply(factor, v), dtype.type(0), config=((k, m - n - k, 0),)))
    if trim_leading_zeros:
        value = _known(rest, "polydiv (NumPy drops leading zeros of the remainder, so that its shape depends on values: "
                             "give trim_leading_zeros=False)")  # fmt: skip
        start = 0
        while start < m and np.allclose(value[start], 0, rtol=1e-14):
            start += 1
        rest = slice_along(rest, 0, start, m + 1)
    return join("polydiv", quotient, 0) if quotient else zeros((1,), dtype), rest


# Derivatives and integrals --------------------------------------------------------------------------------------------


def _order(m: Any, other: str) -> int:
    order = operator.index(m.concrete("the order m") if isinstance(m, Tracer) else int(m))
    if order < 0:
        raise ValueError(f"the order m must not be negative (see {other})")
    return order


@eager(np.polyder)
def polyder(p: Any, m: int = 1) -> Any:
    """As :func:`numpy.polyder`: the coefficients of the derivative of order ``m``."""
    p = asarray(p)
    if not p.ndim:
        raise TypeError("polyder: the coefficients of a polynomial must be a vector, not a number")
    for _ in range(_order(m, "polyint")):
        n = p.shape[0]
        powers = np.arange(n - 1, 0, -1)
        p = multiply(slice_along(p, 0, 0, max(n - 1, 0)), powers.reshape(-1, *[1] * (p.ndim - 1)))
    return p


@eager(np.polyint)
def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    """As :func:`numpy.polyint`: the coefficients of an integral of order ``m``, with the constants ``k``."""
    p = asarray(p)
    order = _order(m, "polyder")
    k = np.zeros(order) if k is None else atleast_1d(asarray(k))
    if k.shape[0] == 1 and order > 1:
        k = multiply(_element(k, 0), np.ones(order))
    if k.shape[0] < order:
        raise ValueError("k must be a scalar or a rank-1 array of length 1 or >m.")
    if order and p.ndim != 1:
        raise OperandError(f"polyint: the coefficients of a polynomial must be a vector, not of shape {p.shape}")
    for i in range(order):
        p = concatenate((divide(p, np.arange(p.shape[0], 0, -1)), slice_along(k, 0, i, i + 1)))
    return p


# Roots ----------------------------------------------------------------------------------------------------------------


def _numpy_poly(seq_of_zeros: Any) -> Any:
    result = np.poly(seq_of_zeros)
    return result.astype(np.complex128) if _needs_complex(np.asarray(seq_of_zeros)) else result


def _needs_complex(x: Any) -> bool:
    return bool(x.dtype.kind == "c" and np.prod(x.shape))


@eager(_numpy_poly)
def poly(seq_of_zeros: Any) -> Any:
    """As :func:`numpy.poly`: the polynomial with these roots, or the characteristic polynomial of a square matrix.

    NumPy gives a real result for complex roots that are conjugate pairs; here it is always complex for complex
    arguments, since a dtype must not depend on values. For real arguments it is real.
    """
    x = atleast_1d(asarray(seq_of_zeros))
    real = x.dtype.kind != "c"
    if x.ndim == 2 and x.shape[0] == x.shape[1] and x.shape[0]:
        x = linalg.eigvals(x)
    elif x.ndim != 1:
        raise OperandError(f"input must be 1d or non-empty square 2d array, not of shape {x.shape}")
    else:
        x = convert_to(x, np.dtype(np.mintypecode(x.dtype.char)))
    n = x.shape[0]
    if not n:
        return np.float64(1.0)
    dtype = x.dtype
    a = ones((1,), dtype)
    for i in range(n):
        above, below = (prim.pad(a, dtype.type(0), config=(c,)) for c in ((0, 1, 0), (1, 0, 0)))
        a = subtract(above, multiply(_element(x, i), below))
    if real:
        return prim.real(a) if dtype.kind == "c" else a
    return convert_to(a, np.dtype(np.complex128))


def _companion_roots(p: Any) -> Any:
    """The eigenvalues of the companion matrix of a polynomial with a first coefficient that is not zero."""
    n = p.shape[0]
    if n < 2:
        return zeros((0,), np.result_type(p.dtype, np.complex64))
    first = reshape_to(divide(negative(slice_along(p, 0, 1, n)), _element(p, 0)), (1, n - 1))
    below = np.eye(n - 2, n - 1, dtype=p.dtype)
    return linalg.eigvals(concatenate((first, below), axis=0) if n > 2 else first)


def _implicitly_differentiated(solve: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Roots with the derivative that p(r) = 0 implies: dr = -dp(r) / p'(r).

    It is that of all coefficients, those that are zero and were stripped included, and infinite at multiple roots,
    where there is none.
    """
    function = custom_jvp(solve)

    def rule(primals: Any, tangents: Any) -> Any:
        (p,), (dp,) = primals, tangents
        found = function(p)
        return found, convert_to(negative(divide(polyval(dp, found), polyval(polyder(p), found))), found.dtype)

    function.defjvp(rule)
    return function


def _complex_roots(p: Any) -> Any:
    """NumPy's roots, of a concrete polynomial, as complex numbers of its precision."""
    found = np.roots(_known(p, "roots (NumPy strips zeros at both ends, so that the shape depends on values: give "
                               "strip_zeros=False, and a first coefficient that is not 0)"))  # fmt: skip
    return found.astype(np.result_type(p.dtype, np.complex64))


_roots = _implicitly_differentiated(_complex_roots)
_all_roots = _implicitly_differentiated(_companion_roots)


def roots(p: Any, *, strip_zeros: bool = True) -> Any:
    """As :func:`numpy.roots`, but complex always: NumPy's dtype depends on the values.

    Their order is that of the eigenvalues of the companion matrix. ``strip_zeros=False``, which a traced value without
    a concrete one needs: zeros at the ends are not stripped, so that there are always ``len(p) - 1`` roots, and the
    first coefficient must not be 0.

    >>> import funcgrad as fg
    >>> fg.grad(lambda p: roots(p).real.max())(np.array([1.0, -3.0, 2.0]))
    array([-4., -2., -1.])
    """
    if strip_zeros and all_plain((p,)) and eager_allowed():
        dtype = np.asarray(p).dtype
        return np.roots(p).astype(np.result_type(dtype if is_inexact(dtype) else _FLOAT64, np.complex64))
    p = _coefficients("roots", p)
    if not is_inexact(np.dtype(p.dtype)):
        p = convert_to(p, _FLOAT64)
    return _roots(p) if strip_zeros else _all_roots(p)


# Fitting --------------------------------------------------------------------------------------------------------------


@eager(np.polyfit)
def polyfit(x: Any, y: Any, deg: int, rcond: Any = None, full: bool = False, w: Any = None, cov: Any = False) -> Any:
    """As :func:`numpy.polyfit`: least squares by the singular values of the scaled Vandermonde matrix.

    Differentiable in ``x``, ``y`` and ``w``. Of traced values a fit that is poorly conditioned gives no RankWarning, and
    its residuals are computed all the same.
    """
    order = int(deg) + 1
    x, y = add(asarray(x), 0.0), add(asarray(y), 0.0)
    if deg < 0:
        raise ValueError("expected deg >= 0")
    if x.ndim != 1:
        raise OperandTypeError(f"polyfit: expected 1D vector for x, not the shape {x.shape}")
    n = x.shape[0]
    if not n:
        raise OperandTypeError("polyfit: expected non-empty vector for x")
    if y.ndim not in (1, 2):
        raise OperandTypeError(f"polyfit: expected 1D or 2D array for y, not the shape {y.shape}")
    if y.shape[0] != n:
        raise OperandTypeError(f"polyfit: expected x and y to have same length, not {n} and {y.shape[0]}")
    if rcond is None:
        rcond = n * np.finfo(x.dtype).eps
    lhs, rhs = vander(x, order), y
    if w is not None:
        w = add(asarray(w), 0.0)
        if w.ndim != 1:
            raise OperandTypeError(f"polyfit: expected a 1-d array for weights, not the shape {w.shape}")
        if w.shape[0] != n:
            raise OperandTypeError(f"polyfit: expected w and y to have the same length, not {w.shape[0]} and {n}")
        column = reshape_to(w, (n, 1))
        lhs, rhs = multiply(lhs, column), multiply(rhs, column if rhs.ndim == 2 else w)
    scale = sqrt(_sum(multiply(lhs, lhs), axis=0))
    lhs = divide(lhs, scale)
    c, residuals, rank, s = linalg.lstsq(lhs, rhs, rcond)
    c = divide(c, reshape_to(scale, (order, 1)) if y.ndim == 2 else scale)
    if full:
        return c, residuals, rank, s, rcond
    if not cov:
        return c
    base = divide(linalg.inv(matmul(transpose(lhs), lhs)), outer(scale, scale))
    if cov == "unscaled":
        factor: Any = 1
    else:
        if n <= order:
            raise ValueError("the number of data points must exceed order to scale the covariance matrix")
        factor = divide(residuals, n - order)
    return c, multiply(base if y.ndim == 1 else reshape_to(base, (order, order, 1)), factor)


# Zeros at the ends ----------------------------------------------------------------------------------------------------


@eager(np.trim_zeros, view=True)
def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    """As :func:`numpy.trim_zeros`. What is cut off depends on the values, so that they must be concrete.

    In a program write ``fnp.where`` with a mask, which keeps the shape.
    """
    filt = asarray(filt)
    value = _known(filt, "trim_zeros (its shape depends on the values: fnp.where(mask, x, y) keeps it)")
    rank = len(aval_of(filt).shape)
    sides = trim.lower()
    if sides not in ("fb", "bf", "f", "b"):
        raise ValueError(f"unexpected character(s) in `trim`: {trim!r}")
    places = np.argwhere(value)
    index: list[slice] = [slice(None)] * rank
    for i in axis_tuple(axis, rank):
        if not len(places):
            index[i] = slice(0, 0)
        else:
            start = int(places[:, i].min()) if "f" in sides else None
            index[i] = slice(start, int(places[:, i].max()) + 1 if "b" in sides else None)
    return getitem(filt, tuple(index))
