"""Tracing: primitives, traces and tracers.

Dispatch is on context. One trace is current in each thread; ``primitive(*args, **params)`` asks it to ``process`` the
application. A trace knows its parent; a tracer belongs to a trace by identity, and a trace treats all that is not its
own as a constant. At the root is evaluation by a back end. :class:`StageTrace` writes a jaxpr down.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np

from .backend import _default, _registry, _types, backend_of, current_backend
from .config import config
from .errors import (
    BackendError,
    ConcretizationError,
    LeakedTracerError,
    MissingRuleError,
    NonFiniteError,
    TracerArrayError,
)
from .ir import Atom, Eqn, Jaxpr, Literal, Var
from .source import Source, at_source, user_source
from .types import Aval, aval_of

__all__ = [
    "AS_NUMBER",
    "EVAL",
    "EXPORT",
    "FOREIGN",
    "EvalTrace",
    "PASS_VALUES",
    "Primitive",
    "StageTrace",
    "StageTracer",
    "Trace",
    "Tracer",
    "current_trace",
    "eval_jaxpr",
    "frozen",
    "returned",
    "run_under",
    "set_trace",
    "stage",
]


class Trace:
    """An interpretation of primitives. ``parent`` is the trace its own work runs in, ``name`` that of the function."""

    parent: Trace | None = None
    name: str = ""
    ended = False

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply ``primitive`` to values of this trace or of its ancestors."""
        raise NotImplementedError

    def own(self, array: Any) -> Any:
        """A new array of the function being traced, such that values of this trace can be assigned into it."""
        return array

    def use_error(self, tracer: Tracer) -> Exception:
        """What to raise when a tracer is used after this trace ended."""
        return LeakedTracerError(tracer.leak_message())


class _State(threading.local):
    trace: Trace


_state = _State()


def current_trace() -> Trace:
    """The trace that interprets primitives in this thread."""
    return _state.trace


class set_trace:
    """While active, ``trace`` is the current one."""

    __slots__ = ("previous", "trace")

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def __enter__(self) -> None:
        self.previous = _state.trace
        _state.trace = self.trace

    def __exit__(self, *_: object) -> None:
        _state.trace = self.previous


def run_under(trace: Trace, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """Apply a primitive with ``trace`` as the current one."""
    if trace is EVAL:
        return EVAL.process(primitive, args, params)
    previous = _state.trace
    _state.trace = trace
    try:
        return trace.process(primitive, args, params)
    finally:
        _state.trace = previous


class Primitive:
    """An operation with all of its mathematics.

    Positional arguments are arrays, keyword arguments are static. A subclass says what it is by methods:

    ``type``       the type of the result from the types of the operands; raises for operands that do not fit
    ``jvp``        ``(primals, tangents) -> (result, tangent)``; a tangent that is None is zero
    ``linearize``  as ``jvp``, but what depends on tangents must be linear equations; by default it is ``jvp``
    ``transpose``  ``(ct, *operands) -> cotangents`` of a linear equation: operands that are ``Var`` are the linear ones,
                   the others are values; the answer has an entry an operand, None for zero or not linear
    ``batch``      ``(size, operands, batched) -> (result, batched)``: mapped operands have the mapped axis first
    ``expand``     its definition by other primitives, for back ends that lack it
    ``reach``      of a primitive that holds jaxprs, which results depend on the marked operands; None is all of them
    ``split``      ``(operands, linear, reached) -> results``: of a primitive some of whose results do not depend on the
                   linear operands, its application in two parts

    ``multiple``: results are lists. ``keeps_type``: an operand of full rank has the type of the result.
    ``linear_map``: linear in its only operand, so that the tangent is the same map of the operand's. ``effect``: must run even if nobody uses the result. ``control``: holds jaxprs;
    evaluated by compiling it. ``axis_aware``: ``batch`` is given the Axis (size and name) instead of the size alone,
    because functions or jaxprs that it holds may speak of the name. ``transparent``: of linear operands it is what its
    ``expand`` says, and has no transpose of its own.
    """

    name: str = ""
    multiple: ClassVar[bool] = False
    elementwise: ClassVar[bool] = False
    keeps_type: bool = False
    linear_map: ClassVar[bool] = False
    effect: ClassVar[bool] = False
    control: ClassVar[bool] = False
    axis_aware: ClassVar[bool] = False
    transparent: ClassVar[bool] = False

    def __call__(self, *args: Any, **params: Any) -> Any:
        return _state.trace.process(self, args, params)

    def type(self, *avals: Aval, **params: Any) -> Any:
        self._missing("type", "it cannot be traced: its static type is unknown")

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        self._missing("jvp", "it cannot be differentiated")

    def linearize(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return self.jvp(primals, tangents, **params)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> Sequence[Any]:
        raise MissingRuleError(
            f"{self.name} is not linear in its operand, so it has no transpose; linear_transpose and the tangents of custom "
            f"rules take linear functions only (a linear primitive defines `transpose` in its class {type(self).__name__})"
        )

    def batch(self, size: int, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> tuple[Any, Any]:
        self._missing("batch", "it cannot be mapped by vmap")

    expand: Callable[..., Any] | None = None

    def reach(self, marked: Sequence[bool], **params: Any) -> Sequence[bool] | None:
        return None

    def split(
        self, args: Sequence[Any], linear: Sequence[bool], reached: Sequence[bool], **params: Any
    ) -> Sequence[Any]:
        self._missing("split", "its linear results cannot be told from the others")

    def stage(self, args: Sequence[Any], params: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        """The operands and parameters with which the primitive is written into a jaxpr."""
        return args, params

    def before(self, args: Sequence[Any], params: dict[str, Any]) -> None:
        """Looks at an application of a primitive that holds jaxprs before its program runs, where a setting asks for it."""

    def axis_names(self, params: dict[str, Any]) -> Iterable[str]:
        """The names of mapped axes that an application speaks of."""
        return ()

    def _missing(self, method: str, why: str) -> NoReturn:
        raise MissingRuleError(
            f"the primitive {self.name!r} has no {method} rule, so {why}; define `{method}` in the class "
            f"{type(self).__name__}, or wrap the function that uses it in custom_jvp or custom_vjp"
        )

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> Any:
        # A primitive is one object, found in the module that defines it.
        module = type(self).__module__
        name = next(k for k, v in vars(sys.modules[module]).items() if v is self)
        return _find_primitive, (module, name)


def _find_primitive(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


#: What to write instead of assignment of a traced value into a plain array.
INTO_PLAIN = (
    "to assign into an array a[i] = x, make it by np.zeros_like(x), np.zeros(n, like=x), funcgrad.numpy.zeros(n) or "
    "a = funcgrad.numpy.copy(a), or write a = funcgrad.at(a)[i].set(x)"
)

#: What to write instead of what asks for a plain number without saying so.
AS_NUMBER = (
    f"math.sin(x) and `a[i] = x` into a plain array ask for a plain number too: write np.sin(x), and {INTO_PLAIN}"
)


#: What DLPack does, and what to write instead.
EXPORT = "handing it to another library by DLPack (from_dlpack)"
PASS_VALUES = (
    "funcgrad.pure_callback gives the other library the values, funcgrad.custom_vjp a derivative to what it does"
)

#: The memory of what the traced function did not make itself: its arguments, and views of them.
FOREIGN: Any = type("Foreign", (), {"base": None, "readonly": False})()


class Tracer:
    """A value seen by a trace. The NumPy surface installs operators and methods on this class.

    ``_memory`` is set where the array shares memory with others (:mod:`.memory`).
    """

    __slots__ = ("__weakref__", "_memory", "_trace")
    __hash__ = None  # type: ignore[assignment]
    _trace: Trace
    _memory: Any

    @property
    def aval(self) -> Aval:
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> Any:
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        return len(self.aval.shape)

    @property
    def size(self) -> int:
        return self.aval.size

    @property
    def device(self) -> Any:
        """Where the value is computed, as the array API standard's ``device``."""
        return current_backend().device

    def renewed(self) -> Tracer:
        """Another object for the same value: assignment to one of the two leaves the other as it is."""
        raise NotImplementedError

    def rebind(self, value: Any) -> None:
        """Stand for ``value`` from now on, which is of this trace or of one around it."""
        raise NotImplementedError

    def constant(self) -> Any:
        """The plain array that the tracer stands for, where nothing is lost by using it; else None."""
        return None

    def concrete(self, use: str, instead: str = "") -> Any:
        """The concrete value, where there is one; else raises ConcretizationError.

        It says what ``use`` was, and what to write ``instead`` where that is more than the general advice.
        """
        advice = f"{self.advice()}; {instead}" if instead else self.advice()
        raise ConcretizationError(f"{use} needs a concrete value; {self.describe()}; {advice}")

    def describe(self) -> str:
        """What the tracer stands for, for error messages."""
        return f"this is a traced value of type {self.aval}"

    def advice(self) -> str:
        """What to write instead of what needs a concrete value."""
        return "use fnp.where or lax.cond to choose, lax.fori_loop or lax.while_loop to repeat"

    def leak_message(self) -> str:
        """What to say when the tracer is used after its trace ended."""
        name = self._trace.name
        return (
            f"a traced value of type {self.aval} was used after the transformation {f'of {name!r} ' if name else ''}that "
            f"made it had ended; return it from {repr(name) if name else 'the transformed function'} instead of keeping it "
            f"in a global, an attribute or a list"
        )

    def __bool__(self) -> bool:
        return bool(self.concrete("a choice on its truth (`if`, `while`, `and`, `or`, `not`, `in`)"))

    def __int__(self) -> int:
        return int(self.concrete("int()"))

    def __float__(self) -> float:
        return float(self.concrete("float()", AS_NUMBER))

    def __complex__(self) -> complex:
        return complex(self.concrete("complex()", AS_NUMBER))

    def __index__(self) -> int:
        use = "use as a Python integer (a shape, `range`, an index of a list or a plain array: for that, fnp.take(table, i))"
        index: int = self.concrete(use).__index__()
        return index

    def item(self, *index: int) -> Any:
        """The value as a Python scalar, where it is concrete."""
        return self.concrete(".item()").item(*index)

    def tolist(self) -> Any:
        """The value as nested lists, where it is concrete."""
        return self.concrete(".tolist()").tolist()

    def __len__(self) -> int:
        if not self.aval.shape:
            raise TypeError("len() of unsized object")
        return self.aval.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        constant = None if self._trace.ended else self.constant()
        if constant is not None:
            return np.array(constant, dtype)
        raise TracerArrayError(
            f"a plain array was asked for, as by np.array([x, y]) or a function outside funcgrad, but {self.describe()}; "
            f"use fnp.stack([x, y]), fnp.asarray or another function of funcgrad.numpy, fnp.take(table, i, axis=0) to "
            f"index a plain array with it, {INTO_PLAIN}, or funcgrad.pure_callback for "
            f"code that must stay outside"
        )

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.concrete(EXPORT, PASS_VALUES).__dlpack__(**keywords)

    def __dlpack_device__(self) -> tuple[Any, Any]:
        found: tuple[Any, Any] = self.concrete(EXPORT, PASS_VALUES).__dlpack_device__()
        return found

    def __repr__(self) -> str:
        return f"{type(self).__name__}<{self.aval}>"

    def __deepcopy__(self, memo: Any) -> Tracer:
        return self

    def __copy__(self) -> Tracer:
        return self

    def __reduce__(self) -> NoReturn:
        raise LeakedTracerError(f"a traced value cannot be pickled; {self.describe()}")


# Evaluation -----------------------------------------------------------------------------------------------------------


class EvalTrace(Trace):
    """The root: a primitive is evaluated by the back end its operands belong to."""

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        backend = _registry.get(_default.name) or current_backend()
        for x in args:
            if _types.get(type(x), self) is not None:
                backend = backend_of(args)
                break
        op = backend.ops.get(primitive.name)
        if op is not None:
            if config.debug_nans:
                with np.errstate(all="ignore"):
                    result = op(*args, **params)
                check_finite(primitive, args, params, result)
                return result
            return op(*args, **params)
        # Other traces come here without making this one the current one, which matters from here on only.
        with set_trace(self):
            if primitive.name == "jit" and backend.calls and not config.debug_nans:
                kernel = backend.named_kernel(params["name"], params["jaxpr"], params.get("static"))
                if kernel is not None:
                    primitive.before(args, params)
                    return kernel(*args)
            if primitive.control and not config.debug_nans and backend.compiles:
                primitive.before(args, params)
                return _program(backend, primitive, args, params)(*args)
            if primitive.expand is not None:
                return primitive.expand(*args, **params)
        raise BackendError(
            f"the back end {backend.name!r} has no {primitive.name!r}; add it to its table `ops`, or define "
            f"`expand` in the class {type(primitive).__name__}"
        )


def _program(
    backend: Any, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]
) -> Callable[..., list[Any]]:
    """A primitive that holds jaxprs, compiled as a program of one equation; kept in the memo of a jaxpr it holds."""
    avals = [aval_of(x).strong() for x in args]
    holder = next((j for j in _jaxprs(params)), None)
    # The holder itself is no part of the key, nor is the program's own jaxpr kept: that would be a reference cycle.
    others = tuple((k, None if v is holder else v) for k, v in sorted(params.items(), key=lambda p: p[0]))
    key = ("program", backend.name, primitive.name, tuple(avals), others)
    if holder is not None and key in holder.memo:
        return holder.memo[key]  # type: ignore[no-any-return]
    inputs = [Var(a) for a in avals]
    outputs = [Var(a) for a in primitive.type(*avals, **params)]
    program = backend.compile(Jaxpr(inputs, [Eqn(primitive, inputs, outputs, params, user_source())], outputs))
    if holder is not None:
        holder.memo[key] = program = getattr(program, "call", program)
    return program  # type: ignore[no-any-return]


def _jaxprs(params: dict[str, Any]) -> Iterable[Jaxpr]:
    from .ir import subjaxprs

    return subjaxprs(params)


def check_finite(primitive: Primitive, args: Sequence[Any], params: dict[str, Any], result: Any) -> None:
    """Raise NonFiniteError if finite operands gave a NaN or an infinity."""
    outputs = result if primitive.multiple else [result]
    if all(map(_is_finite, outputs)) or not all(map(_is_finite, args)):
        return
    bad = next(x for x in outputs if not _is_finite(x))
    kind = "NaN" if np.isnan(_on_host(bad)).any() else "infinity"
    source = user_source()
    listed = " ".join(f"{k}={v}" for k, v in params.items() if not isinstance(v, (Jaxpr, tuple)) or v == ())
    lines = [f"the first {kind} came out of {primitive.name}{f'[{listed}]' if listed else ''}"]
    if source is not None and source.backward:
        lines.append("  in the backward pass (the equation computes a cotangent)")
        lines.append(f"  of the forward operation at {source.describe()}")
    elif source is not None:
        lines.append(f"  at {source.describe()}")
    with np.printoptions(threshold=20, edgeitems=3, precision=6):
        for i, x in enumerate(args):
            lines.append(f"  operand {i}: {aval_of(x)} = {_on_host(x)}")
        lines.append(f"  result: {aval_of(bad)} = {_on_host(bad)}")
    raise NonFiniteError("\n".join(lines))


def _is_finite(x: Any) -> bool:
    array = _on_host(x)
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def _on_host(x: Any) -> np.ndarray:
    """A value as NumPy's, wherever it lies."""
    backend = _types.get(type(x))
    return np.asarray(x if backend is None else backend.to_numpy(x))


EVAL = EvalTrace()
_State.trace = EVAL


def eval_jaxpr(jaxpr: Jaxpr, *args: Any) -> list[Any]:
    """Interpret a jaxpr under the current trace, each equation at the user's line it came from."""
    env: dict[Var, Any] = dict(zip(jaxpr.constvars, jaxpr.consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))
    with at_source() as here:
        for eqn in jaxpr.eqns:
            operands = [env[a] if isinstance(a, Var) else a.value for a in eqn.inputs]
            here.move(eqn.source)
            result = _state.trace.process(eqn.primitive, operands, eqn.params)
            if eqn.primitive.multiple:
                env.update(zip(eqn.outputs, result, strict=True))
            else:
                env[eqn.outputs[0]] = result
    return [env[a] if isinstance(a, Var) else a.value for a in jaxpr.outs]


# Staging --------------------------------------------------------------------------------------------------------------


class StageTracer(Tracer):
    """A value of a program that is being written down."""

    __slots__ = ("_var",)
    _trace: StageTrace

    def __init__(self, trace: StageTrace, var: Var) -> None:
        self._trace = trace
        self._var = var

    @property
    def aval(self) -> Aval:
        return self._var.aval

    @property
    def shape(self) -> tuple[int, ...]:
        return self._var.aval.shape

    def renewed(self) -> StageTracer:
        return StageTracer(self._trace, self._var)

    def rebind(self, value: Any) -> None:
        self._var = value._var

    def constant(self) -> Any:
        value = next((c for v, c in self._trace.constants.values() if v is self._var), None)
        return value.constant() if isinstance(value, Tracer) else value

    def concrete(self, use: str, instead: str = "") -> Any:
        value = self.constant()
        return super().concrete(use, instead) if value is None else value

    def describe(self) -> str:
        return self._trace.describe(self._var)[0]

    def advice(self) -> str:
        return self._trace.describe(self._var)[1]

    def leak_message(self) -> str:
        made = self._trace.made_at(self._var)
        return (
            f"a traced value of type {self.aval} was used after the tracing of {self._trace.name!r} had ended"
            f"{f' (it was made at {made.describe()})' if made else ''}; return it from {self._trace.name!r} instead of "
            f"keeping it in a global, an attribute or a list"
        )


class StageTrace(Trace):
    """Writes the applications of primitives into a jaxpr, creation of constants included."""

    def __init__(self, parent: Trace | None, name: str = "fn", arg_names: Sequence[str] | None = None) -> None:
        self.parent = parent
        self.name = name
        self.arg_names = arg_names
        self.invars: list[Var] = []
        self.eqns: list[Eqn] = []
        self.constants: dict[int, tuple[Var, Any]] = {}

    def new_input(self, aval: Aval) -> StageTracer:
        """A tracer for a further input."""
        var = Var(aval)
        self.invars.append(var)
        tracer = StageTracer(self, var)
        tracer._memory = FOREIGN
        return tracer

    def own(self, array: Any) -> Any:
        if type(array) is StageTracer and array._trace is self:
            return array
        found = self.constants.get(id(array))
        if found is None:
            found = self.constants[id(array)] = (Var(aval_of(array).strong()), array)
        return StageTracer(self, found[0])

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        args, params = primitive.stage(args, params)
        inputs: list[Any] = [self.atom(x) for x in args]
        if None in inputs:
            # A Python scalar takes the dtype of the array operand beside it.
            typed = [a.aval.dtype for a in inputs if a is not None]
            for i, atom in enumerate(inputs):
                if atom is None:
                    inputs[i] = _literal(args[i], typed[-1] if typed else None)
        derived = primitive.type(*[a.aval for a in inputs], **params)
        outputs = [Var(a) for a in derived] if primitive.multiple else [Var(derived)]
        self.eqns.append(Eqn(primitive, inputs, outputs, params, user_source()))
        tracers = [StageTracer(self, v) for v in outputs]
        return tracers if primitive.multiple else tracers[0]

    def atom(self, x: Any) -> Atom | None:
        """The atom for a value; None for a Python scalar, whose dtype is still to be found."""
        if type(x) is StageTracer and x._trace is self:
            return x._var
        if isinstance(x, (bool, int, float, complex)) and not isinstance(x, np.generic):
            return None
        if isinstance(x, Tracer):
            if x._trace.ended:
                raise x._trace.use_error(x)
        elif isinstance(x, np.generic) or (isinstance(x, np.ndarray) and x.ndim == 0):
            return _literal(x, None)
        found = self.constants.get(id(x))
        if found is None:
            found = self.constants[id(x)] = (Var(aval_of(x).strong()), x)
        return found[0]

    def out_atom(self, x: Any) -> Atom:
        """The atom for a value that is returned."""
        return self.atom(x) or Literal(np.asarray(x, aval_of(x).dtype)[()], aval_of(x))

    def finish(self, outs: Sequence[Any]) -> Jaxpr:
        """The jaxpr that returns ``outs``. Its consts are what was closed over, tracers of outer traces included."""
        atoms = [self.out_atom(x) for x in outs]
        constvars = [v for v, _ in self.constants.values()]
        consts = [c for _, c in self.constants.values()]
        self.ended = True
        return Jaxpr(self.invars, self.eqns, atoms, constvars, consts, self.name)

    def describe(self, var: Var) -> tuple[str, str]:
        """Which arguments of the traced function a variable depends on, in words; and what to do about it."""
        needed: set[Var] = {var}
        for eqn in reversed(self.eqns):
            if not needed.isdisjoint(eqn.outputs):
                needed.update(a for a in eqn.inputs if isinstance(a, Var))
        names = self.arg_names or []
        blamed = [names[i] for i, v in enumerate(self.invars) if v in needed and i < len(names)]
        text = f"this is a traced value of type {var.aval} inside {self.name!r}"
        if blamed:
            few = ", ".join(blamed[:5]) + (", ..." if len(blamed) > 5 else "")
            text += f", and it depends on the value of the argument{'s' if len(blamed) > 1 else ''} {few}"
        advice = "use fnp.where or lax.cond to choose, lax.fori_loop or lax.while_loop to repeat"
        return text, advice + (", or name the argument in static_argnums or static_argnames of jit" if blamed else "")

    def made_at(self, var: Var) -> Source | None:
        """The line at which a variable was made."""
        for eqn in self.eqns:
            if var in eqn.outputs:
                return eqn.source
        return None


def _literal(x: Any, dtype: Any) -> Literal:
    value = np.asarray(x, dtype)[()]
    return Literal(value, Aval((), value.dtype))


def frozen(x: Any) -> Any:
    """``x`` such that no assignment to the object ``x`` changes it."""
    return x.renewed() if isinstance(x, Tracer) else x


def returned(x: Any) -> Any:
    """A result of a traced function that is none of its trace's own, as the caller may have it."""
    if not isinstance(x, Tracer):
        return x
    if x._trace.ended:
        raise x._trace.use_error(x)
    return x.renewed()


def stage(
    fun: Callable[..., Sequence[Any]],
    avals: Sequence[Aval],
    name: str = "fn",
    arg_names: Sequence[str] | None = None,
) -> Jaxpr:
    """Trace a function of flat arguments into a jaxpr; its consts are what the function closes over."""
    trace = StageTrace(_state.trace, name, arg_names)
    try:
        with set_trace(trace):
            outs = fun(*[trace.new_input(a) for a in avals])
        return trace.finish(outs)
    finally:
        trace.ended = True
