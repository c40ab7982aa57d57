"""The LSTM cell and the persistent loops under the emulation, against nn.rnn and nn.lstm in float64."""

from __future__ import annotations

import numpy as np
import pytest
from test_kernels import SMALLEST, TOLERANCES, floats, numbers, wide

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import nn
from funcgrad_cupy.kernels import launch_recurrent


def near(found, expected, dtype):
    """States and gates are rounded when they are kept: a few roundings more than in one product."""
    found, expected = wide(found), wide(expected)
    assert found.shape == expected.shape
    error = 4 * TOLERANCES[str(dtype)] * np.linalg.norm(expected) + SMALLEST.get(str(dtype), 1e-30) * np.sqrt(
        expected.size
    )
    assert np.linalg.norm(found - expected) <= error


def loop(cell, u, weight, *state):
    """nn's loop, where x is u already: times come first here, batches there."""
    x = fnp.swapaxes(u, 0, 1)
    one = np.eye(u.shape[-1])
    if cell == "Lstm":
        ys, (h, c) = nn.lstm(x, nn.LSTMState(*state), one, weight)
        return fnp.swapaxes(ys, 0, 1), h, c
    ys, h = nn.rnn(x, *state, one, weight, activation=fnp.tanh if cell == "Tanh" else nn.relu)
    return fnp.swapaxes(ys, 0, 1), h


@floats
@pytest.mark.parametrize("cell", ["Tanh", "Relu", "Lstm"])
@pytest.mark.parametrize("time, batch, hidden", [(1, 1, 1), (4, 2, 7), (3, 2, 33), (0, 2, 3), (2, 0, 3)])
def test_a_loop_and_its_transpose(device, dtype, cell, time, batch, hidden):
    gates = 4 if cell == "Lstm" else 1
    u = numbers((time, batch, gates * hidden), dtype)
    weight = (numbers((hidden, gates * hidden), np.float64, 1) / np.sqrt(4 * hidden)).astype(dtype)
    state = [numbers((batch, hidden), dtype, seed) for seed in (2, 3)][: 2 if gates == 4 else 1]
    (*expected,), vjp = fg.vjp(lambda u, *s: loop(cell, u, wide(weight), *s), wide(u), *map(wide, state))
    cts = [numbers((time, batch, hidden), dtype, 4)] + [numbers(s.shape, dtype, 5 + i) for i, s in enumerate(state)]
    transposed = vjp(tuple(map(wide, cts)))
    du, dweight, *dstate = map(device.put, (u, weight, *state))
    dcts, dct_h, *dct_c = map(device.put, cts)
    if cell == "Lstm":
        ys, cs, kept = launch_recurrent.lstm(device, du, dweight, *dstate)
        found = launch_recurrent.lstm_transposed(device, dcts, dct_h, *dct_c, cs, kept, dweight, dstate[1])
        if time:
            near(device.get(cs)[-1], expected[2], dtype)
    else:
        ys = launch_recurrent.rnn(device, du, dweight, *dstate, cell)
        found = launch_recurrent.rnn_transposed(device, dcts, dct_h, ys, dweight, cell)
    near(device.get(ys), expected[0], dtype)
    for f, e in zip(found, transposed, strict=True):
        near(device.get(f), e, dtype)


@pytest.mark.parametrize("cell, hidden", [("Tanh", 120), ("Lstm", 60)])
def test_weights_that_shared_memory_does_not_hold(device, cell, hidden):
    test_a_loop_and_its_transpose(device, np.dtype(np.float32), cell, 2, 1, hidden)


@floats
@pytest.mark.parametrize("batch, hidden", [(1, 1), (3, 33), (0, 4)])
def test_an_lstm_cell_and_its_transpose(device, dtype, batch, hidden):
    z, c = numbers((batch, 4 * hidden), dtype), numbers((batch, hidden), dtype, 1)
    cts = [numbers((batch, hidden), dtype, seed) for seed in (2, 3)]

    def cell(z, c):
        zero = np.zeros((4 * hidden, 4 * hidden))
        _, (h, c_new) = nn.lstm(
            z[:, None], nn.LSTMState(np.zeros((batch, hidden)), c), np.eye(4 * hidden), zero[:hidden]
        )
        return h, c_new

    (h, c_new), vjp = fg.vjp(cell, wide(z), wide(c))
    dz, dc = device.put(z), device.put(c)
    found_h, found_c, gates = launch_recurrent.lstm_cell(device, dz, dc)
    near(device.get(found_h), h, dtype)
    near(device.get(found_c), c_new, dtype)
    found = launch_recurrent.lstm_cell_transposed(device, *map(device.put, cts), gates, dc, found_c)
    for f, e in zip(found, vjp(tuple(map(wide, cts))), strict=True):
        near(device.get(f), e, dtype)


def test_a_saturated_cell_is_finite(device):
    z = np.float32([[-1e4] * 4, [1e4] * 4])
    h, c, _ = launch_recurrent.lstm_cell(device, device.put(z), device.put(np.ones((2, 1), np.float32)))
    np.testing.assert_array_equal(device.get(c), [[0], [2]])
    np.testing.assert_allclose(device.get(h), [[0], [np.tanh(2)]], rtol=1e-6)
