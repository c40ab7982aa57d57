"""Training, the part that every script repeats: epochs, a progress bar, mean metrics, early stopping, checkpoints.

``fit`` knows nothing of models and optimizers. A *step* is a pure function ``(state, batch) -> (state, metrics)``,
jitted as a rule; the state is a pytree with everything that training changes: parameters, optimizer state, a random key.
"""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .core.errors import TrainingError
from .serialization import Saved, save

__all__ = ["EarlyStopping", "TrainResult", "fit"]

Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when a metric has not improved for some epochs.

    Args:
        monitor: the metric's name, as ``fit`` records it: ``"loss"`` of the steps, ``"eval_loss"`` of the evaluation.
        patience: how many epochs in a row may pass without a new best.
        min_delta: by how much a value must beat the best one.
        mode: ``"min"`` if small is good, ``"max"`` if large is.
    """

    monitor: str = "loss"
    patience: int = 3
    min_delta: float = 0.0
    mode: str = "min"

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise TrainingError(f"EarlyStopping: mode is 'min' or 'max', not {self.mode!r}")
        if self.patience < 1 or self.min_delta < 0:
            raise TrainingError("EarlyStopping: patience is at least 1, and min_delta at least 0")

    def stops(self, history: list[dict[str, float]]) -> bool:
        """Whether the epochs so far are enough."""
        sign = 1.0 if self.mode == "min" else -1.0
        best, since = math.inf, 0
        for epoch in history:
            if self.monitor not in epoch:
                raise TrainingError(
                    f"EarlyStopping: there is no metric {self.monitor!r}; there are: {', '.join(sorted(epoch))}"
                )
            value = sign * epoch[self.monitor]
            best, since = (value, 0) if value < best - self.min_delta else (best, since + 1)
        return since >= self.patience


class TrainResult(NamedTuple):
    """What ``fit`` returns: the last state, the metrics of each epoch, and whether it stopped early."""

    state: Any
    history: list[dict[str, float]]
    stopped_early: bool


def fit(
    step: Callable[[Any, Any], tuple[Any, Metrics]],
    state: Any,
    batches: Callable[[int], Iterable[Any]],
    *,
    epochs: int,
    evaluate: Callable[[Any], Metrics] | None = None,
    early_stopping: EarlyStopping | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    progress: bool | None = None,
) -> TrainResult:
    """Train for ``epochs`` passes over the data.

    Args:
        step: ``(state, batch) -> (state, metrics)``, where metrics is a dict of scalars.
        state: a pytree of arrays. The first metric that is not finite stops the training.
        batches: from the number of an epoch, counted from 0, to its batches: ``loader.epoch`` of a ``DataLoader``.
        epochs: how many epochs there are to be in all, those of a checkpoint included.
        evaluate: ``state -> metrics``, called after each epoch; its metrics are recorded with the prefix ``eval_``.
        early_stopping: when to stop before the last epoch.
        checkpoint: a file. If it is there, training goes on from it, bit for bit as if it had not been interrupted; it
            must be of the same structure as ``state``. It is written after each epoch.
        checkpoint_every: write the checkpoint also after each so many steps of an epoch.
        progress: whether to show a bar for each epoch; by default where standard error is a terminal.

    Returns:
        A :class:`TrainResult`. ``history[i]`` holds the mean of each metric over the steps of epoch i.

    Raises:
        TrainingError: a metric became NaN or infinite, at this step of this epoch; a step returned other metrics than
            the one before it; an epoch has no batches; or the checkpoint cannot be used. The checkpoint on disk is the
            last good one.

    >>> import funcgrad as fg
    >>> def step(w, x):
    ...     loss, gradient = fg.value_and_grad(lambda w: ((w - x) ** 2).mean())(w)
    ...     return w - 0.25 * gradient, {"loss": loss}
    >>> result = fit(step, np.zeros(()), lambda epoch: [np.array([1.0, 3.0])], epochs=2)
    >>> print(result.state)
    1.5
    >>> [epoch["loss"] for epoch in result.history]
    [5.0, 2.0]
    """
    if epochs < 0 or (checkpoint_every is not None and checkpoint_every < 1):
        raise TrainingError("fit: epochs is at least 0, and checkpoint_every at least 1")
    place = _Progress(0, 0, {}, [])
    if checkpoint is not None and Path(checkpoint).exists():
        state, place = _resume(checkpoint, state)
    while place.epoch < epochs and not _stops(early_stopping, place.history):
        state, place = _epoch(step, state, batches, place, checkpoint, checkpoint_every, progress)
        record = _means(place)
        if evaluate is not None:
            record |= {f"eval_{name}": float(value) for name, value in evaluate(state).items()}
        place = _Progress(place.epoch + 1, 0, {}, [*place.history, record])
        if checkpoint is not None:
            _write(checkpoint, state, place)
    return TrainResult(state, place.history, place.epoch < epochs)


class _Progress(NamedTuple):
    """How far training is: epochs done, steps done in this one, the sums of their metrics, the records of the epochs."""

    epoch: int
    steps: int
    sums: dict[str, float]
    history: list[dict[str, float]]


def _stops(early_stopping: EarlyStopping | None, history: list[dict[str, float]]) -> bool:
    return early_stopping is not None and early_stopping.stops(history)


def _means(place: _Progress) -> dict[str, float]:
    return {name: total / place.steps for name, total in place.sums.items()}


def _epoch(
    step: Callable[[Any, Any], tuple[Any, Metrics]],
    state: Any,
    batches: Callable[[int], Iterable[Any]],
    place: _Progress,
    checkpoint: str | os.PathLike[str] | None,
    every: int | None,
    progress: bool | None,
) -> tuple[Any, _Progress]:
    """The steps of an epoch that are left."""
    from tqdm import tqdm

    source = batches(place.epoch)
    total = len(source) if hasattr(source, "__len__") else None
    bar = tqdm(
        islice(source, place.steps, None), initial=place.steps, total=total, desc=f"epoch {place.epoch + 1}",
        disable=None if progress is None else not progress, leave=False,
    )  # fmt: skip
    with bar:
        for batch in bar:
            state, metrics = step(state, batch)
            place = place._replace(steps=place.steps + 1, sums=_added(place, metrics))
            if not bar.disable:
                bar.set_postfix({name: f"{value:.4g}" for name, value in _means(place).items()}, refresh=False)
            if checkpoint is not None and every is not None and place.steps % every == 0:
                _write(checkpoint, state, place)
    if not place.steps:
        raise TrainingError(f"fit: epoch {place.epoch} has no batches; batches(epoch) must give new ones each time")
    return state, place


def _added(place: _Progress, metrics: Metrics) -> dict[str, float]:
    """The sums with the metrics of one more step, all of them finite."""
    where = f"step {place.steps} of epoch {place.epoch} (counted from 0)"
    values = {name: float(value) for name, value in metrics.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"fit: {name} is {value} at {where}; `with fg.config(debug_nans=True):` names the operation; a smaller "
                "learning rate or clipped gradients often help"
            )
    if place.sums and place.sums.keys() != values.keys():
        raise TrainingError(f"fit: {where} returned the metrics {sorted(values)}, those before it {sorted(place.sums)}")
    return {name: place.sums.get(name, 0.0) + value for name, value in values.items()}


# Checkpoints ----------------------------------------------------------------------------------------------------------


def _write(file: str | os.PathLike[str], state: Any, place: _Progress) -> None:
    names = sorted({name for record in place.history for name in record})
    history = {n: np.array([record.get(n, math.nan) for record in place.history]) for n in names}
    progress = {"epoch": place.epoch, "steps": place.steps, "sums": place.sums, "history": history}
    save(file, {"progress": progress, "state": state})


def _resume(file: str | os.PathLike[str], state: Any) -> tuple[Any, _Progress]:
    """The state of a checkpoint, in the structure of ``state``, and how far it is."""
    saved = Saved.read(file)
    if not isinstance(saved.structure, dict) or saved.structure["children"].keys() != {"progress", "state"}:
        raise TrainingError(f"fit: {file} is no checkpoint of a training, but something else that was saved")
    epoch, steps, sums, columns = (
        saved.child("progress").child(n).build() for n in ("epoch", "steps", "sums", "history")
    )
    records = [{n: float(c[i]) for n, c in columns.items() if not math.isnan(c[i])} for i in range(epoch)]
    return saved.child("state").fill(state), _Progress(epoch, steps, sums, records)
