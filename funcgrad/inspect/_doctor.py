"""``doctor``: what funcgrad finds on this machine, and what to change."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.backend import backends, get_backend
from ..core.config import config
from ..core.errors import BackendError

__all__ = ["Blas", "Doctor", "doctor"]

_PACKAGES = ("optree", "scipy", "llvmlite", "scipy-openblas32", "cupy", "cupy-cuda12x", "cupy-cuda13x")
_VARIABLES = (
    "FUNCGRAD_NUM_THREADS", "FUNCGRAD_CUDA_GRAPHS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
    "NPY_DISABLE_CPU_FEATURES", "CUDA_PATH", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip
#: The sets of kernels of OpenBLAS that use 512-bit vectors.
_WIDE_CORES = frozenset(["SkylakeX", "Cooperlake", "Sapphirerapids", "SapphireRapids"])


class Blas(NamedTuple):
    """An OpenBLAS in this process: its file, the kernels it chose, and its number of threads."""

    path: str
    core: str
    threads: int


class Doctor:
    """What was found, by section, in ``data``; ``advice``: what to change, a sentence each; ``str`` for reading."""

    def __init__(self, data: dict[str, dict[str, Any]], advice: list[str]) -> None:
        self.data = data
        self.advice = advice

    def __str__(self) -> str:
        lines = []
        for section, found in self.data.items():
            lines.append(section)
            width = max(map(len, found), default=0)
            lines += [f"  {name.ljust(width)}  {value}" for name, value in found.items()]
        lines.append("what to change")
        lines += [f"  - {sentence}" for sentence in self.advice] or ["  nothing"]
        return "\n".join(lines)

    __repr__ = __str__


def doctor() -> Doctor:
    """What funcgrad finds: versions, back ends and why one cannot be loaded, the processor, the BLAS that NumPy uses and the
    kernels it chose, settings, and what to change. It loads every back end.

    >>> found = doctor()
    >>> found.data["back ends"]["numpy"]
    'works'
    """
    processor, features = _processor()
    blas = _loaded_blas()
    settings = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    back_ends = {name: _state(name) for name in backends()}
    built = np.show_config(mode="dicts")
    dependency = built["Build Dependencies"]["blas"]
    libraries = {f"in {Path(b.path).name}": f"{b.core} kernels, {b.threads} threads" for b in blas}
    data: dict[str, dict[str, Any]] = {
        "versions": {"Python": platform.python_version(), **_versions()},
        "back ends": back_ends,
        "processor": processor,
        "BLAS": {"NumPy's": f"{dependency.get('name')} {dependency.get('version')}", **libraries},
        "environment": settings,
    }
    return Doctor(data, _advice(back_ends, features, blas, processor["cores available"]))


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"funcgrad": sys.modules["funcgrad"].__version__, "numpy": np.__version__, **found}


def _state(name: str) -> str:
    """Whether a back end loads, or why not; whatever it raises is the answer."""
    try:
        get_backend(name)
    except BackendError as error:
        return str(error)
    except Exception as error:
        return f"cannot be loaded: {type(error).__name__}: {error}"
    return "works"


def _processor() -> tuple[dict[str, Any], frozenset[str]]:
    """What is known of the processor, and its features by Linux' names."""
    text = _read(Path("/proc/cpuinfo"))
    fields = dict(reversed([[p.strip() for p in line.split(":", 1)] for line in text.splitlines() if ":" in line]))
    features = frozenset(fields.get("flags", fields.get("Features", "")).split())
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    model = fields.get("model name") or platform.processor() or platform.machine()
    found = {
        "model": model,
        "cores available": _cores(),
        "NumPy's vectors": ", ".join([*simd.get("baseline", []), *simd.get("found", [])]),
        **_caches(),
    }
    return found, features


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _cores() -> int:
    """The processors that this process may use: its affinity, and the quota of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(Path("/sys/fs/cgroup/cpu.max")).partition(" ")
    if quota.isdecimal() and period.strip().isdecimal():
        cores = min(cores, max(-(-int(quota) // int(period)), 1))
    return cores


def _caches() -> dict[str, str]:
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (_read(folder / name).strip() for name in ("level", "type", "size"))
        if level and size and kind != "Instruction":
            found[f"cache level {level}"] = size
    return found


def _loaded_blas() -> list[Blas]:
    """Every OpenBLAS that this process has loaded, asked by its own functions."""
    paths = {line.split()[-1] for line in _read(Path("/proc/self/maps")).splitlines() if "openblas" in line}
    found = []
    for path in sorted(p for p in paths if ".so" in p):
        handle = ctypes.CDLL(path)
        for prefix, suffix in (("scipy_", "64_"), ("scipy_", ""), ("", "64_"), ("", "")):
            core = getattr(handle, f"{prefix}openblas_get_corename{suffix}", None)
            threads = getattr(handle, f"{prefix}openblas_get_num_threads{suffix}", None)
            if core is not None and threads is not None:
                core.restype = ctypes.c_char_p
                found.append(Blas(path, core().decode(), int(threads())))
                break
    return found


def _advice(back_ends: dict[str, str], features: frozenset[str], blas: list[Blas], cores: int) -> list[str]:
    advice = [f"back end {name}: {state}" for name, state in back_ends.items() if state != "works"]
    if back_ends.get("llvm", "works") != "works" or "llvm" not in back_ends:
        advice.append("pip install 'funcgrad[llvm]' for native programs: with fg.use_backend(\"llvm\")")
    for b in blas:
        if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= features and b.core not in _WIDE_CORES:
            advice.append(
                f"{Path(b.path).name} takes this processor, which has AVX-512, for a {b.core}: set "
                f"OPENBLAS_CORETYPE=SkylakeX before Python starts, or install funcgrad[llvm], whose OpenBLAS is newer"
            )
        if b.threads > cores:
            advice.append(
                f"{Path(b.path).name} runs {b.threads} threads on {cores} cores: set OPENBLAS_NUM_THREADS={cores} before "
                f"Python starts"
            )
    for setting in ("check_ir", "debug_nans", "debug_key_reuse"):
        if getattr(config, setting):
            advice.append(f"config.{setting} is on, which makes everything slower; it is for finding errors")
    if sys.gettrace() is not None:
        advice.append("a debugger or a coverage tool traces every line: times are not those of a plain run")
    return advice
