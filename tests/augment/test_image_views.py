"""Test-time views: the plain one first, the others by hand, draws that can be replayed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anmok.augment.execute import apply
from anmok.augment.papers import randaugment
from anmok.augment.policy import compose
from anmok.augment.preprocess import Preprocess
from anmok.augment.tta import Sizes, build_views, parse_tta
from anmok.core.errors import UsageError

KINDS = ("flips", "shifts", "five-crop", "scales", "randaugment:5")


def photo(height: int, width: int, depth: int = 3, seed: int = 0) -> np.ndarray:
    """uint8[H, W, C]: smooth, so that a resize can be compared."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    return np.ascontiguousarray(image[:, :, :depth])


def resized(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


@given(
    kind=st.sampled_from([*KINDS, None]), size=st.integers(4, 40), height=st.integers(1, 90), width=st.integers(1, 90),
    fit=st.sampled_from(["squash", "crop", "letterbox"]), channels=st.sampled_from(["rgb", "gray"]),
    normalize=st.sampled_from(["standard", "minmax"]), variable=st.booleans(),
)  # fmt: skip
def test_the_first_view_is_what_the_model_sees_without_them(
    kind: str | None, size: int, height: int, width: int, fit: str, channels: str, normalize: str, variable: bool
) -> None:
    pre = Preprocess(size, channels, fit, normalize=normalize)  # type: ignore[arg-type]
    image = photo(height, width, pre.depth)
    views = build_views(kind, pre, Sizes(variable, 2, 3))
    found = views(image, "a.png")
    np.testing.assert_array_equal(found[0], pre.apply(image))
    assert views.names[0] == "plain"
    assert len(found) == len(views) == len(views.sizes)
    for view, side in zip(found, views.sizes, strict=True):
        assert view.shape == (side, side, pre.depth)
        assert view.dtype == np.uint8
        assert view.flags["C_CONTIGUOUS"]


def test_a_mirror_image_is_one() -> None:
    image = photo(50, 70)
    plain, mirrored = build_views("flips", Preprocess(32))(image, "a")
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])
    odd = build_views("flips", Preprocess(32, normalize="minmax", colorspace="lab"))(image, "a")
    np.testing.assert_array_equal(odd[1], odd[0][:, ::-1])  # what is finished of a view is the view's own


def test_shifts_are_the_six_views_of_airbench() -> None:
    image = photo(32, 32)
    views = build_views("shifts", Preprocess(32))
    around = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    moved = [image, around[:32, :32], around[2:, 2:]]
    found = views(image, "a")
    for k, picture in enumerate(moved):
        np.testing.assert_array_equal(found[2 * k], picture)
        np.testing.assert_array_equal(found[2 * k + 1], picture[:, ::-1])
    assert views.names[:4] == ("plain", "mirrored", "lower right", "lower right mirrored")
    np.testing.assert_array_equal(found[2][1:, 1:], image[:-1, :-1])  # one pixel down and to the right
    larger = build_views("shifts", Preprocess(64))(photo(64, 64), "a")
    np.testing.assert_array_equal(larger[2][2:, 2:], larger[0][:-2, :-2])


def test_five_crops_are_of_one_larger_picture() -> None:
    image = photo(100, 140)
    _, top_left, top_right, bottom_left, bottom_right, centre = build_views("five-crop", Preprocess(40))(image, "a")
    large = resized(image, 46)  # 1.15 times 40
    np.testing.assert_array_equal(top_left, large[:40, :40])
    np.testing.assert_array_equal(top_right, large[:40, 6:])
    np.testing.assert_array_equal(bottom_left, large[6:, :40])
    np.testing.assert_array_equal(bottom_right, large[6:, 6:])
    np.testing.assert_array_equal(centre, large[3:43, 3:43])


def test_scales_are_other_sizes_where_the_network_takes_them() -> None:
    image, pre = photo(100, 140), Preprocess(40)
    free = build_views("scales", pre, Sizes(True, 8, 1))
    assert free.sizes == (40, 36, 46)
    for view, side in zip(free(image, "a"), free.sizes, strict=True):
        np.testing.assert_array_equal(view, resized(image, side))
    assert build_views("scales", Preprocess(64), Sizes(True, 32, 32)).sizes == (64, 64, 64)  # 58 and 74 are none of 32
    assert build_views("scales", Preprocess(224), Sizes(True, 32, 32)).sizes == (224, 192, 256)
    assert build_views("scales", pre, Sizes(True, 38, 1)).sizes == (40, 38, 46)


def test_scales_are_zoomed_where_it_does_not() -> None:
    image = photo(100, 140)
    views = build_views("scales", Preprocess(40))
    _, smaller, larger = views(image, "a")
    assert views.sizes == (40, 40, 40)
    np.testing.assert_array_equal(larger, resized(image, 46)[3:43, 3:43])
    small = resized(image, 36)
    np.testing.assert_array_equal(smaller[2:38, 2:38], small)
    np.testing.assert_array_equal(smaller[1, 2:38], small[1])  # row 0 of the picture is the mirror
    np.testing.assert_array_equal(smaller[2:38, 39], small[:, 33])


def test_draws_are_a_function_of_seed_view_and_id() -> None:
    image, pre = photo(60, 60), Preprocess(48)
    found = build_views("randaugment:6", pre, seed=3)(image, "a")
    again = build_views("randaugment:6", pre, seed=3)(image, "a")
    for one, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(one, other)
    policy = compose(randaugment(2, 9))
    for view in range(1, 6):
        drawn = apply(pre.apply(image)[None], policy.draw(["a"], 0, 3, view))[0]
        np.testing.assert_array_equal(found[view], drawn)
    others = [
        build_views("randaugment:6", pre, seed=4)(image, "a"),
        build_views("randaugment:6", pre, seed=3)(image, "b"),
    ]
    for other in others:
        assert any((one != two).any() for one, two in zip(found[1:], other[1:], strict=True))
    assert len({view.tobytes() for view in found}) > 3
    np.testing.assert_array_equal(build_views("randaugment:3", pre, seed=3)(image, "a")[2], found[2])


@pytest.mark.parametrize(
    ("tta", "match"),
    [
        ("flip", "Did you mean flips"),
        ("flips:2", "no such test-time views"),
        ("randaugment", "from 2 to 64, found none. As in randaugment:8"),
        ("randaugment:1", "from 2 to 64"),
        ("randaugment:9999", "from 2 to 64"),
        ("", "no such test-time views"),
    ],
)
def test_what_are_no_views(tta: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        parse_tta(tta)
