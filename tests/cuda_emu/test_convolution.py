"""Convolution under the emulation, and both of its gradients, against SciPy in float64 and the NumPy back end."""

from __future__ import annotations

import itertools
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernels import BFLOAT16, close, floats, numbers, rounded_to_tf32, wide

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax, nn, tree
from funcgrad.testing import assert_close
from funcgrad_cuda_emu.emulator import EmulatedDevice, why_not
from funcgrad_cupy.kernels import launch_convolution

signal = pytest.importorskip("scipy.signal")


def spread_out(x, by):
    """x with zeros between its elements, along all axes but the first two."""
    y = np.zeros((*x.shape[:2], *(max((n - 1) * d + 1, 0) for n, d in zip(x.shape[2:], by))))
    y[(..., *(slice(None, None, d) for d in by))] = x
    return y


def reference(x, w, strides, padding, lhs_dilation, rhs_dilation, groups):
    """Each plane of the result is a sum of correlations of planes, by SciPy."""
    x, w = spread_out(wide(x), lhs_dilation), spread_out(wide(w), rhs_dilation)
    x = np.pad(x, [(0, 0), (0, 0), *((max(lo, 0), max(hi, 0)) for lo, hi in padding)])
    x = x[(..., *(slice(max(-lo, 0), n - max(-hi, 0)) for (lo, hi), n in zip(padding, x.shape[2:])))]
    places = [max((n - k) // s + 1, 0) for n, k, s in zip(x.shape[2:], w.shape[2:], strides)]
    y = np.zeros((len(x), len(w), *places))
    if y.size and w.size:
        steps = tuple(slice(None, None, s) for s in strides)
        for n, o, c in itertools.product(range(len(x)), range(len(w)), range(w.shape[1])):
            plane = x[n, o // (len(w) // groups) * w.shape[1] + c]
            y[n, o] += signal.correlate(plane, w[o, c], "valid", "direct")[steps]
    return y


def check(device, dtype, x, w, strides, padding, lhs_dilation, rhs_dilation, groups=1):
    x, w = numbers(x, dtype), numbers(w, dtype, 1)
    params = dict(strides=strides, padding=padding, lhs_dilation=lhs_dilation, rhs_dilation=rhs_dilation)
    found = launch_convolution.convolution(device, device.put(x), device.put(w), **params, groups=groups)
    assert found.dtype == dtype
    close(device.get(found), reference(x, w, **params, groups=groups), dtype)


CASES = {
    "plain": ((2, 3, 9, 8), (5, 3, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1)),
    "stride and uneven padding": ((2, 2, 9, 11), (3, 2, 3, 4), (2, 3), ((1, 0), (3, 1)), (1, 1), (1, 1)),
    "filters apart": ((1, 2, 11, 10), (3, 2, 3, 2), (1, 2), ((2, 2), (0, 3)), (1, 1), (3, 2)),
    "input apart": ((2, 2, 4, 5), (3, 2, 3, 3), (1, 1), ((1, 2), (2, 1)), (3, 2), (1, 1)),
    "all apart": ((1, 2, 5, 6), (3, 2, 3, 4), (3, 2), ((2, 5), (4, 4)), (2, 4), (2, 6)),
    "steps that meet no tap": ((1, 1, 5, 6), (2, 1, 2, 1), (2, 1), ((1, 0), (1, 1)), (4, 3), (2, 1)),
    "cut off": ((1, 2, 8, 9), (2, 2, 3, 3), (1, 2), ((-1, -2), (1, -3)), (1, 1), (1, 1)),
    "groups": ((2, 6, 5, 5), (9, 2, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 3),
    "each channel alone": ((2, 5, 6, 5), (10, 1, 3, 2), (2, 1), ((1, 1), (0, 0)), (1, 1), (1, 1), 5),
    "each channel alone, filters as large as images": (
        (2, 30, 9, 9),
        (5, 6, 8, 8),
        (1, 1),
        ((0, 0), (0, 1)),
        (1, 1),
        (1, 1),
        5,
    ),
    "one axis": ((2, 3, 37), (70, 3, 5), (2,), ((2, 2),), (1,), (1,)),
    "no axis": ((3, 5), (4, 5), (), (), (), ()),
    "more than a tile": ((3, 19, 7, 5), (67, 19, 2, 2), (1, 1), ((0, 0), (1, 1)), (1, 1), (1, 1)),
    "filters as large as images": ((3, 4, 11, 9), (66, 4, 9, 8), (1, 1), ((0, 0), (1, 0)), (1, 1), (1, 1)),
    "a depth of many parts": ((2, 70, 7, 9), (3, 70, 5, 9), (1, 1), ((1, 1), (1, 0)), (1, 1), (1, 1)),
    "an empty batch": ((0, 2, 5, 5), (3, 2, 3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1)),
    "no channels": ((2, 0, 5, 5), (3, 0, 3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1)),
    "no taps": ((2, 2, 5), (3, 2, 0), (1,), ((0, 0),), (1,), (1,)),
    "nothing but padding": ((2, 2, 0), (3, 2, 2), (1,), ((2, 1),), (2,), (1,)),
    "a window larger than all": ((1, 1, 2), (1, 1, 5), (1,), ((1, 0),), (1,), (1,)),
}


@pytest.fixture(params=[launch_convolution.NARROW, 0], ids=["few features directly", "always tiles"])
def narrow(monkeypatch, request):
    """Every case runs by tiles too."""
    monkeypatch.setattr(launch_convolution, "NARROW", request.param)


@floats
@pytest.mark.parametrize("case", CASES)
def test_convolution(device, narrow, dtype, case):
    check(device, dtype, *CASES[case])


@pytest.mark.parametrize("case", ["plain", "all apart", "more than a tile", "a depth of many parts"])
def test_factors_of_tf32(monkeypatch, device, case):
    """float32 by tensor cores where it is asked for: the factors are rounded, nothing else is."""
    monkeypatch.setattr(launch_convolution, "NARROW", 0)
    shape_x, shape_w, *params = CASES[case]
    x, w = numbers(shape_x, np.float32), numbers(shape_w, np.float32, 1)
    names = ("strides", "padding", "lhs_dilation", "rhs_dilation", "groups")
    given = dict(zip(names, (*params, 1)))
    found = launch_convolution.convolution(device, device.put(x), device.put(w), **given, tf32=True)
    close(device.get(found), reference(rounded_to_tf32(x), rounded_to_tf32(w), **given), "float32")


@pytest.mark.parametrize("bits", [0x7F800000, 0xFF800000, 0x7FFFFFFF, 0x7F800001, 0x7F7FFFFF], ids=hex)
def test_infinities_and_nans_survive_the_rounding_to_tf32(device, bits):
    x = np.array(bits, np.uint32).view(np.float32).reshape(1, 1)
    found = launch_convolution.convolution(
        device, device.put(x), device.put(np.ones((8, 1), np.float32)), strides=(), padding=(), lhs_dilation=(),
        rhs_dilation=(), groups=1, tf32=True,
    )  # fmt: skip
    # The largest number is nearer to the next power of two than to what tf32 has below it.
    np.testing.assert_array_equal(device.get(found), np.full((1, 8), np.inf if bits == 0x7F7FFFFF else x[0, 0]))


@st.composite
def convolutions(draw):
    """Shapes and parameters of a convolution; now and then the result is empty, or all padding."""
    size, taps = st.sampled_from([5, 7, 4, 9, 8, 6, 2, 1, 0]), st.sampled_from([2, 3, 1, 4, 2, 3, 0])
    few, edge = st.integers(1, 3), st.integers(-1, 4)
    some, more = st.sampled_from([1, 2, 3, 1, 2, 3, 0]), st.sampled_from([1, 2, 3, 9])
    axis = st.tuples(size, taps, few, st.tuples(edge, edge).filter(lambda edges: sum(edges) >= 0), few, few)
    sizes, kernel, strides, padding, lhs_dilation, rhs_dilation = zip(*draw(st.lists(axis, min_size=1, max_size=2)))
    groups, count, channels, features = draw(few), draw(some), draw(some), draw(more)
    x, w = (count, groups * channels, *sizes), (groups * features, channels, *kernel)
    return x, w, strides, padding, lhs_dilation, rhs_dilation, groups


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.parametrize("narrow", [launch_convolution.NARROW, 0], ids=["direct", "tiles"])
@pytest.mark.parametrize("mode", ["fast", "check"])
@settings(deadline=None, max_examples=60)
@given(
    case=convolutions(),
    dtype=st.sampled_from([np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), BFLOAT16]),
)
def test_any_convolution(mode, narrow, case, dtype):
    with mock.patch.object(launch_convolution, "NARROW", narrow):
        check(EmulatedDevice(mode), dtype, *case)


@floats
@pytest.mark.parametrize(
    "case",
    ["stride and uneven padding", "filters apart", "all apart", "cut off", "groups", "each channel alone", "one axis"],
)
def test_gradients_are_convolutions(monkeypatch, device, narrow, dtype, case):
    """What the primitive's rules make of a convolution, on this device and by NumPy in float64."""
    shape_x, shape_w, strides, padding, lhs_dilation, rhs_dilation, *groups = CASES[case]
    x, w = numbers(shape_x, dtype), numbers(shape_w, dtype, 1)

    def f(x, w):
        return lax.conv_general_dilated(x, w, strides, padding, lhs_dilation, rhs_dilation, None, *groups)

    y, vjp = fg.vjp(f, wide(x), wide(w))
    ct = numbers(y.shape, dtype, 2)
    with fg.use_backend("cuda_emu") as backend:
        for setting in ("mode", "order", "seed"):
            monkeypatch.setattr(backend.on, setting, getattr(device, setting))
        _, transposed = fg.vjp(f, backend.asarray(x), backend.asarray(w))
        found = transposed(backend.asarray(ct))
    for got, want in zip(found, vjp(wide(ct)), strict=True):
        assert got.dtype == dtype
        close(got.get(), want, dtype)


def launched(monkeypatch, device):
    """The names of the kernels that a device is asked to run, or to write down, from now on."""
    names, launch = [], device.launch

    def noted(family, name, *args, **more):
        names.append(name)
        launch(family, name, *args, **more)

    monkeypatch.setattr(device, "launch", noted)
    return names


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_training_step_of_two_layers_runs_the_kernel_forward_and_backward(monkeypatch, dtype):
    x = numbers((3, 9, 7, 2), dtype)
    params = {"first": numbers((3, 3, 2, 4), dtype, 1), "second": numbers((2, 3, 2, 6), dtype, 2) / 4}
    y = numbers((3, 6), dtype, 3)

    def loss(p, x, y):
        h = nn.relu(nn.conv(x, p["first"], strides=2, padding="SAME"))
        h = nn.conv(h, p["second"], padding="VALID", groups=2)
        return fnp.mean((fnp.mean(h, axis=(1, 2)) - y) ** 2)

    def step(p, x, y):
        value, gradient = fg.value_and_grad(loss)(p, x, y)
        return tree.map(lambda a, g: a - np.dtype(dtype).type(0.1) * g, p, gradient), value

    want = fg.jit(step)(params, x, y)
    with fg.use_backend("cuda_emu") as backend:
        names = launched(monkeypatch, backend.recorded.on)
        got = fg.jit(step)(params, x, y)
    # Two layers forward, the filters of both and the input of the second one backward.
    assert len([name for name in names if name.startswith("convolution")]) == 5
    assert not any(name.startswith("matmul<") for name in names)
    assert_close(
        tree.map(lambda a: a.get(), got), tree.map(np.asarray, want), rtol=1e-4 if dtype == "float32" else 1e-2
    )


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_three_axes_are_out_of_the_kernels_reach_and_go_through_windows(monkeypatch):
    x, w = numbers((2, 2, 4, 5, 3), "float32"), numbers((3, 2, 2, 3, 2), "float32", 1)
    with fg.use_backend("cuda_emu") as backend:
        names = launched(monkeypatch, backend.on)
        found = lax.conv(x, w, (1, 2, 1), "SAME")
    assert not any(name.startswith("convolution") for name in names)
    close(found.get(), fg.jit(lambda: lax.conv(wide(x), wide(w), (1, 2, 1), "SAME"))(), "float32")


def test_an_axis_whose_indices_need_more_than_32_bits_is_out_of_reach():
    def takes(n, low, dilation):
        x, w = np.broadcast_to(np.float32(0), (1, 1, n)), np.zeros((1, 1, 3), np.float32)
        return launch_convolution.takes(x, w, padding=((low, 0),), lhs_dilation=(dilation,), rhs_dilation=(1,))

    assert takes(2**29, 0, 1)
    assert not takes(2**30, 0, 1)
    assert not takes(2**29, 0, 2)
    assert not takes(10, -(2**30), 1)
