"""Seeing programs: what they cost, step by step; timelines, drawings, residuals; what is found on the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
import funcgrad_array_api
from funcgrad import inspect, lax, primitives
from funcgrad.__main__ import main
from funcgrad.compiler.cost import _MOVES, _RULES, Cost, program_cost
from funcgrad.core.backend import get_backend
from funcgrad.core.errors import BackendError
from funcgrad.core.trace import Primitive
from funcgrad.inspect import _doctor
from funcgrad.inspect._stepwise import Stepwise

F64 = np.float64


def cost_of(fun: Any, *args: Any) -> Cost:
    return program_cost(fg.make_jaxpr(fun)(*args))


def ones(*shape: int, dtype: Any = F64) -> Any:
    return np.ones(shape, dtype)


# The table of costs -----------------------------------------------------------------------------------------------------


def convolution(x: Any, w: Any) -> Any:
    return lax.conv_general_dilated(x, w, (1, 1), "VALID")


@pytest.mark.parametrize(
    ("fun", "args", "flops"),
    [
        (lambda x, y: x @ y, (ones(3, 5), ones(5, 7)), 2 * 3 * 5 * 7),
        (lambda x, y: x @ y, (ones(4, 3, 5), ones(4, 5, 7)), 4 * 2 * 3 * 5 * 7),
        (lambda x, y: x @ y, (ones(3, 5, dtype=complex), ones(5, 7, dtype=complex)), 8 * 3 * 5 * 7),
        (convolution, (ones(2, 3, 8, 8), ones(4, 3, 3, 3)), 2 * (2 * 4 * 6 * 6) * (3 * 3 * 3)),
        (lambda x: x + x, (ones(10),), 10),
        (lambda x: x + x, (ones(10, dtype=int),), 0),
        (lambda x: x * x, (ones(10, dtype=complex),), 60),
        (lambda x: x**5, (ones(10),), 30),  # x x, x2 x2, x4 x
        (lambda x: x**-1, (ones(10),), 10),
        (lambda x: x.sum(axis=0), (ones(6, 4),), 20),
        (lambda x: fnp.cumsum(x, axis=1), (ones(6, 4),), 18),
        (lambda x: fnp.sort(x), (ones(3, 16),), 3 * 16 * 4),
        (lambda x: fnp.fft.fft(x), (ones(2, 8, dtype=complex),), 2 * 5 * 8 * 3),
        (lambda x: fnp.fft.rfft(x), (ones(8),), 60),
        (lambda x: fnp.linalg.solve(x, x[:, :2]), (np.eye(6),), 2 * 6**3 // 3 + 2 * 6**2 * 2),
        (lambda x: fnp.reshape(x, (2, 3)).T, (ones(6),), 0),
    ],
)
def test_operations(fun: Any, args: Any, flops: int) -> None:
    assert cost_of(fun, *args).flops == flops


def test_cholesky_takes_a_third_of_the_cube() -> None:
    assert cost_of(lambda x: primitives.cholesky(x), np.eye(6)).flops == 6**3 // 3


def test_transcendentals_are_counted_apart() -> None:
    cost = cost_of(lambda x: fnp.exp(x) + fnp.tanh(x), ones(10))
    assert (cost.flops, cost.transcendentals) == (10, 20)


@pytest.mark.parametrize(
    ("fun", "args", "read", "written"),
    [
        (lambda x, y: x + y, (ones(100, dtype=np.float32), ones(100, dtype=np.float32)), 800, 400),
        (lambda x: x * x, (ones(100),), 800, 800),  # one operand, read once
        (lambda x: 2.0 * x, (ones(100),), 800, 800),
        (lambda x, y: x + y, (ones(50, 10), ones(10)), 4000 + 80, 4000),  # the broadcast is not there
        (lambda x: x.T[:2].reshape(-1), (ones(50, 10),), 0, 0),
        (lambda x: x @ x, (ones(10, 10),), 800, 800),
    ],
)
def test_bytes(fun: Any, args: Any, read: int, written: int) -> None:
    cost = cost_of(fun, *args)
    assert (cost.bytes_read, cost.bytes_written) == (read, written)


def test_a_gather_reads_what_it_takes() -> None:
    x, i = fg.ShapeDtypeStruct((1000, 4), F64), fg.ShapeDtypeStruct((3,), np.int64)
    jaxpr = fg.make_jaxpr(lambda x, i: primitives.gather(x, i, axes=(0,)))(x, i)
    assert program_cost(jaxpr).bytes_read == 3 * 4 * 8 + 3 * 8


def test_a_scan_counts_as_often_as_it_runs() -> None:
    assert cost_of(lambda x: lax.scan(lambda c, _: (c @ c, None), x, None, length=7)[0], ones(4, 4)).flops == 7 * 128
    assert cost_of(lambda x: lax.scan(lambda c, _: (c @ c, None), x, None, length=0)[0], ones(4, 4)).flops == 0


def test_a_conditional_counts_as_its_most_costly_branch() -> None:
    cost = cost_of(lambda p, x: lax.cond(p, lambda x: x @ x, lambda x: x + x, x), True, ones(4, 4))
    assert cost.flops == 128
    assert not cost.unbounded


def test_a_while_loop_counts_once_and_says_so() -> None:
    cost = cost_of(lambda x: lax.while_loop(lambda x: x.sum() < 1e9, lambda x: x + x, x), ones(4))
    assert cost.flops == 4 + 3 + 1
    assert cost.unbounded


def test_calls_back_into_python_are_unknown() -> None:
    cost = cost_of(lambda x: fg.pure_callback(np.sin, fg.ShapeDtypeStruct((3,), F64), x), ones(3))
    assert cost.unknown == {"pure_callback"}


def test_every_primitive_has_a_cost() -> None:
    known = {p for p in vars(primitives).values() if isinstance(p, Primitive) and not p.elementwise}
    missing = {p.name for p in known} - set(_RULES) - _MOVES - {"debug_callback", "pure_callback"}
    assert not missing


def test_cost_analysis_of_a_compiled_program() -> None:
    compiled = fg.jit(lambda x, y: x @ y).lower(ones(3, 5), ones(5, 7)).compile()
    assert compiled.cost_analysis() == {"flops": 210, "transcendentals": 0, "bytes accessed": 8 * (15 + 35 + 21)}


@pytest.mark.parametrize("fun", [lambda x: x @ x, lambda x: x + x * 2.0, lambda x: x.sum()])
def test_operations_are_those_that_jax_counts(fun: Any) -> None:
    jax = pytest.importorskip("jax")
    x = ones(16, 16, dtype=np.float32)
    expected = jax.jit(fun).lower(x).cost_analysis()["flops"]
    assert abs(cost_of(fun, x).flops - expected) <= 1  # of a sum XLA counts the start too


# explain ----------------------------------------------------------------------------------------------------------------


def rows_of(fun: Any, *args: Any) -> dict[str, Any]:
    return {r.step.number: r for r in inspect.explain(fun, *args).rows}


def loop(x: Any) -> Any:
    return lax.scan(lambda c, y: (c @ y, c.max()), fnp.eye(4), x)


def test_steps_of_a_scan_run_as_often_as_it_is_long() -> None:
    found = inspect.explain(loop, ones(5, 4, 4))
    inner = [r for r in found.rows if "." in r.step.number]
    assert {r.step.kind for r in inner} == {"dot_general", "reduce_max"}
    assert {r.trips for r in inner} == {5}
    assert found.cost.flops == 5 * (2 * 4**3 + 15)
    assert found.seconds > 0


def test_steps_of_a_while_loop_run_as_often_as_it_does() -> None:
    fun = lambda n: lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * 1.5), (0, 1.0))
    found = inspect.explain(fun, 7)
    trips = {r.step.kind: r.trips for r in found.rows}
    assert (trips["while"], trips["lt"], trips["add"], trips["mul"]) == (1, 8, 7, 7)
    assert found.cost.flops == 7


def test_only_the_branch_taken_counts() -> None:
    fun = lambda p, x: lax.cond(p, lambda x: x @ x, lambda x: x + x, x)
    assert inspect.explain(fun, True, ones(4, 4)).cost.flops == 128
    assert inspect.explain(fun, False, ones(4, 4)).cost.flops == 16


def test_a_gradient_is_explained_by_the_lines_of_the_user() -> None:
    def loss(w: Any, x: Any) -> Any:
        return fnp.tanh(x @ w).sum()

    found = inspect.explain(fg.jit(fg.grad(loss)), ones(3, 2), ones(5, 3))
    assert [r.step.kind for r in found.rows if r.step.kind == "dot_general"] == ["dot_general"] * 2
    assert {r.step.source.line for r in found.rows} == {loss.__code__.co_firstlineno + 1}
    text = str(found)
    assert "(backward)" in text
    assert "f64[5,3], f64[3,2] -> f64[5,2]" in text
    assert "FLOP/s in float64" in text


def test_static_arguments() -> None:
    f = fg.jit(lambda x, n: x**n, static_argnums=1)
    assert inspect.explain(f, ones(10), 3).cost.flops == 20


def test_a_timed_program_computes_what_the_program_does_and_leaves_its_arguments_alone() -> None:
    def fun(x: Any) -> Any:
        y = fnp.tanh(x * 2.0) * x + 1.0
        return y.T, lax.fori_loop(0, 3, lambda i, c: c * 0.5 + y, y), x

    x = np.random.default_rng(0).normal(size=(300, 200))
    before = x.copy()
    jaxpr = fg.make_jaxpr(fun)(x)
    stepwise = Stepwise(jaxpr, get_backend("numpy"))
    for a, b in zip(stepwise._run(x), stepwise.program(x), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(x, before)


def test_groups_of_the_llvm_back_end_name_their_members() -> None:
    pytest.importorskip("llvmlite")
    with fg.use_backend("llvm"):
        found = inspect.explain(lambda x: fnp.tanh(x) * x + 1.0, ones(100))
        (row,) = found.rows
        assert (row.step.kind, row.step.members) == ("fusion", ("tanh", "mul", "add"))
        assert (row.cost.flops, row.cost.transcendentals, row.cost.bytes) == (200, 100, 1600)
        assert inspect.explain(loop, ones(5, 4, 4)).cost.flops >= 5 * (2 * 4**3 + 15)


def test_arrays_of_other_libraries() -> None:
    xp = pytest.importorskip("array_api_strict")
    funcgrad_array_api.register(xp, "array_api_strict")
    found = inspect.explain(lambda x: (x, loop(x)), xp.ones((5, 4, 4)))
    assert found.backend == "array_api_strict"
    assert [r.step.kind for r in found.rows].count("scan") == 1
    assert found.cost.flops >= 5 * (2 * 4**3 + 15)


def test_roofline_takes_the_lower_ceiling() -> None:
    machine = inspect.Roofline({"float32": 200.0, "float64": 100.0}, ((10, 50.0), (1000, 10.0)))
    assert machine.seconds(1000, 10, F64) == 10.0
    assert machine.seconds(1000, 10, np.float32) == 5.0
    assert machine.seconds(1, 5000, F64) == 500.0
    assert machine.bandwidth(100) == pytest.approx(30.0)


def test_the_roofline_of_this_machine_is_measured_once() -> None:
    machine = inspect.roofline()
    assert machine is inspect.roofline()
    assert min(machine.peaks.values()) > 0
    assert min(b for _, b in machine.bandwidths) > 0


# profile ----------------------------------------------------------------------------------------------------------------


def test_a_trace_is_one_that_chrome_reads(tmp_path: Any) -> None:
    path = tmp_path / "trace.json"
    found = inspect.profile(loop, ones(5, 4, 4), trace=path, calls=3)
    events = json.loads(path.read_text())["traceEvents"]
    for e in events:
        assert e["ph"] == "X"
        assert e["ts"] >= 0
        assert e["dur"] >= 0
        assert {"name", "cat", "pid", "tid", "args"} <= e.keys()
    calls = [e for e in events if e["cat"] == "call"]
    assert [e["name"] for e in calls] == ["call 1", "call 2", "call 3"]
    products = [e for e in events if e["cat"] == "dot_general"]
    assert len(products) == 3 * 5
    for e in products:
        assert any(c["ts"] <= e["ts"] and e["ts"] + e["dur"] <= c["ts"] + c["dur"] + 1e-6 for c in calls)
    scans = [e for e in events if e["cat"] == "scan"]
    assert len(scans) == 3
    assert [len(t) for t in found.times] == [3] * len(found.steps)


def test_lines_of_a_profile() -> None:
    found = inspect.profile(loop, ones(5, 4, 4))
    line = f"{__file__}:{loop.__code__.co_firstlineno + 1}"
    assert line in found.by_line()
    assert "lax.scan" in str(found)


def test_a_profile_of_no_call_is_refused() -> None:
    with pytest.raises(ValueError, match="calls is a number of calls, 1 or more, not 0"):
        inspect.profile(loop, ones(5, 4, 4), calls=0)


# Programs as data -------------------------------------------------------------------------------------------------------


def test_primitive_counts_look_into_loops() -> None:
    counts = inspect.primitive_counts(fg.make_jaxpr(loop)(ones(5, 4, 4)))
    assert (counts["scan"], counts["dot_general"], counts["reduce_max"]) == (1, 1, 1)


def test_a_drawing_has_a_node_an_equation_and_a_box_a_body() -> None:
    jaxpr = fg.make_jaxpr(loop)(ones(5, 4, 4))
    text = inspect.dot(jaxpr)
    assert text.startswith("digraph")
    assert text.count("{") == text.count("}") == 2
    assert "subgraph cluster_0" in text
    nodes = sum(inspect.primitive_counts(jaxpr).values())
    assert text.count("tooltip=") == nodes


def test_residuals_with_their_lines() -> None:
    def fun(w: Any, x: Any) -> Any:
        h = fnp.sin(x @ w)
        return h.sum()

    found = inspect.saved_residuals(fun, ones(3, 2), fg.ShapeDtypeStruct((5, 3), F64))
    assert [r.origin for r in found if r.source is None] == ["argument w", "argument x"]
    (kept,) = [r for r in found if r.source is not None]
    assert (kept.origin, kept.nbytes, kept.source.line) == ("cos", 80, fun.__code__.co_firstlineno + 1)
    assert found.nbytes == 80
    assert "80 B beyond the arguments" in str(found)


def test_residuals_of_a_loop_are_stacked() -> None:
    found = inspect.saved_residuals(lambda x: lax.scan(lambda c, _: (fnp.sin(c), None), x, None, length=9)[0], ones(4))
    assert [(r.origin, r.aval.shape) for r in found] == [("scan", (9, 4))]


def test_constants_are_no_extra_memory() -> None:
    k = np.arange(3.0)
    found = inspect.saved_residuals(lambda x: x * k, ones(3))
    assert [r.origin for r in found] == ["a constant"]
    assert found.nbytes == 0


# doctor -----------------------------------------------------------------------------------------------------------------


def test_what_the_doctor_finds() -> None:
    found = fg.doctor()
    assert list(found.data) == ["versions", "back ends", "processor", "BLAS", "environment"]
    assert found.data["versions"]["numpy"] == np.__version__
    assert found.data["versions"]["funcgrad"] == fg.__version__
    assert found.data["processor"]["cores available"] >= 1
    assert any("config.check_ir is on" in sentence for sentence in found.advice)
    assert "what to change" in str(found)


def test_a_back_end_that_does_not_load_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Any:
        if name == "broken":
            raise BackendError("back end 'broken' cannot be loaded: No module named 'gpu'")
        raise RuntimeError("driver too old")

    monkeypatch.setattr(_doctor, "backends", lambda: ["broken", "worse"])
    monkeypatch.setattr(_doctor, "get_backend", load)
    text = str(fg.doctor())
    assert "No module named 'gpu'" in text
    assert "RuntimeError: driver too old" in text


def test_a_processor_that_openblas_does_not_know() -> None:
    features = frozenset(["avx512f", "avx512bw", "avx512dq", "avx512vl"])
    blas = [_doctor.Blas("/x/libopenblas.so", "Haswell", 8)]
    text = "\n".join(_doctor._advice({"llvm": "works"}, features, blas, 2))
    assert "which has AVX-512, for a Haswell" in text
    assert "set OPENBLAS_NUM_THREADS=2" in text
    wide = [_doctor.Blas("/x/libopenblas.so", "SkylakeX", 2)]
    assert "OPENBLAS" not in "\n".join(_doctor._advice({"llvm": "works"}, features, wide, 2))


def test_the_doctor_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--doctor"]) == 0
    assert "back ends" in capsys.readouterr().out


# Importing --------------------------------------------------------------------------------------------------------------


def test_it_is_imported_when_asked_for() -> None:
    code = (
        "import sys, funcgrad as fg; a = 'funcgrad.inspect' in sys.modules; fg.inspect; print(a, callable(fg.doctor))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False True"


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'funcgrad' has no attribute 'explain'"):
        fg.explain  # noqa: B018
