"""SciPy's functions for traced values, under SciPy's names. SciPy itself is needed by ``optimize`` only."""

from . import linalg, optimize, special, stats

__all__ = ["linalg", "optimize", "special", "stats"]
