"""The errors of funcgrad. The docstring of each type is its cause and its fix.

Every message says what happened, to which argument and what to write instead; the constructor appends the line of the
user's program at which it happened.
"""

from __future__ import annotations

import numpy as np

from .source import user_source

__all__ = [
    "BackendError",
    "ConcretizationError",
    "DataError",
    "ForeignArrayError",
    "FuncgradError",
    "IRError",
    "InPlaceError",
    "KeyReuseError",
    "LeakedTracerError",
    "LinearAlgebraError",
    "MemoryBudgetError",
    "MissingRuleError",
    "NonFiniteError",
    "OperandError",
    "OperandTypeError",
    "SerializationError",
    "StaleViewError",
    "StaticArgumentError",
    "TracerArrayError",
    "TrainingError",
    "TransformError",
    "TreeError",
]


class FuncgradError(Exception):
    """Base class of all errors that funcgrad raises by itself."""

    locate = True

    def __init__(self, message: str) -> None:
        source = user_source() if self.locate else None
        super().__init__(f"{message}\n  at {source.describe()}" if source is not None else message)


class ConcretizationError(FuncgradError, TypeError):
    """A traced value was used where Python needs a concrete one: ``if x > 0``, ``float(x)``, ``range(n)``.

    Under ``jit``, ``vmap`` and inside the bodies of control flow a value stands for all the values it may have. Use
    ``fnp.where`` or ``lax.cond`` for a choice, ``lax.fori_loop`` or ``lax.while_loop`` for a loop, or name the argument
    in ``static_argnums``/``static_argnames`` if the program may depend on its value.
    """


class TracerArrayError(ConcretizationError):
    """A traced value met a function that makes a plain array of it: ``np.array([x, y])``, ``scipy.foo(x)``, ``out=``.

    Use ``fnp.stack``, ``fnp.array`` or another function of ``funcgrad.numpy``; for code that must run outside, use
    ``funcgrad.pure_callback``.
    """


class InPlaceError(FuncgradError, TypeError):
    """A traced value was written to where it must not be, or into a plain array that cannot hold it.

    ``x[i] = v`` and ``x += v`` work on arrays that the traced function made itself: ``x = x.copy()``, ``np.zeros_like(x)``,
    ``np.zeros(3, like=x)``, ``funcgrad.numpy.zeros(3)``, ``x * 2``. They raise on its arguments and on what it closes
    over, which would change for the caller; and NumPy cannot put a traced value into an array of ``np.zeros(3)``.
    """


class StaleViewError(InPlaceError):
    """A view (``row = y[0]``, ``y.T``) was used after its array was written to, or an array after a view of it was.

    In NumPy both change, since they share memory. Write ``row = y[0].copy()`` to keep the old values.
    """


class LeakedTracerError(FuncgradError, RuntimeError):
    """A traced value outlived the transformation that made it, usually through a global, an attribute or a list.

    Return the value from the transformed function instead.
    """


class OperandError(FuncgradError, ValueError):
    """Operands do not fit each other in shape, or a parameter does not fit the operand."""


class LinearAlgebraError(OperandError, np.linalg.LinAlgError):
    """A function of linear algebra was given an array that is no matrix, or not a square one. It is a ``LinAlgError``."""


class OperandTypeError(FuncgradError, TypeError):
    """An operand has a dtype or a type that the operation does not take."""


class ForeignArrayError(OperandTypeError):
    """An array of a library that funcgrad computes with only when told to, such as a torch tensor.

    Hand its memory over with ``funcgrad.numpy.from_dlpack(x)``, or register its library as a back end.
    """


class TransformError(FuncgradError, TypeError):
    """A transformation was asked for something that has no meaning: the gradient of a vector, of an integer."""


class TreeError(FuncgradError, ValueError):
    """Two pytrees that must have the same structure do not."""


class SerializationError(FuncgradError, ValueError):
    """A value cannot be saved, or a file cannot be loaded: damaged, foreign, or of another structure.

    Save arrays and Python numbers in dicts, lists, tuples, namedtuples and registered dataclasses; load a file with
    ``like=``, a value of the structure it was saved with.
    """


class DataError(FuncgradError, ValueError):
    """A data file is missing, damaged, of another format, or does not fit the file it belongs to.

    The message is one line: the file, then what is wrong with it.
    """

    locate = False


class StaticArgumentError(FuncgradError, ValueError):
    """A static argument of ``jit`` cannot be hashed, or is an array."""


class MemoryBudgetError(FuncgradError, ValueError):
    """A program does not fit into the ``memory_budget`` of its ``jit``, or the budget is no size in bytes.

    The message says by how much, and which values take the memory. Put ``fg.checkpoint`` around what makes them, take a
    smaller batch, or raise the budget.
    """

    locate = False


class MissingRuleError(FuncgradError, TypeError):
    """A primitive lacks the rule that a transformation needs, or the operation has no derivative of that mode."""


class TrainingError(FuncgradError, ValueError):
    """A training cannot go on: its loss became NaN or infinite, its data ran out, or its checkpoint does not fit.

    The message names the step. Lower the learning rate, clip the gradients, or look for the operation with
    ``with fg.config(debug_nans=True)``.
    """


class NonFiniteError(FuncgradError, FloatingPointError):
    """``config.debug_nans`` is on and an equation made a NaN or an infinity out of finite operands."""

    locate = False


class KeyReuseError(FuncgradError, ValueError):
    """``config.debug_key_reuse`` is on and a random key was used twice, so that equal numbers were drawn.

    >>> import funcgrad as fg
    >>> def two_layers(key):
    ...     return fg.random.normal(key, (2,)), fg.random.normal(key, (2,))
    >>> with fg.config(debug_key_reuse=True):
    ...     two_layers(fg.random.key(0))
    Traceback (most recent call last):
    funcgrad.core.errors.KeyReuseError: the key [0 0] is used twice: what is drawn from it is equal both times
    ...

    Make a key for each use:

    >>> def two_layers(key):
    ...     first, second = fg.random.split(key)
    ...     return fg.random.normal(first, (2,)), fg.random.normal(second, (2,))
    >>> with fg.config(debug_key_reuse=True):
    ...     weights, biases = two_layers(fg.random.key(0))

    A draw and ``split`` use a key; ``fold_in(key, i)`` uses it for the integer ``i`` alone, and leaves it fresh for a draw,
    as in JAX's checker. Keys are compared by value, in programs of ``jit`` and in loops too: two keys of one seed are
    one key. Rows of a ``vmap`` that share a key use it once. Turning the setting off and on begins anew.
    """

    locate = False


class BackendError(FuncgradError, ValueError):
    """A back end is unknown, cannot be loaded, or cannot do what was asked."""

    locate = False


class IRError(FuncgradError, TypeError):
    """A jaxpr breaks the rules of the IR. It is a fault of a compiler pass or a rule, not of the user."""

    locate = False
