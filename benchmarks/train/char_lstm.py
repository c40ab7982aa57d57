"""A character language model: an LSTM on the docstrings of funcgrad, by truncated back-propagation through time.

Windows follow each other in the text, and the state of the LSTM goes from one to the next; the gradient ends at the
window's first character. Gradients are clipped, as recurrent networks want it.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import corpus as text
import job
import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import nn, optim
from funcgrad.data import batchify, bptt_windows
from funcgrad.train import fit

WIDTH = 128
STREAMS = 32
WINDOW = 48
TEMPERATURE = 0.8  # of the sample that is printed: below 1, likely characters become likelier


class State(NamedTuple):
    """The parameters, the optimizer's state, and what the network remembers of the window before."""

    model: Any
    optimizer: Any
    memory: Any


def make_model(key: Any, characters: int) -> nn.Sequential:
    k1, k2, k3 = fg.random.split(key, 3)
    return nn.Sequential(
        nn.Embedding.init(k1, characters, 32), nn.LSTM.init(k2, 32, WIDTH), nn.Linear.init(k3, WIDTH, characters)
    )


def loss(model: Any, memory: Any, inputs: Any, targets: Any) -> tuple[Any, Any]:
    """Nats a character, and the memory after the window; tokens are (time, streams) as ``bptt_windows`` gives them."""
    scores, memory = model(inputs.T, memory)
    return nn.losses.softmax_cross_entropy(scores, targets.T), memory


def bits_of(model: Any, tokens: np.ndarray) -> float:
    """Bits a character of a text, read from its beginning to its end."""
    evaluate, memory, nats = fg.jit(loss), model.init_state((1,)), []
    for inputs, targets in bptt_windows(batchify(tokens, 1), 512):
        value, memory = evaluate(model, memory, inputs, targets)
        nats.append(value)
    return float(np.mean(nats)) / math.log(2)


def sample(model: Any, characters: Any, start: str, length: int, key: Any) -> str:
    """A text that begins with ``start`` and goes on as the model likes."""

    def following(carry: Any, key: Any) -> tuple[Any, Any]:
        token, memory = carry
        scores, memory = model(token[None], memory)
        token = fg.random.categorical(key, scores[0] / TEMPERATURE)
        return (token, memory), token

    tokens = characters.encode(start)
    _, memory = model(tokens[:-1], model.init_state())
    _, drawn = fg.lax.scan(following, (fnp.asarray(tokens[-1]), memory), fg.random.split(key, length))
    return start + "".join(characters.decode(drawn))


def train(options: job.Options) -> Iterator[job.Result]:
    epochs = 2 if options.quick else 8
    corpus = text.read()
    unigram, bigram = text.unigram_bits(corpus), text.bigram_bits(corpus)
    streams = batchify(corpus.train[: len(corpus.train) // 3] if options.quick else corpus.train, STREAMS)
    model = make_model(fg.random.key(0), len(corpus.characters))
    steps = epochs * (len(streams) // WINDOW)
    optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.adam(optim.cosine_decay_schedule(6e-3, steps)))

    @fg.jit
    def step(state: State, batch: Any) -> tuple[State, dict[str, Any]]:
        (value, memory), grads = fg.value_and_grad(loss, has_aux=True)(state.model, state.memory, *batch)
        updates, moments = optimizer.update(grads, state.optimizer, state.model)
        return State(optim.apply_updates(state.model, updates), moments, memory), {"bits": value / math.log(2)}

    started = time.perf_counter()
    state = State(model, optimizer.init(model), model.init_state((STREAMS,)))
    state, history, _ = fit(step, state, lambda epoch: bptt_windows(streams, WINDOW), epochs=epochs)
    seconds = (time.perf_counter() - started) / steps
    print(
        f"  {len(corpus.train):,} characters, {nn.count_parameters(model):,} parameters, {steps} steps of "
        f"{seconds * 1e3:.0f} ms; bits {history[0]['bits']:.2f} -> {history[-1]['bits']:.2f}"
    )
    print(f"  a sample: {sample(state.model, corpus.characters, 'The ', 150, fg.random.key(2))!r}")
    bits = bits_of(state.model, corpus.test)
    yield job.at_most("bits a character of held-out text, against single characters", bits, unigram)
    yield job.at_most(
        "bits a character of held-out text, against pairs", bits, bigram - (0.0 if options.quick else 1.0)
    )


if __name__ == "__main__":
    sys.exit(job.main(train, __doc__))
