"""The IR: how it prints, what `check` refuses, and that evaluating a jaxpr is calling the function."""

import functools

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.errors import IRError
from funcgrad.extend import Aval, Eqn, Jaxpr, Literal, Var, check, eval_jaxpr, print_jaxpr
from funcgrad.primitives import add, sin

F64 = np.dtype("float64")
VECTOR = Aval((3,), F64)


def printed(f, *args):
    return str(fg.make_jaxpr(f)(*args))


def test_one_equation_prints_on_one_line():
    assert printed(fnp.sin, np.ones(3)) == "{ lambda a:f64[3] . let b:f64[3] = sin a in (b,) }"


def test_literals_params_and_several_equations():
    text = printed(lambda x, y: fnp.sum(x * 2.0 + y, axis=0), np.ones((2, 3), "float32"), np.ones((2, 3), "float32"))
    assert text == (
        "{ lambda a:f32[2,3] b:f32[2,3] . let\n"
        "    c:f32[2,3] = mul a 2.0:f32[]\n"
        "    d:f32[2,3] = add c b\n"
        "    e:f32[3] = reduce_sum[axes=(0,)] d\n"
        "  in (e,) }"
    )


def test_constants_are_bound_before_the_inputs():
    weights = np.arange(3.0)
    assert (
        printed(lambda x: weights + x, np.ones(3)) == "{ lambda a:f64[3] ; b:f64[3] . let c:f64[3] = add a b in (c,) }"
    )


def test_control_flow_prints_its_bodies():
    text = printed(lambda x: lax.scan(lambda c, a: (c + a, None), 0.0, x)[0], np.ones(4))
    assert text == (
        "{ lambda a:f64[4] . let\n"
        "    b:f64[] = scan[\n"
        "      jaxpr={ lambda a:f64[] b:f64[] . let c:f64[] = add a b in (c,) }\n"
        "      length=4\n"
        "      num_carry=1\n"
        "      num_consts=0\n"
        "      reverse=False\n"
        "    ] 0.0:f64[] a\n"
        "  in (b,) }"
    )


def test_a_jaxpr_used_twice_is_printed_once():
    square = fg.jit(lambda x: x * x)

    def f(x):
        return square(x) + square(2.0 * x)

    text = printed(f, np.ones(2))
    assert text.startswith("let <lambda> = { lambda a:f64[2] . let b:f64[2] = mul a a in (b,) } in\n")
    assert text.count("mul a a") == 1 and text.count("jaxpr=<lambda>") == 2


def test_many_names():
    def f(x):
        for _ in range(30):
            x = fnp.sin(x)
        return x

    assert "ae:f64[] = sin ad" in printed(f, np.float64(1))


def test_source_lines_can_be_printed():
    def f(x):
        return fnp.sin(x)

    assert "# test_ir.py:" in print_jaxpr(fg.make_jaxpr(f)(1.0), source=True)
    assert "# backward of test_ir.py:" in print_jaxpr(fg.make_jaxpr(fg.grad(f))(1.0), source=True)


def test_evaluating_a_jaxpr_is_calling_the_function():
    def f(x, y):
        return fnp.where(x > y, fnp.sin(x), y**2), lax.cond(fnp.sum(x) > 0, fnp.cos, fnp.exp, y)

    x, y = np.linspace(-1, 1, 5), np.linspace(1, -1, 5)
    for got, wanted in zip(eval_jaxpr(fg.make_jaxpr(f)(x, y), x, y), f(x, y), strict=True):
        np.testing.assert_array_equal(got, wanted)


def broken(kind):
    """A jaxpr with one fault."""
    a, b, c = Var(VECTOR), Var(VECTOR), Var(VECTOR)
    if kind == "undefined":
        return [a], [Eqn(sin, [b], [c], {})], [c]
    if kind == "twice":
        return [a], [Eqn(sin, [a], [b], {}), Eqn(sin, [b], [b], {})], [b]
    if kind == "wrong type":
        return [a], [Eqn(sin, [a], [Var(Aval((4,), F64))], {})], [a]
    if kind == "wrong shapes":
        return [a], [Eqn(add, [a, Literal(np.float32(1), Aval((), np.dtype("float32")))], [b], {})], [b]
    if kind == "literal":
        return [a], [Eqn(add, [a, Literal(np.ones(3), VECTOR)], [b], {})], [b]
    if kind == "result":
        return [a], [], [b]
    return [a, a], [], [a]


FAULTS = {
    "undefined": "used before it is defined",
    "twice": "assigned twice",
    "wrong type": "declared",
    "wrong shapes": "does not type-check",
    "literal": "the literal",
    "result": "used before it is defined",
    "inputs": "assigned twice",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_check_refuses(kind):
    inputs, eqns, outs = broken(kind)
    with pytest.raises(IRError, match=FAULTS[kind]), fg.config(check_ir=False):
        check(Jaxpr(inputs, eqns, outs))


def test_check_shows_the_equation():
    a, b = Var(VECTOR), Var(VECTOR)
    with fg.config(check_ir=False):
        jaxpr = Jaxpr([a], [Eqn(sin, [a], [b], {}), Eqn(sin, [Var(VECTOR)], [Var(VECTOR)], {})], [b])
        with pytest.raises(IRError, match=r"(?m)^  b:f64\[3\] = sin a\n> d:f64\[3\] = sin c$"):
            check(jaxpr)


def test_nested_jaxprs_have_no_consts():
    inner = fg.make_jaxpr(lambda x: x + np.ones(3))(np.ones(3))
    a, b = Var(VECTOR), Var(VECTOR)
    call = fg.make_jaxpr(fg.jit(lambda x: x + 1))(np.ones(3)).eqns[0].primitive
    with fg.config(check_ir=False), pytest.raises(IRError, match="must not have consts"):
        check(Jaxpr([a], [Eqn(call, [a], [b], {"jaxpr": inner, "name": "f"})], [b]))


def test_a_jaxpr_can_be_pickled():
    import pickle

    jaxpr = fg.make_jaxpr(lambda x: x + 1.0)(np.ones(3))
    again = pickle.loads(pickle.dumps(jaxpr))
    assert str(again) == str(jaxpr)
    np.testing.assert_array_equal(eval_jaxpr(again, np.ones(3))[0], [2.0, 2.0, 2.0])


class Table:
    """Its representation says where it lies, as that of most objects does."""


def test_no_address_is_printed():
    def double(x):
        return x * 2

    params = {"fun": functools.partial(double), "names": {"f": double, "of": [Table()]}, "pair": (Table(), double)}
    jaxpr = fg.make_jaxpr(lambda x: x)(np.ones(2))
    eqn = Eqn(sin, jaxpr.invars, [Var(jaxpr.invars[0].aval)], params)
    text = str(Jaxpr(jaxpr.invars, [eqn], eqn.outputs))
    assert "0x" not in text
    assert "'of': [<" in text and "Table object>" in text and "fun=partial" in text
