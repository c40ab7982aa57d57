"""The generic back end over the Python array API standard, on the library that has nothing but the standard."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops import TABLE, Op
from test_ops import assert_same

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.core import backend as registry
from funcgrad.errors import BackendError
from funcgrad.testing import check_backend

xp = pytest.importorskip("array_api_strict", reason="array_api_strict is the library the generic back end is tested on")
funcgrad_array_api = pytest.importorskip("funcgrad_array_api")


@pytest.fixture(scope="module")
def strict():
    backend = funcgrad_array_api.register(xp, "array_api_strict")
    yield backend
    registry._registry.pop(backend.name)
    for t in backend.array_types:
        registry._types.pop(t, None)


def test_it_conforms(strict):
    check_backend(strict)


def loss(params, x, y):
    hidden = fnp.tanh(x @ params["w"] + params["b"])
    return fnp.mean((hidden @ params["v"] - y) ** 2)


def test_compiled_gradients_of_its_arrays_are_its_arrays(strict):
    rng = np.random.default_rng(0)
    params = {"w": rng.standard_normal((3, 4)), "b": rng.standard_normal(4), "v": rng.standard_normal((4, 2))}
    x, y = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    wanted = fg.grad(loss)(params, x, y)
    given = fg.tree.map(xp.asarray, params)
    got = fg.jit(fg.grad(loss))(given, xp.asarray(x), xp.asarray(y))
    for name, g in got.items():
        assert isinstance(g, strict.array_types)
        np.testing.assert_allclose(strict.to_numpy(g), wanted[name], rtol=1e-12)


def test_what_the_standard_has_not_is_an_error(strict):
    with pytest.raises(BackendError, match="float16"):
        strict.asarray(np.ones(3, "float16"))


def test_arrays_of_two_libraries_do_not_mix_silently(strict):
    class Other(registry.Backend):
        name = "other"

        class Array:
            shape, dtype = (2,), np.dtype("float64")

        array_types = (Array,)

    other = Other()
    registry.register_backend(other)
    try:
        with pytest.raises(BackendError, match="met in one operation"):
            fg.jit(lambda a, b: a + b)(xp.asarray([1.0, 2.0]), Other.Array())
    finally:
        registry._registry.pop("other")
        registry._types.pop(Other.Array)


# The op table ---------------------------------------------------------------------------------------------------------

#: Of the standard's dtypes, one of each kind and width: the others take the same way.
DTYPES = ("bool", "int8", "int32", "int64", "uint8", "float32", "float64", "complex64", "complex128")
ROWS = [op for op in TABLE if set(op.dtypes) & set(DTYPES)]

#: Rows that ask the array itself for what the standard does not give it, before funcgrad sees it. Compiled, they run.
OPERATORS_OF_ITS_OWN = {
    **{f"iota[{i}]": "the row gives the array's dtype to a primitive" for i in (0, 1)},
    **{name: "the row makes an array of x.dtype by NumPy" for name in ("cholesky", "eigh")},
    "pinv": "x.real is no attribute of the standard's arrays",
    **{f"np.index[{i}]": "x[...] is the library's own operator" for i in
       ("int", "slice", "None", "array", "arrays", "middle", "mask")},
}  # fmt: skip
#: Rows that write ``array * traced``, which array_api_strict refuses.
ARRAY_BEFORE_TRACED = ("slogdet", "np.divmod")


def unordered(op: Op, dtype: str) -> bool:
    """Whether the row asks for the order of complex numbers, which the standard does not have."""
    return np.dtype(dtype).kind == "c" and op.primitive in ("reduce_max", "reduce_min")


def leaves(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def computed(strict: Any, f: Any, args: list[Any]) -> list[np.ndarray]:
    """The results for arrays of the library, which are such arrays too; as NumPy's."""
    outs = leaves(f(*map(strict.asarray, args)))
    assert all(isinstance(y, strict.array_types) for y in outs), [type(y) for y in outs]
    return [strict.to_numpy(y) for y in outs]


@pytest.mark.parametrize("op", ROWS, ids=str)
def test_the_op_table_eager_compiled_and_mapped(strict: Any, op: Op) -> None:
    for dtype in [d for d in op.dtypes if d in DTYPES and not unordered(op, d)]:
        args = op.sample(dtype)
        with np.errstate(all="ignore"):
            want = [np.asarray(y) for y in leaves(op.reference(*args))]
            assert_same(computed(strict, fg.jit(op.function), args), want, op.ulps)
            if op.name not in OPERATORS_OF_ITS_OWN:
                assert_same(computed(strict, op.function, args), want, op.ulps)
            rows = [op.sample(dtype, seed=i) for i in (0, 1)]
            stacked = [np.stack(column) for column in zip(*rows, strict=True)]
            want = [np.stack(y) for y in zip(*(leaves(op.reference(*row)) for row in rows), strict=True)]
            assert_same(computed(strict, fg.vmap(op.function), stacked), want, op.ulps)
            assert_same(computed(strict, fg.jit(fg.vmap(op.function)), stacked), want, op.ulps)


@pytest.mark.parametrize("op", [op for op in ROWS if op.grad and "float64" in op.dtypes], ids=str)
def test_derivatives_of_the_op_table_eager_and_compiled(strict: Any, op: Op) -> None:
    """Forward and reverse mode, against the NumPy back end, whose derivatives are held against differences."""
    args = op.sample("float64", seed=2)
    primals = [args[i] for i in op.grad]

    def restricted(constants: list[Any]) -> Any:
        def f(*xs: Any) -> list[Any]:
            full = list(constants)
            for i, x in zip(op.grad, xs, strict=True):
                full[i] = x
            return leaves(op.function(*full))

        return f

    def derivatives(f: Any, *xs: Any) -> list[Any]:
        _, tangents = fg.jvp(f, xs, xs)
        outs, pullback = fg.vjp(f, *xs)
        return fg.tree.leaves((tangents, pullback(outs)))

    f, given = restricted(args), restricted(list(map(strict.asarray, args)))
    want = [y for y in derivatives(f, *primals) if y.dtype.kind in "fc"]
    for g in (
        lambda *xs: derivatives(given, *xs),
        fg.jit(lambda *xs: derivatives(f, *xs)),
    ):
        if op.name in ARRAY_BEFORE_TRACED and not isinstance(g, fg.jit):
            continue
        got = fg.tree.leaves(g(*map(strict.asarray, primals)))
        got = [strict.to_numpy(y) for y in got if isinstance(y, strict.array_types)]
        assert_same([y for y in got if y.dtype.kind in "fc"], want, 1e4)


# What is not in the standard ------------------------------------------------------------------------------------------


def test_arrays_on_another_device_do_not_travel_to_the_host_unasked(strict):
    class Elsewhere(type(xp.ones(2))):
        __slots__ = ()

        def __dlpack_device__(self):
            return 2, 0  # kDLCUDA

    x = object.__new__(Elsewhere)
    for name in ("_array", "_dtype", "_device"):
        setattr(x, name, getattr(xp.ones(2), name))
    with pytest.raises(BackendError, match=r"no 'gammaln' for arrays on the device .*; move them there first"):
        fg.scipy.special.gammaln(x)


def test_without_nextafter_the_host_has_it(strict, monkeypatch):
    older = type("older", (), {n: getattr(xp, n) for n in dir(xp) if n != "nextafter"})
    backend = funcgrad_array_api.make_backend(older, "older")
    got = backend.ops["nextafter"](xp.asarray(1.0), xp.asarray(2.0))
    assert float(got) == np.nextafter(1.0, 2.0)


def test_an_array_before_a_traced_value_is_the_librarys_to_refuse(strict):
    """array_api_strict's operators raise instead of leaving the traced value to answer: the docstring says so."""
    a, x = xp.asarray([1.0, 2.0]), xp.asarray([3.0, 4.0])
    with pytest.raises(TypeError, match="JVPTracer"):
        fg.jvp(lambda t: a @ t, (x,), (x,))
    value, tangent = fg.jvp(lambda t: fnp.matmul(a, t), (x,), (x,))
    assert [float(value), float(tangent)] == [11.0, 11.0]
    assert "fnp.multiply(array" in funcgrad_array_api.__doc__


# Ownership (law 7) ----------------------------------------------------------------------------------------------------


def test_results_are_no_operands_constants_or_each_other(strict):
    x, c = xp.asarray([1.0, 2.0]), xp.asarray([3.0])
    y = fg.jit(lambda a: a)(x)
    one, other, third = fg.jit(lambda a: (a, a + 0 * a, c))(x)
    assert all(isinstance(z, strict.array_types) for z in (y, one, other, third))
    x[0] = 7.0
    c[0] = 7.0
    assert [float(z[0]) for z in (y, one, other, third)] == [1.0, 1.0, 1.0, 3.0]
    twice = fg.jit(lambda a: [b := a + 1, b])(x)
    twice[0][0] = -1.0
    assert float(twice[1][0]) == 8.0


def test_eager_results_are_no_operands_either(strict):
    x = xp.asarray([1.0, 2.0])
    value, gradient = fg.jvp(lambda a: a, (x,), (x,))
    assert value is not x and gradient is not x
    (mapped,) = [fg.vmap(lambda a: a)(x)]
    assert mapped is not x


def test_eager_control_flow_is_interpreted_once(strict):
    """A back end that only interprets is not asked to compile an eager loop."""
    assert not strict.compiles and registry.get_backend("numpy").compiles
    x = xp.asarray([1.0, 2.0])
    carry, _ = fg.lax.scan(lambda c, _: (c * 2.0, None), x, None, length=3)
    assert isinstance(carry, strict.array_types)
    assert [float(v) for v in carry] == [8.0, 16.0]
