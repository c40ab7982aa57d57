"""What those need who extend funcgrad with primitives, back ends and passes. It may change between versions.

A new primitive is a subclass of :class:`Primitive` with its rules, and an entry in the table ``ops`` of each back end;
a new back end is a subclass of :class:`Backend` or :class:`SourceBackend`, under an entry point of ``funcgrad.backends``.
CONTRIBUTING.md walks through both.
"""

from .compiler.backend import SourceBackend
from .compiler.program import compile_jaxpr
from .compiler.simplify import simplify
from .core.backend import Backend, backend_of, current_backend, get_backend, register_backend
from .core.ir import Eqn, Jaxpr, Literal, Var, check, subjaxprs
from .core.printer import print_jaxpr
from .core.trace import Primitive, Tracer, current_trace, eval_jaxpr, stage
from .core.types import Aval, aval_of, promote
from .primitives.elementwise import Elementwise

__all__ = [
    "Aval",
    "Backend",
    "Elementwise",
    "Eqn",
    "Jaxpr",
    "Literal",
    "Primitive",
    "SourceBackend",
    "Tracer",
    "Var",
    "aval_of",
    "backend_of",
    "check",
    "compile_jaxpr",
    "current_backend",
    "current_trace",
    "eval_jaxpr",
    "get_backend",
    "print_jaxpr",
    "promote",
    "register_backend",
    "simplify",
    "stage",
    "subjaxprs",
]
