"""Control flow as native loops and branches: nothing returns to Python before the program is done.

A carry that a step reads no more when it writes the new value, or writes over element by element, or updates in part, is one
buffer. Any other is kept in two: a step reads the one and writes the other, then they change places. One that the body
passes on is not moved at all. The buffer of the result is one of a carry's, and so is that of the first value if nobody
reads it behind the loop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from funcgrad.core.ir import Atom, Eqn, Jaxpr, Var

from .ir import register_type
from .lower import PLACES, Lowerer, lowers
from .memory import Buffer, View, contiguous_strides
from .overwrite import overwritable
from .parts import in_parts

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


def _is_replaced(body: Jaxpr, carry: Var, out: Atom) -> bool:
    """Whether the new value of a carry may be written where the old one is: nobody reads that any more, or only the group
    that makes the new one does, element by element."""
    eqns = [part for eqn in body.eqns for part in in_parts(eqn)]
    made = next((i for i, e in enumerate(eqns) if out in e.outputs), None)
    # The operands of what only moves them are written earlier than the result.
    if made is None or eqns[made].primitive.name in PLACES or sum(a is out for a in body.outs) > 1:
        return False
    eqn, split = eqns[made], Jaxpr(body.invars, eqns, body.outs)
    if _last_read(split, carry) < made:
        return True
    if eqn.inputs.count(carry) > 1 or _last_read(split, carry, but=made) >= made:
        return False
    if eqn.primitive.name == "fusion":
        pairs = overwritable(eqn.params["jaxpr"], eqn.params["space"])
        return (eqn.inputs.index(carry), eqn.outputs.index(out)) in pairs
    same = carry.aval.shape == out.aval.shape and carry.aval.dtype.itemsize == out.aval.dtype.itemsize
    return eqn.primitive.elementwise and same


class _Carries:
    """The carries of a loop, the first of which is the body's input `first`; `length` steps, if that is known."""

    def __init__(
        self, lowerer: Lowerer, body: Jaxpr, first: int, eqn: Eqn, inits: Sequence[Atom], length: int | None
    ) -> None:
        w = lowerer.writer
        self.lowerer, self.body, self.length = lowerer, body, length
        self.outputs = eqn.outputs[: len(inits)]
        self.changes: list[bool] = []
        self.slots: list[tuple[str, str] | None] = []
        self.views: list[View] = []
        self.chains: list[list[Var]] = []
        operands = [lowerer.view(a) for a in eqn.inputs if isinstance(a, Var)]
        for k, (init, var) in enumerate(zip(inits, self.outputs)):
            carry, out, start = body.invars[first + k], body.outs[k], lowerer.view(init)
            self.changes.append(out is not carry)
            self.chains.append(_updates(body, carry, out) if out is not carry else [])
            self.slots.append(None)
            if out is carry:
                self.views.append(start)
                continue
            mine = sum(v.buffer is start.buffer for v in operands) == 1
            if self.chains[k] or _is_replaced(body, carry, out):
                self.views.append(self._result(var, start if mine else None))
                lowerer.copy(start, self.views[k])
                continue
            if length is not None and length % 2 == 0:
                # The last value is where the first one was.
                one = self._result(var, start if mine else None)
                other = lowerer.temporary(var.aval.dtype, var.aval.shape)
            else:
                one, other = start, self._result(var)
                if not (mine and start.is_contiguous and lowerer.is_spent(start.buffer)):
                    one = lowerer.temporary(var.aval.dtype, var.aval.shape)
            lowerer.copy(start, one)
            self.views.append(one)
            slot = self.slots[k] = w.alloca("ptr"), w.alloca("ptr")
            for place, view in zip(slot, (one, other)):
                w.do(f"store ptr {lowerer.pointer(view)}, ptr {place}")

    def _result(self, var: Var, start: View | None = None) -> View:
        """Memory for a carry: that of the result, and that of its first value too, if it can be."""
        lowerer, wanted = self.lowerer, self.lowerer.wanted.get(var)
        if wanted is not None and not wanted.is_contiguous:
            return lowerer.temporary(var.aval.dtype, var.aval.shape)
        if start is None or not lowerer.take_over(var, start):
            lowerer.result(var)
        return lowerer.values[var]

    def _views(self, which: int) -> list[View]:
        views = []
        for slot, view in zip(self.slots, self.views):
            if slot is not None:
                pointer = self.lowerer.writer.emit(f"load ptr, ptr {slot[which]}")
                view = View(Buffer(pointer), view.dtype, view.shape, contiguous_strides(view.shape))
            views.append(view)
        return views

    def current(self) -> list[View]:
        """The values at the beginning of a step."""
        return self._views(0)

    def step(self, inputs: Sequence[View], ys: Sequence[View]) -> None:
        """Run the body once; its other results go to `ys`."""
        lowerer, body, count = self.lowerer, self.body, len(self.outputs)
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

    def finish(self) -> None:
        """The values after the last step are those of the equation."""
        lowerer, w = self.lowerer, self.lowerer.writer
        for var, slot, view in zip(self.outputs, self.slots, self.current()):
            target = lowerer.values.get(var)
            if target is None:
                lowerer.copy(view, lowerer.result(var))
            elif slot is not None and self.length is None:
                with w.when(w.emit(f"icmp ne ptr {view.buffer.pointer}, {lowerer.pointer(target)}")):
                    lowerer.copy(view, target)


@lowers("scan")
def _scan(lowerer: Lowerer, eqn: Eqn) -> None:
    w, params = lowerer.writer, eqn.params
    body, n, k, length = params["jaxpr"], params["num_consts"], params["num_carry"], params["length"]
    consts = [lowerer.view(a) for a in eqn.inputs[:n]]
    xs = [lowerer.view(a) for a in eqn.inputs[n + k :]]
    carries = _Carries(lowerer, body, n, eqn, eqn.inputs[n : n + k], length)
    ys = [lowerer.result(v) for v in eqn.outputs[k:]]
    if not length:
        carries.finish()
        return
    outer = lowerer.times
    lowerer.times *= length
    with w.loop(length) as step:
        index = w.emit(f"sub nsw i64 {length - 1}, {step}") if params["reverse"] else step
        rows = [lowerer.at(x, 0, index) for x in xs]
        targets = [lowerer.at(y, 0, index) for y in ys]
        carries.step([*consts, *carries.current(), *rows], targets)
    lowerer.times = outer
    carries.finish()


@lowers("while")
def _while(lowerer: Lowerer, eqn: Eqn) -> None:
    w, params = lowerer.writer, eqn.params
    test, body = params["cond_jaxpr"], params["body_jaxpr"]
    n, m = params["cond_nconsts"], params["body_nconsts"]
    inits = eqn.inputs[n + m :]
    tested = [lowerer.view(a) for a in eqn.inputs[:n]]
    consts = [lowerer.view(a) for a in eqn.inputs[n : n + m]]
    carries = _Carries(lowerer, body, m, eqn, inits, None)
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
    carries.finish()


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
