"""Reductions, arguments of extrema and cumulative operations, in one launch and in parts, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from test_kernels import close, floats, numbers, rows_and_columns, wide

from funcgrad_cupy.kernels import launch_reduction
from funcgrad_cupy.kernels.geometry import BLOCKS, parts_of

OPERATIONS = {"Sum": np.sum, "Max": np.max, "Min": np.min, "Product": np.prod}
CUMULATIVE = {
    "Sum": np.cumsum,
    "Max": np.maximum.accumulate,
    "Min": np.minimum.accumulate,
    "Product": np.cumprod,
}


@pytest.fixture(params=["whole", "parts"])
def cut(request, monkeypatch):
    """The same operations once as they are, once cut in parts already at small sizes."""
    if request.param == "parts":
        monkeypatch.setattr(launch_reduction, "_LEAST_OF_ROW", 32)
        monkeypatch.setattr(launch_reduction, "_LEAST_OF_COLUMN", 2)


def launches_of(device, monkeypatch):
    """The names and grids of what is launched from now on."""
    seen, launch = [], device.launch
    monkeypatch.setattr(
        device, "launch", lambda f, name, grid, *rest: (seen.append((name, grid)), launch(f, name, grid, *rest))
    )
    return seen


def test_parts_fill_a_gpu_and_are_never_empty():
    for length in (0, 1, 31, 4096, 8192, 10**6 + 1, 2**33):
        for blocks in (0, 1, 7, 1000, 5000):
            parts, chunk = parts_of(length, blocks, 4096)
            assert 1 <= parts <= BLOCKS and (parts - 1) * chunk < max(length, 1) <= max(parts * chunk, 1)
            assert parts == 1 or (chunk % 32 == 0 and blocks * (parts - 1) < BLOCKS)
    assert parts_of(2**24, 1, 4096)[0] == BLOCKS
    assert parts_of(8191, 1, 4096)[0] == 1


@floats
@rows_and_columns
@pytest.mark.parametrize("op", OPERATIONS)
def test_reductions_of_rows(device, cut, dtype, shape, op):
    x = numbers(shape, dtype)
    close(device.get(launch_reduction.reduce_rows(device, device.put(x), op)), OPERATIONS[op](wide(x), -1), dtype)


@floats
@pytest.mark.parametrize("shape", [(1, 1), (65, 3), (200, 33), (2, 300), (3, 0), (3, 70, 5), (0, 3, 2)], ids=str)
@pytest.mark.parametrize("op", ["Sum", "Max"])
def test_reductions_of_columns(device, cut, dtype, shape, op):
    x = numbers(shape, dtype)
    close(device.get(launch_reduction.reduce_columns(device, device.put(x), op)), OPERATIONS[op](wide(x), -2), dtype)


@floats
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (0, 2), (1, 3), (0, 2, 3), (0, 1, 2, 3)], ids=str)
def test_reductions_of_any_axes(device, cut, dtype, axes):
    x = numbers((3, 5, 2, 35), dtype)
    close(device.get(launch_reduction.reduce(device, device.put(x), "Sum", axes)), wide(x).sum(axes), dtype)


def test_a_large_reduction_fills_the_gpu_in_two_launches(device, monkeypatch):
    if device.mode == "check":
        pytest.skip("as in the other modes, and slow")
    x = numbers(100_003, np.float16)
    seen = launches_of(device, monkeypatch)
    close(device.get(launch_reduction.reduce(device, device.put(x), "Sum", (0,))), wide(x).sum(), np.dtype(np.float16))
    assert seen == [("reduce_rows<__half, float, Sum>", (1, 24)), ("reduce_rows<float, __half, Sum>", (1, 1))]
    seen.clear()
    x = x[:100_000].reshape(10_000, 10)
    close(device.get(launch_reduction.reduce(device, device.put(x), "Sum", (0,))), wide(x).sum(0), np.dtype(np.float16))
    assert seen == [("reduce_columns<__half, float, Sum>", (1, 25)), ("reduce_columns<float, __half, Sum>", (1, 1))]


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
@pytest.mark.parametrize("op", OPERATIONS)
def test_integers_wrap_as_in_numpy(device, cut, dtype, op):
    info = np.iinfo(dtype)
    x = np.random.default_rng(0).integers(info.min, info.max, (3, 70, 2), dtype)
    for axis in (1, 2):
        found = device.get(launch_reduction.reduce(device, device.put(x), op, (axis,)))
        np.testing.assert_array_equal(found, OPERATIONS[op](x, axis).astype(dtype))
    rows = np.ascontiguousarray(x.swapaxes(1, 2))
    found = device.get(launch_reduction.cumulative(device, device.put(rows), op))
    np.testing.assert_array_equal(found, CUMULATIVE[op](rows, axis=-1).astype(dtype))


def test_sums_of_nothing_are_the_identity(device):
    for op, identity in (("Sum", 0), ("Product", 1), ("Max", -np.inf), ("Min", np.inf)):
        found = device.get(launch_reduction.reduce(device, device.put(np.zeros((2, 0), np.float32)), op, (1,)))
        np.testing.assert_array_equal(found, [identity, identity])
        found = device.get(launch_reduction.reduce(device, device.put(np.zeros((0, 2), np.float32)), op, (0,)))
        np.testing.assert_array_equal(found, [identity, identity])


@pytest.mark.parametrize("op", ["Max", "Min"])
def test_extrema_hand_nan_on(device, cut, op):
    x = numbers((3, 70), np.float32)
    x[1, 41], x[2, 3] = np.nan, np.inf
    for axis in (0, 1):
        found = device.get(launch_reduction.reduce(device, device.put(x), op, (axis,)))
        np.testing.assert_array_equal(found, OPERATIONS[op](x, axis))
    found = device.get(launch_reduction.cumulative(device, device.put(x), op))
    np.testing.assert_array_equal(found, CUMULATIVE[op](x, axis=-1))


@floats
@pytest.mark.parametrize("largest", [True, False])
def test_arguments_of_extrema(device, cut, dtype, largest):
    x = np.round(2 * numbers((6, 130), np.float64)).astype(dtype)  # many are equal
    x[4, 77] = x[4, 99] = np.nan
    x[5] = -np.inf
    found = device.get(launch_reduction.arg_extremum(device, device.put(x), largest))
    np.testing.assert_array_equal(found, (np.argmax if largest else np.argmin)(x.astype(np.float64), -1))


@pytest.mark.parametrize("dtype", ["int32", "uint32", "uint64"])
def test_arguments_of_extrema_of_integers(device, cut, dtype):
    info = np.iinfo(dtype)
    x = np.random.default_rng(0).integers(info.min, info.max, (2, 70), dtype)
    x[0, 7] = x[0, 69] = info.max
    x[1, 5] = x[1, 66] = info.min
    for largest, expected in ((True, np.argmax), (False, np.argmin)):
        np.testing.assert_array_equal(
            device.get(launch_reduction.arg_extremum(device, device.put(x), largest)), expected(x, -1)
        )


@floats
@pytest.mark.parametrize("columns", [0, 1, 32, 100, 257, 600])
@pytest.mark.parametrize("op", CUMULATIVE)
def test_cumulative_operations(device, cut, dtype, columns, op):
    x = numbers((2, columns), dtype)
    if op == "Product":
        x = np.sign(x) * np.exp2(np.round(np.sin(np.arange(columns)))).astype(dtype)
    close(device.get(launch_reduction.cumulative(device, device.put(x), op)), CUMULATIVE[op](wide(x), axis=-1), dtype)


def test_a_long_cumulative_sum_is_three_launches(device, monkeypatch):
    if device.mode == "check":
        pytest.skip("as in the other modes, and slow")
    x = numbers(20_000, np.float32)
    seen = launches_of(device, monkeypatch)
    close(
        device.get(launch_reduction.cumulative(device, device.put(x), "Sum")), np.cumsum(wide(x)), np.dtype(np.float32)
    )
    sums = "cumulative<float, Sum>"
    assert seen == [("reduce_rows<float, float, Sum>", (1, 4)), (sums, (1, 1)), (sums, (1, 4))]


@pytest.mark.parametrize("columns", [333, 1000])
def test_the_same_bits_in_every_run_and_at_every_address(device, cut, columns):
    x = numbers(3 * columns + 1, np.float32)
    shifted = device.view(device.put(x), (3, columns), 1)
    found = {device.get(launch_reduction.reduce(device, shifted, "Sum", (1,))).tobytes() for _ in range(2)}
    aligned = device.put(x[1:].reshape(3, columns))
    assert device.pointer(shifted) % 16 and not device.pointer(aligned) % 16
    assert found == {device.get(launch_reduction.reduce(device, aligned, "Sum", (1,))).tobytes()}
