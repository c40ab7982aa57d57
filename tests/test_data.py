"""The data sets: what they hold, and that a damaged, foreign or ill-fitting file is refused with one clear line."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from funcgrad.data import DataError, load_digits, load_mnist, read_idx

CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}
MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist"


def idx_bytes(array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.name], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_pair(directory, part, images, labels):
    (directory / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(images))
    (directory / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))


@pytest.fixture
def some_images():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (20, 3, 4), dtype=np.uint8), (np.arange(20) % 10).astype(np.uint8)


class TestDigits:
    def test_holds_every_digit_about_180_times(self):
        images, labels = load_digits()
        assert images.shape == (1797, 64) and images.dtype == np.float32
        assert labels.shape == (1797,) and labels.dtype == np.int64
        assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]

    def test_pixels_are_sixteenths_from_0_to_1(self):
        images, _ = load_digits()
        assert images.min() == 0 and images.max() == 1
        np.testing.assert_array_equal(images * 16, np.round(images * 16))

    def test_equals_the_original(self):
        datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn holds the original digits")
        original = datasets.load_digits()
        images, labels = load_digits()
        np.testing.assert_array_equal(images * 16, original.data)
        np.testing.assert_array_equal(labels, original.target)

    def test_every_call_gives_fresh_arrays(self):
        first, labels = load_digits()
        first[:] = -1
        labels[:] = -1
        again, labels_again = load_digits()
        assert again.min() == 0 and labels_again.min() == 0


class TestReadIdx:
    @pytest.mark.parametrize("dtype", CODES)
    @pytest.mark.parametrize("shape", [(), (5,), (2, 3), (2, 3, 4), (0, 3)])
    @pytest.mark.parametrize("compress", [False, True])
    def test_round_trip(self, tmp_path, dtype, shape, compress):
        array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
        data = idx_bytes(array)
        file = tmp_path / "some-file"  # compression is seen from the content, not from the name
        file.write_bytes(gzip.compress(data) if compress else data)
        result = read_idx(file)
        assert result.dtype == np.dtype(dtype) and result.dtype.isnative and result.flags.writeable
        np.testing.assert_array_equal(result, array)

    def test_takes_a_string(self, tmp_path):
        (tmp_path / "x").write_bytes(idx_bytes(np.arange(3, dtype=np.int32)))
        assert read_idx(str(tmp_path / "x")).tolist() == [0, 1, 2]

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"", "truncated: an IDX file starts with 4 bytes, this one holds 0"),
            (b"\0\0\x08", "truncated: an IDX file starts with 4 bytes, this one holds 3"),
            (b"PK\x03\x04 and more", "not an IDX file: it starts with the bytes 50 4b 03 04"),
            (b"\0\0\x0a\x01\0\0\0\0", "not an IDX file: it starts with the bytes 00 00 0a 01"),
            (b"\0\0\x08\x03\0\0\0\1", "truncated: the sizes of 3 axes take 12 bytes, 4 are there"),
            (b"\0\0\x08\x01\0\0\0\5abc", "truncated: shape (5,) takes 5 bytes of data, 3 are there"),
            (b"\0\0\x08\x01\0\0\0\2abc", "not an IDX file: more data than the 2 bytes that shape (2,) takes"),
            (b"\0\0\x0e\x02\xff\xff\xff\xff\xff\xff\xff\xffabc", "truncated: shape (4294967295, 4294967295) takes"),
        ],
    )
    @pytest.mark.parametrize("compress", [False, True])
    def test_damaged_content(self, tmp_path, content, problem, compress):
        file = tmp_path / "damaged"
        file.write_bytes(gzip.compress(content) if compress else content)
        check_refused(lambda: read_idx(file), file, problem)

    def test_truncated_gzip(self, tmp_path):
        data = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)))
        file = tmp_path / "cut.gz"
        file.write_bytes(data[: len(data) // 2])
        check_refused(lambda: read_idx(file), file, "truncated: the compressed data end too early")

    def test_damaged_gzip(self, tmp_path):
        data = bytearray(gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8))))
        data[-8] ^= 0xFF  # the checksum
        file = tmp_path / "damaged.gz"
        file.write_bytes(data)
        check_refused(lambda: read_idx(file), file, "damaged gzip data (CRC check failed")

    def test_missing_file_and_directory(self, tmp_path):
        check_refused(lambda: read_idx(tmp_path / "none"), tmp_path / "none", "no such file")
        check_refused(lambda: read_idx(tmp_path), tmp_path, "cannot be read (Is a directory)")


class TestLoadMnist:
    def test_both_parts(self, tmp_path, some_images):
        images, labels = some_images
        write_pair(tmp_path, "train", images, labels)
        write_pair(tmp_path, "t10k", images[:7], labels[:7])
        x_train, y_train, x_test, y_test = load_mnist(tmp_path)
        assert x_train.dtype == x_test.dtype == np.float32 and y_train.dtype == y_test.dtype == np.int64
        np.testing.assert_array_equal(x_train, images.reshape(20, 12).astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(y_train, labels)
        assert x_test.shape == (7, 12) and y_test.shape == (7,)

    def test_t10k_alone_is_split_four_to_one(self, tmp_path, some_images):
        images, labels = some_images
        write_pair(tmp_path, "t10k", images, labels)
        x_train, y_train, x_test, y_test = load_mnist(str(tmp_path))
        assert x_train.shape == (16, 12) and x_test.shape == (4, 12)
        np.testing.assert_array_equal(np.concatenate([y_train, y_test]), labels)

    @pytest.mark.skipif(not MNIST.is_dir(), reason="the real MNIST files are not beside this checkout")
    def test_real_files(self):
        x_train, y_train, x_test, y_test = load_mnist(MNIST)
        assert x_train.shape == (8000, 784) and x_test.shape == (2000, 784)
        assert y_train[:5].tolist() == [7, 2, 1, 0, 4]
        assert np.bincount(y_train).sum() == 8000 and np.bincount(y_test).min() > 150

    def test_missing_directory_and_files(self, tmp_path, some_images):
        check_refused(lambda: load_mnist(tmp_path / "none"), tmp_path / "none", "no such directory")
        check_refused(lambda: load_mnist(tmp_path), tmp_path, "holds neither t10k-images-idx3-ubyte nor")
        write_pair(tmp_path, "t10k", *some_images)
        write_pair(tmp_path, "train", *some_images)
        (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
        check_refused(lambda: load_mnist(tmp_path), tmp_path, "holds neither train-labels-idx1-ubyte nor")

    def test_files_that_do_not_fit(self, tmp_path, some_images):
        images, labels = some_images
        image_file, label_file = tmp_path / "t10k-images-idx3-ubyte", tmp_path / "t10k-labels-idx1-ubyte.gz"
        for bad_images, bad_labels, file, problem in (
            (images, labels[:5], label_file, "holds 5 labels for 20 images in t10k-images-idx3-ubyte"),
            (images, labels + np.uint8(1), label_file, "holds the label 10; labels go from 0 to 9"),
            (labels, labels, image_file, "holds a rank-1 array of uint8; images are a rank-3 array of uint8"),
            (images.astype(np.float32), labels, image_file, "holds a rank-3 array of float32"),
            (images, images, label_file, "holds a rank-3 array of uint8; labels are a rank-1 array of uint8"),
            (images[:0], labels[:0], image_file, "holds no pixels: shape (0, 3, 4)"),
            (images[:4], labels[:4], tmp_path, "4 images are too few to hold one in 5 out for testing"),
        ):
            write_pair(tmp_path, "t10k", bad_images, bad_labels)
            check_refused(lambda: load_mnist(tmp_path), file, problem)

    def test_parts_of_different_sizes(self, tmp_path, some_images):
        images, labels = some_images
        write_pair(tmp_path, "train", images[:, :2], labels)
        write_pair(tmp_path, "t10k", images, labels)
        check_refused(lambda: load_mnist(tmp_path), tmp_path, "the training images have 8 pixels, the t10k images 12")


def check_refused(load, file, problem):
    with pytest.raises(DataError) as caught:
        load()
    message = str(caught.value)
    assert message.startswith(f"{file}: {problem}")
    assert "\n" not in message
