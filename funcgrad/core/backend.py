"""The back-end contract, the registry, and which back end a value belongs to.

A back end implements as much as it likes of :class:`Backend`. It is found under the name of its entry point in the group
``funcgrad.backends``; a package named ``funcgrad_NAME`` is found without asking the packaging metadata, which is slow.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter_ns
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import BackendError
from .types import FOREIGN_DTYPES

if TYPE_CHECKING:
    from .ir import Eqn, Jaxpr

__all__ = [
    "Backend",
    "backend_of",
    "backends",
    "current_backend",
    "device_of",
    "get_backend",
    "library_of",
    "register_backend",
    "use_backend",
]

ENTRY_POINTS = "funcgrad.backends"


class Backend:
    """What funcgrad needs of an array library.

    ``name``: its name. ``array_types``: the classes of its arrays. ``ops``: from the name of a primitive to a callable
    that takes arrays positionally and the primitive's parameters by keyword, and returns one array, or a sequence of
    arrays for a primitive with several outputs; a primitive without an entry is expanded into others if it can be.
    ``calls``: from the name of a named call (``softmax``) to a function of its body, a jaxpr, and of its static arguments
    by keyword, that gives the kernel to run in its place, or None where there is none for these operands; a kernel takes
    the operands of the body, the arrays it closes over first, and returns the list of its results, new arrays. Derivatives and ``vmap`` see the body, and make
    calls of names of their own (``vmap_softmax``). ``compile`` turns a whole
    jaxpr without free variables into a callable of flat arrays that returns a list; ``compiles`` says that it makes
    programs of its own, so that an eager loop is worth one: the interpreter would only interpret it twice. ``fusable``:
    the primitives that may stand in a group of equations which ``fusion`` takes as a whole
    (:mod:`funcgrad.compiler.fusion` says what groups are); with none, the back end sees no group. ``dtypes``: from the
    dtypes of its arrays to NumPy's, where ``np.dtype`` does not take them. ``device``: where new arrays lie, as the
    array API standard's ``device``. ``plain``: its arrays are NumPy's, and what is not compiled NumPy computes as well.
    """

    name: str = ""
    array_types: tuple[type, ...] = ()
    dtypes: Mapping[Any, np.dtype[Any]] = MappingProxyType({})
    ops: Mapping[str, Callable[..., Any]] = MappingProxyType({})
    calls: Mapping[str, Callable[..., Callable[..., list[Any]] | None]] = MappingProxyType({})
    fusable: frozenset[str] = frozenset()
    compiles: bool = False
    device: Any = "cpu"
    plain: bool = False

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        """An array of this back end from a NumPy array, a scalar, or an array of its own."""
        return np.asarray(x, dtype)

    def to_numpy(self, x: Any) -> Any:
        """A NumPy array from an array of this back end."""
        return np.asarray(x)

    def fusion(self, eqn: Eqn) -> Callable[..., Any] | None:
        """A callable of the operands of a ``fusion`` equation that returns its outputs as new arrays; None leaves
        the equations of its body as they were.
        """
        return None

    def named_kernel(
        self, name: str, body: Jaxpr, static: Sequence[tuple[str, Any]] | None = None
    ) -> Callable[..., list[Any]] | None:
        """What ``calls`` has for a call of ``body`` by this name; asked once, and kept in the memo of the body."""
        if name not in self.calls:
            return None
        key = ("named kernel", self.name, name)
        if key not in body.memo:
            body.memo[key] = self.calls[name](body, **dict(static or ()))
        found: Callable[..., list[Any]] | None = body.memo[key]
        return found

    def copy(self, x: Any) -> Any:
        """An array of this back end with the same elements that shares no memory with ``x``."""
        return np.array(x)

    def mark(self) -> Any:
        """Note this moment in the work that the device is given, without waiting; :meth:`moments` says when it came."""
        return perf_counter_ns()

    def moments(self, marks: Sequence[Any]) -> list[int]:
        """When the work before each mark was done, in ns on the device's clock; waits for the last."""
        return list(marks)

    def synchronise(self) -> None:
        """Wait until what was asked of the device is done; by default nothing is ever pending."""

    def compile_with(
        self, jaxpr: Jaxpr, donated: frozenset[int] = frozenset(), fast_math: bool = False
    ) -> Callable[..., list[Any]]:
        """As :meth:`compile`, with permissions that a back end need not use: the inputs in ``donated`` may be
        overwritten, and with ``fast_math`` roundings and the signs of zeros may differ from NumPy's.
        """
        return self.compile(jaxpr)

    def compile(self, jaxpr: Jaxpr) -> Callable[..., list[Any]]:
        """A callable that runs ``jaxpr``; by default it interprets the equations one by one.

        Results are arrays of this back end, or Python scalars where the program returns such. None is an operand, a
        constant or another result: such a one is copied. That it shares no memory with them is up to ``ops``.
        """
        from .trace import eval_jaxpr

        def interpret(*args: Any) -> list[Any]:
            # A program runs without NumPy's warnings, however it is run.
            with np.errstate(all="ignore"):
                outs = eval_jaxpr(jaxpr, *args)
                seen = {id(x) for x in (*args, *jaxpr.consts)}
                fresh = []
                for y, aval in zip(outs, jaxpr.out_avals, strict=True):
                    if aval.weak:
                        y = y.item() if isinstance(y, np.generic) else y
                    elif id(y) in seen:
                        y = self.copy(y)
                    elif self.array_types and not isinstance(y, self.array_types):
                        y = self.asarray(y)
                    seen.add(id(y))
                    fresh.append(y)
                return fresh

        return interpret


_registry: dict[str, Backend] = {}
_lock = threading.RLock()
#: From the type of a value to its back end. Python and NumPy values are neutral (None): they go where the others are.
_types: dict[type, Backend | None] = {
    t: None for t in (bool, int, float, complex, np.ndarray, np.bool_, *np.sctypeDict.values())
}


class _Default(threading.local):
    name: str = "numpy"
    plain: bool = True


_default = _Default()


def register_backend(backend: Backend) -> None:
    """Make a back end known by its name and its array types."""
    with _lock:
        _registry[backend.name] = backend
        FOREIGN_DTYPES.update(backend.dtypes)
        for t in backend.array_types:
            if t is not np.ndarray:
                _types[t] = backend


def backends() -> list[str]:
    """The names of all back ends that can be asked for: registered, installed, or built in."""
    from importlib.metadata import entry_points

    return sorted({*_registry, *(e.name for e in entry_points(group=ENTRY_POINTS))} | {"numpy"})


def get_backend(name: str) -> Backend:
    """The back end of this name, loaded if need be; ``cuda-emu`` is ``cuda_emu``.

    Raises BackendError, on one line, when there is none of this name or when it cannot be loaded.
    """
    name = name if name in _registry else name.replace("-", "_")
    backend = _registry.get(name)
    if backend is not None:
        return backend
    with _lock:
        try:
            loaded = _load(name)
        except ImportError as error:
            raise BackendError(f"back end {name!r} cannot be loaded: {error}") from error
        if loaded is None:
            raise BackendError(f"there is no back end {name!r}; there are: {', '.join(backends())}")
        register_backend(loaded)
        return loaded


def _load(name: str) -> Backend | None:
    package = f"funcgrad_{name}"
    if name.isidentifier() and importlib.util.find_spec(package) is not None:
        found: Backend = importlib.import_module(package).backend
        return found
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINTS, name=name):
        loaded: Backend = entry.load()
        return loaded
    return None


def current_backend() -> Backend:
    """The back end that creates new arrays in this thread."""
    name = _default.name
    return _registry.get(name) or get_backend(name)


@contextmanager
def use_backend(name: str) -> Iterator[Backend]:
    """While active, arrays are created and plain values computed by the back end ``name``.

    Raises BackendError for an unknown name.

    >>> with use_backend("numpy") as backend:
    ...     backend.name
    'numpy'
    """
    backend = get_backend(name)
    previous, _default.name, _default.plain = (_default.name, _default.plain), backend.name, backend.plain
    try:
        yield backend
    finally:
        _default.name, _default.plain = previous


def backend_of(args: Sequence[Any]) -> Backend:
    """The back end of concrete values: that of their types; the current one if all are NumPy or Python values.

    Raises BackendError if they belong to several, LeakedTracerError for a tracer (its trace has ended).
    """
    found: Backend | None = None
    for x in args:
        try:
            backend = _types[type(x)]
        except KeyError:
            backend = _backend_of_type(x)
        if backend is None or backend is found:
            continue
        if found is not None:
            raise BackendError(
                f"arrays of the back ends {found.name!r} and {backend.name!r} met in one operation; "
                f"move them to one of the two first"
            )
        found = backend
    return found or current_backend()


def device_of(x: Any) -> Any:
    """Where a value lies: the device of an array, for a number that of the current back end."""
    return x.device if hasattr(x, "device") else current_backend().device


def library_of(x: Any) -> Backend | None:
    """The back end whose own array ``x`` is; None for NumPy's, for numbers and for traced values."""
    return _types.get(type(x))


def _backend_of_type(x: Any) -> Backend | None:
    t = type(x)
    if hasattr(t, "aval") and hasattr(x, "leak_message"):
        raise x._trace.use_error(x)
    for known, backend in list(_types.items()):
        if issubclass(t, known):
            _types[t] = backend
            return backend
    root = t.__module__.split(".")[0]
    try:
        backend = get_backend(root)
    except BackendError:
        raise BackendError(
            f"a value of type {t.__module__}.{t.__qualname__} belongs to no known back end; "
            f"there are: {', '.join(backends())}"
        ) from None
    _types[t] = backend
    return backend
