"""Where in the user's program something happened.

Every equation and every error of funcgrad carries the user's ``file:line``. It is found by walking the Python stack to
the first frame that is not funcgrad's own. While a jaxpr is re-interpreted (differentiated, batched, evaluated) the
user's frames are long gone, so the interpreter sets the source of the equation at work instead.
"""

from __future__ import annotations

import linecache
import os
import sys
import threading
from typing import NamedTuple

__all__ = ["Source", "at_source", "user_source"]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_BACKENDS = os.path.join(os.path.dirname(os.path.dirname(_PACKAGE)), "backends") + os.sep
_MAIN = os.path.join(_PACKAGE, "__main__.py")
_own_files: dict[str, bool] = {}


class Source(NamedTuple):
    """A place in the user's program.

    ``backward`` is true for an equation of a transposed program: it computes a cotangent, and the line is that of the
    forward operation it belongs to.
    """

    file: str
    line: int
    function: str
    backward: bool = False

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line} ({self.function})"

    @property
    def code(self) -> str:
        """The text of the line, or an empty string where the file cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    def describe(self) -> str:
        """``file:line in function: code``, for error messages."""
        code = self.code
        return f"{self.file}:{self.line} in {self.function}" + (f": {code}" if code else "")


class _Override(threading.local):
    source: Source | None = None
    backward: bool = False


_override = _Override()


class at_source:
    """While active, :func:`user_source` answers what ``move`` was last told: for interpreters of a jaxpr.

    Until then, and for an equation without a source, it answers as before. With ``backward`` the answer is marked as
    belonging to a backward pass.
    """

    __slots__ = ("backward", "previous")

    def __init__(self, backward: bool = False) -> None:
        self.backward = backward

    def __enter__(self) -> at_source:
        self.previous = _override.source, _override.backward
        return self

    def __exit__(self, *_: object) -> None:
        _override.source, _override.backward = self.previous

    def move(self, source: Source | None) -> None:
        """Answer another source from now on."""
        if source is None:
            _override.source, _override.backward = self.previous
        else:
            _override.source, _override.backward = source, self.backward


def _is_own(name: str) -> bool:
    """Whether a file is funcgrad's, or lies between it and the user: looked up for every frame, so kept by name."""
    own = name.startswith((_PACKAGE, _BACKENDS)) and name != _MAIN
    own = own or f"{os.sep}optree{os.sep}" in name or name.startswith("<frozen")
    own = own or name.endswith((os.sep + "contextlib.py", os.sep + "functools.py"))
    _own_files[name] = own
    return own


def user_source() -> Source | None:
    """The innermost line of the user's program, or None where there is none on the stack."""
    source = _override.source
    if source is not None:
        return source._replace(backward=True) if _override.backward else source
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        own = _own_files.get(name)
        if own is None:
            own = _is_own(name)
        if not own:
            return Source(name, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back  # type: ignore[assignment]
    return None
