from __future__ import annotations

import io
import struct

import bad_images as bad
import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from anmok.core.errors import ImageError, UsageError
from anmok.data.decode import decode, probe
from anmok.data.raster import from_pillow


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_modes_of_a_pillow_image(mode: str) -> None:
    image = Image.fromarray(bad.photo())
    if mode == "I;16":
        source = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "F":
        source = Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)
    else:
        source = image.convert(mode)
    raster = from_pillow(source)
    assert raster.pixels.dtype == np.uint8
    assert raster.pixels.shape[2] == {"RGB": 3, "RGBA": 3, "P": 3, "CMYK": 4}.get(mode, 1)
    if mode in ("I;16", "F"):
        np.testing.assert_array_equal(raster.pixels[:, :, 0], np.asarray(image.convert("L")))
    elif mode != "CMYK":
        wanted = np.asarray(source.convert("RGB"))
        np.testing.assert_array_equal(np.broadcast_to(raster.pixels, wanted.shape), wanted)


def test_lab_tiff() -> None:
    image = Image.fromarray(bad.photo())
    data = bad.encode(image.convert("LAB"), "TIFF")
    assert np.abs(decode(data).astype(int) - np.asarray(image)).mean() < 3


def test_float_colour_tiff_which_only_opencv_reads() -> None:
    values = np.linspace(-3, 9, 4 * 6 * 3, dtype=np.float32).reshape(4, 6, 3)
    data = cv2.imencode(".tiff", values[:, :, ::-1])[1].tobytes()
    assert (probe(data).width, probe(data).height, probe(data).bits) == (6, 4, 32)
    np.testing.assert_array_equal(decode(data), np.rint((values + 3) / 12 * 255))


def test_16_bit_colour_tiff_is_scaled() -> None:
    values = np.linspace(0, 65535, 4 * 6 * 3).astype(np.uint16).reshape(4, 6, 3)
    data = cv2.imencode(".tiff", values[:, :, ::-1])[1].tobytes()
    assert probe(data).bits == 16
    assert np.abs(decode(data) - values / 257).max() < 1.01


def test_bits_of_avif() -> None:
    assert probe(bad.encode(bad.photo(), "AVIF")).bits == 8


def test_pages_of_a_tiff_are_counted() -> None:
    pages = [Image.fromarray(bad.photo(seed=s)) for s in range(3)]
    data = bad.encode(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    notes: list[str] = []
    np.testing.assert_array_equal(decode(data, on_note=notes.append), bad.photo(seed=0))
    assert probe(data).frames == 3
    assert len(notes) == 1


def test_orientation_in_imagemagick_s_text_chunk() -> None:
    block = b"Exif\0\0" + bad.exif(6).removeprefix(b"Exif\0\0")
    text = f"\nexif\n{len(block):8d}\n{block.hex()}\n".encode()
    plain = bad.encode(bad.photo(), "PNG")
    data = plain[:33] + bad.png_chunk(b"tEXt", b"Raw profile type exif\0" + text) + plain[33:]
    assert probe(data).orientation == 6
    np.testing.assert_array_equal(decode(data), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))


def test_a_png_that_inflates_its_text_is_refused() -> None:
    import zlib

    plain = bad.encode(bad.photo(), "PNG")
    bomb = bad.png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * (80 << 20), 9))
    with pytest.raises(ImageError) as raised:
        decode(plain[:33] + bomb + plain[33:])
    assert raised.value.code == "unreadable"


def test_pillow_s_warnings_stay_inside() -> None:
    """A TIFF whose directory has a tag beyond the file makes Pillow warn; the test run turns warnings into errors."""
    data = bad.encode(bad.photo(), "TIFF", description="text long enough to lie outside of the directory")
    at = data.index(struct.pack("<HH", 270, 2))
    broken = data[: at + 4] + struct.pack("<I", 0x7FFFFFFF) + data[at + 8 :]
    with pytest.warns(UserWarning, match=r".+"):
        Image.open(io.BytesIO(broken)).load()
    np.testing.assert_array_equal(decode(broken), bad.photo())
    with pytest.warns(UserWarning, match=r".+"):  # those of others still come out
        Image.open(io.BytesIO(broken)).load()


@pytest.mark.parametrize("orientation", [0, 3, 6, 99])
def test_orientation_of_a_cut_tiff(orientation: int) -> None:
    data = bad.encode(bad.photo(200, 300), "TIFF", exif=bad.exif(3))
    at = data.index(struct.pack("<HHI", 0x0112, 3, 1))
    data = data[: at + 8] + struct.pack("<H", orientation) + data[at + 10 : -5000]
    image = decode(data, allow_truncated=True)
    assert image.shape == ((300, 200, 3) if orientation == 6 else (200, 300, 3))
    top = {3: image[::-1, ::-1], 6: np.rot90(image)}.get(orientation, image)[:100]
    np.testing.assert_array_equal(top, bad.photo(200, 300)[:100])


def test_from_pillow_refuses_other_objects_and_too_many_pixels() -> None:
    with pytest.raises(UsageError, match="found str"):
        from_pillow("x")
    with pytest.raises(ImageError) as raised:
        from_pillow(Image.new("1", (20000, 5000)))
    assert raised.value.code == "too-large"
