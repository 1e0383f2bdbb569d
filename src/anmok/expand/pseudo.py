"""Which images may be taught under the label that a model gives them (Lee 2013, "Pseudo-Label").

Pure functions of probabilities: agreement over views, a quota for each class, and the reason of every refusal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from anmok.core.errors import UsageError

PerClass = Literal["auto", "none"] | int
SELECTED, UNREADABLE, DISAGREE, UNSURE, QUOTA = "", "unreadable", "disagree", "unsure", "quota"


class Agreed(NamedTuple):
    """What several views of N images say: labels int64[N], confidence float64[N], agree bool[N]."""

    labels: np.ndarray
    confidence: np.ndarray
    agree: np.ndarray


@dataclass(frozen=True, eq=False)
class Selection:
    """rows: the images taken, in the order of the images, int64[M]; reasons: of each of the N images why it is not, ''
    where it is; labels, confidence: of all N, as `agreement` gives them; quota: the most of each class, int64[K].
    """

    rows: np.ndarray
    reasons: list[str]
    labels: np.ndarray
    confidence: np.ndarray
    quota: np.ndarray

    def counts(self) -> np.ndarray:
        """int64[K]: how many of each class are taken."""
        return np.bincount(self.labels[self.rows], minlength=len(self.quota))


def agreement(views: Sequence[np.ndarray]) -> Agreed:
    """The label that the mean of the views' probabilities float[N, K] says, and whether every view says the same.

    The confidence is the mean probability of that label. A row with NaN in any view has the label -1, the confidence 0
    and no agreement.  ValueError without a view, or for views of other shapes.
    """
    probs: np.ndarray = np.stack([np.asarray(view, np.float64) for view in views])  # [V, N, K]
    bad: np.ndarray = np.isnan(probs).any(axis=(0, 2))
    probs = np.where(bad[None, :, None], 0.0, probs)
    mean = probs.mean(axis=0)
    labels = mean.argmax(axis=1)
    agree = (probs.argmax(axis=2) == labels).all(axis=0) & ~bad
    confidence = np.where(bad, 0.0, mean[np.arange(len(labels)), labels])
    return Agreed(np.where(bad, -1, labels), confidence, agree)


def read_per_class(value: str | int) -> PerClass:
    """auto, none, or a number of images from 1 on.  UsageError for anything else."""
    if value in ("auto", "none"):
        return value  # type: ignore[return-value]
    text = str(value).strip()
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(
            f"expected auto, none or a number from 1 on, found {value!r}.", where="--per-class", code="setting"
        )
    return int(text)


def quotas(eligible: np.ndarray, labelled: np.ndarray, per_class: PerClass) -> np.ndarray:
    """The most images that each class may get, int64[K].

    eligible: images of each class that are sure enough, int64[K]; labelled: labelled training images of each, int64[K].
    auto: no class gets a larger share of all that are sure enough than it has of the labelled images, rounded up; so
    easy classes do not swallow the rest, and where all are equally easy nothing is lost. none: all of them.
    """
    if per_class == "none":
        return eligible.astype(np.int64)
    if per_class != "auto":
        return np.full(len(eligible), per_class, np.int64)
    share = labelled / max(1, labelled.sum())
    return np.ceil(share * eligible.sum() - 1e-9).astype(np.int64)


def select(
    views: Sequence[np.ndarray], labelled: np.ndarray, *, confidence: float = 0.95, per_class: PerClass = "auto",
    refused: Mapping[int, str] | None = None,
) -> Selection:  # fmt: skip
    """Choose among N images by calibrated probabilities float[N, K] of one or more views.

    An image is taken if it is not refused (its index to a reason), every view gives the same label, the confidence is
    at least `confidence`, and it is among the surest of its label up to the quota; of equals the first. A higher
    `confidence` never takes more of a class.
    """
    agreed, refused = agreement(views), refused or {}
    bad = agreed.labels < 0
    reasons = np.full(len(bad), SELECTED, object)
    reasons[agreed.confidence < confidence] = UNSURE
    reasons[~agreed.agree] = DISAGREE
    reasons[bad] = UNREADABLE
    for row, why in refused.items():
        reasons[row] = why
    eligible = reasons == SELECTED
    counts = np.bincount(agreed.labels[eligible], minlength=len(labelled))
    most = quotas(counts, labelled, per_class)
    for k in np.flatnonzero(counts > most):
        mine = np.flatnonzero(eligible & (agreed.labels == k))
        surest = mine[np.argsort(-agreed.confidence[mine], kind="stable")]
        reasons[surest[most[k] :]] = QUOTA
    taken = np.flatnonzero(reasons == SELECTED)
    return Selection(taken, reasons.tolist(), agreed.labels, agreed.confidence, most)
