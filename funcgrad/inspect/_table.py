"""Tables and quantities as text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["quantity", "seconds", "table"]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    """Columns of texts under a head; those numbered in ``right`` are aligned to the right."""
    columns = list(zip(head, *rows))
    widths = [max(map(len, column)) for column in columns]
    lines = [
        [t.rjust(w) if i in right else t.ljust(w) for i, (t, w) in enumerate(zip(r, widths))] for r in (head, *rows)
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def quantity(x: float, unit: str = "") -> str:
    """A number with three digits and a prefix.

    >>> quantity(1234567, "B"), quantity(12), quantity(0)
    ('1.23 MB', '12', '0')
    """
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(x) >= scale:
            return f"{x / scale:.3g} {prefix}{unit}"
    return f"{x:.3g} {unit}".rstrip()


def seconds(t: float) -> str:
    """A time in a unit that fits.

    >>> seconds(0.00123), seconds(2.5e-7)
    ('1.23 ms', '0.25 us')
    """
    return f"{t:.3g} s" if t >= 1 else f"{t * 1e3:.3g} ms" if t >= 1e-3 else f"{t * 1e6:.3g} us"
