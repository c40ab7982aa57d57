"""What each kernel may cost: registers, shared memory, instructions, and the requests to memory of a launch.

    PYTHONPATH=.:backends python tests/cuda_emu/budget.py      # writes budget.json anew, after a change that is meant

The first part is read from the machine code for sm_90 that NVRTC makes, the second from the emulation's profile: both
need no GPU and are the same on every machine. ``test_compile.py`` compares.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np

from funcgrad_cuda_emu.emulator import EmulatedDevice
from funcgrad_cupy import nvrtc
from funcgrad_cupy.kernels import (
    INSTANCES,
    launch_attention,
    launch_convolution,
    launch_norm,
    launch_recurrent,
    launch_reduction,
    launch_sort,
    launches,
    texts_of,
)

FILE = Path(__file__).parent / "budget.json"
ARCH = 90

#: Counted instructions: 16-byte loads and stores of global memory, tensor-core products, accesses of local memory.
INSTRUCTIONS = {"load16": r"LDG\.E\.128", "store16": r"STG\.E\.128", "mma": r"HMMA", "local": r"(?:LDL|STL)\b"}


@cache
def compiled(family: str, arch: int) -> nvrtc.Cubin:
    return nvrtc.compile_cubin(f"{family}.cu", texts_of(family), INSTANCES[family], arch)


@cache
def nvdisasm() -> str | None:
    wheels = [folder.parent / "bin" / "nvdisasm" for folder in map(Path, nvrtc.include_folders())]
    return next((str(path) for path in wheels if path.exists()), shutil.which("nvdisasm"))


def instructions(cubin: nvrtc.Cubin) -> dict[str, Counter[str]]:
    """How often each counted instruction stands in the code of each kernel."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin.code)
        file.flush()
        text = subprocess.run([str(nvdisasm()), "-c", file.name], capture_output=True, text=True, check=True).stdout
    sections = re.split(r"^\.text\.(\S+):$", text, flags=re.MULTILINE)
    by_symbol = dict(zip(sections[1::2], sections[2::2]))
    return {
        name: Counter({what: len(re.findall(pattern, by_symbol[symbol])) for what, pattern in INSTRUCTIONS.items()})
        for name, symbol in cubin.lowered.items()
    }


def static_budget(family: str) -> dict[str, dict[str, int]]:
    cubin = compiled(family, ARCH)
    counts = instructions(cubin)
    return {
        name: {
            "registers": used.registers, "shared": used.shared, "spills": used.spills,
            **{what: n for what, n in counts[name].items() if n},
        }
        for name, used in cubin.resources.items()
    }  # fmt: skip


def _ones(device, *shape, dtype=np.float32):
    return device.put(np.ones(shape, dtype))


def _convolution(device, x, w, dtype):
    """Padded, so that the result is as large as an image of filters of 3 x 3, and 3 x 3 of filters as large as an image."""
    launch_convolution.convolution(
        device, _ones(device, *x, dtype=dtype), _ones(device, *w, dtype=dtype), strides=(1, 1),
        padding=((1, 1), (1, 1)), lhs_dilation=(1, 1), rhs_dilation=(1, 1), groups=1,
    )  # fmt: skip


#: Launches of which the requests are counted, at sizes that fill warps.
LAUNCHES = {
    "copy": lambda d: launches.copy(d, _ones(d, 4096)),
    "transpose": lambda d: launches.transpose(d, _ones(d, 64, 64)),
    "softmax": lambda d: launches.softmax(d, _ones(d, 2, 1024)),
    "reduce_rows": lambda d: launches.reduce_rows(d, _ones(d, 2, 1024), "Sum"),
    "reduce_columns": lambda d: launches.reduce_columns(d, _ones(d, 64, 256), "Sum"),
    "cumulative": lambda d: launch_reduction.cumulative(d, _ones(d, 2, 512), "Sum"),
    "sort": lambda d: launch_sort.sort_rows(d, _ones(d, 2, 512), places=False),
    "normalise": lambda d: launches.normalise(d, _ones(d, 2, 512), _ones(d, 512), _ones(d, 512), 1e-5),
    "batch_normalise": lambda d: launch_norm.batch_normalise(d, _ones(d, 64, 64), _ones(d, 64), _ones(d, 64), 1e-5),
    "matmul": lambda d: launches.matmul(d, _ones(d, 64, 64), _ones(d, 64, 64)),
    "tensor_matmul": lambda d: launches.tensor_matmul(d, *(_ones(d, 64, 64, dtype=np.float16),) * 2),
    "attention": lambda d: launch_attention.attention(d, *(_ones(d, 1, 64, 1, 64, dtype=np.float16),) * 3),
    "attention_transposed": lambda d: launch_attention.attention_transposed(
        d, *(_ones(d, 1, 64, 1, 64, dtype=np.float16),) * 5, _ones(d, 1, 1, 64)
    ),
    "convolution": lambda d: _convolution(d, (1, 4, 16, 16), (64, 4, 3, 3), np.float32),
    "convolution of halves": lambda d: _convolution(d, (1, 4, 16, 16), (64, 4, 3, 3), np.float16),
    "convolution, deep": lambda d: _convolution(d, (8, 1, 8, 8), (64, 1, 8, 8), np.float32),
    "convolution of halves, deep": lambda d: _convolution(d, (8, 1, 8, 8), (64, 1, 8, 8), np.float16),
    "convolution, few features": lambda d: _convolution(d, (1, 4, 16, 16), (2, 4, 3, 3), np.float32),
    "convolution, few features, deep": lambda d: _convolution(d, (8, 1, 16, 16), (2, 1, 16, 16), np.float32),
    "lstm": lambda d: launch_recurrent.lstm(
        d, _ones(d, 4, 2, 128), _ones(d, 32, 128), _ones(d, 2, 32), _ones(d, 2, 32)
    ),
    "lstm_transposed": lambda d: launch_recurrent.lstm_transposed(
        d,
        _ones(d, 4, 2, 32),
        *(_ones(d, 2, 32),) * 2,
        _ones(d, 4, 2, 32),
        _ones(d, 4, 2, 128),
        _ones(d, 32, 128),
        _ones(d, 2, 32),
    ),
}


def memory_budget(name: str) -> dict[str, list[float]]:
    """For each kind of access: requests, and what they cost over the least that they could."""
    device = EmulatedDevice("profile")
    LAUNCHES[name](device)
    kinds: dict[str, list[int]] = {}
    for (_, kind), cost in device.profile.items():
        total = kinds.setdefault(kind, [0, 0, 0])
        for i, n in enumerate((cost.requests, cost.cost, cost.ideal)):
            total[i] += n
    return {kind: [requests, round(cost / ideal, 3)] for kind, (requests, cost, ideal) in sorted(kinds.items())}


def measured() -> dict[str, dict[str, object]]:
    return {
        "static": {family: static_budget(family) for family in INSTANCES},
        "memory": {name: memory_budget(name) for name in LAUNCHES},
    }


if __name__ == "__main__":
    lines = []
    for part, table in measured().items():
        inner = []
        for key, rows in table.items():
            items = ",\n".join(f"      {json.dumps(name)}: {json.dumps(value)}" for name, value in rows.items())
            inner.append(f"    {json.dumps(key)}: {{\n{items}\n    }}")
        lines.append(f"  {json.dumps(part)}: {{\n" + ",\n".join(inner) + "\n  }")
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
