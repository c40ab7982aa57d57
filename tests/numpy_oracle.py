"""What the tests of ``funcgrad.numpy`` share: a function run as a program, compared with NumPy."""

import warnings

import numpy as np
import pytest

from funcgrad.core.config import config
from funcgrad.core.ir import check
from funcgrad.core.trace import Tracer, eval_jaxpr, stage
from funcgrad.core.types import Aval, aval_of

BOOLS = ["bool"]
INTS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64"]
COMPLEX = ["complex64", "complex128"]
ALL = [*BOOLS, *INTS, *FLOATS, *COMPLEX]

TOLERANCE = {"float16": 4e-3, "float32": 3e-6, "float64": 1e-13, "complex64": 3e-6, "complex128": 1e-13}


def flat(x):
    """The arrays of a result in a list: functions return one array, or a tuple or list of them."""
    return list(x) if isinstance(x, (tuple, list)) else [x]


def staged(function, *args):
    """``function(*args)`` computed by the program that tracing it gives, its types checked against the values."""
    structure = []

    def fun(*tracers):
        out = function(*tracers)
        structure.append(type(out))
        return flat(out)

    with config(check_ir=True):
        jaxpr = stage(fun, [aval_of(x) for x in args])
    check(jaxpr)
    outs = eval_jaxpr(jaxpr, *args)
    for out, aval in zip(outs, jaxpr.out_avals, strict=True):
        assert (np.shape(out), np.asarray(out).dtype) == (aval.shape, aval.dtype)
    return outs if issubclass(structure[0], (tuple, list)) else outs[0]


def assert_same(got, want, tolerance=None):
    """Equal structure, shape, dtype and, within the dtype's tolerance, value; NaNs stand where NaNs stand."""
    assert isinstance(got, (tuple, list)) == isinstance(want, (tuple, list))
    for a, b in zip(flat(got), flat(want), strict=True):
        assert not isinstance(a, Tracer)
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype, f"dtype {a.dtype}, NumPy {b.dtype}"
        assert a.shape == b.shape, f"shape {a.shape}, NumPy {b.shape}"
        if a.dtype.kind in "fc":
            rtol = TOLERANCE[a.dtype.name] if tolerance is None else tolerance
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol, equal_nan=True)
        else:
            np.testing.assert_array_equal(a, b)


def against(function, reference, *args, tolerance=None):
    """Compare the staged function with NumPy's, errors included: where NumPy refuses the operands, so must it."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            want = reference(*args)
        except (TypeError, ValueError, IndexError, OverflowError, ZeroDivisionError) as error:
            with pytest.raises((TypeError, ValueError, IndexError, OverflowError, ZeroDivisionError)):
                staged(function, *args)
            return error
        assert_same(staged(function, *args), want, tolerance)
        # The eager call is NumPy's.
        assert_same(function(*args), want, tolerance)
    return None


def example(dtype, shape=(2, 3), low=-4, high=5, seed=0):
    """Values of a dtype: small integers and their like, negative ones where there are."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        return rng.integers(max(low, 0) if dtype.kind == "u" else low, high, shape).astype(dtype)
    x = rng.uniform(low, high, shape)
    if dtype.kind == "c":
        x = x + 1j * rng.uniform(low, high, shape)
    return x.astype(dtype)


def weak(x):
    """The type of a Python scalar."""
    return Aval((), aval_of(x).dtype, True)
