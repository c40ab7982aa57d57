"""Functions that take a function: it is applied to many slices at once, by ``vmap``."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import Any

import numpy as np

from ..api.mapping import vmap
from ..core.errors import OperandError
from ..core.trace import EVAL, current_trace
from ..core.types import aval_of
from ._joining import unstack
from ._promote import all_plain, asarray, axis_tuple, broadcast_shapes, convert_to, eager_allowed, normalize_axis
from ._shape import expand_dims, moveaxis, permute, reshape_to
from ._ufuncs import logical_not, logical_or, where

__all__ = ["apply_along_axis", "apply_over_axes", "piecewise", "vectorize"]


def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """As :func:`numpy.apply_along_axis`. While something is traced, ``func1d`` is traced once for all slices."""
    if current_trace() is EVAL and all_plain((arr, *args, *kwargs.values())) and eager_allowed():
        return np.apply_along_axis(func1d, axis, arr, *args, **kwargs)
    arr = asarray(arr)
    axis = normalize_axis(axis, arr.ndim)
    function: Callable[..., Any] = lambda x: asarray(func1d(x, *args, **kwargs))
    for _ in range(arr.ndim - 1):
        function = vmap(function)
    result = function(moveaxis(arr, axis, -1))
    # The axes of what func1d returns stand at the end; they take the place of the axis.
    rest = arr.ndim - 1
    new = range(rest, result.ndim)
    return permute(result, (*range(axis), *new, *range(axis, rest)))


def apply_over_axes(func: Callable[[Any, int], Any], a: Any, axes: Any) -> Any:
    """As :func:`numpy.apply_over_axes`."""
    a = asarray(a)
    for axis in axis_tuple(axes, a.ndim) if not isinstance(axes, (tuple, list)) else axes:
        axis = normalize_axis(axis, a.ndim)
        result = func(a, axis)
        a = result if result.ndim == a.ndim else expand_dims(result, axis)
    return a


def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Any:
    """As :func:`numpy.piecewise`. While something is traced, every function is applied to all of ``x``."""
    if current_trace() is EVAL and all_plain((x, condlist, *args, *kw.values())) and eager_allowed():
        return np.piecewise(x, condlist, funclist, *args, **kw)
    x = asarray(x)
    if isinstance(condlist, (list, tuple)) and condlist and aval_of(asarray(condlist[0])).shape:
        conditions = [asarray(c) for c in condlist]
    else:
        rows = asarray(condlist)
        one = not rows.ndim or (rows.ndim == 1 and x.ndim)
        conditions = [rows] if one else list(unstack(rows))
    if len(funclist) == len(conditions) + 1:
        covered = conditions[0]
        for condition in conditions[1:]:
            covered = logical_or(covered, condition)
        conditions.append(logical_not(covered))
    elif len(funclist) != len(conditions):
        raise ValueError(
            f"with {len(conditions)} condition(s), either {len(conditions)} or {len(conditions) + 1} functions are "
            f"expected"
        )
    dtype = np.dtype(x.dtype)
    result: Any = np.zeros(x.shape, dtype)
    for condition, function in zip(conditions, funclist):
        value = function(x, *args, **kw) if callable(function) else function
        result = where(condition, convert_to(asarray(value), dtype), result)
    return result


# Vectorize ------------------------------------------------------------------------------------------------------------

_ARGUMENT = r"\(\s*(?:[^\W\d]\w*(?:\s*,\s*[^\W\d]\w*)*)?\s*\)"
_SIGNATURE = re.compile(rf"\s*{_ARGUMENT}(?:\s*,\s*{_ARGUMENT})*\s*->\s*{_ARGUMENT}(?:\s*,\s*{_ARGUMENT})*\s*")

Core = tuple[str, ...]


def _parse(signature: str) -> tuple[list[Core], list[Core]]:
    if not _SIGNATURE.fullmatch(signature):
        raise ValueError(f"not a valid gufunc signature: {signature!r}; one is '(m,n),(n)->(m)'")
    sides = ([tuple(re.findall(r"\w+", group)) for group in re.findall(_ARGUMENT, s)] for s in signature.split("->"))
    return tuple(sides)  # type: ignore[return-value]


def vectorize(
    pyfunc: Callable[..., Any], *, excluded: Collection[int | str] = frozenset(), signature: str | None = None
) -> Callable[..., Any]:
    """A function of scalars, or of the core axes that ``signature`` names, as one that broadcasts over all other axes.

    As :class:`numpy.vectorize`, but by ``vmap``: ``pyfunc`` is traced once, and must not choose by the values of its
    arguments. ``excluded``: positions and names of the arguments that are passed on as they are.

    >>> import funcgrad.numpy as fnp
    >>> vectorize(fnp.dot, signature="(n),(n)->()")(np.ones((4, 1, 3)), np.ones((2, 3))).shape
    (4, 2)
    """
    parsed = None if signature is None else _parse(signature)

    @wraps(pyfunc)
    def function(*args: Any, **kwargs: Any) -> Any:
        places = [i for i in range(len(args)) if i not in excluded]
        names = [k for k in kwargs if k not in excluded]
        if names:
            raise TypeError(f"vectorize: give the argument {names[0]!r} by position, or name it in excluded")
        arrays = [asarray(args[i]) for i in places]
        inputs, outputs = parsed or ([()] * len(arrays), None)
        if len(inputs) != len(arrays):
            raise TypeError(f"vectorize: the signature {signature!r} has {len(inputs)} arguments, not {len(arrays)}")
        _check_cores(signature, inputs, arrays)
        outer = [x.shape[: x.ndim - len(core)] for x, core in zip(arrays, inputs)]
        loop = broadcast_shapes("vectorize", *outer)

        def call(*mapped: Any) -> Any:
            filled = list(args)
            for i, x in zip(places, mapped):
                filled[i] = x
            return pyfunc(*filled, **kwargs)

        # An axis is mapped for the arguments that have it; axes of size 1 are left out, and put back at the end.
        mapped_function: Callable[..., Any] = call
        for axis in range(-1, -len(loop) - 1, -1):
            if loop[axis] != 1:
                has = tuple(0 if len(s) >= -axis and s[axis] != 1 else None for s in outer)
                mapped_function = vmap(mapped_function, in_axes=has)
        cores = [x.shape[x.ndim - len(core) :] for x, core in zip(arrays, inputs)]
        squeezed = [reshape_to(x, (*(n for n in s if n != 1), *core)) for x, s, core in zip(arrays, outer, cores)]
        result = mapped_function(*squeezed)
        mapped_axes = sum(n != 1 for n in loop)

        def restored(y: Any) -> Any:
            y = asarray(y)
            return reshape_to(y, (*loop, *y.shape[mapped_axes:]))

        if outputs is not None:
            many = result if isinstance(result, (tuple, list)) else (result,)
            _check_results(signature, outputs, many, mapped_axes)
        return tuple(map(restored, result)) if isinstance(result, (tuple, list)) else restored(result)

    return function


def _check_cores(signature: str | None, inputs: Sequence[Core], arrays: Sequence[Any]) -> None:
    sizes: dict[str, int] = {}
    for i, (core, x) in enumerate(zip(inputs, arrays)):
        if x.ndim < len(core):
            raise OperandError(
                f"vectorize: argument {i} of shape {x.shape} lacks the core axes {core} of {signature!r}"
            )
        for name, n in zip(core, x.shape[x.ndim - len(core) :]):
            if sizes.setdefault(name, n) != n:
                raise OperandError(
                    f"vectorize: the core axis {name!r} of {signature!r} has the sizes {sizes[name]} and {n}"
                )


def _check_results(signature: str | None, outputs: Sequence[Core], results: Sequence[Any], mapped: int) -> None:
    ranks = [np.ndim(y) if not hasattr(y, "ndim") else y.ndim for y in results]
    if [r - mapped for r in ranks] != [len(core) for core in outputs]:
        found = ", ".join(str(r - mapped) for r in ranks)
        raise OperandError(
            f"vectorize: the function returned results with {found} axes, which {signature!r} does not say"
        )
