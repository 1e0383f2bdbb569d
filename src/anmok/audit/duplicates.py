"""Near duplicates: candidates by their hashes, confirmed on the pixels, grouped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anmok.audit.candidates import FITS, Candidates, candidates
from anmok.audit.confirm import Look, Pair, Verdict, confirm_all, look
from anmok.audit.hashes import HASHES
from anmok.audit.heap import keep_freed
from anmok.audit.near_config import NearConfig
from anmok.audit.union import Union
from anmok.core.errors import DataError
from anmok.core.machine import cores
from anmok.core.types import Finding

if TYPE_CHECKING:
    import polars as pl

_BATCH = 256  # pairs confirmed before the next are chosen
_TOGETHER = 64  # of them compared at a time
_TASK = 8  # pictures decoded at a time
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
    keep_freed()
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
    """Some pairs at a time are queued behind the decoding of their pictures, so that both go on side by side."""
    waiting = []
    for start in range(0, len(batch), _TOGETHER):
        some = batch[start : start + _TOGETHER]
        looks.want([row for pair in some for row in (pair.first, pair.second)])
        pictures = [(looks.of(pair.first), looks.of(pair.second)) for pair in some]
        waiting.append(pool.submit(_judge, some, pictures, looks.read, config))
    verdicts = [verdict for some in waiting for verdict in some.result()]
    looks.forget()
    return verdicts


def _judge(
    some: list[_Pair], pictures: list[tuple[_Promise, _Promise]], read: Callable[[int], bytes], config: NearConfig
) -> list[Verdict | None]:
    verdicts: list[Verdict | None] = [None] * len(some)
    rows, pairs = [], []
    for row, (pair, (first, second)) in enumerate(zip(some, pictures, strict=True)):
        one, two = first.look(), second.look()
        if one is not None and two is not None:
            rows.append(row)
            pairs.append(Pair(one, two, pair.fit, partial(_both, read, pair)))
    for row, verdict in zip(rows, confirm_all(pairs, config), strict=True):
        verdicts[row] = verdict
    return verdicts


def _both(read: Callable[[int], bytes], pair: _Pair) -> tuple[bytes, bytes]:
    return read(pair.first), read(pair.second)


class _Promise(NamedTuple):
    """A picture that is decoded with some others, or will be."""

    some: Future[list[Look | None]]
    place: int

    def look(self) -> Look | None:
        """The picture, when it is there; None for one that cannot be read."""
        return self.some.result()[self.place]


class _Looks:
    """Decoded pictures by row; the latest are kept."""

    def __init__(self, images: pl.DataFrame, read: Callable[[str], bytes], pool: ThreadPoolExecutor) -> None:
        self._images, self._read, self._pool = images.select("image", "width", "height"), read, pool
        self._looks: dict[int, _Promise] = {}

    def want(self, rows: list[int]) -> None:
        """Have the pictures of rows decoded by the pool, those that are not held."""
        kept = {row: self._looks.pop(row) for row in rows if row in self._looks}
        new = [row for row in dict.fromkeys(rows) if row not in kept]
        for start in range(0, len(new), _TASK):
            task = new[start : start + _TASK]
            future = self._pool.submit(self._look_at, task)
            kept |= {row: _Promise(future, place) for place, row in enumerate(task)}
        self._looks |= kept

    def of(self, row: int) -> _Promise:
        """The picture of a row that was wanted."""
        return self._looks[row]

    def read(self, row: int) -> bytes:
        """The bytes of a row's file."""
        return self._read(self._images["image"][row])

    def forget(self) -> None:
        """Let go of those that were wanted longest ago."""
        for row in list(self._looks)[: max(0, len(self._looks) - _HELD)]:
            del self._looks[row]

    def _look_at(self, rows: list[int]) -> list[Look | None]:
        return [self._look(row) for row in rows]

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
