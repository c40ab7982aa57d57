"""The step size: the transformation that ends a chain, from a number or from a schedule."""

from collections.abc import Callable
from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import tree

from .base import GradientTransformation, scalar_for

__all__ = ["ScaleByLearningRateState", "ScaleByScheduleState", "scale_by_learning_rate"]


class ScaleByLearningRateState(NamedTuple):
    """How many updates were made (int64), and the learning rate of the next one (float64), which may be set."""

    count: Any
    learning_rate: Any

    hyperparameters = ("learning_rate",)


class ScaleByScheduleState(NamedTuple):
    """How many updates were made (int64), and the learning rate that the schedule gives for the next one."""

    count: Any
    learning_rate: Any


def scale_by_learning_rate(learning_rate: float | Callable[[Any], Any]) -> GradientTransformation:
    """Multiply gradients by minus the learning rate, so that adding the result to the parameters descends.

    Args:
        learning_rate: a number, kept in the state; or a schedule, a function of the number of updates made so far (an
            int64 scalar, 0 at first, traced under ``jit``) that returns one.

    >>> import numpy as np
    >>> halving = scale_by_learning_rate(lambda count: 0.5 ** count)
    >>> state = halving.init(np.zeros(1))
    >>> for _ in range(3):
    ...     updates, state = halving.update(np.array([1.0]), state)
    >>> updates
    array([-0.25])
    >>> float(state.learning_rate)
    0.125
    """
    if callable(learning_rate):
        return _scale_by_schedule(learning_rate)

    def init(params: Any) -> ScaleByLearningRateState:
        return ScaleByLearningRateState(fnp.zeros((), fnp.int64), fnp.asarray(learning_rate, dtype=fnp.float64))

    def update(grads: Any, state: ScaleByLearningRateState, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        return _descend(grads, state.learning_rate), state._replace(count=state.count + 1)

    return GradientTransformation(init, update)


def _scale_by_schedule(schedule: Callable[[Any], Any]) -> GradientTransformation:
    def at(count: Any) -> ScaleByScheduleState:
        return ScaleByScheduleState(count, fnp.asarray(schedule(count), dtype=fnp.float64))

    def init(params: Any) -> ScaleByScheduleState:
        return at(fnp.zeros((), fnp.int64))

    def update(grads: Any, state: ScaleByScheduleState, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        return _descend(grads, state.learning_rate), at(state.count + 1)

    return GradientTransformation(init, update)


def _descend(grads: Any, learning_rate: Any) -> Any:
    return tree.map(lambda g: scalar_for(g, -learning_rate) * g, grads)
