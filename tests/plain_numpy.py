"""Realistic functions that know NumPy only, each with arguments to try it on.

Nothing here imports or mentions funcgrad: this is the code that users already have. ``EXAMPLES`` maps a function's name
to the function and its arguments; all floating-point arguments are meant to be differentiated.
"""

import numpy as np

EXAMPLES = {}
_rng = np.random.default_rng(20)


def example(*args):
    """Register a function with its arguments."""

    def register(f):
        EXAMPLES[f.__name__] = (f, args)
        return f

    return register


def normal(*shape):
    return _rng.standard_normal(shape)


def uniform(low, high, *shape):
    return _rng.uniform(low, high, shape)


def positive_definite(n):
    a = normal(n, n)
    return a @ a.T + n * np.eye(n)


# Regression and classification ----------------------------------------------------------------------------------------


@example(normal(3), normal(8, 3), normal(8))
def least_squares_residuals(w, x, y):
    return (y - x @ w) / np.sqrt(len(y))


@example(normal(3), normal(8, 3), 3.0 * normal(8))
def robust_regression_loss(w, x, y):
    """Tukey's biweight: residuals beyond c count alike."""
    c = 4.685
    r = np.clip((y - np.dot(x, w)) / c, -1, 1)
    return np.mean(c**2 / 6 * (1 - (1 - r**2) ** 3))


@example(normal(9), normal(9), 0.7)
def huber(prediction, target, delta):
    error = np.abs(prediction - target)
    small = np.minimum(error, delta)
    return np.sum(0.5 * small**2 + delta * (error - small))


@example(normal(9), normal(9))
def quantile_loss(prediction, target):
    levels = np.array([0.1, 0.5, 0.9])
    error = (target - prediction)[:, None]
    return np.maximum(levels * error, (levels - 1) * error).mean(axis=0)


@example(normal(3), 0.3, normal(7, 3), np.array([0, 1, 1, 0, 1, 0, 1]))
def logistic_regression(w, b, x, y):
    logits = x @ w + b
    penalty = 0.01 * np.sum(w**2)
    return np.mean(np.logaddexp(0, logits) - y * logits) + penalty


@example(normal(4, 3), normal(3), normal(6, 4), np.array([0, 2, 1, 1, 0, 2]))
def softmax_classifier(weights, bias, x, labels):
    logits = x @ weights + bias
    logits = logits - logits.max(axis=1, keepdims=True)
    log_probability = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
    return -log_probability[np.arange(len(labels)), labels].mean()


@example(normal(5, 3), normal(5, 3))
def cross_entropy(logits, targets):
    p = np.exp(targets) / np.exp(targets).sum(-1, keepdims=True)
    return -(p * (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))).sum(-1)


@example(uniform(0.1, 1.0, 6))
def entropy(weights):
    p = weights / weights.sum()
    return -np.sum(np.where(p > 0, p * np.log2(p), 0.0))


@example(normal(4), uniform(0.0, 1.0, 10), normal(10))
def polynomial_fit_residual(coefficients, x, y):
    return np.linalg.norm(np.vander(x, len(coefficients), increasing=True) @ coefficients - y)


@example(normal(5), uniform(0.0, 1.0, 6))
def horner(coefficients, x):
    y = np.zeros_like(x)
    for c in coefficients:
        y = y * x + c
    return y


@example(uniform(0.0, 5.0, 6), uniform(0.0, 5.0, 8), normal(8), 0.8)
def kernel_regression(queries, points, values, width):
    weights = np.exp(-0.5 * ((queries[:, np.newaxis] - points[np.newaxis, :]) / width) ** 2)
    return (weights @ values) / weights.sum(axis=1)


@example(normal(6, 2), normal(6), 0.9, 0.2)
def gaussian_process_likelihood(x, y, scale, noise):
    distance = np.sum((x[:, None, :] - x[None, :, :]) ** 2, axis=-1)
    k = np.exp(-0.5 * distance / scale**2) + noise * np.eye(len(x))
    factor = np.linalg.cholesky(k)
    alpha = np.linalg.solve(factor.T, np.linalg.solve(factor, y))
    return -0.5 * y @ alpha - np.log(np.diag(factor)).sum() - 0.5 * len(x) * np.log(2 * np.pi)


# Neural networks ------------------------------------------------------------------------------------------------------


@example({"w1": normal(3, 5), "b1": normal(5), "w2": normal(5, 2), "b2": normal(2)}, normal(4, 3))
def one_hidden_layer(params, x):
    hidden = np.tanh(x @ params["w1"] + params["b1"])
    return hidden @ params["w2"] + params["b2"]


@example(normal(4, 4), normal(2, 4), normal(4), normal(6, 2))
def recurrent_network(w_state, w_input, bias, sequence):
    state = np.zeros(4, dtype=sequence.dtype)
    states = []
    for row in sequence:
        state = np.tanh(state @ w_state + row @ w_input + bias)
        states.append(state)
    return np.stack(states)


@example(normal(2, 5, 4), normal(2, 5, 4), normal(2, 5, 3))
def causal_attention(q, k, v):
    scores = np.einsum("hid,hjd->hij", q, k) / np.sqrt(q.shape[-1])
    future = np.triu(np.ones(scores.shape[-2:], dtype=bool), k=1)
    scores = np.where(future, -np.inf, scores)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights @ v


@example(normal(6, 4), normal(4), normal(4))
def batch_norm(x, scale, shift):
    return scale * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) + shift


@example(normal(3, 5), normal(5), normal(5))
def layer_norm(x, scale, shift):
    mean = np.mean(x, axis=-1, keepdims=True)
    deviation = np.std(x, axis=-1, keepdims=True)
    return (x - mean) / (deviation + 1e-6) * scale + shift


@example(3.0 * normal(8), 1.5)
def softplus(x, sharpness):
    z = sharpness * x
    return (np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))) / sharpness


@example(normal(2, 8, 8), normal(3, 2, 3, 3))
def convolution_layer(image, kernels):
    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(1, 2))
    return np.maximum(np.einsum("chwij,ocij->ohw", windows, kernels), 0)


# Geometry and statistics ----------------------------------------------------------------------------------------------


@example(normal(6), normal(6))
def cosine_similarity(a, b):
    return np.vdot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))


@example(normal(4, 3), normal(5, 3))
def pairwise_distances(a, b):
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squared, 1e-12))


@example(normal(9, 2), normal(3, 2))
def k_means_distance(points, centres):
    distance = np.linalg.norm(points[:, None] - centres, axis=-1)
    nearest = np.argmin(distance, axis=1)
    return np.sum((points - centres[nearest]) ** 2) / len(points)


@example(normal(7, 4), normal(4))
def pca_objective(data, direction):
    centred = data - data.mean(0)
    unit = direction / np.sqrt(direction @ direction)
    return np.square(centred @ unit).sum() / np.square(centred).sum()


@example(normal(8, 3))
def principal_variances(data):
    centred = data - np.mean(data, axis=0)
    return np.linalg.eigvalsh(centred.T @ centred / (len(data) - 1))[::-1]


@example(normal(3), normal(3), positive_definite(3))
def mahalanobis(x, mean, covariance):
    d = x - mean
    return np.sqrt(d @ np.linalg.inv(covariance) @ d)


@example(normal(4, 3))
def gram_schmidt(a):
    basis = []
    for column in a.T:
        for q in basis:
            column = column - (q @ column) * q
        basis.append(column / np.linalg.norm(column))
    return np.column_stack(basis)


@example(uniform(-3.0, 3.0, 8))
def circular_statistics(angles):
    z = np.exp(1j * angles).mean()
    return np.angle(z), np.sqrt(-2 * np.log(np.abs(z)))


@example(normal(12))
def autocorrelation(x):
    d = x - x.mean()
    full = np.correlate(d, d, mode="full")
    return full[len(x) - 1 :] / full[len(x) - 1]


@example(normal(10))
def moving_average(x):
    total = np.cumsum(x)
    return np.concatenate([total[2:3], total[3:] - total[:-3]]) / 3


@example(normal(6), normal(20, 6))
def portfolio_variance(weights, returns):
    w = np.exp(weights) / np.exp(weights).sum()
    return w @ np.cov(returns, rowvar=False) @ w, (returns @ w).mean()


@example(normal(9))
def trimmed_summary(x):
    ordered = np.sort(x)
    return np.hstack([ordered[2:-2].mean(), np.median(x), np.quantile(x, [0.25, 0.75]), np.ptp(x)])


@example(normal(4, 4), uniform(0.1, 1.0, 4))
def markov_chain_power(logits, start):
    transition = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return start / start.sum() @ np.linalg.matrix_power(transition, 5)


# Physics and differential equations -----------------------------------------------------------------------------------


@example(normal(5, 3), uniform(0.5, 2.0, 5))
def n_body_energy(positions, masses):
    i, j = np.triu_indices(len(masses), k=1)
    distance = np.sqrt(((positions[i] - positions[j]) ** 2).sum(axis=-1) + 0.01)
    return -np.sum(masses[i] * masses[j] / distance)


@example(normal(2), 0.1, 0.3)
def runge_kutta_step(state, dt, damping):
    """A damped pendulum."""

    def rate(s):
        return np.stack([s[1], -np.sin(s[0]) - damping * s[1]])

    k1 = rate(state)
    k2 = rate(state + dt / 2 * k1)
    k3 = rate(state + dt / 2 * k2)
    k4 = rate(state + dt * k3)
    return state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


@example(uniform(0.5, 2.0, 2), uniform(0.3, 1.0, 4))
def lotka_volterra(populations, rates):
    prey, predators = populations
    growth, hunt, gain, death = rates
    for _ in range(8):
        prey, predators = (
            prey + 0.05 * (growth * prey - hunt * prey * predators),
            predators + 0.05 * (gain * prey * predators - death * predators),
        )
    return np.stack((prey, predators))


@example(normal(6, 7), 0.2)
def heat_equation(u, diffusivity):
    for _ in range(3):
        inner = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1]
        u = u + np.pad(diffusivity * inner, 1)
    return u


@example(uniform(0.1, 2.0, 5), 0.4, 2.0)
def damped_oscillation(t, damping, frequency):
    shifted = np.sqrt(frequency**2 - damping**2)
    return np.exp(-damping * t) * (np.cos(shifted * t) + damping / shifted * np.sin(shifted * t))


@example(normal(10), 0.2)
def leaky_integrator(inputs, leak):
    level = 0.0
    trace = []
    for x in inputs:
        level = (1 - leak) * level + leak * x
        trace.append(level)
    return np.hstack(trace)


@example(normal(2), np.eye(2) + 0.1 * normal(2, 2), normal(5, 1), 0.3)
def kalman_filter(state, transition, measurements, noise):
    observe = np.array([[1.0, 0.5]])
    covariance = np.eye(2)
    log_likelihood = 0.0
    for z in measurements:
        state = transition @ state
        covariance = transition @ covariance @ transition.T + 0.1 * np.eye(2)
        innovation = z - observe @ state
        s = observe @ covariance @ observe.T + noise * np.eye(1)
        gain = covariance @ observe.T @ np.linalg.inv(s)
        state = state + gain @ innovation
        covariance = (np.eye(2) - gain @ observe) @ covariance
        _, log_det = np.linalg.slogdet(2 * np.pi * s)
        log_likelihood -= 0.5 * (log_det + innovation @ np.linalg.solve(s, innovation))
    return state, log_likelihood


@example(uniform(0.2, 1.0, 3), 0.02, 0.4)
def black_scholes(maturity, rate, volatility):
    """The call on a stock at 100, by the logistic approximation of the normal distribution function."""
    spot, strike = 100.0, np.array([90.0, 100.0, 110.0])

    def cdf(x):
        return 1 / (1 + np.exp(-1.5976 * x - 0.070566 * x**3))

    d1 = (np.log(spot / strike) + (rate + volatility**2 / 2) * maturity) / (volatility * np.sqrt(maturity))
    d2 = d1 - volatility * np.sqrt(maturity)
    return spot * cdf(d1) - strike * np.exp(-rate * maturity) * cdf(d2)


# Signals, images and curves -------------------------------------------------------------------------------------------


@example(normal(6), uniform(0.05, 0.95, 9))
def cubic_spline(values, where):
    """The natural cubic spline through equally spaced values on [0, 1]."""
    n = len(values)
    h = 1 / (n - 1)
    system = np.diag(np.full(n - 2, 4.0)) + np.diag(np.ones(n - 3), 1) + np.diag(np.ones(n - 3), -1)
    bend = np.concatenate([[0.0], np.linalg.solve(system, 6 * np.diff(values, 2) / h**2), [0.0]])
    i = np.searchsorted(np.linspace(0, 1, n), where) - 1
    right = where / h - i
    left = 1 - right
    cubic = (left**3 - left) * bend[i] + (right**3 - right) * bend[i + 1]
    return left * values[i] + right * values[i + 1] + cubic * h**2 / 6


@example(normal(16), 0.2)
def fft_filter(signal, cutoff):
    spectrum = np.fft.rfft(signal)
    frequencies = np.fft.rfftfreq(len(signal))
    return np.fft.irfft(spectrum / (1 + (frequencies / cutoff) ** 4), n=len(signal))


@example(normal(16))
def power_spectrum(signal):
    windowed = signal * np.hanning(len(signal))
    return np.abs(np.fft.fft(windowed))[: len(signal) // 2] ** 2


@example(normal(4), normal(4), uniform(0.0, 6.0, 5))
def fourier_series(a, b, t):
    k = np.arange(1, len(a) + 1)
    phase = np.outer(t, k)
    return np.cos(phase) @ a + np.sin(phase) @ b


@example(normal(7, 8))
def sobel(image):
    across = image[:, 2:] - image[:, :-2]
    gx = across[:-2] + 2 * across[1:-1] + across[2:]
    down = image[2:] - image[:-2]
    gy = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    return np.hypot(gx, gy)


@example(normal(5, 6))
def total_variation(image):
    gy, gx = np.gradient(image)
    return np.sum(np.sqrt(gx**2 + gy**2 + 1e-3))


@example(normal(9), 2.0)
def trapezoid_integral(y, width):
    x = np.linspace(0.0, width, len(y))
    return np.trapezoid(y**2, x), np.sum((y[1:] + y[:-1]) / 2 * np.diff(x))


@example(uniform(0.1, 0.9, 6), normal(5))
def table_lookup(x, values):
    return np.interp(x, np.linspace(0, 1, 5), values)


@example(normal(6), normal(3))
def smoothing(signal, kernel):
    padded = np.pad(signal, 1, mode="edge")
    return np.convolve(padded, kernel / np.abs(kernel).sum(), mode="valid")


@example(normal(3), normal(4, 3))
def rotate_by_vector(axis, points):
    """Rodrigues' formula."""
    angle = np.linalg.norm(axis)
    unit = axis / angle
    along = (points @ unit)[:, None] * unit
    return points * np.cos(angle) + np.cross(unit, points) * np.sin(angle) + along * (1 - np.cos(angle))


@example(normal(8))
def heat_equation_in_place(initial):
    """Explicit steps of u_t = u_xx with insulated ends, each written over the last."""
    u = initial.copy()
    for _ in range(4):
        flux = np.diff(u)
        u[1:-1] += 0.2 * np.diff(flux)
        u[0] += 0.2 * flux[0]
        u[-1] -= 0.2 * flux[-1]
    return u


@example(normal(6), uniform(0.1, 0.5, 2))
def kalman_filter_into_an_array(measured, noise):
    """Position and speed from positions: the means are written into an array made beforehand."""
    step = np.array([[1.0, 1.0], [0.0, 1.0]])
    mean, covariance = np.zeros(2, like=measured), np.eye(2, like=measured)
    means = np.empty_like(measured)
    for i, z in enumerate(measured):
        mean = step @ mean
        covariance = step @ covariance @ step.T
        covariance += noise[0] * np.eye(2)
        gain = covariance[:, 0] / (covariance[0, 0] + noise[1])
        mean += gain * (z - mean[0])
        covariance -= np.outer(gain, covariance[0])
        means[i] = mean[0]
    return means


@example(normal(5), normal(5))
def back_substitution(x, y):
    """The solution of an upper bidiagonal system, from the last row up."""
    result = np.zeros_like(x)
    result[-1] = y[-1]
    for i in range(len(x) - 2, -1, -1):
        result[i] = y[i] - 0.3 * x[i] * result[i + 1]
    return result
