"""Elementary functions as text of LLVM's intermediate language.

Each is a function of one number or of a vector of them, without branches, to be inlined into a loop:

>>> from funcgrad_llvm.math import definitions, symbol
>>> symbol("exp", "float32", 16)
'fg_exp_f32_16'
>>> "@llvm.fma.v16f32" in definitions(["fg_exp_f32_16"], avx512=False)
True

A file holds a family with its mathematics; `ir.py` is the language they are written in, `coefficients.py` what
`tests/minimax.py` found.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from . import error, exponential, inverse_trigonometric, large_arguments, logarithmic, power, scaling, trigonometric
from .ir import FLOAT32, FLOAT64, Value, define, narrow, widen

__all__ = ["definitions", "symbol"]

#: By the primitive's name: the function, and whether it computes in double precision where its operand is single.
FUNCTIONS = {
    "acos": (inverse_trigonometric.acos, False),
    "acosh": (logarithmic.acosh, True),
    "asin": (inverse_trigonometric.asin, False),
    "asinh": (logarithmic.asinh, True),
    "atan": (inverse_trigonometric.atan, False),
    "atan2": (inverse_trigonometric.atan2, False),
    "atanh": (logarithmic.atanh, True),
    "cbrt": (power.cbrt, False),
    "cos": (trigonometric.cos, False),
    "cosh": (exponential.cosh, False),
    "erf": (error.erf, False),
    "erfc": (error.erfc, True),
    "exp": (exponential.exp, False),
    "exp2": (exponential.exp2, False),
    "expm1": (exponential.expm1, False),
    "log": (logarithmic.log, False),
    "log1p": (logarithmic.log1p, False),
    "logistic": (exponential.logistic, False),
    "pow": (power.pow, False),
    "rsqrt": (power.rsqrt, False),
    "sin": (trigonometric.sin, False),
    "sinh": (exponential.sinh, True),
    "tan": (trigonometric.tan, True),
    "tanh": (exponential.tanh, False),
}
_FORMATS = {"float32": FLOAT32, "float64": FLOAT64}
_BINARY = frozenset({"atan2", "pow"})


def symbol(primitive: str, dtype: object, lanes: int = 1) -> str | None:
    """The name of the LLVM function that evaluates a primitive on `lanes` numbers of a dtype; None where there is none.

    >>> symbol("atan2", "float64", 8), symbol("sin", "int32")
    ('fg_atan2_f64_8', None)
    """
    form = _FORMATS.get(str(dtype))
    return None if form is None or primitive not in FUNCTIONS else f"fg_{primitive}_{form.name}_{lanes}"


@cache
def _definition(name: str) -> str:
    _, primitive, suffix, lanes = name.split("_")
    evaluate, in_double = FUNCTIONS[primitive]
    form = FLOAT32 if suffix == "f32" else FLOAT64

    def body(*operands: Value) -> Value:
        if in_double and form is FLOAT32:
            return narrow(evaluate(*(widen(x) for x in operands)))
        return evaluate(*operands)

    return define(name, body, [form.type] * (2 if primitive in _BINARY else 1), int(lanes))


def definitions(symbols: Iterable[str], avx512: bool) -> str:
    """The text of the functions of these names and of all that they call, each once, in an order that depends on the
    set of names only.

    `avx512`: for a processor with all of its vectors. It declares nothing but what it defines: LLVM knows its own intrinsic functions.
    """
    texts = [_definition(name) for name in sorted(set(symbols))]
    texts += large_arguments.called_by(texts)
    return "\n\n".join(texts + scaling.called_by(texts, avx512)) + "\n"
