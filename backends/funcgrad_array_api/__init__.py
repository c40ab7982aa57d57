"""A back end over any library that follows the Python array API standard, 2023.12 or later.

    import array_api_strict
    from funcgrad_array_api import register

    register(array_api_strict, "array_api_strict")

From then on arrays of that library go into transforms and functions, and results are arrays of it. Every operation is
written with functions of the standard alone, and none writes into an array. Special functions but the error function, LU
factors and eigenvalues of general matrices, which the standard has not, are NumPy's where the arrays lie in host memory,
and raise BackendError elsewhere (``host.py``). float16 and the order of complex numbers, which it cannot express, raise
BackendError. ``linalg`` and ``fft`` are extensions of the standard: their operations are there where the library has them.

An operator takes a traced value beside an array of the library only where the library's own operator leaves it to the
other operand (returns NotImplemented). array_api_strict does not: write ``traced * array``, or ``fnp.multiply(array,
traced)``.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np

from funcgrad.errors import BackendError
from funcgrad.extend import Backend, aval_of, promote, register_backend

from . import contraction, elementwise, fft, host, indexing, linalg, reduction, structure

__all__ = ["ArrayAPIBackend", "make_backend", "register"]

#: The dtypes of the standard.
_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float32", "float64", "complex64", "complex128"),
)


class ArrayAPIBackend(Backend):
    """The namespace ``xp`` of a library as a back end; new arrays are created on ``device``."""

    def __init__(self, xp: Any, name: str, device: Any = None) -> None:
        self.xp = xp
        self.name = name
        example = xp.empty((), device=device)
        self.device = example.device
        self.array_types = (type(example),)
        self._native = {np.dtype(n): getattr(xp, n) for n in _DTYPES if hasattr(xp, n)}
        self.dtypes = MappingProxyType({v: k for k, v in self._native.items() if not isinstance(v, (type, np.dtype))})
        general = {**structure.OPS, **reduction.OPS, **indexing.OPS, **contraction.OPS, "guard": linalg.guard}
        if hasattr(xp, "linalg"):
            general |= linalg.OPS
        if hasattr(xp, "fft"):
            general |= fft.OPS
        pointwise = dict(elementwise.OPS)
        if hasattr(xp, "nextafter"):
            pointwise["nextafter"] = elementwise.nextafter
        self.ops = MappingProxyType(
            {
                **{k: host.hosted(self, k) for k in host.HOSTED},
                **{k: self._elementwise(f) for k, f in pointwise.items()},
                **{k: self._general(f) for k, f in general.items()},
                "iota": self._iota,
                "pure_callback": self._pure_callback,
                "debug_callback": self._debug_callback,
            }
        )

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        """A new array of the library from a NumPy array or a scalar; one of the library's own is not copied for nothing."""
        target = None if dtype is None else self.native_dtype(np.dtype(dtype))
        if isinstance(x, self.array_types):
            return x if target is None or x.dtype == target else self.xp.astype(x, target)
        array = np.asarray(x, dtype)
        source = array.item() if array.ndim == 0 else array
        return self.xp.asarray(source, dtype=self.native_dtype(array.dtype), device=self.device, copy=True)

    def to_numpy(self, x: Any) -> Any:
        """A NumPy array, which shares no memory with ``x``."""
        if not isinstance(x, self.array_types) or isinstance(x, np.ndarray):
            return np.array(x)
        return np.array(np.from_dlpack(x))

    def copy(self, x: Any) -> Any:
        """A new array with the same elements."""
        return self.xp.asarray(x, copy=True) if isinstance(x, self.array_types) else self.asarray(x)

    def native_dtype(self, dtype: np.dtype[Any]) -> Any:
        """The library's dtype. Raises BackendError for one that the standard, or the library, does not have."""
        found = self._native.get(dtype)
        if found is None:
            raise BackendError(
                f"the back end {self.name!r} has no dtype {dtype}; it has {', '.join(map(str, self._native))}: "
                f"convert to one of these first"
            )
        return found

    def _params(self, params: dict[str, Any]) -> dict[str, Any]:
        return params | {"dtype": self.native_dtype(params["dtype"])} if "dtype" in params else params

    def _elementwise(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """An operation whose operands have one dtype: a Python scalar takes that of the others."""
        xp, types = self.xp, self.array_types

        def run(*args: Any, **params: Any) -> Any:
            if not all(isinstance(x, types) for x in args):
                values = args[1:] if f is elementwise.select else args
                dtype = promote(*map(aval_of, values))
                args = tuple(self.asarray(x, dtype if aval_of(x).weak else None) for x in args)
            return f(xp, *args, **self._params(params))

        return run

    def _general(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """An operation whose operands have dtypes of their own."""
        xp = self.xp

        def run(*args: Any, **params: Any) -> Any:
            return f(xp, *map(self.asarray, args), **self._params(params))

        return run

    def _iota(self, **params: Any) -> Any:
        return structure.iota(self.xp, device=self.device, **self._params(params))

    def _pure_callback(self, *args: Any, callback: Callable[..., Any], avals: Any, **_: Any) -> list[Any]:
        """What a Python function of NumPy arrays returns, checked against the types it promised."""
        checked = []
        for result, aval in zip(callback(*map(self.to_numpy, args)), avals, strict=True):
            array = np.asarray(self.to_numpy(result), aval.dtype)
            if array.shape != aval.shape:
                raise ValueError(
                    f"the function given to pure_callback returned an array of shape {array.shape}; "
                    f"it promised {aval.shape}"
                )
            checked.append(self.asarray(array))
        return checked

    def _debug_callback(self, *args: Any, callback: Callable[..., Any], **_: Any) -> list[Any]:
        """Call a Python function of NumPy arrays, for its effect."""
        callback(*map(self.to_numpy, args))
        return []


def make_backend(xp: Any, name: str, device: Any = None) -> ArrayAPIBackend:
    """A back end over the array API namespace ``xp``, with its new arrays on ``device`` (by default the library's own).

    Raises BackendError if ``xp`` is no namespace of the standard in its version 2023.12 or later.
    """
    version = getattr(xp, "__array_api_version__", None)
    if version is None or version < "2023.12":
        raise BackendError(
            f"{getattr(xp, '__name__', xp)!r} is no namespace of the array API standard 2023.12 or later "
            f"(its __array_api_version__ is {version}); array_api_compat makes one of some libraries"
        )
    return ArrayAPIBackend(xp, name, device)


def register(xp: Any, name: str, device: Any = None) -> ArrayAPIBackend:
    """Make the library known to funcgrad under ``name``: its arrays go into every function and transform.

    Returns its back end. Raises BackendError as :func:`make_backend` does.
    """
    backend = make_backend(xp, name, device)
    register_backend(backend)
    return backend
