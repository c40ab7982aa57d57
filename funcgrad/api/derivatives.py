"""Derivatives of functions on pytrees: ``grad`` and its kin, ``vjp``, ``jvp``, ``linearize`` and Jacobians.

A gradient has the shape and dtype of what it is taken with respect to. For a real function of a complex z = a + ib it is
df/da - i df/db, as in JAX: its conjugate is the direction of steepest ascent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..core.errors import OperandError, TransformError, TreeError
from ..core.types import Aval, aval_of, dtype_of, float0, is_inexact
from ..primitives import add, broadcast_in_dim, convert, eq, iota, move_axis, reshape, slice_
from ..transforms import forward, reverse
from ..transforms.batching import Axis, batch
from ._function import (
    FlatFunction,
    Transformed,
    argument_names,
    as_tuple,
    check_differentiable,
    checked_leaves,
    function_name,
    has_tracer,
    leaf_paths,
    matching,
    owned,
    quiet,
    typed,
)

__all__ = [
    "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp", "linear_transpose", "linearize", "value_and_grad",
    "vjp",
]  # fmt: skip

Argnums = int | Sequence[int]


class _Selected:
    """A call split into the leaves that are differentiated and the rest.

    ``names`` says what the leaves are called, ``unflatten`` gives a tree of them, ``flat`` is the function of them.
    """

    def __init__(
        self, fun: Callable[..., Any], argnums: Any, argnames: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> None:
        self.fun = fun
        self.args = args
        self.kwargs = kwargs
        self.single = isinstance(argnums, int) and not argnames
        self.names = as_tuple(argnames)
        self.nums = _positions(fun, () if argnums is None else as_tuple(argnums), len(args))
        unknown = [n for n in self.names if n not in kwargs]
        if unknown:
            raise TransformError(
                f"argnames names {unknown[0]!r}, which was not passed by keyword to {function_name(fun)}"
            )
        # A single array, the most frequent case, needs no tree.
        self.plain = self.single and type(args[self.nums[0]]) is np.ndarray
        if self.plain:
            self.leaves = [args[self.nums[0]]]
        else:
            self.leaves, self.tree = tree.flatten(([args[i] for i in self.nums], {n: kwargs[n] for n in self.names}))

    @property
    def paths(self) -> list[str]:
        """What the leaves are called, for messages."""
        names = argument_names(self.fun, len(self.args))
        called = [names[i] for i in self.nums]
        if self.plain:
            return called
        pairs = tree.leaves_with_path(self.tree.unflatten(self.leaves))
        return [
            (called[p[1].idx] if p[0].idx == 0 else str(p[1].key)) + tree.keystr(p[2:])  # type: ignore[union-attr]
            for p, _ in pairs
        ]

    def call(self, leaves: Sequence[Any]) -> Any:
        """The function with these leaves in place of the chosen ones."""
        args = list(self.args)
        if self.plain:
            args[self.nums[0]] = leaves[0]
            return self.fun(*args, **self.kwargs)
        chosen, named = self.tree.unflatten(leaves)
        for i, x in zip(self.nums, chosen, strict=True):
            args[i] = x
        return self.fun(*args, **{**self.kwargs, **named})

    def result(self, leaves: Sequence[Any]) -> Any:
        """A tree of the chosen arguments, as grad returns it: one, a tuple, or with a dict of the named ones."""
        if self.plain:
            return leaves[0]
        chosen, named = self.tree.unflatten(leaves)
        positional = chosen[0] if self.single else tuple(chosen)
        if not self.names:
            return positional
        return (positional, named) if self.nums else named


def _positions(fun: Any, argnums: tuple[int, ...], count: int) -> list[int]:
    for i in argnums:
        if not isinstance(i, int) or not -count <= i < count:
            raise TransformError(
                f"argnums={i!r} does not name one of the {count} positional arguments given to {function_name(fun)}; "
                f"arguments passed by keyword are differentiated by argnames"
            )
    return [i % count for i in argnums]


class value_and_grad(Transformed):
    """The function that computes the value of ``fun`` and its gradient.

    ``argnums``: the positional arguments to differentiate with respect to, one or several; ``argnames``: those passed by
    keyword. ``has_aux``: ``fun`` returns ``(value, aux)``, and so does the new function: ``((value, aux), gradient)``.
    ``holomorphic``: ``fun`` is complex-differentiable and returns a complex value. ``allow_int``: integer arguments are
    accepted and get a gradient of dtype ``float0``.

    The gradient is a pytree like the argument: a tuple of them for several argnums. Raises TransformError for a value
    that is not a scalar, or an argument that is not real or complex.

    >>> value_and_grad(lambda x: x**2)(3.0)
    (9.0, 6.0)
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        argnums: Argnums = 0,
        has_aux: bool = False,
        holomorphic: bool = False,
        allow_int: bool = False,
        argnames: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__(fun)
        self.argnums = argnums
        self.has_aux = has_aux
        self.holomorphic = holomorphic
        self.allow_int = allow_int
        self.argnames = argnames

    def _parts(self) -> dict[str, Any]:
        names = ("fun", "argnums", "has_aux", "holomorphic", "allow_int", "argnames")
        return {name: getattr(self, name) for name in names}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        what = type(self).__name__
        argnums = None if self.argnames and self.argnums == 0 and not args else self.argnums
        chosen = _Selected(self.fun, argnums, self.argnames, args, kwargs)
        leaves = chosen.leaves
        checked_leaves(f"{what}: the argument", leaves, lambda: chosen.paths)
        live = [is_inexact(aval_of(x).dtype) for x in leaves]
        if not self.allow_int:
            check_differentiable(what, leaves, lambda: chosen.paths, self.holomorphic)
        out_tree: Any = None

        def flat(*xs: Any) -> list[Any]:
            nonlocal out_tree
            answer = chosen.call(xs)
            if self.has_aux:
                if not isinstance(answer, tuple) or len(answer) != 2:
                    raise TransformError(f"{what} with has_aux=True needs a function that returns a pair (value, aux)")
                value, aux = answer
                rest, out_tree = tree.flatten(aux)
                return [value, *rest]
            return [answer]

        flat.__name__ = function_name(self.fun)
        with quiet():
            outs, tape = reverse.linearize(flat, leaves, live)
            value = outs[0]
            _check_scalar(what, value, self.holomorphic)
            one = dtype_of(typed(value)).type(1)
            cts = reverse.backward(tape, [one] + [None] * (len(outs) - 1))
            answers = self._gradients(leaves, live, cts)
        gradient = chosen.result(_values(answers, leaves))
        if self.has_aux:
            return (value, out_tree.unflatten(_values(outs[1:], tree.leaves((args, kwargs))))), gradient
        return value, gradient

    def _gradients(self, leaves: Sequence[Any], live: Sequence[bool], cts: Sequence[Any]) -> list[Any]:
        given = iter(cts)
        answers = []
        for x, is_live in zip(leaves, live, strict=True):
            aval = aval_of(x)
            if not is_live:
                answers.append(np.zeros(aval.shape, float0))
                continue
            ct = next(given)
            answers.append(matching(forward.zeros(aval.strong()) if ct is None else ct, aval))
        return answers


class grad(value_and_grad):
    """The function that computes the gradient of ``fun``; arguments as of :class:`value_and_grad`.

    With ``has_aux`` it returns ``(gradient, aux)``.

    >>> grad(lambda x: x**3)(2.0)
    12.0
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        value, gradient = super().__call__(*args, **kwargs)
        return (gradient, value[1]) if self.has_aux else gradient


def _check_scalar(what: str, value: Any, holomorphic: bool) -> None:
    try:
        aval = aval_of(value)
    except TypeError:
        kind = tree.describe(tree.structure(value))
        raise TransformError(
            f"{what} needs a function that returns a scalar, but it returned {kind}; for (value, aux) use has_aux=True"
        ) from None
    if aval.shape:
        raise TransformError(
            f"{what} needs a function that returns a scalar, but it returned {aval}; take one element, or .sum() or "
            f".mean() of it, or use jacrev or jacfwd for all derivatives, or vjp for a combination of them"
        )
    if not is_inexact(aval.dtype):
        raise TransformError(f"{what} needs a function that returns a real number, but it returned {aval}")
    if aval.dtype.kind == "c" and not holomorphic:
        raise TransformError(
            f"{what} needs a function that returns a real number, but it returned {aval}; take its real part or abs, or "
            f"say holomorphic=True if the function is complex-differentiable"
        )


def _checked(what: str, given: Any, treedef: tree.TreeDef, avals: Sequence[Aval], like: str) -> list[Any]:
    """The leaves of tangents or cotangents, which must be like the values they belong to; None where there is none."""
    leaves, structure = tree.flatten(given)
    if structure != treedef:
        raise TreeError(
            f"{what} must have the tree structure of {like}, {tree.describe(treedef)}, but has {tree.describe(structure)}"
        )
    out: list[Any] = []
    for i, (x, aval) in enumerate(zip(leaves, avals, strict=True)):
        if not is_inexact(aval.dtype):
            out.append(None)
            continue
        checked_leaves(what, [x], lambda i=i: leaf_paths(treedef, leaves)[i:])  # type: ignore[misc]
        found = aval_of(x)
        if found.shape == aval.shape and found.dtype == aval.dtype:
            out.append(typed(x))
            continue
        path = leaf_paths(treedef, leaves)[i]
        if found.shape != aval.shape:
            raise OperandError(f"{what}{path} must have the shape of {like}, {aval}, but is {found}")
        if not found.weak or (found.dtype.kind == "c" and aval.dtype.kind != "c"):
            raise OperandError(f"{what}{path} must have the dtype of {like}, {aval}, but is {found}")
        out.append(convert(typed(x), dtype=aval.dtype))
    return out


def _tangent(t: Any, y: Any) -> Any:
    """The tangent of a result as it is returned."""
    aval = aval_of(y)
    if not is_inexact(aval.dtype):
        return np.zeros(aval.shape, float0)
    return matching(forward.zeros(aval.strong()) if t is None else t, aval)


def jvp(
    fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> tuple[Any, ...]:
    """The value of ``fun(*primals)`` and its derivative in the direction ``tangents``.

    ``tangents`` has the structure, shapes and dtypes of ``primals`` (any value for integers, which have no tangent).
    Returns ``(value, tangent)``, or ``(value, tangent, aux)`` with ``has_aux``. Raises TreeError or OperandError,
    naming the leaf, if they differ.

    >>> jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 0.0))
    (6.0, 3.0)
    """
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise TransformError(f"jvp takes the {name} as a tuple, one for each argument, not {type(given).__name__}")
    leaves, in_tree = tree.flatten((tuple(primals), {}))
    checked_leaves("jvp: a primal", leaves)
    like = tree.structure(tuple(primals))
    ts = _checked("jvp: tangents", tuple(tangents), like, [aval_of(x) for x in leaves], "primals")
    flat, aux = _with_aux(FlatFunction(fun, in_tree), has_aux, "jvp")
    with quiet():
        outs, touts = forward.jvp(flat, leaves, ts)
        n, unflatten, unflatten_aux = aux()
        answers = [_tangent(t, y) for t, y in zip(touts[:n], outs[:n], strict=True)]
    values = _values(outs, leaves)
    value, tangent = unflatten(values[:n]), unflatten(_values(answers, [*ts, *outs]))
    return (value, tangent, unflatten_aux(values[n:])) if has_aux else (value, tangent)


def _values(outs: Sequence[Any], inputs: Sequence[Any]) -> Sequence[Any]:
    """Results as they are returned: arrays of their own, unless they are traced further."""
    return outs if has_tracer(outs) else owned(outs, inputs)


def _with_aux(flat: FlatFunction, has_aux: bool, what: str) -> tuple[Callable[..., list[Any]], Callable[[], Any]]:
    """A flat function, and after it ran: how many results it has, and the trees of results and aux."""
    found: list[Any] = []

    def split(*leaves: Any) -> list[Any]:
        args, kwargs = flat.in_tree.unflatten(leaves)
        answer = flat.fun(*args, **kwargs)
        rest: Any = None
        if has_aux:
            if not isinstance(answer, tuple) or len(answer) != 2:
                raise TransformError(f"{what} with has_aux=True needs a function that returns a pair (value, aux)")
            answer, rest = answer
        outs, out_tree = tree.flatten(answer)
        checked_leaves(f"{what}: the result", outs, lambda: leaf_paths(out_tree, outs))
        more, aux_tree = tree.flatten(rest)
        found[:] = [len(outs), out_tree.unflatten, aux_tree.unflatten]
        return [*outs, *more]

    split.__name__ = flat.__name__
    return split, lambda: found


def _residuals(tape: reverse.Tape) -> list[Any]:
    """The arrays that a tape holds, and those that they are views of: what the user gets must not be among them."""
    operands: list[Any] = [x for eqn in tape.eqns for x in eqn.inputs]
    held = [x for x in operands if type(x) is np.ndarray]
    return [*held, *(x.base for x in held if x.base is not None)]


class _Pullback:
    """The map from cotangents of the results to those of the arguments; it can be called many times."""

    def __init__(
        self, tape: reverse.Tape, leaves: Sequence[Any], live: Sequence[bool], in_tree: Any, outs: Any
    ) -> None:
        self.tape = tape
        self.avals = [aval_of(x) for x in leaves]
        self.live = live
        self.in_tree = in_tree
        self.out_tree, self.out_avals = outs

    def __call__(self, ct: Any) -> Any:
        """Cotangents of the arguments, a tuple with an entry an argument, from one like the result."""
        cts = _checked("vjp: the cotangent", ct, self.out_tree, self.out_avals, "the result")
        with quiet():
            given = iter(reverse.backward(self.tape, cts))
            answers = []
            for aval, is_live in zip(self.avals, self.live, strict=True):
                if is_live:
                    c = next(given)
                    answers.append(matching(forward.zeros(aval.strong()) if c is None else c, aval))
                else:
                    answers.append(np.zeros(aval.shape, float0))
        return self.in_tree.unflatten(_values(answers, cts))[0]


def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of ``fun(*primals)`` and its pullback, a function from a cotangent like the value to a tuple of
    cotangents like the arguments. It can be called as often as one likes.

    With ``has_aux`` the function returns ``(value, aux)``, and vjp ``(value, pullback, aux)``.

    >>> y, pullback = vjp(lambda x, y: x * y, 2.0, 3.0)
    >>> pullback(1.0)
    (3.0, 2.0)
    """
    leaves, in_tree = tree.flatten((primals, {}))
    checked_leaves("vjp: an argument", leaves)
    live = [is_inexact(aval_of(x).dtype) for x in leaves]
    flat, aux = _with_aux(FlatFunction(fun, in_tree), has_aux, "vjp")
    with quiet():
        outs, tape = reverse.linearize(flat, forward.snapshot(leaves), live)
    n, unflatten, unflatten_aux = aux()
    values = _values(outs, [*leaves, *_residuals(tape)])
    value = unflatten(values[:n])
    about = tree.structure(value), [aval_of(y) for y in outs[:n]]
    pullback = _Pullback(tape._replace(outs=tape.outs[:n]), leaves, live, in_tree, about)
    return (value, pullback, unflatten_aux(values[n:])) if has_aux else (value, pullback)


def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of ``fun(*primals)`` and its derivative there as a linear function of tangents like the arguments.

    The work at the primals is done once; the linear function can be called as often as one likes.

    >>> y, f_jvp = linearize(lambda x: x**2, 3.0)
    >>> f_jvp(1.0), f_jvp(2.0)
    (6.0, 12.0)
    """
    leaves, in_tree = tree.flatten((primals, {}))
    checked_leaves("linearize: an argument", leaves)
    like = tree.structure(primals)
    avals = [aval_of(x) for x in leaves]
    live = [is_inexact(a.dtype) for a in avals]
    flat, aux = _with_aux(FlatFunction(fun, in_tree), has_aux, "linearize")
    with quiet():
        outs, tape = reverse.linearize(flat, forward.snapshot(leaves), live)
    n, unflatten, unflatten_aux = aux()
    tape = tape._replace(outs=tape.outs[:n])

    def f_jvp(*tangents: Any) -> Any:
        ts = _checked("the linearized function: tangents", tangents, like, avals, "the arguments")
        with quiet():
            touts = reverse.replay(tape, [t for t, is_live in zip(ts, live, strict=True) if is_live])
            answers = [_tangent(t, y) for t, y in zip(touts, outs[:n], strict=True)]
        return unflatten(_values(answers, ts))

    values = _values(outs, [*leaves, *_residuals(tape)])
    value = unflatten(values[:n])
    return (value, f_jvp, unflatten_aux(values[n:])) if has_aux else (value, f_jvp)


def linear_transpose(fun: Callable[..., Any], *primals: Any) -> Callable[[Any], Any]:
    """The transpose of a linear function, from cotangents like its result to a tuple of those like its arguments.

    ``primals`` are examples: only their shapes and dtypes matter (ShapeDtypeStruct will do). Raises MissingRuleError if
    the function is not linear.

    >>> linear_transpose(lambda x: 3.0 * x, 1.0)(2.0)
    (6.0,)
    """
    leaves, in_tree = tree.flatten((primals, {}))
    avals = [aval_of(x) for x in leaves]
    flat = FlatFunction(fun, in_tree)
    with quiet():
        outs, tape = reverse.linear_tape(flat, [a.strong() for a in avals], [True] * len(avals))
    out_avals = [aval_of(y) for y in outs]
    constant = [i for i, (v, y) in enumerate(zip(tape.outs, outs, strict=True)) if v is None and not _is_zero(y)]
    if constant:
        raise TransformError(
            f"linear_transpose of {function_name(fun)}: result number {constant[0]} does not depend on the arguments, so "
            f"the function is not linear"
        )

    def transposed(ct: Any) -> Any:
        cts = _checked("linear_transpose: the cotangent", ct, flat.out_tree, out_avals, "the result")
        with quiet():
            given = reverse.backward(tape, cts)
            answers = [
                matching(forward.zeros(a.strong()) if c is None else c, a) for c, a in zip(given, avals, strict=True)
            ]
        return in_tree.unflatten(_values(answers, cts))[0]

    return transposed


def _is_zero(y: Any) -> bool:
    return isinstance(y, (np.ndarray, np.generic, int, float, complex)) and not np.any(y)


# Jacobians ------------------------------------------------------------------------------------------------------------


def _basis(avals: Sequence[Aval]) -> list[Any]:
    """The unit vectors of a space of arrays: an array (size of all, *shape) for each."""
    total = sum(a.size for a in avals)
    rows = iota(shape=(total,), dtype=np.dtype(np.int64), axis=0)
    out = []
    start = 0
    for a in avals:
        columns = iota(shape=(total, a.size), dtype=np.dtype(np.int64), axis=1)
        place = broadcast_in_dim(rows, shape=(total, a.size), dims=(0,))
        unit = convert(eq(place, add(columns, np.int64(start))), dtype=a.dtype)
        out.append(reshape(unit, shape=(total, *a.shape)))
        start += a.size
    return out


def _cut(x: Any, sizes: Sequence[int], axis: int) -> list[Any]:
    """The blocks of an array along an axis."""
    out = []
    start = 0
    for n in sizes:
        limit = list(x.shape)
        begin = [0] * len(limit)
        begin[axis], limit[axis] = start, start + n
        out.append(slice_(x, start=tuple(begin), limit=tuple(limit), stride=(1,) * len(limit)))
        start += n
    return out


class jacfwd(Transformed):
    """The function that computes the Jacobian of ``fun`` by forward mode: one pass for each input element, all at once.

    Arguments as of :class:`grad`. The Jacobian has, for each leaf of the result, a tree like the argument, whose leaves
    have the shape of the result followed by that of the argument. Best where inputs are fewer than outputs.

    >>> jacfwd(lambda x: x**2)(3.0)
    np.float64(6.0)
    """

    def __init__(
        self, fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
    ) -> None:
        super().__init__(fun)
        self.argnums = argnums
        self.has_aux = has_aux
        self.holomorphic = holomorphic

    def _parts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("fun", "argnums", "has_aux", "holomorphic")}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        what = type(self).__name__
        chosen = _Selected(self.fun, self.argnums, None, args, kwargs)
        checked_leaves(f"{what}: the argument", chosen.leaves, lambda: chosen.paths)
        check_differentiable(what, chosen.leaves, lambda: chosen.paths, self.holomorphic)
        aux: list[Any] = []
        out_tree: Any = None

        def flat(*xs: Any) -> list[Any]:
            nonlocal out_tree
            answer = chosen.call(xs)
            rest: list[Any] = []
            if self.has_aux:
                answer, more = answer
                rest, aux_tree = tree.flatten(more)
                aux[:] = [aux_tree]
            leaves, out_tree = tree.flatten(answer)
            checked_leaves(f"{what}: the result", leaves)
            aux[1:] = [len(leaves)]
            return [*leaves, *rest]

        with quiet():
            outs, blocks = self._blocks(flat, chosen.leaves, lambda: aux[-1])
        n = aux[-1]
        columns = [chosen.result(_values(row, [])) for row in blocks]
        jacobian = out_tree.unflatten(columns)
        return (
            (jacobian, aux[0].unflatten(_values(outs[n:], tree.leaves((args, kwargs))))) if self.has_aux else jacobian
        )

    def _blocks(self, flat: Any, leaves: Sequence[Any], count: Callable[[], int]) -> tuple[list[Any], list[list[Any]]]:
        """The results, and for each of them a block for each leaf, of shape (*result, *leaf)."""
        avals = [aval_of(x).strong() for x in leaves]
        found: list[Any] = []

        def push(*ts: Any) -> list[Any]:
            outs, touts = forward.jvp(flat, leaves, ts)
            found[:] = outs
            for y in outs[: count()]:
                _check_inexact("jacfwd", y)
            return [forward.instantiate(t, y) for t, y in zip(touts[: count()], outs, strict=False)]

        total = sum(a.size for a in avals)
        rows, mapped = batch(push, Axis(total), _basis(avals), [True] * len(avals))
        blocks = []
        for y, is_mapped in zip(rows, mapped, strict=True):
            full = y if is_mapped else _repeated(y, total)
            shape = full.shape[1:]
            last = move_axis(full, 0, len(shape))
            parts = _cut(last, [a.size for a in avals], len(shape))
            blocks.append([reshape(p, shape=(*shape, *a.shape)) for p, a in zip(parts, avals, strict=True)])
        return found, blocks


def _repeated(y: Any, size: int) -> Any:
    shape = aval_of(y).shape
    return broadcast_in_dim(y, shape=(size, *shape), dims=tuple(range(1, len(shape) + 1)))


def _check_inexact(what: str, y: Any) -> None:
    if not is_inexact(aval_of(y).dtype):
        raise TransformError(f"{what} needs a function with real or complex results, but one of them is {aval_of(y)}")


class jacrev(jacfwd):
    """The function that computes the Jacobian of ``fun`` by reverse mode: one pass for each output element, all at once.

    Arguments and result as of :class:`jacfwd`. Best where outputs are fewer than inputs.

    >>> jacrev(lambda x: x**2)(3.0)
    np.float64(6.0)
    """

    def _blocks(self, flat: Any, leaves: Sequence[Any], count: Callable[[], int]) -> tuple[list[Any], list[list[Any]]]:
        outs, tape = reverse.linearize(flat, leaves, [True] * len(leaves))
        n = count()
        for y in outs[:n]:
            _check_inexact("jacrev", y)
            if aval_of(y).dtype.kind == "c" and not self.holomorphic:
                raise TransformError(f"jacrev of a complex result, {aval_of(y)}, needs holomorphic=True, or jacfwd")
        tape = tape._replace(outs=tape.outs[:n])
        in_avals = [aval_of(x).strong() for x in leaves]
        avals = [aval_of(y).strong() for y in outs[:n]]
        total = sum(a.size for a in avals)

        def pull(*cts: Any) -> list[Any]:
            given = reverse.backward(tape, cts)
            return [forward.zeros(a) if c is None else c for c, a in zip(given, in_avals, strict=True)]

        rows, mapped = batch(pull, Axis(total), _basis(avals), [True] * len(avals))
        full = [y if is_mapped else _repeated(y, total) for y, is_mapped in zip(rows, mapped, strict=True)]
        cut = [_cut(y, [a.size for a in avals], 0) for y in full]
        return outs, [
            [reshape(cut[j][i], shape=(*a.shape, *b.shape)) for j, b in enumerate(in_avals)]
            for i, a in enumerate(avals)
        ]


jacobian = jacrev


def hessian(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """The function that computes the Hessian of ``fun``: forward mode over reverse mode.

    Arguments as of :class:`jacfwd`.

    >>> hessian(lambda x: x**3)(2.0)
    np.float64(12.0)
    """
    inner = jacrev(fun, argnums, has_aux=has_aux, holomorphic=holomorphic)
    return jacfwd(inner, argnums, has_aux=has_aux, holomorphic=holomorphic)


def hvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The product of the Hessian of a scalar function with a vector, without the Hessian: forward over reverse mode.

    ``primals`` and ``tangents`` are tuples as of :func:`jvp`. With one argument the answer is like it, with several a
    tuple of them: the derivative of all gradients in the given direction.

    >>> hvp(lambda x: x**3, (2.0,), (1.0,))
    12.0
    """
    primals = tuple(primals)
    argnums: Any = 0 if len(primals) == 1 else tuple(range(len(primals)))
    return jvp(grad(fun, argnums), primals, tangents)[1]
