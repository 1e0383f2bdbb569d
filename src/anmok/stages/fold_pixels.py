"""All images of a table as small squares in one array, each decoded once: what the networks of the folds learn from."""

from __future__ import annotations

import math
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from anmok.augment.preprocess import resize
from anmok.core.errors import ImageError
from anmok.core.machine import cores, free_memory_bytes
from anmok.core.progress import bar
from anmok.data.decode import decode, probe
from anmok.data.table import Table

SMALL, LARGE = 32, 64  # sides of the squares, for small images and for photos
SAMPLE = 64  # images whose header decides between the two
STEP = 64  # images a task
SHARE = 4  # part of the free memory above which the squares lie in a temporary file


class Squares(NamedTuple):
    """pixels: uint8[N, S, S, 3], row by row of the table (0 where unreadable); errors: id -> kind and reason."""

    pixels: np.ndarray
    errors: dict[str, str]


def side_for(table: Table) -> int:
    """32 where half of the images have a short side of at most 48 pixels, else 64; by the headers of a sample."""
    median = median_side(table)
    return SMALL if median is not None and median <= SMALL * 1.5 else LARGE


def median_side(table: Table) -> float | None:
    """The median of the images' short sides, pixels, by the headers of a sample; None where none can be read."""
    images = table.rows["image"].to_list()
    step = max(1, len(images) // SAMPLE)
    sides = []
    for image in images[::step][:SAMPLE]:
        try:
            info = probe(table.storage.read(image))
        except ImageError:
            continue
        sides.append(min(info.width, info.height))
    return statistics.median(sides) if sides else None


def read_squares(table: Table, side: int, *, threads: int | None = None, allow_truncated: bool = False) -> Squares:
    """Decode every image (a JPEG scaled) and squash it to side × side by Pillow's antialiased filter, on threads."""
    ids, images = table.rows["id"].to_list(), table.rows["image"].to_list()
    pixels = _room((len(ids), side, side, 3))

    def some(start: int) -> dict[str, str]:
        errors = {}
        for i in range(start, min(start + STEP, len(ids))):
            try:
                data = table.storage.read(images[i])
                pixels[i] = resize(decode(data, min_side=2 * side, allow_truncated=allow_truncated), side, side)
            except ImageError as error:
                errors[ids[i]] = f"{error.code}: {error.message}"
        return errors

    errors: dict[str, str] = {}
    with bar("reading", len(ids)) as progress, ThreadPoolExecutor(threads or cores()) as pool:
        for found in pool.map(some, range(0, len(ids), STEP)):
            errors |= found
            progress.advance(min(STEP, len(ids) - progress.done))
    return Squares(pixels, errors)


def _room(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros uint8, in memory or, where they would take too much of it, in a temporary file that goes with the array."""
    if math.prod(shape) <= free_memory_bytes() // SHARE:
        return np.zeros(shape, np.uint8)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)
