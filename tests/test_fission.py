"""Products that are taken out of scans: the program means the same, and the loop is left with what must be a loop."""

from __future__ import annotations

from typing import Any

import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.compiler.fission import split_products
from funcgrad.compiler.simplify import simplify
from funcgrad.core.trace import eval_jaxpr
from funcgrad.extend import get_backend


def split(f: Any, *args: Any) -> Any:
    """The program of f before and after, evaluated on the arguments, and its scans after."""
    before = simplify(fg.make_jaxpr(f)(*args), get_backend("numpy").ops)
    after = split_products(before)
    leaves = fg.tree.leaves(args)
    for x, y in zip(eval_jaxpr(after, *leaves), eval_jaxpr(before, *leaves), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)
    return after, [e for e in after.eqns if e.primitive.name == "scan"]


def names(scan: Any) -> list[str]:
    return [e.primitive.name for e in scan.params["jaxpr"].eqns]


def arguments() -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((3, 4)) / 2, rng.standard_normal((4, 4)) / 2, rng.standard_normal((6, 2, 3))


def recurrent(wx: Any, wh: Any, xs: Any) -> Any:
    h, hs = lax.scan(lambda h, x: (fnp.tanh(x @ wx + h @ wh), h), fnp.zeros((2, 4)), xs)
    return fnp.sum(h**2) + fnp.sum(hs**2)


def test_the_share_of_the_inputs_is_one_product_before_the_loop() -> None:
    _, (scan,) = split(recurrent, *arguments())
    assert names(scan).count("dot_general") == 1


def test_derivatives_in_weights_are_one_product_each_after_the_loop() -> None:
    for reverse in (False, True):
        f = lambda wx, wh, xs, r=reverse: recurrent(wx, wh, xs[::-1] if r else xs)
        program, scans = split(fg.grad(f, (0, 1)), *arguments())
        assert [names(s).count("dot_general") for s in scans] == [1, 1]
        assert [s.params["num_carry"] for s in scans] == [1, 1]
        assert [e.primitive.name for e in program.eqns].count("dot_general") == 3


def test_sums_of_what_is_stacked_anyway() -> None:
    def f(w: Any, b: Any, xs: Any) -> Any:
        return fnp.sum(lax.scan(lambda h, x: (fnp.tanh(h @ w + x + b), None), fnp.ones((2, 4)), xs)[0])

    rng = np.random.default_rng(0)
    _, (_, backward) = split(
        fg.grad(f, (0, 1)), rng.standard_normal((4, 4)), rng.standard_normal(4), rng.standard_normal((5, 2, 4))
    )
    assert "reduce_sum" not in names(backward) and backward.params["num_carry"] == 1


def test_a_carry_that_is_read_stays() -> None:
    def f(c: Any, xs: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            return c + fnp.outer(x, x), fnp.sum(c)

        return lax.scan(step, c, xs)

    xs = np.random.default_rng(0).standard_normal((5, 3))
    _, (scan,) = split(f, np.zeros((3, 3)), xs)
    assert scan.params["num_carry"] == 1
    # Read by nobody, it goes; a small product of large factors does not, they would have to be kept for all steps.
    g = lambda c, xs: lax.scan(lambda c, x: (c + x[:, None] @ x[None], None), c, xs)[0]
    assert split(g, np.zeros((3, 3)), xs)[1][0].params["num_carry"] == 0
    h = lambda c, xs: lax.scan(lambda c, x: (c + fnp.dot(fnp.tanh(x), fnp.sin(x)), None), c, xs)[0]
    assert split(h, 0.0 * xs[0, 0], xs)[1][0].params["num_carry"] == 1


def test_scans_in_scans_and_branches() -> None:
    wx, wh, xs = arguments()

    def f(wx: Any, wh: Any, xss: Any) -> Any:
        def outer(c: Any, xs: Any) -> Any:
            return lax.cond(c > 0, lambda: c + recurrent(wx, wh, xs), lambda: c - recurrent(wx, wh, xs)), c

        return lax.scan(outer, fnp.sum(wx), xss)[0]

    split(fg.value_and_grad(f, (0, 1)), wx, wh, np.stack([xs, xs * 2]))
