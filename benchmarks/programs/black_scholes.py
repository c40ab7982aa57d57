"""European calls after Black and Scholes (1973): prices, and the Greeks as derivatives, second ones too."""

import math

import numpy as np

WHOLE_REFERENCE = True


def inputs(tiny):
    """Spot, strike, time to maturity, rate and volatility, (n,) each."""
    n = 5 if tiny else 10_000
    rng = np.random.default_rng(2)
    ranges = ((80, 120), (80, 120), (0.1, 2.0), (0.0, 0.05), (0.1, 0.5))
    return tuple(rng.uniform(low, high, n) for low, high in ranges)


def program(m):
    """Price, delta, gamma, theta, rho and vega of each option."""
    xp, lax = m.numpy, m.lax

    def normal(x):
        return 0.5 * (1 + lax.erf(x / math.sqrt(2)))

    def price(spot, strike, time, rate, volatility):
        width = volatility * xp.sqrt(time)
        d = (xp.log(spot / strike) + (rate + 0.5 * volatility**2) * time) / width
        return spot * normal(d) - strike * xp.exp(-rate * time) * normal(d - width)

    def greeks(*option):
        value, (delta, _, dtime, rho, vega) = m.value_and_grad(price, argnums=(0, 1, 2, 3, 4))(*option)
        gamma = m.grad(m.grad(price))(*option)
        return {"delta": delta, "gamma": gamma, "price": value, "rho": rho, "theta": -dtime, "vega": vega}

    return m.vmap(greeks)


def reference(spot, strike, time, rate, volatility):
    normal = np.vectorize(lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2))))
    root = np.sqrt(time)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * time) / (volatility * root)
    d2 = d1 - volatility * root
    density = np.exp(-0.5 * d1**2) / math.sqrt(2 * math.pi)
    discounted = strike * np.exp(-rate * time)
    return {
        "delta": normal(d1),
        "gamma": density / (spot * volatility * root),
        "price": spot * normal(d1) - discounted * normal(d2),
        "rho": discounted * time * normal(d2),
        "theta": -spot * density * volatility / (2 * root) - rate * discounted * normal(d2),
        "vega": spot * density * root,
    }
