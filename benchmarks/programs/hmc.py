"""Hamiltonian Monte Carlo: leapfrog trajectories of a correlated Gaussian with a curved ridge, the draws by keys."""

import numpy as np

import funcgrad

STEP = 0.1
LEAPS = 10

WHOLE_REFERENCE = False


def inputs(tiny):
    """The starting point (d,) and the numbers of the trajectories."""
    d, draws = (2, 3) if tiny else (10, 100)
    return np.linspace(-1, 1, d), np.arange(draws)


def program(m):
    """All points of the chain, the momenta and uniform numbers drawn, and the share of accepted proposals."""
    xp, lax, random = m.numpy, m.lax, m.random

    def potential(x):
        return xp.sum((1 - x[:-1]) ** 2) / 8 + xp.sum((x[1:] - x[:-1] ** 2) ** 2) + 0.05 * xp.sum(x**2)

    gradient = m.grad(potential)

    def sample(x, draws):
        def trajectory(state, number):
            start, taken = state
            k_momentum, k_accept = random.split(random.fold_in(random.key(9), number))
            momentum = random.normal(k_momentum, start.shape, dtype=start.dtype)
            uniform = random.uniform(k_accept, dtype=start.dtype)

            def leap(_, phase):
                x, p = phase
                p = p - 0.5 * STEP * gradient(x)
                x = x + STEP * p
                return x, p - 0.5 * STEP * gradient(x)

            x, p = lax.fori_loop(0, LEAPS, leap, (start, momentum))
            change = potential(x) - potential(start) + 0.5 * (xp.sum(p**2) - xp.sum(momentum**2))
            accept = xp.log(uniform) < -change
            x = xp.where(accept, x, start)
            return (x, taken + accept), (x, momentum, uniform)

        (_, taken), (chain, momenta, uniforms) = lax.scan(trajectory, (x, 0), draws)
        return {"chain": chain, "momenta": momenta, "share": taken / len(draws), "uniforms": uniforms}

    return sample


def reference(x, draws):
    """The chain, from funcgrad's draws: what NumPy lacks is `random` with keys."""
    drawn = funcgrad.jit(program(funcgrad))(x, draws)

    def potential(x):
        return np.sum((1 - x[:-1]) ** 2) / 8 + np.sum((x[1:] - x[:-1] ** 2) ** 2) + 0.05 * np.sum(x**2)

    def gradient(x):
        ridge = x[1:] - x[:-1] ** 2
        total = 0.1 * x
        total[:-1] -= (1 - x[:-1]) / 4 + 4 * ridge * x[:-1]
        total[1:] += 2 * ridge
        return total

    chain = []
    for momentum, uniform in zip(drawn["momenta"], drawn["uniforms"], strict=True):
        start, p = x, momentum
        for _ in range(LEAPS):
            p = p - 0.5 * STEP * gradient(x)
            x = x + STEP * p
            p = p - 0.5 * STEP * gradient(x)
        change = potential(x) - potential(start) + 0.5 * (np.sum(p**2) - np.sum(momentum**2))
        x = x if np.log(uniform) < -change else start
        chain.append(x)
    return {"chain": np.stack(chain)}
