"""Hyper-parameters are part of the state: how to read them all, and how to set some.

The class of a state says which of its fields may be set, in ``hyperparameters = ("learning_rate", ...)``.
"""

from typing import Any

import funcgrad.numpy as fnp

__all__ = ["hyperparameters", "with_hyperparameters"]


def hyperparameters(state: Any) -> dict[str, Any]:
    """The hyper-parameters in an optimizer's state, those of a chain in the order of its transformations.

    Returns:
        A dict from name to scalar array. Where two transformations of a chain share a name, it holds the last one's.

    >>> import numpy as np
    >>> from funcgrad import optim
    >>> state = optim.adam(1e-3).init(np.zeros(3))
    >>> {name: float(value) for name, value in optim.hyperparameters(state).items()}
    {'b1': 0.9, 'b2': 0.999, 'eps': 1e-08, 'learning_rate': 0.001}
    """
    names = getattr(state, "hyperparameters", ())
    found = {name: getattr(state, name) for name in names}
    for inner in _states_inside(state):
        found.update(hyperparameters(inner))
    return found


def with_hyperparameters(state: Any, **values: Any) -> Any:
    """A state like ``state`` with some hyper-parameters set; step counts and moments stay as they are.

    A value is brought to the dtype of the one it replaces, so a jitted update does not compile again. Where several
    transformations of a chain share a name, all of them are set.

    Raises:
        ValueError: the state has no hyper-parameter of that name (a learning rate given by a schedule is none).

    >>> import numpy as np
    >>> from funcgrad import optim
    >>> state = optim.adam(1e-3).init(np.zeros(3))
    >>> state = optim.with_hyperparameters(state, learning_rate=1e-4)
    >>> float(state[1].learning_rate)
    0.0001
    """
    known = hyperparameters(state)
    for name in values:
        if name not in known:
            raise ValueError(f"{name!r} is no hyper-parameter of this state; it has {', '.join(known) or 'none'}")
    return _set(state, values)


def _set(state: Any, values: dict[str, Any]) -> Any:
    names = getattr(state, "hyperparameters", ())
    if names:
        state = state._replace(
            **{name: fnp.asarray(values[name], dtype=getattr(state, name).dtype) for name in names if name in values}
        )
    elif type(state) is tuple:
        state = tuple(_set(inner, values) for inner in state)
    return state


def _states_inside(state: Any) -> tuple[Any, ...]:
    """The states of a chain; moments and parameters are never searched, so no field of theirs is mistaken for one."""
    return state if type(state) is tuple else ()
