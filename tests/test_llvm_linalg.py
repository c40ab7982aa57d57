"""LAPACK in compiled programs: values against NumPy's and SciPy's, one native segment, and what singular matrices raise."""

import numpy as np
import pytest

import funcgrad as fg

pytest.importorskip("llvmlite")
scipy_linalg = pytest.importorskip("scipy.linalg")

from funcgrad.primitives.linalg import cholesky, solve, triangular_solve  # noqa: E402
from funcgrad_llvm.program import Segment  # noqa: E402

TOLERANCE = {"float32": {"rtol": 1e-3, "atol": 1e-4}, "float64": {"rtol": 1e-10, "atol": 1e-11}}
everywhere = [pytest.mark.parametrize("dtype", TOLERANCE), pytest.mark.parametrize("stack", [(), (3,), (2, 3)])]
NOT_UNIT = {"left": True, "lower": True, "transpose": False, "conj": False, "unit_diagonal": False}


def over(*marks):
    return lambda test: [test := mark(test) for mark in marks][-1]


def native(f, *args):
    """The result of a program that never returns to Python."""
    with fg.use_backend("llvm"):
        compiled = fg.jit(f).lower(*args).compile()
        assert [type(step) for step in compiled._program.steps] == [Segment]
        return compiled(*args)


def matrices(stack, n, dtype):
    """Well-conditioned matrices."""
    rng = np.random.default_rng(n)
    return (rng.standard_normal((*stack, n, n)) / (2 * n) + np.eye(n)).astype(dtype)


@over(*everywhere)
@pytest.mark.parametrize("n", [1, 5, 70])
def test_cholesky(n, stack, dtype):
    a = matrices(stack, n, dtype)
    a = a @ a.swapaxes(-1, -2)
    a += np.triu(np.ones(n, dtype), 1)  # only the lower triangle is read
    np.testing.assert_allclose(native(cholesky, a), np.linalg.cholesky(a), **TOLERANCE[dtype])


@over(*everywhere)
@pytest.mark.parametrize("n", [1, 5, 70])
@pytest.mark.parametrize("k", [1, 4])
def test_solve(n, k, stack, dtype):
    a, b = matrices(stack, n, dtype), np.random.default_rng(1).standard_normal((*stack, n, k)).astype(dtype)
    kept = a.copy(), b.copy()
    np.testing.assert_allclose(native(solve, a, b), np.linalg.solve(a, b), **TOLERANCE[dtype])
    np.testing.assert_array_equal(a, kept[0])
    np.testing.assert_array_equal(b, kept[1])


@over(*everywhere)
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("how", range(16))
def test_triangular_solve(how, k, stack, dtype):
    n = 7
    left, lower, transpose, unit = (bool(how >> i & 1) for i in range(4))
    a, b = matrices(stack, n, dtype), np.random.default_rng(2).standard_normal((*stack, n, k)).astype(dtype)
    b = b if left else np.ascontiguousarray(b.swapaxes(-1, -2))

    def expected(a, b):
        # x op(a) = b is op(a)^T x^T = b^T
        b, flag = (b, transpose) if left else (b.T, not transpose)
        x = scipy_linalg.solve_triangular(a, b, trans=int(flag), lower=lower, unit_diagonal=unit)
        return x if left else x.T

    want = np.stack([expected(*pair) for pair in zip(a.reshape(-1, n, n), b.reshape(-1, *b.shape[-2:]))])
    params = {"left": left, "lower": lower, "transpose": transpose, "conj": False, "unit_diagonal": unit}
    found = native(lambda a, b: triangular_solve(a, b, **params), a, b)
    np.testing.assert_allclose(found, want.reshape(b.shape), **TOLERANCE[dtype])


def test_operands_and_results_inside_of_a_loop():
    a = matrices((4,), 3, "float64")

    def f(a, x):
        def step(x, a):
            x = solve(a.T, triangular_solve(a, x, **NOT_UNIT))
            return x, cholesky(a @ a.T)

        return fg.lax.scan(step, x, a)

    x, want = np.eye(3), []
    for m in a:
        x = np.linalg.solve(m.T, scipy_linalg.solve_triangular(m, x, lower=True))
        want.append(np.linalg.cholesky(m @ m.T))
    found = native(f, a, np.eye(3))
    np.testing.assert_allclose(found[0], x, rtol=1e-12)
    np.testing.assert_allclose(found[1], want, rtol=1e-12)


@pytest.mark.parametrize("message, f, x", [
    ("Matrix is not positive definite", cholesky, -np.eye(3)),
    ("Singular matrix", lambda a: solve(a, a), np.ones((3, 3))),
    ("Singular matrix", lambda a: triangular_solve(a, a, **NOT_UNIT), np.zeros((3, 3))),
    ("Singular matrix", lambda a: solve(a, a), np.stack([np.eye(2), np.ones((2, 2)), np.eye(2)])),
])  # fmt: skip
def test_what_has_no_solution_raises_at_the_users_line(message, f, x):
    with pytest.raises(np.linalg.LinAlgError, match=message) as caught:
        native(f, x)
    assert any(__file__ in note for note in caught.value.__notes__)
