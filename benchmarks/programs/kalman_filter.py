"""A Kalman filter as a scan: the state means, and the gradient of the likelihood by the two variances."""

import math

import numpy as np

TRANSITION = np.array([[1.0, 0.1], [0.0, 1.0]])

WHOLE_REFERENCE = False


def inputs(tiny):
    """The logarithms of the variances of state and measurement (2,), and the measured positions (t,)."""
    times = 6 if tiny else 500
    rng = np.random.default_rng(5)
    return np.log(np.array([0.05, 0.5])), np.sin(0.05 * np.arange(times)) + 0.3 * rng.normal(size=times)


def program(m):
    """The likelihood, its gradient, and the filtered means."""
    return lambda logs, measured: evaluate(m, logs, measured)


def evaluate(m, logs, measured):
    xp, lax = m.numpy, m.lax

    def likelihood(logs, measured):
        q, r = xp.exp(logs)

        def step(state, z):
            mean, covariance = state
            mean = TRANSITION @ mean
            covariance = TRANSITION @ covariance @ TRANSITION.T + q * xp.eye(2)
            surprise, variance = z - mean[0], covariance[0, 0] + r
            gain = covariance[:, 0] / variance
            mean = mean + gain * surprise
            covariance = covariance - xp.outer(gain, covariance[0])
            density = -0.5 * (surprise**2 / variance + xp.log(variance) + math.log(2 * math.pi))
            return (mean, covariance), (density, mean)

        _, (densities, means) = lax.scan(step, (xp.zeros(2), xp.eye(2)), measured)
        return xp.sum(densities), means

    (value, means), gradient = m.value_and_grad(likelihood, has_aux=True)(logs, measured)
    return {"gradient": gradient, "means": means, "value": value}


def reference(logs, measured):
    """The likelihood and the means."""
    q, r = np.exp(logs)
    mean, covariance, value, means = np.zeros(2), np.eye(2), 0.0, []
    for z in measured:
        mean = TRANSITION @ mean
        covariance = TRANSITION @ covariance @ TRANSITION.T + q * np.eye(2)
        variance = covariance[0, 0] + r
        gain = covariance[:, 0] / variance
        value -= 0.5 * ((z - mean[0]) ** 2 / variance + np.log(2 * math.pi * variance))
        mean = mean + gain * (z - mean[0])
        covariance = covariance - np.outer(gain, covariance[0])
        means.append(mean)
    return {"means": np.stack(means), "value": value}
