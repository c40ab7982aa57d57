"""Weight decay: a pull of the parameters towards zero, before or after the gradient is rescaled.

*Coupled* decay adds ``w p`` to the gradient, as the gradient of ``w |p|^2 / 2`` in the loss would:
``chain(add_decayed_weights(w), adam(lr))``. *Decoupled* decay adds it to the rescaled gradient:
``chain(scale_by_adam(), add_decayed_weights(w), scale_by_learning_rate(lr))``, which is ``adamw``. For plain gradient
descent they are the same.
"""

from typing import Any, NamedTuple

from .base import GradientTransformation, cast_like, hyperparameter, identity, leafwise, required, scalar_for
from .hyperparameters import with_schedules
from .learning_rate import ScalarOrSchedule
from .masking import Mask, masked

__all__ = ["AddDecayedWeightsState", "Mask", "add_decayed_weights"]


class AddDecayedWeightsState(NamedTuple):
    """The weight decay (float64), which may be set."""

    weight_decay: Any

    hyperparameters = ("weight_decay",)


def add_decayed_weights(weight_decay: ScalarOrSchedule = 0.0, mask: Mask | None = None) -> GradientTransformation:
    """Add ``weight_decay`` times the parameters to the gradients.

    Args:
        weight_decay: a number, kept in the state, or a schedule. A plain 0.0 makes the identity, which has no state.
        mask: which parameters decay: a tree of booleans or a prefix of one, or a function that makes one, as in
            ``masked``. Biases and the scales of normalisations usually do not.

    ``update`` needs ``params``.

    Source: A. Krogh and J. Hertz, "A Simple Weight Decay Can Improve Generalization", NIPS 1991; for the difference
    between coupled and decoupled, I. Loshchilov and F. Hutter, ICLR 2019, section 2.

    >>> import numpy as np
    >>> params = {"w": np.array([2.0]), "b": np.array([2.0])}
    >>> decay = add_decayed_weights(0.1, mask=lambda tree: {"w": True, "b": False})
    >>> updates, state = decay.update({"w": np.ones(1), "b": np.ones(1)}, decay.init(params), params)
    >>> updates["w"], updates["b"]
    (array([1.2]), array([1.]))
    """
    if isinstance(weight_decay, int | float) and weight_decay == 0:
        return identity()
    if mask is not None:
        return masked(add_decayed_weights(weight_decay), mask)
    if callable(weight_decay):
        return with_schedules(_add_decayed_weights(0.0), weight_decay=weight_decay)
    return _add_decayed_weights(weight_decay)


def _add_decayed_weights(weight_decay: Any) -> GradientTransformation:
    def init(params: Any) -> AddDecayedWeightsState:
        return AddDecayedWeightsState(hyperparameter(weight_decay))

    def update(grads: Any, state: AddDecayedWeightsState, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        params = required(params, "params", "weight decay")

        def add(g: Any, p: Any) -> Any:
            return cast_like(g + scalar_for(g, state.weight_decay) * p, g)

        return leafwise(add, grads, params), state

    return GradientTransformation(init, update)
