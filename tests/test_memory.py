"""Memory of programs: what is used again, and what is known of it before a program runs."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad_numpy import pool

N = 1 << 17


@pytest.fixture(autouse=True)
def empty_pool() -> Iterator[None]:
    pool.clear()
    yield
    pool.clear()


def step(x: Any) -> Any:
    return (fnp.tanh(x * 2.0) * x + 1.0) * (x - 1.0)


# Memory that is used again --------------------------------------------------------------------------------------------


def address(x: Any) -> int:
    return x.__array_interface__["data"][0]  # type: ignore[no-any-return]


def test_a_result_that_nobody_holds_is_used_again() -> None:
    f = fg.jit(step)
    x = np.ones(N)
    first = address(f(x))
    assert address(f(x)) == first


def test_a_result_that_somebody_holds_is_not() -> None:
    f = fg.jit(step)
    x = np.ones(N)
    held = [f(x * k) for k in range(20)]
    for k, y in enumerate(held):
        np.testing.assert_allclose(y, step(x * k))
    assert len({address(y) for y in held}) == 20


@pytest.mark.parametrize(
    "hold", [lambda y: y[5:7], lambda y: y.T, memoryview, lambda y: np.frombuffer(y), lambda y: [y]]
)
def test_a_view_holds_its_array(hold: Any) -> None:
    f = fg.jit(step)
    x = np.ones(N)
    view = hold(f(x))
    expected = np.array(view)
    for k in range(3):
        f(x * k)
    np.testing.assert_array_equal(view, expected)


def test_a_result_goes_into_the_next_call() -> None:
    f = fg.jit(step)
    x = y = np.linspace(0, 0.1, N)
    for _ in range(5):
        x, y = f(x), step(y)
        np.testing.assert_allclose(x, y)


def test_an_array_that_was_changed_is_not_used_again() -> None:
    f = fg.jit(step)
    x = np.ones(N)
    y = f(x)
    y.setflags(write=False)
    del y
    again = f(x)
    assert again.flags.writeable
    z = f(x)
    z.shape = (2, N // 2)
    del z
    assert f(x).shape == (N,)


def test_weak_references_are_not_deceived() -> None:
    f = fg.jit(step)
    seen = weakref.ref(f(np.ones(N)))
    f(np.zeros(N))
    assert seen() is None or (seen() == step(np.ones(N))).all()


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_BYTES", 3 * 8 * N)
    for n in range(N, N + 10):
        fg.jit(step)(np.ones(n))
    assert 0 < pool.kept_bytes() <= 3 * 8 * N
    held = [pool.fresh((1 << 15,), float) for _ in range(100)]
    assert pool.kept_bytes() <= 3 * 8 * N
    del held
    pool.clear()
    assert pool.kept_bytes() == 0


def test_threads_never_share_an_array() -> None:
    f = fg.jit(step)

    def work(k: int) -> bool:
        x = np.full(N, k / 100)
        return all(np.allclose(f(x), step(x)) for _ in range(20))

    with ThreadPoolExecutor(4) as executor:
        assert all(executor.map(work, range(8)))
