"""The LLVM back end: the op table, derivatives and control flow as native code against NumPy's values."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops import PRIMITIVES, SURFACE, Op, special_arguments
from test_ops import UNSIGNED_ZEROS, assert_same, quietly

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.core.backend import get_backend
from funcgrad.core.ir import Var
from funcgrad.testing import check_backend

llvmlite = pytest.importorskip("llvmlite", reason="the LLVM back end needs llvmlite")
pytest.importorskip("scipy_openblas32", reason="the LLVM back end needs an OpenBLAS")

from funcgrad_llvm import cache, lower, machine, parts  # noqa: E402 -- after it is known that they can be imported


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Compiled programs are kept for these tests only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUNCGRAD_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def native(f: Any) -> Any:
    """f, compiled by the LLVM back end."""
    compiled = fg.jit(f)

    def call(*args: Any, **kwargs: Any) -> Any:
        with fg.use_backend("llvm"):
            return compiled(*args, **kwargs)

    return call


def program_of(f: Any, *args: Any) -> Any:
    """The compiled program of f for these arguments."""
    return get_backend("llvm").compile(fg.make_jaxpr(f)(*args))


def assert_native(f: Any, *args: Any, rtol: float = 2e-5, atol: float = 1e-6) -> Any:
    """f is one native function, and gives what it gives in the NumPy back end."""
    program = program_of(f, *args)
    assert (program.segments, len(program.steps)) == (1, 1)
    got, want = native(f)(*args), fg.jit(f)(*args)
    assert fg.tree.structure(got) == fg.tree.structure(want)
    for x, y in zip(fg.tree.leaves(got), fg.tree.leaves(want), strict=True):
        assert type(x) is type(y)
        assert (np.shape(x), np.asarray(x).dtype) == (np.shape(y), np.asarray(y).dtype)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)
    return got


def test_it_conforms() -> None:
    check_backend("llvm")


# The op table ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", PRIMITIVES, ids=str)
def test_primitives(op: Op) -> None:
    compiled = native(op.function)
    for dtype, shape in itertools.product(op.dtypes, op.shapes):
        args = op.sample(dtype, shape)
        kept = [x.copy() for x in args]
        assert_same(quietly(compiled, *args), quietly(op.function, *args), op.ulps)
        for x, before in zip(args, kept, strict=True):
            np.testing.assert_array_equal(x, before, err_msg="an argument was changed")


@pytest.mark.parametrize("op", SURFACE, ids=str)
def test_the_numpy_surface(op: Op) -> None:
    args = op.sample(op.dtypes[0])
    assert_same(quietly(native(op.function), *args), quietly(op.function, *args), op.ulps)


@pytest.mark.parametrize("op", [op for op in PRIMITIVES if op.special], ids=str)
def test_special_values(op: Op) -> None:
    for dtype in op.dtypes:
        kind = np.dtype(dtype).kind
        if kind == "c" or (np.dtype(dtype).itemsize == 2 and len(op.args) > 1):
            continue
        args = special_arguments(op, dtype)
        if kind in "iu" and op.primitive == "pow":
            args = [x[(args[1] >= 0) & (args[1] <= 3)] for x in args]
        signs = kind == "f" and op.primitive not in UNSIGNED_ZEROS
        assert_same(quietly(native(op.function), *args), quietly(op.function, *args), op.ulps, signs)


@pytest.mark.parametrize("op", [op for op in PRIMITIVES if op.grad and "float32" in op.dtypes], ids=str)
def test_derivatives(op: Op) -> None:
    def loss(*args: Any) -> Any:
        y = op.function(*args)
        return sum(fnp.sum(fnp.real(z) ** 2) for z in (y if isinstance(y, (tuple, list)) else [y]))

    args = op.sample("float32")
    derivative = fg.value_and_grad(loss, op.grad)
    got, want = (fg.tree.leaves(f(*args)) for f in (native(derivative), fg.jit(derivative)))
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(y).max(initial=0.0))))


@pytest.mark.parametrize(
    "source", ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint64", "bool"]
)
def test_conversions(source: str) -> None:
    x = np.array([0, 1, 2, 100, 127]).astype(source)
    if source[0] in "fi":
        x = np.concatenate([x, -x])
    for target in (
        "float16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint32",
        "uint64",
        "bool",
    ):
        if source[0] in "fi" and target[0] == "u":
            continue  # a negative number has no unsigned value that all processors agree on
        np.testing.assert_array_equal(native(lambda x, t=target: lax.convert_element_type(x, t))(x), x.astype(target))


def test_half_precision_is_rounded_once() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            rng.standard_normal(2000) * 10.0 ** rng.integers(-9, 6, 2000),
            [1 + 2**-11, 1 + 2**-11 + 2**-40, np.nan, np.inf],
        ]
    )
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(native(lambda x: lax.convert_element_type(x, "float16"))(x), x.astype("float16"))


# Groups ---------------------------------------------------------------------------------------------------------------

SHAPES = [(7,), (64,), (1, 5), (3, 17), (16, 1), (2, 3, 33), (5, 2, 1, 9), (33, 4, 4)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reductions_over_every_choice_of_axes(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype("float32")
    n = rng.integers(-3, 4, shape)
    for count in range(len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            assert_native(
                lambda x, n, a=axes: (fnp.sum(x * 2, a), fnp.max(x, a), fnp.prod(n, a), fnp.any(n > 2, a)), x, n
            )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_that_go_back_to_the_rows_they_came_from(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape)

    for axis in range(len(shape)):

        def normalised(x: Any, axis: int = axis) -> Any:
            e = fnp.exp(x - fnp.max(x, axis, keepdims=True))
            p = e / fnp.sum(e, axis, keepdims=True)
            m = fnp.mean(p, axis, keepdims=True)
            return (p - m) / fnp.sqrt(fnp.mean((p - m) ** 2, axis, keepdims=True) + 1e-6), fnp.sum(p, axis)

        assert_native(normalised, x)


@pytest.mark.parametrize("most", [1, 2, 5, 1000])
def test_long_groups_in_parts(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts.parts, "__defaults__", (most,))

    def repeated(x: Any) -> Any:
        for _ in range(3):
            e = fnp.exp(x - fnp.max(x, 1, keepdims=True))
            x = e / fnp.sum(e, 1, keepdims=True) + x * fnp.arange(7.0) + fnp.sum(x)
        return x, fnp.sum(x, 0)

    x = np.random.default_rng(0).standard_normal((5, 7))
    assert_native(repeated, x, rtol=1e-9)
    assert_native(fg.grad(lambda x: fnp.sum(fnp.sin(repeated(x)[0]))), x, rtol=1e-9)


def test_a_chain_longer_than_pythons_stack() -> None:
    def chain(x: Any) -> Any:
        for _ in range(700):
            x = fnp.abs(x) * 0.5 + x
        return x * 1e-120

    assert_native(chain, np.arange(3.0))


def test_strides_of_views() -> None:
    x = np.arange(120.0, dtype="float32").reshape(4, 5, 6)
    assert_native(lambda x: (x[::2, ::-1, 1::2] + 1, x.T * 2, fnp.sum(x[:, :, ::3], 2), x[..., ::-1]), x)
    assert_native(lambda x: fnp.transpose(x, (1, 2, 0)).reshape(10, 12) - x.reshape(10, 12)[::-1], x)
    assert_native(lambda x: fnp.concatenate([x[:, ::2], x[:, 1:2], fnp.pad(x[:, :1], ((0, 0), (1, 1), (0, 0)))], 1), x)


def test_a_sum_does_not_lose_what_is_small() -> None:
    x = np.full(1_000_003, 0.1, "float32")
    np.testing.assert_allclose(native(fnp.sum)(x), 100000.3, rtol=1e-5)
    np.testing.assert_array_equal(np.signbit(native(fnp.sum)(np.array([-0.0, -0.0]))), True)


def test_extrema_of_nan() -> None:
    x = np.ones((3, 40), "float32")
    x[1, 37] = np.nan
    for axis in (0, 1):
        got = native(lambda x, a=axis: (fnp.max(x, a), fnp.argmax(x, a), fnp.argmin(x, a)))(x)
        with np.errstate(all="ignore"):
            for y, want in zip(got, (np.max(x, axis), np.argmax(x, axis), np.argmin(x, axis)), strict=True):
                np.testing.assert_array_equal(y, want)


def test_random_bits_are_numpys() -> None:
    key = fg.random.key(7)
    for f in (
        lambda k: fg.random.bits(k, (1001,)),
        lambda k: fg.random.uniform(k, (33,)),
        lambda k: fg.random.split(k, 3),
    ):
        got, want = native(f)(key), fg.jit(f)(key)
        np.testing.assert_array_equal(fg.tree.leaves(got)[0], fg.tree.leaves(want)[0])


@st.composite
def programs(draw: st.DrawFn) -> Any:
    """Functions of two matrices and a vector, of operations drawn one after the other."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["add", "mul", "sub", "max", "where", "tanh", "exp", "neg", "sum", "mean", "softmax", "rows",
                                 "transpose", "slice", "reverse", "cumsum", "outer", "matmul"]),
                st.integers(0, 9),
                st.integers(0, 9),
                st.integers(0, 1),
            ),
            min_size=2,
            max_size=12,
        )
    )  # fmt: skip

    def run(xp: Any, x: Any, y: Any, v: Any) -> list[Any]:
        values = [x, y, v * x]
        for name, i, j, axis in steps:
            a, b = values[i % len(values)], values[j % len(values)]
            match name:
                case "add" | "sub" | "mul":
                    r = a + b if name == "add" else a - b if name == "sub" else a * b
                case "max":
                    r = xp.maximum(a, b)
                case "where":
                    r = xp.where(a > b, a, xp.tanh(b))
                case "tanh" | "exp":
                    r = xp.tanh(a) if name == "tanh" else xp.exp(xp.minimum(a, 1))
                case "neg":
                    r = -a
                case "sum" | "mean":
                    r = b - getattr(xp, name)(xp.tanh(a), axis, keepdims=True)
                case "softmax":
                    e = xp.exp(a - xp.max(a, axis, keepdims=True))
                    r = e / xp.sum(e, axis, keepdims=True)
                case "rows":
                    r = xp.tanh(xp.sum(a, 0)) * b
                case "transpose":
                    r = xp.tanh(a.T @ b) @ a.T if a.shape[0] == a.shape[1] else a
                case "slice":
                    r = xp.concatenate([a[1:], b[:1]], 0)
                case "reverse":
                    r = a[::-1] + b[:, ::-1]
                case "cumsum":
                    r = xp.tanh(xp.cumsum(a, axis))
                case "outer":
                    r = xp.tanh(xp.sum(a, 1))[:, None] * xp.tanh(xp.sum(b, 0))
                case "matmul":
                    r = xp.tanh(a @ b.T) @ a
            values.append(xp.tanh(r) if xp.ndim(r) else r)
        return values[3:]

    return run


@given(programs(), st.integers(1, 20), st.integers(1, 20), st.integers(0, 9))
def test_programs_equal_numpys(program: Any, rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    args = rng.standard_normal((rows, columns)), rng.standard_normal((rows, columns)), rng.standard_normal(columns)
    got = native(lambda *a: program(fnp, *a))(*args)
    for x, y in zip(got, program(np, *args), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9)


# Products and windows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("equation", ["ij,jk->ik", "ji,jk->ik", "ij,kj->ik", "ji,kj->ki", "bij,bjk->bik", "bhij,bhkj->bhik",
                                      "i,i->", "ij,j->i", "ji,j->i", "i,ij->j", "i,j->ij", "ijk,kjl->il", "bij,kj->bik",
                                      "ibj,jbk->bik"])  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "bool"])
def test_products(equation: str, dtype: str) -> None:
    sizes = dict(i=3, j=5, k=4, l=2, b=2, h=3)
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-3, 4, [sizes[c] for c in part]).astype(dtype) for part in equation.split("->")[0].split(","))
    f = lambda x, y: fnp.einsum(equation, x, y)
    assert program_of(f, x, y).segments == 1
    np.testing.assert_array_equal(native(f)(x, y), f(x, y))
    if x.ndim > 1:
        # Operands that are no matrices as they are.
        g = lambda x, y: fnp.einsum(equation, x[..., ::-1] * 1, fnp.flip(y))
        np.testing.assert_array_equal(native(g)(x, y), g(x, y))


def test_products_read_transposed_operands_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = []
    contiguous = lower.Lowerer.contiguous

    def counted(lowerer: Any, view: Any) -> Any:
        copies.extend([] if view.is_contiguous else [view.shape])
        return contiguous(lowerer, view)

    monkeypatch.setattr(lower.Lowerer, "contiguous", counted)
    rng = np.random.default_rng(0)
    w, v = rng.standard_normal((6, 7)), rng.standard_normal((7, 3))
    x = rng.standard_normal((5, 6))
    program_of(fg.grad(lambda w, v, x: fnp.sum(fg.nn.relu(x @ w) @ v), (0, 1, 2)), w, v, x)
    recurrent = tuple(rng.standard_normal(shape) for shape in ((6, 24), (6, 24), (24,)))
    program_of(fg.grad(lstm), recurrent, rng.standard_normal((4, 2, 6)))
    assert copies == []
    # Where neither axis of a matrix is contiguous it must be copied: the count can fail.
    program_of(lambda x: x[:, ::2] @ x[:3], rng.standard_normal((6, 6)))
    assert copies == [(6, 3)]


def test_a_network_of_convolutions_is_native() -> None:
    rng = np.random.default_rng(0)
    p = {
        "w1": rng.standard_normal((4, 1, 3, 3)) / 3,
        "b1": rng.standard_normal(4),
        "w2": rng.standard_normal((6, 4, 3, 3)) / 6,
    }
    x = rng.standard_normal((5, 1, 12, 12))

    def loss(p: Any, x: Any) -> Any:
        for w, b in (("w1", "b1"), ("w2", None)):
            x = lax.conv_general_dilated(x, p[w], (1, 1), "SAME")
            x = x + p[b][:, None, None] if b else x
            x = lax.reduce_window(fnp.maximum(x, 0.0), -np.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        return fnp.mean(x**2)

    assert_native(fg.value_and_grad(loss, (0, 1)), p, x, rtol=1e-9)


def test_indexing_is_native() -> None:
    rng = np.random.default_rng(0)
    x, i = rng.standard_normal((6, 5, 4)), rng.integers(-6, 6, (3, 2))
    assert_native(
        lambda x, i: (x[i], x[:, i % 5], x[i, i % 5], fnp.asarray(x).at[i].add(1.0), fnp.asarray(x).at[:, 1].set(0.0)),
        x,
        i,
    )
    assert_native(fg.grad(lambda x, i: fnp.sum(fnp.sin(x[i, :, 1]))), x, i)
    assert_native(lambda x: (fnp.cumsum(x, 0), fnp.cumprod(x, 2), lax.cummax(x, 1, reverse=True)), x)
    assert_native(
        lambda x, k: lax.dynamic_update_slice(x, lax.dynamic_slice(x, (k, 0, 1), (2, 3, 3)), (0, k, 0)), x, np.int64(2)
    )


# Control flow ---------------------------------------------------------------------------------------------------------


def lstm(parameters: Any, xs: Any) -> Any:
    wx, wh, b = parameters

    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        i, f, o, u = fnp.split(x @ wx + h @ wh + b, 4, axis=-1)
        c = lax.logistic(f) * c + lax.logistic(i) * fnp.tanh(u)
        h = lax.logistic(o) * fnp.tanh(c)
        return (h, c), h

    zero = fnp.zeros((xs.shape[1], wh.shape[0]), xs.dtype)
    return fnp.mean(lax.scan(step, (zero, zero), xs)[1] ** 2)


def test_the_derivative_of_a_recurrent_network_never_returns_to_python() -> None:
    rng = np.random.default_rng(0)
    parameters = tuple(rng.standard_normal(s) / 3 for s in ((3, 16), (4, 16), (16,)))
    assert_native(fg.value_and_grad(lstm), parameters, rng.standard_normal((7, 2, 3)), rtol=1e-9)


def test_carries_that_change_places() -> None:
    def rotate(a: Any, b: Any, c: Any) -> Any:
        return lax.scan(lambda s, x: ((s[1], s[2], s[0] + x), s[0]), (a, b, c), fnp.arange(5.0))

    assert_native(rotate, np.ones(3), np.zeros(3), np.full(3, 2.0))
    assert_native(
        lambda a, b: lax.scan(lambda s, _: ((s[1], s[1]), (s[0], s[0])), (a, b), None, length=3),
        np.ones(2),
        np.zeros(2),
    )
    assert_native(lambda a: lax.scan(lambda s, x: (s, x * 2), a, fnp.arange(4.0), reverse=True), np.ones(2))


def test_a_carry_of_which_a_part_is_updated_is_not_copied() -> None:
    def table(x: Any) -> Any:
        def step(s: Any, i: Any) -> Any:
            s = s.at[i].set(s[i - 1] * 0.5 + 1.0)
            return s.at[0].add(s[i]), s[i]

        return lax.scan(step, fnp.tanh(x), fnp.arange(1, 6))

    x = np.arange(6.0)
    assert_native(table, x)
    # Its 48 bytes are in the memory of the result from the beginning.
    assert "i64 48, i1 false" not in program_of(table, x).source
    # Here somebody reads the old value after the update, and here it is the update itself.
    assert_native(lambda x: lax.scan(lambda s, i: (s.at[i].set(0.0), s[::-1] * 1), fnp.tanh(x), fnp.arange(1, 6)), x)
    shift = lambda s, i: (lax.dynamic_update_slice(s, s[:-1], (i * 0 + 1,)), None)
    assert_native(lambda x: lax.scan(shift, fnp.tanh(x), fnp.arange(3)), x)
    swap = lambda s, i: ((s[1].at[i].set(9.0), s[0].at[i].set(8.0)), None)
    assert_native(lambda x: lax.scan(swap, (fnp.tanh(x), fnp.sin(x)), fnp.arange(3)), x)


def test_loops_and_branches_in_one_another() -> None:
    def collatz(n: Any) -> Any:
        def step(state: Any) -> Any:
            n, count = state
            return lax.cond(n % 2 == 0, lambda n: n // 2, lambda n: 3 * n + 1, n), count + 1

        return lax.while_loop(lambda s: s[0] != 1, step, (n, 0))[1]

    for n in (1, 6, 27):
        assert_native(collatz, np.int64(n))
    total = lambda ns: lax.scan(lambda s, n: (s + collatz(n), s), 0, ns)
    assert_native(total, np.arange(1, 12))
    choose = lambda i, x: lax.switch(i, [fnp.sin, lambda x: x * 2, lambda x: x], x)
    for i in range(3):
        assert_native(choose, np.int64(i), np.arange(3.0))
    assert_native(lambda x: lax.while_loop(lambda s: False, lambda s: s + 1, x), np.ones(2))


def test_a_loop_with_something_in_it_that_only_numpy_can() -> None:
    x = np.eye(3) * 2
    f = lambda x: lax.scan(lambda s, _: (fnp.linalg.qr(s)[1] + 1.0, fnp.sum(s)), fnp.tanh(x), None, length=3)
    for got, want in zip(fg.tree.leaves(native(f)(x)), fg.tree.leaves(f(x)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9)
    program = program_of(lambda x: fnp.tanh(fnp.linalg.qr(fnp.exp(x))[1]) * 2, x)
    assert (program.segments, len(program.steps)) == (2, 3)


@pytest.mark.parametrize("transform", [
    lambda f: fg.vmap(fg.grad(f)), lambda f: fg.grad(lambda x: fnp.sum(fg.vmap(f)(x))), lambda f: fg.hessian(f),
    lambda f: lambda x: fg.jvp(fg.grad(f), (x,), (x,)), lambda f: fg.grad(fg.checkpoint(f)), lambda f: fg.jacfwd(fg.jacrev(f)),
    lambda f: fg.vmap(fg.vmap(fg.value_and_grad(lambda x: f(x[None])))),
])  # fmt: skip
def test_transforms_compose(transform: Any) -> None:
    def f(x: Any) -> Any:
        y, ys = lax.scan(lambda c, s: (fnp.tanh(c + s), c * s), fnp.sum(x), x)
        return lax.cond(y > 0, lambda: y * fnp.sum(ys), lambda: fnp.sum(fnp.where(x > 0, fnp.sqrt(x), x) ** 2))

    x = np.random.default_rng(0).standard_normal((3, 4))
    g = transform(lambda x: f(fnp.ravel(x)))
    for got, want in zip(fg.tree.leaves(native(g)(x)), fg.tree.leaves(g(x)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


# Arguments and results ------------------------------------------------------------------------------------------------


def test_arguments_that_are_no_plain_arrays() -> None:
    class Own(np.ndarray):
        pass

    f = native(lambda x, y: x @ y + 1.0)
    x, y = np.arange(12.0).reshape(3, 4), np.arange(8.0).reshape(4, 2)
    want = x @ y + 1.0
    unaligned = np.frombuffer(b"0" + x.tobytes(), np.float64, offset=1).reshape(3, 4)
    read_only = x.copy()
    read_only.flags.writeable = False
    twisted = np.asfortranarray(x)
    for z in (unaligned, read_only, twisted, x.view(Own), np.repeat(x, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(f(z, y), want)
    assert type(f(x.view(Own), y)) is np.ndarray
    assert native(lambda x: x * 2)(3.0) == 6.0 and type(native(lambda x: x * 2)(3.0)) is float
    assert type(native(lambda x: x * 2)(np.float32(3))) is np.float32


def test_results_are_new_arrays() -> None:
    x = np.arange(6.0).reshape(2, 3)
    results = native(lambda x: (x, x, x.T, x[0], x.reshape(6), 1.0, fnp.zeros(3), x + 0))(x)
    for y, want in zip(results, (x, x, x.T, x[0], x.reshape(6), 1.0, np.zeros(3), x), strict=True):
        np.testing.assert_array_equal(y, want)
    arrays = [y for y in results if isinstance(y, np.ndarray)]
    for a, b in itertools.combinations([x, *arrays], 2):
        assert not np.shares_memory(a, b)
    assert all(y.flags.writeable and y.flags.c_contiguous for y in arrays)


def test_a_large_result_takes_memory_that_nobody_holds_any_more() -> None:
    f = native(lambda x: x + 1)
    x = np.zeros((50, 400))
    kept = f(x)
    addresses = {f(x * i).ctypes.data for i in range(5)}
    assert len(addresses) == 1 and kept.ctypes.data not in addresses
    part = f(x)[3:4]
    f(x + 5)
    np.testing.assert_array_equal(part, np.ones((1, 400)))
    np.testing.assert_array_equal(kept, np.ones((50, 400)))


def test_arrays_that_are_closed_over_are_read_at_each_call() -> None:
    c = np.ones(3)
    f = native(lambda x: x + c)
    np.testing.assert_array_equal(f(np.ones(3)), [2, 2, 2])
    c[1] = 5
    np.testing.assert_array_equal(f(np.ones(3)), [2, 6, 2])


def test_an_index_out_of_range_raises_at_the_users_line() -> None:
    f = native(lambda x, i: fnp.sin(x)[i] + 1)
    x = np.arange(4.0)
    with pytest.raises(IndexError, match="index 4 is out of bounds for axis 0 with size 4") as error:
        f(x, np.array([0, 4]))
    assert "test_backend_llvm.py" in error.value.__notes__[0]
    with pytest.raises(IndexError, match="index -5"):
        f(x, np.array([-5, 0]))
    np.testing.assert_allclose(f(x, np.array([-4, 3])), np.sin(x[[0, 3]]) + 1)
    with pytest.raises(
        IndexError, match="a block of size 2 that starts at 3 does not fit into axis 0, which has size 4"
    ):
        native(lambda x, i: lax.dynamic_slice(x, (i,), (2,)))(x, np.int64(3))


def test_what_a_program_says_of_itself() -> None:
    x = np.ones((30, 20))
    with fg.use_backend("llvm"):
        lowered = fg.jit(lambda x: fnp.sum(fnp.tanh(x @ x.T), 0)).lower(x)
    assert "dot_general" in lowered.as_text("simplified") and "fusion" in lowered.as_text("fused")
    assert "define i64 @entry" in lowered.as_text()
    memory = lowered.compile().memory_analysis()
    assert (memory.argument_size_in_bytes, memory.output_size_in_bytes) == (x.nbytes, 240)
    # The product, and what little the arena has besides.
    assert 7200 <= memory.temp_size_in_bytes <= 7200 + 512


# Threads, processors, the disk ----------------------------------------------------------------------------------------


def test_threads_call_one_program_at_a_time() -> None:
    f = native(lambda x: fnp.cumsum(fnp.tanh(x @ x.T), 0))
    x = np.random.default_rng(0).standard_normal((200, 50))
    want, wrong = f(x), []

    def work() -> None:
        for _ in range(10):
            if not np.array_equal(f(x), want):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


MANY_THREADS = """
import hashlib, numpy as np, funcgrad as fg, funcgrad.numpy as fnp
rng = np.random.default_rng(0)
x = rng.standard_normal((501, 1003)).astype("float32")
v = rng.standard_normal(1_000_001)
def f(x, v):
    e = fnp.exp(x - fnp.max(x, 1, keepdims=True))
    rows = fnp.sum(e, 1)
    return e / rows[:, None], fnp.sum(fnp.tanh(x), 0), fnp.tanh(v) * 2, fnp.sum(v), (fnp.sum(fnp.sin(x), 0) + x) * 2
with fg.use_backend("llvm"):
    print(hashlib.sha256(b"".join(np.asarray(y).tobytes() for y in fg.jit(f)(x, v))).hexdigest())
"""


def run_python(code: str, **variables: str) -> str:
    environment = os.environ | variables | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_number_of_threads_changes_no_bit() -> None:
    one, three = (run_python(MANY_THREADS, FUNCGRAD_NUM_THREADS=n) for n in ("1", "3"))
    assert one == three


def test_a_program_follows_the_number_of_threads_that_is_set() -> None:
    x = np.random.default_rng(0).standard_normal((500, 500), np.float32)
    program = program_of(lambda x: fnp.tanh(x) @ x, x)
    results, jobs = [], []
    for n in (1, 3, 1):
        with fg.config(num_threads=n):
            results.append(*program(x))
            (segment,) = program.steps
            jobs.append("call void @parallel_for" in segment.version().text)
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[0], results[1])
    assert jobs == [False, True, False]


def test_a_processor_without_wide_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    if "x86_64" not in machine.processor().triple:
        pytest.skip("the plain processor of this test is an x86")
    plain = machine.Processor()
    plain.name, plain.features, plain.vector_bytes, plain.has_half = "x86-64", "", 16, False
    monkeypatch.setattr(machine, "processor", lambda: plain)
    x = np.random.default_rng(0).standard_normal((9, 21)).astype("float32")
    assert_native(lambda x: (fnp.tanh(x), fnp.sum(fnp.exp(x), 0), fnp.argmax(x, 1), x.astype("int32") // 3), x)
    half = x.astype("float16")
    np.testing.assert_array_equal(native(lambda x: x + 1)(half), half + 1)


@pytest.mark.parametrize("kind", ["network", "loop"])
def test_texts_do_not_depend_on_where_variables_lie(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code on disk is found again by its text, so that no order of a set of variables may go into that."""

    def network(weights: Any, x: Any) -> Any:
        for w in weights:
            x = fg.nn.gelu(x @ w) + fg.nn.softmax(x)
        return fnp.sum(x)

    def loop(weights: Any, x: Any) -> Any:
        def step(carry: Any, w: Any) -> Any:
            a, b, c = carry
            return (b, c, fnp.tanh(a[0] * w)), (a, fnp.sin(c))

        carry, stacked = lax.scan(step, (x[:2], x[1:3], x[2:4]), fnp.stack(weights)[:, :2])
        return sum(fnp.sum(a**2) for a in fg.tree.leaves((carry, stacked)))

    f = {"network": network, "loop": loop}[kind]
    weights, x = [np.full((96, 96), 0.01 * i) for i in range(4)], np.ones((200, 96))
    texts: list[str] = []
    monkeypatch.setattr(
        machine, "Library", lambda text, symbols, new=machine.Library: texts.append(text) or new(text, symbols)
    )
    with fg.use_backend("llvm"):
        for factor in (1, 3, 7919, 104_729):
            # Sets of small tables are read in the order of hashes.
            monkeypatch.setattr(Var, "__hash__", lambda v, factor=factor: id(v) // 16 * factor % 1_000_003)
            fg.jit(fg.value_and_grad(f)).lower(weights, x).compile()
    assert len(texts) >= 4 and len(set(texts)) == len(texts) // 4


def test_code_is_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNCGRAD_CACHE_DIR", str(tmp_path))
    compiled: list[str] = []
    compile_text = machine._compiled
    monkeypatch.setattr(machine, "_compiled", lambda text: compiled.append(text) or compile_text(text))
    x = np.arange(5.0)
    for _ in range(2):
        np.testing.assert_array_equal(native(lambda x: x * 3.25)(x), x * 3.25)
    assert len(compiled) == 1
    (entry,) = (tmp_path / "llvm").iterdir()
    for damaged in (entry.read_bytes()[:-1], b"", b"x" * 100):
        entry.write_bytes(damaged)
        np.testing.assert_array_equal(native(lambda x: x * 3.25)(x), x * 3.25)
    assert len(compiled) == 4 and len(list((tmp_path / "llvm").iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FUNCGRAD_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(cache, "_warned", False)
    with pytest.warns(RuntimeWarning, match="not kept on disk, because .* set FUNCGRAD_CACHE_DIR"):
        assert native(lambda x: x * 5.5)(2.0) == 11.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert native(lambda x: x * 6.5)(2.0) == 13.0


def test_without_llvmlite_the_extra_is_named() -> None:
    code = """
import sys
sys.modules["llvmlite"] = None
import funcgrad as fg
try:
    with fg.use_backend("llvm"):
        pass
except fg.errors.BackendError as error:
    print(error)
"""
    want = "back end 'llvm' cannot be loaded: it needs llvmlite; install it with: pip install 'funcgrad[llvm]'"
    assert run_python(code) == want


def test_importing_funcgrad_imports_no_llvm() -> None:
    assert run_python("import sys, funcgrad; print([m for m in sys.modules if 'llvm' in m])") == "[]"


def test_known_values_stay_known_inside_of_a_program():
    """A closed-over array is not traced: its back end computes with NumPy what is not compiled."""
    labels = np.array([0, 2, 1])
    loss = fg.jit(lambda x: fg.nn.losses.softmax_cross_entropy(x, labels))
    x = np.random.default_rng(0).normal(size=(3, 3))
    want = loss(x)
    with fg.use_backend("llvm"):
        np.testing.assert_allclose(loss(x), want, rtol=1e-14)
        assert fg.jit(lambda x: x + (1 if fg.numpy.any(labels > 1) else 0))(1.0) == 2.0
