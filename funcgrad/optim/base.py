"""The protocol of an optimizer: a gradient transformation, how two become one, and how its updates are applied.

A gradient transformation turns gradients into updates and carries a state: ``init(params) -> state`` and
``update(grads, state, params) -> (updates, state)``. What ``update`` returns has the structure, shapes and dtypes of
its gradients; the step is ``params + updates``, so a descent direction carries its minus sign.

The gradient of a complex parameter is the direction of steepest ascent, for its negative must descend: the conjugate of
what ``grad`` gives, as for Optax with JAX's ``grad``.

A state is a pytree of arrays, a ``NamedTuple`` that names what it holds: step counts, moments and hyper-parameters
alike. Because a learning rate is an array of the state and not a constant of the program, changing it never recompiles.

The rest of this file is what the transformations are written with: ``leafwise`` applies a formula to every leaf, and
the few functions below it are the terms that formulas share.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import tree
from funcgrad.api.custom import custom_jvp
from funcgrad.core.errors import OperandError, TransformError, TreeError

__all__ = [
    "GradientTransformation",
    "abs_square",
    "apply_updates",
    "cast_like",
    "chain",
    "check_like",
    "correction",
    "hyperparameter",
    "identity",
    "inner_product",
    "leafwise",
    "moving_average",
    "no_updates_yet",
    "norm",
    "required",
    "root",
    "scalar_for",
    "stateless",
    "zero_moments",
]


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

    Raises:
        TreeError, OperandError: ``updates`` differ from ``params`` in structure or in a shape; the key path is named.

    >>> import numpy as np
    >>> apply_updates({"w": np.float32([1.0, 2.0])}, {"w": np.array([0.5, -0.5])})
    {'w': array([1.5, 1.5], dtype=float32)}
    """
    check_like(updates, params, "apply_updates: the updates", "the parameters")
    return tree.map(lambda p, u: cast_like(p + u, p), params, updates)


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


def identity() -> GradientTransformation:
    """The transformation that changes nothing, and the chain of none.

    >>> identity().update([1.0], identity().init([0.0]))
    ([1.0], ())
    """
    return chain()


def stateless(f: Callable[[Any, Any], Any]) -> GradientTransformation:
    """The transformation ``updates = f(grads, params)``, which has nothing to remember.

    >>> import numpy as np
    >>> double = stateless(lambda grads, params: 2 * grads)
    >>> double.update(np.array([1.0, 2.0]), double.init(None))
    (array([2., 4.]), ())
    """

    def init(params: Any) -> tuple[()]:
        return ()

    def update(grads: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        return f(grads, params), state

    return GradientTransformation(init, update)


# Trees ----------------------------------------------------------------------------------------------------------------


def leafwise(f: Callable[..., Any], grads: Any, *others: Any, outputs: int = 1) -> Any:
    """``f(g, other, ...)`` for every leaf of the gradients; if it returns a tuple of ``outputs``, a tuple of trees.

    Raises TreeError or OperandError, with the key path, where a tree of ``others`` is not shaped like the gradients:
    broadcasting a gradient to a moment of another shape would hide a mistake.
    """
    for other in others:
        check_like(grads, other)
    leaves, structure = tree.flatten(grads)
    results = [f(*xs) for xs in zip(leaves, *(tree.leaves(other) for other in others))]
    if outputs == 1:
        return structure.unflatten(results)
    return tuple(structure.unflatten([r[i] for r in results]) for i in range(outputs))


def check_like(given: Any, like: Any, what: str = "update: the gradients", reference: str = "") -> None:
    """Raise, naming the first key path, if two trees differ in structure or in a shape."""
    reference = reference or "what the optimizer was initialised with"
    leaves, structure = tree.flatten(given)
    expected, expected_structure = tree.flatten(like)
    if structure != expected_structure:
        paths = [tree.keystr(path) for path, _ in tree.leaves_with_path(given)]
        expected_paths = [tree.keystr(path) for path, _ in tree.leaves_with_path(like)]
        missing = [path for path in expected_paths if path not in paths]
        extra = [path for path in paths if path not in expected_paths]
        if missing:
            difference = f"have no leaf at {missing[0] or 'the top'}, where {reference} has one"
        elif extra:
            difference = f"have a leaf at {extra[0] or 'the top'}, where {reference} has none"
        else:
            difference = f"are {tree.describe(structure)}, but {reference}: {tree.describe(expected_structure)}"
        raise TreeError(f"{what} {difference}; pass trees of one structure, with None where nothing is trained")
    for i, (x, y) in enumerate(zip(leaves, expected)):
        if fnp.shape(x) != fnp.shape(y):
            path = tree.keystr(tree.leaves_with_path(given)[i][0])
            raise OperandError(
                f"{what} have the shape {fnp.shape(x)} at {path or 'the top'}, where {reference} has {fnp.shape(y)}"
            )


def required(value: Any, name: str, who: str) -> Any:
    """An argument of ``update`` that this transformation cannot do without."""
    if value is None:
        call = "update(grads, state, params)" if name == "params" else f"update(grads, state, params, {name}={name})"
        raise TransformError(f"{who} needs {name}; write {call}")
    return value


# Terms of formulas ----------------------------------------------------------------------------------------------------


def hyperparameter(value: Any) -> Any:
    """A hyper-parameter as it is held in a state: a float64 scalar."""
    return fnp.asarray(value, dtype=fnp.float64)


def no_updates_yet() -> Any:
    """A step count."""
    return fnp.zeros((), fnp.int64)


def scalar_for(leaf: Any, value: Any) -> Any:
    """``value``, a hyper-parameter or a step count's function, in the real dtype of ``leaf``.

    Hyper-parameters are float64 arrays, which would promote a float32 gradient; cast once, as a scalar, they do not.
    """
    return fnp.asarray(value, dtype=fnp.real(fnp.asarray(leaf)).dtype)


def zero_moments(params: Any, real: bool = False) -> Any:
    """Zeros like the parameters, but at least float32: in float16 a squared gradient underflows, and so does ``eps``.

    With ``real``, for a moment of ``abs_square``: real also where a parameter is complex.
    """

    def zeros(p: Any) -> Any:
        p = fnp.real(fnp.asarray(p)) if real else fnp.asarray(p)
        return fnp.zeros(p.shape, dtype=fnp.promote_types(p.dtype, fnp.float32))

    return tree.map(zeros, params)


def cast_like(x: Any, like: Any) -> Any:
    """``x`` in the dtype of ``like``."""
    return fnp.asarray(x, dtype=fnp.asarray(like).dtype)


def moving_average(x: Any, average: Any, decay: Any) -> Any:
    """``decay average + (1 - decay) x``."""
    return scalar_for(average, decay) * average + scalar_for(average, 1 - decay) * x


def correction(decay: Any, count: Any) -> Any:
    """``1 / (1 - decay^count)``: moments start at zero, and so are too small at first."""
    return 1 / (1 - decay**count)


def abs_square(x: Any) -> Any:
    """``|x|^2``, real."""
    if fnp.iscomplexobj(x):
        return fnp.square(fnp.real(x)) + fnp.square(fnp.imag(x))
    return fnp.square(x)


@custom_jvp
def root(x: Any) -> Any:
    """The square root, with derivative 0 at 0.

    Optimizers take roots of sums of squares, ``sqrt(c g^2 + rest)``. At zero the chain rule asks for infinity times
    zero; but there the root is ``sqrt(c) |g|``, whose one-sided derivatives are bounded, and all of these roots divide
    a moment that is zero too. So any bounded value gives the right derivative of the update; we take the middle one.
    """
    return fnp.sqrt(x)


@root.defjvp
def _(primals: Any, tangents: Any) -> tuple[Any, Any]:
    y = root(primals[0])
    return y, tangents[0] * fnp.where(y > 0, 0.5 / y, fnp.zeros_like(y))


def inner_product(x: Any, y: Any) -> Any:
    """``Re <x, y>``, as one dot product without a temporary array; complex numbers are pairs of real ones here."""
    return fnp.real(fnp.vdot(x, y))


def norm(x: Any) -> Any:
    """The Euclidean norm of one leaf, whatever its rank; its derivative at zero is zero."""
    return root(inner_product(x, x))
