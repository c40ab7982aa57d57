"""The GPU's table for what has no kernel: complete, made of functions that CuPy has, and right with NumPy in its place."""

from __future__ import annotations

import ast
import inspect
from types import SimpleNamespace

import numpy as np
import pytest

from funcgrad.core.backend import get_backend
from funcgrad.core.errors import BackendError
from funcgrad_cupy import library, rarities
from funcgrad_cupy.operations import EXPRESSIONS
from funcgrad_cupy.ops import _REDUCE, KERNELS

OPS = get_backend("numpy").ops
RNG = np.random.default_rng(0)


def named(module, root):
    """The dotted names that a module takes from ``root``."""
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if parts and isinstance(node, ast.Name) and node.id == root:
            found.add(".".join(reversed(parts)))
    return found


@pytest.fixture
def special():
    return pytest.importorskip("scipy.special")


def test_cupy_has_every_function_that_is_named() -> None:
    cupy = pytest.importorskip("cupy")
    special = pytest.importorskip("cupyx.scipy.special")
    names = named(library, "cupy") | named(rarities, "xp")
    assert {"linalg.eig", "linalg.svd", "cumprod", "tile", "linalg.solve"} <= names
    for name in names - {"linalg", "maximum", "minimum"}:
        place = cupy
        for part in name.split("."):
            assert hasattr(place, part), f"cupy has no {name}"
            place = getattr(place, part)
    for name in {*library._SPECIAL, *(named(rarities, "special"))}:
        assert hasattr(special, name), f"cupyx.scipy.special has no {name}"


def test_every_operation_of_numpys_back_end_is_in_a_table(monkeypatch, special) -> None:
    linalg = pytest.importorskip("scipy.linalg")
    cupyx = SimpleNamespace(scipy=SimpleNamespace(special=_Anything(), linalg=linalg))
    for name, module in {
        "cupyx": cupyx, "cupyx.scipy": cupyx.scipy, "cupyx.scipy.special": cupyx.scipy.special,
        "cupyx.scipy.linalg": linalg,
    }.items():  # fmt: skip
        monkeypatch.setitem(__import__("sys").modules, name, module)
    made = library.library(np)
    callbacks = {"pure_callback", "debug_callback"}
    assert set(OPS) - {*made, *KERNELS, *_REDUCE, *EXPRESSIONS} == callbacks


class _Anything:
    def __getattr__(self, name):
        return lambda *args: None


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 5), (5, 3), (2, 2, 3, 3), (0, 3, 3), (0, 0)])
def test_lu(shape, dtype) -> None:
    linalg = pytest.importorskip("scipy.linalg")
    a = RNG.standard_normal(shape).astype(dtype)
    factors, pivots, order = rarities.lu(np, linalg.lu_factor, a)
    want = OPS["lu"](a)
    np.testing.assert_allclose(factors, want[0], rtol=1e-4 if dtype == "float32" else 1e-10)
    np.testing.assert_array_equal(pivots, want[1])
    np.testing.assert_array_equal(order, want[2])
    assert pivots.dtype == order.dtype == np.int64


def test_lu_of_a_singular_matrix_gives_factors_and_no_warning() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    factors, _, _ = rarities.lu(np, linalg.lu_factor, np.ones((2, 2)))
    np.testing.assert_array_equal(factors, [[1, 1], [1, 0]])


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_cofactors_of_regular_and_singular_matrices(dtype) -> None:
    a = RNG.standard_normal((3, 4, 4)).astype(dtype)
    a[1, 2] = a[1, 0]
    np.testing.assert_allclose(rarities.cofactor(np, a), OPS["cofactor"](a), rtol=1e-9, atol=1e-12)
    assert rarities.cofactor(np, np.zeros((0, 2, 2))).shape == (0, 2, 2)


def test_eigenvalues_are_complex() -> None:
    a = np.diag([1.0, 2.0]).astype("float32")
    values, vectors = rarities.eig(np, a, vectors=True)
    assert values.dtype == vectors.dtype == np.complex64
    np.testing.assert_allclose(sorted(values.real), [1, 2])
    assert len(rarities.eig(np, a, vectors=False)) == 1


def test_densities(special) -> None:
    a, b, x = (g.ravel() for g in np.meshgrid([-1.0, 0.5, 1, 2, 30], [0.5, 1, 7], [-1.0, 0, 0.2, 0.9, 1, 2, np.inf]))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(
            rarities.gamma_density(np, special, a, x), OPS["gamma_density"](a, x), rtol=1e-12, atol=1e-300
        )
        np.testing.assert_allclose(
            rarities.beta_density(np, special, a, b, x), OPS["beta_density"](a, b, x), rtol=1e-12, atol=1e-300
        )
        assert rarities.gamma_density(np, special, a.astype("f4"), x.astype("f4")).dtype == np.float32


def test_what_the_gpu_has_not_says_what_to_do() -> None:
    with pytest.raises(BackendError, match=r"the GPU has no riemann_zeta: compute it on the host, with fg.device_get"):
        rarities.missing("riemann_zeta")(1.0)
