"""Functions made for what would otherwise lose digits: ``log(1 + x)`` is ``log1p(x)``.

Rounding in the intermediate result (1 + x) loses the digits of a small x, which the one function keeps. Two conditions
make sure that errors never grow:

- The intermediate result has no other use. Algorithms that compensate its rounding error use it twice, as Kahan's
  ``log(u) * x / (u - 1)`` with ``u = 1 + x``, which would be wrong with a better logarithm.
- The written form differs by no more than its own rounding: both are finite, infinite or NaN at the same places. What
  would turn an overflow into a number, as the shifted form of ``log(sum(exp(x)))``, is not here: a function would have
  another value under ``jit``. The stable forms have names: ``logsumexp``, ``log_softmax``, ``log_sigmoid``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence

from ..core.ir import Atom, Eqn, Jaxpr, Literal, Var
from ..core.trace import Primitive
from ..primitives import expm1, log1p, logistic, neg

__all__ = ["stabilise"]

#: An intermediate result and what is made of it, as (primitive, its operands) from inside out: ``x`` is any operand, ``y``
#: the intermediate result, a number a literal; and the functions that replace both, the first one applied first.
_RULES: list[tuple[tuple[str, tuple[str | int, ...]], tuple[str, tuple[str | int, ...]], tuple[Primitive, ...]]] = [
    (("add", ("x", 1)), ("log", ("y",)), (log1p,)),
    (("add", (1, "x")), ("log", ("y",)), (log1p,)),
    (("sub", (1, "x")), ("log", ("y",)), (neg, log1p)),
    (("exp", ("x",)), ("sub", ("y", 1)), (expm1,)),
    (("exp", ("x",)), ("add", ("y", -1)), (expm1,)),
    (("exp", ("x",)), ("add", (-1, "y")), (expm1,)),
    (("exp", ("x",)), ("sub", (1, "y")), (expm1, neg)),
    (("logistic", ("x",)), ("sub", (1, "y")), (neg, logistic)),
    (("logistic", ("x",)), ("sub", ("y", 1)), (neg, logistic, neg)),
]
_OUTER = frozenset(outer[0] for _, outer, _ in _RULES)


def stabilise(jaxpr: Jaxpr, known: Container[str]) -> Jaxpr:
    """The program with the functions of the table, as far as a back end knows them."""
    if not any(e.primitive.name in _OUTER for e in jaxpr.eqns):
        return jaxpr
    uses = Counter(a for e in jaxpr.eqns for a in e.inputs if isinstance(a, Var))
    uses.update(a for a in jaxpr.outs if isinstance(a, Var))
    definitions: dict[Var, Eqn] = {}
    replaced: dict[Eqn, list[Eqn]] = {}
    for eqn in jaxpr.eqns:
        definitions.update(dict.fromkeys(eqn.outputs, eqn))
        if eqn.primitive.name not in _OUTER or eqn.outputs[0].aval.dtype.kind != "f":
            continue
        inner = next((definitions[a] for a in eqn.inputs if isinstance(a, Var) and a in definitions), None)
        if inner is None or uses[inner.outputs[0]] != 1 or inner in replaced:
            continue
        for first, second, functions in _RULES:
            if _matches(inner, first) and _matches(eqn, second) and all(f.name in known for f in functions):
                x = inner.inputs[first[1].index("x")]
                replaced[inner], replaced[eqn] = [], _applied(functions, x, eqn)
                break
    if not replaced:
        return jaxpr
    eqns = [new for e in jaxpr.eqns for new in replaced.get(e, [e])]
    return Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)


def _matches(eqn: Eqn, form: tuple[str, Sequence[str | int]]) -> bool:
    name, operands = form
    return eqn.primitive.name == name and all(
        isinstance(a, Var) and a.aval.shape == eqn.outputs[0].aval.shape
        if isinstance(wanted, str)
        else isinstance(a, Literal) and a.value == wanted
        for a, wanted in zip(eqn.inputs, operands, strict=True)
    )


def _applied(functions: Sequence[Primitive], x: Atom, eqn: Eqn) -> list[Eqn]:
    """The functions one after the other, with the result of an equation."""
    eqns: list[Eqn] = []
    for f in functions:
        result = eqn.outputs[0] if len(eqns) == len(functions) - 1 else Var(eqn.outputs[0].aval)
        eqns.append(Eqn(f, [x], [result], {}, eqn.source))
        x = result
    return eqns
