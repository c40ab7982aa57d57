"""Optimizers as pure pairs of functions, ``(init, update)``, with Optax's names.

An optimizer holds nothing: ``init(params)`` makes the state, ``update(grads, state, params)`` gives the updates and the
next state, ``apply_updates(params, updates)`` takes the step. All three are ordinary functions of pytrees: ``jit``
them, ``vmap`` them over learning rates, differentiate through them. Larger optimizers are chains of small
transformations.

>>> import numpy as np
>>> params = {"w": np.array([1.0, -2.0])}
>>> optimizer = sgd(0.1)
>>> state = optimizer.init(params)
>>> for _ in range(3):
...     grads = {"w": 2 * params["w"]}  # of sum(w ** 2)
...     updates, state = optimizer.update(grads, state, params)
...     params = apply_updates(params, updates)
>>> params["w"]
array([ 0.512, -1.024])
"""

from .adam import ScaleByAdamState, adam, scale_by_adam
from .base import GradientTransformation, apply_updates, chain
from .hyperparameters import hyperparameters, with_hyperparameters
from .learning_rate import ScaleByLearningRateState, ScaleByScheduleState, scale_by_learning_rate
from .sgd import TraceState, sgd, trace

__all__ = [
    # the protocol
    "GradientTransformation",
    "apply_updates",
    "chain",
    "hyperparameters",
    "with_hyperparameters",
    # optimizers
    "adam",
    "sgd",
    # the transformations they are made of, and their states
    "scale_by_adam",
    "scale_by_learning_rate",
    "trace",
    "ScaleByAdamState",
    "ScaleByLearningRateState",
    "ScaleByScheduleState",
    "TraceState",
]
