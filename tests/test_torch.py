"""torch beside funcgrad: memory goes both ways by DLPack, and nothing loses a derivative silently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.errors import ConcretizationError, ForeignArrayError

torch = pytest.importorskip("torch", reason="torch is the other library")


def loss(params: Any) -> Any:
    return fnp.sum(fnp.sin(params["w"]) ** 2)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "complex64", "bool"])
def test_arrays_go_both_ways(dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    tensor = torch.from_dlpack(fg.jit(lambda x: x)(array))
    assert tensor.dtype == getattr(torch, dtype) and tensor.shape == (2, 3)
    back = fnp.from_dlpack(tensor)
    assert type(back) is np.ndarray and back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_memory_is_shared_with_the_tensor_and_not_with_the_arguments() -> None:
    tensor = torch.arange(3.0)
    x = fnp.from_dlpack(tensor)
    tensor[0] = 7.0
    assert x[0] == 7.0
    result = torch.from_dlpack(fg.jit(lambda x: x)(x))
    result[1] = -1.0
    assert tensor.tolist() == [7.0, 1.0, 2.0]


def test_gradients_for_torch_are_torchs() -> None:
    tensor = torch.linspace(-1.0, 2.0, 5, dtype=torch.float64)
    gradient = torch.from_dlpack(fg.grad(loss)({"w": fnp.from_dlpack(tensor)})["w"])
    tensor.requires_grad_(True)
    torch.sum(torch.sin(tensor) ** 2).backward()
    torch.testing.assert_close(gradient, tensor.grad, rtol=1e-12, atol=0)


TRANSFORMED: dict[str, Callable[[Any], Any]] = {
    "grad: the argument p['w']": lambda t: fg.grad(lambda p: fnp.sum(p["w"]))({"w": t}),
    "jit: the argument p['w']": lambda t: fg.jit(lambda p: fnp.sum(p["w"]))({"w": t}),
    "vmap: the argument x": lambda t: fg.vmap(lambda x: 2 * x)(t),
    "jvp: a primal": lambda t: fg.jvp(fnp.sin, (t,), (t,)),
    "vjp: an argument": lambda t: fg.vjp(fnp.sin, t),
    "sin: argument 0": fnp.sin,
    "lax.sin: argument 0": fg.lax.sin,
    "multiply: argument 1": lambda t: fg.grad(lambda x: fnp.sum(x * t))(np.ones(3)),
}


@pytest.mark.parametrize("where", TRANSFORMED)
def test_a_tensor_is_refused_with_what_to_write(where: str) -> None:
    with pytest.raises(ForeignArrayError) as caught:
        TRANSFORMED[where](torch.ones(3))
    message = str(caught.value)
    assert message.startswith(f"{where}: torch arrays (torch.Tensor, torch.float32) are not taken unasked")
    assert "write funcgrad.numpy.from_dlpack(x), which" in message and "torch.from_dlpack(y) for a result" in message


def test_a_tensor_that_requires_a_gradient_would_lose_it() -> None:
    tensor = torch.ones(3, requires_grad=True)
    with pytest.raises(ForeignArrayError, match=r"from_dlpack\(x\.detach\(\)\).*its own derivative ends there"):
        fg.grad(lambda x: fnp.sum(x))(tensor)
    with pytest.raises(BufferError, match="detach"):
        fnp.from_dlpack(tensor)
    assert fnp.from_dlpack(tensor.detach()).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("transform", "why"),
    [
        (fg.grad, "would lose its derivative"),
        (fg.jit, "needs a concrete value"),
        (fg.vmap, "a different value in each row"),
    ],
)
def test_a_traced_value_does_not_leave_for_torch(transform: Any, why: str) -> None:
    with pytest.raises(ConcretizationError, match=why) as caught:
        transform(lambda x: torch.from_dlpack(x).sum())(np.ones(3))
    assert "by DLPack" in str(caught.value) and "pure_callback" in str(caught.value)


def test_its_value_alone_may_leave() -> None:
    seen = []

    def f(x: Any) -> Any:
        seen.append(torch.from_dlpack(fg.lax.stop_gradient(x)))
        return fnp.sum(x**2)

    assert fg.grad(f)(np.ones(2)).tolist() == [2.0, 2.0]
    assert seen[0].tolist() == [1.0, 1.0]
