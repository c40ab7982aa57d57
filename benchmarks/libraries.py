"""One small face for every library measured: `funcgrad` and its peers, loaded only when asked for.

A case is written once, against `Library`, and so runs the same mathematics in each of them. Each library gets what
suits it best: its own arrays, made beforehand, and, for JAX, the cheapest way to wait until a result is there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import floor
import numpy as np

Function = Callable[..., Any]

OURS = "funcgrad"
PEERS = ("jax", "torch", "autograd", "numpy", "c", "cupy")
#: Those that have something to say on a GPU, and nothing without one: on which processor a library is measured.
GPU = "cupy"
ON_GPU, ON_CPU = ("jax", "torch", "cupy"), ("jax", "torch", "autograd", "numpy", "c")


def version(package: str) -> str:
    """The installed version of `package`; "source" where it runs from a source tree that is not installed."""
    try:
        return installed_version(package)
    except PackageNotFoundError:
        return "source"


class Library:
    """NumPy itself, and what the others share with it: `grad` and `jit` are missing here.

    Attributes:
        name: the name in the table and on the command line.
        version: of the installed package.
        xp: the module that holds `sin`, `sum`, `tanh` and the like.
    """

    name = "numpy"
    package = "numpy"
    namespace = "numpy"
    #: Whether arrays are made on the GPU.
    gpu = False

    def __init__(self) -> None:
        self.module = importlib.import_module(self.package)
        self.xp: Any = importlib.import_module(self.namespace)
        self.version = version(self.package)

    def array(self, value: np.ndarray) -> Any:
        """The library's own array of the same dtype and values."""
        return value

    def tree(self, value: Any) -> Any:
        """`array` on every leaf of dicts and tuples."""
        if isinstance(value, dict):
            return {key: self.tree(leaf) for key, leaf in value.items()}
        if isinstance(value, tuple):
            return tuple(self.tree(leaf) for leaf in value)
        return self.array(value)

    def wait(self, result: Any) -> Any:
        """Return when the computation of `result` has ended."""
        return result

    def grad(self, function: Function) -> Function:
        """The gradient with respect to the first argument."""
        raise NotImplementedError(f"{self.name} has no grad")

    def value_and_grad(self, function: Function) -> Function:
        """The value, and the gradient with respect to the first argument."""
        raise NotImplementedError(f"{self.name} has no value_and_grad")

    def jit(self, function: Function) -> Function:
        """The compiled function."""
        raise NotImplementedError(f"{self.name} has no jit")

    def forward_and_backward(self, function: Function) -> Function:
        """`(x, ct) -> (y, ct dy/dx)`."""
        raise NotImplementedError(f"{self.name} has no derivatives")


class Funcgrad(Library):
    """This project."""

    name = package = OURS
    namespace = "funcgrad.numpy"

    def array(self, value: np.ndarray) -> Any:
        return self.module.device_put(value) if self.gpu else value

    def wait(self, result: Any) -> Any:
        return self.module.block_until_ready(result) if self.gpu else result

    def grad(self, function: Function) -> Function:
        gradient: Function = self.module.grad(function)
        return gradient

    def value_and_grad(self, function: Function) -> Function:
        evaluate: Function = self.module.value_and_grad(function)
        return evaluate

    def jit(self, function: Function) -> Function:
        compiled: Function = self.module.jit(function)
        return compiled

    def forward_and_backward(self, function: Function) -> Function:
        def both(x: Any, ct: Any) -> Any:
            y, backward = self.module.vjp(function, x)
            return y, backward(ct)[0]

        return both


class Jax(Funcgrad):
    """JAX on the processor that is measured; 64-bit types are on, and the cases say which dtype they use."""

    name = package = "jax"
    namespace = "jax.numpy"

    def __init__(self) -> None:
        super().__init__()
        importlib.import_module("jax.scipy.linalg")
        self.module.config.update("jax_enable_x64", True)

    def array(self, value: np.ndarray) -> Any:
        return self.xp.asarray(value).block_until_ready()

    def wait(self, result: Any) -> Any:
        # The outputs of one program become ready together, and an un-jitted result last of all, so one array is
        # enough; `jax.block_until_ready` would charge JAX for a walk over the tree.
        leaf = result
        while isinstance(leaf, (dict, tuple)):
            leaf = next(iter(leaf.values())) if isinstance(leaf, dict) else leaf[-1]
        leaf.block_until_ready()
        return result


class Torch(Library):
    """PyTorch's autograd: the leaves require gradients, and `torch.autograd.grad` collects them. Functions run eagerly on
    the CPU, and through `torch.compile` on a GPU."""

    name = package = namespace = "torch"

    def array(self, value: np.ndarray) -> Any:
        array = self.module.from_numpy(np.array(value))
        return array.cuda() if self.gpu else array

    def wait(self, result: Any) -> Any:
        if self.gpu:
            self.module.cuda.synchronize()
        return result

    def jit(self, function: Function) -> Function:
        compiled: Function = self.module.compile(function) if self.gpu else function
        return compiled

    def value_and_grad(self, function: Function) -> Function:
        backward, function = self.module.autograd.grad, self.jit(function)

        def evaluate(first: Any, *rest: Any) -> Any:
            if isinstance(first, dict):
                leaves = {key: leaf.detach().requires_grad_() for key, leaf in first.items()}
                value = function(leaves, *rest)
                return value.detach(), dict(zip(leaves, backward(value, tuple(leaves.values())), strict=True))
            leaf = first.detach().requires_grad_()
            value = function(leaf, *rest)
            return value.detach(), backward(value, leaf)[0]

        return evaluate

    def grad(self, function: Function) -> Function:
        evaluate = self.value_and_grad(function)
        return lambda *arguments: evaluate(*arguments)[1]

    def forward_and_backward(self, function: Function) -> Function:
        function = self.jit(function)

        def both(x: Any, ct: Any) -> Any:
            leaf = x.detach().requires_grad_()
            y = function(leaf)
            return y.detach(), self.module.autograd.grad(y, leaf, ct)[0]

        return both


class Autograd(Library):
    """HIPS autograd."""

    name = package = "autograd"
    namespace = "autograd.numpy"

    def grad(self, function: Function) -> Function:
        gradient: Function = self.module.grad(function)
        return gradient

    def value_and_grad(self, function: Function) -> Function:
        evaluate: Function = self.module.value_and_grad(function)
        return evaluate


class C(Library):
    """Loops by hand in C, on NumPy's arrays, where the system has a compiler."""

    name = "c"

    def __init__(self) -> None:
        super().__init__()
        self.version = Path(floor.compiler()).name


class Cupy(Library):
    """CuPy's own functions, the floor of a row: a copy of as many bytes, cuBLAS called by hand."""

    name = package = namespace = "cupy"
    gpu = True

    def array(self, value: np.ndarray) -> Any:
        return self.xp.asarray(value)

    def wait(self, result: Any) -> Any:
        self.xp.cuda.get_current_stream().synchronize()
        return result


LIBRARIES: dict[str, type[Library]] = {
    library.name: library for library in (Funcgrad, Jax, Torch, Autograd, Library, C, Cupy)
}


def load(names: tuple[str, ...], gpu: bool = False) -> tuple[dict[str, Library], dict[str, str]]:
    """The libraries of `names` that can be imported, and for each other one the reason why it cannot."""
    loaded: dict[str, Library] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            loaded[name] = LIBRARIES[name]()
            loaded[name].gpu |= gpu
        except ImportError as error:
            missing[name] = str(error)
    return loaded, missing
