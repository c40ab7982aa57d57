"""With ``debug_nans`` a device says what NumPy's back end says: the primitive, its operands and the user's line."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax, nn
from funcgrad.core.config import config
from funcgrad.core.errors import NonFiniteError

X = np.array([2.0, 1.0, -1.0], np.float32)


def in_a_group(x):
    y = fnp.exp(x) + 1
    z = fnp.log(x)  # here
    return fnp.sin(z) * y


def in_a_scan(x):
    def body(c, _):
        return fnp.sqrt(c) - 1, c  # here

    return lax.scan(body, x, None, 3)


def in_a_loop(x):
    def body(_, c):
        return c / (c - 1)  # here

    return lax.fori_loop(0, 2, body, x)


def in_the_backward_pass(x):
    y = fnp.sqrt(fnp.abs(x) - 1)  # here
    return fnp.sum(y)


def in_a_named_call(x):
    q = fnp.broadcast_to(fnp.reshape(x, (3, 1, 1)), (3, 1, 32))
    v = fnp.log(q)  # here
    return nn.dot_product_attention(q, q, v)


CASES = {
    "group": (in_a_group, "NaN came out of log"),
    "scan": (in_a_scan, "NaN came out of sqrt"),
    "loop": (in_a_loop, "infinity came out of div"),
    "backward": (fg.grad(in_the_backward_pass), "infinity came out of "),
    "named call": (in_a_named_call, "NaN came out of log"),
}


def message(f, backend, monkeypatch):
    monkeypatch.setattr(config, "debug_nans", True)
    with fg.use_backend(backend) as on, pytest.raises(NonFiniteError) as error:
        f(on.asarray(X))
    monkeypatch.undo()
    return str(error.value)


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_the_first_nan_is_named_as_on_numpy(cuda, monkeypatch, case, jit):
    f, expected = CASES[case]
    f = fg.jit(f) if jit else f
    found = message(f, cuda, monkeypatch)
    assert expected in found
    if case != "backward":
        source, first = inspect.getsourcelines(f.__wrapped__ if hasattr(f, "__wrapped__") else f)
        line = first + next(i for i, text in enumerate(source) if "# here" in text)
        assert f"test_debug_nans.py:{line}" in found
    assert found.split("\n")[0] == message(f, "numpy", monkeypatch).split("\n")[0]


def test_without_a_nan_the_results_are_those_of_the_program(cuda, monkeypatch):
    f = fg.jit(lambda x: fnp.sum(nn.softmax(x) * x))
    want = f(X)
    monkeypatch.setattr(config, "debug_nans", True)
    with fg.use_backend(cuda) as on:
        np.testing.assert_allclose(on.to_numpy(f(on.asarray(X))), want, rtol=1e-6)
