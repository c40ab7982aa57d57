"""Sorting of short rows under the emulation, against NumPy's stable sort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernels import BFLOAT16

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad_cuda_emu.device import Emulation
from funcgrad_cuda_emu.emulator import why_not
from funcgrad_cupy.kernels import launch_sort

DTYPES = [
    *map(np.dtype, ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")),
    *map(np.dtype, ("float16", "float32", "float64")),
    BFLOAT16,
]


def some(shape, dtype, seed=0):
    """Elements of which many are equal, with the extremes of the dtype; NaN, zeros of both signs and infinities."""
    rng = np.random.default_rng(seed)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.choice(np.array([info.min, info.max, 0, 1, 2, 3, info.max // 2], dtype), shape)
    special = np.array([np.nan, -np.nan, 0.0, -0.0, np.inf, -np.inf, 1.5, -1.5, 3.0, 2.0**-20])
    return rng.choice(special, shape).astype(dtype)


def expected_order(x):
    return np.argsort(x.astype(np.float64) if x.dtype == BFLOAT16 else x, -1, stable=True)


def check(device, x):
    order, given_x = expected_order(x), device.put(x)
    np.testing.assert_array_equal(device.get(launch_sort.sort_rows(device, given_x, places=True)), order)
    # The same bits: -0 before 0 where it was so, and each NaN as it was.
    bits = np.dtype(f"u{x.dtype.itemsize}")
    found = device.get(launch_sort.sort_rows(device, given_x, places=False))
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(found.view(bits), np.take_along_axis(x, order, -1).view(bits))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (70, 3), (5, 31), (3, 32), (2, 200), (2, 0), (0, 4)], ids=str)
def test_rows_are_sorted_stably(device, dtype, shape):
    check(device, some(shape, dtype))


@pytest.mark.parametrize("dtype", [np.dtype(np.uint8), BFLOAT16, np.dtype(np.float32), np.dtype(np.int64)], ids=str)
def test_the_longest_rows(device, dtype):
    if device.mode == "check" or device.order != "shuffled":
        pytest.skip("slow; the network is the same at every size")
    longest = launch_sort.longest_row(dtype)
    assert longest == {1: 16384, 2: 8192, 4: 8192, 8: 4096}[dtype.itemsize]
    check(device, some((1, longest - 1), dtype))


@pytest.mark.slow
@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(1, 70), st.sampled_from(DTYPES), st.booleans(), st.integers(0, 2**31))
def test_any_rows(rows, columns, dtype, checked, seed):
    check(Emulation("check" if checked else "fast", "shuffled", seed), some((rows, columns), dtype, seed))


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_the_back_end_sorts_short_rows_by_the_kernel_and_long_ones_by_the_library(monkeypatch):
    x = some((3, 40, 2), np.dtype(np.float32))
    with fg.use_backend("cuda_emu") as backend:
        families, launch = [], backend.on.launch
        monkeypatch.setattr(
            backend.on, "launch", lambda family, *rest: (families.append(family), launch(family, *rest))
        )
        for axis in range(3):
            np.testing.assert_array_equal(fnp.sort(x, axis=axis).get(), np.sort(x, axis))
            np.testing.assert_array_equal(
                fnp.argsort(x, axis=axis, stable=True).get(), np.argsort(x, axis, stable=True)
            )
        assert families.count("sort") == 6
        long = np.arange(9000.0)[::-1].copy()
        np.testing.assert_array_equal(fg.jit(fnp.sort)(long).get(), long[::-1])
        assert families.count("sort") == 6


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.parametrize("count", [100, 5000])
def test_updates_in_the_order_of_their_places(count):
    places = np.random.default_rng(0).integers(0, 7, count)
    with fg.use_backend("cuda_emu"):
        added = fg.jit(lambda i: fnp.zeros(7, "float32").at[i].add(1))(places)
        last = fg.jit(lambda i: fnp.zeros(7).at[i].set(fnp.arange(float(count))))(places)
    np.testing.assert_array_equal(added.get(), np.bincount(places, minlength=7).astype("float32"))
    np.testing.assert_array_equal(last.get(), [np.flatnonzero(places == p)[-1] for p in range(7)])
