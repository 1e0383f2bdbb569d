"""What may be fitted on: labelled rows of validation, never of the test split."""

from __future__ import annotations

import numpy as np

from anmok.core.errors import DataError
from anmok.core.types import Predictions
from anmok.evaluate.rows import Rows, of_split, usable_rows

TEST = "test"


def fitting_rows(p: Predictions, what: str = "a threshold") -> Rows:
    """The rows to fit on; see `usable_rows`.

    what: is named in the message.  DataError, code `test-split`: a row is marked as the test split's. Whatever is
    chosen by the test split is no longer tested by it.
    """
    marked = sum(mark == TEST for mark in p.split or ())
    if marked:
        raise DataError(
            f"{marked:,} of {len(p):,} rows are of the test split, on which {what} must not be fitted.",
            where="predictions", code="test-split",
            remedy="Give the predictions of the validation split, or out-of-fold predictions.",
        )  # fmt: skip
    return usable_rows(of_split(p, None))


def folds(targets: np.ndarray, parts: int, seed: int) -> np.ndarray:
    """The fold 0 to parts - 1 of each image, int64[N]: each class spread evenly, all folds of about the same size.

    targets int64[N], or bool[N, K] (then spread by the set of labels).
    """
    if targets.ndim == 2:
        _, targets = np.unique(targets, axis=0, return_inverse=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    out = np.empty(len(targets), np.int64)
    out[order] = np.arange(len(targets)) % parts
    return out
