"""Plain Python inside programs: ``pure_callback``, and ``debug.print`` and ``debug.breakpoint``."""

from __future__ import annotations

import pdb
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from . import tree
from .api._function import checked_leaves, typed
from .core.errors import OperandError, TransformError
from .core.source import user_source
from .core.types import Aval, aval_of, is_array_like
from .primitives import debug_callback
from .primitives import pure_callback as _pure_callback

__all__ = ["debug", "pure_callback"]

_METHODS = ("sequential", "expand_dims", "broadcast_all")


def pure_callback(
    callback: Callable[..., Any],
    result_shape_dtypes: Any,
    *args: Any,
    vmap_method: str = "sequential",
    **kwargs: Any,
) -> Any:
    """``callback(*args, **kwargs)``, a Python function of plain arrays without effects, as part of a program.

    ``result_shape_dtypes``: a pytree of ``ShapeDtypeStruct`` or arrays, the types of the result. ``vmap_method``: under
    vmap the function is called for each row (``sequential``), or once with a mapped axis in front of all arguments
    (``broadcast_all``), or of size 1 in front of those that are not mapped (``expand_dims``). It has no derivative: wrap
    it in custom_jvp or custom_vjp. Raises OperandError if the result is not of the promised types.

    >>> import numpy as np, funcgrad as fg
    >>> f = fg.jit(lambda x: pure_callback(np.cumsum, fg.ShapeDtypeStruct((3,), "float64"), x))
    >>> f(np.ones(3))
    array([1., 2., 3.])
    """
    if vmap_method not in _METHODS:
        raise TransformError(f"pure_callback: vmap_method must be one of {', '.join(_METHODS)}, not {vmap_method!r}")
    types, out_tree = tree.flatten(result_shape_dtypes)
    avals = tuple(aval_of(t).strong() for t in types)
    leaves, in_tree = tree.flatten((args, kwargs))
    checked_leaves("pure_callback: the argument", leaves)
    call = _Call(callback, in_tree, out_tree, avals if vmap_method == "sequential" else None)
    outs = _pure_callback(*[typed(x) for x in leaves], callback=call, avals=avals, method=vmap_method)
    return out_tree.unflatten(outs)


class _Call:
    """A callback on flat arrays, whose results are checked."""

    def __init__(self, callback: Any, in_tree: Any, out_tree: Any, avals: tuple[Aval, ...] | None) -> None:
        self.callback = callback
        self.in_tree = in_tree
        self.out_tree = out_tree
        self.avals = avals
        self.__name__ = getattr(callback, "__name__", "callback")

    def __call__(self, *leaves: Any) -> list[Any]:
        args, kwargs = self.in_tree.unflatten(leaves)
        outs, found = tree.flatten(self.callback(*args, **kwargs))
        if found != self.out_tree:
            raise OperandError(
                f"pure_callback: {self.__name__} returned {tree.describe(found)}, but "
                f"{tree.describe(self.out_tree)} was promised"
            )
        arrays = [np.asarray(y) for y in outs]
        for y, aval in zip(arrays, self.avals or (), strict=bool(self.avals)):
            if y.shape != aval.shape or y.dtype != aval.dtype:
                raise OperandError(f"pure_callback: {self.__name__} returned {aval_of(y)}, but {aval} was promised")
        return arrays


class debug:
    """Looking into programs while they run; works under every transform.

    Under vmap, once for each row. Nothing is printed or stopped while a function is traced.
    """

    @staticmethod
    def print(fmt: str, *args: Any, **kwargs: Any) -> None:
        """Print ``fmt.format(*args, **kwargs)`` when the program gets here.

        >>> import funcgrad as fg
        >>> @fg.jit
        ... def f(x):
        ...     debug.print("x is {x}", x=x)
        ...     return x + 1
        >>> f(2)
        x is 2
        3
        """
        leaves, in_tree = tree.flatten((args, kwargs))
        dynamic = [i for i, x in enumerate(leaves) if is_array_like(x)]

        def show(*values: Any) -> None:
            full = list(leaves)
            for i, v in zip(dynamic, values, strict=True):
                full[i] = v
            some, named = in_tree.unflatten(full)
            sys.stdout.write(fmt.format(*some, **named) + "\n")

        debug_callback(*[typed(leaves[i]) for i in dynamic], callback=show)

    @staticmethod
    def callback(callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call ``callback(*args, **kwargs)`` for its effect when the program gets here."""
        leaves, in_tree = tree.flatten((args, kwargs))
        checked_leaves("debug.callback: the argument", leaves)

        def run(*values: Any) -> None:
            some, named = in_tree.unflatten(values)
            callback(*some, **named)

        debug_callback(*[typed(x) for x in leaves], callback=run)

    @staticmethod
    def breakpoint() -> None:
        """Open pdb when the program gets here, with the values that the local variables of the function then have."""
        frame = sys._getframe(1)
        local = {k: v for k, v in frame.f_locals.items() if _holds_arrays(v)}
        source = user_source()

        def stop(**values: Any) -> None:
            where = f" at {source.describe()}" if source else ""
            sys.stdout.write(f"funcgrad breakpoint{where}; the local variables are in `values`\n")
            debugger = pdb.Pdb(stdin=sys.stdin, stdout=sys.stdout)
            debugger.set_trace(sys._getframe(0))

        debug.callback(stop, **local)


def _holds_arrays(value: Any) -> bool:
    leaves = tree.leaves(value)
    return bool(leaves) and all(is_array_like(x) for x in leaves)
