"""From a jaxpr to Python source: one line an equation, and loops and branches as Python's own.

A *root* is a buffer that variables share: a view has the root of its operand. A root is owned if the program made it
and nothing outside can see it; only an owned root is overwritten (``out=``), once all variables that share it are dead,
and an output that shares a root with something else is copied. What depends on literals only is computed once, ahead of
the function.
"""

from __future__ import annotations

import builtins
import itertools
import keyword
import math
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import BackendError
from ..core.ir import Atom, Eqn, Jaxpr, Literal, Var
from ..core.printer import Names
from ..core.source import Source
from ..core.types import Aval, dtype_name

if TYPE_CHECKING:
    from .backend import SourceBackend

__all__ = ["Module", "emit"]

#: From this size on buffers are reused and deleted: below it, a fresh allocation costs less than the bookkeeping.
LARGE_BYTES = 16384
#: Up to this size of the result a literal operand is an array of rank 0, which NumPy takes 0.2 us faster than a number.
SMALL_SIZE = 4096
#: What depends on literals only is kept in memory between calls up to this size.
HOIST_BYTES = 1 << 20
#: Never computed ahead: they have effects, or are there to stay where they are.
_FIXED = frozenset(["pure_callback", "optimization_barrier"])

_PYTHON_TYPES = {"int64": "int", "float64": "float", "complex128": "complex", "bool": "bool"}
_KEYWORDS = frozenset(keyword.kwlist) | frozenset(dir(builtins))


class Root:
    """A buffer, with the variables that share it."""

    __slots__ = ("last", "names", "owned", "parent")

    def __init__(self, owned: bool, last: int = -1) -> None:
        self.owned = owned
        self.last = last
        self.names: list[str] = []
        self.parent: Root | None = None


def _find(root: Root) -> Root:
    while root.parent is not None:
        if root.parent.parent is not None:
            root.parent = root.parent.parent
        root = root.parent
    return root


def _merge(roots: Iterable[Root]) -> Root:
    first: Root | None = None
    for root in roots:
        root = _find(root)
        if first is None:
            first = root
        elif root is not first:
            root.parent = first
            first.owned &= root.owned
            first.last = max(first.last, root.last)
            first.names += root.names
    return first or Root(False)


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

    def function(self, jaxpr: Jaxpr, donated: frozenset[int] = frozenset()) -> tuple[str, list[bool]]:
        """The name of the function for a body, written once; and which of its results are buffers of their own.

        It may overwrite the inputs in ``donated``.
        """
        found = self.functions.get((id(jaxpr), donated))
        if found is None:
            # Variables never begin with an underscore, so none hides the function.
            name = f"_{self.unique(jaxpr.name)}"
            function = Function(self, jaxpr, name, inner=True, donated=donated)
            function.write()
            found = self.functions[id(jaxpr), donated] = (name, function.fresh)
        return found


def type_name(dtype: np.dtype[Any]) -> str:
    """The name of a dtype's scalar type in generated programs."""
    return "bool_" if dtype.kind == "b" else dtype.name


def _word(value: Any) -> str:
    """A number as a part of a name: 2.0 is ``2``, -0.5 is ``m0p5``."""
    text = str(value).removesuffix(".0").replace("-", "m").replace("+", "").replace(".", "p")
    return text if text.isalnum() and len(text) <= 12 else "k"


def _nbytes(aval: Aval) -> int:
    return aval.size * aval.dtype.itemsize


class Function:
    """One function of the generated module."""

    def __init__(
        self, module: Module, jaxpr: Jaxpr, name: str, inner: bool, donated: frozenset[int] = frozenset()
    ) -> None:
        self.module = module
        self.backend = module.backend
        self.jaxpr = jaxpr
        self.name = name
        self.inner = inner
        self.donated = donated
        self.names = Names()
        self.text: dict[Var, str] = {}
        self.lines: list[tuple[str, Source | None]] = []
        self.roots: dict[Var, Root] = {}
        self.hoisted: set[Var] = set()
        self.lazy: dict[Var, tuple[Var, tuple[int, ...]]] = {}
        self.pending: dict[int, str] = {}
        self.counter = 0
        self.fresh: list[bool] = []
        self.uses: dict[Var, list[int]] = {}

    def write(self) -> None:
        jaxpr = self.jaxpr
        for v, value in zip(jaxpr.constvars, jaxpr.consts):
            name = self.text[v] = self.module.unique(f"const_{self._printed(v)}")
            self.module.objects[name] = value
        arguments = [self._name(v) for v in jaxpr.invars]
        self._analyse()
        head = f"def {self.name}({', '.join(arguments)}):"
        if not self.inner:
            self._guards()
        for index, eqn in enumerate(jaxpr.eqns):
            self._equation(index, eqn)
        self._return()
        self.module.blocks.append([(head, None), *self.lines])

    # Names --------------------------------------------------------------------------------------------------------

    def _printed(self, var: Var) -> str:
        name = self.names[var]
        return name + "_" if name in self.module.reserved else name

    def _name(self, var: Var) -> str:
        """The name of a variable: the printer's."""
        name = self.text.get(var)
        if name is None:
            name = self.text[var] = self._printed(var)
        return name

    def _temporary(self) -> str:
        self.counter += 1
        return f"i{self.counter}"

    def _line(self, text: str, source: Source | None = None, indent: int = 1) -> None:
        comment = f"  # {os.path.basename(source.file)}:{source.line}" if source is not None else ""
        self.lines.append((f"{'    ' * indent}{text}{comment}", source))

    # Analysis -----------------------------------------------------------------------------------------------------

    def _analyse(self) -> None:
        """Find the uses, what can be computed ahead, which broadcasts need no array, and who shares memory."""
        jaxpr = self.jaxpr
        uses = self.uses
        hoisted = self.hoisted
        for index, eqn in enumerate(jaxpr.eqns):
            ahead = not (eqn.primitive.control or eqn.primitive.effect or eqn.primitive.name in _FIXED)
            for a in eqn.inputs:
                if isinstance(a, Var):
                    uses.setdefault(a, []).append(index)
                    ahead = ahead and a in hoisted
            if ahead and sum(_nbytes(v.aval) for v in eqn.outputs) <= HOIST_BYTES:
                hoisted.update(eqn.outputs)
        self._find_lazy({a for a in jaxpr.outs if isinstance(a, Var)})
        self._find_roots()

    def _find_lazy(self, outs: set[Var]) -> None:
        """Broadcasts whose every use is elementwise beside an operand of full shape: the operation broadcasts itself.

        ``lazy`` gives the operand of such a broadcast, and the shape it is to have (1 on the axes that are repeated).
        """
        eqns, lazy = self.jaxpr.eqns, self.lazy
        for eqn in eqns:
            if eqn.primitive.name == "broadcast_in_dim" and isinstance(eqn.inputs[0], Var):
                x, result = eqn.inputs[0], eqn.outputs[0]
                if result in outs or result in self.hoisted or x in lazy:
                    continue
                if all(eqns[i].primitive.elementwise for i in self.uses.get(result, ())):
                    aligned = [1] * result.aval.ndim
                    for n, d in zip(x.aval.shape, eqn.params["dims"]):
                        aligned[d] = n
                    lazy[result] = (x, tuple(aligned))
        for eqn in eqns if lazy else ():
            if not any(a in lazy for a in eqn.inputs if isinstance(a, Var)):
                continue
            shape = eqn.outputs[0].aval.shape
            while True:
                views = [a for a in eqn.inputs if isinstance(a, Var) and a in lazy]
                # As it will be written: leading axes of size 1 are left out, so one operand must have them.
                shapes = [
                    _without_leading(lazy[a][1]) if isinstance(a, Var) and a in lazy else a.aval.shape
                    for a in eqn.inputs
                ]
                if not views or np.broadcast_shapes(*shapes) == shape:
                    break
                del lazy[views[0]]

    def _find_roots(self) -> None:
        jaxpr, roots = self.jaxpr, self.roots
        for v in [*jaxpr.constvars, *self.hoisted]:
            roots[v] = Root(False)
        for i, v in enumerate(jaxpr.invars):
            roots[v] = Root(i in self.donated)
        for index, eqn in enumerate(jaxpr.eqns):
            operands = [a for a in eqn.inputs if isinstance(a, Var)]
            for a in operands:
                _find(roots[a]).last = index
            if eqn.outputs and eqn.outputs[0] in self.hoisted:
                continue
            if eqn.primitive.control:
                n = len(eqn.outputs)
                fresh = self._new_results(eqn)
                for i, v in enumerate(eqn.outputs):
                    if not fresh[i]:
                        roots[v] = _merge([Root(False), *(roots[a] for a in operands)])
                    elif (
                        eqn.primitive.name == "while"
                        and i not in self._carried(eqn)
                        and isinstance(init := eqn.inputs[i - n], Var)
                    ):
                        roots[v] = _merge([roots[init]])  # the loop may not run at all
                    else:
                        roots[v] = Root(True)
            elif eqn.outputs and (eqn.outputs[0] in self.lazy or self.backend.may_alias(eqn)):
                # A view is one of the first operand; a choice, or a tuple, may be any.
                every = eqn.primitive.elementwise or eqn.primitive.multiple
                shared = [roots[a] for a in (operands if every else operands[:1])]
                shared = [Root(False)] if eqn.primitive.name == "pure_callback" else shared
                for v in eqn.outputs:
                    roots[v] = _merge(shared)
            else:
                for v in eqn.outputs:
                    roots[v] = Root(True)
        for out in jaxpr.outs:
            if isinstance(out, Var):
                _find(roots[out]).last = len(jaxpr.eqns)

    def _new_results(self, eqn: Eqn) -> list[bool]:
        """Which results of a control equation are buffers that nothing else shares."""
        params, name = eqn.params, eqn.primitive.name
        if name == "scan":
            carried = self._carried(eqn)
            fresh = self._body(eqn)[1][: params["num_carry"]]
            fresh = [i in carried or (f and params["length"] > 0) for i, f in enumerate(fresh)]
            return fresh + [True] * (len(eqn.outputs) - len(fresh))
        if name == "cond":
            branches = [self.module.function(b)[1] for b in params["branches"]]
            return [all(b[i] for b in branches) for i in range(len(eqn.outputs))]
        if name == "while":
            return self._body(eqn)[1]
        return [False] * len(eqn.outputs)

    def _carried(self, eqn: Eqn) -> frozenset[int]:
        """The large carries that a loop may overwrite, step by step: they must always be buffers of their own."""
        params = eqn.params
        if eqn.primitive.name == "scan":
            body, first, count = params["jaxpr"], params["num_consts"], params["num_carry"]
        else:
            body, first, count = params["body_jaxpr"], params["body_nconsts"], len(eqn.outputs)
        key = ("carried", self.backend.name, first, count)
        found: frozenset[int] | None = body.memo.get(key)
        if found is None:
            found = frozenset(i for i in range(count) if _nbytes(eqn.outputs[i].aval) >= LARGE_BYTES)
            if found:
                trial = Function(Module(self.backend), body, "trial", True, frozenset(first + i for i in found))
                trial.write()
                found = found if all(trial.fresh[i] for i in found) else frozenset()
            body.memo[key] = found
        return found

    def _body(self, eqn: Eqn) -> tuple[str, list[bool]]:
        """The function of a loop's body."""
        scan = eqn.primitive.name == "scan"
        first = eqn.params["num_consts" if scan else "body_nconsts"]
        donated = frozenset(first + i for i in self._carried(eqn))
        return self.module.function(eqn.params["jaxpr" if scan else "body_jaxpr"], donated)

    # Statements ---------------------------------------------------------------------------------------------------

    def _guards(self) -> None:
        """Python numbers become scalars of their dtype: Python's arithmetic raises where NumPy's wraps or gives inf."""
        for v in self.jaxpr.invars:
            python = _PYTHON_TYPES.get(v.aval.dtype.name)
            if python is not None and not v.aval.shape:
                name = self._name(v)
                self._line(f"if type({name}) is {python}: {name} = {type_name(v.aval.dtype)}({name})")

    def _equation(self, index: int, eqn: Eqn) -> None:
        for v in eqn.outputs:
            self._printed(v)
        primitive = eqn.primitive.name
        if eqn.primitive.control:
            self._control(index, eqn)
            return
        if eqn.outputs and eqn.outputs[0] in self.lazy:
            self._view(eqn)
            return
        ahead = bool(eqn.outputs) and eqn.outputs[0] in self.hoisted
        operands = self._operands(eqn)
        if index in self.pending:
            expression: str | tuple[str, ...] | None = self.pending.pop(index)
        else:
            if self._pair(eqn, operands):
                return
            template = self.backend.templates.get(primitive)
            if ahead:
                for v in eqn.outputs:
                    self.text[v] = self.module.unique("ahead_1")
            target = ", ".join(self._name(v) for v in eqn.outputs)
            expression = self._reuse(index, eqn, operands) or (template and template(eqn, operands, target))
        target = ", ".join(self._name(v) for v in eqn.outputs) + ("," if self._unpacks(eqn) else "")
        if expression is None:
            arguments = [*operands, *(f"{k}={self.module.param(v)}" for k, v in eqn.params.items())]
            expression = f"{self.module.callee(primitive)}({', '.join(arguments)})"
        if isinstance(expression, str):
            expression = (f"{target} = {expression}" if target else expression,)
        for statement in expression:
            if ahead:
                self.module.prologue.append((statement, eqn.source))
            else:
                self._line(statement, eqn.source)
        if not ahead:
            self._delete(index, eqn)

    def _unpacks(self, eqn: Eqn) -> bool:
        return eqn.primitive.multiple and len(eqn.outputs) == 1

    def _operands(self, eqn: Eqn) -> list[str]:
        """The texts of the operands. How a literal is written depends on what is beside it."""
        module = self.module
        texts = []
        for a in eqn.inputs:
            if isinstance(a, Var):
                texts.append(self._name(a))
            elif not eqn.primitive.elementwise:
                weak = eqn.primitive.name in self.backend.weak_literals
                texts.append(module.number(a.value) if weak else module.typed(a.value))
            elif eqn.outputs[0].aval.shape:
                weak = eqn.outputs[0].aval.size > SMALL_SIZE and eqn.primitive.name in self.backend.weak_literals
                texts.append(module.number(a.value) if weak else module.constant(a.value))
            else:
                weak = eqn.primitive.name in self.backend.weak_literals
                weak = weak and any(isinstance(b, Var) for b in eqn.inputs)
                texts.append(module.number(a.value) if weak else module.typed(a.value))
        return texts

    def _view(self, eqn: Eqn) -> None:
        """A broadcast that the elementwise operations behind it do by themselves: at most axes of size 1 are added."""
        result = eqn.outputs[0]
        x, shape = self.lazy[result]
        name = self._name(x)
        # Trailing axes align by themselves.
        extra = len(shape) - x.aval.ndim
        if shape[extra:] == x.aval.shape and all(n == 1 for n in shape[:extra]):
            self.text[result] = name
            return
        dims = eqn.params["dims"]
        index = [":" if d in dims else "None" for d in range(dims[0], len(shape))]
        view = f"{name}[{', '.join(index)}]"
        if len(self.uses.get(result, ())) == 1:
            self.text[result] = view
        else:
            self._line(f"{self._name(result)} = {view}", eqn.source)
            _find(self.roots[result]).names.append(self._name(result))

    def _pair(self, eqn: Eqn, operands: list[str]) -> bool:
        """Whether this equation is written together with the only one that uses its result."""
        used = self.uses.get(eqn.outputs[0], ()) if len(eqn.outputs) == 1 else ()
        if len(used) != 1 or not self.backend.pairs:
            return False
        second = self.jaxpr.eqns[used[0]]
        pair = self.backend.pairs.get((eqn.primitive.name, second.primitive.name))
        if pair is None or eqn.outputs[0] in self.hoisted or any(a is eqn.outputs[0] for a in self.jaxpr.outs):
            return False
        text = pair(eqn, second, operands)
        if text is None:
            return False
        self.pending[used[0]] = text
        return True

    def _reuse(self, index: int, eqn: Eqn, operands: list[str]) -> str | None:
        """An operation written into the buffer of an operand that dies here: of any one, if it is elementwise."""
        name = self.backend.inplace.get(eqn.primitive.name)
        if name is None:
            return None
        aval = eqn.outputs[0].aval
        if _nbytes(aval) < LARGE_BYTES:
            return None
        anywhere = eqn.primitive.elementwise
        for a, text in list(zip(eqn.inputs, operands))[: None if anywhere else 1]:
            if not isinstance(a, Var) or a in self.lazy or a.aval.shape != aval.shape or a.aval.dtype != aval.dtype:
                continue
            root = _find(self.roots[a])
            if not root.owned or root.last != index:
                continue
            if not anywhere and any(isinstance(b, Var) and _find(self.roots[b]) is root for b in eqn.inputs[1:]):
                continue
            _find(self.roots[eqn.outputs[0]]).names += root.names
            root.names = []
            params = [f"{k}={self.module.param(v)}" for k, v in eqn.params.items()]
            return f"{name}({', '.join([*operands, *params, f'out={text}'])})"
        return None

    def _delete(self, index: int, eqn: Eqn) -> None:
        """Let go of large buffers after their last use."""
        for v in eqn.outputs:
            if _nbytes(v.aval) >= LARGE_BYTES:
                _find(self.roots[v]).names.append(self._name(v))
        dead: list[str] = []
        for a in [*eqn.inputs, *eqn.outputs]:
            if isinstance(a, Var):
                root = _find(self.roots[a])
                if root.owned and root.last <= index and root.names:
                    dead += root.names
                    root.names = []
        if dead and index + 1 < len(self.jaxpr.eqns):
            self._line(f"del {', '.join(dead)}")

    # Control flow -------------------------------------------------------------------------------------------------

    def _atoms(self, atoms: Sequence[Atom]) -> list[str]:
        return [self._name(a) if isinstance(a, Var) else self.module.typed(a.value) for a in atoms]

    def _control(self, index: int, eqn: Eqn) -> None:
        writer = {"scan": self._scan, "while": self._while, "cond": self._cond}.get(eqn.primitive.name)
        if writer is None:
            raise BackendError(f"the compiler does not know the control primitive {eqn.primitive.name!r}")
        writer(index, eqn)
        self._delete(index, eqn)

    def _start(self, index: int, eqn: Eqn, carry: list[str], inits: Sequence[Atom]) -> None:
        """Give the carries their first values: copies, if the loop will overwrite what it may not."""
        carried = self._carried(eqn)
        operands = [_find(self.roots[a]) for a in eqn.inputs if isinstance(a, Var)]
        for i, (name, init, text) in enumerate(zip(carry, inits, self._atoms(inits))):
            if i in carried and isinstance(init, Var):
                root = _find(self.roots[init])
                if root.owned and root.last == index and operands.count(root) == 1 and init not in self.lazy:
                    _find(self.roots[eqn.outputs[i]]).names += root.names
                    root.names = []
                else:
                    text = f"{text}.copy()"
            self._line(f"{name} = {text}", eqn.source)

    def _scan(self, index: int, eqn: Eqn) -> None:
        params = eqn.params
        body, _ = self._body(eqn)
        operands = self._atoms(eqn.inputs)
        n, k = params["num_consts"], params["num_carry"]
        outputs = [self._name(v) for v in eqn.outputs]
        carry, stacked = outputs[:k], outputs[k:]
        xs = operands[n + k :]
        self._start(index, eqn, carry, eqn.inputs[n : n + k])
        length = params["length"]
        for name, v in zip(stacked, eqn.outputs[k:]):
            self._line(f"{name} = empty({self.module.param(v.aval.shape)}, {type_name(v.aval.dtype)})", eqn.source)
        i = self._temporary() if xs or stacked else "_"
        self._line(f"for {i} in range({f'{length - 1}, -1, -1' if params['reverse'] else length}):", eqn.source)
        targets = ", ".join(carry + [f"{y}[{i}]" for y in stacked])
        arguments = ", ".join(operands[:n] + carry + [f"{x}[{i}]" for x in xs])
        self._line(f"{targets}{' = ' if targets else ''}{body}({arguments})", eqn.source, 2)

    def _while(self, index: int, eqn: Eqn) -> None:
        params = eqn.params
        test, _ = self.module.function(params["cond_jaxpr"])
        body, _ = self._body(eqn)
        operands = self._atoms(eqn.inputs)
        n, m = params["cond_nconsts"], params["body_nconsts"]
        carry = [self._name(v) for v in eqn.outputs]
        self._start(index, eqn, carry, eqn.inputs[n + m :])
        self._line(f"while {test}({', '.join(operands[:n] + carry)}):", eqn.source)
        targets = ", ".join(carry)
        arguments = ", ".join(operands[n : n + m] + carry)
        self._line(f"{targets}{' = ' if targets else ''}{body}({arguments})", eqn.source, 2)

    def _cond(self, index: int, eqn: Eqn) -> None:
        chosen, *operands = self._atoms(eqn.inputs)
        branches = [self.module.function(b)[0] for b in eqn.params["branches"]]
        targets = ", ".join(self._name(v) for v in eqn.outputs)
        for i, branch in enumerate(branches):
            last = i == len(branches) - 1
            if len(branches) > 1:
                test = "else" if last else f"{'elif' if i else 'if'} {chosen} == {i}"
                self._line(f"{test}:", eqn.source)
            call = f"{branch}({', '.join(operands)})"
            self._line(f"{targets}{' = ' if targets else ''}{call}", eqn.source, 2 if len(branches) > 1 else 1)

    # The end ------------------------------------------------------------------------------------------------------

    def _return(self) -> None:
        texts = []
        seen: set[Root] = set()
        for a in self.jaxpr.outs:
            if isinstance(a, Literal):
                self.fresh.append(False)
                texts.append(self.module.number(a.value) if a.aval.weak else self.module.typed(a.value))
                continue
            name, root = self._name(a), _find(self.roots[a])
            fresh = root.owned and root not in seen
            seen.add(root)
            self.fresh.append(fresh)
            if self.inner:
                texts.append(name)
            elif a.aval.weak:
                texts.append(f"{name}.item()")
            elif fresh:
                texts.append(name)
            else:
                texts.append(f"{name}.copy()" if a.aval.shape else f"{name}[()]")
        # A result that a later one shares memory with is not new either.
        counts: dict[Root, int] = {}
        found = [_find(self.roots[a]) if isinstance(a, Var) else None for a in self.jaxpr.outs]
        for shared in found:
            if shared is not None:
                counts[shared] = counts.get(shared, 0) + 1
        self.fresh = [f and r is not None and counts[r] == 1 for f, r in zip(self.fresh, found)]
        if self.inner:
            self._line(f"return {', '.join(texts)}" if texts else "return ()")
        else:
            self._line(f"return [{', '.join(texts)}]")


def emit(jaxpr: Jaxpr, backend: SourceBackend) -> Module:
    """The source of a simplified jaxpr for a back end."""
    module = Module(backend)
    module.entry = module.unique(jaxpr.name)
    Function(module, jaxpr, module.entry, inner=False).write()
    return module


def _without_leading(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without its leading axes of size 1."""
    return tuple(itertools.dropwhile(lambda n: n == 1, shape))
