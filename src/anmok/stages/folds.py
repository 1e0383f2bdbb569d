"""Folds for out-of-fold predictions: every image is judged by models that saw neither it nor a copy of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from anmok.data.stratify import divide, units_of
from anmok.data.table import Table


class Folds(NamedTuple):
    """fold: int64[N], 0 … k-1, -1 where an image trains in every fold and so gets no prediction; rare: bool[K], classes
    with fewer images than folds (multi-label: with, or without, the label), which get no verdict.
    """

    fold: np.ndarray
    rare: np.ndarray


def assign_folds(table: Table, folds: int, seed: int = 0, groups: Sequence[str | None] | None = None) -> Folds:
    """Stratified folds of a labelled table; images with the same bytes, `group` or entry of `groups` stay together.

    They depend on ids and seed, not on the order of the rows. groups: N names or None, as the near-duplicate groups of
    an audit. Multi-class images of a rare class, and what stays together with them, train in every fold.
    """
    table = table.hashed()
    order = np.argsort(np.array(table.rows["id"].to_list(), dtype=object), kind="stable")
    keys = [
        table.rows["group"].to_list(),
        table.rows["hash"].to_list(),
        *([list(groups)] if groups is not None else []),
    ]
    units = units_of(*([key[i] for i in order] for key in keys))
    targets = table.targets()[order]
    multilabel = targets.ndim == 2
    member = targets > 0 if multilabel else targets[:, None] == np.arange(len(table.classes))
    images = member.sum(axis=0)
    rare = np.minimum(images, len(member) - images) < folds if multilabel else images < folds
    rng = np.random.Generator(np.random.PCG64(seed))
    part = divide(member, units, np.full(folds, 1 / folds), rng, multilabel=multilabel, folds=True)
    if not multilabel:
        part[np.isin(units, units[member[:, rare].any(axis=1)])] = -1
    fold = np.empty(len(part), np.int64)
    fold[order] = part
    return Folds(fold, rare)
