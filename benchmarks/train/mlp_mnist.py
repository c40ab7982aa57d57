"""A perceptron 784-256-10 on MNIST, with Adam and a falling learning rate, in float32."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import job
from classifier import classify

import funcgrad as fg
from funcgrad import nn, optim
from funcgrad.data import DataLoader


def train(options: job.Options) -> Iterator[job.Result]:
    epochs, bound = (2, 0.92) if options.quick else (20, 0.955)
    x, y, x_test, y_test = job.mnist(options)
    loader = DataLoader((x, y), 128, key=fg.random.key(0), drop_last=True)
    model = nn.MLP.init(fg.random.key(0), (x.shape[1], 256, 10))
    optimizer = optim.adam(optim.cosine_decay_schedule(2e-3, epochs * len(loader)))
    accuracy = classify(model, optimizer, loader, x_test, y_test, epochs=epochs)
    yield job.at_least(f"accuracy on {len(x_test):,} held-out images", accuracy, bound)


if __name__ == "__main__":
    sys.exit(job.main(train, __doc__))
