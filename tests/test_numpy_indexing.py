"""Indexing against NumPy: random indices read and written, staged and eager; the functions that look up and count."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy_calls import both
from numpy_oracle import ALL, against, assert_same, staged

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.core.errors import ConcretizationError, OperandError, OperandTypeError
from funcgrad.core.trace import stage
from funcgrad.core.types import aval_of
from funcgrad.numpy._subscript import getitem
from funcgrad.testing import check_grads

MANY = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
UFUNCS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
}


@st.composite
def array_and_index(draw):
    """An array and an index of everything that NumPy takes: most fit, some do not."""
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    x = np.arange(float(np.prod(shape))).reshape(shape)
    index_shape = draw(st.sampled_from([(), (1,), (3,), (2, 3), (0,)]))
    items, axis, dots = [], 0, False
    while len(items) < 7:
        kinds = ["stop", "newaxis", *([] if dots else ["ellipsis"])]
        if draw(st.integers(0, 5)) == 0:
            kinds.append("scalar mask")
        if axis < len(shape):
            kinds += ["int", "slice", "slice", "array", "array", "list", "mask"]
        kind = draw(st.sampled_from(kinds))
        n = (min(shape) if dots else shape[axis]) if axis < len(shape) else 0
        if kind == "stop":
            break
        if kind == "newaxis":
            items.append(None)
        elif kind == "ellipsis":
            items.append(Ellipsis)
            dots = True
        elif kind == "scalar mask":
            items.append(draw(st.booleans()))
        elif kind == "slice":
            bound = st.one_of(st.none(), st.integers(-6, 6))
            items.append(slice(draw(bound), draw(bound), draw(st.sampled_from([None, 1, 2, -1, -2, 3]))))
            axis += 1
        elif kind == "mask" and not dots:
            k = draw(st.integers(1, min(2, len(shape) - axis)))
            items.append(draw(hnp.arrays(bool, shape[axis : axis + k])))
            axis += k
        elif kind == "int" and n:
            items.append(draw(st.integers(-n, n - 1)))
            axis += 1
        elif kind in ("array", "list") and n:
            size = draw(st.sampled_from([index_shape, index_shape[1:], (1,) * len(index_shape)]))
            dtype = draw(st.sampled_from(["int64", "int32", "int8"]))
            array = draw(hnp.arrays(dtype, size, elements=st.integers(-n, n - 1)))
            items.append(array.tolist() if kind == "list" and array.ndim and array.size else array)
            axis += 1
    return x, tuple(items)


@MANY
@given(array_and_index())
def test_reading(case):
    x, index = case
    try:
        want = x[index]
    except IndexError:
        with pytest.raises(IndexError):
            staged(lambda x: x[index], x)
        return
    assert_same(staged(lambda x: x[index], x), np.asarray(want))
    assert_same(getitem(x, index), want)


@MANY
@given(array_and_index())
def test_reading_at_traced_indices(case):
    x, index = case
    try:
        want = x[index]
    except IndexError:
        return
    places = [i for i, e in enumerate(index) if type(e) is int or (isinstance(e, np.ndarray) and e.dtype != bool)]

    def read(x, *traced):
        items = list(index)
        for i, e in zip(places, traced):
            items[i] = e
        return x[tuple(items)]

    assert_same(staged(read, x, *(np.asarray(index[i]) for i in places)), np.asarray(want))


@MANY
@given(array_and_index(), st.sampled_from(["set", *UFUNCS]), st.booleans())
def test_updating(case, name, scalar):
    x, index = case
    try:
        part = x[index]
    except IndexError:
        return
    values = np.float64(2.5) if scalar else np.random.default_rng(0).normal(size=part.shape)
    want, before = x.copy(), x.copy()
    if name == "set":
        want[index] = values
    else:
        UFUNCS[name].at(want, index, values)
    assert_same(getattr(fg.at(x)[index], name)(values), want, 1e-12)
    assert_same(staged(lambda x, v: getattr(x.at[index], name)(v), x, values), want, 1e-12)
    np.testing.assert_array_equal(x, before)


def equations(function, *args):
    jaxpr = stage(lambda *a: [function(*a)], [aval_of(a) for a in args])
    return [e.primitive.name for e in jaxpr.eqns]


@pytest.mark.parametrize(
    ("index", "names"),
    [
        (slice(None), []),
        (Ellipsis, []),
        ((slice(0, 3), slice(None)), []),
        (0, ["slice", "reshape"]),
        (slice(1, None), ["slice"]),
        (slice(None, None, -1), ["rev"]),
        (None, ["reshape"]),
        ([0, 2], ["gather"]),
        ((slice(None), 1), ["slice", "reshape"]),
    ],
)
def test_static_indices_are_few_equations(index, names):
    assert equations(lambda x: x[index], np.ones((3, 4))) == names


def test_a_traced_scalar_is_one_gather():
    assert equations(lambda x, i: x[i], np.ones((3, 4)), np.int64(1)) == ["gather"]


def test_an_update_of_all_is_the_value():
    assert equations(lambda x, v: x.at[:].set(v), np.ones(3), np.ones(3)) == []


class TestModes:
    x = np.arange(12.0).reshape(3, 4)
    index = np.array([1, 7, -1, -9])

    def both(self, function):
        got = staged(function, self.x, self.index)
        assert_same(function(fg_array(self.x), self.index), got)
        return got

    def test_get(self):
        filled = self.both(lambda x, i: x.at[i].get(mode="fill", fill_value=-1))
        np.testing.assert_array_equal(filled, [self.x[1], [-1] * 4, self.x[2], [-1] * 4])
        assert np.isnan(self.both(lambda x, i: x.at[i].get(mode="fill")))[1].all()
        np.testing.assert_array_equal(self.both(lambda x, i: x.at[i].get(mode="clip")), self.x[[1, 2, 2, 0]])
        np.testing.assert_array_equal(self.both(lambda x, i: x.at[i].get(mode="wrap")), self.x[[1, 1, 2, 0]])
        with pytest.raises(IndexError):
            staged(lambda x, i: x.at[i].get(), self.x, self.index)

    def test_updates(self):
        want = self.x.copy()
        want[[1, 2]] = 5.0
        np.testing.assert_array_equal(self.both(lambda x, i: x.at[i].set(5.0, mode="drop")), want)
        want = self.x.copy()
        want[[1, 2]] += 5.0
        np.testing.assert_array_equal(self.both(lambda x, i: x.at[i].add(5.0, mode="drop")), want)
        want = self.x.copy()
        np.add.at(want, [1, 2, 2, 0], 5.0)
        np.testing.assert_array_equal(self.both(lambda x, i: x.at[i].add(5.0, mode="clip")), want)
        with pytest.raises(IndexError):
            staged(lambda x, i: x.at[i].add(5.0), self.x, self.index)

    def test_static_indices(self):
        np.testing.assert_array_equal(staged(lambda x: x.at[7].get(mode="clip"), self.x), self.x[2])
        np.testing.assert_array_equal(staged(lambda x: x.at[7, 1].set(9.0, mode="drop"), self.x), self.x)
        np.testing.assert_array_equal(staged(lambda x: x.at[7].get(mode="fill", fill_value=0), self.x), np.zeros(4))
        np.testing.assert_array_equal(fg.at(self.x)[7].get(mode="wrap"), self.x[1])

    def test_integers_have_a_default_fill_value(self):
        x = np.arange(3, dtype=np.int16)
        assert fg.at(x)[5].get(mode="fill") == np.iinfo(np.int16).min
        assert fg.at(x.astype(np.uint8))[5].get(mode="fill") == 255

    def test_an_unknown_mode(self):
        with pytest.raises(ValueError, match="'raise', 'clip'"):
            fg.at(self.x)[0].get(mode="nearest")


class fg_array:
    """A plain array with the attribute ``at``, so that one function serves both."""

    def __init__(self, x):
        self.at = fg.at(x)


@pytest.mark.parametrize("index", [1, slice(0, 2), [0, 2], [0, 0]])
def test_division_power_and_functions(index):
    x = np.arange(1.0, 13.0).reshape(3, 4)
    for name, ufunc in (("divide", np.divide), ("power", np.power)):
        want = x.copy()
        ufunc.at(want, index, 2.0)
        assert_same(getattr(fg.at(x)[index], name)(2.0), want)
        assert_same(staged(lambda x, n=name: getattr(x.at[index], n)(2.0), x), want)
    want = x.copy()
    want[index] = np.sin(x[index])
    assert_same(fg.at(x)[index].apply(np.sin), want)
    assert_same(staged(lambda x: x.at[index].apply(fnp.sin), x), want)


def test_the_last_of_equal_places_wins():
    x, i, v = np.zeros(3), np.array([1, 1, 1]), np.array([1.0, 2.0, 3.0])
    assert_same(staged(lambda x, i, v: x.at[i].set(v), x, i, v), np.array([0.0, 3.0, 0.0]))


def test_updates_keep_the_dtype():
    x = np.arange(3, dtype=np.float32)
    assert fg.at(x)[0].set(np.float64(2)).dtype == np.float32
    assert staged(lambda x: x.at[0].add(np.arange(1)[0]), x).dtype == np.float32
    for refused in (1.5, np.float32(1), 1j):
        with pytest.raises(OperandTypeError, match="does not fit into an array of dtype i64"):
            fg.at(np.arange(3))[0].set(refused)
        with pytest.raises(OperandTypeError, match="does not fit"):
            staged(lambda x, v=refused: x.at[0].set(v), np.arange(3))
    with pytest.raises(OperandTypeError, match="divide"):
        fg.at(np.arange(3))[0].divide(2)


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("name", ["set", "add", "subtract", "multiply", "divide", "power", "min", "max"])
def test_updates_of_every_dtype_are_those_of_numpy(dtype, name):
    x, v = np.array([[1, 2, 3], [4, 5, 6]]).astype(dtype), np.array([1, 2, 3]).astype(dtype)
    pairs = (np.array([0, 1]), np.array([2, 2]))
    for index, values in ((0, v), (slice(0, 2), v), (np.array([0, 1, 1]), v), (pairs, v[:2])):
        against(
            lambda x, v, i=index: getattr((fg.at(x) if isinstance(x, np.ndarray) else x.at)[i], name)(v),
            lambda x, v, i=index: getattr(fg.at(x)[i], name)(v),
            x,
            values,
        )


def test_a_traced_mask_updates_by_values_that_do_not_depend_on_it():
    x = np.random.default_rng(0).normal(size=(3, 4))
    want = x.copy()
    want[x > 0] = 0.0
    assert_same(staged(lambda x: x.at[x > 0].set(0.0), x), want)
    want = x.copy()
    want[x[:, 0] > 0] *= np.arange(4.0)
    assert_same(staged(lambda x: x.at[x[:, 0] > 0].multiply(np.arange(4.0)), x), want)
    with pytest.raises(ConcretizationError, match="mask"):
        staged(lambda x: x.at[x[:, 0] > 0].set(x), x)


# Errors ---------------------------------------------------------------------------------------------------------------


def test_errors_have_the_words_of_numpy_and_the_line_of_the_user():
    x = np.ones((3, 4))
    for index, text in [
        (7, "index 7 is out of bounds for axis 0 with size 3"),
        ((0, -5), "index -5 is out of bounds for axis 1 with size 4"),
        ([[0, 9]], "index 9 is out of bounds for axis 0 with size 3"),
        ((0, 0, 0), "too many indices for array: array is 2-dimensional, but 3 were indexed"),
        ((..., 0, ...), "an index can only have a single ellipsis"),
        (1.0, "only integers, slices"),
        ("a", "only integers, slices"),
        ([1.0], "arrays used as indices must be of integer"),
        (([0, 1], [0, 1, 2]), "could not be broadcast together with shapes"),
        (np.ones(4, bool), "boolean index did not match indexed array along axis 0"),
    ]:
        with pytest.raises(IndexError, match="at .*test_numpy_indexing.py") as caught:
            staged(lambda x, i=index: x[i], x)
        assert text in str(caught.value)
        with pytest.raises(IndexError):
            x[index]


def test_what_must_be_concrete():
    x = np.ones((3, 4))
    with pytest.raises(ConcretizationError, match=r"fnp.where\(mask, x, 0\).*size="):
        staged(lambda x: x[x > 0], x)
    with pytest.raises(ConcretizationError, match="dynamic_slice"):
        staged(lambda x, i: x[i : i + 1], x, np.int64(1))
    with pytest.raises(ConcretizationError, match="size=n"):
        staged(lambda x: fnp.nonzero(x), x)
    with pytest.raises(ConcretizationError, match="length=n"):
        staged(fnp.bincount, np.arange(3))


def test_a_traced_index_out_of_range_raises_when_it_runs():
    with pytest.raises(IndexError):
        staged(lambda x, i: x[i], np.ones(3), np.array([0, 3]))


def test_values_that_do_not_broadcast():
    with pytest.raises(OperandError, match=r"\(5,\) do not broadcast to the shape \(2,\)"):
        staged(lambda x, v: x.at[:2].set(v), np.ones(3), np.ones(5))


# Functions ------------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4, 5))


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_take(axis):
    for index in (1, [0, 2], np.array([[0, 1], [2, -1]])):
        both("take", X, index, axis)
        both("take", X, np.asarray(index), axis)
    for mode in ("wrap", "clip"):
        both("take", X, np.array([7, -9, -1]), axis, mode=mode)
    with pytest.raises(IndexError):
        staged(lambda x, i: fnp.take(x, i, axis), X, np.array([99]))


def test_along_an_axis():
    order = np.argsort(X, 1)
    for x, i in [(X, order), (X, order[:1, :2, :1]), (X[:1, :, :1], order)]:
        against(lambda x, i: fnp.take_along_axis(x, i, 1), lambda x, i: np.take_along_axis(x, i, 1), x, i)
    against(lambda x, i: fnp.take_along_axis(x, i), lambda x, i: np.take_along_axis(x, i, -1), X, order % 4)
    against(
        lambda x, i: fnp.take_along_axis(x, i, None), lambda x, i: np.take_along_axis(x, i, None), X, order[0, :, 0]
    )
    want = X.copy()
    np.put_along_axis(want, order[:, :1], 7.0, 1)
    assert_same(fnp.put_along_axis(X, order[:, :1], 7.0, 1), want)
    assert_same(staged(lambda x, i: fnp.put_along_axis(x, i, 7.0, 1), X, order[:, :1]), want)


@pytest.mark.parametrize("size", [3, 12, 100])
def test_nonzero_of_a_size(size):
    mask = np.arange(60).reshape(3, 4, 5) % 5 == 0
    cut = [np.concatenate([i[:size], np.full(max(0, size - len(i)), -1)]) for i in np.nonzero(mask)]
    for run in (staged, lambda f, x: f(x)):
        assert_same(run(lambda m: fnp.nonzero(m, size=size, fill_value=-1), mask), tuple(cut))
        assert_same(run(lambda m: fnp.argwhere(m, size=size, fill_value=-1), mask), np.stack(cut, 1))
    flat = np.flatnonzero(mask)[:size]
    got = staged(lambda m: fnp.flatnonzero(m, size=size), mask)
    assert_same(got, np.concatenate([flat, np.zeros(size - len(flat), int)]))


def test_flat_and_multiple_indices():
    flat = np.arange(60)
    for order in "CF":
        places = np.unravel_index(flat, (3, 4, 5), order)
        both("unravel_index", flat, (3, 4, 5), order)
        back = staged(lambda *i, o=order: fnp.ravel_multi_index(i, (3, 4, 5), order=o), *places)
        assert_same(back, flat)
    modes = ("clip", "wrap", "clip")
    far = [i + 3 for i in np.unravel_index(flat, (3, 4, 5))]
    want = np.ravel_multi_index(far, (3, 4, 5), mode=modes)
    assert_same(staged(lambda *i: fnp.ravel_multi_index(i, (3, 4, 5), mode=modes), *far), want)
    with pytest.raises(IndexError):
        staged(lambda i: fnp.unravel_index(i, (3, 4)), np.array([12]))


def test_bincount():
    values, weights = np.array([0, 3, 3, 1]), np.arange(4.0)
    assert_same(staged(lambda x: fnp.bincount(x, length=5), values), np.bincount(values, minlength=5))
    assert_same(staged(lambda x, w: fnp.bincount(x, w, length=4), values, weights), np.bincount(values, weights))
    assert_same(staged(lambda w: fnp.bincount(values, w, 7), weights), np.bincount(values, weights, 7))
    for bad in (values, -values):
        with pytest.raises(IndexError):
            staged(lambda x: fnp.bincount(x, length=3), bad)


@pytest.mark.parametrize("n", [0, 1, 5, 32, 33, 100])
@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(n, side):
    a = np.sort(RNG.normal(size=n).round(1))
    if n > 5:
        a[-2:] = np.nan
    v = RNG.normal(size=(20, 3)).round(1)
    v[0] = np.nan
    against(lambda a, v: fnp.searchsorted(a, v, side), lambda a, v: np.searchsorted(a, v, side), a, v)
    order = np.argsort(a[::-1])
    against(
        lambda a, v: fnp.searchsorted(a, v, side, order), lambda a, v: np.searchsorted(a, v, side, order), a[::-1], v
    )


def test_choices():
    which = np.array([[0, 1], [2, 0]])
    against(
        lambda c, y: fnp.choose(c, [y, 10, [1, 2]]), lambda c, y: np.choose(c, [y, 10, [1, 2]]), which, np.ones((2, 2))
    )
    for mode in ("wrap", "clip"):
        both("choose", which * 5 - 4, [7, 8, 9], mode=mode)

    def select(xp, x):
        return xp.select([x > 1, x > 0], [x, 1], -2)

    against(lambda x: select(fnp, x), lambda x: select(np, x), X)
    against(lambda x: select(fnp, x), lambda x: select(np, x), X.astype(np.float32))
    for bins in ([0.0, 1, 2], [2.0, 1, 0]):
        for right in (False, True):
            both("digitize", X, bins, right)
    both("compress", [0, 1, 1], X, 0)
    mask = X > 0.5
    against(lambda x: fnp.extract(mask, x), lambda x: np.extract(mask, x), X)


# Derivatives and mapping ----------------------------------------------------------------------------------------------

INDICES = [
    1,
    slice(1, None),
    (slice(None), -1),
    [0, 2, 0],
    ([0, 1], slice(None), [1, 1]),
    (slice(None, None, -2), None),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_derivatives(index):
    check_grads(lambda x: x[index], (X,), order=2)
    values = RNG.normal(size=X[index].shape)
    for name in ("set", "add", "multiply"):
        check_grads(lambda x, v, name=name: getattr(fg.at(x)[index], name)(v), (X, values), order=2)


def test_mapping_over_arrays_and_indices():
    i = np.array([2, 0, 1])
    assert_same(fg.vmap(lambda x, i: x[i])(X[:, :3], i), X[np.arange(3), i])
    assert_same(fg.vmap(lambda i: fg.at(X)[0, i].get())(i), X[0, i])
    want = X.copy()
    want[np.arange(3), i] = 0.0
    assert_same(fg.vmap(lambda x, i: x.at[i].set(0.0))(X, i), want)
    assert_same(fg.jit(fg.vmap(lambda x: x.at[x > 0].set(0.0)))(X), np.where(X > 0, 0.0, X))
