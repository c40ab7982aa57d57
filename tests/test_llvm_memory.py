"""The memory of native programs: where buffers lie, which are written over, and how much there is of it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad_llvm.ir import Writer
from funcgrad_llvm.memory import Arena, Buffer


def compiled(f: Any, *args: Any) -> Any:
    with fg.use_backend("llvm"):
        return fg.jit(f).lower(*args).compile()


def check(f: Any, *args: Any, rtol: float = 1e-12) -> Any:
    """f gives what it gives in NumPy, twice, and leaves its arguments alone; what it needs besides them."""
    before = [np.array(a) for a in args]
    program = compiled(f, *args)
    want = fg.tree.leaves(f(*args))
    for _ in range(2):
        for x, y in zip(fg.tree.leaves(program(*args)), want, strict=True):
            np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)
    for a, b in zip(args, before, strict=True):
        np.testing.assert_array_equal(a, b)
    return program.memory_analysis()


# Places ---------------------------------------------------------------------------------------------------------------

steps = st.lists(st.tuples(st.integers(1, 300), st.integers(0, 5)), min_size=1, max_size=30)


@given(steps, st.lists(st.tuples(st.integers(1, 300), st.integers(0, 30)), max_size=3))
def test_what_lives_together_does_not_overlap(steps: Any, results: Any) -> None:
    w = Writer([])
    arena = Arena(w)
    regions = {f"%out{i}": arena.result(f"%out{i}", size) for i, (size, _) in enumerate(results)}
    sizes = {f"%out{i}": size for i, (size, _) in enumerate(results)}
    lives: list[tuple[Buffer, int, int]] = []
    alive: list[tuple[Buffer, int]] = []
    for now, (size, age) in enumerate(steps):
        for (_, start), region in zip(results, regions.values()):
            if start == now:
                arena.begin(region)
        w.do(f"step {now}")
        alive.append((arena.take(size), now))
        for buffer, birth in [a for a in alive if now - a[1] >= age]:
            alive.remove((buffer, birth))
            arena.give_back(buffer)
            lives.append((buffer, birth, now))
    lives += [(buffer, birth, len(steps)) for buffer, birth in alive]
    arena.place()
    found = dict(re.findall(r"(%\w+) = getelementptr i8, ptr (%\w+, i64 \d+)", "\n".join(w.lines)))
    spots = []
    for buffer, birth, death in lives:
        base, place = found[buffer.pointer].split(", i64 ")
        spots.append((base, int(place), int(place) + buffer.size, birth, death))
        assert int(place) + buffer.size <= sizes.get(base, arena.size)
    for (_, start), base in zip(results, regions):
        if start < len(steps):
            spots.append((base, 0, sizes[base], start, len(steps) + 1))
    for i, (base, first, last, birth, death) in enumerate(spots):
        for other, a, b, begin, end in spots[:i]:
            assert base != other or last <= a or b <= first or death < begin or end < birth
    most = max(sum(b.size for b, birth, death in lives if birth <= now < death) for now in range(len(steps) + 1))
    assert arena.size + sum(sizes.values()) >= most


# Groups ---------------------------------------------------------------------------------------------------------------


@st.composite
def programs(draw: Any) -> Any:
    """A function of two matrices of one shape, of whose many values only the last two leave it."""
    names = [
        "add",
        "sub",
        "mul",
        "exp",
        "where",
        "softmax",
        "mean",
        "columns",
        "shift",
        "stack",
        "turn",
        "loop",
        "count",
    ]
    plan = draw(
        st.lists(st.tuples(st.sampled_from(names), st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=9)
    )

    def run(xp: Any, loop: Any, x: Any, y: Any) -> Any:
        values = [x, y]
        for name, i, j in plan:
            a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
            match name:
                case "add" | "sub" | "mul":
                    r = {"add": a + b, "sub": a - b, "mul": a * b}[name]
                case "exp":
                    r = xp.exp(xp.minimum(a, 1)) - b
                case "where":
                    r = xp.where(a > b, a, b * 2)
                case "softmax":
                    e = xp.exp(a - xp.max(a, 1, keepdims=True))
                    r = e / xp.sum(e, 1, keepdims=True) + b
                case "mean" | "columns":
                    r = b - xp.mean(xp.tanh(a), 1 if name == "mean" else 0, keepdims=True)
                case "shift":
                    r = xp.concatenate([a[1:] * 2, b[:1]], 0)
                case "stack":
                    r = xp.concatenate([xp.sin(a)[:, :1], xp.cos(b)[:, 1:]], 1)
                case "turn":
                    r = a[::-1, ::-1] - a
                case "loop":
                    r = loop(a, b)
                case "count":
                    r = (a > b) * xp.float64(0.5) + xp.cumsum(a, 0)
            values.append(xp.tanh(r))
        return values[-1], values[-2]

    return run


def turns(xp: Any, step: Any, a: Any, b: Any) -> Any:
    for _ in range(3):
        a, b = step(a, b)
    return a - b


def loop_step(xp: Any) -> Any:
    return lambda a, b: (xp.tanh(b) + a, xp.concatenate([a[1:], b[:1]], 0))


@given(programs(), st.integers(1, 9), st.integers(1, 23), st.integers(0, 9))
def test_programs_whose_values_die(program: Any, rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    args = rng.standard_normal((rows, columns)), rng.standard_normal((rows, columns))

    def loop(a: Any, b: Any) -> Any:
        step = loop_step(fnp)
        a, b = lax.scan(lambda c, _: (step(*c), None), (a, b), None, length=3)[0]
        return a - b

    program_ = compiled(lambda x, y: program(fnp, loop, x, y), *args)
    want = program(np, lambda a, b: turns(np, loop_step(np), a, b), *args)
    for got, expected in zip(program_(*args), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 13, 16, 31, 64, 100_003])
def test_results_over_operands_of_which_the_last_vector_sees_some_twice(n: int) -> None:
    def crossing(x: Any) -> Any:
        a, b = lax.sort(x), lax.sort(-x)
        # Each result needs both operands, and there is a reduction beside them.
        return lax.sort(a - 2 * b), lax.sort(b + a * 3), fnp.max(a * b), fnp.sum(a)

    check(crossing, np.random.default_rng(n).standard_normal(n), rtol=1e-9)


def test_a_chain_of_groups_between_products_is_one_buffer() -> None:
    x, w = np.random.default_rng(0).standard_normal((2, 40, 40))

    def f(x: Any, w: Any) -> Any:
        for _ in range(3):
            x = fnp.tanh(x @ w) * 2
        return x[0] @ w

    # A product is not written over its operand; each tanh is, and two of the three lie nowhere else.
    assert check(f, x, w, rtol=1e-10).temp_size_in_bytes == 2 * x.nbytes


def test_results_are_memory_until_they_are_written() -> None:
    x = np.random.default_rng(0).standard_normal((30, 30))
    memory = check(lambda x: (fnp.exp(x @ x @ x), fnp.cos(x)), x, rtol=1e-10)
    assert memory.temp_size_in_bytes == 0


def test_what_a_later_pass_reads_is_not_written_over() -> None:
    # The exponentials are needed in the pass over which the sum is taken and in the one behind it.
    x = np.random.default_rng(0).standard_normal((7, 19))

    def f(x: Any) -> Any:
        y = lax.sort(x)
        e = fnp.exp(y - fnp.max(y, 1, keepdims=True))
        return lax.sort(e), e / fnp.sum(e, 1, keepdims=True) - y

    check(f, x)


def test_parts_of_a_concatenation_are_written_in_place() -> None:
    x = np.random.default_rng(0).standard_normal((50, 3))
    f = lambda x: fnp.concatenate([fnp.sin(x), x, fnp.cos(x) * 2, fnp.reshape(fnp.exp(x.T), (3, 50)).T], 1)
    assert check(f, x).temp_size_in_bytes == 0
    twice = lambda x: (lambda y: fnp.concatenate([y, y, y * 2], 0) * fnp.sum(y))(fnp.sin(x))
    check(twice, x)


# Loops ----------------------------------------------------------------------------------------------------------------

X = np.random.default_rng(0).standard_normal(1000)


def rotate(c: Any) -> Any:
    a, b, d = c
    return b, d, a


def neighbours(c: Any) -> Any:
    return fnp.concatenate([c[1:], c[:1]]) * 0.5 + c


#: A step, its carry, and how many buffers there are besides that of the result.
STEPS = [
    (lambda c: fnp.tanh(c) * 2, X, 0),
    (lambda c: fnp.sin(c) + fnp.cos(c) * fnp.exp(-c * c), X, 0),
    (neighbours, X, 2),
    (lambda c: fnp.cumsum(fnp.tanh(c)), X, 1),
    (lambda c: fnp.where(c[0] > 0, c, -c) + c[::-1], X, 1),
    (rotate, (X, X * 2, X * 3), 3),
    (lambda c: (c[0] + c[1], c[0]), (X, X), 2),
    (lambda c: (fnp.tanh(c[1]), fnp.tanh(c[0])), (X, X), 2),
    (lambda c: (c[0] * 0.5, c[1] + c[0]), (X, X * 2), 1),
]


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4])
@pytest.mark.parametrize(("step", "carry", "buffers"), STEPS)
def test_carries(step: Any, carry: Any, buffers: int, length: int) -> None:
    leaves, structure = fg.tree.flatten(carry)

    def loop(*leaves: Any) -> Any:
        carry = fg.tree.unflatten(structure, leaves)
        return lax.scan(lambda c, _: (step(c), None), carry, None, length=length)[0]

    def turning(n: Any, *leaves: Any) -> Any:
        carry = fg.tree.unflatten(structure, leaves)
        return lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, step(c[1])), (0, carry))[1]

    def dying(*leaves: Any) -> Any:
        return [lax.sort(y) for y in fg.tree.leaves(loop(*[lax.sort(x) for x in leaves]))]

    assert check(loop, *leaves, rtol=1e-10).temp_size_in_bytes <= buffers * X.nbytes + 128
    assert check(lambda *x: turning(length, *x), *leaves, rtol=1e-10).temp_size_in_bytes <= buffers * X.nbytes + 128
    check(dying, *leaves, rtol=1e-10)


def test_a_first_value_that_is_read_behind_the_loop_is_kept() -> None:
    def f(x: Any) -> Any:
        y = lax.sort(x)
        a, rows = lax.scan(lambda c, k: (fnp.tanh(c) * k, c[0]), y, fnp.arange(3.0))
        b = lax.fori_loop(0, 3, lambda i, c: c + y, y)
        return a, b, y * 2, rows

    check(f, X)


def test_a_carry_that_is_also_stacked_or_read_late() -> None:
    def f(x: Any) -> Any:
        def step(c: Any, k: Any) -> Any:
            new = fnp.tanh(c) * k
            return new, (c, new, fnp.sum(c[::2] * new[::2]))

        return lax.scan(step, fnp.sin(x), fnp.arange(1.0, 4.0))

    check(f, X)


def test_loops_within_loops() -> None:
    def f(x: Any) -> Any:
        def inner(c: Any, k: Any) -> Any:
            return fnp.sin(c) + k, None

        def outer(c: Any, k: Any) -> Any:
            a, b = c
            return (lax.scan(inner, b, fnp.arange(3.0))[0] * k, lax.fori_loop(0, 2, lambda i, s: neighbours(s), a)), a[
                0
            ]

        return lax.scan(outer, (x, fnp.cos(x)), fnp.arange(1.0, 4.0))

    check(f, X, rtol=1e-10)


def test_a_stencil_needs_two_grids() -> None:
    grid = np.random.default_rng(0).standard_normal((20, 20))

    def step(u: Any, _: Any) -> Any:
        inner = u[1:-1, 1:-1] + 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])
        rows = fnp.concatenate([u[1:-1, :1], inner, u[1:-1, -1:]], 1)
        return fnp.concatenate([u[:1], rows, u[-1:]], 0), None

    memory = check(lambda u: lax.scan(step, u, None, length=5)[0], grid)
    assert memory.temp_size_in_bytes == grid.nbytes
