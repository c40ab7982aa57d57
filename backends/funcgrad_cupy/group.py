"""A fused group as the text of CUDA kernels.

A group (:mod:`funcgrad.compiler.fusion`) is written in one of three forms:

- *flat*: no reduction, and every operand is read at the element's own place. The computation is a function of one element; a
  kernel calls it for as many elements as 16 bytes hold. The text does not depend on the shape.
- *mapped*: no reduction, but operands are broadcast: places in them are computed from the element's, with the shapes
  written into the text.
- *rows*: reductions (:mod:`.group_rows`).

Sums are taken in an order that depends on shapes alone. Values of half precision are rounded after each operation, so
that a group gives what its equations give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from funcgrad.compiler.fusion import REDUCTIONS
from funcgrad.core.ir import Jaxpr

from .group_rows import Rows
from .group_values import Values, is_half, operand_dtype
from .kernels import c_type
from .operations import has_expression

__all__ = ["GroupKernel", "can_write", "joined", "write_group"]

_HEAD = '#include "functions.cuh"\n\n'


def joined(texts: Sequence[str]) -> str:
    """The kernels of several texts as one to compile, those of text i in the namespace ``group_i``."""
    bodies = (f"namespace group_{i} {{\n{text.removeprefix(_HEAD)}}}\n" for i, text in enumerate(texts))
    return _HEAD + "\n".join(bodies)


class GroupKernel(NamedTuple):
    """The text of a group's kernels. Each is a template: with ``<true>`` if all arrays start at multiples of 16 bytes.

    Without reductions, ``group`` is launched with ``size``, the number of elements, as its last argument; a thread takes
    ``vector`` of them at a time. With reductions there are ``launches``: name, grid and block of each, in their order.
    ``partials`` are the sizes and dtypes of arrays that are arguments after the operands, in which one launch leaves what
    the next reads; ``size`` is the number of rows.
    """

    text: str
    size: int
    vector: int = 0
    launches: Sequence[tuple[str, Sequence[int], Sequence[int]]] = ()
    partials: Sequence[tuple[int, np.dtype[Any]]] = ()


def can_write(body: Jaxpr) -> bool:
    """Whether every equation of a group has an expression for its dtypes."""
    for eqn in body.eqns:
        name, dtypes = eqn.primitive.name, [a.aval.dtype for a in (*eqn.inputs, *eqn.outputs)]
        if name in REDUCTIONS or name in ("broadcast_in_dim", "iota"):
            if any(d.kind == "c" for d in dtypes):
                return False
        elif not has_expression(name, [operand_dtype(eqn), *dtypes], eqn.params):
            return False
    return True


def write_group(body: Jaxpr, space: Sequence[int], axes: Sequence[int]) -> GroupKernel:
    """The kernels of a group that :func:`can_write`."""
    if axes:
        rows = Rows(body, tuple(space), tuple(axes))
        text = _HEAD + "\n".join(rows.lines)
        return GroupKernel(text, rows.rows, launches=rows.launches, partials=rows.partials)
    elements = _Elements(body, tuple(space), ())
    return elements.write_flat() if elements.is_flat() else elements.write_mapped()


class _Elements(Values):
    """A kernel without reductions."""

    def is_flat(self) -> bool:
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

    def write_flat(self) -> GroupKernel:
        ins, outs = self.body.invars, self.body.outs
        full = [i for i, v in enumerate(ins) if v.aval.shape == self.space and self.space]
        given = [f"{c_type(v.aval.dtype)} x{i}" for i, v in enumerate(ins)]
        results = [f"{c_type(a.aval.dtype)} &y{i}" for i, a in enumerate(outs)]
        for i, v in enumerate(ins):
            self.names[v] = f"load(x{i})" if is_half(v.aval.dtype) else f"x{i}"
        for i, a in enumerate(outs):
            self._line(f"y{i} = {self._stored(self._value(a), a.aval.dtype)};")
        element = ["__device__ __forceinline__ void element(" + ", ".join([*given, *results]) + ") {", *self.lines, "}"]
        # The space is as long as it happens to be: what is over goes one by one.
        widest = max([a.aval.dtype.itemsize for a in (*ins, *outs)], default=4)
        vector = 16 // widest
        packs = [f"        const auto p{i} = pack_at<{vector}, aligned>(in{i} + {vector} * i);" for i in full]
        packs += [f"        Pack<{c_type(a.aval.dtype)}, {vector}> q{i};" for i, a in enumerate(outs)]
        scalars = [f"    const {c_type(v.aval.dtype)} s{i} = *in{i};" for i, v in enumerate(ins) if i not in full]
        inside = [f"p{i}.item[k]" if i in full else f"s{i}" for i in range(len(ins))]
        rest = [f"in{i}[rest]" if i in full else f"s{i}" for i in range(len(ins))]
        lines = [
            *element,
            "",
            f"template <bool aligned> __global__ void group({', '.join([*self._parameters(), 'index_t count'])}) {{",
            *scalars,
            f"    FOR_ELEMENTS(i, count / {vector}) {{",
            *packs,
            f"        for (int k = 0; k < {vector}; ++k) element({', '.join([*inside, *(f'q{i}.item[k]' for i in range(len(outs)))])});",
            *(f"        put<aligned>(out{i} + {vector} * i, q{i});" for i in range(len(outs))),
            "    }",
            f"    const index_t rest = count / {vector} * {vector} + threadIdx.x;",
            f"    if (blockIdx.x == 0 && rest < count) element({', '.join([*rest, *(f'out{i}[rest]' for i in range(len(outs)))])});",
            "}",
        ]
        return GroupKernel(_HEAD + "\n".join(lines) + "\n", math.prod(self.space), vector)

    def write_mapped(self) -> GroupKernel:
        self.indent = 2
        full = [*enumerate(self.body.outs)]
        self._open_packs(full)
        for j, a in full:
            self._line(f"q{j}.item[e] = {self._stored(self._value(a), a.aval.dtype)};")
        self._close_packs()
        lines = [
            f"template <bool aligned> __global__ void group({', '.join([*self._parameters(), 'index_t count'])}) {{",
            f"    FOR_ELEMENTS(place, count / {self.vector}) {{",
            f"        const {self.index} i = {self.index}(place) * {self.vector};",
            *self.lines,
            "    }",
            "}",
        ]
        return GroupKernel(_HEAD + "\n".join(lines) + "\n", math.prod(self.space), self.vector)
