"""Shapes, joining, padding, sorting and calculus along an axis, against NumPy: staged and eager."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_calls import both
from numpy_oracle import assert_same, staged

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.core.errors import OperandError
from funcgrad.testing import check_grads

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4, 5))
M, V = X[0], X[0, 0]
ONES = RNG.normal(size=(3, 1, 5, 1))
INTS = RNG.integers(-9, 9, (4, 5))


def joined(name, arrays, **keywords):
    """Compare a function of a list of arrays, all of them traced and then all but the first."""
    reference, function = getattr(np, name), getattr(fnp, name)
    want = reference(arrays, **keywords)
    assert_same(staged(lambda *a: function(list(a), **keywords), *arrays), want)
    assert_same(staged(lambda *a: function([arrays[0], *a], **keywords), *arrays[1:]), want)
    assert_same(function(arrays, **keywords), want)


# Shape and axes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(12, 5), -1, (-1, 5), (2, -1, 3), [60]])
@pytest.mark.parametrize("order", ["C", "F"])
def test_reshape(shape, order):
    both("reshape", X, shape, order)
    both("ravel", X, order)


def test_axes():
    both("transpose", X)
    both("transpose", X, (2, 0, 1))
    both("permute_dims", X, (-1, 0, 1))
    both("matrix_transpose", X)
    both("swapaxes", X, 0, -1)
    both("moveaxis", X, 0, -1)
    both("moveaxis", X, (0, 1), (-1, 0))
    for axis in range(-3, 3):
        for start in range(-3, 4):
            both("rollaxis", X, axis, start)
    for offset in range(-5, 6):
        both("diagonal", X, offset)
        both("diagonal", X, offset, 2, 0)


def test_axes_of_size_one():
    both("squeeze", ONES)
    both("squeeze", ONES, 1)
    both("squeeze", ONES, (1, -1))
    both("expand_dims", X, 0)
    both("expand_dims", X, (0, -1))
    for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
        for x in (np.array(1.0), V, M, X):
            both(name, x)
    both("atleast_2d", V, M)


def test_broadcasting():
    both("broadcast_to", V, (2, 5))
    both("broadcast_arrays", M, V, 1.0)
    assert fnp.broadcast_shapes((3, 1), 4, (2, 1, 1)) == (2, 3, 4)


def test_order():
    for axis in (None, 0, (0, 2), -1):
        both("flip", X, axis)
    both("fliplr", X)
    both("flipud", X)
    for k in range(-1, 5):
        both("rot90", X, k)
        both("rot90", X, k, (2, 0))
    for shift, axis in ((1, None), (-2, 1), ((1, 2), (0, 1)), ((1, 2), 0), (2, (0, 1)), (7, 2)):
        both("roll", X, shift, axis)
    assert_same(staged(lambda x, s: fnp.roll(x, s, 1), X, np.int64(-6)), np.roll(X, -6, 1))
    both("ix_", np.array([1, 2]), np.array([0, 1, 2]))


def test_results_are_never_read_only_views():
    x = np.arange(4.0).reshape(2, 2)
    for y in (fnp.broadcast_to(x, (3, 2, 2)), fnp.diagonal(x), *fnp.broadcast_arrays(x, np.ones((3, 1, 1)))):
        y += 1
    np.testing.assert_array_equal(x, np.arange(4.0).reshape(2, 2))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_reshape_and_transpose_of_any_array(data):
    shape = tuple(data.draw(st.lists(st.integers(0, 4), max_size=4)))
    x = np.arange(float(np.prod(shape))).reshape(shape)
    both("transpose", x, tuple(data.draw(st.permutations(range(x.ndim)))))
    both("reshape", x, tuple(data.draw(st.permutations(shape))), data.draw(st.sampled_from("CF")))


# Joining, splitting, repeating ----------------------------------------------------------------------------------------


def test_joining():
    for axis in (0, 1, -1):
        joined("concatenate", [X, X.astype("f4"), X], axis=axis)
        joined("concat", [X, X], axis=axis)
        joined("stack", [M, M], axis=axis)
    joined("concatenate", [X, V], axis=None)
    joined("concatenate", [V.astype("f4"), np.arange(3)])
    joined("concatenate", [V, V], dtype="f4")
    for name in ("vstack", "hstack", "dstack", "column_stack"):
        joined(name, [V, V])
        joined(name, [M, M])
    joined("hstack", [np.array(1.0), V])
    for name in ("concatenate", "stack", "vstack"):
        both(name, X)
    both("append", M, V)
    both("append", M, M, 0)
    for nested in (lambda a, b: [[a, b], [b, a]], lambda a, b: [a, 1.0 + 0 * b], lambda a, b: a):
        want = np.block(nested(M, M))
        assert_same(staged(lambda a, b, nested=nested: fnp.block(nested(a, b)), M, M), want)


def test_splitting():
    for sections in (3, [1, 3], [3, 1], [1, 9], [-2]):
        both("array_split", M, sections)
        both("array_split", M, sections, 1)
    both("split", M, 2)
    both("split", M, [1, 2], 1)
    both("hsplit", M, 5)
    both("hsplit", V, [2])
    both("vsplit", M, 2)
    both("dsplit", X, 5)
    both("unstack", X)
    both("unstack", X, axis=1)


def test_repeating():
    for reps in (2, (2, 1, 3), (2, 2), (0, 1)):
        both("tile", M, reps)
        both("tile", X, reps)
    both("repeat", X, 2, 1)
    both("repeat", X, 3)
    for counts in ([1, 0, 2, 3], [2], 0):
        both("repeat", M, counts, 0)
    counts = np.array([1, 0, 2, 3])
    got = staged(lambda m, c: fnp.repeat(m, c, 0, total_repeat_length=6), M, counts)
    assert_same(got, np.repeat(M, counts, 0))
    longer = staged(lambda m, c: fnp.repeat(m, c, 0, total_repeat_length=8), M, counts)
    assert_same(longer, np.concatenate([np.repeat(M, counts, 0), M[[-1, -1]]]))
    for shape in ((3, 11), (2, 3), 5):
        both("resize", M, shape)


def test_inserting_and_deleting():
    for index in (1, -1, [0, 2], slice(0, None, 2)):
        both("delete", M, index, 0)
        both("insert", M, index, 9.0, 0)
        both("insert", M, index, V, 0)
    both("delete", M, [True, False, True, False], 0)
    both("delete", M, [0, 3])
    both("insert", M, 1, np.arange(4.0), 1)
    both("insert", M, [1], np.arange(4.0)[:, None], 1)
    both("insert", M, [1, 2, 2], 7.0, None)
    both("insert", M, 2, np.arange(8.0).reshape(2, 4), 1)


# Padding --------------------------------------------------------------------------------------------------------------

MODES = ["constant", "edge", "reflect", "symmetric", "wrap", "linear_ramp", "mean", "maximum", "minimum", "median"]


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
@pytest.mark.parametrize("width", [2, (1, 2), ((1, 2), (3, 0)), ((0, 0), (0, 1)), ((5, 6), (7, 9))], ids=str)
def test_pad(dtype, width):
    x = (INTS if dtype == "int64" else M).astype(dtype)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for mode in MODES:
        both("pad", x, width, mode, tolerance=tolerance)
    for mode in ("reflect", "symmetric"):
        both("pad", x, width, mode, reflect_type="odd", tolerance=tolerance)
    for mode in ("mean", "maximum", "median"):
        both("pad", x, width, mode, stat_length=((1, 2), (3, 2)), tolerance=tolerance)
    both("pad", x, width, constant_values=((1, 2), (3, 4)))
    both("pad", x, width, constant_values=5)
    both("pad", x, width, "linear_ramp", end_values=((1, 2), (3, 4)), tolerance=tolerance)


def test_pad_by_a_traced_value():
    got = staged(lambda x, c: fnp.pad(x, 1, constant_values=c), M, np.float64(3))
    assert_same(got, np.pad(M, 1, constant_values=3))


# Sorting --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, "quicksort", "heapsort", "stable"])
def test_a_sort_and_its_derivative_are_in_one_order(kind):
    """With ties too, of which an order that is not stable may have any: values and tangents come from one element."""
    x = RNG.integers(0, 5, (2, 300)).astype(float)
    places = np.broadcast_to(np.arange(300.0), x.shape)
    for wrap in (lambda f: f, fg.jit, fg.vmap):
        order = wrap(lambda x: fnp.argsort(x, kind=kind))(x)
        assert_same(np.take_along_axis(x, order, -1), np.sort(x))
        y, t = wrap(lambda x, t: fg.jvp(lambda x: fnp.sort(x, kind=kind), (x,), (t,)))(x, places)
        assert_same(y, np.sort(x))
        assert_same(np.take_along_axis(x, t.astype(int), -1), y)
        assert_same(np.sort(t), places.copy())
        ct = wrap(lambda x, t: fg.vjp(lambda x: fnp.sort(x, kind=kind), x)[1](t)[0])(x, places)
        assert_same(ct, np.argsort(t).astype(float))
        if kind == "stable":
            assert_same(t.astype(int), np.argsort(x, kind="stable"))


def test_the_order_of_equal_elements_is_kept_where_that_is_asked_for():
    x = np.zeros(1000)
    asked = {"stable": True}, {"kind": "stable"}, {"kind": "mergesort"}
    assert not fg.make_jaxpr(fnp.argsort)(x).eqns[0].params["stable"]
    for how in asked:
        (eqn,) = fg.make_jaxpr(partial(fnp.argsort, **how))(x).eqns
        assert eqn.params["stable"]
    with pytest.raises(ValueError, match="sort kind must be one of"):
        fg.jit(lambda x: fnp.sort(x, kind="bubble"))(x)
    with pytest.raises(ValueError, match="can't be provided at the same time"):
        fg.jit(lambda x: fnp.sort(x, kind="stable", stable=True))(x)


def test_sorting():
    for axis in (0, 1, -1, None):
        both("sort", X, axis)
        both("argsort", X, axis)
    many = RNG.integers(0, 5, 40)
    both("sort", many)
    for asked in ({"stable": True}, {"kind": "stable"}, {"kind": "mergesort"}, {"kind": "S"}):
        both("sort", many, **asked)
        both("argsort", many, **asked)
    assert_same(staged(lambda x: fnp.partition(x, 2), X), np.sort(X))
    assert_same(fnp.partition(X, 2), np.sort(X))
    assert_same(fnp.argpartition(X, 2, 0), np.argsort(X, 0, stable=True))
    both("lexsort", RNG.integers(0, 3, (3, 20)))
    both("lexsort", RNG.integers(0, 3, (3, 4, 5)), 0)
    both("sort_complex", V + 1j * V)
    both("isin", INTS, np.array([1, 7, 3]))
    both("isin", INTS, np.array([1, 7, 3]), invert=True)
    both("isin", V, np.zeros(0))


@pytest.mark.parametrize("x", [INTS % 5, V, np.array([1.0, np.nan, 1.0, np.nan, 0.0])], ids=["ints", "floats", "nans"])
def test_unique_of_a_size(x):
    values, index, inverse, counts = np.unique(x, True, True, True)
    k = len(values)
    for run in (staged, lambda f, x: f(x)):
        assert_same(run(lambda x: fnp.unique(x, True, True, True, size=k), x), (values, index, inverse, counts))
        more = run(lambda x: fnp.unique(x, False, False, True, size=k + 2), x)
        assert_same(more, (np.concatenate([values, values[[0, 0]]]), np.concatenate([counts, [0, 0]])))
        assert_same(run(lambda x: fnp.unique(x, return_counts=True, size=2), x), (values[:2], counts[:2]))
        filled = run(lambda x: fnp.unique(x, size=k + 1, fill_value=7), x)
        assert_same(filled, np.append(values, np.array(7, x.dtype)))
    for name in ("values", "counts", "inverse", "all"):
        got, want = getattr(fnp, f"unique_{name}")(x), getattr(np, f"unique_{name}")(x)
        # NumPy leaves the order of unique_values open; here they ascend.
        assert_same(*((tuple(got), tuple(want)) if isinstance(got, tuple) else (got, np.sort(want))))


# Calculus -------------------------------------------------------------------------------------------------------------


def test_differences():
    for n in (0, 1, 2, 3):
        both("diff", M, n)
        both("diff", M, n, 0)
    both("diff", M > 0)
    both("diff", M, prepend=0, append=M)
    both("diff", INTS, axis=0, append=1)
    both("diff", np.zeros(1))
    both("ediff1d", M)
    both("ediff1d", M, [1.0, 2.0], 0.0)
    both("ediff1d", INTS, to_begin=3)


def test_gradient():
    at = np.array([0.0, 1, 3, 4, 7])
    both("gradient", M)
    both("gradient", M, 2.0)
    both("gradient", M, 2.0, at)
    both("gradient", M, axis=0, edge_order=2)
    both("gradient", M, at, axis=1, edge_order=2)
    both("gradient", INTS, 0.5)
    both("gradient", V[:2], at[:2])
    both("gradient", V[:3], edge_order=2)
    both("gradient", M.astype("f4"), 0.5, tolerance=1e-5)


def test_integrals_and_angles():
    at = np.array([0.0, 1, 3, 4, 7])
    both("trapezoid", M)
    both("trapezoid", M, dx=0.1, axis=0)
    both("trapezoid", M, at)
    both("trapezoid", M, at[:4], axis=0)
    both("trapezoid", M, M, axis=0)
    both("trapezoid", INTS)
    both("unwrap", np.cumsum(RNG.normal(size=20) * 3) % (2 * np.pi))
    both("unwrap", RNG.integers(0, 12, 20), period=12)
    both("unwrap", RNG.integers(0, 11, (4, 5)), axis=0, period=11)
    both("unwrap", RNG.normal(size=20) * 9, discont=5.0)


def test_interp():
    xp = np.sort(RNG.normal(size=7))
    x = np.concatenate([RNG.normal(size=20) * 2, xp, [np.nan]])
    fp = RNG.normal(size=7)
    both("interp", x, xp, fp)
    both("interp", x, xp, fp, left=-1.0, right=2)
    both("interp", x, xp, fp + 1j)
    both("interp", x, np.arange(7), fp, period=3.3)
    both("interp", x, xp[:1], fp[:1])
    both("interp", x, np.array([0.0, 1, 1, 2]), fp[:4])
    check_grads(lambda x, xp, fp: fnp.interp(x, xp, fp), (np.array([-3.0, 0.1, 0.4]), xp, fp), order=2)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolution_of_vectors(mode):
    for n in range(1, 6):
        for m in range(1, 6):
            x, y = RNG.normal(size=n), RNG.normal(size=m)
            both("convolve", x, y, mode)
            both("correlate", x + 1j, y + 2j * y, mode)
            both("convolve", RNG.integers(0, 9, n), RNG.integers(0, 9, m), mode)


# Laws and errors ------------------------------------------------------------------------------------------------------

FUNCTIONS = {
    "reshape": lambda x: fnp.reshape(x, (4, -1), "F"),
    "roll": lambda x: fnp.roll(x, 2, 0),
    "concatenate": lambda x: fnp.concatenate([x, x * 2], 1),
    "tile": lambda x: fnp.tile(x, (2, 1)),
    "repeat": lambda x: fnp.repeat(x, 2, 0),
    "diagonal": lambda x: fnp.diagonal(x, 1),
    "sort": lambda x: fnp.sort(x, 0),
    "insert": lambda x: fnp.insert(x, 1, 2.0, 1),
    "delete": lambda x: fnp.delete(x, 1, 1),
    "reflect": lambda x: fnp.pad(x, 2, "reflect"),
    "odd": lambda x: fnp.pad(x, 2, "symmetric", reflect_type="odd"),
    "linear_ramp": lambda x: fnp.pad(x, 2, "linear_ramp"),
    "mean": lambda x: fnp.pad(x, 2, "mean"),
    "gradient": lambda x: fnp.gradient(x, axis=0),
    "trapezoid": lambda x: fnp.trapezoid(x),
    "convolve": lambda x: fnp.convolve(fnp.ravel(x), fnp.ravel(x)[:3]),
    "unique": lambda x: fnp.unique(x, size=20),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_and_transforms(name):
    function = FUNCTIONS[name]
    check_grads(function, (M,), order=2)
    assert_same(fg.jit(function)(M), function(M), 1e-12)
    assert_same(fg.vmap(function)(X), np.stack([function(x) for x in X]), 1e-12)


def test_errors_quote_the_shapes():
    for text, function in [
        (r"size 60 and shape \(3, 4, 5\) into shape \(7,\)", lambda x: fnp.reshape(x, 7)),
        (r"\(3, 4, 5\), \(4, 5\) must be equal", lambda x: fnp.concatenate([x, M])),
        (r"not \(3, 4, 5\), \(4, 5\)", lambda x: fnp.stack([x, M])),
        (r"0 of \(3, 4, 5\)", lambda x: fnp.squeeze(x, 0)),
        ("3 elements along axis 0 into 2 parts", lambda x: fnp.split(x, 2)),
        (r"\(3, 4, 5\) does not broadcast to the shape \(3, 5\)", lambda x: fnp.broadcast_to(x, (3, 5))),
        (r"\(0, 0, 1\) don't match the array of shape \(3, 4, 5\)", lambda x: fnp.transpose(x, (0, 0, 1))),
    ]:
        with pytest.raises(OperandError, match=text):
            staged(function, X)
    with pytest.raises(np.exceptions.AxisError):
        staged(lambda x: fnp.swapaxes(x, 0, 5), X)


# Functions of functions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_apply_along_an_axis(axis):
    for name in ("sum", "sort", "diff"):
        want = np.apply_along_axis(getattr(np, name), axis, X)
        assert_same(fg.jit(lambda x, n=name: fnp.apply_along_axis(getattr(fnp, n), axis, x))(X), want, 1e-12)
        assert_same(fnp.apply_along_axis(getattr(np, name), axis, X), want)
    want = np.apply_along_axis(lambda x: np.outer(x, x[:2]), axis, X)
    assert_same(fg.jit(lambda x: fnp.apply_along_axis(lambda v: fnp.outer(v, v[:2]), axis, x))(X), want)
    assert_same(
        fg.jit(lambda x: fnp.apply_over_axes(fnp.sum, x, (0, 2)))(X), np.apply_over_axes(np.sum, X, (0, 2)), 1e-12
    )


def test_piecewise():
    cases = [lambda x: -x, lambda x: x * 2, 7]
    want = np.piecewise(X, [X < 0, X > 1], cases)
    assert_same(fg.jit(lambda x: fnp.piecewise(x, [x < 0, x > 1], cases))(X), want)
    assert_same(fg.jit(lambda x: fnp.piecewise(x, x < 0, cases[:1]))(V), np.piecewise(V, V < 0, cases[:1]))


def test_vectorize():
    a, b = np.ones((4, 1, 3)), np.ones((2, 3))
    assert_same(
        fnp.vectorize(fnp.dot, signature="(n),(n)->()")(a, b), np.vectorize(np.dot, signature="(n),(n)->()")(a, b)
    )
    assert_same(fnp.vectorize(lambda a, b: fnp.where(a > b, a, -b))(X, X[:, :1]), np.where(X[:, :1] < X, X, -X[:, :1]))
    assert_same(fnp.vectorize(lambda a, b: a @ b, signature="(m,n),(n)->(m)")(X, V), X @ V, 1e-12)
    both_results = fg.jit(fnp.vectorize(lambda a: (a, a.sum()), signature="(n)->(n),()"))(X)
    assert_same(both_results, (X, X.sum(-1)), 1e-12)
    assert_same(fnp.vectorize(lambda a, k: a**k, excluded={1})(X, 2), X**2)
    assert_same(fg.grad(lambda x: fnp.vectorize(fnp.sin)(x).sum())(X), np.cos(X), 1e-12)
    with pytest.raises(OperandError, match="'n' of .* has the sizes 5 and 2"):
        fnp.vectorize(fnp.dot, signature="(n),(n)->()")(X, X[..., :2])
    with pytest.raises(OperandError, match="results with 1 axes"):
        fnp.vectorize(fnp.sin, signature="(n)->()")(X)
