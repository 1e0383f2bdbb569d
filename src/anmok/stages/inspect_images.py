"""The images of an inspection: those that are named, or some of a run's validation images, right and wrong ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError, ImageError, UsageError, near_path
from anmok.core.progress import warn
from anmok.core.text import visible
from anmok.core.types import Predictions
from anmok.data.config import DataConfig
from anmok.data.decode import to_rgb
from anmok.data.scan import extension
from anmok.data.sources import LISTS, open_table
from anmok.data.table import Table, named
from anmok.stages.inspect_errors import is_wrong, surest
from anmok.stages.pick import candidates, class_of, shrunk

SIDE = 512  # pixels that the long side of a picture is kept at
SOURCES = (*LISTS, "parquet", "zip", "tar", "tgz", "gz")  # extensions of files that hold many images


class Item(NamedTuple):
    """An image that is not read yet: its name, what `to_rgb` takes, and its labels (None: not known)."""

    name: str
    content: Any
    labels: tuple[str, ...] | None = None


class Seen(NamedTuple):
    """An image: as it is, uint8[H, W, 1 | 3] of at most SIDE pixels, and as the network gets it, uint8[S, S, C]."""

    name: str
    shown: np.ndarray
    prepared: np.ndarray
    labels: tuple[str, ...] | None


def read(items: Iterable[Item], pre: Preprocess, allow_truncated: bool) -> list[Seen]:
    """All that can be read, in their order; the others are named aloud.  DataError where none can be."""
    seen: list[Seen] = []
    failed: list[str] = []
    for item in items:
        try:
            content = item.content() if callable(item.content) else item.content
            image = to_rgb(
                content, channels=pre.channels, background=pre.background, allow_truncated=allow_truncated
            )  # fmt: skip
        except ImageError as error:
            failed.append(f"{item.name}: {error.message}")
            continue
        seen.append(Seen(item.name, shrunk(image, SIDE).image, pre.apply(image), item.labels))
    names = named(len(failed), "image", failed)
    if not seen:
        raise DataError(f"there is no image to look at; {names} cannot be read.", where="--images", code="no-images")
    if failed:
        warn(f"left out, as they cannot be read: {names}")
    return seen


def given(images: Any, config: DataConfig, most: int, seed: int) -> Iterator[Item]:
    """What was named: files, sources of many images (up to `most` of each), a Table, arrays, bytes, PIL images.

    UsageError for a path where nothing is, with the nearest name.
    """
    from anmok.deploy.model import as_list

    for position, one in enumerate([images] if isinstance(images, Table) else as_list(images)):
        if isinstance(one, Table):
            yield from some(one, most, seed)
        elif not isinstance(one, str | os.PathLike):
            yield Item(str(position), one)
        elif not Path(one).exists():
            raise UsageError("no such image.", where=visible(str(one)), remedy=near_path(Path(one)), code="source")
        elif Path(one).is_dir() or extension(Path(one).name) in SOURCES:
            yield from some(open_table(one, config), most, seed)
        else:
            yield Item(visible(os.fspath(one)), one)


def some(table: Table, most: int, seed: int) -> Iterator[Item]:
    """Up to `most` rows of a table, evenly over its classes."""
    rows = list(candidates(table.rows["id"].to_list(), class_of(table), most, seed))
    return of_rows(table, rows[:most])


def of_rows(table: Table, rows: Iterable[int]) -> Iterator[Item]:
    """Rows of a table as images to read."""
    ids, images, labels = (table.rows[column] for column in ("id", "image", "label"))
    for row in rows:
        label = labels[row]
        known = None if label is None else (label,) if isinstance(label, str) else tuple(label)
        yield Item(visible(ids[row]), lambda reference=images[row]: table.storage.read(reference), known)


def chosen(table: Table, p: Predictions, most: int, seed: int) -> Iterator[Item]:
    """Up to `most` images of a run's predictions: half of them wrong, the surest of each confusion first, half right.

    table: holds their rows. Where one kind is too few, the other takes its place.
    """
    wrong = is_wrong(p)
    first = list(dict.fromkeys(example for error in surest(p, 1) for example in error.rows))
    first += [row for error in surest(p, most) for row in error.rows if row not in first]
    order = candidates(p.ids, _classes(p), most, seed)
    right = [row for row in order if not wrong[row] and _known(p)[row]]
    half = max(-(-most // 2), most - len(right))
    taken = first[:half]
    taken = taken + right[: most - len(taken)]
    place = {identity: i for i, identity in enumerate(table.rows["id"].to_list())}
    return of_rows(table, [place[p.ids[row]] for row in dict.fromkeys(taken) if p.ids[row] in place])


def _known(p: Predictions) -> np.ndarray:
    assert p.targets is not None
    return p.targets >= 0 if p.targets.ndim == 1 else ~np.isnan(p.targets).all(axis=1)


def _classes(p: Predictions) -> np.ndarray:
    """int64[N]: the (first) true class of each row; after all of them where it has none."""
    assert p.targets is not None
    if p.targets.ndim == 1:
        return np.where(p.targets < 0, len(p.classes), p.targets)
    filled = np.nan_to_num(p.targets)
    return np.where(filled.any(axis=1), filled.argmax(axis=1), len(p.classes))
