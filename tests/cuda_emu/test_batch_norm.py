"""Batch norm under the emulation, forward and backward, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from test_kernels import TOLERANCES, close, floats, numbers, wide

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import nn
from funcgrad_cupy.kernels import launch_norm

shapes = pytest.mark.parametrize("shape", [(2, 1), (9, 31), (70, 33), (3, 5, 7, 4), (300, 3), (4, 0)], ids=str)


@pytest.fixture(params=["whole", "parts"])
def cut(request, monkeypatch):
    if request.param == "parts":
        monkeypatch.setattr(launch_norm, "_LEAST", 1)


@floats
@shapes
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_and_its_transpose(device, cut, dtype, shape, affine):
    compute = np.dtype(np.float32) if dtype.itemsize < 4 else dtype
    x, ct = numbers(shape, dtype), numbers(shape, dtype, 1)
    gamma, beta = (numbers(shape[-1:], dtype, seed) for seed in (2, 3))
    given = [device.put(p) if affine else None for p in (gamma, beta)]
    dx_ = device.put(x)
    y, mean, variance, scale = launch_norm.batch_normalise(device, dx_, *given, 1e-5)
    flat, axes = wide(x).reshape(np.prod(shape[:-1]), shape[-1]), tuple(range(len(shape) - 1))
    expected_scale = 1 / np.sqrt(flat.var(0) + 1e-5)
    n = (wide(x) - flat.mean(0)) * expected_scale
    g, b = (wide(gamma), wide(beta)) if affine else (1.0, 0.0)
    close(device.get(y), n * g + b, dtype)
    # A mean of values around zero is a sum that cancels.
    np.testing.assert_allclose(device.get(mean), flat.mean(0), atol=TOLERANCES[str(compute)])
    close(device.get(variance), flat.var(0), compute)
    close(device.get(scale), expected_scale, compute)
    dx, dgamma, dbeta = launch_norm.batch_normalise_transposed(device, device.put(ct), dx_, mean, scale, given[0])
    c = wide(ct)
    inner = (c * n).mean(axes)
    wanted = expected_scale * g * (c - c.mean(axes) - n * inner)
    assert np.linalg.norm(wide(device.get(dx)) - wanted) <= TOLERANCES[str(dtype)] * np.linalg.norm(
        expected_scale * g * c
    )
    for found, terms in ((dgamma, c * n), (dbeta, c)):
        assert found.shape == shape[-1:]
        error = TOLERANCES[str(compute)] * np.linalg.norm(terms)
        assert np.linalg.norm(wide(device.get(found)) - terms.sum(axes)) <= error


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e6])
def test_a_mean_far_from_zero_costs_no_variance(device, cut, offset):
    x = (numbers((2000, 3), np.float64) + offset).astype(np.float32)
    _, mean, variance, _ = launch_norm.batch_normalise(device, device.put(x), None, None, 1e-5)
    np.testing.assert_allclose(device.get(mean), wide(x).mean(0), rtol=2e-7, atol=1e-6)
    np.testing.assert_allclose(device.get(variance), wide(x).var(0), rtol=2e-6)


def test_an_outlier_costs_no_variance_either(device, cut):
    x = numbers((2000, 2), np.float32)
    x[0, 0] = x[1999, 1] = 1e6
    _, _, variance, _ = launch_norm.batch_normalise(device, device.put(x), None, None, 1e-5)
    np.testing.assert_allclose(device.get(variance), wide(x).var(0), rtol=1e-5)


def test_nan_stays_in_its_channel(device, cut):
    x = numbers((70, 3), np.float32)
    x[3, 1] = np.nan
    y, mean, variance, _ = map(device.get, launch_norm.batch_normalise(device, device.put(x), None, None, 1e-5))
    for found in (mean, variance, y.sum(0)):
        np.testing.assert_array_equal(np.isnan(found), [False, True, False])


def test_it_is_the_batch_norm_of_nn_with_its_gradient(device):
    x, gamma, beta, ct = (numbers(s, np.float32, i) for i, s in enumerate([(5, 6, 3), (3,), (3,), (5, 6, 3)]))
    state = nn.BatchNormState(np.zeros(3, np.float32), np.ones(3, np.float32))

    def normalised(x, gamma, beta):
        return nn.batch_norm(x, state, gamma, beta, train=True)[0]

    wanted, back = fg.vjp(normalised, x, gamma, beta)
    y, mean, _, scale = launch_norm.batch_normalise(device, device.put(x), device.put(gamma), device.put(beta), 1e-5)
    found = launch_norm.batch_normalise_transposed(
        device, device.put(ct), device.put(x), mean, scale, device.put(gamma)
    )
    for a, b in zip((y, *found), (wanted, *back(fnp.asarray(ct))), strict=True):
        np.testing.assert_allclose(device.get(a), b, rtol=1e-5, atol=1e-5)
