"""Geometry of one image against OpenCV's matrices, Pillow, torchvision, NumPy and what must come back unchanged."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from torchvision.transforms import InterpolationMode

from anmok.augment import geometry as g
from anmok.augment.arrays import Border
from anmok.augment.preprocess import resize
from anmok.core.errors import UsageError

BILINEAR = InterpolationMode.BILINEAR
MODES = {"edge": "edge", "reflect": "reflect", "symmetric": "symmetric", "wrap": "wrap"}
images = st.one_of(
    arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12))),
    arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6))),
    arrays(
        np.float32, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3)), elements=st.floats(0, 1, width=32)
    ),
)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape).astype(np.uint8)


@pytest.fixture(scope="module")
def photos(data_dir: Path) -> list[np.ndarray]:
    """Real photos of different sizes, odd and even, up to 260 × 300."""
    files = sorted((data_dir / "photos").glob("*.JPEG"))[:6]
    return [np.array(Image.open(f).convert("RGB"))[: 255 + k, : 300 - k] for k, f in enumerate(files)]


def off(ours: np.ndarray, theirs: Any) -> float:
    if isinstance(theirs, torch.Tensor):
        theirs = theirs.permute(1, 2, 0).numpy()
    assert ours.shape == np.asarray(theirs).shape
    return float(np.abs(ours.astype(float) - np.asarray(theirs).astype(float)).mean())


def compare(
    photos: list[np.ndarray],
    ours: Callable[[np.ndarray], np.ndarray],
    theirs: Callable[[Any], Any],
    tensor: float = 0.05,
) -> None:
    """Mean differences of 255: from Pillow's pixels, which cuts fractions off, at most 1; from torch's hardly any."""
    for photo in photos:
        mine = ours(photo)
        assert off(mine, theirs(Image.fromarray(photo))) <= 1.0
        assert off(mine, theirs(torch.from_numpy(photo).permute(2, 0, 1))) <= tensor


# ---- against peers


@pytest.mark.parametrize("degrees", [-170, -90, -33.3, -5, 1, 30, 45, 90, 180, 270, 400])
def test_rotate_is_pillows_and_torchvisions(photos: list[np.ndarray], degrees: float) -> None:
    compare(photos, lambda x: g.rotate(x, degrees), lambda x: tv.rotate(x, degrees, BILINEAR))
    # Their centre counts from the corner of the first pixel.
    compare(
        photos,
        lambda x: g.rotate(x, degrees, (39.5, 99.5)),
        lambda x: tv.rotate(x, degrees, BILINEAR, center=[40, 100]),
    )


@pytest.mark.parametrize("degrees", [-90, -33, 12, 45, 90, 150, 180, 270])
def test_rotate_expanded_is_pillows(photos: list[np.ndarray], degrees: float) -> None:
    for photo in photos:
        theirs = Image.fromarray(photo).rotate(degrees, Image.Resampling.BILINEAR, expand=True)
        assert off(g.rotate(photo, degrees, expand=True), theirs) <= 1.0
        if degrees % 90 == 0:
            np.testing.assert_array_equal(g.rotate(photo, degrees, expand=True), theirs)


@settings(max_examples=400, deadline=None)
@given(
    st.integers(1, 300), st.integers(1, 300),
    st.floats(-720, 720) | st.integers(-24, 24).map(lambda k: 15.0 * k) | st.just(math.degrees(math.acos(0.6))),
)  # fmt: skip
def test_expanding_gives_pillows_size(width: int, height: int, degrees: float) -> None:
    theirs = Image.new("L", (width, height)).rotate(degrees, expand=True)
    assert g.rotate(np.zeros((height, width), np.uint8), degrees, expand=True).shape[::-1] == theirs.size


@pytest.mark.parametrize(("x", "y"), [(20, 0), (-40, 0), (0, 15), (0, -30), (12, 9)])
def test_shear_is_torchvisions_with_the_sign_reversed(photos: list[np.ndarray], x: float, y: float) -> None:
    compare(photos, lambda p: g.shear(p, x, y), lambda p: tv.affine(p, 0, [0, 0], 1.0, [-x, -y], BILINEAR))
    compare(
        photos, lambda p: g.shear(p, x, y, (-0.5, -0.5)),
        lambda p: tv.affine(p, 0, [0, 0], 1.0, [-x, -y], BILINEAR, center=[0, 0]),
    )  # fmt: skip


@pytest.mark.parametrize("factor", [0.9, 1.2, 2.0, 3.7])
def test_scale_and_translate_are_torchvisions(photos: list[np.ndarray], factor: float) -> None:
    compare(photos, lambda p: g.scale(p, factor), lambda p: tv.affine(p, 0, [0, 0], factor, [0, 0], BILINEAR))
    compare(
        photos, lambda p: g.rotate(p, -25, scale=factor),
        lambda p: tv.affine(p, 25, [0, 0], factor, [0, 0], BILINEAR),
    )  # fmt: skip
    compare(photos, lambda p: g.translate(p, 31, -12), lambda p: tv.affine(p, 0, [31, -12], 1.0, [0, 0], BILINEAR))


def test_perspective_is_torchvisions_half_a_pixel_away(photos: list[np.ndarray]) -> None:
    for photo in photos:  # their places count from the corner of the first pixel
        height, width = photo.shape[:2]
        corners = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
        # Between 1.15 times smaller, from where ours is antialiased, and larger: a corner leaves the frame.
        moved = [[20, 10], [width - 30, 5], [width - 10, height - 25], [-14, height - 4]]
        source, target = ([(x - 0.5, y - 0.5) for x, y in points] for points in (corners, moved))
        compare(
            [photo], lambda p: g.perspective(p, source, target),  # noqa: B023
            lambda p: tv.perspective(p, corners, moved, BILINEAR),  # noqa: B023
        )  # fmt: skip


def test_opencvs_own_matrices_give_the_same_pixels() -> None:
    image = noise(60, 80, 4)
    turn = cv2.getRotationMatrix2D((20, 30), 37, 1.2)
    np.testing.assert_array_equal(g.rotate(image, 37, (20, 30), 1.2), cv2.warpAffine(image, turn, (80, 60)))
    source, target = [(0, 0), (79, 0), (79, 59), (0, 59)], [(5, 3), (77, 2), (79, 56), (2, 57)]
    there = cv2.getPerspectiveTransform(np.array(source, np.float32), np.array(target, np.float32))
    ours = g.perspective(image, source, target)
    assert np.abs(ours.astype(int) - cv2.warpPerspective(image, there, (80, 60))).max() <= 1
    moved = np.array([(0, 0), (1, 0), (math.tan(math.radians(20)), 1)], np.float32)
    tilt = cv2.getAffineTransform(np.array([(0, 0), (1, 0), (0, 1)], np.float32), moved)
    assert np.abs(g.shear(image, 20, center=(0, 0)).astype(int) - cv2.warpAffine(image, tilt, (80, 60))).max() <= 1


def test_pad_and_crop_are_torchvisions(photos: list[np.ndarray]) -> None:
    names = {"constant": "constant", "edge": "edge", "reflect": "reflect", "symmetric": "symmetric"}
    for photo in photos:
        tensor = torch.from_numpy(photo).permute(2, 0, 1)
        for ours, theirs in names.items():
            padded = tv.pad(tensor, [3, 40, 17, 0], padding_mode=theirs)
            assert off(g.pad(photo, 3, 40, 17, 0, border=ours), padded) == 0  # type: ignore[arg-type]
        assert off(g.crop(photo, 20, 30, 100, 90), tv.crop(tensor, 30, 20, 90, 100)) == 0
        outside = g.crop(photo, -20, 200, 400, 100, border="constant")
        assert off(outside, tv.crop(tensor, 200, -20, 100, 400)) == 0


# ---- what must hold


@given(arrays(np.uint8, st.integers(1, 40).map(lambda n: (n, n, 3))))
def test_four_quarter_turns_are_none(image: np.ndarray) -> None:
    quarter = g.rotate(image, 90)
    np.testing.assert_array_equal(quarter, np.rot90(image))
    np.testing.assert_array_equal(g.rotate(g.rotate(g.rotate(quarter, 90), 90), 90), image)


@given(images, st.sampled_from([90, 180, -90, 270]))
def test_a_quarter_turn_expanded_is_numpys(image: np.ndarray, degrees: int) -> None:
    np.testing.assert_array_equal(g.rotate(image, degrees, expand=True), np.rot90(image, degrees // 90))


@given(images, st.integers(-15, 15), st.integers(-15, 15), st.sampled_from(get_args(Border)))
def test_whole_pixels_move_exactly(image: np.ndarray, dx: int, dy: int, border: Border) -> None:
    height, width = image.shape[:2]
    around = [(15, 15), (15, 15), *[(0, 0)] * (image.ndim - 2)]
    wide = np.pad(image, around, "constant" if border == "constant" else MODES[border])  # type: ignore[call-overload]
    expected = wide[15 - dy : 15 - dy + height, 15 - dx : 15 - dx + width]
    np.testing.assert_array_equal(g.translate(image, dx, dy, border=border), expected)
    np.testing.assert_array_equal(g.crop(image, -dx, -dy, width, height, border=border), expected)


@given(images)
def test_flips_are_numpys_and_undo_themselves(image: np.ndarray) -> None:
    np.testing.assert_array_equal(g.flip(image), image[:, ::-1])
    np.testing.assert_array_equal(g.flip(image, horizontal=False, vertical=True), image[::-1])
    np.testing.assert_array_equal(g.flip(image, vertical=True), image[::-1, ::-1])
    np.testing.assert_array_equal(g.flip(image, horizontal=False), image)
    np.testing.assert_array_equal(g.flip(g.flip(image)), image)
    assert g.flip(image).dtype == image.dtype
    assert not np.shares_memory(g.flip(image, horizontal=False), image)


@given(images, *[st.integers(0, 20)] * 4, st.sampled_from(get_args(Border)))
def test_pad_is_numpys_and_crop_undoes_it(
    image: np.ndarray, left: int, top: int, right: int, bottom: int, border: Border
) -> None:
    padded = g.pad(image, left, top, right, bottom, border=border, fill=1)
    around = [(top, bottom), (left, right), *[(0, 0)] * (image.ndim - 2)]
    if border == "constant":
        expected = np.pad(image, around, constant_values=1)
    else:
        expected = np.pad(image, around, MODES[border])  # type: ignore[call-overload]
    np.testing.assert_array_equal(padded, expected)
    assert padded.dtype == image.dtype
    back = g.crop(padded, left, top, image.shape[1], image.shape[0])
    np.testing.assert_array_equal(back, image)
    assert not np.shares_memory(back, padded)


def test_the_edges_of_a_box_as_source_points_are_a_crop_and_a_resize(photos: list[np.ndarray]) -> None:
    left, top, width, height = 40, 30, 120, 90
    box = [
        (left - 0.5, top - 0.5), (left + width - 0.5, top - 0.5), (left + width - 0.5, top + height - 0.5),
        (left - 0.5, top + height - 0.5),
    ]  # fmt: skip
    for photo in photos:
        part = g.crop(photo, left, top, width, height)
        np.testing.assert_array_equal(g.perspective(photo, box, size=(width, height)), part)
        larger = cv2.resize(part, (240, 180), interpolation=cv2.INTER_LINEAR)
        inner = g.perspective(photo, box, size=(240, 180))[2:-2, 2:-2]  # at the edge it still sees the neighbours
        assert off(inner, larger[2:-2, 2:-2]) <= 0.5
        smaller = g.perspective(photo, box, size=(40, 30))
        assert off(smaller[1:-1, 1:-1], resize(part, 40, 30)[1:-1, 1:-1]) <= 1.0


def test_a_region_seen_askew_is_rectified() -> None:
    board = np.kron(np.indices((6, 8)).sum(0) % 2, np.ones((20, 20))).astype(np.uint8) * 255
    askew = [(20.0, 15.0), (150.0, 30.0), (140.0, 120.0), (35.0, 105.0)]
    frame = [(-0.5, -0.5), (159.5, -0.5), (159.5, 119.5), (-0.5, 119.5)]
    seen = g.perspective(board, frame, askew, (180, 140))
    again = g.perspective(seen, askew, size=(160, 120))
    centres = again.reshape(6, 20, 8, 20)[:, 6:14, :, 6:14]
    np.testing.assert_array_equal(np.rint(centres.mean((1, 3)) / 255), np.indices((6, 8)).sum(0) % 2)
    assert off(again[:, :, None], board[:, :, None]) <= 16  # the squares' edges are blurred


def test_scale_below_its_bound_is_antialiased_and_keeps_the_frame(photos: list[np.ndarray]) -> None:
    for photo in (p[:240, :280] for p in photos):
        half = np.asarray(Image.fromarray(photo).resize((140, 120), Image.Resampling.BILINEAR))
        out = g.scale(photo, 0.5, fill=9)
        assert off(out[61:179, 71:209], half[1:-1, 1:-1]) <= 0.7
        assert (out[:59] == 9).all()
        assert out.shape == photo.shape


def test_scale_takes_two_factors_and_a_center() -> None:
    image = noise(9, 9)
    wide = g.scale(image, 3, 1, center=(4, 4))
    np.testing.assert_array_equal(wide[:, 1::3], image[:, 3:6])
    np.testing.assert_array_equal(g.scale(image, 2, center=(2, 3))[3, ::2], image[3, 1:6])


def test_expanding_with_a_scale_holds_the_whole_image() -> None:
    image = np.full((40, 60), 255, np.uint8)
    for degrees in (0, 17, 90):
        out = g.rotate(image, degrees, scale=1.5, expand=True)
        assert abs(out.sum() / 255 - 1.5 * 1.5 * 2400) <= 0.02 * 5400
        assert out.any(0).sum() >= out.shape[1] - 2  # and no more than it
    assert g.rotate(image, 90, scale=1.5, expand=True).shape == (90, 60)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (1, 5000), (5000, 1, 1), (1, 40_000), (3, 4, 6)])
@pytest.mark.parametrize("border", get_args(Border))
def test_odd_shapes_pass_through_all(shape: tuple[int, ...], border: Border) -> None:
    image, kw = noise(*shape), {"border": border}
    right, bottom = shape[1] - 0.5, shape[0] - 0.5
    frame = [(-0.5, -0.5), (right, -0.5), (right, bottom), (-0.5, bottom)]
    same: list[np.ndarray] = [
        g.translate(image, 0.5, 0.2, **kw), g.rotate(image, 12, **kw), g.scale(image, 0.4, **kw),  # type: ignore[arg-type]
        g.scale(image, 5, **kw), g.shear(image, 10, 0.1, **kw), g.perspective(image, frame, **kw), g.flip(image),  # type: ignore[arg-type]
    ]  # fmt: skip
    assert all(out.shape == shape and out.dtype == np.uint8 for out in same)
    np.testing.assert_array_equal(same[5], image)
    assert g.rotate(image, 90, expand=True, **kw).shape[:2] == shape[1::-1]  # type: ignore[arg-type]
    assert g.pad(image, 1, 2, 3, 4, **kw).shape == (shape[0] + 6, shape[1] + 4, *shape[2:])  # type: ignore[arg-type]


def test_a_fill_has_one_value_a_channel_and_bytes_are_rounded() -> None:
    image = noise(4, 4, 3)
    for out in (g.pad(image, 5, 0, 0, 0, fill=(1, 2.6, 255)), g.translate(image, 5, 0, fill=(1, 2.6, 255))):
        assert out[0, 0].tolist() == [1, 3, 255]
    grey = g.pad(np.zeros((2, 2), np.float32), 1, 1, 1, 1, fill=0.25)
    assert grey[0, 0] == 0.25


# ---- errors

PICTURE = noise(6, 8, 3)
CROSSED = [(0, 0), (7, 5), (7, 0), (0, 5)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: g.translate(PICTURE, math.nan, 0), "dx must be a finite number, found nan"),
        (lambda: g.translate(PICTURE, 0, "1"), "dy must be a finite number"),  # type: ignore[arg-type]
        (lambda: g.rotate(PICTURE, math.inf), "degrees must be"),
        (lambda: g.rotate(PICTURE, 1, scale=0), "above 0, found 0"),
        (lambda: g.rotate(PICTURE, 1, (1, math.nan)), "two finite numbers"),
        (lambda: g.rotate(PICTURE, 1, 5), "two finite numbers"),  # type: ignore[arg-type]
        (lambda: g.rotate(PICTURE, 1, (1, 2), expand=True), "wherever the center is"),
        (lambda: g.rotate(PICTURE, 1, scale=1e9, expand=True), "in all at most"),
        (lambda: g.scale(PICTURE, 0), "above 0"),
        (lambda: g.scale(PICTURE, 1, -1), "above 0, found 1 and -1"),
        (lambda: g.shear(PICTURE, 90), "within 89 degrees"),
        (lambda: g.perspective(PICTURE, CROSSED), "no convex quadrilateral"),
        (lambda: g.perspective(PICTURE, CROSSED[:3]), "four finite source points"),
        (lambda: g.perspective(PICTURE, CROSSED, size=(0, 5)), "whole pixels from 1"),
        (lambda: g.crop(PICTURE, -1, 0, 3, 3), r"leaves the image of 8 × 6.*border=\"reflect\""),
        (lambda: g.crop(PICTURE, 6, 0, 3, 3), "leaves the image"),
        (lambda: g.crop(PICTURE, 0, 4, 3, 3), "leaves the image"),
        (lambda: g.crop(PICTURE, 0, 0, 0, 3), "whole pixels from 1"),
        (lambda: g.crop(PICTURE, 0.5, 0, 3, 3), "left is in whole pixels, found 0.5"),  # type: ignore[arg-type]
        (lambda: g.crop(PICTURE, 0, 0, 3, 3, border="mirror"), "no such border as 'mirror'"),  # type: ignore[arg-type]
        (lambda: g.pad(PICTURE, 0, -1, 0, 0), "0 pixels or more"),
        (lambda: g.pad(PICTURE, 1 << 30, 0, 0, 0), "in all at most"),
        (lambda: g.pad(PICTURE, 1, 1, 1, 1, border="wrapp"), "Did you mean wrap"),  # type: ignore[arg-type]
        (lambda: g.pad(PICTURE, 1, 1, 1, 1, fill=(1, 2)), "one number or 3"),
        (lambda: g.flip(PICTURE.astype(np.int64)), "found int64"),
        (lambda: g.flip(np.zeros((0, 3), np.uint8)), "with pixels"),
    ],
)
def test_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


@pytest.mark.parametrize("function", [g.translate, g.rotate, g.scale, g.shear, g.perspective, g.flip, g.crop, g.pad])
def test_every_function_checks_the_image(function: Callable[..., object]) -> None:
    arguments: dict[Any, tuple[Any, ...]] = {
        g.translate: (1, 1), g.rotate: (1,), g.scale: (2,), g.shear: (), g.flip: (), g.crop: (0, 0, 1, 1),
        g.pad: (0, 0, 0, 0), g.perspective: ([(0, 0), (1, 0), (1, 1), (0, 1)],),
    }  # fmt: skip
    for bad in (PICTURE.astype(float), PICTURE[None], None, np.full((2, 2), np.inf, np.float32)):
        with pytest.raises(UsageError) as caught:
            function(bad, *arguments[function])
        assert caught.value.code == "image"
