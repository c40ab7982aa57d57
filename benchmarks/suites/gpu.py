"""One GPU: kernels that only move memory beside a copy of as many bytes, products, attention, models, loops of small steps.

`python benchmarks/run.py --suite gpu --backend cupy`. PyTorch's functions go through `torch.compile`; JAX's arrays and
ours are on the GPU before the clock starts. At tiny sizes it runs in the emulation, too (`--smoke --backend cuda-emu`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from cases import Case, Maker, Target, fresh, running
from libraries import Library
from timing import Thunk

from suites import compiler, learning

#: What a kernel may take of the time of a copy of its bytes, a product of cuBLAS's, and attention of PyTorch's.
MOVING, PRODUCT = Target(1 / 0.85, "cupy"), Target(1.03, "cupy")
FORWARD, BACKWARD = Target(1 / 0.6, "torch"), Target(1 / 0.5, "torch")
#: Compilation: half of JAX's time; from disk 0.3 s.
NEW, CACHED = Target(0.5, "jax"), Target(0.3)

MEANS = {"call": Target(1.0, "torch")}

Inputs = Callable[[], tuple[np.ndarray, ...]]


def standard(*shapes: tuple[int, ...]) -> Inputs:
    """float32 from a normal distribution; made when they are needed, since they are large."""
    return lambda: tuple(np.random.default_rng(0).standard_normal(shape, np.float32) for shape in shapes)


def copy(size: int) -> Maker:
    """A copy of so many bytes in the memory of the GPU: half of them are read, half are written."""

    def make(library: Library) -> Thunk:
        source = library.xp.zeros(size // 2, np.uint8)
        target = library.xp.empty_like(source)
        return lambda: library.wait(library.xp.copyto(target, source))

    return make


def jitted(function: Callable[[Library], Callable[..., Any]], inputs: Inputs) -> dict[str, Maker]:
    """The compiled function in each library."""

    def make(library: Library) -> Thunk:
        return running(library, library.jit(function(library)), *inputs())

    return dict.fromkeys(("funcgrad", "jax", "torch"), make)


def moving(name: str, what: str, size: int, makers: Mapping[str, Maker]) -> tuple[Case, Case]:
    """The row beside its peers, and beside a copy of `size` bytes."""
    ours = {"funcgrad": makers["funcgrad"], "cupy": copy(size)}
    return (
        Case(name, what, "call", Target(1.0, "jax"), makers, rtol=1e-4),
        Case(f"{name}-copy", "the same beside a copy of as many bytes", "call", MOVING, ours, rtol=None),
    )


def layer_norm(library: Library) -> Callable[..., Any]:
    xp = library.xp

    def norm(x: Any, scale: Any, shift: Any) -> Any:
        x = x - xp.mean(x, -1)[..., None]
        return x / xp.sqrt(xp.mean(x * x, -1) + 1e-5)[..., None] * scale + shift

    return norm


def adam(library: Library) -> Callable[..., Any]:
    """Kingma and Ba, arXiv:1412.6980, algorithm 1, at a late step."""

    def step(p: Any, g: Any, m: Any, v: Any) -> Any:
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * (g * g)
        return p - 1e-3 * m / (library.xp.sqrt(v) + 1e-8), m, v

    return step


def product(library: Library) -> Callable[..., Any]:
    return lambda x, y: x @ y


def products(n: int, dtype: Any) -> dict[str, Maker]:
    """(n, n) by (n, n) in a program, and by cuBLAS into an array that is there."""

    def inputs() -> tuple[np.ndarray, ...]:
        return tuple(x.astype(dtype) for x in standard((n, n), (n, n))())

    def by_hand(library: Library) -> Thunk:
        x, y = library.tree(inputs())
        out = library.xp.empty_like(x)
        return lambda: library.wait(library.xp.matmul(x, y, out=out))

    return jitted(product, inputs) | {"cupy": by_hand}


def attention(shape: tuple[int, ...], dtype: Any, backward: bool) -> dict[str, Maker]:
    """The sum of its results under a causal mask, or the gradient of that."""

    def inputs() -> tuple[np.ndarray, ...]:
        return tuple(x.astype(dtype) for x in standard(shape, shape, shape)())

    def make(library: Library) -> Thunk:
        nn = learning.modules(library)

        def total(qkv: tuple[Any, Any, Any]) -> Any:
            if library.name != "torch":
                return library.xp.sum(nn.dot_product_attention(*qkv, is_causal=True).astype(np.float32))
            q, k, v = (library.xp.swapaxes(x, 1, 2) for x in qkv)
            return library.xp.sum(nn.scaled_dot_product_attention(q, k, v, is_causal=True).float())

        if not backward:
            return running(library, library.jit(total), inputs())
        if library.name != "torch":
            return running(library, library.jit(library.grad(total)), inputs())
        # The gradient of one argument is PyTorch's of all three.
        leaves = tuple(library.array(x).requires_grad_() for x in inputs())
        compiled = library.jit(total)
        return lambda: library.wait(library.module.autograd.grad(compiled(leaves), leaves))

    return dict.fromkeys(("funcgrad", "jax", "torch"), make)


def scan(steps: int, batch: int, width: int) -> dict[str, Maker]:
    """h = tanh(h W + u) over time, compiled as a loop."""
    rng = np.random.default_rng(0)
    arrays = learning.normal(rng, width, width), learning.normal(rng, steps, batch, width)

    def make(library: Library) -> Thunk:
        def loop(w: Any, us: Any) -> Any:
            def cell(h: Any, u: Any) -> Any:
                return library.xp.tanh(h @ w + u), None

            return library.module.lax.scan(cell, us[0], us)[0]

        return running(library, library.jit(loop), *arrays)

    return dict.fromkeys(("funcgrad", "jax"), make)


#: Beside the models of `learning`: larger ones, at which a GPU has something to do.
LARGE: tuple[tuple[str, str, Callable[..., dict[str, Maker]], tuple[int, ...]], ...] = (
    ("mlp-huge", "MLP 4096-4096-4096-10, batch 8192, SGD step", learning.perceptron, (8192, 4096, 4096, 4096, 10)),
    ("lstm-large", "LSTM 512, batch 256, 256 steps, gradient", learning.recurrent, (512, 256, 256)),
    ("transformer-large", "4 blocks, D 1024, S 1024, 16 heads, batch 8", learning.transformer, (4, 1024, 1024, 16, 8)),
    ("cnn-large", "CNN 64-128, 512 images 64x64, gradient", learning.convolutional, (512, 64, 64, 128)),
)


def positive(n: int) -> Inputs:
    """Parameters, a gradient, and their moments, the second of which is positive."""

    def inputs() -> tuple[np.ndarray, ...]:
        p, g, m, v = standard((n,), (n,), (n,), (n,))()
        return p, g, m, v * v

    return inputs


def cases(tiny: bool) -> tuple[Case, ...]:
    """Memory, products, attention, small steps, models."""
    n, rows, width = (64, 3, 70) if tiny else (1 << 26, 1 << 15, 1 << 12)
    row = (rows, width)
    both = compiler.activation(n)
    softmax = jitted(lambda library: lambda x: learning.modules(library).softmax(x, -1), standard(row))
    table: list[Case] = [
        *moving("gelu", f"gelu forward and backward, {n:,} float32", 16 * n, both),
        *moving("softmax", f"softmax of {rows:,} rows of {width:,}", 8 * rows * width, softmax),
        *moving("layer-norm", "the same rows, normalised", 8 * rows * width, jitted(layer_norm, standard(row, (width,), (width,)))),
        *moving("adam", f"a step of Adam, {n // 2:,} parameters", 14 * n, jitted(adam, positive(n // 2))),
    ]  # fmt: skip
    for dtype in (np.float32, np.float16):
        size, name = 16 if tiny else 8192, np.dtype(dtype).name
        what = f"a product of two ({size}, {size}), {name}"
        table.append(Case(f"product-{name}", what, "call", PRODUCT, products(size, dtype), rtol=5e-3))
    for width in (64, 128):
        shape = (1, 40, 2, width) if tiny else (4, 4096, 2048 // width, width)
        for backward, target in ((False, FORWARD), (True, BACKWARD)):
            name = f"attention-{width}-{'backward' if backward else 'forward'}"
            what = f"causal attention, float16, (batch, length, heads, width) = {shape}"
            # JAX has no float16 products on a CPU, where the tiny ones run.
            makers = attention(shape, np.float32 if tiny else np.float16, backward)
            table.append(Case(name, what, "call", target, makers, rtol=None if backward else 1e-2))
    steps = learning.perceptron(*((2, 6, 5, 3) if tiny else (8, 784, 256, 10)))
    table.append(Case("mlp-tiny", "MLP 784-256-10, batch 8, SGD step", "call", Target(30e-6), steps, rtol=1e-3))
    loop = scan(*((5, 2, 3) if tiny else (1000, 8, 64)))
    table.append(Case("scan", "1,000 steps of h = tanh(h W + u)", "call", Target(0.1, "jax"), loop, rtol=1e-3))
    models = [(name, what, build, small if tiny else full) for name, what, build, full, small in learning.MODELS]
    for name, what, build, sizes in (*models, *(() if tiny else LARGE)):
        for case in fresh(name, what, build(*sizes), Target(1.0, "jax"), CACHED, rtol=1e-3):
            table.append(replace(case, target=NEW) if case.name.endswith("-new") else case)
    return tuple(table)
