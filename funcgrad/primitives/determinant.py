"""Determinants: the determinant itself, its sign and logarithm, and the cofactors.

    det          d det = sum cofactor * t
    slogdet      d log|det| = re tr(a^-1 t),  d sign = i sign im tr(a^-1 t)

The first is right for singular matrices too, the second raises LinAlgError there. (Giles 2008, 2.2.4.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.types import Aval, dtype_of, shape_of
from . import elementwise as ew
from . import reduction, structure
from ._matrix import (
    Matrix,
    conjugated,
    convert_to,
    dagger,
    identity,
    matmul,
    places,
    real_dtype,
    scale_of_columns,
    scale_of_rows,
    swapped,
)
from .linalg import solve
from .spectral import svd

__all__ = ["cofactor", "det", "slogdet"]


class Det(Matrix):
    """The determinant."""

    name = "det"
    square = True

    def type(self, *avals: Aval, **params: Any) -> Aval:
        stack, *_ = self.check(avals[0])
        return Aval(stack, avals[0].dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a,), (t,) = primals, tangents
        n = len(shape_of(a))
        return det(a), reduction.reduce_sum(ew.mul(t, cofactor(a)), axes=(n - 2, n - 1))


class Cofactor(Matrix):
    """The matrix of cofactors, det(a) a^-T, also of a singular a.

    With a = u diag(s) v^H it is det(u v^H) conj(u) diag(q) conj(v^H), q_i being the product of all s but s_i. In that
    basis the differential of the adjugate of diag(s) has, with p_ij the product of all s but s_i and s_j, the diagonal
    sum_{k != i} p_ik m_kk and elsewhere -p_ij m_ij: nothing is divided by a difference of singular values. The third
    derivative of a determinant goes through the derivative of ``svd``, and raises where singular values coincide.
    """

    name = "cofactor"
    square = True

    def type(self, *avals: Aval, **params: Any) -> Aval:
        self.check(avals[0])
        return Aval(avals[0].shape, avals[0].dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a,), (t,) = primals, tangents
        *_, n = shape_of(a)
        y = cofactor(a)
        if n < 2:
            return y, None
        u, s, vh = svd(a, full=False, vectors=True, safe=False)
        m = matmul(matmul(dagger(u), t), dagger(vh))
        p = convert_to(self._without_two(s), dtype_of(a))
        same = identity(shape_of(a), dtype_of(a))
        last = len(shape_of(a)) - 1
        trace = reduction.reduce_sum(
            ew.mul(p, scale_of_columns(reduction.reduce_sum(ew.mul(m, same), axes=(last,)), p)), axes=(last,)
        )
        inner = ew.sub(ew.mul(scale_of_columns(trace, m), same), ew.mul(p, m))
        sign = ew.mul(det(u), det(vh))
        scale = structure.broadcast_in_dim(sign, shape=shape_of(a), dims=tuple(range(last - 1)))
        return y, ew.mul(scale, matmul(matmul(conjugated(u), swapped(inner)), conjugated(vh)))

    def _without_two(self, s: Any) -> Any:
        """p_ij, the product of all s but s_i and s_j, zero on the diagonal; s descends.

        For i < j it is (the product of all but s_j) / s_i. Where that s_i is zero all after it are, and so is the
        product, unless these are the last two.
        """
        *stack, n = shape_of(s)
        axis = len(stack)
        one, none = dtype_of(s).type(1), ((0, 0, 0),) * axis
        before = reduction.cumprod(
            structure.pad(structure.slice_along(s, axis, 0, n - 1), one, config=(*none, (1, 0, 0))),
            axis=axis,
            reverse=False,
        )
        after = reduction.cumprod(
            structure.pad(structure.slice_along(s, axis, 1, n), one, config=(*none, (0, 1, 0))), axis=axis, reverse=True
        )
        shape = (*stack, n, n)
        row, column = places(shape)
        full = structure.broadcast_in_dim(dtype_of(s).type(0), shape=shape, dims=())
        divisor = scale_of_rows(s, full)
        zero = ew.eq(divisor, 0.0)
        p = ew.div(scale_of_columns(ew.mul(before, after), full), ew.select(zero, 1.0, divisor))
        rest = structure.slice_along(before, axis, n - 2, n - 1)
        p = ew.select(zero, structure.broadcast_in_dim(rest, shape=shape, dims=tuple(range(axis + 1))), p)
        kept = ew.and_(ew.lt(row, column), ew.or_(ew.not_(zero), ew.eq(row, n - 2)))
        p = ew.select(kept, p, 0.0)
        return ew.add(p, swapped(p))


class Slogdet(Matrix):
    """The sign of the determinant (of a complex one, det / |det|) and the logarithm of its absolute value."""

    name = "slogdet"
    multiple = True
    square = True

    def type(self, *avals: Aval, **params: Any) -> list[Aval]:
        stack, *_ = self.check(avals[0])
        dtype = avals[0].dtype
        return [Aval(stack, dtype), Aval(stack, real_dtype(dtype))]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a,), (t,) = primals, tangents
        sign, log = slogdet(a)
        n = len(shape_of(a))
        inverse = solve(a, identity(shape_of(a), dtype_of(a)))
        trace = reduction.reduce_sum(ew.mul(t, swapped(inverse)), axes=(n - 2, n - 1))
        if dtype_of(a).kind != "c":
            return [sign, log], [None, trace]
        turned = ew.mul(ew.complex_(0.0, ew.imag(trace)), sign)
        return [sign, log], [turned, ew.real(trace)]


cofactor = Cofactor()
det = Det()
slogdet = Slogdet()
