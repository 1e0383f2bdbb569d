"""Rows divided into parts that look alike: by class for one label an image, iteratively for several; units whole."""

from __future__ import annotations

import numpy as np


def units_of(*keys: list[str | None]) -> np.ndarray:
    """int64[N]: rows that share any key (a group, a content hash) share a unit, through others too; null never does.

    Units are numbered by their first row.
    """
    n = len(keys[0])
    parent = list(range(n))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for key in keys:
        first: dict[str, int] = {}
        for i, value in enumerate(key):
            if value is not None:
                a, b = find(first.setdefault(value, i)), find(i)
                parent[max(a, b)] = min(a, b)
    return np.unique([find(i) for i in range(n)], return_inverse=True)[1].astype(np.int64)


def totals_of(n: int, shares: np.ndarray) -> np.ndarray:
    """int64[S]: n rows by shares (float64[S], sum 1), each but the first rounded half up, the first takes the rest.

    Equal shares (folds) differ by one at most.
    """
    if np.allclose(shares, shares[0]):
        return n // len(shares) + (np.arange(len(shares)) < n % len(shares))
    rest = np.floor(n * shares[1:] + 0.5 + 1e-9).astype(np.int64)
    return np.array([n - rest.sum(), *rest])


def lone_units(member: np.ndarray, units: np.ndarray) -> np.ndarray:
    """bool[U]: units that hold all rows of some class. member: bool[N, K]; units: int64[N]."""
    out = np.zeros(units.max(initial=-1) + 1, bool)
    for k in range(member.shape[1]):
        holders = np.unique(units[member[:, k]])
        if len(holders) == 1:
            out[holders[0]] = True
    return out


def apportion(counts: np.ndarray, totals: np.ndarray, rng: np.random.Generator, folds: bool = False) -> np.ndarray:
    """int64[C, S] with row sums counts (int64[C]) and column sums totals (int64[S]), each cell near its quota.

    Quotas are rounded down, then up where the remainder is largest; ties by the generator. Unless the parts are folds,
    a class of two or more has one in the first part.
    """
    quota = counts[:, None] * (totals / max(totals.sum(), 1))
    cells = np.floor(quota + 1e-9).astype(np.int64)
    owed = counts - cells.sum(axis=1)
    broken = quota - cells > 1e-9
    remainder = quota - cells + 1e-7 * rng.random(quota.shape)
    for s in range(len(totals) - 1, 0, -1):
        must = owed > broken[:, :s].sum(axis=1)  # more left to round up than columns left to do it in
        order = np.lexsort((-remainder[:, s], ~must))
        order = order[owed[order] > 0][: max(int(totals[s] - cells[:, s].sum()), 0)]
        cells[order, s] += 1
        owed[order] -= 1
    cells[:, 0] += owed
    for c in np.flatnonzero((cells[:, 0] == 0) & (counts > 1) & (not folds)):
        cells[c, cells[c].argmax()] -= 1
        cells[c, 0] += 1
    return cells


def by_class(
    codes: np.ndarray, units: np.ndarray, totals: np.ndarray, rng: np.random.Generator, folds: bool = False
) -> np.ndarray:
    """int64[N], the part of each row: class shares as equal as can be, totals exact where units are single rows.

    codes: int64[N] >= 0, the class; units: int64[N]; totals: int64[S].
    """
    out = np.full(len(codes), -1, np.int64)
    want = apportion(np.bincount(codes), totals, rng, folds)
    per_class = np.bincount(codes).astype(np.float64)
    sizes = np.bincount(units)
    keys = rng.random(len(sizes))
    rows_of = _rows_by(units)
    for unit in sorted(np.flatnonzero(sizes > 1), key=lambda u: (-sizes[u], keys[u])):
        rows = rows_of[unit]
        found = np.bincount(codes[rows], minlength=len(per_class))
        gain = (found[:, None] * (2 * want - found[:, None]) / np.maximum(per_class, 1)[:, None]).sum(axis=0)
        part = int(gain.argmax())
        out[rows] = part
        want[:, part] -= found
    single = sizes[units] == 1
    for c in range(len(per_class)):
        rows = np.flatnonzero((codes == c) & single)
        rows = rows[np.argsort(keys[units[rows]], kind="stable")]
        left = np.maximum(want[c], 0)
        while left.sum() > len(rows):
            left[left.argmax()] -= 1
        out[rows] = np.repeat(np.arange(len(totals)), left)
    return out


def iterative(member: np.ndarray, units: np.ndarray, totals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int64[N], the part of each row, by iterative stratification (Sechidis, Tsoumakas & Vlahavas 2011, algorithm 1).

    member: bool[N, K], the labels; units: int64[N] (kept whole); totals: int64[S], kept exactly where units are single
    rows: unlike in the paper a part that is full takes no more.
    """
    sizes = np.bincount(units)
    labels = np.zeros((len(sizes), member.shape[1]), np.int64)
    np.add.at(labels, units, member.astype(np.int64))
    room = totals.astype(np.float64)
    desired = labels.sum(axis=0)[:, None] * (totals / max(totals.sum(), 1))
    left = (labels > 0).sum(axis=0)
    out = np.full(len(sizes), -1, np.int64)
    order = rng.permutation(len(sizes))

    def place(unit: int, wish: np.ndarray) -> None:
        fits = room >= sizes[unit]
        best = fits if fits.any() else room == room.max()
        for score in (wish, room):
            best = best & (score >= score[best].max() - 1e-9)
        choices = np.flatnonzero(best)
        part = int(choices[0] if len(choices) == 1 else rng.choice(choices))
        out[unit] = part
        room[part] -= sizes[unit]
        desired[:, part] -= labels[unit]
        left[:] -= labels[unit] > 0

    while (left > 0).any():
        rarest = int(np.where(left > 0, left, np.iinfo(np.int64).max).argmin())
        for unit in order[(labels[order, rarest] > 0) & (out[order] < 0)]:
            place(int(unit), desired[rarest])
    for unit in order[out[order] < 0]:
        place(int(unit), room)
    return out[units]


def _rows_by(units: np.ndarray) -> list[np.ndarray]:
    """The rows of each unit."""
    order = np.argsort(units, kind="stable")
    return np.split(order, np.cumsum(np.bincount(units))[:-1]) if len(units) else []


def divide(
    member: np.ndarray,
    units: np.ndarray,
    shares: np.ndarray,
    rng: np.random.Generator,
    *,
    multilabel: bool = False,
    folds: bool = False,
) -> np.ndarray:
    """int64[N], the part of each row; -1 for the rows of a unit that holds all of some class.

    member: bool[N, K] (a row without a class: all False); units: int64[N]; shares: float64[S], sum 1; folds: the parts
    are equals. Otherwise the first one trains: it has a row of every class, and the rows marked -1 count as its own.
    """
    out = np.full(len(units), -1, np.int64)
    rest = np.flatnonzero(~lone_units(member, units)[units])
    if not len(rest):
        return out
    totals = totals_of(len(rest) if folds else len(units), shares)
    totals[0] -= totals.sum() - len(rest)
    if totals[0] < 0:
        totals = totals_of(len(rest), shares)
    compact = np.unique(units[rest], return_inverse=True)[1]
    if multilabel:
        out[rest] = iterative(member[rest], compact, totals, rng)
    else:
        codes = np.column_stack([member[rest], ~member[rest].any(axis=1)]).argmax(axis=1)
        out[rest] = by_class(np.unique(codes, return_inverse=True)[1], compact, totals, rng, folds)
    return out
