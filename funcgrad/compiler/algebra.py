"""Local algebra: a table of rules, from a primitive to simpler forms of its applications; here those of numbers and truth,
in :mod:`.movement` those of shapes.

The same value is meant strictly: ``x * 1`` is x, but ``x + 0.0`` is not where x is -0.0, and ``x * 0`` is not
where x is NaN. Complex products are left alone: (inf + 0i) * 1 has a NaN in NumPy's arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.ir import Atom, Literal, Var
from ..core.types import Aval
from ..primitives import add, broadcast_in_dim, convert, gt, max_, mul, neg, pad, select, sub
from .movement import MOVEMENT
from .rules import Inputs, Params, Rule, involution, is_real

if TYPE_CHECKING:
    from .rewrite import Rewriter

__all__ = ["RULES"]


def _is(atom: Atom, number: float) -> bool:
    """Whether an operand is the literal ``number``, of the same sign where it is zero."""
    if not isinstance(atom, Literal) or atom.value != number:
        return False
    return number != 0 or atom.aval.dtype.kind != "f" or bool(np.signbit(atom.value) == np.signbit(number))


def _whole(x: Atom, other: Atom) -> bool:
    """Whether x has the shape of an operation on both."""
    return bool(x.aval.shape) or not other.aval.shape


# Arithmetic -----------------------------------------------------------------------------------------------------------


def _add(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    if not is_real(x):
        return None
    zero = -0.0 if x.aval.dtype.kind == "f" else 0
    for a, b in ((x, y), (y, x)):
        if _is(b, zero) and _whole(a, b):
            return a
        negated = r.definition(b, "neg")
        if negated is not None and x.aval.dtype.kind != "u":
            return r.apply(sub, a, negated.inputs[0])
    # Zeros around both: 0 + 0 is 0, so they can be put around the sum.
    left, right = r.definition(x, "pad"), r.definition(y, "pad")
    if left is None or right is None or left.params != right.params:
        return None
    if _is(left.inputs[1], 0.0) and _is(right.inputs[1], 0.0):
        return r.apply(pad, r.apply(add, left.inputs[0], right.inputs[0]), left.inputs[1], **left.params)
    return None


def _sub(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    if not is_real(x):
        return None
    if _is(y, 0.0) and _whole(x, y):
        return x
    negated = r.definition(y, "neg")
    return r.apply(add, x, negated.inputs[0]) if negated is not None else None


def _mul(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    if not is_real(x):
        return None
    for a, b in ((x, y), (y, x)):
        if _is(b, 1) and _whole(a, b):
            return a
        if x.aval.dtype.kind == "f":
            if _is(b, -1) and _whole(a, b):
                return r.apply(neg, a)
            if not isinstance(b, Literal):
                continue
            negated = r.definition(a, "neg")
            if negated is not None:
                return r.apply(mul, negated.inputs[0], Literal(-b.value, b.aval))
            scaled = r.definition(a, "mul")
            if scaled is not None and abs(b.value) >= 1:
                for c, d in (scaled.inputs, scaled.inputs[::-1]):
                    if isinstance(c, Literal) and _is_scale(c.value) and np.isfinite(b.value * c.value):
                        return r.apply(mul, d, Literal(b.value * c.value, b.aval))
    return None


def _is_scale(value: Any) -> bool:
    """A power of two of at least 1: a product with it is exact or overflows, and then any larger one does too."""
    return bool(abs(value) >= 1 and abs(np.frexp(value)[0]) == 0.5)


def _div(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    if x.aval.dtype.kind != "f" or not isinstance(y, Literal):
        return None
    if _is(y, 1) and _whole(x, y):
        return x
    # The reciprocal of a power of two is exact, and a product is cheaper than a quotient.
    mantissa, exponent = np.frexp(y.value)
    info = np.finfo(y.aval.dtype)
    if abs(mantissa) == 0.5 and info.minexp + 2 < exponent < info.maxexp - 2:
        return r.apply(mul, x, Literal(y.value.dtype.type(1) / y.value, y.aval))
    return None


def _neg(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    (x,) = inputs
    inner = r.definition(x, "neg")
    if inner is not None:
        return inner.inputs[0]
    product = r.definition(x, "mul")
    if product is not None and x.aval.dtype.kind == "f":
        a, b = product.inputs
        if isinstance(a, Literal):
            return r.apply(mul, Literal(-a.value, a.aval), b)
        if isinstance(b, Literal):
            return r.apply(mul, a, Literal(-b.value, b.aval))
    return None


def _integer_pow(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    return inputs[0] if params["y"] == 1 else None


def _part(index: int) -> Rule:
    """The real or the imaginary part of what was put together from parts."""

    def rule(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
        whole = r.definition(inputs[0], "complex")
        if whole is None:
            return None
        part, other = whole.inputs[index], whole.inputs[1 - index]
        return part if _whole(part, other) else None

    return rule


def _lossless(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """Whether every value of one dtype is a value of the other."""
    if source.kind in "iu" and target.kind in "fc" and source.itemsize >= 4:
        return source.itemsize == 4 and target in (np.float64, np.complex128)
    return np.can_cast(source, target, "safe")


def _everywhere(r: Rewriter, value: Literal, inputs: Inputs) -> Atom:
    """A literal in the shape of an operation."""
    shape = next((a.aval.shape for a in inputs if a.aval.shape), ())
    return r.apply(broadcast_in_dim, value, shape=shape, dims=()) if shape else value


def _bitwise(neutral: bool, absorbing: bool) -> Rule:
    """Whether all bits are set in the operand that changes nothing, and in the one that decides."""

    def rule(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
        x, y = inputs
        if x is y:
            return x
        for a, b in ((x, y), (y, x)):
            if not isinstance(b, Literal):
                continue
            if b.value == _bits(b, absorbing):
                return _everywhere(r, Literal(b.value, b.aval.strong()), inputs)
            if b.value == _bits(b, neutral) and _whole(a, b):
                return a
        return None

    return rule


def _bits(atom: Atom, ones: bool) -> Any:
    """The number of a dtype that has all bits, or none."""
    zero = atom.aval.dtype.type(0)
    return ~zero if ones else zero


def _xor(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    if x is y:
        return _everywhere(r, Literal(_bits(x, False), Aval((), x.aval.dtype)), inputs)
    for a, b in ((x, y), (y, x)):
        if isinstance(b, Literal) and b.value == 0 and _whole(a, b):
            return a
    return None


def _convert(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    (x,) = inputs
    dtype = params["dtype"]
    if x.aval.dtype == dtype:
        return x
    inner = r.definition(x, "convert")
    if inner is not None and _lossless(inner.inputs[0].aval.dtype, x.aval.dtype):
        source = inner.inputs[0].aval.dtype
        # To a boolean or an integer, both ways must cast alike.
        if dtype == source or dtype.kind in "fcb" or (source.kind in "biu" and x.aval.dtype.kind in "biu"):
            return r.apply(convert, inner.inputs[0], dtype=dtype)
    return None


def _select(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    pred, on_true, on_false = inputs
    if isinstance(pred, Literal):
        chosen = on_true if pred.value else on_false
        shape = next((a.aval.shape for a in inputs if a.aval.shape), ())
        return chosen if chosen.aval.shape == shape else r.apply(broadcast_in_dim, chosen, shape=shape, dims=())
    if on_true is on_false and _whole(on_true, pred):
        return on_true
    negated = r.definition(pred, "not")
    if negated is not None:
        return r.apply(select, negated.inputs[0], on_false, on_true)
    return None


def _gt(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    """x > 0 is max(x, 0) > 0, NaN included: beside a rectified x, x itself need not be kept."""
    x, y = inputs
    if not isinstance(x, Var) or not _is(y, 0) or not is_real(x):
        return None
    rectified = r.known(max_, x, y)
    return r.apply(gt, rectified, y) if rectified is not None else None


def _copy(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    return inputs[0]


RULES: dict[str, Rule] = {
    **MOVEMENT,
    "add": _add,
    "and": _bitwise(True, False),
    "conj": involution("conj"),
    "convert": _convert,
    "copy": _copy,
    "div": _div,
    "gt": _gt,
    "imag": _part(1),
    "integer_pow": _integer_pow,
    "mul": _mul,
    "neg": _neg,
    "not": involution("not"),
    "or": _bitwise(False, True),
    "real": _part(0),
    "select": _select,
    "sub": _sub,
    "xor": _xor,
}
