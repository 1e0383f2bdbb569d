"""Several models' Predictions brought to the same images in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anmok.core.errors import DataError, UsageError
from anmok.core.types import Predictions
from anmok.evaluate.rows import Rows, of_split, usable_rows


def same_images(models: Sequence[Predictions]) -> list[Predictions]:
    """Predictions with the rows of the first's ids, in its order.

    DataError: another task or other classes (the order counts), an id that one has and another lacks, an id twice, or a
    target on which they do not agree.  UsageError: none given.
    """
    if not models:
        raise UsageError("no predictions given.", where="predictions", code="setting")
    first = of_split(models[0], None)
    out = [first]
    for number, other in enumerate(models[1:], start=2):
        of_split(other, None)
        _same_classes(first, other, number)
        row = {identity: n for n, identity in enumerate(other.ids)}
        missing = [i for i in first.ids if i not in row]
        extra = set(other.ids).difference(first.ids) if len(row) != len(first) or missing else set()
        if missing or extra:
            what = [f"lacks {len(missing):,} of the first's, such as {missing[0]!r}"] if missing else []
            what += [f"has {len(extra):,} that the first lacks, such as {min(extra)!r}"] if extra else []
            raise DataError(
                f"the ids do not match: number {number} {' and '.join(what)}.", where="predictions", code="ids",
                remedy="Predict the same images with every model.",
            )  # fmt: skip
        index = np.array([row[i] for i in first.ids], np.int64)
        moved = other if (index == np.arange(len(index))).all() else other.select(index)
        _same_targets(first, moved, number)
        out.append(moved)
    return out


def aligned(models: Sequence[Predictions]) -> list[Rows]:
    """The rows that every one of the models can be scored on; see `same_images` and `usable_rows`."""
    matched = same_images(models)
    targets = next((p.targets for p in matched if p.targets is not None), None)
    unread = np.zeros(len(matched[0]), bool)
    for p in matched:
        unread |= np.isnan(p.probs).any(axis=1)
    if unread.any():
        matched = [replace(p, probs=np.where(unread[:, None], np.nan, p.probs)) for p in matched]
    return [usable_rows(p if p.targets is not None else replace(p, targets=targets)) for p in matched]


def _same_classes(first: Predictions, other: Predictions, number: int) -> None:
    if first.task != other.task:
        raise DataError(
            f"the tasks differ: {first.task} and, number {number}, {other.task}.", where="predictions", code="class-map"
        )
    if list(first.classes) == list(other.classes):
        return
    lacking, extra = (
        ", ".join(sorted(set(x) - set(y))[:5])
        for x, y in ((first.classes, other.classes), (other.classes, first.classes))
    )
    what = (
        "; ".join([f"it lacks {lacking}"] * bool(lacking) + [f"it adds {extra}"] * bool(extra)) or "the order differs"
    )
    raise DataError(
        f"the classes of number {number} are not the first's: {what}.", where="predictions", code="class-map",
        remedy="Only models of the same classes in the same order can be put beside each other.",
    )  # fmt: skip


def _same_targets(first: Predictions, other: Predictions, number: int) -> None:
    if first.targets is None or other.targets is None:
        return
    same = first.targets == other.targets
    if same.ndim == 2:
        same = (same | (np.isnan(first.targets) & np.isnan(other.targets))).all(axis=1)
    if not same.all():
        raise DataError(
            f"{int((~same).sum()):,} targets of number {number} are not the first's, such as that of "
            f"{first.ids[int((~same).argmax())]!r}.",
            where="predictions", code="targets",
        )  # fmt: skip
