from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scenes import encoded, gray, scene
from scipy.fft import dctn

from anmok.audit.hashes import FLAT, HASHES, SPANS, TURNS, WINDOWS, hashes_of, perceptual, thumbnail, turned

BY_PILLOW = {
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "half-turn": Image.Transpose.ROTATE_180,
    "upside-down": Image.Transpose.FLIP_TOP_BOTTOM,
    "transposed": Image.Transpose.TRANSPOSE,
    "right": Image.Transpose.ROTATE_270,  # Pillow turns anticlockwise
    "anti-transposed": Image.Transpose.TRANSVERSE,
    "left": Image.Transpose.ROTATE_90,
}


def apart(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def phash(image: Image.Image) -> int:
    return perceptual(gray(image))[0]


def test_phash_is_the_signs_of_the_64_lowest_frequencies_by_scipy() -> None:
    pixels = gray(scene(0).resize((32, 32)))
    waves = dctn(pixels.astype(float), type=2)
    order = sorted(
        ((v, u) for v in range(32) for u in range(32) if (v, u) != (0, 0)), key=lambda f: (f[0] ** 2 + f[1] ** 2, f)
    )
    assert order[63] == (6, 6)
    assert {(u, v) for v, u in order[:64]} == set(order[:64])  # a transpose stays within
    assert perceptual(pixels)[0] == sum(1 << k for k, f in enumerate(order[:64]) if waves[f] > 0)


def test_dhash_says_where_it_grows_brighter_to_the_right() -> None:
    ramp = np.tile(np.arange(0, 144, dtype=np.uint8), (128, 1))
    dhash = HASHES.index("dhash")
    assert perceptual(ramp)[dhash] == 2**64 - 1
    assert perceptual(ramp[:, ::-1].copy())[dhash] == 0
    half = ramp.copy()
    half[64:] = half[64:, ::-1]  # the upper four rows of cells rise, the lower four fall
    assert perceptual(half)[dhash] == 2**32 - 1


def test_a_column_a_hash_each_of_64_bits_whatever_the_size() -> None:
    for height, width in ((240, 320), (129, 131), (1, 1), (1, 20_000), (7, 9), (33, 64)):
        pixels = np.random.default_rng(height).integers(0, 256, (height, width), np.uint8)
        found = perceptual(pixels)
        assert len(found) == len(HASHES)
        assert all(isinstance(h, int) and 0 <= h < 2**64 for h in found)
        assert perceptual(pixels[:, :, None]) == found


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 300), st.sampled_from(sorted(BY_PILLOW)))
def test_the_hash_of_a_turned_picture_follows_from_the_bits(seed: int, turn: str) -> None:
    image = scene(seed, 256, 192)
    found = turned(np.array([phash(image)], np.uint64), turn)
    assert apart(int(found[0]), phash(image.transpose(BY_PILLOW[turn]))) <= 2  # by rounding, where a wave is nearly 0


@settings(deadline=None)
@given(st.lists(st.integers(1, 2**64 - 1), min_size=1, max_size=5), st.sampled_from(TURNS))
def test_turning_back_gives_the_hash_again(values: list[int], turn: str) -> None:
    hashes = np.array(values, np.uint64)
    back = {"left": "right", "right": "left"}.get(turn, turn)
    once = turned(hashes, turn)
    assert (turned(once, back) == hashes)[once != FLAT].all()


def test_a_window_has_the_hash_of_the_crop() -> None:
    image = scene(3, 400, 400)
    found = dict(zip(HASHES, perceptual(gray(image)), strict=True))
    for name in WINDOWS:
        (top, bottom), (left, right) = SPANS[name]
        crop = image.crop(tuple(round(400 * edge) for edge in (left, top, right, bottom)))
        assert apart(found[name], phash(crop)) <= 4, name
        assert apart(found["phash"], phash(crop)) > apart(found[name], phash(crop)), name


def test_the_same_photo_stays_near_and_others_are_far() -> None:
    scenes = [scene(seed) for seed in range(20)]
    hashes = np.array([phash(s) for s in scenes], np.uint64)
    between = np.bitwise_count(hashes[:, None] ^ hashes[None])[np.triu_indices(20, 1)]
    assert between.min() > 12
    for image, own in zip(scenes, hashes.tolist(), strict=True):
        with Image.open(io.BytesIO(encoded(image, quality=30))) as coarse:
            assert apart(own, phash(coarse)) <= 4
        assert apart(own, phash(image.resize((160, 120)))) <= 4
        assert apart(own, phash(image.point(lambda v: v * 0.8))) <= 4


def test_pictures_without_structure_share_one_hash() -> None:
    noise = np.random.default_rng(0).integers(127, 130, (200, 300)).astype(np.uint8)
    for pixels in (noise, np.zeros((128, 128), np.uint8), np.full((64, 500), 255, np.uint8)):
        found = dict(zip(HASHES, perceptual(pixels), strict=True))
        assert {found[name] for name in HASHES if name != "dhash"} == {FLAT}
    assert (turned(np.array([FLAT], np.uint64), "mirrored") == FLAT).all()


def test_an_unknown_turn_is_refused() -> None:
    with pytest.raises(ValueError):
        turned(np.zeros(1, np.uint64), "sideways")


def test_many_at_once_as_one_by_one() -> None:
    pictures = [gray(scene(seed)) for seed in range(5)] + [np.full((200, 150), 90, np.uint8)]
    assert hashes_of([thumbnail(pixels) for pixels in pictures]) == [perceptual(pixels) for pixels in pictures]
    assert hashes_of([]) == []
