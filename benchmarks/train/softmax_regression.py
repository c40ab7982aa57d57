"""Softmax regression on the digits and on MNIST, trained twice: by the gradient of the notes, and by grad.

Lecture 2 of the notes: scores H = X theta, the mean cross entropy of softmax(H), and its gradient X' (Z - E) / B, where Z
are the probabilities and E the one-hot labels of B examples. Both trainings take the same steps of stochastic gradient
descent in float64, so the parameters must stay equal up to rounding.
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

Gradient = Callable[[Any, Any, Any], tuple[Any, Any]]


def loss(theta: Any, x: Any, y: Any) -> Any:
    return nn.losses.softmax_cross_entropy(x @ theta, y)


def by_hand(theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The loss and its gradient as the notes derive them, in NumPy alone."""
    scores = x @ theta
    scores -= scores.max(axis=1, keepdims=True)
    exponentials = np.exp(scores)
    totals = exponentials.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    value = np.mean(np.log(totals[:, 0]) - scores[rows, y])
    z_minus_e = exponentials / totals
    z_minus_e[rows, y] -= 1
    return value, x.T @ z_minus_e / len(y)


def descend(gradient: Gradient, loader: DataLoader, pixels: int, rate: float, epochs: int) -> tuple[np.ndarray, float]:
    """The parameters after so many epochs, from zero, and the seconds that took."""

    def step(theta: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
        value, slope = gradient(theta, *batch)
        return theta - rate * slope, {"loss": value}

    started = time.perf_counter()
    result = fit(step, np.zeros((pixels, 10)), loader.epoch, epochs=epochs)
    return result.state, time.perf_counter() - started


def compare(name: str, data: job.Images, rate: float, epochs: int, accuracy: float) -> Iterator[job.Result]:
    x, y, x_test, y_test = data
    x, x_test = x.astype(np.float64), x_test.astype(np.float64)
    theta = np.random.default_rng(0).normal(0.0, 0.1, (x.shape[1], 10))
    value, slope = by_hand(theta, x, y)
    ours, gradient = fg.value_and_grad(loss)(theta, x, y)
    yield job.at_most(f"{name}: |grad - X'(Z - E)/B|", max(abs(ours - value), np.abs(gradient - slope).max()), 1e-12)

    loader = DataLoader((x, y), 100, key=fg.random.key(0), drop_last=True)
    mine, seconds_by_hand = descend(by_hand, loader, x.shape[1], rate, epochs)
    found, seconds = descend(fg.jit(fg.value_and_grad(loss)), loader, x.shape[1], rate, epochs)
    print(f"  {name}: {epochs} epochs of {len(loader)} steps in {seconds:.2f} s, by hand {seconds_by_hand:.2f} s")
    yield job.at_most(f"{name}: |theta - theta by hand| after the last step", np.abs(found - mine).max(), 1e-12)
    yield job.at_least(
        f"{name}: accuracy on {len(x_test):,} held-out images", nn.metrics.accuracy(x_test @ found, y_test), accuracy
    )


def train(options: job.Options) -> Iterator[job.Result]:
    yield from compare("digits", job.digits(), 0.5, 5 if options.quick else 40, 0.90 if options.quick else 0.95)
    yield from compare("MNIST", job.mnist(options), 0.2, 2 if options.quick else 20, 0.87 if options.quick else 0.91)


if __name__ == "__main__":
    sys.exit(job.main(train, __doc__))
