"""A pool of native threads, for compiled programs that run without the interpreter's lock.

    void parallel_for(void (*function)(void *context, int64_t chunk), void *context, int64_t chunks, int64_t cycles)

calls `function` once for each chunk, 0 <= chunk < chunks, in any order and on several threads, and returns when all calls
have. The caller works too. There is one job at a time: a call from within a job, or from another Python thread while one
runs, does its chunks itself, in order, so that nesting is safe and nothing waits for anything but work. `cycles` is what
the whole job would take one thread, by estimate: threads that sleep are woken only where that pays.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
from collections.abc import Callable

from funcgrad.core.config import config

from .machine import Library
from .workers import MAX_THREADS, text

__all__ = ["address", "num_threads", "parallel_for"]


def num_threads() -> int:
    """How many threads work on a job, its caller among them: `config.num_threads`."""
    return min(config.num_threads, MAX_THREADS)


@functools.cache
def _pool() -> tuple[Library, Callable[[int], None]]:
    library = Library(text(), {})
    reset, want = (ctypes.CFUNCTYPE(None, ctypes.c_int64)(library.address(name)) for name in ("reset", "want"))
    shut_down = ctypes.CFUNCTYPE(None)(library.address("shut_down"))
    reset(num_threads() - 1)
    # The threads run code that the interpreter is about to give back.
    atexit.register(shut_down)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: reset(num_threads() - 1))
    return library, want


def address() -> int:
    """Where `parallel_for` is. The first call compiles it; threads start with the first job that wants them.

    A job of n chunks has n threads at most. So code that cuts its work for `num_threads()` now is never done by more of
    them, though others have started more.
    """
    library, want = _pool()
    want(num_threads() - 1)
    return library.address("parallel_for")


def parallel_for(function: int, context: int, chunks: int, cycles: int) -> None:
    """Call the native function at the address `function`, which takes a pointer and the number of a chunk, for each chunk."""
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(address())
    call(function, context, chunks, cycles)
