"""Normal numbers, by the inverse of their distribution function.

With u uniform in (-1, 1), z(u) = Phi^-1((1 + u) / 2) = sqrt(2) erfinv(u) is a standard normal number. Taking u, not
p = (1 + u) / 2, keeps full relative accuracy around z = 0, and in both tails alike. The rational approximations are
those of PPND16 in M. Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics
37 (1988) 477-484, with q = u / 2 and r = sqrt(-log((1 - |u|) / 2)); their relative error is about 1e-16. The primitive
``erfinv`` is as accurate, but takes ten times as long.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import lax
from .. import numpy as fnp
from ..api.custom import custom_jvp
from ..api.staging import jit
from ..core.trace import Tracer
from ..core.types import aval_of
from ..primitives import erf, erfcx
from ._arguments import float_dtype, parameters, require, shape_of_draws
from ._keys import checked_key
from ._threefry import is_plain, named_draw
from ._uniform import fractions

__all__ = ["normal", "truncated_normal"]

_CENTRE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)  # fmt: skip
_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)  # fmt: skip
_FAR_TAIL = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
     1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0),
)  # fmt: skip
#: Where the centre ends, in |u|, and where the far tail begins, in r.
_EDGE, _FAR = 0.85, 5.0

#: So many elements at a time keep the temporaries in the cache.
_BLOCK = 4096


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], r: Any) -> Any:
    """P(r) / Q(r) by Horner's rule; the first coefficient is that of the highest power."""
    values = []
    for polynomial in coefficients:
        value = polynomial[0] * r
        for c in polynomial[1:-1]:
            value = (value + c) * r
        values.append(value + polynomial[-1])
    return values[0] / values[1]


def _centre(u: Any) -> Any:
    q = u * 0.5
    return q * _ratio(_CENTRE, 0.180625 - q * q)


def _depth(u: Any) -> Any:
    return fnp.sqrt(-fnp.log((1.0 - fnp.abs(u)) * 0.5))


def _plain_quantile(u: np.ndarray) -> np.ndarray:
    """As :func:`_quantile`, on a plain array: block by block, the tails only where there are any."""
    flat = u.reshape(-1)
    z = np.empty_like(flat)
    for start in range(0, flat.size, _BLOCK):
        part = flat[start : start + _BLOCK]
        block = z[start : start + _BLOCK]
        block[...] = _centre(part)
        (outer,) = np.nonzero(np.abs(part) > _EDGE)
        if outer.size:
            r = _depth(part[outer])
            size = _ratio(_TAIL, r - 1.6)
            if (far := r > _FAR).any():
                size[far] = _ratio(_FAR_TAIL, r[far] - _FAR)
            block[outer] = np.copysign(size, part[outer])
    return z.reshape(u.shape)[()]


@custom_jvp
def _quantile(u: Any) -> Any:
    r = _depth(u)
    size = fnp.where(r > _FAR, _ratio(_FAR_TAIL, r - _FAR), _ratio(_TAIL, r - 1.6))
    return fnp.where(fnp.abs(u) > _EDGE, fnp.copysign(size, u), _centre(u))


# Phi'(z) dz = du / 2
_quantile.defjvps(lambda t, z, u: t * (math.sqrt(math.pi / 2) * fnp.exp(0.5 * z * z)))


def normal_quantile(u: Any) -> Any:
    """z with erf(z / sqrt(2)) = u for -1 < u < 1, of the dtype of ``u``, within a few ulp."""
    if aval_of(u).dtype == np.float16:
        return fnp.astype(normal_quantile(fnp.astype(u, np.float32)), np.float16)
    if is_plain(u):
        return _plain_quantile(np.asarray(u))
    return _quantile(u)


def symmetric_fractions(key: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Uniform numbers in the open interval (-1, 1)."""
    low = np.nextafter(dtype.type(-1), dtype.type(0))
    return fractions(key, shape, dtype) * (dtype.type(1) - low) + low


def normal(key: Any, shape: Any = (), dtype: Any = np.float64) -> Any:
    """Standard normal numbers: density exp(-x^2 / 2) / sqrt(2 pi). For others write ``mean + sd * normal(...)``.

    The numbers are those of ``jax.random.normal``, to rounding. Raises OperandError or OperandTypeError for a wrong key,
    shape or dtype.

    >>> from funcgrad.random import key
    >>> x = 5 + 2 * normal(key(0), (10000,))
    >>> bool(abs(x.mean() - 5) < 0.1 and abs(x.std() - 2) < 0.1)
    True
    """
    dtype = float_dtype("normal", dtype)
    return random_normal(checked_key("normal", key), shape=shape_of_draws("normal", shape), dtype=dtype)


@named_draw
def random_normal(key: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """The named call: standard normal numbers."""
    return normal_quantile(symmetric_fractions(key, shape, dtype))


#: Intervals that begin so many standard deviations from zero are tails.
_TAIL_FROM = 2.0
_NEWTON_STEPS = 8


def _log_ratio(z: Any, step: Any) -> Any:
    """log(Q(z + step) / Q(z)), where Q(z) = erfcx(z / sqrt(2)) exp(-z^2 / 2) / 2 is the mass above z > 0."""
    here, there = (erfcx(x * math.sqrt(0.5)) for x in (z, z + step))
    # Beyond all numbers there is no mass; neither infinity may meet the other.
    log_there = fnp.log(fnp.where(there > 0, there, 1))
    return fnp.where(there > 0, log_there - fnp.log(here) - 0.5 * step * (2 * z + step), -np.inf)


@custom_jvp
@jit
def tail_quantile(u: Any, z: Any, w: Any) -> Any:
    """The x between z > 0 and w > z with Q(x) = u Q(z) + (1 - u) Q(w), for 0 < u <= 1: arrays of one shape.

    The equation is solved for the step x - z, in logarithms, so that nothing cancels however far out the tail is: its
    left side, log(Q(z + step) / Q(z)), is concave and falls. Without the slow factor erfcx it would be a parabola,
    whose root is beyond the right one, and from there Newton's method comes down to it.
    """
    all_of_it = _log_ratio(z, w - z)
    # Both are log(u + (1 - u) exp(all_of_it)): the first for a small sum, the second for one near 1.
    target = fnp.where(u < 0.5, fnp.log(u + (1 - u) * fnp.exp(all_of_it)), fnp.log1p((1 - u) * fnp.expm1(all_of_it)))
    step = -2 * target / (z + fnp.sqrt(z * z - 2 * target))
    for _ in range(_NEWTON_STEPS):
        slope = -math.sqrt(2 / math.pi) / erfcx((z + step) * math.sqrt(0.5))
        step = step - (_log_ratio(z, step) - target) / slope
    return z + step


# phi(x) dx = u phi(z) dz + (1 - u) phi(w) dw + (Q(w) - Q(z)) du, of which u is held fixed.
tail_quantile.defjvps(
    None,
    lambda t, x, u, z, w: t * u * fnp.exp(0.5 * (x - z) * (x + z)),
    lambda t, x, u, z, w: (
        t * fnp.where(w < np.inf, (1 - u) * fnp.exp(-0.5 * fnp.where(w < np.inf, (w - x) * (w + x), 0)), 0)
    ),
)


def _tail_draws(u: Any, lower: Any, upper: Any) -> tuple[Any, Any]:
    """Numbers between bounds of which both are far on one side of zero; and where they are so."""
    above, below = lower > _TAIL_FROM, upper < -_TAIL_FROM
    near, far = fnp.where(above, lower, -upper), fnp.where(above, upper, -lower)
    outside = above | below
    shape = np.shape(u)
    near, far = (
        fnp.broadcast_to(fnp.where(outside, x, fnp.asarray(safe, dtype=aval_of(u).dtype)), shape)
        for x, safe in ((near, _TAIL_FROM), (far, 2 * _TAIL_FROM))
    )
    x = tail_quantile(1 - u, near, far)
    return fnp.where(above, x, -x), outside


def truncated_normal(key: Any, lower: Any, upper: Any, shape: Any = None, dtype: Any = np.float64) -> Any:
    """Standard normal numbers, given that they are between ``lower`` and ``upper``.

    ``lower``, ``upper``: real numbers or arrays; ``shape``: by default their common one. Gradients flow to both. Drawn by
    the inverse of the distribution function, x = z(u) with u uniform from erf(lower / sqrt(2)) to erf(upper / sqrt(2)),
    as JAX does; where both are more than 2 standard deviations to one side of zero, so that these two come to agree,
    by the inverse of the logarithm of the mass of the tail, which is accurate however far out. Raises OperandError
    unless lower < upper.

    >>> from funcgrad.random import key
    >>> x = truncated_normal(key(0), -1.0, 2.0, (1000,))
    >>> x.min() > -1 and x.max() < 2
    np.True_
    """
    dtype = float_dtype("truncated_normal", dtype)
    lower, upper = parameters("truncated_normal", dtype, lower=lower, upper=upper)
    require("truncated_normal", "lower must be below upper", lambda a, b: a < b, lower, upper)
    shape = shape_of_draws("truncated_normal", shape, lower, upper)
    if dtype == np.float16:
        # The tail takes more than ten bits.
        wide = truncated_normal(key, *(fnp.astype(x, np.float32) for x in (lower, upper)), shape, np.float32)
        return _inside(fnp.astype(wide, dtype), lower, upper)
    fraction = fractions(checked_key("truncated_normal", key), shape, dtype)
    low, high = (erf(bound * math.sqrt(0.5)) for bound in (lower, upper))
    u = fraction * (high - low) + low
    edge = np.nextafter(dtype.type(1), dtype.type(0))
    z = normal_quantile(fnp.clip(u, -edge, edge))
    if any(isinstance(x, Tracer) for x in (lower, upper)) or np.any((lower > _TAIL_FROM) | (upper < -_TAIL_FROM)):
        tail, outside = _tail_draws(fraction, lower, upper)
        z = fnp.where(outside, tail, z)
    return _inside(z, lower, upper)


def _inside(z: Any, lower: Any, upper: Any) -> Any:
    """The numbers, moved into the open interval where rounding has brought them to an end of it."""
    dtype = aval_of(z).dtype
    ends = [
        lax.stop_gradient(fnp.nextafter(x, fnp.asarray(to, dtype=dtype)))
        for x, to in ((lower, np.inf), (upper, -np.inf))
    ]
    return fnp.clip(z, *ends)
