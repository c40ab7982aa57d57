"""Plain arrays that are written to after they were used: derivatives are those of the values that were used."""

import tracemalloc

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp

X = np.array([0.5, -1.0, 2.0])
ROWS = np.stack([X, -X, 2 * X])


def constant(x):
    m = np.array([1.0, 2.0, 3.0])
    y = x * m
    m[0] = 50.0
    return y.sum()


def mask(x):
    m = x > 0
    y = fnp.where(m, x * x, 3.0 * x)
    m[:] = ~m
    return y.sum()


def matrix(x):
    m = np.eye(3)
    y = m @ (x * x)
    m *= 7.0
    return y.sum()


def index(x):
    i = np.array([2, 0])
    y = x[i] * x[i]
    i[:] = 1
    return y.sum()


def called(x):
    m = np.array([1.0, 2.0, 3.0])
    y = fg.jit(lambda x: fnp.sin(x) * m)(x)
    m[:] = 0.0
    return y.sum()


def mapped(x):
    m = np.array([1.0, 2.0, 3.0])
    y = fg.vmap(lambda x, m: x * x * m)(x, m)
    m[:] = 0.0
    return y.sum()


GRADIENTS = {
    constant: lambda x: np.array([1.0, 2.0, 3.0]),
    mask: lambda x: np.where(x > 0, 2 * x, 3.0),
    matrix: lambda x: 2 * x,
    index: lambda x: 2 * x * [1, 0, 1],
    called: lambda x: np.cos(x) * [1, 2, 3],
    mapped: lambda x: 2 * x * [1, 2, 3],
}
AGAIN = {
    "grad": fg.grad,
    "vjp": lambda f: lambda x: fg.vjp(f, x)[1](1.0)[0],
    "linearize": lambda f: lambda x: fnp.stack([fg.linearize(f, x)[1](t) for t in np.eye(3)]),
    "jacrev": fg.jacrev,
    "jacfwd": fg.jacfwd,
    "grad of value": lambda f: lambda x: fg.jvp(fg.grad(lambda s: s * f(x)), (1.0,), (0.0,))[0] * fg.grad(f)(x) / f(x),
}


@pytest.mark.parametrize("f", GRADIENTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("how", AGAIN)
def test_an_array_that_the_function_writes_to_after_use(f, how):
    np.testing.assert_allclose(AGAIN[how](f)(X), GRADIENTS[f](X), rtol=1e-12)


@pytest.mark.parametrize("f", [f for f in GRADIENTS if f is not mask], ids=lambda f: f.__name__)
def test_an_array_that_the_function_writes_to_after_use_under_vmap(f):
    np.testing.assert_allclose(fg.vmap(fg.grad(f))(ROWS), [GRADIENTS[f](x) for x in ROWS], rtol=1e-12)


def test_arguments_may_be_written_to_between_vjp_and_its_pullback():
    x = X.copy()
    _, pullback = fg.vjp(lambda x: x * x, x)
    _, pushforward = fg.linearize(lambda x: x * x, x)
    x[:] = 100.0
    np.testing.assert_array_equal(pullback(np.ones(3))[0], 2 * X)
    np.testing.assert_array_equal(pushforward(np.ones(3)), 2 * X)


@pytest.mark.parametrize("f", [fnp.exp, lambda x: fnp.exp(x).reshape(3, 1) * np.ones(3)], ids=["whole", "part"])
def test_results_may_be_written_to_between_vjp_and_its_pullback(f):
    g = lambda x: (fnp.exp(x), f(x))
    y, pullback = fg.vjp(g, X)
    z, pushforward = fg.linearize(g, X)
    wanted = pullback(y)[0], pushforward(X)[0]
    cts = fg.tree.map(np.copy, y)
    for a in fg.tree.leaves((y, z)):
        a *= 0.0
    np.testing.assert_array_equal(pullback(cts)[0], wanted[0])
    np.testing.assert_array_equal(pushforward(X)[0], wanted[1])


def test_a_read_only_array_is_not_copied():
    m = np.ones(3)
    m.flags.writeable = False
    _, pullback = fg.vjp(lambda x: x * m, X)
    assert any(x is m for eqn in pullback.tape.eqns for x in eqn.inputs)


def test_a_program_still_reads_at_each_call_the_arrays_it_closes_over():
    m = np.ones(3)
    g = fg.jit(fg.grad(lambda x: (x * m).sum()))
    np.testing.assert_array_equal(g(X), [1.0, 1.0, 1.0])
    m[0] = 5.0
    np.testing.assert_array_equal(g(X), [5.0, 1.0, 1.0])


def test_an_array_that_is_used_again_is_kept_once():
    """A loop over large plain data holds one copy of it, or one for each time it was written to."""
    x = np.ones((200, 200))

    def f(w):
        for _ in range(20):
            w = fnp.tanh(x @ w / 200)
        x[0, 0] = 3.0
        return (x @ w).sum()

    tracemalloc.start()
    f_vjp = fg.vjp(f, np.ones(200))[1]
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 3 * x.nbytes
    y = np.ones((200, 200))
    w = np.ones(200)
    for _ in range(20):
        w = np.tanh(y @ w / 200)
    assert f_vjp(1.0)[0].shape == w.shape
