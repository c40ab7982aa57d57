# %% [markdown]
# # 02 Tracing, and reading a jaxpr
#
# How does a library get hold of the operations of a Python function? It calls the function, with objects that write down what
# is done to them.

# %%
from functools import partial

import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import extend, lax

# %% [markdown]
# ## Calling a function with something that is not a number


# %%
def f(x):
    y = x * 2
    print("  inside: ", type(y).__name__)
    return fnp.sin(y) + y


print("called with an array:")
f(np.ones(3))
print("traced:")
program = fg.make_jaxpr(f)(np.ones(3))

# %% [markdown]
# The same Python function ran, once, with a `Tracer` in the place of the array: it has a shape and a dtype, but no elements. Each
# operation on it appended an equation. What Python did by itself (calling functions, unpacking, printing) has left no trace.

# %%
program

# %% [markdown]
# Read it as: a function of `a`, an array of 3 float64, in which `b` is `a` times 2, and so on, that returns `d`. `let` is followed
# by equations, `in` by the results. Each equation is
#
#     name:type = primitive[parameters] operands
#
# Operands are names or literals such as `2.0:f64[]`, with their types. Names are given once and never changed, and are used
# only below: the order is topological. It is a graph, whose nodes are the equations.

# %%
for equation in program.eqns:
    print(equation.primitive.name, [v.aval for v in equation.inputs], "->", equation.outputs[0].aval)

assert [e.primitive.name for e in program.eqns] == ["mul", "sin", "add"]
extend.check(program)  # derives each type anew

# %% [markdown]
# It is a program as good as the function: evaluate it.

# %%
x = np.array([0.0, 1.0, 2.0])
(result,) = extend.eval_jaxpr(program, x)
assert np.array_equal(result, np.sin(2 * x) + 2 * x)

# %% [markdown]
# ## Everything is in it
#
# The surface is NumPy's; the program is explicit. Here NumPy broadcasts a row over a matrix, promotes float32 to float64, and
# takes a mean, and in the jaxpr each of these is an equation.

# %%
fg.make_jaxpr(lambda a, b: fnp.mean(a + b, axis=0))(np.ones((4, 3), np.float32), np.ones(3))

# %% [markdown]
# ## What a trace cannot know
#
# Python's `if` asks for a truth value, which a tracer inside of `jit` does not have. Under `grad` alone there are values, and
# `if` works: the trace is that of the branch which was taken.


# %%
def absolute(x):
    if x > 0:
        return x
    return -x


print("grad:", fg.grad(absolute)(3.0), fg.grad(absolute)(-3.0))
assert fg.grad(absolute)(-3.0) == -1.0

try:
    fg.jit(absolute)(3.0)
except fg.errors.ConcretizationError as error:
    print("jit: ", str(error).split(";")[0])

# %% [markdown]
# Inside of `jit`, write the choice as an operation: `fnp.where`, or `lax.cond`, which has both branches as programs of its own.

# %%
chosen = lambda x: lax.cond(x > 0, lambda x: x, lambda x: -x, x)
assert fg.jit(chosen)(-3.0) == 3.0
fg.make_jaxpr(chosen)(np.array(3.0))

# %% [markdown]
# A Python loop is unrolled; `lax.fori_loop` and `lax.scan` stay one equation, whatever the number of iterations.


# %%
def python_loop(x, n):
    for _ in range(n):
        x = fnp.sin(x)
    return x


def scan_loop(x, n):
    return lax.scan(lambda c, _: (fnp.sin(c), None), x, None, length=n)[0]


for n in (3, 30):
    lengths = [len(fg.make_jaxpr(partial(g, n=n))(np.array(1.0)).eqns) for g in (python_loop, scan_loop)]
    print(f"n = {n:2}: {lengths[0]:2} equations as a Python loop, {lengths[1]} as a scan")
    assert lengths == [n, 1]

# %% [markdown]
# ## Transforms are programs of programs
#
# `make_jaxpr` of a transformed function shows what a transform does. `vmap` changes the shapes, and where an axis must be added
# it says so:

# %%
dot = lambda w, x: fnp.tanh(w @ x)
w, x = np.ones(3), np.ones((5, 3))
fg.make_jaxpr(fg.vmap(dot, in_axes=(None, 0)))(w, x)

# %% [markdown]
# `jvp` interleaves each operation with its derivative; `grad` turns the derivative around. Both come from one trace.

# %%
fg.make_jaxpr(lambda w, x, t: fg.jvp(lambda w: dot(w, x), (w,), (t,)))(w, x[0], w)

# %%
fg.make_jaxpr(fg.grad(dot))(w, x[0])

# %% [markdown]
# And `jit` simplifies before it compiles: what is not needed is gone, what was computed twice is computed once.


# %%
def wasteful(x):
    unused = fnp.exp(x)  # noqa: F841
    return (fnp.sin(x) + 0.0) * 1.0 + fnp.sin(x)


lowered = fg.jit(wasteful).trace(np.ones(3)).lower().as_text()
assert lowered.count("sin(") == 1 and "exp(" not in lowered
print([e.primitive.name for e in fg.make_jaxpr(wasteful)(np.ones(3)).eqns])

# %% [markdown]
# What is left is Python source, a line an equation: `jit(f).trace(x).lower().as_text()`, or `to_source` for a module that needs
# nothing but NumPy. (`+ 0.0` stays: it turns -0.0 into 0.0, and a compiler may not change results.)

# %%
scope = {}
exec(fg.to_source(wasteful, np.ones(3)), scope)
np.testing.assert_array_equal(scope["wasteful"](x), wasteful(x))

# %% [markdown]
# **Next:** `03_from_scratch` builds the heart of it.
