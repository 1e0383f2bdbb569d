from __future__ import annotations

import math

import numpy as np
import pytest
from scenes import gray, scene
from scipy import ndimage

from anmok.audit.likeness import Likeness, likeness, likenesses
from anmok.audit.picture import SIDE, Picture
from anmok.audit.warp import IDENTITY

APART = np.array([[1, 0, 1.5], [0, 1, 0], [0, 0, 1.0]])


def reference(a: np.ndarray, b: np.ndarray) -> Likeness:
    """By the definition, in float64, of two squares that lie on each other; the edge of three pixels is left out."""
    inside = np.zeros(a.shape, bool)
    inside[3:-3, 3:-3] = True
    a, b = a.astype(float), b.astype(float)

    def patch(values: np.ndarray) -> np.ndarray:
        known = ndimage.uniform_filter(inside.astype(float), 7, mode="constant")
        return ndimage.uniform_filter(np.where(inside, values, 0), 7, mode="constant") / np.maximum(known, 1e-9)

    mean_a, mean_b = patch(a), patch(b)
    var_a, var_b = patch(a * a) - mean_a**2, patch(b * b) - mean_b**2
    both = patch(a * b) - mean_a * mean_b
    gain = math.sqrt(var_b[inside].sum() / var_a[inside].sum())
    var_a, both = var_a[inside] * gain**2, both[inside] * gain
    var_b = var_b[inside]
    alike = (2 * both + 4) / (var_a + var_b + 4)
    weight = (var_a + var_b) / (var_a + var_b + 72)
    covered = max(float((w / w.sum()) @ (alike > 0.9)) for w in (var_a / (var_a + 36), var_b / (var_b + 36)))
    light = (b[inside].mean() + 1) / (a[inside].mean() + 1)
    difference = float(np.abs(a - b)[inside].mean())
    return Likeness(float(weight @ alike / weight.sum()), covered, float(weight.mean()), difference, light)


@pytest.mark.parametrize("seed", range(5))
def test_by_the_definition(seed: int) -> None:
    first = gray(scene(seed, SIDE, SIDE))
    noise = np.random.default_rng(seed).normal(0, 5 * seed, first.shape)
    second = np.clip(0.8 * first + noise, 0, 255).astype(np.uint8)
    found = likeness(Picture(first), Picture(second), IDENTITY)
    assert found is not None
    wanted = reference(first, second)
    assert found == pytest.approx(wanted, rel=2e-3)
    assert 0 < found.score <= 1


@pytest.mark.parametrize("halved", [False, True])
def test_many_as_one_by_one(halved: bool) -> None:
    pictures = [Picture.of(gray(scene(seed))) for seed in range(4)]
    maps = IDENTITY + np.random.default_rng(0).normal(0, 0.05, (16, 3, 3)) * [[1], [1], [0]]
    pairs = [(one, other, maps[4 * i + j]) for i, one in enumerate(pictures) for j, other in enumerate(pictures)]
    pairs.insert(3, (pictures[0], pictures[1], APART))
    for together, pair in zip(likenesses(pairs, halved=halved), pairs, strict=True):
        alone = likeness(*pair, halved=halved)
        assert (together is None) == (alone is None) == (pair[2] is APART)
        if together is not None and alone is not None:
            assert together == pytest.approx(alone, rel=1e-5, abs=1e-6)


def test_none_of_none() -> None:
    assert likenesses([]) == []
    picture = Picture.of(gray(scene(0)))
    assert likenesses([(picture, picture, APART)]) == [None]
