"""Linear algebra: systems of equations, and triangular and orthogonal factors.

All take matrices on the last two axes; the axes before them are a stack. A mapped axis is one more of these. LAPACK
evaluates them, through NumPy; the differentials are matrix equations (Giles 2008, *Collected matrix derivative results*).
Write t for the tangent of a, H for the conjugate transpose, and * for products of elements.

    solve        a x = b           dx = a^-1 (db - t x)
    cholesky     a = l l^H         dl = l phi(l^-1 t l^-H),  phi: the lower triangle with half the diagonal
    lu           p a = l u         with m = l^-1 p t u^-1:  dl = l tril(m, -1),  du = triu(m) u
    qr           a = q r           with m = q^H t r^-1 and y = phi(m):  w = y - y^H;  dq = q w (+ what leaves the range
                                   of q),  dr = q^H t - w r
    pinv         Golub and Pereyra 1973, for a constant rank

``cholesky`` reads the lower triangle, as NumPy's does. Its argument is a Hermitian matrix, and so is its tangent: the
Hermitian part is taken, so that gradients are Hermitian.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import OperandError
from ..core.types import Aval, dtype_of, shape_of
from . import elementwise as ew
from . import indexing, structure
from ._matrix import (
    Matrix,
    below,
    beside,
    block,
    check_same_stack,
    conjugated,
    dagger,
    grown,
    half_lower,
    hermitian_part,
    identity,
    matmul,
    on_and_above,
    on_and_below,
    swapped,
)

__all__ = ["cholesky", "lu", "pinv", "qr", "solve", "triangular_solve"]

_INDEX = np.dtype(np.int64)


class Solve(Matrix):
    """x with a x = b, for a [..., n, n] and b [..., n, k]. Linear in b. A singular a raises LinAlgError."""

    name = "solve"
    square = True

    def type(self, *avals: Aval, **params: Any) -> Aval:
        a, b = avals
        _, _, n = self.check(a)
        check_same_stack(self.name, a, b)
        if b.shape[-2] != n:
            raise OperandError(f"solve: a matrix of shape {a.shape} does not fit a right-hand side of shape {b.shape}")
        return Aval(b.shape, b.dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a, b), (ta, tb) = primals, tangents
        x = solve(a, b)
        rest = tb
        if ta is not None:
            product = matmul(ta, x)
            rest = ew.neg(product) if tb is None else ew.sub(tb, product)
        return x, solve(a, rest)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        return [None, solve(swapped(args[0]), ct)]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        if batched[0]:
            return super().batch(size, args, batched, **params)
        # One matrix for all rows is factorised once: the rows are further columns.
        a, b = args
        _, *stack, n, k = shape_of(b)
        at = len(stack) + 1
        wide = structure.reshape(structure.move_axis(b, 0, at), shape=(*stack, n, size * k))
        x = structure.reshape(solve(a, wide), shape=(*stack, n, size, k))
        return structure.move_axis(x, at, 0), True


class TriangularSolve(Matrix):
    """x with op(a) x = b, or x op(a) = b if not ``left``, for a triangular a of which one triangle is read.

    ``lower``: which; ``unit_diagonal``: its diagonal is not read, and 1; ``transpose`` and ``conj`` say what op is.
    Linear in b. A zero on the diagonal raises LinAlgError.
    """

    name = "triangular_solve"
    square = True

    def type(self, *avals: Aval, **params: Any) -> Aval:
        a, b = avals
        _, _, n = self.check(a)
        check_same_stack(self.name, a, b)
        if b.shape[-2 if params["left"] else -1] != n:
            raise OperandError(
                f"triangular_solve: a matrix of shape {a.shape} does not fit a right-hand side of shape {b.shape}"
            )
        return Aval(b.shape, b.dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a, b), (ta, tb) = primals, tangents
        x = self(a, b, **params)
        rest = tb
        if ta is not None:
            triangle = below if params["unit_diagonal"] else on_and_below
            t = triangle(ta) if params["lower"] else swapped(triangle(swapped(ta)))
            t = swapped(t) if params["transpose"] else t
            t = conjugated(t) if params["conj"] else t
            product = matmul(t, x) if params["left"] else matmul(x, t)
            rest = ew.neg(product) if tb is None else ew.sub(tb, product)
        return x, self(a, rest, **params)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        return [None, self(args[0], ct, **(params | {"transpose": not params["transpose"]}))]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        if batched[0]:
            return super().batch(size, args, batched, **params)
        a, b = args
        _, *stack, m, n = shape_of(b)
        at, wide = (len(stack) + 1, (m, size * n)) if params["left"] else (len(stack), (size * m, n))
        b = structure.move_axis(b, 0, at)
        x = self(a, structure.reshape(b, shape=(*stack, *wide)), **params)
        return structure.move_axis(structure.reshape(x, shape=shape_of(b)), at, 0), True


class Pinv(Matrix):
    """The Moore-Penrose inverse: singular values up to ``rtol`` (a number for each matrix) times the largest are zero."""

    name = "pinv"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        a, rtol = avals
        stack, m, n = self.check(a)
        if rtol.shape != stack:
            raise OperandError(
                f"pinv of matrices of the shape {a.shape} takes an rtol of shape {stack}, not {rtol.shape}"
            )
        return Aval((*stack, n, m), a.dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        a, t = primals[0], tangents[0]
        y = pinv(*primals)
        if t is None or not a.size:
            return y, None
        yh, th = dagger(y), dagger(t)
        left = matmul(matmul(y, yh), ew.sub(th, matmul(matmul(th, a), y)))
        right = matmul(ew.sub(th, matmul(y, matmul(a, th))), matmul(yh, y))
        return y, ew.sub(ew.add(left, right), matmul(matmul(y, t), y))


class Cholesky(Matrix):
    """The lower triangular l with a = l l^H; the lower triangle of a is read. Raises LinAlgError where there is none."""

    name = "cholesky"
    square = True

    def type(self, *avals: Aval, **params: Any) -> Aval:
        self.check(avals[0])
        return Aval(avals[0].shape, avals[0].dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a,), (t,) = primals, tangents
        l = cholesky(a)
        how = {"left": True, "lower": True, "transpose": False, "conj": False, "unit_diagonal": False}
        # The inverse once, and products in all that is linear in t.
        inverse = triangular_solve(l, identity(shape_of(l), dtype_of(l)), **how)
        m = matmul(matmul(inverse, hermitian_part(t)), dagger(inverse))
        return l, matmul(l, half_lower(m))


class Lu(Matrix):
    """p a = l u with partial pivoting, for a [..., m, n] and k = min(m, n).

    Gives l and u in one matrix [..., m, n] (the diagonal of l, which is 1, is left out), the pivots [..., k] (row i was
    exchanged with row pivots[i]), and the permutation [..., m] (row i of p a is row permutation[i] of a).
    """

    name = "lu"
    multiple = True

    def type(self, *avals: Aval, **params: Any) -> list[Aval]:
        stack, m, n = self.check(avals[0])
        return [Aval(avals[0].shape, avals[0].dtype), Aval((*stack, min(m, n)), _INDEX), Aval((*stack, m), _INDEX)]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a,), (t,) = primals, tangents
        factors, pivots, permutation = lu(a)
        *stack, m, n = shape_of(a)
        k = min(m, n)
        if not a.size:
            return [factors, pivots, permutation], [None, None, None]
        order = structure.broadcast_in_dim(permutation, shape=(*stack, m, n), dims=tuple(range(len(stack) + 1)))
        moved = indexing.take_along(t, order, len(stack))
        # Both factors are made square by rows and columns of the identity.
        dtype = dtype_of(factors)
        l = ew.add(below(grown(block(factors, (0, m), (0, k)), m, m)), identity((*stack, m, m), dtype))
        u = on_and_above(grown(block(factors, (0, k), (0, n)), n, n))
        if k < n:
            extra = structure.iota(shape=(*stack, n, n), dtype=_INDEX, axis=len(stack))
            u = ew.add(u, ew.mul(identity((*stack, n, n), dtype), ew.convert(ew.ge(extra, k), dtype=dtype)))
        how = {"transpose": False, "conj": False}
        x = triangular_solve(l, moved, left=True, lower=True, unit_diagonal=True, **how)
        x = triangular_solve(u, x, left=False, lower=False, unit_diagonal=False, **how)
        return [factors, pivots, permutation], [ew.add(matmul(l, below(x)), matmul(on_and_above(x), u)), None, None]


class Qr(Matrix):
    """a = q r with orthonormal columns of q and an upper triangular r, for a [..., m, n].

    q is [..., m, min(m, n)], or [..., m, m] if ``full``. The derivative needs min(m, n) first columns that are linearly
    independent, and raises LinAlgError else. The further columns of a full q are any basis of what the others leave
    over: only what does not depend on its choice has a derivative.
    """

    name = "qr"
    multiple = True

    def type(self, *avals: Aval, **params: Any) -> list[Aval]:
        stack, m, n = self.check(avals[0])
        k = m if params["full"] else min(m, n)
        return [Aval((*stack, m, k), avals[0].dtype), Aval((*stack, k, n), avals[0].dtype)]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a,), (t,) = primals, tangents
        q, r = self(a, **params)
        *_, m, n = shape_of(a)
        k = min(m, n)
        if not a.size:
            return [q, r], [None, None]
        first, top = block(q, (0, m), (0, k)), block(r, (0, k), (0, n))
        how = {"left": False, "lower": False, "transpose": False, "conj": False, "unit_diagonal": False}
        x = triangular_solve(block(r, (0, k), (0, k)), block(t, (0, m), (0, k)), **how)
        w = half_lower(matmul(dagger(first), x))
        w = ew.sub(w, dagger(w))
        dq = matmul(first, w)
        if m > k:
            outside = ew.sub(x, matmul(first, matmul(dagger(first), x)))
            dq = ew.add(dq, outside)
            if params["full"]:
                rest = block(q, (0, m), (k, m))
                dq = beside(dq, ew.neg(matmul(first, matmul(dagger(x), rest))), axis=-1)
        dr = on_and_above(ew.sub(matmul(dagger(first), t), matmul(w, top)))
        return [q, r], [dq, grown(dr, shape_of(r)[-2], n)]


cholesky = Cholesky()
lu = Lu()
pinv = Pinv()
qr = Qr()
solve = Solve()
triangular_solve = TriangularSolve()
