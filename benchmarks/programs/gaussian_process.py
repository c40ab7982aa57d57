"""The log marginal likelihood of a Gaussian process, by a Cholesky factor, and its gradient by the hyper-parameters."""

import math

import numpy as np

WHOLE_REFERENCE = True


def inputs(tiny):
    """The logarithms of scale, amplitude and noise (3,), points (n, 2), values (n,)."""
    n = 6 if tiny else 200
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, 2))
    return np.log(np.array([0.8, 1.2, 0.3])), x, np.sin(x[:, 0]) + 0.3 * rng.normal(size=n)


def program(m):
    """The likelihood and its gradient."""
    xp, cho_solve = m.numpy, m.scipy.linalg.cho_solve

    def likelihood(logs, x, y):
        scale, amplitude, noise = xp.exp(logs)
        squares = xp.sum((x[:, None, :] - x[None, :, :]) ** 2, axis=-1)
        k = amplitude**2 * xp.exp(-0.5 * squares / scale**2) + noise**2 * xp.eye(len(y))
        factor = xp.linalg.cholesky(k)
        fit = 0.5 * y @ cho_solve((factor, True), y)
        return -fit - xp.sum(xp.log(xp.diagonal(factor))) - 0.5 * len(y) * math.log(2 * math.pi)

    def evaluate(logs, x, y):
        value, gradient = m.value_and_grad(likelihood)(logs, x, y)
        return {"gradient": gradient, "value": value}

    return evaluate


def reference(logs, x, y):
    """With the gradient tr((a a^T - K^-1) dK) / 2, a = K^-1 y (Rasmussen and Williams 2006, equation 5.9)."""
    scale, amplitude, noise = np.exp(logs)
    squares = np.sum((x[:, None, :] - x[None, :, :]) ** 2, axis=-1)
    signal = amplitude**2 * np.exp(-0.5 * squares / scale**2)
    k = signal + noise**2 * np.eye(len(y))
    inverse = np.linalg.inv(k)
    a = inverse @ y
    by_logs = (signal * squares / scale**2, 2 * signal, 2 * noise**2 * np.eye(len(y)))
    value = -0.5 * y @ a - 0.5 * np.linalg.slogdet(k)[1] - 0.5 * len(y) * math.log(2 * math.pi)
    inner = np.outer(a, a) - inverse
    return {"gradient": np.array([0.5 * np.sum(inner * d) for d in by_logs]), "value": value}
