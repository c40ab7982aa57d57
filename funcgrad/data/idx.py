"""IDX, the file format of MNIST: a reader that refuses what is damaged, and the MNIST data set.

An IDX file is two zero bytes, one byte that names the element type, one byte that gives the rank, the sizes of the
axes as big-endian 32-bit integers, then the elements, big-endian and row-major (Y. LeCun, C. Cortes, C. Burges, "The
MNIST database of handwritten digits", 1998). Files may be plain or compressed by gzip; which one is seen from their
first bytes, not from their name.
"""

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from ..core.errors import DataError

__all__ = ["load_mnist", "read_idx"]

_ELEMENT_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_RATIO = 1032  # deflate shrinks by no more than this
_HELD_OUT = 5  # with only the 10,000 images of t10k, one in five (the last 2,000) is held out


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read one IDX file, plain or gzip-compressed.

    Returns:
        A fresh array of the shape and the element type that the file declares (uint8, int8, int16, int32, float32 or
        float64), in the machine's byte order.

    Raises:
        DataError: the file is missing or unreadable, is not an IDX file, or holds fewer or more bytes than its header
            promises.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "example-idx1-ubyte"
    >>> _ = file.write_bytes(bytes([0, 0, 0x08, 1, 0, 0, 0, 3, 7, 8, 9]))
    >>> read_idx(file)
    array([7, 8, 9], dtype=uint8)
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            if not compressed:
                return _parse(file, path)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _parse(cast(BinaryIO, unpacked), path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except EOFError:
        raise DataError(f"{path}: truncated: the compressed data end too early") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip data ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _parse(file: BinaryIO, path: Path) -> np.ndarray:
    head = file.read(4)
    if len(head) < 4:
        raise DataError(f"{path}: truncated: an IDX file starts with 4 bytes, this one holds {len(head)}")
    if head[:2] != b"\0\0" or head[2] not in _ELEMENT_TYPES:
        raise DataError(f"{path}: not an IDX file: it starts with the bytes {head.hex(' ')}")
    dtype, rank = np.dtype(_ELEMENT_TYPES[head[2]]), head[3]
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise DataError(f"{path}: truncated: the sizes of {rank} axes take {4 * rank} bytes, {len(sizes)} are there")
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, 4 * rank, 4))
    promised = math.prod(shape) * dtype.itemsize
    # One byte more than promised tells a longer file from an exact one without reading all of it; the bound keeps a
    # damaged header from asking for more memory than the file can fill.
    data = file.read(min(promised, path.stat().st_size * _GZIP_RATIO) + 1)
    if len(data) < promised:
        raise DataError(f"{path}: truncated: shape {shape} takes {promised} bytes of data, {len(data)} are there")
    if len(data) > promised:
        raise DataError(f"{path}: not an IDX file: more data than the {promised} bytes that shape {shape} takes")
    return np.frombuffer(data, dtype, count=math.prod(shape)).reshape(shape).astype(dtype.newbyteorder("="))


def load_mnist(
    directory: str | os.PathLike[str],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Load MNIST, or a data set in its files (Fashion-MNIST), from a folder of IDX files.

    The folder holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
    ``t10k-labels-idx1-ubyte``, each plain or with the suffix ``.gz``. Where only the two t10k files are there, their
    first four fifths (8,000 of 10,000) are for training and the rest is for testing.

    Returns:
        ``(x_train, y_train, x_test, y_test)``: images of shape ``(n, height * width)`` and dtype float32, from 0
        (paper) to 1 (ink); labels of shape ``(n,)`` and dtype int64, from 0 to 9.

    Raises:
        DataError: the folder or a file is missing, a file is damaged or foreign, or two files do not fit each other.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DataError(f"{directory}: no such directory")
    images, labels = _load_pair(directory, "t10k")
    if _find(directory, "train-images-idx3-ubyte") is None and _find(directory, "train-labels-idx1-ubyte") is None:
        held_out = len(images) // _HELD_OUT
        if held_out == 0:
            raise DataError(f"{directory}: {len(images)} images are too few to hold one in {_HELD_OUT} out for testing")
        cut = len(images) - held_out
        return images[:cut], labels[:cut], images[cut:], labels[cut:]
    train_images, train_labels = _load_pair(directory, "train")
    if train_images.shape[1] != images.shape[1]:
        raise DataError(
            f"{directory}: the training images have {train_images.shape[1]} pixels, the t10k images {images.shape[1]}"
        )
    return train_images, train_labels, images, labels


def _load_pair(directory: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """The images, flat and scaled, and the labels of ``part`` ("train" or "t10k"), checked against each other."""
    image_file, label_file = (_require(directory, f"{part}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
    images, labels = read_idx(image_file), read_idx(label_file)
    for file, array, rank, what in ((image_file, images, 3, "images"), (label_file, labels, 1, "labels")):
        if array.dtype != np.uint8 or array.ndim != rank:
            raise DataError(
                f"{file}: holds a rank-{array.ndim} array of {array.dtype}; {what} are a rank-{rank} array of uint8"
            )
    if len(images) == 0 or images[0].size == 0:
        raise DataError(f"{image_file}: holds no pixels: shape {images.shape}")
    if len(labels) != len(images):
        raise DataError(f"{label_file}: holds {len(labels)} labels for {len(images)} images in {image_file.name}")
    if labels.max() > 9:
        raise DataError(f"{label_file}: holds the label {labels.max()}; labels go from 0 to 9")
    pixels = images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
    return pixels, labels.astype(np.int64)


def _find(directory: Path, name: str) -> Path | None:
    for path in (directory / name, directory / f"{name}.gz"):
        if path.exists():
            return path
    return None


def _require(directory: Path, name: str) -> Path:
    path = _find(directory, name)
    if path is None:
        raise DataError(f"{directory}: holds neither {name} nor {name}.gz")
    return path
