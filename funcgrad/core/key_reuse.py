"""The record of the random keys that were used, for ``config.debug_key_reuse``.

Two uses of one key give equal numbers. A use is a draw or a split, which takes the key as a whole, or a ``fold_in``,
which takes what belongs to one integer. So a *token* is the two words of the key and, for a ``fold_in``, the integer; and
a token may be used once. As in JAX's checker a ``fold_in`` leaves the key fresh for draws: the keys that come out of it
are seen by their own value, so that ``split(key)[1]`` and ``fold_in(key, 1)``, which are equal, cannot both be used.

A word is its value where the value is known. Within a program, where it is not, it is a name: an integer beyond
all values, of which no two are equal. What is known is kept for as long as the setting is on.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from .errors import KeyReuseError
from .source import Source

__all__ = ["NAMES", "Ledger", "Use", "forget_keys", "record", "tokens"]

#: Words from here on are names.
NAMES = 2**40

Token = tuple[int, ...]
#: The branches, of conditionals that run all of them, in which a use is: (which conditional, which branch).
Branches = tuple[tuple[object, int], ...]


class Use(NamedTuple):
    """Where a key was used: the line, the line of the call of the program that it is in, if any, and the branches."""

    source: Source | None
    call: Source | None = None
    branches: Branches = ()

    def excludes(self, other: Use) -> bool:
        """Whether at most one of the two takes place: they are in different branches of one conditional."""
        return any(c is d and i != j for c, i in self.branches for d, j in other.branches)

    def describe(self) -> str:
        inner = self.source.describe() if self.source else "an unknown line"
        if self.call is None or self.call == self.source:
            return inner
        return f"{inner}\n    in a program called at {self.call.describe()}"


class Ledger:
    """Which tokens were used, and where. What a part of a program adds to ``parent`` is kept apart until it is merged."""

    def __init__(self, parent: Ledger | None = None) -> None:
        self.parent = parent
        self.uses: dict[Token, list[Use]] = {}

    def use(self, token: Token, use: Use) -> None:
        """Enter a use. Raises KeyReuseError if the token has been used."""
        ledger: Ledger | None = self
        while ledger is not None:
            for before in ledger.uses.get(token, ()):
                if not before.excludes(use):
                    raise KeyReuseError(_message(token, before, use))
            ledger = ledger.parent
        self.uses.setdefault(token, []).append(use)

    def merge(self, parts: Iterable[Ledger], known: bool = False) -> None:
        """Take over the entries of other ledgers, or those of known values alone."""
        for part in parts:
            for token, uses in part.uses.items():
                if not known or max(token) < NAMES:
                    self.uses.setdefault(token, []).extend(uses)


def _message(token: Token, before: Use, use: Use) -> str:
    high, low, *data = token
    key = f"the key [{high} {low}]" if max(high, low) < NAMES else "a random key"
    what = "is used twice: what is drawn from it is equal both times"
    if data:
        with_what = f"the integer {data[0]}" if data[0] < NAMES else "one integer"
        what = f"is folded twice with {with_what}: the two new keys are equal"
    if before == use:
        return (
            f"{key} {what}\n  both times at {use.describe()}\n  in a loop that does not replace the key, or by calls from "
            f"one line; carry a new key in each step, or fold_in(key, i) the number of the step"
        )
    return (
        f"{key} {what}\n  first at {before.describe()}\n  again at {use.describe()}\n  make a key for each use: "
        f"`key, subkey = fg.random.split(key)`"
    )


def tokens(words: Any, data: Any = None) -> set[Token]:
    """The tokens of the keys (..., 2) and, for a ``fold_in``, of the integers (...). The rows of one use are one use."""
    pairs = np.asarray(words).reshape(-1, 2).astype(np.int64)
    if data is not None:
        pairs = np.column_stack([pairs, np.asarray(data).reshape(-1).astype(np.int64)])
    return set(map(tuple, pairs.tolist()))


class _Record(threading.local):
    def __init__(self) -> None:
        self.ledger = Ledger()
        self.names = itertools.count(NAMES)


_record = _Record()


def record() -> _Record:
    """The uses of keys of known value in this thread (``ledger``), and names that nobody has had (``names``)."""
    return _record


def forget_keys() -> None:
    """Begin a new record."""
    _record.ledger = Ledger()
