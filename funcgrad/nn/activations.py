"""Activation functions: elementwise, of real arrays of any shape, with the names of ``jax.nn``.

The result has the shape of ``x`` and its floating dtype; integers become float64. Values and derivatives are finite for
every finite ``x``, to any order: where the textbook formula overflows or cancels, another form of it is computed, and
the derivative of one that would be NaN is given. At a kink the derivative is that of the flat side: ``relu'(0) = 0``.
"""

from __future__ import annotations

import math
from typing import Any

import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.api.custom import custom_jvp
from funcgrad.core.errors import OperandError
from funcgrad.scipy.special import ndtr

from ._arrays import dtype_of, floating, narrow, wide

__all__ = [
    "celu", "elu", "gelu", "glu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "identity", "leaky_relu",
    "log_sigmoid", "mish", "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign", "softplus",
    "sparse_plus", "sparse_sigmoid", "squareplus", "swish", "tanh",
]  # fmt: skip


def identity(x: Any) -> Any:
    """``x``."""
    return x


# Rectifiers -----------------------------------------------------------------------------------------------------------


@custom_jvp
def _rectified(x: Any) -> Any:
    return fnp.maximum(x, 0)


# maximum shares the tangent of equal operands; here 0 belongs to the flat side.
_rectified.defjvps(lambda t, y, x: fnp.where(x > 0, t, 0))


def relu(x: Any) -> Any:
    """max(x, 0), with the derivative 0 at 0.

    >>> import funcgrad as fg
    >>> fg.vmap(fg.grad(relu))(fnp.array([-2.0, 0.0, 3.0]))
    array([0., 0., 1.])
    """
    return _rectified(floating("relu", x))


def relu6(x: Any) -> Any:
    """min(max(x, 0), 6)."""
    x = floating("relu6", x)
    return fnp.where(x >= 6, 6, _rectified(x))


def leaky_relu(x: Any, negative_slope: Any = 0.01) -> Any:
    """x where it is positive, else negative_slope x.

    >>> leaky_relu(fnp.array([-2.0, 3.0]))
    array([-0.02,  3.  ])
    """
    x = floating("leaky_relu", x)
    return fnp.where(x > 0, x, negative_slope * x)


def prelu(x: Any, alpha: Any) -> Any:
    """x where it is positive, else alpha x; ``alpha`` is a parameter that broadcasts with ``x``, one a channel mostly.

    (He et al., "Delving Deep into Rectifiers", ICCV 2015.)
    """
    x = floating("prelu", x)
    return fnp.where(x > 0, x, floating("prelu", alpha, "alpha") * x)


def elu(x: Any, alpha: Any = 1.0) -> Any:
    """x where it is positive, else alpha (exp(x) - 1). (Clevert et al., arXiv:1511.07289.)"""
    x = floating("elu", x)
    return fnp.where(x > 0, x, alpha * _negative_expm1(x))


def celu(x: Any, alpha: Any = 1.0) -> Any:
    """x where it is positive, else alpha (exp(x / alpha) - 1), smooth for all alpha. (Barron, arXiv:1704.07483.)"""
    x = floating("celu", x)
    return fnp.where(x > 0, x, alpha * _negative_expm1(x / alpha))


def selu(x: Any) -> Any:
    """The scaled ``elu`` that keeps mean 0 and variance 1 from layer to layer.

    (Klambauer et al., "Self-Normalizing Neural Networks", NeurIPS 2017, equation 14.)
    """
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    return scale * elu(x, alpha)


def _negative_expm1(x: Any) -> Any:
    # Not of positive numbers, where it is not used and would overflow.
    return fnp.expm1(fnp.where(x > 0, 0, x))


# The logistic function and its relatives ------------------------------------------------------------------------------


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)).

    >>> sigmoid(fnp.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """
    return lax.logistic(floating("sigmoid", x))


@custom_jvp
def _softplus(x: Any) -> Any:
    return fnp.maximum(x, 0) + fnp.log1p(fnp.exp(-fnp.abs(x)))


_softplus.defjvps(lambda t, y, x: t * lax.logistic(x))


def softplus(x: Any) -> Any:
    """log(1 + exp(x)).

    >>> softplus(fnp.array([-1e4, 0.0, 40.0])).round(4)
    array([ 0.    ,  0.6931, 40.    ])
    """
    return _softplus(floating("softplus", x))


def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)) = -softplus(-x)."""
    return -_softplus(-floating("log_sigmoid", x))


def silu(x: Any) -> Any:
    """x sigmoid(x), also known as swish. (Elfwing et al., arXiv:1702.03118.)"""
    x = floating("silu", x)
    return x * lax.logistic(x)


swish = silu


def mish(x: Any) -> Any:
    """x tanh(softplus(x)). (Misra, arXiv:1908.08681.)"""
    x = floating("mish", x)
    return x * fnp.tanh(_softplus(x))


def gelu(x: Any, approximate: bool = True) -> Any:
    """x Phi(x), where Phi is the normal distribution function; by default its approximation by a tanh.

    The approximation is x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3), which is x sigmoid(2 u): the
    latter keeps its relative accuracy for negative x. (Hendrycks and Gimpel, arXiv:1606.08415, section 2.)

    >>> gelu(fnp.array([-1.0, 1.0]), approximate=False).round(4)
    array([-0.1587,  0.8413])
    """
    x = floating("gelu", x)
    v = wide(x)
    if approximate:
        y = v * lax.logistic(2 * math.sqrt(2 / math.pi) * (v + 0.044715 * (v * v * v)))
    else:
        y = v * ndtr(v)
    return narrow(y, dtype_of(x))


def glu(x: Any, axis: int = -1) -> Any:
    """a sigmoid(b), where a and b are the halves of ``x`` along ``axis``, whose size must be even.

    (Dauphin et al., arXiv:1612.08083.) Raises OperandError for an odd size.
    """
    x = floating("glu", x)
    if x.shape[axis] % 2:
        raise OperandError(f"nn.glu: axis {axis} has the odd size {x.shape[axis]}, and cannot be halved")
    a, b = fnp.split(x, 2, axis)
    return a * lax.logistic(b)


# Other saturating and piecewise functions -----------------------------------------------------------------------------


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return fnp.tanh(floating("tanh", x))


def soft_sign(x: Any) -> Any:
    """x / (1 + |x|)."""
    x = floating("soft_sign", x)
    return x / (1 + fnp.abs(x))


def squareplus(x: Any, b: Any = 4.0) -> Any:
    """(x + sqrt(x^2 + b)) / 2, a smooth rectifier of algebraic functions. (Barron, arXiv:2112.11687.)

    For negative x it is computed as b / (2 (sqrt(x^2 + b) - x)), which does not cancel.
    """
    x = floating("squareplus", x)
    root = fnp.hypot(x, fnp.sqrt(fnp.asarray(b, dtype=dtype_of(x))))
    return 0.5 * fnp.where(x > 0, x + root, b / (root - fnp.where(x > 0, 0, x)))


def hard_tanh(x: Any) -> Any:
    """x, clipped to [-1, 1]."""
    x = floating("hard_tanh", x)
    return fnp.where(x >= 1, 1, fnp.where(x <= -1, -1, x))


def hard_sigmoid(x: Any) -> Any:
    """relu6(x + 3) / 6: a piecewise linear sigmoid."""
    return relu6(floating("hard_sigmoid", x) + 3) / 6


def hard_silu(x: Any) -> Any:
    """x hard_sigmoid(x), also known as hard_swish. (Howard et al., arXiv:1905.02244.)"""
    x = floating("hard_silu", x)
    return x * hard_sigmoid(x)


hard_swish = hard_silu


def sparse_plus(x: Any) -> Any:
    """0 up to -1, x from 1 on, and (x + 1)^2 / 4 between: a rectifier whose derivative is ``sparse_sigmoid``."""
    x = floating("sparse_plus", x)
    inside = fnp.where(fnp.abs(x) >= 1, 0, x)
    return fnp.where(x <= -1, 0, fnp.where(x >= 1, x, (inside + 1) ** 2 / 4))


def sparse_sigmoid(x: Any) -> Any:
    """(x + 1) / 2, clipped to [0, 1]."""
    return (hard_tanh(x) + 1) / 2
