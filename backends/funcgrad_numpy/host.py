"""Calls of Python functions from within programs."""

from __future__ import annotations

import numpy as np


def pure_callback(*args, callback, avals, **_):
    """What the callback returns, checked against the types it promised."""
    results = callback(*args)
    checked = []
    for result, aval in zip(results, avals, strict=True):
        array = np.asarray(result, aval.dtype)
        if array.shape != aval.shape:
            raise ValueError(
                f"the function given to pure_callback returned an array of shape {array.shape}; "
                f"it promised {aval.shape}"
            )
        checked.append(array)
    return checked


def debug_callback(*args, callback, **_):
    """Call it, for its effect."""
    callback(*args)
    return []
