"""The ground of the NumPy surface: what an operand is, promotion, broadcasting, and when NumPy itself answers.

The IR is strict: an elementwise primitive takes operands of one dtype, and of one shape or rank 0. NumPy is not: it
promotes dtypes, broadcasts shapes and takes lists. The functions here write the difference down as equations, by
NumPy's own rules: a ufunc's dtypes come from ``ufunc.resolve_dtypes``, all others from ``np.result_type``; in both a
Python scalar is weak (NEP 50).

A call on plain values (NumPy arrays, scalars, lists of them) needs none of that: it goes to the NumPy function of the
same name, whose results are NumPy's by construction (:func:`eager`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from inspect import CO_VARARGS
from math import prod
from types import EllipsisType, NoneType
from typing import Any

import numpy as np
from numpy.exceptions import AxisError

from ..core.backend import _default, current_backend, library_of
from ..core.config import config
from ..core.errors import ForeignArrayError, InPlaceError, OperandError, OperandTypeError
from ..core.memory import Memory, view_of
from ..core.trace import EVAL, StageTrace, Trace, Tracer, current_trace
from ..core.types import Aval, aval_of, dtype_of, foreign_advice, is_array_like, promote
from ..primitives import broadcast_in_dim, concatenate, convert, copy, real, reshape

__all__ = [
    "INDEX",
    "NO_VALUE",
    "PLAIN",
    "SCALARS",
    "SMALL",
    "all_plain",
    "asarray",
    "axis_tuple",
    "beside",
    "broadcast",
    "broadcast_shapes",
    "check_device",
    "cast",
    "constant",
    "convert_to",
    "eager",
    "eager_allowed",
    "expand_to",
    "fit",
    "full",
    "is_operand",
    "is_weak",
    "mask_of",
    "normalize_axis",
    "operand",
    "own",
    "promote_args",
    "promote_dtypes",
    "refuse_out",
    "staging",
    "sum_dtype",
    "ufunc_dtypes",
]

#: Stands for an argument that was not given, as in NumPy.
NO_VALUE: Any = np._NoValue

#: The dtype of indices, shapes and counts.
INDEX = np.dtype(np.int64)

#: Types of numbers and booleans.
SCALARS = frozenset({bool, int, float, complex, *np.sctypeDict.values()})
#: Types of which neither a value nor a part can be a tracer.
PLAIN = SCALARS | {
    np.ndarray,
    NoneType,
    EllipsisType,
    str,
    slice,
    range,
    type,
    *(type(np.dtype(c)) for c in "?" + np.typecodes["All"]),
}
_KINDS = frozenset("biufc")

#: Constants up to this many bytes are captured by a program as they are; larger ones are built when it runs.
SMALL = 1024


# Plain values ---------------------------------------------------------------------------------------------------------


def all_plain(values: Iterable[Any]) -> bool:
    """Whether NumPy alone can answer for these arguments: no tracer, no array of another back end, in lists neither."""
    for x in values:
        t = type(x)
        if t not in PLAIN and not (t in (list, tuple) and all_plain(x)):
            return False
    return True


def eager_allowed() -> bool:
    """Whether plain values are NumPy's to compute: it is the current back end and no operation must be seen."""
    return _default.plain and not config.debug_nans


def eager(
    numpy_function: Callable[..., Any], view: bool = False, readonly: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function of the surface: plain arguments go to ``numpy_function``, all others to the decorated rule.

    The rule has NumPy's signature. It is kept as ``__wrapped__``. NumPy is never given an ``out`` argument to write to:
    a call that has one goes to the rule, which refuses it with :func:`refuse_out`.

    ``view``: NumPy's result shares memory with the first argument, or each result with its own; ``readonly`` if it may not
    be written to. The result of any other function is an array of its own, even where the rule has nothing to do.
    """

    def decorate(rule: Callable[..., Any]) -> Callable[..., Any]:
        code = rule.__code__
        names = code.co_varnames[: code.co_argcount]
        positional = names.index("out") if "out" in names else 99
        each = bool(code.co_flags & CO_VARARGS)

        @wraps(rule)
        def function(*args: Any, **keywords: Any) -> Any:
            if (
                all_plain(args)
                and _default.plain
                and (not keywords or (all_plain(keywords.values()) and "out" not in keywords))
                and len(args) <= positional
                and not config.debug_nans
            ):
                return numpy_function(*args, **keywords)
            y = rule(*args, **keywords)
            if view:
                return _viewed(y, args or tuple(keywords.values()), each, readonly)
            if isinstance(y, Tracer) and (
                hasattr(y, "_memory") or _is_among(y, args) or (keywords and _is_among(y, keywords.values()))
            ):
                return y.renewed()
            return y

        if not function.__doc__:
            function.__doc__ = f"As :func:`numpy.{numpy_function.__name__}`."
        return function

    return decorate


def _is_among(x: Any, values: Iterable[Any]) -> bool:
    for v in values:  # noqa: SIM110 -- a generator would cost more than all the rest
        if v is x or (type(v) in (list, tuple) and _is_among(x, v)):
            return True
    return False


def _viewed(y: Any, args: tuple[Any, ...], each: bool, readonly: bool) -> Any:
    """The results of a rule marked as views of the arguments."""
    if not isinstance(y, (tuple, list)):
        return view_of(y, args[0], None, readonly) if isinstance(args[0], Tracer) else y
    sources = args if each else (args[0],) * len(y)
    return type(y)(view_of(v, x, None, readonly) if isinstance(x, Tracer) else v for v, x in zip(y, sources))


def own(x: Any) -> Any:
    """A new plain array as one that the function at work may assign traced values into."""
    trace = current_trace()
    if trace is EVAL:
        return x
    if np.ndim(x) or isinstance(x, Tracer):
        return trace.own(x)
    y = trace.own(copy(x) if isinstance(trace, StageTrace) else x)
    if isinstance(y, Tracer):
        Memory.of(y)  # an array, although it has no axes
    return y


def refuse_out(name: str, out: Any) -> None:
    """Raise InPlaceError, a TypeError, where an ``out`` argument was given."""
    if out is not None:
        raise InPlaceError(
            f"{name} takes no out=: a function that is transformed must not write into its arguments; "
            f"write `y = {name}(...)` instead of `{name}(..., out=y)`"
        )


def mask_of(name: str, where: Any) -> Any:
    """The argument ``where`` as booleans. Raises OperandTypeError, as NumPy does, for an array of anything else."""
    if type(where) in (bool, int, float, NoneType) or (type(where) in (list, tuple) and all_plain(where)):
        return constant(np.asarray(where, np.bool_))
    mask = operand(name, where, "where")
    if aval_of(mask).dtype != np.bool_:
        raise OperandTypeError(
            f"{name}: where is a mask of booleans, not an array of dtype {aval_of(mask).dtype.name}; write where=(mask != 0)"
        )
    return mask


def staging() -> bool:
    """Whether what runs now is being written down as a program."""
    trace: Trace | None = current_trace()
    while trace is not None and trace is not EVAL:
        if isinstance(trace, StageTrace):
            return True
        trace = trace.parent
    return False


# Operands -------------------------------------------------------------------------------------------------------------


def is_operand(x: Any) -> bool:
    """Whether ``x`` is an array, a tracer, a scalar, or a list or tuple (which stands for an array)."""
    return type(x) in (list, tuple) or is_array_like(x)


def is_weak(x: Any) -> bool:
    """Whether ``x`` is a Python scalar, or a tracer that stands for one."""
    return type(x) in (int, float, complex) or (isinstance(x, Tracer) and x.aval.weak)


def operand(name: str, x: Any, what: str = "an argument") -> Any:
    """``x`` as something that has an aval: itself, or an array for a list or a tuple.

    Raises OperandTypeError, naming the function, for anything else and for arrays of strings, objects or dates.
    """
    if type(x) in (list, tuple):
        return asarray(x)
    try:
        dtype = aval_of(x).dtype
    except ForeignArrayError:
        raise ForeignArrayError(f"{name}: {what}: {foreign_advice(x)}") from None
    except (TypeError, AttributeError):
        raise OperandTypeError(f"{name}: {what} is {_show(x)}; it takes arrays and numbers") from None
    if dtype.kind not in _KINDS and dtype.name != "bfloat16":
        raise OperandTypeError(
            f"{name}: {what} has the dtype {dtype}; funcgrad computes with numbers and booleans only"
        )
    return x


def _show(x: Any) -> str:
    text = repr(x)
    return f"{text if len(text) <= 40 else text[:37] + '...'} of type {type(x).__name__}"


def asarray(x: Any, dtype: Any = None) -> Any:
    """An array or tracer of ``dtype`` from a number, an array, a tracer, or nested lists and tuples of them.

    Lists take the dtype that ``np.array`` gives them: in a list, a Python scalar is not weak.
    """
    if isinstance(x, Tracer):
        return convert_to(x, x.aval.dtype if dtype is None else np.dtype(dtype), strong=True)
    if type(x) in (list, tuple) and not all_plain(x):
        return _stack(x, dtype)
    if is_array_like(x) and not isinstance(x, (bool, int, float, complex, np.ndarray, np.generic)):
        return x if dtype is None or dtype_of(x) == dtype else convert_to(x, np.dtype(dtype))
    array = np.asarray(x, dtype)
    if array.dtype.kind not in _KINDS:
        raise OperandTypeError(f"{_show(x)} is no array of numbers or booleans")
    return constant(array)


def _stack(items: Sequence[Any], dtype: Any) -> Any:
    rows = [asarray(item, dtype) for item in items]
    shapes = [np.shape(row) if not isinstance(row, Tracer) else row.shape for row in rows]
    if any(shape != shapes[0] for shape in shapes):
        raise OperandError(f"a list of arrays becomes an array only if they have one shape, not {_listed(shapes)}")
    common = np.result_type(*(aval_of(row).dtype for row in rows)) if dtype is None else np.dtype(dtype)
    rows = [reshape(convert_to(row, common), shape=(1, *shapes[0])) for row in rows]
    return concatenate(*rows, axis=0)


def constant(x: Any) -> Any:
    """A NumPy array as a value of the current back end; the NumPy array itself where NumPy is that, or in a program."""
    if _default.plain or staging():
        return x
    return current_backend().asarray(x)


def beside(x: Any, y: Any) -> Any:
    """``y``, which was made to stand beside ``x``, as an array of the library that ``x`` belongs to."""
    library = library_of(x)
    return y if library is None or isinstance(y, Tracer) else library.asarray(y)


def check_device(name: str, device: Any) -> None:
    """Raise ValueError for a device on which the current back end makes no arrays."""
    if device is None:
        return
    backend = current_backend()
    if device != backend.device:
        raise ValueError(
            f"{name}: there is no device {device!r}; the back end {backend.name!r} makes arrays on {backend.device!r} "
            f"(another back end makes them elsewhere: `with fg.use_backend(name):`)"
        )


def full(shape: Sequence[int], value: Any, dtype: Any) -> Any:
    """An array of one value: built by NumPy where it computes or the array is small, else by the program."""
    shape, dtype = tuple(shape), np.dtype(dtype)
    plain = not isinstance(value, Tracer) and _default.plain
    if plain and (prod(shape) * dtype.itemsize <= SMALL or not staging()):
        return np.full(shape, value, dtype)
    value = convert_to(value, dtype, strong=True)
    return broadcast_in_dim(value, shape=shape, dims=()) if shape else value


def convert_to(x: Any, dtype: np.dtype[Any], strong: bool = False) -> Any:
    """``x`` as ``dtype``, as ``x.astype(dtype)``: an equation where it changes something.

    A Python scalar becomes a NumPy scalar. ``strong``: a weak tracer becomes a strong one.
    """
    aval = aval_of(x)
    if type(x) in (bool, int, float, complex):
        return np.asarray(x).astype(dtype)[()] if dtype.kind == "b" else np.asarray(x, dtype)[()]
    if aval.dtype == dtype and not (strong and aval.weak):
        return x
    if aval.dtype.kind == "c" and dtype.kind not in "cb":
        x = real(x)
        if dtype_of(x) == dtype:
            return x
    return convert(x, dtype=dtype)


# Promotion and broadcasting -------------------------------------------------------------------------------------------


def promote_args(name: str, *args: Any) -> list[Any]:
    """The operands of the function ``name``, promoted to one dtype and broadcast to one shape.

    An operand of rank 0 keeps its rank: elementwise primitives broadcast it by themselves. A Python scalar stays one
    where another operand has the dtype already. Raises OperandError for shapes that do not fit, OperandTypeError for
    things that are no arrays.
    """
    return broadcast(name, *promote_dtypes(name, *args))


def promote_dtypes(name: str, *args: Any, dtype: Any = None) -> list[Any]:
    """The operands of the function ``name``, promoted to one dtype: ``dtype`` if it is given, else NumPy's choice."""
    operands = [operand(name, x, f"argument {i}") for i, x in enumerate(args)]
    common = promote(*map(aval_of, operands)) if dtype is None else np.dtype(dtype)
    return cast(operands, [common] * len(operands))


def cast(operands: Sequence[Any], dtypes: Sequence[np.dtype[Any]]) -> list[Any]:
    """The operands converted to their dtypes; Python scalars are left to the primitive if an array has the dtype."""
    cast = [x if type(x) in _WEAK else convert_to(x, d) for x, d in zip(operands, dtypes)]
    for i, x in enumerate(cast):
        if type(x) in _WEAK and not any(type(y) not in _WEAK and d == dtypes[i] for y, d in zip(cast, dtypes)):
            cast[i] = convert_to(x, dtypes[i])
    return cast


_WEAK = frozenset({int, float, complex})


def fit(name: str, operands: Sequence[Any], avals: Sequence[Aval], dtypes: Sequence[np.dtype[Any]]) -> Sequence[Any]:
    """:func:`cast` and :func:`broadcast` in one look at the types: mostly there is nothing to do."""
    shape: tuple[int, ...] = ()
    typed = False
    for x, a, d in zip(operands, avals, dtypes):
        if type(x) not in _WEAK:
            if a.dtype != d or d != dtypes[0]:
                break
            typed = True
        if a.shape and a.shape != shape:
            if shape:
                break
            shape = a.shape
    else:
        if typed:
            return operands
    return broadcast(name, *cast(operands, dtypes))


def broadcast(name: str, *operands: Any) -> list[Any]:
    """The operands broadcast to one shape, by NumPy's rules; those of rank 0 are left as they are."""
    shapes = [aval_of(x).shape for x in operands]
    ranked = [s for s in shapes if s]
    if not ranked or all(s == ranked[0] for s in ranked):
        return list(operands)
    shape = broadcast_shapes(name, *shapes)
    return [x if s == shape or not s else expand_to(x, shape) for x, s in zip(operands, shapes)]


def broadcast_shapes(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that all ``shapes`` broadcast to. Raises OperandError that quotes them all."""
    rank = max(map(len, shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for i, n in enumerate(shape, rank - len(shape)):
            if n != 1:
                if result[i] not in (1, n):
                    raise OperandError(
                        f"{name}: the shapes {_listed(shapes)} do not broadcast together; counted from the last, "
                        f"axes must be equal or 1, but axis {i - rank} has {result[i]} and {n}"
                    )
                result[i] = n
    return tuple(result)


def expand_to(x: Any, shape: tuple[int, ...]) -> Any:
    """``x`` broadcast to a shape that it fits, as one equation."""
    rank = len(aval_of(x).shape)
    return broadcast_in_dim(x, shape=shape, dims=tuple(range(len(shape) - rank, len(shape))))


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    texts = [str(s) for s in shapes]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


# Axes -----------------------------------------------------------------------------------------------------------------


def normalize_axis(axis: Any, ndim: int) -> int:
    """An axis counted from the front. Raises NumPy's AxisError where there is no such axis."""
    index = operator.index(axis)
    if not -ndim <= index < ndim:
        raise AxisError(index, ndim)
    return index % ndim


def axis_tuple(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that ``axis`` names: an integer, several of them, or None for all; sorted and distinct."""
    if axis is None:
        return tuple(range(ndim))
    if not isinstance(axis, (tuple, list)):
        return (normalize_axis(axis, ndim),)
    axes = sorted(normalize_axis(a, ndim) for a in axis)
    if len(set(axes)) != len(axes):
        raise ValueError("duplicate value in 'axis'")
    return tuple(axes)


def sum_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of a sum or product: integers narrower than the platform's, and booleans, are added in that one."""
    if dtype.kind == "b" or (dtype.kind == "i" and dtype.itemsize < 8):
        return INDEX
    return np.dtype(np.uint64) if dtype.kind == "u" else dtype


def ufunc_dtypes(ufunc: Any, avals: Sequence[Aval], name: str) -> tuple[np.dtype[Any], ...]:
    """The dtypes of the loop that NumPy takes for operands of these types: of the operands, then of the results.

    Raises OperandTypeError where NumPy has none.
    """
    key = (ufunc, *((a.dtype, a.weak) for a in avals))
    found = _loops.get(key)
    if found is None:
        kinds = {"i": int, "f": float, "c": complex}
        # Of Python integers alone NumPy compares objects, exactly; funcgrad has them as int64.
        every = all(a.weak for a in avals)
        types = [kinds[a.dtype.kind] if a.weak and not every else a.dtype for a in avals]
        try:
            found = _loops[key] = ufunc.resolve_dtypes((*types, *[None] * ufunc.nout))
        except TypeError as error:
            listed = ", ".join(t.__name__ if isinstance(t, type) else t.name for t in types)
            reason = str(error) if "ufunc '" not in str(error) else f"NumPy has no {ufunc.__name__} of these dtypes"
            raise OperandTypeError(f"{name}({listed}): {reason}") from None
    return found


_loops: dict[Any, tuple[np.dtype[Any], ...]] = {}
