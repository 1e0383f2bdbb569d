"""Colour spaces against OpenCV, scikit-image, Pillow, colorsys and values worked out by hand."""

from __future__ import annotations

import colorsys
from itertools import product
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.color
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from sklearn.datasets import load_sample_image

import anmok
from anmok.augment.color import SPACES, convert
from anmok.core.errors import UsageError
from anmok.core.pixels import luma

PHOTO = np.ascontiguousarray(load_sample_image("flower.jpg")[100:260, 200:420])
CODES = {"hsv": "HSV", "hls": "HLS", "lab": "Lab", "luv": "Luv", "ycrcb": "YCrCb", "bgr": "BGR"}
# Largest step of a channel that a uint8 takes on its way there and back, over all 16.7 million colours.
COARSE = {"rgb": 0, "bgr": 0, "hsv": 6, "hls": 5, "lab": 27, "luv": 29, "ycrcb": 1, "ycbcr": 1, "xyz": 25}


def grid(step: int = 15) -> np.ndarray:
    """uint8[H, W, 3]: colours all over the cube, its corners and its grey diagonal included."""
    levels = np.arange(0, 256, step, dtype=np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(len(levels), -1, 3)


def unit(image: np.ndarray) -> np.ndarray:
    return (image / 255).astype(np.float32)


def one(*values: float, dtype: Any = np.float32) -> np.ndarray:
    return np.array([[values]], dtype)


@pytest.mark.parametrize("space", CODES)
@pytest.mark.parametrize("image", [PHOTO, grid()], ids=["photo", "cube"])
def test_uint8_is_opencvs_code_both_ways(space: str, image: np.ndarray) -> None:
    coded = cv2.cvtColor(image, getattr(cv2, f"COLOR_RGB2{CODES[space]}"))
    np.testing.assert_array_equal(convert(image, "rgb", space), coded)
    np.testing.assert_array_equal(
        convert(coded, space, "rgb"), cv2.cvtColor(coded, getattr(cv2, f"COLOR_{CODES[space]}2RGB"))
    )


@pytest.mark.parametrize(
    ("space", "scale", "shift", "most"),
    [
        ("lab", (2.55, 1, 1), (0, 128, 128), 2.6),  # OpenCV computes Lab in integers
        ("luv", (2.55, 255 / 354, 255 / 262), (0, 134 * 255 / 354, 140 * 255 / 262), 1.2),
        ("hsv", (180, 255, 255), (0, 0, 0), 1.0),
        ("xyz", (255 / 0.950456, 255, 255 / 1.088754), (0, 0, 0), 0.51),
    ],
)  # fmt: skip
def test_uint8_is_scikit_images_value_in_that_code(
    space: str, scale: tuple[float, ...], shift: tuple[float, ...], most: float
) -> None:
    expected = getattr(skimage.color, f"rgb2{space}")(grid()) * scale + shift
    off = np.abs(convert(grid(), "rgb", space) - expected)
    if space == "hsv":
        off[..., 0] = np.minimum(off[..., 0], 180 - off[..., 0])  # hue goes round
    assert off.max() <= most
    assert off.mean() <= 0.35


@pytest.mark.parametrize(
    ("space", "scale", "most"),
    [("lab", 1, 0.01), ("luv", 1, 0.02), ("xyz", 1, 1e-5), ("hsv", (360, 1, 1), 0.01)],
)  # fmt: skip
@pytest.mark.parametrize("image", [PHOTO, grid()], ids=["photo", "cube"])
def test_floats_are_scikit_images_values_both_ways(space: str, scale: Any, most: float, image: np.ndarray) -> None:
    theirs = getattr(skimage.color, f"rgb2{space}")(image) * scale
    mine = convert(unit(image), "rgb", space)
    assert mine.dtype == np.float32
    np.testing.assert_allclose(mine, theirs, atol=most)
    np.testing.assert_allclose(convert(theirs.astype(np.float32), space, "rgb"), image / 255, atol=1e-3)


def test_floats_are_opencvs_values() -> None:
    image = unit(grid())
    for space, most in (("lab", 0.6), ("luv", 0.02), ("hsv", 1e-6), ("hls", 1e-6), ("ycrcb", 1e-6)):
        theirs = cv2.cvtColor(image, getattr(cv2, f"COLOR_RGB2{CODES[space]}"))  # its Lab interpolates in a table
        np.testing.assert_allclose(convert(image, "rgb", space), theirs, atol=most)
    light = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4).astype(np.float32)
    np.testing.assert_allclose(convert(image, "rgb", "xyz"), cv2.cvtColor(light, cv2.COLOR_RGB2XYZ), atol=1e-6)


def test_ycbcr_is_pillows_and_scikit_images_at_full_range() -> None:
    theirs = np.asarray(Image.fromarray(PHOTO).convert("YCbCr")).astype(int)
    assert np.abs(convert(PHOTO, "rgb", "ycbcr") - theirs).max() <= 1
    studio = skimage.color.rgb2ycbcr(PHOTO)  # Y from 16 to 235, Cb and Cr from 16 to 240
    full = np.stack([(studio[..., 0] - 16) / 219, *((studio[..., k] - 128) / 224 + 0.5 for k in (1, 2))], -1)
    np.testing.assert_allclose(convert(unit(PHOTO), "rgb", "ycbcr"), full, atol=1e-3)
    np.testing.assert_array_equal(convert(PHOTO, "rgb", "ycbcr")[..., [0, 2, 1]], convert(PHOTO, "rgb", "ycrcb"))


@given(st.tuples(*[st.integers(0, 255)] * 3))
@settings(max_examples=200, deadline=None)
def test_hue_and_its_kin_are_the_standard_librarys(color: tuple[int, int, int]) -> None:
    pixel = unit(one(*color, dtype=np.uint8))
    r, g, b = pixel.ravel().tolist()
    for space, expected in (("hsv", colorsys.rgb_to_hsv(r, g, b)), ("hls", colorsys.rgb_to_hls(r, g, b))):
        found = convert(pixel, "rgb", space).ravel()
        turn = abs(found[0] - 360 * expected[0])
        assert min(turn, 360 - turn) < 0.01
        np.testing.assert_allclose(found[1:], expected[1:], atol=1e-4)


@pytest.mark.parametrize(
    ("color", "space", "expected"),
    [  # of sRGB primaries and greys; the CIE's by the definitions, with a calculator
        ((255, 0, 0), "hsv", (0, 1, 1)), ((0, 255, 0), "hsv", (120, 1, 1)), ((255, 0, 255), "hls", (300, 0.5, 1)),
        ((255, 255, 255), "hsv", (0, 0, 1)), ((128, 128, 128), "hls", (0, 128 / 255, 0)),
        ((255, 0, 0), "xyz", (0.412453, 0.212671, 0.019334)), ((255, 255, 255), "xyz", (0.950456, 1, 1.088754)),
        ((0, 0, 0), "xyz", (0, 0, 0)), ((255, 255, 255), "lab", (100, 0, 0)), ((0, 0, 0), "lab", (0, 0, 0)),
        ((255, 0, 0), "lab", (53.24, 80.09, 67.20)), ((128, 128, 128), "lab", (53.585, 0, 0)),
        ((255, 255, 255), "luv", (100, 0, 0)), ((255, 0, 0), "luv", (53.24, 175.01, 37.76)),
        ((0, 0, 0), "luv", (0, 0, 0)), ((128, 128, 128), "luv", (53.585, 0, 0)),
        ((255, 0, 0), "ycrcb", (0.299, 0.5 + 0.713 * 0.701, 0.5 - 0.564 * 0.299)),
        ((128, 128, 128), "ycbcr", (128 / 255, 0.5, 0.5)), ((255, 0, 0), "gray", (0.299,)),
        ((1, 2, 3), "bgr", (3 / 255, 2 / 255, 1 / 255)),
    ],
)  # fmt: skip
def test_known_colours(color: tuple[int, ...], space: str, expected: tuple[float, ...]) -> None:
    found = convert(unit(one(*color, dtype=np.uint8)), "rgb", space).ravel()
    np.testing.assert_allclose(found, expected, atol=0.02 if space in ("lab", "luv") else 1e-5)


@pytest.mark.parametrize(
    ("color", "space", "expected"),
    [
        ((255, 0, 0), "hsv", (0, 255, 255)), ((0, 0, 255), "hsv", (120, 255, 255)),
        ((255, 0, 0), "lab", (136, 208, 195)), ((255, 255, 255), "lab", (255, 128, 128)),
        ((128, 128, 128), "luv", (137, 97, 136)), ((128, 128, 128), "ycrcb", (128, 128, 128)),
        ((255, 0, 0), "ycbcr", (76, 85, 255)),
        ((255, 255, 255), "xyz", (255, 255, 255)), ((0, 255, 0), "xyz", (96, 182, 28)), ((255, 0, 0), "gray", (76,)),
    ],
)  # fmt: skip
def test_known_codes(color: tuple[int, ...], space: str, expected: tuple[int, ...]) -> None:
    found = convert(one(*color, dtype=np.uint8), "rgb", space).ravel()
    assert np.abs(found.astype(int) - expected).max() <= (1 if space == "luv" else 0)


@pytest.mark.parametrize(("source", "target"), list(product(SPACES, SPACES)))
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_every_pair_goes_by_way_of_rgb(source: str, target: str, dtype: Any) -> None:
    rgb = grid(51) if dtype == np.uint8 else unit(grid(51))
    coded = convert(rgb, "rgb", source)
    found = convert(coded, source, target)
    assert found.dtype == dtype
    assert found.shape == (*rgb.shape[:2], 1 if target == "gray" else 3)
    assert found.flags.c_contiguous
    if {source, target} != {"ycrcb", "ycbcr"} and source != target:
        np.testing.assert_array_equal(found, convert(convert(coded, source, "rgb"), "rgb", target))
    if source == target:
        assert not np.shares_memory(found, coded)
        np.testing.assert_array_equal(found, coded)


@pytest.mark.parametrize("space", COARSE)
@given(image=arrays(np.uint8, (2, 5, 3)))
@settings(max_examples=60, deadline=None)
def test_a_picture_comes_back(space: str, image: np.ndarray) -> None:
    back = convert(convert(image, "rgb", space), space, "rgb")
    assert np.abs(back.astype(int) - image).max() <= COARSE[space]
    exact = convert(convert(unit(image), "rgb", space), space, "rgb")
    np.testing.assert_allclose(exact, unit(image), atol=5e-4)


def test_grey_is_the_one_that_decoding_gives() -> None:
    gray = convert(PHOTO, "rgb", "gray")
    assert gray.shape == (*PHOTO.shape[:2], 1)
    assert all(gray[y, x, 0] == luma(tuple(PHOTO[y, x].tolist())) for y, x in ((0, 0), (3, 99), (120, 7)))
    assert np.abs(gray[..., 0].astype(int) - cv2.cvtColor(PHOTO, cv2.COLOR_RGB2GRAY)).max() <= 1
    np.testing.assert_array_equal(convert(gray, "gray", "rgb"), np.repeat(gray, 3, axis=2))
    np.testing.assert_array_equal(convert(gray[..., 0], "gray", "rgb"), np.repeat(gray, 3, axis=2))
    assert convert(gray[..., 0], "gray", "gray").shape == gray.shape
    assert convert(gray, "gray", "lab")[..., 1:].min() == convert(gray, "gray", "lab")[..., 1:].max() == 128


@pytest.mark.parametrize("target", SPACES)
def test_a_batch_is_its_images(target: str) -> None:
    batch = np.stack([PHOTO, PHOTO[::-1], 255 - PHOTO])
    for images in (batch, batch[:, ::2, ::-1], unit(batch)):  # also views that are not contiguous
        found = convert(images, "rgb", target)
        np.testing.assert_array_equal(found, np.stack([convert(image, "rgb", target) for image in images]))
    assert convert(batch[:0], "rgb", target).shape == (0, *found.shape[1:])


def test_it_is_reached_as_anmok_color_and_leaves_its_input_alone() -> None:
    image = PHOTO.copy()
    np.testing.assert_array_equal(anmok.color.convert(image, "RGB", "Lab"), convert(PHOTO, "rgb", "lab"))
    np.testing.assert_array_equal(image, PHOTO)
    assert convert(unit(PHOTO).astype(np.float64), "rgb", "lab").dtype == np.float32


def test_colours_that_srgb_lacks_are_cut() -> None:
    assert convert(one(60, 120, -120), "lab", "rgb").max() == 1
    assert convert(one(60, 0, -120), "lab", "rgb").min() == 0
    assert convert(one(1.0, 1.0, 0.0), "ycrcb", "rgb").min() >= 0
    almost = one(1.0005, -0.0005, 0.5)  # as resizing a float picture leaves it
    np.testing.assert_allclose(convert(almost, "rgb", "bgr").ravel(), [0.5, -0.0005, 1.0005])


@pytest.mark.parametrize(
    ("image", "source", "target", "message"),
    [
        (PHOTO, "rgb", "lba", r"no such colour space as lba\. Did you mean lab\?"),
        (PHOTO, "rbg", "lab", r"Did you mean .*rgb"),
        (PHOTO, "rgb", "grey", r"Did you mean gray\?"),
        (PHOTO, "rgb", "cmyk", "no such colour space as cmyk"),
        (PHOTO[..., :2], "rgb", "lab", r"\[H, W, 3\].*found \[160, 220, 2\]"),
        (PHOTO, "gray", "rgb", r"\[H, W, 1\].*found \[160, 220, 3\]"),
        (PHOTO[..., 0], "rgb", "lab", r"found \[160, 220\]"),
        (PHOTO.astype(np.int64), "rgb", "lab", "found int64"),
        (PHOTO.astype(np.uint16), "rgb", "lab", "found uint16"),
        (PHOTO.astype(np.float32), "rgb", "lab", r"found 0 to 255\. Divide them by 255"),
        (np.full((2, 2, 3), np.nan, np.float32), "lab", "rgb", "NaN"),
        ([[1, 2, 3]], "rgb", "lab", "found list"),
    ],
)  # fmt: skip
def test_what_is_no_image_of_that_space(image: Any, source: str, target: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        convert(image, source, target)
