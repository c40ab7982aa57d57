"""Control flow as native loops and branches: nothing returns to Python before the program is done.

A loop keeps each carry in two buffers: a step reads the one and writes the other, then they change places. A carry that
the body passes on is not moved at all, and one of which it updates a part is updated where it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from funcgrad.core.ir import Atom, Eqn, Jaxpr, Var

from .ir import register_type
from .lower import Lowerer, lowers
from .memory import Buffer, View

#: Operations that give an updated copy of their first operand.
_UPDATES = frozenset(["dynamic_update_slice", "scatter"])
#: Operations whose result may be a view of an operand.
_VIEWS = frozenset(["broadcast_in_dim", "copy", "optimization_barrier", "reshape", "rev", "slice", "transpose"])


def _last_read(body: Jaxpr, var: Var, but: int = -1) -> float:
    """Where a value is read last, itself or through a view, other than in the equation `but`."""
    last = math.inf if var in body.outs else -1
    for j, eqn in enumerate(body.eqns):
        if j != but and var in eqn.inputs:
            views = eqn.outputs if eqn.primitive.name in _VIEWS else ()
            last = max([last, j, *(_last_read(body, v) for v in views)])
    return last


def _updates(body: Jaxpr, carry: Var, out: Atom) -> list[Var]:
    """The values that a carry takes on its way to `out`, if each is an update of the one before that nobody reads later:
    then they may all be the same memory. Else none.
    """
    index = {v: i for i, e in enumerate(body.eqns) for v in e.outputs}
    chain: list[Var] = []
    while out is not carry:
        if not isinstance(out, Var) or out not in index or body.eqns[index[out]].primitive.name not in _UPDATES:
            return []
        i = index[out]
        chain.append(out)
        out, *others = body.eqns[i].inputs
        if out in others or not isinstance(out, Var) or _last_read(body, out, but=i) >= i:
            return []
    return chain if sum(a is chain[0] for a in body.outs) == 1 else []


class _Carries:
    """The carries of a loop, the first of which is the body's input `first`.

    One that the body passes on has no memory of its own, one that is only updated has one buffer, and all others two:
    the view of the next step's value is that of the other.
    """

    def __init__(self, lowerer: Lowerer, body: Jaxpr, first: int, inits: Sequence[Atom]) -> None:
        w = lowerer.writer
        self.lowerer, self.body = lowerer, body
        self.changes: list[bool] = []
        self.slots: list[tuple[str, str] | None] = []
        self.views: list[View] = []
        self.chains: list[list[Var]] = []
        for k, init in enumerate(inits):
            carry, out = body.invars[first + k], body.outs[k]
            self.changes.append(out is not carry)
            self.chains.append(_updates(body, carry, out) if out is not carry else [])
            self.slots.append(None)
            if out is carry:
                self.views.append(lowerer.view(init))
                continue
            buffer = lowerer.temporary(init.aval.dtype, init.aval.shape)
            lowerer.copy(lowerer.view(init), buffer)
            self.views.append(buffer)
            if not self.chains[k]:
                other = lowerer.temporary(init.aval.dtype, init.aval.shape)
                self.slots[k] = here, there = w.alloca("ptr"), w.alloca("ptr")
                w.do(f"store ptr {buffer.buffer.pointer}, ptr {here}")
                w.do(f"store ptr {other.buffer.pointer}, ptr {there}")

    def _views(self, which: int) -> list[View]:
        views = []
        for slot, view in zip(self.slots, self.views):
            if slot is not None:
                pointer = self.lowerer.writer.emit(f"load ptr, ptr {slot[which]}")
                view = View(Buffer(pointer), view.dtype, view.shape, view.strides)
            views.append(view)
        return views

    def current(self) -> list[View]:
        """The values at the beginning of a step."""
        return self._views(0)

    def step(self, inputs: Sequence[View], ys: Sequence[View]) -> None:
        """Run the body once; its other results go to `ys`."""
        lowerer, body, count = self.lowerer, self.body, len(self.changes)
        outs = [out for out, changes in zip(body.outs, self.changes) if changes]
        targets = [t for t, changes in zip(self._views(1), self.changes) if changes]
        for view, chain in zip(self.views, self.chains):
            lowerer.wanted.update(dict.fromkeys(chain, view))
        lowerer.body(Jaxpr(body.invars, body.eqns, [*outs, *body.outs[count:]]), inputs, [*targets, *ys])
        for chain in self.chains:
            for var in chain:
                lowerer.wanted.pop(var, None)
        w = lowerer.writer
        for slot in self.slots:
            if slot is not None:
                here, there = (w.emit(f"load ptr, ptr {s}") for s in slot)
                w.do(f"store ptr {there}, ptr {slot[0]}")
                w.do(f"store ptr {here}, ptr {slot[1]}")

    def finish(self, outputs: Sequence[Var]) -> None:
        """The values after the last step are those of the equation."""
        for var, view in zip(outputs, self.current()):
            self.lowerer.copy(view, self.lowerer.result(var))


@lowers("scan")
def _scan(lowerer: Lowerer, eqn: Eqn) -> None:
    w, params = lowerer.writer, eqn.params
    body, n, k, length = params["jaxpr"], params["num_consts"], params["num_carry"], params["length"]
    consts = [lowerer.view(a) for a in eqn.inputs[:n]]
    xs = [lowerer.view(a) for a in eqn.inputs[n + k :]]
    carries = _Carries(lowerer, body, n, eqn.inputs[n : n + k])
    ys = [lowerer.result(v) for v in eqn.outputs[k:]]
    outer = lowerer.times
    lowerer.times *= length
    with w.loop(length) as step:
        index = w.emit(f"sub nsw i64 {length - 1}, {step}") if params["reverse"] else step
        rows = [lowerer.at(x, 0, index) for x in xs]
        targets = [lowerer.at(y, 0, index) for y in ys]
        carries.step([*consts, *carries.current(), *rows], targets)
    lowerer.times = outer
    carries.finish(eqn.outputs[:k])


@lowers("while")
def _while(lowerer: Lowerer, eqn: Eqn) -> None:
    w, params = lowerer.writer, eqn.params
    test, body = params["cond_jaxpr"], params["body_jaxpr"]
    n, m = params["cond_nconsts"], params["body_nconsts"]
    inits = eqn.inputs[n + m :]
    tested = [lowerer.view(a) for a in eqn.inputs[:n]]
    consts = [lowerer.view(a) for a in eqn.inputs[n : n + m]]
    carries = _Carries(lowerer, body, m, inits)
    answer = lowerer.temporary(test.outs[0].aval.dtype, ())
    again, inside, after = w.fresh("w"), w.fresh("l"), w.fresh("x")
    outer = lowerer.times
    lowerer.times *= 100  # nobody knows
    w.branch(again)
    w.start(again)
    lowerer.body(test, [*tested, *carries.current()], [answer])
    w.do(f"br i1 {w.load(answer.buffer.pointer, answer.dtype)}, label %{inside}, label %{after}")
    w.start(inside)
    carries.step([*consts, *carries.current()], [])
    w.branch(again)
    w.start(after)
    lowerer.times = outer
    carries.finish(eqn.outputs)


@lowers("cond")
def _cond(lowerer: Lowerer, eqn: Eqn) -> None:
    w = lowerer.writer
    chosen, *operands = eqn.inputs
    views = [lowerer.view(a) for a in operands]
    targets = [lowerer.result(v) for v in eqn.outputs]
    branches = eqn.params["branches"]
    index, type = lowerer.scalar(chosen), register_type(chosen.aval.dtype)
    labels, after = [w.fresh("b") for _ in branches], w.fresh("x")
    # As in Python, the last branch is the one that is left.
    cases = " ".join(f"{type} {i}, label %{label}" for i, label in enumerate(labels[:-1]))
    w.do(f"switch {type} {index}, label %{labels[-1]} [ {cases} ]")
    for label, branch in zip(labels, branches):
        w.start(label)
        lowerer.body(branch, views, targets)
        w.branch(after)
    w.start(after)
