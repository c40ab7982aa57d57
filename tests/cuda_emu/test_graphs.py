"""Programs replayed as graphs: which nodes change when arrays have moved, and what the driver is asked for, with a stand-in."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad_cuda_emu.device import EmulatedGraph
from funcgrad_cuda_emu.emulator import why_not
from funcgrad_cupy.device import Call
from funcgrad_cupy.gpu import CupyDevice
from funcgrad_cupy.graphs import CudaGraph

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture
def backend():
    with fg.use_backend("cuda_emu") as found:
        yield found


@pytest.fixture
def log(monkeypatch):
    """What is done with graphs: how many calls one is made of, which is updated, and launches."""
    found = []
    made, update, launch = EmulatedGraph.__init__, EmulatedGraph.update, EmulatedGraph.launch
    monkeypatch.setattr(
        EmulatedGraph, "__init__", lambda g, d, calls, p: found.append(("made", len(calls))) or made(g, d, calls, p)
    )
    monkeypatch.setattr(EmulatedGraph, "update", lambda g, i, p: found.append(("update", i)) or update(g, i, p))
    monkeypatch.setattr(EmulatedGraph, "launch", lambda g, queue: found.append("launch") or launch(g, queue))
    return found


def _chain(x):
    for _ in range(3):
        x = fnp.cumsum(x * 2)[::-1]
    return x


def _compiled(backend, f, *args):
    return backend.compile(fg.make_jaxpr(f)(*args))


def _want(f, *args):
    with fg.use_backend("numpy"):
        return fg.jit(f)(*args)


X = np.arange(7.0)


def test_a_program_is_a_graph_from_its_second_call_on(backend, log) -> None:
    program, x, want = _compiled(backend, _chain, X), backend.asarray(X), _want(_chain, X)
    count = len(program.code.calls)
    kept = []
    for _ in range(4):
        (y,) = program(x)
        kept.append(y)
        np.testing.assert_array_equal(y.get(), want)
    # The result lies somewhere else each time, and one launch writes it.
    assert count > 3
    assert log == [("made", count), "launch", *[("update", count - 1), "launch"] * 2]


def test_only_nodes_whose_arrays_have_moved_change(backend, log, monkeypatch) -> None:
    program = _compiled(backend, _chain, X)
    x, other, result = backend.asarray(X), backend.asarray(X + 1), backend.asarray(X * 0)
    empty = backend.on.empty
    monkeypatch.setattr(backend.on, "empty", lambda shape, dtype: result if shape == (7,) else empty(shape, dtype))
    count = len(program.code.calls)
    for given in (x, x, x, other, other, x):
        (y,) = program(given)
        np.testing.assert_array_equal(y.get(), _want(_chain, given.get()))
    assert log == [("made", count), "launch", "launch", ("update", 0), "launch", "launch", ("update", 0), "launch"]


def test_a_node_that_is_not_updated_reads_what_was_there(backend, monkeypatch) -> None:
    """What the tests of values stand on: the nodes have their arguments for themselves."""
    program = _compiled(backend, _chain, X)
    given = [backend.asarray(X + i) for i in range(3)]
    program(given[0])
    stale = program(given[1])[0].get()
    monkeypatch.setattr(EmulatedGraph, "update", lambda *args: None)
    assert not np.array_equal(program(given[2])[0].get(), _want(_chain, X + 2))
    np.testing.assert_array_equal(stale, _want(_chain, X + 1))


def test_steps_on_the_host_lie_between_graphs(backend, log) -> None:
    def f(x):
        return fg.pure_callback(lambda a: np.asarray(a) + 1, x, _chain(x)) * _chain(x)[0] + _chain(x)

    program, want = _compiled(backend, f, X), _want(f, X)
    for i in range(3):
        np.testing.assert_array_equal(program(backend.asarray(X))[0].get(), want), i
    sizes = [s.end - s.first for s in program.code.segments]
    assert len(sizes) == 2
    assert [x for x in log if x[0] == "made"] == [("made", n) for n in sizes if n > 1]
    assert log.count("launch") == 2 * sum(n > 1 for n in sizes)


def test_a_training_loop_whose_parameters_move(backend, log) -> None:
    def step(w, x, k):
        def loss(w):
            return fnp.sum(fnp.tanh(x @ w)[k] ** 2)

        value, g = fg.value_and_grad(loss)(w)
        return value, w - 0.1 * g

    rng = np.random.default_rng(0)
    w = want = rng.standard_normal((4, 3))
    x = rng.standard_normal((5, 4))
    f, w, on_device = fg.jit(step), backend.asarray(w), backend.asarray(x)
    for i in range(5):
        k = np.array([i, 0])
        value, w = f(w, on_device, k)
        expected, want = _want(step, want, x, k)
        np.testing.assert_allclose(value.get(), expected, rtol=1e-12)
        np.testing.assert_allclose(w.get(), want, rtol=1e-12)
    assert log.count("launch") == 4
    with pytest.raises(IndexError, match="index 5"):
        f(w, on_device, np.array([5, 0]))
    np.testing.assert_allclose(f(w, on_device, k)[0].get(), _want(step, want, x, k)[0], rtol=1e-12)


def test_graphs_are_switched_off_and_on(backend, log) -> None:
    program, given = _compiled(backend, _chain, X), [backend.asarray(X + i) for i in range(4)]
    program(given[0]), program(given[1])
    log.clear()
    with fg.config(cuda_graphs=False):
        np.testing.assert_array_equal(program(given[2])[0].get(), _want(_chain, X + 2))
    assert not log
    for x in given:
        np.testing.assert_array_equal(program(x)[0].get(), _want(_chain, x.get()))
    assert log.count("launch") == 3


def test_the_environment_says_whether_there_are_graphs(monkeypatch) -> None:
    ask = [sys.executable, "-c", "import funcgrad as fg; print(fg.config.cuda_graphs)"]
    for text, want in (("0", "False"), ("1", "True")):
        monkeypatch.setenv("FUNCGRAD_CUDA_GRAPHS", text)
        assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip() == want
    monkeypatch.setenv("FUNCGRAD_CUDA_GRAPHS", "no")
    assert (
        "FUNCGRAD_CUDA_GRAPHS is 'no'; set it to 0 or 1" in subprocess.run(ask, capture_output=True, text=True).stderr
    )


class Driver:
    """A driver with the functions of graphs, written by ``cuda.h``; handles are numbers."""

    def __init__(self) -> None:
        self.log, self.nodes, self.count = [], {}, 100

    def _new(self, handle) -> int:
        self.count += 1
        handle._obj.value = self.count
        return self.count

    def _kernel(self, params):
        # CUDA_KERNEL_NODE_PARAMS_v2: a pointer, seven unsigned, four bytes between, four pointers more.
        data = ctypes.string_at(ctypes.addressof(params._obj), ctypes.sizeof(params._obj))
        assert len(data) == 72
        function, *sizes = np.frombuffer(data[:8], "u8").tolist() + np.frombuffer(data[8:36], "u4").tolist()
        table, extra, kernel, context = np.frombuffer(data[40:], "u8").tolist()
        assert extra == kernel == context == 0
        return function, sizes, ctypes.c_int64.from_address(ctypes.c_uint64.from_address(table).value).value

    def cuGraphCreate(self, graph, flags) -> int:
        self.log.append(("create", self._new(graph), flags.value))
        return 0

    def _behind(self, before, count):
        return [before[0]] if count.value else []

    def cuGraphAddKernelNode_v2(self, node, graph, before, count, params) -> int:
        self.log.append(("kernel", self._new(node), graph.value, self._behind(before, count), *self._kernel(params)))
        return 0

    def cuGraphAddChildGraphNode(self, node, graph, before, count, child) -> int:
        self.log.append(("child", self._new(node), graph.value, self._behind(before, count), child.value))
        return 0

    def cuGraphInstantiateWithFlags(self, ready, graph, flags) -> int:
        self.log.append(("instantiate", self._new(ready), graph.value, flags.value))
        return 0

    def cuGraphExecKernelNodeSetParams_v2(self, ready, node, params) -> int:
        self.log.append(("set kernel", ready.value, node.value, *self._kernel(params)))
        return 0

    def cuGraphExecChildGraphNodeSetParams(self, ready, node, child) -> int:
        self.log.append(("set child", ready.value, node.value, child.value))
        return 0

    def cuGraphLaunch(self, ready, stream) -> int:
        self.log.append(("launch", ready.value, stream.value))
        return 0

    def cuGraphDestroy(self, graph) -> int:
        self.log.append(("destroy", graph.value))
        return 0

    def cuGraphExecDestroy(self, ready) -> int:
        self.log.append(("destroy ready", ready.value))
        return 0

    def cuStreamCreate(self, stream, flags) -> int:
        self.log.append(("stream", self._new(stream), flags.value))
        return 0

    def cuStreamBeginCapture_v2(self, stream, mode) -> int:
        self.log.append(("begin", stream.value, mode.value))
        return 0

    def cuStreamEndCapture(self, stream, graph) -> int:
        self.log.append(("end", stream.value, self._new(graph)))
        return 0

    def cuStreamDestroy_v2(self, stream) -> int:
        self.log.append(("destroy stream", stream.value))
        return 0


def _kernels():
    """Two kernels and a product between them, each with one argument, and the tables of their addresses."""
    words = np.array([11, 22, 33])
    table = np.array([words.ctypes.data + 8 * i for i in range(3)], np.uint64)
    kernel = SimpleNamespace(ptr=5), SimpleNamespace(ptr=6)
    calls = [
        Call(kernel[0], (2, 1, 1), (32, 8, 1), 0, 0),
        Call("product", None, None, 0, 1),
        Call(kernel[1], (3, 4, 5), (64, 1, 1), 1024, 2),
    ]
    return words, table, calls, [table.ctypes.data + 8 * i for i in range(3)]


def test_what_the_driver_is_asked_for() -> None:
    words, _table, calls, places = _kernels()
    driver, products = Driver(), []
    device = CupyDevice.__new__(CupyDevice)
    device.__dict__["_products"] = SimpleNamespace(start=lambda *args: products.append(args))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("funcgrad_cupy.gpu.load_driver", lambda: driver)
        graph = device.graph(calls, places)
    assert driver.log == [
        ("create", 101, 0),
        ("kernel", 102, 101, [], 5, [2, 1, 1, 32, 8, 1, 0], 11),
        ("stream", 103, 1),
        ("begin", 103, 2),
        ("end", 103, 104),
        ("destroy stream", 103),
        ("child", 105, 101, [102], 104),
        ("destroy", 104),
        ("kernel", 106, 101, [105], 6, [3, 4, 5, 64, 1, 1, 1024], 33),
        ("instantiate", 107, 101, 0),
        ("destroy", 101),
    ]
    assert products == [("product", places[1], 103)]
    driver.log.clear()
    words[:] = 44, 55, 66
    graph.launch(77)
    graph.update(2, places[2])
    graph.update(1, places[1])
    assert driver.log == [
        ("launch", 107, 77),
        ("set kernel", 107, 106, 6, [3, 4, 5, 64, 1, 1, 1024], 66),
        ("stream", 108, 1),
        ("begin", 108, 2),
        ("end", 108, 109),
        ("destroy stream", 108),
        ("set child", 107, 105, 109),
        ("destroy", 109),
    ]
    driver.log.clear()
    del graph
    assert driver.log == [("destroy ready", 107)]


def test_what_the_driver_refuses_is_an_error_and_leaves_nothing_behind() -> None:
    _words, _table, calls, places = _kernels()
    driver = Driver()
    driver.cuGraphAddKernelNode_v2 = lambda *args: 1
    with pytest.raises(RuntimeError, match="cuGraphAddKernelNode_v2 failed with the status 1 of the CUDA driver"):
        CudaGraph(driver, calls, places, lambda *args: None)
    assert driver.log == [("create", 101, 0), ("destroy", 101)]
