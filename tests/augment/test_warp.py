"""The warp against SciPy's, Pillow's antialiased resize, OpenCV's remap, and images that OpenCV stumbles over."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from anmok.augment import matrices as m
from anmok.augment.arrays import Border, Interpolation, beyond
from anmok.augment.warp import warp
from anmok.core.errors import UsageError

SCIPY = {
    "constant": "grid-constant", "edge": "nearest", "reflect": "mirror", "symmetric": "reflect", "wrap": "grid-wrap",
}  # fmt: skip
NUMPY = {"edge": "edge", "reflect": "reflect", "symmetric": "symmetric", "wrap": "wrap"}
BORDERS, INTERPOLATIONS = get_args(Border), get_args(Interpolation)


def noise(height: int, width: int, channels: int = 3, dtype: Any = np.uint8) -> np.ndarray:
    values = np.random.default_rng(height * width).integers(0, 256, (height, width, channels))
    return values.astype(dtype)


def photos(folder: Path) -> list[np.ndarray]:
    """Real photos, the first 200 rows and 270 columns of each."""
    files = sorted((folder / "photos").glob("*.JPEG"))[:8]
    return [np.asarray(Image.open(file).convert("RGB"))[:200, :270] for file in files]


def off(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize(("interpolation", "order"), [("nearest", 0), ("linear", 1)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7])
def test_every_border_is_scipys(border: Border, interpolation: Interpolation, order: int, channels: int) -> None:
    image = noise(13, 17, channels)
    matrix = m.compose(m.rotation(31, (4, 9), 1.3), m.translation(9.13, -3.27))
    back = m.inverse(matrix)[[1, 0]][:, [1, 0, 2]]  # SciPy counts rows first
    fill = [10 * c + 5 for c in range(channels)]
    out = warp(image, matrix, border=border, fill=fill, interpolation=interpolation)
    for c in range(channels):
        theirs = ndimage.affine_transform(
            image[:, :, c].astype(float), back[:, :2], back[:, 2], order=order, mode=SCIPY[border], cval=fill[c]
        )
        assert np.abs(out[:, :, c] - theirs).max() <= 1.0 if order else np.array_equal(out[:, :, c], theirs)


@pytest.mark.parametrize("interpolation", ["cubic", "lanczos"])
def test_cubic_and_lanczos_are_opencvs_remap(interpolation: Interpolation) -> None:
    image = noise(40, 50)
    back = m.inverse(matrix := m.rotation(20, (20, 20), 1.1))
    y, x = np.mgrid[:40, :50]
    at = np.einsum("ij,jhw->ihw", back[:2], np.stack([x, y, np.ones_like(x)])).astype(np.float32)
    flag = {"cubic": cv2.INTER_CUBIC, "lanczos": cv2.INTER_LANCZOS4}[interpolation]
    theirs = cv2.remap(image, at[0], at[1], flag, borderMode=cv2.BORDER_REPLICATE)
    assert off(warp(image, matrix, border="edge", interpolation=interpolation), theirs) <= 0.5  # places in 1/32 pixel


@pytest.mark.parametrize("border", NUMPY)
@given(st.integers(1, 9), st.integers(0, 30), st.integers(0, 30))
def test_beyond_is_what_numpy_pads_with(border: Border, length: int, before: int, after: int) -> None:
    expected = np.pad(np.arange(length), (before, after), NUMPY[border])  # type: ignore[call-overload]
    np.testing.assert_array_equal(beyond(-before, length + after, length, border), expected)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1), (1, 1, 3), (1, 5000), (5000, 1, 3), (1, 7, 2), (2, 2, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_thin_images_pass_and_keep_type_and_rank(
    border: Border, interpolation: Interpolation, shape: tuple[int, ...], dtype: Any
) -> None:
    image = np.full(shape, 77, dtype)
    horizon = np.array([[1, 0, 0], [0, 1, 0], [1e-3 / max(shape), 0, 1]])
    for matrix in (m.rotation(10, (0, 0), 0.9), m.scaling(0.1, 0.1, (0, 0)), horizon):
        out = warp(image, matrix, border=border, interpolation=interpolation, fill=77)
        assert out.shape == shape
        assert out.dtype == dtype
        np.testing.assert_allclose(out, 77, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
def test_a_side_longer_than_opencvs_short_integers(channels: int, interpolation: Interpolation) -> None:
    image = noise(1, 40_000, channels)
    moved = warp(image, m.translation(11, 0), border="wrap", interpolation=interpolation)
    np.testing.assert_array_equal(moved, np.roll(image, 11, 1))
    wide = warp(image, m.translation(60_000, 0), (100_100, 1), interpolation=interpolation)
    np.testing.assert_array_equal(wide[:, 60_000:100_000], image)
    with pytest.raises(UsageError, match="lanczos takes sides of up to 32,766"):
        warp(image, m.translation(11, 0), interpolation="lanczos")


def test_a_tall_long_side_too() -> None:
    image = noise(40_000, 2)
    np.testing.assert_array_equal(warp(image, m.translation(0, -7), border="wrap"), np.roll(image, -7, 0))


@pytest.mark.parametrize(("factor", "most"), [(0.8, 1.1), (0.7, 1.1), (0.5, 0.4), (0.37, 0.5), (0.2, 0.4), (0.06, 0.9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_shrinking_is_near_pillows_antialiased_resize(data_dir: Path, factor: float, most: float, dtype: Any) -> None:
    ours, plain = [], []
    for photo in photos(data_dir):
        size = (round(270 * factor), round(200 * factor))
        theirs = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR))
        matrix = m.resizing((270, 200), size)
        ours.append(off(warp(photo.astype(dtype), matrix, size, border="edge"), theirs))
        plain.append(off(cv2.warpAffine(photo, matrix[:2], size, borderMode=cv2.BORDER_REPLICATE), theirs))
    assert np.mean(ours) <= most
    assert np.mean(ours) <= 0.75 * np.mean(plain)


def test_each_axis_is_smoothed_by_its_own_shrinking_and_turning_or_shearing_is_none() -> None:
    rows = np.repeat(np.arange(120, dtype=np.uint8)[:, None] % 2 * 200, 120, 1)  # stripes along x
    squeezed = warp(rows, m.resizing((120, 120), (30, 120)), (30, 120), border="edge")
    np.testing.assert_array_equal(squeezed, rows[:, :30])
    flat = warp(rows, m.resizing((120, 120), (120, 30)), (120, 30), border="edge")
    assert np.abs(flat[2:-2].astype(int) - 100).max() <= 2
    for matrix in (m.rotation(45, (59.5, 59.5)), m.shearing(1, 0, (59.5, 59.5))):
        plain = cv2.warpAffine(rows, matrix[:2], (120, 120))
        np.testing.assert_array_equal(warp(rows, matrix), plain)


def test_nearest_never_makes_a_value() -> None:
    labels = noise(64, 64, 1) // 128 * 9
    assert set(np.unique(warp(labels, m.scaling(0.21, 0.3, (30, 30)), interpolation="nearest"))) == {0, 9}


def test_what_lies_behind_the_horizon_is_the_fill() -> None:
    image = np.full((50, 50, 3), 200, np.uint8)
    # A floor from row 79 to 40 whose sides, 49 and 9 wide, meet at 79 - 39 * 49 / 40 = 31.225: nothing lies above it.
    matrix = m.perspective([(0, 0), (49, 0), (49, 49), (0, 49)], [(20, 40), (29, 40), (49, 79), (0, 79)])
    out = warp(image, matrix, (50, 80), border="edge", fill=(1, 2, 3))
    assert (out[:32] == (1, 2, 3)).all()
    assert (out[32:] == 200).all()
    with pytest.raises(UsageError, match="no end at the horizon"):
        warp(image, matrix, (50, 80), border="reflect")
    assert (warp(image, -np.eye(3), fill=7) == 7).all()  # all of it behind


def test_memory_order_does_not_matter() -> None:
    image = noise(20, 30)
    matrix = m.rotation(12, (10, 10))
    expected = warp(image, matrix)
    np.testing.assert_array_equal(warp(np.asfortranarray(image), matrix), expected)
    backwards = np.ascontiguousarray(image[:, ::-1])[:, ::-1]
    np.testing.assert_array_equal(warp(backwards, matrix), expected)
    locked = image.copy()
    locked.setflags(write=False)
    np.testing.assert_array_equal(warp(locked, matrix), expected)


@settings(max_examples=40)
@given(st.floats(-180, 180), st.floats(0.02, 30), st.sampled_from(BORDERS), st.sampled_from(INTERPOLATIONS))
def test_one_colour_stays_one_colour(
    degrees: float, factor: float, border: Border, interpolation: Interpolation
) -> None:
    color = (10, 100, 250)
    image = np.full((23, 31, 3), color, np.uint8)
    out = warp(image, m.rotation(degrees, (3, 20), factor), border=border, interpolation=interpolation, fill=color)
    assert np.abs(out.astype(int) - color).max() <= 1


GOOD = noise(5, 6)
SAME = np.eye(3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: warp(GOOD, SAME, border="reflct"), "no such border as 'reflct'. Did you mean reflect"),  # type: ignore[arg-type]
        (lambda: warp(GOOD, SAME, interpolation="cubik"), "Did you mean cubic"),  # type: ignore[arg-type]
        (lambda: warp(GOOD.astype(np.float64), SAME), "uint8 or float32, found float64"),
        (lambda: warp([[1]], SAME), "found list"),  # type: ignore[arg-type]
        (lambda: warp(GOOD[None], SAME), r"found \[1, 5, 6, 3\]"),
        (lambda: warp(np.empty((0, 5), np.uint8), SAME), r"with pixels, found \[0, 5\]"),
        (lambda: warp(np.empty((5, 5, 0), np.uint8), SAME), "with pixels"),
        (lambda: warp(np.full((2, 2), np.nan, np.float32), SAME), "NaN or infinite"),
        (lambda: warp(GOOD, m.scaling(0, 1, (0, 0))), "no inverse"),
        (lambda: warp(GOOD, np.eye(2)), r"a matrix \[3, 3\], found \[2, 2\]"),
        (lambda: warp(GOOD, SAME, (0, 4)), "whole pixels from 1"),
        (lambda: warp(GOOD, SAME, (4.5, 4)), "whole pixels from 1"),  # type: ignore[arg-type]
        (lambda: warp(GOOD, SAME, (1 << 20, 1 << 20)), "in all at most"),
        (lambda: warp(GOOD, SAME, fill=(1, 2)), "one number or 3"),
        (lambda: warp(GOOD, SAME, fill=256), r"in \[0, 255\]"),
        (lambda: warp(GOOD, SAME, fill="red"), "fill is"),  # type: ignore[arg-type]
        (lambda: warp(GOOD.astype(np.float32), SAME, fill=math.nan), "finite"),
        (lambda: warp(GOOD, m.translation(1e6, 0), border="reflect"), 'border="edge"'),
        (lambda: warp(GOOD, m.translation(1e10, 0)), "pixels from an image of 6"),
    ],
)
def test_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
