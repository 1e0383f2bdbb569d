"""The arithmetic of several brackets, after Hyperband (Li et al. 2018, arXiv:1603.06560): how many, of what sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from anmok.stages.tune_rungs import Cost
from anmok.stages.tune_space import DEFAULT

MOST = 3  # brackets, unless it is said
ENOUGH = 8  # epochs of a first rung's trial, beyond which time is better spent on other candidates


def brackets_within(seconds: float, candidates: int, rungs: int, cost: Cost, images: int) -> int:
    """How many brackets the seconds do for, when each candidate of a first rung has ENOUGH epochs: 1 to MOST."""
    each = cost.set_up + ENOUGH * cost.image * images + cost.validate
    return max(1, min(MOST, int(seconds / (rungs * candidates * each))))


def repeated_sizes(seconds: float, shares: Sequence[float], most: int, keep: int) -> list[int]:
    """How many candidates each rung of a later bracket has, up to `most` in the first; [] if there is no time for one.

    shares: seconds of a trial of each rung. One in `keep` goes on, rounded up; one alone is enough, as those of the
    brackets before are there to compare it with.
    """
    for first in range(most, 0, -1):
        sizes = [first]
        while len(sizes) < len(shares):
            sizes.append(math.ceil(sizes[-1] / keep))
        if sum(size * share for size, share in zip(sizes, shares, strict=True)) <= seconds:
            return sizes
    return []


def with_default(ranked: Sequence[str], size: int) -> list[str]:
    """The best of a rung, and the default before them if it could train: by it what is chosen is measured."""
    best = list(ranked[:size])
    return [DEFAULT, *(name for name in best if name != DEFAULT)] if DEFAULT in ranked else best
