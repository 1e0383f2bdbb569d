"""What was right and wrong in a split: counts, their bootstrap, and how many independent images they are worth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anmok.evaluate import confusion as cm
from anmok.evaluate.confusion import Counts
from anmok.evaluate.groups import by_group, class_tables, class_worth, images_worth, resample_groups
from anmok.evaluate.resampling import BLOCK, LEAST, resample_cells, resample_sums
from anmok.evaluate.rows import Rows


class Tally(NamedTuple):
    """targets and predicted int64[N] or bool[N, K]; matrix int64[K, K] or [K, 2, 2]; counts [K], drawn
    [R, K].

    worth: of 'precision', 'recall', 'f1', 'specificity' what each class's is worth in independent images, float64[K].
    groups: int64[N], or None where images are independent.
    """

    targets: np.ndarray
    predicted: np.ndarray
    matrix: np.ndarray
    counts: Counts
    drawn: Counts
    worth: dict[str, np.ndarray]
    groups: np.ndarray | None

    def images(self, values: np.ndarray) -> float:
        """How many independent images the mean of values float[N], or shares bool[N], is worth."""
        return images_worth(values, self.groups)


def tally(
    rows: Rows, predicted: np.ndarray, groups: np.ndarray | None, rng: np.random.Generator, resamples: int
) -> Tally:
    """Count and draw; see `Tally`."""
    k = len(rows.classes)
    multi = rows.targets.ndim == 2
    if rows.known is not None:  # what is unknown is neither right nor wrong
        predicted = predicted & rows.known
    matrix = (
        cm.multilabel_counts(rows.targets, predicted, rows.known)
        if multi
        else cm.confusion_counts(rows.targets, predicted, k)
    )
    counts = cm.counts_of_labels(matrix) if multi else cm.counts_of(matrix)
    if groups is not None:
        tables, sizes = class_tables(groups, rows.targets, predicted, k), by_group(np.ones(len(predicted)), groups)
        drawn = resample_groups(tables, sizes, rng, resamples)
        worth = class_worth(tables, sizes if rows.known is None else by_group(rows.known, groups))
        return Tally(rows.targets, predicted, matrix, counts, drawn, worth, groups)
    drawn = (
        _label_draws(rows.targets, predicted, rng, resamples)
        if multi
        else resample_cells(matrix, rng, resamples).counts
    )
    sizes_of = {
        "precision": counts.predicted,
        "recall": counts.support,
        "f1": counts.support + counts.predicted - counts.tp,
        "specificity": counts.n - counts.support,
    }
    return Tally(rows.targets, predicted, matrix, counts, drawn, sizes_of, None)


def _label_draws(targets: np.ndarray, predicted: np.ndarray, rng: np.random.Generator, resamples: int) -> Counts:
    """Counts of each label over images drawn again: the same images for all labels, some labels at a time."""
    n, k = targets.shape
    step = max(1, 4 * BLOCK // n)
    seed = int(rng.integers(2**63))
    r = max(min(resamples, LEAST), min(resamples, 100_000_000 // n))
    parts = []
    for start in range(0, k, step):
        truth, called = targets[:, start : start + step], predicted[:, start : start + step]
        features = np.concatenate([truth & called, truth, called], axis=1).astype(np.float64)
        parts.append(np.split(resample_sums(features, np.random.default_rng(seed), r), 3, axis=1))
    tp, support, called = (np.concatenate([part[i] for part in parts], axis=1) for i in range(3))
    return Counts(tp, support, called, n)
