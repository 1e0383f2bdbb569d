"""A model that is not sure of the class may still be sure of its parent, and say that: "a dog" where it is no more.

Deng et al. 2012, "Hedging your bets: optimizing accuracy-specificity trade-offs in large scale visual recognition". An
answer costs what the tree says (Dekel, Keshet & Singer 2004): edges from it to the true class, so that the right parent
costs 1, another class of it 2, and everything elsewhere more. Of calibrated probabilities the parent is the better
answer where that of the class is below 1/2, whatever the parent's; the threshold is chosen on validation near that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from anmok.core.types import Predictions
from anmok.evaluate.averages import share
from anmok.evaluate.fitting import fitting_rows
from anmok.evaluate.groups import group_codes, images_worth
from anmok.evaluate.hierarchy import class_distances, coarse_of
from anmok.evaluate.intervals import of_mean
from anmok.evaluate.resampling import RESAMPLES, resample_sums
from anmok.evaluate.rows import Rows, of_split, usable_rows

BAYES = 0.5
SLACK = 1.0  # standard errors within which thresholds are as good as each other


class Levels(NamedTuple):
    """What is answered at both levels: classes int64[N], how probable they are float64[N], and the same of parents."""

    fine: np.ndarray
    fine_probs: np.ndarray
    coarse: np.ndarray
    coarse_probs: np.ndarray


def levels(probs: np.ndarray, codes: np.ndarray) -> Levels:
    """The most probable class and the most probable parent of each row.  probs float[N, K], codes int64[K]."""
    sums = probs.astype(np.float64) @ (codes[:, None] == np.arange(codes.max() + 1))
    rows, fine, coarse = np.arange(len(probs)), probs.argmax(axis=1), sums.argmax(axis=1)
    return Levels(fine, probs[rows, fine].astype(np.float64), coarse, sums[rows, coarse])


def fit_fall_back(p: Predictions, parents: Mapping[str, str]) -> float:
    """The probability of the class below which its parent is answered: least cost on the labelled rows of validation.

    Of all thresholds whose cost is within one standard error of the least, the one nearest to 1/2; 0: never.
    DataError: see `fitting_rows`.
    """
    rows = fitting_rows(p, "a fall-back")
    found, fine_cost, coarse_cost = _costs(rows, parents)
    order = np.argsort(found.fine_probs, kind="stable")
    sure, gain = found.fine_probs[order], (coarse_cost - fine_cost)[order]
    new = np.r_[True, np.diff(sure) > 0]  # images that are equally sure fall back together
    first = np.flatnonzero(new)
    spent, squares = (np.r_[0.0, np.cumsum(x)] for x in (gain, gain**2))
    spent, squares = spent[np.r_[first, len(sure)]], squares[np.r_[first, len(sure)]]
    thresholds = np.r_[0.0, (sure[first[1:]] + sure[first[1:] - 1]) / 2, 1.0]
    best = int(spent.argmin())
    apart = spent - spent[best]
    error = np.sqrt(np.maximum(np.abs(squares - squares[best]) - apart**2 / len(sure), 0))
    close = np.flatnonzero(apart <= SLACK * error + 1e-12)
    return float(thresholds[close[np.abs(thresholds[close] - BAYES).argmin()]])


def fall_back_outcome(
    p: Predictions, parents: Mapping[str, str], below: float, *, split: str | None = None,
    groups: Mapping[str, str] | None = None, seed: int = 0, resamples: int = RESAMPLES,
) -> dict[str, Any]:  # fmt: skip
    """What falling back does to the rows of a split: {below, share, right, fine_right, parent_right, cost}.

    share: of the images, answered with a parent.  right: of all answers, class or parent; fine_right, parent_right: of
    each kind.  cost: mean edges from the answer to the truth {value, low, high, plain, saved}: plain is that of always
    answering with the class, saved the paired difference with its interval.
    """
    rows = usable_rows(of_split(p, split))
    found, fine_cost, coarse_cost = _costs(rows, parents)
    codes = coarse_of(rows.classes, parents).codes
    back = found.fine_probs < below
    right = np.where(back, found.coarse == codes[rows.targets], found.fine == rows.targets)
    cost = np.where(back, coarse_cost, fine_cost)
    together = group_codes(rows.ids, groups)
    drawn = resample_sums(
        np.column_stack([cost, fine_cost - cost]), np.random.default_rng(seed), resamples, groups=together
    ) / len(cost)  # fmt: skip
    worth = images_worth(cost, together)
    saved = of_mean(fine_cost - cost, drawn[:, 1], images_worth(fine_cost - cost, together), low=-np.inf)
    return {
        "below": below,
        "share": share(int(back.sum()), len(back), "", images_worth(back, together)),
        "right": share(int(right.sum()), len(right), "", images_worth(right, together)),
        "fine_right": share(int(right[~back].sum()), int((~back).sum()), "every answer is a parent"),
        "parent_right": share(int(right[back].sum()), int(back.sum()), "no answer is a parent"),
        "cost": of_mean(cost, drawn[:, 0], worth, 0.0) | {"plain": float(fine_cost.mean()), "saved": saved},
    }


def _costs(rows: Rows, parents: Mapping[str, str]) -> tuple[Levels, np.ndarray, np.ndarray]:
    """The answers at both levels, and what each would cost, float64[N] both."""
    coarse = coarse_of(rows.classes, parents)
    k = len(rows.classes)
    distance = class_distances([*rows.classes, *coarse.names], parents)
    found = levels(rows.probs, coarse.codes)
    return found, distance[rows.targets, found.fine], distance[rows.targets, k + found.coarse]
