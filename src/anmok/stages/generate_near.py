"""Which generated images are nearly an image that is there: by their hashes and pixels, and by their vectors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from anmok.audit.duplicates import near_duplicates
from anmok.audit.scan import scan
from anmok.core.types import Finding
from anmok.data.table import Table
from anmok.expand.judged import LEAK, MEMORISED, TWIN, Near, copy_bound, nearest

REAL, MADE = "real:", "made:"  # in front of ids and references, while both kinds of images are in one frame
WAY = "in one group of near duplicates"
ORDER = {LEAK: 0, MEMORISED: 1, TWIN: 2}


def near_known(
    table: Table, made: Table, known: np.ndarray, vectors: np.ndarray, *, bound: float | None = None,
    threads: int | None = None,
) -> tuple[dict[int, Near], float]:  # fmt: skip
    """(place of a generated image -> what it is nearly, the cosine from which vectors call it a copy).

    known float[M, D], vectors float[N, D]: of the rows of both tables by one encoder; they bring candidates that no
    hash finds, and decide by themselves from the bound on (None: see `copy_bound`). Rows of no split count for nothing.
    """
    inside = np.flatnonzero(table.rows["split"].is_not_null().to_numpy())
    table, known = table.take(inside), known[inside]
    bound = copy_bound(known) if bound is None else bound
    found = _by_pixels(table, made, np.concatenate([known, vectors]), threads)
    cosine, row = nearest(vectors, known)
    ids, splits = table.rows["id"].to_list(), table.rows["split"].to_list()
    for place in np.flatnonzero(np.nan_to_num(cosine, nan=-1.0) >= bound).tolist():
        reason = MEMORISED if splits[row[place]] == "train" else LEAK
        near = Near(reason, ids[row[place]], f"vectors {cosine[place]:.3f} alike")
        if place not in found or ORDER[reason] < ORDER[found[place].reason]:
            found[place] = near
    return found, bound


def _by_pixels(table: Table, made: Table, vectors: np.ndarray, threads: int | None) -> dict[int, Near]:
    """What the audit calls near duplicates (saved anew, resized, mirrored, turned, cropped by a tenth)."""
    import polars as pl

    frames = [
        scan(rows, threads=threads).images.with_columns((pl.lit(mark) + pl.col(c)).alias(c) for c in ("id", "image"))
        for mark, rows in ((REAL, table), (MADE, made))
    ]

    def read(reference: str) -> bytes:
        if reference.startswith(REAL):
            return table.storage.read(reference.removeprefix(REAL))
        return made.storage.read(reference.removeprefix(MADE))

    images = pl.concat(frames)
    result = near_duplicates(images, read, threads=threads, embeddings=vectors.astype(np.float32))
    splits = dict(zip(images["id"], [*table.rows["split"].to_list(), *[None] * len(made)], strict=True))
    pairs = _pairs(result.findings)
    members: dict[str, list[str]] = {}
    for name, group in zip(images["id"], result.group, strict=True):
        if group is not None:
            members.setdefault(group, []).append(name)
    place = {name: n for n, name in enumerate(images["id"].to_list()[len(table) :])}
    out: dict[int, Near] = {}
    for names in members.values():
        for name in names:
            near = _reason(name, names, splits, pairs, place) if name in place else None
            if near is not None:
                out[place[name]] = near
    return out


def _reason(
    name: str, group: list[str], splits: Mapping[str, str | None], pairs: Mapping[frozenset[str], str],
    place: Mapping[str, int],
) -> Near | None:  # fmt: skip
    """The worst that an image's group says of it; the first of several generated ones is no twin."""
    kinds = {
        LEAK: [o for o in group if splits[o] in ("val", "test")],
        MEMORISED: [o for o in group if splits[o] == "train"],
        TWIN: [o for o in group if o in place and place[o] < place[name]],
    }
    for reason, others in kinds.items():
        if others:
            direct = [other for other in others if frozenset((name, other)) in pairs]
            other = (direct or others)[0]
            return Near(reason, other.split(":", 1)[1], pairs.get(frozenset((name, other)), WAY))
    return None


def _pairs(findings: list[Finding]) -> dict[frozenset[str], str]:
    return {frozenset(one.ids): one.evidence for one in findings}
