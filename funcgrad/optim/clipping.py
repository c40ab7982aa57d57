"""Clipping: gradients kept from growing too large, element by element, leaf by leaf, or all together."""

from collections.abc import Callable
from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import tree
from funcgrad.core.errors import OperandTypeError

from .base import (
    GradientTransformation,
    abs_square,
    cast_like,
    hyperparameter,
    inner_product,
    leafwise,
    norm,
    required,
    root,
    scalar_for,
)

__all__ = [
    "ClipState",
    "adaptive_grad_clip",
    "clip",
    "clip_by_block_norm",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "global_norm",
]


class ClipState(NamedTuple):
    """The bound (float64), which may be set; it must be positive."""

    max_norm: Any

    hyperparameters = ("max_norm",)


def clip(max_delta: float) -> GradientTransformation:
    """Clip every element to ``-max_delta ... max_delta``; in the state the bound is ``max_norm``.

    Raises:
        OperandTypeError: a gradient is complex, and has no order. ``clip_by_block_norm`` takes it.

    >>> import numpy as np
    >>> clip(1.0).update(np.array([0.5, -3.0]), clip(1.0).init(None))[0]
    array([ 0.5, -1. ])
    """

    def bounded(g: Any, bound: Any) -> Any:
        if fnp.iscomplexobj(g):
            raise OperandTypeError("clip has no meaning for complex gradients; use clip_by_block_norm")
        return fnp.clip(g, -scalar_for(g, bound), scalar_for(g, bound))

    return _clipping(max_delta, lambda grads, bound, params: leafwise(lambda g: bounded(g, bound), grads))


def clip_by_block_norm(max_norm: float) -> GradientTransformation:
    """Scale every leaf whose Euclidean norm is larger than ``max_norm`` to that norm.

    >>> import numpy as np
    >>> clip_by_block_norm(1.0).update([np.array([3.0, 4.0]), np.array([0.5])], clip_by_block_norm(1.0).init(None))[0]
    [array([0.6, 0.8]), array([0.5])]
    """
    return _clipping(
        max_norm, lambda grads, bound, params: leafwise(lambda g: _scaled(g, norm(_wide(g)), bound), grads)
    )


def clip_by_block_rms(threshold: float) -> GradientTransformation:
    """Scale every leaf whose root mean square is larger than ``threshold`` to that; in the state it is ``max_norm``.

    >>> import numpy as np
    >>> clip_by_block_rms(1.0).update(np.array([1.0, 7.0]), clip_by_block_rms(1.0).init(None))[0]
    array([0.2, 1.4])
    """

    def rms(g: Any) -> Any:
        return root(fnp.mean(abs_square(_wide(g))))

    return _clipping(threshold, lambda grads, bound, params: leafwise(lambda g: _scaled(g, rms(g), bound), grads))


def clip_by_global_norm(max_norm: float) -> GradientTransformation:
    """Scale all gradients by one factor, so that their joint Euclidean norm is at most ``max_norm``.

    The bound is in the state, where ``with_hyperparameters`` sets it. ``max_norm`` must be positive.

    Source: R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013,
    algorithm 1.

    >>> import numpy as np
    >>> clip_by_global_norm(1.0).update([np.array([3.0]), np.array([4.0])], clip_by_global_norm(1.0).init(None))[0]
    [array([0.6]), array([0.8])]
    """

    def clip_together(grads: Any, bound: Any, params: Any) -> Any:
        size = global_norm(grads)
        return leafwise(lambda g: _scaled(g, size, bound), grads)

    return _clipping(max_norm, clip_together)


def adaptive_grad_clip(
    clipping: float, eps: float = 1e-3, axis: int | tuple[int, ...] | None = None
) -> GradientTransformation:
    """Adaptive gradient clipping: no unit's gradient is larger than ``clipping`` times its weights.

    The gradient of a unit, ``g``, is scaled to the norm ``clipping max(|w|, eps)`` if it is larger. A unit is what
    feeds one output: the norm is taken over all axes of a vector, the first of a matrix (inputs, outputs) or an array
    of three axes, and all but the last of larger ones; or over ``axis``. In the state ``clipping`` is ``max_norm``.
    ``update`` needs ``params``.

    Source: A. Brock, S. De, S. L. Smith, K. Simonyan, "High-Performance Large-Scale Image Recognition Without
    Normalization", ICML 2021, equation 3.

    >>> import numpy as np
    >>> agc, w = adaptive_grad_clip(0.1), np.array([[3.0, 1.0], [4.0, 0.0]])
    >>> agc.update(np.array([[0.0, 0.05], [2.0, 0.0]]), agc.init(w), w)[0].round(4)
    array([[0.  , 0.05],
           [0.5 , 0.  ]])
    """

    def unit_norm(x: Any) -> Any:
        x = _wide(x)
        over = axis
        if axis is None and sum(extent != 1 for extent in x.shape) > 1:
            over = 0 if x.ndim <= 3 else tuple(range(x.ndim - 1))
        return root(fnp.sum(abs_square(x), axis=over, keepdims=True))

    def clip_units(grads: Any, bound: Any, params: Any) -> Any:
        def clipped(g: Any, p: Any) -> Any:
            size = unit_norm(p)
            return _scaled(g, unit_norm(g), scalar_for(size, bound) * fnp.maximum(size, scalar_for(size, eps)))

        return leafwise(clipped, grads, required(params, "params", "adaptive_grad_clip"))

    return _clipping(clipping, clip_units)


def global_norm(updates: Any) -> Any:
    """The Euclidean norm of all leaves together, a real scalar, 0.0 for an empty tree; its derivative at zero is zero.

    >>> import numpy as np
    >>> float(global_norm({"a": np.array([3.0]), "b": np.array([[4.0]])}))
    5.0
    """
    squares = [inner_product(g, g) for g in map(_wide, tree.leaves(updates))]
    return root(sum(squares[1:], start=squares[0])) if squares else fnp.zeros(())


def _clipping(max_norm: float, f: Callable[[Any, Any, Any], Any]) -> GradientTransformation:
    def init(params: Any) -> ClipState:
        return ClipState(hyperparameter(max_norm))

    def update(grads: Any, state: ClipState, params: Any = None, **extra: Any) -> tuple[Any, ClipState]:
        return f(grads, state.max_norm, params), state

    return GradientTransformation(init, update)


def _scaled(g: Any, size: Any, bound: Any) -> Any:
    """``g`` scaled from ``size`` to ``bound`` if it is larger; by exactly 1 if not, and without dividing by zero."""
    bound = scalar_for(size, bound)
    return cast_like(g * scalar_for(g, bound / fnp.maximum(size, bound)), g)


def _wide(g: Any) -> Any:
    """At least float32: the square of a float16 overflows at 256."""
    g = fnp.asarray(g)
    return fnp.asarray(g, dtype=fnp.promote_types(g.dtype, fnp.float32))
