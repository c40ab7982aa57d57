"""The order of equations: never a higher peak, never another value."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.compiler.schedule import peak, schedule
from funcgrad.core.ir import check
from funcgrad.core.trace import eval_jaxpr

N = 4096
SIZE = 8 * N


def names(jaxpr: Any) -> list[str]:
    return [e.primitive.name for e in jaxpr.eqns]


def test_a_reduction_moves_up_to_what_it_reduces() -> None:
    def f(x: Any) -> Any:
        a, b = fnp.sin(x), fnp.cos(x)
        c = b * 2.0 + b
        return fnp.sum(c), fnp.max(a)

    jaxpr = fg.make_jaxpr(f)(np.ones(N))
    assert peak(jaxpr)[0] == 4 * SIZE
    found = schedule(jaxpr)
    order = names(found)
    assert order.index("reduce_max") == order.index("sin") + 1
    assert peak(found)[0] == 3 * SIZE


def test_a_large_array_moves_down_to_its_reader() -> None:
    def f(s: Any, x: Any) -> Any:
        wide = fnp.exp(fnp.arange(float(N)) * s)
        return fnp.sum(fnp.sort(fnp.sin(x)) * fnp.cos(x)) + fnp.max(wide * 2.0)

    jaxpr = fg.make_jaxpr(f)(np.ones(()), np.ones(N))
    found = schedule(jaxpr)
    assert peak(found)[0] < peak(jaxpr)[0]
    assert names(found).index("reduce_sum") < names(found).index("exp")


def test_small_programs_stay_as_they_are() -> None:
    jaxpr = fg.make_jaxpr(lambda x: (fnp.sin(x), fnp.sum(fnp.cos(x))))(np.ones(10))
    assert schedule(jaxpr) is jaxpr


def test_bodies_of_loops_are_ordered_and_effects_keep_their_order() -> None:
    seen: list[float] = []

    def step(c: Any, _: Any) -> Any:
        a, b = fnp.sin(c), fnp.cos(c)
        fg.debug.callback(lambda v: seen.append(float(v)), b[0])
        fg.debug.callback(lambda v: seen.append(float(v)), a[0])
        d = b * 2.0 + b
        return c * fnp.sum(d) + fnp.max(a), None

    jaxpr = fg.make_jaxpr(lambda x: fg.lax.scan(step, x, None, length=2)[0])(np.ones(N))
    found = schedule(jaxpr)
    before, after = (next(e for e in j.eqns if e.primitive.name == "scan").params["jaxpr"] for j in (jaxpr, found))
    assert peak(after)[0] < peak(before)[0]
    eval_jaxpr(found, np.ones(N))
    again = list(seen)
    seen.clear()
    eval_jaxpr(jaxpr, np.ones(N))
    assert again == seen
    assert schedule(found) is schedule(found)


@st.composite
def programs(draw: Any) -> Any:
    steps = draw(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=25))

    def run(x: Any, y: Any) -> Any:
        values = [x, y]
        for kind, i, j in steps:
            a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
            match kind:
                case 0 | 1:
                    r = fnp.sin(a) + b
                case 2:
                    r = fnp.sum(a) * fnp.max(b)
                case 3:
                    r = fnp.broadcast_to(fnp.ravel(a)[:1], (N,)) * fnp.cos(b)
                case 4:
                    r = fnp.ravel(a)[::-1]
                case 5:
                    r = fg.lax.cond(fnp.sum(b) > 0, lambda v: v * 2.0, lambda v: fnp.tanh(v) + 1.0, a)
                case _:
                    r = fnp.concatenate([fnp.ravel(a), fnp.ravel(b)])[:N] if fnp.ndim(a) and fnp.ndim(b) else a - b
            values.append(r)
        return values[-2:]

    return run


@given(programs())
def test_programs_keep_type_and_value(program: Any) -> None:
    args = np.linspace(-1, 1, N), np.linspace(2, 3, N)
    jaxpr = fg.make_jaxpr(program)(*args)
    found = schedule(jaxpr)
    check(found)
    assert found.out_avals == jaxpr.out_avals
    assert peak(found)[0] <= peak(jaxpr)[0]
    for a, b in zip(eval_jaxpr(found, *args), eval_jaxpr(jaxpr, *args), strict=True):
        np.testing.assert_array_equal(a, b)
