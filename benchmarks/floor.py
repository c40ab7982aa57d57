"""The floor of a row: the same loop in C by hand, on buffers that are reused, built by the system's compiler.

It is a column of the table like any library, without derivatives of its own: the mathematics of each row is written out.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

__all__ = ["Gelu", "compiler"]

#: y = x (1 + tanh u) / 2 and its product with a cotangent, u = sqrt(2 / pi) (x + 0.044715 x^3). With e = exp(-2 |u|),
#: tanh |u| = (1 - e) / (1 + e); exp is a power of two times a polynomial (Taylor's, of degree 6, |r| <= ln(2) / 2).
GELU = """
#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float exponential(float x) {
    float k = rintf(x * 1.44269504f), r = x - k * 0.693147182f;
    float p = 1 + r * (1 + r * (0.5f + r * (1 / 6.f + r * (1 / 24.f + r * (1 / 120.f + r * (1 / 720.f))))));
    int32_t bits = ((int32_t)k + 127) << 23;
    float power;
    memcpy(&power, &bits, 4);
    return p * power;
}

void gelu(long n, const float *restrict x, const float *restrict ct, float *restrict y, float *restrict dx) {
    #pragma omp parallel for simd schedule(static) num_threads(THREADS)
    for (long i = 0; i < n; i++) {
        float v = x[i], u = 0.797884561f * v * (1 + 0.044715f * v * v);
        float e = exponential(fmaxf(-2 * fabsf(u), -80));
        float t = copysignf((1 - e) / (1 + e), u);
        float slope = 0.5f * (1 + t) + 0.5f * v * (1 - t * t) * 0.797884561f * (1 + 0.134145f * v * v);
        y[i] = 0.5f * v * (1 + t);
        dx[i] = ct[i] * slope;
    }
}
"""


def compiler() -> str:
    """The path of the C compiler.

    Raises:
        ImportError: if there is none; the table then says that this column is not there, and why.
    """
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None:
        raise ImportError("no C compiler: neither cc nor gcc is on the path")
    return found


def build(text: str) -> ctypes.CDLL:
    """A shared library of this text, vectorised for this processor, with a thread for each processor."""
    folder = tempfile.mkdtemp(prefix="funcgrad-floor-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    source, target = Path(folder, "floor.c"), Path(folder, "floor.so")
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    source.write_text(text.replace("THREADS", str(threads)), encoding="utf-8")
    options = ["-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC"]
    subprocess.run([compiler(), *options, source, "-o", target, "-lm"], check=True, capture_output=True)
    return ctypes.CDLL(str(target))


class Gelu:
    """The loop with its buffers: each call overwrites the results of the one before."""

    def __init__(self, x: np.ndarray, ct: np.ndarray) -> None:
        self.inputs, self.outputs = (x, ct), (np.empty_like(x), np.empty_like(x))
        function = build(GELU).gelu
        function.argtypes = [ctypes.c_long, *[ctypes.c_void_p] * 4]
        function.restype = None
        addresses = [a.ctypes.data for a in (*self.inputs, *self.outputs)]
        self.call = lambda: function(x.size, *addresses)

    def __call__(self) -> tuple[np.ndarray, np.ndarray]:
        self.call()
        return self.outputs
