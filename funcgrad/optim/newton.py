"""Newton's method and its relatives: gradients multiplied by the inverse of a matrix of second derivatives.

They are preconditioners of gradients, with a signature of their own: the gradient alone does not say what the curvature
is, so ``update`` takes the function too, as line searches do.

    newton, newton_cg    update(grads, state, params, value_fn=f)        f(params), whose gradient grads is
    gauss_newton         update(grads, state, params, residual_fn=r)     grads is that of sum(r(params)^2) / 2

Because a line search asks for ``value_fn`` as well, each of them may be followed by one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.api.derivatives import grad, hessian, linear_transpose, linearize
from funcgrad.api.ravel import ravel_pytree
from funcgrad.core.errors import OperandTypeError

from .base import GradientTransformation, chain, check_like, hyperparameter, identity, required, scalar_for
from .learning_rate import ScalarOrSchedule, scale_by_learning_rate

__all__ = [
    "DampedState",
    "gauss_newton",
    "newton",
    "newton_cg",
    "scale_by_gauss_newton",
    "scale_by_newton",
    "scale_by_newton_cg",
]


class DampedState(NamedTuple):
    """The damping (float64), which may be set."""

    damping: Any

    hyperparameters = ("damping",)


def scale_by_newton(damping: float = 0.0) -> GradientTransformation:
    """Multiply gradients by the inverse of the Hessian plus ``damping`` times the identity; see ``newton``.

    >>> import numpy as np
    >>> f, x = lambda x: 5.0 * x[0] ** 2 + 0.5 * x[1] ** 2, np.array([1.0, 2.0])
    >>> rescale = scale_by_newton()
    >>> rescale.update(np.array([10.0, 2.0]), rescale.init(x), x, value_fn=f)[0]
    array([1., 2.])
    """

    def solve(value_fn: Any, vector: Any, unravel: Any, right: Any, damping: Any) -> Any:
        matrix = hessian(lambda v: value_fn(unravel(v)))(vector)
        return fnp.linalg.solve(matrix + damping * fnp.eye(right.shape[0], dtype=matrix.dtype), right)

    return _preconditioner("newton", "value_fn", damping, solve)


def scale_by_newton_cg(
    damping: float = 0.0, max_iterations: int | None = None, tol: float | None = None
) -> GradientTransformation:
    """As ``scale_by_newton``, by conjugate gradients; see ``newton_cg``.

    >>> import numpy as np
    >>> f, x = lambda x: 5.0 * x[0] ** 2 + 0.5 * x[1] ** 2, np.array([1.0, 2.0])
    >>> rescale = scale_by_newton_cg(tol=1e-9)
    >>> rescale.update(np.array([10.0, 2.0]), rescale.init(x), x, value_fn=f)[0].round(6)
    array([1., 2.])
    """

    def solve(value_fn: Any, vector: Any, unravel: Any, right: Any, damping: Any) -> Any:
        _, hessian_times = linearize(grad(lambda v: value_fn(unravel(v))), vector)
        return _conjugate_gradients(lambda v: hessian_times(v) + damping * v, right, tol, max_iterations)

    return _preconditioner("newton_cg", "value_fn", damping, solve)


def scale_by_gauss_newton(
    damping: float = 0.0, max_iterations: int | None = None, tol: float = 1e-10
) -> GradientTransformation:
    """Multiply gradients by the inverse of ``J' J + damping I``; see ``gauss_newton``.

    >>> import numpy as np
    >>> r, x = lambda x: np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 1.0]]) @ x, np.array([1.0, 2.0])
    >>> rescale = scale_by_gauss_newton()
    >>> rescale.update(np.array([4.0, 4.0]), rescale.init(x), x, residual_fn=r)[0].round(6)
    array([1., 2.])
    """

    def solve(residual_fn: Any, vector: Any, unravel: Any, right: Any, damping: Any) -> Any:
        _, forward = linearize(lambda v: ravel_pytree(residual_fn(unravel(v)))[0], vector)
        backward = linear_transpose(forward, vector)

        def matrix_times(v: Any) -> Any:
            (product,) = backward(forward(v))
            return product + damping * v

        return _conjugate_gradients(matrix_times, right, tol, max_iterations)

    return _preconditioner("gauss_newton", "residual_fn", damping, solve)


def newton(
    learning_rate: ScalarOrSchedule = 1.0, damping: float = 0.0, linesearch: GradientTransformation | None = None
) -> GradientTransformation:
    """Newton's method: ``p <- p - learning_rate (H + damping I)^-1 g`` with the Hessian ``H`` of the function.

    ``update(grads, state, params, value_fn=f)``: ``grads`` is the gradient of the real scalar function ``f`` of the
    parameters. With the learning rate 1 and no damping, one step leads to the minimum of a quadratic function.

    Args:
        learning_rate: a number or a schedule; 1 is Newton's own.
        damping: added to the eigenvalues of ``H``. Without it, a step goes to the point of zero gradient, be it a
            minimum, a maximum or a saddle.
        linesearch: as in ``lbfgs``; it needs ``value`` and ``grad`` too. Let it start at Newton's own step, as in
            ``scale_by_zoom_linesearch(20, initial_guess_strategy="one")``.

    For ``n`` parameters the Hessian has ``n^2`` elements and solving takes ``n^3`` operations; ``newton_cg`` needs no
    matrix. ``damping`` is a hyper-parameter in the state.

    Raises:
        TransformError: ``params`` or ``value_fn`` is missing.
        OperandTypeError: a parameter is complex.
        numpy.linalg.LinAlgError: ``H + damping I`` is singular.

    Source: J. Nocedal and S. Wright, "Numerical Optimization", 2nd edition, equation 3.30 and section 3.4.

    >>> import numpy as np
    >>> import funcgrad as fg
    >>> f = lambda p: 3 * (p["x"] - 1) ** 2 + p["x"] * p["y"] + (p["y"] + 2) ** 2
    >>> p, optimizer = {"x": 10.0, "y": -7.0}, newton()
    >>> updates, _ = optimizer.update(fg.grad(f)(p), optimizer.init(p), p, value_fn=f)
    >>> there = {name: p[name] + updates[name] for name in p}
    >>> {name: float(abs(g)) < 1e-12 for name, g in fg.grad(f)(there).items()}
    {'x': True, 'y': True}
    """
    return _descent(scale_by_newton(damping), learning_rate, linesearch)


def newton_cg(
    learning_rate: ScalarOrSchedule = 1.0,
    damping: float = 0.0,
    max_iterations: int | None = None,
    tol: float | None = None,
    linesearch: GradientTransformation | None = None,
) -> GradientTransformation:
    """Newton's method without the matrix: conjugate gradients on products of the Hessian with vectors.

    As ``newton``, but the system is solved until the residual is ``tol |g|`` or after ``max_iterations``. Where the
    curvature along a direction is not positive it stops at what it has, and takes the gradient if that is nothing: so
    the result always descends.

    Args:
        tol: None for ``min(1/2, sqrt(|g|))``, with which convergence is superlinear.
        max_iterations: None for the number of parameters.

    Source: J. Nocedal and S. Wright, "Numerical Optimization", 2nd edition, algorithm 7.1; products as in
    B. Pearlmutter, "Fast Exact Multiplication by the Hessian", Neural Computation 6 (1994).

    >>> import numpy as np
    >>> f, x = lambda x: (np.array([1.0, 10.0, 100.0]) * x ** 2).sum(), np.ones(3)
    >>> optimizer = newton_cg(tol=1e-10)
    >>> updates, _ = optimizer.update(np.array([2.0, 20.0, 200.0]), optimizer.init(x), x, value_fn=f)
    >>> bool(abs(x + updates).max() < 1e-12)
    True
    """
    return _descent(scale_by_newton_cg(damping, max_iterations, tol), learning_rate, linesearch)


def gauss_newton(
    learning_rate: ScalarOrSchedule = 1.0,
    damping: float = 0.0,
    max_iterations: int | None = None,
    tol: float = 1e-10,
    linesearch: GradientTransformation | None = None,
) -> GradientTransformation:
    """Gauss-Newton for least squares: ``p <- p - learning_rate (J' J + damping I)^-1 g``, ``J`` the Jacobian of the
    residuals.

    ``update(grads, state, params, residual_fn=r)``: ``r(params)`` is a pytree of real residuals, and ``grads`` the
    gradient of half their sum of squares, ``J' r``. (For another multiple of the sum of squares, scale ``r`` by its
    root: for the mean, ``r = sqrt(2 / n) (prediction - y)``.) One step solves a linear problem.

    Args:
        damping: Levenberg's: the larger, the shorter the step and the closer to the gradient's direction. It is a
            hyper-parameter in the state, to be set from step to step.
        max_iterations, tol: of the conjugate gradients, on products with ``J`` and its transpose; the matrix is never
            formed. By default as many as there are parameters, until the residual is ``tol |g|``.
        linesearch: as in ``lbfgs``; it needs ``value``, ``grad`` and ``value_fn`` too.

    Raises:
        TransformError: ``params`` or ``residual_fn`` is missing.
        OperandTypeError: a parameter is complex.

    Source: J. Nocedal and S. Wright, "Numerical Optimization", 2nd edition, section 10.3; K. Levenberg, "A method for
    the solution of certain non-linear problems in least squares", Quarterly of Applied Mathematics 2 (1944).

    >>> import numpy as np
    >>> import funcgrad as fg
    >>> x, y = np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0])
    >>> r = lambda p: p["a"] * x + p["b"] - y
    >>> p, optimizer = {"a": 0.0, "b": 0.0}, gauss_newton()
    >>> g = fg.grad(lambda p: (r(p) ** 2).sum() / 2)(p)
    >>> updates, _ = optimizer.update(g, optimizer.init(p), p, residual_fn=r)
    >>> {name: float(u.round(6)) for name, u in updates.items()}
    {'a': 2.0, 'b': 1.0}
    """
    return _descent(scale_by_gauss_newton(damping, max_iterations, tol), learning_rate, linesearch)


# The parts ------------------------------------------------------------------------------------------------------------


def _descent(
    preconditioner: GradientTransformation, learning_rate: ScalarOrSchedule, linesearch: GradientTransformation | None
) -> GradientTransformation:
    search = identity() if linesearch is None else linesearch
    return chain(preconditioner, scale_by_learning_rate(learning_rate), search)


def _preconditioner(who: str, function: str, damping: float, solve: Callable[..., Any]) -> GradientTransformation:
    """``solve(function, vector, unravel, right, damping)`` on the parameters and gradients as vectors."""

    def init(params: Any) -> DampedState:
        return DampedState(hyperparameter(damping))

    def update(grads: Any, state: DampedState, params: Any = None, **extra: Any) -> tuple[Any, DampedState]:
        params = required(params, "params", who)
        given = required(extra.get(function), function, who)
        check_like(grads, params, reference="the tree of parameters")
        vector, unravel = ravel_pytree(params)
        right, unravel_updates = ravel_pytree(grads)
        if vector.dtype.kind == "c":
            raise OperandTypeError(f"{who} takes real parameters; give the real and the imaginary part as two leaves")
        if vector.shape == (0,):
            return grads, state
        solution = solve(
            given, vector, unravel, fnp.asarray(right, dtype=vector.dtype), scalar_for(vector, state.damping)
        )
        return unravel_updates(fnp.asarray(solution, dtype=right.dtype)), state

    return GradientTransformation(init, update)


def _conjugate_gradients(times: Callable[[Any], Any], right: Any, tol: float | None, max_iterations: int | None) -> Any:
    """An approximate solution of ``A x = right`` for ``times(v) = A v``, which stops at non-positive curvature."""
    square = fnp.vdot(right, right)
    size = fnp.sqrt(square)
    bound = (fnp.minimum(0.5, fnp.sqrt(size)) if tol is None else tol) * size
    limit = right.shape[0] if max_iterations is None else max_iterations

    def unsolved(loop: Any) -> Any:
        _, _, _, rest, count, convex = loop
        return convex & (fnp.sqrt(rest) > bound) & (count < limit)

    def iterate(loop: Any) -> Any:
        x, residual, direction, rest, count, _ = loop
        product = times(direction)
        curvature = fnp.vdot(direction, product)
        convex = curvature > 0
        length = rest / fnp.where(convex, curvature, fnp.ones_like(curvature))
        # Along a direction of no positive curvature there is no minimum; the first one is the gradient itself.
        length = fnp.where(convex, length, fnp.where(count == 0, fnp.ones_like(length), fnp.zeros_like(length)))
        x, residual = x + length * direction, residual - length * product
        new_rest = fnp.vdot(residual, residual)
        return x, residual, residual + (new_rest / rest) * direction, new_rest, count + 1, convex

    start = (fnp.zeros_like(right), right, right, square, fnp.zeros((), fnp.int64), fnp.asarray(True))
    return lax.while_loop(unsolved, iterate, start)[0]
