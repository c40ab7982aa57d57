"""What a user is told: each message says what happened, to which argument, at which line of theirs, and what to write.

A case is a function that goes wrong, the type of the error, and what its text must hold. ``line`` is a piece of the
user's line that the message must quote.
"""

import math
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import errors, lax

V, M, I = np.ones(3), np.ones((3, 2)), np.arange(3)


class Case(NamedTuple):
    run: Callable[[], Any]
    error: type[Exception]
    parts: tuple[str, ...]
    line: str | None = None


CASES: dict[str, Case] = {}


def case(error, *parts, line=None):
    def register(run):
        assert run.__name__ not in CASES
        CASES[run.__name__] = Case(run, error, parts, line)
        return run

    return register


@pytest.mark.parametrize("name", CASES)
def test_message(name):
    run, error, parts, line = CASES[name]
    with pytest.raises(error) as caught:
        run()
    text = str(caught.value)
    for part in parts:
        assert part in text
    if line is not None:
        place = text.splitlines()[-1]
        assert "test_errors.py:" in place
        assert line in place


# Concretization -------------------------------------------------------------------------------------------------------

ADVICE = ("fnp.where or lax.cond", "lax.fori_loop or lax.while_loop")


@case(
    errors.ConcretizationError,
    "a choice on its truth", "bool[]", "inside 'loss'", "the argument params['w'][1]", *ADVICE, "static_argnums",
    line="if fnp.sum(params",
)  # fmt: skip
def jit_if():
    def loss(params, x):
        if fnp.sum(params["w"][1]) > 0:
            return x
        return -x

    fg.jit(loss)({"w": [V, V]}, 1.0)


@case(errors.ConcretizationError, "float() needs a concrete value", "the argument x;", line="float(x)")
def jit_float():
    fg.jit(lambda x, y: float(x) + y)(1.0, 2.0)


@case(errors.ConcretizationError, "int() needs a concrete value", "the argument x;", line="int(x)")
def jit_int():
    fg.jit(lambda x: int(x))(1.0)


@case(errors.ConcretizationError, "`range`", "the argument steps", "static_argnums", line="range(steps)")
def jit_range():
    fg.jit(lambda x, steps: sum(x for _ in range(steps)))(1.0, 3)


@case(errors.ConcretizationError, "truth", "the argument flag", line="bool(flag)")
def jit_bool():
    fg.jit(lambda flag: bool(flag))(True)


@case(errors.ConcretizationError, "truth", "the arguments x, args[0]", line="x > args[0]")
def jit_depends_on_two_arguments():
    fg.jit(lambda x, *args: 1 if x > args[0] else 2)(1.0, 2.0)


@case(errors.ConcretizationError, "a shape", "the argument n", line="fnp.zeros(n)")
def jit_shape():
    fg.jit(lambda n: fnp.zeros(n))(3)


@case(errors.ConcretizationError, ".item()", "the argument x", line="x.item()")
def jit_item():
    fg.jit(lambda x: x.item())(1.0)


@case(errors.ConcretizationError, "float()", line="math.sin(x)")
def jit_math():
    fg.jit(lambda x: math.sin(x))(1.0)


@case(errors.ConcretizationError, "truth", "inside vmap", "a different value in each row", *ADVICE, line="x if x > 0")
def vmap_if():
    fg.vmap(lambda x: x if x > 0 else -x)(V)


@case(errors.ConcretizationError, "float()", "inside vmap", line="float(x)")
def vmap_float():
    fg.vmap(lambda x: float(x))(V)


@case(errors.ConcretizationError, "truth", "inside 'step'", *ADVICE, line="if x > 0")
def scan_if():
    def step(c, x):
        if x > 0:
            return c, None
        return -c, None

    lax.scan(step, 1.0, V)


@case(
    errors.ConcretizationError,
    "being differentiated would lose its derivative",
    "lax.stop_gradient",
    line="math.exp(x)",
)
def grad_math():
    fg.grad(lambda x: math.exp(x))(1.0)


def test_static_arguments_are_not_advised_where_there_are_none():
    with pytest.raises(errors.ConcretizationError) as caught:
        CASES["scan_if"].run()
    assert "static_argnums" not in str(caught.value)


def test_grad_alone_lets_python_branch():
    assert fg.grad(lambda x: x * x if x > 0 else -x)(3.0) == 6.0


# Leaks ----------------------------------------------------------------------------------------------------------------


def leak(how):
    kept = []

    def stash(x):
        kept.append(x * 2.0)
        return x

    how(stash)
    return kept[0] + 1.0


@case(
    errors.LeakedTracerError,
    "f64[]", "the tracing of 'stash' had ended", "kept.append(x * 2.0)", "return it from 'stash'",
    line="return kept[0] + 1.0",
)  # fmt: skip
def leak_from_jit():
    leak(lambda f: fg.jit(f)(1.0))


@case(errors.LeakedTracerError, "the transformation of 'stash'", "return it from 'stash'", line="return kept[0] + 1.0")
def leak_from_grad():
    leak(lambda f: fg.grad(f)(1.0))


@case(errors.LeakedTracerError, "f64[]", "the transformation of 'stash'", line="return kept[0] + 1.0")
def leak_from_vmap():
    leak(lambda f: fg.vmap(f)(V))


@case(errors.LeakedTracerError, "cannot be pickled", "the argument x", line="pickle.dumps(x)")
def pickling_a_tracer():
    fg.jit(lambda x: pickle.dumps(x))(1.0)


# grad -----------------------------------------------------------------------------------------------------------------


@case(
    errors.TransformError, "grad needs a function that returns a scalar", "f64[3]", ".sum()", "jacrev", line="fg.grad("
)
def grad_of_a_vector():
    fg.grad(lambda x: x * 2)(V)


@case(errors.TransformError, "returned (*, *)", "has_aux=True", line="fg.grad(")
def grad_of_a_pair():
    fg.grad(lambda x: (fnp.sum(x), x))(V)


@case(errors.TransformError, "returned None", line="fg.grad(")
def grad_of_nothing():
    fg.grad(lambda x: None)(V)


@case(errors.TransformError, "p['n'] is i64[]", "an integer has no derivative", "write p['n'] = 3.0", "argnums")
def grad_of_a_python_integer():
    fg.grad(lambda p: p["n"] * 1.0)({"n": 3})


@case(errors.TransformError, "x is i64[3]", "x.astype(float)", line="fg.grad(")
def grad_of_an_integer_array():
    fg.grad(lambda x: fnp.sum(x) * 1.0)(I)


@case(errors.TransformError, "a real number", "c128[]", "holomorphic=True")
def grad_with_a_complex_result():
    fg.grad(lambda x: x * 1j)(1.0)


@case(errors.TransformError, "a real number", "i64[]")
def grad_with_an_integer_result():
    fg.grad(lambda x: 3)(1.0)


@case(errors.OperandTypeError, "grad: the argument p['name'] must be an array or a scalar, not 'relu' of type str")
def grad_of_a_string():
    fg.grad(lambda p: 1.0)({"name": "relu", "w": V})


@case(errors.TransformError, "argnums=1", "1 positional arguments", "argnames", line="fg.grad(f, argnums=1)")
def grad_of_a_missing_argument():
    def f(x):
        return x

    fg.grad(f, argnums=1)(1.0)


@case(errors.TransformError, "argnames names 'scale'", "not passed by keyword to f")
def grad_of_a_missing_keyword():
    def f(x, scale=1.0):
        return x * scale

    fg.grad(f, argnames="scale")(1.0)


@case(errors.TransformError, "has_aux=True", "a pair (value, aux)")
def has_aux_without_a_pair():
    fg.grad(lambda x: x, has_aux=True)(1.0)


@case(errors.TransformError, "grad takes a function, not 3")
def grad_of_no_function():
    fg.grad(3)


# Shapes: under jit, where funcgrad decides ---------------------------------------------------------------------------------

SHAPES = {
    "elementwise": (lambda x: x + M, ["add", "(3,)", "(3, 2)", "axis -1 has 3 and 2"]),
    "where": (lambda x: fnp.where(x > 0, M, x), ["where", "(3,)", "(3, 2)"]),
    "dot": (lambda x: x @ fnp.ones(4), ["matmul", "(3,)", "(4,)"]),
    "matmul": (lambda x: x[:, None] @ x[:, None], ["matmul", "(3, 1)"]),
    "tensordot": (lambda x: fnp.tensordot(x, M[:2], 1), ["shape"]),
    "concatenate": (lambda x: fnp.concatenate([M * x[0], fnp.ones((2, 3))]), ["concatenat", "2", "3"]),
    "stack": (lambda x: fnp.stack([x, M]), ["stack", "same shape", "(3,)", "(3, 2)"]),
    "reshape": (lambda x: x.reshape(2, 2), ["reshape", "(3,)", "(2, 2)"]),
    "broadcast": (lambda x: fnp.broadcast_to(x, (2, 2)), ["broadcast", "(3,)", "(2, 2)"]),
    "convolution": (
        lambda x: lax.conv_general_dilated(x[None, :, None] * fnp.ones((1, 3, 8)), fnp.ones((4, 2, 3)), (1,), "VALID"),
        ["convolution", "3 input channels", "(4, 2, 3)"],
    ),
    "index": (lambda x: x[5], ["index 5 is out of bounds for axis 0 with size 3"]),
    "negative_index": (lambda x: x[-4], ["index -4 is out of bounds for axis 0 with size 3"]),
    "gather": (lambda x: x[np.array([0, 7])], ["index 7 is out of bounds for axis 0 with size 3"]),
    "too_many_indices": (lambda x: x[0, 1], ["too many indices", "1-dimensional", "2 were indexed"]),
    "boolean_index": (lambda x: x[np.array([True, False])], ["boolean index", "axis 0", "3", "2"]),
    "axis": (lambda x: fnp.sum(x, 3), ["axis 3 is out of bounds for array of dimension 1"]),
    "argmax": (lambda x: fnp.argmax(x, 2), ["axis 2 is out of bounds for array of dimension 1"]),
    "einsum_size": (lambda x: fnp.einsum("ij,jk->ik", M * x[0], M), ["einsum", "j"]),
    "einsum_output": (lambda x: fnp.einsum("i->k", x), ["einsum", "k"]),
    "at_set": (lambda x: x.at[0:2].set(fnp.ones(3)), ["at[].set", "(3,)", "(2,)"]),
    "at_index": (lambda x: x.at[7].set(1.0), ["index 7 is out of bounds for axis 0 with size 3"]),
    "split": (lambda x: fnp.split(x, 2), ["split", "equal", "3", "2"]),
    "transpose": (lambda x: fnp.transpose(x[:, None], (0, 0)), ["transpose", "(0, 0)"]),
}


@pytest.mark.parametrize("how", ["jit", "grad", "vmap"])
@pytest.mark.parametrize("family", SHAPES)
def test_shapes_that_do_not_fit(family, how):
    f, parts = SHAPES[family]
    transform = {
        "jit": lambda: fg.jit(f)(V),
        "grad": lambda: fg.grad(lambda x: fnp.sum(f(x)))(V),
        "vmap": lambda: fg.vmap(f)(np.ones((2, 3))),
    }[how]
    with pytest.raises((ValueError, IndexError)) as caught:
        transform()
    if how == "jit":
        for part in parts:
            assert part in str(caught.value)
    if isinstance(caught.value, errors.FuncgradError):
        assert "test_errors.py:" in str(caught.value)
        assert "in <lambda>" in str(caught.value)


@case(errors.OperandTypeError, "bitwise_and", "float64", line="x & 1")
def dtypes_that_do_not_fit():
    fg.jit(lambda x: x & 1)(V)


# Plain arrays and traced values ------------------------------------------------------------------------------------------


@case(errors.InPlaceError, "x = x.at[i].set(v)", line="x[0] = 1.0")
def assignment():
    def f(x):
        x[0] = 1.0
        return x

    fg.jit(f)(V)


@case(errors.InPlaceError, "x.at[i].add(v)", line="x[0] += 1.0")
def in_place_addition():
    def f(x):
        x[0] += 1.0
        return fnp.sum(x)

    fg.grad(f)(V)


@case(errors.InPlaceError, "an argument", "x = x * v", "x.copy()", line="x *= 2.0")
def augmented_assignment_to_an_argument():
    def f(x):
        x *= 2.0
        return x

    fg.jit(f)(V)


@case(errors.InPlaceError, "an argument", "a view of one", line="row[0] = 1.0")
def assignment_to_a_view_of_an_argument():
    def f(x):
        row = x[1:]
        row[0] = 1.0
        return row

    fg.vmap(f)(np.ones((2, 3)))


@case(errors.InPlaceError, "made outside of the function", "x.copy()", line="y[i] = c")
def assignment_to_what_a_loop_closes_over():
    def f(x):
        y = fnp.zeros_like(x)

        def body(i, c):
            y[i] = c
            return c + 1.0

        return lax.fori_loop(0, 3, body, x[0]) + y

    fg.jit(f)(V)


@case(errors.InPlaceError, "scalar", "immutable", line="s[()] = 1.0")
def assignment_to_a_scalar():
    def f(x):
        s = fnp.sum(x)
        s[()] = 1.0
        return s

    fg.jit(f)(V)


@case(errors.InPlaceError, "read-only", "broadcast_to", line="y[0] = 1.0")
def assignment_to_a_broadcast():
    def f(x):
        y = np.broadcast_to(x * 2, (2, 3))
        y[0] = 1.0
        return y

    fg.jit(f)(V)


@case(errors.StaleViewError, "first = y[:1]", "y[0] = 3.0", ".copy()", line="return first * x")
def stale_view():
    def f(x):
        y = x * 2
        first = y[:1]
        y[0] = 3.0
        return first * x

    fg.jit(f)(V)


@case(errors.StaleViewError, "flat = y.reshape(3)", "flat[0] = 3.0", "does not promise", line="return y * x")
def array_written_through_a_reshape():
    def f(x):
        y = x * 2
        flat = y.reshape(3)
        flat[0] = 3.0
        return y * x

    fg.jit(f)(V)


@case(errors.InPlaceError, "hypot.at", "x.at[i].set(hypot(", line="np.hypot.at")
def a_ufunc_without_an_update():
    def f(x):
        y = x * 2
        np.hypot.at(y, [0], x[0])
        return y

    fg.jit(f)(V)


@case(errors.InPlaceError, "np.copyto", "a plain array", "np.zeros_like(x)", line="np.copyto(")
def copy_into_a_plain_array():
    fg.jit(lambda x: np.copyto(np.empty(3), x))(V)


@case(errors.InPlaceError, "np.add", "out=", line="np.add(x, x, out=")
def out_argument():
    fg.jit(lambda x: np.add(x, x, out=np.zeros(3)))(V)


@case(
    errors.TracerArrayError, "np.array([x, y])", "fnp.stack", "the argument x", "pure_callback", line="np.array([x, y])"
)
def array_of_tracers():
    fg.jit(lambda x, y: np.array([x, y]))(1.0, 2.0)


@case(errors.TracerArrayError, "fnp.stack", "being differentiated", line="np.array([x, x])")
def array_of_differentiated_values():
    fg.grad(lambda x: np.array([x, x]).sum())(1.0)


@case(errors.TracerArrayError, "fnp.take(table, i", line="V[n]")
def plain_array_indexed_by_a_tracer():
    fg.jit(lambda n: V[n])(1)


# Trees ----------------------------------------------------------------------------------------------------------------


@case(errors.TreeError, "jvp: tangents", "({'a': *},)", "({'b': *},)", line="fg.jvp(")
def jvp_tree():
    fg.jvp(lambda p: p["a"], ({"a": 1.0},), ({"b": 1.0},))


@case(errors.OperandError, "jvp: tangents[0]['a']", "f64[3]", "f64[2]", line="fg.jvp(")
def jvp_shape():
    fg.jvp(lambda p: p["a"], ({"a": V},), ({"a": np.ones(2)},))


@case(errors.OperandError, "jvp: tangents[0]['a']", "dtype", "f64[3]", "f32[3]")
def jvp_dtype():
    fg.jvp(lambda p: p["a"], ({"a": V},), ({"a": V.astype(np.float32)},))


@case(errors.TransformError, "as a tuple", "ndarray")
def jvp_without_tuple():
    fg.jvp(lambda x: x, V, V)


@case(errors.TreeError, "vjp: the cotangent", "(*, *)", "a single value", line="pullback(V)")
def vjp_tree():
    _, pullback = fg.vjp(lambda x: (x, x), V)
    pullback(V)


@case(errors.OperandError, "vjp: the cotangent['y']", "f64[3]", "f64[3,2]")
def vjp_shape():
    _, pullback = fg.vjp(lambda x: {"y": x}, V)
    pullback({"y": M})


@case(errors.OperandError, "the linearized function: tangents[0]", "f64[3]", "f64[3,2]")
def linearized_shape():
    fg.linearize(fnp.sin, V)[1](M)


@case(errors.TreeError, "tree.map: tree number 2", "it has nothing at ['b'][1]")
def tree_map():
    fg.tree.map(lambda a, b: a, {"a": 1, "b": [1, 2]}, {"a": 1, "b": [1]})


@case(errors.TreeError, "in_axes has 1 entries", "2 positional arguments")
def in_axes_count():
    fg.vmap(lambda x, y: x, in_axes=(0,))(V, V)


@case(errors.TreeError, "vmap: in_axes is not a prefix", "[0]", "'b'")
def in_axes_tree():
    fg.vmap(lambda p: p["a"], in_axes=({"b": 0},))({"a": V})


@case(errors.OperandError, "in_axes of p['a'] is 2", "(3,)")
def in_axes_beyond_the_rank():
    fg.vmap(lambda p: p["a"], in_axes=2)({"a": V})


@case(errors.OperandError, "differ in size", "p['a']: 3", "x: 4")
def vmap_sizes():
    fg.vmap(lambda p, x: x)({"a": V}, np.ones(4))


@case(errors.TransformError, "no argument is mapped", "axis_size")
def vmap_of_nothing():
    fg.vmap(lambda x: x, in_axes=None)(V)


@case(errors.TreeError, "out_axes is not a prefix")
def out_axes_tree():
    fg.vmap(lambda x: (x, x), out_axes=(0, 0, 0))(V)


@case(errors.TransformError, "out_axes is None for the result['r']", "differs between the rows")
def out_axes_none():
    fg.vmap(lambda x: {"r": x}, out_axes=None)(V)


# Control flow ---------------------------------------------------------------------------------------------------------


@case(errors.TreeError, "cond", "false_fun returns a single value, and true_fun (*, *)", line="lax.cond(")
def cond_tree():
    lax.cond(True, lambda x: (x, x), lambda x: x, 1.0)


@case(errors.OperandTypeError, "the result['a']", "false_fun: f64[2], true_fun: f64[]", line="lax.cond(")
def cond_type():
    lax.cond(True, lambda x: {"a": x}, lambda x: {"a": fnp.ones(2)}, 1.0)


@case(errors.OperandTypeError, "rank 0", "f64[3]", "fnp.where", line="lax.cond(")
def cond_predicate():
    lax.cond(V, lambda x: x, lambda x: x, 1.0)


@case(errors.OperandTypeError, "branch 0: f64[], branch 1: f64[2]", line="lax.switch(")
def switch_type():
    lax.switch(0, [lambda x: x, lambda x: fnp.ones(2)], 1.0)


@case(errors.OperandTypeError, "integer index", "f64[]", line="lax.switch(")
def switch_index():
    lax.switch(1.0, [lambda x: x, lambda x: x], 1.0)


@case(errors.TreeError, "scan: step must return a carry", "a single value", "(*, *)", line="lax.scan(")
def scan_tree():
    def step(c, x):
        return (c, c), None

    lax.scan(step, 1.0, V)


@case(errors.TreeError, "scan: step must return a pair (carry, y)", line="lax.scan(")
def scan_pair():
    def step(c, x):
        return c

    lax.scan(step, 1.0, V)


@case(
    errors.OperandTypeError,
    "the carry['k'] goes in as f32[] and comes out of step as f64[]", ".astype('float32')", line="lax.scan(",
)  # fmt: skip
def scan_carry_type():
    def step(c, x):
        return {"k": c["k"] + x}, None

    lax.scan(step, {"k": np.float32(1)}, V)


@case(errors.OperandTypeError, "the carry goes in as f64[3] and comes out of <lambda> as f64[1]", line="lax.scan(")
def scan_carry_shape():
    lax.scan(lambda c, x: (c[:1], None), V, V)


@case(errors.OperandError, "the leading sizes differ", "xs['a']: 3", "xs['b']: 2", line="lax.scan(")
def scan_lengths():
    lax.scan(lambda c, x: (c, None), 1.0, {"a": V, "b": np.ones(2)})


@case(errors.OperandError, "give length", line="lax.scan(")
def scan_without_length():
    lax.scan(lambda c, x: (c, None), 1.0)


@case(errors.OperandTypeError, "must return a boolean of rank 0, not f64[3]", line="lax.while_loop(")
def while_condition():
    lax.while_loop(lambda c: c, lambda c: c, V)


@case(errors.OperandTypeError, "while_loop: the carry goes in as f64[3]", "f64[1]", line="lax.while_loop(")
def while_carry():
    lax.while_loop(lambda c: fnp.sum(c) > 0, lambda c: c[:1], V)


@case(errors.MissingRuleError, "while_loop", "lax.scan", "jvp", "custom_vjp", line="lax.while_loop(")
def while_in_reverse():
    fg.grad(lambda x: lax.while_loop(lambda c: c < 5, lambda c: c * 2, x))(1.0)


@case(errors.MissingRuleError, "fori_loop with traced bounds", "Python integers as bounds", line="lax.fori_loop(")
def fori_in_reverse():
    fg.jit(fg.grad(lambda x, n: lax.fori_loop(0, n, lambda i, c: c * 2, x)))(1.0, 3)


@case(errors.OperandTypeError, "fori_loop: upper must be an integer", "f64[]")
def fori_bound():
    lax.fori_loop(0, 3.0, lambda i, c: c, 1.0)


# jit ------------------------------------------------------------------------------------------------------------------


@case(errors.StaticArgumentError, "the static argument config of f", "list", "pass a tuple", line="jitted(1.0, [1, 2])")
def unhashable_static_argument():
    def f(x, config):
        return x

    jitted = fg.jit(f, static_argnums=1)
    jitted(1.0, [1, 2])


@case(errors.StaticArgumentError, "the static argument config of f is an array", "not static")
def array_as_static_argument():
    def f(x, config):
        return x

    fg.jit(f, static_argnames="config")(1.0, config=V)


@case(errors.StaticArgumentError, "static_argnames names 'conf'", "x, config")
def unknown_static_argument():
    def f(x, config):
        return x

    fg.jit(f, static_argnames="conf")


@case(errors.StaticArgumentError, "p['a'] is of type set", "neither an array nor hashable", "register")
def unhashable_leaf():
    fg.jit(lambda p: 1)({"a": {1}})


@case(errors.OperandTypeError, "jit: the argument p['a'] has the dtype object", "not a number")
def array_of_objects():
    fg.jit(lambda p: p)({"a": np.array([object()])})


@case(errors.OperandTypeError, "jit: the result of f['a'] must be an array or a scalar, not", "of type object")
def result_that_is_no_array():
    def f(x):
        return {"a": object()}

    fg.jit(f)(1.0)


@case(errors.OperandTypeError, "vmap: the argument x must be an array or a scalar", "of type str")
def vmap_of_a_string():
    fg.vmap(lambda x: x)("abc")


@case(errors.OperandTypeError, "compiled for arguments [f64[3]]", "[f64[2]]")
def compiled_program_with_other_types():
    fg.jit(lambda x: x).lower(V).compile()(np.ones(2))


# Custom rules ---------------------------------------------------------------------------------------------------------


def with_vjp(fwd, bwd, x=M):
    @fg.custom_vjp
    def layer(x):
        return fg.tree.leaves(x)[0].sum()

    layer.defvjp(fwd, bwd)
    return fg.grad(lambda v: layer(v))(x)


@case(
    errors.OperandError, "the backward pass of layer", "number 0 f64[2,3]", "f64[3,2]", "(transposed?)", line="layer(v)"
)
def transposed_cotangent():
    with_vjp(lambda x: (x.sum(), x), lambda r, ct: (ct * r.T,))


@case(errors.OperandError, "the backward pass of layer", "number 0 f64[]", "f64[3,2]")
def cotangent_of_another_shape():
    with_vjp(lambda x: (x.sum(), x), lambda r, ct: (ct,))


@case(errors.TreeError, "a tuple of 1 cotangents", "returned a ndarray", "`return (ct,)`")
def cotangent_that_is_no_tuple():
    with_vjp(lambda x: (x.sum(), x), lambda r, ct: ct * r)


@case(errors.TreeError, "a tuple of 1 cotangents", "2 entries")
def too_many_cotangents():
    with_vjp(lambda x: (x.sum(), x), lambda r, ct: (ct * r, ct))


@case(errors.TreeError, "cotangent number 0 {'b': *}", "{'a': *}")
def cotangent_of_another_tree():
    with_vjp(lambda x: (x["a"].sum(), x), lambda r, ct: ({"b": ct * M},), {"a": M})


@case(errors.TransformError, "the forward pass of layer", "a pair (value, residuals)")
def forward_pass_without_residuals():
    with_vjp(lambda x: x.sum(), lambda r, ct: (ct * r,))


def with_jvp(rule):
    @fg.custom_jvp
    def layer(x):
        return x * 1.0

    layer.defjvp(rule)
    return fg.jvp(lambda v: layer(v), (M,), (M,))


@case(errors.OperandError, "the jvp rule of layer", "f64[3,2]", "f64[2,3]", "(transposed?)", line="layer(v)")
def transposed_tangent():
    with_jvp(lambda p, t: (p[0], t[0].T))


@case(errors.TreeError, "the jvp rule of layer", "a single value", "(*,)")
def tangent_of_another_tree():
    with_jvp(lambda p, t: (p[0], (t[0],)))


@case(errors.TransformError, "the jvp rule of layer", "a pair (value, tangent)")
def jvp_rule_without_pair():
    with_jvp(lambda p, t: t[0])


@case(errors.MissingRuleError, "layer has no custom rule yet", "layer.defjvp")
def no_rule_yet():
    @fg.custom_jvp
    def layer(x):
        return x

    layer(1.0)


@case(errors.MissingRuleError, "closes over", "pass the value as an argument")
def derivative_of_what_a_custom_function_closes_over():
    def outer(y):
        f = fg.custom_jvp(lambda x: x * y)
        f.defjvp(lambda p, t: (p[0] * 3.0, t[0] * 3.0))
        return fg.jit(f)(2.0)

    fg.grad(outer)(3.0)


# Primitives, back ends, names, settings -------------------------------------------------------------------------------------


class Mystery(fg.extend.Primitive):
    name = "mystery"


mystery = Mystery()


@case(errors.BackendError, "'numpy' has no 'mystery'", "`ops`", "`expand` in the class Mystery")
def no_evaluation():
    mystery(1.0)


@case(errors.MissingRuleError, "'mystery' has no type rule", "`type` in the class Mystery", line="mystery(x)")
def no_type():
    fg.jit(lambda x: mystery(x))(1.0)


@case(errors.MissingRuleError, "'mystery' has no jvp rule", "custom_jvp or custom_vjp", line="mystery(x)")
def no_derivative():
    fg.grad(lambda x: mystery(x))(1.0)


@case(errors.MissingRuleError, "'mystery' has no batch rule", "`batch` in the class Mystery", line="mystery(x)")
def no_batching():
    fg.vmap(lambda x: mystery(x))(V)


@case(errors.MissingRuleError, "sin is not linear in its operand", "linear_transpose")
def transpose_of_what_is_not_linear():
    fg.linear_transpose(fnp.sin, 1.0)(1.0)


@case(errors.TransformError, "linear_transpose", "does not depend on the arguments")
def transpose_of_a_constant():
    fg.linear_transpose(lambda x: np.ones(3), 1.0)


@case(errors.BackendError, "there is no back end 'nump'", "numpy")
def unknown_backend():
    with fg.use_backend("nump"):
        pass


@case(errors.TransformError, "no vmap around binds the axis name 'i'", "axis_name='i'", line="lax.psum(1.0")
def unbound_axis_name():
    lax.psum(1.0, "i")


@case(errors.TransformError, "axis name 'j'", "there are ['i']", line='lax.psum(x, "j")')
def another_axis_name():
    fg.vmap(lambda x: lax.psum(x, "j"), axis_name="i")(V)


@case(AttributeError, "unknown setting 'debug_nan'", "debug_nans")
def unknown_setting():
    fg.config.debug_nan = True


@case(AttributeError, "unknown setting 'debug_nan'", "debug_nans")
def unknown_setting_in_a_block():
    with fg.config(debug_nan=True):
        pass


def test_an_unknown_setting_leaves_the_others_as_they_were():
    before = fg.config.debug_nans
    with pytest.raises(AttributeError), fg.config(debug_nans=True, no_such=1):
        pass
    assert fg.config.debug_nans == before


def test_an_error_on_one_line_for_the_command_line():
    with pytest.raises(errors.BackendError) as caught:
        unknown_backend()
    assert "\n" not in str(caught.value)


# Looking for NaN ------------------------------------------------------------------------------------------------------


def nan_message(f, *args):
    with fg.config(debug_nans=True), pytest.raises(errors.NonFiniteError) as caught:
        f(*args)
    return str(caught.value)


@pytest.mark.parametrize("outer", [lambda f: f, fg.jit, lambda f: fg.jit(fg.jit(f))], ids=["eager", "jit", "nested"])
def test_nan_in_a_forward_pass(outer):
    text = nan_message(outer(lambda x: fnp.sum(fnp.sqrt(x - 2.0))), V)
    assert "the first NaN came out of sqrt" in text
    assert "fnp.sqrt(x - 2.0)" in text
    assert "operand 0: f64[3] = [-1. -1. -1.]" in text
    assert "backward" not in text


def test_infinity_in_a_forward_pass():
    text = nan_message(fg.jit(lambda x: 1.0 / (x - 1.0)), V)
    assert "the first infinity came out of div" in text
    assert "operand 1: f64[3] = [0. 0. 0.]" in text


@pytest.mark.parametrize("outer", [lambda f: f, fg.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("inner", [lambda f: f, fg.jit, fg.checkpoint], ids=["plain", "jit", "checkpoint"])
def test_infinity_in_a_backward_pass_names_both(outer, inner):
    def f(x):
        y = x * 1e200
        return y * 1e200

    # The value is 1, but the cotangent of y overflows on its way to x.
    text = nan_message(outer(fg.grad(inner(f))), 1e-300)
    assert "the first infinity came out of mul" in text
    assert "in the backward pass" in text
    assert "of the forward operation at" in text
    assert "y = x * 1e200" in text


def test_the_derivative_of_a_root_at_zero():
    text = nan_message(fg.grad(lambda x: fnp.sqrt(x)), 0.0)
    assert "the first infinity came out of div" in text
    assert "fnp.sqrt(x)" in text


@pytest.mark.parametrize("outer", [lambda f: f, fg.jit], ids=["eager", "jit"])
def test_nan_in_a_scan(outer):
    step = lambda c, x: (fnp.log(c - x), None)
    text = nan_message(outer(lambda xs: lax.scan(step, 2.0, xs)[0]), V)
    assert "the first NaN came out of log" in text
    assert "fnp.log(c - x)" in text
    assert "operand 0: f64[] = -1.0" in text


def test_infinity_in_the_backward_pass_of_a_scan():
    def f(x):
        return lax.scan(lambda c, _: (c * 1e200, None), x, None, 2)[0]

    text = nan_message(fg.grad(f), 1e-300)
    assert "in the backward pass" in text
    assert "c * 1e200" in text


def test_what_was_not_finite_before_is_not_blamed():
    with fg.config(debug_nans=True):
        assert np.isnan(fg.jit(lambda x: x + 1.0)(np.nan))


def test_nans_pass_when_nobody_looks():
    assert np.isnan(fg.jit(lambda x: fnp.log(x))(-1.0))
