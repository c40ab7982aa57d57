"""Products of matrices: by the kernel, as steps of programs, and what cuBLASLt is asked for, with a stand-in that does it."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad_cuda_emu.device import Emulation
from funcgrad_cuda_emu.emulator import why_not
from funcgrad_cupy.cublaslt import CublasLt, Product
from funcgrad_cupy.cuda import CudaBackend
from funcgrad_cupy.gpu import CupyDevice
from funcgrad_cupy.kernels import launches
from funcgrad_cupy.recording import Multiply

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

DTYPES = {0: "float32", 1: "float64", 2: "float16"}


class Library:
    """A library with cuBLASLt's functions, which are written by its header: matrices lie by columns."""

    def __init__(self, workspace: int = 1024, algorithms: int = 1) -> None:
        self.objects: list = []
        self.workspace, self.algorithms = workspace, algorithms
        self.heuristics, self.products, self.live = [], [], 0

    def _new(self, handle, **fields) -> int:
        self.objects.append(SimpleNamespace(attributes={}, **fields))
        handle._obj.value = len(self.objects)
        return 0

    def _of(self, handle):
        return self.objects[handle.value - 1]

    def cublasLtCreate(self, handle) -> int:
        return self._new(handle)

    def cublasLtMatmulDescCreate(self, handle, compute, scale) -> int:
        return self._new(handle, compute=compute.value, scale=scale.value)

    def cublasLtMatrixLayoutCreate(self, handle, dtype, rows, columns, leading) -> int:
        return self._new(
            handle, dtype=DTYPES[dtype.value], rows=rows.value, columns=columns.value, leading=leading.value
        )

    def cublasLtMatmulPreferenceCreate(self, handle) -> int:
        self.live += 1
        return self._new(handle)

    def cublasLtMatmulPreferenceDestroy(self, handle) -> int:
        self.live -= 1
        return 0

    def _set(self, handle, attribute, value, size) -> int:
        assert ctypes.sizeof(value._obj) == size.value
        self._of(handle).attributes[attribute.value] = value._obj.value
        return 0

    cublasLtMatmulDescSetAttribute = cublasLtMatrixLayoutSetAttribute = cublasLtMatmulPreferenceSetAttribute = _set

    def cublasLtMatmulAlgoGetHeuristic(self, handle, *args) -> int:
        *descriptions, preference, wanted, found, count = args
        assert wanted.value == 1
        self.heuristics.append([*map(self._of, descriptions), self._of(preference)])
        found._obj.algorithm[0], found._obj.workspace, count._obj.value = 99, self.workspace, self.algorithms
        return 0

    def _matrices(self, address, layout):
        """The stack that is at an address, as an array (batch, rows, columns)."""
        batch, offset = layout.attributes.get(5, 1), layout.attributes.get(6, 0)
        dtype = np.dtype(layout.dtype)
        size = (batch - 1) * offset + layout.leading * layout.columns
        memory = np.frombuffer((ctypes.c_char * (size * dtype.itemsize)).from_address(address), dtype)
        strides = (offset, 1, layout.leading)
        return np.lib.stride_tricks.as_strided(
            memory, (batch, layout.rows, layout.columns), [s * dtype.itemsize for s in strides], writeable=True
        )

    def cublasLtMatmul(self, handle, description, one, a, la, b, lb, zero, c, lc, d, ld, found, work, size, stream):
        assert one._obj.value == 1 and zero._obj.value == 0 and c.value == d.value and lc is ld
        assert found._obj.algorithm[0] == 99 and size.value == self.workspace and work.value % 256 == 0
        ctypes.memset(work.value, 0xA5, size.value)  # it is the library's to write into
        given = self._of(description)
        x, y, out = (self._matrices(p.value, self._of(layout)) for p, layout in ((a, la), (b, lb), (d, ld)))
        x, y = (z.swapaxes(1, 2) if given.attributes[i] else z for z, i in ((x, 3), (y, 4)))
        out[...] = x.astype("float64") @ y.astype("float64")
        self.products.append(stream.value)
        return 0


class WithLibrary(Emulation):
    """The emulation with products of the library in the place of launches."""

    library_products = True

    def __init__(self, library) -> None:
        super().__init__()
        self.products = CublasLt(library)

    def prepare(self, product):
        return self.products.prepare(product)

    def start_product(self, prepared, parameters) -> None:
        self.products.start(prepared, parameters, 7)


CASES = [(1, 3, 4, 5), (1, 1, 7, 1), (3, 4, 2, 6), (2, 33, 17, 40)]


@pytest.mark.parametrize("x_transposed", [False, True])
@pytest.mark.parametrize("y_transposed", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("sizes", CASES)
def test_the_library_is_asked_for_the_product(sizes, dtype, x_transposed, y_transposed) -> None:
    batch, m, n, k = sizes
    rng = np.random.default_rng(0)
    stack = (batch,) if batch > 1 else ()
    x = rng.integers(-3, 4, (*stack, *((k, m) if x_transposed else (m, k)))).astype(dtype)
    y = rng.integers(-3, 4, (*stack, *((n, k) if y_transposed else (k, n)))).astype(dtype)
    want = (x.swapaxes(-1, -2) if x_transposed else x) @ (y.swapaxes(-1, -2) if y_transposed else y)
    library = Library()
    device = WithLibrary(library)
    got = device.matmul(device.put(x), device.put(y), x_transposed, y_transposed)
    np.testing.assert_array_equal(got.numpy(), want)
    ((description, *layouts, preference),) = library.heuristics
    assert (description.compute, description.scale) == ((70, 1) if dtype == "float64" else (68, 0))
    assert {layout.dtype for layout in layouts} == {dtype}
    assert preference.attributes == {1: 32 << 20, 5: 16, 6: 16, 7: 16, 8: 16} and not library.live
    assert library.products == [7]


@pytest.mark.parametrize("x_transposed", [False, True])
@pytest.mark.parametrize("y_transposed", [False, True])
@pytest.mark.parametrize("sizes", CASES)
def test_the_kernel_takes_transposed_operands(device, sizes, x_transposed, y_transposed) -> None:
    batch, m, n, k = sizes
    rng = np.random.default_rng(1)
    x = rng.integers(-3, 4, (batch, *((k, m) if x_transposed else (m, k)))).astype("float32")
    y = rng.integers(-3, 4, (batch, *((n, k) if y_transposed else (k, n)))).astype("float32")
    want = (x.swapaxes(1, 2) if x_transposed else x) @ (y.swapaxes(1, 2) if y_transposed else y)
    got = launches.matmul(device, device.put(x), device.put(y), x_transposed, y_transposed)
    np.testing.assert_array_equal(device.get(got), want)


def test_heuristics_are_asked_once_for_a_product_and_an_alignment() -> None:
    library = Library()
    device = WithLibrary(library)
    x, row = device.put(np.ones((4, 4), "float32")), device.put(np.ones(17, "float32"))
    for _ in range(2):
        device.matmul(x, x)
        np.testing.assert_array_equal(device.matmul(x, device.view(row, (4, 4), 1)).numpy(), np.full((4, 4), 4.0))
    assert [h[-1].attributes[5] for h in library.heuristics] == [16, 4]


def test_what_the_library_has_no_algorithm_for_is_an_error() -> None:
    product = Product("float32", 1, 2, 3, 4, False, False, 16)
    with pytest.raises(RuntimeError, match=r"cuBLAS has no algorithm for Product\(dtype='float32', batch=1, m=2"):
        CublasLt(Library(algorithms=0)).prepare(product)
    library = Library()
    library.cublasLtMatrixLayoutCreate = lambda *args: 7
    with pytest.raises(RuntimeError, match="cublasLtMatrixLayoutCreate failed with the status 7"):
        CublasLt(library).prepare(product)


def test_empty_products_ask_for_nothing() -> None:
    library = Library()
    device = WithLibrary(library)
    empty, full = device.put(np.ones((3, 0), "float32")), device.put(np.ones((0, 2), "float32"))
    np.testing.assert_array_equal(device.matmul(empty, full).numpy(), np.zeros((3, 2)))
    assert device.matmul(full, device.put(np.ones((2, 5), "float32"))).shape == (0, 5)
    assert not library.products


def _step(w, x, labels):
    """A step of training: two layers, cross entropy with labels that are indices, momentum of the weights."""

    def loss(w):
        h = fnp.maximum(x @ w["a"] + w["b"], 0) @ w["c"]
        h = h - fnp.max(h, axis=1, keepdims=True)
        logs = h - fnp.log(fnp.sum(fnp.exp(h), axis=1, keepdims=True))
        return -fnp.mean(logs[fnp.arange(len(labels)), labels])

    value, gradient = fg.value_and_grad(loss)(w)
    return value, fg.tree.map(lambda p, g: p - 0.1 * g, w, gradient)


def test_a_training_step_is_launches_and_products_alone() -> None:
    rng = np.random.default_rng(2)
    w = {
        "a": rng.standard_normal((6, 8)).astype("float32"), "b": np.zeros(8, "float32"),
        "c": rng.standard_normal((8, 3)).astype("float32"),
    }  # fmt: skip
    x, labels = rng.standard_normal((5, 6)).astype("float32"), np.array([0, 2, 1, 1, 0])
    with fg.use_backend("numpy"):
        want = fg.tree.leaves(fg.jit(_step)(w, x, labels))
    library = Library()
    device = WithLibrary(library)
    backend = CudaBackend("cuda_emu, with a library", device)
    with fg.use_backend("cuda_emu"):
        jaxpr = fg.make_jaxpr(_step)(w, x, labels)
    program = backend.compile(jaxpr)
    assert not any(s.host for s in program.code.segments)
    assert (
        sum(call.grid is None for call in program.code.calls) == 5
    )  # two forward, and back: c, what c is applied to, a
    given = [device.put(np.asarray(a)) for a in fg.tree.leaves((w, x, labels))]
    for _ in range(2):
        for y, z in zip(program(*given), want, strict=True):
            np.testing.assert_allclose(y.numpy(), z, rtol=2e-5, atol=1e-6)
    # Heuristics were asked when the program was written down, and no operand was transposed by a launch.
    assert len(library.heuristics) == len({*device.products._prepared})
    assert not any("transpose" in str(call.function) for call in program.code.calls)


def test_products_of_a_scan_have_memory_of_their_own_step() -> None:
    library = Library(workspace=512)
    device = WithLibrary(library)
    backend = CudaBackend("cuda_emu, with a library", device)

    def f(x, w):
        return fg.lax.scan(lambda c, a: (fnp.tanh(c @ a), c), x, w)

    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((4, 5)).astype("float32"), rng.standard_normal((3, 5, 5)).astype("float32")
    with fg.use_backend("numpy"):
        want = fg.tree.leaves(fg.jit(f)(x, w))
    program = backend.compile(fg.make_jaxpr(f)(x, w))
    assert sum(call.grid is None for call in program.code.calls) == 3
    for y, z in zip(program(device.put(x), device.put(w)), want, strict=True):
        np.testing.assert_allclose(y.numpy(), z, rtol=1e-5, atol=1e-6)


def test_a_recorded_product_is_moved_with_its_memory() -> None:
    step = Multiply("prepared", ("x", "y", "out", "workspace"))
    assert step.moved(str.upper).args == ("X", "Y", "OUT", "WORKSPACE")
    assert list(step.symbols()) == ["x", "y", "out", "workspace"]


def test_the_gpu_multiplies_on_cupys_stream() -> None:
    library = Library(workspace=0)
    made = CupyDevice.__new__(CupyDevice)
    made.cupy = SimpleNamespace(cuda=SimpleNamespace(get_current_stream=lambda: SimpleNamespace(ptr=77)))
    made.__dict__["_products"] = CublasLt(library)
    x, y, out, work = (np.zeros(64, "float32") for _ in range(4))
    x[:], y[:] = np.arange(64), np.arange(64) % 3
    words = np.array([a.ctypes.data for a in (x, y, out)] + [work.ctypes.data // 256 * 256], np.uint64)
    table = np.array([words.ctypes.data + 8 * i for i in range(4)], np.uint64)
    made.start_product(made.prepare(Product("float32", 1, 8, 8, 8, False, True, 4)), table.ctypes.data)
    np.testing.assert_array_equal(out.reshape(8, 8), x.reshape(8, 8) @ y.reshape(8, 8).T)
    assert library.products == [77]
