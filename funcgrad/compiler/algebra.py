"""Local algebra: a table of rules, from a primitive to simpler forms of its applications.

A rule gets the rewriter, the operands and the parameters, and answers an atom of the same type and the same value, or
None. The same value is meant strictly: ``x * 1`` is x, but ``x + 0.0`` is not where x is -0.0, and ``x * 0`` is not
where x is NaN. Complex products are left alone: (inf + 0i) * 1 has a NaN in NumPy's arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.ir import Atom, Literal, Var
from ..primitives import (
    add,
    broadcast_in_dim,
    convert,
    dot_general,
    gt,
    max_,
    mul,
    neg,
    pad,
    reshape,
    select,
    slice_,
    sub,
    transpose,
)

if TYPE_CHECKING:
    from .rewrite import Rewriter

__all__ = ["RULES", "Rule"]

Rule = Callable[["Rewriter", Sequence[Atom], dict[str, Any]], "Atom | None"]
Inputs = Sequence[Atom]
Params = dict[str, Any]


def _is(atom: Atom, number: float) -> bool:
    """Whether an operand is the literal ``number``, of the same sign where it is zero."""
    if not isinstance(atom, Literal) or atom.value != number:
        return False
    return number != 0 or atom.aval.dtype.kind != "f" or bool(np.signbit(atom.value) == np.signbit(number))


def _is_real(atom: Atom) -> bool:
    return atom.aval.dtype.kind in "iuf"


def _whole(x: Atom, other: Atom) -> bool:
    """Whether x has the shape of an operation on both."""
    return bool(x.aval.shape) or not other.aval.shape


# Arithmetic -----------------------------------------------------------------------------------------------------------


def _add(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    if not _is_real(x):
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
    if not _is_real(x):
        return None
    if _is(y, 0.0) and _whole(x, y):
        return x
    negated = r.definition(y, "neg")
    return r.apply(add, x, negated.inputs[0]) if negated is not None else None


def _mul(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    if not _is_real(x):
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


def _involution(name: str) -> Rule:
    """Applied twice it is the identity."""

    def rule(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
        inner = r.definition(inputs[0], name)
        return inner.inputs[0] if inner is not None and inner.params == params else None

    return rule


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
    if not isinstance(x, Var) or not _is(y, 0) or not _is_real(x):
        return None
    rectified = r.known(max_, x, y)
    return r.apply(gt, rectified, y) if rectified is not None else None


def _copy(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    return inputs[0]


# Structure ------------------------------------------------------------------------------------------------------------


def _scalar_broadcast(r: Rewriter, x: Atom) -> Atom | None:
    """The scalar that is everywhere in x."""
    eqn = r.definition(x, "broadcast_in_dim")
    return eqn.inputs[0] if eqn is not None and not eqn.inputs[0].aval.shape else None


def _broadcast(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    (x,) = inputs
    shape, dims = tuple(params["shape"]), tuple(params["dims"])
    if x.aval.shape == shape:
        return x
    inner = r.definition(x, "broadcast_in_dim")
    if inner is not None:
        composed = tuple(dims[d] for d in inner.params["dims"])
        return r.apply(broadcast_in_dim, inner.inputs[0], shape=shape, dims=composed)
    if x.aval.shape and x.aval.size == 1 < math.prod(shape):
        return r.apply(broadcast_in_dim, r.apply(reshape, x, shape=()), shape=shape, dims=())
    return None


def _reshape(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    (x,) = inputs
    shape = tuple(params["shape"])
    if x.aval.shape == shape:
        return x
    inner = r.definition(x, "reshape")
    if inner is not None:
        return r.apply(reshape, inner.inputs[0], shape=shape)
    spread = r.definition(x, "broadcast_in_dim")
    if spread is not None and spread.inputs[0].aval.size == x.aval.size:
        return r.apply(reshape, spread.inputs[0], shape=shape)
    dims = _aligned(x.aval.shape, shape)
    if dims is not None:
        return r.apply(broadcast_in_dim, x, shape=shape, dims=dims)
    return _spread(r, x, shape)


def _aligned(shape: tuple[int, ...], longer: tuple[int, ...]) -> tuple[int, ...] | None:
    """Where the axes of a shape are in one that has further axes of size 1, so that a reshape is a broadcast."""
    dims: list[int] = []
    for d, n in enumerate(longer):
        if len(dims) < len(shape) and shape[len(dims)] == n:
            dims.append(d)
        elif n != 1:
            return None
    return tuple(dims) if len(dims) == len(shape) else None


def _spread(r: Rewriter, x: Atom, shape: tuple[int, ...]) -> Atom | None:
    """A movement of a broadcast scalar is a broadcast of the scalar."""
    scalar = _scalar_broadcast(r, x)
    if scalar is None:
        return None
    return scalar if not shape else r.apply(broadcast_in_dim, scalar, shape=shape, dims=())


def _transpose(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    (x,) = inputs
    axes = tuple(params["axes"])
    if axes == tuple(range(len(axes))):
        return x
    inner = r.definition(x, "transpose")
    if inner is not None:
        return r.apply(transpose, inner.inputs[0], axes=tuple(inner.params["axes"][i] for i in axes))
    product = r.definition(x, "dot_general")
    if product is not None and axes == (1, 0):
        a, b = product.inputs
        (ac, bc), (ab, bb) = product.params["dimension_numbers"]
        if not ab and a.aval.ndim - len(ac) == 1:
            return r.apply(dot_general, b, a, dimension_numbers=((bc, ac), (bb, ab)))
    outer = r.definition(x, "mul")
    if outer is not None:
        factors = [_transposed_broadcast(r, a, axes) for a in outer.inputs]
        return r.apply(mul, *factors) if None not in factors else None  # type: ignore[arg-type]
    return _transposed_broadcast(r, x, axes)


def _transposed_broadcast(r: Rewriter, x: Atom, axes: tuple[int, ...]) -> Atom | None:
    """The transpose of a broadcast as a broadcast, where the axes of its operand keep their order."""
    spread = r.definition(x, "broadcast_in_dim")
    if spread is not None:
        moved = tuple(axes.index(d) for d in spread.params["dims"])
        if list(moved) == sorted(moved):
            shape = tuple(x.aval.shape[i] for i in axes)
            return r.apply(broadcast_in_dim, spread.inputs[0], shape=shape, dims=moved)
    return None


def _slice(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    (x,) = inputs
    start, limit, stride = params["start"], params["limit"], params["stride"]
    shape = tuple(max(-(-(b - a) // s), 0) for a, b, s in zip(start, limit, stride))
    if shape == x.aval.shape:
        return x
    inner = r.definition(x, "slice")
    if inner is not None and 0 not in shape:
        first, step = inner.params["start"], inner.params["stride"]
        composed = {
            "start": tuple(f + a * s for f, a, s in zip(first, start, step)),
            "limit": tuple(f + (a + (n - 1) * t) * s + 1 for f, a, n, t, s in zip(first, start, shape, stride, step)),
            "stride": tuple(s * t for s, t in zip(step, stride)),
        }
        return r.apply(slice_, inner.inputs[0], **composed)
    spread = r.definition(x, "broadcast_in_dim")
    if spread is None:
        return None
    # Part of a broadcast is a broadcast of a part.
    source, dims = spread.inputs[0], spread.params["dims"]
    if source.aval.shape:
        kept = [(start[d], limit[d], stride[d]) if n == x.aval.shape[d] else (0, n, 1)
                for n, d in zip(source.aval.shape, dims)]  # fmt: skip
        first, last, step = zip(*kept)
        source = r.apply(slice_, source, start=first, limit=last, stride=step)
    return r.apply(broadcast_in_dim, source, shape=shape, dims=dims) if shape else source


def _rev(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    (x,) = inputs
    if not params["axes"] or _scalar_broadcast(r, x) is not None:
        return x
    return _involution("rev")(r, inputs, params)


def _pad(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    return inputs[0] if all(tuple(c) == (0, 0, 0) for c in params["config"]) else None


def _concatenate(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    return inputs[0] if len(inputs) == 1 else None


# Reduction and contraction --------------------------------------------------------------------------------------------


def _reduce(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    """A reduction of single elements gives the elements."""
    (x,) = inputs
    axes = params["axes"]
    if not axes:
        return x
    if all(x.aval.shape[i] == 1 for i in axes):
        return r.apply(reshape, x, shape=tuple(n for i, n in enumerate(x.aval.shape) if i not in axes))
    return None


def _idempotent(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    """So does a reduction of equal elements, if it is one of those that give one of them."""
    (x,) = inputs
    if params["axes"] and x.aval.size:
        shape = tuple(n for i, n in enumerate(x.aval.shape) if i not in params["axes"])
        spread = _spread(r, x, shape)
        if spread is not None:
            return spread
    return _reduce(r, inputs, params)


def _dot(r: Rewriter, inputs: Inputs, params: Params) -> Atom | None:
    """A contraction takes the axes in any order, so a transposed operand need not be transposed."""
    contract, batch = (list(p) for p in params["dimension_numbers"])
    operands = list(inputs)
    if _is_real(inputs[0]) and all(inputs[0].aval.shape[i] == 1 for i in contract[0]):
        return _outer(r, inputs, contract, batch)
    changed = False
    for i, x in enumerate(inputs):
        eqn = r.definition(x, "transpose")
        if eqn is None or x.aval.ndim - len(contract[i]) - len(batch[i]) > 1:
            continue
        axes = eqn.params["axes"]
        operands[i] = eqn.inputs[0]
        contract[i] = tuple(axes[d] for d in contract[i])
        batch[i] = tuple(axes[d] for d in batch[i])
        changed = True
    if not changed:
        return None
    return r.apply(dot_general, *operands, dimension_numbers=(tuple(contract), tuple(batch)))


def _outer(r: Rewriter, inputs: Inputs, contract: Sequence[Sequence[int]], batch: Sequence[Sequence[int]]) -> Atom:
    """With nothing to add up it is a product of broadcasts, which may become a part of what reads it."""
    ordered: list[Atom] = []
    for x, summed, shared in zip(inputs, contract, batch):
        free = [i for i in range(x.aval.ndim) if i not in summed and i not in shared]
        x = r.apply(transpose, x, axes=(*shared, *free, *summed))
        ordered.append(r.apply(reshape, x, shape=x.aval.shape[: x.aval.ndim - len(summed)]))
    (a, b), count = ordered, len(batch[0])
    shape = (*a.aval.shape, *b.aval.shape[count:])
    dims = tuple(range(a.aval.ndim)), (*range(count), *range(a.aval.ndim, len(shape)))
    return r.apply(mul, *[r.apply(broadcast_in_dim, x, shape=shape, dims=d) for x, d in zip(ordered, dims)])


RULES: dict[str, Rule] = {
    "add": _add,
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conj": _involution("conj"),
    "convert": _convert,
    "copy": _copy,
    "div": _div,
    "dot_general": _dot,
    "gt": _gt,
    "imag": _part(1),
    "integer_pow": _integer_pow,
    "mul": _mul,
    "neg": _neg,
    "not": _involution("not"),
    "pad": _pad,
    "real": _part(0),
    "reduce_and": _idempotent,
    "reduce_max": _idempotent,
    "reduce_min": _idempotent,
    "reduce_or": _idempotent,
    "reduce_prod": _reduce,
    "reduce_sum": _reduce,
    "reshape": _reshape,
    "rev": _rev,
    "select": _select,
    "slice": _slice,
    "sub": _sub,
    "transpose": _transpose,
}
