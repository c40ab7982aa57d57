"""Newton's steps for logistic regression: the Hessian by forward over reverse mode."""

import numpy as np

PENALTY = 0.1

WHOLE_REFERENCE = True


def inputs(tiny):
    """Weights (d,), features (n, d), labels (n,) in {0, 1}, and the numbers of the steps."""
    n, d, steps = (10, 3, 2) if tiny else (1000, 20, 5)
    rng = np.random.default_rng(4)
    x = rng.normal(size=(n, d))
    labels = (x @ rng.normal(size=d) + rng.normal(size=n) > 0).astype(float)
    return np.zeros(d), x, labels, np.arange(steps)


def program(m):
    """The weights after the steps, and the Hessian there."""
    xp, lax = m.numpy, m.lax

    def loss(w, x, labels):
        z = x @ w
        return xp.sum(xp.logaddexp(0.0, z) - labels * z) + 0.5 * PENALTY * xp.sum(w**2)

    def solve(w, x, labels, steps):
        def newton(w, _):
            return w - xp.linalg.solve(m.hessian(loss)(w, x, labels), m.grad(loss)(w, x, labels)), None

        w, _ = lax.scan(newton, w, steps)
        return {"hessian": m.hessian(loss)(w, x, labels), "weights": w}

    return solve


def reference(w, x, labels, steps):
    def derivatives(w):
        p = 1 / (1 + np.exp(-(x @ w)))
        return x.T @ (p - labels) + PENALTY * w, (x.T * (p * (1 - p))) @ x + PENALTY * np.eye(len(w))

    for _ in steps:
        gradient, hessian = derivatives(w)
        w = w - np.linalg.solve(hessian, gradient)
    return {"hessian": derivatives(w)[1], "weights": w}
