"""Eigenvalues and singular values, and their vectors.

Write t for the tangent of a, H for the conjugate transpose, and * for products of elements (Giles 2008, *Collected
matrix derivative results*; Townsend 2016, *Differentiating the singular value decomposition*).

    eigh         a v = v diag(w)   with m = v^H t v:  dw = diag m,  dv = v (f * m),  f_ij = 1 / (w_j - w_i), f_ii = 0
    eig          a v = v diag(w)   the same with m = v^-1 t v, and dv made orthogonal to v column by column
    svd          a = u diag(s) v^H with m = u^H t v:  ds = re diag m,  du = u p,  dv = v q,
                                   p + q = (m + m^H) * 1 / (s_j - s_i),  p - q = (m - m^H) * 1 / (s_j + s_i)
                                   (+ what leaves the range of u, of v: Townsend 2016)

``eigh`` reads one triangle, as NumPy's does. Its argument is a Hermitian matrix, and so is its tangent: the Hermitian
part is taken, so that gradients are Hermitian.

**Coinciding values.** The vectors of a multiple eigenvalue are any basis of its space, and have no derivative. With
``safe`` the terms 1 / (w_j - w_i) of values that coincide to rounding are zero: the basis of a space does not turn
within it. That is exact for functions that depend neither on the choice of the basis nor differently on the values that
coincide (a projector on the space, a sum over it). Without ``safe`` such a term raises LinAlgError when it is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import OperandTypeError
from ..core.trace import Primitive
from ..core.types import Aval, dtype_of, shape_of
from . import elementwise as ew
from . import reduction, structure
from ._matrix import (
    Matrix,
    beside,
    block,
    complex_dtype,
    conjugated,
    convert_to,
    dagger,
    hermitian_part,
    identity,
    matmul,
    places,
    real_dtype,
    real_part,
    scale_of_columns,
    scale_of_rows,
)
from .linalg import solve

__all__ = ["eig", "eigh", "guard", "svd"]

Shape = tuple[int, ...]


class Guard(Primitive):
    """``x``, unless an element of ``bad`` is true: then it raises LinAlgError with ``message`` when it is computed."""

    name = "guard"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        x, bad = avals
        if dtype_of(bad).kind != "b":
            raise OperandTypeError(f"guard takes a boolean condition, not {bad}")
        return x.strong()

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self(*primals, **params), tangents[0]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return self(*args, **params), batched[0]


def _inner(x: Any, y: Any) -> Any:
    """Re sum_k conj(x_kj) y_kj, for each column j."""
    return reduction.reduce_sum(real_part(ew.mul(conjugated(x), y)), axes=(len(shape_of(x)) - 2,))


def _reciprocal(gap: Any, tiny: Any, safe: bool, what: str) -> Any:
    """1 / gap; where ``tiny`` is true it is zero, or, if not ``safe``, raises LinAlgError when it is computed."""
    if not safe:
        message = (
            f"the derivative of the {what} does not exist where two of the values coincide or one is zero; pass "
            f"safe=True for the derivative with their space held fixed, or differentiate the values alone"
        )
        gap = guard(gap, tiny, message=message)
    return ew.select(tiny, 0.0, ew.div(1.0, ew.select(tiny, 1.0, gap)))


def _gaps(values: Any, size: int, safe: bool, what: str) -> Any:
    """f_ij = 1 / (w_j - w_i), and 0 on the diagonal."""
    n = shape_of(values)[-1]
    shape = (*shape_of(values), n)
    stack = tuple(range(len(shape) - 2))
    across = structure.broadcast_in_dim(values, shape=shape, dims=(*stack, len(shape) - 1))
    down = structure.broadcast_in_dim(values, shape=shape, dims=(*stack, len(shape) - 2))
    same = ew.eq(*places(shape))
    gap = ew.select(same, 1.0, ew.sub(across, down))
    tiny = ew.and_(ew.le(ew.abs_(gap), _rounding(values, size, shape)), ew.not_(same))
    f = _reciprocal(gap, tiny, safe, what)
    return ew.select(same, 0.0, f)


def _rounding(values: Any, size: int, shape: Shape) -> Any:
    """What a difference of these values must exceed to mean something, broadcast to ``shape``."""
    magnitude = ew.abs_(structure.stop_gradient(values))
    largest = reduction.reduce_max(magnitude, axes=(len(shape_of(values)) - 1,))
    limit = ew.mul(largest, float(size * np.finfo(dtype_of(magnitude)).eps))
    return structure.broadcast_in_dim(limit, shape=shape, dims=tuple(range(len(shape_of(limit)))))


def _zeros_of(x: Any, shape: Shape) -> Any:
    return structure.broadcast_in_dim(dtype_of(x).type(0), shape=shape, dims=())


class Eigh(Matrix):
    """The eigenvalues of Hermitian matrices, ascending, and with ``vectors`` the orthonormal eigenvectors, as columns.

    ``lower``: which triangle is read.
    """

    name = "eigh"
    multiple = True
    square = True

    def type(self, *avals: Aval, **params: Any) -> list[Aval]:
        (a,) = avals
        stack, n, _ = self.check(a)
        values = Aval((*stack, n), real_dtype(a.dtype))
        return [values, Aval(a.shape, a.dtype)] if params["vectors"] else [values]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a,), (t,) = primals, tangents
        vectors, safe = params["vectors"], params["safe"]
        w, v = self(a, **(params | {"vectors": True}))
        if not a.size:
            return ([w, v], [None, None]) if vectors else ([w], [None])
        if not vectors:
            return [w], [_inner(v, matmul(t, v))]
        tv = matmul(hermitian_part(t), v)
        f = convert_to(_gaps(w, shape_of(a)[-1], safe, "eigenvectors"), dtype_of(a))
        return [w, v], [_inner(v, tv), matmul(v, ew.mul(f, matmul(dagger(v), tv)))]


class Eig(Matrix):
    """The eigenvalues of square matrices, and with ``vectors`` the eigenvectors, as columns of length 1; all complex.

    The length is what the derivative keeps; it takes the phase of an eigenvector not to turn. Defective matrices have
    no derivative, and raise LinAlgError if their eigenvectors are linearly dependent to the last digit.
    """

    name = "eig"
    multiple = True
    square = True

    def type(self, *avals: Aval, **params: Any) -> list[Aval]:
        (a,) = avals
        stack, n, _ = self.check(a)
        dtype = complex_dtype(a.dtype)
        values = Aval((*stack, n), dtype)
        return [values, Aval(a.shape, dtype)] if params["vectors"] else [values]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a,), (t,) = primals, tangents
        vectors, safe = params["vectors"], params["safe"]
        w, v = eig(a, vectors=True, safe=safe)
        if not a.size:
            return ([w, v], [None, None]) if vectors else ([w], [None])
        last = len(shape_of(a)) - 1
        m = matmul(solve(v, identity(shape_of(v), dtype_of(v))), matmul(convert_to(t, dtype_of(v)), v))
        dw = reduction.reduce_sum(ew.mul(m, identity(shape_of(m), dtype_of(m))), axes=(last,))
        if not vectors:
            return [w], [dw]
        dv = matmul(v, ew.mul(_gaps(w, shape_of(a)[-1], safe, "eigenvectors"), m))
        along = reduction.reduce_sum(ew.mul(conjugated(v), dv), axes=(last - 1,))
        return [w, v], [dw, ew.sub(dv, ew.mul(v, scale_of_columns(along, v)))]


class Svd(Matrix):
    """a = u diag(s) vh for a [..., m, n] and k = min(m, n): s [..., k] descends; u and vh only with ``vectors``.

    u is [..., m, k] and vh [..., k, n]; if ``full``, u is [..., m, m] and vh [..., n, n]. The phases of the pairs of
    singular vectors, and the further vectors of a full u or vh, are free: only what does not depend on their choice has
    a derivative. That of a singular value that is zero is zero, as that of an absolute value.
    """

    name = "svd"
    multiple = True

    def type(self, *avals: Aval, **params: Any) -> list[Aval]:
        (a,) = avals
        stack, m, n = self.check(a)
        k = min(m, n)
        values = Aval((*stack, k), real_dtype(a.dtype))
        if not params["vectors"]:
            return [values]
        rows, columns = (m, n) if params["full"] else (k, k)
        return [Aval((*stack, m, rows), a.dtype), values, Aval((*stack, columns, n), a.dtype)]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a,), (t,) = primals, tangents
        vectors, full, safe = params["vectors"], params["full"], params["safe"]
        u, s, vh = svd(a, full=full and vectors, vectors=True, safe=safe)
        outs = [u, s, vh] if vectors else [s]
        if not a.size:
            return outs, [None] * len(outs)
        m, n = shape_of(a)[-2:]
        k = min(m, n)
        v = dagger(vh)
        u1, v1 = block(u, (0, m), (0, k)), block(v, (0, n), (0, k))
        tv = matmul(t, v1)
        ds = _inner(u1, tv)
        ds = ew.mul(ds, ew.convert(ew.gt(s, 0.0), dtype=dtype_of(ds)))
        if not vectors:
            return outs, [ds]
        inner = matmul(dagger(u1), tv)
        both, turn = ew.add(inner, dagger(inner)), ew.sub(inner, dagger(inner))
        shape = shape_of(inner)
        size = max(m, n)
        halved = ew.mul(0.5, ew.mul(both, convert_to(_gaps(s, size, safe, "singular vectors"), dtype_of(a))))
        sums = ew.add(scale_of_columns(s, _zeros_of(s, shape)), scale_of_rows(s, _zeros_of(s, shape)))
        tiny = ew.le(sums, _rounding(s, size, shape))
        if dtype_of(a).kind != "c":
            # The diagonal of the skew part of a real matrix is zero, whatever it is divided by.
            same = ew.eq(*places(shape))
            sums, tiny = ew.select(same, 1.0, sums), ew.and_(tiny, ew.not_(same))
        turned = ew.mul(0.5, ew.mul(turn, convert_to(_reciprocal(sums, tiny, safe, "singular vectors"), dtype_of(a))))
        du, dv = matmul(u1, ew.add(halved, turned)), matmul(v1, ew.sub(halved, turned))
        if m != n:
            inverse = _reciprocal(s, ew.le(s, _rounding(s, size, shape_of(s))), safe, "singular vectors")
            if m > n:
                du = self._outside(du, u, u1, ew.mul(tv, scale_of_columns(inverse, tv)))
            else:
                tu = matmul(dagger(t), u1)
                dv = self._outside(dv, v, v1, ew.mul(tu, scale_of_columns(inverse, tu)))
        return outs, [du, ds, dagger(dv)]

    def _outside(self, inside: Any, vectors: Any, first: Any, x: Any) -> Any:
        """The tangent of one side's vectors with what leaves the range of the first ones, ``x``, orthogonal to them."""
        x = ew.sub(x, matmul(first, matmul(dagger(first), x)))
        dv = ew.add(inside, x)
        *_, m, k = shape_of(first)
        if shape_of(vectors)[-1] == k:
            return dv
        rest = block(vectors, (0, m), (k, m))
        return beside(dv, ew.neg(matmul(first, matmul(dagger(x), rest))), axis=-1)


eig = Eig()
eigh = Eigh()
guard = Guard()
svd = Svd()
