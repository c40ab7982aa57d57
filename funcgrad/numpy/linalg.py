"""Linear algebra: the functions of ``numpy.linalg``, differentiable to any order, mapped and compiled.

    import funcgrad.numpy as fnp
    fnp.linalg.solve(a, b)

Matrices stand on the last two axes; the axes before them are a stack. float32 stays float32, integers are computed in
float64, float16 is refused. On plain arrays the answer is NumPy's. What has no solution raises ``LinAlgError``, in a
compiled program when it runs. Where traced values differ from NumPy:

* ``eig`` and ``eigvals`` give complex results always; NumPy's dtype depends on the values. So they do on plain arrays.
* ``eigh``, ``eigvalsh`` and ``cholesky`` read one triangle, as NumPy's do; their derivative is that with respect to a
  Hermitian matrix, so that the gradient is Hermitian.
* The residuals of ``lstsq`` are computed whenever a has more rows than columns, also where its rank is less.
* ``cond`` with an order other than 2 and -2 raises for a singular matrix.

The formulas of the derivatives stand in :mod:`funcgrad.primitives.linalg`. Eigenvectors and singular vectors are
determined up to their phase: only functions that do not depend on it have a derivative. ``eigh``, ``eig`` and ``svd``
take a further argument ``safe`` that says what happens where values coincide.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from .. import primitives as prim
from ..core.errors import LinearAlgebraError, OperandError, OperandTypeError
from . import _creation, _linear, _reductions, _shape, _ufuncs
from ._promote import all_plain, asarray, convert_to, eager, eager_allowed, expand_to, full, normalize_axis, refuse_out

__all__ = [
    "LinAlgError", "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lstsq",
    "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm", "outer", "pinv",
    "qr", "slogdet", "solve", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve", "trace", "vecdot", "vector_norm",
]  # fmt: skip

#: NumPy's own named tuples, so that a result has one structure, whoever computed it.
_ONE = np.ones((1, 1))
EigResult: Any = type(np.linalg.eig(_ONE))
EighResult: Any = type(np.linalg.eigh(_ONE))
QRResult: Any = type(np.linalg.qr(_ONE))
SlogdetResult: Any = type(np.linalg.slogdet(_ONE))
SVDResult: Any = type(np.linalg.svd(_ONE))


# Arguments ------------------------------------------------------------------------------------------------------------


def operands(name: str, *args: Any) -> list[Any]:
    """The arguments as arrays of the dtype that NumPy's linear algebra computes in."""
    arrays = [asarray(x) for x in args]
    for x in arrays:
        if x.dtype == np.float16:
            raise OperandTypeError(f"{name}: array type float16 is unsupported in linalg; convert to float32")
    dtype = np.result_type(*(x.dtype if x.dtype.kind in "fc" else np.float64 for x in arrays))
    return [convert_to(x, dtype) for x in arrays]


def matrices(name: str, *args: Any, square: bool = False) -> list[Any]:
    """The same, of stacks of matrices."""
    arrays = operands(name, *args)
    for x in arrays:
        if x.ndim < 2:
            raise LinearAlgebraError(f"{name}: {x.ndim}-dimensional array given; it must be at least two-dimensional")
    if square and arrays[0].shape[-2] != arrays[0].shape[-1]:
        raise LinearAlgebraError(
            f"{name}: the last 2 dimensions of the array must be square, but the shape is {arrays[0].shape}"
        )
    return arrays


def dagger(x: Any) -> Any:
    """The conjugate transpose."""
    x = _shape.matrix_transpose(x)
    return _ufuncs.conjugate(x) if x.dtype.kind == "c" else x


def stacked(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Two stacks of matrices with their stacks broadcast to one shape."""
    try:
        stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise OperandError(
            f"{name}: the stacks of the shapes {a.shape} and {b.shape} do not broadcast together"
        ) from None
    pairs = [(x, (*stack, *x.shape[-2:])) for x in (a, b)]
    first, second = (x if x.shape == shape else expand_to(x, shape) for x, shape in pairs)
    return first, second


def _triangle(UPLO: str) -> bool:
    """Whether it is the lower triangle."""
    if UPLO.upper() not in ("L", "U"):
        raise OperandError("UPLO argument must be 'L' or 'U'")
    return UPLO.upper() == "L"


def _filled(a: Any) -> Any:
    """The Hermitian matrix that has the lower triangle of ``a``."""
    return _ufuncs.add(_creation.tril(a), dagger(_creation.tril(a, -1)))


def _eps(x: Any) -> float:
    return float(np.finfo(x.dtype).eps)


# Systems of equations and inverses ------------------------------------------------------------------------------------


@eager(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    """x with ``a @ x = b``, for a [..., n, n] and b [..., n, k], or b [n], as :func:`numpy.linalg.solve`.

    Raises LinAlgError for a singular or a non-square ``a``. Derivative: dx = a^-1 (db - da x) (Giles 2008, 2.3.1).

    >>> solve(np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([2.0, 2.0]))
    array([1. , 0.5])
    """
    a, b = operands("solve", a, b)
    (a,) = matrices("solve", a, square=True)
    vector = b.ndim == 1
    if not b.ndim:
        raise LinearAlgebraError("solve: the right-hand side needs at least one axis")
    if vector:
        b = _shape.reshape_to(b, (*b.shape, 1))
    if b.shape[-2] != a.shape[-1]:
        raise OperandError(f"solve: a matrix of shape {a.shape} does not fit a right-hand side of {b.shape[-2]} rows")
    x = prim.solve(*stacked("solve", a, b))
    return _shape.reshape_to(x, x.shape[:-1]) if vector else x


@eager(np.linalg.inv)
def inv(a: Any) -> Any:
    """The inverses of square matrices, as :func:`numpy.linalg.inv`.

    Raises LinAlgError for singular ones. Derivative: -a^-1 da a^-1 (Giles 2008, 2.2.3).

    >>> inv(np.array([[2.0, 0.0], [0.0, 4.0]]))
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    (a,) = matrices("inv", a, square=True)
    return prim.solve(a, _identity(a))


def _identity(a: Any) -> Any:
    eye = _creation.eye(a.shape[-1], dtype=a.dtype)
    return eye if a.ndim == 2 else expand_to(eye, a.shape)


@eager(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Any:
    """The Moore-Penrose inverses, as :func:`numpy.linalg.pinv`.

    Derivative: Golub and Pereyra (1973), eq. 4.12; it holds where the rank does not change.

    >>> pinv(np.array([[2.0], [0.0]]))
    array([[0.5, 0. ]])
    """
    (a,) = matrices("pinv", a)
    if rcond is None:
        rcond = 1e-15 if rtol is np._NoValue else max(a.shape[-2:]) * _eps(a) if rtol is None else rtol
    elif rtol is not np._NoValue:
        raise OperandError("`rtol` and `rcond` can't be both set.")
    limit = asarray(rcond, _real_dtype(a))
    limit = limit if limit.shape == a.shape[:-2] else expand_to(limit, a.shape[:-2])
    return prim.pinv(_filled(a) if hermitian else a, limit)


def _real_dtype(x: Any) -> np.dtype[Any]:
    return np.finfo(x.dtype).dtype


@eager(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """The x of least length that minimises ``norm(a @ x - b)``, as :func:`numpy.linalg.lstsq`, for a [m, n].

    Gives x, the sums of squared residuals (empty unless m > n), the rank and the singular values. Differentiated by the
    formula of the pseudo-inverse (Golub and Pereyra 1973), not through an iteration.

    >>> x, _, rank, _ = lstsq(np.array([[1.0], [1.0]]), np.array([1.0, 3.0]))
    >>> x, int(rank)
    (array([2.]), 1)
    """
    a, b = operands("lstsq", a, b)
    vector = b.ndim == 1
    if vector:
        b = _shape.reshape_to(b, (*b.shape, 1))
    for x in (a, b):
        if x.ndim != 2:
            raise LinearAlgebraError(f"lstsq: {x.ndim}-dimensional array given; it must be two-dimensional")
    (m, n), k = a.shape, b.shape[1]
    if b.shape[0] != m:
        raise LinearAlgebraError(f"lstsq: Incompatible dimensions: {m} rows of a, {b.shape[0]} of b")
    real = _real_dtype(a)
    if rcond is None:
        rcond = _eps(a) * max(m, n)
    limit = asarray(rcond, real)
    limit = _ufuncs.where(_ufuncs.less(limit, 0), real.type(_eps(a)), limit)
    x = _linear.matmul(prim.pinv(a, limit), b)
    (s,) = prim.svd(a, full=False, vectors=False, safe=True)
    if min(m, n):
        rank = _reductions.sum(_ufuncs.greater(s, _ufuncs.multiply(limit, s[0])), dtype=np.int32)
    else:
        rank = full((), 0, np.int32)
    if m > n:
        rest = _ufuncs.subtract(b, _linear.matmul(a, x))
        residuals = _reductions.sum(_squared(rest), axis=0)
    else:
        residuals = full((0,), 0, real)
    return _shape.reshape_to(x, (n,)) if vector else _shape.reshape_to(x, (n, k)), residuals, rank, s


@eager(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """x with ``tensordot(a, x, x.ndim) = b``, as :func:`numpy.linalg.tensorsolve`."""
    a, b = operands("tensorsolve", a, b)
    if axes is not None:
        moved = [normalize_axis(i, a.ndim) for i in axes]
        a = _shape.permute(a, [i for i in range(a.ndim) if i not in moved] + moved)
    shape = a.shape[b.ndim - a.ndim :] if a.ndim > b.ndim else ()
    size = int(np.prod(shape, dtype=np.int64))
    if a.size != size**2 or b.size != size:
        raise LinearAlgebraError(
            f"tensorsolve: arrays of the shapes {a.shape} and {b.shape} do not fit: the product of the sizes of the "
            f"first {b.ndim} axes of a must be that of the others"
        )
    x = solve(_shape.reshape_to(a, (size, size)), _shape.reshape_to(b, (size,)))
    return _shape.reshape_to(x, shape)


@eager(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse for ``tensordot(., ., ind)``, as :func:`numpy.linalg.tensorinv`."""
    (a,) = operands("tensorinv", a)
    if ind <= 0:
        raise OperandError("Invalid ind argument.")
    shape = (*a.shape[ind:], *a.shape[:ind])
    size = int(np.prod(a.shape[ind:], dtype=np.int64))
    return _shape.reshape_to(inv(_shape.reshape(a, (size, -1))), shape)


# Determinants ---------------------------------------------------------------------------------------------------------


@eager(np.linalg.det)
def det(a: Any) -> Any:
    """The determinants, as :func:`numpy.linalg.det`.

    Derivative: the matrix of cofactors, which is right for singular matrices too; to second order.

    >>> round(float(det(np.array([[1.0, 2.0], [3.0, 4.0]]))), 6)
    -2.0
    """
    (a,) = matrices("det", a, square=True)
    return prim.det(a)


@eager(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    """The sign and the logarithm of the absolute value of the determinants, as :func:`numpy.linalg.slogdet`.

    Derivative: re tr(a^-1 da) (Giles 2008, 2.2.4), which raises LinAlgError for a singular matrix.

    >>> sign, logarithm = slogdet(np.diag([1.0, -np.e]))
    >>> float(sign), float(logarithm)
    (-1.0, 1.0)
    """
    (a,) = matrices("slogdet", a, square=True)
    return SlogdetResult(*prim.slogdet(a))


# Factorisations -------------------------------------------------------------------------------------------------------


@eager(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """The triangular l with ``a = l @ l^H``, or with ``upper`` the u with ``a = u^H @ u``.

    As :func:`numpy.linalg.cholesky`; raises LinAlgError where a is not positive definite. Derivative: Giles (2008, 2.2.6),
    Murray (2016, eq. 7).

    >>> cholesky(np.array([[4.0, 2.0], [2.0, 2.0]]))
    array([[2., 0.],
           [1., 1.]])
    """
    (a,) = matrices("cholesky", a, square=True)
    return dagger(prim.cholesky(dagger(a))) if upper else prim.cholesky(a)


@eager(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    """q and r with ``a = q @ r``, as :func:`numpy.linalg.qr`; ``mode`` is ``reduced``, ``complete`` or ``r``.

    The derivative needs linearly independent columns (of a wide a: the first m), and raises LinAlgError else. The mode
    ``raw`` is for plain arrays only. Source: Walter and Lehmann (2018), and for complex a the same with q^H.

    >>> qr(np.array([[3.0], [4.0]])).R.round(6) ** 2
    array([[25.]])
    """
    (a,) = matrices("qr", a)
    if mode not in ("reduced", "complete", "r"):
        raise OperandError(f"qr: the mode {mode!r} is not one of 'reduced', 'complete' and 'r' of traced values")
    q, r = prim.qr(a, full=mode == "complete")
    return r if mode == "r" else QRResult(q, r)


def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False, *, safe: bool = True
) -> Any:
    """u, s and vh with ``a = u @ diag(s) @ vh``, as :func:`numpy.linalg.svd`; s alone without ``compute_uv``.

    ``safe``: singular vectors have no derivative where singular values coincide (or one is zero, for a matrix that is
    not square). With ``safe`` the terms of such pairs are zero, which is exact for functions that depend neither on the
    choice of the vectors nor, for any one choice, differently on the values that coincide; without it they raise
    LinAlgError. Derivatives: Townsend (2016), with the phases that LAPACK has left free not turning.

    >>> svd(np.diag([1.0, 2.0]), compute_uv=False)
    array([2., 1.])
    """
    if all_plain((a,)) and eager_allowed():
        return np.linalg.svd(a, full_matrices, compute_uv, hermitian)
    (a,) = matrices("svd", a)
    if hermitian:
        a = _filled(a)
    results = prim.svd(a, full=bool(full_matrices and compute_uv), vectors=bool(compute_uv), safe=bool(safe))
    return SVDResult(*results) if compute_uv else results[0]


@eager(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    """The singular values, descending, as :func:`numpy.linalg.svdvals`.

    >>> svdvals(np.diag([1.0, -2.0]))
    array([2., 1.])
    """
    return svd(x, compute_uv=False)


# Eigenvalues ----------------------------------------------------------------------------------------------------------


def eigh(a: Any, UPLO: str = "L", *, safe: bool = True) -> Any:
    """The eigenvalues, ascending, and eigenvectors of Hermitian matrices, as :func:`numpy.linalg.eigh`.

    ``safe``: eigenvectors have no derivative where eigenvalues coincide. With ``safe`` the terms of such pairs are zero,
    which is exact for functions that depend neither on the choice of the basis of an eigenspace nor, for any one basis,
    differently on the eigenvalues that coincide: projectors on the space, sums over it. It is not for a function of the
    matrix written as ``(v * f(w)) @ v.T``: where eigenvalues coincide take ``scipy.linalg.expm`` or ``sqrtm`` instead, or
    ``safe=False``, which raises LinAlgError there. Derivatives: Giles (2008, 3.1).

    >>> eigh(np.array([[2.0, 1.0], [1.0, 2.0]])).eigenvalues
    array([1., 3.])
    """
    if all_plain((a,)) and eager_allowed():
        return np.linalg.eigh(a, UPLO)
    lower = _triangle(UPLO)
    (a,) = matrices("eigh", a, square=True)
    return EighResult(*prim.eigh(a, lower=lower, vectors=True, safe=bool(safe)))


@eager(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """The eigenvalues of Hermitian matrices, ascending, as :func:`numpy.linalg.eigvalsh`.

    Eigenvalues that coincide have the derivatives of the ones LAPACK orders so; their sum's is exact.

    >>> eigvalsh(np.array([[2.0, 1.0], [1.0, 2.0]]))
    array([1., 3.])
    """
    lower = _triangle(UPLO)
    (a,) = matrices("eigvalsh", a, square=True)
    return prim.eigh(a, lower=lower, vectors=False, safe=True)[0]


def eig(a: Any, *, safe: bool = True) -> Any:
    """The eigenvalues and eigenvectors of square matrices, as :func:`numpy.linalg.eig`, but complex always.

    ``safe`` is as in :func:`eigh`. A defective matrix has no derivative. Derivatives: Giles (2008, 3.1), with the length
    of the eigenvectors kept (Boeddeker, Hanebrink et al. 2017).

    >>> eig(np.array([[0.0, 1.0], [-1.0, 0.0]])).eigenvalues
    array([0.+1.j, 0.-1.j])
    """
    (a,) = matrices("eig", a, square=True)
    return EigResult(*prim.eig(a, vectors=True, safe=bool(safe)))


def eigvals(a: Any) -> Any:
    """The eigenvalues of square matrices, as :func:`numpy.linalg.eigvals`, but complex always.

    >>> eigvals(np.diag([1.0, 2.0]))
    array([1.+0.j, 2.+0.j])
    """
    (a,) = matrices("eigvals", a, square=True)
    return prim.eig(a, vectors=False, safe=True)[0]


# Norms ----------------------------------------------------------------------------------------------------------------


def _squared(x: Any) -> Any:
    """|x|^2, as a real number."""
    if x.dtype.kind == "c":
        return _ufuncs.real(_ufuncs.multiply(_ufuncs.conjugate(x), x))
    return _ufuncs.multiply(x, x)


def _vector_norm(x: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """The norm over ``axes``; the derivative is zero where there is none, never NaN."""
    how = {"axis": axes, "keepdims": keepdims}
    if isinstance(ord, str):
        raise OperandError(f"Invalid norm order '{ord}' for vectors")
    if ord is None or ord == 2:
        return _reductions.root(_reductions.sum(_squared(x), **how))
    size = _ufuncs.absolute(x)
    if ord == np.inf:
        return _largest(size, **how)
    if ord == -np.inf:
        return _reductions.min(size, **how)
    if ord == 0:
        return _reductions.sum(_creation.astype(_ufuncs.not_equal(x, 0), size.dtype), **how)
    if ord == 1:
        return _reductions.sum(size, **how)
    # A power of 0 has no derivative, or an infinite one.
    zero = _ufuncs.equal(size, 0)
    edge = size.dtype.type(0 if ord > 0 else np.inf)
    powers = _ufuncs.where(zero, edge, _ufuncs.power(_ufuncs.where(zero, size.dtype.type(1), size), ord))
    total = _reductions.sum(powers, **how)
    zero = _ufuncs.equal(total, edge)
    return _ufuncs.where(
        zero, size.dtype.type(0), _ufuncs.power(_ufuncs.where(zero, size.dtype.type(1), total), 1 / float(ord))
    )


def _largest(x: Any, axis: Any, keepdims: bool = False) -> Any:
    """The maximum, of nothing 0."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    initial = {} if all(x.shape[i] for i in axes) else {"initial": 0}
    return _reductions.max(x, axis=axis, keepdims=keepdims, **initial)


def _matrix_norm(x: Any, ord: Any, row: int, column: int) -> Any:
    """The norm of the matrices on two axes."""
    if ord in (None, "fro", "f"):
        return _vector_norm(x, None, (row, column), False)
    if ord in (2, -2, "nuc"):
        s = svdvals(_shape.moveaxis(x, (row, column), (-2, -1)))
        if ord == "nuc":
            return _reductions.sum(s, axis=-1)
        return _largest(s, -1) if ord == 2 else _reductions.min(s, axis=-1)
    if ord not in (1, -1, np.inf, -np.inf):
        raise OperandError("Invalid norm order for matrices.")
    summed, rest = (row, column) if ord in (1, -1) else (column, row)
    sums = _reductions.sum(_ufuncs.absolute(x), axis=summed)
    rest -= rest > summed
    return _largest(sums, rest) if ord > 0 else _reductions.min(sums, axis=rest)


def _inexact(x: Any) -> Any:
    x = asarray(x)
    return x if x.dtype.kind in "fc" else convert_to(x, np.dtype(float))


@eager(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm of vectors (one axis) or matrices (two), of every order of :func:`numpy.linalg.norm`.

    The derivative is zero where the norm has a kink (at 0), never NaN; equal maxima share it.

    >>> norm(np.array([3.0, 4.0]))
    np.float64(5.0)
    """
    x = _inexact(x)
    if axis is None:
        if ord is None:
            return _vector_norm(x, None, tuple(range(x.ndim)), keepdims)
        axes = tuple(range(x.ndim))
    else:
        axes = tuple(normalize_axis(i, x.ndim) for i in (axis if isinstance(axis, tuple) else (axis,)))
    if len(axes) == 1:
        return _vector_norm(x, ord, axes, keepdims)
    if len(axes) != 2:
        raise OperandError("Improper number of dimensions to norm.")
    row, column = axes
    if row == column:
        raise OperandError("Duplicate axes given.")
    y = _matrix_norm(x, ord, row, column)
    return _shape.expand_dims(y, tuple(sorted(axes))) if keepdims else y


@eager(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The norm of the vectors along one axis, several or all, as :func:`numpy.linalg.vector_norm`."""
    x = _inexact(x)
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return _vector_norm(x, ord, tuple(sorted(normalize_axis(i, x.ndim) for i in axes)), keepdims)


@eager(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norm of matrices, as :func:`numpy.linalg.matrix_norm`."""
    return norm(x, ord, (-2, -1), keepdims)


@eager(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    """The condition numbers in the norm ``p``, as :func:`numpy.linalg.cond`; infinite ones have the derivative zero.

    With an order other than 2 and -2, a traced singular matrix raises LinAlgError.
    """
    (x,) = matrices("cond", x)
    if 0 in x.shape[-2:]:
        raise LinearAlgebraError("cond is not defined on empty arrays")
    if p is not None and p not in (2, -2):
        return _ufuncs.multiply(norm(x, p, (-2, -1)), norm(inv(x), p, (-2, -1)))
    s = svdvals(x)
    above, below = (s[..., -1], s[..., 0]) if p == -2 else (s[..., 0], s[..., -1])
    zero = _ufuncs.equal(below, 0)
    ratio = _ufuncs.divide(above, _ufuncs.where(zero, s.dtype.type(1), below))
    return _ufuncs.where(zero, s.dtype.type(np.inf), ratio)


@eager(np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """The number of singular values above ``tol``, or ``rtol`` times the largest, as :func:`numpy.linalg.matrix_rank`."""
    if tol is not None and rtol is not None:
        raise OperandError("`tol` and `rtol` can't be both set.")
    (a,) = operands("matrix_rank", A)
    if a.ndim < 2:
        return _creation.astype(_reductions.any(_ufuncs.not_equal(a, 0)), np.int64)
    s = prim.stop_gradient(svd(a, compute_uv=False, hermitian=hermitian))
    if tol is None:
        rtol = max(a.shape[-2:]) * _eps(s) if rtol is None else _shape.expand_dims(asarray(rtol), -1)
        tol = _ufuncs.multiply(_largest(s, -1, True), rtol)
    else:
        tol = _shape.expand_dims(asarray(tol), -1)
    return _reductions.count_nonzero(_ufuncs.greater(s, tol), axis=-1)


# Products -------------------------------------------------------------------------------------------------------------


@eager(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    """``a @ a @ ... @ a``, by squaring; of the inverse for a negative ``n``; as :func:`numpy.linalg.matrix_power`.

    >>> matrix_power(np.array([[1, 1], [0, 1]]), 5)
    array([[1, 5],
           [0, 1]])
    """
    a = asarray(a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise LinearAlgebraError(f"matrix_power takes square matrices, not an array of shape {a.shape}")
    try:
        n = operator.index(n)
    except TypeError as error:
        raise TypeError("exponent must be an integer") from error
    if n < 0:
        a, n = inv(a), -n
    power = None
    while n:
        if n & 1:
            power = a if power is None else _linear.matmul(power, a)
        n >>= 1
        if n:
            a = _linear.matmul(a, a)
    return _identity(a) if power is None else power


@eager(np.linalg.multi_dot)
def multi_dot(arrays: Sequence[Any], *, out: Any = None) -> Any:
    """The product of two or more matrices, in the order of the fewest multiplications, as :func:`numpy.linalg.multi_dot`.

    The first and the last may be vectors. The order is found by dynamic programming (Cormen et al., 15.2).
    """
    refuse_out("multi_dot", out)
    items = [asarray(x) for x in arrays]
    if len(items) < 2:
        raise OperandError("Expecting at least two arrays.")
    left, right = items[0].ndim == 1, items[-1].ndim == 1
    if left:
        items[0] = _shape.reshape_to(items[0], (1, *items[0].shape))
    if right:
        items[-1] = _shape.reshape_to(items[-1], (*items[-1].shape, 1))
    for x in items:
        if x.ndim != 2:
            raise LinearAlgebraError(f"multi_dot: {x.ndim}-dimensional array given; it must be two-dimensional")
    y = _chain(items, _splits([items[0].shape[0], *(x.shape[1] for x in items)]), 0, len(items) - 1)
    shape = y.shape[1 if left else 0 : 1 if right else 2]
    return _shape.reshape_to(y, shape)


def _splits(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """For each run of matrices, behind which of them to split it."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    best: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            costs = [cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1] for k in range(i, j)]
            cost[i, j] = min(costs)
            best[i, j] = i + costs.index(cost[i, j])
    return best


def _chain(items: Sequence[Any], best: dict[tuple[int, int], int], i: int, j: int) -> Any:
    if i == j:
        return items[i]
    k = best[i, j]
    return _linear.dot(_chain(items, best, i, k), _chain(items, best, k + 1, j))


def matmul(x1: Any, x2: Any, /) -> Any:
    """The product of stacks of matrices, as :func:`numpy.linalg.matmul`."""
    return _linear.matmul(x1, x2)


def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """The sum of products over ``axes``, as :func:`numpy.linalg.tensordot`."""
    return _linear.tensordot(x1, x2, axes)


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The inner product of vectors, the first conjugated, as :func:`numpy.linalg.vecdot`."""
    return _linear.vecdot(x1, x2, axis=axis)


@eager(np.linalg.outer)
def outer(x1: Any, x2: Any, /) -> Any:
    """The outer product of two vectors, as :func:`numpy.linalg.outer`."""
    x1, x2 = asarray(x1), asarray(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise OperandError(f"outer takes one-dimensional arrays, not of {x1.ndim} and {x2.ndim} dimensions")
    return _linear.outer(x1, x2)


@eager(np.linalg.cross)
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The cross product of vectors of three components, as :func:`numpy.linalg.cross`."""
    return _linear.cross(x1, x2, axis=axis)


def matrix_transpose(x: Any, /) -> Any:
    """The last two axes exchanged, as :func:`numpy.linalg.matrix_transpose`."""
    return _shape.matrix_transpose(x)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sum along the diagonals of matrices, as :func:`numpy.linalg.trace`: of the last two axes.

    >>> trace(np.array([[1, 2], [3, 4]]))
    np.int64(5)
    """
    return _creation.trace(x, offset, -2, -1, dtype)


def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The diagonals of matrices, as :func:`numpy.linalg.diagonal`: of the last two axes."""
    return _shape.diagonal(x, offset, -2, -1)
