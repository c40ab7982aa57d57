"""The source of a group as a loop over blocks of its arrays.

Inside of the loop every operation writes (``out``) into a buffer of the block's size, or into the block of a result. What
reads the result of a reduction whose parts are combined behind the loop, at full shape, runs in a further loop (a *phase*).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from funcgrad.compiler.fusion import MOVES, REDUCTIONS, kept_shape
from funcgrad.compiler.module import Module, type_name
from funcgrad.core.ir import Atom, Eqn, Literal, Var
from funcgrad.core.printer import Names

from .blocks import Plan
from .ops import UFUNCS
from .pool import MIN_BYTES
from .templates import TEMPLATES
from .threads import number_of_threads

__all__ = ["write_blocks"]

_REDUCERS = {
    "reduce_and": "logical_and",
    "reduce_max": "maximum",
    "reduce_min": "minimum",
    "reduce_or": "logical_or",
    "reduce_prod": "multiply",
    "reduce_sum": "add",
}


def write_blocks(eqn: Eqn, module: Module) -> str:
    """Write the function of a group into the module; its name."""
    name = f"_{module.unique(eqn.params['jaxpr'].name)}"
    _Writer(Plan(eqn), module, name).write()
    return name


class _Writer:
    """The text of a group's function. A variable ``x`` of the body is ``x`` outside of loops, and ``x_i`` in a block."""

    def __init__(self, plan: Plan, module: Module, name: str) -> None:
        self.plan = plan
        self.module = module
        self.body = plan.body
        self.name = name
        self.names = Names()
        self.lines: list[tuple[str, Any]] = []
        #: Whether reductions are combined from parts behind the loop.
        self.parts = plan.reduced[plan.axis]
        self.moves: dict[Var, Eqn] = {e.outputs[0]: e for e in self.body.eqns if e.primitive.name in MOVES}
        #: For a full variable the loop that computes it, for others the number of loops that come before it.
        self.phase: dict[Var, int] = {}
        self._find_phases()
        outs = {a for a in self.body.outs if isinstance(a, Var)}
        crossing = {
            a
            for e in self.body.eqns
            for a in e.inputs
            if isinstance(a, Var) and a in self.phase and plan.is_full(a) and self._loop_of(e) != self.phase[a]
        }
        self.stored = [
            v for e in self.body.eqns for v in e.outputs if v in crossing or (v in outs and self._is_array(v))
        ]
        self.text: dict[Var, str] = {}
        self.pools: dict[Var, Any] = {}
        self.workspace: list[tuple[int, Any]] = []

    def _is_array(self, v: Var) -> bool:
        """Whether a result is written block by block."""
        return self.plan.is_full(v) or (not self.parts and bool(v.aval.shape))

    # Phases ----------------------------------------------------------------------------------------------------------

    def _find_phases(self) -> None:
        plan, phase = self.plan, self.phase
        for e in self.body.eqns:
            (v,) = e.outputs
            phase[v] = max((phase.get(a, 0) for a in e.inputs if isinstance(a, Var)), default=0)
            if e.primitive.name in REDUCTIONS and self.parts:
                phase[v] += 1
        # Full values are computed as late as they can be, to be stored as little as they need be.
        users: dict[Var, int] = {}
        for e in reversed(self.body.eqns):
            (v,) = e.outputs
            if plan.is_full(v) and v not in self.body.outs and v in users:
                phase[v] = users[v]
            loop = self._loop_of(e)
            for a in e.inputs:
                if isinstance(a, Var):
                    users[a] = min(users.get(a, loop), loop)

    def _loop_of(self, eqn: Eqn) -> int:
        """The loop in which, or before which, an equation stands."""
        return self.phase[eqn.outputs[0]] - (eqn.primitive.name in REDUCTIONS and self.parts)

    # The function ----------------------------------------------------------------------------------------------------

    def write(self) -> None:
        plan, module, body = self.plan, self.module, self.body
        arguments = [self._printed(v) for v in body.invars]
        self.text.update(zip(body.invars, arguments))
        along = f" along axis {plan.axis}" if plan.axis else ""
        self._line(f"# {' x '.join(map(str, plan.sizes))} elements in blocks of {plan.step}{along}")
        for v in body.invars:
            sizes = plan.sizes if plan.is_full(v) else plan.kept_sizes
            if v.aval.shape in (plan.space, kept_shape(plan.space, plan.axes)) and list(v.aval.shape) != sizes:
                self._line(f"{self.text[v]} = {self.text[v]}.reshape({_ints(sizes) or '()'})")
        for v, move in self.moves.items():
            self._move(v, move)
        for v in self.stored:
            self.text[v] = self._printed(v)
            sizes = plan.sizes if plan.is_full(v) else plan.kept_sizes
            self._line(f"{self.text[v]} = {self._fresh(sizes, type_name(v.aval.dtype), v)}")
        last = max(self.phase.values(), default=0)
        for phase in range(last + 1):
            self._between(phase)
            self._loop(phase)
        results = []
        for a in body.outs:
            assert isinstance(a, Var)
            sizes = plan.sizes if plan.is_full(a) else plan.kept_sizes
            same = list(a.aval.shape) == sizes
            results.append(self.text[a] if same else f"{self.text[a]}.reshape({_ints(a.aval.shape)})")
        self._line(f"return {', '.join(results)}{',' if len(results) == 1 else ''}")
        module.workspaces[self.name] = ([self.pools.get(a) for a in body.outs], self.workspace)
        module.blocks.append([(f"def {self.name}({', '.join(arguments)}):", None), *self.lines])

    def _fresh(self, shape: Sequence[int], dtype: str, v: Var | None = None, times: int = 1) -> str:
        """The text of a new array, which is noted down: for a variable of the group, or as workspace."""
        size = math.prod(shape) * np.dtype(dtype.strip("_")).itemsize
        pool = (tuple(shape), dtype) if size >= MIN_BYTES else None
        if v in self.body.outs:
            self.pools[v] = pool
        else:
            self.workspace += [(size, pool)] * times
        return f"fresh({self.module.param(tuple(shape))}, {dtype})"

    def _printed(self, var: Var) -> str:
        name = self.names[var]
        return name + "_" if name in self.module.reserved else name

    def _line(self, text: str, eqn: Eqn | None = None, indent: int = 1) -> None:
        source = eqn.source if eqn is not None else None
        comment = f"  # {os.path.basename(source.file)}:{source.line}" if source is not None else ""
        self.lines.append((f"{'    ' * indent}{text}{comment}", source))

    def _move(self, v: Var, move: Eqn) -> None:
        """What a broadcast, or an iota, reads, in a shape that NumPy broadcasts by itself."""
        x = move.inputs[0] if move.inputs else None
        if isinstance(x, Literal):
            self.text[v] = self.module.constant(x.value)
            return
        if x is not None and (x not in self.text or not x.aval.shape):
            return  # a value of the group, or a scalar
        shape, _ = self.plan.aligned(move)
        while len(shape) > 1 and shape[0] == 1:
            del shape[0]
        if x is None:
            length = move.params["shape"][move.params["axis"]]
            self.workspace.append((length * v.aval.dtype.itemsize, None))
            text = f"arange({length}, dtype={type_name(v.aval.dtype)})"
            text = text if len(shape) == 1 else f"{text}.reshape({_ints(shape)})"
        elif list(x.aval.shape) == shape:
            self.text[v] = self.text[x]
            return
        else:
            text = f"{self.text[x]}.reshape({_ints(shape)})"
        self.text[v] = self._printed(v)
        self._line(f"{self.text[v]} = {text}", move)

    def _read(self, a: Atom, block: dict[Var, str] | None = None) -> str:
        """The text of an operand, in a block or outside of loops."""
        if isinstance(a, Literal):
            return self.module.constant(a.value)
        if block is not None and a in block:
            return block[a]
        move = self.moves.get(a)
        if move is None or a in self.text:
            return self.text[a]
        x = move.inputs[0]
        text = self._read(x, block)
        if not x.aval.shape or not self.plan.is_full(a):
            return text
        # Along the axes that were reduced it is repeated.
        index = ["None" if reduced else ":" for reduced in self.plan.reduced]
        while index and index[0] == "None":
            del index[0]
        return text if "None" not in index else f"{text}[{', '.join(index)}]"

    # Outside of loops --------------------------------------------------------------------------------------------------

    def _between(self, phase: int) -> None:
        """What is computed before a loop: values of rank 0, and where parts are combined all that is not full."""
        for e in self.body.eqns:
            (v,) = e.outputs
            if e.primitive.name in MOVES or self.plan.is_full(v) or self.phase[v] != phase:
                continue
            if not self.parts and v.aval.shape:
                continue
            self.text[v] = self._printed(v)
            if e.primitive.name in REDUCTIONS:
                reducer = _REDUCERS[e.primitive.name]
                text = f"{reducer}.reduce({self.text[v]}_parts{', 0' + _promoted(e) if _promoted(e) else ''})"
            else:
                text = self._expression(e, [self._read(a) for a in e.inputs])
            self._line(f"{self.text[v]} = {text}", e)

    def _expression(self, eqn: Eqn, operands: Sequence[str]) -> str:
        if eqn.primitive.name == "select":
            return f"where({', '.join(operands)}){'' if eqn.outputs[0].aval.shape else '[()]'}"
        template = TEMPLATES.get(eqn.primitive.name)
        text = template(eqn, operands, "") if template is not None else None
        if isinstance(text, str):
            return text
        params = [f"{k}={self.module.param(p)}" for k, p in eqn.params.items()]
        return f"{self.module.callee(eqn.primitive.name)}({', '.join([*operands, *params])})"

    # Loops -----------------------------------------------------------------------------------------------------------

    def _loop(self, phase: int) -> None:
        plan = self.plan
        inside = [
            e
            for e in self.body.eqns
            if e.primitive.name not in MOVES
            and self._loop_of(e) == phase
            and (plan.is_full(e.outputs[0]) or e.primitive.name in REDUCTIONS or not self.parts)
            and (e.outputs[0].aval.shape or e.primitive.name in REDUCTIONS)
        ]
        if not inside:
            return
        blocks = -(-plan.sizes[plan.axis] // plan.step)
        for e in inside:
            if e.primitive.name in REDUCTIONS and self.parts:
                (v,) = e.outputs
                parts = self._fresh((blocks, *plan.kept_sizes), type_name(v.aval.dtype))
                self._line(f"{self._printed(v)}_parts = {parts}", None)
        block = _Block(self, inside)
        body = block.write()
        self.lines.append(("", None))
        self._line("def rows(start, stop):")
        shape_of_block = [plan.step if k == plan.axis else n for k, n in enumerate(plan.sizes)]
        for dtype, buffers in block.buffers.items():
            text = self._fresh((len(buffers), *shape_of_block), dtype, times=number_of_threads(blocks))
            self._line(f"{', '.join(buffers)}{',' if len(buffers) == 1 else ''} = {text}", None, 2)
        self._line(f"for i0 in range(start, stop, {plan.step}):", None, 2)
        if plan.sizes[plan.axis] % plan.step:
            self._line(f"i1 = min(i0 + {plan.step}, stop)", None, 3)
            names = [n for buffers in block.buffers.values() for n in buffers]
            if names:
                self._line(f"if i1 - i0 < {plan.step}:", None, 3)
                cut = ":, " * plan.axis + ":i1 - i0"
                self._line(f"{', '.join(names)} = {', '.join(f'{n}[{cut}]' for n in names)}", None, 4)
        else:
            self._line(f"i1 = i0 + {plan.step}", None, 3)
        self.lines += body
        self.lines.append(("", None))
        self._line(f"in_blocks(rows, {plan.sizes[plan.axis]}, {plan.step})")


class _Block:
    """What is done in each block: the statements of a loop, and the buffers that they need."""

    def __init__(self, writer: _Writer, inside: list[Eqn]) -> None:
        self.writer = writer
        self.plan = writer.plan
        self.inside = inside
        self.views: list[str] = []
        self.text: dict[Var, str] = {}
        self.buffers: dict[str, list[str]] = {}
        self.free: dict[str, list[str]] = {}
        self.owner: dict[Var, tuple[str, str]] = {}
        self.lines: list[tuple[str, Any]] = []
        self.last: dict[Var, int] = {}
        for index, e in enumerate(inside):
            for a in e.inputs:
                if isinstance(a, Var):
                    self.last[a] = index

    def write(self) -> list[tuple[str, Any]]:
        for index, e in enumerate(self.inside):
            self._equation(index, e)
        return [(f"            {v}", None) for v in self.views] + self.lines

    def _line(self, text: str, eqn: Eqn) -> None:
        self.writer.lines, before = [], self.writer.lines
        self.writer._line(text, eqn, 3)
        self.lines += self.writer.lines
        self.writer.lines = before

    def _place(self, a: Var) -> int:
        """The place of the axis that is cut, among the merged ones of a variable."""
        plan = self.plan
        return plan.axis if plan.is_full(a) else sum(not r for r in plan.reduced[: plan.axis])

    def _cut(self, name: str, place: int) -> str:
        """The block of an array, along the axis at a place."""
        return f"{name}[{':, ' * place}i0:i1]"

    def _operand(self, a: Atom) -> str:
        """The text of an operand: a block of what is larger."""
        writer, plan = self.writer, self.plan
        if not isinstance(a, Var) or a in self.text or not a.aval.shape:
            return writer._read(a, self.text)
        move = writer.moves.get(a)
        if move is not None and a in writer.text:
            if isinstance(next(iter(move.inputs), None), Literal):
                return writer.text[a]
            shape, is_cut = plan.aligned(move)
            if not is_cut:
                return writer.text[a]
            # Leading axes of size 1 have been left out.
            leading = next((k for k, n in enumerate(shape) if n != 1), len(shape) - 1)
            return self._view(a, self._cut(writer.text[a], self._place(a) - leading))
        if move is not None:
            self._operand(move.inputs[0])
            return writer._read(a, self.text)
        if writer.parts and not plan.is_full(a):
            return writer.text[a]
        return self._view(a, self._cut(writer.text[a], self._place(a)))

    def _view(self, a: Var, text: str) -> str:
        name = self.text[a] = f"{self.writer._printed(a)}_i"
        self.views.append(f"{name} = {text}")
        return name

    def _buffer(self, v: Var) -> str:
        """A buffer for a value of the size of the block."""
        dtype = type_name(v.aval.dtype)
        free = self.free.setdefault(dtype, [])
        if free:
            name = free.pop()
        else:
            name = f"t{sum(map(len, self.buffers.values())) + 1}"
            self.buffers.setdefault(dtype, []).append(name)
        self.owner[v] = dtype, name
        return name

    def _release(self, index: int, e: Eqn) -> None:
        """Buffers of operands that nobody reads any more are free."""
        for a in e.inputs:
            if isinstance(a, Var) and self.last[a] == index and a in self.owner:
                dtype, name = self.owner.pop(a)
                self.free[dtype].append(name)

    def _equation(self, index: int, e: Eqn) -> None:
        writer, plan = self.writer, self.plan
        (v,) = e.outputs
        operands = [self._operand(a) for a in e.inputs]
        if e.primitive.name in REDUCTIONS:
            self._reduction(e, operands[0])
        elif not plan.is_full(v):
            name = self.text[v] = f"{writer._printed(v)}_i"
            self._line(f"{name} = {writer._expression(e, operands)}", e)
            self._store(v, e)
        else:
            self._full(index, e, operands)
        self._release(index, e)
        if v not in self.last and v in self.owner:
            dtype, name = self.owner.pop(v)
            self.free[dtype].append(name)

    def _store(self, v: Var, e: Eqn) -> None:
        if v in self.writer.stored:
            self._line(f"{self._cut(self.writer.text[v], self._place(v))} = {self.text[v]}", e)

    def _reduction(self, e: Eqn, operand: str) -> None:
        writer, plan = self.writer, self.plan
        (v,), (x,) = e.outputs, e.inputs
        if x in writer.moves:
            assert isinstance(x, Var)
            target = self._buffer(x)
            self._line(f"{target}[...] = {operand}", e)
            operand = target
        axes = [k for k, reduced in enumerate(plan.reduced) if reduced]
        listed = "None" if len(axes) == len(plan.sizes) else str(axes[0]) if len(axes) == 1 else str(tuple(axes))
        text = f"{_REDUCERS[e.primitive.name]}.reduce({operand}, {listed}{_promoted(e)})"
        if writer.parts:
            self._line(f"{writer._printed(v)}_parts[i0 // {plan.step}] = {text}", e)
        else:
            name = self.text[v] = f"{writer._printed(v)}_i"
            self._line(f"{name} = {text}", e)
            self._store(v, e)

    def _full(self, index: int, e: Eqn, operands: list[str]) -> None:
        """An operation that writes into a buffer, or into the block of a result."""
        writer = self.writer
        (v,) = e.outputs
        name = e.primitive.name
        ufunc = UFUNCS.get(name)
        inplace = ufunc is not None or name == "rsqrt" or (name == "integer_pow" and e.params["y"] in (2, -1))
        if v in writer.stored:
            target = self._operand(v)
        else:
            if inplace:
                # Operands that end here may be overwritten: each element is read before its place is written.
                self._release(index, e)
            target = self._buffer(v)
        self.text[v] = target
        listed = ", ".join(operands)
        x = operands[0]
        if ufunc is not None:
            self._line(f"{ufunc.__name__}({listed}, out={target})", e)
        elif name == "rsqrt":
            self._line(f"sqrt({x}, out={target})", e)
            self._line(f"divide({writer.module.constant(v.aval.dtype.type(1))}, {target}, out={target})", e)
        elif name == "integer_pow" and e.params["y"] == 2:
            self._line(f"square({x}, out={target})", e)
        elif name == "integer_pow" and e.params["y"] == -1:
            self._line(f"divide({writer.module.constant(v.aval.dtype.type(1))}, {x}, out={target})", e)
        elif name == "integer_pow" and e.params["y"] == 3:
            self._line(f"multiply({x}, {x}, out={target})", e)
            self._line(f"multiply({x}, {target}, out={target})", e)
        elif name == "select":
            pred, on_true, on_false = operands
            self._line(f"copyto({target}, {on_false})", e)
            self._line(f"copyto({target}, {on_true}, where={pred})", e)
        elif name == "convert":
            self._line(f'copyto({target}, {x}, "unsafe")', e)
        elif name == "copy":
            self._line(f"copyto({target}, {x})", e)
        else:
            self._line(f"{target}[...] = {writer._expression(e, operands)}", e)


def _promoted(eqn: Eqn) -> str:
    """A further argument that keeps the dtype of small integers, of which NumPy's sums are larger ones."""
    dtype = eqn.inputs[0].aval.dtype
    grows = eqn.primitive.name in ("reduce_sum", "reduce_prod") and dtype.kind in "biu" and dtype.itemsize < 8
    return f", {type_name(dtype)}" if grows else ""


def _ints(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
