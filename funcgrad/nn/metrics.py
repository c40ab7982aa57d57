"""Metrics: what is reported of a classifier, and has no derivative."""

from __future__ import annotations

from typing import Any

import funcgrad.numpy as fnp
from funcgrad.core.errors import OperandError

from ._arrays import floating, indices

__all__ = ["accuracy", "error_rate"]


def accuracy(logits: Any, labels: Any, *, axis: int = -1, where: Any = None) -> Any:
    """The share of examples whose highest score is their label's, as float64; of equal scores the first counts.

    ``logits``: (..., k) with the classes along ``axis``; ``labels``: integers of that shape without ``axis``; ``where``:
    which examples count. Raises OperandError for shapes that do not fit, and labels out of range.

    >>> accuracy(fnp.array([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0]]), [1, 1, 1]).round(4)
    np.float64(0.6667)
    """
    logits = floating("metrics.accuracy", logits, "logits")
    guesses = fnp.argmax(logits, axis=axis)
    labels = indices("metrics.accuracy", "labels", labels, logits.shape[axis], where=where)
    if labels.shape != guesses.shape:
        raise OperandError(
            f"nn.metrics.accuracy: labels {fnp.shape(labels)} must have the shape {guesses.shape} of the examples"
        )
    right = fnp.astype(guesses == labels, fnp.float64)
    if where is None:
        return fnp.mean(right)
    where = fnp.broadcast_to(where, right.shape)
    return fnp.sum(fnp.where(where, right, 0)) / fnp.sum(where, dtype=fnp.float64)


def error_rate(logits: Any, labels: Any, *, axis: int = -1, where: Any = None) -> Any:
    """1 - accuracy: the mean of the 0/1 loss."""
    return 1 - accuracy(logits, labels, axis=axis, where=where)
