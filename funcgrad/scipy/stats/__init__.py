"""``funcgrad.scipy.stats``: log-densities of the common distributions, under SciPy's names and in SciPy's argument order.

    norm, uniform, laplace, logistic, cauchy      logpdf, pdf; cdf, logcdf, sf, logsf, ppf
    expon, lognorm                                the same
    gamma, beta, chi2, t                          logpdf, pdf
    multivariate_normal, dirichlet                logpdf, pdf
    bernoulli, binom, poisson, geom, multinomial  logpmf, pmf

Arguments are real arrays, numbers and traced values, which broadcast. The dtype of the result follows them: float32 stays
float32, integers become float64. Outside of the support the density is 0, its logarithm minus infinity, and every
derivative 0; where a parameter is not allowed the value is NaN, as in SciPy. Everything is differentiable in every real
argument, to any order. In a count the derivative is that of the formula, continued to the reals.

>>> import funcgrad as fg
>>> fg.grad(lambda loc: norm.logpdf(1.0, loc, 2.0))(0.0)
0.25
"""

from ._discrete import *
from ._discrete import __all__ as _discrete
from ._multivariate import *
from ._multivariate import __all__ as _multivariate
from ._positive import *
from ._positive import __all__ as _positive
from ._real_line import *
from ._real_line import __all__ as _real_line

__all__ = [*_real_line, *_positive, *_multivariate, *_discrete]
