"""The derivatives of the zeta functions of Hurwitz and Riemann in their first argument.

Everything is a power series in the deviation e from s, cut off after the order that is asked for, and held as a list of
its coefficients. In the sum, and in the Euler-Maclaurin formula for its rest (DLMF 25.11.5; ``gamma_functions.py``),

    t^-(s+e) = t^-s sum_i (-log t)^i / i! e^i,    1 / (s-1+e) = sum_i (-1)^i / (s-1)^(i+1) e^i,

and the rising factorials are multiplied out factor by factor. Below 0 Riemann's function is reflected (DLMF 25.4.1),

    zeta(s) = 2 (2 pi)^(s-1) sin(pi s / 2) Gamma(1-s) zeta(1-s),

each factor as a series, that of Gamma by its logarithm, whose derivatives are the polygamma functions (DLMF 5.15.1).
"""

from __future__ import annotations

import numpy as np

from .gamma_functions import (
    _EULER_MACLAURIN,
    _riemann_zeta,
    _sin_pi,
    _zeta,
    digamma_positive,
    log_gamma_positive,
    zeta_positive,
)
from .special_functions import in_double

_LOG_2PI = 1.8378770664093453


def _factorial(n):
    return float(np.prod(np.arange(1.0, n + 1)))


def _product(a, b):
    return [sum(a[i] * b[n - i] for i in range(n + 1)) for n in range(len(a))]


def _exponential(a):
    """exp of a series without constant term."""
    result = [np.ones_like(a[0])]
    for n in range(1, len(a)):
        result.append(sum(k * a[k] * result[n - k] for k in range(1, n + 1)) / n)
    return result


def _power(t, s, order):
    """t^-(s + e)."""
    minus_log = -np.log(t)
    terms = [np.power(t, -s)]
    for i in range(1, order + 1):
        terms.append(terms[-1] * minus_log / i)
    return terms


def _zeta_series(s, q, order):
    """The coefficients of zeta(s + e, q), for q > 0."""
    total = [np.zeros_like(q) for _ in range(order + 1)]
    for k in range(10):
        total = [x + y for x, y in zip(total, _power(q + k, s, order))]
    w = q + 10
    rest = [(-1.0) ** i * w / (s - 1) ** (i + 1) for i in range(order + 1)]
    rest[0] = rest[0] + 0.5
    factor = [s / w, 1 / w, *[np.zeros_like(w)] * order][: order + 1]
    for j, c in enumerate(_EULER_MACLAURIN):
        rest = [r + c * f for r, f in zip(rest, factor)]
        for shift in (2 * j + 1, 2 * j + 2):
            factor = [(f * (s + shift) + (factor[i - 1] if i else 0.0)) / w for i, f in enumerate(factor)]
    scale = _power(w, s, order)
    return [x + np.where(scale[0] == 0, 0.0, y) for x, y in zip(total, _product(scale, rest))]


def zeta(s, q, order=0):
    """The derivative in s of an order of Hurwitz' zeta function: the sum of (-log(q + k))^order (q + k)^-s, for s > 1.

    Below q = 0 only whole s have a value, so that there is no derivative: NaN.
    """
    if not order:
        return in_double(_zeta, s, q)

    def derivative(s, q):
        value = _factorial(order) * _zeta_series(s, np.where(q > 0, q, 1.0), order)[order]
        return np.where((s > 1) & (q > 0), value, np.nan)

    return in_double(derivative, s, q)


def riemann_zeta(s, order=0):
    """The derivative of an order of Riemann's zeta function, of every real argument but its pole, 1."""
    if not order:
        return in_double(_riemann_zeta, s)

    def derivative(s):
        right = _zeta_series(np.maximum(s, 0.0), np.ones_like(s), order)[order]
        value = np.where(s < 0, _reflected(np.minimum(s, 0.0), order), right)
        return np.where(s == 1, np.nan, _factorial(order) * value)

    return in_double(derivative, s)


def _reflected(s, order):
    """The last coefficient of zeta(s + e), for s <= 0."""
    t = 1 - s
    turns = [_sin_pi(s / 2), _sin_pi(s / 2 + 0.5)]
    sine = [turns[i % 2] * (-1.0) ** (i // 2) * (np.pi / 2) ** i / _factorial(i) for i in range(order + 1)]
    log_gamma = [np.zeros_like(t), _LOG_2PI - digamma_positive(t)]
    log_gamma += [zeta_positive(np.full_like(t, float(i)), t) / i for i in range(2, order + 1)]
    zeta_there = [(-1.0) ** i * c for i, c in enumerate(_zeta_series(t, np.ones_like(t), order))]
    series = _product(_product(sine, _exponential(log_gamma[: order + 1])), zeta_there)
    return 2 * np.exp(log_gamma_positive(t) - t * _LOG_2PI) * series[order]
