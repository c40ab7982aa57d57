"""Products of arrays: ``dot_general``, convolution, and sums and maxima over windows.

``dot_general`` and ``conv_general_dilated`` are bilinear: each operand's transpose is a product of the same family.
With y[n,o,i] = sum_{c,k} x[n, c, i s + k d - lo] w[o,c,k] (x dilated by its own factor first), collecting terms gives

    x^[n,c,j] = sum_{o,k} y^[n, o, (j + lo - k d) / s] w[o,c,k]     y^ dilated by s, w flipped, stride = x's dilation
    w^[o,c,k] = sum_{n,i} y^[n,o,i] x[n, c, i s + k d - lo]         the kernel is y^ dilated by s, the stride is d
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from ..core.errors import OperandError, OperandTypeError
from ..core.ir import Var
from ..core.trace import Primitive
from ..core.types import Aval, dtype_of, shape_of
from . import elementwise as ew
from . import structure

__all__ = ["conv_general_dilated", "dot_general", "reduce_window_max", "reduce_window_sum"]

Shape = tuple[int, ...]


class Bilinear(Primitive):
    """A product: linear in either of its two operands."""

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (x, y), (tx, ty) = primals, tangents
        parts = []
        if tx is not None:
            parts.append(self(tx, y, **params))
        if ty is not None:
            parts.append(self(x, ty, **params))
        return self(x, y, **params), parts[0] if len(parts) == 1 else ew.add(*parts)


def _free(ndim: int, *used: Sequence[int]) -> tuple[int, ...]:
    taken = set(itertools.chain(*used))
    return tuple(i for i in range(ndim) if i not in taken)


class DotGeneral(Bilinear):
    """Sum over contracted axes, axis by axis over batch axes: the result has the batch, x's free and y's free axes."""

    name = "dot_general"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        x, y = avals
        (xc, yc), (xb, yb) = params["dimension_numbers"]
        if x.dtype != y.dtype:
            raise OperandTypeError(f"dot_general takes operands of one dtype, not {x.dtype} and {y.dtype}")
        for axes, a in (((*xc, *xb), x), ((*yc, *yb), y)):
            if len(set(axes)) != len(axes) or not all(0 <= i < a.ndim for i in axes):
                raise OperandError(f"dot_general: {axes} are not distinct axes of the shape {a.shape}")
        if [x.shape[i] for i in xc] != [y.shape[i] for i in yc] or len(xc) != len(yc):
            raise OperandError(
                f"dot_general: the contracted axes {xc} of {x.shape} and {yc} of {y.shape} differ in size"
            )
        if [x.shape[i] for i in xb] != [y.shape[i] for i in yb] or len(xb) != len(yb):
            raise OperandError(f"dot_general: the batch axes {xb} of {x.shape} and {yb} of {y.shape} differ in size")
        shape = [x.shape[i] for i in (*xb, *_free(x.ndim, xc, xb))] + [y.shape[i] for i in _free(y.ndim, yc, yb)]
        return Aval(tuple(shape), x.dtype)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        x, y = args
        (xc, yc), (xb, yb) = params["dimension_numbers"]
        if isinstance(x, Var):
            return [self._operand(ct, x.aval.ndim, xc, xb, y, yc, yb, first=True), None]
        return [None, self._operand(ct, y.aval.ndim, yc, yb, x, xc, xb, first=False)]

    def _operand(self, ct: Any, ndim: int, xc: Shape, xb: Shape, y: Any, yc: Shape, yb: Shape, *, first: bool) -> Any:
        """The cotangent of the operand with axes xc, xb, whose partner is y; ``first`` if it stood on the left."""
        x_free = _free(ndim, xc, xb)
        y_free = _free(len(shape_of(y)), yc, yb)
        n, nx, ny = len(xb), len(x_free), len(y_free)
        of_y = tuple(range(n + nx, n + nx + ny)) if first else tuple(range(n, n + ny))
        batch = tuple(range(n))
        product = dot_general(ct, y, dimension_numbers=((of_y, y_free), (batch, yb)))
        # Its axes: batch, x's free ones, and y's contracted ones in the order in which they stand in y.
        contracted = [xc[yc.index(i)] for i in sorted(yc)]
        axes = [*xb, *x_free, *contracted]
        order = tuple(sorted(range(ndim), key=axes.__getitem__))
        return product if order == tuple(range(ndim)) else structure.transpose(product, axes=order)

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        x, y = args
        (xc, yc), (xb, yb) = params["dimension_numbers"]
        if batched[0]:
            xc, xb = tuple(i + 1 for i in xc), tuple(i + 1 for i in xb)
        if batched[1]:
            yc, yb = tuple(i + 1 for i in yc), tuple(i + 1 for i in yb)
        if all(batched):
            return dot_general(x, y, dimension_numbers=((xc, yc), ((0, *xb), (0, *yb)))), True
        z = dot_general(x, y, dimension_numbers=((xc, yc), (xb, yb)))
        # The mapped axis is the first free one of its operand.
        at = len(xb) if batched[0] else len(xb) + len(_free(len(shape_of(x)), xc, xb))
        return structure.move_axis(z, at, 0), True


def _dilated(n: int, by: int) -> int:
    return (n - 1) * by + 1 if n else 0


class ConvGeneralDilated(Bilinear):
    """Cross-correlation of x [N, C, *spatial] with w [O, C / groups, *spatial], giving [N, O, *spatial].

    ``strides``; ``padding``, a pair an axis, which may be negative; ``lhs_dilation`` of x; ``rhs_dilation`` of w;
    ``groups``: channels fall into that many groups, each seen by its own O / groups filters.
    """

    name = "conv_general_dilated"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        x, w = avals
        groups = params["groups"]
        if x.dtype != w.dtype:
            raise OperandTypeError(f"convolution takes operands of one dtype, not {x.dtype} and {w.dtype}")
        if x.ndim != w.ndim or x.ndim < 2:
            raise OperandError(f"convolution takes operands of one rank of at least 2, not {x.shape} and {w.shape}")
        if x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
            raise OperandError(
                f"convolution: {x.shape[1]} input channels in {groups} groups do not fit filters of shape {w.shape}"
            )
        spatial = []
        rest = (params[k] for k in ("strides", "padding", "lhs_dilation", "rhs_dilation"))
        for n, k, s, (lo, hi), dl, dr in zip(x.shape[2:], w.shape[2:], *rest, strict=True):
            span = _dilated(n, dl) + lo + hi - _dilated(k, dr)
            spatial.append(max(span // s + 1, 0))
        return Aval((x.shape[0], w.shape[0], *spatial), x.dtype)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        x, w = args
        if isinstance(x, Var):
            return [self._of_input(ct, x.aval.shape, w, **params), None]
        return [None, self._of_filter(ct, x, w.aval.shape, **params)]

    def _of_input(
        self, ct: Any, shape: Shape, w: Any, strides: Shape, padding: Any, lhs_dilation: Shape, rhs_dilation: Shape,
        groups: int,
    ) -> Any:  # fmt: skip
        out, into, *kernel = shape_of(w)
        spatial = tuple(range(2, 2 + len(kernel)))
        # Swap the roles of the channels within each group, and flip.
        w = structure.reshape(w, shape=(groups, out // groups, into, *kernel))
        w = structure.transpose(w, axes=(0, 2, 1, *(i + 1 for i in spatial)))
        w = structure.reshape(w, shape=(groups * into, out // groups, *kernel))
        pads = []
        sizes = zip(shape[2:], kernel, ct.shape[2:], strides, padding, lhs_dilation, rhs_dilation, strict=True)
        for n, k, m, s, (lo, _), dl, dr in sizes:
            before = _dilated(k, dr) - 1 - lo
            pads.append((before, _dilated(n, dl) + _dilated(k, dr) - 1 - _dilated(m, s) - before))
        return conv_general_dilated(
            ct,
            structure.rev(w, axes=spatial),
            strides=lhs_dilation,
            padding=tuple(pads),
            lhs_dilation=strides,
            rhs_dilation=rhs_dilation,
            groups=groups,
        )

    def _of_filter(
        self, ct: Any, x: Any, shape: Shape, strides: Shape, padding: Any, lhs_dilation: Shape, rhs_dilation: Shape,
        groups: int,
    ) -> Any:  # fmt: skip
        batch, channels, *size = shape_of(x)
        axes = tuple(range(3, 3 + len(size)))
        # The sum over the batch becomes the one over channels: [N, g C', ...] -> [C', g N, ...].
        x = structure.reshape(x, shape=(batch, groups, channels // groups, *size))
        x = structure.transpose(x, axes=(2, 1, 0, *axes))
        x = structure.reshape(x, shape=(channels // groups, groups * batch, *size))
        pads = []
        sizes = zip(size, shape[2:], ct.shape[2:], strides, padding, lhs_dilation, rhs_dilation, strict=True)
        for n, k, m, s, (lo, _), dl, dr in sizes:
            pads.append((lo, _dilated(k, dr) + _dilated(m, s) - 1 - _dilated(n, dl) - lo))
        swap = (1, 0, *(i - 1 for i in axes))
        w = conv_general_dilated(
            x,
            structure.transpose(ct, axes=swap),
            strides=rhs_dilation,
            padding=tuple(pads),
            lhs_dilation=lhs_dilation,
            rhs_dilation=strides,
            groups=groups,
        )
        return structure.transpose(w, axes=swap)

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        x, w = args
        if not batched[1]:
            _, n, *rest = shape_of(x)
            y = self(structure.reshape(x, shape=(size * n, *rest)), w, **params)
            return structure.reshape(y, shape=(size, n, *y.shape[1:])), True
        _, out, into, *kernel = shape_of(w)
        groups = params["groups"]
        axes = tuple(range(3, 3 + len(kernel)))
        if batched[0]:
            # Each row is a set of groups of its own.
            _, n, channels, *spatial = shape_of(x)
            x = structure.transpose(x, axes=(1, 0, 2, *axes))
            x = structure.reshape(x, shape=(n, size * channels, *spatial))
            w = structure.reshape(w, shape=(size * out, into, *kernel))
            y = self(x, w, **(params | {"groups": groups * size}))
            y = structure.reshape(y, shape=(n, size, out, *y.shape[2:]))
            return structure.transpose(y, axes=(1, 0, 2, *axes)), True
        # The rows are further filters of each group.
        w = structure.reshape(w, shape=(size, groups, out // groups, into, *kernel))
        w = structure.transpose(w, axes=(1, 0, 2, 3, *(i + 1 for i in axes)))
        y = self(x, structure.reshape(w, shape=(groups * size * (out // groups), into, *kernel)), **params)
        y = structure.reshape(y, shape=(y.shape[0], groups, size, out // groups, *y.shape[2:]))
        y = structure.transpose(y, axes=(2, 0, 1, 3, *(i + 1 for i in axes)))
        return structure.reshape(y, shape=(size, y.shape[1], out, *y.shape[4:])), True


class ReduceWindow(Primitive):
    """A reduction over windows: ``window``, ``strides``, ``padding`` (pairs, not negative), ``dilation``, an entry an axis."""

    def type(self, *avals: Aval, **params: Any) -> Aval:
        (x,) = avals
        if any(len(p) != x.ndim for p in params.values()):
            raise OperandError(f"{self.name} of the shape {x.shape} takes parameters of length {x.ndim}, not {params}")
        rest = (params[k] for k in ("window", "strides", "padding", "dilation"))
        shape = []
        for n, k, s, (lo, hi), d in zip(x.shape, *rest, strict=True):
            shape.append(max((n + lo + hi - _dilated(k, d)) // s + 1, 0))
        return Aval(tuple(shape), x.dtype)

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        first: dict[str, Any] = {"window": 1, "strides": 1, "padding": (0, 0), "dilation": 1}
        return self(args[0], **{k: (first[k], *v) for k, v in params.items()}), True


class ReduceWindowSum(ReduceWindow):
    """Sums over windows. The transpose is a sum over the windows that an element lies in."""

    name = "reduce_window_sum"

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self(*primals, **params), self(*tangents, **params)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        shape = args[0].aval.shape
        window, strides, padding, dilation = (params[k] for k in ("window", "strides", "padding", "dilation"))
        config = []
        for n, m, k, s, (lo, _), d in zip(shape, ct.shape, window, strides, padding, dilation, strict=True):
            before = _dilated(k, d) - 1 - lo
            config.append((before, n + _dilated(k, d) - 1 - _dilated(m, s) - before, s - 1))
        spread = structure.pad(ct, dtype_of(ct).type(0), config=tuple(config))
        ones, none = (1,) * len(shape), ((0, 0),) * len(shape)
        return [reduce_window_sum(spread, window=window, strides=ones, padding=none, dilation=dilation)]


class ReduceWindowMax(ReduceWindow):
    """Maxima over windows. The tangent is that of the first element that attains the maximum."""

    name = "reduce_window_max"

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        y = self(x, **params)
        window, strides, padding, dilation = (params[k] for k in ("window", "strides", "padding", "dilation"))
        config = tuple((lo, hi, 0) for lo, hi in padding)
        x = structure.pad(x, dtype_of(x).type(float("-inf")), config=config)
        t = structure.pad(t, dtype_of(t).type(0), config=config)
        found = total = None
        for offset in itertools.product(*map(range, window)):
            start = tuple(o * d for o, d in zip(offset, dilation, strict=True))
            limit = tuple(a + (m - 1) * s + 1 if m else a for a, m, s in zip(start, shape_of(y), strides, strict=True))
            hit = ew.eq(structure.slice_(x, start=start, limit=limit, stride=strides), y)
            first = hit if found is None else ew.and_(hit, ew.not_(found))
            found = hit if found is None else ew.or_(found, hit)
            part = ew.select(first, structure.slice_(t, start=start, limit=limit, stride=strides), 0.0)
            total = part if total is None else ew.add(total, part)
        return y, total


dot_general = DotGeneral()
conv_general_dilated = ConvGeneralDilated()
reduce_window_sum = ReduceWindowSum()
reduce_window_max = ReduceWindowMax()
