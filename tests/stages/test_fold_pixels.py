from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anmok.data.sources import open_table
from anmok.stages import fold_pixels
from anmok.stages.fold_pixels import LARGE, SMALL, read_squares, side_for


def folder_of(path: Path, sizes: list[tuple[int, int]], kind: str = "png") -> Path:
    rng = np.random.default_rng(0)
    path.mkdir()
    for i, (width, height) in enumerate(sizes):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(path / f"{i:02d}.{kind}")
    return path


def test_small_images_become_small_squares(tmp_path: Path) -> None:
    small = folder_of(tmp_path / "small", [(28, 28)] * 3 + [(300, 200)] * 2)
    large = folder_of(tmp_path / "large", [(28, 28)] * 2 + [(300, 200)] * 3)
    assert (side_for(open_table(small)), side_for(open_table(large))) == (SMALL, LARGE)
    (large / "00.png").write_bytes(b"no image")
    assert side_for(open_table(large)) == LARGE


def test_squares_are_pillows_and_rows_those_of_the_table(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "set", [(50 + 10 * i, 70) for i in range(70)])
    (path / "03.png").write_bytes(b"")
    table = open_table(path)
    squares = read_squares(table, 32, threads=3)
    assert list(squares.errors) == ["03.png"]
    assert squares.errors["03.png"].startswith("empty: ")
    for i, (name, pixels) in enumerate(zip(table.rows["id"], squares.pixels, strict=True)):
        if i != 3:
            want = Image.open(path / name).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(pixels, np.asarray(want), err_msg=name)
    assert not squares.pixels[3].any()


def test_a_large_jpeg_is_decoded_scaled_and_looks_the_same(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "set", [(640, 480)], "jpg")
    pixels = read_squares(open_table(path), 32).pixels[0]
    want = np.asarray(Image.open(path / "00.jpg").resize((32, 32), Image.Resampling.BILINEAR))
    assert np.abs(pixels.astype(int) - want).mean() < 1.5


def test_too_many_for_the_memory_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = open_table(folder_of(tmp_path / "set", [(40, 40)] * 4))
    plain = read_squares(table, 32).pixels
    monkeypatch.setattr(fold_pixels, "free_memory_bytes", lambda: 100)
    filed = read_squares(table, 32).pixels
    assert isinstance(filed, np.memmap)
    np.testing.assert_array_equal(filed, plain)
