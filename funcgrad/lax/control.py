"""Control flow on pytrees: ``cond``, ``switch``, ``scan``, ``while_loop``, ``fori_loop``, ``map``, ``associative_scan``.

The bodies are traced once, whether or not the call is jitted, so that a loop is one equation. What they close over,
traced values of outer transforms included, is passed to them as operands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..api._function import FlatFunction, checked_leaves, function_name, leaf_paths, typed
from ..core.errors import ConcretizationError, OperandError, OperandTypeError, TransformError, TreeError
from ..core.ir import Jaxpr
from ..core.trace import Tracer, eval_jaxpr, stage
from ..core.types import Aval, aval_of, promote
from ..primitives import add as _add
from ..primitives import concatenate, convert, lt, max_, min_, ne, reshape, rev
from ..primitives import stop_gradient as _stop_gradient
from ..primitives.structure import repeat_rows, slice_along
from ..transforms import conditional, loops
from ..transforms.batching import Axis, batch
from ..transforms.reverse import hoist

__all__ = ["associative_scan", "cond", "fori_loop", "map", "scan", "stop_gradient", "switch", "while_loop"]

_INT = np.dtype(np.int64)


def stop_gradient(x: Any) -> Any:
    """The value of ``x``, a pytree, with a derivative of zero.

    >>> import funcgrad as fg
    >>> fg.grad(lambda x: x * stop_gradient(x))(3.0)
    3.0
    """
    return tree.map(lambda leaf: _stop_gradient(leaf) if isinstance(leaf, Tracer) else leaf, x)


# Conditionals ---------------------------------------------------------------------------------------------------------


def _branch(fun: Callable[..., Any], args: Any, what: str) -> tuple[Jaxpr, list[Any], FlatFunction]:
    """A function of a tuple of arguments as a jaxpr, what it closes over, and its tree."""
    leaves, in_tree = tree.flatten((args, {}))
    flat = FlatFunction(fun, in_tree)

    def checked(*xs: Any) -> list[Any]:
        outs = flat(*xs)
        checked_leaves(f"{what}: the result", outs, lambda: leaf_paths(flat.out_tree, outs))
        return outs

    jaxpr = stage(checked, [aval_of(x) for x in leaves], function_name(fun))
    return jaxpr, list(jaxpr.consts), flat


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """``branches[index](*operands)``; an index out of range takes the nearest branch, as in JAX.

    ``index``: an integer of rank 0. The branches are traced all, and must return the same tree of shapes and dtypes;
    Python scalars take the dtype of the others. Raises TreeError or OperandTypeError, naming branch and leaf, if not.

    >>> switch(1, [lambda x: x, lambda x: 2 * x], 5.0)
    10.0
    """
    if not branches:
        raise TransformError("switch needs at least one branch")
    aval = aval_of(index)
    if aval.shape or aval.dtype.kind not in "iu":
        raise OperandTypeError(f"switch takes an integer index of rank 0, not {aval}")
    if len(branches) == 1:
        return branches[0](*operands)
    low = convert(typed(index), dtype=_INT)
    clipped = min_(max_(low, _INT.type(0)), _INT.type(len(branches) - 1))
    return _conditional("switch", clipped, list(branches), operands)


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """``true_fun(*operands)`` where ``pred`` is true, else ``false_fun(*operands)``; only one of them runs.

    ``pred``: a boolean or a number of rank 0. Both functions are traced, and must return the same tree of shapes and
    dtypes. Under vmap with a mapped ``pred`` both run, and each row takes its own result.

    >>> cond(True, lambda x: x + 1, lambda x: x - 1, 10)
    11
    """
    if not (callable(true_fun) and callable(false_fun)):
        raise TransformError("cond takes two functions: cond(pred, true_fun, false_fun, *operands)")
    aval = aval_of(pred)
    if aval.shape:
        raise OperandTypeError(f"cond takes a predicate of rank 0, not {aval}; for a choice by element use fnp.where")
    flag = typed(pred) if aval.dtype.kind == "b" else ne(typed(pred), aval.dtype.type(0))
    return _conditional("cond", convert(flag, dtype=_INT), [false_fun, true_fun], operands)


def _conditional(what: str, index: Any, funs: list[Callable[..., Any]], operands: tuple[Any, ...]) -> Any:
    leaves = tree.leaves(operands)
    checked_leaves(f"{what}: an operand", leaves)
    made = [_branch(f, operands, what) for f in funs]
    trees = [flat.out_tree for *_, flat in made]
    names = ["false_fun", "true_fun"] if what == "cond" else [f"branch {i}" for i in range(len(funs))]
    for name, t in zip(names[1:], trees[1:], strict=True):
        if t != trees[0]:
            raise TreeError(
                f"{what}: all branches must return the same tree, but {names[0]} returns {tree.describe(trees[0])}, and {name} "
                f"{tree.describe(t)}"
            )
    jaxprs = _agreeing(what, [j for j, *_ in made], names, trees[0])
    shared, consts = conditional.share_consts(jaxprs)
    outs = conditional.cond(index, *consts, *[typed(x) for x in leaves], branches=shared)
    weak = [all(j.out_avals[i].weak for j, *_ in made) for i in range(len(outs))]
    outs = [convert(y, dtype=aval_of(y).dtype, weak=True) if w else y for y, w in zip(outs, weak, strict=True)]
    return trees[0].unflatten(outs)


def _agreeing(what: str, jaxprs: list[Jaxpr], names: list[str], out_tree: Any) -> list[Jaxpr]:
    """The jaxprs with their results converted so that Python scalars take the dtype of the others."""
    paths = [tree.keystr(p) for p, _ in tree.leaves_with_path(out_tree.unflatten(range(out_tree.num_leaves)))]
    targets = []
    for i, path in enumerate(paths):
        avals = [j.out_avals[i] for j in jaxprs]
        strong = {a.strong() for a in avals if not a.weak}
        target = Aval(avals[0].shape, promote(*avals))
        if len({a.shape for a in avals}) > 1 or len(strong) > 1 or any(a != target for a in strong):
            listed = ", ".join(f"{n}: {a}" for n, a in zip(names, avals, strict=True))
            raise OperandTypeError(f"{what}: the result{path} must have one type in all branches, but has {listed}")
        targets.append(target)
    return [_with_types(j, targets) for j in jaxprs]


def _with_types(jaxpr: Jaxpr, avals: Sequence[Aval]) -> Jaxpr:
    """The jaxpr with its results converted to these dtypes."""
    if [a.strong() for a in jaxpr.out_avals] == list(avals):
        return jaxpr
    flat, consts = hoist(jaxpr)
    n = len(consts)

    def fun(*xs: Any) -> list[Any]:
        outs = eval_jaxpr(flat, *xs)
        return [y if aval_of(y).strong() == a else convert(y, dtype=a.dtype) for y, a in zip(outs, avals, strict=True)]

    made = stage(fun, flat.in_avals, jaxpr.name)
    return Jaxpr(made.invars[n:], made.eqns, made.outs, made.invars[:n], consts, jaxpr.name)


# Loops ----------------------------------------------------------------------------------------------------------------


def _carry(
    what: str, fun: Callable[..., Any], init: Any, body: Callable[[Any], tuple[Jaxpr, FlatFunction, int]]
) -> Any:
    """Trace a loop's body until the types of its carry stand still.

    A Python scalar in ``init`` takes the dtype that the body gives it. Returns the typed carry, the jaxpr and the function.
    Raises TreeError or OperandTypeError, naming the leaf, for a carry that changes.
    """
    pairs, treedef = tree.flatten_with_path(init)
    paths = [tree.keystr(p) for p, _ in pairs]
    leaves = [x for _, x in pairs]
    checked_leaves(f"{what}: the initial carry", leaves, lambda: paths)
    for _ in range(3):
        jaxpr, out_tree, n = body(treedef.unflatten([aval_of(x) for x in leaves]))
        if out_tree != treedef:
            raise TreeError(
                f"{what}: {function_name(fun)} must return a carry with the structure of the initial one, "
                f"{tree.describe(treedef)}, but returned {tree.describe(out_tree)}"
            )
        grown = False
        for i, (x, path) in enumerate(zip(leaves, paths, strict=True)):
            before, after = aval_of(x), jaxpr.out_avals[i]
            if before.strong() == after.strong():
                continue
            if before.weak and before.shape == after.shape and promote(before, after) == after.dtype:
                leaves[i] = convert(typed(x), dtype=after.dtype)
                grown = True
            elif after.weak and before.shape == after.shape and promote(before, after) == before.dtype:
                continue
            else:
                raise OperandTypeError(
                    f"{what}: the carry{path} goes in as {before} and comes out of {function_name(fun)} as {after}; it must "
                    f"keep its type. Write the initial value with the dtype and shape that the body gives it, or convert "
                    f"the result, e.g. with .astype({before.dtype.name!r})"
                )
        if not grown:
            return [typed(x) for x in leaves], leaves, jaxpr, n
    raise OperandTypeError(f"{what}: the types of the carry do not come to rest in {function_name(fun)}")


def scan(
    f: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """A loop with a carry over the leading axis of ``xs``: ``carry, y = f(carry, x)`` for each x in turn.

    ``init``: the first carry, a pytree, whose types ``f`` must keep; ``xs``: a pytree of arrays with one leading size, or
    None with ``length``; ``reverse``: from the last x to the first. Returns the last carry, and the ys stacked in the
    order of the xs. ``unroll`` is accepted for compatibility and does not change the result.

    Differentiable in both modes; the reverse pass keeps the residuals of every step (see ``checkpoint`` to keep fewer).
    Raises TreeError, OperandTypeError or OperandError, naming the leaf.

    >>> import numpy as np
    >>> scan(lambda c, x: (c + x, c), 0.0, np.arange(4.0))
    (np.float64(6.0), array([0., 0., 1., 3.]))
    """
    pairs, xs_tree = tree.flatten_with_path(xs)
    x_leaves = [x for _, x in pairs]
    checked_leaves("scan: xs", x_leaves, lambda: [tree.keystr(p) for p, _ in pairs])
    sizes = {f"xs{tree.keystr(p)}": aval_of(x).shape[:1] for p, x in pairs}
    for path, size in sizes.items():
        if not size:
            raise OperandError(f"scan: {path} has rank 0, and so no leading axis to loop over")
    lengths = {s[0] for s in sizes.values()}
    if isinstance(length, Tracer):
        raise ConcretizationError(
            f"scan: length must be a Python integer; {length.describe()}; name the argument in static_argnums of jit"
        )
    if length is not None:
        lengths.add(int(length))
    if not lengths:
        raise OperandError("scan: without xs the number of steps is unknown; give length")
    if len(lengths) > 1:
        listed = ", ".join(f"{p}: {s[0]}" for p, s in sizes.items())
        raise OperandError(
            f"scan: the leading sizes differ ({listed}{f'; length is {length}' if length is not None else ''})"
        )
    (n,) = lengths
    x_avals = [Aval(aval_of(x).shape[1:], aval_of(x).dtype) for x in x_leaves]
    y_tree: Any = None

    def body(carry: Any) -> tuple[Jaxpr, Any, int]:
        nonlocal y_tree
        c_avals, c_tree = tree.flatten(carry)
        found: list[Any] = []

        def flat(*args: Any) -> list[Any]:
            answer = f(c_tree.unflatten(args[: len(c_avals)]), xs_tree.unflatten(args[len(c_avals) :]))
            if not isinstance(answer, tuple) or len(answer) != 2:
                raise TreeError(
                    f"scan: {function_name(f)} must return a pair (carry, y), not {tree.describe(tree.structure(answer))}"
                )
            c, out_tree = tree.flatten(answer[0])
            ys, ys_tree = tree.flatten(answer[1])
            checked_leaves(f"scan: the result of {function_name(f)}", [*c, *ys])
            found[:] = [out_tree, ys_tree]
            return [*c, *ys]

        jaxpr = stage(flat, [*c_avals, *x_avals], function_name(f))
        y_tree = found[1]
        return jaxpr, found[0], len(c_avals)

    start, _, jaxpr, k = _carry("scan", f, init, body)
    targets = [*(aval_of(c).strong() for c in start), *(a.strong() for a in jaxpr.out_avals[k:])]
    jaxpr, consts = hoist(_with_types(jaxpr, targets))
    outs = loops.scan(
        *consts, *start, *[typed(x) for x in x_leaves],
        jaxpr=jaxpr, num_consts=len(consts), num_carry=k, length=n, reverse=bool(reverse),
    )  # fmt: skip
    return tree.structure(init).unflatten(outs[:k]), y_tree.unflatten(outs[k:])


def while_loop(cond_fun: Callable[..., Any], body_fun: Callable[..., Any], init_val: Any) -> Any:
    """``val = body_fun(val)`` while ``cond_fun(val)``.

    ``init_val``: a pytree, whose types the body must keep. Forward mode goes through it; reverse mode raises
    MissingRuleError, since the number of steps is not known. Under vmap rows that are done wait for the others.

    >>> while_loop(lambda x: x < 100, lambda x: 2 * x, 3)
    np.int64(192)
    """

    def body(carry: Any) -> tuple[Jaxpr, Any, int]:
        avals, c_tree = tree.flatten(carry)
        found: list[Any] = []

        def flat(*args: Any) -> list[Any]:
            outs, out_tree = tree.flatten(body_fun(c_tree.unflatten(args)))
            checked_leaves(f"while_loop: the result of {function_name(body_fun)}", outs)
            found[:] = [out_tree]
            return outs

        return stage(flat, avals, function_name(body_fun)), found[0], len(avals)

    start, _, jaxpr, _ = _carry("while_loop", body_fun, init_val, body)
    avals = [aval_of(c).strong() for c in start]
    body_jaxpr, body_consts = hoist(_with_types(jaxpr, avals))
    c_tree = tree.structure(init_val)

    def condition(*args: Any) -> list[Any]:
        flag = cond_fun(c_tree.unflatten(args))
        checked_leaves(f"while_loop: the result of {function_name(cond_fun)}", [flag])
        aval = aval_of(flag)
        if aval.shape:
            raise OperandTypeError(f"while_loop: {function_name(cond_fun)} must return a boolean of rank 0, not {aval}")
        return [flag if aval.dtype.kind == "b" else ne(typed(flag), aval.dtype.type(0))]

    cond_jaxpr, cond_consts = hoist(stage(condition, avals, function_name(cond_fun)))
    outs = loops.while_(
        *cond_consts, *body_consts, *start,
        cond_jaxpr=cond_jaxpr, body_jaxpr=body_jaxpr, cond_nconsts=len(cond_consts), body_nconsts=len(body_consts),
    )  # fmt: skip
    return c_tree.unflatten(outs)


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """``val = body_fun(i, val)`` for i from ``lower`` to ``upper - 1``.

    With Python integers as bounds it is a scan, and differentiable in both modes; with traced bounds it is a while_loop,
    and differentiable in forward mode only.

    >>> fori_loop(0, 5, lambda i, x: x + i, 0)
    np.int64(10)
    """
    for name, bound in (("lower", lower), ("upper", upper)):
        aval = aval_of(bound)
        if aval.shape or aval.dtype.kind not in "iu":
            raise OperandTypeError(f"fori_loop: {name} must be an integer of rank 0, not {aval}")
    try:
        first, last = lower.__index__(), upper.__index__()
    except ConcretizationError:
        start = convert(typed(lower), dtype=_INT)
        stop = convert(typed(upper), dtype=_INT)

        def step(state: Any) -> Any:
            i, value = state
            return _add(i, _INT.type(1)), body_fun(i, value)

        return while_loop(lambda state: lt(state[0], stop), step, (start, init_val))[1]
    counter = np.arange(first, max(first, last), dtype=_INT)
    return scan(lambda value, i: (body_fun(i, value), None), init_val, counter)[0]


def map(f: Callable[[Any], Any], xs: Any, *, batch_size: int | None = None) -> Any:
    """``f`` applied to each element along the leading axis of ``xs``, one after the other; results are stacked.

    As vmap in its result, with the memory of one element. ``batch_size``: that many elements at a time, by vmap.

    >>> import numpy as np
    >>> map(lambda x: x**2, np.arange(3.0))
    array([0., 1., 4.])
    """
    if batch_size is None:
        return scan(lambda _, x: (None, f(x)), None, xs)[1]
    leaves, treedef = tree.flatten(xs)
    checked_leaves("map: xs", leaves)
    if batch_size < 1 or not leaves:
        raise OperandError(f"map: batch_size must be positive, not {batch_size}")
    n = aval_of(leaves[0]).shape[0]
    blocks = n // batch_size

    def many(part: list[Any]) -> Any:
        flat = FlatFunction(lambda *a: f(treedef.unflatten(a)), tree.structure((tuple(part), {})))
        rows, mapped = batch(flat, Axis(aval_of(part[0]).shape[0]), part, [True] * len(part))
        size = aval_of(part[0]).shape[0]
        return flat.out_tree.unflatten(
            [y if m else repeat_rows(typed(y), size) for y, m in zip(rows, mapped, strict=True)]
        )

    pieces = []
    if blocks:
        head = [slice_along(typed(x), 0, 0, blocks * batch_size) for x in leaves]
        split = [reshape(x, shape=(blocks, batch_size, *aval_of(x).shape[1:])) for x in head]
        done = scan(lambda _, part: (None, many(part)), None, split)[1]
        pieces.append(tree.map(lambda y: reshape(y, shape=(blocks * batch_size, *aval_of(y).shape[2:])), done))
    if n % batch_size or not blocks:
        pieces.append(many([slice_along(typed(x), 0, blocks * batch_size, n) for x in leaves]))
    if len(pieces) == 1:
        return pieces[0]
    return tree.map(lambda a, b: concatenate(a, b, axis=0), *pieces)


def associative_scan(fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """All prefixes of ``elems`` combined by an associative ``fn``, in a logarithmic number of steps.

    ``elems``: a pytree of arrays of one size along ``axis``; ``fn(a, b)`` takes two such trees, element by element, and
    returns one. With ``reverse``, suffixes. The doubling algorithm of Hillis and Steele (1986).

    >>> import numpy as np
    >>> associative_scan(lambda a, b: a + b, np.arange(5.0))
    array([ 0.,  1.,  3.,  6., 10.])
    """
    leaves, treedef = tree.flatten(elems)
    checked_leaves("associative_scan: elems", leaves)
    leaves = [typed(x) for x in leaves]
    sizes = set()
    axes = []
    for x in leaves:
        shape = aval_of(x).shape
        if not -len(shape) <= axis < len(shape):
            raise OperandError(f"associative_scan: axis {axis} is not an axis of the shape {shape}")
        axes.append(axis % len(shape))
        sizes.add(shape[axes[-1]])
    if len(sizes) != 1:
        raise OperandError(f"associative_scan: the sizes along axis {axis} differ: {sorted(sizes)}")
    (n,) = sizes
    if reverse:
        leaves = [rev(x, axes=(a,)) for x, a in zip(leaves, axes, strict=True)]
    step = 1
    while step < n:
        before = [slice_along(x, a, 0, n - step) for x, a in zip(leaves, axes, strict=True)]
        after = [slice_along(x, a, step, n) for x, a in zip(leaves, axes, strict=True)]
        combined = tree.leaves(fn(treedef.unflatten(before), treedef.unflatten(after)))
        if len(combined) != len(leaves):
            raise TreeError("associative_scan: fn must return a tree like its arguments")
        head = [slice_along(x, a, 0, step) for x, a in zip(leaves, axes, strict=True)]
        leaves = [concatenate(h, typed(c), axis=a) for h, c, a in zip(head, combined, axes, strict=True)]
        step *= 2
    if reverse:
        leaves = [rev(x, axes=(a,)) for x, a in zip(leaves, axes, strict=True)]
    return treedef.unflatten(leaves)
