"""Random numbers on the device: the kernels against funcgrad.random on NumPy, and the calls that they take the place of."""

from __future__ import annotations

import numpy as np
import pytest

import funcgrad as fg
from funcgrad_cuda_emu.emulator import why_not
from funcgrad_cupy.kernels import launches

KEY = fg.random.key(2**35 + 11)

needs_emulation = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
floats = pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])


def get(x):
    return x.get() if hasattr(x, "get") else np.asarray(x)


@floats
@pytest.mark.parametrize("shape", [(), (0,), (3, 37), (1001,)], ids=str)
def test_normal_numbers_are_those_of_numpy(device, dtype, shape):
    found = device.get(launches.random_normal(device, device.put(KEY), shape, np.dtype(dtype)))
    wanted = np.asarray(fg.random.normal(KEY, shape, dtype))
    # The centre of the distribution takes products, sums and quotients only.
    centre = np.abs(wanted) < 1.43
    np.testing.assert_array_equal(found[centre], wanted[centre])
    ulps = np.abs(found.astype("float64") - wanted.astype("float64")) / np.spacing(np.abs(wanted)).astype("float64")
    assert (ulps <= 16).all()


@needs_emulation
@floats
def test_the_tails_of_normal_numbers(dtype):
    from funcgrad_cuda_emu.emulator import EmulatedDevice

    device = EmulatedDevice()
    found = device.get(launches.random_normal(device, device.put(KEY), (300_000,), np.dtype(dtype)))
    wanted = fg.random.normal(KEY, (300_000,), dtype)
    assert np.isfinite(found).all() and np.abs(wanted).max() > 3.4
    np.testing.assert_allclose(found, wanted, rtol={"float16": 0, "float32": 2e-6, "float64": 4e-15}[dtype])


@floats
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_coins_are_those_of_numpy(device, dtype, p):
    p = np.asarray(p, dtype)
    found = device.get(launches.random_bernoulli(device, device.put(KEY), device.put(p), (3, 111)))
    np.testing.assert_array_equal(found, fg.random.bernoulli(KEY, p, (3, 111)))


DRAWS = {
    "random_bits": lambda key: fg.random.bits(key, (5, 3), "uint16"),
    "random_uniform": lambda key: fg.random.uniform(key, (5, 3), "float32"),
    "random_normal": lambda key: fg.random.normal(key, (5, 3), "float32"),
    "random_bernoulli": lambda key: fg.random.bernoulli(key, np.float32(0.3), (5, 3)),
}


@needs_emulation
@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("staged", [True, False])
def test_a_draw_is_one_launch(monkeypatch, name, staged):
    wanted = DRAWS[name](KEY)
    with fg.use_backend("cuda_emu") as backend:
        # A program's launches are seen when it is written down.
        names, on = [], backend.recorded.on
        launch, launch_text = on.launch, on.launch_text
        monkeypatch.setattr(on, "launch", lambda f, n, *rest: (names.append(n.split("<")[0]), launch(f, n, *rest)))
        monkeypatch.setattr(
            on, "launch_text", lambda t, n, *rest: (names.append("generated"), launch_text(t, n, *rest))
        )
        found = (fg.jit(DRAWS[name]) if staged else DRAWS[name])(backend.asarray(KEY))
    # The check that a probability is one is eager and generated.
    assert [n for n in names if n != "generated"] == [name]
    assert not staged or len(names) == 1
    np.testing.assert_allclose(get(found), wanted, rtol=0 if found.dtype.kind != "f" else 2e-6)


@needs_emulation
def test_mapped_draws_and_gradients_through_draws():
    keys = fg.random.split(KEY, 3)

    def f(key, scale):
        return (scale * fg.random.normal(key, (4,), "float32")).sum()

    wanted = [fg.random.normal(k, (4,), "float32").sum() for k in keys]
    with fg.use_backend("cuda_emu"):
        mapped = fg.jit(fg.vmap(lambda k: fg.random.normal(k, (4,), "float32")))(keys)
        slopes = [fg.grad(f, 1)(k, np.float32(2)) for k in keys]
        slopes_of_jit = [fg.jit(fg.grad(f, 1))(k, np.float32(2)) for k in keys]
    np.testing.assert_allclose(get(mapped).sum(1), wanted, rtol=1e-5)
    np.testing.assert_allclose([get(s) for s in slopes], wanted, rtol=1e-5)
    np.testing.assert_allclose([get(s) for s in slopes_of_jit], wanted, rtol=1e-5)


def test_a_key_that_is_used_twice_in_a_named_call_is_found():
    def twice(key):
        return fg.random.normal(key, (2,)) + fg.random.uniform(key, (2,))

    with fg.config(debug_key_reuse=True), pytest.raises(fg.errors.KeyReuseError):
        fg.jit(twice)(fg.random.key(3))
