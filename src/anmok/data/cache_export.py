"""Prepared images as NumPy arrays, for whoever wants to work on them elsewhere."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from anmok.core.errors import DataError, UsageError
from anmok.core.files import must_not_exist, new_folder, write_json


def export_npy(batches: Iterable[tuple[Any, Any, Sequence[str]]], folder: Path | str, classes: Sequence[str]) -> int:
    """Write batches of (images uint8[B, S, S, C], targets, ids) to a new folder; returns the number of images.

    images.npy uint8[N, S, S, C]; targets.npy as the batches have them, int64[N] or float32[N, K]; ids.json and
    classes.json, lists of text. Memory is one batch; the folder gets its name when it is complete. The files are
    written one batch after the other, not through a memory map, which on a full disk ends the process without a word;
    `numpy.load(…, mmap_mode="r")` maps them.

    UsageError where the folder exists, or batches differ in shape or type; DataError where there is no image;
    MachineError (code disk) where the disk is full.
    """
    folder = must_not_exist(folder)
    ids: list[str] = []
    with new_folder(folder) as home:
        with (home / "images.npy").open("wb") as images, (home / "targets.npy").open("wb") as targets:
            writers = _Growing(images, np.dtype(np.uint8)), _Growing(targets, None)
            for batch_images, batch_targets, batch_ids in batches:
                if len(batch_ids):
                    writers[0].append(np.asarray(batch_images))
                    writers[1].append(np.asarray(batch_targets))
                    ids += batch_ids
            if not ids:
                raise DataError("there are no images to write.", where=str(folder), code="empty-table")
            for writer in writers:
                writer.finish()
        write_json(home / "ids.json", ids)
        write_json(home / "classes.json", list(classes))
    return len(ids)


class _Growing:
    """A .npy file whose first axis is known at its end: NumPy pads the header so that any number fits into it."""

    def __init__(self, file: BinaryIO, dtype: np.dtype | None):
        self.file, self.dtype, self.count = file, dtype, 0
        self.shape: tuple[int, ...] | None = None

    def append(self, values: np.ndarray) -> None:
        if self.shape is None:
            self.dtype, self.shape = self.dtype or values.dtype, values.shape[1:]
            self.file.write(self._header())
        if values.dtype != self.dtype or values.shape[1:] != self.shape:
            raise UsageError(
                f"batches to be exported are alike: expected {self.dtype} [B, {str(list(self.shape))[1:]}, "
                f"found {values.dtype} {list(values.shape)}.", code="setting",
            )  # fmt: skip
        self.file.write(np.ascontiguousarray(values).data.cast("B"))
        self.count += len(values)

    def finish(self) -> None:
        end, header = self.file.tell(), self._header()
        self.file.seek(0)
        self.file.write(header)
        self.file.seek(end)

    def _header(self) -> bytes:
        assert self.dtype is not None
        assert self.shape is not None
        out = io.BytesIO()
        about = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(out, about | {"shape": (self.count, *self.shape)})
        return out.getvalue()
