"""Checking derivatives and back ends: for tests of functions, of custom rules, and of back ends.

A derivative is checked along one random direction. Forward mode against the central difference

    J v = (f(x + h v) - f(x - h v)) / 2h + O(h^2),       |v| = 1,

and reverse mode against forward mode by the inner product that defines a transpose, <w, J v> = <J^T w, v>.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import tree
from ._conformance import programs
from .api.derivatives import jvp, vjp
from .api.staging import jit, make_jaxpr
from .core.backend import Backend, use_backend
from .core.errors import MissingRuleError
from .core.ir import check
from .core.types import aval_of, is_inexact

__all__ = ["assert_close", "check_backend", "check_grads", "check_jvp", "check_vjp"]

_TOLERANCE = {2: 1e-2, 4: 2e-3, 8: 1e-6, 16: 1e-6}


def _eps(dtype: Any) -> float:
    return float(np.finfo(dtype).eps)


def _as_array(x: Any) -> Any:
    return np.asarray(x)


def _direction(rng: np.random.Generator, x: Any) -> Any:
    """A random array like ``x``; zeros of dtype float0 for integers are made by jvp itself."""
    a = _as_array(x)
    if not is_inexact(a.dtype):
        return x
    v = rng.standard_normal(a.shape)
    if a.dtype.kind == "c":
        v = v + 1j * rng.standard_normal(a.shape)
    return np.asarray(v, a.dtype)


def _unit(direction: Any) -> Any:
    """The direction scaled to unit length over all its leaves."""
    live = [x for x in tree.leaves(direction) if is_inexact(_as_array(x).dtype)]
    norm = np.sqrt(sum(float(np.sum(np.abs(_as_array(x)) ** 2)) for x in live)) or 1.0
    return tree.map(
        lambda x: np.asarray(_as_array(x) / norm, _as_array(x).dtype) if is_inexact(_as_array(x).dtype) else x,
        direction,
    )


def _inner(a: Any, b: Any) -> float:
    """Re sum a b over all leaves that carry tangents."""
    total = 0.0
    for x, y in zip(tree.leaves(a), tree.leaves(b), strict=True):
        x, y = _as_array(x), _as_array(y)
        if is_inexact(x.dtype) and is_inexact(y.dtype):
            total += float(np.real(np.sum(x.astype(np.result_type(x, np.float64)) * y)))
    return total


def assert_close(
    actual: Any, expected: Any, atol: float | None = None, rtol: float | None = None, what: str = ""
) -> None:
    """Raise AssertionError, naming the first leaf, unless two pytrees are equal in structure, shape, dtype and value.

    The default tolerance is that of the dtype: a few hundred roundings.
    """
    left, right = tree.flatten_with_path(actual), tree.flatten_with_path(expected)
    if left[1] != right[1]:
        raise AssertionError(f"{what}: the trees differ: {left[1]} and {right[1]}")
    for (path, a), (_, b) in zip(left[0], right[0], strict=True):
        x, y = _as_array(a), _as_array(b)
        name = f"{what}{tree.keystr(path)}"
        if x.shape != y.shape or x.dtype != y.dtype:
            raise AssertionError(f"{name}: {aval_of(x)} is not {aval_of(y)}")
        if not is_inexact(x.dtype):
            np.testing.assert_array_equal(x, y, err_msg=name)
            continue
        size = float(np.max(np.abs(y), initial=0, where=np.isfinite(y))) or 1.0
        eps = _eps(x.dtype)
        np.testing.assert_allclose(
            x,
            y,
            atol=200 * eps * size if atol is None else atol,
            rtol=200 * eps if rtol is None else rtol,
            err_msg=name,
        )


def _compare(what: str, got: float, wanted: float, scale: float, tol: float) -> None:
    if not abs(got - wanted) <= tol * max(scale, 1.0):
        raise AssertionError(
            f"{what}: {got:.10g} is not {wanted:.10g} (difference {abs(got - wanted):.3g}, tolerance {tol * max(scale, 1.0):.3g})"
        )


def _tolerance(leaves: Sequence[Any]) -> float:
    sizes = [np.zeros(0, _as_array(x).dtype).real.itemsize for x in leaves if is_inexact(_as_array(x).dtype)]
    return _TOLERANCE[min(sizes, default=8)]


def _central_difference(f: Callable[..., Any], args: Sequence[Any], direction: Any, eps: float | None = None) -> Any:
    """The derivative of ``f`` along a direction, to about the 2/3 power of the dtype's rounding."""
    dtypes = [_as_array(x).dtype for x in tree.leaves(args)]
    step = max(_eps(d) for d in dtypes if is_inexact(d)) ** (1 / 3) if eps is None else eps

    def moved(h: float) -> Any:
        def move(x: Any, v: Any) -> Any:
            a = _as_array(x)
            return np.asarray(a + h * _as_array(v), a.dtype)[()] if is_inexact(a.dtype) else x

        return f(*tree.map(move, args, direction))

    def quotient(up: Any, down: Any) -> Any:
        up, down = _as_array(up), _as_array(down)
        wide = np.result_type(up.dtype, np.float64)
        return (up.astype(wide) - down.astype(wide)) / (2 * step) if is_inexact(up.dtype) else up

    return tree.map(quotient, moved(step), moved(-step))


def check_jvp(
    f: Callable[..., Any], args: Sequence[Any], tol: float | None = None, eps: float | None = None, seed: int = 0
) -> None:
    """Check the forward-mode derivative of ``f`` at ``args`` against a central difference along a random unit direction.

    ``tol``: relative tolerance; ``eps``: the step, by default the cube root of the dtype's rounding. Raises
    AssertionError, naming the leaf of the result.

    >>> check_jvp(lambda x: x**3, (2.0,))
    """
    args = tuple(args)
    rng = np.random.default_rng(seed)
    leaves = tree.leaves(args)
    if not any(is_inexact(_as_array(x).dtype) for x in leaves):
        raise AssertionError("check_jvp: no argument has a derivative")
    direction = _unit(tree.map(lambda x: _direction(rng, x), args))
    _, tangent = jvp(f, args, direction)
    differences = tree.leaves(_central_difference(f, args, direction, eps))
    for (path, t), difference in zip(tree.leaves_with_path(tangent), differences, strict=True):
        t = _as_array(t)
        if not is_inexact(t.dtype):
            continue
        error = np.max(np.abs(t - difference), initial=0.0)
        scale = max(float(np.max(np.abs(difference), initial=0.0)), 1.0)
        limit = (tol or _tolerance([t, *leaves])) * scale
        if not error <= limit:
            worst = np.unravel_index(int(np.argmax(np.abs(t - difference))), t.shape)
            raise AssertionError(
                f"check_jvp: the tangent of the result{tree.keystr(path)} differs from the central difference by {error:.3g} "
                f"at element {tuple(map(int, worst))}: {t[worst]} and {difference[worst]} (tolerance {limit:.3g})"
            )


def check_vjp(f: Callable[..., Any], args: Sequence[Any], tol: float | None = None, seed: int = 0) -> None:
    """Check that reverse mode is the transpose of forward mode: <w, J v> = <J^T w, v> for random v and w.

    Where ``f`` has no forward mode (a ``custom_vjp`` whose backward pass cannot be transposed), J v is a central
    difference. Raises AssertionError.

    >>> check_vjp(lambda x: x**3, (2.0,))
    """
    args = tuple(args)
    rng = np.random.default_rng(seed)
    v = _unit(tree.map(lambda x: _direction(rng, x), args))
    out, pullback = vjp(f, *args)
    try:
        _, tangent = jvp(f, args, v)
    except MissingRuleError:
        tangent = _central_difference(f, args, v)
    w = _unit(tree.map(lambda y: _direction(rng, y), out))
    cts = pullback(w)
    for (path, c), x in zip(tree.leaves_with_path(cts), tree.leaves(args), strict=True):
        a, b = _as_array(c), _as_array(x)
        if a.shape != b.shape or (is_inexact(b.dtype) and a.dtype != b.dtype):
            raise AssertionError(
                f"check_vjp: the cotangent{tree.keystr(path)} is {aval_of(a)}, the argument {aval_of(b)}"
            )
    left, right = _inner(w, tangent), _inner(cts, v)
    scale = max(
        abs(left),
        abs(right),
        *(
            float(np.max(np.abs(_as_array(t)), initial=0.0))
            for t in tree.leaves(tangent)
            if is_inexact(_as_array(t).dtype)
        ),
        1.0,
    )
    _compare(
        "check_vjp: <w, J v> and <J^T w, v>",
        right,
        left,
        scale,
        tol or _tolerance([*tree.leaves(args), *tree.leaves(out)]),
    )


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 1,
    modes: Sequence[str] = ("fwd", "rev"),
    tol: float | None = None,
    eps: float | None = None,
    seed: int = 0,
) -> None:
    """Check the derivatives of ``f`` at ``args`` up to ``order``, in forward (``fwd``) and reverse (``rev``) mode.

    The arguments should be float64 where numbers matter: in float32 a difference tells but three digits. Raises
    AssertionError.

    >>> check_grads(lambda x, y: x * y**2, (2.0, 3.0), order=2)
    """
    args = tuple(args)
    check_jvp(f, args, tol, eps, seed)
    if "rev" in modes:
        check_vjp(f, args, tol, seed)
    if order > 1:
        rng = np.random.default_rng(seed + 1)
        v = tree.map(lambda x: _direction(rng, x), args)

        def tangent(*xs: Any) -> Any:
            return [t for t in tree.leaves(jvp(f, xs, v)[1]) if is_inexact(aval_of(t).dtype)]

        if "fwd" in modes:
            check_grads(tangent, args, order - 1, modes, tol, eps, seed + 1)
        if "rev" in modes:
            w = tree.map(lambda y: _direction(rng, y), f(*args))

            def cotangent(*xs: Any) -> Any:
                return [c for c in tree.leaves(vjp(f, *xs)[1](w)) if is_inexact(aval_of(c).dtype)]

            check_grads(cotangent, args, order - 1, modes, tol, eps, seed + 1)


def check_backend(backend: Backend | str) -> None:
    """The conformance suite of a back end: programs over every family of primitives, compared with the NumPy back end.

    Raises AssertionError, naming the program, at the first that differs in type or by more than its dtype's tolerance.

    >>> check_backend("numpy")
    """
    name = backend if isinstance(backend, str) else backend.name
    with use_backend(name) as used:
        for title, f, args in programs():
            jaxpr = make_jaxpr(f)(*args)
            check(jaxpr)
            with use_backend("numpy"):
                expected = jit(f)(*args)
            given = [used.asarray(x) for x in tree.leaves(args)]
            outs = used.compile(jaxpr)(*given)
            found = [used.to_numpy(y) for y in outs]
            for aval, y in zip(jaxpr.out_avals, found, strict=True):
                if y.shape != aval.shape or y.dtype != aval.dtype:
                    raise AssertionError(f"back end {name}, {title}: a result is {aval_of(y)}, but its type is {aval}")
            assert_close(found, [_as_array(y) for y in tree.leaves(expected)], what=f"back end {name}, {title}")
