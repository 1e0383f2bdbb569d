"""Images that belong together, say photos of one object: the groups count for uncertainty, not the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anmok.evaluate.confusion import Counts

BLOCK = 8_000_000  # numbers held at a time


def group_codes(ids: Sequence[str], groups: Mapping[str, str] | None) -> np.ndarray | None:
    """The group of each image as a number from 0 on, int64[N]; an image without a group is one of its own.

    None where there is no mapping, or where no two of these images share a group.
    """
    if not groups:
        return None
    # an id and a group may read the same: a lone image is told apart by its second entry
    keys = [(groups[i], False) if groups.get(i) else (i, True) for i in ids]
    number: dict[tuple[str, bool], int] = {}
    codes = np.array([number.setdefault(key, len(number)) for key in keys], np.int64)
    return codes if len(number) < len(codes) else None


def worth(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """How many independent images the shares Σ part / Σ whole are worth, by their design effect (Kish 1965).

    part, whole float64[G, ...]: of each group, what is counted and of how many.  The variance between groups is that of
    a ratio estimate; a share of 0 or 1 shows no variance, and is worth as many images as groups have any.  Never more
    than the images.
    """
    total, counted = whole.sum(axis=0), (whole > 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = part.sum(axis=0) / total
        spread = ((part - share * whole) ** 2).sum(axis=0) * counted / (counted - 1)
        size = share * (1 - share) * total**2 / spread
    size = np.where(np.isfinite(size) & (size > 0), size, counted)
    return np.minimum(size, total)


def images_worth(values: np.ndarray, groups: np.ndarray | None) -> float:
    """How many independent images the mean of values float[N], or of bool[N], is worth; see `worth`."""
    n = len(values)
    if groups is None or n < 2:
        return n
    of, sizes = by_group(values.astype(np.float64), groups), by_group(np.ones(n), groups)
    if values.dtype == bool:
        return float(worth(of, sizes))
    spread = float(((of - values.mean() * sizes) ** 2).sum()) * len(sizes) / max(1, len(sizes) - 1)
    return min(float(n), n**2 * float(np.var(values, ddof=1)) / spread) if spread > 0 else len(sizes)


def by_group(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sums over the images of each group: [N] to float64[G], [N, S] to float64[G, S]."""
    count, n = int(groups.max()) + 1, len(values)
    if values.ndim == 1:
        return np.bincount(groups, weights=values, minlength=count)
    return _members(groups, np.arange(n), (count, n)) @ values.astype(np.float64, copy=False)


def class_tables(groups: np.ndarray, targets: np.ndarray, predicted: np.ndarray, k: int) -> tuple[Any, Any, Any]:
    """(tp, support, predicted) of each group and class, sparse [G, K]; targets, predicted int64[N] or bool[N, K]."""
    shape = (int(groups.max()) + 1, k)
    if targets.ndim == 1:
        right = targets == predicted
        pairs = [(groups[right], targets[right]), (groups, targets), (groups, predicted)]
    else:
        found = [np.nonzero(x) for x in (targets & predicted, targets, predicted)]
        pairs = [(groups[rows], columns) for rows, columns in found]
    tp, support, called = (_members(rows, columns, shape) for rows, columns in pairs)
    return tp, support, called


def class_worth(tables: tuple[Any, Any, Any], sizes: np.ndarray) -> dict[str, np.ndarray]:
    """What each class's precision, recall, F1 and specificity are worth in images, float64[K].

    sizes: images of each group float64[G], or those of which each label is known float64[G, K].

    F1 rests on the images that are of the class or are called so.
    """
    count, k = tables[0].shape
    step = max(1, BLOCK // count)
    found: dict[str, list[np.ndarray]] = {"precision": [], "recall": [], "f1": [], "specificity": []}
    columns = [table.tocsc() for table in tables]
    for start in range(0, k, step):
        tp, support, called = (table[:, start : start + step].toarray() for table in columns)
        other = (sizes[:, None] if sizes.ndim == 1 else sizes[:, start : start + step]) - support
        for name, part, whole in (
            ("precision", tp, called),
            ("recall", tp, support),
            ("f1", tp, support + called - tp),
            ("specificity", other - (called - tp), other),
        ):
            found[name].append(worth(part, whole))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def resample_groups(
    tables: tuple[Any, Any, Any], sizes: np.ndarray, rng: np.random.Generator, resamples: int
) -> Counts:
    """Bootstrap over whole groups: Counts [R, K], scaled so that each draw is of as many images as there are."""
    count, k = tables[0].shape
    n = int(sizes.sum())
    step = max(1, BLOCK // max(count, k))
    parts: list[list[np.ndarray]] = [[], [], []]
    for start in range(0, resamples, step):
        times = rng.multinomial(count, np.full(count, 1 / count), size=min(step, resamples - start)).astype(np.float64)
        scale = n / (times @ sizes)
        for found, table in zip(parts, tables, strict=True):
            found.append((table.T @ times.T).T * scale[:, None])
    tp, support, called = (np.concatenate(found) for found in parts)
    return Counts(tp, support, called, n)


def _members(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> Any:
    from scipy.sparse import csr_array

    return csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
