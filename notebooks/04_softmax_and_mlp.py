# %% [markdown]
# # 04 Softmax regression and a network
#
# Lectures 2 and 3, and homework 0: a classifier of hand-written digits, first linear, then with a hidden layer. The gradients
# are derived by hand and compared with `grad`.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import data, nn, optim

images, labels = data.load_digits()  # 1,797 images of 8 x 8 pixels, which come with the library
order = np.random.default_rng(0).permutation(len(images))
images, labels = images[order].astype(float), labels[order]
x, y, test_x, test_y = images[:1400], labels[:1400], images[1400:], labels[1400:]

_, axes = plt.subplots(1, 10, figsize=(8, 1.1))
for ax, image, label in zip(axes, x, y):
    ax.imshow(image.reshape(8, 8), cmap="gray_r")
    ax.set_title(label)
    ax.set_axis_off()
plt.show()

# %% [markdown]
# ## Three parts
#
# **Hypothesis:** scores $h_\theta(X) = X\theta$, for samples in the rows of $X \in\mathbb R^{m\times n}$, and
# $\theta\in\mathbb R^{n\times k}$. **Loss:** cross entropy, $\ell(h, y) = \log\sum_j e^{h_j} - h_y$, averaged over the samples.
# **Optimizer:** below. Labels count from 0 (the notes count from 1).
#
# The one trap is $e^{h_j}$: with $h = 1000$ it overflows. `nn.losses.softmax_cross_entropy` subtracts the largest score first.

# %%
h = np.array([1000.0, 0.0, -1000.0])
with np.errstate(over="ignore"):
    print("as the formula stands:", np.log(np.sum(np.exp(h))) - h[1])
print("with the shift:       ", nn.losses.softmax_cross_entropy(h, 1))
assert nn.losses.softmax_cross_entropy(h, 1) == 1000

# %% [markdown]
# ## The gradient by hand
#
# With $z = \mathrm{softmax}(h)$ and $e_y$ the one-hot vector of the label,
#
# $$\frac{\partial\ell}{\partial h_i} = \frac{e^{h_i}}{\sum_j e^{h_j}} - [i = y], \qquad \nabla_h\ell = z - e_y,$$
#
# and with $h = \theta^T x$ for one sample, $\nabla_\theta\ell = x(z - e_y)^T$. For the mean over $m$ samples,
#
# $$\nabla_\theta = \tfrac1m X^T(Z - E_y).$$
#
# It is one matrix product. The factor $1/m$ belongs to the *mean*: with the sum there is none, and it goes into the step,
# $\theta - \frac{\alpha}{B}\nabla$. Having it in both places makes learning $B$ times too slow; that is erratum 2 of the notes.

# %%
theta = 0.1 * np.random.default_rng(1).normal(size=(64, 10))
one_hot = nn.one_hot(y, 10, dtype=float)


def linear_loss(theta):
    return nn.losses.softmax_cross_entropy(x @ theta, y)


by_hand = x.T @ (nn.softmax(x @ theta) - one_hot) / len(x)
np.testing.assert_allclose(fg.grad(linear_loss)(theta), by_hand, atol=1e-14)

summed = fg.grad(lambda t: nn.losses.softmax_cross_entropy(x @ t, y, reduction="sum"))(theta)
np.testing.assert_allclose(summed, len(x) * by_hand, atol=1e-11)

# The batch is the map over its samples, and its gradient their mean.
one = fg.grad(lambda t, x, y: nn.losses.softmax_cross_entropy(x @ t, y))
each = fg.vmap(one, in_axes=(None, 0, 0))(theta, x[:50], y[:50])
np.testing.assert_allclose(each[7], np.outer(x[7], nn.softmax(x[7] @ theta) - one_hot[7]), atol=1e-14)
print("per-sample gradients:", each.shape)

# %% [markdown]
# ## Training
#
# One function trains any model: it takes the function from parameters and images to scores.


# %%
def train(scores, params, learning_rate=0.2, epochs=25, size=100):
    optimizer = optim.sgd(learning_rate)

    @fg.jit
    def step(params, state, x, y):
        grads = fg.grad(lambda p: nn.losses.softmax_cross_entropy(scores(p, x), y))(params)
        updates, state = optimizer.update(grads, state, params)
        return optim.apply_updates(params, updates), state

    state, errors = optimizer.init(params), []
    for epoch in range(epochs):
        for batch in np.random.default_rng(epoch).permutation(len(x)).reshape(-1, size):
            params, state = step(params, state, x[batch], y[batch])
        errors.append([nn.metrics.error_rate(scores(params, a), b) for a, b in ((x, y), (test_x, test_y))])
    return params, np.array(errors)


def linear(theta, x):
    return x @ theta


theta, linear_errors = train(linear, np.zeros((64, 10)))
assert linear_errors[-1, 1] < 0.1

# %% [markdown]
# A row of weights is a picture: where ink speaks for the digit (red), and where against it (blue).

# %%
_, axes = plt.subplots(1, 10, figsize=(8, 1.1))
for digit, ax in enumerate(axes):
    ax.imshow(theta[:, digit].reshape(8, 8), cmap="RdBu_r", vmin=-0.8, vmax=0.8)
    ax.set_title(digit)
    ax.set_axis_off()
plt.show()

# %% [markdown]
# ## A hidden layer
#
# Two linear maps after each other are one linear map. With a nonlinearity between them, $h = \sigma(XW_1)W_2$, they are not.
# Backwards, with $S = \mathrm{softmax}(\sigma(XW_1)W_2)$,
#
# $$\nabla_{W_2} = \tfrac1m\,\sigma(XW_1)^T (S - E), \qquad
#   \nabla_{W_1} = \tfrac1m\,X^T\left[\sigma'(XW_1)\odot\left((S - E)W_2^T\right)\right].$$
#
# (The notes forget $W_2$ in $S$, and write $\partial X_1$ for $\partial W_1$.)


# %%
def network(params, x):
    w1, w2 = params
    return nn.relu(x @ w1) @ w2


keys = fg.random.split(fg.random.key(0), 2)
draw = nn.init.kaiming_normal()  # variance 2 / fan_in, for relu
params = [draw(keys[0], (64, 100), np.float64), draw(keys[1], (100, 10), np.float64)]

w1, w2 = params
hidden = np.maximum(x @ w1, 0)
g2 = (nn.softmax(hidden @ w2) - one_hot) / len(x)
g1 = (x @ w1 > 0) * (g2 @ w2.T)
d1, d2 = fg.grad(lambda p: nn.losses.softmax_cross_entropy(network(p, x), y))(params)
np.testing.assert_allclose(d1, x.T @ g1, atol=1e-14)
np.testing.assert_allclose(d2, hidden.T @ g2, atol=1e-14)

# %%
params, network_errors = train(network, params)

_, ax = plt.subplots()
for errors, name, colour in ((linear_errors, "linear", "C0"), (network_errors, "hidden layer", "C1")):
    ax.plot(1 + np.arange(len(errors)), 100 * errors[:, 0], colour, ls="--", label=f"{name}, training")
    ax.plot(1 + np.arange(len(errors)), 100 * errors[:, 1], colour, label=f"{name}, test")
ax.set(xlabel="epoch", ylabel="error / %", ylim=(0, 15))
ax.legend(ncols=2)
plt.show()

assert network_errors[-1, 1] < linear_errors[-1, 1]
assert network_errors[-1, 0] < 0.03

# %% [markdown]
# The 0/1 error is what we want, and cannot be trained: it is constant almost everywhere, so that its gradient is zero.
# `nn.diagnose.zero_gradients` finds such a gradient before hours of training do not.

# %%
grads = fg.grad(lambda p: nn.metrics.error_rate(network(p, x), y) + 0.0 * fnp.sum(p[0]))(params)
print("no gradient reaches:", nn.diagnose.zero_gradients(grads))
assert len(nn.diagnose.zero_gradients(grads)) == 2

# %% [markdown]
# ## MNIST
#
# With the files of MNIST in `../shared/data/mnist`, beside the checkout, the same function trains on 28 by 28 pixels. Here
# are the first 8,000 of its test images, and the other 2,000 to test on. (The cell's output is not kept.)

# %% tags=["volatile"]
folder = Path("../../shared/data/mnist")
if folder.is_dir():
    pixels = data.read_idx(folder / "t10k-images-idx3-ubyte.gz").reshape(-1, 784) / 255.0
    digits = data.read_idx(folder / "t10k-labels-idx1-ubyte.gz").astype(int)
    x, y, test_x, test_y = pixels[:8000], digits[:8000], pixels[8000:], digits[8000:]
    params = [draw(keys[0], (784, 100), np.float64), draw(keys[1], (100, 10), np.float64)]
    params, errors = train(network, params, epochs=5)
    print(f"test error after 5 epochs: {100 * errors[-1, 1]:.1f} %")
    assert errors[-1, 1] < 0.1
else:
    print("the files are not there")

# %% [markdown]
# **Next:** `05_optimizers` trains faster; `python -m funcgrad` is this notebook as a program.
