"""SciPy's solvers on pytrees, with exact derivatives: ``minimize``, ``least_squares`` and ``root``.

    result = minimize(loss, {"w": w, "b": b}, args=(x, y), bounds=({"w": 0.0, "b": None}, None))
    result.x["w"]

A method that takes a gradient gets the exact one, one that takes Hessian-vector products gets them by forward over
reverse mode, one that takes the Hessian or a Jacobian gets it whole. The function runs eagerly, so that it may choose by
``if``; ``minimize(fg.jit(loss), ...)`` is faster for the many small steps of a solver.

SciPy computes in float64; the function sees the dtypes of ``x0``, and the solution has them. Where a parameter has less
precision than float64, BFGS and CG stop by default at a gradient of the square root of its rounding error: SciPy's
default lies in the noise, where their line search reports a failure at a minimum that is right. Methods that estimate
derivatives by differences (``root`` by ``krylov``) need float64.

SciPy is an optional package; without it, a call raises ImportError.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import tree
from ..api._function import check_differentiable, checked_leaves, function_name, has_tracer, leaf_paths, owned
from ..api.derivatives import grad, hessian, jacfwd, jacrev, jvp, value_and_grad
from ..api.ravel import ravel_pytree
from ..core.errors import ConcretizationError, OperandError, TransformError, TreeError
from ..core.trace import Tracer
from ..core.types import aval_of

__all__ = ["LeastSquaresResult", "MinimizeResult", "RootResult", "least_squares", "minimize", "root"]

#: For each method of scipy.optimize.minimize: the derivatives it takes, and whether it takes bounds.
_METHODS: dict[str, tuple[str, bool]] = {
    "nelder-mead": ("", True),
    "powell": ("", True),
    "cobyla": ("", True),
    "cobyqa": ("", True),
    "cg": ("jac", False),
    "bfgs": ("jac", False),
    "l-bfgs-b": ("jac", True),
    "tnc": ("jac", True),
    "slsqp": ("jac", True),
    "newton-cg": ("hessp", False),
    "trust-ncg": ("hessp", False),
    "trust-krylov": ("hessp", False),
    "trust-constr": ("hessp", True),
    "dogleg": ("hess", False),
    "trust-exact": ("hess", False),
}
#: The methods of scipy.optimize.root, and whether they take a Jacobian.
_ROOTS = {
    "hybr": True,
    "lm": True,
    "broyden1": False,
    "broyden2": False,
    "anderson": False,
    "linearmixing": False,
    "diagbroyden": False,
    "excitingmixing": False,
    "krylov": False,
    "df-sane": False,
}


@dataclass(frozen=True)
class MinimizeResult:
    """What :func:`minimize` found.

    ``x``: the solution, a tree like ``x0``; ``fun``: the objective there; ``jac``: its gradient there, a tree like
    ``x0`` (None for a method without derivatives); ``success``, ``status`` and ``message``: whether and why the solver
    stopped; ``nit`` iterations, ``nfev`` values, ``njev`` gradients; ``raw``: all of it as SciPy gave it, as vectors.
    """

    x: Any
    fun: float
    jac: Any
    success: bool
    status: int
    message: str
    nit: int
    nfev: int
    njev: int
    raw: Any


@dataclass(frozen=True)
class LeastSquaresResult:
    """What :func:`least_squares` found.

    ``x``: the solution, a tree like ``x0``; ``cost``: half the sum of squares there; ``fun``: the residuals there, as
    the function gives them; ``grad``: the gradient of the cost, a tree like ``x0``; ``active_mask``: a tree like
    ``x0`` of -1 at a lower bound, 1 at an upper one and else 0; ``jac``: the matrix [residuals, parameters];
    ``success``, ``status``, ``message``, ``nfev``, ``njev`` and ``raw`` as of :class:`MinimizeResult`.
    """

    x: Any
    cost: float
    fun: Any
    grad: Any
    active_mask: Any
    jac: np.ndarray
    success: bool
    status: int
    message: str
    nfev: int
    njev: int
    raw: Any


@dataclass(frozen=True)
class RootResult:
    """What :func:`root` found.

    ``x``: the solution, a tree like ``x0``; ``fun``: what the function gives there; ``success``, ``status``,
    ``message``, ``nfev`` and ``raw`` as of :class:`MinimizeResult`.
    """

    x: Any
    fun: Any
    success: bool
    status: int
    message: str
    nfev: int
    raw: Any


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple[Any, ...] = (),
    method: str | None = None,
    bounds: Any = None,
    tol: float | None = None,
    options: dict[str, Any] | None = None,
) -> MinimizeResult:
    """A local minimum of the scalar function ``fun(x, *args)`` near ``x0``, by ``scipy.optimize.minimize``.

    ``x0``: a pytree of real arrays and scalars, the starting point; ``args``: what else the function takes, not
    optimised. ``method``: one of SciPy's, in any case; by default BFGS, with bounds L-BFGS-B. ``bounds``: a pair
    ``(lower, upper)``, each of them None, a number, or a tree like ``x0`` (or a prefix of it) of numbers, arrays that
    broadcast to the leaf, and None for no bound. ``tol`` and ``options``: as SciPy's.

    Raises TransformError for a function that is not scalar and real, OperandError for an unknown method, for bounds
    that do not fit or that ``x0`` breaks, TreeError for bounds of another structure, ImportError without SciPy.
    """
    name = _known("minimize", method, _METHODS) or ("bfgs" if bounds is None else "l-bfgs-b")
    derivatives, bounded = _METHODS[name]
    if bounds is not None and not bounded:
        able = ", ".join(m for m, (_, takes) in _METHODS.items() if takes)
        raise OperandError(f"minimize: the method {name!r} takes no bounds; those that do are {able}")
    start = _Start("minimize", x0, args)
    box = start.bounds(bounds)
    optimize = _scipy("minimize")

    def objective(vector: Any) -> Any:
        value = fun(start.unravel(vector), *start.args)
        _check_scalar(fun, value)
        return value

    def outside(vector: np.ndarray) -> float:
        return float(start.outside(objective(vector)))

    def with_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = value_and_grad(objective)(vector)
        return float(start.outside(value)), _wide(gradient)

    given: dict[str, Any] = {}
    if derivatives == "hessp":
        gradient_of = grad(objective)
        given["hessp"] = lambda vector, p: _wide(jvp(gradient_of, (vector,), (_wide(p),))[1])
    elif derivatives == "hess":
        hessian_of = hessian(objective)
        given["hess"] = lambda vector: _wide(hessian_of(vector))
    raw = optimize.minimize(
        with_gradient if derivatives else outside,
        start.vector,
        method=name,
        jac=bool(derivatives) or None,
        bounds=None if box is None else optimize.Bounds(*box),
        tol=start.gradient_noise() if tol is None and name in ("bfgs", "cg") else tol,
        options=options,
        **given,
    )
    gradient = raw.get("jac") if derivatives else None
    if name == "trust-constr":
        gradient = raw.grad
    return MinimizeResult(
        x=start.solution(raw.x),
        fun=float(raw.fun),
        jac=None if gradient is None else start.solution(gradient),
        success=bool(raw.success),
        status=int(raw.status),
        message=str(raw.message),
        nit=int(raw.get("nit", 0)),
        nfev=int(raw.nfev),
        njev=int(raw.get("njev", 0)),
        raw=raw,
    )


def least_squares(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple[Any, ...] = (),
    bounds: Any = None,
    method: str | None = None,
    loss: str = "linear",
    tol: float | None = None,
    options: dict[str, Any] | None = None,
) -> LeastSquaresResult:
    """The x near ``x0`` with the least sum of squares of ``fun(x, *args)``, by ``scipy.optimize.least_squares``.

    ``fun`` returns a pytree of real arrays, the residuals. ``method``: ``trf`` (the default), ``dogbox`` or ``lm``.
    ``loss``: SciPy's name of a function of the squares that outliers weigh less in. ``tol``: the default of SciPy's
    ``ftol``, ``xtol`` and ``gtol``; ``options``: its other keyword arguments (``max_nfev``, ``x_scale``,
    ``f_scale``). The other arguments and the errors are those of :func:`minimize`. The Jacobian is taken forward where
    there are no more parameters than residuals, and else backward.
    """
    name = _known("least_squares", method, ("trf", "dogbox", "lm")) or "trf"
    if bounds is not None and name == "lm":
        raise OperandError("least_squares: the method 'lm' takes no bounds; those that do are trf, dogbox")
    start = _Start("least_squares", x0, args)
    box = start.bounds(bounds)
    optimize = _scipy("least_squares")
    residuals = _Equations(fun, start)
    given = {} if tol is None else {"ftol": tol, "xtol": tol, "gtol": tol}
    raw = optimize.least_squares(
        residuals.value,
        start.vector,
        jac=residuals.jacobian,
        bounds=(-np.inf, np.inf) if box is None else box,
        method=name,
        loss=loss,
        **{**given, **(options or {})},
    )
    return LeastSquaresResult(
        x=start.solution(raw.x),
        cost=float(raw.cost),
        fun=residuals.tree(raw.fun),
        grad=start.solution(raw.grad),
        active_mask=start.tree.unflatten([m.astype(int) for m in start.parts(raw.active_mask)]),
        jac=np.array(raw.jac),
        success=bool(raw.success),
        status=int(raw.status),
        message=str(raw.message),
        nfev=int(raw.nfev),
        njev=int(raw.njev or 0),
        raw=raw,
    )


def root(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple[Any, ...] = (),
    method: str | None = None,
    tol: float | None = None,
    options: dict[str, Any] | None = None,
) -> RootResult:
    """An x near ``x0`` with ``fun(x, *args) = 0``, by ``scipy.optimize.root``.

    ``fun`` returns a pytree of real arrays with as many elements as ``x0`` has. ``method``: one of SciPy's, by default
    ``hybr``; that and ``lm`` take the exact Jacobian, the others none. The other arguments are those of
    :func:`minimize`. Raises OperandError where there are more or fewer equations than unknowns.
    """
    name = _known("root", method, _ROOTS) or "hybr"
    start = _Start("root", x0, args)
    optimize = _scipy("root")
    equations = _Equations(fun, start, square=True)
    raw = optimize.root(
        equations.value,
        start.vector,
        method=name,
        jac=equations.jacobian if _ROOTS[name] else None,
        tol=tol,
        options=options,
    )
    return RootResult(
        x=start.solution(raw.x),
        fun=equations.tree(raw.fun),
        success=bool(raw.success),
        status=int(raw.get("status", 0)),
        message=str(raw.message),
        nfev=int(raw.nfev),
        raw=raw,
    )


# A pytree as the vector that SciPy sees -------------------------------------------------------------------------------


class _Start:
    """The starting point as a float64 vector, and the way back from such vectors to trees."""

    def __init__(self, what: str, x0: Any, args: Any) -> None:
        self.what = what
        self.args = args if isinstance(args, tuple) else (args,)
        self.leaves, self.tree = tree.flatten(x0)
        self.paths = [f"x0{path}" for path in leaf_paths(self.tree, self.leaves)]
        self._check_plain([*self.leaves, *tree.leaves(self.args)])
        if not self.leaves:
            raise OperandError(f"{what}: x0 has no leaves; there is nothing to solve for")
        checked_leaves(f"{what}:", self.leaves, lambda: self.paths)
        check_differentiable(what, self.leaves, lambda: self.paths, holomorphic=False)
        self.avals = [aval_of(x) for x in self.leaves]
        for path, aval in zip(self.paths, self.avals, strict=True):
            if aval.dtype.kind == "c":
                raise OperandError(
                    f"{what}: {path} is complex, {aval}; give its real and imaginary parts as two leaves"
                )
        vector, self.unravel = ravel_pytree(x0)
        self.vector = _wide(vector)

    def _check_plain(self, values: list[Any]) -> None:
        if has_tracer(values):
            raise ConcretizationError(
                f"{self.what} runs SciPy's solver, which takes plain arrays only, but was given a traced value; call it "
                f"outside of jit, vmap and grad"
            )

    def outside(self, value: Any) -> Any:
        """A value for SciPy: it must not depend on a transformation around the solver, whose derivative it would drop."""
        if isinstance(value, Tracer):
            self._check_plain([value])
        return value

    def gradient_noise(self) -> float | None:
        """The size below which a gradient is noise, if the function is computed in less than float64."""
        coarsest = max(float(np.finfo(a.dtype).eps) for a in self.avals)
        return float(np.sqrt(coarsest)) if coarsest > np.finfo(np.float64).eps else None

    def parts(self, vector: Any) -> list[np.ndarray]:
        """The piece of a vector that belongs to each leaf, in the leaf's shape."""
        ends = np.cumsum([a.size for a in self.avals])[:-1]
        pieces = np.split(np.asarray(vector), ends)
        return [p.reshape(a.shape) for p, a in zip(pieces, self.avals, strict=True)]

    def solution(self, vector: Any) -> Any:
        """The tree of a vector, in arrays of its own."""
        return self.tree.unflatten(owned(tree.leaves(self.unravel(_wide(vector))), []))

    def bounds(self, bounds: Any) -> tuple[np.ndarray, np.ndarray] | None:
        """Lower and upper bounds as vectors, checked."""
        if bounds is None:
            return None
        what = self.what
        if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
            raise TreeError(
                f"{what}: bounds is a pair (lower, upper), each of them None, a number or a tree like x0, not {bounds!r}"
            )
        lower = self._side("lower", bounds[0], -np.inf)
        upper = self._side("upper", bounds[1], np.inf)
        for path, x, low, high in zip(self.paths, self.leaves, self.parts(lower), self.parts(upper), strict=True):
            x = np.asarray(x)
            for wrong, why in ((~(low <= high), "cross"), ((x < low) | (x > high), "are broken by the starting point")):
                if wrong.any():
                    i = tuple(map(int, np.argwhere(wrong)[0]))
                    element = f"{path}[{', '.join(map(str, i))}]" if i else path
                    raise OperandError(
                        f"{what}: the bounds {float(low[i])} and {float(high[i])} {why}: {element} is {float(x[i])}"
                    )
        return lower, upper

    def _side(self, side: str, given: Any, missing: float) -> np.ndarray:
        what = f"{self.what}: the {side} bounds"
        pieces = []
        try:
            prefix = tree.prefix_leaves(given, self.tree, what)
        except TreeError as error:
            raise TreeError(
                f"{what} do not have the structure of x0, {tree.describe(self.tree)} (bounds is a pair (lower, upper) of "
                f"trees, not a pair for each element): {error}"
            ) from None
        for path, b, aval in zip(self.paths, prefix, self.avals, strict=True):
            array = np.asarray(missing if b is None else b)
            if array.dtype.kind not in "biuf":
                raise OperandError(f"{what} of {path} must be real numbers, not {b!r}")
            try:
                pieces.append(np.broadcast_to(array, aval.shape).astype(np.float64).ravel())
            except ValueError:
                raise OperandError(
                    f"{what} of {path} have the shape {array.shape}, which does not broadcast to {aval.shape}"
                ) from None
        return np.concatenate(pieces)


class _Equations:
    """A function from a tree to a tree as one from vectors to vectors, with its Jacobian."""

    def __init__(self, fun: Callable[..., Any], start: _Start, square: bool = False) -> None:
        self.fun = fun
        self.start = start
        answer = fun(start.unravel(start.vector), *start.args)
        leaves = tree.leaves(answer)
        checked_leaves(f"{start.what}: the result of {function_name(fun)}", leaves)
        start._check_plain(leaves)
        if not leaves or any(aval_of(y).dtype.kind == "c" for y in leaves):
            raise TransformError(
                f"{start.what} needs a function with real results, but {function_name(fun)} returned "
                f"{'nothing' if not leaves else ', '.join(str(aval_of(y)) for y in leaves)}; give real and imaginary "
                f"parts as two leaves"
            )
        vector, self.unravel = ravel_pytree(answer)
        rows, columns = vector.size, start.vector.size
        if square and rows != columns:
            raise OperandError(
                f"{start.what} needs as many equations as unknowns, but {function_name(fun)} returned {rows} numbers for "
                f"{columns} in x0; for more or fewer use least_squares"
            )
        self._derivative = (jacfwd if columns <= rows else jacrev)(self._flat)

    def _flat(self, vector: Any) -> Any:
        return ravel_pytree(self.fun(self.start.unravel(vector), *self.start.args))[0]

    def value(self, vector: np.ndarray) -> np.ndarray:
        return _wide(self.start.outside(self._flat(vector)))

    def jacobian(self, vector: np.ndarray) -> np.ndarray:
        return _wide(self.start.outside(self._derivative(vector)))

    def tree(self, vector: Any) -> Any:
        """A vector of results as the function's own tree."""
        value = self.unravel(_wide(vector))
        leaves, structure = tree.flatten(value)
        return structure.unflatten(owned(leaves, []))


# Small parts ----------------------------------------------------------------------------------------------------------


def _wide(x: Any) -> np.ndarray:
    return np.array(x, dtype=np.float64)


def _known(what: str, method: Any, methods: Sequence[str] | dict[str, Any]) -> str | None:
    """The method's name in small letters."""
    if method is None:
        return None
    name = method.lower() if isinstance(method, str) else method
    if name not in methods:
        raise OperandError(f"{what}: unknown method {method!r}; there are {', '.join(methods)}")
    return name


def _check_scalar(fun: Callable[..., Any], value: Any) -> None:
    leaves = tree.leaves(value)
    avals = [aval_of(y) for y in leaves] if len(leaves) == 1 and leaves[0] is value else []
    if not avals or avals[0].shape or avals[0].dtype.kind != "f":
        found = str(avals[0]) if avals else tree.describe(tree.structure(value))
        raise TransformError(
            f"minimize needs a function that returns a real scalar, but {function_name(fun)} returned {found}; take .sum() "
            f"or .mean() of it, or use least_squares for a vector of residuals"
        )


def _scipy(what: str) -> Any:
    try:
        return importlib.import_module("scipy.optimize")
    except ImportError as error:
        raise ImportError(
            f"funcgrad.scipy.optimize.{what} runs SciPy's solvers, and SciPy cannot be imported ({error}); install it "
            f"with `pip install scipy`"
        ) from None
