"""The memory of a program, known before it runs: the compiler writes down what each line allocates and lets go of.

What an operation allocates inside of itself (the columns of a convolution, say) and objects that are no arrays are not
counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

__all__ = ["Ledger", "MemoryAnalysis"]


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
