from __future__ import annotations

import struct

import bad_images as bad
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anmok.core.errors import ImageError
from anmok.data.decode import decode
from anmok.data.jpeg import halvings, read_header

BIG = bad.encode(bad.photo(384, 512), "JPEG", quality=90)


@given(st.integers(1, 70000), st.integers(1, 2000))
def test_halvings_stay_at_or_above_min_side(short: int, min_side: int) -> None:
    factor = halvings(short, min_side)
    assert factor in (1, 2, 4, 8)
    assert factor == 1 or -(-short // factor) >= min_side
    assert factor == 8 or -(-short // (2 * factor)) < min_side


def test_halvings_by_hand() -> None:
    assert [halvings(384, m) for m in (None, 48, 49, 96, 97, 192, 193, 384, 385)] == [1, 8, 4, 4, 2, 2, 1, 1, 1]


@pytest.mark.parametrize(("min_side", "shape"), [(40, (48, 64)), (96, (96, 128)), (100, (192, 256)), (200, (384, 512))])
def test_scaled_decoding_is_a_smaller_same_picture(min_side: int, shape: tuple[int, int]) -> None:
    image = decode(BIG, min_side=min_side)
    assert image.shape == (*shape, 3)
    reduced = Image.fromarray(decode(BIG)).reduce(384 // shape[0])
    assert np.abs(image.astype(int) - np.asarray(reduced)).max() <= 6


def test_scaling_of_odd_sizes_rounds_up() -> None:
    data = bad.encode(bad.photo(101, 67), "JPEG")
    assert decode(data, min_side=34).shape == (51, 34, 3)
    assert decode(data, min_side=35).shape == (101, 67, 3)


def test_header_by_hand() -> None:
    data = bad.encode(bad.photo(30, 20), "JPEG", exif=bad.exif(8), icc_profile=b"p" * 70000)  # two segments of profile
    header = read_header(data)
    assert (header.width, header.height, header.components, header.bits) == (20, 30, 3, 8)
    assert (header.orientation, header.adobe, len(header.icc)) == (8, None, 70000)
    assert data[header.scan : header.scan + 2] == b"\xff\xda"
    assert (header.info.width, header.info.height) == (30, 20)


def test_a_missing_end_marker_is_not_a_truncated_picture() -> None:
    notes: list[str] = []
    np.testing.assert_array_equal(decode(BIG[:-2], on_note=notes.append), decode(BIG))
    assert notes[0].startswith("recovered: ")


def test_extraneous_bytes_are_passed_over_and_told() -> None:
    notes: list[str] = []
    assert decode(BIG[:-2] + b"\x11\x22\x33\x44" * 50 + BIG[-2:], on_note=notes.append).shape == (384, 512, 3)
    assert [n.partition(":")[0] for n in notes] == ["recovered"]


def test_what_turbojpeg_refuses_is_read_all_the_same() -> None:
    data = bytearray(bad.encode(bad.photo(48, 48), "JPEG", subsampling=0))
    at = data.index(b"\xff\xc0")
    data[at + 11] = data[at + 14] = data[at + 17] = 0x31  # every channel 3×1: a factor that TurboJPEG does not name
    image = decode(bytes(data))
    assert image.shape == (48, 48, 3)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d, at: d[: at + 4] + b"\x0c" + d[at + 5 :], "unsupported-format"),  # 12 bits a channel
        (lambda d, at: bad.jpeg_with_size(d, 65535, 1366), "too-large"),
        (lambda d, at: bad.jpeg_with_size(d, 0, 0), "unreadable"),
        (lambda d, at: d[:2] + b"\xff\xd9" + d[2:], "unreadable"),
        (lambda d, at: d[:at], "truncated"),
        (lambda d, at: d[:2] + b"\xff\xe0" + struct.pack(">H", 4) + b"zz" + b"garbage" * 9, "unreadable"),
    ],
)
def test_bad_headers(change: object, code: str) -> None:
    with pytest.raises(ImageError) as raised:
        decode(change(BIG, BIG.index(b"\xff\xc0")))  # type: ignore[operator]
    assert raised.value.code == code


def test_gray_jpeg_is_decoded_as_it_is() -> None:
    gray = Image.fromarray(bad.photo()).convert("L")
    data = bad.encode(gray, "JPEG")
    assert read_header(data).components == 1
    np.testing.assert_array_equal(decode(data, channels="gray"), decode(data)[:, :, :1])
