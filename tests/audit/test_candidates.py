from __future__ import annotations

import numpy as np
import pytest
from scenes import gray, scene

from anmok.audit.candidates import FITS, Candidates, candidates
from anmok.audit.hashes import FLAT, HASHES, perceptual, turned
from anmok.audit.near_config import NearConfig

CENTRE = HASHES.index("phash_centre")


def random_hashes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 2**64, (count, len(HASHES)), np.uint64)


def flipped(values: np.ndarray, bits: int, seed: int = 0) -> np.ndarray:
    """Each value with that many different bits turned over."""
    rng = np.random.default_rng(seed)
    masks = [sum(1 << int(b) for b in rng.choice(64, bits, replace=False)) for _ in values]
    return values ^ np.array(masks, np.uint64)


def as_dict(found: Candidates) -> dict[tuple[int, int], tuple[str, int]]:
    columns = zip(found.first.tolist(), found.second.tolist(), found.fit.tolist(), found.bits.tolist(), strict=True)
    return {(a, b): (FITS[fit], bits) for a, b, fit, bits in columns}


def search(hashes: np.ndarray, **config: object) -> dict[tuple[int, int], tuple[str, int]]:
    return as_dict(candidates(hashes, NearConfig.model_validate(config), threads=2))


def test_random_pictures_have_no_candidates() -> None:
    assert search(random_hashes(300)) == {}
    assert search(random_hashes(1)) == search(random_hashes(0)) == {}


def test_whole_and_middle_have_to_be_near_on_average() -> None:
    hashes = random_hashes(4)
    pair = np.concatenate([hashes, hashes])
    for column, bits in ((0, [4, 12, 12, 18]), (CENTRE, [4, 12, 14, 6])):
        for row, n in enumerate(bits):
            pair[4 + row, column] = flipped(pair[row : row + 1, column], n, seed=row)[0]
    pair[4:, 1] = pair[:4, 1]
    pair[4:, 3:] = random_hashes(4, 1)[:, 3:]
    found = search(pair, crops=False)
    assert found[0, 4] == ("upright", 4)
    assert found[1, 5] == ("upright", 12)
    assert (2, 6) not in found  # 26 bits of both
    assert found[3, 7] == ("upright", 12)  # 18 bits of the whole, but 6 of the middle


@pytest.mark.parametrize("turn", ["mirrored", "half-turn", "upside-down", "transposed", "right", "left"])
def test_a_turned_picture_is_a_candidate_by_its_turn(turn: str) -> None:
    hashes = random_hashes(3)
    other = random_hashes(3, 1)
    for column in (0, CENTRE):
        other[:, column] = turned(hashes[:, column], turn)
    pair = np.concatenate([hashes, other])
    assert search(pair) == {(i, i + 3): (turn, 0) for i in range(3)}
    assert search(pair, turns=False) == {}


def test_a_crop_and_its_original_in_either_order() -> None:
    whole, crop = random_hashes(1), random_hashes(1, 1)
    crop[0, 0] = flipped(whole[:1, 4], 5)[0]
    assert search(np.concatenate([whole, crop])) == {}  # its steps of brightness are others
    crop[0, 1] = flipped(whole[:1, 1], 20)[0]
    assert HASHES[4] == "phash_top_right"
    assert search(np.concatenate([whole, crop])) == {(0, 1): ("phash_top_right", 5)}
    assert search(np.concatenate([crop, whole])) == {(0, 1): ("in phash_top_right", 5)}
    assert search(np.concatenate([whole, crop]), crops=False) == {}


def test_a_thousand_copies_are_a_star_and_a_chain_not_half_a_million_pairs() -> None:
    hashes = random_hashes(1200)
    hashes[100:1100, 0] = hashes[100, 0]
    hashes[300:310] = hashes[300]
    found = search(hashes)
    assert len(found) <= 2 * 1000
    assert all((100, row) in found for row in range(101, 1100))
    assert sum(bits == 0 for _, bits in found.values()) >= 9  # those whose other hashes are the same too come first


def test_flat_pictures_are_grouped_and_match_nothing_else() -> None:
    hashes = random_hashes(50)
    hashes[10:40] = FLAT
    found = search(hashes)
    assert {row for pair in found for row in pair} == set(range(10, 40))


def test_no_more_than_the_bound_the_nearest_first() -> None:
    rng = np.random.default_rng(5)
    hashes = random_hashes(400)
    for column in (0, CENTRE):  # a cloud: everything is near everything
        hashes[:, column] = flipped(np.full(400, 12345, np.uint64), 4, int(rng.integers(100)))
    found = candidates(hashes, NearConfig(candidates=3), threads=1)
    assert 0 < len(found.first) <= 3 * 400
    assert (np.diff(found.bits.astype(int)) >= 0).all()
    assert (found.first < found.second).all()


def test_real_pictures_meet_their_crops_and_mirror_images() -> None:
    images = [scene(seed) for seed in range(8)]
    crops = [image.crop((16, 12, 304, 228)) for image in images]
    mirrored = [image.transpose(0) for image in images]
    hashes = np.array([perceptual(gray(i)) for i in (*images, *crops, *mirrored)], np.uint64)
    found = search(hashes)
    for i in range(8):
        assert found[i, i + 8][0] in ("upright", "phash_centre")
        assert found[i, i + 16][0] == "mirrored"
