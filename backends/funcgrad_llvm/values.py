"""What a group computes: the values of its body, how they walk through memory, and which of them a later pass needs.

Each value is a *scalar* (the same everywhere), *kept* (it varies along the axes that are not reduced) or *full*. It has a
*level*: a reduction is of a level above what it reduces, and what is computed from it is of its level. A pass over the
elements computes the full values of one level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from funcgrad.core.ir import Atom, Jaxpr, Literal, Var

from .ir import literal

__all__ = ["CHEAP", "FULL", "KEPT", "REDUCTIONS", "SCALAR", "Body", "Layout", "Node", "Stream", "identity"]

#: From the name of a reduction to the elementwise operation it repeats.
REDUCTIONS = {
    "reduce_and": "and", "reduce_max": "max", "reduce_min": "min", "reduce_or": "or", "reduce_prod": "mul",
    "reduce_sum": "add",
}  # fmt: skip
SCALAR, KEPT, FULL = 0, 1, 2
#: What is computed again in a later pass rather than stored in between.
CHEAP = frozenset(["add", "and", "convert", "eq", "ge", "gt", "le", "lt", "max", "min", "mul", "ne", "neg", "not", "or",
                   "select", "sub", "iota"])  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Where the elements of an array lie: strides in elements."""

    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass
class Stream:
    """An array as a group walks over it: its strides along the axes of the space, 0 where it does not vary."""

    dtype: np.dtype
    strides: tuple[int, ...]
    pointer: str = ""
    #: An iota has no memory: the element is the offset.
    is_index: bool = False
    #: Where it begins in the memory that a group has for itself.
    place: int | None = None


@dataclass
class Node:
    """A value of the body."""

    kind: int
    level: int
    dtype: np.dtype
    name: str
    operands: list[Node | str] = field(default_factory=list)
    params: dict = field(default_factory=dict)
    stream: Stream | None = None
    #: Where it is stored for later passes, or as a result.
    stored: list[Stream] = field(default_factory=list)
    #: The row of accumulators, or of values, where the last axis is kept.
    row: Stream | None = None
    accumulators: list[str] = field(default_factory=list)
    width: int = 0

    @property
    def is_reduction(self) -> bool:
        return self.name in REDUCTIONS


def identity(name: str, dtype: np.dtype, empty: bool = False) -> str:
    """What a reduction starts from. -0.0 leaves every number as it is; the sum of nothing is 0.0."""
    operation = REDUCTIONS[name]
    if operation == "add":
        return literal(-0.0 if dtype.kind == "f" and not empty else 0, dtype)
    if operation in ("mul", "and"):
        return literal(1, dtype)
    if operation == "or" or dtype.kind == "b":
        return literal(operation == "min", dtype)
    if dtype.kind == "f":
        return literal(-np.inf if operation == "max" else np.inf, dtype)
    limits = np.iinfo(dtype)
    return literal(limits.min if operation == "max" else limits.max, dtype)


class Body:
    """The values of a group's body; the results ``over`` are written over the operands of these numbers.

    ``order``: all that are computed, each after its operands. ``streams``: all arrays that are walked over, the results
    and what is kept between passes included, which takes ``scratch`` bytes.
    """

    def __init__(
        self, body: Jaxpr, space: Sequence[int], axes: Sequence[int], ins: Sequence[Layout], outs: Sequence[Layout],
        over: Mapping[int, int],
    ) -> None:  # fmt: skip
        self.space, self.axes = tuple(space), tuple(axes)
        # An operand that is written over is read by the address of the result, so that no two addresses are of one place.
        addresses = {i: f"%out{j}" for j, i in over.items()}
        self.addresses = [addresses.get(i, f"%in{i}") for i in range(len(ins))]
        self.scratch = 0
        self.streams: list[Stream] = []
        self._analyse(body, ins)
        self._results(body, outs)

    def _analyse(self, body: Jaxpr, ins: Sequence[Layout]) -> None:
        """Nodes for all variables."""
        reduced = any(e.primitive.name in REDUCTIONS and e.params["axes"] for e in body.eqns)
        kept = tuple(n for i, n in enumerate(self.space) if i not in self.axes)
        # A part of a group may have none of its reductions, and work on their results all the same.
        reduced = reduced or any(v.aval.shape == kept != () for e in body.eqns for v in e.outputs)
        self.reduces = reduced and bool(self.axes)
        if not self.reduces:
            self.axes = ()
        self.kept_axes = tuple(i for i in range(len(self.space)) if i not in self.axes)
        self.kept_shape = tuple(self.space[i] for i in self.kept_axes)
        self.nodes: dict[Var, Node] = {}
        self.order: list[Node] = []
        self.inputs: dict[Var, int] = {v: i for i, v in enumerate(body.invars)}
        self._ins = ins
        self._reads: dict[tuple, Node] = {}
        for eqn in body.eqns:
            name, out = eqn.primitive.name, eqn.outputs[0]
            if name == "broadcast_in_dim":
                (x,) = eqn.inputs
                node = self._broadcast(x, tuple(eqn.params["dims"]), out.aval.shape)
            elif name == "iota":
                node = self._index(out.aval.shape, eqn.params["axis"], eqn.params["dtype"])
            elif name == "optimization_barrier":
                for x, y in zip(eqn.inputs, eqn.outputs):
                    self.nodes[y] = self._operand(x)
                continue
            else:
                operands = [self._operand(x) for x in eqn.inputs]
                kind = max((n.kind for n in operands), default=SCALAR)
                level = max((n.level for n in operands), default=0)
                if name in REDUCTIONS and not eqn.params["axes"]:
                    node = operands[0]
                else:
                    if name in REDUCTIONS:
                        kind, level = (KEPT if self.kept_shape else SCALAR), level + 1
                    node = Node(kind, level, out.aval.dtype, name, operands, eqn.params)
                    self.order.append(node)
            self.nodes[out] = node

    def _axes_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The axes of the space that a shape stands for: all of them, or the kept ones."""
        if shape == self.space:
            return tuple(range(len(self.space)))
        assert shape == self.kept_shape, (shape, self.space, self.axes)
        return self.kept_axes

    def _stream(self, dtype: np.dtype, strides: Sequence[int], axes: Sequence[int], is_index: bool = False) -> Stream:
        over = [0] * len(self.space)
        for s, a in zip(strides, axes):
            if self.space[a] > 1:
                over[a] = s
        stream = Stream(dtype, tuple(over), is_index=is_index)
        self.streams.append(stream)
        return stream

    def _read(self, key: tuple, name: str, stream: Stream, pointer: str) -> Node:
        node = self._reads.get(key)
        if node is None:
            stream.pointer = pointer
            varies = [i for i, s in enumerate(stream.strides) if s]
            kind = SCALAR if not varies else KEPT if all(i in self.kept_axes for i in varies) else FULL
            if not self.reduces and kind == KEPT:
                kind = FULL
            node = self._reads[key] = Node(kind, 0, stream.dtype, name, stream=stream)
        else:
            self.streams.remove(stream)
        return node

    def _input(self, var: Var, axes: Sequence[int], dims: Sequence[int] | None = None) -> Node:
        """An input whose axis i is the axis `axes[i]` of the space."""
        i = self.inputs[var]
        layout = self._ins[i]
        stream = self._stream(layout.dtype, layout.strides, axes)
        return self._read((i, stream.strides), "read", stream, self.addresses[i])

    def _operand(self, x: Atom) -> Node:
        if isinstance(x, Literal):
            return Node(SCALAR, 0, x.aval.dtype, "literal", params={"text": literal(x.value, x.aval.dtype)})
        node = self.nodes.get(x)
        if node is None:
            node = self.nodes[x] = self._input(x, self._axes_of(x.aval.shape) if x.aval.shape else ())
        return node

    def _broadcast(self, x: Atom, dims: tuple[int, ...], shape: tuple[int, ...]) -> Node:
        if isinstance(x, Var) and x in self.inputs and x.aval.shape:
            axes = self._axes_of(shape)
            if any(n == 1 and shape[d] != 1 for n, d in zip(x.aval.shape, dims)):
                layout = self._ins[self.inputs[x]]
                strides = [0 if n == 1 else s for n, s in zip(x.aval.shape, layout.strides)]
                stream = self._stream(layout.dtype, strides, [axes[d] for d in dims])
                i = self.inputs[x]
                return self._read((i, stream.strides), "read", stream, self.addresses[i])
            return self._input(x, [axes[d] for d in dims])
        # A value of the body is kept or a scalar, and stands where it is already.
        return self._operand(x)

    def _index(self, shape: tuple[int, ...], axis: int, dtype: np.dtype) -> Node:
        axes = self._axes_of(shape)
        stream = self._stream(dtype, (1,), (axes[axis],), is_index=True)
        return self._read(("iota", dtype, stream.strides), "iota", stream, "0")

    # What is stored ---------------------------------------------------------------------------------------------------

    def _results(self, body: Jaxpr, outs: Sequence[Layout]) -> None:
        self.results: list[Node] = []
        for i, (x, layout) in enumerate(zip(body.outs, outs)):
            node = self._operand(x)
            shape = x.aval.shape
            stream = self._stream(layout.dtype, layout.strides, self._axes_of(shape) if shape else ())
            stream.pointer = f"%out{i}"
            kind = SCALAR if not shape else FULL if shape == self.space else KEPT
            if node.kind != kind or node.stream is not None or node.name == "literal" or node.stored:
                # A copy of a value, to be stored as what its shape says.
                node = Node(max(kind, node.kind), node.level, node.dtype, "copy", [node])
                self.order.append(node)
            node.stored.append(stream)
            self.results.append(node)

    def find_spills(self, sizes: Sequence[int], axes: Sequence[int]) -> None:
        """Full values that a later pass needs, and that are not cheap, are stored; so are what results are made of.

        They are for one turn of the outer loops: `axes`, of `sizes`, are all others.
        """
        needed = [(n, n.level - 1 if n.is_reduction else n.level) for n in self.order if n.is_reduction or n.stored]
        seen: set[tuple[int, int]] = set()
        while needed:
            node, level = needed.pop()
            if node.is_reduction:
                level = node.level - 1
            for x in node.operands:
                if x.kind != FULL or x.stream is not None or (id(x), level) in seen:
                    continue
                seen.add((id(x), level))
                if x.level < level and not x.stored and x.name not in CHEAP:
                    strides, step = [0] * len(sizes), 1
                    for a in reversed(axes):
                        strides[a] = step
                        step *= sizes[a]
                    stream = Stream(x.dtype, tuple(strides))
                    self.streams.append(stream)
                    self.reserve(stream, step * x.dtype.itemsize)
                    x.stored.append(stream)
                if x.stored and x.level < level:
                    level_of_x = x.level
                else:
                    level_of_x = level
                needed.append((x, level_of_x))

    def reserve(self, stream: Stream, size: int) -> None:
        """Give a stream memory of the group's own."""
        stream.place = self.scratch
        self.scratch += -(-size // 64) * 64
