"""Linear algebra by the standard's extension ``linalg``. The standard has no LU and no general eigenvalues."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .reduction import running_product

__all__ = ["OPS", "guard"]


def guard(xp, x, bad, *, message):
    """x, unless bad is true somewhere."""
    if bool(xp.any(bad)):
        raise np.linalg.LinAlgError(message)
    return xp.asarray(x, copy=True)


def _conj(xp, x):
    return xp.conj(x) if xp.isdtype(x.dtype, "complex floating") else x


def solve(xp, a, b):
    """x with a x = b."""
    return xp.linalg.solve(a, b)


def triangular_solve(xp, a, b, *, left, lower, transpose, conj, unit_diagonal):
    """x with op(a) x = b, or x op(a) = b; one triangle of a is read, the rest is set to 0."""
    a = xp.tril(a) if lower else xp.triu(a)
    if unit_diagonal:
        n = a.shape[-1]
        identity = xp.eye(n, dtype=a.dtype, device=a.device)
        a = xp.where(xp.eye(n, dtype=xp.bool, device=a.device), identity, a)
    a = _conj(xp, a) if conj else a
    # x op(a) = b is op(a)^T x^T = b^T.
    a = xp.matrix_transpose(a) if transpose == left else a
    x = xp.linalg.solve(a, b if left else xp.matrix_transpose(b))
    return x if left else xp.asarray(xp.matrix_transpose(x), copy=True)


def pinv(xp, a, rtol):
    """The Moore-Penrose inverse."""
    if 0 in a.shape:
        return xp.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), dtype=a.dtype, device=a.device)
    return xp.linalg.pinv(a, rtol=rtol)


def det(xp, a):
    """The determinant."""
    return xp.linalg.det(a)


def cofactor(xp, a):
    """The matrix of cofactors, det(a) a^-T, of singular a too.

    With a = u diag(s) vh it is det(u vh) conj(u) diag(q) conj(vh), q_i being the product of all s but s_i.
    """
    if 0 in a.shape:
        return xp.asarray(a, copy=True)
    u, s, vh = xp.linalg.svd(a)
    last, ones = s.ndim - 1, xp.ones_like(s[..., :1])
    below = xp.concat([ones, running_product(xp, s[..., :-1], axis=last)], axis=last)
    above = xp.concat([running_product(xp, s[..., 1:], axis=last, reverse=True), ones], axis=last)
    others = xp.astype((below * above)[..., None, :], a.dtype)
    sign = (xp.linalg.det(u) * xp.linalg.det(vh))[..., None, None]
    return xp.matmul(_conj(xp, u) * others, _conj(xp, vh)) * sign


def slogdet(xp, a):
    """The sign and the logarithm of the absolute value of the determinant."""
    return list(xp.linalg.slogdet(a))


def cholesky(xp, a):
    """The lower Cholesky factor."""
    return xp.linalg.cholesky(a)


def qr(xp, a, *, full):
    """a = q r."""
    return list(xp.linalg.qr(a, mode="complete" if full else "reduced"))


def eigh(xp, a, *, lower, vectors, safe):
    """The eigenvalues, and the eigenvectors, of Hermitian matrices of which one triangle is read."""
    triangle = xp.tril(a, k=-1) if lower else xp.triu(a, k=1)
    diagonal = xp.tril(xp.triu(a))
    a = triangle + diagonal + _conj(xp, xp.matrix_transpose(triangle))
    return list(xp.linalg.eigh(a)) if vectors else [xp.linalg.eigvalsh(a)]


def svd(xp, a, *, full, vectors, safe):
    """a = u diag(s) vh."""
    return list(xp.linalg.svd(a, full_matrices=full)) if vectors else [xp.linalg.svdvals(a)]


OPS: dict[str, Callable[..., Any]] = {
    "cholesky": cholesky,
    "cofactor": cofactor,
    "det": det,
    "eigh": eigh,
    "pinv": pinv,
    "qr": qr,
    "slogdet": slogdet,
    "solve": solve,
    "svd": svd,
    "triangular_solve": triangular_solve,
}
