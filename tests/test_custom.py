"""Functions with rules of the user's own, beyond the laws of test_laws.py: what they call, and calls outside transforms."""

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.testing import check_vjp

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


@pytest.mark.parametrize("f", [doubled("custom_jvp"), doubled("custom_vjp")], ids=["custom_jvp", "custom_vjp"])
def test_outside_of_transforms_a_custom_function_is_called_as_it_is(f):
    np.testing.assert_array_equal(f(X), 2.0 * X)
    assert type(f(2.0)) is float
    with pytest.raises(fg.errors.OperandTypeError, match="the argument x must be an array or a scalar, not 'text'"):
        f("text")


@pytest.mark.parametrize("make", [fg.custom_jvp, fg.custom_vjp])
def test_a_custom_function_that_returns_its_argument_does_so_outside_of_transforms_only(make):
    f = make(lambda x: x)
    if make is fg.custom_jvp:
        f.defjvp(lambda primals, tangents: (f(*primals), tangents[0]))
    else:
        f.defvjp(lambda x: (x, None), lambda _, ct: (ct,))
    assert f(X) is X
    outs = [fg.jit(f)(X), *fg.jvp(f, (X,), (T,)), fg.vjp(f, X)[0], fg.vjp(f, X)[1](T)[0], fg.vmap(f)(X)]
    assert not any(np.shares_memory(y, x) for y in outs for x in (X, T))


@pytest.mark.parametrize("factor, right", [(0.5, True), (0.6, False)])
def test_check_vjp_of_a_backward_pass_that_has_no_transpose(factor, right):
    @fg.custom_vjp
    def root(a):
        return fnp.sqrt(a)

    def backward(r, ct):
        halved = fg.lax.while_loop(lambda s: s[0] < 1, lambda s: (s[0] + 1, s[1] * factor), (0, ct))[1]
        return (halved / r,)

    root.defvjp(lambda a: (fnp.sqrt(a), fnp.sqrt(a)), backward)
    if right:
        check_vjp(root, (2.0,))
    else:
        with pytest.raises(AssertionError, match="check_vjp"):
            check_vjp(root, (2.0,))
