"""The CUDA back end in the emulation, and on a GPU: everything above the device is the code that a GPU runs, held to NumPy's back end."""

from __future__ import annotations

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax, nn, tree
from funcgrad.testing import assert_close, check_backend


def to_numpy(x):
    return x.get() if hasattr(x, "get") else np.asarray(x)


def assert_equals_numpy(cuda, f, *args, eager=False, rtol=None):
    """The program gives on a device what it gives on NumPy."""
    want = fg.jit(f)(*args)
    with fg.use_backend(cuda) as backend:
        got = [fg.jit(f)(*args), *([f(*args)] if eager else [])]
    for found in got:
        assert all(isinstance(y, backend.array_types) for y in tree.leaves(found))
        assert_close(tree.map(to_numpy, found), tree.map(np.asarray, want), rtol=rtol)


def test_conformance(cuda) -> None:
    check_backend(cuda)


def _perceptron(rng):
    params = {
        "w": rng.standard_normal((5, 7)).astype("float32"),
        "b": np.zeros(7, "float32"),
        "v": rng.standard_normal((7, 3)).astype("float32"),
    }
    x, y = rng.standard_normal((4, 5)).astype("float32"), np.array([0, 2, 1, 0])

    def loss(p, x, y):
        logits = nn.log_softmax(fnp.tanh(x @ p["w"] + p["b"]) @ p["v"])
        return -fnp.mean(fnp.take_along_axis(logits, y[:, None], axis=1))

    return loss, params, (x, y)


def _convolution(rng):
    params = {
        "filters": rng.standard_normal((3, 2, 3, 3)).astype("float32"),
        "w": rng.standard_normal((12, 2)).astype("float32"),
    }

    def loss(p, x, y):
        h = lax.conv_general_dilated(x, p["filters"], (1, 1), "SAME")
        h = lax.reduce_window(nn.relu(h), -np.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        return fnp.mean((fnp.reshape(h, (h.shape[0], -1)) @ p["w"] - y) ** 2)

    x, y = rng.standard_normal((2, 2, 4, 4)).astype("float32"), rng.standard_normal((2, 2)).astype("float32")
    return loss, params, (x, y)


def _attention(rng):
    params = {k: rng.standard_normal((6, 6)).astype("float32") / 3 for k in ("q", "k", "v")}

    def loss(p, x, y):
        q, k, v = (x @ p[name] for name in "qkv")
        scores = q @ fnp.swapaxes(k, -1, -2) / np.float32(6**0.5)
        scores = fnp.where(fnp.tri(5, dtype=bool), scores, np.float32(-1e9))
        return fnp.mean((nn.softmax(scores) @ v - y) ** 2)

    x, y = (rng.standard_normal((2, 5, 6)).astype("float32") for _ in range(2))
    return loss, params, (x, y)


@pytest.mark.parametrize("model", [_perceptron, _convolution, _attention], ids=lambda f: f.__name__[1:])
def test_a_training_step_equals_that_of_numpy(cuda, model) -> None:
    loss, params, data = model(np.random.default_rng(0))

    def step(p, x, y):
        value, gradient = fg.value_and_grad(loss)(p, x, y)
        return tree.map(lambda a, g: a - np.float32(0.1) * g, p, gradient), value

    assert_equals_numpy(cuda, step, params, *data, eager=True, rtol=1e-4)


def test_random_bits_equal_those_of_numpy(cuda) -> None:
    def draw(key):
        return fg.random.bits(key, (5, 3)), fg.random.uniform(key, (7,)), fg.random.permutation(key, 6)

    key = fg.random.key(7)
    want = fg.jit(draw)(key)
    with fg.use_backend(cuda):
        got = fg.jit(draw)(key)
    for x, y in zip(got, want, strict=True):
        np.testing.assert_array_equal(to_numpy(x), y)


def test_results_share_no_memory_with_arguments(cuda) -> None:
    with fg.use_backend(cuda) as backend:
        x = backend.asarray(np.arange(6.0))
        found = fg.jit(lambda a: (a, fnp.reshape(a, (2, 3)), fnp.reshape(a, (3, 2))))(x)
        addresses = {backend.on.pointer(a) for a in (x, *found)}
    assert len(addresses) == 4
    np.testing.assert_array_equal(found[1].get(), np.arange(6.0).reshape(2, 3))


def test_operators_of_arrays(cuda) -> None:
    with fg.use_backend(cuda) as backend:
        x = backend.asarray(np.array([1.0, 2.0], "float32"))
        np.testing.assert_array_equal((2 * x - x / 2).get(), np.array([1.5, 3.0], "float32"))
        assert float(x @ x) == 5.0
        assert bool((x > 0).get().all())


def test_an_index_out_of_range_raises(cuda) -> None:
    with fg.use_backend(cuda), pytest.raises(IndexError, match="out of bounds"):
        fg.jit(lambda a, i: a[i])(np.arange(3.0), np.array([0, 3]))


def test_the_kernels_of_a_program_can_be_read(cuda) -> None:
    with fg.use_backend(cuda):
        text = fg.jit(lambda x: nn.softmax(x * 2)).lower(np.ones((3, 5), "float32")).as_text("cuda")
    assert text.count("__global__ void group(") == 1
    assert "block_reduce<Max>" in text and "block_reduce<Sum>" in text


def test_a_flat_kernel_serves_every_shape(cuda) -> None:
    def texts(shape):
        with fg.use_backend(cuda):
            return fg.jit(lambda x: fnp.sin(x) * x + 1).lower(np.ones(shape, "float32")).as_text("cuda")

    assert texts((3, 5)) == texts((70,))


def test_out_of_memory_names_the_planned_peak(cuda, monkeypatch) -> None:
    with fg.use_backend(cuda) as backend:
        x = backend.asarray(np.ones(1000))
        f = fg.jit(lambda a: fnp.sin(a))
        f(x)

        def full(shape, dtype):
            raise MemoryError("the GPU has no memory left")

        monkeypatch.setattr(backend.on, "empty", full)
        with pytest.raises(MemoryError, match=r"no memory left; the program needs 16,000 bytes at its peak"):
            f(x)


def test_arrays_move_between_back_ends(cuda) -> None:
    given = {"a": np.arange(3.0), "b": 2}
    there = fg.device_put(given, cuda)
    with fg.use_backend(cuda) as backend:
        assert isinstance(there["a"], backend.array_types)
    assert fg.device_put(there, cuda)["a"] is there["a"]
    back = fg.device_get(there)
    np.testing.assert_array_equal(back["a"], given["a"])
    assert back["b"] == 2
    assert isinstance(fg.device_put(there, "numpy")["a"], np.ndarray)
