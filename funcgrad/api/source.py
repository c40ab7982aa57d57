"""``to_source``: a function as a stand-alone Python module."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import optree

from .. import tree
from ..compiler.to_source import module_source
from ..core.errors import TransformError
from ._function import argument_names, argument_paths, function_name
from .staging import jit

__all__ = ["to_source"]


def to_source(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """The text of a Python module that imports NumPy and nothing else, with a function that computes
    ``fun(*args, **kwargs)``.

    The function is traced with the types of the arguments, and takes arguments of the same structure. A comment on each
    line names the user's line it comes from. Results that are instances of registered classes come as lists of their
    leaves. Raises BackendError for a function that calls back into Python.

    >>> import numpy as np
    >>> import funcgrad.numpy as fnp
    >>> text = to_source(lambda x: fnp.sin(x) * 2.0, np.ones(3))
    >>> scope = {}
    >>> exec(text, scope)
    >>> scope["fn"](np.zeros(3))
    array([0., 0., 0.])
    """
    name = function_name(fun)
    name = name if name.isidentifier() else "fn"
    traced = jit(fun).trace(*args, **kwargs)
    inner = f"{name}_flat"
    text = module_source(traced.jaxpr, inner)
    if len(tree.leaves((args, kwargs))) != len(traced.jaxpr.invars):
        raise TransformError(f"to_source of {name}: all arguments must be arrays; bind the others by functools.partial")
    names = [re.sub(r"\W", "_", n) for n in argument_names(fun, len(args))]
    operands = argument_paths(fun, args, kwargs)
    for given, safe in zip(argument_names(fun, len(args)), names, strict=True):
        operands = [safe + o[len(given) :] if o.startswith(given) else o for o in operands]
    signature = ", ".join([*names, *(["*", *sorted(kwargs)] if kwargs else [])])
    result = _expression(traced.out_tree)
    return (
        f"{text.rstrip()}\n\n\n"
        f"def {name}({signature}):\n"
        f"    outs = {inner}({', '.join(operands)})\n"
        f"    return {result}\n"
    )


def _expression(treedef: tree.TreeDef) -> str:
    """The Python expression that builds a tree of this structure from the list ``outs``."""
    places = iter(range(treedef.num_leaves))

    def build(t: tree.TreeDef) -> str:
        children = t.children()
        if t.kind == optree.PyTreeKind.LEAF:
            return f"outs[{next(places)}]"
        if t.kind == optree.PyTreeKind.NONE:
            return "None"
        parts = [build(c) for c in children]
        if t.kind in (optree.PyTreeKind.DICT, optree.PyTreeKind.ORDEREDDICT, optree.PyTreeKind.DEFAULTDICT):
            return "{" + ", ".join(f"{k!r}: {p}" for k, p in zip(t.entries(), parts, strict=True)) + "}"
        if t.kind in (optree.PyTreeKind.TUPLE, optree.PyTreeKind.NAMEDTUPLE, optree.PyTreeKind.STRUCTSEQUENCE):
            return "(" + ", ".join(parts) + ("," if len(parts) == 1 else "") + ")"
        return "[" + ", ".join(parts) + "]"

    return build(treedef)
