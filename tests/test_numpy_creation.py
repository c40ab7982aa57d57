"""Creation, diagonals and type functions against NumPy, traced and eager."""

# ruff: noqa: B023 -- every closure made in a loop is called in the same turn

import itertools
import math
import pickle

import numpy as np
import pytest
from numpy_oracle import ALL, against, assert_same, example, staged

import funcgrad.numpy as fnp
from funcgrad.core.errors import ConcretizationError, OperandError, OperandTypeError
from funcgrad.core.trace import stage
from funcgrad.core.types import Aval, aval_of


def both(name, *args, **keywords):
    """A call of the function of this library and one of NumPy's that use no traced value."""
    return (lambda: getattr(fnp, name)(*args, **keywords)), (lambda: getattr(np, name)(*args, **keywords))


SHAPES = [(), 3, (2, 3), (0, 2), (64, 33), np.int64(4), [2, 2]]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_constant_arrays(shape):
    for name in ["zeros", "ones"]:
        against(*both(name, shape))
        for dtype in [*ALL, bool, int, float, complex, np.float32]:
            against(*both(name, shape, dtype))
    for value in [2, 2.5, 1j, True, np.float32(3)]:
        against(*both("full", shape, value))
        against(*both("full", shape, value, dtype="complex64"))
    assert fnp.empty(shape).shape == np.empty(shape).shape
    assert not fnp.empty(shape, int).any()


@pytest.mark.parametrize("dtype", ALL)
def test_constants_like(dtype):
    for shape in [(2, 3), (), (40, 40)]:
        x = example(dtype, shape)
        for name in ["zeros_like", "ones_like"]:
            against(getattr(fnp, name), getattr(np, name), x)
            against(lambda a: getattr(fnp, name)(a, "float32"), lambda a: getattr(np, name)(a, "float32"), x)
            against(lambda a: getattr(fnp, name)(a, shape=(3,)), lambda a: getattr(np, name)(a, shape=(3,)), x)
        against(lambda a: fnp.full_like(a, 1), lambda a: np.full_like(a, 1), x)
    assert fnp.empty_like(x).shape == x.shape


def test_full_of_a_traced_value():
    against(lambda a: fnp.full((2, 3), a), lambda a: np.full((2, 3), a), np.arange(3.0))
    against(lambda a: fnp.full((2, 3), a, "float32"), lambda a: np.full((2, 3), a, "float32"), np.float64(2))
    against(
        lambda a: fnp.full_like(np.zeros((2, 3), int), a),
        lambda a: np.full_like(np.zeros((2, 3), int), a),
        np.float64(2.5),
    )
    with pytest.raises(OperandError, match="do not broadcast"):
        staged(lambda a: fnp.full((2, 2), a), np.arange(3.0))


@pytest.mark.parametrize(
    "args",
    [
        (5,),
        (2, 9),
        (1, 10, 3),
        (10, 0, -2),
        (0,),
        (5, 2),
        (0.0, 1.0, 0.25),
        (2.5,),
        (0, 1, 0.3),
        (0, 3000),
        (0, 3000, 7),
        (0.0, 2000.0),
        (3000, 0, -1),
        (np.float32(3),),
        (0, np.int8(5)),
        (5, None, 1),
    ],
    ids=str,
)
def test_arange(args):
    against(*both("arange", *args))
    against(*both("arange", *args, dtype="float32"))
    against(*both("arange", *args, dtype="int16"))


def test_large_constants_are_built_by_the_program():
    for make in [
        lambda: fnp.zeros((1000, 1000)),
        lambda: fnp.ones(10**6),
        lambda: fnp.arange(10**6),
        lambda: fnp.eye(1000),
        lambda: fnp.tri(1000),
        lambda: fnp.arange(0.0, 1e5),
        lambda: fnp.full((500, 500), 3),
    ]:
        jaxpr = stage(lambda: [make()], [])
        assert sum(getattr(c, "nbytes", 0) for c in jaxpr.consts) < 2048
        assert_same(staged(make), make())


@pytest.mark.parametrize("endpoint", [True, False])
def test_linspace(endpoint):
    for start, stop in [
        (0, 1),
        (1.5, -3),
        (np.arange(3.0), 5),
        ([1, 2], [[3.0], [4.0]]),
        (np.float32(1), np.float32(2)),
    ]:
        for num in [0, 1, 2, 7]:
            against(*both("linspace", start, stop, num, endpoint))
            a, b = np.asarray(start), np.asarray(stop)
            function, reference = (lambda m: lambda x, y: m.linspace(x, y, num, endpoint)), None
            del reference
            against(function(fnp), function(np), a, b, tolerance=1e-6)
    x = np.array([0.0, 1.0])
    against(lambda a: fnp.linspace(a, 3, 4, axis=-1), lambda a: np.linspace(a, 3, 4, axis=-1), x)
    against(lambda a: fnp.linspace(a, 3, 4, retstep=True), lambda a: np.linspace(a, 3, 4, retstep=True), x)
    against(lambda a: fnp.linspace(a, 7, 5, dtype=int), lambda a: np.linspace(a, 7, 5, dtype=int), x)
    against(lambda a: fnp.linspace(a, 7j, 5), lambda a: np.linspace(a, 7j, 5), x)


def test_logspace_and_geomspace():
    x = np.array([1.0, 2.0])
    against(*both("logspace", 0, 2, 5))
    against(lambda a: fnp.logspace(a, 3, 4), lambda a: np.logspace(a, 3, 4), x)
    against(
        lambda a: fnp.logspace(a, 3, 4, base=2.0, endpoint=False),
        lambda a: np.logspace(a, 3, 4, base=2.0, endpoint=False),
        x,
    )
    against(*both("geomspace", 1, 1000, 4))
    against(lambda a: fnp.geomspace(a, 30, 4), lambda a: np.geomspace(a, 30, 4), x)
    against(lambda a: fnp.geomspace(1.0, a, 4), lambda a: np.geomspace(1.0, a, 4), np.float64(8.0))


def test_eye_identity_tri():
    for n, m, k in itertools.product([0, 1, 3, 40], [None, 2, 50], [-2, 0, 1]):
        against(*both("eye", n, m, k))
        against(*both("tri", n, m, k, dtype="float32"))
    against(*both("identity", 3))
    against(*both("identity", 3, dtype=int))


@pytest.mark.parametrize("dtype", ["bool", "int8", "float32", "complex128"])
def test_diagonals(dtype):
    for shape in [(3, 4), (4, 3), (3, 3), (2, 3, 4), (5,), (0, 3), (2, 3, 4, 2)]:
        x = example(dtype, shape)
        for k in [-4, -2, -1, 0, 1, 3, 5]:
            for name in ["tril", "triu", "diag", "diagflat"]:
                against(lambda a: getattr(fnp, name)(a, k), lambda a: getattr(np, name)(a, k), x)
            against(lambda a: fnp.trace(a, k), lambda a: np.trace(a, k), x)
    x = example(dtype, (2, 3, 4))
    against(lambda a: fnp.trace(a, 1, -1, 0), lambda a: np.trace(a, 1, -1, 0), x)
    against(lambda a: fnp.trace(a, dtype="complex64"), lambda a: np.trace(a, dtype="complex64"), x, tolerance=1e-5)


def test_diag_is_a_new_array():
    x = np.eye(3)
    y = fnp.diag(x)
    y[0] = 7
    assert x[0, 0] == 1


def test_meshgrid_indices_vander():
    x, y, z = np.arange(3.0), np.arange(4), np.float32(2)
    for keywords in [{}, {"indexing": "ij"}, {"sparse": True}, {"sparse": True, "indexing": "ij"}]:
        for args in [(x,), (x, y), (x, y, z), ()]:
            against(lambda *a: fnp.meshgrid(*a, **keywords), lambda *a: np.meshgrid(*a, **keywords), *args)
    with pytest.raises(ValueError, match="indexing"):
        staged(lambda a: fnp.meshgrid(a, indexing="yx"), x)
    for shape in [(2, 3), (4,), (20, 30), ()]:
        against(*both("indices", shape))
        against(*both("indices", shape, sparse=True))
        against(*both("indices", shape, dtype="float32"))
    for n in [None, 0, 2]:
        against(lambda a: fnp.vander(a, n), lambda a: np.vander(a, n), x)
        against(lambda a: fnp.vander(a, n, True), lambda a: np.vander(a, n, True), np.arange(4, dtype="int8"))


@pytest.mark.parametrize("dtype", ALL)
def test_array_and_astype(dtype):
    x = example(dtype)
    for function, reference in [(fnp.array, np.array), (fnp.asarray, np.asarray), (fnp.copy, np.copy)]:
        against(function, reference, x)
    against(lambda a: fnp.array(a, ndmin=4), lambda a: np.array(a, ndmin=4), x)
    for other in ALL:
        if np.dtype(dtype).kind == "c" and np.dtype(other).kind not in "cb":
            continue
        # What an integer becomes of a value that it cannot hold is the processor's choice.
        y = np.abs(x) if np.dtype(other).kind in "ub" else x
        against(lambda a: fnp.astype(a, other), lambda a: np.astype(a, other), y)
        against(lambda a: a.astype(other), lambda a: a.astype(other), y)
        against(lambda a: fnp.asarray(a, other), lambda a: np.asarray(a, other), y)


def test_array_of_nested_lists_with_tracers():
    x, y = np.float32(2), np.arange(2, dtype="float32")
    cases = [
        lambda a, b: [a, 1.0],
        lambda a, b: [1, a, True],
        lambda a, b: [[a, 2], [3, a]],
        lambda a, b: [b, b],
        lambda a, b: (b, [a, 1]),
        lambda a, b: [[b], [b]],
    ]
    for case in cases:
        against(lambda a, b: fnp.array(case(a, b)), lambda a, b: np.array(case(a, b)), x, y)
        against(lambda a, b: fnp.array(case(a, b), "float16"), lambda a, b: np.array(case(a, b), "float16"), x, y)
    with pytest.raises(OperandError, match=r"one shape, not \(\) and \(2,\)"):
        staged(lambda a, b: fnp.array([a, b]), x, y)
    with pytest.raises(OperandTypeError, match="None of type NoneType is no array"):
        staged(lambda a, b: fnp.array([a, None]), x, y)
    with pytest.raises(TypeError, match=r"fnp\.stack"):
        staged(lambda a, b: np.array([a, a]), x, y)


def test_astype_refuses_by_the_casting_rule():
    with pytest.raises(TypeError, match="Cannot cast"):
        staged(lambda a: a.astype(int, casting="safe"), np.ones(2))


def test_sizes_must_be_concrete():
    for make in [fnp.zeros, fnp.arange, fnp.eye, lambda n: fnp.linspace(0, 1, n), lambda n: fnp.ones((2, n))]:
        with pytest.raises(ConcretizationError):
            staged(make, 3)
    with pytest.raises(ValueError, match="negative dimensions"):
        fnp.zeros(-1)
    with pytest.raises(ValueError, match="negative dimensions"):
        staged(lambda: fnp.ones((-1, 2)))


def test_types():
    (aval,) = stage(lambda s: [s], [aval_of(2.0)]).out_avals
    assert aval.weak
    seen = {}

    def fun(s, x):
        seen["weak"] = fnp.result_type(s, np.float32), fnp.result_type(x, 1.0), fnp.result_type(x, np.float64)
        seen["scalar"] = fnp.isscalar(s), fnp.isscalar(x), fnp.isscalar(2)
        seen["shape"] = fnp.shape(x), fnp.ndim(x), fnp.size(x), fnp.size(x, 1), fnp.shape([x, x]), fnp.ndim(s)
        return [x]

    stage(fun, [aval_of(2.0), Aval((2, 3), np.dtype("float32"))])
    assert seen["weak"] == (np.float32, np.float32, np.float64)
    assert seen["scalar"] == (True, False, True)
    assert seen["shape"] == ((2, 3), 2, 6, 3, (2, 2, 3), 0)
    assert fnp.finfo(fnp.float32).eps == np.finfo(np.float32).eps
    assert fnp.issubdtype(fnp.int8, fnp.integer)
    assert (fnp.pi, fnp.e, fnp.inf, fnp.newaxis) == (math.pi, math.e, math.inf, None)


def test_the_surface_is_numpys():
    assert len(set(fnp.__all__)) == len(fnp.__all__)
    for name in fnp.__all__:
        assert hasattr(fnp, name)
        assert name in ("at",) or hasattr(np, name), f"{name} is no name of NumPy's"
        function = getattr(fnp, name)
        if callable(function) and not isinstance(function, type):
            assert function.__doc__, f"{name} has no docstring"
            if (getattr(function, "__module__", "") or "").startswith("funcgrad"):
                assert pickle.loads(pickle.dumps(function)) is function


def test_properties_and_small_methods():
    x = example("complex64")
    for name in ["T", "mT", "real", "imag", "itemsize", "nbytes", "shape", "ndim", "size", "dtype"]:
        if name in ("T", "mT", "real", "imag"):
            against(lambda a: getattr(a, name), lambda a: getattr(a, name), x)
        else:
            seen = []
            stage(lambda a: [seen.append(getattr(a, name)) or a], [aval_of(x)])
            assert seen == [getattr(x, name)]
    for call in [
        lambda a: a.reshape(3, 2),
        lambda a: a.reshape((3, -1)),
        lambda a: a.ravel(),
        lambda a: a.flatten("F"),
        lambda a: a.transpose(),
        lambda a: a.transpose(1, 0),
        lambda a: a.transpose((1, 0)),
        lambda a: a.swapaxes(0, 1),
        lambda a: a.copy(),
        lambda a: a.conj(),
        lambda a: a.round(1),
        lambda a: a.take([0, 1], axis=1),
        lambda a: a[None].squeeze(0),
        lambda a: a.repeat(2, axis=0),
        lambda a: a.diagonal(),
        lambda a: a.dot(a.T),
        lambda a: a @ a.T,
        lambda a: a.reshape(2, 3, order="F"),
        lambda a: a.real.clip(-1, 1),
        lambda a: a.real.argsort(),
        lambda a: a.real.argsort(axis=0),
        lambda a: a.compress([True, False], axis=0),
        lambda a: [*a],
        lambda a: list(a[0]),
        lambda a: a.dot(np.ones(3, "complex64")),
        lambda a: np.ones((2, 2), "complex64") @ a,
    ]:
        against(call, call, x, tolerance=1e-5)
    for method, args in [("sort", ()), ("fill", (1,)), ("partition", (1,)), ("put", (0, 1))]:
        with pytest.raises(TypeError, match="write `x = "):
            staged(lambda a: getattr(a, method)(*args), x)
