"""A few images of a table to look at: evenly over the classes, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from anmok.augment.draws import uniform
from anmok.augment.preprocess import Preprocess, resize
from anmok.core.errors import DataError, ImageError
from anmok.core.progress import warn
from anmok.data.decode import decode
from anmok.data.table import Table, named


class Original(NamedTuple):
    """A decoded image uint8[H, W, C], its long side made at most `pick`'s `side`, and the size it had, pixels."""

    image: np.ndarray
    width: int
    height: int


class Picked(NamedTuple):
    """Rows of a table that can be read, as a Table of their own, and their images."""

    table: Table
    originals: list[Original]


def pick(
    table: Table, n: int, seed: int, preprocess: Preprocess, side: int, allow_truncated: bool = False
) -> Picked:  # fmt: skip
    """Up to n images that can be read, as many of each class as can be, in the order of the classes.

    Images are decoded with the preprocessing's channels and background. DataError where none can be read.
    """
    place = class_of(table)
    found: dict[int, Original] = {}
    failed: list[str] = []
    images, ids = table.rows["image"], table.rows["id"]
    for row in candidates(ids.to_list(), place, n, seed):
        try:
            image = decode(
                table.storage.read(images[row]), channels=preprocess.channels, background=preprocess.background,
                allow_truncated=allow_truncated,
            )  # fmt: skip
            found[row] = shrunk(image, side)
        except ImageError as error:
            failed.append(f"{ids[row]}: {error.message}")
        if len(found) == n:
            break
    if failed:
        warn(f"not shown, as they cannot be read: {named(len(failed), 'image', failed)}")
    if not found:
        raise DataError("there is no image that can be shown.", where=str(table.root), code="no-images")
    order = sorted(found, key=lambda row: (place[row], row))
    return Picked(table.take(order), [found[row] for row in order])


def shrunk(image: np.ndarray, side: int) -> Original:
    """The image at a size to be looked at, so that not every pixel of a large one is held."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale < 1:
        image = resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
    return Original(image, width, height)


def candidates(ids: list[str], place: np.ndarray, n: int, seed: int) -> Iterator[int]:
    """Every row once: one of each class in turn, within a class in an order drawn by the seed.

    place: int[N], the class of each row. Where fewer are wanted than there are classes, the first n rows are of classes
    spread evenly over all.
    """
    order = np.lexsort((uniform(ids, 0, seed, 1)[:, 0], place))
    turns = np.split(order, np.flatnonzero(np.diff(place[order])) + 1) if len(order) else []
    first = np.unique(np.linspace(0, len(turns) - 1, min(n, len(turns))).round().astype(int)).tolist()
    turns = [turns[i] for i in first] + [turn for i, turn in enumerate(turns) if i not in first]
    for depth in range(max(map(len, turns), default=0)):
        yield from (int(turn[depth]) for turn in turns if depth < len(turn))


def class_of(table: Table) -> np.ndarray:
    """int64[N]: the index of each row's (first) class; after all of them where it has none."""
    targets = table.targets()
    none = len(table.classes)
    if targets.ndim == 1:
        return np.where(targets < 0, none, targets)
    known = np.nan_to_num(targets)
    return np.where(known.any(axis=1), known.argmax(axis=1) if none else none, none)


def label_text(label: Any) -> str:
    """What a cell of the label column says: one label, several, or 'unlabelled'."""
    names = [label] if isinstance(label, str) else [] if label is None else list(label)
    return ", ".join(names) or "unlabelled"
