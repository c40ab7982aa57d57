"""Settings that hold for a thread, each an attribute and a context manager.

>>> from funcgrad.core.config import config
>>> with config(debug_nans=True):
...     config.debug_nans
True
>>> config.debug_nans
False
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .key_reuse import forget_keys

__all__ = ["config"]


def _threads() -> int:
    """How many threads programs may use if nobody says: ``FUNCGRAD_NUM_THREADS``, or as many as there are processors."""
    text = os.environ.get("FUNCGRAD_NUM_THREADS")
    if text is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.strip().isdecimal() or int(text) < 1:
        raise ValueError(f"FUNCGRAD_NUM_THREADS is {text!r}; set it to a number of threads, 1 or more, or leave it out")
    return int(text)


def _graphs() -> bool:
    """Whether CUDA graphs are used if nobody says: ``FUNCGRAD_CUDA_GRAPHS``, 0 or 1."""
    text = os.environ.get("FUNCGRAD_CUDA_GRAPHS", "1")
    if text not in ("0", "1"):
        raise ValueError(f"FUNCGRAD_CUDA_GRAPHS is {text!r}; set it to 0 or 1, or leave it out")
    return text == "1"


class Config(threading.local):
    """The settings.

    ``debug_nans``: programs run equation by equation, and the first NaN or infinity that arises from finite operands
    raises :class:`~funcgrad.errors.NonFiniteError`. ``check_ir``: every jaxpr is type-checked when it is made and after
    every compiler pass. ``debug_key_reuse``: a random key that is used twice since the setting was turned on raises
    :class:`~funcgrad.errors.KeyReuseError`, which names both lines. ``explain_retraces``: ``jit`` logs why it traced again. ``num_threads``: how many threads a compiled program may use,
    its caller's included; at first what ``FUNCGRAD_NUM_THREADS`` says, or as many as there are processors. Results do
    not depend on it. ``cuda_graphs``: whether programs on a GPU are replayed as CUDA graphs from their second call on; at
    first what ``FUNCGRAD_CUDA_GRAPHS`` says, or True.
    """

    debug_nans: bool = False
    debug_key_reuse: bool = False
    check_ir: bool = False
    explain_retraces: bool = False
    num_threads: int = _threads()
    cuda_graphs: bool = _graphs()

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(Config, name):
            known = ", ".join(k for k in Config.__annotations__)
            raise AttributeError(f"unknown setting {name!r}; there are: {known}")
        if name == "debug_key_reuse" and bool(value) != self.debug_key_reuse:
            forget_keys()
        if name == "num_threads" and (type(value) is not int or value < 1):
            raise ValueError(f"num_threads is a whole number, 1 or more, not {value!r}")
        super().__setattr__(name, value)

    @contextmanager
    def __call__(self, **settings: Any) -> Iterator[None]:
        """Set for the duration of a ``with`` block."""
        previous = {name: getattr(self, name, None) for name in settings}
        try:
            for name, value in settings.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in previous.items():
                if hasattr(Config, name):
                    setattr(self, name, value)


config = Config()
