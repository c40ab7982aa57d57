"""Loops: ``scan``, whose number of steps is known, and ``while``.

    scan:  (consts, carry, xs_i) -> (carry, ys_i)    for i = 0 .. length-1

Which carries have a tangent, or are mapped, is a fixed point: a carry is as soon as the body makes it so. Linearizing a
scan gives a primal scan that stacks the residuals of its steps, and a linear scan over them; residuals that are constant
over the loop, or slices of xs, are not stacked again. With the linear step

    (t_carry, t_y) = A_i (t_const, t_carry, t_x)

the transpose runs the steps backwards: it carries the cotangent of the carry, and adds up those of the consts.
A ``while`` has no transpose: how many residuals it would make is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from ..core.errors import IRError, MissingRuleError
from ..core.ir import Jaxpr, Var
from ..core.trace import EVAL, eval_jaxpr, set_trace, stage
from ..core.types import Aval, aval_of, shape_of
from ..primitives import add, broadcast_in_dim, concatenate, move_axis, reduce_or, reshape, select
from ..primitives.structure import repeat_rows, slice_along
from .batching import Axis, batch_jaxpr
from .call import Holder, divided, merged, spread
from .forward import instantiate, jvp_jaxpr, zeros
from .reverse import Linearized, hoist, linearize_jaxpr, reach, split_jaxpr, transpose_jaxpr

__all__ = ["scan", "while_"]


def _permuted(jaxpr: Jaxpr, inputs: Sequence[int], outs: Sequence[int]) -> Jaxpr:
    """The same program with its inputs and results in another order; kept, so that what is derived from it is too."""
    key = ("permuted", tuple(inputs), tuple(outs))
    if key not in jaxpr.memo:
        jaxpr.memo[key] = Jaxpr(
            [jaxpr.invars[i] for i in inputs],
            jaxpr.eqns,
            [jaxpr.outs[i] for i in outs],
            jaxpr.constvars,
            jaxpr.consts,
            jaxpr.name,
        )
    return jaxpr.memo[key]  # type: ignore[no-any-return]


def _live(values: Sequence[Any]) -> list[bool]:
    return [v is not None for v in values]


def _some(values: Sequence[Any]) -> list[Any]:
    return [v for v in values if v is not None]


class Scan(Holder):
    """Runs ``jaxpr`` ``length`` times: ``num_consts`` consts, ``num_carry`` carries, then xs; backwards with ``reverse``."""

    name = "scan"

    def closed(self, args: tuple[Any, ...], params: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        jaxpr, consts = hoist(params["jaxpr"])
        return (*consts, *args), params | {"jaxpr": jaxpr, "num_consts": params["num_consts"] + len(consts)}

    def type(self, *avals: Aval, **params: Any) -> Sequence[Aval]:
        jaxpr, length = params["jaxpr"], params["length"]
        nc, nk = params["num_consts"], params["num_carry"]
        carry, ys = jaxpr.out_avals[:nk], jaxpr.out_avals[nk:]
        body = [a.strong() for a in jaxpr.in_avals]
        given = [a.strong() for a in avals]
        if (
            given[: nc + nk] != body[: nc + nk]
            or [Aval(a.shape[1:], a.dtype) for a in given[nc + nk :]] != body[nc + nk :]
        ):
            raise IRError(f"scan: operands {given} do not fit the body's inputs {body}")
        if [a.strong() for a in carry] != body[nc : nc + nk]:
            raise IRError(f"scan: the carry goes in as {body[nc : nc + nk]} and comes out as {carry}")
        return [*(a.strong() for a in carry), *(Aval((length, *a.shape), a.dtype) for a in ys)]

    def expand(self, *args: Any, **params: Any) -> list[Any]:
        jaxpr, length = params["jaxpr"], params["length"]
        nc, nk = params["num_consts"], params["num_carry"]
        consts, carry, xs = args[:nc], list(args[nc : nc + nk]), args[nc + nk :]
        rows: list[list[Any]] = []
        for i in reversed(range(length)) if params["reverse"] else range(length):
            step = [reshape(slice_along(x, 0, i, i + 1), shape=shape_of(x)[1:]) for x in xs]
            outs = eval_jaxpr(jaxpr, *consts, *carry, *step)
            carry = outs[:nk]
            rows.append(outs[nk:])
        if params["reverse"]:
            rows.reverse()
        avals = jaxpr.out_avals[nk:]
        if not rows:
            return [*carry, *(zeros(Aval((0, *a.shape), a.dtype)) for a in avals)]
        stacked = [
            concatenate(*[reshape(r[k], shape=(1, *a.shape)) for r in rows], axis=0) for k, a in enumerate(avals)
        ]
        return [*carry, *stacked]

    def _fixed_carry(self, jaxpr: Jaxpr, consts: list[bool], carry: list[bool], xs: list[bool]) -> list[bool]:
        """Which carries have a tangent: those that start with one, and those that the body gives one."""
        while True:
            out = jvp_jaxpr(jaxpr, [*consts, *carry, *xs], [*carry, *[False] * (len(jaxpr.outs) - len(carry))])[1]
            grown = [c or o for c, o in zip(carry, out, strict=False)]
            if grown == carry:
                return carry
            carry = grown

    def _tangents(
        self, primals: Sequence[Any], tangents: Sequence[Any], params: dict[str, Any]
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """The tangents of consts, carries and xs, zeros written out for the carries that come to have one."""
        nc, nk = params["num_consts"], params["num_carry"]
        tc, tk, tx = list(tangents[:nc]), list(tangents[nc : nc + nk]), list(tangents[nc + nk :])
        live = self._fixed_carry(params["jaxpr"], _live(tc), _live(tk), _live(tx))
        starts = primals[nc : nc + nk]
        tk = [instantiate(t, p) if is_live else None for t, p, is_live in zip(tk, starts, live, strict=True)]
        return tc, tk, tx

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        jaxpr, nc, nk = params["jaxpr"], params["num_consts"], params["num_carry"]
        tc, tk, tx = self._tangents(primals, tangents, params)
        keep = [*_live(tk), *[False] * (len(jaxpr.outs) - nk)]
        both, live = jvp_jaxpr(jaxpr, [*_live(tc), *_live(tk), *_live(tx)], keep)
        n, m = len(primals), len(jaxpr.outs)
        lc, lk, lx = len(_some(tc)), len(_some(tk)), len(_some(tx))
        inputs = [
            *range(nc), *range(n, n + lc),
            *range(nc, nc + nk), *range(n + lc, n + lc + lk),
            *range(nc + nk, n), *range(n + lc + lk, n + lc + lk + lx),
        ]  # fmt: skip
        results = [*range(nk), *range(m, m + lk), *range(nk, m), *range(m + lk, m + sum(live))]
        outs = self(
            *primals[:nc], *_some(tc), *primals[nc : nc + nk], *_some(tk), *primals[nc + nk :], *_some(tx),
            jaxpr=_permuted(both, inputs, results), num_consts=nc + lc, num_carry=nk + lk,
            length=params["length"], reverse=params["reverse"],
        )  # fmt: skip
        carry, t_carry, ys, t_ys = outs[:nk], outs[nk : nk + lk], outs[nk + lk : m + lk], outs[m + lk :]
        return [*carry, *ys], spread([*t_carry, *t_ys], live)

    def linearize(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        jaxpr, nc, nk = params["jaxpr"], params["num_consts"], params["num_carry"]
        tc, tk, tx = self._tangents(primals, tangents, params)
        keep = [*_live(tk), *[False] * (len(jaxpr.outs) - nk)]
        split = linearize_jaxpr(jaxpr, [*_live(tc), *_live(tk), *_live(tx)], keep)
        outs, touts = self._apart(split, primals, nc, nk, len(jaxpr.outs), _some(tc), _some(tk), _some(tx), params)
        return outs, spread(touts, split.live_out) if any(split.live_out) else None

    def reach(self, marked: Sequence[bool], **params: Any) -> Sequence[bool]:
        jaxpr, nc, nk = params["jaxpr"], params["num_consts"], params["num_carry"]
        carry = tuple(marked[nc : nc + nk])
        while True:
            found = reach(jaxpr, [*marked[:nc], *carry, *marked[nc + nk :]])
            grown = tuple(c or f for c, f in zip(carry, found, strict=False))
            if grown == carry:
                return [*carry, *found[nk:]]
            carry = grown

    def split(
        self, args: Sequence[Any], linear: Sequence[bool], reached: Sequence[bool], **params: Any
    ) -> Sequence[Any]:
        jaxpr, nc, nk = params["jaxpr"], params["num_consts"], params["num_carry"]
        mask = [*linear[:nc], *reached[:nk], *linear[nc + nk :]]
        split = split_jaxpr(jaxpr, mask, reached)
        known_consts, consts = divided(args[:nc], mask[:nc])
        known_carry, carry = divided(args[nc : nc + nk], mask[nc : nc + nk])
        known_xs, xs = divided(args[nc + nk :], mask[nc + nk :])
        known, n = [*known_consts, *known_carry, *known_xs], len(reached) - sum(reached)
        outs, rest = self._apart(split, known, len(known_consts), len(known_carry), n, consts, carry, xs, params)
        return merged(outs, rest, reached)

    def _apart(
        self,
        split: Linearized,
        primals: Sequence[Any],
        nc: int,
        nk: int,
        m: int,
        tc: Sequence[Any],
        tk: Sequence[Any],
        tx: Sequence[Any],
        params: dict[str, Any],
    ) -> tuple[list[Any], list[Any]]:
        """The primal scan, of ``nc`` consts and ``nk`` carries with ``m`` results, and the linear scan over its residuals."""
        rest = {"length": params["length"], "reverse": params["reverse"]}
        # A residual that is a carry's old value differs in every step: let the primal body return it.
        carried = tuple(k for k in split.known if k is not None and nc <= k < nc + nk)
        primal = _returning(split.primal, carried)
        outs = self(*primals, jaxpr=primal, num_consts=nc, num_carry=nk, **rest)
        if not any(split.live_out):
            return outs[:m], []
        new, old = iter(outs[m : len(outs) - len(carried)]), iter(outs[len(outs) - len(carried) :])
        constant: list[int] = []
        stacked: list[int] = []
        values: list[Any] = []
        for i, k in enumerate(split.known):
            if k is not None and k < nc:
                constant.append(i)
                values.append(primals[k])
            else:
                stacked.append(i)
                values.append(next(new) if k is None else next(old) if k < nc + nk else primals[k])
        r, lc, lk = len(values), len(tc), len(tk)
        n = len(split.linear.invars)
        inputs = [*constant, *range(r, r + lc + lk), *stacked, *range(r + lc + lk, n)]
        touts = self(
            *(values[i] for i in constant), *tc, *tk, *(values[i] for i in stacked), *tx,
            jaxpr=_permuted(split.linear, inputs, range(len(split.linear.outs))),
            num_consts=len(constant) + lc, num_carry=lk, **rest,
        )  # fmt: skip
        return outs[:m], touts

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        jaxpr, nc, nk = params["jaxpr"], params["num_consts"], params["num_carry"]
        linear = [isinstance(x, Var) for x in args]
        # A carry that starts at a value, zero by linearity, is linear all the same.
        body_linear = [*linear[:nc], *[True] * nk, *linear[nc + nk :]]
        consts = [x for x, is_linear in zip(args[:nc], linear, strict=False) if not is_linear]
        xs = [x for x, is_linear in zip(args[nc + nk :], linear[nc + nk :], strict=True) if not is_linear]
        live_ys = [c is not None for c in ct[nk:]]
        step = _transposed_step(jaxpr, nc, nk, tuple(body_linear), tuple(live_ys))
        carry = [zeros(a) if c is None else c for c, a in zip(ct, jaxpr.out_avals[:nk], strict=False)]
        sums = [zeros(x.aval) for x in args[:nc] if isinstance(x, Var)]
        outs = self(
            *consts, *carry, *sums, *_some(ct[nk:]), *xs,
            jaxpr=step, num_consts=len(consts), num_carry=nk + len(sums),
            length=params["length"], reverse=not params["reverse"],
        )  # fmt: skip
        ct_carry, ct_consts, ct_xs = outs[:nk], iter(outs[nk : nk + len(sums)]), iter(outs[nk + len(sums) :])
        return [
            *(next(ct_consts) if is_linear else None for is_linear in linear[:nc]),
            *(c if is_linear else None for c, is_linear in zip(ct_carry, linear[nc : nc + nk], strict=True)),
            *(next(ct_xs) if is_linear else None for is_linear in linear[nc + nk :]),
        ]

    def batch(self, axis: Axis, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:  # type: ignore[override]
        jaxpr, nc, nk = params["jaxpr"], params["num_consts"], params["num_carry"]
        consts, carry, xs = list(batched[:nc]), list(batched[nc : nc + nk]), list(batched[nc + nk :])
        free = [False] * (len(jaxpr.outs) - nk)
        while True:
            rows, mapped = batch_jaxpr(jaxpr, axis, [*consts, *carry, *xs], [*carry, *free])
            if list(mapped[:nk]) == carry:
                break
            carry = list(mapped[:nk])
        starts = [
            x if b or not c else repeat_rows(x, axis.size)
            for x, b, c in zip(args[nc : nc + nk], batched[nc : nc + nk], carry, strict=True)
        ]
        slices = [move_axis(x, 0, 1) if b else x for x, b in zip(args[nc + nk :], xs, strict=True)]
        outs = self(*args[:nc], *starts, *slices, **(params | {"jaxpr": rows}))
        ys = [move_axis(y, 1, 0) if b else y for y, b in zip(outs[nk:], mapped[nk:], strict=True)]
        return [*outs[:nk], *ys], mapped


def _returning(jaxpr: Jaxpr, inputs: tuple[int, ...]) -> Jaxpr:
    """The same program, which also returns some of its inputs."""
    if not inputs:
        return jaxpr
    key = ("returning", inputs)
    if key not in jaxpr.memo:
        outs = [*jaxpr.outs, *(jaxpr.invars[i] for i in inputs)]
        jaxpr.memo[key] = Jaxpr(jaxpr.invars, jaxpr.eqns, outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)
    return jaxpr.memo[key]  # type: ignore[no-any-return]


def _transposed_step(jaxpr: Jaxpr, nc: int, nk: int, linear: tuple[bool, ...], live_ys: tuple[bool, ...]) -> Jaxpr:
    """(const residuals, ct of carry, sums for linear consts, live ct of ys, x residuals) -> (ct of carry, sums, ct of xs)."""
    key = ("transposed step", nc, nk, linear, live_ys)
    if key in jaxpr.memo:
        return jaxpr.memo[key]  # type: ignore[no-any-return]
    back, _ = transpose_jaxpr(jaxpr, linear, [*[True] * nk, *live_ys], keep=True)
    avals = [a.strong() for a in jaxpr.in_avals]
    consts = [a for a, is_linear in zip(avals[:nc], linear, strict=False) if not is_linear]
    sums = [a for a, is_linear in zip(avals[:nc], linear, strict=False) if is_linear]
    xs = [a for a, is_linear in zip(avals[nc + nk :], linear[nc + nk :], strict=True) if not is_linear]
    outs = [a.strong() for a in jaxpr.out_avals]
    ys = [a for a, is_live in zip(outs[nk:], live_ys, strict=True) if is_live]
    c, k, s, y = len(consts), nk, len(sums), len(ys)

    def fun(*args: Any) -> list[Any]:
        res, ct_carry = args[:c], args[c : c + k]
        totals, ct_ys, res_x = args[c + k : c + k + s], args[c + k + s : c + k + s + y], args[c + k + s + y :]
        cts = eval_jaxpr(back, *res, *res_x, *ct_carry, *ct_ys)
        return [*cts[s : s + k], *(add(a, b) for a, b in zip(totals, cts[:s], strict=True)), *cts[s + k :]]

    with set_trace(EVAL):
        jaxpr.memo[key] = stage(fun, [*consts, *outs[:nk], *sums, *ys, *xs], back.name)
    return jaxpr.memo[key]  # type: ignore[no-any-return]


class While(Holder):
    """Runs ``body_jaxpr`` on the carry while ``cond_jaxpr`` of it is true; each has consts of its own."""

    name = "while"

    def closed(self, args: tuple[Any, ...], params: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        nc, nb = params["cond_nconsts"], params["body_nconsts"]
        cond, cond_consts = hoist(params["cond_jaxpr"])
        body, body_consts = hoist(params["body_jaxpr"])
        changed = {
            "cond_jaxpr": cond,
            "body_jaxpr": body,
            "cond_nconsts": nc + len(cond_consts),
            "body_nconsts": nb + len(body_consts),
        }
        return (*cond_consts, *args[:nc], *body_consts, *args[nc:]), params | changed

    def type(self, *avals: Aval, **params: Any) -> Sequence[Aval]:
        carry = [a.strong() for a in avals[params["cond_nconsts"] + params["body_nconsts"] :]]
        if [a.strong() for a in params["body_jaxpr"].out_avals] != carry:
            raise IRError(f"while: the carry goes in as {carry} and comes out as {params['body_jaxpr'].out_avals}")
        return carry

    def expand(self, *args: Any, **params: Any) -> list[Any]:
        nc, nb = params["cond_nconsts"], params["body_nconsts"]
        cond_consts, body_consts, carry = args[:nc], args[nc : nc + nb], list(args[nc + nb :])
        while bool(eval_jaxpr(params["cond_jaxpr"], *cond_consts, *carry)[0]):
            carry = eval_jaxpr(params["body_jaxpr"], *body_consts, *carry)
        return carry

    def _tangents(
        self, primals: Sequence[Any], tangents: Sequence[Any], params: dict[str, Any]
    ) -> tuple[list[Any], list[Any]]:
        nc, nb = params["cond_nconsts"], params["body_nconsts"]
        tb, tk = list(tangents[nc : nc + nb]), list(tangents[nc + nb :])
        carry = _live(tk)
        while True:
            out = jvp_jaxpr(params["body_jaxpr"], [*_live(tb), *carry], carry)[1]
            grown = [c or o for c, o in zip(carry, out, strict=True)]
            if grown == carry:
                break
            carry = grown
        starts = primals[nc + nb :]
        return tb, [instantiate(t, p) if live else None for t, p, live in zip(tk, starts, carry, strict=True)]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        nc, nb = params["cond_nconsts"], params["body_nconsts"]
        tb, tk = self._tangents(primals, tangents, params)
        live = _live(tk)
        both, _ = jvp_jaxpr(params["body_jaxpr"], [*_live(tb), *live], live)
        n, lb, k = nb + len(tk), len(_some(tb)), len(tk)
        inputs = [*range(nb), *range(n, n + lb), *range(nb, n), *range(n + lb, n + lb + sum(live))]
        body = _permuted(both, inputs, range(len(both.outs)))
        cond = params["cond_jaxpr"]
        extra = [Var(aval_of(t).strong()) for t in _some(tk)]
        cond = Jaxpr([*cond.invars, *extra], cond.eqns, cond.outs, name=cond.name)
        outs = self(
            *primals[: nc + nb], *_some(tb), *primals[nc + nb :], *_some(tk),
            cond_jaxpr=cond, body_jaxpr=body, cond_nconsts=nc, body_nconsts=nb + lb,
        )  # fmt: skip
        return outs[:k], spread(outs[k:], live)

    def linearize(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        if not any(_live(self._tangents(primals, tangents, params)[1])):
            return self(*primals, **params), None
        self._refuse()

    def reach(self, marked: Sequence[bool], **params: Any) -> Sequence[bool]:
        nc, nb = params["cond_nconsts"], params["body_nconsts"]
        carry = tuple(marked[nc + nb :])
        while True:
            found = reach(params["body_jaxpr"], [*marked[nc : nc + nb], *carry])
            grown = tuple(c or f for c, f in zip(carry, found, strict=True))
            if grown == carry:
                return carry
            carry = grown

    def split(
        self, args: Sequence[Any], linear: Sequence[bool], reached: Sequence[bool], **params: Any
    ) -> Sequence[Any]:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise MissingRuleError(
            "reverse-mode differentiation does not go through while_loop, or through fori_loop with traced bounds: "
            "the number of steps, and so of residuals, is not known. Use lax.scan, or lax.fori_loop with Python "
            "integers as bounds; use forward mode (jvp, jacfwd); or give the derivative by custom_vjp"
        )

    def batch(self, axis: Axis, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:  # type: ignore[override]
        nc, nb = params["cond_nconsts"], params["body_nconsts"]
        cond_jaxpr, body_jaxpr = params["cond_jaxpr"], params["body_jaxpr"]
        consts, carry = list(batched[: nc + nb]), list(batched[nc + nb :])
        while True:
            cond_rows, (by_row,) = batch_jaxpr(cond_jaxpr, axis, [*consts[:nc], *carry])
            wanted = [True] * len(carry) if by_row else carry
            body_rows, mapped = batch_jaxpr(body_jaxpr, axis, [*consts[nc:], *wanted], wanted)
            if list(mapped) == carry:
                break
            carry = list(mapped)
        starts = [
            x if b or not c else repeat_rows(x, axis.size)
            for x, b, c in zip(args[nc + nb :], batched[nc + nb :], carry, strict=True)
        ]
        if not by_row:
            return self(
                *args[: nc + nb], *starts, cond_jaxpr=cond_rows, body_jaxpr=body_rows, cond_nconsts=nc, body_nconsts=nb
            ), carry
        any_row, step = _by_row(cond_rows, body_rows, nc, nb)
        outs = self(
            *args[:nc], *args[:nc], *args[nc : nc + nb], *starts,
            cond_jaxpr=any_row, body_jaxpr=step, cond_nconsts=nc, body_nconsts=nc + nb,
        )  # fmt: skip
        return outs, carry


def _by_row(cond: Jaxpr, body: Jaxpr, nc: int, nb: int) -> tuple[Jaxpr, Jaxpr]:
    """Condition and body of a loop whose rows stop at different times: it runs while any does, and rows that are done stay."""
    key = ("by row", cond)
    if key not in body.memo:

        def any_row(*args: Any) -> list[Any]:
            return [reduce_or(eval_jaxpr(cond, *args)[0], axes=(0,))]

        def step(*args: Any) -> list[Any]:
            cond_consts, body_consts, carry = args[:nc], args[nc : nc + nb], args[nc + nb :]
            (going,) = eval_jaxpr(cond, *cond_consts, *carry)
            moved = eval_jaxpr(body, *body_consts, *carry)
            return [
                select(broadcast_in_dim(going, shape=shape_of(new), dims=(0,)), new, old)
                for new, old in zip(moved, carry, strict=True)
            ]

        with set_trace(EVAL):
            consts = [a.strong() for a in cond.in_avals[:nc]]
            body.memo[key] = (
                stage(any_row, [a.strong() for a in cond.in_avals], cond.name),
                stage(step, [*consts, *(a.strong() for a in body.in_avals)], body.name),
            )
    return body.memo[key]  # type: ignore[no-any-return]


scan = Scan()
while_ = While()
