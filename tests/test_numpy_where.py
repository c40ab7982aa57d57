"""``where=`` of ufuncs, and their methods: NumPy's results into zeros, and derivatives that no masked element disturbs."""

import numpy as np
import pytest
from numpy_oracle import assert_same, example, staged

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.errors import ConcretizationError, InPlaceError, OperandError, OperandTypeError
from funcgrad.numpy._ufunc import Ufunc
from funcgrad.testing import check_grads

UFUNCS = sorted({f.__name__: f for f in vars(fnp).values() if isinstance(f, Ufunc)}.items())
MASK = np.array([[True, False, True], [False, True, True]])


def reference(ufunc, *args, where):
    """NumPy's ufunc, written into zeros."""
    operands = [np.asarray(a) if not np.isscalar(a) else a for a in args]
    shape = np.broadcast_shapes(*map(np.shape, operands), np.shape(where))
    dtypes = ufunc.resolve_dtypes(
        tuple(a.dtype if hasattr(a, "dtype") else type(a) for a in operands) + (None,) * ufunc.nout
    )
    out = tuple(np.zeros(shape, d) for d in dtypes[ufunc.nin :])
    with np.errstate(all="ignore"):
        result = ufunc(*operands, out=out, where=where)
    return result


def operands(f, dtype, shape=(2, 3)):
    return [example(dtype, shape, 1, 3, seed) for seed in range(f.nin)]


@pytest.mark.parametrize("name, f", UFUNCS)
def test_values_and_dtypes(name, f):
    found = 0
    for dtype in ("bool", "int8", "uint16", "int64", "float16", "float32", "float64", "complex64"):
        args = operands(f, dtype)
        try:
            want = reference(f.ufunc, *args, where=MASK)
        except TypeError:
            with pytest.raises(TypeError):
                f(*args, where=MASK)
            continue
        found += 1
        with np.errstate(all="ignore"):
            assert_same(f(*args, where=MASK), want, 0)
        with np.errstate(all="ignore"):
            assert_same(staged(lambda *a, f=f: f(*a, where=MASK), *args), want)
            assert_same(staged(lambda m, *a, f=f: f(*a, where=m), MASK, *args), want)
    assert found


@pytest.mark.parametrize(
    "shape, mask", [((3,), (2, 3)), ((2, 3), (3,)), ((2, 1), (3,)), ((), (3,)), ((2, 3), ()), ((0, 3), (3,))]
)
def test_the_mask_broadcasts_with_the_operands(shape, mask):
    where = np.resize([True, False, True, True, False], mask)
    for f in (fnp.sqrt, fnp.divmod, fnp.multiply):
        args = operands(f, "float64", shape)
        want = reference(f.ufunc, *args, where=where)
        assert_same(f(*args, where=where), want)
        assert_same(staged(lambda *a, f=f: f(*a, where=where), *args), want)


def test_python_scalars_stay_weak():
    x = np.array([1, 2, 3], np.float32)
    mask = [True, False, True]
    assert_same(fnp.add(x, 1.5, where=mask), reference(np.add, x, 1.5, where=np.array(mask)))
    assert_same(staged(lambda a: fnp.power(a, 2, where=mask), x), np.array([1, 0, 9], np.float32))
    assert_same(fnp.equal(np.arange(3, dtype=np.uint8), 300, where=mask), np.zeros(3, bool))
    assert_same(fnp.not_equal(np.arange(3, dtype=np.uint8), 300, where=mask), np.array(mask))


def test_true_is_no_mask_and_false_is_one():
    x = np.array([1.0, 4.0])
    np.testing.assert_array_equal(fnp.sqrt(x, where=True), [1, 2])
    np.testing.assert_array_equal(fnp.sqrt(x, where=False), [0, 0])
    np.testing.assert_array_equal(fnp.sqrt(x, where=None), [0, 0])
    np.testing.assert_array_equal(fnp.sqrt(x, where=[1, 0]), [1, 0])


def test_what_is_masked_warns_of_nothing_and_is_no_nan():
    x = np.array([-1.0, 0.0, 4.0])
    for outer in (lambda f: f, fg.jit):
        with fg.config(debug_nans=True):
            np.testing.assert_array_equal(outer(lambda x: fnp.log(x, where=x > 0))(x), [0, 0, np.log(4)])
            np.testing.assert_array_equal(outer(lambda x: fnp.divide(1.0, x, where=x != 0))(x), [-1, 0, 0.25])
        np.testing.assert_array_equal(outer(lambda x: fnp.log(x, where=x > 0))(x), [0, 0, np.log(4)])


@pytest.mark.parametrize("f, x", [
    (lambda x: fnp.log(x, where=x > 0), [-1.0, 0.0, 2.0]),
    (lambda x: np.log(x, where=x > 0), [-1.0, 0.0, 2.0]),
    (lambda x: fnp.sqrt(x, where=x > 0), [-1.0, 0.0, 2.0]),
    (lambda x: fnp.divide(x, x - 2.0, where=x != 2), [1.0, 2.0, 3.0]),
    (lambda x: fnp.power(x, x, where=x > 0), [-1.0, 0.0, 2.0]),
    (lambda x: fnp.arctanh(x, where=abs(x) < 1), [-1.0, 0.5, 1.0]),
    (lambda x: fnp.arccosh(x, where=x > 1), [0.0, 1.0, 2.0]),
])  # fmt: skip
def test_derivatives_are_zero_where_masked(f, x):
    x = np.array(x)
    y = fg.jit(f)(x)
    slope = fg.jacrev(f)(x)
    np.testing.assert_array_equal(slope, fg.jacfwd(f)(x))
    assert np.isfinite(slope).all()
    masked = y == 0
    assert masked.any() and not masked.all()
    np.testing.assert_array_equal(slope[masked], 0.0)
    second = fg.jacfwd(fg.jacrev(f))(x)
    assert np.isfinite(second).all()
    inside = x[~masked]
    check_grads(fg.jit(f), (inside,), order=2)
    with fg.config(debug_nans=True):
        fg.grad(lambda x: fnp.sum(f(x)))(x)


def test_vmap():
    x = np.array([[1.0, -1.0], [4.0, 9.0]])
    f = lambda x, m: fnp.sqrt(x, where=m)
    m = np.array([[True, False], [False, True]])
    np.testing.assert_array_equal(fg.vmap(f)(x, m), [[1, 0], [0, 3]])
    np.testing.assert_array_equal(fg.vmap(f, (0, None))(x, m[0]), [[1, 0], [2, 0]])


@pytest.mark.parametrize("outer", [lambda f: f, fg.jit], ids=["eager", "jit"])
def test_errors(outer):
    x = np.ones(3)
    with pytest.raises(OperandTypeError, match=r"log: where is a mask of booleans.*float64.*where=\(mask != 0\)"):
        outer(lambda x: fnp.log(x, where=x))(x)
    with pytest.raises(OperandError, match="log: the shapes"):
        outer(lambda x: fnp.log(x, where=np.ones((2, 2), bool)))(x)
    with pytest.raises(OperandTypeError, match="sum: where is a mask of booleans"):
        fg.jit(lambda x: outer(fnp.sum)(x, where=x))(x)


# Methods --------------------------------------------------------------------------------------------------------------


REDUCTIONS = ["add", "multiply", "maximum", "minimum", "logical_and", "logical_or"]


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("keywords", [{}, {"axis": 1}, {"axis": None, "keepdims": True}, {"axis": (0, 1)}], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_reduce(name, keywords, masked):
    f, ufunc = getattr(fnp, name), getattr(np, name)
    if masked:
        keywords = keywords | {"where": MASK, "initial": 1}
    for dtype in ("bool", "int32", "float32", "float64"):
        x = example(dtype, (2, 3), 0, 3)
        if dtype == "bool" and name in ("maximum", "minimum") and masked:
            keywords = keywords | {"initial": True}
        want = ufunc.reduce(x, **keywords)
        assert_same(f.reduce(x, **keywords), want)
        assert_same(staged(lambda a, keywords=keywords: f.reduce(a, **keywords), x), want)
        assert_same(staged(lambda a, keywords=keywords: ufunc.reduce(a, **keywords), x), want)


def test_reduce_with_a_mask_and_no_identity():
    x = example("float64")
    for f in (fnp.maximum, np.minimum):
        with pytest.raises(ValueError, match="initial"):
            staged(lambda a, f=f: f.reduce(a, where=MASK), x)


def test_plain_arrays_have_every_method():
    x = np.arange(6).reshape(2, 3)
    assert_same(fnp.subtract.reduce(x), np.subtract.reduce(x))
    assert_same(fnp.bitwise_xor.accumulate(x, 1), np.bitwise_xor.accumulate(x, 1))
    assert_same(fnp.hypot.reduceat(x * 1.0, [0, 2], 1), np.hypot.reduceat(x * 1.0, [0, 2], 1))
    with pytest.raises(OperandTypeError, match=r"subtract.reduce is not written for traced values"):
        staged(lambda a: fnp.subtract.reduce(a), x)


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("indices", [[0], [0, 2, 1], [3, 1, 3, 0], [2, 2]])
def test_reduceat(name, indices):
    f, ufunc = getattr(fnp, name), getattr(np, name)
    for dtype in ("int32", "float64"):
        for axis, shape in ((0, (4,)), (1, (2, 4)), (0, (4, 2)), (-1, (2, 4))):
            x = example(dtype, shape)
            want = ufunc.reduceat(x, indices, axis)
            assert_same(f.reduceat(x, indices, axis), want)
            assert_same(staged(lambda a, axis=axis: f.reduceat(a, indices, axis), x), want)
            assert_same(staged(lambda a, axis=axis: ufunc.reduceat(a, indices, axis), x), want)


def test_reduceat_of_no_indices_and_of_wrong_ones():
    x = example("float64", (4, 2))
    want = np.add.reduceat(x, np.array([], int))
    assert_same(staged(lambda a: fnp.add.reduceat(a, np.array([], int)), x), want)
    with pytest.raises(IndexError, match="from 0 to 3"):
        staged(lambda a: fnp.add.reduceat(a, [4]), x)
    with pytest.raises(ConcretizationError, match="add.reduceat"):
        fg.jit(lambda a, i: fnp.add.reduceat(a, i))(x, np.array([1]))
    check_grads(lambda a: fnp.multiply.reduceat(a, [0, 2, 1]), (x,), order=2)


def test_outer_takes_the_arguments_of_the_call():
    x, y = np.array([1.0, 2.0]), np.array([1.0, 0.0])
    want = np.array([[1, 0], [2, 0]], np.float32)
    assert_same(fnp.divide.outer(x, y, where=y != 0, dtype=np.float32), want)
    assert_same(staged(lambda a, b: np.divide.outer(a, b, where=b != 0, dtype=np.float32), x, y), want)


@pytest.mark.parametrize("name, instead", [
    ("add", r"x = x.at\[i\].add\(v\)"), ("maximum", r"x = x.at\[i\].max\(v\)"), ("sin", r"x = x.at\[i\].set\(sin\("),
])  # fmt: skip
def test_at_says_what_to_write(name, instead):
    with pytest.raises(InPlaceError, match=instead):
        staged(lambda a: getattr(np, name).at(a, [0], *[1.0] * (name != "sin")), np.ones(3))
    with pytest.raises(InPlaceError, match=instead):
        getattr(fnp, name).at(np.ones(3), [0])
