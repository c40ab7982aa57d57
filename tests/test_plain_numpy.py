"""Functions that know NumPy only are differentiated, compiled and mapped unchanged; what cannot work says what to write."""

import functools
import math
import operator

import numpy as np
import plain_numpy
import pytest
from plain_numpy import EXAMPLES

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.errors import ConcretizationError, FuncgradError, InPlaceError, MissingRuleError, TracerArrayError
from funcgrad.testing import check_grads

ALL = pytest.mark.parametrize("name", EXAMPLES)


def is_float(x):
    return np.asarray(x).dtype.kind == "f"


def assert_like(got, want, tol=1e-10):
    """The same structure, and in each leaf the same dtype and shape, and values within ``tol`` of the largest."""
    assert fg.tree.structure(got) == fg.tree.structure(want)
    for g, w in zip(fg.tree.leaves(got), fg.tree.leaves(want), strict=True):
        assert type(g) is type(w)
        g, w = np.asarray(g), np.asarray(w)
        assert (g.dtype, g.shape) == (w.dtype, w.shape)
        np.testing.assert_allclose(g, w, rtol=tol, atol=tol * max(1.0, np.max(np.abs(w), initial=0)))


def test_there_are_enough_and_they_know_numpy_only():
    assert len(EXAMPLES) >= 40
    modules = {m.__name__ for m in vars(plain_numpy).values() if type(m) is type(np)}
    assert modules == {"numpy"}


@ALL
def test_differentiated(name):
    """Forward and reverse mode, to second order."""
    f, args = EXAMPLES[name]
    check_grads(f, args, order=2, tol=2e-5)


@ALL
def test_jitted(name):
    f, args = EXAMPLES[name]
    assert_like(fg.jit(f)(*args), f(*args))


@ALL
def test_jitted_in_float32(name):
    """NumPy's promotion (NEP 50) also where the function mixes arguments with arrays and scalars of its own."""
    f, args = EXAMPLES[name]
    args = fg.tree.map(lambda x: x.astype(np.float32) if isinstance(x, np.ndarray) and is_float(x) else x, args)
    assert_like(fg.jit(f)(*args), f(*args), 1e-4)


@ALL
def test_vmapped(name):
    f, args = EXAMPLES[name]
    rows = fg.tree.map(lambda x: np.stack([x, 0.95 * x, 1.05 * x] if is_float(x) else [x] * 3), args)
    each = [f(*fg.tree.map(lambda x, i=i: x[i], rows)) for i in range(3)]
    assert_like(fg.vmap(f)(*rows), fg.tree.map(lambda *ys: np.stack(ys), *each))


@ALL
def test_gradient_of_jit_and_jit_of_gradient(name):
    f, args = EXAMPLES[name]
    floats = tuple(i for i, a in enumerate(args) if all(is_float(x) for x in fg.tree.leaves(a)))

    def total(*xs):
        return functools.reduce(operator.add, (np.sum(np.sin(y)) for y in fg.tree.leaves(f(*xs))))

    want = fg.grad(total, floats)(*args)
    for transformed in (fg.grad(fg.jit(total), floats), fg.jit(fg.grad(total, floats))):
        assert_like(transformed(*args), want, 1e-8)


def test_inputs_are_not_changed():
    for f, args in EXAMPLES.values():
        before = fg.tree.map(np.copy, args)
        fg.jit(f)(*args)
        fg.vmap(f, in_axes=None, axis_size=2)(*args)
        fg.tree.map(np.testing.assert_array_equal, args, before)


# What cannot work says what to write ----------------------------------------------------------------------------------

X = np.array([1.0, 2.0, 3.0])


def array_of_tracers(x):
    return np.array([x[0], x[1]])


def out_argument(x):
    y = np.empty(3)
    np.sin(x, out=y)
    return y


def out_of_a_reduction(x):
    y = np.empty(())
    np.sum(x, out=y)
    return y


def assignment_to_a_tracer(x):
    x[0] = 1.0
    return x


def assignment_into_an_array(x):
    a = np.ones(3)
    a[0] = x[0]
    return a


def filling_zeros(x):
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[i] = x[i] ** 2
    return y


def slice_of_zeros(x):
    y = np.zeros(5)
    y[1:4] = x
    return y


def in_place_operator(x):
    a = np.ones(3)
    a += x
    return a


def in_place_operator_on_an_argument(x):
    x += 1.0
    return x


def in_place_sort(x):
    x.sort()
    return x


def sort_to_out(x):
    return np.clip(x, 0, 1, out=np.empty(3))


def random_shuffle(x):
    np.copyto(np.empty(3), x)


def float_of(x):
    return float(x[0]) * x


def int_of(x):
    return int(x[0]) * x


def item_of(x):
    return x[0].item() * x


def range_of(x):
    return sum(x[i] for i in range(x.astype(int)[0]))


def fnp_shape_of(x):
    return fnp.zeros(x.astype(int)[0]) + x.sum()


def math_sine(x):
    return math.sin(x[0])


def branch(x):
    return x if x[0] > 0 else -x


def boolean_mask(x):
    return x[x > 1]


def boolean_compress(x):
    return np.nonzero(x > 1)


def list_lookup(x):
    return [1.0, 2.0, 3.0, 4.0][x.astype(int)[0]]


def array_lookup(x):
    return X[x.astype(int)[0]]


def unknown_function(x):
    return np.busday_count(x, x)


#: A function, the transformations under which it raises, the type and the words that say what to write instead.
EVERYWHERE = ("grad", "jit", "vmap")
STAGED = ("jit", "vmap")
IMPOSSIBLE = [
    (array_of_tracers, EVERYWHERE, TracerArrayError, "fnp.stack([x, y])"),
    (out_argument, EVERYWHERE, InPlaceError, "fnp.sin(...)"),
    (out_of_a_reduction, EVERYWHERE, InPlaceError, "out="),
    (sort_to_out, EVERYWHERE, InPlaceError, "out="),
    (assignment_to_a_tracer, EVERYWHERE, InPlaceError, "x = x.at[i].set(v)"),
    # NumPy turns what float() raises for an element into its own ValueError, and gives ours as the cause.
    (assignment_into_an_array, EVERYWHERE, ValueError, "funcgrad.at(a)[i].set(x)"),
    (filling_zeros, EVERYWHERE, ValueError, "np.zeros(n, like=x)"),
    (slice_of_zeros, EVERYWHERE, TracerArrayError, "np.zeros_like(x)"),
    (in_place_operator, EVERYWHERE, InPlaceError, "a = a + x"),
    (in_place_operator_on_an_argument, EVERYWHERE, InPlaceError, "x = x + v"),
    (in_place_sort, EVERYWHERE, InPlaceError, "x = fnp.sort(x)"),
    (float_of, STAGED, ConcretizationError, "float()"),
    (int_of, STAGED, ConcretizationError, "int()"),
    (item_of, STAGED, ConcretizationError, ".item()"),
    (range_of, STAGED, ConcretizationError, "lax.fori_loop"),
    (fnp_shape_of, STAGED, ConcretizationError, "(a shape, `range`"),
    (math_sine, EVERYWHERE, ConcretizationError, "np.sin(x)"),
    (branch, STAGED, ConcretizationError, "fnp.where or lax.cond"),
    (boolean_mask, STAGED, ConcretizationError, "fnp.where"),
    (boolean_compress, STAGED, ConcretizationError, "size="),
    (list_lookup, STAGED, ConcretizationError, "fnp.take(table, i)"),
    (array_lookup, STAGED, TypeError, "fnp.take(table, i"),
    (unknown_function, EVERYWHERE, MissingRuleError, "funcgrad.pure_callback"),
]


def transformed(kind, f):
    """f under a transformation, such that it is traced on a vector of three elements."""
    if kind == "jit":
        return lambda: fg.jit(f)(X)
    if kind == "vmap":
        return lambda: fg.vmap(f)(np.stack([X, X]))
    return lambda: fg.jacrev(f)(X)


@pytest.mark.parametrize("f, kinds, error, words", IMPOSSIBLE, ids=lambda p: getattr(p, "__name__", None))
def test_says_what_to_write(f, kinds, error, words):
    for kind in kinds:
        with pytest.raises(error) as caught:
            transformed(kind, f)()
        ours = caught.value if isinstance(caught.value, FuncgradError) else caught.value.__cause__
        assert words in str(ours), f"under {kind}: {ours}"
        assert "test_plain_numpy.py" in str(ours), f"under {kind}, no line: {ours}"


@pytest.mark.parametrize("kind", STAGED)
def test_numpys_own_creation_from_a_traced_shape_names_the_value(kind):
    """np.zeros asks for an integer and replaces our error by its own, which shows the traced value at least."""
    with pytest.raises(TypeError, match=r"Tracer<i64\[\]>"):
        transformed(kind, lambda x: np.zeros(x.astype(int)[0]) + x.sum())()


@pytest.mark.parametrize(
    "shape, window, axis",
    [((5,), 3, None), ((4, 6), (2, 3), None), ((4, 6), 2, 1), ((6,), (2, 3), (0, 0)), ((4, 2), 4, -2)],
)
def test_sliding_windows(shape, window, axis):
    f = lambda x: np.lib.stride_tricks.sliding_window_view(x, window, axis)
    x = np.random.default_rng(0).standard_normal(shape)
    np.testing.assert_array_equal(fg.jit(f)(x), f(x))
    check_grads(lambda x: f(x) ** 2, (x,), order=2)


@pytest.mark.parametrize("window, axis", [(6, None), (-1, None), ((2, 2), None), (2, 3), ((2,), (0, 0))])
def test_sliding_windows_that_do_not_fit(window, axis):
    f = lambda x: np.lib.stride_tricks.sliding_window_view(x, window, axis)
    with pytest.raises(ValueError):
        f(np.ones(5))
    with pytest.raises(ValueError):
        fg.jit(f)(np.ones(5))


def test_what_the_messages_advise_works():
    def written_as_advised(x):
        a = np.zeros(3)
        a = fg.at(a)[0].set(np.sin(x[0]))
        for i in range(1, len(x)):
            a = fg.at(a)[i].set(x[i] ** 2)
        b = np.stack([x[0], x[1], np.where(x[2] > 0, x[2], -x[2])])
        return a + fg.at(b)[0].add(1.0)

    want = np.array([np.sin(1.0) + 2.0, 6.0, 12.0])
    np.testing.assert_allclose(written_as_advised(X), want)
    np.testing.assert_allclose(fg.jit(written_as_advised)(X), want)
    np.testing.assert_allclose(fg.vmap(written_as_advised)(np.stack([X, X])), [want, want])
    check_grads(written_as_advised, (X,), order=2)
