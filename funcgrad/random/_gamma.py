"""Gamma numbers and what is made of them: beta, Dirichlet, Student's t.

**Drawing.** G. Marsaglia, W. Tsang, "A simple method for generating gamma variables", ACM TOMS 26 (2000) 363-372: with
d = a - 1/3, v = (1 + x / sqrt(9 d))^3, x normal and u uniform, d v is a gamma number of concentration a >= 1 if
log u < x^2 / 2 + d - d v + d log v. For a < 1 it is drawn for a + 1 and multiplied by w^(1/a), w uniform (section 6). The
logarithm is what is computed: for small a the number itself is below the range of floats.

**Derivative.** A draw x of concentration a has the distribution function F(x; a) = P(a, x). Moving a with F held fixed
moves x by dx/da = -(dF/da) / F'(x) (M. Figurnov, S. Mohamed, A. Mnih, "Implicit reparameterization gradients", NeurIPS
2018): the expectation of any smooth function of x then has the right derivative, however x was drawn. With
F' = x^(a-1) e^-x / Gamma(a), differentiating the integrals for F and for 1 - F under the integral sign and substituting
t = x e^w gives two forms of it,

    d log x / da =   int_0^inf   exp(a w - x (e^w - 1)) (log x + w - psi(a)) dw
                 = - int_-inf^0  exp(a w - x (e^w - 1)) (log x + w - psi(a)) dw

where psi is the digamma function. For log x > psi(a) the first integrand has one sign, else the second one has; on
that side the exponential falls monotonically from 1. It is cut off where it is exp(-45), a point found by Newton's method,
and integrated by the Gauss-Legendre rule. Nothing cancels. All this is for a >= 1; below, the factor w^(1/a) is
differentiated as it stands.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import lax
from .. import numpy as fnp
from ..api.custom import custom_jvp
from ..api.staging import jit
from ..core.errors import OperandError
from ..core.types import aval_of
from ..primitives import digamma
from ._arguments import float_dtype, parameters, require, shape_of_draws
from ._keys import checked_key, split
from ._normal import normal
from ._uniform import open_fractions

__all__ = ["beta", "dirichlet", "draw_log_gamma", "gamma", "loggamma", "t"]

_FLOAT64 = np.dtype(np.float64)

#: The exponent at which the integrand is cut off: exp(-45) is 3e-20.
_CUT = 45.0
_NEWTON_STEPS = 10
_NODES = 48


# Drawing --------------------------------------------------------------------------------------------------------------


@jit
def log_gamma_draw(key: Any, a: Any) -> Any:
    """Logarithms of gamma numbers of the concentrations ``a``, an array, each from 1, by Marsaglia and Tsang's method."""
    dtype, shape = aval_of(a).dtype, aval_of(a).shape
    d = a - 1 / 3
    c = 1 / fnp.sqrt(9 * d)

    def unfinished(state: Any) -> Any:
        return ~fnp.all(state[1])

    def attempt(state: Any) -> Any:
        key, done, log_v = state
        key, normal_key, uniform_key = split(key, 3)
        x = normal(normal_key, shape, dtype)
        root = 1 + c * x
        positive = root > 0
        logarithm = 3 * fnp.log(fnp.where(positive, root, 1))
        log_u = fnp.log(open_fractions(uniform_key, shape, dtype))
        accepted = positive & (log_u < 0.5 * x * x + d - d * fnp.exp(logarithm) + d * logarithm)
        return key, done | accepted, fnp.where(done, log_v, logarithm)

    start = (key, fnp.zeros(shape, bool), fnp.zeros(shape, dtype))
    return fnp.log(d) + lax.while_loop(unfinished, attempt, start)[2]


@custom_jvp
def draw_log_gamma(key: Any, a: Any) -> Any:
    """The logarithm of a gamma number for each element of ``a``, an array with a >= 1; differentiable in ``a``."""
    return log_gamma_draw(key, a)


@draw_log_gamma.defjvp
def _draw_log_gamma_jvp(primals: Any, tangents: Any) -> Any:
    key, a = primals
    log_x = draw_log_gamma(key, a)
    wide = log_gamma_derivative(fnp.astype(log_x, _FLOAT64), fnp.astype(a, _FLOAT64))
    return log_x, tangents[1] * fnp.astype(wide, aval_of(a).dtype)


# The derivative -------------------------------------------------------------------------------------------------------


@jit
def log_gamma_derivative(log_x: Any, a: Any) -> Any:
    """d log x / da of a gamma number x of concentration a >= 1, F(x; a) held fixed; float64 arrays of one shape."""
    centre = digamma(a)
    side = fnp.where(log_x < centre, -1.0, 1.0)
    distance = side * (log_x - centre)
    x = fnp.exp(log_x)

    def depth(x: Any, a: Any, v: Any) -> Any:
        """Minus the exponent, at a distance v on this side."""
        return x * fnp.expm1(side * v) - side * v * a

    fixed = lax.stop_gradient(x), lax.stop_gradient(a)
    end = _beyond_end(*fixed, side)
    for _ in range(_NEWTON_STEPS):
        slope = side * (fixed[0] * fnp.exp(side * end) - fixed[1])
        end = end - (depth(*fixed, end) - _CUT) / slope

    def add(total: Any, rule: Any) -> Any:
        s, weight = rule
        # v = end s^2 puts more nodes where the integrand is largest.
        v = end * (s * s)
        return total + (2 * s * weight) * fnp.exp(-depth(x, a, v)) * (distance + v), None

    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    total, _ = lax.scan(add, fnp.zeros_like(a), (0.5 * (nodes + 1), 0.5 * weights))
    return end * total


def _beyond_end(x: Any, a: Any, side: Any) -> Any:
    """A point not before the end of the interval: from there Newton's method on a convex function comes down to it."""
    # Right: x (e^w - 1) - a w is at least x w^2 / 2 + (x - a) w; and at w = log(1 + (60 + 2a) / x) it is above 45.
    slope = x - a
    parabola = (fnp.sqrt(slope * slope + 2 * _CUT * x) - slope) / fnp.maximum(x, 0.5)
    right = fnp.minimum(parabola, fnp.log1p((60 + 2 * a) / fnp.maximum(x, 0.5)))
    # Left: a w - x (1 - e^-w) is at least a w - x, and for w <= 1 at least (a - x) w + x w^2 / 3.
    square = 3 * _CUT / fnp.maximum(x, 1.0)
    left = fnp.where(square <= 1, fnp.sqrt(square), (_CUT + x) / a)
    return fnp.where(side > 0, right, left)


# Distributions --------------------------------------------------------------------------------------------------------


def _log_draws(name: str, key: Any, shape: tuple[int, ...], dtype: np.dtype[Any], a: Any) -> Any:
    """Logarithms of gamma numbers of ``shape`` and ``dtype``. The function ``name`` is to blame for what is wrong."""
    require(name, "a concentration must be positive and finite", lambda a: (a > 0) & (a < np.inf), a)
    if dtype == np.float16:
        return fnp.astype(_log_draws(name, key, shape, np.dtype(np.float32), fnp.astype(a, np.float32)), dtype)
    draw_key, power_key = split(checked_key(name, key))
    possible = (a > 0) & (a < np.inf)
    a = fnp.where(possible, a, dtype.type(1))
    small = a < 1
    whole = draw_log_gamma(draw_key, fnp.broadcast_to(fnp.where(small, a + 1, a), shape))
    power = fnp.log(open_fractions(power_key, shape, dtype)) / fnp.where(small, a, 1)
    return fnp.where(possible, whole + fnp.where(small, power, 0), dtype.type(np.nan))


def loggamma(key: Any, a: Any, shape: Any = None, dtype: Any = np.float64) -> Any:
    """Logarithms of :func:`gamma` numbers, which for small ``a`` are too small to be floats.

    >>> from funcgrad.random import key
    >>> bool(loggamma(key(0), 1e-5) < -1000)
    True
    """
    dtype = float_dtype("loggamma", dtype)
    (a,) = parameters("loggamma", dtype, a=a)
    return _log_draws("loggamma", key, shape_of_draws("loggamma", shape, a), dtype, a)


def gamma(key: Any, a: Any, shape: Any = None, dtype: Any = np.float64) -> Any:
    """Gamma numbers: density x^(a-1) exp(-x) / Gamma(a) for x > 0. Scale them by multiplication.

    ``a``: the concentration, a positive real number or array; ``shape``: by default that of ``a``. Gradients flow to ``a``
    by implicit reparametrisation (see the module). Raises OperandError unless a > 0; of a traced ``a`` that is not, the
    result is NaN.

    >>> import funcgrad as fg
    >>> x, slope = fg.value_and_grad(lambda a: fg.random.gamma(fg.random.key(0), a, (1000,)).mean())(3.0)
    >>> bool(abs(x - 3) < 0.2 and abs(slope - 1) < 0.1)
    True
    """
    dtype = float_dtype("gamma", dtype)
    (a,) = parameters("gamma", dtype, a=a)
    return fnp.exp(_log_draws("gamma", key, shape_of_draws("gamma", shape, a), dtype, a))


def beta(key: Any, a: Any, b: Any, shape: Any = None, dtype: Any = np.float64) -> Any:
    """Beta numbers: density proportional to x^(a-1) (1-x)^(b-1) for 0 < x < 1.

    ``a``, ``b``: positive real numbers or arrays; ``shape``: by default their common one. Drawn as X / (X + Y) of gamma
    numbers (Devroye 1986, section IX.3). Gradients flow to both. Raises OperandError unless a > 0 and b > 0.

    >>> from funcgrad.random import key
    >>> 0 < beta(key(0), 2.0, 3.0) < 1
    np.True_
    """
    dtype = float_dtype("beta", dtype)
    a, b = parameters("beta", dtype, a=a, b=b)
    shape = shape_of_draws("beta", shape, a, b)
    first, second = split(checked_key("beta", key))
    x, y = _log_draws("beta", first, shape, dtype, a), _log_draws("beta", second, shape, dtype, b)
    return lax.logistic(x - y)


def dirichlet(key: Any, alpha: Any, shape: Any = None, dtype: Any = np.float64) -> Any:
    """Dirichlet vectors, along the last axis: positive numbers that sum to 1.

    ``alpha``: the concentrations, positive, of shape (..., n); ``shape``: that of the result without its last axis, by
    default that of ``alpha``. Drawn as gamma numbers divided by their sum (Devroye 1986, section XI.4). Gradients flow
    to ``alpha``. Raises OperandError unless alpha > 0 and has an axis.

    >>> import numpy as np
    >>> from funcgrad.random import key
    >>> dirichlet(key(0), np.ones(3), (5,)).sum(axis=-1)
    array([1., 1., 1., 1., 1.])
    """
    dtype = float_dtype("dirichlet", dtype)
    (alpha,) = parameters("dirichlet", dtype, alpha=alpha)
    dims = aval_of(alpha).shape
    if not dims:
        raise OperandError("dirichlet: alpha must have an axis, along which the concentrations are")
    prefix = dims[:-1] if shape is None else shape_of_draws("dirichlet", shape)
    shape = shape_of_draws("dirichlet", (*prefix, dims[-1]), alpha)
    logits = _log_draws("dirichlet", key, shape, dtype, alpha)
    weights = fnp.exp(logits - lax.stop_gradient(fnp.max(logits, axis=-1, keepdims=True)))
    return weights / fnp.sum(weights, axis=-1, keepdims=True)


def t(key: Any, df: Any, shape: Any = (), dtype: Any = np.float64) -> Any:
    """Student's t numbers of ``df`` degrees of freedom: density proportional to (1 + x^2 / df)^-((df + 1) / 2).

    ``df``: a positive real number or array that broadcasts to ``shape``; a ``shape`` of None is its own. Drawn as a normal
    number over the root of a gamma number (Devroye 1986, section IX.5). Gradients flow to ``df``. Raises OperandError
    unless df > 0.

    >>> from funcgrad.random import key
    >>> t(key(0), 4.0, (2, 3)).shape
    (2, 3)
    """
    dtype = float_dtype("t", dtype)
    (df,) = parameters("t", dtype, df=df)
    shape = shape_of_draws("t", shape, df)
    first, second = split(checked_key("t", key))
    half = df * 0.5
    return normal(first, shape, dtype) * fnp.exp(0.5 * (fnp.log(half) - _log_draws("t", second, shape, dtype, half)))
