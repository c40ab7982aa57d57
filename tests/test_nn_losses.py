"""Losses and metrics against formulas in NumPy, against Optax and torch, and by brute force (CTC)."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import nn
from funcgrad.core.errors import OperandError, OperandTypeError
from funcgrad.nn import losses, metrics
from funcgrad.testing import assert_close, check_grads


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is an oracle of the losses")


@pytest.fixture(scope="module")
def optax():
    return pytest.importorskip("optax", reason="Optax is an oracle of the losses")


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def plain_log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


LABELS = np.array([0, 3, 1, 1, 2])
CASES = {
    "softmax_cross_entropy": (draw(5, 4), LABELS),
    "sigmoid_cross_entropy": (draw(6), np.array([0.0, 1, 1, 0, 0.3, 1])),
    "focal": (draw(6), np.array([0.0, 1, 1, 0, 0.3, 1])),
    "hinge": (draw(6) * 2, np.array([-1.0, 1, 1, -1, 1, 1])),
    "kl_divergence": (plain_log_softmax(draw(5, 4)), np.exp(plain_log_softmax(draw(5, 4, seed=1)))),
    "mse": (draw(6), draw(6, seed=1)),
    "mae": (draw(6), draw(6, seed=1)),
    "huber": (draw(6) * 2, draw(6, seed=1)),
    "cosine_distance": (draw(5, 3), draw(5, 3, seed=1)),
    "triplet": (draw(5, 3), draw(5, 3, seed=1), draw(5, 3, seed=2)),
    "ctc": (draw(2, 6, 4), np.array([[1, 2], [3, 3]])),
}
cases = pytest.mark.parametrize("name", CASES)


def test_every_loss_is_tested():
    assert set(losses.__all__) == {*CASES, "l1", "l2"}


# What holds for all ---------------------------------------------------------------------------------------------------


@cases
def test_reductions(name):
    f, args = getattr(losses, name), CASES[name]
    each = f(*args, reduction="none")
    assert each.shape == args[0].shape[:1]
    assert f(*args) == pytest.approx(each.mean(), rel=1e-13)
    assert f(*args, reduction="sum") == pytest.approx(each.sum(), rel=1e-13)
    where = np.arange(len(each)) % 2 == 1
    np.testing.assert_array_equal(f(*args, reduction="none", where=where), np.where(where, each, 0))
    assert f(*args, where=where) == pytest.approx(each[where].mean(), rel=1e-13)
    with pytest.raises(OperandError, match=f"nn.losses.{name}: reduction must be 'mean', 'sum' or 'none', not 'avg'"):
        f(*args, reduction="avg")


@cases
def test_laws(name):
    f, args = getattr(losses, name), CASES[name]
    rest = args[1:]
    check_grads(lambda x: f(x, *rest), args[:1], order=2)
    assert_close(fg.jit(f)(*args), f(*args))
    each = f(*args, reduction="none")
    axes = tuple(0 for _ in args)
    # The loss of an example is that of a batch of one.
    rows = fg.vmap(lambda *a: f(*(fnp.expand_dims(x, 0) for x in a)), in_axes=axes)(*args)
    np.testing.assert_allclose(rows, each, rtol=1e-12)


@cases
@given(dtype=st.sampled_from([np.float16, np.float32]), reduction=st.sampled_from(["mean", "sum", "none"]))
def test_dtypes(name, dtype, reduction):
    f, args = getattr(losses, name), CASES[name]
    single = [np.asarray(a, dtype) if a.dtype.kind == "f" else a for a in args]
    y = f(*single, reduction=reduction)
    assert y.dtype == (np.float32 if name == "ctc" else dtype)
    np.testing.assert_allclose(
        y, f(*args, reduction=reduction), rtol=40 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps
    )
    assert fg.grad(lambda x: f(x, *single[1:]))(single[0]).dtype == dtype


@pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "focal", "hinge", "mse", "mae", "huber", "cosine_distance"])
def test_shapes_never_broadcast(name):
    with pytest.raises(OperandError, match=r"\(4,\) and .* \(4, 1\) must have one shape"):
        getattr(losses, name)(np.ones(4), np.ones((4, 1)))


# Cross entropy --------------------------------------------------------------------------------------------------------


def test_softmax_cross_entropy_by_hand(optax):
    h = draw(5, 4) * 3
    want = -plain_log_softmax(h)[np.arange(5), LABELS]
    np.testing.assert_allclose(losses.softmax_cross_entropy(h, LABELS, reduction="none"), want, rtol=1e-13)
    onehot = np.eye(4)[LABELS]
    np.testing.assert_allclose(losses.softmax_cross_entropy(h, onehot, reduction="none"), want, rtol=1e-13)
    np.testing.assert_allclose(losses.softmax_cross_entropy(h, onehot.astype(int), reduction="none"), want, rtol=1e-13)
    np.testing.assert_allclose(losses.softmax_cross_entropy(h.T, LABELS, axis=0, reduction="none"), want, rtol=1e-13)
    soft = np.exp(plain_log_softmax(draw(5, 4, seed=1)))
    got = losses.softmax_cross_entropy(h, soft, reduction="none")
    np.testing.assert_allclose(got, -(soft * plain_log_softmax(h)).sum(-1), rtol=1e-13)
    np.testing.assert_allclose(got, optax.softmax_cross_entropy(np.float32(h), np.float32(soft)), rtol=1e-5)


def test_label_smoothing_is_torchs(torch):
    h = draw(5, 4)
    want = torch.nn.functional.cross_entropy(torch.tensor(h), torch.tensor(LABELS), label_smoothing=0.1).item()
    assert losses.softmax_cross_entropy(h, LABELS, label_smoothing=0.1) == pytest.approx(want, rel=1e-12)
    onehot = np.eye(4)[LABELS]
    assert losses.softmax_cross_entropy(h, onehot, label_smoothing=0.1) == pytest.approx(want, rel=1e-12)
    with pytest.raises(OperandError, match="label_smoothing must be from 0 to below 1, not 1.5"):
        losses.softmax_cross_entropy(h, LABELS, label_smoothing=1.5)


def test_the_gradient_of_cross_entropy_is_softmax_minus_one_hot():
    """Course notes 2.13 and 2.17: z - e_y; for a batch X^T (Z - E) / B with the mean, X^T (Z - E) with the sum."""
    h = draw(5, 4)
    z, e = np.exp(plain_log_softmax(h)), np.eye(4)[LABELS]
    np.testing.assert_allclose(fg.grad(losses.softmax_cross_entropy)(h, LABELS), (z - e) / 5, atol=1e-16)
    np.testing.assert_allclose(fg.grad(losses.softmax_cross_entropy)(h, e), (z - e) / 5, atol=1e-16)
    x, theta = draw(5, 3), draw(3, 4)
    z = np.exp(plain_log_softmax(x @ theta))
    for reduction, scale in (("mean", 5), ("sum", 1)):
        gradient = fg.grad(lambda t, r=reduction: losses.softmax_cross_entropy(x @ t, LABELS, reduction=r))(theta)
        np.testing.assert_allclose(gradient, x.T @ (z - e) / scale, atol=1e-15)
    hessian = fg.hessian(lambda h: losses.softmax_cross_entropy(h, 1))(h[0])
    z = np.exp(plain_log_softmax(h[0]))
    np.testing.assert_allclose(hessian, np.diag(z) - np.outer(z, z), atol=1e-16)


def test_cross_entropy_far_from_zero():
    h = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [0.0, -np.inf, 0.0]])
    got = losses.softmax_cross_entropy(h, np.array([1, 0, 2]), reduction="none")
    np.testing.assert_allclose(got, [2e4, math.log(3), math.log(2)], rtol=1e-14)
    gradient = fg.grad(losses.softmax_cross_entropy)(h, np.array([1, 0, 2]))
    np.testing.assert_allclose(gradient * 3, [[1, -1, 0], [-2 / 3, 1 / 3, 1 / 3], [0.5, 0, -0.5]], atol=1e-15)
    # A class that is ruled out and has no probability costs nothing.
    soft = np.array([[0.5, 0.0, 0.5]])
    assert losses.softmax_cross_entropy(h[2:], soft) == pytest.approx(math.log(2))
    assert np.isfinite(fg.grad(losses.softmax_cross_entropy)(h[2:], soft)).all()


@pytest.mark.parametrize("bad", [4, -1])
def test_a_label_out_of_range_raises(bad):
    h, labels = np.zeros((2, 4)), np.array([0, bad])
    with pytest.raises(OperandError, match=rf"labels must be from 0 to 3, but labels\[1\] is {bad}"):
        losses.softmax_cross_entropy(h, labels)
    with pytest.raises(IndexError, match="out of bounds for axis 1 with size 4"):
        fg.jit(losses.softmax_cross_entropy)(h, labels)
    with pytest.raises(OperandError, match=rf"labels must be from 0 to 3, but labels\[1\] is {bad}"):
        metrics.accuracy(h, labels)
    # Where an example does not count, its label is not looked at.
    where = np.array([True, False])
    want = pytest.approx(math.log(4))
    assert losses.softmax_cross_entropy(h, labels, where=where) == want
    assert fg.jit(losses.softmax_cross_entropy)(h, labels, where=where) == want


def test_cross_entropy_messages():
    h = np.zeros((5, 4))
    with pytest.raises(
        OperandError, match=r"integers of the shape \(5,\), or probabilities .* not int64 of the shape \(5, 1\)"
    ):
        losses.softmax_cross_entropy(h, LABELS[:, None])
    with pytest.raises(OperandError, match=r"not float64 of the shape \(5,\)"):
        losses.softmax_cross_entropy(h, LABELS * 1.0)
    with pytest.raises(OperandError, match=r"logits of shape \(5, 4\) have no axis 2"):
        losses.softmax_cross_entropy(h, LABELS, axis=2)
    with pytest.raises(OperandError, match="sigmoid_cross_entropy: labels must be from 0 to 1, but one is 2"):
        losses.sigmoid_cross_entropy(np.zeros(2), np.array([0, 2]))
    with pytest.raises(OperandError, match="hinge: labels must be -1 or 1, but one is 0"):
        losses.hinge(np.zeros(2), np.array([0, 1]))
    with pytest.raises(OperandError, match="kl_divergence: targets must be probabilities, but one is -0.5"):
        losses.kl_divergence(np.zeros(2), np.array([-0.5, 1.5]))


def test_sigmoid_cross_entropy(optax):
    x, y = CASES["sigmoid_cross_entropy"]
    p = 1 / (1 + np.exp(-x))
    got = losses.sigmoid_cross_entropy(x, y, reduction="none")
    np.testing.assert_allclose(got, -y * np.log(p) - (1 - y) * np.log(1 - p), rtol=1e-13)
    np.testing.assert_allclose(got, optax.sigmoid_binary_cross_entropy(np.float32(x), np.float32(y)), rtol=1e-5)
    far = np.array([-1e4, -1e4, 1e4, 1e4])
    labels = np.array([0, 1, 0, 1])
    np.testing.assert_array_equal(losses.sigmoid_cross_entropy(far, labels, reduction="none"), [0, 1e4, 1e4, 0])
    gradient = fg.grad(lambda x: losses.sigmoid_cross_entropy(x, labels, reduction="sum"))(far)
    np.testing.assert_array_equal(gradient, [0, -1, 1, 0])
    assert losses.sigmoid_cross_entropy(np.array([-np.inf, np.inf]), np.array([0, 1])) == 0


# The others -----------------------------------------------------------------------------------------------------------


def test_focal_is_optaxs(optax):
    x, y = CASES["focal"]
    for gamma, alpha in ((2.0, None), (1.0, 0.25), (3.5, 0.7)):
        want = optax.sigmoid_focal_loss(np.float32(x), np.float32(y), alpha=alpha, gamma=gamma)
        got = losses.focal(x, y, gamma=gamma, alpha=alpha, reduction="none")
        np.testing.assert_allclose(got, want, rtol=2e-5)
    np.testing.assert_allclose(losses.focal(x, y, gamma=0.0), losses.sigmoid_cross_entropy(x, y), rtol=1e-13)


def test_elementwise_losses_are_optaxs(optax):
    x, y = np.float32(draw(50) * 2), np.float32(draw(50, seed=1))
    for got, want in [
        (losses.mse(x, y, reduction="none"), optax.squared_error(x, y)),
        (losses.huber(x, y, reduction="none"), optax.huber_loss(x, y)),
        (losses.huber(x, y, delta=0.3, reduction="none"), optax.huber_loss(x, y, delta=0.3)),
        (losses.hinge(x, np.sign(y), reduction="none"), optax.hinge_loss(x, np.sign(y))),
    ]:
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert losses.mae(x, y) == pytest.approx(np.abs(x - y).mean())


def test_kl_divergence(torch, optax):
    q, p = CASES["kl_divergence"]
    got = losses.kl_divergence(q, p, reduction="none")
    np.testing.assert_allclose(got, (p * (np.log(p) - q)).sum(-1), rtol=1e-13)
    np.testing.assert_allclose(got, optax.kl_divergence(np.float32(q), np.float32(p)), rtol=1e-5, atol=1e-6)
    want = torch.nn.functional.kl_div(torch.tensor(q), torch.tensor(p), reduction="batchmean").item()
    assert losses.kl_divergence(q, p) == pytest.approx(want, rel=1e-12)
    assert losses.kl_divergence(np.array([-np.inf, 0.0]), np.array([0.0, 1.0])) == 0


def test_cosine_distance(torch):
    x, y = CASES["cosine_distance"]
    want = 1 - torch.nn.functional.cosine_similarity(torch.tensor(x), torch.tensor(y)).numpy()
    np.testing.assert_allclose(losses.cosine_distance(x, y, reduction="none"), want, rtol=1e-12)
    zero = np.zeros((1, 3))
    assert losses.cosine_distance(zero, y[:1]) == 1
    assert np.isfinite(fg.grad(losses.cosine_distance)(zero, y[:1])).all()


def test_triplet(optax):
    a, p, n = CASES["triplet"]
    want = np.maximum(np.linalg.norm(a - p, axis=1) - np.linalg.norm(a - n, axis=1) + 1, 0)
    np.testing.assert_allclose(losses.triplet(a, p, n, reduction="none"), want, atol=1e-5)
    theirs = optax.losses.triplet_margin_loss(*map(np.float32, (a, p, n)))
    np.testing.assert_allclose(losses.triplet(a, p, n, reduction="none"), theirs, rtol=1e-4, atol=1e-5)
    # At coinciding points too there is a derivative.
    assert np.isfinite(fg.grad(losses.triplet)(a, a, n)).all()


def test_penalties():
    params = {"w": np.array([[1.0, -2.0]]), "b": np.float32([3.0]), "steps": np.array(7)}
    assert losses.l1(params) == 6 and losses.l2(params) == 7
    floats = {"w": params["w"], "b": params["b"]}
    gradient = fg.grad(losses.l2)(floats)
    assert_close(gradient, floats)
    assert losses.l1({}) == 0


# CTC ------------------------------------------------------------------------------------------------------------------


def brute_force(log_p, labels, blank=0):
    """The sum over all writings that merge to the labels."""
    total = 0.0
    for path in itertools.product(range(log_p.shape[1]), repeat=log_p.shape[0]):
        merged = [s for s, _ in itertools.groupby(path)]
        if [s for s in merged if s != blank] == list(labels):
            total += np.exp(sum(log_p[t, s] for t, s in enumerate(path)))
    return -np.log(total) if total else np.inf


@pytest.mark.parametrize("labels", [[], [1], [1, 2], [1, 1], [2, 1, 2], [1, 1, 1], [1, 1, 1, 1]])
def test_ctc_is_the_sum_over_alignments(labels):
    logits = draw(5, 3)
    want = brute_force(plain_log_softmax(logits), labels)
    got = losses.ctc(logits, np.array(labels, int))
    np.testing.assert_allclose(got, want, rtol=1e-12)
    gradient = fg.grad(losses.ctc)(logits, np.array(labels, int))
    assert np.isfinite(gradient).all() and (want < np.inf or not gradient.any())


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_is_torchs(torch, blank):
    logits = draw(4, 9, 5)
    kinds = np.array([s for s in range(5) if s != blank])
    labels = kinds[np.random.default_rng(0).integers(0, 4, (4, 3))]
    times, counts = np.array([9, 7, 8, 6]), np.array([3, 2, 0, 3])
    t = torch.tensor(logits, requires_grad=True)
    want = torch.nn.functional.ctc_loss(
        t.log_softmax(-1).transpose(0, 1),
        torch.tensor(labels),
        torch.tensor(times),
        torch.tensor(counts),
        blank,
        "none",
    )
    got = losses.ctc(logits, labels, times, counts, blank=blank, reduction="none")
    np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-11)
    want.sum().backward()
    gradient = fg.grad(lambda x: losses.ctc(x, labels, times, counts, blank=blank, reduction="sum"))(logits)
    np.testing.assert_allclose(gradient, t.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_ctc_is_optaxs(optax):
    logits, labels = np.float32(draw(3, 8, 5)), np.array([[1, 2, 2], [4, 3, 1], [1, 1, 0]])
    times, counts = np.array([8, 6, 8]), np.array([3, 3, 2])
    paddings = (np.arange(8) >= times[:, None]).astype(np.float32), (np.arange(3) >= counts[:, None]).astype(np.float32)
    want = optax.ctc_loss(logits, paddings[0], labels, paddings[1])
    got = losses.ctc(logits, labels, times, counts, reduction="none")
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_ctc_under_transforms():
    logits, labels = draw(2, 5, 3), np.array([[1, 2], [2, 2]])
    times, counts = np.array([5, 4]), np.array([2, 1])
    each = losses.ctc(logits, labels, times, counts, reduction="none")
    np.testing.assert_allclose(fg.vmap(losses.ctc)(logits, labels, times, counts), each, rtol=1e-13)
    np.testing.assert_allclose(fg.jit(losses.ctc)(logits, labels, times, counts), each.mean(), rtol=1e-13)
    check_grads(lambda x: losses.ctc(x, labels, times, counts), (logits,), order=2)
    huge = fg.grad(losses.ctc)(logits * 1e4, labels)
    assert np.isfinite(huge).all()


def test_ctc_messages():
    logits = np.zeros((2, 5, 3))
    with pytest.raises(OperandError, match=r"logits \(2, 5, 3\) and labels \(2,\) do not fit"):
        losses.ctc(logits, np.array([1, 2]))
    with pytest.raises(OperandError, match="labels must not be the blank, 0, but one is 0"):
        losses.ctc(logits, np.array([[1, 0], [1, 1]]))
    with pytest.raises(OperandError, match=r"labels must be from 0 to 2, but labels\[0, 1\] is 3"):
        losses.ctc(logits, np.array([[1, 3], [1, 1]]))
    with pytest.raises(OperandError, match=r"logit_lengths must be from 0 to 5, but logit_lengths\[1\] is 6"):
        losses.ctc(logits, np.array([[1, 2], [1, 1]]), np.array([5, 6]))
    with pytest.raises(OperandError, match=r"label_lengths must be of shape \(2,\), not \(\)"):
        losses.ctc(logits, np.array([[1, 2], [1, 1]]), None, 2)
    with pytest.raises(OperandError, match="blank must be from 0 to 2, not 3"):
        losses.ctc(logits, np.array([[1, 2], [1, 1]]), blank=3)


# Metrics --------------------------------------------------------------------------------------------------------------


def test_metrics():
    logits = np.array([[0.0, 1.0, 0.0], [3.0, 2.0, 1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    labels = np.array([1, 0, 2, 2])
    assert metrics.accuracy(logits, labels) == 0.75 and metrics.error_rate(logits, labels) == 0.25
    assert metrics.accuracy(logits.T, labels, axis=0) == 0.75
    assert metrics.accuracy(logits, labels, where=labels == 2) == 0.5
    assert fg.jit(metrics.accuracy)(np.float32(logits), labels) == 0.75
    with pytest.raises(OperandError, match=r"labels \(2,\) must have the shape \(4,\) of the examples"):
        metrics.accuracy(logits, labels[:2])
    with pytest.raises(OperandTypeError, match="labels must be integers from 0 to 2, not float64"):
        metrics.accuracy(logits, labels * 1.0)


def test_named_calls():
    for labels in (LABELS, np.eye(4)[LABELS]):
        jaxpr = fg.make_jaxpr(lambda h, y=labels: losses.softmax_cross_entropy(h, y))(draw(5, 4))
        found = [e.params["name"] for e in jaxpr.eqns if e.primitive.name == "jit"]
        assert found == ["cross_entropy_of_classes" if labels.ndim == 1 else "cross_entropy_of_distributions"]
    assert nn.losses is losses
