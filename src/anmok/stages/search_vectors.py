"""The vectors of a table's images: decoded and prepared by threads, computed in batches, and kept in a file."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anmok.core.errors import ImageError, UsageError
from anmok.core.files import write_atomic
from anmok.core.machine import cores
from anmok.core.progress import bar, say, warn
from anmok.core.text import visible
from anmok.data.cache_folder import cache_root
from anmok.data.decode import decode
from anmok.data.table import Table, named
from anmok.stages.search_reader import Reader, short_hash

BATCH = 32
VERSION = b"1"


class Vectors(NamedTuple):
    """values float32[N, D], unit vectors of a table's rows in their order, NaN where an image cannot be read; errors:
    id to the reason.
    """

    values: np.ndarray
    errors: dict[str, str]


class Reading(NamedTuple):
    """How images are read: so many at a time, by so many threads, cut off ones too or not."""

    batch_size: int = BATCH
    threads: int | None = None
    allow_truncated: bool = False


def image_vectors(reader: Reader, table: Table, how: Reading) -> Vectors:
    """The vectors of all rows.  UsageError: no rows, or a batch of none."""
    if not len(table):
        raise UsageError("there are no images.", code="source")
    for name, value in (("--batch-size", how.batch_size), ("--threads", how.threads)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, found {value}.", code="setting")
    ids: list[str] = table.rows["id"].to_list()
    parts: dict[int, np.ndarray] = {}
    errors: dict[str, str] = {}
    broken: set[str] = set()
    with bar("vectors", len(ids)) as progress:
        for start, batch in _prepared(reader, table, how, broken):
            good = {start + i: x for i, x in enumerate(batch) if isinstance(x, np.ndarray)}
            errors |= {
                ids[start + i]: f"{x.code}: {x.message}" for i, x in enumerate(batch) if isinstance(x, ImageError)
            }
            if good:
                parts |= dict(zip(good, reader.encode(list(good.values())), strict=True))
            progress.advance(len(batch))
    if broken:
        warn(f"{named(len(broken), 'image', sorted(broken))} with a broken colour profile, which is ignored")
    width = len(next(iter(parts.values()))) if parts else 1
    values = np.full((len(ids), width), np.nan, np.float32)
    for row, vector in parts.items():
        values[row] = vector
    return Vectors(values, errors)


def _prepared(
    reader: Reader, table: Table, how: Reading, broken: set[str]
) -> Iterator[tuple[int, list[np.ndarray | ImageError]]]:
    """(first row, prepared images or why there is none), the next batch being decoded while one is worked on."""
    ids, images = table.rows["id"].to_list(), table.rows["image"].to_list()

    def one(row: int) -> np.ndarray | ImageError:
        def note(text: str) -> None:
            if text.startswith("bad-profile"):
                broken.add(visible(ids[row]))

        try:
            data = table.storage.read(images[row])
            pixels = decode(data, channels=reader.channels, allow_truncated=how.allow_truncated, on_note=note)
            return reader.prepare(pixels)
        except ImageError as error:
            return error

    ahead: deque[tuple[int, list[Future[Any]]]] = deque()
    pool = ThreadPoolExecutor(how.threads or cores(), thread_name_prefix="anmok-vectors")
    try:
        for start in range(0, len(ids), how.batch_size):
            rows = range(start, min(start + how.batch_size, len(ids)))
            ahead.append((start, [pool.submit(one, row) for row in rows]))
            if len(ahead) > 1:
                first, futures = ahead.popleft()
                yield first, [future.result() for future in futures]
        for first, futures in ahead:
            yield first, [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)


def indexed_vectors(reader: Reader, table: Table, how: Reading, index: Path | str | None = None) -> Vectors:
    """The same, but what has been computed before is read from the index, and what has not is added to it.

    index: a .parquet file, by default one for each model and root in the cache folder ($ANMOK_CACHE); 'none' for none.
    Vectors stand there by the content of their image, so that renamed and added images cost nothing anew. A file that
    cannot be read, or is another model's, is computed anew.
    """
    table = table.hashed()
    mark = short_hash(reader.hash, str(how.allow_truncated))
    file = None if index == "none" or not reader.hash else _index_file(mark, table, index)
    kept = {} if file is None else _read(file, mark)
    hashes = table.rows["hash"].to_list()
    missing = np.array([value not in kept for value in hashes])
    if not missing.any():
        return Vectors(np.stack([kept[value] for value in hashes]), {})
    found = image_vectors(reader, table.take(missing), how)
    width = found.values.shape[1] if np.isfinite(found.values).any() else len(next(iter(kept.values()), [0]))
    values = np.full((len(table), width), np.nan, np.float32)
    rest = iter(found.values)
    for row, (value, new) in enumerate(zip(hashes, missing, strict=True)):
        vector = next(rest) if new else kept[value]
        if len(vector) == width:
            values[row] = vector
    if file is not None:
        _write(file, mark, hashes, values)
        if kept:
            say(f"{len(table) - int(missing.sum()):,} of {len(table):,} vectors were in the index")
    return Vectors(values, found.errors)


def _index_file(mark: str, table: Table, index: Path | str | None) -> Path:
    if index is not None:
        if Path(index).suffix.lower() != ".parquet":
            raise UsageError("an index is a .parquet file, or none.", where=f"--index {index}", code="out")
        return Path(index)
    return cache_root() / "vectors" / f"{short_hash(mark, os.fspath(Path(table.root).resolve()))}.parquet"


def _read(file: Path, mark: str) -> dict[str, np.ndarray]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
        if (table.schema.metadata or {}).get(b"anmok") != VERSION + mark.encode():
            return {}
        vectors = table["vector"].combine_chunks()
        values = vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(table), -1)
        return dict(zip(table["hash"].to_pylist(), values, strict=True))
    except (OSError, pa.ArrowException, KeyError, ValueError, AttributeError):
        return {}


def _write(file: Path, mark: str, hashes: Sequence[str | None], values: np.ndarray) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    good = np.isfinite(values).all(axis=1)
    rows = {h: row for row, h in enumerate(hashes) if h is not None and good[row]}
    if not rows:
        return
    chosen = values[list(rows.values())]
    flat = pa.FixedSizeListArray.from_arrays(pa.array(chosen.reshape(-1), pa.float32()), values.shape[1])
    saved = pa.table(
        {"hash": pa.array(list(rows), pa.string()), "vector": flat}, metadata={b"anmok": VERSION + mark.encode()}
    )
    write_atomic(file, lambda path: pq.write_table(saved, path))
