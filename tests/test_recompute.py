"""Values that are made again where they are read: fewer bytes, the same results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.compiler.recompute import recompute_groups, recompute_stacks
from funcgrad.core.ir import check
from funcgrad.core.trace import eval_jaxpr


def compiled(f: Any, *args: Any) -> Any:
    with fg.use_backend("llvm"):
        return fg.jit(f).lower(*args).compile()


def scans(jaxpr: Any) -> list[Any]:
    return [e for e in jaxpr.eqns if e.primitive.name == "scan"]


def test_a_mask_of_indices_is_made_by_its_readers() -> None:
    def f(x: Any) -> Any:
        lower = fnp.tril(fnp.ones((64, 64)))
        y = fnp.tanh(x * lower) @ x
        return fnp.sum((y * lower) @ x, 0)

    x = np.random.default_rng(0).standard_normal((64, 64))
    program = compiled(f, x)
    np.testing.assert_allclose(program(x), f(x), rtol=1e-10, atol=1e-10)
    assert program.memory_analysis().temp_size_in_bytes <= 2 * x.nbytes


def test_what_is_dear_is_kept() -> None:
    def f(x: Any) -> Any:
        y = fnp.exp(x) / (x + 3.0)
        return (y @ x) * y

    x = np.random.default_rng(0).random((40, 40))
    program = compiled(f, x)
    np.testing.assert_allclose(program(x), f(x), rtol=1e-10)
    bodies = [e.params["jaxpr"] for e in program._program.jaxpr.eqns if e.primitive.name == "fusion"]
    assert sum(e.primitive.name in ("exp", "div") for b in bodies for e in b.eqns) == 2


LAYERS, N = 12, 96


def kept_by_a_layer(activation: Any) -> float:
    """How many arrays of float64 a gradient keeps for a layer, beside what it needs however deep it is."""

    def f(depth: int) -> int:
        def loss(x: Any, w: Any) -> Any:
            for _ in range(depth):
                x = activation(x @ w)
            return fnp.sum(x)

        x = np.random.default_rng(0).standard_normal((N, N)) / np.sqrt(N)
        program = compiled(fg.grad(loss, 1), x, x)
        np.testing.assert_allclose(program(x, x), fg.grad(loss, 1)(x, x), rtol=1e-9, atol=1e-12)
        return program.memory_analysis().temp_size_in_bytes

    return (f(LAYERS) - f(2)) / ((LAYERS - 2) * N * N * 8)


@pytest.mark.parametrize(
    ("activation", "arrays"),
    [
        (fnp.tanh, 1),  # the slope is of the activation, which the product reads
        (fg.nn.gelu, 2),  # what goes in; all else is made again
        (lambda z: fg.nn.gelu(z) * fg.nn.sigmoid(z), 2),
        (lambda z: fnp.where(fnp.abs(z) < 1.0, z, 0.0), 1 + 1 / 8),  # one byte says where
    ],
    ids=["tanh", "gelu", "gelu-sigmoid", "window"],
)
def test_a_layer_keeps_the_fewest_bytes(activation: Any, arrays: float) -> None:
    assert kept_by_a_layer(activation) == pytest.approx(arrays, rel=0.01)


def test_in_a_long_group_little_is_made_again() -> None:
    """Where a hundred values are alive at a time, what is made again would be stored by the group itself."""

    def f(x: Any, w: Any) -> Any:
        values = [fnp.sin(x @ w) * fnp.cos(x * float(k)) for k in range(40)]
        far = sum(v @ w for v in values[:2])
        for _ in range(3):
            values = [a * b + fnp.exp(-a * a) for a, b in zip(values, values[1:] + values[:1], strict=True)]
        return sum(values) + far

    x = np.random.default_rng(0).standard_normal((N, N)) / N
    program = compiled(f, x, x)
    bodies = [e.params["jaxpr"] for e in program._program.jaxpr.eqns if e.primitive.name == "fusion"]
    assert sum(e.primitive.name in ("sin", "cos") for b in bodies for e in b.eqns) <= 41
    np.testing.assert_allclose(program(x, x), f(x, x), rtol=1e-9)


def test_a_loop_stacks_what_is_small() -> None:
    """Of a broadcast its operand, of a cheap function of stacked values nothing."""

    def f(x: Any, ws: Any) -> Any:
        def step(c: Any, w: Any) -> Any:
            s = fnp.sum(c * w)
            wide = fnp.broadcast_to(s, (30,))
            return fnp.tanh(c + w), (wide, s * 2.0 + 1.0, s)

        c, (wide, affine, plain) = lax.scan(step, x, ws)
        back = lambda c, row: (c * 0.5 + row[0] * row[1], row[2])
        return lax.scan(back, c, (wide, affine, plain), reverse=True)

    rng = np.random.default_rng(0)
    x, ws = rng.standard_normal(30), rng.standard_normal((20, 30))
    jaxpr = fg.make_jaxpr(f)(x, ws)
    found = recompute_stacks(jaxpr)
    check(found)
    forward, backward = scans(found)
    assert [v.aval.shape for v in forward.outputs] == [(30,), (20,)]
    assert [a.aval.shape for a in backward.inputs] == [(30,), (20,)]
    for a, b in zip(eval_jaxpr(found, x, ws), eval_jaxpr(jaxpr, x, ws), strict=True):
        np.testing.assert_array_equal(a, b)


def test_stacked_results_of_the_program_stay() -> None:
    def f(x: Any) -> Any:
        step = lambda c, _: (fnp.tanh(c), (fnp.sum(c), fnp.sum(c) * 2.0))
        c, (a, b) = lax.scan(step, x, None, length=4)
        return b, lax.scan(lambda c, row: (c + row[0] * row[1], None), c, (a, b))[0]

    x = np.linspace(-1, 1, 5)
    found = recompute_stacks(fg.make_jaxpr(f)(x))
    assert len(scans(found)[0].outputs) == 3


@pytest.mark.parametrize("length", [0, 1, 5])
def test_a_mask_of_indices_is_made_once_for_a_loop(length: int) -> None:
    def f(x: Any) -> Any:
        row = lambda c, k: (fnp.tril(fnp.ones((8, 8))) @ c, k)
        step = lambda c, _: lax.scan(row, c, None, length=2)
        return lax.scan(step, x, None, length=length)[0]

    x = np.random.default_rng(0).standard_normal((8, 8))
    program = compiled(f, x)
    np.testing.assert_allclose(program(x), f(x), rtol=1e-12)
    found = program._program.jaxpr
    check(found)
    if length:
        assert [e.primitive.name for e in found.eqns] == ["fusion", "scan"]
        (inner,) = scans(scans(found)[0].params["jaxpr"])
        assert [e.primitive.name for e in inner.params["jaxpr"].eqns] == ["dot_general"]


def lstm(w: Any, xs: Any) -> Any:
    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        i, f, g, o = fnp.split(x @ w[:3] + h @ w[3:], 4, 1)
        c = fg.nn.sigmoid(f) * c + fg.nn.sigmoid(i) * fnp.tanh(g)
        h = fg.nn.sigmoid(o) * fnp.tanh(c)
        return (h, c), fnp.sum(h * h)

    return fnp.sum(lax.scan(step, (fnp.zeros((2, 5)), fnp.zeros((2, 5))), xs)[1])


def test_a_gradient_through_a_loop_is_the_same() -> None:
    rng = np.random.default_rng(0)
    w, xs = rng.standard_normal((8, 20)), rng.standard_normal((6, 2, 3))
    grad = fg.grad(lstm, (0, 1))
    jaxpr = fg.make_jaxpr(grad)(w, xs)
    program = compiled(grad, w, xs)
    # Four gates, and h and c of the step before, beside the carries, and what the loss needs; the tanh of c and all slopes
    # are made from these, and weights are read where they are.
    assert len(scans(program._program.jaxpr)[0].outputs) == 2 + 7
    for a, b in zip(program(w, xs), eval_jaxpr(jaxpr, w, xs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=14),
    st.integers(1, 9),
)
def test_programs_keep_type_and_value(plan: Any, n: int) -> None:
    def f(x: Any) -> Any:
        values = [x, fnp.sin(x)]
        for kind, i, j in plan:
            a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
            match kind:
                case 0 | 1 | 2:
                    r = (a + b, a * b, fnp.where(a > b, a, -b))[kind]
                case 3:
                    r = a @ fnp.cos(b)
                case 4:
                    r = b - fnp.sum(a, 1, keepdims=True) * 0.1
                case 5:
                    r = fnp.tril(a) + b
                case 6:
                    r = fnp.max(a, 0) * b
                case 7:
                    r = lax.scan(lambda c, row: (c + row * 2.0, c * row), a[0], b)[1]
                case _:
                    r = fnp.cumsum(a, 0)
            values.append(fnp.tanh(r))
        return fnp.sum(values[-1] * values[-2])

    x = np.random.default_rng(n).standard_normal((n, n))
    both = fg.value_and_grad(f)
    program = compiled(both, x)
    for jaxpr in (program._program.jaxpr, recompute_groups(program._program.jaxpr)):
        check(jaxpr)
    for a, b in zip(fg.tree.leaves(program(x)), fg.tree.leaves(both(x)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)
