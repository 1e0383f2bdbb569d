"""One pass over the images: each file opened once, one row of measurements each, whatever its state."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.core.errors import DataError
from anmok.core.progress import bar
from anmok.data.decode import decode, probe
from anmok.data.table import Table, content_hash

if TYPE_CHECKING:
    import polars as pl

SIDE = 128  # pixels are measured on a decode whose short side is at least this, where the format can be scaled
CHUNK = 64  # images a task
FAULTS = ("unreadable", "truncated", "empty", "too-large", "unsupported-format", "io-error")

# What the pass measures, and the type of each; a later measurement is one more entry here and in `measure`.
MEASURES: dict[str, type] = {
    "bytes": int, "hash": str, "format": str, "width": int, "height": int, "channels": int, "mode": str, "bits": int,
    "alpha": bool, "orientation": int, "icc": bool, "animated": bool, "frames": int,
    "mean_r": float, "mean_g": float, "mean_b": float, "std_r": float, "std_g": float, "std_b": float,
    "fault": str, "reason": str, "notes": str,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Scan:
    """One row of measurements an image, and the seconds the pass took.  Parts add up: scan(a) + scan(b).

    images: id, image, and the columns of MEASURES; width, height as decoded; mean, std of sRGB in [0, 1] (population
    std); fault: kind of the ImageError where the image cannot be used, with its reason.  Null: not measured.
    """

    images: pl.DataFrame
    seconds: float = 0.0

    def __add__(self, other: Scan) -> Scan:
        return Scan(self.images.vstack(other.images), self.seconds + other.seconds)


def scan(table: Table, *, threads: int | None = None) -> Scan:
    """Measure every image of a table, in its order.  It never stops for a bad file; memory is one row an image."""
    import polars as pl

    start = time.perf_counter()
    references = list(zip(table.rows["id"].to_list(), table.rows["image"].to_list(), strict=True))
    schema = {"id": str, "image": str, **MEASURES}
    parts = [pl.DataFrame([], schema=schema)]
    chunks = [references[i : i + CHUNK] for i in range(0, len(references), CHUNK)]
    threads = threads or _threads()
    with bar("audit", len(references)) as progress, ThreadPoolExecutor(threads) as pool:
        for rows in _in_order(pool, table, chunks, ahead=2 * threads):
            parts.append(pl.DataFrame(rows, schema=schema, orient="row"))
            progress.advance(len(rows))
    return Scan(pl.concat(parts), time.perf_counter() - start)


def _in_order(
    pool: ThreadPoolExecutor, table: Table, chunks: Sequence[list[tuple[str, str]]], ahead: int
) -> Iterator[list[tuple]]:
    """Results in order, at most `ahead` chunks in flight."""
    waiting: deque[Future[list[tuple]]] = deque()
    for chunk in chunks:
        waiting.append(pool.submit(_measure_all, table, chunk))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _measure_all(table: Table, chunk: list[tuple[str, str]]) -> list[tuple]:
    rows = []
    for name, image in chunk:
        found: dict[str, Any] = {}
        try:
            measure(table.storage.read(image), found)
        except DataError as error:
            found["fault"] = error.code if error.code in FAULTS else "io-error"
            found["reason"] = f"{error.message} {error.remedy or ''}".rstrip()
        rows.append((name, image, *(found.get(key) for key in MEASURES)))
    return rows


def measure(data: bytes, found: dict[str, Any]) -> None:
    """Fill `found` with the measurements of one image, as far as it can be read.  ImageError where it ends early."""
    found["bytes"], found["hash"] = len(data), content_hash(data)
    info = probe(data)
    for key in (
        "format",
        "width",
        "height",
        "channels",
        "mode",
        "bits",
        "alpha",
        "orientation",
        "icc",
        "animated",
        "frames",
    ):
        found[key] = getattr(info, key)
    notes: list[str] = []
    pixels = decode(data, min_side=SIDE, on_note=notes.append)
    found["notes"] = "\n".join(notes) or None
    mean, std = moments(pixels)
    for i, name in enumerate("rgb"):
        found[f"mean_{name}"], found[f"std_{name}"] = float(mean[i]), float(std[i])


def moments(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean, population std) of each channel of uint8[H, W, 3], float64[3] in [0, 1]."""
    import cv2

    mean, std = cv2.meanStdDev(pixels)
    return mean[:, 0] / 255, std[:, 0] / 255


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


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
