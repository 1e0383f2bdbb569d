"""Attention crops: the box by hand, the crop by hand, and what the two views are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anmok.augment.attention import WHOLE, AttentionViews, Box, attention_views, box_of, crop_of
from anmok.augment.preprocess import Preprocess
from anmok.augment.tta import build_views
from anmok.core.errors import UsageError


def bump(top: int, left: int, height: int, width: int, side: int = 12) -> np.ndarray:
    out = np.zeros((side, side))
    out[top : top + height, left : left + width] = 1
    return out


def test_a_box_is_around_what_is_active() -> None:
    box = box_of(bump(3, 4, 4, 2))
    assert box.side == pytest.approx(1.2 * 4 / 12, abs=0.03)  # the longer side, and a tenth of it on each end
    assert box.top + box.side / 2 == pytest.approx(5 / 12, abs=0.01)
    assert box.left + box.side / 2 == pytest.approx(5 / 12, abs=0.01)


def test_a_box_has_a_third_of_the_side_and_stays_inside() -> None:
    box = box_of(bump(11, 0, 1, 1))
    assert box == Box(pytest.approx(2 / 3), 0.0, pytest.approx(1 / 3))


def test_the_largest_part_is_taken_not_the_brightest() -> None:
    activity = bump(1, 1, 4, 4) + 1.5 * bump(10, 10, 1, 1)  # 1 is above half of 1.5
    box = box_of(activity)
    assert (box.top, box.left) < (0.2, 0.2)
    assert box.top + box.side < 0.6
    lonely = box_of(activity, share=0.9)
    assert lonely.top + lonely.side == 1.0


def test_the_share_is_of_the_way_from_the_least() -> None:
    activity = 10 + bump(2, 2, 3, 3) + 0.4 * bump(2, 5, 3, 6)
    assert box_of(activity) == box_of(3 * activity - 7)  # neither level nor scale matters
    assert box_of(activity, share=0.3).side > 1.5 * box_of(activity).side


@pytest.mark.parametrize("activity", [np.ones((4, 4)), np.zeros((3, 5)), np.full((2, 2), np.nan), bump(0, 0, 12, 12)])
def test_a_map_that_says_nothing_is_the_whole_picture(activity: np.ndarray) -> None:
    assert box_of(activity) == WHOLE


@given(
    values=st.lists(st.floats(0, 1), min_size=12, max_size=12),
    share=st.floats(0.05, 0.95),
    rows=st.sampled_from([2, 3]),
)
def test_a_box_lies_in_the_picture(values: list[float], share: float, rows: int) -> None:
    top, left, side = box_of(np.array(values).reshape(rows, -1), share)
    assert 1 / 3 - 1e-9 <= side <= 1
    assert min(top, left) >= 0
    assert max(top, left) + side <= 1 + 1e-9


def test_a_crop_is_cut_and_resized() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    found = crop_of(picture, Box(0.2, 0.5, 1 / 3), 24)
    by_hand = Image.fromarray(picture[18:48, 45:75]).resize((24, 24), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found, np.asarray(by_hand))
    corner = crop_of(picture, Box(2 / 3, 2 / 3, 1 / 3), 30)
    np.testing.assert_array_equal(corner, picture[60:, 60:])  # as many pixels as are asked for: none is made up


@pytest.mark.parametrize("normalize", ["standard", "minmax"])
@pytest.mark.parametrize("fit", ["squash", "crop", "letterbox"])
def test_the_views_are_the_plain_one_and_the_crop_by_hand(fit: str, normalize: str) -> None:
    pre = Preprocess(16, fit=fit, normalize=normalize)  # type: ignore[arg-type]
    image = np.random.default_rng(1).integers(0, 200, (70, 110, 3), dtype=np.uint8)
    asked: list[np.ndarray] = []

    def look(images: np.ndarray) -> np.ndarray:
        asked.append(images)
        return bump(3, 3, 4, 4)[None]

    views = attention_views(pre, look)
    parts = [part[None] for part in views(image, "a")]
    assert [part.shape[1:] for part in parts] == [(16, 16, 3), (48, 48, 3)]
    plain, crop = views.shown(parts)
    np.testing.assert_array_equal(plain[0], pre.apply(image))
    np.testing.assert_array_equal(asked[0], plain)
    large = pre.square(pre.prepare(image), 48)
    by_hand = pre.finish(crop_of(large, box_of(bump(3, 3, 4, 4)), 16))
    np.testing.assert_array_equal(crop[0], by_hand)
    assert (views.names, views.passes, len(views)) == (("plain", "attention crop"), 3, 2)


def test_where_nothing_stands_out_the_crop_is_the_plain_view() -> None:
    views = build_views("attention", Preprocess(16), look=lambda images: np.ones((len(images), 2, 2)))
    assert isinstance(views, AttentionViews)
    image = np.random.default_rng(2).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    plain, crop = views.shown([part[None] for part in views(image, "a")])
    np.testing.assert_array_equal(crop, plain)


def test_without_a_look_there_is_no_attention() -> None:
    with pytest.raises(UsageError, match="--runtime torch"):
        build_views("attention", Preprocess(16))
