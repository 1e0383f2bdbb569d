"""One pass over the images: each file opened once, one row of measurements each, whatever its state."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anmok.audit.heap import keep_freed
from anmok.audit.kinds import FAULTS
from anmok.audit.measure import MEASURES, complete, inspect
from anmok.core.errors import DataError
from anmok.core.machine import cores
from anmok.core.progress import bar
from anmok.data.storage import Storage
from anmok.data.table import Table

if TYPE_CHECKING:
    import polars as pl

CHUNK = 64  # images a task
BLOCK = 4096  # rows a part of the frame


@dataclass(frozen=True, eq=False)
class Scan:
    """One row of measurements an image, and the seconds the pass took.  Parts add up: scan(a) + scan(b).

    images: id, image, and the columns of MEASURES.  bytes, hash: of the file; mtime: seconds since 1970, where the
    image is a file of its own; format to frames: see ImageInfo; jpeg_quality: see jpeg_quality.py; brightness to std_b:
    see pixels.py; phash …: see hashes.py; fault: kind of the ImageError where the image cannot be used, with its
    reason; notes: what decoding said.  Null: not measured.
    """

    images: pl.DataFrame
    seconds: float = 0.0

    def __add__(self, other: Scan) -> Scan:
        return Scan(self.images.vstack(other.images), self.seconds + other.seconds)


def scan(table: Table, *, threads: int | None = None) -> Scan:
    """Measure every image of a table, in its order.  It never stops for a bad file; memory is one row an image."""
    import cv2
    import polars as pl

    start = time.perf_counter()
    cv2.setNumThreads(1)  # the threads are ours; OpenCV's own would fight them
    keep_freed()
    schema = {"id": pl.String, "image": pl.String} | {name: getattr(pl, kind) for name, kind in MEASURES.items()}
    parts, rows = [pl.DataFrame(schema=schema)], []
    threads = threads or cores()
    with bar("audit", len(table)) as progress, ThreadPoolExecutor(threads, thread_name_prefix="anmok-audit") as pool:
        for chunk in _in_order(pool, table, ahead=2 * threads):
            rows += chunk
            if len(rows) >= BLOCK:
                parts.append(pl.DataFrame(rows, schema=schema, orient="row"))
                rows = []
            progress.advance(len(chunk))
    parts.append(pl.DataFrame(rows, schema=schema, orient="row"))
    return Scan(pl.concat(parts), time.perf_counter() - start)


def _in_order(pool: ThreadPoolExecutor, table: Table, ahead: int) -> Iterator[list[tuple]]:
    """Rows in order, at most `ahead` chunks of them in flight."""
    waiting: deque[Future[list[tuple]]] = deque()
    for start in range(0, len(table), CHUNK):
        chunk = table.rows[start : start + CHUNK]
        references = zip(chunk["id"].to_list(), chunk["image"].to_list(), strict=True)
        waiting.append(pool.submit(_measure_all, table.storage, list(references)))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _measure_all(storage: Storage, references: list[tuple[str, str]]) -> list[tuple]:
    rows: list[dict[str, Any]] = []
    seen = []
    for name, image in references:
        found: dict[str, Any] = {"id": name, "image": image}
        rows.append(found)
        try:
            data = storage.read(image)
            found["mtime"] = modified(storage, image)
            seen.append(inspect(data, found))
        except DataError as error:
            found["fault"] = error.code if error.code in FAULTS else "io-error"
            found["reason"] = f"{error.message} {error.remedy or ''}".rstrip()
    complete(seen)
    return [tuple(map(found.get, ("id", "image", *MEASURES))) for found in rows]


def modified(storage: Storage, image: str) -> float | None:
    """When an image's file was last written, in seconds since 1970; None for a row or member of something larger."""
    path = storage.path(image)
    try:
        return None if path is None else path.stat().st_mtime
    except OSError:
        return None


def normalization(images: pl.DataFrame) -> dict[str, list[float] | None]:
    """Mean and standard deviation of each channel over all images that can be read, each image weighing the same.

    From the rows alone, so it is the same however the pass was cut into parts: E[x²] of an image is its std² + mean².
    """
    rows = images.filter(images["mean_r"].is_not_null())
    if not rows.height:
        return {"mean": None, "std": None}
    mean, std = [], []
    for name in "rgb":
        means, stds = rows[f"mean_{name}"].to_numpy(), rows[f"std_{name}"].to_numpy()
        center = math.fsum(means) / len(means)
        spread = math.fsum(stds**2 + (means - center) ** 2) / len(means)
        mean.append(round(center, 6))
        std.append(round(math.sqrt(spread), 6))
    return {"mean": mean, "std": std}
