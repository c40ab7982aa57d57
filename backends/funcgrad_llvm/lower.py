"""From a jaxpr to one native function: memory is planned, groups become calls, and control flow becomes loops.

An equation that only says where elements lie (a reshape, a transpose, a slice, a broadcast) makes a view and no code.
All others write into a buffer: a fresh one of the arena, or where their result is wanted in the end. The outer function
consists of calls, of the loops of control flow and of address arithmetic, and is cheap to compile.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from funcgrad.compiler.buffers import nbytes
from funcgrad.core.ir import Atom, Eqn, Jaxpr, Literal, Var
from funcgrad.core.source import Source
from funcgrad.core.types import Aval

from . import machine, pool
from . import math as functions
from .group import Group
from .ir import Writer, literal, memory_type
from .memory import Arena, Buffer, View, contiguous_strides
from .operations import NAMES, is_elementwise
from .overwrite import overwritable
from .parts import in_parts
from .sharing import chunked
from .values import REDUCTIONS

__all__ = ["FUSABLE", "LOWERING", "PLACES", "Fault", "Lowerer", "is_native", "lowers"]

#: From the name of a primitive to what writes it: a function of the lowerer and the equation.
LOWERING: dict[str, Callable[[Lowerer, Eqn], None]] = {}
#: Further conditions under which a primitive is native, by its name.
CONDITIONS: dict[str, Callable[[Eqn], bool]] = {}
#: From the name of an operation that only moves elements to where its operands would lie if they had been written to where
#: a view says that the result lies: then nothing is left to do. A function of the equation and the view.
PLACES: dict[str, Callable[[Eqn, View], list[tuple[Atom, View | None]]]] = {}
#: Operations, besides those of PLACES and the elementwise ones, whose results may have any strides.
_STRIDED = frozenset([*REDUCTIONS, "dynamic_slice", "fusion", "gather", "iota", "pad"])
#: What a fused group may hold.
FUSABLE = frozenset([*NAMES, *REDUCTIONS, "broadcast_in_dim", "iota"])
#: What `fast_math` permits of which instructions, as flags of theirs: all but assumptions about NaN and infinities.
_PERMISSIONS = "reassoc nsz arcp contract"
_FLOAT_ARITHMETIC = re.compile(r"(?<== )(fadd|fsub|fmul|fdiv|fneg)\b")
#: What the program says of an error: the arena begins with it when there is one, and holds nothing else any more.
_FAULT_BYTES = 8


def lowers(*names: str, when: Callable[[Eqn], bool] | None = None) -> Callable[[Any], Any]:
    """Decorates what writes these primitives, when the condition holds."""

    def add(function: Any) -> Any:
        for name in names:
            LOWERING[name] = function
            if when is not None:
                CONDITIONS[name] = when
        return function

    return add


def _is_supported(dtype: np.dtype) -> bool:
    if not dtype.isnative or dtype.kind not in "bfiu" or dtype.itemsize > 8:
        return False
    return dtype != np.float16 or machine.processor().has_half


def is_native(eqn: Eqn) -> bool:
    """Whether an equation, with all that it holds, can be written as native code."""
    name = eqn.primitive.name
    atoms: list[Any] = [*eqn.inputs, *eqn.outputs]
    # What has no elements is left to NumPy, and so is what computes with complex numbers: those with rules are pairs by now.
    parts = name in ("complex", "imag", "real")
    if not all((parts or _is_supported(a.aval.dtype)) and a.aval.size for a in atoms):
        return False
    if name in ("scan", "while", "cond"):
        bodies = [v for p in eqn.params.values() for v in (p if isinstance(p, tuple) else (p,)) if isinstance(v, Jaxpr)]
        return all(is_native(e) for body in bodies for e in body.eqns)
    if name == "fusion":
        return bool(math.prod(eqn.params["space"])) and all(is_native(e) for e in eqn.params["jaxpr"].eqns)
    if name in LOWERING:
        return name not in CONDITIONS or CONDITIONS[name](eqn)
    return eqn.primitive.elementwise and is_elementwise(name, [a.aval.dtype for a in eqn.inputs], eqn.params)


def _takes_strides(eqn: Eqn) -> bool:
    """Whether the result of an equation may be written to any view."""
    return eqn.primitive.elementwise or eqn.primitive.name in _STRIDED or eqn.primitive.name in PLACES


class Fault:
    """An error that native code found: what it is said to be, with the number that was wrong."""

    def __init__(self, message: str, source: Source | None, error: type[Exception]) -> None:
        self.message, self.source, self.error = message, source, error


class Lowerer:
    """Writes one native function, `i64 (ptr inputs, ptr outputs, ptr arena)`, from equations.

    It answers 0, or the number (from 1 on) of the fault in `faults`.
    """

    def __init__(self, fast_math: bool = False) -> None:
        self.fast_math = fast_math
        self.writer = Writer(["ptr %args", "ptr %outs", "ptr %arena"], "i64")
        self.arena = Arena(self.writer)
        self.values: dict[Var, View] = {}
        self.wanted: dict[Var, View] = {}
        self.functions: dict[str, str] = {}
        self.used: set[str] = set()
        self.declarations: set[str] = set()
        self.symbols: dict[str, int] = {}
        self.faults: list[Fault] = []
        self.source: Source | None = None
        #: An estimate of the elements that are computed in a run.
        self.work = 0
        self._temporaries: list[Buffer] = []
        #: The variables that nobody reads behind the equation at work.
        self._dying: Collection[Var] = ()
        self.times = 1
        #: How many threads may work on what is written next.
        self.threads = pool.num_threads()

    # Memory -----------------------------------------------------------------------------------------------------------

    def release(self, buffer: Buffer) -> None:
        if buffer.is_lent and not buffer.users:
            self.arena.give_back(buffer)

    def scratch(self, size: int) -> Buffer:
        """Memory until the equation is done, which counts as a user."""
        buffer = self.arena.take(size)
        buffer.users = 1
        self._temporaries.append(buffer)
        return buffer

    def temporary(self, dtype: np.dtype, shape: Sequence[int]) -> View:
        """An array that lives until the equation is done."""
        shape = tuple(shape)
        buffer = self.scratch(math.prod(shape) * dtype.itemsize)
        return View(buffer, dtype, shape, contiguous_strides(shape))

    def result(self, var: Var) -> View:
        """The array that the value of a variable is to be written to."""
        view = self.wanted.get(var)
        if view is None:
            view = View.plain(self.arena.later(nbytes(var.aval)), var.aval)
        self.arena.begin(view.buffer)
        self.define(var, view)
        return view

    def is_spent(self, buffer: Buffer) -> bool:
        """Whether nobody reads a buffer behind the equation at work, which may write over it then."""
        return buffer.is_lent and buffer.users == sum(self.values[v].buffer is buffer for v in self._dying)

    def take_over(self, var: Var, x: View) -> bool:
        """Let the value of a variable lie where a view does that is spent, if that can be."""
        aval, wanted = var.aval, self.wanted.get(var)
        if not (self.is_spent(x.buffer) and x.is_contiguous and x.shape == aval.shape):
            return False
        if x.dtype.itemsize != aval.dtype.itemsize:
            return False
        if wanted is None:
            self.define(var, View(x.buffer, aval.dtype, x.shape, x.strides, x.offset))
            return True
        if x.offset or wanted.offset or not wanted.is_contiguous or not self.arena.moves_in(x.buffer, wanted.buffer):
            return False
        self.result(var)
        return True

    def updated(self, var: Var, x: View, others: Sequence[View] = ()) -> View:
        """The result of an equation that begins as a copy of x: x itself where nobody reads that any more."""
        if any(v.buffer is x.buffer for v in others) or not self.take_over(var, x):
            self.result(var)
        self.copy(x, self.values[var])
        return self.values[var]

    def define(self, var: Var, view: View) -> None:
        self.values[var] = view
        view.buffer.users += 1

    def view(self, atom: Atom) -> View:
        """Where the value of an operand lies."""
        if isinstance(atom, Var):
            return self.values[atom]
        view = self.temporary(atom.aval.dtype, ())
        w, dtype = self.writer, atom.aval.dtype
        text = literal(atom.value, dtype) if dtype.kind != "b" else str(int(atom.value))
        w.do(f"store {memory_type(dtype)} {text}, ptr {view.buffer.pointer}, align {dtype.itemsize}")
        return view

    def pointer(self, view: View) -> str:
        """The address of the first element of a view."""
        return (
            self.writer.offset(view.buffer.pointer, view.dtype, str(view.offset))
            if view.offset
            else view.buffer.pointer
        )

    def at(self, view: View, axis: int, index: str) -> View:
        """The view at an index, known when the program runs, of an axis, which goes."""
        pointer = self.writer.offset(self.pointer(view), view.dtype, index, view.strides[axis])
        shape = view.shape[:axis] + view.shape[axis + 1 :]
        return View(Buffer(pointer), view.dtype, shape, view.strides[:axis] + view.strides[axis + 1 :])

    def scalar(self, atom: Atom) -> str:
        """The register with a value of rank 0."""
        if isinstance(atom, Literal):
            return literal(atom.value, atom.aval.dtype)
        view = self.values[atom]
        return self.writer.load(self.pointer(view), view.dtype)

    def contiguous(self, view: View) -> View:
        """The elements of a view, in row-major order."""
        if view.is_contiguous:
            return view
        copy = self.temporary(view.dtype, view.shape)
        self.copy(view, copy)
        return copy

    # Groups -----------------------------------------------------------------------------------------------------------

    def function(self, writer: Writer, scratch: int = 0) -> str:
        """The name of a function with this text: functions of equal text are one."""
        text = writer.body()
        if writer.result != "void":
            text = f"{writer.result} {text}"
        name = self.functions.get(text)
        if name is None:
            name = self.functions[text] = f"f{len(self.functions)}"
        self.used |= writer.functions
        self.declarations |= writer.declarations
        return name

    def group(
        self, body: Jaxpr, space: Sequence[int], axes: Sequence[int], ins: Sequence[View], outs: Sequence[View],
        over: Mapping[int, int] | None = None,
    ) -> None:  # fmt: skip
        """Run a fused group, in which the results `over` are written over operands."""
        layouts = [v.layout for v in ins], [v.layout for v in outs]
        group = Group(body, space, axes, *layouts, machine.vector_bytes(), self.threads, over, self.times)
        name = self.function(group.writer)
        pointers = list(map(self.pointer, [*ins, *outs]))
        if group.chunks == 1:
            scratch = self.scratch(group.scratch).pointer if group.scratch else "null"
            self.writer.do(f"call void @{name}({', '.join(f'ptr {p}' for p in [*pointers, scratch])})")
        else:
            sizes = group.extent, group.chunk_size, group.chunks, group.schedule.cycles, group.scratch
            with chunked(self, pointers, *sizes) as (pointers, scratch, begin, end):
                arguments = [*(f"ptr {p}" for p in [*pointers, scratch]), f"i64 {begin}", f"i64 {end}"]
                self.writer.do(f"call void @{name}({', '.join(arguments)})")
        self.work += self.times * math.prod(space) * max(len(body.eqns), 1)

    def fused(
        self, body: Jaxpr, space: Sequence[int], axes: Sequence[int], inputs: Sequence[Atom], outputs: Sequence[Var]
    ) -> None:
        """Run a fused group of variables: its results are written over operands that nobody reads any more."""
        ins, over = [self.view(a) for a in inputs], {}
        readers = Counter(id(v.buffer) for v in ins)
        for i, j in overwritable(body, space):
            if j not in over and i not in over.values():
                wanted = self.wanted.get(outputs[j])
                if wanted is not None and wanted.buffer is ins[i].buffer:
                    over[j] = i  # a carry, which the loop knows to be replaced
                elif readers[id(ins[i].buffer)] == 1 and self.take_over(outputs[j], ins[i]):
                    over[j] = i
        outs = [self.values[v] if v in self.values else self.result(v) for v in outputs]
        self.group(body, space, axes, ins, outs, over)

    def copy(self, source: View, target: View) -> None:
        """Copy elements from a view to another of the same shape."""
        if not target.size or not self.pointer_differs(source, target):
            return
        if source.is_contiguous and target.is_contiguous:
            self.copy_bytes(self.pointer(target), self.pointer(source), target.size * target.dtype.itemsize)
            return
        var = Var(Aval(target.shape, target.dtype))
        self.group(Jaxpr([var], [], [var]), target.shape, (), [source], [target])

    def copy_bytes(self, target: str, source: str, size: int) -> None:
        self.declarations.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        self.writer.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)")
        self.work += self.times * size // 16

    def fill(self, target: View, value: Any) -> None:
        """The same number everywhere."""
        if target.dtype.kind == "c":
            self.fill(target.part(imaginary=False), value.real)
            self.fill(target.part(imaginary=True), value.imag)
        elif target.size:
            constant = Literal(target.dtype.type(value), Aval((), target.dtype))
            self.group(_spread(constant, target.shape), target.shape, (), [], [target])

    def fault(self, wrong: str, number: str, message: str, error: type[Exception] = IndexError) -> None:
        """Leave the program with an error, if the `i1` holds; `number` goes into the message."""
        self.faults.append(Fault(message, self.source, error))
        w = self.writer
        with w.when(wrong):
            w.do(f"store i64 {number}, ptr %arena, align 8")
            w.do(f"ret i64 {len(self.faults)}")
            w.start(w.fresh("dead"))

    # Programs ---------------------------------------------------------------------------------------------------------

    def body(self, jaxpr: Jaxpr, inputs: Sequence[View], targets: Sequence[View]) -> None:
        """Write a program whose results end in the targets."""
        for var, view in zip(jaxpr.invars, inputs):
            self.define(var, view)
        own = dict.fromkeys(jaxpr.invars)
        placed: dict[Var, None] = {}
        late: list[tuple[Atom, View]] = []
        for out, target in zip(jaxpr.outs, targets):
            if isinstance(out, Literal) or out in own or out in placed:
                late.append((out, target))
            else:
                placed[out] = None
                self.wanted[out] = target
        last: dict[Var, int] = {}
        eqns = [part for eqn in jaxpr.eqns for part in in_parts(eqn)]
        for i, eqn in enumerate(eqns):
            for a in eqn.inputs:
                if isinstance(a, Var):
                    last[a] = i
        for out in jaxpr.outs:
            if isinstance(out, Var):
                last[out] = len(eqns)
        moved = self._place_operands(eqns)
        for i, eqn in enumerate(eqns):
            dying = dict.fromkeys(a for a in eqn.inputs if isinstance(a, Var) and a not in own and last[a] == i)
            self.equation(eqn, dying)
            for v in [*dying, *(v for v in eqn.outputs if v not in last)]:
                self._drop(v)
        for var in placed:
            view, target = self.values[var], self.wanted.pop(var)
            if view is not target and self.pointer_differs(view, target):
                late.append((var, target))
        for var in moved:
            del self.wanted[var]
        for atom, target in late:
            self.arena.begin(target.buffer)
            if isinstance(atom, Literal):
                self.fill(target, atom.value)
            else:
                self.copy(self.values[atom], target)
        for var in dict.fromkeys([*placed, *own]):
            if var in self.values:
                self._drop(var)

    def _place_operands(self, eqns: Sequence[Eqn]) -> list[Var]:
        """Say of operands of operations that only move elements that they are wanted where the result will be."""
        made = {v: eqn for eqn in eqns for v in eqn.outputs}
        moved: list[Var] = []
        for eqn in reversed(eqns):
            places = PLACES.get(eqn.primitive.name)
            if places is None:
                continue
            out = eqn.outputs[0]
            target = self.wanted.get(out)
            if target is None:
                if len(eqn.inputs) == 1:
                    continue  # of one operand it is a view, and needs no place
                target = View.plain(self.arena.later(nbytes(out.aval)), out.aval)
            found = [
                (x, view)
                for x, view in places(eqn, target)
                if isinstance(x, Var) and x in made and x not in self.wanted and view is not None
                and (view.is_contiguous or _takes_strides(made[x]))
            ]  # fmt: skip
            if found and out not in self.wanted:
                # The memory of all operands together is taken with the first of them: too early for a small one.
                if 2 * sum(view.size for _, view in found) < target.size:
                    continue
                self.wanted[out] = target
                moved.append(out)
            self.wanted.update(found)
            moved += dict(found)
        return moved

    @staticmethod
    def pointer_differs(view: View, target: View) -> bool:
        """Whether two views of one shape are of different elements."""
        strides = ([s for n, s in zip(v.shape, v.strides) if n != 1] for v in (view, target))
        one, other = (v.buffer.home or v.buffer for v in (view, target))
        return one is not other or view.offset != target.offset or next(strides) != next(strides)

    def _drop(self, var: Var) -> None:
        buffer = self.values.pop(var).buffer
        buffer.users -= 1
        self.release(buffer)

    def equation(self, eqn: Eqn, dying: Collection[Var]) -> None:
        """Write an equation behind which nobody reads these variables."""
        self.source = eqn.source
        outer, self._temporaries, self._dying = (self._temporaries, self._dying), [], dying
        LOWERING.get(eqn.primitive.name, Lowerer._elementwise)(self, eqn)
        for buffer in self._temporaries:
            buffer.users -= 1
            self.release(buffer)
        self._temporaries, self._dying = outer

    def _elementwise(self, eqn: Eqn) -> None:
        """An equation that is a group by itself."""
        ins = list(dict.fromkeys(a for a in eqn.inputs if isinstance(a, Var)))
        self.fused(Jaxpr(ins, [eqn], eqn.outputs), eqn.outputs[0].aval.shape, (), ins, eqn.outputs)

    def module(self) -> str:
        """The text of the whole module, but for the function that Python calls."""
        w = self.writer
        self.arena.place()
        called = functions.definitions(self.used | w.functions, avx512=machine.vector_bytes() == 64)
        parts = [*sorted(self.declarations | w.declarations), called]
        for text, name in self.functions.items():
            result = "i64" if text.startswith("i64 ") else "void"
            text = text.removeprefix("i64 ")
            head, _, rest = text.partition("\n")
            rest = _FLOAT_ARITHMETIC.sub(rf"\1 {_PERMISSIONS}", rest) if self.fast_math else rest
            parts.append(f"define internal {result} @{name}{head} noinline nounwind {{\n{rest}\n}}")
        head, _, rest = w.body().partition("\n")
        parts.append(f"define i64 @run{head} nounwind {{\n{rest}\n  ret i64 0\n}}")
        return "\n\n".join(parts)

    @property
    def temporary_bytes(self) -> int:
        """The size of the arena, known when the module is written."""
        return max(self.arena.size, _FAULT_BYTES if self.faults else 0)


def _spread(constant: Literal, shape: tuple[int, ...]) -> Jaxpr:
    """The body of a group that writes a constant everywhere."""
    from funcgrad.primitives import broadcast_in_dim

    if not shape:
        return Jaxpr([], [], [constant])
    out = Var(Aval(shape, constant.aval.dtype))
    return Jaxpr([], [Eqn(broadcast_in_dim, [constant], [out], {"shape": shape, "dims": ()})], [out])


# Groups ---------------------------------------------------------------------------------------------------------------


@lowers(*REDUCTIONS)
def _reduce(lowerer: Lowerer, eqn: Eqn) -> None:
    (x,) = eqn.inputs
    if isinstance(x, Literal):
        lowerer.fill(lowerer.result(eqn.outputs[0]), x.value)
        return
    body = Jaxpr([x], [eqn], eqn.outputs)
    lowerer.group(body, x.aval.shape, eqn.params["axes"], [lowerer.view(x)], [lowerer.result(eqn.outputs[0])])


@lowers("iota")
def _iota(lowerer: Lowerer, eqn: Eqn) -> None:
    lowerer.group(Jaxpr([], [eqn], eqn.outputs), eqn.params["shape"], (), [], [lowerer.result(eqn.outputs[0])])


@lowers("fusion")
def _fusion(lowerer: Lowerer, eqn: Eqn) -> None:
    lowerer.fused(*(eqn.params[k] for k in ("jaxpr", "space", "axes")), eqn.inputs, eqn.outputs)
