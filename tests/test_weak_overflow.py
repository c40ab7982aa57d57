"""Python numbers that an array's dtype cannot hold: NumPy's value or NumPy's error, eagerly and compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp

FUNCTIONS = {
    "where": lambda m, a, s: m.where(a > 0, a, s),
    "where_first": lambda m, a, s: m.where(a > 0, s, a),
    "add": lambda m, a, s: m.add(a, s),
    "operator": lambda m, a, s: s * a,
    "minimum": lambda m, a, s: m.minimum(a, s),
    "less": lambda m, a, s: m.less(a, s),
    "equal": lambda m, a, s: a == s,
}


def outcome(f: Any, *args: Any) -> Any:
    try:
        with np.errstate(all="ignore"):
            result = f(*args)
    except (OverflowError, TypeError) as error:
        return type(error), str(error)
    return result.dtype, str(result.tolist())  # in which a NaN is one


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("number", [-1, 300, 2**40, 2**70, 2**200, 1e300], ids=str)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "float16", "float32", "bool"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpy_decides(name: str, dtype: str, number: Any) -> None:
    f, x = FUNCTIONS[name], np.array([0, 1, 2], dtype)
    expected = outcome(f, np, x, number)
    assert outcome(f, fnp, x, number) == expected
    assert outcome(fg.jit(lambda a: f(fnp, a, number)), x) == expected
