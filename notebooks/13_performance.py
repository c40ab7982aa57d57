# %% [markdown]
# # 13 Performance: what `jit` does to your function
#
# `jit` turns a function into a program, once, and runs the program from then on. Nothing of it is hidden: each stage can be
# printed, and the last one is Python that you could have written. This notebook goes through the stages with a step of
# training, and counts instead of timing, so that what it says is true on every machine.

# %%
import re

import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import extend

fg.config.num_threads = (
    1  # each thread has buffers of its own; with one, the numbers of bytes below are the same everywhere
)


def shown(text):
    """Without the comments that name the user's lines; those of a notebook are not the same twice."""
    print(re.sub(r"(?<=\S)  # .*", "", text).rstrip())


# %% [markdown]
# ## Stage 0: what Python does
#
# A step of gradient descent for a network with one hidden layer.


# %%
def step(params, x, y):
    def loss(p):
        hidden = fnp.tanh(x @ p["w1"] + p["b1"])
        return fnp.mean((hidden @ p["w2"] + p["b2"] - y) ** 2)

    value, gradient = fg.value_and_grad(loss)(params)
    return value, {k: params[k] - 0.1 * gradient[k] for k in params}


rng = np.random.default_rng(0)
params = {
    "w1": rng.normal(size=(64, 32)),
    "b1": np.zeros(32),
    "w2": rng.normal(size=(32, 1)),
    "b2": np.zeros(1),
}
x, y = rng.normal(size=(128, 64)), rng.normal(size=(128, 1))

compiled = fg.jit(step)
for first, second in zip(fg.tree.leaves(step(params, x, y)), fg.tree.leaves(compiled(params, x, y))):
    np.testing.assert_allclose(first, second, rtol=1e-12, atol=1e-14)

# %% [markdown]
# ## Stage 1: the trace
#
# The function is called once with tracers (notebook 02). Dictionaries, the inner function, `value_and_grad`: all of that
# happened in Python while tracing, and none of it is in the program, which is flat. The backward pass is ordinary equations
# behind those of the forward pass.

# %%
lowered = compiled.lower(params, x, y)
shown(lowered.as_text(stage="jaxpr"))

# %% [markdown]
# Each equation knows which line of yours it came from, and whether it belongs to the backward pass; an error in the program
# names that line. (The comments that say so are cut from this page.)

# %%
traced = lowered.as_text(stage="jaxpr").splitlines()
print(sum("# backward of" in line for line in traced), "equations of the backward pass")
assert any("# backward of" in line and "(loss)" in line for line in traced)

# %% [markdown]
# ## Stage 2: a smaller program of the same meaning

# %%
shown(lowered.as_text(stage="simplified"))

# %% [markdown]
# Compare the two.
#
# * The backward pass begins with the cotangent 1, divided by 128 and spread over an array that is then multiplied. In the
#   second program the constant is computed (1/128 = 0.0078125, which is exact, so that a division may become a product), and
#   the product is with a number.
# * The gradient of `w1` was $(\bar h^T x)^T$, a product and a transpose; it is $x^T \bar h$ now.
# * Sums over rows became products with a vector of ones: BLAS adds faster than `np.add.reduce`.
# * What is used by nobody is gone, what was computed twice is computed once, and what a loop computes anew each time,
#   although it does not change, moves out of it.
#
# What a compiler may *not* do is change a result: `x + 0.0` stays, for it turns -0.0 into 0.0. (A sum in another order
# differs in its last bits, as it does from one BLAS to the next.)


# %%
def count(text, *names):
    return [len(re.findall(rf" = {n}\b", text)) for n in names]


names = ("div", "transpose", "reduce_sum")
before, after = (count(lowered.as_text(stage=s), *names) for s in ("jaxpr", "simplified"))
print("before:", dict(zip(names, before)), " after:", dict(zip(names, after)))
assert before == [2, 2, 3] and after == [0, 0, 0]


def redundant(x):
    unused = fnp.exp(x)  # noqa: F841
    return fnp.sin(x) * fnp.sin(x) * 1.0 + 0.0


simplified = fg.jit(redundant).lower(x).as_text(stage="simplified")
assert count(simplified, "sin", "exp", "mul", "add") == [1, 0, 1, 1]
shown(simplified)

# %% [markdown]
# ## Stage 3: the source
#
# The program is written as Python over NumPy, and this is what runs.

# %%
shown(lowered.as_text(stage="source"))

# %% [markdown]
# There is no tracer, no dispatch, no dictionary, no graph: a line an equation. And it is more careful than one would be by
# hand:
#
# * `out=`: a result is written over an operand that nobody needs any more, so that no memory is asked for;
# * `del`: what is needed no more is let go of at once, not at the end of the function;
# * `.T` and `.dot`: a transpose is a view, and BLAS takes it as it is.
#
# But your arrays are never written over (unless you donate them): only those that the program made itself.

# %%
source = lowered.as_text(stage="source")
kept = {k: v.copy() for k, v in params.items()}
compiled(params, x, y)
assert all(np.array_equal(params[k], kept[k]) for k in params)
print(source.count("out="), "operations in place,", source.count(".dot("), "products")
assert source.count("out=") >= 5

# %% [markdown]
# ## Fusion: several operations in one walk over memory
#
# NumPy computes an operation at a time. For an array larger than the caches this means that each operation reads its operands
# from memory and writes its result there, and waits for memory most of its time. The GELU of a layer is eight operations:


# %%
def gelu(x):
    return 0.5 * x * (1.0 + fnp.tanh(0.7978845608 * (x + 0.044715 * x**3)))


big = rng.normal(size=(1024, 512))
shown(fg.jit(gelu).lower(big).as_text(stage="fused"))

# %% [markdown]
# They became one equation, a *group*, with a program inside of it. Its source is a loop over blocks: a block of the array
# goes through all the operations while it lies in the cache, in two buffers that are used again for each block, and the
# blocks are divided among threads.

# %%
shown(fg.jit(gelu).lower(big).as_text(stage="source"))


# %%
def groups(f, *args):
    """How many groups there are in a program, and how many equations stay outside of them."""
    program = extend.get_backend("numpy").compile(fg.make_jaxpr(f)(*args))
    fused = sum(e.primitive.name == "fusion" for e in program.jaxpr.eqns)
    return fused, len(program.jaxpr.eqns) - fused


small, large = rng.normal(size=100), big
print("100 elements:   ", groups(gelu, small))
print("524288 elements:", groups(gelu, large))
print("with a product: ", groups(lambda x: gelu(gelu(x) @ x.T), large))
assert groups(gelu, small)[0] == 0 and groups(gelu, large) == (1, 0)
np.testing.assert_allclose(fg.jit(gelu)(large), gelu(large), rtol=1e-13, atol=1e-15)

# %% [markdown]
# A small array is in the cache anyway, and a loop would only cost: no group. A matrix product is not elementwise, and ends a
# group: there is one on each side of it.
#
# ## Costs, without a clock
#
# A program can be counted before it runs. `cost_analysis` has its floating-point operations and the bytes that move;
# `memory_analysis` what it allocates. Both under the names that JAX gives them.

# %%
unfused = big.nbytes * (10 + 8)  # eight operations, two of them of two arrays: 10 arrays are read, and 8 written
costs = fg.jit(gelu).lower(big).cost_analysis()
print(costs)
print(f"bytes moved: {costs['bytes accessed'] / unfused:.2f} of those without fusion")
assert costs["bytes accessed"] == 2 * big.nbytes  # read once, written once
assert costs["transcendentals"] == big.size

# %%
memory = fg.jit(gelu).lower(big).compile().memory_analysis()
for name, size in memory._asdict().items():
    print(f"{name:24} {size:10,}")
assert memory.argument_size_in_bytes == memory.output_size_in_bytes == big.nbytes
assert memory.temp_size_in_bytes < big.nbytes / 4  # two blocks, not eight arrays

# %% [markdown]
# The ratio of operations to bytes, the *intensity*, says what limits a program: a machine does some tens of operations in the
# time in which it moves a byte from memory. Elementwise functions have less than one operation a byte, and fusion is what
# helps them; the product of two $n \times n$ matrices has $2n^3$ operations for $3 \cdot 8n^2$ bytes, $n/12$ a byte, and BLAS
# is as fast as the processor.

# %%
for n in (12, 120, 1200):
    a = fg.ShapeDtypeStruct((n, n), np.float64)
    c = fg.jit(fnp.matmul).lower(a, a).cost_analysis()
    print(f"n = {n:4}: {c['flops'] / c['bytes accessed']:6.1f} operations a byte")
    assert np.isclose(c["flops"] / c["bytes accessed"], n / 12)

# %% [markdown]
# ## What the user can do
#
# **Do not trace anew.** A program is for shapes and dtypes. Each new shape traces and compiles again, and `explain_retraces`
# says why.


# %%
@fg.jit
def norm(x):
    return fnp.sqrt(fnp.sum(x * x))


for n in (3, 3, 4, 3, 5):
    norm(np.ones(n))
info = norm.cache_info()
print(info)
assert info.misses == 3 and info.hits == 2
for reason in norm.explain_retraces():
    print(reason)

# %% [markdown]
# **Put `jit` around as much as possible.** What is inside of one program is simplified and fused together; what crosses its
# border is an array in memory. Here the gradient alone, and the gradient with the update of the parameters:

# %%
weights = rng.normal(size=(512, 512))
gradient = fg.grad(lambda w: fnp.sum(fnp.tanh(w) ** 2))
apart = [fg.jit(gradient), fg.jit(lambda w, g: w - 0.1 * g)]
together = fg.jit(lambda w: w - 0.1 * gradient(w))
moved = [
    apart[0].lower(weights).cost_analysis()["bytes accessed"]
    + apart[1].lower(weights, weights).cost_analysis()["bytes accessed"],
    together.lower(weights).cost_analysis()["bytes accessed"],
]
print("arrays read and written:", [int(m / weights.nbytes) for m in moved])
assert moved[1] < moved[0]

# %% [markdown]
# **Keep loops in the program**, with `lax.scan` or `lax.fori_loop`: a Python loop is unrolled, and its program grows with the
# number of its iterations (notebook 02). **Trade memory for time** with `fg.checkpoint`, which computes anew in the backward
# pass what would have to be kept.

# %%
layers = rng.normal(size=(8, 64, 64)) / 8


def deep(block):
    def f(w, x):
        for layer in w:
            x = block(layer, x)
        return fnp.sum(x)

    return f


block = lambda w, x: fnp.tanh(fnp.sin(fnp.tanh(x @ w)))
batch = rng.normal(size=(4096, 64))
peaks = []
for b in (block, fg.checkpoint(block)):
    peaks.append(fg.jit(fg.grad(deep(b))).lower(layers, batch).compile().memory_analysis().temp_size_in_bytes)
print(f"with checkpoint: {peaks[1] / peaks[0]:.2f} of the memory")
assert peaks[1] < peaks[0]

# %% [markdown]
# **And then measure:** `fg.inspect.explain(f, x)` runs a program step by step, and prints next to each step of yours how long
# it takes and how long it must take on this machine. Its output is not kept here, because yours will differ.

# %% tags=["volatile"]
print(fg.inspect.explain(step, params, x, y))

# %% [markdown]
# **Next:** `14_reading_the_course_notes`, the same network in three programming models.
