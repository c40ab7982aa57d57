"""The errors of funcgrad, for ``except`` clauses. The docstring of each type is its cause and its fix."""

from .core.errors import *
from .core.errors import __all__ as __all__
