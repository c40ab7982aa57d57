"""Programs of the CUDA back end: one arena, prepared launches, loops without reads; held to NumPy's back end."""

from __future__ import annotations

import threading
from itertools import combinations

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax, nn
from funcgrad_cuda_emu.emulator import KernelError, why_not
from funcgrad_cupy.arena import place
from funcgrad_cupy.device import Kernel
from funcgrad_cupy.recording import Buffer, Launch, Symbol

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture
def backend():
    with fg.use_backend("cuda_emu") as found:
        yield found


@pytest.fixture(params=["fast", "check"])
def watched(request, backend, monkeypatch):
    """The back end in both modes; in the second, what a kernel reads must have been written since its buffer was born."""
    monkeypatch.setattr(backend.on, "mode", request.param)
    return backend


def _host_reads(backend, monkeypatch):
    """The arrays that are read back from the device from here on."""
    read, get = [], backend.on.get
    monkeypatch.setattr(backend.on, "get", lambda x: read.append(x) or get(x))
    return read


def _chain(x, w):
    for _ in range(4):
        x = nn.softmax(fnp.tanh(x @ w)) + x
    return fnp.sum(x, axis=0), x


def test_a_program_with_reused_memory_equals_numpy(watched) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((5, 6)).astype("float32"), rng.standard_normal((6, 6)).astype("float32")
    with fg.use_backend("numpy"):
        want = fg.jit(_chain)(x, w)
    f = fg.jit(_chain)
    for _ in range(2):
        for y, z in zip(f(x, w), want, strict=True):
            np.testing.assert_allclose(y.get(), z, rtol=1e-5)


def test_live_buffers_never_overlap_and_dead_ones_are_used_again(backend) -> None:
    given = np.ones((64, 64), "float32"), np.ones((64, 64), "float32")
    # The value that goes on, its product, and a row's sums: never more, however long the chain is.
    planned = fg.jit(_chain).lower(*given).compile().memory_analysis()
    assert planned.temp_size_in_bytes < 3.1 * 64 * 64 * 4
    rng = np.random.default_rng(1)
    values = [Symbol(Buffer(int(n)), (int(n),), np.uint8) for n in rng.integers(1, 5000, 60)]
    steps = []
    for i in range(len(values)):
        reads = [values[j] for j in rng.integers(max(i - 6, 0), i + 1, 2)]
        steps.append(Launch(Kernel(None, "", "k"), (1,), (1,), (values[i], *reads), 0))
    plan = place(steps)
    alive = {
        v.buffer: [i for i, s in enumerate(steps) if any(x.buffer is v.buffer for x in s.symbols())] for v in values
    }
    for a, b in combinations(alive, 2):
        if alive[a][0] <= alive[b][-1] and alive[b][0] <= alive[a][-1]:
            assert a.start + a.nbytes <= b.start or b.start + b.nbytes <= a.start
    assert plan.size < sum(v.nbytes for v in values) / 2
    assert all(v.buffer.start + v.nbytes <= plan.size for v in values)


def test_results_stay_when_the_program_runs_again(backend) -> None:
    f = fg.jit(lambda x: (x + 1, fnp.cumsum(x * 2)))
    first = f(np.arange(4.0))
    second = f(np.full(4, 7.0))
    np.testing.assert_array_equal(first[0].get(), np.arange(4.0) + 1)
    np.testing.assert_array_equal(first[1].get(), np.cumsum(np.arange(4.0) * 2))
    np.testing.assert_array_equal(second[0].get(), np.full(4, 8.0))


def test_calls_from_threads_have_memory_of_their_own(backend) -> None:
    f = fg.jit(lambda x: fnp.cumsum(fnp.cumsum(x * 2)[::-1] + 1))
    f(np.ones(100))
    wrong = []

    def work(k):
        with fg.use_backend("cuda_emu"):
            for _ in range(5):
                x = np.arange(100.0) * k
                y = f(x).get()
                if not np.array_equal(y, np.cumsum(np.cumsum(x * 2)[::-1] + 1)):
                    wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("width", [3, 5, 8])
@pytest.mark.parametrize("length", [0, 1, 5])
def test_a_scan_reads_nothing_back(watched, monkeypatch, reverse, length, width) -> None:
    def f(h, w, xs):
        def step(h, x):
            h = fnp.tanh(h @ w + x)
            return h, (h, h * x)

        return lax.scan(step, h, xs, reverse=reverse)

    rng = np.random.default_rng(2)
    given = [rng.standard_normal(s).astype("float32") for s in ((width,), (width, width), (length, width))]
    with fg.use_backend("numpy"):
        carry, rows = fg.jit(f)(*given)
    read = _host_reads(watched, monkeypatch)
    got, found = fg.jit(f)(*map(watched.asarray, given))
    assert not read
    np.testing.assert_allclose(got.get(), carry, rtol=1e-5, atol=1e-6)  # a sum of terms of size 1
    for y, z in zip(found, rows, strict=True):
        np.testing.assert_allclose(y.get(), z, rtol=1e-5, atol=1e-6)


def test_a_long_scan_is_a_loop_over_its_launches(backend, monkeypatch) -> None:
    monkeypatch.setattr("funcgrad_cupy.program._MOST_STEPS", 3)
    f = fg.jit(lambda x, xs: lax.scan(lambda c, a: (c * a + 1, c), x, xs))
    carry, rows = f(np.float64(1.0), np.arange(4.0))
    assert float(carry) == 16.0
    np.testing.assert_array_equal(rows.get(), [1.0, 1.0, 2.0, 5.0])


def test_branches_and_loops_between_launches(backend) -> None:
    def f(x, n):
        y = lax.cond(n > 2, lambda a: a * 2, lambda a: fnp.cumsum(a), x)
        return lax.while_loop(lambda c: fnp.sum(c) < 100, lambda c: c * 3, y) + x

    for n in (1, 5):
        x = np.arange(1.0, 5.0)
        y = x * 2 if n > 2 else np.cumsum(x)
        while y.sum() < 100:
            y = y * 3
        np.testing.assert_allclose(fg.jit(f)(x, n).get(), y + x)


def _halved_if_large(x, k):
    """A step that is taken or not, a switch, and a branch within a loop and a branch."""
    x = lax.cond(fnp.sum(x) > 20, lambda a: a / 2, lambda a: a + fnp.sqrt(a - 3), x)
    y = lax.switch(k, [lambda a: a, lambda a: (a * a).astype("float64"), lambda a: fnp.zeros_like(a)], x)
    inner = lambda a: lax.cond(a[0] > 1, lambda b: b * 3, lambda b: b, a)
    y = lax.cond(k > 1, inner, lambda a: a - 1, y)
    return lax.scan(lambda c, a: (lax.cond(c < 2, lambda: c + a, lambda: c), c), 0.0, y)


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_cheap_branches_are_selected_without_a_read(watched, monkeypatch, k, scale) -> None:
    given = np.arange(1.0, 6.0) * scale, np.int64(k)
    with fg.use_backend("numpy"), np.errstate(invalid="ignore"):
        want = fg.tree.leaves(fg.jit(_halved_if_large)(*given))
        slope = fg.jit(fg.grad(lambda x, k: fnp.sum(_halved_if_large(x, k)[1])))(*given)
    program = watched.compile(fg.make_jaxpr(_halved_if_large)(*given))
    assert not any(s.host for s in program.code.segments)
    args = [watched.asarray(x) for x in given]
    read = _host_reads(watched, monkeypatch)
    found = program(*args)
    assert not read
    for y, z in zip(found, want, strict=True):
        np.testing.assert_allclose(y.get(), z, rtol=1e-12)
    back = fg.jit(fg.grad(lambda x, k: fnp.sum(_halved_if_large(x, k)[1])))(*args)
    np.testing.assert_allclose(back.get(), slope, rtol=1e-12)


def test_branches_that_are_not_cheap_stay_a_question(backend) -> None:
    def steps(f, *args):
        return sum(s.host is not None for s in backend.compile(fg.make_jaxpr(f)(*args)).code.segments)

    def of(body, x):
        return steps(lambda x, k: lax.cond(k > 0, body, lambda a: a, x), x, 1)

    x = np.arange(4.0)
    assert of(lambda a: a + 1, x) == 0
    assert of(lambda a: fnp.cumsum(a), x) == 1
    assert of(lambda a: a + 1, np.zeros(1 << 20)) == 1
    assert of(lambda a: a[fnp.astype(a, int)], x) == 1  # an index that is not taken must not raise

    def long(a):
        for _ in range(40):
            a = fnp.sin(a)
        return a

    assert of(long, x) == 1


def test_a_stale_read_of_the_arena_is_found(backend, monkeypatch) -> None:
    monkeypatch.setattr(backend.on, "mode", "check")
    f = fg.jit(lambda x: fnp.cumsum(fnp.cumsum(x * 2)[::-1]))
    x = np.arange(6.0)
    np.testing.assert_array_equal(f(x).get(), np.cumsum(np.cumsum(x * 2)[::-1]))
    code = backend.compile(fg.make_jaxpr(lambda x: fnp.cumsum(fnp.cumsum(x * 2)[::-1]))(x)).code
    code.run([backend.asarray(x)])
    # The launch that writes the first temporary is left out: what the call before left there must not be read.
    segment = code.segments[0]
    code.segments[0] = segment._replace(first=segment.first + 1, births=segment.births[1:])
    for buffer in segment.births[0]:
        segment.births[1].append(buffer)
    with pytest.raises(KernelError, match="uninitialised"):
        code.run([backend.asarray(x)])


def test_an_argument_that_does_not_fit_is_found_when_launches_are_prepared(backend) -> None:
    (function,) = backend.on.load([Kernel("elementwise", None, "copy<unsigned>")])
    with pytest.raises(KernelError, match="takes 3 arguments, not 1"):
        backend.on.verify(function, [None])
    with pytest.raises(KernelError, match="argument 2"):
        backend.on.verify(function, [None, None, np.int32(4)])
