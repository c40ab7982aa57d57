"""``jit(f, fast_math=True)``: what it permits, and what it does not."""

from __future__ import annotations

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp

F32 = np.float32


def rounded(x, y):
    """0 where the product is rounded before the sum, else the error of that rounding."""
    return x * x - y


X = np.full(40, 1 + 2.0**-12, F32)
Y = X * X


def test_a_product_and_a_sum_may_become_one_rounding_in_native_code() -> None:
    pytest.importorskip("llvmlite")
    with fg.use_backend("llvm"):
        exact, fast = fg.jit(rounded), fg.jit(rounded, fast_math=True)
        np.testing.assert_array_equal(exact(X, Y), 0)
        np.testing.assert_array_equal(fast(X, Y), F32(2.0**-24))
        assert "contract" in fast.lower(X, Y).as_text()
        assert "contract" not in exact.lower(X, Y).as_text()


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_special_values_stay(backend) -> None:
    pytest.importorskip("llvmlite") if backend == "llvm" else None
    x = np.array([np.nan, np.inf, -np.inf, 1e-42, -1e-42, 0.0, 3e38, 1.0], F32)

    def f(x):
        return x * 2 + x, x - x, fnp.exp(x), fnp.maximum(x, 0), fnp.where(x == x, x, 7), 1 / x

    with fg.use_backend(backend):
        found, expected = fg.jit(f, fast_math=True)(x), fg.jit(f)(x)
    for y, z in zip(found, expected, strict=True):
        np.testing.assert_allclose(y, z, rtol=3e-7)


def test_it_is_the_outer_program_s_that_counts() -> None:
    pytest.importorskip("llvmlite")
    with fg.use_backend("llvm"):
        inner = fg.jit(rounded, fast_math=True)
        np.testing.assert_array_equal(fg.jit(lambda x, y: inner(x, y))(X, Y), 0)
        outer = fg.jit(lambda x, y: fg.jit(rounded)(x, y), fast_math=True)
        np.testing.assert_array_equal(outer(X, Y), F32(2.0**-24))


def test_with_donated_arguments_and_with_a_budget() -> None:
    f = fg.jit(rounded, fast_math=True, donate_argnums=0)
    np.testing.assert_array_equal(f(np.array(X), Y), 0)
    assert fg.jit(rounded, fast_math=True, memory_budget="1MB")(X, Y).shape == X.shape
