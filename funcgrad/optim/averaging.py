"""Averages of parameters: their exponential moving average, and look-ahead."""

from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import tree

from .base import GradientTransformation, cast_like, hyperparameter, leafwise, no_updates_yet, required, scalar_for

__all__ = ["EmaParamsState", "LookaheadState", "ema_params", "incremental_update", "lookahead"]


class EmaParamsState(NamedTuple):
    """The average of the parameters (a pytree like them, in their dtypes), and its decay (float64), which may be set."""

    ema: Any
    decay: Any

    hyperparameters = ("decay",)


class LookaheadState(NamedTuple):
    """How many updates were made since the last synchronisation (int64), the state of the fast optimizer, the slow
    parameters (a pytree like the parameters), and the slow step's size (float64), which may be set."""

    steps_since_sync: Any
    fast: Any
    slow: Any
    slow_step_size: Any

    hyperparameters = ("slow_step_size",)
    inner_states = ("fast",)


def incremental_update(new_tensors: Any, old_tensors: Any, step_size: float) -> Any:
    """``old + step_size (new - old)``, leaf by leaf, in the dtypes of ``old``.

    >>> import numpy as np
    >>> incremental_update(np.array([1.0]), np.array([0.0]), 0.25)
    array([0.25])
    """

    def move(old: Any, new: Any) -> Any:
        return cast_like(old + scalar_for(old, step_size) * (new - old), old)

    return leafwise(move, old_tensors, new_tensors)


def ema_params(decay: float) -> GradientTransformation:
    """Keep an exponential moving average of the parameters: ``e <- decay e + (1 - decay) p``.

    It goes last into a chain, where its input is the step: the average is of the parameters after the step. Updates
    pass unchanged. The average, ``state[-1].ema``, starts at the first parameters, so that there is no bias to correct;
    one evaluates with it, or ends with it. ``update`` needs ``params``.

    Source: B. T. Polyak and A. B. Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control
    and Optimization 30 (1992), for averages; exponential ones as in D. P. Kingma and J. Ba, ICLR 2015, section 7.2.

    >>> import numpy as np
    >>> from funcgrad.optim import chain, sgd
    >>> optimizer, params = chain(sgd(1.0), ema_params(0.75)), np.array([4.0])
    >>> updates, state = optimizer.update(np.array([4.0]), optimizer.init(params), params)
    >>> params + updates, state[-1].ema
    (array([0.]), array([3.]))
    """

    def init(params: Any) -> EmaParamsState:
        return EmaParamsState(tree.map(fnp.array, params), hyperparameter(decay))

    def update(grads: Any, state: EmaParamsState, params: Any = None, **extra: Any) -> tuple[Any, EmaParamsState]:
        stepped = leafwise(lambda u, p: p + u, grads, required(params, "params", "ema_params"))
        return grads, state._replace(ema=incremental_update(stepped, state.ema, 1 - state.decay))

    return GradientTransformation(init, update)


def lookahead(
    fast_optimizer: GradientTransformation, sync_period: int, slow_step_size: float, reset_state: bool = False
) -> GradientTransformation:
    """Look-ahead: every ``sync_period`` steps of a fast optimizer, go only a part of the way that they led.

    The slow parameters ``s`` start at ``p``. After each ``sync_period`` steps of the fast optimizer,
    ``s <- s + slow_step_size (p - s)`` and ``p <- s``. The slow parameters are in the state, and ``params`` are the
    fast ones; Optax has both in ``params``, as a pair.

    Args:
        fast_optimizer: any optimizer.
        sync_period: how many steps it takes, at least 1.
        slow_step_size: from 0 to 1.
        reset_state: start the fast optimizer afresh after each synchronisation.

    ``update`` needs ``params``.

    Raises:
        ValueError: ``sync_period`` is less than 1.

    Source: M. R. Zhang, J. Lucas, G. Hinton, J. Ba, "Lookahead Optimizer: k steps forward, 1 step back", NeurIPS 2019,
    algorithm 1.

    >>> import numpy as np
    >>> from funcgrad.optim import apply_updates, sgd
    >>> optimizer, params = lookahead(sgd(1.0), sync_period=2, slow_step_size=0.5), np.array([0.0])
    >>> state = optimizer.init(params)
    >>> for _ in range(2):
    ...     updates, state = optimizer.update(np.array([-1.0]), state, params)
    ...     params = apply_updates(params, updates)
    ...     print(params)
    [1.]
    [1.]
    """
    if sync_period < 1:
        raise ValueError(f"lookahead needs a sync_period of at least 1, not {sync_period}")

    def init(params: Any) -> LookaheadState:
        slow = tree.map(fnp.array, params)
        return LookaheadState(no_updates_yet(), fast_optimizer.init(params), slow, hyperparameter(slow_step_size))

    def update(grads: Any, state: LookaheadState, params: Any = None, **extra: Any) -> tuple[Any, LookaheadState]:
        params = required(params, "params", "lookahead")
        updates, fast = fast_optimizer.update(grads, state.fast, params, **extra)
        stepped = leafwise(lambda u, p: p + u, updates, params)
        sync = state.steps_since_sync + 1 >= sync_period
        moved = incremental_update(stepped, state.slow, state.slow_step_size)
        slow = leafwise(lambda new, old: fnp.where(sync, new, old), moved, state.slow)

        def step(u: Any, new: Any, p: Any) -> Any:
            return cast_like(fnp.where(sync, new - p, u), u)

        updates = leafwise(step, updates, slow, params)
        if reset_state:
            fast = leafwise(lambda now, first: fnp.where(sync, first, now), fast, fast_optimizer.init(params))
        count = fnp.where(sync, 0, state.steps_since_sync + 1)
        return updates, state._replace(steps_since_sync=count, fast=fast, slow=slow)

    return GradientTransformation(init, update)
