"""Newton's method for logistic regression, its Hessian by jacfwd of jacrev, to the last bit in a few steps.

Odd digits against even ones, with a quadratic penalty, so that the loss is strictly convex. Near the minimum the error of
a step is at most a constant times the square of the error before it (Nocedal and Wright, "Numerical Optimization",
theorem 3.5): the number of right digits doubles.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import Any

import job
import numpy as np

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import nn, optim

PENALTY = 1e-2
STEPS = 12


def train(options: job.Options) -> Iterator[job.Result]:
    images, labels, _, _ = job.digits()
    count = 300 if options.quick else len(images)
    x = np.column_stack([images[:count].astype(np.float64), np.ones(count)])
    y = labels[:count] % 2

    def loss(w: Any) -> Any:
        return nn.losses.sigmoid_cross_entropy(x @ w, y) + PENALTY / 2 * fnp.sum(w**2)

    hessian = fg.jit(fg.jacfwd(fg.jacrev(loss)))
    w = np.random.default_rng(0).normal(0.0, 0.1, x.shape[1])
    p = 1 / (1 + np.exp(-x @ w))
    by_hand = (x * (p * (1 - p))[:, None]).T @ x / count + PENALTY * np.eye(x.shape[1])
    yield job.at_most("|Hessian - X' diag(p (1 - p)) X / n - penalty|", np.abs(hessian(w) - by_hand).max(), 1e-13)

    evaluate = fg.jit(fg.value_and_grad(loss))
    points = [np.zeros(x.shape[1])]
    for _ in range(STEPS):
        _, gradient = evaluate(points[-1])
        points.append(points[-1] - np.linalg.solve(hessian(points[-1]), gradient))
    errors = [float(np.linalg.norm(point - points[-1])) for point in points[:-1]]
    print("  distance to the minimum:", ", ".join(f"{e:.1e}" for e in errors if e > 0))
    # From where the method is close, and to where the error is not yet that of rounding.
    ratios = [after / before**2 for before, after in itertools.pairwise(errors) if before < 1 and after > 1e-12]
    if not ratios:
        yield job.at_least("steps in the region of quadratic convergence", 0, 1)
        return
    yield job.at_most("error / (error of the step before)^2, at most", max(ratios), 1.0)
    close = next(i for i, e in enumerate(errors) if e <= 1e-12 * np.linalg.norm(points[-1]))
    yield job.at_most("steps to a relative error of 1e-12", close, 8)
    yield job.at_most("|gradient| there", np.linalg.norm(evaluate(points[-1])[1]), 1e-14)

    optimizer = optim.newton()
    w, state = points[0], optimizer.init(points[0])
    for _ in range(3):
        updates, state = optimizer.update(evaluate(w)[1], state, w, value_fn=loss)
        w = optim.apply_updates(w, updates)
    yield job.at_most("|optim.newton - the same by hand| after three steps", np.abs(w - points[3]).max(), 1e-11)


if __name__ == "__main__":
    sys.exit(job.main(train, __doc__))
