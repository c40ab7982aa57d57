"""The training that the image classifiers of this folder share: any ``nn`` model, with its state, on batches of images."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

import funcgrad as fg
from funcgrad import nn, optim
from funcgrad.data import DataLoader
from funcgrad.train import fit


class State(NamedTuple):
    """What training changes: the parameters, the running statistics of norms, the optimizer's state, and a key."""

    model: Any
    statistics: Any
    optimizer: Any
    key: Any


def predict(model: Any, statistics: Any, x: Any) -> Any:
    """The scores, in use: no dropout, and the statistics that training recorded."""
    return model(x) if statistics is None else model(x, statistics)[0]


def classify(
    model: Any,
    optimizer: optim.GradientTransformation,
    loader: DataLoader,
    x: np.ndarray,
    y: np.ndarray,
    *,
    epochs: int,
) -> float:
    """Train ``model`` for some epochs, and say how; its accuracy on the held-out images ``x`` with labels ``y``."""

    def loss(model: Any, statistics: Any, images: Any, labels: Any, key: Any) -> tuple[Any, Any]:
        if statistics is None:
            scores = model(images, train=True, key=key)
        else:
            scores, statistics = model(images, statistics, train=True, key=key)
        return nn.losses.softmax_cross_entropy(scores, labels), statistics

    @fg.jit
    def step(state: State, batch: Any) -> tuple[State, dict[str, Any]]:
        key, use = fg.random.split(state.key)
        evaluate = fg.value_and_grad(loss, has_aux=True)
        (value, statistics), grads = evaluate(state.model, state.statistics, *batch, use)
        updates, moments = optimizer.update(grads, state.optimizer, state.model)
        return State(optim.apply_updates(state.model, updates), statistics, moments, key), {"loss": value}

    compiled = fg.jit(predict)

    def evaluate(state: State) -> dict[str, float]:
        # In parts, so that the activations of all images never lie in memory at once.
        parts = range(0, len(x), 500)
        right = [
            nn.metrics.accuracy(compiled(state.model, state.statistics, x[i : i + 500]), y[i : i + 500]) for i in parts
        ]
        return {"accuracy": np.average(right, weights=[len(y[i : i + 500]) for i in parts])}

    started = time.perf_counter()
    state = State(model, model.init_state(), optimizer.init(model), fg.random.key(1))
    history = fit(step, state, loader.epoch, epochs=epochs, evaluate=evaluate).history
    seconds = (time.perf_counter() - started) / (epochs * len(loader))
    print(
        f"  {nn.count_parameters(model):,} parameters, {epochs} epochs of {len(loader)} steps of {seconds * 1e3:.1f} ms; "
        f"loss {history[0]['loss']:.3f} -> {history[-1]['loss']:.4f}"
    )
    return history[-1]["eval_accuracy"]
