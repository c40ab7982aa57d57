"""Hyper-parameters are part of the state: how to read them all, how to set some, and how to schedule them.

The class of a state says which of its fields may be set, in ``hyperparameters = ("learning_rate", ...)``, and which hold
states of other transformations, in ``inner_states = ("inner", ...)``.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import funcgrad.numpy as fnp

from .base import GradientTransformation, no_updates_yet

__all__ = ["ScheduledState", "hyperparameters", "with_hyperparameters", "with_schedules"]


def hyperparameters(state: Any) -> dict[str, Any]:
    """The hyper-parameters in an optimizer's state, those of a chain in the order of its transformations.

    Returns:
        A dict from name to scalar array, the value of the next update. Where two transformations of a chain share a
        name, it holds the last one's. Those of ``multi_transform`` are dicts of their own, under their labels.

    >>> import numpy as np
    >>> from funcgrad import optim
    >>> state = optim.adam(1e-3).init(np.zeros(3))
    >>> {name: float(value) for name, value in optim.hyperparameters(state).items()}
    {'b1': 0.9, 'b2': 0.999, 'eps': 1e-08, 'learning_rate': 0.001}
    """
    found = {name: getattr(state, name) for name in getattr(state, "hyperparameters", ())}
    for label, inner in _states_inside(state):
        if label is None:
            found.update(hyperparameters(inner))
        else:
            found[label] = hyperparameters(inner)
    return found


def with_hyperparameters(state: Any, **values: Any) -> Any:
    """A state like ``state`` with some hyper-parameters set; step counts and moments stay as they are.

    A value is brought to the dtype of the one it replaces, so a jitted update does not compile again. Where several
    transformations share a name, all of them are set; ``label={"learning_rate": 0.1}`` sets those under one label of
    ``multi_transform``. A value that a schedule gave is held at what was set, until ``learning_rate=None`` gives it
    back: the next update has it still, the ones after it what the schedule says of them.

    Raises:
        ValueError: the state has no hyper-parameter of that name, or None was given for one without a schedule.

    >>> import numpy as np
    >>> from funcgrad import optim
    >>> state = optim.adam(1e-3).init(np.zeros(3))
    >>> state = optim.with_hyperparameters(state, learning_rate=1e-4)
    >>> float(state[1].learning_rate)
    0.0001
    """
    _check_known(hyperparameters(state), values)
    return _set(state, values, frozenset())


class ScheduledState(NamedTuple):
    """How many updates were made (int64), which scheduled values are held at what was set by hand (a dict of bools),
    and the state of the transformation inside, which has the values of the next update."""

    count: Any
    held: dict[str, Any]
    inner: Any

    inner_states = ("inner",)


def with_schedules(inner: GradientTransformation, **schedules: Callable[[Any], Any]) -> GradientTransformation:
    """``inner`` with some of its hyper-parameters given by schedules: functions of the number of updates made so far.

    A schedule takes an int64 scalar, 0 at first and traced under ``jit``. The values of the next update are in the
    state, where ``hyperparameters`` reads them and ``with_hyperparameters`` overrides them. Optax's name for this is
    ``inject_hyperparams``.

    Raises:
        ValueError: from ``init``, if ``inner`` has no hyper-parameter of that name.

    >>> import numpy as np
    >>> from funcgrad import optim
    >>> optimizer = with_schedules(optim.sgd(0.1, momentum=0.5), decay=lambda count: 1 - 1 / (count + 2))
    >>> state = optimizer.init(np.zeros(1))
    >>> for _ in range(3):
    ...     print(float(optim.hyperparameters(state)["decay"]))
    ...     updates, state = optimizer.update(np.ones(1), state)
    0.5
    0.6666666666666667
    0.75
    """

    def init(params: Any) -> ScheduledState:
        state, count = inner.init(params), no_updates_yet()
        _check_known(hyperparameters(state), schedules)
        values = {name: schedule(count) for name, schedule in schedules.items()}
        return ScheduledState(count, {name: fnp.asarray(False) for name in schedules}, _set(state, values, frozenset()))

    def update(grads: Any, state: ScheduledState, params: Any = None, **extra: Any) -> tuple[Any, ScheduledState]:
        updates, new_inner = inner.update(grads, state.inner, params, **extra)
        count, current = state.count + 1, _without_labels(hyperparameters(state.inner))
        values = {
            name: fnp.where(state.held[name], current[name], schedule(count)) for name, schedule in schedules.items()
        }
        return updates, ScheduledState(count, state.held, _set(new_inner, values, frozenset()))

    return GradientTransformation(init, update)


def _set(state: Any, values: dict[str, Any], scheduled: frozenset[str]) -> Any:
    """``state`` with ``values`` set. None for one of ``scheduled`` keeps what is there: its schedule overwrites it."""
    if type(state) is tuple:
        return tuple(_set(inner, values, scheduled) for inner in state)
    names = [name for name in getattr(state, "hyperparameters", ()) if name in values]
    changed = {}
    for name in names:
        if values[name] is not None:
            changed[name] = fnp.asarray(values[name], dtype=getattr(state, name).dtype)
        elif name not in scheduled:
            raise ValueError(f"{name}=None gives a hyper-parameter back to its schedule, but {name!r} has none here")
    if isinstance(state, ScheduledState):
        scheduled = scheduled | state.held.keys()
        changed["held"] = {
            name: fnp.asarray(values[name] is not None) if name in values else held for name, held in state.held.items()
        }
    for field in getattr(state, "inner_states", ()):
        inner = getattr(state, field)
        if isinstance(inner, dict):
            plain = {name: value for name, value in values.items() if name not in inner}
            changed[field] = {key: _set(s, {**plain, **values.get(key, {})}, scheduled) for key, s in inner.items()}
        else:
            changed[field] = _set(inner, values, scheduled)
    return state._replace(**changed) if changed else state


def _check_known(known: dict[str, Any], values: dict[str, Any]) -> None:
    anywhere = _without_labels(known)
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(known.get(name), dict):
            _check_known(known[name], value)
        elif isinstance(value, dict) or name not in anywhere:
            names = ", ".join(dict.fromkeys([*known, *anywhere]))
            raise ValueError(f"{name!r} is no hyper-parameter of this state; it has {names or 'none'}")


def _without_labels(known: dict[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in known.items() if not isinstance(value, dict)}
    for value in known.values():
        if isinstance(value, dict):
            plain |= _without_labels(value)
    return plain


def _states_inside(state: Any) -> Iterator[tuple[str | None, Any]]:
    """The states that a state is made of, each with its label if it has one; moments and parameters are never searched,
    so no field of theirs is mistaken for one."""
    if type(state) is tuple:
        yield from ((None, inner) for inner in state)
    for field in getattr(state, "inner_states", ()):
        inner = getattr(state, field)
        yield from inner.items() if isinstance(inner, dict) else [(None, inner)]
