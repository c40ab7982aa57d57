"""Twelve scientific programs, each written once for funcgrad and for JAX.

A file has three functions. ``program(m)`` returns the function to jit, where ``m`` is the module ``funcgrad`` or
``jax``: their names are the same, so that it is the same program. ``inputs(tiny)`` returns its arguments, NumPy arrays in
float64. ``reference(*inputs)`` computes, in plain NumPy, all or some of the entries of the dict that the program returns; where
``WHOLE_REFERENCE`` is true, it does so as one would write it, and is timed too.
"""

from . import (
    black_scholes,
    gaussian_process,
    heat_equation,
    hmc,
    k_means,
    kalman_filter,
    logistic_hessian,
    lotka_volterra,
    matrix_factorisation,
    n_body,
    python_loop,
    spherical_harmonics,
)

PROGRAMS = {
    "n-body": n_body,
    "lotka-volterra": lotka_volterra,
    "black-scholes": black_scholes,
    "gaussian-process": gaussian_process,
    "logistic-hessian": logistic_hessian,
    "kalman-filter": kalman_filter,
    "heat-equation": heat_equation,
    "k-means": k_means,
    "factorisation": matrix_factorisation,
    "hmc": hmc,
    "harmonics": spherical_harmonics,
    "python-loop": python_loop,
}
