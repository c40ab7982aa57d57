"""A generative adversarial network that learns a Gaussian in the plane, and is judged by its mean and covariance.

The generator is linear in standard normal noise, z W + b, so that it can be exact: mean b and covariance W' W. The
discriminator, a small perceptron, tells samples from data; the generator descends the non-saturating loss (Goodfellow et
al., arXiv:1406.2661, section 3). Such a game circles its equilibrium, and what is judged is a moving average of the
generator's parameters (Yazici et al., arXiv:1806.04498).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import job
import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import nn, optim
from funcgrad.train import fit

MEAN = np.array([2.0, 1.0])
MAP = np.array([[1.0, 2.0], [-0.2, 0.5]])  # the data are MEAN + noise @ MAP
COVARIANCE = MAP.T @ MAP
BATCH = 256


class Player(NamedTuple):
    """A network and the state of its optimizer."""

    model: Any
    optimizer: Any


class State(NamedTuple):
    generator: Player
    discriminator: Player
    average: Any
    key: Any


def data(key: Any, count: int) -> Any:
    return fnp.asarray(MEAN + fg.random.normal(key, (count, 2)) @ MAP, dtype=fnp.float32)


def noise(key: Any, count: int) -> Any:
    return fg.random.normal(key, (count, 2), fnp.float32)


def says(model: Any, x: Any, label: int) -> Any:
    """The cross entropy of what the discriminator says of all ``x``, against the label."""
    scores = model(x)
    return nn.losses.sigmoid_cross_entropy(scores, fnp.full_like(scores, label))


def train(options: job.Options) -> Iterator[job.Result]:
    epochs, bound = (15, 0.15) if options.quick else (60, 0.05)
    k1, k2 = fg.random.split(fg.random.key(0))
    generator = nn.Linear.init(k1, 2, 2)
    discriminator = nn.MLP.init(k2, (2, 32, 32, 1))
    rates = optim.cosine_decay_schedule(2e-2, 100 * epochs)
    optimizer = optim.adam(rates, b1=0.5)

    def move(player: Player, loss: Any) -> tuple[Player, Any]:
        value, grads = fg.value_and_grad(loss)(player.model)
        updates, state = optimizer.update(grads, player.optimizer, player.model)
        return Player(optim.apply_updates(player.model, updates), state), value

    @fg.jit
    def step(state: State, _: Any) -> tuple[State, dict[str, Any]]:
        key, k1, k2, k3 = fg.random.split(state.key, 4)
        real, fake = data(k1, BATCH), state.generator.model(noise(k2, BATCH))
        # The samples are an argument of no derivative here: the discriminator alone moves, and nothing is detached.
        discriminator, found = move(
            state.discriminator, lambda model: (says(model, real, 1) + says(model, fake, 0)) / 2
        )
        z = noise(k3, BATCH)
        generator, fooled = move(state.generator, lambda model: says(discriminator.model, model(z), 1))
        average = optim.incremental_update(generator.model, state.average, 0.01)
        return State(generator, discriminator, average, key), {"discriminator": found, "generator": fooled}

    players = (Player(model, optimizer.init(model)) for model in (generator, discriminator))
    state = State(*players, generator, fg.random.key(1))
    state, history, _ = fit(step, state, lambda epoch: range(100), epochs=epochs)
    samples = state.average(noise(fg.random.key(2), 20_000))
    mean, covariance = samples.mean(axis=0), np.cov(samples.T)
    print(
        f"  {100 * epochs} steps; the discriminator's loss {history[-1]['discriminator']:.3f}, log 2 = {np.log(2):.3f}"
    )
    print(
        f"  mean {mean.round(2)}, of the data {MEAN}; covariance {covariance.round(2).tolist()}, {COVARIANCE.tolist()}"
    )
    scale = np.sqrt(np.trace(COVARIANCE))
    yield job.at_most("|mean - mean of the data| / deviation", np.linalg.norm(mean - MEAN) / scale, bound)
    yield job.at_most(
        "|covariance - covariance of the data|, relative",
        np.linalg.norm(covariance - COVARIANCE) / np.linalg.norm(COVARIANCE),
        bound,
    )


if __name__ == "__main__":
    sys.exit(job.main(train, __doc__))
