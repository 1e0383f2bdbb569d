"""Arrays for others: what numpy.load reads is what the batches held."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anmok.core.errors import DataError, MachineError, UsageError
from anmok.core.types import Batch
from anmok.data import Loader, open_table
from anmok.data.cache_export import export_npy

RNG = np.random.default_rng(0)


def batches(sizes: list[int], multilabel: bool = False) -> list[Batch]:
    out, at = [], 0
    for size in sizes:
        images = RNG.integers(0, 256, (size, 5, 5, 3), np.uint8)
        targets = RNG.random((size, 4), np.float32) if multilabel else RNG.integers(0, 4, size)
        out.append(Batch(images, targets, [f"row {i}" for i in range(at, at + size)]))
        at += size
    return out


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("sizes", [[1], [3, 0, 2], [7] * 20])
def test_what_is_read_is_what_was_given(sizes: list[int], multilabel: bool, tmp_path: Path) -> None:
    given = batches(sizes, multilabel)
    n = export_npy(iter(given), tmp_path / "out", ["a", "b", "c", "d"])
    assert n == sum(sizes)
    for mode in (None, "r"):
        images = np.load(tmp_path / "out" / "images.npy", mmap_mode=mode)  # type: ignore[arg-type]
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(images, np.concatenate([b.images for b in given]))
    targets = np.load(tmp_path / "out" / "targets.npy")
    assert targets.dtype == (np.float32 if multilabel else np.int64)
    np.testing.assert_array_equal(targets, np.concatenate([b.targets for b in given]))
    assert json.loads((tmp_path / "out" / "ids.json").read_text()) == [f"row {i}" for i in range(n)]
    assert json.loads((tmp_path / "out" / "classes.json").read_text()) == ["a", "b", "c", "d"]


def test_of_a_loader(tmp_path: Path, folder: Any) -> None:
    from anmok.augment.preprocess import Preprocess

    table = open_table(folder("cat/1.png", "cat/2.png", "dog/1.png"))
    loader = Loader(table, preprocess=Preprocess(4), batch_size=2)
    assert export_npy(loader.epoch(), tmp_path / "out", table.classes) == 3
    assert np.load(tmp_path / "out" / "images.npy").shape == (3, 4, 4, 3)


def test_nothing_half_done_is_left(tmp_path: Path) -> None:
    def ends() -> Iterator[Batch]:
        yield from batches([3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(MachineError) as found:
        export_npy(ends(), tmp_path / "out", ["a"])
    assert found.value.code == "disk"
    with pytest.raises(DataError, match="no images"):
        export_npy([], tmp_path / "out", ["a"])
    (one,), (two,) = batches([2]), batches([3])
    with pytest.raises(UsageError, match=r"expected uint8 \[B, 5, 5, 3\], found uint8 \[3, 5, 4, 3\]"):
        export_npy([one, two._replace(images=two.images[:, :, 1:])], tmp_path / "out", ["a"])
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists"):
        export_npy(batches([1]), tmp_path, ["a"])
