"""Inlining: calls of jitted, checkpointed and custom-rule functions become their bodies.

By the time a program is compiled it has been differentiated and batched, so the boundaries of calls have no meaning
left. A primitive that the back end lacks is replaced by its definition in terms of others.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from ..core.ir import Atom, Eqn, Jaxpr, Var
from ..core.source import at_source
from ..core.trace import stage
from .named import named_call

__all__ = ["Kernels", "inline_calls"]

#: From the name, the body and the static arguments of a call to something, where the back end has a kernel for it.
Kernels = Callable[[str, Jaxpr, Sequence[tuple[str, Any]] | None], object]

#: From the name of a call primitive to the parameter that holds what it runs.
CALLS = {"jit": "jaxpr", "checkpoint": "jaxpr", "custom_call": "fun"}


def inline_calls(jaxpr: Jaxpr, known: Container[str], kernels: Kernels | None = None) -> Jaxpr:
    """The same program without calls, and without primitives that are neither ``known`` nor control flow.

    A call for whose name and body ``kernels`` has something becomes a ``named_call``.
    """
    if not any(_is_inlined(e, known) for e in jaxpr.eqns):
        return jaxpr
    eqns: list[Eqn] = []
    constvars, consts = list(jaxpr.constvars), list(jaxpr.consts)

    def copy(body: Jaxpr, inputs: Sequence[Atom]) -> list[Atom]:
        """Write the equations of a body, with new variables: a body may be called twice."""
        scope: dict[Var, Atom] = dict(zip(body.invars, inputs))
        for var, const in zip(body.constvars, body.consts):
            scope[var] = fresh = Var(var.aval)
            constvars.append(fresh)
            consts.append(const)
        for eqn in body.eqns:
            eqn = _named(eqn, kernels)
            operands = [scope[a] if isinstance(a, Var) else a for a in eqn.inputs]
            if _is_inlined(eqn, known):
                scope.update(zip(eqn.outputs, copy(_body(eqn), operands)))
                continue
            outputs = [Var(v.aval) for v in eqn.outputs]
            scope.update(zip(eqn.outputs, outputs))
            eqns.append(Eqn(eqn.primitive, operands, outputs, eqn.params, eqn.source))
        return [scope[a] if isinstance(a, Var) else a for a in body.outs]

    outer: dict[Var, Atom] = {}
    for eqn in jaxpr.eqns:
        eqn = _named(eqn, kernels)
        operands = [outer.get(a, a) if isinstance(a, Var) else a for a in eqn.inputs]
        if _is_inlined(eqn, known):
            outer.update(zip(eqn.outputs, copy(_body(eqn), operands)))
        else:
            eqns.append(Eqn(eqn.primitive, operands, eqn.outputs, eqn.params, eqn.source))
    outs = [outer.get(a, a) if isinstance(a, Var) else a for a in jaxpr.outs]
    return Jaxpr(jaxpr.invars, eqns, outs, constvars, consts, jaxpr.name)


def _named(eqn: Eqn, kernels: Kernels | None) -> Eqn:
    """A call that has a kernel as the equation that runs it, any other equation as it is."""
    if eqn.primitive.name != "jit" or kernels is None:
        return eqn
    kernel = kernels(eqn.params["name"], eqn.params["jaxpr"], eqn.params.get("static"))
    if kernel is None:
        return eqn
    return Eqn(named_call, eqn.inputs, eqn.outputs, eqn.params | {"kernel": kernel}, eqn.source)


def _is_inlined(eqn: Eqn, known: Container[str]) -> bool:
    primitive = eqn.primitive
    return primitive.name in CALLS or not (primitive.name in known or primitive.control or primitive.expand is None)


def _body(eqn: Eqn) -> Jaxpr:
    """What an equation runs."""
    primitive = eqn.primitive
    if primitive.name in CALLS:
        body: Jaxpr = eqn.params[CALLS[primitive.name]]
        return body

    def definition(*args: Any) -> list[Any]:
        assert primitive.expand is not None
        result = primitive.expand(*args, **eqn.params)
        return list(result) if primitive.multiple else [result]

    with at_source() as here:
        here.move(eqn.source)
        return stage(definition, [a.aval for a in eqn.inputs], primitive.name)
