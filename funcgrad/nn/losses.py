"""Losses: of predictions and targets, example by example, then reduced.

``reduction``: "mean" (over all examples), "sum", or "none" (one loss an example). With the mean, the gradient of a batch
is the mean of the gradients of its examples, and a step of gradient descent is the course's (alpha / B) times the sum.
``where``: a boolean array that broadcasts with the losses of the examples: those where it is false count for nothing,
and their targets are not looked at. The mean of no example is NaN.

Predictions and targets must have one shape where they are compared element by element: (n,) against (n, 1) would
broadcast to (n, n), without a word. Everything is differentiable to any order in both, integers aside.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import funcgrad.numpy as fnp
from funcgrad import tree
from funcgrad.api.custom import custom_jvp
from funcgrad.api.staging import jit
from funcgrad.core.errors import OperandError
from funcgrad.core.trace import Tracer
from funcgrad.core.types import aval_of, is_inexact

from ._arrays import dtype_of, floating, indices, narrow, wide
from ._ctc import forward_probability
from ._linear import one_hot
from ._softmax import log_softmax, softmax
from .activations import relu, sigmoid, softplus

__all__ = [
    "cosine_distance", "ctc", "focal", "hinge", "huber", "kl_divergence", "l1", "l2", "mae", "mse",
    "sigmoid_cross_entropy", "softmax_cross_entropy", "triplet",
]  # fmt: skip


def _reduced(name: str, losses: Any, reduction: str, where: Any) -> Any:
    if reduction not in ("mean", "sum", "none"):
        raise OperandError(f"nn.losses.{name}: reduction must be 'mean', 'sum' or 'none', not {reduction!r}")
    if where is not None:
        losses = fnp.where(where, losses, 0)
    if reduction == "none":
        return losses
    dtype, losses = dtype_of(losses), wide(losses)
    if reduction == "sum":
        return narrow(fnp.sum(losses), dtype)
    if where is None:
        return narrow(fnp.mean(losses), dtype)
    count = fnp.sum(fnp.broadcast_to(where, losses.shape), dtype=dtype_of(losses))
    return narrow(fnp.sum(losses) / count, dtype)


def _pair(name: str, predictions: Any, targets: Any, first: str = "predictions", second: str = "targets") -> Any:
    """Two arrays of one shape, of a floating dtype."""
    x, y = floating(f"losses.{name}", predictions, first), floating(f"losses.{name}", targets, second)
    if x.shape != y.shape:
        raise OperandError(f"nn.losses.{name}: {first} {x.shape} and {second} {y.shape} must have one shape")
    # Integers as targets say nothing about precision.
    return x, fnp.astype(y, dtype_of(x)) if not is_inexact(aval_of(fnp.asarray(targets)).dtype) else y


def _within(name: str, what: str, test: Any, x: Any, where: Any) -> None:
    """Raise unless ``test`` holds for all elements that count; of traced values nothing can be known."""
    if isinstance(x, Tracer) or isinstance(where, Tracer):
        return
    wrong = ~test(x) if where is None else ~test(x) & where
    if fnp.any(wrong):
        raise OperandError(f"nn.losses.{name}: {what}, but one is {x[wrong].ravel()[0]}")


def _expected(p: Any, x: Any) -> Any:
    """p x, where what has no probability counts for nothing: 0 inf = 0."""
    return p * fnp.where((p == 0) & fnp.isinf(x), 0, x)


# Classification -------------------------------------------------------------------------------------------------------


@partial(custom_jvp, nondiff_argnums=(2,))
def _of_classes(logits: Any, classes: Any, axis: int) -> Any:
    place = fnp.expand_dims(classes, axis)
    return -fnp.squeeze(fnp.take_along_axis(log_softmax(logits, axis), place, axis=axis), axis)


@_of_classes.defjvp
def _of_classes_jvp(axis: int, primals: Any, tangents: Any) -> tuple[Any, Any]:
    (logits, classes), (t, _) = primals, tangents
    gradient = softmax(logits, axis) - one_hot(classes, logits.shape[axis], dtype=dtype_of(logits), axis=axis)
    return _of_classes(logits, classes, axis), fnp.sum(gradient * t, axis=axis)


@partial(jit, static_argnames="axis")
def cross_entropy_of_classes(logits: Any, classes: Any, axis: int) -> Any:
    """-log softmax(logits) at the place of the class; the derivative is (softmax(logits) - e_y) t."""
    return narrow(_of_classes(wide(logits), classes, axis), dtype_of(logits))


@partial(jit, static_argnames="axis")
def cross_entropy_of_distributions(logits: Any, distributions: Any, axis: int) -> Any:
    """-sum p log softmax(logits), where 0 log 0 = 0."""
    scores = log_softmax(logits, axis)
    return -fnp.sum(_expected(distributions, scores), axis=axis)


def softmax_cross_entropy(
    logits: Any,
    labels: Any,
    *,
    axis: int = -1,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    where: Any = None,
) -> Any:
    """-log of the probability that softmax(logits) gives to the label: logsumexp(h) - h_y, without overflow.

    ``logits``: scores of k classes along ``axis``. ``labels``: integers from 0 to k - 1, of the shape of ``logits``
    without ``axis``; or probabilities (one-hot, or soft), of the shape of ``logits``, for -sum(p log softmax(h)).
    ``label_smoothing``: the share a of a label that goes to all classes alike: p becomes (1 - a) p + a / k.

    The gradient with respect to the logits is softmax(h) - p. Raises OperandError for shapes that do not fit and for a
    label out of range; where a program finds a traced one so, IndexError.

    >>> import funcgrad as fg
    >>> h = fnp.array([[2.0, 2.0, -1e4]])
    >>> softmax_cross_entropy(h, [0]).round(4), fg.grad(softmax_cross_entropy)(h, fnp.array([0]))
    (np.float64(0.6931), array([[-0.5,  0.5,  0. ]]))
    """
    name = "softmax_cross_entropy"
    logits = floating(f"losses.{name}", logits, "logits")
    labels = fnp.asarray(labels)
    if not 0 <= label_smoothing < 1:
        raise OperandError(f"nn.losses.{name}: label_smoothing must be from 0 to below 1, not {label_smoothing}")
    if not -logits.ndim <= axis < logits.ndim:
        raise OperandError(f"nn.losses.{name}: logits of shape {logits.shape} have no axis {axis}")
    axis, k = axis % logits.ndim, logits.shape[axis]
    examples = (*logits.shape[:axis], *logits.shape[axis + 1 :])
    if labels.shape == examples and dtype_of(labels).kind in "iu":
        classes = indices(f"losses.{name}", "labels", labels, k, where=where)
        if not label_smoothing:
            return _reduced(name, cross_entropy_of_classes(logits, classes, axis=axis), reduction, where)
        labels = one_hot(classes, k, dtype=dtype_of(logits), axis=axis)
    elif labels.shape != logits.shape:
        raise OperandError(
            f"nn.losses.{name}: labels must be integers of the shape {examples}, or probabilities of the shape "
            f"{logits.shape} of the logits, not {dtype_of(labels).name} of the shape {labels.shape}"
        )
    p = fnp.astype(
        labels,
        fnp.result_type(dtype_of(logits), dtype_of(labels)) if dtype_of(labels).kind == "f" else dtype_of(logits),
    )
    if label_smoothing:
        p = (1 - label_smoothing) * p + label_smoothing / k
    return _reduced(name, cross_entropy_of_distributions(logits, p, axis=axis), reduction, where)


def sigmoid_cross_entropy(logits: Any, labels: Any, *, reduction: str = "mean", where: Any = None) -> Any:
    """-y log sigmoid(x) - (1 - y) log(1 - sigmoid(x)) = softplus(x) - x y, element by element.

    ``labels``: from 0 to 1, of the shape of ``logits``. Each element is an example. Raises OperandError for others.

    >>> sigmoid_cross_entropy(fnp.array([-1e4, 0.0, 1e4]), [0, 1, 1]).round(4)
    np.float64(0.231)
    """
    x, y = _pair("sigmoid_cross_entropy", logits, labels, "logits", "labels")
    _within("sigmoid_cross_entropy", "labels must be from 0 to 1", lambda y: (y >= 0) & (y <= 1), y, where)
    return _reduced("sigmoid_cross_entropy", _binary(x, y), reduction, where)


def _binary(x: Any, y: Any) -> Any:
    # As two terms of one sign, so that an infinite x with the right label costs nothing.
    return _expected(1 - y, softplus(x)) + _expected(y, softplus(-x))


def focal(
    logits: Any,
    labels: Any,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    reduction: str = "mean",
    where: Any = None,
) -> Any:
    """``sigmoid_cross_entropy`` weighted by (1 - p)^gamma, where p is the probability given to the label.

    ``alpha``: with it, examples of label 1 are weighted by alpha and those of label 0 by 1 - alpha. (Lin et al., "Focal
    Loss for Dense Object Detection", ICCV 2017, equation 5.)
    """
    x, y = _pair("focal", logits, labels, "logits", "labels")
    _within("focal", "labels must be from 0 to 1", lambda y: (y >= 0) & (y <= 1), y, where)
    # 1 - p, without the subtraction
    missed = y * sigmoid(-x) + (1 - y) * sigmoid(x)
    losses = _binary(x, y) * missed**gamma
    if alpha is not None:
        losses = losses * (alpha * y + (1 - alpha) * (1 - y))
    return _reduced("focal", losses, reduction, where)


def hinge(scores: Any, labels: Any, *, reduction: str = "mean", where: Any = None) -> Any:
    """max(0, 1 - y x), for labels y of -1 or 1, element by element."""
    x, y = _pair("hinge", scores, labels, "scores", "labels")
    _within("hinge", "labels must be -1 or 1", lambda y: fnp.abs(y) == 1, y, where)
    return _reduced("hinge", relu(1 - y * x), reduction, where)


def kl_divergence(
    log_predictions: Any, targets: Any, *, axis: int = -1, reduction: str = "mean", where: Any = None
) -> Any:
    """sum(p (log p - log q)) along ``axis``: how far a distribution q is from p, where 0 log 0 = 0.

    ``log_predictions``: log q, as of ``nn.log_softmax``; ``targets``: p. Without ``axis`` they are the examples.
    """
    log_q, p = _pair("kl_divergence", log_predictions, targets, "log_predictions")
    _within("kl_divergence", "targets must be probabilities", lambda p: p >= 0, p, None)
    losses = fnp.sum(p * fnp.log(fnp.where(p == 0, 1, p)) - _expected(p, log_q), axis=axis)
    return _reduced("kl_divergence", losses, reduction, where)


# Regression -----------------------------------------------------------------------------------------------------------


def mse(predictions: Any, targets: Any, *, reduction: str = "mean", where: Any = None) -> Any:
    """(x - y)^2, element by element.

    >>> mse(fnp.array([1.0, 2.0]), fnp.array([1.0, 4.0]))
    np.float64(2.0)
    """
    x, y = _pair("mse", predictions, targets)
    return _reduced("mse", fnp.square(x - y), reduction, where)


def mae(predictions: Any, targets: Any, *, reduction: str = "mean", where: Any = None) -> Any:
    """|x - y|, element by element."""
    x, y = _pair("mae", predictions, targets)
    return _reduced("mae", fnp.abs(x - y), reduction, where)


def huber(predictions: Any, targets: Any, *, delta: float = 1.0, reduction: str = "mean", where: Any = None) -> Any:
    """d^2 / 2 for a difference d up to ``delta``, and delta (|d| - delta / 2) beyond. (Huber, 1964.)"""
    x, y = _pair("huber", predictions, targets)
    d = fnp.abs(x - y)
    inner = fnp.where(d > delta, delta, d)
    return _reduced("huber", inner * (d - 0.5 * inner), reduction, where)


# Embeddings -----------------------------------------------------------------------------------------------------------


def cosine_distance(
    predictions: Any,
    targets: Any,
    *,
    axis: int = -1,
    epsilon: float = 1e-8,
    reduction: str = "mean",
    where: Any = None,
) -> Any:
    """1 - cos of the angle between vectors along ``axis``; lengths below ``epsilon`` count as ``epsilon``."""
    x, y = _pair("cosine_distance", predictions, targets)
    dtype, x, y = dtype_of(x), wide(x), wide(y)

    def unit(v: Any) -> Any:
        square = fnp.sum(v * v, axis=axis, keepdims=True)
        return v / fnp.where(square > epsilon**2, fnp.sqrt(square), epsilon)

    return _reduced("cosine_distance", narrow(1 - fnp.sum(unit(x) * unit(y), axis=axis), dtype), reduction, where)


def triplet(
    anchors: Any,
    positives: Any,
    negatives: Any,
    *,
    margin: float = 1.0,
    axis: int = -1,
    epsilon: float = 1e-6,
    reduction: str = "mean",
    where: Any = None,
) -> Any:
    """max(0, |a - p| - |a - n| + margin), with the distances sqrt(sum(d^2) + epsilon) along ``axis``.

    ``epsilon`` makes the distance smooth at zero. (Schroff et al., "FaceNet", arXiv:1503.03832, in squares there.)
    """
    a, p = _pair("triplet", anchors, positives, "anchors", "positives")
    _, n = _pair("triplet", anchors, negatives, "anchors", "negatives")

    def distance(x: Any, y: Any) -> Any:
        return fnp.sqrt(fnp.sum(fnp.square(x - y), axis=axis) + epsilon)

    return _reduced("triplet", relu(distance(a, p) - distance(a, n) + margin), reduction, where)


# Sequences ------------------------------------------------------------------------------------------------------------


def ctc(
    logits: Any,
    labels: Any,
    logit_lengths: Any = None,
    label_lengths: Any = None,
    *,
    blank: int = 0,
    reduction: str = "mean",
    where: Any = None,
) -> Any:
    """-log of the probability that softmax(logits) gives to the sequence of labels, however it lies in time.

    ``logits``: (..., time, k); ``labels``: integers (..., n), of which the first ``label_lengths`` (...) count, none of
    them ``blank``; the first ``logit_lengths`` (...) times count. Lengths are the full ones by default. A sequence that
    does not fit into its time has the loss infinity, and the gradient zero. "mean" is over sequences; torch's divides
    each by its number of labels first.

    Summed over all alignments by the forward algorithm, in logarithms: Graves et al., "Connectionist Temporal
    Classification", ICML 2006, section 4.1. Raises OperandError for shapes that do not fit and labels out of range.

    >>> scores = fnp.log(fnp.array([[0.5, 0.5], [0.5, 0.5]]))
    >>> fnp.exp(-ctc(scores, [1])).round(4)  # -1, 1-, 11 of --, -1, 1-, 11
    np.float64(0.75)
    """
    name = "losses.ctc"
    logits = floating(name, logits, "logits")
    labels = fnp.asarray(labels)
    if logits.ndim < 2 or labels.shape[:-1] != logits.shape[:-2] or not labels.ndim:
        raise OperandError(
            f"nn.{name}: logits {logits.shape} and labels {labels.shape} do not fit; they must be (..., time, k) and (..., n)"
        )
    batch, (time, k), n = logits.shape[:-2], logits.shape[-2:], labels.shape[-1]
    if not 0 <= blank < k:
        raise OperandError(f"nn.{name}: blank must be from 0 to {k - 1}, not {blank}")
    lengths = []
    for what, given, full in (("logit_lengths", logit_lengths, time), ("label_lengths", label_lengths, n)):
        length = indices(name, what, fnp.full(batch, full) if given is None else given, full + 1)
        if fnp.shape(length) != batch:
            raise OperandError(f"nn.{name}: {what} must be of shape {batch}, not {fnp.shape(length)}")
        lengths.append(fnp.asarray(length))
    counts = fnp.arange(n) < lengths[1][..., None]
    labels = indices(name, "labels", labels, k, where=counts)
    _within("ctc", f"labels must not be the blank, {blank}", lambda y: y != blank, labels, counts)
    logits = wide(logits)
    losses = -forward_probability(log_softmax(logits), fnp.where(counts, labels, blank), *lengths, blank)
    return _reduced("ctc", losses, reduction, where)


# Penalties ------------------------------------------------------------------------------------------------------------


def _floats(params: Any) -> list[Any]:
    return [x for x in tree.leaves(params) if is_inexact(aval_of(x).dtype)]


def l1(params: Any) -> Any:
    """The sum of |w| over all leaves of a pytree; integers do not count."""
    return sum((fnp.sum(fnp.abs(w)) for w in _floats(params)), 0.0)


def l2(params: Any) -> Any:
    """Half the sum of w^2 over all leaves of a pytree, so that the gradient of ``a * l2(params)`` is a w: weight decay.

    >>> l2({"w": fnp.array([3.0, 4.0])})
    np.float64(12.5)
    """
    return 0.5 * sum((fnp.sum(fnp.square(w)) for w in _floats(params)), 0.0)
