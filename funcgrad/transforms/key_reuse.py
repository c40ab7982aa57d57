"""Which keys a program uses, found without running it: for ``config.debug_key_reuse``.

The program is run on *words* in place of arrays: an integer array becomes an int64 array of the values of its elements
where they are known, and of names elsewhere (see ``core/key_reuse.py``). What moves elements (a slice, a reshape, the
choice of a row) moves words; anything else makes new names. Thus ``keys[0]`` and ``keys[1]`` are different keys, and
``keys[0]`` is the same one each time.

Loops run a few steps, which shows a key that is constant over the loop as used twice and one that is replaced as not. A
``while`` loop is taken to repeat. The branches of a conditional exclude each other; so do those that a ``vmap`` with a mapped
predicate runs side by side, which :func:`apart` marks. What a checkpoint computes again is not a use
(:func:`without_uses`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..core.backend import get_backend
from ..core.ir import Atom, Eqn, Jaxpr, Literal, Var, subjaxprs
from ..core.key_reuse import NAMES, Ledger, Use, record, tokens
from ..core.source import Source, user_source
from ..core.trace import Primitive, Tracer
from ..core.types import Aval

__all__ = ["apart", "check_keys", "check_program", "without_uses"]

Words = np.ndarray[Any, Any] | None

#: The primitives that move elements and change none; the operands after the first are indices, which must be known.
_MOVES = {"slice", "reshape", "transpose", "rev", "copy", "broadcast_in_dim", "gather", "dynamic_slice"}
#: So many steps of a loop are looked at; and of one whose number of steps is not known.
_STEPS, _UNKNOWN_STEPS = 32, 3


def check_program(jaxpr: Jaxpr, args: Sequence[Any]) -> None:
    """Enter the keys that a call of ``jaxpr`` uses in the record. Raises KeyReuseError if one has been used."""
    if _uses_keys(jaxpr):
        with _Run() as run:
            run.jaxpr(jaxpr, [_known(x) for x in args])


def check_keys(primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> None:
    """As :func:`check_program`, of one primitive that holds jaxprs."""
    if any(map(_uses_keys, subjaxprs(params))):
        with _Run() as run:
            run.equation(primitive, [_known(x) for x in args], params, user_source())


def _known(x: Any) -> Words:
    """The words of an array that is there: of those that may be keys, integers to fold with, or indices."""
    if isinstance(x, Tracer) or np.result_type(x).kind not in "biu":
        return None
    # As in the cipher, a word is modulo 2**32; it must not be taken for a name.
    return np.asarray(x).astype(np.int64) % 2**32 if np.result_type(x) != np.bool_ else np.asarray(x, np.int64)


def _are_known(words: Words) -> bool:
    return words is not None and not (words >= NAMES).any()


class _Run:
    """One look at a program: names are its own, and forgotten with it."""

    def __init__(self) -> None:
        self.ledger = Ledger(record().ledger)
        self.call = user_source()

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if error is None:
            record().ledger.merge([self.ledger], known=True)

    def name(self, aval: Aval) -> Words:
        """New names for the elements of an array, if it may be one of keys."""
        if aval.dtype.kind not in "biu":
            return None
        count = aval.size
        names = record().names
        return np.fromiter((next(names) for _ in range(count)), np.int64, count).reshape(aval.shape)

    def jaxpr(self, jaxpr: Jaxpr, args: Sequence[Words]) -> list[Words]:
        """The words of the results."""
        env: dict[Var, Words] = {v: _known(c) for v, c in zip(jaxpr.constvars, jaxpr.consts, strict=True)}
        env.update(zip(jaxpr.invars, args, strict=True))

        def read(atom: Atom) -> Words:
            if isinstance(atom, Literal):
                return _known(atom.value)
            if env.get(atom) is None:
                # Named when it is first looked at: most values never are.
                env[atom] = self.name(atom.aval)
            return env[atom]

        for eqn in jaxpr.eqns:
            name = eqn.primitive.name
            if name in _MOVES or name in _RULES or name == "use_key":
                results = self.equation(eqn.primitive, [read(a) for a in eqn.inputs], eqn.params, eqn.source)
                env.update(zip(eqn.outputs, results, strict=True))
        return [read(a) for a in jaxpr.outs]

    def equation(
        self, primitive: Primitive, args: Sequence[Words], params: dict[str, Any], source: Source | None
    ) -> list[Words]:
        """The words of the results of an equation; None for names that are yet to be given."""
        if primitive.name == "use_key":
            words, *data = args
            use = Use(source, self.call, params["branches"])
            for token in tokens(words, *data):
                self.ledger.use(token, use)
            return []
        if primitive.name in _MOVES:
            first, *indices = args
            if first is None or not all(map(_are_known, indices)):
                return [None]
            return [np.asarray(get_backend("numpy").ops[primitive.name](first, *indices, **params))]
        return _RULES[primitive.name](self, args, params)

    def steps(self, count: int, carry: list[Words], step: Callable[[int, list[Words]], list[Words]]) -> list[Words]:
        """The carry of a loop after its first steps; what these change is not known at its end."""
        start = carry
        for i in range(min(count, _STEPS)):
            carry = step(i, carry)
        return [a if a is b else None for a, b in zip(start, carry, strict=True)]


# The primitives that hold jaxprs, and those that move elements in ways of their own -----------------------------------


def _same(run: _Run, args: Sequence[Words], params: dict[str, Any]) -> list[Words]:
    return list(args)


def _concatenate(run: _Run, args: Sequence[Words], params: dict[str, Any]) -> list[Words]:
    parts = [x for x in args if x is not None]
    return [np.concatenate(parts, params["axis"]) if len(parts) == len(args) else None]


def _convert(run: _Run, args: Sequence[Words], params: dict[str, Any]) -> list[Words]:
    return [args[0] if params["dtype"].kind in "iu" else None]


def _call(run: _Run, args: Sequence[Words], params: dict[str, Any]) -> list[Words]:
    return run.jaxpr(params["jaxpr"] if "jaxpr" in params else params["fun"], args)


def _cond(run: _Run, args: Sequence[Words], params: dict[str, Any]) -> list[Words]:
    index, *operands = args
    branches: Sequence[Jaxpr] = params["branches"]
    if index is not None and _are_known(index):
        return run.jaxpr(branches[int(index)], operands)
    outer, ledgers, results = run.ledger, [], []
    for branch in branches:
        run.ledger = Ledger(outer)
        results.append(run.jaxpr(branch, operands))
        ledgers.append(run.ledger)
    run.ledger = outer
    outer.merge(ledgers)
    return [
        x[0] if all(y is not None and x[0] is not None and np.array_equal(y, x[0]) for y in x) else None
        for x in zip(*results, strict=True)
    ]


def _scan(run: _Run, args: Sequence[Words], params: dict[str, Any]) -> list[Words]:
    jaxpr, nc, nk, length = params["jaxpr"], params["num_consts"], params["num_carry"], params["length"]
    consts, xs = list(args[:nc]), args[nc + nk :]

    def step(i: int, carry: list[Words]) -> list[Words]:
        row = length - 1 - i if params["reverse"] else i
        return run.jaxpr(jaxpr, [*consts, *carry, *(None if x is None else x[row] for x in xs)])[:nk]

    return [*run.steps(length, list(args[nc : nc + nk]), step), *[None] * (len(jaxpr.outs) - nk)]


def _while(run: _Run, args: Sequence[Words], params: dict[str, Any]) -> list[Words]:
    nc, nb = params["cond_nconsts"], params["body_nconsts"]

    def step(_: int, carry: list[Words]) -> list[Words]:
        run.jaxpr(params["cond_jaxpr"], [*args[:nc], *carry])
        return run.jaxpr(params["body_jaxpr"], [*args[nc : nc + nb], *carry])

    return run.steps(_UNKNOWN_STEPS, list(args[nc + nb :]), step)


_RULES: dict[str, Callable[[_Run, Sequence[Words], dict[str, Any]], list[Words]]] = {
    "stop_gradient": _same,
    "optimization_barrier": _same,
    "concatenate": _concatenate,
    "convert": _convert,
    "jit": _call,
    "checkpoint": _call,
    "custom_call": _call,
    "cond": _cond,
    "scan": _scan,
    "while": _while,
}


# Programs that a transform repeats ------------------------------------------------------------------------------------


def _uses_keys(jaxpr: Jaxpr) -> bool:
    if "uses keys" not in jaxpr.memo:
        jaxpr.memo["uses keys"] = any(
            e.primitive.name == "use_key" or any(map(_uses_keys, subjaxprs(e.params))) for e in jaxpr.eqns
        )
    return jaxpr.memo["uses keys"]  # type: ignore[no-any-return]


def _rewritten(jaxpr: Jaxpr, change: Callable[[Eqn], Iterator[Eqn]]) -> Jaxpr:
    """The program with its uses of keys changed, at all depths."""
    if not _uses_keys(jaxpr):
        return jaxpr

    def renewed(value: Any) -> Any:
        if isinstance(value, Jaxpr):
            return _rewritten(value, change)
        return tuple(map(renewed, value)) if isinstance(value, tuple) else value

    eqns: list[Eqn] = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "use_key":
            eqns.extend(change(eqn))
        else:
            eqns.append(eqn.replace(params={k: renewed(v) for k, v in eqn.params.items()}))
    return Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)


def without_uses(jaxpr: Jaxpr) -> Jaxpr:
    """The program, which runs again with keys that were used when it first ran."""
    return _rewritten(jaxpr, lambda eqn: iter(()))


def apart(branches: Sequence[Jaxpr]) -> Sequence[Jaxpr]:
    """Programs that all run though the results of one count: their uses of a key exclude each other."""
    conditional = object()

    def marking(i: int) -> Callable[[Eqn], Iterator[Eqn]]:
        return lambda eqn: iter([eqn.replace(params={"branches": (*eqn.params["branches"], (conditional, i))})])

    return [_rewritten(b, marking(i)) for i, b in enumerate(branches)]
