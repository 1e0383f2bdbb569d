from __future__ import annotations

import io
import struct

import bad_images as bad
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anmok.core.errors import ImageError
from anmok.data.header import MAX_PIXELS, check_size, cut_off, exif_orientation, tiff_tags, webp_size


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_by_hand_in_both_byte_orders(order: str, orientation: int) -> None:
    mark = b"II" if order == "<" else b"MM"
    block = mark + struct.pack(f"{order}HIH", 42, 8, 2)
    block += struct.pack(f"{order}HHIHH", 0x0100, 3, 1, 640, 0) + struct.pack(
        f"{order}HHIHH", 0x0112, 3, 1, orientation, 0
    )
    assert exif_orientation(block) == exif_orientation(b"Exif\0\0" + block) == orientation


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_impossible_orientation_counts_as_none(value: int) -> None:
    block = b"II" + struct.pack("<HIH", 42, 8, 1) + struct.pack("<HHIHH", 0x0112, 3, 1, value, 0)
    assert exif_orientation(block) == 1


@given(st.binary(max_size=80))
def test_any_bytes_are_an_orientation(data: bytes) -> None:
    assert exif_orientation(b"II*\0" + data) in range(1, 9)


def test_tags_beyond_the_file_are_left_out() -> None:
    block = b"II" + struct.pack("<HIH", 42, 8, 1) + struct.pack("<HHII", 273, 4, 1 << 31, 8)
    assert tiff_tags(block, {273}) == {}


@pytest.mark.parametrize("options", [{"quality": 80}, {"lossless": True}, {"quality": 80, "exif": bad.exif(1)}])
def test_webp_size_equals_pillow(options: dict) -> None:
    data = bad.encode(bad.photo(37, 53), "WEBP", **options)
    assert webp_size(data) == Image.open(io.BytesIO(data)).size == (53, 37)
    assert webp_size(data[:21]) is None


def test_limit() -> None:
    check_size(MAX_PIXELS - 1, 1)
    with pytest.raises(ImageError, match="89,478,485"):
        check_size(MAX_PIXELS, 1)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_cut_off(form: str) -> None:
    data = bad.encode(bad.photo(), form)
    assert not cut_off(form.lower(), data)
    assert cut_off(form.lower(), data[:-30])
    assert cut_off(form.lower(), data[: len(data) // 2])
