"""The step size: the transformation that ends a chain, from a number or from a schedule."""

from collections.abc import Callable
from typing import Any, NamedTuple

from .base import GradientTransformation, hyperparameter, leafwise, no_updates_yet, scalar_for, stateless
from .hyperparameters import with_schedules

__all__ = ["ScaleByLearningRateState", "ScalarOrSchedule", "scale", "scale_by_learning_rate"]

#: A number; or a schedule, a function of the number of updates made so far (int64, 0 at first, traced under ``jit``).
ScalarOrSchedule = float | Callable[[Any], Any]


class ScaleByLearningRateState(NamedTuple):
    """How many updates were made (int64), and the learning rate of the next one (float64), which may be set."""

    count: Any
    learning_rate: Any

    hyperparameters = ("learning_rate",)


def scale_by_learning_rate(learning_rate: ScalarOrSchedule, *, flip_sign: bool = True) -> GradientTransformation:
    """Multiply gradients by minus the learning rate, so that adding the result to the parameters descends.

    Args:
        learning_rate: a number, kept in the state; or a schedule, a function of the number of updates made so far (an
            int64 scalar, 0 at first, traced under ``jit``) that returns one. See ``with_schedules``.
        flip_sign: False to multiply by the learning rate as it is.

    >>> import numpy as np
    >>> from funcgrad.optim import hyperparameters
    >>> halving = scale_by_learning_rate(lambda count: 0.5 ** count)
    >>> state = halving.init(np.zeros(1))
    >>> for _ in range(3):
    ...     updates, state = halving.update(np.array([1.0]), state)
    >>> updates
    array([-0.25])
    >>> float(hyperparameters(state)["learning_rate"])
    0.125
    """
    if callable(learning_rate):
        return with_schedules(scale_by_learning_rate(0.0, flip_sign=flip_sign), learning_rate=learning_rate)

    def init(params: Any) -> ScaleByLearningRateState:
        return ScaleByLearningRateState(no_updates_yet(), hyperparameter(learning_rate))

    def update(grads: Any, state: ScaleByLearningRateState, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        factor = -state.learning_rate if flip_sign else state.learning_rate
        return leafwise(lambda g: scalar_for(g, factor) * g, grads), state._replace(count=state.count + 1)

    return GradientTransformation(init, update)


def scale(step_size: float) -> GradientTransformation:
    """Multiply gradients by a number that never changes, such as -1.

    >>> import numpy as np
    >>> scale(-1.0).update(np.array([2.0, -3.0]), ())
    (array([-2.,  3.]), ())
    """
    return stateless(lambda grads, params: leafwise(lambda g: scalar_for(g, step_size) * g, grads))
