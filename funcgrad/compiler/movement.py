"""Local algebra of what moves, reduces and contracts arrays: further rules of the table of :mod:`.algebra`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.ir import Atom
from ..primitives import broadcast_in_dim, dot_general, mul, reshape, slice_, transpose
from .rules import Inputs, Params, Rule, involution, is_real

if TYPE_CHECKING:
    from .rewrite import Rewriter

__all__ = ["MOVEMENT"]

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
    return involution("rev")(r, inputs, params)


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
    if is_real(inputs[0]) and all(inputs[0].aval.shape[i] == 1 for i in contract[0]):
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


MOVEMENT: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "dot_general": _dot,
    "pad": _pad,
    "reduce_and": _idempotent,
    "reduce_max": _idempotent,
    "reduce_min": _idempotent,
    "reduce_or": _idempotent,
    "reduce_prod": _reduce,
    "reduce_sum": _reduce,
    "reshape": _reshape,
    "rev": _rev,
    "slice": _slice,
    "transpose": _transpose,
}
