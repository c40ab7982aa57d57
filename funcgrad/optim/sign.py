"""Steps by the sign of the gradient or of its momentum: all of one length."""

from typing import Any, NamedTuple

import funcgrad.numpy as fnp

from .base import (
    GradientTransformation,
    cast_like,
    chain,
    hyperparameter,
    leafwise,
    moving_average,
    no_updates_yet,
    stateless,
    zero_moments,
)
from .learning_rate import ScalarOrSchedule, scale_by_learning_rate
from .weight_decay import Mask, add_decayed_weights

__all__ = ["ScaleByLionState", "lion", "scale_by_lion", "scale_by_sign", "sign_sgd"]


class ScaleByLionState(NamedTuple):
    """How many updates were made (int64), the momentum (a pytree like the parameters, at least float32), and the
    hyper-parameters (float64), which may be set."""

    count: Any
    mu: Any
    b1: Any
    b2: Any

    hyperparameters = ("b1", "b2")


def scale_by_lion(b1: float = 0.9, b2: float = 0.99) -> GradientTransformation:
    """Replace gradients by the sign of their momentum; ``lion`` has the formula.

    >>> import numpy as np
    >>> signs = scale_by_lion()
    >>> signs.update(np.array([3.0, 0.0, -1e-9]), signs.init(np.zeros(3)))[0]
    array([ 1.,  0., -1.])
    """

    def init(params: Any) -> ScaleByLionState:
        return ScaleByLionState(no_updates_yet(), zero_moments(params), hyperparameter(b1), hyperparameter(b2))

    def update(grads: Any, state: ScaleByLionState, params: Any = None, **extra: Any) -> tuple[Any, ScaleByLionState]:
        def step(g: Any, m: Any) -> Any:
            wide = fnp.asarray(g, dtype=m.dtype)
            u = fnp.sign(moving_average(wide, m, state.b1))
            m = moving_average(wide, m, state.b2)
            return cast_like(u, g), m

        updates, mu = leafwise(step, grads, state.mu, outputs=2)
        return updates, state._replace(count=state.count + 1, mu=mu)

    return GradientTransformation(init, update)


def scale_by_sign() -> GradientTransformation:
    """Replace gradients by their sign; that of a complex one is ``g / |g|``.

    >>> import numpy as np
    >>> scale_by_sign().update(np.array([3.0, 0.0, -0.5]), ())[0]
    array([ 1.,  0., -1.])
    """
    return stateless(lambda grads, params: leafwise(fnp.sign, grads))


def lion(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.99,
    weight_decay: ScalarOrSchedule = 1e-3,
    mask: Mask | None = None,
) -> GradientTransformation:
    """Lion: the sign of a momentum that weighs the newest gradient more than its memory does.

        u = sign(b1 m + (1 - b1) g)
        m <- b2 m + (1 - b2) g
        p <- p - learning_rate (u + weight_decay p)

    Every element moves by the learning rate, which should be some ten times smaller than Adam's. ``update`` needs
    ``params``, for the decay; ``mask`` says what decays, as in ``add_decayed_weights``. The derivative of an update
    with respect to gradients is zero.

    Source: X. Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023, algorithm 2.

    >>> import numpy as np
    >>> optimizer, params = lion(0.1, weight_decay=0.5), np.array([1.0, 1.0])
    >>> optimizer.update(np.array([3.0, -1e-9]), optimizer.init(params), params)[0].round(4)
    array([-0.15,  0.05])
    """
    return chain(scale_by_lion(b1, b2), add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))


def sign_sgd(learning_rate: ScalarOrSchedule) -> GradientTransformation:
    """Gradient descent by signs: ``p <- p - learning_rate sign(g)``.

    Source: J. Bernstein et al., "signSGD: Compressed Optimisation for Non-Convex Problems", ICML 2018, algorithm 1.

    >>> import numpy as np
    >>> sign_sgd(0.5).update(np.array([3.0, -0.1]), sign_sgd(0.5).init(np.zeros(2)))[0]
    array([-0.5,  0.5])
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))
