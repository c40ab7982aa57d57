"""Stochastic gradient descent, with momentum and Nesterov's momentum."""

from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import tree

from .base import GradientTransformation, cast_like, chain, hyperparameter, leafwise, scalar_for
from .learning_rate import ScalarOrSchedule, scale_by_learning_rate

__all__ = ["TraceState", "sgd", "trace"]


class TraceState(NamedTuple):
    """The decaying sum of past gradients, a pytree like the parameters, and its decay (float64), which may be set."""

    trace: Any
    decay: Any

    hyperparameters = ("decay",)


def trace(decay: float, nesterov: bool = False) -> GradientTransformation:
    """Replace the gradient by a decaying sum of all gradients so far: momentum.

    ``m <- decay m + g``, and the result is ``m``, or ``decay m + g`` with the new ``m`` when ``nesterov``.

    >>> import numpy as np
    >>> momentum = trace(0.5)
    >>> state = momentum.init(np.zeros(1))
    >>> for _ in range(3):
    ...     updates, state = momentum.update(np.array([1.0]), state)
    >>> updates
    array([1.75])
    """

    def init(params: Any) -> TraceState:
        return TraceState(tree.map(fnp.zeros_like, params), hyperparameter(decay))

    def update(grads: Any, state: TraceState, params: Any = None, **extra: Any) -> tuple[Any, TraceState]:
        def add(g: Any, m: Any) -> Any:
            m = scalar_for(m, state.decay) * m + fnp.asarray(g, dtype=m.dtype)
            u = fnp.asarray(g, dtype=m.dtype) + scalar_for(m, state.decay) * m if nesterov else m
            return cast_like(u, g), m

        updates, new_trace = leafwise(add, grads, state.trace, outputs=2)
        return updates, state._replace(trace=new_trace)

    return GradientTransformation(init, update)


def sgd(
    learning_rate: ScalarOrSchedule, momentum: float | None = None, nesterov: bool = False
) -> GradientTransformation:
    """Stochastic gradient descent: ``p <- p - learning_rate u``, where ``u`` is the gradient or its momentum.

    Without ``momentum``, ``u = g``. With it, ``m <- momentum m + g`` and ``u = m``; with ``nesterov`` also,
    ``u = momentum m + g`` with the new ``m``: the gradient step is taken from where the momentum leads.

    Args:
        learning_rate: a number or a schedule, as in ``scale_by_learning_rate``.
        momentum: the decay of the sum of gradients, from 0 to 1; None for plain descent, which needs no memory.
        nesterov: look ahead by one step; needs ``momentum``.

    Raises:
        ValueError: ``nesterov`` without ``momentum``.

    For the momentum that is an average of gradients, see ``ema_momentum``; for Nesterov's method with the gradient taken
    at the point ahead, ``lookahead_nesterov``.

    Source: I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in deep
    learning", ICML 2013, section 2; the momentum holds gradients, not steps, as in Optax and PyTorch.

    >>> import numpy as np
    >>> from funcgrad.optim import apply_updates
    >>> params = np.float32([1.0, 2.0])
    >>> optimizer = sgd(0.1, momentum=0.9)
    >>> updates, state = optimizer.update(np.float32([1.0, 1.0]), optimizer.init(params), params)
    >>> apply_updates(params, updates)
    array([0.9, 1.9], dtype=float32)
    """
    if momentum is None:
        if nesterov:
            raise ValueError("sgd(nesterov=True) looks ahead along the momentum; give one, as in momentum=0.9")
        return chain(scale_by_learning_rate(learning_rate))
    return chain(trace(momentum, nesterov), scale_by_learning_rate(learning_rate))
