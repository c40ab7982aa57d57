"""SciPy's functions for traced values, under SciPy's names. SciPy itself is not needed."""

from . import linalg, special

__all__ = ["linalg", "special"]
