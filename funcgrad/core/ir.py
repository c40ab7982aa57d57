"""The IR: a jaxpr is a straight-line, typed program in A-normal form.

    jaxpr ::= { lambda consts ; inputs . let  outputs = primitive[params] operands  ... in (outs) }

A ``Var`` has a type and an identity, no name (the printer names it). A ``Literal`` is a constant of rank 0. An equation
applies one primitive: positional operands are arrays, keyword parameters are static. A jaxpr held in an equation's
parameters (the body of a loop, a jitted call) has no consts: what it closes over is passed as operands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .config import config
from .errors import IRError
from .source import Source
from .types import Aval

if TYPE_CHECKING:
    from .trace import Primitive

__all__ = ["Atom", "Eqn", "Jaxpr", "Literal", "Var", "check", "map_subjaxprs", "subjaxprs"]


class Var:
    """A variable: assigned once, compared by identity."""

    __slots__ = ("aval",)

    def __init__(self, aval: Aval) -> None:
        self.aval = aval

    def __repr__(self) -> str:
        return f"Var({self.aval})"


class Literal:
    """A constant of rank 0, held as a NumPy scalar of its dtype."""

    __slots__ = ("aval", "value")

    def __init__(self, value: Any, aval: Aval) -> None:
        self.value = value
        self.aval = aval

    def __repr__(self) -> str:
        return f"Literal({self.value!r})"


Atom = Var | Literal


class Eqn:
    """One step: ``outputs = primitive[params](*inputs)``, at a line of the user's program."""

    __slots__ = ("inputs", "outputs", "params", "primitive", "source")

    def __init__(
        self,
        primitive: Primitive,
        inputs: Sequence[Atom],
        outputs: Sequence[Var],
        params: dict[str, Any],
        source: Source | None = None,
    ) -> None:
        self.primitive = primitive
        self.inputs = inputs
        self.outputs = outputs
        self.params = params
        self.source = source

    def replace(self, **changes: Any) -> Eqn:
        """A copy with some fields changed."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return Eqn(**(fields | changes))

    def __repr__(self) -> str:
        return f"Eqn({self.primitive.name})"


class Jaxpr:
    """A program. Immutable by convention; compared by identity; ``memo`` caches what is derived from it."""

    __slots__ = ("__weakref__", "constvars", "consts", "eqns", "invars", "memo", "name", "outs")

    def __init__(
        self,
        invars: Sequence[Var],
        eqns: Sequence[Eqn],
        outs: Sequence[Atom],
        constvars: Sequence[Var] = (),
        consts: Sequence[Any] = (),
        name: str = "fn",
    ) -> None:
        self.invars = list(invars)
        self.eqns = list(eqns)
        self.outs = list(outs)
        self.constvars = list(constvars)
        self.consts = list(consts)
        self.name = name
        self.memo: dict[Any, Any] = {}
        if config.check_ir:
            check(self)

    @property
    def in_avals(self) -> list[Aval]:
        return [v.aval for v in self.invars]

    @property
    def out_avals(self) -> list[Aval]:
        return [a.aval for a in self.outs]

    def __str__(self) -> str:
        from .printer import print_jaxpr  # the printer needs the classes above

        return print_jaxpr(self)

    __repr__ = __str__

    def __reduce__(self) -> tuple[Any, ...]:
        return Jaxpr, (self.invars, self.eqns, self.outs, self.constvars, self.consts, self.name)


def subjaxprs(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """The jaxprs held in an equation's parameters, directly or in tuples."""
    for value in params.values():
        if isinstance(value, Jaxpr):
            yield value
        elif isinstance(value, tuple):
            for item in value:
                if isinstance(item, Jaxpr):
                    yield item


def map_subjaxprs(function: Callable[[Jaxpr], Jaxpr], params: dict[str, Any]) -> dict[str, Any]:
    """An equation's parameters with other jaxprs in place of those that they hold, directly or in tuples."""
    mapped = dict(params)
    for name, value in params.items():
        if isinstance(value, Jaxpr):
            mapped[name] = function(value)
        elif isinstance(value, tuple) and any(isinstance(v, Jaxpr) for v in value):
            mapped[name] = tuple(function(v) if isinstance(v, Jaxpr) else v for v in value)
    return mapped


def check(jaxpr: Jaxpr, *, nested: bool = False) -> None:
    """Verify a jaxpr: variables are defined before use and once, and every type is what its primitive derives.

    Raises :class:`IRError` with the equations around the fault.
    """
    if nested and jaxpr.consts:
        raise IRError("a jaxpr held in an equation's parameters must not have consts")
    if len(jaxpr.constvars) != len(jaxpr.consts):
        raise IRError(f"{len(jaxpr.constvars)} constant variables for {len(jaxpr.consts)} constants")
    defined: set[Var] = set()

    def define(var: Var, where: str) -> None:
        if var in defined:
            raise _fault(jaxpr, f"a variable of type {var.aval} is assigned twice, {where}", index)
        defined.add(var)

    index = -1
    for var in [*jaxpr.constvars, *jaxpr.invars]:
        define(var, "as an input")
    for index, eqn in enumerate(jaxpr.eqns):
        for atom in eqn.inputs:
            _check_atom(jaxpr, atom, defined, index)
        for inner in subjaxprs(eqn.params):
            check(inner, nested=True)
        try:
            derived = eqn.primitive.type(*(a.aval.strong() for a in eqn.inputs), **eqn.params)
        except Exception as error:
            raise _fault(jaxpr, f"equation {index} does not type-check: {error}", index) from error
        types = list(derived) if eqn.primitive.multiple else [derived]
        found = [v.aval.strong() for v in eqn.outputs]
        if [t.strong() for t in types] != found:
            raise _fault(jaxpr, f"equation {index} is declared {found} but derives {types}", index)
        for var in eqn.outputs:
            define(var, f"by equation {index}")
    for atom in jaxpr.outs:
        _check_atom(jaxpr, atom, defined, len(jaxpr.eqns))


def _check_atom(jaxpr: Jaxpr, atom: Any, defined: set[Var], index: int) -> None:
    if isinstance(atom, Literal):
        if np.shape(atom.value) != () or np.asarray(atom.value).dtype != atom.aval.dtype:
            raise _fault(jaxpr, f"the literal {atom.value!r} is not of type {atom.aval}", index)
    elif not isinstance(atom, Var):
        raise _fault(jaxpr, f"{atom!r} is neither a variable nor a literal", index)
    elif atom not in defined:
        raise _fault(jaxpr, f"a variable of type {atom.aval} is used before it is defined", index)


def _fault(jaxpr: Jaxpr, message: str, index: int) -> IRError:
    from .printer import print_window

    return IRError(f"{message}\n{print_window(jaxpr, index)}")
