"""Random numbers from keys: the same key gives the same numbers, eagerly, under every transform, on every back end.

    import funcgrad as fg

    key = fg.random.key(0)
    key, noise_key = fg.random.split(key)
    noise = fg.random.normal(noise_key, (3, 4))

A key is a plain uint32 array of shape (2,), and is used once: what is drawn twice with one key is equal. New keys come from
``split`` and ``fold_in``. Names, arguments and the bits are those of ``jax.random``; the default dtype is NumPy's
float64. Gradients flow to the parameters of a distribution where its draws depend on them smoothly.
"""

from ._choice import categorical, choice, permutation, shuffle
from ._gamma import beta, dirichlet, gamma, loggamma, t
from ._inverse import cauchy, exponential, gumbel, laplace, logistic
from ._keys import bits, fold_in, key, split
from ._normal import normal, truncated_normal
from ._poisson import poisson
from ._uniform import bernoulli, rademacher, randint, uniform
from ._vectors import ball, multivariate_normal, orthogonal

__all__ = [
    "ball", "bernoulli", "beta", "bits", "categorical", "cauchy", "choice", "dirichlet", "exponential", "fold_in", "gamma",
    "gumbel", "key", "laplace", "loggamma", "logistic", "multivariate_normal", "normal", "orthogonal", "permutation",
    "poisson", "rademacher", "randint", "shuffle", "split", "t", "truncated_normal", "uniform",
]  # fmt: skip
