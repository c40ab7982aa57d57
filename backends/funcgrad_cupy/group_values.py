"""The values of a group's body as text: each is written once, ahead of where it is used.

What the forms of a kernel share (:mod:`.group`, :mod:`.group_rows`): where an element lies in an operand, and the texts of
equations. Values of half precision are rounded after each operation, so that a group gives what its equations give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from funcgrad.compiler.fusion import REDUCTIONS, kept_axes, kept_shape
from funcgrad.core.ir import Atom, Eqn, Jaxpr, Literal, Var

from .kernels import c_type
from .operations import cast, compute_type, convert, expression, literal

__all__ = ["Values", "is_half", "operand_dtype"]


def is_half(dtype: np.dtype[Any]) -> bool:
    return dtype.name in ("float16", "bfloat16")


def operand_dtype(eqn: Eqn) -> np.dtype[Any]:
    """The dtype that the operands share; a Python scalar takes it, and the condition of a select has its own."""
    operands = eqn.inputs[1:] if eqn.primitive.name == "select" else eqn.inputs
    return next((a.aval.dtype for a in operands if not a.aval.weak), operands[0].aval.dtype)


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def _digit(index: str, sizes: Sequence[int], place: int) -> str:
    """The coordinate along axis ``place`` of a flat index over axes of these sizes."""
    stride, size = math.prod(sizes[place + 1 :]), sizes[place]
    text = index if stride == 1 else f"{index} / {stride}"
    return text if stride * size == math.prod(sizes) else f"{text} % {size}"


class Values:
    """The texts of the values of one body, in the order in which they are written."""

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
        #: So many elements along the last axis are moved at a time.
        self.vector = self._vector(16)
        #: So many neighbouring rows a thread has: a value that is the same for a row is an array of theirs if it is not 1.
        self.lanes = 1
        self.packs: dict[tuple[Var, tuple[int, ...]], str] | None = None
        self.index = "int" if math.prod(space) < 2**31 else "index_t"

    def _vector(self, nbytes: int) -> int:
        """How many elements of each operand and result so many bytes hold, if the last axis is a multiple of that long."""
        widest = max((a.aval.dtype.itemsize for a in (*self.body.invars, *self.body.outs)), default=4)
        return math.gcd(nbytes // widest, self.space[-1]) if self.space else 1

    def _parameters(self) -> list[str]:
        outs = [f"{c_type(a.aval.dtype)} *__restrict__ out{i}" for i, a in enumerate(self.body.outs)]
        ins = [f"const {c_type(v.aval.dtype)} *__restrict__ in{i}" for i, v in enumerate(self.body.invars)]
        return [*outs, *ins]

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
        if self.packs is None:
            lane = " + e" if self.lanes > 1 and self._varies(v, along) else ""
            text = f"in{self.number[v]}[{self._place(v.aval.shape, along)}{lane}]"
        else:
            text = self._pack(v, tuple(along))
        return f"load({text})" if is_half(v.aval.dtype) else text

    def _varies(self, v: Var, along: Sequence[int]) -> bool:
        """Whether an operand has elements of its own along the last axis of the space."""
        return bool(along) and along[-1] == len(self.space) - 1 and v.aval.shape[-1] > 1

    @property
    def _each(self) -> str:
        """For each of the rows of a thread."""
        return f"for (int e = 0; e < {self.lanes}; ++e) " if self.lanes > 1 else ""

    def _declare(self, kind: str, name: str, text: str) -> str:
        """A variable that is the same for a row; returns how its value is written."""
        if self.lanes == 1:
            self._line(f"{kind} {name} = {text};")
            return name
        self._line(f"{kind} {name}[{self.lanes}];")
        self._line(f"{self._each}{name}[e] = {text};")
        return f"{name}[e]"

    # Packs: as many neighbouring elements along the last axis, of one row or of neighbouring rows ------------------------

    def _open_packs(self, full: Sequence[tuple[int, Atom]]) -> None:
        """Begin the loop over the elements of a pack. Operands are read ahead of it, results written behind it."""
        self.packs, self.inner, self.full = {}, {}, full
        self.ahead = len(self.lines)
        for j, a in full:
            self._line(f"Pack<{c_type(a.aval.dtype)}, {self.vector}> q{j};")
        self._line("#pragma unroll")
        self._line(f"for (int e = 0; e < {self.vector}; ++e) {{")
        self.indent += 1

    def _close_packs(self) -> None:
        self.packs = self.inner = None
        self.indent -= 1
        self._line("}")
        for j, _ in self.full:
            self._line(f"put<aligned>(out{j} + {self._place(self.space, range(len(self.space)))}, q{j});")

    def _read_ahead(self, text: str) -> None:
        self.lines.insert(self.ahead, "    " * (self.indent - 1) + text)
        self.ahead += 1

    def _pack(self, v: Var, along: tuple[int, ...]) -> str:
        """An operand's element of the pack."""
        assert self.packs is not None
        varies = self._varies(v, along)
        if (v, along) not in self.packs:
            self.count += 1
            name, place = f"p{self.count}", f"in{self.number[v]} + {self._place(v.aval.shape, along)}"
            read = f"pack_at<{self.vector}, aligned>({place})" if varies else f"*({place})"
            self._read_ahead(f"const auto {name} = {read};")
            self.packs[v, along] = f"{name}.item[e]" if varies else name
        return self.packs[v, along]

    # Texts ------------------------------------------------------------------------------------------------------------

    def _stored(self, text: str, dtype: np.dtype[Any]) -> str:
        return f"store<{c_type(dtype)}>({text})" if is_half(dtype) else text

    def _rounded(self, text: str, dtype: np.dtype[Any]) -> str:
        return f"load(store<{c_type(dtype)}>({text}))" if is_half(dtype) else text

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
        if in_loop or self.lanes == 1:
            (self.inner if in_loop else self.names)[v] = name  # type: ignore[index]
            self._line(f"const {kind} {name} = {text};")
        else:
            self.names[v] = self._declare(kind, name, text)

    def _text(self, eqn: Eqn) -> str:
        name, out = eqn.primitive.name, eqn.outputs[0].aval
        if name == "iota":
            axis = eqn.params["axis"]
            axis = axis if out.shape == self.space else self.kept[axis]
            coordinate = self._coordinate(axis)
            if axis == len(self.space) - 1 and (self.packs is not None or self.lanes > 1):
                coordinate += " + e"
            return self._rounded(cast(compute_type(out.dtype), coordinate), out.dtype)
        if name == "broadcast_in_dim":
            (x,) = eqn.inputs
            if isinstance(x, Var) and x in self.number and x.aval.shape:
                dims = eqn.params["dims"]
                return self._read(x, dims if out.shape == self.space else [self.kept[d] for d in dims])
            return self._value(x)
        dtype = operand_dtype(eqn)
        if name == "convert":
            return self._rounded(convert(self._value(eqn.inputs[0]), dtype, out.dtype), out.dtype)
        operands = [
            self._value(a, a.aval.dtype if name == "select" and not i else dtype) for i, a in enumerate(eqn.inputs)
        ]
        return self._rounded(expression(name, dtype, eqn.params, operands), out.dtype)
