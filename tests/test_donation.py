"""Donated arguments: their memory is used, their values are right, and no use of them afterwards goes unnoticed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.errors import OperandTypeError, StaticArgumentError
from funcgrad_numpy import pool

N = 1 << 16


def step(x: Any, y: Any) -> Any:
    return fnp.sin(x) + y


def looped(x: Any, y: Any) -> Any:
    return fg.lax.fori_loop(0, 3, lambda _, c: fnp.sin(c) + y, x)


def chain(x: Any, y: Any) -> Any:
    return fnp.exp(-x * x) * fnp.cos(x + y) + fnp.sqrt(x * x + y) - fnp.tanh(x) * y


def moved(x: Any, y: Any) -> Any:
    return x.reshape(-1, 2).T + 1.0, y * 2.0


def passed(x: Any, y: Any) -> Any:
    return x, x + y


def unused(x: Any, y: Any) -> Any:
    return y + 1.0


def arrays() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    return random.random(N), random.random(N)


@pytest.mark.parametrize("donated", [0, 1, (0, 1)])
@pytest.mark.parametrize("fun", [step, looped, chain, moved, passed, unused])
def test_values_are_those_of_the_function(fun: Any, donated: Any) -> None:
    x, y = arrays()
    expected = fg.tree.leaves(fun(x.copy(), y.copy()))
    kept = [v.copy() for i, v in enumerate((x, y)) if i not in np.atleast_1d(donated)]
    found = fg.tree.leaves(fg.jit(fun, donate_argnums=donated)(x, y))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
        assert a.flags.writeable
    for a, b in zip([v for i, v in enumerate((x, y)) if i not in np.atleast_1d(donated)], kept, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not any(np.shares_memory(a, b) for i, a in enumerate(found) for b in found[:i])


@pytest.mark.parametrize("fun", [step, looped])
def test_a_result_lies_in_the_donated_memory_and_the_peak_is_smaller(fun: Any) -> None:
    x, y = arrays()
    plain = fg.jit(fun).lower(x, y).compile().memory_analysis()
    given = fg.jit(fun, donate_argnums=0).lower(x, y).compile().memory_analysis()
    assert plain.alias_size_in_bytes == 0
    assert given.alias_size_in_bytes == given.output_size_in_bytes == x.nbytes
    assert given.peak_memory_in_bytes <= plain.peak_memory_in_bytes - x.nbytes
    address = x.ctypes.data
    assert fg.jit(fun, donate_argnums=0)(x, y).ctypes.data == address


def test_a_training_loop_stays_in_its_memory() -> None:
    update = fg.jit(lambda p, g: {k: p[k] - 0.1 * g[k] for k in p}, donate_argnames="p")
    params = dict(zip("ab", arrays(), strict=True))
    grads = {k: np.ones(N) for k in params}
    expected = {k: v - 0.1 - 0.1 - 0.1 for k, v in params.items()}
    addresses = {k: v.ctypes.data for k, v in params.items()}
    for _ in range(3):
        params = update(params, grads)
    assert {k: v.ctypes.data for k, v in params.items()} == addresses
    for k, v in params.items():
        np.testing.assert_allclose(v, expected[k], rtol=1e-14)


def test_a_donated_array_cannot_be_used_again() -> None:
    x, y = arrays()
    f = fg.jit(step, donate_argnums=0)
    f(x, y)
    with pytest.raises(TypeError, match="donated to jit"):
        x + 1.0
    with pytest.raises(OperandTypeError, match="argument x has the dtype .*donated to jit"):
        f(x, y)
    with pytest.raises(ValueError, match="read-only"):
        x[0] = 1.0
    assert "donated to jit" in repr(x)


def read_only() -> Any:
    x = arrays()[0]
    x.flags.writeable = False
    return x


@pytest.mark.parametrize(
    "make",
    [lambda: arrays()[0][:], lambda: np.ones((N, 2))[:, 0], read_only, lambda: np.frombuffer(bytearray(8 * N))],
    ids=["view", "part", "read-only", "buffer"],
)
def test_memory_that_is_not_the_arrays_own_is_left_alone(make: Any) -> None:
    x, y = make(), arrays()[1]
    before = x.copy()
    found = fg.jit(step, donate_argnums=0)(x, y)
    np.testing.assert_allclose(found, np.sin(before) + y, rtol=1e-14)
    np.testing.assert_array_equal(x, before)
    assert not np.shares_memory(found, x)


def test_a_view_of_a_result_is_no_result() -> None:
    x, y = arrays()
    f = fg.jit(step, donate_argnums=0)
    result = f(x, y)
    before = result.copy()
    f(result[::-1], y)
    np.testing.assert_array_equal(result, before)


def test_memory_that_is_read_elsewhere_is_left_alone() -> None:
    x, _ = arrays()
    before = x.copy()
    for donated in (0, (0, 1)):
        np.testing.assert_allclose(fg.jit(step, donate_argnums=donated)(x, x), np.sin(before) + before, rtol=1e-14)
        np.testing.assert_allclose(
            fg.jit(step, donate_argnums=donated)(x, x[::-1]), np.sin(before) + before[::-1], rtol=1e-14
        )
        np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(
        fg.jit(lambda v: fnp.sin(v) * x, donate_argnums=0)(x), np.sin(before) * before, rtol=1e-14
    )
    np.testing.assert_array_equal(x, before)


def test_memory_of_the_pool_comes_back() -> None:
    pool.clear()
    x = pool.fresh((N,), np.float64)
    x[...] = 1.0
    address = x.ctypes.data
    result = fg.jit(step, donate_argnums=0)(x, np.ones(N))
    del x
    assert pool.fresh((N,), np.float64).ctypes.data != address
    del result
    found = [pool.fresh((N,), np.float64) for _ in range(3)]
    assert address in [v.ctypes.data for v in found]
    assert all(v.dtype == np.float64 and v.flags.writeable for v in found)


def test_keywords_static_arguments_and_leaves_that_are_no_arrays() -> None:
    def fun(x: Any, mode: str, n: int, *, y: Any) -> Any:
        return fnp.cos(x) * n + y if mode == "cos" else x

    x, y = arrays()
    expected, address = np.cos(x) * 3 + y, y.ctypes.data
    found = fg.jit(fun, static_argnames="n", donate_argnames="y")(x, "cos", 3, y=y)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert y.dtype.names == ("donated to jit",)
    assert x.dtype == np.float64
    assert found.ctypes.data == address


def test_under_a_transform_nothing_is_donated() -> None:
    x, y = arrays()
    before = x.copy()
    f = fg.jit(lambda x, y: step(x, y).sum(), donate_argnums=0)
    np.testing.assert_allclose(fg.grad(f)(x, y), np.cos(before), rtol=1e-14)
    np.testing.assert_array_equal(x, before)


def test_static_and_donated_is_a_contradiction() -> None:
    with pytest.raises(StaticArgumentError, match="both static and donated"):
        fg.jit(step, static_argnums=0, donate_argnames="x")


def test_a_donated_name_is_one_of_the_signature() -> None:
    with pytest.raises(StaticArgumentError, match="donate_argnames names 'z'"):
        fg.jit(step, donate_argnames="z")
