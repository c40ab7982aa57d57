# %% [markdown]
# # 10 Custom derivatives and implicit layers
#
# Most functions need no rule: theirs follows from those of their operations. Three reasons for a rule of your own: the derivative
# of the operations is inaccurate; it is wasteful; or the result is *defined* rather than computed, by an equation it solves.

# %%
import matplotlib.pyplot as plt
import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax

# %% [markdown]
# ## A derivative that is more accurate
#
# $f(x) = \ln(1 + e^x)$ has the derivative $f'(x) = 1/(1 + e^{-x})$, between 0 and 1. The chain rule computes it as
# $e^x/(1 + e^x)$, which for large $x$ is $\infty/\infty$.


# %%
def naive(x):
    return fnp.log(1.0 + fnp.exp(x))


with np.errstate(over="ignore"):
    print("by the chain rule:", fg.grad(naive)(1000.0))


@fg.custom_jvp
def softplus(x):
    return fnp.logaddexp(x, 0.0)


@softplus.defjvp
def softplus_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return softplus(x), t / (1.0 + fnp.exp(-x))


print("by the rule:      ", fg.grad(softplus)(1000.0))
assert np.isnan(fg.grad(naive)(1000.0)) and fg.grad(softplus)(1000.0) == 1.0

# %% [markdown]
# A rule in forward mode is enough: reverse mode transposes it, `vmap` maps it, and it is differentiated for higher orders. The check
# of a derivative is the same as always.

# %%
fg.testing.check_grads(softplus, (np.array(0.3),), order=3)
np.testing.assert_allclose(fg.vmap(fg.grad(softplus))(np.array([-1000.0, 0.0, 1000.0])), [0.0, 0.5, 1.0])

# %% [markdown]
# ## A derivative that is another one
#
# `custom_vjp` takes the two halves of reverse mode: what to compute and to keep, and what to do with the cotangent. (Caffe's
# layers were written so: `forward` and `backward`.) Here a function that does nothing, and clips gradients on their way back.


# %%
@fg.custom_vjp
def clip_gradient(x):
    return x


clip_gradient.defvjp(lambda x: (x, None), lambda _, ct: (fnp.clip(ct, -1.0, 1.0),))

x = np.array([0.1, 2.0, -3.0])
steep = lambda x: fnp.sum(clip_gradient(x) ** 2)
assert fg.grad(steep)(x).tolist() == [0.2, 1.0, -1.0]
fg.grad(steep)(x)

# %% [markdown]
# ## Implicit layers
#
# Let $z^*$ be the solution of $z = g(z, a)$: an equilibrium. However it was found, by a thousand iterations or by luck, its
# derivative follows from the equation alone. Differentiate both sides,
#
# $$dz^* = \partial_z g\, dz^* + \partial_a g\, da \quad\Rightarrow\quad dz^* = (I - \partial_z g)^{-1}\,\partial_a g\, da,$$
#
# and transpose: the cotangent of $a$ is $(\partial_a g)^T u$, where $u = (I - \partial_z g)^{-T}\,\bar z$, that is, $u$ solves
# $u = \bar z + (\partial_z g)^T u$: a fixed point again. So the backward pass is the same loop, over a `vjp`, and nothing of the
# iterations is kept. This is the layer of deep equilibrium models (Bai, Kolter and Koltun, 2019).


# %%
def iterate(step, z, tolerance=1e-13, most=500):
    """z = step(z), until it does not move any more."""

    def moving(carry):
        i, old, new = carry
        return (i < most) & (fnp.max(fnp.abs(new - old)) > tolerance)

    return lax.while_loop(moving, lambda c: (c[0] + 1, c[2], step(c[2])), (0, z, step(z)))[2]


def layer(z, a):
    """One layer, the same at every depth: tanh(W z + b)."""
    return fnp.tanh(a["w"] @ z + a["b"])


@fg.custom_vjp
def equilibrium(a):
    return iterate(lambda z: layer(z, a), fnp.zeros_like(a["b"]))


def forward(a):
    z = equilibrium(a)
    return z, (z, a)


def backward(kept, ct):
    z, a = kept
    _, pullback = fg.vjp(layer, z, a)
    u = iterate(lambda u: ct + pullback(u)[0], ct)
    return (pullback(u)[1],)


equilibrium.defvjp(forward, backward)

rng = np.random.default_rng(0)
n = 20
a = {"w": 0.6 * rng.normal(size=(n, n)) / np.sqrt(n), "b": rng.normal(size=n)}
z = equilibrium(a)
np.testing.assert_allclose(z, layer(z, a), atol=1e-12)

# %% [markdown]
# Three ways to the same gradient: the rule; the formula with its matrices; and differentiating through 200 unrolled iterations,
# for which all 200 intermediate values are kept.

# %%
loss = lambda z: fnp.sum(z**2)
gradient = fg.grad(lambda a: loss(equilibrium(a)))(a)

jacobian = fg.jacrev(layer)(z, a)
u = np.linalg.solve(np.eye(n) - jacobian.T, 2 * z)
by_formula = fg.vjp(lambda a: layer(z, a), a)[1](u)[0]


def unrolled(a, depth):
    return lax.fori_loop(0, depth, lambda _, z: layer(z, a), fnp.zeros_like(a["b"]))


through = fg.grad(lambda a: loss(unrolled(a, 200)))(a)
for name in a:
    np.testing.assert_allclose(gradient[name], by_formula[name], atol=1e-11)
    np.testing.assert_allclose(gradient[name], through[name], atol=1e-11)

direction = rng.normal(size=n)
moved = [float(loss(equilibrium({**a, "b": a["b"] + e * direction}))) for e in (1e-5, -1e-5)]
np.testing.assert_allclose(gradient["b"] @ direction, (moved[0] - moved[1]) / 2e-5, rtol=1e-7)

depths = np.arange(1, 61, 3)
errors = [np.abs(fg.grad(lambda a, d=d: loss(unrolled(a, int(d))))(a)["b"] - gradient["b"]).max() for d in depths]
_, ax = plt.subplots()
ax.semilogy(depths, np.maximum(errors, 1e-17), "o-", ms=4)
ax.set(xlabel="iterations that are unrolled", ylabel="error of the gradient")
plt.show()
assert errors[-1] < 1e-6 < errors[0]

# %% [markdown]
# The same argument gives the derivative of anything that solves an equation: roots, minima ($\nabla f = 0$), linear systems. For
# the square root as the solution of $z^2 = a$ it says $2z\,dz = da$, and the school's rule is back:


# %%
@fg.custom_jvp
def square_root(a):
    return lax.fori_loop(0, 40, lambda _, z: (z + a / z) / 2, a)  # Heron's iteration


square_root.defjvp(lambda primals, tangents: (square_root(*primals), tangents[0] / (2 * square_root(*primals))))
assert np.isclose(square_root(2.0), np.sqrt(2)) and np.isclose(fg.grad(square_root)(2.0), 0.5 / np.sqrt(2))
fg.testing.check_grads(square_root, (np.array(2.0),), order=2)

# %% [markdown]
# **Next:** `docs/course.md`, lecture 7, for how Caffe, TensorFlow and PyTorch had their users write derivatives.
