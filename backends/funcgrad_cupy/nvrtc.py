"""NVIDIA's run-time compiler: CUDA C++ to the machine code of a GPU, with no GPU, no driver and no CuPy.

    cubin = compile_cubin("softmax.cu", {"softmax.cu": text, "prelude.cuh": prelude}, ["softmax<float>"], arch=90)
    cubin.code                      # for cuModuleLoadData
    cubin.lowered["softmax<float>"] # the name to ask the module for
    cubin.resources["softmax<float>"].registers

The library is that of the wheel nvidia-cuda-nvrtc (extra ``cuda-test``) or of an installed toolkit, called by ctypes. What
is compiled is machine code and not PTX: a driver loads the machine code of a newer toolkit of its major version, but not
its PTX. Results are kept on disk by the hash of all that they depend on; an entry that is damaged is made anew.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["CompileError", "Cubin", "NvrtcMissingError", "Resources", "compile_cubin", "include_folders", "version"]

_OPTIONS = ("--std=c++17", "--fmad=true", "--ptxas-options=-v", "--device-as-default-execution-space")


class NvrtcMissingError(RuntimeError):
    """NVRTC is not installed. ``pip install nvidia-cuda-nvrtc``, or the extra ``funcgrad[cuda-test]``."""


class CompileError(RuntimeError):
    """NVRTC refused a text; the message is its log, with the lines of the file."""


class Resources(NamedTuple):
    """What a kernel takes of a multiprocessor: registers a thread, bytes of static shared memory, of stack, of spills."""

    registers: int
    shared: int
    stack: int
    spills: int


class Cubin(NamedTuple):
    """Machine code of the kernels of one text."""

    code: bytes
    lowered: dict[str, str]
    resources: dict[str, Resources]


def _wheel_folders(part: str) -> list[Path]:
    spec = importlib.util.find_spec("nvidia")
    roots = [Path(p) for p in spec.submodule_search_locations or []] if spec else []
    return [
        folder for root in roots for folder in (root / "cu13" / part, root / "cuda_nvrtc" / part) if folder.is_dir()
    ]


def include_folders() -> list[str]:
    """Where NVIDIA's headers are: of the wheels nvidia-cuda-runtime and nvidia-cuda-cccl, or of a toolkit."""
    toolkit = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include"
    found = [folder for folder in (*_wheel_folders("include"), toolkit) if (folder / "cuda_bf16.h").exists()]
    return [str(path) for folder in found[:1] for path in (folder, folder / "cccl") if path.is_dir()]


@cache
def _library() -> ctypes.CDLL:
    toolkit = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    tried = [*_wheel_folders("lib"), toolkit / "lib64", toolkit / "targets" / "x86_64-linux" / "lib"]
    for folder in tried:
        for path in sorted(folder.glob("libnvrtc.so.*")):
            # NVRTC looks for its built-ins by name only, and finds them if they are loaded already.
            for builtins in sorted(folder.glob("libnvrtc-builtins.so.*")):
                ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
            return ctypes.CDLL(str(path))
    raise NvrtcMissingError(
        "NVRTC, the compiler of CUDA kernels, was not found; install it with `pip install nvidia-cuda-nvrtc` "
        f"(looked in {', '.join(map(str, tried))})"
    )


def _check(status: int, what: str) -> None:
    if status:
        _library().nvrtcGetErrorString.restype = ctypes.c_char_p
        raise CompileError(f"{what}: {_library().nvrtcGetErrorString(status).decode()}")


@cache
def version() -> tuple[int, int]:
    """Of NVRTC, as (13, 0). Raises NvrtcMissingError if there is none."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(_library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "nvrtcVersion")
    return major.value, minor.value


# ---- the cache ----


def _folder() -> Path | None:
    named = os.environ.get("FUNCGRAD_CACHE_DIR")
    if named is not None:
        return Path(named) / "cubin" if named else None
    base = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    return Path(base or Path.home() / ".cache") / "funcgrad" / "cubin"


def _read(name: str) -> Cubin | None:
    """An entry: the sha256 of what follows it, a line of JSON, the code. None if there is none that is whole."""
    place = _folder()
    try:
        data = (place / name).read_bytes() if place else b""
    except OSError:
        return None
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        return None
    head, code = data[32:].split(b"\n", 1)
    entry = json.loads(head)
    return Cubin(code, entry["lowered"], {k: Resources(*v) for k, v in entry["resources"].items()})


def _write(name: str, cubin: Cubin) -> None:
    """Keep an entry, under another name first. A folder that cannot be written is no cache, and no error."""
    place = _folder()
    if place is None:
        return
    head = json.dumps({"lowered": cubin.lowered, "resources": cubin.resources}).encode()
    data = head + b"\n" + cubin.code
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place, suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(data).digest() + data)
        os.replace(temporary, place / name)
    except OSError:
        pass


# ---- compiling ----

_USED = re.compile(
    r"Function properties for (?P<name>\S+)\s+(?:ptxas\s+\.)?\s*(?P<stack>\d+) bytes stack frame, "
    r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads\s+"
    r"ptxas info\s+: Used (?P<registers>\d+) registers(?P<rest>[^\n]*)"
)


def _resources(log: str, lowered: Mapping[str, str]) -> dict[str, Resources]:
    by_symbol = {}
    for m in _USED.finditer(log):
        shared = re.search(r"(\d+) bytes smem", m["rest"])
        spills = int(m["stores"]) + int(m["loads"])
        by_symbol[m["name"]] = Resources(int(m["registers"]), int(shared[1]) if shared else 0, int(m["stack"]), spills)
    return {name: by_symbol[symbol] for name, symbol in lowered.items()}


def compile_cubin(
    file: str, texts: Mapping[str, str], names: Iterable[str], arch: int | str, options: Iterable[str] = ()
) -> Cubin:
    """The machine code of the kernels ``names`` in ``texts[file]``, for the GPUs of ``arch`` (90, or "90a").

    ``texts``: the file and those that it includes, by name. ``names``: with their template arguments, as in C++. Raises
    CompileError with NVRTC's log, NvrtcMissingError where there is no NVRTC.
    """
    names = list(names)
    arguments = [*_OPTIONS, f"--gpu-architecture=sm_{arch}", *options]
    parts = [str(version()), file, *arguments, *names, *(t for item in sorted(texts.items()) for t in item)]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    kept = _read(key)
    if kept is not None:
        return kept
    arguments += [f"--include-path={folder}" for folder in include_folders()]
    cubin = _compile(file, texts, names, arguments)
    _write(key, cubin)
    return cubin


def _strings(values: Iterable[str]) -> Any:
    encoded = [v.encode() for v in values]
    return (ctypes.c_char_p * len(encoded))(*encoded)


def _compile(file: str, texts: Mapping[str, str], names: list[str], arguments: list[str]) -> Cubin:
    nvrtc, program = _library(), ctypes.c_void_p()
    headers = {name: text for name, text in texts.items() if name != file}
    _check(
        nvrtc.nvrtcCreateProgram(
            ctypes.byref(program), texts[file].encode(), file.encode(),
            len(headers), _strings(headers.values()), _strings(headers),
        ), file,
    )  # fmt: skip
    try:
        for name in names:
            _check(nvrtc.nvrtcAddNameExpression(program, name.encode()), name)
        status = nvrtc.nvrtcCompileProgram(program, len(arguments), _strings(arguments))
        log = _text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
        if status:
            raise CompileError(f"{file} does not compile:\n{log}")
        code = _bytes(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
        lowered = {}
        for name in names:
            symbol = ctypes.c_char_p()
            _check(nvrtc.nvrtcGetLoweredName(program, name.encode(), ctypes.byref(symbol)), name)
            assert symbol.value is not None
            lowered[name] = symbol.value.decode()
        return Cubin(code, lowered, _resources(log, lowered))
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _bytes(size_of: Any, read: Any, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    _check(size_of(program, ctypes.byref(size)), "NVRTC")
    data = ctypes.create_string_buffer(size.value)
    _check(read(program, data), "NVRTC")
    return data.raw


def _text(size_of: Any, read: Any, program: ctypes.c_void_p) -> str:
    return _bytes(size_of, read, program).rstrip(b"\0").decode(errors="replace")
