"""Pytrees: nested containers of arrays. A thin face over ``optree`` with the names of ``jax.tree``.

Containers are dict (by sorted key), list, tuple, namedtuple, OrderedDict, defaultdict, deque, None (which holds nothing)
and registered classes. Everything else is a leaf.

>>> params = {"w": 1.0, "b": [2.0, 3.0]}
>>> map(lambda x: 10 * x, params)
{'w': 10.0, 'b': [20.0, 30.0]}
>>> leaves(params)
[2.0, 3.0, 1.0]
>>> [keystr(path) for path, _ in leaves_with_path(params)]
["['b'][0]", "['b'][1]", "['w']"]
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import optree

from .core.errors import TreeError

__all__ = [
    "DictKey", "FlattenedIndexKey", "GetAttrKey", "SequenceKey", "TreeDef", "all", "flatten", "flatten_with_path",
    "keystr", "leaves", "leaves_with_path", "map", "map_with_path", "prefix_leaves", "reduce", "register_dataclass",
    "register_pytree_node", "register_pytree_node_class", "structure", "transpose", "unflatten",
]  # fmt: skip

NAMESPACE = "funcgrad"
TreeDef = optree.PyTreeSpec
T = TypeVar("T")
IsLeaf = Callable[[Any], bool] | None


class DictKey(NamedTuple):
    """A step into a dict."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"


class SequenceKey(NamedTuple):
    """A step into a list or a tuple."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx}]"


class GetAttrKey(NamedTuple):
    """A step into an attribute."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"


class FlattenedIndexKey(NamedTuple):
    """A step into a child of a registered class that has no names for its children."""

    key: int

    def __str__(self) -> str:
        return f"[<flat index {self.key}>]"


KeyPath = tuple[DictKey | SequenceKey | GetAttrKey | FlattenedIndexKey, ...]


def flatten(tree: Any, is_leaf: IsLeaf = None) -> tuple[list[Any], TreeDef]:
    """The leaves of a tree, and its structure."""
    return optree.tree_flatten(tree, is_leaf, namespace=NAMESPACE)


def unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Any:
    """A tree of the structure ``treedef`` with these leaves."""
    return treedef.unflatten(leaves)


def leaves(tree: Any, is_leaf: IsLeaf = None) -> list[Any]:
    """The leaves of a tree."""
    return optree.tree_leaves(tree, is_leaf, namespace=NAMESPACE)


def structure(tree: Any, is_leaf: IsLeaf = None) -> TreeDef:
    """The structure of a tree."""
    return optree.tree_structure(tree, is_leaf, namespace=NAMESPACE)


def map(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf = None) -> Any:
    """The tree of ``f(leaf, ...)`` over the leaves of ``tree`` and what stands at their places in ``rest``.

    Raises TreeError, naming the first key path that differs, if a tree of ``rest`` does not begin with the structure of
    ``tree``.
    """
    flat, treedef = flatten(tree, is_leaf)
    others = []
    for i, other in enumerate(rest):
        try:
            others.append(treedef.flatten_up_to(other))
        except (ValueError, TypeError) as error:
            raise TreeError(
                f"tree.map: tree number {i + 2} differs in structure from the first: {_difference(tree, other, error)}"
            ) from None
    return treedef.unflatten([f(*xs) for xs in zip(flat, *others, strict=True)])


def all(tree: Any, *, is_leaf: IsLeaf = None) -> bool:
    """Whether all leaves are true."""
    return not any(not x for x in leaves(tree, is_leaf))


_none = object()


def reduce(function: Callable[[Any, Any], Any], tree: Any, initializer: Any = _none, is_leaf: IsLeaf = None) -> Any:
    """The leaves combined from left to right.

    >>> reduce(lambda a, b: a + b, {"a": 1, "b": (2, 3)})
    6
    """
    if initializer is _none:
        return functools.reduce(function, leaves(tree, is_leaf))
    return functools.reduce(function, leaves(tree, is_leaf), initializer)


def transpose(outer: TreeDef, inner: TreeDef, tree: Any) -> Any:
    """A tree of structure ``outer`` whose leaves are trees of structure ``inner``, turned inside out."""
    rows = [inner.flatten_up_to(t) for t in outer.flatten_up_to(tree)]
    return inner.unflatten([outer.unflatten(list(column)) for column in zip(*rows, strict=True)])


def _path(accessor: optree.PyTreeAccessor) -> KeyPath:
    steps: list[Any] = []
    for entry in accessor:
        if isinstance(entry, optree.MappingEntry):
            steps.append(DictKey(entry.entry))
        elif isinstance(entry, optree.NamedTupleEntry):
            steps.append(GetAttrKey(entry.field))
        elif isinstance(entry, optree.SequenceEntry):
            steps.append(SequenceKey(entry.entry))
        elif isinstance(entry, optree.GetAttrEntry):
            steps.append(GetAttrKey(str(entry.entry)))
        else:
            steps.append(FlattenedIndexKey(entry.entry))
    return tuple(steps)


def flatten_with_path(tree: Any, is_leaf: IsLeaf = None) -> tuple[list[tuple[KeyPath, Any]], TreeDef]:
    """The leaves of a tree, each with its key path, and the structure."""
    accessors, flat, treedef = optree.tree_flatten_with_accessor(tree, is_leaf, namespace=NAMESPACE)
    return [(_path(a), x) for a, x in zip(accessors, flat, strict=True)], treedef


def leaves_with_path(tree: Any, is_leaf: IsLeaf = None) -> list[tuple[KeyPath, Any]]:
    """The leaves of a tree, each with its key path."""
    return flatten_with_path(tree, is_leaf)[0]


def map_with_path(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf = None) -> Any:
    """As :func:`map`, for ``f(path, leaf, ...)``."""
    pairs, treedef = flatten_with_path(tree, is_leaf)
    paths = treedef.unflatten([_Path(p) for p, _ in pairs])
    return map(lambda p, *xs: f(p.path, *xs), paths, tree, *rest, is_leaf=lambda x: isinstance(x, _Path))


class _Path(NamedTuple):
    """Holds a key path where it must be a leaf."""

    path: KeyPath


def keystr(path: KeyPath) -> str:
    """A key path as it is written in Python.

    >>> keystr((DictKey("layers"), SequenceKey(0), GetAttrKey("weight")))
    "['layers'][0].weight"
    """
    return "".join(str(step) for step in path)


def describe(treedef: TreeDef) -> str:
    """A structure in words: as it would be written in Python, with a star for each leaf.

    >>> describe(structure({"a": (1, 2)})), describe(structure(3)), describe(structure(None))
    ("{'a': (*, *)}", 'a single value', 'None')
    """
    text = str(treedef).removeprefix("PyTreeSpec(").split(", namespace=")[0]
    text = text.removesuffix(")") if text.count(")") > text.count("(") else text
    return "a single value" if text == "*" else text


def prefix_leaves(prefix: Any, treedef: TreeDef, what: str) -> list[Any]:
    """For each leaf of a tree of structure ``treedef``, the leaf of the tree prefix that stands above it.

    None is a leaf of the prefix. Raises TreeError, where ``what`` names the prefix, if it does not fit.
    """
    return _prefix_leaves(prefix, treedef.unflatten(range(treedef.num_leaves)), what, "")


def _prefix_leaves(part: Any, below: Any, what: str, path: str) -> list[Any]:
    if part is None or (not optree.is_structseq_instance(part) and optree.tree_is_leaf(part, namespace=NAMESPACE)):
        return [part] * len(leaves(below))
    # One level of the prefix against one level of the tree.
    heads, level = optree.tree_flatten(part, lambda x: x is not part, none_is_leaf=True, namespace=NAMESPACE)
    try:
        tails = level.flatten_up_to(below)
    except (ValueError, TypeError) as error:
        where = f" at {path}" if path else ""
        raise TreeError(f"{what} is not a prefix of the tree it speaks of{where}: {error}") from None
    names = [str(_path(a)[0]) for a in level.accessors()]
    found = [_prefix_leaves(h, t, what, path + name) for h, t, name in zip(heads, tails, names, strict=True)]
    return [x for part_leaves in found for x in part_leaves]


def _difference(first: Any, second: Any, error: Exception) -> str:
    """The first key path at which two trees differ, in words."""
    paths = [keystr(p) for p, _ in leaves_with_path(first)]
    others = [keystr(p) for p, _ in leaves_with_path(second)]
    missing = [p for p in paths if p not in others and not any(o.startswith(p) for o in others)]
    extra = [p for p in others if not any(p.startswith(q) for q in paths)]
    if missing:
        return f"it has nothing at {missing[0] or 'the top'}"
    if extra:
        return f"it has {extra[0] or 'a leaf at the top'}, which the first has not"
    return str(error)


#: optree's annotations ask for collections; any class will do.
_register: Callable[..., Any] = optree.register_pytree_node


def register_pytree_node(
    nodetype: type[T],
    flatten_func: Callable[[T], tuple[Iterable[Any], Any]],
    unflatten_func: Callable[[Any, Any], T],
) -> None:
    """Make a class a container: ``flatten_func(x) -> (children, aux)``, ``unflatten_func(aux, children) -> x``.

    ``aux`` is static and must be hashable.
    """
    _register(
        nodetype,
        lambda x: (*_pair(flatten_func(x)), None),
        lambda aux, children: unflatten_func(aux, tuple(children)),
        namespace=NAMESPACE,
    )


def _pair(flat: tuple[Iterable[Any], Any]) -> tuple[tuple[Any, ...], Any]:
    children, aux = flat
    return tuple(children), aux


def register_pytree_node_class(cls: type[T]) -> type[T]:
    """A class decorator: the class has ``tree_flatten(self) -> (children, aux)`` and a class method
    ``tree_unflatten(aux, children)``."""
    register_pytree_node(cls, operator.methodcaller("tree_flatten"), cls.tree_unflatten)  # type: ignore[attr-defined]
    return cls


def register_dataclass(
    cls: type[T], data_fields: Sequence[str] | None = None, meta_fields: Sequence[str] | None = None
) -> type[T]:
    """Make a dataclass a container, also as a class decorator.

    ``data_fields`` are children; ``meta_fields`` are static and must be hashable. By default a field is static if it was
    made with ``dataclasses.field(metadata={"static": True})``.

    >>> @register_dataclass
    ... @dataclasses.dataclass(frozen=True)
    ... class Linear:
    ...     w: float
    ...     name: str = dataclasses.field(default="", metadata={"static": True})
    >>> map(lambda x: 2 * x, Linear(1.5, "a"))
    Linear(w=3.0, name='a')
    """
    fields = [f for f in dataclasses.fields(cls) if f.init]  # type: ignore[arg-type]
    if meta_fields is None:
        meta_fields = [f.name for f in fields if f.metadata.get("static", False)]
    if data_fields is None:
        data_fields = [f.name for f in fields if f.name not in meta_fields]
    unknown = {f.name for f in fields} ^ {*data_fields, *meta_fields}
    if unknown:
        raise TreeError(
            f"register_dataclass({cls.__name__}): data_fields and meta_fields must together name every field once; "
            f"look at {', '.join(sorted(unknown))}"
        )
    data, meta = tuple(data_fields), tuple(meta_fields)

    def unflatten_instance(aux: tuple[Any, ...], children: Iterable[Any]) -> Any:
        x = object.__new__(cls)
        for name, value in zip((*data, *meta), (*children, *aux), strict=True):
            object.__setattr__(x, name, value)
        return x

    _register(
        cls,
        lambda x: (tuple(getattr(x, n) for n in data), tuple(getattr(x, n) for n in meta), data),
        unflatten_instance,
        path_entry_type=optree.GetAttrEntry,
        namespace=NAMESPACE,
    )
    return cls
