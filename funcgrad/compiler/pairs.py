"""Complex numbers as pairs of real ones, for back ends whose kernels know real numbers only.

A complex array becomes two arrays, its real and its imaginary part, where all that is done with it has a rule: what moves
elements moves both parts, arithmetic and elementary functions are written out in :mod:`.pair_functions`. Loops carry
pairs, too. The program's arguments and results stay complex, and so does what is given to an equation without a rule (a
Fourier transform, eigenvalues): ``real``, ``imag`` and ``complex`` stand between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..core.ir import Atom, Eqn, Jaxpr, Literal, Var, subjaxprs
from ..core.source import at_source
from ..core.trace import stage
from ..core.types import Aval, aval_of
from ..primitives import complex_, convert, dot_general, imag, real, reduce_window_sum
from ..primitives.contraction import conv_general_dilated
from . import pair_functions
from .pair_functions import FUNCTIONS, Pair

__all__ = ["in_pairs"]

#: What does the same to both parts. Operands that are not complex (indices, predicates) are the same for both.
_ALIKE = frozenset([
    "add", "broadcast_in_dim", "concatenate", "copy", "cumsum", "dynamic_slice", "dynamic_update_slice", "gather", "neg",
    "pad", "reduce_sum", reduce_window_sum.name, "reshape", "rev", "select", "slice", "sub", "transpose",
])  # fmt: skip
_BILINEAR = {p.name: p for p in (dot_general, conv_general_dilated)}


def in_pairs(jaxpr: Jaxpr) -> Jaxpr:
    """The program of the same type in which complex numbers are pairs, as far as there are rules."""
    if not _is_complex(jaxpr):
        return jaxpr
    n = len(jaxpr.constvars)

    def run(*args: Any) -> list[Any]:
        outs = [_whole(y) for y in _evaluate(jaxpr, args)]
        return [_of_type(y, a) for y, a in zip(outs, jaxpr.out_avals, strict=True)]

    variables = [*jaxpr.constvars, *jaxpr.invars]
    found = stage(run, [v.aval for v in variables], jaxpr.name)
    made = found.invars
    return Jaxpr(
        made[n:], found.eqns, found.outs, [*made[:n], *found.constvars], [*jaxpr.consts, *found.consts], jaxpr.name
    )


def _is_complex(jaxpr: Jaxpr) -> bool:
    """Whether a complex value occurs anywhere."""
    return any(a.aval.dtype.kind == "c" for e in jaxpr.eqns for a in (*e.inputs, *e.outputs)) or any(
        _is_complex(body) for e in jaxpr.eqns for body in subjaxprs(e.params)
    )


def _of_type(y: Any, aval: Aval) -> Any:
    """A result as it was: a Python scalar is one again."""
    return convert(y, dtype=aval.dtype, weak=True) if aval.weak and not aval_of(y).weak else y


# Values: what is real is itself; what is complex is a Pair, or whole. -------------------------------------------------


def _parts(x: Any) -> Any:
    """The pair of a complex value, any other as it is."""
    if isinstance(x, Pair) or aval_of(x).dtype.kind != "c":
        return x
    if isinstance(x, (np.generic, complex)):
        x = np.asarray(x)[()]
        return Pair(x.real, x.imag)
    return Pair(real(x), imag(x))


def _whole(x: Any) -> Any:
    return complex_(x.re, x.im) if isinstance(x, Pair) else x


class _Values:
    """The values of a body's variables. The parts of a whole value, and the whole of a pair, are made once."""

    def __init__(self, variables: Iterable[Var], values: Iterable[Any]) -> None:
        self.known = dict(zip(variables, values, strict=True))
        self.split: dict[Var, Pair] = {}
        self.joined: dict[Var, Any] = {}

    def parts(self, a: Atom) -> Any:
        if isinstance(a, Literal):
            return _parts(a.value)
        x = self.known[a]
        if isinstance(x, Pair) or a.aval.dtype.kind != "c":
            return x
        if a not in self.split:
            self.split[a] = _parts(x)
        return self.split[a]

    def whole(self, a: Atom) -> Any:
        if isinstance(a, Literal):
            return a.value
        x = self.known[a]
        if not isinstance(x, Pair):
            return x
        if a not in self.joined:
            self.joined[a] = _whole(x)
        return self.joined[a]


def _evaluate(jaxpr: Jaxpr, args: Sequence[Any]) -> list[Any]:
    """The results, complex ones as pairs where rules gave pairs, of arguments of either kind."""
    values = _Values([*jaxpr.constvars, *jaxpr.invars], args)
    with at_source() as here:
        for eqn in jaxpr.eqns:
            here.move(eqn.source)
            rule = _rule(eqn)
            if rule is None:
                results = eqn.primitive(*[values.whole(a) for a in eqn.inputs], **eqn.params)
            else:
                results = rule(*[values.parts(a) for a in eqn.inputs], **eqn.params)
            values.known.update(zip(eqn.outputs, results if eqn.primitive.multiple else [results], strict=True))
    return [values.known[a] if isinstance(a, Var) else a.value for a in jaxpr.outs]


# Rules ----------------------------------------------------------------------------------------------------------------


def _rule(eqn: Eqn) -> Callable[..., Any] | None:
    """What computes an equation on pairs; None where it stays what it is."""
    name, primitive = eqn.primitive.name, eqn.primitive
    if name in _CONTROL:
        return _CONTROL[name](eqn) if any(map(_is_complex, subjaxprs(eqn.params))) else None
    if not any(a.aval.dtype.kind == "c" for a in (*eqn.inputs, *eqn.outputs)):
        return None
    if name in _BILINEAR:
        return lambda x, y, **params: pair_functions.product(lambda a, b: primitive(a, b, **params), x, y)
    if name == "optimization_barrier":
        return lambda *xs, **params: _packed(xs, primitive(*_flat(xs), **params))
    if name in _ALIKE or (name == "scatter" and eqn.params["kind"] in ("set", "add")):
        return lambda *xs, **params: Pair(
            primitive(*[x.re if isinstance(x, Pair) else x for x in xs], **params),
            primitive(*[x.im if isinstance(x, Pair) else x for x in xs], **params),
        )
    return FUNCTIONS.get(name)


def _flat(values: Sequence[Any]) -> list[Any]:
    return [part for x in values for part in (x if isinstance(x, Pair) else (x,))]


def _packed(like: Sequence[Any], parts: Sequence[Any]) -> list[Any]:
    """Parts as values of the kinds that ``like`` has."""
    rest = iter(parts)
    return [Pair(next(rest), next(rest)) if isinstance(x, Pair) else next(rest) for x in like]


def _body(jaxpr: Jaxpr) -> Jaxpr:
    """A body of control flow that takes and gives two parts of each complex value."""
    found: Jaxpr | None = jaxpr.memo.get("in pairs")
    if found is None:
        kinds = [Pair(a, a) if a.dtype.kind == "c" else a for a in jaxpr.in_avals]

        def run(*args: Any) -> list[Any]:
            outs = zip(_evaluate(jaxpr, _packed(kinds, args)), jaxpr.out_avals, strict=True)
            return _flat([_parts(y) if a.dtype.kind == "c" else _of_type(y, a) for y, a in outs])

        found = jaxpr.memo["in pairs"] = stage(
            run, [_real_aval(a) for a in _flat(_doubled(jaxpr.in_avals))], jaxpr.name
        )
    return found


def _doubled(avals: Sequence[Aval]) -> list[Any]:
    return [Pair(a, a) if a.dtype.kind == "c" else a for a in avals]


def _real_aval(aval: Aval) -> Aval:
    if aval.dtype.kind != "c":
        return aval
    return Aval(aval.shape, np.dtype(f"f{aval.dtype.itemsize // 2}"), aval.weak)


def _count(values: Sequence[Any]) -> int:
    return len(_flat(values))


def _scan(eqn: Eqn) -> Callable[..., Any]:
    outs = _doubled([v.aval for v in eqn.outputs])

    def run(*xs: Any, jaxpr: Jaxpr, num_consts: int, num_carry: int, **params: Any) -> list[Any]:
        results = eqn.primitive(
            *_flat(xs), jaxpr=_body(jaxpr), num_consts=_count(xs[:num_consts]),
            num_carry=_count(xs[num_consts : num_consts + num_carry]), **params,
        )  # fmt: skip
        return _packed(outs, results)

    return run


def _while(eqn: Eqn) -> Callable[..., Any]:
    outs = _doubled([v.aval for v in eqn.outputs])

    def run(
        *xs: Any, cond_jaxpr: Jaxpr, body_jaxpr: Jaxpr, cond_nconsts: int, body_nconsts: int, **params: Any
    ) -> list[Any]:
        results = eqn.primitive(
            *_flat(xs), cond_jaxpr=_body(cond_jaxpr), body_jaxpr=_body(body_jaxpr), cond_nconsts=_count(xs[:cond_nconsts]),
            body_nconsts=_count(xs[cond_nconsts : cond_nconsts + body_nconsts]), **params,
        )  # fmt: skip
        return _packed(outs, results)

    return run


def _cond(eqn: Eqn) -> Callable[..., Any]:
    outs = _doubled([v.aval for v in eqn.outputs])

    def run(*xs: Any, branches: Sequence[Jaxpr], **params: Any) -> list[Any]:
        return _packed(outs, eqn.primitive(*_flat(xs), branches=tuple(map(_body, branches)), **params))

    return run


_CONTROL: dict[str, Callable[[Eqn], Callable[..., Any]]] = {"scan": _scan, "while": _while, "cond": _cond}
