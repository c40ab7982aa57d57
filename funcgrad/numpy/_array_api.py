"""``funcgrad.numpy`` as a namespace of the Python array API standard (https://data-apis.org/array-api/2024.12).

Code written for the standard asks its arrays for the namespace: ``xp = x.__array_namespace__(); xp.sum(x)``. A NumPy array
answers ``numpy``, a traced value answers ``funcgrad.numpy``, so that such code is traced as it stands. Where the standard
leaves a choice, or NumPy 2 deviates from it, this is NumPy 2.

Array methods that speak of the array as an object in memory are here too. A traced value cannot leave for another
library: that one would not see the derivative, the rows or the program that it stands for.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

from ..core.backend import current_backend
from ..core.trace import Tracer
from ._promote import check_device, staging

__all__ = ["API_VERSION", "ArrayNamespaceInfo", "array_namespace", "to_device"]

API_VERSION = "2024.12"
_SUPPORTED = ("2021.12", "2022.12", "2023.12", API_VERSION)


class ArrayNamespaceInfo:
    """What the namespace can do, which dtypes and devices it has: ``__array_namespace_info__()`` of the standard.

    >>> import funcgrad.numpy as fnp
    >>> info = fnp.__array_namespace_info__()
    >>> info.default_dtypes()["real floating"], info.devices()
    (dtype('float64'), ['cpu'])
    """

    __module__ = "funcgrad.numpy"

    def capabilities(self) -> dict[str, Any]:
        """Optional features, by name. In a program that is being written down no shape depends on values."""
        dynamic = not staging()
        return {"boolean indexing": dynamic, "data-dependent shapes": dynamic, "max dimensions": 64}

    def default_device(self) -> Any:
        """Where new arrays lie: the device of the current back end."""
        return current_backend().device

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype[Any]]:
        """The dtypes of new arrays that are given none. Raises ValueError for an unknown ``device``."""
        check_device("default_dtypes", device)
        return {
            "real floating": np.dtype(np.float64),
            "complex floating": np.dtype(np.complex128),
            "integral": np.dtype(np.int64),
            "indexing": np.dtype(np.int64),
        }

    def dtypes(self, *, device: Any = None, kind: str | tuple[str, ...] | None = None) -> dict[str, np.dtype[Any]]:
        """The standard's dtypes by name: all, or those of a kind as of :func:`isdtype`, or of one of several kinds.

        Raises ValueError for an unknown ``device`` or ``kind``.
        """
        check_device("dtypes", device)
        found = {name: np.dtype(name) for name in _DTYPES}
        return found if kind is None else {name: d for name, d in found.items() if np.isdtype(d, kind)}

    def devices(self) -> list[Any]:
        """The devices that arrays can be made on: one, that of the current back end."""
        return [current_backend().device]


_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float32", "float64", "complex64", "complex128"),
)


def array_namespace(self: Tracer, /, *, api_version: str | None = None) -> ModuleType:
    """``funcgrad.numpy``. Raises ValueError for a version of the standard that it does not follow."""
    if api_version is not None and api_version not in _SUPPORTED:
        raise ValueError(
            f"funcgrad.numpy follows the array API standard in the versions {', '.join(_SUPPORTED)}, not {api_version!r}"
        )
    return sys.modules[__package__]


def to_device(self: Tracer, device: Any, /, *, stream: Any = None) -> Tracer:
    """The value itself: a traced value is computed where the program runs, and cannot be sent elsewhere.

    Raises ValueError for another device than its own, and for a stream.
    """
    if device != self.device or stream is not None:
        raise ValueError(
            f"a traced value is computed on {self.device!r} and cannot be sent to {device!r}"
            f"{' or put on a stream' if stream is not None else ''}: move the arguments of the transformed function "
            f"before it is called"
        )
    return self
