"""Linear algebra under the names of ``scipy.linalg``, written in ``funcgrad.numpy``: it differentiates, maps, compiles.

SciPy itself is not needed. Arguments that tell SciPy to overwrite an array or to skip a check are left out. Matrices
stand on the last two axes of a stack, unless a docstring says otherwise.

    lu, lu_factor     partial pivoting; the factors' derivative is that for the pivots that were chosen
    expm              Pade approximation of degree 13, scaling and squaring (Higham 2005)
    sqrtm             the product form of the Denman-Beavers iteration (Higham 2008, 6.29), differentiated by the
                      equation X dX + dX X = dA
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .. import numpy as fnp
from .. import primitives as prim
from ..api.custom import custom_jvp
from ..api.mapping import vmap
from ..api.staging import jit
from ..core.errors import LinearAlgebraError, OperandError
from ..lax import cond, fori_loop, stop_gradient, while_loop
from ..numpy import linalg
from ..numpy.linalg import dagger, matrices, operands, stacked

__all__ = [
    "block_diag", "cho_factor", "cho_solve", "cholesky", "det", "expm", "inv", "lu", "lu_factor", "lu_solve", "solve",
    "solve_sylvester", "solve_triangular", "sqrtm", "toeplitz",
]  # fmt: skip

inv = linalg.inv
det = linalg.det


# Systems of equations -------------------------------------------------------------------------------------------------


def _sides(name: str, a: Any, b: Any) -> tuple[Any, Any, bool]:
    """A square matrix and right-hand sides as columns, their stacks of one shape; and whether b was a vector."""
    a, b = operands(name, a, b)
    (a,) = matrices(name, a, square=True)
    vector = b.ndim == 1
    if vector:
        b = fnp.reshape(b, (*b.shape, 1))
    if b.ndim < 2 or b.shape[-2] != a.shape[-1]:
        raise OperandError(f"{name}: a matrix of shape {a.shape} does not fit a right-hand side of shape {b.shape}")
    return *stacked(name, a, b), vector


def _column(x: Any, vector: bool) -> Any:
    return fnp.squeeze(x, -1) if vector else x


def solve_triangular(a: Any, b: Any, trans: int | str = 0, lower: bool = False, unit_diagonal: bool = False) -> Any:
    """x with ``op(a) @ x = b`` for a triangular a, as ``scipy.linalg.solve_triangular``.

    ``trans``: op is nothing (0, "N"), the transpose (1, "T") or the conjugate transpose (2, "C"). The triangle that
    ``lower`` names is read. Raises LinAlgError for a zero on the diagonal.

    >>> solve_triangular(np.array([[2.0, 0.0], [1.0, 4.0]]), np.array([2.0, 9.0]), lower=True)
    array([1., 2.])
    """
    kind = {0: "N", 1: "T", 2: "C"}.get(trans, trans)
    if kind not in ("N", "T", "C"):
        raise OperandError(f"solve_triangular: trans is one of 0, 1, 2, 'N', 'T' and 'C', not {trans!r}")
    a, b, vector = _sides("solve_triangular", a, b)
    x = prim.triangular_solve(
        a,
        b,
        left=True,
        lower=bool(lower),
        transpose=kind != "N",
        conj=kind == "C" and a.dtype.kind == "c",
        unit_diagonal=bool(unit_diagonal),
    )
    return _column(x, vector)


def solve(a: Any, b: Any, lower: bool = False, assume_a: str | None = None, transposed: bool = False) -> Any:
    """x with ``a @ x = b``, as ``scipy.linalg.solve``; raises LinAlgError for a singular a.

    ``assume_a``: ``pos`` goes by Cholesky, ``lower triangular`` and ``upper triangular`` by substitution; ``sym`` and
    ``her`` take a from one triangle, ``lower`` says which; ``gen`` and None are the general case.
    """
    a, b, vector = _sides("solve", a, b)
    if assume_a in ("pos", "positive definite"):
        x = cho_solve(cho_factor(fnp.swapaxes(a, -1, -2) if transposed else a, lower != transposed), b)
    elif assume_a in ("lower triangular", "upper triangular"):
        x = solve_triangular(a, b, int(transposed), assume_a == "lower triangular")
    elif assume_a in ("sym", "symmetric", "her", "hermitian"):
        half = fnp.tril(a, -1) if lower else fnp.triu(a, 1)
        turned = fnp.swapaxes(half, -1, -2) if assume_a.startswith("sym") else dagger(half)
        a = (fnp.tril(a) if lower else fnp.triu(a)) + turned
        x = linalg.solve(fnp.swapaxes(a, -1, -2) if transposed else a, b)
    elif assume_a in (None, "gen", "general"):
        x = linalg.solve(fnp.swapaxes(a, -1, -2) if transposed else a, b)
    else:
        raise OperandError(f"solve: {assume_a!r} is no known structure of a matrix")
    return _column(x, vector)


def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """x with ``a @ x + x @ b = q``, for a [m, m], b [n, n] and q [m, n], as ``scipy.linalg.solve_sylvester``.

    It is solved as one system of m n equations: (a kron 1 + 1 kron b^T) vec x = vec q. That is exact, and meant for
    matrices of some tens of rows. Raises LinAlgError where a and -b have an eigenvalue in common.

    >>> solve_sylvester(np.array([[2.0]]), np.array([[1.0]]), np.array([[6.0]]))
    array([[2.]])
    """
    a, b, q = operands("solve_sylvester", a, b, q)
    m, n = (*q.shape, 0, 0)[:2]
    if q.ndim != 2 or a.shape != (m, m) or b.shape != (n, n):
        raise OperandError(f"solve_sylvester: the shapes {a.shape}, {b.shape} and {q.shape} do not fit")
    system = fnp.kron(a, fnp.eye(n, dtype=a.dtype)) + fnp.kron(fnp.eye(m, dtype=a.dtype), fnp.transpose(b))
    return fnp.reshape(linalg.solve(system, fnp.reshape(q, (m * n,))), (m, n))


# Factorisations -------------------------------------------------------------------------------------------------------


def cholesky(a: Any, lower: bool = False) -> Any:
    """The triangular factor of a positive definite matrix, the upper one by default, as ``scipy.linalg.cholesky``."""
    return linalg.cholesky(a, upper=not lower)


def cho_factor(a: Any, lower: bool = False) -> tuple[Any, bool]:
    """The Cholesky factor and ``lower``, for :func:`cho_solve`; the other triangle is zero."""
    return cholesky(a, lower), lower


def cho_solve(c_and_lower: tuple[Any, bool], b: Any) -> Any:
    """x with ``a @ x = b``, given what :func:`cho_factor` gives for a.

    >>> cho_solve(cho_factor(np.array([[4.0]])), np.array([2.0]))
    array([0.5])
    """
    c, lower = c_and_lower
    first, then = ("N", "C") if lower else ("C", "N")
    return solve_triangular(c, solve_triangular(c, b, first, lower), then, lower)


def lu(a: Any, permute_l: bool = False, p_indices: bool = False) -> tuple[Any, ...]:
    """p, l and u with ``a = p @ l @ u``, as ``scipy.linalg.lu``.

    ``permute_l`` gives (p @ l, u); ``p_indices`` gives p as indices, with ``a = (l @ u)[p]``. The derivative needs the
    first min(m, n) columns (of the permuted matrix) to be linearly independent, and raises LinAlgError else.

    >>> p, l, u = lu(np.array([[1.0, 2.0], [4.0, 4.0]]))
    >>> l, u
    (array([[1.  , 0.  ], [0.25, 1.  ]]), array([[4., 4.], [0., 1.]]))
    """
    (a,) = matrices("lu", a)
    factors, _, order = prim.lu(a)
    m, n = a.shape[-2:]
    k = min(m, n)
    l = fnp.tril(factors[..., :, :k], -1) + fnp.eye(m, k, dtype=a.dtype)
    u = fnp.triu(factors[..., :k, :])
    back = fnp.argsort(order, axis=-1)
    if permute_l:
        return fnp.take_along_axis(l, back[..., None], axis=-2), u
    if p_indices:
        return fnp.astype(back, np.int32), l, u
    real = np.finfo(a.dtype).dtype
    return fnp.astype(back[..., None] == np.arange(m), real), l, u


def lu_factor(a: Any) -> tuple[Any, Any]:
    """The factors l and u in one matrix, and the pivots (int32): row i was exchanged with row piv[i]."""
    (a,) = matrices("lu_factor", a)
    factors, pivots, _ = prim.lu(a)
    return factors, fnp.astype(pivots, np.int32)


def lu_solve(lu_and_piv: tuple[Any, Any], b: Any, trans: int = 0) -> Any:
    """x with ``a @ x = b`` (``trans``: 1 of the transpose, 2 of the conjugate transpose), given ``lu_factor(a)``.

    >>> lu_solve(lu_factor(np.array([[0.0, 2.0], [1.0, 1.0]])), np.array([2.0, 3.0]))
    array([2., 1.])
    """
    factors, pivots = lu_and_piv
    factors, b, vector = _sides("lu_solve", factors, b)
    if trans not in (0, 1, 2):
        raise OperandError(f"lu_solve: trans is one of 0, 1 and 2, not {trans!r}")
    *stack, n, _ = factors.shape
    pivots = fnp.broadcast_to(fnp.astype(fnp.asarray(pivots), np.int64), (*stack, n))
    order = fnp.reshape(_permutations(fnp.reshape(pivots, (-1, n))), (*stack, n))
    if trans == 0:
        x = fnp.take_along_axis(b, order[..., None], axis=-2)
        x = solve_triangular(factors, x, 0, lower=True, unit_diagonal=True)
        x = solve_triangular(factors, x, 0)
    else:
        x = solve_triangular(factors, b, trans)
        x = solve_triangular(factors, x, trans, lower=True, unit_diagonal=True)
        x = fnp.take_along_axis(x, fnp.argsort(order, axis=-1)[..., None], axis=-2)
    return _column(x, vector)


@jit
@vmap
def _permutations(pivots: Any) -> Any:
    """The order of the rows after all exchanges."""

    def exchange(i: Any, order: Any) -> Any:
        j = pivots[i]
        return order.at[i].set(order[j]).at[j].set(order[i])

    return fori_loop(0, pivots.shape[0], exchange, fnp.arange(pivots.shape[0]))


# Functions of a matrix ------------------------------------------------------------------------------------------------

_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
    10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
#: Up to this norm the approximation is exact to rounding in double precision (Higham 2005, table 2.3).
_THETA = 5.371920351148152
_SQUARINGS = 32


@jit
def _expm(a: Any) -> Any:
    identity = fnp.eye(a.shape[-1], dtype=a.dtype)
    size = stop_gradient(linalg.norm(a, 1, (-2, -1)))
    steps = fnp.ceil(fnp.log2(fnp.maximum(size / _THETA, 1.0)))
    message = f"expm: the 1-norm of the matrix is above {_THETA * 2.0**_SQUARINGS:.0e}, or not a number"
    steps = prim.guard(steps, ~(steps <= _SQUARINGS), message=message)[..., None, None]
    b = [_PADE[i] / _PADE[0] for i in range(14)]
    a = a * fnp.exp2(-steps)
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a2 @ a4
    odd = a @ (a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * identity)
    even = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * identity
    r = linalg.solve(even - odd, even + odd)

    def square(i: Any, r: Any) -> Any:
        return cond(i < fnp.max(steps), lambda r: fnp.where(i < steps, r @ r, r), lambda r: r, r)

    return fori_loop(0, _SQUARINGS, square, r)


def expm(A: Any) -> Any:
    """The exponentials of square matrices, as ``scipy.linalg.expm``.

    Source: Higham, *The scaling and squaring method for the matrix exponential revisited* (2005). Raises LinAlgError for
    a norm above 2e10, where the exponential has lost its digits.

    >>> expm(np.array([[0.0, 1.0], [0.0, 0.0]]))
    array([[1., 1.],
           [0., 1.]])
    """
    (a,) = matrices("expm", A, square=True)
    return a if a.size == 0 else _expm(a)


_ITERATIONS = 60


@custom_jvp
def _sqrtm(a: Any) -> Any:
    n = a.shape[-1]
    identity = fnp.eye(n, dtype=a.dtype)
    limit = float(10 * n * np.finfo(a.dtype).eps)

    def error(m: Any) -> Any:
        return linalg.norm(m - identity)

    def unfinished(state: Any) -> Any:
        count, _, m = state
        return (count < _ITERATIONS) & (error(m) > limit)

    def step(state: Any) -> Any:
        count, x, m = state
        inverse = linalg.inv(m)
        # Near the solution scaling only adds rounding.
        scale = fnp.where(error(m) > 0.1, fnp.exp(-linalg.slogdet(m).logabsdet / (2 * n)), 1.0)
        x = 0.5 * scale * (x + (x @ inverse) / scale**2)
        return count + 1, x, 0.5 * (identity + 0.5 * (scale**2 * m + inverse / scale**2))

    _, x, _ = while_loop(unfinished, step, (np.int64(0), a, a))
    size = linalg.norm(a)
    wrong = ~(linalg.norm(x @ x - a) <= float(np.sqrt(np.finfo(a.dtype).eps)) * size)
    message = "sqrtm: the matrix is singular, or it has a negative eigenvalue: then pass a complex matrix"
    return prim.guard(x, wrong, message=message)


@partial(_sqrtm.defjvp)
def _sqrtm_jvp(primals: Any, tangents: Any) -> Any:
    (a,), (t,) = primals, tangents
    x = _sqrtm(a)
    return x, solve_sylvester(x, x, t)


def sqrtm(A: Any) -> Any:
    """The principal square root of a regular matrix [n, n], as ``scipy.linalg.sqrtm``, of the dtype of the matrix.

    Raises LinAlgError where there is none of that dtype: a real matrix with a negative eigenvalue must be passed as a
    complex one. Singular matrices are not taken.

    >>> sqrtm(np.diag([4.0, 9.0])).round(12)
    array([[2., 0.],
           [0., 3.]])
    """
    (a,) = matrices("sqrtm", A, square=True)
    if a.ndim != 2:
        raise LinearAlgebraError(f"sqrtm: {a.ndim}-dimensional array given; it must be two-dimensional; use vmap")
    return a if a.size == 0 else _sqrtm(a)


# Structured matrices --------------------------------------------------------------------------------------------------


def block_diag(*arrs: Any) -> Any:
    """The matrix with these blocks on its diagonal, as ``scipy.linalg.block_diag``; a vector is a row.

    >>> block_diag(np.array([[1, 2]]), np.array([[3]]))
    array([[1, 2, 0],
           [0, 0, 3]])
    """
    blocks = [fnp.atleast_2d(x) for x in arrs] or [np.zeros((1, 0))]
    if any(x.ndim != 2 for x in blocks):
        bad = next(i for i, x in enumerate(blocks) if x.ndim != 2)
        raise OperandError(f"block_diag: argument {bad} has {blocks[bad].ndim} dimensions, more than two")
    dtype = fnp.result_type(*blocks)
    width = sum(x.shape[1] for x in blocks)
    rows, at = [], 0
    for x in blocks:
        n = x.shape[1]
        rows.append(fnp.pad(fnp.astype(x, dtype), ((0, 0), (at, width - at - n))))
        at += n
    return fnp.concatenate(rows, axis=0)


def toeplitz(c: Any, r: Any = None) -> Any:
    """The matrix with the first column ``c`` and the first row ``r`` (by default the conjugate of ``c``).

    As ``scipy.linalg.toeplitz``, of vectors; r[0] is ignored.

    >>> toeplitz(np.array([1, 2, 3]), np.array([1, 4]))
    array([[1, 4],
           [2, 1],
           [3, 2]])
    """
    c = fnp.atleast_1d(c)
    r = fnp.conjugate(c) if r is None else fnp.atleast_1d(r)
    if c.ndim != 1 or r.ndim != 1:
        raise OperandError(f"toeplitz takes vectors, not arrays of the shapes {c.shape} and {r.shape}")
    values = fnp.concatenate([fnp.flip(c), r[1:]])
    rows, columns = np.arange(c.shape[0])[:, None], np.arange(r.shape[0])
    return fnp.take(values, c.shape[0] - 1 - rows + columns)
