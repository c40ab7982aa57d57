"""What the distributions of one variable share: their arguments, the support, location and scale."""

from __future__ import annotations

import math
from inspect import Parameter, Signature
from typing import Any

import numpy as np

from ... import numpy as fnp
from ...core.errors import OperandTypeError
from ...core.types import aval_of, is_inexact, promote
from ...numpy._promote import convert_to, operand
from .. import special


def common(name: str, *args: Any) -> list[Any]:
    """The operands of ``name`` in one floating-point dtype: NumPy's choice, double for integers.

    Raises OperandTypeError for complex operands.
    """
    operands = [operand(name, x, f"argument {i}") for i, x in enumerate(args)]
    dtype = promote(*map(aval_of, operands))
    if dtype.kind == "c":
        raise OperandTypeError(f"{name} takes real operands, not complex ones")
    dtype = dtype if is_inexact(dtype) else np.dtype(np.float64)
    return [convert_to(x, dtype, strong=True) for x in operands]


def xlogy(x: Any, y: Any) -> Any:
    """x log(y), which with both of its derivatives is 0 at (0, 0)."""
    return special.xlogy(x, fnp.where((x == 0) & (y == 0), 1, y))


def xlog1py(x: Any, y: Any) -> Any:
    """x log(1 + y), which with both of its derivatives is 0 at (0, -1)."""
    return special.xlog1py(x, fnp.where((x == 0) & (y == -1), 0, y))


class Distribution:
    """A distribution of one variable, with the parameters ``shapes``, each positive unless ``allowed`` says otherwise."""

    name = ""
    shapes: tuple[str, ...] = ()

    def allowed(self, *shapes: Any) -> Any:
        """Where the parameters are allowed."""
        return math.prod(((s > 0) & (s < math.inf) for s in shapes), start=np.True_)

    def _operands(self, function: str, first: str, rest: dict[str, Any], args: Any, keywords: Any) -> list[Any]:
        """The arguments of a method, by position or name, in one dtype."""
        kind = Parameter.POSITIONAL_OR_KEYWORD
        required = [Parameter(n, kind) for n in (first, *self.shapes)]
        signature = Signature([*required, *(Parameter(n, kind, default=d) for n, d in rest.items())])
        name = f"{self.name}.{function}"
        try:
            bound = signature.bind(*args, **keywords)
        except TypeError as error:
            raise TypeError(f"{name}{signature}: {error}") from None
        bound.apply_defaults()
        return common(name, *bound.args)


class Continuous(Distribution):
    """A density on the line: ``log_density`` for location 0 and scale 1, on the open or closed interval ``support``.

    Its methods take ``(x, *shapes, loc=0, scale=1)``. ``inner`` is a point of the support, put in place of those outside.
    """

    support = (-math.inf, math.inf)
    inner = 0.5

    def log_density(self, z: Any, *shapes: Any) -> Any:
        """The logarithm of the density at points of the support."""
        raise NotImplementedError

    def _standardised(self, function: str, first: str, args: Any, keywords: Any) -> tuple[Any, ...]:
        """The argument, the parameters made safe, and where they are allowed."""
        x, *shapes, loc, scale = self._operands(function, first, {"loc": 0, "scale": 1}, args, keywords)
        allowed = self.allowed(*shapes)
        shapes = [fnp.where(allowed, s, 1) for s in shapes]
        valid = allowed & fnp.isfinite(loc) & (scale > 0) & (scale < math.inf) & ~fnp.isnan(x)
        return x, shapes, fnp.where(valid, loc, 0), fnp.where(valid, scale, 1), valid

    def density(self, z: Any, *shapes: Any) -> Any:
        """The density at points of the support."""
        return fnp.exp(self.log_density(z, *shapes))

    def _values(self, function: str, rule: Any, outside: float, args: Any, keywords: Any) -> Any:
        """A rule of z, the scale and the shapes on the support, and its value outside."""
        with np.errstate(all="ignore"):
            x, shapes, loc, scale, valid = self._standardised(function, "x", args, keywords)
            low, high = self.support
            finite = fnp.isfinite(x)
            z = (fnp.where(finite, x, 0) - loc) / scale
            inside = valid & finite & (z >= low) & (z <= high)
            value = rule(fnp.where(inside, z, self.inner), scale, *shapes)
            value = fnp.where(inside, value, fnp.where(valid, outside, math.nan).astype(x.dtype))
            return value.astype(x.dtype)[()]

    def logpdf(self, *args: Any, **keywords: Any) -> Any:
        """The logarithm of the density, ``logpdf(x, *shapes, loc=0, scale=1)``; minus infinity outside of the support."""
        rule = lambda z, scale, *shapes: self.log_density(z, *shapes) - fnp.log(scale)
        return self._values("logpdf", rule, -math.inf, args, keywords)

    def pdf(self, *args: Any, **keywords: Any) -> Any:
        """The density, ``pdf(x, *shapes, loc=0, scale=1)``; 0 outside of the support."""
        rule = lambda z, scale, *shapes: self.density(z, *shapes) / scale
        return self._values("pdf", rule, 0.0, args, keywords)


class Cumulative(Continuous):
    """A density with its integral: ``below`` and ``above`` are the probabilities of each side of a point inside."""

    def below(self, z: Any, *shapes: Any) -> Any:
        raise NotImplementedError

    def above(self, z: Any, *shapes: Any) -> Any:
        raise NotImplementedError

    def log_below(self, z: Any, *shapes: Any) -> Any:
        raise NotImplementedError

    def log_above(self, z: Any, *shapes: Any) -> Any:
        raise NotImplementedError

    def quantile(self, q: Any, *shapes: Any) -> Any:
        """The point with the probability q below it, of 0 < q < 1."""
        raise NotImplementedError

    def _integral(self, function: str, rule: Any, ends: tuple[float, float], args: Any, keywords: Any) -> Any:
        """A rule inside of the support, and its values at the ends from there on."""
        with np.errstate(all="ignore"):
            x, shapes, loc, scale, valid = self._standardised(function, "x", args, keywords)
            finite = fnp.isfinite(x)
            z = (fnp.where(finite, x, 0) - loc) / scale
            inside = valid & finite & (z > self.support[0]) & (z < self.support[1])
            high = fnp.where(finite, z >= self.support[1], x > 0)
            outside = fnp.where(valid, fnp.where(high, ends[1], ends[0]), math.nan).astype(x.dtype)
            value = rule(fnp.where(inside, z, self.inner), *shapes)
            return fnp.where(inside, value, outside).astype(x.dtype)[()]

    def cdf(self, *args: Any, **keywords: Any) -> Any:
        """The probability of at most x, ``cdf(x, *shapes, loc=0, scale=1)``."""
        return self._integral("cdf", self.below, (0.0, 1.0), args, keywords)

    def sf(self, *args: Any, **keywords: Any) -> Any:
        """1 - cdf, accurate where that is small, ``sf(x, *shapes, loc=0, scale=1)``."""
        return self._integral("sf", self.above, (1.0, 0.0), args, keywords)

    def logcdf(self, *args: Any, **keywords: Any) -> Any:
        """log(cdf), accurate in the tail, ``logcdf(x, *shapes, loc=0, scale=1)``."""
        return self._integral("logcdf", self.log_below, (-math.inf, 0.0), args, keywords)

    def logsf(self, *args: Any, **keywords: Any) -> Any:
        """log(1 - cdf), accurate in the tail, ``logsf(x, *shapes, loc=0, scale=1)``."""
        return self._integral("logsf", self.log_above, (0.0, -math.inf), args, keywords)

    def ppf(self, *args: Any, **keywords: Any) -> Any:
        """The inverse of cdf, ``ppf(q, *shapes, loc=0, scale=1)``: the ends of the support at 0 and 1, NaN beyond."""
        with np.errstate(all="ignore"):
            q, shapes, loc, scale, valid = self._standardised("ppf", "q", args, keywords)
            inside = valid & (q > 0) & (q < 1)
            value = self.quantile(fnp.where(inside, q, 0.5), *shapes) * scale + loc
            low, high = (end * scale + loc if math.isfinite(end) else end for end in self.support)
            ends = fnp.where(valid & (q == 0), low, fnp.where(valid & (q == 1), high, math.nan)).astype(q.dtype)
            return fnp.where(inside, value, ends).astype(q.dtype)[()]


class Discrete(Distribution):
    """Probabilities of whole numbers: ``log_mass`` on the ``support``. Methods take ``(k, *shapes, loc=0)``."""

    def support(self, k: Any, *shapes: Any) -> Any:
        """Which whole numbers have a probability."""
        raise NotImplementedError

    def inner(self, *shapes: Any) -> Any:
        """A point of the support, put in place of those outside."""
        raise NotImplementedError

    def log_mass(self, k: Any, *shapes: Any) -> Any:
        """The logarithm of the probability at points of the support."""
        raise NotImplementedError

    def logpmf(self, *args: Any, **keywords: Any) -> Any:
        """The logarithm of the probability, ``logpmf(k, *shapes, loc=0)``; minus infinity outside of the support."""
        with np.errstate(all="ignore"):
            k, *shapes, loc = self._operands("logpmf", "k", {"loc": 0}, args, keywords)
            dtype = k.dtype
            allowed = self.allowed(*shapes)
            shapes = [fnp.where(allowed, s, 1) for s in shapes]
            valid = allowed & fnp.isfinite(loc) & ~fnp.isnan(k)
            finite = fnp.isfinite(k)
            k = fnp.where(finite, k, 0) - fnp.where(valid, loc, 0)
            inside = valid & finite & (k == fnp.floor(k)) & self.support(k, *shapes)
            value = self.log_mass(fnp.where(inside, k, self.inner(*shapes)), *shapes)
            outside = fnp.where(valid, -math.inf, math.nan).astype(dtype)
            return fnp.where(inside, value, outside).astype(dtype)[()]

    def pmf(self, *args: Any, **keywords: Any) -> Any:
        """The probability, ``pmf(k, *shapes, loc=0)``; 0 outside of the support."""
        with np.errstate(all="ignore"):
            return fnp.exp(self.logpmf(*args, **keywords))
