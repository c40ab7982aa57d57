"""k-means by Lloyd's iteration: nearest centres, then the means of their points."""

import numpy as np

WHOLE_REFERENCE = True


def inputs(tiny):
    """Points (n, d), centres (k, d), and the numbers of the turns."""
    n, d, k, turns = (12, 2, 3, 2) if tiny else (5000, 8, 16, 10)
    rng = np.random.default_rng(7)
    points = rng.normal(size=(n, d)) + 4 * rng.normal(size=(k, d))[rng.integers(0, k, n)]
    return points, points[:k].copy(), np.arange(turns)


def program(m):
    """The centres after all turns, and the mean squared distance to the nearest before each."""
    xp, lax = m.numpy, m.lax

    def cluster(points, centres, turns):
        def turn(centres, _):
            squares = xp.sum(centres**2, axis=1) - 2 * points @ centres.T
            nearest = xp.argmin(squares, axis=1)
            mine = (nearest[:, None] == xp.arange(centres.shape[0])).astype(points.dtype)
            counts = xp.sum(mine, axis=0)[:, None]
            centres = xp.where(counts > 0, mine.T @ points / xp.maximum(counts, 1.0), centres)
            return centres, xp.mean(xp.min(squares, axis=1)) + xp.sum(points**2) / len(points)

        centres, distances = lax.scan(turn, centres, turns)
        return {"centres": centres, "distances": distances}

    return cluster


def reference(points, centres, turns):
    centres, distances = centres.copy(), []
    for _ in turns:
        squares = np.sum(centres**2, axis=1) - 2 * points @ centres.T + np.sum(points**2, axis=1)[:, None]
        nearest = np.argmin(squares, axis=1)
        distances.append(np.mean(np.min(squares, axis=1)))
        for k in np.unique(nearest):
            centres[k] = points[nearest == k].mean(axis=0)
    return {"centres": centres, "distances": np.array(distances)}
