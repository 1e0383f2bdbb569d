"""What the decoded pixels of a table will take, from the headers of a few of its images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anmok.core.errors import DataError, ImageError
from anmok.data.cache import OVERHEAD
from anmok.data.decode import probe
from anmok.data.storage import Storage
from anmok.data.table import Table

HEAD_BYTES = 64 << 10  # of a file; nearly every header lies within
SPOTS = 4  # places of a Parquet file that are looked at: one row costs the reading of its whole group
SPARE = 1.1  # an estimate from a sample may be short by this


class Estimate(NamedTuple):
    """What the decoded pixels of a table take: bytes, for `images` at `side` pixels; exact: all were looked at."""

    images: int
    side: int
    bytes: int
    exact: bool = True

    @property
    def upper_bytes(self) -> int:
        """With something to spare, unless it is exact."""
        return self.bytes if self.exact else round(self.bytes * SPARE)


def estimate_bytes(table: Table, side: int, channels: int, sample: int = 64, *, square: bool = False) -> Estimate:
    """uint8 bytes of a table's images, short side scaled down to `side`, from the headers of up to `sample` of them.

    channels: 1 or 3.  square: all are side × side, and no header is read.  An image whose header cannot be read does
    not count towards the mean; where none can, all count as squares.
    """
    n = len(table)
    if square or not n:
        return Estimate(n, side, n * (side * side * channels + OVERHEAD))
    references = table.rows["image"].to_list()
    sizes = []
    for row in _sample(references, sample):
        try:
            sizes.append(scaled_pixels(*_size(table.storage, references[row]), side))
        except DataError:
            continue
    mean = float(np.mean(sizes)) if sizes else float(side * side)
    return Estimate(n, side, round(n * (mean * channels + OVERHEAD)), len(sizes) == n)


def scaled_pixels(width: int, height: int, side: int) -> int:
    """Pixels of an image after its short side was scaled down to `side`; a smaller image stays as it is."""
    scale = min(1.0, side / min(width, height))
    return round(width * scale) * round(height * scale)


def _sample(references: list[str], count: int) -> list[int]:
    """Up to `count` rows, evenly spread; of a Parquet file in a few runs of neighbours, which mostly share a group."""
    n = len(references)
    if n <= count:
        return list(range(n))
    if not references[0].startswith("parquet:"):
        return np.linspace(0, n - 1, count).round().astype(int).tolist()
    run = max(1, count // SPOTS)
    starts = np.linspace(0, n - run, min(SPOTS, count)).round().astype(int)
    return sorted({int(start) + i for start in starts for i in range(run)})


def _size(storage: Storage, reference: str) -> tuple[int, int]:
    """(width, height): from the first bytes of a file where they say it, else from all of it."""
    path = storage.path(reference)
    if path is not None:
        try:
            with path.open("rb") as file:
                info = probe(file.read(HEAD_BYTES))
            return info.width, info.height
        except (OSError, ImageError):
            pass  # the header goes on behind that, or the file is bad: reading it all will tell
    info = probe(storage.read(reference))
    return info.width, info.height
