"""A table with holes, written as the product of two thin matrices: gradient descent over what is known."""

import numpy as np

LEARNING_RATE = 0.01
PENALTY = 0.01

WHOLE_REFERENCE = True


def inputs(tiny):
    """The factors (n, r) and (m, r), the table (n, m), what is known of it (n, m), and the numbers of the steps."""
    n, m, r, steps = (5, 4, 2, 3) if tiny else (200, 150, 8, 50)
    rng = np.random.default_rng(8)
    table = rng.normal(size=(n, 3)) @ rng.normal(size=(3, m))
    known = (rng.uniform(size=(n, m)) < 0.3).astype(float)
    return 0.1 * rng.normal(size=(n, r)), 0.1 * rng.normal(size=(m, r)), table, known, np.arange(steps)


def program(m):
    """The factors after all steps, and the loss before each."""
    xp, lax = m.numpy, m.lax

    def loss(factors, table, known):
        u, v = factors
        return 0.5 * xp.sum(known * (u @ v.T - table) ** 2) + 0.5 * PENALTY * (xp.sum(u**2) + xp.sum(v**2))

    def factorise(u, v, table, known, steps):
        def step(factors, _):
            value, (du, dv) = m.value_and_grad(loss)(factors, table, known)
            return (factors[0] - LEARNING_RATE * du, factors[1] - LEARNING_RATE * dv), value

        (u, v), losses = lax.scan(step, (u, v), steps)
        return {"losses": losses, "u": u, "v": v}

    return factorise


def reference(u, v, table, known, steps):
    losses = []
    for _ in steps:
        error = known * (u @ v.T - table)
        losses.append(0.5 * np.sum(error**2) + 0.5 * PENALTY * (np.sum(u**2) + np.sum(v**2)))
        u, v = (
            u - LEARNING_RATE * (error @ v + PENALTY * u),
            v - LEARNING_RATE * (error.T @ u + PENALTY * v),
        )
    return {"losses": np.array(losses), "u": u, "v": v}
