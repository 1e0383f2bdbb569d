from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from skimage.measure import blur_effect, shannon_entropy

from anmok.audit.pixels import REBLUR, SIDE, color, edges, histogram, light, light_of, reduce
from anmok.data.decode import decode

colored = arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))
gray = arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(colored)
def test_color_by_the_formula_of_the_paper(pixels: np.ndarray) -> None:
    found = color(pixels)
    r, g, b = (pixels[:, :, i].astype(float) for i in range(3))
    rg, yb = r - g, (r + g) / 2 - b
    wanted = math.hypot(rg.std(), yb.std()) + 0.3 * math.hypot(rg.mean(), yb.mean())
    assert found["colorfulness"] == pytest.approx(wanted, abs=1e-5)
    assert found["chroma"] == pytest.approx(np.sqrt(np.mean([rg**2, (g - b) ** 2, (b - r) ** 2])) / 255)
    for i, name in enumerate("rgb"):
        assert found[f"mean_{name}"] == pytest.approx(pixels[:, :, i].mean() / 255)
        assert found[f"std_{name}"] == pytest.approx(pixels[:, :, i].std() / 255, abs=1e-7)


def test_sums_of_a_large_picture_do_not_overflow() -> None:
    found = color(np.full((6000, 6000, 3), 255, np.uint8))
    assert (found["mean_g"], found["std_g"], found["colorfulness"]) == (1, 0, 0)


@given(gray)
def test_light_by_numpy_and_scikit_image(pixels: np.ndarray) -> None:
    found = light(pixels)
    assert found["brightness"] == pytest.approx(pixels.mean() / 255, abs=1e-6)
    assert found["contrast"] == pytest.approx(pixels.std() / 255, abs=1e-4)
    assert found["entropy"] == pytest.approx(shannon_entropy(pixels, base=2), abs=1e-4)
    for name, percent in (("luma_1", 1), ("luma_5", 5), ("luma_95", 95), ("luma_99", 99)):
        assert found[name] * 255 == pytest.approx(np.percentile(pixels, percent, method="inverted_cdf"))


def reference(pixels: np.ndarray) -> float:
    """Sharpness by scipy, in float64."""
    taps = np.exp(-(np.arange(-2, 3) ** 2) / (2 * REBLUR**2))
    values = pixels.astype(float)
    blurred = values
    for axis in (0, 1):
        blurred = ndimage.correlate1d(blurred, taps / taps.sum(), axis, mode="mirror")
    kept = [(np.diff(blurred, axis=a) ** 4).sum() / (np.diff(values, axis=a) ** 4).sum() for a in (0, 1)]
    return 1 - max(kept)


@settings(deadline=None)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(8, 40), st.integers(8, 40)), elements=st.integers(0, 255)))
def test_sharpness_by_scipy(noise: np.ndarray) -> None:
    y, x = np.mgrid[: noise.shape[0], : noise.shape[1]]
    pixels = ((x * 7 + y * 5) % 64 + noise // 2).astype(np.uint8)
    assert edges(pixels)["sharpness"] == pytest.approx(max(0, reference(pixels)), abs=1e-4)


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0, 3.0])
def test_sharpness_of_a_blurred_edge_is_the_closed_form(sigma: float) -> None:
    disk = np.hypot(*np.mgrid[-63.5:64, -63.5:64]) < 40
    pixels = np.rint(ndimage.gaussian_filter(disk * 220.0, sigma) + 10).astype(np.uint8)
    wanted = 1 - (sigma**2 / (sigma**2 + REBLUR**2)) ** 1.5
    assert edges(pixels)["sharpness"] == pytest.approx(wanted, abs=0.06)


def test_sharpness_does_not_depend_on_contrast_or_background() -> None:
    y, x = np.mgrid[:128, :128]
    square = (abs(x - 64) < 12) & (abs(y - 60) < 9)
    soft = ndimage.gaussian_filter(square.astype(float), 0.8)
    strong, faint = (np.rint(128 + size * soft).astype(np.uint8) for size in (120, 60))
    assert edges(faint)["sharpness"] == pytest.approx(edges(strong)["sharpness"], abs=0.02)
    wide = np.pad(strong, 64, mode="edge")[32:-32, 32:-32]  # the same square on more of a plain ground
    assert edges(wide)["sharpness"] == pytest.approx(edges(strong)["sharpness"], abs=1e-6)


def test_a_motion_across_or_down_is_seen() -> None:
    rng, pixels = np.random.default_rng(0), np.zeros((150, 190), np.uint8)
    for _ in range(60):
        y, x, height, width = *rng.integers(0, 150, 2), *rng.integers(6, 30, 2)
        pixels[y : y + height, x : x + width] = rng.integers(0, 256)
    line = np.zeros((9, 9), np.float32)
    line[4] = 1 / 9
    pictures = pixels, cv2.filter2D(pixels, -1, line), cv2.filter2D(pixels, -1, line.T)
    still, *moved = (edges(picture)["sharpness"] for picture in pictures)
    assert still is not None
    assert still > 0.85
    assert all(value is not None and value < 0.4 for value in moved)


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (2, 9), (400, 2)])
def test_too_thin_to_have_edges(shape: tuple[int, int]) -> None:
    assert edges(np.zeros(shape, np.uint8)) == {"sharpness": None, "detail": None}


def test_nothing_changes_so_nothing_is_sharp() -> None:
    assert edges(np.full((20, 30), 90, np.uint8)) == {"sharpness": None, "detail": 0}


def test_stripes_are_judged_by_the_direction_that_has_edges() -> None:
    stripes = np.tile((np.arange(60) // 3 % 2 * 200).astype(np.uint8), (50, 1))
    found = edges(stripes)
    assert found["sharpness"] == pytest.approx(edges(np.ascontiguousarray(stripes.T))["sharpness"])
    assert found["sharpness"] > 0.8
    assert found["detail"] == pytest.approx(np.sqrt((np.diff(stripes.astype(float), axis=1) ** 2).sum() / 3000) / 255)


@pytest.mark.parametrize("shape", [(128, 300), (129, 140), (255, 256), (256, 400), (1000, 700), (40, 3000), (20, 20)])
def test_reduced_to_one_short_side(shape: tuple[int, int]) -> None:
    small = reduce(np.zeros(shape, np.uint8))
    assert min(small.shape) == min(SIDE, *shape)
    assert max(small.shape) / min(small.shape) == pytest.approx(max(shape) / min(shape), rel=0.02)


def test_real_photos_blurred_are_less_sharp_as_scikit_image_says_too(data_dir: Path) -> None:
    ours, theirs = [], []
    for path in sorted((data_dir / "photos").iterdir())[:40]:
        pixels = cv2.cvtColor(decode(path.read_bytes()), cv2.COLOR_RGB2GRAY)
        some = [reduce(pixels if s == 0 else cv2.GaussianBlur(pixels, (0, 0), s)) for s in (0, 2, 4)]
        ours.append([edges(small)["sharpness"] for small in some])
        theirs.append([-blur_effect(small) for small in some])
    for values in (np.array(ours), np.array(theirs)):
        assert (np.diff(values, axis=1) < 0).all()


def test_light_of_many_at_once_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 1 + 25 * k, (40 + k, 30), np.uint8) for k in range(10)]
    for together, pixels in zip(light_of([histogram(p) for p in pictures]), pictures, strict=True):
        assert together == pytest.approx(light(pixels), abs=1e-12)
    assert light_of([]) == []
