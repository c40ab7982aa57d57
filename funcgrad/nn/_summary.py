"""A model as a table: its parameters, and what a call of it costs."""

from __future__ import annotations

from typing import Any

from funcgrad import tree
from funcgrad.api.staging import make_jaxpr
from funcgrad.core.types import aval_of

from ._flops import flops
from ._partition import count_parameters

__all__ = ["summary"]


def summary(model: Any, x: Any, state: Any = None, **inputs: Any) -> str:
    """A table with a line for each parameter of ``model``: key path, shape, dtype, size, and the floating-point operations
    of the matrix products and convolutions that it takes part in, in one call ``model(x, state, **inputs)``.

    ``x``: an array, or a ``ShapeDtypeStruct``: the call is traced, not run. ``state``: by default ``model.init_state()``.
    Products of activations with each other (in attention) have a line of their own. What is elementwise does not count.

    >>> import numpy as np
    >>> from funcgrad import nn
    >>> from funcgrad.random import key
    >>> print(summary(nn.MLP.init(key(0), (64, 128, 10)), np.ones((32, 64), np.float32)))
    parameter          shape      dtype      size       FLOPs
    .layers[0].weight  (64, 128)  float32   8,192     524,288
    .layers[0].bias    (128,)     float32     128           0
    .layers[2].weight  (128, 10)  float32   1,280      81,920
    .layers[2].bias    (10,)      float32      10           0
    total                                   9,610     606,208
    """
    state = model.init_state() if state is None and hasattr(model, "init_state") else state
    jaxpr = make_jaxpr(lambda m, x, s: m(x, **inputs) if s is None else m(x, s, **inputs))(model, x, state)
    leaves = tree.leaves_with_path(model)
    counts = flops(jaxpr, dict(zip(jaxpr.invars, range(len(leaves)))))
    rows = [("parameter", "shape", "dtype", "size", "FLOPs")]
    for i, (path, leaf) in enumerate(leaves):
        aval = aval_of(leaf)
        rows.append(
            (tree.keystr(path) or "model", str(aval.shape), aval.dtype.name, f"{aval.size:,}", f"{counts[i]:,}")
        )
    others = counts.total() - sum(counts[i] for i in range(len(leaves)))
    if others:
        rows.append(("between activations", "", "", "", f"{others:,}"))
    rows.append(("total", "", "", f"{count_parameters(model):,}", f"{counts.total():,}"))
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(
            [
                *(text.ljust(n) for text, n in zip(row[:3], widths[:3])),
                *(text.rjust(n + 2) for text, n in zip(row[3:], widths[3:])),
            ]
        )
        for row in rows
    )
