"""Initial values of parameters: functions ``init(key, shape, dtype)``, as in ``jax.nn.initializers``.

The fans of a weight are counted for the layout of this package: the last axis holds outputs, the last but one inputs, and
those before (of a convolution kernel) are positions, which count for both. A product x W of ``fan_in`` terms keeps the
variance of x if W has the variance 1 / fan_in; relu halves the mean square, which the gain sqrt(2) undoes; going
backwards it is ``fan_out`` that counts. A uniform distribution on (-b, b) has the variance b^2 / 3.

>>> from funcgrad.random import key
>>> w = kaiming_normal()(key(0), (500, 100))
>>> w.shape, abs(w.var() - 2 / 500) < 1e-4
((500, 100), np.True_)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import funcgrad.numpy as fnp
from funcgrad import random
from funcgrad.core.errors import OperandError

__all__ = [
    "Initializer", "constant", "gain_of", "kaiming_normal", "kaiming_uniform", "lecun_normal", "lecun_uniform", "normal",
    "ones", "orthogonal", "truncated_normal", "uniform", "variance_scaling", "xavier_normal", "xavier_uniform", "zeros",
]  # fmt: skip

Initializer = Callable[..., Any]

#: The standard deviation of a standard normal variable cut off at -2 and 2: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
_CUT_AT_TWO = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))


def zeros(key: Any, shape: Sequence[int], dtype: Any = fnp.float64) -> Any:
    """Zeros; the key is not used. For biases: weights that are all zero get gradients that are all zero."""
    return fnp.zeros(shape, dtype)


def ones(key: Any, shape: Sequence[int], dtype: Any = fnp.float64) -> Any:
    """Ones; the key is not used."""
    return fnp.ones(shape, dtype)


def constant(value: Any) -> Initializer:
    """The same ``value`` everywhere."""

    def init(key: Any, shape: Sequence[int], dtype: Any = fnp.float64) -> Any:
        return fnp.full(shape, value, dtype)

    return init


def uniform(scale: float = 0.01, *, low: float = 0.0) -> Initializer:
    """Uniform numbers from ``low`` to ``scale``."""

    def init(key: Any, shape: Sequence[int], dtype: Any = fnp.float64) -> Any:
        return random.uniform(key, shape, dtype, low, scale)

    return init


def normal(stddev: float = 0.01, *, mean: float = 0.0) -> Initializer:
    """Normal numbers of this standard deviation and mean."""

    def init(key: Any, shape: Sequence[int], dtype: Any = fnp.float64) -> Any:
        return random.normal(key, shape, dtype) * stddev + mean

    return init


def truncated_normal(stddev: float = 0.01, lower: float = -2.0, upper: float = 2.0) -> Initializer:
    """Normal numbers of which only those from ``lower`` to ``upper`` are taken, times ``stddev``.

    As in JAX the bounds are in standard deviations, and ``stddev`` is that of the distribution before it is cut off.
    """

    def init(key: Any, shape: Sequence[int], dtype: Any = fnp.float64) -> Any:
        return random.truncated_normal(key, lower, upper, shape, dtype) * stddev

    return init


def _fans(what: str, shape: Sequence[int]) -> tuple[int, int]:
    if len(shape) < 2:
        raise OperandError(
            f"nn.init.{what}: a shape of at least 2 axes has inputs and outputs, {tuple(shape)} has not; initialize a bias "
            f"by nn.init.zeros"
        )
    positions = math.prod(shape[:-2])
    return shape[-2] * positions, shape[-1] * positions


def variance_scaling(scale: float, mode: str, distribution: str) -> Initializer:
    """Numbers of mean 0 and variance scale / n.

    Args:
        scale: the variance times n; the square of a gain.
        mode: what n is: "fan_in", "fan_out" or "fan_avg", their mean.
        distribution: "normal", "uniform", or "truncated_normal" (cut off at two standard deviations, and scaled so that
            the variance is that after the cut).

    Raises OperandError for another mode or distribution, and for a shape without inputs and outputs.
    """
    return _scaled("variance_scaling", scale, mode, distribution)


def _scaled(what: str, scale: float, mode: str, distribution: str) -> Initializer:
    if mode not in ("fan_in", "fan_out", "fan_avg"):
        raise OperandError(f"nn.init.{what}: mode must be 'fan_in', 'fan_out' or 'fan_avg', not {mode!r}")
    if distribution not in ("normal", "uniform", "truncated_normal"):
        raise OperandError(
            f"nn.init.{what}: distribution must be 'normal', 'uniform' or 'truncated_normal', not {distribution!r}"
        )

    def init(key: Any, shape: Sequence[int], dtype: Any = fnp.float64) -> Any:
        fan_in, fan_out = _fans(what, shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
        deviation = math.sqrt(scale / max(n, 1))
        if distribution == "uniform":
            bound = math.sqrt(3) * deviation
            return random.uniform(key, shape, dtype, -bound, bound)
        if distribution == "normal":
            return random.normal(key, shape, dtype) * deviation
        return random.truncated_normal(key, -2.0, 2.0, shape, dtype) * (deviation / _CUT_AT_TWO)

    return init


def xavier_uniform(gain: float = 1.0) -> Initializer:
    """Uniform on (-a, a) with a = gain sqrt(6 / (fan_in + fan_out)).

    (Glorot and Bengio, AISTATS 2010, equation 16.)
    """
    return _scaled("xavier_uniform", gain**2, "fan_avg", "uniform")


def xavier_normal(gain: float = 1.0) -> Initializer:
    """Normal with the standard deviation gain sqrt(2 / (fan_in + fan_out)). (Glorot and Bengio, AISTATS 2010.)"""
    return _scaled("xavier_normal", gain**2, "fan_avg", "normal")


def gain_of(nonlinearity: str, negative_slope: float = 0.01) -> float:
    """The factor by which weights make up for what an activation takes from the mean square, by torch's table.

    "linear", "sigmoid": 1; "tanh": 5/3; "relu": sqrt(2); "leaky_relu": sqrt(2 / (1 + negative_slope^2)); "selu": 3/4.

    >>> round(gain_of("relu") ** 2, 12)
    2.0
    """
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + negative_slope**2)),
        "selu": 3 / 4,
    }
    if nonlinearity not in gains:
        raise OperandError(f"nn.init.gain_of: nonlinearity must be one of {', '.join(gains)}, not {nonlinearity!r}")
    return gains[nonlinearity]


def kaiming_uniform(mode: str = "fan_in", nonlinearity: str = "relu", negative_slope: float = 0.01) -> Initializer:
    """Uniform on (-a, a) with a = gain sqrt(3 / fan). (He et al., "Delving Deep into Rectifiers", ICCV 2015.)

    ``mode``: "fan_in" keeps the size of activations, "fan_out" that of gradients; ``nonlinearity``: see :func:`gain_of`.
    """
    return _scaled("kaiming_uniform", gain_of(nonlinearity, negative_slope) ** 2, mode, "uniform")


def kaiming_normal(mode: str = "fan_in", nonlinearity: str = "relu", negative_slope: float = 0.01) -> Initializer:
    """Normal with the standard deviation gain / sqrt(fan); arguments as of :func:`kaiming_uniform`."""
    return _scaled("kaiming_normal", gain_of(nonlinearity, negative_slope) ** 2, mode, "normal")


def lecun_uniform() -> Initializer:
    """Uniform, of variance 1 / fan_in. (LeCun et al., "Efficient BackProp", 1998.)"""
    return _scaled("lecun_uniform", 1.0, "fan_in", "uniform")


def lecun_normal() -> Initializer:
    """Normal, cut off at two standard deviations, of variance 1 / fan_in, as in JAX; the mate of ``selu``."""
    return _scaled("lecun_normal", 1.0, "fan_in", "truncated_normal")


def orthogonal(scale: float = 1.0) -> Initializer:
    """A random matrix whose columns (or rows, if they are fewer) are orthogonal and of length ``scale``.

    Of a shape with more than 2 axes, the last is that of columns. (Saxe, McClelland and Ganguli, arXiv:1312.6120.)
    """

    def init(key: Any, shape: Sequence[int], dtype: Any = fnp.float64) -> Any:
        _fans("orthogonal", shape)
        rows, columns = math.prod(shape[:-1]), shape[-1]
        square = random.orthogonal(key, max(rows, columns), dtype=dtype)
        return fnp.reshape(square[:rows, :columns] * scale, tuple(shape))

    return init
