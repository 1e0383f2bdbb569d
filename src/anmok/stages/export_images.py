"""The images that an export is checked, calibrated and measured with, preprocessed as the model sees them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from anmok.augment.preprocess import Preprocess
from anmok.core.config import resolve
from anmok.core.errors import DataError
from anmok.core.progress import warn
from anmok.data.batches import Loader
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.stages.predict_settings import ANY, PredictTree

RANDOM = 64  # pictures of random pixels, where there are no images


class Images(NamedTuple):
    """Preprocessed images uint8[N, S, S, C] with their targets, and where they come from; real: no random pixels."""

    pixels: np.ndarray
    targets: np.ndarray | None
    split: str
    real: bool = True


def judged_images(model: Any, preprocess: Preprocess, table: Table | None, limit: int) -> Images:
    """Up to `limit` images on which forms must agree: of the validation split, else test, train, or all there are.

    Random pixels, said aloud, where there is no table.
    """
    if table is None:
        warn("there are no images to compare answers on: random pixels are used; --images names some")
        return random_images(preprocess)
    for split in ("val", "test", "train"):
        rows = table.where(split=split)
        if len(rows):
            return read_images(model, preprocess, rows, limit, split)
    return read_images(model, preprocess, table, limit, "all")


def calibration_images(model: Any, preprocess: Preprocess, table: Table | None, limit: int) -> np.ndarray:
    """Up to `limit` images of the train split, or of a table without splits, for the ranges of int8: uint8[N, S, S, C];
    none where there is no train split.
    """
    empty = np.zeros((0, preprocess.image_size, preprocess.image_size, preprocess.depth), np.uint8)
    if table is None:
        return empty
    rows = table.where(split="train")
    if not len(rows) and table.rows["split"].null_count() == len(table):
        rows = table
    return read_images(model, preprocess, rows, limit, "train").pixels if len(rows) else empty


def read_images(model: Any, preprocess: Preprocess, table: Table, limit: int, split: str) -> Images:
    """Images spread evenly over the rows of a table.  DataError, code `no-images`, where none of them can be read."""
    rows = table.take(np.unique(np.linspace(0, len(table) - 1, min(limit, len(table))).astype(int)).tolist())
    known = set(rows.classes) <= set(model.classes) and rows.task == model.task
    if known:
        rows = rows.with_classes(model.classes)
    loader = Loader(rows, preprocess=preprocess, batch_size=32)
    batches = [batch for batch in loader.epoch() if len(batch)]
    if not batches:
        first = next(iter(loader.rejects.values()))
        raise DataError(
            f"none of {len(rows):,} {split} images can be read ({first.id}: {first.reason})", where=str(table.root),
            remedy="Name images that can be with --images.", code="no-images",
        )  # fmt: skip
    pixels = np.concatenate([batch.images for batch in batches])
    targets = np.concatenate([batch.targets for batch in batches]) if known else None
    return Images(pixels, targets, split)


def random_images(preprocess: Preprocess, n: int = RANDOM) -> Images:
    """Pictures of random pixels, the same ones every time."""
    size = preprocess.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (n, size, size, preprocess.depth), dtype=np.uint8)
    return Images(pixels, None, "random pixels", real=False)


def open_images(source: Any) -> Table:
    """The table of --images."""
    return source if isinstance(source, Table) else open_table(source, resolve(PredictTree, ANY).data)
