"""Some parameters treated otherwise than others: masks, and a transformation for each label.

A transformation under a mask sees a tree with None, which holds nothing, where the mask is False; so it needs no memory
there, and nothing of it needs to know of masks.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import tree
from funcgrad.core.errors import TreeError

from .base import GradientTransformation, check_like, leafwise, stateless

__all__ = ["Mask", "MaskedState", "MultiTransformState", "masked", "multi_transform", "set_to_zero"]

#: A tree of booleans, or a prefix of one; or a function that makes one of the parameters (or gradients).
Mask = Any | Callable[[Any], Any]


class MaskedState(NamedTuple):
    """The state of the transformation under the mask."""

    inner: Any

    inner_states = ("inner",)


class MultiTransformState(NamedTuple):
    """The states of the transformations, by label."""

    inner: dict[Any, Any]

    inner_states = ("inner",)


def masked(inner: GradientTransformation, mask: Mask) -> GradientTransformation:
    """Apply ``inner`` where ``mask`` is True; elsewhere gradients pass unchanged.

    Args:
        inner: any transformation. Its extra arguments reach it as they are, unmasked.
        mask: a tree of booleans of the structure of the parameters or a prefix of it; or a function of the parameters
            that returns one, to which the gradients are given in ``update``.

    Raises:
        TreeError: the mask is no prefix of the parameters, or has a leaf that is not a boolean.

    >>> import numpy as np
    >>> from funcgrad.optim import scale
    >>> only_w = masked(scale(-1.0), {"w": True, "b": False})
    >>> params = {"w": np.ones(2), "b": np.ones(1)}
    >>> only_w.update(params, only_w.init(params))[0]
    {'w': array([-1., -1.]), 'b': array([1.])}
    """

    def flags(of: Any) -> list[bool]:
        given = tree.prefix_leaves(mask(of) if callable(mask) else mask, tree.structure(of), "masked: the mask")
        for flag in given:
            if not isinstance(flag, bool | fnp.bool_):
                raise TreeError(
                    f"masked: the leaves of a mask are True or False, known before any array is, not {flag!r}"
                )
        return given

    def init(params: Any) -> MaskedState:
        return MaskedState(inner.init(_select(params, flags(params))))

    def update(grads: Any, state: MaskedState, params: Any = None, **extra: Any) -> tuple[Any, MaskedState]:
        chosen = flags(grads)
        chosen_params = None if params is None else _select(params, chosen, grads)
        updates, new_state = inner.update(_select(grads, chosen), state.inner, chosen_params, **extra)
        return _merge(grads, chosen, updates), MaskedState(new_state)

    return GradientTransformation(init, update)


def multi_transform(
    transforms: Mapping[Any, GradientTransformation], param_labels: Any | Callable[[Any], Any]
) -> GradientTransformation:
    """A transformation for each group of parameters; which one is said by a tree of labels.

    Args:
        transforms: from label to transformation.
        param_labels: a tree of labels, of the structure of the parameters or a prefix of it; or a function of the
            parameters that returns one, to which the gradients are given in ``update``.

    Optax calls it ``partition``, too. Hyper-parameters are read and set under their label.

    Raises:
        TreeError: a label has no transformation, or the labels are no prefix of the parameters.

    >>> import numpy as np
    >>> from funcgrad.optim import hyperparameters, set_to_zero, sgd, with_hyperparameters
    >>> optimizer = multi_transform({"train": sgd(0.1), "freeze": set_to_zero()}, {"head": "train", "body": "freeze"})
    >>> params = {"head": np.ones(1), "body": [np.ones(1), np.ones(1)]}
    >>> state = with_hyperparameters(optimizer.init(params), train={"learning_rate": 0.5})
    >>> optimizer.update(params, state)[0]
    {'head': array([-0.5]), 'body': [array([0.]), array([0.])]}
    """

    def labels(of: Any) -> list[Any]:
        labelled = param_labels(of) if callable(param_labels) else param_labels
        given = tree.prefix_leaves(labelled, tree.structure(of), "multi_transform: the labels")
        for label, (path, _) in zip(given, tree.leaves_with_path(of)):
            if label not in transforms:
                known = ", ".join(map(repr, transforms))
                where = tree.keystr(path) or "the top"
                raise TreeError(
                    f"multi_transform: the label {label!r} at {where} has no transformation; there are {known}"
                )
        return given

    def init(params: Any) -> MultiTransformState:
        given = labels(params)
        return MultiTransformState(
            {name: t.init(_select(params, [label == name for label in given])) for name, t in transforms.items()}
        )

    def update(grads: Any, state: MultiTransformState, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        given, updates, states = labels(grads), grads, {}
        for name, transformation in transforms.items():
            chosen = [label == name for label in given]
            chosen_params = None if params is None else _select(params, chosen, grads)
            changed, states[name] = transformation.update(
                _select(grads, chosen), state.inner[name], chosen_params, **extra
            )
            updates = _merge(updates, chosen, changed)
        return updates, MultiTransformState(states)

    return GradientTransformation(init, update)


def set_to_zero() -> GradientTransformation:
    """Replace gradients by zeros: for parameters that stay as they are.

    >>> import numpy as np
    >>> set_to_zero().update(np.ones(2), ())
    (array([0., 0.]), ())
    """
    return stateless(lambda grads, params: leafwise(fnp.zeros_like, grads))


def _select(of: Any, chosen: list[bool], like: Any = None) -> Any:
    """The tree with None for the leaves that are not chosen; with ``like``, of whose structure it must be."""
    if like is not None:
        check_like(like, of, reference="the tree of parameters")
    leaves, structure = tree.flatten(of)
    return structure.unflatten([x if flag else None for x, flag in zip(leaves, chosen)])


def _merge(of: Any, chosen: list[bool], updates: Any) -> Any:
    """The tree with the chosen leaves replaced by those of ``updates``."""
    leaves, structure = tree.flatten(of)
    replacements = iter(tree.leaves(updates))
    return structure.unflatten([next(replacements) if flag else x for x, flag in zip(leaves, chosen)])
