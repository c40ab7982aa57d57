"""AdaGrad, RMSProp and AdaDelta: gradients divided by the root of a sum or an average of their squares."""

from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import tree

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
from .sgd import trace
from .weight_decay import Mask, add_decayed_weights

__all__ = [
    "ScaleByAdadeltaState",
    "ScaleByRmsState",
    "ScaleByRssState",
    "ScaleByStddevState",
    "adadelta",
    "adagrad",
    "rmsprop",
    "scale_by_adadelta",
    "scale_by_rms",
    "scale_by_rss",
    "scale_by_stddev",
]


class ScaleByRssState(NamedTuple):
    """The sum of squares (a real pytree like the parameters, at least float32), and ``eps`` (float64), which may be
    set."""

    sum_of_squares: Any
    eps: Any

    hyperparameters = ("eps",)


class ScaleByRmsState(NamedTuple):
    """How many updates were made (int64), the average of squares (a real pytree like the parameters, at least float32),
    and the hyper-parameters (float64), which may be set. The decay is ``rms_decay``: a momentum has a ``decay`` too."""

    count: Any
    nu: Any
    rms_decay: Any
    eps: Any

    hyperparameters = ("rms_decay", "eps")


class ScaleByStddevState(NamedTuple):
    """As ``ScaleByRmsState``, with the average of the gradients."""

    count: Any
    mu: Any
    nu: Any
    rms_decay: Any
    eps: Any

    hyperparameters = ("rms_decay", "eps")


class ScaleByAdadeltaState(NamedTuple):
    """The averages of the squares of gradients and of steps (real pytrees like the parameters, at least float32), and
    the hyper-parameters (float64), which may be set."""

    e_g: Any
    e_x: Any
    rho: Any
    eps: Any

    hyperparameters = ("rho", "eps")


def scale_by_rss(initial_accumulator_value: float = 0.1, eps: float = 1e-7) -> GradientTransformation:
    """Divide gradients by the root of the sum of their squares; ``adagrad`` has the formula.

    >>> import numpy as np
    >>> rescale = scale_by_rss(0.0)
    >>> rescale.update(np.array([0.0, 2.0]), rescale.init(np.zeros(2)))[0].round(4)
    array([0., 1.])
    """

    def init(params: Any) -> ScaleByRssState:
        return ScaleByRssState(_filled(params, initial_accumulator_value), hyperparameter(eps))

    def update(grads: Any, state: ScaleByRssState, params: Any = None, **extra: Any) -> tuple[Any, ScaleByRssState]:
        def step(g: Any, total: Any) -> Any:
            total = total + abs_square(fnp.asarray(g, dtype=_widened(g, total)))
            return cast_like(g / root(total + scalar_for(total, state.eps)), g), total

        updates, sums = leafwise(step, grads, state.sum_of_squares, outputs=2)
        return updates, state._replace(sum_of_squares=sums)

    return GradientTransformation(init, update)


def scale_by_rms(
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformation:
    """Divide gradients by the root of the average of their squares; ``rmsprop`` has the formula.

    >>> import numpy as np
    >>> rescale = scale_by_rms(bias_correction=True)
    >>> rescale.update(np.array([1.0, -5.0]), rescale.init(np.zeros(2)))[0].round(4)
    array([ 1., -1.])
    """

    def init(params: Any) -> ScaleByRmsState:
        nu = _filled(params, initial_scale)
        return ScaleByRmsState(no_updates_yet(), nu, hyperparameter(decay), hyperparameter(eps))

    def update(grads: Any, state: ScaleByRmsState, params: Any = None, **extra: Any) -> tuple[Any, ScaleByRmsState]:
        count = state.count + 1
        correct = correction(state.rms_decay, count) if bias_correction else None

        def step(g: Any, v: Any) -> Any:
            v = moving_average(abs_square(fnp.asarray(g, dtype=_widened(g, v))), v, state.rms_decay)
            second = v if correct is None else v * scalar_for(v, correct)
            return cast_like(g / _root_plus(second, state.eps, eps_in_sqrt), g), v

        updates, nu = leafwise(step, grads, state.nu, outputs=2)
        return updates, state._replace(count=count, nu=nu)

    return GradientTransformation(init, update)


def scale_by_stddev(
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformation:
    """Divide gradients by their running standard deviation; ``rmsprop(centered=True)`` has the formula.

    >>> import numpy as np
    >>> rescale = scale_by_stddev(decay=0.5)
    >>> rescale.update(np.array([2.0]), rescale.init(np.zeros(1)))[0].round(4)  # 2 / sqrt(2 - 1)
    array([2.])
    """

    def init(params: Any) -> ScaleByStddevState:
        nu = _filled(params, initial_scale)
        return ScaleByStddevState(
            no_updates_yet(), zero_moments(params), nu, hyperparameter(decay), hyperparameter(eps)
        )

    def update(grads: Any, state: ScaleByStddevState, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        count = state.count + 1
        correct = correction(state.rms_decay, count) if bias_correction else None

        def step(g: Any, m: Any, v: Any) -> Any:
            wide = fnp.asarray(g, dtype=m.dtype)
            m = moving_average(wide, m, state.rms_decay)
            v = moving_average(abs_square(wide), v, state.rms_decay)
            mean, second = (m, v) if correct is None else (m * scalar_for(m, correct), v * scalar_for(v, correct))
            # No variance is negative, but the difference of two nearly equal numbers may be.
            variance = fnp.maximum(second - abs_square(mean), scalar_for(v, 0.0))
            return cast_like(g / _root_plus(variance, state.eps, eps_in_sqrt), g), m, v

        updates, mu, nu = leafwise(step, grads, state.mu, state.nu, outputs=3)
        return updates, state._replace(count=count, mu=mu, nu=nu)

    return GradientTransformation(init, update)


def scale_by_adadelta(rho: float = 0.9, eps: float = 1e-6) -> GradientTransformation:
    """Rescale gradients as AdaDelta does; ``adadelta`` has the formula.

    >>> import numpy as np
    >>> rescale = scale_by_adadelta(rho=0.5, eps=1e-2)
    >>> rescale.update(np.array([1.0]), rescale.init(np.zeros(1)))[0].round(4)  # 0.1 / sqrt(0.51)
    array([0.14])
    """

    def init(params: Any) -> ScaleByAdadeltaState:
        zeros = [zero_moments(params, real=True) for _ in range(2)]
        return ScaleByAdadeltaState(*zeros, hyperparameter(rho), hyperparameter(eps))

    def update(grads: Any, state: ScaleByAdadeltaState, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        def step(g: Any, e_g: Any, e_x: Any) -> Any:
            wide, eps = fnp.asarray(g, dtype=_widened(g, e_g)), scalar_for(e_g, state.eps)
            e_g = moving_average(abs_square(wide), e_g, state.rho)
            u = fnp.sqrt((e_x + eps) / (e_g + eps)) * wide
            return cast_like(u, g), e_g, moving_average(abs_square(u), e_x, state.rho)

        updates, e_g, e_x = leafwise(step, grads, state.e_g, state.e_x, outputs=3)
        return updates, state._replace(e_g=e_g, e_x=e_x)

    return GradientTransformation(init, update)


def adagrad(
    learning_rate: ScalarOrSchedule, initial_accumulator_value: float = 0.1, eps: float = 1e-7
) -> GradientTransformation:
    """AdaGrad: ``s <- s + |g|^2``, ``p <- p - learning_rate g / sqrt(s + eps)``; steps that shrink for ever.

    ``s`` starts at ``initial_accumulator_value``.

    Source: J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization", JMLR 12 (2011), figure 1, the diagonal case; the starting value and ``eps`` as in Optax.

    >>> import numpy as np
    >>> optimizer = adagrad(0.1, initial_accumulator_value=0.0)
    >>> state = optimizer.init(np.zeros(1))
    >>> for _ in range(4):
    ...     updates, state = optimizer.update(np.array([3.0]), state)
    >>> updates.round(4)  # a fourth step is half as long as the first
    array([-0.05])
    """
    return chain(scale_by_rss(initial_accumulator_value, eps), scale_by_learning_rate(learning_rate))


def rmsprop(
    learning_rate: ScalarOrSchedule,
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: float | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> GradientTransformation:
    """RMSProp: ``v <- decay v + (1 - decay) |g|^2``, ``p <- p - learning_rate g / sqrt(v + eps)``.

    Args:
        learning_rate: a number or a schedule.
        decay: of the average of squares, from 0 to 1; in the state it is ``rms_decay``.
        eps: added to ``v``; with ``eps_in_sqrt=False`` to its root.
        initial_scale: what ``v`` starts at.
        centered: divide by the standard deviation: ``v - |m|^2`` for ``v``, where ``m`` is the average of ``g``.
        momentum: if given, the steps are summed up with this decay, as in ``trace``, learning rate and all.
        nesterov: of the momentum.
        bias_correction: divide the averages by ``1 - decay^t``.

    Raises:
        ValueError: ``nesterov`` without ``momentum``.

    Source: T. Tieleman and G. Hinton, "Lecture 6.5: rmsprop", Coursera 2012; centered: A. Graves, "Generating
    Sequences With Recurrent Neural Networks", 2013, equations 38 to 41.

    >>> import numpy as np
    >>> optimizer = rmsprop(0.1, decay=0.75)
    >>> optimizer.update(np.array([3.0, -0.5]), optimizer.init(np.zeros(2)))[0].round(4)  # 0.1 / sqrt(0.25)
    array([-0.2,  0.2])
    """
    if nesterov and momentum is None:
        raise ValueError("rmsprop(nesterov=True) looks ahead along the momentum; give one, as in momentum=0.9")
    rescale = (scale_by_stddev if centered else scale_by_rms)(decay, eps, initial_scale, eps_in_sqrt, bias_correction)
    steps = [rescale, scale_by_learning_rate(learning_rate)]
    return chain(*steps) if momentum is None else chain(*steps, trace(momentum, nesterov))


def adadelta(
    learning_rate: ScalarOrSchedule = 1.0,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask | None = None,
) -> GradientTransformation:
    """AdaDelta: steps in the units of the parameters, for the root of the mean square of past steps stands above.

        e_g <- rho e_g + (1 - rho) |g|^2
        u = sqrt(e_x + eps) / sqrt(e_g + eps) g
        e_x <- rho e_x + (1 - rho) |u|^2
        p <- p - learning_rate u

    Args:
        learning_rate: a number or a schedule; the paper has none, which is 1.
        weight_decay, weight_decay_mask: coupled weight decay, as in ``add_decayed_weights``.

    Source: M. D. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1.

    >>> import numpy as np
    >>> optimizer = adadelta(rho=0.5, eps=1e-2)
    >>> optimizer.update(np.array([1.0]), optimizer.init(np.zeros(1)))[0].round(4)
    array([-0.14])
    """
    decay = add_decayed_weights(weight_decay, weight_decay_mask)
    return chain(decay, scale_by_adadelta(rho, eps), scale_by_learning_rate(learning_rate))


def _filled(params: Any, value: float) -> Any:
    return tree.map(lambda zeros: fnp.full_like(zeros, value), zero_moments(params, real=True))


def _root_plus(second: Any, eps: Any, inside: bool) -> Any:
    eps = scalar_for(second, eps)
    return root(second + eps) if inside else root(second) + eps


def _widened(g: Any, moment: Any) -> Any:
    return fnp.promote_types(fnp.asarray(g).dtype, moment.dtype)
