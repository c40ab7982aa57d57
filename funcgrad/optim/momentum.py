"""Momentum as an average of gradients, and Nesterov's method with the gradient at the point ahead.

``sgd(momentum=)`` adds gradients up, ``m <- b m + g``, as Optax and PyTorch do; textbooks often average them,
``u <- b u + (1 - b) g``. From zero, ``m = u / (1 - b)`` at every step, so that the two take the same path where the
learning rate of the sum is ``1 - b`` times that of the average.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import funcgrad.numpy as fnp

from .base import (
    GradientTransformation,
    cast_like,
    chain,
    correction,
    hyperparameter,
    leafwise,
    moving_average,
    no_updates_yet,
    required,
    scalar_for,
    zero_moments,
)
from .learning_rate import ScalarOrSchedule, scale_by_learning_rate

__all__ = ["EmaState", "LookaheadNesterovState", "ema", "ema_momentum", "lookahead_nesterov"]


class EmaState(NamedTuple):
    """How many updates were made (int64), the average (a pytree like the parameters, at least float32), and its decay
    (float64), which may be set."""

    count: Any
    ema: Any
    decay: Any

    hyperparameters = ("decay",)


def ema(decay: float, debias: bool = True) -> GradientTransformation:
    """Replace the gradient by the exponential moving average of all gradients so far.

    ``u <- decay u + (1 - decay) g`` from ``u = 0``; with ``debias`` the result is ``u / (1 - decay^t)``, the weighted
    mean of the gradients, else ``u``.

    >>> import numpy as np
    >>> average = ema(0.9)
    >>> updates, state = average.update(np.array([1.0, -2.0]), average.init(np.zeros(2)))
    >>> updates
    array([ 1., -2.])
    >>> state.ema.round(12)
    array([ 0.1, -0.2])
    """

    def init(params: Any) -> EmaState:
        return EmaState(no_updates_yet(), zero_moments(params), hyperparameter(decay))

    def update(grads: Any, state: EmaState, params: Any = None, **extra: Any) -> tuple[Any, EmaState]:
        count = state.count + 1
        correct = correction(state.decay, count)

        def average(g: Any, u: Any) -> Any:
            u = moving_average(fnp.asarray(g, dtype=u.dtype), u, state.decay)
            result = u * scalar_for(u, correct) if debias else u
            return cast_like(result, g), u

        updates, averages = leafwise(average, grads, state.ema, outputs=2)
        return updates, state._replace(count=count, ema=averages)

    return GradientTransformation(init, update)


def ema_momentum(learning_rate: ScalarOrSchedule, decay: float = 0.9, debias: bool = False) -> GradientTransformation:
    """Momentum as an average: ``u <- decay u + (1 - decay) g``, ``p <- p - learning_rate u``.

    With ``debias``, unbiased momentum: ``p <- p - learning_rate u / (1 - decay^t)`` at update ``t = 1, 2, ...``, whose
    first step is that of gradient descent, where the first step without is ``1 - decay`` of it.

    ``ema_momentum(a, b)`` takes the path of ``sgd(a * (1 - b), momentum=b)``.

    Source: T. Chen and Z. Kolter, "Deep Learning Systems", lecture 6, "Momentum" and "Unbiasing momentum terms".

    >>> import numpy as np
    >>> for debias in (False, True):
    ...     optimizer = ema_momentum(0.1, 0.9, debias)
    ...     updates, _ = optimizer.update(np.array([1.0]), optimizer.init(np.zeros(1)))
    ...     print(updates.round(12))
    [-0.01]
    [-0.1]
    """
    return chain(ema(decay, debias), scale_by_learning_rate(learning_rate))


class LookaheadNesterovState(NamedTuple):
    """The average of the gradients ahead (a pytree like the parameters, at least float32), its decay and the learning
    rate (float64), which may be set."""

    ema: Any
    decay: Any
    learning_rate: Any

    hyperparameters = ("decay", "learning_rate")


def lookahead_nesterov(learning_rate: float, decay: float = 0.9, exact: bool = True) -> GradientTransformation:
    """Nesterov's momentum as it was first written: the gradient is taken where the momentum is about to lead.

        u <- decay u + (1 - decay) grad_fn(p - learning_rate decay u)
        p <- p - learning_rate u

    ``update(grads, state, params, grad_fn=grad_fn)`` takes the gradient's function, which it calls once; ``grads``
    say the structure only, and may be the gradient at ``params`` or ``params`` themselves.

    Args:
        exact: whether the momentum's own contribution to the step is the point ahead. False is the form of the course
            notes, which looks at ``p - learning_rate u``: beyond it, by ``1 / decay``.

    The points ahead, ``p - learning_rate decay u``, of ``lookahead_nesterov(a, b)`` are those that
    ``sgd(a * (1 - b), momentum=b, nesterov=True)`` passes through from the same start; so Optax and PyTorch spare
    themselves the second function.

    Raises:
        TransformError: ``grad_fn`` or ``params`` is missing.

    Source: Y. Nesterov, "A method of solving a convex programming problem with convergence rate O(1/k^2)", Soviet
    Mathematics Doklady 27 (1983); I. Sutskever et al., ICML 2013, equations 3 and 4; T. Chen and Z. Kolter, "Deep
    Learning Systems", lecture 6, "Nesterov momentum", for ``exact=False``.

    >>> import numpy as np
    >>> optimizer, p = lookahead_nesterov(0.5, 0.5), np.array([1.0])
    >>> state = optimizer.init(p)
    >>> for _ in range(2):
    ...     updates, state = optimizer.update(p, state, p, grad_fn=lambda q: 2 * q)
    ...     p = p + updates
    >>> p  # 1 - 0.5 * 1, then the gradient at 0.5 - 0.25 is 0.5, and 0.5 - 0.5 * (0.5 + 0.25)
    array([0.125])
    """

    def init(params: Any) -> LookaheadNesterovState:
        return LookaheadNesterovState(zero_moments(params), hyperparameter(decay), hyperparameter(learning_rate))

    def update(
        grads: Any,
        state: LookaheadNesterovState,
        params: Any = None,
        *,
        grad_fn: Callable[[Any], Any] | None = None,
        **extra: Any,
    ) -> tuple[Any, LookaheadNesterovState]:
        params = required(params, "params", "lookahead_nesterov")
        distance = state.learning_rate * state.decay if exact else state.learning_rate
        ahead = leafwise(lambda p, u: cast_like(p - scalar_for(u, distance) * u, p), params, state.ema)
        gradients = required(grad_fn, "grad_fn", "lookahead_nesterov")(ahead)

        def average(g: Any, u: Any) -> Any:
            u = moving_average(fnp.asarray(g, dtype=u.dtype), u, state.decay)
            return cast_like(scalar_for(u, -state.learning_rate) * u, g), u

        updates, averages = leafwise(average, gradients, state.ema, outputs=2)
        return updates, state._replace(ema=averages)

    return GradientTransformation(init, update)
