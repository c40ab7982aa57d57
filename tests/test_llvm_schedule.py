"""Every order of a group's loops gives the same values, and the cheapest one keeps lanes busy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp

pytest.importorskip("llvmlite", reason="the LLVM back end needs llvmlite")
pytest.importorskip("scipy_openblas32", reason="the LLVM back end needs an OpenBLAS")

from funcgrad_llvm import group, machine
from funcgrad_llvm.schedule import Schedule, cheapest

#: The most choices that a group here has: rows, tiles along two axes, columns.
CHOICES = 4


def softmax(x: Any, axes: tuple[int, ...]) -> Any:
    """Three passes: what is exponentiated is kept for the last one, or computed again."""
    e = fnp.exp(x - fnp.max(x, axes, keepdims=True))
    return e / fnp.sum(e, axes, keepdims=True)


def distances(x: Any, axes: tuple[int, ...]) -> Any:
    """Several results of each kind, from operands that are broadcast along kept and along reduced axes."""
    y = x - x[:1]
    squares = fnp.sum(y**2, axes)
    return squares, fnp.sqrt(squares + 1), y / fnp.sqrt(fnp.expand_dims(squares, axes) + 1), fnp.sum(y * x, axes)


def counts(x: Any, axes: tuple[int, ...]) -> Any:
    """Booleans and integers."""
    return fnp.any(x > 1, axes), fnp.sum(x > 0, axes), fnp.max((4 * x).astype("int16"), axes), fnp.min(x, axes)


def strided(x: Any, axes: tuple[int, ...]) -> Any:
    """Operands and results that are not contiguous along any axis."""
    y = fnp.swapaxes(x, 0, -1)[::2, ..., ::-1]
    return fnp.sum(fnp.tanh(y), axes), fnp.swapaxes(y * fnp.mean(y, axes, keepdims=True), 0, -1)


def overwritten(x: Any, axes: tuple[int, ...]) -> Any:
    """A group whose operand dies, so that its result is written over it: also where the last vectors overlap."""
    y = fnp.cumsum(x, 0)
    centred = y - fnp.mean(y, axes, keepdims=True)
    return fnp.cumsum(centred**2 / (fnp.mean(centred**2, axes, keepdims=True) + 1), 0)


@pytest.fixture(params=["wide", "narrow"])
def vectors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """This processor's vectors, and the narrowest there are."""
    if request.param == "narrow":
        monkeypatch.setattr(machine, "vector_bytes", lambda: 16)


@pytest.mark.parametrize("choice", range(CHOICES))
@pytest.mark.parametrize("shape, axes", [
    ((5, 3), (1,)), ((37, 3), (1,)), ((3, 37), (0,)), ((4, 21, 3), (2,)), ((21, 6, 3), (1,)), ((6, 5, 70), (0, 1)),
    ((20, 17, 2), (0, 2)), ((19, 1), (1,)), ((40, 9), (1,)), ((9, 75), (0,)),
])  # fmt: skip
@pytest.mark.parametrize("f", [softmax, distances, counts, strided, overwritten], ids=lambda f: f.__name__)
def test_every_choice_gives_the_same(
    f: Any, shape: tuple[int, ...], axes: tuple[int, ...], choice: int, vectors: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []

    def pick(choices: list[Schedule], times: int) -> Schedule:
        found.append(len(choices))
        return choices[min(choice, len(choices) - 1)]

    monkeypatch.setattr(group, "cheapest", pick)
    for dtype in ("float32", "float64"):
        x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
        with fg.use_backend("llvm"):
            got = fg.jit(lambda x: f(x, axes))(x)
        for a, b in zip(fg.tree.leaves(got), fg.tree.leaves(f(x, axes)), strict=True):
            assert (np.shape(a), np.asarray(a).dtype) == (np.shape(b), np.asarray(b).dtype)
            np.testing.assert_allclose(a, b, rtol=2e-5 if dtype == "float32" else 1e-13, atol=1e-6)
    assert max(found) <= CHOICES


def chosen(f: Any, *shapes: tuple[int, ...], dtype: str = "float64") -> Schedule:
    """The order of the loops of a function that is one group."""
    picked: list[Schedule] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "vector_bytes", lambda: 64)
        patch.setattr(group, "cheapest", lambda choices, times: picked.append(cheapest(choices, times)) or picked[-1])
        with fg.use_backend("llvm"):
            fg.jit(f).lower(*(np.zeros(s, dtype) for s in shapes)).compile()
    (schedule,) = picked
    return schedule


def test_a_short_reduction_has_lanes_along_a_kept_axis() -> None:
    """Of points in space, whose three coordinates are summed: n-body's distances."""
    plan = chosen(lambda x: fnp.sum((x[:, None] - x[None]) ** 2, -1), (32, 3))
    assert (plan.form, plan.inner, plan.lanes, plan.unrolled) == ("tiles", 1, 8, True)
    assert chosen(lambda x: fnp.sum(x, 1), (32, 32, 3)).lanes == 8


def test_the_shorter_text_wins_where_there_is_little_to_do() -> None:
    """Tiles of 7 elements written out are 7 times the text of rows, for the 16 sums of a call; not so within a loop."""
    squares = lambda x: fnp.sum(x**2, 1)
    assert chosen(squares, (16, 7)).form == "rows"
    assert chosen(squares, (4096, 7)).form == "tiles"
    step = lambda x: fg.lax.fori_loop(0, 10_000, lambda i, c: c + squares(x * c[:, None]), fnp.zeros(16))
    picked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group, "cheapest", lambda choices, times: picked.append(cheapest(choices, times)) or picked[-1])
        with fg.use_backend("llvm"):
            fg.jit(step).lower(np.zeros((16, 7))).compile()
    assert "tiles" in [p.form for p in picked]


def test_a_long_reduction_of_rows_has_lanes_along_them() -> None:
    plan = chosen(lambda x: fnp.sum(x, 1), (64, 1000))
    assert (plan.form, plan.inner, plan.lanes) == ("rows", 1, 8)


def test_columns_that_no_cache_holds_are_summed_in_the_order_of_memory() -> None:
    assert chosen(lambda x: fnp.sum(x, 0), (4000, 1000)).form == "columns"
    assert chosen(lambda x: fnp.sum(x, 0), (128, 200)).form == "tiles"
    plan = chosen(lambda x: fnp.sum(x, 0), (100_000, 16))
    assert (plan.form, plan.tiles) == ("tiles", 2)


def test_elementwise_groups_have_lanes_where_memory_is_contiguous() -> None:
    assert chosen(lambda x, y: x + y, (50, 40), (40,)).inner == 1
    assert chosen(lambda x: 2 * fnp.swapaxes(x, 0, 1), (50, 40)).inner == 1
