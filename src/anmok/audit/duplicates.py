"""Near duplicates: candidates by their hashes, confirmed on the pixels, grouped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anmok.audit.candidates import FITS, Candidates, candidates, merged
from anmok.audit.confirm import Look, Verdict, confirm, look
from anmok.audit.hashes import HASHES
from anmok.audit.near_config import NearConfig
from anmok.audit.union import Union
from anmok.core.errors import DataError
from anmok.core.machine import cores
from anmok.core.types import Finding

if TYPE_CHECKING:
    import polars as pl

_BATCH = 256  # pairs confirmed before the next are chosen
_HELD = 1024  # pictures kept from batch to batch, 40 MB


@dataclass(frozen=True, eq=False)
class Near:
    """findings: exact-pixels and near-duplicate, one confirmed pair a row, decision 'group'; group: of each image the
    id of the first member of its group (copies of the same bytes are in it), null where it has none; tried: how many
    pairs were looked at.

    In a group of n different files at least n - 1 pairs are confirmed; more than connect it may be left out.
    """

    findings: list[Finding]
    group: pl.Series
    tried: int


def near_duplicates(
    images: pl.DataFrame, read: Callable[[str], bytes], *, threads: int | None = None, config: NearConfig | None = None,
    embeddings: np.ndarray | None = None,
) -> Near:  # fmt: skip
    """Of a table of images with id, image, bytes, hash, width, height, fault, and HASHES (uint64, null: not measured).

    read: the bytes of a value of `image`; a DataError leaves the picture out.  embeddings: float32[N, D], one row an
    image (NaN: none), for candidates that no hash finds.  Only pictures of a candidate pair are decoded, once for all
    pairs of a batch of 256.  Memory: some 200 bytes an image, 18 a candidate (at most 20 an image), and 100 MB.  The
    result does not depend on the number of threads.
    """
    import cv2

    cv2.setNumThreads(1)  # the threads are ours; OpenCV's own would fight them
    config, threads = config or NearConfig(), threads or cores()
    ids, union = images["id"].to_list(), Union()
    _join_copies(images, union)
    rows = _first_of_each(images)
    hashes = np.stack([images[name].gather(rows).to_numpy().astype(np.uint64) for name in HASHES], axis=1)
    pairs = candidates(hashes, config, threads)
    if embeddings is not None:
        pairs = _with_neighbours(pairs, embeddings[rows], config, threads)
    pairs = pairs._replace(first=rows[pairs.first], second=rows[pairs.second])
    findings, tried, looks = [], 0, _Looks(images, read)
    with ThreadPoolExecutor(threads) as pool:
        for batch in _batches(pairs, union):
            tried += len(batch)
            looks.hold([row for pair in batch for row in pair[:2]], pool)
            for pair, found in zip(batch, pool.map(partial(_judge, looks, config), batch), strict=True):
                if found is not None:
                    union.join(pair.first, pair.second)
                    pair_ids = [ids[pair.first], ids[pair.second]]
                    findings.append(Finding(found.kind, pair_ids, round(found.score, 4), found.evidence, "group"))
    return Near(findings, _groups(ids, union), tried)


class _Pair(NamedTuple):
    first: int
    second: int
    fit: str


def _join_copies(images: pl.DataFrame, union: Union) -> None:
    """Files of the same bytes, if there are any bytes."""
    import polars as pl

    copies = images.with_row_index("row").filter(
        pl.col("hash").is_not_null() & (pl.col("bytes") > 0) & pl.col("hash").is_duplicated()
    )
    for first, row in copies.select(pl.col("row").first().over("hash").alias("first"), "row").iter_rows():
        union.join(first, row)


def _first_of_each(images: pl.DataFrame) -> np.ndarray:
    """Rows of the pictures that can be used, of the same bytes the first; int64[M]."""
    import polars as pl

    usable = images.with_row_index("row").filter(pl.col("fault").is_null() & pl.col("phash").is_not_null())
    return usable.unique("hash", keep="first", maintain_order=True)["row"].to_numpy().astype(np.int64)


def _with_neighbours(pairs: Candidates, embeddings: np.ndarray, config: NearConfig, threads: int) -> Candidates:
    """The candidates and, after them, pairs of near embeddings."""
    from anmok.audit.neighbours import neighbours

    first, second, _ = neighbours(embeddings, config.similarity, threads)
    found = [(pairs.first[[k]], pairs.second[[k]], FITS[pairs.fit[k]], pairs.bits[[k]]) for k in range(len(pairs.fit))]
    found.append((first, second, "upright", np.full(len(first), 64)))
    return merged(found, len(pairs.first) + len(first))


def _batches(pairs: Candidates, union: Union) -> Iterator[list[_Pair]]:
    """Pairs in their order, but none between pictures that are in one group by then.

    A pair that the others of its batch would connect waits for what becomes of them, so that a group of n takes n - 1
    confirmations, not all pairs.
    """
    stream = _stream(pairs)
    waiting: deque[tuple[int, int, int]] = deque()
    while True:
        batch: list[_Pair] = []
        hoped, again = Union(), []
        while len(batch) < _BATCH:
            pair = waiting.popleft() if waiting else next(stream, None)
            if pair is None:
                break
            one, other = union.find(pair[0]), union.find(pair[1])
            if one == other:
                continue
            if hoped.find(one) == hoped.find(other):
                again.append(pair)
                continue
            hoped.join(one, other)
            batch.append(_Pair(pair[0], pair[1], FITS[pair[2]]))
        if not batch:
            return
        waiting.extendleft(reversed(again))
        yield batch


def _stream(pairs: Candidates, some: int = 1 << 16) -> Iterator[tuple[int, int, int]]:
    """(first, second, fit) of each pair, as numbers of Python some at a time."""
    for begin in range(0, len(pairs.first), some):
        part = slice(begin, begin + some)
        yield from zip(pairs.first[part].tolist(), pairs.second[part].tolist(), pairs.fit[part].tolist(), strict=True)


def _judge(looks: _Looks, config: NearConfig, pair: _Pair) -> Verdict | None:
    first, second = looks[pair.first], looks[pair.second]
    if first is None or second is None:
        return None
    try:
        return confirm(first, second, pair.fit, config, lambda: (looks.read(pair.first), looks.read(pair.second)))
    except DataError:  # gone since it was decoded
        return None


class _Looks:
    """Decoded pictures by row, None for one that cannot be read; the latest are kept."""

    def __init__(self, images: pl.DataFrame, read: Callable[[str], bytes]) -> None:
        self._images, self._read = images.select("image", "width", "height"), read
        self._looks: dict[int, Look | None] = {}

    def __getitem__(self, row: int) -> Look | None:
        return self._looks[row]

    def read(self, row: int) -> bytes:
        """The bytes of a row's file."""
        return self._read(self._images["image"][row])

    def hold(self, rows: list[int], pool: ThreadPoolExecutor) -> None:
        """Decode what is missing of these rows, and forget the oldest of the others."""
        wanted = list(dict.fromkeys(rows))
        held = {row: self._looks.pop(row) for row in wanted if row in self._looks}
        missing = [row for row in wanted if row not in held]
        held.update(zip(missing, pool.map(self._look, missing), strict=True))
        self._looks |= held
        for row in list(self._looks)[: max(0, len(self._looks) - max(_HELD, len(wanted)))]:
            del self._looks[row]

    def _look(self, row: int) -> Look | None:
        _, width, height = self._images.row(row)
        try:
            return look(self.read(row), width, height)
        except DataError:
            return None


def _groups(ids: list[str], union: Union) -> pl.Series:
    import polars as pl

    names = union.names(len(ids))
    alone = np.bincount(names, minlength=len(names))[names] == 1
    return pl.Series("group", [None if a else ids[n] for n, a in zip(names.tolist(), alone, strict=True)], pl.String)
