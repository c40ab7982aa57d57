"""The emulation finds planted bugs, names where they are, and does not find any in their fixed twins."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import numpy as np
import pytest

from funcgrad_cuda_emu import emulator
from funcgrad_cuda_emu.emulator import BuildError, EmulatedDevice, KernelError, module_of, rewritten, why_not
from funcgrad_cupy import kernels

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

TEXT = (Path(__file__).parent / "bugs.cu").read_text()

#: The bug; what check mode says; whether the fast mode (barriers, masks, canaries, poison, three orders) finds it too.
BUGS = {
    "missing_barrier": ("race: .*, against|uninitialised: read .* of shared memory", True),
    "missing_barrier_in_loop": ("race: .* of shared memory, against a (read|write) by thread", True),
    "missing_syncwarp": ("race: .*, against|uninitialised: read .* of shared memory", True),
    "half_warp_synchronised": ("race: .*, against|uninitialised: read .* of shared memory", True),
    "ordered_by_shuffle": ("race: .*, against|uninitialised: read .* of shared memory", False),
    "barrier_in_branch": ("divergent barrier: ", True),
    "two_barriers": (
        "divergent barrier: __syncthreads at kernel.cu:.*, while other threads wait in __syncthreads",
        True,
    ),
    "return_before_barrier": ("divergent barrier: ", True),
    "mask_without_caller": ("the mask 0x0000fffe does not name the thread that calls", True),
    "mask_names_ended_lane": ("mask 0xffffffff .*ended", True),
    "lanes_disagree": ("with the mask 0x[5f]+, while thread", True),
    "read_from_absent_lane": (None, True),
    "one_too_far": ("out of bounds: write of 4 bytes at kernel.cu:.*, at byte 256 of array 2 ", True),
    "read_far_away": ("out of bounds: read of 4 bytes .* thread \\(7,0,0\\)", None),
    "negative_index": ("out of bounds: read of 4 bytes at kernel.cu:.*, at byte -4 of array 1 ", False),
    "shared_too_far": ("out of bounds: write of 4 bytes .* of shared memory of 256 bytes", True),
    "misaligned_vector": ("misaligned", True),
    "uninitialised_shared": ("uninitialised: read of 4 bytes .*thread \\(8,0,0\\)", True),
    "uninitialised_global": ("uninitialised: read of 4 bytes .* of array 2 ", True),
    "race_between_blocks": ("race between blocks: .* of block \\(", True),
    "output_not_written": ("unwritten: element 60 of array 2 ", True),
    "atomic_and_plain": ("race: ", False),
    "shift_too_far": ("undefined behaviour: a shift ", None),
    "index_overflows": ("undefined behaviour: a signed product overflows at kernel.cu", False),
    "local_array_too_short": ("undefined behaviour: an index outside of an array at kernel.cu", None),
    "division_by_zero": ("undefined behaviour: a division by zero", None),
    "too_much_shared": ("49156 bytes of static shared memory, but a block has 49152", True),
    "order_of_threads": (None, True),
}
NAMES = tuple(
    f"{bug}<{fixed}>" for bug in [*BUGS, "unpadded_transpose", "column_by_column"] for fixed in ("false", "true")
)
X = np.linspace(1, 2, 64, dtype=np.float32)


def run(device, name):
    module = module_of(TEXT, NAMES, device.mode)
    x, y = device.put(X), device.empty(64, np.float32)
    blocks = 2 if name == "race_between_blocks<false>" else 1
    device.launch_module(module, name, (blocks,), (64,), [y, x], 0)
    return device.get(y)


@pytest.mark.parametrize("bug", BUGS)
def test_check_mode_finds_the_bug_and_its_line(bug):
    said, _ = BUGS[bug]
    if said is None:
        assert three_orders(bug, "false") is None  # nothing is wrong but the numbers
        return
    with pytest.raises(KernelError, match=said) as caught:
        run(EmulatedDevice("check"), f"{bug}<false>")
    message = str(caught.value)
    if "unwritten" not in message:
        assert re.search(r"\[block \(\d+,0,0\) thread \(\d+,0,0\)\]", message)
    for line in re.findall(r"kernel\.cu:(\d+)", message):
        before = "\n".join(TEXT.splitlines()[: int(line)])
        assert before.rsplit("__global__ void ", 1)[1].startswith(bug), f"line {line} is not in {bug}"


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.parametrize("order", ["up", "shuffled"])
def test_the_fixed_twin_is_clean(bug, order):
    assert np.isfinite(run(EmulatedDevice("check", order, seed=5), f"{bug}<true>")).all()


def three_orders(bug, fixed):
    """The result that three orders agree on, or None."""
    results = [run(EmulatedDevice("fast", order, seed=5), f"{bug}<{fixed}>") for order in ("up", "down", "shuffled")]
    good = all(np.array_equal(results[0], r) for r in results[1:]) and np.isfinite(results[0]).all()
    return results[0] if good else None


@pytest.mark.parametrize("bug", [bug for bug, (_, fast) in BUGS.items() if fast is not None])
def test_what_the_fast_mode_finds(bug):
    try:
        found = three_orders(bug, "false") is None
        expected = three_orders(bug, "true")
    except KernelError:
        found, expected = True, X
    if not found and bug == "misaligned_vector":
        found = not np.array_equal(three_orders(bug, "false"), expected)
    assert found == BUGS[bug][1]
    assert three_orders(bug, "true") is not None


@pytest.mark.parametrize(
    "name, kind, slow",
    [("unpadded_transpose", "shared read", 32.0), ("column_by_column", "global read", 8.0)],
)
def test_the_profile_shows_what_a_request_costs(name, kind, slow):
    module = module_of(TEXT, NAMES, "profile")
    per_request = []
    for fixed in ("false", "true"):
        device = EmulatedDevice("profile")
        x, y = device.put(np.zeros(1024, np.float32)), device.empty(1024, np.float32)
        device.launch_module(module, f"{name}<{fixed}>", (1,), (32, 32), [y, x], 0)
        (cost,) = [c for (_, k), c in device.profile.items() if k == kind]
        assert (cost.requests, cost.lanes) == (32, 1024)
        per_request.append(cost.cost / cost.ideal)
    assert per_request == [slow, 1.0]


@pytest.mark.parametrize(
    "args, said",
    [
        (lambda d: [d.put(X)], "takes 2 arguments, not 1"),
        (lambda d: [d.put(X), np.float32(1)], "argument 1 .* is of kind 'p'|argument 1 .*parameter is of kind 'p'"),
        (lambda d: [d.put(X), d.put(X.astype(np.float64))], "argument 1 .* an array of float64, .* 4 bytes"),
    ],
)
def test_arguments_are_checked(args, said):
    device = EmulatedDevice()
    module = module_of(TEXT, NAMES, "fast")
    with pytest.raises(KernelError, match=said):
        device.launch_module(module, "missing_barrier<true>", (1,), (64,), args(device), 0)


@pytest.mark.parametrize(
    "grid, block, shared, said",
    [
        ((0,), (64,), 0, "a grid of \\(0, 1, 1\\) blocks"),
        ((1, 70000), (64,), 0, "a grid of \\(1, 70000, 1\\)"),
        ((1,), (1025,), 0, "a block of \\(1025, 1, 1\\) threads"),
        ((1,), (64,), 228 << 10, "of dynamic shared memory, but a block has 232448"),
        ((1,), (33,), 0, "names lane 1, but the warp has 1 threads"),
    ],
)
def test_launches_are_checked(grid, block, shared, said):
    device = EmulatedDevice()
    module = module_of(TEXT, NAMES, "fast")
    with pytest.raises(KernelError, match=said):
        device.launch_module(
            module, "missing_syncwarp<true>", grid, block, [device.empty(64, "f4"), device.put(X)], shared
        )


def test_shared_declarations_that_the_emulation_cannot_read_are_errors():
    with pytest.raises(BuildError, match="line 2: write one __shared__ variable"):
        rewritten("\n__shared__ int a[2], b[3];\n")


def test_a_text_that_does_not_compile_shows_what_the_compiler_said():
    with pytest.raises(BuildError, match=r"kernel\.cu:1:.*undeclared_name"):
        EmulatedDevice().launch_text("__global__ void k(float *x) { *x = undeclared_name; }", "k", (1,), (1,), [])


def test_threads_that_build_one_kernel_do_not_meet(tmp_path, monkeypatch):
    """Each writes a file of its own, and the last that is done puts its own in the place of the others'."""
    emulator._runtime(), emulator._header("fast")  # these stay where they are
    monkeypatch.setattr(emulator, "_cache_folder", lambda: tmp_path)
    text = '#include "prelude.cuh"\n__global__ void one(float *y) { y[0] = 1; }\n'
    start, wrong = threading.Barrier(4), []

    def build():
        start.wait()
        try:
            device = EmulatedDevice("fast")
            y = device.empty((1,), np.float32)
            module = emulator.Module("kernel.cu", {**kernels.headers(), "kernel.cu": text}, ["one"], "fast")
            device.launch_module(module, "one", (1,), (1,), [y], 0)
            np.testing.assert_array_equal(y.numpy(), 1)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and not list(tmp_path.glob("*.tmp"))
