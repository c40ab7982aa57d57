"""Data sets: the digits that ship with the library, and readers for the files of others.

Everything returned is a plain ``numpy.ndarray``; a file that cannot be used raises ``DataError``.
"""

from .digits import load_digits
from .errors import DataError
from .idx import load_mnist, read_idx

__all__ = ["DataError", "load_digits", "load_mnist", "read_idx"]
