"""Functions with rules of the user's own, beyond the laws of test_laws.py: what they call, and calls outside transforms."""

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp

X = np.array([0.3, -1.2, 2.0])
T = np.array([1.0, 0.5, -0.25])


def doubled(kind):
    """The map x -> 2 x with a custom rule, which calls the function itself."""
    if kind == "custom_jvp":
        f = fg.custom_jvp(lambda x: 2.0 * x)
        f.defjvp(lambda primals, tangents: (f(*primals), f(*tangents)))
    else:
        f = fg.custom_vjp(lambda x: 2.0 * x)
        f.defvjp(lambda x: (f(x), None), lambda _, ct: (f(ct),))
    return f


def sine(f):
    """sin(x) whose backward pass calls the custom function ``f``: cos(x) ct = f(cos(x) ct / 2)."""
    g = fg.custom_vjp(lambda x: fnp.sin(x))
    g.defvjp(lambda x: (fnp.sin(x), x), lambda x, ct: (f(fnp.cos(x) * ct / 2.0),))
    return g


@pytest.mark.parametrize("inner", ["custom_jvp", "custom_vjp"])
@pytest.mark.parametrize("around", [lambda f: f, fg.jit, fg.checkpoint], ids=["eager", "jit", "checkpoint"])
def test_forward_mode_of_a_backward_pass_that_calls_a_custom_function(inner, around):
    f = doubled(inner)
    g = around(sine(around(f)))
    y, t = fg.jvp(g, (X,), (T,))
    np.testing.assert_allclose(y, np.sin(X))
    np.testing.assert_allclose(t, np.cos(X) * T)
    np.testing.assert_allclose(fg.vmap(lambda x, t: fg.jvp(g, (x,), (t,))[1])(X, T), np.cos(X) * T)
    np.testing.assert_allclose(fg.jacfwd(g)(X), np.diag(np.cos(X)))
    np.testing.assert_allclose(fg.hessian(lambda x: fnp.sum(g(x)))(X), np.diag(-np.sin(X)), atol=1e-15)


@pytest.mark.parametrize("kind", ["custom_jvp", "custom_vjp"])
def test_linear_transpose_of_a_custom_function_is_that_of_what_it_does(kind):
    for f in (doubled(kind), fg.jit(doubled(kind)), fg.vmap(doubled(kind))):
        (ct,) = fg.linear_transpose(f, X)(T)
        np.testing.assert_allclose(ct, 2.0 * T)


def test_linear_transpose_of_a_custom_function_that_is_not_linear_says_what_is_not():
    f = fg.custom_jvp(lambda x: fnp.round(x))
    f.defjvp(lambda primals, tangents: (f(*primals), tangents[0]))
    with pytest.raises(fg.errors.MissingRuleError, match="round.* is not linear"):
        fg.linear_transpose(f, X)(T)
