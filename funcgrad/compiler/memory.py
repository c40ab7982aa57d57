"""The memory of a program, known before it runs: the compiler writes down what each line allocates and lets go of.

What an operation allocates inside of itself (the columns of a convolution, say) and objects that are no arrays are not
counted.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

from ..core.errors import MemoryBudgetError

__all__ = ["Ledger", "MemoryAnalysis", "as_bytes", "in_units"]

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_BY_NAME = {name.lower(): size for name, size in _UNITS.items()}


def as_bytes(size: int | str) -> int:
    """A size in bytes: an integer, or a number with a unit.

    Raises MemoryBudgetError for something else, an unknown unit, or a size that is not positive.

    >>> as_bytes("64MB"), as_bytes("1.5 GiB"), as_bytes(4096)
    (64000000, 1610612736, 4096)
    """
    if isinstance(size, str):
        found = re.fullmatch(r"\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*([A-Za-z]+)\s*", size)
        if found is None:
            raise MemoryBudgetError(
                f"memory_budget={size!r} is no number with a unit; write '64MB', or a number of bytes"
            )
        unit = _BY_NAME.get(found[2].lower())
        if unit is None:
            raise MemoryBudgetError(f"memory_budget={size!r}: the unit {found[2]!r} is none of {', '.join(_UNITS)}")
        count = int(float(found[1]) * unit)
    elif isinstance(size, int) and not isinstance(size, bool):
        count = size
    else:
        raise MemoryBudgetError(
            f"memory_budget={size!r} is of type {type(size).__name__}; write '64MB', or a number of bytes"
        )
    if count <= 0:
        raise MemoryBudgetError(f"memory_budget={size!r} is not positive")
    return count


def in_units(size: int) -> str:
    """A size for people.

    >>> in_units(999), in_units(64_000_000)
    ('999 B', '64.0 MB')
    """
    for name in ("TB", "GB", "MB", "KB"):
        if size >= _UNITS[name]:
            return f"{size / _UNITS[name]:.1f} {name}"
    return f"{size} B"


class MemoryAnalysis(NamedTuple):
    """Sizes in bytes, by JAX's names: of the arguments, of the results, of what else a call needs at its peak, and of
    all three together at the peak. ``constants`` are the arrays that the program holds at all times, ``alias`` the results
    that lie in the memory of donated arguments.
    """

    argument_size_in_bytes: int
    output_size_in_bytes: int
    temp_size_in_bytes: int
    peak_memory_in_bytes: int
    constant_size_in_bytes: int
    alias_size_in_bytes: int = 0


class Ledger:
    """What a function has allocated at each line, its arguments not counted: ``now``, and the most so far: ``peak``.

    ``given``: the size of the results that lie in donated arguments. ``pooled`` memory is not given back but kept for the next array of its kind.
    """

    def __init__(self) -> None:
        self.now = 0
        self.peak = 0
        self.given = 0
        self._held: dict[Any, list[tuple[int, Any]]] = {}
        self._spare: Counter[Any] = Counter()

    def take(self, owner: Any, size: int, pool: Any = None) -> None:
        """Memory for a buffer; of a ``pool`` (a shape and a dtype), if that is not None."""
        self._held.setdefault(owner, []).append((size, pool))
        if pool is not None and self._spare[pool]:
            self._spare[pool] -= 1
            return
        self.now += size
        self.peak = max(self.peak, self.now)

    def drop(self, owner: Any) -> None:
        """A buffer is let go of."""
        for size, pool in self._held.pop(owner, ()):
            if pool is not None:
                self._spare[pool] += 1
            else:
                self.now -= size

    def move(self, owner: Any, to: Any) -> None:
        """A buffer is written over: it belongs to another variable from here on."""
        self._held.setdefault(to, []).extend(self._held.pop(owner, ()))

    def run(self, other: Ledger, beside: int = 0) -> None:
        """Another function runs, with so many bytes beside it."""
        self.peak = max(self.peak, self.now + beside + other.peak)
