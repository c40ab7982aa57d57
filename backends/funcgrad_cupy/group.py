"""A fused group as the text of one CUDA kernel.

A group (:mod:`funcgrad.compiler.fusion`) is written in one of three forms:

- *flat*: no reduction, and every operand is read at the element's own place. The computation is a function of one element; a
  kernel calls it for as many elements as 16 bytes hold. The text does not depend on the shape.
- *mapped*: no reduction, but operands are broadcast: places in them are computed from the element's, with the shapes
  written into the text.
- *rows*: reductions. One block a kept index; or, where the last axis is kept, one thread, so that neighbouring threads
  read neighbouring elements. What needs the result of a reduction is in a later pass over the row, which reads its
  operands again; they are in the cache then.

Sums are taken in an order that depends on shapes alone. Values of half precision are rounded after each operation, so
that a group gives what its equations give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from funcgrad.compiler.fusion import REDUCTIONS, kept_axes, kept_shape
from funcgrad.core.ir import Atom, Eqn, Jaxpr, Literal, Var

from .kernels import c_type
from .operations import cast, compute_type, convert, expression, has_expression, literal

__all__ = ["GroupKernel", "can_write", "write_group"]

_THREADS = 256
_MOST_BLOCKS = 4096
_HEAD = '#include "functions.cuh"\n\n'


class GroupKernel(NamedTuple):
    """The text of a kernel named ``group``, its grid and its block; ``size`` is how many elements the space has.

    ``vector`` (of a flat group) is how many elements a thread takes at a time: then ``group<vector>`` is launched, or
    ``group<1>`` where an array does not start at a multiple of 16 bytes, and the size is its last argument.
    """

    text: str
    size: int
    grid: int
    block: int
    vector: int = 0


def can_write(body: Jaxpr) -> bool:
    """Whether every equation of a group has an expression for its dtypes."""
    for eqn in body.eqns:
        name, dtypes = eqn.primitive.name, [a.aval.dtype for a in (*eqn.inputs, *eqn.outputs)]
        if name in REDUCTIONS or name in ("broadcast_in_dim", "iota"):
            if any(d.kind == "c" for d in dtypes):
                return False
        elif not has_expression(name, [_operand_dtype(eqn), *dtypes], eqn.params):
            return False
    return True


def _operand_dtype(eqn: Eqn) -> np.dtype[Any]:
    """The dtype that the operands share; a Python scalar takes it, and the condition of a select has its own."""
    operands = eqn.inputs[1:] if eqn.primitive.name == "select" else eqn.inputs
    return next((a.aval.dtype for a in operands if not a.aval.weak), operands[0].aval.dtype)


def write_group(body: Jaxpr, space: Sequence[int], axes: Sequence[int]) -> GroupKernel:
    """The kernel of a group that :func:`can_write`."""
    return _Writer(body, tuple(space), tuple(axes)).write()


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def _digit(index: str, sizes: Sequence[int], place: int) -> str:
    """The coordinate along axis ``place`` of a flat index over axes of these sizes."""
    stride, size = math.prod(sizes[place + 1 :]), sizes[place]
    text = index if stride == 1 else f"{index} / {stride}"
    return text if stride * size == math.prod(sizes) else f"{text} % {size}"


class _Writer:
    def __init__(self, body: Jaxpr, space: tuple[int, ...], axes: tuple[int, ...]) -> None:
        self.body, self.space, self.axes = body, space, axes
        self.kept, self.kept_space = kept_axes(space, axes), kept_shape(space, axes)
        self.rows, self.row_size = math.prod(self.kept_space), math.prod(space[i] for i in axes)
        self.defs = {v: e for e in body.eqns for v in e.outputs}
        self.number = {v: i for i, v in enumerate(body.invars)}
        self.levels: dict[Var, int] = {}
        self.lines: list[str] = []
        self.indent = 1
        self.names: dict[Var, str] = {}
        self.inner: dict[Var, str] | None = None
        self.count = 0
        self.index = "int" if math.prod(space) < 2**31 else "index_t"

    # Parameters -------------------------------------------------------------------------------------------------------

    def _parameters(self) -> list[str]:
        outs = [f"{c_type(a.aval.dtype)} *__restrict__ out{i}" for i, a in enumerate(self.body.outs)]
        ins = [f"const {c_type(v.aval.dtype)} *__restrict__ in{i}" for i, v in enumerate(self.body.invars)]
        return [*outs, *ins]

    def write(self) -> GroupKernel:
        if self.axes:
            return self._write_rows()
        return self._write_flat() if self._is_flat() else self._write_mapped()

    def _is_flat(self) -> bool:
        """Whether every operand is read at the element's own place, or is of rank 0, and no place is a value."""
        if any(a.aval.shape != self.space for a in self.body.outs):
            return False
        for eqn in self.body.eqns:
            x = eqn.inputs[0] if eqn.inputs else None
            if eqn.primitive.name == "iota":
                return False
            if eqn.primitive.name == "broadcast_in_dim" and x is not None and x.aval.shape not in ((), self.space):
                return False
        return True

    # The three forms --------------------------------------------------------------------------------------------------

    def _write_flat(self) -> GroupKernel:
        ins, outs = self.body.invars, self.body.outs
        full = [i for i, v in enumerate(ins) if v.aval.shape == self.space and self.space]
        given = [f"{c_type(v.aval.dtype)} x{i}" for i, v in enumerate(ins)]
        results = [f"{c_type(a.aval.dtype)} &y{i}" for i, a in enumerate(outs)]
        for i, v in enumerate(ins):
            self.names[v] = f"load(x{i})" if _is_half(v.aval.dtype) else f"x{i}"
        for i, a in enumerate(outs):
            self._line(f"y{i} = {self._stored(self._value(a), a.aval.dtype)};")
        element = ["__device__ __forceinline__ void element(" + ", ".join([*given, *results]) + ") {", *self.lines, "}"]
        widest = max([v.aval.dtype.itemsize for v in (*ins, *(a for a in outs))], default=4)
        vector = max(16 // widest, 1)
        packs = [
            f"        const auto p{i} = reinterpret_cast<const Pack<{c_type(ins[i].aval.dtype)}, size> *>(in{i})[i];"
            for i in full
        ]
        packs += [f"        Pack<{c_type(a.aval.dtype)}, size> q{i};" for i, a in enumerate(outs)]
        scalars = [f"    const {c_type(v.aval.dtype)} s{i} = *in{i};" for i, v in enumerate(ins) if i not in full]
        inside = [f"p{i}.item[k]" if i in full else f"s{i}" for i in range(len(ins))]
        rest = [f"in{i}[rest]" if i in full else f"s{i}" for i in range(len(ins))]
        lines = [
            *element,
            "",
            f"template <int size> __global__ void group({', '.join([*self._parameters(), 'index_t count'])}) {{",
            *scalars,
            "    FOR_ELEMENTS(i, count / size) {",
            *packs,
            f"        for (int k = 0; k < size; ++k) element({', '.join([*inside, *(f'q{i}.item[k]' for i in range(len(outs)))])});",
            *(
                f"        reinterpret_cast<Pack<{c_type(a.aval.dtype)}, size> *>(out{i})[i] = q{i};"
                for i, a in enumerate(outs)
            ),
            "    }",
            "    const index_t rest = count / size * size + threadIdx.x;",
            f"    if (blockIdx.x == 0 && rest < count) element({', '.join([*rest, *(f'out{i}[rest]' for i in range(len(outs)))])});",
            "}",
        ]
        size = math.prod(self.space)
        grid = min(max(-(-(size // vector) // _THREADS), 1), _MOST_BLOCKS)
        return GroupKernel(_HEAD + "\n".join(lines) + "\n", size, grid, _THREADS, vector)

    def _write_mapped(self) -> GroupKernel:
        size = math.prod(self.space)
        self.indent = 2
        self.inner = {}
        for j, a in enumerate(self.body.outs):
            self._line(f"out{j}[i] = {self._stored(self._value(a), a.aval.dtype)};")
        head = [f"__global__ void group({', '.join(self._parameters())}) {{", f"    FOR_ELEMENTS(place, {size}) {{"]
        lines = [*head, f"        const {self.index} i = {self.index}(place);", *self.lines, "    }", "}"]
        grid = min(max(-(-size // _THREADS), 1), _MOST_BLOCKS)
        return GroupKernel(_HEAD + "\n".join(lines) + "\n", size, grid, _THREADS)

    def _write_rows(self) -> GroupKernel:
        by_thread = bool(self.kept) and self.kept[-1] == len(self.space) - 1 and self.space[-1] > 1
        block = _THREADS if by_thread else min(_THREADS, max(32, -(-self.row_size // 32) * 32))
        head = [f"__global__ void group({', '.join(self._parameters())}) {{"]
        if by_thread:
            head += [f"    FOR_ELEMENTS(place, {self.rows}) {{", f"    const {self.index} k = {self.index}(place);"]
        else:
            head += [f"    const {self.index} k = blockIdx.x;"]
        reductions = [e for e in self.body.eqns if e.primitive.name in REDUCTIONS]
        for e in self.body.eqns:
            self._level(e.outputs[0])
        for level in range(1 + max(self.levels.values(), default=0)):
            self._write_pass(level, [e for e in reductions if self.levels[e.outputs[0]] == level + 1], by_thread)
        tail = ["    }", "}"] if by_thread else ["}"]
        grid = min(max(-(-self.rows // _THREADS), 1), _MOST_BLOCKS) if by_thread else self.rows
        text = _HEAD + "\n".join([*head, *self.lines, *tail]) + "\n"
        return GroupKernel(text, self.rows, grid, block)

    def _write_pass(self, level: int, reductions: list[Eqn], by_thread: bool) -> None:
        outs = [(j, a) for j, a in enumerate(self.body.outs) if self._level(a) == level]
        for j, a in outs:
            if not self._is_full(a):
                at, guard = ("k", "") if a.aval.shape else ("0", "k == 0")
                guards = [g for g in (guard, "" if by_thread else "threadIdx.x == 0") if g]
                value = self._stored(self._value(a), a.aval.dtype)
                condition = f"if ({' && '.join(guards)}) " if guards else ""
                self._line(f"{condition}out{j}[{at}] = {value};")
        full = [(j, a) for j, a in outs if self._is_full(a)]
        if not reductions and not full:
            return
        totals = []
        for e in reductions:
            op, kind = _accumulation(e)
            self.count += 1
            totals.append((e, op, kind, f"total{self.count}"))
            self._line(f"{kind} total{self.count} = {op}::identity<{kind}>();")
        begin, step = ("0", "1") if by_thread else ("threadIdx.x", "blockDim.x")
        # What is the same for the whole row is computed outside of the loop.
        for a in (*(e.inputs[0] for e in reductions), *(a for _, a in full)):
            self._hoist(a, set())
        self._line(f"for ({self.index} r = {begin}; r < {self.row_size}; r += {step}) {{")
        self.indent += 1
        self.inner = {}
        for j, a in full:
            self._line(
                f"out{j}[{self._place(self.space, range(len(self.space)))}] = {self._stored(self._value(a), a.aval.dtype)};"
            )
        for e, op, kind, total in totals:
            value = self._value(e.inputs[0])
            self._line(f"{total} = {op}::apply({total}, {cast(kind, value)});")
        self.inner = None
        self.indent -= 1
        self._line("}")
        for e, op, _, total in totals:
            v = e.outputs[0]
            self.count += 1
            value = total if by_thread else f"block_reduce<{op}>({total})"
            name = self.names[v] = f"v{self.count}"
            made = compute_type(v.aval.dtype)
            self._line(f"const {made} {name} = {self._rounded(cast(made, value), v.aval.dtype)};")

    def _hoist(self, a: Atom, seen: set[Var]) -> None:
        """Write the values that a full value needs and that are the same for the whole row."""
        todo = [a]
        while todo:
            a = todo.pop()
            if not isinstance(a, Var) or a in seen:
                continue
            seen.add(a)
            if a in self.defs and not self._is_full(a) and self.defs[a].primitive.name not in REDUCTIONS:
                self._value(a)
            elif a in self.defs and self._is_full(a):
                todo += self.defs[a].inputs

    # Values -----------------------------------------------------------------------------------------------------------

    def _line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def _is_full(self, a: Atom) -> bool:
        return a.aval.shape == self.space

    def _level(self, a: Atom) -> int:
        """After how many reductions, one needing the other, a value is known."""
        if not isinstance(a, Var) or a not in self.defs:
            return 0
        if a not in self.levels:
            eqn = self.defs[a]
            found = max((self._level(x) for x in eqn.inputs), default=0)
            self.levels[a] = found + (eqn.primitive.name in REDUCTIONS)
        return self.levels[a]

    def _coordinate(self, axis: int) -> str:
        """The element's coordinate along an axis of the space."""
        if not self.axes:
            return _digit("i", self.space, axis)
        among = self.axes if axis in self.axes else self.kept
        return _digit("r" if axis in self.axes else "k", [self.space[i] for i in among], among.index(axis))

    def _place(self, shape: Sequence[int], along: Sequence[int]) -> str:
        """Where the element is in an array of this shape, whose axis j lies along the axis ``along[j]`` of the space."""
        if tuple(shape) == self.space and not self.axes:
            return "i"
        if tuple(shape) == self.kept_space and tuple(along) == self.kept:
            return "k"
        terms = []
        for n, axis, stride in zip(shape, along, _strides(shape)):
            if n > 1:
                term = f"({self._coordinate(axis)})"
                terms.append(term if stride == 1 else f"{term} * {stride}")
        return " + ".join(terms) or "0"

    def _read(self, v: Var, along: Sequence[int]) -> str:
        text = f"in{self.number[v]}[{self._place(v.aval.shape, along)}]"
        return f"load({text})" if _is_half(v.aval.dtype) else text

    def _stored(self, text: str, dtype: np.dtype[Any]) -> str:
        return f"store<{c_type(dtype)}>({text})" if _is_half(dtype) else text

    def _rounded(self, text: str, dtype: np.dtype[Any]) -> str:
        return f"load(store<{c_type(dtype)}>({text}))" if _is_half(dtype) else text

    def _value(self, a: Atom, dtype: np.dtype[Any] | None = None) -> str:
        """The name of a value, written ahead of where it is used; of a full one in a loop, once an element."""
        if isinstance(a, Literal):
            return literal(a.value, dtype or a.aval.dtype)
        todo = [a]
        while todo:
            v = todo[-1]
            missing = (
                [x for x in self.defs[v].inputs if isinstance(x, Var) and x in self.defs and not self._named(x)]
                if v in self.defs
                else []
            )
            if self._named(v) or not missing:
                todo.pop()
                if not self._named(v):
                    self._write_value(v)
            else:
                todo += missing
        return self._named(a)

    def _named(self, v: Var) -> str:
        return self.names.get(v) or (self.inner or {}).get(v, "")

    def _write_value(self, v: Var) -> None:
        eqn = self.defs.get(v)
        if eqn is None:
            full = self._is_full(v)
            text = self._read(v, range(len(self.space)) if full else self.kept if v.aval.shape else ())
        else:
            text = self._text(eqn)
        self.count += 1
        name, kind = f"v{self.count}", compute_type(v.aval.dtype)
        in_loop = self.inner is not None and (self._is_full(v) or not self.axes or eqn is None)
        (self.inner if in_loop else self.names)[v] = name  # type: ignore[index]
        self._line(f"const {kind} {name} = {text};")

    def _text(self, eqn: Eqn) -> str:
        name, out = eqn.primitive.name, eqn.outputs[0].aval
        if name == "iota":
            axis = eqn.params["axis"]
            axis = axis if out.shape == self.space else self.kept[axis]
            return self._rounded(cast(compute_type(out.dtype), self._coordinate(axis)), out.dtype)
        if name == "broadcast_in_dim":
            (x,) = eqn.inputs
            if isinstance(x, Var) and x in self.number and x.aval.shape:
                dims = eqn.params["dims"]
                return self._read(x, dims if out.shape == self.space else [self.kept[d] for d in dims])
            return self._value(x)
        dtype = _operand_dtype(eqn)
        if name == "convert":
            return self._rounded(convert(self._value(eqn.inputs[0]), dtype, out.dtype), out.dtype)
        operands = [
            self._value(a, a.aval.dtype if name == "select" and not i else dtype) for i, a in enumerate(eqn.inputs)
        ]
        return self._rounded(expression(name, dtype, eqn.params, operands), out.dtype)


def _is_half(dtype: np.dtype[Any]) -> bool:
    return dtype.name in ("float16", "bfloat16")


def _accumulation(eqn: Eqn) -> tuple[str, str]:
    """The operation of a reduction in prelude.cuh, and the type in which it accumulates."""
    op = {"sum": "Sum", "prod": "Product", "max": "Max", "min": "Min", "and": "Min", "or": "Max"}[
        eqn.primitive.name[7:]
    ]
    dtype = eqn.inputs[0].aval.dtype
    if dtype.kind == "f" or _is_half(dtype):
        return op, compute_type(dtype)
    if dtype.kind == "b":
        # NumPy's sum of booleans in their own dtype is a logical or, the product an and.
        return {"Sum": "Max", "Product": "Min"}.get(op, op), "int"
    wraps = op in ("Sum", "Product")
    if dtype.itemsize == 8:
        return op, "unsigned long long" if wraps or dtype.kind == "u" else "long long"
    return op, "unsigned" if wraps or dtype.kind == "u" else "int"
