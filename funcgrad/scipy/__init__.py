"""SciPy's functions for traced values, under SciPy's names. SciPy itself is not needed."""

from . import linalg

__all__ = ["linalg"]
