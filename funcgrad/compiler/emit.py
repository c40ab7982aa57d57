"""From a jaxpr to Python source: one line an equation, and loops and branches as Python's own.

What depends on literals only is computed once, ahead of the function. Large buffers are overwritten (``out=``) or let go
of (``del``) as soon as :mod:`.buffers` allows it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..core.errors import BackendError
from ..core.ir import Atom, Eqn, Jaxpr, Literal, Var
from ..core.printer import Names
from ..core.source import Source
from .buffers import LARGE_BYTES, Buffers, Root, nbytes
from .fusion import fusion
from .memory import Ledger
from .module import Module, type_name
from .named import named_call

if TYPE_CHECKING:
    from .backend import SourceBackend

__all__ = ["Function", "emit"]

#: Up to this size of the result a literal operand is an array of rank 0, which NumPy takes 0.2 us faster than a number.
SMALL_SIZE = 4096

_PYTHON_TYPES = {"int64": "int", "float64": "float", "complex128": "complex", "bool": "bool"}


class Function:
    """One function of the generated module: the whole program, or with ``inner`` a body of control flow.

    ``fresh`` says which results are buffers of their own; ``donated`` are the inputs that it may overwrite.
    """

    def __init__(
        self, module: Module, jaxpr: Jaxpr, name: str, inner: bool, donated: frozenset[int] = frozenset()
    ) -> None:
        self.module = module
        self.backend = module.backend
        self.jaxpr = jaxpr
        self.name = name
        self.inner = inner
        self.names = Names()
        self.text: dict[Var, str] = {}
        self.lines: list[tuple[str, Source | None]] = []
        self.pending: dict[int, str] = {}
        self.counter = 0
        self.fresh: list[bool] = []
        self.ledger = Ledger()
        self.buffers = Buffers(jaxpr, module.backend, donated, self._results)
        #: The buffers of donated inputs, and of what is written over them; those that something is written over.
        self.given = {self.buffers.root(jaxpr.invars[i]) for i in donated}
        self.taken: set[Root] = set()

    def write(self) -> None:
        """Add the function to the module."""
        jaxpr = self.jaxpr
        for v, value in zip(jaxpr.constvars, jaxpr.consts):
            name = self.text[v] = self.module.unique(f"const_{self._printed(v)}")
            self.module.objects[name] = value
        arguments = [self._name(v) for v in jaxpr.invars]
        head = f"def {self.name}({', '.join(arguments)}):"
        if not self.inner:
            self._guards()
        for index, eqn in enumerate(jaxpr.eqns):
            self._equation(index, eqn)
        self._return()
        if self.taken and not self.inner:
            self._take(arguments)
        self.module.blocks.append([(head, None), *self.lines])
        self.module.ledgers[self.name] = self.ledger

    def _take(self, arguments: list[str]) -> None:
        """Begin with taking the memory of donated inputs, as far as nobody else can see it."""
        roots = [self.buffers.root(v) for v in self.jaxpr.invars]
        taken = [a for a, root in zip(arguments, roots) if root in self.taken]
        others = [self._name(v) for v in self.jaxpr.constvars]
        others = [a for a in arguments if a not in taken] + others
        targets = f"{', '.join(taken)}{',' if len(taken) == 1 else ''}"
        self.lines.insert(0, (f"    {targets} = taken([{', '.join(taken)}], [{', '.join(others)}])", None))

    def _overwrite(self, root: Root, result: Root) -> None:
        """A result is written over a buffer that dies."""
        result.names += root.names
        root.names = []
        self.ledger.move(root, result)
        if root in self.given:
            self.taken.add(root)
            self.given.add(result)

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

    # The bodies of control flow ------------------------------------------------------------------------------------

    def _results(self, eqn: Eqn) -> list[bool | Var]:
        """Which results of a control equation are buffers of their own; a variable, if it may also be that operand."""
        params, name = eqn.params, eqn.primitive.name
        if name == "cond":
            branches = [self._function(b)[1] for b in params["branches"]]
            return [all(b[i] for b in branches) for i in range(len(eqn.outputs))]
        if name not in ("scan", "while"):
            return [False] * len(eqn.outputs)
        carried, fresh = self._carried(eqn), self._body(eqn)[1]
        results: list[bool | Var] = []
        for i in range(len(eqn.outputs)):
            if name == "scan":
                stacked = i >= params["num_carry"]
                results.append(stacked or i in carried or (fresh[i] and params["length"] > 0))
                continue
            # The loop may not run at all; what it overwrites has been copied before.
            init = eqn.inputs[i - len(eqn.outputs)]
            results.append(init if isinstance(init, Var) and fresh[i] and i not in carried else fresh[i])
        return results

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
            found = frozenset(i for i in range(count) if nbytes(eqn.outputs[i].aval) >= LARGE_BYTES)
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
        return self._function(eqn.params["jaxpr" if scan else "body_jaxpr"], donated)

    def _function(self, jaxpr: Jaxpr, donated: frozenset[int] = frozenset()) -> tuple[str, list[bool]]:
        """The name of the function for a body, written once; and which of its results are buffers of their own.

        It may overwrite the inputs in ``donated``.
        """
        module = self.module
        found = module.functions.get((id(jaxpr), donated))
        if found is None:
            # Variables never begin with an underscore, so none hides the function.
            name = f"_{module.unique(jaxpr.name)}"
            function = type(self)(module, jaxpr, name, inner=True, donated=donated)
            function.write()
            found = module.functions[id(jaxpr), donated] = (name, function.fresh)
        return found

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
        if eqn.outputs and eqn.outputs[0] in self.buffers.lazy:
            self._view(eqn)
            return
        ahead = bool(eqn.outputs) and eqn.outputs[0] in self.buffers.hoisted
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
            expression = self._reuse(index, eqn, operands)
            if expression is None:
                expression = template(eqn, operands, target) if template else None
                if not ahead and eqn.primitive is not fusion and not self.backend.may_alias(eqn):
                    self._allocate(eqn.outputs)
        target = ", ".join(self._name(v) for v in eqn.outputs) + ("," if self._unpacks(eqn) else "")
        if eqn.primitive is fusion:
            expression = f"{self._group(eqn)}({', '.join(operands)})"
        elif eqn.primitive is named_call:
            expression = f"{self.module.bind(eqn.params['kernel'], 'kernel_1')}({', '.join(operands)})"
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

    def _allocate(self, variables: Iterable[Var]) -> None:
        for v in variables:
            self.ledger.take(self.buffers.root(v), nbytes(v.aval))

    def _group(self, eqn: Eqn) -> str:
        """The name of what runs a group."""
        name = self.backend.write_group(eqn, self.module)
        results, inner = self.module.workspaces.get(name, ([None] * len(eqn.outputs), []))
        for v, pool in zip(eqn.outputs, results):
            self.ledger.take(self.buffers.root(v), nbytes(v.aval), pool)
        for size, pool in inner:
            self.ledger.take(name, size, pool)
        self.ledger.drop(name)
        return name

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
        x, shape = self.buffers.lazy[result]
        name = self._name(x)
        # Trailing axes align by themselves.
        extra = len(shape) - x.aval.ndim
        if shape[extra:] == x.aval.shape and all(n == 1 for n in shape[:extra]):
            self.text[result] = name
            return
        dims = eqn.params["dims"]
        index = [":" if d in dims else "None" for d in range(dims[0], len(shape))]
        view = f"{name}[{', '.join(index)}]"
        if len(self.buffers.uses.get(result, ())) == 1:
            self.text[result] = view
        else:
            self._line(f"{self._name(result)} = {view}", eqn.source)
            self.buffers.root(result).names.append(self._name(result))

    def _pair(self, eqn: Eqn, operands: list[str]) -> bool:
        """Whether this equation is written together with the only one that uses its result."""
        used = self.buffers.uses.get(eqn.outputs[0], ()) if len(eqn.outputs) == 1 else ()
        if len(used) != 1 or not self.backend.pairs:
            return False
        second = self.jaxpr.eqns[used[0]]
        pair = self.backend.pairs.get((eqn.primitive.name, second.primitive.name))
        if pair is None or eqn.outputs[0] in self.buffers.hoisted or eqn.outputs[0] in self.buffers.outs:
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
        if nbytes(aval) < LARGE_BYTES:
            return None
        anywhere = eqn.primitive.elementwise
        candidates = list(zip(eqn.inputs, operands))[: None if anywhere else 1]
        if self.given and anywhere:
            # A result in donated memory needs no other behind the program.
            candidates.sort(key=lambda c: not isinstance(c[0], Var) or self.buffers.root(c[0]) not in self.given)
        for a, text in candidates:
            if (
                not isinstance(a, Var)
                or a in self.buffers.lazy
                or a.aval.shape != aval.shape
                or a.aval.dtype != aval.dtype
            ):
                continue
            root = self.buffers.root(a)
            if not root.owned or root.last != index:
                continue
            if not anywhere and any(isinstance(b, Var) and self.buffers.root(b) is root for b in eqn.inputs[1:]):
                continue
            self._overwrite(root, self.buffers.root(eqn.outputs[0]))
            params = [f"{k}={self.module.param(v)}" for k, v in eqn.params.items()]
            return f"{name}({', '.join([*operands, *params, f'out={text}'])})"
        return None

    def _delete(self, index: int, eqn: Eqn) -> None:
        """Let go of large buffers after their last use."""
        for v in eqn.outputs:
            if nbytes(v.aval) >= LARGE_BYTES:
                self.buffers.root(v).names.append(self._name(v))
        dead: list[str] = []
        for a in [*eqn.inputs, *eqn.outputs]:
            if isinstance(a, Var):
                root = self.buffers.root(a)
                if root.owned and root.last <= index and root.names:
                    dead += root.names
                    root.names = []
                    self.ledger.drop(root)
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

    def _ran(self, bodies: Sequence[str], results: Sequence[Var]) -> None:
        """Bodies ran, and left results: those of a loop's last step stand beside the next ones."""
        own = [v for v in results if self.buffers.root(v).owned]
        beside = sum(nbytes(v.aval) for v in own) if len(bodies) == 1 else 0
        for name in bodies:
            self.ledger.run(self.module.ledgers[name], beside)
        self._allocate(own)

    def _start(self, index: int, eqn: Eqn, carry: list[str], inits: Sequence[Atom]) -> None:
        """Give the carries their first values: copies, if the loop will overwrite what it may not."""
        carried = self._carried(eqn)
        operands = [self.buffers.root(a) for a in eqn.inputs if isinstance(a, Var)]
        for i, (name, init, text) in enumerate(zip(carry, inits, self._atoms(inits))):
            if i in carried and isinstance(init, Var):
                root = self.buffers.root(init)
                if root.owned and root.last == index and operands.count(root) == 1 and init not in self.buffers.lazy:
                    self._overwrite(root, self.buffers.root(eqn.outputs[i]))
                else:
                    text = f"{text}.copy()"
                    self._allocate([eqn.outputs[i]])
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
        self._allocate(eqn.outputs[k:])
        self._ran([body], [v for i, v in enumerate(eqn.outputs[:k]) if i not in self._carried(eqn)])

    def _while(self, index: int, eqn: Eqn) -> None:
        params = eqn.params
        test, _ = self._function(params["cond_jaxpr"])
        body, _ = self._body(eqn)
        operands = self._atoms(eqn.inputs)
        n, m = params["cond_nconsts"], params["body_nconsts"]
        carry = [self._name(v) for v in eqn.outputs]
        self._start(index, eqn, carry, eqn.inputs[n + m :])
        self._line(f"while {test}({', '.join(operands[:n] + carry)}):", eqn.source)
        targets = ", ".join(carry)
        arguments = ", ".join(operands[n : n + m] + carry)
        self._line(f"{targets}{' = ' if targets else ''}{body}({arguments})", eqn.source, 2)
        self._ran([body], [v for i, v in enumerate(eqn.outputs) if i not in self._carried(eqn)])

    def _cond(self, index: int, eqn: Eqn) -> None:
        chosen, *operands = self._atoms(eqn.inputs)
        branches = [self._function(b)[0] for b in eqn.params["branches"]]
        targets = ", ".join(self._name(v) for v in eqn.outputs)
        for i, branch in enumerate(branches):
            last = i == len(branches) - 1
            if len(branches) > 1:
                test = "else" if last else f"{'elif' if i else 'if'} {chosen} == {i}"
                self._line(f"{test}:", eqn.source)
            call = f"{branch}({', '.join(operands)})"
            self._line(f"{targets}{' = ' if targets else ''}{call}", eqn.source, 2 if len(branches) > 1 else 1)
        self._ran(branches, eqn.outputs)
        # Results that share memory with others are held to the end: as many buffers as the branch with the most returns.
        own = sum(nbytes(v.aval) for v in eqn.outputs if self.buffers.root(v).owned)
        self.ledger.take(None, max(0, max(self.module.returned[name] for name in branches) - own))

    # The end ------------------------------------------------------------------------------------------------------

    def _return(self) -> None:
        texts = []
        seen: set[Root] = set()
        for a in self.jaxpr.outs:
            if isinstance(a, Literal):
                self.fresh.append(False)
                weak = a.aval.weak and not self.inner
                texts.append(self.module.number(a.value) if weak else self.module.typed(a.value))
                continue
            name, root = self._name(a), self.buffers.root(a)
            fresh = root.owned and root not in seen
            seen.add(root)
            self.fresh.append(fresh)
            if fresh and root in self.given:
                self.taken.add(root)
                self.ledger.given += nbytes(a.aval)
            if self.inner:
                texts.append(name)
            elif a.aval.weak:
                texts.append(f"{name}.item()")
            elif fresh:
                texts.append(name)
            else:
                texts.append(f"{name}.copy()" if a.aval.shape else f"{name}[()]")
                self.ledger.take(None, nbytes(a.aval))
        self.module.returned[self.name] = sum(nbytes(a.aval) for a, new in zip(self.jaxpr.outs, self.fresh) if new)
        # A result that a later one shares memory with is not new either.
        counts: dict[Root, int] = {}
        found = [self.buffers.root(a) if isinstance(a, Var) else None for a in self.jaxpr.outs]
        for shared in found:
            if shared is not None:
                counts[shared] = counts.get(shared, 0) + 1
        self.fresh = [f and r is not None and counts[r] == 1 for f, r in zip(self.fresh, found)]
        if self.inner:
            self._line(f"return {', '.join(texts)}" if texts else "return ()")
        else:
            self._line(f"return [{', '.join(texts)}]")


def emit(jaxpr: Jaxpr, backend: SourceBackend, donated: frozenset[int] = frozenset()) -> Module:
    """The source of a simplified jaxpr for a back end; it may overwrite the large ones of the inputs in ``donated``."""
    donated = frozenset(i for i in donated if nbytes(jaxpr.invars[i].aval) >= LARGE_BYTES)
    module = Module(backend)
    module.entry = module.unique(jaxpr.name)
    Function(module, jaxpr, module.entry, False, donated).write()
    return module
