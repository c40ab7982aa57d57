# %% [markdown]
# # 03 Reverse mode from scratch
#
# Reverse mode in funcgrad is two steps. **Linearize**: run the function, and write down the linear program that maps a small
# change of the input to a small change of the output. **Transpose**: turn that program around. Here is all of it, for
# NumPy arrays, with nothing of funcgrad; then we compare with the real thing.
#
# ## Why a transpose?
#
# At a point, the derivative of $f:\mathbb R^n\to\mathbb R^m$ is a linear map, the Jacobian $J$. Forward mode computes $Jv$
# for a direction $v$. For a loss ($m = 1$), $J$ is a row: the gradient. To get it by forward mode takes $n$ directions.
# But $J^T w$ for $w = 1$ is the whole gradient at once. And a linear program can be transposed step by step, since
#
# $$(J_k \cdots J_2 J_1)^T = J_1^T J_2^T \cdots J_k^T,$$
#
# where the last step comes first: that, and nothing else, is why it is called *reverse* mode.
#
# ## Step 1: linear programs
#
# A linear program is a list of equations `out = op(in)` and `out = in + in`. Each linear operation knows how to apply itself
# and how to apply its transpose. Three suffice for a small network: multiplication by a number or an array, a product with a
# matrix, and a sum of all elements.

# %%
from collections import namedtuple
from itertools import count

import numpy as np

Linear = namedtuple("Linear", "apply transpose")  # t -> result, and ct -> cotangent of t


def scale(c, shape):
    """t -> c t. Where NumPy broadcasts t to a larger shape, the transpose adds up what was repeated."""
    return Linear(lambda t: c * t, lambda ct: unbroadcast(c * ct, shape))


def unbroadcast(x, shape):
    x = np.sum(x, axis=tuple(range(np.ndim(x) - len(shape))))
    return np.sum(x, axis=tuple(i for i, n in enumerate(shape) if n == 1 != np.shape(x)[i]), keepdims=True)


def matmul_right(w):
    """t -> t W has the transpose ct -> ct W^T: the rule X̄ = Z̄ W^T of lecture 4."""
    return Linear(lambda t: t @ w, lambda ct: ct @ w.T)


def matmul_left(x):
    return Linear(lambda t: x @ t, lambda ct: x.T @ ct)


def summation(shape):
    """The sum of all elements; its transpose repeats a number."""
    return Linear(np.sum, lambda ct: np.broadcast_to(ct, shape))


# %% [markdown]
# The defining property of a transpose is $\langle w, Jv\rangle = \langle J^Tw, v\rangle$ for all $v$ and $w$. It is also the
# test of a transpose, and needs no finite differences:

# %%
rng = np.random.default_rng(0)
matrix, v, w = rng.normal(size=(3, 2)), rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
step = matmul_right(matrix)
assert np.isclose(np.sum(w * step.apply(v)), np.sum(step.transpose(w) * v))

step, v, w = scale(rng.normal(size=(4, 3)), (3,)), rng.normal(size=3), rng.normal(size=(4, 3))
assert np.isclose(np.sum(w * step.apply(v)), np.sum(step.transpose(w) * v))

# %% [markdown]
# ## Step 2: linearize
#
# While the function runs, each number it handles is a `Dual`: the value, and the *name* of its tangent in the linear program.
# An operation computes its value at once, and appends an equation for the tangent. The derivatives of the functions are facts
# of analysis, and stand in the operations: a line each.


# %%
class Tape:
    """A linear program: equations (out, [(linear operation, in), ...]), whose right-hand sides are added up."""

    def __init__(self):
        self.equations, self.names = [], count()

    def input(self, value):
        return Dual(self, np.asarray(value, float), next(self.names))

    def equation(self, value, *terms):
        out = next(self.names)
        self.equations.append((out, terms))
        return Dual(self, value, out)


class Dual:
    __array_ufunc__ = None  # so that NumPy leaves array + Dual to us

    def __init__(self, tape, value, name):
        self.tape, self.value, self.name = tape, value, name
        self.shape = np.shape(value)

    def __add__(self, other):
        if isinstance(other, Dual):
            return self.tape.equation(
                self.value + other.value, (scale(1.0, self.shape), self.name), (scale(1.0, other.shape), other.name)
            )
        return self.tape.equation(self.value + other, (scale(np.ones_like(self.value + other), self.shape), self.name))

    def __mul__(self, other):
        if isinstance(other, Dual):  # d(xy) = y dx + x dy
            return self.tape.equation(
                self.value * other.value,
                (scale(other.value, self.shape), self.name),
                (scale(self.value, other.shape), other.name),
            )
        return self.tape.equation(self.value * other, (scale(other, self.shape), self.name))

    def __matmul__(self, other):
        if isinstance(other, Dual):
            return self.tape.equation(
                self.value @ other.value, (matmul_right(other.value), self.name), (matmul_left(self.value), other.name)
            )
        return self.tape.equation(self.value @ other, (matmul_right(other), self.name))

    def __rmatmul__(self, other):
        return self.tape.equation(other @ self.value, (matmul_left(other), self.name))

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    __radd__, __rmul__ = __add__, __mul__

    def sum(self):
        return self.tape.equation(np.sum(self.value), (summation(self.shape), self.name))


def elementwise(f, derivative):
    """A function of one argument with its derivative, given the argument x and the value y."""

    def apply(x):
        if not isinstance(x, Dual):
            return f(x)
        y = f(x.value)
        return x.tape.equation(y, (scale(derivative(x.value, y), x.shape), x.name))

    return apply


exp = elementwise(np.exp, lambda x, y: y)
log = elementwise(np.log, lambda x, y: 1 / x)
sin = elementwise(np.sin, lambda x, y: np.cos(x))
tanh = elementwise(np.tanh, lambda x, y: 1 - y**2)
relu = elementwise(lambda x: np.maximum(x, 0), lambda x, y: (x > 0) * 1.0)


def linearize(f, *args):
    """The value of f, and its derivative there, as a linear program."""
    tape = Tape()
    inputs = [tape.input(x) for x in args]
    out = f(*inputs)
    return out.value, (tape.equations, [i.name for i in inputs], out.name)


# %% [markdown]
# ## Step 3: run the program forwards, or backwards
#
# Forwards, each equation gives the tangent of its result: that is `jvp`. Backwards, each equation hands the cotangent of its
# result, through the transposed operation, to each of its operands, where contributions add up: that is `grad`. Needle's
# `compute_gradient_of_variables` is the second loop; its topological order is our order of writing.


# %%
def run_forward(program, tangents):
    equations, inputs, out = program
    t = dict(zip(inputs, tangents))
    for name, terms in equations:
        t[name] = sum(step.apply(t[operand]) for step, operand in terms)
    return t[out]


def run_backward(program, ct):
    equations, inputs, out = program
    cts = {out: ct}
    for name, terms in reversed(equations):
        if name in cts:  # otherwise the output does not depend on it
            for step, operand in terms:
                contribution = step.transpose(cts[name])
                cts[operand] = cts[operand] + contribution if operand in cts else contribution
    return [cts[name] for name in inputs]


def jvp(f, args, tangents):
    value, program = linearize(f, *args)
    return value, run_forward(program, tangents)


def grad(f):
    return lambda *args: run_backward(linearize(f, *args)[1], np.array(1.0))


# %% [markdown]
# That is the whole library. The running example of the notes, at (2, 5):


# %%
def f(x1, x2):
    return log(x1) + x1 * x2 - sin(x2)


value, program = linearize(f, 2.0, 5.0)
print("value    ", round(float(value), 6))
print("gradient ", [round(float(g), 6) for g in grad(f)(2.0, 5.0)])
print("tangent  ", float(jvp(f, (2.0, 5.0), (1.0, 0.0))[1]))
for name, terms in program[0]:
    print(f"  t{name} =", " + ".join(f"{float(step.apply(1.0)):.4g} * t{operand}" for step, operand in terms))

assert np.allclose(grad(f)(2.0, 5.0), [5.5, 2 - np.cos(5)])

# %% [markdown]
# The four numbers 5, 2, 0.5 and cos 5 are the partial derivatives of the table in notebook 01. Read down, the program is
# forward mode; read up, it is reverse mode.
#
# ## Against the real one
#
# A network of two layers with softmax cross entropy, in both libraries:

# %%
import funcgrad as fg
import funcgrad.numpy as fnp

x, labels = rng.normal(size=(6, 4)), rng.integers(0, 3, 6)
params = [rng.normal(size=(4, 5)), rng.normal(size=5), rng.normal(size=(5, 3))]
ones, one_hot = np.ones((3, 1)), np.eye(3)[labels]


def ours(w1, b1, w2):
    h = tanh(x @ w1 + b1) @ w2
    return (log(exp(h) @ ones) - (h * one_hot) @ ones).sum() * (1 / 6)


def theirs(w1, b1, w2):
    return fg.nn.losses.softmax_cross_entropy(fnp.tanh(x @ w1 + b1) @ w2, labels)


for mine, real in zip(grad(ours)(*params), fg.grad(theirs, argnums=(0, 1, 2))(*params)):
    assert mine.shape == real.shape
    np.testing.assert_allclose(mine, real, rtol=1e-12, atol=1e-14)

direction = [rng.normal(size=p.shape) for p in params]
mine, real = jvp(ours, params, direction), fg.jvp(theirs, tuple(params), tuple(direction))
np.testing.assert_allclose(mine, real, rtol=1e-12)
print("gradients and tangents agree to 12 digits")

# %% [markdown]
# ## What is missing
#
# Ours holds *values* on its tape, so that it can neither print its gradient nor differentiate it again. In funcgrad the linear
# program is a jaxpr, its equations are primitives, and whatever a transform computes can be traced by another one. Here is the
# linear program of the same function, and its transpose:

# %%
_, f_jvp = fg.linearize(lambda x1, x2: fnp.log(x1) + x1 * x2 - fnp.sin(x2), np.array(2.0), np.array(5.0))
fg.make_jaxpr(f_jvp)(np.array(1.0), np.array(0.0))

# %%
transposed = fg.linear_transpose(f_jvp, np.array(0.0), np.array(0.0))
print([round(float(ct), 6) for ct in transposed(np.array(1.0))])
assert np.allclose(transposed(np.array(1.0)), [5.5, 2 - np.cos(5)])

# %% [markdown]
# A rule per operation, a list, and two loops: `funcgrad/primitives/elementwise.py` has the table of derivatives,
# `funcgrad/transforms/reverse.py` the linear trace and the loop backwards. You can read both now.
#
# **Next:** `00_quick_start` for the tour, CONTRIBUTING.md to add an operation of your own.
