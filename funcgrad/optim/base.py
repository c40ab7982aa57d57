"""The protocol of an optimizer: a gradient transformation, how two become one, and how its updates are applied.

A gradient transformation turns gradients into updates and carries a state: ``init(params) -> state`` and
``update(grads, state, params) -> (updates, state)``. What ``update`` returns has the structure, shapes and dtypes of
its gradients; the step is ``params + updates``, so a descent direction carries its minus sign.

A state is a pytree of arrays, a ``NamedTuple`` that names what it holds: step counts, moments and hyper-parameters
alike. Because a learning rate is an array of the state and not a constant of the program, changing it never recompiles.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import tree

__all__ = ["GradientTransformation", "apply_updates", "chain", "scalar_for"]


class GradientTransformation(NamedTuple):
    """A pure pair of functions that turns gradients into updates.

    ``init(params)`` returns the state for parameters of this structure. ``update(grads, state, params=None, **extra)``
    returns ``(updates, state)``; ``extra`` is for transformations that need more than gradients (a loss value, say),
    and one that does not know a keyword ignores it.
    """

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]


def apply_updates(params: Any, updates: Any) -> Any:
    """Take the step: ``params + updates``, each leaf in the dtype of its parameter.

    Args:
        params: a pytree of arrays.
        updates: a pytree of the same structure and shapes.

    Returns:
        A pytree like ``params``, of new arrays.

    >>> import numpy as np
    >>> apply_updates({"w": np.float32([1.0, 2.0])}, {"w": np.array([0.5, -0.5])})
    {'w': array([1.5, 1.5], dtype=float32)}
    """
    return tree.map(lambda p, u: fnp.asarray(p + u, dtype=fnp.asarray(p).dtype), params, updates)


def chain(*transformations: GradientTransformation) -> GradientTransformation:
    """One transformation that applies ``transformations`` from left to right; its state is the tuple of theirs.

    >>> import numpy as np
    >>> from funcgrad.optim import scale_by_learning_rate, trace
    >>> momentum = chain(trace(0.9), scale_by_learning_rate(0.1))
    >>> state = momentum.init(np.zeros(2))
    >>> updates, state = momentum.update(np.array([1.0, -1.0]), state)
    >>> updates
    array([-0.1,  0.1])
    """

    def init(params: Any) -> tuple[Any, ...]:
        return tuple(transformation.init(params) for transformation in transformations)

    def update(grads: Any, state: tuple[Any, ...], params: Any = None, **extra: Any) -> tuple[Any, tuple[Any, ...]]:
        if len(state) != len(transformations):
            raise ValueError(
                f"a chain of {len(transformations)} transformations was given a state of {len(state)}; "
                "pass the state that its own init or update returned"
            )
        states = []
        for transformation, inner in zip(transformations, state):
            grads, inner = transformation.update(grads, inner, params, **extra)
            states.append(inner)
        return grads, tuple(states)

    return GradientTransformation(init, update)


def scalar_for(leaf: Any, value: Any) -> Any:
    """``value``, a hyper-parameter or a step count's function, in the real dtype of ``leaf``.

    Hyper-parameters are float64 arrays, which would promote a float32 gradient; cast once, as a scalar, they do not.
    """
    return fnp.asarray(value, dtype=fnp.real(fnp.asarray(leaf)).dtype)
