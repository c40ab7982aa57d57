"""``jit``, and looking at what it traces: a function becomes a program.

A call is looked up by the structure of its arguments, the types of their leaves, the values of static arguments and the
back end. Leaves that are no arrays (strings, functions) are static by themselves. On a miss the function is traced, once;
under another transform the call becomes one equation, which is transformed as a whole and never traced again.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import tree
from ..compiler.cost import program_cost
from ..compiler.memory import MemoryAnalysis, as_bytes
from ..compiler.rematerialize import rematerialize
from ..core.backend import Backend, _default, backend_of, get_backend
from ..core.config import config
from ..core.errors import ForeignArrayError, OperandTypeError, StaticArgumentError
from ..core.ir import Eqn, Jaxpr, Var
from ..core.printer import print_jaxpr
from ..core.trace import EVAL, Tracer, _state, eval_jaxpr, stage
from ..core.types import Aval, aval_of, is_array_like
from ..transforms.batching import axis_environment
from ..transforms.call import call
from ..transforms.key_reuse import check_program
from ..transforms.reverse import hoist
from ._function import (
    FlatFunction,
    Transformed,
    argument_names,
    argument_paths,
    as_tuple,
    checked_leaves,
    function_name,
    leaf_paths,
    owned,
    quiet,
    typed,
)

__all__ = ["CacheInfo", "Compiled", "Lowered", "ShapeDtypeStruct", "Traced", "eval_shape", "jit", "make_jaxpr"]

#: Added to the key of a program that says which keys it uses.
_SAYS_KEYS = ("debug_key_reuse",)

_log = logging.getLogger("funcgrad")


class ShapeDtypeStruct:
    """A shape and a dtype that stand for an array, where only its type matters.

    >>> ShapeDtypeStruct((2, 3), "float32")
    ShapeDtypeStruct(shape=(2, 3), dtype=float32)
    """

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.aval.size

    @property
    def aval(self) -> Aval:
        return Aval(self.shape, self.dtype)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShapeDtypeStruct) and self.aval == other.aval

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={self.dtype.name})"


class CacheInfo(NamedTuple):
    """How often a jitted function found a program, how often it had to trace, and how many programs it keeps."""

    hits: int
    misses: int
    currsize: int


class _Key(NamedTuple):
    """What decides about a program. ``setting``: the tree, static arguments, back end and named axes; and each leaf's."""

    setting: tuple[Any, ...]
    leaves: tuple[Any, ...]


class _Entry:
    """A traced call: the jaxpr, where its leaves are in the arguments, and the compiled program."""

    __slots__ = (
        "budget",
        "consts",
        "donated",
        "dynamic",
        "fast_math",
        "fitted",
        "hoisted",
        "jaxpr",
        "out_tree",
        "program",
        "single",
        "static",
    )

    def __init__(
        self,
        jaxpr: Jaxpr,
        out_tree: Any,
        dynamic: list[int] | None,
        donated: frozenset[int],
        budget: int | None,
        fast_math: bool,
        static: tuple[tuple[str, Any], ...] | None,
    ) -> None:
        self.jaxpr = jaxpr
        self.static = static
        self.fast_math = fast_math
        self.budget = budget
        self.fitted: dict[str, tuple[Jaxpr, Any]] = {}
        self.donated = donated
        self.out_tree = out_tree
        self.dynamic = dynamic
        self.hoisted, self.consts = hoist(jaxpr)
        self.program: Callable[..., Any] | None = None
        self.single = out_tree.num_nodes == 1 and out_tree.num_leaves == 1

    def compile(self, backend: Backend) -> Callable[..., Any]:
        """The program for a back end, within the budget of memory if there is one."""

        def compile(jaxpr: Jaxpr) -> Callable[..., Any]:
            if self.donated or self.fast_math:
                return backend.compile_with(jaxpr, self.donated, self.fast_math)
            return backend.compile(jaxpr)

        if self.budget is None:
            return compile(self.jaxpr if self.donated else self._named(backend))
        if backend.name not in self.fitted:
            self.fitted[backend.name] = rematerialize(self.jaxpr, self.budget, compile)
        program: Callable[..., Any] = self.fitted[backend.name][1]
        return program

    def _named(self, backend: Backend) -> Jaxpr:
        """The program; a call by its name, if the back end has a kernel for that."""
        jaxpr, body = self.jaxpr, self.hoisted
        if backend.named_kernel(jaxpr.name, body, self.static) is None:
            return jaxpr
        inputs, outputs = [Var(a) for a in body.in_avals], [Var(a) for a in body.out_avals]
        eqn = Eqn(call, inputs, outputs, {"jaxpr": body, "name": jaxpr.name, "static": self.static}, None)
        n = len(self.consts)
        return Jaxpr(inputs[n:], [eqn], outputs, inputs[:n], self.consts, jaxpr.name)


def _signature(x: Any) -> Any:
    """The part of the key that belongs to a leaf: its type, or for a leaf that is no array its value."""
    if isinstance(x, (np.ndarray, np.generic)):
        return x.shape, x.dtype
    if type(x) in (bool, int, float, complex):
        return type(x)
    if isinstance(x, Tracer):
        aval = x.aval
        return (aval.shape, aval.dtype) if not aval.weak else {"i": int, "f": float, "c": complex}[aval.dtype.kind]
    if is_array_like(x):
        # A program belongs to the library of its arrays.
        aval = aval_of(x)
        return aval.shape, aval.dtype, type(x)
    return _Static(x)


class _Static:
    """A leaf that is no array, compared by value."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and type(self.value) is type(other.value) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return repr(self.value)


class jit(Transformed):
    """``fun`` as a compiled program.

    ``static_argnums``, ``static_argnames``: arguments that are part of the program, hashable; a new value makes a new
    program. ``donate_argnums``, ``donate_argnames``: arguments that the caller gives away, see below. ``inline``: within a
    larger program, leave no call but the equations. ``memory_budget``: what a call may need, as ``"64MB"``, ``"1GiB"`` or a
    number of bytes, see below. ``fast_math``: results need not be NumPy's to the last bit, see below.

    The function is traced with the types of its arguments: Python runs once, and `if` on an argument raises
    ConcretizationError. Arrays that it closes over are read at each call. Results equal those of ``fun`` in value, dtype,
    shape and structure, a Python scalar included.

    The program computes in the memory of a donated argument where that pays (NumPy, from 16 KB on): a result may lie
    there, and the array is dead. A group of operations that runs in blocks does not do so yet. NumPy cannot delete it; it turns into a read-only array of records ``donated to jit``,
    with which arithmetic raises TypeError. Only memory that is the array's own is taken: not that of a view, of a
    read-only array, or of one that is passed twice or closed over, which is copied instead and left alone. Views of a
    donated array that were made before the call are not told: they show what is written there. Under another transform
    nothing is donated.

    With a ``memory_budget``, values are computed again instead of being kept until the peak of a call, arguments and results
    included (``Compiled.memory_analysis().peak_memory_in_bytes``), is within it: as few as will do, cheap ones first, matrix
    products if need be (:mod:`funcgrad.compiler.rematerialize`). The steps of a loop are not looked into: put
    ``fg.checkpoint`` around them. Within a larger program the budget of that one counts.

    With ``fast_math`` native code may contract a product and a sum to one rounding, reorder sums and products, divide by
    way of a reciprocal, and take -0 for 0: a permission, which the LLVM back end uses in groups of operations and others do not.
    NaN, infinities and denormal numbers stay NumPy's, and so do elementary functions. Within a larger program that one's counts.

    Raises StaticArgumentError if an argument is both static and donated, or has no name in the signature; MemoryBudgetError
    if ``memory_budget`` is no size, and when the program is compiled and cannot be made to fit.

    >>> f = jit(lambda x, y: x * y + 1)
    >>> f(2.0, 3.0)
    7.0
    >>> f.cache_info()
    CacheInfo(hits=0, misses=1, currsize=1)
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        static_argnums: int | Sequence[int] | None = None,
        static_argnames: str | Sequence[str] | None = None,
        donate_argnums: int | Sequence[int] | None = None,
        donate_argnames: str | Sequence[str] | None = None,
        inline: bool = False,
        memory_budget: int | str | None = None,
        fast_math: bool = False,
    ) -> None:
        super().__init__(fun)
        self.static_argnums = as_tuple(static_argnums)
        self.static_argnames = as_tuple(static_argnames)
        self.donate_argnums = as_tuple(donate_argnums)
        self.donate_argnames = as_tuple(donate_argnames)
        self.inline = inline
        self.memory_budget = memory_budget
        self.fast_math = fast_math
        self._budget = None if memory_budget is None else as_bytes(memory_budget)
        self._static_nums, self._static_names = self._resolve("static", self.static_argnums, self.static_argnames)
        self._donated_nums, self._donated_names = self._resolve("donate", self.donate_argnums, self.donate_argnames)
        both = [*set(self._static_nums) & set(self._donated_nums), *set(self._static_names) & set(self._donated_names)]
        if both:
            raise StaticArgumentError(
                f"jit: the argument {both[-1]!r} of {function_name(fun)} is both static and donated; a static argument has no "
                f"memory to give: leave it out of donate_argnums and donate_argnames"
            )
        self._has_static = bool(self._static_nums or self._static_names)
        self._entries: dict[Any, _Entry] = {}
        self._shortcuts: dict[Any, tuple[_Entry, list[int] | None]] = {}
        self._lock = threading.RLock()
        self._misses = 0
        self._hits = 0
        self._why: list[str] = []

    def _parts(self) -> dict[str, Any]:
        names = (
            "fun",
            "static_argnums",
            "static_argnames",
            "donate_argnums",
            "donate_argnames",
            "inline",
            "memory_budget",
            "fast_math",
        )
        return {name: getattr(self, name) for name in names}

    def _resolve(
        self, what: str, argnums: Sequence[int], argnames: Sequence[str]
    ) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Positions and names, each completed by the other through the signature."""
        nums, names = list(argnums), list(argnames)
        if not nums and not names:
            return (), ()
        try:
            parameters = list(inspect.signature(self.fun).parameters.values())
        except (ValueError, TypeError):
            return tuple(nums), tuple(names)
        positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        known = [p.name for p in parameters]
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
        for name in argnames:
            if name not in known and not open_ended:
                raise StaticArgumentError(
                    f"jit: {what}_argnames names {name!r}, which is no argument of {function_name(self.fun)}; "
                    f"it has {', '.join(known)}"
                )
            if name in positional:
                nums.append(positional.index(name))
        for i in argnums:
            j = i + len(positional) if i < 0 else i
            if j < len(positional):
                names.append(positional[j])
        return tuple(dict.fromkeys(nums)), tuple(dict.fromkeys(names))

    # Calling ---------------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _state.trace is not EVAL:
            return self._call_traced(args, kwargs)
        if config.debug_key_reuse:
            return self._call_checked(args, kwargs)
        entry, leaves = self._find_plain(args, kwargs) or self._find(args, kwargs, ())
        program = entry.program
        if program is None or config.debug_nans:
            program = self._program(entry, leaves)
        outs = program(*leaves)
        return outs[0] if entry.single else entry.out_tree.unflatten(outs)

    def _call_checked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call of a program that says which keys it uses, after a look at these."""
        entry, leaves = self._find(args, kwargs, _SAYS_KEYS)
        if not config.debug_nans and type(backend_of([*leaves, *entry.consts])).compile is not Backend.compile:
            # What is interpreted enters them by itself.
            check_program(entry.jaxpr, leaves)
        return entry.out_tree.unflatten(self._program(entry, leaves)(*leaves))

    def _find(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], environment: tuple[Any, ...]
    ) -> tuple[_Entry, list[Any]]:
        """The traced program of a call, made if need be, and the arrays to give it."""
        key, leaves = self._key(args, kwargs, environment)
        try:
            entry = self._entries.get(key)
        except TypeError as error:
            raise self._unhashable(args, kwargs, error) from None
        if entry is None:
            entry = self._trace(key, args, kwargs)
        else:
            self._hits += 1
        return entry, leaves if entry.dynamic is None else [leaves[i] for i in entry.dynamic]

    def _key(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], environment: tuple[Any, ...] = ()
    ) -> tuple[_Key, list[Any]]:
        """The key of a call, and the leaves of its arguments that are not static."""
        static: Any = None
        if self._has_static:
            args, kwargs, static = self._without_static(args, kwargs)
        leaves, treedef = tree.flatten((args, kwargs))
        try:
            signature = [(x.shape, x.dtype) if type(x) is np.ndarray else _signature(x) for x in leaves]
        except ForeignArrayError:
            checked_leaves("jit: the argument", leaves, lambda: argument_paths(self.fun, args, kwargs))
            raise
        return _Key((treedef, static, _default.name, environment), tuple(signature)), leaves

    def _find_plain(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[_Entry, list[Any]] | None:
        """As :meth:`_find`, in half the time, for positional arguments that are arrays or flat dicts of arrays."""
        if kwargs or self._has_static:
            return None
        leaves: list[Any] = []
        structure: list[Any] = []
        for x in args:
            if type(x) is np.ndarray:
                leaves.append(x)
                structure.append(None)
            elif type(x) is dict:
                leaves.extend(x.values())
                structure.append(tuple(x))
            else:
                return None
        signature = [(x.shape, x.dtype) for x in leaves if type(x) is np.ndarray]
        if len(signature) != len(leaves):
            return None
        key = (_default.name, *structure, *signature)
        found = self._shortcuts.get(key)
        if found is None:
            entry, _ = self._find(args, kwargs, ())
            # The leaves of a tree stand by sorted key, those of a dict in the order of insertion.
            places = iter(range(len(leaves)))
            labels = [next(places) if names is None else {n: next(places) for n in names} for names in structure]
            order = tree.leaves(labels)
            found = entry, None if order == list(range(len(order))) else order
            if entry in self._entries.values():
                self._shortcuts[key] = found
        else:
            self._hits += 1
        entry, rearranged = found
        return entry, leaves if rearranged is None else [leaves[i] for i in rearranged]

    def _without_static(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, Any]:
        nums = {i % len(args) if -len(args) <= i < 0 else i for i in self._static_nums}
        statics = [(i, args[i]) for i in sorted(nums) if 0 <= i < len(args)]
        named = [(n, kwargs[n]) for n in sorted(self._static_names) if n in kwargs]
        for name, value in [*statics, *named]:
            if isinstance(value, (np.ndarray, Tracer)):
                called = argument_names(self.fun, len(args))[name] if isinstance(name, int) else name
                raise StaticArgumentError(
                    f"jit: the static argument {called} of {function_name(self.fun)} is an array; a static argument is part "
                    f"of the program and must be hashable: pass a tuple, or make the argument not static"
                )
        rest = tuple(x for i, x in enumerate(args) if i not in nums)
        return (
            rest,
            {k: v for k, v in kwargs.items() if k not in self._static_names},
            tuple((n, type(v), v) for n, v in [*statics, *named]),
        )

    def _unhashable(self, args: tuple[Any, ...], kwargs: dict[str, Any], error: TypeError) -> StaticArgumentError:
        names = argument_names(self.fun, len(args))
        given = [*enumerate(args), *kwargs.items()]
        for place, value in given:
            if place in self._static_nums or place in self._static_names:
                try:
                    hash(value)
                except TypeError:
                    called = names[place] if isinstance(place, int) else place
                    return StaticArgumentError(
                        f"jit: the static argument {called} of {function_name(self.fun)} has the type "
                        f"{type(value).__name__}, which cannot be hashed; pass a tuple instead of a list or an array"
                    )
        leaves = tree.leaves((args, kwargs))
        for path, x in zip(argument_paths(self.fun, args, kwargs), leaves, strict=True):
            if isinstance(_signature(x), _Static):
                try:
                    hash(x)
                except TypeError:
                    return StaticArgumentError(
                        f"jit: {path} is of type {type(x).__name__}, which is neither an array nor hashable; "
                        f"pass an array, or register the type as a pytree"
                    )
        return StaticArgumentError(f"jit of {function_name(self.fun)}: {error}")

    def _program(self, entry: _Entry, leaves: Sequence[Any]) -> Callable[..., Any]:
        if config.debug_nans:
            # Equation by equation, so that the first that goes wrong is found.
            def interpreted(*args: Any) -> list[Any]:
                with quiet():
                    return owned(eval_jaxpr(entry.jaxpr, *[typed(x) for x in args]), [*args, *entry.consts])

            return interpreted
        backend = backend_of([*leaves, *entry.consts])
        program = entry.compile(backend)
        run: Callable[..., Any] = getattr(program, "call", program)
        entry.program = run
        return run

    def _call_traced(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call under another transform: one equation."""
        environment: tuple[Any, ...] = axis_environment()
        if config.debug_key_reuse:
            environment = (*environment, *_SAYS_KEYS)
        entry, leaves = self._find(args, kwargs, environment)
        operands = [*entry.consts, *[typed(x) for x in leaves]]
        if self.inline:
            outs = eval_jaxpr(entry.hoisted, *operands)
        else:
            outs = call(*operands, jaxpr=entry.hoisted, name=function_name(self.fun), static=entry.static)
        return entry.out_tree.unflatten(outs)

    # Tracing ---------------------------------------------------------------------------------------------------------

    def _trace(self, key: _Key, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Entry:
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                return entry
            why = self._explain(key, args, kwargs)
            self._why.append(why)
            if config.explain_retraces:
                _log.warning("%s", why)
            self._misses += 1
            entry = self._stage(args, kwargs)
            if not any(isinstance(c, Tracer) for c in entry.consts):
                # What closes over a tracer belongs to one call of an outer transform only.
                self._entries[key] = entry
            return entry

    def _stage(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Entry:
        names = argument_names(self.fun, len(args))
        nums = {i % len(args) if -len(args) <= i < 0 else i for i in self._static_nums}
        fixed_kwargs = {k: v for k, v in kwargs.items() if k in self._static_names}
        free_kwargs = {k: v for k, v in kwargs.items() if k not in self._static_names}
        free_args = tuple(x for i, x in enumerate(args) if i not in nums)
        leaves, in_tree = tree.flatten((free_args, free_kwargs))
        free_names = [n for i, n in enumerate(names) if i not in nums]
        paths = [
            n + tree.keystr(p)
            for n, v in [*zip(free_names, free_args, strict=True), *sorted(free_kwargs.items())]
            for p, _ in tree.leaves_with_path(v)
        ]
        dynamic = [i for i, x in enumerate(leaves) if not isinstance(_signature(x), _Static)]

        def fun(*free: Any, **free_kwargs: Any) -> Any:
            rest = iter(free)
            full = [args[i] if i in nums else next(rest) for i in range(len(args))]
            return self.fun(*full, **free_kwargs, **fixed_kwargs)

        flat = FlatFunction(fun, in_tree)

        def of_arrays(*arrays: Any) -> list[Any]:
            full = list(leaves)
            for i, x in zip(dynamic, arrays, strict=True):
                full[i] = x
            outs = flat(*full)
            checked_leaves(
                f"jit: the result of {function_name(self.fun)}", outs, lambda: leaf_paths(flat.out_tree, outs)
            )
            return outs

        checked_leaves("jit: the argument", [leaves[i] for i in dynamic], lambda: [paths[i] for i in dynamic])
        avals = [aval_of(leaves[i]) for i in dynamic]
        with quiet():
            jaxpr = stage(of_arrays, avals, function_name(self.fun), [paths[i] for i in dynamic])
        given = {i % len(args) if -len(args) <= i < 0 else i for i in self._donated_nums}
        labels = [i in given for i in range(len(args)) if i not in nums]
        labels += [k in self._donated_names for k in sorted(free_kwargs)]
        values = [*free_args, *(v for _, v in sorted(free_kwargs.items()))]
        of_leaves = [label for label, v in zip(labels, values, strict=True) for _ in tree.leaves(v)]
        donated = frozenset(place for place, i in enumerate(dynamic) if of_leaves[i])
        places = dynamic if len(dynamic) < len(leaves) else None
        static = (*((names[i], args[i]) for i in sorted(nums) if i < len(args)), *sorted(fixed_kwargs.items())) or None
        return _Entry(jaxpr, flat.out_tree, places, donated, self._budget, self.fast_math, static)

    def _explain(self, key: _Key, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Why a call is traced: what differs from the program that is most like it."""
        name = function_name(self.fun)
        if not self._entries:
            return f"{name}: traced for the first time"
        alike = [k for k in self._entries if k.setting == key.setting]
        if not alike:
            same = any(k.setting[0] == key.setting[0] for k in self._entries)
            what = "a static argument, the back end or a named axis" if same else "the structure of the arguments"
            return f"{name}: traced again because {what} is new"
        best = min(alike, key=lambda k: sum(a != b for a, b in zip(k.leaves, key.leaves, strict=True)))
        free_args, free_kwargs, _ = self._without_static(args, kwargs) if self._has_static else (args, kwargs, None)
        paths = argument_paths(self.fun, free_args, free_kwargs)
        changes = [
            f"{path} is {_described(b)}, not {_described(a)}"
            for path, a, b in zip(paths, best.leaves, key.leaves, strict=True)
            if a != b
        ]
        return f"{name}: traced again because {'; '.join(changes)}"

    # Looking ---------------------------------------------------------------------------------------------------------

    def trace(self, *args: Any, **kwargs: Any) -> Traced:
        """The traced program for arguments of these types; ShapeDtypeStruct will do for arrays."""
        entry = self._stage(args, kwargs)
        return Traced(entry, self)

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The program for arguments of these types, ready to compile; short for ``trace(...).lower()``."""
        return self.trace(*args, **kwargs).lower()

    def cache_info(self) -> CacheInfo:
        """How often a program was found, and made."""
        return CacheInfo(self._hits, self._misses, len(self._entries))

    def cache_clear(self) -> None:
        """Forget all programs."""
        self._entries.clear()
        self._shortcuts.clear()
        self._why.clear()
        self._hits = self._misses = 0

    def explain_retraces(self) -> list[str]:
        """For each time the function was traced, the reason.

        >>> f = jit(lambda x: x + 1)
        >>> f(1), f(1.0)
        (2, 2.0)
        >>> f.explain_retraces()[1]
        '<lambda>: traced again because x is a Python float, not a Python int'
        """
        return list(self._why)


def _described(signature: Any) -> str:
    if isinstance(signature, type):
        return f"a Python {signature.__name__}"
    if isinstance(signature, _Static):
        return f"the static value {signature.value!r}"
    shape, dtype, *library = signature
    return " of the class ".join([repr(Aval(shape, dtype)), *(t.__name__ for t in library)])


class Traced:
    """A traced function: ``jaxpr``, and the structure of its result. The next stage is :meth:`lower`."""

    def __init__(self, entry: _Entry, owner: jit) -> None:
        self._entry = entry
        self._owner = owner
        self.jaxpr = entry.jaxpr
        self.out_tree = entry.out_tree

    @property
    def out_info(self) -> Any:
        """The result's tree, with the shape and dtype of each leaf."""
        return self.out_tree.unflatten([ShapeDtypeStruct(a.shape, a.dtype) for a in self.jaxpr.out_avals])

    def lower(self) -> Lowered:
        """The program, ready to compile for the current back end."""
        return Lowered(self._entry, self._owner)

    def __str__(self) -> str:
        return print_jaxpr(self.jaxpr)


def _costs(program: Any, entry: _Entry) -> dict[str, float]:
    cost = program_cost(getattr(program, "jaxpr", entry.jaxpr))
    found = {"flops": cost.flops, "transcendentals": cost.transcendentals, "bytes accessed": cost.bytes}
    return {name: float(count) for name, count in found.items()}


class Lowered:
    """A program for a back end. ``as_text`` shows it; the next stage is :meth:`compile`."""

    def __init__(self, entry: _Entry, owner: jit) -> None:
        self._entry = entry
        self._owner = owner
        self._program = entry.compile(get_backend(_default.name))

    def as_text(self, stage: str = "source") -> str:
        """The program's text: ``"jaxpr"`` as traced, ``"simplified"`` and ``"fused"`` after these passes, or ``"source"``;
        of a function with a ``memory_budget`` also ``"rematerialized"``, which comes before these; on a GPU (or in its
        emulation) ``"cuda"``: the kernels that were generated for its groups.

        Raises OperandTypeError for another stage, or one that the back end has not.
        """
        held = {"simplified": "simplified", "fused": "jaxpr", "source": "source", "cuda": "cuda"}
        shown = {"jaxpr": self._entry.jaxpr}
        if self._entry.fitted:
            shown["rematerialized"] = self._entry.fitted[_default.name][0]
        shown |= {name: getattr(self._program, field) for name, field in held.items() if hasattr(self._program, field)}
        if stage not in shown:
            raise OperandTypeError(
                f"there is no stage {stage!r} on this back end; there {'is' if len(shown) == 1 else 'are'} "
                + ", ".join(map(repr, shown))
            )
        found = shown[stage]
        return str(found) if isinstance(found, str) else print_jaxpr(found, source=True)

    def cost_analysis(self) -> dict[str, float]:
        """What the program computes, under the names of JAX: ``flops``, ``transcendentals`` (functions as exp
        and sin, which are not among them) and ``bytes accessed``. :mod:`funcgrad.compiler.cost` says how they are counted.

        >>> import numpy as np
        >>> jit(lambda x: x @ x).lower(np.ones((10, 10))).cost_analysis()
        {'flops': 2000.0, 'transcendentals': 0.0, 'bytes accessed': 1600.0}
        """
        return _costs(self._program, self._entry)

    def compile(self) -> Compiled:
        """The callable program."""
        return Compiled(self._entry, self._program, self._owner)


class Compiled:
    """A compiled program: a function of arguments of the types it was made for. It never traces."""

    def __init__(self, entry: _Entry, program: Any, owner: jit) -> None:
        self._entry = entry
        self._program = program
        self._owner = owner

    def as_text(self) -> str:
        """The source that runs."""
        return str(getattr(self._program, "source", self._entry.jaxpr))

    def cost_analysis(self) -> dict[str, float]:
        """As of :meth:`Lowered.cost_analysis`."""
        return _costs(self._program, self._entry)

    def memory_analysis(self) -> MemoryAnalysis | None:
        """The memory that a call needs, in bytes; None if the back end does not know.

        >>> import numpy as np
        >>> jit(lambda x: x @ x).lower(np.ones((10, 10))).compile().memory_analysis().peak_memory_in_bytes
        1600
        """
        found: MemoryAnalysis | None = getattr(self._program, "memory", None)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program. Raises OperandTypeError for arguments of other types."""
        _, leaves = self._owner._key(args, kwargs)
        if self._entry.dynamic is not None:
            leaves = [leaves[i] for i in self._entry.dynamic]
        found, wanted = [aval_of(x) for x in leaves], self._entry.jaxpr.in_avals
        if found != wanted:
            raise OperandTypeError(f"this program was compiled for arguments {wanted}, and called with {found}")
        return self._entry.out_tree.unflatten(self._program(*leaves))


class make_jaxpr(Transformed):
    """The function that returns the jaxpr of ``fun`` for given arguments instead of its result.

    ``static_argnums`` as of :class:`jit`. With ``return_shape`` it also returns the tree of result types.

    >>> import numpy as np
    >>> make_jaxpr(lambda x: 2.0 * x)(np.ones(3))
    { lambda a:f64[3] . let b:f64[3] = mul 2.0:f64[] a in (b,) }
    """

    def __init__(
        self, fun: Callable[..., Any], static_argnums: int | Sequence[int] = (), return_shape: bool = False
    ) -> None:
        super().__init__(fun)
        self.static_argnums = static_argnums
        self.return_shape = return_shape

    def _parts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("fun", "static_argnums", "return_shape")}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        traced = jit(self.fun, static_argnums=self.static_argnums).trace(*args, **kwargs)
        return (traced.jaxpr, traced.out_info) if self.return_shape else traced.jaxpr


def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The shapes and dtypes that ``fun(*args, **kwargs)`` would have, without computing anything.

    >>> import funcgrad.numpy as fnp
    >>> eval_shape(fnp.dot, ShapeDtypeStruct((2, 3), "float32"), ShapeDtypeStruct((3,), "float32"))
    ShapeDtypeStruct(shape=(2,), dtype=float32)
    """
    return jit(fun).trace(*args, **kwargs).out_info
