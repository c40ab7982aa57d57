"""Bodies under softened gravity, by velocity Verlet: the force is the derivative of the energy, taken by ``grad``."""

import numpy as np

SOFTENING = 0.1
STEP = 0.01

WHOLE_REFERENCE = True


def inputs(tiny):
    """Positions and velocities (n, 3), masses (n,), and the numbers of the steps."""
    n, steps = (4, 5) if tiny else (32, 100)
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 3)), 0.1 * rng.normal(size=(n, 3)), rng.uniform(0.5, 1.5, n), np.arange(steps)


def program(m):
    """The positions after all steps, and the total energy after each."""
    xp, lax = m.numpy, m.lax

    def potential(x, masses):
        apart = x[:, None, :] - x[None, :, :]
        distance = xp.sqrt(xp.sum(apart**2, axis=-1) + SOFTENING**2)
        return -0.5 * xp.sum(masses[:, None] * masses[None, :] / distance)

    gradient = m.grad(potential)

    def simulate(x, v, masses, steps):
        def step(state, _):
            x, v, force = state
            v = v + 0.5 * STEP * force / masses[:, None]
            x = x + STEP * v
            force = -gradient(x, masses)
            v = v + 0.5 * STEP * force / masses[:, None]
            kinetic = 0.5 * xp.sum(masses[:, None] * v**2)
            return (x, v, force), kinetic + potential(x, masses)

        (x, _, _), energies = lax.scan(step, (x, v, -gradient(x, masses)), steps)
        return {"energies": energies, "positions": x}

    return simulate


def reference(x, v, masses, steps):
    def pairs(x):
        apart = x[None, :, :] - x[:, None, :]
        return apart, np.sqrt(np.sum(apart**2, axis=-1) + SOFTENING**2)

    def acceleration(x):
        apart, distance = pairs(x)
        return np.einsum("j,ijk->ik", masses, apart / distance[..., None] ** 3)

    a = acceleration(x)
    energies = []
    for _ in steps:
        v = v + 0.5 * STEP * a
        x = x + STEP * v
        a = acceleration(x)
        v = v + 0.5 * STEP * a
        potential = -0.5 * np.sum(np.outer(masses, masses) / pairs(x)[1])
        energies.append(0.5 * np.sum(masses[:, None] * v**2) + potential)
    return {"energies": np.array(energies), "positions": x}
