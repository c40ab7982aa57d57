"""Work that the threads of the LLVM back end share: the values of NumPy, and the same bits for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite.binding")

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad_llvm import sharing


@pytest.fixture(autouse=True)
def small_work_is_shared(monkeypatch):
    """So that arrays of tests are cut as large ones are."""
    monkeypatch.setattr(sharing, "_WORTH_THREADS", 1)
    monkeypatch.setattr(sharing, "_WORTH_A_CHUNK", 50)


def for_any_number_of_threads(function, *args):
    """What the jitted function gives, and whether it was shared with three threads."""
    with fg.use_backend("llvm"):
        program = fg.jit(function)
        results = []
        for threads in (1, 2, 3, 5):
            with fg.config(num_threads=threads):
                results.append(np.asarray(program(*args)))
        with fg.config(num_threads=3):
            text = fg.jit(function).lower(*args).compile().as_text()
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    return results[0], "@parallel_for" in text


def convolved(x, w, stride):
    """The cross-correlation of images [N, C, H, W] with filters [O, C, h, w]."""
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,ocij->nohw", windows, w)


sizes = st.integers(1, 7)
FEW = settings(max_examples=12, deadline=None)


@FEW
@given(st.lists(sizes, min_size=1, max_size=2), sizes, sizes, sizes, st.sampled_from(["float32", "float64", "int32"]))
def test_batches_of_products(batch, m, k, n, dtype):
    rng = np.random.default_rng(m * n + k)
    a = (4 * rng.standard_normal((*batch, m, k))).astype(dtype)
    b = (4 * rng.standard_normal((*batch, n, k))).astype(dtype)
    found, _ = for_any_number_of_threads(lambda a, b: fnp.einsum("...mk,...nk->...mn", a, b), a, b)
    np.testing.assert_allclose(found, np.einsum("...mk,...nk->...mn", a, b), rtol=1e-4, atol=1e-4)


def test_a_batch_is_shared_and_a_few_large_products_are_cut():
    a = np.ones((6, 20, 30), np.float32)
    assert for_any_number_of_threads(fnp.matmul, a, a.transpose(0, 2, 1).copy())[1]
    a = np.random.default_rng(0).standard_normal((2, 150, 160)).astype(np.float32)
    found, shared = for_any_number_of_threads(fnp.matmul, a, a.transpose(0, 2, 1).copy())
    assert not shared  # but by the products
    np.testing.assert_allclose(found, a @ a.transpose(0, 2, 1), rtol=1e-4, atol=1e-4)


@FEW
@given(st.integers(1, 9), st.sampled_from([(1, 2, 3), (2, 2, 4), (3, 3, 3)]), st.integers(4, 8), st.integers(1, 3),
       st.integers(1, 2))  # fmt: skip
def test_convolutions(images, channels, width, kernel, stride):
    groups, inputs, outputs = channels
    inputs -= inputs % groups
    rng = np.random.default_rng(images)
    x = rng.standard_normal((images, inputs, width, 8))
    w = rng.standard_normal((outputs - outputs % groups, inputs // groups, kernel, kernel))
    strides = (stride, stride)
    found, _ = for_any_number_of_threads(
        lambda x, w: lax.conv_general_dilated(x, w, strides, "VALID", feature_group_count=groups), x, w
    )
    parts = zip(np.split(x, groups, 1), np.split(w, groups))
    np.testing.assert_allclose(found, np.concatenate([convolved(*p, stride) for p in parts], 1), rtol=1e-10, atol=1e-10)


@FEW
@given(st.integers(1, 21), st.integers(1, 3), st.integers(1, 3), st.integers(5, 9), st.booleans())
def test_filters_larger_than_the_result(channels, images, features, width, turned):
    """As in derivatives in the filters; filters whose rows do not lie one behind the other are copied first."""
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((images, channels, width, 9))
    w = rng.standard_normal((features, channels, width - 1, 7))
    given = np.ascontiguousarray(w.transpose(3, 0, 1, 2)) if turned else w

    def convolve(x, w):
        w = fnp.transpose(w, (1, 2, 3, 0)) if turned else w
        return lax.conv_general_dilated(x, w, (1, 1), "VALID")

    found, _ = for_any_number_of_threads(convolve, x, given)
    np.testing.assert_allclose(found, convolved(x, w, 1), rtol=1e-10, atol=1e-10)


def test_convolutions_and_their_derivatives_are_shared():
    rng = np.random.default_rng(0)
    x, w, ct = (rng.standard_normal(s) for s in ((9, 3, 12, 12), (4, 3, 3, 3), (9, 4, 10, 10)))
    convolve = lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "VALID")
    assert for_any_number_of_threads(convolve, x, w)[1]
    dx, dw = (fg.grad(lambda x, w: fnp.sum(ct * convolve(x, w)), i) for i in (0, 1))
    found, shared = for_any_number_of_threads(dw, x, w)
    assert shared
    windows = np.lib.stride_tricks.sliding_window_view(x, (10, 10), (2, 3))
    np.testing.assert_allclose(found, np.einsum("ncijhw,nohw->ocij", windows, ct), rtol=1e-10, atol=1e-10)
    found, _ = for_any_number_of_threads(dx, x, w)
    padded = np.pad(ct, [(0, 0), (0, 0), (2, 2), (2, 2)])
    np.testing.assert_allclose(found, convolved(padded, w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1], 1), rtol=1e-10)


@pytest.mark.parametrize("shape", [(1000,), (13, 77), (3, 5, 64)])
def test_groups_in_more_chunks_than_threads(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    for axis in (None, -1):
        f = (lambda x: fnp.exp(x) * 2) if axis is None else (lambda x: x - fnp.max(x, -1, keepdims=True))
        found, _ = for_any_number_of_threads(f, x)
        np.testing.assert_allclose(found, np.exp(x) * 2 if axis is None else x - x.max(-1, keepdims=True), rtol=1e-12)
