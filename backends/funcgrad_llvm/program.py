"""Programs: native segments, and between them what only Python can do.

A segment is called with the tuple of its arguments. What it reads of an array object (its class, its flags, the address
of its data) it reads by itself: the layout of these objects is a part of NumPy's and CPython's stable interfaces, and
asking for it from Python takes longer than many a program runs.
"""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcgrad.compiler.buffers import nbytes
from funcgrad.compiler.fission import split_products
from funcgrad.compiler.fuse import fuse
from funcgrad.compiler.invariant import hoist_groups
from funcgrad.compiler.memory import MemoryAnalysis
from funcgrad.compiler.pairs import in_pairs
from funcgrad.compiler.program import compile_jaxpr
from funcgrad.compiler.recompute import recompute_groups, recompute_stacks
from funcgrad.compiler.schedule import schedule
from funcgrad.compiler.simplify import simplify
from funcgrad.core.backend import get_backend
from funcgrad.core.config import config
from funcgrad.core.ir import Atom, Eqn, Jaxpr, Literal, Var
from funcgrad_numpy.pool import MIN_BYTES, fresh

from . import machine
from .ir import Writer
from .lower import FUSABLE, Fault, Lowerer, is_native
from .memory import Buffer, View

__all__ = ["Program"]

#: Where things are in objects: items of a tuple; class, data and flags of an array (PyArrayObject_fields).
_TUPLE_ITEMS = tuple.__basicsize__
_HEAD = object.__basicsize__
_CLASS, _DATA, _FLAGS = _HEAD - 8, _HEAD, _HEAD + 48
#: C_CONTIGUOUS and ALIGNED.
_PLAIN = 0x0101
#: What a segment answers where an argument is no plain array.
_NOT_PLAIN = -1
#: From this many elements on, other Python threads run meanwhile.
_LONG_WORK = 200_000

_SIGNATURE = (ctypes.c_int64, ctypes.py_object, ctypes.py_object, ctypes.c_void_p)
_BRIEF, _LONG = ctypes.PYFUNCTYPE(*_SIGNATURE), ctypes.CFUNCTYPE(*_SIGNATURE)


class _Native:
    """A segment as native code for as many threads as `config.num_threads` says."""

    def __init__(self, eqns: Sequence[Eqn], inputs: Sequence[Var], outputs: Sequence[Atom], fast_math: bool) -> None:
        lowerer = Lowerer(fast_math)
        w = lowerer.writer
        ins = [View.plain(Buffer(self._address(w, "%args", i)), v.aval) for i, v in enumerate(inputs)]
        outs = [
            View.plain(lowerer.arena.result(self._address(w, "%outs", i), nbytes(a.aval)), a.aval)
            for i, a in enumerate(outputs)
        ]
        lowerer.body(Jaxpr(inputs, eqns, outputs), ins, outs)
        self.text = "\n\n".join([lowerer.module(), _entry(len(ins), len(outs))])
        self.faults = lowerer.faults
        self.temporary_bytes = lowerer.temporary_bytes
        self._library = machine.Library(self.text, lowerer.symbols)
        kind = _LONG if lowerer.work > _LONG_WORK else _BRIEF
        self.run: Callable[..., int] = kind(self._library.address("entry"))
        # A call takes an arena and puts it back, so that two threads never share one.
        self.arenas: list[tuple[int, Any]] = []

    @staticmethod
    def _address(w: Writer, table: str, i: int) -> str:
        return w.emit(f"load ptr, ptr {w.emit(f'getelementptr ptr, ptr {table}, i64 {i}')}")

    def arena(self) -> tuple[int, Any]:
        """Memory of its own for a call: the address, and what keeps it alive."""
        memory = np.empty(self.temporary_bytes + 64, np.uint8)
        return -(-memory.ctypes.data // 64) * 64, memory


class Segment:
    """A native function of some equations: `inputs` to `outputs`, called with arrays, gives new arrays.

    How work is cut for threads stands in the code, so there is a version for each number of threads that was set.
    """

    def __init__(self, eqns: Sequence[Eqn], inputs: Sequence[Var], outputs: Sequence[Atom], fast_math: bool) -> None:
        self.eqns, self.inputs, self.outputs = list(eqns), list(inputs), list(outputs)
        self.fast_math = fast_math
        self._shapes = [a.aval.shape for a in outputs]
        self._dtypes = [a.aval.dtype for a in outputs]
        self._makers = [fresh if nbytes(a.aval) >= MIN_BYTES else np.empty for a in outputs]
        self._versions: dict[int, _Native] = {}
        first = self.version()
        self.text, self.temporary_bytes = first.text, first.temporary_bytes

    def version(self) -> _Native:
        """The code for the number of threads that is set."""
        threads = config.num_threads
        found = self._versions.get(threads)
        if found is None:
            found = self._versions[threads] = _Native(self.eqns, self.inputs, self.outputs, self.fast_math)
        return found

    def __call__(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        native = self.version()
        outs = tuple(map(operator.call, self._makers, self._shapes, self._dtypes))
        try:
            address, memory = native.arenas.pop()
        except IndexError:
            address, memory = native.arena()
        try:
            code = native.run(args, outs, address)
            if code == _NOT_PLAIN:
                code = native.run(tuple([_plain(x, v) for x, v in zip(args, self.inputs)]), outs, address)
            if code:
                raise self._error(native.faults[code - 1], ctypes.c_int64.from_address(address).value)
        finally:
            native.arenas.append((address, memory))
        return outs

    @staticmethod
    def _error(fault: Fault, number: int) -> Exception:
        """What is raised for a fault, with the user's line."""
        error = fault.error(fault.message.format(number))
        if fault.source is not None:
            backward = " (in the backward pass)" if fault.source.backward else ""
            error.add_note(f"  at {fault.source.describe()}{backward}")
        return error


def _plain(x: Any, var: Var) -> np.ndarray:
    """An argument as a contiguous, aligned array of the class ndarray."""
    x = np.asarray(x, var.aval.dtype)
    return x if x.flags.c_contiguous and x.flags.aligned else np.array(x, order="C")


def _entry(ins: int, outs: int) -> str:
    """The function that Python calls: from tuples of arrays to addresses."""
    w = Writer(["ptr %args", "ptr %outs", "ptr %arena"], "i64")

    def field(type: str, base: str, offset: int) -> str:
        place = w.emit(f"getelementptr i8, ptr {base}, i64 {offset}")
        return w.emit(f"load {type}, ptr {place}")

    def stop_if(condition: str) -> None:
        with w.when(condition):
            w.do(f"ret i64 {_NOT_PLAIN}")
            w.start(w.fresh("dead"))

    tables = []
    for count, objects in ((ins, "%args"), (outs, "%outs")):
        table = w.alloca("ptr", max(count, 1))
        tables.append(table)
        if not count:
            continue
        with w.loop(count) as i:
            item = field("ptr", w.emit(f"getelementptr ptr, ptr {objects}, i64 {i}"), _TUPLE_ITEMS)
            if objects == "%args":
                stop_if(w.emit(f"icmp ne ptr {field('ptr', item, _CLASS)}, @array_class"))
                flags = w.emit(f"and i32 {field('i32', item, _FLAGS)}, {_PLAIN}")
                stop_if(w.emit(f"icmp ne i32 {flags}, {_PLAIN}"))
            place = w.emit(f"getelementptr ptr, ptr {table}, i64 {i}")
            w.do(f"store ptr {field('ptr', item, _DATA)}, ptr {place}")
    code = w.emit(f"call i64 @run(ptr {tables[0]}, ptr {tables[1]}, ptr %arena)")
    head, _, rest = w.body().partition("\n")
    return f"@array_class = external global i8\n\ndefine i64 @entry{head} nounwind {{\n{rest}\n  ret i64 {code}\n}}"


class _Interlude:
    """Equations that run through the NumPy back end."""

    def __init__(self, eqns: Sequence[Eqn], inputs: Sequence[Var], outputs: Sequence[Var]) -> None:
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.text = ""
        program = compile_jaxpr(Jaxpr(inputs, eqns, outputs), get_backend("numpy"))
        self.temporary_bytes = program.memory.temp_size_in_bytes
        self._run = program.call

    def __call__(self, args: tuple[Any, ...]) -> list[Any]:
        return self._run(*args)


class Program:
    """A compiled jaxpr: a callable of flat arrays that returns a list of new ones.

    ``simplified`` and ``jaxpr``: what was compiled, after these passes and after all. ``source``: the LLVM text of its
    native segments. ``segments``: how many there are; with one, nothing returns to Python on the way. ``memory``: what a
    call needs; the arenas of the segments, which are kept for the next call, are its temporary memory.
    """

    def __init__(self, simplified: Jaxpr, jaxpr: Jaxpr, fast_math: bool) -> None:
        self.simplified, self.jaxpr = simplified, jaxpr
        self.consts = tuple(jaxpr.consts)
        self.steps = _steps(schedule(jaxpr), fast_math)
        self.source = "\n\n".join(s.text for s in self.steps if s.text)
        self.segments = sum(isinstance(s, Segment) for s in self.steps)
        self.memory = self._memory()
        self.call = self._caller()

    def __call__(self, *args: Any) -> list[Any]:
        return self.call(*args)

    def _memory(self) -> MemoryAnalysis:
        jaxpr = self.jaxpr
        arguments, results = (sum(map(nbytes, avals)) for avals in (jaxpr.in_avals, jaxpr.out_avals))
        constants = sum(nbytes(v.aval) for v in jaxpr.constvars)
        between = {v for step in self.steps for v in step.outputs if isinstance(v, Var)} - set(jaxpr.outs)
        temporary = sum(step.temporary_bytes for step in self.steps) + sum(nbytes(v.aval) for v in between)
        return MemoryAnalysis(arguments, results, temporary, arguments + results + temporary, constants)

    def _caller(self) -> Callable[..., list[Any]]:
        jaxpr, consts, steps = self.jaxpr, self.consts, self.steps
        variables = [*jaxpr.invars, *jaxpr.constvars]
        finish = _finisher(jaxpr.outs)
        if (
            len(steps) == 1
            and isinstance(steps[0], Segment)
            and steps[0].inputs == variables
            and steps[0].outputs == jaxpr.outs
        ):
            segment = steps[0]
            if consts:
                return lambda *args: finish(segment(args + consts))
            return lambda *args: finish(segment(args))

        slots = {v: i for i, v in enumerate(variables)}
        plan = []
        for step in steps:
            for v in step.outputs:
                slots.setdefault(v, len(slots))
            plan.append((step, [slots[v] for v in step.inputs], [slots[v] for v in step.outputs]))
        given = len(variables)
        places = [None if isinstance(a, Literal) else slots[a] for a in jaxpr.outs]
        literals = [a.value if isinstance(a, Literal) else None for a in jaxpr.outs]
        dtypes = [a.aval.dtype for a in jaxpr.outs]

        def call(*args: Any) -> list[Any]:
            memory = [*args, *consts, *[None] * (len(slots) - given)]
            for step, ins, outs in plan:
                for i, value in zip(outs, step(tuple([memory[i] for i in ins]))):
                    memory[i] = value
            results, seen = [], set()
            for place, value, dtype in zip(places, literals, dtypes):
                if place is None:
                    results.append(np.array(value))
                elif place < given or place in seen:
                    results.append(np.array(memory[place], dtype))
                else:
                    seen.add(place)
                    results.append(np.asarray(memory[place]))
            return finish(results)

        return call


def _finisher(outs: Sequence[Atom]) -> Callable[[Sequence[Any]], list[Any]]:
    """What makes scalars of results of rank 0, and Python's own of weak ones."""
    if all(a.aval.shape for a in outs):
        return list
    weak = [a.aval.weak for a in outs]
    return lambda results: [x if x.ndim else x.item() if w else x[()] for x, w in zip(results, weak)]


def _steps(jaxpr: Jaxpr, fast_math: bool) -> list[Segment | _Interlude]:
    """The equations in maximal runs of native ones and of others, and what goes from one to another."""
    runs: list[tuple[bool, list[Eqn]]] = []
    for eqn in jaxpr.eqns:
        native = is_native(eqn)
        if runs and runs[-1][0] == native:
            runs[-1][1].append(eqn)
        else:
            runs.append((native, [eqn]))
    needed_after: list[set[Var]] = []
    needed = {a for a in jaxpr.outs if isinstance(a, Var)}
    for _, eqns in reversed(runs):
        needed_after.append(set(needed))
        needed |= {a for e in eqns for a in e.inputs if isinstance(a, Var)}
    needed_after.reverse()
    variables = [*jaxpr.invars, *jaxpr.constvars]
    steps: list[Segment | _Interlude] = []
    for (native, eqns), after in zip(runs, needed_after):
        if native and len(runs) == 1:
            return [Segment(eqns, variables, jaxpr.outs, fast_math)]
        made = [v for e in eqns for v in e.outputs]
        used = {a for e in eqns for a in e.inputs if isinstance(a, Var)} - set(made)
        inputs = [v for v in dict.fromkeys(a for e in eqns for a in e.inputs if isinstance(a, Var)) if v in used]
        outputs = [v for v in made if v in after]
        steps.append(Segment(eqns, inputs, outputs, fast_math) if native else _Interlude(eqns, inputs, outputs))
    return steps


def compile_program(jaxpr: Jaxpr, backend: Any, fast_math: bool = False) -> Program:
    """The program of a jaxpr; kept in its memo."""
    key = ("compiled", backend.name, fast_math)
    found = jaxpr.memo.get(key)
    if found is None:
        lean = simplify(jaxpr, backend.ops, backend.rules, backend.named_kernel)
        paired = in_pairs(lean)
        if paired is not lean:
            lean = simplify(paired, backend.ops, backend.rules)
        fused = hoist_groups(fuse(split_products(recompute_stacks(lean)), FUSABLE, is_native))
        found = jaxpr.memo[key] = Program(lean, recompute_groups(fused), fast_math)
    return found
