# %% [markdown]
# # 14 Reading the course notes with funcgrad
#
# Lecture 7 tells the history of deep learning libraries as three programming models: layers with `forward` and `backward` (Caffe,
# 2014), a graph that is declared first and run later (TensorFlow 1, 2015), and code that is differentiated as it runs (PyTorch,
# 2016, and the course's own *needle*). Here the same network is written in all three ways. Nothing of them is in funcgrad: each
# is a few lines on top of `vjp`, `make_jaxpr` and `grad`. At the end stands a map from needle's pieces to funcgrad's.

# %%
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import data, nn, tree

images, labels = data.load_digits()
order = np.random.default_rng(0).permutation(len(images))
x, y = images[order].astype(float), labels[order]
rng = np.random.default_rng(1)
W1, W2 = rng.normal(size=(64, 32)) * np.sqrt(2 / 64), rng.normal(size=(32, 10)) * np.sqrt(2 / 32)
RATE, SIZE, STEPS = 0.2, 100, 300
batches = [slice(SIZE * (i % 17), SIZE * (i % 17) + SIZE) for i in range(STEPS)]

# %% [markdown]
# The reference is written by hand, as in lecture 3: with $Z = \max(XW_1, 0)$ and $S = \mathrm{softmax}(ZW_2)$,
#
# $$\nabla_{W_2} = \tfrac1m Z^T(S - E_y),\qquad \nabla_{W_1} = \tfrac1m X^T\left[\,[Z > 0]\odot (S - E_y)W_2^T\right].$$


# %%
def by_hand(W1, W2, x, y):
    z = np.maximum(x @ W1, 0)
    g = (nn.softmax(z @ W2) - nn.one_hot(y, 10, dtype=float)) / len(x)
    return x.T @ ((z > 0) * (g @ W2.T)), z.T @ g


first = x[batches[0]], y[batches[0]]
truth = by_hand(W1, W2, *first)

# %% [markdown]
# ## Caffe: a layer is an object with a forward and a backward
#
# A network is a list of layers. `forward` goes through it from the bottom to the top, `backward` from the top to the bottom; each
# layer keeps what its backward pass needs, and writes the gradient of its weights into itself. The author of a layer derives and
# writes both by hand.


# %%
class Linear:
    def __init__(self, weight):
        self.weight = weight

    def forward(self, bottom):
        self.bottom = bottom
        return bottom @ self.weight

    def backward(self, top_gradient):
        self.gradient = self.bottom.T @ top_gradient
        return top_gradient @ self.weight.T


# %% [markdown]
# The pair is what `vjp` returns: the value, and the function that takes a cotangent back. So in funcgrad the second half of a layer
# is derived, not written, and one class serves every layer.


# %%
class Layer:
    def __init__(self, function, *weights):
        self.function, self.weights = function, weights

    def forward(self, bottom):
        top, self.pullback = fg.vjp(self.function, bottom, *self.weights)
        return top

    def backward(self, top_gradient):
        bottom_gradient, *self.gradients = self.pullback(top_gradient)
        return bottom_gradient


def caffe(W1, W2, x, y):
    net = [Layer(fnp.matmul, W1), Layer(nn.relu), Layer(fnp.matmul, W2)]
    net.append(Layer(lambda scores: nn.losses.softmax_cross_entropy(scores, y)))
    top = x
    for layer in net:
        top = layer.forward(top)
    gradient = np.ones_like(top)
    for layer in reversed(net):
        gradient = layer.backward(gradient)
    return top, (net[0].gradients[0], net[2].gradients[0])


written, derived = Linear(W1), Layer(fnp.matmul, W1)
np.testing.assert_array_equal(written.forward(first[0]), derived.forward(first[0]))
ct = rng.normal(size=(SIZE, 32))
np.testing.assert_allclose(written.backward(ct), derived.backward(ct), atol=1e-12)
np.testing.assert_allclose(written.gradient, derived.gradients[0], atol=1e-12)

loss, gradients = caffe(W1, W2, *first)
for ours, theirs in zip(gradients, truth):
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
print("loss", loss)

# %% [markdown]
# What the design cannot do: the backward pass is not itself a network, so that there is no gradient of a gradient, and what runs in
# which order is fixed by the list. `grad` of a function that *calls* `caffe` still works here, because underneath it is a function.

# %%
norm = lambda W1: fnp.sum(caffe(W1, W2, *first)[1][0] ** 2)
fg.testing.check_grads(norm, (W1,), order=1)

# %% [markdown]
# ## TensorFlow 1: declare a graph, then run it in a session
#
# First the whole computation is declared, on placeholders that have a shape and a dtype but no value. Nothing runs. Then a session is
# told what to fetch, and what to feed. In funcgrad the graph is a jaxpr: `make_jaxpr` calls the function once, on placeholders.


# %%
def scores(feed):
    return fnp.maximum(feed["x"] @ feed["W1"], 0) @ feed["W2"]


def declare(feed):
    h, y = scores(feed), feed["y"]
    return {"loss": nn.losses.softmax_cross_entropy(h, y), "accuracy": fnp.mean(fnp.argmax(h, -1) == y)}


def graph(feed):
    """What is declared, and the gradients: TensorFlow's `tf.gradients` adds nodes to the graph."""
    loss = lambda weights: declare({**feed, **weights})["loss"]
    gradients = fg.grad(loss)({"W1": feed["W1"], "W2": feed["W2"]})
    return {**declare(feed), **{f"gradient of {k}": g for k, g in gradients.items()}}


placeholder = fg.ShapeDtypeStruct
placeholders = {
    "x": placeholder((SIZE, 64), np.float64),
    "y": placeholder((SIZE,), np.int64),
    "W1": placeholder((64, 32), np.float64),
    "W2": placeholder((32, 10), np.float64),
}
print(fg.make_jaxpr(scores)(placeholders))


# %% [markdown]
# A session compiles what is fetched, and only that: since the graph is known before anything runs, whatever the fetches do not need
# is dropped. That is the argument for this model, and the same compiler stands behind `jit`.


# %%
class Session:
    def __init__(self, graph, placeholders):
        self.graph, self.placeholders, self.programs, self.lengths = graph, placeholders, {}, {}

    def run(self, fetches, feed):
        if fetches not in self.programs:
            fetch = lambda feed: [self.graph(feed)[name] for name in fetches]
            lowered = fg.jit(fetch).trace(self.placeholders).lower()
            self.lengths[fetches] = sum(" = " in line for line in lowered.as_text().partition("def ")[2].splitlines())
            self.programs[fetches] = lowered.compile()
        return self.programs[fetches](feed)


session = Session(graph, placeholders)
weights = {"W1": W1, "W2": W2}
feed = {"x": first[0], "y": first[1], **weights}
(accuracy,) = session.run(("accuracy",), feed)
(only_loss,) = session.run(("loss",), feed)
fetched, g1, g2 = session.run(("loss", "gradient of W1", "gradient of W2"), feed)
for ours, theirs in zip((g1, g2), truth):
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
np.testing.assert_allclose([fetched, only_loss], loss, rtol=1e-12)
print("accuracy before training:", accuracy)
for fetches, lines in session.lengths.items():
    print(f"{lines:3} operations for", ", ".join(fetches))
assert session.lengths[("accuracy",)] < session.lengths[("loss",)] < max(session.lengths.values())

# %% [markdown]
# What is fed is an *argument*. The notes' example feeds a `tf.Variable()`, which has a value of its own; what it needs is a
# placeholder (erratum 14). And what the graph has not declared cannot be fed:

# %%
try:
    session.run(("loss",), {"x": first[0], "y": first[1]})
except Exception as error:
    print(fill(f"{type(error).__name__}: {error}".partition("\n")[0], 110))
else:
    raise AssertionError("a placeholder without a value must be an error")

# %% [markdown]
# ## PyTorch and needle: run, and differentiate what has run
#
# No graph is declared: the code runs on values, and Python's own `if`, `print` and `pdb` see them. That is funcgrad without `jit`.
# Where PyTorch writes gradients into `parameter.grad`, here the model is a value, and its gradient is another of the same structure.


# %%
model = nn.Sequential(nn.Linear(W1, None), nn.relu, nn.Linear(W2, None))


def criterion(model, x, y):
    loss = nn.losses.softmax_cross_entropy(model(x), y)
    if loss > 100.0:  # an `if` on a value, while it is differentiated
        print("the loss is large:", loss)
    return loss


value, gradient = fg.value_and_grad(criterion)(model, *first)
assert type(gradient) is type(model)
for ours, theirs in zip(tree.leaves(gradient), truth):
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
np.testing.assert_allclose(value, loss, rtol=1e-12)

# %% [markdown]
# Under `jit` the function is a graph again, and a Python `if` has nothing to ask. The error says what to write:

# %%
try:
    fg.jit(criterion)(model, *first)
except fg.errors.ConcretizationError as error:
    print(fill(str(error).partition("\n")[0], 110))
else:
    raise AssertionError("an if on a traced value must be an error under jit")

# %% [markdown]
# ## Three ways, one training
#
# The three give the same gradients, so that they train alike. In the notes it is a choice, efficient to deploy or easy to debug;
# here it is one function, and `jit` around it when you like.


# %%
def train(step):
    weights, losses = {"W1": W1, "W2": W2}, []
    for batch in batches:
        loss, gradients = step(weights, x[batch], y[batch])
        weights = tree.map(lambda w, g: w - RATE * g, weights, gradients)
        losses.append(float(loss))
    return np.array(losses)


def layer_step(weights, x, y):
    loss, (g1, g2) = caffe(weights["W1"], weights["W2"], x, y)
    return loss, {"W1": g1, "W2": g2}


def session_step(weights, x, y):
    loss, g1, g2 = session.run(("loss", "gradient of W1", "gradient of W2"), {"x": x, "y": y, **weights})
    return loss, {"W1": g1, "W2": g2}


def imperative_step(weights, x, y):
    model = nn.Sequential(nn.Linear(weights["W1"], None), nn.relu, nn.Linear(weights["W2"], None))
    loss, gradient = fg.value_and_grad(criterion)(model, x, y)
    return loss, dict(zip(("W1", "W2"), tree.leaves(gradient)))


losses = {
    "layers (Caffe)": train(layer_step),
    "session (TensorFlow 1)": train(session_step),
    "imperative (PyTorch)": train(imperative_step),
}
for curve in losses.values():
    np.testing.assert_allclose(curve, losses["layers (Caffe)"], rtol=1e-8)
    assert curve[-17:].mean() < 0.2

_, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=(3, 2))
for shift, (name, curve) in enumerate(losses.items()):
    left.plot(curve, color="0.8", zorder=0)
    left.plot(range(shift * 8, STEPS, 24), curve[shift * 8 :: 24], "os^"[shift], label=name)
left.set(title="one curve, three programs", xlabel="step", ylabel="loss", yscale="log")
left.legend()
names = ["accuracy", "loss", "loss and\ngradients"]
right.barh(names, list(session.lengths.values()), color="tab:gray")
right.set(title="what the session runs for a fetch", xlabel="operations")
right.grid(axis="y", visible=False)
plt.show()

# %% [markdown]
# ## A map from needle to funcgrad
#
# | needle | what it is for | funcgrad |
# | --- | --- | --- |
# | `Tensor`, `Value`: `op`, `inputs`, `cached_data` | a value that remembers how it was made | plain `numpy.ndarray`; while a function is traced, `extend.Tracer`; in a graph, `extend.Var` and `extend.Eqn` |
# | `Op.compute(*arrays)` | evaluation on raw arrays | an entry in the table `ops` of a back end |
# | `Op.gradient(out_grad, node)` | the rule of reverse mode | `jvp` of an `extend.Primitive`, and `transpose` if it is linear: forward mode for the same price |
# | `requires_grad` | what is differentiated | `argnums=` of `grad` |
# | `loss.backward()`, `parameter.grad` | gradients, written into the leaves | `fg.grad(loss)(model)`: a value, of the structure of `model` |
# | `compute_gradient_of_variables`, `find_topo_sort` | the reverse walk | `fg.linearize`, then `fg.linear_transpose` |
# | `tensor.detach()`, `tensor.data` | leave the graph | `lax.stop_gradient`; updates are outside of `grad`, and need nothing |
# | `LAZY_MODE`, `realize_cached_data()` | compute later | `fg.jit`, `fg.make_jaxpr` |
# | `nn.Module`, `Parameter`, `parameters()` | a model, and finding its weights | `nn.module`: a frozen dataclass that is a pytree; `tree.leaves` |
# | `optim.SGD(params).step()`, `reset_grad()` | an update in place | `updates, state = opt.update(gradient, state, params)`; nothing to reset |
# | `NDArray`, `BackendDevice` | arrays on a device | `fg.use_backend`; the arrays are the back end's own |
# | `ndl.init`, `nn.BatchNorm1d` running statistics | hidden state | keys, and a state that a call returns |
#
# `docs/course.md` has all items of the notes. The leak of lecture 8, a loop of `w -= lr * w.grad` that makes the graph grow, cannot be
# written: between two calls of `grad` there is no graph. And detaching is a function:

# %%
frozen = lambda W1: criterion(
    nn.Sequential(nn.Linear(fg.lax.stop_gradient(W1), None), nn.relu, nn.Linear(W2, None)), *first
)
assert not fg.grad(frozen)(W1).any()
