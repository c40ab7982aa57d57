"""The rates of a predator-prey model fitted to data: gradient descent through a Runge-Kutta scan."""

import numpy as np

STEP = 0.05
LEARNING_RATE = 5e-5

WHOLE_REFERENCE = False


def inputs(tiny):
    """The logarithms of the four rates (4,), the populations (2,) at the start, the data (t, 2), the turns of descent."""
    times, turns = (10, 2) if tiny else (200, 20)
    start = np.array([1.0, 0.8])
    data = trajectory(np.array([1.1, 0.4, 0.4, 0.3]), start, times)
    return np.log(np.array([1.0, 0.5, 0.45, 0.25])), start, data, np.arange(turns)


def change(xp, y, rates):
    """dy/dt: prey grow and are eaten, predators grow by eating and die."""
    prey, predators = y[0], y[1]
    eaten = prey * predators
    return xp.stack([rates[0] * prey - rates[1] * eaten, rates[2] * eaten - rates[3] * predators])


def runge_kutta(xp, y, rates):
    """One step of the classical method of order 4."""
    k1 = change(xp, y, rates)
    k2 = change(xp, y + 0.5 * STEP * k1, rates)
    k3 = change(xp, y + 0.5 * STEP * k2, rates)
    k4 = change(xp, y + STEP * k3, rates)
    return y + STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def trajectory(rates, y, times):
    """The populations after each of `times` steps, in plain NumPy."""
    states = []
    for _ in range(times):
        y = runge_kutta(np, y, rates)
        states.append(y)
    return np.stack(states)


def program(m):
    """The logarithms of the rates after the descent, and the loss at the start of each turn."""
    xp, lax = m.numpy, m.lax

    def loss(logs, start, data):
        rates = xp.exp(logs)

        def step(y, observed):
            y = runge_kutta(xp, y, rates)
            return y, xp.sum((y - observed) ** 2)

        return xp.sum(lax.scan(step, start, data)[1])

    def fit(logs, start, data, turns):
        def descend(logs, _):
            value, gradient = m.value_and_grad(loss)(logs, start, data)
            return logs - LEARNING_RATE * gradient, value

        logs, losses = lax.scan(descend, logs, turns)
        return {"logs": logs, "losses": losses}

    return fit


def reference(logs, start, data, turns):
    """The same descent with central differences of order 4 for derivatives."""

    def loss(logs):
        return np.sum((trajectory(np.exp(logs), start, len(data)) - data) ** 2)

    h = 1e-3
    losses = []
    for _ in turns:
        losses.append(loss(logs))
        logs = logs - LEARNING_RATE * np.array(
            [
                (8 * (loss(logs + h * e) - loss(logs - h * e)) - loss(logs + 2 * h * e) + loss(logs - 2 * h * e))
                / (12 * h)
                for e in np.eye(4)
            ]
        )
    return {"logs": logs, "losses": np.array(losses)}
