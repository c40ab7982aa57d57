"""The compiler: passes keep type and value, programs damage nothing that is not theirs, sources are as they should."""

from __future__ import annotations

import gc
import linecache
import math
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funcgrad import primitives as p
from funcgrad.compiler.buffers import LARGE_BYTES
from funcgrad.compiler.dce import eliminate_dead_code
from funcgrad.compiler.inline import inline_calls
from funcgrad.compiler.program import Program
from funcgrad.compiler.rewrite import rewrite
from funcgrad.compiler.simplify import simplify
from funcgrad.compiler.to_source import module_source
from funcgrad.core.config import config
from funcgrad.core.errors import BackendError
from funcgrad.core.ir import Jaxpr, Literal
from funcgrad.core.trace import Primitive, eval_jaxpr, stage
from funcgrad.core.types import Aval, aval_of
from funcgrad.transforms.call import call as jit_call
from funcgrad.transforms.conditional import cond
from funcgrad.transforms.loops import scan, while_
from funcgrad_numpy import backend

F64, F32, I64, BOOL = (np.dtype(d) for d in ("float64", "float32", "int64", "bool"))


@pytest.fixture(autouse=True)
def checked() -> Iterator[None]:
    with config(check_ir=True):
        yield


def f64(*shape: int) -> Aval:
    return Aval(shape, F64)


def i64(*shape: int) -> Aval:
    return Aval(shape, I64)


def staged(fun: Callable[..., Any], *avals: Aval, name: str = "fn") -> Jaxpr:
    def listed(*args: Any) -> Sequence[Any]:
        result = fun(*args)
        return result if isinstance(result, list) else [result]

    return stage(listed, avals, name)


def names(jaxpr: Jaxpr) -> list[str]:
    return [e.primitive.name for e in jaxpr.eqns]


def simplified(fun: Callable[..., Any], *avals: Aval) -> Jaxpr:
    return simplify(staged(fun, *avals), backend.ops)


def body_lines(program: Program) -> list[str]:
    """The statements of the program's function, without comments."""
    text = program.source.split(f"def {program.jaxpr.name}(")[1].split(":\n", 1)[1]
    return [line.split("  #")[0].strip() for line in text.splitlines() if line.strip()]


def run_both(jaxpr: Jaxpr, *args: Any, rtol: float = 0) -> list[Any]:
    """Run a jaxpr as a program and by interpretation; compare types and values, and see that nothing is shared."""
    before = [np.array(a) for a in args]
    with np.errstate(all="ignore"):
        expected = eval_jaxpr(jaxpr, *args)
    expected = [np.array(y) for y in expected]
    with np.errstate(all="raise"):
        results = backend.compile(jaxpr)(*args)
    for a, b in zip(args, before, strict=True):
        np.testing.assert_array_equal(a, b)
    for i, (y, e, aval) in enumerate(zip(results, expected, jaxpr.out_avals, strict=True)):
        assert aval_of(y) == aval, (i, y, aval)
        np.testing.assert_allclose(y, e, rtol=rtol, atol=rtol)
        if rtol == 0:
            number = ~np.isnan(e)  # the sign of NaN means nothing
            np.testing.assert_array_equal(np.signbit(np.real(y)) & number, np.signbit(np.real(e)) & number)
        if isinstance(y, np.ndarray):
            assert y.flags.writeable
            for other in [*args, *results[:i], *jaxpr.consts]:
                assert not np.shares_memory(y, other)
    return results


# Passes ---------------------------------------------------------------------------------------------------------------


def test_calls_are_inlined_each_time_with_new_variables() -> None:
    inner = staged(lambda x: p.sin(x), f64(3), name="inner")
    outer = staged(lambda x: jit_call(x, jaxpr=inner, name="inner"), f64(3), name="outer")
    jaxpr = staged(
        lambda x: [*jit_call(x, jaxpr=outer, name="outer"), *jit_call(p.neg(x), jaxpr=outer, name="outer")], f64(3)
    )
    flat = inline_calls(jaxpr, backend.ops)
    assert names(flat) == ["sin", "neg", "sin"]
    run_both(jaxpr, np.arange(3.0))


class Twice(Primitive):
    """A primitive that no back end knows."""

    name = "twice"

    def type(self, *avals: Aval, **params: Any) -> Aval:
        return avals[0]

    def expand(self, x: Any) -> Any:  # type: ignore[override]
        return p.add(x, x)


def test_unknown_primitives_are_expanded() -> None:
    jaxpr = staged(lambda x: Twice()(p.sin(x)), f64(3))
    flat = inline_calls(jaxpr, backend.ops)
    assert names(flat) == ["sin", "add"]
    assert flat.eqns[1].source is not None
    assert flat.eqns[1].source.file == __file__
    run_both(jaxpr, np.arange(3.0))


def test_dead_code_goes_but_effects_stay() -> None:
    def fun(x: Any) -> Any:
        p.exp(x)
        p.debug_callback(p.cos(x), callback=print)
        return p.sin(x)

    assert names(simplified(fun, f64(3))) == ["cos", "debug_callback", "sin"]


def test_common_subexpressions() -> None:
    def fun(x: Any, y: Any) -> Any:
        a = p.mul(p.sin(x), p.cos(y))
        b = p.mul(p.cos(y), p.sin(x))
        return p.sub(a, b)

    assert names(simplified(fun, f64(3), f64(3))) == ["sin", "cos", "mul", "sub"]


def test_common_subexpressions_stop_at_a_barrier() -> None:
    def fun(x: Any) -> Any:
        (y,) = p.optimization_barrier(x)
        return p.sub(p.sin(x), p.sin(y))

    assert names(simplified(fun, f64(3))).count("sin") == 2
    run_both(staged(fun, f64(3)), np.arange(3.0))


def test_literals_that_differ_in_type_or_sign_of_zero_are_different() -> None:
    def fun(x: Any) -> Any:
        return [p.atan2(x, np.float64(0.0)), p.atan2(x, np.float64(-0.0))]

    assert len(simplified(fun, f64(2)).eqns) == 2


def test_constants_are_folded() -> None:
    jaxpr = simplified(lambda x: p.mul(x, p.sin(p.add(np.float64(1), np.float64(2)))), f64(2))
    assert names(jaxpr) == ["mul"]
    assert jaxpr.eqns[0].inputs[1].value == np.sin(3.0)


IDENTITIES: list[tuple[Callable[[Any], Any], list[str]]] = [
    (lambda x: p.mul(x, np.float64(1)), []),
    (lambda x: p.div(x, np.float64(1)), []),
    (lambda x: p.add(x, np.float64(-0.0)), []),
    (lambda x: p.add(x, np.float64(0.0)), ["add"]),  # -0.0 + 0.0 is 0.0
    (lambda x: p.sub(x, np.float64(0.0)), []),
    (lambda x: p.sub(x, np.float64(-0.0)), ["sub"]),
    (lambda x: p.mul(x, np.float64(0)), ["mul"]),  # NaN
    (lambda x: p.mul(np.float64(-1), x), ["neg"]),
    (lambda x: p.neg(p.neg(x)), []),
    (lambda x: p.add(x, p.neg(p.sin(x))), ["sin", "sub"]),
    (lambda x: p.sub(x, p.neg(p.sin(x))), ["sin", "add"]),
    (lambda x: p.neg(p.mul(x, np.float64(3))), ["mul"]),
    (lambda x: p.mul(np.float64(3), p.mul(x, np.float64(2))), ["mul"]),
    (lambda x: p.mul(np.float64(3), p.mul(x, np.float64(0.3))), ["mul", "mul"]),
    (lambda x: p.mul(np.float64(0.5), p.mul(x, np.float64(2))), ["mul", "mul"]),  # 2x may overflow
    (lambda x: p.div(x, np.float64(8)), ["mul"]),
    (lambda x: p.div(x, np.float64(3)), ["div"]),
    (lambda x: p.div(x, np.float64(5e-324)), ["div"]),
    (lambda x: p.integer_pow(x, y=1), []),
    (lambda x: p.copy(x), []),
    (lambda x: p.transpose(p.transpose(x, axes=(1, 0)), axes=(1, 0)), []),
    (lambda x: p.reshape(p.reshape(x, shape=(6,)), shape=(3, 2)), ["reshape"]),
    (lambda x: p.reshape(p.reshape(x, shape=(6,)), shape=(2, 3)), []),
    (lambda x: p.rev(p.rev(x, axes=(0,)), axes=(0,)), []),
    (lambda x: p.slice_(x, start=(0, 0), limit=(2, 3), stride=(1, 1)), []),
    (
        lambda x: p.slice_(
            p.slice_(x, start=(0, 0), limit=(2, 3), stride=(1, 2)), start=(0, 1), limit=(2, 2), stride=(1, 1)
        ),
        ["slice"],
    ),
    (lambda x: p.pad(x, np.float64(0), config=((0, 0, 0), (0, 0, 0))), []),
    (lambda x: p.concatenate(x, axis=0), []),
    (lambda x: p.reduce_sum(x, axes=()), []),
    (lambda x: p.broadcast_in_dim(x, shape=(2, 3), dims=(0, 1)), []),
    (lambda x: p.mul(x, p.broadcast_in_dim(np.float64(2), shape=(2, 3), dims=())), ["mul"]),
    (lambda x: p.exp(p.broadcast_in_dim(p.reduce_sum(x, axes=(0,)), shape=(2, 3), dims=(1,))), None),
    (lambda x: p.select(np.bool_(True), x, p.sin(x)), []),
    (lambda x: p.select(p.lt(x, np.float64(0)), x, x), []),
    (lambda x: p.select(p.not_(p.lt(x, np.float64(0))), x, p.sin(x)), ["lt", "sin", "select"]),
    (lambda x: p.real(p.complex_(x, p.sin(x))), []),
    (lambda x: p.imag(p.complex_(x, p.sin(x))), ["sin"]),
    (lambda x: p.convert(x, dtype=F64), []),
    (lambda x: p.convert(p.convert(p.gt(x, np.float64(0)), dtype=I64), dtype=F64), ["gt", "convert"]),
    (lambda x: p.convert(p.convert(x, dtype=F32), dtype=F64), ["convert", "convert"]),
    (
        lambda x: p.reduce_max(p.broadcast_in_dim(np.float64(2), shape=(4, 2), dims=()), axes=(0,)),
        ["broadcast_in_dim"],
    ),
    (
        lambda x: p.dot_general(p.transpose(x, axes=(1, 0)), x, dimension_numbers=(((1,), (0,)), ((), ()))),
        ["dot_general"],
    ),
    (
        lambda x: p.transpose(p.dot_general(x, x, dimension_numbers=(((1,), (1,)), ((), ()))), axes=(1, 0)),
        ["dot_general"],
    ),
    (
        lambda x: p.slice_(
            p.broadcast_in_dim(x, shape=(2, 4, 3), dims=(0, 2)), start=(0, 1, 1), limit=(2, 3, 3), stride=(1, 1, 2)
        ),
        ["slice", "broadcast_in_dim"],
    ),
    (
        lambda x: p.add(p.max_(x, np.float64(0)), p.convert(p.gt(x, np.float64(0)), dtype=F64)),
        ["max", "gt", "convert", "add"],
    ),
    (lambda x: p.dot_general(x, x, dimension_numbers=(((), ()), ((), ()))), ["broadcast_in_dim"] * 2 + ["mul"]),
    (
        lambda x: p.dot_general(x, x, dimension_numbers=(((), ()), ((1,), (1,)))),
        ["transpose"] + ["broadcast_in_dim"] * 2 + ["mul"],
    ),
    (
        lambda x: p.dot_general(
            p.reshape(x, shape=(6, 1)), p.reshape(p.sin(x), shape=(6, 1)), dimension_numbers=(((1,), (1,)), ((), ()))
        ),
        ["sin"] + ["reshape"] * 2 + ["broadcast_in_dim"] * 2 + ["mul"],
    ),
    (
        lambda x: p.add(
            p.pad(x, np.float64(0), config=((1, 0, 0), (0, 0, 0))),
            p.pad(p.sin(x), np.float64(0), config=((1, 0, 0), (0, 0, 0))),
        ),
        ["sin", "add", "pad"],
    ),
]


TRUE, FALSE, ONES = np.bool_(True), np.bool_(False), np.int64(-1)
#: Of a boolean array b and one of integers, i.
BITWISE: list[tuple[Callable[[Any, Any], Any], list[str]]] = [
    (lambda b, i: p.and_(b, TRUE), []),
    (lambda b, i: p.and_(FALSE, b), ["broadcast_in_dim"]),
    (lambda b, i: p.or_(b, FALSE), []),
    (lambda b, i: p.or_(TRUE, b), ["broadcast_in_dim"]),
    (lambda b, i: p.xor(FALSE, b), []),
    (lambda b, i: p.xor(b, TRUE), ["xor"]),
    (lambda b, i: p.and_(b, b), []),
    (lambda b, i: p.or_(b, b), []),
    (lambda b, i: p.xor(b, b), ["broadcast_in_dim"]),
    (lambda b, i: p.and_(i, ONES), []),
    (lambda b, i: p.and_(i, np.int64(0)), ["broadcast_in_dim"]),
    (lambda b, i: p.and_(i, np.int64(1)), ["and"]),
    (lambda b, i: p.or_(np.int64(0), i), []),
    (lambda b, i: p.or_(i, ONES), ["broadcast_in_dim"]),
    (lambda b, i: p.or_(i, np.int64(6)), ["or"]),
    (lambda b, i: p.xor(i, np.int64(0)), []),
    (lambda b, i: p.xor(i, ONES), ["xor"]),
    (lambda b, i: p.xor(i, i), ["broadcast_in_dim"]),
]


@pytest.mark.parametrize(("fun", "expected"), BITWISE)
def test_algebra_of_bits(fun: Callable[[Any, Any], Any], expected: list[str]) -> None:
    jaxpr = staged(fun, Aval((2, 3), np.dtype(bool)), Aval((2, 3), I64))
    lean = simplify(jaxpr, backend.ops)
    assert lean.out_avals == jaxpr.out_avals
    assert names(lean) == expected
    run_both(jaxpr, np.array([[True, False, True], [False] * 3]), np.array([[0, -1, 5], [2**62, -(2**63), 1]]))


def test_a_scalar_beside_a_literal_has_the_shape_of_both() -> None:
    jaxpr = staged(lambda b: p.and_(b, FALSE), Aval((), np.dtype(bool)))
    lean = simplify(jaxpr, backend.ops)
    assert (names(lean), lean.out_avals) == ([], jaxpr.out_avals)


@pytest.mark.parametrize(("fun", "expected"), IDENTITIES)
def test_algebra(fun: Callable[[Any], Any], expected: list[str] | None) -> None:
    jaxpr = staged(fun, f64(2, 3))
    lean = simplify(jaxpr, backend.ops)
    assert lean.out_avals == jaxpr.out_avals
    if expected is not None:
        assert names(lean) == expected
    tiny, huge = 5e-324, 1e308
    for values in ([-0.0, 0.0, math.nan, math.inf, -math.inf, 1.5], [tiny, -tiny, huge, -huge, 2.0, -3.0]):
        rtol = 1e-15 if "dot_general" in names(lean) else 0
        run_both(jaxpr, np.array(values).reshape(2, 3), rtol=rtol)


def test_the_mask_of_a_rectifier_reads_its_result() -> None:
    jaxpr = simplified(lambda x: [p.max_(x, np.float64(0)), p.gt(x, np.float64(0))], f64(2, 3))
    top, mask = jaxpr.eqns
    assert mask.inputs[0] is top.outputs[0]
    alone = simplified(lambda x: p.gt(x, np.float64(0)), f64(2, 3))
    assert alone.eqns[0].inputs[0] is alone.invars[0]


def test_complex_products_by_one_stay() -> None:
    jaxpr = simplified(lambda x: p.mul(x, np.complex128(1)), Aval((2,), np.dtype("complex128")))
    assert names(jaxpr) == ["mul"]


def test_integers_past_2_to_the_53_are_not_lossless_in_floating_point() -> None:
    fun = lambda x: p.convert(p.convert(x, dtype=F64), dtype=I64)
    assert len(simplified(fun, i64(2)).eqns) == 2
    run_both(staged(fun, i64(2)), np.array([2**53 + 1, 3]))


def test_sources_survive() -> None:
    def fun(x: Any) -> Any:
        y = p.add(x, p.neg(p.sin(x)))
        return p.mul(np.float64(2), p.broadcast_in_dim(p.reduce_sum(y, axes=(0,)), shape=(3,), dims=()))

    assert all(e.source is not None and e.source.file == __file__ for e in simplified(fun, f64(3)).eqns)


# Control flow ---------------------------------------------------------------------------------------------------------


def step() -> Jaxpr:
    def body(w: Any, unused: Any, c: Any, n: Any, idle: Any, x: Any) -> list[Any]:
        c = p.tanh(p.add(p.mul(w, c), x))
        return [c, p.add(n, 1), p.sin(idle), p.mul(c, c), p.exp(x)]

    return staged(body, f64(3), f64(3), f64(3), i64(), f64(3), f64(3), name="step")


def looped(used: Sequence[int], length: int = 4, reverse: bool = False) -> Jaxpr:
    def fun(w: Any, c: Any, xs: Any) -> list[Any]:
        outs = scan(
            w, c, c, np.int64(0), c, xs, jaxpr=step(), num_consts=2, num_carry=3, length=length, reverse=reverse
        )
        return [outs[i] for i in used]

    return staged(fun, f64(3), f64(3), f64(length, 3))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_scan(length: int, reverse: bool) -> None:
    rng = np.random.default_rng(0)
    jaxpr = looped(range(5), length, reverse)
    run_both(jaxpr, rng.normal(size=3), rng.normal(size=3), rng.normal(size=(length, 3)))


@pytest.mark.parametrize(
    ("used", "inputs", "outputs"), [([0], 3, 1), ([1], 1, 1), ([3], 3, 2), ([4], 1, 1), ([0, 2, 3, 4], 4, 4)]
)
def test_what_a_scan_does_not_need_goes(used: list[int], inputs: int, outputs: int) -> None:
    lean = simplify(looped(used), backend.ops)
    (eqn,) = lean.eqns
    assert (len(eqn.inputs), len(eqn.outputs)) == (inputs, outputs)
    rng = np.random.default_rng(0)
    run_both(looped(used), rng.normal(size=3), rng.normal(size=3), rng.normal(size=(4, 3)))


def counted(used: Sequence[int]) -> Jaxpr:
    test = staged(lambda limit, i, v, u: p.lt(i, limit), i64(), i64(), f64(3), f64(3), name="below")
    body = staged(lambda k, i, v, u: [p.add(i, 1), p.mul(v, k), p.sin(u)], f64(), i64(), f64(3), f64(3), name="double")

    def fun(limit: Any, k: Any, v: Any) -> list[Any]:
        outs = while_(limit, k, np.int64(0), v, v, cond_jaxpr=test, body_jaxpr=body, cond_nconsts=1, body_nconsts=1)
        return [outs[i] for i in used]

    return staged(fun, i64(), f64(), f64(3))


@pytest.mark.parametrize("limit", [0, 1, 5])
@pytest.mark.parametrize("used", [[0, 1, 2], [1], [0]])
def test_while(used: list[int], limit: int) -> None:
    jaxpr = counted(used)
    run_both(jaxpr, np.int64(limit), np.float64(2), np.arange(3.0))
    (eqn,) = simplify(jaxpr, backend.ops).eqns
    assert len(eqn.outputs) == len({0, *used})


@pytest.mark.parametrize("index", [0, 1, 2])
def test_cond(index: int) -> None:
    same = staged(lambda x, y: [x, x], f64(3), f64(3), name="same")
    moved = staged(lambda x, y: [p.neg(x), y], f64(3), f64(3), name="moved")
    fixed = staged(
        lambda x, y: [p.broadcast_in_dim(np.float64(7), shape=(3,), dims=()), p.sin(x)], f64(3), f64(3), name="fixed"
    )

    def fun(i: Any, x: Any, y: Any) -> list[Any]:
        a, b = cond(i, x, y, branches=(same, moved, fixed))
        (c, _) = cond(i, p.exp(x), y, branches=(same, moved, fixed))
        return [a, b, c]

    jaxpr = staged(fun, i64(), f64(3), f64(3))
    run_both(jaxpr, np.int64(index), np.arange(3.0), np.ones(3))
    unused = simplify(jaxpr, backend.ops).eqns[-1]
    assert len(unused.outputs) == 1
    assert len(unused.inputs) == 2


def test_what_raises_is_not_computed_ahead() -> None:
    wrong = staged(
        lambda x: p.gather(p.iota(shape=(3,), dtype=F64, axis=0), np.int64(7), axes=(0,)), f64(), name="wrong"
    )
    right = staged(lambda x: p.sin(x), f64(), name="right")
    program = backend.compile(staged(lambda i, x: cond(i, x, branches=(right, wrong)), i64(), f64()))
    assert program(0, 0.0) == [0.0]
    with pytest.raises(IndexError):
        program(1, 0.0)


def test_a_body_is_written_once() -> None:
    branches = (staged(lambda x: p.sin(x), f64(3), name="one"), staged(lambda x: p.cos(x), f64(3), name="two"))

    def fun(i: Any, x: Any) -> Any:
        (x,) = cond(i, x, branches=branches)
        (x,) = cond(i, p.neg(x), branches=branches)
        return x

    source = backend.compile(staged(fun, i64(), f64(3))).source
    assert source.count("def _one(") == source.count("def _two(") == 1


def test_a_value_is_stacked_once() -> None:
    body = staged(lambda c, x: [p.add(c, x), c, p.sin(x), c, p.sin(x)], f64(), f64())
    jaxpr = staged(
        lambda c, xs: scan(c, xs, jaxpr=body, num_consts=0, num_carry=1, length=3, reverse=False), f64(), f64(3)
    )
    (eqn,) = simplify(jaxpr, backend.ops).eqns
    assert len(eqn.outputs) == 3
    run_both(jaxpr, np.float64(1), np.arange(3.0))


def test_loop_invariants_are_computed_once() -> None:
    def body(w: Any, c: Any, x: Any) -> list[Any]:
        v = p.exp(w)
        return [p.add(p.mul(p.tanh(p.mul(v, v)), c), p.mul(x, v)), p.sin(c)]

    inner = staged(body, f64(3), f64(3), f64(3), name="inner")

    def once(w: Any, c: Any, x: Any) -> Any:
        return scan(w, c, x, jaxpr=inner, num_consts=1, num_carry=1, length=2, reverse=False)[0]

    def nested(length: int) -> Jaxpr:
        outer = staged(once, f64(3), f64(3), f64(2, 3), name="outer")
        return staged(
            lambda w, c, xs: scan(w, c, xs, jaxpr=outer, num_consts=1, num_carry=1, length=length, reverse=False),
            f64(3),
            f64(3),
            f64(length, 2, 3),
        )

    rng = np.random.default_rng(0)
    jaxpr = nested(4)
    assert names(simplify(jaxpr, backend.ops)) == ["exp", "mul", "tanh", "scan"]
    run_both(jaxpr, rng.normal(size=3), rng.normal(size=3), rng.normal(size=(4, 2, 3)))
    assert names(simplify(nested(0), backend.ops)) == ["scan"]


BIG = LARGE_BYTES // 8


def carried(body: Callable[..., Any], carries: int, consts: int = 0) -> Jaxpr:
    """A loop of three steps over large carries, which start as the inputs; and what it starts from, again."""
    step = staged(body, *[f64(BIG)] * (consts + carries), i64(), name="step")

    def fun(*args: Any) -> list[Any]:
        own = [p.sin(a) for a in args]
        steps = p.iota(shape=(3,), dtype=I64, axis=0)
        settings: dict[str, Any] = {"num_consts": consts, "num_carry": carries, "length": 3, "reverse": False}
        first = scan(*args, steps, jaxpr=step, **settings)
        second = scan(*own, steps, jaxpr=step, **settings)
        return [*first, *second]

    return staged(fun, *[f64(BIG)] * (consts + carries), name="loops")


def block(x: Any) -> Any:
    return p.slice_(x, start=(1,), limit=(3,), stride=(1,))


LOOPS: list[tuple[Callable[..., Any], int, int]] = [
    (lambda c, i: [p.dynamic_update_slice(c, p.exp(block(c)), i)], 1, 0),
    (lambda c, i: [p.dynamic_update_slice(c, block(c), i)], 1, 0),
    (lambda c, i: [p.scatter(c, np.float64(7), i, axes=(0,), kind="add", unique=True)], 1, 0),
    (lambda c, i: [p.tanh(p.mul(c, 2.0))], 1, 0),
    (lambda a, b, i: [b, a], 2, 0),
    (lambda a, b, i: [p.neg(b), p.neg(a)], 2, 0),
    (lambda a, b, i: [p.neg(a), a], 2, 0),
    (lambda a, b, i: [p.neg(a), p.neg(a)], 2, 0),
    (lambda a, b, i: [p.add(a, b), p.rev(b, axes=(0,))], 2, 0),
    (lambda w, c, i: [w], 1, 1),
    (lambda w, c, i: [p.add(p.neg(c), w)], 1, 1),
    (lambda c, i: [p.neg(c), c], 1, 0),
    (lambda c, i: [p.neg(c), p.neg(c)], 1, 0),
    (lambda c, i: [p.neg(c), block(c)], 1, 0),
]


@pytest.mark.parametrize(("body", "carries", "consts"), LOOPS)
def test_carries_are_overwritten_only_where_nobody_sees(body: Callable[..., Any], carries: int, consts: int) -> None:
    rng = np.random.default_rng(0)
    args = [rng.normal(size=BIG) for _ in range(consts + carries)]
    run_both(carried(body, carries, consts), *args)
    shared = staged(
        lambda x: scan(
            *[x] * (carries + consts),
            np.arange(3),
            jaxpr=staged(body, *[f64(BIG)] * (consts + carries), i64()),
            num_consts=consts,
            num_carry=carries,
            length=3,
            reverse=False,
        ),
        f64(BIG),
    )
    run_both(shared, args[0])


def test_updates_in_a_loop_are_in_place() -> None:
    source = backend.compile(carried(LOOPS[0][0], 1)).source
    assert "dynamic_update_slice(a, d, b, out=a)" in source
    assert source.count(".copy()") == 1  # of the input; the program's own array is taken as it is


@pytest.mark.parametrize("limit", [0, 3])
def test_carries_of_while_are_overwritten_too(limit: int) -> None:
    test = staged(lambda n, i, c: p.lt(i, n), i64(), i64(), f64(BIG))
    body = staged(lambda i, c: [p.add(i, 1), p.dynamic_update_slice(c, p.exp(block(c)), i)], i64(), f64(BIG))

    def fun(n: Any, x: Any) -> list[Any]:
        settings: dict[str, Any] = {"cond_jaxpr": test, "body_jaxpr": body, "cond_nconsts": 1, "body_nconsts": 0}
        first = while_(n, np.int64(0), x, **settings)[1]
        y = p.sin(x)
        second = while_(n, np.int64(0), y, **settings)[1]
        return [first, second, p.mul(first, x)]

    jaxpr = staged(fun, i64(), f64(BIG))
    run_both(jaxpr, np.int64(limit), np.linspace(0, 1, BIG))
    assert "out=a" in backend.compile(jaxpr).source or "out=b" in backend.compile(jaxpr).source


def test_effects_in_a_loop_run_in_order() -> None:
    seen: list[float] = []
    body = staged(lambda x: [p.debug_callback(x, callback=lambda v: seen.append(float(v)))][:0] or [], f64())
    jaxpr = stage(
        lambda xs: scan(xs, jaxpr=body, num_consts=0, num_carry=0, length=3, reverse=False), [f64(3)], "effects"
    )
    backend.compile(jaxpr)(np.arange(3.0))
    assert seen == [0, 1, 2]


# Programs -------------------------------------------------------------------------------------------------------------


def test_outputs_are_new_arrays() -> None:
    constant = np.arange(3.0)

    def fun(x: Any, s: Any) -> list[Any]:
        y = p.sin(x)
        full = p.broadcast_in_dim(np.float64(2), shape=(2, 3), dims=())
        row = p.broadcast_in_dim(y, shape=(2, 3), dims=(1,))
        tail = p.slice_(x, start=(1,), limit=(3,), stride=(1,))
        return [x, x, y, p.reshape(y, shape=(3, 1)), tail, full, full, row, s, p.add(x, constant)]

    jaxpr = staged(fun, f64(3), f64())
    jaxpr = Jaxpr(
        jaxpr.invars, jaxpr.eqns, [*jaxpr.outs, jaxpr.constvars[0]], jaxpr.constvars, jaxpr.consts, jaxpr.name
    )
    run_both(jaxpr, np.arange(3.0), np.array(1.5))
    first, second = (backend.compile(jaxpr)(np.arange(3.0), np.array(1.5)) for _ in range(2))
    for a in first:
        if isinstance(a, np.ndarray):
            a[...] = -1
    np.testing.assert_array_equal(second[5], np.full((2, 3), 2.0))
    np.testing.assert_array_equal(constant, [0, 1, 2])


def test_weak_results_are_python_scalars() -> None:
    weak = Aval((), F64, True)
    jaxpr = staged(lambda x: [p.convert(p.mul(x, 2.0), dtype=F64, weak=True), p.mul(x, 2.0)], weak)
    first, second = backend.compile(jaxpr)(3.0)
    assert type(first) is float
    assert type(second) is np.float64
    passed = Jaxpr(jaxpr.invars, [], jaxpr.invars)
    assert type(backend.compile(passed)(3.0)[0]) is float
    literal = Jaxpr([], [], [Literal(np.int64(3), Aval((), I64, True)), Literal(np.float32(0.1), Aval((), F32))])
    three, tenth = backend.compile(literal)()
    assert type(three) is int
    assert type(tenth) is np.float32
    assert tenth == np.float32(0.1)


def test_weakness_of_a_result_survives_algebra() -> None:
    jaxpr = staged(lambda x: [p.convert(x, dtype=F64, weak=True), x], f64())
    a, b = backend.compile(jaxpr)(np.float64(2))
    assert (type(a), type(b)) == (float, np.float64)


def test_python_scalars_compute_as_numpy_scalars() -> None:
    jaxpr = staged(lambda x, n: [p.div(x, 0.0), p.add(n, 2**62), p.not_(p.eq(x, 0.0))], f64(), i64())
    inf, wrapped, flag = backend.compile(jaxpr)(1.0, 2**62)
    assert inf == math.inf
    assert wrapped == -(2**63)
    assert bool(flag) is True
    bools = staged(lambda b: p.not_(b), Aval((), BOOL))
    assert bool(backend.compile(bools)(True)[0]) is False


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 0.1, -0.0, 1e300, 5e-324])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(), (3,), (100, 100)])
def test_literals(shape: tuple[int, ...], dtype: str, value: float) -> None:
    with np.errstate(all="ignore"):
        number = np.dtype(dtype).type(complex(value, -value) if "complex" in dtype else value)
    jaxpr = staged(lambda x: [p.add(x, number), p.select(p.eq(x, x), number, x)], Aval(shape, np.dtype(dtype)))
    run_both(jaxpr, np.ones(shape, dtype))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64", "bool"])
def test_integer_literals(dtype: str) -> None:
    highest = np.bool_(True) if dtype == "bool" else np.dtype(dtype).type(np.iinfo(dtype).max)
    jaxpr = staged(lambda x: [p.max_(x, highest), p.xor(highest, x), p.lt(x, highest)], Aval((2,), np.dtype(dtype)))
    run_both(jaxpr, np.zeros(2, dtype))


def test_operands_that_are_all_literals() -> None:
    def fun() -> list[Any]:
        return [
            p.broadcast_in_dim(np.float32(2), shape=(2,), dims=()),
            p.iota(shape=(3,), dtype=np.dtype("int32"), axis=0),
            p.pow_(np.float64(2), np.float64(0.5)),
            p.reshape(np.float32(3), shape=(1, 1)),
        ]

    run_both(staged(fun))
    unfolded = staged(lambda: p.add(np.float32(1), np.float32(2)))
    run_both(unfolded)


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint16", "float16", "float32", "bool"])
def test_reductions_keep_the_dtype(dtype: str) -> None:
    aval = Aval((2, 3), np.dtype(dtype))
    axes = [(0,), (1,), (0, 1), ()]
    if dtype == "bool":
        jaxpr = staged(lambda x: [f(x, axes=a) for f in (p.reduce_and, p.reduce_or) for a in axes], aval)
    else:
        funs = (p.reduce_sum, p.reduce_prod, p.reduce_max, p.reduce_min)
        jaxpr = staged(
            lambda x: [
                *(f(x, axes=a) for f in funs for a in axes),
                *(f(x, axis=1, reverse=r) for f in (p.cumsum, p.cumprod, p.cummax) for r in (False, True)),
                p.argmax(x, axis=0),
                p.argsort(x, axis=1, stable=False),
            ],
            aval,
        )
    run_both(jaxpr, np.arange(1, 7).reshape(2, 3).astype(dtype))


def test_broadcasts_of_rows_and_columns() -> None:
    def fun(x: Any, row: Any, column: Any) -> list[Any]:
        a = p.broadcast_in_dim(row, shape=(4, 3), dims=(1,))
        b = p.broadcast_in_dim(column, shape=(4, 3), dims=(0,))
        c = p.broadcast_in_dim(p.reshape(column, shape=(4, 1)), shape=(4, 3), dims=(0, 1))
        return [p.add(x, a), p.mul(x, b), p.mul(a, b), p.sub(p.mul(b, x), c), p.select(p.lt(a, b), x, b)]

    rng = np.random.default_rng(0)
    jaxpr = staged(fun, f64(4, 3), f64(3), f64(4))
    run_both(jaxpr, rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=4))
    assert "broadcast_in_dim" not in backend.compile(jaxpr).source


def test_a_broadcast_used_as_an_array_is_one() -> None:
    def fun(row: Any) -> list[Any]:
        a = p.broadcast_in_dim(row, shape=(4, 3), dims=(1,))
        return [p.mul(a, a), p.reduce_sum(a, axes=(0,)), p.exp(a)]

    run_both(staged(fun, f64(3)), np.arange(3.0))


@pytest.mark.parametrize(
    ("start", "limit", "shape"),
    [
        ((0, 1, 2), (1, 3, 3), (2,)),
        ((1, 0, 0), (2, 1, 4), (4,)),
        ((1, 0, 0), (2, 3, 4), (3, 4)),
        ((1, 2, 3), (2, 3, 4), ()),
    ],
)
def test_a_slice_and_a_reshape_become_an_index(start: Any, limit: Any, shape: Any) -> None:
    jaxpr = staged(
        lambda x: p.reshape(p.slice_(x, start=start, limit=limit, stride=(1, 1, 1)), shape=shape), f64(2, 3, 4)
    )
    run_both(jaxpr, np.random.default_rng(0).normal(size=(2, 3, 4)))
    assert "reshape" not in backend.compile(jaxpr).source


@pytest.mark.parametrize("dtype", ["float16", "float32", "int32", "complex64"])
@pytest.mark.parametrize(
    ("x_shape", "y_shape", "numbers"),
    [
        ((3,), (3,), (((0,), (0,)), ((), ()))),
        ((2, 3), (4, 3), (((1,), (1,)), ((), ()))),
        ((3, 2), (3,), (((0,), (0,)), ((), ()))),
        ((5, 2, 3), (3, 4), (((2,), (0,)), ((), ()))),
        ((5, 2, 3), (4, 3), (((2,), (1,)), ((), ()))),
        ((5, 2, 3), (3,), (((2,), (0,)), ((), ()))),
        ((5, 3, 2), (5, 4, 3), (((1,), (2,)), ((0,), (0,)))),
        ((5, 3), (5, 3), (((1,), (1,)), ((0,), (0,)))),
        ((2,), (3,), (((), ()), ((), ()))),
    ],
)
def test_contractions(x_shape: Any, y_shape: Any, numbers: Any, dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-4, 5, s).astype(dtype) for s in (x_shape, y_shape))
    jaxpr = staged(lambda a, b: p.dot_general(a, b, dimension_numbers=numbers), aval_of(x), aval_of(y))
    run_both(jaxpr, x, y)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "complex64"])
def test_sums(dtype: str) -> None:
    """Small ones are products with ones; exact here, so that every order of summation gives the same."""
    for shape in [(7,), (3, 5), (1, 4), (4, 1), (2, 3, 4), (0, 3), (3, 0), (100, 100)]:
        axes = [(i,) for i in range(len(shape))] + [tuple(range(len(shape)))]
        jaxpr = staged(lambda x, axes=axes: [p.reduce_sum(x, axes=a) for a in axes], Aval(shape, np.dtype(dtype)))
        run_both(jaxpr, np.random.default_rng(0).integers(0, 3, shape).astype(dtype))


def test_gradient_of_a_slice_pads() -> None:
    def fun(x: Any) -> list[Any]:
        y = p.pad(x, np.float64(0), config=((1, 2, 0), (0, 1, 1)))
        return [
            y,
            p.pad(x, np.float64(-3), config=((-1, 0, 0), (2, 0, 0))),
            p.pad(x, np.float64(1), config=((0, 1, 0),) * 2),
        ]

    run_both(staged(fun, f64(2, 3)), np.arange(6.0).reshape(2, 3))


def test_large_temporaries_are_reused_and_deleted() -> None:
    n = LARGE_BYTES // 8

    def fun(x: Any) -> Any:
        y = p.sin(x)
        y = p.mul(y, 2.0)
        z = p.exp(y)
        return p.reduce_sum(p.dot_general(z, y, dimension_numbers=(((0,), (0,)), ((), ()))), axes=())

    jaxpr = staged(fun, f64(n))
    lines = body_lines(backend.compile(jaxpr))
    assert "c = multiply(b, f64_2, out=b)" in lines
    assert not any("out=a" in line or "out=c" in line for line in lines)  # the input; what is used again
    run_both(jaxpr, np.linspace(0, 1, n))
    small = backend.compile(staged(fun, f64(n - 1))).source
    assert "out=" not in small
    assert "del" not in small


def test_dead_large_buffers_are_deleted() -> None:
    n = LARGE_BYTES // 8

    def fun(x: Any) -> list[Any]:
        y = p.sin(x)
        s = p.reduce_sum(y, axes=(0,))
        return [p.mul(s, s)]

    assert "del b" in body_lines(backend.compile(staged(fun, f64(n))))


def test_views_keep_their_buffer_from_being_overwritten() -> None:
    n = LARGE_BYTES // 8

    def fun(x: Any) -> list[Any]:
        y = p.sin(x)
        view = p.reshape(y, shape=(n, 1))
        z = p.neg(y)
        tail = p.rev(z, axes=(0,))
        w = p.exp(z)
        return [w, p.add(view, 1.0), p.add(tail, w)]

    run_both(staged(fun, f64(n)), np.linspace(0, 1, n))


# Random programs ------------------------------------------------------------------------------------------------------

UNARY = [p.neg, p.sin, p.exp, p.tanh, p.abs_, p.sign, p.floor, p.sqrt, p.logistic, p.copy]
BINARY = [p.add, p.sub, p.mul, p.div, p.max_, p.min_, p.atan2]
NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, math.inf]


@st.composite
def programs(draw: st.DrawFn, rows: int, columns: int) -> Jaxpr:
    """A program on matrices, their rows and scalars, of random equations over what was computed before."""
    shape, row = (rows, columns), (columns,)
    choices = draw(st.lists(st.tuples(*[st.integers(0, 10_000)] * 4), min_size=1, max_size=14))

    def fun(x: Any, y: Any, r: Any, s: Any) -> list[Any]:
        pools: dict[tuple[int, ...], list[Any]] = {shape: [x, y], row: [r], (): [s]}

        def pick(of: tuple[int, ...], n: int) -> Any:
            return pools[of][n % len(pools[of])]

        def put(value: Any) -> None:
            pools[value.shape].append(value)

        for kind, a, b, c in choices:
            one = pick(shape, a)
            match kind % 12:
                case 0:
                    put(UNARY[b % len(UNARY)](one))
                case 1 | 2:
                    put(BINARY[c % len(BINARY)](one, pick(shape, b)))
                case 3:
                    put(BINARY[c % len(BINARY)](one, np.float64(NUMBERS[b % len(NUMBERS)])))
                case 4:
                    put(BINARY[c % len(BINARY)](pick((), b), one))
                case 5:
                    put(p.broadcast_in_dim(pick(row, a), shape=shape, dims=(1,)))
                case 6:
                    put(p.broadcast_in_dim(pick((), a), shape=shape if b % 2 else row, dims=()))
                case 7:
                    put(p.reduce_max(one, axes=(0,) if b % 2 else (0, 1)))
                case 8:
                    put(p.select(p.lt(one, pick((), b)), pick(shape, c), pick(shape, b)))
                case 9:
                    put(p.rev(one, axes=(b % 2,)))
                    put(p.reshape(p.slice_(one, start=(0, 0), limit=(1, columns), stride=(1, 1)), shape=row))
                case 10:
                    flipped = p.transpose(one, axes=(1, 0))
                    put(p.transpose(UNARY[b % len(UNARY)](flipped), axes=(1, 0)))
                case 11:
                    upper = p.slice_(one, start=(1, 0), limit=shape, stride=(1, 1))
                    put(p.pad(upper, np.float64(0), config=((b % 2, 1 - b % 2, 0), (0, 0, 0))))
        outs = [v for pool in pools.values() for v in pool]
        keep = [v for i, v in enumerate(outs) if (choices[0][0] >> (i % 12)) & 1 or i == len(outs) - 1]
        return [*keep, pools[shape][-1]]

    return staged(fun, f64(*shape), f64(*shape), f64(*row), f64())


def arguments(rows: int, columns: int) -> list[Any]:
    rng = np.random.default_rng(0)
    special = rng.choice([0.0, -0.0, 1.0, math.inf, math.nan, -2.5], (rows, columns))
    return [rng.normal(size=(rows, columns)), special, rng.normal(size=columns), np.array(-0.75)]


@settings(max_examples=150, deadline=None)
@given(programs(2, 3))
def test_random_programs_small(jaxpr: Jaxpr) -> None:
    args = arguments(2, 3)
    with np.errstate(all="ignore"):
        expected = eval_jaxpr(jaxpr, *args)
        for lean in (rewrite(jaxpr), eliminate_dead_code(jaxpr), simplify(jaxpr, backend.ops)):
            assert [a.strong() for a in lean.out_avals] == [a.strong() for a in jaxpr.out_avals]
            for a, b in zip(eval_jaxpr(lean, *args), expected, strict=True):
                np.testing.assert_array_equal(a, b)
    run_both(jaxpr, *args)


@settings(max_examples=60, deadline=None)
@given(programs(16, 128))
def test_random_programs_with_reused_buffers(jaxpr: Jaxpr) -> None:
    run_both(jaxpr, *arguments(16, 128))


# Source ---------------------------------------------------------------------------------------------------------------


def model(x: Any, w: Any, b: Any) -> list[Any]:
    h = p.dot_general(x, w, dimension_numbers=(((1,), (0,)), ((), ())))
    h = p.tanh(p.add(h, p.broadcast_in_dim(b, shape=(4, 2), dims=(1,))))
    return [p.reduce_sum(p.mul(h, 0.5), axes=(0, 1)), h]


def test_golden_source() -> None:
    line = model.__code__.co_firstlineno
    program = backend.compile(staged(model, f64(4, 3), f64(3, 2), f64(2), name="model"))
    assert program.source == (
        "f64_0p5 = array(0.5)\n"
        "ahead_1 = ones(8)\n"
        "\n"
        "\n"
        "def model(a, b, c):\n"
        f"    d = a.dot(b)  # test_compiler.py:{line + 1}\n"
        f"    f = d + c  # test_compiler.py:{line + 2}\n"
        f"    g = tanh(f)  # test_compiler.py:{line + 2}\n"
        f"    h = g * f64_0p5  # test_compiler.py:{line + 3}\n"
        f"    i = h.reshape(8)  # test_compiler.py:{line + 3}\n"
        f"    k = i.dot(ahead_1)  # test_compiler.py:{line + 3}\n"
        "    return [k, g]\n"
    )


def test_golden_source_of_a_loop() -> None:
    line = step.__code__.co_firstlineno
    program = backend.compile(looped([0, 3]))
    text = "\n".join(t.split("  #")[0] for t in program.source.splitlines())
    assert text == (
        "def _step(a, b, c):\n"
        "    d = a * b\n"
        "    e = d + c\n"
        "    f = tanh(e)\n"
        "    g = f * f\n"
        "    return f, g\n"
        "\n"
        "\n"
        "def fn(a, b, c):\n"
        "    d = b\n"
        "    e = empty((4, 3), float64)\n"
        "    for i1 in range(4):\n"
        "        d, e[i1] = _step(a, d, c[i1])\n"
        "    return [d, e]"
    )
    assert f"f = tanh(e)  # test_compiler.py:{line + 2}" in program.source


def test_programs_are_kept() -> None:
    jaxpr = staged(model, f64(4, 3), f64(3, 2), f64(2))
    program = backend.compile(jaxpr)
    assert backend.compile(jaxpr) is program
    assert names(program.jaxpr) == names(simplify(jaxpr, backend.ops, backend.rules))


def test_the_source_can_be_stepped_through() -> None:
    program = backend.compile(staged(model, f64(4, 3), f64(3, 2), f64(2), name="model"))
    filename = program.filename
    assert "".join(linecache.getlines(filename)) == program.source
    linecache.checkcache()
    assert linecache.getline(filename, 5).startswith("def model(")
    del program


def test_errors_name_the_users_line() -> None:
    def fun(x: Any, i: Any) -> Any:
        return p.gather(x, i, axes=(0,))  # the line to blame

    program = backend.compile(staged(fun, f64(3), i64(2)))
    with pytest.raises(IndexError) as caught:
        program(np.ones(3), np.array([0, 5]))
    (note,) = caught.value.__notes__
    assert "the line to blame" in note
    assert "test_compiler.py" in note
    assert "a.take(b, 0)" in "".join(traceback.format_exception(caught.value))


def test_names_never_collide() -> None:
    """More variables than letters: Python's keywords and the names of NumPy's functions are among their names."""

    def fun(x: Any) -> Any:
        for _ in range(1500):
            x = p.sin(x)
        return x

    run_both(staged(fun, f64(2), name="sin"), np.ones(2))


def test_floating_point_warnings_are_off_and_come_back() -> None:
    program = backend.compile(staged(lambda x: p.log(x), f64(1)))
    with np.errstate(all="raise"):
        assert program(np.zeros(1))[0] == -math.inf
        with pytest.raises(FloatingPointError):
            np.log(np.zeros(1))


def test_unknown_operations_raise() -> None:
    class Strange(Twice):
        name = "strange"
        expand = None

    with pytest.raises(BackendError, match="the back end 'numpy' has no 'strange'"):
        backend.compile(staged(lambda x: Strange()(x), f64(3)))


def test_operations_without_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the table of operations alone the programs are the same, only slower."""
    rng = np.random.default_rng(0)
    args = [rng.normal(size=s) for s in ((4, 3), (3, 2), (2,))]
    expected = backend.compile(staged(model, f64(4, 3), f64(3, 2), f64(2)))(*args)
    for table in ("templates", "pairs", "inplace"):
        monkeypatch.setattr(type(backend), table, {})
    program = backend.compile(staged(model, f64(4, 3), f64(3, 2), f64(2)))
    assert "dot_general(a, b, dimension_numbers=(((1,), (0,)), ((), ())))" in program.source
    for a, b in zip(program(*args), expected, strict=True):
        np.testing.assert_array_equal(a, b)


# Stand-alone modules --------------------------------------------------------------------------------------------------


def everything(x: Any, w: Any, n: Any) -> list[Any]:
    large = p.mul(x, np.linspace(0, 1, 100))
    small = p.add(w, np.array([1.5, math.inf, -0.0]))
    (picked,) = cond(n, w, branches=(staged(lambda v: p.sin(v), f64(3)), staged(lambda v: p.cos(v), f64(3))))
    return [
        p.erf(large),
        small,
        p.logistic(x),
        p.cumsum(x, axis=0, reverse=True),
        p.scatter(x, np.ones(2), np.array([1, 1]), axes=(0,), kind="add", unique=False),
        *scan(
            w,
            w,
            w,
            n,
            w,
            p.reshape(x, shape=(25, 4)),
            jaxpr=wide(),
            num_consts=2,
            num_carry=3,
            length=25,
            reverse=False,
        ),
        picked,
        p.dynamic_slice(x, n, sizes=(3,)),
        p.integer_pow(x, y=-5),
        p.mul(x, math.nan),
        p.convert(p.complex_(w, w), dtype=np.dtype("complex64")),
    ]


def wide() -> Jaxpr:
    def body(w: Any, u: Any, c: Any, n: Any, i: Any, x: Any) -> list[Any]:
        s = p.reduce_sum(x, axes=(0,))
        return [p.tanh(p.mul(p.add(c, w), s)), p.add(n, 0), p.mul(i, 0.5), p.sort(x, axis=0, stable=True)]

    return staged(body, f64(3), f64(3), f64(3), i64(), f64(3), f64(4), name="wide")


def test_stand_alone_module(tmp_path: Path) -> None:
    jaxpr = staged(everything, f64(100), f64(3), i64(), name="everything")
    rng = np.random.default_rng(0)
    args = [rng.normal(size=100), rng.normal(size=3), np.int64(1)]
    expected = backend.compile(jaxpr)(*args)
    text = module_source(jaxpr, "everything")
    assert "funcgrad" not in text.replace("generated by funcgrad", "")
    assert f"# test_compiler.py:{everything.__code__.co_firstlineno + 1}" in text
    (tmp_path / "exported.py").write_text(text)
    np.savez(tmp_path / "args.npz", *args)
    script = (
        "import sys, numpy as np\n"
        "sys.path.insert(0, '.')\n"
        "sys.modules['funcgrad'] = None\n"
        "from exported import everything\n"
        "data = np.load('args.npz')\n"
        "np.savez('results.npz', *everything(*(data[f'arr_{i}'] for i in range(3))))\n"
    )
    subprocess.run([sys.executable, "-I", "-W", "error", "-c", script], cwd=tmp_path, check=True)
    results = np.load(tmp_path / "results.npz")
    for i, y in enumerate(expected):
        got = results[f"arr_{i}"]
        assert got.dtype == np.asarray(y).dtype
        np.testing.assert_array_equal(got, y)


def test_modules_are_deterministic() -> None:
    texts = {module_source(staged(everything, f64(100), f64(3), i64()), "f") for _ in range(2)}
    assert len(texts) == 1


def test_a_module_cannot_call_back() -> None:
    jaxpr = staged(lambda x: [p.debug_callback(x, callback=print), x][1:], f64(2))
    with pytest.raises(BackendError, match="calls the Python function 'print'"):
        module_source(jaxpr, "f")


# Cost -----------------------------------------------------------------------------------------------------------------


def chain(n: int) -> Jaxpr:
    def fun(x: Any, w: Any) -> Any:
        total = x
        for _ in range(n):
            x = p.add(x, p.mul(p.mul(0.01, p.sin(x)), w))
            row = p.broadcast_in_dim(p.reduce_sum(x, axes=(0,)), shape=(5,), dims=())
            total = p.add(total, p.mul(row, p.neg(x)))
        return total

    return staged(fun, f64(5), f64(5))


def calls(work: Callable[[], Any]) -> int:
    """How many Python and C functions are called."""
    count = 0

    def profile(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_cost_is_linear() -> None:
    with config(check_ir=False):
        backend.compile(chain(10))  # what happens once
        costs = []
        for n in (50, 100, 400):
            jaxpr = chain(n)
            costs.append(calls(lambda jaxpr=jaxpr: backend.compile(jaxpr)))
    assert costs[1] < 2.1 * costs[0]
    assert costs[2] < 4.2 * costs[1]
    assert costs[2] / (400 * 7) < 200


def test_the_garbage_collector_works_again_after_compiling() -> None:
    assert gc.isenabled()
    backend.compile(chain(1))
    assert gc.isenabled()


def test_long_programs_need_no_deep_stack() -> None:
    with config(check_ir=False):
        jaxpr = chain(3000)
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(300)
        try:
            program = backend.compile(jaxpr)
        finally:
            sys.setrecursionlimit(limit)
    assert np.isfinite(program(np.ones(5), np.ones(5))[0]).all()
