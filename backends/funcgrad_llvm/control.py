"""Control flow as native loops and branches: nothing returns to Python before the program is done.

A loop keeps each carry in two buffers: a step reads the one and writes the other, then they change places. A carry that
the body passes on is not moved at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from funcgrad.core.ir import Atom, Eqn, Jaxpr, Var

from .ir import register_type
from .lower import Lowerer, lowers
from .memory import Buffer, View


class _Carries:
    """The carries of a loop, in memory that the loop may write to."""

    def __init__(self, lowerer: Lowerer, inits: Sequence[Atom], fixed: Sequence[bool]) -> None:
        w = lowerer.writer
        self.lowerer = lowerer
        self.fixed = list(fixed)
        self.slots: list[tuple[str, str] | None] = []
        self.views: list[View] = []
        for init, stays in zip(inits, fixed):
            if stays:
                self.slots.append(None)
                self.views.append(lowerer.view(init))
                continue
            aval = init.aval
            first, second = (lowerer.temporary(aval.dtype, aval.shape) for _ in range(2))
            lowerer.copy(lowerer.view(init), first)
            here, there = w.alloca("ptr"), w.alloca("ptr")
            w.do(f"store ptr {first.buffer.pointer}, ptr {here}")
            w.do(f"store ptr {second.buffer.pointer}, ptr {there}")
            self.slots.append((here, there))
            self.views.append(first)

    def _views(self, which: int) -> list[View]:
        views = []
        for slot, view in zip(self.slots, self.views):
            if slot is not None:
                pointer = self.lowerer.writer.emit(f"load ptr, ptr {slot[which]}")
                view = View(Buffer(pointer), view.dtype, view.shape, view.strides)
            views.append(view)
        return views

    def current(self) -> list[View]:
        return self._views(0)

    def following(self) -> list[View]:
        return self._views(1)

    def swap(self) -> None:
        w = self.lowerer.writer
        for slot in self.slots:
            if slot is not None:
                here, there = (w.emit(f"load ptr, ptr {s}") for s in slot)
                w.do(f"store ptr {there}, ptr {slot[0]}")
                w.do(f"store ptr {here}, ptr {slot[1]}")


def _run(
    lowerer: Lowerer, body: Jaxpr, inputs: Sequence[View], carries: _Carries, first: int, ys: Sequence[View]
) -> None:
    """A step of a loop: the body's results go to the carries' other buffers, and to ys. Carry k is input first + k."""
    targets = carries.following()
    outs = [out for out, stays in zip(body.outs, carries.fixed) if not stays] + body.outs[len(carries.fixed) :]
    changing = [t for t, stays in zip(targets, carries.fixed) if not stays]
    lean = body if len(outs) == len(body.outs) else Jaxpr(body.invars, body.eqns, outs)
    lowerer.body(lean, inputs, [*changing, *ys])
    carries.swap()


def _passed_on(body: Jaxpr, first: int, count: int) -> list[bool]:
    """Which carries the body leaves as they are."""
    return [body.outs[k] is body.invars[first + k] for k in range(count)]


def _finish(lowerer: Lowerer, outputs: Sequence[Var], carries: _Carries) -> None:
    for var, view in zip(outputs, carries.current()):
        lowerer.copy(view, lowerer.result(var))


@lowers("scan")
def _scan(lowerer: Lowerer, eqn: Eqn) -> None:
    w, params = lowerer.writer, eqn.params
    body, n, k, length = params["jaxpr"], params["num_consts"], params["num_carry"], params["length"]
    consts = [lowerer.view(a) for a in eqn.inputs[:n]]
    xs = [lowerer.view(a) for a in eqn.inputs[n + k :]]
    carries = _Carries(lowerer, eqn.inputs[n : n + k], _passed_on(body, n, k))
    ys = [lowerer.result(v) for v in eqn.outputs[k:]]
    outer = lowerer.times
    lowerer.times *= length
    with w.loop(length) as step:
        index = w.emit(f"sub nsw i64 {length - 1}, {step}") if params["reverse"] else step
        rows = [lowerer.at(x, 0, index) for x in xs]
        targets = [lowerer.at(y, 0, index) for y in ys]
        _run(lowerer, body, [*consts, *carries.current(), *rows], carries, n, targets)
    lowerer.times = outer
    _finish(lowerer, eqn.outputs[:k], carries)


@lowers("while")
def _while(lowerer: Lowerer, eqn: Eqn) -> None:
    w, params = lowerer.writer, eqn.params
    test, body = params["cond_jaxpr"], params["body_jaxpr"]
    n, m = params["cond_nconsts"], params["body_nconsts"]
    inits = eqn.inputs[n + m :]
    tested = [lowerer.view(a) for a in eqn.inputs[:n]]
    consts = [lowerer.view(a) for a in eqn.inputs[n : n + m]]
    carries = _Carries(lowerer, inits, _passed_on(body, m, len(inits)))
    answer = lowerer.temporary(test.outs[0].aval.dtype, ())
    again, inside, after = w.fresh("w"), w.fresh("l"), w.fresh("x")
    outer = lowerer.times
    lowerer.times *= 100  # nobody knows
    w.branch(again)
    w.start(again)
    lowerer.body(test, [*tested, *carries.current()], [answer])
    w.do(f"br i1 {w.load(answer.buffer.pointer, answer.dtype)}, label %{inside}, label %{after}")
    w.start(inside)
    _run(lowerer, body, [*consts, *carries.current()], carries, m, [])
    w.branch(again)
    w.start(after)
    lowerer.times = outer
    _finish(lowerer, eqn.outputs, carries)


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
