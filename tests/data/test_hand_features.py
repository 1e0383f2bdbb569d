"""Features made by hand: each against a count of one's own."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.core.errors import MachineError, UsageError
from anmok.data.hand_features import HAND, hand_features

rng = np.random.default_rng(0)
PICTURES = rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def test_pixels_are_the_picture_and_a_large_one_is_averaged() -> None:
    small = PICTURES[:, :32, :32]
    np.testing.assert_allclose(hand_features("pixels", small), small.reshape(3, -1) / 255, atol=1e-6)
    means = PICTURES.astype(float).reshape(3, 32, 2, 32, 2, 3).mean((2, 4))
    assert np.abs(hand_features("pixels", PICTURES) * 255 - means.reshape(3, -1)).max() <= 0.51


def test_colors_are_the_joint_histogram() -> None:
    found = hand_features("colors", PICTURES)
    assert found.shape == (3, 512)
    for row, image in zip(found, PICTURES, strict=True):
        counts, _ = np.histogramdd(image.reshape(-1, 3), bins=8, range=[(0, 256)] * 3)
        np.testing.assert_allclose(row**2, counts.ravel() / 64**2, atol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_colors_do_not_care_where_a_pixel_lies(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(64 * 64)
    moved = PICTURES[0].reshape(-1, 3)[order].reshape(1, 64, 64, 3)
    np.testing.assert_array_equal(hand_features("colors", moved), hand_features("colors", PICTURES[:1]))


def test_hog_of_stripes_lies_in_one_orientation() -> None:
    pytest.importorskip("skimage")
    stripes = np.broadcast_to((np.arange(64) * 4 % 256).astype(np.uint8)[None, None, :, None], (1, 64, 64, 3)).copy()
    across = hand_features("hog", stripes).reshape(-1, 9)
    assert hand_features("hog", stripes).shape == (1, 1764)
    assert across[:, 0].min() > 0  # the gradient of every cell points along x: the bin of 0 degrees
    assert np.abs(across[:, 1:]).max() < 1e-6
    down = hand_features("hog", np.ascontiguousarray(stripes.swapaxes(1, 2))).reshape(-1, 9)
    assert (down.argmax(1) == 4).all()  # 90 degrees of bins that are 20 wide
    brighter = hand_features("hog", (stripes // 2 + 60))
    np.testing.assert_allclose(brighter, hand_features("hog", stripes // 2), atol=1e-5)


def test_lbp_counts_the_uniform_patterns() -> None:
    pytest.importorskip("skimage")
    image = rng.integers(0, 256, (1, 32, 32, 1), dtype=np.uint8)
    found = hand_features("lbp", image)
    assert found.shape == (1, 448)
    eight = (found[0] ** 2)[: 16 * 10].reshape(16, 10)
    np.testing.assert_allclose(eight.sum(1), 1, atol=1e-5)
    gray = image[0, :, :, 0].astype(float)
    angle = -2 * np.pi * np.arange(8) / 8  # counter-clockwise from the right, rows downwards

    def code(row: int, column: int) -> int:
        around = []
        for a in angle:
            y, x = row + round(float(np.sin(a)), 5), column + round(float(np.cos(a)), 5)
            y0, x0 = int(np.floor(y)), int(np.floor(x))
            fy, fx = y - y0, x - x0
            corners = [
                (gray[y0 + i, x0 + j], (fy if i else 1 - fy) * (fx if j else 1 - fx))
                for i in (0, 1) for j in (0, 1) if (fy if i else 1 - fy) * (fx if j else 1 - fx) > 0
            ]  # fmt: skip
            around.append(sum(v * w for v, w in corners) >= gray[row, column])
        changes = sum(a != b for a, b in zip(around, around[1:] + around[:1], strict=True))
        return sum(around) if changes <= 2 else 9

    inner = [code(r, c) for r in range(8, 16) for c in range(8, 16)]  # a part that touches no edge: row 1, column 1
    np.testing.assert_allclose(eight[5], np.bincount(inner, minlength=10) / 64, atol=1e-6)


@pytest.mark.parametrize("name", HAND)
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("side", [16, 20, 100])
def test_every_kind_takes_grey_and_odd_sides(name: str, depth: int, side: int) -> None:
    if name in ("hog", "lbp"):
        pytest.importorskip("skimage")
    found = hand_features(name, rng.integers(0, 256, (2, side, side, depth), dtype=np.uint8))
    assert found.dtype == np.float32
    assert found.shape[0] == 2
    assert np.isfinite(found).all()


def test_what_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="Did you mean colors"):
        hand_features("colours", PICTURES)
    with pytest.raises(UsageError, match="at least 16 pixels, found 8"):
        hand_features("hog", PICTURES[:, :8, :8])
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(MachineError, match=r"anmok\[features\]"):
        hand_features("lbp", PICTURES)
