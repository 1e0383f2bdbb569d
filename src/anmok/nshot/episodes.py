"""N-way K-shot episodes: small classification tasks drawn from labelled vectors, and how a method does on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from anmok.core.errors import DataError, UsageError
from anmok.nshot.fewshot import ALPHA, BETA, Metric, scores

BLOCK = 16_000_000  # numbers that are gathered at a time: 64 MB


class Episodes(NamedTuple):
    """Drawn tasks. classes int64[E, W]: the class of each way; support int64[E, W, S] and query int64[E, W, Q]: rows.

    Within an episode no class and no row stands twice. The classes and queries of an episode do not depend on how many
    of the support's rows are used, so that accuracies of other shots are paired.
    """

    classes: np.ndarray
    support: np.ndarray
    query: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)

    def part(self, which: slice) -> Episodes:
        """Some of them."""
        return Episodes(self.classes[which], self.support[which], self.query[which])


def draw_episodes(
    targets: np.ndarray, ways: int, shots: int, queries: int, episodes: int, seed: int, names: Sequence[str] = ()
) -> Episodes:  # fmt: skip
    """Episodes of rows of targets int64[N] (-1: unlabelled, never drawn), the first ones the same of any number.

    queries: rows of a class that are asked about, at most; fewer where the smallest class has no more left. names: of
    the classes, for messages.  DataError, code too-few: classes with fewer rows than shots + 1, all of them named.
    UsageError: more ways than classes, or fewer than two.
    """
    known = np.unique(targets[targets >= 0])
    named = {int(k): names[k] if len(names) > k else str(k) for k in known}
    rows = [np.flatnonzero(targets == k) for k in known]
    small = [f"{named[int(k)]} ({len(r)})" for k, r in zip(known, rows, strict=True) if len(r) < shots + 1]
    if small:
        raise DataError(
            f"{len(small)} class(es) have fewer than {shots + 1} images, {shots} to learn from and one to ask about: "
            f"{', '.join(small[:10])}{', …' if len(small) > 10 else ''}.", code="too-few",
            remedy="Bring more of them, name other --classes, or ask for fewer --shots.",
        )  # fmt: skip
    if not 2 <= ways <= len(known):
        raise UsageError(
            f"expected 2 to {len(known)} ways, as there are {len(known)} classes, found {ways}.", where="--ways",
            code="setting",
        )  # fmt: skip
    queries = min(queries, min(map(len, rows)) - shots)
    rng = np.random.Generator(np.random.PCG64(seed))
    classes = np.empty((episodes, ways), np.int64)
    drawn = np.empty((episodes, ways, shots + queries), np.int64)
    for e in range(episodes):
        classes[e] = rng.choice(len(known), ways, replace=False)
        for w, k in enumerate(classes[e]):
            drawn[e, w] = rng.choice(rows[k], shots + queries, replace=False)
    return Episodes(known[classes], drawn[:, :, :shots], drawn[:, :, shots:])


def answers(
    vectors: np.ndarray, episodes: Episodes, shots: int, method: str, *, metric: Metric = "cosine",
    base: np.ndarray | None = None, alpha: float = ALPHA, beta: float = BETA,
) -> np.ndarray:  # fmt: skip
    """The way, int64[E, W, Q], that a method gives to every query from the first `shots` of each class.

    vectors float[N, D], prepared; base float[N, classes]: logits of all rows over all classes, for the cache.
    """
    ways, queries = episodes.query.shape[1:]
    labels = np.repeat(np.arange(ways), shots)
    step = max(1, BLOCK // (ways * (queries + shots) * vectors.shape[1]))
    out = np.empty((len(episodes), ways, queries), np.int64)
    for start in range(0, len(episodes), step):
        which = slice(start, start + step)
        part = episodes.part(which)
        support = part.support[:, :, :shots].reshape(len(part), -1)
        asked = part.query.reshape(len(part), -1)
        own = None if base is None else base[asked[:, :, None], part.classes[:, None, :]]
        found = scores(
            method, vectors[support], labels, vectors[asked], ways, metric=metric, base=own, alpha=alpha, beta=beta
        )
        out[which] = found.argmax(axis=-1).reshape(len(part), ways, queries)
    return out


def accuracies(given: np.ndarray) -> np.ndarray:
    """The share of right answers in each episode, float64[E], of what `answers` gave."""
    return (given == np.arange(given.shape[1])[:, None]).mean(axis=(1, 2))


def mean_interval(values: np.ndarray, low: float = 0.0, high: float = 1.0) -> dict[str, Any]:
    """{value, low, high} of the mean over episodes float[E], Student's interval, 95 %, cut at the bounds.

    It says how much another draw of episodes of the same images would differ; not other images, nor other classes.
    Without bounds for one episode.
    """
    from scipy.stats import t

    value = float(np.mean(values))
    if len(values) < 2:
        return {"value": value}
    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"value": value, "low": max(low, value - half), "high": min(high, value + half)}
