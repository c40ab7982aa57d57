# %% [markdown]
# # 12 Writing a primitive and a back end
#
# The library stands between two tables. A *primitive* says what an operation means: its type, its derivative, how it is mapped. A
# *back end* says how operations are computed. Neither knows of the other, and you can add to both from outside.

# %%
from collections import Counter

import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import extend
from funcgrad.primitives import add, mul, pad, tanh

# %% [markdown]
# ## Does it have to be a primitive?
#
# Mostly not: a function of existing operations differentiates, maps and compiles by itself. A primitive is worth its rules when
# the derivative loses accuracy otherwise, or the evaluation speed. Take $y = \ln\cosh x$, a loss that is quadratic near 0 and
# linear far from it.


# %%
def naive(x):
    return fnp.log(fnp.cosh(x))


with np.errstate(all="ignore"):
    print("value and derivative at 1000:", naive(1000.0), fg.grad(naive)(1000.0))
    assert np.isinf(naive(1000.0)) and np.isnan(fg.grad(naive)(1000.0))

# %% [markdown]
# ## An elementwise primitive
#
# It is $y = \ln(e^x + e^{-x}) - \ln 2$, which `logaddexp` computes without overflow, and $dy = \tanh(x)\,dx$. That is
# all there is to say: the mathematics in one line, for the tangent `t`, the result `y` and the operand `x`;

# %%
log_cosh = extend.Elementwise("log_cosh", "f", lambda t, y, x: mul(t, tanh(x)))

# %% [markdown]
# and its evaluation, an entry in the table of the back end.


# %%
def evaluate_log_cosh(x):
    return np.logaddexp(x, -x) - x.dtype.type(np.log(2.0))


numpy_backend = extend.get_backend("numpy")
numpy_backend.ops = {**numpy_backend.ops, "log_cosh": evaluate_log_cosh}

# %% [markdown]
# Every transform has it now. Reverse mode needs no rule: the tangent is linear in `t`, through `mul`, whose transpose is known.

# %%
f = lambda x: log_cosh(x)
x = np.array([-1000.0, 0.0, 1.0, 1000.0])
np.testing.assert_allclose(fg.jit(f)(x), [1000 - np.log(2), 0.0, np.log(np.cosh(1.0)), 1000 - np.log(2)], rtol=1e-15)
np.testing.assert_allclose(fg.vmap(fg.grad(f))(x), np.tanh(x), rtol=1e-15)
fg.testing.check_grads(f, (np.array([-0.7, 0.2, 1.3]),), order=3)
fg.make_jaxpr(fg.vmap(fg.grad(f)))(x)

# %% [markdown]
# ## Any other primitive
#
# It is a class, whose methods are its mathematics. This one adds up neighbours, $y_i = x_i + x_{i+1}$. Four questions:
#
# * `type`: what is the result's shape and dtype?
# * `jvp`: what is the tangent? The map is linear, so it is the same map of the tangent.
# * `transpose`: as a matrix it has ones at $(i, i)$ and $(i, i+1)$. Its transpose takes $\bar y$ to
#   $\bar x_j = \bar y_j + \bar y_{j-1}$, where what is beyond an end is zero: $\bar y$ with a zero behind it plus $\bar y$ with a
#   zero before it.
# * `batch`: and if there is one more axis, in front? It works along the last one, and does not mind.


# %%
class PairSums(extend.Primitive):
    """y_i = x_i + x_{i+1} along the last axis."""

    name = "pair_sums"

    def type(self, x):
        if not x.shape or x.shape[-1] == 0:
            raise fg.errors.OperandTypeError(f"pair_sums takes an array with elements on its last axis, not {x}")
        return extend.Aval((*x.shape[:-1], x.shape[-1] - 1), x.dtype)

    def jvp(self, primals, tangents):
        return self(*primals), self(*tangents)

    def transpose(self, ct, x):
        rest, zero = [(0, 0, 0)] * (len(ct.shape) - 1), ct.dtype.type(0)
        return [add(pad(ct, zero, config=(*rest, (0, 1, 0))), pad(ct, zero, config=(*rest, (1, 0, 0))))]

    def batch(self, size, args, batched):
        return self(*args), True


pair_sums = PairSums()
numpy_backend.ops = {**numpy_backend.ops, "pair_sums": lambda x: x[..., :-1] + x[..., 1:]}

jacobian = fg.jacrev(pair_sums)(np.arange(4.0))
assert np.array_equal(jacobian, fg.jacfwd(pair_sums)(np.arange(4.0)))
assert np.array_equal(jacobian, np.eye(3, 4) + np.eye(3, 4, k=1))
jacobian

# %% [markdown]
# `jacrev` went through `transpose`, `jacfwd` through `jvp`: that they agree is the law
# $\langle w, Jv\rangle = \langle J^T w, v\rangle$. `check_grads` tests it in random directions, beside finite differences. The
# rule of `batch` has the law that `vmap` is a loop:

# %%
rng = np.random.default_rng(0)
rows = rng.normal(size=(5, 4))
fg.testing.check_grads(lambda x: pair_sums(x) ** 2, (rows,), order=2)
np.testing.assert_array_equal(fg.vmap(pair_sums, in_axes=1)(rows.T), np.stack([pair_sums(r) for r in rows]))
fg.make_jaxpr(fg.vmap(fg.grad(lambda x: fnp.sum(pair_sums(x) ** 2))))(rows)

# %% [markdown]
# A mistake in a rule is found. Here the transpose has forgotten a half:


# %%
class Mistaken(PairSums):
    def transpose(self, ct, x):
        return super().transpose(mul(0.5, ct), x)


try:
    fg.testing.check_grads(Mistaken(), (np.arange(4.0),))
except AssertionError as error:
    print(type(error).__name__)
else:
    raise AssertionError("the mistake was not found")

# %% [markdown]
# ## A back end
#
# The smallest back end is a name and the table `ops`: from the name of a primitive to a callable of arrays, which takes the
# primitive's parameters as keywords. Everything else has a default: `compile` takes a jaxpr and gives a callable, by
# interpreting the equations one by one. Here is one that computes with the functions of NumPy's back end, and counts.


# %%
class Counting(extend.Backend):
    """NumPy's operations, with a count of how often each is called."""

    name = "counting"

    def __init__(self):
        self.counts = Counter()
        self.ops = {name: self.counted(name, op) for name, op in numpy_backend.ops.items()}

    def counted(self, name, op):
        def run(*operands, **parameters):
            self.counts[name] += 1
            return op(*operands, **parameters)

        return run


counting = Counting()
extend.register_backend(counting)
assert "counting" in fg.backends()

# %% [markdown]
# Is it one? A back end changes speed, not results, and `check_backend` holds it to that: it runs programs over every family of
# primitives, with derivatives and control flow, and compares values, dtypes and shapes with NumPy's.

# %%
fg.testing.check_backend("counting")
assert len(counting.counts) > 50 and counting.counts["dot_general"] > 0

# %% [markdown]
# It makes visible what differentiation costs: the gradient of a chain of $n$ steps takes a small multiple of the operations of
# the function, whatever the number of inputs (the cheap gradient principle, Griewank and Walther, 2008, chapter 4). Finite
# differences would call the function once more for each input.


# %%
def chain(x, n):
    for _ in range(n):
        x = fnp.tanh(log_cosh(x) + 0.5)
    return fnp.sum(x)


with fg.use_backend("counting"):
    for n in (1, 10, 100):
        totals = []
        for g in (chain, fg.grad(chain)):
            counting.counts.clear()
            fg.jit(lambda x, g=g, n=n: g(x, n))(np.ones(50))
            totals.append(counting.counts.total())
        print(f"{n:3} steps: {totals[0]:4} operations for the value, {totals[1]:4} for the gradient")
        assert totals[1] <= 4 * totals[0]

# %% [markdown]
# The back end knows `log_cosh` because it was made after that had its entry: the new primitive and the new back end met in a table,
# and neither was written for the other. Without an entry there is an error that says what is missing.

# %%
unknown = extend.Elementwise("unknown", "f", lambda t, y, x: t)
try:
    unknown(np.ones(3))
except fg.errors.BackendError as error:
    print(str(error).splitlines()[0])

# %% [markdown]
# ## Further
#
# A back end with arrays of its own names their classes in `array_types`, and converts in `asarray` and `to_numpy`. One that is to be
# fast overrides `compile`: it is given the whole program, and returns anything that can be called with flat arrays and
# gives a list. `extend.SourceBackend` writes Python (notebook 13 reads it), `backends/funcgrad_llvm` writes machine code, and
# `backends/funcgrad_array_api` takes any library that follows the array API standard. Each passes `check_backend`.
#
# **Next:** `13_performance`, what NumPy's back end makes of a program.
