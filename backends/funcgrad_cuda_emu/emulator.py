"""A device that is no GPU: kernels compiled by g++ and run under an emulation of the CUDA execution model.

    device = EmulatedDevice(mode="check", order="shuffled")
    x, y = device.put(array), device.empty(array.shape, array.dtype)
    device.launch("elementwise", "copy<float>", grid=(1,), block=(128,), args=[x, y, np.int64(x.size)])
    y.numpy()

``mode`` is "fast" (barriers, masks and canaries are checked), "check" (every memory access is, and undefined behaviour)
or "profile" (memory sectors and passes over the banks of shared memory are counted, see ``device.profile``). ``order``
is the one in which threads and blocks run: "up", "down" or "shuffled"; a right kernel gives the same in all of them.
What a kernel does wrong is a :class:`KernelError` that names file, line, block and thread.

The run-time is ``emulator.cpp``, what kernels see is ``emulator.h``. Builds are kept in a cache folder by a hash of all
that they depend on.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections import defaultdict
from copy import copy
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from funcgrad_cupy import kernels

HERE = Path(__file__).parent
MODES = ("fast", "check", "profile")
ORDERS = ("up", "down", "shuffled")

_COMMON = [
    "-std=c++17",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-gnu-unique",
    "-fno-strict-aliasing",
    "-w",
    "-ffp-contract=off",
]
#: In the modes that see every access, vector accesses must stay whole.
_FLAGS = {
    "fast": ["-O1"],
    "check": ["-O1", "-g1", "-fno-tree-sra", "-fsanitize=thread", "-fsanitize=undefined", "-fno-sanitize=vptr"],
    "profile": ["-O1", "-g1", "-fno-tree-sra", "-fsanitize=thread"],
}


class KernelError(Exception):
    """A kernel did what it must not do, or was called as it cannot be."""


class BuildError(Exception):
    """g++ did not compile a kernel; the message is its own."""


@cache
def include_folder() -> Path | None:
    """Where NVIDIA's headers are: the wheels nvidia-cuda-runtime and nvidia-cuda-crt, or an installed toolkit."""
    spec = importlib.util.find_spec("nvidia")
    wheels = [Path(p) / "cu13" / "include" for p in spec.submodule_search_locations or []] if spec else []
    toolkits = [
        Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include",
        *Path("/usr/local").glob("cuda-*/include"),
    ]
    for folder in (*wheels, *toolkits):
        if (folder / "cuda_bf16.h").exists() and (folder / "crt" / "host_defines.h").exists():
            return folder
    return None


def why_not() -> str | None:
    """The reason why nothing can be emulated on this machine, or None."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        return "the CUDA emulation is written for Linux on x86-64"
    if not shutil.which("g++") or not shutil.which("addr2line"):
        return "the CUDA emulation needs g++ and addr2line"
    if include_folder() is None:
        return "the CUDA emulation needs NVIDIA's headers: pip install 'funcgrad[cuda-test]'"
    return None


# ---- building ----


@cache
def _cache_folder() -> Path:
    named = os.environ.get("FUNCGRAD_CACHE_DIR")
    base = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "funcgrad"
    try:
        folder = base / "cuda_emu"
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="cuda_emu"))
    return folder


@cache
def _compiler() -> str:
    version = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout
    return version.splitlines()[0]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join((_compiler(), str(include_folder()), *parts)).encode()).hexdigest()[:24]


def _compile(arguments: list[str]) -> None:
    done = subprocess.run(["g++", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise BuildError(done.stderr)


def _built(target: Path, arguments: list[str]) -> Path:
    """``target``, made by g++ under another name first: two processes, or threads, may build the same."""
    if not target.exists():
        temporary = target.with_name(f"{target.name}.{_writer()}.tmp")
        _compile([*arguments, "-o", str(temporary)])
        os.replace(temporary, target)
    return target


def _writer() -> str:
    """What tells apart those that may write the same file at one time."""
    return f"{os.getpid()}.{threading.get_ident()}"


@cache
def _runtime() -> Path:
    flags = [*_COMMON, "-O2", "-I", str(include_folder())]
    name = _digest((HERE / "emulator.cpp").read_text(), (HERE / "emulator.h").read_text(), *flags)
    return _built(_cache_folder() / f"{name}.o", [*flags, "-c", str(HERE / "emulator.cpp")])


@cache
def _header(mode: str) -> Path:
    """The folder of the emulator's header, parsed once: a third of the time of a build goes into NVIDIA's headers."""
    text = (HERE / "emulator.h").read_text()
    flags = [*_COMMON, *_FLAGS[mode], "-I", str(include_folder())]
    folder = _cache_folder() / _digest(text, *flags)
    folder.mkdir(exist_ok=True)
    header = folder / "emulator.h"
    if not header.exists():
        temporary = folder / f"{_writer()}.tmp"
        temporary.write_text(text)
        os.replace(temporary, header)
    _built(folder / "emulator.h.gch", [*flags, "-x", "c++-header", str(header)])
    return folder


_DYNAMIC = re.compile(r"extern\s+__shared__\s+(?:__align__\(\d+\)\s+|alignas\(\d+\)\s+)?([\w:<>, ]+?)\s+(\w+)\[\];")
_STATIC = re.compile(r"__shared__\s+(?:__align__\(\d+\)\s+|alignas\(\d+\)\s+)?([\w:<>, ]+?)\s+(\w+)((?:\[[^\]]+\])*);")


def rewritten(text: str) -> str:
    """The text with its __shared__ variables as references into the arena of a block; lines keep their numbers."""
    text = _DYNAMIC.sub(r"\1 *\2 = static_cast<\1 *>(::emu::dynamic_shared());", text)
    text = _STATIC.sub(r"auto &\2 = ::emu::shared<\1\3, __COUNTER__>();", text)
    for number, line in enumerate(text.splitlines(), 1):
        if "__shared__" in line.split("//")[0]:
            raise BuildError(f"line {number}: write one __shared__ variable a declaration, in one line: {line.strip()}")
    return text


class _Region(ctypes.Structure):
    _fields_ = (
        ("base", ctypes.c_void_p), ("size", ctypes.c_size_t), ("initialised", ctypes.c_void_p), ("name", ctypes.c_char_p),
    )  # fmt: skip


class _Launch(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3), ("shared_bytes", ctypes.c_uint),
        ("order", ctypes.c_int), ("mode", ctypes.c_int), ("seed", ctypes.c_uint),
    )  # fmt: skip


class _Parameter(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_char), ("size", ctypes.c_int), ("pointee", ctypes.c_int))


class _Row(ctypes.Structure):
    _fields_ = (
        ("pc", ctypes.c_uint32), ("shared", ctypes.c_int32), ("write", ctypes.c_int32),
        ("requests", ctypes.c_uint64), ("lanes", ctypes.c_uint64), ("cost", ctypes.c_uint64), ("ideal", ctypes.c_uint64),
    )  # fmt: skip


class Module:
    """A .cu text compiled for the CPU: ``names`` are the kernels in it, template arguments included."""

    def __init__(self, file: str, texts: dict[str, str], names: list[str], mode: str) -> None:
        flags = [*_COMMON, *_FLAGS[mode], "-I", str(_header(mode)), "-I", str(include_folder())]
        parts = {name: rewritten(text) for name, text in texts.items()}
        entries = "".join(f"EMU_KERNEL({i}, {name})\n" for i, name in enumerate(names))
        key = _digest(file, *parts, *parts.values(), entries, *flags, _runtime().name)
        self.path = _cache_folder() / f"{key}.so"
        if not self.path.exists():
            with tempfile.TemporaryDirectory() as folder:
                for name, text in parts.items():
                    (Path(folder) / name).write_text(text)
                main = Path(folder) / "main.cpp"
                main.write_text(f'#include "emulator.h"\n#include "{file}"\n{entries}')
                made = Path(folder) / "main.o"
                _compile([*flags, "-c", str(main), "-o", str(made)])
                # Without -fsanitize, so that the hooks are the emulator's and not those of GCC's libraries.
                _built(self.path, ["-shared", str(made), str(_runtime())])
        self._library = ctypes.CDLL(str(self.path))
        self._numbers = {name: i for i, name in enumerate(names)}
        self._lines: dict[int, str] = {}

    def entry(self, name: str) -> tuple[Any, list[_Parameter]]:
        number = self._numbers[name]
        signature = self._library[f"emu_signature_{number}"]
        signature.restype = ctypes.POINTER(_Parameter)
        found: list[_Parameter] = []
        for parameter in signature():
            if parameter.kind == b"\0":
                break
            found.append(parameter)
        return self._library[f"emu_call_{number}"], found

    def launch(self, function: Any, args: Any, launch: _Launch, regions: list[_Region]) -> None:
        message = ctypes.create_string_buffer(2048)
        table = (_Region * len(regions))(*regions)
        run = self._library.emu_launch
        if run(
            function, args, ctypes.byref(launch), table, ctypes.c_size_t(len(regions)), message, ctypes.c_size_t(2048)
        ):
            text = message.value.decode()
            raise KernelError(re.sub(r"\{([0-9a-f]+)\}", lambda m: self.line(int(m[1], 16)), text))

    def line(self, pc: int) -> str:
        """file:line of a return address; of inlined code, its own and not that of who called it."""
        if pc not in self._lines:
            command = ["addr2line", "-e", str(self.path), hex(pc - 1)]
            found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
            self._lines[pc] = Path(found).name
        return self._lines[pc]

    def profile(self) -> list[_Row]:
        count = self._library.emu_profile
        count.restype = ctypes.c_size_t
        rows = (_Row * count(None, ctypes.c_size_t(0)))()
        count(rows, ctypes.c_size_t(len(rows)))
        return list(rows)


def _first_argument(name: str) -> str:
    return re.split("[<,>]", name)[1] if "<" in name else ""


@cache
def _family(family: str, first: str, mode: str) -> Module:
    """The kernels of a family whose first template argument is ``first``, built together."""
    names = [name for name in kernels.INSTANCES[family] if _first_argument(name) == first]
    return Module(f"{family}.cu", kernels.texts_of(family), names, mode)


def family_of(family: str, name: str, mode: str) -> Module:
    """The module of a hand-written kernel. Raises KeyError for one that is not in the list."""
    if name not in kernels.INSTANCES[family]:
        raise KeyError(f"{name} is not in kernels.INSTANCES[{family!r}]")
    return _family(family, _first_argument(name), mode)


@cache
def module_of(text: str, names: tuple[str, ...], mode: str) -> Module:
    """A module of a text of its own, which may include the prelude."""
    return Module("kernel.cu", {**kernels.headers(), "kernel.cu": text}, list(names), mode)


# ---- memory ----

_CANARY, _POISON, _PAD = 0xA5, 0xFF, 256


class DeviceArray:
    """Memory of the emulated device: poisoned until it is written, with canaries on both sides."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, name: str) -> None:
        self.shape, self.dtype, self.name = shape, np.dtype(dtype), name
        self.size = int(np.prod(shape, dtype=np.int64))
        self.nbytes = self.size * self.dtype.itemsize
        self._memory = np.full(self.nbytes + 3 * _PAD, _CANARY, np.uint8)
        start = -self._memory.ctypes.data % _PAD + _PAD
        self._inside = self._memory[start : start + self.nbytes]
        self._inside[...] = _POISON
        self._before, self._after = self._memory[:start], self._memory[start + self.nbytes :]
        self.initialised = np.zeros(self.nbytes, np.uint8)
        self.base: DeviceArray | None = None

    def part(self, shape: tuple[int, ...], offset: int = 0) -> DeviceArray:
        """The elements from ``offset`` on in another shape, in the same memory."""
        part = copy(self)
        part.shape, part.size = tuple(shape), int(np.prod(shape, dtype=np.int64))
        part.nbytes = part.size * self.dtype.itemsize
        start = offset * self.dtype.itemsize
        part._inside = self._inside[start : start + part.nbytes]
        part.initialised = self.initialised[start : start + part.nbytes]
        part.base = self if self.base is None else self.base
        return part

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def address(self) -> int:
        return self._inside.ctypes.data

    def cast(self, dtype: Any) -> DeviceArray:
        """The same memory as a row of elements of another dtype."""
        other = copy(self)
        other.dtype = np.dtype(dtype)
        other.shape, other.size = (self.nbytes // other.dtype.itemsize,), self.nbytes // other.dtype.itemsize
        other.base = self if self.base is None else self.base
        return other

    def forget(self) -> None:
        """From here on as before the first write."""
        self._inside[...] = _POISON
        self.initialised[...] = 0

    def view(self) -> np.ndarray:
        return self._inside.view(self.dtype).reshape(self.shape)

    def numpy(self) -> np.ndarray:
        return self.view().copy()

    def check_canaries(self) -> None:
        for side, part in (("before", self._before), ("behind", self._after)):
            if (part != _CANARY).any():
                part[...] = _CANARY
                raise KernelError(f"out of bounds: memory {side} {self.name} of {self.nbytes} bytes was written")


class Cost(NamedTuple):
    """What the requests of a line of source cost: sectors of 32 bytes, or passes over the banks of shared memory."""

    requests: int
    lanes: int
    cost: int
    ideal: int


_running = threading.Lock()


class EmulatedDevice:
    """The interface that a back end has to a GPU, on the CPU."""

    array_type = DeviceArray

    def __init__(self, mode: str = "fast", order: str = "up", seed: int = 0) -> None:
        self.mode, self.order, self.seed = mode, order, seed
        self._arrays: weakref.WeakValueDictionary[int, DeviceArray] = weakref.WeakValueDictionary()
        self._numbers = count(1)
        self.profile: dict[tuple[str, str], Cost] = {}

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> DeviceArray:
        number = next(self._numbers)  # threads never get the same one
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        array = self.array_type(shape, dtype, f"array {number} {np.dtype(dtype).name}{list(shape)}")
        self._arrays[number] = array
        return array

    def put(self, x: Any) -> DeviceArray:
        x = np.asarray(x)
        array = self.empty(x.shape, x.dtype)
        array.view()[...] = x
        array.initialised[...] = 1
        return array

    def get(self, array: DeviceArray) -> np.ndarray:
        """The array's elements. In check mode, raises KernelError for an element that no kernel has written."""
        if self.mode == "check" and not array.initialised.all():
            missing = int(np.argmin(array.initialised)) // array.dtype.itemsize
            raise KernelError(f"unwritten: element {missing} of {array.name} was never written")
        return array.numpy()

    def pointer(self, array: DeviceArray) -> int:
        return array.address

    def view(self, array: DeviceArray, shape: tuple[int, ...], offset: int = 0) -> DeviceArray:
        return array.part(shape, offset)

    def launch(self, family: str, name: str, grid: Any, block: Any, args: Any, shared: int = 0) -> None:
        """Run ``name``, of the file ``family``.cu. Raises KernelError for what the kernel does wrong."""
        self.launch_module(family_of(family, name, self.mode), name, grid, block, args, shared)

    def launch_text(self, text: str, name: str, grid: Any, block: Any, args: Any, shared: int = 0) -> None:
        self.launch_module(module_of(text, (name,), self.mode), name, grid, block, args, shared)

    def launch_module(self, module: Module, name: str, grid: Any, block: Any, args: Any, shared: int) -> None:
        function, signature = module.entry(name)
        if len(args) != len(signature):
            raise KernelError(f"{name} takes {len(signature)} arguments, not {len(args)}")
        values = [self._argument(name, i, p, x) for i, (p, x) in enumerate(zip(signature, args))]
        pointers = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
        self._start(module, function, grid, block, pointers, shared)

    def _start(self, module: Module, function: Any, grid: Any, block: Any, pointers: Any, shared: int) -> None:
        """Run a kernel whose arguments' bytes are where ``pointers``, a table, says."""
        arrays = [array for known in self._arrays.valuerefs() if (array := known()) is not None]
        regions = [
            _Region(a.address, a.nbytes, a.initialised.ctypes.data, a.name.encode()) for a in arrays if a.nbytes
        ]  # fmt: skip
        three = lambda sizes: (ctypes.c_uint * 3)(*(int(s) for s in sizes), *[1] * (3 - len(sizes)))
        order, mode = ORDERS.index(self.order), MODES.index(self.mode)
        launch = _Launch(three(grid), three(block), shared, order, mode, self.seed)
        # A module's run-time holds the state of one launch, and ctypes lets other threads run.
        with _running:
            module.launch(function, pointers, launch, regions)
        for array in arrays:
            array.check_canaries()
        if self.mode == "profile":
            totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
            for row in module.profile():
                kind = f"{'shared' if row.shared else 'global'} {'write' if row.write else 'read'}"
                for i, n in enumerate((row.requests, row.lanes, row.cost, row.ideal)):
                    totals[module.line(row.pc), kind][i] += n
            self.profile = {key: Cost(*total) for key, total in sorted(totals.items())}

    def _argument(self, name: str, index: int, parameter: _Parameter, x: Any) -> np.ndarray:
        """The bytes of an argument; what a GPU would take without a word for something else raises."""
        kind = parameter.kind.decode()
        if isinstance(x, DeviceArray) or x is None:
            if kind != "p":
                raise KernelError(f"argument {index} of {name} is an array, but the parameter is not a pointer")
            if x is not None and parameter.pointee not in (0, x.dtype.itemsize):
                raise KernelError(
                    f"argument {index} of {name} is an array of {x.dtype}, but the parameter points to "
                    f"{parameter.pointee} bytes"
                )
            return np.array([x.address if x is not None else 0], np.uint64)
        given = np.asarray(x)
        kinds = {"i": "iub", "f": "f", "s": "fV"}.get(kind, "")
        if not isinstance(x, np.generic) or given.dtype.itemsize != parameter.size or given.dtype.kind not in kinds:
            raise KernelError(
                f"argument {index} of {name} is {x!r}, but the parameter is of kind {kind!r} and {parameter.size} bytes"
            )
        return np.array([given])
