"""Golden pixels against Pillow and closed forms, for every kind of file; errors; threads."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bad_images as bad
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from anmok.core.errors import ImageError, UsageError
from anmok.core.pixels import luma
from anmok.data import decode as module
from anmok.data.decode import decode, probe, to_rgb

PHOTO = bad.photo()


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad")


@pytest.fixture(scope="module")
def odd(folder: Path) -> dict[str, bad.Odd]:
    return bad.build(folder)


def test_each_bad_file_has_its_code(folder: Path, odd: dict[str, bad.Odd]) -> None:
    for name, expected in odd.items():
        data = (folder / name).read_bytes()
        if expected.code:
            with pytest.raises(ImageError) as raised:
                decode(data)
            assert raised.value.code == expected.code, name
        else:
            image = decode(data)
            assert image.dtype == np.uint8, name
            assert image.shape[2] == 3, name
            assert image.flags.c_contiguous, name
            assert image.flags.writeable, name


def test_probe_agrees_with_what_is_decoded(folder: Path, odd: dict[str, bad.Odd]) -> None:
    for name, expected in odd.items():
        data = (folder / name).read_bytes()
        if expected.code in ("empty", "unsupported-format", "too-large"):
            with pytest.raises(ImageError) as raised:
                probe(data)
            assert raised.value.code == expected.code, name
        elif not expected.code:
            info = probe(data)
            assert decode(data).shape[:2] == (info.height, info.width), name
            assert info.animated == ("animated" in expected.kinds), name
            assert info.alpha == ("alpha" in expected.kinds), name
            assert (info.bits != 8) == ("bit-depth" in expected.kinds), name
            assert (info.orientation != 1) == ("rotated" in expected.kinds), name


@pytest.mark.parametrize("size", [(48, 64), (47, 61), (1, 1), (8, 3)])
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {"quality": 90}), ("JPEG", {"subsampling": 0}), ("JPEG", {"progressive": True}), ("PNG", {}),
        ("WEBP", {"lossless": True}), ("WEBP", {"quality": 70}), ("AVIF", {}), ("BMP", {}), ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}), ("GIF", {}),
    ],
)  # fmt: skip
def test_equals_pillow(form: str, options: dict, size: tuple[int, int]) -> None:
    data = bad.encode(bad.photo(*size), form, **options)
    np.testing.assert_array_equal(decode(data), by_pillow(data))
    gray = np.asarray(Image.open(io.BytesIO(data)).convert("RGB").convert("L"))
    np.testing.assert_array_equal(decode(data, channels="gray"), gray[:, :, None])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_in_every_format(form: str, orientation: int) -> None:
    data = bad.encode(PHOTO, form, exif=bad.exif(orientation))
    np.testing.assert_array_equal(decode(data), by_pillow(data))
    assert decode(data).shape[:2] == ((64, 48) if orientation > 4 else (48, 64))


def test_orientation_after_the_pixels_of_a_png() -> None:
    plain = bad.encode(PHOTO, "PNG")
    data = plain[:-12] + bad.png_chunk(b"eXIf", bad.exif(6).removeprefix(b"Exif\0\0")) + plain[-12:]
    assert probe(data).orientation == 6
    np.testing.assert_array_equal(decode(data), by_pillow(data))


def test_gray_is_one_definition(odd: dict[str, bad.Odd], folder: Path) -> None:
    for name, expected in odd.items():
        if not expected.code:
            data = (folder / name).read_bytes()
            color, gray = (
                decode(data, background=(10, 200, 90)),
                decode(data, channels="gray", background=(10, 200, 90)),
            )
            np.testing.assert_array_equal(gray[:, :, 0], np.asarray(Image.fromarray(color).convert("L")), err_msg=name)


def test_transparent_pixels_show_the_background_exactly() -> None:
    color = PHOTO.copy()
    alpha = np.zeros(color.shape[:2], np.uint8)
    alpha[:, 32:] = 255
    alpha[:, 20:32] = 100
    for form, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        data = bad.encode(Image.fromarray(np.dstack([color, alpha])), form, **options)
        image = decode(data, background=(12, 34, 56))
        assert (image[:, :20] == (12, 34, 56)).all(), form
        np.testing.assert_array_equal(image[:, 32:], color[:, 32:], err_msg=form)
        mixed = (color[:, 20:32] * 100.0 + np.array([12, 34, 56]) * 155.0) / 255
        assert np.abs(image[:, 20:32] - mixed).max() <= 0.5, form


def test_transparency_of_palette_gray_and_16_bit_never_leaks_what_it_hides() -> None:
    indices = np.zeros((4, 4), np.uint8)
    indices[:, 2:] = 1
    palette = Image.fromarray(indices).convert("P")
    palette.putpalette([250, 0, 0, 0, 0, 250])
    gray = Image.fromarray(indices * 200)
    deep = np.full((4, 4, 3), 60000, np.uint16)
    deep[:, 2:] = (60001, 0, 0)
    deep_alpha = np.dstack([deep, np.where(indices == 1, 65535, 0)])
    gray_deep = np.dstack([deep[:, :, :1], np.where(indices == 1, 65535, 0)])
    key = bad.png_chunk(b"tRNS", b"\xea\x60" * 3)
    bilevel = bad.png(np.array([[[0b00110000]]] * 4), 0, 8)
    files = {
        "palette, one index": bad.encode(palette, "PNG", transparency=0),
        "palette, bytes": bad.encode(palette, "PNG", transparency=b"\x00\xff"),
        "gif": bad.encode(palette, "GIF", transparency=0),
        "gray key": bad.encode(gray, "PNG", transparency=0),
        "gray alpha": bad.encode(Image.merge("LA", (gray, Image.fromarray(indices * 255))), "PNG"),
        "16 bit alpha": bad.png(deep_alpha, 6),
        "16 bit gray alpha": bad.png(gray_deep, 4),
        "16 bit key": bad.png(deep, 2, extra=key),
        "16 bit gray key": bad.png(deep[:, :, :1], 0, extra=bad.png_chunk(b"tRNS", b"\xea\x60")),
    }
    for name, data in files.items():
        assert probe(data).alpha, name
        image = decode(data, background=(1, 2, 3))
        assert (image[:, :2] == (1, 2, 3)).all(), name
        assert (image[:, 2:] != (1, 2, 3)).any(axis=2).all(), name
    bilevel = bad.encode(Image.fromarray(indices * 255).convert("1"), "PNG", transparency=0)
    image = decode(bilevel, background=(1, 2, 3))
    assert (image[:, :2] == (1, 2, 3)).all()
    assert (image[:, 2:] == 255).all()


def test_16_bits_are_scaled_not_clipped() -> None:
    values = np.linspace(0, 65535, 60, dtype=np.uint16).reshape(4, 5, 3)
    values[0, 0] = 60000
    wanted = np.rint(values / 257)
    np.testing.assert_array_equal(decode(bad.png(values, 2)), wanted)
    assert decode(bad.png(values, 2))[0, 0, 0] == 233
    np.testing.assert_array_equal(decode(bad.png(values[:, :, :1], 0), channels="gray"), wanted[:, :, :1])
    gray = Image.fromarray(values[:, :, 0])
    for form in ("PNG", "TIFF"):
        np.testing.assert_array_equal(decode(bad.encode(gray, form), channels="gray")[:, :, 0], wanted[:, :, 0])


def test_floats_by_their_range() -> None:
    unit = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    wide = unit * 5000 - 1000
    for values in (unit, wide):
        data = bad.encode(Image.fromarray(values), "TIFF")
        np.testing.assert_array_equal(decode(data, channels="gray")[:, :, 0], np.rint(unit * 255))
        assert probe(data).bits == 32


def test_cmyk_golden_pixels() -> None:
    ink = np.zeros((16, 40, 4), np.uint8)
    ink[:, 8:16] = (255, 0, 0, 0)
    ink[:, 16:24] = (0, 255, 0, 0)
    ink[:, 24:32] = (0, 0, 255, 0)
    ink[:, 32:] = (0, 0, 0, 255)
    wanted = [(255, 255, 255), (0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0)]
    inverted = bad.encode(Image.fromarray(ink, "CMYK"), "JPEG", quality=100)  # Pillow writes as Adobe does
    marker = inverted.index(b"\xff\xee")
    plain = bad.encode(Image.fromarray(255 - ink, "CMYK"), "JPEG", quality=100)
    plain = plain[:marker] + plain[marker + 16 :]  # without the marker ink is not inverted
    assert b"Adobe" in inverted
    assert b"Adobe" not in plain
    for data in (inverted, plain, bad.encode(Image.fromarray(ink, "CMYK"), "TIFF")):
        image = decode(data)
        for i, colour in enumerate(wanted):
            assert np.abs(image[8, 4 + 8 * i].astype(int) - colour).max() <= 2
    np.testing.assert_array_equal(decode(inverted), by_pillow(inverted))


def test_ycck_golden_pixels() -> None:
    data = bad.ycck(bad.encode(Image.fromarray(PHOTO).convert("CMYK"), "JPEG", quality=100))
    assert probe(data).mode == "YCCK"
    np.testing.assert_array_equal(decode(data), by_pillow(data))


@pytest.mark.parametrize("name", ["animated.gif", "animated.webp", "animated.png"])
def test_the_first_picture_of_an_animation(folder: Path, odd: dict[str, bad.Odd], name: str) -> None:
    notes: list[str] = []
    data = (folder / name).read_bytes()
    np.testing.assert_array_equal(decode(data, on_note=notes.append), by_pillow(data))
    assert [n.partition(":")[0] for n in notes] == ["animated"]
    assert probe(data).frames == 3


def test_truncated_only_where_allowed(folder: Path, odd: dict[str, bad.Odd]) -> None:
    whole = decode(bad.encode(bad.photo(200, 300), "PNG"))
    for name in ("cut.png", "cut.bmp", "cut.tif", "cut.jpg"):
        notes: list[str] = []
        image = decode((folder / name).read_bytes(), allow_truncated=True, on_note=notes.append)
        assert image.shape == whole.shape
        top = slice(40, 60) if name == "cut.bmp" else slice(0, 60)  # a BMP begins at the bottom
        assert np.abs(image[top].astype(int) - whole[top]).mean() < 6, name
        assert any(n.startswith("truncated:") for n in notes), name
    with pytest.raises(ImageError) as raised:
        decode((folder / "cut-header.jpg").read_bytes(), allow_truncated=True)
    assert raised.value.code == "truncated"


def test_the_parser_of_a_refused_format_is_never_reached(
    folder: Path, odd: dict[str, bad.Odd], monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(*_: object, **__: object) -> None:
        raise AssertionError("a parser was reached")

    monkeypatch.setattr(Image, "open", reached)
    monkeypatch.setattr(module, "decode_raster", reached)
    monkeypatch.setattr(module, "decode_jpeg", reached)
    refused = [name for name, expected in odd.items() if expected.code == "unsupported-format"]
    assert len(refused) >= 7
    for name in refused:
        with pytest.raises(ImageError):
            decode((folder / name).read_bytes())


def test_size_is_refused_from_the_header(
    folder: Path, odd: dict[str, bad.Odd], monkeypatch: pytest.MonkeyPatch
) -> None:
    import simplejpeg
    from PIL import ImageFile

    def reached(*_: object, **__: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", reached)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", reached)
    for name, expected in odd.items():
        if expected.code == "too-large":
            with pytest.raises(ImageError) as raised:
                decode((folder / name).read_bytes())
            assert raised.value.code == "too-large", name


def test_the_largest_size_is_one_below_the_limit() -> None:
    small = bad.photo(2, 2)
    with pytest.raises(ImageError, match="too many"):
        probe(bad.png(small, 2, 8, size=(module.MAX_PIXELS, 1)))
    assert probe(bad.png(small, 2, 8, size=(module.MAX_PIXELS - 1, 1))).width == module.MAX_PIXELS - 1


def test_heic(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pi_heif")
    image = decode(bad.HEIC)
    assert image.shape == (64, 96, 3)
    assert np.abs(image[20, 20].astype(int) - (200, 40, 30)).max() < 12
    assert np.abs(image[20, 80].astype(int) - (30, 60, 180)).max() < 12
    with pytest.raises(ImageError) as raised:
        decode(bad.HEIC[:-50])
    assert raised.value.code == "truncated"


def test_heic_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(ImageError, match=r"anmok\[heic\]") as raised:
        decode(bad.HEIC)
    assert raised.value.code == "unsupported-format"


def test_threads_see_the_same_pixels(folder: Path, odd: dict[str, bad.Odd]) -> None:
    files = [
        (folder / name).read_bytes() for name, expected in odd.items() if not expected.code and name != "strip.png"
    ]
    files.append(bad.encode(PHOTO, "JPEG", icc_profile=bad.gamma_profile(1.0)))
    alone = [decode(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(decode, files * 6))
    for i, image in enumerate(together):
        np.testing.assert_array_equal(image, alone[i % len(files)])


SEEDS = [
    bad.encode(PHOTO, "JPEG", exif=bad.exif(6), icc_profile=bad.gamma_profile(1.8)),
    bad.encode(PHOTO, "PNG", exif=bad.exif(5)),
    bad.encode(Image.fromarray(PHOTO).quantize(9), "PNG", transparency=1),
    bad.encode(PHOTO, "WEBP"), bad.encode(PHOTO, "GIF"), bad.encode(PHOTO, "BMP"),
    bad.encode(PHOTO, "TIFF", compression="tiff_lzw"), bad.encode(PHOTO, "AVIF"),
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    st.integers(0, 3000), st.booleans(),
)  # fmt: skip
def test_damaged_bytes_give_pixels_or_an_image_error(
    seed: bytes, changes: list[tuple[int, int]], end: int, allow: bool
) -> None:
    data = bytearray(seed[: len(seed) - end] if end % 3 == 0 else seed)
    for at, value in changes:
        if at < len(data):
            data[at] = value
    for read in (probe, lambda d: decode(d, allow_truncated=allow)):
        try:
            read(bytes(data))
        except ImageError as error:
            assert error.code in ("unreadable", "truncated", "empty", "too-large", "unsupported-format")  # noqa: PT017


def test_to_rgb_takes_path_bytes_array_and_pillow_alike(tmp_path: Path) -> None:
    data = bad.encode(PHOTO, "JPEG", exif=bad.exif(6), icc_profile=bad.gamma_profile(1.0))
    path = tmp_path / "한글 사진.jpg"
    path.write_bytes(data)
    wanted = decode(data)
    for image in (path, str(path), data, bytearray(data), wanted, Image.open(io.BytesIO(data))):
        np.testing.assert_array_equal(to_rgb(image), wanted)
    np.testing.assert_array_equal(to_rgb(path, channels="gray"), decode(data, channels="gray"))
    assert to_rgb(path, min_side=12).shape == decode(data, min_side=12).shape == (16, 12, 3)


def test_to_rgb_of_arrays_by_type() -> None:
    values = np.array([[0, 127, 255]], np.uint8)
    for image in (
        values, values[:, :, None], np.repeat(values[:, :, None], 3, 2), values.astype(np.uint16) * 257,
        values / 255, values.astype(np.float32) * 4 - 100, values[:, ::-1][:, ::-1],
    ):  # fmt: skip
        np.testing.assert_array_equal(to_rgb(image), np.repeat(values[:, :, None], 3, 2))
    assert to_rgb(np.array([[True, False]]), channels="gray")[0, :, 0].tolist() == [255, 0]
    clear = np.dstack([np.full((2, 2, 3), 9, np.uint8), np.zeros((2, 2), np.uint8)])
    assert (to_rgb(clear, background=(1, 2, 3)) == (1, 2, 3)).all()
    assert (to_rgb(clear, channels="gray", background=(1, 2, 3)) == luma((1, 2, 3))).all()


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((3, 8, 8), np.uint8), "channels to the end"), (np.zeros((8, 8, 2), np.uint8), "found"),
        (np.zeros((4, 4), np.int64), "int64"), (np.zeros((0, 4), np.uint8), "found"), (3, "found int"),
    ],
)  # fmt: skip
def test_to_rgb_refuses_what_is_no_image(image: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        to_rgb(image)


def test_to_rgb_of_a_missing_path_and_a_cut_pillow_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file") as raised:
        to_rgb(tmp_path / "none.jpg")
    assert raised.value.code == "io-error"
    with pytest.raises(ImageError) as raised:
        to_rgb(Image.open(io.BytesIO(bad.encode(bad.photo(200, 300), "PNG")[:-2000])))
    assert raised.value.code == "truncated"


def test_every_photo_equals_pillow(data_dir: Path) -> None:
    files = sorted((data_dir / "photos").iterdir())[::10] + sorted((data_dir / "trashnet" / "glass").iterdir())[::60]
    for path in files:
        data = path.read_bytes()
        if not probe(data).icc:
            np.testing.assert_array_equal(decode(data), by_pillow(data), err_msg=path.name)
            continue
        image = Image.open(path)
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        wanted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        assert np.abs(decode(data).astype(int) - np.asarray(wanted)).max() <= 2, path.name
