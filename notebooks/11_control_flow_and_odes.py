# %% [markdown]
# # 11 Control flow, and the derivative of an ODE solver
#
# A differential equation solver is a loop. Differentiate the loop, and the parameters of an equation can be fitted to data like
# the weights of a network.

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax, optim

# %% [markdown]
# ## Three loops
#
# | loop | number of steps | derivatives |
# | --- | --- | --- |
# | `lax.scan` | known, one output a step | forward and reverse |
# | `lax.fori_loop` | known | forward and reverse |
# | `lax.while_loop` | known only when it ends | forward |
#
# Reverse mode must keep what each step needs on the way back. How much that is must be known for a loop whose steps are one
# equation; a `while_loop` says so, and what to use instead.


# %%
def collatz(n):
    """How many steps until n is 1."""
    step = lambda c: (lax.cond(c[0] % 2 == 0, lambda n: n // 2, lambda n: 3 * n + 1, c[0]), c[1] + 1)
    return lax.while_loop(lambda c: c[0] > 1, step, (n, 0))[1]


steps = fg.vmap(collatz)(np.arange(1, 10))  # each runs as long as it needs
print(steps)
assert steps.tolist() == [0, 1, 7, 2, 5, 8, 16, 3, 19]

try:
    fg.grad(lambda x: lax.while_loop(lambda x: x < 100.0, lambda x: x * x, x))(3.0)
except fg.errors.MissingRuleError as error:
    print(str(error).split("\n")[0].split(". ")[0])

# %% [markdown]
# ## A solver
#
# The classical Runge-Kutta method for $\dot u = f(u, \theta)$, of fourth order, as a scan over time. Our equation is that of Lotka
# and Volterra, for hares $h$ and lynxes $l$:
#
# $$\dot h = \alpha h - \beta h l, \qquad \dot l = -\gamma l + \delta h l.$$


# %%
def predator_prey(u, theta):
    h, l = u
    alpha, beta, gamma, delta = theta
    return fnp.stack([alpha * h - beta * h * l, -gamma * l + delta * h * l])


def solve(theta, u, dt=0.05, count=240):
    """The solution after each step, of shape (count, 2)."""

    def step(u, _):
        k1 = predator_prey(u, theta)
        k2 = predator_prey(u + dt / 2 * k1, theta)
        k3 = predator_prey(u + dt / 2 * k2, theta)
        k4 = predator_prey(u + dt * k3, theta)
        u = u + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return u, u

    return lax.scan(step, u, None, length=count)[1]


truth, start = np.array([1.1, 0.4, 0.8, 0.2]), np.array([3.0, 1.0])
times = 0.05 * np.arange(1, 241)
solution = fg.jit(solve)(truth, start)

reference = solve_ivp(lambda t, u: predator_prey(u, truth), (0, times[-1]), start, t_eval=times, rtol=1e-10, atol=1e-10)
np.testing.assert_allclose(solution, reference.y.T, rtol=1e-3)

# %% [markdown]
# ## Its derivative
#
# `jacfwd` gives the derivatives of the whole solution by the four parameters. Another way to the same numbers is to derive a
# differential equation for them, the *variational equation* $\dot S = \partial_u f\, S + \partial_\theta f$, and to let SciPy solve
# that.

# %%
sensitivity = fg.jit(fg.jacfwd(solve))(truth, start)  # (240, 2, 4)


def variational(t, y):
    u, s = y[:2], y[2:].reshape(2, 4)
    by_u, by_theta = fg.jacfwd(predator_prey, argnums=(0, 1))(u, truth)
    return np.concatenate([predator_prey(u, truth), (by_u @ s + by_theta).ravel()])


check = solve_ivp(variational, (0, 6), np.concatenate([start, np.zeros(8)]), t_eval=[6.0], rtol=1e-9, atol=1e-9)
np.testing.assert_allclose(sensitivity[119].ravel(), check.y[2:, 0], rtol=2e-3, atol=2e-3)

_, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.2))
left.plot(times, solution, label=["hares", "lynxes"])
left.set(xlabel="time", ylabel="population")
left.legend()
right.plot(times, sensitivity[:, 0], label=[rf"by $\{n}$" for n in ("alpha", "beta", "gamma", "delta")])
right.set(xlabel="time", title="derivatives of the hares")
right.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## A fit
#
# Now from noisy observations back to the parameters. A loss is one number of four parameters, so reverse mode it is, backwards
# through 240 steps. Parameters are positive, so we fit their logarithms.

# %%
data = solution * np.exp(0.05 * np.random.default_rng(0).normal(size=solution.shape))
loss = lambda log_theta: fnp.mean((fnp.log(solve(fnp.exp(log_theta), start)) - fnp.log(data)) ** 2)

guess = np.log(truth * np.array([0.85, 1.2, 1.15, 0.85]))
fg.testing.check_grads(loss, (guess,))
optimizer = optim.adam(0.02)


@fg.jit
def fit(p):
    def step(carry, _):
        p, state = carry
        value, gradient = fg.value_and_grad(loss)(p)
        updates, state = optimizer.update(gradient, state, p)
        return (optim.apply_updates(p, updates), state), value

    (p, _), values = lax.scan(step, (p, optimizer.init(p)), None, length=250)
    return p, values


fitted, values = fit(guess)
found = np.exp(fitted)
np.testing.assert_allclose(found, truth, rtol=0.03)
print("fitted", found.round(2), " true", truth)

_, ax = plt.subplots()
ax.plot(times[::4], data[::4], ".", ms=4)
ax.set_prop_cycle(None)
ax.plot(times, solve(np.exp(guess), start), "--", lw=1)
ax.set_prop_cycle(None)
ax.plot(times, solve(found, start), label=["hares", "lynxes"])
ax.set(xlabel="time", ylabel="population", title="points: data; dashed: first guess; lines: fit")
ax.legend(loc="upper center")
plt.show()

# %% [markdown]
# ## Memory
#
# Backwards, the scan keeps the residuals of all of its steps. `checkpoint` around the step keeps its input only, and computes the
# rest again: more time, less memory, the same numbers.

# %%
shorter = lambda theta, step: fnp.sum(lax.scan(step, start, None, length=50)[0] * theta[0])
euler = lambda theta: lambda u, _: (u + 0.05 * predator_prey(u, theta), None)
plain = fg.grad(lambda theta: shorter(theta, euler(theta)))(truth)
saving = fg.grad(lambda theta: shorter(theta, fg.checkpoint(euler(theta))))(truth)
np.testing.assert_allclose(saving, plain, rtol=1e-12)

# %% [markdown]
# **Next:** `10_custom_derivatives` for loops whose derivative needs no loop.
