from __future__ import annotations

import tracemalloc
from pathlib import Path

import bad_images as bad
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from anmok.audit.measure import MEASURES
from anmok.audit.scan import BLOCK, CHUNK, normalization, scan
from anmok.data.decode import decode
from anmok.data.sources import open_table
from anmok.data.storage import Storage
from anmok.data.table import Table, content_hash


@pytest.fixture
def photos(tmp_path: Path) -> Table:
    for i in range(150):
        folder = tmp_path / f"class{i % 3}"
        folder.mkdir(exist_ok=True)
        (folder / f"{i}.png").write_bytes(bad.encode(bad.photo(20 + i % 7, 24, seed=i), "PNG"))
    return open_table(tmp_path)


def test_one_row_an_image_with_every_measure(photos: Table) -> None:
    images = scan(photos).images
    assert images.columns == ["id", "image", *MEASURES]
    assert images["id"].to_list() == photos.rows["id"].to_list()
    row = images.row(0, named=True)
    data = photos.storage.read(row["image"])
    pixels = decode(data) / 255
    assert (row["bytes"], row["hash"]) == (len(data), content_hash(data))
    assert (row["format"], row["mode"], row["bits"], row["channels"]) == ("png", "RGB", 8, 3)
    assert (row["height"], row["width"]) == pixels.shape[:2]
    assert row["mean_g"] == pytest.approx(pixels[:, :, 1].mean())
    assert row["mtime"] == (photos.root / row["image"]).stat().st_mtime
    assert (images["phash"].dtype, images["brightness"].dtype) == (pl.UInt64, pl.Float64)
    assert (
        images.select(pl.exclude("jpeg_quality", "fault", "reason", "notes")).null_count().sum_horizontal().item() == 0
    )
    assert images["fault"].is_null().all()


def test_normalization_is_that_of_all_pixels_of_images_of_one_size(tmp_path: Path) -> None:
    stack = np.stack([bad.photo(16, 16, seed=i) for i in range(9)])
    for i, pixels in enumerate(stack):
        (tmp_path / f"{i}.png").write_bytes(bad.encode(pixels, "PNG"))
    found = normalization(scan(open_table(tmp_path)).images)
    np.testing.assert_allclose(found["mean"], (stack / 255).mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(found["std"], (stack / 255).std((0, 1, 2)), atol=1e-6)


def test_parts_add_up_to_the_whole_at_any_number_of_threads(photos: Table) -> None:
    whole = scan(photos, threads=1)
    parts = scan(photos.take(range(70)), threads=4) + scan(photos.take(range(70, 150)), threads=2)
    assert_frame_equal(whole.images, parts.images)
    assert normalization(whole.images) == normalization(parts.images)
    assert parts.seconds > 0


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.5)), min_size=1, max_size=30))
def test_normalization_is_the_spread_about_the_common_mean(rows: list[tuple[float, float]]) -> None:
    mean, std = np.array(rows).T
    columns = {f"mean_{c}": mean for c in "rgb"} | {f"std_{c}": std for c in "rgb"}
    found = normalization(pl.DataFrame(columns))
    wanted = np.sqrt(np.maximum(np.mean(std**2 + mean**2) - mean.mean() ** 2, 0))
    np.testing.assert_allclose(found["mean"], mean.mean(), atol=1e-6)
    np.testing.assert_allclose(found["std"], wanted, atol=1e-5)


def test_nothing_readable_has_no_normalization(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    assert normalization(scan(open_table(tmp_path)).images) == {"mean": None, "std": None}


def test_each_file_is_opened_once(photos: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    read = Storage.read
    monkeypatch.setattr(Storage, "read", lambda self, ref: opened.append(ref) or read(self, ref))
    scan(photos, threads=2)
    assert sorted(opened) == sorted(photos.rows["image"].to_list())


def test_a_file_that_has_gone_is_one_row(photos: Table) -> None:
    gone = photos.rows["image"][3]
    (photos.root / gone).unlink()
    row = scan(photos).images.row(3, named=True)
    assert (row["fault"], row["bytes"], row["format"]) == ("io-error", None, None)
    assert "No such file" in row["reason"]


def test_a_row_of_parquet_has_no_time_of_its_own(tmp_path: Path) -> None:
    data = [bad.encode(bad.photo(seed=i), "PNG") for i in range(3)]
    pl.DataFrame({"image": data, "label": ["a", "b", "a"]}).write_parquet(tmp_path / "set.parquet")
    images = scan(open_table(tmp_path / "set.parquet")).images
    assert images["mtime"].null_count() == 3
    assert images["brightness"].null_count() == 0


def test_more_images_than_one_block_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anmok.audit.scan.BLOCK", 70)
    pixels = [np.full((3, 3, 3), i % 256, np.uint8) for i in range(200)]
    pl.DataFrame({"image": [bad.encode(p, "BMP") for p in pixels]}).write_parquet(tmp_path / "set.parquet")
    images = scan(open_table(tmp_path / "set.parquet"), threads=3).images
    assert (images["mean_r"] * 255).round().to_list() == [i % 256 for i in range(200)]
    assert CHUNK < BLOCK


def test_memory_is_one_row_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes and pixels are let go: ten times as many images take a fraction of what only their files would."""
    data = bad.encode(bad.photo(96, 96), "BMP")
    monkeypatch.setattr(Storage, "read", lambda self, ref: bytes(bytearray(data)))  # a new copy each time
    peaks = []
    for n in (150, 1500):
        rows = pl.DataFrame({"id": [f"{i}" for i in range(n)], "image": [f"{i}.bmp" for i in range(n)]})
        table = Table(rows=rows, root=tmp_path, classes=())
        tracemalloc.start()
        scan(table, threads=2)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < (1500 - 150) * len(data) / 5
