# %% [markdown]
# # 00 Quick start
#
# funcgrad takes a Python function of arrays and returns another one: its gradient, a version that maps over a batch, a compiled
# one. Arrays go in and come out as plain `numpy.ndarray`.

# %%
import matplotlib.pyplot as plt
import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp

# %% [markdown]
# ## Four transforms
#
# **`grad`** of a function with a scalar result is a function with a result like its argument.

# %%
x = np.linspace(-4.0, 4.0, 161)


def f(x):
    return fnp.sin(x) * fnp.exp(-(x**2) / 8)


assert np.isclose(fg.grad(f)(0.0), 1.0)
round(float(fg.grad(f)(1.0)), 6)

# %% [markdown]
# **`vmap`** makes a function of one number a function of many. And transforms nest: the second derivative, at 161 points.

# %%
fig, ax = plt.subplots()
for order, label in enumerate(["$f$", "$f'$", "$f''$"]):
    g = f
    for _ in range(order):
        g = fg.grad(g)
    ax.plot(x, fg.vmap(g)(x), label=label)
ax.set(xlabel="x", title=r"$f(x) = e^{-x^2/8} \sin x$ and its derivatives")
ax.legend()
plt.show()

difference = np.gradient(fg.vmap(f)(x), x)
assert np.abs(difference - fg.vmap(fg.grad(f))(x))[1:-1].max() < 2e-3

# %% [markdown]
# **`jit`** traces the function once for each shape and dtype, simplifies the program, and compiles it to Python source, which
# you can print. The comments name your lines.

# %%
loss = lambda w, x, y: fnp.mean((fnp.tanh(x @ w) - y) ** 2)
w, inputs, targets = np.zeros(2), np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.5, -0.5])
gradient = fg.jit(fg.grad(loss))
assert np.array_equal(gradient(w, inputs, targets), fg.grad(loss)(w, inputs, targets))
gradient(w, inputs, targets)

# %%
fg.make_jaxpr(loss)(w, inputs, targets)

# %% [markdown]
# **Pytrees.** Parameters may be dicts, lists, tuples, dataclasses of arrays, in any nesting; a gradient has the same structure.

# %%
params = {"weight": np.ones(2), "bias": 0.5}
fg.grad(lambda p: loss(p["weight"], inputs, targets) + p["bias"] ** 2)(params)

# %% [markdown]
# ## Plain NumPy
#
# A function written for NumPy differentiates as it is. An array that it made itself may be written to, too:


# %%
def smooth(x, a=0.8):
    y = np.zeros_like(x)
    y[0] = x[0]
    for i in range(1, len(x)):
        y[i] = a * y[i - 1] + (1 - a) * x[i]
    return y


signal = np.sin(np.arange(6.0))
jacobian = fg.jacrev(smooth)(signal)
fg.testing.check_grads(smooth, (signal,), order=2)
assert np.allclose(jacobian @ signal, smooth(signal))  # it is linear
jacobian.round(3)

# %% [markdown]
# ## A fit
#
# Everything together: noisy points, a small network, Adam. A training step is a function of the parameters and the state of
# the optimizer; both are values, nothing is hidden.

# %%
rng = np.random.default_rng(0)
points = np.sort(rng.uniform(-4, 4, 60))
noisy = f(points) + 0.08 * rng.normal(size=60)

model = fg.nn.MLP.init(fg.random.key(0), (1, 32, 32, 1), activation=fg.nn.tanh, dtype=np.float64)
optimizer = fg.optim.adam(1e-2)


@fg.jit
def train_step(model, state):
    value, grads = fg.value_and_grad(lambda m: fg.nn.losses.mse(m(points[:, None])[:, 0], noisy))(model)
    updates, state = optimizer.update(grads, state, model)
    return fg.optim.apply_updates(model, updates), state, value


state, losses = optimizer.init(model), []
for _ in range(600):
    model, state, value = train_step(model, state)
    losses.append(float(value))

fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2))
left.semilogy(losses)
left.set(xlabel="step", ylabel="mean squared error")
right.plot(points, noisy, ".", ms=5, label="data")
right.plot(x, model(x[:, None])[:, 0], label="network")
right.plot(x, f(x), "k:", lw=1, label="truth")
right.set(xlabel="x")
right.legend(fontsize=8)
plt.show()

assert losses[-1] < 0.01 < losses[0]
assert np.mean((model(points[:, None])[:, 0] - f(points)) ** 2) < 0.01

# %% [markdown]
# ## When something is wrong
#
# Errors say what happened, to which argument, and what to write instead.

# %%
try:
    fg.grad(lambda x: x**2)(np.ones(3))
except TypeError as error:
    print(str(error).split("\n")[0])

# %%
try:
    fg.jit(lambda x: x if x > 0 else -x)(1.0)
except TypeError as error:
    print(str(error).split("\n")[0])

# %% [markdown]
# **Next:** `01_four_ways_to_differentiate` says what a derivative of a program is.
