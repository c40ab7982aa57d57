"""LARS and LAMB: every leaf takes a step in proportion to its own norm, for training with large batches."""

from typing import Any, NamedTuple

import funcgrad.numpy as fnp

from .adam import scale_by_adam
from .base import GradientTransformation, cast_like, chain, hyperparameter, leafwise, norm, required, scalar_for
from .learning_rate import ScalarOrSchedule, scale_by_learning_rate
from .masking import Mask, masked
from .sgd import trace
from .weight_decay import add_decayed_weights

__all__ = ["ScaleByTrustRatioState", "lamb", "lars", "scale_by_trust_ratio"]


class ScaleByTrustRatioState(NamedTuple):
    """The trust coefficient (float64), which may be set."""

    trust_coefficient: Any

    hyperparameters = ("trust_coefficient",)


def scale_by_trust_ratio(
    min_norm: float = 0.0, trust_coefficient: float = 1.0, eps: float = 0.0
) -> GradientTransformation:
    """Scale every leaf ``u`` by ``trust_coefficient |p| / (|u| + eps)``, the norms being at least ``min_norm``.

    A leaf whose norm or whose parameter's norm is zero stays as it is. ``update`` needs ``params``.

    Source: Y. You, I. Gitman, B. Ginsburg, "Large Batch Training of Convolutional Networks", 2017, equation 6.

    >>> import numpy as np
    >>> rescale, params = scale_by_trust_ratio(), np.array([3.0, 4.0])
    >>> rescale.update(np.array([0.0, 0.1]), rescale.init(params), params)[0]
    array([0., 5.])
    """

    def init(params: Any) -> ScaleByTrustRatioState:
        return ScaleByTrustRatioState(hyperparameter(trust_coefficient))

    def update(grads: Any, state: ScaleByTrustRatioState, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        def step(u: Any, p: Any) -> Any:
            wide = fnp.promote_types(fnp.asarray(u).dtype, fnp.float32)
            of_u, of_p = (norm(fnp.asarray(x, dtype=wide)) for x in (u, p))
            if min_norm:
                of_u, of_p = (fnp.maximum(x, scalar_for(x, min_norm)) for x in (of_u, of_p))
            neither_is_zero = (of_u > 0) & (of_p > 0)
            divisor = fnp.where(neither_is_zero, of_u + scalar_for(of_u, eps) if eps else of_u, fnp.ones_like(of_u))
            ratio = scalar_for(of_p, state.trust_coefficient) * of_p / divisor
            ratio = fnp.where(neither_is_zero, ratio, fnp.ones_like(ratio))
            return cast_like(u * scalar_for(u, ratio), u)

        return leafwise(step, grads, required(params, "params", "scale_by_trust_ratio")), state

    return GradientTransformation(init, update)


def lamb(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    eps_root: float = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
) -> GradientTransformation:
    """LAMB: Adam with decoupled weight decay, its step on every leaf scaled to the norm of the leaf.

    ``u = adam's quotient + weight_decay p``, then ``p <- p - learning_rate (|p| / |u|) u`` leaf by leaf. ``update``
    needs ``params``; ``mask`` says what decays.

    Source: Y. You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", ICLR 2020,
    algorithm 2 with the identity for its function of the norm.

    >>> import numpy as np
    >>> optimizer, params = lamb(0.1), np.array([3.0, 4.0])
    >>> optimizer.update(np.array([0.0, 7.0]), optimizer.init(params), params)[0].round(4)
    array([-0. , -0.5])
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )


def lars(
    learning_rate: ScalarOrSchedule,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask = True,
    trust_coefficient: float = 0.001,
    eps: float = 0.0,
    trust_ratio_mask: Mask = True,
    momentum: float = 0.9,
    nesterov: bool = False,
) -> GradientTransformation:
    """LARS: momentum of gradients whose every leaf is scaled to the norm of its parameter.

    ``u = g + weight_decay p``, then ``m <- momentum m - learning_rate trust_coefficient |p| / (|u| + eps) u`` leaf by
    leaf, and ``p <- p + m``. ``update`` needs ``params``. The masks say which leaves decay and which are scaled, as in
    ``masked``.

    Source: Y. You, I. Gitman, B. Ginsburg, "Large Batch Training of Convolutional Networks", 2017, algorithm 1.

    >>> import numpy as np
    >>> optimizer, params = lars(1.0, trust_coefficient=0.1), np.array([3.0, 4.0])
    >>> optimizer.update(np.array([0.0, 7.0]), optimizer.init(params), params)[0].round(4)
    array([ 0. , -0.5])
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        masked(scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps), trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        trace(momentum, nesterov),
    )
