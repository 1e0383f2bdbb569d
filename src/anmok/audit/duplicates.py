"""Near duplicates: candidates by their hashes, confirmed on the pixels, grouped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anmok.audit.candidates import FITS, Candidates, candidates
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
    findings, tried = [], 0
    with ThreadPoolExecutor(threads) as pool:
        looks = _Looks(images, read, pool)
        for batch in _batches(pairs, union):
            tried += len(batch)
            for pair, found in zip(batch, _judged(batch, looks, config, pool), strict=True):
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
    count = len(embeddings)
    new = ~np.isin(first * count + second, pairs.first * count + pairs.second)
    first, second = first[new], second[new]
    columns = first, second, np.zeros(len(first), np.uint8), np.full(len(first), 64, np.uint8)  # upright, the last
    return Candidates(*(np.concatenate(both) for both in zip(pairs, columns, strict=True)))


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


def _judged(batch: list[_Pair], looks: _Looks, config: NearConfig, pool: ThreadPoolExecutor) -> list[Verdict | None]:
    """Each pair is queued behind the decoding of its two pictures, so that decoding and comparing take turns."""
    waiting = []
    for pair in batch:
        first, second = looks.want(pair.first), looks.want(pair.second)
        waiting.append(pool.submit(_judge, pair, first, second, looks.read, config))
    verdicts = [verdict.result() for verdict in waiting]
    looks.forget()
    return verdicts


def _judge(
    pair: _Pair, first: Future[Look | None], second: Future[Look | None], read: Callable[[int], bytes],
    config: NearConfig,
) -> Verdict | None:  # fmt: skip
    one, two = first.result(), second.result()
    if one is None or two is None:
        return None
    try:
        return confirm(one, two, pair.fit, config, lambda: (read(pair.first), read(pair.second)))
    except DataError:  # gone since it was decoded
        return None


class _Looks:
    """Decoded pictures by row, None for one that cannot be read; the latest are kept."""

    def __init__(self, images: pl.DataFrame, read: Callable[[str], bytes], pool: ThreadPoolExecutor) -> None:
        self._images, self._read, self._pool = images.select("image", "width", "height"), read, pool
        self._looks: dict[int, Future[Look | None]] = {}

    def want(self, row: int) -> Future[Look | None]:
        """The picture of a row, decoded by the pool if it is not held."""
        found = self._looks.pop(row, None) or self._pool.submit(self._look, row)
        self._looks[row] = found
        return found

    def read(self, row: int) -> bytes:
        """The bytes of a row's file."""
        return self._read(self._images["image"][row])

    def forget(self) -> None:
        """Let go of those that were wanted longest ago."""
        for row in list(self._looks)[: max(0, len(self._looks) - _HELD)]:
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
