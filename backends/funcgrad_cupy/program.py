"""Programs: a jaxpr, simplified and fused, written down as launches over one arena (:mod:`.recording`, :mod:`.code`).

A scan is its body's launches, repeated at compile time with the addresses of each step: nothing is read back, and rows of
results are written where they belong. Loops of unknown length, branches that are not cheap (:mod:`.branches`), and equations that are the library's are steps
on the host between launches. A result that shares memory with an operand, a constant or another result is copied.
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
from funcgrad.core.ir import Eqn, Jaxpr, Literal, Var
from funcgrad.core.types import Aval

from .branches import compute_branches
from .code import Code
from .movement import copy_into, strides_of
from .recording import Buffer, HostRead, HostStep, Recorder, Recording, Symbol

if TYPE_CHECKING:
    from .cuda import CudaBackend

__all__ = ["Program", "compile_program"]

#: A scan of more launches than these is a loop on the host over its body's.
_MOST_STEPS = 1 << 16


class Program:
    """A compiled jaxpr: a callable of flat arrays that returns a list. ``jaxpr`` is what it runs, made by fusion
    of ``simplified``, and ``memory`` what a call needs."""

    def __init__(self, simplified: Jaxpr, jaxpr: Jaxpr, backend: CudaBackend) -> None:
        self.simplified, self.jaxpr, self.backend = simplified, jaxpr, backend
        self.code = _Writer(backend).code(jaxpr)
        arguments, results = sum(map(nbytes, jaxpr.in_avals)), sum(map(nbytes, jaxpr.out_avals))
        temporary, constants = self.code.temporary, sum(nbytes(v.aval) for v in jaxpr.constvars)
        self.memory = MemoryAnalysis(arguments, results, temporary, arguments + results + temporary, constants)

    @property
    def cuda(self) -> str:
        """The text of every generated kernel, in the order of the program, each once."""
        return "\n".join(dict.fromkeys(self.code.texts))

    def __call__(self, *args: Any) -> list[Any]:
        self.backend.on.look()
        try:
            return self._run(args)
        except MemoryError as error:
            peak = self.memory.peak_memory_in_bytes
            raise MemoryError(f"{error}; the program needs {peak:,} bytes at its peak, as planned") from error

    def _run(self, args: Sequence[Any]) -> list[Any]:
        backend = self.backend
        with np.errstate(all="ignore"):
            given = [
                _aligned(backend, backend.on.contiguous(backend.asarray(x, v.aval.dtype)))
                for x, v in zip(args, self.jaxpr.invars, strict=True)
            ]
            return [
                backend.to_numpy(y).item() if aval.weak else y
                for y, aval in zip(self.code.run(given), self.jaxpr.out_avals, strict=True)
            ]


def _aligned(backend: CudaBackend, x: Any) -> Any:
    """``x``, or a copy if it does not start where accesses of 16 bytes may, as launches are prepared for."""
    if backend.on.pointer(x) % 16 == 0:
        return x
    y, stride = backend.on.empty(x.shape, x.dtype), strides_of(x.shape)
    copy_into(backend.on, y, x, x.shape, stride, stride)
    return y


def compile_program(jaxpr: Jaxpr, backend: CudaBackend) -> Program:
    """The program for a jaxpr; kept in its memo."""
    key = ("compiled", backend.name)
    program = jaxpr.memo.get(key)
    if program is None:
        lean = compute_branches(simplify(jaxpr, backend.ops, backend.rules, backend.named_kernel))
        program = jaxpr.memo[key] = Program(lean, fuse(lean, backend.fusable, backend.worth), backend)
    return program  # type: ignore[no-any-return]


class _Writer:
    """Writes jaxprs down for one back end."""

    def __init__(self, backend: CudaBackend) -> None:
        self.backend, self.on = backend, backend.on
        self.paper = backend.recorded
        assert isinstance(self.paper.on, Recorder)
        self.recorder: Recorder = self.paper.on

    def code(self, jaxpr: Jaxpr) -> Code:
        """A jaxpr as a program of its own, its constants within."""
        with self.recorder.to(Recording()) as recording:
            constants = [
                recording.constant(c if isinstance(c, self.on.array_type) else np.asarray(c)) for c in jaxpr.consts
            ]
            inputs, results = self._function(jaxpr, constants, ("temporary", "host"))
        return Code(self.on, recording, inputs, results)

    def _function(
        self, jaxpr: Jaxpr, constants: Sequence[Symbol] = (), own: tuple[str, ...] = ("temporary",)
    ) -> tuple[list[Symbol], list[Symbol]]:
        """The steps of a jaxpr on the present recording: its inputs, and its results, each in memory of its own, which
        is of a role in ``own``."""
        inputs = [_array(v.aval, "input") for v in jaxpr.invars]
        env: dict[Var, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *inputs), strict=True))
        for eqn in jaxpr.eqns:
            self._equation(eqn, env)
        results, taken = [], set()
        for a in jaxpr.outs:
            x = self._symbol(a.value if isinstance(a, Literal) else env[a], a.aval)
            if x.buffer.role not in own or not x.whole() or x.buffer in taken:
                x = self.paper.ops["copy"](x)
            if x.buffer.role == "temporary":
                x.buffer.role = "result"
            taken.add(x.buffer)
            results.append(x)
        return inputs, results

    def _symbol(self, x: Any, aval: Aval) -> Symbol:
        found: Symbol = self.paper.asarray(x, aval.dtype)
        return found if found.shape == aval.shape else self.recorder.view(found, aval.shape)

    def _equation(self, eqn: Eqn, env: dict[Var, Any]) -> None:
        recording, given = self.recorder.recording, [a.value if isinstance(a, Literal) else env[a] for a in eqn.inputs]
        name, before = eqn.primitive.name, len(recording.steps)
        try:
            if name == "scan":
                found = self._scan(eqn, given)
            elif name in ("cond", "while"):
                found = self._on_host(eqn, given, *(self._cond if name == "cond" else self._while)(eqn))
            else:
                found = self._operation(eqn, given)
        except HostRead:
            del recording.steps[before:]
            found = self._on_host(eqn, given, self._eager(eqn))
        env.update(zip(eqn.outputs, found, strict=True))

    def _operation(self, eqn: Eqn, given: Sequence[Any]) -> Sequence[Any]:
        name, params = eqn.primitive.name, eqn.params
        if name == "fusion":
            run = kernel(eqn, self.paper)
            assert run is not None
            return run(*given)  # type: ignore[no-any-return]
        if name == "named_call":
            # The equation's kernel is bound to the device itself.
            run = self.paper.named_kernel(params["name"], params["jaxpr"], params.get("static"))
            if run is None:
                raise HostRead(f"{params['name']} has no kernel")
            return run(*[self._symbol(x, a.aval) for x, a in zip(given, eqn.inputs, strict=True)])
        if name == "reshape":
            return [self.recorder.view(self.paper.asarray(given[0]), tuple(params["shape"]))]
        if name not in self.paper.ops:
            raise HostRead(f"{name} is not in the table")
        found = self.paper.ops[name](*given, **params)
        return found if eqn.primitive.multiple else [found]

    # Steps on the host ------------------------------------------------------------------------------------------------

    def _on_host(
        self, eqn: Eqn, given: Sequence[Any], run: Callable[..., Sequence[Any]], codes: tuple[Code, ...] = ()
    ) -> list[Symbol]:
        writes = tuple(_array(v.aval, "host") for v in eqn.outputs)
        self.recorder.recording.steps.append(HostStep(run, tuple(given), writes, codes))
        return list(writes)

    def _eager(self, eqn: Eqn) -> Callable[..., Sequence[Any]]:
        params, name = eqn.params, eqn.primitive.name
        op: Callable[..., Any] = params["kernel"] if name == "named_call" else self.backend.ops.get(name, eqn.primitive)
        params = {} if name == "named_call" else params
        if eqn.primitive.multiple:
            return lambda *args: op(*args, **params)
        return lambda *args: [op(*args, **params)]

    def _arrays(self, args: Sequence[Any], avals: Sequence[Aval]) -> list[Any]:
        return [self.on.contiguous(self.backend.asarray(x, a.dtype)) for x, a in zip(args, avals, strict=True)]

    def _cond(self, eqn: Eqn) -> tuple[Callable[..., Sequence[Any]], tuple[Code, ...]]:
        bodies = eqn.params["branches"]
        branches, avals = tuple(map(self.code, bodies)), bodies[0].in_avals
        return (
            lambda index, *args: branches[int(self.backend.to_numpy(index))].run(self._arrays(args, avals))
        ), branches

    def _while(self, eqn: Eqn) -> tuple[Callable[..., Sequence[Any]], tuple[Code, ...]]:
        params = eqn.params
        cond, body = self.code(params["cond_jaxpr"]), self.code(params["body_jaxpr"])
        nc, nb = params["cond_nconsts"], params["body_nconsts"]
        avals = [*params["cond_jaxpr"].in_avals[:nc], *params["body_jaxpr"].in_avals]

        def run(*args: Any) -> list[Any]:
            args = tuple(self._arrays(args, avals))
            carry = list(args[nc + nb :])
            while bool(self.backend.to_numpy(cond.run([*args[:nc], *carry])[0])):
                carry = body.run([*args[nc : nc + nb], *carry])
            return carry

        return run, (cond, body)

    # Loops of known length --------------------------------------------------------------------------------------------

    def _scan(self, eqn: Eqn, given: Sequence[Any]) -> list[Symbol]:
        """The launches of the body for each step, where a carry is what the step before has made."""
        params, recording = eqn.params, self.recorder.recording
        body, length, nc, nk = params["jaxpr"], params["length"], params["num_consts"], params["num_carry"]
        with self.recorder.to(Recording(recording)) as steps:
            inputs, results = self._function(body)
        if length * len(steps.steps) > _MOST_STEPS:
            return self._on_host(eqn, given, *self._long_scan(eqn))
        args = [self._symbol(x, a.aval) for x, a in zip(given, eqn.inputs, strict=True)]
        carry, stacked = args[nc : nc + nk], [_array(v.aval) for v in eqn.outputs[nk:]]
        for i in reversed(range(length)) if params["reverse"] else range(length):
            rows = [self._read_row(x, i) for x in args[nc + nk :]]
            made = [Symbol(Buffer(y.nbytes), y.shape, y.dtype) for y in results]
            made[nk:] = [self._row(y, i) if _is_aligned(x) else x for x, y in zip(made[nk:], stacked, strict=True)]
            images = [*args[:nc], *carry, *rows, *made]
            steps.place_in(recording, dict(zip((s.buffer for s in (*inputs, *results)), images, strict=True)))
            carry = made[:nk]
            for x, y in zip(made[nk:], stacked, strict=True):
                if not _is_aligned(x):
                    stride = strides_of(x.shape)
                    copy_into(self.recorder, y, x, x.shape, stride, stride, i * x.size)
        return [*carry, *stacked]

    def _row(self, x: Symbol, i: int) -> Symbol:
        shape = x.shape[1:]
        return self.recorder.view(x, shape, i * int(np.prod(shape, dtype=np.int64)))

    def _read_row(self, x: Symbol, i: int) -> Symbol:
        """A row where the launches of the body, which are written for aligned operands, may read it."""
        row = self._row(x, i)
        if _is_aligned(row):
            return row
        y, stride = self.recorder.empty(row.shape, row.dtype), strides_of(row.shape)
        copy_into(self.recorder, y, x, row.shape, stride, stride, 0, i * row.size)
        return y

    def _long_scan(self, eqn: Eqn) -> tuple[Callable[..., Sequence[Any]], tuple[Code, ...]]:
        params, device = eqn.params, self.on
        body, length, nc, nk = self.code(params["jaxpr"]), params["length"], params["num_consts"], params["num_carry"]
        avals, stacked = [a.aval for a in eqn.inputs], [v.aval for v in eqn.outputs[nk:]]

        def run(*args: Any) -> list[Any]:
            args = tuple(self._arrays(args, avals))
            consts, carry, xs = args[:nc], list(args[nc : nc + nk]), args[nc + nk :]
            ys = [device.empty(a.shape, a.dtype) for a in stacked]
            for i in reversed(range(length)) if params["reverse"] else range(length):
                rows = [_aligned(self.backend, device.view(x, x.shape[1:], i * (x.size // length))) for x in xs]
                outs = body.run([*consts, *carry, *rows])
                carry = outs[:nk]
                for y, row in zip(ys, outs[nk:], strict=True):
                    stride = strides_of(row.shape)
                    copy_into(device, y, row, row.shape, stride, stride, i * row.size)
            return [*carry, *ys]

        return run, (body,)


def _is_aligned(row: Symbol) -> bool:
    """Whether every row of an array starts where accesses of 16 bytes may."""
    return row.nbytes % 16 == 0


def _array(aval: Aval, role: str = "temporary") -> Symbol:
    return Symbol(Buffer(nbytes(aval), role), aval.shape, aval.dtype)
