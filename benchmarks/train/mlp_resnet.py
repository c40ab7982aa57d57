"""MLPResNet of the course (hw2) on MNIST: residual blocks of linear layers with norms and dropout.

A block is relu(x + f(x)), where f is linear, norm, relu, dropout, linear, norm, through half the width. The same network
is trained with batch norms and with layer norms.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import job
from classifier import classify

import funcgrad as fg
from funcgrad import nn, optim
from funcgrad.data import DataLoader

WIDTH = 128
BLOCKS = 3
DROPOUT = 0.1


def linear(key: Any, into: int, out: int) -> nn.Linear:
    return nn.Linear.init(key, into, out, weight_init=nn.init.kaiming_uniform())


def block(key: Any, width: int, norm: type[nn.BatchNorm] | type[nn.LayerNorm]) -> nn.Sequential:
    first, second = fg.random.split(key)
    inner = nn.Sequential(
        linear(first, width, width // 2),
        norm.init(width // 2),
        nn.relu,
        nn.Dropout(DROPOUT),
        linear(second, width // 2, width),
        norm.init(width),
    )
    return nn.Sequential(nn.Residual(inner), nn.relu)


def mlp_resnet(key: Any, pixels: int, norm: type[nn.BatchNorm] | type[nn.LayerNorm]) -> nn.Sequential:
    first, last, *keys = fg.random.split(key, 2 + BLOCKS)
    blocks = (block(k, WIDTH, norm) for k in keys)
    return nn.Sequential(linear(first, pixels, WIDTH), nn.relu, *blocks, linear(last, WIDTH, 10))


def train(options: job.Options) -> Iterator[job.Result]:
    epochs, bound = (2, 0.90) if options.quick else (20, 0.96)
    x, y, x_test, y_test = job.mnist(options)
    loader = DataLoader((x, y), 100, key=fg.random.key(0), drop_last=True)
    for norm in (nn.BatchNorm, nn.LayerNorm):
        model = mlp_resnet(fg.random.key(0), x.shape[1], norm)
        optimizer = optim.adamw(optim.cosine_decay_schedule(2e-3, epochs * len(loader)), weight_decay=1e-3)
        accuracy = classify(model, optimizer, loader, x_test, y_test, epochs=epochs)
        yield job.at_least(f"{norm.__name__}: accuracy on {len(x_test):,} held-out images", accuracy, bound)


if __name__ == "__main__":
    sys.exit(job.main(train, __doc__))
