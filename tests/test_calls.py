"""Named calls: what goes by a function's name is that function."""

import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp

X = np.array([0.3, -1.2, 2.0])


@fg.jit
def smooth(x):
    return fnp.log(fnp.sum(fnp.exp(x)))


@fg.jit
def weighted(x, w):
    return x * w


def called(f, *args):
    """The names of the calls in a traced function, each with the numbers of its operands and results."""
    eqns = fg.make_jaxpr(f)(*args).eqns
    return [(e.params["name"], len(e.inputs), len(e.outputs)) for e in eqns if e.primitive.name == "jit"]


def test_what_a_call_becomes_under_a_transform_has_a_name_of_its_own():
    assert called(smooth, X) == [("smooth", 1, 1)]
    assert {name for name, *_ in called(lambda x: fg.jvp(smooth, (x,), (x,)), X)} == {"jvp_smooth"}
    assert {name for name, *_ in called(fg.vmap(smooth), X[None])} == {"vmap_smooth"}
    assert {name for name, *_ in called(fg.grad(smooth), X)} == {"primal_smooth", "transpose_linear_smooth"}


def test_a_forward_pass_that_is_the_function_keeps_its_name():
    # The residuals of a product are its operands, so that nothing more is returned.
    names = called(lambda x, w: fg.vjp(weighted, x, w)[1](x), X, X)
    assert names == [("weighted", 2, 1), ("transpose_linear_weighted", 3, 2)]
    assert called(lambda x: fg.linearize(smooth, x)[1](x), X)[-1][0] == "linear_smooth"


def test_the_split_of_a_call_with_linear_results_has_names_of_its_own():
    @fg.jit
    def both(x, c):
        return x * c, fnp.sin(c)

    names = {name for name, *_ in called(lambda c: fg.linear_transpose(lambda x: both(x, c)[0], X)(c), X)}
    assert names == {"primal_both", "transpose_linear_both"}
