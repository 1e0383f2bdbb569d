"""New rows of a linear head from a few images of new classes, without training (Qi et al. 2018, arXiv:1712.07136).

A row points to the prototype of its class. How long it is, and its bias, are what decides how often the new class wins:
they are fitted, two numbers a class, so that given images are recognised and images of the old classes stay theirs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anmok.core.errors import DataError
from anmok.evaluate.probes import unit

RECOGNISED = 0.8  # share of the given images that the bias lets win, where there are no images of the old classes


class Shown(NamedTuple):
    """What a network makes of N images. vectors float[N, D]: what its head sees; logits float[N, K]: of the old
    classes; targets int64[N]: of the old classes 0 to K - 1, of the new ones K, K + 1, …"""

    vectors: np.ndarray
    logits: np.ndarray
    targets: np.ndarray


class Rows(NamedTuple):
    """The new rows of a head: weight float64[J, D], bias float64[J].

    alone: of each given image the logits float64[N, K + J] that it gets when it takes no part in its own class's
    prototype; of a class with one image what another image of it may be expected to get.
    """

    weight: np.ndarray
    bias: np.ndarray
    alone: np.ndarray


def imprint(
    given: Shown, old: Shown | None, weight: np.ndarray, biased: bool = True, most_lost: float | None = None
) -> Rows:  # fmt: skip
    """The rows of J new classes from the images given of them, and images of the old classes where there are any.

    weight float[K, D]: the head's rows as they are. biased: whether the head has a bias; without one the new rows have
    0, and their length alone is fitted. With old images prototypes are taken from the mean of the old classes' means
    (as SimpleShot does), and length and bias of the new rows minimise the cross-entropy, every class weighing the same,
    given images as if left out of their prototype. Without, the length is the mean length of the old rows and the bias
    the smallest that lets 80 % of the given images win. most_lost: the share of old images answered rightly so far that
    the new classes may take at most, which lowers the biases where they would take more; needs old images and a bias.
    DataError: a new class without an image.
    """
    k = len(weight)
    new = int(given.targets.max(initial=k - 1)) + 1 - k
    counts = np.bincount(given.targets - k, minlength=new)
    if not new or not counts.all():
        raise DataError("no image of a new class.", code="too-few")
    centre = _centre(old, k) if biased else np.zeros(())
    moved = unit(given.vectors - centre).astype(np.float64)
    sums = np.stack([moved[given.targets == k + j].sum(axis=0) for j in range(new)])
    directions = unit(sums).astype(np.float64)
    along = _along(given, centre, moved, sums, directions, counts)
    if old is not None:  # one image alone: its like lie as far along it as images of an old class along each other
        lone = np.flatnonzero(counts[given.targets - k] == 1)
        along[lone, given.targets[lone] - k] *= _alike(old, centre, k)
    usual = float(np.linalg.norm(weight - weight.mean(axis=0), axis=1).mean())
    if old is None:
        lengths, shifts = _smallest(given, along, usual, k, biased)
    else:
        reach = (old.vectors - centre) @ directions.T
        logits = np.concatenate([old.logits, given.logits]).astype(np.float64)
        targets = np.concatenate([old.targets, given.targets])
        lengths, shifts = fit_rows(logits, np.concatenate([reach, along]), targets, usual, counts, biased)
        if most_lost is not None and biased:
            shifts = shifts - _too_much(old, reach * lengths + shifts, most_lost)
    rows = directions * lengths[:, None]
    alone = np.concatenate([given.logits, along * lengths + shifts], axis=1)
    return Rows(rows, shifts - (rows * centre).sum(axis=1), alone)


def _centre(old: Shown | None, k: int) -> np.ndarray:
    """The mean of the old classes' mean vectors, float64[D]; zero without images of them."""
    if old is None:
        return np.zeros(())
    means = [old.vectors[old.targets == c].mean(axis=0, dtype=np.float64) for c in range(k) if (old.targets == c).any()]
    return np.mean(means, axis=0)


def _alike(old: Shown, centre: np.ndarray, k: int) -> float:
    """The mean cosine of two images of one old class, over the classes with two or more, in [0, 1]; 1 without such."""
    moved = unit(old.vectors - centre).astype(np.float64)
    parts = [moved[old.targets == c] for c in range(k)]
    sizes = [(p.sum(axis=0), len(p)) for p in parts if len(p) > 1]
    means = [(float(total @ total) - n) / (n * (n - 1)) for total, n in sizes]  # unit vectors: each with itself is 1
    return float(np.clip(np.mean(means), 0, 1)) if means else 1.0


def _too_much(old: Shown, logits: np.ndarray, most_lost: float) -> float:
    """By how much new logits float[N, J] of old images must fall, so that at most this share of the right ones goes."""
    right = old.logits.argmax(axis=1) == old.targets
    if not right.any():
        return 0.0
    above = np.sort((logits.max(axis=1) - old.logits.max(axis=1))[right])[::-1]
    place = int(most_lost * len(above))  # so many may lie above the new class's reach
    return max(0.0, float(above[place]) + 1e-6) if place < len(above) else 0.0


def _along(
    given: Shown, centre: np.ndarray, moved: np.ndarray, sums: np.ndarray, directions: np.ndarray, counts: np.ndarray
) -> np.ndarray:  # fmt: skip
    """How far each given image lies in each new class's direction, float64[N, J]; in its own class's without itself."""
    own = given.targets - given.logits.shape[1]
    out = (given.vectors - centre) @ directions.T
    several = np.flatnonzero(counts[own] > 1)
    without = unit(sums[own[several]] - moved[several])
    out[several, own[several]] = ((given.vectors[several] - centre) * without).sum(axis=1)
    return out


def _smallest(
    given: Shown, along: np.ndarray, usual: float, k: int, biased: bool
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(lengths, biases), float64[J] each, with which RECOGNISED of the images given of a class pass the largest old
    logit; without a bias by the length alone."""
    best, new = given.logits.max(axis=1).astype(np.float64), along.shape[1]
    own = along[np.arange(len(along)), given.targets - k]
    short = best - usual * own if biased else best / np.maximum(own, 1e-6)
    short += 1e-6 * (1 + np.abs(short).max())
    found = np.array([
        np.quantile(short[given.targets == k + j], RECOGNISED, method="higher") for j in range(new)
    ])  # fmt: skip
    return (np.full(new, usual), found) if biased else (np.maximum(found, 0), np.zeros(new))


def fit_rows(
    logits: np.ndarray, along: np.ndarray, targets: np.ndarray, usual: float, counts: np.ndarray, biased: bool = True
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(lengths float64[J], biases float64[J]) of new logits length · along + bias that minimise the cross-entropy.

    logits float[N, K]: of the old classes; along float[N, J]; targets int64[N]. Every class that occurs weighs the
    same. A length is held near `usual` as if by one image more of its class, whose logarithm may be off by 1.
    """
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    n, new = len(targets), along.shape[1]
    share = np.bincount(targets, minlength=logits.shape[1] + new)[targets]
    weights = 1 / share / (1 / share).sum()
    pull = 1 / (counts + 1) / len(np.unique(targets))

    def loss(x: np.ndarray) -> float:
        lengths, biases = usual * np.exp(x[:new]), x[new:]
        every = np.concatenate([logits, along * lengths + biases], axis=1)
        surprise = logsumexp(every, axis=1) - every[np.arange(n), targets]
        return float(weights @ surprise + (pull * x[:new] ** 2).sum())

    middle = float(logits.max(axis=1).mean() - usual * along.mean())  # new logits as large as the largest old one
    start = np.concatenate([np.zeros(new), np.full(new, middle if biased else 0.0)])
    limits = [(-4.0, 4.0)] * new + [(None, None) if biased else (0.0, 0.0)] * new
    found = minimize(loss, start, method="L-BFGS-B", bounds=limits).x
    return usual * np.exp(found[:new]), found[new:]
