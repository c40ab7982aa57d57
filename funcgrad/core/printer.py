"""Printing jaxprs, as JAX prints them.

    { lambda a:f64[3] . let b:f64[3] = sin a in (b,) }

Names are given in order of appearance. A jaxpr that is used more than once is printed once, as ``let name = {...}``.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import count
from typing import Any

import numpy as np

from .ir import Atom, Eqn, Jaxpr, Literal, Var, subjaxprs

__all__ = ["Names", "print_jaxpr", "print_window", "variable_name"]

_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def variable_name(index: int) -> str:
    """The index-th name: a, b, ..., z, aa, ab, ...

    >>> variable_name(0), variable_name(25), variable_name(26)
    ('a', 'z', 'aa')
    """
    name = ""
    index += 1
    while index:
        index, digit = divmod(index - 1, 26)
        name = _ALPHABET[digit] + name
    return name


class Names(dict[Var, str]):
    """Names for variables, given on first look-up."""

    def __init__(self) -> None:
        self._fresh = map(variable_name, count())

    def __missing__(self, var: Var) -> str:
        self[var] = name = next(self._fresh)
        return name


def print_jaxpr(jaxpr: Jaxpr, *, source: bool = False) -> str:
    """The text of a jaxpr. With ``source``, each equation carries the user's line as a comment."""
    uses: Counter[int] = Counter()
    seen: dict[int, Jaxpr] = {}

    def visit(j: Jaxpr) -> None:
        for eqn in j.eqns:
            for inner in subjaxprs(eqn.params):
                uses[id(inner)] += 1
                if id(inner) not in seen:
                    seen[id(inner)] = inner
                    visit(inner)

    visit(jaxpr)
    shared: dict[int, str] = {}
    taken: Counter[str] = Counter()
    lines: list[str] = []
    for key, inner in seen.items():
        if uses[key] > 1:
            taken[inner.name] += 1
            shared[key] = inner.name if taken[inner.name] == 1 else f"{inner.name}_{taken[inner.name]}"
    for key, name in shared.items():
        lines.append(f"let {name} = {_body(seen[key], shared, source)} in")
    lines.append(_body(jaxpr, shared, source))
    return "\n".join(lines)


def print_window(jaxpr: Jaxpr, index: int, radius: int = 10) -> str:
    """The equations around number ``index``, which is marked: for error messages."""
    names = Names()
    for var in [*jaxpr.constvars, *jaxpr.invars]:
        names[var]
    lines = []
    for i, eqn in enumerate(jaxpr.eqns):
        text = _equation(eqn, names, {}, False)
        if abs(i - index) <= radius:
            lines.append(("> " if i == index else "  ") + text)
    return "\n".join(lines)


def _body(jaxpr: Jaxpr, shared: dict[int, str], source: bool) -> str:
    names = Names()
    consts = " ".join(_binder(v, names) for v in jaxpr.constvars)
    inputs = " ".join(_binder(v, names) for v in jaxpr.invars)
    head = " ".join(["lambda", *([consts, ";"] if consts else []), *([inputs] if inputs else [])])
    eqns = [_equation(e, names, shared, source) for e in jaxpr.eqns]
    outs = ", ".join(_atom(a, names) for a in jaxpr.outs) + ("," if len(jaxpr.outs) == 1 else "")
    flat = f"{{ {head} . let {'; '.join(eqns)}{' ' if eqns else ''}in ({outs}) }}"
    if not source and len(flat) <= 100 and len(eqns) <= 1 and "\n" not in flat:
        return flat
    body = "\n".join(_indent(e, 4) for e in eqns)
    return f"{{ {head} . let\n{body}\n  in ({outs}) }}"


def _indent(text: str, by: int) -> str:
    pad = " " * by
    return "\n".join(pad + line for line in text.split("\n"))


def _binder(var: Var, names: Names) -> str:
    return f"{names[var]}:{var.aval}"


def _atom(atom: Atom, names: Names) -> str:
    if isinstance(atom, Literal):
        return f"{_scalar(atom.value)}:{atom.aval}"
    return names[atom]


def _scalar(value: Any) -> str:
    return str(value.item()) if isinstance(value, np.generic) else str(value)


def _equation(eqn: Eqn, names: Names, shared: dict[int, str], source: bool) -> str:
    operands = "".join(" " + _atom(a, names) for a in eqn.inputs)
    outputs = " ".join(_binder(v, names) for v in eqn.outputs)
    params = [f"{k}={_param(v, shared, source)}" for k, v in sorted(eqn.params.items()) if v is not None]
    if any("\n" in p for p in params) or sum(map(len, params)) > 90:
        listed = "[\n" + "\n".join(_indent(p, 2) for p in params) + "\n]"
    else:
        listed = f"[{' '.join(params)}]" if params else ""
    comment = f"  # {'backward of ' if eqn.source.backward else ''}{eqn.source}" if source and eqn.source else ""
    equals = f"{outputs} = " if outputs else ""
    return f"{equals}{eqn.primitive.name}{listed}{operands}{comment}"


def _param(value: Any, shared: dict[int, str], source: bool) -> str:
    if isinstance(value, Jaxpr):
        return shared.get(id(value)) or _body(value, shared, source)
    if isinstance(value, tuple):
        inner = [_param(v, shared, source) for v in value]
        if any("\n" in i for i in inner):
            return "(\n" + "\n".join(_indent(i, 2) for i in inner) + "\n)"
        return f"({', '.join(inner)}{',' if len(inner) == 1 else ''})"
    if isinstance(value, np.dtype):
        return value.name
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    # Where an object lies differs from run to run.
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(value))
