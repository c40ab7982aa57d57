"""The heat equation on a square plate: a five-point stencil, stepped explicitly, the edge held at its temperature."""

import numpy as np

RATE = 0.2

WHOLE_REFERENCE = True


def inputs(tiny):
    """The temperatures (n, n) and the numbers of the steps."""
    n, steps = (6, 3) if tiny else (256, 100)
    return np.random.default_rng(6).uniform(size=(n, n)), np.arange(steps)


def program(m):
    """The temperatures after all steps, and the heat inside after each."""
    xp, lax = m.numpy, m.lax

    def simulate(u, steps):
        def step(u, _):
            inner = u[1:-1, 1:-1]
            flow = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * inner
            rows = xp.concatenate([u[1:-1, :1], inner + RATE * flow, u[1:-1, -1:]], axis=1)
            u = xp.concatenate([u[:1], rows, u[-1:]], axis=0)
            return u, xp.sum(u)

        u, heat = lax.scan(step, u, steps)
        return {"heat": heat, "temperatures": u}

    return simulate


def reference(u, steps):
    u, heat = u.copy(), []
    for _ in steps:
        flow = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * u[1:-1, 1:-1]
        u[1:-1, 1:-1] += RATE * flow
        heat.append(u.sum())
    return {"heat": np.array(heat), "temperatures": u}
