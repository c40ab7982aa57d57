"""Object code on disk, so that a program is compiled once on a machine and not once a process.

The key is a hash of the module's text and of everything else that the code depends on. An entry is written under
another name first and then renamed, so that nobody reads half of one; one that is damaged is as good as none. The folder
is `FUNCGRAD_CACHE_DIR`, or where the platform keeps caches; an empty `FUNCGRAD_CACHE_DIR` turns the cache off.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import warnings
from pathlib import Path

__all__ = ["folder", "key", "read", "write"]

_DIGEST_SIZE = 32
_warned = False


def folder() -> Path | None:
    """Where compiled code is kept, or None."""
    named = os.environ.get("FUNCGRAD_CACHE_DIR")
    if named is not None:
        return Path(named) / "llvm" if named else None
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "funcgrad" / "llvm"


def key(*parts: str) -> str:
    """The name of an entry."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def read(name: str) -> bytes | None:
    """The code of an entry, or None if there is none that is whole."""
    place = folder()
    if place is None:
        return None
    try:
        data = (place / f"{name}.o").read_bytes()
    except OSError:
        return None
    code = data[_DIGEST_SIZE:]
    return code if code and hashlib.sha256(code).digest() == data[:_DIGEST_SIZE] else None


def write(name: str, code: bytes) -> None:
    """Keep an entry. Where that cannot be, programs are compiled anew in every process, which is said once."""
    global _warned
    place = folder()
    if place is None:
        return
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            os.replace(temporary, place / f"{name}.o")
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        if not _warned:
            _warned = True
            warnings.warn(
                f"compiled programs are not kept on disk, because {place} cannot be written ({error.strerror}); "
                f"set FUNCGRAD_CACHE_DIR to another folder, or to nothing for no cache",
                RuntimeWarning,
                stacklevel=2,
            )
