from __future__ import annotations

import io

import bad_images as bad
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anmok.audit.jpeg_quality import ijg_tables, jpeg_quality, quality_of, read_markers


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_quality_that_pillow_saves(mode: str) -> None:
    image = Image.fromarray(bad.photo()).convert(mode)
    found = [jpeg_quality(bad.encode(image, "JPEG", quality=quality)) for quality in range(1, 101)]
    assert found == list(range(1, 101))


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"optimize": True}, {"subsampling": 0}, {"exif": bad.exif(6)}]
)
def test_other_choices_of_the_encoder_do_not_matter(options: dict) -> None:
    assert jpeg_quality(bad.encode(bad.photo(), "JPEG", quality=62, **options)) == 62


def test_tables_are_pillows_in_their_order() -> None:
    data = bad.encode(bad.photo(), "JPEG", quality=50)
    with Image.open(io.BytesIO(data)) as image:
        ours = {number: ijg_tables(number == 0)[49][_unzigzag()].tolist() for number in (0, 1)}
        assert {number: list(table) for number, table in image.quantization.items()} == ours


def _unzigzag() -> np.ndarray:
    """Where in a file's zigzag order each place of a row-by-row block stands, walked by hand."""
    order, row, column, up = [], 0, 0, True
    for _ in range(64):
        order.append(row * 8 + column)
        if up and (column == 7 or row == 0):
            row, column, up = (row + 1, column, False) if column == 7 else (row, column + 1, False)
        elif not up and (row == 7 or column == 0):
            row, column, up = (row, column + 1, True) if row == 7 else (row + 1, column, True)
        else:
            row, column = (row - 1, column + 1) if up else (row + 1, column - 1)
    return np.argsort(order)


def test_foreign_tables_get_the_nearest_quality() -> None:
    table = np.round(ijg_tables(True)[79] * 1.04).astype(int).tolist()
    assert jpeg_quality(bad.encode(bad.photo(), "JPEG", qtables=[table, table])) in range(70, 90)


def test_sixteen_bit_tables_are_read() -> None:
    data = bad.encode(Image.fromarray(bad.photo()).convert("L"), "JPEG", quality=30)
    at = data.index(b"\xff\xdb")
    body = data[at + 5 : at + 69]
    wide = b"\xff\xdb" + (2 + 1 + 128).to_bytes(2, "big") + b"\x10" + b"".join(b"\0" + bytes([v]) for v in body)
    assert jpeg_quality(data[:at] + wide + data[at + 69 :]) == 30


def test_tables_of_a_thumbnail_in_exif_are_not_taken() -> None:
    inner = bad.encode(bad.photo(9, 9), "JPEG", quality=10)
    block = b"Exif\0\0" + inner
    data = bad.encode(bad.photo(), "JPEG", quality=90)
    segment = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    assert jpeg_quality(data[:2] + segment + data[2:]) == 90
    assert read_markers(data[:2] + segment + data[2:]).exif
    assert not read_markers(data).exif


@given(st.binary(max_size=400), st.integers(0, 600))
def test_damaged_headers_give_a_quality_or_none(junk: bytes, at: int) -> None:
    data = bad.encode(bad.photo(9, 9), "JPEG", quality=77)
    for damaged in (data[:at], data[:at] + junk, b"\xff\xd8" + junk):
        found = jpeg_quality(damaged)
        assert found is None or 1 <= found <= 100


def test_no_tables_no_quality() -> None:
    assert quality_of(()) is None
    assert jpeg_quality(bad.encode(bad.photo(), "PNG")) is None
