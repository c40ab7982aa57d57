"""Groups with reductions: all elements of a row of the space, and what they are reduced to, belong together.

In the layout *along* the threads of a block go along one row, or those of a warp where rows are short and many. In *across*,
where the last axis is kept, neighbouring threads have neighbouring rows, each one or a few, and read neighbouring elements;
threadIdx.y goes along a row. What needs the result of a
reduction is in a later pass over the row. Operands that several passes read stay in registers if a thread has few elements
of a row, else they come from the cache again.

Where rows are few and long they are cut in parts, blockIdx.y, so that the whole GPU has work: each pass is then a kernel of
its own, which leaves the totals of its parts in an array, and the next pass begins with their combination, in every block the
same. The cut depends on the space alone, and so does the order of a sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from funcgrad.compiler.fusion import REDUCTIONS
from funcgrad.core.ir import Atom, Eqn, Jaxpr, Var

from .group_values import Values, is_half
from .kernels import c_type
from .kernels.geometry import BLOCKS, THREADS, parts_of, row_threads
from .operations import cast, compute_type

__all__ = ["Rows"]

#: What is shorter than so many elements is no part of its own: of a row, and for each of the threads that share a row.
_LEAST_ALONG = 4096
_LEAST_ACROSS = 16
#: So many bytes of a row a thread may keep in registers, of all operands together.
_KEPT_BYTES = 128
#: A warp has a row to itself if each of its threads has so many packs of it at most.
_PACKS_OF_LANE = 4

_PARTIAL = {"float": "f4", "double": "f8", "int": "i4", "unsigned": "u4", "long long": "i8", "unsigned long long": "u8"}


class Rows(Values):
    """The kernels of a group with reductions: ``lines``, and ``launches`` as (name, grid, block), in their order.

    ``partials``: the sizes and dtypes of the arrays for the totals of parts, which are arguments after the operands.
    """

    def __init__(self, body: Jaxpr, space: tuple[int, ...], axes: tuple[int, ...]) -> None:
        super().__init__(body, space, axes)
        # A loop's last step goes beyond the row's end.
        self.index = "int" if self.rows * self.row_size < 2**31 - 2**16 else "index_t"
        self.by_warp = False
        self.across = bool(self.kept) and self.kept[-1] == len(space) - 1 and space[-1] > 1
        if self.across:
            # 8 bytes a thread, so that its arrays stay in registers.
            self.vector = self.lanes = self._vector(8)
            self.columns = self.rows // self.lanes
            few = self.columns < BLOCKS * THREADS
            height = min(8, max(1, self.row_size // 8)) if few else 1
            self.width = min(THREADS // height, self.columns)
            self.height = min(THREADS // self.width, max(1, self.row_size // 8)) if few else 1
            self.blocks = -(-self.columns // self.width)
            self.parts, self.chunk = parts_of(self.row_size, self.blocks, _LEAST_ACROSS * self.height, self.height)
        else:
            self.blocks, self.height = self.rows, 1
            self.parts, self.chunk = parts_of(self.row_size, self.blocks, _LEAST_ALONG)
            packs, stacked = -(-self.chunk // self.vector), min(THREADS // 32, self.rows // BLOCKS)
            self.by_warp = stacked > 1 and packs <= 32 * _PACKS_OF_LANE
            if self.by_warp:
                self.height, self.width = stacked, 32
                self.blocks = -(-self.rows // stacked)
            else:
                self.width = row_threads(packs)
        self.reductions = [e for e in body.eqns if e.primitive.name in REDUCTIONS]
        self.partials = (
            [(self.rows * self.parts, np.dtype(_PARTIAL[_accumulation(e)[1]])) for e in self.reductions]
            if self.parts > 1
            else []
        )
        self.launches: list[tuple[str, tuple[int, int], tuple[int, int]]] = []
        self.registers: dict[Var, str] = {}
        self._write()

    def _write(self) -> None:
        for e in self.body.eqns:
            self._level(e.outputs[0])
        last = max(self.levels.values(), default=0)
        for level in range(last + 1):
            outs = [(j, a) for j, a in enumerate(self.body.outs) if self._level(a) == level]
            reductions = [e for e in self.reductions if self.levels[e.outputs[0]] == level + 1]
            loops = bool(reductions) or any(self._is_full(a) for _, a in outs)
            if self.parts == 1:
                if not level:
                    self._open("group", 1)
                    self._keep_operands(range(last + 1))
            elif outs or reductions:
                self._open(f"group_{level}", self.parts if loops else 1)
                self._combine([*(a for _, a in outs), *(e.inputs[0] for e in reductions)])
            else:
                continue
            self._write_pass(outs, reductions)
            if self.parts > 1 or level == last:
                self.lines += ["}", ""]

    def _open(self, name: str, parts: int) -> None:
        """The head of a kernel: which row, and which of its elements, this thread has."""
        self.names, self.grid = {}, (self.blocks, parts)
        self.launches.append((name, self.grid, (self.width, self.height)))
        partials = [
            f"{_accumulation(e)[1]} *__restrict__ part{i}" for i, e in enumerate(self.reductions) if self.partials
        ]
        self.lines.append(
            f"template <bool aligned> __global__ void {name}({', '.join([*self._parameters(), *partials])}) {{"
        )
        if self.across:
            self._line(f"const index_t place = index_t(blockIdx.x) * {self.width} + threadIdx.x;")
            first = f"{self.index}(place < {self.columns} ? place : {self.columns - 1})"
            self._line(f"const {self.index} k = {first}{f' * {self.lanes}' if self.lanes > 1 else ''};")
        elif self.by_warp:
            self._line(f"const {self.index} k = {self.index}(blockIdx.x) * {self.height} + threadIdx.y;")
            if self.rows % self.height:
                self._line(f"if (k >= {self.rows}) return;")
        else:
            self._line(f"const {self.index} k = blockIdx.x;")
        begin, end = "0", str(self.row_size)
        if parts > 1:
            self._line(f"const {self.index} begin = {self.index}(blockIdx.y) * {self.chunk};")
            rest = f"{self.row_size} - begin < {self.chunk}"
            self._line(f"const {self.index} end = {rest} ? {self.row_size} : begin + {self.chunk};")
            begin, end = "begin", "end"
        thread = ("threadIdx.y" if self.height > 1 else "0") if self.across else f"threadIdx.x * {self.vector}"
        self.begin = thread if begin == "0" else begin if thread == "0" else f"begin + {thread}"
        self.end = f"(place < {self.columns} ? {end} : 0)" if self._ragged else end
        guards = [f"place < {self.columns}"] if self._ragged else []
        guards += ["threadIdx.y == 0"] if self.across and self.height > 1 else []
        guards += [] if self.across else ["threadIdx.x == 0"]
        self.leads = guards

    @property
    def _ragged(self) -> bool:
        """Whether the last block has threads without a row."""
        return self.across and self.columns % self.width != 0

    def _write_pass(self, outs: list[tuple[int, Atom]], reductions: list[Eqn]) -> None:
        guards = [*self.leads, *(["blockIdx.y == 0"] if self.grid[1] > 1 else [])]
        for j, a in outs:
            if not self._is_full(a):
                value = self._stored(self._value(a), a.aval.dtype)
                if a.aval.shape:
                    self._guarded(guards, f"{self._each}out{j}[{self._row}] = {value};")
                else:
                    lane = "for (int e = 0; e < 1; ++e) " if self.lanes > 1 else ""
                    self._guarded(["k == 0", *guards], f"{lane}out{j}[0] = {value};")
        full = [(j, a) for j, a in outs if self._is_full(a)]
        if not reductions and not full:
            return
        totals = []
        for e in reductions:
            op, kind = _accumulation(e)
            self.count += 1
            total = self._declare(kind, f"total{self.count}", f"{op}::identity<{kind}>()")
            totals.append((e, op, kind, total))
        # What is the same for the whole row is computed outside of the loop.
        for a in (*(e.inputs[0] for e in reductions), *(a for _, a in full)):
            self._hoist(a, set())
        self._begin_loop(full)
        for j, a in full:
            self._line(f"q{j}.item[e] = {self._stored(self._value(a), a.aval.dtype)};")
        for e, op, kind, total in totals:
            self._line(f"{total} = {op}::apply({total}, {cast(kind, self._value(e.inputs[0]))});")
        self._end_loop()
        for e, op, _, total in totals:
            if self.parts > 1:
                self._line(f"{self._each}{total} = {self._of_block(op, total)};")
                part = f"part{self.reductions.index(e)}[{self._part('blockIdx.y')}]"
                self._guarded(self.leads, f"{self._each}{part} = {total};")
            else:
                self._name_result(e, self._of_block(op, total))

    def _combine(self, atoms: Iterable[Atom]) -> None:
        """The results of the reductions that these values need, from the totals of all parts."""
        needed, seen, todo = set(), set(), [a for a in atoms if isinstance(a, Var)]
        while todo:
            v = todo.pop()
            if v in seen or v not in self.defs:
                continue
            seen.add(v)
            if self.defs[v].primitive.name in REDUCTIONS:
                needed.add(v)
            else:
                todo += [a for a in self.defs[v].inputs if isinstance(a, Var)]
        first, step = ("threadIdx.y", self.height) if self.across else ("threadIdx.x", self.width)
        for i, e in enumerate(self.reductions):
            if e.outputs[0] in needed:
                op, kind = _accumulation(e)
                self.count += 1
                total = self._declare(kind, f"total{self.count}", f"{op}::identity<{kind}>()")
                self._line(f"for (int p = {first}; p < {self.parts}; p += {step})")
                self._line(f"    {self._each}{total} = {op}::apply({total}, part{i}[{self._part('p')}]);")
                self._name_result(e, self._of_block(op, total))

    @property
    def _row(self) -> str:
        return "k + e" if self.lanes > 1 else "k"

    def _part(self, number: str) -> str:
        """Where the total of a part is: neighbouring threads read neighbouring places."""
        return f"{number} * {self.rows} + {self._row}" if self.across else f"k * {self.parts} + {number}"

    def _of_block(self, op: str, total: str) -> str:
        if not self.across:
            return f"{'warp' if self.by_warp else 'block'}_reduce<{op}>({total})"
        return total if self.height == 1 else f"column_reduce<{op}>({total})"

    def _name_result(self, e: Eqn, text: str) -> None:
        v = e.outputs[0]
        self.count += 1
        made = compute_type(v.aval.dtype)
        self.names[v] = self._declare(made, f"v{self.count}", self._rounded(cast(made, text), v.aval.dtype))

    def _guarded(self, guards: list[str], statement: str) -> None:
        self._line(f"if ({' && '.join(guards)}) {statement}" if guards else statement)

    # The loop over a row ----------------------------------------------------------------------------------------------

    def _keep_operands(self, levels: Iterable[int]) -> None:
        """Arrays for the operands that several passes read, if a thread has few enough elements of a row."""
        passes = [self._operands_of(level) for level in levels]
        several = [v for v in self.body.invars if sum(v in found for found in passes) > 1]
        self.packs_of_row = -(-self.row_size // (self.width * self.vector))
        kept = self.packs_of_row * self.vector * sum(v.aval.dtype.itemsize for v in several)
        if several and not self.across and kept <= _KEPT_BYTES:
            for v in several:
                self.registers[v] = f"row{self.number[v]}"
                self._line(f"Pack<{c_type(v.aval.dtype)}, {self.vector}> {self.registers[v]}[{self.packs_of_row}];")
        self.loaded: set[Var] = set()

    def _operands_of(self, level: int) -> set[Var]:
        """The full operands that the pass at a level reads."""
        todo: list[Any] = [a for a in self.body.outs if self._is_full(a) and self._level(a) == level]
        todo += [e.inputs[0] for e in self.reductions if self.levels[e.outputs[0]] == level + 1]
        found: set[Var] = set()
        while todo:
            v = todo.pop()
            if isinstance(v, Var) and v not in found and self._is_full(v):
                found.add(v)
                todo += self.defs[v].inputs if v in self.defs else []
        return found & self.number.keys()

    def _begin_loop(self, full: list[tuple[int, Atom]]) -> None:
        step = self.height if self.across else self.width * self.vector
        if self.registers:
            self._line("#pragma unroll")
            self._line(f"for (int n = 0; n < {self.packs_of_row}; ++n) {{")
            self._line(f"    const {self.index} r = n * {step} + {self.begin};")
            if self.row_size % step:
                self._line(f"    if (r >= {self.row_size}) continue;")
        else:
            self._line(f"for ({self.index} r = {self.begin}; r < {self.end}; r += {step}) {{")
        self.indent += 1
        self._open_packs(full)

    def _end_loop(self) -> None:
        self._close_packs()
        self.indent -= 1
        self._line("}")

    def _pack(self, v: Var, along: tuple[int, ...]) -> str:
        if v not in self.registers:
            return super()._pack(v, along)
        kept = f"{self.registers[v]}[n]"
        if v not in self.loaded:
            self.loaded.add(v)
            place = f"in{self.number[v]} + {self._place(v.aval.shape, along)}"
            self._read_ahead(f"{kept} = pack_at<{self.vector}, aligned>({place});")
        return f"{kept}.item[e]"

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


def _accumulation(eqn: Eqn) -> tuple[str, str]:
    """The operation of a reduction in prelude.cuh, and the type in which it accumulates."""
    op = {"sum": "Sum", "prod": "Product", "max": "Max", "min": "Min", "and": "Min", "or": "Max"}[
        eqn.primitive.name[7:]
    ]
    dtype = eqn.inputs[0].aval.dtype
    if dtype.kind == "f" or is_half(dtype):
        return op, compute_type(dtype)
    if dtype.kind == "b":
        # NumPy's sum of booleans in their own dtype is a logical or, the product an and.
        return {"Sum": "Max", "Product": "Min"}.get(op, op), "int"
    wraps = op in ("Sum", "Product")
    if dtype.itemsize == 8:
        return op, "unsigned long long" if wraps or dtype.kind == "u" else "long long"
    return op, "unsigned" if wraps or dtype.kind == "u" else "int"
