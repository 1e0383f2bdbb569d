"""Which generated images may be trained on: pure functions of what was measured, and the reason of every refusal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from anmok.expand.generate import FLAGGED, NOT_FINITE

ACCEPTED = ""
UNREADABLE, BLANK, LEAK, MEMORISED, TWIN, WRONG, UNSURE = (
    "unreadable", "blank", "leak", "memorised", "twin", "wrong-class", "unsure",
)  # fmt: skip
WORDS = {
    UNREADABLE: "the file cannot be read",
    NOT_FINITE: "the model gave numbers that are not finite",
    FLAGGED: "the model's own safety checker held it back",
    BLANK: "of one colour",
    LEAK: "nearly a validation or test image",
    MEMORISED: "nearly a training image, so it brings nothing new",
    TWIN: "nearly another generated image",
    WRONG: "looks more like another class",
    UNSURE: "too little more like its class than like another",
}
FAINT = 3.0  # levels of 255 by which an image that shows something deviates at least
ALIKE = 0.95  # cosine below which vectors call no image a copy
OWN_SHARE = 0.99  # of the real images' own nearest neighbours, that lie below the bound


class Near(NamedTuple):
    """What an image is nearly: `leak`, `memorised` or `twin`, the other's id, and how that was seen."""

    reason: str
    other: str
    evidence: str


class Scores(NamedTuple):
    """What texts say of N images. score: probability of the intended class, margin: less that of the best other one,
    both float64[N]; rival: that other class, int64[N]. NaN and -1 where there is no vector.
    """

    score: np.ndarray
    margin: np.ndarray
    rival: np.ndarray


class Verdict(NamedTuple):
    """Why an image is refused, '' where it is not, and in words what was found."""

    reason: str
    evidence: str = ""


def is_blank(image: np.ndarray) -> bool:
    """Whether uint8[H, W, 3] shows nothing: no channel deviates by 3 levels of 255 or more."""
    return bool(image.reshape(-1, image.shape[-1]).astype(np.float64).std(axis=0).max() < FAINT)


def text_scores(probs: np.ndarray, intended: np.ndarray) -> Scores:
    """Scores of probabilities float[N, K] (NaN: no vector), K ≥ 2, against the intended classes int64[N]."""
    rows = np.arange(len(probs))
    probs = np.asarray(probs, np.float64)
    bad: np.ndarray = np.isnan(probs).any(axis=1)
    others = np.where(bad[:, None], 0.0, probs)
    others[rows, intended] = -1.0
    rival = others.argmax(axis=1)
    score = probs[rows, intended]
    return Scores(score, score - probs[rows, rival], np.where(bad, -1, rival))


def nearest(vectors: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(cosine float64[N], row int64[N]) of the known vector float[M, D] nearest to each unit vector float[N, D].

    NaN and -1 for a vector with NaN, or where none is known; known vectors with NaN are nobody's neighbours.
    """
    good = np.isfinite(known).all(axis=1)
    if not good.any():
        return np.full(len(vectors), np.nan), np.full(len(vectors), -1)
    places = np.flatnonzero(good)
    cosine = np.asarray(vectors, np.float64) @ np.asarray(known, np.float64)[places].T
    bad = np.asarray(np.isnan(cosine).any(axis=1))
    best = np.where(bad[:, None], 0.0, cosine).argmax(axis=1)
    return cosine[np.arange(len(best)), best], np.where(bad, -1, places[best])


def copy_bound(known: np.ndarray, share: float = OWN_SHARE, least: float = ALIKE) -> float:
    """The cosine from which an image counts as a copy of a real one, by vectors alone.

    As near as all but 1 % of the real images float[M, D] are to their own nearest neighbour, and not below 0.95: where
    real images of a kind are all alike, likeness to one of them says little.
    """
    good = np.asarray(known, np.float64)[np.isfinite(known).all(axis=1)]
    if len(good) < 2:
        return least
    own = np.empty(len(good))
    for start in range(0, len(good), 1024):
        cosine = good[start : start + 1024] @ good.T
        cosine[np.arange(len(cosine)), start + np.arange(len(cosine))] = -np.inf
        own[start : start + 1024] = cosine.max(axis=1)
    own = own[own < 1 - 1e-9]  # the same bytes twice say nothing of how alike two images are
    return max(least, float(np.quantile(own, share))) if len(own) else least


def verdicts(
    faults: Sequence[str], near: Mapping[int, Near], scores: Scores, intended: np.ndarray, classes: Sequence[str],
    least_margin: float = 0.0,
) -> list[Verdict]:  # fmt: skip
    """Of each image the first that holds of: what was wrong when it was made or read (its fault, '' for nothing), what
    it is nearly (by its place), another class's likeness, a margin below `least_margin`.
    """
    out = []
    for row, fault in enumerate(faults):
        score, margin, rival = float(scores.score[row]), float(scores.margin[row]), int(scores.rival[row])
        if fault or rival < 0:
            out.append(Verdict(fault or UNREADABLE, WORDS.get(fault or UNREADABLE, fault)))
            continue
        told = f"{classes[intended[row]]} {score:.3f}, {classes[rival]} {score - margin:.3f}"
        if row in near:
            out.append(Verdict(near[row].reason, f"{near[row].other}: {near[row].evidence}"))
        elif margin <= 0:
            out.append(Verdict(WRONG, told))
        elif margin < least_margin:
            out.append(Verdict(UNSURE, f"{told}, less than {least_margin:g} apart"))
        else:
            out.append(Verdict(ACCEPTED, told))
    return out


def refused_lines(reasons: Iterable[str]) -> list[str]:
    """'12 refused: …' for each reason, in a fixed order; '' is no reason."""
    counts = Counter(reasons)
    return [f"{counts[kind]:,} refused: {words}" for kind, words in WORDS.items() if counts[kind]]
