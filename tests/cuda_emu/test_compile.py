"""Every kernel compiles for every GPU that CUDA 13 knows, without spills, and costs what the budget says."""

from __future__ import annotations

import json
import shutil
import subprocess

import budget
import numpy as np
import pytest

from funcgrad_cuda_emu.emulator import EmulatedDevice, why_not
from funcgrad_cupy import nvrtc
from funcgrad_cupy.kernels import INSTANCES, c_type, launches, texts_of


def _nvrtc_version():
    try:
        return nvrtc.version()
    except nvrtc.NvrtcMissingError:
        return None


VERSION = _nvrtc_version()
needs_nvrtc = pytest.mark.skipif(VERSION is None, reason="NVRTC is missing: pip install 'funcgrad[cuda-test]'")
needs_same = pytest.mark.skipif(VERSION != (13, 0), reason="the budget is that of NVRTC 13.0 (extra cuda-test)")
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
ARCHS = [75, 80, 86, 89, 90, 100, 120]
BUDGET = json.loads(budget.FILE.read_text())


@needs_nvrtc
@pytest.mark.parametrize("family", INSTANCES)
@pytest.mark.parametrize("arch", [a if a == 90 else pytest.param(a, marks=pytest.mark.slow) for a in ARCHS])
def test_every_kernel_compiles_without_spills(family, arch):
    cubin = budget.compiled(family, arch)
    assert cubin.code[:4] == b"\x7fELF"
    assert list(cubin.lowered) == INSTANCES[family] == list(cubin.resources)
    assert {name: used for name, used in cubin.resources.items() if used.spills or used.stack > 64} == {}


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("family", INSTANCES)
def test_nvcc_warns_of_nothing(family, tmp_path):
    for name, text in texts_of(family).items():
        (tmp_path / name).write_text(text)
    uses = "".join(f"template __global__ decltype({n}) {n};\n" for n in INSTANCES[family])
    (tmp_path / "main.cu").write_text(f'#include "{family}.cu"\n{uses}')
    command = ["nvcc", "-arch=sm_90", "-std=c++17", "-Werror", "all-warnings", "-cubin", "-o", "main.cubin", "main.cu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@needs_same
@pytest.mark.skipif(VERSION is None or budget.nvdisasm() is None, reason="nvdisasm is missing (extra cuda-test)")
@pytest.mark.parametrize("family", INSTANCES)
def test_registers_shared_memory_and_instructions_are_those_of_the_budget(family):
    """After a change that is meant: PYTHONPATH=.:backends python tests/cuda_emu/budget.py"""
    assert budget.static_budget(family) == BUDGET["static"][family]


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.parametrize("name", budget.LAUNCHES)
def test_requests_to_memory_are_those_of_the_budget(name):
    """After a change that is meant: PYTHONPATH=.:backends python tests/cuda_emu/budget.py"""
    assert budget.memory_budget(name) == BUDGET["memory"][name]


def test_the_budget_holds_what_the_kernels_were_written_for():
    static, memory = BUDGET["static"], BUDGET["memory"]
    assert not any(row["spills"] or "local" in row for family in static.values() for row in family.values())
    assert all(row["mma"] for name, row in static["attention"].items() if "__" in name and "delta" not in name)
    assert all(
        row["mma"] == 16 for name, row in static["convolution"].items() if "convolution<__" in name or "Tf32" in name
    )
    conflict_free = [name for name in memory if name.startswith(("attention", "convolution"))]
    assert all(memory[name].get("shared read", [0, 1])[1] == 1 for name in conflict_free)
    assert all(
        row["load16"] and row["store16"] for name, row in static["elementwise"].items() if name.startswith("copy<")
    )
    assert all(row["mma"] == 16 for row in static["tensor_matmul"].values())
    assert memory["transpose"] == {kind: [128, 1.0] for kind in memory["transpose"]}
    assert all(
        cost == 1.0
        for name in ("copy", "softmax", "reduce_columns")
        for kind, (_, cost) in memory[name].items()
        if "global" in kind
    )


@needs_nvrtc
def test_a_kernel_with_local_memory_would_break_the_budget():
    text = """
    __global__ void far(float *y, const int *i) {
        float kept[64];
        for (int k = 0; k < 64; ++k) kept[k] = y[k];
        for (int k = 0; k < 64; ++k) y[k] = kept[i[k]];
    }"""
    cubin = nvrtc.compile_cubin("far.cu", {"far.cu": text}, ["far"], 90)
    assert cubin.resources["far"].stack >= 256
    if budget.nvdisasm():
        assert budget.instructions(cubin)["far"]["local"] > 0


@needs_nvrtc
def test_a_text_that_is_wrong_shows_the_compilers_log():
    with pytest.raises(nvrtc.CompileError, match=r"wrong.cu does not compile:\n(?s:.*)wrong\.cu\(1\): error.*nothing"):
        nvrtc.compile_cubin("wrong.cu", {"wrong.cu": "__global__ void k(float *x) { *x = nothing; }"}, ["k"], 90)


@needs_nvrtc
def test_cubins_are_kept_and_a_damaged_one_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("FUNCGRAD_CACHE_DIR", str(tmp_path))
    arguments = ("k.cu", {"k.cu": "template <class T> __global__ void k(T *x) { *x = 1; }"}, ["k<float>"], 90)
    made = nvrtc.compile_cubin(*arguments)
    (entry,) = (tmp_path / "cubin").iterdir()
    whole = entry.read_bytes()
    monkeypatch.setattr(nvrtc, "_compile", lambda *a: pytest.fail("compiled again"))
    assert nvrtc.compile_cubin(*arguments) == made
    monkeypatch.undo()
    monkeypatch.setenv("FUNCGRAD_CACHE_DIR", str(tmp_path))
    for damaged in (b"", whole[:100], whole[:-1] + bytes([whole[-1] ^ 1])):
        entry.write_bytes(damaged)
        assert nvrtc.compile_cubin(*arguments).lowered == made.lowered
        assert entry.read_bytes()[32:] == whole[32:]
    other = nvrtc.compile_cubin(*arguments[:3], 80)
    assert other.code != made.code and len(list((tmp_path / "cubin").iterdir())) == 2


def test_without_nvrtc_the_error_names_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(nvrtc, "_wheel_folders", lambda part: [])
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    with pytest.raises(nvrtc.NvrtcMissingError, match="pip install nvidia-cuda-nvrtc"):
        nvrtc._library.__wrapped__()


def test_a_dtype_that_the_kernels_do_not_have():
    with pytest.raises(TypeError, match="the CUDA kernels have no complex128; they have bool, int8"):
        c_type(np.complex128)


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_an_instance_that_is_not_listed_is_not_launched():
    with pytest.raises(KeyError, match="not in kernels.INSTANCES"):
        launches.reduce_rows(EmulatedDevice(), EmulatedDevice().put(np.ones((1, 1), np.int16)), "Sum")
