"""Products of arrays: dot, matmul, tensordot, einsum and their relatives.

All of them are the contraction of two arrays with labelled axes (:func:`contract`): a label that both have and the
result has not is summed over, one that all three have is a batch axis. Where something is summed over, that is one
``dot_general``; else it is a product of broadcast arrays. An einsum of several arrays contracts them two at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from .. import primitives as prim
from ..core.errors import OperandError
from ..core.memory import view_of
from ..core.trace import Tracer, frozen
from ..core.types import aval_of
from ._promote import (
    all_plain,
    asarray,
    convert_to,
    eager,
    eager_allowed,
    expand_to,
    normalize_axis,
    promote_dtypes,
    refuse_out,
)
from ._shape import moveaxis, permute, ravel, reshape_to, roll

__all__ = [
    "cross",
    "dot",
    "einsum",
    "einsum_path",
    "inner",
    "kron",
    "matmul",
    "matvec",
    "outer",
    "tensordot",
    "vdot",
    "vecdot",
    "vecmat",
]

Labels = tuple[Hashable, ...]


# Contraction ----------------------------------------------------------------------------------------------------------


def contract(x: Any, x_labels: Labels, y: Any, y_labels: Labels, out: Labels) -> Any:
    """The product of two arrays of one dtype with labelled axes, summed over the labels that ``out`` does not have.

    The labels of an array are distinct. An axis of size 1 broadcasts against the same label's axis of the other array.
    """
    x, x_labels = _without_ones(x, x_labels, dict(zip(y_labels, y.shape)))
    y, y_labels = _without_ones(y, y_labels, dict(zip(x_labels, x.shape)))
    x, x_labels = _summed(x, x_labels, {*y_labels, *out})
    y, y_labels = _summed(y, y_labels, {*x_labels, *out})
    contracted = [i for i in x_labels if i in y_labels and i not in out]
    if not contracted:
        sizes = dict(zip(x_labels, x.shape)) | dict(zip(y_labels, y.shape))
        shape = tuple(sizes[i] for i in out)
        return prim.mul(_aligned(x, x_labels, out, shape), _aligned(y, y_labels, out, shape))
    # The operands trade places if that saves a transposition of the result.
    result, labels = _product_order(x_labels, y_labels, out)
    if labels != out and _product_order(y_labels, x_labels, out)[1] == out:
        x, x_labels, y, y_labels = y, y_labels, x, x_labels
        result, labels = _product_order(x_labels, y_labels, out)
    numbers = (
        (tuple(x_labels.index(i) for i in contracted), tuple(y_labels.index(i) for i in contracted)),
        (tuple(x_labels.index(i) for i in result), tuple(y_labels.index(i) for i in result)),
    )
    z = prim.dot_general(x, y, dimension_numbers=numbers)
    return permute(z, [labels.index(i) for i in out])


def _without_ones(x: Any, labels: Labels, other: dict[Hashable, int]) -> tuple[Any, Labels]:
    """``x`` without the axes of size 1 that would broadcast against a longer one of the other operand."""
    keep = [a for a, i in enumerate(labels) if x.shape[a] != 1 or other.get(i, 1) == 1]
    if len(keep) == len(labels):
        return x, labels
    return reshape_to(x, tuple(x.shape[a] for a in keep)), tuple(labels[a] for a in keep)


def _summed(x: Any, labels: Labels, needed: set[Hashable]) -> tuple[Any, Labels]:
    axes = tuple(a for a, i in enumerate(labels) if i not in needed)
    if not axes:
        return x, labels
    return prim.reduce_sum(x, axes=axes), tuple(i for i in labels if i in needed)


def _product_order(x_labels: Labels, y_labels: Labels, out: Labels) -> tuple[Labels, Labels]:
    """The batch labels, and the labels of what dot_general gives: the batch, x's own, y's own."""
    batch = tuple(i for i in out if i in x_labels and i in y_labels)
    x_own = tuple(i for i in x_labels if i in out and i not in batch)
    y_own = tuple(i for i in y_labels if i in out and i not in batch)
    return batch, (*batch, *x_own, *y_own)


def _aligned(x: Any, labels: Labels, out: Labels, shape: tuple[int, ...]) -> Any:
    """``x`` broadcast to the axes ``out``; a scalar stays one."""
    if not labels:
        return x
    order = [i for i in out if i in labels]
    x = permute(x, [labels.index(i) for i in order])
    if x.shape == shape:
        return x
    return prim.broadcast_in_dim(x, shape=shape, dims=tuple(out.index(i) for i in order))


def _operands(name: str, *args: Any) -> list[Any]:
    return [asarray(x) for x in promote_dtypes(name, *(asarray(x) for x in args))]


def _conjugate(x: Any) -> Any:
    return prim.conj(x) if aval_of(x).dtype.kind == "c" else x


def _letters(kind: str, n: int) -> Labels:
    return tuple((kind, i) for i in range(n))


def _batch(name: str, x: Any, x_core: Labels, y: Any, y_core: Labels, out_core: Labels) -> Any:
    """A product of the last axes, broadcast over all the axes before them."""
    x_rank, y_rank = x.ndim - len(x_core), y.ndim - len(y_core)
    if x_rank < 0 or y_rank < 0:
        raise OperandError(
            f"{name}: operands need {len(x_core)} and {len(y_core)} axes or more; the shapes are {x.shape} and {y.shape}"
        )
    # Counted from the right, so that equal labels are axes that broadcast together.
    rank = max(x_rank, y_rank)
    batch = tuple(range(-rank, 0))
    x_labels, y_labels = (*batch[rank - x_rank :], *x_core), (*batch[rank - y_rank :], *y_core)
    sizes = dict(zip(x_labels, x.shape))
    for i, n in zip(y_labels, y.shape):
        m = sizes.get(i, n)
        if m != n and (i not in batch or 1 not in (m, n)):
            what = "the axes before them do not broadcast" if i in batch else f"the size {m} is different from {n}"
            raise OperandError(f"{name}: operands of the shapes {x.shape} and {y.shape} do not fit: {what}")
    return contract(x, x_labels, y, y_labels, (*batch, *out_core))


# Products -------------------------------------------------------------------------------------------------------------


@eager(np.matmul)
def matmul(x1: Any, x2: Any, /, out: Any = None, *, dtype: Any = None) -> Any:
    """As :data:`numpy.matmul`."""
    refuse_out("matmul", out)
    x, y = _operands("matmul", x1, x2)
    if dtype is not None:
        x, y = convert_to(x, np.dtype(dtype)), convert_to(y, np.dtype(dtype))
    if not x.ndim or not y.ndim:
        raise OperandError(
            f"matmul: operands need at least one axis; the shapes are {x.shape} and {y.shape}; use multiply for scalars"
        )
    rows = ("row",) if x.ndim > 1 else ()
    columns = ("column",) if y.ndim > 1 else ()
    return _batch("matmul", x, (*rows, "sum"), y, ("sum", *columns), (*rows, *columns))


@eager(np.matvec)
def matvec(x1: Any, x2: Any, /) -> Any:
    """As :data:`numpy.matvec`."""
    x, y = _operands("matvec", x1, x2)
    return _batch("matvec", x, ("row", "sum"), y, ("sum",), ("row",))


@eager(np.vecmat)
def vecmat(x1: Any, x2: Any, /) -> Any:
    """As :data:`numpy.vecmat`; the vector is conjugated."""
    x, y = _operands("vecmat", x1, x2)
    return _batch("vecmat", _conjugate(x), ("sum",), y, ("sum", "column"), ("column",))


@eager(np.vecdot)
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """As :data:`numpy.vecdot`; the first operand is conjugated."""
    x, y = (moveaxis(z, axis, -1) if z.ndim else z for z in _operands("vecdot", x1, x2))
    return _batch("vecdot", _conjugate(x), ("sum",), y, ("sum",), ())


@eager(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """As :func:`numpy.dot`: over the last axis of ``a`` and the last but one of ``b``."""
    refuse_out("dot", out)
    x, y = _operands("dot", a, b)
    if not x.ndim or not y.ndim:
        return prim.mul(x, y)
    return _contracted("dot", x, y, (x.ndim - 1,), (max(y.ndim - 2, 0),))


@eager(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    """As :func:`numpy.inner`: over the last axes."""
    x, y = _operands("inner", a, b)
    if not x.ndim or not y.ndim:
        return prim.mul(x, y)
    return _contracted("inner", x, y, (x.ndim - 1,), (y.ndim - 1,))


@eager(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    """As :func:`numpy.vdot`: of the flattened arrays, the first one conjugated."""
    x, y = _operands("vdot", a, b)
    return _contracted("vdot", _conjugate(ravel(x)), ravel(y), (0,), (0,))


@eager(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    """As :func:`numpy.outer`: of the flattened arrays."""
    refuse_out("outer", out)
    x, y = _operands("outer", a, b)
    return contract(ravel(x), ("row",), ravel(y), ("column",), ("row", "column"))


@eager(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """As :func:`numpy.tensordot`."""
    x, y = _operands("tensordot", a, b)
    if isinstance(axes, (int, np.integer)):
        n = int(axes)
        if n > min(x.ndim, y.ndim):
            raise OperandError(f"tensordot: cannot sum over {n} axes of arrays of the shapes {x.shape} and {y.shape}")
        first: Any = range(x.ndim - n, x.ndim)
        second: Any = range(n)
    else:
        first, second = axes
    first = tuple(first) if isinstance(first, (tuple, list, range)) else (first,)
    second = tuple(second) if isinstance(second, (tuple, list, range)) else (second,)
    xc = tuple(normalize_axis(i, x.ndim) for i in first)
    yc = tuple(normalize_axis(i, y.ndim) for i in second)
    return _contracted("tensordot", x, y, xc, yc)


def _contracted(name: str, x: Any, y: Any, xc: Sequence[int], yc: Sequence[int]) -> Any:
    """The sum of products over pairs of axes; the result has the other axes of x, then those of y."""
    if len(xc) != len(yc) or any(x.shape[i] != y.shape[j] for i, j in zip(xc, yc)):
        axes = f"{tuple(xc)} of {x.shape} and {tuple(yc)} of {y.shape}"
        raise OperandError(f"{name}: shapes {x.shape} and {y.shape} not aligned: the axes {axes} must have equal sizes")
    x_labels: list[Hashable] = list(_letters("x", x.ndim))
    y_labels: list[Hashable] = list(_letters("y", y.ndim))
    for i, j in zip(xc, yc):
        y_labels[j] = x_labels[i]
    own = [k for a, k in enumerate(x_labels) if a not in xc] + [k for a, k in enumerate(y_labels) if a not in yc]
    return contract(x, tuple(x_labels), y, tuple(y_labels), tuple(own))


@eager(np.kron)
def kron(a: Any, b: Any) -> Any:
    """As :func:`numpy.kron`."""
    x, y = _operands("kron", a, b)
    rank = max(x.ndim, y.ndim)
    x = reshape_to(x, (1,) * (rank - x.ndim) + x.shape)
    y = reshape_to(y, (1,) * (rank - y.ndim) + y.shape)
    out = tuple(i for pair in zip(_letters("x", rank), _letters("y", rank)) for i in pair)
    z = contract(x, _letters("x", rank), y, _letters("y", rank), out)
    return reshape_to(z, tuple(n * m for n, m in zip(x.shape, y.shape)))


@eager(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """As :func:`numpy.cross`, of vectors with three components."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = _operands("cross", a, b)
    x, y = moveaxis(x, axisa, -1), moveaxis(y, axisb, -1)
    if x.shape[-1] != 3 or y.shape[-1] != 3:
        raise OperandError(f"cross: vectors must have three components; the shapes are {x.shape} and {y.shape}")
    shape = np.broadcast_shapes(x.shape, y.shape)
    x = x if x.shape == shape else expand_to(x, shape)
    y = y if y.shape == shape else expand_to(y, shape)
    left = prim.mul(roll(x, -1, -1), roll(y, -2, -1))
    right = prim.mul(roll(x, -2, -1), roll(y, -1, -1))
    return moveaxis(prim.sub(left, right), -1, axisc)


# Einsum ---------------------------------------------------------------------------------------------------------------


@eager(np.einsum_path)
def einsum_path(subscripts: Any, *operands: Any, optimize: Any = "greedy") -> Any:
    """As :func:`numpy.einsum_path`: it looks at the shapes only."""
    operands = tuple(x if isinstance(x, (list, tuple)) else _stand_in(aval_of(x).shape) for x in operands)
    if not isinstance(subscripts, str):
        subscripts = _stand_in(aval_of(subscripts).shape)
    return np.einsum_path(subscripts, *operands, optimize=optimize)


def _stand_in(shape: tuple[int, ...]) -> Any:
    return np.broadcast_to(np.float64(0), shape)


def einsum(subscripts: Any, /, *operands: Any, out: Any = None, optimize: Any = True, dtype: Any = None) -> Any:
    """As :func:`numpy.einsum`, with a string or with lists of axis numbers.

    Traced operands are contracted two at a time, in the order of :func:`numpy.einsum_path` with ``optimize``
    (``False``: from left to right).
    """
    refuse_out("einsum", out)
    if eager_allowed() and all_plain((subscripts, *operands)):
        return np.einsum(subscripts, *operands, optimize=optimize, dtype=dtype)
    if not isinstance(subscripts, str):
        subscripts, operands = _from_lists(subscripts, operands)
    arrays = _operands("einsum", *operands)
    if dtype is not None:
        arrays = [convert_to(x, np.dtype(dtype)) for x in arrays]
    inputs, output = _parse(subscripts, [x.shape for x in arrays])
    _check_sizes(subscripts, inputs, [x.shape for x in arrays])
    terms = [_diagonal(x, labels) for x, labels in zip(arrays, inputs)]
    for places in _path(terms, output, optimize):
        chosen = [terms[i] for i in places]
        terms = [t for i, t in enumerate(terms) if i not in places]
        x, x_labels = chosen[0]
        for k, (y, y_labels) in enumerate(chosen[1:], 2):
            needed = {*output}.union(*(labels for _, labels in terms), *(labels for _, labels in chosen[k:]))
            keep = tuple(i for i in dict.fromkeys((*x_labels, *y_labels)) if i in needed)
            if not terms and k == len(chosen):
                keep = output
            x, x_labels = contract(x, x_labels, y, y_labels, keep), keep
        terms.append((x, x_labels))
    ((x, labels),) = terms
    x, labels = _summed(x, labels, set(output))
    result = permute(x, [labels.index(i) for i in output])
    if len(operands) == 1 and set(inputs[0]) == set(output) and isinstance(operands[0], Tracer) and dtype is None:
        return view_of(result.renewed(), operands[0])
    return frozen(result)


def _from_lists(first: Any, rest: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """The form ``einsum(x, [0, 1], y, [1, 2], [0, 2])`` as a string and operands."""

    def term(labels: Sequence[Any]) -> str:
        return "".join("..." if i is Ellipsis else _SYMBOLS[i] for i in labels)

    items = (first, *rest)
    n = len(items) // 2
    text = ",".join(term(items[2 * i + 1]) for i in range(n))
    if len(items) % 2:
        text += "->" + term(items[-1])
    return text, tuple(items[2 * i] for i in range(n))


_SYMBOLS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _parse(subscripts: str, shapes: Sequence[tuple[int, ...]]) -> tuple[list[Labels], Labels]:
    """The labels of the axes of each operand and of the result. Those of an ellipsis are ..., -2, -1."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise OperandError(f"einsum({subscripts!r}): {len(terms)} operands expected, {len(shapes)} given")
    bad = set(text.replace("->", "").replace("...", "")) - set(_SYMBOLS) - {","}
    if bad:
        raise OperandError(f"einsum({subscripts!r}): {min(bad)!r} is not a valid subscript; subscripts are letters")
    inputs = [_labels(subscripts, term, len(shape), shape) for term, shape in zip(terms, shapes)]
    dots = tuple(sorted({i for labels in inputs for i in labels if isinstance(i, int)}))
    if not arrow:
        counts = Counter(i for term in terms for i in term if i != ".")
        return inputs, (*dots, *sorted(i for i, n in counts.items() if n == 1))
    if dots and "..." not in right:
        raise OperandError(f"einsum({subscripts!r}): the result must have the ellipsis that the operands have")
    head, _, tail = right.partition("...")
    output: Labels = (*head, *dots, *tail) if "..." in right else tuple(right)
    known = {i for labels in inputs for i in labels}
    for i in output:
        if i not in known or output.count(i) > 1:
            how = "more than once" if i in known else "but in no operand"
            raise OperandError(f"einsum({subscripts!r}): the subscript {i!r} is in the result {how}")
    return inputs, output


def _labels(subscripts: str, term: str, rank: int, shape: tuple[int, ...]) -> Labels:
    head, dots, tail = term.partition("...")
    n = rank - len(head) - len(tail)
    if n < 0 or (n and not dots):
        raise OperandError(f"einsum({subscripts!r}): the term {term!r} does not fit an operand of shape {shape}")
    return (*head, *range(-n, 0), *tail)


def _check_sizes(subscripts: str, inputs: Sequence[Labels], shapes: Sequence[tuple[int, ...]]) -> None:
    sizes: dict[Hashable, int] = {}
    for labels, shape in zip(inputs, shapes):
        for i, n in zip(labels, shape):
            if sizes.setdefault(i, n) != n:
                if 1 not in (n, sizes[i]):
                    name = "an axis of the ellipsis" if isinstance(i, int) else f"the subscript {i!r}"
                    listed = ", ".join(map(str, shapes))
                    raise OperandError(
                        f"einsum({subscripts!r}): {name} has the sizes {sizes[i]} and {n}; the shapes are {listed}"
                    )
                sizes[i] = max(n, sizes[i])


def _diagonal(x: Any, labels: Labels) -> tuple[Any, Labels]:
    """``x`` with the axes that share a label replaced by their diagonal."""
    for i, n in Counter(labels).items():
        if n > 1:
            axes = tuple(a for a, k in enumerate(labels) if k == i)
            sizes = {x.shape[a] for a in axes}
            if len(sizes) > 1:
                raise OperandError(f"einsum: the axes {axes} of {x.shape} share a subscript but not a size")
            steps = np.arange(sizes.pop())
            x = prim.gather(x, *[steps] * n, axes=axes)
            labels = (i, *(k for k in labels if k != i))
    return x, labels


def _path(terms: Sequence[tuple[Any, Labels]], output: Labels, optimize: Any) -> list[tuple[int, ...]]:
    """Which terms to contract at each step; the result of a step goes to the end of the list."""
    n = len(terms)
    if n == 1:
        return []
    if n == 2:
        return [(0, 1)]
    if optimize is False:
        return [(0, 1)] + [(0, n - k) for k in range(2, n)]
    names = dict(zip(dict.fromkeys(i for _, labels in terms for i in labels), _SYMBOLS))
    text = ",".join("".join(names[i] for i in labels) for _, labels in terms)
    text += "->" + "".join(names[i] for i in output)
    path, _ = np.einsum_path(text, *(_stand_in(x.shape) for x, _ in terms), optimize=optimize)
    return [tuple(step) for step in path[1:]]
