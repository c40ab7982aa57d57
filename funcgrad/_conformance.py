"""The programs of the conformance suite of back ends: every family of primitives, derivatives and control flow included.

:func:`funcgrad.testing.check_backend` runs them. Each is a title, a function and NumPy arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import lax
from . import numpy as fnp
from .api.custom import checkpoint, custom_jvp
from .api.derivatives import grad, jvp, value_and_grad
from .api.mapping import vmap

__all__ = ["programs"]

Program = tuple[str, Callable[..., Any], tuple[Any, ...]]


def programs() -> list[Program]:
    """All programs, with fresh arguments."""
    rng = np.random.default_rng(0)
    return [*_elementwise(rng), *_structure(rng), *_reductions(rng), *_indexing(rng), *_products(rng), *_control(rng)]


def _elementwise(rng: np.random.Generator) -> list[Program]:
    found: list[Program] = []
    x = rng.uniform(0.1, 0.9, (3, 4))
    unary = (
        "exp exp2 expm1 log log1p sqrt rsqrt cbrt sin cos tan asin acos atan sinh cosh tanh asinh atanh logistic erf neg sign "
        "abs floor ceil round is_finite square"
    )
    for name in unary.split():
        for dtype in ("float32", "float64"):
            found.append((f"{name} of {dtype}", getattr(lax, name), (x.astype(dtype),)))
    for name in ("add", "sub", "mul", "div", "max", "min", "pow", "atan2", "rem", "eq", "ne", "lt", "le", "gt", "ge"):
        for dtype in ("float32", "float64"):
            found.append((f"{name} of {dtype}", getattr(lax, name), (x.astype(dtype), x[::-1].astype(dtype))))
    n = rng.integers(1, 9, (5,))
    for dtype in ("int8", "int32", "int64", "uint8", "uint32"):
        for name in ("add", "sub", "mul", "bitwise_and", "bitwise_or", "bitwise_xor", "max", "min", "shift_left"):
            found.append((f"{name} of {dtype}", getattr(lax, name), (n.astype(dtype), n[::-1].astype(dtype))))
    z = x + 1j * x[::-1]
    found += [
        ("complex product", lambda a: a * fnp.conj(a) + fnp.exp(a), (z,)),
        ("parts of a complex", lambda a: (fnp.real(a), fnp.imag(a), fnp.abs(a)), (z,)),
        ("conversions", lambda a: (a.astype("int32"), a.astype("float32"), a > 0.5), (x,)),
        ("where", lambda a: fnp.where(a > 0.5, fnp.sqrt(a), -a), (x,)),
        (
            "NaN, inf and signed zero",
            lambda a: (fnp.maximum(a, 0.0), fnp.sign(a), a * 0.0),
            (np.array([np.nan, np.inf, -0.0]),),
        ),
        ("empty arrays", lambda a: (fnp.sin(a) + 1.0, fnp.sum(a)), (np.zeros((0, 3)),)),
        ("rank 0", lambda a: fnp.sin(a) * a, (np.float64(0.5),)),
    ]
    return found


def _structure(rng: np.random.Generator) -> list[Program]:
    x = rng.standard_normal((2, 3, 4))
    return [
        ("reshape and transpose", lambda a: fnp.transpose(fnp.reshape(a, (6, 4))), (x,)),
        ("broadcast", lambda a: fnp.broadcast_to(a[:, :1], (5, 2, 3, 4)), (x,)),
        ("slice", lambda a: a[:, 1:, ::2], (x,)),
        ("reverse", lambda a: a[::-1, :, ::-1], (x,)),
        ("pad", lambda a: lax.pad(a, 1.0, ((1, 2, 0), (0, -1, 1), (0, 0, 2))), (x,)),
        ("concatenate", lambda a: fnp.concatenate([a, 2.0 * a], axis=1), (x,)),
        ("iota", lambda a: a + fnp.arange(4.0), (x,)),
        ("sort", lambda a: (fnp.sort(a, axis=1), fnp.argsort(a, axis=-1)), (x,)),
        ("derivative of sort", grad(lambda a: fnp.sum(fnp.sort(a, axis=2) * fnp.arange(4.0))), (x,)),
    ]


def _reductions(rng: np.random.Generator) -> list[Program]:
    x = rng.standard_normal((3, 4, 2))
    found: list[Program] = []
    for name in ("sum", "prod", "max", "min", "mean", "var", "argmax", "argmin"):
        function = getattr(fnp, name)
        for axis in (None, 0, -1):
            found.append((f"{name} along {axis}", lambda a, f=function, i=axis: f(a, axis=i), (x,)))
    for name in ("cumsum", "cumprod"):
        function = getattr(fnp, name)
        found.append((name, lambda a, f=function: f(a, axis=1), (x,)))
        found.append((f"derivative of {name}", grad(lambda a, f=function: fnp.sum(fnp.sin(f(a, axis=1)))), (x,)))
    found += [
        ("all and any", lambda a: (fnp.all(a > 0, axis=0), fnp.any(a > 0)), (x,)),
        ("sum of int32", lambda a: fnp.sum(a), (np.arange(5, dtype="int32"),)),
        ("derivative of prod and max", grad(lambda a: fnp.sum(fnp.prod(a, axis=1) * fnp.max(a, axis=1))), (x,)),
    ]
    return found


def _indexing(rng: np.random.Generator) -> list[Program]:
    x = rng.standard_normal((5, 4))
    i = np.array([0, 3, 3, -1])
    return [
        ("gather", lambda a, j: a[j], (x, i)),
        ("gather of two axes", lambda a, j: a[j, j], (x, i % 4)),
        ("gather of a column", lambda a, j: a[:, j], (x, i % 4)),
        ("derivative of gather", grad(lambda a, j: fnp.sum(fnp.sin(a[j]))), (x, i)),
        ("scatter set", lambda a, j: fnp.asarray(a).at[j].set(1.0), (x, i)),
        ("scatter add", lambda a, j: fnp.asarray(a).at[j].add(1.0), (x, i)),
        ("scatter max", lambda a, j: fnp.asarray(a).at[j].max(0.1), (x, i)),
        ("dynamic slice", lambda a, k: lax.dynamic_slice(a, (k, 0), (2, 3)), (x, np.int64(1))),
        ("dynamic update", lambda a, k: lax.dynamic_update_slice(a, fnp.ones((2, 2)), (k, k)), (x, np.int64(1))),
        ("take along an axis", lambda a: fnp.take_along_axis(a, fnp.argsort(a, axis=1), axis=1), (x,)),
    ]


def _products(rng: np.random.Generator) -> list[Program]:
    a, b = rng.standard_normal((3, 4)), rng.standard_normal((4, 5))
    batch = rng.standard_normal((2, 3, 4))
    image, filters = rng.standard_normal((2, 4, 6, 5)), rng.standard_normal((6, 2, 3, 2))

    def conv(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(x, w, (2, 1), ((1, 1), (0, 1)), (1, 2), (2, 1), feature_group_count=2)

    def pool(x: Any) -> Any:
        return lax.reduce_window(x, -np.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    return [
        ("matrix product", fnp.matmul, (a, b)),
        ("matrix product of float32", fnp.matmul, (a.astype("float32"), b.astype("float32"))),
        ("stack of products", fnp.matmul, (batch, b)),
        ("einsum", lambda x, y: fnp.einsum("bij,jk->bki", x, y), (batch, b)),
        ("dot of vectors", fnp.dot, (a[0], a[1])),
        ("derivative of a product", grad(lambda x, y: fnp.sum(fnp.tanh(x @ y)), (0, 1)), (a, b)),
        ("convolution", conv, (image, filters)),
        ("derivative of convolution", grad(lambda x, w: fnp.sum(fnp.sin(conv(x, w))), (0, 1)), (image, filters)),
        ("max pooling", pool, (image,)),
        ("derivative of max pooling", grad(lambda x: fnp.sum(fnp.sin(pool(x)))), (image,)),
    ]


def _control(rng: np.random.Generator) -> list[Program]:
    x = rng.standard_normal(4)
    w = rng.standard_normal((4, 4)) / 2

    @custom_jvp
    def softplus(t: Any) -> Any:
        return fnp.log1p(fnp.exp(t))

    softplus.defjvps(lambda t, ans, s: t * lax.logistic(s))

    def branch(t: Any) -> Any:
        return lax.cond(fnp.sum(t) > 0, fnp.sin, lambda s: s**2, t)

    def recurrent(h: Any, m: Any) -> Any:
        return lax.scan(lambda c, _: (fnp.tanh(m @ c), fnp.sum(c)), h, None, length=5)

    def doubling(t: Any) -> Any:
        return lax.while_loop(lambda s: fnp.sum(s**2) < 100.0, lambda s: 1.5 * s, t)

    def loss(h: Any, m: Any) -> Any:
        last, sums = recurrent(h, m)
        return fnp.sum(last**2) + fnp.sum(sums)

    return [
        ("cond", branch, (x,)),
        ("derivative of cond", grad(lambda t: fnp.sum(branch(t))), (x,)),
        ("cond under vmap", vmap(branch), (rng.standard_normal((6, 4)),)),
        ("scan", recurrent, (x, w)),
        ("derivative of scan", value_and_grad(loss, (0, 1)), (x, w)),
        ("while_loop", doubling, (x,)),
        ("while_loop under vmap", vmap(doubling), (rng.standard_normal((3, 4)),)),
        ("forward mode of while_loop", lambda t: jvp(doubling, (t,), (t,)), (x,)),
        ("fori_loop", lambda t: lax.fori_loop(0, 7, lambda i, s: s * 0.5 + i, t), (x,)),
        ("custom rule", grad(lambda t: fnp.sum(softplus(t))), (x,)),
        ("checkpoint", grad(checkpoint(lambda t: fnp.sum(fnp.sin(fnp.sin(t))))), (x,)),
        ("collectives", vmap(lambda t: t / lax.psum(t, "i") + lax.axis_index("i"), axis_name="i"), (x,)),
    ]
