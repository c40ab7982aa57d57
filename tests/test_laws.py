"""The laws of the transformations, over generated compositions of them.

A composition is a chain of transformations of a base function, each of which gives a function of arrays again. Then each
transformation is applied once more on top, and compared with another way to the same numbers: jit with no jit, jvp with
a finite difference, vjp with jvp by the inner product, vmap with a loop, a printed program with the function.
"""

import gc
import itertools
import pickle
import random
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.errors import LeakedTracerError
from funcgrad.extend import aval_of, check, eval_jaxpr
from funcgrad.testing import assert_close, check_grads, check_jvp, check_vjp

# Base functions -------------------------------------------------------------------------------------------------------

rng = np.random.default_rng(0)
VECTOR = rng.uniform(0.5, 1.5, 3)
MATRIX = rng.standard_normal((3, 3))


class Base(NamedTuple):
    fun: Callable[..., Any]
    args: tuple[Any, ...]
    reverse: bool = True


def chain(x):
    return fnp.tanh(fnp.sin(x) * fnp.exp(-x) + fnp.log(x) / x**2) - 1.0


def scalar_chain(x, y):
    return 2 * x * y + x**3 - x / (1 + y * y)


def mlp(params, x):
    hidden = fnp.tanh(x @ params["w"][0] + params["b"])
    return {"out": hidden @ params["w"][1], "size": fnp.sum(params["b"] ** 2)}


def reductions(x):
    return fnp.sum(x, 0) * fnp.mean(x), fnp.prod(x, 1), fnp.max(x, axis=1), fnp.var(x)


def indexing(x, index):
    y = fnp.zeros_like(x) + x[::-1]
    return fnp.concatenate([x[index] * x[0], y[1:]]), x[:, None] * y, fnp.reshape(x[index[0]], (1,))


def scattering(x, v, index):
    return (x * 1.0 + fnp.zeros(3)) * 2.0, fg.at(x)[index].add(v), fg.at(x)[1].mul(v[0]), fg.at(x)[index].set(v**2)


def choice(x):
    return fnp.where(x > 1.0, fnp.sqrt(x), x**2) + fnp.maximum(x, 0.9)


def conditional(x, y):
    return lax.cond(fnp.sum(x) > 3.0, lambda a, b: (a * b, b), lambda a, b: (fnp.sin(a), fnp.sum(a) * b), x, y)


def scanned(w, x):
    def step(c, row):
        c = fnp.tanh(w @ c + row)
        return c, (fnp.sum(c), row * c)

    return lax.scan(step, x, w * 0.5)


def repeated(x, n):
    return lax.fori_loop(0, 3, lambda i, v: fnp.sin(v) * (i + n) + 0.1 * x, x)


def looped(x, y):
    def body(state):
        v, k = state
        return v * y + 0.1, k + 1

    return lax.while_loop(lambda s: (fnp.sum(s[0]) < 20.0) & (s[1] < 8), body, (x, 0))[0]


@fg.custom_jvp
def softplus(x):
    return fnp.log1p(fnp.exp(x))


@softplus.defjvp
def _softplus_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return softplus(x), t / (1 + fnp.exp(-x))


@fg.custom_vjp
def scaled(x, k):
    return fnp.sin(x) * k


scaled.defvjp(
    lambda x, k: (scaled(x, k), (x, k)), lambda r, ct: (ct * fnp.cos(r[0]) * r[1], fnp.sum(ct * fnp.sin(r[0])))
)


def custom_forward(x):
    return softplus(x) * x


def custom_backward(x, k):
    return scaled(x * k, k)


def checkpointed(x):
    return fg.checkpoint(lambda v: fnp.sin(fnp.sin(v) * x))(x**2)


@fg.jit
def inner(x, y):
    return fnp.exp(-x * y), x + 1


def nested_jit(x, y):
    a, b = inner(x, y)
    return fg.jit(lambda v: v * b)(a) + inner(y * x, 0.5)[0]


def cumulative(x):
    return fnp.cumsum(x) * fnp.sort(x), fnp.cumprod(x)


def einsums(a, b):
    return fnp.einsum("ij,jk->ki", a, b), fnp.einsum("ii->i", a) * fnp.trace(b)


def narrow(x):
    return 2 * fnp.sin(x) + x.sum() * 0.5


def complex_values(z):
    return fnp.exp(1j * z) * fnp.conj(z), fnp.real(z * z) + fnp.abs(z)


BASES = {
    "chain": Base(chain, (VECTOR,)),
    "python_scalars": Base(scalar_chain, (1.5, 0.5)),
    "mlp": Base(mlp, ({"w": [MATRIX, MATRIX[:, :2] * 0.5], "b": VECTOR}, MATRIX[:2] + 0.1)),
    "reductions": Base(reductions, (MATRIX,)),
    "indexing": Base(indexing, (VECTOR, np.array([2, 0, 2, -1]))),
    "scattering": Base(scattering, (VECTOR, VECTOR[:2] - 2, np.array([2, 0]))),
    "where": Base(choice, (np.array([0.4, 1.3, 0.95]),)),
    "cond": Base(conditional, (VECTOR, 0.7)),
    "scan": Base(scanned, (MATRIX, VECTOR)),
    "fori_loop": Base(repeated, (VECTOR, 2)),
    "while_loop": Base(looped, (VECTOR, 1.7), False),
    "custom_jvp": Base(custom_forward, (VECTOR,)),
    "custom_vjp": Base(custom_backward, (VECTOR, 0.8)),
    "checkpoint": Base(checkpointed, (VECTOR,)),
    "nested_jit": Base(nested_jit, (VECTOR, 1.2)),
    "cumulative": Base(cumulative, (VECTOR,)),
    "einsum": Base(einsums, (MATRIX, MATRIX + 1.0)),
    "float32": Base(narrow, (VECTOR.astype(np.float32),)),
    "complex": Base(complex_values, (VECTOR + 0.5j,)),
}

# Transformations as functions of (function, arguments) ------------------------------------------------------------------


def like(x, phase):
    """Numbers of the type of ``x``, of about unit size, that do not depend on it."""
    aval = aval_of(x)
    if aval.dtype.kind not in "fc":
        return np.zeros(aval.shape, fg.float0)
    values = np.cos(np.arange(aval.size) + phase).reshape(aval.shape)
    if aval.dtype.kind == "c":
        values = values + 1j * np.sin(np.arange(aval.size) + phase).reshape(aval.shape)
    return values.astype(aval.dtype) if aval.shape else aval.dtype.type(values)


def tangents_like(args):
    return fg.tree.map(lambda x: like(x, 1.0), args)


def differentiable(values):
    return [x for x in fg.tree.leaves(values) if aval_of(x).dtype != fg.float0]


def by_jit(f, args):
    return fg.jit(f), args


def by_checkpoint(f, args):
    return fg.checkpoint(f), args


def by_custom_jvp(f, args):
    wrapped = fg.custom_jvp(f)
    wrapped.defjvp(lambda primals, tangents: fg.jvp(f, primals, tangents))
    return wrapped, args


def by_custom_vjp(f, args):
    wrapped = fg.custom_vjp(f)
    wrapped.defvjp(lambda *xs: (f(*xs), xs), lambda xs, ct: fg.vjp(f, *xs)[1](ct))
    return wrapped, args


def by_jvp(f, args):
    def pushed(*xs):
        y, t = fg.jvp(f, xs, tangents_like(xs))
        return y, differentiable(t)

    return pushed, args


def by_linearize(f, args):
    def pushed(*xs):
        y, f_jvp = fg.linearize(f, *xs)
        return y, differentiable(f_jvp(*tangents_like(xs)))

    return pushed, args


def by_vjp(f, args):
    def pulled(*xs):
        y, pullback = fg.vjp(f, *xs)
        return y, differentiable(pullback(fg.tree.map(lambda v: like(v, 2.0), y)))

    return pulled, args


def by_grad(f, args):
    def total(*xs):
        leaves = [fnp.real(y * like(y, 3.0)) for y in fg.tree.leaves(f(*xs)) if aval_of(y).dtype.kind in "fc"]
        return sum(fnp.sum(y) for y in leaves)

    gradient = fg.grad(total, argnums=tuple(range(len(args))), allow_int=True)
    return lambda *xs: differentiable(gradient(*xs)), args


def in_axes_of(args):
    """Every other leaf is mapped, the first always, and integers and Python scalars never."""
    leaves, treedef = fg.tree.flatten(args)
    floats = [i for i, x in enumerate(leaves) if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "fc"]
    mapped = floats[::2] or [0]
    return treedef, [0 if i in mapped else None for i in range(len(leaves))]


def vmapped(f, args):
    """The mapped function, its arguments, and the arguments of its rows."""
    treedef, axes = in_axes_of(args)
    rows = []
    for i in range(3):
        leaves = [x if a is None else x * (1.0 + 0.05 * i) for x, a in zip(fg.tree.leaves(args), axes)]
        rows.append(treedef.unflatten(leaves))
    stacked = [
        x if a is None else np.stack([fg.tree.leaves(r)[k] for r in rows])
        for k, (x, a) in enumerate(zip(fg.tree.leaves(args), axes))
    ]
    in_axes = tuple(fg.tree.map(lambda x: x, treedef.unflatten([-1 if a is None else a for a in axes])))
    in_axes = fg.tree.map(lambda a: None if a == -1 else a, in_axes)
    return fg.vmap(f, in_axes=in_axes), treedef.unflatten(stacked), rows


def by_vmap(f, args):
    g, stacked, _ = vmapped(f, args)
    return g, stacked


TRANSFORMS = {
    "jit": by_jit,
    "checkpoint": by_checkpoint,
    "custom_jvp": by_custom_jvp,
    "custom_vjp": by_custom_vjp,
    "jvp": by_jvp,
    "linearize": by_linearize,
    "vjp": by_vjp,
    "grad": by_grad,
    "vmap": by_vmap,
}
REVERSE = {"linearize", "vjp", "grad", "custom_vjp"}

# Laws: a transformation of a function against another way to its result --------------------------------------------------


def assert_same(actual, expected, what):
    """Equal in value, dtype, shape and structure, Python scalars included."""
    assert_close(actual, expected, what=what)
    for a, b in zip(fg.tree.leaves(actual), fg.tree.leaves(expected)):
        python = (bool, int, float, complex)
        assert (type(a) in python) == (type(b) in python), f"{what}: {type(a)} is not {type(b)}"


def law_jit(f, args, reverse):
    assert_same(fg.jit(f)(*args), f(*args), "jit")


def law_checkpoint(f, args, reverse):
    assert_close(fg.checkpoint(f)(*args), f(*args), what="checkpoint")


def law_jaxpr(f, args, reverse):
    jaxpr = fg.make_jaxpr(f)(*args)
    check(jaxpr)
    outs = eval_jaxpr(jaxpr, *[np.asarray(x)[()] for x in fg.tree.leaves(args)])
    assert_close(outs, fg.tree.leaves(f(*args)), what="make_jaxpr")


def law_jvp(f, args, reverse):
    # A finite difference of first order tells about ten digits, times the size of the function.
    check_jvp(f, args, tol=2e-6 if narrowest(args) == 8 else 2e-2)
    assert_close(fg.jvp(f, args, tangents_like(args))[0], f(*args), what="the value of jvp")


def law_vjp(f, args, reverse):
    if reverse:
        check_vjp(f, args, tol=1e-9 if narrowest(args) == 8 else 1e-3)
        assert_close(fg.vjp(f, *args)[0], f(*args), what="the value of vjp")


def law_linearize(f, args, reverse):
    if reverse:
        y, f_jvp = fg.linearize(f, *args)
        ts = tangents_like(args)
        assert_close((y, f_jvp(*ts)), fg.jvp(f, args, ts), what="linearize")
        zero = fg.tree.map(lambda t: t if t.dtype == fg.float0 else t * 0, ts)
        for t in differentiable(f_jvp(*zero)):
            assert np.all(np.asarray(t) == 0), "linearize: the image of zero is not zero"


def law_vmap(f, args, reverse):
    g, stacked, rows = vmapped(f, args)
    expected = fg.tree.map(lambda *ys: np.stack([np.asarray(y) for y in ys]), *[f(*r) for r in rows])
    assert_close(g(*stacked), expected, what="vmap")


def narrowest(args):
    return min(np.asarray(x).real.itemsize for x in fg.tree.leaves(args) if np.asarray(x).dtype.kind in "fc")


LAWS = [law_jit, law_checkpoint, law_jaxpr, law_jvp, law_vjp, law_linearize, law_vmap]


def hold(base, names):
    f, args = base.fun, base.args
    for name in names:
        f, args = TRANSFORMS[name](f, args)
    before = fg.tree.map(np.array, args)
    for law in LAWS:
        law(f, args, base.reverse)
    assert_close(fg.tree.map(np.array, args), before, atol=0, rtol=0, what="the arguments, after all,")


def possible(base, names):
    return base.reverse or not REVERSE.intersection(names)


SHORT = [
    pytest.param(base, names, id=f"{'-'.join(names) or 'plain'}-{title}")
    for title, base in BASES.items()
    for names in [(), *((n,) for n in TRANSFORMS)]
    if possible(base, names)
]


@pytest.mark.parametrize(("base", "names"), SHORT)
def test_every_transform_on_every_function(base, names):
    hold(base, names)


def generated(count):
    """For each base function some chains of two transformations, all pairs being met about equally often."""
    pairs = list(itertools.product(TRANSFORMS, repeat=2))
    random.Random(1).shuffle(pairs)
    turn = itertools.cycle(pairs)
    for title, base in BASES.items():
        found = 0
        while found < count:
            names = next(turn)
            if possible(base, names):
                found += 1
                yield pytest.param(base, names, id=f"{'-'.join(names)}-{title}")


@pytest.mark.slow
@pytest.mark.parametrize(("base", "names"), list(generated(11)))
def test_compositions_of_three(base, names):
    hold(base, names)


@pytest.mark.parametrize("title", BASES)
def test_second_order(title):
    base = BASES[title]
    if narrowest(base.args) == 8:
        check_grads(base.fun, base.args, order=2, modes=("fwd", "rev") if base.reverse else (), tol=2e-6)


@pytest.mark.parametrize("outer", [fg.jit, lambda f: f], ids=["jit", "eager"])
@pytest.mark.parametrize("title", [t for t, b in BASES.items() if b.reverse and t not in ("complex", "float32")])
def test_hessian_is_the_same_by_four_routes(title, outer):
    base = BASES[title]
    arrays = [i for i, x in enumerate(base.args) if all(np.asarray(v).dtype.kind == "f" for v in fg.tree.leaves(x))]

    def total(x):
        args = list(base.args)
        args[arrays[0]] = x
        return sum(fnp.sum(y * like(y, 0.5)) for y in fg.tree.leaves(base.fun(*args)))

    x = base.args[arrays[0]]
    routes = [a(b(total)) for a in (fg.jacfwd, fg.jacrev) for b in (fg.jacfwd, fg.jacrev)]
    first = outer(routes[0])(x)
    for route in routes[1:]:
        assert_close(outer(route)(x), first, atol=1e-11, rtol=1e-11, what=f"{title}: the Hessian")


# Inputs and outputs ---------------------------------------------------------------------------------------------------

PASSING = {
    "identity": lambda x: x,
    "twice": lambda x: (x, x),
    "view": lambda x: (x.T, x[1:], fnp.reshape(x, (-1,))),
    "broadcast": lambda x: fnp.broadcast_to(x, (2, *x.shape)),
    "constant": lambda x: CONSTANT,
    "diagonal": lambda x: fnp.diagonal(x),
    "sum": lambda x: fnp.sum(x, 0),
}
CONSTANT = np.ones((2, 2))


def through(name, f, x):
    t = np.ones_like(x)
    if name == "jit":
        return fg.jit(f)(x)
    if name == "vmap":
        return fg.vmap(f)(np.stack([x, x]))
    if name == "jvp":
        return fg.jvp(f, (x,), (t,))
    if name == "linearize":
        y, f_jvp = fg.linearize(f, x)
        return y, f_jvp(t)
    if name == "vjp":
        y, pullback = fg.vjp(f, x)
        return y, pullback(fg.tree.map(lambda v: np.ones(np.shape(v)), y))
    if name == "jit_grad":
        return fg.jit(fg.value_and_grad(lambda v: sum(fnp.sum(y) for y in fg.tree.leaves(f(v)))))(x)
    if name == "checkpoint":
        return fg.jit(fg.checkpoint(f))(x)
    return lax.scan(lambda c, _: (c, f(c)), x, None, 2)


EAGER = ["jvp", "linearize", "vjp"]
PLACES = [
    (what, how)
    for what in PASSING
    for how in ["jit", "vmap", "jit_grad", "checkpoint", "scan", *EAGER]
    # Un-jitted, the function itself hands out its array.
    if not (what == "constant" and how in EAGER)
]


@pytest.mark.parametrize(("what", "how"), PLACES)
def test_outputs_are_writable_and_alias_nothing(what, how):
    x = np.arange(9.0).reshape(3, 3) + 1.0
    before, constant = x.copy(), CONSTANT.copy()
    outs = [y for y in fg.tree.leaves(through(how, PASSING[what], x)) if isinstance(y, np.ndarray) and y.ndim]
    for i, y in enumerate(outs):
        assert y.flags.writeable
        assert not np.shares_memory(y, x)
        assert not np.shares_memory(y, CONSTANT)
        assert not any(np.shares_memory(y, z) for z in outs[:i])
        y[...] = -1.0
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(CONSTANT, constant)


def test_results_of_a_program_are_new_at_every_call():
    f = fg.jit(lambda x: (x * 2, fnp.zeros(3), CONSTANT))
    first = f(VECTOR)
    kept = fg.tree.map(np.copy, first)
    for y in fg.tree.leaves(f(VECTOR + 1)):
        y[...] = 7.0
    assert_close(first, kept)


# Tracing --------------------------------------------------------------------------------------------------------------


def counted():
    calls = []

    def f(x):
        calls.append(1)
        return fnp.sum(fnp.sin(x) ** 2)

    return fg.jit(f), calls


@pytest.mark.parametrize(
    "use",
    [
        lambda f, x: fg.grad(f)(x),
        lambda f, x: fg.jvp(f, (x,), (x,)),
        lambda f, x: fg.vjp(f, x)[1](1.0),
        lambda f, x: fg.linearize(f, x)[1](x),
        lambda f, x: fg.hessian(f)(x),
        lambda f, x: fg.jit(fg.grad(f))(x),
    ],
    ids=["grad", "jvp", "vjp", "linearize", "hessian", "jit_grad"],
)
def test_a_jitted_function_is_not_traced_again_to_be_differentiated(use):
    f, calls = counted()
    f(VECTOR)
    assert len(calls) == 1
    for _ in range(3):
        use(f, VECTOR + len(calls))
    assert len(calls) == 1
    assert f.cache_info().misses == 1


def test_vmap_of_a_jitted_function_traces_it_once_for_the_type_of_a_row():
    f, calls = counted()
    for n in (2, 3, 4):
        fg.vmap(f)(np.ones((n, 3)))
    assert len(calls) == 1


def test_derivatives_of_a_jitted_function_are_compiled_once():
    f = fg.jit(lambda x: fnp.sum(fnp.tanh(x)))
    g = fg.jit(fg.grad(f))
    for i in range(4):
        g(VECTOR + i)
    assert g.cache_info() == (3, 1, 1)


# Threads --------------------------------------------------------------------------------------------------------------


def test_eight_threads_trace_and_run_at_once():
    shared = fg.jit(lambda x, w: fnp.sum(fnp.tanh(x @ w) ** 2))
    start = threading.Barrier(8)
    failures = []

    def work(seed):
        try:
            start.wait()
            for n in range(1, 7):
                x = np.random.default_rng(seed * 10 + n).standard_normal((n, 3))
                value, gradient = fg.jit(fg.value_and_grad(shared))(x, MATRIX)
                hidden = np.tanh(x @ MATRIX)
                np.testing.assert_allclose(value, np.sum(hidden**2))
                np.testing.assert_allclose(gradient, (2 * hidden * (1 - hidden**2)) @ MATRIX.T)
                rows = fg.vmap(fg.grad(lambda r: fnp.sum(fnp.tanh(r @ MATRIX) ** 2)))(x)
                np.testing.assert_allclose(rows, gradient)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failures == []
    assert shared.cache_info().misses == 6


# Pickling, names ------------------------------------------------------------------------------------------------------


def cubed(x):
    """The cube."""
    return fnp.sum(x**3)


@fg.jit
def decorated(x):
    """Decorated by jit."""
    return x * 2 + 1


@fg.checkpoint
def remembered(x):
    """Decorated by checkpoint."""
    return fnp.sin(x) * 3


WRAPPED = {
    "jit": fg.jit(cubed),
    "grad": fg.grad(cubed),
    "value_and_grad": fg.value_and_grad(cubed),
    "vmap": fg.vmap(cubed),
    "jacfwd": fg.jacfwd(cubed),
    "jacrev": fg.jacrev(cubed),
    "hessian": fg.hessian(cubed),
    "checkpoint": fg.checkpoint(cubed),
    "jit_grad": fg.jit(fg.grad(cubed)),
    "vmap_grad": fg.vmap(fg.grad(cubed), in_axes=1, out_axes=1),
    "make_jaxpr": fg.make_jaxpr(cubed),
}


@pytest.mark.parametrize("how", WRAPPED)
def test_transformed_functions_are_pickled(how):
    f = WRAPPED[how]
    again = pickle.loads(pickle.dumps(f))
    assert again is not f
    x = MATRIX if "vmap" in how else VECTOR
    if how == "make_jaxpr":
        assert str(again(x)) == str(f(x))
    else:
        assert_same(again(x), f(x), how)


@pytest.mark.parametrize("f", [decorated, remembered, softplus, scaled], ids=lambda f: f.__name__)
def test_decorated_functions_are_pickled_by_name(f):
    assert pickle.loads(pickle.dumps(f)) is f


def test_static_arguments_survive_pickling():
    f = fg.jit(power, static_argnums=1)
    f(2.0, 3)
    again = pickle.loads(pickle.dumps(f))
    assert again(2.0, 3) == 16.0
    assert again.cache_info().misses == 1


def power(x, n):
    for _ in range(n):
        x = x * 2.0
    return x


@pytest.mark.parametrize("how", WRAPPED)
def test_name_and_docstring_are_kept(how):
    f = WRAPPED[how]
    assert f.__name__ == "cubed"
    assert f.__doc__ == "The cube."
    assert f.__module__ == __name__
    assert f.__wrapped__ is not None


def test_methods_can_be_decorated():
    class Model:
        def __init__(self, k):
            self.k = k

        @fg.jit
        def double(self, x):
            return x * self.k

    assert Model(2.0).double(3.0) == 6.0
    assert Model(3.0).double(3.0) == 9.0


# Memory and size ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["grad", "jit", "jit_grad", "vjp", "linearize", "vmap", "hessian", "scan", "custom"])
def test_no_reference_cycles_are_left(how):
    def loss(x):
        return fnp.sum(fnp.tanh(x @ MATRIX) ** 2)

    def run():
        x = VECTOR + 1.0
        if how == "grad":
            fg.grad(loss)(x)
        elif how == "jit":
            jitted(x)
        elif how == "jit_grad":
            jitted_grad(x)
        elif how == "vjp":
            fg.vjp(loss, x)[1](1.0)
        elif how == "linearize":
            fg.linearize(loss, x)[1](x)
        elif how == "vmap":
            fg.vmap(loss)(MATRIX)
        elif how == "hessian":
            fg.hessian(loss)(x)
        elif how == "scan":
            fg.grad(lambda v: fnp.sum(lax.scan(step, v, None, 3)[0]))(x)
        else:
            fg.grad(lambda v: fnp.sum(scaled(softplus(v), 0.5)))(x)

    def step(c, _):
        return fnp.sin(c), None

    jitted, jitted_grad = fg.jit(loss), fg.jit(fg.grad(loss))
    run()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            run()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = [type(x).__name__ for x in gc.garbage]
        # The body of an un-jitted loop is a generated function, which is found through its own globals.
        assert set(found) <= ({"function", "dict"} if how == "scan" else set())
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("transform", [fg.jit, fg.grad, fg.vmap, lambda f: fg.jit(fg.grad(f)), fg.checkpoint])
def test_a_dropped_function_frees_the_arrays_it_closes_over(transform):

    def closing_over(big):
        return transform(lambda x: fnp.sum(x @ (big * 1.0))), weakref.ref(big)

    f, gone = closing_over(np.ones((4, 4)).view(Tracked))
    f(np.ones((2, 4)) if transform is fg.vmap else np.ones(4))
    gc.disable()
    try:
        assert gone() is not None
        del f
        assert gone() is None
    finally:
        gc.enable()


class Tracked(np.ndarray):
    """An array that can be waited for."""


def long_product(x, n):
    for _ in range(n):
        x = x * 1.0001
    return x


def test_a_graph_of_20000_equations_differentiates_without_recursion():
    with fg.config(check_ir=False):
        value, slope = fg.value_and_grad(lambda x: long_product(x, 20_000))(2.0)
        assert value == pytest.approx(2.0 * 1.0001**20_000, rel=1e-9)
        assert slope == pytest.approx(1.0001**20_000, rel=1e-9)
        _, tangent = fg.jvp(lambda x: long_product(x, 20_000), (2.0,), (1.0,))
        assert tangent == pytest.approx(slope, rel=1e-9)


def test_a_jitted_program_of_2000_equations_compiles():
    def f(x):
        for _ in range(1000):
            x = fnp.sin(x) + x
        return fnp.sum(x)

    x = np.array([0.1, -0.2])
    value, slope = fg.jit(fg.value_and_grad(f))(x)
    expected, derivative = x, np.ones(2)
    for _ in range(1000):
        derivative = derivative * (np.cos(expected) + 1)
        expected = np.sin(expected) + expected
    np.testing.assert_allclose(value, np.sum(expected), rtol=1e-9)
    np.testing.assert_allclose(slope, derivative, rtol=1e-6, atol=1e-300)


# Perturbation confusion -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outer", [lambda f: f, fg.jit], ids=["eager", "jit"])
class TestPerturbations:
    """Derivatives inside of derivatives must not be mistaken for each other (Siskind and Pearlmutter, 2005)."""

    def test_the_classic(self, outer):
        # d/dx [x * d/dy (x + y) at y = 1] at x = 1 is 1, not 2.
        f = lambda x: x * fg.grad(lambda y: x + y)(1.0)
        assert outer(fg.grad(f))(1.0) == 1.0

    def test_the_classic_in_forward_mode(self, outer):
        def derivative(g):
            return lambda v: fg.jvp(g, (v,), (1.0,))[1]

        f = lambda x: x * derivative(lambda y: x + y)(1.0)
        assert outer(derivative(f))(1.0) == 1.0

    def test_forward_inside_reverse_and_back(self, outer):
        forward = lambda g: lambda v: fg.jvp(g, (v,), (1.0,))[1]
        for a, b in itertools.product([forward, fg.grad], repeat=2):
            # x * d/dy (x y^2) at y = x is 2 x^3, and its derivative 6 x^2.
            f = lambda x, b=b: x * b(lambda y: x * y**2)(x)
            assert outer(a(f))(2.0) == pytest.approx(24.0)

    def test_a_constant_of_the_inner_function(self, outer):
        f = lambda x: fg.grad(lambda y: x * x)(3.0) + x
        assert outer(fg.grad(f))(2.0) == 1.0

    def test_vmap_between_two_derivatives(self, outer):
        f = lambda x: fnp.sum(fg.vmap(fg.grad(lambda y: fnp.sin(y) * x))(VECTOR * x))
        expected = np.sum(np.cos(VECTOR * 2.0)) - 2.0 * np.sum(VECTOR * np.sin(VECTOR * 2.0))
        assert outer(fg.grad(f))(2.0) == pytest.approx(expected)

    def test_derivative_inside_a_scan(self, outer):
        def f(x):
            step = lambda c, v: (c * x + fg.grad(lambda u: x * u**2)(v), None)
            return lax.scan(step, 1.0, VECTOR)[0]

        def plain(x):
            c = 1.0
            for v in VECTOR:
                c = c * x + 2 * x * v
            return c

        h = 1e-5
        assert outer(f)(1.5) == pytest.approx(plain(1.5))
        assert outer(fg.grad(f))(1.5) == pytest.approx((plain(1.5 + h) - plain(1.5 - h)) / (2 * h))


# Leaks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        lambda f: fg.jit(f)(2.0),
        lambda f: fg.vmap(f)(VECTOR),
        lambda f: fg.grad(f)(2.0),
        lambda f: fg.jvp(f, (2.0,), (1.0,)),
        lambda f: fg.linearize(f, 2.0),
        lambda f: fg.checkpoint(f)(2.0),
        lambda f: fg.make_jaxpr(f)(2.0),
        lambda f: lax.scan(lambda c, _: (f(c), None), 2.0, None, 3),
        lambda f: lax.cond(True, f, f, 2.0),
        lambda f: lax.while_loop(lambda c: c < 5.0, f, 2.0),
    ],
    ids=["jit", "vmap", "grad", "jvp", "linearize", "checkpoint", "make_jaxpr", "scan", "cond", "while"],
)
@pytest.mark.parametrize("place", ["eager", "jit", "grad", "vmap"])
def test_a_leaked_tracer_is_refused_everywhere(how, place):
    kept = []

    def leaks(x):
        y = x * 2.0
        kept.append(y)
        return y

    how(leaks)
    use = {
        "eager": lambda: kept[0] + 1.0,
        "jit": lambda: fg.jit(lambda x: x + kept[0])(1.0),
        "grad": lambda: fg.grad(lambda x: x * kept[0])(1.0),
        "vmap": lambda: fg.vmap(lambda x: x + kept[0])(VECTOR),
    }[place]
    with pytest.raises(LeakedTracerError):
        use()


def test_after_an_error_in_a_traced_function_the_library_is_as_before():
    def fails(x):
        raise RuntimeError("no")

    for how in (
        fg.jit,
        fg.grad,
        fg.vmap,
        fg.checkpoint,
        lambda f: lambda x: lax.scan(lambda c, _: (f(c), None), x, None, 2),
    ):
        with pytest.raises(RuntimeError, match="no"):
            how(fails)(VECTOR)
        assert_close(fg.grad(cubed)(VECTOR), 3 * VECTOR**2)
