"""The table of optimizers that the tests of them run through, and the problems they are run on.

A row has a function that makes the optimizer from a learning rate; the learning rates with which it finds the minimum
of a parabola and of Rosenbrock's function; and what it lacks of what the others have. The same function makes Optax's
where it is given Optax's module.
"""

from typing import Any, NamedTuple

import numpy as np

import funcgrad as fg
from funcgrad import optim


class Row(NamedTuple):
    make: Any
    parabola: float
    rosenbrock: float
    optax: bool = True
    complex: bool = True
    extra: Any = None  # what update asks for beside params: a name of `extras`
    smooth: bool = True  # whether the update is a differentiable function of the gradient, at zero too


ROWS = {
    "sgd": Row(lambda o, lr: o.sgd(lr), 0.1, 0.015),
    "momentum": Row(lambda o, lr: o.sgd(lr, momentum=0.9), 0.02, 5e-3),
    "nesterov": Row(lambda o, lr: o.sgd(lr, momentum=0.9, nesterov=True), 0.02, 5e-3),
    "ema_momentum": Row(lambda o, lr: optim.ema_momentum(lr), 0.1, 0.05, optax=False),
    "unbiased_momentum": Row(lambda o, lr: optim.ema_momentum(lr, debias=True), 0.1, 0.05, optax=False),
    "lookahead_nesterov": Row(lambda o, lr: optim.lookahead_nesterov(lr), 0.1, 0.05, optax=False, extra="grad_fn"),
    "notes_nesterov": Row(
        lambda o, lr: optim.lookahead_nesterov(lr, exact=False), 0.1, 0.05, optax=False, extra="grad_fn"
    ),
    "adam": Row(lambda o, lr: o.adam(lr), 0.05, 0.02),
    "adam_uncorrected": Row(lambda o, lr: optim.adam(lr, bias_correction=False), 0.05, 0.02, optax=False),
    "adam_eps_root": Row(lambda o, lr: o.adam(lr, b1=0.8, b2=0.95, eps=1e-3, eps_root=1e-4), 0.05, 0.01),
    "adamw": Row(lambda o, lr: o.adamw(lr, weight_decay=1e-5), 0.05, 0.02),
    "nadam": Row(lambda o, lr: o.nadam(lr), 0.05, 0.02),
    "nadamw": Row(lambda o, lr: o.nadamw(lr, weight_decay=1e-5), 0.05, 0.02),
    "radam": Row(lambda o, lr: o.radam(lr), 0.05, 0.02),
    "radam_nesterov": Row(lambda o, lr: o.radam(lr, b2=0.9, nesterov=True), 0.05, 5e-3),
    "amsgrad": Row(lambda o, lr: o.amsgrad(lr), 0.05, 0.05),
    "amsgrad_raw": Row(lambda o, lr: o.amsgrad(lr, bias_correction_mu=False, bias_correction_nu=False), 0.05, 0.02),
    "adagrad": Row(lambda o, lr: o.adagrad(lr), 0.5, 0.5),
    "rmsprop": Row(lambda o, lr: o.rmsprop(lr), 0.02, 2e-3),
    "rmsprop_outside": Row(lambda o, lr: o.rmsprop(lr, eps_in_sqrt=False, bias_correction=True), 0.02, 2e-3),
    "rmsprop_centered": Row(lambda o, lr: o.rmsprop(lr, eps=1e-3, centered=True, momentum=0.5), 0.01, 1e-3),
    "rmsprop_nesterov": Row(lambda o, lr: o.rmsprop(lr, momentum=0.5, nesterov=True, initial_scale=1.0), 0.01, 1e-3),
    "adadelta": Row(lambda o, lr: o.adadelta(lr, eps=1e-4), 1.0, 1.0),
    "lion": Row(lambda o, lr: o.lion(lr, weight_decay=1e-5), 0.01, 2e-3, smooth=False),
    "sign_sgd": Row(lambda o, lr: o.sign_sgd(lr), 0.01, 2e-3, smooth=False),
    "lamb": Row(lambda o, lr: o.lamb(lr, weight_decay=1e-5), 0.02, 0.01),
    "lars": Row(lambda o, lr: o.lars(lr, weight_decay=1e-5, trust_coefficient=0.01), 0.2, 0.05, smooth=False),
    "adafactor": Row(lambda o, lr: o.adafactor(lr), 0.02, 0.01, smooth=False),
    "adafactor_factored": Row(
        lambda o, lr: o.adafactor(lr, min_dim_size_to_factor=2, momentum=0.5, weight_decay_rate=1e-6),
        0.02, 0.01, smooth=False,
    ),
    "lbfgs": Row(lambda o, lr: o.lbfgs(lr), 1.0, 1.0, extra="value_fn", smooth=False),
    "newton": Row(lambda o, lr: optim.newton(lr), 1.0, 1.0, optax=False, complex=False, extra="value_fn"),
    "newton_cg": Row(
        lambda o, lr: optim.newton_cg(lr, tol=1e-6), 1.0, 1.0, optax=False, complex=False, extra="value_fn", smooth=False
    ),
    "gauss_newton": Row(
        lambda o, lr: optim.gauss_newton(lr), 1.0, 1.0, optax=False, complex=False, extra="residual_fn", smooth=False
    ),
}  # fmt: skip


def trees(dtype=np.float64):
    """Parameter trees of several shapes: a dict of matrix, vector and scalar; nested containers; a single array."""
    rng = np.random.default_rng(0)
    return {
        "dict": {n: np.asarray(rng.normal(size=s), dtype) for n, s in (("w", (3, 2)), ("b", (2,)), ("s", ()))},
        "nested": [
            np.asarray(rng.normal(size=4), dtype),
            {"k": np.asarray(rng.normal(size=(2, 3, 2)), dtype), "none": None},
        ],
        "single": np.asarray(rng.normal(size=(4, 3)), dtype),
    }


def residuals(p):
    """Of a smooth problem with a different curvature in every element, in leaves of the parameters' tree."""
    return fg.tree.map(lambda x: 0.5 * x + 0.3 * fg.numpy.sin(x) - 0.2, p)


def value_fn(p):
    return sum((r * r).sum() for r in fg.tree.leaves(residuals(p))) / 2


grad_fn = fg.grad(value_fn)


def extras(row, params, grads, value_fn=value_fn, grad_fn=grad_fn, residual_fn=residuals):
    if row.extra == "value_fn":
        return {"value": value_fn(params), "grad": grads, "value_fn": value_fn}
    return {} if row.extra is None else {row.extra: {"grad_fn": grad_fn, "residual_fn": residual_fn}[row.extra]}
