"""The text of a generated module: its names, its numbers, and the lines that come together in it."""

from __future__ import annotations

import builtins
import keyword
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import BackendError
from ..core.ir import Eqn
from ..core.source import Source
from ..core.types import dtype_name
from .fusion import kernel
from .memory import Ledger

if TYPE_CHECKING:
    from .backend import SourceBackend

__all__ = ["Module", "type_name"]

_KEYWORDS = frozenset(keyword.kwlist) | frozenset(dir(builtins))


class Module:
    """The source of a program: a prologue that runs once, functions for the bodies of control flow, and the function.

    ``entry`` is the name of the function, ``objects`` the values of names that have no text: the constants of the
    jaxpr, callbacks.
    """

    def __init__(self, backend: SourceBackend) -> None:
        self.backend = backend
        self.reserved = _KEYWORDS | frozenset(backend.namespace) | {"inf", "nan"}
        self.objects: dict[str, Any] = {}
        self.functions: dict[tuple[int, frozenset[int]], tuple[str, list[bool]]] = {}
        self.blocks: list[list[tuple[str, Source | None]]] = []
        self.prologue: list[tuple[str, Source | None]] = []
        self.literals: dict[Any, str] = {}
        self.taken: set[str] = set()
        self.kernels: dict[int, str] = {}
        #: Of each function, the bytes of the buffers that are its own and that it returns.
        self.returned: dict[str, int] = {}
        self.ledgers: dict[str, Ledger] = {}
        #: For each function of a group the pools of its results, and the sizes and pools of what else it allocates.
        self.workspaces: dict[str, tuple[Sequence[Any], Sequence[tuple[int, Any]]]] = {}
        self.entry = ""

    def assemble(self) -> tuple[str, dict[int, Source]]:
        """The text, and the user's place for each line number."""
        lines: list[tuple[str, Source | None]] = list(self.prologue)
        for block in self.blocks:
            if lines:
                lines += [("", None), ("", None)]
            lines += block
        return "".join(f"{text}\n" for text, _ in lines), {i: s for i, (_, s) in enumerate(lines, 1) if s is not None}

    def unique(self, name: str) -> str:
        """A module-level name that nothing else has. Bar the entry's, it has an underscore or a digit inside, as no
        variable's has."""
        name = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name).strip("_") or "fn"
        if name[0].isdigit() or name in self.reserved:
            name = f"fn_{name}"
        fresh, i = name, 1
        stem = name.removesuffix("_1")
        while fresh in self.taken:
            i += 1
            fresh = f"{stem}_{i}"
        self.taken.add(fresh)
        return fresh

    def bind(self, value: Any, name: str) -> str:
        """The name of an object that has no text."""
        name = self.unique(name)
        self.objects[name] = value
        return name

    def kernel(self, eqn: Eqn) -> str:
        """The name of the back end's callable for a group of equations; the same one for the same callable."""
        found = kernel(eqn, self.backend)
        name = self.kernels.get(id(found))
        if name is None:
            name = self.kernels[id(found)] = self.bind(found, "fused_1")
        return name

    def callee(self, name: str) -> str:
        """The name under which programs call the operation of a primitive."""
        op = self.backend.ops.get(name)
        if op is None:
            raise BackendError(f"the back end {self.backend.name!r} has no {name!r}")
        text: str = getattr(op, "__name__", "")
        if self.backend.namespace.get(text) is op:
            return text
        text = f"op_{name}"
        self.objects[text] = op
        return text

    def constant(self, value: Any) -> str:
        """The name of a literal as an array of rank 0."""
        key = (value.dtype, value.tobytes())
        name = self.literals.get(key)
        if name is None:
            text = f"{dtype_name(value.dtype)}_{_word(value)}"
            name = self.literals[key] = self.unique(text)
            dtype = "" if value.dtype in (np.float64, np.int64) else f", {type_name(value.dtype)}"
            self.prologue.append((f"{name} = array({self.number(value)}{dtype})", None))
        return name

    def number(self, value: Any) -> str:
        """A literal as a Python number."""
        kind = value.dtype.kind
        if kind in "biu":
            return repr(value.item())
        if kind == "c":
            return f"complex({self.number(value.real)}, {self.number(value.imag)})"
        number = float(value)
        if not math.isfinite(number):
            text = "nan" if math.isnan(number) else "inf"
            self.objects[text] = math.nan if text == "nan" else math.inf
            return f"-{text}" if number < 0 else text
        # The shortest text of the narrow number, where rounding it twice does no harm.
        short = float(str(value))
        return repr(short if value.dtype.type(short) == value else number)

    def typed(self, value: Any) -> str:
        """A literal as a scalar of its dtype."""
        return f"{type_name(value.dtype)}({self.number(value)})"

    def param(self, value: Any) -> str:
        """The text of a static parameter."""
        if isinstance(value, tuple):
            inner = [self.param(v) for v in value]
            return f"({inner[0]},)" if len(inner) == 1 else f"({', '.join(inner)})"
        if value is None or isinstance(value, (bool, int, str)):
            return repr(value)
        if isinstance(value, float) and math.isfinite(value):
            return repr(value)
        if isinstance(value, np.dtype) and "dtype" in self.backend.namespace:
            return f'dtype("{value.name}")'
        return self.bind(value, getattr(value, "__name__", "param"))


def type_name(dtype: np.dtype[Any]) -> str:
    """The name of a dtype's scalar type in generated programs."""
    return "bool_" if dtype.kind == "b" else dtype.name


def _word(value: Any) -> str:
    """A number as a part of a name: 2.0 is ``2``, -0.5 is ``m0p5``."""
    text = str(value).removesuffix(".0").replace("-", "m").replace("+", "").replace(".", "p")
    return text if text.isalnum() and len(text) <= 12 else "k"
