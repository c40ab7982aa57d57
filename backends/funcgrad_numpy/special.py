"""The error function, from rational approximations. With y = |x|:

    y < 0.84375         erf(x) = x + x P(x^2) / Q(x^2)
    0.84375 <= y < 6    erf(x) = sign(x) (1 - exp(-y^2) R(y) / S(y))
    6 <= y              erf(x) = sign(x)

P / Q is that of fdlibm's ``s_erf.c`` (copyright 1993 by Sun Microsystems, free to use if this notice is preserved);
R / S is that of W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969) 631-637,
with the coefficients of the author's CALERF (Netlib, specfun/erf). Half and single precision are computed in double and
rounded once.
"""

from __future__ import annotations

import numpy as np

_ERF_SMALL = (
    (-2.37630166566501626084e-05, -5.77027029648944159157e-03, -2.84817495755985104766e-02,
     -3.25042107247001499370e-01, 1.28379167095512558561e-01),
    (-3.96022827877536812320e-06, 1.32494738004321644526e-04, 5.08130628187576562776e-03,
     6.50222499887672944485e-02, 3.97917223959155352819e-01, 1.0),
)  # fmt: skip
_ERF_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e00, 6.61191906371416295e01,
     2.98635138197400131e02, 8.81952221241769090e02, 1.71204761263407058e03, 2.05107837782607147e03,
     1.23033935479799725e03),
    (1.0, 1.57449261107098347e01, 1.17693950891312499e02, 5.37181101862009858e02, 1.62138957456669019e03,
     3.29079923573345963e03, 4.36261909014324716e03, 3.43936767414372164e03, 1.23033935480374942e03),
)  # fmt: skip


#: So many elements at a time keep the temporaries in the cache.
_BLOCK = 4096


def _polynomial(coefficients, x):
    """Horner's rule, in place; the first coefficient is that of the highest power."""
    result = coefficients[0] * x
    for c in coefficients[1:-1]:
        result += c
        result *= x
    result += coefficients[-1]
    return result


def _erf_block(x):
    inner = np.clip(x, -0.84375, 0.84375)
    square = inner * inner
    small = _polynomial(_ERF_SMALL[0], square)
    small /= _polynomial(_ERF_SMALL[1], square)
    small *= inner
    small += inner
    y = np.abs(x)
    near = y < 0.84375
    if near.all():
        return small
    y = np.clip(y, 0.84375, 6.0)  # erfc(6) = 2e-17 is below half an ulp of 1
    erfc = _polynomial(_ERF_MIDDLE[0], y)
    erfc /= _polynomial(_ERF_MIDDLE[1], y)
    erfc *= np.exp(-y * y)
    return np.where(near, small, np.copysign(1.0 - erfc, x))


def erf(x):
    """The error function 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x, within 2 ulp."""
    x = np.asarray(x)
    wide = x.astype(np.float64).reshape(-1)
    for start in range(0, wide.size, _BLOCK):
        wide[start : start + _BLOCK] = _erf_block(wide[start : start + _BLOCK])
    return wide.reshape(x.shape).astype(x.dtype, copy=False)[()]
