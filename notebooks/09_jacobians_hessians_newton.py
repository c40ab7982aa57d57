# %% [markdown]
# # 09 `vmap`, Jacobians, Hessians, Newton
#
# Transforms nest. From `jvp`, `vjp` and `vmap` alone follow Jacobians, Hessians, products with them, and Newton's method.

# %%
import matplotlib.pyplot as plt
import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import optim

rng = np.random.default_rng(0)

# %% [markdown]
# ## Jacobians
#
# Forward mode gives $Jv$, a column for each basis vector; reverse mode gives $w^TJ$, a row for each. A Jacobian is the map
# (`vmap`) of one of them over an identity matrix: this is all there is to `jacfwd` and `jacrev`.


# %%
def polar(p):
    r, phi = p
    return fnp.stack([r * fnp.cos(phi), r * fnp.sin(phi)])


p = np.array([2.0, 0.5])
columns = fg.vmap(lambda v: fg.jvp(polar, (p,), (v,))[1])(np.eye(2)).T
_, pullback = fg.vjp(polar, p)
rows = fg.vmap(lambda w: pullback(w)[0])(np.eye(2))

by_hand = np.array([[np.cos(0.5), -2 * np.sin(0.5)], [np.sin(0.5), 2 * np.cos(0.5)]])
for jacobian in (columns, rows, fg.jacfwd(polar)(p), fg.jacrev(polar)(p)):
    np.testing.assert_allclose(jacobian, by_hand, atol=1e-15)
print("determinant:", round(float(fnp.linalg.det(fg.jacfwd(polar)(p))), 12), "= r")

# %% [markdown]
# For $f:\mathbb R^n\to\mathbb R^m$ forward mode takes $n$ passes, reverse mode $m$: take the smaller one. How wide the arrays
# of the two programs are shows it, for $n = 3$ and $m = 200$.

# %%
tall = rng.normal(size=(200, 3))
f = lambda x: fnp.tanh(tall @ x)
largest = {
    mode.__name__: max(v.aval.size for e in fg.make_jaxpr(mode(f))(np.ones(3)).eqns for v in e.outputs)
    for mode in (fg.jacfwd, fg.jacrev)
}
print("elements of the largest intermediate array:", largest)
assert largest["jacfwd"] * 10 < largest["jacrev"]

# %% [markdown]
# ## Hessians
#
# The Hessian is the Jacobian of the gradient: $n$ inputs and $n$ outputs, where forward over reverse is the cheapest. A product
# of it with a vector needs no matrix; it is the derivative of the gradient along the vector,
#
# $$Hv = \frac{d}{d\varepsilon}\nabla f(x + \varepsilon v)\Big|_{\varepsilon=0}$$
#
# (Pearlmutter 1994), at the cost of two gradients, for a million parameters too.


# %%
def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


x, v = np.array([-1.2, 1.0]), rng.normal(size=2)
hessian = fg.jacfwd(fg.jacrev(rosenbrock))(x)
np.testing.assert_allclose(hessian, [[1200 * 1.44 - 400 + 2, 480], [480, 200]])
np.testing.assert_allclose(fg.hessian(rosenbrock)(x), hessian)
product = fg.jvp(fg.grad(rosenbrock), (x,), (v,))[1]
np.testing.assert_allclose(product, hessian @ v)
np.testing.assert_allclose(fg.hvp(rosenbrock, (x,), (v,)), product)
hessian

# %% [markdown]
# ## Newton
#
# $$\theta \leftarrow \theta - \alpha H^{-1}\nabla f.$$
#
# For a quadratic function one step is enough, if $\alpha = 1$ (the notes do not say so). Elsewhere it converges quadratically,
# once it is near: the number of right digits doubles with each step.

# %%
newton, state = optim.newton(), optim.newton().init(x)
points = [x]
for _ in range(7):
    updates, state = newton.update(fg.grad(rosenbrock)(points[-1]), state, points[-1], value_fn=rosenbrock)
    points.append(points[-1] + updates)
points = np.array(points)

sgd = optim.sgd(0.0015)


@fg.jit
def descend(x):
    def step(x, _):
        x = x + sgd.update(fg.grad(rosenbrock)(x), sgd.init(x), x)[0]
        return x, x

    return fg.lax.scan(step, x, None, length=2000)[1]


descent = np.vstack([x, descend(x)])

_, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.6))
a, b = np.meshgrid(np.linspace(-1.8, 1.6, 120), np.linspace(-3.4, 2.0, 120))
left.contour(a, b, np.log10(1e-3 + rosenbrock([a, b])), 14, colors="0.8", linewidths=0.8)
left.plot(*descent.T, "-", label="gradient descent")
left.plot(*points.T, "o-", ms=4, label="Newton")
left.plot(1, 1, "k+")
left.set(xlabel=r"$x_0$", ylabel=r"$x_1$", ylim=(-3.4, 2.0))
left.legend(loc="lower left", fontsize=8)
left.grid(False)
distance = lambda path: np.maximum(np.linalg.norm(path - 1, axis=1), 1e-16)
right.loglog(1 + np.arange(len(descent)), distance(descent), label="gradient descent")
right.loglog(1 + np.arange(len(points)), distance(points), "o-", ms=4, label="Newton")
right.set(xlabel="step", ylabel="distance to the minimum")
plt.show()

assert distance(points)[-1] < 1e-9 and distance(descent)[-1] > 0.05

# %% [markdown]
# Why does nobody train networks so? The Hessian has $n^2$ elements, solving takes $n^3$ operations, and far from a minimum the
# zero of the gradient to which it leads may be a saddle. Without the matrix, by conjugate gradients on products $Hv$, it is
# `optim.newton_cg`:

# %%
n = 300
root = rng.normal(size=(n, n)) / np.sqrt(n)
matrix, target = root @ root.T + np.eye(n), rng.normal(size=n)
quadratic = lambda x: x @ matrix @ x / 2 - target @ x
optimizer = optim.newton_cg(tol=1e-8)
start = np.zeros(n)
updates, _ = optimizer.update(fg.grad(quadratic)(start), optimizer.init(start), start, value_fn=quadratic)
np.testing.assert_allclose(start + updates, np.linalg.solve(matrix, target), rtol=1e-5, atol=1e-6)
print("one step of Newton in 300 dimensions, without a Hessian")

# %% [markdown]
# **Next:** `10_custom_derivatives` gives a function a derivative of its own.
