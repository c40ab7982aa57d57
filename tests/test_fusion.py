"""Fusion: groups keep type and value, are as large as they can be, and can always be put into an order."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import primitives as p
from funcgrad.compiler.backend import SourceBackend
from funcgrad.compiler.fuse import fuse
from funcgrad.compiler.fusion import MOVES, REDUCTIONS, fusion
from funcgrad.compiler.grouping import Graph, find_groups
from funcgrad.compiler.simplify import simplify
from funcgrad.core.config import config
from funcgrad.core.errors import IRError
from funcgrad.core.ir import Eqn, Jaxpr, Var, subjaxprs
from funcgrad.core.trace import eval_jaxpr, stage
from funcgrad.core.types import Aval
from funcgrad.lax import scan
from funcgrad.primitives.elementwise import ELEMENTWISE
from funcgrad_numpy import NumpyBackend, backend, blocks

FUSABLE = frozenset(ELEMENTWISE) | REDUCTIONS | MOVES
F64, I64 = np.dtype("float64"), np.dtype("int64")


@pytest.fixture(autouse=True)
def checked() -> Iterator[None]:
    with config(check_ir=True):
        yield


def always(eqn: Eqn) -> bool:
    return True


def staged(fun: Callable[..., Any], *shapes: tuple[int, ...]) -> Jaxpr:
    def listed(*args: Any) -> Any:
        result = fun(*args)
        return result if isinstance(result, list) else [result]

    return stage(listed, [Aval(s, F64) for s in shapes])


def fused(fun: Callable[..., Any], *args: Any) -> Jaxpr:
    """The program of a function of arrays, with all groups."""
    return fuse(simplify(fg.jit(fun).trace(*args).jaxpr, backend.ops), FUSABLE, always)


def names(jaxpr: Jaxpr) -> list[str]:
    return [e.primitive.name for e in jaxpr.eqns]


def groups(jaxpr: Jaxpr) -> list[Jaxpr]:
    return [e.params["jaxpr"] for e in jaxpr.eqns if e.primitive is fusion]


# What becomes one group -----------------------------------------------------------------------------------------------

X = np.linspace(-1, 1, 64 * 128).reshape(64, 128)
ROW = np.ones(128)
LABELS = np.arange(64)


def softmax(x: Any) -> Any:
    z = fnp.exp(x - fg.lax.stop_gradient(fnp.max(x, axis=-1, keepdims=True)))
    return z / fnp.sum(z, axis=-1, keepdims=True)


def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    mean, var = fnp.mean(x, axis=-1, keepdims=True), fnp.var(x, axis=-1, keepdims=True)
    return (x - mean) / fnp.sqrt(var + 1e-5) * scale + shift


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + fnp.tanh(0.79788456 * (x + 0.044715 * x**3)))


def logsumexp(x: Any) -> Any:
    top = fg.lax.stop_gradient(fnp.max(x, axis=-1, keepdims=True))
    return fnp.log(fnp.sum(fnp.exp(x - top), axis=-1)) + top[:, 0]


def cross_entropy(logits: Any, labels: Any) -> Any:
    return fnp.mean(logsumexp(logits) - fnp.take_along_axis(logits, labels[:, None], 1)[:, 0])


def dense_cross_entropy(logits: Any, targets: Any) -> Any:
    return -fnp.mean(fnp.sum(targets * (logits - logsumexp(logits)[:, None]), axis=-1))


def adam(params: Any, grads: Any, m: Any, v: Any) -> Any:
    m, v = 0.9 * m + 0.1 * grads, 0.999 * v + 0.001 * grads * grads
    return params - 0.01 * m / (fnp.sqrt(v) + 1e-8), m, v


@pytest.mark.parametrize(
    ("fun", "args", "count"),
    [
        (softmax, (X,), 1),
        (fg.grad(lambda x: (softmax(x) * fnp.sin(x)).sum()), (X,), 1),
        (logsumexp, (X,), 1),
        (layer_norm, (X, ROW, ROW), 1),
        # The derivatives of scale and shift are sums over the other axis.
        (fg.grad(lambda x, a, b: (layer_norm(x, a, b) ** 2).sum(), (0, 1, 2)), (X, ROW, ROW), 2),
        (gelu, (X,), 1),
        (fg.grad(lambda x: gelu(x).sum()), (X,), 1),
        (fg.value_and_grad(lambda x: gelu(x).sum()), (X,), 1),
        # The mean over the rows is a reduction of the losses, which are reductions themselves.
        (fg.value_and_grad(cross_entropy), (X, LABELS), 2),
        (fg.value_and_grad(dense_cross_entropy), (X, X), 2),
        (adam, (X, X, X, X), 1),
        (lambda x: x / fnp.sqrt((x * x).sum()), (X,), 1),
        (lambda x: (fnp.sin(x), fnp.cos(x)), (X,), 1),
        (lambda x: (x.sum(axis=0), x.sum(axis=1)), (X,), 2),
        (lambda x: x + fnp.arange(128.0), (X,), 1),
    ],
)
def test_how_many_groups(fun: Any, args: Any, count: int) -> None:
    jaxpr = fused(fun, *args)
    assert len(groups(jaxpr)) == count
    left = {"fusion", "gather", "scatter", *MOVES, "reshape", "slice", "squeeze"}
    assert set(names(jaxpr)) <= left, jaxpr


def test_a_layer_is_a_product_and_a_group_each_way() -> None:
    def loss(w: Any, b: Any, x: Any) -> Any:
        return (fnp.tanh(x @ w + b) ** 2).sum()

    jaxpr = fused(fg.grad(loss, (0, 1)), np.ones((128, 32)), np.ones(32), X)
    assert names(jaxpr) == ["dot_general", "fusion", "dot_general"]
    assert len(groups(jaxpr)[0].outs) == 2  # the cotangent of the product, and its sum over the batch


def test_a_group_is_convex() -> None:
    """The reversed array lies on a path from the sine to the sum: the two must not be one group."""

    def fun(x: Any) -> Any:
        y = p.sin(x)
        return p.add(p.mul(y, 2.0), p.rev(y, axes=(0,)))

    jaxpr = fuse(staged(fun, (8,)), FUSABLE, always)
    assert names(jaxpr) == ["fusion", "rev", "fusion"]


def test_groups_are_not_entangled() -> None:
    """Two chains that exchange values through opaque operations both ways: one must be cut."""

    def fun(x: Any, y: Any) -> Any:
        a = p.sin(x)
        b = p.cos(p.rev(y, axes=(0,)))
        c = p.add(a, p.rev(p.neg(b), axes=(0,)))
        d = p.add(b, p.rev(p.neg(a), axes=(0,)))
        return [c, d]

    fuse(staged(fun, (8,), (8,)), FUSABLE, always)


def test_what_an_unrelated_operation_feeds_is_no_obstacle() -> None:
    def fun(x: Any, y: Any) -> Any:
        late = p.sort(p.rev(p.sort(y, axis=0, stable=False), axes=(0,)), axis=0, stable=False)
        z = p.sin(x)
        return [p.mul(z, p.add(p.cos(x), late)), p.reduce_max(z, axes=(0,))]

    assert names(fuse(staged(fun, (8,), (8,)), FUSABLE, always)) == ["sort", "rev", "sort", "fusion"]


def test_a_broadcast_along_the_wrong_axis_ends_a_group() -> None:
    """In a square space the sums of rows have the shape of sums of columns."""

    def fun(x: Any, dim: int) -> Any:
        return p.sub(x, p.broadcast_in_dim(p.reduce_sum(x, axes=(1,)), shape=(4, 4), dims=(dim,)))

    x = np.arange(16.0).reshape(4, 4)
    for dim, count in ((0, 1), (1, 2)):
        jaxpr = fuse(staged(lambda x, dim=dim: fun(x, dim), (4, 4)), FUSABLE, always)
        assert len(groups(jaxpr)) == count
        np.testing.assert_array_equal(eval_jaxpr(jaxpr, x)[0], fun(x, dim))


def test_bodies_of_control_flow_are_fused() -> None:
    def fun(x: Any) -> Any:
        return scan(lambda c, _: (softmax(c), None), x, None, length=3)[0]

    (loop,) = fused(fun, X).eqns
    assert names(next(subjaxprs(loop.params))) == ["fusion"]


def test_lines_of_the_user_are_kept() -> None:
    (eqn,) = fused(gelu, X).eqns
    line = gelu.__code__.co_firstlineno + 1
    assert eqn.source.line == line
    assert {e.source.line for e in eqn.params["jaxpr"].eqns} == {line}


def test_small_arrays_may_be_left_out() -> None:
    """The values on the way between reductions count as what they are computed from."""
    jaxpr = simplify(fg.jit(lambda x, y: (softmax(x), gelu(y))).trace(X, X[:2]).jaxpr, backend.ops)
    assert len(groups(fuse(jaxpr, FUSABLE, always))) == 2
    (only,) = groups(fuse(jaxpr, FUSABLE, always, 1000))
    assert names(only)[0] == "reduce_max"


def test_what_is_not_worth_it_stays_as_it_was() -> None:
    jaxpr = simplify(fg.jit(layer_norm).trace(X, ROW, ROW).jaxpr, backend.ops)
    assert fuse(jaxpr, FUSABLE, lambda eqn: False) is jaxpr
    assert fuse(jaxpr, frozenset(), always) is jaxpr

    def two(x: Any, y: Any) -> Any:
        return p.neg(p.sin(x)), p.exp(p.rev(p.cos(y), axes=(0,)))

    jaxpr = stage(two, [Aval((8,), F64), Aval((9,), F64)])
    only = fuse(jaxpr, FUSABLE, lambda eqn: eqn.params["space"] == (9,))
    assert names(only) == ["sin", "neg", "fusion", "rev", "fusion"]


def test_effects_keep_their_order() -> None:
    seen: list[float] = []

    def fun(x: Any) -> Any:
        y = p.sin(x)
        p.debug_callback(p.reduce_sum(p.neg(y), axes=(0,)), callback=lambda v: seen.append(float(v)))
        p.debug_callback(p.reduce_sum(x, axes=(0,)), callback=lambda v: seen.append(float(v)))
        return p.mul(y, y)

    jaxpr = fuse(staged(fun, (2,)), FUSABLE, always)
    eval_jaxpr(jaxpr, np.array([np.pi / 2, 0.0]))
    assert seen == [-1.0, np.pi / 2]


# The primitive --------------------------------------------------------------------------------------------------------


def wrong(fun: Callable[..., Any], axes: tuple[int, ...], *shapes: tuple[int, ...]) -> Jaxpr:
    body = staged(fun, *shapes)
    inputs = [Var(v.aval) for v in body.invars]
    outputs = [Var(a.aval) for a in body.outs]
    params = {"jaxpr": body, "space": (4, 4), "axes": axes}
    return Jaxpr(inputs, [Eqn(fusion, inputs, outputs, params)], outputs)


@pytest.mark.parametrize(
    ("fun", "axes", "shapes", "message"),
    [
        (lambda x: p.rev(x, axes=(0,)), (), [(4, 4)], "rev is neither elementwise"),
        (lambda x: p.sin(x), (), [(3,)], "sin has the shape"),
        (lambda x: p.reduce_sum(x, axes=(0,)), (1,), [(4, 4)], "reduce_sum over"),
        (lambda x: p.sin(x), (1,), [(4, 4)], "are not reduced"),
        (lambda x, y: [p.reduce_sum(x, axes=(1,)), y], (1,), [(4, 4), (2,)], "an output is neither"),
        (
            lambda x: p.broadcast_in_dim(p.reduce_sum(x, axes=(1,)), shape=(4, 4), dims=(1,)),
            (1,),
            [(4, 4)],
            "along the reduced axes only",
        ),
    ],
)
def test_a_body_that_is_no_group_does_not_type_check(fun: Any, axes: Any, shapes: Any, message: str) -> None:
    with pytest.raises(IRError, match=message):
        wrong(fun, axes, *shapes)


# Random programs ------------------------------------------------------------------------------------------------------

UNARY = [p.neg, p.sin, p.tanh, p.abs_, p.floor]
BINARY = [p.add, p.sub, p.mul, p.max_]
REDUCE = [p.reduce_sum, p.reduce_max, p.reduce_min, p.reduce_prod]


SMALL = [(3, 4), (3, 3), (1, 3), (4, 1)]


@st.composite
def programs(draw: st.DrawFn, shapes: Sequence[tuple[int, int]] = SMALL, continuous: bool = False) -> Jaxpr:
    """Equations over matrices, rows, columns and scalars; opaque ones, and squares where shapes say little, included.

    If all are ``continuous``, another order of summation makes no more than a small difference.
    """
    unary = UNARY[:-1] if continuous else UNARY
    rows, columns = draw(st.sampled_from(shapes))
    choices = draw(st.lists(st.tuples(*[st.integers(0, 10_000)] * 4), min_size=2, max_size=24))
    matrix, row, column = (rows, columns), (columns,), (rows,)

    def fun(x: Any, y: Any, r: Any, c: Any, s: Any) -> list[Any]:
        pools: dict[tuple[int, ...], list[Any]] = {matrix: [x, y], (): [s]}
        pools.setdefault(row, []).append(r)
        pools.setdefault(column, []).append(c)
        ranks = list(pools)

        def pick(of: tuple[int, ...], n: int) -> Any:
            # What was computed last, more often than not.
            return pools[of][-1 - (n % len(pools[of]) if n % 3 else 0)]

        for kind, a, b, d in choices:
            shape = ranks[a % len(ranks)]
            one = pick(shape, b)
            match kind % 9:
                case 0 | 1:
                    new = unary[d % len(unary)](one)
                case 2 | 3:
                    new = BINARY[d % len(BINARY)](one, pick(shape, d))
                case 4:
                    new = BINARY[d % len(BINARY)](one, pick((), b))
                case 5:
                    new = REDUCE[b % 4](pick(matrix, a), axes=((0,), (1,), (0, 1))[d % 3])
                case 6:
                    dims = (0,) if d % 2 else (1,)
                    new = p.broadcast_in_dim(pick((matrix[dims[0]],), b), shape=matrix, dims=dims)
                case 7:
                    new = p.rev(one, axes=(0,)) if shape else p.broadcast_in_dim(one, shape=matrix, dims=())
                case _ if continuous:
                    new = p.select(p.lt(pools[shape][0], np.float64(0.3)), one, pick((), d))
                case _:
                    new = p.select(p.lt(one, pick(shape, d)), one, pick((), d))
            pools[new.shape].append(new)
        outs = [v for pool in pools.values() for v in pool]
        return [v for i, v in enumerate(outs) if (choices[0][0] >> (i % 12)) & 1 or i == len(outs) - 1]

    return staged(fun, matrix, matrix, row, column, ())


def arguments(jaxpr: Jaxpr) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=v.aval.shape) for v in jaxpr.invars]


class Grouping(NumpyBackend):
    """NumPy, with every group as one call."""

    name = "grouping"
    fusable = FUSABLE
    least_fused = 1
    worth = SourceBackend.worth
    write_group = SourceBackend.write_group

    def fusion(self, eqn: Eqn) -> Callable[..., Any]:
        return lambda *args: [np.array(y) for y in eval_jaxpr(eqn.params["jaxpr"], *args)]


@settings(max_examples=200, deadline=None)
@given(programs())
def test_random_programs_keep_type_and_value(jaxpr: Jaxpr) -> None:
    args = arguments(jaxpr)
    # `check` sees that each variable is defined before it is used: the groups are in an order.
    result = fuse(jaxpr, FUSABLE, always)
    assert result.out_avals == jaxpr.out_avals
    with np.errstate(all="ignore"):
        expected = eval_jaxpr(jaxpr, *args)
        for y, e in zip(eval_jaxpr(result, *args), expected, strict=True):
            np.testing.assert_array_equal(y, e)
        half = fuse(jaxpr, FUSABLE, lambda eqn: len(eqn.params["jaxpr"].eqns) % 2 == 0)
        for y, e in zip(eval_jaxpr(half, *args), expected, strict=True):
            np.testing.assert_array_equal(y, e)
    assert not any(e.primitive.elementwise and e.outputs[0].aval.shape for e in result.eqns)


@settings(max_examples=100, deadline=None)
@given(programs())
def test_random_programs_compile_with_groups(jaxpr: Jaxpr) -> None:
    args = arguments(jaxpr)
    with np.errstate(all="ignore"):
        expected = eval_jaxpr(jaxpr, *args)
    for y, e in zip(Grouping().compile(jaxpr)(*args), expected, strict=True):
        np.testing.assert_allclose(y, e, rtol=1e-12)


@settings(max_examples=100, deadline=None)
@given(programs())
def test_the_graph_of_groups_has_no_cycle(jaxpr: Jaxpr) -> None:
    graph = Graph(jaxpr, FUSABLE)
    of = {i: ("group", g) for g, group in enumerate(find_groups(graph)) for i in group.members}
    after: dict[Any, set[Any]] = {}
    for i, eqn in enumerate(jaxpr.eqns):
        for a in eqn.inputs:
            if a in graph.defs and graph.moves[graph.defs[a]] and i in of:
                # A group has broadcasts of its own.
                a = next(iter(jaxpr.eqns[graph.defs[a]].inputs), None)
            if a in graph.defs:
                one, other = of.get(graph.defs[a], graph.defs[a]), of.get(i, i)
                if one != other:
                    after.setdefault(one, set()).add(other)
    done: dict[Any, bool] = {}

    def visit(node: Any) -> None:
        assert done.get(node, True), "a cycle"
        if node not in done:
            done[node] = False
            for other in after.get(node, ()):
                visit(other)
            done[node] = True

    for node in list(after):
        visit(node)


# NumPy's loops over blocks ----------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every group becomes a loop, over blocks of a few elements."""
    monkeypatch.setattr(NumpyBackend, "least_fused", 1)
    monkeypatch.setattr(blocks, "MIN_BYTES", 1)
    monkeypatch.setattr(blocks, "LARGE_BYTES", 1)
    monkeypatch.setattr(blocks, "MIN_RUN", 1)
    monkeypatch.setattr(blocks, "CACHE_BYTES", 1)
    monkeypatch.setattr(blocks, "BLOCK_SIZES", (64, 64))


BLOCKED = [(7, 4), (40, 3), (3, 40), (12, 12), (1, 150), (150, 1), (2, 130)]


def with_other_roundings(jaxpr: Jaxpr, args: list[Any]) -> list[Any]:
    """The values of a program that rounds each result by another unit in the last place: what its roundings decide."""
    rng = np.random.default_rng(0)
    env: dict[Any, Any] = dict(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        y = np.asarray(eqn.primitive(*[env[a] if isinstance(a, Var) else a.value for a in eqn.inputs], **eqn.params))
        if y.dtype.kind == "f":
            y = y * (1 + np.finfo(y.dtype).eps * rng.choice([-1.0, 1.0], y.shape))
        env[eqn.outputs[0]] = y
    return [env[a] if isinstance(a, Var) else a.value for a in jaxpr.outs]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(programs(BLOCKED, continuous=True))
def test_random_programs_in_blocks(tiny_blocks: None, jaxpr: Jaxpr) -> None:
    args = arguments(jaxpr)
    before = [np.array(a) for a in args]
    with np.errstate(all="ignore"):
        expected = [np.array(y) for y in eval_jaxpr(jaxpr, *args)]
        other = [np.array(y) for y in with_other_roundings(jaxpr, args)]
        # Sums are added up in another order; the sine of a large number is any number.
        doubt = [100 * np.abs(e - o, where=e.dtype.kind == "f", out=np.zeros(e.shape)) for e, o in zip(expected, other)]
    program = backend.compile(jaxpr)
    with np.errstate(all="raise"):
        first, second = program(*args), program(*args)
    np.testing.assert_equal(args, before)
    for results in (first, second):
        for i, (y, e, d) in enumerate(zip(results, expected, doubt, strict=True)):
            assert np.shape(y) == e.shape
            assert y.dtype == e.dtype
            if not np.isfinite(d).all() or d.max(initial=0) > 1e-3 * np.abs(e).max(initial=1.0):
                continue
            np.testing.assert_allclose(y, e, rtol=1e-9, atol=1e-9 + d.max(initial=0))
            assert not any(np.shares_memory(y, z) for z in [*args, *results[:i]] if isinstance(y, np.ndarray))


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2), ()])
@pytest.mark.parametrize("shape", [(7, 5, 3), (40, 2, 3), (2, 3, 40), (2, 40, 3), (1, 40, 1)])
def test_reductions_and_broadcasts_of_every_kind_in_blocks(tiny_blocks: None, shape: Any, axes: Any) -> None:
    kept = tuple(i for i in range(3) if i not in axes)
    small = tuple(n for i, n in enumerate(shape) if i in kept)

    def fun(x: Any, k: Any, b: Any) -> list[Any]:
        y = p.mul(p.sin(x), p.broadcast_in_dim(b, shape=shape, dims=(1, 2)))
        y = p.add(y, p.convert(p.iota(shape=shape, dtype=I64, axis=1), dtype=F64))
        if not axes:
            return [p.tanh(y)]
        total = p.add(p.reduce_sum(y, axes=axes), k)
        z = p.div(y, p.broadcast_in_dim(p.exp(p.tanh(total)), shape=shape, dims=kept))
        return [z, total, p.reduce_max(p.cos(z), axes=axes), p.select(p.lt(z, y), z, 1.0)]

    rng = np.random.default_rng(0)
    jaxpr = staged(fun, shape, small, shape[1:])
    args = [rng.normal(size=s) for s in (shape, small, shape[1:])]
    program = backend.compile(jaxpr)
    assert "in_blocks(" in program.source
    for y, e in zip(program(*args), eval_jaxpr(jaxpr, *args), strict=True):
        np.testing.assert_allclose(y, e, rtol=1e-10)
    flipped = [np.asfortranarray(a) for a in args]
    for y, e in zip(program(*flipped), program(*args), strict=True):
        np.testing.assert_array_equal(y, e)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32", "uint8", "bool"])
def test_dtypes_in_blocks(tiny_blocks: None, dtype: str) -> None:
    def fun(x: Any) -> list[Any]:
        if dtype == "bool":
            return [p.reduce_and(p.or_(x, p.not_(x)), axes=(0,)), p.reduce_or(p.and_(x, x), axes=(0,)), p.not_(x)]
        y = p.mul(x, x)
        extra = []
        if dtype.startswith("float"):
            pieces = [p.rsqrt(y), p.integer_pow(x, y=-1), p.integer_pow(x, y=3), p.logistic(y), p.integer_pow(x, y=5)]
            extra = [p.add(q, q) for q in pieces]
        wide = p.convert(p.convert(y, dtype=np.dtype("float32")), dtype=np.dtype(dtype))
        return [
            p.reduce_sum(y, axes=(0,)), p.reduce_prod(p.add(y, y), axes=(0,)), p.reduce_max(y, axes=(0,)),
            p.sub(wide, x), p.integer_pow(y, y=2), *extra,
        ]  # fmt: skip

    x = np.arange(1, 5).repeat(5).reshape(20, 1).astype(dtype)
    jaxpr = stage(lambda x: fun(x), [Aval(x.shape, x.dtype)])
    program = backend.compile(jaxpr)
    assert "in_blocks(" in program.source
    with np.errstate(all="ignore"):
        expected = eval_jaxpr(jaxpr, x)
    for y, e in zip(program(x), expected, strict=True):
        assert y.dtype == e.dtype
        np.testing.assert_allclose(y, e, rtol=1e-2 if dtype == "float16" else 1e-5)


@pytest.mark.parametrize("fun", [gelu, softmax, lambda x: x / fnp.sqrt((x * x).sum()), lambda x: (x * x).sum(axis=0)])
def test_results_do_not_depend_on_the_number_of_threads(fun: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LARGE_BYTES", 1)
    monkeypatch.setattr(blocks, "BLOCK_SIZES", (1 << 12, 1 << 14))
    x = np.random.default_rng(0).normal(size=(1000, 1003)).astype("float32")
    with config(num_threads=1):
        expected = fg.jit(fun)(x)
    for threads in (2, 3, 8):
        with config(num_threads=threads):
            np.testing.assert_array_equal(fg.jit(fun)(x), expected)
    np.testing.assert_allclose(expected, fun(x.astype("float64")), rtol=1e-3, atol=1e-5)


def test_threads_keep_warnings_off_and_errors_inside() -> None:
    x = np.zeros((1000, 1000))
    with np.errstate(all="raise"), config(num_threads=4):
        assert np.isnan(fg.jit(lambda x: fnp.log(x) * x * fnp.tanh(x) + fnp.exp(x) * x)(x)).all()


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_the_number_of_threads_is_checked(threads: Any) -> None:
    with pytest.raises(ValueError, match="num_threads is a whole number, 1 or more"):
        config.num_threads = threads


def test_the_environment_gives_the_number_of_threads() -> None:
    def run(value: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"FUNCGRAD_NUM_THREADS": value}
        code = "import funcgrad; print(funcgrad.config.num_threads)"
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)

    assert run("3").stdout.strip() == "3"
    assert "FUNCGRAD_NUM_THREADS is '0'; set it to a number of threads" in run("0").stderr


def test_small_programs_stay_straight() -> None:
    source = fg.jit(gelu).lower(np.ones(1000)).as_text()
    assert "for " not in source


def test_golden_source_of_blocks() -> None:
    line = softmax.__code__.co_firstlineno
    text = fg.jit(softmax).lower(np.ones((10_000, 512))).as_text()
    assert text == (
        "def _softmax_fused(a):\n"
        "    # 10000 x 512 elements in blocks of 80\n"
        "    b = fresh((10000, 512), float64)\n"
        "\n"
        "    def rows(start, stop):\n"
        "        t1, = fresh((1, 80, 512), float64)\n"
        "        for i0 in range(start, stop, 80):\n"
        "            i1 = i0 + 80\n"
        "            a_i = a[i0:i1]\n"
        "            b_i = b[i0:i1]\n"
        f"            c_i = maximum.reduce(a_i, 1)  # test_fusion.py:{line + 1}\n"
        f"            subtract(a_i, c_i[:, None], out=t1)  # test_fusion.py:{line + 1}\n"
        f"            exp(t1, out=t1)  # test_fusion.py:{line + 1}\n"
        f"            d_i = add.reduce(t1, 1)  # test_fusion.py:{line + 2}\n"
        f"            divide(t1, d_i[:, None], out=b_i)  # test_fusion.py:{line + 2}\n"
        "\n"
        "    in_blocks(rows, 10000, 80)\n"
        "    return b,\n"
        "\n"
        "\n"
        "def softmax(a):\n"
        f"    b, = _softmax_fused(a)  # test_fusion.py:{line + 2}\n"
        "    return [b]\n"
    )


# Cost -----------------------------------------------------------------------------------------------------------------


def test_the_cost_of_grouping_is_linear() -> None:
    def chain(n: int) -> Jaxpr:
        def fun(x: Any) -> Any:
            total = x
            for _ in range(n):
                x = p.add(p.sin(x), p.rev(p.cos(x), axes=(0,)))
                row = p.broadcast_in_dim(p.reduce_sum(x, axes=(0,)), shape=(5,), dims=())
                total = p.add(total, p.mul(row, x))
            return total

        return staged(fun, (5,))

    def calls(jaxpr: Jaxpr) -> int:
        count = 0

        def profile(frame: Any, event: str, arg: Any) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(profile)
        try:
            fuse(jaxpr, FUSABLE, always)
        finally:
            sys.setprofile(None)
        return count

    with config(check_ir=False):
        costs = [calls(chain(n)) for n in (50, 100, 400)]
    assert costs[1] < 2.2 * costs[0]
    assert costs[2] < 4.4 * costs[1]
