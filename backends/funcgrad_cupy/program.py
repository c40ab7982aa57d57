"""Programs: a jaxpr, simplified and fused, as a list of steps that run over arrays of the device.

Loops and branches run on the host: a predicate is read back, the slices of a scan's operands are views, and its stacked
results are written in place. A reshape is a view; a result that shares memory with an operand, a constant or another
result is copied at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from funcgrad.compiler.buffers import nbytes
from funcgrad.compiler.fuse import fuse
from funcgrad.compiler.fusion import kernel
from funcgrad.compiler.memory import MemoryAnalysis
from funcgrad.compiler.simplify import simplify
from funcgrad.core.ir import Atom, Eqn, Jaxpr, Literal, Var, subjaxprs

from .movement import copy_into, strides_of

if TYPE_CHECKING:
    from .cuda import CudaBackend

__all__ = ["Program", "compile_program"]

#: Primitives whose result may lie in the memory of their first operand.
_VIEWS = frozenset(["reshape"])


class Program:
    """A compiled jaxpr: a callable of flat arrays that returns a list. ``jaxpr`` is what it runs, made by fusion
    of ``simplified``, and ``memory`` what a call needs."""

    def __init__(self, simplified: Jaxpr, jaxpr: Jaxpr, backend: CudaBackend) -> None:
        self.simplified, self.jaxpr, self.backend = simplified, jaxpr, backend
        self.memory = _memory(jaxpr)
        self.body = _Body(jaxpr, backend)
        self.constants = [backend.asarray(c) for c in jaxpr.consts]

    @property
    def cuda(self) -> str:
        """The text of every generated kernel, in the order of the program, each once."""
        return "\n".join(dict.fromkeys(self.body.texts()))

    def __call__(self, *args: Any) -> list[Any]:
        try:
            return self._run(args)
        except MemoryError as error:
            peak = self.memory.peak_memory_in_bytes
            raise MemoryError(f"{error}; the program needs {peak:,} bytes at its peak, as planned") from error

    def _run(self, args: Sequence[Any]) -> list[Any]:
        backend = self.backend
        with np.errstate(all="ignore"):
            given = [
                backend.on.contiguous(backend.asarray(x, v.aval.dtype))
                for x, v in zip(args, self.jaxpr.invars, strict=True)
            ]
            outs, fresh = self.body.run([*self.constants, *given]), []
            seen = {backend.on.pointer(x) for x in (*self.constants, *given) if x.size}
            for y, aval in zip(outs, self.jaxpr.out_avals, strict=True):
                y = backend.asarray(y, aval.dtype)
                if aval.weak:
                    fresh.append(backend.to_numpy(y).item())
                    continue
                if y.size and backend.on.pointer(y) in seen:
                    y = backend.copy(y)
                seen.add(backend.on.pointer(y))
                fresh.append(y)
            return fresh


def compile_program(jaxpr: Jaxpr, backend: CudaBackend) -> Program:
    """The program for a jaxpr; kept in its memo."""
    key = ("compiled", backend.name)
    program = jaxpr.memo.get(key)
    if program is None:
        lean = simplify(jaxpr, backend.ops, backend.rules, backend.named_kernel)
        program = jaxpr.memo[key] = Program(lean, fuse(lean, backend.fusable, backend.worth), backend)
    return program  # type: ignore[no-any-return]


def _memory(jaxpr: Jaxpr) -> MemoryAnalysis:
    arguments, results = sum(map(nbytes, jaxpr.in_avals)), sum(map(nbytes, jaxpr.out_avals))
    constants = sum(nbytes(v.aval) for v in jaxpr.constvars)
    peak = max(_peak(jaxpr), results)
    return MemoryAnalysis(arguments, results, peak - results, arguments + peak, constants)


def _peak(jaxpr: Jaxpr) -> int:
    """The most bytes that the values of a program, its arguments not counted, take at one time."""
    last = {a: i for i, e in enumerate(jaxpr.eqns) for a in e.inputs if isinstance(a, Var)}
    ends: dict[int, list[Var]] = {}
    made = {v for e in jaxpr.eqns for v in e.outputs}
    for v in made - {a for a in jaxpr.outs if isinstance(a, Var)}:
        ends.setdefault(last.get(v, -1), []).append(v)
    now = peak = 0
    for i, e in enumerate(jaxpr.eqns):
        now += sum(nbytes(v.aval) for v in e.outputs)
        inner = max((_peak(body) for body in subjaxprs(e.params)), default=0) if e.primitive.control else 0
        peak = max(peak, now + inner)
        now -= sum(nbytes(v.aval) for v in ends.get(i, ()))
    return peak


class _Body:
    """The steps of a jaxpr. Each value has a slot; a slot is emptied after the last step that reads it."""

    def __init__(self, jaxpr: Jaxpr, backend: CudaBackend) -> None:
        self.jaxpr, self.backend = jaxpr, backend
        self.slots: dict[Var, int] = {}
        self.inner: list[_Body] = []
        self.kernels: list[str] = []
        self.inputs = [self._slot(v) for v in (*jaxpr.constvars, *jaxpr.invars)]
        last = {a: i for i, e in enumerate(jaxpr.eqns) for a in e.inputs if isinstance(a, Var)}
        for a in jaxpr.outs:
            last[a] = len(jaxpr.eqns)  # type: ignore[index]
        self.steps = []
        for i, e in enumerate(jaxpr.eqns):
            reads = [self._operand(a) for a in e.inputs]
            writes = [self._slot(v) for v in e.outputs]
            dead = {self.slots[a] for a in e.inputs if isinstance(a, Var) and last[a] == i}
            dead |= {self.slots[v] for v in e.outputs if v not in last}
            self.steps.append((self._callable(e), reads, writes, e.primitive.multiple, sorted(dead)))
        self.outs = [self._operand(a) for a in jaxpr.outs]

    def texts(self) -> list[str]:
        return [*self.kernels, *(text for body in self.inner for text in body.texts())]

    def _slot(self, v: Var) -> int:
        return self.slots.setdefault(v, len(self.slots))

    def _operand(self, a: Atom) -> tuple[int, Any]:
        """The slot of a variable; of a literal -1 and its value."""
        return (-1, a.value) if isinstance(a, Literal) else (self.slots[a], None)

    def run(self, args: Sequence[Any]) -> list[Any]:
        env: list[Any] = [None] * len(self.slots)
        for slot, x in zip(self.inputs, args, strict=True):
            env[slot] = x
        for call, reads, writes, multiple, dead in self.steps:
            found = call(*(env[slot] if slot >= 0 else value for slot, value in reads))
            for slot, y in zip(writes, found if multiple else (found,), strict=True):
                env[slot] = y
            for slot in dead:
                env[slot] = None
        return [env[slot] if slot >= 0 else value for slot, value in self.outs]

    # What a step calls ------------------------------------------------------------------------------------------------

    def _callable(self, eqn: Eqn) -> Callable[..., Any]:
        name, params, backend = eqn.primitive.name, eqn.params, self.backend
        if name == "fusion":
            run = kernel(eqn, backend)
            assert run is not None
            self.kernels.append(run.text)  # type: ignore[attr-defined]
            return run
        if name == "named_call":
            return params["kernel"]  # type: ignore[no-any-return]
        if name in _VIEWS:
            return lambda x: backend.on.view(backend.asarray(x), params["shape"])
        if name == "cond":
            return self._cond(eqn)
        if name == "while":
            return self._while(eqn)
        if name == "scan":
            return self._scan(eqn)
        op: Callable[..., Any] = backend.ops.get(name, eqn.primitive)
        return lambda *args: op(*args, **params)

    def _body(self, jaxpr: Jaxpr) -> _Body:
        self.inner.append(_Body(jaxpr, self.backend))
        return self.inner[-1]

    def _read(self, x: Any) -> Any:
        return self.backend.to_numpy(x)

    def _cond(self, eqn: Eqn) -> Callable[..., Any]:
        branches = [self._body(b) for b in eqn.params["branches"]]
        return lambda index, *args: branches[int(self._read(index))].run(args)

    def _while(self, eqn: Eqn) -> Callable[..., Any]:
        params = eqn.params
        cond, body = self._body(params["cond_jaxpr"]), self._body(params["body_jaxpr"])
        nc, nb = params["cond_nconsts"], params["body_nconsts"]

        def run(*args: Any) -> list[Any]:
            carry = list(args[nc + nb :])
            while bool(self._read(cond.run([*args[:nc], *carry])[0])):
                carry = body.run([*args[nc : nc + nb], *carry])
            return carry

        return run

    def _scan(self, eqn: Eqn) -> Callable[..., Any]:
        params, backend, device = eqn.params, self.backend, self.backend.on
        body, length = self._body(params["jaxpr"]), params["length"]
        nc, nk = params["num_consts"], params["num_carry"]
        stacked = [v.aval for v in eqn.outputs[nk:]]

        def run(*args: Any) -> list[Any]:
            consts, carry = args[:nc], list(args[nc : nc + nk])
            xs = [device.contiguous(backend.asarray(x)) for x in args[nc + nk :]]
            ys = [device.empty(a.shape, a.dtype) for a in stacked]
            for i in reversed(range(length)) if params["reverse"] else range(length):
                rows = [device.view(x, x.shape[1:], i * (x.size // length)) for x in xs]
                outs = body.run([*consts, *carry, *rows])
                carry = outs[:nk]
                for y, row in zip(ys, outs[nk:], strict=True):
                    row = backend.asarray(row, y.dtype)
                    stride = strides_of(row.shape)
                    copy_into(device, y, row, row.shape, stride, stride, i * row.size)
            return [*carry, *ys]

        return run
