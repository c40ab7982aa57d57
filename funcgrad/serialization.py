"""``save`` and ``load``: any pytree of arrays, with its structure, in one safetensors file.

The arrays are the tensors of the file, under their key paths, so that other tools of that format read them. The header's
metadata hold what the format does not know: the structure as JSON, the kinds of leaves that are no arrays, complex
dtypes, and a checksum. There is no pickle: to load a file runs no code of it, and a class is only ever looked up among
those that the program has already imported and made pytrees.
"""

import dataclasses
import json
import os
import sys
import threading
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import tree
from .core.errors import SerializationError

__all__ = ["Saved", "load", "save"]

_FORMAT = "funcgrad/1"
_SCALARS: dict[str, type] = {"bool": bool, "int": int, "float": float, "complex": complex}
_COMPLEX = {"complex64": np.float32, "complex128": np.float64}


def save(path: str | os.PathLike[str], values: Any) -> None:
    """Write a pytree of arrays into one file.

    Containers are dicts with string keys, lists, tuples, None, namedtuples and registered dataclasses: parameters,
    optimizer states and random keys as they are. Leaves are arrays of any boolean, integer, floating or complex dtype,
    NumPy scalars and Python numbers. Static fields of a dataclass are written if they are strings, numbers or None; others must come
    from ``like`` when the file is loaded. The file appears under its name when it is complete, and replaces what was
    there at once.

    Raises:
        SerializationError: a leaf is no array or number, or a container has no place in the file; the message names its
            key path. A file that cannot be written raises OSError.

    >>> import os, tempfile
    >>> file = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> save(file, {"w": np.ones((2, 3), np.float32), "steps": 7})
    >>> load(file)
    {'steps': 7, 'w': array([[1., 1., 1.],
           [1., 1., 1.]], dtype=float32)}
    """
    from safetensors.numpy import save as to_bytes

    tensors: dict[str, np.ndarray] = {}
    kinds: dict[str, str] = {}
    texts = {"structure": json.dumps(_describe(values, "", tensors, kinds)), "kinds": json.dumps(kinds)}
    metadata = {"format": _FORMAT, **texts, "checksum": _checksum(tensors, *texts.values())}
    data = to_bytes(tensors, metadata)
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | os.PathLike[str], like: Any = None) -> Any:
    """Read what :func:`save` wrote: a pytree of the same structure, with fresh arrays of the same dtypes and shapes.

    Args:
        path: the file.
        like: a pytree that the file must fit in structure, shapes and dtypes, such as a freshly initialised model.
            Its containers and their static fields are taken; without it they are made as the file tells, which needs
            the classes of namedtuples and dataclasses to be imported.

    Raises:
        SerializationError: the file is damaged, of another program, or of another structure than ``like``; then the
            message names the first key path that differs. A missing file raises FileNotFoundError.
    """
    saved = Saved.read(path)
    return saved.build() if like is None else saved.fill(like)


class Saved(NamedTuple):
    """A part of a saved pytree: the file, the description of the part, its key path, and all leaves by key path."""

    file: Path
    structure: Any
    path: str
    leaves: dict[str, Any]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Saved":
        """All of a file. Raises as :func:`load` does."""
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file")
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != _FORMAT:
                    raise SerializationError(
                        f"{path}: was not written by funcgrad.save (its format is {metadata.get('format')!r}); "
                        "its bare tensors are read by safetensors.numpy.load_file"
                    )
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise SerializationError(f"{path}: is damaged or not a safetensors file ({error})") from None
        if _checksum(tensors, metadata.get("structure", ""), metadata.get("kinds", "")) != metadata.get("checksum"):
            raise SerializationError(f"{path}: is damaged: its content does not have the checksum it was written with")
        kinds = json.loads(metadata["kinds"])
        leaves = {name: _leaf(x, kinds.get(name, "array")) for name, x in tensors.items()}
        return cls(path, json.loads(metadata["structure"]), "", leaves)

    def child(self, name: str) -> "Saved":
        """The part under a key of a dict."""
        return self._replace(structure=self.structure["children"][name], path=f"{self.path}[{name!r}]")

    def build(self) -> Any:
        """The value, made as the file tells."""
        return _build(self.structure, self.path, self.leaves, self.file)

    def fill(self, like: Any) -> Any:
        """``like`` with the leaves of the file, which must be those it has."""
        file, where = self.file, self.path
        expected, treedef = tree.flatten_with_path(like)
        names = [where + tree.keystr(path) for path, _ in expected]
        for name in names:
            if name not in self.leaves:
                raise SerializationError(f"{file}: is of another structure: it has nothing at {name or 'the top'}")
        for name in self.leaves:
            if name.startswith(where) and name not in names:
                raise SerializationError(f"{file}: is of another structure: it has {name or 'one leaf'}, like has not")
        for name, (_, value) in zip(names, expected):
            found, wanted = np.asarray(self.leaves[name]), np.asarray(value)
            if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
                raise SerializationError(
                    f"{file}: {name or 'its leaf'} is {found.dtype.name}{list(found.shape)}, "
                    f"like has {wanted.dtype.name}{list(wanted.shape)}"
                )
        return tree.unflatten(treedef, [self.leaves[n] for n in names])


# Structure ------------------------------------------------------------------------------------------------------------


def _describe(x: Any, path: str, tensors: dict[str, np.ndarray], kinds: dict[str, str]) -> Any:
    """The structure of a value as JSON; its leaves go into ``tensors``."""
    if x is None:
        return None
    entries = _entries(x, path)
    if entries is None:
        tensors[path], kind = _tensor(x, path)
        if kind != "array":
            kinds[path] = kind
        return path
    kind, extra, children = entries
    inner = {name: _describe(child, path + step, tensors, kinds) for name, step, child in children}
    return {"kind": kind, **extra, "children": inner}


def _entries(x: Any, path: str) -> tuple[str, dict[str, Any], list[tuple[str, str, Any]]] | None:
    """The kind of a container, what else makes it, and its children with their names and key paths; None for a leaf."""
    cls = type(x)
    if cls is dict:
        bad = next((k for k in x if type(k) is not str), None)
        if bad is not None:
            raise SerializationError(
                f"save: the dict at {path or 'the top'} has the key {bad!r}; only strings are kept"
            )
        return "dict", {}, [(k, f"[{k!r}]", x[k]) for k in sorted(x)]
    if cls in (list, tuple):
        return cls.__name__, {}, [(str(i), f"[{i}]", v) for i, v in enumerate(x)]
    if isinstance(x, tuple) and hasattr(cls, "_fields"):
        return "namedtuple", _class(cls), [(n, f".{n}", getattr(x, n)) for n in cls._fields]
    if dataclasses.is_dataclass(x) and not isinstance(x, type) and _is_container(x):
        data = [str(entry)[1:] for entry in _one_level(x)]
        names = [f.name for f in dataclasses.fields(x) if f.init and f.name not in data]
        static = {n: getattr(x, n) for n in names if isinstance(getattr(x, n), (str, int, float, bool, type(None)))}
        missing = [n for n in names if n not in static]
        return (
            "dataclass",
            {**_class(cls), "static": static, "missing": missing},
            [(n, f".{n}", getattr(x, n)) for n in data],
        )
    if _is_container(x):
        raise SerializationError(
            f"save: {path or 'the tree'} is a {cls.__qualname__}; only dicts, lists, tuples, namedtuples and registered "
            "dataclasses have a place in a file"
        )
    return None


def _is_container(x: Any) -> bool:
    return tree.structure(x).num_nodes != 1 or tree.structure(x).num_leaves != 1


def _one_level(x: Any) -> list[Any]:
    """The steps from a container to its children."""
    return [path[0] for path, _ in tree.flatten_with_path(x, is_leaf=lambda y: y is not x)[0]]


def _class(cls: type) -> dict[str, Any]:
    return {"class": f"{cls.__module__}:{cls.__qualname__}"}


def _build(node: Any, path: str, leaves: dict[str, Any], file: Path) -> Any:
    """A value from the description of its structure."""
    if node is None:
        return None
    if isinstance(node, str):
        return leaves[node]
    kind = node["kind"]
    steps = {"dict": "[{!r}]", "list": "[{}]", "tuple": "[{}]"}
    step = steps.get(kind, ".{}")
    children = {n: _build(c, path + step.format(n), leaves, file) for n, c in node["children"].items()}
    if kind == "dict":
        return children
    if kind in ("list", "tuple"):
        return list(children.values()) if kind == "list" else tuple(children.values())
    cls = _imported(node["class"])
    if cls is None:
        raise SerializationError(
            f"{file}: {path or 'the tree'} is a {node['class'].replace(':', '.')}, which this program has not "
            "imported as a pytree; import it first, or pass like="
        )
    if kind == "namedtuple":
        return cls(**children)
    if node["missing"]:
        raise SerializationError(
            f"{file}: the static field {node['missing'][0]!r} of {path or 'the tree'} ({cls.__qualname__}) is not "
            "in the file; pass like=, a value that has it"
        )
    made = object.__new__(cls)
    for name, value in {**children, **node["static"]}.items():
        object.__setattr__(made, name, value)
    return made


def _imported(name: str) -> Any:
    """The class of this name, if the program has it and it is a namedtuple or a dataclass."""
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    known = isinstance(found, type) and (dataclasses.is_dataclass(found) or hasattr(found, "_fields"))
    return found if known else None


# Leaves ---------------------------------------------------------------------------------------------------------------


def _tensor(x: Any, path: str) -> tuple[np.ndarray, str]:
    """A leaf as an array that the format knows, and the kind of leaf it was."""
    kind = type(x).__name__ if type(x) in _SCALARS.values() else "scalar" if isinstance(x, np.generic) else "array"
    try:
        array = np.asarray(x)
    except Exception as error:
        raise SerializationError(f"save: {path or 'the tree'} is no array: {error}") from error
    if array.dtype.kind not in "biufc" or array.dtype.name == "longdouble" or array.dtype.itemsize > 16:
        raise SerializationError(
            f"save: {path or 'the tree'} is a {type(x).__qualname__} of dtype {array.dtype}, no array"
        )
    # In memory as the format has it: row by row, in little-endian order.
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
    real = _COMPLEX.get(array.dtype.name)
    if real is not None:
        return array.reshape(*array.shape, 1).view(real), f"{kind}:{array.dtype.name}"
    return array, kind


def _leaf(array: np.ndarray, kind: str) -> Any:
    """The leaf that was saved as this array."""
    kind, _, dtype = kind.partition(":")
    if dtype:
        array = np.ascontiguousarray(array).view(dtype)[..., 0]
    if kind == "scalar":
        return array[()]
    return _SCALARS[kind](array[()]) if kind in _SCALARS else np.array(array)


def _checksum(tensors: dict[str, np.ndarray], *texts: str) -> str:
    """A CRC-32 of the arrays, their names and types, and of what else there is."""
    total = zlib.crc32("".join(texts).encode())
    for name in sorted(tensors):
        x = np.ascontiguousarray(tensors[name])
        total = zlib.crc32(f"{name} {x.dtype.str} {tensors[name].shape}".encode(), total)
        total = zlib.crc32(x.view(np.uint8) if x.ndim and x.size else x.tobytes(), total)
    return f"{total:08x}"
