"""The layers: modules that hold the parameters of one function each, which does the work and documents it.

The constructor takes the parameters themselves; ``init`` draws them, in float32 unless told otherwise. Biases start at
zero, weights as ``weight_init`` says, an initializer of ``nn.init``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import funcgrad.numpy as fnp
from funcgrad.core.errors import OperandError

from . import init as initializers
from ._convolution import Padding, Sizes, conv, conv_transpose
from ._dropout import dropout
from ._linear import embedding, linear
from ._module import Module, module, static
from ._normalization import BatchNormState, batch_norm, group_norm, layer_norm, rms_norm

__all__ = [
    "BatchNorm", "Conv", "ConvTranspose", "Dropout", "Embedding", "GroupNorm", "LayerNorm", "Linear", "RMSNorm",
]  # fmt: skip

_lecun = initializers.lecun_normal()
_normal = initializers.normal(1.0)


def _bias(bias: bool, width: int, dtype: Any) -> Any:
    return fnp.zeros(width, dtype) if bias else None


@module
class Linear(Module):
    """:func:`nn.linear`: ``weight`` (in, out), ``bias`` (out,) or None.

    >>> from funcgrad.random import key
    >>> Linear.init(key(0), 3, 4)
    Linear(weight=f32[3,4], bias=f32[4])
    """

    weight: Any
    bias: Any = None

    @classmethod
    def init(
        cls,
        key: Any,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        weight_init: initializers.Initializer = _lecun,
        dtype: Any = fnp.float32,
    ) -> Linear:
        """A weight drawn by ``weight_init``, of shape (in_features, out_features), and a bias of zeros or None."""
        return cls(weight_init(key, (in_features, out_features), dtype), _bias(bias, out_features, dtype))

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        return linear(x, self.weight, self.bias), state


@module
class Embedding(Module):
    """:func:`nn.embedding`: ``table`` (count, width). By default its elements are standard normal."""

    table: Any

    @classmethod
    def init(
        cls,
        key: Any,
        count: int,
        width: int,
        *,
        weight_init: initializers.Initializer = _normal,
        dtype: Any = fnp.float32,
    ) -> Embedding:
        """A table of ``count`` rows, drawn by ``weight_init``."""
        return cls(weight_init(key, (count, width), dtype))

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        return embedding(x, self.table), state


# Convolutions ---------------------------------------------------------------------------------------------------------


def _kernel_size(size: int | Sequence[int]) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _hashable(x: Any) -> Any:
    return x if isinstance(x, (int, str)) else tuple(map(_hashable, x))


@module
class Conv(Module):
    """:func:`nn.conv`: ``kernel`` (*spatial, in / groups, out), ``bias`` (out,) or None.

    >>> from funcgrad.random import key
    >>> Conv.init(key(0), 3, 16, 5, strides=2)
    Conv(kernel=f32[5,5,3,16], bias=f32[16], strides=2, padding='SAME', dilation=1, groups=1)
    """

    kernel: Any
    bias: Any = None
    strides: Sizes = static(default=1)
    padding: Padding = static(default="SAME")
    dilation: Sizes = static(default=1)
    groups: int = static(default=1)

    @classmethod
    def init(
        cls,
        key: Any,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        *,
        strides: Sizes = 1,
        padding: Padding = "SAME",
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        weight_init: initializers.Initializer = _lecun,
        dtype: Any = fnp.float32,
    ) -> Conv:
        """``kernel_size``: an integer for each spatial axis; a single one stands for two axes. Raises OperandError if
        the groups do not divide the channels."""
        if in_channels % groups or out_channels % groups:
            raise OperandError(f"nn.Conv: {groups} groups do not divide {in_channels} and {out_channels} channels")
        kernel = weight_init(key, (*_kernel_size(kernel_size), in_channels // groups, out_channels), dtype)
        return cls(
            kernel,
            _bias(bias, out_channels, dtype),
            _hashable(strides),
            _hashable(padding),
            _hashable(dilation),
            groups,
        )

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        y = conv(
            x, self.kernel, self.bias,
            strides=self.strides, padding=self.padding, dilation=self.dilation, groups=self.groups,
        )  # fmt: skip
        return y, state


@module
class ConvTranspose(Module):
    """:func:`nn.conv_transpose`: ``kernel`` (*spatial, in, out), ``bias`` (out,) or None."""

    kernel: Any
    bias: Any = None
    strides: Sizes = static(default=1)
    padding: Padding = static(default="SAME")

    @classmethod
    def init(
        cls,
        key: Any,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        *,
        strides: Sizes = 1,
        padding: Padding = "SAME",
        bias: bool = True,
        weight_init: initializers.Initializer = _lecun,
        dtype: Any = fnp.float32,
    ) -> ConvTranspose:
        """``kernel_size``: an integer for each spatial axis; a single one stands for two axes."""
        kernel = weight_init(key, (*_kernel_size(kernel_size), in_channels, out_channels), dtype)
        return cls(kernel, _bias(bias, out_channels, dtype), _hashable(strides), _hashable(padding))

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        return conv_transpose(x, self.kernel, self.bias, strides=self.strides, padding=self.padding), state


# Normalization and dropout --------------------------------------------------------------------------------------------


@module
class LayerNorm(Module):
    """:func:`nn.layer_norm` over the last axis: ``scale``, ``bias`` (width,) or None."""

    scale: Any = None
    bias: Any = None
    epsilon: float = static(default=1e-5)

    @classmethod
    def init(cls, width: int, *, epsilon: float = 1e-5, dtype: Any = fnp.float32) -> LayerNorm:
        """Scales of one and biases of zero, of shape (width,)."""
        return cls(fnp.ones(width, dtype), fnp.zeros(width, dtype), epsilon)

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        return layer_norm(x, self.scale, self.bias, epsilon=self.epsilon), state


@module
class RMSNorm(Module):
    """:func:`nn.rms_norm` over the last axis: ``scale`` (width,) or None."""

    scale: Any = None
    epsilon: float = static(default=1e-6)

    @classmethod
    def init(cls, width: int, *, epsilon: float = 1e-6, dtype: Any = fnp.float32) -> RMSNorm:
        """Scales of one, of shape (width,)."""
        return cls(fnp.ones(width, dtype), epsilon)

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        return rms_norm(x, self.scale, epsilon=self.epsilon), state


@module
class GroupNorm(Module):
    """:func:`nn.group_norm`: ``scale``, ``bias`` (channels,) or None."""

    scale: Any = None
    bias: Any = None
    groups: int = static(default=1)
    epsilon: float = static(default=1e-5)

    @classmethod
    def init(cls, channels: int, groups: int, *, epsilon: float = 1e-5, dtype: Any = fnp.float32) -> GroupNorm:
        """Scales of one and biases of zero, of shape (channels,); ``groups`` must divide ``channels``."""
        return cls(fnp.ones(channels, dtype), fnp.zeros(channels, dtype), groups, epsilon)

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        return group_norm(x, self.groups, self.scale, self.bias, self.epsilon), state


@module
class BatchNorm(Module):
    """:func:`nn.batch_norm`: ``scale``, ``bias`` (channels,). Its state is a ``BatchNormState``.

    >>> import numpy as np
    >>> layer = BatchNorm.init(1)
    >>> y, state = layer(np.float32([[1.0], [3.0]]), layer.init_state(), train=True)
    >>> state.mean, layer(np.float32([[0.2]]), state)[0]
    (array([0.2], dtype=float32), array([[0.]], dtype=float32))
    """

    scale: Any
    bias: Any
    momentum: float = static(default=0.1)
    epsilon: float = static(default=1e-5)

    @classmethod
    def init(
        cls, channels: int, *, momentum: float = 0.1, epsilon: float = 1e-5, dtype: Any = fnp.float32
    ) -> BatchNorm:
        """Scales of one and biases of zero, of shape (channels,)."""
        return cls(fnp.ones(channels, dtype), fnp.zeros(channels, dtype), momentum, epsilon)

    def init_state(self, batch_shape: tuple[int, ...] = ()) -> BatchNormState:
        return BatchNormState(fnp.zeros_like(self.bias), fnp.ones_like(self.scale))

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        if not isinstance(state, BatchNormState):
            raise OperandError(
                f"nn.BatchNorm: it normalizes by running statistics, and was given {state!r} for them; write `state = "
                f"model.init_state()` once, and then `y, state = model(x, state, train=True)`"
            )
        return batch_norm(x, state, self.scale, self.bias, train=train, momentum=self.momentum, epsilon=self.epsilon)


@module
class Dropout(Module):
    """:func:`nn.dropout` at ``rate``, in training only.

    >>> import numpy as np
    >>> from funcgrad.random import key
    >>> Dropout(0.5)(np.ones(2)), Dropout(0.5)(np.ones(8), train=True, key=key(1)).max()
    (array([1., 1.]), np.float64(2.0))
    """

    rate: float = static()

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        return dropout(key, x, self.rate, train=train), state
