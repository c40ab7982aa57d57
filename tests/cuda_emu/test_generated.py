"""Generated kernels: random groups in check mode against NumPy's back end, and the op table through ``cuda_emu``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import nn
from funcgrad.testing import assert_close
from funcgrad_cuda_emu.device import Emulation
from funcgrad_cuda_emu.emulator import why_not
from funcgrad_cupy import group_rows, nvrtc
from funcgrad_cupy.cuda import CudaBackend
from funcgrad_cupy.group import write_group
from funcgrad_cupy.kernels import headers

sys.path.insert(0, str(Path(__file__).parents[1]))
from ops import TABLE
from test_ops import assert_same

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

CHECKED = CudaBackend("cuda_emu_checked", Emulation("check", "shuffled", seed=5)) if why_not() is None else None

_UNARY = [fnp.sin, fnp.tanh, fnp.abs, lambda x: x * x, lambda x: -x, lambda x: fnp.exp(-fnp.abs(x))]
_BINARY = [fnp.add, fnp.multiply, fnp.subtract, fnp.maximum, lambda x, y: fnp.where(x > y, x, y * 2)]
_REDUCE = [fnp.sum, fnp.max, fnp.mean, fnp.min]


@st.composite
def groups(draw):
    """A function of a full array and of a row or a column of it, and their shapes: all of it may be one group."""
    shape = tuple(draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)))
    axis = draw(st.integers(0, len(shape) - 1))
    small = tuple(n if i == axis else 1 for i, n in enumerate(shape))
    steps = draw(st.lists(st.tuples(st.sampled_from("ubrx"), st.integers(0, 5)), min_size=1, max_size=6))
    reduced = draw(st.integers(0, len(shape) - 1))

    def f(x, y):
        kept = []
        for kind, i in steps:
            if kind == "u":
                x = _UNARY[i](x)
            elif kind == "b":
                x = _BINARY[i % len(_BINARY)](x, y)
            elif kind == "x":
                x = x + fnp.arange(shape[-1]).astype(x.dtype)
            else:
                total = _REDUCE[i % len(_REDUCE)](x, axis=reduced, keepdims=True)
                kept.append(total)
                x = x - total
        return x, kept

    return f, shape, small, draw(st.sampled_from(["float32", "float64", "float16"]))


@pytest.fixture(params=["whole", "parts", "warps"])
def cut(request, monkeypatch):
    """Rows once as they are, once cut in parts already at small sizes, and once several in a block already if few."""
    if request.param == "parts":
        monkeypatch.setattr(group_rows, "_LEAST_ALONG", 8)
        monkeypatch.setattr(group_rows, "_LEAST_ACROSS", 2)
    if request.param == "warps":
        monkeypatch.setattr(group_rows, "BLOCKS", 1)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups())
def test_random_groups_are_right_and_break_no_rule(cut, drawn) -> None:
    f, shape, small, dtype = drawn
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, shape).astype(dtype), rng.uniform(-1, 1, small).astype(dtype)
    want = fg.tree.leaves(fg.jit(f)(x, y))
    program = CHECKED.compile(fg.make_jaxpr(f)(x, y))
    got = [CHECKED.to_numpy(z) for z in program(x, y)]
    tolerance = {"float16": 0.05, "float32": 1e-4, "float64": 1e-11}[dtype]
    assert_close(got, [np.asarray(z) for z in want], rtol=tolerance, atol=tolerance * max(shape))


@pytest.mark.parametrize(
    "shape, axis, dtype",
    [
        ((3, 50), 1, "float32"),
        ((2, 5000), 1, "float32"),
        ((1, 333), (0, 1), "float16"),
        ((300, 33), 0, "float32"),
        ((70, 2), 0, "float16"),
        ((40, 24), 0, "float16"),
        ((2, 90, 5), 1, "float64"),
        ((50, 3), 0, "float64"),
        ((4, 5, 6), 1, "float32"),
        ((2, 3, 7), (0, 2), "float16"),
        ((1, 1), 0, "float32"),
    ],
)
def test_softmax_and_layer_norm_in_check_mode(cut, shape, axis, dtype) -> None:
    def f(x):
        centred = x - fnp.mean(x, axis=axis, keepdims=True)
        normal = centred / fnp.sqrt(fnp.mean(centred**2, axis=axis, keepdims=True) + np.dtype(dtype).type(1e-3))
        e = fnp.exp(x - fnp.max(x, axis=axis, keepdims=True))
        return normal, e / fnp.sum(e, axis=axis, keepdims=True), fnp.sum(x, axis=axis)

    x = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    want = fg.jit(f)(x)
    got = [CHECKED.to_numpy(y) for y in CHECKED.compile(fg.make_jaxpr(f)(x))(x)]
    tolerance = {"float16": 0.02, "float32": 1e-5, "float64": 1e-12}[dtype]
    assert_close(got, [np.asarray(y) for y in want], rtol=tolerance, atol=tolerance)


def _group(f, *args):
    """The kernels of the only group of a program."""
    (eqn,) = [e for e in CHECKED.compile(fg.make_jaxpr(f)(*args)).jaxpr.eqns if e.primitive.name == "fusion"]
    return write_group(eqn.params["jaxpr"], eqn.params["space"], eqn.params["axes"])


def test_few_long_rows_are_cut_in_parts() -> None:
    x = np.ones((2, 2**20), "float32")
    loss = _group(lambda x: fnp.sum(fnp.sin(x) ** 2), x)
    assert [(name, grid) for name, grid, _ in loss.launches] == [("group_0", (1, 512)), ("group_1", (1, 1))]
    softmax = _group(lambda x: nn.softmax(x), x)
    assert [grid for _, grid, _ in softmax.launches] == [(2, 256)] * 3
    bias = _group(lambda x: fnp.sum(x * x, axis=0), np.ones((4096, 512), "float32"))
    assert [launch[1:] for launch in bias.launches] == [((8, 32), (32, 8)), ((8, 1), (32, 8))]
    short = _group(lambda x: nn.softmax(x), np.ones((8191, 512), "float32"))
    assert [launch[1:] for launch in short.launches] == [((1171, 1), (32, 7))]
    many = _group(lambda x: fnp.sum(x * x, axis=1), np.ones((2**11, 2**10), "float32"))
    assert [launch[1:] for launch in many.launches] == [((2**11, 1), (256, 1))]


def test_operands_that_several_passes_read_stay_in_registers() -> None:
    def read(columns):
        return _group(nn.softmax, np.zeros((1024, columns), "float32")).text.count("(in0 +")

    assert (read(8192), read(8193)) == (1, 3)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("columns", [8, 6, 5])
def test_neighbouring_rows_of_one_thread(cut, dtype, columns) -> None:
    def f(x, b, c):
        scaled = fnp.sum(x, axis=0) * b + fnp.arange(columns).astype(dtype)
        return scaled, x * c - scaled, fnp.max(x - scaled, axis=0), c + 1

    x = np.random.default_rng(2).uniform(-1, 1, (37, columns)).astype(dtype)
    args = x, x[3].copy(), np.asarray(2, dtype)
    got = CHECKED.compile(fg.make_jaxpr(f)(*args))(*args)
    tolerance = {"float16": 0.02, "float32": 1e-5, "float64": 1e-12}[dtype]
    assert_close(
        [CHECKED.to_numpy(y) for y in got], [np.asarray(y) for y in fg.jit(f)(*args)], rtol=tolerance, atol=tolerance
    )


def test_integers_wrap_and_divide_as_numpy_in_check_mode() -> None:
    x, y = np.array([2**31 - 1, -(2**31), 7, -7, 5], "int32"), np.array([2, -1, -2, 2, 0], "int32")

    def f(a, b):
        return a + b, a * b, a - b, -a, fnp.abs(a), fnp.floor_divide(a, b), fnp.remainder(a, b), a << 31, a >> 40

    want = fg.jit(f)(x, y)
    got = [CHECKED.to_numpy(z) for z in CHECKED.compile(fg.make_jaxpr(f)(x, y))(x, y)]
    for found, expected in zip(got, want, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_indexing_in_check_mode() -> None:
    x = np.arange(12.0, dtype="float32").reshape(4, 3)
    i = np.array([3, 0, 3, -1, 3])

    def f(a, i):
        a = fnp.asarray(a)
        return (
            a[i],
            a[:, i % 3],
            a.at[i].add(1.0),
            a.at[i].set(fnp.arange(15.0, dtype="float32").reshape(5, 3)),
            a.at[i].mul(2.0),
        )

    want = fg.jit(f)(x, i)
    got = [CHECKED.to_numpy(z) for z in CHECKED.compile(fg.make_jaxpr(f)(x, i))(x, i)]
    for found, expected in zip(got, want, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_addresses_that_are_not_aligned_give_the_same_bits() -> None:
    x = np.random.default_rng(0).standard_normal(1 + 3 * 64).astype("float32")

    def f(a, b):
        return a * 2, a + b, fnp.sum(a * a, axis=1), nn.softmax(a)

    with fg.use_backend("cuda_emu") as backend:
        base, bias = backend.asarray(x), backend.asarray(x[:64])
        shifted, aligned = backend.on.view(base, (3, 64), 1), backend.asarray(x[1:].reshape(3, 64))
        assert backend.on.pointer(shifted) % 16 and not backend.on.pointer(aligned) % 16
        for found, expected in zip(fg.jit(f)(shifted, bias), fg.jit(f)(aligned, bias), strict=True):
            np.testing.assert_array_equal(found.get(), expected.get())


@pytest.mark.parametrize("columns, size", [(64, 8), (12, 4), (5, 1)])
def test_elements_are_moved_16_bytes_at_a_time(columns, size) -> None:
    x, b, c = np.ones((6, columns), "float16"), np.ones(columns, "float16"), np.ones((6, 1), "float16")
    for f in (lambda x, b, c: (x + b) * c, lambda x, b, c: fnp.max((x + b) * c, axis=1)):
        text = _group(f, x, b, c).text
        assert text.count(f"= pack_at<{size}, aligned>") == 2 and text.count("= *(in") == 1


@pytest.mark.parametrize("arch", [75, 90, 120])
def test_generated_kernels_compile_for_gpus(arch) -> None:
    try:
        nvrtc.version()
    except nvrtc.NvrtcMissingError as error:
        pytest.skip(str(error))

    def f(x, y):
        z = fnp.floor_divide(x, y) + fnp.remainder(x, y) + fnp.sign(x) * fnp.exp(y)
        return z - fnp.max(z, axis=-1, keepdims=True)

    for dtype in ("float16", "float32", "float64", "int64"):
        x = np.ones((3, 5), dtype)
        with fg.use_backend("cuda_emu"):
            texts = fg.jit(f).lower(x, x).as_text("cuda")
        assert texts
        cubin = nvrtc.compile_cubin("group.cu", {**headers(), "group.cu": texts}, ["group<true>", "group<false>"], arch)
        assert all(used.spills == 0 for used in cubin.resources.values())
        with fg.use_backend("cuda_emu"):
            long = fg.jit(f).lower(*[np.ones((2, 50_000), dtype)] * 2).as_text("cuda")
        assert nvrtc.compile_cubin(
            "long.cu", {**headers(), "long.cu": long}, ["group_0<true>", "group_1<false>"], arch
        ).lowered


def test_an_index_of_64_bits_from_two_to_the_31_elements() -> None:
    from funcgrad.core.ir import Eqn, Jaxpr, Var
    from funcgrad.core.types import Aval
    from funcgrad.primitives import broadcast_in_dim, reduce_sum

    for n, kind in ((2**31, "const index_t i"), (2**31 - 2, "const int i")):
        x, y = Var(Aval((2,), np.dtype("float32"))), Var(Aval((2, n // 2), np.dtype("float32")))
        body = Jaxpr([x], [Eqn(broadcast_in_dim, [x], [y], {"shape": (2, n // 2), "dims": (0,)})], [y])
        assert kind in write_group(body, (2, n // 2), ()).text
    for n, kind in ((2**31, "const index_t begin"), (2**30, "const int begin")):
        x, y = Var(Aval((2, n // 2), np.dtype("float32"))), Var(Aval((2,), np.dtype("float32")))
        body = Jaxpr([x], [Eqn(reduce_sum, [x], [y], {"axes": (1,)})], [y])
        assert kind in write_group(body, (2, n // 2), (1,)).text


@pytest.mark.slow
@pytest.mark.parametrize("op", TABLE, ids=str)
def test_the_op_table(op) -> None:
    """Every row in two of its dtypes, in its first and last shape."""
    for dtype in op.dtypes[-2:]:
        for shape in {op.shapes[0], op.shapes[-1]}:
            args = op.sample(dtype, shape)
            with np.errstate(all="ignore"):
                want = op.reference(*args)
                with fg.use_backend("cuda_emu"):
                    got = fg.device_get(op.function(*args))
            want, got = (list(r) if isinstance(r, (tuple, list)) else [r] for r in (want, got))
            assert_same(got, want, max(op.ulps, 4))
