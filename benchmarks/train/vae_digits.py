"""A variational autoencoder of the 8x8 digits, judged by its bound on the likelihood of digits held out.

The encoder gives the mean m and the log variance of a Gaussian q(z | x), a sample of which the decoder turns into the
probabilities of ink. Training ascends the evidence lower bound

    ELBO(x) = E_q log p(x | z) - KL(q(z | x) || N(0, I)),    KL = sum(exp(v) + m^2 - 1 - v) / 2,

by the reparametrised sample z = m + exp(v / 2) noise (Kingma and Welling, arXiv:1312.6114, appendix B). The mean over
several samples, weighted by importance, is a tighter bound and may not be a looser one (Burda et al., arXiv:1509.00519).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import job
import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import nn, optim
from funcgrad.data import DataLoader
from funcgrad.train import fit

LATENT = 8
HIDDEN = 128


@nn.module
class VAE(nn.Module):
    """An encoder to ``(mean, log variance)``, and a decoder to the logits of ink."""

    encoder: nn.MLP
    decoder: nn.MLP

    def apply(self, x: Any, state: Any, *, train: bool, key: Any) -> tuple[Any, Any]:
        """A sample of q(z | x), its log density, and the logits it decodes to."""
        mean, log_variance = fnp.split(self.encoder(x), 2, axis=-1)
        noise = fg.random.normal(key, mean.shape, mean.dtype)
        z = mean + fnp.exp(log_variance / 2) * noise
        return (mean, log_variance, z, self.decoder(z)), state


def log_likelihood(logits: Any, x: Any) -> Any:
    """log p(x | z), the sum over pixels; a grey pixel is ink with that probability."""
    return -fnp.sum(nn.losses.sigmoid_cross_entropy(logits, x, reduction="none"), axis=-1)


def elbo(model: VAE, x: Any, key: Any) -> Any:
    """The bound for each image, in nats, from one sample; the divergence in closed form."""
    mean, log_variance, _, logits = model(x, key=key)
    divergence = fnp.sum(fnp.exp(log_variance) + mean**2 - 1 - log_variance, axis=-1) / 2
    return log_likelihood(logits, x) - divergence


def log_gaussian(z: Any, mean: Any, log_variance: Any) -> Any:
    return -fnp.sum((z - mean) ** 2 * fnp.exp(-log_variance) + log_variance + math.log(2 * math.pi), axis=-1) / 2


def importance_bound(model: VAE, x: Any, key: Any, samples: int) -> Any:
    """log of the mean of p(x, z) / q(z | x) over so many samples of q, for each image."""

    def log_weight(key: Any) -> Any:
        mean, log_variance, z, logits = model(x, key=key)
        prior = log_gaussian(z, fnp.zeros_like(z), fnp.zeros_like(z))
        return log_likelihood(logits, x) + prior - log_gaussian(z, mean, log_variance)

    weights = fg.vmap(log_weight)(fg.random.split(key, samples))
    return nn.logsumexp(weights, axis=0) - math.log(samples)


class State(NamedTuple):
    model: VAE
    optimizer: Any
    key: Any


def train(options: job.Options) -> Iterator[job.Result]:
    epochs = 80 if options.quick else 400
    x, _, x_test, _ = job.digits()
    k1, k2 = fg.random.split(fg.random.key(0))
    model = VAE(
        nn.MLP.init(k1, (x.shape[1], HIDDEN, 2 * LATENT), activation=nn.tanh),
        nn.MLP.init(k2, (LATENT, HIDDEN, x.shape[1]), activation=nn.tanh),
    )
    loader = DataLoader(x, 100, key=fg.random.key(1), drop_last=True)
    optimizer = optim.adam(optim.cosine_decay_schedule(3e-3, epochs * len(loader)))

    @fg.jit
    def step(state: State, images: Any) -> tuple[State, dict[str, Any]]:
        key, use = fg.random.split(state.key)
        value, grads = fg.value_and_grad(lambda model: -fnp.mean(elbo(model, images, use)))(state.model)
        updates, moments = optimizer.update(grads, state.optimizer, state.model)
        return State(optim.apply_updates(state.model, updates), moments, key), {"nats": value}

    state = State(model, optimizer.init(model), fg.random.key(2))
    state, history, _ = fit(step, state, loader.epoch, epochs=epochs)
    print(f"  {epochs} epochs of {len(loader)} steps; -ELBO {history[0]['nats']:.2f} -> {history[-1]['nats']:.2f} nats")

    independent = np.clip(x.mean(axis=0), 1e-3, 1 - 1e-3)  # the best that pixels without a latent variable can do
    baseline = -np.mean(log_likelihood(np.broadcast_to(np.log(independent / (1 - independent)), x_test.shape), x_test))
    k1, k2 = fg.random.split(fg.random.key(3))
    nats = -np.mean(elbo(state.model, x_test, k1))
    tighter = -np.mean(importance_bound(state.model, x_test, k2, 50))
    grey = nn.losses.sigmoid_cross_entropy(np.log(x_test + 1e-9) - np.log(1 - x_test + 1e-9), x_test) * x.shape[1]
    print(
        f"  independent pixels take {baseline:.2f} nats an image, and no model fewer than {grey:.2f}, as pixels are grey"
    )
    yield job.at_most("-ELBO of held-out digits, nats", nats, baseline - (1.5 if options.quick else 2.5))
    yield job.at_most("-log p by 50 weighted samples, against one", tighter, float(nats))


if __name__ == "__main__":
    sys.exit(job.main(train, __doc__))
