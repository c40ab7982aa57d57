"""Adafactor: the second moment of a matrix kept as the sums of its rows and columns."""

from typing import Any, NamedTuple

import numpy as np

import funcgrad.numpy as fnp
from funcgrad import tree
from funcgrad.core.errors import OperandError

from .base import (
    GradientTransformation,
    abs_square,
    cast_like,
    chain,
    check_like,
    hyperparameter,
    leafwise,
    moving_average,
    no_updates_yet,
    required,
    root,
    scalar_for,
    stateless,
)
from .clipping import clip_by_block_rms
from .learning_rate import ScalarOrSchedule, scale, scale_by_learning_rate
from .momentum import ema
from .weight_decay import Mask, add_decayed_weights

__all__ = [
    "FactoredMoment",
    "FullMoment",
    "ScaleByFactoredRmsState",
    "adafactor",
    "scale_by_factored_rms",
    "scale_by_param_block_rms",
]


class FactoredMoment(NamedTuple):
    """The second moment of a large leaf, averaged over its longest axis (``row``) and over the next longest (``col``)."""

    row: Any
    col: Any


class FullMoment(NamedTuple):
    """The second moment of any other leaf."""

    v: Any


class ScaleByFactoredRmsState(NamedTuple):
    """How many updates were made (int64), the exponent of the decay (float64), which may be set, and the parameters'
    tree with a ``FactoredMoment`` or a ``FullMoment`` for each leaf (at least float32)."""

    count: Any
    moments: Any
    decay_rate: Any

    hyperparameters = ("decay_rate",)


def scale_by_factored_rms(
    factored: bool = True,
    decay_rate: float = 0.8,
    step_offset: int = 0,
    min_dim_size_to_factor: int = 128,
    epsilon: float = 1e-30,
) -> GradientTransformation:
    """Divide gradients by the root of their factored second moment; ``adafactor`` has the formula.

    >>> import numpy as np
    >>> rescale = scale_by_factored_rms(min_dim_size_to_factor=1)
    >>> state = rescale.init(np.zeros((2, 3)))
    >>> state.moments.row.shape, state.moments.col.shape
    ((2,), (3,))
    >>> rescale.update(np.outer([1.0, 10.0], [1.0, 2.0, 3.0]), state)[0].round(4)  # exact for a product
    array([[1., 1., 1.],
           [1., 1., 1.]])
    """

    def axes(shape: tuple[int, ...]) -> tuple[int, int] | None:
        """The axes of the next longest and the longest extent, if the leaf is worth factoring."""
        if not factored or len(shape) < 2:
            return None
        *_, second, longest = np.argsort(shape)
        return (int(second), int(longest)) if shape[second] >= min_dim_size_to_factor else None

    def moment_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        where = axes(shape)
        return [shape] if where is None else [shape[:i] + shape[i + 1 :] for i in reversed(where)]

    def init(params: Any) -> ScaleByFactoredRmsState:
        def zeros(p: Any) -> Any:
            p = fnp.real(fnp.asarray(p))
            parts = [fnp.zeros(s, dtype=fnp.promote_types(p.dtype, fnp.float32)) for s in moment_shapes(p.shape)]
            return FullMoment(*parts) if len(parts) == 1 else FactoredMoment(*parts)

        return ScaleByFactoredRmsState(no_updates_yet(), tree.map(zeros, params), hyperparameter(decay_rate))

    def update(grads: Any, state: ScaleByFactoredRmsState, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        is_moment = (FactoredMoment, FullMoment)
        leaves, structure = tree.flatten(grads)
        moments, expected = tree.flatten(state.moments, is_leaf=lambda x: isinstance(x, is_moment))
        if structure != expected:
            check_like(grads, expected.unflatten([0.0] * len(moments)))
        for i, (g, moment) in enumerate(zip(leaves, moments)):
            if [part.shape for part in moment] != moment_shapes(fnp.shape(g)):
                path = tree.keystr(tree.leaves_with_path(grads)[i][0]) or "the top"
                raise OperandError(
                    f"update: the gradients have the shape {fnp.shape(g)} at {path}, where what the optimizer was "
                    f"initialised with has moments of {', '.join(str(part.shape) for part in moment)}"
                )
        decay = 1 - fnp.asarray(state.count + 1 - step_offset, dtype=fnp.float64) ** -state.decay_rate
        results = [_divide(g, moment, axes(fnp.shape(g)), decay, epsilon) for g, moment in zip(leaves, moments)]
        updates = structure.unflatten([u for u, _ in results])
        return updates, state._replace(count=state.count + 1, moments=structure.unflatten([m for _, m in results]))

    return GradientTransformation(init, update)


def _divide(g: Any, moment: Any, where: tuple[int, int] | None, decay: Any, epsilon: float) -> tuple[Any, Any]:
    """One leaf divided by the root of its second moment, and the next moment."""
    wide = fnp.asarray(g, dtype=fnp.promote_types(fnp.asarray(g).dtype, moment[0].dtype))
    square = abs_square(wide) + scalar_for(moment[0], epsilon)

    if where is None:
        moment = FullMoment(moving_average(square, moment.v, decay))
        u = wide / root(moment.v)
    else:
        second, longest = where
        moment = FactoredMoment(
            moving_average(fnp.mean(square, axis=longest), moment.row, decay),
            moving_average(fnp.mean(square, axis=second), moment.col, decay),
        )
        mean = fnp.mean(moment.row, axis=second - (second > longest), keepdims=True)
        u = wide / (fnp.expand_dims(root(moment.row / mean), longest) * fnp.expand_dims(root(moment.col), second))
    return cast_like(u, g), moment


def scale_by_param_block_rms(min_scale: float = 1e-3) -> GradientTransformation:
    """Multiply every leaf by the root mean square of its parameter, or by ``min_scale`` if that is larger.

    >>> import numpy as np
    >>> scale_by_param_block_rms().update(np.ones(2), (), np.array([1.0, 7.0]))[0]
    array([5., 5.])
    """

    def multiply(u: Any, p: Any) -> Any:
        size = root(fnp.mean(abs_square(fnp.asarray(p))))
        return cast_like(u * scalar_for(u, fnp.maximum(size, scalar_for(size, min_scale))), u)

    def rescale(grads: Any, params: Any) -> Any:
        return leafwise(multiply, grads, required(params, "params", "scale_by_param_block_rms"))

    return stateless(rescale)


def adafactor(
    learning_rate: ScalarOrSchedule | None = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: float = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: float | None = 1.0,
    momentum: float | None = None,
    weight_decay_rate: ScalarOrSchedule | None = None,
    eps: float = 1e-30,
    factored: bool = True,
    weight_decay_mask: Mask | None = None,
) -> GradientTransformation:
    """Adafactor: Adam's division at the memory of a row and a column.

    For a matrix, at update ``t = 1, 2, ...`` with ``b = 1 - t^-decay_rate``, where ``row`` and ``col`` are means:

        r <- b r + (1 - b) row(|g|^2 + eps)         c <- b c + (1 - b) col(|g|^2 + eps)
        u = g / sqrt(r c / mean(r))
        u <- u / max(1, rms(u) / clipping_threshold)
        p <- p - learning_rate max(rms(p), 0.001) u

    A leaf with fewer than two axes of ``min_dim_size_to_factor`` elements keeps its whole second moment.

    Args:
        learning_rate: a number or a schedule; None for 1.
        min_dim_size_to_factor: the smallest second longest axis that is factored.
        decay_rate, decay_offset: the exponent, and how many updates the count starts late.
        multiply_by_parameter_scale: steps in proportion to the parameter's size; ``update`` then needs ``params``.
        clipping_threshold: None for no clipping.
        momentum: the decay of an average of the steps; None for none.
        weight_decay_rate, weight_decay_mask: subtracts ``weight_decay_rate p`` at each step, whatever the learning rate.
        eps: added to the squares.
        factored: False keeps whole second moments everywhere.

    Source: N. Shazeer and M. Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", ICML 2018,
    algorithms 4 and 5; options as in Optax.

    >>> import numpy as np
    >>> optimizer, params = adafactor(0.1), np.array([3.0, 4.0])
    >>> optimizer.update(np.array([1e-3, -70.0]), optimizer.init(params), params)[0].round(4)
    array([-0.3536,  0.3536])
    """
    steps = [scale_by_factored_rms(factored, decay_rate, decay_offset, min_dim_size_to_factor, eps)]
    if clipping_threshold is not None:
        steps.append(clip_by_block_rms(clipping_threshold))
    if learning_rate is not None:
        steps.append(scale_by_learning_rate(learning_rate, flip_sign=False))
    if multiply_by_parameter_scale:
        steps.append(scale_by_param_block_rms())
    if momentum is not None:
        steps.append(ema(momentum, debias=False))
    if weight_decay_rate is not None:
        steps.append(add_decayed_weights(weight_decay_rate, weight_decay_mask))
    return chain(*steps, scale(-1.0))
