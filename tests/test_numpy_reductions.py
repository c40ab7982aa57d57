"""Reductions, cumulative sums and statistics against NumPy, traced and eager."""

# ruff: noqa: B023 -- every closure made in a loop is called in the same turn

import math

import numpy as np
import pytest
from numpy_oracle import ALL, FLOATS, INTS, against, assert_same, example, staged

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.core.errors import OperandError

AXES = [None, 0, 1, -1, (0, 1), (1,), ()]
SHAPES = [(2, 3), (3, 1), (4,), ()]


def tolerance(dtype):
    return 2e-2 if dtype == "float16" or np.dtype(dtype).itemsize == 1 else 2e-5


def both(name, **keywords):
    """The function of this library and NumPy's, with the same keyword arguments."""
    return (lambda *a: getattr(fnp, name)(*a, **keywords)), (lambda *a: getattr(np, name)(*a, **keywords))


@pytest.mark.parametrize("name", [
    "sum", "prod", "max", "min", "amax", "amin", "any", "all", "mean", "var", "std", "ptp", "count_nonzero",
])  # fmt: skip
def test_dtypes_and_axes(name):
    for dtype in ALL:
        for shape in SHAPES:
            x = example(dtype, shape)
            for axis in AXES:
                against(*both(name, axis=axis), x, tolerance=tolerance(dtype))
            against(*both(name, keepdims=True), x, tolerance=tolerance(dtype))
            against(*both(name, axis=-1, keepdims=True), x, tolerance=tolerance(dtype))


@pytest.mark.parametrize("name", ["nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd"])
def test_ignoring_nan(name):
    for dtype in [*FLOATS, "int32", "complex64", "bool"]:
        x = example(dtype, (4, 3))
        if x.dtype.kind in "fc":
            x[1, 2] = x[0, 0] = math.nan
            x[:, 1] = math.nan
        for axis in [None, 0, 1, (0, 1)]:
            against(*both(name, axis=axis), x, tolerance=tolerance(dtype))
            against(*both(name, axis=axis, keepdims=True), x, tolerance=tolerance(dtype))


@pytest.mark.parametrize("name", ["argmax", "argmin", "nanargmax", "nanargmin"])
def test_places_of_extrema(name):
    for dtype in [*INTS, *FLOATS, "bool"]:
        for shape in [(2, 3), (4,), (3, 2, 2)]:
            x = example(dtype, shape)
            for axis in [None, 0, -1, 5]:
                against(*both(name, axis=axis), x)
                against(*both(name, axis=axis, keepdims=True), x)
    x = np.array([[1.0, math.nan, 3.0], [2.0, 2.0, math.nan]])
    for axis in [None, 1]:
        against(*both(name, axis=axis), x)


@pytest.mark.parametrize("name", ["nanargmax", "nanargmin"])
def test_place_in_a_slice_of_nans(name):
    """NumPy raises, which a program cannot: the place is -1, as in JAX."""
    function = getattr(fnp, name)
    x = np.array([[math.nan, math.nan], [math.nan, 1.0], [2.0, 2.0]])
    with pytest.raises(ValueError, match="All-NaN"):
        function(x, axis=1)
    np.testing.assert_array_equal(fg.jit(lambda x: function(x, axis=1))(x), [-1, 1, 0])
    np.testing.assert_array_equal(fg.jit(lambda x: function(x, axis=1, keepdims=True))(x), [[-1], [1], [0]])
    np.testing.assert_array_equal(fg.vmap(function)(x), [-1, 1, 0])
    assert fg.jit(function)(x[0]) == -1 and fg.jit(function)(x) == getattr(np, name)(x)
    assert fg.jit(function)(np.array([-math.inf, math.inf])) == getattr(np, name)(np.array([-math.inf, math.inf]))


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "nancumsum", "nancumprod", "cumulative_sum", "cumulative_prod"])
def test_cumulative(name):
    for dtype in ALL:
        for shape in [(2, 3), (4,), (0, 2), ()]:
            x = example(dtype, shape)
            for axis in [None, 0, 1, -1]:
                against(*both(name, axis=axis), x, tolerance=tolerance(dtype))
    against(*both(name, axis=0, dtype=np.float32), example("int16"))
    if "cumulative" in name:
        against(*both(name, axis=1, include_initial=True), example("int16"))


@pytest.mark.parametrize("name", ["median", "quantile", "percentile", "nanmedian", "nanquantile", "nanpercentile"])
def test_order_statistics(name):
    # NumPy's nan functions mix up the axes of a two-dimensional array of probabilities.
    points = [()] if "median" in name else [(0.3,), (50,), ([0.0, 0.5, 1.0],), (np.array([[0.1, 0.9]]),)]
    for dtype in [*FLOATS, "int8", "int64"]:
        for shape in [(5, 4), (6,), (2, 3, 2)]:
            x = example(dtype, shape)
            for q in points:
                if "quantile" in name and isinstance(q[0], int):
                    continue
                if "nan" in name and np.ndim(q) == 3:
                    continue
                for axis in [None, 0, -1, (0, 1)]:
                    against(
                        lambda a: getattr(fnp, name)(a, *q, axis=axis),
                        lambda a: getattr(np, name)(a, *q, axis=axis),
                        x,
                        tolerance=tolerance(dtype),
                    )
                against(
                    lambda a: getattr(fnp, name)(a, *q, axis=0, keepdims=True),
                    lambda a: getattr(np, name)(a, *q, axis=0, keepdims=True), x, tolerance=tolerance(dtype),
                )  # fmt: skip


@pytest.mark.parametrize("name", ["median", "nanmedian"])
def test_median_of_nans(name):
    x = example("float64", (5, 4))
    x[0, 0] = x[:, 1] = x[3, 2] = math.nan
    for axis in [None, 0, 1]:
        against(*both(name, axis=axis), x)


def test_quantile_of_nans():
    x = example("float64", (5, 4))
    x[0, 0] = x[:, 1] = x[3, 2] = math.nan
    for q in [0.25, [0.1, 0.6]]:
        for name in ["quantile", "nanquantile"]:
            for axis in [None, 0, 1]:
                against(lambda a: getattr(fnp, name)(a, q, axis), lambda a: getattr(np, name)(a, q, axis), x)


@pytest.mark.parametrize("method", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantile_methods(method):
    for dtype in ["float64", "int32"]:
        x = example(dtype, (7, 2))
        for q in [0.0, 0.1, 0.33, 0.75, 1.0, [0.2, 0.5]]:
            against(lambda a: fnp.quantile(a, q, 0, method=method), lambda a: np.quantile(a, q, 0, method=method), x)


def test_quantile_of_a_traced_probability():
    x = example("float64", (5, 4))
    against(lambda a, q: fnp.quantile(a, q, axis=1), lambda a, q: np.quantile(a, q, axis=1), x, np.array([0.2, 0.4]))


def test_where_initial_and_dtype():
    x, mask = example("float64"), example("bool", (3,), seed=1)
    for name in ["sum", "prod", "mean", "any", "all", "std", "var", "nansum", "nanmean"]:
        against(*both(name, where=mask), x)
        against(*both(name, where=mask, axis=1, keepdims=True), x)
    for name in ["sum", "prod", "max", "min"]:
        against(*both(name, initial=3), x)
        against(*both(name, initial=2.5, where=mask, axis=0), x)
        against(*both(name, initial=2, axis=0), example("int8"))
    for name in ["max", "min"]:
        with pytest.raises(ValueError, match="no identity"):
            staged(both(name, where=mask)[0], x)
    for name in ["sum", "prod", "mean", "cumsum", "var", "std"]:
        for dtype in ["float32", "float64", "complex128"]:
            against(*both(name, dtype=dtype), example("int16"), tolerance=1e-5)
    against(*both("sum", dtype=bool), example("bool"))


def test_variance_arguments():
    x = example("float64", (4, 3))
    for name in ["var", "std", "nanvar", "nanstd"]:
        against(*both(name, ddof=1), x)
        against(*both(name, correction=1, axis=0), x)
        against(*both(name, ddof=4, axis=0), x)
        against(*both(name, ddof=5, axis=0), x)
        with pytest.raises(ValueError, match="simultaneously"):
            staged(both(name, ddof=1, correction=1)[0], x)
    against(*both("var", axis=0, mean=np.mean(x, axis=0, keepdims=True)), x)
    against(*both("std", where=x > 0, ddof=1), x)


def test_average():
    x = example("float64", (4, 3))
    for keywords in [
        {},
        {"axis": 0},
        {"axis": 1, "weights": [1, 2, 3]},
        {"weights": np.abs(x)},
        {"axis": (0, 1), "weights": x * x},
    ]:
        against(*both("average", **keywords), x)
        against(*both("average", returned=True, **keywords), x)
        against(*both("average", keepdims=True, **keywords), x)
    against(*both("average", axis=0, weights=[1, 2]), example("int8"))
    against(*both("average"), example("float32"))


def test_empty_arrays():
    x = np.zeros((0, 3))
    for name in ["sum", "prod", "any", "all", "mean", "count_nonzero", "var"]:
        for axis in [None, 0, 1]:
            against(*both(name, axis=axis), x)
    for name in ["max", "min", "argmax", "argmin"]:
        for axis in [None, 0, 1]:
            against(*both(name, axis=axis), x)
    against(*both("max", axis=0, initial=2.0), x)
    with pytest.raises(OperandError, match="max: zero-size array to reduction operation maximum"):
        staged(fnp.max, x)


def test_running_extrema():
    x = example("float64")
    for name, reference in [("cummax", np.maximum.accumulate), ("cummin", np.minimum.accumulate)]:
        function = getattr(fnp._reductions, name)
        against(lambda a: function(a, axis=1), lambda a: reference(a, axis=1), x)


@pytest.mark.parametrize("name", [
    "sum", "prod", "max", "min", "mean", "var", "std", "any", "all", "argmax", "argmin", "cumsum", "cumprod",
])  # fmt: skip
def test_methods(name):
    for dtype in ["int32", "float32"]:
        x = example(dtype)
        against(lambda a: getattr(a, name)(), lambda a: getattr(a, name)(), x, tolerance=1e-5)
        against(lambda a: getattr(a, name)(1), lambda a: getattr(a, name)(1), x, tolerance=1e-5)
        against(lambda a: getattr(a, name)(axis=0), lambda a: getattr(a, name)(axis=0), x, tolerance=1e-5)
        if "cum" not in name:
            against(
                lambda a: getattr(a, name)(keepdims=True), lambda a: getattr(a, name)(keepdims=True), x, tolerance=1e-5
            )


@pytest.mark.parametrize("name", ["sum", "max", "mean", "std", "argmin", "cumsum", "nanmean", "median", "quantile"])
def test_plain_numpy_functions(name):
    x = example("float64")
    extra = (0.5,) if name == "quantile" else ()
    against(lambda a: getattr(np, name)(a, *extra, axis=0), lambda a: getattr(np, name)(a, *extra, axis=0), x)


def test_errors():
    x = example("float64")
    with pytest.raises(np.exceptions.AxisError, match="axis 2 is out of bounds for array of dimension 2"):
        staged(lambda a: fnp.sum(a, axis=2), x)
    with pytest.raises(ValueError, match="duplicate value in 'axis'"):
        staged(lambda a: fnp.sum(a, axis=(0, -2)), x)
    y = np.zeros(3)
    for name in ["sum", "mean", "max", "any", "argmax", "cumsum", "std", "median"]:
        for call in [lambda a: getattr(fnp, name)(a, axis=0, out=y), lambda a: getattr(fnp, name)(a, axis=0, out=None)][
            :1
        ]:
            with pytest.raises(TypeError, match=f"{name} takes no out="):
                call(x)
            with pytest.raises(TypeError, match=f"{name} takes no out="):
                staged(call, x)
    with pytest.raises(TypeError, match="takes no out="):
        fnp.sum(x, 0, None, y)
    np.testing.assert_array_equal(y, 0)
    with pytest.raises(ValueError, match="range"):
        staged(lambda a: fnp.quantile(a, 1.5), x)


def test_lists():
    assert_same(fnp.sum([[1, 2], [3, 4]], axis=0), np.array([4, 6]))
    assert_same(staged(lambda a: fnp.sum([a[0], 1.0]), np.ones(2)), np.float64(2.0))
