"""Functions in place of forms that lose digits, against NumPy's own functions in the digits of a long double."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax

wide = np.longdouble

#: The form, the function that replaces it, and the same in the digits of a long double.
FORMS: list[tuple[Any, str, Any]] = [
    (lambda x: fnp.log(1 + x), "log1p", lambda x: np.log1p(x)),
    (lambda x: fnp.log(x + 1), "log1p", lambda x: np.log1p(x)),
    (lambda x: fnp.log(1 - x), "log1p", lambda x: np.log1p(-x)),
    (lambda x: fnp.exp(x) - 1, "expm1", lambda x: np.expm1(x)),
    (lambda x: fnp.exp(x) + -1, "expm1", lambda x: np.expm1(x)),
    (lambda x: -1 + fnp.exp(x), "expm1", lambda x: np.expm1(x)),
    (lambda x: 1 - fnp.exp(x), "expm1", lambda x: -np.expm1(x)),
    (lambda x: 1 - lax.logistic(x), "logistic", lambda x: 1 / (1 + np.exp(x))),
    (lambda x: lax.logistic(x) - 1, "logistic", lambda x: -1 / (1 + np.exp(x))),
]
SPECIAL = [0.0, 1.0, -1.0, 0.5, -0.5, -2.0, 1e-300, -1e-20, 800.0, -800.0, 1e308, np.inf, -np.inf, np.nan]


def ulps(found: Any, exact: Any) -> Any:
    """The error in units of the last place of the exact value."""
    exact = np.asarray(exact)
    return np.abs(found.astype(wide) - exact) / np.spacing(np.abs(exact).astype(found.dtype))


@pytest.mark.parametrize(("form", "name", "exact"), FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(numbers=st.lists(st.floats(-20, 20, width=32) | st.floats(-(2.0**-20), 2.0**-20, width=32), min_size=1))
def test_errors_do_not_grow(form: Any, name: str, exact: Any, dtype: Any, numbers: list[float]) -> None:
    x = np.array(numbers, dtype)
    with np.errstate(all="ignore"):
        right = exact(x.astype(wide))
        written = form(x)
    found = fg.jit(form)(x)
    assert found.dtype == dtype
    good = np.isfinite(right) & (np.abs(right) >= np.finfo(dtype).tiny)
    assert np.all(ulps(found[good], right[good]) <= np.maximum(ulps(written[good], right[good]), 4))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(right))


@pytest.mark.parametrize(("form", "name", "exact"), FORMS)
def test_the_function_is_there_and_keeps_the_digits(form: Any, name: str, exact: Any) -> None:
    x = np.array([40.0, 50.0]) if name == "logistic" else np.array([1e-20, -3e-25])
    text = fg.jit(form).lower(x).as_text("simplified")
    assert f"{name} " in text
    np.testing.assert_allclose(fg.jit(form)(x), exact(x), rtol=1e-15)
    assert not np.allclose(form(x), exact(x), rtol=1e-3, atol=0)


@pytest.mark.parametrize(("form", "name", "exact"), FORMS)
def test_special_values_are_those_of_the_written_form(form: Any, name: str, exact: Any) -> None:
    x = np.array(SPECIAL)
    with np.errstate(all="ignore"):
        written = form(x)
    np.testing.assert_allclose(fg.jit(form)(x), written, rtol=1e-15, atol=2.3e-16)


def kahan(x: Any) -> Any:
    u = 1 + x
    return fnp.where(u == 1, x, fnp.log(u) * x / (u - 1))


def test_compensated_algorithms_stay_as_they_are() -> None:
    x = np.array([1e-10, 3e-12, 1e-20])
    np.testing.assert_allclose(fg.jit(kahan)(x), np.log1p(x), rtol=1e-15)
    assert "log1p" not in fg.jit(kahan).lower(x).as_text("simplified")


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: fnp.log(fnp.sum(fnp.exp(x))),
        lambda x: fnp.log(lax.logistic(x)),
        lambda x: fnp.exp(x) - 1.5,
        lambda x: (fnp.exp(x) - 1) * fnp.exp(x),
        lambda x: (y := 1 + x, fnp.log(y)),
    ],
)
def test_nothing_else_changes_its_value(fun: Any) -> None:
    x = np.array([1000.0, -1000.0, 1e-3])
    with np.errstate(all="ignore"):
        written = fun(x)
    for a, b in zip(fg.tree.leaves(fg.jit(fun)(x)), fg.tree.leaves(written), strict=True):
        np.testing.assert_array_equal(a, b)


def test_complex_numbers_and_scalars() -> None:
    z = np.array([0.5 + 1j, -2.0 - 3j])
    np.testing.assert_allclose(fg.jit(lambda z: fnp.log(1 + z))(z), np.log(1 + z), rtol=1e-15)
    assert fg.jit(lambda x: fnp.log(1 + x))(1e-20) == 1e-20


def test_in_a_loop() -> None:
    run = lambda x: lax.fori_loop(0, 3, lambda _, c: fnp.log(1 + c), x)
    np.testing.assert_allclose(fg.jit(run)(np.array([1e-20])), [1e-20], rtol=1e-15)
