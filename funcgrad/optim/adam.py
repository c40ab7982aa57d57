"""Adam and what differs from it by a term: steps scaled by running estimates of the gradient's first two moments."""

from typing import Any, NamedTuple

import funcgrad.numpy as fnp

from .base import (
    GradientTransformation,
    abs_square,
    cast_like,
    chain,
    correction,
    hyperparameter,
    leafwise,
    moving_average,
    no_updates_yet,
    root,
    scalar_for,
    zero_moments,
)
from .learning_rate import ScalarOrSchedule, scale_by_learning_rate
from .weight_decay import Mask, add_decayed_weights

__all__ = [
    "ScaleByAdamState",
    "ScaleByAmsgradState",
    "adam",
    "adamw",
    "amsgrad",
    "nadam",
    "nadamw",
    "radam",
    "scale_by_adam",
    "scale_by_amsgrad",
    "scale_by_radam",
]


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


class ScaleByAmsgradState(NamedTuple):
    """As ``ScaleByAdamState``, with the largest second moment so far."""

    count: Any
    mu: Any
    nu: Any
    nu_max: Any
    b1: Any
    b2: Any
    eps: Any

    hyperparameters = ("b1", "b2", "eps")


def scale_by_adam(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    *,
    nesterov: bool = False,
    bias_correction: bool = True,
) -> GradientTransformation:
    """Rescale gradients as Adam does; ``adam`` has the formula. What comes out still points uphill.

    >>> import numpy as np
    >>> rescale = scale_by_adam()
    >>> updates, state = rescale.update(np.array([1e-3, -1e3]), rescale.init(np.zeros(2)))
    >>> updates.round(4)
    array([ 1., -1.])
    """

    def update(grads: Any, state: ScaleByAdamState, params: Any = None, **extra: Any) -> tuple[Any, ScaleByAdamState]:
        count = state.count + 1
        terms = _first_moment_terms(state, count, nesterov, bias_correction)
        correct_nu = correction(state.b2, count) if bias_correction else 1.0

        def step(g: Any, m: Any, v: Any) -> Any:
            m, v, wide = _moments(g, m, v, state)
            return cast_like(_quotient(wide, m, v, terms, correct_nu, eps_root, state.eps), g), m, v

        updates, mu, nu = leafwise(step, grads, state.mu, state.nu, outputs=3)
        return updates, state._replace(count=count, mu=mu, nu=nu)

    return GradientTransformation(_adam_init(b1, b2, eps), update)


def scale_by_radam(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    threshold: float = 5.0,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Rescale gradients as RAdam does; ``radam`` has the formula.

    >>> import numpy as np
    >>> rescale = scale_by_radam()
    >>> updates, state = rescale.update(np.array([0.25, -4.0]), rescale.init(np.zeros(2)))
    >>> updates.round(4)  # too early to divide
    array([ 0.25, -4.  ])
    """

    def update(grads: Any, state: ScaleByAdamState, params: Any = None, **extra: Any) -> tuple[Any, ScaleByAdamState]:
        count = state.count + 1
        terms, correct_nu = _first_moment_terms(state, count, nesterov, True), correction(state.b2, count)
        longest = 2 / (1 - state.b2) - 1
        length = longest - 2 * count * (correct_nu - 1)
        trusted = length >= threshold
        safe = fnp.where(trusted, length, 5.0)
        rectifier = root((safe - 4) * (safe - 2) * longest / ((longest - 4) * (longest - 2) * safe))

        def step(g: Any, m: Any, v: Any) -> Any:
            m, v, wide = _moments(g, m, v, state)
            adaptive = scalar_for(v, rectifier) * _quotient(wide, m, v, terms, correct_nu, eps_root, state.eps)
            return cast_like(fnp.where(trusted, adaptive, _first_moment(wide, m, terms)), g), m, v

        updates, mu, nu = leafwise(step, grads, state.mu, state.nu, outputs=3)
        return updates, state._replace(count=count, mu=mu, nu=nu)

    return GradientTransformation(_adam_init(b1, b2, eps), update)


def scale_by_amsgrad(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> GradientTransformation:
    """Rescale gradients as AMSGrad does; ``amsgrad`` has the formula.

    >>> import numpy as np
    >>> rescale = scale_by_amsgrad()
    >>> updates, state = rescale.update(np.array([1e-3, -1e3]), rescale.init(np.zeros(2)))
    >>> updates.round(4)
    array([ 1., -1.])
    """

    def init(params: Any) -> ScaleByAmsgradState:
        real = zero_moments(params, real=True)
        hyper = [hyperparameter(value) for value in (b1, b2, eps)]
        return ScaleByAmsgradState(
            no_updates_yet(), zero_moments(params), real, zero_moments(params, real=True), *hyper
        )

    def update(grads: Any, state: ScaleByAmsgradState, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        count = state.count + 1
        terms = _first_moment_terms(state, count, False, bias_correction_mu)
        correct_nu = correction(state.b2, count) if bias_correction_nu else 1.0

        def step(g: Any, m: Any, v: Any, largest: Any) -> Any:
            m, v, wide = _moments(g, m, v, state)
            largest = fnp.maximum(largest, v * scalar_for(v, correct_nu))
            return cast_like(_quotient(wide, m, largest, terms, 1.0, eps_root, state.eps), g), m, v, largest

        updates, mu, nu, nu_max = leafwise(step, grads, state.mu, state.nu, state.nu_max, outputs=4)
        return updates, state._replace(count=count, mu=mu, nu=nu, nu_max=nu_max)

    return GradientTransformation(init, update)


def adam(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    *,
    nesterov: bool = False,
    bias_correction: bool = True,
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
        eps_root: added inside the root. The derivative of an update is right without it, at zero gradients too.
        nesterov: see ``nadam``.
        bias_correction: False divides ``m`` by ``sqrt(v) + eps`` as they are, as the course notes write it: the first
            steps are ``(1 - b1) / sqrt(1 - b2)`` times as long, 3.2 by default.

    The state is that of a chain, ``(ScaleByAdamState, ScaleByLearningRateState)``; ``learning_rate``, ``b1``, ``b2``
    and ``eps`` live in it and are read and set by ``hyperparameters`` and ``with_hyperparameters``. A complex parameter
    has a real second moment, that of its absolute value, so that its step does not depend on its argument.

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
    rescale = scale_by_adam(b1, b2, eps, eps_root, nesterov=nesterov, bias_correction=bias_correction)
    return chain(rescale, scale_by_learning_rate(learning_rate))


def nadam(
    learning_rate: ScalarOrSchedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, eps_root: float = 0.0
) -> GradientTransformation:
    """Adam with Nesterov's momentum: the first moment is that of one step ahead.

    As ``adam``, with ``b1 m / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)`` for ``m / (1 - b1^t)``.

    Source: T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016, algorithm 2 with constant b1.

    >>> import numpy as np
    >>> optimizer = nadam(0.1)
    >>> updates, state = optimizer.update(np.array([30.0, -0.5]), optimizer.init(np.zeros(2)))
    >>> updates.round(4)  # -0.1 (0.9 * 0.1 / (1 - 0.81) + 1)
    array([-0.1474,  0.1474])
    """
    return adam(learning_rate, b1, b2, eps, eps_root, nesterov=True)


def adamw(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Adam with decoupled weight decay: ``p <- p - learning_rate (adam's quotient + weight_decay p)``.

    The decay is not divided by the root of the second moment, as it would be if ``weight_decay p`` were added to the
    gradient: ``chain(add_decayed_weights(w), adam(lr))`` does that.

    Args:
        learning_rate, b1, b2, eps, eps_root, nesterov: as in ``adam``.
        weight_decay: a number or a schedule.
        mask: which parameters decay, as in ``add_decayed_weights``; all by default.

    ``update`` needs ``params``.

    Source: I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2, with the
    decay scaled by the learning rate, as in Optax and PyTorch.

    >>> import numpy as np
    >>> params = {"w": np.array([2.0]), "b": np.array([2.0])}
    >>> optimizer = adamw(0.1, weight_decay=0.01, mask={"w": True, "b": False})
    >>> zeros = {"w": np.zeros(1), "b": np.zeros(1)}
    >>> updates, state = optimizer.update(zeros, optimizer.init(params), params)
    >>> updates["w"], updates["b"]
    (array([-0.002]), array([-0.]))
    """
    rescale = scale_by_adam(b1, b2, eps, eps_root, nesterov=nesterov)
    return chain(rescale, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))


def nadamw(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Mask | None = None,
) -> GradientTransformation:
    """``nadam`` with the decoupled weight decay of ``adamw``.

    >>> import numpy as np
    >>> optimizer = nadamw(0.1, weight_decay=0.01)
    >>> updates, _ = optimizer.update(np.zeros(1), optimizer.init(np.ones(1)), np.ones(1))
    >>> updates
    array([-0.001])
    """
    return adamw(learning_rate, b1, b2, eps, eps_root, weight_decay, mask, nesterov=True)


def radam(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    threshold: float = 5.0,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Rectified Adam: Adam that does not divide until its second moment has averaged enough gradients.

    With ``m``, ``v`` as in ``adam``, their corrected ``m'``, ``v'``, ``n_max = 2 / (1 - b2) - 1`` and
    ``n = n_max - 2 t b2^t / (1 - b2^t)``, the length of the average:

        u = m' / (sqrt(v' + eps_root) + eps) sqrt(((n - 4)(n - 2) n_max) / ((n_max - 4)(n_max - 2) n))  if n >= threshold
        u = m'                                                                                          else
        p <- p - learning_rate u

    Source: L. Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", ICLR 2020, algorithm 2.

    >>> import numpy as np
    >>> optimizer = radam(0.1)
    >>> state = optimizer.init(np.zeros(1))
    >>> for _ in range(6):
    ...     updates, state = optimizer.update(np.array([3.0]), state)
    ...     print(updates.round(4))
    [-0.3]
    [-0.3]
    [-0.3]
    [-0.3]
    [-0.3]
    [-0.0026]
    """
    rescale = scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov)
    return chain(rescale, scale_by_learning_rate(learning_rate))


def amsgrad(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> GradientTransformation:
    """AMSGrad: Adam whose division never shrinks, for the largest second moment so far stands in it.

    As ``adam``, with ``v_max <- max(v_max, v / (1 - b2^t))`` for ``v / (1 - b2^t)``. The two flags say whether the
    moments are corrected for their start at zero.

    Source: S. J. Reddi, S. Kale, S. Kumar, "On the Convergence of Adam and Beyond", ICLR 2018, algorithm 2; the
    corrections as in Optax.

    >>> import numpy as np
    >>> optimizer = amsgrad(0.1, b1=0.0, b2=0.5)
    >>> state = optimizer.init(np.zeros(1))
    >>> for g in (3.0, 1.0):
    ...     updates, state = optimizer.update(np.array([g]), state)
    >>> updates.round(4)  # still divided by 3
    array([-0.0333])
    """
    rescale = scale_by_amsgrad(b1, b2, eps, eps_root, bias_correction_mu, bias_correction_nu)
    return chain(rescale, scale_by_learning_rate(learning_rate))


# The parts ------------------------------------------------------------------------------------------------------------


def _adam_init(b1: Any, b2: Any, eps: Any) -> Any:
    def init(params: Any) -> ScaleByAdamState:
        hyper = [hyperparameter(value) for value in (b1, b2, eps)]
        return ScaleByAdamState(no_updates_yet(), zero_moments(params), zero_moments(params, real=True), *hyper)

    return init


def _moments(g: Any, m: Any, v: Any, state: Any) -> tuple[Any, Any, Any]:
    """The next moments of one leaf, and its gradient in their precision."""
    g = fnp.asarray(g, dtype=m.dtype)
    m = moving_average(g, m, state.b1)
    v = moving_average(abs_square(g), v, state.b2)
    return m, v, g


def _first_moment_terms(state: Any, count: Any, nesterov: bool, corrected: bool) -> tuple[Any, Any]:
    """The first moment in the numerator is ``a m + b g``; these are the scalars a and b, which is None for none."""
    if not nesterov:
        return (correction(state.b1, count) if corrected else 1.0), None
    if not corrected:
        return state.b1, 1 - state.b1
    return state.b1 * correction(state.b1, count + 1), (1 - state.b1) * correction(state.b1, count)


def _first_moment(g: Any, m: Any, terms: tuple[Any, Any]) -> Any:
    m_scale, g_scale = terms
    scaled = scalar_for(m, m_scale) * m
    return scaled if g_scale is None else scaled + scalar_for(m, g_scale) * g


def _quotient(g: Any, m: Any, v: Any, terms: tuple[Any, Any], correct_nu: Any, eps_root: Any, eps: Any) -> Any:
    """``(a m + b g) / (sqrt(c v + eps_root) + eps)``, with as few operations on arrays as it takes."""
    m_scale, g_scale = terms
    if g_scale is None and not eps_root:
        # Divided by a, above and below: (m / (sqrt(v) sqrt(c) / a + eps / a)). The scalars are float64.
        return m / (root(v) * scalar_for(v, correct_nu**0.5 / m_scale) + scalar_for(v, eps / m_scale))
    second = v * scalar_for(v, correct_nu)
    if eps_root:
        second = second + scalar_for(v, eps_root)
    return _first_moment(g, m, terms) / (root(second) + scalar_for(v, eps))
