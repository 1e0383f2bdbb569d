"""The rows of Predictions that can be scored, after every check that keeps a score honest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from anmok.core.errors import DataError
from anmok.core.types import Predictions, Task

SUM_TOLERANCE = 1e-3  # of a row of probabilities; float32 softmax over 1,000 classes stays far below


class Rows(NamedTuple):
    """What is scored, and how many rows were left out.

    probs float[N, K] without NaN, targets int64[N] or bool[N, K], ids N strings; known: bool[N, K] of multi-label
    targets of which some are unknown (they are False), None where all are known.
    """

    probs: np.ndarray
    targets: np.ndarray
    classes: list[str]
    task: Task
    rejected: int
    unlabelled: int
    ids: list[str]
    known: np.ndarray | None = None

    def take(self, keep: np.ndarray) -> Rows:
        """The rows where keep, bool[N], says so."""
        ids = [self.ids[i] for i in np.flatnonzero(keep)]
        known = None if self.known is None else self.known[keep]
        return self._replace(probs=self.probs[keep], targets=self.targets[keep], ids=ids, known=known)


class Extent(NamedTuple):
    """Least, greatest and sum of each row, float[N] each; NaN where the row has a NaN."""

    low: np.ndarray
    high: np.ndarray
    total: np.ndarray


def of_split(p: Predictions, split: str | None) -> Predictions:
    """The rows of one split; all rows where none are marked.  DataError: the split is not among them, an id repeats."""
    if split is not None and p.split is not None:
        marks = np.array([s or "" for s in p.split])
        keep = marks == split
        if not keep.any():
            found = ", ".join(sorted({m for m in marks if m})) or "no split at all"
            raise DataError(
                f"split {split!r} matches 0 of {len(p):,} rows; found {found}.", where="predictions", code="no-rows"
            )
        p = p if keep.all() else p.select(keep)
    if len(set(p.ids)) < len(p.ids):
        twice = Counter(p.ids).most_common(1)[0][0]
        raise DataError(
            f"the id {twice!r} appears more than once; each image counts once.", where="predictions", code="repeated-id"
        )
    return p


def usable_rows(p: Predictions) -> Rows:
    """Labelled rows whose image could be read; of multi-label rows one known label is enough.

    Rows with a NaN probability are counted as rejected, then rows without a target as unlabelled.  DataError: no rows,
    no labelled row, probabilities outside [0, 1] or (but for multi-label) not summing to one, a target out of range.
    """
    if len(p) == 0:
        raise DataError("there are no rows to evaluate.", where="predictions", code="no-rows")
    if not p.classes:
        raise DataError("the predictions name no classes.", where="predictions", code="no-classes")
    if p.task == "binary" and len(p.classes) != 2:
        raise DataError(
            f"a binary task has two classes, found {len(p.classes)}: {', '.join(p.classes[:5])}.",
            where="predictions",
            code="classes",
        )
    extent = _extent(p.probs)
    readable = ~np.isnan(extent.low)
    known = _labelled(p)
    keep = readable & known
    rejected, unlabelled = int((~readable).sum()), int((readable & ~known).sum())
    if p.targets is None or not keep.any():
        raise DataError(
            f"no row can be scored: {rejected:,} of {len(p):,} could not be read, {unlabelled:,} have no label.",
            where="predictions",
            remedy="Evaluation needs labelled images.",
            code="unlabelled",
        )
    probs, targets, ids = p.probs, p.targets, p.ids
    if not keep.all():  # a million rows are not copied for nothing
        probs, targets, ids = probs[keep], targets[keep], [ids[i] for i in np.flatnonzero(keep)]
        extent = Extent(*(x[keep] for x in extent))
    _check_probs(extent, ids, p.task)
    _check_targets(targets, len(p.classes), p.task)
    if p.task == "multilabel":
        gaps = np.isnan(targets)
        return Rows(
            probs, targets > 0.5, p.classes, p.task, rejected, unlabelled, ids, ~gaps if gaps.any() else None
        )  # fmt: skip
    return Rows(probs, targets, p.classes, p.task, rejected, unlabelled, ids)


def blocks(n: int, k: int) -> Iterator[slice]:
    """Slices of rows whose K columns are some 64 MB as float64, so that no pass doubles the memory."""
    step = max(1, 8_000_000 // max(1, k))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def _extent(probs: np.ndarray) -> Extent:
    n, k = probs.shape
    out = Extent(np.empty(n, probs.dtype), np.empty(n, probs.dtype), np.empty(n))
    with np.errstate(invalid="ignore"):  # infinities are refused by name, below
        for part in blocks(n, k):
            block = probs[part]
            out.low[part], out.high[part] = block.min(axis=1), block.max(axis=1)
            out.total[part] = block.sum(axis=1, dtype=np.float64)
    return out


def _labelled(p: Predictions) -> np.ndarray:
    if p.targets is None:
        return np.zeros(len(p), bool)
    shape = (len(p), len(p.classes)) if p.task == "multilabel" else (len(p),)
    if p.targets.shape != shape:
        raise DataError(
            f"targets have the shape {p.targets.shape}, a {p.task} task needs {shape}.",
            where="predictions",
            code="shape",
        )
    return ~np.isnan(p.targets).all(axis=1) if p.task == "multilabel" else p.targets >= 0


def _check_probs(extent: Extent, ids: list[str], task: Task) -> None:
    outside = (extent.low < 0) | (extent.high > 1 + SUM_TOLERANCE)
    if outside.any():
        row = int(outside.argmax())
        raise DataError(
            f"{int(outside.sum()):,} rows have probabilities outside 0 to 1, first {ids[row]!r} "
            f"(from {extent.low[row]:.4g} to {extent.high[row]:.4g}).",
            where="predictions",
            remedy="These look like logits: apply a softmax first (a sigmoid for multi-label).",
            code="probabilities",
        )
    if task == "multilabel":
        return
    off = np.abs(extent.total - 1) > SUM_TOLERANCE
    if off.any():
        row = int(off.argmax())
        raise DataError(
            f"the probabilities of {int(off.sum()):,} rows do not sum to 1, first {ids[row]!r} "
            f"(sum {extent.total[row]:.4g}).",
            where="predictions",
            remedy="Divide each row by its sum, or give the task as multilabel.",
            code="probabilities",
        )


def _check_targets(targets: np.ndarray, k: int, task: Task) -> None:
    if task == "multilabel":
        wrong = targets[(targets != 0) & (targets != 1) & ~np.isnan(targets)]
        allowed = "0 or 1 (NaN: unknown)"
    else:
        wrong = targets[targets >= k]
        allowed = f"0 to {k - 1} (-1: unlabelled)"
    if wrong.size:
        raise DataError(f"a target is {wrong.flat[0]}; allowed are {allowed}.", where="predictions", code="targets")
