"""A call of a function of ``funcgrad.numpy`` by name, compared with NumPy's, for the tests of shapes and indices."""

import numpy as np
from numpy_oracle import assert_same, staged

import funcgrad.numpy as fnp


def both(name, *args, tolerance=1e-12, **keywords):
    """Compare with NumPy: the arguments that are arrays are traced, then all is done eagerly."""
    reference, function = getattr(np, name), getattr(fnp, name)
    arrays = [i for i, a in enumerate(args) if isinstance(a, np.ndarray)]

    def run(*traced):
        items = list(args)
        for i, a in zip(arrays, traced):
            items[i] = a
        return function(*items, **keywords)

    want = reference(*args, **keywords)
    assert_same(staged(run, *(args[i] for i in arrays)), want, tolerance)
    assert_same(function(*args, **keywords), want, tolerance)
