"""Derives `funcgrad_llvm/math/coefficients.py`: run `python tests/minimax.py` from the repository's root to write it anew.

Remez' exchange algorithm finds, for a function g and a weight w on an interval, the polynomial p of a degree that
minimises max |w (g - p)|: it alternates between solving for the p whose weighted error has equal size and alternating
sign at n + 2 points, and moving these points to the extrema of the error. Coefficients must be floating-point numbers:
they are rounded one after the other, the most significant first, and what remains is fitted again each time, so that
later coefficients make up for the rounding of earlier ones.
"""

import struct
from pathlib import Path

import mpmath as mp

mp.mp.dps = 60


def round_to(x, bits):
    """x to the nearest float32 or float64."""
    return mp.mpf(struct.unpack("f", struct.pack("f", float(x)))[0]) if bits == 32 else mp.mpf(float(x))


def chebyshev_points(low, high, n):
    return [(low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * i / (n - 1)) for i in reversed(range(n))]


def remez(g, w, low, high, exponents):
    """Coefficients of the minimax combination of the monomials, and the largest weighted error."""
    n = len(exponents)
    grid = chebyshev_points(low, high, 40 * (n + 2))
    values, weights = [g(x) for x in grid], [w(x) for x in grid]
    powers = [[x**e for e in exponents] for x in grid]
    chosen = [round(i * (len(grid) - 1) / n) for i in range(n + 1)]
    for _ in range(30):
        system = mp.matrix(n + 1, n + 1)
        right = mp.matrix(n + 1, 1)
        for row, i in enumerate(chosen):
            for column in range(n):
                system[row, column] = weights[i] * powers[i][column]
            system[row, n] = (-1) ** row
            right[row] = weights[i] * values[i]
        solution = mp.lu_solve(system, right)
        coefficients, level = list(solution[:n]), abs(solution[n])
        error = [u * (v - mp.fsum(c * q for c, q in zip(coefficients, p))) for u, v, p in zip(weights, values, powers)]
        # One extremum for each run of equal sign; where there are too many, the small end runs go.
        runs = []
        for i, e in enumerate(error):
            if runs and (e >= 0) == (error[runs[-1]] >= 0):
                if abs(e) > abs(error[runs[-1]]):
                    runs[-1] = i
            else:
                runs.append(i)
        while len(runs) > n + 1:
            runs.pop(0 if abs(error[runs[0]]) < abs(error[runs[-1]]) else -1)
        largest = max(abs(e) for e in error)
        if len(runs) < n + 1 or largest <= level * mp.mpf("1.001"):
            break
        chosen = runs
    return coefficients, largest


def fit(g, w, low, high, degree, bits):
    """The same with coefficients of the format. What rounding a coefficient changes, the later ones make up for: by
    least squares, as the powers from x^k on are no Chebyshev system where the interval contains 0."""
    low, high = mp.mpf(low), mp.mpf(high)
    rest, _ = remez(g, w, low, high, list(range(degree + 1)))
    grid = chebyshev_points(low, high, 4 * (degree + 2))
    fixed = []
    while rest:
        fixed.append(round_to(rest[0], bits))
        change, rest = rest[0] - fixed[-1], rest[1:]
        if rest:
            k = len(fixed)
            system = mp.matrix([[w(x) * x ** (k + j) for j in range(len(rest))] for x in grid])
            right = mp.matrix([w(x) * change * x ** (k - 1) for x in grid])
            rest = [c + d for c, d in zip(rest, mp.lu_solve(system, right))]
    grid = chebyshev_points(low, high, 1000)
    return fixed, max(abs(w(x) * (g(x) - mp.polyval(fixed[::-1], x))) for x in grid)


def near_zero(f, series):
    """f, but by its Taylor polynomial where f cancels."""
    return lambda x: series(x) if abs(x) < mp.mpf("1e-12") else f(x)


def odd_remainder(f, c1, c3):
    """(f(s) / s - c1) / z with s = sqrt(z): what is left of an odd function after its first term; c3 is its value at 0."""

    def g(z):
        if z < mp.mpf("1e-20"):
            return mp.mpf(c3)
        s = mp.sqrt(z)
        return (f(s) / s - c1) / z

    return g


LN2 = mp.log(2)
HALF_LN2 = LN2 / 2 * mp.mpf("1.0001")
QUARTER_PI_SQUARED = (mp.pi / 4 * mp.mpf("1.0001")) ** 2
ATANH_RANGE = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2
ERFC_CENTRE = mp.mpf(4)


def erf_ratio(z):
    return 2 / mp.sqrt(mp.pi) if z < mp.mpf("1e-30") else mp.erf(mp.sqrt(z)) / mp.sqrt(z)


def erfc_scaled(t):
    x = ERFC_CENTRE * (1 + t) / (1 - t)
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


def mobius(x):
    return (x - ERFC_CENTRE) / (x + ERFC_CENTRE)


# name: (comment, g, w, low, high, {bits: degree})
TABLE = {
    "EXP": (
        "(exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2; the error is relative to exp(r) - 1",
        near_zero(lambda r: (mp.expm1(r) - r) / r**2, lambda r: mp.mpf(1) / 2 + r / 6),
        lambda r: abs(r) if abs(r) < mp.mpf("1e-12") else r**2 / abs(mp.expm1(r)),
        -HALF_LN2,
        HALF_LN2,
        {32: 4, 64: 10},
    ),
    "EXP2": (
        "(2^r - 1) / r for |r| <= 1/2; relative to 2^r",
        near_zero(lambda r: mp.expm1(r * LN2) / r, lambda r: LN2 + r * LN2**2 / 2),
        lambda r: abs(r) / 2**r,
        mp.mpf("-0.5001"),
        mp.mpf("0.5001"),
        {32: 5, 64: 11},
    ),
    "ATANH": (
        "(2 atanh(s) / s - 2) / z, z = s^2, s = f / (2 + f) for the same f; relative to 2 atanh(s)",
        odd_remainder(lambda s: 2 * mp.atanh(s), 2, mp.mpf(2) / 3),
        lambda z: z / 2,
        mp.mpf(0),
        ATANH_RANGE,
        {32: 2, 64: 6},
    ),
    "POW": (
        "(2 atanh(s) / s - 2 - 2/3 z) / z^2 for the same s; relative to 2 atanh(s)",
        lambda z: (
            mp.mpf(2) / 5 if z < mp.mpf("1e-16") else (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2 - 2 * z / 3) / z**2
        ),
        lambda z: z**2 / 2,
        mp.mpf(0),
        ATANH_RANGE,
        {64: 7},
    ),
    "LOG2_SINGLE": (
        "2 atanh(s) / (s log(2)) for the same s; relative",
        lambda z: 2 / LN2 if z < mp.mpf("1e-30") else 2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) / LN2,
        lambda z: LN2 / 2,
        mp.mpf(0),
        ATANH_RANGE,
        {64: 4},
    ),
    "SIN": (
        "(sin(r) / r - 1) / z, z = r^2, |r| <= pi/4; relative to sin(r)",
        odd_remainder(mp.sin, 1, -mp.mpf(1) / 6),
        lambda z: z / mp.sinc(mp.sqrt(z)),
        mp.mpf(0),
        QUARTER_PI_SQUARED,
        {32: 2, 64: 5},
    ),
    "COS": (
        "(cos(r) - 1 + z/2) / z^2; relative to cos(r)",
        lambda z: mp.mpf(1) / 24 if z < mp.mpf("1e-12") else (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2,
        lambda z: z**2 / mp.cos(mp.sqrt(z)),
        mp.mpf(0),
        QUARTER_PI_SQUARED,
        {32: 2, 64: 5},
    ),
    "ATAN": (
        "(atan(t) / t - 1) / z, z = t^2, |t| <= 1/2; relative to atan(t)",
        odd_remainder(mp.atan, 1, -mp.mpf(1) / 3),
        lambda z: z,
        mp.mpf(0),
        mp.mpf("0.2501"),
        {32: 5, 64: 12},
    ),
    "ASIN": (
        "(asin(s) / s - 1) / z, z = s^2 <= 1/4; relative to asin(s)",
        odd_remainder(mp.asin, 1, mp.mpf(1) / 6),
        lambda z: z,
        mp.mpf(0),
        mp.mpf("0.25"),
        {32: 5, 64: 12},
    ),
    "ERF": (
        "erf(x) / x - 1, z = x^2 <= 1; relative to erf(x) / x",
        lambda z: erf_ratio(z) - 1,
        lambda z: 1 / erf_ratio(z),
        mp.mpf(0),
        mp.mpf("1.001"),
        {32: 6, 64: 14},
    ),
    "ERFC": (
        "(1 + 2 x) exp(x^2) erfc(x) in t = (x - 4) / (x + 4), 0.46 <= x <= 28; relative",
        erfc_scaled,
        lambda t: 1 / erfc_scaled(t),
        mobius(mp.mpf("0.46")),
        mobius(mp.mpf(28)),
        {32: 10, 64: 23},
    ),
    "CBRT": (
        "cbrt(m), sqrt(1/2) <= m <= sqrt(2), to start an iteration; relative",
        lambda m: mp.cbrt(m),
        lambda m: 1 / mp.cbrt(m),
        mp.sqrt(mp.mpf(1) / 2),
        mp.sqrt(2),
        {32: 3, 64: 5},
    ),
}


def derive():
    """The text of coefficients.py."""
    lines = [
        '"""Coefficients of minimax polynomials, lowest degree first; written by `tests/minimax.py`, which says how.',
        "",
        "Each comment gives the function, the interval, and the largest error of the polynomial, before rounding of its",
        "evaluation.",
        '"""',
        "",
    ]
    for name, (comment, g, w, low, high, degrees) in TABLE.items():
        lines += [f"# {comment}.", f"{name} = {{"]
        for bits, degree in degrees.items():
            fixed, error = fit(g, w, low, high, degree, bits)
            exponent = float(mp.log(error, 2))
            print(name, bits, degree, f"2^{exponent:.1f}", flush=True)
            lines.append(f"    {bits}: (  # error 2^{exponent:.1f}")
            lines += [f"        {float(c)!r}," for c in fixed]
            lines.append("    ),")
        lines.append("}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path("backends/funcgrad_llvm/math/coefficients.py").write_text(derive())
