"""A two-layer network on MNIST, trained twice: by backpropagation written by hand, and by grad.

Lecture 3 of the notes: h(X) = relu(X W1) W2, without biases. With Z = X W1, the hidden S = relu(Z), and
G2 = softmax(S W2) - E over the B examples, the gradients are

    dW2 = S' G2 / B,    G1 = (G2 W2') * (Z > 0),    dW1 = X' G1 / B.

Both trainings take the same steps in float64. A rectifier has a kink, and where a pre-activation comes within rounding of
it the two may part; at these seeds none does, and the parameters stay equal up to rounding.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import job
import numpy as np

import funcgrad as fg
from funcgrad import nn
from funcgrad.data import DataLoader
from funcgrad.train import fit

HIDDEN = 100
RATE = 0.2

Params = tuple[Any, Any]


def scores(params: Params, x: Any) -> Any:
    w1, w2 = params
    return nn.relu(x @ w1) @ w2


def loss(params: Params, x: Any, y: Any) -> Any:
    return nn.losses.softmax_cross_entropy(scores(params, x), y)


def by_hand(params: Params, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, Params]:
    """The loss and its gradients, in NumPy alone."""
    w1, w2 = params
    z = x @ w1
    s = np.maximum(z, 0)
    h = s @ w2
    h -= h.max(axis=1, keepdims=True)
    exponentials = np.exp(h)
    totals = exponentials.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    value = np.mean(np.log(totals[:, 0]) - h[rows, y])
    g2 = exponentials / totals
    g2[rows, y] -= 1
    g1 = (g2 @ w2.T) * (z > 0)
    return value, (x.T @ g1 / len(y), s.T @ g2 / len(y))


def descend(
    gradient: Callable[..., tuple[Any, Params]], params: Params, loader: DataLoader, epochs: int
) -> tuple[Params, float]:
    """The parameters after so many epochs, and the seconds that took."""

    def step(params: Params, batch: Any) -> tuple[Params, dict[str, Any]]:
        value, slopes = gradient(params, *batch)
        return fg.tree.map(lambda w, g: w - RATE * g, params, slopes), {"loss": value}

    started = time.perf_counter()
    result = fit(step, params, loader.epoch, epochs=epochs)
    return result.state, time.perf_counter() - started


def difference(found: Params, expected: Params) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))


def train(options: job.Options) -> Iterator[job.Result]:
    epochs, accuracy = (1, 0.87) if options.quick else (20, 0.94)
    x, y, x_test, y_test = job.mnist(options)
    x, x_test = x.astype(np.float64), x_test.astype(np.float64)
    key1, key2 = fg.random.split(fg.random.key(0))
    draw = nn.init.kaiming_normal()
    params = draw(key1, (x.shape[1], HIDDEN), np.float64), draw(key2, (HIDDEN, 10), np.float64)
    _, slopes = by_hand(params, x, y)
    yield job.at_most("|grad - backpropagation by hand|", difference(fg.grad(loss)(params, x, y), slopes), 1e-12)

    loader = DataLoader((x, y), 100, key=fg.random.key(1), drop_last=True)
    mine, seconds_by_hand = descend(by_hand, params, loader, epochs)
    found, seconds = descend(fg.jit(fg.value_and_grad(loss)), params, loader, epochs)
    print(f"  {epochs} epochs of {len(loader)} steps in {seconds:.2f} s, by hand {seconds_by_hand:.2f} s")
    yield job.at_most("|W - W by hand| after the last step", difference(found, mine), 1e-10)
    right = nn.metrics.accuracy(scores(found, x_test), y_test)
    yield job.at_least(f"accuracy on {len(x_test):,} held-out images", right, accuracy)


if __name__ == "__main__":
    sys.exit(job.main(train, __doc__))
