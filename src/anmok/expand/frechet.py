"""How far two sets of vectors lie apart: the Fréchet distance of their normal distributions, with an interval.

Fréchet 1957; of Gaussians Dowson & Landau 1982, eq. 16; of images' vectors Heusel et al. 2017, arXiv:1706.08500, eq. 6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEAST = 8  # vectors on each side, below which nothing is said
MOST = 500  # vectors of a side that are looked at
DRAWS = 100


class Distance(NamedTuple):
    """value ≥ 0, and the bounds of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Apart(NamedTuple):
    """made: from the generated to the real; real: between two halves of the real ones, the yardstick; n: vectors on
    each of all sides, as the distance of few vectors is larger than that of many.
    """

    made: Distance
    real: Distance
    n: int


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """‖μa − μb‖² + tr(Σa + Σb − 2 (Σa Σb)^½) of float[N, D] and float[M, D], covariances with N − 1 and M − 1.

    The last trace is the sum of the singular values of Ra Rbᵀ, of factors RᵀR = Σ: no root of a matrix is taken, and
    N may be below D.  ValueError for fewer than two vectors or of different lengths.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if min(len(a), len(b)) < 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"expected two vectors or more of one length, found {a.shape} and {b.shape}")
    (mean_a, root_a), (mean_b, root_b) = _moments(a), _moments(b)
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    total = ((mean_a - mean_b) ** 2).sum() + (root_a**2).sum() + (root_b**2).sum() - 2 * cross
    return max(0.0, float(total))


def _moments(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean float[D], R float[min(N, D), D] with RᵀR the covariance)."""
    mean = vectors.mean(axis=0)
    centred = (vectors - mean) / np.sqrt(len(vectors) - 1)
    if len(vectors) > vectors.shape[1]:
        centred = np.asarray(np.linalg.qr(centred, mode="r"))
    return mean, centred


def apart(made: np.ndarray, real: np.ndarray, rng: np.random.Generator, draws: int = DRAWS) -> Apart | None:
    """The distance of generated float[N, D] to real vectors float[M, D], beside that of two halves of the real ones.

    All four sides have as many vectors: min(N, M // 2, 500), drawn without replacement; the generated ones are compared
    with the first half. None for fewer than 8. Intervals: how far the bootstrap over both sides spreads, laid about the
    value, as resampling pushes the distance itself up; they are of a distance of so many vectors.
    """
    n = min(len(made), len(real) // 2, MOST)
    if n < LEAST:
        return None
    mine = made[rng.permutation(len(made))[:n]]
    order = rng.permutation(len(real))
    first, second = real[order[:n]], real[order[n : 2 * n]]
    return Apart(_with_interval(mine, first, rng, draws), _with_interval(second, first, rng, draws), n)


def _with_interval(a: np.ndarray, b: np.ndarray, rng: np.random.Generator, draws: int) -> Distance:
    value, n = frechet(a, b), len(a)
    found = [frechet(a[rng.integers(n, size=n)], b[rng.integers(n, size=n)]) for _ in range(draws)]
    low, high = value + np.quantile(found, [0.025, 0.975]) - np.mean(found)
    return Distance(value, max(0.0, min(value, float(low))), max(value, float(high)))
