"""A network that solves Burgers' equation, from the equation alone (a physics-informed neural network).

u_t + u u_x = nu u_xx on -1 < x < 1, 0 < t < 1 has the travelling shock

    u(x, t) = c - a tanh(a (x - c t) / (2 nu)),

whose values at t = 0 and x = -1, 1 are all the network is given. Its residuals at points inside, with the derivatives
taken by grad and a forward derivative of grad, and at the boundary are a least-squares problem (Raissi et al., Journal of
Computational Physics 378, 2019), solved by Gauss-Newton with Levenberg's damping: smaller after a step that gains,
larger after one that does not, which is taken back.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import job
import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import nn, optim

NU = 0.05
SPEED, HEIGHT = 0.5, 0.5


def exact(x: Any, t: Any) -> Any:
    return SPEED - HEIGHT * fnp.tanh(HEIGHT * (x - SPEED * t) / (2 * NU))


def equation(u: Any, x: Any, t: Any) -> Any:
    """u_t + u u_x - nu u_xx of a function u(x, t) of numbers, at a point: zero for a solution."""
    value, u_t = fg.value_and_grad(u, argnums=1)(x, t)
    u_x, u_xx = fg.jvp(lambda x: fg.grad(u)(x, t), (x,), (fnp.ones_like(x),))
    return u_t + value * u_x - NU * u_xx


def network(model: Any) -> Any:
    return lambda x, t: model(fnp.stack([x, t]))[0]


def points(inside: int, boundary: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (x, t) inside and on the three sides where values are given, at random."""
    rng = np.random.default_rng(0)
    within = rng.uniform([-1, 0], [1, 1], (inside, 2))
    first = np.column_stack([rng.uniform(-1, 1, boundary), np.zeros(boundary)])
    sides = np.column_stack([np.where(np.arange(boundary) % 2, 1.0, -1.0), rng.uniform(0, 1, boundary)])
    return within, np.concatenate([first, sides])


def train(options: job.Options) -> Iterator[job.Result]:
    steps, inside, width, bound = (40, 300, 12, 1e-3) if options.quick else (100, 1000, 20, 1e-4)
    within, given = points(inside, inside // 10)
    values = exact(*given.T)
    known = fg.vmap(lambda x, t: equation(exact, x, t))(*within.T)
    yield job.at_most("|residual| of the exact solution", np.abs(known).max(), 1e-13)

    def residuals(model: Any) -> Any:
        u = network(model)
        of_equation = fg.vmap(lambda x, t: equation(u, x, t))(*within.T)
        of_values = fg.vmap(u)(*given.T) - values
        return of_equation / len(within) ** 0.5, of_values / len(given) ** 0.5

    def loss(model: Any) -> Any:
        return sum(fnp.sum(r**2) for r in residuals(model)) / 2

    model = nn.MLP.init(
        fg.random.key(0),
        (2, width, width, 1),
        activation=nn.tanh,
        weight_init=nn.init.xavier_normal(),
        dtype=np.float64,
    )
    optimizer = optim.gauss_newton(damping=1e-2, max_iterations=100, tol=1e-3)

    @fg.jit
    def step(model: Any, state: Any) -> tuple[Any, Any, Any]:
        updates, state = optimizer.update(fg.grad(loss)(model), state, model, residual_fn=residuals)
        after = optim.apply_updates(model, updates)
        return after, state, loss(after)

    state, value = optimizer.init(model), loss(model)
    first = value
    for _ in range(steps):
        after, state, found = step(model, state)
        damping = optim.hyperparameters(state)["damping"]
        if found < value:
            model, value, damping = after, found, damping / 3
        else:
            damping = damping * 4
        state = optim.with_hyperparameters(state, damping=max(damping, 1e-12))
    print(
        f"  {nn.count_parameters(model)} parameters, {steps} steps, {len(within)} points; loss {first:.1e} -> {value:.1e}"
    )

    x, t = (grid.ravel() for grid in np.meshgrid(np.linspace(-1, 1, 101), np.linspace(0, 1, 51)))
    u, true = fg.vmap(network(model))(x, t), exact(x, t)
    yield job.at_most("relative error of u on a grid (L2)", np.linalg.norm(u - true) / np.linalg.norm(true), bound)


if __name__ == "__main__":
    sys.exit(job.main(train, __doc__))
