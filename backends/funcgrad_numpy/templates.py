"""How generated programs write each primitive: Python operators, methods and ufuncs, each the cheapest exact form.

A template takes the equation, the texts of its operands and the name of its result. It answers an expression; or a
tuple of statements, which assign the result; or None, to have the function of the table of operations called instead.
A literal operand is written as a Python number where its dtype follows from the other operands.

Why which form: on arrays of a few elements ``x.dot(y)`` takes half the time of ``x @ y``, ``np.add.reduce`` a third of
``np.sum``, and a method half of the NumPy function of the same name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcgrad.compiler.fusion import MOVES, REDUCTIONS
from funcgrad.core.ir import Eqn
from funcgrad.primitives.elementwise import ELEMENTWISE

from .donation import taken
from .ops import HELPERS, UFUNCS
from .pool import fresh
from .threads import in_blocks

__all__ = ["FUSABLE", "INPLACE", "NAMESPACE", "PAIRS", "TEMPLATES", "WEAK_LITERALS", "may_alias"]

Template = Callable[[Eqn, Sequence[str], str], "str | tuple[str, ...] | None"]

_OPERATORS = {
    "add": "{} + {}",
    "and": "{} & {}",
    "div": "{} / {}",
    "eq": "{} == {}",
    "floor_divide": "{} // {}",
    "ge": "{} >= {}",
    "gt": "{} > {}",
    "le": "{} <= {}",
    "lt": "{} < {}",
    "mul": "{} * {}",
    "ne": "{} != {}",
    "neg": "-{}",
    "or": "{} | {}",
    "remainder": "{} % {}",
    "rsqrt": "1 / sqrt({})",
    "shift_left": "{} << {}",
    "shift_right": "{} >> {}",
    "sub": "{} - {}",
    "xor": "{} ^ {}",
}

_FUNCTIONS = (
    "arange array concatenate copyto dtype empty full logical_and logical_or matmul ones square where zeros".split()  # noqa: SIM905
)
_DTYPES = """bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64
complex128""".split()  # noqa: SIM905

#: What generated programs may name.
NAMESPACE: dict[str, Any] = {
    **{u.__name__: u for u in UFUNCS.values()},
    **{h.__name__: h for h in HELPERS.values()},
    **{name: getattr(np, name) for name in (*_FUNCTIONS, *_DTYPES)},
    "fresh": fresh,
    "in_blocks": in_blocks,
    "taken": taken,
}

#: Primitives whose function takes ``out=``.
INPLACE: dict[str, str] = {
    **{name: u.__name__ for name, u in UFUNCS.items()},
    "dynamic_update_slice": "dynamic_update_slice",
    "scatter": "scatter",
}

#: Primitives in which a Python number has the same effect as a scalar of the right dtype.
WEAK_LITERALS = frozenset(
    [*UFUNCS, *_OPERATORS, "broadcast_in_dim", "dynamic_slice", "dynamic_update_slice", "gather", "pad", "scatter"]
)

#: What may stand in a loop over blocks: elementwise operations, reductions, broadcasts.
FUSABLE = (frozenset(ELEMENTWISE) | REDUCTIONS | MOVES) - {"complex", "imag", "real"}

_VIEWS = frozenset(
    ["dynamic_slice", "imag", "optimization_barrier", "pure_callback", "real", "reshape", "rev", "slice", "transpose"]
)


def may_alias(eqn: Eqn) -> bool:
    """Whether the result may share memory with the first operand, or of a choice with any."""
    name = eqn.primitive.name
    if name in _VIEWS or _adds_axes(eqn):
        return True
    if name == "gather":
        return not eqn.inputs[1].aval.shape
    return name == "select" and not eqn.outputs[0].aval.shape


def _adds_axes(eqn: Eqn) -> bool:
    """Whether an equation is a broadcast that repeats nothing: it only adds axes of size 1."""
    x = eqn.inputs[0].aval if eqn.primitive.name == "broadcast_in_dim" else None
    return x is not None and bool(x.shape) and x.size == eqn.outputs[0].aval.size


def dtype_text(dtype: np.dtype[Any]) -> str:
    """The name of a dtype in generated programs."""
    return "bool_" if dtype.kind == "b" else dtype.name


def _operator(form: str) -> Template:
    return lambda eqn, operands, target: form.format(*operands)


def _call(name: str) -> Template:
    return lambda eqn, operands, target: f"{name}({', '.join(operands)})"


def _ints(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _tuple(values: Sequence[int]) -> str:
    return f"({values[0]},)" if len(values) == 1 else f"({_ints(values)})"


def _not(eqn: Eqn, operands: Sequence[str], target: str) -> str:
    return f"~{operands[0]}" if eqn.inputs[0].aval.shape else f"invert({operands[0]})"


def _select(eqn: Eqn, operands: Sequence[str], target: str) -> str:
    pred, on_true, on_false = operands
    if not eqn.outputs[0].aval.shape:
        return f"{on_true} if {pred} else {on_false}"
    return f"where({pred}, {on_true}, {on_false})"


def _integer_pow(eqn: Eqn, operands: Sequence[str], target: str) -> str | None:
    (x,), y = operands, eqn.params["y"]
    if y == 2:
        return f"square({x})" if eqn.inputs[0].aval.shape else f"{x} * {x}"
    if y == 3:
        return f"{x} * ({x} * {x})"
    return f"1 / {x}" if y == -1 else None


def _convert(eqn: Eqn, operands: Sequence[str], target: str) -> str:
    dtype, x = eqn.params["dtype"], eqn.inputs[0].aval
    if not x.shape and dtype.kind in "fcb":
        return f"{dtype_text(dtype)}({operands[0]})"
    return f"{operands[0]}.astype({dtype_text(dtype)})"


# Structure ------------------------------------------------------------------------------------------------------------


def _reshape(eqn: Eqn, operands: Sequence[str], target: str) -> str:
    shape = eqn.params["shape"]
    if not shape:
        return f"{operands[0]}[{_ints([0] * eqn.inputs[0].aval.ndim)}]"
    return f"{operands[0]}.reshape({_ints(shape)})"


def _transpose(eqn: Eqn, operands: Sequence[str], target: str) -> str:
    axes = tuple(eqn.params["axes"])
    if axes == tuple(reversed(range(len(axes)))):
        return f"{operands[0]}.T"
    return f"{operands[0]}.transpose({_ints(axes)})"


def _rev(eqn: Eqn, operands: Sequence[str], target: str) -> str:
    axes = eqn.params["axes"]
    return f"{operands[0]}[{', '.join('::-1' if i in axes else ':' for i in range(max(axes) + 1))}]"


def _slices(eqn: Eqn) -> list[str]:
    """The text of the slice of each axis; ``:`` for all of it."""
    texts = []
    for start, limit, stride, n in zip(
        eqn.params["start"], eqn.params["limit"], eqn.params["stride"], eqn.inputs[0].aval.shape
    ):
        stop = "" if limit == n else str(limit - n) if limit == n - 1 and limit > start else str(limit)
        texts.append(f"{start or ''}:{stop}" + (f":{stride}" if stride != 1 else ""))
    return texts


def _index(x: str, texts: list[str]) -> str:
    while len(texts) > 1 and texts[-1] == ":":
        texts.pop()
    return f"{x}[{', '.join(texts)}]"


def _slice(eqn: Eqn, operands: Sequence[str], target: str) -> str:
    return _index(operands[0], _slices(eqn))


def _squeezed_slice(slice_eqn: Eqn, eqn: Eqn, operands: Sequence[str]) -> str | None:
    """``x[0, 1:]``: a slice whose axes of size 1 are dropped by the reshape that follows."""
    sliced, shape = slice_eqn.outputs[0].aval.shape, list(eqn.params["shape"])
    texts = []
    for n, start, text in zip(sliced, slice_eqn.params["start"], _slices(slice_eqn)):
        if n == 1 and (not shape or shape[0] != 1):
            texts.append(str(start))
        elif shape and shape[0] == n:
            texts.append(text)
            shape.pop(0)
        else:
            return None
    return None if shape else _index(operands[0], texts)


def _pad(eqn: Eqn, operands: Sequence[str], target: str) -> tuple[str, ...] | None:
    x, config, aval = eqn.inputs[0].aval, eqn.params["config"], eqn.outputs[0].aval
    if any(low < 0 or high < 0 for low, high, _ in config) or not x.size:
        return None
    texts = []
    for n, size, (low, high, interior) in zip(x.shape, aval.shape, config):
        if interior and n > 1:
            texts.append(f"{low or ''}:{low + (n - 1) * (interior + 1) + 1}:{interior + 1}")
        else:
            texts.append(f"{low or ''}:{-high if high == 1 else low + n if low + n != size else ''}")
    return _filled(eqn, operands[1], target), f"{_index(target, texts)} = {operands[0]}"


def _filled(eqn: Eqn, value: str, target: str) -> str:
    """The statement that makes a new array for the result, filled with a value of rank 0: the last operand."""
    aval = eqn.outputs[0].aval
    number = getattr(eqn.inputs[-1], "value", None)
    dtype = "" if aval.dtype == np.float64 else f", {dtype_text(aval.dtype)}"
    shape = aval.shape[0] if len(aval.shape) == 1 else aval.shape
    if number is not None and number == 0 and not np.signbit(np.real(number)):
        return f"{target} = zeros({shape}{dtype})"
    if number is not None and number == 1:
        return f"{target} = ones({shape}{dtype})"
    return f"{target} = full({shape}, {value}{dtype})"


def _broadcast(eqn: Eqn, operands: Sequence[str], target: str) -> str | None:
    if _adds_axes(eqn):
        return f"{operands[0]}.reshape({_ints(eqn.params['shape'])})"
    if eqn.inputs[0].aval.shape:
        return None
    return _filled(eqn, operands[0], target).partition(" = ")[2]


def _concatenate(eqn: Eqn, operands: Sequence[str], target: str) -> str:
    listed = f"({operands[0]},)" if len(operands) == 1 else f"({', '.join(operands)})"
    axis = eqn.params["axis"]
    return f"concatenate({listed}{f', {axis}' if axis else ''})"


def _iota(eqn: Eqn, operands: Sequence[str], target: str) -> str | None:
    shape, dtype = eqn.params["shape"], eqn.params["dtype"]
    if len(shape) != 1 or dtype.kind not in "iuf":
        return None
    return f"arange({shape[0]}{f', dtype={dtype_text(dtype)}' if dtype != np.int64 else ''})"


def _barrier(eqn: Eqn, operands: Sequence[str], target: str) -> str:
    return f"({', '.join(operands)},)"


# Reduction ------------------------------------------------------------------------------------------------------------


def _reduce(ufunc: str, promotes: bool = False) -> Template:
    """``ufunc.reduce``. Sums and products of small integers would be promoted, unless told the dtype."""

    def template(eqn: Eqn, operands: Sequence[str], target: str) -> str:
        x, axes = eqn.inputs[0].aval, tuple(eqn.params["axes"])
        dtype = f", {dtype_text(x.dtype)}" if promotes and x.dtype.kind in "biu" and x.dtype.itemsize < 8 else ""
        if not axes:
            return f"{operands[0]}.copy()"
        if axes == (0,):
            return f"{ufunc}.reduce({operands[0]}{', 0' + dtype if dtype else ''})"
        if len(axes) == x.ndim:
            return f"{ufunc}.reduce({operands[0]}, None{dtype})"
        return f"{ufunc}.reduce({operands[0]}, {axes[0] if len(axes) == 1 else _tuple(axes)}{dtype})"

    return template


def _running(ufunc: str) -> Template:
    def template(eqn: Eqn, operands: Sequence[str], target: str) -> str | None:
        if eqn.params.get("reverse", False):
            return None
        return f"{ufunc}.accumulate({operands[0]}, {eqn.params['axis']}, {dtype_text(eqn.inputs[0].aval.dtype)})"

    return template


def _arg(method: str) -> Template:
    return lambda eqn, operands, target: f"{operands[0]}.{method}({eqn.params['axis']})"


# Indexing and contraction ---------------------------------------------------------------------------------------------


def _gather(eqn: Eqn, operands: Sequence[str], target: str) -> str | None:
    axes = tuple(eqn.params["axes"])
    if axes == (0,) and eqn.inputs[1].aval.shape:
        return f"{operands[0]}.take({operands[1]}, 0)"
    if axes == tuple(range(len(axes))):
        return f"{operands[0]}[{', '.join(operands[1:])}]"
    return None


def _dot(eqn: Eqn, operands: Sequence[str], target: str) -> str | None:
    x, y = (a.aval for a in eqn.inputs)
    (xc, yc), (xb, yb) = eqn.params["dimension_numbers"]
    a, b = operands
    if not xc and not xb and x.ndim <= 1 and y.ndim <= 1:
        return f"{a}[:, None] * {b}" if x.ndim and y.ndim else f"{a} * {b}"
    if x.dtype == np.float16 or len(xc) != 1:
        return None
    (i,), (j,) = xc, yc
    if not xb:
        if x.ndim == 2 and i == 0:
            a = f"{a}.T"
        if y.ndim == 2 and j == 1:
            b = f"{b}.T"
        if x.ndim <= 2 and y.ndim <= 2:
            return f"{a}.dot({b})"
        if i == x.ndim - 1 and y.ndim <= 2:
            flat = f"{a}.reshape({math.prod(x.shape[:-1])}, {x.shape[-1]})"
            return f"{flat}.dot({b}).reshape({_ints(eqn.outputs[0].aval.shape)})"
        return None
    batch = tuple(range(len(xb)))
    if tuple(xb) != batch or tuple(yb) != batch or x.ndim != len(batch) + 2 or y.ndim != len(batch) + 2:
        return None
    if i == x.ndim - 2:
        a = f"{a}.swapaxes(-1, -2)"
    if j == y.ndim - 1:
        b = f"{b}.swapaxes(-1, -2)"
    return f"matmul({a}, {b})"


TEMPLATES: dict[str, Template] = {
    **{name: _call(u.__name__) for name, u in UFUNCS.items()},
    **{name: _operator(form) for name, form in _OPERATORS.items()},
    "argmax": _arg("argmax"),
    "argmin": _arg("argmin"),
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conj": _operator("{}.conj()"),
    "convert": _convert,
    "copy": _operator("{}.copy()"),
    "cummax": _running("maximum"),
    "cummin": _running("minimum"),
    "cumprod": _running("multiply"),
    "cumsum": _running("add"),
    "dot_general": _dot,
    "gather": _gather,
    "imag": _operator("{}.imag"),
    "integer_pow": _integer_pow,
    "iota": _iota,
    "not": _not,
    "optimization_barrier": _barrier,
    "pad": _pad,
    "real": _operator("{}.real"),
    "reduce_and": _reduce("logical_and"),
    "reduce_max": _reduce("maximum"),
    "reduce_min": _reduce("minimum"),
    "reduce_or": _reduce("logical_or"),
    "reduce_prod": _reduce("multiply", promotes=True),
    "reduce_sum": _reduce("add", promotes=True),
    "reshape": _reshape,
    "rev": _rev,
    "select": _select,
    "slice": _slice,
    "transpose": _transpose,
}

#: Two equations in one expression, where the first result is used by the second only.
PAIRS: dict[tuple[str, str], Callable[[Eqn, Eqn, Sequence[str]], str | None]] = {
    ("slice", "reshape"): _squeezed_slice,
}
