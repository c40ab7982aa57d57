"""Functions whose derivatives or batching the user gives.

One primitive carries all the rules a function has, and what is missing is derived:

    jvp                  from the function itself; or, where only a vjp is given, as the transpose of its backward pass,
                         which is linear in the cotangent: J = (J^T)^T
    vjp (fwd and bwd)    from jvp, by linearizing it

In an eager program ``fun`` is the Python function, so that it may branch on values; in a jaxpr it is a jaxpr.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.errors import MissingRuleError
from ..core.ir import Jaxpr, Var
from ..core.trace import Primitive, eval_jaxpr, stage
from ..core.types import Aval, aval_of, is_inexact
from ..primitives.structure import repeat_rows
from .batching import Axis, batch, batch_jaxpr
from .forward import instantiate, jvp, zeros
from .reverse import backward, hoist, linear_tape

__all__ = ["CustomRules", "custom_call"]

Flat = Callable[..., Sequence[Any]]


class CustomRules:
    """The rules of a function, on flat arguments.

    ``jvp(primals, tangents) -> (results, tangents)``, tangents being arrays or None; ``fwd(*args) -> (results,
    residuals)``; ``bwd(residuals, cts) -> cts``; ``vmap(size, batched, args) -> (results, batched)``. ``name`` is for
    messages.
    """

    def __init__(
        self,
        name: str,
        jvp: Callable[..., Any] | None = None,
        fwd: Callable[..., Any] | None = None,
        bwd: Callable[..., Any] | None = None,
        vmap: Callable[..., Any] | None = None,
    ) -> None:
        self.name = name
        self.jvp = jvp
        self.fwd = fwd
        self.bwd = bwd
        self.vmap = vmap

    @property
    def __name__(self) -> str:
        return self.name


class CustomCall(Primitive):
    """Calls ``fun``; ``rules`` are its :class:`CustomRules`. The first ``num_consts`` operands are what it closes over."""

    name = "custom_call"
    multiple = True
    axis_aware = True
    transparent = True

    def expand(self, *args: Any, **params: Any) -> list[Any]:
        fun = params["fun"]
        return eval_jaxpr(fun, *args) if isinstance(fun, Jaxpr) else list(fun(*args))

    def stage(self, args: Sequence[Any], params: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        fun = params["fun"]
        if isinstance(fun, Jaxpr):
            return args, params
        avals = [aval_of(x) for x in args]
        jaxpr, consts = hoist(stage(fun, avals, params["rules"].name))
        # A Python scalar is an operand of its own type, whatever it stands beside.
        operands = [
            np.asarray(x, a.dtype)[()] if isinstance(x, (bool, int, float, complex)) else x
            for x, a in zip(args, avals, strict=True)
        ]
        return [*consts, *operands], params | {"fun": jaxpr, "num_consts": len(consts)}

    def type(self, *avals: Aval, **params: Any) -> Sequence[Aval]:
        return params["fun"].out_avals  # type: ignore[no-any-return]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        rules: CustomRules = params["rules"]
        n = params["num_consts"]
        if rules.jvp is None and rules.bwd is None:
            return jvp(lambda *xs: self.expand(*xs, **params), primals, tangents)
        self._check_consts(tangents[:n], rules)
        primals, tangents = primals[n:], tangents[n:]
        if rules.jvp is not None:
            return rules.jvp(primals, tangents)  # type: ignore[no-any-return]
        outs, residuals = rules.fwd(*primals)  # type: ignore[misc]
        return outs, self._pushed(rules, outs, residuals, primals, tangents)

    def linearize(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        rules: CustomRules = params["rules"]
        if rules.bwd is None:
            return self.jvp(primals, tangents, **params)
        n = params["num_consts"]
        self._check_consts(tangents[:n], rules)
        primals, tangents = primals[n:], tangents[n:]
        outs, residuals = rules.fwd(*primals)  # type: ignore[misc]
        return outs, self._pushed(rules, outs, residuals, primals, tangents)

    def _pushed(
        self, rules: CustomRules, outs: Sequence[Any], residuals: Sequence[Any], primals: Any, tangents: Any
    ) -> list[Any]:
        """The tangents of the results, as a linear equation that knows its transpose only."""
        avals = tuple(aval_of(y).strong() for y in outs)
        live = tuple(t is not None for t in tangents)
        touts = custom_linear(
            *residuals,
            *(t for t in tangents if t is not None),
            bwd=rules.bwd,
            num_residuals=len(residuals),
            live=live,
            avals=tuple(a for a in avals if is_inexact(a.dtype)),
            every=avals,
        )
        given = iter(touts)
        return [next(given) if is_inexact(a.dtype) else None for a in avals]

    def _check_consts(self, tangents: Sequence[Any], rules: CustomRules) -> None:
        if any(t is not None for t in tangents):
            raise MissingRuleError(
                f"the derivative was asked for with respect to a value that {rules.name!r} closes over, which its custom "
                f"rule does not know; pass the value as an argument"
            )

    def batch(self, axis: Axis, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:  # type: ignore[override]
        fun, rules, n = params["fun"], params["rules"], params["num_consts"]
        if rules.vmap is not None and not any(batched[:n]):
            return rules.vmap(axis.size, list(batched[n:]), args[n:])  # type: ignore[no-any-return]
        if rules.jvp is None and rules.bwd is None:
            return batch(lambda *xs: self.expand(*xs, **params), axis, args, batched)
        rows = [x if b else repeat_rows(x, axis.size) for x, b in zip(args[n:], batched[n:], strict=True)]
        consts = args[:n]
        if isinstance(fun, Jaxpr):
            flags = [*batched[:n], *[True] * len(rows)]
            fun, _ = batch_jaxpr(fun, axis, flags, [True] * len(fun.outs))
        else:
            fun = _Rows(fun, axis)
        rules = CustomRules(
            rules.name,
            jvp=rules.jvp and _RowsJVP(rules.jvp, axis),
            fwd=rules.fwd and _RowsForward(rules.fwd, axis),
            bwd=rules.bwd and _RowsBackward(rules.bwd, axis),
        )
        outs = self(*consts, *rows, fun=fun, rules=rules, num_consts=n)
        return outs, [True] * len(outs)


class CustomLinear(Primitive):
    """A linear map known by its transpose ``bwd(residuals, cts) -> cts``.

    ``live``: which inputs of the function have a tangent; ``avals``: the types of the results; ``every``: the types of
    the function's results, those without tangent included.
    """

    name = "custom_linear"
    multiple = True
    axis_aware = True

    def type(self, *avals: Aval, **params: Any) -> Sequence[Aval]:
        return list(params["avals"])

    def _back(self, residuals: Sequence[Any], cts: Sequence[Any], params: dict[str, Any]) -> list[Any]:
        given = iter(cts)
        full = [next(given) if is_inexact(a.dtype) else None for a in params["every"]]
        answer = params["bwd"](residuals, [instantiate_aval(c, a) for c, a in zip(full, params["every"], strict=True)])
        return [c for c, is_live in zip(answer, params["live"], strict=True) if is_live]

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        n = params["num_residuals"]
        cts = self._back(args[:n], ct, params)
        return [*[None] * n, *(c if isinstance(x, Var) else None for c, x in zip(cts, args[n:], strict=True))]

    def expand(self, *args: Any, **params: Any) -> list[Any]:
        n = params["num_residuals"]
        residuals, tangents = args[:n], args[n:]

        def back(*cts: Any) -> list[Any]:
            answer = self._back(residuals, cts, params)
            return [instantiate(c, t) for c, t in zip(answer, tangents, strict=True)]

        avals = params["avals"]
        _, tape = linear_tape(back, avals, [True] * len(avals))
        touts = backward(tape, tangents)
        return [zeros(a) if t is None else t for t, a in zip(touts, avals, strict=True)]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return jvp(lambda *xs: self.expand(*xs, **params), primals, tangents)

    def batch(self, axis: Axis, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:  # type: ignore[override]
        rows = [x if b else repeat_rows(x, axis.size) for x, b in zip(args, batched, strict=True)]

        def wide(avals: tuple[Aval, ...]) -> tuple[Aval, ...]:
            return tuple(Aval((axis.size, *a.shape), a.dtype) for a in avals)

        changed = {
            "bwd": _RowsBackward(params["bwd"], axis),
            "avals": wide(params["avals"]),
            "every": wide(params["every"]),
        }
        return self(*rows, **(params | changed)), [True] * len(params["avals"])


def instantiate_aval(ct: Any, aval: Aval) -> Any:
    """The cotangent as an array: zeros for None; None for a result that has no cotangent."""
    return zeros(aval) if ct is None and is_inexact(aval.dtype) else ct


def _rows(outs: Sequence[Any], mapped: Sequence[bool], size: int) -> list[Any]:
    return [y if b or y is None else repeat_rows(y, size) for y, b in zip(outs, mapped, strict=True)]


class _Rows:
    """A flat function over rows: all arguments and all results are mapped."""

    def __init__(self, fun: Flat, axis: Axis) -> None:
        self.fun = fun
        self.axis = axis

    def __call__(self, *args: Any) -> list[Any]:
        outs, mapped = batch(self.fun, self.axis, args, [True] * len(args))
        return _rows(outs, mapped, self.axis.size)


class _RowsJVP(_Rows):
    """A jvp rule over rows."""

    def __call__(self, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        n = len(primals)
        live = [t is not None for t in tangents]
        found: list[bool] = []

        def flat(*args: Any) -> list[Any]:
            given = iter(args[n:])
            outs, touts = self.fun(args[:n], [next(given) if is_live else None for is_live in live])
            found[:] = [t is not None for t in touts]
            return [*outs, *(t for t in touts if t is not None)]

        outs = _Rows(flat, self.axis)(*primals, *(t for t in tangents if t is not None))
        given = iter(outs[len(found) :])
        return outs[: len(found)], [next(given) if f else None for f in found]


class _RowsForward(_Rows):
    """A forward pass over rows."""

    def __call__(self, *args: Any) -> Any:
        count = 0

        def flat(*xs: Any) -> list[Any]:
            nonlocal count
            outs, residuals = self.fun(*xs)
            count = len(outs)
            return [*outs, *residuals]

        outs = _Rows(flat, self.axis)(*args)
        return outs[:count], outs[count:]


class _RowsBackward(_Rows):
    """A backward pass over rows."""

    def __call__(self, residuals: Sequence[Any], cts: Sequence[Any]) -> Any:
        n = len(residuals)
        live = [c is not None for c in cts]
        found: list[bool] = []

        def flat(*args: Any) -> list[Any]:
            given = iter(args[n:])
            answer = self.fun(args[:n], [next(given) if is_live else None for is_live in live])
            found[:] = [c is not None for c in answer]
            return [c for c in answer if c is not None]

        given = iter(_Rows(flat, self.axis)(*residuals, *(c for c in cts if c is not None)))
        return [next(given) if f else None for f in found]


custom_call = CustomCall()
custom_linear = CustomLinear()
