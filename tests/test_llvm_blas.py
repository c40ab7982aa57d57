"""Products by OpenBLAS as compiled programs call them, against NumPy's in float64."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import pytest

pytest.importorskip("llvmlite.binding")

import funcgrad as fg
from funcgrad_llvm import blas, pool

ROW_MAJOR, AS_IT_IS, TRANSPOSED = 101, 111, 112
TYPES = {"s": (np.float32, ctypes.c_float, 3e-5), "d": (np.float64, ctypes.c_double, 1e-12)}
FLAGS = [AS_IT_IS, TRANSPOSED]


def function(name):
    real, i, p = TYPES[name[0]][1], ctypes.c_int32, ctypes.c_void_p
    arguments = {
        "gemm": [i, i, i, i, i, i, real, p, i, p, i, real, p, i],
        "gemv": [i, i, i, i, real, p, i, p, i, real, p, i],
        "dot": [i, p, i, p, i],
    }[name[1:]]
    return ctypes.CFUNCTYPE(real if name[1:] == "dot" else None, *arguments)(blas.address(name))


@pytest.fixture(params=["own", "of NumPy"])
def found(request, monkeypatch):
    """With the package, and with the copy in NumPy's wheel."""
    if request.param == "own":
        pytest.importorskip("scipy_openblas32")
    else:
        folder = blas._folder
        monkeypatch.setattr(
            blas, "_folder", lambda package, name: folder(package, name) if package == "numpy" else None
        )
    caches = blas.library, blas._products
    for cached in caches:
        cached.cache_clear()
    try:
        library = blas.library()
    except blas.BlasNotFoundError:
        pytest.skip("this NumPy holds no OpenBLAS")
    yield library
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def two_threads(monkeypatch):
    """Products are cut for two threads, whatever this machine has."""
    monkeypatch.setattr(pool, "num_threads", lambda: 2)


#: Small, cut along either side, and with a last piece that is longer.
SHAPES = [(1, 1, 1), (3, 5, 7), (64, 64, 64), (161, 133, 131), (133, 161, 131), (2000, 17, 100), (17, 2000, 100)]


@pytest.mark.parametrize("letter", TYPES)
@pytest.mark.parametrize("flags", [(x, y) for x in FLAGS for y in FLAGS])
def test_products_of_matrices(two_threads, found, letter, flags):
    dtype, _, tolerance = TYPES[letter]
    rng = np.random.default_rng(0)
    gemm = function(f"{letter}gemm")
    for m, n, k in SHAPES:
        a = rng.standard_normal((m, k + 2) if flags[0] == AS_IT_IS else (k, m + 2)).astype(dtype)
        b = rng.standard_normal((k, n + 1) if flags[1] == AS_IT_IS else (n, k + 1)).astype(dtype)
        c = rng.standard_normal((m, n + 3)).astype(dtype)
        x = a[:, :k] if flags[0] == AS_IT_IS else a[:, :m].T
        y = b[:, :n] if flags[1] == AS_IT_IS else b[:, :k].T
        wanted = c.astype(np.float64)
        wanted[:, :n] = 2 * (x.astype(np.float64) @ y) - 0.5 * wanted[:, :n]
        gemm(
            ROW_MAJOR, *flags, m, n, k, 2.0, a.ctypes.data, a.shape[1], b.ctypes.data, b.shape[1], -0.5, c.ctypes.data,
            c.shape[1],
        )  # fmt: skip
        np.testing.assert_allclose(c, wanted, rtol=tolerance, atol=tolerance * np.sqrt(k) * 4)


@pytest.mark.parametrize("letter", TYPES)
@pytest.mark.parametrize("flag", FLAGS)
def test_products_of_a_matrix_with_a_vector(two_threads, found, letter, flag):
    dtype, _, tolerance = TYPES[letter]
    rng = np.random.default_rng(0)
    gemv = function(f"{letter}gemv")
    for m, n in [(1, 1), (5, 3), (1201, 1003), (1003, 1201)]:
        a = rng.standard_normal((m, n + 2)).astype(dtype)
        matrix = a[:, :n] if flag == AS_IT_IS else a[:, :n].T
        x = rng.standard_normal(2 * matrix.shape[1]).astype(dtype)
        y = rng.standard_normal(3 * matrix.shape[0]).astype(dtype)
        wanted = y.astype(np.float64)
        wanted[::3] = matrix.astype(np.float64) @ x[::2] + wanted[::3]
        gemv(ROW_MAJOR, flag, m, n, 1.0, a.ctypes.data, a.shape[1], x.ctypes.data, 2, 1.0, y.ctypes.data, 3)
        np.testing.assert_allclose(y, wanted, rtol=tolerance, atol=tolerance * np.sqrt(n) * 4)


@pytest.mark.parametrize("letter", TYPES)
def test_products_of_vectors(found, letter):
    dtype, _, tolerance = TYPES[letter]
    x, y = np.random.default_rng(0).random((2, 300)).astype(dtype)
    assert function(f"{letter}dot")(100, x.ctypes.data, 3, y.ctypes.data, 2) == pytest.approx(
        x[::3].astype(np.float64) @ y[:200:2], rel=tolerance
    )


def test_large_products_are_cut_and_small_ones_are_not(two_threads, found, monkeypatch):
    """`parallel_for` is replaced by one that counts and does nothing."""
    counts = []
    signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 2)
    counting = signature(lambda function, context, chunks, cycles: counts.append(chunks))
    monkeypatch.setattr(pool, "address", lambda: ctypes.cast(counting, ctypes.c_void_p).value)
    gemm = function("sgemm")
    a, c = np.zeros((2, 256, 256), np.float32)
    flags = ROW_MAJOR, AS_IT_IS, AS_IT_IS
    for n in (32, 100, 256):
        gemm(*flags, n, n, n, 1.0, a.ctypes.data, n, a.ctypes.data, n, 0.0, c.ctypes.data, n)
    assert counts == ([2] if found.own else [])


#: Each side the longer one, pieces near the size of OpenBLAS' small kernels, depths beyond its blocks; vectors.
UNEVEN = [
    (64, 50, 600),
    (38, 283, 511),
    (237, 8, 1541),
    (1812, 571, 12),
    (74, 903, 1395),
    (108, 2120, 106),
    (900, 41, 700),
]
VECTORS = [(709, 1, 1447), (1, 1914, 1976), (2070, 1, 333)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", UNEVEN + VECTORS)
def test_the_number_of_threads_changes_no_bit_of_a_product(dtype, shape):
    pytest.importorskip("scipy_openblas32")
    m, n, k = shape
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    for ta, tb in itertools.product((False, True), repeat=2):
        a, b = np.ascontiguousarray(x.T) if ta else x, np.ascontiguousarray(y.T) if tb else y
        with fg.use_backend("llvm"):
            product = fg.jit(lambda a, b, ta=ta, tb=tb: (a.T if ta else a) @ (b.T if tb else b))
            results = []
            for threads in (1, 2, 3, 5):
                with fg.config(num_threads=threads):
                    results.append(product(a, b))
        for result in results[1:]:
            np.testing.assert_array_equal(result, results[0])


def test_what_is_said_of_the_library(found):
    assert found.core and "OpenBLAS" in found.configuration
    assert found.num_threads >= 1


def test_no_library_at_all(monkeypatch):
    monkeypatch.setattr(blas, "_folder", lambda package, name: None)
    blas.library.cache_clear()
    try:
        with pytest.raises(blas.BlasNotFoundError, match=r'pip install "funcgrad\[llvm\]"'):
            blas.library()
    finally:
        blas.library.cache_clear()
