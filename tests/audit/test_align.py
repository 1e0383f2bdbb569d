from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scenes import gray, scene
from skimage.metrics import structural_similarity

from anmok.audit.align import IDENTITY, SIDE, Picture, align, likeness, oriented, refine
from anmok.audit.hashes import TURNS


def picture(image: Image.Image) -> Picture:
    return Picture.of(gray(image))


def fitted(one: Picture, two: Picture, start: np.ndarray = IDENTITY) -> np.ndarray:
    where = align(one, two, start)
    assert where is not None
    better = refine(one, two, where)
    assert better is not None
    return better


@pytest.mark.parametrize("seed", range(6))
def test_a_crop_is_found_where_it_was_cut(seed: int) -> None:
    image = scene(seed)
    left, top, width, height = 22, 9, 288, 216  # 90 % of 320 x 240
    where = fitted(picture(image.crop((left, top, left + width, top + height))), picture(image))
    # A point u in [-1, 1] of the crop is at scale · u + offset in the whole.
    assert where[:2, :2] == pytest.approx(np.diag([0.9, 0.9]), abs=0.01)
    offset = [(2 * left + width) / 320 - 1, (2 * top + height) / 240 - 1]
    assert where[:2, 2] == pytest.approx(offset, abs=0.01)


@pytest.mark.parametrize("degrees", [3, -5])
def test_a_turn_is_measured(degrees: int) -> None:
    image = scene(7, 300, 300)
    where = fitted(picture(image), picture(image.rotate(degrees, Image.Resampling.BICUBIC)))
    assert math.degrees(math.atan2(where[0, 1], where[0, 0])) == pytest.approx(degrees, abs=0.4)


def test_light_and_contrast_do_not_matter() -> None:
    image = scene(8)
    dim = ImageEnhance.Contrast(ImageEnhance.Brightness(image).enhance(0.7)).enhance(0.7)
    where = fitted(picture(image), picture(dim))
    assert where == pytest.approx(IDENTITY, abs=0.01)
    found = likeness(picture(image), picture(dim), where)
    assert found is not None
    assert found.score > 0.98
    assert found.light == pytest.approx(gray(dim).mean() / gray(image).mean(), rel=0.03)


def test_nothing_fits_two_different_pictures() -> None:
    for seed in range(10):
        one, two = picture(scene(seed)), picture(scene(seed + 100))
        where = align(one, two)
        found = None if where is None else likeness(one, two, where)
        assert found is None or found.score < 0.5


def test_likeness_falls_as_ssim_does() -> None:
    image = scene(9, SIDE, SIDE)
    noise = np.random.default_rng(0).normal(0, 1, (SIDE, SIDE))
    ours, theirs = [], []
    for strength in (0, 4, 10, 25, 60):
        other = np.clip(gray(image) + strength * noise, 0, 255).astype(np.uint8)
        found = likeness(picture(image), Picture(other), IDENTITY)
        assert found is not None
        ours.append(found.score)
        theirs.append(structural_similarity(gray(image), other))
    assert ours[0] == pytest.approx(1)
    assert ours == sorted(ours, reverse=True)
    assert theirs == sorted(theirs, reverse=True)
    assert ours[-1] < 0.6


def test_white_around_two_things_does_not_make_them_alike() -> None:
    pages = [np.full((SIDE, SIDE), 255, np.uint8) for _ in range(2)]
    pages[0][40:56, 40:56] = gray(scene(1).resize((16, 16)))
    pages[1][40:56, 40:56] = gray(scene(2).resize((16, 16)))
    found = likeness(Picture(pages[0]), Picture(pages[1]), IDENTITY)
    assert found is not None
    assert found.score < 0.7
    assert found.covered < 0.3
    assert found.difference < 2  # most of it is the same white
    assert structural_similarity(*pages) > 0.9


def test_half_the_size_says_much_the_same() -> None:
    image = scene(4)
    one, two = picture(image), picture(image.resize((160, 120)))
    full, half = likeness(one, two, IDENTITY), likeness(one, two, IDENTITY, halved=True)
    assert full is not None
    assert half is not None
    assert half.score == pytest.approx(full.score, abs=0.05)


def test_pictures_that_hardly_overlap_are_not_compared() -> None:
    one = picture(scene(5))
    apart = np.array([[1, 0, 1.5], [0, 1, 0], [0, 0, 1.0]])
    assert likeness(one, one, apart) is None
    assert refine(one, one, apart) is None


@pytest.mark.parametrize("turn", TURNS)
def test_turns_are_those_of_numpy(turn: str) -> None:
    pixels = np.arange(12).reshape(3, 4)
    wanted = {
        "upright": pixels, "mirrored": np.fliplr(pixels), "half-turn": np.rot90(pixels, 2),
        "upside-down": np.flipud(pixels), "transposed": pixels.T, "right": np.rot90(pixels, -1),
        "anti-transposed": np.rot90(pixels, 2).T, "left": np.rot90(pixels),
    }  # fmt: skip
    np.testing.assert_array_equal(oriented(pixels, turn), wanted[turn])
