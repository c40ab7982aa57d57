"""Linear algebra: factorisations, eigenvalues, systems of equations, determinants.

All take matrices on the last two axes; the axes before them are a stack. A mapped axis is one more of these. LAPACK
evaluates them, through NumPy; the differentials are matrix equations (Giles 2008, *Collected matrix derivative results*).
Write t for the tangent of a, H for the conjugate transpose, and * for products of elements.

    solve        a x = b           dx = a^-1 (db - t x)
    cholesky     a = l l^H         dl = l phi(l^-1 t l^-H),  phi: the lower triangle with half the diagonal
    lu           p a = l u         with m = l^-1 p t u^-1:  dl = l tril(m, -1),  du = triu(m) u
    qr           a = q r           with m = q^H t r^-1 and y = phi(m):  w = y - y^H;  dq = q w (+ what leaves the range
                                   of q),  dr = q^H t - w r
    eigh         a v = v diag(w)   with m = v^H t v:  dw = diag m,  dv = v (f * m),  f_ij = 1 / (w_j - w_i), f_ii = 0
    eig          a v = v diag(w)   the same with m = v^-1 t v, and dv made orthogonal to v column by column
    svd          a = u diag(s) v^H with m = u^H t v:  ds = re diag m,  du = u p,  dv = v q,
                                   p + q = (m + m^H) * 1 / (s_j - s_i),  p - q = (m - m^H) * 1 / (s_j + s_i)
                                   (+ what leaves the range of u, of v: Townsend 2016)
    det          d det = sum cofactor * t
    slogdet      d log|det| = re tr(a^-1 t),  d sign = i sign im tr(a^-1 t)
    pinv         Golub and Pereyra 1973, for a constant rank

``cholesky`` and ``eigh`` read one triangle, as NumPy's do. Their argument is a Hermitian matrix, and so is its
tangent: the Hermitian part is taken, so that gradients are Hermitian.

**Coinciding values.** The vectors of a multiple eigenvalue are any basis of its space, and have no derivative. With
``safe`` the terms 1 / (w_j - w_i) of values that coincide to rounding are zero: the basis of a space does not turn
within it. That is exact for functions that depend neither on the choice of the basis nor differently on the values that
coincide (a projector on the space, a sum over it). Without ``safe`` such a term raises LinAlgError when it is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import LinearAlgebraError, OperandError, OperandTypeError
from ..core.ir import Var
from ..core.trace import Primitive
from ..core.types import Aval, shape_of
from . import elementwise as ew
from . import indexing, reduction, structure
from .contraction import dot_general

__all__ = [
    "cholesky", "cofactor", "det", "eig", "eigh", "guard", "lu", "pinv", "qr", "slogdet", "solve", "svd",
    "triangular_solve",
]  # fmt: skip

Shape = tuple[int, ...]

_INDEX = np.dtype(np.int64)
_DTYPES = ("float32", "float64", "complex64", "complex128")


# Matrices of primitives -----------------------------------------------------------------------------------------------


def _matmul(x: Any, y: Any) -> Any:
    """The products of two stacks of matrices of one stack shape."""
    n = len(shape_of(x)) - 2
    stack = tuple(range(n))
    return dot_general(x, y, dimension_numbers=(((n + 1,), (n,)), (stack, stack)))


def _swap(x: Any) -> Any:
    """The transposed matrices."""
    n = len(shape_of(x))
    return structure.transpose(x, axes=(*range(n - 2), n - 1, n - 2))


def _conj(x: Any) -> Any:
    return ew.conj(x) if x.dtype.kind == "c" else x


def _real(x: Any) -> Any:
    return ew.real(x) if x.dtype.kind == "c" else x


def _dagger(x: Any) -> Any:
    """The conjugate transpose."""
    return _conj(_swap(x))


def _hermitian(x: Any) -> Any:
    """The Hermitian part."""
    return ew.mul(0.5, ew.add(x, _dagger(x)))


def _as(x: Any, dtype: np.dtype[Any]) -> Any:
    return x if x.dtype == dtype else ew.convert(x, dtype=dtype)


def _real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def _complex_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if dtype.kind == "c" else np.dtype(f"c{dtype.itemsize * 2}")


def _order(shape: Shape) -> tuple[Any, Any]:
    """The row and the column of every element of matrices."""
    n = len(shape)
    return structure.iota(shape=shape, dtype=_INDEX, axis=n - 2), structure.iota(shape=shape, dtype=_INDEX, axis=n - 1)


def _eye(shape: Shape, dtype: np.dtype[Any]) -> Any:
    """Identity matrices."""
    return ew.convert(ew.eq(*_order(shape)), dtype=dtype)


def _below(x: Any) -> Any:
    """The part strictly below the diagonal."""
    row, column = _order(shape_of(x))
    return ew.mul(x, ew.convert(ew.gt(row, column), dtype=x.dtype))


def _upper(x: Any) -> Any:
    """The part on and above the diagonal."""
    row, column = _order(shape_of(x))
    return ew.mul(x, ew.convert(ew.le(row, column), dtype=x.dtype))


def _lower(x: Any) -> Any:
    """The part on and below the diagonal."""
    row, column = _order(shape_of(x))
    return ew.mul(x, ew.convert(ew.ge(row, column), dtype=x.dtype))


def _phi(x: Any) -> Any:
    """The part below the diagonal, and half of the diagonal."""
    row, column = _order(shape_of(x))
    weight = ew.add(ew.convert(ew.gt(row, column), dtype=x.dtype), ew.convert(ew.ge(row, column), dtype=x.dtype))
    return ew.mul(x, ew.mul(0.5, weight))


def _columns(values: Any, like: Any) -> Any:
    """A vector for each matrix, as rows that are all equal: it scales the columns of ``like``."""
    shape = shape_of(like)
    n = len(shape)
    return structure.broadcast_in_dim(_as(values, like.dtype), shape=shape, dims=(*range(n - 2), n - 1))


def _rows(values: Any, like: Any) -> Any:
    """A vector for each matrix, as columns that are all equal: it scales the rows of ``like``."""
    shape = shape_of(like)
    return structure.broadcast_in_dim(_as(values, like.dtype), shape=shape, dims=tuple(range(len(shape) - 1)))


def _part(x: Any, rows: tuple[int, int], columns: tuple[int, int]) -> Any:
    """A block of each matrix."""
    shape = shape_of(x)
    if rows == (0, shape[-2]) and columns == (0, shape[-1]):
        return x
    none = (0,) * (len(shape) - 2)
    return structure.slice_(
        x,
        start=(*none, rows[0], columns[0]),
        limit=(*shape[:-2], rows[1], columns[1]),
        stride=(1,) * len(shape),
    )


def _grown(x: Any, rows: int, columns: int) -> Any:
    """Matrices with zeros appended to this size."""
    *stack, m, n = shape_of(x)
    if (m, n) == (rows, columns):
        return x
    config = (*[(0, 0, 0)] * len(stack), (0, rows - m, 0), (0, columns - n, 0))
    return structure.pad(x, x.dtype.type(0), config=config)


def _beside(*xs: Any, axis: int) -> Any:
    return structure.concatenate(*xs, axis=len(shape_of(xs[0])) + axis)


def _inner(x: Any, y: Any) -> Any:
    """Re sum_k conj(x_kj) y_kj, for each column j."""
    return reduction.reduce_sum(_real(ew.mul(_conj(x), y)), axes=(len(shape_of(x)) - 2,))


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
    same = ew.eq(*_order(shape))
    gap = ew.select(same, 1.0, ew.sub(across, down))
    tiny = ew.and_(ew.le(ew.abs_(gap), _rounding(values, size, shape)), ew.not_(same))
    f = _reciprocal(gap, tiny, safe, what)
    return ew.select(same, 0.0, f)


def _rounding(values: Any, size: int, shape: Shape) -> Any:
    """What a difference of these values must exceed to mean something, broadcast to ``shape``."""
    magnitude = ew.abs_(structure.stop_gradient(values))
    largest = reduction.reduce_max(magnitude, axes=(len(shape_of(values)) - 1,))
    limit = ew.mul(largest, float(size * np.finfo(magnitude.dtype).eps))
    return structure.broadcast_in_dim(limit, shape=shape, dims=tuple(range(len(shape_of(limit)))))


# Types ----------------------------------------------------------------------------------------------------------------


class Matrix(Primitive):
    """A primitive of stacks of matrices: a mapped axis is one more axis of the stack."""

    square = False

    def check(self, a: Aval) -> tuple[Shape, int, int]:
        """The shape of the stack, and the rows and columns of its matrices; raises for what is none."""
        if a.ndim < 2:
            raise LinearAlgebraError(f"{self.name}: {a.ndim}-dimensional array given; it must be at least two-dimensional")
        *stack, m, n = a.shape
        if self.square and m != n:
            raise LinearAlgebraError(
                f"{self.name}: the last 2 dimensions of the array must be square, but the shape is {a.shape}"
            )
        if a.dtype.name not in _DTYPES:
            raise OperandTypeError(f"{self.name} takes the dtypes {', '.join(_DTYPES)}, not {a.dtype}")
        return tuple(stack), m, n

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        rows = [x if b else structure.repeat_rows(x, size) for x, b in zip(args, batched, strict=True)]
        result = self(*rows, **params)
        return result, [True] * len(result) if self.multiple else True


def _agree(name: str, a: Aval, b: Aval) -> None:
    if a.dtype != b.dtype:
        raise OperandTypeError(f"{name} takes operands of one dtype, not {a.dtype} and {b.dtype}")
    if a.shape[:-2] != b.shape[:-2] or b.ndim < 2:
        raise OperandError(f"{name} takes stacks of one shape, not matrices of the shapes {a.shape} and {b.shape}")


class Guard(Primitive):
    """``x``, unless an element of ``bad`` is true: then it raises LinAlgError with ``message`` when it is computed."""

    name = "guard"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        x, bad = avals
        if bad.dtype.kind != "b":
            raise OperandTypeError(f"guard takes a boolean condition, not {bad}")
        return x.strong()

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self(*primals, **params), tangents[0]

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        return self(*args, **params), batched[0]


# Systems of equations -------------------------------------------------------------------------------------------------


class Solve(Matrix):
    """x with a x = b, for a [..., n, n] and b [..., n, k]. Linear in b. A singular a raises LinAlgError."""

    name = "solve"
    square = True

    def type(self, *avals: Aval, **params: Any) -> Aval:
        a, b = avals
        _, _, n = self.check(a)
        _agree(self.name, a, b)
        if b.shape[-2] != n:
            raise OperandError(f"solve: a matrix of shape {a.shape} does not fit a right-hand side of shape {b.shape}")
        return Aval(b.shape, b.dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a, b), (ta, tb) = primals, tangents
        x = solve(a, b)
        rest = tb
        if ta is not None:
            product = _matmul(ta, x)
            rest = ew.neg(product) if tb is None else ew.sub(tb, product)
        return x, solve(a, rest)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        return [None, solve(_swap(args[0]), ct)]

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
        _agree(self.name, a, b)
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
            triangle = _below if params["unit_diagonal"] else _lower
            t = triangle(ta) if params["lower"] else _swap(triangle(_swap(ta)))
            t = _swap(t) if params["transpose"] else t
            t = _conj(t) if params["conj"] else t
            product = _matmul(t, x) if params["left"] else _matmul(x, t)
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
            raise OperandError(f"pinv of matrices of the shape {a.shape} takes an rtol of shape {stack}, not {rtol.shape}")
        return Aval((*stack, n, m), a.dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        a, t = primals[0], tangents[0]
        y = pinv(*primals)
        if t is None or not a.size:
            return y, None
        yh, th = _dagger(y), _dagger(t)
        left = _matmul(_matmul(y, yh), ew.sub(th, _matmul(_matmul(th, a), y)))
        right = _matmul(ew.sub(th, _matmul(y, _matmul(a, th))), _matmul(yh, y))
        return y, ew.sub(ew.add(left, right), _matmul(_matmul(y, t), y))


# Determinants ---------------------------------------------------------------------------------------------------------


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
        m = _matmul(_matmul(_dagger(u), t), _dagger(vh))
        p = _as(self._without_two(s), a.dtype)
        same = _eye(shape_of(a), a.dtype)
        last = len(shape_of(a)) - 1
        trace = reduction.reduce_sum(ew.mul(p, _columns(reduction.reduce_sum(ew.mul(m, same), axes=(last,)), p)), axes=(last,))
        inner = ew.sub(ew.mul(_columns(trace, m), same), ew.mul(p, m))
        sign = ew.mul(det(u), det(vh))
        scale = structure.broadcast_in_dim(sign, shape=shape_of(a), dims=tuple(range(last - 1)))
        return y, ew.mul(scale, _matmul(_matmul(_conj(u), _swap(inner)), _conj(vh)))

    def _without_two(self, s: Any) -> Any:
        """p_ij, the product of all s but s_i and s_j, zero on the diagonal; s descends.

        For i < j it is (the product of all but s_j) / s_i. Where that s_i is zero all after it are, and so is the
        product, unless these are the last two.
        """
        *stack, n = shape_of(s)
        axis = len(stack)
        one, none = s.dtype.type(1), ((0, 0, 0),) * axis
        before = reduction.cumprod(
            structure.pad(structure.slice_along(s, axis, 0, n - 1), one, config=(*none, (1, 0, 0))), axis=axis, reverse=False
        )
        after = reduction.cumprod(
            structure.pad(structure.slice_along(s, axis, 1, n), one, config=(*none, (0, 1, 0))), axis=axis, reverse=True
        )
        shape = (*stack, n, n)
        row, column = _order(shape)
        full = structure.broadcast_in_dim(s.dtype.type(0), shape=shape, dims=())
        divisor = _rows(s, full)
        zero = ew.eq(divisor, 0.0)
        p = ew.div(_columns(ew.mul(before, after), full), ew.select(zero, 1.0, divisor))
        rest = structure.slice_along(before, axis, n - 2, n - 1)
        p = ew.select(zero, structure.broadcast_in_dim(rest, shape=shape, dims=tuple(range(axis + 1))), p)
        kept = ew.and_(ew.lt(row, column), ew.or_(ew.not_(zero), ew.eq(row, n - 2)))
        p = ew.select(kept, p, 0.0)
        return ew.add(p, _swap(p))


class Slogdet(Matrix):
    """The sign of the determinant (of a complex one, det / |det|) and the logarithm of its absolute value."""

    name = "slogdet"
    multiple = True
    square = True

    def type(self, *avals: Aval, **params: Any) -> list[Aval]:
        stack, *_ = self.check(avals[0])
        dtype = avals[0].dtype
        return [Aval(stack, dtype), Aval(stack, _real_dtype(dtype))]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a,), (t,) = primals, tangents
        sign, log = slogdet(a)
        n = len(shape_of(a))
        inverse = solve(a, _eye(shape_of(a), a.dtype))
        trace = reduction.reduce_sum(ew.mul(t, _swap(inverse)), axes=(n - 2, n - 1))
        if a.dtype.kind != "c":
            return [sign, log], [None, trace]
        turned = ew.mul(ew.complex_(0.0, ew.imag(trace)), sign)
        return [sign, log], [turned, ew.real(trace)]


# Triangular and orthogonal factors ------------------------------------------------------------------------------------


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
        how = {"lower": True, "unit_diagonal": False}
        m = triangular_solve(l, _hermitian(t), left=True, transpose=False, conj=False, **how)
        m = triangular_solve(l, m, left=False, transpose=True, conj=True, **how)
        return l, _matmul(l, _phi(m))


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
        dtype = factors.dtype
        l = ew.add(_below(_grown(_part(factors, (0, m), (0, k)), m, m)), _eye((*stack, m, m), dtype))
        u = _upper(_grown(_part(factors, (0, k), (0, n)), n, n))
        if k < n:
            extra = structure.iota(shape=(*stack, n, n), dtype=_INDEX, axis=len(stack))
            u = ew.add(u, ew.mul(_eye((*stack, n, n), dtype), ew.convert(ew.ge(extra, k), dtype=dtype)))
        how = {"transpose": False, "conj": False}
        x = triangular_solve(l, moved, left=True, lower=True, unit_diagonal=True, **how)
        x = triangular_solve(u, x, left=False, lower=False, unit_diagonal=False, **how)
        return [factors, pivots, permutation], [ew.add(_matmul(l, _below(x)), _matmul(_upper(x), u)), None, None]


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
        first, top = _part(q, (0, m), (0, k)), _part(r, (0, k), (0, n))
        how = {"left": False, "lower": False, "transpose": False, "conj": False, "unit_diagonal": False}
        x = triangular_solve(_part(r, (0, k), (0, k)), _part(t, (0, m), (0, k)), **how)
        w = _phi(_matmul(_dagger(first), x))
        w = ew.sub(w, _dagger(w))
        dq = _matmul(first, w)
        if m > k:
            outside = ew.sub(x, _matmul(first, _matmul(_dagger(first), x)))
            dq = ew.add(dq, outside)
            if params["full"]:
                rest = _part(q, (0, m), (k, m))
                dq = _beside(dq, ew.neg(_matmul(first, _matmul(_dagger(x), rest))), axis=-1)
        dr = _upper(ew.sub(_matmul(_dagger(first), t), _matmul(w, top)))
        return [q, r], [dq, _grown(dr, shape_of(r)[-2], n)]


# Eigenvalues and singular values --------------------------------------------------------------------------------------


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
        values = Aval((*stack, n), _real_dtype(a.dtype))
        return [values, Aval(a.shape, a.dtype)] if params["vectors"] else [values]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a,), (t,) = primals, tangents
        vectors, safe = params["vectors"], params["safe"]
        w, v = self(a, **(params | {"vectors": True}))
        if not a.size:
            return ([w, v], [None, None]) if vectors else ([w], [None])
        if not vectors:
            return [w], [_inner(v, _matmul(t, v))]
        tv = _matmul(_hermitian(t), v)
        f = _as(_gaps(w, shape_of(a)[-1], safe, "eigenvectors"), a.dtype)
        return [w, v], [_inner(v, tv), _matmul(v, ew.mul(f, _matmul(_dagger(v), tv)))]


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
        dtype = _complex_dtype(a.dtype)
        values = Aval((*stack, n), dtype)
        return [values, Aval(a.shape, dtype)] if params["vectors"] else [values]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a,), (t,) = primals, tangents
        vectors, safe = params["vectors"], params["safe"]
        w, v = eig(a, vectors=True, safe=safe)
        if not a.size:
            return ([w, v], [None, None]) if vectors else ([w], [None])
        last = len(shape_of(a)) - 1
        m = _matmul(solve(v, _eye(shape_of(v), v.dtype)), _matmul(_as(t, v.dtype), v))
        dw = reduction.reduce_sum(ew.mul(m, _eye(shape_of(m), m.dtype)), axes=(last,))
        if not vectors:
            return [w], [dw]
        dv = _matmul(v, ew.mul(_gaps(w, shape_of(a)[-1], safe, "eigenvectors"), m))
        along = reduction.reduce_sum(ew.mul(_conj(v), dv), axes=(last - 1,))
        return [w, v], [dw, ew.sub(dv, ew.mul(v, _columns(along, v)))]


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
        values = Aval((*stack, k), _real_dtype(a.dtype))
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
        *stack, m, n = shape_of(a)
        k = min(m, n)
        v = _dagger(vh)
        u1, v1 = _part(u, (0, m), (0, k)), _part(v, (0, n), (0, k))
        tv = _matmul(t, v1)
        ds = _inner(u1, tv)
        ds = ew.mul(ds, ew.convert(ew.gt(s, 0.0), dtype=ds.dtype))
        if not vectors:
            return outs, [ds]
        inner = _matmul(_dagger(u1), tv)
        both, turn = ew.add(inner, _dagger(inner)), ew.sub(inner, _dagger(inner))
        shape = shape_of(inner)
        size = max(m, n)
        halved = ew.mul(0.5, ew.mul(both, _as(_gaps(s, size, safe, "singular vectors"), a.dtype)))
        sums = ew.add(_columns(s, _zeros_of(s, shape)), _rows(s, _zeros_of(s, shape)))
        tiny = ew.le(sums, _rounding(s, size, shape))
        if a.dtype.kind != "c":
            # The diagonal of the skew part of a real matrix is zero, whatever it is divided by.
            same = ew.eq(*_order(shape))
            sums, tiny = ew.select(same, 1.0, sums), ew.and_(tiny, ew.not_(same))
        turned = ew.mul(0.5, ew.mul(turn, _as(_reciprocal(sums, tiny, safe, "singular vectors"), a.dtype)))
        du, dv = _matmul(u1, ew.add(halved, turned)), _matmul(v1, ew.sub(halved, turned))
        if m != n:
            inverse = _reciprocal(s, ew.le(s, _rounding(s, size, shape_of(s))), safe, "singular vectors")
            if m > n:
                du = self._outside(du, u, u1, ew.mul(tv, _columns(inverse, tv)))
            else:
                tu = _matmul(_dagger(t), u1)
                dv = self._outside(dv, v, v1, ew.mul(tu, _columns(inverse, tu)))
        return outs, [du, ds, _dagger(dv)]

    def _outside(self, inside: Any, vectors: Any, first: Any, x: Any) -> Any:
        """The tangent of one side's vectors with what leaves the range of the first ones, ``x``, orthogonal to them."""
        x = ew.sub(x, _matmul(first, _matmul(_dagger(first), x)))
        dv = ew.add(inside, x)
        *_, m, k = shape_of(first)
        if shape_of(vectors)[-1] == k:
            return dv
        rest = _part(vectors, (0, m), (k, m))
        return _beside(dv, ew.neg(_matmul(first, _matmul(_dagger(x), rest))), axis=-1)


def _zeros_of(x: Any, shape: Shape) -> Any:
    return structure.broadcast_in_dim(x.dtype.type(0), shape=shape, dims=())


guard = Guard()
solve = Solve()
triangular_solve = TriangularSolve()
pinv = Pinv()
det = Det()
cofactor = Cofactor()
slogdet = Slogdet()
cholesky = Cholesky()
lu = Lu()
qr = Qr()
eigh = Eigh()
eig = Eig()
svd = Svd()
