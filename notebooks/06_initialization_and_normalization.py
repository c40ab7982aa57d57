# %% [markdown]
# # 06 Initialization and normalization
#
# Lectures 6 and 9. A signal goes through fifty layers. If each multiplies its size by 0.7, it arrives as $10^{-8}$; if by 1.4, as
# $10^7$. What it is multiplied by is decided before the first step of training, by the variance of the weights.

# %%
from functools import partial

import matplotlib.pyplot as plt
import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax, nn, optim

depth, width = 50, 200
x = fg.random.normal(fg.random.key(0), (256, width), dtype=np.float64)

# %% [markdown]
# ## The variance of the weights
#
# With $x_i\sim N(0, 1)$ and $w_i\sim N(0, \sigma^2)$, the sum $w^Tx$ over $n$ inputs has the variance $n\sigma^2$: it stays 1 for
# $\sigma^2 = 1/n$. ReLU sets half of the values to zero and halves the mean square, so that $\sigma^2 = 2/n$ is right for
# it (Kaiming He et al., 2015). Mind that 2/n is the variance; the notes' heading does not say so.
#
# Below, the root mean square of the values of each layer, and of the gradients on their way back.


# %%
def layers(c, key):
    """Weights of variance c / n, for each layer."""
    return np.sqrt(c / width) * fg.random.normal(key, (depth, width, width), dtype=np.float64)


def rms(z, axis=None):
    return fnp.sqrt(fnp.mean(z**2, axis=axis))


@partial(fg.jit, static_argnames="norm")
def sizes(weights, norm=None):
    """Sizes after each layer, and of the cotangents there, whose derivative is taken by zeros added to each layer."""

    def run(zeros):
        def layer(z, layer):
            w, zero = layer
            z = z @ w
            z = nn.relu(nn.layer_norm(z) if norm == "before" else z)
            z = (nn.layer_norm(z) if norm == "after" else z) + zero
            return z, rms(z)

        z, forward = lax.scan(layer, x, (weights, zeros))
        return fnp.sum(z * direction), forward

    direction = fg.random.normal(fg.random.key(2), x.shape, dtype=np.float64)
    cotangents, forward = fg.grad(run, has_aux=True)(fnp.zeros((depth, *x.shape)))
    return forward, rms(cotangents, axis=(1, 2))


variances = {"1 / n": 1.0, "2 / n (Kaiming)": 2.0, "3 / n": 3.0}
found = {name: sizes(layers(c, fg.random.key(1))) for name, c in variances.items()}

_, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.4), sharey=True)
for name, (forward, backward) in found.items():
    left.semilogy(1 + np.arange(depth), forward, label=name)
    right.semilogy(1 + np.arange(depth), backward, label=name)
left.set(xlabel="layer", ylabel="root mean square", title="values")
right.set(xlabel="layer", title="gradients by them")
left.legend(title="variance of a weight")
plt.show()

for name, c in variances.items():
    forward, backward = found[name]
    growth = (forward[-1] / forward[0]) ** (1 / (depth - 1))
    print(f"{name:16} each layer multiplies the values by {growth:.2f}; sqrt(c / 2) = {np.sqrt(c / 2):.2f}")
    assert np.isclose(growth, np.sqrt(c / 2), rtol=0.05)

# %% [markdown]
# Values grow from left to right, gradients from right to left, by the same factor. The library's initializers are these
# variances, with the gain of the activation and the choice of a normal or a uniform distribution:

# %%
weights = {
    "kaiming_normal": nn.init.kaiming_normal()(fg.random.key(3), (width, width), np.float64),
    "kaiming_uniform": nn.init.kaiming_uniform()(fg.random.key(3), (width, width), np.float64),
    "xavier_normal": nn.init.xavier_normal()(fg.random.key(3), (width, width), np.float64),
}
for name, w in weights.items():
    print(f"{name:16} n * variance = {width * np.var(w):.2f}")
    assert np.isclose(width * np.var(w), 1.0 if "xavier" in name else 2.0, rtol=0.05)

# %% [markdown]
# ## Zero is a fixed point
#
# With all weights zero, all values are zero, all gradients too, and nothing ever moves. `nn.diagnose` says so at the first step.

# %%
labels = np.arange(256) % 3
zeros = [np.zeros((width, 20)), np.zeros((20, 3))]
loss = lambda ws: nn.losses.softmax_cross_entropy(nn.relu(x @ ws[0]) @ ws[1], labels)
print("all gradients are zero at", nn.diagnose.zero_gradients(fg.grad(loss)(zeros)))
assert len(nn.diagnose.zero_gradients(fg.grad(loss)(zeros))) == 2

# %% [markdown]
# ## Normalization
#
# Instead of hoping that sizes stay, set them. Layer norm shifts and scales each sample,
#
# $$y = \frac{x - \mathrm E[x]}{\sqrt{\mathrm{Var}[x] + \epsilon}}.$$
#
# The notes print the formula without the root. Without it the output has the size $1/\mathrm{std}(x)$: a layer whose values are
# large makes small ones, and the sizes swing rather than stay. With the root, the scale of the weights has no influence on
# the values any more. And on the gradients? It depends on the place:

# %%
_, axes = plt.subplots(1, 2, figsize=(8.4, 3.2), sharey=True)
growth = {}
for ax, norm in zip(axes, ("after", "before")):
    for name, c in variances.items():
        forward, backward = sizes(layers(c, fg.random.key(1)), norm=norm)
        ax.semilogy(1 + np.arange(depth), backward, label=name)
        growth[norm, name] = (backward[0] / backward[-1]) ** (1 / (depth - 1))
        np.testing.assert_allclose(forward, 1.0 if norm == "after" else np.sqrt(0.5), rtol=0.05)
    ax.set(xlabel="layer", title=f"layer norm {norm} ReLU", ylim=(1e-2, 1e6))
axes[0].set_ylabel("root mean square of gradients")
axes[0].legend(title="variance of a weight")
plt.show()

for norm in ("after", "before"):
    print(f"{norm:6} ReLU: a layer multiplies gradients by", [f"{growth[norm, name]:.2f}" for name in variances])

# %% [markdown]
# The notes put it *after* the activation. There the mean of the ReLU's output is taken away with it: what is left has the variance
# $\tfrac12 - \tfrac1{2\pi}$ of the values before, and not the $\tfrac12$ with which gradients shrink at the ReLU. To be of variance 1
# again it is scaled up by more than is lost, and gradients grow by $\sqrt{\pi/(\pi - 1)} \approx 1.21$ a layer, whatever the
# weights. *Before* the activation the two factors cancel. That is where most networks have it.

# %%
assert all(np.isclose(growth["after", name], np.sqrt(np.pi / (np.pi - 1)), rtol=0.03) for name in variances)
assert all(np.isclose(growth["before", name], 1.0, rtol=0.03) for name in variances)

# %% [markdown]
# The two formulas on values of standard deviation 3:

# %%
z = 3 * np.asarray(x[:4])
notes = (z - z.mean(1, keepdims=True)) / (z.var(1, keepdims=True) + 1e-5)
np.testing.assert_allclose(nn.layer_norm(z).std(1), 1.0, rtol=1e-5)
np.testing.assert_allclose(notes.std(1), 1 / z.std(1), rtol=1e-4)
print("standard deviations: layer_norm", nn.layer_norm(z).std(1).round(2), " the notes' formula", notes.std(1).round(2))

# %% [markdown]
# Batch norm takes mean and variance over the batch instead, feature by feature. Then a prediction would depend on the other samples;
# for predictions it therefore uses averages that it collected in training. They are a value which comes in and goes out.

# %%
state = nn.BatchNormState(fnp.zeros(width), fnp.ones(width))
for _ in range(60):
    y, state = nn.batch_norm(5 + 2 * x, state, train=True)
np.testing.assert_allclose(y.mean(0), 0, atol=1e-12)
alone, _ = nn.batch_norm(5 + 2 * x[:1], state, train=False)
np.testing.assert_allclose(alone[0], y[0], atol=0.03)

# %% [markdown]
# ## Weights stay near where they began
#
# Training a network of reasonable initialization moves the weights of its hidden layers little (those of the last one, which is
# small, more). So what is there at the beginning stays.

# %%
model = nn.MLP.init(fg.random.key(4), (width, width, width, 3), dtype=np.float64)
optimizer = optim.sgd(0.05)


@fg.jit
def train(model):
    def step(carry, _):
        model, state = carry
        value, grads = fg.value_and_grad(lambda m: nn.losses.softmax_cross_entropy(m(x), labels))(model)
        updates, state = optimizer.update(grads, state, model)
        return (optim.apply_updates(model, updates), state), value

    (model, _), values = lax.scan(step, (model, optimizer.init(model)), None, length=150)
    return model, values


trained, values = train(model)
for (path, before), after in zip(fg.tree.leaves_with_path(model), fg.tree.leaves(trained)):
    if before.ndim == 2:
        moved = np.linalg.norm(after - before) / np.linalg.norm(before)
        print(f"{fg.tree.keystr(path):20} moved by {100 * moved:3.0f} % of its norm")
assert values[-1] < 0.05 * values[0]
first = (model.layers[0].weight, trained.layers[0].weight)
assert np.linalg.norm(first[1] - first[0]) < 0.2 * np.linalg.norm(first[0])

# %% [markdown]
# **Next:** `05_optimizers`, or `docs/course.md` for lecture 9's formulas.
