"""Linear algebra by LAPACK, through numpy.linalg; LU and triangular systems, which NumPy has not, in blocks."""

from __future__ import annotations

import numpy as np


def guard(x, bad, *, message):
    """x, unless bad is true somewhere."""
    if np.any(bad):
        raise np.linalg.LinAlgError(message)
    return np.array(x)[()]


def solve(a, b):
    """x with a x = b."""
    return np.linalg.solve(a, b)


def triangular_solve(a, b, *, left, lower, transpose, conj, unit_diagonal):
    """x with op(a) x = b, or x op(a) = b: small blocks on the diagonal are solved, the others multiplied."""
    # x op(a) = b is op(a)^T x^T = b^T.
    a = a.conj() if conj else a
    if transpose == left:
        a, lower = a.swapaxes(-1, -2), not lower
    rest = b if left else b.swapaxes(-1, -2)
    n, block = a.shape[-1], 64
    kept = np.tri(min(n, block), k=-1 if unit_diagonal else 0, dtype=bool)
    kept = kept if lower else kept.T
    x = np.empty(rest.shape, rest.dtype)
    starts = range(0, n, block)
    for start in starts if lower else reversed(starts):
        stop = min(start + block, n)
        rows, done = slice(start, stop), slice(0, start) if lower else slice(stop, n)
        corner = np.where(kept[: stop - start, : stop - start], a[..., rows, rows], 0)
        if unit_diagonal:
            corner += np.eye(stop - start, dtype=a.dtype)
        part = rest[..., rows, :]
        if n > block:
            part = part - a[..., rows, done] @ x[..., done, :]
        x[..., rows, :] = np.linalg.solve(corner, part)
    return x if left else np.ascontiguousarray(x.swapaxes(-1, -2))


def pinv(a, rtol):
    """The Moore-Penrose inverse."""
    if a.size == 0:
        return np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
    return np.linalg.pinv(a, rtol)


def det(a):
    """The determinant."""
    return np.linalg.det(a)


def cofactor(a):
    """The matrix of cofactors: det(a) a^-T where that is accurate.

    Else, with the factors of a singular value decomposition, det(u vh) conj(u) diag(q) conj(vh), for singular a too.
    """
    if a.size == 0:
        return np.array(a)
    try:
        inverse = np.linalg.inv(a)
        condition = np.linalg.norm(a, 1, (-2, -1)) * np.linalg.norm(inverse, 1, (-2, -1))
        if np.all(condition < np.finfo(a.dtype).eps ** -0.25):
            return np.linalg.det(a)[..., None, None] * inverse.swapaxes(-1, -2)
    except np.linalg.LinAlgError:
        pass
    u, s, vh = np.linalg.svd(a)
    others = np.ones_like(s)
    others[..., 1:] = np.cumprod(s[..., :-1], -1)
    others[..., :-1] *= np.cumprod(s[..., :0:-1], -1)[..., ::-1]
    sign = np.linalg.det(u) * np.linalg.det(vh)
    return ((u.conj() * others[..., None, :]) @ vh.conj() * sign[..., None, None]).astype(a.dtype, copy=False)


def slogdet(a):
    """The sign and the logarithm of the absolute value of the determinant."""
    return list(np.linalg.slogdet(a))


def cholesky(a):
    """The lower Cholesky factor."""
    return np.linalg.cholesky(a)


def lu(a):
    """LU with partial pivoting: both factors in one matrix, the pivots, the permutation.

    A panel of columns is factorised column by column; what stands right of it is updated by one product of matrices.
    """
    *stack, m, n = a.shape
    k, block = min(m, n), 32
    x = np.array(a).reshape(-1, m, n) if a.size else np.empty((int(np.prod(stack)), m, n), a.dtype)
    each = np.arange(len(x))
    pivots = np.empty((len(x), k), np.int64)
    order = np.tile(np.arange(m), (len(x), 1))
    for start in range(0, k, block):
        stop = min(start + block, k)
        for j in range(start, stop):
            column = x[:, j:, j]
            size = np.abs(column.real) + np.abs(column.imag) if x.dtype.kind == "c" else np.abs(column)
            found = pivots[:, j] = j + np.argmax(size, 1)
            x[each, found], x[:, j] = x[:, j].copy(), x[each, found]
            order[each, found], order[:, j] = order[:, j].copy(), order[each, found]
            pivot = x[:, j, j, None]
            x[:, j + 1 :, j] /= np.where(pivot == 0, 1, pivot)
            x[:, j + 1 :, j + 1 : stop] -= x[:, j + 1 :, j, None] * x[:, j, None, j + 1 : stop]
        for j in range(start, stop - 1):
            x[:, j + 1 : stop, stop:] -= x[:, j + 1 : stop, j, None] * x[:, j, None, stop:]
        x[:, stop:, stop:] -= x[:, stop:, start:stop] @ x[:, start:stop, stop:]
    return [x.reshape(a.shape), pivots.reshape(*stack, k), order.reshape(*stack, m)]


def qr(a, *, full):
    """a = q r."""
    return list(np.linalg.qr(a, "complete" if full else "reduced"))


def eigh(a, *, lower, vectors, safe):
    """The eigenvalues, and the eigenvectors, of Hermitian matrices of which one triangle is read."""
    triangle = "L" if lower else "U"
    return list(np.linalg.eigh(a, triangle)) if vectors else [np.linalg.eigvalsh(a, triangle)]


def eig(a, *, vectors, safe):
    """The eigenvalues, and the eigenvectors, of square matrices; complex also where NumPy's are real."""
    results = np.linalg.eig(a) if vectors else [np.linalg.eigvals(a)]
    return [x.astype(np.result_type(a.dtype, np.complex64), copy=False) for x in results]


def svd(a, *, full, vectors, safe):
    """a = u diag(s) vh."""
    return list(np.linalg.svd(a, full)) if vectors else [np.linalg.svd(a, compute_uv=False)]
