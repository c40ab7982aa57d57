"""Indices that programs of the CUDA back end check on the device: what is computed, how often is waited, what is raised and when."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad_cuda_emu.emulator import why_not
from funcgrad_cupy.faults import Board
from funcgrad_cupy.gpu import CupyDevice
from funcgrad_cupy.recording import HostStep

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(params=["fast", "check"])
def backend(request, monkeypatch):
    with fg.use_backend("cuda_emu") as found:
        monkeypatch.setattr(found.on, "mode", request.param)
        yield found
        found.on.boards.clear()


@pytest.fixture
def late(monkeypatch):
    """A device that has not come to the launches yet when a call ends: nothing is noted before the host waits."""
    look, waited = Board.look, []
    monkeypatch.setattr(Board, "look", lambda board: look(board) if waited else None)
    return waited


X = np.arange(12, dtype="float32").reshape(4, 3)
FUNCTIONS = {
    "gather": lambda x, k: x[fnp.stack([k, 0 * k, -1 - 0 * k])] * 2,
    "gather of two axes": lambda x, k: x[k + fnp.arange(2), fnp.arange(2)],
    "scatter": lambda x, k: fg.grad(lambda x: fnp.sum(x[fnp.stack([k, k, 1 + 0 * k])] ** 2))(x),
    "set": lambda x, k: fnp.at(x)[fnp.stack([k, 1 + 0 * k])].set(x[:2] * 10),
    "window": lambda x, k: lax.dynamic_slice(x, (k, 1), (2, 2)),
    "window that is written": lambda x, k: lax.dynamic_update_slice(x, x[1:3, 1:] * 10, (k, 1)),
    "window in a scan": lambda x, k: lax.scan(
        lambda c, i: (c + lax.dynamic_slice(x, (i, 0), (2, 3)), c[0]), x[:2], k + fnp.arange(2)
    ),
    "gather in a scan": lambda x, k: lax.scan(lambda c, i: (c + x[i], c), x[0], fnp.stack([0 * k, k])),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_program_with_indices_is_launches_alone(backend, monkeypatch, name) -> None:
    f, k = FUNCTIONS[name], np.int64(1)
    with fg.use_backend("numpy"):
        want = fg.tree.leaves(fg.jit(f)(X, k))
    program = backend.compile(fg.make_jaxpr(f)(X, k))
    given = backend.asarray(X), backend.asarray(k)
    read, get = [], backend.on.get
    monkeypatch.setattr(backend.on, "get", lambda x: read.append(x) or get(x))
    monkeypatch.setattr(backend.on, "synchronise", lambda: read.append("waited"))
    for _ in range(2):
        got = program(*given)
        assert not read
        for y, z in zip(got, want, strict=True):
            np.testing.assert_array_equal(y.get(), z)
    assert not any(s.host for s in program.code.segments)


WRONG = {
    "gather": (4, "index 4 is out of bounds for axis 0 with size 4"),
    "gather of two axes": (-6, "index -6 is out of bounds for axis 0 with size 4"),
    "scatter": (9, "index 9 is out of bounds for axis 0 with size 4"),
    "set": (-5, "index -5 is out of bounds for axis 0 with size 4"),
    "window": (3, "a block of size 2 that starts at 3 does not fit into axis 0, which has size 4"),
    "window that is written": (-1, "a block of size 2 that starts at -1 does not fit into axis 0, which has size 4"),
    "window in a scan": (2, "a block of size 2 that starts at 3 does not fit into axis 0, which has size 4"),
    "gather in a scan": (7, "index 7 is out of bounds for axis 0 with size 4"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_fault_is_raised_when_the_host_next_waits(backend, late, name) -> None:
    wrong, message = WRONG[name]
    f = fg.jit(FUNCTIONS[name])
    first = fg.tree.leaves(f(X, np.int64(wrong)))[0]
    late.append("from here on")
    with pytest.raises(IndexError) as error:
        backend.to_numpy(first)
    assert str(error.value) == message
    # It is raised once, and the program is as good as before.
    with fg.use_backend("numpy"):
        want = fg.tree.leaves(fg.jit(FUNCTIONS[name])(X, np.int64(1)))
    for y, z in zip(fg.tree.leaves(f(X, np.int64(1))), want, strict=True):
        np.testing.assert_array_equal(backend.to_numpy(y), z)


@pytest.mark.parametrize("name", WRONG)
def test_a_fault_is_raised_at_the_end_of_the_call_if_it_is_known_by_then(backend, name) -> None:
    wrong, message = WRONG[name]
    with pytest.raises(IndexError) as error:
        fg.jit(FUNCTIONS[name])(X, np.int64(wrong))
    assert str(error.value) == message


def test_a_later_call_of_any_program_raises(backend, late) -> None:
    fg.jit(FUNCTIONS["gather"])(X, np.int64(4))
    late.append("from here on")
    with pytest.raises(IndexError, match="index 4"):
        fg.jit(lambda x: x + 1)(X)


def test_waiting_raises_and_ends_the_watch(backend, late) -> None:
    f = fg.jit(FUNCTIONS["gather"])
    f(X, np.int64(1))
    assert len(backend.on.boards) == 1
    backend.synchronise()
    assert not backend.on.boards
    f(X, np.int64(4))
    late.append("from here on")
    with pytest.raises(IndexError, match="index 4"):
        backend.synchronise()
    assert not backend.on.boards


def test_the_first_fault_of_a_program_is_named(backend) -> None:
    def f(x, i, j):
        return lax.dynamic_slice(x[i], (j, 0), (1, 3)) + x[j]

    with pytest.raises(IndexError, match="index -7 is"):
        fg.jit(f)(X, np.array([0, -7, 5, 8]), np.int64(6))


def test_what_cannot_be_read_is_nan(backend, late) -> None:
    y = fg.jit(lambda x, i: x[i])(X, np.array([3, 4]))
    np.testing.assert_array_equal(y.get(), [X[3], [np.nan] * 3])
    y = fg.jit(lambda x, k: lax.dynamic_slice(x, (k, 0), (1, 3)))(X, np.int64(4))
    np.testing.assert_array_equal(y.get(), [[np.nan] * 3])


def test_a_step_on_the_host_does_not_see_what_a_fault_has_left(backend) -> None:
    seen = []

    def f(x, i):
        y = fg.pure_callback(lambda a: seen.append(a) or a, x[i], x[i])
        return y * 2

    f = fg.jit(f)
    np.testing.assert_array_equal(f(X, np.array([1])).get(), 2 * X[[1]])
    seen.clear()
    with pytest.raises(IndexError, match="index 4"):
        f(X, np.array([4]))
    assert not seen


def test_no_element_is_read_and_the_index_is_checked(backend) -> None:
    empty = np.zeros((4, 0), "float32")
    assert fg.jit(lambda x, i: x[i])(empty, np.array([3])).shape == (1, 0)
    with pytest.raises(IndexError, match="index 4"):
        fg.jit(lambda x, i: x[i])(empty, np.array([4]))
    with pytest.raises(IndexError, match="starts at 5"):
        fg.jit(lambda x, k: lax.dynamic_slice(x, (k, 0), (0, 3)))(X, np.int64(5))


def test_memory_that_the_gpu_writes_is_the_hosts() -> None:
    """What CuPy is asked for: pinned memory, and an array of the device at its address."""
    memory = (ctypes.c_int64 * 3)(7, 7, 7)
    made = CupyDevice.__new__(CupyDevice)

    class Pinned(bytearray):
        ptr = 0x1000

    owned = []
    made.cupy = SimpleNamespace(
        ndarray=lambda shape, dtype, memptr: (shape, dtype, memptr),
        cuda=SimpleNamespace(
            alloc_pinned_memory=lambda n: Pinned(bytes(memory)[:n]),
            UnownedMemory=lambda ptr, size, owner, device: owned.append((ptr, size, device)) or "memory",
            MemoryPointer=lambda memory, offset: (memory, offset),
            Device=lambda: SimpleNamespace(id=2),
        ),
    )
    array, seen = made.pinned(3)
    assert array == ((3,), np.int64, ("memory", 0)) and owned == [(0x1000, 24, 2)]
    np.testing.assert_array_equal(seen, 0)


@pytest.mark.parametrize("count", [4095, 4096, 4097, 8192, 8193, 20000])
def test_scatters_of_many_updates_are_launches_too(backend, count) -> None:
    """Places beyond what one block sorts: rows are sorted and merged, and of equal places the last update stays."""
    rng = np.random.default_rng(count)
    x, at = np.zeros(50, "float32"), rng.integers(-50, 50, count)
    updates = np.arange(count, dtype="float32")

    def f(x, at, updates):
        return fnp.at(x)[at].set(updates), fnp.at(x)[at].add(updates % 7)

    program = backend.compile(fg.make_jaxpr(f)(x, at, updates))
    assert not any(s.host for s in program.code.segments)
    last, total = program(*map(backend.asarray, (x, at, updates)))
    want, summed = x.copy(), x.copy()
    want[at] = updates
    np.add.at(summed, at, updates % 7)
    np.testing.assert_array_equal(last.get(), want)
    np.testing.assert_array_equal(total.get(), summed)  # whole numbers that float32 has


def test_steps_of_the_host_are_told_apart(backend) -> None:
    """The counts above are of something: a callback is a step."""
    program = backend.compile(fg.make_jaxpr(lambda x: fg.pure_callback(lambda a: a, x, x))(X))
    assert isinstance(program.code.segments[0].host, HostStep)
