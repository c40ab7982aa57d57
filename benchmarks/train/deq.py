"""A deep equilibrium model of the digits: a layer of infinite depth, differentiated by the implicit function theorem.

The layer is the z with z = f(p, x, z), where f(p, x, z) = tanh(z W + x U + b). The columns of W are scaled to sums of
absolute values of at most 0.9, so that f contracts in the maximum norm and there is one such z. With the cotangent c of
z, the one of z' = f(...) solves w = c + w df/dz, again a fixed point, and c goes to p and x as w df/dp and w df/dx
(Bai et al., arXiv:1909.01377, theorem 1). Nothing of the iteration is kept: memory does not grow with depth.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import job
import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax, nn, optim
from funcgrad.data import DataLoader
from funcgrad.train import fit

CONTRACTION = 0.9
WIDTH = 64

Layer = Callable[[Any, Any, Any], Any]


def layer(p: Any, x: Any, z: Any) -> Any:
    sums = fnp.sum(fnp.abs(p["w"]), axis=0)
    return fnp.tanh(z @ (p["w"] * (CONTRACTION / fnp.maximum(sums, CONTRACTION))) + x @ p["u"] + p["b"])


def iterate(f: Callable[[Any], Any], start: Any) -> Any:
    """f(f(... start)), until a step changes nothing beyond the rounding of the dtype."""
    tolerance = 10 * float(np.finfo(start.dtype).eps)

    def moving(carry: Any) -> Any:
        before, now = carry
        return fnp.max(fnp.abs(now - before)) > tolerance * (1 + fnp.max(fnp.abs(now)))

    return lax.while_loop(moving, lambda carry: (carry[1], f(carry[1])), (start, f(start)))[1]


@partial(fg.custom_vjp, nondiff_argnums=(0,))
def equilibrium(f: Layer, p: Any, x: Any) -> Any:
    """The z with z = f(p, x, z)."""
    return iterate(lambda z: f(p, x, z), fnp.zeros_like(x @ p["u"]))


def forward(f: Layer, p: Any, x: Any) -> Any:
    z = equilibrium(f, p, x)
    return z, (p, x, z)


def backward(f: Layer, residuals: Any, ct: Any) -> Any:
    p, x, z = residuals
    _, through_z = fg.vjp(lambda z: f(p, x, z), z)
    w = iterate(lambda w: ct + through_z(w)[0], ct)
    return fg.vjp(lambda p, x: f(p, x, z), p, x)[1](w)


equilibrium.defvjp(forward, backward)


def unrolled(p: Any, x: Any, depth: int = 400) -> Any:
    """The same equilibrium by a scan of so many turns, which reverse mode keeps all of; 0.9^400 is below rounding."""
    return lax.scan(lambda z, _: (layer(p, x, z), None), fnp.zeros_like(x @ p["u"]), length=depth)[0]


def make_params(key: Any, pixels: int, dtype: Any) -> dict[str, Any]:
    draw, (w, u, out) = nn.init.lecun_normal(), fg.random.split(key, 3)
    return {
        "w": draw(w, (WIDTH, WIDTH), dtype),
        "u": draw(u, (pixels, WIDTH), dtype),
        "b": fnp.zeros(WIDTH, dtype),
        "out": draw(out, (WIDTH, 10), dtype),
    }


def loss(p: Any, x: Any, y: Any) -> Any:
    return nn.losses.softmax_cross_entropy(equilibrium(layer, p, x) @ p["out"], y)


def train(options: job.Options) -> Iterator[job.Result]:
    epochs, bound = (5, 0.90) if options.quick else (40, 0.96)
    x, y, x_test, y_test = job.digits()
    p = make_params(fg.random.key(0), x.shape[1], np.float64)
    few, labels = x[:20].astype(np.float64), y[:20]

    def unrolled_loss(p: Any) -> Any:
        return nn.losses.softmax_cross_entropy(unrolled(p, few) @ p["out"], labels)

    found, expected = fg.jit(fg.grad(loss))(p, few, labels), fg.jit(fg.grad(unrolled_loss))(p)
    apart = max(float(np.abs(found[name] - expected[name]).max()) for name in p)
    yield job.at_most("|implicit gradient - gradient through 400 turns|", apart, 1e-12)

    p = make_params(fg.random.key(0), x.shape[1], np.float32)
    loader = DataLoader((x, y), 100, key=fg.random.key(1), drop_last=True)
    optimizer = optim.adam(optim.cosine_decay_schedule(5e-3, epochs * len(loader)))

    @fg.jit
    def step(state: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
        p, moments = state
        value, grads = fg.value_and_grad(loss)(p, *batch)
        updates, moments = optimizer.update(grads, moments, p)
        return (optim.apply_updates(p, updates), moments), {"loss": value}

    started = time.perf_counter()
    (p, _), history, _ = fit(step, (p, optimizer.init(p)), loader.epoch, epochs=epochs)
    seconds = (time.perf_counter() - started) / (epochs * len(loader))
    print(f"  {epochs} epochs of {len(loader)} steps of {seconds * 1e3:.1f} ms; loss -> {history[-1]['loss']:.4f}")
    z = equilibrium(layer, p, x_test)
    yield job.at_most("|z - f(z)| after training", np.abs(z - layer(p, x_test, z)).max(), 1e-5)
    accuracy = nn.metrics.accuracy(z @ p["out"], y_test)
    yield job.at_least(f"accuracy on {len(x_test)} held-out digits", accuracy, bound)


if __name__ == "__main__":
    sys.exit(job.main(train, __doc__))
