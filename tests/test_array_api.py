"""The generic back end over the Python array API standard, on the library that has nothing but the standard."""

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.core import backend as registry
from funcgrad.errors import BackendError
from funcgrad.testing import check_backend

xp = pytest.importorskip("array_api_strict", reason="array_api_strict is the library the generic back end is tested on")
funcgrad_array_api = pytest.importorskip("funcgrad_array_api")


@pytest.fixture
def strict():
    backend = funcgrad_array_api.make_backend(xp, "array_api_strict")
    registry.register_backend(backend)
    yield backend
    registry._registry.pop(backend.name)
    for t in backend.array_types:
        registry._types.pop(t, None)


def test_it_conforms(strict):
    check_backend(strict)


def loss(params, x, y):
    hidden = fnp.tanh(x @ params["w"] + params["b"])
    return fnp.mean((hidden @ params["v"] - y) ** 2)


def test_compiled_gradients_of_its_arrays_are_its_arrays(strict):
    rng = np.random.default_rng(0)
    params = {"w": rng.standard_normal((3, 4)), "b": rng.standard_normal(4), "v": rng.standard_normal((4, 2))}
    x, y = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    wanted = fg.grad(loss)(params, x, y)
    given = fg.tree.map(xp.asarray, params)
    got = fg.jit(fg.grad(loss))(given, xp.asarray(x), xp.asarray(y))
    for name, g in got.items():
        assert isinstance(g, strict.array_types)
        np.testing.assert_allclose(strict.to_numpy(g), wanted[name], rtol=1e-12)


def test_what_the_standard_has_not_is_an_error(strict):
    with pytest.raises(BackendError, match="float16"):
        strict.asarray(np.ones(3, "float16"))


def test_arrays_of_two_libraries_do_not_mix_silently(strict):
    class Other(registry.Backend):
        name = "other"

        class Array:
            shape, dtype = (2,), np.dtype("float64")

        array_types = (Array,)

    other = Other()
    registry.register_backend(other)
    try:
        with pytest.raises(BackendError, match="met in one operation"):
            fg.jit(lambda a, b: a + b)(xp.asarray([1.0, 2.0]), Other.Array())
    finally:
        registry._registry.pop("other")
        registry._types.pop(Other.Array)
