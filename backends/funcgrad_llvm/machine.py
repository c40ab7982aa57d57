"""LLVM on this processor: from the text of a module to the addresses of its functions.

Loops are written as vectors already, so that a handful of passes does what the default pipeline of LLVM needs ten times
as long for.
"""

from __future__ import annotations

import functools
import threading
import weakref
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from . import cache

__all__ = ["Library", "Processor", "processor", "vector_bytes"]

_lock = threading.Lock()


class Processor:
    """The processor that this runs on, as LLVM knows it."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.name = llvm.get_host_cpu_name()
        try:
            features = llvm.get_host_cpu_features()
        except RuntimeError:  # LLVM cannot ask this processor
            features = llvm.FeatureMap()
        self.features = features.flatten()
        self.triple = llvm.get_default_triple()
        has = features.get
        # 512-bit vectors where the processor has them; the narrower ones are what every processor of its kind has.
        self.vector_bytes = 64 if has("avx512f") and has("avx512bw") and has("avx512vl") else 32 if has("avx2") else 16
        self.has_half = bool(has("f16c") or has("fullfp16"))
        self.target = llvm.Target.from_triple(self.triple)

    def machine(self) -> Any:
        options = dict(cpu=self.name, features=self.features, opt=1, reloc="pic", codemodel="jitdefault", jit=True)
        return self.target.create_target_machine(**options)

    @functools.cached_property
    def key(self) -> str:
        """What compiled code depends on, besides its text."""
        return "|".join([llvmlite.__version__, self.triple, self.name, self.features])


@functools.cache
def processor() -> Processor:
    with _lock:
        return Processor()


def vector_bytes() -> int:
    """The size of the widest vectors of this processor."""
    return processor().vector_bytes


def _compiled(text: str) -> bytes:
    """The object code of a module."""
    cpu = processor()
    module = llvm.parse_assembly(f'target triple = "{cpu.triple}"\n{text}')
    machine = cpu.machine()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_new_gvn_pass()
    passes.add_aggressive_dce_pass()
    passes.run(module, builder)
    return bytes(machine.emit_object(module))


class Library:
    """A compiled module. Its functions live as long as it does."""

    def __init__(self, text: str, symbols: dict[str, int]) -> None:
        cpu = processor()
        key = cache.key(text, cpu.key)
        with _lock:
            for name, address in {**symbols, "array_class": id(np.ndarray)}.items():
                llvm.add_symbol(name, address)
            code = cache.read(key)
            if code is None:
                code = _compiled(text)
                cache.write(key, code)
            self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), cpu.machine())
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
            self._engine.finalize_object()
        self._close = weakref.finalize(self, self._engine.close)

    def address(self, name: str) -> int:
        """Where a function is."""
        return int(self._engine.get_function_address(name))
