"""What a program costs before it runs: floating-point operations and bytes moved, an equation at a time.

An *operation* is one addition, multiplication, division, square root, comparison or rounding of real floating-point
numbers; integers, booleans and what only moves numbers count none. A complex sum counts 2, a complex product 6. The
table below has a function a family of primitives:

    dot_general (m, k) (k, n)          2 m n k                              as many products as sums
    conv_general_dilated               2 outputs C/g prod(kernel)           zeros of padding and dilation included
    elementwise                        1 an element; integer_pow one a product of repeated squaring
    reductions of n elements to m      n - m;  running ones n - m with m the number of rows
    windows                            outputs (prod(window) - 1)
    sort, argsort of rows of n         n ceil(log2 n) comparisons a row
    fft of n complex numbers           5 n log2 n, half of it for real ones: the convention of FFTW's benchmarks
    factorisations                     Golub and Van Loan, *Matrix Computations*, 4th ed.: sections 3.2 (lu), 4.2
                                       (cholesky), 5.2 (qr), 7.5 (eig), 8.3 (eigh), 8.6 (svd)

Functions such as ``exp`` and ``tanh`` take tens of operations each, how many is up to the back end: they are counted
apart, as *transcendentals*.

*Bytes* are those of the operands and results of an equation, each read or written once; a view (``reshape``,
``transpose``, ``slice``) moves none, a broadcast operand is as large as what was broadcast, and a fused group moves what goes
in and out of it. A ``scan`` counts as often as it runs, a ``cond`` as its most costly branch. How often a ``while``
runs nobody knows: it counts once, and the cost says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..core.ir import Atom, Eqn, Jaxpr, Literal, Var, subjaxprs
from ..core.types import Aval, is_inexact
from .buffers import nbytes
from .fusion import fusion

__all__ = ["PRODUCTS", "Cost", "equation_cost", "operand_bytes", "program_cost", "trip_count"]

#: Matrix products and convolutions.
PRODUCTS = frozenset(["conv_general_dilated", "dot_general"])

#: Elementwise primitives that only move, choose or reinterpret numbers.
_FREE = frozenset(["complex", "conj", "convert", "imag", "is_finite", "nextafter", "real", "select"])
#: Elementwise primitives that are one operation: what one costs on complex numbers.
_ARITHMETIC = {
    **dict.fromkeys([
        "add", "ceil", "eq", "floor", "floor_divide", "fmod", "ge", "gt", "le", "lt", "max", "min", "ne", "neg",
        "remainder", "round", "rsqrt", "sign", "sqrt", "sub",
    ], 2),
    "abs": 4,
    "div": 11,
    "mul": 6,
}  # fmt: skip
#: Results that are seen through their operand's memory.
_VIEWS = frozenset([
    "broadcast_in_dim", "guard", "imag", "optimization_barrier", "real", "reshape", "rev", "slice", "stop_gradient",
    "transpose",
])  # fmt: skip
_CALLBACKS = frozenset(["debug_callback", "pure_callback"])


@dataclass(frozen=True)
class Cost:
    """``flops``, ``transcendentals``, ``bytes_read`` and ``bytes_written``; costs are added by ``+``, repeated by ``*``.

    ``unbounded``: a while loop is counted once in it. ``unknown``: the primitives whose operations nobody counted:
    calls back into Python, primitives of users.
    """

    flops: int = 0
    transcendentals: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    unbounded: bool = False
    unknown: frozenset[str] = frozenset()

    @property
    def bytes(self) -> int:
        """All bytes moved."""
        return self.bytes_read + self.bytes_written

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.flops + other.flops,
            self.transcendentals + other.transcendentals,
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
            self.unbounded or other.unbounded,
            self.unknown | other.unknown,
        )

    def __mul__(self, times: int) -> Cost:
        return replace(
            self,
            flops=self.flops * times,
            transcendentals=self.transcendentals * times,
            bytes_read=self.bytes_read * times,
            bytes_written=self.bytes_written * times,
        )


def program_cost(jaxpr: Jaxpr) -> Cost:
    """The cost of one run of a program."""
    sizes = operand_bytes(jaxpr)
    total = Cost()
    for eqn in jaxpr.eqns:
        total = total + equation_cost(eqn, sizes)
    return total


def operand_bytes(jaxpr: Jaxpr) -> dict[Var, int]:
    """The bytes that must be read for a variable, where they are fewer than it has: it is a broadcast of others."""
    sizes: dict[Var, int] = {}
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "broadcast_in_dim" or (name in _VIEWS and eqn.inputs and eqn.inputs[0] in sizes):
            sizes[eqn.outputs[0]] = _bytes(eqn.inputs[0], sizes)
        elif name == "iota":
            sizes[eqn.outputs[0]] = 0
    return sizes


def trip_count(eqn: Eqn) -> int | None:
    """How often the bodies of a control equation run, None where only the run will tell."""
    if eqn.primitive.name == "scan":
        return int(eqn.params["length"])
    return None if eqn.primitive.name == "while" else 1


def equation_cost(eqn: Eqn, sizes: dict[Var, int] | None = None) -> Cost:
    """The cost of one equation. ``sizes``: the bytes of operands that are broadcasts (:func:`operand_bytes`)."""
    name = eqn.primitive.name
    if eqn.primitive is fusion:
        inner = program_cost(eqn.params["jaxpr"])
        read, written = _moved(eqn, sizes or {})
        return replace(inner, bytes_read=read, bytes_written=written)
    bodies = list(subjaxprs(eqn.params))
    if bodies:
        costs = [program_cost(body) for body in bodies]
        if name == "while":
            return replace(costs[0] + costs[1], unbounded=True)
        most = max(costs, key=lambda c: (c.flops + c.transcendentals, c.transcendentals, c.bytes))
        times = trip_count(eqn)
        return most * (1 if times is None else times)
    flops, transcendentals, unknown = _operations(eqn)
    read, written = (0, 0) if name in _VIEWS or name == "iota" else _moved(eqn, sizes or {})
    return Cost(flops, transcendentals, read, written, unknown=frozenset([name]) if unknown else frozenset())


def _bytes(atom: Atom, sizes: dict[Var, int]) -> int:
    return 0 if isinstance(atom, Literal) else sizes.get(atom, nbytes(atom.aval))


def _moved(eqn: Eqn, sizes: dict[Var, int]) -> tuple[int, int]:
    """The bytes that an equation reads and writes."""
    name = eqn.primitive.name
    written = sum(nbytes(v.aval) for v in eqn.outputs)
    if name in ("dynamic_slice", "gather"):
        # Of the operand, what is taken of it.
        rest = sum(_bytes(a, sizes) for a in eqn.inputs[1:])
        return rest + written, written
    inputs = dict.fromkeys(a for a in eqn.inputs if isinstance(a, Var))
    return sum(_bytes(a, sizes) for a in inputs), written


def _operations(eqn: Eqn) -> tuple[int, int, bool]:
    """Operations, transcendentals, and whether nobody knows."""
    name, avals = eqn.primitive.name, [a.aval for a in eqn.inputs]
    if name in _CALLBACKS:
        return 0, 0, True
    outputs = [v.aval for v in eqn.outputs]
    if not any(is_inexact(a.dtype) for a in [*avals, *outputs]):
        return 0, 0, False
    if eqn.primitive.elementwise:
        return *_elementwise(eqn), False
    rule = _RULES.get(name)
    if rule is None:
        return 0, 0, name not in _MOVES
    return int(rule(eqn, avals, outputs)), 0, False


def _elementwise(eqn: Eqn) -> tuple[int, int]:
    name, size = eqn.primitive.name, eqn.outputs[0].aval.size
    is_complex = eqn.inputs[0].aval.dtype.kind == "c"
    if name in _FREE:
        return 0, 0
    if name == "integer_pow":
        exponent: int = abs(eqn.params["y"])
        products = max(exponent.bit_length() + exponent.bit_count() - 2, 0)
        inverse = (11 if is_complex else 1) if eqn.params["y"] < 0 else 0
        return size * (products * (6 if is_complex else 1) + inverse), 0
    if name in _ARITHMETIC:
        return size * (_ARITHMETIC[name] if is_complex else 1), 0
    return 0, size


# A function a family: the equation and the types of its operands and results -------------------------------------------

Rule = Callable[[Eqn, Sequence[Aval], Sequence[Aval]], float]


def _is_complex(aval: Aval) -> bool:
    return aval.dtype.kind == "c"


def _dot(eqn: Eqn, avals: Sequence[Aval], outputs: Sequence[Aval]) -> int:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    depth: int = math.prod(avals[0].shape[axis] for axis in contracted)
    return (8 if _is_complex(outputs[0]) else 2) * outputs[0].size * depth


def _convolution(eqn: Eqn, avals: Sequence[Aval], outputs: Sequence[Aval]) -> int:
    return (8 if _is_complex(outputs[0]) else 2) * outputs[0].size * math.prod(avals[1].shape[1:])


def _reduction(eqn: Eqn, avals: Sequence[Aval], outputs: Sequence[Aval]) -> int:
    each = (6 if eqn.primitive.name == "reduce_prod" else 2) if _is_complex(avals[0]) else 1
    return each * max(avals[0].size - outputs[0].size, 0)


def _running(eqn: Eqn, avals: Sequence[Aval], outputs: Sequence[Aval]) -> int:
    n: int = avals[0].shape[eqn.params["axis"]]
    each = (6 if eqn.primitive.name == "cumprod" else 2) if _is_complex(avals[0]) else 1
    return each * (avals[0].size - avals[0].size // n) if n else 0


def _window(eqn: Eqn, avals: Sequence[Aval], outputs: Sequence[Aval]) -> int:
    covered: int = math.prod(eqn.params["window"])
    return (2 if _is_complex(avals[0]) else 1) * outputs[0].size * (covered - 1)


def _sort(eqn: Eqn, avals: Sequence[Aval], outputs: Sequence[Aval]) -> int:
    n = avals[0].shape[eqn.params["axis"]] if avals[0].ndim else 1
    return avals[0].size * (n - 1).bit_length() if n else 0


def _scatter(eqn: Eqn, avals: Sequence[Aval], outputs: Sequence[Aval]) -> int:
    if eqn.params["kind"] == "set":
        return 0
    each = (6 if eqn.params["kind"] == "mul" else 2) if _is_complex(avals[0]) else 1
    return each * avals[1].size


def _fft(eqn: Eqn, avals: Sequence[Aval], outputs: Sequence[Aval]) -> float:
    n, kind = eqn.params["n"], eqn.params["kind"]
    rows = math.prod(s for i, s in enumerate(avals[0].shape) if i != eqn.params["axis"])
    return rows * n * math.log2(n) * (2.5 if kind in ("rfft", "irfft") else 5) if n else 0


def _matrix(count: Callable[[int, int, Eqn], float]) -> Rule:
    """A rule for stacks of matrices (m, n), m >= n, from a polynomial of real operations; complex ones count 4."""

    def rule(eqn: Eqn, avals: Sequence[Aval], outputs: Sequence[Aval]) -> float:
        *stack, m, n = avals[0].shape
        return (4 if _is_complex(avals[0]) else 1) * math.prod(stack) * count(max(m, n), min(m, n), eqn)

    return rule


def _columns(eqn: Eqn) -> int:
    """The number of right-hand sides."""
    n = eqn.inputs[0].aval.shape[-1]
    rows, columns = eqn.inputs[1].aval.shape[-2:]
    return rows * columns // n if n else 0


def _svd(m: int, n: int, eqn: Eqn) -> float:
    return 14 * m * n**2 + 8 * n**3 if len(eqn.outputs) > 1 else 4 * m * n**2 - 4 * n**3 / 3


_RULES: dict[str, Rule] = {
    "conv_general_dilated": _convolution,
    "dot_general": _dot,
    **dict.fromkeys(["argmax", "argmin", "reduce_max", "reduce_min", "reduce_prod", "reduce_sum"], _reduction),
    **dict.fromkeys(["cummax", "cummin", "cumprod", "cumsum"], _running),
    **dict.fromkeys(["reduce_window_max", "reduce_window_sum"], _window),
    **dict.fromkeys(["argsort", "sort"], _sort),
    "scatter": _scatter,
    "fft": _fft,
    "cholesky": _matrix(lambda m, n, eqn: n**3 / 3),
    "lu": _matrix(lambda m, n, eqn: m * n**2 - n**3 / 3),
    "det": _matrix(lambda m, n, eqn: 2 * n**3 / 3),
    "slogdet": _matrix(lambda m, n, eqn: 2 * n**3 / 3),
    "qr": _matrix(lambda m, n, eqn: 4 * m * n**2 - 4 * n**3 / 3),
    "solve": _matrix(lambda m, n, eqn: 2 * n**3 / 3 + 2 * n**2 * _columns(eqn)),
    "triangular_solve": _matrix(lambda m, n, eqn: n**2 * _columns(eqn)),
    "eigh": _matrix(lambda m, n, eqn: 9 * n**3 if len(eqn.outputs) > 1 else 4 * n**3 / 3),
    "eig": _matrix(lambda m, n, eqn: 25 * n**3 if len(eqn.outputs) > 1 else 10 * n**3),
    "svd": _matrix(_svd),
    "cofactor": _matrix(lambda m, n, eqn: 14 * n**3 + 8 * n**3 + 2 * n**3),
    "pinv": _matrix(lambda m, n, eqn: 14 * m * n**2 + 8 * n**3 + 2 * m * n**2),
}
#: Primitives that move numbers and compute none.
_MOVES = _VIEWS | {
    "all_gather", "axis_index", "concatenate", "copy", "dynamic_slice", "dynamic_update_slice", "gather", "iota", "pad",
    "pmax", "psum", "reduce_and", "reduce_or", "use_key",
}  # fmt: skip
