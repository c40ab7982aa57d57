# %% [markdown]
# # 08 Recurrence and attention
#
# Two ways to read a sequence: one step after the other, with a state, or all at once, with weights that say where to look. From a
# cell in three lines to `nn.lstm`, from back-propagation through time to its truncated form, and a picture of attention.

# %%
import matplotlib.pyplot as plt
import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import data, lax, nn, optim

rng = np.random.default_rng(0)

# %% [markdown]
# ## A cell and its loop
#
# A recurrent network applies one function again and again, with the same parameters:
#
# $$h_t = \tanh(x_t W_x + h_{t-1} W_h + b).$$
#
# The cell is that function. `lax.scan` is the loop: it carries the state, and stacks what each step returns.


# %%
def cell(params, h, x):
    return fnp.tanh(x @ params["wx"] + h @ params["wh"] + params["b"])


def by_python(params, h, xs):
    hs = []
    for x in xs:
        h = cell(params, h, x)
        hs.append(h)
    return fnp.stack(hs)


def by_scan(params, h, xs):
    def step(h, x):
        h = cell(params, h, x)
        return h, h

    return lax.scan(step, h, xs)[1]


time, inputs, n = 12, 3, 5
params = {
    "wx": rng.normal(size=(inputs, n)),
    "wh": rng.normal(size=(n, n)) / np.sqrt(n),
    "b": rng.normal(size=n),
}
xs, h0 = rng.normal(size=(time, inputs)), np.zeros(n)
hs = by_scan(params, h0, xs)
np.testing.assert_allclose(by_python(params, h0, xs), hs, atol=1e-14)
np.testing.assert_allclose(nn.rnn(xs, h0, params["wx"], params["wh"], params["b"])[0], hs, atol=1e-14)

# %% [markdown]
# The Python loop is traced step by step, and its program grows with the sequence. The scan is one equation, whatever the length.

# %%
for length in (12, 48):
    long = np.zeros((length, inputs))
    count = [len(fg.make_jaxpr(run)(params, h0, long).eqns) for run in (by_python, by_scan)]
    print(f"{length} steps: {count[0]} equations from the loop, {count[1]} from the scan")

# %% [markdown]
# ## Back-propagation through time
#
# It is the chain rule along the loop, from its end. With $\bar h_t$ the cotangent of the output at time $t$, what arrives at the
# state $h_t$ is $g_t = \bar h_t + (g_{t+1}\odot(1 - h_{t+1}^2))\,W_h^T$, and each step adds its part to the gradients of the one
# set of parameters. The transpose of a scan is a scan, backwards: `grad` writes this loop.

# %%
ct = rng.normal(size=hs.shape)
grads = fg.grad(lambda p: fnp.sum(by_scan(p, h0, xs) * ct))(params)

by_hand = {name: np.zeros_like(p) for name, p in params.items()}
g = np.zeros(n)
for t in reversed(range(time)):
    inner = (ct[t] + g) * (1 - hs[t] ** 2)  # the cotangent of what tanh is applied to
    by_hand["wx"] += np.outer(xs[t], inner)
    by_hand["wh"] += np.outer(hs[t - 1] if t else h0, inner)
    by_hand["b"] += inner
    g = inner @ params["wh"].T
for name in params:
    np.testing.assert_allclose(grads[name], by_hand[name], atol=1e-12)

# %% [markdown]
# ## Why the LSTM
#
# Each step back multiplies by $W_h^T$ and by $1 - h^2 \le 1$. After many steps that product is nearly zero, or very large: the end
# of a sequence does not teach its beginning. The LSTM adds a second state, the cell $c$, which is not multiplied by a matrix but by
# a gate between 0 and 1:
#
# $$c_t = \sigma(f)\odot c_{t-1} + \sigma(i)\odot\tanh(g), \qquad h_t = \sigma(o)\odot\tanh(c_t), \qquad
#   (i, f, g, o) = x_t W_x + h_{t-1} W_h + b.$$


# %%
def lstm_cell(p, state, x):
    h, c = state
    i, f, g, o = fnp.split(x @ p["wx"] + h @ p["wh"] + p["b"], 4)
    c = nn.sigmoid(f) * c + nn.sigmoid(i) * fnp.tanh(g)
    return nn.sigmoid(o) * fnp.tanh(c), c


def lstm_by_scan(p, xs, moved):
    """All outputs; `moved` is added to the cell at each time."""

    def step(state, x_and_move):
        x, move = x_and_move
        h, c = lstm_cell(p, state, x)
        return (h, c + move), h

    zeros = fnp.zeros(p["wh"].shape[0])
    return lax.scan(step, (zeros, zeros), (xs, moved))[1]


gates = {
    "wx": rng.normal(size=(inputs, 4 * n)),
    "wh": rng.normal(size=(n, 4 * n)) / np.sqrt(n),
    "b": rng.normal(size=4 * n),
}
ours = lstm_by_scan(gates, xs, np.zeros((time, n)))
theirs, last = nn.lstm(xs, nn.LSTMState(np.zeros(n), np.zeros(n)), gates["wx"], gates["wh"], gates["b"])
np.testing.assert_allclose(ours, theirs, atol=1e-14)
np.testing.assert_allclose(last.h, theirs[-1])

# %% [markdown]
# How much does the last output feel the state $k$ steps before? Add a variable to the state at each time: the gradient with respect
# to it is that of the state, for all times at once.

# %%
n, time = 32, 60
xs = rng.normal(size=(time, inputs))
draw, orthogonal = nn.init.lecun_normal(), nn.init.orthogonal()
wx = 0.3 * np.asarray(draw(fg.random.key(0), (inputs, n), np.float64))
wh = np.asarray(orthogonal(fg.random.key(1), (n, n), np.float64))
direction = rng.normal(size=n)


def last_rnn(moved, scale):
    step = lambda h, x: (cell({"wx": wx, "wh": scale * wh, "b": 0.0}, h, x[0]) + x[1], None)
    return lax.scan(step, fnp.zeros(n), (xs, moved))[0] @ direction


def last_lstm(moved, forget):
    layer = nn.LSTM.init(fg.random.key(2), inputs, n, dtype=np.float64)
    bias = np.repeat([0.0, forget, 0.0, 0.0], n)  # of the gates i, f, g, o
    return lstm_by_scan({"wx": 0.3 * layer.weight_x, "wh": layer.weight_h, "b": bias}, xs, moved)[-1] @ direction


felt = {}
for scale in (0.7, 1.0):
    felt[rf"RNN, $W_h$ = {scale} · orthogonal"] = fg.grad(last_rnn)(np.zeros((time, n)), scale)
for forget in (0.0, 1.0, 4.0):
    felt[f"LSTM, bias of f = {forget:g}"] = fg.grad(last_lstm)(np.zeros((time, n)), forget)
felt = {name: np.linalg.norm(g, axis=1)[::-1][1:] for name, g in felt.items()}

_, ax = plt.subplots()
for name, norms in felt.items():
    ax.semilogy(1 + np.arange(len(norms)), norms / norms[0], label=name, ls="--" if "RNN" in name else "-")
ax.set(xlabel="steps back", ylabel="gradient of the state, relative", ylim=(1e-8, 5))
ax.legend(fontsize=8)
plt.show()

kept = [norms[40] / norms[0] for norms in felt.values()]
assert kept[0] < 1e-6 and kept[2] < kept[3] < kept[4] and kept[4] > 0.1

# %% [markdown]
# Hence the bias of 1 with which `nn.LSTM.init` opens the gate $f$ (Jozefowicz et al., 2015).
#
# ## Truncated back-propagation
#
# A book is one sequence, and too long to go back through. So cut it into windows: the *state* goes on from window to window, the
# *gradient* does not. PyTorch detaches the state for this. Here nothing is to be detached: a state which comes in as an argument is
# a constant to `grad`, which differentiates with respect to the model only.

# %%
rhyme = """This is the cat
that killed the rat that ate the malt
that lay in the house that Jack built.
This is the dog that worried the cat
that killed the rat that ate the malt
that lay in the house that Jack built.
"""
letters = data.Dictionary(rhyme)
numbers = letters.encode(rhyme)
windows = [(x[:, 0], y[:, 0]) for x, y in data.bptt_windows(data.batchify(numbers, 1), 15)]
keys = fg.random.split(fg.random.key(0), 3)
model = nn.Sequential(
    nn.Embedding.init(keys[0], len(letters), 16, dtype=np.float64),
    nn.LSTM.init(keys[1], 16, 48, dtype=np.float64),
    nn.Linear.init(keys[2], 48, len(letters), dtype=np.float64),
)
print(f"{len(numbers)} letters, {len(letters)} of them different; {len(windows)} windows")


def window_loss(model, state, x, y):
    scores, state = model(x, state)
    return nn.losses.softmax_cross_entropy(scores, y), state


optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.adam(0.01))


@fg.jit
def step(model, moments, state, x, y):
    (loss, state), grads = fg.value_and_grad(window_loss, has_aux=True)(model, state, x, y)
    updates, moments = optimizer.update(grads, moments, model)
    return optim.apply_updates(model, updates), moments, state, loss


def train(model, carry, epochs=80):
    moments, losses = optimizer.init(model), []
    for _ in range(epochs):
        state, total = model.init_state(), 0.0
        for x, y in windows:
            model, moments, state, loss = step(model, moments, state if carry else model.init_state(), x, y)
            total += loss / len(windows)
        losses.append(total)
    return model, np.array(losses)


trained, carried = train(model, carry=True)
_, forgotten = train(model, carry=False)

_, ax = plt.subplots()
ax.semilogy(carried, label="the state goes on")
ax.semilogy(forgotten, label="each window from zeros")
ax.set(xlabel="epoch", ylabel="cross entropy of the next letter")
ax.legend()
plt.show()
assert 5 * carried[-1] < forgotten[-1]

# %% [markdown]
# With the state, the model knows which *that* it is in; without, the first letters of each window are a guess. It has learned the
# rhyme by heart: from its first letter on, take the most likely letter each time.


# %%
@fg.jit
def recite(model, first):
    def step(carry, _):
        letter, state = carry
        scores, state = model(letter[None], state)
        letter = fnp.argmax(scores[0])
        return (letter, state), letter

    return lax.scan(step, (first, model.init_state()), None, length=len(numbers) - 16)[1]


told = rhyme[0] + "".join(letters.decode(recite(trained, numbers[0])))
assert rhyme.startswith(told)
print(told)

# %% [markdown]
# What does the truncation cost? Its gradient lacks what reaches back over a cut. Sum the gradients of the windows, each started from
# the right state, and compare with the whole:


# %%
def truncated(model, length, total=128):
    state, grads = model.init_state(), fg.tree.map(np.zeros_like, model)
    for start in range(0, total, length):
        x, y = numbers[start : start + length], numbers[start + 1 : start + length + 1]
        new, state = fg.grad(window_loss, has_aux=True)(model, state, x, y)
        grads = fg.tree.map(lambda g, d: g + d * (length / total), grads, new)
    return np.concatenate([np.ravel(g) for g in fg.tree.leaves(grads)])


whole = truncated(model, 128)
lengths = [1, 2, 4, 8, 16, 32, 64]
errors = [np.linalg.norm(truncated(model, k) - whole) / np.linalg.norm(whole) for k in lengths]

_, ax = plt.subplots()
ax.loglog(lengths, errors, "o-")
ax.set(xlabel="length of a window", ylabel="relative error of the gradient", xticks=lengths, xticklabels=lengths)
ax.minorticks_off()
plt.show()
assert errors[-1] < errors[3] < errors[0]

# %% [markdown]
# ## Attention
#
# A state must hold all that may be asked for later. Attention keeps the whole sequence, and looks:
#
# $$A = \mathrm{softmax}\!\left(\tfrac{1}{\sqrt d}\,Q K^T\right), \qquad Y = A V.$$
#
# Each row of $A$ is a distribution: how much query $t$ takes from each place $s$. It is a dictionary whose lookup has a derivative.


# %%
def attention(q, k, v, allowed=None):
    return nn.softmax(q @ k.T / np.sqrt(q.shape[-1]), where=allowed) @ v


q, k, v = rng.normal(size=(3, 6, 4))
heads = lambda x: x[:, None]  # nn's layout is (time, heads, width)
np.testing.assert_allclose(attention(q, k, v), nn.dot_product_attention(*map(heads, (q, k, v)))[:, 0], atol=1e-14)

# A causal mask: no output depends on what comes after it, and the Jacobian shows it.
causal = np.tri(6, dtype=bool)
ours = attention(q, k, v, causal)
np.testing.assert_allclose(ours, nn.dot_product_attention(*map(heads, (q, k, v)), is_causal=True)[:, 0], atol=1e-14)
depends = np.abs(fg.jacrev(lambda x: attention(x, x, x, causal))(v)).sum((1, 3)) > 0
assert np.array_equal(depends, causal)

# %% [markdown]
# Let it learn to look something up. A sequence is eight pairs of a letter and a digit, the letters in any order. Asked for the
# letters a to h, the network shall answer with their digits. Queries, keys and values are learned vectors of letters and digits.


# %%
def pairs(rng, count):
    order = rng.permuted(np.tile(np.arange(8), (count, 1)), axis=1)  # the letters, as they stand
    digits = rng.integers(0, 10, size=(count, 8))
    return order, digits, np.take_along_axis(digits, np.argsort(order, axis=1), axis=1)


def weights(p, order):
    return nn.softmax(p["query"] @ fnp.take(p["key"], order, axis=0).T / np.sqrt(p["key"].shape[1]))


def answer(p, order, digits):
    return weights(p, order) @ fnp.take(p["value"], digits, axis=0) @ p["out"]


def recall_loss(p, batch):
    order, digits, target = batch
    scores = fg.vmap(answer, in_axes=(None, 0, 0))(p, order, digits)
    return nn.losses.softmax_cross_entropy(scores, target)


shapes = {"query": (8, 16), "key": (8, 16), "value": (10, 16), "out": (16, 10)}
p = {name: 0.5 * rng.normal(size=shape) for name, shape in shapes.items()}
optimizer = optim.adam(0.03)


@fg.jit
def recall_step(p, moments, batch):
    updates, moments = optimizer.update(fg.grad(recall_loss)(p, batch), moments, p)
    return optim.apply_updates(p, updates), moments


before, moments = p, optimizer.init(p)
for _ in range(250):
    p, moments = recall_step(p, moments, pairs(rng, 32))

order, digits, target = pairs(rng, 500)
scores = fg.vmap(answer, in_axes=(None, 0, 0))(p, order, digits)
assert nn.metrics.error_rate(scores, target) == 0.0

_, axes = plt.subplots(1, 3, figsize=(8, 2.9))
cases = (("before training", before, 0), ("trained", p, 0), ("another sequence", p, 1))
for ax, (title, theta, i) in zip(axes, cases):
    picture = ax.imshow(weights(theta, order[i]), vmin=0, vmax=1)
    ax.set(title=title, xticks=range(8), yticks=range(8), yticklabels="abcdefgh")
    ax.set_xticklabels([f"{'abcdefgh'[a]}{b}" for a, b in zip(order[i], digits[i])], fontsize=8)
    ax.set_xlabel("looked at")
    ax.grid(False)
axes[0].set_ylabel("asked for")
plt.colorbar(picture, ax=axes, label="weight")
plt.show()

looked_at = np.argmax(fg.vmap(weights, in_axes=(None, 0))(p, order), axis=-1)
assert np.array_equal(looked_at, np.argsort(order, axis=1))

# %% [markdown]
# Nobody told it where to look: the loss knows the digits only. The same weights find the letters in every order, since the weights
# come from what stands at a place, not from where it is.
#
# **Next:** `09_jacobians_hessians_newton` goes beyond the gradient; `nn.Transformer` is made of this attention.
