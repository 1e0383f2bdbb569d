"""Images of nothing that the model knows: a score of strangeness, and the alarm that it raises on known images."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from anmok.core.errors import DataError, UsageError
from anmok.evaluate.averages import share
from anmok.evaluate.probes import unit
from anmok.evaluate.ranking import areas

NEIGHBOURS = 10


@dataclass(frozen=True)
class UnknownRule:
    """score: 'energy' or 'neighbours'; above `threshold` an image is called unknown.

    false_alarms: the share of known images that it was set for; k: which neighbour; temperature: of the energy.
    """

    score: Literal["energy", "neighbours"]
    threshold: float
    false_alarms: float
    k: int = NEIGHBOURS
    temperature: float = 1.0

    def flags(self, scores: np.ndarray) -> np.ndarray:
        """bool[N]: which images are called unknown."""
        return np.asarray(scores) > self.threshold

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def energy(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Free energy float64[N] of logits float[N, K]: -T log Σ exp(z / T), higher for stranger images (Liu et al. 2020,
    arXiv:2010.03759, eq. 4).

    It needs the logits themselves: of probabilities it is 0 for every image.  UsageError: rows that sum to 1.
    """
    from scipy.special import logsumexp

    z = np.asarray(logits, np.float64)
    if len(z) and (z >= 0).all() and np.allclose(z.sum(axis=1), 1, atol=1e-3):
        raise UsageError("these are probabilities; the energy needs logits.", where="logits", code="setting")
    return -temperature * logsumexp(z / temperature, axis=1)


def neighbour_distance(known: np.ndarray, asked: np.ndarray, k: int = NEIGHBOURS, *, same: bool = False) -> np.ndarray:
    """Distance float64[N] to the k-th nearest known embedding, both scaled to length 1 (Sun et al. 2022,
    arXiv:2204.06507).

    known float[M, D], of training images; asked float[N, D].  same: `asked` is `known`, so that an image is not its own
    neighbour.  DataError: fewer than k known (and, of the same, others), or vectors of another length.
    """
    from sklearn.neighbors import NearestNeighbors

    wanted = k + same
    if k < 1 or len(known) < wanted:
        raise DataError(
            f"{len(known):,} known images have no {k}th neighbour.", where="unknown", code="too-few",
            remedy="Take a smaller k, or more images.",
        )  # fmt: skip
    if known.shape[1] != asked.shape[1]:
        raise DataError(
            f"the embeddings have {asked.shape[1]} numbers, the known ones {known.shape[1]}.", where="unknown",
            code="shape",
        )  # fmt: skip
    index = NearestNeighbors(n_neighbors=wanted, algorithm="brute").fit(unit(known))
    return index.kneighbors(unit(asked))[0][:, -1].astype(np.float64)


def alarm_above(scores: np.ndarray, false_alarms: float) -> float:
    """The score above which at most this share of known images falls, on average over validation sets.

    The conformal quantile (Vovk et al. 2005), rank ⌈(n + 1)(1 - share)⌉; scores float[N] of validation images.
    DataError: too few images for so small a share; UsageError: a share outside (0, 1).
    """
    if not 0 < false_alarms < 1:
        raise UsageError(f"a share lies between 0 and 1, found {false_alarms}.", where="false-alarms", code="setting")
    n = len(scores)
    rank = math.ceil((n + 1) * (1 - false_alarms) - 1e-9)
    if rank > n:
        raise DataError(
            f"{n:,} known images are too few for {false_alarms:g} false alarms; "
            f"{math.ceil(1 / false_alarms) - 1:,} are needed.", where="unknown", code="too-few",
        )  # fmt: skip
    return float(np.sort(scores)[rank - 1])


def alarms(rule: UnknownRule, known: np.ndarray, unknown: np.ndarray | None = None) -> dict[str, Any]:
    """What the rule does: {false_alarms, found, roc_auc}, each {value, low, high} or n/a.

    known float[N]: scores of images of the classes; unknown float[M]: of others, where some are at hand.
    """
    out = {"false_alarms": _of(rule.flags(known))}
    if unknown is None or not len(unknown):
        nothing = {"value": None, "reason": "no unknown image at hand"}
        return out | {"found": nothing, "roc_auc": dict(nothing)}
    scores = np.concatenate([known, unknown])
    strange = np.arange(len(scores)) >= len(known)
    pair = np.column_stack([-scores, scores])
    found = areas(pair, np.column_stack([~strange, strange]), binary=True)[0]["roc_auc"]
    return out | {"found": _of(rule.flags(unknown)), "roc_auc": found}


def _of(flags: np.ndarray) -> dict[str, Any]:
    return share(int(flags.sum()), len(flags), "no image")
