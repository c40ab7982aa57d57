"""Files of others: CIFAR records, texts, and downloads from a server that breaks off, lies or is not there."""

import hashlib
import http.server
import io
import tarfile
import threading
from typing import ClassVar

import numpy as np
import pytest

from funcgrad.data import (
    DataError,
    Dictionary,
    batchify,
    bptt_windows,
    download,
    fetch,
    load_cifar10,
    load_cifar100,
    load_ptb,
    read_tokens,
)

# CIFAR ----------------------------------------------------------------------------------------------------------------


def records(seed, n, label_bytes, classes):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (n, label_bytes)).astype(np.uint8)
    planes = rng.integers(0, 256, (n, 3, 32, 32)).astype(np.uint8)
    data = b"".join(bytes(row) + p.tobytes() for row, p in zip(labels, planes))
    return data, labels, planes.transpose(0, 2, 3, 1) / 255


@pytest.fixture
def cifar10():
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    return {name: records(i, 3, 1, 10) for i, name in enumerate(names)}


def write(directory, files, archive=None, folder=""):
    if archive is None:
        (directory / folder).mkdir(exist_ok=True)
        for name, data in files.items():
            (directory / folder / name).write_bytes(data)
        return
    with tarfile.open(directory / archive, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("archive", ["cifar-10-binary.tar.gz", None])
@pytest.mark.parametrize("folder", ["cifar-10-batches-bin", ""])
def test_cifar10(tmp_path, cifar10, archive, folder):
    write(tmp_path, {n: r[0] for n, r in cifar10.items()}, archive, folder)
    x_train, y_train, x_test, y_test = load_cifar10(tmp_path)
    parts = list(cifar10.values())
    np.testing.assert_allclose(x_train, np.concatenate([p[2] for p in parts[:5]]), rtol=1e-6)
    np.testing.assert_array_equal(y_train, np.concatenate([p[1][:, 0] for p in parts[:5]]))
    np.testing.assert_allclose(x_test, parts[5][2], rtol=1e-6)
    assert x_test.dtype == np.float32 and y_test.dtype == np.int64 and x_train.shape == (15, 32, 32, 3)


def test_cifar100(tmp_path):
    train, labels, images = records(0, 4, 2, 20)
    write(tmp_path, {"train.bin": train, "test.bin": records(1, 2, 2, 20)[0]})
    x_train, fine, _, _ = load_cifar100(tmp_path)
    np.testing.assert_allclose(x_train, images, rtol=1e-6)
    np.testing.assert_array_equal(fine, labels[:, 1])
    np.testing.assert_array_equal(load_cifar100(tmp_path, coarse=True)[1], labels[:, 0])


def test_cifar_files_that_cannot_be_used(tmp_path, cifar10):
    with pytest.raises(DataError, match="no such directory"):
        load_cifar10(tmp_path / "absent")
    with pytest.raises(
        DataError, match=r"holds neither cifar-10-binary.tar.gz nor cifar-10-batches-bin/data_batch_1.bin"
    ):
        load_cifar10(tmp_path)
    files = {n: r[0] for n, r in cifar10.items()}
    write(tmp_path, files | {"data_batch_3.bin": files["data_batch_3.bin"][:-1]})
    with pytest.raises(DataError, match=r"data_batch_3.bin: truncated or foreign: 9218 bytes .* records of 3073"):
        load_cifar10(tmp_path)
    write(tmp_path, files | {"data_batch_2.bin": b"\x0a" + files["data_batch_2.bin"][1:]})
    with pytest.raises(DataError, match="data_batch_2.bin: holds the label 10; labels go from 0 to 9"):
        load_cifar10(tmp_path)
    (tmp_path / "test_batch.bin").unlink()
    with pytest.raises(DataError, match="holds no test_batch.bin"):
        load_cifar10(tmp_path)
    packed = tmp_path / "packed"
    packed.mkdir()
    write(packed, {n: d for n, d in files.items() if n != "data_batch_4.bin"}, "cifar-10-binary.tar.gz", "x")
    with pytest.raises(DataError, match="cifar-10-binary.tar.gz: holds no data_batch_4.bin"):
        load_cifar10(packed)
    whole = (packed / "cifar-10-binary.tar.gz").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"text" * 1000):
        (packed / "cifar-10-binary.tar.gz").write_bytes(damaged)
        with pytest.raises(DataError, match="cifar-10-binary.tar.gz: damaged or truncated"):
            load_cifar10(packed)


# Text -----------------------------------------------------------------------------------------------------------------


def test_ptb(tmp_path):
    (tmp_path / "ptb.train.txt").write_text("a b <unk>\nc a\n")
    (tmp_path / "ptb.valid.txt").write_text("b d\n")
    (tmp_path / "ptb.test.txt").write_text("\nc\n")
    words, train, valid, test = load_ptb(tmp_path)
    assert words.tokens == ["a", "b", "<unk>", "<eos>", "c"]
    assert words.decode(train) == ["a", "b", "<unk>", "<eos>", "c", "a", "<eos>"]
    assert words.decode(valid) == ["b", "<unk>", "<eos>"]
    assert words.decode(test) == ["<eos>", "c", "<eos>"]
    assert load_ptb(tmp_path, max_lines=1)[0].tokens == ["a", "b", "<unk>", "<eos>"]


def test_windows_continue_each_other():
    streams = batchify(np.arange(26), 2)
    windows = list(bptt_windows(streams, 5))
    assert [w[0].shape for w in windows] == [(5, 2), (5, 2)]
    np.testing.assert_array_equal(np.concatenate([w[0] for w in windows]), streams[:10])
    np.testing.assert_array_equal(np.concatenate([w[1] for w in windows]), streams[1:11])
    whole = list(bptt_windows(streams, 5, drop_last=False))
    np.testing.assert_array_equal(np.concatenate([w[0] for w in whole]), streams[:12])
    np.testing.assert_array_equal(np.concatenate([w[1] for w in whole]), streams[1:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: read_tokens(p / "absent"), "absent: no such file"),
        (lambda p: read_tokens(p / "binary"), r"binary: not UTF-8 text \(byte 1\)"),
        (lambda p: load_ptb(p / "absent"), "no such directory"),
        (lambda p: load_ptb(p), "ptb.train.txt: no such file"),
        (lambda p: Dictionary("ab").encode("ac"), "dictionary of 2 tokens has no 'c'"),
        (lambda p: Dictionary("ab").encode("a", unknown="?"), r"dictionary of 2 tokens has no '\?'"),
        (lambda p: Dictionary("ab").decode([2]), "dictionary of 2 tokens has no number 2"),
        (lambda p: Dictionary("ab").decode([-1]), "dictionary of 2 tokens has no number -1"),
        (lambda p: batchify(np.arange(3), 4), "3 tokens cannot be cut into 4 streams"),
        (lambda p: batchify(np.ones((2, 2)), 1), r"tokens of rank 1, not of shape \(2, 2\)"),
        (lambda p: bptt_windows(np.ones((5, 2)), 5), "streams of 5 tokens hold no window of 5 steps"),
        (lambda p: bptt_windows(np.ones((5, 2)), 0), "hold no window of 0 steps"),
    ],
)
def test_bad_text(tmp_path, make, message):
    (tmp_path / "binary").write_bytes(b"a\xff")
    with pytest.raises(DataError, match=message):
        make(tmp_path)


# Downloads ------------------------------------------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT: /whole without ranges, /ranges with them, /broken cuts the first answer short, /damaged lies."""

    requests: ClassVar[list] = []

    def do_GET(self):
        name, asked = self.path[1:], self.headers.get("Range")
        self.requests.append((name, asked))
        data, status = (CONTENT[::-1] if name == "damaged" else CONTENT), 200
        if name not in ("whole", "ranges", "broken", "damaged"):
            self.send_error(404)
            return
        if asked and name != "whole":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self.send_error(416)
                return
            data, status = data[start:], 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if name == "broken" and not asked else data)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    Handler.requests = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["whole", "ranges"])
def test_fetch(server, tmp_path, name):
    path = tmp_path / "new" / "file"
    assert fetch(f"{server}/{name}", path, MD5) == path
    assert path.read_bytes() == CONTENT and [p.name for p in path.parent.iterdir()] == ["file"]
    fetch(f"{server}/{name}", path, MD5)
    assert Handler.requests == [(name, None)]  # what is there is not fetched again


@pytest.mark.parametrize("name", ["whole", "ranges"])
@pytest.mark.parametrize("there", [1, 1000, len(CONTENT)])
def test_fetch_goes_on_where_it_broke_off(server, tmp_path, name, there):
    (tmp_path / "file.part").write_bytes(CONTENT[:there])
    fetch(f"{server}/{name}", tmp_path / "file", MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert Handler.requests == [(name, f"bytes={there}-")]


def test_a_download_that_breaks_off_is_kept_and_continued(server, tmp_path):
    with pytest.raises(DataError, match="cannot be fetched"):
        fetch(f"{server}/broken", tmp_path / "file", MD5)
    assert not (tmp_path / "file").exists() and (tmp_path / "file.part").stat().st_size == len(CONTENT) // 2
    fetch(f"{server}/broken", tmp_path / "file", MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_what_is_damaged_is_not_kept(server, tmp_path):
    with pytest.raises(
        DataError, match=rf"what arrived is damaged or another file, and was removed \(MD5 .* not {MD5}\)"
    ):
        fetch(f"{server}/damaged", tmp_path / "file", MD5)
    assert list(tmp_path.iterdir()) == []


def test_another_file_of_the_name_is_left_alone(server, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="is there but is not the file of .*; remove it to fetch that one"):
        fetch(f"{server}/whole", tmp_path / "file", MD5)
    assert (tmp_path / "file").read_text() == "mine" and Handler.requests == []


def test_progress_bar(server, tmp_path, capsys):
    fetch(f"{server}/whole", tmp_path / "a", MD5, progress=True)
    assert "256k" in capsys.readouterr().err
    fetch(f"{server}/whole", tmp_path / "b", MD5)
    assert capsys.readouterr().err == ""


def test_no_file_no_server_no_folder(server, tmp_path):
    with pytest.raises(
        DataError, match=r"/absent: cannot be fetched \(Not Found\); without a network, put the file at"
    ):
        fetch(f"{server}/absent", tmp_path / "file", MD5)
    with pytest.raises(DataError, match="cannot be fetched .*refused"):
        fetch("http://127.0.0.1:9/file", tmp_path / "file", MD5)
    (tmp_path / "plain").write_text("")
    with pytest.raises(DataError, match="plain/file: cannot be written"):
        fetch(f"{server}/whole", tmp_path / "plain" / "file", MD5)


def test_download_of_an_unknown_set(tmp_path):
    with pytest.raises(DataError, match="there is no data set 'svhn' to download; there are: cifar10, cifar100"):
        download("svhn", tmp_path)
