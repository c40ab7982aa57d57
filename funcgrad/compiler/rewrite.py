"""One walk over a program that rewrites it: local algebra, constant folding, common subexpressions.

The walk goes forward, so that each equation sees the simplest form of its operands. An equation of which every operand
is a literal is evaluated; one that repeats an earlier one is replaced by it; a broadcast of a scalar disappears into an
elementwise operation, which broadcasts by itself; then the rules of :mod:`.algebra` are asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.backend import get_backend
from ..core.ir import Atom, Eqn, Jaxpr, Literal, Var
from ..core.source import Source
from ..core.trace import Primitive
from ..core.types import Aval
from ..primitives import broadcast_in_dim, convert
from .algebra import RULES
from .rules import Rule

__all__ = ["Rewriter", "rewrite"]

#: Equations that stay what and where they are, however often they are repeated.
_UNIQUE = frozenset(["optimization_barrier"])


#: Whose operands may change places, bit for bit.
_COMMUTATIVE = frozenset(["add", "mul"])


class Rewriter:
    """The program being written. Rules read ``definition`` and make equations with ``apply``."""

    def __init__(self, rules: Mapping[str, Rule] | None = None) -> None:
        self.own_rules: Mapping[str, Rule] = rules or {}
        self.eqns: list[Eqn] = []
        self.definitions: dict[Var, Eqn] = {}
        self.seen: dict[Any, Sequence[Var]] = {}
        self.source: Source | None = None
        self.ops = get_backend("numpy").ops

    def definition(self, atom: Atom, name: str) -> Eqn | None:
        """The equation that makes an operand, if it is of this primitive."""
        if isinstance(atom, Var):
            eqn = self.definitions.get(atom)
            if eqn is not None and eqn.primitive.name == name:
                return eqn
        return None

    def known(self, primitive: Primitive, *inputs: Atom) -> Var | None:
        """The result of an operation without parameters, if it is there already."""
        found = self.seen.get(_key(primitive, inputs, {}))
        return found[0] if found is not None else None

    def apply(self, primitive: Primitive, *inputs: Atom, **params: Any) -> Atom:
        """The simplest atom that has the value of a primitive with a single result."""
        return self.equation(primitive, inputs, params, None)[0]

    def equation(
        self, primitive: Primitive, inputs: Sequence[Atom], params: dict[str, Any], outputs: Sequence[Var] | None
    ) -> Sequence[Atom]:
        """The atoms that have the values of an equation; ``outputs`` are its variables if it is written as it is."""
        if primitive.elementwise:
            result = self._elementwise(primitive, inputs, params)
            if result is not None:
                return [result]
        for rules in (RULES, self.own_rules):
            rule = rules.get(primitive.name)
            if rule is not None:
                result = rule(self, inputs, params)
                if result is not None:
                    return [result]
        key: Any = None
        if not primitive.effect and primitive.name not in _UNIQUE:
            key = _key(primitive, inputs, params)
            try:
                found = self.seen.get(key)
            except TypeError:  # a parameter that cannot be hashed
                key = None
            else:
                if found is not None:
                    return found
        if outputs is None:
            derived = primitive.type(*[a.aval.strong() for a in inputs], **params)
            outputs = [Var(derived)]
        eqn = Eqn(primitive, inputs, outputs, params, self.source)
        self.eqns.append(eqn)
        for v in outputs:
            self.definitions[v] = eqn
        if key is not None:
            self.seen[key] = outputs
        return outputs

    def _elementwise(self, primitive: Primitive, inputs: Sequence[Atom], params: dict[str, Any]) -> Atom | None:
        """Folded if all operands are literals; done before the broadcast, or beside it, if operands are broadcasts."""
        shape: tuple[int, ...] | None = None
        literals = True
        small = list(inputs)
        dims: tuple[int, ...] | None = None
        source_shape: tuple[int, ...] | None = None
        for i, a in enumerate(inputs):
            if isinstance(a, Literal):
                continue
            literals = False
            if not a.aval.shape:
                continue
            eqn = self.definition(a, "broadcast_in_dim")
            if eqn is None:
                shape = a.aval.shape
                break
            x = eqn.inputs[0]
            if x.aval.shape:
                if source_shape is not None and (source_shape, dims) != (x.aval.shape, tuple(eqn.params["dims"])):
                    shape = a.aval.shape
                    break
                source_shape, dims = x.aval.shape, tuple(eqn.params["dims"])
            small[i] = x
        else:
            if literals:
                return self._folded(primitive, inputs, params)
            full = next((a.aval.shape for a in inputs if a.aval.shape), ())
            if full:
                result = self.apply(primitive, *small, **params)
                return self.apply(broadcast_in_dim, result, shape=full, dims=dims or ())
            return None
        # An operand of full shape: scalars need no broadcast beside it.
        changed = False
        for i, a in enumerate(inputs):
            small[i] = a
            eqn = self.definition(a, "broadcast_in_dim") if a.aval.shape else None
            if eqn is not None and not eqn.inputs[0].aval.shape:
                small[i] = eqn.inputs[0]
                changed = True
        if changed and any(a.aval.shape == shape for a in small):
            return self.apply(primitive, *small, **params)
        return None

    def _folded(self, primitive: Primitive, inputs: Sequence[Atom], params: dict[str, Any]) -> Atom | None:
        op = self.ops.get(primitive.name)
        if op is None:
            return None
        value = np.asarray(op(*[a.value for a in inputs if isinstance(a, Literal)], **params))
        derived: Aval = primitive.type(*[a.aval.strong() for a in inputs], **params)
        if value.dtype != derived.dtype:
            return None
        return Literal(value[()], derived)


def _key(primitive: Primitive, inputs: Sequence[Atom], params: dict[str, Any]) -> tuple[Any, ...]:
    """Equal for equations of equal value."""
    operands = [_identity(a) for a in inputs]
    if primitive.name in _COMMUTATIVE:
        operands.sort(key=hash)
    return (primitive.name, *operands, *params.items())


def _identity(atom: Atom) -> Any:
    """Equal for equal operands: variables by identity, literals by their bits."""
    if isinstance(atom, Var):
        return atom
    return (atom.aval.dtype, atom.value.tobytes())


def _stacked_once(scan: Eqn, env: dict[Var, Atom]) -> Eqn:
    """A scan that stacks each value of its body once; ``env`` says which output stands for one that goes."""
    body, k = scan.params["jaxpr"], scan.params["num_carry"]
    first: dict[Atom, Var] = {}
    kept = list(range(k))
    for i in range(k, len(body.outs)):
        out = body.outs[i]
        if out in first:
            env[scan.outputs[i]] = first[out]
        else:
            first[out] = scan.outputs[i]
            kept.append(i)
    if len(kept) == len(body.outs):
        return scan
    key = ("kept", tuple(kept))
    lean = body.memo.get(key)
    if lean is None:
        lean = body.memo[key] = Jaxpr(body.invars, body.eqns, [body.outs[i] for i in kept], name=body.name)
    return scan.replace(outputs=[scan.outputs[i] for i in kept], params=scan.params | {"jaxpr": lean})


def rewrite(jaxpr: Jaxpr, rules: Mapping[str, Rule] | None = None) -> Jaxpr:
    """The program after algebra, folding and common subexpressions; dead equations are left to others."""
    writer = Rewriter(rules)
    env: dict[Var, Atom] = {}
    equation = writer.equation
    with np.errstate(all="ignore"):
        for eqn in jaxpr.eqns:
            writer.source = eqn.source
            inputs = [env.get(a, a) if isinstance(a, Var) else a for a in eqn.inputs]
            if eqn.primitive.name == "scan":
                eqn = _stacked_once(eqn, env)
            results = equation(eqn.primitive, inputs, eqn.params, eqn.outputs)
            if results is not eqn.outputs:
                env.update(zip(eqn.outputs, results))
    outs: list[Atom] = []
    for a in jaxpr.outs:
        atom = env.get(a, a) if isinstance(a, Var) else a
        if atom.aval.weak != a.aval.weak:
            # What the result is to the caller, a Python scalar or not, is a part of its type.
            if isinstance(atom, Literal):
                atom = Literal(atom.value, a.aval)
            else:
                var = Var(a.aval)
                params = {"dtype": a.aval.dtype, "weak": a.aval.weak}
                writer.eqns.append(Eqn(convert, [atom], [var], params))
                atom = var
        outs.append(atom)
    return Jaxpr(jaxpr.invars, writer.eqns, outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)
