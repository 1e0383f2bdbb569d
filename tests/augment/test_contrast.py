"""Contrast against OpenCV, scikit-image, Pillow and calculations by hand."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps
from skimage import exposure
from sklearn.datasets import load_sample_image

from anmok.augment.color import convert
from anmok.augment.contrast import LUMINANCE, clahe, equalize, equalize_luminance, minmax, stretch, zscore
from anmok.core.errors import UsageError

PHOTO = np.ascontiguousarray(load_sample_image("china.jpg")[60:300, 100:420])
DULL = (PHOTO // 4 + 90).astype(np.uint8)  # levels 90 to 153


def by_hand(plane: np.ndarray) -> np.ndarray:
    """Gonzalez & Woods' cumulative histogram, the darkest level to 0."""
    counts = np.bincount(plane.ravel(), minlength=256)
    total = counts.cumsum()
    first = total[np.flatnonzero(counts)[0]]
    if first == plane.size:
        return plane
    return np.rint(255 * (total[plane] - first) / (plane.size - first)).astype(np.uint8)


def test_equalize_is_opencvs_and_the_formula() -> None:
    out = equalize(DULL)
    for channel in range(3):
        np.testing.assert_array_equal(out[..., channel], cv2.equalizeHist(np.ascontiguousarray(DULL[..., channel])))
        assert np.abs(out[..., channel].astype(int) - by_hand(DULL[..., channel])).max() <= 1  # OpenCV's is float32
    assert (out.min(), out.max()) == (0, 255)


def test_equalize_is_pillows_seen_from_the_bright_end() -> None:
    pillow = np.asarray(ImageOps.equalize(Image.fromarray(DULL))).astype(
        int
    )  # counts what is darker, and rounds a step
    assert np.abs(255 - equalize(255 - DULL).astype(int) - pillow).max() <= 2


def test_equalize_is_scikit_images_with_the_darkest_level_at_0() -> None:
    out = equalize(DULL)
    for channel in range(3):
        plane = DULL[..., channel]
        share = exposure.equalize_hist(plane, nbins=256)
        first = (plane == plane.min()).mean()
        np.testing.assert_allclose(out[..., channel], 255 * (share - first) / (1 - first), atol=0.51)


def test_equalizing_four_levels_by_hand() -> None:
    image = np.array([[10, 10, 20, 20], [20, 20, 30, 40]], np.uint8)
    # cumulative 2, 6, 7, 8 of 8: (c - 2) / 6 of 255
    np.testing.assert_array_equal(equalize(image), [[0, 0, 170, 170], [170, 170, 212, 255]])


@pytest.mark.parametrize("space", LUMINANCE)
def test_only_the_luminance_is_equalized(space: str) -> None:
    apart = convert(DULL, "rgb", space)
    light = LUMINANCE[space]
    expected = apart.copy()
    expected[..., light] = cv2.equalizeHist(np.ascontiguousarray(apart[..., light]))
    np.testing.assert_array_equal(equalize_luminance(DULL, space), convert(expected, space, "rgb"))


def test_luminance_keeps_colours_where_global_shifts_them() -> None:
    tinted = np.clip(PHOTO.astype(int) // 3 + [70, 40, 20], 0, 255).astype(np.uint8)

    def chroma(image: np.ndarray) -> np.ndarray:
        return convert(image, "rgb", "ycrcb")[..., 1:].mean(axis=(0, 1))

    assert np.abs(chroma(equalize_luminance(tinted)) - chroma(tinted)).max() < 3
    assert np.abs(chroma(equalize(tinted)) - chroma(tinted)).max() > 9


@pytest.mark.parametrize(("limit", "tiles"), [(2.0, 8), (4.0, 4), (40.0, 2)])
def test_clahe_is_opencvs_on_the_luminance(limit: float, tiles: int) -> None:
    apart = cv2.cvtColor(DULL, cv2.COLOR_RGB2YCrCb)
    apart[..., 0] = cv2.createCLAHE(clipLimit=limit, tileGridSize=(tiles, tiles)).apply(apart[..., 0])
    np.testing.assert_array_equal(clahe(DULL, limit, tiles), cv2.cvtColor(apart, cv2.COLOR_YCrCb2RGB))


def test_clahe_of_one_tile_by_hand() -> None:
    plane = np.ascontiguousarray(PHOTO[..., 1]) // 3
    counts = np.bincount(plane.ravel(), minlength=256)
    limit = int(3.0 * plane.size / 256)
    over = int(np.maximum(counts - limit, 0).sum())
    counts = np.minimum(counts, limit) + over // 256
    counts[:: max(256 // max(over % 256, 1), 1)][: over % 256] += 1  # what is left, one each, spread evenly
    table = np.rint(counts.cumsum() * (255 / plane.size)).astype(np.uint8)
    assert np.abs(clahe(plane, 3.0, 1).astype(int) - table[plane]).max() <= 1


def test_clahe_without_a_limit_looks_like_scikit_images() -> None:
    plane = np.ascontiguousarray(PHOTO[..., 1])
    mine = clahe(plane, 256.0, 4).astype(float)
    theirs = exposure.equalize_adapthist(plane, kernel_size=(60, 80), clip_limit=1.0)  # 1: nothing is cut
    assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] > 0.98
    assert np.corrcoef(mine.ravel(), equalize(plane).ravel())[0, 1] < 0.98  # it is local


def test_clahe_raises_local_contrast_by_its_limit() -> None:
    def local(image: np.ndarray) -> float:
        gray = convert(image, "rgb", "gray")[..., 0].astype(np.float32)
        return float(np.abs(gray - cv2.blur(gray, (15, 15))).mean())

    assert local(DULL) < local(clahe(DULL, 1.5)) < local(clahe(DULL, 4.0))


@given(arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3]))))
@settings(max_examples=80, deadline=None)
def test_equalisation_keeps_the_order_of_levels(image: np.ndarray) -> None:
    out = equalize(image)
    for channel in range(image.shape[2]):
        before, after = image[..., channel].ravel(), out[..., channel].ravel().astype(int)
        order = np.argsort(before, kind="stable")
        assert (np.diff(after[order]) >= 0).all()
    for function in (equalize_luminance, clahe):
        assert function(image).shape == image.shape


@pytest.mark.parametrize("function", [equalize, equalize_luminance, clahe])
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 20_000, 3), (7, 1, 1), (5, 9), (2, 6, 4, 3), (0, 6, 4, 3)])
def test_odd_shapes_and_batches(function: Any, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    before = image.copy()
    out = function(image)
    assert (out.shape, out.dtype) == (shape, np.uint8)
    np.testing.assert_array_equal(image, before)
    if len(shape) == 4 and shape[0]:
        np.testing.assert_array_equal(out, np.stack([function(one) for one in image]))


@pytest.mark.parametrize("function", [equalize, equalize_luminance])
def test_an_image_of_one_level_stays(function: Any) -> None:
    np.testing.assert_array_equal(function(np.full((5, 5, 3), 93, np.uint8)), 93)


def test_minmax_by_hand() -> None:
    image = np.array([[[50, 100, 150]], [[50, 75, 100]]], np.uint8)
    np.testing.assert_array_equal(minmax(image), [[[0, 128, 255]], [[0, 64, 128]]])  # (v - 50) / 100, halves to even
    np.testing.assert_array_equal(minmax(image, per_channel=True), [[[0, 255, 255]], [[0, 0, 0]]])
    np.testing.assert_array_equal(minmax(np.full((2, 2, 3), 9, np.uint8)), 0)
    floats = minmax(image.astype(np.float32) * 3 - 7)
    np.testing.assert_allclose(floats, (image - 50.0) / 100, atol=1e-6)
    assert floats.dtype == np.float32


def test_minmax_and_stretch_are_opencvs_and_scikit_images() -> None:
    whole = cv2.normalize(DULL.reshape(-1), None, 0, 255, cv2.NORM_MINMAX).reshape(DULL.shape)  # type: ignore[call-overload]
    assert np.abs(minmax(DULL).astype(int) - whole).max() <= 1
    low, high = np.percentile(PHOTO, (2, 98))
    theirs = exposure.rescale_intensity(PHOTO.astype(np.float64), in_range=(low, high), out_range=(0, 255))
    assert np.abs(stretch(PHOTO, 2, 98) - theirs).max() <= 0.51
    np.testing.assert_array_equal(stretch(PHOTO, 0, 100), minmax(PHOTO))


def test_zscore_has_mean_zero_and_std_one() -> None:
    whole, apart = zscore(PHOTO), zscore(PHOTO, per_channel=True)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, (PHOTO - PHOTO.mean()) / PHOTO.std(), atol=1e-4)
    np.testing.assert_allclose(apart.mean((0, 1), dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(apart.std((0, 1), dtype=np.float64), 1, atol=1e-5)
    np.testing.assert_array_equal(zscore(np.full((3, 3, 3), 200, np.uint8)), 0)
    np.testing.assert_allclose(zscore(PHOTO / 255), whole, atol=1e-4)


def test_zscore_with_given_numbers_is_the_models_normalisation() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = (PHOTO / 255 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(zscore(PHOTO, mean, std), expected, atol=1e-5)
    np.testing.assert_allclose(zscore(PHOTO[..., 0], 0.5, 0.25), (PHOTO[..., 0] / 255 - 0.5) / 0.25, atol=1e-5)


@pytest.mark.parametrize("function", [minmax, stretch, zscore])
@pytest.mark.parametrize("per_channel", [False, True])
def test_each_image_of_a_batch_by_itself(function: Any, per_channel: bool) -> None:
    batch = np.stack([PHOTO, DULL, 255 - DULL])
    expected = np.stack([function(image, per_channel=per_channel) for image in batch])
    np.testing.assert_allclose(function(batch, per_channel=per_channel), expected, atol=1e-6)
    assert function(batch[:0]).shape == (0, *PHOTO.shape)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: equalize(PHOTO / 255), "on uint8, found float32"),
        (lambda: clahe(PHOTO, 0), "clip_limit must be above 0"),
        (lambda: clahe(PHOTO, 2, 0), "tiles at least 1"),
        (lambda: clahe(PHOTO, space="rgb"), "no luminance in rgb"),
        (lambda: equalize_luminance(PHOTO, "labb"), r"Did you mean lab\?"),
        (lambda: stretch(PHOTO, 60, 40), "found 60 and 40"),
        (lambda: zscore(PHOTO, 0.5), "both or neither"),
        (lambda: zscore(PHOTO, 0.5, 0.0), "std above 0"),
        (lambda: zscore(PHOTO, (0.1, 0.2), (1, 1)), "one number or 3"),
        (lambda: minmax(np.full((2, 2, 3), np.inf)), "infinite"),
        (lambda: minmax(PHOTO[..., :2]), r"\[H, W, 1 or 3\]"),
    ],
)  # fmt: skip
def test_bad_arguments(call: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
