"""Statistics of two samples from their definitions, one pair at a time."""

import numpy as np


def distances_by_loop(x, y):
    return np.array([[np.sqrt(((u - v) ** 2).sum()) for v in y] for u in x])


def mmd_by_loop(x, y, bandwidth):
    """Unbiased, from its definition, one pair at a time."""

    def k(u, v):
        return np.exp(-((u - v) ** 2).sum() / (2 * bandwidth**2))

    m, n = len(x), len(y)
    inside = sum(k(x[i], x[j]) for i in range(m) for j in range(m) if i != j)
    other = sum(k(y[i], y[j]) for i in range(n) for j in range(n) if i != j)
    across = sum(k(u, v) for u in x for v in y)
    return inside / m / (m - 1) + other / n / (n - 1) - 2 * across / m / n


def fifth_by_loop(x, y):
    """Mean distance of y to the fifth nearest of x, and of x among themselves."""
    new = np.sort(distances_by_loop(y, x), axis=1)[:, 4]
    own = np.sort(distances_by_loop(x, x), axis=1)[:, 5]  # the first is itself
    return new.mean(), own.mean()
