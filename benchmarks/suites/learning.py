"""Models: a training step or a gradient of each, float32, beside JAX and PyTorch; NumPy by hand where that is short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import training
from cases import Case, Maker, Target, fresh, running
from libraries import Function, Library
from timing import Thunk

Arrays = dict[str, np.ndarray]
Loss = Callable[..., Any]


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Weights of variance 1 / fan-in, float32."""
    fan_in = int(np.prod(shape[:-1])) if len(shape) > 1 else 1
    return (rng.normal(size=shape) / np.sqrt(fan_in)).astype(np.float32)


def modules(library: Library) -> Any:
    """The functions of neural networks: `funcgrad.nn`, `jax.nn`, `torch.nn.functional`."""
    return library.module.nn.functional if library.name == "torch" else library.module.nn


def cross_entropy(library: Library, logits: Any, targets: Any) -> Any:
    """The mean over the rows, of one-hot targets."""
    return -library.xp.sum(targets * modules(library).log_softmax(logits, -1)) / logits.shape[0]


def one_hot(rng: np.random.Generator, rows: int, classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[rng.integers(0, classes, rows)]


def gradient_of(loss: Callable[[Library], Loss], parameters: Arrays, *data: np.ndarray) -> Maker:
    """A maker of value and gradient, jitted where the library compiles."""

    def make(library: Library) -> Thunk:
        evaluate = library.value_and_grad(loss(library))
        return running(library, evaluate if library.name == "torch" else library.jit(evaluate), parameters, *data)

    return make


# ---- multilayer perceptrons ------------------------------------------------------------------------------------------


def perceptron(batch: int, *widths: int) -> dict[str, Maker]:
    """An SGD step of an MLP with relu, its value and new parameters."""
    # Of a million values before a relu some are so near zero that rounding decides their sign, and one sample's gradient
    # with it. With this seed none is nearer than 3e-6, ten times the error of the sums.
    rng = np.random.default_rng(8)
    layers = range(len(widths) - 1)
    parameters = {f"w{k}": normal(rng, widths[k], widths[k + 1]) for k in layers}
    parameters |= {f"b{k}": np.zeros(widths[k + 1], np.float32) for k in layers}
    data = rng.normal(size=(batch, widths[0])).astype(np.float32), one_hot(rng, batch, widths[-1])

    def step(library: Library) -> Function:
        relu = modules(library).relu

        def loss(p: dict[str, Any], x: Any, targets: Any) -> Any:
            for k in layers:
                x = x @ p[f"w{k}"] + p[f"b{k}"]
                x = relu(x) if k < layers[-1] else x
            return cross_entropy(library, x, targets)

        evaluate = library.value_and_grad(loss)

        def update(p: dict[str, Any], x: Any, targets: Any) -> Any:
            value, gradient = evaluate(p, x, targets)
            return {key: p[key] - 0.1 * gradient[key] for key in p}, value

        return update if library.name == "torch" else library.jit(update)

    def by_hand(p: Arrays, x: np.ndarray, targets: np.ndarray) -> Any:
        inputs = [x]
        for k in layers:
            x = inputs[-1] @ p[f"w{k}"]
            x += p[f"b{k}"]
            inputs.append(np.maximum(x, 0, out=x) if k < layers[-1] else x)
        shifted = x - x.max(1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        value = -np.sum(targets * logs) / np.float32(batch)
        ct, new = (np.exp(logs) - targets) / np.float32(batch), {}
        for k in reversed(layers):
            new[f"w{k}"] = p[f"w{k}"] - np.float32(0.1) * (inputs[k].T @ ct)
            new[f"b{k}"] = p[f"b{k}"] - np.float32(0.1) * ct.sum(0)
            if k:
                ct = ct @ p[f"w{k}"].T
                ct *= inputs[k] > 0
        return new, value

    def make(library: Library) -> Thunk:
        return running(library, step(library), parameters, *data)

    return dict.fromkeys(("funcgrad", "jax", "torch"), make) | {
        "numpy": lambda library: running(library, by_hand, parameters, *data)
    }


# ---- a recurrent network ---------------------------------------------------------------------------------------------


def recurrent(hidden: int, batch: int, steps: int) -> dict[str, Maker]:
    """The gradient of the mean square of the outputs of an LSTM, (time, batch, features)."""
    rng = np.random.default_rng(1)
    parameters = {"b": np.zeros(4 * hidden, np.float32)}
    parameters |= {name: normal(rng, hidden, 4 * hidden) for name in ("wh", "wx")}
    x = rng.normal(size=(steps, batch, hidden)).astype(np.float32)
    zero = np.zeros((batch, hidden), np.float32)

    def loss(library: Library) -> Loss:
        xp, sigmoid = library.xp, modules(library).sigmoid

        def unrolled(p: dict[str, Any], x: Any, h: Any) -> Any:  # torch's own, in one call
            weights = [p["wx"].T, p["wh"].T, p["b"], xp.zeros_like(p["b"])]
            ys, _, _ = xp.lstm(x, (h[None], h[None]), weights, True, 1, 0.0, True, False, False)
            return xp.mean(ys * ys)

        def scanned(p: dict[str, Any], x: Any, h: Any) -> Any:
            def cell(state: Any, u: Any) -> Any:
                h, c = state
                i, f, g, o = xp.split(u + h @ p["wh"], 4, axis=-1)
                c = sigmoid(f) * c + sigmoid(i) * xp.tanh(g)
                h = sigmoid(o) * xp.tanh(c)
                return (h, c), h

            _, ys = library.module.lax.scan(cell, (h, h), x @ p["wx"] + p["b"])
            return xp.mean(ys * ys)

        return unrolled if library.name == "torch" else scanned

    return dict.fromkeys(("funcgrad", "jax", "torch"), gradient_of(loss, parameters, x, zero))


# ---- a transformer ---------------------------------------------------------------------------------------------------


def transformer(blocks: int, width: int, length: int, heads: int, batch: int) -> dict[str, Maker]:
    """The gradient of the mean square of the output of pre-norm blocks, their attention without a mask."""
    rng = np.random.default_rng(2)
    parameters: Arrays = {}
    for k in range(blocks):
        parameters |= {f"qkv{k}": normal(rng, width, 3 * width), f"out{k}": normal(rng, width, width)}
        parameters |= {f"up{k}": normal(rng, width, 4 * width), f"down{k}": normal(rng, 4 * width, width)}
        parameters |= {f"g{k}": np.ones(width, np.float32), f"h{k}": np.ones(width, np.float32)}
    x = rng.normal(size=(batch, length, width)).astype(np.float32)

    def loss(library: Library) -> Loss:
        xp, nn = library.xp, modules(library)
        gelu = (lambda x: nn.gelu(x, approximate="tanh")) if library.name == "torch" else nn.gelu

        def norm(x: Any, scale: Any) -> Any:
            x = x - xp.mean(x, axis=-1, keepdims=True)
            return x / xp.sqrt(xp.mean(x * x, axis=-1, keepdims=True) + 1e-5) * scale

        def split(x: Any) -> Any:
            return xp.swapaxes(x.reshape((batch, length, heads, width // heads)), 1, 2)

        def attention(x: Any, qkv: Any, out: Any) -> Any:
            y = x @ qkv
            q, k, v = (split(y[..., j * width : (j + 1) * width]) for j in range(3))
            weights = nn.softmax(q @ xp.swapaxes(k, -1, -2) * (width // heads) ** -0.5, -1)
            return xp.swapaxes(weights @ v, 1, 2).reshape((batch, length, width)) @ out

        def total(p: dict[str, Any], x: Any) -> Any:
            for k in range(blocks):
                x = x + attention(norm(x, p[f"g{k}"]), p[f"qkv{k}"], p[f"out{k}"])
                x = x + gelu(norm(x, p[f"h{k}"]) @ p[f"up{k}"]) @ p[f"down{k}"]
            return xp.mean(x * x)

        return total

    return dict.fromkeys(("funcgrad", "jax", "torch"), gradient_of(loss, parameters, x))


# ---- a convolutional network -----------------------------------------------------------------------------------------


def convolve(library: Library, x: Any, kernel: Any) -> Any:
    """3x3, same size; channels last."""
    if library.name == "torch":
        y = library.module.nn.functional.conv2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), padding=1)
        return y.permute(0, 2, 3, 1)
    if library.name == "funcgrad":
        return library.module.nn.conv(x, kernel)
    layout = ("NHWC", "HWIO", "NHWC")
    return library.module.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)


def pool(library: Library, x: Any) -> Any:
    """The maximum of 2x2."""
    if library.name == "torch":
        return library.module.nn.functional.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    if library.name == "funcgrad":
        return library.module.nn.max_pool(x, 2, 2)
    lax = library.module.lax
    return lax.reduce_window(x, -np.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def convolutional(images: int, size: int, first: int, second: int) -> dict[str, Maker]:
    """The gradient of the cross entropy of two convolutions with relu and pooling, and a linear layer."""
    rng = np.random.default_rng(3)
    features = (size // 4) ** 2 * second
    parameters = {"k1": normal(rng, 3, 3, 1, first), "k2": normal(rng, 3, 3, first, second)}
    parameters["w"] = normal(rng, features, 10)
    data = rng.normal(size=(images, size, size, 1)).astype(np.float32), one_hot(rng, images, 10)

    def loss(library: Library) -> Loss:
        relu = modules(library).relu

        def total(p: dict[str, Any], x: Any, targets: Any) -> Any:
            x = pool(library, relu(convolve(library, x, p["k1"])))
            x = pool(library, relu(convolve(library, x, p["k2"])))
            return cross_entropy(library, x.reshape((images, features)) @ p["w"], targets)

        return total

    return dict.fromkeys(("funcgrad", "jax", "torch"), gradient_of(loss, parameters, *data))


MODELS: tuple[tuple[str, str, Callable[..., dict[str, Maker]], tuple[int, ...], tuple[int, ...]], ...] = (
    ("mlp-small", "MLP 784-256-10, batch 128, SGD step", perceptron, (128, 784, 256, 10), (4, 6, 5, 3)),
    ("mlp-large", "MLP 784-1024-1024-10, batch 512, SGD step", perceptron, (512, 784, 1024, 1024, 10), (4, 6, 5, 5, 3)),
    ("lstm", "LSTM 128, batch 32, 64 steps, gradient", recurrent, (128, 32, 64), (3, 2, 4)),
    ("transformer", "2 blocks, D 128, S 128, 4 heads, batch 8, gradient", transformer, (2, 128, 128, 4, 8), (1, 8, 5, 2, 2)),
    ("cnn", "CNN 16-32, 64 images 28x28, gradient", convolutional, (64, 28, 16, 32), (2, 8, 2, 3)),
)  # fmt: skip


def cases(tiny: bool) -> tuple[Case, ...]:
    """Two rows a model."""
    rows: list[Case] = []
    for name, what, build, full, small in MODELS:
        makers = build(*(small if tiny else full))
        rows += fresh(name, what, makers, Target(1.0, "jax"), rtol=1e-3)
    what = "MLP 784-256-10, batch 128, Adam step by the library's optimizer"
    rows += fresh("mlp-adam", what, training.MAKERS, Target(1.0, "jax"), rtol=1e-3)
    return tuple(rows)
