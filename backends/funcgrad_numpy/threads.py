"""Blocks of a loop over several threads: NumPy lets go of the interpreter inside its loops."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import pairwise

from funcgrad.core.config import config

__all__ = ["in_blocks", "number_of_threads"]

#: What a thread gets at least: handing work over costs tens of microseconds.
_BLOCKS_A_THREAD = 4

_executors = {}
# The threads of a parent process do not live on in its child.
os.register_at_fork(after_in_child=_executors.clear) if hasattr(os, "register_at_fork") else None


def number_of_threads(blocks):
    """How many threads take part in a loop over so many blocks."""
    return max(min(config.num_threads, blocks // _BLOCKS_A_THREAD), 1)


def in_blocks(run, size, step):
    """``run(start, stop)`` for parts of ``range(size)`` that begin at multiples of ``step``, one part a thread.

    Which elements are in a block does not depend on the number of threads, so neither do results.
    """
    blocks = -(-size // step)
    threads = number_of_threads(blocks)
    if threads < 2:
        run(0, size)
        return
    executor = _executors.get(threads)
    if executor is None:
        executor = _executors[threads] = ThreadPoolExecutor(threads - 1, "funcgrad")
    bounds = [min(blocks * k // threads * step, size) for k in range(threads + 1)]
    # Each part has the settings of the caller, floating-point warnings among them.
    others = [executor.submit(copy_context().run, run, *part) for part in pairwise(bounds[1:])]
    try:
        run(bounds[0], bounds[1])
    finally:
        for other in others:
            other.result()
