"""Adam: steps scaled by running estimates of the gradient's first two moments."""

from collections.abc import Callable
from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import tree

from .base import GradientTransformation, chain, scalar_for
from .learning_rate import scale_by_learning_rate

__all__ = ["ScaleByAdamState", "adam", "scale_by_adam"]


class ScaleByAdamState(NamedTuple):
    """How many updates were made (int64), the two moments (pytrees like the parameters, at least float32; ``nu``
    real), and the hyper-parameters (float64), which may be set."""

    count: Any
    mu: Any
    nu: Any
    b1: Any
    b2: Any
    eps: Any

    hyperparameters = ("b1", "b2", "eps")


def scale_by_adam(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, eps_root: float = 0.0
) -> GradientTransformation:
    """Rescale gradients as Adam does; ``adam`` has the formula. What comes out still points uphill.

    >>> import numpy as np
    >>> rescale = scale_by_adam()
    >>> updates, state = rescale.update(np.array([1e-3, -1e3]), rescale.init(np.zeros(2)))
    >>> updates.round(4)
    array([ 1., -1.])
    """

    def init(params: Any) -> ScaleByAdamState:
        return ScaleByAdamState(
            fnp.zeros((), fnp.int64),
            tree.map(_zero_moment, params),
            tree.map(lambda p: fnp.real(_zero_moment(p)), params),
            *(fnp.asarray(value, dtype=fnp.float64) for value in (b1, b2, eps)),
        )

    def update(grads: Any, state: ScaleByAdamState, params: Any = None, **extra: Any) -> tuple[Any, ScaleByAdamState]:
        count, b1, b2 = state.count + 1, state.b1, state.b2
        wide = tree.map(lambda g, m: fnp.asarray(g, dtype=m.dtype), grads, state.mu)
        mu = tree.map(lambda g, m: scalar_for(m, b1) * m + scalar_for(m, 1 - b1) * g, wide, state.mu)
        nu = tree.map(lambda g, v: scalar_for(v, b2) * v + scalar_for(v, 1 - b2) * _abs_square(g), wide, state.nu)
        # The moments start at zero and so are too small at first, by the factors 1 - b ** count. The corrections are
        # scalars; dividing by them here, in float64, leaves one multiplication each for the arrays.
        correct_mu, correct_nu = 1 / (1 - b1**count), 1 / (1 - b2**count)

        def rescale(g: Any, m: Any, v: Any) -> Any:
            second = v * scalar_for(v, correct_nu)
            if eps_root:
                second = second + scalar_for(v, eps_root)
            rescaled = m * scalar_for(m, correct_mu) / (fnp.sqrt(second) + scalar_for(v, state.eps))
            return fnp.asarray(rescaled, dtype=fnp.asarray(g).dtype)

        return tree.map(rescale, grads, mu, nu), state._replace(count=count, mu=mu, nu=nu)

    return GradientTransformation(init, update)


def adam(
    learning_rate: float | Callable[[Any], Any],
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
) -> GradientTransformation:
    """Adam: a step of about the learning rate for every parameter, whatever the scale of its gradient.

    At update ``t = 1, 2, ...``, elementwise:

        m <- b1 m + (1 - b1) g
        v <- b2 v + (1 - b2) |g|^2
        p <- p - learning_rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t) + eps_root) + eps)

    Args:
        learning_rate: a number or a schedule, as in ``scale_by_learning_rate``.
        b1, b2: the decays of the first and the second moment, from 0 to 1.
        eps: added outside the root; bounds the step where gradients vanish.
        eps_root: added inside the root; needed only to differentiate through an update whose gradients may be zero.

    The state is that of a chain, ``(ScaleByAdamState, ScaleByLearningRateState)``; ``learning_rate``, ``b1``, ``b2``
    and ``eps`` live in it and are read and set by ``hyperparameters`` and ``with_hyperparameters``.

    Source: D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1;
    ``eps_root`` as in Optax.

    >>> import numpy as np
    >>> from funcgrad.optim import apply_updates
    >>> params = np.float32([1.0, 2.0])
    >>> optimizer = adam(0.1)
    >>> state = optimizer.init(params)
    >>> updates, state = optimizer.update(np.float32([30.0, -0.5]), state, params)
    >>> apply_updates(params, updates)
    array([0.9, 2.1], dtype=float32)
    >>> int(state[0].count)
    1
    """
    return chain(scale_by_adam(b1, b2, eps, eps_root), scale_by_learning_rate(learning_rate))


def _zero_moment(p: Any) -> Any:
    """Zeros like ``p``, but at least float32: in float16 a squared gradient underflows, and so does ``eps``."""
    p = fnp.asarray(p)
    return fnp.zeros_like(p, dtype=fnp.promote_types(p.dtype, fnp.float32))


def _abs_square(x: Any) -> Any:
    if fnp.iscomplexobj(x):
        return fnp.square(fnp.real(x)) + fnp.square(fnp.imag(x))
    return fnp.square(x)
