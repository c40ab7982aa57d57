"""The operations of the NumPy back end against independent formulas: values, dtypes, empty arrays, rank 0, errors."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from funcgrad import primitives
from funcgrad.core.trace import Primitive
from funcgrad.core.types import Aval, aval_of
from funcgrad_numpy import backend

OPS = backend.ops
RNG = np.random.default_rng(0)
FLOATS = ["float16", "float32", "float64"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
COMPLEX = ["complex64", "complex128"]


def sample(dtype: str, shape: tuple[int, ...], low: float = 0.1, high: float = 0.9) -> Any:
    """Random values inside the domain of every function here; small for integers."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return RNG.random(shape) < 0.5
    if kind in "iu":
        return RNG.integers(1, 5, shape).astype(dtype)
    x = RNG.uniform(low, high, shape)
    return (x + 1j * RNG.uniform(low, high, shape) if kind == "c" else x).astype(dtype)


def by_name() -> dict[str, Primitive]:
    return {p.name: p for p in vars(primitives).values() if isinstance(p, Primitive)}


PRIMITIVES = by_name()


def check(name: str, *args: Any, **params: Any) -> Any:
    """Run an operation and compare the type of the result with the one that the primitive derives."""
    result = OPS[name](*args, **params)
    derived = PRIMITIVES[name].type(*(aval_of(a) for a in args), **params)
    got = aval_of(result)
    assert got.strong() == derived.strong(), (name, got, derived)
    return result


def test_every_first_order_primitive_has_an_operation() -> None:
    collective = {"axis_index", "psum", "pmax", "pmin", "all_gather", "ppermute", "all_to_all"}
    missing = {n for n, p in PRIMITIVES.items() if not p.control and p.expand is None and n not in OPS}
    assert missing <= collective, missing - collective


# Elementwise ----------------------------------------------------------------------------------------------------------

UNARY = {
    "neg": lambda x: 0 - x,
    "sign": lambda x: (x > 0) * 1.0 - (x < 0) * 1.0,
    "abs": lambda x: np.where(x < 0, -x, x),
    "floor": lambda x: np.vectorize(math.floor)(x),
    "ceil": lambda x: np.vectorize(math.ceil)(x),
    "round": lambda x: np.vectorize(round)(x),
    "exp": np.vectorize(math.exp),
    "exp2": lambda x: 2.0**x,
    "expm1": np.vectorize(math.expm1),
    "log": np.vectorize(math.log),
    "log1p": np.vectorize(math.log1p),
    "sqrt": np.vectorize(math.sqrt),
    "rsqrt": lambda x: x**-0.5,
    "cbrt": lambda x: x ** (1 / 3),
    "sin": np.vectorize(math.sin),
    "cos": np.vectorize(math.cos),
    "tan": np.vectorize(math.tan),
    "asin": np.vectorize(math.asin),
    "acos": np.vectorize(math.acos),
    "atan": np.vectorize(math.atan),
    "sinh": np.vectorize(math.sinh),
    "cosh": np.vectorize(math.cosh),
    "tanh": np.vectorize(math.tanh),
    "asinh": np.vectorize(math.asinh),
    "acosh": np.vectorize(math.acosh),
    "atanh": np.vectorize(math.atanh),
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "erf": np.vectorize(math.erf),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, dtype: str) -> None:
    tolerance = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-14}[dtype]
    for shape in [(), (3,), (2, 3)]:
        x = sample(dtype, shape)
        if name == "acosh":
            x = x + x.dtype.type(1)
        expected = UNARY[name](x.astype("float64"))
        np.testing.assert_allclose(check(name, x).astype("float64"), expected, rtol=tolerance, atol=tolerance)
    assert check(name, np.empty((0, 2), dtype)).shape == (0, 2)


BINARY = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "floor_divide": lambda x, y: x // y,
    "remainder": lambda x, y: x % y,
    "fmod": lambda x, y: math.fmod(x, y),
    "pow": lambda x, y: x**y,
    "atan2": lambda x, y: math.atan2(x, y),
    "max": lambda x, y: max(x, y),
    "min": lambda x, y: min(x, y),
    "and": lambda x, y: x & y,
    "or": lambda x, y: x | y,
    "xor": lambda x, y: x ^ y,
    "shift_left": lambda x, y: x << y,
    "shift_right": lambda x, y: x >> y,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
}
BITS = {"and", "or", "xor", "shift_left", "shift_right"}


@pytest.mark.parametrize("dtype", ["float32", "float64", *INTEGERS])
@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str, dtype: str) -> None:
    real = np.dtype(dtype).kind == "f"
    if (name in BITS and real) or (name in ("div", "atan2") and not real):
        pytest.skip("not of this dtype")
    for x_shape, y_shape in [((), ()), ((3,), (3,)), ((2, 3), ()), ((), (4,))]:
        x, y = sample(dtype, x_shape), sample(dtype, y_shape)
        if name == "sub":
            x, y = np.maximum(x, y), np.minimum(x, y) if x_shape == y_shape else np.zeros_like(y)
        result = check(name, x, y)
        xs, ys = np.broadcast_arrays(x, y)
        expected = np.array([BINARY[name](a.item(), b.item()) for a, b in zip(xs.flat, ys.flat, strict=True)])
        expected = expected.astype(np.asarray(result).dtype)  # small integers wrap
        np.testing.assert_allclose(np.ravel(result), expected, rtol=1e-6 if real else 0)


def test_special_values() -> None:
    nan, inf = math.nan, math.inf
    assert np.isnan(OPS["max"](np.array([nan, 1.0]), np.array([1.0, nan]))).all()
    np.testing.assert_array_equal(OPS["logistic"](np.array([-inf, -1000.0, 0.0, 1000.0, inf])), [0, 0, 0.5, 1, 1])
    assert OPS["logistic"](np.float64(-700.0)) == pytest.approx(math.exp(-700.0), rel=1e-14)
    assert np.isnan(OPS["logistic"](np.array([nan]))).all()
    np.testing.assert_array_equal(OPS["round"](np.array([0.5, 1.5, 2.5, -0.5])), [0, 2, 2, -0.0])
    np.testing.assert_array_equal(OPS["remainder"](np.array([-5, 5]), np.array([3, -3])), [1, -1])
    np.testing.assert_array_equal(OPS["fmod"](np.array([-5.0, 5.0]), np.array([3.0, -3.0])), [-2, 2])
    np.testing.assert_array_equal(OPS["is_finite"](np.array([nan, inf, -inf, 0.0])), [False, False, False, True])
    assert OPS["shift_right"](np.int8(-8), np.int8(1)) == -4
    assert OPS["nextafter"](np.float64(1), np.float64(2)) == math.nextafter(1.0, 2.0)
    np.testing.assert_array_equal(OPS["not"](np.array([True, False])), [False, True])
    np.testing.assert_array_equal(OPS["not"](np.array([0, 5], "uint8")), [255, 250])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_population_count(dtype: str) -> None:
    bits = np.dtype(dtype).itemsize * 8
    x = np.array([0, 1, 2, 3, 5, 100], dtype)
    if x.dtype.kind == "i":
        x = np.concatenate([x, -x])
    expected = [bin(int(v) % 2**bits).count("1") for v in x]
    np.testing.assert_array_equal(check("population_count", x), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "complex128"])
@pytest.mark.parametrize("y", [0, 1, 2, 3, 5, 8, 13])
def test_integer_pow(y: int, dtype: str) -> None:
    x = sample(dtype, (4,))
    expected = np.ones_like(x)
    for _ in range(y):
        expected = expected * x
    np.testing.assert_allclose(check("integer_pow", x, y=y), expected, rtol=1e-5)
    if x.dtype.kind != "i":
        np.testing.assert_allclose(check("integer_pow", x, y=-y), 1 / expected, rtol=1e-5)


def test_integer_pow_does_not_alias() -> None:
    x = np.ones(3)
    assert not np.shares_memory(OPS["integer_pow"](x, y=1), x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_complex_parts(dtype: str) -> None:
    re, im = np.array([1, np.inf, -0.0], dtype), np.array([2, np.inf, np.nan], dtype)
    z = check("complex", re, im)
    np.testing.assert_array_equal(check("real", z), re)
    np.testing.assert_array_equal(check("imag", z), im)
    np.testing.assert_array_equal(check("conj", z).imag, -im)
    assert check("abs", z).dtype == dtype
    assert check("complex", np.array(1, dtype), im).shape == (3,)
    assert check("complex", np.array(1, dtype), np.array(2, dtype)) == 1 + 2j


@pytest.mark.parametrize("to", ["bool", *INTEGERS, *FLOATS, *COMPLEX])
@pytest.mark.parametrize("dtype", ["bool", "int32", "uint8", "float32", "float64"])
def test_convert(dtype: str, to: str) -> None:
    for shape in [(), (3,)]:
        x = sample(dtype, shape, 1, 5)
        result = check("convert", x, dtype=np.dtype(to))
        expected = [complex(v) if "complex" in to else bool(v) if to == "bool" else v for v in np.ravel(x).tolist()]
        if np.dtype(to).kind in "iu":
            expected = [int(v) for v in expected]
        np.testing.assert_allclose(np.ravel(result), expected, rtol=1e-3)
    assert type(OPS["convert"](np.float32(1), dtype=np.dtype("float64"), weak=True)) is float
    assert OPS["convert"](np.array([1 + 2j]), dtype=np.dtype("float64")) == 1


def test_python_scalars_are_weak() -> None:
    x = np.ones(2, "float32")
    assert OPS["mul"](x, 2.0).dtype == "float32"
    assert OPS["select"](x > 0, x, 2.0).dtype == "float32"


@pytest.mark.parametrize("dtype", ["float32", "int8", "bool", "complex64"])
def test_select(dtype: str) -> None:
    pred = np.array([True, False, True])
    x, y = sample(dtype, (3,)), sample(dtype, (3,))
    np.testing.assert_array_equal(check("select", pred, x, y), [x[0], y[1], x[2]])
    np.testing.assert_array_equal(check("select", np.bool_(False), x, y[0]), [y[0]] * 3)


# The error function ---------------------------------------------------------------------------------------------------


def test_erf_is_within_two_ulp() -> None:
    x = np.concatenate([np.linspace(-7, 7, 20001), RNG.normal(size=20000), np.logspace(-300, 1, 2000)])
    exact = np.array([math.erf(v) for v in x])
    assert (np.abs(OPS["erf"](x) - exact) <= 2 * np.spacing(np.abs(exact))).all()


def test_erf_special_values_and_dtypes() -> None:
    inf = math.inf
    values = OPS["erf"](np.array([0.0, -0.0, inf, -inf, math.nan, 5e-324]))
    np.testing.assert_array_equal(values, [0, 0, 1, -1, math.nan, math.erf(5e-324)])
    assert np.signbit(values[1])
    assert OPS["erf"](np.float64(0.5)) == pytest.approx(math.erf(0.5), rel=1e-15)
    for dtype in ("float16", "float32"):
        x = np.linspace(-4, 4, 1001, dtype=dtype)
        exact = np.array([math.erf(float(v)) for v in x])
        np.testing.assert_array_equal(check("erf", x), exact.astype(dtype))


# Structure ------------------------------------------------------------------------------------------------------------


def test_broadcast_in_dim() -> None:
    x = np.arange(3.0)
    result = check("broadcast_in_dim", x, shape=(3, 2), dims=(0,))
    np.testing.assert_array_equal(result, [[0, 0], [1, 1], [2, 2]])
    result[0, 0] = 9  # a new array, not a read-only view
    assert result[0, 1] == 0
    assert check("broadcast_in_dim", np.float32(2), shape=(2, 2), dims=()).tolist() == [[2, 2], [2, 2]]
    assert check("broadcast_in_dim", np.ones((1, 3)), shape=(2, 4, 3), dims=(1, 2)).shape == (2, 4, 3)
    assert check("broadcast_in_dim", np.ones((1,)), shape=(0,), dims=(0,)).shape == (0,)


def test_reshape_transpose_rev_slice() -> None:
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(check("reshape", x, shape=(3, 2)), [[0, 1], [2, 3], [4, 5]])
    assert check("reshape", np.float64(1), shape=(1, 1)).shape == (1, 1)
    np.testing.assert_array_equal(check("transpose", x, axes=(1, 0)), [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(check("rev", x, axes=(1,)), [[2, 1, 0], [5, 4, 3]])
    np.testing.assert_array_equal(check("slice", x, start=(0, 0), limit=(2, 3), stride=(1, 2)), [[0, 2], [3, 5]])


def naive_pad(x: Any, value: float, config: Any) -> Any:
    """Spread the elements, put the values around, then cut."""
    for axis, (low, high, interior) in enumerate(config):
        columns = list(np.moveaxis(x, axis, 0))
        fill = np.full(np.moveaxis(x, axis, 0).shape[1:], value)
        spread: list[Any] = []
        for i, c in enumerate(columns):
            spread += ([fill] * interior if i else []) + [c]
        spread = [fill] * low + spread + [fill] * high
        spread = spread[max(-low, 0) : len(spread) - max(-high, 0)]
        x = np.moveaxis(np.array(spread).reshape(len(spread), *fill.shape), 0, axis)
    return x


@pytest.mark.parametrize("low", [-2, -1, 0, 2])
@pytest.mark.parametrize("high", [-2, 0, 1])
@pytest.mark.parametrize("interior", [0, 1, 2])
def test_pad(low: int, high: int, interior: int) -> None:
    x = np.arange(1.0, 9.0).reshape(4, 2)
    config = ((low, high, interior), (1, 0, 0))
    np.testing.assert_array_equal(check("pad", x, np.float64(-1), config=config), naive_pad(x, -1, config))


def test_pad_of_nothing() -> None:
    assert check("pad", np.empty((0, 2)), np.float64(5), config=((1, 2, 3), (0, 0, 0))).tolist() == [[5, 5]] * 3


def test_concatenate_iota_sort() -> None:
    x = np.arange(4.0).reshape(2, 2)
    np.testing.assert_array_equal(check("concatenate", x, x[:1], axis=0), [[0, 1], [2, 3], [0, 1]])
    for dtype in ["int32", "float16", "complex64", "uint8"]:
        got = check("iota", shape=(2, 3), dtype=np.dtype(dtype), axis=1)
        np.testing.assert_array_equal(got, [[0, 1, 2], [0, 1, 2]])
    y = np.array([3.0, np.nan, 1.0, 3.0])
    np.testing.assert_array_equal(check("sort", y, axis=0, stable=False), [1, 3, 3, np.nan])
    np.testing.assert_array_equal(check("argsort", y, axis=0, stable=True), [2, 0, 3, 1])
    assert OPS["optimization_barrier"](x, y) == [x, y]
    assert not np.shares_memory(check("copy", x), x)


# Reduction ------------------------------------------------------------------------------------------------------------

REDUCTIONS = {
    "reduce_sum": lambda values: sum(values),
    "reduce_prod": lambda values: math.prod(values),
    "reduce_max": max,
    "reduce_min": min,
}


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint16", "float16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction(name: str, dtype: str) -> None:
    if "complex" in dtype and name in ("reduce_max", "reduce_min"):
        pytest.skip("complex numbers have no order")
    x = sample(dtype, (2, 3, 2))
    for axes in [(), (0,), (1,), (0, 2), (0, 1, 2)]:
        result = check(name, x, axes=axes)
        kept = [i for i in range(3) if i not in axes]
        rows = x.transpose(*kept, *axes).reshape(*(x.shape[i] for i in kept), -1)
        expected = np.apply_along_axis(lambda v: REDUCTIONS[name](v.tolist()), -1, rows)
        if x.dtype.kind in "iu":
            expected = expected.astype(dtype)  # small integers wrap
        np.testing.assert_allclose(result, expected, rtol=2e-3 if dtype == "float16" else 1e-5)


def test_reductions_of_booleans_and_of_nothing() -> None:
    x = np.array([[True, False], [True, True]])
    assert check("reduce_and", x, axes=(1,)).tolist() == [False, True]
    assert check("reduce_or", x, axes=(0, 1)).tolist() is True
    empty = np.empty((0, 2), "float32")
    assert check("reduce_sum", empty, axes=(0,)).tolist() == [0, 0]
    assert check("reduce_prod", empty, axes=(0,)).tolist() == [1, 1]
    assert check("reduce_and", np.empty((0,), bool), axes=(0,)).tolist() is True
    with pytest.raises(ValueError, match="zero-size"):
        OPS["reduce_max"](empty, axes=(0,))


def test_arg_reductions() -> None:
    x = np.array([[1.0, 3.0, 3.0], [np.nan, 5.0, 0.0]])
    assert check("argmax", x, axis=1).tolist() == [1, 0]
    assert check("argmin", x, axis=1).tolist() == [0, 0]
    assert check("argmax", x, axis=0).dtype == np.int64


@pytest.mark.parametrize("dtype", ["int8", "int32", "float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("name", "step"),
    [("cumsum", np.add), ("cumprod", np.multiply), ("cummax", np.maximum), ("cummin", np.minimum)],
)
def test_running(name: str, step: Any, dtype: str) -> None:
    x = sample(dtype, (3, 4))
    for axis, reverse in itertools.product((0, 1), (False, True)):
        got = check(name, x, axis=axis, reverse=reverse)
        rows = np.moveaxis(x, axis, 0)[:: -1 if reverse else 1]
        expected = [rows[0]]
        for row in rows[1:]:
            expected.append(step(expected[-1], row))
        expected = np.moveaxis(np.array(expected)[:: -1 if reverse else 1], 0, axis)
        np.testing.assert_allclose(got, expected, rtol=1e-3 if dtype == "float16" else 1e-6)
    assert check(name, np.empty((0, 2), dtype), axis=0).shape == (0, 2)


# Indexing -------------------------------------------------------------------------------------------------------------


def naive_gather(x: Any, indices: list[Any], axes: tuple[int, ...]) -> Any:
    others = [i for i in range(x.ndim) if i not in axes]
    moved = x.transpose(*axes, *others)
    shape = indices[0].shape
    out = np.empty(shape + tuple(x.shape[i] for i in others), x.dtype)
    for place in np.ndindex(*shape):
        out[place] = moved[tuple(int(i[place]) for i in indices)]
    return out


INDEXING = [((0,), (2, 3)), ((1,), (4,)), ((0, 1), (5,)), ((2, 0), (2, 2)), ((0, 1, 2), (3,)), ((1, 2), ()), ((0,), ())]


@pytest.mark.parametrize(("axes", "shape"), INDEXING)
def test_gather(axes: tuple[int, ...], shape: tuple[int, ...]) -> None:
    x = sample("float64", (3, 4, 5))
    indices = [RNG.integers(-x.shape[a], x.shape[a], shape) for a in axes]
    indices = [np.asarray(i) for i in indices]
    np.testing.assert_array_equal(check("gather", x, *indices, axes=axes), naive_gather(x, indices, axes))
    bad = [i + x.shape[a] if k == 0 else i for k, (i, a) in enumerate(zip(indices, axes, strict=True))]
    bad[0] = np.full(shape, x.shape[axes[0]])
    with pytest.raises(IndexError):
        OPS["gather"](x, *bad, axes=axes)


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("kind", ["set", "add", "mul", "min", "max"])
@pytest.mark.parametrize(("axes", "shape"), INDEXING)
def test_scatter(axes: tuple[int, ...], shape: tuple[int, ...], kind: str, unique: bool) -> None:
    x = sample("float64", (3, 4, 5))
    others = [i for i in range(3) if i not in axes]
    if unique:
        size = math.prod(shape)
        sizes = [x.shape[a] for a in axes]
        if size > math.prod(sizes):
            pytest.skip("too many places to be all different")
        flat = RNG.choice(math.prod(sizes), size, replace=False).reshape(shape)
        indices = [np.asarray(i) for i in np.unravel_index(flat, sizes)]
    else:
        indices = [np.asarray(RNG.integers(-x.shape[a], x.shape[a], shape)) for a in axes]
    updates = sample("float64", shape + tuple(x.shape[i] for i in others))
    before = x.copy()
    got = check("scatter", x, updates, *indices, axes=axes, kind=kind, unique=unique)
    expected = x.copy()
    moved = expected.transpose(*axes, *others)
    combine = {
        "set": lambda a, b: b,
        "add": lambda a, b: a + b,
        "mul": lambda a, b: a * b,
        "min": np.minimum,
        "max": np.maximum,
    }[kind]
    for place in np.ndindex(*shape):
        at = tuple(int(i[place]) for i in indices)
        moved[at] = combine(moved[at], updates[place])
    np.testing.assert_allclose(got, expected, rtol=1e-14)
    np.testing.assert_array_equal(x, before)
    with pytest.raises(IndexError):
        wrong = [np.full(shape, -x.shape[axes[0]] - 1), *indices[1:]]
        OPS["scatter"](x, updates, *wrong, axes=axes, kind=kind, unique=unique)


def test_scatter_of_nothing() -> None:
    x = np.ones((3, 2))
    none = np.empty((0,), np.int64)
    for kind in ("set", "add"):
        got = check("scatter", x, np.empty((0, 2)), none, axes=(0,), kind=kind, unique=False)
        np.testing.assert_array_equal(got, x)
    got = check("scatter", np.ones((3, 0)), np.ones((2, 0)), np.array([0, 1]), axes=(0,), kind="add", unique=False)
    assert got.shape == (3, 0)


def test_dynamic_slices() -> None:
    x = np.arange(12.0).reshape(3, 4)
    one, two = np.int64(1), np.int64(2)
    np.testing.assert_array_equal(check("dynamic_slice", x, one, two, sizes=(2, 2)), x[1:3, 2:4])
    got = check("dynamic_update_slice", x, np.zeros((2, 2)), one, two)
    assert got[1:3, 2:4].sum() == 0
    assert x[1, 2] == 6
    for start in (-1, 2):
        with pytest.raises(IndexError, match="does not fit into axis 0, which has size 3"):
            OPS["dynamic_slice"](x, np.int64(start), two, sizes=(2, 2))
        with pytest.raises(IndexError, match="does not fit"):
            OPS["dynamic_update_slice"](x, np.zeros((2, 2)), np.int64(start), two)


# Contraction ----------------------------------------------------------------------------------------------------------

DOTS = [
    ((3,), (3,), (((0,), (0,)), ((), ()))),
    ((2, 3), (3,), (((1,), (0,)), ((), ()))),
    ((3,), (3, 2), (((0,), (0,)), ((), ()))),
    ((2, 3), (3, 4), (((1,), (0,)), ((), ()))),
    ((3, 2), (4, 3), (((0,), (1,)), ((), ()))),
    ((2,), (3,), (((), ()), ((), ()))),
    ((), (), (((), ()), ((), ()))),
    ((5, 2, 3), (3, 4), (((2,), (0,)), ((), ()))),
    ((5, 2, 3), (5, 3, 4), (((2,), (1,)), ((0,), (0,)))),
    ((2, 5, 3), (4, 3, 5), (((2,), (1,)), ((1,), (2,)))),
    ((5, 3), (5, 3), (((1,), (1,)), ((0,), (0,)))),
    ((5, 2, 3, 4), (4, 3, 6), (((3, 2), (0, 1)), ((), ()))),
    ((2, 5, 3), (2, 5, 4), (((), ()), ((0, 1), (0, 1)))),
    ((0, 3), (3, 2), (((1,), (0,)), ((), ()))),
    ((2, 0), (0, 2), (((1,), (0,)), ((), ()))),
]


def naive_dot(x: Any, y: Any, numbers: Any) -> Any:
    (xc, yc), (xb, yb) = numbers
    letters = iter("abcdefghijklmnop")
    xs = [next(letters) for _ in range(x.ndim)]
    ys = [next(letters) for _ in range(y.ndim)]
    for i, j in [*zip(xc, yc, strict=True), *zip(xb, yb, strict=True)]:
        ys[j] = xs[i]
    out = [xs[i] for i in xb]
    out += [xs[i] for i in range(x.ndim) if i not in xc and i not in xb]
    out += [ys[j] for j in range(y.ndim) if j not in yc and j not in yb]
    return np.einsum(f"{''.join(xs)},{''.join(ys)}->{''.join(out)}", x, y)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "complex64"])
@pytest.mark.parametrize(("x_shape", "y_shape", "numbers"), DOTS)
def test_dot_general(x_shape: Any, y_shape: Any, numbers: Any, dtype: str) -> None:
    x, y = sample(dtype, x_shape), sample(dtype, y_shape)
    got = check("dot_general", x, y, dimension_numbers=numbers)
    np.testing.assert_allclose(got, naive_dot(x, y, numbers), rtol=5e-3 if dtype == "float16" else 1e-5)


def naive_conv(x: Any, w: Any, strides: Any, padding: Any, x_dilation: Any, w_dilation: Any, groups: int) -> Any:
    """The definition, with a loop over every output element."""
    config = [(0, 0, 0), (0, 0, 0)]
    x = naive_pad(x, 0.0, config + [(0, 0, d - 1) for d in x_dilation])
    x = naive_pad(x, 0.0, config + [(low, high, 0) for low, high in padding])
    w = naive_pad(w, 0.0, config + [(0, 0, d - 1) for d in w_dilation])
    out = [max((n - k) // s + 1, 0) for n, k, s in zip(x.shape[2:], w.shape[2:], strides, strict=True)]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    per_in, per_out = x.shape[1] // groups, w.shape[0] // groups
    for place in np.ndindex(*y.shape):
        n, o, *at = place
        first = o // per_out * per_in
        block = x[n, first : first + per_in]
        window = tuple(slice(a * s, a * s + k) for a, s, k in zip(at, strides, w.shape[2:], strict=True))
        y[place] = (block[(slice(None), *window)] * w[o]).sum()
    return y


CONVOLUTIONS = [
    ((2, 4, 9), (6, 4, 3), (1,), ((0, 0),), (1,), (1,), 1),
    ((2, 4, 9), (6, 2, 3), (2,), ((1, 2),), (1,), (2,), 2),
    ((1, 4, 5), (4, 1, 2), (1,), ((-1, 3),), (2,), (1,), 4),
    ((2, 3, 6, 5), (4, 3, 3, 2), (1, 2), ((1, 1), (0, 1)), (1, 1), (1, 1), 1),
    ((2, 4, 4, 4), (2, 2, 2, 3), (2, 1), ((2, -1), (1, 1)), (2, 1), (1, 2), 2),
    ((1, 1, 2, 3, 2), (2, 1, 2, 2, 1), (1, 1, 1), ((0, 0), (1, 0), (0, 0)), (1, 1, 1), (1, 1, 1), 1),
    ((1, 2, 2), (3, 2, 5), (1,), ((0, 0),), (1,), (1,), 1),
    ((0, 2, 5), (3, 2, 2), (1,), ((0, 0),), (1,), (1,), 1),
]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution(case: Any, dtype: str) -> None:
    x_shape, w_shape, strides, padding, x_dilation, w_dilation, groups = case
    x, w = sample(dtype, x_shape), sample(dtype, w_shape)
    got = check(
        "conv_general_dilated",
        x,
        w,
        strides=strides,
        padding=padding,
        lhs_dilation=x_dilation,
        rhs_dilation=w_dilation,
        groups=groups,
    )
    wide = naive_conv(x.astype("float64"), w.astype("float64"), strides, padding, x_dilation, w_dilation, groups)
    np.testing.assert_allclose(got, wide, rtol=5e-3 if dtype == "float16" else 1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["reduce_window_sum", "reduce_window_max"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize(
    ("window", "strides", "padding", "dilation"),
    [
        ((2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)),
        ((3, 2), (2, 1), ((1, 1), (0, 2)), (1, 2)),
        ((1, 5), (1, 3), ((0, 0), (3, 3)), (1, 1)),
        ((9, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ],
)
def test_reduce_window(name: str, window: Any, strides: Any, padding: Any, dilation: Any, dtype: str) -> None:
    x = -sample(dtype, (5, 6))
    got = check(name, x, window=window, strides=strides, padding=padding, dilation=dilation)
    outside = 0 if name.endswith("sum") else -np.inf
    padded = naive_pad(x.astype("float64"), outside, [(low, high, 0) for low, high in padding])
    extent = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    for place in np.ndindex(*got.shape):
        block = padded[
            tuple(slice(p * s, p * s + e, d) for p, s, e, d in zip(place, strides, extent, dilation, strict=True))
        ]
        expected = block.sum() if name.endswith("sum") else block.max()
        if np.isinf(expected):
            expected = got[place]  # a window that lies outside altogether
        assert got[place] == pytest.approx(expected, rel=1e-5)


# Host calls -----------------------------------------------------------------------------------------------------------


def test_callbacks() -> None:
    avals = (Aval((2,), np.dtype("float32")),)
    (got,) = OPS["pure_callback"](np.ones(2), callback=lambda x: [x * 2], avals=avals)
    assert got.dtype == "float32"
    with pytest.raises(ValueError, match="returned an array of shape"):
        OPS["pure_callback"](np.ones(3), callback=lambda x: [x], avals=avals)
    seen: list[Any] = []
    assert OPS["debug_callback"](1, callback=seen.append) == []
    assert seen == [1]
