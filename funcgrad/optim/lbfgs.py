"""L-BFGS: an approximate Newton direction from the last few steps and changes of the gradient."""

from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad.api.ravel import ravel_pytree

from .base import (
    GradientTransformation,
    chain,
    check_like,
    identity,
    inner_product,
    no_updates_yet,
    required,
    scalar_for,
)
from .clipping import global_norm
from .learning_rate import ScalarOrSchedule, scale, scale_by_learning_rate
from .line_search import scale_by_zoom_linesearch

__all__ = ["ScaleByLbfgsState", "lbfgs", "scale_by_lbfgs"]


class ScaleByLbfgsState(NamedTuple):
    """How many updates were made (int64), the parameters and the gradients of the last one, each as one vector, the last
    steps and changes of the gradient (matrices, a row each, the newest last), and ``1 / <step, change>`` of each pair,
    0 for one that is not used."""

    count: Any
    params: Any
    grads: Any
    steps: Any
    changes: Any
    weights: Any


def scale_by_lbfgs(memory_size: int = 10, scale_init_precond: bool = True) -> GradientTransformation:
    """Multiply gradients by the L-BFGS approximation of the inverse Hessian; ``lbfgs`` has the formula.

    >>> import numpy as np
    >>> curvature, x = np.array([1.0, 100.0]), np.array([3.0, 4.0])  # of a parabola
    >>> rescale = scale_by_lbfgs()
    >>> state = rescale.init(x)
    >>> for _ in range(4):
    ...     newton_like, state = rescale.update(curvature * x, state, x)
    ...     x = x - newton_like
    >>> float(abs(x).max()) < 0.5
    True
    """
    if memory_size < 1:
        raise ValueError(f"scale_by_lbfgs needs a memory of at least one step, not {memory_size}")

    def init(params: Any) -> ScaleByLbfgsState:
        vector, _ = ravel_pytree(params)
        zeros, rows = fnp.zeros_like(vector), fnp.zeros((memory_size, *vector.shape), dtype=vector.dtype)
        weights = fnp.zeros(memory_size, dtype=fnp.real(zeros).dtype)
        return ScaleByLbfgsState(no_updates_yet(), zeros, zeros, rows, rows, weights)

    def update(grads: Any, state: ScaleByLbfgsState, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        params = required(params, "params", "scale_by_lbfgs")
        check_like(grads, params, reference="the tree of parameters")
        g, unravel = ravel_pytree(grads)
        p, _ = ravel_pytree(params)
        if p.shape != state.params.shape:
            check_like(p, state.params, "scale_by_lbfgs: the parameters, all in one vector,")
        p, wide = fnp.asarray(p, dtype=state.params.dtype), fnp.asarray(g, dtype=state.params.dtype)

        started = state.count > 0
        step, change = p - state.params, wide - state.grads
        product, square = inner_product(step, change), inner_product(change, change)
        # A pair of negative curvature would make a direction that climbs; there is none after a Wolfe line search.
        usable = started & (product > 0)
        weight = fnp.where(usable, 1 / fnp.where(usable, product, fnp.ones_like(product)), fnp.zeros_like(product))
        steps, changes, weights = (
            _pushed(state.steps, step),
            _pushed(state.changes, change),
            _pushed(state.weights, weight),
        )

        direction, parts = wide, []
        for i in reversed(range(memory_size)):
            parts.append(weights[i] * inner_product(steps[i], direction))
            direction = direction - parts[-1] * changes[i]
        if scale_init_precond:
            first = 1 / fnp.maximum(global_norm(wide), scalar_for(wide, 1.0))
            newton_like = fnp.where(
                usable, product / fnp.where(usable, square, fnp.ones_like(square)), fnp.ones_like(first)
            )
            direction = fnp.where(started, newton_like, first) * direction
        for i in range(memory_size):
            direction = direction + (parts.pop() - weights[i] * inner_product(changes[i], direction)) * steps[i]

        updates = unravel(fnp.asarray(direction, dtype=g.dtype))
        return updates, ScaleByLbfgsState(state.count + 1, p, wide, steps, changes, weights)

    return GradientTransformation(init, update)


_ZOOM = scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one")


def lbfgs(
    learning_rate: ScalarOrSchedule | None = None,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: GradientTransformation | None = _ZOOM,
) -> GradientTransformation:
    """L-BFGS: ``p <- p - t H g`` with ``H`` an approximation of the inverse Hessian and ``t`` from a line search.

    With the last steps ``s_i = p_{i+1} - p_i``, changes ``y_i = g_{i+1} - g_i`` and ``r_i = 1 / <s_i, y_i>``:

        H_{i+1} = (I - r_i s_i y_i') H_i (I - r_i y_i s_i') + r_i s_i s_i',    H_first = <s, y> / <y, y> I of the newest

    which is applied to the gradient without being formed. A pair with ``<s_i, y_i> <= 0`` is left out.

    ``update(grads, state, params, value=value, grad=grads, value_fn=value_fn)`` takes the function of the parameters
    that is minimised, for the line search; ``value_and_grad_from_state`` saves an evaluation a step.

    Args:
        learning_rate: a number or a schedule by which the direction is scaled before the search; None for 1.
        memory_size: how many steps are remembered.
        scale_init_precond: whether ``H_first`` is scaled; the very first is then ``1 / max(1, |g|)``.
        linesearch: a transformation that scales the direction; None for none, where ``update`` needs ``params`` only.

    Real parameters, or complex ones throughout. It is for functions without noise: batches of data mislead it.

    Source: J. Nocedal and S. Wright, "Numerical Optimization", 2nd edition, algorithms 7.4 and 7.5.

    >>> import numpy as np
    >>> import funcgrad as fg
    >>> from funcgrad.optim import apply_updates
    >>> f = lambda p: (1 - p["x"]) ** 2 + 100 * (p["y"] - p["x"] ** 2) ** 2  # Rosenbrock's
    >>> optimizer, p = lbfgs(), {"x": -1.0, "y": 1.0}
    >>> state = optimizer.init(p)
    >>> for _ in range(40):
    ...     value, grad = fg.value_and_grad(f)(p)
    ...     updates, state = optimizer.update(grad, state, p, value=value, grad=grad, value_fn=f)
    ...     p = apply_updates(p, updates)
    >>> round(float(p["x"]), 6), round(float(p["y"]), 6)
    (1.0, 1.0)
    """
    descend = scale(-1.0) if learning_rate is None else scale_by_learning_rate(learning_rate)
    search = identity() if linesearch is None else linesearch
    return chain(scale_by_lbfgs(memory_size, scale_init_precond), descend, search)


def _pushed(rows: Any, newest: Any) -> Any:
    return fnp.concatenate([rows[1:], newest[None]])
