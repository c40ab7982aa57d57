"""``funcgrad.scipy.special``: special functions under SciPy's names, with its arguments and dtypes, and derivatives.

They take real arrays, numbers and traced values, which broadcast. The result is float32 where SciPy's is: mostly where
all operands are float32 arrays. They are differentiable in every argument in which a derivative exists, to any order; in
the parameters a and b of the incomplete functions and in the order of ``zeta`` too. What has none, the order of
``polygamma``, which is a whole number, raises MissingRuleError. Complex operands raise OperandTypeError, but for ``logsumexp``, ``softmax`` and ``log_softmax``.

SciPy's own functions on traced values are answered by these: ``scipy.special.expit(x)`` differentiates as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import numpy as fnp
from .. import primitives as p
from ..api.custom import custom_jvp
from ..core.errors import MissingRuleError, OperandTypeError
from ..core.trace import Tracer
from ..core.types import aval_of, is_inexact, promote
from ..numpy._promote import asarray, axis_tuple, broadcast, convert_to, operand
from ..numpy._tracer import SURFACE

__all__ = [
    "beta", "betainc", "betaln", "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "expit", "gamma", "gammainc",
    "gammaincc", "gammaln", "i0", "i0e", "i1", "i1e", "log_ndtr", "log_softmax", "logit", "logsumexp", "ndtr", "ndtri",
    "polygamma", "psi", "softmax", "xlog1py", "xlogy", "zeta",
]  # fmt: skip

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


# Elementwise functions ------------------------------------------------------------------------------------------------


def _operands(name: str, args: tuple[Any, ...], single_first: bool = False) -> list[Any]:
    """The operands in the dtype of SciPy's loop, broadcast.

    SciPy takes the first loop to which the operands cast safely, mostly that of doubles, if none is exactly theirs; a
    few functions have that of singles first.
    """
    operands = [operand(name, x, f"argument {i}") for i, x in enumerate(args)]
    avals = [aval_of(x) for x in operands]
    if any(a.dtype.kind == "c" for a in avals):
        raise OperandTypeError(f"{name} takes real operands here, not complex ones")
    single = all(a.dtype == _SINGLE and not a.weak for a in avals)
    if single_first and not all(a.weak for a in avals):
        single = np.can_cast(promote(*avals), _SINGLE)
    return broadcast(name, *(convert_to(x, _SINGLE if single else _DOUBLE, strong=True) for x in operands))


def _elementwise(
    name: str, rule: Callable[..., Any], arguments: str, text: str, single_first: bool = False
) -> Callable[..., Any]:
    """A function of the surface: ``rule`` of operands of one dtype."""
    count = len(arguments.split(", "))

    def function(*args: Any) -> Any:
        if len(args) != count:
            raise TypeError(f"{name}({arguments}) takes {count} positional arguments but {len(args)} were given")
        return rule(*_operands(name, args, single_first))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"``{name}({arguments})``: {text}\n\nAs ``scipy.special.{name}``, of real operands."
    return function


erf = _elementwise("erf", p.erf, "x", "the error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x.")
erfc = _elementwise("erfc", p.erfc, "x", "1 - erf(x), accurate where it is small.")
erfcx = _elementwise("erfcx", p.erfcx, "x", "exp(x^2) erfc(x).")
erfinv = _elementwise("erfinv", p.erfinv, "y", "the inverse of erf: infinite at -1 and 1, NaN beyond.", True)
ndtr = _elementwise(
    "ndtr",
    lambda x: p.mul(0.5, p.erfc(p.mul(-math.sqrt(0.5), x))),
    "x",
    "the distribution function of the standard normal distribution.",
)
log_ndtr = _elementwise("log_ndtr", p.log_ndtr, "x", "log(ndtr(x)), accurate far to the left.")
ndtri = _elementwise("ndtri", p.ndtri, "y", "the inverse of ndtr: infinite at 0 and 1, NaN beyond.", True)
expit = _elementwise("expit", p.logistic, "x", "the logistic function 1 / (1 + exp(-x)).")
logit = _elementwise("logit", p.logit, "x", "log(x / (1 - x)), the inverse of expit.")
xlogy = _elementwise("xlogy", p.xlogy, "x, y", "x log(y), and 0 where x = 0.")
xlog1py = _elementwise("xlog1py", p.xlog1py, "x, y", "x log(1 + y), and 0 where x = 0.")
entr = _elementwise("entr", p.entr, "x", "-x log(x), 0 at 0 and minus infinity below.", True)
gamma = _elementwise("gamma", p.gamma, "z", "the gamma function; NaN at its poles.")
gammaln = _elementwise("gammaln", p.gammaln, "x", "log |Gamma(x)|; infinite at the poles.")
digamma = _elementwise("digamma", p.digamma, "z", "the derivative of gammaln; NaN at its poles below 0.")
psi = digamma
beta = _elementwise("beta", p.beta, "a, b", "Gamma(a) Gamma(b) / Gamma(a + b).")
betaln = _elementwise("betaln", p.betaln, "a, b", "log |beta(a, b)|.")
gammainc = _elementwise(
    "gammainc",
    p.gammainc,
    "a, x",
    "the integral of t^(a-1) exp(-t) from 0 to x, over Gamma(a): the gamma distribution function. NaN for a or x < 0.",
)
gammaincc = _elementwise("gammaincc", p.gammaincc, "a, x", "1 - gammainc(a, x), accurate where it is small.")
betainc = _elementwise(
    "betainc",
    p.betainc,
    "a, b, x",
    "the integral of t^(a-1) (1-t)^(b-1) from 0 to x, over beta(a, b): the beta distribution function. "
    "NaN for a or b < 0 and for x outside of [0, 1].",
    True,
)
i0 = _elementwise("i0", p.i0, "x", "the modified Bessel function of the first kind of order 0.")
i0e = _elementwise("i0e", p.i0e, "x", "exp(-|x|) i0(x).")
i1 = _elementwise("i1", p.i1, "x", "the modified Bessel function of the first kind of order 1.")
i1e = _elementwise("i1e", p.i1e, "x", "exp(-|x|) i1(x).")


def zeta(x: Any, q: Any = None) -> Any:
    """The Hurwitz zeta function, the sum of (q + k)^-x over k = 0, 1, ...; without ``q`` Riemann's, of every real x.

    As ``scipy.special.zeta``. Infinite at x = 1, NaN for x < 1 where ``q`` is given, and for q < 0 unless x is an
    integer. Differentiable in both, in ``x`` for q > 0.

    >>> round(float(zeta(2.0)), 12) == round(np.pi**2 / 6, 12)
    True
    """
    if q is None:
        return p.riemann_zeta(*_operands("zeta", (x,), single_first=True))
    return p.zeta(*_operands("zeta", (x, q), single_first=True))


@custom_jvp
def _whole(n: Any) -> Any:
    return n


@_whole.defjvp
def _whole_jvp(primals: Any, tangents: Any) -> Any:
    raise MissingRuleError(
        "polygamma has no derivative in its order n, which is a whole number; hold it constant (lax.stop_gradient)"
    )


def polygamma(n: Any, x: Any) -> Any:
    """The derivative of order ``n`` of :func:`digamma`: (-1)^(n+1) n! zeta(n + 1, x), and digamma for n = 0.

    As ``scipy.special.polygamma``. Differentiable in ``x``, not in the whole number ``n``. (DLMF 5.15.1.)
    """
    n, x = _operands("polygamma", (asarray(operand("polygamma", n, "the order n")), x))
    n = _whole(n) if isinstance(n, Tracer) else n
    plain = not isinstance(n, Tracer)
    if plain and not np.any(n):
        return p.digamma(x if x.shape or not n.shape else p.broadcast_in_dim(x, shape=n.shape, dims=()))
    order = p.add(n, n.dtype.type(1))
    # (-1)^(n+1), for whole numbers
    sign = p.sub(1.0, p.mul(2.0, p.remainder(order, n.dtype.type(2))))
    value = p.mul(p.mul(sign, p.gamma(order)), p.zeta(order, x))
    return value if plain and np.all(n) else p.select(p.eq(n, n.dtype.type(0)), p.digamma(x), value)


# Sums of exponentials -------------------------------------------------------------------------------------------------


def _inexact(name: str, *args: Any) -> list[Any]:
    """The operands as arrays of one dtype: floating point, double for integers."""
    arrays = [asarray(operand(name, x, f"argument {i}")) for i, x in enumerate(args)]
    dtype = np.result_type(*(x.dtype for x in arrays))
    return [convert_to(x, dtype if is_inexact(dtype) else _DOUBLE) for x in arrays]


def _shift(x: Any, axis: Any) -> Any:
    """The largest real part along an axis, 0 where it is not finite: a constant, since it cancels."""
    largest = fnp.max(fnp.real(x), axis=axis, keepdims=True)
    return p.stop_gradient(fnp.where(fnp.isfinite(largest), largest, 0))


def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """log(sum(b exp(a))) over an axis, some or all, without overflow; as ``scipy.special.logsumexp``.

    ``b`` are weights that broadcast with ``a``; where one is 0 the element counts for nothing. With ``return_sign`` the
    result is a pair: of the logarithm of the absolute value, and the sign. A negative sum is NaN otherwise. The sum of
    no elements is minus infinity. Real and complex; integers become float64.

    >>> import funcgrad as fg
    >>> fg.grad(logsumexp)(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    with np.errstate(all="ignore"):
        if b is None:
            (x,) = _inexact("logsumexp", a)
        else:
            x, weights = fnp.broadcast_arrays(*_inexact("logsumexp", a, b))
            x = fnp.where(weights == 0, -math.inf, x)
        axes = axis_tuple(axis, x.ndim)
        if any(x.shape[i] == 0 for i in axes):
            out = fnp.full([1 if i in axes else n for i, n in enumerate(x.shape)], -math.inf, x.dtype)
            sign = fnp.sign(out)
        elif b is None and x.dtype.kind != "c":
            shift = _shift(x, axes)
            out = _log_of_sum(fnp.exp(x - shift), x == shift, axes) + shift
            # Of no number: NaN; of zeros: 0.
            sign = fnp.where(out == -math.inf, fnp.zeros_like(out), fnp.where(fnp.isnan(out), out, 1))
        else:
            shift = _shift(x, axes)
            terms = fnp.exp(x - shift)
            total = fnp.sum(terms if b is None else weights * terms, axis=axes, keepdims=True, dtype=x.dtype)
            sign = fnp.sign(total)
            out = fnp.log(fnp.abs(total) if return_sign else total) + shift
    if not keepdims:
        out = fnp.squeeze(out, axes)
        sign = fnp.squeeze(sign, axes) if return_sign else sign
    return (out, sign) if return_sign else out


def _log_of_sum(terms: Any, largest: Any, axes: tuple[int, ...]) -> Any:
    """The logarithm of a sum; the largest terms, which are 1, stand apart, so that a small remainder is not lost."""
    top = fnp.sum(fnp.where(largest, terms, 0), axis=axes, keepdims=True, dtype=terms.dtype)
    rest = fnp.sum(fnp.where(largest, 0, terms), axis=axes, keepdims=True, dtype=terms.dtype)
    # Without a finite maximum nothing is the largest, and the sum is 0, infinite or NaN.
    none = top == 0
    top = fnp.where(none, 1, top)
    return fnp.where(none, fnp.log(fnp.where(none, rest, 1)), fnp.log1p(fnp.where(none, 0, rest) / top) + fnp.log(top))


def softmax(x: Any, axis: Any = None) -> Any:
    """exp(x) / sum(exp(x)) along an axis, several or all, without overflow; as ``scipy.special.softmax``.

    >>> softmax(np.array([0.0, 0.0]))
    array([0.5, 0.5])
    """
    (x,) = _inexact("softmax", x)
    terms = fnp.exp(x - p.stop_gradient(fnp.max(fnp.real(x), axis=axis, keepdims=True)))
    return terms / fnp.sum(terms, axis=axis, keepdims=True)


def log_softmax(x: Any, axis: Any = None) -> Any:
    """log(softmax(x)), accurate where that is small; as ``scipy.special.log_softmax``."""
    (x,) = _inexact("log_softmax", x)
    shifted = x - _shift(x, axis)
    with np.errstate(divide="ignore"):
        return shifted - fnp.log(fnp.sum(fnp.exp(shifted), axis=axis, keepdims=True))


# SciPy's ufuncs hand a traced value over by their name; those of zeta have names of their own.
SURFACE |= {name: globals()[name] for name in __all__ if name not in SURFACE}
SURFACE |= {"_zeta": zeta, "_riemann_zeta": zeta}
