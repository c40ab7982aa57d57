"""What all transformed functions share: pytrees in and out, checked leaves, names of arguments, ownership of results."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..core.backend import library_of
from ..core.errors import ForeignArrayError, OperandTypeError, TransformError
from ..core.trace import Tracer
from ..core.types import Aval, aval_of, foreign_advice, is_array_like, is_inexact
from ..primitives import convert

__all__ = [
    "FlatFunction",
    "Transformed",
    "argument_names",
    "argument_paths",
    "as_tuple",
    "check_differentiable",
    "checked_leaves",
    "function_name",
    "has_tracer",
    "leaf_paths",
    "matching",
    "owned",
    "quiet",
    "typed",
]

#: Transforms compute derivatives at places the user never asked for (the branch of a `where` that is not taken), so
#: they run without NumPy's floating-point warnings; `config.debug_nans` finds what is wrong.
quiet = functools.partial(np.errstate, divide="ignore", over="ignore", under="ignore", invalid="ignore")


class Transformed:
    """A function made of another one. It keeps the name and the docstring, and can be pickled if the function can."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        if not callable(fun):
            raise TransformError(f"{type(self).__name__} takes a function, not {fun!r}")
        functools.update_wrapper(self, fun)
        self.fun = fun

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self) -> Any:
        # A function decorated in its module is found there by its name; any other is made again from its parts.
        found: Any = sys.modules.get(self.__module__)
        name: str = self.__qualname__  # type: ignore[attr-defined]
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is self:
            return name
        return _remake, (type(self), self._parts())

    def _parts(self) -> dict[str, Any]:
        """The keyword arguments of the constructor."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {function_name(self.fun)}>"


def _remake(cls: type, parts: dict[str, Any]) -> Any:
    return cls(**parts)


class FlatFunction:
    """A function of flat leaves made of one of pytrees; ``out_tree`` is the structure of the last result."""

    def __init__(self, fun: Callable[..., Any], in_tree: tree.TreeDef) -> None:
        self.fun = fun
        self.in_tree = in_tree
        self.out_tree: Any = None

    @property
    def __name__(self) -> str:
        return function_name(self.fun)

    def __call__(self, *leaves: Any) -> list[Any]:
        args, kwargs = self.in_tree.unflatten(leaves)
        leaves_out, self.out_tree = tree.flatten(self.fun(*args, **kwargs))
        return leaves_out


def function_name(fun: Any) -> str:
    """The name of a function for messages and printed programs."""
    if isinstance(fun, functools.partial):
        return function_name(fun.func)
    return getattr(fun, "__name__", type(fun).__name__)


def as_tuple(x: int | str | Sequence[Any] | None) -> tuple[Any, ...]:
    """An index or a name, or several, as a tuple."""
    if x is None:
        return ()
    return (x,) if isinstance(x, (int, str)) else tuple(x)


#: By weak reference, lest a function, and with it the arrays that it closes over, live on here.
_signatures: weakref.WeakKeyDictionary[Any, inspect.Signature | None] = weakref.WeakKeyDictionary()


def _signature(fun: Any) -> inspect.Signature | None:
    try:
        return _signatures[fun]
    except (KeyError, TypeError):
        pass
    try:
        signature = inspect.signature(fun)
    except (ValueError, TypeError):
        signature = None
    with contextlib.suppress(TypeError):  # neither hashable nor weakly referenced
        _signatures[fun] = signature
    return signature


def argument_names(fun: Callable[..., Any], count: int) -> list[str]:
    """The names of the first ``count`` positional arguments, as far as they have any."""
    signature = _signature(fun)
    names: list[str] = []
    for p in signature.parameters.values() if signature else ():
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            names.append(p.name)
        elif p.kind is p.VAR_POSITIONAL:
            names.extend(f"{p.name}[{i}]" for i in range(count - len(names)))
    return [*names, *(f"args[{i}]" for i in range(len(names), count))][:count]


def argument_paths(fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> list[str]:
    """What each leaf of the arguments is called: ``params['w']``, ``x``."""
    paths = []
    names = argument_names(fun, len(args))
    for name, value in [*zip(names, args, strict=True), *sorted(kwargs.items())]:
        paths += [name + tree.keystr(p) for p, _ in tree.leaves_with_path(value)]
    return paths


def leaf_paths(treedef: tree.TreeDef, leaves: Sequence[Any]) -> list[str]:
    """The key paths of the leaves of a tree."""
    return [tree.keystr(p) for p, _ in tree.leaves_with_path(treedef.unflatten(leaves))]


def typed(x: Any) -> Any:
    """The value with a dtype: a Python scalar becomes a NumPy one."""
    return np.asarray(x, aval_of(x).dtype)[()] if isinstance(x, (bool, int, float, complex)) else x


def checked_leaves(what: str, leaves: Sequence[Any], paths: Callable[[], Sequence[str]] | None = None) -> None:
    """Raise OperandTypeError for a leaf that is no array; ``paths`` gives the names of the leaves, if it comes to that."""
    for i, x in enumerate(leaves):
        if type(x) is np.ndarray and x.dtype.kind in "fiub":
            continue
        if not is_array_like(x):
            name = _joined(paths()[i]) if paths else ""
            raise OperandTypeError(f"{what}{name} must be an array or a scalar, not {x!r} of type {type(x).__name__}")
        if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind not in "biufc" and x.dtype.name != "bfloat16":
            name = _joined(paths()[i]) if paths else ""
            raise OperandTypeError(f"{what}{name} has the dtype {x.dtype}, which is not a number")
        try:
            aval_of(x)
        except ForeignArrayError:
            raise ForeignArrayError(f"{what}{_joined(paths()[i]) if paths else ''}: {foreign_advice(x)}") from None


def _joined(path: str) -> str:
    """A key path after words: what starts with a name stands apart."""
    return path if path[:1] in ("", "[", ".") else f" {path}"


def owned(outs: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    """The results as arrays of their own: writable, not sharing memory with another array; scalars for rank 0.

    Where inputs are arrays of another library so are all results, constants too, as they are of a compiled function. Its
    operations share no memory with their operands, so that a result is at worst an input itself.
    """
    library = None
    for x in inputs:
        if type(x) is not np.ndarray and library is None:
            library = library_of(x)
    seen = {id(x) for x in inputs}
    fresh = []
    for y in outs:
        if library is not None:
            if isinstance(y, (np.ndarray, np.generic)) and y.dtype.kind in "biufc":
                y = library.asarray(y)
            elif id(y) in seen and isinstance(y, library.array_types):
                y = library.copy(y)
        elif isinstance(y, np.ndarray):
            if y.ndim == 0:
                y = y[()]
            elif y.base is not None or not y.flags.writeable or id(y) in seen:
                y = y.copy()
        seen.add(id(y))
        fresh.append(y)
    return fresh


def matching(ct: Any, aval: Aval) -> Any:
    """A cotangent for a value of this type: a Python scalar for a Python scalar."""
    if not aval.weak or (isinstance(ct, (float, complex)) and not isinstance(ct, np.generic)):
        return ct
    return convert(ct, dtype=aval.dtype, weak=True)


def check_differentiable(
    what: str, leaves: Sequence[Any], paths: Callable[[], Sequence[str]], holomorphic: bool
) -> None:
    """Raise TransformError for a leaf that has no derivative."""
    for i, x in enumerate(leaves):
        dtype = aval_of(x).dtype
        if dtype.kind == ("c" if holomorphic else "f"):
            continue
        path = paths()[i]
        if holomorphic and dtype.kind != "c":
            raise TransformError(f"{what} with holomorphic=True takes complex arguments, but {path} is {aval_of(x)}")
        if not is_inexact(dtype):
            hint = f"{path}.astype(float)" if not isinstance(x, (bool, int)) else f"{path} = {float(x)}"
            raise TransformError(
                f"{what} takes real or complex arguments, but {path} is {aval_of(x)}: an integer has no derivative; "
                f"write {hint}, or differentiate with respect to other arguments by argnums"
            )
        if what == "jacfwd" and not holomorphic and dtype.kind == "c":
            raise TransformError(f"jacfwd of the complex argument {path} needs holomorphic=True; or use jacrev")


def has_tracer(leaves: Sequence[Any]) -> bool:
    """Whether any of the values is a tracer."""
    return any(isinstance(x, Tracer) for x in leaves)
