"""Affine maps and tables: linear, embedding, one_hot."""

from __future__ import annotations

from typing import Any

import funcgrad.numpy as fnp
from funcgrad.core.errors import OperandError, OperandTypeError

from ._arrays import dtype_of, floating, indices

__all__ = ["embedding", "linear", "one_hot"]


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """x W + b: ``x`` of shape (..., in), ``weight`` (in, out), ``bias`` (out,); the result is (..., out).

    Rows are samples, so that a batch is X W, as in the course. torch keeps the transpose of ``weight``. Raises OperandError
    where the shapes do not fit.

    >>> linear(fnp.array([1.0, 2.0]), fnp.array([[1.0], [10.0]]), fnp.array([0.5]))
    array([21.5])
    """
    x, weight = floating("linear", x), floating("linear", weight, "weight")
    if not x.ndim or weight.ndim != 2 or x.shape[-1] != weight.shape[0]:
        raise OperandError(
            f"nn.linear: x of shape {x.shape} does not fit a weight of shape {weight.shape}: x must be (..., in) and the "
            f"weight (in, out)"
        )
    y = x @ weight
    if bias is None:
        return y
    bias = floating("linear", bias, "bias")
    if bias.shape != weight.shape[1:]:
        raise OperandError(f"nn.linear: the bias must be of shape {weight.shape[1:]}, not {bias.shape}")
    return y + bias


def embedding(ids: Any, table: Any) -> Any:
    """The rows of ``table``, of shape (count, width), at the integers ``ids``: the result is (*ids.shape, width).

    Raises OperandError for an id that is negative or too large; where a program finds a traced one so, IndexError.

    >>> embedding([2, 0], fnp.arange(6.0).reshape(3, 2))
    array([[4., 5.],
           [0., 1.]])
    """
    table = floating("embedding", table, "table")
    if table.ndim != 2:
        raise OperandError(f"nn.embedding: the table must be of shape (count, width), not {table.shape}")
    return fnp.take(table, indices("embedding", "ids", ids, table.shape[0]), axis=0)


def one_hot(x: Any, num_classes: int, *, dtype: Any = fnp.float64, axis: int = -1) -> Any:
    """1 at the place that ``x`` names, 0 elsewhere, along a new axis of size ``num_classes``.

    ``x``: integers, counted from 0. One that is out of range gives zeros, as in JAX: it belongs to no class. (Losses and
    ``embedding`` raise.) Integers carry no derivative, and so does the result.

    >>> one_hot([0, 2, -1], 3)
    array([[1., 0., 0.],
           [0., 0., 1.],
           [0., 0., 0.]])
    """
    x = fnp.asarray(x)
    if dtype_of(x).kind not in "iu":
        raise OperandTypeError(f"nn.one_hot: x must be integers, not {dtype_of(x).name}")
    same = fnp.expand_dims(x, -1) == fnp.arange(num_classes)
    return fnp.moveaxis(fnp.astype(same, dtype), -1, axis)
