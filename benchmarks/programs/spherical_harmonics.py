"""Real spherical harmonics by recurrence in degree and order, and their derivatives by the polar angle."""

import math

import numpy as np

WHOLE_REFERENCE = False


def inputs(tiny):
    """Polar and azimuthal angles (n,), and the coefficients of an expansion, one for each (l, m)."""
    n, degree = (3, 3) if tiny else (1000, 8)
    rng = np.random.default_rng(10)
    return rng.uniform(0.2, 2.9, n), rng.uniform(0, 6.2, n), rng.normal(size=(degree + 1) ** 2)


def norm(l, m):
    """The factor of the orthonormal real harmonic of degree l and order m."""
    both = math.sqrt(2) if m else 1.0
    return both * math.sqrt((2 * l + 1) / (4 * math.pi) * math.factorial(l - m) / math.factorial(l + m))


def program(m):
    """The harmonics (n, (L+1)^2), and the derivatives of the expansion by both angles."""
    xp = m.numpy

    def harmonics(theta, phi, degree):
        c, s = xp.cos(theta), xp.sin(theta)
        p = {(0, 0): xp.ones_like(c)}
        for k in range(degree + 1):
            if k:
                p[k, k] = (2 * k - 1) * s * p[k - 1, k - 1]
            if k < degree:
                p[k + 1, k] = (2 * k + 1) * c * p[k, k]
            for l in range(k + 2, degree + 1):
                p[l, k] = ((2 * l - 1) * c * p[l - 1, k] - (l + k - 1) * p[l - 2, k]) / (l - k)
        columns = []
        for l in range(degree + 1):
            for k in range(-l, l + 1):
                angle = xp.cos(k * phi) if k >= 0 else xp.sin(-k * phi)
                columns.append(norm(l, abs(k)) * p[l, abs(k)] * angle)
        return xp.stack(columns, axis=-1)

    def evaluate(theta, phi, coefficients):
        degree = math.isqrt(len(coefficients)) - 1

        def total(theta, phi):
            y = harmonics(theta, phi, degree)
            return xp.sum(y @ coefficients), y

        (by_theta, by_phi), y = m.grad(total, argnums=(0, 1), has_aux=True)(theta, phi)
        return {"by_phi": by_phi, "by_theta": by_theta, "harmonics": y}

    return evaluate


def reference(theta, phi, coefficients):
    """From the derivatives of Legendre polynomials, P_l^m = sin^m d^m P_l / dx^m; no recurrence."""
    degree = math.isqrt(len(coefficients)) - 1
    c, s = np.cos(theta), np.sin(theta)
    values, by_theta, by_phi = [], [], []
    for l in range(degree + 1):
        for k in range(-l, l + 1):
            order = abs(k)
            polynomial = np.polynomial.Legendre.basis(l).deriv(order) if order else np.polynomial.Legendre.basis(l)
            p, slope = polynomial(c), polynomial.deriv()(c)
            angle = np.cos(k * phi) if k >= 0 else np.sin(-k * phi)
            turned = -k * np.sin(k * phi) if k >= 0 else -k * np.cos(-k * phi)
            tilted = (order * s ** (order - 1) * c * p if order else 0.0) - s ** (order + 1) * slope
            values.append(norm(l, order) * s**order * p * angle)
            by_theta.append(norm(l, order) * tilted * angle)
            by_phi.append(norm(l, order) * s**order * p * turned)
    return {
        "by_phi": np.stack(by_phi, -1) @ coefficients,
        "by_theta": np.stack(by_theta, -1) @ coefficients,
        "harmonics": np.stack(values, -1),
    }
