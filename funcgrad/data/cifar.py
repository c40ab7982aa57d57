"""CIFAR-10 and CIFAR-100 from their binary files, which need no pickle.

A record is one label byte (CIFAR-100: the coarse label, then the fine one) and 3,072 bytes of pixels: 1,024 of red,
then of green, then of blue, each row by row (A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
2009).
"""

import os
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.errors import DataError

__all__ = ["load_cifar10", "load_cifar100"]

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
Images = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def load_cifar10(directory: str | os.PathLike[str]) -> Images:
    """Load CIFAR-10 from a folder that holds ``cifar-10-binary.tar.gz``, or its six ``.bin`` files.

    Returns:
        ``(x_train, y_train, x_test, y_test)``: images of shape ``(n, 32, 32, 3)`` and dtype float32 from 0 to 1; labels
        of shape ``(n,)`` and dtype int64 from 0 to 9. Of the published files, n is 50,000 and 10,000.

    Raises:
        DataError: a file is missing or damaged.
    """
    names = [f"data_batch_{i}.bin" for i in range(1, 6)]
    parts = _read(directory, "cifar-10-binary.tar.gz", "cifar-10-batches-bin", [*names, "test_batch.bin"])
    pairs = [_parse(data, where, 1, 0, 10) for where, data in parts]
    x_test, y_test = pairs.pop()
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs]), x_test, y_test


def load_cifar100(directory: str | os.PathLike[str], *, coarse: bool = False) -> Images:
    """Load CIFAR-100 from a folder that holds ``cifar-100-binary.tar.gz``, or ``train.bin`` and ``test.bin``.

    Returns and raises as :func:`load_cifar10`; labels go from 0 to 99, with ``coarse`` from 0 to 19.
    """
    parts = _read(directory, "cifar-100-binary.tar.gz", "cifar-100-binary", ["train.bin", "test.bin"])
    column, classes = (0, 20) if coarse else (1, 100)
    (x_train, y_train), (x_test, y_test) = (_parse(data, where, 2, column, classes) for where, data in parts)
    return x_train, y_train, x_test, y_test


def _read(
    directory: str | os.PathLike[str], archive: str, folder: str, names: Sequence[str]
) -> list[tuple[str, bytes]]:
    """The contents of the files, each with what to call it, from a folder or out of the archive in it."""
    directory = Path(directory)
    if not directory.is_dir():
        raise DataError(f"{directory}: no such directory")
    for place in (directory, directory / folder):
        if (place / names[0]).exists():
            missing = [n for n in names if not (place / n).exists()]
            if missing:
                raise DataError(f"{place}: holds no {missing[0]}")
            return [(str(place / n), (place / n).read_bytes()) for n in names]
    packed = directory / archive
    if not packed.exists():
        raise DataError(f"{directory}: holds neither {archive} nor {folder}/{names[0]}")
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(packed) as tar:
            for member in tar:
                name = member.name.rpartition("/")[2]
                file = tar.extractfile(member) if member.isfile() and name in names else None
                if file is not None:
                    found[name] = file.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{packed}: damaged or truncated ({error})") from None
    for name in names:
        if name not in found:
            raise DataError(f"{packed}: holds no {name}")
    return [(f"{packed}:{name}", found[name]) for name in names]


def _parse(data: bytes, where: str, label_bytes: int, column: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    record = label_bytes + _PIXELS
    if not data or len(data) % record:
        raise DataError(f"{where}: truncated or foreign: {len(data)} bytes are not whole records of {record}")
    rows = np.frombuffer(data, np.uint8).reshape(-1, record)
    labels = rows[:, column].astype(np.int64)
    if labels.max() >= classes:
        raise DataError(f"{where}: holds the label {labels.max()}; labels go from 0 to {classes - 1}")
    planes = rows[:, label_bytes:].reshape(-1, 3, _SIDE, _SIDE)
    return planes.transpose(0, 2, 3, 1).astype(np.float32) / np.float32(255), labels
