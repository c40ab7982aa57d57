"""Gradient accumulation: one update for the gradients of several small batches."""

from collections.abc import Callable
from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import lax

from .base import GradientTransformation, cast_like, leafwise, no_updates_yet, scalar_for, zero_moments

__all__ = ["MultiStepsState", "multi_steps"]


class MultiStepsState(NamedTuple):
    """How many gradients are accumulated and how many updates were made (int64), the inner state, and the accumulated
    gradients (a pytree like the parameters, at least float32)."""

    mini_step: Any
    gradient_step: Any
    inner: Any
    acc_grads: Any

    inner_states = ("inner",)


def multi_steps(
    inner: GradientTransformation,
    every_k_schedule: int | Callable[[Any], Any],
    use_grad_mean: bool = True,
) -> GradientTransformation:
    """Accumulate ``k`` gradients, then update once with their mean; the updates in between are zeros.

    Args:
        inner: the optimizer. It runs at every ``k``-th call only, and its step counts and schedules count these.
        every_k_schedule: ``k``, or a function of the number of updates made so far that returns it.
        use_grad_mean: False for the sum.

    As Optax's ``MultiSteps(inner, k).gradient_transformation()``. With batches of one size, the mean is the gradient of
    the mean loss over all of them.

    Raises:
        ValueError: ``k`` is a number less than 1.

    >>> import numpy as np
    >>> from funcgrad.optim import sgd
    >>> optimizer = multi_steps(sgd(1.0), 2)
    >>> state = optimizer.init(np.zeros(1))
    >>> for g in (1.0, 3.0, 5.0):
    ...     updates, state = optimizer.update(np.array([g]), state)
    ...     print(updates)
    [0.]
    [-2.]
    [0.]
    """
    if not callable(every_k_schedule) and every_k_schedule < 1:
        raise ValueError(f"multi_steps needs at least one gradient for an update, not {every_k_schedule}")

    def init(params: Any) -> MultiStepsState:
        return MultiStepsState(no_updates_yet(), no_updates_yet(), inner.init(params), zero_moments(params))

    def update(grads: Any, state: MultiStepsState, params: Any = None, **extra: Any) -> tuple[Any, MultiStepsState]:
        k = every_k_schedule(state.gradient_step) if callable(every_k_schedule) else every_k_schedule
        number = state.mini_step + 1

        def accumulate(g: Any, total: Any) -> Any:
            g = fnp.asarray(g, dtype=total.dtype)
            return total + (g - total) / scalar_for(total, number) if use_grad_mean else total + g

        accumulated = leafwise(accumulate, grads, state.acc_grads)

        def emit() -> tuple[Any, MultiStepsState]:
            mean = leafwise(lambda total, g: cast_like(total, g), accumulated, grads)
            updates, inner_state = inner.update(mean, state.inner, params, **extra)
            zeros = leafwise(fnp.zeros_like, accumulated)
            return updates, MultiStepsState(no_updates_yet(), state.gradient_step + 1, inner_state, zeros)

        def wait() -> tuple[Any, MultiStepsState]:
            zeros = leafwise(lambda g: fnp.zeros_like(fnp.asarray(g)), grads)
            return zeros, state._replace(mini_step=number, acc_grads=accumulated)

        return lax.cond(number >= k, emit, wait)

    return GradientTransformation(init, update)
