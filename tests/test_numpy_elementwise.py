"""Elementwise functions against NumPy: values, dtypes and shapes, traced and eager."""

# ruff: noqa: B023 -- every closure made in a loop is called in the same turn

import itertools
import math
import operator

import numpy as np
import pytest
from numpy_oracle import ALL, COMPLEX, FLOATS, INTS, against, assert_same, example, staged

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.core.config import config
from funcgrad.core.errors import FuncgradError, OperandError, OperandTypeError
from funcgrad.core.trace import Tracer, stage
from funcgrad.core.types import Aval, aval_of

UNARY = [
    "absolute", "abs", "fabs", "negative", "positive", "sign", "reciprocal", "square", "sqrt", "cbrt", "exp",
    "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "asin",
    "acos", "atan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "asinh", "acosh", "atanh", "degrees",
    "radians", "rad2deg", "deg2rad", "rint", "floor", "ceil", "trunc", "isfinite", "isinf", "isnan",
    "signbit", "spacing", "conjugate", "conj", "logical_not", "invert", "bitwise_not", "bitwise_invert",
    "bitwise_count", "real", "imag", "angle", "isreal", "iscomplex", "nan_to_num", "sinc", "round", "isposinf",
    "isneginf", "modf",
]  # fmt: skip
BINARY = [
    "add", "subtract", "multiply", "divide", "true_divide", "floor_divide", "remainder", "mod", "fmod", "divmod",
    "power", "pow", "float_power", "maximum", "minimum", "fmax", "fmin", "heaviside", "copysign", "nextafter",
    "arctan2", "atan2", "hypot", "logaddexp", "logaddexp2", "equal", "not_equal", "less", "less_equal", "greater",
    "greater_equal", "logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor",
    "left_shift", "right_shift", "bitwise_left_shift", "bitwise_right_shift", "isclose", "ldexp",
]  # fmt: skip
#: Integer division by zero is 0 with a warning; shifts by negative counts are not defined; powers of integers overflow.
DOMAIN = {
    **dict.fromkeys(["left_shift", "right_shift", "bitwise_left_shift", "bitwise_right_shift"], (0, 4)),
    **dict.fromkeys(["power", "pow", "float_power"], (0, 4)),
    **dict.fromkeys(["reciprocal"], (1, 5)),
    **dict.fromkeys(["arcsin", "arccos", "asin", "acos", "arctanh", "atanh"], (-0.9, 0.9)),
}


def domain(name, dtype, **keywords):
    low, high = DOMAIN.get(name, (-4, 5))
    if np.dtype(dtype).kind in "iu" and high < 1:
        low, high = 0, 1
    return example(dtype, low=low, high=high, **keywords)


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    for dtype in ALL:
        for shape in [(2, 3), (), (0,)]:
            x = domain(name, dtype, shape=shape)
            tolerance = (
                1e-2 if dtype == "float16" or np.dtype(dtype).itemsize == 1 else 1e-5 if "64" not in dtype else None
            )
            if dtype == "complex64":
                tolerance = 1e-5
            against(getattr(fnp, name), getattr(np, name), x, tolerance=tolerance)


@pytest.mark.parametrize("name", BINARY)
def test_binary_dtypes(name):
    for left, right in itertools.product(ALL, ALL):
        x, y = domain(name, left, shape=(3,)), domain(name, right, shape=(2, 1), seed=1)
        against(
            getattr(fnp, name),
            getattr(np, name),
            x,
            y,
            tolerance=1e-2 if "8" in left + right or "16" in left + right else 1e-5,
        )


@pytest.mark.parametrize("name", BINARY)
def test_binary_python_scalars(name):
    if name == "isclose":
        pytest.skip("NumPy's own isclose takes a Python scalar as an array")
    for dtype in ALL:
        x = domain(name, dtype, shape=(2, 2))
        for scalar in [2, 2.5, 1 + 2j, True]:
            function, reference = getattr(fnp, name), getattr(np, name)
            tolerance = 2e-2 if np.dtype(dtype).itemsize <= 2 else 1e-5
            against(lambda a: function(a, scalar), lambda a: reference(a, scalar), x, tolerance=tolerance)
            against(lambda a: function(scalar, a), lambda a: reference(scalar, a), x, tolerance=tolerance)


SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -3.0, 1e300, -1e-300, 5e-324, math.inf, -math.inf, math.nan])


@pytest.mark.parametrize(
    "name", [n for n in UNARY if n not in ("invert", "bitwise_not", "bitwise_invert", "bitwise_count")]
)
def test_unary_special_values(name):
    against(getattr(fnp, name), getattr(np, name), SPECIAL, tolerance=1e-12)


@pytest.mark.parametrize("name", [n for n in BINARY if "shift" not in n and "bitwise" not in n and n != "ldexp"])
def test_binary_special_values(name):
    x, y = (a.ravel() for a in np.meshgrid(SPECIAL, SPECIAL))
    against(getattr(fnp, name), getattr(np, name), x, y, tolerance=1e-12)


def test_zero_signs_are_kept():
    x = np.array([0.0, -0.0, -2.0, 3.0])
    for name in ["copysign"]:
        got = staged(getattr(fnp, name), np.ones(4), x)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(x))


OPERATORS = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, divmod, operator.pow,
    operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift, operator.eq, operator.ne, operator.lt,
    operator.le, operator.gt, operator.ge,
]  # fmt: skip


@pytest.mark.parametrize("op", OPERATORS, ids=lambda f: f.__name__)
def test_operators_are_numpys(op):
    for dtype in ["bool", "int8", "uint8", "int64", "float32", "float64", "complex64"]:
        x, y = example(dtype, (2, 3), 1, 5), example("int32", (3,), 1, 4, seed=2)
        against(op, op, x, y, tolerance=1e-5)
        against(lambda a: op(a, 3), lambda a: op(a, 3), x, tolerance=1e-5)
        against(lambda a: op(3, a), lambda a: op(3, a), x, tolerance=1e-5)
        against(lambda a: op(y, a), lambda a: op(y, a), x, tolerance=1e-5)
        against(lambda a: op(np.float32(2), a), lambda a: op(np.float32(2), a), x, tolerance=1e-5)
        against(lambda a: op([[1], [2]], a), lambda a: op([[1], [2]], a), x, tolerance=1e-5)


@pytest.mark.parametrize("op", OPERATORS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("x, y", [(7, 3), (7.5, 2), (2, 2.5), (3.0, 2.0), (2 + 1j, 3.0)])
def test_operators_between_python_scalars_are_pythons(op, x, y):
    try:
        want = op(x, y)
    except TypeError:
        if op in (operator.lt, operator.le, operator.gt, operator.ge):
            pytest.skip("traced complex numbers are ordered as NumPy's are")
        with pytest.raises(TypeError):
            staged(op, x, y)
        return
    for got in [staged(op, x, y), staged(lambda a: op(a, y), x), staged(lambda b: op(x, b), y)]:
        for g, w in zip(
            got if isinstance(got, list) else [got], want if isinstance(want, tuple) else [want], strict=True
        ):
            assert g == w
            if not isinstance(w, bool):
                assert type(g) is type(w)


def test_weakness_lasts_through_operators_and_ends_in_functions():
    (f32,) = stage(lambda s, x: [(s * 2 + 1) * x], [aval_of(3.0), Aval((2,), np.dtype("float32"))]).out_avals
    assert f32.dtype == np.float32
    (f64,) = stage(lambda s, x: [fnp.multiply(s, 2) * x], [aval_of(3.0), Aval((2,), np.dtype("float32"))]).out_avals
    assert f64.dtype == np.float64
    assert type(staged(lambda s: -s, 3)) is int
    assert staged(lambda s: s**-1, 2) == 0.5
    assert type(staged(round, 2.5)) is int
    assert staged(lambda s: round(s, 1), 2.25) == 2.2


def test_python_scalars_under_jit_are_what_they_are_outside():
    cases = [
        lambda s: s * 2,
        lambda s: s**2,
        lambda s: s / 3,
        lambda s: -s,
        lambda s: abs(s),
        lambda s: s % 2,
        lambda s: 2**s,
        lambda s: s * True,
        lambda s: fnp.exp(s),
        lambda s: s + np.float32(1),
        lambda s: np.sin(s),
        lambda s: fnp.array([s, 1]),
        lambda s: fnp.float32(2) * s,
        lambda s: fnp.maximum(s, 0),
        lambda s: fnp.positive(s),
    ]
    for case in cases:
        for value in [3, 2.5]:
            got, want = fg.jit(case)(value), case(value)
            assert_same(got, want)
            assert isinstance(got, (int, float)) == isinstance(want, (int, float))


# The derivative where a formula taken literally has none.
@pytest.mark.parametrize(
    "function, x, derivative",
    [
        (lambda x: fnp.logaddexp(x, 0 * x), 0.0, 0.5),
        (lambda x: fnp.logaddexp(x, -math.inf), 1.0, 1.0),
        (lambda x: fnp.logaddexp(-math.inf, x), 1.0, 1.0),
        (lambda x: fnp.logaddexp2(x, 3.0), 3.0, 0.5),
        (lambda x: fnp.hypot(x, 0.0), 0.0, 0.0),
        (lambda x: fnp.hypot(x, 4.0), 3.0, 0.6),
        (lambda x: fnp.hypot(x, 1e200), 1e200, math.sqrt(0.5)),
        (lambda x: fnp.hypot(x, 0.0), -1e-200, -1.0),
        (fnp.absolute, 0.0, 0.0),
        (fnp.sinc, 0.0, 0.0),
        (lambda x: x**2, 0.0, 0.0),
        (lambda x: x**2.0, 0.0, 0.0),
        (lambda x: x**0, 0.0, 0.0),
        (lambda x: fnp.std(x * np.ones(3)), 1.0, 0.0),
        (lambda x: fnp.sum(fnp.cumprod(x * np.array([1.0, 0.0, 2.0]))), 3.0, 1.0),
        (lambda x: fnp.maximum(x, 0.0), 0.0, 0.5),
        (lambda x: fnp.clip(x, 0.0, 1.0), 2.0, 0.0),
        (fnp.nan_to_num, 2.0, 1.0),
        (lambda x: fnp.copysign(x, -1.0), 5.0, -1.0),
        (lambda x: fnp.remainder(x, 2.0), 5.5, 1.0),
    ],
)
def test_derivatives_are_finite(function, x, derivative):
    assert fg.grad(function)(x) == pytest.approx(derivative, abs=1e-14)
    assert fg.jit(fg.grad(function))(x) == pytest.approx(derivative, abs=1e-14)


@pytest.mark.parametrize("name", ["sin", "exp", "tanh", "sinc", "log1p", "cbrt", "arcsinh", "square"])
@pytest.mark.parametrize("x", [0.3, 0.012, 1.7])
def test_second_derivatives(name, x):
    function, h = getattr(fnp, name), 1e-4
    numerical = (function(x + h) - 2 * function(x) + function(x - h)) / h**2
    assert fg.grad(fg.grad(function))(x) == pytest.approx(float(numerical), rel=1e-4, abs=1e-6)


def test_second_derivatives_where_operands_are_equal():
    assert fg.grad(fg.grad(lambda x: fnp.logaddexp(x, 2.0)))(2.0) == pytest.approx(0.25)
    assert fg.grad(fg.grad(lambda x: fnp.logaddexp2(2.0, x)))(2.0) == pytest.approx(0.25 * math.log(2))
    assert fg.grad(fg.grad(fnp.sinc))(0.0) == pytest.approx(-(math.pi**2) / 3)


def test_debug_nans_sees_eager_calls():
    with config(debug_nans=True), np.errstate(all="ignore"):
        assert fnp.add(2, 3) == 5
        with pytest.raises(FloatingPointError, match="came out of log"):
            fnp.log(np.array([-1.0]))


def test_a_traced_value_formats():
    seen = []
    fg.grad(lambda x: (seen.append(f"{x:.2f}"), x * x)[1])(1.5)
    assert seen == ["1.50"]
    with pytest.raises(TypeError, match="format"):
        staged(lambda x: [f"{x:.2f}", x][1], 1.5)


def test_unary_operators():
    for dtype in ["int8", "float32", "complex128"]:
        x = example(dtype)
        for op in [operator.neg, operator.pos, operator.abs]:
            against(op, op, x)
    against(operator.invert, operator.invert, example("int8"))
    against(operator.invert, operator.invert, example("bool"))
    assert staged(math.floor, np.float64(2.5)) == 2
    assert staged(math.ceil, np.float64(2.5)) == 3


def test_comparison_of_integers_beyond_each_other():
    signed = np.array([-1, 0, 5, 2**62], np.int64)
    unsigned = np.array([2**64 - 1, 0, 5, 2**63 + 5], np.uint64)
    for name in ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]:
        against(getattr(fnp, name), getattr(np, name), signed, unsigned)
        against(getattr(fnp, name), getattr(np, name), unsigned, signed[:, None])
        for value in [-1, 300, 2**70, -(2**70)]:
            x = example("uint8")
            against(lambda a: getattr(fnp, name)(a, value), lambda a: getattr(np, name)(a, value), x)
            against(lambda a: getattr(fnp, name)(value, a), lambda a: getattr(np, name)(value, a), x)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float16", "float32", "float64"])
def test_clip(dtype):
    x = example(dtype)
    for low, high in [(1, 3), (None, 2), (1, None), (-1, 300), (0.5, 2), (None, None)]:
        against(lambda a: fnp.clip(a, low, high), lambda a: np.clip(a, low, high), x)
    against(lambda a: fnp.clip(a, min=1, max=2), lambda a: np.clip(a, min=1, max=2), x)
    against(lambda a: fnp.clip(a, np.zeros((2, 1)), 2), lambda a: np.clip(a, np.zeros((2, 1)), 2), x)


@pytest.mark.parametrize("dtype", ALL)
def test_where(dtype):
    x, mask = example(dtype), example("bool", (3,), seed=5)
    against(fnp.where, np.where, mask, x, x[:, ::-1].copy())
    against(lambda m, a: fnp.where(m, a, 0), lambda m, a: np.where(m, a, 0), mask, x)
    against(lambda m, a: fnp.where(m, 2.5, a), lambda m, a: np.where(m, 2.5, a), mask, x)
    against(lambda m: fnp.where(m, 1, 2.5), lambda m: np.where(m, 1, 2.5), mask)
    against(lambda a: fnp.where(a, [1, 2, 3], a), lambda a: np.where(a, [1, 2, 3], a), x)
    against(lambda a: fnp.where(True, a, a), lambda a: np.where(True, a, a), x)


def test_where_of_one_argument_needs_a_concrete_condition():
    assert_same(fnp.where(np.array([0, 1, 2])), np.where(np.array([0, 1, 2])))
    with pytest.raises(FuncgradError, match="where\\(condition\\) with one argument"):
        staged(fnp.where, np.array([0, 1]))
    with pytest.raises(ValueError, match="either both or neither"):
        fnp.where(np.array([True]), 1)


def test_round():
    for dtype in [*INTS, *FLOATS, *COMPLEX, "bool"]:
        x = example(dtype, low=-40, high=50)
        for decimals in [0, 1, 2, -1]:
            tolerance = 1e-2 if dtype == "float16" else 1e-6
            against(lambda a: fnp.round(a, decimals), lambda a: np.round(a, decimals), x, tolerance=tolerance)


def test_comparison_functions():
    x = np.array([1.0, 2.0, math.nan, math.inf])
    for equal_nan in [False, True]:
        for y in [x.copy(), x + 1e-9, x + 1, np.array([1, 2, 3, 4])]:
            against(
                lambda a, b: fnp.isclose(a, b, equal_nan=equal_nan),
                lambda a, b: np.isclose(a, b, equal_nan=equal_nan),
                x,
                y,
            )
            against(
                lambda a, b: fnp.allclose(a, b, equal_nan=equal_nan),
                lambda a, b: np.allclose(a, b, equal_nan=equal_nan),
                x,
                y,
            )
            against(
                lambda a, b: fnp.array_equal(a, b, equal_nan=equal_nan),
                lambda a, b: np.array_equal(a, b, equal_nan=equal_nan),
                x, y,
            )  # fmt: skip
    assert fnp.array_equal(x, x[:2]) is False
    against(fnp.array_equiv, np.array_equiv, np.ones((2, 3)), np.ones(3))


def test_nan_to_num():
    x = np.array([math.nan, math.inf, -math.inf, 1.0])
    for dtype in FLOATS:
        against(fnp.nan_to_num, np.nan_to_num, x.astype(dtype))
    against(
        lambda a: fnp.nan_to_num(a, nan=7.0, posinf=1.0, neginf=-2.0),
        lambda a: np.nan_to_num(a, nan=7.0, posinf=1.0, neginf=-2.0),
        x,
    )
    against(fnp.nan_to_num, np.nan_to_num, np.array([complex(1, math.nan), complex(math.inf, -math.inf)]))


def test_dtype_argument():
    x = np.arange(4, dtype=np.int32)
    against(lambda a: fnp.add(a, a, dtype=np.float32), lambda a: np.add(a, a, dtype=np.float32), x)
    against(lambda a: fnp.sin(a, dtype=np.float32), lambda a: np.sin(a, dtype=np.float32), x.astype(np.int8))
    with pytest.raises(TypeError):
        staged(lambda a: fnp.add(a, a, dtype=np.int8, casting="safe"), x)


def test_lists_are_arrays():
    x = np.arange(3.0)
    against(lambda a: fnp.add(a, [1, 2, 3]), lambda a: np.add(a, [1, 2, 3]), x)
    assert_same(fnp.add([1, 2], [3.0, 4.0]), np.add([1, 2], [3.0, 4.0]))
    assert_same(staged(lambda a: fnp.add([a[0], 1.0], [[a[1]], [a[2]]]), x), np.add([0, 1.0], [[1.0], [2.0]]))


def test_plain_numpy_functions_take_tracers():
    x = np.arange(1.0, 4.0)
    for name in ["sin", "add", "maximum", "hypot"]:
        ufunc = getattr(np, name)
        args = (x,) * ufunc.nin
        against(lambda *a: ufunc(*a), ufunc, *args)
    against(lambda a: np.add.reduce(a), np.add.reduce, x)
    against(lambda a: np.multiply.accumulate(a), np.multiply.accumulate, x)
    against(lambda a: np.multiply.outer(a, a), lambda a: np.multiply.outer(a, a), x)
    against(lambda a: np.where(a > 2, a, 0), lambda a: np.where(a > 2, a, 0), x)
    against(lambda a: np.clip(a, 1, 2), lambda a: np.clip(a, 1, 2), x)
    against(lambda a: x + a, lambda a: x + a, x)
    against(lambda a: np.float64(2) * a, lambda a: np.float64(2) * a, x)


def test_ufunc_methods():
    x = example("float64")
    against(fnp.add.reduce, np.add.reduce, x)
    against(lambda a: fnp.maximum.reduce(a, axis=None), lambda a: np.maximum.reduce(a, axis=None), x)
    against(lambda a: fnp.maximum.accumulate(a, axis=1), lambda a: np.maximum.accumulate(a, axis=1), x)
    against(lambda a: fnp.subtract.outer(a, a[0]), lambda a: np.subtract.outer(a, a[0]), x)
    with pytest.raises(OperandTypeError, match=r"hypot\.reduce"):
        staged(fnp.hypot.reduce, x)


def test_errors():
    x, y = np.zeros((2, 3)), np.zeros((4,))
    with pytest.raises(
        OperandError, match=r"add: the shapes \(2, 3\) and \(4,\) do not broadcast.*axis -1 has 3 and 4"
    ):
        staged(lambda a, b: a + b, x, y)
    with pytest.raises(OperandTypeError, match="multiply: argument 1 is 'three' of type str"):
        staged(lambda a: fnp.multiply(a, "three"), x)
    with pytest.raises(TypeError):
        staged(lambda a: a * "three", x)
    with pytest.raises(OperandTypeError, match="subtract"):
        staged(lambda a: a - a, np.array([True]))
    with pytest.raises(TypeError, match="takes no out="):
        fnp.add(x, x, out=x)
    with pytest.raises(TypeError, match="takes no out="):
        fnp.add(x, x, x)
    with pytest.raises(TypeError, match="write `a = a \\+ x`"):
        staged(lambda a: np.add(a, 1, out=y), x)
    with pytest.raises(TypeError, match=r"np\.isnat"):
        staged(lambda a: np.isnat(a), np.array([4]))
    with pytest.raises(ValueError, match="negative integer powers"):
        staged(lambda a: a**-2, np.array([2]))
    with pytest.raises(OverflowError):
        staged(lambda a: a + 300, np.array([2], np.int8))
    with pytest.raises(TypeError, match="takes 2 positional"):
        fnp.add(x)


def test_a_plain_array_cannot_be_changed_by_a_tracer():
    def fun(a):
        y = np.zeros(3)
        y += a
        return y

    with pytest.raises(TypeError, match="plain array"):
        staged(fun, np.ones(3))


def test_comparison_with_other_things_is_pythons():
    assert staged(lambda a: np.float64(a == None), np.ones(2)) == 0.0  # noqa: E711
    seen = []
    stage(lambda a: [seen.append(isinstance(a, Tracer)) or a], [Aval((), np.dtype(float))])
    assert seen == [True]


def test_fix_is_trunc():
    """NumPy 2.5 deprecates its own, so that it is no oracle."""
    for dtype in ["int8", "float32", "float64"]:
        x = np.array([-2.5, -1.0, 0.0, 1.75, 3.0]).astype(dtype)
        for got in (fnp.fix(x), fg.jit(fnp.fix)(x)):
            np.testing.assert_array_equal(got, np.trunc(x), strict=True)


@pytest.mark.parametrize("dtype", ["int16", "float32", "complex128", "bool"])
@pytest.mark.parametrize("axis", [0, 1, None])
def test_descending_order(dtype, axis):
    """Stable and NaN last, as NumPy's from 2.5 on; the reference is a sort by Python."""
    x = np.array([[3, 1, 3, 0], [0, 2, 1, 2], [1, 1, 0, 3]]).astype(dtype)
    if x.dtype.kind in "fc":
        x[1, 2] = np.nan
    lines = [x.ravel()] if axis is None else list(np.moveaxis(x, axis, -1))

    def order(line):
        return sorted(
            range(len(line)), key=lambda i: (np.isnan(line[i]), -float(line[i].real), -float(line[i].imag), i)
        )

    want = np.array([order(line) for line in lines])
    want = want[0] if axis is None else np.moveaxis(want, -1, axis)
    flat = x.ravel() if axis is None else x
    along = 0 if axis is None else axis
    for run in (lambda f: f, fg.jit):
        got = run(lambda a: fnp.argsort(a, axis=axis, descending=True))(x)
        np.testing.assert_array_equal(got, want)
        got = run(lambda a: fnp.sort(a, axis=axis, descending=True))(x)
        np.testing.assert_array_equal(got, np.take_along_axis(flat, want, along), strict=True)
