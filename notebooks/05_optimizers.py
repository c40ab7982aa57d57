# %% [markdown]
# # 05 Optimizers
#
# Lecture 6: gradient descent, momentum and its variants, Adam, first on a bowl of two dimensions, where one can see what
# they do, then on hand-written digits.
#
# The bowl is $f(\theta) = \tfrac12(\theta_1^2 + 20\,\theta_2^2)$: a valley, twenty times as steep across as along.

# %%
import matplotlib.pyplot as plt
import numpy as np

import funcgrad as fg
from funcgrad import data, nn, optim

curvature = np.array([1.0, 20.0])
start = np.array([-4.0, 1.5])


def bowl(theta):
    return (curvature * theta**2).sum() / 2


def path(optimizer, steps=40):
    """The points that an optimizer passes through, the start included."""

    @fg.jit
    def update(theta, state):
        updates, state = optimizer.update(fg.grad(bowl)(theta), state, theta, grad_fn=fg.grad(bowl))
        return optim.apply_updates(theta, updates), state

    theta, state, points = start, optimizer.init(start), [start]
    for _ in range(steps):
        theta, state = update(theta, state)
        points.append(theta)
    return np.array(points)


def show(paths, columns=3):
    rows = -(-len(paths) // columns)
    _, axes = plt.subplots(rows, columns, figsize=(8.6, 2.5 * rows), sharex=True, sharey=True)
    a, b = np.meshgrid(np.linspace(-4.6, 2.2, 80), np.linspace(-3.4, 2.2, 80))
    for ax, (title, points) in zip(axes.flat, paths.items()):
        ax.contour(a, b, (a**2 + 20 * b**2) / 2, levels=[0.3, 1.5, 4, 8, 16, 32], colors="0.8", linewidths=0.8)
        ax.plot(*points.T, ".-", ms=4, lw=1)
        ax.plot(0, 0, "k+")
        ax.set_title(title)
        ax.set(xlim=(-4.6, 2.2), ylim=(-3.4, 2.2))
        ax.grid(False)
    for ax in axes[-1] if rows > 1 else axes:
        ax.set_xlabel(r"$\theta_1$")
    for ax in axes[:, 0] if rows > 1 else axes[:1]:
        ax.set_ylabel(r"$\theta_2$")
    plt.show()


# %% [markdown]
# ## The learning rate
#
# Along an axis of curvature $\lambda$ a step multiplies $\theta$ by $1 - \alpha\lambda$. It converges if
# $|1 - \alpha\lambda| < 1$ for each of them, so $\alpha < 2/\lambda_{\max} = 0.1$ here, and how fast it is along the valley is
# up to the smallest one. That is the whole difficulty of gradient descent.

# %%
show({rf"$\alpha = {lr}$": path(optim.sgd(lr)) for lr in (0.01, 0.05, 0.098)})

for lr in (0.01, 0.05, 0.098):
    np.testing.assert_allclose(path(optim.sgd(lr))[-1], start * (1 - lr * curvature) ** 40, rtol=1e-9, atol=1e-12)
assert bowl(path(optim.sgd(0.11))[-1]) > bowl(start)  # beyond 0.1 it diverges

# %% [markdown]
# ## Momentum, as the notes have it and as libraries have it
#
# The notes average gradients, $u \leftarrow \beta u + (1 - \beta) g$, and step by $-\alpha u$. PyTorch and Optax add them up,
# $u \leftarrow \beta u + g$. The same path, if $\alpha$ is $1/(1 - \beta)$ times as large in the notes' form: mind it when you
# copy a learning rate. The first steps of the average are small, because $u$ starts at zero; the *unbiased* form divides by
# $1 - \beta^t$, and then the first step is that of gradient descent.
#
# Nesterov takes the gradient at the point to which momentum is about to lead.

# %%
beta = 0.8
paths = {
    "momentum (average)": path(optim.ema_momentum(0.15, beta)),
    "unbiased momentum": path(optim.ema_momentum(0.15, beta, debias=True)),
    "momentum (sum)": path(optim.sgd(0.15, momentum=beta)),
    "Nesterov": path(optim.lookahead_nesterov(0.15, beta)),
    "Nesterov as in the notes": path(optim.lookahead_nesterov(0.15, beta, exact=False)),
    "Nesterov (PyTorch's form)": path(optim.sgd(0.15 * (1 - beta), momentum=beta, nesterov=True)),
}
show({name: p for name, p in paths.items() if name != "momentum (sum)"} | {"gradient descent": path(optim.sgd(0.05))})

# The sum with the learning rate 0.03 is the average with 0.15.
np.testing.assert_allclose(path(optim.sgd(0.15 * (1 - beta), momentum=beta)), paths["momentum (average)"], atol=1e-12)
# First steps: (1 - beta) of the gradient's, and all of it.
step = 0.15 * fg.grad(bowl)(start)
np.testing.assert_allclose(start - paths["momentum (average)"][1], (1 - beta) * step)
np.testing.assert_allclose(start - paths["unbiased momentum"][1], step)
# The sum with the notes' learning rate is five times as fast, and overshoots five times as far at its first step.
np.testing.assert_allclose(start - paths["momentum (sum)"][1], step)

# %% [markdown]
# PyTorch's form of Nesterov walks through the points *ahead* of Nesterov's own path, $\theta_t + \beta(\theta_t -
# \theta_{t-1})$; it saves the second place where a gradient would be needed.

# %%
nesterov = paths["Nesterov"]
ahead = nesterov[1:] + beta * (nesterov[1:] - nesterov[:-1])
np.testing.assert_allclose(paths["Nesterov (PyTorch's form)"][1:], ahead, atol=1e-10)
assert np.abs(paths["Nesterov as in the notes"] - nesterov).max() > 0.01  # the notes look beyond it, by 1 / beta

# %% [markdown]
# ## Adam
#
# Adam divides the average gradient by the root of the average of its squares, element by element: both axes are equally fast,
# whatever their curvature. The first step has the size $\alpha$ in each coordinate. The notes leave out the correction of the
# bias; then the first step is $\alpha(1 - \beta_1)/\sqrt{1 - \beta_2} \approx 3.2\,\alpha$.
#
# Newton's method knows the curvature, and is done in one step, with the learning rate 1.

# %%
adam, uncorrected = path(optim.adam(0.3)), path(optim.adam(0.3, bias_correction=False))
newton = optim.newton()
state = newton.init(start)
updates, _ = newton.update(fg.grad(bowl)(start), state, start, value_fn=bowl)
show({"Adam": adam, "Adam as in the notes": uncorrected, "Newton": np.array([start, start + updates])})

np.testing.assert_allclose(np.abs(adam[1] - start), 0.3, rtol=1e-6)
np.testing.assert_allclose(np.abs(uncorrected[1] - start), 0.3 * 0.1 / np.sqrt(0.001), rtol=1e-6)
np.testing.assert_allclose(start + updates, 0, atol=1e-12)

# %% [markdown]
# ## Digits
#
# A network with 64 inputs, 64 hidden units and 10 outputs, on 1,500 digits, in batches of 50. Each optimizer begins with the
# same weights, and sees the same batches. That is why a step is a pure function: nothing else can differ.

# %%
images, labels = data.load_digits()
order = np.random.default_rng(0).permutation(len(images))
images, labels = images[order], labels[order]
train_x, train_y, test_x, test_y = images[:1500], labels[:1500], images[1500:], labels[1500:]
initial = nn.MLP.init(fg.random.key(1), (64, 64, 10))


def train(optimizer, epochs=8, size=50):
    """The loss of each step, and the accuracy on images not trained on."""

    @fg.jit
    def step(model, state, x, y):
        loss, grads = fg.value_and_grad(lambda m: nn.losses.softmax_cross_entropy(m(x), y))(model)
        updates, state = optimizer.update(grads, state, model)
        return optim.apply_updates(model, updates), state, loss

    model, state, losses = initial, optimizer.init(initial), []
    for epoch in range(epochs):
        shuffled = np.random.default_rng(epoch).permutation(len(train_x))
        for batch in shuffled.reshape(-1, size):
            model, state, loss = step(model, state, train_x[batch], train_y[batch])
            losses.append(float(loss))
    return np.array(losses), float(nn.metrics.accuracy(model(test_x), test_y))


runs = {
    "SGD, 0.05": optim.sgd(0.05),
    "momentum (average), 0.05": optim.ema_momentum(0.05, 0.9),
    "momentum (sum), 0.05": optim.sgd(0.05, momentum=0.9),
    "Nesterov, 0.05": optim.sgd(0.05, momentum=0.9, nesterov=True),
    "Adam, 0.003": optim.adam(0.003),
}
results = {name: train(optimizer) for name, optimizer in runs.items()}

fig, ax = plt.subplots(figsize=(6.8, 3.8))
for (name, (losses, _)), style in zip(results.items(), ["-", "--", "-", "-", "-"]):
    ax.semilogy(np.convolve(losses, np.ones(15) / 15, "valid"), style, label=name)
ax.set(xlabel="step", ylabel="cross entropy, mean of 15 steps")
ax.legend(fontsize=8)
plt.show()

# %% [markdown]
# The dashed line of the *average* lies close to that of SGD: with the same $\alpha$, averaging smooths the
# gradients, but goes no faster. The *sum* with the same $\alpha$ is a learning rate ten times as large.

# %%
final = {name: losses[-30:].mean() for name, (losses, _) in results.items()}
assert abs(np.log(final["SGD, 0.05"] / final["momentum (average), 0.05"])) < 0.2
assert final["momentum (sum), 0.05"] < final["SGD, 0.05"] / 3
assert final["Adam, 0.003"] < final["SGD, 0.05"] / 2
assert all(accuracy > 0.85 for _, accuracy in results.values())
for name, (_, accuracy) in results.items():
    print(f"{name:26} more than {np.floor(accuracy * 20 - 0.1) * 5:.0f} % right")

# %% [markdown]
# ## Many learning rates at once
#
# A hyper-parameter is an array in the optimizer's state, so `vmap` maps over it: forty paths on the bowl in one program.

# %%
rates = np.geomspace(1e-3, 0.3, 40)


@fg.jit
@fg.vmap
def after_40_steps(rate):
    optimizer = optim.sgd(0.1)
    state = optim.with_hyperparameters(optimizer.init(start), learning_rate=rate)

    def step(carry, _):
        theta, state = carry
        updates, state = optimizer.update(fg.grad(bowl)(theta), state, theta)
        return (optim.apply_updates(theta, updates), state), None

    (theta, _), _ = fg.lax.scan(step, (start, state), None, length=40)
    return bowl(theta)


values = after_40_steps(rates)
expected = [(curvature * (start * (1 - r * curvature) ** 40) ** 2).sum() / 2 for r in rates]
np.testing.assert_allclose(values, expected, rtol=1e-6)

fig, ax = plt.subplots()
ax.loglog(rates, values, ".-")
ax.axvline(0.1, color="k", ls=":", lw=1)
ax.axhline(bowl(start), color="k", ls=":", lw=1)
ax.set(xlabel=r"learning rate $\alpha$", ylabel="f after 40 steps", ylim=(1e-6, 1e6))
ax.text(0.105, 3e-6, r"$2/\lambda_{\max}$")
ax.text(1e-3, 40, "f at the start")
plt.show()

# %% [markdown]
# The optimum lies just below the rate at which it diverges: so much for "smaller is safer".
#
# **Next:** `docs/course.md` has the formulas of the notes and the standard ones side by side.
