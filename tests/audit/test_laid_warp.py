from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import gray, scene
from scipy import ndimage

from anmok.audit.warp import IDENTITY, compose, warp

small = st.floats(-0.2, 0.2)


def smooth(seed: int, side: int = 32) -> np.ndarray:
    return ndimage.gaussian_filter(gray(scene(seed).resize((side, side))).astype(np.float32), 1)


@given(st.tuples(*[small] * 6))
def test_a_picture_is_seen_through_a_map_as_by_scipy(numbers: tuple[float, ...]) -> None:
    picture, side = smooth(0), 32
    where = IDENTITY + np.array([*numbers, 0, 0, 0]).reshape(3, 3)
    steps = (np.arange(side) - (side - 1) / 2) / (side / 2)
    x, y = np.meshgrid(steps, steps)
    at_x, at_y, _ = where @ np.stack([x.ravel(), y.ravel(), np.ones(side * side)])
    places = np.stack([at_y, at_x]) * side / 2 + (side - 1) / 2
    wanted = ndimage.map_coordinates(picture, places, order=1, mode="nearest").reshape(side, side)
    (moved,) = warp([picture], where[None])
    assert moved == pytest.approx(wanted, abs=3)  # OpenCV rounds places to 1/32 of a pixel
    assert np.abs(moved - wanted).mean() < 0.5


def test_what_lies_outside_is_what_is_asked_for() -> None:
    aside = IDENTITY + np.array([[0, 0, 0.5], [0, 0, 0], [0, 0, 0]])  # by a quarter of the width
    (moved,) = warp([smooth(1)], aside[None], outside=np.nan)
    assert not np.isnan(moved[:-1, :23]).any()  # interpolation reaches one pixel further
    assert np.isnan(moved[:, 24:]).all()
    assert not np.isnan(warp([smooth(1)], aside[None])).any()


def test_many_as_one_by_one() -> None:
    pictures = [smooth(seed) for seed in range(5)]
    where = IDENTITY + np.random.default_rng(0).normal(0, 0.1, (5, 3, 3)) * [[1], [1], [0]]
    for moved, picture, one in zip(warp(pictures, where), pictures, where, strict=True):
        np.testing.assert_array_equal(moved, warp([picture], one[None])[0])


@given(st.tuples(*[small] * 6), st.tuples(*[small] * 6))
def test_a_change_is_undone(before: tuple[float, ...], numbers: tuple[float, ...]) -> None:
    where = IDENTITY + np.array([*before, 0, 0, 0]).reshape(3, 3)
    change = IDENTITY + np.array([*numbers, 0, 0, 0]).reshape(3, 3)
    (found,) = compose(where[None], np.array([numbers]))
    assert found == pytest.approx(where @ np.linalg.inv(change), abs=1e-9)


def test_a_change_that_cannot_be_undone_is_left() -> None:
    flat = np.array([-1.0, 0, 0, 0, -1, 0])  # everything onto one point
    np.testing.assert_array_equal(compose(IDENTITY[None], flat[None])[0], IDENTITY)
