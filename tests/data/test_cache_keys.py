"""The name of an image in a cache: the same as long as its file is the same, another as soon as it may not be."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anmok.data import Table, open_table
from anmok.data.cache_keys import image_keys

Folder = Callable[..., Path]


def table_of(folder: Folder, hashed: bool = False) -> Table:
    table = open_table(folder("cat/1.png", "cat/2.png", "dog/1.png", "개/ㄱ.png"))
    return table.hashed() if hashed else table


@pytest.mark.parametrize("hashed", [False, True])
def test_every_image_has_a_key_of_its_own_and_keeps_it(hashed: bool, folder: Folder) -> None:
    table = table_of(folder, hashed)
    found = image_keys(table)
    assert (found.shape, found.dtype) == ((4, 2), np.uint64)
    assert len({tuple(key) for key in found.tolist()} - {(0, 0)}) == 4
    np.testing.assert_array_equal(image_keys(table), found)
    np.testing.assert_array_equal(image_keys(table.take([2, 0])), found[[2, 0]])


@pytest.mark.parametrize("hashed", [False, True])
def test_a_changed_image_has_another_key(hashed: bool, folder: Folder) -> None:
    """Another length, another time, and the same length with the old time put back: the hash in the table is old."""
    table = table_of(folder, hashed)
    place = table.root / table.rows["image"][1]
    seen = {tuple(image_keys(table)[1])}
    data, before = place.read_bytes(), place.stat()
    place.write_bytes(data + b"\0")
    seen.add(tuple(image_keys(table)[1]))
    place.write_bytes(data[:-1] + b"\0")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert place.stat().st_size == before.st_size
    seen.add(tuple(image_keys(table)[1]))
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    seen.add(tuple(image_keys(table)[1]))
    assert len(seen) == 4


def test_a_missing_image_has_none(folder: Folder) -> None:
    table = table_of(folder)
    before = image_keys(table)
    (table.root / table.rows["image"][2]).unlink()
    after = image_keys(table)
    assert after[2].tolist() == [0, 0]
    np.testing.assert_array_equal(after[[0, 1, 3]], before[[0, 1, 3]])


def test_another_folder_with_the_same_names_is_another(folder: Folder, tmp_path: Path) -> None:
    table = table_of(folder)
    shutil.copytree(table.root, tmp_path / "copy")
    other = open_table(tmp_path / "copy")
    assert table.rows["image"].to_list() == other.rows["image"].to_list()
    assert not (image_keys(table) == image_keys(other)).all(1).any()


@pytest.mark.parametrize("kind", ["tar", "zip", "parquet"])
def test_members_change_with_their_archive(kind: str, picture: Callable[..., bytes], tmp_path: Path) -> None:
    path = tmp_path / f"images.{kind}"

    def write(first: int) -> Table:
        members = {f"{label}/{i}.png": picture(first + i) for label in ("cat", "dog") for i in range(2)}
        if kind == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                for name, data in members.items():
                    archive.writestr(name, data)
        elif kind == "tar":
            with tarfile.open(path, "w") as archive:
                for name, data in members.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            rows = {"image": [{"bytes": d, "path": None} for d in members.values()], "label": ["a", "a", "b", "b"]}
            pq.write_table(pa.table(rows), path)
        return open_table(path)

    table = write(0)
    first = image_keys(table)
    assert len({tuple(key) for key in first.tolist()} - {(0, 0)}) == 4
    np.testing.assert_array_equal(image_keys(table), first)
    write(10)
    assert not (image_keys(table) == first).all(1).any()
