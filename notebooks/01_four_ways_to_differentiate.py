# %% [markdown]
# # 01 Four ways to differentiate
#
# By hand, numerically, symbolically, automatically: lecture 4 of the course notes, with their running example
#
# $$y = f(x_1, x_2) = \ln x_1 + x_1 x_2 - \sin x_2 \quad\text{at}\quad (2, 5).$$

# %%
import matplotlib.pyplot as plt
import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp


def f(x1, x2):
    return fnp.log(x1) + x1 * x2 - fnp.sin(x2)


print(f"f(2, 5) = {f(2.0, 5.0):.6f}")

# %% [markdown]
# ## By hand
#
# $$\frac{\partial f}{\partial x_1} = \frac{1}{x_1} + x_2 = 5.5, \qquad
# \frac{\partial f}{\partial x_2} = x_1 - \cos x_2 = 2 - \cos 5 \approx 1.716.$$

# %%
by_hand = np.array([1 / 2 + 5, 2 - np.cos(5)])
by_hand.round(6)

# %% [markdown]
# ## Numerically
#
# The definition is a limit, so take a small $\varepsilon$. One-sided, or central:
#
# $$\frac{f(x + \varepsilon) - f(x)}{\varepsilon} = f'(x) + O(\varepsilon), \qquad
# \frac{f(x + \varepsilon) - f(x - \varepsilon)}{2\varepsilon} = f'(x) + O(\varepsilon^2).$$
#
# (The notes write $o(\varepsilon^2)$. It is $O$: the error divided by $\varepsilon^2$ tends to $f'''/6$, not to zero.)
# How small? Too large, and the limit is not reached; too small, and the difference of two nearly equal numbers is all
# rounding, an error of about $10^{-16}/\varepsilon$.

# %%
eps = 10.0 ** np.arange(-14, 0.1, 0.5)
forward = np.abs([(f(2 + e, 5.0) - f(2.0, 5.0)) / e - 5.5 for e in eps])
central = np.abs([(f(2 + e, 5.0) - f(2 - e, 5.0)) / (2 * e) - 5.5 for e in eps])

fig, ax = plt.subplots()
ax.loglog(eps, forward, "o-", ms=3, label=r"one-sided: falls as $\varepsilon$")
ax.loglog(eps, central, "o-", ms=3, label=r"central: falls as $\varepsilon^2$")
ax.loglog(eps, 1e-15 / eps, "k:", lw=1, label=r"rounding, $\sim 10^{-15}/\varepsilon$")
ax.set(xlabel=r"step $\varepsilon$", ylabel=r"error of $\partial f/\partial x_1$", ylim=(1e-13, 1e1))
ax.legend()
plt.show()

# %% [markdown]
# At best, a one-sided difference has half of the digits, a central one two thirds of them. And each direction costs two
# evaluations: for a million parameters two million. So numerical differences are what one *checks* derivatives with.
# `testing.check_grads` does it along one random direction $\delta$ of length 1, for all parameters at once:
#
# $$\delta^T \nabla f(x) = \frac{f(x + \varepsilon\delta) - f(x - \varepsilon\delta)}{2\varepsilon} + O(\varepsilon^2).$$

# %%
assert central.min() < 1e-9 < forward.min() * 100
third = fg.grad(fg.grad(fg.grad(f)))(2.0, 5.0)
error = (f(2.01, 5.0) - f(1.99, 5.0)) / 0.02 - 5.5
print(f"error / eps^2 = {error / 0.01**2:.5f}   f'''/6 = {third / 6:.5f}")
assert np.isclose(error / 0.01**2, third / 6, rtol=1e-3)

fg.testing.check_grads(f, (2.0, 5.0), order=2)

# %% [markdown]
# ## Symbolically
#
# Apply the rules to the formula, and get a formula: exact, but it may be long. For the product $f(\theta) = \prod_i \theta_i$
# the rules give $\partial f/\partial\theta_k = \prod_{j\ne k}\theta_j$. Each of the $n$ formulas has $n - 2$ multiplications;
# written out, the gradient costs $n(n-2)$, because every product of neighbours is computed again and again. What a
# *program* does is to compute shared parts once. So let us differentiate programs.
#
# ## Automatically: forward mode
#
# `make_jaxpr` shows the program of $f$: one operation a line, each with a name for its value.

# %%
x1, x2 = np.array(2.0), np.array(5.0)
fg.make_jaxpr(f)(x1, x2)

# %% [markdown]
# Forward mode computes, beside each value $v_i$, its derivative $\dot v_i = \partial v_i/\partial x_1$, from those before it:
#
# | value | derivative |
# | --- | --- |
# | $v_1 = x_1$ | $\dot v_1 = 1$ |
# | $v_2 = x_2$ | $\dot v_2 = 0$ |
# | $v_3 = \ln v_1$ | $\dot v_3 = \dot v_1 / v_1$ |
# | $v_4 = v_1 v_2$ | $\dot v_4 = \dot v_1 v_2 + \dot v_2 v_1$ |
# | $v_5 = \sin v_2$ | $\dot v_5 = \dot v_2 \cos v_2$ |
# | $v_6 = v_3 + v_4$ | $\dot v_6 = \dot v_3 + \dot v_4$ |
# | $v_7 = v_6 - v_5$ | $\dot v_7 = \dot v_6 - \dot v_5$ |
#
# (The notes lose the dots on the right-hand sides; `docs/course.md` lists this and the other slips.) `jvp` computes both
# columns, for a direction of our choice. A function that returns every intermediate value lets us see the table.


# %%
def values(x1, x2):
    v1, v2 = x1 * 1.0, x2 * 1.0
    v3, v4, v5 = fnp.log(v1), v1 * v2, fnp.sin(v2)
    v6 = v3 + v4
    return {"v1": v1, "v2": v2, "v3": v3, "v4": v4, "v5": v5, "v6": v6, "v7": v6 - v5}


v, dot = fg.jvp(values, (2.0, 5.0), (1.0, 0.0))
print("       value   derivative by x1")
for name in v:
    print(f"{name}  {v[name]:9.6f}  {dot[name]:9.6f}")

assert np.allclose(list(dot.values()), [1, 0, 0.5, 5, 0, 5.5, 5.5])

# %% [markdown]
# One pass gives one column of the Jacobian. For the derivative by $x_2$ there must be a second one, with
# $\dot v_1 = 0, \dot v_2 = 1$; for $n$ inputs $n$ passes. That is good for few inputs and many outputs.

# %%
_, dot = fg.jvp(values, (2.0, 5.0), (0.0, 1.0))
print(f"derivative of v7 by x2: {dot['v7']:.6f}")
assert np.isclose(dot["v7"], by_hand[1])

# %% [markdown]
# ## Automatically: reverse mode
#
# A loss has millions of inputs and one output, so we go the other way: compute the *adjoint* of each value,
# $\bar v_i = \partial y/\partial v_i$, from those *after* it. A value that is used more than once gets a contribution from
# each use, $\bar v_{i\to j} = \bar v_j\, \partial v_j/\partial v_i$, and they add up.
#
# | adjoint | at (2, 5) |
# | --- | --- |
# | $\bar v_7 = 1$ | 1 |
# | $\bar v_6 = \bar v_7$ | 1 |
# | $\bar v_5 = -\bar v_7$ | -1 |
# | $\bar v_4 = \bar v_6$ | 1 |
# | $\bar v_3 = \bar v_6$ | 1 |
# | $\bar v_2 = \bar v_5 \cos v_2 + \bar v_4 v_1$ | $2 - \cos 5$ |
# | $\bar v_1 = \bar v_4 v_2 + \bar v_3 / v_1$ | 5.5 |
#
# How do we see an adjoint? It is the derivative by a small number that is added to the value. So add a zero to each.


# %%
def perturbed(e):
    v1, v2 = 2.0 + e["v1"], 5.0 + e["v2"]
    v3, v4, v5 = fnp.log(v1) + e["v3"], v1 * v2 + e["v4"], fnp.sin(v2) + e["v5"]
    v6 = v3 + v4 + e["v6"]
    return v6 - v5 + e["v7"]


adjoint = fg.grad(perturbed)({f"v{i}": 0.0 for i in range(1, 8)})
for name in reversed(adjoint):
    print(f"{name}  {adjoint[name]:9.6f}")

expected = [5.5, 2 - np.cos(5), 1, 1, -1, 1, 1]
assert np.allclose(list(adjoint.values()), expected)

# %% [markdown]
# One pass gave all of them. `grad` is this, and what it does is a program as well. Read it from top to bottom: first the
# forward pass and what it keeps (`cos b`), then the adjoints in reverse order. Both arguments are used twice, and so there are
# two additions of partial adjoints. `jit` would leave out what is not needed, here the value itself.

# %%
fg.make_jaxpr(fg.grad(f, argnums=(0, 1)))(x1, x2)

# %%
gradient = fg.grad(f, argnums=(0, 1))(2.0, 5.0)
assert np.allclose(gradient, by_hand, rtol=1e-15)
print("gradient:", np.round(gradient, 6))

# %% [markdown]
# Because the gradient is an ordinary function, it has a gradient too. The matrix of second derivatives is
#
# $$H = \begin{pmatrix} -1/x_1^2 & 1 \\ 1 & \sin x_2 \end{pmatrix}.$$

# %%
hessian = fg.hessian(lambda x: f(x[0], x[1]))(np.array([2.0, 5.0]))
assert np.allclose(hessian, [[-1 / 4, 1], [1, np.sin(5)]])
hessian.round(6)

# %% [markdown]
# ## The product again
#
# Now count the multiplications in the program of the gradient of $\prod_i \theta_i$.


# %%
def product(*theta):
    y = theta[0]
    for t in theta[1:]:
        y = y * t
    return y


sizes = [4, 8, 16, 32]
counts = []
for n in sizes:
    program = fg.make_jaxpr(fg.grad(product, argnums=tuple(range(n))))(*[1.5] * n)
    counts.append(sum(e.primitive.name == "mul" for e in program.eqns))
    print(f"n = {n:2}: {counts[-1]:3} multiplications; formula by formula {n * (n - 2):4}")

assert all(c <= 3 * (n - 1) for c, n in zip(counts, sizes))

# %% [markdown]
# Linear in $n$: the gradient of a program costs a small multiple of the program, whatever the number of its inputs. That is
# the fact on which deep learning runs.
#
# **Next:** `02_tracing` shows how the program is found, `03_from_scratch` builds all of this in 200 lines.
