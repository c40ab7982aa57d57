"""The case of a training step: a perceptron 784-256-10, a batch of 128 images, cross entropy, Adam, float32.

funcgrad and JAX run the same lines, each with its own ``nn`` and its own optimizers (for JAX, Optax's); PyTorch runs its
modules un-jitted; and the step is written once more in NumPy by hand, as one would write it. The first steps from the same
parameters are compared.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from libraries import Function, Library
from timing import Thunk

BATCH, SIZES = 128, (784, 256, 10)
RATE, DECAY_1, DECAY_2, EPSILON = 1e-3, 0.9, 0.999, 1e-8
OPTIMIZERS = {"funcgrad": "funcgrad.optim", "jax": "optax"}


def parameters() -> dict[str, np.ndarray]:
    """Kaiming's weights, and no biases to speak of."""
    rng = np.random.default_rng(0)
    pixels, hidden, classes = SIZES
    weights = {"w1": (pixels, hidden), "w2": (hidden, classes)}
    drawn = {name: rng.normal(0.0, (2 / shape[0]) ** 0.5, shape) for name, shape in weights.items()}
    zeros = {"b1": np.zeros(hidden), "b2": np.zeros(classes)}
    return {name: value.astype(np.float32) for name, value in (drawn | zeros).items()}


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Images of which, as of MNIST's, a fifth is ink, and labels; a step takes as long as on MNIST itself."""
    rng = np.random.default_rng(1)
    ink = rng.uniform(size=(BATCH, SIZES[0])) * (rng.uniform(size=(BATCH, SIZES[0])) < 0.2)
    return ink.astype(np.float32), rng.integers(0, SIZES[-1], BATCH)


def jitted(library: Library) -> Thunk:
    """A jitted step by the library's own functions and optimizers, of which funcgrad and JAX have the same names."""
    xp, nn = library.xp, importlib.import_module(f"{library.package}.nn")
    optim = importlib.import_module(OPTIMIZERS[library.name])
    optimizer = optim.adam(RATE)

    def loss(params: dict[str, Any], images: Any, labels: Any) -> Any:
        hidden = nn.relu(images @ params["w1"] + params["b1"])
        scores = hidden @ params["w2"] + params["b2"]
        one_hot = nn.one_hot(labels, SIZES[-1], dtype=np.float32)
        return -xp.mean(xp.sum(one_hot * nn.log_softmax(scores), axis=-1))

    def step(params: dict[str, Any], state: Any, images: Any, labels: Any) -> Any:
        value, grads = library.value_and_grad(loss)(params, images, labels)
        updates, state = optimizer.update(grads, state, params)
        return optim.apply_updates(params, updates), state, value

    compiled, (params, inputs) = library.jit(step), library.tree((parameters(), batch()))
    state = optimizer.init(params)

    def thunk() -> Any:
        after, _, value = compiled(params, state, *inputs)
        return library.wait((after, value))

    thunk.compiled = lambda: compiled.lower(params, state, *inputs).compile()  # type: ignore[attr-defined]
    return thunk


def by_module(library: Library) -> Thunk:
    """PyTorch's modules and its Adam, which write into the parameters: each call is the next step."""
    torch = library.module
    start, (images, labels) = parameters(), library.tree(batch())
    pixels, hidden, classes = SIZES
    model = torch.nn.Sequential(torch.nn.Linear(pixels, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, classes))
    names = ("w1", "b1", "w2", "b2")
    with torch.no_grad():
        for name, parameter in zip(names, model.parameters(), strict=True):
            parameter.copy_(library.array(start[name].T))
    optimizer = torch.optim.Adam(model.parameters(), RATE, (DECAY_1, DECAY_2), EPSILON)
    first: list[Any] = []

    def thunk() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        if not first:
            after = (p.detach().numpy().T.copy() for p in model.parameters())
            first.append((dict(zip(names, after, strict=True)), loss.detach().numpy()))
        return first[0]

    return thunk


def step_by_hand() -> Function:
    """The step in NumPy, as a function of the parameters, the moments, the count of steps and a batch."""
    f32 = np.float32

    def step(params: Any, moments: Any, squares: Any, count: int, images: Any, labels: Any) -> Any:
        rows = np.arange(len(labels))
        z = images @ params["w1"] + params["b1"]
        hidden = np.maximum(z, 0)
        scores = hidden @ params["w2"] + params["b2"]
        scores -= scores.max(axis=1, keepdims=True)
        weights = np.exp(scores)
        totals = weights.sum(axis=1, keepdims=True)
        value = np.mean(np.log(totals[:, 0]) - scores[rows, labels])
        weights /= totals
        weights[rows, labels] -= 1
        weights /= f32(len(labels))
        below = (weights @ params["w2"].T) * (z > 0)
        grads = {"w1": images.T @ below, "b1": below.sum(0), "w2": hidden.T @ weights, "b2": weights.sum(0)}
        count += 1
        correct_1, correct_2 = f32(1 - DECAY_1**count), f32(1 - DECAY_2**count)
        after, first, second = {}, {}, {}
        for name, g in grads.items():
            first[name] = f32(DECAY_1) * moments[name] + f32(1 - DECAY_1) * g
            second[name] = f32(DECAY_2) * squares[name] + f32(1 - DECAY_2) * g * g
            root = np.sqrt(second[name] / correct_2) + f32(EPSILON)
            after[name] = params[name] - f32(RATE) * (first[name] / correct_1) / root
        return after, first, second, count, value

    return step


def by_hand(library: Library) -> Thunk:
    step, params, inputs = step_by_hand(), parameters(), batch()
    zeros = {name: np.zeros_like(value) for name, value in params.items()}

    def thunk() -> Any:
        after, _, _, _, value = step(params, zeros, zeros, 0, *inputs)
        return after, value

    return thunk


# Adam's first step is the sign of a gradient: where that is near zero, rounding shows in what is compared.
MAKERS = {"funcgrad": jitted, "jax": jitted, "torch": by_module, "numpy": by_hand}
