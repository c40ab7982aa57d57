"""Line searches: how far to go along a direction. They end a chain, and ask for the function itself.

A line search takes what ``update`` of an optimizer with ``value=, grad=, value_fn=`` is given: the value and the gradient
of the function at ``params``, and the function. Its input is a descent direction ``d``, its output is ``t d``.
With ``phi(t) = value_fn(params + t d)`` it looks for a ``t`` with

    phi(t) <= phi(0) + slope_rtol t phi'(0)        sufficient decrease
    |phi'(t)| <= curv_rtol |phi'(0)|               small slope (the zoom only): the strong Wolfe conditions

The value and the gradient at the point found are in the state, where ``value_and_grad_from_state`` spares the next
step its evaluation.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import lax, tree
from funcgrad.api.derivatives import value_and_grad

from .base import GradientTransformation, cast_like, inner_product, leafwise, required, scalar_for

__all__ = [
    "BacktrackingLinesearchState",
    "ZoomLinesearchState",
    "scale_by_backtracking_linesearch",
    "scale_by_zoom_linesearch",
    "value_and_grad_from_state",
]


class BacktrackingLinesearchState(NamedTuple):
    """The step size of the last update, the value where it led (infinite at first), how many step sizes were tried
    (int64), and by how much sufficient decrease was missed."""

    learning_rate: Any
    value: Any
    num_linesearch_steps: Any
    decrease_error: Any


class ZoomLinesearchState(NamedTuple):
    """As ``BacktrackingLinesearchState``, with the gradient where the step led and by how much the slope was missed."""

    learning_rate: Any
    value: Any
    grad: Any
    num_linesearch_steps: Any
    decrease_error: Any
    curvature_error: Any


class _Point(NamedTuple):
    """A point on the line: ``t``, ``phi(t)``, ``phi'(t)``."""

    t: Any
    value: Any
    slope: Any


class _Zoom(NamedTuple):
    """What the zoom knows: the newest point, its gradient and errors; the ends of the interval, of which ``low`` has the
    smaller value; the end that was given up last; and the best point of sufficient decrease."""

    count: Any
    point: _Point
    grad: Any
    decrease_error: Any
    curvature_error: Any
    bracketed: Any
    done: Any
    failed: Any
    low: _Point
    high: _Point
    third: _Point
    safe: _Point
    safe_grad: Any


def scale_by_backtracking_linesearch(
    max_backtracking_steps: int,
    slope_rtol: float = 1e-4,
    decrease_factor: float = 0.8,
    increase_factor: float = 1.5,
    max_learning_rate: float = 1.0,
) -> GradientTransformation:
    """Scale a direction by a step size that decreases the function enough, found by going back.

    It starts at ``increase_factor`` times the last step size, at most at ``max_learning_rate``, and multiplies by
    ``decrease_factor`` until there is sufficient decrease or ``max_backtracking_steps`` are done. Where no finite value
    is found, the step is zero.

    ``update`` needs ``params``, ``value``, ``grad`` and ``value_fn``.

    Source: L. Armijo, "Minimization of functions having Lipschitz continuous first partial derivatives", Pacific J.
    Math. 16 (1966); J. Nocedal and S. Wright, "Numerical Optimization", 2nd edition, algorithm 3.1.

    >>> import numpy as np
    >>> from funcgrad.optim import chain, sgd
    >>> f, x = lambda x: 10.0 * (x ** 2).sum(), np.array([1.0])
    >>> optimizer = chain(sgd(1.0), scale_by_backtracking_linesearch(20))
    >>> state = optimizer.init(x)
    >>> updates, state = optimizer.update(20 * x, state, x, value=f(x), grad=20 * x, value_fn=f)
    >>> bool(f(x + updates) < f(x)), int(state[-1].num_linesearch_steps)
    (True, 12)
    """

    def init(params: Any) -> BacktrackingLinesearchState:
        one = _scalar_of(params, 1.0)
        return BacktrackingLinesearchState(one, one * fnp.inf, fnp.zeros((), fnp.int64), one * fnp.inf)

    def update(
        grads: Any,
        state: BacktrackingLinesearchState,
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        value_fn: Callable[[Any], Any] | None = None,
        **extra: Any,
    ) -> tuple[Any, BacktrackingLinesearchState]:
        who = "a backtracking line search"
        params, value_fn = required(params, "params", who), required(value_fn, "value_fn", who)
        value = fnp.asarray(required(value, "value", who), dtype=state.value.dtype)
        slope = fnp.asarray(_slope(required(grad, "grad", who), grads), dtype=value.dtype)

        def try_step(loop: Any) -> Any:
            t, _, _, count = loop
            t = fnp.where(count > 0, decrease_factor * t, t)
            new_value = fnp.asarray(value_fn(_along(params, t, grads)), dtype=value.dtype)
            return t, new_value, _excess(new_value - value - slope_rtol * t * slope), count + 1

        def missed(loop: Any) -> Any:
            return (loop[2] > 0) & (loop[3] <= max_backtracking_steps)

        start = fnp.minimum(increase_factor * state.learning_rate, max_learning_rate)
        infinite = fnp.full_like(value, fnp.inf)
        t, new_value, error, count = lax.while_loop(
            missed, try_step, (start, infinite, infinite, fnp.zeros((), fnp.int64))
        )
        stuck = fnp.isinf(error)
        t, new_value = fnp.where(stuck, fnp.zeros_like(t), t), fnp.where(stuck, value, new_value)
        updates = leafwise(lambda d: scalar_for(d, t) * d, grads)
        return updates, BacktrackingLinesearchState(t, new_value, count, error)

    return GradientTransformation(init, update)


def scale_by_zoom_linesearch(
    max_linesearch_steps: int,
    max_learning_rate: float | None = None,
    tol: float = 0.0,
    increase_factor: float = 2.0,
    slope_rtol: float = 1e-4,
    curv_rtol: float = 0.9,
    approx_dec_rtol: float | None = 1e-6,
    stepsize_precision: float = 1e-5,
    initial_guess_strategy: str = "keep",
) -> GradientTransformation:
    """Scale a direction by a step size that satisfies the strong Wolfe conditions.

    The step grows by ``increase_factor`` until an interval is found that has a good one, which is then narrowed by
    cubic or quadratic interpolation, or halved.

    Args:
        max_linesearch_steps: how many points are tried at most, each an evaluation of value and gradient. If none is
            good, the best one of sufficient decrease is taken; else the last, or none if the function is not finite.
        max_learning_rate: the largest step size; None for no bound.
        tol: by how much the conditions may be missed.
        slope_rtol, curv_rtol: of the conditions; 0 < slope_rtol < curv_rtol < 1.
        approx_dec_rtol: near a minimum, where values differ by rounding only, a slope ``phi'(t) <=
            (2 slope_rtol - 1) phi'(0)`` is as good as sufficient decrease, if the value grows by no more than this, relatively; None
            for the strict condition.
        stepsize_precision: an interval shorter than this is not divided further, if a safe point is known.
        initial_guess_strategy: ``"one"`` starts at 1, right for Newton-like directions; ``"keep"`` at the last step size.

    ``update`` needs ``params``, ``value``, ``grad`` and ``value_fn``.

    Source: J. Nocedal and S. Wright, "Numerical Optimization", 2nd edition, algorithms 3.5 and 3.6; the approximate
    condition: W. Hager and H. Zhang, "Algorithm 851: CG_DESCENT", ACM TOMS 32 (2006), section 2.

    >>> import numpy as np
    >>> from funcgrad.optim import chain, sgd
    >>> f, x = lambda x: 10.0 * (x ** 2).sum(), np.array([1.0])
    >>> optimizer = chain(sgd(1.0), scale_by_zoom_linesearch(20))
    >>> state = optimizer.init(x)
    >>> updates, state = optimizer.update(20 * x, state, x, value=f(x), grad=20 * x, value_fn=f)
    >>> (x + updates).round(4)  # exact for a parabola
    array([0.])
    """
    if initial_guess_strategy not in ("one", "keep"):
        raise ValueError(f"the first guess of a line search is 'one' or 'keep', not {initial_guess_strategy!r}")

    def init(params: Any) -> ZoomLinesearchState:
        one = _scalar_of(params, 1.0)
        zeros = tree.map(fnp.zeros_like, params)
        return ZoomLinesearchState(one, one * fnp.inf, zeros, fnp.zeros((), fnp.int64), one * fnp.inf, one * fnp.inf)

    def update(
        grads: Any,
        state: ZoomLinesearchState,
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        value_fn: Callable[[Any], Any] | None = None,
        **extra: Any,
    ) -> tuple[Any, ZoomLinesearchState]:
        who = "a zoom line search"
        params, value_fn = required(params, "params", who), required(value_fn, "value_fn", who)
        dtype = state.value.dtype
        grad = leafwise(lambda g, p: cast_like(g, p), required(grad, "grad", who), params)
        zero, infinite = fnp.zeros((), dtype), fnp.full((), fnp.inf, dtype)
        origin = _Point(
            zero,
            fnp.asarray(required(value, "value", who), dtype=dtype),
            fnp.asarray(_slope(grad, grads), dtype=dtype),
        )
        guess = state.learning_rate if initial_guess_strategy == "keep" else zero + 1

        def evaluate(t: Any) -> tuple[_Point, Any, Any, Any]:
            """The point at ``t``, its gradient, and by how much it misses the two conditions."""
            new_value, new_grad = value_and_grad(value_fn)(_along(params, t, grads))
            new_grad = _conjugate(new_grad)
            point = _Point(t, fnp.asarray(new_value, dtype=dtype), fnp.asarray(_slope(new_grad, grads), dtype=dtype))
            rise = point.value - origin.value
            decrease = rise - slope_rtol * t * origin.slope
            if approx_dec_rtol is not None:
                flat = fnp.maximum(
                    point.slope - (2 * slope_rtol - 1) * origin.slope, rise - approx_dec_rtol * fnp.abs(origin.value)
                )
                decrease = fnp.minimum(decrease, flat)
            curvature = fnp.abs(point.slope) - curv_rtol * fnp.abs(origin.slope)
            return point, new_grad, _excess(decrease), _excess(curvature)

        def next_state(
            s: _Zoom, point: Any, new_grad: Any, decrease: Any, curvature: Any, safer: Any, **changed: Any
        ) -> _Zoom:
            return s._replace(
                count=s.count + 1,
                point=point,
                grad=new_grad,
                decrease_error=decrease,
                curvature_error=curvature,
                safe=_where(safer, point, s.safe),
                safe_grad=_where(safer, new_grad, s.safe_grad),
                **changed,
            )

        def widen(s: _Zoom) -> _Zoom:
            """Algorithm 3.5: a longer step, until one goes too far."""
            t = fnp.where(s.count == 0, guess, increase_factor * s.point.t)
            longest = fnp.asarray(False)
            if max_learning_rate is not None:
                longest, t = t >= max_learning_rate, fnp.minimum(t, max_learning_rate)
            point, new_grad, decrease, curvature = evaluate(t)
            too_far = (decrease > 0) | ((point.value >= s.point.value) & (s.count > 0))
            uphill = (point.slope >= 0) & ~too_far
            good = (decrease <= tol) & (curvature <= tol)
            low, high = _where(uphill, point, s.point), _where(uphill, s.point, point)
            return next_state(
                s, point, new_grad, decrease, curvature, decrease <= tol,
                bracketed=too_far | uphill | good,
                done=good | (longest & ~too_far & ~uphill),
                low=low, high=high, third=low,
            )  # fmt: skip

        def narrow(s: _Zoom) -> _Zoom:
            """Algorithm 3.6: a point within the interval takes the place of one of its ends."""
            point, new_grad, decrease, curvature = evaluate(_between(s.low, s.high, s.third))
            replaces_high = (decrease > 0) | (point.value >= s.low.value)
            turns = (point.slope * (s.high.t - s.low.t) >= 0) & ~replaces_high
            too_short = fnp.abs(s.high.t - s.low.t) <= stepsize_precision
            safer = (decrease <= tol) & (point.value < s.safe.value)
            return next_state(
                s, point, new_grad, decrease, curvature, safer,
                done=(decrease <= tol) & (curvature <= tol),
                failed=too_short & ((s.safe.t > 0) | safer),
                low=_where(replaces_high, s.low, point),
                high=_where(replaces_high, point, _where(turns, s.low, s.high)),
                third=_where(replaces_high | turns, s.high, s.low),
            )  # fmt: skip

        start = _Zoom(
            count=fnp.zeros((), fnp.int64), point=origin, grad=grad, decrease_error=infinite, curvature_error=infinite,
            bracketed=fnp.asarray(False), done=fnp.asarray(False), failed=fnp.asarray(False),
            low=origin, high=origin, third=origin, safe=origin, safe_grad=grad,
        )  # fmt: skip
        end = lax.while_loop(
            lambda s: ~(s.done | s.failed) & (s.count < max_linesearch_steps),
            lambda s: lax.cond(s.bracketed, narrow, widen, s),
            start,
        )
        # Where there is no good point, a safe one will do; and none at all, if the last has no finite value.
        fall_back = ~end.done & ((end.safe.t > 0) | fnp.isinf(end.decrease_error))
        point, new_grad = _where(fall_back, end.safe, end.point), _where(fall_back, end.safe_grad, end.grad)
        updates = leafwise(lambda d: scalar_for(d, point.t) * d, grads)
        return updates, ZoomLinesearchState(
            point.t, point.value, new_grad, end.count, end.decrease_error, end.curvature_error
        )

    return GradientTransformation(init, update)


def value_and_grad_from_state(value_fn: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """``value_and_grad(value_fn)`` that takes an optimizer's ``state=``, and what its line search evaluated last.

    The first call, before any search, evaluates the function, and so does a call after a step without a finite value.
    It is right only if ``params`` are where the last step led and the function is still the same.

    Raises:
        ValueError: the state has no line search that keeps a gradient.

    >>> import numpy as np
    >>> from funcgrad.optim import apply_updates, lbfgs
    >>> f, x = lambda x: (x ** 2).sum(), np.array([1.0, 2.0])
    >>> optimizer = lbfgs()
    >>> state, value_and_grad = optimizer.init(x), value_and_grad_from_state(f)
    >>> for _ in range(3):
    ...     value, grad = value_and_grad(x, state=state)
    ...     updates, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=f)
    ...     x = apply_updates(x, updates)
    >>> x.round(6)
    array([0., 0.])
    """

    def from_state(params: Any, *args: Any, state: Any, **kwargs: Any) -> tuple[Any, Any]:
        found = _search_state(state)
        if found is None:
            raise ValueError("the state has no zoom line search, which would have kept a value and a gradient")

        def evaluate() -> tuple[Any, Any]:
            value, grad = value_and_grad(value_fn)(params, *args, **kwargs)
            return fnp.asarray(value, dtype=found.value.dtype), grad

        return lax.cond(fnp.isfinite(found.value), lambda: (found.value, _conjugate(found.grad)), evaluate)

    return from_state


# The parts ------------------------------------------------------------------------------------------------------------


def _search_state(state: Any) -> ZoomLinesearchState | None:
    if isinstance(state, ZoomLinesearchState):
        return state
    parts = state if type(state) is tuple else [getattr(state, f) for f in getattr(state, "inner_states", ())]
    return next((found for found in map(_search_state, parts) if found is not None), None)


def _scalar_of(params: Any, value: float) -> Any:
    """A real scalar of the precision of the parameters, float64 for none of them."""
    dtypes = [fnp.real(fnp.asarray(p)).dtype for p in tree.leaves(params)]
    dtype = fnp.result_type(*dtypes) if dtypes else fnp.float64
    return fnp.asarray(value, dtype=dtype)


def _along(params: Any, t: Any, direction: Any) -> Any:
    return leafwise(lambda p, d: cast_like(p + scalar_for(d, t) * d, p), params, direction)


def _conjugate(grads: Any) -> Any:
    """From what ``grad`` gives for complex parameters to the direction of steepest ascent, and back."""
    return leafwise(lambda g: fnp.conj(g) if fnp.iscomplexobj(g) else g, grads)


def _slope(grad: Any, direction: Any) -> Any:
    """The derivative along a direction, of the direction of steepest ascent."""
    products = tree.leaves(leafwise(inner_product, grad, direction))
    return sum(products[1:], start=products[0]) if products else fnp.zeros(())


def _excess(error: Any) -> Any:
    """The part above zero; NaN, which no comparison finds, is infinite."""
    return fnp.where(fnp.isnan(error), fnp.full_like(error, fnp.inf), fnp.maximum(error, fnp.zeros_like(error)))


def _where(condition: Any, yes: Any, no: Any) -> Any:
    return tree.map(lambda a, b: fnp.where(condition, a, b), yes, no)


def _between(low: _Point, high: _Point, third: _Point) -> Any:
    """Where an interpolation through what is known of the interval has its minimum, if that is well inside; else half way.

    The cubic goes through three values and the slope at ``low``; the parabola through two and that slope.
    """
    length = high.t - low.t
    rest = third.t - low.t
    # The cubic's excess over the tangent at ``low``, a s^3 + b s^2 with s = t - low.t, at the two other points.
    at_high = high.value - low.value - low.slope * length
    at_third = third.value - low.value - low.slope * rest
    determinant = _nonzero((length * rest) ** 2 * (length - rest))
    a = (rest**2 * at_high - length**2 * at_third) / determinant
    b = (length**3 * at_third - rest**3 * at_high) / determinant
    radical = b * b - 3 * a * low.slope
    cubic = low.t + (fnp.sqrt(fnp.maximum(radical, fnp.zeros_like(radical))) - b) / _nonzero(3 * a)
    parabola = low.t - low.slope * length**2 / _nonzero(2 * at_high)

    def inside(t: Any, margin: float) -> Any:
        left, right, gap = fnp.minimum(low.t, high.t), fnp.maximum(low.t, high.t), margin * fnp.abs(length)
        return (t > left + gap) & (t < right - gap)

    has_cubic = (radical >= 0) & (a != 0) & (rest != 0) & (rest != length) & inside(cubic, 0.2)
    half = low.t + length / 2
    return fnp.where(has_cubic, cubic, fnp.where(inside(parabola, 0.1) & (at_high != 0), parabola, half))


def _nonzero(x: Any) -> Any:
    return fnp.where(x == 0, fnp.ones_like(x), x)
