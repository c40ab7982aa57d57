"""What CuPy has no function of the same meaning for, out of those that it has: eig, LU, cofactors, densities.

Each takes the array namespace first, so that it is tested with NumPy in CuPy's place.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from funcgrad.core.errors import BackendError

__all__ = ["beta_density", "cofactor", "eig", "gamma_density", "lu", "missing"]


def eig(xp: Any, a: Any, *, vectors: bool) -> list[Any]:
    """The eigenvalues, and the eigenvectors, of square matrices; complex always."""
    results = xp.linalg.eig(a) if vectors else [xp.linalg.eigvals(a)]
    return [x.astype(np.result_type(a.dtype, np.complex64), copy=False) for x in results]


def lu(xp: Any, lu_factor: Callable[..., Any], a: Any) -> list[Any]:
    """Both factors of each matrix in one, the pivots, and the permutation that they make."""
    *stack, m, n = a.shape
    k = min(m, n)
    if not a.size:
        order = np.broadcast_to(np.arange(m), (*stack, m))
        return [a.copy(), xp.zeros((*stack, k), np.int64), xp.asarray(np.ascontiguousarray(order))]
    with warnings.catch_warnings():
        # A zero on the diagonal is a result, not a failure.
        warnings.simplefilter("ignore")
        found = [lu_factor(x, check_finite=False) for x in a.reshape(-1, m, n)]
    factors = xp.stack([x for x, _ in found]).reshape(a.shape)
    pivots = xp.stack([p for _, p in found]).astype(np.int64)
    return [factors, pivots.reshape(*stack, k), _permutations(xp, pivots, m).reshape(*stack, m)]


def _permutations(xp: Any, pivots: Any, rows: int) -> Any:
    """Rows 0 ... after the exchanges of j with pivots[j], one after the other, for each matrix."""
    order = xp.tile(xp.arange(rows), (len(pivots), 1))
    each = xp.arange(len(pivots))
    for j in range(pivots.shape[1]):
        other = pivots[:, j]
        here, there = order[:, j].copy(), order[each, other]
        order[each, other] = here
        order[:, j] = there
    return order


def cofactor(xp: Any, a: Any) -> Any:
    """The matrix of cofactors, for singular matrices too: det(u vh) conj(u) diag(q) conj(vh), of a = u diag(s) vh.

    q_i is the product of all singular values but the i-th.
    """
    if not a.size:
        return a.copy()
    u, s, vh = xp.linalg.svd(a)
    others = xp.ones_like(s)
    others[..., 1:] = xp.cumprod(s[..., :-1], -1)
    others[..., :-1] *= xp.cumprod(s[..., :0:-1], -1)[..., ::-1]
    sign = xp.linalg.det(u) * xp.linalg.det(vh)
    return ((u.conj() * others[..., None, :]) @ vh.conj() * sign[..., None, None]).astype(a.dtype, copy=False)


def gamma_density(xp: Any, special: Any, a: Any, x: Any) -> Any:
    """x^(a-1) exp(-x) / Gamma(a), in double precision."""
    dtype = np.result_type(a.dtype, x.dtype)
    a, x = a.astype(np.float64), x.astype(np.float64)
    value = xp.where(x == np.inf, 0.0, xp.exp(special.xlogy(a - 1, x) - x - special.gammaln(a)))
    return xp.where((a > 0) & (x >= 0), value, np.nan).astype(dtype)


def beta_density(xp: Any, special: Any, a: Any, b: Any, x: Any) -> Any:
    """x^(a-1) (1-x)^(b-1) / B(a, b), in double precision."""
    dtype = np.result_type(a.dtype, b.dtype, x.dtype)
    a, b, x = (z.astype(np.float64) for z in (a, b, x))
    value = xp.exp(special.xlogy(a - 1, x) + special.xlog1py(b - 1, -x) - special.betaln(a, b))
    return xp.where((a > 0) & (b > 0) & (x >= 0) & (x <= 1), value, np.nan).astype(dtype)


def missing(name: str) -> Callable[..., NoReturn]:
    """An operation that raises BackendError, with what to do instead."""

    def refuse(*args: Any, **params: Any) -> NoReturn:
        raise BackendError(
            f"the GPU has no {name}: compute it on the host, with fg.device_get(x) before and fg.device_put(y, 'cupy') after"
        )

    return refuse
