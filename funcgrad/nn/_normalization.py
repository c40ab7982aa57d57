"""Normalization: values shifted to mean 0 and scaled to variance 1, over features or over the batch.

All of it is one function, y = (x - m) r with r = (v + epsilon)^(-1/2), where m and v are the mean and the (biased)
variance over some axes, or 0 and the mean square. Its derivative in closed form, with s = mean(y t):

    dy = r (t - mean(t) - y s)        dr = -r^2 s

without mean(t) where nothing is subtracted. float16 is summed in float32. The result has the shape of ``x``, and the dtype
to which ``x`` and the parameters promote.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.api.custom import custom_jvp
from funcgrad.api.staging import jit
from funcgrad.core.errors import OperandError

from ._arrays import dtype_of, floating, narrow, wide

__all__ = ["BatchNormState", "batch_norm", "group_norm", "layer_norm", "rms_norm", "standardize"]

Axis = int | tuple[int, ...]


@partial(custom_jvp, nondiff_argnums=(1, 2, 3))
def _normalized(x: Any, axis: Axis, epsilon: float, centred: bool) -> tuple[Any, Any]:
    """y and r."""
    if centred:
        x = x - fnp.mean(x, axis=axis, keepdims=True)
    r = 1 / fnp.sqrt(fnp.mean(x * x, axis=axis, keepdims=True) + epsilon)
    return x * r, r


@_normalized.defjvp
def _normalized_jvp(axis: Axis, epsilon: float, centred: bool, primals: Any, tangents: Any) -> Any:
    (y, r), (t,) = _normalized(*primals, axis, epsilon, centred), tangents
    s = fnp.mean(y * t, axis=axis, keepdims=True)
    moved = t - fnp.mean(t, axis=axis, keepdims=True) if centred else t
    return (y, r), (r * (moved - y * s), -(r * r) * s)


def _affine(y: Any, x: Any, scale: Any, bias: Any) -> Any:
    """y scale + bias, in the dtype of ``x`` and the parameters."""
    given = [p for p in (scale, bias) if p is not None]
    y = y if scale is None else y * scale
    y = y if bias is None else y + bias
    return narrow(y, fnp.result_type(x, *given))


@partial(jit, static_argnames=("axis", "epsilon"))
def standardize(x: Any, axis: Axis = -1, epsilon: float = 1e-5) -> Any:
    """(x - mean) / sqrt(variance + epsilon), with the mean and the biased variance along ``axis``.

    >>> standardize(fnp.array([1.0, 3.0]), epsilon=0.0)
    array([-1.,  1.])
    """
    x = floating("standardize", x)
    return narrow(_normalized(wide(x), axis, epsilon, True)[0], dtype_of(x))


@partial(jit, static_argnames=("axis", "epsilon"))
def layer_norm(x: Any, scale: Any = None, bias: Any = None, axis: Axis = -1, epsilon: float = 1e-5) -> Any:
    """:func:`standardize` over the features of each sample, then scaled and shifted.

    ``scale``, ``bias``: arrays that broadcast with ``x``, mostly of the shape of the normalized axes. (Ba, Kiros and Hinton, arXiv:1607.06450. The course notes print a formula that
    divides by the variance itself, and has no scale and bias; the standard one, here, divides by its root.)

    >>> layer_norm(fnp.array([[1.0, 3.0], [0.0, 8.0]]), epsilon=0.0)
    array([[-1.,  1.],
           [-1.,  1.]])
    """
    x = floating("layer_norm", x)
    return _affine(_normalized(wide(x), axis, epsilon, True)[0], x, scale, bias)


@partial(jit, static_argnames=("axis", "epsilon"))
def rms_norm(x: Any, scale: Any = None, axis: Axis = -1, epsilon: float = 1e-6) -> Any:
    """x / sqrt(mean(x^2) + epsilon) along ``axis``, times ``scale``. (Zhang and Sennrich, arXiv:1910.07467.)

    >>> rms_norm(fnp.array([3.0, 3.0]), epsilon=0.0)
    array([1., 1.])
    """
    x = floating("rms_norm", x)
    return _affine(_normalized(wide(x), axis, epsilon, False)[0], x, scale, None)


def group_norm(x: Any, groups: int, scale: Any = None, bias: Any = None, epsilon: float = 1e-5) -> Any:
    """:func:`standardize` over the spatial axes and each of ``groups`` groups of channels, for each sample.

    ``x``: (batch, *spatial, channels); ``scale``, ``bias``: (channels,). With one group it is a layer norm of the sample,
    with as many as channels an instance norm. (Wu and He, arXiv:1803.08494.) Raises OperandError if the groups do
    not divide the channels.
    """
    x = floating("group_norm", x)
    if x.ndim < 2 or groups < 1 or x.shape[-1] % groups:
        raise OperandError(
            f"nn.group_norm: x must be (batch, *spatial, channels) with channels in {groups} equal groups, not of shape "
            f"{x.shape}"
        )
    parted = fnp.reshape(wide(x), (*x.shape[:-1], groups, x.shape[-1] // groups))
    axes = (*range(1, x.ndim - 1), x.ndim)
    y = fnp.reshape(_normalized(parted, axes, epsilon, True)[0], x.shape)
    return _affine(y, x, scale, bias)


class BatchNormState(NamedTuple):
    """The running mean and the running, unbiased variance of each channel, of shape (channels,)."""

    mean: Any
    variance: Any


def batch_norm(
    x: Any,
    state: BatchNormState,
    scale: Any = None,
    bias: Any = None,
    *,
    train: bool,
    momentum: float = 0.1,
    epsilon: float = 1e-5,
) -> tuple[Any, BatchNormState]:
    """Each channel normalized over all axes but the last: ``(y, new_state)``.

    ``x``: (batch, ..., channels); ``scale``, ``bias``: (channels,). In training it is normalized by the mean and the
    biased variance of the batch, and the running statistics move towards the batch's, the variance unbiased:

        new = (1 - momentum) old + momentum observed

    (torch's momentum; that of Flax is 1 - momentum.) No derivative flows through the new state. Otherwise ``x`` is
    normalized by the running statistics, and the state comes back as it is. Under ``vmap`` each row is a batch of its
    own. (Ioffe and Szegedy, arXiv:1502.03167.) Raises OperandError for a batch of one value a channel in training.

    >>> state = BatchNormState(fnp.zeros(1), fnp.ones(1))
    >>> y, state = batch_norm(fnp.array([[1.0], [3.0]]), state, train=True, epsilon=0.0)
    >>> y.ravel(), state
    (array([-1.,  1.]), BatchNormState(mean=array([0.2]), variance=array([1.1])))
    """
    x = floating("batch_norm", x)
    if x.ndim < 2 or fnp.shape(state.mean) != x.shape[-1:]:
        raise OperandError(
            f"nn.batch_norm: x of shape {x.shape} does not fit a state of {fnp.shape(state.mean)}: x must be (batch, ..., "
            f"channels) and the state (channels,)"
        )
    v = wide(x)
    if not train:
        y = (v - state.mean) * (1 / fnp.sqrt(state.variance + epsilon))
        return _affine(y, x, scale, bias), state
    axes = tuple(range(x.ndim - 1))
    count = math.prod(x.shape[:-1])
    if count < 2:
        raise OperandError(
            f"nn.batch_norm: x of shape {x.shape} has {count} value a channel, which has no variance; train with larger "
            f"batches, or pass train=False"
        )
    mean = fnp.mean(v, axis=axes)
    centred = v - mean
    y, _ = _normalized(centred, axes, epsilon, False)
    mean, centred = lax.stop_gradient((mean, centred))
    variance = fnp.sum(centred * centred, axis=axes) / (count - 1)
    new = BatchNormState(
        (1 - momentum) * state.mean + momentum * mean, (1 - momentum) * state.variance + momentum * variance
    )
    return _affine(y, x, scale, bias), new
