"""A character language model: a transformer decoder on the docstrings of funcgrad.

Pre-norm blocks of causal attention, as ``nn.Transformer`` has them, on windows drawn anywhere in the text; AdamW with a
warm-up and a cosine decay.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from typing import Any

import corpus as text
import job
import numpy as np

import funcgrad as fg
from funcgrad import nn, optim
from funcgrad.data import DataLoader
from funcgrad.train import fit

BATCH = 16


def windows(tokens: np.ndarray, length: int) -> np.ndarray:
    """All rows of ``length`` tokens and the one that follows, half a window apart."""
    return np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[:: length // 2]


def loss(model: Any, rows: Any) -> Any:
    """Nats a character: each from those before it in its row."""
    return nn.losses.softmax_cross_entropy(model(rows[:, :-1]), rows[:, 1:])


def train(options: job.Options) -> Iterator[job.Result]:
    epochs, width, length = (1, 64, 32) if options.quick else (4, 96, 64)
    corpus = text.read()
    unigram, bigram = text.unigram_bits(corpus), text.bigram_bits(corpus)
    rows = windows(corpus.train[: len(corpus.train) // 2] if options.quick else corpus.train, length)
    loader = DataLoader(rows, BATCH, key=fg.random.key(0), drop_last=True)
    model = nn.Transformer.init(
        fg.random.key(1), vocabulary=len(corpus.characters), length=length, width=width, layers=2, heads=4
    )
    steps = epochs * len(loader)
    rates = optim.warmup_cosine_decay_schedule(0.0, 3e-3, steps // 20, steps)
    optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(rates, weight_decay=0.01))

    @fg.jit
    def step(state: Any, rows: Any) -> tuple[Any, dict[str, Any]]:
        model, moments = state
        value, grads = fg.value_and_grad(loss)(model, rows)
        updates, moments = optimizer.update(grads, moments, model)
        return (optim.apply_updates(model, updates), moments), {"bits": value / math.log(2)}

    started = time.perf_counter()
    (model, _), history, _ = fit(step, (model, optimizer.init(model)), loader.epoch, epochs=epochs)
    seconds = (time.perf_counter() - started) / steps
    print(
        f"  {len(corpus.train):,} characters, {nn.count_parameters(model):,} parameters, {steps} steps of "
        f"{seconds * 1e3:.0f} ms; bits {history[0]['bits']:.2f} -> {history[-1]['bits']:.2f}"
    )
    evaluate = fg.jit(loss)
    held_out = DataLoader(windows(corpus.test, length), 64, drop_last=True)
    bits = float(np.mean([evaluate(model, rows) for rows in held_out])) / math.log(2)
    yield job.at_most("bits a character of held-out text, against single characters", bits, unigram)
    yield job.at_most(
        "bits a character of held-out text, against pairs", bits, bigram - (0.0 if options.quick else 1.0)
    )


if __name__ == "__main__":
    sys.exit(job.main(train, __doc__))
