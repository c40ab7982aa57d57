"""Gradients with noise added, or with their mean removed."""

from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import random, tree

from .base import GradientTransformation, chain, hyperparameter, leafwise, no_updates_yet, scalar_for, stateless
from .learning_rate import ScalarOrSchedule, scale_by_learning_rate

__all__ = ["AddNoiseState", "add_noise", "centralize", "noisy_sgd"]


class AddNoiseState(NamedTuple):
    """How many updates were made (int64), the key of the next noise, and the hyper-parameters (float64), which may be
    set."""

    count: Any
    key: Any
    eta: Any
    gamma: Any

    hyperparameters = ("eta", "gamma")


def add_noise(eta: float, gamma: float, key: Any) -> GradientTransformation:
    """Add normal noise of the variance ``eta / t^gamma`` at update ``t = 1, 2, ...``.

    ``key``: of ``funcgrad.random``; it lives in the state, so that a run is repeated by its state.

    Source: A. Neelakantan et al., "Adding Gradient Noise Improves Learning for Very Deep Networks", 2015, section 3.

    >>> import numpy as np
    >>> import funcgrad as fg
    >>> noise = add_noise(0.01, 0.55, fg.random.key(0))
    >>> updates, state = noise.update(np.zeros(1000), noise.init(np.zeros(1000)))
    >>> float(updates.std().round(2))
    0.1
    """

    def init(params: Any) -> AddNoiseState:
        return AddNoiseState(no_updates_yet(), key, hyperparameter(eta), hyperparameter(gamma))

    def update(grads: Any, state: AddNoiseState, params: Any = None, **extra: Any) -> tuple[Any, AddNoiseState]:
        count = state.count + 1
        deviation = fnp.sqrt(state.eta / count**state.gamma)
        leaves, structure = tree.flatten(grads)
        next_key, *keys = random.split(state.key, len(leaves) + 1)

        def noisy(g: Any, leaf_key: Any) -> Any:
            g = fnp.asarray(g)
            return g + scalar_for(g, deviation) * random.normal(leaf_key, g.shape, g.dtype)

        updates = structure.unflatten([noisy(g, leaf_key) for g, leaf_key in zip(leaves, keys)])
        return updates, state._replace(count=count, key=next_key)

    return GradientTransformation(init, update)


def centralize() -> GradientTransformation:
    """Subtract the mean over all axes but the first from the gradients of matrices and larger arrays.

    Source: H. Yong et al., "Gradient Centralization: A New Optimization Technique for Deep Neural Networks", ECCV 2020,
    equation 1, with the first axis as in Optax.

    >>> import numpy as np
    >>> centralize().update({"w": np.array([[1.0, 3.0], [0.0, 4.0]]), "b": np.array([1.0, 3.0])}, ())[0]
    {'w': array([[-1.,  1.],
           [-2.,  2.]]), 'b': array([1., 3.])}
    """

    def centre(g: Any) -> Any:
        g = fnp.asarray(g)
        return g - fnp.mean(g, axis=tuple(range(1, g.ndim)), keepdims=True) if g.ndim > 1 else g

    return stateless(lambda grads, params: leafwise(centre, grads))


def noisy_sgd(learning_rate: ScalarOrSchedule, eta: float, gamma: float, key: Any) -> GradientTransformation:
    """Gradient descent with the noise of ``add_noise`` on its gradients.

    >>> import numpy as np
    >>> import funcgrad as fg
    >>> optimizer = noisy_sgd(0.1, 0.01, 0.55, fg.random.key(0))
    >>> optimizer.update(np.ones(2), optimizer.init(np.zeros(2)))[0].shape
    (2,)
    """
    return chain(add_noise(eta, gamma, key), scale_by_learning_rate(learning_rate))
