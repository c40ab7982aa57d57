"""Two models in full: a perceptron of many layers, and a small residual network for images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import funcgrad.numpy as fnp
from funcgrad.core.errors import OperandError

from . import init as initializers
from ._containers import Residual, Sequential
from ._layers import BatchNorm, Conv, Linear
from ._module import keys_for, module
from .activations import relu

__all__ = ["MLP", "ResNet9"]

_kaiming = initializers.kaiming_normal()


@module
class MLP(Sequential):
    """Linear layers with an activation between them, none after the last.

    >>> import numpy as np
    >>> from funcgrad.random import key
    >>> model = MLP.init(key(0), (4, 8, 3))
    >>> model(np.ones((2, 4), np.float32)).shape
    (2, 3)
    """

    __init__ = Sequential.__init__

    @classmethod
    def init(
        cls,
        key: Any,
        sizes: Sequence[int],
        *,
        activation: Callable[[Any], Any] = relu,
        weight_init: initializers.Initializer = _kaiming,
        dtype: Any = fnp.float32,
    ) -> MLP:
        """``sizes``: of the input, the hidden layers and the output. The weights suit relu by default."""
        if len(sizes) < 2:
            raise OperandError(f"nn.MLP: sizes must be those of the input and the output at least, not {tuple(sizes)}")
        keys = keys_for(key, len(sizes) - 1, True)
        linears = [
            Linear.init(k, i, o, weight_init=weight_init, dtype=dtype)
            for k, (i, o) in zip(keys, itertools.pairwise(sizes))
        ]
        between = ((linear, activation) for linear in linears[:-1])
        return cls(*itertools.chain(*between), linears[-1])


def _conv_norm(key: Any, into: int, out: int, size: int, strides: int, dtype: Any) -> Sequential:
    return Sequential(
        Conv.init(key, into, out, size, strides=strides, bias=False, weight_init=_kaiming, dtype=dtype),
        BatchNorm.init(out, dtype=dtype),
        relu,
    )


def _mean_over_space(x: Any) -> Any:
    return fnp.mean(x, axis=tuple(range(1, x.ndim - 1)))


@module
class ResNet9(Sequential):
    """The residual network of the course (hw4): images (batch, height, width, channels) to scores (batch, classes).

    Eight convolutions, strided rather than pooled, with batch norms; two pairs of them have a shortcut. The mean over what
    is left of space (one position of 32 x 32 images) goes through a hidden layer. It has a state:

    >>> import numpy as np
    >>> from funcgrad.random import key
    >>> model = ResNet9.init(key(0))
    >>> y, state = model(np.ones((2, 32, 32, 3), np.float32), model.init_state(), train=True)
    >>> y.shape
    (2, 10)
    """

    __init__ = Sequential.__init__

    @classmethod
    def init(cls, key: Any, *, channels: int = 3, classes: int = 10, dtype: Any = fnp.float32) -> ResNet9:
        """``channels``: of the images; ``classes``: of the scores. Kernels suit relu (He et al.)."""
        k = keys_for(key, 10, True)
        return cls(
            _conv_norm(k[0], channels, 16, 7, 4, dtype),
            _conv_norm(k[1], 16, 32, 3, 2, dtype),
            Residual(Sequential(_conv_norm(k[2], 32, 32, 3, 1, dtype), _conv_norm(k[3], 32, 32, 3, 1, dtype))),
            _conv_norm(k[4], 32, 64, 3, 2, dtype),
            _conv_norm(k[5], 64, 128, 3, 2, dtype),
            Residual(Sequential(_conv_norm(k[6], 128, 128, 3, 1, dtype), _conv_norm(k[7], 128, 128, 3, 1, dtype))),
            _mean_over_space,
            Linear.init(k[8], 128, 128, weight_init=_kaiming, dtype=dtype),
            relu,
            Linear.init(k[9], 128, classes, dtype=dtype),
        )
