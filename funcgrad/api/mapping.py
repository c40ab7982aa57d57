"""``vmap``: a function of one example becomes a function of many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import tree
from ..core.errors import OperandError, TransformError, TreeError
from ..core.types import aval_of
from ..primitives import move_axis
from ..primitives.structure import repeat_rows
from ..transforms.batching import Axis, batch
from ._function import (
    FlatFunction,
    Transformed,
    argument_paths,
    checked_leaves,
    function_name,
    has_tracer,
    leaf_paths,
    owned,
    quiet,
    typed,
)

__all__ = ["vmap"]


class vmap(Transformed):
    """The function that applies ``fun`` along an axis of its arguments, all rows at once.

    ``in_axes``: the axis to map over, an integer, or None for an argument that all rows share; or a tuple with an entry
    for each positional argument, each of which may be a pytree prefix of the argument. Keyword arguments are mapped over
    axis 0. ``out_axes``: where the mapped axis goes in the results, an integer or a pytree prefix of the result; None for
    a result that is the same for all rows. ``axis_name``: a name for ``lax.psum`` and its kin. ``axis_size``: the number
    of rows, needed only where no argument tells.

    Raises OperandError, naming the arguments, if their sizes along the mapped axes differ.

    >>> import numpy as np
    >>> import funcgrad.numpy as fnp
    >>> vmap(fnp.dot, in_axes=(0, None))(np.eye(2), np.array([1.0, 2.0]))
    array([1., 2.])
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        in_axes: Any = 0,
        out_axes: Any = 0,
        axis_name: str | None = None,
        axis_size: int | None = None,
    ) -> None:
        super().__init__(fun)
        if isinstance(in_axes, list):
            in_axes = tuple(in_axes)
        if not (in_axes is None or isinstance(in_axes, (int, tuple))):
            raise TransformError(
                f"vmap: in_axes must be an integer, None or a tuple with an entry for each argument, not {in_axes!r}"
            )
        self.in_axes = in_axes
        self.out_axes = out_axes
        self.axis_name = axis_name
        self.axis_size = axis_size

    def _parts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("fun", "in_axes", "out_axes", "axis_name", "axis_size")}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves, in_tree = tree.flatten((args, kwargs))
        paths = argument_paths(self.fun, args, kwargs)
        checked_leaves("vmap: the argument", leaves, lambda: paths)
        if isinstance(self.in_axes, tuple) and len(self.in_axes) != len(args):
            raise TreeError(
                f"vmap: in_axes has {len(self.in_axes)} entries, but {function_name(self.fun)} was called with "
                f"{len(args)} positional arguments"
            )
        axes = tree.prefix_leaves(self.in_axes, tree.structure(args), "vmap: in_axes")
        axes += [0] * (len(leaves) - len(axes))
        rows = [
            x if a is None else _to_front(x, a, f"vmap: in_axes of {path}")
            for x, a, path in zip(leaves, axes, paths, strict=True)
        ]
        size = self._size(rows, axes, paths)
        flat = FlatFunction(self.fun, in_tree)
        with quiet():
            inputs = [typed(x) for x in rows]
            outs, mapped = batch(flat, Axis(size, self.axis_name), inputs, [a is not None for a in axes])
            names = leaf_paths(flat.out_tree, outs)
            checked_leaves("vmap: the result", outs, lambda: names)
            places = tree.prefix_leaves(self.out_axes, flat.out_tree, "vmap: out_axes")
            results = [
                self._placed(y, is_mapped, place, size, name)
                for y, is_mapped, place, name in zip(outs, mapped, places, names, strict=True)
            ]
        return flat.out_tree.unflatten(results if has_tracer(results) else owned(results, leaves))

    def _size(self, rows: list[Any], axes: list[Any], paths: list[str]) -> int:
        sizes = {p: r.shape[0] for r, a, p in zip(rows, axes, paths, strict=True) if a is not None}
        found: set[int] = set(sizes.values())
        if self.axis_size is not None:
            found.add(self.axis_size)
        if not found:
            raise TransformError("vmap: no argument is mapped, so the number of rows is unknown; give axis_size")
        if len(found) > 1:
            listed = ", ".join(f"{p}: {n}" for p, n in sizes.items())
            given = f"; axis_size is {self.axis_size}" if self.axis_size is not None else ""
            raise OperandError(f"vmap: the mapped axes of the arguments differ in size ({listed}{given})")
        return found.pop()

    def _placed(self, y: Any, is_mapped: bool, place: Any, size: int, name: str) -> Any:
        if place is None:
            if is_mapped:
                raise TransformError(f"vmap: out_axes is None for the result{name}, which differs between the rows")
            return y
        if not is_mapped:
            y = repeat_rows(typed(y), size)
        ndim = len(y.shape)
        if not isinstance(place, int) or not -ndim <= place < ndim:
            raise OperandError(f"vmap: out_axes {place!r} is not an axis of the result{name}, which has rank {ndim}")
        return move_axis(y, 0, place % ndim)


def _to_front(x: Any, axis: Any, what: str) -> Any:
    ndim = len(aval_of(x).shape)
    if not isinstance(axis, int) or not -ndim <= axis < ndim:
        raise OperandError(f"{what} is {axis!r}, which is not an axis of the shape {aval_of(x).shape}")
    return move_axis(x, axis % ndim, 0)
