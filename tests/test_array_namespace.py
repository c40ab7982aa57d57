"""``funcgrad.numpy`` as a namespace of the array API standard: code that asks its arrays for it is traced as it stands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.errors import ConcretizationError
from funcgrad.testing import check_grads

X = np.linspace(-1.0, 2.0, 6).reshape(2, 3)


def standardise(x: Any) -> Any:
    """As code for the standard is written: it knows no library."""
    xp = x.__array_namespace__(api_version="2023.12")
    centred = x - xp.mean(x, axis=0, keepdims=True)
    ones = xp.ones(x.shape[0], dtype=x.dtype, device=x.device)
    scale = xp.sqrt(xp.vecdot(centred.mT, centred.mT, axis=-1) + ones[0])
    spectrum = xp.fft.rfft(centred, axis=1)
    return xp.linalg.matrix_norm(centred / scale) + xp.sum(xp.real(spectrum) ** 2) + xp.sum(xp.where(x > 0, x, -x))


def test_such_code_is_differentiated_compiled_and_mapped() -> None:
    want = standardise(X)
    np.testing.assert_allclose(fg.jit(standardise)(X), want, rtol=1e-14)
    check_grads(standardise, (X,), order=2)
    np.testing.assert_allclose(fg.jit(fg.grad(standardise))(X), fg.grad(standardise)(X), rtol=1e-12)
    mapped = fg.vmap(standardise)(np.stack([X, 2 * X]))
    np.testing.assert_allclose(mapped, [want, standardise(2 * X)], rtol=1e-14)


def test_array_api_compat_finds_the_namespace() -> None:
    compat = pytest.importorskip("array_api_compat", reason="array_api_compat is how libraries ask for a namespace")

    def f(x: Any) -> Any:
        xp = compat.array_namespace(x)
        assert xp is fnp
        assert compat.device(x) == "cpu" and compat.is_array_api_obj(x)
        return xp.sum(xp.sin(x))

    np.testing.assert_allclose(fg.grad(f)(X), np.cos(X))
    np.testing.assert_allclose(fg.jit(f)(X), np.sum(np.sin(X)))


def under(transform: Any, f: Any) -> Any:
    """What ``f`` says of a traced value."""
    said = []

    def function(x: Any) -> Any:
        said.append(f(x))
        return fnp.sum(x)

    transform(function)(X)
    return said[0]


TRANSFORMS = pytest.mark.parametrize("transform", [fg.grad, fg.jit, fg.vmap], ids=["grad", "jit", "vmap"])


@TRANSFORMS
def test_traced_values_know_their_namespace_and_device(transform: Any) -> None:
    assert under(transform, lambda x: x.__array_namespace__()) is fnp
    for version in ("2022.12", "2023.12", "2024.12", None):
        assert under(transform, lambda x, v=version: x.__array_namespace__(api_version=v)) is fnp
    assert under(transform, lambda x: x.device) == "cpu"
    assert under(transform, lambda x: x.to_device("cpu") is x)
    assert under(transform, lambda x: fnp.from_dlpack(x) is x)


@TRANSFORMS
def test_what_traced_values_cannot_do_is_said(transform: Any) -> None:
    with pytest.raises(ValueError, match="in the versions 2021.12, .*, not '2077.12'"):
        under(transform, lambda x: x.__array_namespace__(api_version="2077.12"))
    with pytest.raises(ValueError, match=r"computed on 'cpu' and cannot be sent to 'gpu': move the arguments"):
        under(transform, lambda x: x.to_device("gpu"))
    with pytest.raises(ValueError, match="or put on a stream"):
        under(transform, lambda x: x.to_device("cpu", stream=3))
    for method in ("__dlpack__", "__dlpack_device__"):
        with pytest.raises(ConcretizationError, match="by DLPack"):
            under(transform, lambda x, m=method: getattr(x, m)())


def test_creation_knows_one_device() -> None:
    assert fnp.zeros(2, device="cpu").tolist() == [0.0, 0.0]
    for make in (fnp.zeros, fnp.ones, fnp.empty, fnp.arange, fnp.eye, fnp.asarray):
        with pytest.raises(ValueError, match=r"there is no device 'cuda'; the back end 'numpy' makes arrays on 'cpu'"):
            make(2, device="cuda")
    with pytest.raises(ValueError, match="no device 'cuda'"):
        fnp.zeros_like(X, device="cuda")


def test_the_namespace_says_what_it_can_do() -> None:
    assert fnp.__array_api_version__ >= "2023.12"
    info, numpys = fnp.__array_namespace_info__(), np.__array_namespace_info__()
    assert info.capabilities() == numpys.capabilities()
    assert info.default_device() == "cpu" and info.devices() == ["cpu"]
    assert info.default_dtypes() == info.default_dtypes(device="cpu") == numpys.default_dtypes()
    kinds: list[Any] = [
        None, "bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric",
        ("bool", "real floating"), (),
    ]  # fmt: skip
    for kind in kinds:
        assert info.dtypes(kind=kind) == numpys.dtypes(kind=kind)
    with pytest.raises(ValueError, match="kind"):
        info.dtypes(kind="numbers")
    with pytest.raises(ValueError, match="no device 'cuda'"):
        info.dtypes(device="cuda")


def test_in_a_program_no_shape_depends_on_values() -> None:
    asked = under(fg.jit, lambda x: fnp.__array_namespace_info__().capabilities())
    assert asked == {"boolean indexing": False, "data-dependent shapes": False, "max dimensions": 64}
    assert under(fg.grad, lambda x: fnp.__array_namespace_info__().capabilities()["boolean indexing"])
