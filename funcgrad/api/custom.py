"""Functions with rules of the user's own, checkpoints, and closures made explicit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..core.errors import MissingRuleError, OperandError, TransformError, TreeError
from ..core.ir import Jaxpr
from ..core.trace import EVAL, _state, eval_jaxpr, stage
from ..core.types import Aval, aval_of, float0, is_inexact
from ..primitives import convert
from ..transforms import checkpoint as _checkpoint
from ..transforms.custom import CustomRules, custom_call
from ..transforms.forward import zeros
from ..transforms.reverse import hoist
from ._function import (
    FlatFunction,
    Transformed,
    argument_names,
    argument_paths,
    checked_leaves,
    function_name,
    typed,
)

__all__ = ["checkpoint", "checkpoint_policies", "closure_convert", "custom_jvp", "custom_vjp", "remat"]


class _Custom(Transformed):
    """A function that carries rules for its derivatives and for vmap. What it lacks is derived from what it has."""

    def __init__(self, fun: Callable[..., Any], nondiff_argnums: Sequence[int] = ()) -> None:
        super().__init__(fun)
        self.nondiff_argnums = tuple(nondiff_argnums)
        self._jvp: Callable[..., Any] | None = None
        self._fwd: Callable[..., Any] | None = None
        self._bwd: Callable[..., Any] | None = None
        self._vmap: Callable[..., Any] | None = None

    def _parts(self) -> dict[str, Any]:
        return {"fun": self.fun, "nondiff_argnums": self.nondiff_argnums}

    def __reduce__(self) -> Any:
        found = super().__reduce__()
        if isinstance(found, str):
            return found
        return *found, {name: getattr(self, name) for name in ("_jvp", "_fwd", "_bwd", "_vmap")}

    def def_vmap(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Define the batching rule: ``rule(axis_size, in_batched, *args) -> (result, out_batched)``.

        Batched arguments have the mapped axis first; ``in_batched`` is a list of trees of booleans, one an argument, and
        ``out_batched`` a tree like the result. Returns ``rule``, so that it can be used as a decorator.
        """
        self._vmap = rule
        return rule

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = function_name(self.fun)
        if kwargs:
            # By position, as the rules take them.
            names = argument_names(self.fun, len(args) + len(kwargs))
            extra = names[len(args) :]
            if set(extra) != set(kwargs):
                raise TransformError(
                    f"{name} has custom rules, which take positional arguments; pass {sorted(kwargs)} so"
                )
            args = (*args, *(kwargs[n] for n in extra))
        if self._jvp is None and self._bwd is None and self._vmap is None:
            raise MissingRuleError(f"{name} has no custom rule yet; define one by {name}.{self._how}")
        static = {i % len(args) for i in self.nondiff_argnums if -len(args) <= i < len(args)}
        free = [x for i, x in enumerate(args) if i not in static]
        leaves, in_tree = tree.flatten((tuple(free), {}))
        checked_leaves(f"{name}: the argument", leaves, None if static else lambda: argument_paths(self.fun, args, {}))

        if _state.trace is EVAL:
            # Outside of transforms it is the function, called as Python calls it.
            return self.fun(*args)

        # The rules end up on the tape of a trace: that they hold no tracer of it saves a reference cycle.
        fixed = {i: args[i] for i in sorted(static)}
        flat = FlatFunction(_WithFixed(self.fun, fixed, len(args)), in_tree)
        fwd = self._fwd and _FlatForward(_WithFixed(self._fwd, fixed, len(args)), name, in_tree, flat)
        rules = CustomRules(
            name,
            jvp=self._jvp and _FlatJVP(self._jvp, name, in_tree, list(fixed.values()), flat),
            fwd=fwd,
            bwd=self._bwd and _FlatBackward(self._bwd, name, in_tree, list(fixed.values()), leaves, flat, fwd),
            vmap=self._vmap and _FlatVmap(self._vmap, in_tree, flat),
        )
        outs = custom_call(*leaves, fun=flat, rules=rules, num_consts=0)
        return flat.out_tree.unflatten(outs)

    _how = "defjvp or defvjp"


class custom_jvp(_Custom):
    """A function whose derivative the user gives.

    Define it with ``f.defjvp(rule)``, where ``rule(primals, tangents) -> (value, tangent)`` takes tuples, or with
    ``f.defjvps(rule_x, rule_y, ...)``, one for each argument, ``rule_x(t, ans, *primals) -> tangent``. Reverse mode
    follows from it. ``nondiff_argnums``: arguments passed to the rule as they are, before the others.

    >>> import funcgrad.numpy as fnp
    >>> import funcgrad as fg
    >>> @custom_jvp
    ... def f(x):
    ...     return fnp.sin(x)
    >>> @f.defjvp
    ... def f_jvp(primals, tangents):
    ...     return f(*primals), 2.0 * fnp.cos(primals[0]) * tangents[0]
    >>> fg.grad(f)(0.0)
    2.0
    """

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Define the rule ``rule(primals, tangents) -> (value, tangent)``; returns it."""
        self._jvp = rule
        return rule

    def defjvps(self, *rules: Callable[..., Any] | None) -> None:
        """Define a rule for each argument, ``rule(t, ans, *primals) -> tangent``; None for a zero derivative."""
        self._jvp = _BySummands(self, rules)

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Give reverse mode a rule of its own too; as of :class:`custom_vjp`."""
        self._fwd, self._bwd = fwd, bwd

    _how = "defjvp"


class custom_vjp(_Custom):
    """A function whose backward pass the user gives.

    Define it with ``f.defvjp(fwd, bwd)``: ``fwd(*args) -> (value, residuals)``, and ``bwd(residuals, ct) -> cts``, a
    tuple with an entry an argument, None for zero. Forward mode follows from it, since bwd is linear in ``ct``; or give it
    by ``f.defjvp(rule)`` as of :class:`custom_jvp`. ``nondiff_argnums``: arguments passed to bwd as they are, first.

    >>> import funcgrad as fg
    >>> @custom_vjp
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, None), lambda _, ct: (min(ct, 1.0),))
    >>> fg.grad(lambda x: 5.0 * clipped(x))(3.0)
    1.0
    """

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Define the forward and the backward pass."""
        self._fwd, self._bwd = fwd, bwd

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Give forward mode a rule of its own too; as of :class:`custom_jvp`."""
        self._jvp = rule
        return rule

    _how = "defvjp"


class _BySummands:
    """A jvp rule that adds up what each argument contributes."""

    def __init__(self, fun: _Custom, rules: Sequence[Callable[..., Any] | None]) -> None:
        self.fun = fun
        self.rules = rules

    def __call__(self, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        if len(self.rules) != len(primals):
            raise TransformError(
                f"defjvps was given {len(self.rules)} rules for {len(primals)} arguments of {function_name(self.fun)}"
            )
        y = self.fun(*primals)
        parts = [r(t, y, *primals) for r, t in zip(self.rules, tangents, strict=True) if r is not None]
        if not parts:
            return y, tree.map(lambda x: x * 0, y)
        total = parts[0]
        for part in parts[1:]:
            total = tree.map(lambda a, b: a + b, total, part)
        return y, total


class _WithFixed:
    """A function of ``count`` positional arguments, of which some are fixed."""

    def __init__(self, fun: Callable[..., Any], fixed: dict[int, Any], count: int) -> None:
        self.fun = fun
        self.fixed = fixed
        self.count = count

    def __call__(self, *xs: Any) -> Any:
        rest = iter(xs)
        return self.fun(*(self.fixed[i] if i in self.fixed else next(rest) for i in range(self.count)))


class _FlatJVP:
    """A user's jvp rule on flat arguments, its answer checked."""

    def __init__(self, rule: Any, name: str, in_tree: Any, static: list[Any], flat: FlatFunction) -> None:
        self.rule = rule
        self.name = name
        self.in_tree = in_tree
        self.static = static
        self.flat = flat

    def __call__(self, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        full = [_zero(aval_of(p).strong()) if t is None else t for p, t in zip(primals, tangents, strict=True)]
        (xs, _), (ts, _) = self.in_tree.unflatten(primals), self.in_tree.unflatten(full)
        answer = self.rule(*self.static, xs, ts)
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise TransformError(f"the jvp rule of {self.name} must return a pair (value, tangent), not {answer!r}")
        outs, out_tree = tree.flatten(answer[0])
        touts, t_tree = tree.flatten(answer[1])
        if out_tree != t_tree:
            raise TreeError(
                f"the jvp rule of {self.name} returned a value {tree.describe(out_tree)} with a tangent "
                f"{tree.describe(t_tree)}; they must be of one structure"
            )
        if self.flat.out_tree is None:
            self.flat.out_tree = out_tree
        checked: list[Any] = []
        for y, t, (path, _) in zip(outs, touts, tree.leaves_with_path(answer[0]), strict=True):
            a = aval_of(y)
            if not is_inexact(a.dtype):
                checked.append(None)
                continue
            b = aval_of(t)
            if a.shape != b.shape:
                raise OperandError(
                    f"the jvp rule of {self.name} returned for the value{tree.keystr(path)} of type {a} a tangent of type "
                    f"{b}{_transposed(a, b)}; they must be of one type"
                )
            checked.append(typed(t) if b.dtype == a.dtype else convert(typed(t), dtype=a.dtype))
        return [typed(y) for y in outs], checked


def _zero(aval: Aval) -> Any:
    """The zero tangent of a value as a rule sees it: of dtype float0 for an integer, as jvp gives it."""
    return zeros(aval) if is_inexact(aval.dtype) else np.zeros(aval.shape, float0)


def _transposed(a: Aval, b: Aval) -> str:
    return " (transposed?)" if a.shape == b.shape[::-1] else ""


class _FlatForward:
    """A user's forward pass on flat arguments; remembers the structure of the residuals."""

    def __init__(self, fwd: Any, name: str, in_tree: Any, flat: FlatFunction) -> None:
        self.fwd = fwd
        self.name = name
        self.in_tree = in_tree
        self.flat = flat
        self.residual_tree: Any = None
        self.out_avals: list[Aval] = []

    def __call__(self, *leaves: Any) -> tuple[list[Any], list[Any]]:
        (xs, _) = self.in_tree.unflatten(leaves)
        answer = self.fwd(*xs)
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise TransformError(f"the forward pass of {self.name} must return a pair (value, residuals)")
        outs, out_tree = tree.flatten(answer[0])
        if self.flat.out_tree is None:
            self.flat.out_tree = out_tree
        elif out_tree != self.flat.out_tree:
            raise TreeError(
                f"the forward pass of {self.name} returned the value {tree.describe(out_tree)}, but the function returns "
                f"{tree.describe(self.flat.out_tree)}"
            )
        self.out_avals = [aval_of(y) for y in outs]
        residuals, self.residual_tree = tree.flatten(answer[1])
        checked_leaves(f"the forward pass of {self.name}: the residual", residuals)
        return [typed(y) for y in outs], [typed(r) for r in residuals]


class _FlatBackward:
    """A user's backward pass on flat arguments, its answer checked."""

    def __init__(
        self,
        bwd: Any,
        name: str,
        in_tree: Any,
        static: list[Any],
        leaves: Sequence[Any],
        flat: FlatFunction,
        forward: Any,
    ) -> None:
        self.bwd = bwd
        self.forward = forward
        self.name = name
        self.in_tree = in_tree
        self.static = static
        self.avals = [aval_of(x).strong() for x in leaves]
        self.flat = flat

    def __call__(self, residuals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
        full = [_zero(a.strong()) if c is None else c for c, a in zip(cts, self.forward.out_avals, strict=True)]
        ct = self.flat.out_tree.unflatten(full)
        answer = self.bwd(*self.static, self.forward.residual_tree.unflatten(residuals), ct)
        (like, _) = self.in_tree.unflatten(range(self.in_tree.num_leaves))
        if not isinstance(answer, tuple) or len(answer) != len(like):
            count = f"{len(answer)} entries" if isinstance(answer, tuple) else f"a {type(answer).__name__}"
            raise TreeError(
                f"the backward pass of {self.name} must return a tuple of {len(like)} cotangents, one for each argument, "
                f"but returned {count}; for a single argument write `return (ct,)`"
            )
        out: list[Any] = []
        for number, (given, part) in enumerate(zip(answer, like, strict=True)):
            # None is a zero cotangent wherever a leaf may be.
            places, wanted = tree.flatten(part, lambda x: x is None)
            if given is None:
                out += [None for i in places if i is not None]
                continue
            found, structure = tree.flatten(given, lambda x: x is None)
            if structure != wanted:
                raise TreeError(
                    f"the backward pass of {self.name} returned as cotangent number {number} {tree.describe(structure)} for an "
                    f"argument {tree.describe(wanted)}"
                )
            out += [
                self._checked(c, self.avals[i], number) for c, i in zip(found, places, strict=True) if i is not None
            ]
        return out

    def _checked(self, c: Any, aval: Aval, number: int) -> Any:
        if c is None or not is_inexact(aval.dtype):
            return None
        b = aval_of(c)
        if b.shape != aval.shape:
            raise OperandError(
                f"the backward pass of {self.name} returned as cotangent number {number} {b} for an argument "
                f"{aval}{_transposed(aval, b)}; they must be of one type"
            )
        return typed(c) if b.dtype == aval.dtype else convert(typed(c), dtype=aval.dtype)


class _FlatVmap:
    """A user's batching rule on flat arguments."""

    def __init__(self, rule: Any, in_tree: Any, flat: FlatFunction) -> None:
        self.rule = rule
        self.in_tree = in_tree
        self.flat = flat

    def __call__(self, size: int, batched: Sequence[bool], args: Sequence[Any]) -> tuple[list[Any], list[bool]]:
        (xs, _), (flags, _) = self.in_tree.unflatten(args), self.in_tree.unflatten(batched)
        result, out_batched = self.rule(size, list(flags), *xs)
        outs, out_tree = tree.flatten(result)
        self.flat.out_tree = out_tree
        return [typed(y) for y in outs], [bool(b) for b in tree.prefix_leaves(out_batched, out_tree, "out_batched")]


class checkpoint(Transformed):
    """``fun``, whose intermediate values are not kept for the backward pass but computed again.

    ``policy(primitive_name, *avals, **params) -> bool`` says which results to keep all the same; see
    ``checkpoint_policies``. ``prevent_cse``: keep the compiler from merging the second computation with the first.
    ``static_argnums``: positional arguments that are no arrays.

    >>> import funcgrad as fg
    >>> import funcgrad.numpy as fnp
    >>> fg.grad(checkpoint(lambda x: fnp.sin(fnp.sin(x))))(0.0)
    1.0
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        *,
        prevent_cse: bool = True,
        policy: Callable[..., bool] | None = None,
        static_argnums: int | Sequence[int] = (),
    ) -> None:
        super().__init__(fun)
        self.prevent_cse = prevent_cse
        self.policy = policy
        self.static_argnums = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)

    def _parts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("fun", "prevent_cse", "policy", "static_argnums")}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = function_name(self.fun)
        static = {i % len(args) for i in self.static_argnums if -len(args) <= i < len(args)}
        leaves, in_tree = tree.flatten((tuple(x for i, x in enumerate(args) if i not in static), kwargs))
        checked_leaves(f"checkpoint: the argument of {name}", leaves)

        def fun(*xs: Any, **kws: Any) -> Any:
            rest = iter(xs)
            return self.fun(*(args[i] if i in static else next(rest) for i in range(len(args))), **kws)

        flat = FlatFunction(fun, in_tree)
        names = argument_paths(self.fun, args, kwargs) if not static else None
        jaxpr, consts = hoist(stage(flat, [aval_of(x) for x in leaves], name, names))
        operands = [*consts, *[typed(x) for x in leaves]]
        outs = _checkpoint.checkpoint(*operands, jaxpr=jaxpr, policy=self.policy, prevent_cse=self.prevent_cse)
        return flat.out_tree.unflatten(outs)


remat = checkpoint


class checkpoint_policies:
    """What a checkpoint keeps: everything, nothing, or the results of matrix products and convolutions."""

    @staticmethod
    def everything_saveable(primitive: str, *avals: Aval, **params: Any) -> bool:
        """Keep all intermediate values."""
        return True

    @staticmethod
    def nothing_saveable(primitive: str, *avals: Aval, **params: Any) -> bool:
        """Keep none: the default."""
        return False

    @staticmethod
    def dots_saveable(primitive: str, *avals: Aval, **params: Any) -> bool:
        """Keep the results of ``dot_general`` and ``conv_general_dilated``, which cost most to compute again."""
        return primitive in ("dot_general", "conv_general_dilated")


def closure_convert(fun: Callable[..., Any], *example_args: Any) -> tuple[Callable[..., Any], list[Any]]:
    """``fun`` with what it closes over as further arguments: the new function, and the list of those values.

    Only values that are being differentiated or traced, and arrays of real or complex numbers, come out; ``fun`` is
    traced with the types of ``example_args``. Useful with custom_vjp, whose rules must not close over such values.

    >>> import numpy as np
    >>> scale = np.array([2.0, 3.0])
    >>> f, consts = closure_convert(lambda x: scale * x, 1.0)
    >>> len(consts), f(2.0, *consts)
    (1, array([4., 6.]))
    """
    leaves, in_tree = tree.flatten((example_args, {}))
    flat = FlatFunction(fun, in_tree)
    jaxpr = stage(flat, [aval_of(x) for x in leaves], function_name(fun))
    moved = [i for i, c in enumerate(jaxpr.consts) if is_inexact(aval_of(c).dtype)]
    consts = [jaxpr.consts[i] for i in moved]
    kept = [i for i in range(len(jaxpr.consts)) if i not in moved]
    body = Jaxpr(
        [*(jaxpr.constvars[i] for i in moved), *jaxpr.invars],
        jaxpr.eqns,
        jaxpr.outs,
        [jaxpr.constvars[i] for i in kept],
        [jaxpr.consts[i] for i in kept],
        jaxpr.name,
    )

    def converted(*args: Any) -> Any:
        given = args[len(args) - len(consts) :] if consts else ()
        flat_args = tree.leaves((args[: len(args) - len(consts)], {}))
        outs = eval_jaxpr(body, *[typed(c) for c in given], *[typed(x) for x in flat_args])
        return flat.out_tree.unflatten(outs)

    return converted, consts
